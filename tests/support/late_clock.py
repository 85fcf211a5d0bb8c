"""The time of a sandbox in which things happen at a given point, for one test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from airflow_provider_wati.hooks.wati import WatiHook
from airflow_provider_wati.operators._base import WatiOperator
from tests.support.sends import SandboxClock

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.support.tasks import Execute


class LateClock(SandboxClock):
    """The sandbox's time, at points of which WATI does what it has put off, or another attempt begins."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox)
        self._late: list[tuple[datetime, Callable[[], object]]] = []

    def after(self, seconds: float, effect: Callable[[], object]) -> None:
        """Let something happen some time from now, while something sleeps."""
        self._late.append((self.now() + timedelta(seconds=seconds), effect))

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        due = [effect for at, effect in self._late if at <= self.now()]
        self._late = [(at, effect) for at, effect in self._late if at > self.now()]
        for effect in due:
            effect()


@pytest.fixture
def late_clock(execute: Execute, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> LateClock:
    """One time for the sandbox and the operators."""
    clock = LateClock(sandbox)
    monkeypatch.setattr(WatiOperator, "clock", clock)
    monkeypatch.setattr(WatiHook, "clock", clock)
    return clock
