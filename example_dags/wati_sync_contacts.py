"""
Sync contacts: keep WATI's contacts in step with a table of customers, and write only what changed.

It runs as it is against the sandbox. Put the path or URI of your own file, or the output of a task that reads your
warehouse, in place of the list. Run it twice: the second run writes nothing.
"""

from __future__ import annotations

import tempfile
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_wati.operators.contacts import WatiSyncContactsOperator


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["wati", "example"],
    doc_md=__doc__,
)
def wati_sync_contacts():
    @task
    def read_customers() -> list[dict[str, Any]]:
        return [
            {"phone": "+1 202-555-0143", "full_name": "Ada Wong", "tier": "gold", "orders": 12},
            {"phone": "+1 202-555-0192", "full_name": "Noor Rahman", "tier": None, "orders": 1},
        ]

    # [START sync_contacts]
    WatiSyncContactsOperator(
        task_id="sync_contacts",
        rows=read_customers(),
        phone_column="phone",
        name_column="full_name",
        attribute_columns={"loyalty_tier": "tier", "order_count": "orders"},
        state_path=f"{tempfile.gettempdir()}/wati-state",
    )
    # [END sync_contacts]


wati_sync_contacts()
