from __future__ import annotations

import pytest

from airflow_provider_wati.sandbox.model.consent import consent_after
from tests.unit.sandbox.conftest import ADA, Caller


@pytest.mark.parametrize("text", ["STOP", "stop", " Stop\n", "UNSUBSCRIBE"])
def test_a_word_alone_withdraws_consent(text: str) -> None:
    """STOP and UNSUBSCRIBE withdraw consent in any case, and withdraw it once only."""
    assert consent_after(text, True) is False
    assert consent_after(text, False) is False


@pytest.mark.parametrize("text", ["", "Please stop", "non-stop", "stop by the shop", "STOP!", "Hello"])
def test_other_messages_leave_consent_as_it_is(text: str) -> None:
    """A message with more words than the one changes nothing."""
    assert [consent_after(text, before) for before in (True, False)] == [True, False]


def test_start_gives_consent_back() -> None:
    """START gives consent, whatever it was."""
    assert [consent_after("Start", before) for before in (True, False)] == [True, True]


def test_the_api_shows_consent_after_stop(wati: Caller) -> None:
    """After STOP of a customer the API lists the contact with allow_broadcast false, and opted_in as it was."""
    before = wati("GET", f"/contacts/{ADA}").json()
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Stop", "type": "interactive"})
    after = wati("GET", f"/contacts/{ADA}").json()
    assert (before["allow_broadcast"], after["allow_broadcast"]) == (True, False)
    assert after["opted_in"] == before["opted_in"]
