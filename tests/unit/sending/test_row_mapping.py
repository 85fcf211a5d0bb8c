"""Rows to recipients: what each column means, and what is wrong with one row concerns no other."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest

from airflow_provider_wati.exceptions import WatiValidationError
from airflow_provider_wati.sending.row_mapping import (
    ColumnMapping,
    MappedRow,
    MessageIdentity,
    RowReader,
    hash_of,
    map_recipient,
)
from airflow_provider_wati.tables.phone_numbers import TargetReader

PHONE = "85264318721"
PARAMS = {"name": "Ada"}


def local_id_of(send_key: str, dedupe_key: str, key: str | None) -> str:
    """The id of a message."""
    return MessageIdentity(send_key).of(dedupe_key, key)[1]


def read(recipient: Any, *, required: tuple[str, ...] = ("name",), send_key: str = "key") -> MappedRow:
    """Map and check one recipient."""
    return RowReader(map_recipient, TargetReader(), send_key, required).read(recipient)


def body_of(row: MappedRow) -> dict[str, Any]:
    assert row.body is not None, row.problem
    return dict(json.loads(row.body))


# Columns


def test_columns_become_target_parameters_and_key() -> None:
    """Each column goes where the mapping says, beside values that are the same for everybody."""
    mapping = ColumnMapping(
        target_column="phone",
        param_columns={"name": "first_name"},
        template_params={"status": "packed"},
        key_column="id",
    )
    parts = mapping({"phone": PHONE, "first_name": "Ada", "id": 7, "more": "is ignored"})
    assert (parts.target, parts.params, parts.key) == (PHONE, {"name": "Ada", "status": "packed"}, 7)


def test_rows_without_names_have_numbers_for_columns() -> None:
    """A cursor's tuples are read by position."""
    mapping = ColumnMapping(target_column=0, param_columns={"name": 1}, key_column=2)
    parts = mapping((PHONE, "Ada", 7))
    assert (parts.target, parts.params, parts.key) == (PHONE, {"name": "Ada"}, 7)


def test_a_column_that_is_missing_is_named() -> None:
    """A row without a column is wrong, and the problem says which column."""
    mapping = ColumnMapping(target_column="phone", param_columns={"name": "first_name"})
    row = RowReader(mapping, TargetReader(), "key", ["name"]).read({"phone": PHONE})
    assert row.body is None
    assert "first_name" in str(row.problem)


def test_a_parameter_in_both_mappings_is_refused() -> None:
    """Which of two values is meant cannot be known."""
    with pytest.raises(WatiValidationError, match="both have 'name'"):
        ColumnMapping(target_column="phone", param_columns={"name": "a"}, template_params={"name": "b"})


@pytest.mark.parametrize("name", ["param_columns", "template_params"])
def test_mappings_are_dicts(name: str) -> None:
    """A list of columns is refused with the name of the argument."""
    given: dict[str, Any] = {"target_column": "phone", name: ["first_name"]}
    with pytest.raises(WatiValidationError, match=f"{name} is a dict, not list"):
        ColumnMapping(**given)


# Recipients


@pytest.mark.parametrize(
    "recipient",
    [
        {"target": PHONE, "params": PARAMS},
        {"phone_number": PHONE, "params": PARAMS},
        {"phone_number": "+852 6431 8721", "custom_params": PARAMS},
        {"target": PHONE, "custom_params": [{"name": "name", "value": "Ada"}]},
        {"target": PHONE, "phone_number": None, "params": PARAMS, "custom_params": None, "key": None},
    ],
    ids=str,
)
def test_the_forms_of_a_recipient_are_one(recipient: dict[str, Any]) -> None:
    """WATI's spelling and ours mean the same message."""
    row = read(recipient)
    assert row == read({"target": PHONE, "params": PARAMS})
    assert body_of(row) == {
        "phone_number": PHONE,
        "local_message_id": row.local_message_id,
        "custom_params": [{"name": "name", "value": "Ada"}],
    }


@pytest.mark.parametrize(
    ("recipient", "says"),
    [
        ("85264318721", "a recipient is a dict, not str"),
        (None, "a recipient is a dict, not NoneType"),
        ({"target": PHONE, "whatsapp": 1, "channel": 2}, "a recipient has no channel, whatsapp"),
        ({"target": PHONE, "phone_number": PHONE}, "both target and phone_number"),
        ({"target": PHONE, "params": {}, "custom_params": []}, "both params and custom_params"),
        ({"target": PHONE, "params": [["name", "Ada"]]}, "params is a dict"),
        ({"target": PHONE, "params": "Ada"}, "params is a dict"),
        (
            {"target": PHONE, "params": [{"name": "a", "value": 1}, {"name": "a", "value": 2}]},
            "have a name twice",
        ),
        ({"target": PHONE, "params": {}}, "parameter 'name' is missing"),
        ({"target": PHONE, "params": {"name": None}}, "parameter 'name' is NULL"),
        ({"target": PHONE, "params": {"name": b"Ada"}}, "name: a bytes cannot be written as text"),
        ({"target": PHONE, "params": {"name": "\ud800"}}, "half a character"),
        ({"target": "12", "params": PARAMS}, "country code"),
        ({"target": None, "params": PARAMS}, "there is no phone number"),
        ({"params": PARAMS}, "there is no phone number"),
        ({"target": PHONE, "params": PARAMS, "key": ["7"]}, "key: a list cannot be written as text"),
        ({"target": PHONE, "params": PARAMS, "local_message_id": "short"}, "10 to 64 letters"),
        ({"target": PHONE, "params": PARAMS, "local_message_id": "a" * 65}, "10 to 64 letters"),
        ({"target": PHONE, "params": PARAMS, "local_message_id": "with/slash-1"}, "10 to 64 letters"),
        ({"target": PHONE, "params": PARAMS, "local_message_id": 1234567890}, "10 to 64 letters"),
    ],
    ids=str,
)
def test_a_wrong_recipient_says_what_is_wrong(recipient: Any, says: str) -> None:
    """Reading never raises: the row has a problem, and no body."""
    row = read(recipient)
    assert says in str(row.problem)
    assert row.body is None


def test_a_wrong_row_keeps_what_is_known_of_it() -> None:
    """A row whose parameters are wrong now can still be found in the journal."""
    right, wrong = read({"target": PHONE, "params": PARAMS}), read({"target": PHONE, "params": {}})
    assert wrong.person == right.person
    assert (wrong.target, wrong.local_message_id) == (right.target, right.local_message_id)


def test_a_row_that_raises_anything_is_a_wrong_row() -> None:
    """An object that fails when it is read makes its own row invalid."""

    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError(PHONE)

    row = read({"target": Hostile(), "params": PARAMS})
    assert row.problem
    assert PHONE not in row.problem
    assert row.body is None


# Identity


@pytest.mark.parametrize(
    ("target", "same"),
    [
        ("+852 6431 8721", PHONE),
        ("0085264318721", PHONE),
        ("5215512345678", "525512345678"),
        ("66B1FB04B40ADCA000000001", "66b1fb04b40adca000000001"),
    ],
)
def test_spellings_are_one_person(target: str, same: str) -> None:
    """The hash in the journal is that of the person, not of the spelling."""
    rows = [read({"target": each, "params": PARAMS}) for each in (target, same)]
    assert rows[0].person == rows[1].person
    assert rows[0].local_message_id == rows[1].local_message_id


class Kind(StrEnum):
    """A key as an ORM gives it."""

    ONE = "1"


@pytest.mark.parametrize("key", [1, 1.0, "1", Decimal(1), Decimal("1.00"), Kind.ONE], ids=repr)
def test_a_key_is_the_same_in_any_type(key: Any) -> None:
    """A column that becomes NUMERIC in the source does not make new messages of old ones."""
    assert read({"target": PHONE, "params": PARAMS, "key": key}).person == hash_of(PHONE, "1")


@pytest.mark.parametrize("key", [None, "", float("nan")], ids=repr)
def test_an_empty_key_is_none(key: Any) -> None:
    """NULL and an empty text are no key."""
    row = read({"target": PHONE, "params": PARAMS, "key": key})
    assert (row.key, row.person) == (None, hash_of(PHONE, None))


def test_person_and_key_cannot_be_confused() -> None:
    """A key is never taken for a part of the number, nor two different keys for one."""
    assert len({hash_of("852", "64318721"), hash_of("85264318721", None), hash_of("85264318721", "1")}) == 3
    hashes = {hash_of(f"9198{n:08d}", str(n % 3)) for n in range(50_000)}
    assert len(hashes) == 50_000
    assert all(-(2**63) <= each < 2**63 for each in hashes)


def test_the_hash_stays_as_it_is() -> None:
    """Journals that exist keep their meaning in later versions."""
    assert hash_of(PHONE, None) == 7171862229499914938
    assert local_id_of("key", PHONE, None) == "2c70e12b638792b317622aba59efcf2f"


def test_a_local_id_is_that_of_send_person_and_key() -> None:
    """The same message has the same id in each attempt, another send has others."""
    row = read({"target": PHONE, "params": PARAMS, "key": "7"})
    assert row.local_message_id == local_id_of("key", PHONE, "7")
    assert not row.has_own_id
    others = {
        local_id_of("key", PHONE, None),
        local_id_of("key2", PHONE, "7"),
        local_id_of("key", "1", "7"),
    }
    assert row.local_message_id not in others
    assert len(str(row.local_message_id)) == 32


def test_an_own_id_stays_as_it_is() -> None:
    """An id of the user's goes to WATI, and does not change who the person is."""
    row = read({"target": PHONE, "params": PARAMS, "local_message_id": "order_1001-A"})
    assert (row.local_message_id, row.has_own_id) == ("order_1001-A", True)
    assert row.person == hash_of(PHONE, None)
    assert body_of(row)["local_message_id"] == "order_1001-A"


def test_values_become_text() -> None:
    """Numbers, dates and booleans of a table are written as WATI takes them."""
    row = read({"target": PHONE, "params": {"name": "Zoë", "n": 7, "d": Decimal("10.50"), "b": True, 5: 6}})
    assert {param["name"]: param["value"] for param in body_of(row)["custom_params"]} == {
        "name": "Zoë", "n": "7", "d": "10.50", "b": "true", "5": "6",
    }  # fmt: skip


# The fast way for plain rows

_TARGETS: list[Any] = [
    PHONE, "919800000001", "+852 6431 8721", "5215512345678", "525512345678", "5491112345678", "551187654321",
    "0085264318721", "12025550143", "1", "999999999999999", "91980000000x", "66b1fb04b40adca000000001", "IN.1a2B",
    85264318721, 85264318721.0, None, "", " 85264318721", "85264318721\n", "٨٥٢٦٤٣١٨٧٢١", "4915112345678",
]  # fmt: skip
_VALUES: list[Any] = [
    "Ada", "Zoë", "漢字 😀", "", " ", "a b", " a", "a ", "a    b", "a     b", "a\nb", "a\tb", 'a"b', '"', '""', "a\\b",
    "%s", "100%", "{}", "\u00a0", "\u200b", "\x00", "\ud800", "\u2028", None, 7, 7.5, True, float("nan"), b"x", ["x"],
    Decimal("1.00"), Kind.ONE, "x" * 2_000, "'",
]  # fmt: skip
_KEYS: list[Any] = [
    "1",
    "1.0",
    "01",
    " 1",
    "1 ",
    "",
    " ",
    None,
    1,
    1.0,
    Decimal("1.00"),
    "é",
    "a\nb",
    "NaN",
    True,
    "\ud800",
]


@pytest.mark.parametrize("required", [(), ("name", "status"), ("name", "missing")], ids=str)
@pytest.mark.parametrize(
    "constants",
    [{}, {"status": "packed"}, {"status": "12025550143"}, {"status": "100 %s"}, {"status": 7}],
    ids=str,
)
@pytest.mark.parametrize("region", [None, "IN"])
def test_the_fast_way_gives_what_the_careful_one_gives(
    region: str | None, constants: dict[str, Any], required: tuple[str, ...]
) -> None:
    """For odd targets, values and keys in any combination, a plain row is mapped as any other."""
    chance = random.Random(11)
    mapping = ColumnMapping(
        target_column="phone",
        param_columns={"name": "first", "order": "id"},
        template_params=constants,
        key_column="key",
    )
    fast = RowReader(mapping, TargetReader(region), "key", required)
    careful = RowReader(mapping, TargetReader(region), "key", required)
    careful._plain = None
    rows = [
        {
            "phone": chance.choice(_TARGETS if chance.random() < 0.5 else _TARGETS[:2]),
            "first": chance.choice(_VALUES if chance.random() < 0.5 else _VALUES[:3]),
            "id": chance.choice(_VALUES if chance.random() < 0.5 else _VALUES[:3]),
            "key": chance.choice(_KEYS),
        }
        for _ in range(2_000)
    ]
    for row in [*rows, {}, {"phone": PHONE}, {**rows[0], "more": 1}]:
        assert fast.read(row) == careful.read(row), row


def test_the_fast_way_reads_tuples_as_well() -> None:
    """A cursor's rows are mapped alike, whichever way they go."""
    mapping = ColumnMapping(target_column=0, param_columns={"name": 1}, key_column=2)
    fast, careful = (RowReader(mapping, TargetReader(), "key", ["name"]) for _ in range(2))
    careful._plain = None
    for row in [
        (PHONE, "Ada", "7"),
        (PHONE, "Ada", 7),
        (PHONE, "Ada"),
        (PHONE, None, "7"),
        (PHONE, 'A"', "7"),
        (),
    ]:
        assert fast.read(row) == careful.read(row), row
