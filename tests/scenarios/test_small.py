"""Small things of the field that once messaged people twice, or failed a send for ever."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.operators.templates import (
    WatiBroadcastTemplateOperator,
    WatiScheduleTemplateOperator,
)
from airflow_provider_wati.tables.phone_numbers import TargetReader
from tests.support.sends import MemoryStore, SandboxSends, model_sends, people, person, phone
from tests.support.tasks import Execute, Store
from tests.support.wati_model import Fault, Habits, Lag

if TYPE_CHECKING:
    from tests.conftest import Sandbox


@pytest.fixture
def sends(quick_sends: SandboxSends) -> SandboxSends:
    return quick_sends


FORMS = {
    "plain": str,
    "plus": "+{}".format,
    "00": "00{}".format,
    "spaced": lambda each: f"+{each[:2]} {each[2:7]} {each[7:]}",
    "dashes": lambda each: f"+{each[:2]}-{each[2:7]}-{each[7:]}",
    "national": lambda each: each[2:],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("echoes", [True, False], ids=["ids echoed", "no ids"])
def test_an_own_id_and_a_formatted_phone_are_one_person(echoes: bool, form: str) -> None:
    """Finding 13: rows with own ids are found in WATI's lists, however these write numbers."""
    habits = Habits(phone_form=FORMS[form], echoes_ids=echoes)  # type: ignore[arg-type] # each makes text of text
    sends = model_sends(habits, targets=TargetReader("IN"))
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(listed=20)]
    rows = [person(n, local_message_id=f"order-{n:06}") for n in range(3)]
    sends.attempt(rows, dies=True)
    done = sends.attempt(rows[::-1])
    assert done.statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]


@pytest.mark.parametrize("state", ["kept", "lost"])
def test_keys_with_moved_rows_and_no_ids_message_nobody_twice(state: str) -> None:
    """Finding 13: two orders of a customer, no ids in the list, the rows in another order."""
    sends = model_sends(Habits(echoes_ids=False))
    sends.model.faults = [Fault("drop", after=True)]
    sends.model.lags = [Lag(listed=20)]
    rows = [person(0, key="1"), person(0, key="2"), person(1, key="1")]
    sends.attempt(rows, dies=True)
    if state == "lost":
        sends.lose_state()
    for again in (rows[::-1], rows):
        done = sends.attempt(again)
        assert set(done.statuses) <= ({"accepted"} if state == "kept" else {"accepted", "unknown"})
    assert sends.messages(2) == [2, 1]


@pytest.mark.parametrize("key", [1, 1.0, Decimal(1), Decimal("1.00"), "1"], ids=repr)
def test_a_key_that_changes_its_type_is_the_same_key(key: Any, sends: SandboxSends) -> None:
    """Finding 13: a key 1 that the source gives as Decimal("1.00") the next time is no new message."""
    sends.attempt([person(0, key=1), person(1, key="2")])
    done = sends.attempt([person(0, key=key), person(1, key=Decimal("2.000"))])
    assert (done.statuses, done.calls) == (["accepted"] * 2, 0)
    assert sends.messages(2) == [1, 1]


@pytest.mark.parametrize(
    "at",
    [
        "9999-12-31T23:59:59+00:00",
        "9999-12-31T23:59:59-12:00",
        "9999-01-01T00:00:00+14:00",
        datetime(9999, 12, 31, tzinfo=UTC),
    ],
    ids=str,
)
def test_a_schedule_of_the_year_9999_is_refused(at: Any, execute: Execute, sandbox: Sandbox) -> None:
    """Finding 13: a placeholder date is a clear error before the first message, in each attempt."""
    operator = WatiScheduleTemplateOperator(
        task_id="send", template_name="order_update", recipients=people(1), scheduled_at=at
    )
    store = Store()
    for try_number in (1, 2):
        with pytest.raises(WatiValidationError, match="scheduled_at is 9999.*within the next 10 years"):
            execute(operator, store=store, try_number=try_number)
    assert sandbox.requests("POST") == []


def test_the_journal_is_never_written_whole(sends: SandboxSends) -> None:
    """Finding 13: two records a batch, each of its own size, so that a long send writes what it has to."""
    sends.store = MemoryStore()
    sends.attempt(people(300), batch_size=10)
    records = sends.store.records
    assert len(records) == 1 + 2 * 30
    assert sum(map(len, records)) < 300 * 11 + 61 * 300
    assert max(map(len, records)) < 500


def test_a_long_field_of_a_csv_file_is_its_row_s(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """Finding 10d: one CSV field over 131,072 characters does not stop the people in the other rows."""
    path = tmp_path / "rows.csv"
    path.write_text(f"phone,name\n{phone(0)},Ada\n{phone(1)},{'a' * 200_000}\n{phone(2)},Cleo\n")
    operator = WatiBroadcastTemplateOperator(
        task_id="send",
        template_name="order_update",
        rows=str(path),
        target_column="phone",
        param_columns={"name": "name"},
        template_params={"order_id": "1", "status": "packed"},
        check_consent=False,
        failure_threshold=0.5,
    )
    summary = execute(operator)
    assert summary["accepted"] >= 2
    assert [len(sandbox.texts_to(phone(n))) for n in (0, 2)] == [1, 1]


def test_another_order_goes_under_an_id_and_a_key_of_its_own(sends: SandboxSends) -> None:
    """A key that several runs share: each order is one message, whatever run has it."""
    for n in (1, 2, 2, 1):
        row = person(0, key=f"100{n}", local_message_id=f"order-10000{n}")
        assert sends.attempt([row], may_have_run=False, is_shared=True).statuses == ["accepted"]
    assert sends.messages(1) == [2]
