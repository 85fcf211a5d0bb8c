"""The control API, the command line, and the contract check itself."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
import requests

from airflow_provider_wati.sandbox.gate import Gate
from airflow_provider_wati.sandbox.settings import Settings
from tests.support.contract import ContractCheck, load_contract
from tests.unit.sandbox.conftest import ADA, BEN, NOBODY, PAGE, Caller, order_recipient


def test_reset_goes_back_to_the_seed_or_to_an_empty_state(wati: Caller) -> None:
    """A reset restores the seed, or an empty state."""
    wati.send_template(NOBODY)
    wati.fault("drop")
    wati.settings(missing_status=400)
    wati.control("POST", "/reset", json={})
    state = wati.control("GET", "/state")
    assert (state["contacts"], state["broadcasts"], state["settings"]["missing_status"]) == (7, 0, 404)
    assert wati("GET", "/account/credits").status_code == 200
    wati.control("POST", "/reset", json={"seed": False})
    assert wati.control("GET", "/state")["contacts"] == 0
    assert wati("GET", "/messageTemplates", params=PAGE).json()["total"] == 4


def test_contacts_can_be_seeded_in_bulk_and_one_by_one(wati: Caller) -> None:
    """Contacts are added by count or one by one."""
    assert wati.control("POST", "/contacts", json={"count": 5000}) == {"contacts": 5007}
    last = wati("GET", "/contacts", params={"page_number": 51, "page_size": 100}).json()["contact_list"]
    assert [contact["wa_id"] for contact in last][-1] == "919800005000"
    special = {"phone": NOBODY, "name": "Nora", "custom_params": {"tier": "new"}, "allow_broadcast": False}
    wati.control("POST", "/contacts", json={"contacts": [special]})
    nora = wati("GET", f"/contacts/{NOBODY}").json()
    assert (nora["allow_broadcast"], nora["custom_params"]) == (False, [{"name": "tier", "value": "new"}])


def test_a_stranger_who_writes_in_becomes_a_contact(wati: Caller) -> None:
    """A message of an unknown person creates the contact."""
    wati.control(
        "POST", "/inbound", json={"phone": NOBODY, "name": "Nora", "text": "Hi", "channel": "Support"}
    )
    assert wati("GET", f"/contacts/{NOBODY}").json()["name"] == "Nora"
    assert wati.send_text(NOBODY, "Hello Nora").status_code == 200
    history = wati("GET", f"/conversations/Support:{NOBODY}/messages", params=PAGE).json()["message_list"]
    assert [(each["owner"], each["text"]) for each in history] == [(True, "Hello Nora"), (False, "Hi")]


def test_a_template_can_be_approved_and_added(wati: Caller) -> None:
    """A template can be approved and added while the sandbox runs."""
    wati.control("PUT", "/templates/spring_sale", json={"status": "APPROVED"})
    assert wati.send_template(ADA, template_name="spring_sale").status_code == 200
    wati.control("PUT", "/templates/survey", json={"body": "How was {{thing}}?", "params": {"thing": "it"}})
    recipient = {"phone_number": BEN, "custom_params": [{"name": "thing", "value": "lunch"}]}
    wati.send_template(recipient, template_name="survey")
    assert wati.texts_to(BEN) == ["How was lunch?"]


def test_messages_are_found_by_person_and_by_campaign(wati: Caller) -> None:
    """Messages are filtered by phone number and by campaign name."""
    wati.send_template(
        order_recipient(ADA, local_message_id="order-1001-x"), BEN, broadcast_name="orders [a-1]"
    )
    wati.send_template(ADA, broadcast_name="orders [a-2]")
    wati.send_text(ADA, "By hand")
    wati.send_template(ADA, broadcast_name="later", scheduled_at="2099-01-01T00:00:00Z")

    by_campaign = wati.control("GET", "/people?broadcast_name=orders [a")
    assert by_campaign["counts"] == {ADA: 2, BEN: 1}
    assert (by_campaign["people"], by_campaign["messages"], by_campaign["most"]) == (2, 3, 2)
    messages = wati.control("GET", f"/messages?phone={ADA}")["messages"]
    assert [message["broadcast_name"] for message in messages] == ["orders [a-1]", "orders [a-2]", None]
    assert messages[0]["local_message_id"] == "order-1001-x"
    assert wati.control("GET", "/messages?skip=1&limit=1")["messages"][0]["phone"] == BEN
    assert wati.server.state.sent_per_phone() == {ADA: 3, BEN: 1}
    broadcasts = wati.control("GET", "/broadcasts")["broadcasts"]
    assert [(each["name"], each["statuses"]) for each in broadcasts] == [
        ("later", {"pending": 1}),
        ("orders [a-2]", {"queued": 1}),
        ("orders [a-1]", {"queued": 2}),
    ]


def test_the_request_log_has_no_token(wati: Caller) -> None:
    """The log of requests does not contain the token."""
    wati.control("DELETE", "/requests")
    wati("GET", "/account/credits")
    wati.fault("drop", path="*/credits")
    with pytest.raises(requests.ConnectionError):
        wati("GET", "/account/credits")
    wati("GET", f"/contacts/{ADA}")
    answer = wati.control("GET", "/requests?method=GET&path=credits")
    assert [(each["status"], each["fault"]) for each in answer["requests"]] == [(200, None), (None, "drop")]
    assert wati.control("GET", "/requests?limit=1")["requests"][0]["path"].endswith(ADA)
    assert wati.server.token not in str(answer)


def test_the_clock_stops_moves_and_runs_on(wati: Caller) -> None:
    """The clock can be frozen, advanced and resumed."""
    before = wati.control("GET", "/clock")
    assert before["frozen"] is True
    assert wati.control("GET", "/clock")["now"] == before["now"]
    assert wati.control("POST", "/clock", json={"advance": 86400})["now"] > before["now"]
    moved = wati.control("POST", "/clock", json={"frozen": False})
    assert moved["frozen"] is False
    assert wati.control("GET", "/clock")["now"] > moved["now"]


@pytest.mark.parametrize("change", [{"missing_status": 500}, {"tenant": "7"}, {"speed": "fast"}, {"sped": 2}])
def test_a_setting_that_makes_no_sense_is_refused(wati: Caller, change: dict[str, Any]) -> None:
    """A wrong setting is a 400."""
    response = requests.patch(f"{wati.server.url}/_sandbox/settings", json=change, timeout=5)
    assert response.status_code == 400


def test_settings_from_the_start_survive_a_reset(start_sandbox: Any) -> None:
    """A reset restores the settings of the start."""
    wati = start_sandbox(Settings(tenant="424242", missing_status=400), token="other-token")
    wati.server.reset()
    assert wati.server.endpoint.endswith("/424242")
    assert wati("GET", f"/contacts/{NOBODY}").status_code == 400
    assert wati.v1("GET", "/whatsApp/messages/14155550100/no-such-message").status_code == 400


async def _never(*_: Any) -> dict[str, Any]:
    raise AssertionError("not to be called")


def test_the_control_api_answers_only_this_machine(wati: Caller) -> None:
    """The control API refuses other machines."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    def call(host: str) -> int:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/_sandbox/state",
            "raw_path": b"/_sandbox/state",
            "query_string": b"",
            "headers": [(b"host", b"10.0.0.1")],
            "client": (host, 5),
            "server": ("10.0.0.1", 80),
            "scheme": "http",
            "root_path": "",
            "http_version": "1.1",
            "asgi": {"version": "3.0"},
        }
        app = wati.server.app
        assert isinstance(app, Gate)
        sent.clear()
        asyncio.run(app(scope, _never, send))  # type: ignore[arg-type]  # a hand-made scope
        status: int = sent[0]["status"]
        return status

    assert call("127.0.0.1") == 200
    assert call("10.0.0.7") == 403


def test_verbose_logs_requests_with_masked_phone_numbers(
    start_sandbox: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """With --verbose, requests are logged with masked phone numbers."""
    wati = start_sandbox(verbose=True)
    with caplog.at_level(logging.INFO, logger="airflow_provider_wati.sandbox"):
        wati("GET", f"/contacts/{ADA}")
    assert "GET /api/ext/v3/contacts/*******0143 -> 200" in caplog.text
    assert ADA not in caplog.text
    assert wati.server.token not in caplog.text


def test_the_command_starts_says_what_to_do_and_stops() -> None:
    """The command prints endpoint and token, and stops at Ctrl-C."""
    command = [sys.executable, "-u", "-m", "airflow_provider_wati.sandbox", "--port", "0", "--tenant", "77"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(4)]
            url = lines[2].split()[-1].removesuffix("/77")
            assert lines[1] == f"Page          {url}/"
            assert lines[3].split()[-1] == "sandbox-token"
            response = requests.get(
                f"{url}/api/ext/v3/account/credits",
                headers={"Authorization": "Bearer sandbox-token"},
                timeout=5,
            )
            assert response.status_code == 200
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 0
    assert output.endswith("Sandbox stopped.\n")
    assert errors == ""


# The check itself: a check that lets everything through would prove nothing.


@pytest.fixture
def broken(start_sandbox: Any) -> tuple[Caller, ContractCheck]:
    """A sandbox whose answers can be spoiled without the check knowing that it was on purpose."""
    checks: list[ContractCheck] = []

    def forget_the_fault(app: Any) -> Any:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            async def forgetful_send(message: Any) -> None:
                scope.pop("wati_sandbox.fault", None)
                await send(message)

            await app(scope, receive, forgetful_send)

        checks.append(ContractCheck(inner, load_contract()))
        return checks[0]

    caller = start_sandbox(wrap=forget_the_fault)
    return caller, checks[0]


def test_the_check_sees_an_answer_that_breaks_the_contract(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check finds a wrong answer."""
    wati, check = broken
    wati.fault("answer", path="*/credits", answer={"credit": "a lot", "extra": 1}, when="after")
    wati("GET", "/account/credits")
    text = "\n".join(check.violations)
    assert "'a lot' is not of type 'number'" in text
    assert "'extra' was unexpected" in text
    with pytest.raises(AssertionError):
        check.assert_clean()


def test_the_check_sees_an_answer_that_is_not_json(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check finds an answer that is not JSON."""
    wati, check = broken
    wati.fault("garbage", path="*/credits")
    wati("GET", "/account/credits")
    assert "not JSON" in check.violations[0]


def test_the_check_sees_a_request_that_breaks_the_contract(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check finds a wrong request."""
    wati, check = broken
    # What the sandbox itself would refuse is let through by an answer made up before it looks.
    wati.fault("answer", answer={})
    wati.send_template({"phone_number": int(ADA)}, {}, channel_number="1")
    wati("GET", "/contacts", params={"page_number": 1, "pageSize": 5})
    wati("POST", "/conversations/messages/file", files={"target": (None, ADA), "files": ("a", b"a")})
    text = "\n".join(check.violations)
    for fault in (
        f"{ADA} is not of type 'string'",
        "'channel_number' was unexpected",
        "pageSize is not a parameter",
        "page_size is missing",
        "files is not a member",
        "file is missing",
    ):
        assert fault in text


def test_the_check_sees_an_operation_that_does_not_exist(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check finds a call that WATI does not have."""
    wati, check = broken
    wati("GET", "/no-such-thing")
    assert check.violations == []
    wati.fault("answer", answer={})
    wati("GET", "/no-such-thing")
    assert check.violations == ["GET /api/ext/v3/no-such-thing: not in the contract"]


def test_the_check_excuses_what_the_sandbox_refused(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check ignores a wrong request that the sandbox refused."""
    wati, check = broken
    assert wati("POST", "/contacts", json={"name": 1}).status_code == 400
    check.assert_clean()
    assert check.exercised["POST /contacts"] == 0
