from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.model.records import Note
from airflow_provider_wati.sandbox.page import changes
from airflow_provider_wati.sandbox.page.changes import version_of, wait_for_change
from airflow_provider_wati.sandbox.page.read_marks import ReadMarks
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.workspace import Workspace

if TYPE_CHECKING:
    import pytest


def frozen() -> tuple[Workspace, ReadMarks]:
    """A workspace whose clock stands still, long after its last message."""
    workspace = Workspace("token", Settings())
    workspace.clock.freeze()
    workspace.clock.advance(3600)
    return workspace, ReadMarks(workspace)


def test_nothing_new_is_no_new_version() -> None:
    """A workspace in which nothing happens keeps its version."""
    workspace, marks = frozen()
    before = version_of(workspace, marks)
    time.sleep(1.1)
    assert version_of(workspace, marks) == before


def test_whatever_happens_makes_a_new_version() -> None:
    """Messages, contacts, calls, the clock, settings and a reset each make a version that was not there before."""
    workspace, marks = frozen()
    talk = workspace.state.conversations[0]

    def reset() -> None:
        workspace.reset()

    def call() -> None:
        workspace.revision += 1

    events = (
        lambda: workspace.state.say(Note(talk, "text", "a")),
        lambda: workspace.state.create_contact("12025550190", "Zoë"),
        call,
        lambda: workspace.clock.advance(1),
        workspace.clock.unfreeze,
        workspace.clock.freeze,
        lambda: workspace.change_settings(Settings(speed=9)),
        reset,
    )
    seen = [version_of(workspace, marks)]
    for event in events:
        event()
        seen.append(version_of(workspace, marks))
    assert len(set(seen)) == len(seen)


def test_a_message_on_its_way_makes_new_versions_until_it_is_at_rest() -> None:
    """While statuses change a new version comes each second; once all is read and delivered none does."""
    workspace, marks = frozen()
    workspace.state.say(Note(workspace.state.conversations[0], "text", "a"))
    before = version_of(workspace, marks)
    time.sleep(1.1)
    assert version_of(workspace, marks) != before
    workspace.clock.advance(3600)
    before = version_of(workspace, marks)
    time.sleep(1.1)
    assert version_of(workspace, marks) == before


def test_a_question_is_answered_after_a_while_without_a_change() -> None:
    """A question waits no longer than the server takes to stop."""
    workspace, marks = frozen()
    began = time.monotonic()
    asyncio.run(wait_for_change(workspace, marks, version_of(workspace, marks)))
    assert time.monotonic() - began >= changes.MAX_WAIT_SECONDS
    assert changes.MAX_WAIT_SECONDS < 1


def test_a_question_is_answered_at_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that knows an older version is answered at once, any other at the next change."""
    monkeypatch.setattr(changes, "MAX_WAIT_SECONDS", 3600.0)
    workspace, marks = frozen()

    async def ask_and_change() -> None:
        await wait_for_change(workspace, marks, "another version")
        question = asyncio.create_task(wait_for_change(workspace, marks, version_of(workspace, marks)))
        await asyncio.sleep(0)
        assert not question.done()
        workspace.revision += 1
        await question

    asyncio.run(asyncio.wait_for(ask_and_change(), 60))
