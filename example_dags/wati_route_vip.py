"""
Route VIP customers to a team: read what customers spent, mark the best ones in WATI, assign them to a team.

Replace `read_customers` with a query of your warehouse. A second run changes nothing.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.contacts import WatiAssignTeamsOperator, WatiUpdateContactOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "minimum_spent": Param(1000, type="integer", title="A VIP has spent at least"),
        "team": Param("Billing", type="string", title="Team of the VIPs, as it is called in WATI"),
    },
)
def wati_route_vip():
    @task
    def read_customers() -> list[dict[str, Any]]:
        return [
            {"phone": "12025550143", "spent": 1250},
            {"phone": "12025550144", "spent": 90},
            {"phone": "12025550145", "spent": 2100},
        ]

    @task
    def select_vips(customers: list[dict[str, Any]], params: dict[str, Any]) -> list[str]:
        return [customer["phone"] for customer in customers if customer["spent"] >= params["minimum_spent"]]

    vips = select_vips(read_customers())
    # [START update_contact]
    mark_as_vip = WatiUpdateContactOperator.partial(
        task_id="mark_as_vip", custom_params={"tier": "vip"}
    ).expand(target=vips)
    # [END update_contact]
    # [START assign_teams]
    assign_team = WatiAssignTeamsOperator.partial(task_id="assign_team", teams=["{{ params.team }}"]).expand(
        target=vips
    )
    # [END assign_teams]
    mark_as_vip >> assign_team


wati_route_vip()
