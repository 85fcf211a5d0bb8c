"""Base of the operators that send a template to many people."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.operators._base import unredacted
from airflow_provider_wati.operators._files import address, open_rows, read_lines
from airflow_provider_wati.operators._rows import RowsOperator
from airflow_provider_wati.state.sends import grace_of, open_journal
from airflow_provider_wati.state.shards import check_shard_count
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS, SendStatus

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.sending.job import SendJob
    from airflow_provider_wati.sending.row_mapping import RowMapping
    from airflow_provider_wati.state.sends import OpenedJournal
    from airflow_provider_wati.tables.sharding import Shard
    from airflow_provider_wati.tables.values import Row


class WatiBulkSendOperator(RowsOperator):
    """
    Base of the operators that send a template to many people.

    Each person is messaged once, through retries, crashes and Clear: before a call leaves, its people are recorded in the
    send journal, and a later attempt starts from there. See :doc:`/reliability`.

    :param template_name: the exact name of an approved template (templated).
    :param campaign_name: what the campaigns are called in WATI (templated); the template's name if left out. A mark such
        as ``1f3870be274f6c49-5d41d0-1`` stands before it, by which reconciliation finds them.
    :param channel: name or number to send from (templated); the connection's, else WATI's default.
    :param scheduled_at: when WATI is to send it, as a datetime with a time zone or as ISO 8601 text with an
        offset, such as ``2026-12-24T10:00:00+08:00`` (templated); now if left out. One in the past is refused,
        unless nothing is left to send; so is one more than ten years ahead.
    :param batch_size: people per call, 1 to 10,000, which is WATI's limit. Where the journal is in Airflow's own store, a
        call has 5,000 at most.
    :param send_key: names this send, in 1,000 characters at most (templated): an idempotency key. The default is made of
        DAG, run, task, map index and, in a task loop, the iteration. Give one, such as ``promo-{{ ds }}``, for a send that
        several runs share; it needs a ``state_path``. Under ``.expand()`` the map index is added.
    :param dry_run: whether to do everything but send; the summary's ``estimate`` has ``messages``, ``calls``,
        ``seconds`` at the plan's pace, and WATI's ``estimated_cost`` where it gives one.
    :param check_consent: whether to look up who opted out (``allow_broadcast`` is false); their rows are skipped.
    :param consent_max_calls: how many calls that may take; a look-up that needs more fails before anything is sent.
    :param suppress: targets that get nothing: a list, also as JSON, or the URI of a text file with one on each
        line (templated; Airflow stores the number only).
    :param failure_threshold: the share of rows, 0 to 1, that may end rejected, invalid, unknown or unsent
        before the task fails.
    :param on_unknown: ``resend_after_grace``: people of a call whose answer was lost and that WATI does not show within
        the grace are sent to again, once; ``hold``: they are not, and end as unknown (templated).
    :param unknown_grace: the grace, in seconds; else the option ``[wati] unknown_grace``, else 120, or more where a call
        may take that long. It must exceed the two timeouts of the connection together.
    :param outcomes_path: where every row's outcome is written: a local path or an object-storage URI ending in
        ``.csv``, ``.jsonl`` or ``.parquet`` (templated). Mapped tasks need ``{{ ti.map_index }}`` in it.
    :param state_path: a directory or object-storage URI that all workers reach, for the send journal (templated); else
        the option ``[wati] state_path``, else Airflow's own store of the task (3.3 and later), which holds sends of up to
        50,000 people.
    :param send_window: the hours in which people may be messaged, as ``("09:00", "21:00", "Asia/Kolkata")``; a
        send outside them is scheduled for their next opening (templated).
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``send_key``; the counts ``total``, ``accepted``, ``rejected``, ``invalid``, ``skipped``,
        ``unknown``, ``unsent``, of which the first is the sum of the others; ``earlier`` (messages of earlier
        attempts whose rows are gone now); ``campaigns`` (the first 40, ``id``, ``name``, ``accepted`` each) and
        ``more_campaigns``; ``calls``, ``seconds``, ``outcomes`` (the path), and the first 20 ``problems``
        (``row``, ``target`` masked, ``status``, ``reason``). Pushed to XCom also when the task fails.
    :raises WatiValidationError: before anything is sent, for a template that is not approved, an argument with an error,
        or one that a template of Airflow's has left empty; afterwards, when too many rows were invalid.
    :raises WatiConfigurationError: before anything is sent, when the send key was used with another template, channel or
        use of keys; when another task of the run, or an earlier attempt, had another number of shards; when no store can
        keep the journal for a retry, or its limit is too small; when the journal cannot be read.
    :raises WatiRejectedError: when WATI refused too many messages.
    :raises WatiIncompleteError: when some rows were not attempted; the next attempt goes on from there.
    :raises WatiUnknownOutcomeError: when answers were lost; the next attempt reconciles.
    """

    template_fields: Sequence[str] = (
        "template_name",
        "campaign_name",
        "channel",
        "scheduled_at",
        "send_key",
        "suppress",
        "outcomes_path",
        "state_path",
        "send_window",
        "on_unknown",
        "wati_conn_id",
    )
    redacted_fields: ClassVar[Sequence[str]] = ("suppress",)
    key_name = "send_key"
    outcome_columns: ClassVar[Sequence[str]] = SEND_COLUMNS
    statuses: ClassVar[type[StrEnum]] = SendStatus

    def __init__(
        self,
        *,
        template_name: str,
        campaign_name: str | None = None,
        channel: str | None = None,
        scheduled_at: datetime | str | None = None,
        batch_size: int = 1_000,
        send_key: str | None = None,
        check_consent: bool = True,
        consent_max_calls: int = 1_000,
        suppress: Any = None,
        on_unknown: str = "resend_after_grace",
        unknown_grace: float | None = None,
        send_window: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.template_name = template_name
        self.campaign_name = campaign_name
        self.channel = channel
        self.scheduled_at = scheduled_at
        self.batch_size = batch_size
        self.send_key = send_key
        self.check_consent = check_consent
        self.consent_max_calls = consent_max_calls
        self.suppress = suppress
        self.on_unknown = on_unknown
        self.unknown_grace = unknown_grace
        self.send_window = send_window
        self._remember("channel", "scheduled_at", "send_key", "suppress", "send_window")

    def execute(self, context: Context) -> dict[str, Any]:
        self._refuse_empty(("send_key", "state_path"))
        opened = open_journal(
            context,
            send_key=self.send_key,
            account=self.hook.account,
            state_path=self.state_path,
            reads_only=self.is_dry_run,
            clock=self.clock,
        )
        self._check(context)
        shard = self._shard()
        had_other_shards = False
        if shard is not None and not self.is_dry_run:
            had_other_shards = check_shard_count(context, opened, shard.count, self.state_path)
        job = self._job(opened, shard, had_other_shards=had_other_shards)
        with contextlib.closing(job):
            return self._account_for(job, lambda: job.run(self._rows(context)), context, opened.is_overtaken)

    @abstractmethod
    def _rows(self, context: Context) -> Iterable[Row]:
        """Return the rows to send. Their source is closed after the last row."""

    @abstractmethod
    def _mapping(self) -> RowMapping:
        """Return the function that finds target and parameters in a row."""

    def _job(self, opened: OpenedJournal, shard: Shard | None, *, had_other_shards: bool) -> SendJob:
        from airflow_provider_wati.sending.job import ON_UNKNOWN, SendJob
        from airflow_provider_wati.sending.schedule import SendWindow
        from airflow_provider_wati.tables.phone_numbers import TargetReader

        if not isinstance(self.consent_max_calls, int):
            raise WatiValidationError(
                f"consent_max_calls is {self.consent_max_calls!r}: give a whole number."
            )
        if self.on_unknown not in ON_UNKNOWN:
            raise WatiValidationError(
                f"on_unknown is {self.on_unknown!r}: give {' or '.join(map(repr, ON_UNKNOWN))}."
            )
        return SendJob(
            client=self.hook.client,
            template_name=self.template_name,
            campaign_name=self.campaign_name or self.template_name,
            send_key=opened.identity.send_key,
            family=opened.identity.family,
            journal=opened.journal,
            start=opened.start,
            mapping=self._mapping(),
            targets=TargetReader(self.hook.default_region),
            task=opened.task,
            channel=self.channel,
            scheduled_at=self._scheduled_at(),
            send_window=None if self.send_window is None else SendWindow.parse(self.send_window),
            batch_size=self.batch_size,
            suppress=self._suppressed(),
            check_consent=self.check_consent,
            consent_max_calls=self.consent_max_calls,
            dry_run=self.is_dry_run,
            hold=self.on_unknown == "hold",
            unknown_grace=grace_of(self.unknown_grace),
            shard=shard,
            had_other_shards=had_other_shards,
            clock=self.clock,
        )

    def _shard(self) -> Shard | None:
        """Return the part of the people that this task sends to; None for all."""
        return None

    def _suppressed(self) -> Iterable[Any]:
        from airflow_provider_wati.tables.readers import json_of

        suppress = json_of(unredacted(self.suppress), "suppress")
        if suppress is None:
            return ()
        if isinstance(suppress, str):
            return read_lines(address(suppress, "suppress"))
        if not isinstance(suppress, Iterable):
            raise WatiValidationError(
                "suppress is a list of targets, or the URI of a file with one on each line."
            )
        return suppress

    def _scheduled_at(self) -> datetime | None:
        at = self.scheduled_at
        if at is None:
            return None
        if isinstance(at, str):
            with contextlib.suppress(ValueError):
                at = datetime.fromisoformat(at)
        if not isinstance(at, datetime):
            raise WatiValidationError(
                f"scheduled_at is {self.scheduled_at!r}: give ISO 8601, such as 2026-12-24T10:00:00+08:00."
            )
        if at.utcoffset() is None:
            raise WatiValidationError(
                f"scheduled_at is {at.isoformat()}, without a time zone: add one, such as {at.isoformat()}+08:00."
            )
        return at


class TableSendOperator(WatiBulkSendOperator):
    """
    Base of the operators that send to the rows of a table.

    :param target_column: the column with the phone number, contact id or BSUID. Numbers may be spelled with ``+``, spaces
        and dashes; those without a country code are read by the connection's ``default_region``.
    :param param_columns: ``{parameter of the template: column}``. Numbers, dates and booleans are written as
        text; NULL makes the row invalid.
    :param template_params: ``{parameter of the template: value}``, the same for everybody (templated).
    :param key_column: the column that makes two messages to one person distinct, such as an order id. Without it a
        person who comes twice is messaged once. If some rows have a key, those without one are invalid.
    :param shard: the part of the people that this task sends to, as ``[index, count]`` with the index from 0 (templated);
        all if left out. A hash of the person decides, so that ``.expand(shard=[[n, 8] for n in range(8)])`` sends to
        everybody once in eight tasks. All of them have the same count, also where the DAG changes while its run is under
        way. ``total`` counts the rows of the shard; ``row`` is the row's number in the whole table.

    The other parameters, the result and the errors are those of :class:`WatiBulkSendOperator`.
    """

    template_fields: Sequence[str] = ("template_params", "shard", *WatiBulkSendOperator.template_fields)
    template_fields_renderers: ClassVar[dict[str, str]] = {"template_params": "json"}

    def __init__(
        self,
        *,
        target_column: str | int,
        param_columns: Mapping[str, str | int],
        template_params: Mapping[str, Any] | None = None,
        key_column: str | int | None = None,
        shard: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.target_column = target_column
        self.param_columns = param_columns
        self.template_params = template_params
        self.key_column = key_column
        self.shard = shard
        self._remember("shard")

    def _shard(self) -> Shard | None:
        from airflow_provider_wati.tables.readers import json_of
        from airflow_provider_wati.tables.sharding import Shard

        return None if self.shard is None else Shard.parse(json_of(self.shard, "shard"))

    def _mapping(self) -> RowMapping:
        from airflow_provider_wati.sending.row_mapping import ColumnMapping

        return ColumnMapping(
            target_column=self.target_column,
            param_columns=self.param_columns,
            template_params=self.template_params or {},
            key_column=self.key_column,
        )


def rows_of(rows: Any, what: str) -> Iterable[Row]:
    """
    Return rows from a list, a dict, either as a JSON string, or the URI of a file.

    :param rows: what the DAG gives.
    :param what: what an error calls it.
    :raises WatiValidationError: when it is none of these.
    """
    from airflow_provider_wati.tables.readers import is_json, rows_given

    if isinstance(rows, str) and not is_json(rows):
        return _rows_of_file(address(rows, what))
    return rows_given(rows, what)


def _rows_of_file(uri: str) -> Iterator[Row]:
    with open_rows(uri) as rows:
        yield from rows
