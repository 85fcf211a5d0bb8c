"""From an Airflow connection to WATI."""

from __future__ import annotations
