"""The example that keeps a suppression table and sends to the others, on both databases."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.docs.test_examples import all_succeeded, dag_of

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.unit.transfers.conftest import Warehouse

ADA, BEN, CHITRA, EVAN = "12025550143", "12025550144", "12025550145", "12025550147"
GRACE = "US.13491208655302741918"
CUSTOMERS = [
    ("+1 202 555 0143", "Ada"),
    ("(202) 555-0144", "Ben"),
    (CHITRA, "Chitra"),
    (EVAN, "Evan"),
]


class Suppression:
    """The example, run again and again in one warehouse."""

    def __init__(self, warehouse: Warehouse, sandbox: Sandbox, folder: Path) -> None:
        self._warehouse = warehouse
        self._sandbox = sandbox
        self._folder = folder

    def run(self, **params: Any) -> dict[str, Any]:
        """Run it, and return what each task has returned."""
        from tests.conftest import write_to_database

        dag = dag_of("wati_suppression")
        write_to_database(dag)
        conf = {"directory": f"file://{self._folder}", **params}
        tis = dag.test(run_conf=conf).get_task_instances()
        assert all_succeeded({ti.task_id: ti.state for ti in tis})
        return {ti.task_id: ti.xcom_pull(ti.task_id) for ti in tis}

    @property
    def table(self) -> dict[str, str]:
        return dict(self._warehouse.execute("SELECT target, reason FROM wati_suppression"))

    def write(self, phone: str, text: str, **options: str) -> None:
        """Let a customer write something a second later than whatever was written before."""
        self._sandbox.control("POST", "/clock", {"advance": 1})
        self._sandbox.control("POST", "/inbound", {"phone": phone, "text": text, **options})


@pytest.fixture
def suppression(
    run_dag: Any, warehouse: Warehouse, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Suppression:
    connection = json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])
    connection["extra"]["default_region"] = "US"
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    warehouse.fill("customers", "phone,full_name", CUSTOMERS)
    return Suppression(warehouse, sandbox, tmp_path)


#: Of an opt-out word that the sandbox's own rule does not know, only the message tells.
OPTED_OUT, WROTE = "opted out in WATI", "wrote an opt-out word"


def test_who_opted_out_gets_nothing(suppression: Suppression, sandbox: Sandbox, warehouse: Warehouse) -> None:
    """People who opted out in WATI or wrote STOP are on the list and get no message, however their number is spelled."""
    suppression.write(BEN, "Stop!! 🛑")
    suppression.write(CHITRA, "Can I stop by the shop?")
    results = suppression.run()
    assert suppression.table == {EVAN: OPTED_OUT, BEN: WROTE}
    assert results["keep_suppression"] == {"suppressed": 2, "words_of_unknown_people": 0}
    assert sandbox.state.sent_per_phone("") == {ADA: 1, CHITRA: 1}
    outcomes = dict(warehouse.execute("SELECT target, reason FROM news_messages WHERE status = 'skipped'"))
    assert outcomes == {BEN: "suppressed", EVAN: "suppressed"}
    assert {call.split()[0] for call in sandbox.requests() if "/contacts" in call} == {"GET"}


def test_the_last_word_counts(suppression: Suppression) -> None:
    """START takes a person off, a STOP after it puts the person on again, and a run without news changes nothing."""
    suppression.write(ADA, "BAJA")
    suppression.run()
    assert suppression.table[ADA] == WROTE
    suppression.write(ADA, "start")
    suppression.run()
    assert ADA not in suppression.table
    suppression.write(ADA, "Stop promotions", type="interactive")
    suppression.write(ADA, "Start", type="interactive")
    for _ in range(2):
        suppression.run()
        assert suppression.table == {ADA: WROTE, EVAN: OPTED_OUT}


def test_consent_in_wati_and_words_are_apart(suppression: Suppression, sandbox: Sandbox) -> None:
    """START does not undo an opt-out in WATI, and one that is taken back there takes the person off."""
    suppression.write(EVAN, "Unstop")
    suppression.run()
    assert suppression.table == {EVAN: OPTED_OUT}
    evan = sandbox.state.by_phone[EVAN]
    evan.allow_broadcast = evan.opted_in = True
    suppression.run()
    assert suppression.table == {}


def test_messages_are_looked_at_once(suppression: Suppression, warehouse: Warehouse) -> None:
    """A run looks at messages that were stored since the last one and a day before; with `full`, at all of them."""
    suppression.write(ADA, "Stop!")
    assert suppression.run()["keep_words"] == 1
    old = "2020-01-01T00:00:00.000000Z"
    warehouse.execute(
        "DELETE FROM wati_consent_words",
        f"UPDATE wati_messages SET extracted_at = '{old}' WHERE text = 'Stop!'",
    )
    # The extract itself finds the row unchanged, so it does not write it.
    assert suppression.run()["keep_words"] == 0
    assert ADA not in suppression.table
    assert suppression.run(full=True)["keep_words"] == 1
    assert suppression.table[ADA] == WROTE


def test_people_without_a_number_are_on_the_list(suppression: Suppression, sandbox: Sandbox) -> None:
    """A person who is known by a user id only is listed by it."""
    grace = next(contact for contact in sandbox.state.contacts.values() if contact.bsuid == GRACE)
    grace.allow_broadcast = False
    suppression.run()
    assert suppression.table[GRACE] == OPTED_OUT


def test_a_word_of_an_unknown_person_is_counted(suppression: Suppression, warehouse: Warehouse) -> None:
    """A message that names nobody puts nobody on the list, and the result says that there is one."""
    suppression.write(ADA, "Stop!")
    suppression.run()
    warehouse.execute("UPDATE wati_messages SET wa_id = NULL, contact_id = NULL WHERE text = 'Stop!'")
    with pytest.MonkeyPatch.context() as patch:
        from airflow_provider_wati.transfers.wati_to_sql import WatiMessagesToSqlOperator

        patch.setattr(WatiMessagesToSqlOperator, "execute", lambda *_, **__: {})
        results = suppression.run()
    assert results["keep_suppression"] == {"suppressed": 1, "words_of_unknown_people": 1}
    assert suppression.table == {EVAN: OPTED_OUT}
