"""Which part of the people a task sends to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.tables.sharding import Shard

NAMES = [f"9198{n:08d}" for n in range(4_000)]


@pytest.mark.parametrize("count", [1, 2, 3, 8, 100])
def test_each_person_is_in_one_shard(count: int) -> None:
    """The shards are disjoint, and together they have everybody."""
    shards = [Shard(n, count) for n in range(count)]
    for name in NAMES:
        assert sum(shard.has(name) for shard in shards) == 1


def test_shards_are_of_similar_size() -> None:
    """People spread evenly, so that no task has much more to do than another."""
    sizes = [sum(map(Shard(n, 8).has, NAMES)) for n in range(8)]
    assert 400 < min(sizes) <= max(sizes) < 600


def test_a_shard_is_the_same_in_every_version_and_process() -> None:
    """The people of a shard are fixed: a retry by a newer version of the provider, or on another machine, finds the same."""
    assert [n for n, name in enumerate(NAMES[:40]) if Shard(0, 8).has(name)] == FIRST_OF_EIGHT


#: Computed with the first version that had shards.
FIRST_OF_EIGHT = [5, 16, 18, 34]


def test_a_target_that_cannot_be_encoded_is_in_one_shard() -> None:
    """A row with half a character is accounted for in one task, and stops none."""
    assert sum(Shard(n, 8).has("12\ud83d") for n in range(8)) == 1


@pytest.mark.parametrize("given", [[2, 8], (2, 8), ["2", "8"], ("2", "8")])
def test_a_shard_is_read_as_it_is_written(given: Any) -> None:
    """Lists and tuples are read, and the texts that a template makes of numbers."""
    assert Shard.parse(given) == Shard(2, 8)


@pytest.mark.parametrize(
    "given",
    [[8, 8], [-1, 8], [0, 0], [0, 10_001], [0], [0, 1, 2], 3, "0", "01", "1/8", [0.0, 8], [True, 8], [None, 8], {}, ["a", "b"],
     b"\x01\x08", {"0": 1, "8": 2}, {0, 8}, [Decimal("1.5"), 8], float("inf")],
)  # fmt: skip
def test_what_is_no_shard_is_refused(given: Any) -> None:
    """An index that does not exist would leave people out without a word, so it is refused with the form that is right."""
    with pytest.raises(WatiValidationError, match=r"give \[index, count\]"):
        Shard.parse(given)
