from __future__ import annotations

from typing import Any

import requests

from tests.unit.sandbox.conftest import ADA, Caller


def latest(wati: Caller, phone: str) -> Any:
    """The latest message of a person as the page gets it."""
    base = f"{wati.server.url}/_sandbox/page/conversations"
    talk = requests.get(base, params={"query": phone}, timeout=60).json()["rows"][0]
    return requests.get(f"{base}/{talk['id']}", timeout=60).json()["messages"][-1]


def test_a_template_has_its_parts(wati: Caller) -> None:
    """A template message has body and header with their parameters, footer, buttons and its campaign."""
    wati.send_template(ADA)
    message = latest(wati, ADA)
    assert message["body"] == "Hi Ada, your order 1001 is shipped."
    assert (message["kind"], message["footer"], message["buttons"]) == ("template", "Acme Store", [])
    assert (message["campaign"]["name"], message["campaign"]["template"]) == ("orders", "order_update")
    wati.send_template({"phone_number": ADA}, template_name="welcome")
    message = latest(wati, ADA)
    assert (message["header"], message["buttons"]) == ("Hello!", ["Show me what is new", "Stop"])


def test_a_parameter_in_a_header_is_filled_in(wati: Caller) -> None:
    """A header is filled in like the body, and a parameter that is missing leaves its placeholder."""
    template = wati.server.state.templates[0]
    template.header = "Order {{order_id}} {{other}}"
    wati.send_template(ADA)
    assert latest(wati, ADA)["header"] == "Order 1001 {{other}}"


def test_buttons_and_lists_have_their_parts(wati: Caller) -> None:
    """A message with buttons or a list has header, body, footer and what can be tapped, each on its own."""
    send = "/conversations/messages/interactive"
    buttons = {
        "header": {"type": "text", "text": "H"},
        "body": "B",
        "footer": "F",
        "buttons": [{"text": "Yes"}],
    }
    wati("POST", send, json={"target": ADA, "type": "buttons", "button_message": buttons})
    message = latest(wati, ADA)
    assert [message[name] for name in ("header", "body", "footer", "buttons")] == ["H", "B", "F", ["Yes"]]

    rows = [{"title": "10:00", "description": "Morning"}, {"title": "15:00"}]
    content = {"body": "B", "button_text": "Choose", "sections": [{"title": "Today", "rows": rows}]}
    wati("POST", send, json={"target": ADA, "type": "list", "list_message": content})
    message = latest(wati, ADA)
    assert message["list"] == {
        "button": "Choose",
        "sections": [
            {
                "title": "Today",
                "rows": [
                    {"title": "10:00", "description": "Morning"},
                    {"title": "15:00", "description": ""},
                ],
            }
        ],
    }
    assert (message["header"], message["body"], message["footer"]) == (None, "B", None)


def test_a_failure_has_its_reason(wati: Caller) -> None:
    """A message that failed says with which code and why; one that did not has no reason."""
    wati.send_template("12025131026", ADA)
    wati.advance(100)
    assert latest(wati, "12025131026")["reason"] == {"code": "131026", "detail": "Message undeliverable"}
    assert latest(wati, ADA)["reason"] is None
