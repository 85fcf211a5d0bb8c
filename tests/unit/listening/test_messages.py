"""Polling for messages of customers, against a real sandbox."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import WatiPermissionError, WatiResponseError, WatiServerError
from airflow_provider_wati.listening import messages
from airflow_provider_wati.listening.messages import (
    MessagePoll,
    Position,
    UnreadConversation,
    first_position,
    inbound_message,
    is_inbound,
)
from airflow_provider_wati.listening.values import written_time
from airflow_provider_wati.listening.webhook_events import event_of

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import Message
    from airflow_provider_wati.listening.messages import Page
    from tests.conftest import Sandbox

ADA, BOB, EVE = "12025550143", "12025550144", "12025550145"
LISTED: Message = {
    "id": "66b2531d4931581381944612",
    "created": "2026-11-26T09:30:00Z",
    "conversation_id": "66b1fb044045cedb1f19538e",
    "ticket_id": "66bdfba190194752bb7326d7",
    "event_type": "message",
    "text": "Yes, please",
    "type": "Text",
    "owner": False,
}


class Clock:
    """The sandbox's time, as far as a poll asks."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def now(self) -> datetime:
        return datetime.fromisoformat(self._sandbox.control("GET", "/clock")["now"])

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic()

    def sleep(self, seconds: float) -> None:
        SYSTEM_CLOCK.sleep(seconds)


def advance(sandbox: Sandbox, **time: float) -> None:
    sandbox.control("POST", "/clock", {"advance": timedelta(**time).total_seconds()})


def write(sandbox: Sandbox, phone: str, text: str) -> str:
    return str(sandbox.control("POST", "/inbound", {"phone": phone, "text": text})["message"]["id"])


def start(sandbox: Sandbox, **look_back: float) -> MessagePoll:
    clock = Clock(sandbox)
    return MessagePoll(first_position(clock.now(), timedelta(**look_back or {"hours": 1})), clock)


def pages_of(poll: MessagePoll, sandbox: Sandbox) -> list[Page]:
    return list(poll.pages(sandbox.client()))


def texts_of(poll: MessagePoll, sandbox: Sandbox) -> list[str | None]:
    return [message["text"] for page in pages_of(poll, sandbox) for message in page.messages]


def calls(sandbox: Sandbox) -> int:
    return len(sandbox.requests())


@pytest.fixture
def proven(sandbox: Sandbox) -> MessagePoll:
    """A poll that has read three conversations, whose order shows that the latest activity comes first."""
    for phone in (ADA, BOB, EVE):
        for n in range(4):
            write(sandbox, phone, f"{phone} {n}")
            advance(sandbox, seconds=10)
    write(sandbox, ADA, "I am back")
    advance(sandbox, minutes=5)
    poll = start(sandbox)
    assert len(texts_of(poll, sandbox)) == 13
    advance(sandbox, minutes=5)
    return poll


def test_a_listed_message_becomes_an_item() -> None:
    """What WATI lists of a message and its conversation is the item; what it does not list is None."""
    talk = {"id": "66b1fb044045cedb1f19538e", "wa_id": "12025550143", "contact_name": "Ada"}
    assert inbound_message(LISTED, talk) == {
        "id": "66b2531d4931581381944612",
        "conversation_id": "66b1fb044045cedb1f19538e",
        "ticket_id": "66bdfba190194752bb7326d7",
        "phone_number": "12025550143",
        "sender_name": "Ada",
        "type": "text",
        "text": "Yes, please",
        "channel_phone_number": None,
        "created": "2026-11-26T09:30:00.000000Z",
    }
    bare = inbound_message({"id": "m", "owner": False}, {"id": "c"})
    assert bare is not None
    assert {name for name, value in bare.items() if value is not None} == {"id", "conversation_id"}


def test_half_characters_and_nuls_are_cleaned() -> None:
    """No field holds what Airflow's API cannot pass on."""
    odd: Any = {**LISTED, "id": "m\0", "text": "half \ud83d\0", "type": "te\ud83dxt"}
    item = inbound_message(odd, {"id": "c", "contact_name": "\udc00Ada\0", "wa_id": "US.1"})
    assert item is not None
    assert (item["id"], item["text"], item["type"]) == ("m", "half ?", "te?xt")
    assert (item["sender_name"], item["phone_number"]) == ("?Ada", None)


@pytest.mark.parametrize(
    "change",
    [{"owner": True}, {"owner": None}, {"event_type": "ticket"}, {"id": None}, {"id": "x" * 256}],
    ids=str,
)
def test_what_is_not_from_a_person_or_has_no_id_is_no_item(change: dict[str, Any]) -> None:
    """Messages of the business, events of a ticket, and what cannot be told apart are left out."""
    odd: Any = {**LISTED, **change}
    assert inbound_message(odd, {"id": "c"}) is None
    assert is_inbound(odd) == ("id" in change)


def test_each_message_comes_once_and_oldest_first(sandbox: Sandbox, proven: MessagePoll) -> None:
    """A poll brings what was written since the one before, of all people, in the order of time."""
    for text, phone in (("one", EVE), ("two", BOB), ("three", EVE)):
        write(sandbox, phone, text)
        advance(sandbox, seconds=2)
    sandbox.client().send_text(BOB, "from the business")
    assert texts_of(proven, sandbox) == ["one", "two", "three"]
    advance(sandbox, minutes=5)
    assert texts_of(proven, sandbox) == []


def test_look_back_is_the_limit_of_the_first_poll(sandbox: Sandbox) -> None:
    """The first poll reads so far back as it is told, and no further."""
    write(sandbox, ADA, "old")
    advance(sandbox, minutes=50)
    write(sandbox, ADA, "new")
    advance(sandbox, minutes=5)
    assert texts_of(start(sandbox, minutes=30), sandbox) == ["new"]
    assert texts_of(start(sandbox, minutes=60), sandbox) == ["old", "new"]


def test_a_poll_without_news_costs_two_calls(sandbox: Sandbox, proven: MessagePoll) -> None:
    """Once the order is proven, the first page of conversations and the first conversation say that there is nothing."""
    for _ in range(3):
        before = calls(sandbox)
        assert texts_of(proven, sandbox) == []
        assert calls(sandbox) - before == 2
        advance(sandbox, minutes=5)


def test_each_conversation_with_news_costs_one_call_more(sandbox: Sandbox, proven: MessagePoll) -> None:
    """News of two people cost two calls more than none."""
    write(sandbox, EVE, "one")
    write(sandbox, BOB, "two")
    advance(sandbox, minutes=2)
    before = calls(sandbox)
    assert texts_of(proven, sandbox) == ["one", "two"]
    assert calls(sandbox) - before == 4


def test_what_is_listed_late_comes_within_the_overlap(sandbox: Sandbox, proven: MessagePoll) -> None:
    """A message that WATI lists below the first conversation, after polls that did not see it, comes with the hourly poll."""
    write(sandbox, BOB, "late")
    talk = next(sandbox.client().iter_messages(BOB))["conversation_id"]
    hidden = sandbox.fault("answer", path=f"*{talk}/messages*", answer={"message_list": []})
    advance(sandbox, minutes=2)
    write(sandbox, EVE, "in time")
    advance(sandbox, minutes=2)
    assert texts_of(proven, sandbox) == ["in time"]
    sandbox.control("DELETE", f"/faults/{hidden}")
    advance(sandbox, minutes=5)
    assert texts_of(proven, sandbox) == []
    advance(sandbox, minutes=50)
    assert texts_of(proven, sandbox) == ["late"]


def test_a_position_survives_a_restart(sandbox: Sandbox, proven: MessagePoll) -> None:
    """Another poll that begins at a stored position goes on, without repeats, at the same price."""
    write(sandbox, EVE, "one")
    advance(sandbox, minutes=2)
    [page] = pages_of(proven, sandbox)
    stored = Position.from_json(page.position.to_json())
    assert stored == page.position
    advance(sandbox, minutes=2)
    again = MessagePoll(stored, Clock(sandbox))
    assert texts_of(again, sandbox) == []
    write(sandbox, ADA, "two")
    advance(sandbox, minutes=2)
    assert texts_of(again, sandbox) == ["two"]
    before = calls(sandbox)
    advance(sandbox, minutes=2)
    assert texts_of(again, sandbox) == []
    assert calls(sandbox) - before == 2


def test_pages_of_a_poll_that_ends_early_are_not_read_past(
    sandbox: Sandbox, proven: MessagePoll, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the position of any page, the next poll brings all messages of the later pages and none of the earlier ones."""
    monkeypatch.setattr(messages, "PAGE", 2)
    everything = {f"{phone} {n}" for phone in (ADA, BOB, EVE) for n in (7, 8, 9)}
    for n in (7, 8, 9):
        for phone in (ADA, BOB, EVE):
            write(sandbox, phone, f"{phone} {n}")
    advance(sandbox, minutes=5)
    pages = pages_of(proven, sandbox)
    assert len(pages) >= 5
    for n, page in enumerate(pages):
        had = {str(message["text"]) for each in pages[: n + 1] for message in each.messages}
        stored = Position.from_json(page.position.to_json())
        assert stored is not None
        rest = texts_of(MessagePoll(stored, Clock(sandbox)), sandbox)
        assert sorted(map(str, rest)) == sorted(everything - had)


def test_a_poll_that_fails_hands_on_what_it_has(sandbox: Sandbox, proven: MessagePoll) -> None:
    """An outage in the middle of a poll raises, after what was read; the next poll brings the rest."""
    write(sandbox, EVE, "one")
    advance(sandbox, seconds=5)
    write(sandbox, BOB, "two")
    advance(sandbox, minutes=5)
    fault = sandbox.fault("status", path="*/messages*", status=500, skip=1)
    pages = proven.pages(sandbox.client(max_tries=1))
    assert [message["text"] for message in next(pages).messages] == ["two"]
    with pytest.raises(WatiServerError):
        next(pages)
    sandbox.control("DELETE", f"/faults/{fault}")
    assert texts_of(proven, sandbox) == ["one"]


def test_a_conversation_that_cannot_be_read_costs_only_itself(
    sandbox: Sandbox, proven: MessagePoll, caplog: pytest.LogCaptureFixture
) -> None:
    """A conversation that WATI refuses is left out with a warning, and the others are read."""
    write(sandbox, EVE, "one")
    bob = write(sandbox, BOB, "two")
    talk = next(m["conversation_id"] for m in sandbox.client().iter_messages(BOB) if m["id"] == bob)
    advance(sandbox, minutes=5)
    sandbox.fault("status", path=f"*{talk}*", status=400)
    assert texts_of(proven, sandbox) == ["one"]
    assert f"Conversation {talk} cannot be read" in caplog.text


@pytest.mark.parametrize("value", [False, 0, "false", "False"], ids=str)
def test_who_wrote_a_message_is_read_in_any_spelling(value: Any) -> None:
    """A message of a customer is not lost because WATI writes false in another way."""
    odd: Any = {**LISTED, "owner": value}
    assert inbound_message(odd, {"id": "c"}) is not None


@pytest.mark.parametrize("value", [None, [], {}, {"since": "x", "floor": "y", "ids": ""}, "text"])
def test_what_is_no_position_is_none(value: Any) -> None:
    """A stored value that is not a position counts for none."""
    assert Position.from_json(value) is None


def test_a_position_fits_into_airflows_store() -> None:
    """The longest position is under the size that Airflow warns about."""
    ids = tuple(f"{n:016x}" for n in range(3_000))
    now = first_position(datetime(2026, 11, 26, tzinfo=UTC), timedelta(hours=1))
    unread = {
        f"{n:0100}": UnreadConversation(now.floor, "12025550143", "x" * 100)
        for n in range(messages._MOST_UNREAD)
    }
    longest = Position(since=now.since, floor=now.floor, is_ordered=True, ids=ids, unread=unread)
    assert len(json.dumps(longest.to_json())) < 65_535


NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


class FixedClock:
    """A time that is set."""

    def __init__(self) -> None:
        self.time = NOON

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        pass


class Account:
    """
    An account whose lists are told entry by entry, which the sandbox cannot: it lists what is true at one time.

    :param talks: the ids of conversations in the order of the list; each with the ages of its messages in minutes at noon.
    """

    def __init__(self, talks: dict[str, list[float]], offset: timedelta | None = None) -> None:
        self.talks = talks
        self.server_clock_offset = offset
        self.errors: dict[str, Exception] = {}
        self.lists: list[list[str]] = []
        self.read: list[str] = []

    def iter_conversations(self) -> Any:
        listed = self.lists.pop(0) if self.lists else list(self.talks)
        return ({"id": id, "wa_id": ADA, "contact_name": "Ada"} for id in listed)

    def iter_messages(self, target: Any) -> Any:
        id = target.value
        self.read.append(id)
        if id in self.errors:
            raise self.errors[id]
        for age in self.talks[id]:
            created = (NOON - timedelta(minutes=age)).isoformat()
            yield {"id": f"m{age:g}", "owner": False, "text": "x", "created": created}


def position(since: float, floor: float) -> Position:
    """A position so many minutes before noon."""
    return Position(
        since=written_time(NOON - timedelta(minutes=since)),
        floor=written_time(NOON - timedelta(minutes=floor)),
        is_ordered=True,
    )


def ids_of(poll: MessagePoll, account: Account) -> list[str]:
    client: Any = account
    return [message["id"] for page in poll.pages(client) for message in page.messages]


def talk(n: int) -> str:
    return f"{n:024}"


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_conversation_that_cannot_be_read_for_a_while_loses_no_message(is_listed: bool) -> None:
    """What was written before and while WATI gave nonsense for a conversation is read afterwards, once, whether listed or not."""
    clock, account = FixedClock(), Account({talk(1): [3.0, 500.0]})
    account.errors[talk(1)] = WatiResponseError("not JSON")
    poll = MessagePoll(position(5, 61), clock)
    found: list[str] = []
    for minutes in range(0, 400, 5):
        clock.time = NOON + timedelta(minutes=minutes)
        if minutes >= 125:
            account.errors.clear()
        account.lists = [] if is_listed or minutes == 0 else [[]]
        poll = MessagePoll(Position.from_json(poll._position.to_json()) or position(0, 0), clock)
        found += ids_of(poll, account)
    assert found == ["m3"]
    assert poll._position.unread == {}


def test_a_conversation_that_draws_errors_of_the_server_costs_only_itself() -> None:
    """One conversation at which WATI fails holds up no other one, and its phone number is there when it can be read."""
    clock, account = FixedClock(), Account({talk(1): [3.0], talk(2): [4.0], talk(3): [500.0, 600.0]})
    account.errors[talk(1)] = WatiServerError("oops", status_code=500)
    poll = MessagePoll(position(5, 61), clock)
    assert ids_of(poll, account) == ["m4"]
    account.errors.clear()
    account.lists = [[]]
    clock.time += timedelta(hours=2)
    client: Any = account
    [message] = [message for page in poll.pages(client) for message in page.messages]
    assert (message["id"], message["phone_number"], message["sender_name"]) == ("m3", ADA, "Ada")


def test_a_conversation_that_wati_refuses_costs_only_itself() -> None:
    """The messages of the others come, and those of the refused one once WATI gives them out."""
    clock, account = FixedClock(), Account({talk(1): [3.0], talk(2): [4.0], talk(3): [500.0]})
    account.errors[talk(1)] = WatiPermissionError("not of this channel", status_code=403)
    poll = MessagePoll(position(5, 61), clock)
    assert ids_of(poll, account) == ["m4"]
    account.errors.clear()
    assert ids_of(poll, account) == ["m3"]


@pytest.mark.parametrize("count", [1, 5, 200])
def test_a_token_that_may_read_no_conversation_stays_an_error(count: int) -> None:
    """Where WATI refuses each conversation, each poll fails with its error, and the position stays."""
    clock, account = FixedClock(), Account({talk(n): [3.0] for n in range(count)})
    account.errors = {id: WatiPermissionError("scope", status_code=403) for id in account.talks}
    before = position(5, 61)
    poll = MessagePoll(before, clock)
    for _ in range(100):
        clock.time += timedelta(hours=3)
        with pytest.raises(WatiPermissionError, match="scope"):
            ids_of(poll, account)
    assert (poll._position.since, poll._position.floor) == (before.since, before.floor)
    assert len(account.read) < 100 * 60


def test_several_conversations_that_draw_errors_of_the_server_hold_the_others_up_for_few_polls() -> None:
    """What looks like an outage is raised; the next poll knows these conversations, and reads those behind them."""
    clock = FixedClock()
    account = Account({**{talk(n): [3.0] for n in range(4)}, talk(9): [4.0]})
    for n in range(4):
        account.errors[talk(n)] = WatiServerError("oops", status_code=500)
    poll = MessagePoll(position(5, 61), clock)
    for _ in range(2):
        with pytest.raises(WatiServerError):
            ids_of(poll, account)
    assert ids_of(poll, account) == ["m4"]


def test_more_conversations_than_are_noted_move_no_position() -> None:
    """Where very many cannot be read, the poll fails, and what it had is handed on."""
    clock = FixedClock()
    account = Account({talk(99): [4.0], **{talk(n): [3.0] for n in range(messages._MOST_UNREAD + 1)}})
    for n in range(messages._MOST_UNREAD + 1):
        account.errors[talk(n)] = WatiResponseError("not JSON")
    before = position(5, 61)
    poll = MessagePoll(before, clock)
    client: Any = account
    pages = poll.pages(client)
    assert [message["id"] for message in next(pages).messages] == ["m4"]
    with pytest.raises(WatiResponseError):
        next(pages)
    assert poll._position.since == before.since


def test_a_conversation_that_stays_unreadable_is_given_up_after_a_week(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is tried a last time, and an error says that its messages are lost."""
    clock, account = FixedClock(), Account({talk(1): [3.0]})
    account.errors[talk(1)] = WatiResponseError("not JSON")
    poll = MessagePoll(position(5, 61), clock)
    ids_of(poll, account)
    clock.time += timedelta(days=8)
    account.lists, account.read = [[], []], []
    ids_of(poll, account)
    assert account.read == [talk(1)]
    assert poll._position.unread == {}
    assert "are lost" in caplog.text


def test_a_conversation_that_moves_while_its_list_is_read_is_read_in_the_same_poll() -> None:
    """One that moved to the front pushes another one to the next page, and is found there when the list is read again."""
    clock = FixedClock()
    account = Account({talk(n): [2.0 * n] for n in range(1, 4)})
    # The third one has moved to the front after the first page of two was read.
    account.lists = [[talk(1), talk(2), talk(2)], [talk(3), talk(1), talk(2)]]
    poll = MessagePoll(position(20, 300), clock)
    assert sorted(ids_of(poll, account)) == ["m2", "m4", "m6"]
    assert poll._position.since == written_time(NOON)
    assert sorted(account.read) == [talk(1), talk(2), talk(3)]


def test_a_list_that_never_rests_moves_no_position(caplog: pytest.LogCaptureFixture) -> None:
    """Where something moves at each look, what was read is handed on, and the next poll reads all of it again."""
    clock = FixedClock()
    account = Account({talk(1): [2.0], talk(2): [3.0]})
    account.lists = [[talk(1), talk(2), talk(1)]] * 5
    before = position(20, 300)
    poll = MessagePoll(before, clock)
    assert sorted(ids_of(poll, account)) == ["m2", "m3"]
    assert (poll._position.since, poll._position.floor) == (before.since, before.floor)
    assert "moved 5 times" in caplog.text
    assert ids_of(poll, account) == []
    assert poll._position.since == written_time(NOON)


def test_nine_conversations_that_something_else_has_moved_hide_none() -> None:
    """Where agents have moved up to nine conversations without a message to the front, the hourly poll reads behind them."""
    clock = FixedClock()
    moved = {talk(n): [600.0 + n, 700.0 + n] for n in range(9)}
    account = Account({**moved, talk(99): [3.0, 500.0]})
    assert ids_of(MessagePoll(position(5, 121), clock), account) == ["m3"]


@pytest.mark.parametrize(("ahead", "since"), [(3600.0, 0.0), (-30.0, 30.0), (0.0, 0.0)])
def test_the_clock_that_is_behind_says_how_far_messages_are_read(ahead: float, since: float) -> None:
    """A clock of WATI's that is ahead does not hide what comes in the next hour."""
    poll = MessagePoll(position(5, 61), FixedClock())
    ids_of(poll, Account({talk(1): [300.0]}, timedelta(seconds=ahead)))
    assert poll._position.since == written_time(NOON - timedelta(seconds=since))


def test_a_message_without_a_time_comes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that never gets older than the limit stays known for as long as WATI lists it."""
    clock, account = FixedClock(), Account({talk(1): [1.0]})
    message = {"id": "timeless", "owner": False, "text": "Hello"}
    monkeypatch.setattr(account, "iter_messages", lambda target: iter([message]))
    poll = MessagePoll(position(5, 61), clock)
    found: list[str] = []
    for _ in range(288):
        clock.time += timedelta(minutes=5)
        found += ids_of(poll, account)
    assert found == ["timeless"]


def test_a_message_from_a_webhook_and_one_from_a_poll_sort_by_their_times() -> None:
    """``created`` has one form, so that a time without a fraction of a second does not sort behind one with it."""
    event = event_of({"eventType": "message", "id": "m", "created": "2026-11-26T09:30:00Z"}).record
    later = inbound_message({**LISTED, "created": "2026-11-26T09:30:00.5Z"}, {"id": "c"})
    assert event is not None
    assert later is not None
    assert str(event["created"]) < str(later["created"])


def test_what_was_older_than_the_first_poll_never_becomes_news() -> None:
    """A clock that is set back does not move the limit back, so that an old message does not come."""
    clock, account = FixedClock(), Account({talk(1): [61.0]})
    poll = MessagePoll(first_position(NOON, timedelta(hours=1)), clock)
    assert ids_of(poll, account) == []
    clock.time -= timedelta(minutes=5)
    assert ids_of(poll, account) == []
    assert ids_of(poll, account) == []
