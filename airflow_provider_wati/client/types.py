"""
The shapes that WATI answers with.

They describe plain dicts, as decoded from JSON. WATI leaves out members that are null and adds new ones over
time, so nothing but what a class marks as required can be relied on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict

if TYPE_CHECKING:
    from airflow_provider_wati.exceptions import WatiError, WatiUnknownOutcomeError


class NameValue(TypedDict):
    """One attribute of a contact or one parameter of a template."""

    name: str
    value: str


class Contact(TypedDict, total=False):
    """A person in WATI; ``teams`` and ``segments`` are names."""

    id: Required[str]
    wa_id: str | None
    name: str | None
    display_name: str | None
    phone: str | None
    photo: str | None
    created: str
    last_updated: str
    contact_status: str | None
    source: str | None
    channel_id: str | None
    channel_type: str | None
    opted_in: bool
    allow_broadcast: bool
    allow_sms: bool
    teams: list[str] | None
    segments: list[str] | None
    custom_params: list[NameValue] | None
    contact_link: dict[str, str | None]
    is_broadcast_limit_reached: str | bool | None
    bsuid: str | None
    username: str | None
    parentBsuid: str | None


class DeletedContact(TypedDict, total=False):
    """What is left of a contact."""

    contact_id: str
    deleted: bool
    cleanup_completed: bool


class Conversation(TypedDict, total=False):
    """A conversation; WATI documents the id and the channel type only."""

    id: Required[str]
    channel_type: str | None


class Message(TypedDict, total=False):
    """One entry of a conversation; ``owner`` is true for what the business sent."""

    id: str | None
    created: str
    conversation_id: str | None
    ticket_id: str | None
    event_type: str | None
    text: str | None
    type: str | None
    timestamp: str | None
    owner: bool
    status: str | None
    failed_detail: str | None
    avatar_url: str | None
    assigned_id: str | None
    operator_name: str | None
    bot_type: str | None
    local_message_id: str | None


class MessageTemplate(TypedDict, total=False):
    """A template; ``custom_params`` names its parameters as a send must name them."""

    id: Required[str]
    name: str | None
    category: str | None
    sub_category: str | None
    status: str | None
    quality: str | None
    type: str | None
    body: str | None
    body_original: str | None
    header: dict[str, Any] | None
    footer: str | None
    buttons: list[dict[str, Any]] | None
    buttons_type: str | None
    custom_params: list[dict[str, str | None]] | None
    language_option: dict[str, str | None] | None
    last_modified: str


class CampaignStatistics(TypedDict, total=False):
    """How many recipients of a campaign stand where."""

    total_recipients: int
    total_pending: int
    total_queued: int
    total_sending: int
    total_sent: int
    total_delivered: int
    total_read: int
    total_replied: int
    total_failed: int
    total_stopped: int


class Campaign(TypedDict, total=False):
    """A campaign, which WATI's paths call a broadcast; only :meth:`get_campaign` fills ``statistics``."""

    id: Required[str]
    channel_id: str | None
    name: str | None
    status: str | None
    template_id: str | None
    fallback_templates: list[dict[str, Any]] | None
    created: str
    last_updated: str
    scheduled_at: str
    statistics: CampaignStatistics


class CampaignRecipient(TypedDict, total=False):
    """What became of one recipient of a campaign."""

    id: str | None
    contact_id: str | None
    contact_name: str | None
    contact_phone: str | None
    status: str | None
    failed_code: str | None
    local_message_id: str | None
    message_id: str | None
    custom_params: list[NameValue] | None
    created: str
    bsuid: str | None


class CampaignsOverview(TypedDict, total=False):
    """Totals of all campaigns between two dates."""

    total_links: int
    total_processing: int
    total_queued: int
    total_sent: int
    total_delivered: int
    total_open: int
    total_replied: int
    total_failed: int
    total_stopped: int
    total_sending: int


class CostEstimate(TypedDict, total=False):
    """What a campaign would cost; ``result`` is false when balance or category forbid the send."""

    estimated_cost: float
    current_credit: float
    current_welcome_credit: float
    result: bool
    is_request_succeeded: bool
    failed_detail: str | None


class Channel(TypedDict, total=False):
    """A number or account that the business sends from; ``channel`` is the platform."""

    id: str | None
    name: str | None
    channel: str | None


class Chatbot(TypedDict, total=False):
    """A chatbot that can be started."""

    id: Required[str]
    name: str | None
    created: str


class Webhook(TypedDict):
    """A subscription to events."""

    id: str
    url: str
    event_types: list[str]
    #: ``Enabled``, ``Disabled`` or ``Defective``; None where WATI does not say.
    status: str | None


class Credits(TypedDict, total=False):
    """The balance of the account."""

    credit: float
    welcome_credit: float
    remaining_free_conversations_count: int
    currency: str | None
    auto_charge_enabled: bool


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """
    What WATI said about one recipient of a template send.

    :param target: the recipient as it was asked for.
    :param local_message_id: the id as WATI echoes it, which later look-ups need.
    :param error: why WATI did not take the message; None if it did.
    """

    target: str
    local_message_id: str | None
    error: str | None

    @property
    def accepted(self) -> bool:
        """Whether WATI took the message, which is not yet to say that it arrived."""
        return self.error is None


@dataclass(frozen=True, slots=True)
class TemplateSendResult:
    """
    WATI's answer to a template send, read to the end.

    :param campaign_id: the campaign that WATI made of it.
    :param recipients: one entry for each recipient asked for, in that order.
    """

    campaign_id: str | None
    recipients: tuple[RecipientResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendHooks:
    """
    What the caller of a send does around each attempt.

    :param before_send: called right before each attempt leaves, after all waiting. False withdraws the call: nothing
        is sent. An exception ends the call unchanged; nothing is sent then either.
    :param not_sent: called after each attempt that certainly had no effect: it never left, or WATI refused it.
    """

    before_send: Callable[[], bool]
    not_sent: Callable[[], None]


class EncodedRecipient(NamedTuple):
    """
    One recipient of a template send as it goes over the wire; :func:`.encode_recipient` makes it.

    :param target: the checked target: digits, a contact id or a BSUID.
    :param local_message_id: the id that WATI echoes; None to let WATI make one.
    :param body: the JSON text of this recipient.
    """

    target: str
    local_message_id: str | None
    body: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """
    WATI took the call. Positions count from 0 in the recipients asked for.

    :param campaign_id: the campaign that WATI made of it; None if WATI does not name it.
    :param refused: who was refused, with WATI's reason, phone numbers masked.
    :param omitted: recipients that WATI's answer leaves out, or for which it has no clear result; they may be accepted.
    :param other_ids: the local message ids that WATI made, where it does not echo those asked for.
    """

    campaign_id: str | None
    refused: dict[int, str] = field(default_factory=dict)
    omitted: frozenset[int] = frozenset()
    other_ids: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """
    WATI refused the whole call because of what is in it: a 400, or a refusal inside a 200.

    :param error: what WATI said.
    """

    error: WatiError


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """
    The call left and no usable answer came, so that the messages may or may not go out.

    :param error: what is known.
    """

    error: WatiUnknownOutcomeError


@dataclass(frozen=True, slots=True)
class NotSent:
    """
    Nothing was sent: no connection, 401, 403, 404, 409, 429 to the end, or the call was withdrawn.

    :param error: why; None when ``before_send`` withdrew the call.
    """

    error: WatiError | None


#: What became of one template call.
DispatchResult = Accepted | Rejected | Ambiguous | NotSent
