"""The story of a send: load, check, look up, reconcile, dispatch, account for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiConfigurationError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiValidationError,
)
from airflow_provider_wati.sending.campaign_index import mark_of
from airflow_provider_wati.sending.journal import StoreLimits
from airflow_provider_wati.sending.queue import SendQueue
from airflow_provider_wati.sending.row_mapping import ColumnMapping
from airflow_provider_wati.sending.schedule import SendWindow
from airflow_provider_wati.tables.phone_numbers import TargetReader
from tests.support.sends import PARAMS, MemoryStore, SandboxSends, model_sends, people, person, phone
from tests.support.wati_model import Fault, Lag

if TYPE_CHECKING:
    from tests.conftest import Sandbox


@pytest.fixture
def sends(quick_sends: SandboxSends) -> SandboxSends:
    return quick_sends


# Sending


def test_everybody_gets_the_message_in_batches(sends: SandboxSends) -> None:
    """The rows go out in calls of the batch size, and each row has its campaign."""
    done = sends.attempt(people(5), batch_size=2)
    assert done.error is None
    assert done.statuses == ["accepted"] * 5
    assert sends.messages(5) == [1] * 5
    summary = done.summary
    assert (summary["total"], summary["accepted"], summary["calls"], summary["earlier"]) == (5, 5, 3, 0)
    assert [campaign["accepted"] for campaign in summary["campaigns"]] == [2, 2, 1]
    mark = mark_of("key")
    assert [each.name.partition("-")[0] for each in sends.sandbox.state.broadcasts] == [mark] * 3
    assert len(set(done.campaign_names)) == 3
    [text] = sends.sandbox.texts_to(phone(0))
    assert "Ada" in text
    assert "1001" in text


def test_a_person_who_comes_twice_gets_one_message_unless_a_key_tells_two_apart(
    sends: SandboxSends,
) -> None:
    """Spellings are one person; with keys each order is a message."""
    written = {**person(0), "target": "+91 98 0000-0000"}
    assert sends.attempt([person(0), written]).statuses == ["accepted", "skipped"]
    sends.begin_another()
    rows = [person(1, key="1"), person(1, key="2"), person(1, key="1")]
    assert sends.attempt(rows, send_key="another").statuses == ["accepted", "accepted", "skipped"]
    assert sends.messages(2) == [1, 2]


def test_columns_of_a_table_are_mapped(sends: SandboxSends) -> None:
    """Any mapping that gives target, parameters and key can be used."""
    mapping = ColumnMapping(
        target_column="phone",
        param_columns={"name": "first", "order_id": "id"},
        template_params={"status": "packed"},
        key_column="id",
    )
    row = {"phone": phone(0), "first": "Zoë", "id": 7}
    assert sends.attempt([row], mapping=mapping).statuses == ["accepted"]
    assert sends.sandbox.texts_to(phone(0)) == ["Hi Zoë, your order 7 is packed."]


def test_a_region_reads_national_numbers(sends: SandboxSends) -> None:
    """Numbers without a country code are those of the default region."""
    row = {**person(0), "target": "098 000 00000"}
    assert sends.attempt([row], targets=TargetReader("IN")).statuses == ["accepted"]
    assert sends.messages(1) == [1]


# Checks before the first message


def test_who_is_suppressed_gets_nothing_however_the_number_is_written(sends: SandboxSends) -> None:
    """A suppression list and the rows are compared by person."""
    done = sends.attempt(people(2), suppress=["+91 98000 00001"])
    assert done.statuses == ["accepted", "skipped"]
    assert done.reasons[1] == "suppressed"
    assert sends.messages(2) == [1, 0]


def test_an_entry_of_suppress_that_cannot_be_read_stops_it_all(sends: SandboxSends) -> None:
    """The person whom a misspelt entry means must not be messaged."""
    done = sends.attempt([person(1)], suppress=[phone(0), "8526431872O"])
    assert isinstance(done.error, WatiValidationError)
    assert "Entry 2 of suppress cannot be read" in str(done.error)
    assert done.statuses == ["unsent"]
    assert sends.posts() == 0


def opt_out(sandbox: Sandbox, *numbers: str) -> None:
    sandbox.control(
        "POST", "/contacts", {"contacts": [{"phone": each, "allow_broadcast": False} for each in numbers]}
    )


def test_who_opted_out_is_skipped_in_each_attempt(sends: SandboxSends) -> None:
    """Consent is looked up for those who are to be sent to, and nobody else."""
    opt_out(sends.sandbox, phone(1))
    for _ in range(2):
        done = sends.attempt(people(3), check_consent=True)
        assert done.statuses == ["accepted", "skipped", "accepted"]
        assert "opted out" in done.reasons[1]
    assert sends.messages(3) == [1, 0, 1]
    assert len([request for request in done.requests if "/contacts/" in request]) == 1


@pytest.mark.parametrize("how", ["lost journal", "open call"])
def test_consent_is_asked_for_whom_reconciliation_releases(how: str, sends: SandboxSends) -> None:
    """People who opted out meanwhile are not sent to because an earlier attempt may have tried."""
    sends.sandbox.fault("drop", method="POST", path="*/messageTemplates/*", when="before", count=1)
    first = sends.attempt(people(3), hold=True, batch_size=2, check_consent=True)
    assert first.statuses == ["unknown", "unknown", "accepted"]
    opt_out(sends.sandbox, phone(1))
    if how == "lost journal":
        sends.lose_state()
    done = sends.attempt(people(3), check_consent=True)
    # A recorded call names the person, and may have reached them.
    assert done.statuses == ["accepted", "unknown" if how == "open call" else "skipped", "accepted"]
    assert "opted out" in done.reasons[1]
    assert sends.messages(3) == [1, 0, 1]


def test_consent_is_asked_once_for_each_person(sends: SandboxSends) -> None:
    """A resend within the attempt costs no second look-up."""
    sends.sandbox.fault("drop", method="POST", path="*/messageTemplates/*", when="before", count=1)
    done = sends.attempt(people(3), check_consent=True)
    assert done.statuses == ["accepted"] * 3
    # Count, list, the proof that the short page was the last, count.
    assert len([request for request in done.requests if "/contacts" in request]) == 4


def test_a_look_up_of_consent_that_is_not_allowed_says_what_to_do(sends: SandboxSends) -> None:
    """A token without the scope is an error before the first message."""
    sends.sandbox.fault("status", status=403, path="*/contacts*")
    done = sends.attempt(people(3), check_consent=True)
    assert isinstance(done.error, WatiPermissionError)
    assert "contactsv3:read" in str(done.error)
    assert sends.posts() == 0


@pytest.mark.parametrize(
    ("template", "error", "says"),
    [
        ("spring_sale", WatiValidationError, "is PENDING"),
        ("nothing", WatiNotFoundError, "no template 'nothing'"),
    ],
)
def test_a_template_that_cannot_be_sent_is_refused_only_if_somebody_is_left(
    template: str, error: type[Exception], says: str, sends: SandboxSends
) -> None:
    """A finished send stays green when its template is paused or deleted later."""
    params = {name: "x" for name in ("name", "date", "discount", "order_id", "status")}
    done = sends.attempt([person(0) | {"params": params}], template_name=template)
    assert isinstance(done.error, error)
    assert says in str(done.error)
    assert done.statuses == ["unsent"]
    assert sends.attempt([{"target": "12"}], template_name=template, send_key="b").error is None


def test_a_template_that_is_paused_after_the_send_does_not_fail_a_clear(sends: SandboxSends) -> None:
    """Nobody is left, so the template does not matter any more."""
    sends.attempt(people(2))
    [template] = [each for each in sends.sandbox.state.templates if each.name == "order_update"]
    template.status = "PAUSED"
    done = sends.attempt(people(2))
    assert (done.error, done.statuses) == (None, ["accepted"] * 2)
    assert isinstance(sends.attempt(people(3)).error, WatiValidationError)


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"batch_size": 0}, WatiValidationError, "batch_size is 0"),
        ({"batch_size": 10_001}, WatiValidationError, "1 to 10,000"),
        ({"batch_size": "9"}, WatiValidationError, "batch_size is '9'"),
        ({"send_key": "k" * 1_001}, WatiValidationError, "send_key has 1,001 characters"),
        ({"scheduled_at": datetime(2099, 1, 1)}, WatiValidationError, "scheduled_at"),  # without a zone
        (
            {"scheduled_at": datetime(9999, 12, 31, tzinfo=UTC)},
            WatiValidationError,
            "within the next 10 years",
        ),
        (
            {"scheduled_at": datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12)))},
            WatiValidationError,
            "within the next 10 years",
        ),
        ({"unknown_grace": timedelta(seconds=35)}, WatiConfigurationError, "a call may take 35 s"),
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_right_is_refused(
    settings: dict[str, Any], error: type[Exception], says: str, sends: SandboxSends
) -> None:
    """Before anything is read, the argument is named."""
    with pytest.raises(error, match=says):
        sends.attempt(people(1), **settings)
    assert sends.requests() == []


def test_more_people_than_the_store_holds_are_refused_before_the_first_message(sends: SandboxSends) -> None:
    """A journal that could not hold everybody would forget somebody."""
    sends.store = MemoryStore(StoreLimits(people_per_entry=2, people=3, remedy="Set state_path."))
    done = sends.attempt(people(4))
    assert isinstance(done.error, WatiConfigurationError)
    assert "has 4 people, and its journal can hold 3. Nothing was sent. Set state_path." in str(done.error)
    assert done.statuses == ["unsent"] * 4
    assert sends.posts() == 0
    done = sends.attempt(people(3))
    assert (done.error, done.calls) == (None, 2)


def test_a_source_that_breaks_off_sends_nothing(sends: SandboxSends) -> None:
    """Rows are read to the end before the first message, and their reason repeats nothing of a row."""

    def rows() -> Iterator[dict[str, Any]]:
        yield person(0)
        raise ValueError(f"the file broke off at {phone(1)}")

    done = sends.attempt(rows())
    assert isinstance(done.error, ValueError)
    assert not done.job.has_all_rows
    assert sends.posts() == 0
    # Nothing was written down, so the next attempt sends at once.
    assert sends.attempt(people(2)).statuses == ["accepted", "accepted"]
    assert sends.clock.sleeps == []


# Dry run


def test_a_dry_run_sends_nothing_and_gives_an_estimate(sends: SandboxSends) -> None:
    """The estimate counts messages and calls, and the next attempt sends them."""
    rows = [*people(3), person(0), {"target": "12"}]
    done = sends.attempt(rows, dry_run=True, batch_size=2)
    estimate = done.summary["estimate"]
    assert (estimate["messages"], estimate["calls"], done.calls) == (3, 2, 0)
    assert done.statuses == ["unsent"] * 3 + ["skipped", "invalid"]
    assert done.reasons[0] == "dry run"
    assert sends.posts() == 0
    assert sends.attempt(rows, batch_size=2).calls == 2
    assert sends.clock.sleeps == []


def test_a_dry_run_of_nobody_has_its_figures_too(sends: SandboxSends) -> None:
    """All figures are there when nobody is left."""
    done = sends.attempt([person(0)], dry_run=True, suppress=[phone(0)])
    assert done.summary["estimate"] == {"messages": 0, "calls": 0, "seconds": 0.0, "estimated_cost": 0.0}


def test_a_dry_run_promises_nothing_that_may_have_gone(
    sends: SandboxSends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """People of an open call are unknown to a dry run, which waits for nothing."""
    sends.sandbox.fault("slow_listing", seconds=3600, method="POST", count=1)
    with monkeypatch.context() as dying:
        die_at(sends, 1, dying, "after")
        sends.attempt(people(2))
    done = sends.attempt(people(3), dry_run=True)
    assert done.statuses == ["unknown", "unknown", "unsent"]
    assert done.summary["estimate"]["messages"] == 1
    assert sends.clock.sleeps == []


# Windows


def test_outside_the_window_wati_is_to_send_when_it_opens(sends: SandboxSends) -> None:
    """A message that leaves outside the hours is scheduled for their next opening."""
    now = sends.clock.now()
    start, end = (now + timedelta(hours=hours) for hours in (2, 4))
    window = SendWindow.parse((f"{start:%H:%M}", f"{end:%H:%M}", "UTC"))
    done = sends.attempt(people(1), send_window=window)
    assert done.summary["scheduled_at"] == f"{start:%Y-%m-%dT%H:%M}:00Z"
    assert sends.sandbox.texts_to(phone(0)) == []
    sends.clock.advance(timedelta(hours=2))
    assert len(sends.sandbox.texts_to(phone(0))) == 1


def test_inside_the_window_it_goes_at_once(sends: SandboxSends) -> None:
    """Within the hours nothing is scheduled."""
    now = sends.clock.now()
    hours = [f"{now + timedelta(hours=hours):%H:%M}" for hours in (-2, 2)]
    done = sends.attempt(people(1), send_window=SendWindow.parse((*hours, "UTC")))
    assert "scheduled_at" not in done.summary
    assert len(sends.sandbox.texts_to(phone(0))) == 1


def test_a_time_that_passes_while_batches_wait_stops_the_rest(sends: SandboxSends) -> None:
    """What was to go at a time that is past is left for a decision of the user's."""
    at = sends.clock.now() + timedelta(seconds=4)
    sends.sandbox.fault("status", status=429, retry_after=5, method="POST", skip=1, count=1)
    done = sends.attempt(people(3), batch_size=1, scheduled_at=at)
    assert isinstance(done.error, WatiValidationError)
    assert "in the past" in str(done.error)
    assert done.statuses == ["accepted", "unsent", "unsent"]


# Errors on the way


def test_a_token_that_is_refused_on_the_way_leaves_the_rest_unsent(sends: SandboxSends) -> None:
    """The rows after the error say why they were not attempted, and the next attempt sends them."""
    sends.sandbox.fault("status", status=401, method="POST", skip=1, count=1)
    done = sends.attempt(people(3), batch_size=1)
    assert isinstance(done.error, WatiAuthenticationError)
    assert done.statuses == ["accepted", "unsent", "unsent"]
    assert all("not attempted" in reason and "401" in reason for reason in done.reasons[1:])
    assert sends.attempt(people(3), batch_size=1).statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]
    assert sends.clock.sleeps == []


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 400}, {"kind": "refused_in_200"}], ids=str)
def test_a_batch_that_is_refused_does_not_stop_the_others(fault: dict[str, Any], sends: SandboxSends) -> None:
    """A refusal is the batch's, and the attempt goes on."""
    sends.sandbox.fault(**fault, method="POST", skip=1, count=1)
    done = sends.attempt(people(3), batch_size=1)
    assert done.statuses == ["accepted", "rejected", "accepted"]
    assert (done.calls, done.summary["problems"][0]["row"]) == (3, 2)
    assert sends.attempt(people(3), batch_size=1).statuses == ["accepted"] * 3


@pytest.mark.parametrize("fails_after", [1, 2, 3])
def test_a_store_that_fails_on_the_way_loses_nobody(fails_after: int, sends: SandboxSends) -> None:
    """Whichever write fails, the rows are true, and the next attempt messages nobody twice."""
    sends.store.fails_after = fails_after
    done = sends.attempt(people(3), batch_size=2)
    assert isinstance(done.error, OSError)
    sent = 0 if fails_after == 1 else 2
    assert done.statuses == ["accepted"] * sent + ["unsent"] * (3 - sent)
    sends.store.fails_after = None
    assert sends.attempt(people(3), batch_size=2).statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]


def die_at(sends: SandboxSends, call: int, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """End the process at a template call, before or after its effect."""
    from requests import Session

    send: Callable[..., Any] = Session.request
    made: list[str] = []

    def request(session: Session, method: str, url: str, **options: Any) -> Any:
        if method == "POST":
            made.append(url)
        if method == "POST" and len(made) == call:
            if when == "after":
                send(session, method, url, **options)
            raise KeyboardInterrupt
        return send(session, method, url, **options)

    monkeypatch.setattr(Session, "request", request)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_an_attempt_that_dies_in_a_call_is_finished_by_the_next(
    call: int, when: str, sends: SandboxSends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timeout of Airflow's in any call leaves its people unknown, and nobody is forgotten or messaged twice."""
    with monkeypatch.context() as dying:
        die_at(sends, call, dying, when)
        done = sends.attempt(people(5), batch_size=2)
    assert isinstance(done.error, KeyboardInterrupt)
    before = 2 * (call - 1)
    during = min(2, 5 - before)
    assert done.statuses == ["accepted"] * before + ["unknown"] * during + ["unsent"] * (5 - before - during)
    assert sends.attempt(people(5), batch_size=2).statuses == ["accepted"] * 5
    assert sends.messages(5) == [1] * 5


def test_a_long_call_whose_end_was_not_written_down_is_waited_for() -> None:
    """How long a call was under way is not known, so the grace runs from the attempt after it."""
    sends = model_sends()
    sends.model.faults = [Fault(kind="drop", call="send", after=True, takes=90.0, late=True)]
    sends.model.lags = [Lag(listed=100.0, first=100.0, last=100.0)]
    sends.store.fails_after = 2
    assert isinstance(sends.attempt(people(2)).error, OSError)
    sends.store.fails_after = None
    assert sends.attempt(people(2)).statuses == ["accepted"] * 2
    assert sends.messages(2) == [1, 1]


def test_a_journal_of_many_calls_takes_no_more_passes_over_the_rows(
    sends: SandboxSends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large send is counted a few times, and not once for each of its thousand calls."""

    def count(self: SendQueue) -> dict[str, int]:
        passes.append(self)
        return counted(self)

    counted = SendQueue.counts
    passes: list[SendQueue] = []
    monkeypatch.setattr(SendQueue, "counts", count)
    needed = []
    for calls in (1, 6):
        sends.begin_another()
        sends.attempt(people(6), send_key=f"{calls} calls", batch_size=6 // calls)
        passes.clear()
        sends.attempt(people(6), send_key=f"{calls} calls")
        needed.append(len(passes))
    assert needed[0] == needed[1] > 0


def test_an_attempt_that_could_not_look_calls_nobody_unsent(sends: SandboxSends) -> None:
    """People of an earlier attempt are unknown if this one failed before the look-up, so that nobody resends."""
    sends.attempt(people(2))
    sends.sandbox.fault("status", status=401, path="*/messageTemplates*")
    done = sends.attempt(people(2))
    assert isinstance(done.error, WatiAuthenticationError)
    assert done.statuses == []
    assert not done.job.has_all_rows


def test_the_counts_of_an_interrupted_attempt_add_up(sends: SandboxSends) -> None:
    """The summary is there and true also after an error."""
    sends.sandbox.fault("status", status=403, method="POST", skip=1)
    done = sends.attempt([*people(4), {"target": "12"}, person(0)], batch_size=2)
    summary = done.summary
    assert isinstance(done.error, WatiPermissionError)
    names = ("accepted", "rejected", "invalid", "skipped", "unknown", "unsent")
    assert [summary[name] for name in names] == [2, 0, 1, 1, 0, 2]
    assert summary["total"] == 6
    assert PARAMS["name"] not in str(summary)
