"""Connections, also over TLS and through a proxy, whose failed handshakes count as connections that never came about."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NewConnectionError, SSLError
from urllib3.poolmanager import PoolManager, pool_classes_by_scheme

from airflow_provider_wati.client.bounds import BoundedConnection
from airflow_provider_wati.exceptions import WatiConfigurationError

#: Characters of what a proxy says.
_SAID_LENGTH = 200


class _TlsConnection(BoundedConnection, HTTPSConnection):
    """Reports a failed handshake, or a refused CONNECT, as what it is: a connection that never came about."""

    def connect(self) -> None:
        try:
            super().connect()
        # A proxy that answers in a broken way raises an HTTPException, a CA bundle without certificates an SSLError.
        except (OSError, HTTPException, SSLError) as error:
            cause = error.__cause__ if isinstance(error, SSLError) else error
            said = type(error).__name__ if isinstance(error, HTTPException) else str(error)[:_SAID_LENGTH]
            raise NewConnectionError(self, said or type(error).__name__) from cause


class _Pool(HTTPConnectionPool):
    ConnectionCls = BoundedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class BoundedAdapter(HTTPAdapter):
    """
    Connects as :mod:`requests` does, within the bounds of :mod:`.bounds`.

    It also tells connections that never came about from those that broke.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _use_our_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """
        Make the pools of connections through a proxy.

        :param proxy: the address of the proxy.
        :raises WatiConfigurationError: for a SOCKS proxy, whose connections have no bounds.
        """
        if proxy.lower().startswith("socks"):
            raise WatiConfigurationError(
                "The proxy of this machine is a SOCKS proxy, which is not supported: give an HTTP proxy in HTTPS_PROXY, or "
                "name WATI's host in NO_PROXY."
            )
        manager = super().proxy_manager_for(proxy, **kwargs)
        _use_our_pools(manager)
        return manager


def _use_our_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {**pool_classes_by_scheme, "http": _Pool, "https": _TlsPool}
