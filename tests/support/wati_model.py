"""
WATI in memory: a model behind the real client, without sockets and without waiting.

``WatiModel`` is the adapter that :class:`~airflow_provider_wati.client.WatiClient` takes in place of the network, so
transport, retries, paging and the reading of answers are the real ones. It keeps what truly happened in ``effects``,
whatever it answers and lists. What goes wrong is a :class:`Fault` each; what the account is like in general is its
:class:`Habits`; what WATI shows late is a :class:`Lag`.
"""

from __future__ import annotations

import io
import json
import mimetypes
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError

from airflow_provider_wati.client import WatiClient

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

ENDPOINT = "http://localhost:9/1001"
TOKEN = "token"
TEMPLATE = "order_update"
ALWAYS = timedelta(days=10_000)
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_GARBAGE = {
    "html": b"<html>502 Bad Gateway</html>",
    "empty": b"",
    "truncated": b'{"success": true, "broadcast_id": "b',
    "null": b"null",
    "list": b"[]",
    "no_recipients": b'{"success": true, "broadcast_id": "x"}',
    "envelope": b'{"code": 500, "message": "Internal error"}',
}
#: The calls of the API by a short name, which faults aim at.
_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("send", "POST", r"messageTemplates/(send|schedule)"),
    ("templates", "GET", r"messageTemplates"),
    ("template", "GET", r"messageTemplates/([^/]+)"),
    ("recipients", "GET", r"broadcasts/([^/]+)/recipients"),
    ("campaigns", "GET", r"broadcasts"),
    ("campaign", "GET", r"broadcasts/([^/]+)"),
    ("count", "GET", r"contacts/count"),
    ("contacts", "GET", r"contacts"),
    ("contact", "GET", r"contacts/([^/]+)"),
    ("create_contact", "POST", r"contacts"),
    ("update_contacts", "PUT", r"contacts"),
    ("text", "POST", r"conversations/messages/text"),
    ("file_url", "POST", r"conversations/messages/fileViaUrl"),
    ("file", "POST", r"conversations/messages/file"),
    ("interactive", "POST", r"conversations/messages/interactive"),
    ("messages", "GET", r"conversations/([^/]+)/messages"),
    ("media", "GET", r"conversations/messages/file/([^/]+)"),
    ("conversations", "GET", r"conversations"),
    ("channels", "GET", r"channels"),
    ("chatbots", "GET", r"chatbots"),
    ("start_chatbot", "POST", r"chatbots/start"),
)
#: Calls that message a person, start a chatbot or make a contact.
SENDS = frozenset({"send", "text", "file_url", "file", "interactive", "start_chatbot", "create_contact"})


@dataclass(slots=True)
class Fault:
    """
    Something that goes wrong with some calls.

    :param kind: ``drop`` (no answer), ``no_connection``, ``status``, ``garbage`` (a 200 that cannot be used),
        ``cut`` (an answer that breaks off), ``refused`` (a refusal inside a 200), ``errors`` (some recipients refused),
        ``omit`` (some recipients left out of the answer), ``bad_row`` (400 for a call with one of these recipients in it).
    :param call: the short name of the call, or ``*``.
    :param after: whether the call has its effect all the same.
    :param skip: how many calls it lets pass first.
    :param count: how many calls it hits then.
    :param status: the status code.
    :param retry_after: seconds.
    :param body: which garbage.
    :param targets: the recipients that ``errors``, ``omit`` and ``bad_row`` mean.
    :param takes: seconds that a dropped call takes.
    :param late: whether a dropped call has its effect at its end.
    :param fails: whether the message that it lets through fails later.
    """

    kind: str
    call: str = "send"
    after: bool = False
    skip: int = 0
    count: int = 1
    status: int = 500
    retry_after: float | None = None
    body: str = "html"
    targets: Collection[str] = ()
    takes: float = 0.0
    late: bool = False
    fails: bool = False

    @property
    def leaves_open(self) -> bool:
        """Return whether nobody can know from the answer what the call did."""
        if self.kind == "status":
            return self.status >= 500 or self.status == 408
        return self.kind in ("drop", "garbage", "cut", "omit")

    def hits(self, call: str, recipients: Collection[str]) -> bool:
        """Return whether it acts on a call, and count the call."""
        if self.call not in ("*", call) or self.count <= 0:
            return False
        if self.kind in ("errors", "omit", "bad_row") and not set(self.targets) & set(recipients):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.count -= 1
        return True


@dataclass(frozen=True, slots=True)
class Lag:
    """
    When WATI shows a campaign; all times count from the call, or for a schedule from its due time.

    :param listed: seconds until the campaign is in the list of campaigns.
    :param first: seconds until its first recipient is listed.
    :param last: seconds until its last recipient is listed.
    :param total_grows: whether its total grows with the list, instead of being right from the beginning.
    """

    listed: float = 0.0
    first: float = 0.0
    last: float = 0.0
    total_grows: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """
    What an account is like in what WATI leaves open.

    :param echoes_ids: whether recipients are listed with their local message ids.
    :param lists_refused: whether refused recipients are listed, as failed.
    :param total_counts_refused: whether the total of a campaign counts them.
    :param name_length: characters after which campaign names are cut.
    :param name_form: makes the name that is listed.
    :param phone_form: makes the phone number that is listed.
    :param failed_word: the status of a failed recipient.
    :param cancelled_word: the status of a campaign that was cancelled.
    :param page_size: the most rows of a page.
    :param newest_first: the order of the list of campaigns.
    :param hides_channel: whether the list filtered by a channel shows nothing.
    :param tells_template: whether the list says which template a campaign has.
    :param tells_due: whether the list says when a campaign is, or was, due.
    :param files_as: the kind under which it lists files: ``family``, ``document`` or ``voice`` (for audio).
    :param file_text: what it lists as the text of a file: ``caption``, ``name`` or ``null``.
    :param names_media: whether it says under which name a file was sent, when the file is fetched.
    :param interactive_text: what it lists as the text of an interactive message: ``full``, ``body`` or ``null``.
    :param text_form: makes the text that it lists of what was sent.
    :param messages_newest_first: the order of a conversation.
    """

    echoes_ids: bool = True
    lists_refused: bool = False
    total_counts_refused: bool = False
    name_length: int = 1_000
    name_form: Callable[[str], str] = str
    phone_form: Callable[[str], str] = str
    failed_word: str = "FAILED"
    cancelled_word: str = "cancelled"
    page_size: int = 100
    newest_first: bool = True
    hides_channel: bool = False
    tells_template: bool = True
    tells_due: bool = True
    files_as: str = "family"
    file_text: str = "caption"
    names_media: bool = True
    interactive_text: str = "full"
    text_form: Callable[[str], str] = str
    messages_newest_first: bool = True


@dataclass(slots=True)
class Recipient:
    """
    A recipient of a campaign.

    :param target: as it was asked for.
    :param local_id: the id that it was sent with.
    :param params: the parameters of its message.
    :param refused: whether WATI refused it.
    :param omitted: whether WATI's answer left it out.
    :param listed_at: from when on the campaign lists it.
    """

    id: str
    target: str
    local_id: str
    params: Mapping[str, str]
    refused: bool = False
    omitted: bool = False
    listed_at: datetime = _EPOCH


@dataclass(slots=True)
class CampaignRecord:
    """
    A campaign as it truly is.

    :param listed_at: from when on the list of campaigns shows it.
    :param total_grows: whether its total grows with its list.
    :param due: when it is sent; None for at once.
    :param hidden: whether somebody has deleted it in the dashboard, so that no list shows it.
    :param cancelled_at: when it was taken back.
    :param answered: whether the client could read that WATI took it.
    :param copy: whether somebody has made it in the dashboard, from another one.
    :param reads: what each reading of its recipients showed: time, recipients, total.
    """

    id: str
    name: str
    template: str
    channel: str | None
    at: datetime
    recipients: list[Recipient]
    listed_at: datetime
    total_grows: bool = False
    due: datetime | None = None
    hidden: bool = False
    cancelled_at: datetime | None = None
    answered: bool = False
    copy: bool = False
    reads: list[tuple[datetime, int, int]] = field(default_factory=list)

    @property
    def shown_at(self) -> datetime:
        """From when on a list can show it."""
        return self.at + ALWAYS if self.hidden else self.listed_at

    def is_sent(self, recipient: Recipient) -> bool:
        """Return whether somebody gets, or will get, the message."""
        was_cancelled = self.cancelled_at is not None and (self.due is None or self.cancelled_at < self.due)
        return not (recipient.refused or was_cancelled or self.copy)


@dataclass(slots=True)
class Talk:
    """
    A conversation.

    :param person: whose it is.
    :param channel: the name of the channel.
    :param solved: whether it is closed.
    """

    id: str
    person: str
    channel: str
    solved: bool = False


@dataclass(slots=True)
class SentMessage:
    """
    A single message, or another effect of a single call.

    :param call: the short name of the call that made it.
    :param target: who it is for.
    :param content: the text, the caption, the body, the chatbot, the contact's name.
    :param around: what else belongs to it: the name of a file, header, footer and choices.
    :param local_id: WATI's id of the message.
    :param talk: the conversation that it is in; None for what is in none.
    :param listed_at: from when on WATI shows it.
    :param failed: whether it failed after WATI had taken it.
    """

    call: str
    id: str
    target: str
    content: str
    around: tuple[str, ...]
    local_id: str
    talk: Talk | None
    at: datetime
    listed_at: datetime
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than 200."""

    status: int
    message: str


class WatiModel(BaseAdapter):
    """
    WATI in memory.

    :param clock: its time; each call moves it.
    :param habits: what the account is like.
    :param seconds_a_call: how long a call takes.
    """

    def __init__(
        self, clock: FakeClock, habits: Habits | None = None, *, seconds_a_call: float = 0.9
    ) -> None:
        super().__init__()
        self.clock = clock
        self.habits = habits or Habits()
        self.seconds_a_call = seconds_a_call
        self.faults: list[Fault] = []
        #: The lag of the next campaigns and messages, one each; the last one stays.
        self.lags: list[Lag] = [Lag()]
        self.campaigns: list[CampaignRecord] = []
        self.messages: list[SentMessage] = []
        #: Contacts by id, as WATI answers them.
        self.contacts: dict[str, dict[str, Any]] = {}
        #: From when on WATI shows a contact, by id.
        self.contacts_listed_at: dict[str, datetime] = {}
        #: The channels, as WATI lists them.
        self.channels = [{"id": "ch1", "name": "Main"}, {"id": "ch2", "name": "Support"}]
        self.talks: list[Talk] = []
        #: What the list of conversations says beyond id and channel type, which alone are documented.
        self.talk_form: Callable[[Talk], dict[str, Any]] = lambda talk: {"wa_id": talk.person}
        #: Odd entries of conversations by their id, which stand beside the messages that were sent.
        self.odd_messages: dict[str, list[dict[str, Any]]] = {}
        #: What a message looks like in its conversation.
        self.message_form: Callable[[dict[str, Any]], dict[str, Any]] = dict
        self.templates = [
            {
                "id": "t1",
                "name": TEMPLATE,
                "status": "APPROVED",
                "body_original": "Hi {{name}}, your order {{order_id}} is {{status}}.",
                "custom_params": [{"name": name} for name in ("name", "order_id", "status")],
            }
        ]
        #: The calls that arrived, by short name.
        self.calls: list[str] = []
        #: Campaigns in each list that was answered, and when that was.
        self.listings: list[tuple[datetime, frozenset[str]]] = [(_EPOCH, frozenset())]
        #: Called with the name of a moment; it may raise what ends the process.
        self.on_moment: Callable[[str], None] = lambda moment: None
        #: Called with the targets of a send that got no clean answer.
        self.on_spoilt: Callable[[list[Mapping[str, Any]]], None] = lambda recipients: None
        self._ids = 0

    def client(self, **settings: Any) -> WatiClient:
        """Make a client of this account."""
        return WatiClient(
            ENDPOINT,
            TOKEN,
            **{"rate_limits": {"*": None}, "clock": self.clock, "adapter": self, **settings},
        )

    def effects(self) -> Counter[tuple[str, str, str]]:
        """Count who got which message: beginning of the campaign's name, target, and the message's ``order_id``."""
        return Counter(
            (campaign.name[:16], recipient.target, recipient.params.get("order_id", ""))
            for campaign in self.campaigns
            for recipient in campaign.recipients
            if campaign.is_sent(recipient)
        )

    def _id(self, kind: str) -> str:
        self._ids += 1
        return f"{kind}{self._ids}"

    # What people do in the dashboard

    def delete(self, campaign: CampaignRecord) -> None:
        """Let somebody delete a campaign, so that no list shows it."""
        campaign.hidden = True

    def cancel(self, campaign: CampaignRecord) -> None:
        """Let somebody take a scheduled campaign back."""
        campaign.cancelled_at = self.clock.now()

    def copy(self, campaign: CampaignRecord, targets: Sequence[str]) -> CampaignRecord:
        """Let somebody make a copy of a campaign for others; it has a message of its own."""
        recipients = [
            Recipient(self._id("r"), target, self._id("l"), {"order_id": "copy"}) for target in targets
        ]
        made = CampaignRecord(
            id=self._id("b"),
            name=f"Copy of {campaign.name}",
            template=campaign.template,
            channel=campaign.channel,
            at=self.clock.now(),
            recipients=recipients,
            listed_at=self.clock.now(),
            copy=True,
        )
        self.campaigns.append(made)
        return made

    # What customers do

    def talk_with(self, person: str, channel: str = "Main") -> Talk:
        """Let somebody write on a channel; return the conversation, which is open then and the newest."""
        talk = next((each for each in self.talks if (each.person, each.channel) == (person, channel)), None)
        if talk is None or talk.solved:
            talk = Talk(f"{len(self.talks) + 1:024x}", person, channel)
        else:
            self.talks.remove(talk)
        self.talks.append(talk)
        return talk

    # The adapter

    def close(self) -> None:
        """Close nothing."""

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Answer a request, or raise what the network would."""
        url = urlsplit(request.url or "")
        call, match = _route(request.method or "", unquote(url.path))
        body = _body_of(request)
        query = dict(parse_qsl(url.query))
        recipients = _targets_in(body)
        self.calls.append(call)
        self.on_moment(f"before {call}")
        fault = next((each for each in self.faults if each.hits(call, recipients)), None)
        self.clock.advance(self.seconds_a_call)
        if fault is None:
            response = self._answered(request, self._answer(call, match, body, query))
            if call == "media" and response.status_code == 200 and self.habits.names_media:
                name = self._file_of(match[1]).around[0]  # type: ignore[union-attr] # it was answered
                response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        else:
            response = self._spoilt(fault, request, call, match, body, query)
        self.on_moment(f"after {call}")
        return response

    def _spoilt(
        self,
        fault: Fault,
        request: requests.PreparedRequest,
        call: str,
        match: re.Match[str],
        body: dict[str, Any],
        query: dict[str, str],
    ) -> requests.Response:
        if call in SENDS and fault.leaves_open:
            self.on_spoilt(body.get("recipients") or [body])
        if fault.kind in ("errors", "omit"):
            return self._response(request, 200, self._answer(call, match, body, query, fault))
        if fault.late:
            self.clock.advance(fault.takes)
        if fault.after and fault.leaves_open:
            self._answer(call, match, body, query, fault)
        if not fault.late:
            self.clock.advance(fault.takes)
        if fault.kind == "drop":
            if fault.takes:
                raise requests.ReadTimeout("read timed out")
            raise requests.ConnectionError(
                ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))
            )
        if fault.kind == "no_connection":
            reason = NewConnectionError(None, "refused")  # type: ignore[arg-type] # the connection is for its text only
            raise requests.ConnectionError(MaxRetryError(None, "/", reason))  # type: ignore[arg-type] # likewise
        if fault.kind == "refused":
            return self._response(request, 200, {"success": False, "result": False, "error": "not now"})
        if fault.kind == "bad_row":
            return self._response(request, 400, {"code": 400, "message": "a recipient is wrong"})
        if fault.kind == "garbage":
            return self._response(request, 200, _GARBAGE[fault.body])
        if fault.kind == "cut":
            response = self._response(request, 200, b"")
            response.raw = _BrokenStream()
            return response
        response = self._response(request, fault.status, {"code": fault.status, "message": "no"})
        if fault.retry_after is not None:
            response.headers["Retry-After"] = f"{fault.retry_after:g}"
        return response

    def _answered(self, request: requests.PreparedRequest, answer: object) -> requests.Response:
        if isinstance(answer, Refusal):
            envelope = {"code": answer.status, "message": answer.message}
            return self._response(request, answer.status, envelope)
        return self._response(request, 200, answer)

    def _response(self, request: requests.PreparedRequest, status: int, answer: object) -> requests.Response:
        response = requests.Response()
        response.status_code = status
        response.request = request
        response.url = request.url or ""
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        response.raw = io.BytesIO(content)
        response.headers["Content-Type"] = "application/json"
        response.headers["Date"] = format_datetime(self.clock.now(), usegmt=True)
        return response

    # The API

    def _answer(
        self,
        call: str,
        match: re.Match[str],
        body: dict[str, Any],
        query: dict[str, str],
        fault: Fault | None = None,
    ) -> object:
        if call == "send":
            return self._send_template(match[1], body, fault)
        if call == "create_contact":
            return self._create_contact(body)
        if call in SENDS:
            return self._send_message(call, body, fails=fault is not None and fault.fails)
        if call == "templates":
            return self._page("templates", self.templates, query, "total")
        if call == "campaigns":
            return self._list_campaigns(query)
        if call in ("campaign", "recipients"):
            campaign = next(
                (each for each in self.campaigns if each.id == match[1] and self._is_listed(each)), None
            )
            if campaign is None:
                return Refusal(404, "not found")
            return self._shown(campaign) if call == "campaign" else self._list_recipients(campaign, query)
        if call == "count":
            return {"contact_count": len(self.contacts)}
        if call == "contacts":
            return self._page("contact_list", list(self.contacts.values()), query)
        if call == "contact":
            return self._contact(match[1].rpartition(":")[2])
        if call == "media":
            return b"a file" if self._file_of(match[1]) else Refusal(404, "not found")
        if call == "messages":
            return self._list_messages(match[1], query)
        if call == "conversations":
            rows = [
                {
                    **self.talk_form(talk),
                    "id": talk.id,
                    "channel_type": "whatsapp",
                }
                for talk in reversed(self.talks)
            ]
            return self._page("conversation_list", rows, query)
        if call == "channels":
            return self._page("channels", self.channels, query)
        if call == "chatbots":
            return self._page("chatbot_list", [{"id": "bot1", "name": "Menu"}], query)
        raise LookupError(f"The model has no call {call!r}: add it.")

    def _page(
        self, key: str, rows: list[dict[str, Any]], query: dict[str, str], total: str | None = None
    ) -> dict[str, Any]:
        size = min(int(query.get("page_size", 10)), self.habits.page_size)
        number = int(query.get("page_number", 1))
        page: dict[str, Any] = {
            key: rows[(number - 1) * size : number * size],
            "page_number": number,
            "page_size": size,
        }
        return page if total is None else page | {total: len(rows)}

    def _send_template(self, how: str, body: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        now, lag = self.clock.now(), self._next_lag()
        due = datetime.fromisoformat(body["scheduled_at"]) if how == "schedule" else None
        errors = set(fault.targets) if fault is not None and fault.kind == "errors" else set()
        omitted = set(fault.targets) if fault is not None and fault.kind == "omit" else set()
        begins = due or now
        step = (lag.last - lag.first) / max(len(body["recipients"]) - 1, 1)
        recipients = []
        for n, asked in enumerate(body["recipients"]):
            target = asked.get("target") or asked["phone_number"]
            left_out = target in omitted and fault is not None and not fault.after
            recipients.append(
                Recipient(
                    id=self._id("r"),
                    target=target,
                    local_id=asked["local_message_id"],
                    params={param["name"]: param["value"] for param in asked["custom_params"]},
                    refused=target in errors or left_out,
                    omitted=target in omitted,
                    listed_at=begins + timedelta(seconds=lag.first + n * step),
                )
            )
        name = self.habits.name_form(body["broadcast_name"])[: self.habits.name_length]
        campaign = CampaignRecord(
            id=self._id("b"),
            name=name,
            template=body["template_name"],
            channel=body.get("channel"),
            at=now,
            recipients=recipients,
            listed_at=now + timedelta(seconds=lag.listed),
            total_grows=lag.total_grows,
            due=due,
            hidden=self.habits.hides_channel and bool(body.get("channel")),
            answered=fault is None or fault.kind in ("errors", "omit"),
        )
        self.campaigns.append(campaign)
        return {
            "success": True,
            "broadcast_id": campaign.id,
            "error": None,
            "recipients": [
                {
                    "local_message_id": each.local_id,
                    "phone_number": each.target,
                    "target": None,
                    "errors": ["not on WhatsApp"] if each.target in errors else [],
                }
                for each in recipients
                if each.target not in omitted
            ],
        }

    def _next_lag(self) -> Lag:
        return self.lags.pop(0) if len(self.lags) > 1 else self.lags[0]

    def _is_listed(self, campaign: CampaignRecord) -> bool:
        return not campaign.hidden and campaign.listed_at <= self.clock.now()

    def _list_campaigns(self, query: dict[str, str]) -> dict[str, Any]:
        channel = query.get("channel")
        listed = [each for each in self.campaigns if each.channel == channel and self._is_listed(each)]
        if self.habits.hides_channel and channel:
            listed = []
        if self.habits.newest_first:
            listed.reverse()
        page = self._page("broadcasts", [self._shown(each, briefly=True) for each in listed], query, "total")
        names = frozenset(row["id"] for row in page["broadcasts"])
        earlier = frozenset() if page["page_number"] == 1 else self.listings[-1][1]
        self.listings.append((self.clock.now(), earlier | names))
        return page

    def listing_before(self, time: datetime) -> tuple[datetime, frozenset[str]]:
        """Return the latest list that was answered before a time."""
        return next(each for each in reversed(self.listings) if each[0] <= time)

    def _shown(self, campaign: CampaignRecord, *, briefly: bool = False) -> dict[str, Any]:
        ids = {each["name"]: each["id"] for each in self.templates}
        shown: dict[str, Any] = {
            "id": campaign.id,
            "name": campaign.name,
            "template_id": ids.get(campaign.template) if self.habits.tells_template else None,
            "status": self.habits.cancelled_word if campaign.cancelled_at else "processing",
            "created": campaign.at.isoformat(),
            "scheduled_at": (campaign.due or campaign.at).isoformat() if self.habits.tells_due else None,
        }
        if briefly:
            return shown
        total = self._total(campaign)
        if campaign.reads:
            at, listed, _ = campaign.reads[-1]
            campaign.reads[-1] = at, listed, total
        return shown | {"statistics": {"total_recipients": total}}

    def _total(self, campaign: CampaignRecord) -> int:
        now = self.clock.now()
        if campaign.due is not None and now < campaign.due:
            return 0
        counted = [
            each
            for each in campaign.recipients
            if (not each.refused or self.habits.total_counts_refused)
            and (not campaign.total_grows or each.listed_at <= now)
        ]
        return len(counted)

    def _list_recipients(self, campaign: CampaignRecord, query: dict[str, str]) -> dict[str, Any]:
        now = self.clock.now()
        listed = [
            each
            for each in campaign.recipients
            if each.listed_at <= now and (not each.refused or self.habits.lists_refused)
        ]
        page = self._page(
            "recipients", [self._listed(campaign, each) for each in listed], query, "total_count"
        )
        if page["page_number"] == 1:
            campaign.reads.append((now, 0, 0))
        at, shown, total = campaign.reads[-1]
        campaign.reads[-1] = at, shown + len(page["recipients"]), total
        return page

    def _listed(self, campaign: CampaignRecord, recipient: Recipient) -> dict[str, Any]:
        target = recipient.target
        status = "SENT" if campaign.is_sent(recipient) else "PENDING"
        shown: dict[str, Any] = {
            "id": recipient.id,
            "status": self.habits.failed_word if recipient.refused else status,
            "local_message_id": recipient.local_id if self.habits.echoes_ids else None,
            "custom_params": [{"name": name, "value": value} for name, value in recipient.params.items()],
        }
        if "." in target:
            return shown | {"bsuid": target, "contact_phone": None}
        if len(target) == 24:
            return shown | {"contact_id": target.upper(), "contact_phone": None}
        return shown | {"contact_phone": self.habits.phone_form(target)}

    # Single messages

    def _talk_of(self, target: str) -> Talk | Refusal:
        """Resolve a target as WATI does: the newest open conversation of a person."""
        channel, _, person = target.rpartition(":")
        if len(person) == 24:
            return next((each for each in self.talks if each.id == person), Refusal(404, "not found"))
        talks = [each for each in self.talks if each.person == person and channel in ("", each.channel)]
        talks = [each for each in talks if not each.solved]
        if not talks:
            return Refusal(404, "not found")
        if len(talks) > 1:
            return Refusal(409, "several conversations are open")
        return talks[0]

    def _send_message(self, call: str, body: dict[str, Any], *, fails: bool) -> object:
        now, lag = self.clock.now(), self._next_lag()
        talk = None if call == "start_chatbot" else self._talk_of(str(body["target"]))
        if isinstance(talk, Refusal):
            return Refusal(400, "Ticket has been expired.")
        message = SentMessage(
            call=call,
            id=self._id("m"),
            target=talk.person if talk is not None else str(body["target"]),
            content=_content_of(call, body),
            around=tuple(_around(call, body)),
            local_id=self._id("l"),
            talk=talk,
            at=now,
            listed_at=now + timedelta(seconds=lag.first),
            failed=fails,
        )
        self.messages.append(message)
        return {"result": True} if talk is None else {"message": self._message(message) | {"status": "SENT"}}

    def _create_contact(self, body: dict[str, Any]) -> object:
        person, now = str(body["whatsapp_number"]), self.clock.now()
        if any(each["wa_id"] == person for each in self.contacts.values()):
            return Refusal(400, "already exists")
        id = f"{len(self.contacts) + 1:024x}"
        contact = {
            "id": id,
            "wa_id": person,
            "phone": person,
            "name": body["name"],
            "custom_params": body.get("custom_params", []),
        }
        self.contacts[id] = contact
        self.contacts_listed_at[id] = now + timedelta(seconds=self._next_lag().first)
        made = SentMessage(
            "create_contact", id, person, body["name"], (), id, None, now, self.contacts_listed_at[id]
        )
        self.messages.append(made)
        return contact

    def _contact(self, person: str) -> object:
        now = self.clock.now()
        for contact in self.contacts.values():
            if person in (contact["id"], contact.get("wa_id"), contact.get("bsuid")):
                if self.contacts_listed_at.get(contact["id"], now) <= now:
                    return contact
        return Refusal(404, "not found")

    def _message(self, message: SentMessage) -> dict[str, Any]:
        kind, text = self._kind_and_text(message)
        return self.message_form(
            {
                "id": message.id,
                "local_message_id": message.local_id,
                "created": message.at.isoformat(),
                "timestamp": str(int(message.at.timestamp())),
                "event_type": "message",
                "type": kind,
                "text": text,
                "owner": True,
                "status": self.habits.failed_word if message.failed else "SENT",
                "conversation_id": message.talk.id if message.talk else None,
            }
        )

    def _kind_and_text(self, message: SentMessage) -> tuple[str, str | None]:
        habits = self.habits
        if message.call == "text":
            return "text", habits.text_form(message.content)
        if message.call == "interactive":
            full = "\n".join((message.content, *message.around))
            texts = {"full": full, "body": message.content, "null": None}
            return "interactive", texts[habits.interactive_text]
        name = message.around[0]
        family = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
        kind = family if family in ("image", "video", "audio") else "document"
        if habits.files_as == "document" or (habits.files_as == "voice" and kind == "audio"):
            kind = habits.files_as
        return kind, {"caption": message.content, "name": name, "null": None}[habits.file_text]

    def _file_of(self, id: str) -> SentMessage | None:
        """Return the message with a file that has an id."""
        return next(
            (each for each in self.messages if each.id == id and each.call in ("file", "file_url")), None
        )

    def _list_messages(self, target: str, query: dict[str, str]) -> object:
        talk = self._talk_of(target)
        if isinstance(talk, Refusal):
            return talk
        now = self.clock.now()
        shown = [
            self._message(message)
            for message in self.messages
            if message.talk is talk and message.listed_at <= now
        ]
        rows = [*shown, *self.odd_messages.get(talk.id, ())]
        rows.sort(key=lambda row: str(row.get("created")), reverse=self.habits.messages_newest_first)
        return self._page("message_list", rows, query)


def _content_of(call: str, body: Mapping[str, Any]) -> str:
    if call == "interactive":
        return str((body.get("button_message") or body["list_message"])["body"])
    name = {"text": "text", "start_chatbot": "chatbot_id"}.get(call, "caption")
    return str(body.get(name) or "")


def _around(call: str, body: Mapping[str, Any]) -> Iterator[str]:
    if call == "file_url":
        yield urlsplit(body["file_url"]).path.rpartition("/")[2]
    elif call == "file":
        yield str(body["file_name"])
    elif call == "interactive":
        message = body.get("button_message") or body["list_message"]
        header = message.get("header")
        for part in (header.get("text") if isinstance(header, dict) else header, message.get("footer")):
            if part:
                yield str(part)
        if message.get("button_text"):
            yield f"[{message['button_text']}]"
        yield from (f"[{button['text']}]" for button in message.get("buttons", ()))


class _BrokenStream(io.BytesIO):
    """A body that breaks off."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        raise ProtocolError("Connection broken: IncompleteRead(10 bytes read)")
        yield b""


def _route(method: str, path: str) -> tuple[str, re.Match[str]]:
    tail = path.partition("/api/ext/v3/")[2]
    for call, verb, pattern in _ROUTES:
        match = re.fullmatch(pattern, tail)
        if match is not None and verb == method:
            return call, match
    raise LookupError(f"The model has no {method} {path}: add it.")


def _body_of(request: requests.PreparedRequest) -> dict[str, Any]:
    body: Any = request.body
    if body is None:
        return {}
    if hasattr(body, "read"):
        text = b"".join(iter(body.read, b"")).decode("utf-8", "replace")
        fields = dict(re.findall(r'name="(\w+)"[^\n]*\r\n\r\n([^\r]*)\r\n', text))
        name = re.search(r'filename="([^"]*)"', text)
        return {**fields, "file_name": name[1] if name else ""}
    decoded = json.loads(body)
    return decoded if isinstance(decoded, dict) else {}


def _targets_in(body: Mapping[str, Any]) -> list[str]:
    recipients = body.get("recipients")
    if isinstance(recipients, list):
        return [str(each.get("target") or each.get("phone_number")) for each in recipients]
    return [str(body.get("target") or body.get("whatsapp_number") or "")]


def some_habits(random: Random) -> Habits:
    """Make up an account; most are plain."""
    chance = random.random
    forms: list[Callable[[str], str]] = [str, lambda name: f"{name} (1)", lambda name: f"{name} ", _escaped]
    phones: list[Callable[[str], str]] = [str, "+{}".format, "00{}".format, _spaced]
    return Habits(
        echoes_ids=chance() < 0.7,
        lists_refused=chance() < 0.3,
        total_counts_refused=chance() < 0.3,
        name_length=random.choice((1_000, 60, 40)),
        name_form=random.choice(forms),
        phone_form=random.choice(phones),
        failed_word=random.choice(("FAILED", "failed", "Undelivered")),
        cancelled_word=random.choice(("cancelled", "STOPPED")),
        page_size=random.choice((100, 100, 2)),
        newest_first=chance() < 0.7,
    )


def _escaped(name: str) -> str:
    return name.replace("&", "&amp;").replace(" ", "_")


def _spaced(phone: str) -> str:
    return f"+{phone[:2]} {phone[2:7]} {phone[7:]}"
