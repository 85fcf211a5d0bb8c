"""Looks at WATI for all triggers of a triggerer: threads of its own for each connection, one look for the same wait."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from copy import deepcopy
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from airflow_provider_wati._compat import AirflowNotFoundException
from airflow_provider_wati.exceptions import WatiAuthenticationError, WatiConfigurationError, WatiError
from airflow_provider_wati.hooks.wati import WatiHook
from airflow_provider_wati.waiting.resting import Rest

if TYPE_CHECKING:
    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.waiting.condition import Condition, Look

T = TypeVar("T")

#: Looks at one connection at a time; the others wait for their turn. The default pace of campaigns, one call a second,
#: takes three where WATI answers after 3 s. Not the threads of the event loop: these look host names up, and belong to
#: the triggers of all providers.
_LOOKS_AT_ONCE = 4
#: Seconds for which a connection is not read again.
_SETTINGS_SECONDS = 60.0


class UnreadableConnectionError(WatiConfigurationError):
    """The connection could not be read now; the next look may find it."""


class SharedConnection:
    """A connection as the triggers of one event loop share it: its settings, and the threads of their looks."""

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._threads = ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="wati-trigger")
        self._lock = asyncio.Lock()
        self._hook: WatiHook | None = None
        self._loaded_at = 0.0

    async def hook(self, max_age: float = _SETTINGS_SECONDS) -> WatiHook:
        """
        Return a hook whose settings are at most so many seconds old.

        :raises WatiConfigurationError: when the connection does not exist here, or cannot be used.
        :raises UnreadableConnectionError: when it cannot be read now.
        """
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._hook is None or loop.time() - self._loaded_at >= max_age:
                # Not cancelled with the trigger: in Airflow 3.1 the answer that nobody reads would be taken for that
                # to the next question.
                self._hook = await asyncio.shield(asyncio.ensure_future(_load(self._conn_id)))
                self._loaded_at = loop.time()
            return self._hook

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function in one of the threads, with the context that directs its log to the task."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._threads, context.run, function)


async def _load(conn_id: str) -> WatiHook:
    hook = WatiHook(conn_id)
    try:
        await hook.load_settings()
    except WatiError:
        raise
    except AirflowNotFoundException:
        raise WatiConfigurationError(
            f"Connection {conn_id!r} does not exist in the triggerer: define it where the triggerer finds it too (the "
            "database or a secrets backend, or its own environment)."
        ) from None
    except Exception as error:
        # Without its text: Airflow's own errors may repeat the URI of the connection, token included.
        raise UnreadableConnectionError(
            f"Connection {conn_id!r} could not be read ({type(error).__name__})."
        ) from None
    return hook


class SharedCondition:
    """
    A condition that one or more triggers of an event loop wait for.

    One look serves all of them, so that many sensors of one campaign cost the calls of one.

    :param condition: what is waited for.
    :param connection: the connection.
    :param clock: the time.
    """

    def __init__(self, condition: Condition, connection: SharedConnection, clock: Clock) -> None:
        self._condition = condition
        self._connection = connection
        self._clock = clock
        self._task: asyncio.Task[Look] | None = None
        #: The longest rest that the look under way may take.
        self._task_rest = 0.0
        self._ended_at = 0.0
        self._waiting = 0
        self._rest = Rest(0.0)
        #: What the last look at WATI has shown.
        self._last: Look | None = None

    async def look(self, max_age: float, longest_rest: float = 0.0) -> Look:
        """
        Look at WATI, or return what another trigger has seen, or what was seen before nothing has come in.

        :param max_age: seconds that have passed at most since that look ended; one that is under way counts always.
        :param longest_rest: seconds since the last look after which WATI is looked at though the receiver of the connection
            says that nothing has come in; 0 does not ask it.
        :raises WatiError: what the look raised.
        """
        hook = await self._connection.hook()
        try:
            return await self._look(hook, max_age, longest_rest)
        except WatiAuthenticationError:
            # The token may have been replaced in the connection while the task was deferred.
            changed = await self._connection.hook(max_age=1.0)
            if changed.settings == hook.settings:
                raise
            return await self._look(changed, 0.0, longest_rest)

    async def _look(self, hook: WatiHook, max_age: float, longest_rest: float) -> Look:
        task = self._task
        # One that is under way and may rest does not show what a caller wants that may not, such as the last look.
        is_of_use = task is not None and (
            self._clock.monotonic() - self._ended_at < max_age
            if task.done()
            else self._task_rest <= longest_rest
        )
        if task is None or not is_of_use:
            task = self._task = asyncio.create_task(self._read(hook, longest_rest))
            self._task_rest = longest_rest
        self._waiting += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting -= 1
            if not self._waiting and not task.done():
                # Nobody waits for it any more. The next trigger must not wait for a look that ends so.
                self._task = None
                task.cancel()

    async def _read(self, hook: WatiHook, longest_rest: float) -> Look:
        mark = None
        if longest_rest:
            mark = await self._connection.run(lambda: hook.news(self._condition.news))
            # Another caller may have set it meanwhile.
            self._rest.longest = longest_rest
            if self._last is not None and not self._rest.is_due(mark, self._clock.monotonic()):
                self._ended_at = self._clock.monotonic()
                return replace(self._last, reason=f"Nothing has come in. {self._last.reason}")
        looked_at = self._clock.monotonic()
        # A look changes the condition, and one that nobody waits for any more goes on in its thread.
        condition = deepcopy(self._condition)

        def read() -> Look:
            # Nothing is kept open between two looks: hundreds of triggers wait for minutes each.
            with closing(hook.polling_client()) as client:
                return condition.look(client, self._clock)

        try:
            look = await self._connection.run(read)
        finally:
            self._ended_at = self._clock.monotonic()
        self._condition = condition
        self._last = look
        self._rest.looked(mark, looked_at)
        return look


#: By event loop and connection; each lives as long as one of its triggers.
_connections: WeakValueDictionary[tuple[object, ...], SharedConnection] = WeakValueDictionary()
_conditions: WeakValueDictionary[tuple[object, ...], SharedCondition] = WeakValueDictionary()


def shared_condition(condition: Condition, conn_id: str, clock: Clock) -> SharedCondition:
    """
    Return what the triggers of this event loop share that wait for the same at the same connection.

    :param condition: what is waited for.
    :param conn_id: the connection.
    :param clock: the time.
    """
    place = (asyncio.get_running_loop(), conn_id)
    fields = asdict(condition)  # type: ignore[call-overload] # conditions are dataclasses
    key = (*place, type(condition), clock, json.dumps(fields, sort_keys=True))
    shared = _conditions.get(key)
    if shared is None:
        shared = _conditions[key] = SharedCondition(condition, shared_connection(conn_id), clock)
    return shared


def shared_connection(conn_id: str) -> SharedConnection:
    """
    Return a connection as the triggers of this event loop share it.

    :param conn_id: the connection.
    """
    place = (asyncio.get_running_loop(), conn_id)
    connection = _connections.get(place)
    if connection is None:
        connection = _connections[place] = SharedConnection(conn_id)
    return connection
