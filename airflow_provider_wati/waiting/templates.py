"""Wait until WhatsApp has approved a template."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_wati.exceptions import WatiNotFoundError
from airflow_provider_wati.masking import clean
from airflow_provider_wati.waiting.condition import Look, Verdict

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.clock import Clock

_APPROVED = "APPROVED"
#: Statuses that end the wait: somebody has to change the template first.
_REFUSED = frozenset({"REJECTED", "DISABLED", "DELETED"})


def judge_template(statuses: Iterable[str]) -> Verdict:
    """
    Say whether the wait for a template is over. A status that is not known is not decided yet.

    :param statuses: of all templates of that name (in several languages, say); one that is approved suffices.
    """
    words = {status.strip().upper() for status in statuses}
    if _APPROVED in words:
        return Verdict.DONE
    return Verdict.FAILED if words and words <= _REFUSED else Verdict.WAITING


@dataclass(slots=True, kw_only=True)
class TemplateCondition:
    """
    A template that is approved; the fields are plain JSON.

    :param template_name: its exact name.
    :param channel: name or number of the channel; None for the connection's, else WATI's default.
    """

    news: ClassVar[tuple[str, ...]] = ()
    template_name: str
    channel: str | None = None

    def look(self, client: WatiClient, clock: Clock) -> Look:
        """
        Read the list of templates.

        :raises WatiNotFoundError: when the channel has none of that name.
        """
        named = [
            each for each in client.iter_templates(self.channel) if each.get("name") == self.template_name
        ]
        if not named:
            channel = self.channel or client.channel or "default"
            raise WatiNotFoundError(
                f"WATI has no template {self.template_name!r} on the channel {channel!r}."
            )
        statuses = [clean(str(each.get("status") or "")) for each in named]
        verdict = judge_template(statuses)
        shown = next((n for n, status in enumerate(statuses) if judge_template([status]) is verdict), 0)
        reason = f"The template {self.template_name!r} is {', '.join(sorted(set(statuses)))}."
        return Look(
            verdict, reason, {**self.unseen(), "id": named[shown].get("id"), "status": statuses[shown]}
        )

    def unseen(self) -> dict[str, Any]:
        """Return a result without an id and a status."""
        return {"id": None, "name": self.template_name, "status": None}
