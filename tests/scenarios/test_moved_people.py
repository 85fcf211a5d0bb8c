"""People who change their task: mapped tasks, tasks that share a key, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiAuthenticationError
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator
from airflow_provider_wati.sending.journal import StoreLimits
from tests.support.sends import ModelSends, die_in_next_call, model_sends, people, person, phone
from tests.support.tasks import Execute, Store
from tests.support.wati_model import Fault, Lag

if TYPE_CHECKING:
    from tests.conftest import Sandbox


def send(rows: list[dict[str, Any]], **more: Any) -> WatiSendTemplateOperator:
    return WatiSendTemplateOperator(
        task_id="send", template_name="order_update", recipients=rows, check_consent=False, retries=2, **more
    )


def messages(sandbox: Sandbox, count: int) -> list[int]:
    sent = sandbox.state.sent_per_phone()
    return [sent.get(phone(n), 0) for n in range(count)]


@pytest.mark.parametrize("again", ["another run", "a Clear"])
def test_people_of_one_key_may_change_their_mapped_task(
    again: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Under a key of the user's own, mapped tasks of all runs read each other's journals."""
    shared = {"send_key": "promo", "state_path": str(tmp_path)}
    stores = [Store(), Store()]
    for n in range(2):
        execute(send([person(n)], **shared), map_index=n, store=stores[n], run_id="r1")
    how: dict[str, Any] = (
        {"run_id": "r2"} if again == "another run" else {"run_id": "r1", "clears": 1, "try_number": 2}
    )
    for n in range(2):
        done = execute(send([person(1 - n)], **shared), map_index=n, store=stores[n], **how)
        assert (done["accepted"], done["calls"]) == (1, 0)
    assert messages(sandbox, 2) == [1, 1]


@pytest.mark.parametrize("first", ["mapped", "not mapped"])
def test_one_key_holds_for_mapped_tasks_and_others(
    first: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """A task that is split into mapped tasks later, or joined again, sends under its key to nobody twice."""
    shared = {"send_key": "promo", "state_path": str(tmp_path)}

    def mapped(run_id: str) -> None:
        for n in range(2):
            execute(send([person(n)], **shared), map_index=n, run_id=run_id)

    def whole(run_id: str) -> None:
        execute(send(people(2), **shared), run_id=run_id)

    for run_id, step in zip(
        ("r1", "r2"), (mapped, whole) if first == "mapped" else (whole, mapped), strict=True
    ):
        step(run_id)
    assert messages(sandbox, 2) == [1, 1]


@pytest.mark.parametrize("where", ["state_path", "Airflow's store"])
def test_a_person_who_was_in_another_mapped_task_meanwhile_is_known(
    where: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """The same rows as before prove nothing after a Clear: the person has moved away and back."""
    state = {"state_path": str(tmp_path)} if where == "state_path" else {}
    stores = [Store(), Store()]
    expired = sandbox.fault("status", status=401, method="POST")
    with pytest.raises(WatiAuthenticationError):
        execute(send([person(0)], **state), map_index=0, store=stores[0])
    sandbox.control("DELETE", f"/faults/{expired}")
    # The first task is evicted in this run, before it runs.
    execute(send([person(0)], **state), map_index=1, store=stores[1], clears=1)
    done = execute(send([person(0)], **state), map_index=0, store=stores[0], clears=2, try_number=3)
    assert (done["accepted"], done["calls"]) == (1, 0)
    assert messages(sandbox, 1) == [1]


def test_the_grace_of_another_task_s_call_does_not_end_with_own_attempts() -> None:
    """A mapped task begins while another one's long call is under way; that worker dies, and the person moves here."""
    first = model_sends(is_mapped=True, family="key")
    second = ModelSends(first.model, is_mapped=True, family="key")
    first.store.limits = second.store.limits = StoreLimits(has_siblings=True)
    first.store.siblings, second.store.siblings = second.store.records, first.store.records
    first.model.faults = [Fault("drop", after=True, takes=90, late=True, skip=1)]
    first.model.lags = [Lag(), Lag(listed=100)]
    die_in_next_call(first, lambda: second.attempt(people(1, first=5)))
    first.attempt(people(1))
    done = second.attempt(people(1), is_cleared=True, clears="1")
    assert done.statuses == ["accepted"]
    assert first.messages(1) == [1]


def test_who_was_given_up_in_another_task_and_not_sent_to_is_looked_for_again() -> None:
    """The attempt that waited for the others' calls has sent nothing; until the next one, WATI may show the message."""
    first = model_sends(is_mapped=True, family="key")
    second = ModelSends(first.model, is_mapped=True, family="key")
    first.model.lags = [Lag(listed=300)]
    first.attempt(people(1))
    expired = Fault("status", status=401, count=2)
    first.model.faults = [expired]
    second.attempt(people(1, first=5))
    assert second.attempt(people(1), is_cleared=True, clears="1").statuses == ["unknown"]
    first.clock.advance(3600)
    done = second.attempt(people(1), is_cleared=True, clears="1")
    assert done.statuses == ["accepted"]
    assert first.messages(1) == [1]
