"""What a run reads from its asset events."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_wati.assets import messages_asset, messages_of, new_messages, statuses_of
from airflow_provider_wati.exceptions import WatiConfigurationError, WatiValidationError
from airflow_provider_wati.state import asset_state

NAME = "wati://wati_default/messages"
STATUS = {"id": "s", "status": "read"}


def polled(*ids: str) -> Any:
    """An event as a trigger makes it."""
    payload = {"messages": [{"id": id, "text": f"text of {id}"} for id in ids]}
    return SimpleNamespace(extra={"from_trigger": True, "payload": payload})


def received(*ids: str) -> Any:
    """An event as the webhook receiver makes it."""
    return SimpleNamespace(extra={"messages": [{"id": id, "text": f"text of {id}"} for id in ids]})


def odd(extra: Any) -> Any:
    return SimpleNamespace(extra=extra)


def context(run: str, *events: Any, dag: str = "dag", name: str = NAME) -> Any:
    from airflow.sdk.definitions.asset import AssetAliasUniqueKey, AssetUniqueKey
    from airflow.sdk.execution_time.context import TriggeringAssetEventsAccessor

    # Not a dict of assets: those of Airflow 3.1.0 have no hash.
    keys: list[Any] = [AssetUniqueKey(name=name, uri=name), AssetAliasUniqueKey(name="an alias")]
    of_run = TriggeringAssetEventsAccessor(dict.fromkeys(keys, list(events)))
    return {"ti": SimpleNamespace(dag_id=dag, run_id=run), "triggering_asset_events": of_run}


def by_hand() -> Any:
    """The context of a run that no event has started."""
    return {**context("one"), "triggering_asset_events": {}}


def ids(messages: Any) -> list[str]:
    return [message["id"] for message in messages]


def test_messages_of_both_forms_come_once_in_their_order() -> None:
    """Events of the poller and of the receiver are read alike, and a repeat is dropped."""
    events = context("one", polled("a", "b"), received("b", "c"), polled("a"))["triggering_asset_events"]
    assert [message["text"] for message in messages_of(events)] == ["text of a", "text of b", "text of c"]


@pytest.mark.parametrize(
    "extra", [None, {}, {"messages": None}, {"from_trigger": True, "payload": "x"}, {"messages": ["x", 1]}]
)
def test_events_of_others_hold_nothing(extra: Any) -> None:
    """An event that somebody else made for the asset is no error."""
    events = context("one", odd(extra), received("a"))["triggering_asset_events"]
    assert ids(messages_of(events)) == ["a"]
    assert statuses_of(events) == []


def test_statuses_of_an_event() -> None:
    """Statuses are read from their events, and are no messages."""
    events = context("one", odd({"statuses": [STATUS, STATUS]}))["triggering_asset_events"]
    assert statuses_of(events) == [STATUS, STATUS]
    assert messages_of(events) == []


def test_a_repeat_belongs_to_the_run_that_got_it_first(tmp_path: Path) -> None:
    """Another run does not get it; a retry and another task of the first run do; and so does another DAG."""
    path = str(tmp_path)
    first, second = context("one", polled("a", "b")), context("two", polled("b", "c"))
    assert ids(new_messages(first, state_path=path)) == ["a", "b"]
    assert ids(new_messages(second, state_path=path)) == ["c"]
    assert ids(new_messages(first, state_path=path)) == ["a", "b"]
    assert ids(new_messages(context("two", polled("b", "c"), dag="other"), state_path=path)) == ["b", "c"]


def test_connections_are_kept_apart(tmp_path: Path) -> None:
    """The same id of another account is another message."""
    path = str(tmp_path)
    assert ids(new_messages(context("one", polled("a")), state_path=path)) == ["a"]
    other = context("two", polled("a"), name="wati://other/messages")
    assert ids(new_messages(other, state_path=path)) == ["a"]


def test_a_run_without_events_gets_nothing(tmp_path: Path) -> None:
    """A run that somebody has started by hand has no messages."""
    assert new_messages(by_hand()) == []
    assert list(tmp_path.iterdir()) == []


def test_without_state_the_error_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow keeps no state for assets and there is no directory, the error says what to set."""
    monkeypatch.setattr(asset_state, "AssetStateStoreAccessor", None)
    with pytest.raises(WatiConfigurationError, match=r"\[wati\] state_path"):
        new_messages(context("one", polled("a")))
    assert new_messages(by_hand()) == []


def test_the_asset_is_polled_or_only_named() -> None:
    """The asset has the name of the contract; with an interval it is watched, without one it is not."""
    watched, named = messages_asset(poll_interval=60), messages_asset("shop", poll_interval=None)
    assert (watched.name, watched.uri, named.name) == (NAME, NAME, "wati://shop/messages")
    [watcher] = watched.watchers
    arguments = watcher.trigger.serialize()[1]
    assert (arguments["wati_conn_id"], arguments["poll_interval"]) == ("wati_default", 60.0)
    assert named.watchers == []
    with pytest.raises(WatiValidationError, match="poll_interval"):
        messages_asset(poll_interval=0)
