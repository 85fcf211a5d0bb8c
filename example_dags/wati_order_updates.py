"""
Message customers about their orders: read them from a database, upsert contacts, send each their own message.

Runs against the sandbox with ``make demo``; against WATI it needs a connection ``wati_default``, an approved
template ``order_update`` and a database of the same shape.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

from airflow.sdk import dag, task

from airflow_provider_wati.operators.contacts import WatiUpsertContactOperator
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator

DATABASE = os.environ.get("WATI_DEMO_DATABASE", "customers.db")


@dag(schedule=None, catchup=False, tags=["wati", "example"], doc_md=__doc__)
def wati_order_updates():
    @task
    def read_orders() -> list[dict[str, str]]:
        with closing(sqlite3.connect(DATABASE)) as database:
            database.row_factory = sqlite3.Row
            orders = database.execute("SELECT phone, name, order_id, status FROM orders ORDER BY order_id")
            return [dict(order) for order in orders]

    @task
    def as_contacts(orders: list[dict[str, str]]) -> list[dict[str, object]]:
        return [
            {
                "phone_number": order["phone"],
                "name": order["name"],
                "custom_params": {"last_order": order["order_id"]},
            }
            for order in orders
        ]

    @task
    def as_recipients(orders: list[dict[str, str]]) -> list[dict[str, object]]:
        return [
            {
                "phone_number": order["phone"],
                "params": {name: order[name] for name in ("name", "order_id", "status")},
            }
            for order in orders
        ]

    orders = read_orders()
    # [START upsert_contacts]
    upsert_contacts = WatiUpsertContactOperator.partial(task_id="upsert_contacts").expand_kwargs(
        as_contacts(orders)
    )
    # [END upsert_contacts]
    # [START send_templates]
    send_updates = WatiSendTemplateOperator(
        task_id="send_updates",
        template_name="order_update",
        recipients=as_recipients(orders),
        campaign_name="order updates {{ dag_run.run_after | ds }}",
    )
    # [END send_templates]
    upsert_contacts >> send_updates


wati_order_updates()
