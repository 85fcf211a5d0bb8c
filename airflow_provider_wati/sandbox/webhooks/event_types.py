"""
The names of events, and how each is known.

A ``_v2`` event is the same as the one without, with a local message id and the channel. A ``_bsuid`` event is the same
as the one without, with a business-scoped user id that is always there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MESSAGE = "message"
NEW_CONTACT = "newContactMessageReceived"
SESSION_SENT = "sessionMessageSent"
SESSION_FAILED = "sessionMessageFailed"
TEMPLATE_SENT = "templateMessageSent"
TEMPLATE_FAILED = "templateMessageFailed"
DELIVERED = "sentMessageDELIVERED"
READ = "sentMessageREAD"
REPLIED = "sentMessageREPLIED"
CHATBOT_TRIGGERED = "chatbotTriggered"
TEMPLATE_REVIEWED = "templateReviewed"
TEMPLATE_QUALITY = "templateQualityUpdated"
TEMPLATE_CATEGORY = "templateCategoryUpdated"
LINK_CLICKED = "ctaButtonClicked"
CONTACT_REQUEST = "contactRequestTyping"

V2 = "_v2"
BSUID = "_bsuid"


class Mark(StrEnum):
    """How a behaviour of WATI is known."""

    DOCUMENTED = "documented"
    OBSERVED = "observed"
    INFERRED = "inferred"


@dataclass(frozen=True)
class EventType:
    """
    A kind of event.

    :param name: as in ``eventType``.
    :param mark: how the name is known.
    :param caused: whether something that happens in the sandbox causes it; others are sent by hand.
    """

    name: str
    mark: Mark
    caused: bool = True


_WITH_V2 = (SESSION_SENT, TEMPLATE_SENT, DELIVERED, READ, REPLIED)
#: Names with a BSUID that a page of the documentation shows; the others are built in the same way.
_BSUID_ON_A_PAGE = (CHATBOT_TRIGGERED, TEMPLATE_SENT + V2)

_PLAIN = (
    *(
        EventType(name, Mark.DOCUMENTED)
        for name in (MESSAGE, NEW_CONTACT, SESSION_FAILED, TEMPLATE_FAILED, CHATBOT_TRIGGERED)
    ),
    *(EventType(name + suffix, Mark.DOCUMENTED) for name in _WITH_V2 for suffix in ("", V2)),
)
_BY_BSUID = tuple(
    EventType(each.name + BSUID, Mark.DOCUMENTED if each.name in _BSUID_ON_A_PAGE else Mark.INFERRED)
    for each in _PLAIN
)
_OTHERS = (
    EventType(TEMPLATE_REVIEWED, Mark.DOCUMENTED),
    EventType(TEMPLATE_QUALITY, Mark.DOCUMENTED, caused=False),
    EventType(TEMPLATE_CATEGORY, Mark.DOCUMENTED, caused=False),
    EventType(LINK_CLICKED, Mark.OBSERVED, caused=False),
    EventType(CONTACT_REQUEST, Mark.DOCUMENTED, caused=False),
)

EVENT_TYPES: dict[str, EventType] = {each.name: each for each in (*_PLAIN, *_BY_BSUID, *_OTHERS)}


def names_of(name: str) -> tuple[str, ...]:
    """Return every name under which one event can be subscribed to: plain, ``_v2`` and by BSUID."""
    plain = (name, name + V2) if name in _WITH_V2 else (name,)
    return tuple(each for each in (*plain, *(other + BSUID for other in plain)) if each in EVENT_TYPES)
