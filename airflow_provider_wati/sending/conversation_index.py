"""What WATI shows of a single message: the conversations of a person, compared with what was sent."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.list_order import NewestFirst
from airflow_provider_wati.client.responses import has_failed
from airflow_provider_wati.client.target import Target, TargetKind
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConflictError,
    WatiError,
    WatiNotFoundError,
    WatiValidationError,
)
from airflow_provider_wati.sending.reconciler import Listed
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of, normal_form

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Message

log: logging.Logger = logging.getLogger(__name__)

#: WATI's clock and the worker's, once their known difference is taken off.
_CLOCKS_DIFFER_BY = timedelta(seconds=60)
#: Messages of one conversation that are read at most: 20 calls. What is older cannot be ruled out then.
_MOST_MESSAGES = 2_000
#: Conversations of the account among which those of the person are looked for: 20 calls. What is beyond cannot be ruled
#: out, because WATI does not document whether the newest are those that began last, or those with the latest message.
_MOST_CONVERSATIONS = 2_000
#: Conversations that do not say whose they are, and are looked into: WATI documents ``id`` and ``channel_type`` only.
_MOST_UNNAMED = 20
#: An earlier year means that there is no time: .NET writes the year 1 then.
_FIRST_YEAR = 2000
_TEXT = frozenset({"text", ""})
_FILES = frozenset({"image", "video", "audio", "voice", "document", "sticker", "file", "media"})
#: The kinds under which WATI may list an upload of a MIME family.
_KINDS_OF_FAMILY = {
    "image": {"image", "sticker", "document", "file", "media"},
    "video": {"video", "document", "file", "media"},
    "audio": {"audio", "voice", "document", "file", "media"},
}
_INTERACTIVE = frozenset(
    {"interactive", "button", "buttons", "list", "interactive_button", "interactive_list"}
)
#: The kinds of WhatsApp that no single send makes. WATI documents no list of its own, so any other word may be one of ours.
_OTHERS = frozenset({"template", "location", "contact", "contacts", "reaction", "order"})
_KNOWN = _TEXT | _FILES | _INTERACTIVE | _OTHERS


class MessageKind(Enum):
    """What a single send sends."""

    TEXT = "text"
    FILE = "file"
    INTERACTIVE = "interactive"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContent:
    """
    What WATI keeps of a single message.

    :param kind: what it is.
    :param text: the text, the caption of a file, or the body of an interactive message.
    :param around: header, footer and choices of an interactive message, or the name of a file: WATI may list them too.
    :param choices: what an interactive message offers behind its button; WATI may list it.
    :param media: the name of the file in the header of an interactive message, which WATI does not list as text.
    :param mime_family: ``image``, ``video``, ``audio`` or ``application``, for a file; None if it is not known.
    """

    kind: MessageKind
    text: str
    around: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    media: str = ""
    mime_family: str | None = None

    @property
    def fingerprint(self) -> str:
        """What the journal keeps of it: the kind and 16 hexadecimal characters, and nothing of what it says."""
        # The MIME type is left out: two workers may guess it differently. So is where a file lies: a temporary directory or
        # a signed URL changes from one attempt to the next.
        parts = map(plain_text, (self.text, *self.around, *self.choices, self.media))
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
        return f"{self.kind.value} {digest[:16]}"

    def compare(self, message: Message) -> Listed:
        """
        Compare the content with a message of a conversation.

        :return: YES only for a message that matches; UNCLEAR where WATI does not list enough to say; else NO.
        """
        if self.kind is MessageKind.TEXT:
            return compare_fingerprint(self.fingerprint, message)
        kind, text = _kind_of(message), _text_of(message)
        is_file = self.kind is MessageKind.FILE
        if kind not in _KNOWN or (is_file and not kind):
            if text is None and _is_event(message):
                return Listed.NO
            # An unknown kind is compared like one of ours. A match is UNCLEAR, because the kind proves nothing.
            same = (
                self._compare_file("document", text) if is_file else self._compare_interactive("list", text)
            )
            return Listed.NO if same is Listed.NO else Listed.UNCLEAR
        return self._compare_file(kind, text) if is_file else self._compare_interactive(kind, text)

    def _compare_interactive(self, kind: str, text: str | None) -> Listed:
        body = plain_text(self.text)
        if kind in _TEXT:
            # WATI does not document how it lists such a message. A person may have written the same words.
            return Listed.UNCLEAR if text == body else Listed.NO
        if kind not in _INTERACTIVE:
            return Listed.NO
        if text is None:
            return Listed.UNCLEAR
        if text == body:
            return Listed.YES
        if body not in text:
            return Listed.NO
        around = [part for part in map(plain_text, self.around) if part]
        rest = text
        for part in sorted({body, *around, *map(plain_text, self.choices)} - {""}, key=len, reverse=True):
            rest = rest.replace(part, " ", 1)
        has_more = any(character.isalnum() for character in rest)
        has_all = all(part in text for part in around)
        return Listed.YES if has_all and not has_more else Listed.UNCLEAR

    def _compare_file(self, kind: str, text: str | None) -> Listed:
        family = self.mime_family
        if kind not in _FILES or (family is not None and kind not in _KINDS_OF_FAMILY.get(family, _FILES)):
            return Listed.NO
        caption, names = plain_text(self.text), set(map(plain_text, self.around))
        if text and text == caption:
            return Listed.YES
        if text in names:
            return Listed.UNCLEAR if caption else Listed.YES
        # Without a text there is nothing but the kind to compare, which another file may have too.
        return Listed.NO if text else Listed.UNCLEAR

    def needs_file_name(self, message: Message) -> bool:
        """Return whether only the file name can identify the message, because neither it nor the content has a caption."""
        return self.kind is MessageKind.FILE and not plain_text(self.text) and not _text_of(message)

    def has_name(self, file_name: str) -> bool:
        """Return whether the file has this name."""
        return plain_text(file_name) in map(plain_text, self.around)


def compare_fingerprint(fingerprint: str, message: Message) -> Listed:
    """
    Compare a message with content of which only the fingerprint is known, as the journal keeps it.

    :param fingerprint: that of the content.
    :param message: a message of a conversation.
    :return: YES or NO for a text; UNCLEAR for each message of another kind that it may be.
    """
    listed, text = _kind_of(message), _text_of(message)
    kind, is_known = fingerprint.partition(" ")[0], listed in _KNOWN
    if text is None and not (listed and is_known) and _is_event(message):
        return Listed.NO
    if kind != MessageKind.TEXT.value:
        kinds = _FILES if kind == MessageKind.FILE.value else _INTERACTIVE
        return Listed.UNCLEAR if listed in kinds or not is_known else Listed.NO
    if is_known and listed not in _TEXT:
        return Listed.NO
    if text is None:
        return Listed.UNCLEAR
    found = MessageContent(kind=MessageKind.TEXT, text=text)
    if found.fingerprint != fingerprint:
        return Listed.NO
    return Listed.YES if is_known else Listed.UNCLEAR


def _is_event(message: Message) -> bool:
    """Return whether an entry without text and of no known kind is an event, such as a solved ticket, and not a message."""
    return not message.get("type") or message.get("event_type") in ("ticket", "broadcast")


def _kind_of(message: Message) -> str:
    return str(message.get("type") or "").casefold()


def _text_of(message: Message) -> str | None:
    text = message.get("text")
    return plain_text(text) if isinstance(text, str) else None


def plain_text(text: str) -> str:
    """Normalize what WATI may change in a text: outer spaces, the form of line breaks, the width of spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass(frozen=True, slots=True)
class Sighting:
    """
    What the conversations show about one message.

    :param listed: whether it is there.
    :param message: the message, if it is.
    :param readable: whether all conversations that may have it could be read.
    """

    listed: Listed
    message: Message | None = None
    readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """
    A message to look for.

    :param since: the time of its intent, by the worker's clock or the scheduler's.
    :param until: the latest time at which it can have been made. A newer message may come from another sender.
    :param content: the fingerprint of what was sent.
    :param known_ids: ids of messages that other calls account for.
    """

    since: datetime
    until: datetime
    content: str
    known_ids: frozenset[str] = frozenset()


class ConversationIndex:
    """
    Look for a message in every conversation of a person that may hold it.

    The newest open conversation need not be the one: it may have been solved, and the person may have written on another
    channel since.

    :param client: the account.
    :param target: the person or conversation that was sent to.
    :param content: what is sent.
    """

    def __init__(self, client: WatiClient, target: str | Target, content: MessageContent) -> None:
        self._client = client
        self._target = Target.parse(target).on_channel(client.channel)
        self._content = content
        self._all_listed = True
        #: Ids of the conversations that this look has read.
        self._read: set[str] = set()

    def look(self, search: Search) -> Sighting:
        """
        Look for the message.

        :return: the first message that matches; else one that may be it; else FAILED or NO.
        """
        best, is_read, self._all_listed = Sighting(Listed.NO), False, True
        self._read.clear()
        known_ids = set(search.known_ids)
        for target, is_theirs in self._conversations():
            try:
                for found in self._matches(target, search, known_ids):
                    if not is_theirs:
                        # Another person may have got the same message.
                        best = Sighting(Listed.UNCLEAR, found.message)
                        continue
                    if found.listed is Listed.YES:
                        return found
                    if best.listed is Listed.NO or found.listed is Listed.UNCLEAR:
                        best = found
                is_read = True
            except WatiNotFoundError:
                is_read = True  # no conversation, so nothing can have been sent into it
            except WatiConflictError:
                continue  # the channels tell the conversations apart
            except WatiBadRequestError as error:
                # Some channels that WATI lists cannot be used; the list of conversations has what is on them.
                log.info("A conversation cannot be read: %s", error)
                is_channel = target != self._target and target.kind is not TargetKind.CONVERSATION_ID
                self._all_listed = self._all_listed and is_channel
            except WatiError as error:
                log.warning("A conversation cannot be read: %s", error)
                self._all_listed = False
        return Sighting(best.listed, best.message, readable=is_read and self._all_listed)

    def _conversations(self) -> Iterator[tuple[Target, bool]]:
        """
        Yield a target for each conversation to read, and whether that conversation is known to be the person's.

        These are the target itself, the target on each channel, and the ids of listed conversations.
        """
        target = self._target
        yield target, True
        if target.kind not in (TargetKind.PHONE, TargetKind.BSUID):
            return
        try:
            if target.channel is None:
                for channel in self._client.iter_channels():
                    if channel.get("id") and channel.get("name"):
                        yield target.on_channel(str(channel["name"])), True
            yield from self._listed_conversations(target)
        except WatiError as error:
            # The message may be in one of those that were not listed.
            log.warning("The other conversations of the person cannot be listed: %s", error)
            self._all_listed = False

    def _listed_conversations(self, target: Target) -> Iterator[tuple[Target, bool]]:
        """Yield the account's conversations that are the person's, or may be."""
        conversations, unnamed = self._client.iter_conversations(), 0
        for conversation in islice(conversations, _MOST_CONVERSATIONS):
            id, theirs = str(conversation.get("id") or ""), _belongs_to(target, conversation)
            if theirs is Listed.NO or (id and id in self._read):
                continue
            if theirs is Listed.UNCLEAR:
                unnamed += 1
                if unnamed > _MOST_UNNAMED:
                    log.warning(
                        "More than %d conversations do not say whose they are; the message may be in one of them.",
                        _MOST_UNNAMED,
                    )
                    self._all_listed = False
                    return
            for found in self._by_id(id):
                yield found, theirs is Listed.YES
        if next(conversations, None) is not None:
            log.warning(
                "The account has more than the %d conversations that are read; the message may be in one of the others.",
                _MOST_CONVERSATIONS,
            )
            self._all_listed = False

    def _by_id(self, conversation_id: str) -> Iterator[Target]:
        """Yield the target of a listed conversation. An invalid id makes that conversation unreadable, and no other."""
        try:
            yield Target.conversation(conversation_id)
        except WatiValidationError as error:
            log.warning("A conversation cannot be read: %s", error)
            self._all_listed = False

    def _matches(self, target: Target, search: Search, known_ids: set[str]) -> Iterator[Sighting]:
        """
        Yield the messages of a conversation that may be the one to look for.

        :param known_ids: ids of messages that other calls account for, or that this look has seen.
        """
        newest_first = NewestFirst[datetime]()
        messages = self._client.iter_messages(target)
        for message in islice(messages, _MOST_MESSAGES):
            self._read.add(str(message.get("conversation_id") or ""))
            created = _time_of(message)
            # Each answer tells how far the clocks differ.
            earliest = self._earliest(search.since)
            if newest_first.is_past(created, earliest):
                return
            is_old = created is not None and created < earliest
            id = str(message.get("id") or "")
            if is_old or message.get("owner") is False or (id and id in known_ids):
                continue
            known_ids.add(id)
            listed = self._compare(search.content, message)
            if listed is not Listed.NO:
                is_young = created is not None and created > self._latest(search.until)
                yield Sighting(_certainty(listed, message, created, is_young=is_young), message)
        if next(messages, None) is not None:
            log.warning("The conversation has more messages than are read; the message may be among them.")
            yield Sighting(Listed.UNCLEAR)

    def _compare(self, content: str, message: Message) -> Listed:
        if content != self._content.fingerprint:
            return compare_fingerprint(content, message)
        listed = self._content.compare(message)
        if listed is Listed.UNCLEAR and self._content.needs_file_name(message):
            name = self._file_name_of(message)
            # WATI may have given the file a name of its own, so another name proves nothing.
            return Listed.YES if name and self._content.has_name(name) else Listed.UNCLEAR
        return listed

    def _file_name_of(self, message: Message) -> str | None:
        """Ask WATI for the name of a message's file, which lists do not have; nothing of the file is read."""
        try:
            with self._client.get_media(str(message.get("id") or "")) as media:
                return media.file_name
        except WatiError as error:
            log.info("The name of a file cannot be read: %s", error)
            return None

    def _latest(self, until: datetime) -> datetime:
        offset = max(self._client.server_clock_offset or timedelta(0), timedelta(0))
        return until + offset + _CLOCKS_DIFFER_BY

    def _earliest(self, since: datetime) -> datetime:
        # The start of a run is by the clock of Airflow's scheduler, so a worker's clock that is behind moves nothing.
        offset = min(self._client.server_clock_offset or timedelta(0), timedelta(0))
        return since + offset - _CLOCKS_DIFFER_BY


def _certainty(listed: Listed, message: Message, created: datetime | None, *, is_young: bool) -> Listed:
    """Return what a match proves. Without a time or an owner it proves nothing, nor does a failed message without an id."""
    if created is None or is_young or message.get("owner") is not True:
        return Listed.UNCLEAR
    if has_failed(message.get("status")):
        return Listed.FAILED if listed is Listed.YES and message.get("id") else Listed.UNCLEAR
    return listed


def _belongs_to(target: Target, conversation: Mapping[str, Any]) -> Listed:
    """Return whether a listed conversation is the target's; UNCLEAR where it does not say whose it is."""
    phone_numbers = {
        normal_form(str(phone_number))
        for name in ("wa_id", "phone")
        if (phone_number := conversation.get(name))
    } - {None}
    bsuid = str(conversation.get("bsuid") or "")
    if target.kind is TargetKind.BSUID:
        # Somebody whose phone number is listed without a BSUID has none; where WATI lists no BSUIDs, nothing is known.
        says_whose = bool(bsuid or (phone_numbers and "bsuid" in conversation))
        is_theirs = bsuid == target.value
    else:
        says_whose = bool(phone_numbers)
        is_theirs = dedupe_key_of(target.value) in phone_numbers
    if is_theirs:
        return Listed.YES
    # A message to a person never goes to a group.
    is_group = str(conversation.get("channel_type") or "").casefold() == "whatsapp_group"
    return Listed.NO if says_whose or is_group else Listed.UNCLEAR


def _time_of(message: Message) -> datetime | None:
    try:
        created = datetime.fromisoformat(str(message.get("created") or ""))
    except ValueError:
        return None
    if created.year < _FIRST_YEAR:
        return None
    return created if created.tzinfo else created.replace(tzinfo=UTC)
