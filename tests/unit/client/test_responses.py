"""A 200 is read to the end before it is believed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.client.responses import decode_json, is_too_deep
from airflow_provider_wati.exceptions import (
    WatiError,
    WatiNotFoundError,
    WatiRejectedError,
    WatiResponseError,
    WatiUnknownOutcomeError,
)
from tests.support.clients import NUMBER, TOKEN, client_of
from tests.support.scripted_server import (
    answer,
    serving,
)

if TYPE_CHECKING:
    from airflow_provider_wati.client import WatiClient

ACTS: dict[str, Callable[[WatiClient], Any]] = {
    "create": lambda wati: wati.create_contact(NUMBER, "Ada"),
    "update": lambda wati: wati.update_contacts([{"target": NUMBER, "custom_params": {"a": "b"}}]),
    "delete": lambda wati: wati.delete_contact(NUMBER),
    "teams": lambda wati: wati.assign_teams(NUMBER, ["Billing"]),
    "operator": lambda wati: wati.assign_operator(NUMBER, "a@b.example"),
    "status": lambda wati: wati.update_conversation_status(NUMBER, "open"),
    "chatbot": lambda wati: wati.start_chatbot(NUMBER, "abc"),
    "tag": lambda wati: wati.add_tag(NUMBER, "vip"),
    "untag": lambda wati: wati.remove_tag(NUMBER, "vip"),
    "cancel": lambda wati: wati.cancel_scheduled_campaign("abc"),
    "webhook": lambda wati: wati.update_webhook("1", "https://a.example", ["message"]),
    "text": lambda wati: wati.send_text(NUMBER, "x"),
    "file by URL": lambda wati: wati.send_file_url(NUMBER, "https://a.example/b.png"),
    "file": lambda wati: wati.send_file(
        NUMBER, io.BytesIO(b"x"), file_name="a.pdf", mime_type="application/pdf"
    ),
    "buttons": lambda wati: wati.send_buttons(NUMBER, "x", ["Yes"]),
    "list": lambda wati: wati.send_list(NUMBER, "x", "Choose", [{"rows": [{"title": "r"}]}]),
    "template": lambda wati: wati.send_template_messages("t", "c", [{"target": NUMBER}]),
}
#: What every one of them would take for success, were it not for the refusal.
GOOD = {
    "id": "1",
    "contact_list": [],
    "result": True,
    "success": True,
    "message": {"id": "1"},
    "recipients": [{"phone_number": NUMBER}],
}


@pytest.mark.parametrize("act", ACTS)
def test_a_good_answer_is_none_of_the_refusals(act: str) -> None:
    """The answer that the refusals below are made of is a success."""
    with serving(answer(200, GOOD)) as server:
        ACTS[act](client_of(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("no", [False, "false", "False", " FALSE ", 0, 0.0, "0", "no"])
@pytest.mark.parametrize("flag", ["success", "result", "ok"])
@pytest.mark.parametrize("act", ACTS)
def test_a_flag_that_says_no_is_a_refusal(act: str, flag: str, no: object) -> None:
    """Each call that acts is refused by each flag that is false in each spelling."""
    # A template send that names accepted recipients and is refused contradicts itself (see the test below).
    recipients = [] if act == "template" else GOOD["recipients"]
    with (
        serving(answer(200, {**GOOD, "recipients": recipients, flag: no})) as server,
        pytest.raises(WatiRejectedError) as raised,
    ):
        ACTS[act](client_of(server))
    assert len(server.requests) == 1
    assert raised.value.status_code == 200


@pytest.mark.parametrize(
    "refusal",
    [
        *({flag: no} for flag in ("success", "result", "ok") for no in (False, "false", 0)),
        {"code": 400, "message": "one number is not valid"},
    ],
    ids=str,
)
def test_a_refused_template_send_that_names_recipients_is_ambiguous(refusal: dict[str, object]) -> None:
    """An answer that refuses a send and lists recipients contradicts itself, so the outcome is unknown."""
    with serving(answer(200, {**GOOD, **refusal})) as server, pytest.raises(WatiUnknownOutcomeError):
        ACTS["template"](client_of(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [400, 404, 409, 429, "400"])
@pytest.mark.parametrize("act", ACTS)
def test_an_error_envelope_is_a_refusal(act: str, code: object) -> None:
    """Each call that acts is refused by an error envelope inside a 200, in WATI's words."""
    recipients = [] if act == "template" else GOOD["recipients"]
    error = {"code": code, "message": f"No, {NUMBER}", "timestamp": "2026-11-03T06:20:12Z"}
    envelope = {**GOOD, "recipients": recipients, **error}
    with serving(answer(200, envelope)) as server, pytest.raises(WatiRejectedError) as raised:
        ACTS[act](client_of(server))
    assert raised.value.wati_message == "No, *******8722"


@pytest.mark.parametrize("act", ["create", "chatbot", "text", "template"])
def test_the_envelope_of_a_500_leaves_the_outcome_open(act: str) -> None:
    """A 500 in an envelope says as little about a send as a 500 does."""
    envelope = {"code": 500, "message": "Oops"}
    with serving(answer(200, envelope)) as server, pytest.raises(WatiUnknownOutcomeError, match="Oops"):
        ACTS[act](client_of(server))


@pytest.mark.parametrize(
    ("call", "body"),
    [
        (ACTS["delete"], {"contact_id": "1", "deleted": False}),
        (ACTS["text"], {"message": {"status": "FAILED", "failed_detail": "Closed"}}),
        (
            lambda wati: wati.estimate_campaign_cost("abc", ["def"]),
            {"is_request_succeeded": "false", "failed_detail": "no"},
        ),
    ],
)
def test_a_refusal_inside_a_200_is_an_error(call: Callable[[WatiClient], Any], body: object) -> None:
    """Refusals that one endpoint has alone are found too."""
    with serving(answer(200, body)) as server, pytest.raises(WatiRejectedError):
        call(client_of(server))
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [{}, [], None, "Deleted", {"result": None}, {"result": "queued"}])
def test_a_cancellation_that_does_not_say_is_not_done(body: object) -> None:
    """An answer to a cancellation that neither affirms nor refuses it counts as not done."""
    with serving(answer(200, body)) as server:
        assert client_of(server).cancel_scheduled_campaign("abc") is False


@pytest.mark.parametrize("body", [{"result": True}, {"ok": 1}, {"success": "True"}])
def test_a_cancellation_that_says_so_is_done(body: object) -> None:
    """An answer that affirms the cancellation counts as done."""
    with serving(answer(200, body)) as server:
        assert client_of(server).cancel_scheduled_campaign("abc") is True


@pytest.mark.parametrize(("count", "read"), [(7, 7), ("7", 7), (" 7", 7), (7.0, 7), (0, 0), (10**30, 10**30)])
def test_a_count_may_be_text(count: object, read: int) -> None:
    """A count is read as a number and as a text."""
    with serving(answer(200, {"contact_count": count})) as server:
        assert client_of(server).count_contacts() == read


@pytest.mark.parametrize(
    "count",
    ["many", "NaN", float("nan"), float("inf"), {}, None, [], "", True, -1, 1.5, "-1", "1.5", "٧", 1e400],
)
def test_a_count_that_is_none_is_a_typed_error(count: object) -> None:
    """A count of another type is a response error."""
    raw = json.dumps({"contact_count": count}).encode()
    with serving(answer(200, raw=raw)) as server, pytest.raises(WatiResponseError):
        client_of(server).count_contacts()


@pytest.mark.parametrize("message", ["Contact not found", "The contact does not exist."])
def test_a_missing_contact_may_be_a_400(message: str) -> None:
    """A 400 that says so counts as a missing contact."""
    with serving(answer(400, {"code": 400, "message": message})) as server, pytest.raises(WatiNotFoundError):
        client_of(server).get_contact(NUMBER)


@pytest.mark.parametrize(
    ("raw", "read"),
    [
        (rb'"Ada \ud83d"', "Ada \ufffd"),
        (rb'"\uD83D Ada"', "\ufffd Ada"),
        (rb'"\ude00\ud83d"', "\ufffd\ufffd"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\ud83d\ude00 whole"', "\U0001f600 whole"),
        (rb'"\\ud83d is text"', r"\ud83d is text"),
        (rb'"\\\ud83d"', "\\\ufffd"),
        (rb'"\u00e9 \n \" \ud83d"', '\u00e9 \n " \ufffd'),
        (b'"raw \xed\xa0\xbd"', "raw \ufffd\ufffd\ufffd"),
        (b'"cut \xf0\x9f\x98"', "cut \ufffd"),
        ('"\U0001f600"'.encode(), "\U0001f600"),
        (rb'{"half \ud83d": [1]}', {"half \ufffd": [1]}),
        (b"\xef\xbb\xbf[NaN, Infinity, -Infinity]", [None, None, None]),
        (b"", None),
    ],
)
def test_half_a_character_is_replaced_and_nothing_else(
    raw: bytes, read: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a character becomes U+FFFD and is reported; whole ones, and what only looks like one, stay as they are."""
    assert decode_json(raw, "GET /contacts") == read
    reports = [record.getMessage() for record in caplog.records]
    assert len(reports) == ("\ufffd" in str(read))
    assert all("WATI's answer to GET /contacts holds half a character" in report for report in reports)


def test_one_odd_contact_does_not_stop_the_listing() -> None:
    """A contact with half an emoji in each of its fields is listed with the half replaced, and the others with it."""
    half = {name: "Ada \ud83d" for name in ("id", "name", "phone", "wa_id", "bsuid")}
    half["custom_params"] = [{"name": "Ada \ud83d", "value": "Ada \ud83d"}]  # type: ignore[assignment] # a list
    with serving(answer(200, {"contact_list": [{"id": "1"}, half, {"id": "3"}]})) as server:
        contacts = list(client_of(server).iter_contacts())
    assert [contact["id"] for contact in contacts] == ["1", "Ada \ufffd", "3"]
    assert contacts[1].get("custom_params") == [{"name": "Ada \ufffd", "value": "Ada \ufffd"}]


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (85264318722, "85264318722"),
        (85264318722.0, "85264318722"),
        (1.5, "1.5"),
        (None, None),
        (True, None),
        ([], None),
        ({"a": 1}, None),
        ("", ""),
        ("x", "x"),
    ],
)
@pytest.mark.parametrize("field", ["phone", "wa_id", "name", "status"])
def test_a_field_that_is_text_at_wati_is_text_or_none(field: str, value: object, read: str | None) -> None:
    """A number becomes its text and any other type None, in a list, in a look-up and in an update."""
    contact = {"id": 7, field: value}
    with serving(answer(200, {**contact, "contact_list": [contact]})) as server:
        wati = client_of(server)
        found: list[Any] = [
            *wati.iter_contacts(),
            wati.get_contact(NUMBER),
            *wati.update_contacts([{"target": NUMBER, "custom_params": {"a": "b"}}]),
        ]
    assert [(each["id"], each[field]) for each in found] == [("7", read)] * 3


@pytest.mark.parametrize("levels", [49, 51, 300])
def test_what_is_nested_too_deeply_costs_its_row(levels: int) -> None:
    """A row of a list that is nested beyond 50 levels is left out; alone it is a response error."""
    deep: Any = {"id": "2"}
    for _ in range(levels - 1):
        deep = [deep]
    row = {"id": "1", "deep": deep}
    with serving(answer(200, {**row, "contact_list": [row, {"id": "3"}]})) as server:
        wati = client_of(server)
        listed = [contact["id"] for contact in wati.iter_contacts()]
        assert listed == (["1", "3"] if levels < 50 else ["3"])
        if levels > 50:
            with pytest.raises(WatiResponseError, match="nested too deeply"):
                wati.get_webhooks()
    assert is_too_deep(row) is (levels > 50)


@pytest.mark.parametrize(
    "body",
    [
        {"result": False, "message": f"bad token {TOKEN}"},
        {"code": 500, "message": f"bad token {TOKEN}"},
        {"success": True, "recipients": [{"phone_number": NUMBER, "errors": [{"message": f"no {TOKEN}"}]}]},
    ],
    ids=["result", "code", "recipient"],
)
def test_a_token_that_an_answer_repeats_is_in_no_error(body: Any) -> None:
    """WATI's words go into errors and outcomes, and the token does not go with them."""
    with serving(answer(200, body)) as server:
        try:
            said = str(client_of(server).send_template_messages("t", "c", [{"target": NUMBER}]))
        except (WatiRejectedError, WatiUnknownOutcomeError) as error:
            said = f"{error} {error.wati_message}"
    assert TOKEN not in said
    assert "***" in said


@pytest.mark.parametrize("piece", [b"[],", b"{},", b'{"a":1},', b"1,"])
def test_an_answer_of_too_many_values_is_not_decoded(piece: bytes) -> None:
    """Empty objects take two bytes on the wire and a hundred in memory, so their number has a limit too."""
    with pytest.raises(WatiResponseError, match="more than 1,000,000 values"):
        decode_json(b"[" + piece * 1_000_001 + b"0]", "GET /contacts")


def test_a_number_at_the_length_of_a_message_is_masked() -> None:
    """WATI's words are masked before they are cut, or the beginning of a number would be shown."""
    for length in range(480, 500):
        message = f"{'x' * length} {NUMBER} is wrong"
        with serving(answer(400, {"code": 400, "message": message})) as server:
            with pytest.raises(WatiError) as raised:
                client_of(server).get_contact(NUMBER)
        assert NUMBER[:4] not in str(raised.value)
