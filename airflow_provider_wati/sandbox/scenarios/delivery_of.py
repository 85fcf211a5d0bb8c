"""The ``delivery`` of a scenario as the record that decides."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

from airflow_provider_wati.sandbox.model.delivery import Affected, Delivery, FailureShare, Range, Rates


def delivery_of(content: dict[str, Any] | None) -> Delivery:
    """
    Return what a scenario says of messages.

    :param content: its checked member ``delivery``; None for the usual delivery.
    """
    if content is None:
        return Delivery()
    failures = tuple(
        FailureShare(each["code"], each["share"], Affected(each.get("affects", Affected.ALL)))
        for each in content.get("failures", ())
    )
    given = {field.name: content[field.name] for field in fields(Rates) if field.name in content}
    for name, value in given.items():
        if name.endswith("_after"):
            given[name] = Range(*value)
        elif name == "replies":
            given[name] = tuple(value)
    return Delivery(content.get("seed", 1), failures, Rates(**given))


def content_of(delivery: Delivery) -> dict[str, Any] | None:
    """Return what ``delivery_of`` makes this record of."""
    if delivery.seed is None:
        return None
    rates = {
        name: list(value.values()) if isinstance(value, dict) else value
        for name, value in asdict(delivery.rates).items()
    }
    return {"seed": delivery.seed, "failures": [asdict(each) for each in delivery.failures], **rates}
