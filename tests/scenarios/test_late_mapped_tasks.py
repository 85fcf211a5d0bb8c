"""Mapped tasks that Airflow makes after others have sent, by a Clear that it does not count or a change of the DAG."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.operators.messages import WatiSendTextOperator
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator
from tests.support.sends import phone
from tests.support.tasks import Execute, Store

if TYPE_CHECKING:
    from tests.conftest import Sandbox


def bulk(people: list[int], directory: Path, **more: Any) -> WatiBroadcastTemplateOperator:
    return WatiBroadcastTemplateOperator(
        task_id="send",
        template_name="order_update",
        target_column="phone",
        param_columns={"name": "phone"},
        template_params={"order_id": "1001", "status": "packed"},
        check_consent=False,
        retries=3,
        rows=[{"phone": phone(n)} for n in people],
        state_path=str(directory),
        **more,
    )


def text(person: int) -> WatiSendTextOperator:
    return WatiSendTextOperator(task_id="send", target=phone(person), text="Hello", retries=3)


def now() -> datetime:
    """The time at which Airflow makes the mapped tasks of a run."""
    return datetime.now(UTC)


def later() -> datetime:
    """The time at which it makes another one, some time after the others have begun."""
    return datetime.now(UTC) + timedelta(minutes=5)


def received(sandbox: Sandbox, count: int) -> list[int]:
    sent = sandbox.state.sent_per_phone()
    return [sent.get(phone(n), 0) for n in range(count)]


@pytest.mark.parametrize("has_store", [True, False])
def test_people_who_move_to_a_late_mapped_task_are_messaged_once(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, has_store: bool
) -> None:
    """It reads the journals of the others, and sends to those whom none of them has."""
    made = now()
    for index, people in enumerate(([0, 1], [2, 3])):
        execute(bulk(people, tmp_path), map_index=index, made=made, has_store=has_store)
    summary = execute(bulk([1, 2, 4], tmp_path), map_index=2, made=later(), has_store=has_store)
    assert (summary["accepted"], summary["total"]) == (3, 3)
    assert received(sandbox, 5) == [1, 1, 1, 1, 1]


def test_a_late_mapped_task_trusts_the_journals_where_wati_does_not_list_the_campaign(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Also in its second attempt, which Airflow does not call cleared."""
    sandbox.fault("slow_listing", path="*/messageTemplates/send", seconds=1e6)
    execute(bulk([0, 1], tmp_path), map_index=0, made=now())
    sandbox.fault("status", path="*/messageTemplates", status=403, count=1)
    with pytest.raises(WatiError):
        execute(bulk([1, 2], tmp_path), map_index=1, made=later())
    execute(bulk([1, 2], tmp_path), map_index=1, made=later(), try_number=2)
    assert received(sandbox, 3) == [1, 1, 1]


def test_mapped_tasks_of_one_expansion_are_new(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """Whichever begins first, nobody looks for earlier campaigns or waits."""
    made = now()
    for index in (2, 0, 1):
        execute(bulk([index], tmp_path), map_index=index, made=made)
    assert received(sandbox, 3) == [1, 1, 1]
    assert not [call for call in sandbox.requests("GET") if call.endswith("/broadcasts")]


def test_a_person_who_moves_to_a_late_single_send_is_messaged_once(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journals of the others have the message."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path))
    for person in range(3):
        sandbox.control("POST", "/inbound", {"phone": phone(person), "text": "Hello"})
    made = now()
    for index in (0, 1):
        execute(text(index), map_index=index, made=made)
    for index, person in enumerate((2, 0, 1)):
        late = {"made": later()} if index == 2 else {"try_number": 2, "uncounted_clear": True}
        execute(text(person), map_index=index, store=Store(), **late)
    assert [sandbox.texts_to(phone(n)).count("Hello") for n in range(3)] == [1, 1, 1]
