"""The context of a task, as far as sends look at it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from datetime import datetime

    from tests.support.tasks import Store


def uuid7(made: datetime) -> UUID:
    """The id that Airflow gives to a task instance at a time."""
    return UUID(int=int(made.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62)


def context(
    *,
    run_id: str = "r",
    map_index: int | None = -1,
    try_number: int = 1,
    max_tries: int | None = 2,
    retries: int | None = 2,
    reschedules: int | None = None,
    loop: int | None = None,
    clear_number: int | None = 0,
    store: Store | None = None,
    made: datetime | None = None,
) -> Any:
    """A task's context, as far as sends look at it."""
    task = SimpleNamespace(retries=retries)
    ti = SimpleNamespace(
        dag_id="d",
        run_id=run_id,
        task_id="t",
        map_index=map_index,
        try_number=try_number,
        max_tries=max_tries,
        task=task,
        id=made and uuid7(made),
    )
    found: dict[str, Any] = {"ti": ti, "dag_run": SimpleNamespace(clear_number=clear_number)}
    if store is not None:
        found["task_state_store"] = store
    if reschedules is not None:
        found["task_reschedule_count"] = reschedules
    if loop is not None:
        found["loop"] = SimpleNamespace(index=loop)
    return found
