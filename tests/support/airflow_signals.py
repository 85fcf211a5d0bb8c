"""What Airflow raises to defer or reschedule a task, wherever this version of it has the classes."""

from __future__ import annotations

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferred
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[no-redef] # the same classes
        AirflowRescheduleException,
        TaskDeferred,
    )

__all__ = ["AirflowRescheduleException", "TaskDeferred"]
