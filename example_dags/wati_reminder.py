"""
Remind a customer of an appointment: schedule a template in WATI, and cancel it if the appointment is cancelled.

A template that is not approved is not scheduled. The defaults fit the sandbox, and cancel the appointment, so that
nothing stays scheduled.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.campaigns import (
    WatiCancelScheduledCampaignOperator,
    WatiGetCampaignOperator,
)
from airflow_provider_wati.operators.templates import WatiGetTemplateOperator, WatiScheduleTemplateOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "phone": Param("12025550145", type="string", title="Phone number: digits, country code first"),
        "name": Param("Chitra", type="string", title="Name"),
        "hours": Param(24, type="integer", minimum=1, title="Hours from the start of the run"),
        "called_off": Param(True, type="boolean", title="The appointment is called off"),
    },
)
def wati_reminder():
    # [START get_template]
    get_template = WatiGetTemplateOperator(
        task_id="get_template",
        template_name="order_update",
    )
    # [END get_template]

    @task.short_circuit
    def is_approved(template: dict[str, Any]) -> bool:
        return template["status"] == "APPROVED"

    # [START schedule_template]
    schedule_reminder = WatiScheduleTemplateOperator(
        task_id="schedule_reminder",
        template_name="order_update",
        recipients={
            "phone_number": "{{ params.phone }}",
            "params": {"name": "{{ params.name }}", "order_id": "1001", "status": "ready to be picked up"},
        },
        scheduled_at="{{ dag_run.run_after + macros.timedelta(hours=params.hours) }}",
        campaign_name="reminder",
    )
    # [END schedule_template]
    # [START get_campaign]
    get_campaign = WatiGetCampaignOperator(
        task_id="get_campaign",
        campaign_id="{{ ti.xcom_pull(task_ids='schedule_reminder')['campaigns'][0]['id'] }}",
    )
    # [END get_campaign]

    @task.short_circuit
    def is_called_off(params: dict[str, Any]) -> bool:
        return params["called_off"]

    # [START cancel_campaign]
    cancel_campaign = WatiCancelScheduledCampaignOperator(
        task_id="cancel_campaign",
        campaign_id="{{ ti.xcom_pull(task_ids='schedule_reminder')['campaigns'][0]['id'] }}",
    )
    # [END cancel_campaign]

    (
        is_approved(get_template.output)
        >> schedule_reminder
        >> get_campaign
        >> is_called_off()
        >> cancel_campaign
    )


wati_reminder()
