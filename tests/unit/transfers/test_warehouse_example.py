"""The example that goes from the warehouse to WhatsApp and back, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.docs.test_examples import all_succeeded, dag_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Sandbox
    from tests.unit.transfers.conftest import Warehouse

RAVI, ASHA, ADA = "919876543210", "919876543211", "12025550143"


def test_from_the_warehouse_and_back(
    run_dag: Any,
    sandbox: Sandbox,
    warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The example syncs, sends and writes the statuses back."""
    monkeypatch.setenv("WATI_DEMO_STATE", str(tmp_path))
    customers = [
        ("1", "+91 98765 43210", "Ravi", "gold"),
        ("2", ASHA, "Asha", None),
        ("3", ADA, "Ada", "gold"),
    ]
    warehouse.fill("customers", "customer_id,phone,full_name,tier", customers)
    today = datetime.now(UTC).date().isoformat()
    orders = [
        ("1001", "1", "packed", today),
        ("1002", "3", "on its way", today),
        ("1003", "3", "packed", today),
        ("0007", "2", "delivered", "2020-01-01"),
    ]
    warehouse.fill("orders", "order_id,customer_id,status,ordered_on", orders)

    tis = run_dag(dag_of("wati_orders_from_warehouse"))
    assert all_succeeded({task_id: ti.state for task_id, ti in tis.items()})
    summary = tis["sync_contacts"].xcom_pull("sync_contacts")
    assert (summary["unchanged"], summary["created"], summary["updated"]) == (0, 2, 1)

    people = sandbox.state.by_phone
    assert [(people[phone].custom_params or {}).get("loyalty_tier") for phone in (RAVI, ASHA, ADA)] == [
        "gold",
        None,
        "gold",
    ]
    assert [len(sandbox.texts_to(phone)) for phone in (RAVI, ASHA, ADA)] == [1, 0, 2]
    outcomes = warehouse.execute(
        "SELECT message_key, target, status, local_message_id FROM order_messages ORDER BY message_key"
    )
    assert [row[:3] for row in outcomes] == [
        ("1001", RAVI, "accepted"),
        ("1002", ADA, "accepted"),
        ("1003", ADA, "accepted"),
    ]
    deliveries = warehouse.execute("SELECT local_message_id FROM wati_campaign_recipients")
    assert {message for (message,) in deliveries} == {row[3] for row in outcomes}

    # The next run tells nobody again, and finds the order that is new.
    warehouse.execute(f"INSERT INTO orders VALUES ('1004', '2', 'packed', '{today}')")
    tis = run_dag(dag_of("wati_orders_from_warehouse"))
    assert all_succeeded({task_id: ti.state for task_id, ti in tis.items()})
    assert tis["sync_contacts"].xcom_pull("sync_contacts")["writes"] == 0
    assert [len(sandbox.texts_to(phone)) for phone in (RAVI, ASHA, ADA)] == [1, 1, 2]
    assert warehouse.execute("SELECT COUNT(*) FROM order_messages") == [(4,)]
