"""The rows of a send with the delivery of their messages: outcomes joined to the recipients that WATI lists."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.responses import has_failed
from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.masking import mask_numbers
from airflow_provider_wati.sending.campaign_index import names_of
from airflow_provider_wati.sending.row_mapping import ID_PREFIX, is_made_id
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS, SendStatus
from airflow_provider_wati.tables.phone_numbers import dedupe_key_of
from airflow_provider_wati.tables.scratch_db import bulk_write, open_scratch_db

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import CampaignRecipient

#: What WATI lists of a recipient, behind the columns of the outcomes.
DELIVERY_COLUMNS = (
    "delivery_status",
    "failed_code",
    "message_id",
    "contact_phone",
    "contact_name",
    "contact_id",
    "bsuid",
    "created",
)
DELIVERED_COLUMNS = (*SEND_COLUMNS, *DELIVERY_COLUMNS)

_TABLES = """
CREATE TABLE plan (
    row INTEGER PRIMARY KEY, key TEXT, target TEXT, status TEXT, reason TEXT, local_message_id TEXT, campaign_id TEXT,
    campaign_name TEXT, person TEXT, has_own_id INTEGER NOT NULL, rank INTEGER NOT NULL, recipient INTEGER
);
CREATE TABLE campaigns (id TEXT PRIMARY KEY, name TEXT);
CREATE TABLE listed (
    recipient INTEGER PRIMARY KEY, campaign_id TEXT, id TEXT, local_message_id TEXT, phone TEXT, contact TEXT,
    bsuid_key TEXT, stage INTEGER, delivery_status TEXT, failed_code TEXT, message_id TEXT, contact_phone TEXT,
    contact_name TEXT, contact_id TEXT, bsuid TEXT, created TEXT, row INTEGER,
    is_of_outcome INTEGER,
    UNIQUE (campaign_id, id)
);
CREATE TEMP TABLE named (recipient INTEGER, row INTEGER);
"""
#: Of several rows with one local message id, the first in this order gets the recipient; a duplicate is skipped or invalid.
_RANKS = {
    SendStatus.ACCEPTED: 0,
    SendStatus.UNKNOWN: 1,
    SendStatus.REJECTED: 2,
    SendStatus.UNSENT: 3,
    SendStatus.SKIPPED: 4,
    SendStatus.INVALID: 5,
}
#: Rows up to this rank may have a message that WATI lists without their local message id.
_LAST_SENT = _RANKS[SendStatus.REJECTED]
_STAGES = ("sent", "delivered", "read", "replied")
_FAILED, _OTHER = 0, 1
_LONGEST_STATUS = 40
_LARGEST_ROW = 2**63 - 1


class DeliveryRows:
    """
    The rows of a send and the recipients of its campaigns, in a scratch database.

    A row has one recipient or none, and a recipient belongs to one row or none.

    :param default_region: how WATI may write phone numbers without a country code.
    """

    def __init__(self, default_region: str | None = None) -> None:
        self._region = default_region
        self._db = open_scratch_db()
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Delete everything."""
        self._db.close()

    def add_outcomes(self, outcomes: Iterable[Mapping[str, Any]]) -> None:
        """
        Store the outcome of each row.

        :param outcomes: rows with ``SEND_COLUMNS``, in any order.
        :raises WatiValidationError: for rows that are not the outcomes of one template send.
        """
        marks = ", ".join("?" * (len(SEND_COLUMNS) + 3))
        columns = f"{', '.join(SEND_COLUMNS)}, person, has_own_id, rank"
        try:
            with bulk_write(self._db):
                self._db.executemany(
                    f"INSERT INTO plan ({columns}) VALUES ({marks})", map(_planned, outcomes)
                )
        except sqlite3.IntegrityError:
            raise WatiValidationError(
                "The outcomes have a row twice: they are those of several tasks or runs. Give the outcomes of one."
            ) from None
        self._db.execute("CREATE INDEX plan_ids ON plan (local_message_id, rank, row)")

    def statuses(self) -> dict[str, int]:
        """Count the rows in each status; ``total`` is their sum."""
        counts = dict(self._db.execute("SELECT status, COUNT(*) FROM plan GROUP BY status").fetchall())
        return {
            "total": sum(counts.values()),
            **{str(status): counts.get(status, 0) for status in SendStatus},
        }

    def campaigns(self) -> dict[str, str | None]:
        """Return the names of the campaigns that the outcomes have, by id."""
        found = self._db.execute(
            "SELECT campaign_id, MIN(campaign_name) FROM plan WHERE campaign_id IS NOT NULL GROUP BY campaign_id "
            "ORDER BY MIN(row)"
        )
        return dict(found.fetchall())

    def add_recipients(
        self, campaign_id: str, campaign_name: str | None, recipients: Iterable[CampaignRecipient]
    ) -> None:
        """
        Store what a campaign lists. A recipient that it lists twice, because the list grew between two pages, counts once.

        :param campaign_id: WATI's id of the campaign.
        :param campaign_name: its name.
        :param recipients: as WATI lists them.
        """
        self._db.execute("INSERT OR REPLACE INTO campaigns VALUES (?, ?)", (campaign_id, campaign_name))
        names = ("campaign_id", "id", "local_message_id", "phone", "contact", "bsuid_key", "stage")
        columns = (*names, *DELIVERY_COLUMNS)
        marks = ", ".join("?" * len(columns))
        with bulk_write(self._db):
            self._db.executemany(
                f"INSERT OR REPLACE INTO listed ({', '.join(columns)}) VALUES ({marks})",
                ((campaign_id, *self._listed(recipient)) for recipient in recipients),
            )

    def _listed(self, recipient: CampaignRecipient) -> tuple[Any, ...]:
        names = names_of(recipient, self._region)
        status = status_of(recipient)
        return (
            recipient.get("id") or None,
            recipient.get("local_message_id") or None,
            *(names.get(kind) for kind in ("phone", "contact", "bsuid")),
            _stage_of(status),
            status,
            *(recipient.get(name) or None for name in DELIVERY_COLUMNS[1:]),
        )

    def join(self) -> None:
        """Find the row of each recipient. Of several recipients of one row, choose the one with the furthest status."""
        self._match_ids()
        self._match_people()
        self._db.execute(
            "UPDATE listed SET is_of_outcome = plan.campaign_id IS listed.campaign_id FROM plan WHERE plan.row = listed.row"
        )
        self._db.execute("CREATE INDEX listed_rows ON listed (row)")
        # A person who got one of several messages has it, so `failed` requires that all have failed.
        self._db.execute(
            "UPDATE plan SET recipient = (SELECT recipient FROM listed WHERE listed.row = plan.row "
            "ORDER BY stage DESC, is_of_outcome DESC, created DESC, recipient LIMIT 1)"
        )
        self._drop_unproven_failures()

    def _drop_unproven_failures(self) -> None:
        """
        Remove the failed recipient from rows whose person has another message that has not failed and matches no row.

        That message may be the row's, from another call. A wrong `failed` could cause a second message to the person.
        """
        if not self._number(f"SELECT EXISTS (SELECT 1 FROM listed WHERE row IS NULL AND stage > {_FAILED})"):
            return
        self._db.execute("CREATE TEMP TABLE may_have_it (name TEXT PRIMARY KEY) WITHOUT ROWID")
        for name in ("phone", "contact", "bsuid_key"):
            self._db.execute(
                f"INSERT OR IGNORE INTO may_have_it SELECT {name} FROM listed "
                f"WHERE row IS NULL AND stage > {_FAILED} AND {name} IS NOT NULL"
            )
        self._db.execute(
            "CREATE TEMP TABLE left_open AS SELECT plan.row FROM plan JOIN listed USING (recipient) "
            f"WHERE stage = {_FAILED} AND (plan.person IN (SELECT name FROM may_have_it) "
            "OR phone IN (SELECT name FROM may_have_it) OR contact IN (SELECT name FROM may_have_it) "
            "OR bsuid_key IN (SELECT name FROM may_have_it))"
        )
        self._db.execute("UPDATE plan SET recipient = NULL WHERE row IN (SELECT row FROM left_open)")
        self._db.execute("UPDATE listed SET row = NULL WHERE row IN (SELECT row FROM left_open)")

    def _match_ids(self) -> None:
        # A row's own id is ignored where WATI lists another person under it: before the rows changed, it may have been
        # that person's.
        self._db.execute(
            "UPDATE listed SET row = (SELECT row FROM plan WHERE plan.local_message_id = listed.local_message_id "
            "AND (NOT has_own_id OR COALESCE(CASE WHEN instr(person, '.') THEN bsuid_key "
            "WHEN length(person) = 24 THEN contact ELSE phone END, person) = person) "
            "ORDER BY rank, row LIMIT 1) WHERE local_message_id IS NOT NULL"
        )

    def _match_people(self) -> None:
        """
        Find rows by person for recipients whose local message id no row has.

        Without keys, a person has one message in a send. With keys, a recipient under another id of the send is another
        message. Without such an id, it matches only if one recipient and one row of the campaign are left for the person.
        """
        if not self._number("SELECT EXISTS (SELECT 1 FROM listed WHERE row IS NULL)"):
            return
        has_keys = self._number("SELECT EXISTS (SELECT 1 FROM plan WHERE key IS NOT NULL)")
        self._db.execute("CREATE INDEX plan_people ON plan (person, rank)")
        condition = ""
        if has_keys:
            self._db.execute(
                "CREATE TEMP TABLE with_id AS SELECT DISTINCT row FROM listed WHERE row IS NOT NULL"
            )
            self._db.execute("CREATE INDEX temp.with_id_rows ON with_id (row)")
            condition = (
                "AND plan.campaign_id = listed.campaign_id AND plan.row NOT IN (SELECT row FROM with_id) "
                "AND (listed.local_message_id IS NULL OR length(listed.local_message_id) <> 32 "
                f"OR substr(listed.local_message_id, 1, {ID_PREFIX}) IS NOT (SELECT "
                f"substr(local_message_id, 1, {ID_PREFIX}) FROM plan WHERE local_message_id IS NOT NULL "
                "AND NOT has_own_id LIMIT 1))"
            )
        self._db.execute(
            "INSERT INTO named SELECT listed.recipient, plan.row FROM listed CROSS JOIN plan "
            "WHERE listed.row IS NULL AND plan.person IN (phone, contact, bsuid_key) AND plan.rank <= ? "
            f"{condition}",
            (_LAST_SENT,),
        )
        ambiguous = ("recipient", "row") if has_keys else ("recipient",)
        for column in ambiguous:
            self._db.execute(
                f"CREATE TEMP TABLE several_{column} AS SELECT {column} FROM named GROUP BY {column} HAVING COUNT(*) > 1"
            )
        for column in ambiguous:
            self._db.execute(f"DELETE FROM named WHERE {column} IN (SELECT {column} FROM several_{column})")
        self._db.execute(
            "UPDATE listed SET row = named.row FROM named WHERE named.recipient = listed.recipient"
        )

    def counts(self) -> dict[str, Any]:
        """
        Count rows and recipients.

        :return: ``total`` (rows) is the sum of ``statuses`` (the delivery status of each row that has a recipient) and
            ``without_delivery``; ``listed`` (recipients) is the sum of ``statuses``, ``repeated`` (a row has another one
            that came further) and ``unmatched`` (no row has them). ``missing`` are accepted rows without a recipient.
        """
        statuses = dict(
            self._db.execute(
                "SELECT delivery_status, COUNT(*) FROM plan JOIN listed USING (recipient) GROUP BY delivery_status "
                "ORDER BY COUNT(*) DESC, delivery_status"
            ).fetchall()
        )
        joined = sum(statuses.values())
        total = self._number("SELECT COUNT(*) FROM plan")
        listed = self._number("SELECT COUNT(*) FROM listed")
        unmatched = self._number("SELECT COUNT(*) FROM listed WHERE row IS NULL")
        return {
            "total": total,
            "statuses": statuses,
            "without_delivery": total - joined,
            "missing": self._number(
                "SELECT COUNT(*) FROM plan WHERE status = 'accepted' AND recipient IS NULL"
            ),
            "listed": listed,
            "repeated": listed - unmatched - joined,
            "unmatched": unmatched,
        }

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield each row in order, with the values of ``DELIVERED_COLUMNS``; the campaign is that of the recipient, if there is one."""
        names = {
            "campaign_id": "COALESCE(listed.campaign_id, plan.campaign_id)",
            "campaign_name": (
                "CASE WHEN listed.campaign_id IS NULL OR listed.campaign_id IS plan.campaign_id "
                "THEN COALESCE(plan.campaign_name, campaigns.name) ELSE campaigns.name END"
            ),
        }
        columns = [names.get(name, f"plan.{name}") for name in SEND_COLUMNS]
        columns += [f"listed.{name}" for name in DELIVERY_COLUMNS]
        with closing(self._db.cursor()) as cursor:
            yield from cursor.execute(
                f"SELECT {', '.join(columns)} FROM plan LEFT JOIN listed USING (recipient) "
                "LEFT JOIN campaigns ON campaigns.id = listed.campaign_id ORDER BY plan.row"
            )

    def _number(self, query: str) -> int:
        number: int = self._db.execute(query).fetchone()[0]
        return number


def status_of(recipient: CampaignRecipient) -> str:
    """Return the status of a recipient in small letters, because WATI's spelling differs; ``unknown`` where it lists none."""
    return (recipient.get("status") or "").strip().casefold()[:_LONGEST_STATUS] or "unknown"


def _stage_of(status: str) -> int:
    """Return how far a message has come, as a number. An unknown status counts as more than failed."""
    if status in _STAGES:
        return _OTHER + 1 + _STAGES.index(status)
    return _FAILED if has_failed(status) else _OTHER


def _planned(outcome: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of a row of the plan."""
    try:
        row, *texts = (outcome[name] for name in SEND_COLUMNS)
    except KeyError as error:
        raise WatiValidationError(
            f"The outcomes have no column {error.args[0]!r}: give those of a template send, with the columns "
            f"{', '.join(SEND_COLUMNS)}."
        ) from None
    # CSV has an empty text where the other formats have null.
    key, target, status, reason, local_id, campaign_id, name = (
        None if text is None or text == "" else str(text) for text in texts
    )
    rank = _RANKS.get(status)  # type: ignore[call-overload] # a status is a text
    number = _number_of(row)
    if number is None or rank is None:
        raise WatiValidationError(
            f"The outcomes have a row {mask_numbers(str(row))[:20]!r} with the status {mask_numbers(str(status))[:20]!r}: "
            "give those of a template send, whose rows are numbered."
        )
    person = dedupe_key_of(target) if target else None
    has_own_id = bool(local_id and person and not is_made_id(local_id, person, key))
    return (number, key, target, status, reason, local_id, campaign_id, name, person, has_own_id, rank)


def _number_of(row: Any) -> int | None:
    text = str(row)
    is_number = not isinstance(row, bool) and text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if is_number and int(text) <= _LARGEST_ROW else None
