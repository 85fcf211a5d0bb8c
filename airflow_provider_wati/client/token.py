"""The access token, kept out of everything that prints, copies or stores objects."""

from __future__ import annotations

import re
from typing import Any, NoReturn, Self

from airflow_provider_wati.exceptions import WatiConfigurationError

#: Characters of a token that is looked for in answers; WATI's have hundreds.
_SHORTEST = 12


class AccessToken:
    """
    An access token that shows only in the header of a request.

    Tools that print the local variables of a traceback use ``repr``; pickles and copies are refused.

    :param text: the token, with or without ``Bearer`` before it and space around it.
    :raises WatiConfigurationError: for what cannot be a token, without repeating it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = re.sub(r"^bearer(\s+|$)", "", text.strip(), flags=re.IGNORECASE)
        # The traceback of the errors below holds this frame.
        del text
        if not self._text:
            raise WatiConfigurationError("The access token is empty: make one in WATI under Connector, API.")
        if not self._text.isascii() or not self._text.isprintable() or " " in self._text:
            raise WatiConfigurationError(
                "The access token contains a space, a line break or a letter that no token has: copy it again."
            )

    @classmethod
    def of(cls, token: str | Self) -> AccessToken:
        """
        Return a token as an object of this class.

        :param token: a token, wrapped already or not.
        :raises WatiConfigurationError: for what cannot be a token.
        """
        return token if isinstance(token, AccessToken) else cls(token)

    def reveal(self) -> str:
        """Return the bare token."""
        return self._text

    def header(self) -> str:
        """Return the value of the ``Authorization`` header; its ``repr`` does not show it."""
        return _HiddenText(f"Bearer {self._text}")

    def scrub(self, text: str) -> str:
        """
        Take the token out of a text.

        :param text: words of a server, which may repeat the token.
        """
        return text.replace(self._text, "***")

    def is_in(self, text: str) -> bool:
        """
        Say if a text holds the token, in capitals or not.

        :param text: a text of a server, such as a host name, which is read in small letters.
        """
        return self._text.casefold() in text.casefold()

    def scrub_body(self, body: bytes | bytearray) -> bytes | bytearray:
        """
        Take the token out of the body of an answer, so that no error or result repeats it.

        :param body: the bytes of the answer.
        """
        if len(self._text) < _SHORTEST:
            # A text as short as that may be part of any word.
            return body
        return body.replace(self._text.encode(), b"***")

    def __repr__(self) -> str:
        return "AccessToken(***)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccessToken) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("An access token is neither pickled nor copied: read it from the connection again.")


class _HiddenText(str):
    """A text as others, but for its ``repr``, and that of its parts: printers cut long texts first."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> str:
        return _HiddenText(super().__getitem__(key))

    def __repr__(self) -> str:
        return "'***'"


def refuse_copies(client: object) -> NoReturn:
    """
    Refuse to pickle or copy an object that holds the token; stands in for its ``__getstate__``.

    :param client: the object.
    :raises TypeError: always.
    """
    raise TypeError(
        f"{type(client).__name__} holds the access token and open connections, and is neither pickled nor copied: "
        "make another from the connection."
    )
