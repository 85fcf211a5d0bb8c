"""Targets as users write them: numbers, ids, BSUIDs, each with or without a channel."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from airflow_provider_wati.client.target import CHATBOTS, CONTACTS, CONVERSATIONS, RECIPIENTS, Target
from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.masking import mask_target
from tests.fuzz.harness import Surface
from tests.fuzz.odd import in_pieces, json_values, texts

_WAYS = (
    Target.parse,
    Target.phone,
    Target.contact,
    Target.conversation,
    Target.bsuid,
    CONTACTS.check,
    CONVERSATIONS.check,
    CHATBOTS.check,
    RECIPIENTS.check,
)
_targets = st.one_of(
    in_pieces(
        "85264318722 8526431 8722 + 0 : : Support US. IN. 123124141512 66b1fb04c0ac700000000001 66b1fb04 \u0661 \u200b",
        " ",
    ),
    texts,
    json_values,
)


def _feed(target: Any) -> None:
    """Give a target to each way of reading one."""
    for read in _WAYS:
        try:
            found = read(target)
        except WatiError:
            continue
        str(found).encode()
        repr(found).encode()
        mask_target(str(found))
        assert Target.parse(found.on_channel("Support")).value == found.value


SURFACE = Surface(name="targets", inputs=_targets, feed=_feed, batch=40)
