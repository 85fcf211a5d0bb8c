"""A list of contacts that changes between its pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.sandbox.model import render
from tests.support.syncer import Syncer, number, row
from tests.unit.syncing.test_job import Killed, Life, MortalSnapshot

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.state import State

FULL = {"tier": "gold", "city": "Pune"}
#: On the second of three pages.
MOVED = 180


def move_to_front(state: State) -> None:
    """Somebody writes to us, and a list with the newest first shows them on its first page."""
    moved = state.by_phone[number(MOVED)]
    others = [each for each in state.contacts.values() if each is not moved]
    state.contacts.clear()
    state.contacts.update((each.number, each) for each in (moved, *others))


def change_after_first_page(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[State], object], listings: int = 1
) -> None:
    """Let something change in WATI after the first page of each of the next listings of 250 contacts."""
    real, shown = render.contact, 0

    def contact(person: Any, state: State) -> Any:
        nonlocal shown
        shown += 1
        if shown % 250 == 100 and shown < listings * 250:
            change(state)
        return real(person, state)

    monkeypatch.setattr(render, "contact", contact)


def test_a_contact_that_moves_to_a_page_before_is_found(
    syncer: Syncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contact that moves to the first page during the listing is found by a second one."""
    syncer.add(*((n, {"tier": "old"}) for n in range(250)))
    change_after_first_page(monkeypatch, move_to_front)
    assert syncer.run([row(n) for n in range(250)], mode="update") == {"updated": 250}
    assert syncer.params(MOVED) == FULL
    assert syncer.calls() == {"GET /contacts/count": 2, "GET /contacts": 6, "PUT /contacts": 3}


def test_a_new_contact_does_not_make_up_for_one_that_moves(
    syncer: Syncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contact that is new during the listing does not hide that another one is missing."""
    syncer.add(*((n, {"tier": "old"}) for n in range(250)))

    def change(state: State) -> None:
        move_to_front(state)
        state.create_contact(number(500), "Ada")

    change_after_first_page(monkeypatch, change)
    assert syncer.run([row(n) for n in range(250)], mode="update") == {"updated": 250}


@pytest.mark.parametrize("mode", ["upsert", "update", "insert"])
def test_people_who_are_in_no_listing_are_looked_up(syncer: Syncer, mode: str) -> None:
    """Where the list stays shorter than the count, each person who is not listed is looked up, and nobody is created twice."""
    syncer.sandbox.control("PATCH", "/settings", {"duplicate_contact": "overwrite"})
    syncer.add((1, {"tier": "own"}))
    syncer.sandbox.fault("answer", method="GET", path="*/contacts", answer={"contact_list": []})
    expected = {
        "upsert": {"created": 1, "updated": 1},
        "update": {"skipped": 1, "updated": 1},
        "insert": {"created": 1, "skipped": 1},
    }
    assert syncer.run([row(1), row(2)], mode=mode) == expected[mode]
    assert syncer.params(1) == ({"tier": "own"} if mode == "insert" else FULL)
    assert syncer.calls()["GET /contacts/{n}"] == 2


def test_a_person_who_is_not_listed_is_cleared_all_the_same(
    syncer: Syncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person that the sync has written is not forgotten by a listing that lacks them."""
    rows = [row(n) for n in range(250)]
    syncer.run(rows, attributes={"tier": "tier"})
    change_after_first_page(monkeypatch, move_to_front, listings=2)
    rows.pop(MOVED)
    assert syncer.run(rows, on_removed="clear") == {"updated": 249, "cleared": 1}
    assert syncer.params(MOVED) == {}


def test_a_killed_run_creates_nobody_twice_after_a_listing_that_shifts(
    syncer: Syncer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was created by a run that was killed is not created again because a listing lacks them."""
    syncer.sandbox.control("PATCH", "/settings", {"duplicate_contact": "overwrite"})
    client, posts = syncer.sandbox.client(), 0
    transport: Any = client._transport
    call = transport.call

    def mortal_call(made: Any, *arguments: Any) -> Any:
        nonlocal posts
        answer = call(made, *arguments)
        posts += made.method == "POST"
        if posts == 250:
            raise Killed
        return answer

    transport.call = mortal_call
    rows = [row(n) for n in range(250)]
    with pytest.raises(Killed):
        syncer.run(rows, client=client, snapshot=MortalSnapshot(syncer.snapshot, Life(1)))
    assert len(syncer.sandbox.state.contacts) == 250
    syncer.calls()
    change_after_first_page(monkeypatch, move_to_front)
    assert syncer.run(rows) == {"unchanged": 250}
    assert syncer.calls()["POST /contacts"] == 0
