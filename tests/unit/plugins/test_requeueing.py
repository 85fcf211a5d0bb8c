from __future__ import annotations

import itertools

import pytest

from airflow_provider_wati.plugins._requeueing import LONGEST_HOLD, Standing, Step, is_due, step_for


def test_events_are_collected_while_a_run_is_about_to_be_made() -> None:
    """Pending events wait for the scheduler, but neither for long nor beyond what fits."""
    assert is_due(is_queued=False, waited=0, is_full=False)
    assert not is_due(is_queued=True, waited=0, is_full=False)
    assert is_due(is_queued=True, waited=0, is_full=True)
    # A DAG that waits for another asset stays queued.
    assert is_due(is_queued=True, waited=LONGEST_HOLD, is_full=False)


def test_a_clock_that_went_back_holds_no_event_up() -> None:
    """A host whose clock is an hour behind the one that stored an event does not wait for an hour."""
    assert is_due(is_queued=True, waited=-3600.0, is_full=False)


@pytest.mark.parametrize(
    ("event", "queued", "made", "step"),
    [
        # Airflow 3.1: another asset's run, which goes by an earlier time, has removed the row.
        (50_000, 50_000, 50_100, Step.REQUEUE),
        # Committed between the making of the run and the removal.
        (50_000, 50_000, 49_900, Step.REQUEUE),
        # A user emptied the queue later.
        (50_000, 50_000, 39_999, Step.FORGET),
    ],
)
def test_a_run_of_another_asset_empties_the_queue(event: int, queued: int, made: int, step: Step) -> None:
    """A row that goes as a run is made was not deleted by a user, although the run counts from before it."""
    standing = Standing(
        is_queued=False, is_in_run=False, event=event, queued=queued, latest_run=30_000, run_made=made
    )
    assert step_for(standing) is step


@pytest.mark.parametrize(
    ("standing", "step"),
    [
        (Standing(is_queued=True, is_in_run=False, event=5, queued=4, latest_run=9), Step.WAIT),
        (Standing(is_queued=False, is_in_run=True, event=5, queued=4, latest_run=9), Step.FORGET),
        # Emptied by hand: no run was made since.
        (Standing(is_queued=False, is_in_run=False, event=5, queued=4, latest_run=3), Step.FORGET),
        (Standing(is_queued=False, is_in_run=False, event=5, queued=4, latest_run=None), Step.FORGET),
        # Field note 6b: the run took what had come up to its row.
        (Standing(is_queued=False, is_in_run=False, event=5, queued=4, latest_run=4), Step.REQUEUE),
        # Committed after a run that counts as later.
        (Standing(is_queued=False, is_in_run=False, event=5, queued=4, latest_run=6), Step.RETIME),
    ],
)
def test_each_standing(standing: Standing, step: Step) -> None:
    """The standing of an event with a DAG decides what is done."""
    assert step_for(standing) is step


def test_no_event_in_a_run_is_queued_again() -> None:
    """Whatever the times are, an event that is in a run never gets another one."""
    for event, queued, latest in itertools.product(range(4), repeat=3):
        standing = Standing(is_queued=False, is_in_run=True, event=event, queued=queued, latest_run=latest)
        assert step_for(standing) is Step.FORGET
