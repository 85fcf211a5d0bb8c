"""The access token as it goes over the wire."""

from __future__ import annotations

import re

from airflow_provider_wati.exceptions import WatiConfigurationError


def bare_token(token: str) -> str:
    """
    Return the token without ``Bearer`` before it and space around it.

    :raises WatiConfigurationError: for what cannot be a token, without repeating it.
    """
    bare = re.sub(r"^bearer(\s+|$)", "", token.strip(), flags=re.IGNORECASE)
    if not bare:
        raise WatiConfigurationError("The access token is empty: make one in WATI under Connector, API.")
    if not bare.isascii() or not bare.isprintable() or " " in bare:
        raise WatiConfigurationError(
            "The access token contains a space, a line break or a letter that no token has: copy it again."
        )
    return bare
