"""Which messages somebody has looked at on the page."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.model.records import Note

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Conversation
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace

_MOST_COUNTED = 99


class ReadMarks:
    """
    How far each conversation was read; a reset of the workspace forgets it.

    :param workspace: whose conversations they are.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._state: State | None = None
        self._read: dict[int, int] = {}
        #: Another number after each reset and each start of the sandbox, because ids begin again then.
        self.epoch: int = time.time_ns() // 1_000_000

    def _marks(self) -> dict[int, int]:
        if self._state is not self._workspace.state:
            self._state, self._read = self._workspace.state, {}
            self.epoch += 1
        return self._read

    def current_epoch(self) -> int:
        self._marks()
        return self.epoch

    def mark(self, talk: Conversation, messages: int) -> bool:
        """
        Note that the first ``messages`` messages of a conversation were read.

        :return: whether that is news.
        """
        marks = self._marks()
        known = marks.get(talk.number, 0)
        read = min(messages, len(talk.messages))
        marks[talk.number] = max(known, read)
        return read > known

    def unread(self, talk: Conversation) -> int:
        """Count messages from the business that nobody has looked at, up to 99."""
        first = self._marks().get(talk.number, 0)
        if first >= len(talk.messages):
            return 0
        content = self._workspace.state.messages.content
        to_customer = (
            1
            for number in talk.messages[first:]
            if not isinstance(note := content[number], Note) or note.from_business
        )
        return sum(islice(to_customer, _MOST_COUNTED))
