"""What makes a send another one than before, and what is no difference."""

from __future__ import annotations

import pytest

from airflow_provider_wati.exceptions import WatiConfigurationError
from airflow_provider_wati.sending.campaign_index import mark_of
from airflow_provider_wati.sending.row_mapping import MessageIdentity, is_keyed_id
from airflow_provider_wati.sending.same_send import Difference, SameSend, Traits, difference

NOW = Traits(template="offer", channel=None, keyed=False)
PHONE, CONTACT = "919800000001", "6" * 24


@pytest.mark.parametrize(
    ("before", "found"),
    [
        (Traits(), None),
        (NOW, None),
        (Traits(template="other"), Difference("template", "other", "offer")),
        (Traits(channel="Main"), Difference("channel", "Main", None)),
        (Traits(channel=None), None),
        (Traits(keyed=True), Difference("use of keys", True, False)),
        (Traits(template="other", channel="Main", keyed=True), Difference("template", "other", "offer")),
    ],
)
def test_only_what_is_known_can_differ(before: Traits, found: Difference | None) -> None:
    """The first known trait that differs is named; no channel is a channel, and what is not known is none."""
    assert difference(before, NOW) == found


def test_the_error_names_the_key_and_both_values() -> None:
    """Who reads it can change the setting back."""
    send = SameSend(send_key="promo", now=NOW)
    send.refuse_other(NOW)
    with pytest.raises(WatiConfigurationError, match=r"'promo'.*another channel \('Main', now None\)"):
        send.refuse_other(Traits(channel="Main"))


@pytest.mark.parametrize(("id", "is_another"), [("t1", False), ("t2", True), ("t9", False), ("", False)])
def test_only_the_id_of_a_listed_template_is_another_one(id: str, is_another: bool) -> None:
    """An id that WATI does not list is not known to be that of another template."""
    send = SameSend(send_key="promo", now=NOW, templates={"t1": "offer", "t2": "other"})
    assert send.is_another_template(id) is is_another


@pytest.mark.parametrize(
    ("key", "names", "keyed"),
    [
        (None, {"phone": PHONE}, False),
        (None, {"phone": PHONE, "contact": CONTACT}, False),
        ("o1", {"phone": PHONE, "contact": CONTACT}, True),
        ("o1", {"phone": PHONE}, None),
        ("o1", {}, None),
    ],
)
def test_an_id_tells_whether_it_has_a_key(key: str | None, names: dict[str, str], keyed: bool | None) -> None:
    """Where WATI shows only some names of a person, the id may be made of another one."""
    _, id = MessageIdentity("promo").of(PHONE, key)
    assert is_keyed_id(id, names, mark_of("promo")) is keyed
    assert is_keyed_id(id, names, mark_of("another")) is None
    assert is_keyed_id("an-id-of-the-row", names, mark_of("promo")) is None
