"""
Send to everybody in a table, then send again to the people whose rows failed.

The first send writes the outcome of every row to a file, and is green when only some rows failed. The second one takes
the rejected and invalid rows, joins them with their data (outcomes have no parameters), corrects them where it can, and
sends with its own key, as every task does. Rows that ended as unknown are left out: they may have been delivered, and a
retry of the first task finds out. Do not clear the first task alone afterwards: it would send its failed rows again, and
does not know about the second task. The defaults fit the sandbox.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator

ORDERS = [
    {"phone": "12025550143", "name": "Ada", "order_id": "1001", "status": "packed"},
    {"phone": "1202555014", "name": "Ben", "order_id": "1002", "status": "on its way"},
    {"phone": "12025550145", "name": "Chitra", "order_id": "1003", "status": "packed"},
]
#: Corrected phone numbers, by order.
CORRECTED = {"1002": "12025550144"}


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={"directory": Param("file:///tmp/wati-example", type="string", title="Where outcomes are kept")},
)
def wati_resend_failed():
    @task
    def read_orders() -> list[dict[str, Any]]:
        return ORDERS

    orders = read_orders()
    # [START broadcast]
    send_updates = WatiBroadcastTemplateOperator(
        task_id="send_updates",
        template_name="order_update",
        rows=orders,
        target_column="phone",
        param_columns={"name": "name", "order_id": "order_id", "status": "status"},
        key_column="order_id",
        outcomes_path="{{ params.directory }}/{{ run_id }}/outcomes.csv",
        failure_threshold=0.9,
    )
    # [END broadcast]

    # [START resend_failed]
    @task
    def choose_failed(orders: list[dict[str, Any]], summary: dict[str, Any]) -> list[dict[str, Any]]:
        table = io.StringIO(ObjectStoragePath(summary["outcomes"]).read_text())
        failed = {row["key"] for row in csv.DictReader(table) if row["status"] in ("rejected", "invalid")}
        return [
            {**order, "phone": CORRECTED.get(order["order_id"], order["phone"])}
            for order in orders
            if order["order_id"] in failed
        ]

    WatiBroadcastTemplateOperator(
        task_id="send_to_failed",
        template_name="order_update",
        rows=choose_failed(orders, send_updates.output),
        target_column="phone",
        param_columns={"name": "name", "order_id": "order_id", "status": "status"},
        key_column="order_id",
        outcomes_path="{{ params.directory }}/{{ run_id }}/outcomes-2.csv",
    )
    # [END resend_failed]


wati_resend_failed()
