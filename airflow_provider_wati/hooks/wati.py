"""The hook: an Airflow connection becomes a client of WATI."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret

from airflow_provider_wati import connection_form
from airflow_provider_wati._compat import conf
from airflow_provider_wati.client.endpoint import is_loopback
from airflow_provider_wati.clock import SYSTEM_CLOCK, Clock
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiResponseError,
)
from airflow_provider_wati.hooks.settings import (
    ClientArguments,
    Settings,
    name_of,
    naming,
    settings_of,
)

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.endpoint import Endpoint
    from airflow_provider_wati.listening.received_statuses import ReceivedStatuses

log: logging.Logger = logging.getLogger(__name__)

#: Seconds that a test of the connection waits to connect, and for each piece of the answer: someone is watching.
PATIENCE = (3.0, 4.5)
#: Seconds that come on top, so that a test ends within 5 s in all, also when its answer arrives byte by byte.
_MARGIN = 0.5


class WatiHook(BaseHook):
    """
    Connect to one WATI account.

    Nothing is looked up or sent before the first use, so that a hook can be made while a DAG is parsed.

    :param wati_conn_id: the connection of type ``wati``.
    """

    conn_name_attr = "wati_conn_id"
    default_conn_name = connection_form.DEFAULT_CONN_ID
    conn_type = connection_form.CONN_TYPE
    hook_name = connection_form.HOOK_NAME
    #: Where the client's times and pauses come from; tests put another one here.
    clock: ClassVar[Clock] = SYSTEM_CLOCK

    def __init__(self, wati_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wati_conn_id = wati_conn_id
        #: Whether the log has said that the receiver cannot be asked.
        self._has_said = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what holds the token; a copy and an unpickled hook read the connection again."""
        return {name: value for name, value in vars(self).items() if name not in ("settings", "client")}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the extra fields for Airflow 3.1; later versions read them from the provider info."""
        return connection_form.python_form_widgets()

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how Airflow 3.1 shows its own fields; later versions read it from the provider info."""
        return connection_form.python_ui_field_behaviour()

    @cached_property
    def settings(self) -> Settings:
        """
        What the connection says, looked up once.

        :raises WatiConfigurationError: when a field is missing or cannot be used.
        """
        return _masked(settings_of(self.get_connection(self.wati_conn_id)))

    async def load_settings(self) -> None:
        """
        Look the connection up from an event loop, as a trigger does; afterwards :attr:`client` needs no look-up.

        :raises WatiConfigurationError: when a field is missing or cannot be used.
        """
        try:
            connection = await self.aget_connection(self.wati_conn_id)
        except ImportError:
            # Airflow 3.1.0 outside its triggerer looks for the triggerer's channel before it looks for the connection.
            connection = await asyncio.to_thread(self.get_connection, self.wati_conn_id)
        self.settings = _masked(settings_of(connection))

    @cached_property
    def client(self) -> WatiClient:
        """
        The client, made once; it keeps its connections open from call to call.

        :raises WatiConfigurationError: when a field is missing or cannot be used.
        """
        return self._make_client(self.settings.client_arguments)

    @property
    def default_region(self) -> str | None:
        """The country of phone numbers without a country code, as two capital letters, if there is one."""
        return self.settings.default_region

    @property
    def account(self) -> str:
        """A name of the WATI account, for state that must not be taken for another account's."""
        endpoint = self.client.endpoint
        return f"{endpoint.base_url}/{endpoint.tenant_id or ''}"

    def get_conn(self) -> WatiClient:
        """
        Return :attr:`client`.

        :raises WatiConfigurationError: when a field is missing or cannot be used.
        """
        return self.client

    def polling_client(self) -> WatiClient:
        """
        Make a client that makes one attempt per call, for callers that look again later anyway.

        :raises WatiConfigurationError: when a field is missing or cannot be used.
        """
        return self._make_client({**self.settings.client_arguments, "max_tries": 1})

    def received_statuses(self) -> ReceivedStatuses | None:
        """
        Return the statuses that Airflow's receiver has stored for this connection; None where it receives none.

        The receiver is at ``[wati] receiver_url``, else at ``[api] base_url``.
        """
        settings = self.settings
        url = conf.get("wati", "receiver_url", fallback=None) or conf.get("api", "base_url", fallback=None)
        if settings.webhook_secret is None or not url or not url.startswith(("http://", "https://")):
            return None
        from airflow_provider_wati.listening.read_key import read_key
        from airflow_provider_wati.listening.received_statuses import ReceivedStatuses

        key = read_key(settings.client_arguments["token"].reveal(), self.wati_conn_id)
        mask_secret(key)
        return ReceivedStatuses(url, self.wati_conn_id, key)

    def news(self, kinds: Sequence[str]) -> str | None:
        """
        Return a mark that differs once something has come in at Airflow's receiver.

        :param kinds: ``messages``, ``statuses``, or both; with none, the receiver is not asked.
        :return: None where nothing is known: no receiver, or one that cannot be asked, which the log says once.
        """
        received = self.received_statuses() if kinds else None
        if received is None:
            return None
        from airflow_provider_wati.listening.received_statuses import ReceiverUnavailableError

        try:
            marks = received.news()
        except ReceiverUnavailableError as error:
            if not self._has_said:
                self._has_said = True
                log.warning(
                    "The receiver of connection %r does not say whether anything has come in: %s. WATI is looked at each "
                    "time. Check [wati] receiver_url or [api] base_url.",
                    self.wati_conn_id,
                    error,
                )
            return None
        return " ".join(marks[kind] for kind in kinds)

    def test_connection(self) -> tuple[bool, str]:
        """
        Read the account's balance, once and within 5 s.

        :return: whether WATI knows the token, and one sentence for a person. Nothing is ever raised.
        """
        try:
            return self._probe()
        except WatiError as error:
            # The button of the UI tests a copy under a random id, which would only puzzle here.
            return False, str(error).removeprefix(name_of(self.wati_conn_id))
        except Exception as error:
            # Without its text: Airflow's own errors may repeat the URI of the connection, token included.
            return False, (
                f"The connection could not be tested ({type(error).__name__}): check that it exists, and if it is "
                "given as a URI or JSON, that this is well formed."
            )

    def _probe(self) -> tuple[bool, str]:
        endpoint = self.client.endpoint
        hasty: ClientArguments = {
            **self.settings.client_arguments,
            "timeout": PATIENCE,
            "max_tries": 1,
            "max_seconds": _MARGIN,
            "rate_limits": {"*": None},
        }
        host = endpoint.base_url.partition("://")[2]
        try:
            with closing(self._make_client(hasty)) as client:
                client.get_credits()
        except WatiConnectionError as error:
            return False, f"{error}{_sandbox_hint(endpoint)}"
        except WatiPermissionError:
            return True, (
                f"{host} knows the access token, which may not read the account's credits (403): its scopes are "
                "narrower than `api`, so check that they cover what your DAGs do."
            )
        except WatiAuthenticationError:
            return False, (
                f"{host} does not accept the {connection_form.ACCESS_TOKEN} (401): it is wrong, expired or rotated, "
                "or belongs to another server; copy a current one from the WATI dashboard."
            )
        except (WatiNotFoundError, WatiResponseError) as error:
            return False, (
                f"{host} answers, but not as WATI does: check the {connection_form.API_ENDPOINT}. ({error})"
            )
        tenant = (
            f"tenant {endpoint.tenant_id} as the connection gives it"
            if endpoint.tenant_id
            else "tenant not known: cancelling a schedule and looking a message up by its local id need `tenant_id`"
        )
        unknown = ", ".join(self.settings.unknown)
        ignored = f" Ignored, because no field of the extra is called so: {unknown}." if unknown else ""
        return True, f"Connected to {host} ({tenant}).{ignored}"

    def _make_client(self, arguments: ClientArguments) -> WatiClient:
        # requests takes 200 ms to import, which a DAG file that only names operators need not pay.
        from airflow_provider_wati.client import WatiClient

        with naming(self.wati_conn_id):
            return WatiClient(**arguments, clock=self.clock)


def _masked(settings: Settings) -> Settings:
    # Airflow masks the password as it stands; without its `Bearer ` it would not be recognised.
    mask_secret(settings.client_arguments["token"].reveal())
    if settings.webhook_secret is not None:
        mask_secret(settings.webhook_secret)
    storage = settings.client_arguments.get("rate_limit_storage")
    if storage is not None:
        from airflow_provider_wati.client.rate_storage import secrets_in

        for secret in (storage, *secrets_in(storage)):
            mask_secret(secret)
    return settings


def _sandbox_hint(endpoint: Endpoint) -> str:
    url = urlsplit(endpoint.base_url)
    if url.scheme == "https" and is_loopback(url.hostname or ""):
        return f" A sandbox on this machine speaks plain HTTP: write http://{url.netloc}."
    return ""
