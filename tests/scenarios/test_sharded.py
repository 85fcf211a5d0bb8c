"""A send that several tasks share: each has a part of the people."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task_group
from packaging.version import Version

from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError, WatiValidationError
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator
from tests.support.sends import phone
from tests.support.tasks import Execute, Store, Tasks

if TYPE_CHECKING:
    from tests.conftest import Sandbox

RunDag = Callable[[DAG], dict[str, Any]]
Clear = Callable[[DAG, Any], Any]

PEOPLE = 60


def table(count: int = PEOPLE) -> list[dict[str, Any]]:
    return [{"phone": f"+{phone(n)}", "name": f"Person {n}"} for n in range(count)]


SEND: dict[str, Any] = {
    "task_id": "send",
    "template_name": "order_update",
    "target_column": "phone",
    "param_columns": {"name": "name"},
    "template_params": {"order_id": "1001", "status": "packed"},
    "check_consent": False,
}


def send(rows: list[dict[str, Any]], shard: Any, **more: Any) -> WatiBroadcastTemplateOperator:
    return WatiBroadcastTemplateOperator(**SEND, rows=rows, shard=shard, batch_size=5, retries=3, **more)


def mapped_over(shards: list[list[Any]]) -> DAG:
    """Return a DAG with a task for each shard."""
    with DAG("sharded", params={"shards": 3}, schedule=None) as dag:
        WatiBroadcastTemplateOperator.partial(**SEND, rows=table()).expand(shard=shards)
    return dag


def send_two_shards_and_clear(execute: Execute, state: dict[str, str]) -> Tasks:
    """Send to everybody in two shards, and clear them; return what Airflow knows of the tasks."""
    for n in (0, 1):
        execute(send(table(), [n, 2], **state), map_index=n)
    tasks: Tasks = execute.tasks  # type: ignore[attr-defined] # a function has no such attribute for mypy
    tasks.clear("r")
    return tasks


def messages(sandbox: Sandbox, count: int = PEOPLE) -> list[int]:
    sent = sandbox.state.sent_per_phone()
    return [sent.get(phone(n), 0) for n in range(count)]


def test_the_shards_of_a_table_reach_everybody_once(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Every row is accounted for in one shard, under its number in the whole table, also a wrong one and another spelling."""
    rows = table()
    # The same person in another spelling, a number that cannot be read, none at all.
    rows += [
        {**rows[0], "phone": f"{phone(0)[:4]} {phone(0)[4:]}"},
        {**rows[1], "phone": "abc"},
        {"name": "?"},
    ]
    accounts: list[tuple[int, str, str]] = []
    totals = Counter[str]()
    for n in range(4):
        outcomes = str(tmp_path / f"outcomes-{n}.csv")
        operator = send(rows, [n, 4], outcomes_path=outcomes, failure_threshold=1.0)
        summary = execute(operator, map_index=n, store=Store())
        totals.update({name: summary[name] for name in ("total", "accepted", "skipped", "invalid")})
        with (tmp_path / f"outcomes-{n}.csv").open(newline="") as file:
            accounts += [(int(row["row"]), row["target"], row["status"]) for row in csv.DictReader(file)]
    assert totals == {"total": PEOPLE + 3, "accepted": PEOPLE, "skipped": 1, "invalid": 2}
    assert sorted(row for row, *_ in accounts) == list(range(1, PEOPLE + 4))
    for row, target, status in accounts:
        if row <= PEOPLE:
            assert (target, status) == (phone(row - 1), "accepted")
    assert messages(sandbox) == [1] * PEOPLE


def test_a_shard_goes_on_where_its_earlier_attempt_ended(execute: Execute, sandbox: Sandbox) -> None:
    """A retry of a shard finds the same people, in whatever order the rows come."""
    store = Store()
    expired = sandbox.fault("status", status=401, method="POST", skip=1)
    with pytest.raises(WatiError):
        execute(send(table(), [1, 3]), map_index=1, store=store)
    sandbox.control("DELETE", f"/faults/{expired}")
    before = sum(messages(sandbox))
    done = execute(send(table()[::-1], [1, 3]), map_index=1, store=store, try_number=2)
    assert before == 5
    assert done["accepted"] == done["total"] == sum(messages(sandbox))
    assert max(messages(sandbox)) == 1


@pytest.mark.parametrize("where", ["state_path", "Airflow's store"])
def test_another_number_of_shards_after_a_clear_messages_nobody_twice(
    where: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """People who are in another task after the number of shards has changed are known there."""
    state = {"state_path": str(tmp_path / "state")} if where == "state_path" else {}
    stores = [Store() for _ in range(5)]
    for n in (0, 1):  # the third one has not run yet
        execute(send(table(), [n, 3], **state), map_index=n, store=stores[n])
    assert 0 < sum(messages(sandbox)) < PEOPLE
    accepted = 0
    for n in range(5):
        summary = execute(
            send(table(), [n, 5], **state),
            map_index=n,
            store=stores[n],
            clears=1,
            try_number=2 if n < 2 else 1,
        )
        accepted += summary["accepted"]
    assert messages(sandbox) == [1] * PEOPLE
    assert accepted == PEOPLE


@pytest.mark.parametrize("where", ["state_path", "Airflow's store", "Airflow's store, emptied"])
def test_more_shards_after_a_clear_that_the_run_does_not_count_message_nobody_twice(
    where: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Airflow 3.1 counts a Clear in a finished run only; a task that seems new learns from the others of the old shards."""
    state = {"state_path": str(tmp_path / "state")} if where == "state_path" else {}
    stores = [Store() for _ in range(3)]
    for n in (0, 1):
        execute(send(table(), [n, 2], **state), map_index=n, store=stores[n])
    tasks: Tasks = execute.tasks  # type: ignore[attr-defined] # what Airflow knows
    tasks.clear("r")
    if where.endswith("emptied"):
        stores = [Store() for _ in range(3)]
    for n in (0, 1, 2):
        again = {"try_number": 2, "uncounted_clear": True} if n < 2 else {}
        execute(send(table(), [n, 3], **state), map_index=n, store=stores[n], **again)
    assert messages(sandbox) == [1] * PEOPLE


def test_a_task_that_seems_new_waits_for_the_others_to_begin_again(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A new task of a cleared run that begins before the others sees their old number of shards, and sends nothing yet."""
    state = {"state_path": str(tmp_path / "state")}
    send_two_shards_and_clear(execute, state)
    with pytest.raises(
        WatiConfigurationError, match="The number of shards is 3 here, and 2 in the mapped task 0"
    ):
        execute(send(table(), [2, 3], **state), map_index=2)
    for n in (0, 1, 2):
        execute(send(table(), [n, 3], **state), map_index=n, try_number=2, uncounted_clear=n < 2)
    assert messages(sandbox) == [1] * PEOPLE


@pytest.mark.parametrize("change", [{"key_column": "order"}, {"channel": "Support"}], ids=["keys", "channel"])
def test_other_shards_with_another_use_of_keys_or_channel_send_nothing(
    change: dict[str, Any], execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The people of a new shard have been in others, whose journals tell that the send was another one."""
    state = {"state_path": str(tmp_path / "state")}
    rows = [{**row, "order": f"o{n}"} for n, row in enumerate(table())]
    for n in (0, 1):
        execute(send(rows, [n, 2], **state), map_index=n)
    for n in (0, 1, 2):
        with pytest.raises(WatiConfigurationError, match="was used with another"):
            execute(
                send(rows, [n, 3], **state, **change), map_index=n, clears=1, try_number=2 if n < 2 else 1
            )
    assert messages(sandbox) == [1] * PEOPLE


def test_the_number_of_shards_may_change_under_a_key_of_the_user_s_own(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A later run under the same key with other shards, or none, sends to those only who have nothing yet."""
    shared = {"send_key": "promo", "state_path": str(tmp_path)}
    for n in range(4):
        execute(send(table(40), [n, 4], **shared), map_index=n, run_id="r1")
    for n in range(3):
        execute(send(table(50), [n, 3], **shared), map_index=n, run_id="r2")
    execute(send(table(), None, **shared), run_id="r3")
    assert messages(sandbox) == [1] * PEOPLE


@pytest.mark.parametrize("where", ["state_path", "Airflow's store"])
def test_a_number_of_shards_that_changes_while_a_run_is_under_way_sends_nothing(
    where: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Tasks that begin after the DAG has changed send to nobody, again and again, until all tasks are cleared."""
    state = {"state_path": str(tmp_path / "state")} if where == "state_path" else {}
    stores = [Store() for _ in range(5)]
    for n in (0, 1):
        execute(send(table(), [n, 3], **state), map_index=n, store=stores[n])
    before = messages(sandbox)
    for n in (2, 3, 4):
        for attempt in (1, 2):
            with pytest.raises(
                WatiConfigurationError, match="5 here, and 3 in the mapped task 0 .* clear all"
            ):
                execute(send(table(), [n, 5], **state), map_index=n, store=stores[n], try_number=attempt)
    assert messages(sandbox) == before
    for n in range(5):
        execute(send(table(), [n, 5], **state), map_index=n, store=stores[n], clears=1, try_number=2)
    assert messages(sandbox) == [1] * PEOPLE


@pytest.mark.parametrize("where", ["state_path", "Airflow's store"])
def test_a_retry_keeps_the_number_of_shards(
    where: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A shard that has sent to a part of its people does not go on as another one, and no other task starts beside it."""
    state = {"state_path": str(tmp_path / "state")} if where == "state_path" else {}
    stores = [Store() for _ in range(5)]
    expired = sandbox.fault("status", status=401, method="POST", skip=1)
    with pytest.raises(WatiError):
        execute(send(table(), [0, 3], **state), map_index=0, store=stores[0])
    sandbox.control("DELETE", f"/faults/{expired}")
    with pytest.raises(
        WatiConfigurationError, match="was 3 in an earlier attempt of this task, and is 5 now"
    ):
        execute(send(table(), [0, 5], **state), map_index=0, store=stores[0], try_number=2)
    with pytest.raises(WatiConfigurationError, match="5 here, and 3 in the mapped task 0"):
        execute(send(table(), [1, 5], **state), map_index=1, store=stores[1])
    assert sum(messages(sandbox)) == 5
    for n in range(3):
        execute(send(table(), [n, 3], **state), map_index=n, store=stores[n], try_number=3)
    assert messages(sandbox) == [1] * PEOPLE


def test_a_clear_of_failed_shards_alone_keeps_the_number_of_shards(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """With another number of shards, people of the tasks that are not cleared would be forgotten in a green run."""
    state = {"state_path": str(tmp_path / "state")}
    tasks: Tasks = execute.tasks  # type: ignore[attr-defined] # what Airflow knows
    execute(send(table(), [0, 2], **state), map_index=0)
    expired = sandbox.fault("status", status=401, method="POST", skip=1)
    with pytest.raises(WatiError):
        execute(send(table(), [1, 2], **state), map_index=1)
    sandbox.control("DELETE", f"/faults/{expired}")
    before = sum(messages(sandbox))
    tasks.clear("r", only={1})
    again: dict[str, Any] = {"map_index": 1, "clears": 1, "try_number": 2}
    with pytest.raises(
        WatiConfigurationError, match="clear all tasks of the send, not only those that have failed"
    ):
        execute(send(table(), [1, 3], **state), **again)
    assert sum(messages(sandbox)) == before
    execute(send(table(), [1, 2], **state), **again)
    assert messages(sandbox) == [1] * PEOPLE


def test_shards_without_mapping_keep_their_number(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """Tasks that are not mapped do not know of each other, so not even a Clear makes another number right."""
    state = {"state_path": str(tmp_path / "state")}
    execute(send(table(), [0, 2], **state))
    before = sum(messages(sandbox))
    with pytest.raises(WatiConfigurationError, match=r"divide the send by .expand\(shard=...\)"):
        execute(send(table(), [0, 3], **state), clears=1, try_number=2)
    assert sum(messages(sandbox)) == before


@pytest.mark.parametrize(
    ("path", "warns"),
    [
        ("{run_id}/all.csv", True),
        ("{run_id}/{ti.map_index}.csv", False),
        ("map_index/all.csv", True),
        ("{task.shard}.csv", False),
    ],
)
def test_shards_that_write_to_one_file_are_warned_of(
    path: str, warns: bool, execute: Execute, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path that is a template and has no index in it is one path all the same."""
    template = path.replace("{", "{{ ").replace("}", " }}")
    execute(send(table(4), [0, 2], outcomes_path=f"{tmp_path}/{template}"), map_index=0)
    assert ("Each mapped task" in capsys.readouterr().out) is warns


def test_a_dry_run_of_other_shards_disturbs_nothing(execute: Execute, sandbox: Sandbox) -> None:
    """An estimate with another number of shards is made, and keeps no task from sending."""
    stores = [Store(), Store()]
    execute(send(table(), [0, 2]), map_index=0, store=stores[0])
    execute(send(table(), [1, 3], dry_run=True), map_index=1, store=stores[1])
    execute(send(table(), [1, 2]), map_index=1, store=stores[1])
    assert messages(sandbox) == [1] * PEOPLE


@pytest.mark.parametrize("shared", [False, True])
def test_rows_without_a_key_are_invalid_in_each_shard(
    shared: bool, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Whether some rows have a key is a question about the table, not about a shard of it."""
    rows = [{**row, "order": "1001" if n == 7 else None} for n, row in enumerate(table())]
    more = {"send_key": "promo", "state_path": str(tmp_path)} if shared else {}
    totals = Counter[str]()
    for n in range(4):
        try:
            summary = execute(send(rows, [n, 4], key_column="order", **more), map_index=n, store=Store())
        except WatiValidationError:
            summary = execute.pushed[-1]  # type: ignore[attr-defined] # what the failed task leaves in XCom
        totals.update({name: summary[name] for name in ("total", "accepted", "invalid")})
    assert totals == {"total": PEOPLE, "accepted": 1, "invalid": PEOPLE - 1}
    assert sum(messages(sandbox)) == 1


def test_a_shard_may_have_nobody(execute: Execute, sandbox: Sandbox) -> None:
    """More shards than people is no failure."""
    totals = [execute(send(table(1), [n, 3]), map_index=n, store=Store())["total"] for n in range(3)]
    assert sorted(totals) == [0, 0, 1]
    assert messages(sandbox, 1) == [1]


def test_airflow_maps_a_task_over_shards(run_dag: RunDag, sandbox: Sandbox) -> None:
    """In Airflow, a mapped task has one shard each; the number of shards may come out of a template."""
    tasks = run_dag(mapped_over([[n, "{{ params.shards }}"] for n in range(3)]))
    assert {name: ti.state for name, ti in tasks.items()} == dict.fromkeys(
        ("send[0]", "send[1]", "send[2]"), "success"
    )
    assert messages(sandbox) == [1] * PEOPLE


def test_airflow_tells_tasks_of_each_other_s_shards(
    run_dag: RunDag, sandbox: Sandbox, capfd: pytest.CaptureFixture[str]
) -> None:
    """In Airflow, a mapped task sees that another one has divided the people differently."""
    tasks = run_dag(mapped_over([[0, 2], [1, 3]]))
    # Airflow runs them in either order.
    assert sorted(str(ti.state) for ti in tasks.values()) == ["failed", "success"]
    assert "and a table with another number an operator of its own" in capfd.readouterr().out
    assert 0 < sum(messages(sandbox)) < PEOPLE


def test_an_operator_that_is_not_mapped_any_more_sends_nothing_in_its_mapped_tasks(
    run_dag: RunDag, sandbox: Sandbox, clear: Clear, capfd: pytest.CaptureFixture[str]
) -> None:
    """Airflow keeps the mapped tasks of a run when the DAG changes, and would let each of them send to everybody."""
    expired = sandbox.fault("status", status=401, method="POST")
    tasks = run_dag(mapped_over([[n, 3] for n in range(3)]))
    sandbox.control("DELETE", f"/faults/{expired}")
    with DAG("sharded", schedule=None) as changed:
        WatiBroadcastTemplateOperator(**SEND, rows=table())
    states = {str(clear(changed, ti).state) for ti in tasks.values()}
    if Version(version("apache-airflow")) < Version("3.4.0b1"):
        assert (states, sum(messages(sandbox))) == ({"failed"}, 0)
        assert "its operator is not mapped any more" in capfd.readouterr().out
    else:
        # They have no map index there, so they share a send key. What they return may be refused by Airflow's server.
        assert messages(sandbox) == [1] * PEOPLE


def test_a_send_in_a_mapped_task_group_is_mapped(run_dag: RunDag, sandbox: Sandbox) -> None:
    """Its operator is not, and each of its tasks sends to its part of the people."""
    with DAG("sharded_group", schedule=None) as dag:

        @task_group
        def group(shard: list[int]) -> None:
            WatiBroadcastTemplateOperator(**SEND, rows=table(), shard=shard)

        group.expand(shard=[[n, 2] for n in range(2)])
    tasks = run_dag(dag)
    assert {str(ti.state) for ti in tasks.values()} == {"success"}
    assert messages(sandbox) == [1] * PEOPLE


def test_a_wrong_shard_sends_nothing(execute: Execute, sandbox: Sandbox) -> None:
    """A shard that does not exist fails before anything is sent."""
    with pytest.raises(WatiValidationError, match="shard is"):
        execute(send(table(), [2, 2]))
    assert sum(messages(sandbox)) == 0


@pytest.mark.parametrize("shards", [3, 5])
def test_a_new_shard_beside_old_ones_that_begin_again_sends_to_nobody_twice(
    shards: int, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Airflow deletes the notes of cleared tasks when they begin again; their directory has their number of shards."""
    state = {"state_path": str(tmp_path / "state")}
    tasks = send_two_shards_and_clear(execute, state)
    with tasks.runs(tasks.task("send", "r", 0, 0)), tasks.runs(tasks.task("send", "r", 1, 0)):
        execute(send(table(), [shards - 1, shards], **state), map_index=shards - 1)
    assert messages(sandbox) == [1] * PEOPLE


def test_a_new_shard_after_old_ones_that_failed_early_sends_to_nobody_twice(
    execute: Execute, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleared tasks fail before they note a number of shards."""
    monkeypatch.setenv("AIRFLOW_CONN_WATI_INCOMPLETE", '{"conn_type": "wati"}')
    state = {"state_path": str(tmp_path / "state")}
    send_two_shards_and_clear(execute, state)
    for n in (0, 1):
        operator = send(table(), [n, 3], **state)
        operator.wati_conn_id = "wati_incomplete"
        with pytest.raises(WatiConfigurationError, match="wati_incomplete"):
            execute(operator, map_index=n, try_number=2, uncounted_clear=True)
    execute(send(table(), [2, 3], **state), map_index=2)
    assert messages(sandbox) == [1] * PEOPLE


def test_a_new_shard_that_died_before_it_looked_back_sends_to_nobody_twice(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The second attempt of a task of new shards has a journal of its own, and reads those of the others all the same."""
    state = {"state_path": str(tmp_path / "state")}
    tasks = send_two_shards_and_clear(execute, state)
    with tasks.runs(tasks.task("send", "r", 0, 0)), tasks.runs(tasks.task("send", "r", 1, 0)):
        sandbox.fault("status", status=401, method="GET", count=1)
        with pytest.raises(WatiError):
            execute(send(table(), [2, 3], **state), map_index=2)
        execute(send(table(), [2, 3], **state), map_index=2, try_number=2)
    assert messages(sandbox) == [1] * PEOPLE
