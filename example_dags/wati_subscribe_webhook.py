"""
Keep WATI's webhook to this Airflow subscribed: run it once, or on a schedule, which enables it again after an outage.

The connection needs a ``webhook_secret``, and WATI an address by which it reaches the API server: ``[wati] receiver_url``
or ``[api] base_url``.
"""

from __future__ import annotations

from airflow.sdk import dag

from airflow_provider_wati.operators.webhooks import WatiSubscribeWebhookOperator


@dag(schedule=None, catchup=False, tags=["wati", "example"], doc_md=__doc__)
def wati_subscribe_webhook():
    # [START subscribe_webhook]
    WatiSubscribeWebhookOperator(task_id="subscribe_webhook")
    # [END subscribe_webhook]


wati_subscribe_webhook()
