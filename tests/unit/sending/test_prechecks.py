"""What is known before anybody is messaged: the template, its parameters, who opted out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiNotFoundError, WatiValidationError
from airflow_provider_wati.sending.prechecks import Consent, find_template, is_approved, parameter_complaint

if TYPE_CHECKING:
    from tests.conftest import Sandbox

CONTACTS_A_PAGE = 100


def test_a_template_is_found_on_its_channel_by_its_exact_name(sandbox: Sandbox) -> None:
    client = sandbox.client()
    found = find_template(client, "order_update")
    assert is_approved(found)
    assert {param["name"] for param in found["custom_params"]} == {"name", "order_id", "status"}
    for name in ("Order_Update", "order", "no_such_template"):
        with pytest.raises(WatiNotFoundError, match=f"no template '{name}' on the channel 'default'"):
            find_template(client, name)


def test_a_template_of_another_channel_is_not_found(sandbox: Sandbox) -> None:
    channels = sandbox.control("GET", "/state")["channels"]
    first, second = (channel["phone"] for channel in channels[:2])
    sandbox.control("PUT", "/templates/only_second", {"body": "Hi", "channel": second})
    assert find_template(sandbox.client(), "only_second", second)["name"] == "only_second"
    assert find_template(sandbox.client(channel=second), "only_second")["name"] == "only_second"
    with pytest.raises(WatiNotFoundError, match=f"on the channel '{first}'"):
        find_template(sandbox.client(), "only_second", first)


def test_of_several_languages_an_approved_one_is_taken() -> None:
    class Client:
        channel = None

        def iter_templates(self, channel: str | None) -> Any:
            yield from (
                {"id": "1", "name": "hello", "status": "REJECTED"},
                {"id": "2", "name": "hello", "status": "approved"},
                {"id": "3", "name": "other", "status": "APPROVED"},
            )

    client: Any = Client()
    assert find_template(client, "hello")["id"] == "2"


@pytest.mark.parametrize(
    ("params", "complaint"),
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
    ],
    ids=repr,
)
def test_parameters(params: dict[str, str | None], complaint: str | None) -> None:
    found = parameter_complaint(params, ["name", "order"])
    assert complaint in found if complaint and found else found == complaint


def opted_out(consent: Consent, *targets: str) -> dict[str, bool]:
    found = {target: out for target, _, out in consent.look_up(targets)}
    return {target: found[target] for target in targets if target in found}


def seed_contacts(sandbox: Sandbox, count: int) -> list[str]:
    """Make new contacts, of which the first opted out."""
    phones = [f"9198{n:08d}" for n in range(count)]
    contacts = [{"phone": phone, "allow_broadcast": n > 0} for n, phone in enumerate(phones)]
    sandbox.control("POST", "/contacts", {"contacts": contacts})
    return phones


def test_consent_is_asked_one_by_one_where_that_takes_fewer_calls(sandbox: Sandbox) -> None:
    out, in_, *_ = seed_contacts(sandbox, 350)
    consent = Consent(sandbox.client(), 3, max_calls=3)
    assert (consent.by_listing, consent.calls) == (False, 3)
    before = len(sandbox.requests("GET"))
    assert opted_out(consent, out, in_, "85264318799") == {out: True, in_: False}
    assert len(sandbox.requests("GET")) - before == consent.calls


def test_consent_is_read_from_the_list_where_that_takes_fewer_calls(sandbox: Sandbox) -> None:
    phones = seed_contacts(sandbox, 350)
    client = sandbox.client()
    pages = client.count_contacts() // CONTACTS_A_PAGE + 1
    consent = Consent(client, len(phones), max_calls=pages)
    assert (consent.by_listing, consent.calls) == (True, pages)
    before = len(sandbox.requests("GET"))
    assert opted_out(consent, *phones) == {phone: n == 0 for n, phone in enumerate(phones)}
    assert len(sandbox.requests("GET")) - before == consent.calls


def test_the_list_names_people_by_id_too(sandbox: Sandbox) -> None:
    (phone,) = seed_contacts(sandbox, 1)
    client = sandbox.client()
    contact_id = client.get_contact(phone)["id"]
    consent = Consent(client, 10**6, max_calls=10)
    assert consent.by_listing
    assert opted_out(consent, phone, contact_id) == {phone: True, contact_id: True}


def test_a_look_up_that_takes_too_many_calls_makes_none_of_them(sandbox: Sandbox) -> None:
    seed_contacts(sandbox, 350)
    before = len(sandbox.requests())
    with pytest.raises(WatiValidationError, match=r"takes 3 calls for 3 targets.*is 2.*check_consent=False"):
        Consent(sandbox.client(), 3, max_calls=2)
    assert len(sandbox.requests()) - before == 1
