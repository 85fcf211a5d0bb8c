"""
Act once, though Airflow may run a task several times.

A task that is tried again, or cleared, may have acted already: the worker may have died after the call, or WATI's
answer may have been lost. WATI recognises no repetition, so a later try looks before it acts.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiError, WatiNotFoundError, WatiUnknownOutcomeError
from airflow_provider_wati.operators._base import send_key_of
from airflow_provider_wati.state.directory import key_of, store_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Message


log = logging.getLogger(__name__)

Result = dict[str, Any]

#: WATI's clock and the worker's need not agree.
_CLOCKS_DIFFER_BY = timedelta(seconds=60)
#: A message may take this long to appear in its conversation, counted from the intent to send it.
_APPEARS_WITHIN = timedelta(seconds=30)
# The order of WATI's list is not documented. Newest first was observed; so many older ones in a row, in
# that order, are taken to mean that the rest is older still.
_ENOUGH_OLDER = 100


def once(
    context: Context,
    client: WatiClient,
    act: Callable[[], Result],
    look: Callable[[datetime], Result | None],
    send_key: str | None = None,
) -> Result:
    """
    Act, unless an earlier try of the same task has.

    :param context: the task's context.
    :param client: what ``act`` acts with.
    :param act: what is to happen once.
    :param look: finds the result of an earlier try since a time; None when there was none. May raise when that
        cannot be found out.
    :param send_key: the user's name for this action, if there is one; another name acts anew.
    """
    intent = _Intent(context, send_key)
    if intent.result is not None:
        log.info("An earlier try did this; nothing is done again.")
        return intent.result
    if intent.since is not None:
        result = look(intent.since)
        if result is None and intent.seconds_left:
            log.info("Looking again in %.0f s: the message may not have appeared yet.", intent.seconds_left)
            time.sleep(intent.seconds_left)
            result = look(intent.since)
        if result is not None:
            log.info("An earlier try did this; nothing is done again.")
            intent.settle(result)
            return result
    try:
        with client.before_sends(intent.begin):
            result = act()
    except WatiUnknownOutcomeError:
        raise
    except (WatiError, FileNotFoundError):
        # Every other error of ours says that WATI did not act; so does a file that is not there.
        intent.withdraw()
        raise
    intent.settle(result)
    return result


class _Intent:
    """
    What is known of earlier tries.

    The task has one entry in the store, with a record for each send key. Where there is no entry though this is
    not the first try (Airflow's store may be cleared after a success, and forgets in time) or no store (before
    Airflow 3.3 and without a ``state_path``), an earlier try may have acted at any time since the run began.
    """

    def __init__(self, context: Context, send_key: str | None) -> None:
        self._store = store_of(context)
        # By the task's own key, because a directory is everybody's.
        self._entry = key_of("wati_once", send_key_of(context, None))
        entry: Any = self._store.get(self._entry) if self._store is not None else None
        self._records: dict[str, Any] = dict(entry or {})
        self._key = hashlib.sha256(send_key_of(context, send_key).encode()).hexdigest()[:32]
        self.result: Result | None = None
        #: From when on an earlier try may have acted; None if none can have.
        self.since: datetime | None = None
        self._last: datetime | None = None
        record = self._records.get(self._key)
        if record is not None:
            self.result = record.get("result")
            self.since = datetime.fromisoformat(record["since"])
            self._last = datetime.fromisoformat(record["last"])
        elif entry is None and context["ti"].try_number > 1:
            self.since = context["dag_run"].run_after

    @property
    def seconds_left(self) -> float:
        """Seconds until what the last try sent must have appeared."""
        if self._last is None:
            return 0.0
        return max(0.0, (self._last + _APPEARS_WITHIN - datetime.now(UTC)).total_seconds())

    def begin(self) -> None:
        """Write down that it is about to happen, with the time."""
        self._last = datetime.now(UTC)
        self.since = self.since or self._last
        self._records[self._key] = {"since": self.since.isoformat(), "last": self._last.isoformat()}
        self._save()

    def settle(self, result: Result) -> None:
        now = datetime.now(UTC)
        record = {"since": (self.since or now).isoformat(), "last": (self._last or now).isoformat()}
        self._records[self._key] = {**record, "result": result}
        self._save()

    def withdraw(self) -> None:
        """Forget the intent, but keep the entry, which says that nothing else was begun."""
        self._records.pop(self._key, None)
        self._save()

    def _save(self) -> None:
        if self._store is not None:
            self._store.set(self._entry, self._records)


def find_message(
    client: WatiClient, target: str, is_it: Callable[[Message], bool], since: datetime
) -> Message | None:
    """
    Find what the business sent to a conversation.

    A message that failed does not count: the customer got nothing of it.

    :param is_it: tells the message by its content.
    :param since: how far to go back.
    """
    older = 0
    previous = None
    for message in _messages(client, target):
        created = _time_of(message)
        if created is not None and created < since - _CLOCKS_DIFFER_BY:
            older = older + 1 if previous is None or created <= previous else 0
            previous = created
            if older >= _ENOUGH_OLDER:
                return None
        elif message.get("owner") and not _failed(message) and is_it(message):
            return message
    return None


def _messages(client: WatiClient, target: str) -> Iterator[Message]:
    try:
        yield from client.iter_messages(target)
    except WatiNotFoundError:
        log.info("WATI knows no conversation there, so nothing can have been sent into it.")


def _time_of(message: Message) -> datetime | None:
    try:
        created = datetime.fromisoformat(message.get("created") or "")
    except ValueError:
        return None
    return created if created.tzinfo else created.replace(tzinfo=UTC)


def _failed(message: Message) -> bool:
    return (message.get("status") or "").casefold() == "failed"
