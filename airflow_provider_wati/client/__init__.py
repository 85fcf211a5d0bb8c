"""WATI's HTTP API in Python, without Airflow: a notebook can use it too."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_wati.client.target import Target, TargetKind
    from airflow_provider_wati.client.types import SendHooks
    from airflow_provider_wati.client.wati import WatiClient

__all__ = ["SendHooks", "Target", "TargetKind", "WatiClient"]

_MODULES = {"SendHooks": "types", "Target": "target", "TargetKind": "target", "WatiClient": "wati"}


def __getattr__(name: str) -> Any:
    # What needs no HTTP, such as the checks, can be imported from this package without loading requests.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
