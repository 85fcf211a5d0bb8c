"""What the conversations of a person say about one message, whatever WATI lists of it (A6)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.sending.conversation_index import (
    ConversationIndex,
    MessageContent,
    MessageKind,
    Search,
    Sighting,
    compare_fingerprint,
)
from airflow_provider_wati.sending.reconciler import Listed
from tests.support.clients import client_of
from tests.support.clock import FakeClock
from tests.support.scripted_server import answer, serving
from tests.support.wati_model import Fault, Habits, WatiModel

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from datetime import datetime

    from airflow_provider_wati.client import WatiClient

ADA = "12025550143"
GRACE = timedelta(minutes=2)
HELLO = MessageContent(kind=MessageKind.TEXT, text="Hello Ada")
PHOTO = MessageContent(kind=MessageKind.FILE, text="A map", around=("map.png",), mime_family="image")
BARE_PHOTO = MessageContent(kind=MessageKind.FILE, text="", around=("map.png",), mime_family="image")
BARE_PDF = MessageContent(kind=MessageKind.FILE, text="", around=("a.pdf",), mime_family="application")
VOICE = MessageContent(kind=MessageKind.FILE, text="", around=("a.ogg",), mime_family="audio")
ASK = MessageContent(kind=MessageKind.INTERACTIVE, text="Deliver today?", around=("Order 7", "", "Yes", "No"))
SLOTS = MessageContent(
    kind=MessageKind.INTERACTIVE,
    text="When?",
    around=("", "", "Choose"),
    choices=("Today", "10:00", "Morning"),
)


def message(**fields: Any) -> Any:
    """A message of the business."""
    return {"id": "m1", "type": "text", "text": "Hello Ada", "owner": True, **fields}


@pytest.mark.parametrize(
    ("content", "listed", "verdict"),
    [
        (HELLO, {}, Listed.YES),
        (HELLO, {"text": "  Hello Ada \n"}, Listed.YES),
        (HELLO, {"text": "Hello\u00a0Ada"}, Listed.YES),
        (HELLO, {"type": None}, Listed.YES),
        (HELLO, {"text": None}, Listed.UNCLEAR),
        (HELLO, {"text": 5}, Listed.UNCLEAR),
        (HELLO, {"type": None, "text": None}, Listed.NO),
        (HELLO, {"text": "Hello Ada, how are you?"}, Listed.NO),
        (HELLO, {"text": "hello ada"}, Listed.NO),
        (HELLO, {"type": "template"}, Listed.NO),
        (HELLO, {"type": "session"}, Listed.UNCLEAR),
        (HELLO, {"type": "session", "text": None}, Listed.UNCLEAR),
        (HELLO, {"type": "assigned", "text": None, "event_type": "ticket"}, Listed.NO),
        (HELLO, {"type": "session", "text": "Hello Ben"}, Listed.NO),
        (PHOTO, {"type": "photo", "text": "A map"}, Listed.UNCLEAR),
        (PHOTO, {"type": None, "text": "A map"}, Listed.UNCLEAR),
        (PHOTO, {"type": None, "text": None}, Listed.NO),
        (PHOTO, {"type": "photo", "text": None}, Listed.UNCLEAR),
        (PHOTO, {"type": "photo", "text": "Another"}, Listed.NO),
        (PHOTO, {"type": "location", "text": None}, Listed.NO),
        (PHOTO, {"type": "image", "text": "A map"}, Listed.YES),
        (PHOTO, {"type": "document", "text": "A map"}, Listed.YES),
        (PHOTO, {"type": "IMAGE", "text": " A map"}, Listed.YES),
        (PHOTO, {"type": "image", "text": "map.png"}, Listed.UNCLEAR),
        (PHOTO, {"type": "image", "text": None}, Listed.UNCLEAR),
        (PHOTO, {"type": "image", "text": ""}, Listed.UNCLEAR),
        (PHOTO, {"type": "image", "text": "Another"}, Listed.NO),
        (PHOTO, {"type": "video", "text": "A map"}, Listed.NO),
        (PHOTO, {"type": "text", "text": "A map"}, Listed.NO),
        (BARE_PHOTO, {"type": "image", "text": ""}, Listed.UNCLEAR),
        (BARE_PHOTO, {"type": "image", "text": "map.png"}, Listed.YES),
        (BARE_PHOTO, {"type": "document", "text": "map.png"}, Listed.YES),
        (BARE_PHOTO, {"type": "document", "text": ""}, Listed.UNCLEAR),
        (BARE_PHOTO, {"type": "image", "text": None}, Listed.UNCLEAR),
        (BARE_PHOTO, {"type": "image", "text": "A map"}, Listed.NO),
        (BARE_PDF, {"type": "document", "text": ""}, Listed.UNCLEAR),
        (BARE_PDF, {"type": "image", "text": ""}, Listed.UNCLEAR),
        (VOICE, {"type": "voice", "text": "a.ogg"}, Listed.YES),
        (VOICE, {"type": "voice", "text": ""}, Listed.UNCLEAR),
        (VOICE, {"type": "audio", "text": ""}, Listed.UNCLEAR),
        (ASK, {"type": "interactive", "text": "Deliver today?"}, Listed.YES),
        (ASK, {"type": "interactive", "text": "Order 7\r\nDeliver today?\r\n[Yes]\r\n[No]"}, Listed.YES),
        (ASK, {"type": "interactive", "text": None}, Listed.UNCLEAR),
        (ASK, {"type": "interactive", "text": "Order 7 Deliver today? Yes"}, Listed.UNCLEAR),
        (ASK, {"type": "interactive", "text": "Order 8 Deliver today? Yes No"}, Listed.UNCLEAR),
        (ASK, {"type": "interactive", "text": "Order 7 Yes No"}, Listed.NO),
        (ASK, {"type": "interactive", "text": "Yes"}, Listed.NO),
        (ASK, {"type": "text", "text": "Shall we Deliver today? I can."}, Listed.NO),
        (ASK, {"type": "text", "text": "Deliver today?"}, Listed.UNCLEAR),
        (ASK, {"type": "interactive_buttons", "text": "Deliver today?"}, Listed.UNCLEAR),
        (ASK, {"type": "session", "text": "Order 7 Deliver today? Yes No"}, Listed.UNCLEAR),
        (ASK, {"type": "session", "text": None}, Listed.UNCLEAR),
        (ASK, {"type": "session", "text": "Another"}, Listed.NO),
        (ASK, {"type": "solved", "text": None, "event_type": "ticket"}, Listed.NO),
        (SLOTS, {"type": "list", "text": "When?\n[Choose]"}, Listed.YES),
        (SLOTS, {"type": "list", "text": "When?\n[Choose]\nToday\n- 10:00 Morning"}, Listed.YES),
    ],
)
def test_a_message_counts_only_where_it_matches(
    content: MessageContent, listed: dict[str, Any], verdict: Listed
) -> None:
    """YES is a match in all that WATI lists; what WATI leaves out is UNCLEAR, and what contains the text is no match."""
    assert content.compare(message(**listed)) is verdict


@pytest.mark.parametrize(
    ("content", "listed", "verdict"),
    [
        (HELLO, {}, Listed.YES),
        (HELLO, {"text": "Hello Ben"}, Listed.NO),
        (HELLO, {"text": None}, Listed.UNCLEAR),
        (PHOTO, {"type": "image", "text": "A map"}, Listed.UNCLEAR),
        (PHOTO, {}, Listed.NO),
        (HELLO, {"type": "session"}, Listed.UNCLEAR),
        (HELLO, {"type": "session", "text": "Hello Ben"}, Listed.NO),
        (ASK, {"type": "interactive"}, Listed.UNCLEAR),
        (ASK, {"type": "session", "text": None}, Listed.UNCLEAR),
        (ASK, {"type": "location", "text": None}, Listed.NO),
        (ASK, {}, Listed.NO),
    ],
)
def test_a_fingerprint_is_compared_as_far_as_it_goes(
    content: MessageContent, listed: dict[str, Any], verdict: Listed
) -> None:
    """A text is known again by its fingerprint; of other kinds each message may be the one."""
    assert compare_fingerprint(content.fingerprint, message(**listed)) is verdict


def test_a_fingerprint_shows_nothing_and_ignores_what_wati_ignores() -> None:
    """It differs with the content, not with outer space, line breaks or what a worker guesses of a file."""
    other_type = MessageContent(kind=MessageKind.FILE, text="A map", around=("map.png",))
    assert "Hello" not in HELLO.fingerprint
    assert MessageContent(kind=MessageKind.TEXT, text="Hello\r\nAda ").fingerprint == HELLO.fingerprint
    assert other_type.fingerprint == PHOTO.fingerprint
    assert len({each.fingerprint for each in (HELLO, PHOTO, BARE_PHOTO, VOICE, ASK, SLOTS)}) == 6


class Conversation:
    """Ada's conversation in memory, and a look at it."""

    def __init__(self, habits: Habits | None = None) -> None:
        self.clock = FakeClock()
        self.model = WatiModel(self.clock, habits)
        self.talk = self.model.talk_with(ADA)
        self.client: WatiClient = self.model.client(max_tries=1)

    def look(
        self,
        content: MessageContent = HELLO,
        *,
        since: datetime | None = None,
        target: str = ADA,
        **search: Any,
    ) -> Sighting:
        """Look with a client of its own, as another attempt does."""
        index = ConversationIndex(self.client, target, content)
        began = since or self.clock.now() - timedelta(minutes=5)
        given: dict[str, Any] = {
            "until": self.clock.now() + timedelta(minutes=1),
            "content": content.fingerprint,
        }
        given |= search
        return index.look(Search(since=began, **given))

    def add(self, ago: timedelta, **fields: Any) -> None:
        """Let the conversation show one more message."""
        shown = message(id=f"o{len(self.entries)}", created=(self.clock.now() - ago).isoformat(), **fields)
        self.entries.append(shown)

    @property
    def entries(self) -> list[dict[str, Any]]:
        return self.model.odd_messages.setdefault(self.talk.id, [])


@pytest.fixture
def conversation() -> Conversation:
    """A conversation that is open."""
    return Conversation()


SENDS: dict[str, tuple[MessageContent, Callable[[WatiClient], Any]]] = {
    "text": (HELLO, lambda client: client.send_text(ADA, " Hello Ada")),
    "photo": (PHOTO, lambda client: client.send_file_url(ADA, "https://x.example/map.png", "A map")),
    "bare photo": (BARE_PHOTO, lambda client: client.send_file_url(ADA, "https://x.example/map.png")),
    "voice": (VOICE, lambda client: client.send_file_url(ADA, "https://x.example/a.ogg")),
    "buttons": (ASK, lambda client: client.send_buttons(ADA, "Deliver today?", ["Yes", "No"], "Order 7")),
}


@pytest.mark.parametrize("sent", SENDS)
@pytest.mark.parametrize("files_as", ["family", "document", "voice"])
@pytest.mark.parametrize("file_text", ["caption", "name", "null"])
@pytest.mark.parametrize("interactive_text", ["full", "body", "null"])
def test_no_habit_of_wati_hides_a_message(
    sent: str, files_as: str, file_text: str, interactive_text: str
) -> None:
    """Whatever WATI lists of a message of ours, it never counts as absent."""
    conversation = Conversation(
        Habits(files_as=files_as, file_text=file_text, interactive_text=interactive_text)
    )
    content, send = SENDS[sent]
    send(conversation.client)
    assert conversation.look(content).listed in (Listed.YES, Listed.UNCLEAR)


@pytest.mark.parametrize(
    "form", [str.strip, lambda text: text.replace("\n", "\r\n"), lambda text: f"{text}\n"]
)
def test_a_text_is_found_in_any_form(form: Callable[[str], str]) -> None:
    """WATI may trim a text and change its line breaks."""
    conversation = Conversation(Habits(text_form=form))
    conversation.client.send_text(ADA, " Hello\nAda ")
    content = MessageContent(kind=MessageKind.TEXT, text=" Hello\nAda ")
    assert conversation.look(content).listed is Listed.YES


def test_a_solved_conversation_is_read_though_another_one_is_open(conversation: Conversation) -> None:
    """The conversation was solved and the person wrote on another channel: the message is found by conversation id."""
    conversation.client.send_text(ADA, "Hello Ada")
    conversation.talk.solved = True
    conversation.model.talk_with(ADA, "Support")
    assert conversation.look().listed is Listed.YES


def other_people(conversation: Conversation, count: int) -> None:
    """Let so many people write, each of whom has a conversation that is newer than those before."""
    for n in range(count):
        conversation.model.talk_with(f"1202556{n:04d}")


def test_a_conversation_behind_hundreds_of_others_is_read(conversation: Conversation) -> None:
    """301 people have written since the conversation was solved: the message is found all the same."""
    conversation.client.send_text(ADA, "Hello Ada")
    conversation.talk.solved = True
    other_people(conversation, 301)
    conversation.model.talk_with(ADA, "Support")
    assert conversation.look().listed is Listed.YES


@pytest.mark.parametrize(("others", "is_complete"), [(1_998, True), (2_001, False)])
def test_more_conversations_than_are_read_rule_nothing_out(
    others: int, is_complete: bool, conversation: Conversation
) -> None:
    """The message may be in a conversation beyond those that are read, so that its absence proves nothing then."""
    other_people(conversation, others)
    assert conversation.look() == Sighting(Listed.NO, readable=is_complete)


@pytest.mark.parametrize("says", [{}, {"wa_id": None, "phone": ""}, {"bsuid": "US.1"}])
@pytest.mark.parametrize("is_sent", [True, False])
def test_a_conversation_that_does_not_say_whose_it_is_rules_nothing_out(
    is_sent: bool, says: dict[str, Any], conversation: Conversation
) -> None:
    """WATI documents only id and channel type: a few such conversations are looked into; what matches may be another's."""
    if is_sent:
        conversation.client.send_text(ADA, "Hello Ada")
    conversation.talk.solved = True
    conversation.model.talk_with(ADA, "Support")
    conversation.model.talk_form = lambda talk: says
    assert conversation.look().listed is (Listed.UNCLEAR if is_sent else Listed.NO)
    other_people(conversation, 25)
    sighting = conversation.look()
    assert (sighting.listed, sighting.readable) == (Listed.NO, False)


@pytest.mark.parametrize(
    ("target", "listed"),
    [
        ("525512345678", {"wa_id": "5215512345678"}),
        ("5215512345678", {"phone": "+52 55 1234 5678"}),
        ("5511987654321", {"wa_id": "551187654321"}),
    ],
)
def test_a_conversation_under_the_other_spelling_is_the_person_s(
    target: str, listed: dict[str, Any], conversation: Conversation
) -> None:
    """WATI may list a mobile phone number of Mexico or Brazil in another spelling than it was sent to."""
    talk = conversation.model.talk_with(target)
    conversation.client.send_text(target, "Hello Ada")
    talk.solved = True
    conversation.model.talk_with(target, "Support")
    conversation.model.talk_form = lambda _: listed
    assert conversation.look(target=target).listed is Listed.YES


def test_people_without_a_bsuid_are_not_looked_into_for_one(conversation: Conversation) -> None:
    """Where WATI lists BSUIDs, somebody with a phone number and without a BSUID is somebody else."""
    other_people(conversation, 25)
    conversation.model.talk_with("US.123124141512")
    conversation.model.talk_form = lambda talk: (
        {"wa_id": None, "bsuid": talk.person} if "." in talk.person else {"wa_id": talk.person, "bsuid": None}
    )
    assert conversation.look(target="US.123124141512") == Sighting(Listed.NO)


def test_two_open_conversations_are_told_apart_by_channel(conversation: Conversation) -> None:
    """WATI answers 409 for a person with two open conversations; each channel is read then."""
    conversation.client.send_text(ADA, "Hello Ada")
    conversation.model.talk_with(ADA, "Support")
    assert conversation.look().listed is Listed.YES
    assert conversation.look(PHOTO) == Sighting(Listed.NO)


def test_a_person_without_a_conversation_has_no_message(conversation: Conversation) -> None:
    """WATI answers 404, which is an answer."""
    assert conversation.look(target="12025550199") == Sighting(Listed.NO)


@pytest.mark.parametrize("call", ["messages", "channels", "conversations"])
def test_what_cannot_be_read_may_hold_the_message(call: str, conversation: Conversation) -> None:
    """Absence proves nothing where one of the lists is missing."""
    conversation.model.faults = [Fault("status", call=call, status=500, count=99)]
    assert not conversation.look().readable


def test_a_message_that_is_found_counts_though_a_list_is_missing(conversation: Conversation) -> None:
    """What is shown is shown, whatever else cannot be read."""
    conversation.client.send_text(ADA, "Hello Ada")
    conversation.model.faults = [Fault("status", call="conversations", status=500, count=99)]
    assert conversation.look().listed is Listed.YES


def test_a_channel_that_wati_lists_and_does_not_take_hides_nothing(conversation: Conversation) -> None:
    """A 400 for a channel such as ``Default`` leaves the look complete."""
    conversation.model.faults = [Fault("status", call="messages", status=400, skip=1)]
    assert conversation.look() == Sighting(Listed.NO)


def test_a_listed_conversation_that_cannot_be_read_may_hold_the_message(conversation: Conversation) -> None:
    """A 400 for a solved conversation of the person is no proof that the message is not in it."""
    conversation.client.send_text(ADA, "Hello Ada")
    conversation.talk.solved = True
    conversation.model.talk_with(ADA, "Support")
    conversation.model.faults = [Fault("status", call="messages", status=400, skip=4)]
    assert not conversation.look().readable


@pytest.mark.parametrize("ahead", [timedelta(minutes=2), timedelta(minutes=-2)])
def test_a_worker_whose_clock_differs_finds_its_message(ahead: timedelta) -> None:
    """The time of an answer tells how far the clocks differ, and the look starts that much earlier or later."""
    conversation = Conversation()
    sent_at = conversation.clock.now()
    conversation.client.send_text(ADA, "Hello Ada")
    worker = FakeClock(conversation.clock.now() + ahead)
    conversation.client = conversation.model.client(clock=worker, max_tries=1)
    assert conversation.look(since=sent_at + ahead).listed is Listed.YES


@pytest.mark.parametrize(
    ("sent", "names_media", "verdict"),
    [("a.pdf", True, Listed.YES), ("b.pdf", True, Listed.UNCLEAR), ("a.pdf", False, Listed.UNCLEAR)],
)
def test_a_file_without_a_caption_is_known_by_its_name(sent: str, names_media: bool, verdict: Listed) -> None:
    """Two files without captions are listed alike: WATI is asked for the name, and without one nothing is certain."""
    conversation = Conversation(Habits(names_media=names_media))
    conversation.client.send_file_url(ADA, f"https://x.example/{sent}")
    assert conversation.look(BARE_PDF).listed is verdict
    assert conversation.look(HELLO).listed is Listed.NO


def test_a_file_whose_name_cannot_be_read_is_unclear(conversation: Conversation) -> None:
    """An error of the one call for the name leaves the rest of the look as it is."""
    conversation.client.send_file_url(ADA, "https://x.example/a.pdf")
    conversation.model.faults = [Fault("status", call="media", status=500, count=99)]
    assert conversation.look(BARE_PDF).listed is Listed.UNCLEAR


def test_an_old_message_is_another_one(conversation: Conversation) -> None:
    """The same text of an hour ago was sent by somebody else."""
    conversation.add(timedelta(hours=1))
    assert conversation.look() == Sighting(Listed.NO)


@pytest.mark.parametrize("newest_first", [True, False])
def test_a_long_list_of_equal_times_is_read_to_its_end(newest_first: bool) -> None:
    """150 older messages of one second prove no order: the newest one may stand behind them."""
    conversation = Conversation(Habits(messages_newest_first=newest_first))
    for _ in range(150):
        conversation.add(timedelta(hours=1), text="Old")
    conversation.client.send_text(ADA, "Hello Ada")
    assert conversation.look().listed is Listed.YES


def test_a_list_that_is_newest_first_is_not_read_to_its_end(conversation: Conversation) -> None:
    """After a hundred messages that are older and older the rest costs no calls."""
    for minutes in range(1_000):
        conversation.add(timedelta(minutes=10 + minutes), text="Old")
    conversation.look()
    assert conversation.model.calls.count("messages") <= 2 * 3


def test_more_messages_than_are_read_leave_it_unclear(conversation: Conversation) -> None:
    """A conversation that is too long to be read cannot rule the message out."""
    for n in range(2_001):
        conversation.add(timedelta(seconds=1), text=f"New {n}")
    assert conversation.look().listed is Listed.UNCLEAR


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"owner": False}, Listed.NO),
        ({"owner": None}, Listed.UNCLEAR),
        ({"created": None}, Listed.UNCLEAR),
        ({"created": "soon"}, Listed.UNCLEAR),
        ({"status": "FAILED"}, Listed.FAILED),
        ({"status": "Undelivered"}, Listed.FAILED),
        ({"status": "failed", "text": None}, Listed.UNCLEAR),
        ({"status": "failed", "id": None}, Listed.UNCLEAR),
        ({"status": 7}, Listed.YES),
        ({"id": None}, Listed.YES),
    ],
)
def test_a_match_proves_no_more_than_wati_says(
    fields: dict[str, Any], verdict: Listed, conversation: Conversation
) -> None:
    """Without an owner or a time it may be somebody else's or older; one that failed has not arrived."""
    conversation.entries.append(message(created=conversation.clock.now().isoformat()) | fields)
    assert conversation.look().listed is verdict


def test_a_message_of_hours_later_may_be_somebody_else_s(conversation: Conversation) -> None:
    """The same text long after the call could have made it does not make the task green, and is not sent again."""
    conversation.client.send_text(ADA, "Hello Ada")
    hours_ago = conversation.clock.now() - timedelta(hours=2)
    assert conversation.look(since=hours_ago, until=hours_ago + GRACE).listed is Listed.UNCLEAR
    assert conversation.look(since=hours_ago).listed is Listed.YES


def test_a_message_of_another_call_is_left_out(conversation: Conversation) -> None:
    """An id that another call accounts for is not this message."""
    sent = conversation.client.send_text(ADA, "Hello Ada")
    assert conversation.look(known_ids=frozenset({str(sent["id"])})).listed is Listed.NO


def test_a_match_comes_before_what_failed_or_is_unclear(conversation: Conversation) -> None:
    """Of several messages the one that matches counts, in whatever order they are listed."""
    conversation.add(timedelta(0), text=None)
    conversation.add(timedelta(seconds=1), status="FAILED")
    conversation.add(timedelta(seconds=2))
    assert conversation.look().listed is Listed.YES
    conversation.entries.pop()
    assert conversation.look().listed is Listed.UNCLEAR


def test_a_person_is_read_by_bsuid_too() -> None:
    """A BSUID names a person as a phone number does."""
    conversation = Conversation()
    conversation.talk = conversation.model.talk_with("US.13491208655302741918")
    conversation.client.send_text("US.13491208655302741918", "Hello Ada")
    assert conversation.look(target="US.13491208655302741918").listed is Listed.YES


_ODD: list[Any] = [None, 7, "x", [], [None], {}, {"id": []}, {"created": 1793318400}, {"status": 3}]
_ODD += [
    {**message(), **{field: value}}
    for field in ("id", "created", "status", "type", "text", "owner", "conversation_id")
    for value in (
        None,
        7,
        20261103,
        1e300,
        -1,
        True,
        [],
        ["x"],
        {"a": 1},
        "\ud83d",
        "0001-01-01T00:00:00+14:00",
    )
]


@pytest.mark.parametrize("at", range(len(_ODD)))
def test_an_odd_row_hides_no_other(at: int) -> None:
    """A null row, or one with a number or a list in any field, does not keep the others from being read."""
    odd, then = _ODD[at], FakeClock().now()
    talk = {"id": "685bd235e6119686e693a093", "wa_id": ADA}
    found = message(id="m2", created=then.isoformat())

    def step(connection: socket.socket) -> bool:
        path = server.requests[-1].path
        if "/messages" in path:
            # The text of others, so that only the last one can be found.
            first = (
                {**odd, "text": "Other"} if isinstance(odd, dict) and odd.get("text") == "Hello Ada" else odd
            )
            return answer(200, {"message_list": [first, found] if talk["id"] in path else [first]})(
                connection
            )
        if "/channels" in path:
            return answer(200, {"channels": [odd, {"id": "c", "name": "Support"}]})(connection)
        odd_talk = {**odd, "wa_id": ADA} if isinstance(odd, dict) else odd
        return answer(200, {"conversation_list": [odd_talk, talk]})(connection)

    with serving(step) as server:
        index = ConversationIndex(client_of(server), ADA, HELLO)
        sighting = index.look(Search(since=then, until=then + GRACE, content=HELLO.fingerprint))
    assert (sighting.listed, (sighting.message or {}).get("id")) == (Listed.YES, "m2")


def test_a_time_that_stands_for_none_does_not_make_a_message_old(conversation: Conversation) -> None:
    """A message with the time that .NET has in place of none may be the one, so it is not sent again."""
    shown = message(id="o1", created="0001-01-01T00:00:00", text="Hello Ada")
    conversation.entries.append(shown)
    assert conversation.look().listed is Listed.UNCLEAR
