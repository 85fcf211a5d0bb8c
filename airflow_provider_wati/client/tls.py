"""Connections over TLS, also through a proxy, whose failed handshakes count as connections that never came about."""

from __future__ import annotations

from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import NewConnectionError
from urllib3.poolmanager import PoolManager, pool_classes_by_scheme


class _Connection(HTTPSConnection):
    """Reports a failed handshake, or a refused CONNECT, as what it is: a connection that never came about."""

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error


class _Pool(HTTPSConnectionPool):
    """Makes connections of our kind."""

    ConnectionCls = _Connection


class TlsAdapter(HTTPAdapter):
    """Connects as :mod:`requests` does, and tells connections that never came about from those that broke."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _use_our_pool(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """
        Make the pools of connections through a proxy.

        :param proxy: the address of the proxy.
        """
        manager = super().proxy_manager_for(proxy, **kwargs)
        _use_our_pool(manager)
        return manager


def _use_our_pool(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {**pool_classes_by_scheme, "https": _Pool}
