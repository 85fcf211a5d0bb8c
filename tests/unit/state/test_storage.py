"""Local files with people's data: nobody but their owner reads them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_wati.operators._files import open_table
from airflow_provider_wati.operators.messages import WatiGetMediaOperator
from airflow_provider_wati.state.directory import StateDirectory, StateFile
from airflow_provider_wati.state.journal_store import DirectoryJournalStore
from airflow_provider_wati.state.lock import locked
from airflow_provider_wati.state.storage import make_private_directory, replacing, storage_path
from airflow_provider_wati.syncing.snapshot import write_snapshot
from airflow_provider_wati.tables.scratch_db import open_scratch_db

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.support.tasks import Execute


@pytest.fixture
def sandbox(quick_sandbox: Sandbox) -> Sandbox:
    return quick_sandbox


@pytest.fixture(params=[0o022, 0o000], ids=["umask 022", "umask 000"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """An usual umask, and one that hides nothing."""
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def write_table(root: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        with open_table(f"{root}/outcomes.{suffix}", ["target"]) as write:
            write([("85264318722",)])


def write_journal(root: Path) -> None:
    DirectoryJournalStore(StateDirectory(str(root)), "send", "0", "token").append("{}", fenced=True)


def write_contacts(root: Path) -> None:
    path = StateDirectory(str(root)).path_of("contacts", ".jsonl.gz")
    write_snapshot(StateFile(path), [], [("85264318722", 1, 1, "Ada", None, "")])


WRITERS: dict[str, Callable[[Path], None]] = {
    "tables": write_table,
    "journal": write_journal,
    "snapshot": write_contacts,
}


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("writer", WRITERS)
def test_files_are_for_their_owner_alone(writer: str, tmp_path: Path) -> None:
    """Files have mode 0600 and the directories made for them 0700, whatever the umask."""
    WRITERS[writer](tmp_path / "new" / "newer")
    created = list(tmp_path.rglob("*"))
    assert len(created) > 2
    for path in created:
        assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.usefixtures("umask")
def test_a_lock_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """A lock file has mode 0600 and its directory 0700."""
    with locked(StateDirectory(f"{tmp_path}/new/newer"), "sync", "The sync", "me"):
        modes = {path.name: mode_of(path) for path in tmp_path.rglob("*")}
    assert modes == {"new": 0o700, "newer": 0o700, "sync.lock": 0o600}


@pytest.mark.usefixtures("umask")
def test_media_are_for_their_owner_alone(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """A fetched file has mode 0600 and its directory 0700."""
    media = {"file_name": "a.jpg", "mime_type": "image/jpeg", "data": "QQ=="}
    message = sandbox.control("POST", "/inbound", {"phone": "12025550144", "media": media})["message"]
    execute(WatiGetMediaOperator(task_id="a", message_id=message["id"], destination=f"{tmp_path}/in/"))
    [file] = (tmp_path / "in").iterdir()
    assert (mode_of(file), mode_of(file.parent)) == (0o600, 0o700)


@pytest.mark.usefixtures("umask")
def test_a_file_is_private_from_its_first_byte_on(tmp_path: Path) -> None:
    """A file that is being written has mode 0600 before anything is in it, also under its temporary name."""
    with replacing(storage_path(f"{tmp_path}/a.csv")):
        [file] = tmp_path.iterdir()
        assert (file.name != "a.csv", mode_of(file)) == (True, 0o600)


@pytest.mark.usefixtures("umask")
def test_a_public_file_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    """A file that others could read is not readable for them after it is written again; its directory stays."""
    tmp_path.chmod(0o755)
    (tmp_path / "a.csv").write_text("old")
    (tmp_path / "a.csv").chmod(0o666)
    with replacing(storage_path(f"{tmp_path}/a.csv")) as file:
        file.write(b"new")
    assert (mode_of(tmp_path / "a.csv"), mode_of(tmp_path)) == (0o600, 0o755)


@pytest.mark.usefixtures("umask")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are listed on Linux only")
def test_scratch_databases_are_for_their_owner_alone() -> None:
    """The file of a scratch database has mode 0600 and no name."""
    database = open_scratch_db()
    database.execute("CREATE TABLE t (text)")
    database.execute("PRAGMA cache_size = 1")
    database.executemany("INSERT INTO t VALUES (?)", (("x" * 1_000,) for _ in range(1_000)))
    opened = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    files = [path for path in opened if "etilqs_" in os.readlink(path)]
    assert files
    assert {mode_of(path) for path in files} == {0o600}
    database.close()


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    """Only directories that are created are made private."""
    tmp_path.chmod(0o755)
    make_private_directory(f"{tmp_path}/a/b")
    make_private_directory(f"{tmp_path}/a/b")
    assert [mode_of(tmp_path / name) for name in ("", "a", "a/b")] == [0o755, 0o700, 0o700]


def test_a_file_in_the_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    """A file where a directory has to be is named in the error and stays."""
    (tmp_path / "a").write_text("kept")
    with pytest.raises(NotADirectoryError), replacing(storage_path(f"{tmp_path}/a/b/c.csv")):
        pass
    assert (tmp_path / "a").read_text() == "kept"


def test_object_storage_has_no_modes(bucket: str) -> None:
    """A file in object storage is written as before."""
    with replacing(storage_path(f"{bucket}/a.csv")) as file:
        file.write(b"data")
    assert storage_path(f"{bucket}/a.csv").read_bytes() == b"data"


def test_a_name_is_on_the_disk_before_the_file_counts_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure a journal entry is found: the file, its name and new directories are synced."""
    synced: list[str] = []

    def sync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", sync)
    with replacing(storage_path(str(tmp_path / "a" / "b" / "entry.json"))) as file:
        file.write(b"1")
    directories = [str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")]
    assert [path for path in synced if path in directories] == directories
    assert synced[-1] == directories[-1]
