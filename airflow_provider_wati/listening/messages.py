"""What customers wrote, by polling: WATI lists conversations and their messages, and has no list of news."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.list_order import NewestFirst
from airflow_provider_wati.client.responses import says_no
from airflow_provider_wati.client.target import Target
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiResponseError,
    WatiServerError,
    WatiValidationError,
)
from airflow_provider_wati.listening.order import LatestActivityFirst
from airflow_provider_wati.listening.values import text_of, time_before, time_of, written_time
from airflow_provider_wati.masking import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Conversation, Message
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.listening.types import InboundMessage

log: logging.Logger = logging.getLogger(__name__)

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
#: Looks at the list for conversations that have moved while it was read, and those at its end by which they end.
_MOST_LOOKS, _LAST_CONVERSATIONS = 5, 10
#: Conversations that could not be read and are tried again, and for how long.
_MOST_UNREAD, _UNREAD_FOR = 50, timedelta(days=7)
#: So many conversations in a row that draw an error of WATI's server, or that it refuses, are an outage.
_OUTAGE = 2
_LONGEST_NAME = 100
_LONGEST_ID = 255


def is_inbound(message: Mapping[str, Any]) -> bool:
    """
    Say whether an entry of a conversation is a message from the person.

    :param message: as WATI lists it; one that does not say who wrote it is none.
    """
    return says_no(message.get("owner")) and message.get("event_type") in (None, "", "message")


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


@dataclass(frozen=True, slots=True)
class UnreadConversation:
    """
    A conversation that WATI did not give out, and what its list said about it.

    :param floor: what is older is not read.
    :param phone_number: of the person, as far as the list has it.
    :param name: of the person, as far as the list has it.
    """

    floor: str
    phone_number: str | None
    name: str | None

    @classmethod
    def of(cls, talk: Conversation, floor: str) -> UnreadConversation:
        """Make it of an entry of the list."""
        fields: Mapping[str, object] = talk
        name = _text(fields.get("contact_name"))
        return cls(floor, _text(fields.get("wa_id")), name and name[:_LONGEST_NAME])

    def as_listed(self, id: str) -> dict[str, object]:
        """Return the conversation as the list had it."""
        return {"id": id, "wa_id": self.phone_number, "contact_name": self.name}


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """
    How far the messages of an account have been read. Times are those of WATI's clock.

    :param since: when the last complete poll began.
    :param floor: what is older is not read. It moves with each poll that reads the overlap.
    :param is_ordered: whether WATI's list of conversations has shown to list the latest activity first.
    :param ids: hashes of the latest messages that were handed on.
    :param unread: conversations that could not be read, by their id; 50 at most.
    """

    since: str
    floor: str
    is_ordered: bool = False
    ids: tuple[str, ...] = ()
    unread: Mapping[str, UnreadConversation] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON of at most 65 kB."""
        return {
            "since": self.since,
            "floor": self.floor,
            "is_ordered": self.is_ordered,
            "ids": "".join(self.ids),
            "unread": {id: [each.floor, each.phone_number, each.name] for id, each in self.unread.items()},
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
        return cls(
            since=since,
            floor=floor,
            is_ordered=value.get("is_ordered") is True,
            ids=hashes,
            unread=_unread_in(value.get("unread")),
        )


def _unread_in(value: object) -> dict[str, UnreadConversation]:
    unread: dict[str, UnreadConversation] = {}
    for id, written in value.items() if isinstance(value, dict) else ():
        if isinstance(written, list) and len(written) == 3 and (floor := time_of(written[0])):
            unread[id] = UnreadConversation(floor, _text(written[1]), _text(written[2]))
    return unread


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

    A conversation that cannot be read is tried again for seven days: where the list brings it, and once an hour. One that moves to
    the front while the list is read pushes another one to the next page, where it comes again; then the list is looked at once more.

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
        self._unread = dict(position.unread)
        self._failures = 0
        #: Whether a conversation was read in this poll, and the error of one that WATI refuses to this token.
        self._has_read = False
        self._refusal: WatiPermissionError | None = None

    def pages(self, client: WatiClient) -> Iterator[Page]:
        """
        Poll once. The last page says that the poll is complete; there is always one.

        :param client: the account.
        :raises WatiError: when WATI cannot be read now. What could be read is handed on before; the next poll goes on.
        """
        self._page = {}
        self._failures = 0
        self._has_read, self._refusal = False, None
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
        read: set[str] = set()
        is_complete = yield from self._conversations(client, read, order, limit)
        if is_deep:
            yield from self._left_out(client, read, began)
        if self._refusal is not None and not self._has_read:
            # Nothing says that the token may read any conversation.
            raise self._refusal
        if not order.holds and len(read) >= _MANY_CONVERSATIONS:
            log.warning(
                "WATI's list of conversations has not shown to list the latest activity first, so that each poll reads all "
                "%d of them.",
                len(read),
            )
        if not is_complete:
            log.warning(
                "WATI's list of conversations moved %d times while it was read: the next poll reads all of this one again.",
                _MOST_LOOKS,
            )
            yield self._hand_on(self._position)
            return
        # The clock that is ahead may be wrong, and would hide messages; the one behind only reads some again.
        started = began + min(client.server_clock_offset or timedelta(0), timedelta(0))
        # What is older was not asked for, or was read; a clock that is set back makes it no news.
        floor = max(before.floor, time_before(started, OVERLAP)) if is_deep else before.floor
        yield self._hand_on(
            Position(since=written_time(started), floor=floor, is_ordered=order.holds), is_last=True
        )

    def _conversations(
        self, client: WatiClient, read: set[str], order: LatestActivityFirst, limit: str
    ) -> Generator[Page, None, bool]:
        """
        Read the conversations of the list as far as there may be news; return whether none can be missing.

        :param read: gets the ids of those that were read.
        :param order: it knows where the rest of the list is older.
        :param limit: what is younger is wanted.
        """
        last: deque[str] = deque(maxlen=_LAST_CONVERSATIONS)
        ends_early = False
        for look in range(_MOST_LOOKS):
            here: set[str] = set()
            ahead = set(last) if ends_early else set()
            has_moved = False
            for talk in client.iter_conversations():
                id = str(talk.get("id") or "")
                has_moved = has_moved or (bool(id) and id in here)
                here.add(id)
                if not id or id not in read:
                    read.add(id)
                    newest = yield from self._conversation(client, talk, limit)
                    if look == 0:
                        last.append(id)
                        if order.is_past(id, newest, limit):
                            ends_early = True
                            break
                if id in ahead:
                    ahead.discard(id)
                    if not ahead:
                        break
            if not has_moved:
                return True
        return False

    def _left_out(self, client: WatiClient, read: set[str], began: datetime) -> Iterator[Page]:
        """Try the conversations again that could not be read, and that the list has not brought."""
        oldest = time_before(began, _UNREAD_FOR)
        for id, each in list(self._unread.items()):
            if id not in read:
                talk: Any = each.as_listed(id)
                yield from self._conversation(client, talk, each.floor)
            if id in self._unread and each.floor < oldest:
                log.error("Conversation %s could not be read for seven days: its messages are lost.", id)
                del self._unread[id]

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
        unread = self._unread.get(id)
        floor = min(self._position.floor, unread.floor) if unread else self._position.floor
        limit = min(limit, floor) if unread else limit
        try:
            for message in client.iter_messages(Target.conversation(id)):
                created = _created(message)
                newest = max(newest or "", created or "") or None
                self._take(message, talk, created, floor)
                if len(self._page) >= PAGE:
                    yield self._hand_on(self._position)
                if self._messages.is_past(created, limit):
                    break
            self._has_read = True
        except WatiNotFoundError:
            log.info("Conversation %s is gone.", id)
        except WatiValidationError as error:
            log.warning("Conversation %s cannot be read, and is left out: %s", id, error)
        except (WatiBadRequestError, WatiPermissionError, WatiResponseError, WatiServerError) as error:
            self._leave_out(talk, id, floor, error)
            return newest
        self._failures = 0
        self._unread.pop(id, None)
        return newest

    def _leave_out(self, talk: Conversation, id: str, floor: str, error: WatiError) -> None:
        """
        Note a conversation that cannot be read, so that the others are.

        :raises WatiError: the error, where it looks like an outage, or where too many cannot be read.
        """
        if isinstance(error, WatiPermissionError):
            self._refusal = error
        if id in self._unread:
            return
        if len(self._unread) >= _MOST_UNREAD or len(id) > _LONGEST_NAME:
            raise error
        log.warning("Conversation %s cannot be read, and is tried again later: %s", id, error)
        self._unread[id] = UnreadConversation.of(talk, floor)
        if isinstance(error, (WatiPermissionError, WatiServerError)):
            self._failures += 1
            if self._failures >= _OUTAGE:
                raise error

    def _take(self, message: Message, talk: Conversation, created: str | None, floor: str) -> None:
        if created is not None and created < floor:
            return
        item = inbound_message(message, talk)
        if item is None:
            return
        hash = hash_of(item["id"])
        if hash not in self._seen:
            self._page.setdefault(item["id"], item)
        elif created is None:
            # It never gets older than the floor, so it stays known for as long as it is listed.
            self._seen[hash] = self._position.since

    def _hand_on(self, position: Position, *, is_last: bool = False) -> Page:
        messages = sorted(self._page.values(), key=lambda item: item["created"] or "")
        self._page = {}
        for item in messages:
            self._seen[hash_of(item["id"])] = item["created"] or position.since
        if is_last:
            floor = min([position.floor, *(each.floor for each in self._unread.values())])
            self._seen = {hash: time for hash, time in self._seen.items() if time >= floor}
        latest = sorted(self._seen, key=self._seen.__getitem__)[-_STORED_IDS:]
        self._position = replace(position, ids=tuple(latest), unread=dict(self._unread))
        return Page(messages, self._position)
