"""What can be chosen about a sandbox, above all where WATI's documentation leaves a choice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

PLANS = ("growth", "pro", "business")

_CHOICES: dict[str, tuple[object, ...]] = {
    "plan": (None, *PLANS),
    "duplicate_contact": ("refuse", "overwrite", "ignore"),
    "unknown_contact_in_update": ("refuse", "skip"),
    "missing_status": (404, 400),
    "retry_after": ("none", "seconds", "date"),
    "statistics": ("cumulative", "exclusive"),
    "webhooks_to_any_host": (False, True),
}
_MAX_SPEED = 1_000_000_000
_MAX_TIMEOUT = 600
#: That calls may leave this machine is for the one who starts the sandbox to say.
_FIXED_AT_START = ("tenant", "webhooks_to_any_host")


@dataclass(frozen=True)
class Settings:
    """
    The choices of one sandbox.

    :param tenant: workspace id, the first path segment of V1.
    :param plan: ``growth``, ``pro`` or ``business`` switches on the plan's rate limits and feature gates.
    :param speed: how many times faster than usual message statuses advance.
    :param failed_share: part of the ordinary messages that fail with 131026, from 0 to 1.
    :param duplicate_contact: creating a number that exists is a 400 (``refuse``), changes the contact
        (``overwrite``), or returns it as it is (``ignore``). Undocumented at WATI.
    :param unknown_contact_in_update: a bulk update that names an unknown contact is a 400 with nothing
        changed (``refuse``), or goes on without it (``skip``). Undocumented at WATI.
    :param missing_status: status for an unknown contact, template, broadcast or message. Undocumented at WATI.
    :param unauthorized_text: plain-text body of a 401; WATI documents none, and one handler sends some.
    :param retry_after: what a rate-limit 429 says about waiting; WATI promises nothing.
    :param statistics: ``cumulative``: a read message counts as sent and delivered too; ``exclusive``: each
        message counts once, under its present status. Undocumented at WATI.
    :param webhooks_to_any_host: send webhooks to other machines too; else to loopback addresses only.
    :param webhook_timeout: seconds of real time for one attempt to deliver a webhook. Undocumented at WATI.
    :param webhook_duplicates: part of the webhook events that are sent twice, from 0 to 1.
    :param webhook_reordering: part of the webhook events that are held back for up to 30 seconds of the sandbox's
        clock, so that later ones overtake them, from 0 to 1.
    """

    tenant: str = "100001"
    plan: str | None = None
    speed: float = 1.0
    failed_share: float = 0.0
    duplicate_contact: str = "refuse"
    unknown_contact_in_update: str = "refuse"
    missing_status: int = 404
    unauthorized_text: str = ""
    retry_after: str = "none"
    statistics: str = "cumulative"
    webhooks_to_any_host: bool = False
    webhook_timeout: float = 10.0
    webhook_duplicates: float = 0.0
    webhook_reordering: float = 0.0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            # 404.0 is equal to 404, and is not a status.
            if not any(type(value) is type(choice) and value == choice for choice in choices):
                raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}")
        if not 0 <= self.speed <= _MAX_SPEED:
            raise ValueError(f"speed must be between 0 and {_MAX_SPEED}")
        for name in ("failed_share", "webhook_duplicates", "webhook_reordering"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1")
        if not 0 < self.webhook_timeout <= _MAX_TIMEOUT:
            raise ValueError(f"webhook_timeout must be more than 0 and at most {_MAX_TIMEOUT}")

    def changed(self, changes: dict[str, Any]) -> Settings:
        """
        Return these settings with some of them changed.

        :raises ValueError: for an unknown name or a value that does not fit.
        """
        known = {field.name: field.type for field in fields(self)}
        for name, value in changes.items():
            if name not in known or name in _FIXED_AT_START:
                raise ValueError(f"{name} is not a setting that can be changed")
            if name not in _CHOICES and not _fits(value, str(known[name])):
                raise ValueError(f"{name} must be of type {known[name]}")
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _fits(value: object, type_name: str) -> bool:
    if type_name == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)
