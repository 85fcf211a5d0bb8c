"""Where state is kept: what a reader finds whatever becomes of the writer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.state.directory import StateDirectory
from airflow_provider_wati.state.storage import replacing


@pytest.fixture(params=["local", "remote"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> StateDirectory:
    """A directory, and a place in object storage."""
    if request.param == "remote":
        return StateDirectory(request.getfixturevalue("bucket"))
    return StateDirectory(str(tmp_path / "state"))


def test_an_entry_comes_back_as_it_was(directory: StateDirectory) -> None:
    """Each write replaces the one before, and entries are apart."""
    assert directory.get("send") is None
    values: tuple[dict[str, Any], ...] = ({"batches": {"1": "abc"}}, {"batches": {}})
    for value in values:
        directory.set("send", value)
        assert directory.get("send") == value
    assert directory.get("another") is None


def test_a_writer_that_fails_half_way_leaves_the_old_one(directory: StateDirectory) -> None:
    """A reader finds the old entry or the new one, and never half of it."""
    directory.set("send", "old")

    def fail() -> None:
        with replacing(directory.path_of("send")) as file:
            file.write(b'"ne')
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        fail()
    assert directory.get("send") == "old"


@pytest.mark.parametrize("garbage", [b"\x00 garbage", b"\xff\xfe", b"", b"[" * 100_000], ids=range(4))
def test_what_is_not_ours_is_not_taken_for_nothing(garbage: bytes, directory: StateDirectory) -> None:
    """A damaged file is an error with its path, because an empty state could message people twice."""
    with replacing(directory.path_of("send")) as file:
        file.write(garbage)
    with pytest.raises(WatiConfigurationError, match="is not the state that was written there"):
        directory.get("send")
