"""
Send to everybody in a table, wait for delivery, then send another template to the people whose message failed.

Accepted is not delivered: WhatsApp may refuse a message afterwards. The wait ends when every message is delivered or failed,
or after six hours. Then one file tells what became of each row, and only rows whose message has failed get the other template:
messages that are still under way, or whose status is not known, may arrive yet, so nobody gets both. When everybody's message
failed, the wait fails and nothing is sent: look at the template and the account first. The defaults fit the sandbox.
"""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_wati.operators.campaigns import WatiGetCampaignRecipientsOperator
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator
from airflow_provider_wati.sensors.campaigns import WatiCampaignSensor

ORDERS = [
    {"phone": "12025550143", "name": "Ada", "order_id": "1001", "status": "packed"},
    {"phone": "12025550144", "name": "Ben", "order_id": "1002", "status": "on its way"},
    # In the sandbox, messages to this phone number fail.
    {"phone": "12025131026", "name": "Chitra", "order_id": "1003", "status": "packed"},
]


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={"directory": Param("file:///tmp/wati-example", type="string", title="Where outcomes are kept")},
)
def wati_resend_undelivered():
    @task
    def read_orders() -> list[dict[str, Any]]:
        return ORDERS

    orders = read_orders()
    send_updates = WatiBroadcastTemplateOperator(
        task_id="send_updates",
        template_name="order_update",
        rows=orders,
        target_column="phone",
        param_columns={"name": "name", "order_id": "order_id", "status": "status"},
        key_column="order_id",
        outcomes_path="{{ params.directory }}/{{ run_id }}/outcomes.csv",
    )
    # [START resend_undelivered]
    wait_for_delivery = WatiCampaignSensor(
        task_id="wait_for_delivery",
        summary=send_updates.output,
        until="delivered",
        failure_threshold=1.0,
        on_timeout="return",
        timeout=timedelta(hours=6),
        deferrable=True,
    )
    read_deliveries = WatiGetCampaignRecipientsOperator(
        task_id="read_deliveries",
        summary=send_updates.output,
        destination="{{ params.directory }}/{{ run_id }}/deliveries.csv",
    )

    @task
    def choose_failed(orders: list[dict[str, Any]], deliveries: dict[str, Any]) -> list[dict[str, Any]]:
        table = io.StringIO(ObjectStoragePath(deliveries["destination"]).read_text())
        failed = {row["key"] for row in csv.DictReader(table) if row["delivery_status"] == "failed"}
        return [order for order in orders if order["order_id"] in failed]

    WatiBroadcastTemplateOperator(
        task_id="send_other_template",
        template_name="welcome",
        rows=choose_failed(orders, read_deliveries.output),
        target_column="phone",
        param_columns={},
        key_column="order_id",
        outcomes_path="{{ params.directory }}/{{ run_id }}/outcomes-2.csv",
    )
    # [END resend_undelivered]
    wait_for_delivery >> read_deliveries


wati_resend_undelivered()
