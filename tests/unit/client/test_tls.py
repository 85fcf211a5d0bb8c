"""Handshakes that fail are connections that never came about."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.types import SendHooks
from airflow_provider_wati.exceptions import (
    WatiConfigurationError,
    WatiConnectionError,
    WatiError,
    WatiUnknownOutcomeError,
)
from tests.support.clients import NUMBER, TOKEN
from tests.support.clock import FakeClock, SkippingClock
from tests.support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    closed_port,
    drip,
    hang_up,
    raw,
    reset,
    serving,
    stalls,
    stay_silent,
)

if TYPE_CHECKING:
    import socket


def test_a_tls_handshake_that_fails_never_left(caplog: pytest.LogCaptureFixture) -> None:
    """A handshake that fails is repeated even for a send, because nothing left."""
    with serving(answer(200, {})) as server:
        wati = WatiClient(
            f"https://127.0.0.1:{server.port}",
            TOKEN,
            max_tries=3,
            rate_limits={"*": None},
            clock=FakeClock(),
        )
        with pytest.raises(
            WatiConnectionError, match=r"(No secure connection|Could not connect) to 127\.0\.0\.1"
        ) as raised:
            wati.send_text(NUMBER, "Hello")
    assert type(raised.value) is WatiConnectionError
    assert sum("again" in record.message for record in caplog.records) == 2


def self_signed_certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_file, key_file


def test_a_certificate_that_is_not_trusted_is_told_at_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate that is not trusted is told without another attempt, and a CA bundle helps."""
    certificate, key = self_signed_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(answer(200, {"message": {"id": "1"}}), tls=context) as server:
        with pytest.raises(WatiConnectionError, match=r"No secure connection.*certificate verify failed"):
            WatiClient(f"https://localhost:{server.port}", TOKEN, rate_limits={"*": None}).send_text(
                NUMBER, "Hello"
            )
        assert not any("again" in record.message for record in caplog.records)
        trusting = WatiClient(
            f"https://localhost:{server.port}", TOKEN, rate_limits={"*": None}, verify=str(certificate)
        )
        assert trusting.send_text(NUMBER, "Hello")["id"] == "1"
    assert len(server.requests) == 1


def test_a_handshake_that_fails_behind_a_proxy_never_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CONNECT that is granted and a handshake that then fails leave a send unsent."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(answer(200, raw=b"")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        wati = WatiClient(
            "https://wati.invalid", TOKEN, max_tries=1, rate_limits={"*": None}, clock=FakeClock()
        )
        with pytest.raises(WatiConnectionError) as raised:
            wati.send_text(NUMBER, "Hello")
    assert type(raised.value) is WatiConnectionError


@pytest.fixture
def no_proxy_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


PROXIES: dict[str, Step] = {
    "403": answer(403),
    "407": answer(407, headers={"Proxy-Authenticate": "Basic"}),
    "502": answer(502),
    "closes": hang_up,
    "resets": reset,
    "says nothing": stay_silent,
    "speaks another protocol": raw(b"SSH-2.0-OpenSSH_9.6\r\n" * 10),
    "drips": drip(b"HTTP/1.1 200 Connection established\r\n", b"X-Slow: 1\r\n"),
    "is cut short": raw(b"HTTP/1.1 20"),
}


@pytest.mark.parametrize("name", [*PROXIES, "is not there"])
def test_a_proxy_that_fails_leaves_a_send_unsent(
    name: str, monkeypatch: pytest.MonkeyPatch, no_proxy_variables: None
) -> None:
    """A proxy that is dead, refuses or answers in a broken way leaves a send not sent, and each attempt says so."""
    calls: list[str] = []

    def before() -> bool:
        calls.append("before")
        return True

    step = PROXIES.get(name, hang_up)
    timeout = 0.5 if stalls(step) else 30.0
    with closed_port() as dead, serving(step) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port if name in PROXIES else dead}")
        wati = WatiClient(
            "https://wati.invalid",
            TOKEN,
            max_tries=2,
            rate_limits={"*": None},
            timeout=timeout,
            max_seconds=timeout,
            clock=SkippingClock(),
        )
        hooks = SendHooks(before_send=before, not_sent=lambda: calls.append("not"))
        with pytest.raises(WatiConnectionError, match="Could not connect|No secure connection") as raised:
            wati.send_text(NUMBER, "Hello", hooks=hooks)
    assert type(raised.value) is WatiConnectionError
    assert calls in (["before", "not"] * 2, ["before", "not"])
    assert NUMBER not in str(raised.value)


class Authority:
    """A server with a certificate of its own, and a file of that certificate."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        certificate, key = self_signed_certificate(directory)
        self.file = str(certificate)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)


CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


@pytest.mark.parametrize("variable", CA_VARIABLES)
@pytest.mark.parametrize(
    ("verify", "environment", "trusts"),
    [
        ("ours", "other", True),
        ("ours", "missing", True),
        ("other", "ours", False),
        (True, "ours", False),
        (False, "other", True),
        (False, "missing", True),
    ],
)
def test_verify_beats_the_environment(
    variable: str,
    verify: str | bool,
    environment: str,
    trusts: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What `verify` says decides about a certificate, whatever CA bundle the environment names."""
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    files = {"ours": ours.file, "other": other.file, "missing": str(tmp_path / "missing.pem")}
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, files[environment])
    with serving(answer(200, {"credit": 1}), tls=ours.context) as server:
        wati = wati_at_a_name(
            server, monkeypatch, verify=files[verify] if isinstance(verify, str) else verify
        )
        if trusts:
            assert wati.get_credits() == {"credit": 1}
        else:
            with pytest.raises(WatiConnectionError, match="certificate verify failed"):
                wati.get_credits()


def wati_at_a_name(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> WatiClient:
    """Return a client of a server that has a name: the environment does not count for loopback addresses."""
    monkeypatch.setattr("airflow_provider_wati.client.transport.is_loopback", lambda _: False)
    return WatiClient(
        f"https://localhost:{server.port}", TOKEN, rate_limits={"*": None}, max_tries=1, **settings
    )


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_decides_where_verify_says_nothing(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without `verify` trusts the CA bundle of the environment."""
    ours = Authority(tmp_path / "ours")
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with serving(answer(200, {"credit": 1}), tls=ours.context) as server:
        with pytest.raises(WatiConnectionError, match="certificate verify failed"):
            wati_at_a_name(server, monkeypatch).get_credits()
        monkeypatch.setenv(variable, ours.file)
        assert wati_at_a_name(server, monkeypatch).get_credits() == {"credit": 1}


@pytest.mark.parametrize("verify", ["ours", False])
def test_a_proxy_of_the_environment_works_beside_verify(
    verify: str | bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_proxy_variables: None
) -> None:
    """`verify` holds behind a proxy that the environment names, too."""
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", other.file)

    def tunnel(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with ours.context.wrap_socket(connection, server_side=True) as inner:
            inner.recv(65536)
            answer(200, {"credit": 1})(inner)
        return False

    with serving(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        wati = WatiClient(
            "https://localhost.example",
            TOKEN,
            rate_limits={"*": None},
            max_tries=1,
            verify=verify and ours.file,
        )
        if verify:
            # The certificate is for another name, so the CA is trusted and the name is not.
            with pytest.raises(WatiConnectionError, match="Hostname mismatch"):
                wati.get_credits()
        else:
            assert wati.get_credits() == {"credit": 1}
    assert [request.method for request in proxy.requests] == ["CONNECT"]


def test_a_ca_bundle_that_is_gone_is_said(tmp_path: Path) -> None:
    """A CA bundle that does not exist is an error of the configuration, and nothing leaves."""
    with serving(answer(200, {"message": {"id": "1"}})) as server:
        wati = WatiClient(
            f"https://localhost:{server.port}",
            TOKEN,
            rate_limits={"*": None},
            verify=str(tmp_path / "gone.pem"),
        )
        with pytest.raises(WatiConfigurationError, match="did not leave.*verify"):
            wati.send_text(NUMBER, "Hello")
    assert not server.requests


def test_a_ca_bundle_that_is_none_is_said(tmp_path: Path) -> None:
    """A CA bundle that holds no certificate is a typed error, and a send did not leave."""
    bundle = tmp_path / "empty.pem"
    bundle.write_text("nothing")
    with serving(answer(200, {"message": {"id": "1"}})) as server:
        wati = WatiClient(
            f"https://localhost:{server.port}",
            TOKEN,
            rate_limits={"*": None},
            verify=str(bundle),
            clock=FakeClock(),
        )
        with pytest.raises(WatiError) as raised:
            wati.send_text(NUMBER, "Hello")
    assert not isinstance(raised.value, WatiUnknownOutcomeError)
    assert not server.requests
