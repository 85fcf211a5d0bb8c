from __future__ import annotations

import pytest

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.endpoint import Endpoint
from airflow_provider_wati.exceptions import WatiConfigurationError

HOST = "https://live-mt-server.wati.io"


@pytest.mark.parametrize(
    ("pasted", "base_url", "tenant"),
    [
        ("https://live-mt-server.wati.io/123456", HOST, "123456"),
        ("https://live-mt-server.wati.io/123456/", HOST, "123456"),
        ("live-mt-server.wati.io/123456", HOST, "123456"),
        ("live-mt-server.wati.io", HOST, None),
        ("  https://live-mt-server.wati.io \n", HOST, None),
        ("https://live-mt-server.wati.io/api/ext/v3/contacts", HOST, None),
        ("https://live-mt-server.wati.io/123456/api/v1/getContacts", HOST, "123456"),
        ("https://live-mt-server.wati.io/123456/api/", HOST, "123456"),
        ("https://live-mt-server.wati.io/123456/api", HOST, "123456"),
        ("https://LIVE-MT-SERVER.wati.io/1", HOST, "1"),
        ("https://live-server-12345.wati.io", "https://live-server-12345.wati.io", None),
        ("http://127.0.0.1:8765/100001", "http://127.0.0.1:8765", "100001"),
        ("http://localhost:8765", "http://localhost:8765", None),
        ("http://[::1]:8765/1", "http://[::1]:8765", "1"),
    ],
)
def test_an_endpoint_is_read_however_it_was_pasted(pasted: str, base_url: str, tenant: str | None) -> None:
    """Scheme, tenant, trailing slash and API path may be there or not."""
    endpoint = Endpoint.parse(pasted)
    assert (endpoint.base_url, endpoint.tenant_id) == (base_url, tenant)
    assert endpoint.v3("contacts") == f"{base_url}/api/ext/v3/contacts"
    if tenant:
        assert endpoint.v1("x") == f"{base_url}/{tenant}/api/v1/x"
    else:
        with pytest.raises(WatiConfigurationError, match="tenant_id"):
            endpoint.v1("x")


def test_a_tenant_that_is_set_wins() -> None:
    """A tenant id that is given beats the one in the address."""
    assert Endpoint.parse("live-mt-server.wati.io/1", "2").tenant_id == "2"


@pytest.mark.parametrize(
    ("pasted", "says"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("http://live-mt-server.wati.io/1", "unencrypted: use https"),
        ("http://10.0.0.5:8765", "unencrypted: use https"),
        ("http://localhost.evil.example", "unencrypted: use https"),
        ("http://127.0.0.1.evil.example", "unencrypted: use https"),
        ("ftp://live-mt-server.wati.io", "does not use https"),
        ("https://", "not a web address"),
        ("https://live-mt-server.wati.io/app/123", "no tenant id"),
        ("https://live-mt-server.wati.io/teamInbox", "no tenant id"),
        ("https://live-mt-server.wati.io?x=1", "not a web address"),
        ("https://user:secret@live-mt-server.wati.io", "user or password"),
        ("https://live mt server", "not a web address"),
        ("https://live-mt-server.wati.io:port", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("live-mt-server", "not a web address"),
    ],
)
def test_what_is_no_endpoint_is_refused(pasted: str, says: str) -> None:
    """What cannot be an API endpoint is a configuration error that says what is wrong."""
    with pytest.raises(WatiConfigurationError, match=says) as raised:
        Endpoint.parse(pasted)
    assert "secret" not in str(raised.value)


_TOKENS = {
    "a JWT": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJqdGkiOiI2NmIxZmIwNCJ9.Hk3sK9_vLw2QpXyZ0aBcDeFgHiJkLmNoPqRsTuVwXy4",
    "words": "wati_live_7f3a9c51e2",
    "letters": "aVeryLongSecretThatHasNoDigit",
    "hexadecimal": "7f3a9c51e2b84d06a1c3e5f7",
}


@pytest.mark.parametrize("token", _TOKENS)
@pytest.mark.parametrize(
    "form",
    [
        "{}", "https://{}", "http://{}", "https://{}/123456", "https://live-mt-server.wati.io/{}", "{}://live.wati.io",
        "https://live-mt-server.wati.io:{}", "https://live-mt-server.wati.io?{}", "https://{}@live-mt-server.wati.io",
        "https://live-mt-server.wati.io/123456/{}", "https://live-mt-server.wati.io#{}", "https://[{}]/1",
        "Bearer {}", "{} https://live-mt-server.wati.io",
    ],
)  # fmt: skip
def test_a_token_in_the_wrong_place_is_not_repeated(form: str, token: str) -> None:
    """A token that was pasted into the endpoint, whole or as a part, is refused and not repeated in the error."""
    with pytest.raises(WatiConfigurationError) as raised:
        Endpoint.parse(form.format(_TOKENS[token]))
    assert _TOKENS[token].casefold() not in str(raised.value).casefold()


@pytest.mark.parametrize("token", _TOKENS)
def test_a_token_as_tenant_is_not_repeated(token: str) -> None:
    """A token that was pasted into the tenant id is refused and not repeated in the error."""
    with pytest.raises(WatiConfigurationError, match="not a number") as raised:
        Endpoint.parse("live-mt-server.wati.io", _TOKENS[token])
    assert _TOKENS[token] not in str(raised.value)


@pytest.mark.parametrize(
    "host",
    [
        "eu-1.wati.io",
        "live-mt-server.wati.io:8443",
        "192.168.1.7",
        "[fd00::1]",
        "a.xn--p1ai",
        "wati.internal",
    ],
)
def test_other_hosts_are_taken(host: str) -> None:
    """Regional hosts, ports, addresses and names of an internal network are hosts."""
    assert Endpoint.parse(host).host == host


@pytest.mark.parametrize("tenant", ["abc", "12 34", "1/2"])
def test_a_tenant_is_a_number(tenant: str) -> None:
    """A tenant id that is no number is refused."""
    with pytest.raises(WatiConfigurationError, match="not a number"):
        Endpoint.parse("live-mt-server.wati.io", tenant)


@pytest.mark.parametrize("token", ["", "  ", "Bearer ", "two words", "line\nbreak", "tökén"])
def test_what_is_no_token_is_refused_without_repeating_it(token: str) -> None:
    """A token that cannot be one is refused, and the error does not hold it."""
    with pytest.raises(WatiConfigurationError, match="access token") as raised:
        WatiClient("live-mt-server.wati.io", token)
    assert not token.strip() or token not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"plan": "gold"}, "Plan 'gold' is not one of growth, pro, business"),
        ({"rate_limits": {"contact": [1, 1]}}, "a group that does not exist"),
        ({"rate_limits": {"contacts": [0, 1]}}, r"give \[calls, seconds\]"),
        ({"rate_limits": {"contacts": [1]}}, r"give \[calls, seconds\]"),
        ({"rate_limits": {"contacts": "fast"}}, r"give \[calls, seconds\]"),
        ({"rate_limits": {"*": [1, float("inf")]}}, r"give \[calls, seconds\]"),
        ({"timeout": 0}, "timeout is 0"),
        ({"timeout": (5, float("nan"))}, "timeout is"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(settings: dict[str, object], says: str) -> None:
    """Settings that cannot be right are configuration errors."""
    with pytest.raises(WatiConfigurationError, match=says):
        WatiClient("live-mt-server.wati.io", "a-token", **settings)  # type: ignore[arg-type] # on purpose
