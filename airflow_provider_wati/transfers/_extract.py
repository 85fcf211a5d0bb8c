"""What the transfers from WATI share: their arguments, and what each of them reads."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.state.directory import key_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.extracting.rows import Column, Extract

_WORDS = {
    "true": True,
    "1": True,
    "yes": True,
    "false": False,
    "0": False,
    "no": False,
    "": False,
    "none": False,
}


class ExtractOperator(WatiOperator):
    """
    Base of the transfers from WATI.

    :param columns: the columns to keep (templated); None for all. ``id`` and ``extracted_at`` are always there.
    :param full: whether to read everything again (templated); a status may go back then.
    :param state_path: a directory or object-storage URI that all workers reach, for the watermark (templated).
    """

    template_fields: Sequence[str] = ("columns", "full", "state_path", "wati_conn_id")
    #: Whether a run reads from a watermark on; contacts are always read whole.
    has_watermark = True

    def __init__(
        self,
        *,
        columns: Sequence[str] | None = None,
        full: bool | str = False,
        state_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.columns = columns
        self.full = full
        self.state_path = state_path

    @abstractmethod
    def _source(self) -> Extract:
        """Return what reads the rows from WATI."""

    @property
    def is_full(self) -> bool:
        """
        Whether everything is read again.

        :raises WatiValidationError: when ``full`` is a text that is neither true nor false.
        """
        if isinstance(self.full, str):
            word = self.full.strip().casefold()
            if word not in _WORDS:
                raise WatiValidationError(f"full is {self.full!r}: give True or False.")
            return _WORDS[word]
        return bool(self.full)

    def _chosen(self, source: Extract) -> tuple[Column, ...]:
        return source.entity.choose(self.columns)

    @property
    def _account(self) -> str:
        """
        The account and channel that is read, which has a watermark of its own.

        Where the tenant is not known, two connections to one server may be two accounts.
        """
        client = self.hook.client
        account = (
            self.hook.account if client.endpoint.tenant_id else f"{self.hook.account}{self.wati_conn_id}"
        )
        return f"{account}/{client.channel or ''}"

    def _state_key(self, source: Extract, context: Context, target: str) -> str:
        """Return the name of the watermark in a directory."""
        ti = context["ti"]
        task = f"{ti.dag_id}/{ti.task_id}/{ti.map_index}"
        return key_of("wati_extract", "\n".join((source.entity.name, task, self._account, target)))


class ContactsSource(ExtractOperator):
    """Reads contacts."""

    has_watermark = False

    def _source(self) -> Extract:
        from airflow_provider_wati.extracting.contacts import ContactsExtract

        return ContactsExtract(self.hook.client)


class MessagesSource(ExtractOperator):
    """Reads messages."""

    def _source(self) -> Extract:
        from airflow_provider_wati.extracting.messages import MessagesExtract

        return MessagesExtract(self.hook.client, self.clock)


class CampaignRecipientsSource(ExtractOperator):
    """
    Reads the recipients of campaigns.

    :param campaigns: an id, a list of ids, or the ``campaigns`` of the summary of a send (templated); None for all
        campaigns of the connection's channel.
    """

    template_fields: Sequence[str] = ("campaigns", *ExtractOperator.template_fields)

    def __init__(
        self, *, campaigns: str | Sequence[str | Mapping[str, Any]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.campaigns = campaigns

    def _source(self) -> Extract:
        from airflow_provider_wati.extracting.campaign_recipients import (
            CampaignRecipientsExtract,
            campaign_ids,
        )

        try:
            ids = campaign_ids(self.campaigns)
        except TypeError as error:
            raise WatiValidationError(
                f"campaigns is of another form ({error}): give an id, a list of ids, or the campaigns of a summary."
            ) from None
        return CampaignRecipientsExtract(self.hook.client, self.clock, ids)
