"""Customers who are added or write by the control API."""

from __future__ import annotations

from tests.unit.sandbox.conftest import NOBODY, PAGE, Caller


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
