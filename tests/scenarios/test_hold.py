"""on_unknown="hold": nobody is sent to again without evidence, and everything else goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiUnknownOutcomeError
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator
from tests.support.sends import MemoryStore, SandboxSends, model_sends, people, person, phone
from tests.support.tasks import Execute, Store
from tests.support.wati_model import Fault, Lag

if TYPE_CHECKING:
    from tests.conftest import Sandbox


@pytest.fixture
def sends(sandbox: Sandbox) -> SandboxSends:
    return SandboxSends(sandbox, hold=True)


@pytest.mark.parametrize("change", ["nothing", "rows", "batch size"])
def test_hold_keeps_whom_wati_does_not_show(change: str, sends: SandboxSends) -> None:
    """A call that WATI does not show holds its people in each attempt, until the user releases them."""
    sends.sandbox.fault("drop", method="POST", when="before", skip=1, count=1)
    sends.attempt(people(3), batch_size=1)
    for _ in range(3):
        rows = [person(n) for n in ((1, 0, 2, 3) if change == "rows" else (0, 1, 2))]
        done = sends.attempt(rows, batch_size=2 if change == "batch size" else 1)
        held = [n for n, status in enumerate(done.statuses) if status == "unknown"]
        assert held == [0 if change == "rows" else 1]
        assert "on_unknown is 'hold'" in done.reasons[held[0]]
        assert "clear the task with on_unknown='resend_after_grace'" in done.reasons[held[0]]
        sends.clock.advance(10_000)
    assert sends.messages(3) == [1, 0, 1]
    assert sends.attempt(people(3), hold=False).statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]


def test_hold_keeps_whom_a_campaign_leaves_out(sends: SandboxSends) -> None:
    """People whom the campaign lists are accepted; the others get the message after the user allows it."""
    sends.sandbox.fault("omit_recipients", numbers=[phone(1)], method="POST", count=1)
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    done = sends.attempt(people(3))
    assert done.statuses == ["accepted", "unknown", "accepted"]
    assert "on_unknown is 'hold'" in done.reasons[1]
    assert sends.messages(3) == [1, 0, 1]
    assert sends.attempt(people(3), hold=False).statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]


@pytest.mark.parametrize("grows", [True, False])
def test_hold_keeps_whom_a_campaign_lists_later_than_the_grace(grows: bool) -> None:
    """A list that is as long as its total is no evidence, because the total may grow with the list."""
    sends = model_sends(hold=True)
    sends.model.lags = [Lag(first=10, last=400, total_grows=grows)]
    sends.model.faults = [Fault("drop", after=True)]
    assert sends.attempt(people(2)).statuses == ["accepted", "unknown"]
    sends.clock.advance(1_000)
    assert sends.attempt(people(2)).statuses == ["accepted"] * 2
    assert sends.messages(2) == [1, 1]


def test_hold_keeps_the_people_of_a_campaign_that_lists_nobody() -> None:
    """WATI made the campaign, so the call has arrived; an empty list is no evidence that its people have nothing."""
    sends = model_sends(hold=True)
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(first=100_000, last=100_000, total_grows=True)]
    for rows in (people(3), people(3)[::-1], people(2)):
        done = sends.attempt(rows)
        assert set(done.statuses) == {"unknown"}
        sends.clock.sleep(1_000)
    assert sends.posts() == 1
    sends.clock.sleep(100_000)
    assert sends.attempt(people(3)).statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]


def test_hold_keeps_everybody_when_the_journal_is_gone(sends: SandboxSends) -> None:
    """Who is not shown may have been sent to by an attempt whose journal is lost; who is shown is accepted."""
    sends.attempt(people(2))
    sends.lose_state()
    for _ in range(2):
        done = sends.attempt(people(4))
        assert done.statuses == ["accepted", "accepted", "unknown", "unknown"]
        assert "on_unknown='resend_after_grace'" in done.reasons[2]
    assert sends.attempt(people(4), hold=False).statuses == ["accepted"] * 4
    assert sends.messages(4) == [1] * 4


def test_hold_waits_in_a_dry_run_for_nothing(sends: SandboxSends) -> None:
    """A dry run is no attempt, so the send after it is not held."""
    sends.attempt(people(3), dry_run=True)
    assert sends.attempt(people(3)).statuses == ["accepted"] * 3
    assert sends.clock.sleeps == []


# As a task


def operator(**more: Any) -> WatiSendTemplateOperator:
    return WatiSendTemplateOperator(
        task_id="send",
        template_name="order_update",
        recipients=people(2),
        check_consent=False,
        on_unknown="hold",
        retries=2,
        **more,
    )


@pytest.mark.parametrize("where", ["store", "state_path"])
@pytest.mark.parametrize("try_number", [2, 3])
def test_an_attempt_that_never_reached_execute_holds_nobody(
    try_number: int, where: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Finding 9: after an eviction or a Jinja error in attempt 1 nothing was ever sent, so the send goes out."""
    more = {"state_path": str(tmp_path)} if where == "state_path" else {}
    summary = execute(operator(**more), store=Store(), try_number=try_number)
    assert (summary["accepted"], summary["unknown"]) == (2, 0)
    assert len(sandbox.texts_to(phone(0))) == 1


@pytest.mark.parametrize("where", ["store", "state_path"])
def test_a_held_send_is_released_by_its_argument(
    where: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The argument is templated, so that a variable releases a held send without an edit of the DAG."""
    assert "on_unknown" in WatiSendTemplateOperator.template_fields
    more = {"state_path": str(tmp_path)} if where == "state_path" else {}
    store = Store()
    sandbox.fault("drop", method="POST", when="before", count=1)
    with pytest.raises(WatiUnknownOutcomeError, match="on_unknown is 'hold'"):
        execute(operator(**more), store=store)
    with pytest.raises(WatiUnknownOutcomeError, match="on_unknown is 'hold'"):
        execute(operator(**more), store=store, try_number=2)
    released = operator(**more)
    released.on_unknown = "resend_after_grace"
    assert execute(released, store=store, try_number=3)["accepted"] == 2
    assert len(sandbox.texts_to(phone(0))) == 1


def test_hold_keeps_people_who_may_have_moved_from_another_mapped_task(sends: SandboxSends) -> None:
    """Rows that are new in a mapped task may have been another one's, whose journal is out of reach."""
    sends.attempt(people(2), is_mapped=True)
    moved = [person(0), person(1), person(7)]
    held = sends.attempt(moved, is_mapped=True)
    assert held.statuses == ["accepted", "accepted", "unknown"]
    assert "on_unknown is 'hold'" in held.reasons[2]
    released = sends.attempt(moved, is_mapped=True, hold=False)
    assert released.statuses == ["accepted"] * 3
    assert sends.messages(8) == [1, 1, 0, 0, 0, 0, 0, 1]


def test_hold_keeps_a_moved_person_whose_release_did_not_leave() -> None:
    """An attempt releases a person who has moved and ends with 401; the next one holds the person."""
    sends = model_sends(is_mapped=True, family="key")
    sends.model.lags = [Lag(listed=5_000), Lag()]
    sends.attempt([person(7)], send_key="key 0")
    sends.store = MemoryStore()
    sends.attempt(people(2), send_key="key 1", may_have_run=False)
    moved = [*people(2), person(7)]
    sends.model.faults = [Fault("status", status=401, count=1)]
    assert sends.attempt(moved, send_key="key 1").statuses[2] == "unknown"
    held = sends.attempt(moved, send_key="key 1", hold=True)
    assert held.statuses == ["accepted", "accepted", "unknown"]
    assert "on_unknown is 'hold'" in held.reasons[2]
    assert sends.messages(1, first=7) == [1]
