"""Webhooks: have WATI post what customers do to Airflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_wati._compat import conf
from airflow_provider_wati.client.endpoint import is_loopback
from airflow_provider_wati.exceptions import (
    WatiConfigurationError,
    WatiError,
    WatiPermissionError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.operators._base import WatiOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client import WatiClient
    from airflow_provider_wati.client.types import Webhook
    from airflow_provider_wati.hooks.settings import Settings

#: What the receiver makes use of: messages of customers, and how far messages to them have come.
DEFAULT_EVENTS = (
    "message",
    "sessionMessageSent",
    "sessionMessageFailed",
    "templateMessageSent",
    "templateMessageFailed",
    "sentMessageDELIVERED",
    "sentMessageREAD",
    "sentMessageREPLIED",
)
_ENABLED = "Enabled"
_HIDDEN = "***"
#: A shorter part of a path is a word, not a secret.
_SHORTEST_SECRET = 8
_LEFT_OUT = "WATI refused it; what it says is left out, because it repeats the address with the secret."


@dataclass(frozen=True, slots=True)
class _Address:
    """
    Where WATI posts events.

    :param url: with the secret in it.
    :param shown: without it, for logs, results and errors.
    :param to_paste: what to give the dashboard, with words for the secret.
    """

    url: str = field(repr=False)
    shown: str
    to_paste: str

    def hide(self, text: str) -> str:
        """
        Take the secret out of a text that may repeat the URL.

        A text that repeats it in another form, such as with digits masked, is left out as a whole.
        """
        hidden = text.replace(self.url, self.shown)
        for part in self._parts():
            hidden = hidden.replace(part, _HIDDEN)
        return _LEFT_OUT if self._is_told_by(hidden) else hidden

    def _is_told_by(self, text: str) -> bool:
        return any(
            piece in text.casefold() and piece not in self.shown.casefold()
            for part in self._parts()
            for start in range(len(part) - _SHORTEST_SECRET + 1)
            for piece in [part[start : start + _SHORTEST_SECRET].casefold()]
        )

    def _parts(self) -> list[str]:
        """Return what of the URL is not shown, the longest first."""
        parts = urlsplit(self.url)
        pieces = {self.url.removeprefix(f"{parts.scheme}://{parts.netloc}").strip("/"), parts.query}
        pieces |= set(parts.path.split("/"))
        return sorted(
            (piece for piece in pieces if len(piece) >= _SHORTEST_SECRET and piece not in self.shown),
            key=len,
            reverse=True,
        )


class WatiSubscribeWebhookOperator(WatiOperator):
    """
    Subscribe Airflow's receiver, or another URL, to events of WATI (WATI's plan Pro and above).

    It may run as often as you like: it lists the subscriptions, creates the one that is missing, changes one with other
    events, enables one that is Disabled or Defective, and else does nothing. The secret in the URL is not logged, and
    stands neither in the result nor in errors.

    .. code-block:: python

        WatiSubscribeWebhookOperator(task_id="subscribe")

    :param url: where WATI posts events. Not templated, because Airflow stores and shows what is. The default is the
        receiver of this connection: ``[wati] receiver_url``, else ``[api] base_url``, then ``/wati/webhooks/``, the
        connection id and its ``webhook_secret``.
    :param event_types: names as WATI's event types API gives them (templated). By default what the receiver uses:
        messages of customers, and the statuses of messages to them, in their ``_v2`` shape where WATI offers it.
    :param channel_phone_number: the number of the channel whose events are wanted, in digits (templated); the
        connection's channel if that is a number, else WATI's default one. Only used for a new subscription.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    :return: ``{"webhook_id": ..., "status": ..., "url": ..., "event_types": [...], "change": ...}``; the URL without
        the secret, the change one of ``created``, ``updated`` and ``none``.
    :raises WatiConfigurationError: before any call, when the URL is not known, or the connection has no secret or tenant.
    :raises WatiValidationError: before any call, for a URL or event types that cannot be right.
    :raises WatiPermissionError: when WATI does not let the token do it (403); it says what to do in the dashboard.
    :raises WatiRejectedError: when WATI refuses the subscription.
    :raises WatiUnknownOutcomeError: when the answer is lost and WATI does not list the subscription; the next attempt looks again.
    """

    template_fields: Sequence[str] = ("event_types", "channel_phone_number", "wati_conn_id")

    def __init__(
        self,
        *,
        url: str | None = None,
        event_types: Sequence[str] | None = None,
        channel_phone_number: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.url = url
        self.event_types = event_types
        self.channel_phone_number = channel_phone_number

    def execute(self, context: Context) -> dict[str, Any]:
        address = self._address()
        given = _event_types(self.event_types)
        client = self.hook.client
        self._warn_of_what_cannot_be_reached(address, client)
        with _without_secret(address):
            try:
                event_types = given or self._wanted_events(client)
                webhook, change = self._subscribe(client, address, event_types)
            except WatiPermissionError as error:
                raise WatiPermissionError(
                    _what_to_click(address, given or DEFAULT_EVENTS),
                    status_code=error.status_code,
                    wati_message=error.wati_message,
                ) from None
        self.log.info(
            "Webhook %s to %s: %s, %d event types.", webhook["id"], address.shown, change, len(event_types)
        )
        return {
            "webhook_id": webhook["id"],
            "status": _ENABLED,
            "url": address.shown,
            "event_types": list(event_types),
            "change": change,
        }

    def _address(self) -> _Address:
        if self.url is not None:
            return _address_of(self.url)
        secret = webhook_secret_of(self.hook.settings)
        if secret is None:
            raise WatiConfigurationError(
                f"Connection {self.wati_conn_id!r} has no webhook_secret, which the receiver needs: put one of at least "
                "24 characters into its extra, or give the url of another receiver."
            )
        base = _receiver_base()
        path = f"/wati/webhooks/{quote(self.wati_conn_id, safe='')}/"
        return _Address(
            url=base + path + secret,
            shown=f"{base}{path}{_HIDDEN}",
            to_paste=(
                f"{base}{path}WEBHOOK-SECRET (WEBHOOK-SECRET stands for the extra webhook_secret of the connection "
                f"{self.wati_conn_id!r})"
            ),
        )

    def _warn_of_what_cannot_be_reached(self, address: _Address, client: WatiClient) -> None:
        """Warn where WATI could not post to the URL; a sandbox on this machine can."""
        parts = urlsplit(address.url)
        is_sandbox = is_loopback(urlsplit(client.endpoint.base_url).hostname or "")
        if is_sandbox or (parts.scheme == "https" and not is_loopback(parts.hostname or "")):
            return
        self.log.warning(
            "WATI cannot post to %s: it needs an address that is reachable from the internet by https. Set "
            "[wati] receiver_url to that of the API server.",
            address.shown,
        )

    def _wanted_events(self, client: WatiClient) -> list[str]:
        """Return the events of the receiver under the names that WATI offers; the plain ones where it shows no list."""
        offered = set(_texts_in(client.get_webhook_event_types()))
        if not offered:
            return list(DEFAULT_EVENTS)
        names = [
            next((each for each in (f"{name}_v2", name) if each in offered), None) for name in DEFAULT_EVENTS
        ]
        missing = [name for name, found in zip(DEFAULT_EVENTS, names, strict=True) if found is None]
        if missing:
            self.log.warning("WATI does not offer these events to this account: %s.", ", ".join(missing))
        wanted = [name for name in names if name is not None]
        if not wanted:
            raise WatiValidationError("WATI offers none of the events of the receiver: give event_types.")
        return wanted

    def _subscribe(
        self, client: WatiClient, address: _Address, event_types: Sequence[str]
    ) -> tuple[Webhook, str]:
        webhook = _find(client, address)
        if webhook is None:
            webhook, is_new = self._create(client, address, event_types)
            if is_new:
                return webhook, "created"
        if webhook["status"] == _ENABLED and set(webhook["event_types"]) == set(event_types):
            return webhook, "none"
        client.update_webhook(webhook["id"], address.url, list(event_types), enabled=True)
        return webhook, "updated"

    def _create(
        self, client: WatiClient, address: _Address, event_types: Sequence[str]
    ) -> tuple[Webhook, bool]:
        """
        Create the subscription.

        A lost answer leaves open whether it exists, and a refusal may mean that somebody was faster: the list decides.

        :return: the subscription, and whether it is known to be made by this call.
        """
        try:
            return client.create_webhook(address.url, event_types, self._channel(client)), True
        except (WatiUnknownOutcomeError, WatiRejectedError):
            webhook = _find(client, address)
            if webhook is None:
                raise
            return webhook, False

    def _channel(self, client: WatiClient) -> str | None:
        if self.channel_phone_number:
            return self.channel_phone_number
        channel = client.channel
        return channel if channel and channel.isascii() and channel.isdecimal() else None


def webhook_secret_of(settings: Settings) -> str | None:
    """Return the secret of the receiver's URL; None where the connection has none."""
    return settings.webhook_secret


def _receiver_base() -> str:
    """
    Return the address of the API server as WATI sees it, without a slash at its end.

    :raises WatiConfigurationError: when no option says it.
    """
    base: str | None = conf.get("wati", "receiver_url", fallback=None) or conf.get(
        "api", "base_url", fallback=None
    )
    if not base or not base.strip():
        raise WatiConfigurationError(
            "The address of the receiver is not known: set [wati] receiver_url, or [api] base_url, to the address under "
            "which WATI reaches the API server."
        )
    base = base.strip().rstrip("/")
    _check(base, "[wati] receiver_url or [api] base_url")
    return base


def _address_of(url: str) -> _Address:
    _check(url, "url")
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{_HIDDEN}"
    return _Address(url=url, shown=shown, to_paste="the url of the task")


def _check(url: Any, what: str) -> None:
    """
    Check a URL without repeating it: it may hold a secret.

    :raises WatiValidationError: naming what it is.
    """
    if not _is_web_address(url):
        raise WatiValidationError(f"{what} is not a web address like https://airflow.example.com/hook.")


def _is_web_address(url: Any) -> bool:
    if not isinstance(url, str) or not url.isascii() or any(character <= " " for character in url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _event_types(given: Any) -> list[str]:
    """
    Return the event types that the DAG gives; none for the default ones.

    :raises WatiValidationError: for what is not a list of names.
    """
    if given is None:
        return []
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise WatiValidationError("event_types is a list of names, such as ['message'].")
    if not given or not all(isinstance(each, str) and each.strip() for each in given):
        raise WatiValidationError("event_types needs at least one name, and no empty ones.")
    return list(dict.fromkeys(given))


def _texts_in(answer: Any) -> Iterator[str]:
    """Yield every text in an answer whose shape WATI does not document."""
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, dict | list):
        for each in answer.values() if isinstance(answer, dict) else answer:
            yield from _texts_in(each)


def _find(client: WatiClient, address: _Address) -> Webhook | None:
    """Return the subscription of a URL; one that is enabled goes before others."""
    found = [webhook for webhook in client.list_webhooks() if webhook["url"] == address.url]
    return min(found, key=lambda webhook: webhook["status"] != _ENABLED, default=None)


def _what_to_click(address: _Address, event_types: Sequence[str]) -> str:
    return (
        "WATI does not let this token manage webhooks (403): the API of the plan Growth has none, and on other plans the "
        "token needs the scopes webhooks:create and webhooks:write. By hand: in the WATI dashboard, open Connectors, "
        f"Webhooks, Add Webhook; paste {address.to_paste}; set the status to Enabled; choose the events "
        f"{', '.join(event_types)} (the v2 ones where there are two); save."
    )


@contextmanager
def _without_secret(address: _Address) -> Iterator[None]:
    """Take the secret out of errors: WATI may repeat the URL in what it refuses."""
    try:
        yield
    except WatiError as error:
        message, said = address.hide(str(error)), error.wati_message and address.hide(error.wati_message)
        if (message, said) == (str(error), error.wati_message):
            raise
        raise type(error)(
            message, status_code=error.status_code, retry_after=error.retry_after, wati_message=said
        ) from None
