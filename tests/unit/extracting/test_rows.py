"""Rows: values of WATI as databases and files take them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.extracting.campaign_recipients import CAMPAIGN_RECIPIENTS, campaign_ids
from airflow_provider_wati.extracting.contacts import CONTACTS
from airflow_provider_wati.extracting.messages import MESSAGES
from airflow_provider_wati.extracting.rows import flag_of, id_of, json_of, params_of
from airflow_provider_wati.listening.values import text_of


def test_texts_and_flags() -> None:
    """NUL is left out, numbers are texts, and flags have any of WATI's spellings."""
    texts: list[Any] = ["a\0b", 7, 7.0, "", "\0", True, {}, None]
    assert [text_of(value) for value in texts] == ["ab", "7", "7", None, None, None, None, None]
    flags: list[Any] = [True, "False", 1, "no", None, "perhaps", []]
    assert [flag_of(value) for value in flags] == [True, False, True, False, None, None, None]
    assert (
        params_of([{"name": "b", "value": "1"}, "x", {"name": ""}, {"name": "a"}]) == '{"a": null, "b": "1"}'
    )
    assert params_of("x") is None
    assert params_of([{"name": "a\0", "value": "\0b"}]) == '{"a": "b"}'
    assert json_of(["a\0", {"b\0": "c\0"}, r"\u0000"]) == r'["a", {"b": "c"}, "\\u0000"]'


def test_json_has_no_number_that_is_not_finite() -> None:
    """What Python reads as infinity becomes null, because a column of the type JSON refuses it."""
    assert (
        json_of(json.loads('["x", 1e400, {"a": -1e400, "b": 1.5}]')) == '["x", null, {"a": null, "b": 1.5}]'
    )


def test_an_id_that_is_no_key_costs_its_row() -> None:
    """An object without an id, or with one that no database can index, has none."""
    ids: list[Any] = ["a", 5, None, "", "x" * 256, {}]
    assert [id_of({"id": value}) for value in ids] == ["a", "5", None, None, None, None]


@pytest.mark.parametrize("entity", [CONTACTS, MESSAGES, CAMPAIGN_RECIPIENTS], ids=lambda entity: entity.name)
def test_columns_are_unique_and_can_be_chosen(entity: Any) -> None:
    """``id`` comes first, ``extracted_at`` last, and a choice keeps both."""
    names = [column.name for column in entity.columns]
    assert len(names) == len(set(names))
    assert (names[0], names[-1]) == ("id", "extracted_at")
    assert entity.choose(None) == entity.columns
    assert [column.name for column in entity.choose([names[2]])] == ["id", names[2], "extracted_at"]
    with pytest.raises(WatiValidationError, match="'town'"):
        entity.choose(["town"])


def test_campaigns_in_each_form() -> None:
    """Campaigns are an id, ids, or those of a summary; each counts once."""
    assert campaign_ids(None) is None
    assert campaign_ids("a") == ["a"]
    assert campaign_ids(["a", {"id": "b"}, "a"]) == ["a", "b"]
    wrongs: list[Any] = [5, [5], [{}], [""], {"id": None}]
    for wrong in wrongs:
        with pytest.raises(TypeError):
            campaign_ids(wrong)
