from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiUnknownOutcomeError
from airflow_provider_wati.testing import WatiSandbox

ADA, BEN = "12025550143", "12025550144"
NEW = "919800000001"

pytest_plugins = ["pytester"]


def test_the_connection_leads_to_it_and_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs the variable of the connection names it; afterwards the variable is what it was."""
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "before")
    with WatiSandbox(conn_id="shop", extra={"channel": "Support"}) as wati:
        connection = json.loads(os.environ["AIRFLOW_CONN_SHOP"])
        assert (connection["conn_type"], connection["host"]) == ("wati", wati.endpoint)
        assert connection["extra"]["channel"] == "Support"
    assert os.environ["AIRFLOW_CONN_SHOP"] == "before"


def test_sandboxes_can_be_nested() -> None:
    """Of two under one connection id the inner one counts, and each keeps its own messages."""
    with WatiSandbox() as outer:
        with WatiSandbox() as inner:
            assert json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])["host"] == inner.endpoint
            inner.client().send_text(ADA, "Hello")
            inner.received(ADA)
        assert json.loads(os.environ["AIRFLOW_CONN_WATI_DEFAULT"])["host"] == outer.endpoint
        outer.nothing_received()
    assert "AIRFLOW_CONN_WATI_DEFAULT" not in os.environ


def test_it_decorates_functions() -> None:
    """A decorated function gets a fresh sandbox with each call, and pytest does not take it for a fixture."""
    seen = []

    @WatiSandbox(people=False)
    def send(text: str, wati: WatiSandbox) -> str:
        wati.customer_writes(NEW, "Hi")
        wati.client().send_text(NEW, text)
        seen.append(wati)
        return wati.received(NEW)[0].text

    assert list(inspect.signature(send).parameters) == ["text"]
    assert [send("one"), send("two")] == ["one", "two"]  # type: ignore[call-arg] # the decorator gives the other
    assert seen[0] is not seen[1]


def test_it_does_not_decorate_coroutine_functions() -> None:
    """A coroutine function would run after the sandbox has stopped, so it is refused."""

    async def send() -> None: ...

    with pytest.raises(TypeError, match="plain functions"):
        WatiSandbox()(send)


def test_it_says_how_to_use_it_when_it_does_not_run() -> None:
    """A sandbox that was not started says how it is."""
    with pytest.raises(RuntimeError, match="with WatiSandbox"):
        WatiSandbox().messages()


def test_received_finds_templates_by_their_parameters() -> None:
    """Template, parameters and campaign are found, and the message has what a test looks at."""
    with WatiSandbox() as wati:
        wati.add_template("late", "Hi {{name}}, order {{order}} is late.")
        people = [
            {
                "phone_number": ADA,
                "custom_params": [{"name": "name", "value": "Ada"}, {"name": "order", "value": "7"}],
            }
        ]
        wati.client().send_template_messages("late", "delays", people)
        [message] = wati.received("+1 202-555-0143", template="late", params={"order": 7}, campaign="delays")
        assert (message.text, message.kind) == ("Hi Ada, order 7 is late.", "template")
        assert wati.received(ADA, text=re.compile("order 7"), times=None) == [message]
        assert wati.messages(template="late") == [message]
        with pytest.raises(AssertionError, match=r"- params\['order'\]: '8'\n  \+ params\['order'\]: '7'"):
            wati.received(ADA, params={"order": "8"})
        with pytest.raises(AssertionError, match="Expected 2 messages, found 1"):
            wati.received(ADA, template="late", times=2)
        with pytest.raises(AssertionError, match="Expected no message, found"):
            wati.nothing_received()
        wati.nothing_received(BEN)


def test_scheduled_messages_arrive_when_the_clock_gets_there() -> None:
    """A scheduled message is not received before its time, the failure says so, and moving the clock delivers it."""
    with WatiSandbox() as wati:
        people = [{"phone_number": ADA}]
        due = wati.now + timedelta(hours=3)
        wati.client().schedule_template_messages("welcome", "w", people, due)
        assert [message.phone for message in wati.scheduled()] == [ADA]
        with pytest.raises(AssertionError, match="scheduled: let the time pass"):
            wati.received(ADA, template="welcome")
        wati.move_clock(timedelta(hours=4))
        wati.received(ADA, template="welcome")
        assert wati.scheduled() == []


def test_a_person_without_a_number() -> None:
    """Somebody with a BSUID and no phone number writes, taps, answers and receives like everybody."""
    grace, nele = "US.13491208655302741918", "DE.998877665544332211"
    with WatiSandbox() as wati:
        client = wati.client()
        wati.add_contact(nele, "Nele", custom_params={"tier": "gold"})
        wati.answers(nele, "No")
        for person in (grace, nele):
            wati.customer_writes(person, "Hi")
            client.send_buttons(person, "Today?", ["Yes", "No"])
            [message] = wati.received(person, text=re.compile("Today"))
            assert message.phone == person
        wati.taps(grace, "Yes")
        for person, choice in ((grace, "Yes"), (nele, "No")):
            said = [each for each in client.iter_messages(person) if not each["owner"]]
            assert said[0]["text"] == choice
        with pytest.raises(AssertionError, match="US.13491208655302741918"):
            wati.nothing_received(grace)
        wati.nothing_received(ADA)


def test_taps_and_answers() -> None:
    """A customer taps what is offered, buttons and rows, and nothing else; a waiting answer comes with the question."""
    with WatiSandbox() as wati:
        client = wati.client()
        wati.answers(BEN, "10:00")
        client.send_list(BEN, "When?", "Choose", [{"rows": [{"title": "10:00"}]}])
        with pytest.raises(AssertionError, match="offers 'Yes'"):
            wati.taps(ADA, "Yes")
        client.send_buttons(ADA, "Today?", ["Yes", "No"])
        wati.taps(ADA, "Yes")
        with pytest.raises(AssertionError, match="offers 'Choose'"):
            wati.taps(BEN, "Choose")
        for phone, text in ((ADA, "Yes"), (BEN, "10:00")):
            newest = next(iter(client.iter_messages(phone)))
            assert (newest["text"], newest["owner"]) == (text, False)


def test_calls_fail_as_often_as_they_should() -> None:
    """A fault acts on the endpoint that it names, as often as it says, and its calls are listed as failed."""
    with WatiSandbox() as wati:
        wati.fails("POST /conversations/messages/text", 500)
        client = wati.client()
        with pytest.raises(WatiUnknownOutcomeError):
            client.send_text(ADA, "Hello")
        client.send_text(ADA, "Hello")
        assert [call.status for call in wati.calls("POST")] == [500, 200]
        assert str(wati.calls("POST")[0]).endswith("/conversations/messages/text -> 500 (fault: status)")
        with pytest.raises(ValueError, match="kind must be one of"):
            wati.fails("/contacts", "explode")
        wati.fails("/contacts/count", times=None)
        wati.recovers()
        assert client.count_contacts() > 0


def test_contacts_and_consent() -> None:
    """A contact that is added has its attributes and its consent."""
    with WatiSandbox(people=False) as wati:
        wati.add_contact(NEW, "Zed", custom_params={"tier": "gold"}, allow_broadcast=False)
        contact = wati.client().get_contact(NEW)
        assert (contact["name"], contact["allow_broadcast"]) == ("Zed", False)


def test_pauses_take_no_time_and_the_clocks_go_on_together() -> None:
    """A pause of the provider moves its clock and the sandbox's, and takes no time; afterwards both are the machine's."""
    with WatiSandbox() as wati:
        began, before = time.monotonic(), wati.now
        SYSTEM_CLOCK.sleep(3600)
        assert time.monotonic() - began < 60
        assert wati.now - before >= timedelta(hours=1)
        assert abs(SYSTEM_CLOCK.now() - wati.now) < timedelta(seconds=60)
        wati.client().count_contacts()
        assert abs((wati.client().server_clock_offset or timedelta(0)).total_seconds()) < 60
    assert abs(SYSTEM_CLOCK.now().timestamp() - time.time()) < 60


@pytest.mark.parametrize("module", ["airflow_provider_wati.testing", "airflow_provider_wati.testing.plugin"])
def test_importing_the_kit_loads_neither_airflow_nor_the_sandbox(module: str) -> None:
    """The plugin is imported in every project of its environment, so it loads nothing that is heavy."""
    program = (
        f"import sys, pytest; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    assert not tops & {"airflow", "fastapi", "starlette", "uvicorn", "requests", "sqlite3", "difflib"}


def test_the_missing_extra_is_named() -> None:
    """Without fastapi, starting the sandbox says which extra to install."""
    program = (
        "import sys; sys.modules['fastapi'] = None\n"
        "from airflow_provider_wati.testing import WatiSandbox\n"
        "try:\n    WatiSandbox().__enter__()\nexcept RuntimeError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "needs fastapi" in done.stdout
    assert "airflow-provider-wati[sandbox]" in done.stdout


def test_the_fixture_is_there_by_itself_and_its_connection_can_be_named(pytester: pytest.Pytester) -> None:
    """A project has the fixture without importing anything, and another connection id by overriding one fixture."""
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef wati_conn_id():\n    return 'shop'\n")
    pytester.makepyfile(
        """
        import os

        def test_send(wati_sandbox):
            assert wati_sandbox.endpoint in os.environ["AIRFLOW_CONN_SHOP"]
            wati_sandbox.client().send_text("12025550143", "Hello")
            wati_sandbox.received("12025550143", text="Helo")
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- text: 'Helo'*", "*+ text: 'Hello'*"])


def test_a_project_that_does_not_use_it_is_left_alone(pytester: pytest.Pytester) -> None:
    """In a project without WATI nothing of Airflow or the sandbox is imported, and nothing is in its environment."""
    pytester.makepyfile(
        """
        import os, sys

        def test_nothing():
            assert not {"airflow", "fastapi", "uvicorn"} & set(sys.modules)
            assert not [name for name in os.environ if name.startswith("AIRFLOW_CONN_")]
        """
    )
    environment: Any = pytester
    environment._monkeypatch.delenv("AIRFLOW_CONN_WATI_DEFAULT", raising=False)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
