"""The snapshot of a sync: whatever is in the file, the error names it and the way out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from tests.support.syncer import ATTRIBUTES, Syncer, number, row

HEADER = {"version": 1, "attributes": list(ATTRIBUTES)}
LINE = [number(1), 1, 1, "Ada", ["gold", "Pune"], []]


def craft(syncer: Syncer, *lines: Any) -> Path:
    path = Path(syncer.snapshot.path.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = (line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_bytes(gzip.compress("".join(f"{text}\n" for text in texts).encode()))
    return path


def test_a_snapshot_of_known_form_is_taken(syncer: Syncer) -> None:
    """The lines that the other tests change are valid as they are."""
    craft(syncer, HEADER, LINE)
    assert syncer.run([row(1)]) == {"unchanged": 1}
    assert syncer.calls() == {}


@pytest.mark.parametrize(
    "line",
    [
        [None, 1, 1, "Ada", ["gold", "Pune"], []],
        [int(number(1)), 1, 1, "Ada", ["gold", "Pune"], []],
        ["", 1, 1, "Ada", ["gold", "Pune"], []],
        ["12\ud83d", 1, 1, "Ada", ["gold", "Pune"], []],
        [["1"], 1, 1, "Ada", ["gold", "Pune"], []],
        [number(1), None, 1, "Ada", ["gold", "Pune"], []],
        [number(1), 10**30, 1, "Ada", ["gold", "Pune"], []],
        [number(1), 1, "yes", "Ada", ["gold", "Pune"], []],
        [number(1), 1, 1, 7, ["gold", "Pune"], []],
        [number(1), 1, 1, "Ada \ud83d", ["gold", "Pune"], []],
        [number(1), 1, 1, "Ada", ["gold"], []],
        [number(1), 1, 1, "Ada", ["gold", None], []],
        [number(1), 1, 1, "Ada", ["gold", "\ud83d"], []],
        [number(1), 1, 1, "Ada", {"tier": "gold"}, []],
        [number(1), 1, 1, "Ada"],
        [number(1), 1, 1, "Ada", ["gold", "Pune"]],
        [number(1), 1, 1, "Ada", ["gold", "Pune"], None],
        [number(1), 1, 1, "Ada", ["gold", "Pune"], [["gold"]]],
        [number(1), 1, 1, "Ada", ["gold", "Pune"], ["gold"]],
        [*LINE, 1],
        {"phone": number(1)},
        None,
        "no JSON",
        "[" * 100_000,
    ],
    ids=lambda line: str(line)[:50],
)
def test_a_crafted_line_is_refused_with_the_file_and_the_way_out(syncer: Syncer, line: Any) -> None:
    """Finding B5: a line of another form is a typed error that names the file, and WATI is not called."""
    path = craft(syncer, HEADER, LINE, line)
    with pytest.raises(WatiConfigurationError, match="Restore the file, or remove it") as caught:
        syncer.run([row(1, tier="new")])
    assert str(path) in str(caught.value)
    assert syncer.calls() == {}


@pytest.mark.parametrize(
    "header",
    [
        {},
        [],
        {**HEADER, "version": 2},
        {**HEADER, "attributes": 5},
    ],
    ids=str,
)
def test_a_crafted_header_is_refused_with_the_file_and_the_way_out(syncer: Syncer, header: Any) -> None:
    """Finding B5: so is a header of another form."""
    path = craft(syncer, header, LINE)
    with pytest.raises(WatiConfigurationError, match="Restore the file, or remove it") as caught:
        syncer.run([row(1)])
    assert str(path) in str(caught.value)


def test_a_person_who_is_in_a_snapshot_twice_is_written_again(syncer: Syncer) -> None:
    """Two lines about one person, also in two spellings, leave it open what WATI has."""
    syncer.add((1, {"tier": "other"}))
    craft(syncer, HEADER, LINE, LINE)
    assert syncer.run([row(1)]) == {"updated": 1}
    assert syncer.params(1) == {"tier": "gold", "city": "Pune"}
