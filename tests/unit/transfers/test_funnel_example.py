"""The example that says how far the message about each order has come, on both databases."""

from __future__ import annotations

import runpy
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.test_examples import FOLDER, all_succeeded, dag_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Sandbox
    from tests.unit.transfers.conftest import Warehouse

ADA, BEN, DANA, EVAN, FAILS = "12025550143", "12025550144", "12025550146", "12025550147", "12025131026"
#: What a funnel says about a stage, in the order of its columns.
FLAGS = {
    "replied": (1, 1, 1, 1, 0),
    "read": (1, 1, 1, 0, 0),
    "delivered": (1, 1, 0, 0, 0),
    "sent": (1, 0, 0, 0, 0),
    "accepted": (0, 0, 0, 0, 0),
    "failed": (0, 0, 0, 0, 1),
    "skipped": (0, 0, 0, 0, 0),
    "unsent": (0, 0, 0, 0, 0),
}


def funnel_of(warehouse: Warehouse) -> dict[str, tuple[str, str | None]]:
    """The status and the reason of each order; the flags have to fit them."""
    rows = warehouse.execute(
        "SELECT order_id, status, reason, is_sent, is_delivered, is_read, is_replied, is_failed FROM order_funnel"
    )
    assert all(tuple(flags) == FLAGS[status] for _, status, _, *flags in rows)
    return {order_id: (status, reason) for order_id, status, reason, *_ in rows}


def fill_orders(warehouse: Warehouse, phones: dict[str, str]) -> None:
    """Put one order of today into the warehouse for each phone number."""
    today = datetime.now(UTC).date().isoformat()
    customers = [(order, phone, f"Customer {order}", "gold") for order, phone in phones.items()]
    warehouse.fill("customers", "customer_id,phone,full_name,tier", customers)
    orders = [(order, order, "packed", today) for order in phones]
    warehouse.fill("orders", "order_id,customer_id,status,ordered_on", orders)


def test_each_order_is_where_its_message_is(
    run_dag: Any, sandbox: Sandbox, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The funnel has each order at the status that the sandbox has, with the reason of a failure; a second run too."""
    monkeypatch.setenv("WATI_DEMO_STATE", str(tmp_path))
    phones = {"1": ADA, "2": BEN, "3": DANA, "4": EVAN, "5": FAILS}
    fill_orders(warehouse, phones)
    assert all_succeeded({id: ti.state for id, ti in run_dag(dag_of("wati_orders_from_warehouse")).items()})
    sandbox.control("POST", "/clock", {"advance": 3600, "frozen": True})
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "Thank you!"})

    truth = {
        (recipient["contact_phone"] or "").lstrip("+"): recipient["status"]
        for campaign in sandbox.client().iter_campaigns()
        for recipient in sandbox.client().iter_campaign_recipients(campaign["id"])
    }
    assert Counter(truth.values())["replied"] == Counter(truth.values())["failed"] == 1
    for _ in range(2):
        tis = run_dag(dag_of("wati_funnel"))
        assert all_succeeded({id: ti.state for id, ti in tis.items()})
        found = funnel_of(warehouse)
        assert {order: status for order, (status, _) in found.items()} == {
            order: truth.get(phone, "skipped") for order, phone in phones.items()
        }
        assert found["4"] == ("skipped", "opted out: allow_broadcast is false in WATI")
        assert found["5"] == ("failed", "131026 Message undeliverable")
        reached = [FLAGS[status] for status, _ in found.values()]
        names = ("sent", "delivered", "read", "replied", "failed")
        sums = {name: sum(flags[n] for flags in reached) for n, name in enumerate(names)}
        assert tis["write_funnel"].xcom_pull("write_funnel") == {"orders": 5, **sums}
        assert sums["sent"] == sums["delivered"] == 3


def test_without_orders_the_funnel_is_empty(run_dag: Any, warehouse: Warehouse) -> None:
    """Before the first order, the counts are 0 and nothing fails."""
    create_tables(warehouse)
    tis = run_dag(dag_of("wati_funnel"))
    assert all_succeeded({id: ti.state for id, ti in tis.items()})
    counts = tis["write_funnel"].xcom_pull("write_funnel")
    assert set(counts.values()) == {0}
    assert len(counts) == 6


def create_tables(warehouse: Warehouse) -> None:
    warehouse.fill("order_messages", "message_key,status,reason,local_message_id", [])


@pytest.mark.parametrize(
    ("told", "listed", "found"),
    [
        ([("rejected", "invalid number", None), ("accepted", None, "a")], {"a": "read"}, ("read", None)),
        ([("accepted", None, "a"), ("accepted", None, "b")], {"a": "failed", "b": "sent"}, ("sent", None)),
        ([("accepted", None, "a"), ("accepted", None, "b")], {"a": "failed"}, ("accepted", None)),
        ([("accepted", None, "a")], {"a": "failed after sent"}, ("failed", "131026")),
        ([("unknown", "no answer", "a")], {"a": "delivered"}, ("delivered", None)),
        ([("unknown", "no answer", "a")], {}, ("accepted", None)),
        ([("skipped", "suppressed", None), ("invalid", "too short", None)], {}, ("failed", "too short")),
        ([("skipped", "suppressed", None)], {}, ("skipped", "suppressed")),
        ([("unsent", "stopped before", None)], {}, ("unsent", "stopped before")),
    ],
)
def test_the_message_that_came_furthest_counts(
    told: list[tuple[str, str | None, str | None]],
    listed: dict[str, str],
    found: tuple[str, str | None],
    warehouse: Warehouse,
) -> None:
    """Of several messages of an order the furthest counts; a failed one counts as failed only, even if it was sent."""
    warehouse.fill(
        "order_messages", "message_key,status,reason,local_message_id", [("1", *row) for row in told]
    )
    stages = ("sent", "delivered", "read", "replied")
    flags = ", ".join(f"is_{stage} BOOLEAN" for stage in (*stages, "failed"))
    warehouse.execute(
        f"CREATE TABLE wati_campaign_recipients (local_message_id TEXT, failed_code TEXT, {flags})",
        "CREATE TABLE wati_messages (local_message_id TEXT, status TEXT, failed_detail TEXT)",
    )
    for message, status in listed.items():
        reached = [status in stages and stages.index(status) >= n for n in range(len(stages))]
        if status == "failed after sent":
            reached[0] = True
        has_failed = status.startswith("failed")
        values = ", ".join(str(flag).upper() for flag in (*reached, has_failed))
        code = "'131026'" if has_failed else "NULL"
        warehouse.execute(f"INSERT INTO wati_campaign_recipients VALUES ('{message}', {code}, {values})")
    example = runpy.run_path(str(FOLDER / "wati_funnel.py"))
    warehouse.execute(example["CREATE_FUNNEL"], "DELETE FROM order_funnel", example["FILL_FUNNEL"])
    assert funnel_of(warehouse) == {"1": found}
