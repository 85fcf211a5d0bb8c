"""Looks at campaigns: which are found, and what they cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiNotFoundError, WatiValidationError
from airflow_provider_wati.sending.campaign_index import mark_of, name_of
from airflow_provider_wati.waiting.campaigns import CampaignCondition, campaign_condition
from airflow_provider_wati.waiting.condition import Verdict

if TYPE_CHECKING:
    from tests.conftest import Sandbox

PEOPLE = [{"phone_number": f"1202555014{n}"} for n in range(3, 6)]


def send(sandbox: Sandbox, name: str = "campaign") -> str:
    id = sandbox.client().send_template_messages("welcome", name, PEOPLE).campaign_id
    assert id
    return id


def condition_of(**arguments: Any) -> CampaignCondition:
    defaults = {"campaign_id": None, "summary": None, "until": "sent", "share": 1.0, "failure_threshold": 0.0}
    return campaign_condition(**{**defaults, **arguments})


def test_a_look_costs_one_call_for_each_campaign(quick_sandbox: Sandbox) -> None:
    """The statistics decide alone, before and after the messages are sent."""
    quick_sandbox.control("POST", "/clock", {"frozen": True})
    condition = condition_of(campaign_id=send(quick_sandbox))
    client = quick_sandbox.client()
    assert condition.look(client, SYSTEM_CLOCK).verdict is Verdict.WAITING
    quick_sandbox.control("POST", "/clock", {"advance": 60})
    look = condition.look(client, SYSTEM_CLOCK)
    assert (look.verdict, look.result["reached"], look.result["total"]) == (Verdict.DONE, 3, 3)
    assert len(quick_sandbox.requests("GET")) == 2


def test_exclusive_statistics_are_settled_by_the_list(quick_sandbox: Sandbox) -> None:
    """Where counters can mean two things, the list of recipients decides."""
    quick_sandbox.control("PATCH", "/settings", {"statistics": "exclusive"})
    condition = condition_of(campaign_id=send(quick_sandbox))
    quick_sandbox.control("POST", "/clock", {"advance": 3600})
    assert condition.look(quick_sandbox.client(), SYSTEM_CLOCK).verdict is Verdict.DONE


def test_campaigns_beyond_the_summary_are_found_by_the_mark(quick_sandbox: Sandbox) -> None:
    """A send of which the summary names one campaign is waited for in all, and the search is made once."""
    mark = mark_of("key")
    first = send(quick_sandbox, name_of(mark, "ab-1", "campaign"))
    others = {send(quick_sandbox, name_of(mark, f"ab-{n}", "campaign")) for n in (2, 3)}
    send(quick_sandbox, name_of(mark_of("another"), "ab-1", "campaign"))
    summary = {"send_key": "key", "accepted": 9, "campaigns": [{"id": first}], "more_campaigns": 2}
    condition = condition_of(summary=summary)
    quick_sandbox.control("POST", "/clock", {"advance": 60})
    client = quick_sandbox.client()
    look = condition.look(client, SYSTEM_CLOCK)
    assert set(look.result["campaigns"]) == {first, *others}
    assert (look.verdict, look.result["total"]) == (Verdict.DONE, 9)
    calls = len(quick_sandbox.requests("GET"))
    condition.look(client, SYSTEM_CLOCK)
    assert len(quick_sandbox.requests("GET")) - calls == 3


def test_accepted_messages_that_wati_does_not_show_are_not_finished(quick_sandbox: Sandbox) -> None:
    """A campaign that is still filling up is not green, although everybody in it is done."""
    summary = {"send_key": "key", "accepted": 4, "campaigns": [{"id": send(quick_sandbox)}]}
    condition = condition_of(summary=summary)
    quick_sandbox.control("POST", "/clock", {"advance": 60})
    look = condition.look(quick_sandbox.client(), SYSTEM_CLOCK)
    assert (look.verdict, look.result["waiting"]) == (Verdict.WAITING, 1)


def test_a_send_that_accepted_nothing_is_not_waited_for(quick_sandbox: Sandbox) -> None:
    """Nothing to wait for is done, without a call."""
    condition = condition_of(summary={"send_key": "key", "accepted": 0, "campaigns": []})
    assert condition.look(quick_sandbox.client(), SYSTEM_CLOCK).verdict is Verdict.DONE
    assert quick_sandbox.requests() == []


def test_an_unknown_campaign_is_an_error(quick_sandbox: Sandbox) -> None:
    """A campaign that WATI does not know ends the wait."""
    with pytest.raises(WatiNotFoundError):
        condition_of(campaign_id="66b1fb044045cedb1f195390").look(quick_sandbox.client(), SYSTEM_CLOCK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "either campaign_id or summary"),
        ({"campaign_id": "a", "summary": {"send_key": "k"}}, "either campaign_id or summary"),
        ({"summary": "accepted"}, "not the result of a template send"),
        ({"summary": {"accepted": 1}}, "not the result of a template send"),
        ({"summary": {"send_key": "k", "estimate": {}}}, "dry run"),
        ({"summary": {"send_key": "k"}}, "accepted"),
        ({"summary": {"send_key": "k", "accepted": 1, "campaigns": ["a"]}}, "campaigns"),
        ({"campaign_id": "a", "until": "opened"}, "until"),
    ],
)
def test_arguments_that_cannot_be_right(arguments: dict[str, Any], message: str) -> None:
    """The error says which argument to correct."""
    with pytest.raises(WatiValidationError, match=message):
        condition_of(**arguments)


def test_a_send_of_unknown_outcome_is_not_done(quick_sandbox: Sandbox) -> None:
    """Where it is not known whether WATI accepted messages, their campaign is looked for, and waited for if it does not show."""
    condition = condition_of(summary={"send_key": "key", "accepted": 0, "unknown": 4, "campaigns": []})
    assert condition.look(quick_sandbox.client(), SYSTEM_CLOCK).verdict is Verdict.WAITING


def test_a_recipient_that_is_listed_twice_counts_once() -> None:
    """A list that grows between two pages repeats a recipient, who does not stand for one that has got nothing."""
    statuses = [("1", "delivered"), ("1", "delivered"), ("2", "sent")]
    client: Any = SimpleNamespace(
        get_campaign=lambda id: {"id": id},
        iter_campaign_recipients=lambda id: iter({"id": n, "status": status} for n, status in statuses),
    )
    look = condition_of(campaign_id="a", until="delivered", share=0.6).look(client, SYSTEM_CLOCK)
    assert (look.verdict, look.result["reached"], look.result["total"]) == (Verdict.WAITING, 1, 2)
