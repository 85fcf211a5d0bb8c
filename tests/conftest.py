from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

# Airflow reads these when it is first imported, so they are set before any test module is, and before pytest
# looks a warning of Airflow's up.
HOME = tempfile.mkdtemp(prefix="wati-tests-airflow-")
os.mkdir(os.path.join(HOME, "dags"))
os.environ["AIRFLOW_HOME"] = HOME
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = os.path.join(HOME, "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# Else a test that names its DAG like another one runs with the tasks of that one, as Airflow's server sees them.
os.environ["AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL"] = "0"
os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"sqlite:///{HOME}/airflow.db"

from airflow_provider_wati.client import WatiClient  # noqa: E402 # after the settings above
from airflow_provider_wati.sandbox.server import SandboxServer  # noqa: E402 # likewise
from tests.support.contract import ContractCheck, contract_file, load_contract  # noqa: E402 # likewise

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DAG
    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["tests.support.sends", "tests.support.tasks", "tests.support.late_clock"]

NO_PACING: dict[str, Any] = {"rate_limits": {"*": None}}

#: Airflow 3.1 and 3.2 have no ``task_state_store``, so there a send remembers under a ``state_path`` or not at all.
HAS_TASK_STATE_STORE = Version(version("apache-airflow")) >= Version("3.3")
needs_task_state_store = pytest.mark.skipif(
    not HAS_TASK_STATE_STORE, reason="Airflow keeps state for tasks from 3.3 on"
)
reads_connections_anywhere = pytest.mark.skipif(
    Version(version("apache-airflow")) == Version("3.1.0"),
    reason="Airflow 3.1.0 reads connections only in a process that it supervises",
)


def pytest_configure(config: pytest.Config) -> None:
    # Here and not in pyproject.toml, because scripts/matrix.py runs the tests without it.
    config.addinivalue_line(
        "markers",
        "slow: takes a second and more by its nature; `make quick` leaves it out, `make test` does not",
    )
    # The Python form methods are deprecated from Airflow 3.2 on; nothing of ours may bring them back.
    config.addinivalue_line("filterwarnings", "error::airflow.exceptions.AirflowProviderDeprecationWarning")


#: How many deployments of Airflow run at once. Each has a dozen processes and a gigabyte of memory.
DEPLOYMENTS = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Give each file to one process as a whole, and all files of tests/airflow to ``DEPLOYMENTS`` processes."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    deployments: dict[str, str] = {}

    def group(test: str) -> str:
        file = test.partition("::")[0]
        if not file.startswith("tests/airflow/"):
            return file
        return deployments.setdefault(file, f"deployment {len(deployments) % DEPLOYMENTS}")

    scheduler = LoadFileScheduling(config, log)
    # The method that a scheduler of one's own overrides, says the documentation of xdist.
    scheduler._split_scope = group
    return scheduler


class Sandbox(SandboxServer):
    """A sandbox that a test looks into: what arrived, not what the client says arrived."""

    contract_check: ContractCheck | None = None

    def client(self, **settings: Any) -> WatiClient:
        return WatiClient(self.endpoint, self.token, **NO_PACING, **settings)

    def control(self, method: str, path: str, body: object = None) -> Any:
        import requests

        response = requests.request(method, f"{self.url}/_sandbox{path}", json=body, timeout=10)
        assert response.status_code == 200, response.text
        return response.json()

    def fault(self, kind: str, **options: Any) -> int:
        """Make something go wrong; return the id of the rule."""
        fault_id: int = self.control("POST", "/faults", {"kind": kind, **options})["id"]
        return fault_id

    def messages_to(self, phone: str) -> list[dict[str, Any]]:
        return self.control("GET", f"/messages?phone={phone}")["messages"]

    def texts_to(self, phone: str) -> list[str]:
        """What the business sent to a person."""
        return [message["text"] for message in self.messages_to(phone)]

    def requests(self, method: str | None = None) -> list[str]:
        """The API calls that arrived."""
        seen = self.control("GET", "/requests?limit=1000")["requests"]
        return [f"{r['method']} {r['path']}" for r in seen if method in (None, r["method"])]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A WATI of the test's own; what goes through it is held against WATI's OpenAPI where that is at hand."""
    checks: list[ContractCheck] = []

    def wrap(app: Any) -> Any:
        checks.append(ContractCheck(app, load_contract()))
        return checks[0]

    with Sandbox(wrap=wrap if contract_file().is_file() else None) as server:
        assert isinstance(server, Sandbox)
        server.contract_check = checks[0] if checks else None
        yield server
    for check in checks:
        check.assert_clean()


@pytest.fixture(scope="session")
def airflow_database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def run_dag(
    airflow_database: None, sandbox: Sandbox, at_once: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Run a DAG in real Airflow, its connection ``wati_default`` being the sandbox; return the tasks by id."""
    connection = {
        "conn_type": "wati",
        "host": sandbox.endpoint,
        "password": sandbox.token,
        "extra": {**NO_PACING, "timeout": [2, 2]},
    }
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))

    def run(dag: DAG) -> dict[str, Any]:
        write_to_database(dag)
        tis = dag.test().get_task_instances()
        return {ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti for ti in tis}

    return run


@pytest.fixture
def send_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place where retried sends keep their journal: Airflow's own store, or a ``state_path`` where it has none."""
    if not HAS_TASK_STATE_STORE:
        monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path_factory.mktemp("state")))


def write_to_database(dag: DAG) -> None:
    """Do for a DAG of a test what the DAG processor does for one of a file."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    manager: Any = DagBundlesManager
    manager().sync_bundles_to_db()
    bag = read_dags(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    bag.bag_dag(dag)
    _dagbag().sync_bag_to_db(bag, "dags-folder", None)


def read_dags(path: str) -> DagBag:
    """Let Airflow's DAG processor read a file or a folder."""
    bag: DagBag = _dagbag().DagBag(path)
    return bag


def _dagbag() -> Any:
    try:
        return import_module("airflow.dag_processing.dagbag")
    except ImportError:  # Airflow 3.1
        return import_module("airflow.models.dagbag")
