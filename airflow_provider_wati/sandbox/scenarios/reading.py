"""Scenario files: read, checked, and refused with the place of what is wrong."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.errors import ApiError
from airflow_provider_wati.sandbox.scenarios.delivery_of import delivery_of
from airflow_provider_wati.sandbox.scenarios.planting import plant
from airflow_provider_wati.sandbox.scenarios.references import check_references
from airflow_provider_wati.sandbox.scenarios.shape import check_shape

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.model.delivery import Delivery
    from airflow_provider_wati.sandbox.model.state import State

BUILT_IN = ("shop", "clinic", "helpdesk")
_FOLDER = Path(__file__).parent
_MOST_BYTES = 64 * 1024 * 1024


class ScenarioError(ValueError):
    """A scenario cannot be used. The message names the file and the place in it, never what a contact's data are."""


@dataclass(frozen=True)
class Scenario:
    """
    What a fresh sandbox contains.

    :param name: the file's, for messages.
    :param content: the checked JSON.
    :param delivery: what becomes of messages.
    """

    name: str
    content: dict[str, Any]
    delivery: Delivery

    def plant(self, state: State, *, people: bool = True) -> None:
        """
        Fill an empty workspace.

        :param people: also add contacts and their conversations.
        """
        state.delivery = self.delivery
        plant(state, self.content, people=people)


def load_scenario(name: str | Path) -> Scenario:
    """
    Load a scenario.

    :param name: ``shop``, ``clinic``, ``helpdesk``, or the path of a JSON file.
    :return: the checked scenario.
    :raises ScenarioError: when there is no such scenario or it cannot be used.
    """
    path = _FOLDER / f"{name}.json" if name in BUILT_IN else Path(name)
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ScenarioError(
            f"The scenario {name} cannot be read: {error.strerror}. "
            f"Give one of {', '.join(BUILT_IN)}, or the path of a JSON file."
        ) from None
    if len(raw) > _MOST_BYTES:
        raise ScenarioError(f"The scenario {path} is larger than {_MOST_BYTES // 1024**2} MB.")
    return read_scenario(raw, str(name))


def read_scenario(raw: bytes, name: str) -> Scenario:
    """
    Read a scenario from its JSON.

    :param raw: UTF-8.
    :param name: for messages.
    :return: the checked scenario.
    :raises ScenarioError: names the line of what is not JSON, else the member, such as ``contacts[3].phone``.
    """
    try:
        content = json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_members, parse_constant=_no_constant)
        json.dumps(content, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ScenarioError(f"{name}: {place}: this is not JSON: {error.msg}.") from None
    except UnicodeError:
        raise ScenarioError(f"{name}: the file is not UTF-8, or has half of a character in it.") from None
    except RecursionError:
        raise ScenarioError(f"{name}: the JSON is nested too deep.") from None
    except ValueError as error:
        raise ScenarioError(f"{name}: {error}") from None
    try:
        check_shape(content)
        check_references(content)
    except ApiError as error:
        raise ScenarioError(f"{name}: {error.message}") from None
    return Scenario(name, content, delivery_of(content.get("delivery")))


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a member that is there twice: JSON would silently take the last one."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} is there twice in the same object.")
        found[name] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON.")
