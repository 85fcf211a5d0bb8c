"""The sandbox as the testing kit runs it: watched, and on the clock of the test. It needs the extra `sandbox`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model import render
from airflow_provider_wati.sandbox.model.records import Note
from airflow_provider_wati.sandbox.server import SandboxServer
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.testing.messages import Message

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message as Part, Receive, Scope, Send

    from airflow_provider_wati.sandbox.model.records import Conversation
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace
    from airflow_provider_wati.testing._time import Ahead

#: Stands around the handling of one API call: it is given the call and what handles it.
Around = Callable[["Scope", "Receive", "Send", "ASGIApp"], Awaitable[None]]


__all__ = ["Answer", "KitServer", "Settings", "choices_of", "is_api_path", "message_of"]


@dataclass
class Answer:
    """
    What a customer says when they are asked.

    :param choice: the text of a button or of a row of a list, which is tapped once it is offered.
    :param after: so many seconds later, by the sandbox's clock.
    """

    phone: str
    choice: str
    after: float = 0.0
    #: When it is said; None until it is offered.
    due: float | None = None


class KitServer(SandboxServer):
    """
    A sandbox whose clock is the test's, and whose customers may answer by themselves.

    :param ahead: the clock of the test.
    :param workspace: what it serves; a fresh one if left out.
    :param around: stands around each API call.
    """

    def __init__(
        self,
        ahead: Ahead,
        *,
        settings: Settings | None = None,
        workspace: Workspace | None = None,
        answers: list[Answer] | None = None,
        around: Around | None = None,
    ) -> None:
        self._ahead = ahead
        self._synced = 0.0 if workspace is None else ahead.seconds
        self._around = around
        self.answers: list[Answer] = [] if answers is None else answers
        super().__init__(settings=settings, workspace=workspace, wrap=self._wrap)
        # The machine's time would contradict the sandbox's.
        self._server.config.date_header = False

    def _sync(self) -> None:
        """Let the sandbox's clock go on to the time of the test; what is due happens with the call that comes in."""
        ahead = self._ahead.seconds
        self.workspace.clock.advance(ahead - self._synced)
        self._synced = ahead

    def _wrap(self, app: ASGIApp) -> ASGIApp:
        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            self._sync()
            self._let_customers_answer()

            async def answer(message: Part) -> None:
                if message["type"] == "http.response.start":
                    # Before the caller can go on, or it would look before the customer has answered.
                    self._let_customers_answer()
                    date = formatdate(self.workspace.clock.now(), usegmt=True).encode()
                    message = {**message, "headers": [*message["headers"], (b"date", date)]}
                await send(message)

            if self._around is not None and is_api_path(scope["path"]):
                await self._around(scope, receive, answer, app)
            else:
                await app(scope, receive, answer)
            self._let_customers_answer()

        return watched

    def _let_customers_answer(self) -> None:
        now = self.workspace.clock.now()
        for answer in list(self.answers):
            talk = _asked(self.state, answer)
            if talk is not None and answer.due is None:
                answer.due = now + answer.after
            if talk is not None and answer.due is not None and now >= answer.due:
                self.answers.remove(answer)
                self.state.receive(Note(talk, "interactive", answer.choice, from_business=False))


def _asked(state: State, answer: Answer) -> Conversation | None:
    """Return the conversation in which a choice is offered last; None if it is not."""
    contact = state.person(answer.phone)
    for talk in contact.conversations if contact else ():
        if talk.messages and answer.choice in choices_of(state, talk.messages[-1]):
            return talk
    return None


def choices_of(state: State, number: int) -> list[str]:
    """Return what a message offers to tap: buttons, rows of a list, quick replies of a template."""
    campaign, content = state.broadcast_of(number), state.messages.content[number]
    if campaign is not None:
        return list(campaign.template.buttons)
    if not isinstance(content, Note) or not content.from_business or content.interactive is None:
        return []
    buttons = (content.interactive.get("button_message") or {}).get("buttons") or ()
    sections = (content.interactive.get("list_message") or {}).get("sections") or ()
    rows = [row for section in sections for row in section.get("rows") or ()]
    return [str(button.get("text")) for button in buttons] + [str(row.get("title")) for row in rows]


def message_of(state: State, number: int) -> Message:
    """Return a message of the sandbox as a test sees it."""
    campaign: Any = state.broadcast_of(number)
    content = state.messages.content[number]
    person = state.contact_of_message(number)
    row = render.message(state, number)
    params = [] if isinstance(content, Note) else render.params_list(content)
    channel = content.conversation.channel if isinstance(content, Note) else campaign.channel
    created = campaign.starts_at if campaign else state.messages.created[number]
    return Message(
        phone=person.address,
        kind=row["type"],
        text=row["text"],
        template=campaign.template.name if campaign else None,
        params={param["name"]: param["value"] for param in params},
        campaign=campaign.name if campaign else None,
        status=row["status"],
        created=datetime.fromtimestamp(created, UTC),
        id=row["id"],
        channel=channel.name,
    )


def is_api_path(path: str) -> bool:
    """Return whether a path is WATI's, and not the sandbox's own."""
    return "/api/" in path and not path.startswith("/_sandbox/")
