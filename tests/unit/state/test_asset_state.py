"""State of an asset in the user's directory."""

from __future__ import annotations

import multiprocessing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.listening.claims import Claims
from airflow_provider_wati.state import asset_state
from airflow_provider_wati.state.asset_state import asset_lock, asset_state as state_of

ASSET = "wati://wati_default/messages"


def ask(path: str, number: int, all_ready: Any, given: Any) -> None:
    """Take messages that the runs beside this one want too."""
    state = state_of(ASSET, path)
    assert state is not None
    claims = Claims(state, "dag", f"run {number}", asset_lock(ASSET, "dag", path))
    all_ready.wait()
    given.put(sorted(claims.take([str(number + more) for more in range(4)])))


def test_each_message_has_one_run_of_many_processes_that_ask_at_the_same_time(tmp_path: Path) -> None:
    """Of four tasks on one machine that share messages, each message is given to one."""
    # Airflow is imported already: a new process takes seconds for that.
    processes = multiprocessing.get_context("fork")
    all_ready, given = processes.Barrier(4), processes.Queue()
    tasks = [processes.Process(target=ask, args=(str(tmp_path), n, all_ready, given)) for n in range(4)]
    for task in tasks:
        task.start()
    taken = [given.get(timeout=60) for _ in tasks]
    for task in tasks:
        task.join()
    assert sorted(id for ids in taken for id in ids) == sorted(map(str, range(7)))


def test_a_lock_that_others_keep_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits in vain is told so, and may be retried; afterwards the lock is free."""
    monkeypatch.setattr(asset_state, "_MOST_WAIT", 0.1)
    lock = asset_lock(ASSET, "dag", str(tmp_path))
    assert lock is not None
    with lock() as held:
        held.check()
        with pytest.raises(WatiError, match="retried"), lock():
            pytest.fail("it is not free")
    with lock():
        pass


def test_only_a_local_directory_has_a_lock() -> None:
    """Object storage and Airflow's store have none."""
    assert asset_lock(ASSET, "dag", "memory://state") is None
    assert asset_lock(ASSET, "dag", None) is None


def test_assets_are_kept_apart(tmp_path: Path) -> None:
    """What is in a directory is found by the asset's name, and no other asset has it."""
    state, other = state_of(ASSET, str(tmp_path)), state_of("wati://other/messages", str(tmp_path))
    assert state is not None
    assert other is not None
    state.set("wati_position", {"since": "x"})
    again = state_of(ASSET, str(tmp_path))
    assert again is not None
    assert (again.get("wati_position"), other.get("wati_position")) == ({"since": "x"}, None)


@pytest.mark.slow
@pytest.mark.skipif(
    Version(version("apache-airflow")) < Version("3.3"), reason="Airflow keeps state of assets from 3.3 on"
)
def test_a_directory_outlives_what_airflow_forgets(airflow_database: None, tmp_path: Path) -> None:
    """Airflow's scheduler empties the state of an asset that no DAG names, as the documentation says; a directory keeps it."""
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.models.asset import AssetModel
    from airflow.models.asset_state_store import AssetStateStoreModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    name = "wati://away/messages"
    state = state_of(name, str(tmp_path))
    assert state is not None
    state.set("wati_position", {"since": "x"})
    with create_session(scoped=False) as session:
        asset = AssetModel(name=name, uri=name, group="asset")
        session.add(asset)
        session.flush()
        id = asset.id
        session.add(AssetStateStoreModel(asset_id=id, key="wati_position", value="{}"))
    with create_session(scoped=False) as session:
        SchedulerJobRunner._cleanup_orphaned_asset_state_store(session=session)
    with create_session(scoped=False) as session:
        of_asset = select(AssetStateStoreModel.key).where(AssetStateStoreModel.asset_id == id)
        assert session.scalars(of_asset).all() == []
    assert state.get("wati_position") == {"since": "x"}
