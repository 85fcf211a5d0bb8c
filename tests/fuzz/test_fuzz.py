"""The fuzz harness itself: it counts, ends, finds small inputs, and each surface finds a defect that is put in."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import Phase, strategies as st

from airflow_provider_wati.client import endpoint, paging, recipients as client_recipients, target, transport
from airflow_provider_wati.sandbox.model import ids
from airflow_provider_wati.sending import journal_codec
from airflow_provider_wati.syncing import snapshot
from airflow_provider_wati.tables import readers, values
from tests.fuzz import __main__ as command, media_names
from tests.fuzz.harness import Report, Surface, fuzz
from tests.fuzz.sandbox_api import BODIES, routes
from tests.fuzz.surfaces import SURFACES
from tests.support.clock import FakeClock

_BY_NAME = {surface.name: surface for surface in SURFACES}
#: Surfaces with defects that are known and not yet fixed. To be emptied.
_OPEN: set[str] = set()
_ENOUGH_SECONDS = 60.0


@pytest.mark.parametrize(
    "surface",
    [
        pytest.param(surface, marks=pytest.mark.xfail(strict=True) if surface.name in _OPEN else ())
        for surface in SURFACES
    ],
    ids=lambda surface: surface.name,
)
def test_odd_inputs_give_results_or_typed_errors(surface: Surface) -> None:
    """A few inputs of each surface, always the same ones, bring out nothing but results and typed errors."""
    report = fuzz(surface, seed=11, seconds=0, examples=15)
    assert report.inputs >= 15
    assert report.finding is None, f"{report.finding.input}\n{report.finding.error}"


def _ascii_only(text: str, what: str) -> str:
    text.encode("ascii")
    return text


def _passes_on(self: Any, call: Any, error: Exception) -> Any:
    raise error


#: A defect for each surface: an object, the name of a part of it, and what stands there in the defect's place.
_DEFECTS: dict[str, tuple[Any, str, Any]] = {
    "targets": (target, "whole_text", _ascii_only),
    "phone cells": (values, "_SURROGATE", re.compile("(?!)")),
    "recipients": (client_recipients, "id_text", lambda value, *_: value),
    "endpoints": (endpoint, "_TENANT", re.compile(r"\d+")),
    "headers": (transport, "read_retry_after", lambda value, *_: float(value or 0)),
    "media names": (media_names, "name_of", lambda media, message_id: media.file_name or message_id),
    "answers": (paging, "_identity_of", lambda row: hash(row["id"])),
    "raw HTTP": (transport.Transport, "_no_answer", _passes_on),
    "CSV files": (readers.READERS, ".csv", lambda file: ({"name": line.split(b",")[1]} for line in file)),
    "JSON lines": (readers.READERS, ".jsonl", lambda file: (json.loads(line) for line in file)),
    "Parquet files": (readers, "_damage_named", nullcontext),
    "journal entries": (journal_codec, "_typed", lambda value, kind: value),
    "snapshots": (snapshot, "_DAMAGES", (KeyError,)),
    "syncs": (snapshot, "_DAMAGES", (KeyError,)),
    "sandbox's API": (ids, "read_id", lambda kind, text: int(text[-8:], 16)),
}


@pytest.mark.parametrize("name", sorted(_DEFECTS))
def test_each_surface_finds_a_defect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that is taken out of the package, or a careless reader, shows within seconds."""
    holder, part, broken = _DEFECTS[name]
    if isinstance(holder, dict):
        monkeypatch.setitem(holder, part, broken)
    else:
        monkeypatch.setattr(holder, part, broken)
    report = fuzz(_BY_NAME[name], seed=7, seconds=_ENOUGH_SECONDS, phases=(Phase.generate,))
    assert report.finding is not None
    assert report.finding.input


def test_each_surface_has_a_defect_to_find() -> None:
    """No surface is left out of the test before."""
    assert _DEFECTS.keys() == _BY_NAME.keys()


def test_each_route_of_the_sandbox_is_called_with_a_body_that_suits_it() -> None:
    """A new route that takes a body has to be given one here, or every request to it would be refused."""
    with_body = {(route.method, route.path) for route in routes() if route.method in ("POST", "PUT", "PATCH")}
    assert with_body - {("POST", "/conversations/messages/file")} == BODIES.keys()


def _surface(feed: Callable[[int], object], **options: Any) -> Surface:
    return Surface(name="numbers", inputs=st.integers(0, 10**6), feed=feed, **options)


def _refuse_large(number: int) -> None:
    if number >= 1000:
        raise KeyError("too large")


def test_the_smallest_input_that_fails_is_kept() -> None:
    """A failure is reported with the smallest input, wherever in a batch it was, and with the error."""
    report = fuzz(_surface(_refuse_large, batch=5), seed=1, seconds=0)
    assert report.finding is not None
    assert report.finding.input == "1000"
    assert report.finding.error.endswith("KeyError: 'too large'")


def test_typed_errors_are_results() -> None:
    """An error that the surface documents is not a failure."""
    assert fuzz(_surface(_refuse_large, typed=(KeyError,)), seed=1, seconds=0).finding is None


def test_the_same_seed_makes_the_same_inputs() -> None:
    """A failure can be made again from the seed that is printed."""
    runs: list[list[int]] = [[], [], []]
    for inputs, seed in zip(runs, (1, 1, 2), strict=True):
        fuzz(_surface(inputs.append), seed=seed, seconds=0)
    assert runs[0] == runs[1] != runs[2]


def test_rounds_go_on_until_the_time_is_over() -> None:
    """A surface is fed for its seconds, and the report says how much was fed in them."""
    clock = FakeClock()
    report = fuzz(
        _surface(lambda number: clock.sleep(0.1), batch=2), seed=1, seconds=50, clock=clock, examples=100
    )
    assert report.inputs == 600  # the third round of 100 examples begins at 40 s
    assert report.seconds == pytest.approx(60)


@pytest.mark.parametrize(("feed", "code"), [(abs, 0), (_refuse_large, 1)])
def test_the_command_fails_when_an_input_did(
    feed: Any, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command prints the seed, the count of each surface and the input that failed, and its exit code says so."""
    monkeypatch.setattr(command, "SURFACES", (_surface(feed),))
    monkeypatch.setenv("FUZZ_SECONDS", "0")
    monkeypatch.setenv("FUZZ_SEED", "5")
    assert command.main([]) == code
    shown = capsys.readouterr().out
    assert "Seed 5," in shown
    assert re.search(r"^numbers +[\d,]+ +[\d,]+ +(clean|FAILED)$", shown, re.MULTILINE)
    assert ("FUZZ_SEED=5 finds the input\n  1000\n" in shown) == bool(code)


def test_an_unknown_surface_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A surface that does not exist is an error, and not a clean run of none."""
    assert command.main(["phones"]) == 2
    assert "phone cells" in capsys.readouterr().out


def test_the_table_adds_up() -> None:
    """The last line of the table has the inputs of all surfaces."""
    lines = command.table_of([Report("one", 1_000, 2.0), Report("two", 500_000, 1.0)])
    assert lines[-1].split() == ["all", "501,000", "167,000"]
