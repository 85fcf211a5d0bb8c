"""
Give a customer who writes a keyword, such as "invoice", to the team that answers it.

Messages of customers start the DAG: the triggerer looks for them every five minutes. Where a webhook brings them, use
``messages_asset(poll_interval=None)``. The teams fit the sandbox.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.assets import messages_asset, new_messages
from airflow_provider_wati.operators.contacts import WatiAssignTeamsOperator

TEAMS = {
    "invoice": "Billing",
    "refund": "Billing",
    "broken": "Support",
    "damaged": "Support",
    "price": "Sales",
}


@dag(
    schedule=messages_asset("wati_default", poll_interval=300),
    catchup=False,
    max_active_runs=1,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={"teams": Param(TEAMS, type="object", title="The team of each keyword, as it is called in WATI")},
)
def wati_keyword_routing():
    @task
    def choose_teams(params: dict[str, Any]) -> list[dict[str, Any]]:
        from airflow_provider_wati.listening.opt_out import comparable

        teams = {comparable(keyword): team for keyword, team in params["teams"].items()}
        chosen: dict[str, str] = {}
        # Messages that an earlier run has had are not among them. The last keyword of a customer counts.
        for message in sorted(new_messages(), key=lambda message: message["created"] or ""):
            keywords = [word for word in comparable(message["text"] or "").split() if word in teams]
            if keywords and message["phone_number"]:
                chosen[message["phone_number"]] = teams[keywords[-1]]
        return [{"target": phone_number, "teams": [team]} for phone_number, team in chosen.items()]

    WatiAssignTeamsOperator.partial(task_id="assign_team").expand_kwargs(choose_teams())


wati_keyword_routing()
