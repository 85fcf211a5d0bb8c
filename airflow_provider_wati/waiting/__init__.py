"""Waiting for what happens in WATI: conditions that are looked at again and again. It imports no Airflow."""
