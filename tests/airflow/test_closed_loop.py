"""
From a customer to a DAG and back: the sandbox posts webhooks to the receiver of a real Airflow, and a DAG answers.

The sandbox repeats events and changes their order, as WATI does.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.airflow.conftest import Deployment, connection_to, wait_for

if TYPE_CHECKING:
    from tests.conftest import Sandbox

SECRET = "s3cret-of-the-receiver-0123456789"
CUSTOMERS = [f"1202555{number:04}" for number in range(100, 112)]


@pytest.fixture(scope="module")
def airflow(
    deployed_sandbox: Sandbox, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    connection = connection_to(deployed_sandbox)
    connection["extra"]["webhook_secret"] = SECRET
    options = {"TEST_SHARED": str(shared), "TEST_CLOSED_LOOP": "1"}
    deployment = Deployment(tmp_path_factory.mktemp("home"), connection, options)
    deployment.set_option("wati", "receiver_url", deployment.url)
    # No worker is killed here, and a busy machine is not to be taken for a dead one.
    deployment.set_option("scheduler", "task_instance_heartbeat_timeout", "120")
    try:
        deployment.start()
        for dag_id in ("answering", "noting_statuses"):
            wait_for(partial(deployment.knows, dag_id), f"DAG {dag_id} to be parsed")
        yield deployment
    finally:
        deployment.stop()
        print(deployment.logs())


def write(sandbox: Sandbox, phone: str, text: str) -> None:
    sandbox.control("POST", "/inbound", {"phone": phone, "text": text})


def answers_to(sandbox: Sandbox, phone: str) -> list[str]:
    return [text for text in sandbox.texts_to(phone) if text.startswith("You wrote: ")]


def test_the_subscription(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """The operator subscribes the receiver, a second run changes nothing, and neither shows the secret."""
    changes = []
    for _ in range(2):
        run = airflow.trigger("subscribing")
        assert airflow.finish("subscribing", run)["state"] == "success"
        result = airflow.result("subscribing", run)
        assert result["url"] == f"{airflow.url}/wati/webhooks/wati_default/***"
        changes.append(result["change"])
        assert SECRET not in airflow.log_of("subscribing", run, "send")
    assert changes == ["created", "none"]
    enabled = [
        hook["url"] for hook in deployed_sandbox.client().list_webhooks() if hook["status"] == "Enabled"
    ]
    assert enabled == [f"{airflow.url}/wati/webhooks/wati_default/{SECRET}"]


def test_a_customer_is_answered_by_a_dag(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """A message starts a DAG within seconds, and its task answers the customer."""
    phone = CUSTOMERS[0]
    began = time.monotonic()
    write(deployed_sandbox, phone, "hello")
    wait_for(lambda: len(airflow.runs("answering")) == 1, "the DAG to start", every=0.05)
    took = time.monotonic() - began
    print(f"the DAG was started {took:.1f} s after the customer wrote")
    wait_for(lambda: bool(answers_to(deployed_sandbox, phone)), "the answer")
    assert answers_to(deployed_sandbox, phone) == ["You wrote: hello"]
    assert took < 60


def test_each_customer_is_answered_once(airflow: Deployment, deployed_sandbox: Sandbox) -> None:
    """Of customers who write at the same time, each gets one answer, though events come twice and in another order."""
    deployed_sandbox.control(
        "PATCH", "/settings", {"webhook_duplicates": 0.5, "webhook_reordering": 0.3, "speed": 20}
    )
    for phone in CUSTOMERS[1:]:
        write(deployed_sandbox, phone, f"I am {phone}")
    # Events that are held back come too.
    deployed_sandbox.control("POST", "/clock", {"advance": 60})

    def all_have_one() -> bool:
        return all(answers_to(deployed_sandbox, phone) for phone in CUSTOMERS[1:])

    wait_for(all_have_one, "each customer to be answered")
    wait_for(lambda: set(airflow.runs("answering").values()) == {"success"}, "all runs to succeed")
    found = {phone: answers_to(deployed_sandbox, phone) for phone in CUSTOMERS[1:]}
    assert found == {phone: [f"You wrote: I am {phone}"] for phone in CUSTOMERS[1:]}


def test_each_status_reaches_one_run(airflow: Deployment, deployed_sandbox: Sandbox, shared: Path) -> None:
    """What happens to the messages of a campaign is in the events of one run each, however often it is posted."""
    recipients = [{"phone_number": phone, "local_message_id": f"loop-{phone}"} for phone in CUSTOMERS]
    deployed_sandbox.client().send_template_messages("welcome", "loop", recipients)
    deployed_sandbox.control("POST", "/clock", {"advance": 24 * 3600})

    def noted() -> Counter[tuple[str, str]]:
        files = [json.loads(path.read_text() or "[]") for path in (shared / "noted").glob("*.json")]
        items = [item for file in files for item in file]
        return Counter(
            (item["local_message_id"], item["status"])
            for item in items
            if (item["local_message_id"] or "").startswith("loop-")
        )

    expected = {(f"loop-{phone}", status) for phone in CUSTOMERS for status in ("sent", "delivered")}
    wait_for(lambda: expected <= set(noted()), "the statuses of all messages")
    assert set(noted().values()) == {1}
