"""Template sends over several tries, each with a ledger of its own on the same store."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.bulk.ledger import Ledger
from airflow_provider_wati.bulk.send import TemplateSend
from airflow_provider_wati.exceptions import WatiUnknownOutcomeError

if TYPE_CHECKING:
    from tests.conftest import Sandbox

PARAMS = {"name": "Ada", "order_id": "1001", "status": "packed"}
FIRST, SECOND = ({"target": number, "params": PARAMS} for number in ("85264318721", "85264318722"))


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


@pytest.fixture(autouse=True)
def poll_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wati.bulk.send._POLL_SECONDS", 0.05)


def send(sandbox: Sandbox, store: Store, rows: list[dict[str, Any]], grace: float) -> dict[str, Any]:
    """Send as one try of a task would, one person a batch."""
    ledger = Ledger(store, "key")
    job = TemplateSend(
        sandbox.client(),
        "order_update",
        "orders",
        "key",
        ledger,
        batch_size=1,
        unknown_grace=timedelta(seconds=grace),
    )
    job.run(rows, sent_before=ledger.known_before)
    return job.summary()


def test_a_person_in_doubt_is_waited_for_in_whatever_batch_they_are_now(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("slow_listing", seconds=1, skip=1)
    sandbox.fault("drop", method="POST", when="after", skip=1, count=1)
    with pytest.raises(WatiUnknownOutcomeError):
        send(sandbox, store, [FIRST, SECOND], grace=3)
    summary = send(sandbox, store, [SECOND, FIRST], grace=3)
    assert (summary["total"], summary["accepted"]) == (2, 2)
    assert [len(sandbox.texts_to(row["target"])) for row in (FIRST, SECOND)] == [1, 1]


def test_a_campaign_that_never_lists_everybody_is_unknown_and_nothing_is_sent(sandbox: Sandbox) -> None:
    store = Store()
    sandbox.fault("slow_listing", seconds=3600, fill=True)
    sandbox.fault("drop", method="POST", when="after", count=1)
    with pytest.raises(WatiUnknownOutcomeError):
        send(sandbox, store, [FIRST], grace=0.5)
    with pytest.raises(WatiUnknownOutcomeError, match="lists fewer recipients than it has"):
        send(sandbox, store, [FIRST], grace=0.5)
    assert len(sandbox.texts_to(FIRST["target"])) == 1
