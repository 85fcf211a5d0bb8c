"""What goes over the wire besides retries: the token, redirects, connections, files, pages."""

from __future__ import annotations

import io
import json
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tenacity import wait_none

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.exceptions import (
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiRejectedError,
    WatiResponseError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from tests.support.scripted_server import (
    ScriptedServer,
    Step,
    answer,
    closed_port,
    cut_short,
    reset,
    serving,
    stay_silent,
)

TOKEN = "eyJ-secret-token-7Yx"
NUMBER = "85264318722"


def client_of(server: ScriptedServer, **settings: Any) -> WatiClient:
    return WatiClient(
        f"{server.url}/100001",
        f"Bearer {TOKEN}",
        **{"rate_limits": {"*": None}, "timeout": (1, 0.3), "max_tries": 1, **settings},
    )


def test_v3_never_gets_the_tenant_and_v1_always_does() -> None:
    with serving(answer(200, {"credit": 1})) as server:
        wati = client_of(server)
        wati.get_credits()
        wati.cancel_scheduled_campaign("abc")
        wati.get_message_by_local_id("0123456789", "14155552671")
    assert [request.path for request in server.requests] == [
        "/api/ext/v3/account/credits",
        "/100001/api/v1/broadcast/deleteScheduledBroadcast/abc",
        "/100001/api/v1/whatsApp/messages/14155552671/0123456789",
    ]
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {TOKEN}"}
    assert all(
        request.headers["user-agent"].startswith("airflow-provider-wati/") for request in server.requests
    )


def test_path_segments_are_escaped() -> None:
    with serving(answer(200, {"id": "1"})) as server:
        wati = client_of(server)
        wati.get_contact(f"My shop/1:{NUMBER}")
        wati.get_template("a/b?c")
    assert [request.path for request in server.requests] == [
        f"/api/ext/v3/contacts/My%20shop%2F1:{NUMBER}",
        "/api/ext/v3/messageTemplates/a%2Fb%3Fc",
    ]


@pytest.mark.parametrize(
    "step",
    [
        answer(200, {"credit": 1}),
        answer(200, raw=b"<html>"),
        answer(400, {"code": 1, "message": f"token {TOKEN} of +{NUMBER}"}),
        answer(401, raw=f"bad token {TOKEN}".encode(), headers={"Content-Type": "text/plain"}),
        answer(403),
        answer(404),
        answer(429, headers={"Retry-After": "0"}),
        answer(500),
        answer(302, headers={"Location": f"https://elsewhere.example/{NUMBER}"}),
        reset,
        stay_silent,
        cut_short,
    ],
)
@pytest.mark.parametrize(
    "call",
    [
        lambda wati: wati.get_contact(NUMBER),
        lambda wati: wati.send_text(NUMBER, "a private text"),
        lambda wati: wati.create_contact(NUMBER, "a private text"),
        lambda wati: list(wati.iter_messages(f"14155552671:{NUMBER}")),
    ],
)
def test_neither_token_nor_number_nor_text_is_logged_or_raised(
    step: Step, call: Callable[[WatiClient], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(step) as server:
        wati = client_of(server, max_tries=2)
        with pytest.raises(WatiError) as raised:
            call(wati)
    everything = caplog.text + repr(wati) + repr(wati.__dict__) + repr(wati._transport.__dict__)
    error: BaseException | None = raised.value
    while error is not None:
        everything += repr(error) + repr(vars(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert "urllib3" in everything
    for secret in (TOKEN, NUMBER, "14155552671", "a private text"):
        assert secret not in everything


def test_a_closed_port_is_told_without_the_number(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with closed_port() as port:
        wati = WatiClient(f"http://127.0.0.1:{port}", TOKEN, max_tries=1, rate_limits={"*": None})
        with pytest.raises(
            WatiConnectionError, match=rf"Could not connect to 127.0.0.1:{port}: .*refused"
        ) as raised:
            wati.get_contact(NUMBER)
    assert NUMBER not in caplog.text + repr(raised.value)


def test_a_host_that_does_not_exist_is_told() -> None:
    wati = WatiClient("https://wati.invalid", TOKEN, max_tries=1, rate_limits={"*": None})
    with pytest.raises(WatiConnectionError, match="Could not connect to wati.invalid"):
        wati.get_credits()


def test_a_tls_handshake_that_fails_never_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(answer(200, {})) as server:
        wati = WatiClient(f"https://127.0.0.1:{server.port}", TOKEN, max_tries=3, rate_limits={"*": None})
        monkeypatch.setattr(wati._transport, "_backoff", wait_none())
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


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("kind", ["read", "send"])
def test_a_redirect_is_not_followed(status: int, kind: str) -> None:
    with serving(answer(200, {"credit": 1, "message": {}})) as elsewhere:
        with serving(answer(status, headers={"Location": f"{elsewhere.url}/x"})) as server:
            wati = client_of(server)
            with pytest.raises(WatiResponseError, match="redirect to 127.0.0.1, which is not followed"):
                wati.get_credits() if kind == "read" else wati.send_text(NUMBER, "Hello")
    assert len(server.requests) == 1
    assert not elsewhere.requests


def test_media_follows_a_redirect_and_leaves_the_token_behind() -> None:
    with serving(answer(200, raw=b"picture")) as elsewhere:
        with serving(answer(302, headers={"Location": f"{elsewhere.url}/signed"})) as server:
            with client_of(server).get_media("abc") as media:
                assert b"".join(media.iter_bytes()) == b"picture"
    assert "authorization" in server.requests[0].headers
    assert elsewhere.requests[0].path == "/signed"
    assert "authorization" not in elsewhere.requests[0].headers


def test_media_within_the_host_keeps_the_token() -> None:
    with serving(answer(307, headers={"Location": "/other"}), answer(200, raw=b"picture")) as server:
        with client_of(server).get_media("abc") as media:
            assert b"".join(media.iter_bytes()) == b"picture"
    assert [request.headers.get("authorization") for request in server.requests] == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([answer(302, headers={"Location": "http://elsewhere.example/x"})], WatiResponseError),
        ([answer(302, headers={"Location": "/again"})], WatiResponseError),
        ([answer(404)], WatiNotFoundError),
    ],
)
def test_media_that_cannot_be_had(steps: list[Step], error: type[WatiError]) -> None:
    with serving(*steps) as server, pytest.raises(error):
        with client_of(server).get_media("abc"):
            pytest.fail("there is nothing to read")
    assert len(server.requests) <= 5


def test_media_cut_short_is_an_error_not_a_short_file() -> None:
    with serving(cut_short) as server, client_of(server).get_media("abc") as media:
        with pytest.raises(WatiConnectionError, match="broke off"):
            list(media.iter_bytes())


@pytest.mark.parametrize(
    ("headers", "name", "kind"),
    [
        ({"Content-Disposition": 'attachment; filename="a photo.jpg"', "Content-Type": "image/jpeg"}, "a photo.jpg", "image/jpeg"),
        ({"Content-Disposition": "attachment; filename*=UTF-8''caf%C3%A9.png"}, "café.png", "application/octet-stream"),
        ({"Content-Disposition": 'attachment; filename="../../etc/passwd"'}, "../../etc/passwd", "application/octet-stream"),
        (
            {"Content-Disposition": "attachment; filename=\"_.pdf\"; filename*=UTF-8''%E7%99%BC.pdf"},
            "發.pdf",
            "application/octet-stream",
        ),
        ({}, None, "application/octet-stream"),
    ],
)  # fmt: skip
def test_media_tells_name_type_and_size(headers: dict[str, str], name: str | None, kind: str) -> None:
    with serving(answer(200, raw=b"12345", headers=headers)) as server:
        with client_of(server).get_media("abc") as media:
            assert (media.file_name, media.content_type, media.size) == (name, kind, 5)


def test_one_session_keeps_its_connection() -> None:
    with serving(answer(200, {"credit": 1})) as server:
        wati = client_of(server)
        for _ in range(5):
            wati.get_credits()
    assert {request.connection for request in server.requests} == {1}


@pytest.mark.parametrize(("idle", "connection"), [(19.0, 1), (21.0, 2)])
def test_a_send_takes_a_new_connection_after_idling(
    idle: float, connection: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(answer(200, {"credit": 1, "message": {"id": "1"}})) as server:
        wati = client_of(server)
        wati.get_credits()
        monkeypatch.setattr(wati._transport, "_last_used", wati._transport._last_used - idle)
        wati.send_text(NUMBER, "Hello")
    assert [request.connection for request in server.requests] == [1, connection]


def test_an_upload_arrives_whole_and_again_after_a_refusal() -> None:
    content = bytes(range(256)) * 1000
    file = io.BytesIO(b"skipped" + content)
    file.seek(7)
    with serving(answer(429, headers={"Retry-After": "0"}), answer(200, {"message": {"id": "1"}})) as server:
        client_of(server, max_tries=2).send_file(
            NUMBER, file, file_name='we"ird ü.bin', mime_type="application/pdf", caption="Ünïcode"
        )
    for request in server.requests:
        boundary = request.headers["content-type"].partition("boundary=")[2].encode()
        target, caption, upload, end = request.body.split(b"--" + boundary)[1:]
        assert target.endswith(b'name="target"\r\n\r\n85264318722\r\n')
        assert caption.endswith("Ünïcode\r\n".encode())
        head, _, body = upload.partition(b"\r\n\r\n")
        assert b"Content-Type: application/pdf" in head
        assert b'name="file"; filename="we%22ird' in head
        assert body == content + b"\r\n"
        assert end == b"--\r\n"
    assert len(server.requests) == 2


def page(*rows: int, **more: object) -> Step:
    return answer(200, {"contact_list": [{"id": str(row)} for row in rows], **more})


def test_pages_end_where_one_is_not_full() -> None:
    with serving(page(*range(100)), page(*range(100, 150))) as server:
        contacts = list(client_of(server).iter_contacts())
    assert [contact["id"] for contact in contacts] == [str(n) for n in range(150)]
    assert [request.path.partition("?")[2] for request in server.requests] == [
        "page_number=1&page_size=100",
        "page_number=2&page_size=100",
    ]


def test_a_last_page_that_is_full_is_followed_by_an_empty_one() -> None:
    with serving(page(*range(100)), page()) as server:
        assert len(list(client_of(server).iter_contacts())) == 100
    assert len(server.requests) == 2


def test_a_server_that_gives_smaller_pages_than_asked_loses_nobody() -> None:
    with serving(page(1, 2, page_size=2), page(3, page_size=2)) as server:
        assert len(list(client_of(server).iter_contacts())) == 3


def test_a_total_decides_where_there_is_one() -> None:
    def templates(*rows: int) -> Step:
        return answer(200, {"templates": [{"id": str(row)} for row in rows], "total": 3})

    with serving(templates(1, 2), templates(3)) as server:
        assert len(list(client_of(server).iter_templates())) == 3
    assert len(server.requests) == 2


def test_a_server_that_ignores_the_page_number_ends_in_an_error_not_in_a_loop() -> None:
    with serving(page(*range(100))) as server, pytest.raises(WatiResponseError, match="same page"):
        list(client_of(server).iter_contacts())
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [{}, {"contact_list": "x"}, [], None, {"contact_list": {}}])
def test_a_page_of_another_shape_is_an_error(body: object) -> None:
    with serving(answer(200, body)) as server, pytest.raises(WatiResponseError, match="cannot be used"):
        list(client_of(server).iter_contacts())


def sent(*recipients: dict[str, Any], **answered: Any) -> Any:
    with serving(answer(200, {"success": True, "broadcast_id": "b1", **answered})) as server:
        result = client_of(server).send_template_messages("order_update", "orders", recipients)
    return result, json.loads(server.requests[0].body)


def test_each_recipient_is_found_in_the_answer_in_whatever_order() -> None:
    result, body = sent(
        {"phone_number": "85264318721", "local_message_id": "first-0001", "params": {"name": "Ada"}},
        {"target": "85264318722", "custom_params": [{"name": "name", "value": "Bob"}]},
        {"target": "US.123124141512", "local_message_id": "third-0001"},
        {"target": "85264318724"},
        {"target": "85264318725", "local_message_id": "fifth-0001"},
        recipients=[
            {
                "local_message_id": "third-0001",
                "phone_number": None,
                "target": "US.123124141512",
                "errors": None,
            },
            {
                "local_message_id": "made-by-wati",
                "phone_number": "+85264318722",
                "errors": ["Bad 85264318722"],
            },
            {"local_message_id": "first-0001", "phone_number": "85264318721", "errors": []},
            {"local_message_id": "made-by-wati-2", "phone_number": "85264318724", "errors": []},
        ],
    )
    assert result.broadcast_id == "b1"
    assert [(r.target, r.local_message_id, r.accepted) for r in result.recipients] == [
        ("85264318721", "first-0001", True),
        ("85264318722", "made-by-wati", False),
        ("US.123124141512", "third-0001", True),
        ("85264318724", "made-by-wati-2", True),
        ("85264318725", "fifth-0001", False),
    ]
    assert result.recipients[1].error == "Bad *******8722"
    assert "left this recipient out" in result.recipients[4].error
    assert body["recipients"][0] == {
        "phone_number": "85264318721",
        "local_message_id": "first-0001",
        "custom_params": [{"name": "name", "value": "Ada"}],
    }
    assert "channel" not in body


def test_the_same_person_twice_is_matched_twice() -> None:
    entry = {"phone_number": NUMBER, "errors": []}
    result, _ = sent({"target": NUMBER}, {"target": NUMBER}, recipients=[entry])
    assert [recipient.accepted for recipient in result.recipients] == [True, False]


@pytest.mark.parametrize(
    ("recipients", "says"),
    [
        ([], "nobody to send to"),
        ({"target": NUMBER}, "a list of dicts, not dict"),
        ("[]", "a list of dicts, not str"),
        ([{"target": NUMBER}] * 10_001, "10001 recipients are too many"),
        ([{"target": NUMBER}, {"params": {}}], "Recipient 2 has neither target nor phone_number"),
        ([{"target": NUMBER, "phone_number": NUMBER}], "Recipient 1 has both target and phone_number"),
        ([{"target": f"+{NUMBER}"}], "Recipient 1: Phone number .* without '\\+'"),
        ([{"target": f"shop:{NUMBER}"}], "Recipient 1: Template sends take no channel"),
        ([{"target": NUMBER, "params": {"total": 12.5}}], "Recipient 1: parameter 'total' is float"),
        ([{"target": NUMBER, "params": {"name": None}}], "Recipient 1: parameter 'name' is NoneType"),
        ([{"target": NUMBER, "custom_params": [{"n": "x"}]}], "Recipient 1: custom_params as a list"),
        ([{"target": NUMBER, "name": "Ada"}], "Recipient 1 has name, and WATI knows only"),
        ([NUMBER], "Recipient 1 is a dict, not str"),
    ],
)
def test_recipients_that_cannot_be_right_are_refused_before_anything_is_sent(
    recipients: Any, says: str
) -> None:
    with serving(answer(200, {})) as server, pytest.raises(WatiValidationError, match=says) as raised:
        client_of(server).send_template_messages("order_update", "orders", recipients)
    assert not server.requests
    assert NUMBER not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"success": False, "error": "Template of 85264318722 not found"}, WatiRejectedError),
        ({"success": True, "recipients": None}, WatiUnknownOutcomeError),
        ({"success": True}, WatiUnknownOutcomeError),
        ({"success": "yes", "recipients": []}, WatiUnknownOutcomeError),
        ({"recipients": []}, WatiUnknownOutcomeError),
    ],
)
def test_a_200_is_read_before_it_is_believed(body: object, error: type[WatiError]) -> None:
    with serving(answer(200, body)) as server, pytest.raises(error) as raised:
        client_of(server).send_template_messages("order_update", "orders", [{"target": NUMBER}])
    assert NUMBER not in str(raised.value)


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (lambda wati: wati.assign_teams(NUMBER, ["Billing"]), {"result": False}),
        (lambda wati: wati.assign_operator(NUMBER, "a@b.example"), {"result": False}),
        (lambda wati: wati.update_conversation_status(NUMBER, "open"), {"result": False}),
        (lambda wati: wati.start_chatbot(NUMBER, "abc"), {"result": False}),
        (lambda wati: wati.add_tag(NUMBER, "vip"), {"ok": False, "message": "no"}),
        (lambda wati: wati.cancel_scheduled_campaign("abc"), {"result": False}),
        (
            lambda wati: wati.send_text(NUMBER, "x"),
            {"message": {"status": "FAILED", "failed_detail": "Closed"}},
        ),
        (
            lambda wati: wati.estimate_campaign_cost("abc", ["def"]),
            {"is_request_succeeded": False, "failed_detail": "no"},
        ),
    ],
)
def test_a_refusal_inside_a_200_is_an_error(call: Callable[[WatiClient], Any], body: object) -> None:
    with serving(answer(200, body)) as server, pytest.raises(WatiRejectedError):
        call(client_of(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("message", ["Contact not found", "The contact does not exist."])
def test_a_missing_contact_may_be_a_400(message: str) -> None:
    with serving(answer(400, {"code": 400, "message": message})) as server, pytest.raises(WatiNotFoundError):
        client_of(server).get_contact(NUMBER)


def test_the_clients_channel_is_used_where_none_is_named() -> None:
    body = {"message": {"id": "1"}, "success": True, "recipients": [{"phone_number": NUMBER}], "result": True}
    with serving(answer(200, body)) as server:
        wati = client_of(server, channel="14155552671")
        wati.send_text(NUMBER, "Hello")
        wati.start_chatbot(NUMBER, "abc")
        wati.send_template_messages("t", "b", [{"target": NUMBER}])
        wati.send_template_messages("t", "b", [{"target": NUMBER}], channel="other")
        wati.get_message_by_local_id("0123456789")
    bodies = [json.loads(request.body) for request in server.requests[:4]]
    assert bodies[0]["target"] == bodies[1]["target"] == f"14155552671:{NUMBER}"
    assert [body["channel"] for body in bodies[2:]] == ["14155552671", "other"]
    assert "/14155552671/0123456789" in server.requests[4].path
