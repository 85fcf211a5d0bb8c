"""
A check of every request and every answer against WATI's own OpenAPI description.

The description lies outside this repository (``../shared/wati``, or where ``WATI_CONTRACT_DIR`` says). It is
of February 2026, so a short overlay adds what newer pages document. Wrap an application in ``ContractCheck``,
drive it, then call ``assert_clean``.
"""

from __future__ import annotations

import copy
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
from openapi_schema_validator import OAS30Validator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_REPOSITORY = Path(__file__).resolve().parents[2]
_FILE = "official-v3-2026-02.json"
_V3 = "/api/ext/v3"
#: The sandbox notes here that a fault spoiled the answer on purpose.
_FAULT_KEY = "wati_sandbox.fault"

_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": "string", "nullable": True}
_TRUTH = {"type": "boolean"}
_NUMBER = {"type": "number"}
_WHOLE = {"type": "integer"}


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _operation(
    *, query: dict[str, bool] | None = None, body: dict[str, Any] | None = None, answer: dict[str, Any]
) -> dict[str, Any]:
    """Return an operation; ``query`` says of each parameter whether it is required."""
    operation: dict[str, Any] = {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": required,
                "schema": _WHOLE if name.startswith("page_") else _TEXT,
            }
            for name, required in (query or {}).items()
        ],
        "responses": {"200": {"content": {"application/json": {"schema": answer}}}},
    }
    if body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": body}}}
    return operation


_PAGE = {"page_number": True, "page_size": True}
_ANYTHING: dict[str, Any] = {}


def _add_newer_pages(spec: dict[str, Any]) -> None:
    """Add what the documentation has gained since February 2026."""
    schemas = spec["components"]["schemas"]

    # Recipients by contact id or BSUID: `target`, and `phone_number` no longer required.
    recipient = schemas["TemplateMessageRecipientDto"]
    recipient["properties"]["target"] = _TEXT_OR_NULL
    recipient.pop("required")
    recipient["anyOf"] = [{"required": ["phone_number"]}, {"required": ["target"]}]
    schemas["TemplateMessageRecipientResultDto"]["properties"]["target"] = _TEXT_OR_NULL
    schemas["BroadcastRecipientDto"]["properties"]["bsuid"] = _TEXT_OR_NULL
    # Stated in words beside the schema.
    for name in ("SendTemplateMessagesRequest", "ScheduleTemplateMessagesRequest"):
        schemas[name]["properties"]["recipients"] |= {"minItems": 1, "maxItems": 10_000}

    # Business-scoped user ids on contacts; one member is typed as text and shown as a boolean.
    contact = schemas["ContactDto"]["properties"]
    contact |= {"bsuid": _TEXT_OR_NULL, "username": _TEXT_OR_NULL, "parentBsuid": _TEXT_OR_NULL}
    contact["is_broadcast_limit_reached"] = {"anyOf": [_TEXT_OR_NULL, _TRUTH]}

    # The answers are typed as the base event while every example carries the whole message.
    message = {"$ref": "#/components/schemas/MessageDto"}
    schemas["SendTextResponse"]["properties"]["message"] = message
    schemas["GetMessagesByConversationIdResponse"]["properties"]["message_list"]["items"] = message
    for name in ("SendTextRequest", "SendFileViaUrlRequest"):
        schemas[name]["properties"]["is_bot"] = _TRUTH
    # Stated in words only.
    schemas["UpdateConversationStatusRequest"]["properties"]["new_status"]["enum"] = [
        "open",
        "solved",
        "pending",
        "block",
    ]

    paths = spec["paths"]
    paths[f"{_V3}/contacts/{{target}}"]["delete"] = _operation(
        answer=_object(contact_id=_TEXT, deleted=_TRUTH, cleanup_completed=_TRUTH)
    )
    # Only `id` and `channel_type` are documented, and not the wrapper's name.
    paths[f"{_V3}/conversations"] = {
        "get": _operation(
            query=_PAGE | {"channel_type": False, "channel_id": False},
            answer={
                "type": "object",
                "properties": {
                    "conversation_list": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["id"],
                            "properties": {"id": _TEXT, "channel_type": _TEXT_OR_NULL},
                        },
                    }
                },
            },
        )
    }
    paths[f"{_V3}/conversations/{{target}}/tags"] = {
        "post": _operation(body=_object("tag_name", tag_name=_TEXT), answer=_ANYTHING)
    }
    paths[f"{_V3}/conversations/{{target}}/tags/{{tag}}"] = {"delete": _operation(answer=_ANYTHING)}
    paths[f"{_V3}/broadcasts/estimate-cost"] = {
        "post": _operation(
            body=_object(
                template_id=_TEXT_OR_NULL, contact_ids={"type": "array", "items": _TEXT, "nullable": True}
            ),
            answer=_object(
                estimated_cost=_NUMBER,
                current_credit=_NUMBER,
                current_welcome_credit=_NUMBER,
                result=_TRUTH,
                is_request_succeeded=_TRUTH,
                failed_detail=_TEXT_OR_NULL,
            ),
        )
    }
    paths[f"{_V3}/account/credits"] = {
        "get": _operation(
            answer=_object(
                credit=_NUMBER,
                welcome_credit=_NUMBER,
                remaining_free_conversations_count=_WHOLE,
                currency=_TEXT_OR_NULL,
                auto_charge_enabled=_TRUTH,
            )
        )
    }
    # Known from clients; the answers are not documented.
    paths[f"{_V3}/webhooks"] = {"get": _operation(answer=_ANYTHING)}
    paths[f"{_V3}/webhooks/event-types"] = {"get": _operation(answer=_ANYTHING)}
    paths[f"{_V3}/webhooks/{{id}}"] = {
        "put": _operation(
            body=_object(
                "url",
                "eventTypes",
                url=_TEXT,
                eventTypes={"type": "array", "items": _TEXT},
                status={"type": "string", "enum": ["Enabled", "Disabled"]},
            ),
            answer=_ANYTHING,
        )
    }


@dataclass(frozen=True)
class Operation:
    """One operation of the description; ``name`` is like ``GET /contacts/{target}``."""

    name: str
    path: re.Pattern[str]
    spec: dict[str, Any]


class Contract:
    """WATI's description, ready to be asked."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = copy.deepcopy(spec)
        _add_newer_pages(self._spec)
        self._validators: dict[str, OAS30Validator] = {}
        self._operations = sorted(self._read_operations(), key=lambda each: each.path.pattern.count("[^/]+"))

    @property
    def operations(self) -> list[str]:
        return [operation.name for operation in self._operations]

    def find(self, method: str, path: str) -> Operation | None:
        """Return the operation of a request; a path without placeholders goes before one with."""
        for operation in self._operations:
            if operation.name.startswith(f"{method} ") and operation.path.fullmatch(path):
                return operation
        return None

    def faults_in(self, schema: dict[str, Any], value: object) -> Iterator[str]:
        """Yield what is wrong with a value, a few words each."""
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            # Within one document, so that references into the components resolve.
            document = {"allOf": [schema], "components": self._spec["components"]}
            self._validators[key] = OAS30Validator(document)
        for error in self._validators[key].iter_errors(value):
            where = "/".join(map(str, error.absolute_path)) or "body"
            yield f"{where}: {error.message[:200]}"

    def _read_operations(self) -> Iterator[Operation]:
        for path, methods in self._spec["paths"].items():
            pattern = re.compile(re.sub(r"{[^}]+}", "[^/]+", path))
            for method, spec in methods.items():
                yield Operation(f"{method.upper()} {path.removeprefix(_V3)}", pattern, spec)


def contract_file() -> Path:
    folder = os.environ.get("WATI_CONTRACT_DIR")
    return (Path(folder) if folder else _REPOSITORY.parent / "shared" / "wati") / _FILE


@cache
def _contract() -> Contract | None:
    file = contract_file()
    return Contract(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def load_contract() -> Contract:
    """Return WATI's description, or skip the test where it is not at hand."""
    contract = _contract()
    if contract is None:
        pytest.skip(f"WATI's OpenAPI description is not at {contract_file()}; set WATI_CONTRACT_DIR")
    return contract


@dataclass
class ContractCheck:
    """
    ASGI wrapper that holds requests and answers against the contract.

    A request that was refused with 400 may break it (that is what a test of a refusal does), and an answer
    that a fault spoiled may too; everything else may not.

    :param violations: what was wrong, in the order it was seen.
    :param exercised: how often each operation was answered with 200.
    """

    app: ASGIApp
    contract: Contract
    violations: list[str] = field(default_factory=list)
    exercised: Counter[str] = field(default_factory=Counter)

    def assert_clean(self) -> None:
        assert not self.violations, "\n".join(self.violations)

    def unexercised(self) -> set[str]:
        return set(self.contract.operations) - set(self.exercised)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(f"{_V3}/"):
            await self.app(scope, receive, send)
            return
        request, answer = bytearray(), bytearray()
        start: dict[str, Any] = {}

        async def listen() -> Message:
            message = await receive()
            request.extend(message.get("body", b""))
            return message

        async def speak(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Held back until the verdict is there: a client may act on the head of an empty answer.
                start.update(message)
                return
            first = "sent" not in start
            answer.extend(message.get("body", b""))
            if not message.get("more_body", False):
                self._judge(scope, bytes(request), start, bytes(answer))
            if first:
                start["sent"] = True
                await send({key: value for key, value in start.items() if key != "sent"})
            await send(message)

        await self.app(scope, listen, speak)
        if not start:
            self._judge(scope, bytes(request), start, b"")

    def _judge(self, scope: Scope, request: bytes, start: dict[str, Any], answer: bytes) -> None:
        status = start.get("status")
        operation = self.contract.find(scope["method"], scope["path"])
        if operation is None:
            if status not in (404, 405):
                self.violations.append(f"{scope['method']} {scope['path']}: not in the contract")
            return
        faults: list[str] = []
        if status != 400:
            faults += [f"query: {fault}" for fault in self._query_faults(operation, scope)]
            faults += [f"request: {fault}" for fault in self._request_faults(operation, scope, request)]
        if scope.get(_FAULT_KEY) is None:
            faults += [f"answer {status}: {fault}" for fault in self._answer_faults(operation, start, answer)]
        if status == 200:
            self.exercised[operation.name] += 1
        self.violations += [f"{operation.name}: {fault}" for fault in faults]

    def _query_faults(self, operation: Operation, scope: Scope) -> Iterator[str]:
        given = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        known = {each["name"]: each for each in operation.spec.get("parameters", ()) if each["in"] == "query"}
        for name in given.keys() - known.keys():
            yield f"{name} is not a parameter"
        for name, parameter in known.items():
            if name not in given:
                if parameter.get("required"):
                    yield f"{name} is missing"
                continue
            if parameter["schema"]["type"] == "integer" and not given[name].isdecimal():
                yield f"{name} is not a whole number"
            if name == "page_size" and given[name].isdecimal() and not 1 <= int(given[name]) <= 100:
                yield "page_size is not within 1 to 100"

    def _request_faults(self, operation: Operation, scope: Scope, request: bytes) -> Iterator[str]:
        contents = operation.spec.get("requestBody", {}).get("content", {})
        media_type = _header(scope["headers"], b"content-type")
        if not contents:
            if request:
                yield "a body where none belongs"
        elif "multipart/form-data" in contents:
            yield from _form_faults(contents["multipart/form-data"]["schema"], media_type, request)
        elif media_type.split(";")[0] not in ("application/json", *contents):
            yield f"content type {media_type!r}"
        else:
            schema = next(iter(contents.values()))["schema"]
            yield from self._json_faults(schema, request)

    def _answer_faults(self, operation: Operation, start: dict[str, Any], answer: bytes) -> Iterator[str]:
        status = start.get("status")
        if status is None:
            yield "no answer at all"
            return
        contents = operation.spec["responses"].get(str(status), {}).get("content", {})
        media_type = _header(start["headers"], b"content-type").split(";")[0]
        if "application/octet-stream" in contents:
            if media_type != "application/octet-stream":
                yield f"content type {media_type!r}"
        elif "application/json" in contents:
            yield from self._json_faults(contents["application/json"]["schema"], answer)
        elif status in (400, 403, 500):
            envelope = {"$ref": "#/components/schemas/InvalidRequestResponse"}
            yield from self._json_faults(envelope, answer)
        elif status not in (401, 404, 405, 409, 415, 429):
            yield "status is not documented"

    def _json_faults(self, schema: dict[str, Any], body: bytes) -> Iterator[str]:
        try:
            value = json.loads(body)
        except ValueError:
            yield f"not JSON: {body[:60]!r}"
            return
        yield from self.contract.faults_in(schema, value)


def _form_faults(schema: dict[str, Any], media_type: str, request: bytes) -> Iterator[str]:
    """Yield what is wrong with a multipart body: its parts are known, and all but the caption are there."""
    if not media_type.startswith("multipart/form-data"):
        yield f"content type {media_type!r}"
        return
    boundary = media_type.partition("boundary=")[2].strip('"')
    heads = [part.split(b"\r\n\r\n")[0] for part in request.split(b"--" + boundary.encode())[1:-1]]
    names = [found[1].decode() for head in heads if (found := re.search(rb'[; ]name="([^"]*)"', head))]
    for name in set(names) - schema["properties"].keys():
        yield f"{name} is not a member"
    for name in {"target", "file"} - set(names):
        yield f"{name} is missing"


def _header(headers: Any, name: bytes) -> str:
    for key, value in headers:
        if key.lower() == name:
            text: str = value.decode("latin-1")
            return text
    return ""
