"""A sandbox that goes on after a restart."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_wati.sandbox.model.lookups import find_template
from airflow_provider_wati.sandbox.saving.data_file import DataFile
from airflow_provider_wati.sandbox.saving.saver import load
from airflow_provider_wati.sandbox.saving.snapshot import take
from airflow_provider_wati.sandbox.scenarios import load_scenario
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.workspace import Workspace
from tests.unit.sandbox.conftest import ADA, BEN, DANA_NEVER_WROTE, Caller, order_recipient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOUR = 3600
PATIENCE = 60.0
#: How many seconds the server may answer nobody while the data of 100,000 messages are copied.
MOST_BLOCKED = 2.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sandbox.data"


def everything_of(wati: Caller) -> dict[str, Any]:
    """What the API and the control API tell of the data."""
    page = {"page_number": 1, "page_size": 100}
    found: dict[str, Any] = {
        each: wati("GET", f"/{each}", params=page).json()
        for each in (
            "contacts",
            "conversations",
            "messageTemplates",
            "broadcasts",
            "channels",
            "chatbots",
            "webhooks",
        )
    }
    for phone in (ADA, BEN, DANA_NEVER_WROTE):
        answer = wati("GET", f"/conversations/{phone}/messages", params=page)
        found[phone] = answer.json() if answer.ok else answer.status_code
    for campaign in wati.control("GET", "/broadcasts")["broadcasts"]:
        found[campaign["id"]] = wati("GET", f"/broadcasts/{campaign['id']}/recipients", params=page).json()
    state = wati.control("GET", "/state")
    return found | {name: state[name] for name in ("clock", "teams", "tags", "operators", "messages")}


def fill(wati: Caller) -> None:
    """Let something of every kind happen, with the clock stopped."""
    wati.control("POST", "/clock", json={"frozen": True, "advance": 100})
    wati.send_template(ADA, BEN, order_recipient("12025550190"), "12025131026")
    wati.send_template(ADA, scheduled_at="2999-01-01T00:00:00Z")
    wati.advance(60)
    media = {"file_name": "a.png", "mime_type": "image/png", "data": "iVBORw0KGgo="}
    wati.control("POST", "/inbound", json={"phone": ADA, "text": "Zoë \u202e", "media": media})
    wati.control("POST", "/inbound", json={"phone": BEN, "text": "STOP"})
    wati.send_text(ADA)
    wati("DELETE", "/contacts/12025550190")
    wati.control("PUT", "/templates/spring_sale", json={"status": "APPROVED"})


def restarted(start: Any, path: Path, wati: Caller, **options: Any) -> Caller:
    wati.server.stop()
    again: Caller = start(data=path, **options)
    return again


def test_everything_is_there_after_a_restart(start_sandbox: Any, path: Path) -> None:
    """Contacts, conversations, messages, campaigns, templates, webhooks and the clock are as they were, twice."""
    wati = start_sandbox(data=path)
    fill(wati)
    before = everything_of(wati)
    for _ in range(2):
        wati = restarted(start_sandbox, path, wati)
        assert everything_of(wati) == before


def test_it_goes_on_as_if_it_had_not_stopped(start_sandbox: Any, path: Path) -> None:
    """Later messages get the numbers, fates and places that they would have had; what was scheduled begins."""
    ends = []
    for stops in (False, True):
        where = path.with_name(f"{stops}.data")
        wati = start_sandbox(data=where)
        fill(wati)
        if stops:
            wati = restarted(start_sandbox, where, wati)
        sent = wati.send_template(ADA, BEN).json()
        wati.advance(2000 * 366 * 24 * HOUR)
        rows = wati.control("GET", "/messages")["messages"]
        for row in rows:
            del row["created"]
        ends.append((sent, rows))
    assert ends[0] == ends[1]


def test_answers_that_were_to_come_still_come(start_sandbox: Any, path: Path) -> None:
    """Customers of a scenario answer at their time, once each, whether or not the sandbox was off meanwhile."""
    ends = []
    for stops in (False, True):
        where = path.with_name(f"{stops}.data")
        wati = start_sandbox(data=where, scenario=load_scenario("clinic"))
        wati.control("POST", "/clock", json={"frozen": True})
        params = [{"name": name, "value": "x"} for name in ("name", "doctor", "day", "time")]
        recipients = [
            {"phone_number": str(919810000001 + number), "custom_params": params} for number in range(300)
        ]
        body = {"template_name": "appointment_reminder", "broadcast_name": "a", "recipients": recipients}
        wati("POST", "/messageTemplates/send", json=body)
        for _ in range(6):
            wati.advance(HOUR)
            if stops:
                wati = restarted(start_sandbox, where, wati)
        ends.append(wati.control("GET", "/state")["messages"])
    assert ends[0] == ends[1] > 350


def test_the_file_has_what_happened_seconds_ago(start_sandbox: Any, path: Path) -> None:
    """A change is in the file soon, without a stop; a file without changes is not written again."""
    wati = start_sandbox(data=path)
    before = path.stat().st_mtime_ns
    wati.send_template(ADA)
    deadline = time.monotonic() + PATIENCE
    while b"order_update" not in path.read_bytes() or path.stat().st_mtime_ns == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_reset_is_kept_and_goes_back_to_the_scenario(start_sandbox: Any, path: Path) -> None:
    """After a reset the file has what the scenario has, and another scenario does not change a file that is there."""
    wati = start_sandbox(data=path)
    wati.send_template(ADA)
    wati.control("POST", "/reset", json={})
    wati = restarted(start_sandbox, path, wati, scenario=load_scenario("clinic"))
    assert wati("GET", f"/contacts/{ADA}").json()["name"] == "Ada Wong"
    assert wati.control("GET", "/people")["messages"] == 0
    wati.control("POST", "/reset", json={})
    assert wati("GET", f"/contacts/{ADA}").status_code == 404


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_saves_when_it_is_stopped(path: Path, number: signal.Signals) -> None:
    """A message of the last moment is there after the process was told to end."""
    arguments = [sys.executable, "-m", "airflow_provider_wati.sandbox", "--port", "0", "--data", str(path)]

    def run(act: Callable[[str], None]) -> None:
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                url = next(
                    found[1] for line in process.stdout if (found := re.search(r"Page +(http\S+?)/$", line))
                )
                act(url)
            finally:
                os.kill(process.pid, number)
            process.wait(PATIENCE)

    inbound = {"phone": ADA, "text": "the last moment"}
    run(lambda url: requests.post(f"{url}/_sandbox/inbound", json=inbound, timeout=10).raise_for_status())
    counts: list[int] = []
    run(lambda url: counts.append(requests.get(f"{url}/_sandbox/state", timeout=10).json()["messages"]))
    assert counts == [8]
    assert b"the last moment" in path.read_bytes()


def test_a_hundred_thousand_messages_are_saved_while_others_are_answered(path: Path) -> None:
    """Copying the data of 100,000 messages takes a moment; writing them leaves the interpreter to others."""
    workspace = Workspace("a-token", Settings(), load_scenario("shop"))
    state = workspace.state
    from airflow_provider_wati.sandbox.model.campaigns import Order, Recipient, place

    template = find_template(state, "abandoned_cart", state.default_channel)
    assert template is not None
    values = (("name", "item"), "Ada", "a kettle")
    for start in range(0, 100_000, 10_000):
        people = [Recipient(str(919900000001 + start + n), None, None, values) for n in range(10_000)]
        place(state, Order(state.default_channel, template, "carts", people))
    copying = []
    for _ in range(3):
        began = time.perf_counter()
        snapshot = take(workspace)
        copying.append(time.perf_counter() - began)
    gaps: list[float] = []
    done = threading.Event()

    def look() -> None:
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    watching = threading.Thread(target=look)
    watching.start()
    with DataFile(path) as data:
        began = time.perf_counter()
        data.write(snapshot.records())
        writing = time.perf_counter() - began
        done.set()
        watching.join()
        began = time.perf_counter()
        other = Workspace("a-token", Settings())
        load(other, data)
        loading = time.perf_counter() - began
    print(
        f"100,000 messages to as many people: the server answers nobody for {min(copying) * 1000:.0f} ms, "
        f"writing {path.stat().st_size / 1e6:.0f} MB takes {writing:.1f} s with pauses of "
        f"{statistics.median(gaps) * 1000:.1f} ms (most {max(gaps) * 1000:.0f} ms), loading {loading:.1f} s"
    )
    assert min(copying) < MOST_BLOCKED
    assert len(other.state.messages) == len(state.messages)
    assert other.state.standing(50_000) == state.standing(50_000)
