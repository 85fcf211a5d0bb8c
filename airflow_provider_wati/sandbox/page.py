"""One plain page that shows what arrived: conversations and campaigns."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from airflow_provider_wati.sandbox import render
from airflow_provider_wati.sandbox.campaigns import broadcast_status, statistics

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.models import Broadcast, Conversation
    from airflow_provider_wati.sandbox.workspace import Workspace

_CONVERSATIONS_SHOWN = 30
_MESSAGES_SHOWN = 5
_CAMPAIGNS_SHOWN = 20
_REFRESH_SECONDS = 3
_FUNNEL = (
    "recipients",
    "pending",
    "queued",
    "sending",
    "sent",
    "delivered",
    "read",
    "replied",
    "failed",
    "stopped",
)

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td.count, th.count { text-align: right; font-variant-numeric: tabular-nums; }
.talk { border: 1px solid #ddd; border-radius: 6px; padding: .6rem .9rem; margin: .6rem 0; }
.talk p { margin: .25rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.mine { margin-left: 3rem !important; color: #075e54; }
.small { color: #777; font-size: .85em; }
"""


def routes(workspace: Workspace) -> APIRouter:
    router = APIRouter()

    @router.get("/")
    async def page() -> HTMLResponse:
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return HTMLResponse(render_page(workspace), headers=headers)

    return router


def render_page(workspace: Workspace) -> str:
    """Return the page with the newest campaigns and conversations; all that was sent here is escaped."""
    state = workspace.state
    campaigns = "".join(
        _campaign(workspace, broadcast) for broadcast in islice(reversed(state.broadcasts), _CAMPAIGNS_SHOWN)
    )
    talks = "".join(
        _talk(workspace, talk) for talk in islice(state.latest_conversations(), _CONVERSATIONS_SHOWN)
    )
    heads = "".join(f'<th class="count">{name}</th>' for name in _FUNNEL)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>WATI sandbox</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{_REFRESH_SECONDS}"><style>{_STYLE}</style></head><body>
<h1>WATI sandbox</h1>
<p class="small">{len(state.contacts):,} contacts, {state.conversation_count():,} conversations,
{len(state.messages):,} messages, {len(state.broadcasts):,} campaigns. Nothing here reaches a real phone.</p>
<h2>Campaigns</h2>
<table><tr><th>Campaign</th><th>Status</th>{heads}</tr>{campaigns}</table>
{"" if campaigns else '<p class="small">None yet.</p>'}
<h2>Conversations</h2>
{talks or '<p class="small">None yet.</p>'}
</body></html>"""


def _campaign(workspace: Workspace, broadcast: Broadcast) -> str:
    cumulative = workspace.settings.statistics == "cumulative"
    counts = statistics(workspace.state, broadcast, cumulative=cumulative)
    cells = "".join(f'<td class="count">{counts[f"total_{name}"]:,}</td>' for name in _FUNNEL)
    return (
        f'<tr><td>{escape(broadcast.name)}<br><span class="small">{escape(broadcast.template.name)}</span></td>'
        f"<td>{broadcast_status(workspace.state, broadcast)}</td>{cells}</tr>"
    )


def _talk(workspace: Workspace, talk: Conversation) -> str:
    messages = (render.message(workspace.state, number) for number in talk.messages[-_MESSAGES_SHOWN:])
    lines = "".join(
        f"<p{' class=mine' if message['owner'] else ''}>{escape(message['text'])} "
        f'<span class="small">{escape(message["status"])}, {message["created"][11:16]} UTC</span></p>'
        for message in messages
    )
    person = talk.contact.phone or talk.contact.bsuid or ""
    return (
        f'<div class="talk"><strong>{escape(talk.contact.name)}</strong> '
        f'<span class="small">{escape(person)}, {escape(talk.channel.name)}, {escape(talk.status)}</span>'
        f"{lines}</div>"
    )
