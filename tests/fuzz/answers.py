"""What WATI answers to each call of the client: JSON that is nearly right, any status, no JSON."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.recipients import encode_recipient
from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.syncing.diff import params_of
from tests.fuzz.harness import Surface
from tests.fuzz.odd import bodies
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    import requests

TOKEN = "eyJ-secret-token-7Yx"
#: More answers than any list of the inputs here has pages, with all attempts.
_MOST_CALLS = 40
_ROWS = 1_000
_ID = "66b1fb04c0ac700000000001"
_PHONE = "85264318722"
_NOW = datetime(2026, 11, 3, 6, 20, 12, tzinfo=UTC)
_TIME = "2026-11-03T06:20:12Z"

_PARAMS = [{"name": "city", "value": "Pune"}, {"name": "tier", "value": None}]
_CONTACT = {
    "id": _ID, "wa_id": _PHONE, "phone": _PHONE, "name": "Ada", "created": _TIME, "opted_in": True,
    "allow_broadcast": "true", "teams": ["Sales"], "custom_params": _PARAMS, "bsuid": None,
}  # fmt: skip
_MESSAGE = {
    "id": _ID, "created": _TIME, "timestamp": "1762150812", "conversation_id": _ID, "text": "Hi", "type": "text", "owner": True,
    "status": "SENT", "failed_detail": None, "local_message_id": "a-b-c-d-e-f",
}  # fmt: skip
_TEMPLATE = {
    "id": _ID, "name": "order_update", "status": "APPROVED", "body": "Hi {{name}}", "header": {"type": "text"}, "buttons": [],
    "custom_params": [{"paramName": "name", "paramValue": "Ada"}],
}  # fmt: skip
_CAMPAIGN = {
    "id": _ID, "name": "wati-x", "status": "processing", "created": _TIME, "scheduled_at": _TIME,
    "statistics": {"total_recipients": 2, "total_sent": 1},
}  # fmt: skip
_RECIPIENT = {
    "id": _ID,
    "contact_phone": _PHONE,
    "status": "sent",
    "local_message_id": "a-b-c-d-e-f",
    "custom_params": _PARAMS,
}
_SENT = {
    "success": True, "broadcast_id": _ID, "error": None,
    "recipients": [
        {"local_message_id": "order-1001-ada", "phone_number": _PHONE, "errors": []},
        {"local_message_id": None, "phone_number": "919810000001", "errors": None},
    ],
}  # fmt: skip
_DONE = {"result": True}
_WEBHOOK: dict[str, Any] = {
    "id": _ID,
    "url": "https://example.com",
    "eventTypes": ["message"],
    "status": "Enabled",
}
_RECIPIENTS = (
    encode_recipient(_PHONE, {"name": "Ada"}, "order-1001-ada"),
    encode_recipient("919810000001", {"name": "Ben"}),
)


def _page(key: str, *rows: dict[str, Any], total: str = "total") -> dict[str, Any]:
    return {key: list(rows), "page_number": 1, "page_size": len(rows), total: 2}


@dataclass(frozen=True, slots=True)
class ClientCall:
    """
    One method of the client.

    :param make: calls it.
    :param answer: what WATI would answer.
    """

    name: str
    make: Callable[[WatiClient], object]
    answer: Any


def _rows(rows: Iterable[Any]) -> list[Any]:
    """Read a list to its end."""
    read = list(islice(rows, _ROWS))
    assert all(isinstance(row, dict) for row in read), "a row is no object"
    return read


def _attributes(contacts: Iterable[Any]) -> None:
    for contact in contacts:
        params_of(contact)


CALLS = (
    ClientCall("create_contact", lambda wati: params_of(wati.create_contact(_PHONE, "Ada", {"city": "Pune"})), _CONTACT),
    ClientCall("get_contact", lambda wati: params_of(wati.get_contact(_PHONE)), _CONTACT),
    ClientCall("update_contacts", lambda wati: _attributes(wati.update_contacts([{"target": _PHONE, "custom_params": {"city": "Pune"}}])), {"contact_list": [_CONTACT]}),
    ClientCall("delete_contact", lambda wati: wati.delete_contact(_PHONE), {"contact_id": _ID, "deleted": True}),
    ClientCall("iter_contacts", lambda wati: _attributes(_rows(wati.iter_contacts())), _page("contact_list", _CONTACT, _CONTACT)),
    ClientCall("count_contacts", lambda wati: wati.count_contacts(), {"contact_count": 2}),
    ClientCall("assign_teams", lambda wati: wati.assign_teams(_PHONE, ["Sales"]), _DONE),
    ClientCall("iter_conversations", lambda wati: _rows(wati.iter_conversations()), _page("conversation_list", {"id": _ID, "channel_type": "whatsapp"})),
    ClientCall("iter_messages", lambda wati: _rows(wati.iter_messages(_PHONE)), _page("message_list", _MESSAGE, _MESSAGE)),
    ClientCall("send_text", lambda wati: wati.send_text(_PHONE, "Hi"), {"message": _MESSAGE}),
    ClientCall("send_file_url", lambda wati: wati.send_file_url(_PHONE, "https://example.com/a.png"), {"message": _MESSAGE}),
    ClientCall("send_file", lambda wati: wati.send_file(_PHONE, io.BytesIO(b"x"), file_name="a.png", mime_type="image/png"), {"message": _MESSAGE}),
    ClientCall("send_buttons", lambda wati: wati.send_buttons(_PHONE, "Hi", ["Yes"]), {"message": _MESSAGE}),
    ClientCall("send_list", lambda wati: wati.send_list(_PHONE, "Hi", "Show", [{"rows": [{"title": "A"}]}]), {"message": _MESSAGE}),
    ClientCall("assign_operator", lambda wati: wati.assign_operator(_PHONE, None), _DONE),
    ClientCall("update_conversation_status", lambda wati: wati.update_conversation_status(_PHONE, "solved"), _DONE),
    ClientCall("add_tag", lambda wati: wati.add_tag(_PHONE, "vip"), _DONE),
    ClientCall("remove_tag", lambda wati: wati.remove_tag(_PHONE, "vip"), _DONE),
    ClientCall("iter_templates", lambda wati: _rows(wati.iter_templates()), _page("templates", _TEMPLATE)),
    ClientCall("get_template", lambda wati: wati.get_template(_ID), _TEMPLATE),
    ClientCall("dispatch_template", lambda wati: wati.dispatch_template("order_update", "c", _RECIPIENTS), _SENT),
    ClientCall("send_template_messages", lambda wati: wati.send_template_messages("order_update", "c", [{"target": _PHONE}]), _SENT),
    ClientCall("schedule_template_messages", lambda wati: wati.schedule_template_messages("order_update", "c", [{"target": _PHONE}], _NOW), _SENT),
    ClientCall("cancel_scheduled_campaign", lambda wati: wati.cancel_scheduled_campaign(_ID), _DONE),
    ClientCall("iter_campaigns", lambda wati: _rows(wati.iter_campaigns()), _page("broadcasts", _CAMPAIGN, _CAMPAIGN)),
    ClientCall("get_campaign", lambda wati: wati.get_campaign(_ID), _CAMPAIGN),
    ClientCall("iter_campaign_recipients", lambda wati: _rows(wati.iter_campaign_recipients(_ID)), _page("recipients", _RECIPIENT, total="total_count")),
    ClientCall("get_campaigns_overview", lambda wati: wati.get_campaigns_overview(_NOW, _NOW), {"total_sent": 1}),
    ClientCall("estimate_campaign_cost", lambda wati: wati.estimate_campaign_cost(_ID, [_ID]), {"estimated_cost": 1.5, "result": True, "is_request_succeeded": True}),
    ClientCall("iter_channels", lambda wati: _rows(wati.iter_channels()), _page("channels", {"id": _ID, "name": "Support"})),
    ClientCall("iter_chatbots", lambda wati: _rows(wati.iter_chatbots()), _page("chatbot_list", {"id": _ID, "name": "Welcome"})),
    ClientCall("start_chatbot", lambda wati: wati.start_chatbot(_PHONE, _ID), _DONE),
    ClientCall("get_credits", lambda wati: wati.get_credits(), {"credit": 1.5, "currency": "USD"}),
    ClientCall("get_webhook_event_types", lambda wati: wati.get_webhook_event_types(), ["message"]),
    ClientCall("get_webhooks", lambda wati: wati.get_webhooks(), {"webhooks": []}),
    ClientCall("list_webhooks", lambda wati: wati.list_webhooks(), {"webhooks": [_WEBHOOK]}),
    ClientCall("create_webhook", lambda wati: wati.create_webhook("https://example.com", ["message"]), {"ok": True, "result": [_WEBHOOK | {"status": 1}]}),
    ClientCall("update_webhook", lambda wati: wati.update_webhook(_ID, "https://example.com", ["message"]), _DONE),
    ClientCall("get_message_by_local_id", lambda wati: wati.get_message_by_local_id("a-b-c-d-e-f", _PHONE), {"id": _ID, "statusString": "SENT"}),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CannedAnswer:
    """One answer of a server: status, headers and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class CannedAnswers(BaseAdapter):
    """Stands in for the network: gives the same answers again and again."""

    def __init__(self) -> None:
        super().__init__()
        self._http = HTTPAdapter()
        self.answers: Iterable[CannedAnswer] = ()
        self._calls = 0

    def start(self, answers: Iterable[CannedAnswer]) -> None:
        """Begin with the first of these answers."""
        self.answers = iter(cycle(answers))
        self._calls = 0

    def close(self) -> None:
        """Close nothing."""

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Answer a request with the next answer."""
        self._calls += 1
        assert self._calls <= _MOST_CALLS, "the calls have no end"
        answer = next(iter(self.answers))
        raw = HTTPResponse(
            io.BytesIO(answer.body), HTTPHeaderDict(answer.headers), answer.status, preload_content=False, request_method=request.method
        )  # fmt: skip
        return self._http.build_response(request, raw)


def client_of(adapter: CannedAnswers, *, max_tries: int = 2) -> WatiClient:
    """Make a client that gets its answers from an adapter, and whose pauses take no time."""
    return WatiClient(
        "http://localhost:9/1001",
        TOKEN,
        rate_limits={"*": None},
        max_tries=max_tries,
        clock=FakeClock(),
        adapter=adapter,
    )


_adapter = CannedAnswers()
# One attempt: another would be given the same kind of answer.
_client = client_of(_adapter, max_tries=1)

#: Success by far most often, as a body is read to the end only then.
_statuses = st.one_of(
    st.just(200), st.just(200), st.just(200), st.sampled_from((400, 404, 500)), st.integers(100, 599)
)
_JSON = (("Content-Type", "application/json"),)
_PLAIN = (("Content-Type", "text/plain; charset=utf-8"),)


@st.composite
def _exchanges(draw: st.DrawFn) -> tuple[str, list[CannedAnswer]]:
    call = draw(st.sampled_from(CALLS))
    status = draw(_statuses)
    valid = (
        call.answer
        if status == 200
        else {"code": status, "message": f"Contact {_PHONE} not found with {TOKEN}"}
    )
    pages = draw(st.integers(1, 3)) if call.name.startswith("iter_") else 1
    headers = draw(st.sampled_from((_JSON, _JSON, _PLAIN, ())))
    return call.name, [CannedAnswer(status, headers, draw(bodies(valid))) for _ in range(pages)]


_NAMES = [call.name for call in CALLS]
#: Making an answer takes longer than reading it.
_CALLS_AN_ANSWER = 3


def _feed(exchange: tuple[str, list[CannedAnswer]]) -> None:
    """Give answers to the call that they are made for, and to its neighbours, of which some take nearly the same."""
    name, answers = exchange
    first = _NAMES.index(name)
    for call in (*CALLS[first:], *CALLS)[:_CALLS_AN_ANSWER]:
        _adapter.start(answers)
        try:
            call.make(_client)
        except WatiError as error:
            if TOKEN in f"{error} {error.wati_message}":
                raise AssertionError(f"the error of {call.name} has the token in it") from None


SURFACE = Surface(
    name="answers",
    inputs=_exchanges(),
    feed=_feed,
    batch=10,
    size=lambda exchange: _CALLS_AN_ANSWER,
    share=4.0,
)
