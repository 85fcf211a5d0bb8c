from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import airflow_provider_wati
from airflow_provider_wati import __version__
from airflow_provider_wati.get_provider_info import get_provider_info
from tests.ui.announced import CHECKOUT, announce, project

#: Of the checkout, or of an installed wheel where that is under test.
PACKAGE = Path(airflow_provider_wati.__file__).parent


def test_it_meets_the_schema_of_the_installed_airflow() -> None:
    """The provider info is valid for the installed Airflow."""
    spec = find_spec("airflow")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    schema = Path(spec.submodule_search_locations[0]) / "provider_info.schema.json"
    jsonschema.validate(get_provider_info(), json.loads(schema.read_text()))


def test_the_package_name_is_the_distributions() -> None:
    """The package name is that of the distribution."""
    # Airflow gives up on all providers where these two differ.
    assert get_provider_info()["package-name"] == project()["name"]
    assert get_provider_info()["versions"] == [__version__]


def test_the_entry_point_leads_here() -> None:
    """The entry point of the distribution gives this provider info."""
    module, _, function = project()["entry-points"]["apache_airflow_provider"]["provider_info"].partition(":")
    assert (module, function) == (get_provider_info.__module__, get_provider_info.__name__)


def test_every_named_module_exists() -> None:
    """Each module in the provider info can be imported."""
    info = get_provider_info()
    modules = [
        module
        for kind in ("operators", "hooks")
        for entry in info[kind]
        for module in entry["python-modules"]
    ]
    modules += [entry["python-module"] for entry in info["transfers"]]
    assert all((CHECKOUT / entry["how-to-guide"].lstrip("/")).is_file() for entry in info["transfers"])
    modules += [name.rpartition(".")[0] for name in info["notifications"]]
    modules += [entry["hook-class-name"].rpartition(".")[0] for entry in info["connection-types"]]
    missing = [
        module for module in modules if not (PACKAGE.parent / f"{module.replace('.', '/')}.py").is_file()
    ]
    assert not missing


@pytest.mark.parametrize(
    ("module", "not_loaded"),
    [
        ("airflow_provider_wati.get_provider_info", ("airflow", "requests", "json", "urllib3")),
        ("airflow_provider_wati.connection_form", ("airflow", "requests", "wtforms", "flask_appbuilder")),
        ("airflow_provider_wati.hooks.wati", ("requests", "airflow_provider_wati.client.wati", "wtforms")),
        (
            "airflow_provider_wati.hooks.settings",
            ("airflow", "requests", "airflow_provider_wati.client.wati"),
        ),
    ],
)
def test_importing_costs_little(module: str, not_loaded: tuple[str, ...], tmp_path: Path) -> None:
    """The provider info is loaded without Airflow and HTTP, and the hook loads no more than Airflow's own base class does."""
    base = "airflow.sdk.bases.hook, airflow.configuration" if "airflow" not in not_loaded else "sys"
    # -I and -S: without them the interpreter's own start loads some of these.
    program = (
        f"import sys; sys.path[:0] = {[str(CHECKOUT), *sys.path]!r}; import {base}; before = set(sys.modules); "
        f"import {module}; print(sorted(set({not_loaded!r}) & set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        env={"AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def ask_airflow(program: str, home: Path) -> Any:
    """Run a program in a fresh interpreter that finds the provider, and return what it printed last."""
    done = subprocess.run(
        [sys.executable, "-c", program], env=announce(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


ASK_FOR_THE_FORM = """
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
forms = HookMetaService.hook_meta_data()
form, = (meta for meta in forms if meta.connection_type == "wati")
print(form.model_dump_json() if any(meta.standard_fields for meta in forms) else "null")
"""


def test_airflow_finds_the_form(tmp_path: Path) -> None:
    """Airflow shows the form of the connection type."""
    form = ask_airflow(ASK_FOR_THE_FORM, tmp_path / "home")
    if form is None:
        pytest.skip("this Airflow shows the form of no provider without Flask AppBuilder, as 3.1.0 does not")
    assert form["hook_name"] == "WATI"
    assert form["standard_fields"]["host"]["title"] == "API Endpoint"
    assert form["standard_fields"]["password"]["title"] == "Access Token"
    assert form["standard_fields"]["url_schema"]["hidden"] is True
    extra = form["extra_fields"]
    assert list(extra) == list(get_provider_info()["connection-types"][0]["conn-fields"])
    assert extra["plan"]["value"] == "growth"
    assert extra["plan"]["schema"]["enum"] == ["growth", "pro", "business"]


# Airflow looks for Python form methods only when it is asked for the forms and can import wtforms.
ASK_FOR_THE_HOOK = """
import json, sys, types, warnings
names = ("StringField", "IntegerField", "PasswordField", "BooleanField")
sys.modules["wtforms"] = types.SimpleNamespace(**{name: type(name, (), {}) for name in names})
from airflow.providers_manager import ProvidersManager
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    ProvidersManager().field_behaviours
    hook = ProvidersManager().hooks["wati"]
print(json.dumps({"attribute": hook.connection_id_attribute_name, "package": hook.package_name,
                  "testable": hook.connection_testable, "warnings": [str(one.message) for one in caught]}))
"""


def test_airflow_finds_the_hook_and_warns_of_nothing_in_it(tmp_path: Path) -> None:
    """Airflow loads the hook without a warning."""
    answer = ask_airflow(ASK_FOR_THE_HOOK, tmp_path / "home")
    assert (answer["attribute"], answer["package"]) == ("wati_conn_id", "airflow-provider-wati")
    assert answer["testable"] is True
    assert [warning for warning in answer["warnings"] if "wati" in warning.lower()] == []


@pytest.mark.parametrize("part", ["operators", "sensors", "triggers", "hooks", "transfers", "notifications"])
def test_every_public_module_is_named(part: str) -> None:
    """The provider info names each public module of a part of the package, and no other."""
    info = get_provider_info()
    if part == "transfers":
        named = [entry["python-module"] for entry in info[part]]
    elif part == "notifications":
        named = [name.rpartition(".")[0] for name in info[part]]
    else:
        named = [module for entry in info[part] for module in entry["python-modules"]]
    files = (PACKAGE / part).glob("[a-z]*.py")
    there = [f"airflow_provider_wati.{part}.{file.stem}" for file in files]
    private = {"airflow_provider_wati.hooks.settings"}
    assert sorted(named) == sorted(set(there) - private)
