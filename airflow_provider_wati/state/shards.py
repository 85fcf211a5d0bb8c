"""The tasks of a send divide its people alike, or do not go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.journal import Start
from airflow_provider_wati.state.directory import key_of, state_directory
from airflow_provider_wati.state.task_context import clears_of, is_cleared, is_mapped

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.state.directory import StateDirectory
    from airflow_provider_wati.state.sends import OpenedJournal, SendIdentity

#: The XCom in which the mapped tasks of a run see each other's number of shards.
_NOTE = "wati_shards"
#: States in which a task sends, or is done: it does not begin again by itself.
_IN_FORCE = frozenset({"running", "restarting", "deferred", "up_for_reschedule", "success"})


def check_shard_count(context: Context, opened: OpenedJournal, count: int, state_path: str | None) -> bool:
    """
    Refuse to go on where the people of a send may be divided in two ways: some would get two messages, others none.

    A DAG can change while its run is under way, and a task that begins after that has another number of shards than those
    before it. A Clear makes it right, if all tasks are cleared.

    :param context: the task's context.
    :param opened: the journal of the send.
    :param count: the number of shards.
    :param state_path: as for :func:`.open_journal`.
    :return: whether other mapped tasks of the run may have sent to people of this one, because they had another number before.
    :raises WatiConfigurationError: when this task, or another mapped task of the run, had another number.
    """
    directory = state_directory(state_path)
    store: Any = directory or context.get("task_state_store")
    key = _key_of(opened.identity.send_key)
    earlier = (None if store is None else store.get(key)) or {}
    has_changed = earlier.get("count", count) != count
    had_another = has_changed or earlier.get("had_another", False) or opened.start is Start.LOST
    knows_others = is_mapped(context) or opened.identity.is_own
    if has_changed and (earlier["clears"] == clears_of(context) or not knows_others):
        _note(context, earlier["count"])
        raise _changed_error(earlier["count"], count, knows_others=knows_others)
    # Before the look: of two that begin at once, one sees the other.
    _note(context, count, had_another=had_another)
    notes = _notes_of_others(context)
    others_had_another = any(note.get("had_another") for note in notes)
    looks_back = others_had_another or _looks_back(context, opened)
    others = _others(context, notes, count, in_force_only=looks_back)
    if others:
        _note(context, earlier.get("count"))
        raise _other_count_error(others, count)
    if store is not None:
        store.set(key, {"count": count, "clears": clears_of(context), "had_another": had_another})
    return others_had_another or (
        directory is not None and is_mapped(context) and _have_had_another(opened.identity, count, directory)
    )


def _note(context: Context, count: int | None, *, had_another: bool = False) -> None:
    """
    Tell the other mapped tasks. Airflow deletes it when the task begins again.

    :param count: the number of shards; None if the task has none in force.
    :param had_another: whether the task may have had another number before.
    """
    if is_mapped(context):
        ti = context["ti"]
        ti.xcom_push(_NOTE, {"map_index": ti.map_index, "count": count, "had_another": had_another})


def _notes_of_others(context: Context) -> list[dict[str, Any]]:
    """Return what the other mapped tasks of the run have told."""
    if not is_mapped(context):
        return []
    ti: Any = context["ti"]
    notes = ti.xcom_pull(task_ids=[ti.task_id], key=_NOTE) or []
    return [note for note in notes if note and note["map_index"] != ti.map_index]


def _have_had_another(identity: SendIdentity, count: int, directory: StateDirectory) -> bool:
    """
    Return whether a directory has another number of shards of another mapped task of the run.

    Airflow deletes the notes of tasks that are cleared, and Airflow 3.1 does not always count the Clear.
    """
    members = (str(n) for n in range(count))
    keys = [_key_of(f"{identity.family}/{member}") for member in members if member != identity.member]
    stored = filter(None, map(directory.get, keys))
    return any(each["count"] != count or each["had_another"] for each in stored)


def _key_of(send_key: str) -> str:
    return key_of("wati_shards", send_key)


def _others(
    context: Context, notes: list[dict[str, Any]], count: int, *, in_force_only: bool
) -> dict[int, int]:
    """
    Return the mapped tasks of the run with another number of shards: the number by map index.

    :param notes: what they have told.
    :param in_force_only: whether what the others have sent is known, so that only those matter that do not begin again.
    """
    ti: Any = context["ti"]
    counts = {note["map_index"]: note["count"] for note in notes}
    others = {index: other for index, other in counts.items() if other not in (None, count)}
    if others and in_force_only:
        states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id])
        of_run = states.get(ti.run_id, {})
        others = {
            index: other
            for index, other in others.items()
            if of_run.get(f"{ti.task_id}_{index}") in _IN_FORCE
        }
    return others


def _looks_back(context: Context, opened: OpenedJournal) -> bool:
    """Return whether the attempt finds out what other tasks have sent to its people."""
    if opened.identity.is_own or opened.start is Start.LOST:
        return True
    return opened.start is not Start.NEW and is_cleared(context)


def _changed_error(before: int, now: int, *, knows_others: bool) -> WatiConfigurationError:
    remedy = (
        "clear all tasks of the send, not only this one"
        if knows_others
        else "divide the send by .expand(shard=...), whose tasks know of each other"
    )
    return WatiConfigurationError(
        f"The number of shards was {before:,} in an earlier attempt of this task, and is {now:,} now: some people would get "
        f"two messages, others none. Nothing was sent. Give {before:,} again, or {remedy}."
    )


def _other_count_error(others: dict[int, int], now: int) -> WatiConfigurationError:
    index, other = min(others.items())
    return WatiConfigurationError(
        f"The number of shards is {now:,} here, and {other:,} in the mapped task {index} of this run: some people would get "
        "two messages, others none. Nothing was sent. Give all tasks of an operator the same number, and a table with another "
        "number an operator of its own; where the number has changed, clear all tasks of the send, not only those that have "
        "failed."
    )
