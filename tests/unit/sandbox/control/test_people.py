"""Customers who are added or write by the control API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.sandbox.conftest import ADA, GRACE_BSUID, NOBODY, PAGE, Caller


def test_contacts_can_be_seeded_in_bulk_and_one_by_one(wati: Caller) -> None:
    """Contacts are added by count or one by one."""
    assert wati.control("POST", "/contacts", json={"count": 5000}) == {"contacts": 5007}
    last = wati("GET", "/contacts", params={"page_number": 51, "page_size": 100}).json()["contact_list"]
    assert [contact["wa_id"] for contact in last][-1] == "919800005000"
    special = {"phone": NOBODY, "name": "Nora", "custom_params": {"tier": "new"}, "allow_broadcast": False}
    wati.control("POST", "/contacts", json={"contacts": [special]})
    nora = wati("GET", f"/contacts/{NOBODY}").json()
    assert (nora["allow_broadcast"], nora["custom_params"]) == (False, [{"name": "tier", "value": "new"}])


def test_a_stranger_who_writes_in_becomes_a_contact(wati: Caller) -> None:
    """A message of an unknown person creates the contact."""
    wati.control(
        "POST", "/inbound", json={"phone": NOBODY, "name": "Nora", "text": "Hi", "channel": "Support"}
    )
    assert wati("GET", f"/contacts/{NOBODY}").json()["name"] == "Nora"
    assert wati.send_text(NOBODY, "Hello Nora").status_code == 200
    history = wati("GET", f"/conversations/Support:{NOBODY}/messages", params=PAGE).json()["message_list"]
    assert [(each["owner"], each["text"]) for each in history] == [(True, "Hello Nora"), (False, "Hi")]


def test_a_customer_without_a_number_is_named_by_bsuid(wati: Caller) -> None:
    """Contacts are added and write by BSUID, and what they are sent is counted and found by it."""
    new = "DE.998877665544332211"
    contacts = [{"bsuid": new, "name": "Nele"}, {"bsuid": GRACE_BSUID, "allow_broadcast": False}]
    assert wati.control("POST", "/contacts", json={"contacts": contacts}) == {"contacts": 8}
    assert wati("GET", f"/contacts/{GRACE_BSUID}").json()["allow_broadcast"] is False
    for bsuid in (new, GRACE_BSUID):
        wati.control("POST", "/inbound", json={"bsuid": bsuid, "text": "Hi"})
        assert wati.send_text(bsuid, "Hello").status_code == 200
    wati.send_text(ADA, "Hello")
    assert wati.control("GET", "/people")["counts"] == {new: 1, GRACE_BSUID: 1, ADA: 1}
    [sent] = wati.control("GET", f"/messages?phone={new}")["messages"]
    assert (sent["phone"], sent["bsuid"], sent["text"]) == (None, new, "Hello")


@pytest.mark.parametrize(
    "person", [{}, {"phone": ADA, "bsuid": GRACE_BSUID}, {"bsuid": "us.1"}, {"bsuid": ADA}, {"bsuid": None}]
)
@pytest.mark.parametrize(("path", "member"), [("/inbound", None), ("/contacts", "contacts")])
def test_a_customer_is_named_in_one_way(
    path: str, member: str | None, person: dict[str, Any], wati: Caller
) -> None:
    """A customer needs either a phone number or a BSUID, of the documented shape; nobody is added otherwise."""
    body = {"text": "Hi", **person} if member is None else {member: [{"phone": NOBODY}, person]}
    url = f"{wati.server.url}/_sandbox{path}"
    assert wati.session.post(url, json=body, timeout=30).status_code == 400
    assert wati.control("GET", "/state")["contacts"] == 7
