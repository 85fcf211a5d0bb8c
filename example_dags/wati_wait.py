"""
Send an invitation, wait until it is delivered, and wait for the reply of the first customer.

The waits are deferred: they hold no worker, and a triggerer looks every five minutes. Accepted is not delivered, so the
second task fails when more than a tenth of the messages did not arrive, although the send succeeded. The defaults fit the
sandbox.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.templates import WatiSendTemplateOperator
from airflow_provider_wati.sensors.campaigns import WatiCampaignSensor
from airflow_provider_wati.sensors.messages import WatiReplySensor
from airflow_provider_wati.sensors.templates import WatiTemplateApprovedSensor


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "phones": Param(
            ["12025550143", "12025550144", "12025550145"],
            type="array",
            title="Whom to invite, the first replies",
        )
    },
)
def wati_wait():
    # [START wait_for_approval]
    wait_for_approval = WatiTemplateApprovedSensor(
        task_id="wait_for_approval",
        template_name="welcome",
        timeout=timedelta(days=2),
        poke_interval=timedelta(minutes=30),
        deferrable=True,
    )
    # [END wait_for_approval]

    @task
    def read_customers(params: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"phone_number": phone} for phone in params["phones"]]

    # [START wait_for_delivery]
    send = WatiSendTemplateOperator(
        task_id="send",
        template_name="welcome",
        campaign_name="invitation",
        recipients=read_customers(),
    )
    wait_for_delivery = WatiCampaignSensor(
        task_id="wait_for_delivery",
        summary=send.output,
        until="delivered",
        failure_threshold=0.1,
        timeout=timedelta(hours=6),
        deferrable=True,
    )
    # [END wait_for_delivery]

    # [START wait_for_reply]
    wait_for_reply = WatiReplySensor(
        task_id="wait_for_reply",
        target="{{ params.phones[0] }}",
        text_pattern="(?i)yes|no",
        timeout=timedelta(days=1),
        deferrable=True,
    )
    # [END wait_for_reply]
    wait_for_approval >> send
    wait_for_delivery >> wait_for_reply


wati_wait()
