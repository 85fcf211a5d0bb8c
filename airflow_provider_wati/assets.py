"""What customers do, as assets: the one that gets their messages, and what a run reads from its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.listening.types import MESSAGES, STATUSES

if TYPE_CHECKING:
    from airflow.sdk import Asset, Context

    from airflow_provider_wati.listening.types import InboundMessage, MessageStatus


def messages_asset(
    wati_conn_id: str = "wati_default",
    *,
    poll_interval: float | None = 300.0,
    look_back: float = 3600.0,
    state_path: str | None = None,
) -> Asset:
    """
    Return the asset whose events are messages of customers, for the ``schedule`` of a DAG.

    Give the same arguments in each DAG that uses it: Airflow keeps the watchers that the file parsed last has named.

    :param wati_conn_id: the connection of type ``wati``.
    :param poll_interval: seconds between two polls of the triggerer; None where a webhook brings the messages.
    :param look_back: as in :class:`.WatiMessageTrigger`.
    :param state_path: as in :class:`.WatiMessageTrigger`.
    :raises WatiValidationError: when a time is not a number of seconds, or too short.
    """
    from airflow.sdk import Asset, AssetWatcher

    name = f"wati://{wati_conn_id}/messages"
    if poll_interval is None:
        return Asset(name=name, uri=name)
    from airflow_provider_wati.triggers.messages import WatiMessageTrigger

    trigger = WatiMessageTrigger(
        wati_conn_id=wati_conn_id,
        poll_interval=poll_interval,
        look_back=look_back,
        state_path=state_path,
    )
    return Asset(name=name, uri=name, watchers=[AssetWatcher(name=name, trigger=trigger)])


def new_messages(context: Context | None = None, *, state_path: str | None = None) -> list[InboundMessage]:
    """
    Return the messages of customers that belong to the run: those of its asset events that no earlier run of the DAG got.

    A message may come in more than one event. The run that asks first has it: all its tasks, their retries, and after a
    Clear. No other run of the DAG gets it, also where this run fails, and where both ask at the same time. Of each asset, the
    latest 57,000 messages at least are known for each DAG.

    Runs that ask at the same time wait for each other. In Airflow's own store and in object storage, which have no locks, the first task
    of a run that asks takes three seconds more. Let one task ask, and give its result to the others.

    :param context: the task's context; None for that of the task that runs.
    :param state_path: a directory or object-storage URI that all workers reach, where it is kept which run has which message; else the option
        ``[wati] state_path`` counts, else Airflow's store of the asset (3.3 and later).
    :return: in the order in which they came; empty for a run that no such event has started.
    :raises WatiConfigurationError: on Airflow 3.1 and 3.2 without a ``state_path``.
    :raises WatiError: when the store is too slow, or others have it for ten minutes. Nothing is lost, and a retry asks again.
    """
    if context is None:
        from airflow.sdk import get_current_context

        context = get_current_context()
    ti: Any = context["ti"]
    found: list[InboundMessage] = []
    for name, events in _events_by_asset(context["triggering_asset_events"]):
        messages = _unique(_items_of(events, MESSAGES))
        if not messages:
            continue
        taken = _claims(name, state_path, ti).take(list(messages))
        found += [message for id, message in messages.items() if id in taken]
    return found


def messages_of(triggering_asset_events: Mapping[Any, Sequence[Any]]) -> list[InboundMessage]:
    """
    Return the messages in the asset events of a run, each once; an earlier run may have had some of them too.

    :param triggering_asset_events: as the task's context has them.
    """
    items = (
        item
        for _, events in _events_by_asset(triggering_asset_events)
        for item in _items_of(events, MESSAGES)
    )
    return list(_unique(items).values())


def statuses_of(triggering_asset_events: Mapping[Any, Sequence[Any]]) -> list[MessageStatus]:
    """
    Return how far messages to customers have come, by the asset events of a run. Only a webhook brings them.

    :param triggering_asset_events: as the task's context has them.
    """
    return [
        item
        for _, events in _events_by_asset(triggering_asset_events)
        for item in _items_of(events, STATUSES)
    ]


def _events_by_asset(events: Mapping[Any, Sequence[Any]]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the name of each asset and its events; the events of an alias are those of its assets too."""
    from airflow.sdk import AssetAlias

    for asset in events:
        if not isinstance(asset, AssetAlias):
            yield asset.name, events[asset]


def _items_of(events: Sequence[Any], kind: str) -> Iterator[Any]:
    for event in events:
        extra = event.extra or {}
        # Airflow puts what a trigger sends under a key of its own.
        payload = extra.get("payload") if extra.get("from_trigger") else extra
        items = payload.get(kind) if isinstance(payload, dict) else None
        yield from (item for item in items or () if isinstance(item, dict))


def _unique(messages: Iterator[InboundMessage]) -> dict[str, InboundMessage]:
    unique: dict[str, InboundMessage] = {}
    for message in messages:
        unique.setdefault(str(message.get("id")), message)
    return unique


def _claims(asset: str, state_path: str | None, ti: Any) -> Any:
    from airflow_provider_wati.listening.claims import Claims
    from airflow_provider_wati.state.asset_state import asset_lock, asset_state

    state = asset_state(asset, state_path)
    if state is None:
        raise WatiConfigurationError(
            "Airflow before 3.3 keeps no state for assets, so that nothing says which messages an earlier run had. Set "
            "state_path, or the option [wati] state_path, to a directory or object-storage URI that all workers reach; or "
            "use messages_of(), and drop the ids that were there before yourself."
        )
    return Claims(state, ti.dag_id, ti.run_id, asset_lock(asset, ti.dag_id, state_path))
