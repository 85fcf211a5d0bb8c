"""
Add a contact for a new customer; leave a contact that WATI knows as it is.

Start it with the customer as parameters; the defaults fit the sandbox. To bring a known contact up to date as well,
use `WatiUpsertContactOperator`, as `wati_welcome_lead` does.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, task

from airflow_provider_wati.operators.contacts import WatiCreateContactOperator, WatiGetContactOperator


@dag(
    schedule=None,
    catchup=False,
    tags=["wati", "example"],
    doc_md=__doc__,
    params={
        "phone": Param("12025550190", type="string", title="Phone number: digits, country code first"),
        "name": Param("Hana Sato", type="string", title="Name"),
        "city": Param("Osaka", type="string", title="City"),
    },
)
def wati_add_contact():
    # [START get_contact]
    look_up = WatiGetContactOperator(
        task_id="look_up",
        target="{{ params.phone }}",
        if_missing="none",
    )
    # [END get_contact]

    @task.short_circuit
    def is_new(contact: dict[str, Any] | None) -> bool:
        return contact is None

    # [START create_contact]
    create_contact = WatiCreateContactOperator(
        task_id="create_contact",
        phone_number="{{ params.phone }}",
        name="{{ params.name }}",
        custom_params={"city": "{{ params.city }}"},
    )
    # [END create_contact]

    is_new(look_up.output) >> create_contact


wati_add_contact()
