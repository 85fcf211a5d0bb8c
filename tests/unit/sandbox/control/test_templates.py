"""Templates that are changed by the control API."""

from __future__ import annotations

import requests

from tests.unit.sandbox.conftest import ADA, BEN, Caller


def test_a_template_can_be_approved_and_added(wati: Caller) -> None:
    """A template can be approved and added while the sandbox runs."""
    wati.control("PUT", "/templates/spring_sale", json={"status": "APPROVED"})
    assert wati.send_template(ADA, template_name="spring_sale").status_code == 200
    wati.control("PUT", "/templates/survey", json={"body": "How was {{thing}}?", "params": {"thing": "it"}})
    recipient = {"phone_number": BEN, "custom_params": [{"name": "thing", "value": "lunch"}]}
    wati.send_template(recipient, template_name="survey")
    assert wati.texts_to(BEN) == ["How was lunch?"]


def test_a_status_that_does_not_exist_is_refused(wati: Caller) -> None:
    """A misspelt status is named with the ones that exist, and nothing is changed."""
    url = f"{wati.server.url}/_sandbox/templates/spring_sale"
    answer = requests.put(url, json={"status": "APROVED"}, timeout=30)
    assert answer.status_code == 400
    assert "status must be one of DRAFT, PENDING, APPROVED" in answer.json()["message"]
    assert wati.send_template(ADA, template_name="spring_sale").status_code == 400
