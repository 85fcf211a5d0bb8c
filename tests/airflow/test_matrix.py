"""The matrix of ``matrix.py`` on the installed Airflow: nobody twice, nobody lost, nothing stuck."""

from __future__ import annotations

import pytest

from tests.airflow.matrix import HAS_STORE, KINDS, ROWS, STORES, Matrix, missing_here, refusals_of, run_matrix


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    """All cells that this Airflow has, after all that happened to them."""
    done = run_matrix(tmp_path_factory.mktemp("matrix"), is_full=False)
    print(done.table())
    return done


@pytest.mark.skipif(not HAS_STORE, reason="some tasks send nothing before Airflow 3.3")
def test_every_call_that_was_to_be_lost_was(matrix: Matrix) -> None:
    """The first calls lose their answers, and what is to keep the try number keeps it: the matrix shows what it says."""
    assert matrix.unharmed == []
    for (row, _), try_numbers in matrix.try_numbers.items():
        assert try_numbers == {1} if row == "reschedule" else max(try_numbers) > 1


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("row", ROWS)
def test_nobody_twice_nobody_lost_nothing_stuck(row: str, store: str, matrix: Matrix) -> None:
    """Each kind of send survives what Airflow does to its task; a chatbot start of which nothing is known is refused."""
    reason = missing_here(row, store)
    if reason:
        pytest.skip(reason)
    for kind in KINDS:
        count = matrix.counts[row, store, kind]
        assert (count.twice, count.lost, count.stuck) == (0, 0, 0), (kind, count.errors)
        assert count.refused == refusals_of(row, store, kind, is_full=False), (kind, count.errors)


@pytest.mark.skipif(HAS_STORE, reason="Airflow keeps state for tasks from 3.3 on")
def test_a_send_that_nothing_would_remember_is_refused(matrix: Matrix) -> None:
    """Without a store or state_path, sends that may be retried fail with a way out, before the first message."""
    for kind in KINDS:
        count = matrix.counts["retry", "airflow", kind]
        assert count.reached == 0
        assert count.errors
        for error in count.errors:
            assert "WatiConfigurationError" in error
            assert "state_path" in error
