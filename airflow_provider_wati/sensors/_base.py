"""What all WATI sensors share: one condition, looked at by the worker or by the triggerer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_wati._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_wati.operators._base import WatiOperator, is_deferrable
from airflow_provider_wati.waiting.condition import (
    MAX_FAILED_LOOKS,
    POKE_INTERVAL,
    TRANSIENT,
    TRIGGERER_LATE,
    Verdict,
    error_of,
)
from airflow_provider_wati.waiting.resting import LONGEST_REST, Rest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.sdk import Context

    from airflow_provider_wati.waiting.condition import Condition


class WatiSensor(WatiOperator, BaseSensorOperator):
    """
    Base of the sensors.

    In each mode the worker looks once first, so that what is true already costs no deferral. In deferrable mode the
    triggerer goes on: ``mode``, ``exponential_backoff``, ``max_wait`` and ``silent_fail`` then have no effect.

    :param deferrable: wait in the triggerer; the default is the option ``[operators] default_deferrable``.
    :param poke_interval: seconds between two looks; each costs calls of the plan's monthly quota.
    :param wati_conn_id: the connection of type ``wati`` (templated); a deferred sensor needs it in the triggerer too.
    """

    def __init__(
        self,
        *,
        deferrable: bool | None = None,
        poke_interval: timedelta | float = POKE_INTERVAL,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, **kwargs)
        self.deferrable: bool = is_deferrable(deferrable)
        self._waits_for: Condition | None = None
        self._result: dict[str, Any] = {}
        self._failed_looks = 0
        self._rest: Rest | None = None
        self._began = 0.0

    #: The path of the trigger; its module is not imported by a DAG file.
    trigger_name: ClassVar[str]

    @abstractmethod
    def _condition(self, context: Context) -> Condition:
        """
        Make the condition from the rendered arguments.

        :raises WatiValidationError: when one of them cannot be right.
        """

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        if self._waits_for is None:
            self._waits_for = self._condition(context)
            self._result = self._waits_for.unseen()
            self._began = self.clock.monotonic()
        if self._rest is None:
            self._rest = Rest(LONGEST_REST * self.poke_interval)
        # In the other modes, the next look is made elsewhere and knows nothing of this one.
        mark = self.hook.news(self._waits_for.news) if self.mode == "poke" and not self.deferrable else None
        now = self.clock.monotonic()
        if not self._rest.is_due(mark, now) and not self._is_last(now):
            self.log.info("Nothing has come in since the last look.")
            return PokeReturnValue(is_done=False, xcom_value=self._result)
        try:
            look = self._waits_for.look(self.hook.client, self.clock)
        except TRANSIENT as error:
            self._failed_looks += 1
            if self._failed_looks > MAX_FAILED_LOOKS:
                raise
            self.log.warning(
                "A look failed (%s of %s in a row): %s", self._failed_looks, MAX_FAILED_LOOKS, error
            )
            return PokeReturnValue(is_done=False)
        self._failed_looks = 0
        self._rest.looked(mark, now)
        self._result = look.result
        self.log.info("%s", look.reason)
        if look.verdict is Verdict.FAILED:
            raise AirflowFailException(look.reason)
        return PokeReturnValue(is_done=look.verdict is Verdict.DONE, xcom_value=look.result)

    def _is_last(self, now: float) -> bool:
        """Return whether the wait may be over before the next look."""
        return now - self._began + 2 * self.poke_interval >= self.timeout

    def execute(self, context: Context) -> Any:
        """Look once, then wait in the way that the mode says."""
        if self.deferrable:
            return self._defer_or_return(context)
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            return self._after_timeout(error, context, self._result)

    def _defer_or_return(self, context: Context) -> Any:
        deadline = self.clock.now() + timedelta(seconds=self.timeout)
        with self._skipping():
            seen = self.poke(context)
        if seen:
            return seen.xcom_value
        self.defer(
            trigger=self._trigger(deadline.isoformat()),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout + TRIGGERER_LATE),
        )
        return None

    def _trigger(self, deadline: str) -> Any:
        from importlib import import_module

        module, _, name = self.trigger_name.rpartition(".")
        trigger = getattr(import_module(module), name)
        return trigger(
            wati_conn_id=self.wati_conn_id,
            deadline=deadline,
            poll_interval=self.poke_interval,
            condition=asdict(self._waits_for),  # type: ignore[call-overload] # conditions are dataclasses
        )

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> Any:
        """
        Go on after the wait in the triggerer.

        :param event: what the trigger ended with.
        """
        status, reason = event.get("status"), str(event.get("reason"))
        self.log.info("%s", reason)
        with self._skipping():
            if status == "done":
                return event["result"]
            if status == "timeout":
                return self._after_timeout(AirflowSensorTimeout(reason), context, event["result"])
            if status == "failed":
                raise AirflowFailException(reason)
            raise error_of(event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the wait, also where no triggerer has ended it in time."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            return self._after_timeout(error, context, None)

    def _after_timeout(self, error: Exception, context: Context, result: Mapping[str, Any] | None) -> Any:
        """Say what a wait that is over returns, or raise the error; ``result`` is None if no look has left one."""
        raise error

    @contextmanager
    def _skipping(self) -> Iterator[None]:
        """Do with errors what the loop of Airflow does in the other modes."""
        try:
            yield
        except AirflowSkipException:
            raise
        except (AirflowFailException, AirflowSensorTimeout) as error:
            if self.soft_fail or (self.never_fail and isinstance(error, AirflowFailException)):
                raise AirflowSkipException("Skipping, as soft_fail or never_fail says.") from error
            raise
        except Exception as error:
            if self.never_fail:
                raise AirflowSkipException("Skipping, as never_fail says.") from error
            raise
