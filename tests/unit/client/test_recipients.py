"""Recipients go to the wire as WATI reads them, and out of its answer as what became of each."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_wati.client.recipients import encode_recipient, normal_target
from airflow_provider_wati.client.types import (
    Accepted,
    Ambiguous,
    DispatchResult,
    EncodedRecipient,
    NotSent,
    Rejected,
)
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiBadRequestError,
    WatiConflictError,
    WatiConnectionError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiRejectedError,
    WatiResponseError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from tests.support.clients import NUMBER, client_of
from tests.support.scripted_server import Step, answer, closed_port, reset, serving


def sent(*recipients: dict[str, Any], **answered: Any) -> Any:
    with serving(answer(200, {"success": True, "broadcast_id": "b1", **answered})) as server:
        result = client_of(server).send_template_messages("order_update", "orders", recipients)
    return result, json.loads(server.requests[0].body)


def test_each_recipient_is_found_in_the_answer_in_whatever_order() -> None:
    """Recipients are matched by id, else by number, and those left out are not accepted."""
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
    assert result.campaign_id == "b1"
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
    """Two messages to one person need two entries in the answer; of one, nobody knows whose it is."""
    entry = {"phone_number": NUMBER, "errors": []}
    for count, accepted in ((1, False), (2, True)):
        result, _ = sent({"target": NUMBER}, {"target": NUMBER}, recipients=[entry] * count)
        assert [recipient.accepted for recipient in result.recipients] == [accepted] * 2


@pytest.mark.parametrize("first", ["accepted", "refused"])
def test_of_two_messages_to_one_person_nobody_knows_which_was_refused(first: str) -> None:
    """WATI gives ids of its own and promises no order, so both are open."""
    bad, good = ({"phone_number": NUMBER, "errors": errors} for errors in (["Bad"], []))
    answered = [bad, good] if first == "refused" else [good, bad]
    result = dispatched(encoded(NUMBER, NUMBER), taken(*answered))
    assert result == Accepted("b1", omitted=frozenset({0, 1}))


@pytest.mark.parametrize("by_id", [[], ["Bad"]], ids=["accepted", "refused"])
@pytest.mark.parametrize("theirs", [None, "theirs-0001"])
def test_a_second_entry_by_number_that_contradicts_the_one_by_id_leaves_it_open(
    by_id: list[str], theirs: str | None
) -> None:
    """The second entry can mean no other recipient, and one that agrees changes nothing."""
    recipients = encoded(*PEOPLE)
    one, *others = entries(recipients)
    one["errors"] = by_id
    second = {**one, "local_message_id": theirs, "errors": [] if by_id else ["Bad"]}
    for answered in ([one, second, *others], [second, *others, one]):
        assert dispatched(recipients, taken(*answered)) == Accepted("b1", omitted=frozenset({0}))
    agreeing = {**second, "errors": by_id}
    expected = Accepted("b1", {0: "Bad"} if by_id else {})
    assert dispatched(recipients, taken(one, agreeing, *others)) == expected


def test_an_entry_by_number_belongs_to_the_message_that_has_none_by_id() -> None:
    """Of two messages to one person, one is refused by id: the entry that is left over is the other one's."""
    recipients = encoded(NUMBER, NUMBER)
    refused, accepted = entries(recipients)
    refused["errors"], accepted["local_message_id"] = ["Bad"], None
    assert dispatched(recipients, taken(refused, accepted)) == Accepted("b1", {0: "Bad"})
    assert dispatched(recipients, taken(refused, accepted, accepted)) == Accepted(
        "b1", omitted=frozenset({0})
    )


@pytest.mark.parametrize("errors", [[], ["Bad"]], ids=["accepted", "refused"])
def test_one_entry_with_both_names_of_a_person_is_one_entry(errors: list[str]) -> None:
    """Of two messages to one person, an entry with ``phone_number`` and ``target`` does not say which it is."""
    entry = {"phone_number": NUMBER, "target": f"+{NUMBER}", "local_message_id": "theirs", "errors": errors}
    result = dispatched(encoded(NUMBER, NUMBER), taken(entry))
    assert result == Accepted("b1", omitted=frozenset({0, 1}))
    both = Accepted("b1", {} if not errors else {0: "Bad", 1: "Bad"}, other_ids={0: "theirs", 1: "theirs"})
    assert dispatched(encoded(NUMBER, NUMBER), taken(entry, entry)) == both


CONTACT = "507f1f77bcf86cd799439011"


def test_an_entry_under_two_names_decides_about_one_of_the_recipients_with_these_names() -> None:
    """A number and a contact id are two recipients and one person, so that two entries are needed."""
    recipients = encoded(NUMBER, CONTACT, ids=False)
    entry = {"phone_number": NUMBER, "target": CONTACT, "errors": []}
    by_contact = {"target": CONTACT, "errors": []}
    assert dispatched(recipients, taken(entry)) == Accepted("b1", omitted=frozenset({0, 1}))
    assert dispatched(recipients, taken(by_contact, entry)) == Accepted("b1")
    refused = {**by_contact, "errors": ["Bad"]}
    assert dispatched(recipients, taken(entry, refused)) == Accepted("b1", omitted=frozenset({0, 1}))


def test_two_entries_of_one_id_that_contradict_each_other_leave_it_open() -> None:
    """Neither of them counts, and two that agree are one."""
    recipients = encoded(*PEOPLE)
    one, *others = entries(recipients)
    contradicting = dispatched(recipients, taken(one, {**one, "errors": ["Bad"]}, *others))
    assert contradicting == Accepted("b1", omitted=frozenset({0}))
    assert dispatched(recipients, taken(one, one, *others)) == Accepted("b1")


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
    """A wrong recipient is named by its place, and no request leaves."""
    with serving(answer(200, {})) as server, pytest.raises(WatiValidationError, match=says) as raised:
        client_of(server).send_template_messages("order_update", "orders", recipients)
    assert not server.requests
    assert NUMBER not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"success": False, "error": "Template of 85264318722 not found"}, WatiRejectedError),
        ({"success": "False", "error": "no"}, WatiRejectedError),
        ({"success": True, "recipients": None}, WatiUnknownOutcomeError),
        ({"success": True, "recipients": {}}, WatiUnknownOutcomeError),
        ({"success": True}, WatiUnknownOutcomeError),
        ({"success": "yes", "recipients": []}, WatiUnknownOutcomeError),
        ({"recipients": []}, WatiUnknownOutcomeError),
    ],
)
def test_a_200_is_read_before_it_is_believed(body: object, error: type[WatiError]) -> None:
    """A template answer that refuses is a refusal, and one that does not say is ambiguous."""
    with serving(answer(200, body)) as server, pytest.raises(error) as raised:
        client_of(server).send_template_messages("order_update", "orders", [{"target": NUMBER}])
    assert NUMBER not in str(raised.value)


def encoded(*targets: str, ids: bool = True) -> list[EncodedRecipient]:
    return [
        encode_recipient(target, {"name": "Ada"}, f"order-{n:04}" if ids else None)
        for n, target in enumerate(targets)
    ]


def entries(recipients: list[EncodedRecipient]) -> list[dict[str, Any]]:
    """What WATI answers when all is well."""
    return [
        {"local_message_id": each.local_message_id, "phone_number": each.target, "errors": []}
        for each in recipients
    ]


def dispatched(recipients: list[EncodedRecipient], step: Step, **settings: Any) -> DispatchResult:
    with serving(step) as server:
        return client_of(server).dispatch_template("order_update", "orders", recipients, **settings)


def taken(*answered: Any, **more: Any) -> Step:
    return answer(200, {"success": True, "broadcast_id": "b1", "recipients": list(answered), **more})


PEOPLE = ("85264318721", "85264318722", "85264318723")


@pytest.mark.parametrize(
    ("target", "key"),
    [("85264318722", "phone_number"), ("507f1f77bcf86cd799439011", "target"), ("US.1231", "target")],
)
@pytest.mark.parametrize("local_id", [None, "order-0001", 'quo"te \\ \n'])
@pytest.mark.parametrize(
    "params",
    [{}, {"name": "Ada"}, {'a "b"': "c \\ d\n\t\u2028", "emoji": "Zoë 🎉"}, {"empty": ""}, {"\x00": "\x1f"}],
)
def test_a_recipient_is_encoded_as_json_would(
    target: str, key: str, local_id: str | None, params: dict[str, str]
) -> None:
    """The fast path writes the same JSON as the json module does, with every letter as it is."""
    recipient = encode_recipient(target, params, local_id)
    expected: dict[str, Any] = {key: target}
    if local_id is not None:
        expected["local_message_id"] = local_id
    expected["custom_params"] = [{"name": name, "value": value} for name, value in params.items()]
    assert recipient.body == json.dumps(expected, ensure_ascii=False, separators=(",", ":"))
    assert (recipient.target, recipient.local_message_id) == (target, local_id)


@pytest.mark.parametrize(
    ("target", "params", "says"),
    [
        ("+85264310001", {}, "without"),
        ("shop:85264310001", {}, "take no channel"),
        ("Ada", {}, "none of"),
        ("85264310001", {"total": 12.5}, "'total' is float"),
        ("85264310001", {"name": None}, "'name' is NoneType"),
        ("85264310001", {"": "x"}, "name is text"),
        ("85264310001", {7: "x"}, "name is text"),
        ("85264310001", {"name": "\ud83d"}, "half a character"),
    ],
)
def test_a_recipient_that_cannot_be_right_is_refused(target: str, params: Any, says: str) -> None:
    """A wrong target or parameter is refused when the recipient is encoded, without its number in the error."""
    with pytest.raises(WatiValidationError, match=says) as raised:
        encode_recipient(target, params)
    assert "85264310001" not in str(raised.value)


@pytest.mark.parametrize("later", [None, datetime(2099, 1, 2, 11, 30, tzinfo=timezone(timedelta(hours=8)))])
def test_a_body_is_joined_from_encoded_recipients(later: datetime | None) -> None:
    """The body of a call is valid JSON with WATI's field names, and holds the recipients as they were encoded."""
    recipients = encoded(*PEOPLE)
    with serving(taken(*entries(recipients))) as server:
        result = client_of(server).dispatch_template(
            "order_update", 'orders "x"', recipients, channel="Shop", scheduled_at=later
        )
    assert result == Accepted("b1")
    [request] = server.requests
    assert request.path.endswith("/messageTemplates/schedule" if later else "/messageTemplates/send")
    body = json.loads(request.body)
    assert body.pop("scheduled_at", None) == ("2099-01-02T03:30:00Z" if later else None)
    assert body == {
        "template_name": "order_update",
        "broadcast_name": 'orders "x"',
        "channel": "Shop",
        "recipients": [json.loads(recipient.body) for recipient in recipients],
    }


@pytest.mark.parametrize("count", [0, 10_001])
def test_a_call_takes_1_to_10_000_encoded_recipients(count: int) -> None:
    """No recipient, and one too many, are refused before anything is sent."""
    with serving(taken()) as server, pytest.raises(WatiValidationError, match="recipients"):
        client_of(server).dispatch_template("t", "c", encoded(NUMBER) * count)
    assert not server.requests


def test_refused_and_omitted_recipients_are_told_by_position() -> None:
    """Each position tells what became of its recipient, in whatever order WATI answers."""
    recipients = encoded(*PEOPLE)
    one, two, _ = entries(recipients)
    result = dispatched(recipients, taken({**two, "errors": [f"Bad {PEOPLE[1]}"]}, one))
    assert result == Accepted("b1", {1: "Bad *******8722"}, frozenset({2}))


@pytest.mark.parametrize("errors", [None, [], "", {}])
def test_no_errors_in_whatever_form_is_accepted(errors: object) -> None:
    """An entry without errors is accepted, whatever WATI writes for none."""
    recipients = encoded(*PEOPLE)
    answered = [{**entry, "errors": errors} for entry in entries(recipients)]
    assert dispatched(recipients, taken(*answered)) == Accepted("b1")


@pytest.mark.parametrize("odd", [{"success": False}, {"result": "false"}, {"ok": 0}, {"errors": "Bad"}])
def test_an_entry_that_says_no_is_refused(odd: dict[str, Any]) -> None:
    """A recipient is refused by errors of another type, and by a flag that is false."""
    recipients = encoded(*PEOPLE)
    one, two, three = entries(recipients)
    result = dispatched(recipients, taken(one, {**two, **odd}, three))
    assert isinstance(result, Accepted)
    assert set(result.refused) == {1}
    assert result.omitted == frozenset()


@pytest.mark.parametrize("spelling", ["+{}", "00{}", "+{} ", " {}", "+852 6431 {tail}", "852-6431-{tail}"])
def test_phones_are_compared_in_one_form(spelling: str) -> None:
    """A recipient without an id of ours is found by number in any spelling."""
    recipients = encoded(*PEOPLE, ids=False)
    answered = [
        {
            "local_message_id": f"theirs-{n}",
            "phone_number": spelling.format(phone, tail=phone[-4:]),
            "errors": [],
        }
        for n, phone in enumerate(PEOPLE)
    ]
    result = dispatched(recipients, taken(*answered))
    assert result == Accepted("b1", other_ids={n: f"theirs-{n}" for n in range(3)})


@pytest.mark.parametrize(
    "others",
    [
        [{"local_message_id": "x", "phone_number": "999999999", "errors": []}],
        [None],
        ["85264318723"],
        [{}],
    ],
)
def test_an_answer_about_others_is_ambiguous(others: list[Any]) -> None:
    """Entries that stand for nobody asked for, in place of some who were, leave the outcome open."""
    recipients = encoded(*PEOPLE)
    result = dispatched(recipients, taken(*entries(recipients)[:2], *others))
    assert isinstance(result, Ambiguous)
    assert "names other recipients" in str(result.error)


def test_more_entries_than_recipients_are_no_harm() -> None:
    """Entries on top of all that were asked for change nothing."""
    recipients = encoded(*PEOPLE)
    extra = {"local_message_id": "x", "phone_number": "999999999", "errors": ["Bad"]}
    assert dispatched(recipients, taken(extra, *entries(recipients))) == Accepted("b1")


@pytest.mark.parametrize(
    ("step", "kind", "error"),
    [
        (answer(400, {"code": 1, "message": "no"}), Rejected, WatiBadRequestError),
        (answer(413), Rejected, WatiBadRequestError),
        (answer(200, {"success": False, "error": "no"}), Rejected, WatiRejectedError),
        (answer(200, {"code": 400, "message": "no"}), Rejected, WatiRejectedError),
        (answer(401), NotSent, WatiAuthenticationError),
        (answer(403), NotSent, WatiPermissionError),
        (answer(404), NotSent, WatiNotFoundError),
        (answer(409), NotSent, WatiConflictError),
        (answer(429), NotSent, WatiRateLimitError),
        (answer(302, headers={"Location": "https://a.example"}), NotSent, WatiResponseError),
        (answer(304), NotSent, WatiResponseError),
        (answer(500), Ambiguous, WatiUnknownOutcomeError),
        (answer(503, headers={"Retry-After": "0"}), Ambiguous, WatiUnknownOutcomeError),
        (answer(408), Ambiguous, WatiUnknownOutcomeError),
        (answer(200, raw=b"<html>"), Ambiguous, WatiUnknownOutcomeError),
        (answer(200, {"code": 500, "message": "?"}), Ambiguous, WatiUnknownOutcomeError),
        (reset, Ambiguous, WatiUnknownOutcomeError),
    ],
)
def test_every_answer_has_a_typed_result(step: Step, kind: type[Any], error: type[WatiError]) -> None:
    """A template call returns what became of it and raises nothing, whatever WATI answers."""
    result = dispatched(encoded(NUMBER), step)
    assert type(result) is kind
    assert isinstance(result, (Rejected, Ambiguous, NotSent))
    assert type(result.error) is error


def test_no_connection_is_not_sent() -> None:
    """A template call that never left says so."""
    with closed_port() as port:
        result = client_of(port).dispatch_template("t", "c", encoded(NUMBER))
    assert isinstance(result, NotSent)
    assert type(result.error) is WatiConnectionError


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("+91 98100-00001", "919810000001"),
        ("00919810000001", "919810000001"),
        ("919810000001", "919810000001"),
        (919810000001, "919810000001"),
        ("(852) 6431.8722", "85264318722"),
        ("US.123124141512", "US.123124141512"),
        ("507f1f77bcf86cd799439011", "507f1f77bcf86cd799439011"),
    ],
)
def test_targets_have_one_normal_form(value: object, form: str) -> None:
    """Spellings of one number become its digits, and ids stay what they are."""
    assert normal_target(value) == form
