"""docs/testing.md: its code runs, here and in a project that is not ours, in a fresh environment from the wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.testing import Crash, WatiSandbox, replay
from tests.conftest import needs_task_state_store
from tests.docs.test_docs import python_blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.md"
DAG, TEST, SANDBOX, _, PREPARE = python_blocks(PAGE)
#: Seconds that a fresh environment and its test may take on a slow machine.
PATIENCE = 900


def write_project(folder: Path) -> None:
    """Write the project of the page."""
    for name, content in (("dags/shop.py", DAG), ("tests/test_shop.py", TEST)):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(content)


def run_its_tests(python: str, folder: Path) -> subprocess.CompletedProcess[str]:
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "PYTEST", "PYTHON"))
    }
    environment = {**own, "AIRFLOW_HOME": str(folder / "home")}
    return subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_the_test_of_the_page_is_short() -> None:
    """A DAG is tested in under 20 lines."""
    assert len(TEST.splitlines()) < 20


def test_the_sandbox_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The block about the sandbox runs as it stands, and the failure that the page shows is the one that comes."""
    exec(SANDBOX, {})
    failing = SANDBOX.replace('params={"name": "Ada"}', 'params={"name": "Eva"}')
    with pytest.raises(AssertionError) as raised:
        exec(failing, {})
    [shown] = re.findall(r"^```text\nAssertionError: (.*?)\n```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert str(raised.value) == shown


def test_a_run_gets_a_state_path_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The function of the page names an empty directory, another one with each run."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    exec(PREPARE, names)
    found = set()
    for _ in range(2):
        names["prepare"](None)
        found.add(os.environ["AIRFLOW__WATI__STATE_PATH"])
    assert {str(each) for each in tmp_path.iterdir()} == found
    assert len(found) == 2


def test_the_page_names_every_method_and_crash() -> None:
    """The tables of the page have all public methods of the sandbox that a test uses, and all kinds of crashes."""
    page = PAGE.read_text()
    inner = {"fork", "sync", "control", "server", "url", "endpoint", "connection", "client"}
    methods = {name for name in dir(WatiSandbox) if not name.startswith("_")} - inner
    assert {name for name in methods if f"`{name}" not in page} == set()
    assert {crash.name for crash in Crash if f"| `{crash.name}` |" not in page} == set()


@needs_task_state_store
def test_the_project_of_the_page(tmp_path: Path) -> None:
    """The project of the page passes its test."""
    write_project(tmp_path)
    done = run_its_tests(sys.executable, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@needs_task_state_store
def test_a_project_that_is_not_ours(tmp_path: Path) -> None:
    """In a fresh environment with nothing but the wheel and its extra, the project of the page passes its test."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not Path(uv).is_file():
        pytest.skip("uv is not installed")
    build = [uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(ROOT)]
    made = subprocess.run(build, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if made.returncode != 0 and is_offline(made.stderr):
        pytest.skip("the package index cannot be reached")
    assert made.returncode == 0, made.stderr
    [wheel] = (tmp_path / "dist").glob("*.whl")
    venv = tmp_path / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    install = [
        *(uv, "pip", "install", "--quiet", "--prerelease", "allow", "--python", str(venv / "bin" / "python")),
        f"airflow-provider-wati[testing] @ file://{wheel}",
        f"apache-airflow=={version('apache-airflow')}",
    ]
    installed = subprocess.run(install, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if installed.returncode != 0 and is_offline(installed.stderr):
        pytest.skip("the package index cannot be reached")
    assert installed.returncode == 0, installed.stderr
    write_project(tmp_path / "project")
    done = run_its_tests(str(venv / "bin" / "python"), tmp_path / "project")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def is_offline(said: str) -> bool:
    """Return whether a command has failed because there is no network."""
    return bool(
        re.search(r"(?i)dns error|error sending request|connect|network|timed out|resolve host", said)
    )


@needs_task_state_store
def test_the_report_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the page shows is how the report on the hand-written task of migrating.md begins, but for its times."""
    from tests.docs.test_docs import dag_in

    (tmp_path / "dags").mkdir()
    monkeypatch.chdir(tmp_path)
    by_hand, _ = python_blocks(ROOT / "docs" / "migrating.md")
    dag = dag_in(by_hand, Path("dags/shop.py"))
    with WatiSandbox() as wati, pytest.raises(AssertionError) as raised:
        replay(dag, wati)
    [shown] = re.findall(r"^```text\n(Replay of .*?)\n```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert without_times(str(raised.value)).startswith(without_times(shown))


def without_times(report: str) -> str:
    return re.sub(r"\d\d:\d\d:\d\d|\d+\.\d s", "TIME", report)
