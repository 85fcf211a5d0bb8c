"""``make matrix``: which Airflows it runs, on which Pythons, on what code, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.ui.announced import CHECKOUT

#: Where the wheel's tests run there is no checkout to build one of.
needs_checkout = pytest.mark.skipif(not (CHECKOUT / "Makefile").exists(), reason="needs the checkout")

REPORT = """<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3" time="1.5"></testsuite></testsuites>"""


@pytest.fixture
def matrix(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``scripts/matrix.py`` as a module."""
    spec = spec_from_file_location("matrix_script", CHECKOUT / "scripts" / "matrix.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def test_every_supported_airflow_is_there(matrix: ModuleType) -> None:
    """The floor itself, the newest of each series that the workflows have, and the pre-release."""
    assert [series.name for series in matrix.SERIES] == ["3.1.0", "3.1", "3.2", "3.3", "3.4"]
    first = matrix.SERIES[0]
    assert "apache-airflow==3.1.0" in first.requirements
    assert {series.python for series in matrix.SERIES} == set(matrix.PYTHONS)
    assert all(series.python <= series.newest_python for series in matrix.SERIES)


def test_what_is_selected_exists(matrix: ModuleType) -> None:
    """A test that is renamed does not fall out of the selection, and what is copied is there to copy."""
    for path in (*matrix.SELECTION, *matrix.COPIED):
        assert (CHECKOUT / path).exists(), path


@pytest.mark.parametrize(
    ("here", "expected"),
    [
        (("3.11", "3.12", "3.13", "3.14"), ["3.11", "3.13", "3.12", "3.14", "3.12"]),
        (("3.11", "3.13"), ["3.11", "3.13", "3.13", "3.13", "3.13"]),
        (("3.11",), ["3.11"] * 5),
        (("3.14",), [None, None, "3.14", "3.14", "3.14"]),
    ],
)
def test_each_airflow_gets_its_python_or_the_newest_that_it_supports(
    here: tuple[str, ...], expected: list[str | None], matrix: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a Python is not to be had, another one takes its place, and never one that the Airflow does not support."""
    monkeypatch.setattr(matrix, "interpreter", lambda version: version if version in here else None)
    assert [matrix.python_for(series) for series in matrix.SERIES] == expected


def test_this_python_is_found(matrix: ModuleType) -> None:
    """The interpreter of a version is one that starts and has that version."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert matrix.interpreter(version) == sys.executable


def test_a_report_is_counted(matrix: ModuleType, tmp_path: Path) -> None:
    """Errors count as failures, and what was neither skipped nor failed has passed."""
    (tmp_path / "report.xml").write_text(REPORT)
    result = matrix.Result("3.1.0", "3.11.7")
    matrix.count(tmp_path / "report.xml", result)
    assert (result.passed, result.skipped, result.failed, result.is_good) == (3, 3, 3, False)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "passed"),
        ({"failed": 1}, "FAILED"),
        ({"passed": 0}, "NO TEST RAN"),
        ({"problem": "NO PYTHON"}, "NO PYTHON"),
    ],
)
def test_the_table_and_the_exit_code_tell_what_happened(
    change: dict[str, Any],
    verdict: str,
    matrix: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One Airflow that fails, cannot be installed or runs no test makes all of it fail."""

    def result_of(series: Any, *_: object) -> Any:
        counts = {"passed": 5, **change} if series.name == "3.2" else {"passed": 5}
        return matrix.Result(series.name, "3.11.7", **counts)

    monkeypatch.setattr(matrix, "result_of", result_of)
    monkeypatch.setattr(matrix, "build_wheel", lambda folder: folder)
    monkeypatch.setattr(matrix, "copy_tests", lambda folder: None)
    monkeypatch.setattr(sys, "argv", ["matrix"])
    assert matrix.main() == bool(change)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines[-5:]) == len(matrix.SERIES)
    assert [line.endswith("  passed") for line in lines[-5:]] == [True, True, not change, True, True]
    assert lines[-3].endswith(verdict)


@needs_checkout
def test_the_checkout_is_not_taken_for_the_wheel(matrix: ModuleType, tmp_path: Path) -> None:
    """In an environment that has the checkout installed, nothing is tested, and the result says why."""
    result = matrix.run_tests(sys.executable, tmp_path, ["nothing"], {})
    assert "THE WHEEL IS NOT WHAT IS IMPORTED" in result.problem
    assert not result.is_good


def test_a_deprecation_about_our_modules_is_an_error(matrix: ModuleType, tmp_path: Path) -> None:
    """The settings of the copied tests raise deprecation warnings about the package, and leave those about others."""
    (tmp_path / "pytest.ini").write_text(matrix.INI)
    (tmp_path / "test_warnings.py").write_text(
        """
import warnings
import pytest

@pytest.mark.parametrize("kind", [DeprecationWarning, PendingDeprecationWarning, FutureWarning])
def test_ours(kind):
    with pytest.raises(kind):
        warnings.warn_explicit("old", kind, "file.py", 1, "airflow_provider_wati.operators.messages")

def test_others():
    warnings.warn_explicit("old", DeprecationWarning, "file.py", 1, "airflow.models")
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:airflow_provider_wati", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


@needs_checkout
def test_the_wheel_is_tested_on_the_installed_airflow() -> None:
    """The script builds the wheel and runs tests of it beside the present environment, from end to end."""
    command = [
        sys.executable,
        "scripts/matrix.py",
        "--installed",
        "tests/unit/test_assets.py",
        "tests/unit/sensors",
    ]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("  passed")
