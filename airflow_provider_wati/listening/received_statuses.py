"""Reads what the receiver in Airflow's API server has stored: statuses, and whether anything has come in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

from airflow_provider_wati.client.endpoint import is_loopback
from airflow_provider_wati.listening.types import MESSAGES, STATUSES

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

    from airflow_provider_wati.listening.types import MessageStatus

#: Seconds to connect, and for each piece of the answer.
_TIMEOUT = (3.0, 20.0)
#: The same for a question on which a look at WATI waits.
_SHORT_TIMEOUT = (3.0, 5.0)
#: Kinds of events, as in asset events.
KINDS = (MESSAGES, STATUSES)
_MOST_STATUSES = 1000
#: Bytes of an answer; a thousand statuses take less than one megabyte.
_MOST_BYTES = 16_000_000
_LONGEST_CURSOR = 200


class ReceiverUnavailableError(Exception):
    """The receiver cannot be asked now, or is not on; the text says why, without a secret."""


@dataclass(frozen=True, slots=True)
class StatusPage:
    """
    Some statuses, in the order in which they came in.

    :param statuses: may be empty.
    :param cursor: where the next page begins.
    :param has_more: whether more of them are there already.
    """

    statuses: Sequence[MessageStatus] = field(repr=False)
    cursor: str
    has_more: bool


class ReceivedStatuses:
    """
    The statuses of one connection.

    :param base_url: the address of the API server, as WATI or as the workers reach it.
    :param conn_id: the id of the connection.
    :param key: its read key, see :func:`airflow_provider_wati.listening.read_key.read_key`.
    """

    def __init__(self, base_url: str, conn_id: str, key: str) -> None:
        self.conn_id = conn_id
        self._url = f"{base_url.rstrip('/')}/wati/webhooks/{quote(conn_id, safe='')}"
        self._key = key

    def pages(self, after: str) -> Iterator[StatusPage]:
        """
        Go through what has come in.

        :param after: the cursor of the last page that was dealt with; empty for everything that is kept.
        :raises ReceiverUnavailableError: when the receiver cannot be asked.
        """
        while True:
            page = self.page(after)
            yield page
            if not page.has_more or page.cursor == after:
                return
            after = page.cursor

    def page(self, after: str, limit: int = _MOST_STATUSES) -> StatusPage:
        """
        Read one page.

        :param after: a cursor; empty for the start.
        :param limit: statuses at most, up to 1,000.
        :raises ReceiverUnavailableError: when the receiver cannot be asked.
        """
        parameters = {"limit": str(limit), **({"after": after} if after else {})}
        return _page_of(self._get("statuses", parameters, _TIMEOUT))

    def news(self) -> Mapping[str, str]:
        """
        Return a mark for each kind of event, ``messages`` and ``statuses``, that differs once one more has come in.

        :raises ReceiverUnavailableError: when the receiver cannot be asked.
        """
        found = self._get("news", {}, _SHORT_TIMEOUT)
        if not isinstance(found, Mapping) or not all(isinstance(found.get(kind), str) for kind in KINDS):
            raise ReceiverUnavailableError("its answer does not say what has come in")
        return {kind: found[kind] for kind in KINDS}

    def _get(self, name: str, parameters: Mapping[str, str], timeout: tuple[float, float]) -> Any:
        """Return the JSON of an answer; None for JSON that is nested too deeply."""
        import requests

        host = ""
        try:
            host = urlsplit(self._url).hostname or ""
            with requests.Session() as session:
                # A proxy from the environment cannot reach this machine's loopback.
                session.trust_env = not is_loopback(host)
                with session.get(
                    f"{self._url}/{name}",
                    params=parameters,
                    auth=self._authorize,
                    timeout=timeout,
                    allow_redirects=False,
                    stream=True,
                ) as response:
                    return _json_of(response)
        except (requests.RequestException, OSError, ValueError) as error:
            # Not its text, which may repeat the address with a password in it.
            raise ReceiverUnavailableError(
                f"{host or 'its address'} cannot be asked ({type(error).__name__})"
            ) from None

    def _authorize(self, request: PreparedRequest) -> PreparedRequest:
        # Set here, because requests lets a netrc file replace a header.
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _json_of(response: Response) -> Any:
    if response.status_code == 404:
        raise ReceiverUnavailableError(
            "it answers 404: the receiver is off there, or knows the connection with another access token"
        )
    if response.status_code != 200:
        raise ReceiverUnavailableError(f"it answers {response.status_code}")
    body = b""
    for piece in response.iter_content(1 << 16):
        body += piece
        if len(body) > _MOST_BYTES:
            raise ReceiverUnavailableError("its answer is too large")
    try:
        return json.loads(body)
    except RecursionError:
        return None


def _page_of(found: Any) -> StatusPage:
    statuses, cursor, more = _parts_of(found)
    usable = [cast("MessageStatus", each) for each in statuses if _is_status(each)]
    return StatusPage(usable, cursor, has_more=more)


def _parts_of(found: Any) -> tuple[list[Any], str, bool]:
    if isinstance(found, Mapping):
        statuses, cursor = found.get("statuses"), found.get("cursor")
        if isinstance(statuses, list) and isinstance(cursor, str) and 0 < len(cursor) <= _LONGEST_CURSOR:
            return statuses, cursor, found.get("more") is True
    raise ReceiverUnavailableError("its answer is not a page of statuses")


def _is_status(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("status"), str)
