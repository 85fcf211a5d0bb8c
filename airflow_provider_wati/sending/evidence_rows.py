"""The rows that wait for evidence: what WATI lists, and what is decided."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_wati.sending.journal_codec import Verdict
from airflow_provider_wati.sending.journal_rows import CANCELLED, JournalRows
from airflow_provider_wati.sending.reconciler import PRECEDENCE, Decision, Listed, has_params
from airflow_provider_wati.sending.row_mapping import ID_PREFIX, params_of
from airflow_provider_wati.sending.row_tables import MAY_HAVE_IT, WITHOUT_MESSAGE, end_as
from airflow_provider_wati.tables.outcomes import SendStatus
from airflow_provider_wati.tables.scratch_db import bulk_write

if TYPE_CHECKING:
    from airflow_provider_wati.sending.queue import Batch

EVIDENCE_TABLES = """
CREATE TABLE pending (
    row INTEGER, call INTEGER, position INTEGER, listed TEXT NOT NULL DEFAULT 'no', campaign INTEGER,
    decision INTEGER, reason TEXT,
    PRIMARY KEY (row, call)
) WITHOUT ROWID;
CREATE TABLE settled (row INTEGER PRIMARY KEY, decision INTEGER, call INTEGER, campaign INTEGER, reason TEXT);
CREATE TABLE listed (
    call INTEGER, recipient TEXT, kind TEXT, dedupe_key TEXT, local_message_id TEXT, state TEXT, campaign INTEGER,
    params TEXT, keyed INTEGER,
    PRIMARY KEY (call, recipient, kind)
) WITHOUT ROWID;
CREATE INDEX listed_ids ON listed (local_message_id, call);
CREATE INDEX listed_names ON listed (dedupe_key, call);
CREATE TEMP TABLE found (row INTEGER, recipient TEXT, state TEXT, campaign INTEGER);
CREATE INDEX temp.found_rows ON found (row);
CREATE INDEX temp.found_recipients ON found (recipient);
CREATE TEMP TABLE named (row INTEGER, dedupe_key TEXT, recipient TEXT, state TEXT, campaign INTEGER);
"""

#: Rows without a message, among them those that wait for the evidence about another call.
_MAY_WAIT = f"({WITHOUT_MESSAGE} OR row IN (SELECT row FROM pending))"
#: People whose listed messages have no ids of the rows, and are not alike or too few: any may be another row's.
_UNTOLD_PEOPLE = (
    "SELECT dedupe_key FROM named GROUP BY dedupe_key "
    "HAVING COUNT(DISTINCT state) > 1 OR COUNT(DISTINCT recipient) < COUNT(DISTINCT row)"
)


@dataclass(frozen=True, slots=True)
class ListedRecipient:
    """
    A recipient that a campaign of WATI's lists.

    :param id: tells it from the others of the campaign.
    :param names: the forms under which the person is known: dedupe keys by kind (phone, contact, bsuid).
    :param local_message_id: the id that the message was sent with, if WATI shows it.
    :param state: what the list says about the message.
    :param params: the template's parameters by name, as far as WATI shows them.
    :param keyed: whether it was sent with a key; None where WATI does not show it.
    """

    id: str
    names: Mapping[str, str]
    local_message_id: str
    state: Listed
    params: Mapping[str, str] = field(default_factory=dict)
    keyed: bool | None = None


class EvidenceRows(JournalRows):
    """The part of a send's queue that waits for evidence."""

    def await_closed(self, calls: Mapping[int, int]) -> None:
        """
        Let rows that were closed unresolved in an earlier attempt wait for one look more: WATI may show them by now.

        :param calls: the number of each call, and the number of what is looked for.
        """
        self._db.executemany(
            "INSERT OR IGNORE INTO pending (row, call, position) SELECT row, ?, position FROM journal JOIN rows "
            f"USING (person) WHERE {_MAY_WAIT} AND verdict = {Verdict.CLOSED_UNRESOLVED} AND call = ?",
            ((awaited, call) for call, awaited in calls.items()),
        )
        self._await_evidence()

    def await_all(self, call: int, *, known_too: bool = True) -> None:
        """
        Let all rows to be sent wait for evidence about one call that nothing is known of.

        :param call: the number of the call.
        :param known_too: whether also rows that calls of the journal name and that have no message by them: somebody else
            may have sent it since.
        """
        self._index_people()
        waiting = (
            _MAY_WAIT
            if known_too
            else f"{WITHOUT_MESSAGE} AND person NOT IN (SELECT person FROM journal "
            f"WHERE verdict NOT IN ({Verdict.REFUSED}, {Verdict.CLOSED_UNRESOLVED}))"
        )
        self._db.execute(
            f"INSERT OR IGNORE INTO pending (row, call, position) SELECT row, ?, 0 FROM rows WHERE {waiting}",
            (call,),
        )
        self._await_evidence()

    def await_evidence(self, batch: Batch, call: int, positions: Iterable[int], reason: str) -> None:
        """Let the messages at some positions of a batch wait for evidence about their call."""
        rows = [(batch.rows[position], call, position) for position in positions]
        self._db.executemany("INSERT OR REPLACE INTO pending (row, call, position) VALUES (?, ?, ?)", rows)
        self._db.executemany(
            "UPDATE rows SET status = 'unknown', reason = ? WHERE row = ?",
            ((reason, row) for row, _, _ in rows),
        )

    def pending_calls(self) -> set[int]:
        """Return the calls that rows wait for."""
        return {call for (call,) in self._db.execute("SELECT DISTINCT call FROM pending")}

    def add_listed(self, call: int, campaign: int, people: Iterable[ListedRecipient]) -> None:
        """Note recipients that a campaign of a call lists."""
        with bulk_write(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO listed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (
                        call,
                        f"{campaign} {person.id}",
                        kind,
                        name,
                        person.local_message_id,
                        person.state.value,
                        campaign,
                        json.dumps(person.params) if self.compares_params else None,
                        person.keyed,
                    )
                    for person in people
                    for kind, name in (person.names or {"": ""}).items()
                ),
            )

    def match_listed(self, call: int, people: int | None) -> None:
        """
        Find the rows that a call's campaigns list: by local message id, else by person.

        An id that a row brings along counts for nothing where WATI names somebody else under it. Where rows have keys,
        what is listed under another id of this send is another message, and a person whose id WATI does not show is found
        only if all messages of the call are listed, because the listed one may be another message to the person, whose
        row is gone by now. Nor is anybody found whose messages differ, or are fewer than the rows.

        :param people: the number of messages of the call; None if nothing is known of it.
        """
        self._db.execute("DELETE FROM found")
        self._db.execute("DELETE FROM named")
        self._db.execute(
            "INSERT INTO found SELECT DISTINCT rows.row, recipient, state, listed.campaign FROM pending "
            "JOIN rows USING (row) JOIN listed INDEXED BY listed_ids ON listed.call = pending.call "
            "AND listed.local_message_id = rows.local_message_id WHERE pending.call = ? AND (NOT has_own_id "
            "OR NOT EXISTS (SELECT 1 FROM listed AS name WHERE name.call = listed.call "
            "AND name.recipient = listed.recipient AND name.kind = CASE WHEN instr(rows.dedupe_key, '.') THEN 'bsuid' "
            "WHEN length(rows.dedupe_key) = 24 THEN 'contact' ELSE 'phone' END AND name.dedupe_key <> rows.dedupe_key))",
            (call,),
        )
        self._db.execute(
            "INSERT INTO named SELECT DISTINCT rows.row, rows.dedupe_key, recipient, state, listed.campaign FROM pending "
            "JOIN rows USING (row) JOIN listed INDEXED BY listed_names ON listed.call = pending.call "
            "AND listed.dedupe_key = rows.dedupe_key "
            "WHERE pending.call = ? AND rows.row NOT IN (SELECT row FROM found) "
            "AND recipient NOT IN (SELECT recipient FROM found) "
            f"AND ({not self.has_keys:d} OR has_own_id OR ({people is None:d} AND listed.keyed = 0) "
            "OR length(listed.local_message_id) <> 32 "
            "OR substr(listed.local_message_id, 1, ?) <> substr(rows.local_message_id, 1, ?))",
            (call, ID_PREFIX, ID_PREFIX),
        )
        state = self._state_of_named(call, people) if self.has_keys else "state"
        self._db.execute(f"INSERT INTO found SELECT row, recipient, {state}, campaign FROM named")
        if people is None and self.compares_params:
            self._set_other_params_apart(call)
        # Of several listed messages of one row, one that reaches the person decides.
        self._db.execute(
            "UPDATE pending SET (listed, campaign) = (SELECT state, campaign FROM found WHERE found.row = pending.row "
            "ORDER BY state = 'failed', state IN ('unclear', 'other parameters'), state = 'cancelled' LIMIT 1) "
            "WHERE call = ? AND row IN (SELECT row FROM found)",
            (call,),
        )

    def _state_of_named(self, call: int, people: int | None) -> str:
        """Return, as SQL, what the list says about rows that are found by person, and may share the person."""
        if people is None or self._count_listed(call) < people:
            return "'unclear'"
        return f"CASE WHEN dedupe_key IN ({_UNTOLD_PEOPLE}) THEN 'unclear' ELSE state END"

    def listed_keyed(self, call: int) -> bool | None:
        """
        Return whether what a call's campaigns list was sent with keys; None where WATI does not show it.

        That it was is only known of people who are named as they are listed: WATI may write a number in another form
        than the one that an id was made of.

        :param call: the number of the call.
        """
        reached = f"listed.call = ? AND listed.state = '{Listed.YES.value}'"
        if self._has(f"SELECT 1 FROM listed WHERE {reached} AND keyed = 0", call):
            return False
        query = (
            "SELECT 1 FROM pending JOIN rows USING (row) JOIN listed INDEXED BY listed_names "
            "ON listed.call = pending.call AND listed.dedupe_key = rows.dedupe_key "
            f"WHERE {reached} AND listed.keyed"
        )
        return True if not self.has_keys and self._has(query, call) else None

    def lists_message(self, call: int) -> bool:
        """Return whether a campaign of a call lists a message that has arrived or may yet arrive."""
        return self._has(f"SELECT 1 FROM listed WHERE call = ? AND state = '{Listed.YES.value}'", call)

    def _has(self, query: str, call: int) -> bool:
        return self._db.execute(f"{query} LIMIT 1", (call,)).fetchone() is not None

    def _count_listed(self, call: int) -> int:
        return self._number(f"SELECT COUNT(DISTINCT recipient) FROM listed WHERE call = {call}")

    def _set_other_params_apart(self, call: int) -> None:
        """Tell what other mapped tasks sent to the same people from the messages of the rows, by the parameters."""
        found = self._db.execute(
            "SELECT DISTINCT row, recipient, params FROM found JOIN listed USING (recipient) WHERE call = ? ORDER BY row",
            (call,),
        )
        others = [
            (Listed.OTHER_PARAMS.value, row, recipient)
            for row, recipient, params in found
            if not has_params(json.loads(params), params_of(self._body(row)))
        ]
        self._db.executemany("UPDATE found SET state = ? WHERE row = ? AND recipient = ?", others)

    def cancel(self, call: int, campaign: int) -> None:
        """
        Note that the one campaign of a call was cancelled: who has no message by now gets none.

        It comes after :meth:`match_listed`. Rows that may have a message which the campaign lists stay as they are.
        """
        self._db.execute(
            "UPDATE pending SET listed = 'cancelled', campaign = ? WHERE call = ? AND listed <> 'yes' "
            "AND row NOT IN (SELECT row FROM named WHERE state = 'yes')",
            (campaign, call),
        )

    def decide_about(
        self, call: int, decisions: Mapping[Listed, Decision], reasons: Mapping[Listed, str]
    ) -> None:
        """
        Take the decisions about one call.

        :param decisions: what to do, by what WATI lists.
        :param reasons: why an outcome is not known, likewise.
        """
        self._db.executemany(
            "UPDATE pending SET decision = ?, reason = ? WHERE call = ? AND listed = ?",
            (
                (PRECEDENCE.index(decision), reasons.get(listed), call, listed.value)
                for listed, decision in decisions.items()
            ),
        )

    def combine_decisions(self) -> dict[Decision, int]:
        """Combine the decisions about all calls that a row waits for, and count the rows by decision."""
        self._db.execute("DELETE FROM settled")
        # SQLite takes the other columns from the row that has the minimum.
        self._db.execute(
            "INSERT INTO settled SELECT row, MIN(decision), call, campaign, reason FROM pending "
            "WHERE decision IS NOT NULL GROUP BY row"
        )
        found = self._db.execute("SELECT decision, COUNT(*) FROM settled GROUP BY decision")
        return {PRECEDENCE[rank]: count for rank, count in found}

    def resolved(self, call: int) -> dict[Decision, list[int]]:
        """Return the positions in a call by decision; a row is sent again only if all its calls allow it."""
        positions: dict[Decision, list[int]] = {}
        send = PRECEDENCE.index(Decision.SEND)
        for rank, position in self._db.execute(
            "SELECT pending.decision, position FROM pending JOIN settled USING (row) WHERE pending.call = ? "
            f"AND (pending.decision <> {send} OR settled.decision = {send}) ORDER BY position",
            (call,),
        ):
            positions.setdefault(PRECEDENCE[rank], []).append(position)
        return positions

    def found(self, call: int, decision: Decision) -> dict[int, list[int]]:
        """Return the people with a decision because of a call, by the campaign that lists them."""
        people: dict[int, list[int]] = {}
        for campaign, person in self._db.execute(
            "SELECT settled.campaign, person FROM settled JOIN rows USING (row) "
            "WHERE settled.call = ? AND settled.decision = ?",
            (call, PRECEDENCE.index(decision)),
        ):
            people.setdefault(campaign, []).append(person)
        return people

    def released(self, call: int) -> list[int]:
        """Return the people who may be sent to because WATI does not show a call, or lists their messages as failed."""
        query = (
            "SELECT person FROM settled JOIN rows USING (row) WHERE settled.call = ? AND settled.decision = ?"
        )
        return [person for (person,) in self._db.execute(query, (call, PRECEDENCE.index(Decision.SEND)))]

    def settle(self, first_sends: Collection[int], unrecorded: Collection[int] = ()) -> None:
        """
        Give waiting rows the status that the combined decision allows.

        :param first_sends: calls of which it is not known that they ever were: sending after them is no second time.
        :param unrecorded: calls that no journal has, of which nothing says that they named a person.
        """
        with bulk_write(self._db):
            for rank, decision in enumerate(PRECEDENCE):
                status, reason = _SETTLED.get(decision, (SendStatus.UNKNOWN, None))
                self._db.execute(
                    "UPDATE rows SET status = ?, reason = CASE WHEN ? THEN ? ELSE settled.reason END, "
                    "campaign = settled.campaign FROM settled WHERE settled.row = rows.row AND settled.decision = ?",
                    (status.value, decision in _SETTLED, reason, rank),
                )
            again = ", ".join(map(str, first_sends))
            self._db.execute(
                "UPDATE rows SET resend = 1, reason = NULL, campaign = NULL WHERE status = 'unsent' "
                f"AND row IN (SELECT row FROM pending WHERE call NOT IN ({again}))"
            )
            self._leave_unresolved(", ".join(map(str, unrecorded)))

    def _leave_unresolved(self, unrecorded: str) -> None:
        """End the waiting of decided rows; what may have reached a person stays unknown where nothing is sent again."""
        send = PRECEDENCE.index(Decision.SEND)
        self._db.execute(
            "UPDATE rows SET unresolved = 1 WHERE status IN ('unsent', 'skipped') AND row IN "
            f"(SELECT row FROM pending WHERE decision = {send} AND call NOT IN ({unrecorded}))"
        )
        # First: rows that become unknown below wait for nothing more.
        self._db.execute("DELETE FROM pending WHERE row IN (SELECT row FROM rows WHERE status <> 'unknown')")
        self._db.execute(
            f"UPDATE rows SET {end_as('invalid', 'unsendable.reason')} FROM unsendable "
            "WHERE unsendable.row = rows.row AND status = 'unsent'"
        )
        self._db.execute("DELETE FROM unsendable WHERE row NOT IN (SELECT row FROM pending)")
        self._db.executemany(
            "UPDATE rows SET status = 'unknown', reason = ? WHERE unresolved AND status = ? "
            "AND row IN (SELECT row FROM settled WHERE decision = ?)",
            (
                (f"{MAY_HAVE_IT}{why}", _SETTLED[decision][0].value, PRECEDENCE.index(decision))
                for decision, why in _SECOND_CALL.items()
            ),
        )


_SETTLED: Mapping[Decision, tuple[SendStatus, str | None]] = {
    Decision.ACCEPTED: (SendStatus.ACCEPTED, None),
    Decision.REFUSED: (SendStatus.REJECTED, "WATI lists the message as failed"),
    Decision.CANCELLED: (SendStatus.SKIPPED, CANCELLED),
    Decision.SEND: (SendStatus.UNSENT, None),
}
#: The same of the second call, where the first one is unresolved.
_SECOND_CALL: Mapping[Decision, str] = {
    Decision.REFUSED: "WATI lists the message of the second call as failed",
    Decision.CANCELLED: "the campaign of the second call was cancelled in WATI",
}
