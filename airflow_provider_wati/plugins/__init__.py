"""What the provider adds to Airflow's API server."""

from __future__ import annotations
