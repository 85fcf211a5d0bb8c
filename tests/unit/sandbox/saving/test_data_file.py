"""The file of ``--data``: whole or not at all, private, and never written over what is not ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.sandbox.__main__ import main
from airflow_provider_wati.sandbox.saving.data_file import DataFile, DataFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORDS: list[dict[str, Any]] = [
    {"kind": "workspace", "teams": ["Zoë"]},
    {"kind": "messages", "rows": [[1, "\u202e"]]},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox.data"


def written(path: Path) -> bytes:
    with DataFile(path) as data:
        data.write(RECORDS)
    return path.read_bytes()


def test_what_was_written_is_read(path: Path) -> None:
    """Records come back as they were; without a file there are none."""
    with DataFile(path) as data:
        assert data.read() is None
        data.write(RECORDS)
        assert data.read() == RECORDS


def test_only_the_owner_may_read(path: Path) -> None:
    """The file is private, also where it was open to others or the umask allows everything."""
    path.touch(0o666)
    before = os.umask(0)
    try:
        written(path)
    finally:
        os.umask(before)
    assert {each.stat().st_mode & 0o777 for each in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_file_that_is_cut_off_is_refused_and_stays(path: Path, cut: int) -> None:
    """A file that lacks any part of its end is damaged, and no byte of it changes."""
    raw = written(path)[:-cut]
    path.write_bytes(raw)
    with DataFile(path) as data, pytest.raises(DataFileError, match="is damaged, and stays as it is"):
        data.read()
    assert path.read_bytes() == raw


def test_every_changed_byte_is_noticed(path: Path) -> None:
    """A bit that is wrong, wherever it is, makes the file damaged or foreign."""
    raw = written(path)
    for place in range(len(raw)):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        with DataFile(path) as data, pytest.raises(DataFileError):
            data.read()


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a,b\n1,2\n", b"{}", b'{"format":"other"}\n', b"SQLite format 3\0"]
)
def test_a_foreign_file_is_refused_by_the_command_and_stays(
    path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command does not start with a file of another kind, says so, and leaves it as it is."""
    path.write_bytes(content)
    assert main(["--data", str(path), "--port", "0"]) == 1
    assert "is not a file of the sandbox, and stays as it is" in capsys.readouterr().err
    assert path.read_bytes() == content


def test_no_file_is_not_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty name, as of a variable that is not set, is refused: the data would be kept nowhere."""
    assert main(["--data", "", "--port", "0"]) == 1
    assert "--data needs the name of a file" in capsys.readouterr().err


def test_another_version_is_refused(path: Path) -> None:
    """A file of a newer format is refused with both versions."""
    raw = written(path).replace(b'"version":1', b'"version":2')
    path.write_bytes(raw)
    with DataFile(path) as data, pytest.raises(DataFileError, match="has version 2 .* this sandbox reads 1"):
        data.read()
    assert path.read_bytes() == raw


def test_a_file_that_was_written_by_hand_is_damaged(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Records with a right checksum that are no workspace are refused too."""
    raw = written(path)
    assert main(["--data", str(path), "--port", "0"]) == 1
    assert "is damaged" in capsys.readouterr().err
    assert path.read_bytes() == raw


def test_two_sandboxes_do_not_share_a_file(path: Path) -> None:
    """The second one is refused until the first has ended."""
    with DataFile(path), pytest.raises(DataFileError, match="Another sandbox uses"):
        DataFile(path).lock()
    with DataFile(path):
        pass


def test_a_write_that_fails_leaves_the_file(path: Path) -> None:
    """When not all records can be written, the file has those that it had."""
    raw = written(path)

    def broken() -> Iterator[dict[str, Any]]:
        yield RECORDS[0]
        raise OSError(28, "No space left on device")

    with DataFile(path) as data:
        with pytest.raises(OSError, match="No space left"):
            data.write(broken())
        assert path.read_bytes() == raw
        data.write(RECORDS)
        assert data.read() == RECORDS


def test_a_link_is_followed_and_stays_a_link(path: Path) -> None:
    """A link to the file stays one, and the file behind it is written."""
    link = path.with_name("link")
    link.symlink_to(path)
    written(link)
    assert link.is_symlink()
    assert path.is_file()


def test_a_directory_that_is_not_there_is_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path in a directory that does not exist is refused at the start."""
    assert main(["--data", str(path / "nowhere" / "file"), "--port", "0"]) == 1
    assert "cannot be written to" in capsys.readouterr().err
