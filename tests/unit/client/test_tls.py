"""Handshakes that fail are connections that never came about."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.types import SendHooks
from airflow_provider_wati.exceptions import (
    WatiConnectionError,
)
from tests.support.clients import NUMBER, TOKEN
from tests.support.clock import FakeClock
from tests.support.scripted_server import answer, closed_port, serving


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


@pytest.mark.parametrize("proxy", ["dead", "refuses"])
def test_a_dead_proxy_never_left(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is not there, or refuses the CONNECT, leaves a send unsent rather than ambiguous."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    calls: list[str] = []

    def before() -> bool:
        calls.append("before")
        return True

    hooks = SendHooks(before_send=before, not_sent=lambda: calls.append("not"))
    with closed_port() as dead, serving(answer(403)) as refusing:
        port = dead if proxy == "dead" else refusing.port
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        wati = WatiClient(
            "https://wati.invalid", TOKEN, max_tries=2, rate_limits={"*": None}, clock=FakeClock()
        )
        with pytest.raises(WatiConnectionError, match="Could not connect") as raised:
            wati.send_text(NUMBER, "Hello", hooks=hooks)
    assert type(raised.value) is WatiConnectionError
    assert calls == ["before", "not"] * 2
    assert NUMBER not in str(raised.value)


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
