"""Where state is kept: what a reader finds whatever becomes of the writer."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.state.directory import StateDirectory, replacing


@pytest.fixture(params=["local", "remote"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> StateDirectory:
    if request.param == "remote":
        return StateDirectory(request.getfixturevalue("bucket"))
    return StateDirectory(str(tmp_path / "state"))


def test_an_entry_comes_back_as_it_was(directory: StateDirectory) -> None:
    assert directory.get("send") is None
    for value in ({"batches": {"1": "abc"}}, {"batches": {}}):
        directory.set("send", value)
        assert directory.get("send") == value
    assert directory.get("another") is None


def test_a_writer_that_fails_half_way_leaves_the_old_one(directory: StateDirectory) -> None:
    directory.set("send", "old")

    def fail() -> None:
        with replacing(directory.path_of("send")) as file:
            file.write(b'"ne')
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        fail()
    assert directory.get("send") == "old"


def test_what_is_not_ours_is_not_taken_for_nothing(directory: StateDirectory) -> None:
    with replacing(directory.path_of("send")) as file:
        file.write(b"\x00 garbage")
    with pytest.raises(WatiConfigurationError, match="is not the state that was written there"):
        directory.get("send")
