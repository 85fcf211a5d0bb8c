"""Imports run one way, and importing an operator loads no heavy library."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "airflow_provider_wati"
OURS = "airflow_provider_wati"

#: What each part may import of the others, at any place in its code. ``airflow`` stands for Airflow itself.
MAY_IMPORT = {
    "client": {"client", "clock", "exceptions", "masking"},
    "tables": {"tables", "clock", "exceptions", "masking"},
    "sending": {"sending", "tables", "client", "clock", "exceptions", "masking"},
    "syncing": {"syncing", "tables", "client", "clock", "exceptions", "masking"},
    "listening": {"listening", "client", "clock", "exceptions", "masking"},
    "extracting": {"extracting", "listening", "tables", "client", "clock", "exceptions", "masking"},
    "waiting": {"waiting", "sending", "listening", "client", "clock", "exceptions", "masking"},
    "sandbox": {"sandbox", "masking"},
    "testing": {"testing", "sandbox", "client", "clock", "exceptions", "airflow"},
    "hooks": {
        "_compat",
        "hooks",
        "listening",
        "client",
        "clock",
        "exceptions",
        "masking",
        "connection_form",
        "airflow",
    },  # fmt: skip
    "state": {"_compat", "state", "sending", "clock", "exceptions", "masking", "airflow"},
    "operators": {
        "_compat",
        "operators",
        "hooks",
        "state",
        "sending",
        "syncing",
        "triggers",
        "waiting",
        "tables",
        "client",
        "clock",
        "exceptions",
        "masking",
        "airflow",
    },  # fmt: skip
    "triggers": {
        "_compat",
        "triggers",
        "hooks",
        "listening",
        "state",
        "waiting",
        "client",
        "clock",
        "exceptions",
        "masking",
        "airflow",
    },  # fmt: skip
    "sensors": {
        "_compat",
        "sensors",
        "triggers",
        "operators",
        "waiting",
        "exceptions",
        "airflow",
    },  # fmt: skip
    "transfers": {
        "transfers",
        "operators",
        "hooks",
        "state",
        "sending",
        "syncing",
        "extracting",
        "listening",
        "tables",
        "client",
        "clock",
        "exceptions",
        "masking",
        "airflow",
    },  # fmt: skip
    "notifications": {
        "_compat",
        "notifications",
        "hooks",
        "tables",
        "client",
        "clock",
        "exceptions",
        "masking",
        "airflow",
    },
    "plugins": {
        "_compat",
        "plugins",
        "hooks",
        "listening",
        "client",
        "connection_form",
        "exceptions",
        "masking",
        "airflow",
    },
    "assets": {"_compat", "triggers", "listening", "state", "exceptions", "airflow"},
    "retry_policy": {"_compat", "operators", "exceptions", "airflow"},
    "_compat": {"airflow"},
    "clock": set(),
    "exceptions": set(),
    "masking": set(),
    "connection_form": set(),
    "get_provider_info": {"connection_form"},
}

#: What each part of the sandbox loads of its other parts. The other way round would be a circle.
SANDBOX_MAY_LOAD = {
    "model": set(),
    "errors": {"model"},
    "callers": set(),
    "settings": set(),
    "faults": {"model", "errors"},
    "webhooks": {"model"},
    "api": {"model", "errors", "faults", "webhooks"},
    "scenarios": {"model", "errors", "api"},
    "saving": {"model", "scenarios"},
    "workspace": {"model", "errors", "faults", "webhooks"},
    "control": {"model", "errors", "faults", "webhooks", "api"},
    "page": {"model", "errors", "api", "control"},
    "gate": {"errors", "faults", "callers", "workspace"},
}


def imports_of(file: Path, *, types: bool = True) -> Iterator[str]:
    """
    The modules and names that a file imports.

    :param types: also under ``TYPE_CHECKING``.
    """
    pending: list[ast.AST] = [ast.parse(file.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            pending += ast.iter_child_nodes(node)


def part_of(module: str) -> str | None:
    """The part of the package that a module belongs to; None for the standard library and other packages."""
    top, _, rest = module.partition(".")
    if top == "airflow":
        return "airflow"
    return rest.partition(".")[0] or None if top == OURS else None


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE or file.name != "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_run_one_way(file: Path) -> None:
    """Each part of the package imports only the parts that the design allows it."""
    part = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    parts = {part_of(module) for module in imports_of(file)} - {None, "__version__"}
    assert parts <= MAY_IMPORT[part]


SANDBOX_FILES = [
    file for part in SANDBOX_MAY_LOAD for file in FILES if file.is_relative_to(PACKAGE / "sandbox" / part)
] + [PACKAGE / "sandbox" / f"{part}.py" for part in SANDBOX_MAY_LOAD]


@pytest.mark.parametrize(
    "file",
    [file for file in SANDBOX_FILES if file.is_file()],
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_imports_of_the_sandbox_run_one_way(file: Path) -> None:
    """Each part of the sandbox loads only the parts below it; what is imported for types alone does not count."""
    top = f"{OURS}.sandbox"
    part = file.relative_to(PACKAGE / "sandbox").parts[0].removesuffix(".py")
    loads = {
        name.removeprefix(f"{top}.").partition(".")[0]
        for name in imports_of(file, types=False)
        if name.startswith(f"{top}.")
    }
    assert loads - {part} <= SANDBOX_MAY_LOAD[part]


def loaded_by(statements: str, after: str = "pass") -> set[str]:
    """The modules that statements load in a fresh interpreter, beyond those that were there already."""
    program = (
        f"import sys\n{after}\nbefore = set(sys.modules)\n{statements}\nprint(*(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_dag_files_load_no_http_no_sql_no_phone_parsing() -> None:
    """A DAG file is parsed every few seconds, so importing an operator stays cheap."""
    modules = [
        f"{OURS}.{part}.{file.stem}"
        for part in ("operators", "sensors", "transfers", "triggers", "notifications")
        for file in sorted((PACKAGE / part).glob("[a-z]*.py"))
    ]
    modules.append(f"{OURS}.hooks.wati")
    loaded = loaded_by(
        f"import {', '.join(modules)}", after="from airflow.sdk import DAG, BaseOperator, BaseHook"
    )
    assert set(modules) <= loaded
    heavy = {"requests", "urllib3", "sqlalchemy", "phonenumbers", "pyrate_limiter", "sqlite3", "fastapi"}
    heavy |= {"pyarrow", "airflow.providers.common.sql"}
    assert not heavy & loaded
