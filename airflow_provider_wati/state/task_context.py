"""What the context of a task says about its attempts, its mapping and its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow_provider_wati.sending.task_facts import TaskFacts

if TYPE_CHECKING:
    from airflow.sdk import Context


def task_facts(context: Context, *, is_shared: bool, is_late: bool = False) -> TaskFacts:
    """
    Return what Airflow says about a task.

    :param context: the task's context.
    :param is_shared: whether its send key is the user's own.
    :param is_late: whether another mapped task of the send had begun before Airflow made this one.
    """
    return TaskFacts(
        is_mapped=is_mapped(context),
        is_shared=is_shared,
        # Only a Clear, or a change of the DAG in a run that is under way, makes mapped tasks so late.
        is_cleared=is_late or is_cleared(context),
        clears=clears_of(context),
        is_new_member=is_late or is_new_in_cleared_run(context),
        run_began=_run_began(context),
    )


def is_mapped(context: Context) -> bool:
    """Return whether a task is one of several that ``.expand()`` has made."""
    map_index = context["ti"].map_index
    return map_index is not None and map_index >= 0


def loop_index(context: Context) -> int:
    """Return the iteration of a task loop (3.4); -1 outside one, as the map index has it."""
    loop: Any = context.get("loop")
    return -1 if loop is None else int(loop.index)


def may_have_run(context: Context) -> bool:
    """
    Return whether an earlier attempt, or an earlier part of this one, may have run.

    A reschedule keeps the try number (3.4). Otherwise :func:`is_new_in_cleared_run` tells.
    """
    return _has_begun_before(context) or is_new_in_cleared_run(context)


def _has_begun_before(context: Context) -> bool:
    return context["ti"].try_number > 1 or (context.get("task_reschedule_count") or 0) > 0


def made_at(context: Context) -> datetime | None:
    """
    Return when Airflow made a task instance that has its first attempt: its id is a UUID of version 7, which begins with the time.

    :return: None for a later attempt, which has got another id, and where the id says nothing.
    """
    id = getattr(context["ti"], "id", None)
    if _has_begun_before(context) or not isinstance(id, UUID) or id.version != 7:
        return None
    return datetime.fromtimestamp((id.int >> 80) / 1000, UTC)


def is_new_in_cleared_run(context: Context) -> bool:
    """
    Return whether a task that seems new may have had an earlier attempt before its run was cleared.

    A Clear of the run resets the later iterations of a task loop, so that they seem new (3.4). And people may now be in a
    mapped task that did not exist before the Clear. Only the run's count of Clears shows either.
    """
    may_be = context.get("loop") is not None or is_mapped(context)
    return may_be and clear_number(context) > 0


def clear_number(context: Context) -> int:
    """Return how often the run was cleared; Airflow may leave it out, and so may a context that is made by hand."""
    return getattr(context.get("dag_run"), "clear_number", None) or 0


def is_cleared(context: Context) -> bool:
    """
    Return whether the task may have been cleared: Airflow then adds the attempts so far to the retries it allows.

    A Clear may discard Airflow's store (3.4 does so by default).
    """
    if clear_number(context):
        return True
    retries, max_tries = retries_of(context), getattr(context["ti"], "max_tries", None)
    return retries is None or max_tries is None or max_tries > retries


def clears_of(context: Context) -> str:
    """Return a text that changes with each Clear of a task or of its run."""
    ti = context["ti"]
    return f"{ti.run_id}/{clear_number(context)}/{getattr(ti, 'max_tries', None)}"


def retries_of(context: Context) -> int | None:
    """Return how often Airflow may retry the task; None if it does not say."""
    task: Any = getattr(context["ti"], "task", None) or context.get("task")
    return getattr(task, "retries", None)


def _run_began(context: Context) -> datetime:
    """
    Return the earliest time at which an attempt of this run may have sent something.

    A Clear overwrites ``start_date``, so ``run_after`` counts then. Otherwise it does not: in a backfill it is long past, and
    messages of other runs would seem to be messages of this one.
    """
    run: Any = context.get("dag_run")
    started, run_after = (_aware(getattr(run, name, None)) for name in ("start_date", "run_after"))
    if started is not None and not clear_number(context):
        return started
    return run_after or datetime(2000, 1, 1, tzinfo=UTC)


def _aware(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
