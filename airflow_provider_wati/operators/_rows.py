"""Base of the operators that act on rows: each row gets an outcome, also when the task fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_provider_wati.exceptions import WatiError, WatiValidationError
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators._files import check_table, open_table
from airflow_provider_wati.state.task_context import is_mapped, loop_index
from airflow_provider_wati.tables.outcomes import failure_of, fitted

if TYPE_CHECKING:
    from airflow.sdk import Context


_OVERTAKEN = "A later attempt of this task has begun, whose outcomes and XCom count. Those of this attempt are not written."
_EXPRESSION = re.compile(r"{{.*?}}|{%.*?%}")


class RowsJob(Protocol):
    """A send or a sync, as the operators see it."""

    has_all_rows: bool

    def outcome_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the outcome of each row, in order, with a value for each column."""

    def summary(self) -> dict[str, Any]:
        """Return the summary. The counts of the statuses add up to ``total``."""


class RowsOperator(WatiOperator):
    """
    Base of the operators that act on rows.

    :param dry_run: whether to do everything but act.
    :param failure_threshold: the share of rows, 0 to 1, that may end rejected, invalid, unknown or unsent
        before the task fails.
    :param outcomes_path: where every row's outcome is written: a local path or an object-storage URI ending in
        ``.csv``, ``.jsonl`` or ``.parquet`` (templated).
    :param state_path: a directory or object-storage URI that all workers reach, for the journal or the snapshot
        (templated).
    """

    #: What the summary calls the name of the send or sync.
    key_name: ClassVar[str]
    outcome_columns: ClassVar[Sequence[str]]
    statuses: ClassVar[type[StrEnum]]
    #: What ``total`` counts.
    counted: ClassVar[str] = "rows"

    def __init__(
        self,
        *,
        dry_run: bool = False,
        failure_threshold: float = 0.0,
        outcomes_path: str | None = None,
        state_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow's operators have a method of the name `dry_run`.
        self.is_dry_run = dry_run
        self.failure_threshold = failure_threshold
        self.outcomes_path = outcomes_path
        self.state_path = state_path
        self._given: dict[str, bool] = {}
        self._remember("outcomes_path", "state_path")
        # Kept for a warning: a path without an index in its template is the same for all mapped tasks.
        self._path_expressions = " ".join(_EXPRESSION.findall(str(outcomes_path)))

    def _remember(self, *arguments: str) -> None:
        """Store which arguments are given, and which of them as templates, whose result may be empty."""
        for name in arguments:
            value = getattr(self, name)
            if value is not None:
                self._given[name] = isinstance(value, str) and "{" in value

    def _refuse_empty(self, arguments: Iterable[str]) -> None:
        """Refuse an argument that was given and is empty after rendering."""
        for name in arguments:
            value = getattr(self, name)
            if name in self._given and (value in (None, "") or (value == "None" and self._given[name])):
                # Without a suppression list, for example, more people would be messaged than intended.
                raise WatiValidationError(
                    f"{name} was given, and is {value!r} now that it has been rendered: correct the "
                    "template, or leave the argument out."
                )

    def _check(self, context: Context) -> None:
        """Check the arguments, and whether the outcomes can be written, before anything is done."""
        self._refuse_empty(self._given)
        if not isinstance(self.is_dry_run, bool):
            raise WatiValidationError(f"dry_run is {self.is_dry_run!r}: give True or False.")
        if self.outcomes_path:
            self.outcomes_path = str(self.outcomes_path)
            check_table(self.outcomes_path)
            self._warn_of_one_path(context)
        if not isinstance(self.failure_threshold, (int, float)) or not 0 <= self.failure_threshold <= 1:
            raise WatiValidationError(f"failure_threshold is {self.failure_threshold!r}: give 0 to 1.")

    def _warn_of_one_path(self, context: Context) -> None:
        """Warn where the tasks that share an operator write their outcomes to one file."""
        if is_mapped(context):
            index, indexes = "ti.map_index", ["map_index", "shard"]
        elif loop_index(context) >= 0:
            index, indexes = "loop.index", ["loop"]
        else:
            return
        if not any(name in self._path_expressions for name in indexes):
            self.log.warning(
                "Each mapped task, or iteration of a loop, overwrites %s: put {{ %s }} into outcomes_path to keep them all.",
                self.outcomes_path,
                index,
            )

    def _account_for(
        self,
        job: RowsJob,
        run: Callable[[], None],
        context: Context,
        is_overtaken: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """
        Run a job, report the outcomes of its rows, and fail if too many of them failed.

        :param run: runs the job.
        :param is_overtaken: returns whether a later attempt of the task has begun, which then writes outcomes and XCom.
        :return: the summary, which is pushed to XCom also when the task fails.
        :raises WatiError: when a later attempt has begun.
        """
        try:
            run()
        except BaseException:
            # Airflow's task timeout derives from BaseException. Rows that were done before it need an outcome too.
            if is_overtaken():
                self.log.warning(_OVERTAKEN)
            else:
                context["ti"].xcom_push("return_value", self._report(job, context))
            raise
        if is_overtaken():
            raise WatiError(_OVERTAKEN)
        summary = self._report(job, context)
        failure = failure_of(summary, self.failure_threshold)
        if failure:
            context["ti"].xcom_push("return_value", summary)
            raise failure
        return summary

    def _report(self, job: RowsJob, context: Context) -> dict[str, Any]:
        """Write the outcomes, if the operator has a place for them, and return the summary."""
        summary = job.summary()
        if job.has_all_rows:
            try:
                self._keep_outcomes(job, summary, context)
            except Exception:
                context["ti"].xcom_push("return_value", fitted(summary))
                raise
            summary["outcomes"] = self._outcomes_go_to
        elif self._outcomes_go_to:
            # The outcomes of an earlier attempt stay, because later tasks choose people from them.
            self.log.warning(
                "The rows were not read to the end, so %s stays as it was.", self._outcomes_go_to
            )
        counts = ", ".join(f"{summary[status]:,} {status}" for status in self.statuses if summary[status])
        self.log.info(
            "Of %s %s: %s. Calls: %s.",
            f"{summary['total']:,}",
            self.counted,
            counts or "none",
            f"{summary['calls']:,}",
        )
        return fitted(summary)

    @property
    def _outcomes_go_to(self) -> str | None:
        """Where the outcomes are written; None if they are not."""
        return self.outcomes_path

    def _keep_outcomes(self, job: RowsJob, summary: Mapping[str, Any], context: Context) -> None:
        """Write the outcomes to the file, if there is one."""
        if self.outcomes_path:
            with open_table(self.outcomes_path, self.outcome_columns) as write:
                write(job.outcome_rows())
