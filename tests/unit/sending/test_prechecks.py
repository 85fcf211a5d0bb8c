"""What is known before anybody is messaged: the template, its parameters, who opted out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.exceptions import (
    WatiAuthenticationError,
    WatiError,
    WatiNotFoundError,
    WatiPermissionError,
    WatiRateLimitError,
    WatiServerError,
    WatiValidationError,
)
from airflow_provider_wati.sending.prechecks import (
    Consent,
    TemplateCheck,
    find_template,
    is_approved,
    parameter_names,
    parameter_problem,
)
from airflow_provider_wati.sending.queue import SendQueue
from airflow_provider_wati.sending.row_mapping import RowReader, map_recipient
from airflow_provider_wati.tables.phone_numbers import TargetReader
from tests.support.clock import FakeClock
from tests.support.sends import PARAMS, outcomes_of, phone
from tests.support.wati_model import WatiModel

if TYPE_CHECKING:
    from airflow_provider_wati.client.types import MessageTemplate
    from tests.conftest import Sandbox

CONTACTS_A_PAGE = 100


# The template


def test_a_template_is_found_on_its_channel_by_its_exact_name(quick_sandbox: Sandbox) -> None:
    """Only the exact name counts, and a missing one is an error value, not an exception."""
    client = quick_sandbox.client()
    found = find_template(client, "order_update")
    assert not isinstance(found, WatiNotFoundError)
    assert is_approved(found)
    assert {param["name"] for param in found["custom_params"] or []} == {"name", "order_id", "status"}
    for name in ("Order_Update", "order", "no_such_template"):
        found = find_template(client, name)
        assert isinstance(found, WatiNotFoundError)
        assert f"no template {name!r} on the channel 'default'" in str(found)


def test_a_template_of_another_channel_is_not_found(quick_sandbox: Sandbox) -> None:
    """The channel is the send's, else the client's."""
    channels = quick_sandbox.control("GET", "/state")["channels"]
    first, second = (channel["phone"] for channel in channels[:2])
    quick_sandbox.control("PUT", "/templates/only_second", {"body": "Hi", "channel": second})
    for client, channel in ((quick_sandbox.client(), second), (quick_sandbox.client(channel=second), None)):
        found = find_template(client, "only_second", channel)
        assert not isinstance(found, WatiNotFoundError)
        assert found["name"] == "only_second"
    found = find_template(quick_sandbox.client(), "only_second", first)
    assert isinstance(found, WatiNotFoundError)
    assert f"on the channel '{first}'" in str(found)


def test_of_several_languages_an_approved_one_is_taken() -> None:
    """A rejected translation does not hide the approved one."""
    model = WatiModel(FakeClock())
    model.templates = [
        {"id": "1", "name": "hello", "status": "REJECTED"},
        {"id": "2", "name": "hello", "status": "approved"},
        {"id": "3", "name": "other", "status": "APPROVED"},
    ]
    found = find_template(model.client(), "hello")
    assert not isinstance(found, WatiNotFoundError)
    assert found["id"] == "2"


def test_what_is_wrong_with_a_template_is_raised_only_when_asked() -> None:
    """With nobody left to send to, a template that is gone or paused stops nothing."""
    gone = TemplateCheck(WatiNotFoundError("WATI has no template 'x'."))
    paused = TemplateCheck({"id": "1", "name": "x", "status": "PAUSED"})
    right = TemplateCheck({"id": "1", "name": "x", "status": "APPROVED"})
    assert gone.required == []
    with pytest.raises(WatiNotFoundError):
        gone.refuse_unsendable()
    with pytest.raises(WatiValidationError, match="'x' is PAUSED, and WhatsApp takes approved ones only"):
        paused.refuse_unsendable()
    right.refuse_unsendable()


TEMPLATES: list[tuple[dict[str, Any], list[str], list[str]]] = [
    # template, listed names, required names
    ({"body_original": "Hi {{name}}, order {{ order_id }}."}, ["name", "order_id"], ["name", "order_id"]),
    ({"body_original": "Hi {{name}}."}, ["name", "old_name"], ["name"]),
    ({"body": "Hi {{name}}."}, [], ["name"]),
    ({"body_original": "Hi {{1}} and {{2}}"}, ["1", "2", "3"], ["1", "2"]),
    ({"body_original": "Hi {{name}} {{name}}"}, ["name"], ["name"]),
    (
        {"body_original": "Hi {{name}}", "header": {"type": "text", "text": "{{title}}"}},
        ["name", "title"],
        ["name", "title"],
    ),
    (
        {"body_original": "Hi {{name}}", "buttons": [{"parameter": {"url": "https://a.example/{{code}}"}}]},
        ["name", "code", "stale"],
        ["name", "code"],
    ),
    # No text with parameters: the listed names count.
    ({}, ["name"], ["name"]),
    ({"body_original": None, "body": None}, ["name"], ["name"]),
    ({"body_original": "Hello"}, ["name"], ["name"]),
    ({"body_original": "Hello"}, [], []),
    ({"body_original": "Hi {{name}}", "custom_params": None}, [], ["name"]),
]


@pytest.mark.parametrize(("template", "listed", "required"), TEMPLATES, ids=str)
def test_the_parameters_of_a_template_are_those_of_its_text(
    template: dict[str, Any], listed: list[str], required: list[str]
) -> None:
    """Body, header and button URLs count; names that WATI lists beyond these are not required."""
    whole: MessageTemplate = {"id": "1", "name": "t", "custom_params": [{"name": name} for name in listed]}
    whole.update(template)  # type: ignore[typeddict-item] # as WATI answers it
    assert parameter_names(whole) == required


def test_stale_parameter_names_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A name that the text does not use is named in the log, once, and nobody needs a value for it."""
    template: MessageTemplate = {
        "id": "1",
        "name": "t",
        "body_original": "Hi {{name}}",
        "custom_params": [{"name": name} for name in ("name", "zeta", "alpha")],
    }
    with caplog.at_level("WARNING"):
        assert parameter_names(template) == ["name"]
    [said] = [record.message for record in caplog.records]
    assert "template 't'" in said
    assert "'alpha', 'zeta'" in said


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"name": "Ada", "order": "1"}, None),
        ({"name": "Ada", "order": "1", "more": "is ignored"}, None),
        ({"name": "four    spaces", "order": "😀 Müller"}, None),
        ({"name": "x" * 3_000, "order": "1"}, None),
        ({"name": "Ada"}, "parameter 'order' is missing"),
        ({}, "parameter 'name' is missing, and 1 more"),
        ({"name": None, "order": "1"}, "parameter 'name' is NULL"),
        ({"name": "", "order": "1"}, "parameter 'name' is empty"),
        ({"name": " \u00a0 ", "order": "1"}, "parameter 'name' is empty"),
        ({"name": "\n", "order": "1"}, "parameter 'name' is empty"),
        ({"name": "a\nb", "order": "1"}, "parameter 'name' has a line break, a tab or more"),
        ({"name": "a\r", "order": "1"}, "parameter 'name' has a line break"),
        ({"name": "a\tb", "order": "1"}, "parameter 'name' has a line break, a tab"),
        ({"name": "five     spaces", "order": "1"}, "more than four spaces in a row"),
        ({"name": "Ada", "order": "1", "": "x"}, "a parameter has no name"),
        ({"name": "Ada", "order": "1", None: "x"}, "a parameter has no name"),
    ],
    ids=repr,
)
def test_parameters_of_a_message(params: dict[str | None, str | None], problem: str | None) -> None:
    """What WhatsApp refuses is found before the call, and names the parameter."""
    found = parameter_problem(params, ["name", "order"])
    assert problem in found if problem and found else found == problem


# Consent


def queue_of(*targets: str) -> SendQueue:
    """Rows to be sent."""
    queue = SendQueue()
    rows = [{"target": target, "params": PARAMS} for target in targets]
    queue.load(rows, RowReader(map_recipient, TargetReader(), "key", []))
    return queue


def statuses(queue: SendQueue) -> list[str]:
    return [outcome["status"] for outcome in outcomes_of(queue)]


def reasons(queue: SendQueue) -> list[str]:
    return [str(outcome["reason"]) for outcome in outcomes_of(queue)]


def seed_contacts(sandbox: Sandbox, count: int) -> list[str]:
    """Make new contacts, of which the first opted out."""
    phones = [phone(n) for n in range(count)]
    contacts = [{"phone": each, "allow_broadcast": n > 0} for n, each in enumerate(phones)]
    sandbox.control("POST", "/contacts", {"contacts": contacts})
    return phones


def test_a_few_people_are_looked_up_one_by_one(quick_sandbox: Sandbox) -> None:
    """Where listing all contacts takes more calls, each person is asked about."""
    out, in_, *_ = seed_contacts(quick_sandbox, 350)
    queue = queue_of(out, in_, "85264318799")
    before = len(quick_sandbox.requests("GET"))
    Consent(quick_sandbox.client(), queue, 4).apply()
    assert statuses(queue) == ["skipped", "unsent", "unsent"]
    assert len(quick_sandbox.requests("GET")) - before == 4


def test_many_people_are_found_in_a_listing(quick_sandbox: Sandbox) -> None:
    """Where looking each up takes more calls, all contacts are listed and counted before and after."""
    phones = seed_contacts(quick_sandbox, 350)
    pages = quick_sandbox.client().count_contacts() // CONTACTS_A_PAGE + 1
    queue = queue_of(*phones)
    before = len(quick_sandbox.requests("GET"))
    Consent(quick_sandbox.client(), queue, pages + 2).apply()
    assert statuses(queue) == ["skipped", *["unsent"] * 349]
    assert len(quick_sandbox.requests("GET")) - before == pages + 2


def test_a_listing_names_people_by_id_too(quick_sandbox: Sandbox) -> None:
    """A row with a contact id is skipped like one with the number."""
    seed_contacts(quick_sandbox, 40)
    contact_id = quick_sandbox.client().get_contact(phone(0))["id"]
    queue = queue_of(contact_id, *(phone(n) for n in range(1, 40)))
    Consent(quick_sandbox.client(), queue, 10).apply()
    assert statuses(queue)[0] == "skipped"
    assert statuses(queue)[1:] == ["unsent"] * 39


def test_nobody_left_costs_no_call(quick_sandbox: Sandbox) -> None:
    """Without anybody to send to nothing is looked up."""
    before = len(quick_sandbox.requests())
    Consent(quick_sandbox.client(), queue_of("12"), 0).apply()
    assert len(quick_sandbox.requests()) == before


@pytest.mark.parametrize(("allowed", "calls"), [(0, 0), (1, 1), (2, 1), (3, 1)])
def test_a_look_up_that_takes_too_many_calls_is_refused(
    allowed: int, calls: int, quick_sandbox: Sandbox
) -> None:
    """The limit holds for every call, the count of contacts too, and the error says how to go on."""
    seed_contacts(quick_sandbox, 350)
    before = len(quick_sandbox.requests())
    says = rf"takes \d calls, and consent_max_calls is {allowed}.*check_consent=False"
    with pytest.raises(WatiValidationError, match=says):
        Consent(quick_sandbox.client(), queue_of(*map(phone, range(3))), allowed).apply()
    assert len(quick_sandbox.requests()) - before == calls


# Consent of an account that changes while it is read


class ShiftingContacts(WatiModel):
    """An account whose contacts move or go between two pages."""

    def __init__(self, count: int, opted_out: int, change: Callable[[ShiftingContacts, int], None]) -> None:
        super().__init__(FakeClock())
        for n in range(count):
            self.contacts[f"{n:024x}"] = {
                "id": f"{n:024x}",
                "wa_id": phone(n),
                "phone": f"+{phone(n)}",
                "allow_broadcast": n != opted_out,
            }
        self.change = change
        self.pages = 0

    def _answer(self, call: str, *args: Any) -> Any:
        answer = super()._answer(call, *args)
        if call == "contacts":
            self.pages += 1
            self.change(self, self.pages)
        return answer


def delete_the_first(model: ShiftingContacts, page: int) -> None:
    """Between the first two pages a contact is deleted, so that all others move up."""
    if page == 1:
        model.contacts.pop(f"{0:024x}")


def move_the_last(model: ShiftingContacts, page: int) -> None:
    """With each page a contact becomes active, and so moves from behind to the front."""
    last = list(model.contacts)[-1]
    moved = model.contacts.pop(last)
    model.contacts = {last: moved, **model.contacts}


def move_up(model: ShiftingContacts, page: int) -> None:
    """Once, somebody on a later page moves to the first one, which has been read."""
    if page == 1:
        moved = model.contacts.pop(f"{250:024x}")
        model.contacts = {moved["id"]: moved, **model.contacts}


@pytest.mark.parametrize(
    ("change", "opted_out"), [(delete_the_first, 100), (move_up, 250), (move_the_last, 299)]
)
def test_a_listing_that_shifts_misses_nobody(
    change: Callable[[ShiftingContacts, int], None], opted_out: int
) -> None:
    """Whom a shifting listing misses is found by reading it again, or by asking about each person."""
    model = ShiftingContacts(300, opted_out, change)
    queue = queue_of(*(phone(n) for n in range(300)))
    Consent(model.client(), queue, 1_000).apply()
    assert statuses(queue)[opted_out] == "skipped"
    assert statuses(queue).count("skipped") == 1


def test_a_listing_that_never_matches_its_count_is_refused_where_looking_up_takes_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listing that may miss somebody is not used, also where the alternative is too dear."""
    model = ShiftingContacts(300, 299, lambda *_: None)
    monkeypatch.setattr(WatiClient, "count_contacts", lambda _: 301)
    with pytest.raises(WatiValidationError, match="consent_max_calls is 20"):
        Consent(model.client(), queue_of(*map(phone, range(300))), 20).apply()
    assert len(model.calls) <= 20


@pytest.mark.parametrize("counted", [0, 1, 299])
def test_a_count_that_is_too_low_bounds_the_listing_all_the_same(
    counted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If WATI counts no contacts, the listing still makes no more calls than are allowed."""
    model = ShiftingContacts(2_100, 5, lambda *_: None)
    monkeypatch.setattr(WatiClient, "count_contacts", lambda _: counted)
    with pytest.raises(WatiValidationError, match="consent_max_calls is 3"):
        Consent(model.client(), queue_of(*map(phone, range(30))), 3).apply()
    assert len(model.calls) <= 3


# Look-ups that fail


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> dict[str, WatiError]:
    """Errors by phone number, of look-ups of single contacts."""
    errors: dict[str, WatiError] = {}

    def get_contact(client: WatiClient, target: Any) -> dict[str, Any]:
        if error := errors.get(target.value):
            raise error
        return {"id": f"{int(target.value):024x}", "allow_broadcast": target.value != phone(0)}

    monkeypatch.setattr(WatiClient, "get_contact", get_contact)
    monkeypatch.setattr(WatiClient, "count_contacts", lambda _: 10**6)
    return errors


def test_a_look_up_that_fails_costs_its_row(lookups: dict[str, WatiError]) -> None:
    """A contact that answers 500 is not messaged, and all others are."""
    lookups[phone(1)] = WatiServerError("WATI answered GET /contacts/{target} with 500.")
    queue = queue_of(*map(phone, range(4)))
    Consent(WatiModel(FakeClock()).client(), queue, 100).apply()
    assert statuses(queue) == ["skipped", "rejected", "unsent", "unsent"]
    assert "whether the person opted out could not be looked up" in reasons(queue)[1]


def test_look_ups_that_all_fail_are_an_outage(lookups: dict[str, WatiError]) -> None:
    """If the first look-ups fail one after the other, the attempt ends and the next one asks again."""
    for n in range(50):
        lookups[phone(n)] = WatiServerError("500")
    queue = queue_of(*map(phone, range(50)))
    with pytest.raises(WatiServerError):
        Consent(WatiModel(FakeClock()).client(), queue, 100).apply()
    assert statuses(queue) == ["unsent"] * 50


@pytest.mark.parametrize("error", [WatiAuthenticationError, WatiPermissionError, WatiRateLimitError])
def test_errors_that_are_no_row_s_end_the_look_up(
    error: type[WatiError], lookups: dict[str, WatiError]
) -> None:
    """A token, a scope or a limit concerns everybody, so nobody is rejected for it."""
    lookups[phone(2)] = error("no")
    queue = queue_of(*map(phone, range(4)))
    with pytest.raises(error):
        Consent(WatiModel(FakeClock()).client(), queue, 100).apply()
    assert "rejected" not in statuses(queue)


def test_people_whom_wati_does_not_know_have_not_opted_out(lookups: dict[str, WatiError]) -> None:
    """A new number is messaged."""
    lookups[phone(1)] = WatiNotFoundError("404")
    queue = queue_of(phone(1), phone(2))
    Consent(WatiModel(FakeClock()).client(), queue, 100).apply()
    assert statuses(queue) == ["unsent", "unsent"]


@pytest.mark.parametrize("channel", [None, "85291234567", "Support"])
def test_a_look_up_asks_on_the_channel_of_the_send(
    channel: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consent is that of the contact on the channel that the messages go from."""
    asked: list[str] = []

    def get_contact(client: WatiClient, target: Any) -> dict[str, Any]:
        asked.append(str(target))
        return {"id": "c1", "allow_broadcast": True}

    monkeypatch.setattr(WatiClient, "get_contact", get_contact)
    Consent(WatiModel(FakeClock()).client(), queue_of(phone(0)), 100, channel).apply()
    assert asked == [f"{channel}:{phone(0)}" if channel else phone(0)]


def test_both_spellings_of_a_number_are_asked_about(lookups: dict[str, WatiError]) -> None:
    """An opt-out under the other spelling of a Mexican number holds too."""
    asked: list[str] = []
    known = WatiClient.get_contact

    def get_contact(client: WatiClient, target: Any) -> Any:
        asked.append(target.value)
        return known(client, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WatiClient, "get_contact", get_contact)
        Consent(WatiModel(FakeClock()).client(), queue_of("5215512345678"), 100).apply()
    assert asked == ["525512345678", "5215512345678"]
