"""What differs between the versions of Airflow; the only place that knows."""

from __future__ import annotations

from contextlib import suppress

try:
    from airflow.sdk.exceptions import (
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[no-redef, attr-defined] # the same classes, where 3.1 has them
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
    )

try:
    from airflow.sdk.configuration import conf
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf

# Airflow 3.1 and 3.2 have no retry policies, and nothing but retry_policy.py asks for them.
with suppress(ImportError):
    from airflow.sdk import RetryDecision, RetryPolicy

try:
    from airflow.sdk.execution_time.context import AssetStateStoreAccessor
except ImportError:  # Airflow 3.1 and 3.2 keep no state for assets
    AssetStateStoreAccessor = None  # type: ignore[misc, assignment] # what asks for it knows

__all__ = [
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AssetStateStoreAccessor",
    "RetryDecision",
    "RetryPolicy",
    "conf",
]
