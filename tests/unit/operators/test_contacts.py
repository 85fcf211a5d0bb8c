"""A green contact task means that WATI shows the contact as it was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConflictError,
    WatiRejectedError,
    WatiValidationError,
)
from airflow_provider_wati.operators.contacts import (
    WatiCreateContactOperator,
    WatiUpdateContactOperator,
    WatiUpsertContactOperator,
    _same_contact,
)
from tests.support.tasks import Store

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

ADA, BEN, NEW = "12025550143", "12025550144", "85264318722"


def create(**more: Any) -> WatiCreateContactOperator:
    given: dict[str, Any] = {
        "phone_number": ADA,
        "name": "Another",
        "custom_params": {"tier": "gold"},
        **more,
    }
    return WatiCreateContactOperator(task_id="create", **given)


def test_a_number_that_exists_is_green_in_no_attempt(execute: Execute, sandbox: Sandbox) -> None:
    """A create that WATI refused does not turn green later, not even where the journal is gone."""
    store = Store()
    for try_number in (1, 2):
        with pytest.raises(WatiBadRequestError, match="already exists"):
            execute(create(), store=store, try_number=try_number)
    with pytest.raises(WatiConflictError, match="WatiUpsertContactOperator") as raised:
        execute(create(), try_number=3, clears=1)
    assert sandbox.state.by_phone[ADA].id in str(raised.value)
    assert ADA not in str(raised.value)


def test_a_create_that_wati_ignores_is_not_green(execute: Execute, sandbox: Sandbox) -> None:
    """An answer with the old name and attributes is a conflict in the first attempt already."""
    sandbox.control("PATCH", "/settings", {"duplicate_contact": "ignore"})
    with pytest.raises(WatiConflictError, match="another name or other attributes"):
        execute(create())


def test_a_create_that_overwrites_is_green(execute: Execute, sandbox: Sandbox) -> None:
    """An answer with the name and attributes asked for is green, whatever was there before."""
    sandbox.control("PATCH", "/settings", {"duplicate_contact": "overwrite"})
    assert execute(create())["name"] == "Another"


def test_a_create_whose_answer_was_lost_is_green_by_what_it_made(execute: Execute, sandbox: Sandbox) -> None:
    """A later attempt takes a contact with this name and these attributes for its own, and creates nothing."""
    sandbox.client().create_contact(NEW, "Another", {"tier": "gold"})
    before = len(sandbox.requests("POST"))
    assert execute(create(phone_number=NEW), try_number=2, clears=1)["name"] == "Another"
    assert len(sandbox.requests("POST")) == before


@pytest.mark.parametrize(
    ("contact", "is_same"),
    [
        ({"name": "Ada", "custom_params": [{"name": "tier", "value": "gold"}]}, True),
        ({"name": " Ada ", "custom_params": {"tier": "gold", "more": "x"}}, True),
        ({"name": "Ada", "custom_params": [{"name": "tier", "value": "silver"}]}, False),
        ({"name": "Ada", "custom_params": None}, False),
        ({"name": "Ada"}, False),
        ({"name": "Bea", "custom_params": [{"name": "tier", "value": "gold"}]}, False),
        ({"name": None, "custom_params": [{"name": "tier", "value": "gold"}]}, False),
    ],
)
def test_a_contact_is_the_same_by_name_and_attributes(contact: Any, is_same: bool) -> None:
    """The name counts without outer space, and the attributes asked for count among others."""
    assert _same_contact(contact, "Ada", {"tier": "gold"}) is is_same


def update(**more: Any) -> WatiUpdateContactOperator:
    given: dict[str, Any] = {"target": ADA, "custom_params": {"tier": "black"}, **more}
    return WatiUpdateContactOperator(task_id="update", **given)


def answers(sandbox: Sandbox, *contacts: dict[str, Any]) -> None:
    sandbox.fault("answer", method="PUT", when="after", answer={"contact_list": list(contacts)})


BLACK = [{"name": "tier", "value": "black"}]


@pytest.mark.parametrize(
    "contact",
    [
        {"id": "507f1f77bcf86cd799439011", "phone": BEN, "custom_params": BLACK},
        {"id": "507f1f77bcf86cd799439011", "custom_params": BLACK},
    ],
)
def test_an_update_that_shows_another_contact_is_refused(
    contact: dict[str, Any], execute: Execute, sandbox: Sandbox
) -> None:
    """An answer about somebody else is no update of the contact asked for."""
    answers(sandbox, contact)
    with pytest.raises(WatiRejectedError, match="without the contact in it"):
        execute(update())


@pytest.mark.parametrize(
    "params", [[{"name": "tier", "value": "gold"}], [], None, [{"name": "other", "value": "black"}]]
)
def test_an_update_that_shows_the_old_value_is_refused(
    params: Any, execute: Execute, sandbox: Sandbox
) -> None:
    """An answer that lacks the new value says that nothing was written."""
    answers(sandbox, {"id": sandbox.state.by_phone[ADA].id, "phone": f"+{ADA}", "custom_params": params})
    with pytest.raises(WatiRejectedError, match="does not have the new values"):
        execute(update())


@pytest.mark.parametrize(("value", "shown"), [("1.50", 1.5), ("007", 7), ("true", True)])
def test_an_update_whose_answer_shows_a_number_is_green(
    execute: Execute, sandbox: Sandbox, value: str, shown: Any
) -> None:
    """Finding B3: a number counts as the text that it was written as, and a phone number may be a number too."""
    contact = {"id": "c", "phone": float(ADA), "custom_params": {"tier": shown, "other": None}}
    sandbox.fault("answer", method="PUT", answer={"contact_list": [None, contact]})
    operator = WatiUpdateContactOperator(task_id="update", target=ADA, custom_params={"tier": value})
    assert execute(operator)["id"] == "c"


def test_an_update_finds_its_contact_among_others(execute: Execute, sandbox: Sandbox) -> None:
    """The contact asked for is found in any spelling of its number, in any place."""
    contact = {"id": "1", "phone": "+1 (202) 555-0143", "custom_params": BLACK}
    answers(sandbox, {"id": "2", "phone": BEN, "custom_params": []}, contact)
    assert execute(update()) == contact


@pytest.mark.parametrize("kind", ["id", "BSUID"])
def test_an_update_by_id_is_green_for_that_contact(kind: str, execute: Execute, sandbox: Sandbox) -> None:
    """A contact that was named by its id, or by its BSUID, is recognised by it."""
    person = sandbox.state.by_phone[ADA]
    if kind == "id":
        assert execute(update(target=person.id))["id"] == person.id
    else:
        contact = {"id": "1", "bsuid": "US.13491208655302741918", "custom_params": BLACK}
        answers(sandbox, contact)
        assert execute(update(target="US.13491208655302741918")) == contact


@pytest.mark.parametrize("name", ["allow_broadcast", "AllowBroadcast", "opted_in", "allow_sms"])
@pytest.mark.parametrize(
    "operator",
    [
        lambda params: create(phone_number=NEW, custom_params=params),
        lambda params: update(custom_params=params),
        lambda params: WatiUpsertContactOperator(
            task_id="upsert", phone_number=NEW, name="Ada", custom_params=params
        ),
    ],
    ids=["create", "update", "upsert"],
)
def test_no_contact_operator_writes_consent(
    operator: Any, name: str, execute: Execute, sandbox: Sandbox
) -> None:
    """Consent in any spelling is refused by create, update and upsert before anything is sent."""
    with pytest.raises(WatiValidationError, match="is consent"):
        execute(operator({name: "true"}))
    assert sandbox.requests() == []


@pytest.mark.parametrize(
    ("known", "given"), [("551187654321", "5511987654321"), ("525512345678", "5215512345678")]
)
def test_an_upsert_finds_the_contact_in_its_other_spelling(
    execute: Execute, sandbox: Sandbox, known: str, given: str
) -> None:
    """A line that WATI has in another spelling is updated there, and gets no second contact."""
    sandbox.control("POST", "/contacts", {"contacts": [{"phone": known, "name": "Ada"}]})
    before = len(sandbox.state.contacts)
    for action in ("updated", "unchanged"):
        upsert = WatiUpsertContactOperator(
            task_id="upsert", phone_number=given, name="Ada", custom_params={"tier": "gold"}
        )
        assert execute(upsert)["action"] == action
    assert len(sandbox.state.contacts) == before
    assert sandbox.state.by_phone[known].custom_params == {"tier": "gold"}
