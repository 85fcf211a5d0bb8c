"""How a send is named in a task, where its journal is, and what its attempt knows about earlier ones."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.journal import SESSION_BYTES, EntryStore, Journal, Start, start_of
from airflow_provider_wati.state.directory import StateDirectory, key_of, setting, state_directory
from airflow_provider_wati.state.journal_store import DirectoryJournalStore, NoJournalStore, TaskJournalStore
from airflow_provider_wati.state.task_context import (
    is_cleared,
    is_mapped,
    loop_index,
    made_at,
    may_have_run,
    retries_of,
    task_facts,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.clock import Clock
    from airflow_provider_wati.sending.task_facts import TaskFacts

_SINGLE = "-"
# The ids of mapped tasks that are made together differ by a millisecond each, and the clocks of scheduler and workers by seconds.
_EXPANSION = timedelta(seconds=10)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SendIdentity:
    """
    The name of a send.

    :param family: the send key without the map index: what mapped tasks have in common.
    :param member: the map index; ``-`` for a task that is not mapped.
    :param is_own: whether the user gave the key, so that other runs may send under it.
    """

    family: str
    member: str
    is_own: bool

    @property
    def send_key(self) -> str:
        """The send key as the summary shows it."""
        return self.family if self.member == _SINGLE else f"{self.family}/{self.member}"


def identity_of(context: Context, send_key: Any) -> SendIdentity:
    """
    Name the send of a task: the same name in each attempt, another one in each run.

    The default is made of DAG, run, task, map index and, in a task loop of Airflow 3.4, the iteration, in which the map
    index is always -1.

    :param context: the task's context.
    :param send_key: the user's own name, if there is one.
    """
    ti = context["ti"]
    member = str(ti.map_index) if is_mapped(context) else _SINGLE
    is_own = send_key not in (None, "")
    # Airflow's native template rendering turns a key of digits into a number.
    parts = [str(send_key)] if is_own else [ti.dag_id, ti.run_id, ti.task_id]
    loop = loop_index(context)
    if loop >= 0:
        parts.append(f"loop {loop}")
    return SendIdentity("/".join(parts), member, is_own)


@dataclass(frozen=True, slots=True)
class OpenedJournal:
    """
    A journal that is ready for this attempt.

    :param journal: the journal, with its opening written.
    :param start: what this attempt knows about earlier ones.
    :param identity: the send.
    :param task: what Airflow says about the task.
    :param is_overtaken: asks whether a later attempt of the same task has opened a journal since.
    """

    journal: Journal
    start: Start
    identity: SendIdentity
    task: TaskFacts
    is_overtaken: Callable[[], bool]


def open_journal(
    context: Context,
    *,
    send_key: Any,
    account: str,
    clock: Clock,
    state_path: str | None = None,
    reads_only: bool = False,
    person: int | None = None,
) -> OpenedJournal:
    """
    Open the journal of a task's send, and write its opening before anything else can fail.

    :param context: the task's context.
    :param send_key: the user's own name for the send, if there is one.
    :param account: names the WATI account; an entry about another account proves nothing.
    :param clock: the time.
    :param state_path: the user's directory; else the option ``[wati] state_path`` counts, else Airflow's own store.
    :param reads_only: whether nothing is sent, so that nothing but the opening is written.
    :param person: the one person that a single send is about.
    :raises WatiConfigurationError: when no store can keep the journal for a retry, or the task is a mapped task of an operator
        that is not mapped any more.
    """
    identity = identity_of(context, send_key)
    directory = state_directory(state_path)
    token = secrets.token_hex(SESSION_BYTES)
    marker = _TaskMarker(context, identity, directory, token)
    began = (
        None
        if directory is None
        else _first_opening(context, identity, directory, clock, reads_only=reads_only)
    )
    store: EntryStore
    if directory is not None:
        send = key_of("wati_send", f"{identity.family}\n{account}")
        run = identity_of(context, None).family if identity.is_own else None
        store = DirectoryJournalStore(directory, send, identity.member, token, run=run, reads_only=reads_only)
    else:
        store = _task_journal_store(context, identity, account, reads_only=reads_only)
    journal = Journal(store, clock, session=token, reads_only=reads_only)
    is_late = journal.is_late or (not journal.exists and _is_made_after(context, began))
    start = start_of(
        has_journal=journal.exists,
        is_lost=journal.is_lost,
        is_uncertain=journal.is_uncertain,
        may_have_run=is_late or may_have_run(context),
        # Others have executed.
        never_executed=not is_late and marker.says_never_executed(),
        is_shared=identity.is_own,
    )
    journal.open(person, start=start, is_late=is_late)
    if not reads_only:
        marker.set()
        _refuse_former_mapping(context)
    task = task_facts(context, is_shared=identity.is_own, is_late=is_late)
    return OpenedJournal(journal, start, identity, task, marker.is_overtaken)


def _first_opening(
    context: Context, identity: SendIdentity, directory: StateDirectory, clock: Clock, *, reads_only: bool
) -> datetime | None:
    """
    Return when the first mapped task of a send opened its journal, and store it if this is the first.

    :return: None for a task that is not mapped. Under a key of the user's own, each task looks at the others anyway.
    """
    if identity.is_own or not is_mapped(context):
        return None
    key = key_of("wati_began", identity.family)
    now = clock.now()
    began = directory.get(key)
    if began is not None:
        return datetime.fromisoformat(began)
    if not reads_only:
        directory.set(key, now.isoformat())
    return now


def _is_made_after(context: Context, began: datetime | None) -> bool:
    """
    Return whether a mapped task was made after another one of its send had begun, which may have had its people.

    Airflow makes all mapped tasks of an operator before the first of them begins. It makes more of them after a Clear, which it
    does not always count, or when the DAG changes in a run that is under way.

    :param began: when the first of them began; None where that is not known.
    """
    made = made_at(context)
    return began is not None and made is not None and began + _EXPANSION < made


def _task_journal_store(
    context: Context, identity: SendIdentity, account: str, *, reads_only: bool
) -> EntryStore:
    """Return the store of a send without a directory: Airflow's, or none beyond the attempt."""
    if identity.is_own and not reads_only:
        raise WatiConfigurationError(
            f"send_key {identity.family!r} is your own, so other runs may send under it and have to find its journal: "
            "set state_path, or the option [wati] state_path, to a directory or object-storage URI that all workers "
            "reach. Nothing was sent."
        )
    task_store: Any = context.get("task_state_store")
    if task_store is not None:
        return TaskJournalStore(task_store, key_of("wati_send", f"{identity.send_key}\n{account}"))
    if retries_of(context) and not reads_only:
        raise WatiConfigurationError(
            "This task may be retried, and Airflow before 3.3 keeps no state for it. Set state_path or the option "
            "[wati] state_path to a directory or object-storage URI that all workers reach, or set retries=0. Nothing was "
            "sent."
        )
    return NoJournalStore()


def _refuse_former_mapping(context: Context) -> None:
    """
    Refuse to send in a mapped task whose operator is not mapped any more.

    Airflow keeps the mapped tasks of a run when its DAG changes, and runs the whole operator in each of them.
    """
    ti: Any = context["ti"]
    # Airflow tells only in a task whose arguments it has rendered.
    if not is_mapped(context) or getattr(ti, "is_mapped", None) is not False:
        return
    if ti.task.get_closest_mapped_task_group() is not None:
        return
    raise WatiConfigurationError(
        f"{ti.task_id!r} has mapped tasks in this run, of which this is number {ti.map_index}, and its operator is not mapped "
        "any more: Airflow runs all of it in each of them, so people would get several messages. Nothing was sent. Map the "
        "operator again, or start another run, which sends to everybody."
    )


class _TaskMarker:
    """
    Stores, beside the journals, the latest attempt of a task and the send keys under which the task has opened a journal.

    Without a journal, the send is lost if an earlier attempt opened one under this key: the store was emptied, or
    ``state_path`` or the account of the connection was changed. Otherwise the send is new.

    :param context: the task's context.
    :param identity: the send.
    :param directory: the user's directory, if there is one.
    :param attempt: names this attempt.
    """

    def __init__(
        self, context: Context, identity: SendIdentity, directory: StateDirectory | None, attempt: str
    ) -> None:
        self._is_cleared = is_cleared(context)
        self._task_store: Any = context.get("task_state_store")
        self._opened = key_of("wati_opened", identity.send_key)
        self._directory = directory
        self._task = key_of("wati_task", identity_of(context, None).send_key)
        # Without the account: adding a tenant id to the connection does not make another send.
        self._send = key_of("wati_send", identity.family)
        self._attempt = attempt
        self._is_set = False

    def says_never_executed(self) -> bool:
        """Return whether it is certain that no earlier attempt has opened a journal under this key."""
        if self._task_store is not None and not self._is_cleared:
            # A Clear may empty the store. Without a Clear it still has the key.
            return self._task_store.get(self._opened) is None
        if self._directory is None:
            return False
        latest = self._directory.get(self._task)
        return latest is not None and latest["send"] != self._send

    def set(self) -> None:
        """Store that this attempt has opened a journal under this key."""
        if self._task_store is not None:
            self._task_store.set(self._opened, self._attempt)
        if self._directory is not None:
            self._directory.set(self._task, {"send": self._send, "attempt": self._attempt})
        self._is_set = True

    def is_overtaken(self) -> bool:
        """
        Return whether a later attempt of the task has begun, which then writes outcomes and XCom.

        An attempt that Airflow takes for dead may still run.
        """
        if not self._is_set:
            return False
        if self._directory is not None:
            latest = self._directory.get(self._task)
            return latest is not None and latest["attempt"] != self._attempt
        if self._task_store is not None:
            try:
                # Airflow's store refuses writes of an attempt that is over.
                self._task_store.set(self._opened, self._attempt)
            except Exception as error:
                log.warning("Airflow's store refuses writes of this attempt, so it counts as over: %s", error)
                return True
        return False


def grace_of(given: Any) -> timedelta | None:
    """
    Read the grace: how long WATI may take to show a call that it has accepted.

    :param given: seconds, from the operator; else the option ``[wati] unknown_grace`` counts.
    :return: None if neither is set.
    :raises WatiConfigurationError: when it is not a number of seconds.
    """
    seconds: Any = given if given is not None else setting("unknown_grace")
    try:
        return None if seconds is None else timedelta(seconds=float(seconds))
    except (TypeError, ValueError, OverflowError):
        raise WatiConfigurationError(f"unknown_grace is {seconds!r}: give seconds.") from None
