"""Many rows at once, without Airflow: a notebook can use it too."""

from __future__ import annotations
