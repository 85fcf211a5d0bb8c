"""Which rows a received status changes, and when campaigns rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_wati.extracting.campaign_recipients import Look, is_look_due
from airflow_provider_wati.extracting.received_statuses import (
    STATISTICS_PAUSE,
    can_find,
    changed_rows,
    lookups_of,
    row_of,
)
from airflow_provider_wati.listening.values import written_time

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def row(id: str = "r", **changes: Any) -> dict[str, Any]:
    flags = dict.fromkeys(("is_sent", "is_delivered", "is_read", "is_replied", "is_failed"), False)
    plain = {"status": "queued", "failed_code": None, "failed_detail": None, "extracted_at": "before"}
    ids = {"id": id, "local_message_id": None, "message_id": None}
    return {**ids, **plain, **flags, **changes}


def status(word: str, **ids: Any) -> Any:
    return {"status": word, "created": None, **ids}


def test_a_status_climbs_with_its_stages() -> None:
    """A read message was sent and delivered, and the row says when it was written."""
    [changed] = changed_rows(
        [row(message_id="wamid.1")], [status("read", whatsapp_message_id="wamid.1")], "now"
    )
    assert changed == row(
        message_id="wamid.1", status="read", is_sent=True, is_delivered=True, is_read=True, extracted_at="now"
    )


def test_statuses_in_any_order_and_repeated_end_the_same() -> None:
    """What comes late or twice takes nothing back, and changes nothing where it says nothing new."""
    events = [status(word, local_message_id="a") for word in ("read", "sent", "delivered", "read", "sent")]
    [changed] = changed_rows([row(local_message_id="a")], events, "now")
    assert changed["status"] == "read"
    assert changed_rows([changed], events, "later") == []


def test_a_row_without_its_status_is_unchanged_by_what_it_has() -> None:
    """Where ``columns`` leaves the status out, a status that the flags have already changes nothing."""
    kept = {"id": "r", "local_message_id": "a", "is_read": True, "extracted_at": "before"}
    assert changed_rows([kept], [status("read", local_message_id="a")], "now") == []
    [changed] = changed_rows([{**kept, "is_read": False}], [status("read", local_message_id="a")], "now")
    assert changed == {**kept, "extracted_at": "now"}


def test_a_failure_brings_its_code_and_reason_and_is_final() -> None:
    """The code and the reason of a failure are filled in, and stay when another status comes."""
    failed = status("failed", local_message_id="a", failed_code="131026", failed_detail="no WhatsApp")
    [changed] = changed_rows(
        [row(local_message_id="a")], [failed, status("delivered", local_message_id="a")], "now"
    )
    told = {name: changed[name] for name in ("status", "is_failed", "failed_code", "failed_detail")}
    assert told == {
        "status": "failed",
        "is_failed": True,
        "failed_code": "131026",
        "failed_detail": "no WhatsApp",
    }


def test_a_message_that_is_sent_again_does_not_change_the_failed_one() -> None:
    """What failed without an id of its own takes no progress and no id of a message with the same local id."""
    failed = row(local_message_id="a", status="failed", is_failed=True)
    again = {"local_message_id": "a", "id": "66b2531d4931581381944612", "whatsapp_message_id": "wamid.2"}
    assert changed_rows([failed], [status("sent", **again), status("delivered", **again)], "now") == []
    # The reason of the failure itself comes in.
    [changed] = changed_rows([failed], [status("failed", **again, failed_detail="no WhatsApp")], "now")
    assert changed["failed_detail"] == "no WhatsApp"
    # Once the second message is listed, its statuses are its own.
    listed = row("r2", local_message_id="a", message_id="wamid.2", status="sent", is_sent=True)
    [changed] = changed_rows([failed, listed], [status("read", **again)], "now")
    assert (changed["id"], changed["status"]) == ("r2", "read")


def test_the_id_of_the_message_is_filled_in_and_found_by_the_next() -> None:
    """A row that was pending gets the id of its message, by which a later status finds it."""
    events = [
        status("sent", local_message_id="a", whatsapp_message_id="wamid.1"),
        status("delivered", whatsapp_message_id="wamid.1"),
    ]
    [changed] = changed_rows([row(local_message_id="a")], events, "now")
    assert (changed["message_id"], changed["status"]) == ("wamid.1", "delivered")


@pytest.mark.parametrize(
    ("rows", "event", "expected"),
    [
        ([row("r", message_id="wamid.1")], {"whatsapp_message_id": "wamid.1"}, "r"),
        ([row("r", message_id="66b1")], {"id": "66b1"}, "r"),
        ([row("r", local_message_id="a")], {"local_message_id": "a", "id": "66b1"}, "r"),
        # The user has used an id again: the message that is known is another one.
        (
            [row("r", local_message_id="a", message_id="wamid.1")],
            {"local_message_id": "a", "whatsapp_message_id": "wamid.2"},
            None,
        ),
        ([row("r", local_message_id="a", message_id="66b1")], {"local_message_id": "a", "id": "66b2"}, None),
        ([row("r", local_message_id="a"), row("s", local_message_id="a")], {"local_message_id": "a"}, None),
        (
            [row("r", local_message_id="a"), row("s", local_message_id="a", message_id="wamid.1")],
            {"local_message_id": "a", "whatsapp_message_id": "wamid.1"},
            "s",
        ),
        # Ids of two kinds say nothing about each other.
        (
            [row("r", local_message_id="a", message_id="wamid.1")],
            {"local_message_id": "a", "id": "66b2"},
            "r",
        ),
        ([row("r")], {"local_message_id": "", "id": None}, None),
        ([row("r", local_message_id="a")], {"local_message_id": "b"}, None),
    ],
)
def test_which_row_a_status_belongs_to(
    rows: list[dict[str, Any]], event: dict[str, Any], expected: str | None
) -> None:
    """WATI's ids decide, and the user's own id counts where it is clear which message it stands for."""
    found = row_of(rows, status("sent", **event))
    assert (found or {}).get("id") == expected


def test_words_that_are_not_known_change_nothing() -> None:
    """An event of a later version of WATI is no reason to touch a row."""
    known = row(local_message_id="a", status="sent", is_sent=True)
    assert changed_rows([known], [status("levitated", local_message_id="a")], "now") == []


def test_values_are_looked_up_once() -> None:
    """Repeated ids are asked for once, by the columns that may hold them."""
    events = [status("sent", id="m", local_message_id="a"), status("read", id="m", whatsapp_message_id="w")]
    assert lookups_of(events) == {"local_message_id": ["a"], "message_id": ["m", "w"]}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["id", "status", "message_id"], True),
        (["id", "is_read", "local_message_id"], True),
        (["id", "status"], False),
        (["id", "local_message_id"], False),
    ],
)
def test_a_table_needs_a_column_to_find_and_one_to_write(columns: list[str], expected: bool) -> None:
    """Without these, received statuses are of no use."""
    assert can_find(columns) is expected


def look(hours_ago: float, *, is_settled: bool = True) -> Look:
    return Look("x", written_time(NOW), is_settled, "", written_time(NOW - timedelta(hours=hours_ago)))


@pytest.mark.parametrize(
    ("known", "pause", "expected"),
    [
        (None, STATISTICS_PAUSE, True),
        (look(1), None, True),
        (look(1), STATISTICS_PAUSE, False),
        (look(5.9), STATISTICS_PAUSE, False),
        (look(6), STATISTICS_PAUSE, True),
        (look(1, is_settled=False), STATISTICS_PAUSE, True),
        (look(-1), STATISTICS_PAUSE, True),
        (Look("x", written_time(NOW), is_settled=True), STATISTICS_PAUSE, True),
    ],
)
def test_when_a_campaign_is_looked_at(known: Look | None, pause: timedelta | None, expected: bool) -> None:
    """A campaign rests for six hours while events come; a new one, and one whose list lags, never do."""
    assert is_look_due(known, NOW, pause) is expected
