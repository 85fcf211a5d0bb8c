"""Odd values that several surfaces share: texts, JSON, and valid values with something wrong in them."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

#: Half of a character outside Unicode's first plane, as JSON can hold one.
HALF = "\ud83d"

_KNOWN_TROUBLE = (
    "", " ", "\x00", HALF, f"Ada {HALF}", "null", "true", "False", "0", "-1", "1e400", "NaN", "9" * 30, "\u0661\u0662\u00b2",
    "\u200b", "\u202e", "a\r\nb", "../..", "a/b", "%00", "%zz", "{{name}}", "=1+1", '"', "'", "\\", ";", ":", "x" * 5000,
    "2026-11-03T06:20:12Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
)  # fmt: skip

#: A short text of any characters, halves of characters among them.
texts: SearchStrategy[str] = st.one_of(
    st.sampled_from(_KNOWN_TROUBLE),
    st.text(max_size=8),
    st.text(st.characters(), max_size=4),
)
#: A number as JSON, Python or a database may hold it.
numbers: SearchStrategy[Any] = st.one_of(
    st.sampled_from((0, 1, -1, 2**31, 2**63, 10**30, 1.5, -0.0, float("inf"), float("nan"))),
    st.integers(),
)
scalars: SearchStrategy[Any] = st.one_of(st.none(), st.booleans(), numbers, texts)
#: A small value of any JSON type.
json_values: SearchStrategy[Any] = st.one_of(
    scalars,
    # Copied, because damaged() changes what it draws.
    st.sampled_from(([], {}, [None], [[]], {"": None}, {"id": {}}, [{}], [1, "a", None, {}])).map(
        copy.deepcopy
    ),
    st.lists(scalars, max_size=3),
    st.dictionaries(texts, scalars, max_size=2),
)


@st.composite
def damaged(draw: DrawFn, valid: Any) -> Any:
    """
    Return a JSON value with up to three odd places in it.

    :param valid: the value; it stays as it is.
    """
    root = [copy.deepcopy(valid)]
    for _ in range(draw(st.integers(0, 3))):
        places = list(_places(root))
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(_CHANGES))
        if change == "replace":
            holder[key] = draw(json_values)
        elif change == "wrap":
            holder[key] = [holder[key]]
        elif change == "text":
            holder[key] = draw(texts)
        elif change == "as text":
            holder[key] = str(holder[key])
        elif change == "half a character":
            holder[key] = f"{holder[key]}{HALF}"
        elif change == "add" and isinstance(holder[key], dict):
            holder[key][draw(texts)] = draw(json_values)
        elif change == "add" and isinstance(holder[key], list):
            holder[key].append(draw(json_values))
        elif holder is not root:
            del holder[key]
    return root[0]


_CHANGES = ("replace", "replace", "wrap", "text", "text", "as text", "half a character", "add", "remove")


def _places(holder: Any) -> Any:
    """Yield each place of a value as its holder and key, from the outside in."""
    keys = holder.keys() if isinstance(holder, dict) else range(len(holder))
    for key in keys:
        yield holder, key
        if isinstance(holder[key], (dict, list)):
            yield from _places(holder[key])


#: Bodies that are no JSON, or JSON that no one means.
_BODIES = (
    b"", b"null", b"[]", b"{}", b'""', b"0", b"NaN", b"<html>502 Bad Gateway</html>", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}",
    b"\x1f\x8b\x08\x00", b"[" * 100_000, b'{"id":' * 20_000, b"9" * 5_000, b'"\\ud83d"', b'{"id": "\xed\xa0\xbd"}',
    b'{"a": 1}{"a": 1}', b"1e999999", b'{"id": "a", "id": null}', b" " * 70_000,
)  # fmt: skip


@st.composite
def bodies(draw: DrawFn, valid: Any) -> bytes:
    """
    Return the body of an answer: often JSON that is nearly right, else cut, changed in its bytes, or no JSON.

    :param valid: the answer that would be right.
    """
    if draw(st.integers(0, 9)) == 0:
        return draw(st.one_of(st.sampled_from(_BODIES), st.binary(max_size=12)))
    body = json.dumps(draw(damaged(valid))).encode()
    return draw(damaged_bytes(body)) if draw(st.integers(0, 4)) == 0 else body


@st.composite
def damaged_bytes(draw: DrawFn, valid: bytes) -> bytes:
    """
    Return bytes with one piece cut off, taken out, or replaced.

    :param valid: the bytes; they stay as they are.
    """
    start = draw(st.integers(0, len(valid)))
    end = draw(st.sampled_from((start, start + 1, start + 2, start + 8, len(valid))))
    return valid[:start] + draw(st.binary(max_size=4)) + valid[end:]


def in_pieces(text: str, *more: str) -> SearchStrategy[str]:
    """
    Make texts of the pieces that a valid text consists of, so that they are nearly valid.

    :param text: the pieces, separated by space.
    :param more: further pieces, such as space itself.
    """
    pieces = (*re.split(r" +", text), *more)
    return st.lists(st.sampled_from(pieces), max_size=8).map("".join)
