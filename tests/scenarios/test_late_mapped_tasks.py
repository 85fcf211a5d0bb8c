"""Mapped tasks that Airflow makes after others have sent, and mapped tasks that send several messages to the same people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiError, WatiUnknownOutcomeError
from airflow_provider_wati.operators.messages import WatiSendTextOperator
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator
from tests.support.sends import phone
from tests.support.tasks import Execute, Store

if TYPE_CHECKING:
    from tests.conftest import Sandbox


def bulk(
    people: list[int], directory: Path, order: str = "1001", **more: Any
) -> WatiBroadcastTemplateOperator:
    return WatiBroadcastTemplateOperator(
        task_id="send",
        template_name="order_update",
        target_column="phone",
        param_columns={"name": "phone"},
        template_params={"order_id": order, "status": "packed"},
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
    """It reads the journals of the others, and sends to the people who are in none of them."""
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


# Several messages to the same people


@pytest.mark.parametrize("has_store", [True, False])
def test_a_cleared_task_whose_people_have_another_message_sends_its_own(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, has_store: bool
) -> None:
    """The remedy after a 401 is to correct the token and to clear; a message with other parameters is not this one."""
    stores = [Store(), Store()]
    execute(bulk([0, 1], tmp_path, "1"), map_index=0, store=stores[0], has_store=has_store)
    sandbox.fault("status", path="*/messageTemplates/send", status=401, count=1)
    with pytest.raises(WatiError):
        execute(bulk([0, 1], tmp_path, "2"), map_index=1, store=stores[1], has_store=has_store)
    again: dict[str, Any] = {"try_number": 2, "clears": 1, "has_store": has_store}
    for index, order in enumerate("12"):
        summary = execute(bulk([0, 1], tmp_path, order), map_index=index, store=stores[index], **again)
        assert summary["accepted"] == 2
    assert received(sandbox, 2) == [2, 2]


@pytest.mark.parametrize("how", ["late", "counted Clear"])
def test_people_who_have_another_message_are_unknown_to_a_new_mapped_task(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, how: str
) -> None:
    """Nothing says whether it is another message, or the same before its parameters changed: never green for nothing."""
    execute(bulk([0, 1], tmp_path, "1"), map_index=0, made=now())
    new: dict[str, Any] = {"made": later()} if how == "late" else {"clears": 1}
    for attempt in (1, 2):
        with pytest.raises(WatiUnknownOutcomeError, match="with other parameters.*another send_key"):
            execute(bulk([0, 1, 2], tmp_path, "2"), map_index=1, try_number=attempt, **new)
    assert received(sandbox, 3) == [1, 1, 1]


def test_people_who_moved_with_the_same_parameters_have_their_message(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The order of parameters makes no difference."""
    for index, people in enumerate(([0, 1], [2, 3])):
        execute(bulk(people, tmp_path, "1"), map_index=index)
    for index, people in enumerate(([3, 0], [1, 2])):
        operator = bulk(people, tmp_path, "1")
        operator.template_params = {"status": "packed", "order_id": "1"}
        operator.param_columns = {"name": "phone"}
        assert execute(operator, map_index=index, try_number=2, clears=1)["accepted"] == 2
    assert received(sandbox, 4) == [1, 1, 1, 1]
