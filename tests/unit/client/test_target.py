from __future__ import annotations

import pytest

from airflow_provider_wati.client.target import (
    CHATBOTS,
    CONTACTS,
    CONVERSATIONS,
    RECIPIENTS,
    Target,
    TargetKind,
    TargetRule,
    is_phone,
)
from airflow_provider_wati.exceptions import WatiValidationError

PHONE, HEX, BSUID = "85264318722", "507f1f77bcf86cd799439011", "US.123124141512"
CONTACT, CONVERSATION = Target.contact(HEX), Target.conversation(HEX)

#: WATI's table of which endpoint takes which target; a bare 24-character id is what the endpoint takes it for.
TAKES: dict[str, tuple[str | Target, set[TargetRule]]] = {
    "phone": (PHONE, {CONTACTS, CONVERSATIONS, CHATBOTS, RECIPIENTS}),
    "channel:phone": (f"My channel:{PHONE}", {CONTACTS, CONVERSATIONS, CHATBOTS}),
    "id": (HEX, {CONTACTS, CONVERSATIONS, CHATBOTS, RECIPIENTS}),
    "channel:id": (f"14155552671:{HEX}", {CONTACTS, CHATBOTS}),
    "contact id": (CONTACT, {CONTACTS, CHATBOTS, RECIPIENTS}),
    "conversation id": (CONVERSATION, {CONVERSATIONS}),
    "BSUID": (BSUID, {CONTACTS, CONVERSATIONS, RECIPIENTS}),
    "channel:BSUID": (f"MyChannel:{BSUID}", {CONTACTS, CONVERSATIONS}),
}


@pytest.mark.parametrize(
    "rule", [CONTACTS, CONVERSATIONS, CHATBOTS, RECIPIENTS], ids=lambda rule: rule.endpoints
)
@pytest.mark.parametrize("form", TAKES)
def test_each_endpoint_takes_what_wati_says(form: str, rule: TargetRule) -> None:
    """Each group of endpoints takes the targets of WATI's table and refuses the others with the remedy."""
    target, takers = TAKES[form]
    if rule in takers:
        assert str(rule.check(target)) == str(target)
    else:
        with pytest.raises(WatiValidationError, match=f"{rule.endpoints}.*: use a phone number"):
            rule.check(target)


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("+85264318722", "without '\\+', spaces or signs \\(11 digits\\)"),
        ("852 6431 8722", "without '\\+', spaces or signs"),
        ("852-6431-8722", "without '\\+', spaces or signs"),
        (" 85264318722", "without '\\+', spaces or signs"),
        ("9876543210.0", "7 to 15 digits"),
        ("05264318722", "not starting with 0"),
        ("123456", "7 to 15 digits"),
        ("1234567890123456", "7 to 15 digits"),
        ("852643l8722", "none of: a phone number"),
        ("N/A", "none of: a phone number"),
        ("", "empty"),
        ("   ", "empty"),
        (":85264318722", "empty channel"),
        (True, "not bool"),
        (9876543210.0, "not float"),
        (None, "not NoneType"),
        ("8٥٢٦٤٣١٨٧٢٢", "7 to 15 digits"),
        ("507f1f77bcf86cd79943901g", "none of"),
        ("us.123", "none of"),
    ],
)
def test_what_is_no_target_is_refused_with_the_remedy(number: object, says: str) -> None:
    """A target that cannot be one is refused with what to write."""
    with pytest.raises(WatiValidationError, match=says):
        Target.parse(number)  # type: ignore[arg-type] # what a DAG may hold all the same


def test_refusals_and_representations_mask_the_number() -> None:
    """Neither errors nor representations show a whole number."""
    with pytest.raises(WatiValidationError) as raised:
        Target.parse("+85264318722")
    for text in (str(raised.value), repr(Target.parse(f"14155552671:{PHONE}")), Target.parse(BSUID).masked):
        assert not {PHONE, "14155552671", "123124141512"} & set(
            text.replace(":", " ").replace("'", " ").split()
        )
        assert "64318" not in text


@pytest.mark.parametrize(
    ("target", "wire"),
    [
        (PHONE, f"shop:{PHONE}"),
        (BSUID, f"shop:{BSUID}"),
        (f"other:{PHONE}", f"other:{PHONE}"),
        (HEX, HEX),
        (CONVERSATION, HEX),
        (CONTACT, f"shop:{HEX}"),
    ],
)
def test_a_channel_is_put_before_persons_only(target: str | Target, wire: str) -> None:
    """A channel goes before a person that names none, and never before a conversation."""
    assert str(Target.parse(target).on_channel("shop")) == wire


def test_a_channel_may_hold_a_colon() -> None:
    """A channel name with a colon is read up to the last one."""
    target = Target.parse(f"Shop: Kowloon:{PHONE}")
    assert (target.channel, target.value, target.kind) == ("Shop: Kowloon", PHONE, TargetKind.PHONE)


@pytest.mark.parametrize("empty", ["", None])
def test_an_empty_channel_is_none(empty: str | None) -> None:
    """An empty channel is the same as none."""
    assert Target.phone(PHONE, empty) == Target.parse(PHONE)


def test_a_whole_number_counts_as_its_digits() -> None:
    """A phone number as a whole number is taken, since JSON makes such of them."""
    assert Target.parse(85264318722) == Target.phone(85264318722) == Target.parse(PHONE)  # type: ignore[arg-type] # on purpose


@pytest.mark.parametrize("digits", [7, 15])
def test_a_phone_number_of_7_to_15_digits_is_one(digits: int) -> None:
    """The shortest and the longest phone number are taken."""
    number = "1" * digits
    assert Target.phone(number).value == number
    assert Target.parse(number).kind is TargetKind.PHONE
    assert is_phone(number)


@pytest.mark.parametrize("digits", [6, 16])
def test_a_phone_number_beyond_7_to_15_digits_is_none(digits: int) -> None:
    """One digit less than the shortest, or more than the longest, is refused."""
    with pytest.raises(WatiValidationError, match="7 to 15 digits"):
        Target.phone("1" * digits)
    assert not is_phone("1" * digits)
