"""
How calls reach WATI: one session, timeouts, retries, and errors that say what is known.

The one place that decides what may be sent again is :func:`is_retryable`.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential_jitter,
)
from urllib3 import HTTPSConnectionPool
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NewConnectionError
from urllib3.poolmanager import pool_classes_by_scheme

from airflow_provider_wati import __version__
from airflow_provider_wati.client.endpoint import Endpoint, is_loopback
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiConflictError,
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiResponseError,
    WatiServerError,
    WatiUnknownOutcomeError,
)
from airflow_provider_wati.masking import mask_numbers

if TYPE_CHECKING:
    from airflow_provider_wati.client.multipart import MultipartUpload
    from airflow_provider_wati.client.rate_limit import EndpointGroup, Pacer

log = logging.getLogger(__name__)

T = TypeVar("T")


class Safety(Enum):
    """What a call does to the world."""

    READ = "read"
    #: Sets a state; doing it twice leaves the same state.
    IDEMPOTENT = "idempotent"
    #: Messages a person, starts a chatbot or makes a contact; doing it twice does it twice.
    NON_IDEMPOTENT = "non-idempotent"


class FailureKind(Enum):
    """What is known about a call that failed."""

    #: No connection came about, so WATI cannot have seen it.
    NOT_SENT = "not sent"
    #: WATI refused it for now: 429, or 503 that names a time to come back.
    THROTTLED = "throttled"
    #: It left, and no answer says what became of it.
    AMBIGUOUS = "ambiguous"
    #: WATI refused it for good.
    REFUSED = "refused"


def is_retryable(safety: Safety, failure_kind: FailureKind) -> bool:
    """Tell whether a failed call may go out again without asking WATI what became of it."""
    if failure_kind is FailureKind.AMBIGUOUS:
        return safety is not Safety.NON_IDEMPOTENT
    return failure_kind in (FailureKind.NOT_SENT, FailureKind.THROTTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    One call of WATI's API.

    :param shown: the path as logs and errors show it, with ``{target}`` where the number stands.
    :param body: the JSON body.
    :param upload: makes the multipart body; called once for each try.
    """

    method: str
    url: str
    shown: str
    group: EndpointGroup
    safety: Safety
    params: Mapping[str, str | int] | None = None
    body: object = None
    upload: Callable[[], MultipartUpload] | None = None
    accept: str = "application/json"

    def __str__(self) -> str:
        return f"{self.method} {self.shown}"


class _FailedCall(Exception):
    def __init__(self, failure_kind: FailureKind, error: WatiError) -> None:
        super().__init__(str(error))
        self.failure_kind = failure_kind
        self.error = error


class Departure:
    """
    What is done right before each try of a call that sends leaves, and whether such a try may have taken safety.

    :param write_down: what is done; what it raises ends the call.
    """

    def __init__(self, write_down: Callable[[], None]) -> None:
        self._write_down = write_down
        #: Whether a try has left that WATI has not refused.
        self.is_under_way = False

    def leave(self) -> None:
        """Write down that a try leaves."""
        self._write_down()
        self.is_under_way = True


class _BearerToken(AuthBase):
    """Sets the header on each request, so that no session or dict that could be logged holds the token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def scrub(self, text: str) -> str:
        """Take the token out of a text, should a server repeat it."""
        return text.replace(self._token, "***")


class _NoToken(AuthBase):
    """Keeps ``requests`` from looking for credentials of its own, in a netrc file say."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


#: A server or a balancer may have dropped a connection by now, and a send that meets the reset would be in doubt.
_STALE_AFTER = 20.0
_REDIRECTS = 5
_MESSAGE_LENGTH = 500

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
    :param verify: whether to check TLS certificates, or the path of a CA bundle to check them with.
    :param max_tries: how often one call goes out at the most.
    :param max_seconds: how long one call may take with all its tries; waiting for the pacer comes on top.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        token: str,
        *,
        pacer: Pacer,
        timeout: tuple[float, float],
        verify: bool | str,
        max_tries: int,
        max_seconds: float,
    ) -> None:
        self._endpoint = endpoint
        self._auth = _BearerToken(token)
        self._pacer = pacer
        self._timeout = timeout
        self._max_tries = max_tries
        self._max_seconds = max_seconds
        self._backoff = wait_exponential_jitter(initial=1, max=30, jitter=1)
        #: What happens right before each try of a call that sends, when all waiting is over.
        self.departure = Departure(_nothing)
        self._last_used = time.monotonic()
        self._session = requests.Session()
        self._session.mount("https://", _Adapter())
        self._session.verify = verify
        self._session.headers["User-Agent"] = (
            f"airflow-provider-wati/{__version__} python/{sys.version_info.major}.{sys.version_info.minor}"
        )
        # A proxy from the environment cannot reach this machine's loopback; a sandbox needs none.
        self._session.trust_env = not is_loopback(urlsplit(endpoint.base_url).hostname or "")

    def call(self, call: Call, read: Callable[[Any], T]) -> T:
        """
        Make a call and read its answer.

        :param call: what to call.
        :param read: makes the result of the decoded JSON, and raises :class:`WatiResponseError` where it is not
            what WATI promises, or :class:`WatiRejectedError` where it refuses.
        :raises WatiError: the subclass that says what is known; :class:`WatiUnknownOutcomeError` if a send may
            or may not have taken safety.
        """
        return self._with_retries(call, lambda: self._once(call, read))

    @contextmanager
    def stream(self, call: Call) -> Iterator[requests.Response]:
        """
        Make a read whose answer is a file, and leave the body to be read piece by piece.

        A redirect is followed, without the token once it leaves the endpoint.
        """
        response = self._with_retries(call, lambda: self._open(call))
        with response:
            yield response

    def close(self) -> None:
        """Close the connections."""
        self._session.close()
        self._pacer.close()

    def _with_retries(self, call: Call, attempt: Callable[[], T]) -> T:
        def pause(seconds: float) -> None:
            time.sleep(seconds)
            self._pacer.wait(call.group)

        def report(state: RetryCallState) -> None:
            log.warning(
                "%s Trying %s again in %.1f s (try %d of %d).",
                _error_of(state), call, state.upcoming_sleep, state.attempt_number + 1, self._max_tries,
            )  # fmt: skip

        retrying = Retrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, _FailedCall) and is_retryable(call.safety, error.failure_kind)
            ),
            wait=self._how_long,
            sleep=pause,
            stop=stop_after_attempt(self._max_tries) | stop_before_delay(self._max_seconds),
            before_sleep=report,
            reraise=True,
        )

        def attempt_once() -> T:
            try:
                return attempt()
            except _FailedCall as failed:
                if failed.failure_kind is not FailureKind.AMBIGUOUS:
                    self.departure.is_under_way = False
                raise

        self._pacer.wait(call.group)
        try:
            return retrying(attempt_once)
        except _FailedCall as failed:
            error = failed.error
            if failed.failure_kind is FailureKind.AMBIGUOUS and call.safety is Safety.NON_IDEMPOTENT:
                error = WatiUnknownOutcomeError(
                    f"{error} Whether {call} took safety is unknown: look before anything is sent again.",
                    status_code=error.status_code,
                    wati_message=error.wati_message,
                )
            # The exceptions of requests hold the address with the number in it, so they end here.
            raise error from None

    def _how_long(self, state: RetryCallState) -> float:
        error = _error_of(state)
        return error.retry_after if error.retry_after is not None else self._backoff(state)

    def _once(self, call: Call, read: Callable[[Any], T]) -> T:
        with self._send(call, call.url, self._auth) as response:
            if not response.ok or response.is_redirect:
                self._refuse(call, response)
            try:
                answer = json.loads(response.content or b"null")
            except requests.RequestException as error:
                raise _FailedCall(FailureKind.AMBIGUOUS, self._no_answer(call, error)) from error
            except ValueError as error:
                raise _FailedCall(FailureKind.AMBIGUOUS, _unreadable(call, "it is not JSON")) from error
        try:
            return read(answer)
        except WatiResponseError as error:
            raise _FailedCall(FailureKind.AMBIGUOUS, _unreadable(call, str(error))) from error
        except (KeyError, TypeError, AttributeError) as error:
            raise _FailedCall(
                FailureKind.AMBIGUOUS, _unreadable(call, f"it lacks or misplaces {error}")
            ) from error

    def _open(self, call: Call) -> requests.Response:
        url, auth = call.url, cast("AuthBase", self._auth)
        for _ in range(_REDIRECTS):
            response = self._send(call, url, auth)
            if not response.is_redirect:
                break
            response.close()
            url = urljoin(url, response.headers["location"])
            auth = self._auth_for(url)
        if not response.ok or response.is_redirect:
            with response:
                self._refuse(call, response)
        return response

    def _auth_for(self, url: str) -> AuthBase:
        origin = urlsplit(url)
        if f"{origin.scheme}://{origin.netloc}" == self._endpoint.base_url:
            return self._auth
        if origin.scheme != "https" and not is_loopback(origin.hostname or ""):
            raise WatiResponseError(
                f"WATI redirects to {origin.hostname} without TLS, which is not followed."
            )
        return _NoToken()

    def _send(self, call: Call, url: str, auth: AuthBase) -> requests.Response:
        if call.safety is Safety.NON_IDEMPOTENT and time.monotonic() - self._last_used > _STALE_AFTER:
            self._session.close()
        headers = {"Accept": call.accept}
        data: Any = None
        if call.upload is not None:
            data = call.upload()
            headers["Content-Type"] = data.content_type
        elif call.body is not None:
            data = json.dumps(call.body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        if call.safety is Safety.NON_IDEMPOTENT:
            self.departure.leave()
        try:
            return self._session.request(
                call.method, url, params=call.params, data=data, headers=headers, auth=auth,
                timeout=self._timeout, allow_redirects=False, stream=True,
            )  # fmt: skip
        except requests.RequestException as error:
            reason = _never_connected(error)
            if reason is None:
                failure_kind = FailureKind.AMBIGUOUS
            elif isinstance(reason.__cause__, ssl.SSLCertVerificationError):
                failure_kind = FailureKind.REFUSED
            else:
                failure_kind = FailureKind.NOT_SENT
            raise _FailedCall(failure_kind, self._no_answer(call, error)) from error
        finally:
            self._last_used = time.monotonic()

    def _no_answer(self, call: Call, error: requests.RequestException) -> WatiError:
        host = self._endpoint.host
        reason = _never_connected(error)
        if reason is not None and isinstance(reason.__cause__, ssl.SSLError):
            return WatiConnectionError(
                f"No secure connection to {host}: {_reason(reason)}. Check the API endpoint; if a company "
                "proxy signs its own certificates, give its CA bundle in `verify`."
            )
        if reason is not None:
            return WatiConnectionError(
                f"Could not connect to {host}: {_reason(reason)}. Check the API endpoint."
            )
        if isinstance(error, requests.Timeout):
            return WatiConnectionError(f"{host} did not answer {call} within {self._timeout[1]:g} s.")
        return WatiConnectionError(f"{host} broke off {call} without a full answer: {_reason(error)}.")

    def _refuse(self, call: Call, response: requests.Response) -> NoReturn:
        status = response.status_code
        if response.is_redirect:
            where = urlsplit(response.headers["location"]).hostname or self._endpoint.host
            raise _FailedCall(
                FailureKind.REFUSED,
                WatiResponseError(
                    f"{self._endpoint.host} answers {call} with a redirect to {where}, which is not followed "
                    "because the token is for the API endpoint alone: check the API endpoint.",
                    status_code=status,
                ),
            )
        said = self._message_of(response)
        retry_after = seconds_until(response.headers.get("Retry-After"), response.headers.get("Date"))
        unavailable = status == HTTPStatus.SERVICE_UNAVAILABLE and retry_after is not None
        if status == HTTPStatus.TOO_MANY_REQUESTS or unavailable:
            failure_kind = FailureKind.THROTTLED
        elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            failure_kind = FailureKind.AMBIGUOUS
        else:
            failure_kind = FailureKind.REFUSED
        otherwise = WatiServerError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else WatiBadRequestError
        kind, remedy = _ERRORS.get(status, (otherwise, ""))
        text = f"WATI answered {call} with {status}"
        text += f": {said.rstrip('.')}." if said else "."
        if retry_after is not None:
            text += f" It asks to wait {retry_after:.0f} s."
        if remedy:
            text += f" {remedy}"
        raise _FailedCall(
            failure_kind, kind(text, status_code=status, retry_after=retry_after, wati_message=said)
        )

    def _message_of(self, response: requests.Response) -> str | None:
        """Return WATI's own words, if there are any: 401, 404, 409 and 429 promise none."""
        try:
            body = response.content
        except requests.RequestException:
            return None
        try:
            answer = json.loads(body)
        except ValueError:
            said = (
                body.decode("utf-8", "replace")
                if "text/plain" in response.headers.get("Content-Type", "")
                else ""
            )
        else:
            said = str(answer.get("message") or "") if isinstance(answer, dict) else ""
        said = " ".join(self._auth.scrub(said).split())
        return mask_numbers(said[:_MESSAGE_LENGTH]) or None


def _nothing() -> None:
    """Do nothing before a send, as a client does that nobody told otherwise."""


def seconds_until(retry_after: str | None, server_date: str | None = None) -> float | None:
    """
    Read a ``Retry-After`` header, which is a number of seconds or a date.

    :param retry_after: the header.
    :param server_date: the ``Date`` header of the same answer, so that two clocks that differ do no harm.
    :return: seconds, 0 for a date gone by, None for no header or one that is neither.
    """
    value = (retry_after or "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    try:
        then = parsedate_to_datetime(value)
        now = parsedate_to_datetime(server_date) if server_date else datetime.now(UTC)
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError):
        return None


def _error_of(state: RetryCallState) -> WatiError:
    failed = state.outcome.exception() if state.outcome else None
    if not isinstance(failed, _FailedCall):
        raise TypeError("only failed calls are tried again") from failed
    return failed.error


def _unreadable(call: Call, why: str) -> WatiResponseError:
    return WatiResponseError(f"WATI's answer to {call} cannot be used: {why}.")


def _never_connected(error: requests.RequestException) -> NewConnectionError | ConnectTimeoutError | None:
    """Return why no connection came about; None if one did, so that the call may have reached WATI."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return reason if isinstance(reason, (NewConnectionError, ConnectTimeoutError)) else None


def _reason(error: BaseException) -> str:
    """Return the innermost cause in words; the outer layers repeat the address, number included."""
    cause = error
    while inner := _inner(cause):
        cause = inner
    # urllib3 puts a description of its object first: HTTPConnection(host='...', port=443): ...
    text = re.sub(r"^\w+\(.*?\): ", "", str(cause))
    return mask_numbers(text).rstrip(".") or type(cause).__name__


def _inner(error: BaseException) -> BaseException | None:
    candidates = (getattr(error, "reason", None), *error.args)
    return next((item for item in candidates if isinstance(item, BaseException)), None)


class _Connection(HTTPSConnection):
    """Reports a TLS handshake that fails as what it is: a connection that never came about."""

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            raise NewConnectionError(self, str(error)) from error


class _Adapter(HTTPAdapter):
    """Connects through :class:`_Connection`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        pool = type("_Pool", (HTTPSConnectionPool,), {"ConnectionCls": _Connection})
        self.poolmanager.pool_classes_by_scheme = {**pool_classes_by_scheme, "https": pool}


class _MaskNumbersInPaths(logging.Filter):
    """urllib3 logs each path at DEBUG, and WATI's paths hold phone numbers."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "/api/" in message:
            record.msg, record.args = mask_numbers(message), ()
        return True


for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(_MaskNumbersInPaths())
