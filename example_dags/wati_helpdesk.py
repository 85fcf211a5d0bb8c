"""
Follow a helpdesk ticket: assign an escalated conversation to a person, close a resolved one.

Let the helpdesk start it (its webhook calls Airflow's API) with the customer, the ticket and the event as parameters;
the defaults fit the sandbox. The customer has to have written within the last 24 hours to get the closing text.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.conversations import (
    WatiAssignConversationOperator,
    WatiUpdateConversationStatusOperator,
)
from airflow_provider_wati.operators.messages import WatiSendTextOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "phone": Param("12025550144", type="string", title="Phone number: digits, country code first"),
        "ticket": Param("T-17", type="string", title="Ticket"),
        "event": Param("escalated", enum=["escalated", "resolved"], title="What happened to the ticket"),
        "assignee": Param("li@acme.example", type="string", title="Who takes an escalated conversation over"),
    },
)
def wati_helpdesk():
    @task.branch
    def what_happened(params: dict[str, Any]) -> str:
        return "assign_conversation" if params["event"] == "escalated" else "tell_customer"

    # [START assign_conversation]
    assign_conversation = WatiAssignConversationOperator(
        task_id="assign_conversation",
        target="{{ params.phone }}",
        assignee_email="{{ params.assignee }}",
    )
    # [END assign_conversation]
    set_pending = WatiUpdateConversationStatusOperator(
        task_id="set_pending", target="{{ params.phone }}", status="pending"
    )
    tell_customer = WatiSendTextOperator(
        task_id="tell_customer",
        target="{{ params.phone }}",
        text="Your ticket {{ params.ticket }} is resolved. Write to us if anything is left open.",
    )
    # [START update_conversation_status]
    set_solved = WatiUpdateConversationStatusOperator(
        task_id="set_solved",
        target="{{ params.phone }}",
        status="solved",
    )
    # [END update_conversation_status]

    happened = what_happened()
    happened >> assign_conversation >> set_pending
    happened >> tell_customer >> set_solved


wati_helpdesk()
