"""
Welcome a new lead: create a contact for a person who filled in a form, and send the first message.

A new lead has not written yet, so only an approved template reaches them; somebody who wrote within the last 24 hours
gets a text. Start it with the lead as parameters; the defaults fit the sandbox.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.contacts import WatiUpsertContactOperator
from airflow_provider_wati.operators.messages import WatiSendTextOperator
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "phone": Param("12025550191", type="string", title="Phone number: digits, country code first"),
        "name": Param("Ivo Novak", type="string", title="Name"),
        "source": Param("web form", type="string", title="Where the lead came from"),
        "has_written": Param(False, type="boolean", title="Wrote to us within the last 24 hours"),
    },
)
def wati_welcome_lead():
    # [START upsert_contact]
    upsert_contact = WatiUpsertContactOperator(
        task_id="upsert_contact",
        phone_number="{{ params.phone }}",
        name="{{ params.name }}",
        custom_params={"source": "{{ params.source }}"},
    )
    # [END upsert_contact]

    @task.branch
    def choose_message(params: dict[str, Any]) -> str:
        return "send_text" if params["has_written"] else "send_welcome"

    send_welcome = WatiSendTemplateOperator(
        task_id="send_welcome",
        template_name="welcome",
        recipients={"phone_number": "{{ params.phone }}"},
        campaign_name="welcome",
    )
    # [START send_text]
    send_text = WatiSendTextOperator(
        task_id="send_text",
        target="{{ params.phone }}",
        text="Hi {{ params.name }}, thank you for writing to us. We will be with you in a minute.",
    )
    # [END send_text]

    upsert_contact >> choose_message() >> [send_welcome, send_text]


wati_welcome_lead()
