"""The key by which workers read the statuses that the receiver has stored."""

from __future__ import annotations

import hashlib
import hmac


def read_key(access_token: str, conn_id: str) -> str:
    """
    Derive the read key of a connection, which both sides know without sharing another secret.

    :param access_token: the access token of the connection, without ``Bearer``.
    :param conn_id: the id of the connection.
    :return: 64 hexadecimal characters, from which the token cannot be found.
    """
    message = b"wati received statuses " + conn_id.encode()
    return hmac.new(access_token.encode(), message, hashlib.sha256).hexdigest()
