"""
Makes calls to WATI: one session, timeouts, retries, and errors that say what is known about a failed call.

:mod:`.retry` decides what may be sent again. This module makes an attempt and classifies its failure.
"""

from __future__ import annotations

import json
import logging
import os
import re
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase
from requests.exceptions import InvalidURL
from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential_jitter
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InvalidChunkLength,
    LocationValueError,
    MaxRetryError,
    NewConnectionError,
    ProxyError,
)

from airflow_provider_wati import __version__
from airflow_provider_wati.client.bounds import (
    MAX_ERROR_BYTES,
    MAX_JSON_BYTES,
    MAX_MEDIA_BYTES,
    AnswerTooLargeError,
    Bounds,
    bounded,
    hit_deadline,
    read_body,
)
from airflow_provider_wati.client.endpoint import Endpoint, is_loopback
from airflow_provider_wati.client.responses import decode_json
from airflow_provider_wati.client.retry import (
    FailureKind,
    Safety,
    failure_kind_of,
    is_retryable,
    is_success,
    read_http_date,
    read_retry_after,
)
from airflow_provider_wati.client.tls import BoundedAdapter
from airflow_provider_wati.client.token import AccessToken, refuse_copies
from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiCallWithdrawnError,
    WatiConfigurationError,
    WatiConflictError,
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiRejectedError,
    WatiResponseError,
    WatiServerError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.masking import mask_numbers

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

    from airflow_provider_wati.client.multipart import MultipartUpload
    from airflow_provider_wati.client.rate_limit import EndpointGroup, Pacer
    from airflow_provider_wati.client.types import SendHooks
    from airflow_provider_wati.clock import Clock

log: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    One call of WATI's API.

    :param shown: the path as logs and errors show it, with ``{target}`` in place of the phone number.
    :param safety: how bad a repeat is.
    :param content: the JSON body, encoded.
    :param upload: makes the multipart body; called once for each attempt.
    :param accept: the media type to ask for.
    """

    method: str
    url: str
    shown: str
    group: EndpointGroup
    safety: Safety
    params: Mapping[str, str | int] | None = None
    content: bytes | None = None
    upload: Callable[[], MultipartUpload] | None = None
    accept: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.shown}"


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """
    WATI did what was asked.

    :param value: its answer, read.
    """

    value: T


@dataclass(frozen=True, slots=True)
class Failed:
    """
    An attempt that failed, or a call whose last attempt did.

    :param kind: what is known about it.
    :param error: what to raise.
    """

    kind: FailureKind
    error: WatiError


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The caller withdrew the call before it left."""


#: What became of an attempt, or of a call with all its attempts.
Outcome = Answered[T] | Failed | Withdrawn


class _Session(requests.Session):
    """
    Follows no redirects, and lets the environment choose the proxy, but not the CA bundle where the connection sets one.

    :param own_verify: ``verify`` of the connection, which takes precedence; None for that of the environment.
    """

    def __init__(self, own_verify: bool | str | None) -> None:
        super().__init__()
        # WATI needs no cookies, and a server could make each request larger than the one before.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._own_verify = own_verify

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        # The Location header may have any content, and requests would parse it.
        return None

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        settings = super().merge_environment_settings(*args, **kwargs)
        if self._own_verify is not None:
            # requests lets REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE replace the session's.
            settings["verify"] = self._own_verify
        return settings


class _BearerToken(AuthBase):
    """Sets the header on each request, so that no session or dict that could be logged holds the token."""

    def __init__(self, token: AccessToken) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._token.header()
        return request


class _NoToken(AuthBase):
    """Keeps ``requests`` from looking for credentials of its own, in a netrc file say."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


#: After this pause, a server or a load balancer may have dropped the connection. The outcome of a send on it would be ambiguous.
_STALE_AFTER = 20.0
_REDIRECTS = 5
#: How requests begins to say that a CA bundle or a certificate is missing.
_NO_CERTIFICATE = "Could not find"
_MESSAGE_LENGTH = 500
_REASON_LENGTH = 200

_ERRORS: dict[int, tuple[type[WatiError], str]] = {
    400: (WatiBadRequestError, ""),
    401: (
        WatiAuthenticationError,
        "The access token is wrong, expired or rotated: put a current one in the connection.",
    ),
    403: (
        WatiPermissionError,
        "The token's scopes, the role, the plan, the workspace or the channel do not allow it.",
    ),
    404: (
        WatiNotFoundError,
        "Either it does not exist, or the API endpoint of the connection is not WATI's.",
    ),
    409: (
        WatiConflictError,
        "Several open conversations match: put the channel before the target, as in '85291234567:85264318722'.",
    ),
    429: (
        WatiRateLimitError,
        "The call rate, the monthly quota or a limit of the plan is used up: lower rate_limits, or wait.",
    ),
}


class Transport:
    """
    Send calls to one WATI account.

    :param endpoint: where WATI is.
    :param token: the access token; it goes to the endpoint's host and nowhere else.
    :param pacer: holds each call back until its group's limit allows it.
    :param timeout: seconds to wait for a connection, and for each piece of the answer.
    :param verify: whether to check TLS certificates, or the path of a CA bundle to check them with; None for what
        the environment says, which is to check them with the public CAs if it says nothing.
    :param max_tries: how often one call goes out at the most.
    :param max_seconds: how long one call may take with all its attempts: none starts later, and the last one ends
        within one read timeout more, however slowly the host name is resolved or the answer arrives. Waiting for the
        pacer comes on top.
    :param clock: where times and pauses come from.
    :param adapter: what carries the requests, in place of the network.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        token: AccessToken,
        *,
        pacer: Pacer,
        timeout: tuple[float, float],
        verify: bool | str | None,
        max_tries: int,
        max_seconds: float,
        clock: Clock = SYSTEM_CLOCK,
        adapter: BaseAdapter | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._token = token
        self._auth = _BearerToken(token)
        self._pacer = pacer
        self._timeout = timeout
        self._max_tries = max_tries
        self._max_seconds = max_seconds
        self._clock = clock
        self._backoff = wait_exponential_jitter(initial=1, max=30, jitter=1)
        #: How far WATI's clock is ahead of the worker's, by the ``Date`` of the last answer that had one; None before.
        self.server_clock_offset: timedelta | None = None
        self._last_used = clock.monotonic()
        self._process = os.getpid()
        self._session = _Session(verify)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, adapter or BoundedAdapter())
        self._session.headers["User-Agent"] = (
            f"airflow-provider-wati/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"
        )
        # A proxy from the environment cannot reach this machine's loopback; a sandbox needs none.
        self._session.trust_env = not is_loopback(urlsplit(endpoint.base_url).hostname or "")

    def call(self, call: Call, read: Callable[[Any], T], hooks: SendHooks | None = None) -> T:
        """
        Make a call and read its answer.

        :param call: what to call.
        :param read: makes the result of the decoded JSON, and raises :class:`WatiResponseError` where it is not
            what WATI promises, or :class:`WatiRejectedError` where it refuses.
        :param hooks: what the caller does around each attempt of a call that is not idempotent.
        :raises WatiError: the subclass that says what is known; :class:`WatiUnknownOutcomeError` if a send may
            or may not have taken effect.
        """
        return _value_of(self.outcome(call, read, hooks), call)

    def outcome(self, call: Call, read: Callable[[Any], T], hooks: SendHooks | None = None) -> Outcome[T]:
        """
        Make a call and return what became of it; the parameters are those of :meth:`call`.

        :return: the outcome of the last attempt. The error of an ambiguous one is a :class:`WatiUnknownOutcomeError`
            where the call is not idempotent.
        """
        outcome = self._with_retries(call, lambda ends_at: self._attempt(call, read, hooks, ends_at))
        if not isinstance(outcome, Failed) or outcome.kind is not FailureKind.AMBIGUOUS:
            return outcome
        if call.safety is not Safety.NON_IDEMPOTENT:
            return outcome
        error = outcome.error
        unknown = WatiUnknownOutcomeError(
            f"{error} Whether {call} took effect is unknown: look before anything is sent again.",
            status_code=error.status_code,
            retry_after=error.retry_after,
            wati_message=error.wati_message,
        )
        return Failed(FailureKind.AMBIGUOUS, unknown)

    @contextmanager
    def stream(self, call: Call) -> Iterator[requests.Response]:
        """
        Make a read whose answer is a file, and leave the body to be read piece by piece.

        A redirect is followed, without the token once it leaves the endpoint.

        :param call: what to call.
        """
        opened = self._with_retries(call, lambda ends_at: self._open(call, ends_at))
        with _value_of(opened, call) as response:
            yield response

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
        self._pacer.close()

    __getstate__ = refuse_copies

    def _with_retries(self, call: Call, attempt: Callable[[float], Outcome[T]]) -> Outcome[T]:
        """
        Make the attempts of a call.

        :param attempt: makes one; it is given the monotonic second at which ``max_seconds`` are over.
        """

        def pause(seconds: float) -> None:
            self._clock.sleep(seconds)
            self._pacer.wait(call.group)

        def is_over(state: RetryCallState) -> bool:
            passed = self._clock.monotonic() - started
            return (
                state.attempt_number >= self._max_tries or passed + state.upcoming_sleep >= self._max_seconds
            )

        def report(state: RetryCallState) -> None:
            log.warning(
                "%s Trying %s again in %.1f s (attempt %d of %d).",
                _failed(state).error, call, state.upcoming_sleep, state.attempt_number + 1, self._max_tries,
            )  # fmt: skip

        def goes_again(outcome: object) -> bool:
            return isinstance(outcome, Failed) and is_retryable(call.safety, outcome.kind)

        retrying = Retrying(
            retry=retry_if_result(goes_again),
            wait=self._how_long,
            sleep=pause,
            stop=is_over,
            before_sleep=report,
            retry_error_callback=_last_outcome,
        )
        self._drop_connections_of_another_process()
        self._pacer.wait(call.group)
        started = self._clock.monotonic()
        return retrying(attempt, started + self._max_seconds)

    def _drop_connections_of_another_process(self) -> None:
        """After a fork, parent and child would read each other's answers from one socket."""
        if self._process != os.getpid():
            self._process = os.getpid()
            self._session.close()

    def _how_long(self, state: RetryCallState) -> float:
        retry_after = _failed(state).error.retry_after
        return retry_after if retry_after is not None else self._backoff(state)

    def _attempt(
        self, call: Call, read: Callable[[Any], T], hooks: SendHooks | None, ends_at: float
    ) -> Outcome[T]:
        outcome = self._once(call, read, hooks, ends_at)
        if (
            hooks is not None
            and call.safety is Safety.NON_IDEMPOTENT
            and isinstance(outcome, Failed)
            and outcome.kind is not FailureKind.AMBIGUOUS
        ):
            hooks.not_sent()
        return outcome

    def _once(
        self, call: Call, read: Callable[[Any], T], hooks: SendHooks | None, ends_at: float
    ) -> Outcome[T]:
        response = self._send(call, hooks, ends_at)
        if not isinstance(response, requests.Response):
            return response
        with response:
            if not is_success(response.status_code):
                return self._refusal(call, response)
            try:
                body = self._token.scrub_body(read_body(response, MAX_JSON_BYTES))
                answer = decode_json(body, str(call))
            except (requests.RequestException, AnswerTooLargeError) as error:
                return Failed(FailureKind.AMBIGUOUS, self._no_answer(call, error))
            except WatiResponseError as error:
                return Failed(FailureKind.AMBIGUOUS, _unreadable(call, str(error)))
            except (ValueError, RecursionError):
                return Failed(FailureKind.AMBIGUOUS, _unreadable(call, "it is not JSON"))
        try:
            return Answered(read(answer))
        except WatiRejectedError as error:
            return Failed(FailureKind.REFUSED, error)
        except WatiResponseError as error:
            return Failed(FailureKind.AMBIGUOUS, _unreadable(call, str(error)))
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            return Failed(FailureKind.AMBIGUOUS, _unreadable(call, f"it lacks or misplaces {error}"))

    def _open(self, call: Call, ends_at: float) -> Outcome[requests.Response]:
        url, auth = call.url, cast("AuthBase", self._auth)
        headers = {"Accept": call.accept}
        # One deadline for all redirects.
        bounds = self._bounds(ends_at, MAX_MEDIA_BYTES)
        refusal: Failed | None = None
        for _ in range(_REDIRECTS):
            response = self._request(call, url, auth, headers, None, bounds)
            if not isinstance(response, requests.Response):
                return response
            if is_success(response.status_code):
                return Answered(response)
            with response:
                refusal = self._refusal(call, response)
            if not response.is_redirect:
                break
            target = redirect_target(url, response.headers["location"], self._endpoint.base_url)
            if target is None:
                return Failed(
                    FailureKind.REFUSED, _redirect_error(call, response, self._endpoint, self._token)
                )
            url, auth = target, self._auth if is_within(target, self._endpoint.base_url) else _NoToken()
        return refusal or Withdrawn()

    def _send(
        self, call: Call, hooks: SendHooks | None, ends_at: float
    ) -> requests.Response | Failed | Withdrawn:
        is_send = call.safety is Safety.NON_IDEMPOTENT
        if is_send and self._clock.monotonic() - self._last_used > _STALE_AFTER:
            self._session.close()
        headers = {"Accept": call.accept}
        data: Any = call.content
        if call.upload is not None:
            data = call.upload()
            headers["Content-Type"] = data.content_type
        elif call.content is not None:
            headers["Content-Type"] = "application/json"
        # No wait may follow before_send: the call must leave right after its intent.
        if is_send and hooks is not None and not hooks.before_send():
            return Withdrawn()
        self._pacer.recount(call.group)
        response = self._request(
            call, call.url, self._auth, headers, data, self._bounds(ends_at, MAX_JSON_BYTES)
        )
        # WATI counts a call at its arrival, which is before its answer.
        self._pacer.recount(call.group)
        return response

    def _bounds(self, ends_at: float, max_bytes: int) -> Bounds:
        # Hooks and the pacer may have used up the time. An attempt that starts still gets time for its answer.
        deadline = max(ends_at, self._clock.monotonic()) + self._timeout[1]
        return Bounds(deadline=deadline, max_bytes=max_bytes, clock=self._clock)

    def _request(
        self, call: Call, url: str, auth: AuthBase, headers: dict[str, str], data: Any, bounds: Bounds
    ) -> requests.Response | Failed:
        try:
            with bounded(bounds):
                response = self._session.request(
                    call.method, url, params=call.params, data=data, headers=headers, auth=auth,
                    timeout=self._timeout, allow_redirects=False, stream=True,
                )  # fmt: skip
        except (InvalidURL, LocationValueError, WatiConfigurationError) as error:
            # Raised before anything leaves, for the address of the proxy: that of WATI was checked before.
            return Failed(FailureKind.REFUSED, _proxy_error(call, error))
        except requests.RequestException as error:
            return Failed(_kind_of(error), self._no_answer(call, error))
        except (OSError, HTTPError, ValueError, TypeError) as error:
            return _broken(call, self._endpoint.host, error)
        finally:
            self._last_used = self._clock.monotonic()
        if auth is self._auth:
            self._compare_clocks(response)
        return response

    def _compare_clocks(self, response: requests.Response) -> None:
        date = read_http_date(response.headers.get("Date"))
        if date is not None:
            self.server_clock_offset = date - self._clock.now()

    def _no_answer(self, call: Call, error: requests.RequestException | AnswerTooLargeError) -> WatiError:
        host = self._endpoint.host
        if isinstance(_innermost(error), AnswerTooLargeError):
            return _unreadable(call, str(_innermost(error)))
        reason = _never_connected(error)
        if reason is None and hit_deadline(error):
            seconds = self._max_seconds + self._timeout[1]
            return WatiConnectionError(f"{host} did not complete its answer to {call} within {seconds:g} s.")
        if reason is not None and isinstance(reason.__cause__, ssl.SSLError):
            return WatiConnectionError(
                f"No secure connection to {host}: {_reason(self._token, reason)}. Check the API endpoint; if a company "
                "proxy signs its own certificates, give its CA bundle in `verify`."
            )
        if isinstance(reason, ProxyError):
            return WatiConnectionError(
                f"Could not connect to the proxy before {host}: {_reason(self._token, reason)}. Check the proxy of this machine."
            )
        if reason is not None:
            return WatiConnectionError(
                f"Could not connect to {host}: {_reason(self._token, reason)}. Check the API endpoint."
            )
        if isinstance(error, requests.Timeout):
            return WatiConnectionError(f"{host} did not answer {call} within {self._timeout[1]:g} s.")
        return WatiConnectionError(
            f"{host} broke off {call} without a full answer: {_reason(self._token, error)}."
        )

    def _refusal(self, call: Call, response: requests.Response) -> Failed:
        status = response.status_code
        if response.is_redirect:
            return Failed(FailureKind.REFUSED, _redirect_error(call, response, self._endpoint, self._token))
        if status < HTTPStatus.OK:
            # The final answer to this call follows on the connection. It must not be read as the answer to another call.
            response.close()
            self._session.close()
        said = self._message_of(response)
        retry_after = read_retry_after(
            response.headers.get("Retry-After"), response.headers.get("Date"), self._clock.now()
        )
        kind, remedy = _ERRORS.get(status, (_other_error(status), ""))
        text = f"WATI answered {call} with {status}"
        text += f": {said.rstrip('.')}." if said else "."
        if retry_after is not None:
            text += f" It asks to wait {retry_after:.0f} s."
        if remedy:
            text += f" {remedy}"
        return Failed(
            failure_kind_of(status),
            kind(text, status_code=status, retry_after=retry_after, wati_message=said),
        )

    def _message_of(self, response: requests.Response) -> str | None:
        """Return WATI's message, if there is one: WATI documents none for 401, 404, 409 and 429."""
        try:
            body = read_body(response, MAX_ERROR_BYTES)
        except (requests.RequestException, AnswerTooLargeError, RuntimeError):
            return None
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            said = (
                body.decode("utf-8", "replace")
                if "text/plain" in response.headers.get("Content-Type", "")
                else ""
            )
        else:
            said = str(answer.get("message") or "") if isinstance(answer, dict) else ""
        said = " ".join(self._token.scrub(said).split())
        return mask_numbers(said)[:_MESSAGE_LENGTH] or None


def encode_json(body: object) -> bytes:
    """
    Encode the JSON body of a call.

    :param body: dicts, lists and texts.
    :raises WatiValidationError: for half a character, which has no place in UTF-8.
    """
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise WatiValidationError(
            "A text holds half a character (a lone surrogate), which cannot be sent: repair it at its source."
        ) from None


def redirect_target(url: str, location: str, base_url: str) -> str | None:
    """
    Return where a redirect of a media file leads, if it may be followed there.

    :param url: the address that answered.
    :param location: the ``Location`` header, which may hold anything.
    :param base_url: the API endpoint.
    :return: an absolute https address, or one of the endpoint itself; a plain http endpoint, which is on this
        machine, may also lead to other ports of this machine. None for anything else: what an https endpoint
        answers must not reach into this machine, nor travel unencrypted.
    """
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        host = parts.hostname
        parts.port  # raises for one that is not a number
    except ValueError:
        return None
    if not host or not target.isprintable():
        return None
    if parts.scheme == "https" or is_within(target, base_url):
        return target
    is_local = parts.scheme == "http" and is_loopback(host) and base_url.startswith("http://")
    return target if is_local else None


def is_within(url: str, base_url: str) -> bool:
    """
    Say if an address is on the API endpoint, so that the token may go there.

    :param url: an absolute address.
    :param base_url: scheme, host and port of the endpoint.
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" == base_url


def _value_of(outcome: Outcome[T], call: Call) -> T:
    """Return the value of an answer, or raise the error in its place."""
    if isinstance(outcome, Answered):
        return outcome.value
    if isinstance(outcome, Failed):
        # Not chained to an exception of requests, whose text has the address with the phone number.
        raise outcome.error
    raise WatiCallWithdrawnError(f"{call} was withdrawn before it left: nothing was sent.")


def _last_outcome(state: RetryCallState) -> Any:
    """Return the outcome of the last attempt. Without this callback, tenacity raises an error of its own."""
    return state.outcome.result() if state.outcome else None


def _failed(state: RetryCallState) -> Failed:
    outcome = state.outcome.result() if state.outcome else None
    if not isinstance(outcome, Failed):
        raise TypeError("only failed attempts are followed by another")
    return outcome


def _other_error(status: int) -> type[WatiError]:
    """Return the class for a status code that has none of its own."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return WatiServerError
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return WatiConnectionError
    return WatiBadRequestError if status > HTTPStatus.BAD_REQUEST else WatiResponseError


def _broken(call: Call, host: str, error: Exception) -> Failed:
    """Classify an error that requests does not wrap in an error of its own."""
    if isinstance(error, OSError) and str(error).startswith(_NO_CERTIFICATE):
        # requests looks for it before it connects.
        why = f"{call} did not leave: {error}. Check `verify` in the connection."
        return Failed(FailureKind.REFUSED, WatiConfigurationError(why))
    why = f"{host} answered {call} in a broken way: {type(error).__name__}."
    return Failed(FailureKind.AMBIGUOUS, WatiConnectionError(why))


def _redirect_error(
    call: Call, response: requests.Response, endpoint: Endpoint, token: AccessToken
) -> WatiError:
    try:
        where = urlsplit(response.headers["location"]).hostname or endpoint.host
    except ValueError:
        where = ""
    if not where.isprintable() or not where.isascii() or token.is_in(where):
        where = ""
    return WatiResponseError(
        f"{endpoint.host} answers {call} with a redirect to "
        f"{mask_numbers(where) or 'an address that cannot be read'}, which is not followed. Only a media file may "
        "be elsewhere, at an https address, because the token is for the API endpoint alone: check the API "
        "endpoint.",
        status_code=response.status_code,
    )


def _unreadable(call: Call, why: str) -> WatiResponseError:
    return WatiResponseError(f"WATI's answer to {call} cannot be used: {why}.")


def _proxy_error(call: Call, error: Exception) -> WatiConfigurationError:
    """Return the error about a proxy that cannot be used; its address may hold a password."""
    if isinstance(error, WatiConfigurationError):
        return error
    return WatiConfigurationError(
        f"{call} did not leave: the address of the proxy cannot be used ({type(error).__name__}). Correct the proxy "
        "variables of this machine, such as HTTPS_PROXY."
    )


def _kind_of(error: requests.RequestException) -> FailureKind:
    """Classify a call without an answer."""
    reason = _never_connected(error)
    if reason is None:
        return FailureKind.AMBIGUOUS
    if isinstance(reason.__cause__, ssl.SSLCertVerificationError):
        return FailureKind.REFUSED
    return FailureKind.NOT_SENT


def _never_connected(error: Exception) -> HTTPError | None:
    """
    Return why no connection was made; None if one was made, so that the call may have reached WATI.

    urllib3 raises a :class:`ProxyError` only if no connection to the proxy was made.
    """
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return reason if isinstance(reason, (NewConnectionError, ConnectTimeoutError, ProxyError)) else None


def _reason(token: AccessToken, error: BaseException) -> str:
    """
    Return the text of the innermost cause. The text of the outer errors repeats the address with the phone number.

    An answer that is not HTTP is not repeated, because it may have any content.
    """
    cause = _innermost(error)
    if isinstance(cause, (HTTPException, InvalidChunkLength)):
        return f"what it sends is no HTTP ({type(cause).__name__})"
    # urllib3 puts a description of its object first: HTTPConnection(host='...', port=443): ...
    text = token.scrub(re.sub(r"^\w+\(.*?\): ", "", str(cause)))
    return mask_numbers(text)[:_REASON_LENGTH].rstrip(".") or type(cause).__name__


def _innermost(error: BaseException) -> BaseException:
    """Return the error at the bottom of nested errors."""
    candidates = (getattr(error, "reason", None), *error.args)
    inner = next((item for item in candidates if isinstance(item, BaseException)), None)
    return error if inner is None else _innermost(inner)


class _MaskNumbersInPaths(logging.Filter):
    """urllib3 logs each path at DEBUG, and WATI's paths hold phone numbers."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if message.startswith("Failed to parse headers"):
            # The message and its traceback repeat the header, which may have any content.
            record.msg, record.args, record.exc_info = "A header of WATI's answer cannot be read.", (), None
        elif "/api/" in message:
            record.msg, record.args = mask_numbers(message), ()
        return True


for _name in ("urllib3.connection", "urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_MaskNumbersInPaths())
