"""Every message of the workspace, kept in columns: a million of them fit in a few hundred megabytes."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wati.sandbox.model.records import Note, Params


class MessageStore:
    """
    Messages by running number, each column a flat array.

    Nothing here looks for repeats: a local message id may be used twice, and then names the later message.
    """

    def __init__(self) -> None:
        self.contact: array[int] = array("I")
        #: Number of the broadcast plus one; zero for what was not sent by a broadcast.
        self.broadcast: array[int] = array("I")
        self.created: array[float] = array("d")
        self.fate: bytearray = bytearray()
        self.local_id: list[str] = []
        self.content: list[Note | Params] = []
        self._by_local_id: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.fate)

    def find(self, local_id: str) -> int | None:
        return self._by_local_id.get(local_id)

    def add(
        self,
        *,
        contacts: Sequence[int],
        broadcast: int,
        created: float,
        fates: bytes | bytearray,
        local_ids: Sequence[str],
        contents: Sequence[Note | Params],
    ) -> int:
        """Append messages that were sent together and return the number of the first."""
        first, count = len(self), len(contacts)
        self.contact.extend(contacts)
        self.broadcast.extend([broadcast] * count)
        self.created.extend([created] * count)
        self.fate.extend(fates)
        self.local_id.extend(local_ids)
        self.content.extend(contents)
        self._by_local_id.update(zip(local_ids, range(first, first + count), strict=True))
        return first
