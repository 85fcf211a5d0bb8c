"""
Bring contacts, messages and the recipients of campaigns into a warehouse, and the same into files.

Runs against the sandbox. It needs a connection ``warehouse`` to any SQL database; the tables are created. Every run
reads what is new. The last task writes what came of each campaign: sent, delivered, read, replied, failed.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.transfers.wati_to_file import (
    WatiCampaignRecipientsToFileOperator,
    WatiContactsToFileOperator,
    WatiMessagesToFileOperator,
)
from airflow_provider_wati.transfers.wati_to_sql import (
    WatiCampaignRecipientsToSqlOperator,
    WatiContactsToSqlOperator,
    WatiMessagesToSqlOperator,
)


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "directory": Param(
            "file:///tmp/wati-example", type="string", title="Where files and watermarks are kept"
        ),
        "full": Param(False, type="boolean", title="Read everything again"),
    },
)
def wati_to_warehouse():
    # [START contacts_to_sql]
    contacts_to_sql = WatiContactsToSqlOperator(
        task_id="contacts_to_sql", table="wati_contacts", sql_conn_id="warehouse"
    )
    # [END contacts_to_sql]
    # [START messages_to_sql]
    messages_to_sql = WatiMessagesToSqlOperator(
        task_id="messages_to_sql",
        table="wati_messages",
        sql_conn_id="warehouse",
        full="{{ params.full }}",
    )
    # [END messages_to_sql]
    # [START recipients_to_sql]
    recipients_to_sql = WatiCampaignRecipientsToSqlOperator(
        task_id="recipients_to_sql",
        table="wati_campaign_recipients",
        sql_conn_id="warehouse",
        full="{{ params.full }}",
    )
    # [END recipients_to_sql]
    # [START contacts_to_file]
    contacts_to_file = WatiContactsToFileOperator(
        task_id="contacts_to_file",
        path="{{ params.directory }}/contacts/{{ run_id }}.jsonl",
    )
    # [END contacts_to_file]
    # [START messages_to_file]
    messages_to_file = WatiMessagesToFileOperator(
        task_id="messages_to_file",
        path="{{ params.directory }}/messages/{{ run_id }}.jsonl",
        state_path="{{ params.directory }}/state",
    )
    # [END messages_to_file]
    # [START recipients_to_file]
    recipients_to_file = WatiCampaignRecipientsToFileOperator(
        task_id="recipients_to_file",
        path="{{ params.directory }}/recipients/{{ run_id }}.csv",
        state_path="{{ params.directory }}/state",
    )
    # [END recipients_to_file]

    @task
    def funnel() -> list[list[Any]]:
        from airflow.sdk import BaseHook

        stages = ("sent", "delivered", "read", "replied", "failed")
        counts = ", ".join(f"SUM(CASE WHEN is_{stage} THEN 1 ELSE 0 END)" for stage in stages)
        warehouse = BaseHook.get_connection("warehouse").get_hook()
        rows = warehouse.get_records(
            f"SELECT campaign_name, {counts} FROM wati_campaign_recipients GROUP BY campaign_name ORDER BY campaign_name"
        )
        return [list(row) for row in rows]

    [contacts_to_sql, messages_to_sql, recipients_to_sql] >> funnel()
    contacts_to_file >> messages_to_file >> recipients_to_file


wati_to_warehouse()
