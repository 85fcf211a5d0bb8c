from __future__ import annotations

import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiError, WatiUnknownOutcomeError
from airflow_provider_wati.hooks.wati import WatiHook
from airflow_provider_wati.testing import WatiSandbox

ADA, BEN = "12025550143", "12025550144"
NEW = "919800000001"
GRACE = "US.13491208655302741918"

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


def test_no_other_wati_is_called_while_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to the real WATI, which a task under test may name by mistake, is refused until the last sandbox ends."""
    live = {"conn_type": "wati", "host": "https://live-mt-server.wati.io/1", "password": "t"}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_LIVE", json.dumps(live))
    with WatiSandbox() as outer:
        for _ in range(2):
            with pytest.raises(
                WatiConfigurationError, match=r"live-mt-server\.wati\.io.*WatiSandbox\(conn_id"
            ):
                WatiHook("wati_live").get_conn()
            with WatiSandbox() as inner:
                assert inner.client().get_credits()
        assert outer.client().get_credits()
    assert WatiHook("wati_live").get_conn()


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


def test_it_decorates_coroutine_and_generator_functions() -> None:
    """A sandbox runs until a coroutine has ended, and until a fixture that yields has been torn down."""

    @WatiSandbox()
    async def send(wati: WatiSandbox) -> int:
        await asyncio.sleep(0)
        return len(wati.messages())

    @WatiSandbox()
    def orders(wati: WatiSandbox) -> Iterator[WatiSandbox]:
        yield wati
        wati.nothing_received()

    assert inspect.iscoroutinefunction(send)
    assert asyncio.run(send()) == 0  # type: ignore[call-arg] # the decorator gives it
    [wati] = orders()  # type: ignore[call-arg] # likewise
    with pytest.raises(RuntimeError, match="does not run"):
        wati.messages()


def test_it_decorates_methods() -> None:
    """The sandbox gets to its place among the arguments of methods, static ones too, wherever that is."""

    class Orders:
        @WatiSandbox()
        def own(self, wati: WatiSandbox, text: str) -> tuple[object, str, str]:
            return self, wati.conn_id, text

        @WatiSandbox()
        @staticmethod
        def static(wati: WatiSandbox, text: str) -> tuple[str, str]:
            return wati.conn_id, text

        @WatiSandbox()
        @classmethod
        def of_class(cls, text: str, *, wati: WatiSandbox) -> tuple[object, str, str]:
            return cls, wati.conn_id, text

    orders: Any = Orders()
    assert orders.own("a") == (orders, "wati_default", "a")
    assert orders.static("a") == ("wati_default", "a")
    assert orders.of_class("a") == (Orders, "wati_default", "a")


def test_what_it_cannot_decorate_is_refused() -> None:
    """A class and an asynchronous generator function would not run with it, so they are refused."""

    async def orders() -> AsyncIterator[int]:
        yield 1

    for function in (int, orders):
        with pytest.raises(TypeError, match="WatiSandbox decorates functions"):
            WatiSandbox()(cast("Any", function))


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


@pytest.mark.parametrize(
    "given",
    ["+1 (202) 555-0143", "1\u2011202\u2011555\u20110143", "\u202a+1 202 555 0143\u202c", "1.202/555_0143"],
)
def test_a_phone_number_is_found_in_any_spelling(given: str) -> None:
    """Separators, hyphens that do not break and marks of direction, as they come with copied numbers, do not matter."""
    with WatiSandbox() as wati:
        wati.client().send_text(ADA, "Hello")
        wati.received(given)
        with pytest.raises(AssertionError, match="Expected no message"):
            wati.nothing_received(given)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("2025550143", "lacks its country code: there is a contact 12025550143"),
        ("001 202 555 0143", "is no phone number"),
        ("Ada", "is no phone number"),
        ("", "is no phone number"),
        ("\uff11\uff12\uff10\uff12\uff15\uff15\uff15\uff10\uff11\uff14\uff13", "is no phone number"),
        (12025550143, "not int"),
    ],
)
def test_nobody_is_said_to_have_received_nothing(given: Any, reason: str) -> None:
    """What means no person is an error in each assertion: that it received nothing would be true of any DAG."""
    with WatiSandbox() as wati:
        wati.client().send_text(ADA, "Hello")
        for ask in (wati.nothing_received, wati.messages, wati.scheduled, wati.received):
            with pytest.raises(ValueError, match=reason):
                ask(given)
        with pytest.raises(ValueError, match=reason):
            wati.taps(given, "Yes")


def test_a_person_without_a_phone_number_is_named_by_their_bsuid() -> None:
    """What somebody got who is known by a BSUID only can be asserted."""
    with WatiSandbox() as wati:
        wati.nothing_received(GRACE)
        wati.client().send_text(GRACE, "Hello")
        assert wati.received(GRACE, text="Hello")[0].phone == GRACE
        with pytest.raises(AssertionError, match="Expected no message"):
            wati.nothing_received(GRACE)


def test_the_clock_stays_within_the_years_that_dates_have() -> None:
    """A move beyond the year 9999 is refused, and the sandbox goes on."""
    with WatiSandbox() as wati:
        for by in (timedelta.max, -timedelta(days=800_000)):
            with pytest.raises(ValueError, match="out of the years"):
                wati.move_clock(by)
        before = wati.now
        wati.move_clock(-timedelta(days=2))
        assert wati.now < before


def test_the_method_of_a_fault_is_taken_in_any_case() -> None:
    """A fault of ``post`` is one of POST, and does not stay without effect."""
    with WatiSandbox() as wati:
        wati.fails("post /conversations/messages/text", 400)
        with pytest.raises(WatiError, match="400"):
            wati.client().send_text(ADA, "Hello")
