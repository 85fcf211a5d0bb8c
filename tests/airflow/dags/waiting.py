"""The DAGs of ``test_waiting``: one sensor for each mode, about the campaign, person or template that the run names."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_provider_wati.sensors.campaigns import WatiCampaignSensor
from airflow_provider_wati.sensors.messages import WatiReplySensor
from airflow_provider_wati.sensors.templates import WatiTemplateApprovedSensor

#: A task that is rescheduled sooner than the scheduler notices the end of its process is failed by Airflow.
MODES: dict[str, dict[str, Any]] = {
    "poke": {"mode": "poke", "deferrable": False, "poke_interval": 1},
    "reschedule": {"mode": "reschedule", "deferrable": False, "poke_interval": 8},
    "deferrable": {"deferrable": True, "poke_interval": 1},
}

with DAG("waiting", schedule=None) as waiting:
    for name, mode in MODES.items():
        WatiCampaignSensor(
            task_id=name,
            campaign_id="{{ dag_run.conf.campaign_id }}",
            until="delivered",
            failure_threshold=0.5,
            timeout=timedelta(minutes=10),
            **mode,
        )

with DAG("waiting_alone", schedule=None) as waiting_alone:
    WatiCampaignSensor(
        task_id="deferrable",
        campaign_id="{{ dag_run.conf.campaign_id }}",
        until="delivered",
        poke_interval=1,
        timeout=timedelta(minutes=10),
        deferrable=True,
    )

with DAG("waiting_worker_only", schedule=None) as waiting_worker_only:
    WatiCampaignSensor(
        task_id="deferrable",
        campaign_id="{{ dag_run.conf.campaign_id }}",
        until="delivered",
        poke_interval=1,
        timeout=timedelta(minutes=10),
        deferrable=True,
        wati_conn_id="worker_only",
    )

with DAG("waiting_briefly", schedule=None) as waiting_briefly:
    for name, mode in MODES.items():
        for on_timeout in ("fail", "return"):
            WatiCampaignSensor(
                task_id=f"{name}_{on_timeout}",
                campaign_id="{{ dag_run.conf.campaign_id }}",
                until="delivered",
                timeout=timedelta(seconds=5),
                on_timeout=on_timeout,
                **mode,
            )

with DAG("waiting_for_reply", schedule=None) as waiting_for_reply:
    for name, mode in MODES.items():
        WatiReplySensor(
            task_id=name,
            target="{{ dag_run.conf.phone }}",
            since="{{ dag_run.conf.since }}",
            text_pattern="(?i)yes",
            timeout=timedelta(minutes=10),
            **mode,
        )

with DAG("waiting_for_approval", schedule=None) as waiting_for_approval:
    for name, mode in MODES.items():
        WatiTemplateApprovedSensor(
            task_id=name,
            template_name="{{ dag_run.conf.template }}",
            timeout=timedelta(minutes=10),
            **mode,
        )
