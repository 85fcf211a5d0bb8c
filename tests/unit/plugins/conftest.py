from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete

if TYPE_CHECKING:
    from airflow_provider_wati.plugins._receiver import Receiver

SECRET = "s3cret-of-the-receiver-0123456789"
TOKEN = "the-access-token"


@pytest.fixture
def receiver(airflow_database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver on Airflow's database, with empty tables and without its threads."""
    from airflow_provider_wati.plugins import _tables
    from airflow_provider_wati.plugins._receiver import Receiver

    def define(conn_id: str, **fields: Any) -> None:
        connection = {"conn_type": "wati", "host": "https://live-mt-server.wati.io/123456", "password": TOKEN}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({**connection, **fields}))

    define("receiving", extra={"webhook_secret": SECRET})
    define("off")
    define("short", extra={"webhook_secret": "short"})
    define("other_type", conn_type="http", extra={"webhook_secret": SECRET})
    made = Receiver()
    with made.engine.begin() as connection:
        connection.execute(delete(_tables.EVENTS))
        connection.execute(delete(_tables.AWAITED))
    yield made
    made.stop()
