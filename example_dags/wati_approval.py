"""
Ask an approver by WhatsApp before a campaign goes out: approved it is sent, else the rest of the run is skipped.

The approver has to have written within the last 24 hours. Without an answer the run fails, and nothing is sent. The defaults
fit the sandbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.messages import WatiAskOperator
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "approver": Param("12025550143", type="string", title="Who approves: digits, country code first"),
        "edition": Param("spring", type="string", title="Campaign", maxLength=11),
        "phones": Param(["12025550144", "12025550145"], type="array", title="Whom to send to"),
    },
)
def wati_approval():
    # [START approval]
    ask = WatiAskOperator(
        task_id="ask",
        target="{{ params.approver }}",
        header="Approval",
        body="Send the campaign {{ params.edition }} to {{ params.phones | length }} people?",
        buttons=["Approve {{ params.edition }}", "Reject {{ params.edition }}"],
        footer="Airflow: {{ dag.dag_id }}",
        answer_timeout=timedelta(hours=12),
        deferrable=True,
    )

    @task.short_circuit
    def is_approved(reply: dict[str, Any]) -> bool:
        return reply["answer"].startswith("Approve")

    # [END approval]

    @task
    def read_people(params: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"phone_number": phone} for phone in params["phones"]]

    send = WatiSendTemplateOperator(
        task_id="send",
        template_name="welcome",
        campaign_name="{{ params.edition }}",
        recipients=read_people(),
    )
    is_approved(ask.output) >> send


wati_approval()
