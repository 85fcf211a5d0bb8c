"""What customers wrote, by polling: WATI lists conversations and their messages, and has no list of news."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.target import Target
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiError,
    WatiNotFoundError,
    WatiResponseError,
    WatiValidationError,
)
from airflow_provider_wati.listening.order import LatestActivityFirst, NewestFirst, Recent
from airflow_provider_wati.listening.values import text_of, time_before, time_of, written_time
from airflow_provider_wati.masking import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Conversation, Message
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.listening.types import InboundMessage

log = logging.getLogger(__name__)

#: WATI may list a message so late. Once in this time, a poll reads the whole of it again.
OVERLAP = timedelta(hours=1)
#: WATI's clock and the triggerer's may differ by this much.
_CLOCKS_DIFFER_BY = timedelta(seconds=60)
#: Messages that are handed on together: about 400 kB as JSON.
PAGE = 1_000
#: Ids that a stored position keeps: 16 characters each. Airflow warns about values over 65,535 bytes.
_STORED_IDS = 3_000
#: Conversations in a row without news that end a poll, and one that reads the overlap too.
_OLD_CONVERSATIONS, _OLD_CONVERSATIONS_IN_OVERLAP = 1, 10
_OLD_MESSAGES, _FALLS_OF_MESSAGES = 1, 3
#: So many conversations in each poll are worth a warning.
_MANY_CONVERSATIONS = 20
_LONGEST_ID = 255


def is_inbound(message: Mapping[str, Any]) -> bool:
    """
    Say whether an entry of a conversation is a message from the person.

    :param message: as WATI lists it; one that does not say who wrote it is none.
    """
    return message.get("owner") is False and message.get("event_type") in (None, "", "message")


def inbound_message(message: Message, talk: Mapping[str, object]) -> InboundMessage | None:
    """
    Return a listed message as the item of an asset event.

    :param message: as WATI lists it.
    :param talk: its conversation, as WATI lists it; only the id is documented.
    :return: None for what is not from the person, and for what has no usable id.
    """
    id = _text(message.get("id"))
    if id is None or len(id) > _LONGEST_ID or not is_inbound(message):
        return None
    phone_number = _text(talk.get("wa_id"))
    kind = _text(message.get("type"))
    return {
        "id": id,
        "conversation_id": _text(message.get("conversation_id")) or _text(talk.get("id")),
        "ticket_id": _text(message.get("ticket_id")),
        "phone_number": phone_number if phone_number and _is_number(phone_number) else None,
        "sender_name": _text(talk.get("contact_name")),
        "type": kind and kind.lower(),
        "text": _text(message.get("text")),
        "channel_phone_number": None,
        "created": _created(message),
    }


def _text(value: object) -> str | None:
    # Half a character in an asset event makes Airflow's API answer 500 to the run that gets it.
    text = text_of(value)
    return text and clean(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _created(message: Message) -> str | None:
    return time_of(message.get("created")) or time_of(message.get("timestamp"))


def hash_of(id: str) -> str:
    """Return 16 hexadecimal characters that stand for an id."""
    return blake2b(id.encode("utf-8", "replace"), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """
    How far the messages of an account have been read. Times are those of WATI's clock.

    :param since: when the last complete poll began.
    :param floor: what is older is not read. It moves with each poll that reads the overlap.
    :param is_ordered: whether WATI's list of conversations has shown to list the latest activity first.
    :param ids: hashes of the latest messages that were handed on.
    """

    since: str
    floor: str
    is_ordered: bool = False
    ids: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON of at most 50 kB."""
        return {
            "since": self.since,
            "floor": self.floor,
            "is_ordered": self.is_ordered,
            "ids": "".join(self.ids),
        }

    @classmethod
    def from_json(cls, value: object) -> Position | None:
        """Read what :meth:`to_json` has returned; None for anything else."""
        if not isinstance(value, dict):
            return None
        since, floor, ids = time_of(value.get("since")), time_of(value.get("floor")), value.get("ids")
        if since is None or floor is None or not isinstance(ids, str):
            return None
        hashes = tuple(ids[n : n + 16] for n in range(0, len(ids), 16))
        return cls(since=since, floor=floor, is_ordered=value.get("is_ordered") is True, ids=hashes)


def first_position(now: datetime, look_back: timedelta) -> Position:
    """Return where an account is read from that has not been read before."""
    since = time_before(now, look_back)
    return Position(since=since, floor=since)


@dataclass(frozen=True, slots=True)
class Page:
    """
    Messages that no earlier page had, oldest first.

    :param messages: 1,000 at most; empty at the end of a poll without news.
    :param position: where to go on once these messages are stored.
    """

    messages: Sequence[InboundMessage]
    position: Position


class MessagePoll:
    """
    Polls an account for messages of customers.

    A poll without news costs two calls once the order of WATI's lists is proven: the first page of conversations, and the
    messages of the first one. WATI documents neither a time nor a text in its list of conversations, so that one call is
    never enough. Each conversation with news costs one call more. Once an hour, a poll also reads each conversation with a
    message in the last two hours, for what WATI lists late. Until the order of the conversations is proven, each poll reads
    all of them; see :class:`.LatestActivityFirst`.

    :param position: where to begin.
    :param clock: the time.
    """

    def __init__(self, position: Position, clock: Clock) -> None:
        self._position = position
        self._clock = clock
        #: The time of each message that was handed on, by its hash.
        self._seen = dict.fromkeys(position.ids, position.since)
        self._messages = NewestFirst(_FALLS_OF_MESSAGES, _OLD_MESSAGES)
        self._page: dict[str, InboundMessage] = {}

    def pages(self, client: WatiClient) -> Iterator[Page]:
        """
        Poll once. The last page says that the poll is complete; there is always one.

        :param client: the account.
        :raises WatiError: when WATI cannot be read now. What could be read is handed on before; the next poll goes on.
        """
        self._page = {}
        try:
            yield from self._read(client)
        except WatiError:
            if self._page:
                yield self._hand_on(self._position)
            raise

    def _read(self, client: WatiClient) -> Iterator[Page]:
        began = self._clock.now()
        before = self._position
        is_deep = self._is_deep(began)
        limit = (
            before.floor if is_deep else time_before(datetime.fromisoformat(before.since), _CLOCKS_DIFFER_BY)
        )
        if is_deep:
            self._messages = NewestFirst(_FALLS_OF_MESSAGES, _OLD_MESSAGES)
        order = LatestActivityFirst(
            _OLD_CONVERSATIONS_IN_OVERLAP if is_deep else _OLD_CONVERSATIONS,
            time_before(began, _CLOCKS_DIFFER_BY),
            is_proven=before.is_ordered,
        )
        recent, count = Recent(), 0
        for talk in client.iter_conversations():
            id = str(talk.get("id") or "")
            if recent.is_repeated(id):
                continue
            count += 1
            newest = yield from self._conversation(client, talk, limit)
            if order.is_past(id, newest, limit):
                break
        if not order.holds and count >= _MANY_CONVERSATIONS:
            log.warning(
                "WATI's list of conversations has not shown to list the latest activity first, so that each poll reads all "
                "%d of them.",
                count,
            )
        started = began + (client.server_clock_offset or timedelta(0))
        floor = time_before(started, OVERLAP) if is_deep else before.floor
        yield self._hand_on(
            Position(since=written_time(started), floor=floor, is_ordered=order.holds), is_last=True
        )

    def _is_deep(self, began: datetime) -> bool:
        before = self._position
        return (
            not before.is_ordered
            or before.since <= before.floor
            or before.floor <= time_before(began, 2 * OVERLAP)
        )

    def _conversation(
        self, client: WatiClient, talk: Conversation, limit: str
    ) -> Generator[Page, None, str | None]:
        """Take the news of a conversation; return the time of its latest message."""
        newest: str | None = None
        self._messages.begin()
        id = str(talk.get("id") or "")
        try:
            for message in client.iter_messages(Target.conversation(id)):
                created = _created(message)
                newest = max(newest or "", created or "") or None
                self._take(message, talk, created)
                if len(self._page) >= PAGE:
                    yield self._hand_on(self._position)
                if self._messages.is_past(created, limit):
                    break
        except WatiNotFoundError:
            log.info("Conversation %s is gone.", id)
        except (WatiBadRequestError, WatiResponseError, WatiValidationError) as error:
            # Another poll would meet it again, and nothing else would be read.
            log.warning("Conversation %s cannot be read, and is left out: %s", id, error)
        return newest

    def _take(self, message: Message, talk: Conversation, created: str | None) -> None:
        if created is not None and created < self._position.floor:
            return
        item = inbound_message(message, talk)
        if item is not None and hash_of(item["id"]) not in self._seen:
            self._page.setdefault(item["id"], item)

    def _hand_on(self, position: Position, *, is_last: bool = False) -> Page:
        messages = sorted(self._page.values(), key=lambda item: item["created"] or "")
        self._page = {}
        for item in messages:
            self._seen[hash_of(item["id"])] = item["created"] or position.since
        if is_last:
            self._seen = {hash: time for hash, time in self._seen.items() if time >= position.floor}
        latest = sorted(self._seen, key=self._seen.__getitem__)[-_STORED_IDS:]
        self._position = replace(position, ids=tuple(latest))
        return Page(messages, self._position)
