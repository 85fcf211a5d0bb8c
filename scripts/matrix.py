"""
Run tests of the wheel on each Airflow that is supported, and print what became of them as a table.

``make matrix`` runs it. Nothing of the checkout is on the path of the tests but the tests: they are copied to an empty
directory, and the provider is the wheel. Deprecation warnings that are raised about its modules are errors.

An interpreter is taken from the path or from pyenv, or else fetched by uv where that can be done. Where an Airflow's own
Python is not to be had, the newest one that it supports takes its place.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

CHECKOUT = Path(__file__).parents[1]
ENVIRONMENTS = CHECKOUT / ".matrix"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: What Airflow does to real tasks comes first, because it takes longest.
SELECTION = (
    "tests/airflow/test_matrix.py",
    "tests/unit/operators",
    "tests/unit/sensors",
    "tests/unit/triggers",
    "tests/unit/hooks",
    "tests/unit/notifications",
    "tests/unit/transfers",
    "tests/unit/plugins",
    "tests/unit/state",
    "tests/unit/test_assets.py",
    "tests/unit/test_connection_form.py",
    "tests/unit/test_provider_info.py",
    "tests/unit/test_retry_policy.py",
    "tests/scenarios/test_sharded.py",
    "tests/docs/test_examples.py",
)
COPIED = ("tests", "example_dags", "scripts", "docs", "pyproject.toml")
#: Tools of the checks, which the tests do without.
NOT_NEEDED = {
    "coverage",
    "dlt",
    "hatchling",
    "mypy",
    "ruff",
    "selenium",
    "axe-playwright-python",
    "types-requests",
}
#: A module is named by the beginning of its name. Airflow's deprecation warnings are of subclasses of this one.
INI = """\
[pytest]
addopts = -ra --strict-markers --strict-config -p no:cacheprovider
filterwarnings =
    error::DeprecationWarning:airflow_provider_wati
    error::PendingDeprecationWarning:airflow_provider_wati
    error::FutureWarning:airflow_provider_wati
"""


@dataclass(frozen=True)
class Series:
    """
    One Airflow.

    :param name: how the table calls it.
    :param requirements: what is installed.
    :param python: the Python that it is tested on.
    :param newest_python: the newest one that it supports.
    """

    name: str
    requirements: tuple[str, ...]
    python: str
    newest_python: str = "3.14"


SERIES = (
    # It has no upper bounds for these: it does not start with a newer structlog, its object storage fails with a newer
    # universal-pathlib, its API refuses what its own tasks send with a newer fastapi, as 3.1.8 declares, and its tokens
    # have no issuer, which a newer pyjwt refuses.
    Series(
        "3.1.0",
        (
            "apache-airflow==3.1.0",
            "structlog==25.4.0",
            "universal-pathlib==0.2.6",
            "fastapi<0.118",
            "pyjwt<2.11",
        ),
        "3.11",
        "3.13",
    ),
    Series("3.1", ("apache-airflow==3.1.*",), "3.13", "3.13"),
    # Its API server does not start with newer ones, and `dag.test()` fails with a newer svcs.
    Series("3.2", ("apache-airflow==3.2.*", "cadwyn<8", "fastapi<0.137", "svcs<26"), "3.12"),
    Series("3.3", ("apache-airflow==3.3.*",), "3.14"),
    # Pre-releases of these packages only, and the release as soon as there is one.
    Series(
        "3.4",
        (
            "apache-airflow>=3.4.0.dev0,<3.5",
            "apache-airflow-core>=3.4.0.dev0,<3.5",
            "apache-airflow-task-sdk>=1.4.0.dev0,<1.5",
        ),
        "3.12",
    ),
)


@dataclass
class Result:
    """What became of one Airflow on one Python."""

    airflow: str
    python: str
    passed: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    problem: str = ""

    @property
    def is_good(self) -> bool:
        """Whether tests have run, and none has failed."""
        return not self.problem and not self.failed and self.passed > 0

    def row(self) -> str:
        verdict = "passed" if self.is_good else self.problem or ("FAILED" if self.failed else "NO TEST RAN")
        counts = f"{self.passed:>7}{self.skipped:>9}{self.failed:>8}{self.seconds:>8.0f} s"
        return f"{self.airflow:<10}{self.python:<9}{counts}  {verdict}"


HEAD = f"{'Airflow':<10}{'Python':<9}{'passed':>7}{'skipped':>9}{'failed':>8}{'time':>10}  result"


@cache
def interpreter(version: str) -> str | None:
    """Return a Python of a version, such as 3.13, that is on this machine or that uv can fetch."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = [
        shutil.which(f"python{version}"),
        *map(str, sorted(root.glob(f"versions/{version}.*/bin/python"))),
    ]
    for candidate in filter(None, [sys.executable, *found]):
        # What pyenv puts on the path may be there without its interpreter.
        done = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if done.stdout.startswith(f"Python {version}."):
            return candidate
    fetched = subprocess.run(
        [uv(), "python", "install", "--quiet", version], capture_output=True, check=False
    )
    if fetched.returncode:
        return None
    where = subprocess.run([uv(), "python", "find", version], capture_output=True, text=True, check=False)
    return where.stdout.strip() or None


def python_for(series: Series) -> str | None:
    """Return the Python version to test an Airflow on: its own, or the newest that there is."""
    supported = PYTHONS[: PYTHONS.index(series.newest_python) + 1]
    return next((each for each in (series.python, *reversed(supported)) if interpreter(each)), None)


def uv() -> str:
    return str(Path(sys.executable).with_name("uv"))


def tools() -> list[str]:
    """Return what the tests need, from the development group of pyproject.toml."""
    import tomllib

    groups = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["dependency-groups"]
    return [each for each in groups["dev"] if each.partition(">")[0] not in NOT_NEEDED]


def build_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def copy_tests(folder: Path) -> None:
    """Lay the tests out as in the checkout, without the package."""
    folder.mkdir()
    for name in COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        else:
            shutil.copy(source, folder / name)
    (folder / "pytest.ini").write_text(INI)


def environment_of(series: Series, version: str, wheel: Path) -> str:
    """Make the environment of an Airflow, with the wheel in it; return its Python."""
    home = ENVIRONMENTS / f"{series.name}-{version}"
    python = home / "bin" / "python"
    if not python.exists():
        subprocess.run(
            [uv(), "venv", "--quiet", "--python", str(interpreter(version)), str(home)], check=True
        )
    install = [uv(), "pip", "install", "--quiet", "--upgrade", "--python", str(python)]
    ours = [
        "--reinstall-package",
        "airflow-provider-wati",
        f"airflow-provider-wati[sandbox,parquet] @ file://{wheel}",
    ]
    subprocess.run([*install, *ours, *series.requirements, *tools()], check=True)
    return str(python)


def beside(wheel: Path, folder: Path) -> dict[str, str]:
    """Put the wheel before the present environment; return the variables that do so."""
    site = folder / "site"
    install = [uv(), "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run([*install, "--python", sys.executable], check=True)
    return {"PYTHONPATH": str(site)}


def run_tests(python: str, scratch: Path, paths: Sequence[str], variables: dict[str, str]) -> Result:
    """Run tests in a scratch directory; what is imported there is the wheel, or the result says so."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONPATH" and not name.startswith("PYTEST_")
    } | variables
    ask = "import airflow_provider_wati as ours, importlib.metadata as m; print(ours.__file__, m.version('apache-airflow'))"
    asked = subprocess.run(
        [python, "-c", ask], cwd=scratch, env=variables, capture_output=True, text=True, check=False
    )
    where, _, airflow = asked.stdout.strip().rpartition(" ")
    version = subprocess.run(
        [python, "-c", "import platform; print(platform.python_version())"],
        capture_output=True,
        text=True,
        check=True,
    )
    result = Result(airflow or "?", version.stdout.strip())
    if not where or Path(where).is_relative_to(CHECKOUT / "airflow_provider_wati"):
        result.problem = f"THE WHEEL IS NOT WHAT IS IMPORTED {where or asked.stderr[-300:]}"
        return result
    report = scratch / f"{time.monotonic_ns()}.xml"
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "--dist",
        "loadfile",
        "--no-loadscope-reorder",
        f"--junitxml={report}",
        *paths,
    ]
    began = time.monotonic()
    done = subprocess.run(command, cwd=scratch, env=variables, check=False)
    result.seconds = time.monotonic() - began
    count(report, result)
    if done.returncode and not result.failed:
        result.problem = f"PYTEST ENDED WITH {done.returncode}"
    return result


def count(report: Path, result: Result) -> None:
    """Read how many tests have passed, were skipped or failed."""
    if not report.exists():
        return
    for suite in ElementTree.parse(report).iter("testsuite"):
        number = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
        result.failed += number["failures"] + number["errors"]
        result.skipped += number["skipped"]
        result.passed += number["tests"] - number["failures"] - number["errors"] - number["skipped"]


def result_of(series: Series, wheel: Path, scratch: Path, paths: Sequence[str]) -> Result:
    version = python_for(series)
    if version is None:
        return Result(series.name, "-", problem="NO PYTHON FOR IT")
    print(f"\n--- Airflow {series.name} on Python {version}", flush=True)
    try:
        python = environment_of(series, version, wheel)
    except subprocess.CalledProcessError as error:
        return Result(series.name, version, problem=f"CANNOT BE INSTALLED ({error.returncode})")
    result = run_tests(python, scratch, paths, {})
    if version != series.python:
        print(
            f"Python {series.python}, on which Airflow {series.name} is to be tested, is not on this machine."
        )
    return result


def table(results: Sequence[Result]) -> str:
    return "\n".join([HEAD, "-" * len(HEAD), *(result.row() for result in results)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    names = [series.name for series in SERIES]
    parser.add_argument("--airflow", action="append", choices=names, help="these only; all if left out")
    parser.add_argument(
        "--installed", action="store_true", help="the Airflow of this environment, and no other"
    )
    parser.add_argument("paths", nargs="*", default=list(SELECTION), help="the tests to run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wati-versions-") as name:
        folder = Path(name)
        wheel, scratch = build_wheel(folder / "dist"), folder / "scratch"
        copy_tests(scratch)
        if arguments.installed:
            variables = beside(wheel, folder)
            results = [run_tests(sys.executable, scratch, arguments.paths, variables)]
        else:
            chosen = [series for series in SERIES if series.name in (arguments.airflow or names)]
            results = [result_of(series, wheel, scratch, arguments.paths) for series in chosen]
    print(f"\n{table(results)}")
    return 0 if all(result.is_good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
