"""
From what an Airflow connection holds to what the client takes.

The extra comes from a form, from JSON or from the query of a URI, where everything is text, so each field is
read from either shape. No value is ever repeated in an error: a token pasted into the wrong field must not end
up in a log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict, TypeVar

from airflow_provider_wati.client.token import AccessToken
from airflow_provider_wati.connection_form import ACCESS_TOKEN, API_ENDPOINT, FIELDS, PLACEHOLDERS
from airflow_provider_wati.exceptions import WatiConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import Connection

T = TypeVar("T")

_CHOICES = {form_field.name: form_field.choices for form_field in FIELDS}
_SWITCHES = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(
    ("false", "no", "off", "0"), False
)
_LONGEST_TIMEOUT = 3600
#: The characters of RFC 3986 that stand in the part of a path as they are.
_SECRET = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]{24,500}")
_FIELD_NAME = re.compile(r"[A-Za-z_ -]{1,30}")


class ClientArguments(TypedDict):
    """The arguments of :class:`~airflow_provider_wati.client.WatiClient`; what is left out has its default."""

    endpoint: str
    token: AccessToken
    tenant_id: NotRequired[str]
    channel: NotRequired[str]
    plan: NotRequired[str]
    rate_limits: NotRequired[Mapping[str, tuple[int, float] | None]]
    rate_limit_storage: NotRequired[str]
    timeout: NotRequired[tuple[float, float]]
    verify: NotRequired[bool | str]
    max_tries: NotRequired[int]
    max_seconds: NotRequired[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """
    What a connection of type ``wati`` says.

    :param client_arguments: for the client. Not shown, because the token is among them.
    :param default_region: two capital letters, the country of phone numbers without a country code.
    :param webhook_secret: what WATI's webhooks have in their address; None where none are received. Not shown.
    :param unknown: the keys of the extra that mean nothing here, misspelt ones perhaps; one that does not look like
        the name of a field is left out, because it may be a token.
    """

    client_arguments: ClientArguments = field(repr=False)
    default_region: str | None = None
    webhook_secret: str | None = field(default=None, repr=False)
    unknown: tuple[str, ...] = ()


class _Fields:
    """The fields of a connection, without a repr that shows them."""

    def __init__(self, connection: Connection) -> None:
        self.conn_id = connection.conn_id
        self.host = (connection.host or "").strip()
        self.schema = (connection.schema or "").strip()
        self.port = connection.port
        self.login = connection.login
        self.password = connection.password or ""
        self.extra = connection.extra or "{}"


def settings_of(connection: Connection) -> Settings:
    """
    Read a connection.

    :param connection: of type ``wati``.
    :raises WatiConfigurationError: naming the connection, the field and the remedy.
    """
    fields = _Fields(connection)
    # Airflow shows the password in the repr of a connection, and tracebacks may show the variables of this frame.
    del connection
    with naming(fields.conn_id):
        arguments: ClientArguments = {"endpoint": _endpoint(fields), "token": _token(fields)}
        extra = _extra(fields)
        if (tenant_id := _read(extra, "tenant_id", _tenant_id)) is not None:
            arguments["tenant_id"] = tenant_id
        if (channel := _read(extra, "channel", _channel)) is not None:
            arguments["channel"] = channel
        if (plan := _read(extra, "plan", _plan)) is not None:
            arguments["plan"] = plan
        if rate_limits := _read(extra, "rate_limits", _rate_limits):
            arguments["rate_limits"] = rate_limits
        if (rate_limit_storage := _read(extra, "rate_limit_storage", _rate_limit_storage)) is not None:
            arguments["rate_limit_storage"] = rate_limit_storage
        if (timeout := _read(extra, "timeout", _timeout)) is not None:
            arguments["timeout"] = timeout
        if (verify := _read(extra, "verify", _verify)) is not None:
            arguments["verify"] = verify
        return Settings(
            client_arguments=arguments,
            default_region=_read(extra, "default_region", _default_region),
            webhook_secret=_read(extra, "webhook_secret", _webhook_secret),
            unknown=tuple(sorted(filter(_FIELD_NAME.fullmatch, extra.keys() - _CHOICES.keys()))),
        )


@contextmanager
def naming(conn_id: str) -> Iterator[None]:
    """Put the connection in front of a configuration error."""
    try:
        yield
    except WatiConfigurationError as error:
        raise WatiConfigurationError(f"{name_of(conn_id)}{error}") from None


def name_of(conn_id: str) -> str:
    """Return how a configuration error begins."""
    return f"Connection {conn_id!r}: "


def _endpoint(fields: _Fields) -> str:
    """
    Join the parts into which a URI is split.

    ``wati://:token@live-mt-server.wati.io/123456`` leaves the tenant in the schema, and a port in the port.
    What the result means is for the client to judge.
    """
    host, schema = fields.host, fields.schema
    if not host:
        raise WatiConfigurationError(
            f"The {API_ENDPOINT} (host) is missing: copy it from the WATI dashboard, like {PLACEHOLDERS['host']}."
        )
    scheme, separator, rest = host.rpartition("://")
    if not separator and schema.lower() in ("http", "https"):
        scheme, separator, schema = schema.lower(), "://", ""
    authority, _, path = rest.partition("/")
    if authority.count(":") > 1 and not authority.startswith("["):
        authority = f"[{authority}]"
    if fields.port:
        authority = f"{authority}:{fields.port}"
    return (
        scheme
        + separator
        + "/".join(part for part in (authority, path.strip("/"), schema.strip("/")) if part)
    )


def _token(fields: _Fields) -> AccessToken:
    # No variable holds the text: tools print those of a traceback.
    if re.match(r"\s*https?://", fields.password, re.IGNORECASE):
        raise WatiConfigurationError(
            f"The {ACCESS_TOKEN} (password) is a web address: perhaps the {API_ENDPOINT} (host) stands in its place."
        )
    if fields.password.strip():
        return AccessToken(fields.password)
    in_a_uri = " In a URI, a colon comes before it: wati://:TOKEN@..." if fields.login else ""
    raise WatiConfigurationError(
        f"The {ACCESS_TOKEN} (password) is missing: make one in the WATI dashboard, under Connector, API.{in_a_uri}"
    )


def _extra(fields: _Fields) -> dict[str, Any]:
    # Not extra_dejson, which takes a broken extra for an empty one.
    extra = _json_of(fields.extra)
    if isinstance(extra, dict):
        return extra
    raise WatiConfigurationError('The extra is no JSON object: expected one like {"plan": "pro"}.')


def _json_of(text: str) -> object:
    """Return what a JSON text stands for, None if it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read(extra: Mapping[str, Any], name: str, read: Callable[[Any], T]) -> T | None:
    """
    Read one field of the extra; a field that was left empty in the form is none.

    :param read: raises ``ValueError`` with what was expected.
    """
    value = extra.get(name)
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "":
        return None
    try:
        return read(value)
    except ValueError as error:
        raise WatiConfigurationError(f"The extra field {name} cannot be used: {error}.") from None


def _text(value: object) -> str | None:
    """Return a text; a URI makes numbers of digits."""
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None


def _tenant_id(value: object) -> str:
    text = _text(value)
    if text is None or not re.fullmatch(r"[0-9]+", text):
        raise ValueError("it is the number at the end of the API endpoint in the WATI dashboard")
    return text


def _channel(value: object) -> str:
    text = _text(value)
    if text is None:
        raise ValueError("give the name or the phone number of one channel, as text")
    return text


def _plan(value: object) -> str:
    plan = value.lower() if isinstance(value, str) else ""
    if plan not in _CHOICES["plan"]:
        raise ValueError(f"choose one of {', '.join(_CHOICES['plan'])}")
    return plan


def _rate_limits(value: object) -> dict[str, Any]:
    limits = _json_of(value) if isinstance(value, str) else value
    if isinstance(limits, dict):
        # Which families there are, and what a limit may be, the client knows.
        return {
            family: tuple(limit) if isinstance(limit, list) else limit for family, limit in limits.items()
        }
    raise ValueError('give a JSON object like {"templates": [60, 10]}, calls and seconds')


def _rate_limit_storage(value: object) -> str:
    # Which URLs there are, the client knows.
    if not isinstance(value, str):
        raise ValueError("give the URL of a Redis or PostgreSQL, such as redis://redis.example.com:6379/0")
    return value


def _timeout(value: object) -> tuple[float, float]:
    expected = f"give seconds as 30, or as 5, 30 for connecting and answering, up to {_LONGEST_TIMEOUT}"
    if isinstance(value, str):
        value = _json_of(value if value.startswith("[") else f"[{value}]")
    seconds = value if isinstance(value, list) else [value]
    numbers = [
        float(number)
        for number in seconds
        if isinstance(number, (int, float))
        and not isinstance(number, bool)
        and 0 < number <= _LONGEST_TIMEOUT
    ]
    if len(numbers) != len(seconds) or len(numbers) not in (1, 2):
        raise ValueError(expected)
    return numbers[0], numbers[-1]


def _default_region(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]{2}", value):
        raise ValueError("give the two letters of a country, like IN or BR")
    return value.upper()


def _webhook_secret(value: object) -> str:
    # Neither the value nor its length is repeated.
    if not isinstance(value, str) or not _SECRET.fullmatch(value):
        raise ValueError(
            "give at least 24 characters that need no escaping in a URL, such as those of openssl rand -hex 24"
        )
    return value


def _verify(value: object) -> bool | str:
    if isinstance(value, bool):
        return value
    text = _text(value) or ""
    if text.lower() in _SWITCHES:
        return _SWITCHES[text.lower()]
    # Checked here, because requests notices only in the middle of the first call.
    if not text or not Path(text).exists():
        raise ValueError("give true, false, or the path of a CA bundle that exists where the task runs")
    return text
