"""Outcomes joined to what WATI lists: no row twice, no recipient lost, no message counted for another person's row."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.sending.delivery_rows import DELIVERED_COLUMNS, DeliveryRows
from airflow_provider_wati.sending.row_mapping import MessageIdentity
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of

ADA, BEN = "12025550143", "12025550144"
IDENTITY = MessageIdentity("the send")


def outcome(row: Any, target: str = ADA, key: str | None = None, **more: Any) -> dict[str, Any]:
    """A row as the outcomes of a send have it; accepted in campaign c1 if nothing else is said."""
    values = {
        "row": row,
        "key": key,
        "target": target,
        "status": "accepted",
        "reason": None,
        "local_message_id": id_of(target, key),
        "campaign_id": "c1",
        "campaign_name": "first",
    }
    return {**values, **more}


def id_of(target: str, key: str | None = None) -> str:
    return IDENTITY.of(dedupe_key_of(target), key)[1]


def listed(target: str = ADA, key: str | None = None, **more: Any) -> Any:
    """A recipient as WATI lists it."""
    values = {
        "contact_phone": f"+{target}",
        "local_message_id": id_of(target, key),
        "status": "delivered",
        "created": "2026-11-26T10:00:00Z",
    }
    return {**values, **more}


def joined(
    outcomes: list[dict[str, Any]], campaigns: dict[str, list[Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    with closing(DeliveryRows()) as rows:
        rows.add_outcomes(outcomes)
        for id, recipients in campaigns.items():
            rows.add_recipients(id, f"name of {id}", recipients)
        rows.join()
        return [dict(zip(DELIVERED_COLUMNS, row, strict=True)) for row in rows.rows()], rows.counts()


def statuses_of(outcomes: list[dict[str, Any]], campaigns: dict[str, list[Any]]) -> list[str | None]:
    return [row["delivery_status"] for row in joined(outcomes, campaigns)[0]]


def test_a_row_has_the_outcome_and_the_delivery() -> None:
    """One line holds all columns of the outcome as they are, and those of the recipient."""
    recipient = listed(status=" FAILED", failed_code="131026", message_id="wamid.1", contact_name="Ada")
    [row], counts = joined([outcome(1, reason="r")], {"c1": [recipient]})
    assert {name: row[name] for name in SEND_COLUMNS} == outcome(1, reason="r")
    assert row["delivery_status"] == "failed"
    assert (row["failed_code"], row["message_id"], row["contact_phone"], row["contact_name"]) == (
        "131026", "wamid.1", f"+{ADA}", "Ada",
    )  # fmt: skip
    assert counts == {
        "total": 1, "statuses": {"failed": 1}, "without_delivery": 0, "missing": 0, "listed": 1, "repeated": 0,
        "unmatched": 0,
    }  # fmt: skip


def test_rows_without_a_message_are_in_it_without_a_delivery() -> None:
    """Invalid and skipped rows have empty columns, and a duplicate does not take the message of the row that was sent."""
    outcomes = [
        outcome(1, status="skipped", reason="duplicate", campaign_id=None),
        outcome(2, status="invalid", target="x", local_message_id=None, campaign_id=None),
        outcome(3),
        outcome(4, BEN),
    ]
    rows, counts = joined(outcomes, {"c1": [listed()]})
    assert [row["delivery_status"] for row in rows] == [None, None, "delivered", None]
    assert (counts["without_delivery"], counts["missing"], counts["unmatched"]) == (3, 1, 0)


@pytest.mark.parametrize(
    ("statuses", "shown"),
    [
        (["failed", "delivered"], "delivered"),
        (["delivered", "failed"], "delivered"),
        (["read", "delivered"], "read"),
        (["failed", "pending"], "pending"),
        (["some word", "failed"], "some word"),
        (["failed", None], "unknown"),
        (["undelivered", "failed"], "failed"),
        (["sent", "pending"], "sent"),
    ],
)
@pytest.mark.parametrize("has_ids", [True, False])
def test_of_two_messages_of_a_row_the_one_that_came_further_is_shown(
    statuses: list[str | None], shown: str, has_ids: bool
) -> None:
    """A row is failed only where each of its messages has failed; unknown words may mean that the person has it."""
    more: dict[str, Any] = {} if has_ids else {"local_message_id": None}
    campaigns = {
        f"c{n}": [listed(status=status, created=f"2026-11-26T10:0{n}:00Z", **more)]
        for n, status in enumerate(statuses)
    }
    [row], counts = joined([outcome(1)], campaigns)
    assert row["delivery_status"] == shown
    assert (counts["repeated"], counts["unmatched"], counts["listed"]) == (1, 0, 2)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("5215512345678", "+52 55 1234 5678"),
        ("525512345678", "5215512345678"),
        ("5491123456789", "+541123456789"),
        ("5511987654321", "+55 11 8765-4321"),
    ],
)
def test_two_spellings_are_one_person(written: str, shown: str) -> None:
    """Where WATI shows no local ids, a person is found under the other spelling of Mexico, Argentina and Brazil."""
    recipient = listed(written, contact_phone=shown, local_message_id=None)
    assert statuses_of([outcome(1, BEN), outcome(2, written)], {"c1": [recipient]}) == [None, "delivered"]


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("507f1f77bcf86cd799439011", {"contact_id": "507F1F77BCF86CD799439011"}),
        ("US.abc123", {"bsuid": "US.abc123"}),
    ],
)
def test_other_targets_are_found_by_their_own_names(target: str, shown: dict[str, str]) -> None:
    """A contact id and a BSUID are found without a local id too."""
    recipient = {"contact_phone": f"+{BEN}", "status": "read", **shown}
    assert statuses_of([outcome(1, target)], {"c1": [recipient]}) == ["read"]


def test_two_messages_to_one_person_stay_apart() -> None:
    """With keys, the local id tells which message is which, whatever the order."""
    outcomes = [outcome(1, key="a"), outcome(2, key="b")]
    recipients = [listed(key="b", status="failed"), listed(key="a", status="read")]
    assert statuses_of(outcomes, {"c1": recipients}) == ["read", "failed"]


def test_nothing_is_guessed_where_ids_are_missing() -> None:
    """Of two messages to one person without ids, none is given to a row, and both are counted."""
    outcomes = [outcome(1, key="a"), outcome(2, key="b")]
    recipients = [
        listed(id=str(n), local_message_id=None, status=status) for n, status in enumerate(("failed", "read"))
    ]
    rows, counts = joined(outcomes, {"c1": recipients})
    assert [row["delivery_status"] for row in rows] == [None, None]
    assert (counts["unmatched"], counts["missing"], counts["without_delivery"]) == (2, 2, 2)


def test_the_message_that_is_left_is_of_the_row_that_is_left() -> None:
    """Where all but one message of a person have their ids, the last one is found by person and campaign."""
    outcomes = [outcome(1, key="a"), outcome(2, key="b"), outcome(3, key="c", campaign_id="c2")]
    recipients = [listed(key="a"), listed(local_message_id=None, status="read")]
    assert statuses_of(outcomes, {"c1": recipients}) == ["delivered", "read", None]


def test_another_message_of_the_send_is_nobody_elses() -> None:
    """With keys, a message whose row is gone is not given to another row of the same person."""
    rows, counts = joined([outcome(1, key="b")], {"c1": [listed(key="gone", status="delivered")]})
    assert [row["delivery_status"] for row in rows] == [None]
    assert counts["unmatched"] == 1


def test_an_id_of_the_users_own_counts_for_its_person_only() -> None:
    """A local id that was another person's in an earlier attempt does not show that person's delivery."""
    outcomes = [outcome(1, BEN, local_message_id="order-1001")]
    earlier = listed(ADA, local_message_id="order-1001", status="read")
    assert statuses_of(outcomes, {"c1": [earlier]}) == [None]
    mine = listed(BEN, local_message_id="order-1001", status="sent")
    assert statuses_of(outcomes, {"c1": [earlier, mine]}) == ["sent"]


def test_an_unknown_row_gets_the_campaign_in_which_it_is_found() -> None:
    """A row whose answer was lost, and that WATI lists by now, names the campaign of the message."""
    unknown = outcome(1, status="unknown", campaign_id=None, campaign_name=None)
    [row], _ = joined([unknown], {"c7": [listed(status="read")]})
    assert (row["status"], row["delivery_status"]) == ("unknown", "read")
    assert (row["campaign_id"], row["campaign_name"]) == ("c7", "name of c7")


def test_a_recipient_on_two_pages_counts_once() -> None:
    """A list that grows while it is read may show a recipient twice: it is one message, with its later status."""
    recipients = [listed(id="r1", status="sent"), listed(id="r1", status="delivered")]
    rows, counts = joined([outcome(1)], {"c1": recipients})
    assert rows[0]["delivery_status"] == "delivered"
    assert (counts["listed"], counts["repeated"]) == (1, 0)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"row": 1, "target": ADA}], "no column 'key'"),
        ([outcome(1), outcome(1)], "a row twice"),
        ([outcome(1, status="created")], "the status 'created'"),
        ([outcome("x")], "a row 'x'"),
        ([outcome(None)], "a row 'None'"),
        ([outcome("9" * 19)], "numbered"),
        ([outcome(1, status=ADA)], r"\*0143"),
    ],
)
def test_what_is_not_the_outcomes_of_a_send_is_refused(rows: list[dict[str, Any]], message: str) -> None:
    """The error says what is wrong, without phone numbers."""
    with closing(DeliveryRows()) as delivery, pytest.raises(WatiValidationError, match=message) as error:
        delivery.add_outcomes(rows)
    assert ADA not in str(error.value)


#: Words of WATI's list and others, from nothing to read.
WORDS = [
    "failed",
    "Pending",
    "queued",
    "sent",
    "DELIVERED",
    "read",
    "replied",
    "stopped",
    "no such word",
    None,
    "",
]


class RandomSend:
    """A send of random rows, and campaigns that list its messages; what is listed for each row is noted here."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._has_keys, self._has_ids = seed % 2 == 1, seed % 4 < 2
        self.outcomes: list[dict[str, Any]] = []
        self.campaigns: dict[str, list[Any]] = {f"c{n}": [] for n in range(1, 5)}
        #: The listed statuses of each row.
        self.expected: dict[int, list[str]] = {}
        self.unmatched = 0
        self._add_rows()
        self._add_strangers()
        for recipients in self.campaigns.values():
            self._random.shuffle(recipients)
        self._random.shuffle(self.outcomes)

    def _add_rows(self) -> None:
        row = 0
        for n in range(self._random.randint(1, 30)):
            spellings = self._spellings(n)
            # Without ids, several messages to one person cannot be told apart, so there is one for each.
            keys: list[str | None] = [None]
            if self._has_keys:
                keys = [f"k{k}" for k in range(self._random.randint(1, 3) if self._has_ids else 1)]
            for key in keys:
                row += 1
                target = self._random.choice(spellings)
                status = self._random.choice(
                    ["accepted"] * 6 + ["unknown", "rejected", "skipped", "invalid", "unsent"]
                )
                campaign = self._random.choice(list(self.campaigns)) if status == "accepted" else None
                self.outcomes.append(outcome(row, target, key, status=status, campaign_id=campaign))
                self.expected[row] = []
                if campaign and self._random.random() < 0.9:
                    self._list(row, key, campaign, spellings)
                    if self._has_ids and self._random.random() < 0.2:
                        self._list(row, key, self._random.choice(list(self.campaigns)), spellings)
                # A duplicate, which is skipped and has the same id.
                if not self._has_keys and self._random.random() < 0.2:
                    row += 1
                    duplicate = self._random.choice(spellings)
                    self.outcomes.append(outcome(row, duplicate, status="skipped", campaign_id=None))
                    self.expected[row] = []

    def _list(self, row: int, key: str | None, campaign: str, spellings: list[str]) -> None:
        word = self._random.choice(WORDS)
        shown = self._random.choice(spellings)
        more = {"local_message_id": id_of(shown, key) if self._has_ids else self._random.choice([None, ""])}
        self.campaigns[campaign].append(listed(shown, key, status=word, **more))
        self.expected[row].append((word or "").strip().lower() or "unknown")

    def _add_strangers(self) -> None:
        for n in range(self._random.randint(0, 4)):
            stranger = listed(
                f"1202666{n:04}", "gone", local_message_id=self._random.choice([None, id_of("x", str(n))])
            )
            self.campaigns["c2"].append(stranger)
            self.unmatched += 1

    def _spellings(self, n: int) -> list[str]:
        return self._random.choice(
            [
                [f"1202555{n:04}"],
                [f"525512345{n:03}", f"5215512345{n:03}"],
                [f"541123456{n:03}", f"5491123456{n:03}"],
                [f"551187654{n:03}", f"5511987654{n:03}"],
            ]
        )


@pytest.mark.parametrize("seed", range(200))
def test_each_row_has_one_line_and_each_recipient_is_counted(seed: int) -> None:
    """For random sends, every row has one line with a status that WATI lists for it, and the counts add up."""
    send = RandomSend(seed)
    rows, counts = joined(send.outcomes, send.campaigns)
    assert [row["row"] for row in rows] == sorted(send.expected)
    for row in rows:
        words = send.expected[row["row"]]
        assert (row["delivery_status"] in words) if words else row["delivery_status"] is None
        assert row["delivery_status"] != "failed" or set(words) == {"failed"}
    with_delivery = sum(1 for words in send.expected.values() if words)
    assert counts["statuses"] == Counter(row["delivery_status"] for row in rows if row["delivery_status"])
    assert counts["total"] == len(send.outcomes) == with_delivery + counts["without_delivery"]
    assert counts["unmatched"] == send.unmatched
    assert counts["repeated"] == sum(max(len(words) - 1, 0) for words in send.expected.values())
    assert counts["listed"] == sum(map(len, send.campaigns.values()))
    assert counts["missing"] == sum(
        1 for row in rows if row["status"] == "accepted" and not send.expected[row["row"]]
    )


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows() -> None:
    """Twenty times as many rows take about as much memory of Python's."""
    import tracemalloc

    def peak(count: int) -> int:
        def outcomes() -> Iterator[dict[str, Any]]:
            return (outcome(n + 1, f"1{n:010}", campaign_id=f"c{n // 500}") for n in range(count))

        tracemalloc.start()
        try:
            with closing(DeliveryRows()) as rows:
                rows.add_outcomes(outcomes())
                for first in range(0, count, 500):
                    people = (listed(f"1{n:010}") for n in range(first, first + 500))
                    rows.add_recipients(f"c{first // 500}", "name", people)
                rows.join()
                assert sum(1 for _ in rows.rows()) == count
                assert rows.counts()["statuses"] == {"delivered": count}
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(500)  # what is loaded and cached once
    # A row that is kept takes more than five bytes.
    assert peak(10_000) < 3 * peak(500) + 50_000


@pytest.mark.parametrize(
    "other",
    [
        # Keys, and no local ids: the call before has delivered it, and its campaign is not that of the outcome.
        {"contact_phone": f"+{ADA}", "local_message_id": None},
        {"contact_phone": None, "contact_id": "a" * 24, "local_message_id": None},
        {"contact_phone": None, "bsuid": "US.1234", "local_message_id": None},
    ],
)
@pytest.mark.parametrize("key", [None, "order 1"])
def test_a_failure_is_not_shown_for_somebody_who_may_have_the_message(
    other: dict[str, Any], key: str | None
) -> None:
    """A message to the person that belongs to no row may be the row's, so the row is not taken for failed."""
    failed = listed(ADA, key, status="failed", contact_id="a" * 24, bsuid="US.1234", local_message_id=None)
    sent_before = listed(ADA, key, **other)
    [row], counts = joined([outcome(1, ADA, key)], {"c1": [failed], "c0": [sent_before]})
    assert row["delivery_status"] != "failed"
    assert counts["total"] == sum(counts["statuses"].values()) + counts["without_delivery"]
    assert counts["listed"] == sum(counts["statuses"].values()) + counts["repeated"] + counts["unmatched"]


def test_a_failure_of_somebody_else_is_shown() -> None:
    """A message of no row takes the failure away from nobody but its person, and one that failed too from nobody."""
    failed = [listed(each, status="failed") for each in (ADA, BEN)]
    strangers = [listed("12025550145", id="x"), listed(BEN, "removed", status="failed", id="y")]
    rows = [outcome(1), outcome(2, BEN)]
    assert statuses_of(rows, {"c1": failed, "c0": strangers}) == ["failed", "failed"]
