"""Things fall due by the clock and the speed."""

from __future__ import annotations

import math

from airflow_provider_wati.sandbox.model.agenda import Agenda


def test_entries_come_in_the_order_they_are_due() -> None:
    """The first that is due comes first, equal ones in the order they were added, and none before its time."""
    agenda: Agenda[str] = Agenda()
    agenda.add(100, 10, "late")
    agenda.add(100, 5, "early")
    agenda.add(95, 10, "early too")
    assert agenda.pop_due(104.9) is None
    assert [agenda.pop_due(200) for _ in range(4)] == [
        (105, "early"),
        (105, "early too"),
        (110, "late"),
        None,
    ]


def test_another_speed_sorts_again() -> None:
    """Twice the speed halves what is left to wait, and speed 0 stops all that has to wait."""
    agenda: Agenda[str] = Agenda()
    agenda.add(100, 60, "long")
    agenda.add(125, 30, "short")
    agenda.set_speed(10)
    assert agenda.pop_due(106) == (106, "long")
    agenda.set_speed(0)
    agenda.add(100, 0, "now")
    assert agenda.pop_due(1e12) == (100, "now")
    assert agenda.pop_due(1e12) is None
    assert agenda.next_due() == math.inf
