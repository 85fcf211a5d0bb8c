"""The messages of all conversations, both ways."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_wati.client.target import Target
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiResponseError,
    WatiServerError,
    WatiValidationError,
)
from airflow_provider_wati.extracting.rows import (
    Batch,
    Entity,
    Row,
    State,
    columns_of,
    flag_of,
    id_of,
    text_of,
    time_of,
)
from airflow_provider_wati.extracting.statuses import later_status, status_of
from airflow_provider_wati.extracting.unread import Unread
from airflow_provider_wati.extracting.watermark import (
    OVERLAP,
    WATERMARK,
    LatestActivityFirst,
    NewestFirst,
    Recent,
    new_watermark,
    time_before,
    watermark_in,
)

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Conversation, Message
    from airflow_provider_wati.clock import Clock

log = logging.getLogger(__name__)

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


def _merge(stored: Row, listed: Row) -> Row:
    return {**listed, "status": later_status(stored.get("status"), listed.get("status"))}


MESSAGES = Entity(
    "messages",
    columns_of(("conversation_id", *_OF_CONVERSATION, *_TEXTS, "status"), ("owner",), ("created",)),
    merge=_merge,
)


class MessagesExtract:
    """
    Read the messages of all conversations, or those since the watermark.

    With a watermark, the list of conversations is read until 10 in a row have no message since, once it has shown to list
    the latest activity first; else to its end. Of a conversation, the messages are read until three are older, once WATI's
    lists of messages have shown to be newest first.

    :param client: the account.
    :param clock: the time.
    """

    entity = MESSAGES

    def __init__(self, client: WatiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._message_order = NewestFirst(_FALLS_OF_MESSAGES, _OLD_MESSAGES)
        #: The time of the latest message of the conversation that is read.
        self._newest: str | None = None
        self.skipped = 0

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
        order = LatestActivityFirst(
            _OLD_CONVERSATIONS,
            time_before(began, _CLOCKS_DIFFER_BY),
            is_proven=state.get(ORDER) == _LATEST_ACTIVITY,
        )
        recent, unread = Recent(), Unread("conversation")
        for talk in self._client.iter_conversations():
            id = str(talk.get("id") or "")
            if recent.is_repeated(id):
                continue
            self._newest = None
            try:
                yield from self._conversation(talk, since)
            except WatiNotFoundError:
                log.info("Conversation %s is gone.", id)
            except (WatiBadRequestError, WatiServerError, WatiResponseError, WatiValidationError) as error:
                unread.add(id, error)
            if order.is_past(id, self._newest, since):
                break
        unread.check()
        proof = {ORDER: _LATEST_ACTIVITY} if order.holds else {}
        yield Batch(state={**proof, WATERMARK: new_watermark(began, self._client)})

    def _conversation(self, talk: Conversation, since: str) -> Iterator[Batch]:
        rows: list[Row] = []
        recent = Recent()
        self._message_order.begin()
        for message in self._client.iter_messages(Target.conversation(str(talk.get("id") or ""))):
            row = _row_of(message, talk)
            if row is None:
                self.skipped += 1
                continue
            if recent.is_repeated(row["id"]):
                continue
            created = row["created"]
            self._newest = max(self._newest or "", created or "") or None
            if created is None or created >= since:
                rows.append(row)
            if len(rows) >= _ROWS:
                yield Batch(rows)
                rows = []
            if self._message_order.is_past(created, since):
                break
        yield Batch(rows)


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
