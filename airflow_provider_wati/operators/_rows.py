"""What operators share that act on rows: each row is accounted for, also when the task fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow_provider_wati.exceptions import WatiError, WatiValidationError
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators._files import check_table, open_table
from airflow_provider_wati.state.sends import is_mapped, loop_index
from airflow_provider_wati.tables.outcomes import failure_of, fitted

if TYPE_CHECKING:
    from airflow.sdk import Context


_OVERTAKEN = "A later attempt of this task has begun, whose outcomes and XCom count. Those of this attempt are not written."
_EXPRESSION = re.compile(r"{{.*?}}|{%.*?%}")


class RowsJob(Protocol):
    """One run of a send or a sync, as far as its rows go."""

    has_all_rows: bool

    def outcome_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield what became of each row, in order, with a value for each column."""

    def summary(self) -> dict[str, Any]:
        """Count what became of all; the counts add up to ``total``."""


class RowsOperator(WatiOperator):
    """
    Base of the operators that act on rows.

    :param dry_run: whether to do everything but act.
    :param failure_threshold: the share of rows, 0 to 1, that may end rejected, invalid, unknown or unsent
        before the task fails.
    :param outcomes_path: where every row's outcome is written: a local path or an object-storage URI ending in
        ``.csv``, ``.jsonl`` or ``.parquet`` (templated).
    :param state_path: a directory or object-storage URI that all workers reach, for what has to be remembered
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
        # Of a path whose template has no index in it, all mapped tasks have the same.
        self._path_expressions = " ".join(_EXPRESSION.findall(str(outcomes_path)))

    def _remember(self, *arguments: str) -> None:
        """Note which arguments are given, and which as templates, which may leave nothing of them."""
        for name in arguments:
            value = getattr(self, name)
            if value is not None:
                self._given[name] = isinstance(value, str) and "{" in value

    def _refuse_empty(self, arguments: Iterable[str]) -> None:
        """Refuse what was given and of which rendering has left nothing."""
        for name in arguments:
            value = getattr(self, name)
            if name in self._given and (value in (None, "") or (value == "None" and self._given[name])):
                # Without a suppression list, for example, more people would be messaged than intended.
                raise WatiValidationError(
                    f"{name} was given, and is {value!r} now that it has been rendered: correct the "
                    "template, or leave the argument out."
                )

    def _check(self, context: Context) -> None:
        """Find out before anything is done whether it is what was meant, and can be told of afterwards."""
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
            index, told_by = "ti.map_index", ["map_index", "shard"]
        elif loop_index(context) >= 0:
            index, told_by = "loop.index", ["loop"]
        else:
            return
        if not any(word in self._path_expressions for word in told_by):
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
        Run a job, say what became of its rows, and end as they ended.

        :param run: runs the job.
        :param is_overtaken: asks whether a later attempt of the task has begun. Outcomes and XCom are that one's then.
        :return: the summary, which is pushed to XCom also when the task fails.
        :raises WatiError: when a later attempt has begun.
        """
        try:
            run()
        except BaseException:
            # A timeout of Airflow's is no Exception, and what was done by then is done.
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
        """Write the outcomes where they are wanted, and return the summary."""
        summary = job.summary()
        if job.has_all_rows:
            try:
                self._keep_outcomes(job, summary, context)
            except Exception:
                context["ti"].xcom_push("return_value", fitted(summary))
                raise
            summary["outcomes"] = self._outcomes_go_to
        elif self._outcomes_go_to:
            # The outcomes of an earlier attempt are worth more than none: later tasks choose people from them.
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
        """Where every row's outcome is written, if anywhere."""
        return self.outcomes_path

    def _keep_outcomes(self, job: RowsJob, summary: Mapping[str, Any], context: Context) -> None:
        """Write the outcomes where they are wanted."""
        if self.outcomes_path:
            with open_table(self.outcomes_path, self.outcome_columns) as write:
                write(job.outcome_rows())
