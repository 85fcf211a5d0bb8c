"""
Run tests on the oldest Airflow that is supported, with the oldest of each dependency.

``make floors`` runs it. The floors are those of pyproject.toml; tools of the tests are the newest.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
ENVIRONMENT = CHECKOUT / ".floors"
# Airflow 3.1.0 has no upper bounds for these: it does not start with a newer structlog, and its object storage fails with
# a newer universal-pathlib.
FOR_AIRFLOW = ["structlog==25.4.0", "universal-pathlib==0.2.6"]
TOOLS = ["hypothesis", "jsonschema", "openapi-schema-validator", "psycopg2-binary", "pytest"]


def floors() -> list[str]:
    """Return each runtime dependency and each of the extras, pinned to its floor."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    requirements = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    # An extra that brings another extra names the project itself.
    return [re.sub(r">=", "==", each) for each in requirements if not each.startswith(project["name"])]


def main() -> int:
    """Make the environment and run pytest in it; the arguments are those of pytest."""
    uv = Path(sys.executable).with_name("uv")
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, ENVIRONMENT], check=True)
    install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", python]
    subprocess.run([*install, "--editable", CHECKOUT, *floors(), *FOR_AIRFLOW, *TOOLS], check=True)
    return subprocess.run([python, "-m", "pytest", *sys.argv[1:]], cwd=CHECKOUT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
