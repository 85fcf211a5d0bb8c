"""
Which pages and names may reach the sandbox.

The page and the controls need no token. A website that a developer visits could post to them, or could point a name of
its own to this machine (DNS rebinding) and read every message. So the names in ``Host`` and ``Origin`` have to be ours.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

_SHOWN = 100
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@?#\[\]\\]+))(?::[0-9]*)?")


def refusal_of(headers: Iterable[tuple[bytes, bytes]], names: Collection[str]) -> str | None:
    """
    Return why a request is refused; None if its ``Host`` and ``Origin`` are ours.

    :param headers: of the request, names in lower case.
    :param names: allowed besides loopback names and addresses, in lower case and without a port.
    """
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    if len(hosts) != 1 or not _is_ours(hosts[0], names):
        return _words("Host", ", ".join(hosts))
    for origin in origins:
        if not _is_ours(_authority_of(origin), names):
            return _words("Origin", origin)
    return None


def is_loopback(host: str) -> bool:
    """Return whether a name or an address is this machine's own, and that of no network."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _is_ours(authority: str, names: Collection[str]) -> bool:
    found = _HOST.fullmatch(authority)
    if found is None:
        return False
    host = (found[1] or found[2]).lower().removesuffix(".")
    return is_loopback(host) or host in names


def _authority_of(origin: str) -> str:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    return parts.netloc if parts.scheme in ("http", "https") else ""


def _words(header: str, value: str) -> str:
    return (
        f"The {header} {value[:_SHOWN]!r} is not a name of this sandbox. If it is meant to be one, start the sandbox "
        "with --allow-host and the name."
    )
