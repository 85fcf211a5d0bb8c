"""WhatsApp messages from Airflow's callbacks."""

from __future__ import annotations
