"""Shards: disjoint parts of a table, each with the same people in every attempt."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from airflow_provider_wati.exceptions import WatiValidationError

_MOST_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """
    One of several parts of the people: a hash of the person decides which.

    Each person is in one shard, whatever the order and the number of the rows, in each attempt and on each machine.

    :param index: which part, from 0.
    :param count: how many parts there are.
    """

    index: int
    count: int

    @classmethod
    def parse(cls, given: Any) -> Shard:
        """
        Read a shard as a DAG's author writes it.

        :param given: index and count, as in ``[0, 8]``; a template may have made texts of the numbers.
        :raises WatiValidationError: for anything else.
        """
        try:
            # Texts and bytes have parts as well, and the parts of a set have no order.
            numbers = [_whole(number) for number in given] if isinstance(given, (list, tuple)) else []
        except (TypeError, ValueError):
            numbers = []
        index, count = numbers if len(numbers) == 2 else (0, 0)
        if not 0 <= index < count <= _MOST_SHARDS:
            raise WatiValidationError(
                f"shard is {given!r}: give [index, count], such as [0, 8] for the first of eight; the index is less than the "
                f"count, which is {_MOST_SHARDS:,} at most."
            )
        return cls(index, count)

    def has(self, name: str) -> bool:
        """
        Return whether a row is in this shard.

        :param name: the dedupe key of the person, so that all spellings are in one shard; the target as it was given where
            it cannot be read, so that each row is accounted for in one shard.
        """
        # A row may hold half a character, which no strict encoding takes.
        digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index


def _whole(number: Any) -> int:
    if isinstance(number, bool) or not isinstance(number, (int, str)):
        raise ValueError("not a whole number")
    return int(number)
