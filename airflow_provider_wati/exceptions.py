"""
The errors of this package.

The module imports neither Airflow nor ``requests``, so that a retry policy can name these classes cheaply.
"""

from __future__ import annotations


class WatiError(Exception):
    """
    Base of all errors of this package.

    :param message: what happened, to which row, target or connection, and what to do.
    :param status_code: the HTTP status of the answer; None without an answer.
    :param retry_after: seconds that WATI asks to wait before the next call; None if it names no time.
    :param wati_message: the message of WATI, phone numbers masked; None if there is none.
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
    """The connection or a setting is incomplete or contradictory, or conflicts with the start of a send; nothing was sent."""


class WatiValidationError(WatiError, ValueError):
    """The input has an error; nothing was sent of what it concerns."""


class WatiCallWithdrawnError(WatiError):
    """The caller's ``before_send`` withdrew the call right before it left; nothing was sent."""


class WatiBadRequestError(WatiError):
    """WATI refused the request (400): the request has to change before it can succeed."""


class WatiAuthenticationError(WatiError):
    """WATI does not accept the access token (401)."""


class WatiPermissionError(WatiError):
    """The token is valid, but WATI refuses the action (403): scope, role, plan, workspace or channel."""


class WatiNotFoundError(WatiError):
    """WATI does not know the object or the path (404)."""


class WatiConflictError(WatiError):
    """
    What is asked for is at odds with what WATI has.

    Several open conversations match the target and no channel was named (409), or a contact that was to be created
    exists with another name or other attributes.
    """


class WatiRateLimitError(WatiError):
    """A rate limit or a quota is exceeded (429); ``retry_after`` is set if WATI names a time."""


class WatiServerError(WatiError):
    """WATI failed (5xx), also at the last attempt, in a call that is safe to repeat."""


class WatiConnectionError(WatiError):
    """WATI could not be reached, or a call that is safe to repeat got no answer in time."""


class WatiRejectedError(WatiError):
    """WATI answered 200, and the answer says that it refused."""


class WatiIncompleteError(WatiError):
    """A send or a sync has stopped before it attempted all rows; the next attempt goes on from there."""


class WatiUnknownOutcomeError(WatiError):
    """
    A send was transmitted, and its outcome is not known.

    Do not send again blindly: first check in WATI whether the message exists.
    """


class WatiResponseError(WatiError):
    """The answer of WATI does not have the documented form."""
