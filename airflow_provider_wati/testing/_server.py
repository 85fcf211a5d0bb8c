"""The sandbox as the testing kit runs it: watched, and on the clock of the test. It needs the extra `sandbox`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox import render
from airflow_provider_wati.sandbox.models import Note
from airflow_provider_wati.sandbox.server import SandboxServer
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.testing.messages import Message

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message as Part, Receive, Scope, Send

    from airflow_provider_wati.sandbox.state import State
    from airflow_provider_wati.sandbox.workspace import Workspace
    from airflow_provider_wati.testing._time import Ahead

#: Stands around the handling of one API call: it is given the call and what handles it.
Around = Callable[["Scope", "Receive", "Send", "ASGIApp"], Awaitable[None]]


__all__ = ["Answer", "KitServer", "Settings", "is_api_path", "message_of", "offers"]


@dataclass
class Answer:
    """
    What a customer says as soon as they are asked.

    :param button: the text of a button or of a row of a list, which is tapped once it is offered.
    """

    phone: str
    button: str


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

    def sync(self) -> None:
        """Let the sandbox's clock go on to the time of the test."""
        ahead = self._ahead.seconds
        self.workspace.clock.advance(ahead - self._synced)
        self._synced = ahead
        self.state.start_due_broadcasts()

    def _wrap(self, app: ASGIApp) -> ASGIApp:
        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            self.sync()

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
        for answer in list(self.answers):
            talk = self._asked(answer)
            if talk is not None:
                self.answers.remove(answer)
                self.state.receive(Note(talk, "interactive", answer.button, from_business=False))

    def _asked(self, answer: Answer) -> Any:
        """Return the conversation in which a choice is offered last; None if it is not."""
        contact = self.state.by_phone.get(answer.phone)
        for talk in contact.conversations if contact else ():
            if talk.messages and offers(self.state.messages.content[talk.messages[-1]], answer.button):
                return talk
        return None


def offers(content: Any, choice: str) -> bool:
    """Return whether a message offers a choice: a button, or a row of a list."""
    if not isinstance(content, Note) or not content.from_business or content.kind != "interactive":
        return False
    lines = content.text.splitlines()
    rows = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    # The text in brackets opens a list; without rows it is a button.
    return choice in (rows or [line[1:-1] for line in lines if line.startswith("[") and line.endswith("]")])


def message_of(state: State, number: int) -> Message:
    """Return a message of the sandbox as a test sees it."""
    campaign: Any = state.broadcast_of(number)
    content = state.messages.content[number]
    row = render.message(state, number)
    params = [] if isinstance(content, Note) else render.params_list(content)
    channel = content.conversation.channel if isinstance(content, Note) else campaign.channel
    created = campaign.starts_at if campaign else state.messages.created[number]
    return Message(
        phone=state.contact_of_message(number).phone or "",
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
