"""What the extracts read of accounts that behave oddly, without a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiServerError,
)
from airflow_provider_wati.extracting.campaign_recipients import CampaignRecipientsExtract
from airflow_provider_wati.extracting.contacts import ContactsExtract
from airflow_provider_wati.extracting.job import CHUNK, extract
from airflow_provider_wati.extracting.messages import MESSAGES, MessagesExtract
from airflow_provider_wati.extracting.rows import Batch, Row, State
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import Campaign


NOW = datetime(2026, 11, 20, tzinfo=UTC)


class Account:
    """Stands in for the client of an account: what it lists, and which calls were made."""

    server_clock_offset: timedelta | None = None
    #: Conversations of a page.
    page = 100

    def __init__(self) -> None:
        self.contacts: list[Any] = []
        self.count: int | Exception = 0
        self.talks: dict[str, list[dict[str, Any]] | Exception] = {}
        self.campaigns: dict[str, dict[str, Any]] = {}
        self.recipients: dict[str, list[dict[str, Any]]] = {}
        self.overview: dict[str, Any] | Exception = {}
        self.calls: list[str] = []
        #: What happens when a call is made, such as a message that comes in.
        self.meanwhile: Callable[[str], None] = lambda call: None

    def move_to_front(self, id: str, message: dict[str, Any]) -> None:
        """Let somebody write, which moves the conversation to the front."""
        messages = self.talks.pop(id)
        assert isinstance(messages, list)
        self.talks = {id: [message, *messages], **self.talks}

    def _called(self, call: str, answer: Any) -> Any:
        self.calls.append(call)
        self.meanwhile(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def iter_contacts(self) -> Iterator[Any]:
        yield from self._called("contacts", self.contacts)

    def count_contacts(self) -> int:
        return self._called("count", self.count)

    def iter_conversations(self) -> Iterator[Any]:
        """List a hundred at a time by place, as the list is at that moment."""
        self._called("conversations", None)
        place = 0
        while page := list(self.talks)[place : place + self.page]:
            yield from [{"id": id} for id in page]
            place += self.page

    def iter_messages(self, target: Any) -> Iterator[Any]:
        yield from self._called(str(target), self.talks[str(target)])

    def iter_campaigns(self) -> Iterator[Campaign]:
        yield from self._called("campaigns", list(self.campaigns.values()))

    def get_campaign(self, id: str) -> Any:
        return self._called(id, self.campaigns[id])

    def iter_campaign_recipients(self, id: str) -> Iterator[Any]:
        yield from self._called(f"recipients of {id}", self.recipients[id])

    def get_campaigns_overview(self, date_from: datetime, date_to: datetime) -> Any:
        assert date_from < date_to
        return self._called("overview", self.overview)


class Kept:
    """Where rows go: a dictionary."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.state: State = {}
        self.sizes: list[int] = []

    def write(self, rows: Any) -> None:
        self.sizes.append(len(rows))
        self.rows |= {row["id"]: row for row in rows}

    def remember(self, state: State) -> None:
        self.state = state


def id_of(n: int) -> str:
    """An ObjectId, whose first eight digits are the second in which it was made: an hour for each number."""
    return object_id(3600 * n, 0, n)


def object_id(second: int, process: int, counter: int) -> str:
    return f"{second:08x}{process:010x}{counter:06x}"


def at(hours: float) -> str:
    return (datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=hours)).isoformat()


def read_messages(account: Account, state: State) -> Kept:
    kept, clock = Kept(), FakeClock(NOW)
    extract(MessagesExtract(account, clock), state, kept, clock)  # type: ignore[arg-type] # stands in
    return kept


def recipients_of(account: Account, kept: Kept, clock: FakeClock, campaigns: Any = None) -> list[str]:
    """Extract once more, and return the calls."""
    account.calls.clear()
    source = CampaignRecipientsExtract(account, clock, campaigns)  # type: ignore[arg-type] # stands in
    extract(source, kept.state, kept, clock)
    return account.calls


def test_odd_contacts_cost_their_row_and_no_other() -> None:
    """A contact without an id is counted as skipped; everything else about it may be missing or of another type."""
    account = Account()
    account.count = WatiBadRequestError("no")
    account.contacts = [
        {},
        {"id": None},
        {"id": "a", "custom_params": 5, "teams": "x", "opted_in": "?", "created": 3},
    ]
    source, kept = ContactsExtract(account), Kept()  # type: ignore[arg-type] # stands in
    assert extract(source, {}, kept, FakeClock()) == 1
    assert source.skipped == 2
    assert kept.rows["a"]["custom_params"] is None


def shifting_contacts(account: Account, shifts: int) -> list[int]:
    """
    Let the list of contacts have the latest change first, and somebody of page 3 opt out after page 1.

    :param shifts: in how many looks at the list that happens.
    :return: gets the pages of each look.
    """
    account.contacts = [{"id": f"c{n}", "allow_broadcast": True} for n in range(250)]
    account.count = 250
    pages: list[int] = []

    def iter_contacts() -> Iterator[Any]:
        account.calls.append("contacts")
        pages.append(0)
        look, place = len(pages) - 1, 0
        while page := account.contacts[place : place + 100]:
            pages[look] += 1
            yield from page
            if place == 0 and look < shifts:
                moved = account.contacts.pop(220)
                account.contacts.insert(0, {**moved, "allow_broadcast": False})
            place += 100

    account.iter_contacts = iter_contacts  # type: ignore[method-assign] # for this test
    return pages


@pytest.mark.parametrize("counts", [True, False])
def test_a_contact_that_moves_to_the_front_while_the_list_is_read_is_read(
    caplog: pytest.LogCaptureFixture, counts: bool
) -> None:
    """An opt-out during the run is not missing, and where WATI counts, the second look ends once all were seen."""
    account, kept = Account(), Kept()
    pages = shifting_contacts(account, shifts=1)
    account.count = account.count if counts else WatiBadRequestError("no")
    extract(ContactsExtract(account), {}, kept, FakeClock())  # type: ignore[arg-type] # stands in
    assert len(kept.rows) == 250
    assert kept.rows["c220"]["allow_broadcast"] is False
    assert account.calls == ["count", "contacts", *(["count"] if counts else []), "contacts"]
    assert pages == [3, 1 if counts else 3]
    assert "list moved" not in caplog.text


@pytest.mark.parametrize("counts", [True, False])
def test_a_list_of_contacts_that_never_rests_is_said(caplog: pytest.LogCaptureFixture, counts: bool) -> None:
    """After three looks the log says that contacts may be missing; repeats do not count as contacts."""
    account = Account()
    pages = shifting_contacts(account, shifts=3)
    account.count = 260 if counts else WatiBadRequestError("no")
    extract(ContactsExtract(account), {}, Kept(), FakeClock())  # type: ignore[arg-type] # stands in
    assert len(pages) == 3
    assert ("counts 260 contacts and lists 250" in caplog.text) == counts
    assert ("moved 3 times" in caplog.text) == (not counts)


def test_rows_are_stored_in_parts() -> None:
    """Memory stays flat: no more than some thousand rows are held at a time."""
    account = Account()
    account.contacts = [{"id": str(n)} for n in range(2 * CHUNK + 10)]
    kept = Kept()
    extract(ContactsExtract(account), {}, kept, FakeClock())  # type: ignore[arg-type] # stands in
    assert kept.sizes == [CHUNK, CHUNK, 10]


def test_conversations_that_are_not_newest_first_are_all_read() -> None:
    """A new message deep in a list without order is found, although everything before it is older than the watermark."""
    account = Account()
    for n in range(60):
        account.talks[id_of(n)] = [{"id": f"m{n}", "created": at(-(n % 7))}]
    account.talks[id_of(60)] = [{"id": "news", "created": at(50)}]
    kept = read_messages(account, {"watermark": at(40)})
    assert set(kept.rows) == {"news"}


def test_conversations_that_may_be_ordered_by_their_beginning_are_all_read() -> None:
    """News in an old conversation are found where WATI lists the conversations that began last first."""
    account = Account()
    for n in range(60):
        account.talks[id_of(60 - n)] = [{"id": f"m{n}", "created": at(-n)}]
    account.talks[id_of(0)] = [{"id": "news", "created": at(50)}]
    kept = read_messages(account, {"watermark": at(40)})
    assert set(kept.rows) == {"news"}


@pytest.mark.parametrize("apart", [0, 60])
def test_ids_that_two_servers_made_at_once_prove_no_order(apart: int) -> None:
    """Where one id is higher than the one before it by the server that made it or its clock, news further down are found."""
    account = Account()
    ids = [object_id(100_000 - 100 * n, 7, n) for n in range(60)]
    ids[3] = object_id(100_000 - 200 + apart, 9, 1)
    account.talks = {id: [{"id": f"m{n}", "created": at(-n)}] for n, id in enumerate(ids)}
    assert "conversation_order" not in read_messages(account, {}).state
    account.talks[ids[40]] = [{"id": "news", "created": at(50)}, *account.talks[ids[40]]]  # type: ignore[misc] # no error here
    assert set(read_messages(account, {"watermark": at(40)}).rows) == {"news"}


def test_an_order_that_was_proven_counts_for_the_next_run() -> None:
    """Ids that go up prove that the latest activity comes first; a time that goes up takes the proof back."""
    account = Account()
    for n in (3, 4, *range(2, -1, -1), *range(40, 4, -1)):
        account.talks[id_of(n)] = [{"id": f"m{n}", "created": at(-len(account.talks))}]
    kept = read_messages(account, {})
    assert kept.state["conversation_order"] == "latest activity first"
    # By now, the ids only go down.
    account.talks = {id_of(n): [{"id": f"m{n}", "created": at(n)}] for n in range(99, 0, -1)}
    again = read_messages(account, {**kept.state, "watermark": at(99)})
    assert set(again.rows) == {"m99", "m98"}
    account.talks = {id_of(n): [{"id": f"m{n}", "created": at(n * 7 % 50)}] for n in range(99, 0, -1)}
    assert "conversation_order" not in read_messages(account, {**kept.state, "watermark": at(70)}).state


def test_what_is_said_while_a_run_reads_disproves_no_order() -> None:
    """Entries that move to the next page, and messages after the start of the run, do not make the run read everything."""
    account = Account()

    def before(hours: float) -> str:
        return (NOW - timedelta(hours=hours)).isoformat()

    for n in range(60):
        account.talks[id_of(n)] = [
            {"id": f"m{n}.{k}", "created": before(n + k / 100)} for k in (0, 1, 2, 3, 2, 3, 4, 5)
        ]
    account.talks[id_of(2)] = [{"id": "now", "created": before(-1)}, {"id": "m2", "created": before(2)}]
    kept = read_messages(account, {"watermark": before(4)})
    assert len(account.calls) < 20
    assert "now" in kept.rows
    assert "m4.0" in kept.rows
    assert "conversation_order" in kept.state


def test_conversations_newest_first_are_left_after_ten_without_news() -> None:
    """In an ordered list, ten conversations without news are the last that are looked at."""
    account = Account()
    for n in range(60):
        account.talks[id_of(n)] = [{"id": f"m{n}", "created": at(60 - n)}]
    kept = read_messages(account, {"watermark": at(58)})
    assert set(kept.rows) == {"m0", "m1", "m2", "m3"}
    # The list is looked at twice: a conversation may have moved to its front.
    assert len(account.calls) == 2 + 3 + 1 + 10


def before_now(hours: float) -> str:
    return (NOW - timedelta(hours=hours)).isoformat()


def ordered_account(count: int) -> Account:
    """An account with conversations newest first, each with one message, an hour between two of them."""
    account = Account()
    account.page = 5
    for n in range(count):
        account.talks[id_of(7 * n % 97)] = [{"id": f"m{n}", "created": before_now(1 + n)}]
    return account


@pytest.mark.parametrize(
    "state", [{}, {"watermark": before_now(30), "conversation_order": "latest activity first"}]
)
def test_a_conversation_that_moves_to_the_front_while_the_list_is_read_is_read(state: State) -> None:
    """What was said in it before the run is stored, because the next run reads what is younger only."""
    account = ordered_account(40)
    moving = list(account.talks)[20]

    def write_in(call: str) -> None:
        if call == list(account.talks)[7]:
            account.meanwhile = lambda call: None
            account.move_to_front(moving, {"id": "new", "created": before_now(-0.1)})

    account.meanwhile = write_in
    kept = read_messages(account, state)
    assert {"m20", "new"} <= set(kept.rows)
    assert "watermark" in kept.state


def test_a_conversation_that_moves_again_while_it_is_looked_for_is_read() -> None:
    """A list in which something has moved is looked at once more."""
    account = ordered_account(40)
    moving = list(account.talks)[20]
    listed = account.iter_conversations
    passes = 0

    def iter_conversations() -> Iterator[Any]:
        nonlocal passes
        passes += 1
        for place, talk in enumerate(listed()):
            if (passes, place) in {(1, 7), (2, 4)}:
                account.move_to_front(moving, {"id": f"new {passes}", "created": before_now(-passes)})
                # Others write too: it is on the second page now, and on the first one later.
                for id in list(account.talks)[10 : 16 if passes == 1 else 12]:
                    account.move_to_front(id, {"id": f"{id} {passes}", "created": before_now(-passes)})
            yield talk

    account.iter_conversations = iter_conversations  # type: ignore[method-assign] # for this test
    kept = read_messages(account, {})
    assert {"m20", "new 1", "new 2"} <= set(kept.rows)


def test_the_watermark_stays_when_conversations_move_all_the_time() -> None:
    """Where each look at the list finds another conversation with older messages, the next run reads them all."""
    account = ordered_account(40)
    listed = account.iter_conversations
    hidden = {f"{n:024x}": [{"id": f"hidden {n}", "created": before_now(5)}] for n in range(500, 600)}

    def iter_conversations() -> Iterator[Any]:
        id, messages = hidden.popitem()
        yield from listed()
        account.talks = {id: messages, **account.talks}

    account.iter_conversations = iter_conversations  # type: ignore[method-assign] # for this test
    kept = read_messages(account, {"watermark": before_now(30)})
    assert kept.state == {}
    assert hidden


def test_new_conversations_do_not_hold_the_watermark() -> None:
    """Somebody who begins to write during the run belongs to the next one, however many there are."""
    account = ordered_account(40)
    listed = account.iter_conversations
    count = 500

    def iter_conversations() -> Iterator[Any]:
        nonlocal count
        count += 1
        account.talks = {id_of(count): [{"id": f"{count}", "created": before_now(-1)}], **account.talks}
        yield from listed()

    account.iter_conversations = iter_conversations  # type: ignore[method-assign] # for this test
    assert "watermark" in read_messages(account, {"watermark": before_now(30)}).state


def test_a_conversation_behind_one_that_is_deleted_is_read() -> None:
    """When a conversation goes away while the list is read, the one that takes its place is not left out."""
    account = ordered_account(40)
    first = next(iter(account.talks))

    def delete(call: str) -> None:
        if call == list(account.talks)[3]:
            account.meanwhile = lambda call: None
            del account.talks[first]

    account.meanwhile = delete
    assert set(read_messages(account, {}).rows) == {f"m{n}" for n in range(40)}


def test_conversations_without_a_usable_id_cost_themselves_only() -> None:
    """However many there are, the others are stored, the watermark moves, and the odd ones are counted."""
    account = Account()
    account.talks.update({f"odd {n}": [] for n in range(20)})
    account.talks[id_of(1)] = [{"id": "m", "created": at(0)}]
    kept, clock = Kept(), FakeClock(NOW)
    source = MessagesExtract(account, clock)  # type: ignore[arg-type] # stands in
    extract(source, {}, kept, clock)
    assert set(kept.rows) == {"m"}
    assert "watermark" in kept.state
    assert source.skipped == 20


def test_a_conversation_that_is_gone_is_no_failure() -> None:
    """A conversation that was deleted while the list was read costs nothing."""
    account = Account()
    account.talks = {id_of(1): WatiNotFoundError("gone"), id_of(2): [{"id": "m", "created": at(0)}]}
    assert set(read_messages(account, {}).rows) == {"m"}


def test_a_conversation_that_wati_refuses_costs_only_itself() -> None:
    """The others are stored and the run fails with WATI's word; where WATI refuses each one, the run ends after eleven."""
    account, kept, clock = Account(), Kept(), FakeClock(NOW)
    account.talks = {id_of(n): [{"id": f"m{n}", "created": at(-n)}] for n in range(3)}
    account.talks[id_of(1)] = WatiPermissionError("not of this channel", status_code=403)
    with pytest.raises(WatiPermissionError, match="1 of WATI's conversations.*not of this channel"):
        extract(MessagesExtract(account, clock), {}, kept, clock)  # type: ignore[arg-type] # stands in
    assert (set(kept.rows), kept.state) == ({"m0", "m2"}, {})
    account = Account()
    account.talks = {id_of(n): WatiPermissionError("scope", status_code=403) for n in range(50)}
    with pytest.raises(WatiPermissionError, match="scope"):
        extract(MessagesExtract(account, clock), {}, kept, clock)  # type: ignore[arg-type] # stands in
    assert len(account.calls) == 1 + 11


def test_an_outage_ends_the_run() -> None:
    """After eleven conversations that cannot be read the run ends; what could be read is stored, without a watermark."""
    account = Account()
    account.talks = {id_of(0): [{"id": "m", "created": at(0)}]}
    account.talks |= {id_of(n): WatiServerError("down") for n in range(1, 50)}
    kept = Kept()
    with pytest.raises(WatiServerError, match="down"):
        extract(MessagesExtract(account, FakeClock()), {}, kept, FakeClock())  # type: ignore[arg-type] # stands in
    assert (set(kept.rows), kept.state) == ({"m"}, {})
    assert len(account.calls) == 1 + 1 + 11


def test_a_message_that_comes_while_a_long_run_reads_belongs_to_the_next() -> None:
    """The watermark is the start of the run, by WATI's clock, and not the newest message."""
    account = Account()
    account.server_clock_offset = timedelta(minutes=-5)
    account.talks = {id_of(1): [{"id": "m", "created": at(10_000)}]}
    clock = FakeClock()
    began = clock.now()
    kept = Kept()
    source = MessagesExtract(account, clock)  # type: ignore[arg-type] # stands in
    for batch in source.batches({}):
        clock.sleep(3600)
        kept.state = batch.state or kept.state
    assert datetime.fromisoformat(kept.state["watermark"]) == began - timedelta(minutes=5)


def test_a_clock_of_wati_that_is_ahead_hides_nothing() -> None:
    """The Date of an answer may come from a proxy: where it is ahead of the worker's clock, the worker's counts."""
    account = Account()
    account.server_clock_offset = timedelta(days=2)
    kept = read_messages(account, {})
    assert datetime.fromisoformat(kept.state["watermark"]) == NOW


def test_the_reason_of_a_failure_stays_with_it() -> None:
    """When WATI lists a failed message as sent, without a reason, status and reason stay."""
    stored = {"id": "m", "status": "failed", "failed_detail": "no WhatsApp"}
    merged = MESSAGES.merge(stored, {"id": "m", "status": "sent", "failed_detail": None})
    assert (merged["status"], merged["failed_detail"]) == ("failed", "no WhatsApp")


def campaign(id: str, **statistics: int) -> dict[str, Any]:
    return {"id": id, "name": id, "created": at(0), "statistics": statistics}


def test_a_list_that_lags_behind_the_statistics_is_read_again() -> None:
    """When WATI counts more than it lists, the campaign is read again, until an hour has passed."""
    account, kept, clock = Account(), Kept(), FakeClock()
    account.campaigns = {"a": campaign("a", total_recipients=2, total_sent=2)}
    account.recipients = {"a": [{"id": "1", "status": "sent"}]}
    for _ in range(2):
        assert "recipients of a" in recipients_of(account, kept, clock)
    account.recipients["a"].append({"id": "2", "status": "sent"})
    assert "recipients of a" in recipients_of(account, kept, clock)
    assert set(kept.rows) == {"1", "2"}
    assert recipients_of(account, kept, clock) == ["campaigns", "overview"]

    account.recipients["a"].pop()
    account.overview, account.campaigns["a"]["statistics"] = {"total_sent": 3}, {"total_recipients": 3}
    assert "recipients of a" in recipients_of(account, kept, clock)
    clock.sleep(7200)
    # It is read once more after an hour, so that what the list shows by then is not missed.
    account.recipients["a"].append({"id": "2", "status": "failed"})
    assert "recipients of a" in recipients_of(account, kept, clock)
    assert kept.rows["2"]["status"] == "failed"
    assert "recipients of a" not in recipients_of(account, kept, clock)


def test_without_totals_each_campaign_is_looked_at() -> None:
    """When WATI refuses the totals, a run without news costs a call for each campaign."""
    account, kept, clock = Account(), Kept(), FakeClock()
    account.overview = WatiBadRequestError("no")
    account.campaigns = {id: campaign(id, total_recipients=0) for id in "abc"}
    account.recipients = dict.fromkeys("abc", [])
    recipients_of(account, kept, clock)
    assert recipients_of(account, kept, clock) == ["campaigns", "overview", "campaigns", "a", "b", "c"]


def test_a_campaign_without_statistics_is_read_each_time() -> None:
    """Where nothing shows that nothing is new, recipients are read."""
    account, kept, clock = Account(), Kept(), FakeClock()
    account.campaigns, account.recipients = {"a": {"id": "a", "created": at(0)}}, {"a": [{"id": "1"}]}
    for _ in range(2):
        account.overview = {"total_sent": len(account.calls)}
        assert "recipients of a" in recipients_of(account, kept, clock)


def test_old_campaigns_are_not_followed_and_not_forgotten() -> None:
    """After 31 days a campaign is not looked at any more, and one that is sent after a long pause is."""
    account, kept, clock = Account(), Kept(), FakeClock()
    now = clock.now()
    account.campaigns = {"old": {**campaign("old", total_sent=1), "created": now.isoformat()}}
    account.recipients = {"old": [{"id": "1", "status": "sent"}], "new": [{"id": "2", "status": "sent"}]}
    recipients_of(account, kept, clock)
    clock.sleep(timedelta(days=60).total_seconds())
    account.overview = {"total_sent": 2}
    assert "old" in recipients_of(account, kept, clock)  # the last run was 60 days ago, and it was fresh then
    created = (clock.now() - timedelta(days=20)).isoformat()
    account.campaigns = {"new": {**campaign("new", total_sent=1), "created": created}, **account.campaigns}
    account.overview = {"total_sent": 3}
    calls = recipients_of(account, kept, clock)
    assert "recipients of new" in calls
    assert "old" not in calls
    clock.sleep(timedelta(days=5).total_seconds())
    account.overview = {"total_sent": 4}
    recipients_of(account, kept, clock)
    assert not [name for name in kept.state if "old" in name]


def test_a_new_campaign_without_times_is_read() -> None:
    """WATI may leave both times out, and then nothing says that a campaign is old."""
    account, kept, clock = Account(), Kept(), FakeClock(NOW)
    account.campaigns = {"old": campaign("old", total_recipients=1)}
    account.recipients = {"old": [{"id": "1", "status": "sent"}], "new": [{"id": "2", "status": "sent"}]}
    recipients_of(account, kept, clock)
    new = {**campaign("new", total_recipients=1), "created": None}
    account.campaigns, account.overview = {"new": new, **account.campaigns}, {"total_sent": 2}
    assert "recipients of new" in recipients_of(account, kept, clock)
    assert recipients_of(account, kept, clock) == ["campaigns", "overview"]


def test_a_campaign_that_is_scheduled_for_months_later_is_followed_when_it_is_sent() -> None:
    """Campaigns that were made since stand before it in the list, and those end the look at the list."""
    account, kept, clock = Account(), Kept(), FakeClock()
    due = clock.now() + timedelta(days=100)
    early = {**campaign("early", total_recipients=1), "created": clock.now().isoformat()}
    account.campaigns = {"early": {**early, "scheduled_at": due.isoformat()}}
    account.recipients = {"early": [{"id": "e", "status": "pending"}]}
    recipients_of(account, kept, clock)
    for n in range(50):
        clock.sleep(timedelta(days=2).total_seconds() + 60)
        id = f"c{n}"
        account.campaigns = {
            id: {**campaign(id, total_sent=1), "created": clock.now().isoformat()},
            **account.campaigns,
        }
        account.recipients[id] = [{"id": id, "status": "sent"}]
        account.overview = {"total_sent": n}
        recipients_of(account, kept, clock)
    account.recipients["early"] = [{"id": "e", "status": "read"}]
    account.campaigns["early"]["statistics"] = {"total_recipients": 1, "total_read": 1}
    account.overview = {"total_sent": 51}
    assert "recipients of early" in recipients_of(account, kept, clock)
    assert kept.rows["e"]["status"] == "read"


def test_a_campaign_that_cannot_be_read_is_read_by_the_next_run() -> None:
    """The others are stored and remembered, and the task fails."""
    account, kept, clock = Account(), Kept(), FakeClock()
    account.campaigns = {id: campaign(id, total_recipients=1) for id in "abc"}
    account.recipients = {id: [{"id": f"{id}1", "status": "sent"}] for id in "abc"}
    account.recipients["b"] = WatiServerError("down")  # type: ignore[assignment] # raised by the stand-in
    with pytest.raises(WatiServerError, match="campaigns cannot be read, the first is b"):
        recipients_of(account, kept, clock)
    assert set(kept.rows) == {"a1", "c1"}
    account.recipients["b"] = [{"id": "b1", "status": "sent"}]
    calls = recipients_of(account, kept, clock)
    assert [call for call in calls if call.startswith("recipients")] == ["recipients of b"]
    assert recipients_of(account, kept, clock) == ["campaigns", "overview"]


def test_a_damaged_look_is_no_look() -> None:
    """A state that was changed by hand costs calls, and never a row."""
    account, kept, clock = Account(), Kept(), FakeClock()
    account.campaigns = {"a": campaign("a", total_recipients=1)}
    account.recipients = {"a": [{"id": "1", "status": "sent"}]}
    kept.state = {"campaign a": "{}", "totals": "x", "watermark": "y"}
    assert "recipients of a" in recipients_of(account, kept, clock)


def test_batches_end_without_a_state_when_nothing_was_read() -> None:
    """An account without conversations has a watermark after the first run."""
    state: Mapping[str, str] = read_messages(Account(), {}).state
    assert set(state) == {"watermark"}
    assert Batch() == Batch((), None)
