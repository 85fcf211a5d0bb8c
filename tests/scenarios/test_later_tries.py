"""What a later try makes of earlier ones, where state is lost, rows name themselves, or WATI shows things late."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.exceptions import (
    WatiConfigurationError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.sandbox import render as sandbox_page
from airflow_provider_wati.sandbox.campaigns import listed_recipients
from airflow_provider_wati.sending.grace import UNKNOWN_GRACE, grace_of, longest_call
from airflow_provider_wati.sending.ledger import Ledger
from airflow_provider_wati.sending.read_back import ReadBack
from tests.unit.sending.test_job import (
    FIRST,
    PARAMS,
    SECOND,
    THIRD,
    Store,
    quickly,
    reasons,
    sender,
    sends,
    statuses,
)

if TYPE_CHECKING:
    from airflow_provider_wati.sending.job import TemplateSend
    from tests.conftest import Sandbox

__all__ = ["quickly"]  # a fixture

ALL = [FIRST, SECOND, THIRD]


def attempt(sandbox: Sandbox, store: Store | None, rows: Any, *, first: bool = False, **settings: Any) -> Any:
    """Send as one try of a task would, and tell what became of its rows also when it fails."""
    others = settings.pop("others", False)
    ledger = Ledger(store, "key", others=others, shared=settings.pop("shared", False))
    ledger.open(tried_before=not first)
    job = sender(sandbox, store or Store(), ledger=ledger, **settings)
    with contextlib.suppress(WatiUnknownOutcomeError):
        job.run(rows, sent_before=not first or ledger.may_have_sent)
    return job


def messages(sandbox: Sandbox) -> list[int]:
    return [len(sandbox.texts_to(row["target"])) for row in ALL]


def named(row: dict[str, Any], local_message_id: str, key: str | None = None) -> dict[str, Any]:
    return {**row, "local_message_id": local_message_id, **({"key": key} if key else {})}


# The grace


@pytest.fixture
def real_calls(quickly: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wati.sending.grace.longest_call", longest_call)


@pytest.mark.usefixtures("real_calls")
@pytest.mark.parametrize(
    ("timeout", "grace"), [((5, 30), 120), ((5, 114), 120), ((5, 115), 240), ((10, 600), 730)]
)
def test_the_grace_is_longer_than_any_call(timeout: tuple[float, float], grace: float) -> None:
    assert grace_of(None, timeout).total_seconds() == grace


@pytest.mark.usefixtures("real_calls")
@pytest.mark.parametrize("given", [0, 34, 35])
def test_a_grace_that_a_call_may_outlast_is_refused(given: float) -> None:
    with pytest.raises(WatiConfigurationError, match="a call may take 35 s"):
        grace_of(timedelta(seconds=given), (5, 30))
    assert grace_of(timedelta(seconds=36), (5, 30)) == timedelta(seconds=36)


@pytest.mark.usefixtures("real_calls")
def test_a_sender_without_a_grace_looks_at_the_client_s_timeout(sandbox: Sandbox) -> None:
    client = sandbox.client(timeout=(1, 200))
    assert sender(sandbox, Store(), client=client, unknown_grace=None)._grace == UNKNOWN_GRACE + timedelta(
        seconds=201
    )
    with pytest.raises(WatiConfigurationError, match="a call may take 201 s"):
        sender(sandbox, Store(), client=client, unknown_grace=timedelta(seconds=120))


@pytest.fixture
def never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits() -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr("airflow_provider_wati.sending.grace.pause", waits)


# State that is gone


def test_when_the_state_is_gone_wati_is_asked_and_given_the_grace(sandbox: Sandbox) -> None:
    sandbox.fault("slow_listing", seconds=1)
    attempt(sandbox, Store(), ALL, first=True)
    for store in (Store(), Store()):
        job = attempt(sandbox, store, ALL, grace=2)
        assert statuses(job) == ["accepted"] * 3
    assert messages(sandbox) == [1, 1, 1]


def test_a_try_that_dies_while_it_looks_leaves_the_next_one_careful(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.fault("slow_listing", seconds=1)
    attempt(sandbox, Store(), ALL, first=True)
    store = Store()
    with monkeypatch.context() as dying:
        dying.setattr("airflow_provider_wati.sending.grace.time.sleep", _die)
        with pytest.raises(KeyboardInterrupt):
            attempt(sandbox, store, ALL, grace=2)
    assert statuses(attempt(sandbox, store, ALL, grace=2)) == ["accepted"] * 3
    assert messages(sandbox) == [1, 1, 1]


def _die(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("never_waits")
def test_a_first_try_that_sent_nothing_costs_the_next_one_no_waiting(sandbox: Sandbox) -> None:
    store = Store()

    def rows() -> Iterator[dict[str, Any]]:
        yield FIRST
        raise ValueError("the file broke off")

    with pytest.raises(ValueError, match="broke off"):
        attempt(sandbox, store, rows(), first=True)
    assert statuses(attempt(sandbox, store, ALL, grace=3600)) == ["accepted"] * 3


def test_what_others_sent_is_looked_for_until_a_try_has_seen_it_all(sandbox: Sandbox) -> None:
    attempt(sandbox, Store(), ALL, first=True, others=True, grace=0)
    store = Store()

    def rows() -> Iterator[dict[str, Any]]:
        yield FIRST
        raise ValueError("the file broke off")

    runs: Any = {"others": True, "shared": True, "grace": 0, "batch_size": 2}
    with pytest.raises(ValueError, match="broke off"):
        attempt(sandbox, store, rows(), first=True, **runs)
    assert statuses(attempt(sandbox, store, [SECOND, THIRD], **runs)) == ["accepted", "accepted"]
    assert messages(sandbox) == [1, 1, 1]


@pytest.mark.usefixtures("never_waits")
def test_a_rehearsal_costs_the_send_after_it_no_waiting(sandbox: Sandbox) -> None:
    store = Store()
    for first in (True, False):
        job = attempt(sandbox, store, ALL, first=first, dry_run=True, hold=True, grace=3600)
        assert statuses(job) == ["unsent"] * 3
    assert statuses(attempt(sandbox, store, ALL, hold=True, grace=3600)) == ["accepted"] * 3


@pytest.mark.usefixtures("never_waits")
@pytest.mark.parametrize("now", [[FIRST], [SECOND, FIRST]], ids=["the same", "others"])
def test_a_rehearsal_does_not_call_unsent_what_may_have_gone(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, now: list[dict[str, Any]]
) -> None:
    store = Store()
    sandbox.fault("drop", method="POST", when="after", count=1)
    sandbox.fault("slow_listing", method="POST", seconds=3600, count=1)
    with monkeypatch.context() as dying:
        dying.setattr(ReadBack, "look", _die)
        with pytest.raises(KeyboardInterrupt):
            attempt(sandbox, store, [FIRST], first=True)
    job = attempt(sandbox, store, now, dry_run=True, grace=3600)
    assert statuses(job) == ["unknown"] * len(now)


@pytest.mark.usefixtures("never_waits")
@pytest.mark.parametrize("filling", [False, True])
def test_a_rehearsal_waits_for_nothing(sandbox: Sandbox, filling: bool) -> None:
    store = Store()
    if filling:
        sandbox.fault("slow_listing", method="POST", seconds=3600, fill=True, count=1)
    attempt(sandbox, store, [FIRST, SECOND], first=True, grace=0, batch_size=2)
    job = attempt(sandbox, store, [SECOND, FIRST, THIRD], dry_run=True, grace=3600, batch_size=2)
    assert statuses(job) == ["unknown"] * 3 if filling else ["accepted", "accepted", "unsent"]
    assert job.summary()["dry_run"]["messages"] == (0 if filling else 1)


@pytest.mark.usefixtures("never_waits")
def test_a_key_of_several_runs_is_looked_for_where_a_directory_is_new(sandbox: Sandbox) -> None:
    attempt(sandbox, Store(), ALL, first=True, others=True, grace=0)
    job = attempt(sandbox, Store(), ALL, first=True, others=True, shared=True, grace=3600)
    assert statuses(job) == ["accepted"] * 3
    assert messages(sandbox) == [1, 1, 1]


# Rows that name their messages themselves


def test_two_people_under_one_id_are_not_taken_for_one(sandbox: Sandbox) -> None:
    job = sender(sandbox, Store(), batch_size=9)
    job.run([named(FIRST, "order-1001"), named(SECOND, "order-1001"), THIRD], sent_before=False)
    assert statuses(job) == ["accepted", "invalid", "accepted"]
    assert "local_message_id is that of row 1" in str(reasons(job)[1])


def test_one_person_under_two_ids_is_messaged_once(sandbox: Sandbox) -> None:
    job = sender(sandbox, Store(), batch_size=9)
    job.run([named(FIRST, "order-1001"), named(FIRST, "order-1002"), FIRST], sent_before=False)
    assert statuses(job) == ["accepted", "skipped", "skipped"]
    assert messages(sandbox) == [1, 0, 0]
    job = sender(sandbox, Store(), batch_size=9, send_key="another")
    rows = [named(SECOND, f"order-100{n}", key=str(n)) for n in range(2)]
    job.run(rows, sent_before=False)
    assert statuses(job) == ["accepted", "accepted"]


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("key", [None, "1001"])
def test_ids_that_are_made_anew_in_each_try_message_nobody_twice(
    sandbox: Sandbox, lost: bool, key: str | None
) -> None:
    """As with uuid4() in a DAG file, which is read again for each try."""
    store = Store()
    if lost:
        sandbox.fault("drop", method="POST", when="after", count=1)
        sandbox.fault("slow_listing", seconds=0.5)
    attempt(sandbox, store, [named(FIRST, uuid4().hex, key)], first=True, grace=0, hold=True)
    for again in (named(FIRST, uuid4().hex, key), {**FIRST, **({"key": key} if key else {})}):
        job = attempt(sandbox, store, [again], grace=1)
        assert statuses(job) == ["unknown" if lost and key else "accepted"]
        assert messages(sandbox)[0] == 1


def test_a_person_who_is_named_otherwise_now_is_found_by_their_number(sandbox: Sandbox) -> None:
    contact_id = sandbox.client().create_contact(FIRST["target"], "Ada")["id"]
    store = Store()
    attempt(sandbox, store, [{**FIRST, "target": contact_id}], first=True)
    assert statuses(attempt(sandbox, store, [FIRST, SECOND], grace=0)) == ["accepted", "accepted"]
    assert messages(sandbox) == [1, 1, 0]


def test_an_id_that_is_another_person_s_next_time_tells_nothing_of_them(sandbox: Sandbox) -> None:
    """As with promo-1, promo-2, ... by the place of the row."""
    store = Store()
    sandbox.fault("recipient_errors", numbers=[SECOND["target"]], method="POST", count=1)
    rows = [named(FIRST, "promo-000001"), named(SECOND, "promo-000002")]
    assert statuses(attempt(sandbox, store, rows, first=True, batch_size=2)) == ["accepted", "rejected"]
    rows = [named(SECOND, "promo-000001"), named(FIRST, "promo-000002")]
    assert statuses(attempt(sandbox, store, rows, grace=0, batch_size=2)) == ["accepted", "accepted"]
    assert messages(sandbox) == [1, 1, 0]


def test_an_id_counts_where_wati_does_not_name_the_person(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone number may be missing from its list, and a BSUID stands in the newest versions only."""

    def nameless(self: WatiClient, campaign_id: str) -> Iterator[Any]:
        for person in read(self, campaign_id):
            yield {**person, "contact_phone": None, "bsuid": None}

    read = WatiClient.iter_campaign_recipients
    monkeypatch.setattr(WatiClient, "iter_campaign_recipients", nameless)
    sandbox.fault("drop", method="POST", when="after", count=1)
    bsuid = {**FIRST, "target": next(iter(sandbox.state.by_bsuid))}
    rows = [named(bsuid, "own-id-00001"), named(SECOND, "own-id-00002"), THIRD]
    job = attempt(sandbox, Store(), rows, first=True, grace=0.3, batch_size=3)
    assert statuses(job) == ["accepted"] * 3
    assert sends(sandbox) == 1


@pytest.mark.parametrize("others", [False, True])
def test_another_order_of_a_customer_is_another_message_without_a_store_too(
    sandbox: Sandbox, others: bool
) -> None:
    def key(row: dict[str, Any], n: str) -> dict[str, Any]:
        return {**row, "key": n}

    settings: Any = {"others": others, "grace": 0, "batch_size": 9}
    attempt(sandbox, None, [key(FIRST, "1001"), key(SECOND, "1002")], first=True, **settings)
    for _ in range(2):
        job = attempt(sandbox, None, [key(FIRST, "1003"), key(THIRD, "1004")], **settings)
        assert statuses(job) == ["accepted", "accepted"]
        assert job.summary()["earlier"] == 2
    assert messages(sandbox) == [2, 1, 1]


def test_a_second_message_to_a_person_goes_under_an_id_and_a_key_of_its_own(sandbox: Sandbox) -> None:
    runs: Any = {"others": True, "shared": True, "first": True, "grace": 0}
    for n in (1, 2, 2):
        job = attempt(sandbox, Store(), [named(FIRST, f"order-10000{n}", key=f"100{n}")], **runs)
        assert statuses(job) == ["accepted"]
    assert messages(sandbox) == [2, 0, 0]


LUZ = [{**FIRST, "target": target} for target in ("5215512345678", "525512345678")]


@pytest.mark.parametrize("key", [{}, {"key": "7"}], ids=str)
def test_two_spellings_are_one_person_in_all_tries(sandbox: Sandbox, key: dict[str, str]) -> None:
    store = Store()
    rows = [{**row, **key} for row in LUZ]
    for first, again in ((True, rows), (False, rows[::-1]), (False, rows)):
        assert statuses(attempt(sandbox, store, again, first=first, grace=0)) == ["accepted", "skipped"]
    assert [len(sandbox.texts_to(row["target"])) for row in LUZ] == [1, 0]


def test_a_row_without_a_key_among_rows_that_have_one_is_wrong(sandbox: Sandbox) -> None:
    """Filled in the next time, it would be another message."""
    store = Store()
    keyed: list[dict[str, Any]] = [{**FIRST, "key": "1"}, {**SECOND, "key": None}]
    job = attempt(sandbox, store, keyed, first=True)
    assert statuses(job) == ["accepted", "invalid"]
    assert "it has no key, and other rows have one" in str(reasons(job)[1])
    keyed[1]["key"] = "2"
    assert statuses(attempt(sandbox, store, keyed, grace=0)) == ["accepted", "accepted"]
    assert messages(sandbox) == [1, 1, 0]


def test_a_row_that_is_corrected_does_not_change_the_send(sandbox: Sandbox) -> None:
    store = Store()
    wrong = {**FIRST, "key": "1", "params": {**PARAMS, "name": None}}
    assert statuses(attempt(sandbox, store, [wrong], first=True)) == ["invalid"]
    assert statuses(attempt(sandbox, store, [{**wrong, "params": PARAMS}], grace=0)) == ["accepted"]


def test_keys_that_come_later_would_message_people_again_and_are_refused(sandbox: Sandbox) -> None:
    store = Store()
    attempt(sandbox, store, [FIRST, SECOND], first=True)
    keyed = [{**FIRST, "key": "1001"}, {**FIRST, "key": "1002"}]
    with pytest.raises(WatiConfigurationError, match="began with the key 'none', and now it is"):
        attempt(sandbox, store, keyed)
    assert messages(sandbox) == [1, 1, 0]


# Hold


@pytest.mark.parametrize("dies", [False, True])
def test_hold_lets_go_of_what_wati_shows(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    """Whom the campaign in doubt left out was not messaged, and can be."""
    store = Store()
    sandbox.fault("omit_recipients", numbers=[SECOND["target"]], method="POST", count=1)
    sandbox.fault("drop", method="POST", when="after", count=1)
    if dies:
        with monkeypatch.context() as dying:
            dying.setattr(ReadBack, "look", _die)
            with pytest.raises(KeyboardInterrupt):
                attempt(sandbox, store, ALL, first=True, hold=True, grace=0, batch_size=3)
    job = attempt(sandbox, store, ALL, first=not dies, hold=True, grace=0, batch_size=3)
    assert statuses(job) == ["accepted"] * 3
    assert messages(sandbox) == [1, 1, 1]


def test_hold_lets_go_where_rows_have_changed(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("drop", method="POST", when="after", count=1)
    sandbox.fault("slow_listing", seconds=0.5, method="POST", count=1)
    attempt(sandbox, store, [FIRST, SECOND], first=True, hold=True, grace=0, batch_size=2)
    job = attempt(sandbox, store, [THIRD, FIRST], hold=True, grace=1, batch_size=2)
    assert statuses(job) == ["accepted", "accepted"]
    assert messages(sandbox) == [1, 1, 1]


def test_hold_keeps_what_wati_does_not_show_however_rows_change(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("drop", method="POST", when="before", skip=1, count=1)
    attempt(sandbox, store, [FIRST, SECOND], first=True, hold=True, grace=0)
    for rows in ([SECOND, FIRST, THIRD], ALL):
        job = attempt(sandbox, store, rows, hold=True, grace=0)
        assert Counter(statuses(job)) == {"accepted": 1, "unknown": 2}
        assert "WATI does not show a batch whose answer was lost" in str(reasons(job))
    assert messages(sandbox) == [1, 0, 0]
    assert statuses(attempt(sandbox, store, ALL, grace=0)) == ["accepted"] * 3


def test_hold_tells_the_campaigns_of_one_batch_apart(sandbox: Sandbox) -> None:
    """The first campaign of the batch is there; the one with the rest of it is in doubt."""
    store = Store()
    sandbox.fault("omit_recipients", numbers=[SECOND["target"]], method="POST", count=1)
    attempt(sandbox, store, ALL, first=True, batch_size=3)
    sandbox.fault("drop", method="POST", when="before", count=1)
    for _ in range(2):
        job = attempt(sandbox, store, ALL, hold=True, grace=0, batch_size=3)
        assert statuses(job) == ["accepted", "unknown", "accepted"]
    assert messages(sandbox) == [1, 0, 1]


def test_hold_keeps_who_may_be_in_a_campaign_that_lists_nobody(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    sandbox.fault("drop", method="POST", when="after", count=1)
    monkeypatch.setattr(WatiClient, "iter_campaign_recipients", lambda *_: iter(()))
    monkeypatch.setattr(WatiClient, "get_campaign", lambda *_: {"statistics": {"total_recipients": 0}})
    for rows in (ALL, ALL[::-1]):
        job = attempt(sandbox, store, rows, first=rows is ALL, hold=True, grace=0, batch_size=3)
        assert statuses(job) == ["unknown"] * 3
    assert sends(sandbox) == 1


@pytest.mark.parametrize("settings", [{"store": None}, {"store": Store(), "others": True}], ids=str)
def test_hold_needs_a_place_that_remembers(sandbox: Sandbox, settings: dict[str, Any]) -> None:
    with pytest.raises(WatiConfigurationError, match="on_unknown is 'hold', which needs.*state_path"):
        attempt(sandbox, rows=ALL, first=True, hold=True, **settings)


def test_hold_keeps_everybody_when_the_state_is_gone(sandbox: Sandbox) -> None:
    store = Store()
    for _ in range(2):
        job = attempt(sandbox, store, ALL, hold=True, grace=0)
        assert statuses(job) == ["unknown"] * 3
        assert "what earlier tries had written down is gone" in str(reasons(job))
        assert "clear the task with `resend_after_grace`" in str(reasons(job))
    assert statuses(attempt(sandbox, store, ALL, grace=0)) == ["accepted"] * 3


# What WATI shows, and how


def test_a_list_that_grows_with_its_count_is_not_taken_for_full(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def statistics(state: Any, broadcast: Any, *, cumulative: bool) -> dict[str, int]:
        listed = listed_recipients(state, broadcast)
        looks.append(listed)
        return {**told(state, broadcast, cumulative=cumulative), "total_recipients": listed}

    looks: list[int] = []
    told = sandbox_page.statistics
    monkeypatch.setattr(sandbox_page, "statistics", statistics)
    sandbox.fault("drop", method="POST", when="after", count=1)
    sandbox.fault("slow_listing", method="POST", seconds=1, fill=True, count=1)
    job = attempt(sandbox, Store(), ALL, first=True, grace=3, batch_size=3)
    assert 0 < min(filter(None, looks)) < 3, "it was never seen half full"
    assert statuses(job) == ["accepted"] * 3
    assert messages(sandbox) == [1, 1, 1]


def test_a_schedule_that_lists_nobody_before_its_time_is_not_taken_for_empty(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WatiClient, "iter_campaign_recipients", lambda *_: iter(()))
    monkeypatch.setattr(WatiClient, "get_campaign", lambda *_: {"statistics": None})
    sandbox.fault("drop", method="POST", when="after", count=1)
    at = sandbox.workspace.clock.now() + 3600
    settings: Any = {"scheduled_at": datetime.fromtimestamp(at, UTC), "batch_size": 3, "grace": 0.3}
    store = Store()
    for first in (True, False):
        job = attempt(sandbox, store, ALL, first=first, **settings)
        assert statuses(job) == ["unknown"] * 3
        assert "lists fewer people than it has" in str(reasons(job))
    assert sends(sandbox) == 1


def test_an_empty_schedule_that_wati_answered_blocks_nobody(sandbox: Sandbox) -> None:
    """It is empty because WATI refused all its people, and stays so until its time."""
    store = Store()
    settings: Any = {"scheduled_at": datetime(2099, 1, 1, tzinfo=UTC), "grace": 0}
    sandbox.fault("recipient_errors", numbers=[SECOND["target"]], method="POST")
    job = attempt(sandbox, store, [FIRST, SECOND], first=True, **settings)
    assert statuses(job) == ["accepted", "rejected"]
    for _ in range(2):
        assert statuses(attempt(sandbox, store, [FIRST, THIRD], **settings)) == ["accepted", "accepted"]


def test_the_time_at_which_a_call_ended_counts(sandbox: Sandbox) -> None:
    """WATI may take as long as we wait for it, and begin only then."""
    client = sandbox.client(timeout=(5, 1))
    sandbox.fault("delay", method="POST", seconds=1.5, when="before", count=1)
    job = attempt(sandbox, Store(), [FIRST], first=True, client=client, grace=0.9)
    time.sleep(1)
    assert statuses(job) == ["accepted"]
    assert messages(sandbox)[0] == 1


def test_the_campaign_is_looked_for_once_more_when_all_has_gone(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("slow_listing", method="POST", seconds=1, count=1)
    attempt(sandbox, store, [FIRST], first=True)
    sandbox.fault("delay", path="*/contacts*", seconds=1.5, count=1)
    job = attempt(sandbox, store, [FIRST, SECOND], check_consent=True)
    names = [outcome["broadcast_name"] for outcome in job.outcomes()]
    assert names == ["orders [2c70e12b-1]", "orders [2c70e12b-2]"]


def test_people_who_come_on_two_pages_count_once(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that grows while it is read shows some twice and others not at all."""

    def shifted(self: WatiClient, campaign_id: str) -> Iterator[Any]:
        people = list(read(self, campaign_id))
        looks.append(campaign_id)
        yield from people if len(looks) > 1 else [*people[:2], people[1]]

    looks: list[str] = []
    read = WatiClient.iter_campaign_recipients
    monkeypatch.setattr(WatiClient, "iter_campaign_recipients", shifted)
    sandbox.fault("drop", method="POST", when="after", count=1)
    store = Store()
    with monkeypatch.context() as dying:
        dying.setattr(ReadBack, "look", _die)
        with pytest.raises(KeyboardInterrupt):
            attempt(sandbox, store, ALL, first=True, grace=0, batch_size=3)
    # Its grace is over, so that one look at a full list would do.
    assert statuses(attempt(sandbox, store, ALL, grace=0, batch_size=3)) == ["accepted"] * 3
    assert messages(sandbox) == [1, 1, 1]


def test_wati_s_list_outranks_its_refusal(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("omit_recipients", numbers=[SECOND["target"]], sent=True, method="POST", count=1)
    assert statuses(attempt(sandbox, store, ALL, first=True, batch_size=3)) == [
        "accepted",
        "rejected",
        "accepted",
    ]
    assert statuses(attempt(sandbox, store, ALL, batch_size=3)) == ["accepted"] * 3
    assert messages(sandbox) == [1, 1, 1]


def test_who_was_accepted_stays_so_when_the_rest_is_in_doubt(sandbox: Sandbox) -> None:
    """The campaign of the first try is gone from WATI by then."""
    store = Store()
    sandbox.fault("omit_recipients", numbers=[SECOND["target"]], method="POST", count=1)
    attempt(sandbox, store, ALL, first=True, batch_size=3)
    sandbox.fault("drop", method="POST", when="before", count=1)
    attempt(sandbox, store, ALL, batch_size=3, hold=True, grace=0)
    for channel in sandbox.state.channels:
        channel.broadcasts.clear()
    assert statuses(attempt(sandbox, store, ALL, batch_size=3, grace=0)) == ["accepted"] * 3
    assert messages(sandbox) == [1, 1, 1]


def test_each_message_is_told_with_its_own_campaign(sandbox: Sandbox) -> None:
    """Refused, tried again, cleared."""
    store = Store()
    sandbox.fault("recipient_errors", numbers=[SECOND["target"]], method="POST", count=1)
    attempt(sandbox, store, ALL, first=True, batch_size=3)
    told = []
    for _ in range(2):
        job = attempt(sandbox, store, ALL, batch_size=3)
        told.append([(outcome["status"], outcome["broadcast_name"]) for outcome in job.outcomes()])
    first, second = (("accepted", f"orders [2c70e12b-1{again}]") for again in ("", "r1"))
    assert told == [[first, second, first]] * 2
    assert job.summary()["calls"] == 0


def test_a_clear_reads_no_people_of_a_batch_whose_first_call_never_arrived(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("drop", method="POST", when="before", count=1)
    assert statuses(attempt(sandbox, store, ALL, first=True, grace=0, batch_size=3)) == ["accepted"] * 3
    asked = len(sandbox.requests())
    job = attempt(sandbox, store, ALL, batch_size=3)
    assert [outcome["broadcast_name"] for outcome in job.outcomes()] == ["orders [2c70e12b-1r1]"] * 3
    # The templates and the campaigns.
    assert len(sandbox.requests()) - asked == 2


def test_a_schedule_that_was_cancelled_is_not_called_accepted(sandbox: Sandbox) -> None:
    store = Store()
    settings: Any = {"scheduled_at": datetime(2099, 1, 1, tzinfo=UTC), "batch_size": 2}
    first = attempt(sandbox, store, ALL, first=True, **settings)
    client = sandbox.client()
    client.cancel_scheduled_campaign(first.summary()["broadcasts"][0]["id"])
    for _ in range(2):
        job = attempt(sandbox, store, ALL, **settings)
        assert statuses(job) == ["skipped", "skipped", "accepted"]
        assert "cancelled in WATI: give another send_key" in str(reasons(job)[0])
        assert job.summary()["calls"] == 0


def test_a_schedule_that_was_cancelled_before_it_listed_anybody_is_not_made_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    settings: Any = {"scheduled_at": datetime(2099, 1, 1, tzinfo=UTC), "grace": 3, "batch_size": 2}
    sandbox.fault("drop", method="POST", when="after", count=1)
    sandbox.fault("slow_listing", method="POST", seconds=1.5, fill=True, count=1)
    with monkeypatch.context() as dying:
        dying.setattr(ReadBack, "look", _die)
        with pytest.raises(KeyboardInterrupt):
            attempt(sandbox, store, [FIRST, SECOND], first=True, **settings)
    [campaign] = sandbox.client().iter_campaigns()
    sandbox.client().cancel_scheduled_campaign(campaign["id"])
    assert statuses(attempt(sandbox, store, [FIRST, SECOND], **settings)) == ["skipped", "skipped"]
    assert sends(sandbox) == 1


def test_without_a_store_who_was_sent_to_does_not_end_invalid(sandbox: Sandbox) -> None:
    attempt(sandbox, None, [FIRST], first=True)
    now_wrong = {**FIRST, "params": {**PARAMS, "name": None}}
    assert statuses(attempt(sandbox, None, [now_wrong], grace=0)) == ["accepted"]


def test_a_wrong_row_of_a_person_stays_wrong_when_another_row_reaches_them(sandbox: Sandbox) -> None:
    store = Store()
    wrong = {**FIRST, "params": {**PARAMS, "name": None}}
    sandbox.fault("drop", method="POST", when="after", count=1)
    for first in (True, False):
        assert statuses(attempt(sandbox, store, [wrong, FIRST, wrong], first=first)) == [
            "invalid",
            "accepted",
            "invalid",
        ]
    assert messages(sandbox)[0] == 1


# What has to stay the same


def test_another_channel_is_refused_because_it_shows_other_campaigns(sandbox: Sandbox) -> None:
    store = Store()
    attempt(sandbox, store, [FIRST, SECOND], first=True)
    with pytest.raises(
        WatiConfigurationError, match="began with the channel 'default', and now it is 'Support'"
    ):
        attempt(sandbox, store, [SECOND, FIRST], channel="Support")
    assert messages(sandbox) == [1, 1, 0]


def test_another_account_is_refused_instead_of_taking_its_people_for_done(sandbox: Sandbox) -> None:
    store = Store()
    attempt(sandbox, store, [FIRST], first=True)
    from tests.conftest import Sandbox as AnotherSandbox

    with AnotherSandbox() as production:
        assert isinstance(production, AnotherSandbox)
        with pytest.raises(WatiConfigurationError, match="began with the account"):
            attempt(production, store, [FIRST])


# Nothing left


@pytest.mark.parametrize("where", ["before the call", "after a 429"])
def test_what_never_left_is_not_called_unknown(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Airflow's execution_timeout may end a try while it waits for its turn."""

    def rows() -> Iterator[dict[str, Any]]:
        yield from ALL
        # The template has been looked up by now; what is waited for next is the send.
        monkeypatch.setattr(waiting, _die)

    sandbox.fault("status", status=429, path="*/messageTemplates/send", count=1)
    waiting = {
        "before the call": "airflow_provider_wati.client.rate_limit.Pacer.wait",
        "after a 429": "airflow_provider_wati.client.transport.time.sleep",
    }[where]
    job = _with_ledger(sandbox, Store())
    with pytest.raises(KeyboardInterrupt):
        job.run(rows(), sent_before=False)
    assert statuses(job) == ["unsent"] * 3, reasons(job)
    assert job.summary()["calls"] == 0
    assert sends(sandbox) == (1 if where == "after a 429" else 0)


def _with_ledger(sandbox: Sandbox, store: Store, **settings: Any) -> TemplateSend:
    ledger = Ledger(store, "key")
    ledger.open(tried_before=False)
    return sender(sandbox, store, ledger=ledger, **settings)


def test_a_store_that_refuses_the_intent_leaves_nothing_in_doubt(sandbox: Sandbox) -> None:
    class Full(Store):
        def set(self, key: str, value: Any) -> None:
            if value["batches"]:
                raise OSError("full")
            super().set(key, value)

    job = _with_ledger(sandbox, Full())
    with pytest.raises(OSError, match="full"):
        job.run(ALL, sent_before=False)
    assert statuses(job) == ["unsent"] * 3
    assert (sends(sandbox), job.summary()["calls"]) == (0, 0)


def test_a_time_that_passes_while_batches_wait_stops_the_rest(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=4)

    def wait(self: Any, family: Any) -> None:
        if sends(sandbox):
            time.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds() + 0.01))

    monkeypatch.setattr("airflow_provider_wati.client.rate_limit.Pacer.wait", wait)
    job = _with_ledger(sandbox, Store(), scheduled_at=soon)
    with pytest.raises(WatiValidationError, match="which is in the past"):
        job.run(ALL, sent_before=False)
    assert statuses(job) == ["accepted", "unsent", "unsent"]


def test_the_window_is_looked_at_when_a_message_leaves(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may close while a batch waits for WATI's limits."""

    class Window:
        closed = False

        def next_opening(self, moment: datetime) -> datetime:
            return datetime(2099, 1, 1, tzinfo=UTC) if self.closed else moment

    window = Window()

    def wait(self: Any, family: Any) -> None:
        window.closed = sends(sandbox) == 1

    monkeypatch.setattr("airflow_provider_wati.client.rate_limit.Pacer.wait", wait)
    job = _with_ledger(sandbox, Store(), send_window=window)
    job.run([FIRST, SECOND], sent_before=False)
    assert statuses(job) == ["accepted", "accepted"]
    assert messages(sandbox) == [1, 0, 0]
    assert job.summary()["scheduled_at"] == "2099-01-01T00:00:00Z"
    assert job.summary()["calls"] == 2


def test_a_rehearsal_after_a_lost_answer_does_not_promise_what_may_have_gone(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("drop", method="POST", when="after", count=1)
    sandbox.fault("slow_listing", seconds=3600, method="POST", count=1)
    attempt(sandbox, store, [FIRST, SECOND], first=True, grace=0, hold=True)
    job = attempt(sandbox, store, [FIRST, SECOND], dry_run=True)
    assert statuses(job) == ["unknown", "accepted"]
    assert job.summary()["dry_run"]["messages"] == 0


def test_a_rehearsal_tells_its_figures_also_when_nobody_is_left(sandbox: Sandbox) -> None:
    job = sender(sandbox, Store(), dry_run=True, suppress=[FIRST["target"]])
    job.run([FIRST], sent_before=False)
    assert job.summary()["dry_run"] == {"messages": 0, "calls": 0, "seconds": 0.0, "estimated_cost": 0.0}
