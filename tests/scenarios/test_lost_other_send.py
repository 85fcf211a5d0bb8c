"""The journal is gone, and the send was changed at the same time: what WATI shows of it is compared instead."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.operators.templates import WatiBroadcastTemplateOperator
from airflow_provider_wati.sending.journal import Start
from tests.support.sends import Attempt, ModelSends, SandboxSends, model_sends, people, person, phone
from tests.support.tasks import Execute, Store
from tests.support.wati_model import Fault, Habits

if TYPE_CHECKING:
    from tests.conftest import Sandbox

KEYED = [person(n, key=f"o{n}") for n in range(3)]
#: How an attempt can be without the journal of the one before it.
STARTS: dict[str, dict[str, Any]] = {
    "lost": {},
    "own key, new directory": {"may_have_run": False, "is_shared": True},
}
starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


def sends_with_two_templates(habits: Habits | None = None, **settings: Any) -> ModelSends:
    """Make an account that has another template with the same parameters."""
    sends = model_sends(habits, **settings)
    sends.model.templates.append({**sends.model.templates[0], "id": "t2", "name": "apology"})
    return sends


def is_refused(done: Attempt, what: str) -> bool:
    """Return whether an attempt has sent nothing and said why, also at each row."""
    return (
        isinstance(done.error, WatiConfigurationError)
        and f"was used with another {what} (" in str(done.error)
        and done.calls == 0
        and done.statuses == ["unknown"] * len(done.statuses)
        and all(f"another {what}" in reason for reason in done.reasons)
    )


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"template_name": "welcome"}, r"template \('order_update', now 'welcome'\)"),
        ({"channel": "Support"}, r"channel \(None, now 'Support'\)"),
        ({"key_column": "order"}, r"use of keys \(False, now True\)"),
    ],
    ids=["template", "channel", "keys"],
)
def test_a_clear_of_airflow_3_4_with_a_change_says_so(
    change: dict[str, Any], what: str, execute: Execute, sandbox: Sandbox
) -> None:
    """Airflow 3.4 empties its store on Clear: nobody is messaged again, and the task is not green."""
    rows = [{"phone": phone(n), "name": "Ada", "order": f"o{n}"} for n in range(3)]

    def operator(**more: Any) -> WatiBroadcastTemplateOperator:
        settings: dict[str, Any] = {
            "task_id": "send",
            "template_name": "order_update",
            "target_column": "phone",
            "param_columns": {"name": "name"},
            "template_params": {"order_id": "1001", "status": "packed"},
            "check_consent": False,
            "rows": rows,
            "retries": 1,
        }
        return WatiBroadcastTemplateOperator(**{**settings, **more})

    execute(operator(), store=Store())
    with pytest.raises(WatiConfigurationError, match=f"was used with another {what}"):
        execute(operator(**change), store=Store(), clears=1, try_number=2)
    assert [len(sandbox.texts_to(phone(n))) for n in range(3)] == [1] * 3


@starts
def test_another_template_is_refused(start: dict[str, Any]) -> None:
    """The campaign has the id of the other template, so its people are not those of this one."""
    sends = sends_with_two_templates()
    sends.attempt(people(3))
    sends.lose_state()
    for _ in range(2):
        assert is_refused(sends.attempt(people(3), template_name="apology", **start), "template")
    assert sends.messages(3) == [1] * 3
    assert sends.attempt(people(3), **start).statuses == ["accepted"] * 3


@starts
@pytest.mark.parametrize(("before", "now"), [("Main", "Support"), ("Main", None), (None, "Support")])
def test_another_channel_is_refused(before: str | None, now: str | None, start: dict[str, Any]) -> None:
    """A channel lists its own campaigns only, so the lists of the others are read before anybody is messaged."""
    sends = model_sends()
    sends.attempt(people(3), channel=before)
    sends.lose_state()
    done = sends.attempt(people(3), channel=now, **start)
    assert is_refused(done, "channel")
    assert f"({before!r}, now {now!r})" in str(done.error)
    assert sends.messages(3) == [1] * 3


@starts
def test_keys_that_are_added_are_refused(start: dict[str, Any]) -> None:
    """The ids of the messages are made without a key, so it is not known which of a person's messages was sent."""
    sends = model_sends()
    sends.attempt(people(3))
    sends.lose_state()
    assert is_refused(sends.attempt(KEYED, **start), "use of keys")
    assert sends.messages(3) == [1] * 3


@starts
def test_keys_that_are_removed_are_refused(start: dict[str, Any], sends: SandboxSends) -> None:
    """The ids of the messages are made of none of the names that WATI shows."""
    sends.attempt(KEYED)
    sends.lose_state()
    assert is_refused(sends.attempt(people(3), **start), "use of keys")
    assert sends.messages(3) == [1] * 3


def test_a_template_that_wati_does_not_show_is_no_difference() -> None:
    """Without a template id nobody is refused, and nobody is messaged twice."""
    sends = sends_with_two_templates(Habits(tells_template=False))
    sends.attempt(people(3))
    for name in ("order_update", "apology"):
        sends.lose_state()
        assert sends.attempt(people(3), template_name=name).statuses == ["accepted"] * 3
    assert sends.messages(3) == [1] * 3


def test_a_template_that_was_created_again_is_no_difference() -> None:
    """An id that no listed template has may be that of an earlier version."""
    sends = model_sends()
    sends.attempt(people(3))
    sends.lose_state()
    sends.model.templates[0] = {**sends.model.templates[0], "id": "t9"}
    sends.model.campaigns[0].template = "gone"
    assert sends.attempt(people(3)).statuses == ["accepted"] * 3


def test_a_template_in_two_languages_is_one() -> None:
    """Templates of one name have an id each."""
    sends = model_sends()
    sends.attempt(people(3))
    sends.lose_state()
    sends.model.templates.insert(0, {**sends.model.templates[0], "id": "t0"})
    assert sends.attempt(people(3)).statuses == ["accepted"] * 3


def test_a_send_that_reached_nobody_binds_nobody() -> None:
    """A campaign whose messages failed, or that was taken back, leaves template and channel free."""
    sends = sends_with_two_templates(Habits(lists_refused=True))
    sends.model.faults = [Fault("errors", targets=[phone(0)])]
    assert sends.attempt(people(1)).statuses == ["rejected"]
    sends.lose_state()
    done = sends.attempt(people(1), template_name="apology", channel="Support")
    assert done.statuses == ["accepted"]
    sends.lose_state()
    assert sends.attempt(people(1), template_name="apology", channel="Support").statuses == ["accepted"]


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_schedule_of_another_channel_binds_until_it_is_taken_back(is_cancelled: bool) -> None:
    """It lists nobody before it is due, and reaches its people then."""
    sends = model_sends()
    sends.attempt(people(1), channel="Main", scheduled_at=sends.clock.now() + timedelta(hours=5))
    if is_cancelled:
        sends.model.cancel(sends.model.campaigns[0])
    sends.lose_state()
    done = sends.attempt(people(1), channel="Support")
    assert is_refused(done, "channel") is not is_cancelled
    assert sends.messages(1) == [1]


@pytest.mark.parametrize("status", [403, 404])
def test_channels_that_may_not_be_read_are_no_difference(status: int) -> None:
    """A token without the scope goes on as before: what WATI does not show is not known."""
    sends = model_sends()
    sends.attempt(people(1))
    sends.lose_state()
    sends.model.faults = [Fault("status", call="channels", status=status, count=10)]
    done = sends.attempt(people(2, first=1))
    assert done.statuses == ["accepted"] * 2


def test_channels_that_cannot_be_read_now_hold_everybody_back() -> None:
    """An outage in between is no evidence that there is no other channel."""
    sends = model_sends()
    sends.attempt(people(1), channel="Main")
    sends.lose_state()
    sends.model.faults = [Fault("status", call="channels", count=1_000)]
    assert sends.attempt(people(1), channel="Support").statuses == ["unknown"]
    sends.model.faults = []
    assert is_refused(sends.attempt(people(1), channel="Support"), "channel")
    assert sends.messages(1) == [1]


def test_an_unchanged_send_reads_no_other_channel() -> None:
    """What is found on the channel of the send costs the calls that it did before."""
    sends = model_sends(channel="Main")
    sends.attempt(people(3))
    assert sends.attempt(people(3)).requests == ["templates"]
    sends.lose_state()
    done = sends.attempt(people(3))
    assert (done.start, done.statuses) == (Start.LOST, ["accepted"] * 3)
    assert done.requests == ["templates", "campaigns", "recipients", "campaign"]


@pytest.mark.parametrize("change", ["template", "keys"])
def test_a_mapped_task_takes_no_other_message_for_its_own(change: str) -> None:
    """Mapped tasks may have a template or keys each, so who has another message is unknown, and nothing is refused."""
    sends = sends_with_two_templates(is_mapped=True, family="key")
    sends.attempt([person(0)], send_key="key 0")
    sends.lose_state()
    rows = [person(0, key="1001")] if change == "keys" else [person(0)]
    settings: dict[str, Any] = {"template_name": "apology"} if change == "template" else {}
    done = sends.attempt(rows, send_key="key 1", **settings)
    assert (done.error, done.statuses) == (None, ["unknown"])
    assert sends.messages(1) == [1]


def test_a_campaign_that_reached_nobody_hides_no_other_channel() -> None:
    """The channel of the send lists a failed campaign only, and another channel has the message: the send is refused."""
    sends = model_sends(Habits(lists_refused=True))
    sends.model.faults = [Fault("errors", targets=[phone(0)])]
    assert sends.attempt(people(1), channel="Support").statuses == ["rejected"]
    assert sends.attempt(people(1), channel="Main").statuses == ["accepted"]
    sends.lose_state()
    sends.attempt(people(1), channel="Support")
    assert sends.messages(1) == [1]
