"""
Send to a large table on several workers: eight mapped tasks, each with the people of one shard.

A hash of the person decides who is in which shard, so everybody is messaged once, and a shard that is tried again on
another worker goes on where it was. The connection's ``rate_limit_storage`` keeps one pace for all workers, and the option
``[wati] state_path`` names object storage that all of them reach. The defaults fit the sandbox.
"""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import Any

from airflow.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator

SHARDS = 8
ORDERS = [
    {"phone": "12025550143", "name": "Ada", "order_id": "1001"},
    {"phone": "12025550144", "name": "Ben", "order_id": "1002"},
    {"phone": "12025550145", "name": "Chitra", "order_id": "1003"},
]


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "directory": Param("file:///tmp/wati-example", type="string", title="Where outcomes are kept"),
        "orders": Param(
            "", type="string", title="A CSV, JSONL or Parquet file of orders; a small one if left out"
        ),
    },
)
def wati_sharded_send():
    @task
    def find_orders(params: dict[str, str], run_id: str) -> str:
        if params["orders"]:
            return params["orders"]
        path = ObjectStoragePath(f"{params['directory']}/{run_id}/orders.csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, ORDERS[0])
            table.writeheader()
            table.writerows(ORDERS)
        return str(path)

    sent = WatiBroadcastTemplateOperator.partial(
        task_id="send",
        template_name="order_update",
        rows=find_orders(),
        target_column="phone",
        param_columns={"name": "name", "order_id": "order_id"},
        template_params={"status": "on its way"},
        batch_size=250,
        # Who opted out is left out of the table: each shard would look it up by itself.
        check_consent=False,
        outcomes_path="{{ params.directory }}/{{ run_id }}/outcomes-{{ ti.map_index }}.csv",
        retries=5,
        retry_delay=timedelta(seconds=5),
    ).expand(shard=[[n, SHARDS] for n in range(SHARDS)])

    @task
    def add_up(summaries: list[dict[str, Any]]) -> dict[str, int]:
        summaries = list(summaries)
        return {name: sum(summary[name] for summary in summaries) for name in ("total", "accepted", "calls")}

    add_up(sent.output)


wati_sharded_send()
