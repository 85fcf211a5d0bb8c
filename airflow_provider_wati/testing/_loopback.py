"""Nobody is messaged by a test: while a sandbox runs, the provider calls no WATI on another machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit


@contextmanager
def only_loopback() -> Iterator[None]:
    """
    Let clients be made for this machine only.

    A task under test may name a connection that the environment or Airflow's database leads to the real WATI, and a replay
    runs it dozens of times. Processes that are forked meanwhile are held to it too; those that are started are not.
    """
    from airflow_provider_wati.client.endpoint import Endpoint, is_loopback
    from airflow_provider_wati.client.transport import Transport
    from airflow_provider_wati.exceptions import WatiConfigurationError

    original: Any = Transport.__dict__["__init__"]

    def checked(transport: Transport, endpoint: Endpoint, *arguments: Any, **more: Any) -> None:
        host = urlsplit(endpoint.base_url).hostname or ""
        if not is_loopback(host):
            raise WatiConfigurationError(
                f"A connection leads to {host} while a WatiSandbox runs, and a test must message nobody: let the task use the "
                "connection of the sandbox, or give WatiSandbox(conn_id=...) the id of the connection that the task uses."
            )
        original(transport, endpoint, *arguments, **more)

    replaced: Any = Transport
    replaced.__init__ = checked
    try:
        yield
    finally:
        replaced.__init__ = original
