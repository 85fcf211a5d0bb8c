"""
What a fresh sandbox contains: a small shop with a few customers.

The phone numbers are from ranges that are kept free for fiction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.model.records import Channel, Chatbot, Note, Template, Webhook

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.records import Contact
    from airflow_provider_wati.sandbox.model.state import State

_HOUR = 60 * 60
_DAY = 24 * _HOUR

DEFAULT_CHANNEL_PHONE = "14155550100"
SUPPORT_CHANNEL_PHONE = "14155550101"


def plant(state: State, *, people: bool = True) -> None:
    """
    Fill an empty workspace.

    :param people: also add contacts and their conversations.
    """
    _plant_workspace(state)
    if people:
        _plant_people(state)


def _plant_workspace(state: State) -> None:
    now = state.clock.now()
    default = Channel(1, "Default", DEFAULT_CHANNEL_PHONE, is_default=True)
    support = Channel(2, "Support", SUPPORT_CHANNEL_PHONE)
    state.channels = [default, support]
    state.templates = _templates(default, support, now)
    state.chatbots = [
        Chatbot(1, "Welcome bot", "Hello! What can we do for you?", now - 60 * _DAY),
        Chatbot(2, "Order status bot", "Please send us your order number.", now - 45 * _DAY),
    ]
    state.teams = ["Sales", "Support", "Billing"]
    state.tags = ["vip", "follow-up", "complaint"]
    state.operators = ["maria@acme.example", "li@acme.example"]
    # Not enabled: a fresh sandbox calls nobody.
    state.webhooks = [
        Webhook(
            1,
            "https://hooks.acme.example/wati",
            ["message", "templateMessageSent"],
            default,
            status="Disabled",
            created=now - 30 * _DAY,
            last_updated=now - 30 * _DAY,
        )
    ]


def _templates(default: Channel, support: Channel, now: float) -> list[Template]:
    both = (default, support)
    return [
        *_usable_templates(both, now),
        *_unusable_templates(both, now),
        Template(
            5,
            "ticket_closed",
            "Hi {{name}}, we have closed your ticket {{ticket}}.",
            {"name": "Ada", "ticket": "T-17"},
            (support,),
            now - 10 * _DAY,
        ),
    ]


def _usable_templates(both: tuple[Channel, Channel], now: float) -> list[Template]:
    return [
        Template(
            1,
            "order_update",
            "Hi {{name}}, your order {{order_id}} is {{status}}.",
            {"name": "Ada", "order_id": "1001", "status": "on its way"},
            both,
            now - 30 * _DAY,
            footer="Acme Store",
        ),
        Template(
            2,
            "welcome",
            "Welcome to Acme Store! Reply to this message whenever you need us.",
            {},
            both,
            now - 60 * _DAY,
            category="MARKETING",
            header="Hello!",
            footer="Reply STOP to hear no more from us",
            buttons=("Show me what is new", "Stop"),
        ),
    ]


def _unusable_templates(both: tuple[Channel, Channel], now: float) -> list[Template]:
    return [
        Template(
            3,
            "spring_sale",
            "{{name}}, our spring sale starts on {{date}}: {{discount}} off everything.",
            {"name": "Ada", "date": "1 March", "discount": "20%"},
            both,
            now - _HOUR,
            status="PENDING",
            category="MARKETING",
        ),
        Template(
            4,
            "old_promo",
            "Buy now {{name}}!!!",
            {"name": "Ada"},
            both,
            now - 90 * _DAY,
            status="REJECTED",
            category="MARKETING",
        ),
    ]


def _plant_people(state: State) -> None:
    default, support = state.channels
    ada = _person(state, "12025550143", "Ada Wong", tier="gold", city="Hong Kong")
    ben = _person(state, "12025550144", "Ben Okafor", tier="silver", city="Lagos")
    chitra = _person(state, "12025550145", "Chitra Rao", tier="gold", city="Pune")
    _person(state, "12025550146", "Dana Smith", tier="bronze", city="Austin")
    evan = _person(state, "12025550147", "Evan Hill", tier="silver", city="Leeds")
    farah = _person(state, "12025550148", "Farah Idris", tier="gold", city="Cairo")
    grace = state.create_contact(None, "Grace", bsuid="US.13491208655302741918", source="whatsapp")

    ada.teams = ("Sales",)
    evan.allow_broadcast = evan.opted_in = False
    grace.username = "grace.writes"

    # Oldest first, so that the latest conversation comes out on top.
    _wrote(state, chitra, default, "Thanks, all good!", hours_ago=30)
    _wrote(state, ben, default, "Do you have this in blue?", hours_ago=5)
    _wrote(state, farah, support, "My parcel is damaged.", hours_ago=4)
    _wrote(state, farah, default, "I would like to order again.", hours_ago=3)
    _wrote(state, evan, default, "Please stop sending me offers.", hours_ago=2)
    _wrote(state, grace, default, "Hello from a user name!", hours_ago=1.5)
    _wrote(state, ada, default, "Hi, where is my order 1001?", hours_ago=1)


def _person(state: State, phone: str, name: str, **custom_params: str) -> Contact:
    return state.create_contact(phone, name, custom_params=custom_params)


def _wrote(state: State, contact: Contact, channel: Channel, text: str, *, hours_ago: float) -> None:
    conversation = state.conversation_between(contact, channel)
    number = state.receive(Note(conversation, "text", text, from_business=False))
    moment = state.clock.now() - hours_ago * _HOUR
    state.messages.created[number] = moment
    conversation.last_inbound = conversation.last_activity = moment
