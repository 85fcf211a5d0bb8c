"""Where WATI is: what the dashboard shows, taken apart."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from airflow_provider_wati.exceptions import WatiConfigurationError

_SHOULD_BE = "expected what the WATI dashboard shows, like https://live-mt-server.wati.io/123456"
_API_TAIL = re.compile(r"/api(/.*)?$")
_TENANT = re.compile(r"[0-9]+")
# RFC 1035; urlsplit has made it lower case.
_HOST = re.compile(r"(?:[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?\.)+(?:[a-z]{2,24}|xn--[0-9a-z-]{1,59})")
_LONGEST_HOST = 253


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    The host of one WATI account.

    :param base_url: scheme, host and port, without a trailing slash.
    :param tenant_id: the workspace, which V1 paths start with and V3 paths must not contain.
    """

    base_url: str
    tenant_id: str | None = None

    @classmethod
    def parse(cls, text: str, tenant_id: str | None = None) -> Endpoint:
        """
        Read an endpoint with or without scheme, tenant, trailing slash or ``/api/...``.

        :param text: what was pasted.
        :param tenant_id: the tenant, where it is known better than from ``text``.
        :raises WatiConfigurationError: when no host is in it, or it is http to a host that is not loopback.
        """
        pasted = text.strip()
        if not pasted:
            raise WatiConfigurationError(f"The API endpoint is empty: {_SHOULD_BE}.")
        try:
            url = urlsplit(pasted if "://" in pasted else f"https://{pasted}")
            host, port = url.hostname, url.port
        except ValueError:
            raise WatiConfigurationError(f"The API endpoint cannot be read: {_SHOULD_BE}.") from None
        # No part of it is repeated: a token pasted into the wrong field must not end up in a log.
        if url.username or url.password:
            raise WatiConfigurationError(f"The API endpoint holds a user or password: {_SHOULD_BE}.")
        if not host or not _is_host(host) or url.query or url.fragment:
            raise WatiConfigurationError(f"The API endpoint is not a web address: {_SHOULD_BE}.")
        if url.scheme not in ("http", "https"):
            raise WatiConfigurationError(f"The API endpoint does not use https://: {_SHOULD_BE}.")
        if url.scheme == "http" and not is_loopback(host):
            raise WatiConfigurationError(
                "The API endpoint with http:// would send the access token unencrypted: use https:// "
                "(plain http is for a sandbox on this machine only)."
            )
        in_path = _API_TAIL.sub("", url.path).strip("/")
        if in_path and not _TENANT.fullmatch(in_path):
            raise WatiConfigurationError(
                f"The API endpoint has a path after the host that is no tenant id: {_SHOULD_BE}."
            )
        tenant = str(tenant_id).strip() if tenant_id is not None else ""
        if tenant and not _TENANT.fullmatch(tenant):
            raise WatiConfigurationError(
                "The tenant id is not a number: it is the last part of the API endpoint in the dashboard."
            )
        netloc = f"[{host}]" if ":" in host else host
        if port is not None:
            netloc = f"{netloc}:{port}"
        return cls(f"{url.scheme}://{netloc}", tenant or in_path or None)

    @property
    def host(self) -> str:
        """The host as it appears in messages."""
        return self.base_url.partition("://")[2]

    def v3(self, path: str) -> str:
        """Build a V3 address; a tenant in front of it would be answered with 404."""
        return f"{self.base_url}/api/ext/v3/{path}"

    def v1(self, path: str) -> str:
        """
        Build a V1 address, which starts with the tenant.

        :raises WatiConfigurationError: when the tenant is not known.
        """
        return f"{self._with_tenant()}/api/v1/{path}"

    def v2(self, path: str) -> str:
        """
        Build a V2 address, which starts with the tenant too.

        :raises WatiConfigurationError: when the tenant is not known.
        """
        return f"{self._with_tenant()}/api/v2/{path}"

    def _with_tenant(self) -> str:
        if self.tenant_id is None:
            raise WatiConfigurationError(
                f"This call needs WATI's older API, whose address contains the tenant, and the endpoint {self.host} "
                "shows none: set tenant_id, or give the API endpoint as the dashboard shows it, tenant included."
            )
        return f"{self.base_url}/{self.tenant_id}"


def _is_host(host: str) -> bool:
    """Say if a text is a host as errors may repeat it: a token has no dots, or no name of a country or the like at its end."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return is_loopback(host) or (len(host) <= _LONGEST_HOST and _HOST.fullmatch(host) is not None)
    return True


def is_loopback(host: str) -> bool:
    """
    Say if a host is this machine itself.

    :param host: a name or an IP address, without a port.
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
