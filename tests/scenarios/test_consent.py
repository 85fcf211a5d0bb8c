"""Consent: nobody who opted out is messaged, and nobody else is stopped by the look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiServerError, WatiValidationError
from tests.support.sends import ModelSends, SandboxSends, model_sends, people, phone
from tests.support.wati_model import Fault

if TYPE_CHECKING:
    from tests.conftest import Sandbox


def with_contacts(count: int, opted_out: int, **settings: Any) -> ModelSends:
    """An account whose contacts are the first persons."""
    sends = model_sends(check_consent=True, **settings)
    for n in range(count):
        id = f"{n:024x}"
        allowed = n != opted_out
        sends.model.contacts[id] = {
            "id": id, "wa_id": phone(n), "phone": f"+{phone(n)}", "allow_broadcast": allowed,
        }  # fmt: skip
    return sends


@pytest.mark.parametrize("change", ["a contact moves", "a contact is deleted"])
def test_a_listing_that_shifts_between_two_pages_misses_nobody(change: str) -> None:
    """Finding 5: the opted-out person whom a shifting listing hides gets no message."""
    opted_out = 250 if change == "a contact moves" else 100
    sends = with_contacts(300, opted_out)
    pages: list[str] = []

    def shift(moment: str) -> None:
        if moment != "after contacts":
            return
        pages.append(moment)
        contacts = sends.model.contacts
        if len(pages) == 1 and change == "a contact moves":
            moved = contacts.pop(f"{opted_out:024x}")
            sends.model.contacts = {moved["id"]: moved, **contacts}
        elif len(pages) == 1:
            contacts.pop(f"{0:024x}")

    sends.model.on_moment = shift
    done = sends.attempt(people(300))
    assert done.statuses[opted_out] == "skipped"
    assert sends.messages(300)[opted_out] == 0
    assert sum(sends.messages(300)) == 299


@pytest.mark.parametrize("counted", [0, 100])
def test_the_limit_of_calls_bounds_the_listing(counted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finding 5: if WATI's count is too low, consent_max_calls still bounds every call."""
    sends = with_contacts(2_000, 7, consent_max_calls=3)
    monkeypatch.setattr("airflow_provider_wati.client.WatiClient.count_contacts", lambda _: counted)
    done = sends.attempt(people(100))
    assert isinstance(done.error, WatiValidationError)
    assert "consent_max_calls is 3" in str(done.error)
    assert sends.posts() == 0
    assert len([call for call in done.requests if call.startswith("contact")]) <= 3


def test_a_look_up_that_fails_costs_its_row_in_each_attempt() -> None:
    """Finding 10a: a contact that answers 500 is rejected, and everybody else is messaged."""
    sends = with_contacts(1_000, 2)
    broken = sends.model.contacts.pop(f"{1:024x}")
    answer = sends.model._answer

    def refuse(call: str, match: Any, *more: Any) -> Any:
        if call == "contact" and match[1].endswith(broken["wa_id"]):
            return {"code": 500, "message": "Internal error"}
        return answer(call, match, *more)

    sends.model._answer = refuse  # type: ignore[method-assign, assignment] # one contact that cannot be read
    for _ in range(2):
        done = sends.attempt(people(4))
        assert done.statuses == ["accepted", "rejected", "skipped", "accepted"]
        assert "could not be looked up" in done.reasons[1]
    assert sends.messages(4) == [1, 0, 0, 1]


def test_an_outage_of_the_look_up_is_not_everybody_s_refusal() -> None:
    """If no look-up succeeds the attempt ends, and the next one asks again."""
    sends = with_contacts(1_000, 2)
    sends.model.faults = [Fault("status", call="contact", status=500, count=1_000)]
    done = sends.attempt(people(4))
    assert isinstance(done.error, WatiServerError)
    assert done.statuses == ["unsent"] * 4
    sends.model.faults = []
    assert sends.attempt(people(4)).statuses == ["accepted", "accepted", "skipped", "accepted"]


@pytest.mark.parametrize("where", ["operator", "connection"])
def test_consent_is_that_of_the_send_s_channel(where: str) -> None:
    """Finding 12: the look-up names the operator's channel, else the connection's."""
    sends = with_contacts(1_000, 1)
    asked: list[str] = []
    answer = sends.model._answer

    def listen(call: str, match: Any, *more: Any) -> Any:
        if call == "contact":
            asked.append(match[1])
        return answer(call, match, *more)

    sends.model._answer = listen  # type: ignore[method-assign, assignment] # what is asked for
    settings: dict[str, Any] = {"channel": "85291234567"}
    if where == "connection":
        settings = {"client": sends.client(channel="85291234567")}
    assert sends.attempt(people(2), **settings).statuses == ["accepted", "skipped"]
    assert asked == [f"85291234567:{phone(n)}" for n in range(2)]


def test_an_opt_out_under_the_other_spelling_holds(sandbox: Sandbox) -> None:
    """A Mexican number that opted out as 52 1 ... is not messaged as 52 ..."""
    out = {"phone": "5215512345678", "allow_broadcast": False}
    sandbox.control("POST", "/contacts", {"contacts": [out]})
    row = {**people(1)[0], "target": "525512345678"}
    done = SandboxSends(sandbox).attempt([row], check_consent=True)
    assert done.statuses == ["skipped"]


@pytest.mark.parametrize("before", ["accepted", "lost"])
def test_who_is_suppressed_later_keeps_the_message(before: str) -> None:
    """A suppression list takes back no message: the row stays accepted, also when its answer was lost."""
    sends = model_sends()
    if before == "lost":
        sends.model.faults = [Fault("drop", after=True)]
    sends.attempt(people(1), dies=before == "lost")
    done = sends.attempt(people(2), suppress=[phone(0), phone(1)])
    assert done.statuses == ["accepted", "skipped"]
    assert done.summary["earlier"] == 0
    assert sends.messages(2) == [1, 0]


def test_an_error_in_the_suppression_list_takes_no_outcome_back() -> None:
    """What the journal knows stays known when the list cannot be read."""
    sends = model_sends()
    sends.attempt(people(1))
    done = sends.attempt(people(2), suppress=["no number"])
    assert isinstance(done.error, WatiValidationError)
    assert done.statuses == ["accepted", "unsent"]
