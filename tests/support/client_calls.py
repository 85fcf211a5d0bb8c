"""One call of each public method of the client, and an answer that it takes for success."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.recipients import encode_recipient
from tests.support.clients import NUMBER

_THEN = datetime(2026, 12, 24, 10, tzinfo=UTC)
_ID = "66b1fb044045cedb1f195390"
_MESSAGE = {"message": {"id": _ID, "status": "sent", "text": "x", "created": "2026-11-03T06:20:12Z"}}
_CONTACT = {
    "id": _ID,
    "name": "Ada",
    "phone": f"+{NUMBER}",
    "wa_id": NUMBER,
    "custom_params": [{"name": "tier", "value": "gold"}],
}
_SENT = {
    "success": True,
    "broadcast_id": _ID,
    "recipients": [{"phone_number": NUMBER, "local_message_id": "order-1001-x", "errors": []}],
}
_RECIPIENTS = [{"target": NUMBER, "local_message_id": "order-1001-x", "params": {"a": "b"}}]
_DONE = {"result": True}


def _media(wati: WatiClient) -> bytes:
    with wati.get_media(_ID) as media:
        return b"".join(media.iter_bytes())


def _file() -> io.BytesIO:
    return io.BytesIO(b"%PDF-1.4")


#: By the name of the method: a call, and an answer that makes it succeed.
CALLS: dict[str, tuple[Callable[[WatiClient], Any], Any]] = {
    "create_contact": (lambda wati: wati.create_contact(NUMBER, "Ada"), _CONTACT),
    "get_contact": (lambda wati: wati.get_contact(NUMBER), _CONTACT),
    "update_contacts": (
        lambda wati: wati.update_contacts([{"target": NUMBER, "custom_params": {"a": "b"}}]),
        {"contact_list": [_CONTACT]},
    ),
    "delete_contact": (lambda wati: wati.delete_contact(NUMBER), {"contact_id": _ID, "deleted": True}),
    "iter_contacts": (
        lambda wati: wati.iter_contacts(),
        {"contact_list": [_CONTACT], "page_number": 1, "page_size": 100},
    ),
    "count_contacts": (lambda wati: wati.count_contacts(), {"contact_count": 7}),
    "assign_teams": (lambda wati: wati.assign_teams(NUMBER, ["Billing"]), _DONE),
    "iter_conversations": (
        lambda wati: wati.iter_conversations(),
        {"conversation_list": [{"id": _ID, "channel_type": "whatsapp"}], "page_size": 100},
    ),
    "iter_messages": (
        lambda wati: wati.iter_messages(NUMBER),
        {"message_list": [_MESSAGE["message"]], "page_size": 100},
    ),
    "send_text": (lambda wati: wati.send_text(NUMBER, "x"), _MESSAGE),
    "send_file_url": (lambda wati: wati.send_file_url(NUMBER, "https://a.example/b.png"), _MESSAGE),
    "send_file": (
        lambda wati: wati.send_file(NUMBER, _file(), file_name="a.pdf", mime_type="application/pdf"),
        _MESSAGE,
    ),
    "get_media": (_media, {}),
    "send_buttons": (lambda wati: wati.send_buttons(NUMBER, "x", ["Yes"]), _MESSAGE),
    "send_list": (
        lambda wati: wati.send_list(NUMBER, "x", "Choose", [{"rows": [{"title": "r"}]}]),
        _MESSAGE,
    ),
    "assign_operator": (lambda wati: wati.assign_operator(NUMBER, "a@b.example"), _DONE),
    "update_conversation_status": (lambda wati: wati.update_conversation_status(NUMBER, "open"), _DONE),
    "add_tag": (lambda wati: wati.add_tag(NUMBER, "vip"), _DONE),
    "remove_tag": (lambda wati: wati.remove_tag(NUMBER, "vip"), _DONE),
    "iter_templates": (
        lambda wati: wati.iter_templates(),
        {"templates": [{"id": _ID, "name": "t", "custom_params": [{"name": "a"}]}], "total": 1},
    ),
    "get_template": (lambda wati: wati.get_template(_ID), {"id": _ID, "header": {"type": "text"}}),
    "dispatch_template": (
        lambda wati: wati.dispatch_template("t", "c", [encode_recipient(NUMBER, {"a": "b"}, "order-1001-x")]),
        _SENT,
    ),
    "send_template_messages": (lambda wati: wati.send_template_messages("t", "c", _RECIPIENTS), _SENT),
    "schedule_template_messages": (
        lambda wati: wati.schedule_template_messages("t", "c", _RECIPIENTS, _THEN),
        _SENT,
    ),
    "cancel_scheduled_campaign": (lambda wati: wati.cancel_scheduled_campaign(_ID), _DONE),
    "iter_campaigns": (
        lambda wati: wati.iter_campaigns(),
        {"broadcasts": [{"id": _ID, "statistics": {"total_sent": 1}}], "total": 1},
    ),
    "get_campaign": (
        lambda wati: wati.get_campaign(_ID),
        {"id": _ID, "statistics": {"total_sent": 1}, "created": "2026-11-03T06:20:12Z"},
    ),
    "iter_campaign_recipients": (
        lambda wati: wati.iter_campaign_recipients(_ID),
        {"recipients": [{"id": _ID, "contact_phone": f"+{NUMBER}", "status": "sent"}], "total_count": 1},
    ),
    "get_campaigns_overview": (lambda wati: wati.get_campaigns_overview(_THEN, _THEN), {"total_sent": 1}),
    "estimate_campaign_cost": (
        lambda wati: wati.estimate_campaign_cost(_ID, [_ID]),
        {"is_request_succeeded": True, "estimated_cost": 0.1, "failed_detail": None},
    ),
    "iter_channels": (
        lambda wati: wati.iter_channels(),
        {"channels": [{"id": _ID, "name": "Support", "channel": "whatsapp"}]},
    ),
    "iter_chatbots": (lambda wati: wati.iter_chatbots(), {"chatbot_list": [{"id": _ID, "name": "Welcome"}]}),
    "start_chatbot": (lambda wati: wati.start_chatbot(NUMBER, _ID), _DONE),
    "get_credits": (lambda wati: wati.get_credits(), {"credit": 1.5, "currency": "USD"}),
    "get_webhook_event_types": (lambda wati: wati.get_webhook_event_types(), {"event_types": ["message"]}),
    "get_webhooks": (lambda wati: wati.get_webhooks(), {"webhooks": [{"id": _ID}]}),
    "list_webhooks": (
        lambda wati: wati.list_webhooks(),
        {
            "webhooks": [
                {"id": _ID, "url": "https://a.example", "eventTypes": ["message"], "status": "Enabled"}
            ]
        },
    ),
    "create_webhook": (
        lambda wati: wati.create_webhook("https://a.example", ["message"]),
        {
            "ok": True,
            "result": [{"id": _ID, "url": "https://a.example", "eventTypes": ["message"], "status": 1}],
        },
    ),
    "update_webhook": (lambda wati: wati.update_webhook("1", "https://a.example", ["message"]), _DONE),
    "get_message_by_local_id": (
        lambda wati: wati.get_message_by_local_id("order-1001-x", NUMBER),
        {"statusString": "SENT"},
    ),
}


def public_methods() -> set[str]:
    """Return the names of the methods that call WATI."""
    return {
        name for name, _ in inspect.getmembers(WatiClient, inspect.isfunction) if not name.startswith("_")
    } - {"close"}
