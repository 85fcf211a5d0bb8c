"""The contact sync. Imports no Airflow."""

from __future__ import annotations
