"""Customers of the sandbox who write while something else happens."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.conftest import Sandbox

FIRST_PHONE = 919_800_000_001
PEOPLE = 40


class Customers:
    """
    Forty people who write, one message after the other, as many as the goal says. It writes in a thread of its own.

    :param sandbox: what gets the messages.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.ids: list[str] = []
        self._sandbox = sandbox
        self._goal = 0
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(1)

    def __enter__(self) -> Self:
        self._writing = self._pool.submit(self._write)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._change(-1)
        self._pool.shutdown()

    def begin(self, goal: int) -> None:
        """Let them write until there are so many messages."""
        self._change(goal)

    def have_written(self) -> bool:
        """
        Say whether there are as many messages as the goal says.

        :raises AssertionError: when the sandbox has refused one.
        """
        if self._writing.done():
            self._writing.result()
        return len(self.ids) >= self._goal

    def _change(self, goal: int) -> None:
        with self._changed:
            self._goal = goal
            self._changed.notify_all()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._goal < 0 or len(self.ids) < self._goal)
                if self._goal < 0:
                    return
            n = len(self.ids)
            body = {"phone": str(FIRST_PHONE + n % PEOPLE), "text": f"message {n}"}
            self.ids.append(self._sandbox.control("POST", "/inbound", body)["message"]["id"])
