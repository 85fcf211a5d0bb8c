"""The stored form of journal records: what is written comes back, and what cannot be read is refused."""

from __future__ import annotations

import json
import random
from array import array
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.journal_codec import (
    Intent,
    Opening,
    Record,
    Result,
    Rows,
    Verdict,
    decode,
    encode,
)

AT = datetime(2026, 11, 3, 6, 20, 12, 345_000, tzinfo=UTC)
MOST, LEAST = 2**63 - 1, -(2**63)

RECORDS: list[Record] = [
    Opening(session="a1b2c3", at=AT),
    Opening(session="a1b2c3", at=AT, person=LEAST, is_lost=True),
    Opening(session="a1b2c3", at=AT, person=0),
    Opening(session="a1b2c3", at=AT, is_uncertain=True),
    Opening(session="a1b2c3", at=AT, is_late=True),
    Intent(id="a1b2c3-1", at=AT, content="order_update", people=array("q")),
    Intent(
        id="a1b2c3-12",
        at=AT,
        content='Grüße 🎉\n"quoted" \\ {{x}}',
        people=array("q", [MOST, LEAST, 0, -1, 1]),
        channel="Größe: +85291234567",
        campaign_name="0123456789abcdef-a1b2c3-12 Grüße",
        due=AT + timedelta(days=9),
        resend=True,
        keyed=True,
    ),
    Intent(
        id="a1b2c3-2", at=AT, content="t", people=array("q", [1]), found_as=Verdict.ACCEPTED, found_in="c1"
    ),
    Intent(id="a1b2c3-3", at=AT, content="t", people=array("q", [1, 2]), params=b"\x00\x01\xfe\xff"),
    Result(id="a1b2c3-1", at=AT, verdicts={}),
    Result(id="a1b2c3-1", at=AT, verdicts={Verdict.ACCEPTED: None}, campaign_id="66b1fb04b40adca000000000"),
    Result(
        id="a1b2c3-1",
        at=AT,
        verdicts={
            Verdict.ACCEPTED: [0, 1, 2, 5, 9_999],
            Verdict.REFUSED: [3],
            Verdict.OPEN: [4, 6],
            Verdict.CLOSED_UNRESOLVED: [7, 8],
        },
        campaign_id="c",
        reason="reconciled",
        detail={"message_id": "m", "nested": {"n": [1, None]}},
    ),
    Rows(at=AT, digest="0123456789abcdef"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_comes_back_as_it_was_written(record: Record) -> None:
    """Encoding and decoding lose nothing, also for the largest hashes and for texts of any script."""
    text = encode(record)
    assert decode(text, "here") == record
    assert "\n" not in text
    assert text.isascii()


def _random_record(chance: random.Random) -> Record:
    at = AT + timedelta(milliseconds=chance.randrange(10**12))
    word = "".join(chance.choices('aZ0-_ é"\\\n{}漢😀', k=chance.randrange(1, 20)))
    people = array("q", [chance.randint(LEAST, MOST) for _ in range(chance.randrange(50))])
    positions = {
        verdict: sorted(chance.sample(range(200), chance.randrange(1, 100)))
        for verdict in chance.sample(list(Verdict), chance.randrange(5))
    }
    records: list[Record] = [
        Opening(
            session=word, at=at, person=chance.choice([None, 0, -7, MOST]), is_lost=chance.random() < 0.5
        ),
        Intent(
            id=word,
            at=at,
            content=word,
            people=people,
            channel=chance.choice([None, word]),
            campaign_name=chance.choice([None, word]),
            due=chance.choice([None, at]),
            resend=chance.random() < 0.5,
            keyed=chance.random() < 0.5,
        ),
        Result(
            id=word,
            at=at,
            verdicts=positions,
            campaign_id=chance.choice([None, word]),
            reason=chance.choice([None, word]),
            detail=chance.choice([{}, {word: [word, 1, None]}]),
        ),
        Rows(at=at, digest=word),
    ]
    return chance.choice(records)


def test_random_records_come_back_as_they_were_written() -> None:
    """Two thousand random records of all kinds survive the round trip."""
    chance = random.Random(20261126)
    for _ in range(2_000):
        record = _random_record(chance)
        assert decode(encode(record), "here") == record


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    """Times are stored in UTC, so that a server in another zone reads the same moment."""
    there = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    record = decode(encode(Rows(at=there, digest="d")), "here")
    assert record.at == AT
    assert record.at.utcoffset() == timedelta(0)


@pytest.mark.parametrize("count", [1_000, 5_000, 10_000])
def test_an_intent_takes_eleven_characters_a_person(count: int) -> None:
    """A batch of 5,000 people stays under the 65,535 bytes of one value in Airflow's store."""
    chance = random.Random(count)
    people = array("q", [chance.randint(LEAST, MOST) for _ in range(count)])
    text = encode(Intent(id="a1b2c3-1", at=AT, content="t" * 100, people=people))
    assert len(text) <= 11 * count + 400
    if count == 5_000:
        assert len(text) < 65_535


def test_a_result_for_all_takes_no_positions() -> None:
    """The usual result, everybody accepted, has the same size however many people the call had."""
    assert len(encode(Result(id="a1b2c3-1", at=AT, verdicts={Verdict.ACCEPTED: None}))) < 120
    one_refused = {Verdict.ACCEPTED: sorted(set(range(10_000)) - {4_711}), Verdict.REFUSED: [4_711]}
    assert len(encode(Result(id="a1b2c3-1", at=AT, verdicts=one_refused))) < 160


def test_the_stored_form_stays_as_it_is() -> None:
    """Records that an attempt of today has written can be read by later versions."""
    intent = '{"v": 1, "at": "2026-11-03T06:20:12.345+00:00", "kind": "intent", "id": "a1b2c3-1", "content": "t", "people": "AAAAAAAAAAE="}'
    assert decode(intent, "here") == Intent(id="a1b2c3-1", at=AT, content="t", people=array("q", [1]))
    result = '{"v": 1, "at": "2026-11-03T06:20:12.345+00:00", "kind": "result", "id": "a1b2c3-1", "accepted": "0-2 4", "refused": "3"}'
    assert decode(result, "here") == Result(
        id="a1b2c3-1", at=AT, verdicts={Verdict.ACCEPTED: [0, 1, 2, 4], Verdict.REFUSED: [3]}
    )


VALID = {
    "intent": json.loads(encode(RECORDS[5])),
    "result": json.loads(encode(RECORDS[9])),
    "opening": json.loads(encode(RECORDS[1])),
}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "null",
        "[]",
        "7",
        '"intent"',
        "{}",
        "\x00garbage",
        encode(RECORDS[5])[:-40],
        json.dumps({**VALID["intent"], "v": 2}),
        json.dumps({**VALID["intent"], "v": None}),
        json.dumps({**VALID["intent"], "kind": "later"}),
        json.dumps({**VALID["intent"], "kind": ["intent"]}),
        json.dumps({**VALID["intent"], "people": "AAAA"}),
        json.dumps({**VALID["intent"], "people": "not base 64 at all!"}),
        json.dumps({**VALID["intent"], "people": None}),
        json.dumps({**VALID["intent"], "people": [1, 2]}),
        json.dumps({**VALID["intent"], "params": "AAAA"}),
        json.dumps({**VALID["intent"], "at": "yesterday"}),
        json.dumps({**VALID["intent"], "at": "2026-11-03T06:20:12"}),
        json.dumps({**VALID["intent"], "at": "0001-01-01T00:00:00+23:59"}),
        json.dumps({**VALID["intent"], "due": 7}),
        json.dumps({**VALID["result"], "accepted": "1-"}),
        json.dumps({**VALID["result"], "accepted": "one"}),
        json.dumps({**VALID["result"], "accepted": 7}),
        json.dumps({**VALID["result"], "detail": 7}),
        json.dumps({**VALID["result"], "accepted": "-3"}),
        json.dumps({**VALID["result"], "accepted": "5-2"}),
        json.dumps({**VALID["result"], "accepted": "0-99999999999999"}),
        json.dumps({**VALID["opening"], "at": None}),
        json.dumps({**VALID["opening"], "session": None}),
        json.dumps({**VALID["opening"], "person": "me"}),
        json.dumps({name: value for name, value in VALID["intent"].items() if name != "id"}),
        "[" * 100_000,
    ],
    ids=range(34),
)
def test_an_entry_that_cannot_be_read_names_its_place_and_the_way_out(text: str) -> None:
    """A damaged entry stops the send, and the error says where it is and what to do, not what is in it."""
    with pytest.raises(WatiConfigurationError) as refused:
        decode(text, "/state/wati_send_1/-/000003-a1b2c3.json")
    said = str(refused.value)
    assert said.startswith("The journal entry /state/wati_send_1/-/000003-a1b2c3.json cannot be read (")
    assert "Nothing is sent" in said
    assert "Restore the entry" in said
    assert "another send_key" in said
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_entries_damaged_at_random_are_refused_or_read() -> None:
    """Whatever bytes a damaged entry has, reading it gives a record or the one error, and no other exception."""
    chance = random.Random(7)
    texts = [encode(record) for record in RECORDS]
    refused = 0
    for _ in range(3_000):
        text = list(chance.choice(texts))
        for _ in range(chance.randrange(1, 4)):
            place = chance.randrange(len(text))
            text[place : place + chance.randrange(3)] = chance.choices('0-9 "{}:,ax\\', k=chance.randrange(3))
        try:
            decode("".join(text), "here")
        except WatiConfigurationError:
            refused += 1
    assert refused > 300
