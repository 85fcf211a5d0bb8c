"""Something cannot be read, in WATI or in the journal: what is known counts, and nobody else is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator
from tests.support.sends import SandboxSends, people, phone
from tests.support.tasks import Execute, Store

if TYPE_CHECKING:
    from tests.conftest import Sandbox


@pytest.fixture
def sends(sandbox: Sandbox) -> SandboxSends:
    return SandboxSends(sandbox)


UNREADABLE: list[dict[str, Any]] = [
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 500},
    {"kind": "garbage"},
    {"kind": "drop"},
]


@pytest.mark.parametrize("fault", UNREADABLE, ids=str)
def test_a_list_that_cannot_be_read_leaves_what_the_journal_knows(
    fault: dict[str, Any], sends: SandboxSends
) -> None:
    """Finding 11: 20 accepted stay accepted, 30 that were never attempted go out, and only the open call waits."""
    sends.sandbox.fault("drop", method="POST", when="after", skip=2, count=1)
    sends.attempt(people(25), batch_size=10, dies=True)
    sends.sandbox.fault(**fault, method="GET", path="*/broadcasts*")
    done = sends.attempt(people(50), batch_size=10)
    assert done.error is None
    counts = {status: done.statuses.count(status) for status in set(done.statuses)}
    assert counts.get("accepted", 0) >= 45
    assert sends.messages(50) == [1] * 50
    sends.sandbox.workspace.faults.clear()
    assert sends.attempt(people(50), batch_size=10).statuses == ["accepted"] * 50


@pytest.mark.parametrize("fault", UNREADABLE, ids=str)
def test_a_forbidden_list_costs_only_the_open_call(fault: dict[str, Any], sends: SandboxSends) -> None:
    """Finding 11: the rows of the open call are unknown with the reason, and not all rows."""
    sends.sandbox.fault(**fault, method="GET", path="*/broadcasts*")
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    done = sends.attempt(people(6), batch_size=2)
    assert done.statuses == ["unknown"] * 2 + ["accepted"] * 4
    assert "campaigns cannot be read" in done.reasons[0]
    assert sends.posts() == 3


def test_a_list_that_is_forbidden_is_not_waited_for(sends: SandboxSends) -> None:
    """Waiting changes nothing about a scope."""
    sends.sandbox.fault("status", status=403, method="GET", path="*/broadcasts*")
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    sends.attempt(people(2))
    assert sends.clock.sleeps == []


@pytest.mark.parametrize("status", [500, 404, 403])
def test_one_campaign_that_cannot_be_read_stops_nobody_else(status: int, sends: SandboxSends) -> None:
    """Finding 10c: batches that were never attempted go out, and the other lost call is found."""
    sends.sandbox.fault("drop", method="POST", when="after", count=1)
    sends.sandbox.fault("drop", method="POST", when="after", skip=2, count=1)
    sends.sandbox.fault("slow_listing", method="POST", seconds=1, skip=0, count=1)
    first = sends.attempt(people(6), batch_size=2, dies=True)
    assert first.statuses[2:4] == ["accepted"] * 2
    broken = sends.sandbox.state.broadcasts[0].id
    sends.clock.advance(2)
    sends.sandbox.fault("status", status=status, method="GET", path=f"*/broadcasts/{broken}*")
    done = sends.attempt(people(10), batch_size=2)
    assert done.statuses == ["unknown"] * 2 + ["accepted"] * 8
    assert sends.messages(10) == [1] * 10


# The journal


def operator(path: Path) -> WatiSendTemplateOperator:
    return WatiSendTemplateOperator(
        task_id="send",
        template_name="order_update",
        recipients=people(3),
        check_consent=False,
        state_path=str(path),
        retries=2,
    )


@pytest.mark.parametrize("damage", [b"", b"\x00\xff", b"{}", b'{"v": 1, "kind": "intent"}', b'{"v": 9}'])
def test_a_damaged_entry_stops_the_send_and_names_its_place(
    damage: bytes, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """An entry that cannot be read may name people with a message, so nothing goes out, and the way out is named."""
    store = Store()
    execute(operator(tmp_path), store=store)
    entries = sorted(tmp_path.rglob("0*.json"))
    assert len(entries) >= 3
    entries[1].write_bytes(damage)
    with pytest.raises(WatiConfigurationError) as refused:
        execute(operator(tmp_path), store=store, try_number=2)
    assert str(entries[1]) in str(refused.value)
    assert "Restore the entry" in str(refused.value)
    assert len(sandbox.texts_to(phone(0))) == 1


def test_a_missing_entry_is_noticed(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A gap in the numbers, or a result without its intent, shows that an entry is gone."""
    store = Store()
    execute(operator(tmp_path), store=store)
    intents = [path for path in tmp_path.rglob("0*.json") if '"intent"' in path.read_text()]
    intents[0].unlink()
    with pytest.raises(WatiConfigurationError, match="an entry is missing|has no entry number"):
        execute(operator(tmp_path), store=store, try_number=2)
    assert len(sandbox.texts_to(phone(0))) == 1


def test_an_entry_that_others_wrote_into_airflow_s_store_is_named(execute: Execute, sandbox: Sandbox) -> None:
    """Airflow's store may hold something else under a key of ours, which is not taken for nothing."""
    store = Store()
    summary = execute(operator_without_path(), store=store)
    assert summary["accepted"] == 3
    store.set(next(iter(store)), "not ours")
    with pytest.raises(WatiConfigurationError, match="of the task's state in Airflow cannot be read"):
        execute(operator_without_path(), store=store, try_number=2)
    assert len(sandbox.texts_to(phone(0))) == 1


def operator_without_path() -> WatiSendTemplateOperator:
    return WatiSendTemplateOperator(
        task_id="send", template_name="order_update", recipients=people(3), check_consent=False, retries=2
    )
