"""What WATI lists is odd: each contact costs itself at most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.state.directory import StateDirectory, StateFile
from airflow_provider_wati.syncing.job import ContactSync
from airflow_provider_wati.syncing.row_mapping import ContactColumns
from tests.support.clients import client_of
from tests.support.scripted_server import ScriptedServer, Step, answer, serving
from tests.support.syncer import outcomes_of

GOOD, ODD = "919700000001", "919700000002"
HALF = "Ada \ud83d"


def contact(phone: Any, *params: Any, **fields: Any) -> dict[str, Any]:
    return {
        "id": f"c{phone}",
        "wa_id": phone,
        "phone": phone,
        "name": "Ada",
        "custom_params": list(params),
        **fields,
    }


def tier(value: Any) -> dict[str, Any]:
    return {"name": "tier", "value": value}


ODDITIES: dict[str, Any] = {
    "half emoji in name": contact(ODD, tier("old"), name=HALF),
    "half emoji in value": contact(ODD, tier(HALF)),
    "half emoji in attribute": contact(ODD, {"name": "tier \udc00", "value": "x"}),
    "half emoji in phone": contact(ODD + "\ud83d"),
    "phone is a number": contact(int(ODD)),
    "phone is a float": contact(float(ODD)),
    "phone is a list": contact([ODD]),
    "phone is a BSUID": contact("US." + "1234567890" * 5),
    "phone is too long": contact("+" + "9" * 41),
    "phone is true": contact(True),
    "attribute without name": contact(ODD, {"value": "x"}),
    "attribute is null": contact(ODD, None),
    "attribute name is a number": contact(ODD, {"name": 7, "value": "x"}),
    "attributes as dict": contact(ODD, custom_params={"tier": "old"}),
    "attributes null": contact(ODD, custom_params=None),
    "attributes as text": contact(ODD, custom_params="tier"),
    "value is a list": contact(ODD, tier(["a"])),
    "value is a dict": contact(ODD, tier({"a": HALF})),
    "value is a long number": contact(ODD, tier(10**300)),
    "value is not a number": contact(ODD, tier(float("nan"))),
    "list as name": contact(ODD, name=["Ada"]),
    "number as name": contact(ODD, name=7),
    "null row": None,
    "list as row": [1],
}


@contextmanager
def listing(*contacts: Any, then: tuple[Step, ...] = ()) -> Iterator[ScriptedServer]:
    """A server that counts and lists contacts; an empty page ends the list."""
    pages = [answer(200, {"contact_list": listed}) for listed in (list(contacts), [])]
    with serving(answer(200, {"contact_count": len(contacts)}), *pages, *then) as server:
        yield server


class Run:
    """One sync against a scripted server, with its summary."""

    def __init__(
        self, server: ScriptedServer, rows: list[dict[str, Any]], directory: Path | None, **options: Any
    ) -> None:
        snapshot: Any = directory and StateFile(StateDirectory(str(directory)).path_of("sync", ".jsonl.gz"))
        sync = ContactSync(
            client=client_of(server),
            sync_key="key",
            columns=ContactColumns("phone", "name", {"tier": "tier"}),
            snapshot=snapshot,
            **options,
        )
        sync.read(rows)
        sync.run()
        self.summary = sync.summary()
        self.outcomes = outcomes_of(sync)
        sync.close()

    def statuses(self) -> list[str]:
        return [outcome["status"] for outcome in self.outcomes]


def row(phone: str = GOOD, value: Any = "gold") -> dict[str, Any]:
    return {"phone": phone, "name": "Ada", "tier": value}


@pytest.mark.parametrize("odd", ODDITIES)
def test_an_odd_contact_in_the_listing_costs_nobody_else(tmp_path: Path, odd: str) -> None:
    """Findings B2 and B3: a contact that is not in the rows may be as odd as it likes; the next run needs no call."""
    with listing(ODDITIES[odd], contact(GOOD, tier("gold"))) as server:
        assert Run(server, [row()], tmp_path).statuses() == ["unchanged"]
    with serving(answer(500)) as server:
        assert Run(server, [row()], tmp_path).statuses() == ["unchanged"]
        assert server.requests == []


@pytest.mark.parametrize("odd", ODDITIES)
def test_an_odd_contact_in_an_answer_costs_nobody_else(tmp_path: Path, odd: str) -> None:
    """Finding B3: an update is recorded although another contact in its answer is odd."""
    answered = answer(200, {"contact_list": [ODDITIES[odd], contact(GOOD, tier("gold"))]})
    with listing(contact(GOOD, tier("old")), then=(answered,)) as server:
        assert Run(server, [row()], tmp_path).statuses() == ["updated"]


@pytest.mark.parametrize("has_snapshot", [True, False])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("7", 7), ("007", 7), ("1.50", 1.5), ("20.00", 20), (20.0, 20.0), ("-0", 0), ("1e3", 1000.0), (True, True),
        ("12345678901234567890", 1.2345678901234567e19), ("9007199254740993", 9007199254740993),
    ],
)  # fmt: skip
def test_a_number_counts_as_the_text_that_was_written(
    tmp_path: Path, value: Any, shown: Any, has_snapshot: bool
) -> None:
    """Finding B3: a value that WATI returns as a number is written once, and is unchanged in the next run."""
    directory = tmp_path if has_snapshot else None
    answered = answer(200, {"contact_list": [contact(GOOD, tier(shown))]})
    with listing(contact(GOOD, tier("old")), then=(answered,)) as server:
        assert Run(server, [row(value=value)], directory).statuses() == ["updated"]
    with listing(contact(GOOD, tier(shown))) as server:
        assert Run(server, [row(value=value)], directory).statuses() == ["unchanged"]
        assert len(server.requests) == (0 if has_snapshot else 3)


@pytest.mark.parametrize(
    ("value", "shown"), [("7", 8), ("gold", 0), ("true", False), ("", 0), ("1", True), ("nan", 1)]
)
def test_another_number_is_another_value(tmp_path: Path, value: str, shown: Any) -> None:
    """A number that differs from the text is written again, and an answer with it is a rejection."""
    answered = answer(200, {"contact_list": [contact(GOOD, tier(shown))]})
    found = answer(200, contact(GOOD, tier(shown)))
    with listing(contact(GOOD, tier(shown)), then=(answered, found)) as server:
        assert Run(server, [row(value=value)], tmp_path).statuses() == ["rejected"]
