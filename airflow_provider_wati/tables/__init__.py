"""Rows in, outcomes out: files, values, phone numbers. Imports neither Airflow nor the client."""

from __future__ import annotations
