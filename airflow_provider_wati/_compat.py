"""What differs between the versions of Airflow; the only place that knows."""

from __future__ import annotations

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[no-redef] # the same classes, where 3.1 has them
        AirflowFailException,
        AirflowSkipException,
    )

try:
    from airflow.sdk.configuration import conf
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf

__all__ = ["AirflowFailException", "AirflowSkipException", "conf"]
