"""The messages of all conversations, both ways."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_wati.client.list_order import NewestFirst
from airflow_provider_wati.client.target import Target
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiResponseError,
    WatiServerError,
    WatiValidationError,
)
from airflow_provider_wati.extracting.rows import Batch, Entity, Row, State, columns_of, flag_of, id_of
from airflow_provider_wati.extracting.seen_ids import SeenIds
from airflow_provider_wati.extracting.statuses import later_status, status_of
from airflow_provider_wati.extracting.unread import Unread
from airflow_provider_wati.extracting.watermark import OVERLAP, WATERMARK, new_watermark, watermark_in
from airflow_provider_wati.listening.order import LatestActivityFirst, Recent
from airflow_provider_wati.listening.values import text_of, time_before, time_of

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Conversation, Message
    from airflow_provider_wati.clock import Clock

log: logging.Logger = logging.getLogger(__name__)

#: Of the conversation, as its list has them; WATI documents the channel type only.
_OF_CONVERSATION = ("channel_type", "wa_id", "contact_id")
_TEXTS = (
    "ticket_id", "event_type", "type", "text", "failed_detail", "local_message_id", "operator_name",
    "assigned_id", "bot_type",
)  # fmt: skip
#: Rows that are handed on together.
_ROWS = 500
#: The name in a state of the order in which WATI lists conversations, once it is proven.
ORDER = "conversation_order"
_LATEST_ACTIVITY = "latest activity first"
#: WATI's clock and the worker's may differ by this much.
_CLOCKS_DIFFER_BY = timedelta(seconds=60)
#: Entries in a row that have to be older than the watermark: 10 conversations, 3 messages of one.
_OLD_CONVERSATIONS, _OLD_MESSAGES = 10, 3
_FALLS_OF_MESSAGES = 3
#: Looks at the list for conversations that have moved while it was read.
_MOST_LOOKS = 5


def _merge(stored: Row, listed: Row) -> Row:
    """Let a status climb only, and keep the reason of a failure."""
    merged = {**listed, "status": later_status(stored.get("status"), listed.get("status"))}
    if "failed_detail" in listed:
        merged["failed_detail"] = listed["failed_detail"] or stored.get("failed_detail")
    return merged


MESSAGES = Entity(
    "messages",
    columns_of(("conversation_id", *_OF_CONVERSATION, *_TEXTS, "status"), ("owner",), ("created",)),
    merge=_merge,
)


@dataclass(slots=True)
class _Span:
    """The times of the messages of a conversation: of the latest that was read, and of the oldest that is wanted."""

    newest: str | None = None
    oldest: str | None = None

    def add(self, created: str | None, *, is_wanted: bool) -> None:
        self.newest = max(self.newest or "", created or "") or None
        if is_wanted:
            # A message without a time may be of any age.
            self.oldest = min(created or "", created or "" if self.oldest is None else self.oldest)


class MessagesExtract:
    """
    Read the messages of all conversations, or those since the watermark.

    With a watermark, the list of conversations is read until 10 in a row have no message since, once it has shown to list
    the latest activity first; else to its end. Of a conversation, the messages are read until three are older, once WATI's
    lists of messages have shown to be newest first.

    A message moves its conversation to the front of the list. One that moves while the list is read would be missed, with all
    that was said in it before the run, so the list is looked at again for conversations that it has not shown.

    :param client: the account.
    :param clock: the time.
    """

    entity = MESSAGES

    def __init__(self, client: WatiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._message_order = NewestFirst(_FALLS_OF_MESSAGES, _OLD_MESSAGES)
        self._unread = Unread("conversation")
        self.skipped: int = 0

    def forget(self, state: Mapping[str, str]) -> State:
        """Return an empty state."""
        return {}

    def batches(self, state: Mapping[str, str]) -> Iterator[Batch]:
        """
        Read messages conversation by conversation.

        :raises WatiError: at the end, when a conversation could not be read; the watermark stays then.
        """
        began = self._clock.now()
        watermark = watermark_in(state)
        since = time_before(watermark, OVERLAP) if watermark else ""
        self._unread = Unread("conversation")
        order = LatestActivityFirst(
            _OLD_CONVERSATIONS,
            time_before(began, _CLOCKS_DIFFER_BY),
            is_proven=state.get(ORDER) == _LATEST_ACTIVITY,
        )
        with closing(SeenIds()) as seen:
            last = yield from self._listed(seen, since, order)
            is_complete = yield from self._moved(seen, since, last, new_watermark(began, self._client))
        self._unread.check()
        if not is_complete:
            log.warning(
                "WATI's list of conversations moved %d times while it was read: the rows are stored, and the watermark stays, "
                "so that the next run reads what this one may have missed.",
                _MOST_LOOKS,
            )
            return
        proof = {ORDER: _LATEST_ACTIVITY} if order.holds else {}
        yield Batch(state={**proof, WATERMARK: new_watermark(began, self._client)})

    def _listed(
        self, seen: SeenIds, since: str, order: LatestActivityFirst
    ) -> Generator[Batch, None, Sequence[str]]:
        """Read the conversations of the list, and return the ids of the last ones; none where it was read to its end."""
        last: deque[str] = deque(maxlen=_OLD_CONVERSATIONS)
        for talk in self._client.iter_conversations():
            target = _target_of(talk)
            if target is None:
                self.skipped += 1
                continue
            if not seen.add(target.value):
                continue
            last.append(target.value)
            span = yield from self._read(target, talk, since)
            if order.is_past(target.value, span.newest, since):
                return last
        return ()

    def _moved(
        self, seen: SeenIds, since: str, last: Sequence[str], began: str
    ) -> Generator[Batch, None, bool]:
        """
        Read the conversations that the list did not show before, and return whether none can be missing.

        A conversation that comes again on the next page shows that something has moved, so there may be another one that has.

        :param seen: the conversations that were read.
        :param last: those at the end of what was read of the list; none for its end.
        :param began: when the run began, by WATI's clock. What is said later belongs to the next run.
        """
        is_missing = False
        for _ in range(_MOST_LOOKS):
            has_moved = is_missing = False
            ahead = set(last)
            with closing(SeenIds()) as here:
                for talk in self._client.iter_conversations():
                    target = _target_of(talk)
                    if target is None:
                        continue
                    if not here.add(target.value):
                        has_moved = True
                        continue
                    if seen.add(target.value):
                        span = yield from self._read(target, talk, since)
                        is_missing = is_missing or (span.oldest is not None and span.oldest < began)
                    ahead.discard(target.value)
                    if last and not ahead:
                        break
            if not has_moved and not is_missing:
                return True
        return not is_missing

    def _read(self, target: Target, talk: Conversation, since: str) -> Generator[Batch, None, _Span]:
        """Read the messages of a conversation, and return their times."""
        span = _Span()
        try:
            yield from self._conversation(target, talk, since, span)
        except WatiNotFoundError:
            log.info("Conversation %s is gone.", target.value)
        # WATI may refuse one conversation, of another channel; where it refuses each one, the run ends with its error.
        except (WatiBadRequestError, WatiPermissionError, WatiServerError, WatiResponseError) as error:
            self._unread.add(target.value, error)
        return span

    def _conversation(self, target: Target, talk: Conversation, since: str, span: _Span) -> Iterator[Batch]:
        rows: list[Row] = []
        recent = Recent()
        self._message_order.begin()
        for message in self._client.iter_messages(target):
            row = _row_of(message, talk)
            if row is None:
                self.skipped += 1
                continue
            if recent.is_repeated(row["id"]):
                continue
            created = row["created"]
            is_wanted = created is None or created >= since
            span.add(created, is_wanted=is_wanted)
            if is_wanted:
                rows.append(row)
            if len(rows) >= _ROWS:
                yield Batch(rows)
                rows = []
            if self._message_order.is_past(created, since):
                break
        yield Batch(rows)


def _target_of(talk: Conversation) -> Target | None:
    """Return a conversation as calls name it; None if it has no usable id."""
    try:
        return Target.conversation(text_of(talk.get("id")) or "")
    except WatiValidationError:
        return None


def _row_of(message: Message, talk: Conversation) -> Row | None:
    """Return the row of a message; None if it has no usable id."""
    id = id_of(message)
    if id is None:
        return None
    record: Mapping[str, object] = message
    of_conversation: Mapping[str, object] = talk
    return {
        "id": id,
        "conversation_id": text_of(message.get("conversation_id")) or text_of(talk.get("id")),
        **{name: text_of(of_conversation.get(name)) for name in _OF_CONVERSATION},
        **{name: text_of(record.get(name)) for name in _TEXTS},
        "status": status_of(text_of(message.get("status"))),
        "owner": flag_of(message.get("owner")),
        "created": time_of(message.get("created")) or time_of(message.get("timestamp")),
    }
