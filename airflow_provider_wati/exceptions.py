"""
What can go wrong between a DAG and WATI.

Importable without Airflow and without ``requests``, so that a retry policy can name these classes cheaply.
"""

from __future__ import annotations


class WatiError(Exception):
    """
    Base of everything this package raises.

    :param message: what happened, to which row, target or connection, and what to do about it.
    :param status_code: the HTTP status WATI answered with, if it answered.
    :param retry_after: seconds that WATI asked to wait before the next call, if it did.
    :param wati_message: WATI's own words, phone numbers masked, if it gave any.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        retry_after: float | None = None,
        wati_message: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.retry_after = retry_after
        self.wati_message = wati_message


class WatiConfigurationError(WatiError):
    """The connection or a setting is incomplete or contradicts itself or what a send began with; nothing was sent."""


class WatiValidationError(WatiError, ValueError):
    """The caller's input cannot be right; nothing was sent of what it concerns."""


class WatiBadRequestError(WatiError):
    """WATI refused the request (400): the request has to change before it can succeed."""


class WatiAuthenticationError(WatiError):
    """WATI does not accept the access token (401)."""


class WatiPermissionError(WatiError):
    """WATI knows the token but refuses the action (403): scope, role, plan, workspace or channel."""


class WatiNotFoundError(WatiError):
    """WATI does not know the thing or the path (404)."""


class WatiConflictError(WatiError):
    """Several open conversations match the target and no channel was named (409)."""


class WatiRateLimitError(WatiError):
    """WATI asked to slow down, or a quota is used up (429); ``retry_after`` is set if WATI named a time."""


class WatiServerError(WatiError):
    """WATI failed (5xx), still after the last try, on a call that is harmless to repeat."""


class WatiConnectionError(WatiError):
    """WATI could not be reached, or a call that is harmless to repeat got no answer in time."""


class WatiRejectedError(WatiError):
    """WATI answered 200 and refused inside the answer."""


class WatiUnknownOutcomeError(WatiError):
    """
    A send left for WATI and no answer says whether it took effect.

    Never send again blindly: look first whether the message is there.
    """


class WatiResponseError(WatiError):
    """WATI answered with something that its documentation does not promise."""
