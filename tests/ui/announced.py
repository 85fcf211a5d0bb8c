"""Makes Airflow find the provider in this checkout, whether or not it is installed."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]


def project() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]


def announce(directory: Path) -> dict[str, str]:
    """
    Write the metadata that an installation would leave, and return an environment in which it is found.

    :param directory: an empty one, which also becomes Airflow's home.
    """
    name, entry_points = project()["name"], project()["entry-points"]
    metadata = directory / f"{name.replace('-', '_')}-0.0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.0.1\n")
    (metadata / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
            for group, entries in entry_points.items()
        )
    )
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "PYTHONPATH": os.pathsep.join((str(directory), str(CHECKOUT))),
        "AIRFLOW_HOME": str(directory),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{directory}/airflow.db",
        "NO_PROXY": "127.0.0.1",
    }
