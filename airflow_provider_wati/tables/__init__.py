"""Rows in, rows out: tables, files, values, outcomes. Imports neither Airflow nor the client."""

from __future__ import annotations
