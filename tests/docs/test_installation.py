"""What ``pip install`` and ``pip uninstall`` do to an Airflow that has nothing else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati import __version__
from airflow_provider_wati.get_provider_info import get_provider_info
from tests.docs.test_testing import is_offline

ROOT = Path(__file__).parents[2]
NAME = "airflow-provider-wati"
#: Seconds that a fresh environment may take on a slow machine.
PATIENCE = 900


class Environment:
    """
    A virtual environment of its own.

    :param folder: an empty directory.
    """

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "venv" / "bin"
        self._uv = Path(sys.executable).with_name("uv")
        own = {
            name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))
        }
        home = folder / "home"
        self._settings = {**own, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        subprocess.run(
            [self._uv, "venv", "--quiet", "--python", sys.executable, str(folder / "venv")], check=True
        )

    def install(self, *requirements: str) -> None:
        """Install packages, or skip the test where there is no package index."""
        command = ("install", "--quiet", "--prerelease", "allow", *requirements)
        done = self._pip(*command)
        if done.returncode != 0 and is_offline(done.stderr):
            pytest.skip("the package index cannot be reached")
        assert done.returncode == 0, done.stderr

    def uninstall(self, name: str) -> None:
        assert self._pip("uninstall", "--quiet", name).returncode == 0

    def packages(self) -> dict[str, str]:
        """Return the version of each package."""
        found = json.loads(self._pip("list", "--format", "json").stdout)
        return {each["name"]: each["version"] for each in found}

    def check(self) -> None:
        """Fail when a package lacks what it depends on."""
        done = self._pip("check")
        assert done.returncode == 0, done.stderr

    def airflow(self, *arguments: str) -> str:
        """Run a command of Airflow and return what it printed."""
        done = subprocess.run(
            [self.bin / "airflow", *arguments],
            env=self._settings,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _pip(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        [command, *rest] = arguments
        return subprocess.run(
            [self._uv, "pip", command, "--python", str(self.bin / "python"), *rest],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


def build_wheel(folder: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def printed_json(output: str) -> Any:
    """Return the JSON in an output, which lines of a log may come before."""
    return json.loads(output[re.search(r"^[\[{]", output, flags=re.MULTILINE).start() :])  # type: ignore[union-attr] # else it fails


def test_an_installation_adds_what_is_declared_and_goes_without_a_trace(tmp_path: Path) -> None:
    """The wheel brings its declared dependencies and changes no package of Airflow; after its removal Airflow works as before."""
    environment = Environment(tmp_path)
    environment.install(f"apache-airflow=={version('apache-airflow')}")
    bare = environment.packages()

    environment.install(str(build_wheel(tmp_path / "dist")))
    environment.check()
    there = environment.packages()
    declared = {
        re.split(r"[><=\[]", each)[0]
        for each in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    assert there.keys() - bare.keys() == {NAME, *declared} - bare.keys()
    assert {name: there[name] for name in bare} == bare

    [provider] = printed_json(environment.airflow("providers", "get", NAME, "--full", "--output", "json"))
    info = get_provider_info()
    assert (provider["package-name"], provider["versions"]) == (NAME, [__version__])
    assert provider.keys() >= {name for name, value in info.items() if value}
    hooks = printed_json(environment.airflow("providers", "hooks", "--output", "json"))
    assert [each["conn_id_attribute_name"] for each in hooks if each["connection_type"] == "wati"] == [
        "wati_conn_id"
    ]

    environment.uninstall(NAME)
    environment.check()
    assert environment.packages().keys() == there.keys() - {NAME}
    environment.airflow("db", "migrate")
    listed = printed_json(environment.airflow("providers", "list", "--output", "json"))
    assert listed
    assert NAME not in {each["package_name"] for each in listed}
    assert "wati" not in environment.airflow("plugins", "--output", "json").lower()
    assert "No data found" in environment.airflow("dags", "list")
