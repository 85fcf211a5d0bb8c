"""
Say how far the message about each order has come: sent, delivered, read, replied, or failed and why.

Run it some hours after ``wati_orders_from_warehouse``, whose table of outcomes names the order of each message. It needs the
same connection ``warehouse``, to SQLite or PostgreSQL. The table ``order_funnel`` has one row for each order, and
is computed from the start by each run.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import dag, task

from airflow_provider_wati.transfers.wati_to_sql import (
    WatiCampaignRecipientsToSqlOperator,
    WatiMessagesToSqlOperator,
)

# [START funnel_sql]
CREATE_FUNNEL = """
    CREATE TABLE IF NOT EXISTS order_funnel (
        order_id VARCHAR(1000) PRIMARY KEY, status VARCHAR(20) NOT NULL, reason TEXT,
        is_sent INTEGER NOT NULL, is_delivered INTEGER NOT NULL, is_read INTEGER NOT NULL,
        is_replied INTEGER NOT NULL, is_failed INTEGER NOT NULL
    )
"""
# An order may have several messages: the one that came furthest counts. A failure is final, and such a message counts
# as failed only, so each order is at one place.
FILL_FUNNEL = """
    INSERT INTO order_funnel
    WITH stage AS (
        SELECT
            told.message_key AS order_id,
            CASE
                WHEN told.status IN ('rejected', 'invalid') OR recipient.is_failed OR message.status = 'failed' THEN 2
                WHEN recipient.is_replied OR message.status = 'replied' THEN 7
                WHEN recipient.is_read OR message.status = 'read' THEN 6
                WHEN recipient.is_delivered OR message.status = 'delivered' THEN 5
                WHEN recipient.is_sent OR message.status = 'sent' THEN 4
                WHEN told.status IN ('accepted', 'unknown') THEN 3
                WHEN told.status = 'skipped' THEN 1
                ELSE 0
            END AS place,
            CASE
                WHEN told.status IN ('accepted', 'unknown') THEN COALESCE(
                    recipient.failed_code || ' ' || message.failed_detail, recipient.failed_code, message.failed_detail
                )
                ELSE told.reason
            END AS reason
        FROM order_messages told
        LEFT JOIN wati_campaign_recipients recipient ON recipient.local_message_id = told.local_message_id
        LEFT JOIN wati_messages message ON message.local_message_id = told.local_message_id
        WHERE told.message_key IS NOT NULL
    ),
    furthest AS (SELECT order_id, MAX(place) AS place FROM stage GROUP BY order_id)
    SELECT
        furthest.order_id,
        CASE furthest.place
            WHEN 7 THEN 'replied' WHEN 6 THEN 'read' WHEN 5 THEN 'delivered' WHEN 4 THEN 'sent'
            WHEN 3 THEN 'accepted' WHEN 2 THEN 'failed' WHEN 1 THEN 'skipped' ELSE 'unsent'
        END,
        MAX(CASE WHEN furthest.place < 3 THEN stage.reason END),
        CASE WHEN furthest.place >= 4 THEN 1 ELSE 0 END,
        CASE WHEN furthest.place >= 5 THEN 1 ELSE 0 END,
        CASE WHEN furthest.place >= 6 THEN 1 ELSE 0 END,
        CASE WHEN furthest.place >= 7 THEN 1 ELSE 0 END,
        CASE WHEN furthest.place = 2 THEN 1 ELSE 0 END
    FROM furthest JOIN stage ON stage.order_id = furthest.order_id AND stage.place = furthest.place
    GROUP BY furthest.order_id, furthest.place
"""
SUM_UP = """
    SELECT COUNT(*), COALESCE(SUM(is_sent), 0), COALESCE(SUM(is_delivered), 0), COALESCE(SUM(is_read), 0),
        COALESCE(SUM(is_replied), 0), COALESCE(SUM(is_failed), 0)
    FROM order_funnel
"""
# [END funnel_sql]


@dag(schedule=None, catchup=False, max_active_runs=1, tags=["wati", "example"], doc_md=__doc__)
def wati_funnel():
    # [START funnel]
    recipients_to_sql = WatiCampaignRecipientsToSqlOperator(
        task_id="recipients_to_sql", table="wati_campaign_recipients", sql_conn_id="warehouse"
    )
    messages_to_sql = WatiMessagesToSqlOperator(
        task_id="messages_to_sql", table="wati_messages", sql_conn_id="warehouse"
    )

    @task
    def write_funnel() -> dict[str, Any]:
        # A hook is imported where it is used: the file is parsed far more often than the task runs.
        from airflow.sdk import BaseHook

        warehouse = BaseHook.get_connection("warehouse").get_hook()
        # One transaction: nobody sees the table empty.
        warehouse.run([CREATE_FUNNEL, "DELETE FROM order_funnel", FILL_FUNNEL])
        counts = warehouse.get_first(SUM_UP)
        return dict(
            zip(("orders", "sent", "delivered", "read", "replied", "failed"), map(int, counts), strict=True)
        )

    [recipients_to_sql, messages_to_sql] >> write_funnel()
    # [END funnel]


wati_funnel()
