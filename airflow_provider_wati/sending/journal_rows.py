"""The rows as the journal knows them: who has a message, and whose call is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from airflow_provider_wati.sending.journal_codec import PARAMS_DIGEST, Verdict
from airflow_provider_wati.sending.numbered_calls import CallKind, kind_of
from airflow_provider_wati.sending.row_mapping import digest_of_params
from airflow_provider_wati.sending.row_tables import WITHOUT_MESSAGE, RowTables
from airflow_provider_wati.sending.siblings import OtherParams
from airflow_provider_wati.tables.scratch_db import bulk_write

if TYPE_CHECKING:
    from airflow_provider_wati.sending.journal import Entry

JOURNAL_TABLES = """
CREATE TABLE journal (person INTEGER, verdict INTEGER, campaign INTEGER, call INTEGER, position INTEGER);
CREATE TABLE unsendable (row INTEGER PRIMARY KEY, reason TEXT);
"""

CANCELLED = "its campaign was cancelled in WATI: give another send_key to send it"
_OTHER_PARAMS = (
    "another mapped task has sent this person a message with other parameters, which may be this one before they changed: "
    "if it is another message, give a key_column or another send_key"
)
#: Why rows wait while their call is reconciled; replaced by the decision's reason.
_AMBIGUOUS = "an earlier call may have sent it"


class JournalRows(RowTables):
    """The part of a send's queue that is compared with the journal."""

    def look_up(
        self,
        calls: Mapping[int, Entry],
        campaigns: Mapping[int, int],
        other_params: OtherParams = OtherParams.SAME_MESSAGE,
    ) -> None:
        """
        Compare the rows with the journal: a set look-up, whatever order the rows have now.

        An accepted row is accepted, also when it could not be sent any more. A row in an open call is ``unknown`` until
        :meth:`settle`, likewise. A row that was closed unresolved is ``unsent``, for the last time.

        :param calls: the calls by number.
        :param campaigns: the number of each call's campaign, as :meth:`add_campaign` gave it.
        :param other_params: what other parameters mean in the calls of other tasks.
        """
        if not calls:
            return
        self._index_people()
        with bulk_write(self._db):
            for call, entry in calls.items():
                campaign = campaigns[call]
                self._db.executemany(
                    "INSERT INTO journal VALUES (?, ?, ?, ?, ?)",
                    (
                        (person, verdict, campaign, call, position)
                        for position, (person, verdict) in enumerate(
                            zip(entry.intent.people, entry.verdicts, strict=True)
                        )
                    ),
                )
        self._db.execute("CREATE INDEX journal_people ON journal (person, verdict)")
        others = [] if other_params is OtherParams.SAME_MESSAGE else self._take_other_messages_out(calls)
        self._accept_known()
        self._db.execute(
            "UPDATE rows SET status = 'skipped', reason = ?, campaign = journal.campaign FROM journal "
            f"WHERE journal.person = rows.person AND journal.verdict = {Verdict.CANCELLED} AND rows.status = 'unsent'",
            (CANCELLED,),
        )
        self._db.execute(
            f"UPDATE rows SET resend = 1 WHERE status = 'unsent' AND person IN "
            f"(SELECT person FROM journal WHERE verdict = {Verdict.CLOSED_UNRESOLVED})"
        )
        self._db.execute(
            "INSERT OR IGNORE INTO pending (row, call, position) SELECT row, call, position FROM rows "
            f"JOIN journal USING (person) WHERE {WITHOUT_MESSAGE} AND verdict = {Verdict.OPEN}"
        )
        self._await_evidence()
        if other_params is OtherParams.UNDECIDED and others:
            self.has_undecided_params = True
            self._db.executemany(
                "UPDATE rows SET status = 'unknown', reason = ? WHERE row = ? AND status IN ('unsent', 'invalid')",
                ((_OTHER_PARAMS, row) for row in others),
            )

    def _take_other_messages_out(self, calls: Mapping[int, Entry]) -> list[int]:
        """
        Take the messages of other tasks out of the journal whose parameters are not those of the rows.

        :return: the rows.
        """
        rows: list[int] = []
        others: list[tuple[int, int]] = []
        for row, call, position in self._db.execute(
            f"SELECT row, call, position FROM rows JOIN journal USING (person) WHERE call < 0 AND {WITHOUT_MESSAGE} "
            f"AND verdict <> {Verdict.REFUSED} ORDER BY row"
        ).fetchall():
            params, body = calls[call].intent.params, self._body(row)
            theirs = params[position * PARAMS_DIGEST : (position + 1) * PARAMS_DIGEST]
            if kind_of(call) is CallKind.SIBLING and theirs and body and theirs != digest_of_params(body):
                rows.append(row)
                others.append((call, position))
        self._db.executemany("DELETE FROM journal WHERE call = ? AND position = ?", others)
        return rows

    def _accept_known(self) -> None:
        """Accept the rows whose messages the journal has as accepted."""
        self._db.execute(
            "UPDATE rows SET status = 'accepted', reason = NULL, campaign = journal.campaign FROM journal "
            f"WHERE journal.person = rows.person AND journal.verdict = {Verdict.ACCEPTED} AND {WITHOUT_MESSAGE}"
        )

    def open_without_row(self) -> dict[int, dict[int, int]]:
        """Return the messages of open calls for which no row waits, by call: the person's hash and the position."""
        messages: dict[int, dict[int, int]] = {}
        for call, person, position in self._db.execute(
            f"SELECT call, person, position FROM journal WHERE verdict = {Verdict.OPEN} AND call >= 0 "
            "AND NOT EXISTS (SELECT 1 FROM rows JOIN pending USING (row) "
            "WHERE rows.person = journal.person AND pending.call = journal.call) "
            f"AND person NOT IN (SELECT person FROM journal WHERE verdict = {Verdict.ACCEPTED})"
        ):
            messages.setdefault(call, {})[person] = position
        return messages

    def accept_without_row(self, call: int, campaign: int, people: Iterable[int]) -> None:
        """
        Note that a campaign lists messages for which no row waits.

        :param call: the number of the call.
        :param campaign: the number of the campaign.
        :param people: their hashes.
        """
        self._db.executemany(
            f"UPDATE journal SET verdict = {Verdict.ACCEPTED}, campaign = ? WHERE person = ? AND call = ?",
            ((campaign, person, call) for person in people),
        )

    def count_earlier(self) -> int:
        """Count accepted messages in the journal whose rows are gone now."""
        return self._number(
            f"SELECT COUNT(DISTINCT person) FROM journal WHERE verdict = {Verdict.ACCEPTED} AND call >= 0 "
            "AND person NOT IN (SELECT person FROM rows WHERE status = 'accepted' AND person IS NOT NULL)"
        )

    def moved_people(self) -> dict[int, list[int]]:
        """Return the people by campaign who are accepted because of a call of another mapped task."""
        people: dict[int, list[int]] = {}
        for campaign, person in self._db.execute(
            "SELECT rows.campaign, rows.person FROM rows JOIN journal USING (person, campaign) "
            f"WHERE rows.status = 'accepted' AND journal.call < 0 AND verdict = {Verdict.ACCEPTED} "
            f"AND person NOT IN (SELECT person FROM journal WHERE call >= 0 AND verdict = {Verdict.ACCEPTED})"
        ):
            people.setdefault(campaign, []).append(person)
        return people

    def _await_evidence(self) -> None:
        self._db.execute(
            "INSERT INTO unsendable SELECT row, reason FROM rows "
            "WHERE status = 'invalid' AND row IN (SELECT row FROM pending)"
        )
        self._db.execute(
            "UPDATE rows SET status = 'unknown', reason = ? "
            "WHERE status IN ('unsent', 'invalid') AND row IN (SELECT row FROM pending)",
            (_AMBIGUOUS,),
        )
