"""What a send would take, for a dry run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.client.rate_limit import EndpointGroup, seconds_at
from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.tables.outcomes import DRY_RUN

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import MessageTemplate
    from airflow_provider_wati.sending.queue import SendQueue

log: logging.Logger = logging.getLogger(__name__)


def estimate_of(
    client: WatiClient, queue: SendQueue, template: MessageTemplate | None, people_per_call: int
) -> dict[str, Any]:
    """
    Estimate a send, and mark its rows as those of a dry run.

    :param client: the account.
    :param queue: the rows, checked.
    :param template: the template; None if there is none of that name.
    :param people_per_call: the size of a batch.
    :return: ``messages``, ``calls``, ``seconds`` at the plan's pace, and ``estimated_cost``, None where WATI gives none.
    """
    messages = queue.count_unsent()
    calls = -(-messages // people_per_call)
    seconds = seconds_of(client, calls)
    cost = _cost_of(client, queue, template) if template else None
    queue.explain_unsent(DRY_RUN)
    log.info(
        "Dry run: %s messages would go in %s calls, in %s s or more.",
        f"{messages:,}",
        f"{calls:,}",
        f"{seconds:,.0f}",
    )
    return {"messages": messages, "calls": calls, "seconds": seconds, "estimated_cost": cost}


def seconds_of(client: WatiClient, calls: int) -> float:
    """Return how long a number of template calls take at least, at the pace of the plan."""
    return seconds_at(client.rate_limits[EndpointGroup.TEMPLATES], calls)


def _cost_of(client: WatiClient, queue: SendQueue, template: MessageTemplate) -> float | None:
    """Ask WATI what it would cost; None where it cannot say, which it can for contacts that it knows only."""
    total = 0.0
    try:
        for contact_ids in queue.contact_ids():
            known = [contact_id for contact_id in contact_ids if contact_id]
            if len(known) < len(contact_ids):
                return None
            total += client.estimate_campaign_cost(template["id"], known)["estimated_cost"]
    except (WatiError, KeyError) as error:
        log.warning("WATI gives no estimate of the cost: %s", error)
        return None
    return total
