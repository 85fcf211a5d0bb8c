"""Parts of WATI that could not be read: the rest goes on, and the run fails at its end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wati.exceptions import WatiError

log: logging.Logger = logging.getLogger(__name__)

#: After so many, it is not the part that is at fault.
_MOST = 10


class Unread:
    """
    Collects the parts that could not be read.

    :param what: what a part is, as errors call it.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._errors: list[tuple[str, WatiError]] = []

    def __bool__(self) -> bool:
        return bool(self._errors)

    def add(self, part: str, error: WatiError) -> None:
        """
        Note that a part could not be read.

        :param part: its id.
        :param error: why.
        :raises WatiError: that error, when it is one too many.
        """
        log.warning("%s %s cannot be read, and the others are read on: %s", self._what, part, error)
        self._errors.append((part, error))
        if len(self._errors) > _MOST:
            raise error

    def check(self) -> None:
        """
        Fail if a part could not be read.

        :raises WatiError: of the class of the first error.
        """
        if not self._errors:
            return
        part, error = self._errors[0]
        raise type(error)(
            f"{len(self._errors)} of WATI's {self._what}s cannot be read, the first is {part}: {error} The other rows are "
            "stored; the watermark stays, so that the next run reads again what is missing.",
            status_code=error.status_code,
            retry_after=error.retry_after,
            wati_message=error.wati_message,
        )
