"""Template sends over several tries, each with a ledger of its own on the same store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.sending.job import TemplateSend
from airflow_provider_wati.sending.ledger import Ledger
from airflow_provider_wati.sending.row_mapping import RecipientDicts
from airflow_provider_wati.sending.schedule import SendWindow

if TYPE_CHECKING:
    from tests.conftest import Sandbox

PARAMS = {"name": "Ada", "order_id": "1001", "status": "packed"}
FIRST, SECOND, THIRD = (
    {"target": number, "params": PARAMS} for number in ("85264318721", "85264318722", "85264318723")
)


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wati.sending.grace.POLL_SECONDS", 0.05)
    # So that a grace may be shorter than the client's timeout.
    monkeypatch.setattr("airflow_provider_wati.sending.grace.longest_call", lambda _: timedelta(-1))


def send(
    sandbox: Sandbox, store: Store, rows: Iterable[dict[str, Any]], grace: float = 1.0, **settings: Any
) -> dict[str, Any]:
    """Send as one try of a task would, one person a batch unless told otherwise."""
    job = sender(sandbox, store, grace=grace, **settings)
    job.run(rows, sent_before=job.ledger.known_before)
    return job.summary()


def sender(sandbox: Sandbox, store: Store, grace: float = 1.0, **settings: Any) -> TemplateSend:
    return TemplateSend(
        **{
            "client": sandbox.client(),
            "template_name": "order_update",
            "broadcast_name": "orders",
            "send_key": "key",
            "ledger": Ledger(store, "key"),
            "take_apart": RecipientDicts(),
            "unknown_grace": timedelta(seconds=grace),
            "batch_size": 1,
            "check_consent": False,
            **settings,
        }
    )


def statuses(job: TemplateSend) -> list[str]:
    return [outcome["status"] for outcome in job.outcomes()]


def reasons(job: TemplateSend) -> list[str | None]:
    return [outcome["reason"] for outcome in job.outcomes()]


def sends(sandbox: Sandbox) -> int:
    return sum("/messageTemplates/" in request for request in sandbox.requests("POST"))


def test_a_person_in_doubt_is_waited_for_in_whatever_batch_they_are_now(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("slow_listing", seconds=1, skip=1)
    sandbox.fault("drop", method="POST", when="after", skip=1, count=1)
    first = send(sandbox, store, [FIRST, SECOND], grace=0, hold=True)
    assert (first["accepted"], first["unknown"]) == (1, 1)
    summary = send(sandbox, store, [SECOND, FIRST], grace=3)
    assert (summary["total"], summary["accepted"]) == (2, 2)
    assert [len(sandbox.texts_to(row["target"])) for row in (FIRST, SECOND)] == [1, 1]


def test_a_campaign_that_never_lists_everybody_is_unknown_and_nothing_is_sent(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("slow_listing", seconds=3600, fill=True)
    sandbox.fault("drop", method="POST", when="after", count=1)
    for _ in range(2):
        summary = send(sandbox, store, [FIRST], grace=0.5)
        assert summary["unknown"] == 1
        assert "lists fewer people than it has" in summary["problems"][0]["reason"]
    with pytest.raises(WatiUnknownOutcomeError, match="lists fewer people than it has"):
        send(sandbox, store, [SECOND, FIRST], grace=0.5)
    assert len(sandbox.texts_to(FIRST["target"])) == 1


def test_who_is_suppressed_gets_nothing_however_the_number_is_written(sandbox: Sandbox) -> None:
    job = sender(sandbox, Store(), suppress=["+852 6431 8722"])
    job.run([FIRST, SECOND], sent_before=False)
    assert statuses(job) == ["accepted", "skipped"]
    assert reasons(job) == [None, "suppressed"]
    assert sandbox.texts_to(SECOND["target"]) == []


def test_an_entry_of_suppress_that_cannot_be_read_stops_it_all(sandbox: Sandbox) -> None:
    job = sender(sandbox, Store(), suppress=[FIRST["target"], "8526431872O"])
    with pytest.raises(WatiValidationError, match="Entry 2 of suppress cannot be read"):
        job.run([SECOND], sent_before=False)
    assert statuses(job) == ["unsent"]
    assert sends(sandbox) == 0


def test_a_person_who_comes_twice_gets_one_message_unless_a_key_tells_two_apart(sandbox: Sandbox) -> None:
    again = {"target": "+852 6431-8721", "params": {**PARAMS, "order_id": "1002"}}
    job = sender(sandbox, Store())
    job.run([FIRST, again], sent_before=False)
    assert statuses(job) == ["accepted", "skipped"]
    assert "the same person as in row 1, and no `key`" in str(reasons(job)[1])
    job = sender(sandbox, Store(), take_apart=RecipientDicts("order_id"), send_key="another")
    job.run([SECOND, {**again, "target": SECOND["target"]}, SECOND], sent_before=False)
    assert statuses(job) == ["accepted", "accepted", "skipped"]
    assert len(sandbox.texts_to(FIRST["target"])) == 1
    assert len(sandbox.texts_to(SECOND["target"])) == 2


def test_who_opted_out_is_skipped_in_each_try(sandbox: Sandbox) -> None:
    opted_out = {"phone": SECOND["target"], "allow_broadcast": False}
    sandbox.control("POST", "/contacts", {"contacts": [opted_out]})
    store = Store()
    for _ in range(2):
        job = sender(sandbox, store, check_consent=True, batch_size=3)
        job.run([FIRST, SECOND, THIRD], sent_before=job.ledger.known_before)
        assert statuses(job) == ["accepted", "skipped", "accepted"]
        assert "opted out" in str(reasons(job)[1])
    assert sends(sandbox) == 1
    assert sandbox.texts_to(SECOND["target"]) == []


def test_a_dry_run_sends_nothing_and_tells_what_would_go(sandbox: Sandbox) -> None:
    store = Store()
    job = sender(sandbox, store, dry_run=True, batch_size=2)
    job.run([FIRST, SECOND, THIRD, FIRST, {"target": "12"}], sent_before=False)
    summary = job.summary()
    assert (summary["dry_run"]["messages"], summary["dry_run"]["calls"], summary["calls"]) == (3, 2, 0)
    assert statuses(job) == ["unsent"] * 3 + ["skipped", "invalid"]
    assert reasons(job)[0] == "dry run"
    assert sends(sandbox) == 0
    assert send(sandbox, store, [FIRST])["accepted"] == 1


def test_a_lost_batch_is_sent_again_after_the_grace(sandbox: Sandbox) -> None:
    sandbox.fault("drop", method="POST", when="before", count=1)
    summary = send(sandbox, Store(), [FIRST, SECOND], grace=0.3)
    assert (summary["accepted"], summary["calls"]) == (2, 3)
    assert len(sandbox.texts_to(FIRST["target"])) == 1


def test_a_lost_batch_is_held_where_that_is_wished(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("drop", method="POST", when="before", count=1)
    for _ in range(2):
        summary = send(sandbox, store, [FIRST, SECOND], grace=0.3, hold=True)
        assert (summary["accepted"], summary["unknown"]) == (1, 1)
        assert "on_unknown is `hold`" in summary["problems"][0]["reason"]
    assert sends(sandbox) == 2


def test_outside_the_window_wati_is_to_send_when_it_opens(sandbox: Sandbox) -> None:
    now = datetime.now(UTC)
    start, end = (now + timedelta(hours=hours) for hours in (2, 4))
    window = SendWindow.parse((f"{start:%H:%M}", f"{end:%H:%M}", "UTC"))
    summary = send(sandbox, Store(), [FIRST], send_window=window)
    opening = f"{start:%Y-%m-%dT%H:%M}:00Z"
    assert (summary["accepted"], summary["scheduled_at"]) == (1, opening)
    assert sandbox.texts_to(FIRST["target"]) == []
    (campaign,) = sandbox.client().iter_campaigns()
    assert str(campaign["scheduled_at"]).startswith(opening.removesuffix("Z"))
    sandbox.control("POST", "/clock", {"advance": 2 * 3600})
    assert len(sandbox.texts_to(FIRST["target"])) == 1


def test_inside_the_window_it_goes_at_once(sandbox: Sandbox) -> None:
    now = datetime.now(UTC)
    window = SendWindow.parse(
        (f"{now - timedelta(hours=2):%H:%M}", f"{now + timedelta(hours=2):%H:%M}", "UTC")
    )
    assert "scheduled_at" not in send(sandbox, Store(), [FIRST], send_window=window)
    assert len(sandbox.texts_to(FIRST["target"])) == 1


def test_a_token_that_is_refused_on_the_way_leaves_the_rest_unsent(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("status", status=401, method="POST", skip=1, count=1)
    job = sender(sandbox, store)
    with pytest.raises(WatiAuthenticationError):
        job.run([FIRST, SECOND, THIRD], sent_before=False)
    assert statuses(job) == ["accepted", "unsent", "unsent"]
    assert all("not attempted" in str(reason) and "401" in str(reason) for reason in reasons(job)[1:])
    assert send(sandbox, store, [FIRST, SECOND, THIRD])["accepted"] == 3
    assert sends(sandbox) == 4


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 400}, {"kind": "refused_in_200"}], ids=str)
def test_a_batch_that_is_refused_does_not_stop_the_others(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    sandbox.fault(**fault, method="POST", skip=1, count=1)
    summary = send(sandbox, Store(), [FIRST, SECOND, THIRD])
    assert (summary["accepted"], summary["rejected"], summary["calls"]) == (2, 1, 3)
    assert summary["problems"][0]["row"] == 2


def test_who_may_have_been_sent_to_is_not_called_unsent(sandbox: Sandbox) -> None:
    """Whoever resends to the unsent rows of an outcomes file must not message them again."""
    store = Store()
    assert send(sandbox, store, [FIRST, SECOND])["accepted"] == 2
    sandbox.fault("status", status=401, path="*/broadcasts*")
    job = sender(sandbox, store)
    with pytest.raises(WatiAuthenticationError):
        job.run([FIRST, SECOND], sent_before=True)
    assert statuses(job) == ["unknown", "unknown"]
    assert "an earlier try may have sent it" in str(reasons(job)[0])


def test_an_answered_campaign_that_is_not_listed_yet_is_waited_for_when_rows_change(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("slow_listing", seconds=1)
    assert send(sandbox, store, [FIRST, SECOND], batch_size=2)["accepted"] == 2
    summary = send(sandbox, store, [SECOND, FIRST], grace=2, batch_size=2)
    assert (summary["accepted"], summary["calls"]) == (2, 0)
    assert sends(sandbox) == 1


def test_a_campaign_is_found_by_its_mark_whatever_it_was_called(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("drop", method="POST", when="after", count=1)
    send(sandbox, store, [FIRST], grace=0, hold=True, broadcast_name="orders [of 1 May]")
    assert send(sandbox, store, [FIRST], grace=0, broadcast_name="others")["accepted"] == 1
    assert sends(sandbox) == 1
