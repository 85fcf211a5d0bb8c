"""
Send a campaign once, and report the status of each recipient.

The `send_key` names the edition, so a later run of the same edition messages nobody again; it reports the same
campaign. Delivered and read messages are known only later: run it again, or put the report into its own DAG,
some hours after the campaign. The defaults fit the sandbox.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.campaigns import WatiGetCampaignRecipientsOperator
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "edition": Param("spring", type="string", title="Edition; each one is sent once"),
        "directory": Param("file:///tmp/wati-example", type="string", title="Where the report is kept"),
    },
)
def wati_campaign_report():
    @task
    def read_subscribers() -> list[dict[str, Any]]:
        return [{"phone_number": number} for number in ("12025550143", "12025550144", "12025550145")]

    # [START send_once]
    send_campaign = WatiSendTemplateOperator(
        task_id="send_campaign",
        template_name="welcome",
        recipients=read_subscribers(),
        campaign_name="newsletter {{ params.edition }}",
        send_key="newsletter-{{ params.edition }}",
        state_path="{{ params.directory }}/state",
    )
    # [END send_once]
    # [START get_campaign_recipients]
    write_report = WatiGetCampaignRecipientsOperator(
        task_id="write_report",
        campaign_id="{{ ti.xcom_pull(task_ids='send_campaign')['campaigns'][0]['id'] }}",
        destination="{{ params.directory }}/newsletter-{{ params.edition }}.csv",
    )
    # [END get_campaign_recipients]
    send_campaign >> write_report


wati_campaign_report()
