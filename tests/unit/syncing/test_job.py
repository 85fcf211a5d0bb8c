"""Contact sync: what it writes, what it leaves alone, and the state after a crash."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiConfigurationError,
    WatiError,
    WatiPermissionError,
    WatiValidationError,
)
from airflow_provider_wati.syncing.job import ContactSync
from airflow_provider_wati.syncing.row_mapping import ContactColumns
from airflow_provider_wati.syncing.snapshot import read_snapshot
from airflow_provider_wati.tables.phone_numbers import TargetReader
from tests.support.syncer import ATTRIBUTES, Syncer, number, row

if TYPE_CHECKING:
    from airflow_provider_wati.state.directory import StateFile

# What is written


def test_only_what_changed_costs_a_call(syncer: Syncer) -> None:
    """Unchanged rows cost no call, changed rows one per 100, new rows one each."""
    syncer.sandbox.control("POST", "/contacts", {"count": 1_000, "first_phone": number(0)})
    rows = [row(n, tier="gold" if n < 5 else None, city=None) for n in range(1_000)]
    assert syncer.run(rows) == {"updated": 5, "unchanged": 995}
    reads = {"GET /contacts": 11, "GET /contacts/count": 1}  # ceil(contacts / 100) + 2
    assert syncer.calls() == {**reads, "PUT /contacts": 1}
    assert (syncer.summary["reads"], syncer.summary["writes"]) == (12, 1)

    assert syncer.run(rows) == {"unchanged": 1_000}
    assert syncer.calls() == {}
    assert syncer.summary["calls"] == 0

    changed = [{**each, "tier": "new"} for each in rows[:250]] + rows[250:]
    assert syncer.run(changed) == {"updated": 250, "unchanged": 750}
    assert syncer.calls() == {"PUT /contacts": 3}

    assert syncer.run([*changed, *(row(n) for n in range(1_000, 1_007))]) == {
        "created": 7,
        "unchanged": 1_000,
    }
    assert syncer.calls() == {"POST /contacts": 7}
    assert [syncer.params(n) for n in (0, 249, 250, 1_006)] == [
        {"tier": "new"},
        {"tier": "new"},
        {},
        {"tier": "gold", "city": "Pune"},
    ]


def test_values_become_text_and_null_empties_an_old_value(syncer: Syncer) -> None:
    """Values are written as text, and NULL empties an old value."""
    syncer.run([row(1, tier=3.0, city=None), row(2, tier=True), row(3, tier="", city="x" * 3_000)])
    assert [syncer.params(n) for n in (1, 2, 3)] == [
        {"tier": "3"},
        {"tier": "true", "city": "Pune"},
        {"city": "x" * 3_000},
    ]
    # Nobody has ever had the value that is NULL, so it was not even created empty.
    assert "city" not in (syncer.sandbox.state.by_phone[number(1)].custom_params or {})
    assert syncer.run([row(1, tier=3, city=None), row(2, tier=None), row(3, tier=None, city=None)]) == {
        "updated": 2,
        "unchanged": 1,
    }
    assert [syncer.params(n) for n in (1, 2, 3)] == [{"tier": "3"}, {"city": "Pune"}, {}]


@pytest.mark.parametrize(
    ("value", "text"),
    [(Decimal("1.00"), "1.00"), (Decimal("1E+3"), "1000"), (3.0, "3"), (1e16, "1e+16"), (0.0000001, "1e-07")],
)
def test_numbers_become_the_texts_that_the_documentation_states(
    syncer: Syncer, value: Any, text: str
) -> None:
    """Decimals have no exponent and keep their digits; large and small floats have one (docs/sync.md)."""
    syncer.run([row(1, tier=value)])
    assert syncer.params(1) == {"tier": text, "city": "Pune"}


def test_spaces_at_the_ends_of_a_value_are_neither_written_nor_compared(
    syncer: Syncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The padding of a CHAR column is removed, so that a value counts as written whether or not WATI removes it too."""
    syncer.add((1, {"tier": " gold ", "city": "Pune"}), (2, {"tier": "   "}))
    rows = [row(1, tier="gold  "), row(2, tier="  ", city=None), row(3, tier="gold   ", city="  ")]
    for mode in ("insert", "upsert"):
        syncer.snapshot.path.unlink(missing_ok=True)
        syncer.run(rows, mode=mode)
        assert syncer.statuses()[:2] == (["skipped"] * 2 if mode == "insert" else ["unchanged"] * 2)
    assert syncer.params(3) == {"tier": "gold"}
    assert syncer.statuses()[2] == "unchanged"


def test_a_padded_value_is_cleared(syncer: Syncer) -> None:
    """A person whose values were padded is emptied when they leave the rows."""
    rows = [row(n) for n in range(9)]
    assert syncer.run([*rows, row(10, tier="gold  ")]) == {"created": 10}
    assert syncer.run(rows, on_removed="clear") == {"unchanged": 9, "cleared": 1}
    assert syncer.params(10) == {}


def test_other_attributes_stay_and_a_newly_mapped_one_is_looked_up(syncer: Syncer) -> None:
    """Attributes that are not mapped stay; a newly mapped one causes a listing."""
    syncer.add((1, {"own": "kept", "city": "Goa"}), (2, {"city": "Goa"}))
    only_tier = {"tier": "tier"}
    syncer.run([row(1), row(2)], attributes=only_tier)
    syncer.calls()
    # The snapshot does not know the city, and WATI has one where the rows have none.
    assert syncer.run([row(1, city=None), row(2, city="Goa")]) == {"updated": 1, "unchanged": 1}
    assert syncer.calls()["GET /contacts"] == 2  # a short page, and the proof that it was the last
    assert syncer.params(1) == {"own": "kept", "tier": "gold"}
    assert syncer.run([row(1), row(2)], attributes=only_tier) == {"unchanged": 2}
    assert syncer.calls() == {}


def test_rows_with_errors_are_invalid_and_stop_nobody_else(syncer: Syncer) -> None:
    """Each row with an error is invalid, with its reason; the others are written."""
    rows = [
        row(1),
        {"phone": "+91 97000 00002", "name": None, "tier": None, "city": None},
        {"phone": f"{number(3)}.0", "name": "Float", "tier": 1, "city": 2},
        row(4),
        {**row(4), "phone": f"+{number(4)}"},
        row(5, tier=["a"]),
        {"name": "no phone"},
        row(6, name="  "),
        row(7, name="🎉 Ünïcode"),
    ]
    assert syncer.run(rows) == {"created": 2, "invalid": 7}
    reasons = [reason or "" for reason in syncer.reasons()]
    for n, words in (
        (2, "WATI needs one for a new contact"),
        (3, "was a float"),
        (4, "stands in 2 rows, of which row 4 is the first"),
        (5, "stands in 2 rows"),
        (6, "column 'tier': a list cannot be written"),
        (7, "no column 'phone'"),
        (8, "WATI needs one"),
    ):
        assert words in reasons[n - 1]
    assert [outcome["row"] for outcome in syncer.outcomes] == list(range(1, 10))
    assert sorted(syncer.sandbox.state.by_phone) == [number(1), number(7)]
    assert syncer.sandbox.state.by_phone[number(7)].name == "🎉 Ünïcode"
    assert all(number(4) not in str(each) for each in syncer.summary["problems"])


def test_a_phone_number_is_read_by_the_region(syncer: Syncer) -> None:
    """A national phone number gets the country code of the region."""
    rows = [{"phone": "09700000001", "name": "Ada", "tier": "a", "city": "b"}]
    assert syncer.run(rows, targets=TargetReader("IN")) == {"created": 1}
    assert syncer.params(1) == {"tier": "a", "city": "b"}


def test_another_name_in_wati_is_reported(syncer: Syncer) -> None:
    """The reason says that WATI has another name, and the name is not counted as written."""
    syncer.add((1, {}), (2, {"tier": "gold", "city": "Pune"}))
    for statuses in (["updated", "unchanged"], ["unchanged", "unchanged"]):
        syncer.run([row(1, name="Grace"), row(2, name="Grace")])
        assert syncer.statuses() == statuses
        assert all("another name" in (reason or "") for reason in syncer.reasons())
    assert syncer.sandbox.state.by_phone[number(1)].name == "Ada"


@pytest.mark.parametrize("mode", ["upsert", "update", "insert"])
def test_modes(syncer: Syncer, mode: str) -> None:
    """The mode decides about known and unknown phone numbers."""
    syncer.add((1, {"tier": "old"}))
    expected = {
        "upsert": ["updated", "created"],
        "update": ["updated", "skipped"],
        "insert": ["skipped", "created"],
    }
    syncer.run([row(1), row(2)], mode=mode)
    assert syncer.statuses() == expected[mode]
    full = {"tier": "gold", "city": "Pune"}
    assert syncer.params(1) == ({"tier": "old"} if mode == "insert" else full)
    assert syncer.params(2) == (None if mode == "update" else full)


def test_update_finds_contacts_that_are_new_in_wati(syncer: Syncer) -> None:
    """Mode update finds a contact that WATI created since the last run."""
    syncer.add((1, {}))
    assert syncer.run([row(1), row(2)], mode="update") == {"updated": 1, "skipped": 1}
    syncer.calls()
    assert syncer.run([row(1), row(2)], mode="update") == {"unchanged": 1, "skipped": 1}
    assert syncer.calls() == {"GET /contacts/{n}": 1}
    syncer.add((2, {}))
    assert syncer.run([row(1), row(2)], mode="update") == {"unchanged": 1, "updated": 1}


def test_update_finds_a_new_contact_when_another_one_is_deleted(syncer: Syncer) -> None:
    """Mode update finds a new contact although WATI counts as many contacts as before."""
    syncer.add((1, {}), (2, {}), (3, {}))
    assert syncer.run([row(1), row(2)], mode="update") == {"updated": 2}
    state = syncer.sandbox.state
    state.delete_contact(state.by_phone[number(3)])
    syncer.add((4, {}))
    rows = [row(1), row(2), row(4)]
    assert syncer.run(rows, mode="update") == {"unchanged": 2, "updated": 1}
    assert syncer.params(4) == {"tier": "gold", "city": "Pune"}


def test_update_finds_a_contact_that_was_deleted_and_is_back(syncer: Syncer) -> None:
    """Mode update skips a person whose contact is deleted, until WATI has the contact again."""
    syncer.add((1, {}), (2, {}))
    rows = [row(1), row(2, tier="silver")]
    syncer.run([row(1), row(2)], mode="update")
    state = syncer.sandbox.state
    state.delete_contact(state.by_phone[number(2)])
    assert syncer.run(rows, mode="update") == {"unchanged": 1, "skipped": 1}
    syncer.add((2, {}))
    assert syncer.run(rows, mode="update") == {"unchanged": 1, "updated": 1}


def test_update_lists_contacts_where_that_takes_fewer_calls(syncer: Syncer) -> None:
    """Many people whom WATI does not know are found in a listing, and few are looked up."""
    syncer.add(*((n, {}) for n in range(150)))
    rows = [row(n) for n in range(153)]
    assert syncer.run(rows, mode="update") == {"updated": 150, "skipped": 3}
    listing = {"GET /contacts/count": 1, "GET /contacts": 2}
    for some, calls in ((rows[:152], {"GET /contacts/count": 1, "GET /contacts/{n}": 2}), (rows, listing)):
        syncer.calls()
        syncer.run(some, mode="update")
        assert syncer.calls() == calls


@pytest.mark.parametrize("attribute", ["allow_broadcast", "allowBroadcast", "Allow SMS", "opted_in"])
def test_consent_is_never_written(syncer: Syncer, attribute: str) -> None:
    """An attribute that is consent is refused in any spelling."""
    with pytest.raises(WatiValidationError, match="is consent"):
        ContactColumns("phone", "name", {attribute: "consent"})


def test_a_dry_run_has_the_same_plan_and_writes_nothing(syncer: Syncer) -> None:
    """A dry run has the plan of the real run, and makes no write."""
    syncer.add((1, {}))
    rows = [row(1), row(2), row(3)]
    syncer.run(rows, dry_run=True)
    plan = syncer.summary["plan"]
    assert (plan["to_create"], plan["to_update"], plan["calls"]) == (2, 1, 3)
    assert syncer.statuses() == ["unsent"] * 3
    assert set(syncer.reasons()) == {"dry run"}
    assert not syncer.snapshot.path.exists()
    assert not any(call.startswith(("PUT", "POST")) for call in syncer.calls())
    syncer.run(rows)
    assert syncer.summary["plan"] == plan
    assert syncer.summary["writes"] == 3


def test_the_plan_tells_the_time_at_the_pace_of_the_connection(syncer: Syncer) -> None:
    """The seconds of the plan follow the rate limit of the connection."""
    from airflow_provider_wati.client import WatiClient

    client = WatiClient(syncer.sandbox.endpoint, syncer.sandbox.token, rate_limits={"contacts": [1_000, 10]})
    rows = [row(n) for n in range(2_001)]
    syncer.run(rows, client=client, dry_run=True)
    assert (syncer.summary["plan"]["calls"], syncer.summary["plan"]["seconds"]) == (2_001, 20.0)


# Those who are gone from the rows


def test_removed_people_are_ignored_by_default(syncer: Syncer) -> None:
    """People who are no longer in the rows keep their attributes, unless on_removed is clear."""
    syncer.run([row(n) for n in range(10)])
    assert syncer.run([row(n) for n in range(9)]) == {"unchanged": 9}
    assert syncer.params(9) == {"tier": "gold", "city": "Pune"}
    assert syncer.run([row(n) for n in range(9)], on_removed="clear") == {"unchanged": 9, "cleared": 1}
    assert syncer.params(9) == {}
    assert (syncer.summary["total"], syncer.summary["rows_read"]) == (10, 9)
    assert syncer.outcomes[-1] == {"row": None, "target": number(9), "status": "cleared", "reason": None}
    # A cleared contact is not cleared again; a person who comes back is written again.
    assert syncer.run([row(n) for n in range(9)], on_removed="clear") == {"unchanged": 9}
    assert syncer.run([row(n) for n in range(10)], on_removed="clear") == {"unchanged": 9, "updated": 1}


def test_clear_empties_only_contacts_that_the_sync_has_written(syncer: Syncer) -> None:
    """Contacts that the sync has not written are not cleared."""
    syncer.add((50, {"tier": "own"}), (51, {"tier": "gold", "city": "Pune"}))
    # 51 was right already, so it was never written.
    syncer.run([row(n) for n in (*range(9), 51)])
    assert syncer.run([row(n) for n in range(9)], on_removed="clear") == {"unchanged": 9}
    assert syncer.params(50) == {"tier": "own"}
    assert syncer.params(51) == {"tier": "gold", "city": "Pune"}


@pytest.mark.parametrize(("left", "words"), [(0, "There are no rows"), (7, "max_removed 0.2 allows 2")])
def test_clear_refuses_too_many_removed_people(syncer: Syncer, left: int, words: str) -> None:
    """No rows, and more removed people than max_removed, fail before the first write."""
    syncer.run([row(n) for n in range(10)])
    syncer.calls()
    with pytest.raises(WatiValidationError, match=words):
        syncer.run([row(n, tier="new") for n in range(left)], on_removed="clear")
    assert syncer.calls() == {}
    assert syncer.statuses() == ["unsent"] * left
    if left:
        assert syncer.run([row(n) for n in range(left)], on_removed="clear", max_removed=0.3)["cleared"] == 3


def test_nobody_is_cleared_who_may_be_in_an_unreadable_row(syncer: Syncer) -> None:
    """While a phone number cannot be read, nobody is cleared."""
    syncer.run([row(n) for n in range(10)])
    rows = [*(row(n) for n in range(9)), {**row(9), "phone": "9.7E+11"}]
    assert syncer.run(rows, on_removed="clear") == {"unchanged": 9, "invalid": 1, "skipped": 1}
    assert "one of them may be this person" in str(syncer.reasons()[-1])
    # A row that is invalid for another reason still says that its person is there.
    rows = [*(row(n) for n in range(9)), row(9, tier=[])]
    assert syncer.run(rows, on_removed="clear") == {"unchanged": 9, "invalid": 1}
    assert syncer.params(9) == {"tier": "gold", "city": "Pune"}


def test_clear_needs_a_snapshot(syncer: Syncer) -> None:
    """clear without a state_path is refused."""
    with pytest.raises(WatiConfigurationError, match="state_path"):
        ContactSync(
            client=syncer.sandbox.client(),
            sync_key="key",
            columns=ContactColumns("phone", "name", {}),
            snapshot=None,
            on_removed="clear",
        )


def test_without_a_snapshot_wati_is_listed_in_each_run(
    syncer: Syncer, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a snapshot, every run lists the contacts."""
    # A short page is followed by the proof that it was the last; an empty one is not.
    for expected, pages in (({"created": 2}, 1), ({"unchanged": 2}, 2)):
        assert syncer.run([row(1), row(2)], snapshot=None) == expected
        assert syncer.calls()["GET /contacts"] == pages
    assert "no state_path" in caplog.text


# What WATI refuses


@pytest.mark.parametrize("duplicate", ["refuse", "overwrite", "ignore"])
@pytest.mark.parametrize("mode", ["upsert", "insert"])
def test_an_existing_contact_is_updated_instead_of_created(syncer: Syncer, duplicate: str, mode: str) -> None:
    """A create that finds an existing contact becomes an update."""
    syncer.sandbox.control("PATCH", "/settings", {"duplicate_contact": duplicate})
    syncer.run([])
    # They wrote to us since the snapshot was made.
    syncer.add((1, {"tier": "old"}), (2, {"tier": "gold", "city": "Pune"}))
    syncer.run([row(1), row(2), row(3)], mode=mode)
    if mode == "upsert":
        assert syncer.params(1) == {"tier": "gold", "city": "Pune"}
        # Who tells nobody that it overwrote cannot be told from who created.
        assert syncer.statuses()[0] == ("created" if duplicate == "overwrite" else "updated")
    elif duplicate != "overwrite":
        assert syncer.params(1) == {"tier": "old"}
        assert syncer.statuses()[0] == "skipped"
    assert syncer.statuses()[2] == "created"
    assert len(syncer.sandbox.state.contacts) == 3
    assert syncer.run([row(1), row(2), row(3)]).get("created") is None


def test_a_create_without_attributes_in_its_answer_is_written_again(syncer: Syncer) -> None:
    """When the answer to a create shows no attributes, they are written by an update."""
    syncer.sandbox.fault("answer", method="POST", when="after", answer={"custom_params": None})
    assert syncer.run([row(1), row(2)]) == {"created": 2}
    assert syncer.calls()["PUT /contacts"] == 1


@pytest.mark.parametrize("mode", ["upsert", "insert"])
@pytest.mark.parametrize("is_new", [True, False])
def test_a_create_without_attributes_in_its_answer_may_have_found_a_contact(
    syncer: Syncer, mode: str, is_new: bool
) -> None:
    """Such an answer does not say if WATI had the contact: mode upsert sets all attributes, and mode insert changes none."""
    syncer.sandbox.control("PATCH", "/settings", {"duplicate_contact": "ignore"})
    syncer.run([])
    own = {"tier": "VIP", "city": "Delhi"}
    if not is_new:
        syncer.add((1, own))
    syncer.sandbox.fault("answer", method="POST", when="after", answer={"custom_params": None})
    syncer.calls()
    counts = syncer.run([row(1, city=None)], mode=mode)
    # In mode upsert, one that was found cannot be told from one that was created.
    assert counts == ({"created": 1} if is_new or mode == "upsert" else {"skipped": 1})
    assert syncer.params(1) == (own if counts == {"skipped": 1} else {"tier": "gold"})
    assert syncer.calls().total() == 2


@pytest.mark.parametrize("has_left", [True, False])
def test_a_create_without_attributes_in_its_answer_is_finished_by_the_next_run(
    syncer: Syncer, has_left: bool
) -> None:
    """When a run ends after such a create, the next one empties the attributes, by its row or by clear."""
    rows = [row(n) for n in range(9)]
    syncer.run(rows)
    syncer.sandbox.fault("answer", method="POST", when="after", answer={"custom_params": None})
    syncer.sandbox.fault("status", method="PUT", status=401)
    with pytest.raises(WatiError, match="401"):
        syncer.run([*rows, row(10)])
    syncer.sandbox.control("DELETE", "/faults")
    assert syncer.params(10) == {"tier": "gold", "city": "Pune"}
    if has_left:
        assert syncer.run(rows, on_removed="clear") == {"unchanged": 9, "cleared": 1}
    else:
        assert syncer.run([*rows, row(10, tier=None, city=None)]) == {"unchanged": 9, "updated": 1}
    assert syncer.params(10) == {}


def test_a_batch_that_is_refused_is_split_until_the_bad_row_stands_alone(syncer: Syncer) -> None:
    """A refused batch is halved, and only the row at fault is rejected."""
    syncer.run([row(n) for n in range(120)])
    syncer.calls()
    syncer.sandbox.fault("status", method="PUT", status=400, contains='"value":"bad"')
    rows = [row(n, tier="bad" if n == 37 else "new") for n in range(120)]
    assert syncer.run(rows) == {"updated": 119, "rejected": 1}
    assert syncer.statuses()[37] == "rejected"
    calls = syncer.calls()
    assert calls["PUT /contacts"] < 20
    assert syncer.params(36) == syncer.params(38) == {"tier": "new", "city": "Pune"}
    syncer.sandbox.control("DELETE", "/faults")
    assert syncer.run(rows) == {"updated": 1, "unchanged": 119}


def test_a_person_that_the_answer_leaves_out_is_not_updated(syncer: Syncer) -> None:
    """A person that the answer leaves out is rejected."""
    syncer.run([row(1), row(2)])
    syncer.sandbox.fault("answer", method="PUT", answer={"contact_list": []}, count=1)
    assert syncer.run([row(1, tier="new"), row(2)]) == {"rejected": 1, "unchanged": 1}
    assert "leaves the contact out" in str(syncer.reasons()[0])
    assert syncer.params(1) == {"tier": "gold", "city": "Pune"}
    assert syncer.run([row(1, tier="new"), row(2)]) == {"updated": 1, "unchanged": 1}


@pytest.mark.parametrize("is_deleted", [True, False])
def test_an_answer_with_a_contact_without_a_phone_number_shows_nobody(
    syncer: Syncer, is_deleted: bool
) -> None:
    """A person is looked up when the answer has a contact without a phone number in their place."""
    syncer.sandbox.control("PATCH", "/settings", {"unknown_contact_in_update": "skip"})
    syncer.run([row(1), row(2)])
    state = syncer.sandbox.state
    if is_deleted:
        state.delete_contact(state.by_phone[number(2)])
    params = [{"name": "tier", "value": "new"}, {"name": "city", "value": "Pune"}]
    answer = [
        {"id": "a" * 24, "phone": f"+{number(1)}", "custom_params": params},
        {"id": "b" * 24, "phone": None, "channel_type": "instagram", "custom_params": []},
    ]
    syncer.sandbox.fault("answer", method="PUT", when="after", answer={"contact_list": answer})
    rows = [row(1, tier="new"), row(2, tier="new")]
    assert syncer.run(rows) == ({"created": 1, "updated": 1} if is_deleted else {"updated": 2})
    assert syncer.params(2) == {"tier": "new", "city": "Pune"}


def test_an_answer_with_the_old_value_is_rejected(syncer: Syncer) -> None:
    """An answer that shows another value than was written is a rejection."""
    syncer.run([row(1)])
    person = syncer.sandbox.state.by_phone[number(1)]
    old = {"id": person.id, "wa_id": person.phone, "custom_params": [{"name": "tier", "value": "gold"}]}
    syncer.sandbox.fault("answer", method="PUT", answer={"contact_list": [old]}, count=1)
    assert syncer.run([row(1, tier="new")]) == {"rejected": 1}
    assert "another value of 'tier'" in str(syncer.reasons()[0])


@pytest.mark.parametrize("unknown", ["refuse", "skip"])
def test_a_contact_that_was_deleted_in_wati_is_created_again(syncer: Syncer, unknown: str) -> None:
    """An update of a deleted contact becomes a create."""
    syncer.sandbox.control("PATCH", "/settings", {"unknown_contact_in_update": unknown})
    syncer.run([row(n) for n in range(4)])
    for n in (1, 2, 3):
        syncer.sandbox.client().delete_contact(number(n))
    rows = [row(0, tier="new"), row(1, tier="new"), row(2, tier="new", name=None)]
    expected = {"updated": 1, "created": 1, "invalid": 1, "skipped": 1}
    assert syncer.run(rows, on_removed="clear", max_removed=1) == expected
    assert syncer.params(1) == {"tier": "new", "city": "Pune"}
    assert syncer.statuses() == ["updated", "created", "invalid", "skipped"]
    assert syncer.run(rows[:2], mode="update", on_removed="clear", max_removed=1) == {"unchanged": 2}


def test_a_refused_create_is_rejected_and_written_by_the_next_run(syncer: Syncer) -> None:
    """A refused create is rejected, and the next run writes it again."""
    syncer.sandbox.fault("status", method="POST", status=400, contains=number(2), count=1)
    rows = [row(1), row(2), row(3)]
    assert syncer.run(rows) == {"created": 2, "rejected": 1}
    assert syncer.run(rows) == {"created": 1, "unchanged": 2}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_create_without_an_answer_is_looked_up(syncer: Syncer, when: str) -> None:
    """After a create without an answer, the contact is looked up."""
    syncer.sandbox.fault("drop", method="POST", when=when, count=1)
    first = syncer.run([row(1), row(2)])
    assert first == ({"created": 2} if when == "after" else {"created": 1, "unknown": 1})
    syncer.calls()
    assert syncer.run([row(1), row(2)]).get("unknown") is None
    # Never created again without a look.
    assert syncer.calls() == ({} if when == "after" else {"GET /contacts/{n}": 1, "POST /contacts": 1})
    assert syncer.params(1) == {"tier": "gold", "city": "Pune"}


@pytest.mark.parametrize("status", [401, 429])
def test_a_stopped_run_leaves_the_rest_to_the_next_one(syncer: Syncer, status: int) -> None:
    """After a 401 or 429 the rest is unsent, and the next run writes it."""
    rows = [row(n) for n in range(5)]
    syncer.sandbox.fault("status", status=status, method="POST", skip=2, retry_after=9_999)
    with pytest.raises(Exception, match=str(status)) as caught:
        syncer.run(rows)
    assert getattr(caught.value, "status_code", None) == status
    assert syncer.statuses() == ["created", "created", "unsent", "unsent", "unsent"]
    assert str(status) in str(syncer.reasons()[2])
    syncer.sandbox.control("DELETE", "/faults")
    syncer.calls()
    assert syncer.run(rows) == {"created": 3, "unchanged": 2}
    # What was not attempted is not in doubt, so nobody is asked about it.
    assert syncer.calls() == {"POST /contacts": 3}


def test_a_contact_that_wati_fails_at_stops_nobody_else(syncer: Syncer) -> None:
    """A 500 for one contact leaves only this one unknown."""
    rows = [row(n) for n in range(250)]
    syncer.add(*((n, {}) for n in range(250)))
    syncer.sandbox.fault("status", method="PUT", status=500, contains=number(7))
    assert syncer.run(rows) == {"updated": 249, "unknown": 1}
    assert syncer.statuses()[7] == "unknown"
    syncer.sandbox.control("DELETE", "/faults")
    assert syncer.run(rows) == {"updated": 1, "unchanged": 249}


FAULTS: dict[str, dict[str, Any]] = {
    "500": {"kind": "status", "status": 500},
    "403": {"kind": "status", "status": 403},
    "reset": {"kind": "drop", "reset": True},
    "timeout": {"kind": "delay", "seconds": 3.0},
}


def client_for(syncer: Syncer, fault: str) -> Any:
    """A client that waits less than the fault ``timeout`` takes, and long for the others."""
    return syncer.sandbox.client(timeout=(30.0, 1.0 if fault == "timeout" else 30.0))


@pytest.mark.parametrize("fault", FAULTS)
def test_one_row_that_draws_a_failure_in_an_update_is_named_and_costs_no_other(
    syncer: Syncer, fault: str
) -> None:
    """Finding B1: a batch that fails because of one row is written without it, and the failure is this row's outcome."""
    rows = [row(n, tier="poison" if n == 77 else "new") for n in range(120)]
    syncer.add(*((n, {}) for n in range(120)))
    syncer.sandbox.fault(method="PUT", contains="poison", **FAULTS[fault])
    expected = "rejected" if fault == "403" else "unknown"
    for written in ("updated", "unchanged"):
        syncer.run(rows, client=client_for(syncer, fault))
        assert syncer.statuses() == [written] * 77 + [expected] + [written] * 42
    assert all(syncer.params(n) == {"tier": "new", "city": "Pune"} for n in range(120) if n != 77)


@pytest.mark.parametrize("fault", FAULTS)
def test_new_rows_that_draw_a_failure_are_named_and_cost_no_other(syncer: Syncer, fault: str) -> None:
    """Finding B1: neighbours that fail in a row are named, and everybody behind them is created."""
    bad = range(3, 9)
    rows = [row(n, city="poison" if n in bad else "Pune") for n in range(30)]
    syncer.sandbox.fault(method="POST", contains="poison", **FAULTS[fault])
    expected = "rejected" if fault == "403" else "unknown"
    syncer.run(rows, client=client_for(syncer, fault))
    assert syncer.statuses() == [expected if n in bad else "created" for n in range(30)]
    assert all(syncer.params(n) for n in range(30) if n not in bad)


@pytest.mark.parametrize("fault", ["500", "403", "reset"])
@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("reads_work", [True, False])
def test_an_outage_ends_the_run_after_few_calls(
    syncer: Syncer, fault: str, method: str, reads_work: bool
) -> None:
    """Where every write fails, a run ends with the error and a bounded number of calls, also if reads work."""
    if method == "PUT":
        syncer.add(*((n, {}) for n in range(500)))
    syncer.run([])
    syncer.calls()
    kind = FAULTS[fault]
    syncer.sandbox.fault(method=method, **kind)
    if not reads_work:
        syncer.sandbox.fault(method="GET", **kind)
    with pytest.raises(WatiError):
        syncer.run([row(n) for n in range(500)])
    calls = syncer.calls()
    assert calls[f"{method} /contacts"] <= (20 if reads_work else 1)
    assert calls.total() <= (60 if reads_work else 12)
    assert syncer.summary["unsent"] >= 380
    syncer.sandbox.control("DELETE", "/faults")
    counts = syncer.run([row(n) for n in range(500)])
    assert counts == {"updated" if method == "PUT" else "created": 500}


def test_an_outage_in_the_middle_is_told_by_a_write_that_worked_before(syncer: Syncer) -> None:
    """After some writes have worked, one of them is repeated, and its failure ends the run at once."""
    syncer.add(*((n, {}) for n in range(500)))
    syncer.sandbox.fault("status", method="PUT", status=403, skip=2)
    with pytest.raises(WatiPermissionError):
        syncer.run([row(n) for n in range(500)])
    assert (syncer.summary["updated"], syncer.summary["unsent"]) == (200, 300)
    assert syncer.calls()["PUT /contacts"] <= 6


def test_a_short_outage_is_waited_out_by_the_probe(syncer: Syncer) -> None:
    """Failures that pass while the probe is repeated cost no row its update."""
    syncer.add(*((n, {}) for n in range(200)))
    syncer.run([])
    syncer.sandbox.fault("status", method="*", status=502, skip=1, count=6)
    assert syncer.run([row(n) for n in range(200)]) == {"updated": 200}


def test_a_single_row_survives_one_failure(syncer: Syncer) -> None:
    """Where there is nothing to halve, the update is made once more after the probe."""
    syncer.add((1, {}))
    syncer.run([])
    syncer.sandbox.fault("status", method="PUT", status=502, count=1)
    assert syncer.run([row(1)]) == {"updated": 1}


def test_rows_that_are_all_refused_take_one_call_each(syncer: Syncer) -> None:
    """Where every row is at fault, the search does not multiply the calls."""
    syncer.add(*((n, {}) for n in range(300)))
    syncer.sandbox.fault("status", method="PUT", status=400)
    assert syncer.run([row(n) for n in range(300)]) == {"rejected": 300}
    assert syncer.calls()["PUT /contacts"] <= 340


@pytest.mark.parametrize("fault", ["500", "403", "400"])
@pytest.mark.parametrize("first", [0, 437, 860])
def test_neighbours_at_fault_take_two_calls_each(syncer: Syncer, fault: str, first: int) -> None:
    """120 adjacent rows at fault of 1,000 are all named, with at most two writes for each and those of a clean run."""
    bad = range(first, first + 120)
    rows = [row(n, tier="poison" if n in bad else "new") for n in range(1000)]
    syncer.add(*((n, {}) for n in range(1000)))
    status = int(fault)
    syncer.sandbox.fault("status", method="PUT", contains="poison", status=status)
    syncer.run([])
    syncer.calls()
    syncer.run(rows)
    expected = "unknown" if fault == "500" else "rejected"
    assert syncer.statuses() == [expected if n in bad else "updated" for n in range(1000)]
    writes = syncer.calls()["PUT /contacts"]
    print(f"{fault} from {first}: {writes} writes")
    assert writes <= 2 * len(bad) + 30


def test_scattered_rows_at_fault_take_few_calls(syncer: Syncer) -> None:
    """One row in 25 of 1,000 is named without a call for each of the others."""
    rows = [row(n, tier="poison" if n % 25 == 7 else "new") for n in range(1000)]
    syncer.add(*((n, {}) for n in range(1000)))
    syncer.sandbox.fault("status", method="PUT", contains="poison", status=500)
    syncer.run([])
    syncer.calls()
    syncer.run(rows)
    assert syncer.statuses() == ["unknown" if n % 25 == 7 else "updated" for n in range(1000)]
    writes = syncer.calls()["PUT /contacts"]
    print(f"1 in 25: {writes} writes")
    assert writes <= 400


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_refusal_for_everybody_is_blamed_on_no_row(syncer: Syncer, method: str) -> None:
    """Where every write is refused with 403, no row is rejected: all are unsent, those refused with a reason that says so."""
    if method == "PUT":
        syncer.add(*((n, {}) for n in range(300)))
    syncer.run([])
    syncer.sandbox.fault("status", method=method, status=403)
    with pytest.raises(WatiPermissionError):
        syncer.run([row(n) for n in range(300)])
    assert syncer.summary["unsent"] == 300
    refused = [reason for reason in syncer.reasons() if "may be refused to everybody" in str(reason)]
    assert 0 < len(refused) < 20
    assert all("403" in str(reason) for reason in refused)


def test_rows_refused_before_a_write_that_works_stay_rejected(syncer: Syncer) -> None:
    """A refusal that later concerns everybody takes back no outcome from before a create that worked."""
    syncer.run([])
    syncer.sandbox.fault("status", method="POST", status=403, contains="poison")
    syncer.sandbox.fault("status", method="POST", status=403, skip=5)
    with pytest.raises(WatiPermissionError):
        syncer.run([row(n, tier="poison" if n == 1 else "new") for n in range(100)])
    assert syncer.statuses()[:3] == ["created", "rejected", "created"]
    assert syncer.summary["rejected"] == 1


def test_a_contact_that_cannot_be_looked_up_costs_its_row_only(syncer: Syncer) -> None:
    """A look-up that fails for one contact leaves this row unknown, in each of the places that look up."""
    syncer.sandbox.fault("drop", method="POST", contains=number(2))
    lookup = syncer.sandbox.fault("status", method="GET", status=500, path=f"*{number(2)}")
    rows = [row(n) for n in range(1, 5)]
    for created in ("created", "unchanged"):
        syncer.run(rows, client=syncer.sandbox.client(max_tries=2))
        assert syncer.statuses() == [created, "unknown", created, created]
        assert "looked up" in str(syncer.reasons()[1])
    syncer.sandbox.control("DELETE", f"/faults/{lookup}")
    syncer.sandbox.control("DELETE", "/faults")
    assert syncer.run(rows) == {"created": 1, "unchanged": 3}


def test_nothing_happens_when_the_rows_end_in_an_error(syncer: Syncer) -> None:
    """Rows that cannot be read to the end cause no call."""

    def rows() -> Iterator[dict[str, Any]]:
        yield from (row(n) for n in range(6_000))
        raise RuntimeError("the query was cancelled")

    with pytest.raises(RuntimeError):
        syncer.run(rows())
    assert syncer.calls() == {}
    assert "could not be read to the end" in str(syncer.reasons()[0])


def test_a_damaged_snapshot_is_refused(syncer: Syncer) -> None:
    """A damaged snapshot fails the run with the way out."""
    syncer.run([row(n) for n in range(50)])
    whole = Path(syncer.snapshot.path.path).read_bytes()
    syncer.calls()
    for damaged in (whole[: len(whole) // 2], b"", b"not gzip at all"):
        Path(syncer.snapshot.path.path).write_bytes(damaged)
        with pytest.raises(WatiConfigurationError, match="snapshot"):
            syncer.run([row(1)])
    assert syncer.calls() == {}


def test_a_snapshot_is_replaced_as_a_whole(syncer: Syncer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while the snapshot is written leaves the old one."""
    syncer.run([row(1)])

    write = gzip.GzipFile.write

    def write_header_only(file: gzip.GzipFile, line: bytes) -> int:
        if line.startswith(b"["):
            raise OSError("no space left")
        return write(file, line)

    monkeypatch.setattr(gzip.GzipFile, "write", write_header_only)
    with pytest.raises(OSError, match="no space"):
        syncer.run([row(1), row(2)])
    monkeypatch.undo()
    # It could not be written down, so it was not begun.
    assert syncer.params(2) is None
    with read_snapshot(syncer.snapshot, ATTRIBUTES) as snapshot:
        assert snapshot is not None
        assert [known.phone_number for known in snapshot.known] == [number(1)]


def test_a_summary_of_many_problems_stays_small(syncer: Syncer) -> None:
    """The summary has at most 20 problems, without phone numbers."""
    syncer.run([{"phone": "x" * 500, "name": "Ada", "tier": "a", "city": "b"} for _ in range(30_000)])
    assert syncer.summary["invalid"] == 30_000
    assert len(json.dumps(syncer.summary)) < 16_000
    assert len(syncer.summary["problems"]) == 20


# Death between any two calls


class Killed(BaseException):
    """What SIGKILL is to a process: nothing after it has any effect."""


class Life:
    """Ends at a step: before or after the effect of a call, or before the snapshot is put in place."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise Killed


class MortalSnapshot:
    def __init__(self, real: StateFile, life: Life) -> None:
        self.real = real
        self.path = real.path
        self.life = life

    def read(self) -> Any:
        return self.real.read()

    def write(self) -> Any:
        self.life.step()
        return self.real.write()


class Histories:
    """Lets a sync live and die at random, on rows that change in between, and watches what reaches WATI."""

    def __init__(self, syncer: Syncer, seed: int) -> None:
        self.random = random.Random(seed)
        self.syncer = syncer
        self.created: Counter[str] = Counter()
        #: Who was named in an update with a value in it, whatever became of it.
        self.updated: set[str] = set()
        #: The attributes that rows have asked for.
        self.asked_for: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
        self.deaths = 0
        syncer.sandbox.reset(seed=False)
        syncer.snapshot.path.unlink(missing_ok=True)

    def mortal_client(self, life: Life) -> Any:
        client = self.syncer.sandbox.client(max_tries=2)
        transport: Any = client._transport
        call = transport.call

        def mortal_call(made: Any, read: Any, hooks: Any = None) -> Any:
            life.step()
            phone = json.loads(made.content)["whatsapp_number"] if made.method == "POST" else ""
            if phone:
                # Nobody may rely on WATI to notice that a contact is created twice.
                assert not self.created[phone], "created again without a look"
            for each in json.loads(made.content)["contacts"] if made.method == "PUT" else ():
                if any(param["value"] for param in each["customParams"]):
                    self.updated.add(each["target"])
            try:
                return call(made, read, hooks)
            finally:
                if phone:
                    self.created[phone] += phone in self.syncer.sandbox.state.by_phone
                life.step()

        transport.call = mortal_call
        return client

    def was_asked_for(self, phone: str, own: dict[str, str] | None) -> bool:
        """Say if a row has emptied a contact, or asked for what WATI had: then it is not known who has written it."""
        return {} in self.asked_for[phone] or own in self.asked_for[phone]

    def rows(self) -> list[dict[str, Any]]:
        some = self.random.sample(range(8), self.random.randint(3, 8))
        pick = self.random.choice
        rows = [row(n, tier=pick(["a", "b", None]), city=pick(["x", None])) for n in some]
        for each in rows:
            self.asked_for[each["phone"]].append({name: each[name] for name in ATTRIBUTES if each[name]})
        return rows

    def run(self) -> None:
        pick, syncer = self.random.choice, self.syncer
        syncer.sandbox.control(
            "PATCH",
            "/settings",
            {
                "duplicate_contact": pick(["refuse", "ignore"]),
                "unknown_contact_in_update": pick(["refuse", "skip"]),
            },
        )
        syncer.add(*((n, {"tier": pick(["a", "b", ""])}) for n in self.random.sample(range(8), 3)))
        before = {number(n): syncer.params(n) for n in range(8) if syncer.params(n) is not None}
        clear = {"on_removed": pick(["ignore", "clear"]), "max_removed": 1.0}
        for _ in range(self.random.randint(1, 4)):
            if self.random.random() < 0.5:
                fault = pick(["drop", "status"])
                syncer.sandbox.fault(
                    fault,
                    method=pick(["POST", "PUT"]),
                    when=pick(["before", "after"]),
                    skip=self.random.randint(0, 3),
                    count=self.random.randint(1, 3),
                )
            self.live(self.rows(), Life(self.random.randint(0, 14)), clear)
            syncer.sandbox.control("DELETE", "/faults")
        rows = self.rows()
        self.live(rows, Life(10_000), clear)
        assert syncer.summary["unknown"] == syncer.summary["unsent"] == syncer.summary["rejected"] == 0
        self.check(rows, clear["on_removed"] == "clear", before)

    def live(self, rows: list[dict[str, Any]], life: Life, clear: dict[str, Any]) -> None:
        try:
            self.syncer.run(
                rows,
                client=self.mortal_client(life),
                snapshot=MortalSnapshot(self.syncer.snapshot, life),
                **clear,
            )
        except (Killed, Exception) as error:
            self.deaths += 1
            if isinstance(error, AssertionError) or life.steps > 1_000:
                raise

    def check(
        self, rows: list[dict[str, Any]], clear: bool, before: dict[str, dict[str, str] | None]
    ) -> None:
        wanted = {each["phone"]: {a: each[a] for a in ATTRIBUTES if each[a]} for each in rows}
        for n in range(8):
            phone = number(n)
            if phone in wanted:
                assert self.syncer.params(n) == wanted[phone]
            elif clear and phone not in before:
                # Only this sync can have made them, so their attributes are all its own.
                assert not self.syncer.params(n)
            elif (
                phone in before and phone not in self.updated and not self.was_asked_for(phone, before[phone])
            ):
                # Nobody has written to them, so nobody may empty them.
                assert self.syncer.params(n) == before[phone]
        assert max(self.created.values(), default=0) <= 1
        # Nothing is left to be done, and nothing is done again.
        self.syncer.calls()
        counts = self.syncer.run(rows)
        assert counts == {"unchanged": len(rows)}
        assert self.syncer.calls() == {}


@pytest.mark.parametrize("block", range(10))
def test_after_a_crash_at_any_call_the_next_run_corrects_the_state(syncer: Syncer, block: int) -> None:
    """In random histories with crashes, the last run leaves WATI as the rows say."""
    deaths = created = 0
    for seed in range(block * 16, block * 16 + 16):
        try:
            histories = Histories(syncer, seed)
            histories.run()
            deaths += histories.deaths
            created += histories.created.total()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
    assert deaths > 0
    assert created > 0


def kill(syncer: Syncer, rows: list[dict[str, Any]], *, after_writes: int) -> None:
    """Run a sync that is killed before its next write, after so many."""
    client = syncer.sandbox.client()
    transport: Any = client._transport
    call, life = transport.call, Life(after_writes)

    def mortal_call(made: Any, *arguments: Any) -> Any:
        if made.method != "GET":
            life.step()
        return call(made, *arguments)

    transport.call = mortal_call
    with pytest.raises(Killed):
        syncer.run(rows, client=client, snapshot=MortalSnapshot(syncer.snapshot, Life(1)))


@pytest.mark.parametrize("kills", [1, 2])
def test_clear_after_a_kill_leaves_contacts_alone_that_were_not_written(syncer: Syncer, kills: int) -> None:
    """A contact that a killed run was to write, and did not, is not emptied when it leaves the rows."""
    own = {"tier": "own", "city": "Rome"}
    syncer.add((50, own))
    rows = [row(n) for n in range(9)]
    syncer.run(rows)
    for n in range(kills):
        kill(syncer, [*rows, row(50, tier=f"gold{n}")], after_writes=0)
    syncer.calls()
    assert syncer.run(rows, on_removed="clear") == {"unchanged": 9}
    assert syncer.params(50) == own
    assert syncer.calls() == {"GET /contacts/{n}": 1}
    # It is known now, and costs no further call.
    assert syncer.run(rows, on_removed="clear") == {"unchanged": 9}
    assert syncer.calls() == {}


@pytest.mark.parametrize("kills", [1, 2])
@pytest.mark.parametrize("is_new", [True, False])
def test_clear_after_a_kill_empties_contacts_that_were_written(
    syncer: Syncer, kills: int, is_new: bool
) -> None:
    """A contact that a killed run has written is emptied when it leaves the rows, also if a second run was killed."""
    if not is_new:
        syncer.add((50, {"tier": "own"}))
    rows = [row(n) for n in range(9)]
    syncer.run(rows)
    for n in range(kills):
        # The update comes first, and the run ends with the create of somebody else.
        others = [row(50, tier=f"gold{n}"), row(60, tier=f"x{n}")]
        kill(syncer, [*rows, *others], after_writes=1 if n == 0 else 0)
    assert syncer.params(50) == {"tier": "gold0", "city": "Pune"}
    assert syncer.run(rows, on_removed="clear") == {"unchanged": 9, "cleared": 1}
    assert syncer.params(50) == {}


KILLED = """
import os, signal, sys
from airflow_provider_wati.syncing.job import ContactSync
from airflow_provider_wati.syncing.row_mapping import ContactColumns
from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.state.directory import StateDirectory, StateFile

endpoint, token, directory, after = sys.argv[1:]
client = WatiClient(endpoint, token, rate_limits={"*": None})
call, left = client._transport.call, int(after)

def dying(*arguments):
    global left
    answer = call(*arguments)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer

client._transport.call = dying
rows = [{"phone": str(919700000000 + n), "name": "Ada", "tier": "new", "city": "Pune"} for n in range(250)]
sync = ContactSync(
    client=client,
    sync_key="key",
    columns=ContactColumns("phone", "name", {"tier": "tier", "city": "city"}),
    snapshot=StateFile(StateDirectory(directory).path_of("sync", ".jsonl.gz")),
)
sync.read(rows)
sync.run()
"""


def test_a_sync_that_is_killed_is_finished_by_the_next(syncer: Syncer, tmp_path: Path) -> None:
    """After SIGKILL, the next run writes the rest."""
    syncer.add(*((n, {"tier": "old"}) for n in range(200)))
    for after in (5, 20):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                KILLED,
                syncer.sandbox.endpoint,
                syncer.sandbox.token,
                str(tmp_path),
                str(after),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -9, done.stderr
    # What the killed ones wrote is not taken for what stood there before.
    rows = [row(n, tier="old", city=None) for n in range(250)]
    counts = syncer.run(rows)
    assert counts["updated"] >= 200
    assert sum(counts.values()) == 250
    assert all(syncer.params(n) == {"tier": "old"} for n in range(250))
    assert syncer.calls()["POST /contacts"] == 50


def test_a_phone_number_that_wati_refuses_stops_nobody_else(syncer: Syncer) -> None:
    """A phone number that WATI refuses in every call stops nobody else."""
    syncer.run([row(n) for n in range(1, 4)])
    refusal = {"status": 400, "body": '{"code": 400, "message": "Invalid WhatsApp number"}'}
    for bad, method in ((number(2), "PUT"), (number(5), "POST")):
        syncer.sandbox.fault("status", method=method, contains=bad, **refusal)
        syncer.sandbox.fault("status", method="GET", path=f"*{bad}", **refusal)
    rows = [row(n, tier="silver") for n in range(1, 7)]
    syncer.sandbox.fault("status", method="POST", contains=number(2), **refusal)
    assert syncer.run(rows) == {"created": 2, "updated": 2, "rejected": 2}
    assert [n for n, status in enumerate(syncer.statuses(), 1) if status == "rejected"] == [2, 5]
    assert syncer.run(rows) == {"unchanged": 4, "rejected": 2}


def test_removed_people_without_values_do_not_count_as_removed(syncer: Syncer) -> None:
    """People with nothing left to clear do not count against max_removed."""
    rows = [row(n, tier=None, city=None) for n in range(100)]
    syncer.run(rows)
    for left in (92, 84, 76, 68):
        assert syncer.run(rows[:left], on_removed="clear") == {"unchanged": left}


def test_a_listing_replaces_the_known_contacts(syncer: Syncer) -> None:
    """A contact that is not listed is not known any more."""
    syncer.run([row(1), row(2)], attributes={"tier": "tier"})
    state = syncer.sandbox.state
    state.delete_contact(state.by_phone[number(2)])
    assert syncer.run([row(1), row(2)]) == {"created": 1, "updated": 1}
    assert syncer.params(2) == {"tier": "gold", "city": "Pune"}


def test_the_values_in_an_answer_are_recorded(syncer: Syncer) -> None:
    """Values that an answer shows are compared in the next run."""
    syncer.run([row(1, city=None)])
    syncer.add((1, {"tier": "gold", "city": "Goa"}))
    rows = [row(1, tier="silver", city=None)]
    syncer.run(rows)
    assert syncer.params(1) == {"tier": "silver", "city": "Goa"}
    assert syncer.run(rows) == {"updated": 1}
    assert syncer.params(1) == {"tier": "silver"}
