"""The account: channels, chatbots, credit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from airflow_provider_wati.sandbox.api.auth import needs
from airflow_provider_wati.sandbox.api.targets import find_contact, parse_target
from airflow_provider_wati.sandbox.api.validation import (
    filled_text,
    json_body,
    object_of,
    page_of,
    required,
)
from airflow_provider_wati.sandbox.model import ids, render
from airflow_provider_wati.sandbox.model.records import Note

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import Workspace

CREDIT = 1000.0
WELCOME_CREDIT = 10.0

_chatbot_request = object_of(target=required(filled_text), chatbot_id=required(filled_text))


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter()

    @router.get("/channels", dependencies=[needs("channelsv3:read")])
    async def list_channels(request: Request) -> JSONResponse:
        page = page_of(request)
        channels = workspace.state.channels[page.first : page.first + page.size]
        return JSONResponse({"channels": [render.channel(each) for each in channels]})

    @router.get("/chatbots", dependencies=[needs("chatbotsv3:read", paid=True)])
    async def list_chatbots(request: Request) -> JSONResponse:
        page = page_of(request)
        chatbots = workspace.state.chatbots[page.first : page.first + page.size]
        return JSONResponse({"chatbot_list": [render.chatbot(each) for each in chatbots], **page.echo})

    @router.post("/chatbots/start", dependencies=[needs("chatbotsv3:write", paid=True)])
    async def start_chatbot(request: Request) -> JSONResponse:
        body = await json_body(request, _chatbot_request)
        state = workspace.state
        person = find_contact(workspace, body["target"])
        channel = parse_target(workspace, body["target"]).channel or state.default_channel
        number = ids.read_id(ids.CHATBOT, body["chatbot_id"])
        for chatbot in state.chatbots:
            if chatbot.number == number:
                talk = state.conversation_between(person, channel)
                workspace.recorder.chatbot_started(talk, chatbot)
                state.say(Note(talk, "text", chatbot.greeting, operator_name=chatbot.name))
                return JSONResponse({"result": True})
        raise workspace.missing("Chatbot not found")

    @router.get("/account/credits", dependencies=[needs(any_scope=True)])
    async def get_credits() -> JSONResponse:
        return JSONResponse(
            {
                "credit": CREDIT,
                "welcome_credit": WELCOME_CREDIT,
                "remaining_free_conversations_count": 0,
                "currency": "USD",
                "auto_charge_enabled": False,
            }
        )

    return router
