from __future__ import annotations

import copy
import json
import logging
import pickle
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from traceback import walk_tb
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk import BaseHook, Connection

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.client.token import AccessToken
from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.hooks import wati as hook_module
from airflow_provider_wati.hooks.settings import settings_of
from airflow_provider_wati.hooks.wati import WatiHook
from tests.support.scripted_server import answer, drip, serving

TOKEN = "eyJhbGciOi.TheToken-of_this.test"
HOST = "live-mt-server.wati.io"
CREDITS = {"credit": 12.5, "welcome_credit": 0.0, "currency": "USD", "auto_charge_enabled": False}

Define = Callable[..., str]


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Define:
    """Define a connection in an environment variable, as Airflow's own connection test does."""

    def define(value: str | dict[str, Any], conn_id: str = "a_wati") -> str:
        text = value if isinstance(value, str) else json.dumps({"conn_type": "wati", **value})
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)
        return conn_id

    return define


def connection(extra: dict[str, Any] | str | None = None, **fields: Any) -> Connection:
    values = {"host": f"https://{HOST}/123456", "password": TOKEN, "conn_type": "wati", **fields}
    text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    return Connection(conn_id="a_wati", extra=text, **values)


def test_the_attributes_that_airflow_reads() -> None:
    """The hook has the connection attributes that Airflow looks for."""
    assert issubclass(WatiHook, BaseHook)
    assert (WatiHook.conn_name_attr, WatiHook.default_conn_name) == ("wati_conn_id", "wati_default")
    assert (WatiHook.conn_type, WatiHook.hook_name) == ("wati", "WATI")
    assert WatiHook().wati_conn_id == "wati_default"
    assert WatiHook(wati_conn_id="other").wati_conn_id == "other"


def test_a_new_hook_makes_no_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook reads its connection only when it is used."""
    monkeypatch.setattr(BaseHook, "get_connection", lambda *_: pytest.fail("looked up"))
    assert WatiHook("not_there").wati_conn_id == "not_there"


def test_one_client_and_one_look_up(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook makes one client and reads the connection once."""
    hook = WatiHook(define({"host": HOST, "password": TOKEN}))
    client = hook.get_conn()
    monkeypatch.setattr(BaseHook, "get_connection", lambda *_: pytest.fail("looked up again"))
    assert isinstance(client, WatiClient)
    assert hook.get_conn() is hook.client is client
    assert hook.default_region is None


# The endpoint


@pytest.mark.parametrize(
    ("uri", "base_url", "tenant_id"),
    [
        (f"wati://:{TOKEN}@{HOST}/123456", f"https://{HOST}", "123456"),
        (f"wati://:{TOKEN}@{HOST}/123456/", f"https://{HOST}", "123456"),
        (f"wati://:{TOKEN}@{HOST}/123456/api/ext/v3/contacts", f"https://{HOST}", "123456"),
        (f"wati://:{TOKEN}@{HOST}", f"https://{HOST}", None),
        (f"wati://:{TOKEN}@{HOST}/?tenant_id=123456", f"https://{HOST}", "123456"),
        (f"wati://:{TOKEN}@{HOST}:8443/123456", f"https://{HOST}:8443", "123456"),
        (f"wati://:{TOKEN}@https%3A%2F%2F{HOST}%2F123456", f"https://{HOST}", "123456"),
        (f"wati://https://:{TOKEN}@{HOST}/123456", f"https://{HOST}", "123456"),
        (f"wati://:{TOKEN}@http%3A%2F%2F127.0.0.1%3A8765%2F100001", "http://127.0.0.1:8765", "100001"),
        (f"wati://http://:{TOKEN}@127.0.0.1:8765/100001", "http://127.0.0.1:8765", "100001"),
        (f"wati://http://:{TOKEN}@[::1]:8765/100001", "http://[::1]:8765", "100001"),
        (f"wati://:{TOKEN}@[::1]:8765/100001", "https://[::1]:8765", "100001"),
    ],
)
def test_endpoints_in_uris(define: Define, uri: str, base_url: str, tenant_id: str | None) -> None:
    """Each way to write the endpoint in a URI gives the same account."""
    endpoint = WatiHook(define(uri)).client.endpoint
    assert (endpoint.base_url, endpoint.tenant_id) == (base_url, tenant_id)


@pytest.mark.parametrize(
    ("fields", "base_url", "tenant_id"),
    [
        ({"host": f"https://{HOST}/123456"}, f"https://{HOST}", "123456"),
        ({"host": f" {HOST}/123456/ \n"}, f"https://{HOST}", "123456"),
        ({"host": HOST}, f"https://{HOST}", None),
        ({"host": HOST, "schema": "https"}, f"https://{HOST}", None),
        ({"host": "127.0.0.1", "port": 8765, "schema": "http"}, "http://127.0.0.1:8765", None),
        ({"host": f"https://{HOST}/api/ext/v3/", "extra": {"tenant_id": 7}}, f"https://{HOST}", "7"),
        ({"host": f"https://{HOST}/123456", "extra": {"tenant_id": "7"}}, f"https://{HOST}", "7"),
        ({"host": f"{HOST}/123456", "port": 8443}, f"https://{HOST}:8443", "123456"),
    ],
)
def test_endpoints_in_json(
    define: Define, fields: dict[str, Any], base_url: str, tenant_id: str | None
) -> None:
    """Each way to write the endpoint in JSON gives the same account."""
    endpoint = WatiHook(define({"password": TOKEN, **fields})).client.endpoint
    assert (endpoint.base_url, endpoint.tenant_id) == (base_url, tenant_id)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"host": None}, "API Endpoint"),
        ({"host": " "}, "API Endpoint"),
        ({"password": None}, "Access Token"),
        ({"password": " \n"}, "Access Token"),
        ({"host": f"http://{HOST}/1"}, "https"),
        ({"host": f"{HOST}/somewhere"}, "API endpoint"),
        ({"host": "not a host"}, "API endpoint"),
    ],
)
def test_a_host_or_token_with_an_error(define: Define, fields: dict[str, Any], named: str) -> None:
    """The error names the connection and the field, and does not show the value."""
    hook = WatiHook(define({"host": HOST, "password": TOKEN, **fields}))
    with pytest.raises(WatiConfigurationError, match=named) as raised:
        hook.get_conn()
    assert str(raised.value).startswith("Connection 'a_wati': ")
    assert TOKEN not in str(raised.value)


def test_a_token_in_the_place_of_the_login_is_explained(define: Define) -> None:
    """A URI without the colon before the token gets an error that explains it."""
    hook = WatiHook(define(f"wati://{TOKEN}@{HOST}/123456"))
    with pytest.raises(WatiConfigurationError, match="colon") as raised:
        hook.get_conn()
    assert TOKEN not in str(raised.value)


# The extra


@pytest.mark.parametrize(
    ("extra", "argument", "expected"),
    [
        ({"channel": " Support "}, "channel", "Support"),
        ({"channel": 85291234567}, "channel", "85291234567"),
        ({"plan": "Business"}, "plan", "business"),
        ({"tenant_id": 123456}, "tenant_id", "123456"),
        ({"timeout": 10}, "timeout", (10.0, 10.0)),
        ({"timeout": 0.5}, "timeout", (0.5, 0.5)),
        ({"timeout": [3, 60]}, "timeout", (3.0, 60.0)),
        ({"timeout": "10"}, "timeout", (10.0, 10.0)),
        ({"timeout": "5, 30"}, "timeout", (5.0, 30.0)),
        ({"timeout": "[5, 30]"}, "timeout", (5.0, 30.0)),
        ({"verify": False}, "verify", False),
        ({"verify": "false"}, "verify", False),
        ({"verify": "True"}, "verify", True),
        ({"verify": "0"}, "verify", False),
        ({"verify": __file__}, "verify", __file__),
        ({"rate_limits": {"*": None}}, "rate_limits", {"*": None}),
        ({"rate_limits": '{"*": null}'}, "rate_limits", {"*": None}),
        ({"rate_limits": {"templates": [60, 10]}}, "rate_limits", {"templates": (60, 10)}),
        ({"rate_limit_storage": " redis://r.invalid/0 "}, "rate_limit_storage", "redis://r.invalid/0"),
    ],
)
def test_extras_become_arguments(extra: dict[str, Any], argument: str, expected: object) -> None:
    """Each extra of the connection becomes an argument of the client."""
    arguments = settings_of(connection(extra)).client_arguments
    assert arguments[argument] == expected  # type: ignore[literal-required] # one of the client's
    assert arguments.keys() == {"endpoint", "token", argument}
    WatiClient(**arguments).close()


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_an_empty_field_of_the_form_means_the_default(nothing: str | None) -> None:
    """An empty field of the form gives the default of the client."""
    names = (
        *("tenant_id", "channel", "plan", "rate_limits", "rate_limit_storage", "timeout"),
        *("default_region", "verify"),
    )
    settings = settings_of(connection(dict.fromkeys(names, nothing)))
    assert settings.client_arguments.keys() == {"endpoint", "token"}
    assert settings.default_region is None
    assert settings.unknown == ()


def test_everything_is_text_in_the_query_of_a_uri(define: Define) -> None:
    """Extras in a URI are texts, and are read like the values in JSON."""
    limits = quote('{"*": null}')
    hook = WatiHook(
        define(
            f"wati://:{quote(f'Bearer {TOKEN}')}@{HOST}/123456"
            f"?timeout=10&verify=false&rate_limits={limits}&plan=pro&default_region=in&channel=85291234567"
        )
    )
    assert hook.settings.client_arguments == {
        "endpoint": f"{HOST}/123456",
        "token": AccessToken(TOKEN),
        "timeout": (10.0, 10.0),
        "verify": False,
        "rate_limits": {"*": None},
        "plan": "pro",
        "channel": "85291234567",
    }
    assert hook.default_region == "IN"
    assert hook.client.channel == "85291234567"


EXAMPLE = re.compile(r"^export AIRFLOW_CONN_(\w+)='([^']+)'$", re.MULTILINE)
EXAMPLES = EXAMPLE.findall((Path(__file__).parents[3] / "docs" / "connection.md").read_text())


@pytest.mark.parametrize(("name", "value"), EXAMPLES)
def test_the_examples_of_the_documentation_work(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """Each connection example of the documentation gives a working client."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", value)
    hook = WatiHook(name.lower())
    assert hook.client.endpoint.tenant_id
    assert hook.settings.unknown == ()
    assert ("http://127.0.0.1" in hook.client.endpoint.base_url) == (name == "WATI_SANDBOX")
    assert len(hook.settings.client_arguments) + (hook.default_region is not None) > 2


def test_the_documentation_has_both_forms_of_an_example() -> None:
    """The page shows the connection as JSON and as a URI."""
    assert {value[:1] for _, value in EXAMPLES} == {"{", "w"}


SECRET = "looks-like-a-secret-of-someone"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant_id", SECRET),
        ("tenant_id", 1.5),
        ("tenant_id", True),
        ("channel", ["a", "b"]),
        ("channel", True),
        ("plan", SECRET),
        ("plan", 1),
        ("timeout", SECRET),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", True),
        ("timeout", "5, 30, 60"),
        ("timeout", []),
        ("timeout", [5, None]),
        ("timeout", "Infinity"),
        ("timeout", "NaN"),
        ("timeout", 1e10),
        ("timeout", {"connect": 5}),
        ("rate_limits", SECRET),
        ("rate_limits", "{not json}"),
        ("rate_limits", [10, 10]),
        ("rate_limits", 10),
        ("rate_limits", {"nothing_of_watis": [10, 10]}),
        ("rate_limits", {"templates": [0, 10]}),
        ("rate_limits", {"templates": "often"}),
        ("rate_limits", {"templates": {"calls": 1}}),
        ("default_region", "IND"),
        ("default_region", "9_"),
        ("default_region", 91),
        ("verify", "/not/there/" + SECRET),
        ("verify", 2.5),
        ("verify", ["a"]),
    ],
)
def test_a_malformed_extra_is_named(define: Define, field: str, value: object) -> None:
    """The error for an extra names the field and the expected form."""
    hook = WatiHook(define({"host": HOST, "password": TOKEN, "extra": {field: value}}))
    with pytest.raises(WatiConfigurationError) as raised:
        hook.get_conn()
    message = str(raised.value)
    assert message.startswith("Connection 'a_wati': ")
    assert field in message
    assert SECRET not in message
    assert TOKEN not in message
    assert (False, message.removeprefix("Connection 'a_wati': ")) == hook.test_connection()


@pytest.mark.parametrize("extra", ["{not json", '["a", "list"]', '"text"'])
def test_an_extra_that_is_not_an_object_is_refused(extra: str) -> None:
    """An extra that is not a JSON object is an error, not an empty extra."""
    with pytest.raises(WatiConfigurationError, match="Connection 'a_wati': The extra is no JSON object"):
        settings_of(connection(extra))


def test_settings_do_not_show_the_token() -> None:
    """The repr of the settings has no token."""
    assert TOKEN not in repr(settings_of(connection()))


@pytest.mark.parametrize(
    "pasted", [TOKEN, f"Bearer {TOKEN}", f"bearer  {TOKEN}\n", f" {TOKEN}\r\n", f"\tBEARER\t{TOKEN} "]
)
def test_the_token_is_stripped_of_bearer_and_masked(
    define: Define, pasted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ "Bearer" before the token is removed, and Airflow masks the token itself."""
    masked: list[str] = []
    monkeypatch.setattr(hook_module, "mask_secret", masked.append)
    assert AccessToken(pasted).reveal() == TOKEN
    WatiHook(define({"host": HOST, "password": pasted})).get_conn()
    assert masked == [TOKEN]


def test_a_task_log_shows_no_bare_token(define: Define) -> None:
    """The log of a task does not show the token."""
    from airflow.sdk._shared.secrets_masker import redact

    token = "a-token-that-no-other-test-has-masked"
    line = f"Authorization: {token}"
    assert redact(line) == line
    WatiHook(define({"host": HOST, "password": f"Bearer {token}"})).get_conn()
    assert redact(line) == "Authorization: ***"


# The Test button


class Server(ThreadingHTTPServer):
    """Answers everything with one status and body, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.body = status, body
        self.asked: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[int, object], Server]]:
    servers = []

    def serve(status: int, body: object = b"") -> Server:
        server = Server(status, body if isinstance(body, bytes) else json.dumps(body).encode())
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def refused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def check(define: Define, caplog: pytest.LogCaptureFixture) -> Callable[..., tuple[bool, str]]:
    """Test a connection as the button does, and look for the token in everything that is said."""

    def check(endpoint: str, **extra: object) -> tuple[bool, str]:
        with caplog.at_level(logging.DEBUG):
            conn_id = define({"host": endpoint, "password": f"Bearer {TOKEN}", "extra": extra}, "jxkqwz")
            verdict, message = WatiHook(conn_id).test_connection()
        assert TOKEN not in message + caplog.text
        assert conn_id not in message
        assert "\n" not in message
        return verdict, message

    return check


def test_success_names_the_host_and_the_tenant(serve: Any, check: Any) -> None:
    """A successful connection test names the host and the tenant."""
    server = serve(200, CREDITS)
    verdict, message = check(f"http://127.0.0.1:{server.server_port}/100001")
    assert verdict is True
    assert f"127.0.0.1:{server.server_port}" in message
    assert "100001" in message
    assert server.asked == [("/api/ext/v3/account/credits", f"Bearer {TOKEN}")]


def test_success_says_what_an_unknown_tenant_means(serve: Any, check: Any) -> None:
    """A successful test says what does not work without a tenant id."""
    verdict, message = check(f"http://127.0.0.1:{serve(200, CREDITS).server_port}")
    assert verdict is True
    assert "tenant_id" in message


def test_success_names_misspelt_extras(serve: Any, check: Any) -> None:
    """A successful test names unknown extras."""
    verdict, message = check(
        f"http://127.0.0.1:{serve(200, CREDITS).server_port}/1", tenantid="7", plan="pro"
    )
    assert verdict is True
    assert message.endswith("Ignored, because no field of the extra is called so: tenantid.")


@pytest.mark.parametrize(
    ("status", "body", "verdict", "said"),
    [
        (401, b"", False, "Access Token"),
        (403, {"code": 403, "message": "Forbidden"}, True, "scopes"),
        (404, b"<html>nginx</html>", False, "API Endpoint"),
        (429, b"", False, "429"),
        (500, {"code": 500, "message": f"Bearer {TOKEN} broke it"}, False, "500"),
        (200, b"<html>Welcome</html>", False, "API Endpoint"),
        (200, ["not", "credits"], False, "API Endpoint"),
    ],
)
def test_an_answer_with_an_error_is_reported_after_one_attempt(
    serve: Any, check: Any, status: int, body: object, verdict: bool, said: str
) -> None:
    """A connection test makes one call, and its message explains the answer."""
    server = serve(status, body)
    answer, message = check(f"http://127.0.0.1:{server.server_port}/100001")
    assert (answer, said in message) == (verdict, True), message
    assert str(server.server_port) in message or status in (429, 500)
    assert len(server.asked) == 1


def test_a_server_that_never_answers(silent_port: int, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection test ends soon when the server does not answer."""
    assert max(hook_module.PATIENCE) <= 5
    monkeypatch.setattr(hook_module, "PATIENCE", (3.0, 0.2))
    verdict, message = check(f"http://127.0.0.1:{silent_port}/1", timeout=600)
    assert verdict is False
    assert "0.2 s" in message


def test_a_port_that_refuses(refused_port: int, check: Any) -> None:
    """A refused connection is reported as one."""
    verdict, message = check(f"http://127.0.0.1:{refused_port}/1")
    assert verdict is False
    assert "refused" in message


def test_a_host_that_does_not_resolve(check: Any) -> None:
    """An unknown host name is reported as one."""
    verdict, message = check("https://no-such-host.invalid/1")
    assert verdict is False
    assert "no-such-host.invalid" in message
    assert "API endpoint" in message


def test_tls_to_a_plain_http_port(serve: Any, check: Any) -> None:
    """A failed TLS handshake is reported as one."""
    server = serve(200, CREDITS)
    verdict, message = check(f"127.0.0.1:{server.server_port}/100001")
    assert verdict is False
    assert "secure connection" in message
    assert "http://" in message, "a sandbox is what answers like this"
    assert server.asked == []


def test_a_pacer_that_is_full_does_not_hold_the_test_back(serve: Any, check: Any) -> None:
    """A connection test does not wait for the rate limit."""
    endpoint = f"http://127.0.0.1:{serve(200, CREDITS).server_port}/1"
    began = time.monotonic()
    verdicts = [check(endpoint, rate_limits={"*": [1, 300]})[0] for _ in range(2)]
    assert verdicts == [True, True]
    assert time.monotonic() - began < 60


def test_a_missing_connection() -> None:
    """A missing connection is reported with its id."""
    verdict, message = WatiHook("nowhere_to_be_found").test_connection()
    assert verdict is False
    assert "check that it exists" in message


def test_airflows_own_errors_are_not_repeated(
    define: Define, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text of another error may hold secrets, so the message has its class only."""
    uri = f"wati://https://http://:{TOKEN}@host"
    by_airflow = WatiHook(define(uri)).test_connection()

    def refuse(_: str) -> Connection:
        # What Connection.from_uri says; not every secrets backend keeps it to itself.
        raise ValueError(f"Invalid connection string: {uri}.")

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(refuse))
    for verdict, message in (by_airflow, WatiHook("a_wati").test_connection()):
        assert verdict is False
        assert TOKEN not in message + caplog.text


def test_with_the_connection_of_the_test_button(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``POST /api/v2/connections/test`` does: the URI of an unsaved connection under a random id."""
    from airflow.models.connection import Connection as Row

    row = Row(
        conn_id="jxkqwz",
        conn_type="wati",
        host=f"http://127.0.0.1:{serve(200, CREDITS).server_port}/100001",
        password=f"Bearer {TOKEN}",
        extra=json.dumps({"plan": "growth", "timeout": "5, 30", "rate_limits": None, "verify": "true"}),
    )
    monkeypatch.setenv("AIRFLOW_CONN_JXKQWZ", row.get_uri())
    verdict, message = WatiHook("jxkqwz").test_connection()
    assert (verdict, "100001" in message) == (True, True), message


# Time, copies and the token


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"]
)
def test_a_server_that_answers_byte_by_byte(head: bytes, check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection test ends within its time also when the answer never stops coming."""
    assert hook_module.PATIENCE[1] + hook_module._MARGIN <= 5
    monkeypatch.setattr(hook_module, "PATIENCE", (1.0, 0.2))
    monkeypatch.setattr(hook_module, "_MARGIN", 0.2)
    with serving(drip(head)) as server:
        began = time.monotonic()
        verdict, message = check(f"http://127.0.0.1:{server.port}/1", timeout=600)
    assert time.monotonic() - began < 60
    assert verdict is False
    assert "0.4 s" in message


def test_a_connection_test_leaves_no_connection_open(check: Any) -> None:
    """The server sees the end of the connection once the test is over."""
    ended = threading.Event()

    def answer_and_wait(connection: socket.socket) -> bool:
        answer(200, CREDITS)(connection)
        if connection.recv(1) == b"":
            ended.set()
        return False

    with serving(answer_and_wait) as server:
        assert check(f"http://127.0.0.1:{server.port}/1")[0] is True
        assert ended.wait(10)


@pytest.mark.parametrize("verify", [False, True, __file__])
def test_verify_of_the_connection_reaches_the_session(verify: bool | str) -> None:
    """What `verify` of the connection says is what requests uses, whatever the environment names."""
    client = WatiClient(**settings_of(connection({"verify": verify})).client_arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", "/elsewhere.pem")
        merged = client._transport._session.merge_environment_settings(
            f"https://{HOST}", {}, True, None, None
        )
    assert merged["verify"] == verify


@pytest.mark.parametrize(
    "copies",
    [lambda hook: pickle.loads(pickle.dumps(hook)), copy.copy, copy.deepcopy],
    ids=["pickle", "copy", "deep"],
)
def test_a_copy_of_a_hook_reads_the_connection_again(
    define: Define, copies: Callable[[WatiHook], WatiHook]
) -> None:
    """Neither a copy nor a pickle of a hook holds the token, and both work."""
    hook = WatiHook(define({"host": HOST, "password": TOKEN}))
    hook.get_conn()
    assert TOKEN.encode() not in pickle.dumps(hook)
    other = copies(hook)
    assert not {"settings", "client"} & vars(other).keys()
    assert other.settings == hook.settings
    assert other.get_conn() is not hook.get_conn()


SECRET_TOKEN = "eyJhbGciOi.A-secret.in-the.wrong-place"


@pytest.mark.parametrize(
    "fields",
    [
        {"extra": {"rate_limits": {SECRET_TOKEN: [1, 1]}}},
        {"extra": {"rate_limits": {"contacts": SECRET_TOKEN}}},
        {"extra": {"rate_limits": {"*": [SECRET_TOKEN, 1]}}},
        {"extra": {"rate_limits": SECRET_TOKEN}},
        {"extra": {"rate_limit_storage": SECRET_TOKEN}},
        {"extra": {"rate_limit_storage": [SECRET_TOKEN]}},
        {"extra": {"tenant_id": SECRET_TOKEN}},
        {"extra": {"plan": SECRET_TOKEN}},
        {"extra": {"timeout": SECRET_TOKEN}},
        {"extra": {"verify": SECRET_TOKEN}},
        {"extra": {"default_region": SECRET_TOKEN}},
        {"extra": SECRET_TOKEN},
        {"extra": {SECRET_TOKEN: ""}},
        {"password": f"{SECRET_TOKEN}\n{SECRET_TOKEN}"},
        {"password": f"https://{HOST}/123456?token={SECRET_TOKEN}"},
        {"password": "", "login": SECRET_TOKEN},
    ],
)
def test_a_token_in_another_field_is_not_repeated(fields: dict[str, Any], define: Define) -> None:
    """No error about a connection repeats what a field holds."""
    with serving(answer(200, CREDITS)) as server:
        conn_id = define({"host": f"http://127.0.0.1:{server.port}/1", "password": TOKEN, **fields})
        _, message = WatiHook(conn_id).test_connection()
    assert SECRET_TOKEN not in message


@pytest.mark.parametrize(
    "extra",
    [{"timeout": "never"}, {"plan": "none"}, {"rate_limits": {"none": [1, 1]}}, {"tenant_id": "none"}],
)
def test_a_traceback_of_a_wrong_setting_shows_no_token(define: Define, extra: dict[str, Any]) -> None:
    """Tools that print the variables of a traceback find no token in the frames of this package."""
    hook = WatiHook(define({"host": HOST, "password": TOKEN, "extra": extra}))
    with pytest.raises(WatiConfigurationError) as raised:
        hook.get_conn()
    frames = [frame for frame, _ in walk_tb(raised.tb)]
    ours = [frame for frame in frames if "airflow_provider_wati" in frame.f_code.co_filename]
    assert len(ours) > 2
    for frame in ours:
        for name, value in frame.f_locals.items():
            assert TOKEN not in repr(value), (frame.f_code.co_qualname, name)


def test_an_address_in_the_place_of_the_token_is_explained(define: Define) -> None:
    """An API endpoint in the field of the token gets an error that names both fields."""
    hook = WatiHook(define({"host": HOST, "password": f"https://{HOST}/1"}))
    with pytest.raises(WatiConfigurationError, match="Access Token.*is a web address.*API Endpoint"):
        hook.get_conn()


def test_a_deeply_nested_extra_is_a_configuration_error() -> None:
    """An extra that JSON cannot read for its depth is refused as one that is no object."""
    with pytest.raises(WatiConfigurationError, match="The extra is no JSON object"):
        settings_of(connection("[" * 100_000))


# The webhook secret


@pytest.mark.parametrize("secret", ["x" * 24, "0123456789abcdef01234567", "a.b_c~d-e!$&'()*+,;=:@0123"])
def test_a_webhook_secret_is_read_and_not_shown(secret: str) -> None:
    """A long secret of characters that a URL takes is read, and no repr shows it."""
    settings = settings_of(connection({"webhook_secret": secret}))
    assert settings.webhook_secret == secret
    assert secret not in repr(settings)


@pytest.mark.parametrize(
    "secret", ["x" * 23, "with a space 0123456789012345", "slash/" * 5, "é" * 30, 12, ["x" * 30]]
)
def test_a_weak_webhook_secret_is_refused(secret: object) -> None:
    """A secret that is too short or needs escaping is refused, naming the field but not the secret."""
    with pytest.raises(WatiConfigurationError, match="'a_wati'.*webhook_secret.*24 characters") as caught:
        settings_of(connection({"webhook_secret": secret}))
    assert str(secret) not in str(caught.value).replace("24 characters", "")


def test_the_webhook_secret_is_masked(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hook hands the secret to Airflow's masker."""
    masked: list[str] = []
    monkeypatch.setattr(hook_module, "mask_secret", masked.append)
    extra = {"webhook_secret": "x" * 24}
    assert (
        WatiHook(define({"host": HOST, "password": TOKEN, "extra": extra})).settings.webhook_secret
        == "x" * 24
    )
    assert "x" * 24 in masked


def test_the_storage_of_limits_is_masked(define: Define, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow masks the URL of the storage in logs, and the password that it may hold by itself."""
    masked: list[str] = []
    monkeypatch.setattr(hook_module, "mask_secret", masked.append)
    url = "redis://:a-password@r.invalid/0"
    hook = WatiHook(define({"host": HOST, "password": TOKEN, "extra": {"rate_limit_storage": url}}))
    assert hook.settings.client_arguments["rate_limit_storage"] == url
    assert {url, "a-password"} <= set(masked)
    assert "a-password" not in repr(hook.settings)
