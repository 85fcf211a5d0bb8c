"""What WATI's list of campaigns shows of one send: found by its mark, whatever has become of the name."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_wati.sending.campaign_index import CampaignIndex, FoundCampaign, mark_of, name_of
from airflow_provider_wati.sending.evidence_rows import ListedRecipient
from airflow_provider_wati.sending.reconciler import GrowthWatch, Listed
from tests.support.clock import FakeClock
from tests.support.sends import phone
from tests.support.wati_model import CampaignRecord, Habits, Recipient, WatiModel

MARK = mark_of("dag/run/task")
CALL = "a1b2c3-7"


@pytest.fixture
def model() -> WatiModel:
    return WatiModel(FakeClock())


def index_of(model: WatiModel, mark: str = MARK, region: str | None = None) -> CampaignIndex:
    return CampaignIndex(model.client(), None, mark, model.clock, region)


def add_campaign(
    model: WatiModel, name: str, people: int = 0, *, id: str | None = None, **more: Any
) -> CampaignRecord:
    """Let WATI have a campaign."""
    now = model.clock.now()
    campaign = CampaignRecord(
        id=id or f"b{len(model.campaigns)}",
        name=name,
        template="order_update",
        channel=None,
        at=now,
        recipients=[Recipient(f"r{n}", phone(n), f"local-id-{n}", {}) for n in range(people)],
        listed_at=now,
        **more,
    )
    model.campaigns.append(campaign)
    return campaign


def found_in(model: WatiModel, **settings: Any) -> list[FoundCampaign]:
    """What one look finds."""
    index = index_of(model, **settings)
    index.look()
    return list(index.found.values())


def people_in(model: WatiModel, index: CampaignIndex, id: str) -> list[ListedRecipient]:
    return [person for page in index.recipients(index.found[id]) for person in page]


# The mark


def test_a_mark_has_64_bits_of_letters_and_digits() -> None:
    """Two sends never have one mark by chance, and nothing in it is escaped or taken for a word."""
    marks = {mark_of(f"dag/scheduled__2026-11-{n:05}/task") for n in range(20_000)}
    assert len(marks) == 20_000
    assert all(re.fullmatch("[0-9a-f]{16}", mark) for mark in marks)


def test_a_mark_is_the_same_in_each_attempt() -> None:
    """The mark is made of the send key alone, so that no state is needed to find a send again."""
    assert mark_of("key") == "2c70e12b7a0646f9"
    assert mark_of("Größe 漢字") != mark_of("Grösse 漢字")


def test_a_name_begins_with_the_mark_and_the_call() -> None:
    """What is needed stands first, and is letters, digits and hyphens."""
    name = name_of(MARK, CALL, "Spring sale [all] & more")
    head, _, rest = name.partition(" ")
    assert re.fullmatch("[0-9a-f]{16}-[0-9a-f]{6}-[0-9]+", head)
    assert rest == "Spring sale [all] & more"
    assert len(head) <= 40


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it was": str,
    "cut at 60": lambda name: name[:60],
    "cut at 40": lambda name: name[:40],
    "cut behind the call": lambda name: name.partition(" ")[0],
    "suffix": lambda name: f"{name} (1)",
    "suffix without a space": lambda name: f"{name}_20261103",
    "trailing space": lambda name: f"{name}  ",
    "escaped": html.escape,
    "spaces replaced": lambda name: name.replace(" ", "_"),
    "plus": lambda name: name.replace(" ", "+"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("title", ["orders", "a" * 200, "Offer <b>& \"more\"</b> 'now'", "7", "-8 orders"])
def test_a_campaign_is_found_whatever_wati_makes_of_its_name(
    title: str, spelling: str, model: WatiModel
) -> None:
    """A cut, a suffix, a trailing space or escaping leaves the mark and the call as they are."""
    add_campaign(model, SPELLINGS[spelling](name_of(MARK, CALL, title)))
    [found] = found_in(model)
    assert (found.id, found.call_id) == ("b0", CALL)


@pytest.mark.parametrize(
    "name",
    [
        f"Copy of {name_of(MARK, CALL, 'orders')}",
        f" {name_of(MARK, CALL, 'orders')}",
        f"orders [{MARK}-{CALL}]",
        name_of(mark_of("another"), CALL, "orders"),
        MARK,
        f"{MARK}-{CALL[:-2]}",
        f"{MARK.upper()}-{CALL}",
        "",
    ],
)
def test_a_campaign_of_somebody_else_is_not_ours(name: str, model: WatiModel) -> None:
    """A copy made in the dashboard, another send's campaign and a mere mention of the mark are passed over."""
    add_campaign(model, name)
    assert found_in(model) == []


def test_a_call_is_not_taken_for_one_whose_number_begins_alike(model: WatiModel) -> None:
    """Call 7 is not call 71, however the name is cut."""
    add_campaign(model, name_of(MARK, "a1b2c3-71", "orders"))
    [found] = found_in(model)
    assert found.call_id == "a1b2c3-71"


def test_the_campaigns_of_a_call_are_those_of_its_name_or_its_answer(model: WatiModel) -> None:
    """Several campaigns may have the name of one call; one that WATI answered counts under any name."""
    names = [name_of(MARK, CALL, "a"), name_of(MARK, CALL, "b"), name_of(MARK, "a1b2c3-8", "c"), "renamed"]
    for n, name in enumerate(names):
        add_campaign(model, name, id=f"c{n}")
    index = index_of(model)
    index.look({"c3": "a1b2c3-9"})
    assert {each.id for each in index.campaigns_of(CALL)} == {"c0", "c1"}
    assert [each.id for each in index.campaigns_of("a1b2c3-8")] == ["c2"]
    assert [each.id for each in index.campaigns_of("a1b2c3-9")] == ["c3"]
    assert index.campaigns_of("ffffff-1") == []


# Looking


def test_odd_entries_of_the_list_cost_themselves_only(
    model: WatiModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A campaign without a name, an id or a status does not hide the others."""
    name = name_of(MARK, CALL, "orders")
    index = index_of(model)
    odd = [{"id": "1", "name": None}, {"id": "2", "name": 7}, {"name": name}, {"id": None, "name": name}]
    listed = [*odd, {"id": "3", "name": name, "status": ["x"]}, {"id": "4", "name": name}]
    monkeypatch.setattr(index.client, "iter_campaigns", lambda channel: iter(listed))
    index.look()
    assert [each.id for each in index.found.values()] == ["3", "4"]


def test_growth_is_watched_over_looks(model: WatiModel) -> None:
    """A look keeps what earlier looks have seen of a campaign."""
    add_campaign(model, name_of(MARK, CALL, "orders"), people=3)
    index = index_of(model)
    index.look()
    people_in(model, index, "b0")
    assert not index.found["b0"].growth.is_complete(timedelta(hours=1))
    index.look()
    people_in(model, index, "b0")
    assert index.found["b0"].growth.is_complete(timedelta(hours=1))


def test_the_ids_of_the_latest_list_are_the_control(model: WatiModel) -> None:
    """A campaign that is gone from the list is gone from the control as well."""
    campaign = add_campaign(model, name_of(MARK, CALL, "orders"))
    add_campaign(model, "of somebody else", id="other")
    index = index_of(model)
    index.look()
    assert index.listed_ids == {"b0", "other"}
    model.delete(campaign)
    index.look()
    assert index.listed_ids == {"other"}


@pytest.mark.parametrize("word", ["cancelled", "CANCELED", "Stopped"])
def test_a_cancelled_campaign_is_known_as_such(word: str) -> None:
    """Whatever word WATI has for it, its recipients are listed as cancelled."""
    model = WatiModel(FakeClock(), Habits(cancelled_word=word))
    model.cancel(add_campaign(model, name_of(MARK, CALL, "orders"), people=1))
    index = index_of(model)
    index.look()
    assert index.found["b0"].is_cancelled
    assert [person.state for person in people_in(model, index, "b0")] == [Listed.CANCELLED]


# People


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("919800000000", None),
        ("+919800000000", None),
        ("+91 98000 00000", None),
        ("00919800000000", None),
        ("+91-98000-00000", None),
        ("\u202a+91 98000 00000\u202c", None),
        ("98000 00000", "IN"),
        ("09800000000", "IN"),
        ("919800000000", "IN"),
    ],
)
def test_a_phone_number_is_compared_in_one_form(written: str, region: str | None) -> None:
    """However WATI formats a number, it names the same person."""
    model = WatiModel(FakeClock(), Habits(phone_form=lambda _: written))
    add_campaign(model, name_of(MARK, CALL, "orders"), people=1)
    index = index_of(model, region=region)
    index.look()
    [person] = people_in(model, index, "b0")
    assert person.names == {"phone": "919800000000"}


def test_a_person_is_known_by_all_names_that_wati_gives(
    model: WatiModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phone number, contact id and BSUID of a recipient all name the person."""
    add_campaign(model, name_of(MARK, CALL, "orders"), people=1)
    shown = {
        "id": "r",
        "contact_phone": "+5215512345678",
        "contact_id": "66B1FB04B40ADCA000000001",
        "bsuid": "MX.1a2B",
        "status": "read",
        "local_message_id": "local-id-00",
    }
    monkeypatch.setattr(WatiModel, "_listed", lambda *_: shown)
    index = index_of(model)
    index.look()
    assert people_in(model, index, "b0") == [
        ListedRecipient(
            id="r",
            names={"phone": "525512345678", "contact": "66b1fb04b40adca000000001", "bsuid": "MX.1a2B"},
            local_message_id="local-id-00",
            state=Listed.YES,
        )
    ]


@pytest.mark.parametrize(
    ("shown", "names"),
    [
        ({}, {}),
        ({"contact_phone": None, "status": None}, {}),
        ({"contact_phone": "not a number"}, {}),
        ({"contact_phone": 919800000000}, {"phone": "919800000000"}),
    ],
)
def test_a_recipient_that_wati_does_not_name_has_no_names(
    shown: dict[str, Any], names: dict[str, str], model: WatiModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An odd recipient names nobody and does not stop the reading."""
    add_campaign(model, name_of(MARK, CALL, "orders"), people=2)
    monkeypatch.setattr(WatiModel, "_listed", lambda _, campaign, person: {"id": person.id, **shown})
    index = index_of(model)
    index.look()
    assert [person.names for person in people_in(model, index, "b0")] == [names, names]


@pytest.mark.parametrize("word", ["FAILED", "failed", "Undelivered"])
def test_a_failed_recipient_is_listed_as_failed(word: str) -> None:
    """A refused person in the list is not taken for one with a message."""
    model = WatiModel(FakeClock(), Habits(lists_refused=True, failed_word=word))
    campaign = add_campaign(model, name_of(MARK, CALL, "orders"), people=2)
    campaign.recipients[1].refused = True
    index = index_of(model)
    index.look()
    assert [person.state for person in people_in(model, index, "b0")] == [Listed.YES, Listed.FAILED]


def test_people_who_come_on_two_pages_count_once(model: WatiModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that shifts while it is read is not taken for full because it repeats somebody."""
    add_campaign(model, name_of(MARK, CALL, "orders"), people=3)
    index = index_of(model)
    index.look()
    read = index.client.iter_campaign_recipients
    monkeypatch.setattr(
        index.client,
        "iter_campaign_recipients",
        lambda id: [people := list(read(id)), *people[:2], people[1]][1:],
    )
    for _ in range(2):
        assert len(people_in(model, index, "b0")) == 3
    assert index.found["b0"].growth.listed == 2
    assert not index.found["b0"].growth.is_complete(timedelta(hours=1))


@pytest.mark.parametrize("statistics", [None, {}, {"total_recipients": None}, {"total_recipients": "9"}])
def test_a_campaign_without_a_total_is_read_all_the_same(
    statistics: Any, model: WatiModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statistics that are missing or of another type count as no total."""
    add_campaign(model, name_of(MARK, CALL, "orders"), people=1)
    index = index_of(model)
    index.look()
    monkeypatch.setattr(index.client, "get_campaign", lambda _: {"id": "b0", "statistics": statistics})
    assert len(people_in(model, index, "b0")) == 1
    assert index.found["b0"].growth.total == 0


def test_a_long_list_is_read_page_by_page() -> None:
    """People come in pages of 100, so that memory holds a page."""
    model = WatiModel(FakeClock())
    add_campaign(model, name_of(MARK, CALL, "orders"), people=250)
    index = index_of(model)
    index.look()
    assert [len(page) for page in index.recipients(index.found["b0"])] == [100, 100, 50]


def test_a_schedule_is_not_complete_before_it_was_due(model: WatiModel) -> None:
    """What WATI says of the due time counts, since a schedule may fill when it is due."""
    grace, now = timedelta(seconds=120), model.clock.now()
    found = FoundCampaign("b0", "n", CALL, is_cancelled=False, growth=GrowthWatch(now), due=now + grace)
    for _ in range(2):
        found.growth.look(3, 3, now)
    assert found.growth.is_complete(grace)
    assert not found.is_complete(grace)
    found.growth.look(3, 3, now + 2 * grace - timedelta(seconds=1))
    assert not found.is_complete(grace)
    found.growth.look(3, 3, now + 2 * grace)
    assert found.is_complete(grace)


@pytest.mark.parametrize(
    ("written", "due"),
    [
        ("2026-11-03T10:00:00Z", "2026-11-03T10:00:00+00:00"),
        ("2026-11-03T10:00:00.1234567Z", "2026-11-03T10:00:00.123456+00:00"),
        ("2026-11-03T10:00:00", "2026-11-03T10:00:00+00:00"),
        ("soon", None),
        (None, None),
        (7, None),
    ],
)
def test_the_due_time_is_read_in_any_form(
    written: object, due: str | None, model: WatiModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time that cannot be read is no due time, and hides nothing."""
    index = index_of(model)
    listed = {"id": "b0", "name": name_of(MARK, CALL, "orders"), "scheduled_at": written}
    monkeypatch.setattr(index.client, "iter_campaigns", lambda channel: iter([listed]))
    index.look()
    assert index.found["b0"].due == (None if due is None else datetime.fromisoformat(due))
