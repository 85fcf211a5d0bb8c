"""Another send's messages prove nothing about this one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiAuthenticationError, WatiConfigurationError
from airflow_provider_wati.operators.templates import WatiSendTemplateOperator
from airflow_provider_wati.sending.campaign_index import mark_of
from tests.support.sends import GRACE, SandboxSends, model_sends, people, person, phone
from tests.support.tasks import Execute, Store
from tests.support.wati_model import Fault, Lag

if TYPE_CHECKING:
    from tests.conftest import Sandbox


@pytest.fixture
def sends(sandbox: Sandbox) -> SandboxSends:
    return SandboxSends(sandbox)


def operator(task_id: str, **more: Any) -> WatiSendTemplateOperator:
    return WatiSendTemplateOperator(
        task_id=task_id,
        **{
            "template_name": "order_update",
            "recipients": people(5),
            "check_consent": False,
            "send_key": "promo",
            **more,
        },
    )


def test_two_tasks_with_one_key_and_two_templates(execute: Execute, sandbox: Sandbox, tmp_path: Path) -> None:
    """Finding 8: the second task is not green with the first one's messages, but says what is wrong."""
    path = str(tmp_path)
    assert execute(operator("a", state_path=path))["accepted"] == 5
    welcome = operator(
        "b", state_path=path, template_name="welcome", recipients=[{"target": phone(n)} for n in range(5)]
    )
    with pytest.raises(WatiConfigurationError, match=r"'promo'.*another template.*another send_key"):
        execute(welcome)
    [summary] = execute.pushed  # type: ignore[attr-defined] # what the failed task leaves in XCom
    assert summary["accepted"] == 0
    assert [len(sandbox.texts_to(phone(n))) for n in range(5)] == [1] * 5
    welcome.send_key = "promo-welcome"
    assert execute(welcome)["accepted"] == 5


def test_two_tasks_with_one_key_and_one_template_send_once(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """That is what a shared key is for."""
    path = str(tmp_path)
    first = execute(operator("a", state_path=path))
    second = execute(operator("b", state_path=path))
    assert (first["calls"], second["calls"], second["accepted"]) == (1, 0, 5)
    assert [len(sandbox.texts_to(phone(n))) for n in range(5)] == [1] * 5


def test_another_channel_is_refused(sends: SandboxSends) -> None:
    """People who were reached from one number are not reached from another, and the send says so."""
    channels = [each.phone for each in sends.sandbox.state.channels[:2]]
    sends.sandbox.control("PUT", "/templates/both", {"body": "Hi {{name}}"})
    rows = [{**person(0), "params": {"name": "Ada"}}]
    sends.attempt(rows, template_name="both", channel=channels[0])
    assert sends.attempt(rows, template_name="both", channel=channels[0]).statuses == ["accepted"]
    for other in (channels[1], None):
        done = sends.attempt(rows, template_name="both", channel=other)
        assert isinstance(done.error, WatiConfigurationError)
        assert "another channel" in str(done.error)
        assert sends.posts() == 1


@pytest.mark.parametrize("what", ["template", "channel"])
def test_a_send_that_was_refused_as_a_whole_binds_nobody(what: str) -> None:
    """An entry without an accepted or open person leaves template and channel free."""
    sends = model_sends()
    sends.model.templates.append({**sends.model.templates[0], "id": "t2", "name": "other"})
    sends.model.faults = [Fault("status", status=400, count=3)]
    assert sends.attempt(people(1)).statuses == ["rejected"]
    sends.model.faults = []
    changed: dict[str, Any] = {"template_name": "other"} if what == "template" else {"channel": "Support"}
    assert sends.attempt(people(1), **changed).statuses == ["accepted"]


def test_sends_of_two_keys_are_apart_in_one_account(sends: SandboxSends) -> None:
    """With both journals lost, each send finds its own campaigns and no others."""
    sends.attempt(people(3), send_key="a")
    sends.begin_another()
    sends.attempt(people(6, first=3), send_key="b")
    sends.lose_state()
    done = sends.attempt(people(9), send_key="b")
    assert done.statuses == ["accepted"] * 9
    assert sends.messages(9) == [2, 2, 2, 1, 1, 1, 1, 1, 1]


def test_a_campaign_with_our_mark_and_other_people_proves_nothing(sends: SandboxSends) -> None:
    """Finding 13: even with the same mark, a campaign that lists others is not taken for these people's."""
    client = sends.client()
    recipients = [{"target": phone(n), "params": person(n)["params"]} for n in range(10, 13)]
    client.send_template_messages("order_update", f"{mark_of('key')}-ffffff-1 orders", recipients)
    sends.clock.advance(GRACE)
    done = sends.attempt(people(3), may_have_run=True)
    assert done.statuses == ["accepted"] * 3
    assert sends.messages(3) == [1, 1, 1]


def test_a_copy_made_in_the_dashboard_is_not_ours(sends: SandboxSends) -> None:
    """Finding 13: people in a "Copy of" our campaign have another message, and are not forgotten."""
    sends.attempt(people(2))
    [name] = [each.name for each in sends.sandbox.state.broadcasts]
    recipients = [{"target": phone(n), "params": person(n)["params"]} for n in range(2, 7)]
    sends.client().send_template_messages("order_update", f"Copy of {name}", recipients)
    sends.lose_state()
    done = sends.attempt(people(7))
    assert done.statuses == ["accepted"] * 7
    assert sends.messages(7) == [1, 1, 2, 2, 2, 2, 2]


def test_a_run_made_again_under_its_old_id_sends_its_own(sends: SandboxSends) -> None:
    """Finding 13: the old run's messages do not count for the new one, also after a 401 and a retry."""
    sends.attempt(people(20))
    sends.begin_another()
    refusal = sends.sandbox.fault("status", status=401, method="POST")
    assert isinstance(sends.attempt(people(20)).error, WatiAuthenticationError)
    sends.sandbox.control("DELETE", f"/faults/{refusal}")
    done = sends.attempt(people(20))
    assert (done.statuses, done.calls) == (["accepted"] * 20, 1)
    assert sends.messages(20) == [2] * 20


def test_two_tasks_of_one_run_are_two_sends(execute: Execute, sandbox: Sandbox) -> None:
    """Without a key of the user's, each task is a send of its own."""
    for task_id in ("a", "b"):
        assert execute(operator(task_id, send_key=None), store=Store())["calls"] == 1
    assert len(sandbox.texts_to(phone(0))) == 2


@pytest.mark.parametrize("what", ["template", "channel", "keys"])
def test_a_call_that_was_closed_without_evidence_binds_the_key(what: str) -> None:
    """WATI may still show it, and the people in it could not be compared under another template, channel or use of keys."""
    sends = model_sends()
    sends.model.templates.append({**sends.model.templates[0], "id": "t2", "name": "other"})
    sends.model.lags = [Lag(listed=400)]
    sends.model.faults = [Fault("drop", after=True)]
    sends.attempt(people(1), dies=True)
    sends.clock.advance(200)
    sends.model.faults = [Fault("status", status=401)]
    assert isinstance(sends.attempt(people(1)).error, WatiAuthenticationError)
    sends.clock.advance(3_600)
    rows = [person(0, key="k")] if what == "keys" else people(1)
    changed: dict[str, Any] = {"template": {"template_name": "other"}, "channel": {"channel": "Support"}}.get(
        what, {}
    )
    done = sends.attempt(rows, **changed)
    assert isinstance(done.error, WatiConfigurationError)
    assert sends.messages(1) == [1]
