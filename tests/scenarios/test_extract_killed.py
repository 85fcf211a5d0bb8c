"""A transfer from WATI that is killed at any row leaves no gap and no duplicate."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.postgres import PostgresUnavailableError, running_postgres

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ROOT = Path(__file__).parents[2]
KILLS = 30

Kill = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Database:
    """A database, and Airflow's connection to it."""

    connection: dict[str, Any]
    connect: Callable[[], Any]

    def read(self, query: str) -> list[tuple[Any, ...]]:
        with closing(self.connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(query)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        file = str(tmp_path / "warehouse.db")
        yield Database({"conn_type": "sqlite", "host": file}, lambda: sqlite3.connect(file))
        return
    import psycopg2
    from psycopg2.extensions import parse_dsn

    try:
        with running_postgres() as uri:
            told = parse_dsn(uri)
            connection = {"conn_type": "postgres", "host": told["host"], "login": told["user"]}
            yield Database({**connection, "schema": told["dbname"]}, lambda: psycopg2.connect(uri))
    except PostgresUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def transfer(sandbox: Sandbox, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kill]:
    """Run a transfer in a process of its own, killed at the event ``kill_at``."""
    wati = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "AIRFLOW_CONN_WATI_DEFAULT": json.dumps({**wati, "extra": {"rate_limits": {"*": None}}}),
    }
    if "database" in request.fixturenames:
        connection = request.getfixturevalue("database").connection
        environment["AIRFLOW_CONN_WAREHOUSE"] = json.dumps(connection)
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.killed_extract"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as program,
    ):
        orders, answers = program.stdin, program.stdout
        assert orders is not None
        assert answers is not None

        def run(kind: str, *, kill_at: int | None = None, run_id: str = "r", **arguments: Any) -> Any:
            ahead = sandbox.workspace.clock.now() - time.time()
            order = {
                "class": kind,
                "kill_at": kill_at,
                "run_id": run_id,
                "ahead": ahead,
                "arguments": arguments,
            }
            orders.write(f"{json.dumps(order)}\n")
            orders.flush()
            for line in answers:
                if line.startswith("answer "):
                    answer = json.loads(line.removeprefix("answer "))
                    assert not answer["failed"], (tmp_path / "log").read_text()[-3000:]
                    return answer
            raise AssertionError((tmp_path / "log").read_text()[-3000:])

        yield run
        orders.close()
        program.wait(10)


def rows_of(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        import pyarrow.parquet

        table: list[dict[str, Any]] = pyarrow.parquet.read_table(file).to_pylist()
        return table
    return [json.loads(line) for line in file.read_text().splitlines()]


def rows_in(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of all files by id, the latest of each; no file has one twice, and nothing else is there to be read."""
    found: dict[str, dict[str, Any]] = {}
    visible = [file for file in folder.glob("*") if not file.name.startswith(".")]
    for rows in map(rows_of, visible):
        assert len(rows) == len({row["id"] for row in rows})
        for row in rows:
            if row["id"] not in found or found[row["id"]]["extracted_at"] <= row["extracted_at"]:
                found[row["id"]] = row
    return found


def report(what: str, killed: int, rows: int) -> None:
    print(f"{what}: {killed} kills, {rows} rows, 0 missing, 0 twice")


def write_in(sandbox: Sandbox, chance: random.Random, count: int) -> None:
    """Let hours pass, in which people write."""
    for _ in range(count):
        sandbox.control("POST", "/clock", {"advance": chance.uniform(1, 1200)})
        phone = f"9198{chance.randrange(25):08d}"
        sandbox.control("POST", "/inbound", {"phone": phone, "text": f"{chance.random()}"})


def messages_of(sandbox: Sandbox) -> dict[str, str | None]:
    client = sandbox.client()
    return {
        str(message["id"]): message.get("text")
        for talk in client.iter_conversations()
        for message in client.iter_messages(talk["id"])
    }


def test_a_table_of_messages_survives_kills_at_any_row(
    sandbox: Sandbox, transfer: Kill, database: Database
) -> None:
    """After each of many kills, at rows, statements and commits, one more run brings the table to what WATI has."""
    chance = random.Random(13)
    settings = {"table": "messages", "sql_conn_id": "warehouse"}
    write_in(sandbox, chance, 40)
    total = transfer("WatiMessagesToSqlOperator", **(settings | {"table": "measured"}))["events"]
    killed = 0
    for n in range(KILLS):
        answer = transfer("WatiMessagesToSqlOperator", kill_at=chance.randint(1, total), **settings)
        killed += answer["killed"]
        if n % 2:
            # Every other kill is followed by a second one, without a run between them that comes to its end.
            done = transfer("WatiMessagesToSqlOperator", **settings)
            total = max(done["events"], 20)
            rows = database.read("SELECT id, text FROM messages")
            assert len(rows) == len(dict(rows))
            assert dict(rows) == messages_of(sandbox)
        write_in(sandbox, chance, 8)
    assert killed >= 20
    report("messages to a table", killed, len(rows))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_files_of_messages_survive_kills_at_any_row(
    sandbox: Sandbox, transfer: Kill, tmp_path: Path, suffix: str
) -> None:
    """The files of all runs have every message, no file has one twice, and a killed run leaves no part of a file."""
    chance = random.Random(7)
    kind = "WatiMessagesToFileOperator"
    write_in(sandbox, chance, 40)
    measured = {"path": str(tmp_path / "other" / f"m.{suffix}"), "state_path": str(tmp_path / "other")}
    total = transfer(kind, **measured)["events"]
    killed = 0
    for n in range(KILLS):
        # Of the killed runs, some are tried again, and some are given up: the next run has another file.
        name = n // 2 if n % 4 < 2 else 100 + n
        settings = {"path": str(tmp_path / f"files/{name}.{suffix}"), "state_path": str(tmp_path / "state")}
        killed += transfer(kind, kill_at=chance.randint(1, total), run_id=str(name), **settings)["killed"]
        if n % 2:
            settings["path"] = str(tmp_path / f"files/{n // 2}.{suffix}")
            total = max(transfer(kind, run_id=str(n // 2), **settings)["events"], 20)
            found = {id: row["text"] for id, row in rows_in(tmp_path / "files").items()}
            assert found == messages_of(sandbox)
        write_in(sandbox, chance, 8)
    assert killed >= 20
    # Later files have what is new, and not everything again.
    sizes = [len(rows_of(tmp_path / f"files/{n}.{suffix}")) for n in range(KILLS // 2)]
    assert max(sizes[1:]) < len(found) / 2
    report(f"messages to {suffix}", killed, len(found))


def test_a_table_of_recipients_survives_kills_at_any_row(
    sandbox: Sandbox, transfer: Kill, database: Database
) -> None:
    """After kills at any row, the recipients of all campaigns are in the table once, each with its latest status."""
    chance = random.Random(3)
    kind, settings = (
        "WatiCampaignRecipientsToSqlOperator",
        {"table": "recipients", "sql_conn_id": "warehouse"},
    )
    total = 400
    killed = 0
    for n in range(KILLS):
        send_campaign(sandbox, chance, f"campaign {n}")
        sandbox.control("POST", "/clock", {"advance": chance.uniform(0, 30)})
        killed += transfer(kind, kill_at=chance.randint(1, total), **settings)["killed"]
        if n % 3 == 2:
            total = max(transfer(kind, **settings)["events"], 20)
            ids = [id for (id,) in database.read("SELECT id FROM recipients")]
            assert sorted(ids) == sorted(recipients_of(sandbox))
    assert killed >= 20
    sandbox.control("POST", "/clock", {"advance": 3600})
    transfer(kind, **settings)
    listed = recipients_of(sandbox)
    assert dict(database.read("SELECT id, status FROM recipients")) == listed
    report("recipients to a table", killed, len(listed))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_files_of_recipients_survive_kills_at_any_row(
    sandbox: Sandbox, transfer: Kill, tmp_path: Path, suffix: str
) -> None:
    """The latest rows of the files of all runs are the recipients as WATI lists them."""
    chance = random.Random(5)
    kind = "WatiCampaignRecipientsToFileOperator"
    total, killed = 400, 0
    for n in range(KILLS):
        send_campaign(sandbox, chance, f"campaign {n}")
        sandbox.control("POST", "/clock", {"advance": chance.uniform(0, 30)})
        settings = {
            "path": str(tmp_path / f"files/{n // 2}.{suffix}"),
            "state_path": str(tmp_path / "state"),
        }
        killed += transfer(kind, kill_at=chance.randint(1, total), run_id=str(n // 2), **settings)["killed"]
        if n % 2:
            total = max(transfer(kind, run_id=str(n // 2), **settings)["events"], 20)
            assert set(rows_in(tmp_path / "files")) == set(recipients_of(sandbox))
    assert killed >= 20
    sandbox.control("POST", "/clock", {"advance": 3600})
    last = {"path": str(tmp_path / f"files/last.{suffix}"), "state_path": str(tmp_path / "state")}
    transfer(kind, run_id="last", **last)
    found = {id: row["status"] for id, row in rows_in(tmp_path / "files").items()}
    assert found == recipients_of(sandbox)
    report(f"recipients to {suffix}", killed, len(found))


def send_campaign(sandbox: Sandbox, chance: random.Random, name: str) -> None:
    """Send to up to 150 of 400 people."""
    phones = {f"9198{chance.randrange(400):08d}" for _ in range(150)}
    people = [{"phone_number": phone} for phone in sorted(phones)]
    sandbox.client().send_template_messages("welcome", name, people)


def recipients_of(sandbox: Sandbox) -> dict[str, str]:
    client = sandbox.client()
    return {
        str(recipient["id"]): str(recipient["status"])
        for campaign in client.iter_campaigns()
        for recipient in client.iter_campaign_recipients(campaign["id"])
    }


def change_contacts(sandbox: Sandbox, chance: random.Random) -> None:
    """Let people come, and let some of those who are there opt out or in."""
    people = [
        {"phone": f"9198{chance.randrange(500):08d}", "allow_broadcast": chance.random() < 0.5}
        for _ in range(30)
    ]
    sandbox.control("POST", "/contacts", {"contacts": people})


def contacts_of(sandbox: Sandbox) -> dict[str, bool]:
    return {str(contact["id"]): contact["allow_broadcast"] for contact in sandbox.client().iter_contacts()}


def test_a_table_of_contacts_survives_kills_at_any_row(
    sandbox: Sandbox, transfer: Kill, database: Database
) -> None:
    """After each of many kills, one more run brings the table to the contacts and the consent that WATI has."""
    chance = random.Random(11)
    kind, settings = "WatiContactsToSqlOperator", {"table": "contacts", "sql_conn_id": "warehouse"}
    sandbox.control("POST", "/contacts", {"count": 150})
    total = transfer(kind, **(settings | {"table": "measured"}))["events"]
    killed = 0
    for n in range(KILLS):
        change_contacts(sandbox, chance)
        killed += transfer(kind, kill_at=chance.randint(1, total), **settings)["killed"]
        if n % 2:
            total = max(transfer(kind, **settings)["events"], 20)
            rows = database.read("SELECT id, allow_broadcast FROM contacts")
            assert len(rows) == len(dict(rows))
            assert {id: bool(allowed) for id, allowed in rows} == contacts_of(sandbox)
    assert killed >= 20
    report("contacts to a table", killed, len(rows))


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_file_of_contacts_survives_kills_at_any_row(
    sandbox: Sandbox, transfer: Kill, tmp_path: Path, suffix: str
) -> None:
    """After a kill, the file is the one before or the new one, whole; after a run, it has all contacts once."""
    chance = random.Random(17)
    kind, settings = "WatiContactsToFileOperator", {"path": str(tmp_path / f"files/contacts.{suffix}")}
    sandbox.control("POST", "/contacts", {"count": 150})
    total = transfer(kind, **settings)["events"]
    killed = 0
    for n in range(KILLS):
        before = {id: row["allow_broadcast"] for id, row in rows_in(tmp_path / "files").items()}
        change_contacts(sandbox, chance)
        killed += transfer(kind, kill_at=chance.randint(1, total), **settings)["killed"]
        after = {id: row["allow_broadcast"] for id, row in rows_in(tmp_path / "files").items()}
        assert after in (before, contacts_of(sandbox))
        if n % 2:
            total = transfer(kind, **settings)["events"]
            found = {id: row["allow_broadcast"] for id, row in rows_in(tmp_path / "files").items()}
            assert found == contacts_of(sandbox)
    assert killed >= 20
    report(f"contacts to {suffix}", killed, len(found))
