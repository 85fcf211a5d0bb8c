"""Two spellings of one phone line in Brazil, Mexico or Argentina are one person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.support.syncer import Syncer

LINES = [
    ("551187654321", "5511987654321"),
    ("5215512345678", "525512345678"),
    ("541123456789", "5491123456789"),
]
BOTH_WAYS = [*LINES, *((new, old) for old, new in LINES)]


def row(phone: str, tier: Any = "gold") -> dict[str, Any]:
    return {"phone": phone, "name": "Ada", "tier": tier, "city": "Recife"}


def tier_of(syncer: Syncer, phone: str) -> str | None:
    person = syncer.sandbox.state.by_phone.get(phone)
    return None if person is None else (person.custom_params or {}).get("tier")


@pytest.mark.parametrize(("old", "new"), BOTH_WAYS)
def test_a_change_of_spelling_clears_nobody(syncer: Syncer, old: str, new: str) -> None:
    """Finding B4: with ``clear``, a row in another spelling is the same person: nothing is set and cleared at once."""
    syncer.run([row(old)], on_removed="clear", max_removed=1)
    syncer.calls()
    assert syncer.run([row(new)], on_removed="clear", max_removed=1) == {"unchanged": 1}
    assert syncer.calls() == {}
    assert syncer.run([row(new, "silver")], on_removed="clear", max_removed=1) == {"updated": 1}
    assert syncer.calls() == {"PUT /contacts": 1}
    # WATI has the contact in the old spelling, and knows no other.
    assert (tier_of(syncer, old), tier_of(syncer, new)) == ("silver", None)
    assert syncer.run([row(old, "silver")], on_removed="clear", max_removed=1) == {"unchanged": 1}


@pytest.mark.parametrize(("old", "new"), BOTH_WAYS)
def test_both_spellings_in_one_table_are_one_person_twice(syncer: Syncer, old: str, new: str) -> None:
    """Finding B4: rows in both spellings are refused as duplicates, in each run."""
    for _ in range(2):
        assert syncer.run([row(old), row(new, "silver")]) == {"invalid": 2}
        assert "2 rows, in two spellings of its country, of which row 1 is the first" in str(
            syncer.reasons()[1]
        )
    assert not syncer.sandbox.state.contacts


@pytest.mark.parametrize(("old", "new"), BOTH_WAYS)
def test_a_row_updates_the_contact_in_the_spelling_that_wati_lists(
    syncer: Syncer, old: str, new: str
) -> None:
    """A contact that WATI lists in the other spelling is updated there, and no second one is created."""
    syncer.sandbox.control("POST", "/contacts", {"contacts": [{"phone": old, "name": "Ada"}]})
    assert syncer.run([row(new)]) == {"updated": 1}
    assert tier_of(syncer, old) == "gold"
    assert len(syncer.sandbox.state.contacts) == 1
    assert syncer.run([row(new)], snapshot=None) == {"unchanged": 1}


@pytest.mark.parametrize(("old", "new"), BOTH_WAYS)
def test_where_wati_has_both_spellings_the_one_of_the_row_is_written(
    syncer: Syncer, old: str, new: str
) -> None:
    """Of two contacts of one line, the one that the row names is updated once, and the other one is left alone."""
    people = [{"phone": phone, "name": "Ada", "custom_params": {"tier": "x"}} for phone in (old, new)]
    syncer.sandbox.control("POST", "/contacts", {"contacts": people})
    for expected in ({"updated": 1}, {"unchanged": 1}):
        assert syncer.run([row(new)], snapshot=None) == expected
        assert (tier_of(syncer, old), tier_of(syncer, new)) == ("x", "gold")


@pytest.mark.parametrize("unknown", ["refuse", "skip"])
@pytest.mark.parametrize(("old", "new"), BOTH_WAYS)
def test_a_contact_that_wati_renumbers_is_updated_in_its_new_spelling(
    syncer: Syncer, old: str, new: str, unknown: str
) -> None:
    """When WATI has a contact in the other spelling only, the update goes there, and so does the next run's."""
    syncer.sandbox.control("PATCH", "/settings", {"unknown_contact_in_update": unknown})
    syncer.run([row(old), row("919700000001")])
    state = syncer.sandbox.state
    state.delete_contact(state.by_phone[old])
    syncer.sandbox.control("POST", "/contacts", {"contacts": [{"phone": new, "name": "Ada"}]})
    for tier in ("silver", "bronze"):
        syncer.calls()
        assert syncer.run([row(old, tier), row("919700000001")]) == {"updated": 1, "unchanged": 1}
        assert tier_of(syncer, new) == tier
    # Its spelling is known by now.
    assert syncer.calls() == {"PUT /contacts": 1}
    # Who is cleared is found too.
    state.delete_contact(state.by_phone[new])
    syncer.sandbox.control(
        "POST", "/contacts", {"contacts": [{"phone": old, "name": "Ada", "custom_params": {"tier": "x"}}]}
    )
    counts = syncer.run([row("919700000001")], on_removed="clear", max_removed=1)
    assert counts == {"unchanged": 1, "cleared": 1}
    assert not tier_of(syncer, old)


@pytest.mark.parametrize(("old", "new"), BOTH_WAYS)
def test_a_new_contact_that_exists_in_the_other_spelling_is_found(syncer: Syncer, old: str, new: str) -> None:
    """After a create that is refused, the contact is looked up in both spellings before it is called missing."""
    # They write to us after the listing.
    syncer.sandbox.fault("answer", method="GET", path="*/contacts/count", answer={"contact_count": 0})
    syncer.sandbox.fault("answer", method="GET", path="*/contacts", answer={"contact_list": []})
    syncer.sandbox.control("POST", "/contacts", {"contacts": [{"phone": old, "name": "Ada"}]})
    syncer.sandbox.fault("status", method="POST", path="*/contacts", status=400)
    assert syncer.run([row(new)]) == {"updated": 1}
    assert tier_of(syncer, old) == "gold"


@pytest.mark.parametrize("mode", ["upsert", "insert"])
@pytest.mark.parametrize(("old", "new"), BOTH_WAYS)
def test_a_line_gets_no_second_contact(syncer: Syncer, old: str, new: str, mode: str) -> None:
    """A contact that is new in WATI in the other spelling is found before one is created, with one call."""
    syncer.run([])
    syncer.sandbox.control("POST", "/contacts", {"contacts": [{"phone": old, "name": "Ada"}]})
    syncer.calls()
    assert syncer.run([row(new)], mode=mode) == ({"updated": 1} if mode == "upsert" else {"skipped": 1})
    assert len(syncer.sandbox.state.contacts) == 1
    assert tier_of(syncer, old) == ("gold" if mode == "upsert" else None)
    calls = syncer.calls()
    assert (calls["GET /contacts/{n}"], calls["POST /contacts"]) == (1, 0)


@pytest.mark.parametrize(("old", "new"), BOTH_WAYS)
def test_the_other_spelling_is_looked_up_only_where_it_may_be_in_wati(
    syncer: Syncer, old: str, new: str
) -> None:
    """After a listing in the same run, and for a phone number with one spelling, a create costs one call."""
    assert syncer.run([row(old)]) == {"created": 1}
    assert syncer.calls()["GET /contacts/{n}"] == 0
    assert syncer.run([row(old), row("919700000001")]) == {"created": 1, "unchanged": 1}
    assert syncer.calls() == {"POST /contacts": 1}


def test_a_line_whose_other_spelling_cannot_be_looked_up_is_unknown(syncer: Syncer) -> None:
    """When the look-up of the other spelling fails, nothing is created, and the next run does it."""
    old, new = LINES[0]
    syncer.run([])
    syncer.sandbox.fault("status", method="GET", status=500, path=f"*{old}")
    client = syncer.sandbox.client(max_tries=2)
    assert syncer.run([row(new), row("919700000001")], client=client) == {"created": 1, "unknown": 1}
    assert "could not be looked up" in str(syncer.reasons()[0])
    syncer.sandbox.control("DELETE", "/faults")
    assert syncer.run([row(new), row("919700000001")]) == {"created": 1, "unchanged": 1}
    assert tier_of(syncer, new) == "gold"
