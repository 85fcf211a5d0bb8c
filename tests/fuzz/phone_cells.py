"""Cells of a table that should hold a phone number, an id, a key or a parameter."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

from hypothesis import strategies as st

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.masking import mask_numbers, mask_target
from airflow_provider_wati.tables.phone_numbers import TargetReader, normal_form, spellings_of
from airflow_provider_wati.tables.values import as_written, key_text_of, text_of
from tests.fuzz.harness import Surface
from tests.fuzz.odd import in_pieces, json_values, numbers, texts

_READERS = tuple(TargetReader(region) for region in (None, "IN", "BR", "US", "MX", "DE", "SG"))
_READ = re.compile(r"[1-9][0-9]{6,14}|[0-9a-f]{24}|[A-Z]{2}\.[0-9A-Za-z]{1,128}")

_spelled = in_pieces(
    "+ + 00 0 1 9 91 98100 00001 55 11 98765 4321 54 52 1 49 170 1234567 852 6431 8722 ( ) - . / , ; e5 .0 x12 \u0661\u0662 \u00b2 "
    "\u2011 \u00a0 \u200e US. 66b1fb04c0ac700000000001 66B1FB04",
    " ", "\t", "\n",
)  # fmt: skip
_cells = st.one_of(
    _spelled,
    _spelled,
    _spelled,
    texts,
    numbers,
    st.floats(),
    st.decimals(),
    st.binary(max_size=4),
    st.dates(),
    st.datetimes(timezones=st.sampled_from((None, UTC))),
    st.uuids(),
    json_values,
)


def _feed(cell: Any) -> None:
    """Give a cell to each reader that a column can have."""
    for reader in _READERS:
        for read in (reader.read, reader.read_phone_number):
            try:
                target = read(cell)
            except WatiError:
                continue
            assert _READ.fullmatch(target), f"{target!r} is no target"
            spellings = spellings_of(target)
            assert target in spellings, f"{target!r} is not among its spellings {spellings}"
    if isinstance(cell, str):
        mask_numbers(cell)
        mask_target(cell)
        for region in (None, "BR"):
            normal_form(cell, region)
    as_written(cell).encode()
    for to_text in (text_of, key_text_of):
        try:
            text = to_text(cell)
        except WatiError:
            continue
        if text is not None:
            text.encode()


SURFACE = Surface(name="phone cells", inputs=_cells, feed=_feed, batch=40)
