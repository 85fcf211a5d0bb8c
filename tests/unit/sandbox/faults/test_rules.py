"""Which calls a rule acts on, and which rules are refused."""

from __future__ import annotations

import pytest
import requests

from tests.unit.sandbox.conftest import ADA, BEN, Caller, order_recipient

SEND = "*/messageTemplates/send"


def test_which_calls_a_fault_matches(wati: Caller) -> None:
    """A fault matches method, path, skip and count."""
    wati.fault("status", method="GET", path="*/contacts/*", skip=1, count=2, status=503)
    statuses = [wati("GET", f"/contacts/{ADA}").status_code for _ in range(5)]
    assert statuses == [200, 503, 503, 200, 200]
    assert wati("DELETE", f"/contacts/{ADA}").status_code == 200
    fault = wati.control("GET", "/faults")["faults"][0]
    assert (fault["seen"], fault["fired"]) == (5, 2)


def test_the_method_of_a_fault_is_taken_in_any_case(wati: Caller) -> None:
    """A rule for ``get`` is one for GET, and does not stay without effect."""
    wati.fault("status", method="get", path="*/credits", status=503)
    assert wati("GET", "/account/credits").status_code == 503


def test_a_fault_can_match_the_body(wati: Caller) -> None:
    """A fault matches a text in the request body."""
    wati.fault("status", path=SEND, contains=BEN, status=503)
    assert wati.send_template(ADA).status_code == 200
    assert wati.send_template(BEN).status_code == 503


def test_a_fault_with_a_probability(wati: Caller) -> None:
    """A fault acts with its probability."""
    wati.fault("status", path="*/credits", probability=0.5, status=503)
    statuses = {wati("GET", "/account/credits").status_code for _ in range(30)}
    assert statuses == {200, 503}


def test_faults_are_removed_one_by_one_and_together(wati: Caller) -> None:
    """Faults are removed by id or all at once."""
    for _ in range(3):
        wati.fault("status", path="*/credits", status=503)
    first = wati.control("GET", "/faults")["faults"][0]["id"]
    wati.control("DELETE", f"/faults/{first}")
    assert len(wati.control("GET", "/faults")["faults"]) == 2
    wati.control("DELETE", "/faults")
    assert wati("GET", "/account/credits").status_code == 200


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"kind": "explode"},
        {"kind": "status", "staus": 500},
        {"kind": "status", "status": "500"},
        {"kind": "drop", "when": "during"},
        {"kind": "garbage", "body": "noise"},
        {"kind": "redirect"},
        {"kind": "drop", "probability": 1.5},
        {"kind": "drop", "probability": -0.1},
        {"kind": "drop", "count": 0},
        {"kind": "drop", "count": -1},
        {"kind": "drop", "skip": -1},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(wati: Caller, rule: dict[str, object]) -> None:
    """A fault with an error is a 400."""
    response = requests.post(f"{wati.server.url}/_sandbox/faults", json=rule, timeout=30)
    assert response.status_code == 400
    assert wati.control("GET", "/faults")["faults"] == []


def test_faults_leave_the_control_api_and_the_page_alone(wati: Caller) -> None:
    """Faults act on the API only."""
    wati.fault("drop")
    assert wati.control("GET", "/state")["contacts"] == 7
    assert requests.get(f"{wati.server.url}/", timeout=30).status_code == 200


def test_a_fault_strikes_once_per_recipient_of_the_rule(wati: Caller) -> None:
    """A rule with count 1 refuses its recipient in one call only."""
    wati.fault("recipient_errors", path=SEND, numbers=[ADA], count=1)
    recipient = order_recipient(ADA)
    assert wati.send_template(recipient).json()["recipients"][0]["errors"]
    assert wati.send_template(recipient).json()["recipients"][0]["errors"] == []
