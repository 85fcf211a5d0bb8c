"""
From the warehouse to WhatsApp and back: sync customers, message those with a new order, write the statuses back.

Runs against the sandbox with ``make demo``. Elsewhere it needs a connection ``warehouse`` to any SQL database, with the
tables ``customers`` (customer_id, phone, full_name, tier) and ``orders`` (order_id, customer_id, status, ordered_on), and
an approved template ``order_update``. The tables with the results are created. ``wati_funnel`` reads them some hours later.
"""

from __future__ import annotations

import os
import tempfile

from airflow.sdk import dag

from airflow_provider_wati.transfers.sql_to_wati import SqlToWatiContactsOperator, SqlToWatiTemplateOperator
from airflow_provider_wati.transfers.wati_to_sql import WatiCampaignRecipientsToSqlOperator

#: A directory that all workers reach; better set once for all DAGs, as the option ``[wati] state_path``.
STATE = os.environ.get("WATI_DEMO_STATE", f"{tempfile.gettempdir()}/wati-state")


@dag(schedule=None, catchup=False, max_active_runs=1, tags=["wati", "example"], doc_md=__doc__)
def wati_orders_from_warehouse():
    # [START sql_to_contacts]
    sync_contacts = SqlToWatiContactsOperator(
        task_id="sync_contacts",
        sql_conn_id="warehouse",
        sql="SELECT phone, full_name, tier FROM customers",
        phone_column="phone",
        name_column="full_name",
        attribute_columns={"loyalty_tier": "tier"},
        state_path=STATE,
    )
    # [END sql_to_contacts]
    # [START sql_to_template]
    send_updates = SqlToWatiTemplateOperator(
        task_id="send_updates",
        sql_conn_id="warehouse",
        # Only messages of other runs count: a second attempt of this run has to find all of its rows again.
        sql="""
            SELECT orders.order_id, orders.status, customers.phone, customers.full_name
            FROM orders JOIN customers ON customers.customer_id = orders.customer_id
            WHERE orders.ordered_on >= '{{ macros.ds_add(dag_run.run_after | ds, -1) }}'
            AND NOT EXISTS (
                SELECT 1 FROM order_messages told
                WHERE told.message_key = orders.order_id
                AND told.status IN ('accepted', 'unknown')
                AND told.run_id <> '{{ run_id }}'
            )
            ORDER BY orders.order_id
        """,
        target_column="phone",
        template_name="order_update",
        param_columns={"name": "full_name", "order_id": "order_id", "status": "status"},
        key_column="order_id",
        outcomes_table="order_messages",
        # A run that was killed may have sent what the table does not say yet: clear it before the next one.
        depends_on_past=True,
    )
    # [END sql_to_template]

    write_deliveries = WatiCampaignRecipientsToSqlOperator(
        task_id="write_deliveries", table="wati_campaign_recipients", sql_conn_id="warehouse"
    )

    sync_contacts >> send_updates >> write_deliveries


wati_orders_from_warehouse()
