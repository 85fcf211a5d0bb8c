"""
Ask a customer with buttons whether an order may come today, and go on with the answer.

The question is asked once, and the task waits for the answer without a worker. The customer has to have written within the
last 24 hours. A customer who does not answer in time gets the delivery tomorrow. The defaults fit the sandbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.messages import WatiAskOperator, WatiSendTextOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "phone": Param("12025550143", type="string", title="Phone number: digits, country code first"),
        "order_id": Param("1001", type="string", title="Order", maxLength=10),
    },
)
def wati_ask():
    # [START ask]
    # The order is in the buttons, so that the answer belongs to this order, whatever else the customer is asked.
    ask = WatiAskOperator(
        task_id="ask",
        target="{{ params.phone }}",
        body="May we deliver order {{ params.order_id }} today?",
        buttons=["Today {{ params.order_id }}", "Later {{ params.order_id }}"],
        answer_timeout=timedelta(hours=4),
        on_timeout="none",
        deferrable=True,
    )

    @task.branch
    def choose_day(reply: dict[str, Any]) -> str:
        answer = reply["answer"]
        if answer is None:
            return "deliver_tomorrow"
        return "deliver_today" if answer.startswith("Today") else "agree_on_a_day"

    # [END ask]

    @task
    def deliver_today(params: dict[str, Any]) -> None:
        print(f"Order {params['order_id']} goes out today.")

    @task
    def deliver_tomorrow(params: dict[str, Any]) -> None:
        print(f"Order {params['order_id']} goes out tomorrow.")

    agree_on_a_day = WatiSendTextOperator(
        task_id="agree_on_a_day",
        target="{{ params.phone }}",
        text="Which day suits you for order {{ params.order_id }}? Please write to us.",
    )

    choose_day(ask.output) >> [deliver_today(), agree_on_a_day, deliver_tomorrow()]


wati_ask()
