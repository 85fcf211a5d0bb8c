"""Statuses that came by webhook, and the rows of recipients that they belong to; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_wati.extracting.campaign_recipients import CAMPAIGN_RECIPIENTS
from airflow_provider_wati.extracting.rows import EXTRACTED_AT, ID
from airflow_provider_wati.extracting.statuses import STAGES, has_reached, status_of
from airflow_provider_wati.listening.values import text_of

if TYPE_CHECKING:
    from airflow_provider_wati.extracting.rows import Row
    from airflow_provider_wati.listening.types import MessageStatus

#: While events come in, the statistics of a campaign are read again after this at the earliest: events can be lost.
STATISTICS_PAUSE = timedelta(hours=6)
#: The columns by which a row is found.
LOOKUPS = CAMPAIGN_RECIPIENTS.lookups
_PLATFORM = "wamid."


def cursor_name(conn_id: str) -> str:
    """Return the name in a state of how far the statuses of a connection have been read."""
    return f"statuses {conn_id}"


def can_find(columns: Iterable[str]) -> bool:
    """Return whether a table with some columns has one by which a message is found, and one to be written."""
    names = set(columns)
    return bool(names & set(LOOKUPS)) and bool(names & {"status", "is_failed", *(f"is_{s}" for s in STAGES)})


def ids_of(status: MessageStatus) -> dict[str, list[str]]:
    """Return the values by which the row of a status is looked up, by column."""
    messages = (text_of(status.get("whatsapp_message_id")), text_of(status.get("id")))
    local = text_of(status.get("local_message_id"))
    return {"local_message_id": [local] if local else [], "message_id": [id for id in messages if id]}


def changed_rows(rows: Sequence[Row], statuses: Iterable[MessageStatus], now: str) -> list[Row]:
    """
    Return the rows that statuses change, each once, as they are then: a status climbs only.

    :param rows: those that may be meant, as they are stored.
    :param statuses: in any order, and each any number of times.
    :param now: the time for the column ``extracted_at``.
    """
    current = {row[ID]: row for row in rows}
    places: dict[str, set[str]] = {}
    for row in rows:
        _note(places, row)
    changed: dict[str, Row] = {}
    for status in statuses:
        values = (value for each in ids_of(status).values() for value in each)
        near = {id for value in values for id in places.get(value, ())}
        stored = row_of([current[id] for id in near], status)
        if stored is None:
            continue
        merged = CAMPAIGN_RECIPIENTS.merge(stored, _as_listed(stored, status))
        if merged != stored:
            _note(places, merged)
            current[merged[ID]] = merged
            changed[merged[ID]] = {**merged, EXTRACTED_AT: now}
    return list(changed.values())


def _note(places: dict[str, set[str]], row: Row) -> None:
    """Note under which values a row is found."""
    for name in LOOKUPS:
        if value := row.get(name):
            places.setdefault(value, set()).add(row[ID])


def row_of(rows: Sequence[Row], status: MessageStatus) -> Row | None:
    """
    Return the row that a status belongs to; None if there is none, or it is not clear which one.

    The ids of WATI and of WhatsApp decide. The user's own id may have been used again, so it counts only where it is in one
    row, and that one is not of another message.
    """
    ids = ids_of(status)
    exact = [row for row in rows if row.get("message_id") in ids["message_id"]]
    if len(exact) == 1:
        return exact[0]
    local = [row for row in rows if row.get("local_message_id") in ids["local_message_id"]]
    if exact or len(local) != 1 or _is_another(local[0], status):
        return None
    return local[0]


def _is_another(row: Row, status: MessageStatus) -> bool:
    """
    Return whether a status with the local id of a row is of another message.

    Either the row has an id of the same kind as the status, and another one. Or the message of the row has failed without
    ever having an id, so that one which goes on, and has an id, is a repeat.
    """
    message_ids = ids_of(status)["message_id"]
    known = row.get("message_id")
    if known:
        return any(
            id.startswith(_PLATFORM) == known.startswith(_PLATFORM) and id != known for id in message_ids
        )
    has_failed = row.get("is_failed") or row.get("status") == "failed"
    return bool(has_failed and message_ids and status_of(text_of(status["status"])) != "failed")


def _as_listed(stored: Row, status: MessageStatus) -> Row:
    """Return a row as WATI would list it with a status."""
    word = status_of(text_of(status["status"]))
    told = {
        "status": word,
        **{f"is_{stage}": has_reached(word, stage) for stage in STAGES},
        "is_failed": word == "failed",
        "failed_code": text_of(status.get("failed_code")),
        "failed_detail": text_of(status.get("failed_detail")),
        "message_id": stored.get("message_id") or text_of(status.get("whatsapp_message_id")),
    }
    return {name: told.get(name, value) for name, value in stored.items()}


def lookups_of(statuses: Sequence[MessageStatus]) -> Mapping[str, list[str]]:
    """Return all values by which the rows of some statuses are looked up, by column, each once."""
    found: dict[str, dict[str, None]] = {name: {} for name in LOOKUPS}
    for status in statuses:
        for name, values in ids_of(status).items():
            found[name].update(dict.fromkeys(values))
    return {name: list(values) for name, values in found.items()}
