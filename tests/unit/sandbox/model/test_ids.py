"""Ids of the sandbox."""

from __future__ import annotations

import pytest

from airflow_provider_wati.sandbox.model.ids import OBJECT_ID, conversation_id, read_conversation_id


def test_the_ids_of_conversations_say_which_began_first() -> None:
    """The first eight digits are a second, more than a minute later for each, and the number can be read back."""
    ids = [conversation_id(number) for number in range(300)]
    seconds = [int(id[:8], 16) for id in ids]
    assert all(OBJECT_ID.fullmatch(id) for id in ids)
    assert all(later - earlier > 60 for earlier, later in zip(seconds, seconds[1:], strict=False))
    assert [read_conversation_id(id) for id in ids] == list(range(300))


@pytest.mark.parametrize("text", ["", "c0de7000", "66b1fb04c0de700000000001", "66b1fb04c0de70000000000x"])
def test_what_is_not_the_id_of_a_conversation_is_none(text: str) -> None:
    """A second that does not belong to the number, and any other text, is not an id."""
    assert read_conversation_id(text) is None
