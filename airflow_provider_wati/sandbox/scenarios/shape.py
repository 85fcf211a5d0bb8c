"""Which members a scenario has, and of which type."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.api.validation import (
    boolean,
    filled_text,
    list_of,
    object_of,
    one_of,
    optional,
    required,
    text,
)
from airflow_provider_wati.sandbox.errors import bad_request
from airflow_provider_wati.sandbox.model.delivery import Affected
from airflow_provider_wati.sandbox.model.ids import BSUID, PHONE
from airflow_provider_wati.sandbox.model.records import TEMPLATE_STATUSES
from airflow_provider_wati.sandbox.model.status import FAILURE_CODES

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.api.validation import Check

FORMAT = "wati-sandbox-scenario/1"
_LONGEST_SECONDS = 366 * 24 * 3600
_MOST_HOURS = 100 * 366 * 24
_MOST_GENERATED = 1_000_000
_MOST_CHANNELS = 100


def _number(least: float, most: float) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
            raise bad_request(f"{where} must be a number from {least:g} to {most:g}.")

    return check


def _whole_number(least: int, most: int) -> Check:
    def check(value: Any, where: str) -> None:
        if type(value) is not int or not least <= value <= most:
            raise bad_request(f"{where} must be a whole number from {least} to {most}.")

    return check


def _format(value: Any, where: str) -> None:
    if value != FORMAT:
        raise bad_request(f'{where} must be "{FORMAT}".')


def _phone(value: Any, where: str) -> None:
    if type(value) is not str or not PHONE.fullmatch(value):
        raise bad_request(f"{where} must be a string of 7 to 15 digits that begins with the country code.")


def _bsuid(value: Any, where: str) -> None:
    if type(value) is not str or not BSUID.fullmatch(value):
        raise bad_request(f"{where} must be a BSUID such as US.13491208655302741918.")


def _texts(value: Any, where: str) -> None:
    if type(value) is not dict:
        raise bad_request(f"{where} must be an object whose values are strings.")
    for name, each in value.items():
        filled_text(name, f"a name in {where}")
        text(each, f"{where}.{name}")


def _seconds_range(value: Any, where: str) -> None:
    list_of(_number(0.1, _LONGEST_SECONDS))(value, where)
    if len(value) != 2 or value[0] > value[1]:
        raise bad_request(f"{where} must be two numbers of seconds, the smaller one first.")


def _filled_list(check_item: Check, most: int) -> Check:
    check_list = list_of(check_item)

    def check(value: Any, where: str) -> None:
        check_list(value, where)
        if not 1 <= len(value) <= most:
            raise bad_request(f"{where} must have 1 to {most} items.")

    return check


_share = _number(0, 1)
_names = list_of(filled_text)
_hours = _number(0, _MOST_HOURS)

_channel = object_of(name=required(filled_text), phone=required(_phone))
_template = object_of(
    name=required(filled_text),
    body=required(filled_text),
    params=optional(_texts),
    channels=optional(_filled_list(filled_text, _MOST_CHANNELS)),
    status=optional(one_of(*TEMPLATE_STATUSES[1:])),
    category=optional(one_of("UTILITY", "MARKETING", "AUTHENTICATION")),
    language=optional(filled_text),
    header=optional(filled_text),
    footer=optional(filled_text),
    buttons=optional(_names),
)
_chatbot = object_of(name=required(filled_text), greeting=required(filled_text))
_contact = object_of(
    phone=optional(_phone),
    bsuid=optional(_bsuid),
    username=optional(filled_text),
    name=required(filled_text),
    custom_params=optional(_texts),
    allow_broadcast=optional(boolean),
    opted_in=optional(boolean),
    teams=optional(_names),
)
_generated = object_of(
    count=required(_whole_number(0, _MOST_GENERATED)),
    first_phone=required(_phone),
    name=optional(filled_text),
    opted_out_share=optional(_share),
)
_message = object_of(
    **{"from": required(one_of("customer", "business"))},
    text=required(text),
    hours_ago=required(_hours),
    operator=optional(filled_text),
)
_conversation = object_of(
    contact=required(filled_text),
    channel=optional(filled_text),
    status=optional(one_of("open", "pending", "solved", "block")),
    operator=optional(filled_text),
    tags=optional(_names),
    messages=required(_filled_list(_message, 1000)),
)
_failure = object_of(
    code=required(one_of(*FAILURE_CODES)),
    share=required(_share),
    affects=optional(one_of(*Affected)),
)
_delivery = object_of(
    seed=optional(_whole_number(0, 2**31 - 1)),
    failures=optional(list_of(_failure)),
    delivered=optional(_share),
    read=optional(_share),
    replied=optional(_share),
    delivered_after=optional(_seconds_range),
    read_after=optional(_seconds_range),
    replied_after=optional(_seconds_range),
    replies=optional(_filled_list(filled_text, 1000)),
)
_scenario = object_of(
    format=required(_format),
    description=optional(text),
    channels=required(_filled_list(_channel, _MOST_CHANNELS)),
    templates=optional(list_of(_template)),
    chatbots=optional(list_of(_chatbot)),
    teams=optional(_names),
    tags=optional(_names),
    operators=optional(_names),
    contacts=optional(list_of(_contact)),
    generated_contacts=optional(_generated),
    conversations=optional(list_of(_conversation)),
    delivery=optional(_delivery),
)


def check_shape(content: Any) -> None:
    """
    Check the members of a scenario and their types.

    :raises ApiError: its message names the member.
    """
    if type(content) is not dict:
        raise bad_request("The file must hold a JSON object.")
    # First, so that a file of another kind is called that.
    if "format" not in content:
        raise bad_request(f'format is required: "{FORMAT}".')
    _format(content["format"], "format")
    _scenario(content, "")
