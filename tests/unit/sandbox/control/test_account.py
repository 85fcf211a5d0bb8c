"""The control API's settings, clock and reset."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_provider_wati.sandbox.settings import Settings
from tests.unit.sandbox.conftest import NOBODY, PAGE, Caller


def test_reset_goes_back_to_the_seed_or_to_an_empty_state(wati: Caller) -> None:
    """A reset restores the seed, or an empty state."""
    wati.send_template(NOBODY)
    wati.fault("drop")
    wati.settings(missing_status=400)
    wati.control("POST", "/reset", json={})
    state = wati.control("GET", "/state")
    assert (state["contacts"], state["broadcasts"], state["settings"]["missing_status"]) == (7, 0, 404)
    assert wati("GET", "/account/credits").status_code == 200
    wati.control("POST", "/reset", json={"seed": False})
    assert wati.control("GET", "/state")["contacts"] == 0
    assert wati("GET", "/messageTemplates", params=PAGE).json()["total"] == 4


def test_the_clock_stops_moves_and_runs_on(wati: Caller) -> None:
    """The clock can be frozen, advanced and resumed."""
    before = wati.control("GET", "/clock")
    assert before["frozen"] is True
    assert wati.control("GET", "/clock")["now"] == before["now"]
    assert wati.control("POST", "/clock", json={"advance": 86400})["now"] > before["now"]
    moved = wati.control("POST", "/clock", json={"frozen": False})
    assert moved["frozen"] is False
    assert wati.control("GET", "/clock")["now"] > moved["now"]


@pytest.mark.parametrize("change", [{"missing_status": 500}, {"tenant": "7"}, {"speed": "fast"}, {"sped": 2}])
def test_a_setting_that_makes_no_sense_is_refused(wati: Caller, change: dict[str, Any]) -> None:
    """A wrong setting is a 400."""
    response = requests.patch(f"{wati.server.url}/_sandbox/settings", json=change, timeout=60)
    assert response.status_code == 400


def test_settings_from_the_start_survive_a_reset(start_sandbox: Any) -> None:
    """A reset restores the settings of the start."""
    wati = start_sandbox(Settings(tenant="424242", missing_status=400), token="other-token")
    wati.server.reset()
    assert wati.server.endpoint.endswith("/424242")
    assert wati("GET", f"/contacts/{NOBODY}").status_code == 400
    assert wati.v1("GET", "/whatsApp/messages/14155550100/no-such-message").status_code == 400


def test_the_clock_stays_within_the_years_that_dates_have(wati: Caller) -> None:
    """Moves are refused that lead beyond the years of a date, from which no move would lead back."""
    for advance in (3e11, -1e11):
        url = f"{wati.server.url}/_sandbox/clock"
        answer = requests.post(url, json={"advance": advance}, timeout=30)
        assert answer.status_code == 400
        assert "years 1 to 9999" in answer.json()["message"]
    wati.control("POST", "/clock", json={"advance": -86_400.5})
