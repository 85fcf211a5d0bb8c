"""How the status of a message climbs: one order, in which a read implies delivered and a failure is final."""

from __future__ import annotations

from airflow_provider_wati.client.responses import has_failed

#: The stages of a message that people count, in order. Who reached one has reached those before it.
STAGES = ("sent", "delivered", "read", "replied")
#: Final: whatever WATI says later, such a message goes no further.
_FINAL = ("stopped", "failed")
_ORDER = {
    status: place
    for place, status in enumerate(("pending", "queued", "processing", "sending", *STAGES, *_FINAL), 1)
}


def status_of(listed: str | None) -> str | None:
    """Return a status in small letters, because WATI's spelling differs, and one word for all that says failed."""
    status = (listed or "").strip().casefold()
    if has_failed(status):
        return "failed"
    return status or None


def later_status(stored: str | None, listed: str | None) -> str | None:
    """
    Return the status that is further on; a word that is not known is not as far as any other.

    :param stored: the status so far.
    :param listed: the status as WATI lists it now.
    """
    if stored is None or listed is None:
        return listed or stored
    return stored if _ORDER.get(stored, 0) > _ORDER.get(listed, 0) else listed


def has_reached(status: str | None, stage: str) -> bool:
    """
    Return whether a message has reached a stage by its status.

    :param stage: one of :data:`STAGES`.
    """
    return status in STAGES and STAGES.index(status) >= STAGES.index(stage)
