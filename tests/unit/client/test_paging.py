"""Lists end, whatever the server does."""

from __future__ import annotations

import pytest

from airflow_provider_wati.exceptions import (
    WatiResponseError,
)
from tests.support.clients import client_of
from tests.support.scripted_server import (
    Step,
    answer,
    serving,
)


def page(*rows: int, **more: object) -> Step:
    return answer(200, {"contact_list": [{"id": str(row)} for row in rows], **more})


def test_pages_end_where_one_is_not_full() -> None:
    """A page that is not full is the last."""
    with serving(page(*range(100)), page(*range(100, 150))) as server:
        contacts = list(client_of(server).iter_contacts())
    assert [contact["id"] for contact in contacts] == [str(n) for n in range(150)]
    assert [request.path.partition("?")[2] for request in server.requests] == [
        "page_number=1&page_size=100",
        "page_number=2&page_size=100",
    ]


def test_a_last_page_that_is_full_is_followed_by_an_empty_one() -> None:
    """A full page is never taken for the last."""
    with serving(page(*range(100)), page()) as server:
        assert len(list(client_of(server).iter_contacts())) == 100
    assert len(server.requests) == 2


def test_a_server_that_gives_smaller_pages_than_asked_loses_nobody() -> None:
    """A smaller page size that the server names decides what is full."""
    with serving(page(1, 2, page_size=2), page(3, page_size=2)) as server:
        assert len(list(client_of(server).iter_contacts())) == 3


def test_a_total_decides_where_there_is_one() -> None:
    """A list goes on to its total though a page is not full."""

    def templates(*rows: int) -> Step:
        return answer(200, {"templates": [{"id": str(row)} for row in rows], "total": 3})

    with serving(templates(1, 2), templates(3)) as server:
        assert len(list(client_of(server).iter_templates())) == 3
    assert len(server.requests) == 2


def test_a_server_that_ignores_the_page_number_ends_in_an_error_not_in_a_loop() -> None:
    """The same page again is an error at once."""
    with (
        serving(page(*range(100))) as server,
        pytest.raises(WatiResponseError, match="again and again: page 2"),
    ):
        list(client_of(server).iter_contacts())
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [{}, {"contact_list": "x"}, [], None, {"contact_list": {}}])
def test_a_page_of_another_shape_is_an_error(body: object) -> None:
    """A page that is none is a response error."""
    with serving(answer(200, body)) as server, pytest.raises(WatiResponseError, match="cannot be used"):
        list(client_of(server).iter_contacts())


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(page(*range(99, -1, -1)), id="in another order"),
        pytest.param(
            answer(200, {"contact_list": [{"id": str(n), "seen": "now"} for n in range(100)]}),
            id="with a field that changes",
        ),
    ],
)
def test_a_page_without_a_new_id_ends_the_list(second: Step) -> None:
    """Rows that come again in another order, or with a field that changes, end the list with an error."""
    with serving(page(*range(100)), second) as server, pytest.raises(WatiResponseError, match="page 2"):
        list(client_of(server).iter_contacts())
    assert len(server.requests) == 2


def test_pages_that_alternate_end_the_list() -> None:
    """Two pages that come in turn for ever end the list at the first that repeats."""
    one, other = page(*range(100)), page(*range(100, 200))
    with serving(one, other, one, other) as server, pytest.raises(WatiResponseError, match="page 3"):
        list(client_of(server).iter_contacts())


def test_rows_that_move_between_pages_end_no_list() -> None:
    """A row that was shifted onto the last page is no sign of a list without end."""
    with serving(page(*range(100)), page(99)) as server:
        assert len(list(client_of(server).iter_contacts())) == 101
    assert len(server.requests) == 2


def test_a_total_that_lags_cuts_nothing_off() -> None:
    """Recipients are listed past a total that is behind its own rows."""

    def recipients(*rows: int) -> Step:
        return answer(200, {"recipients": [{"id": str(row)} for row in rows], "total_count": 100})

    with serving(recipients(*range(100)), recipients(*range(100, 130))) as server:
        assert len(list(client_of(server).iter_campaign_recipients("abc"))) == 130


def test_an_odd_row_costs_that_row(caplog: pytest.LogCaptureFixture) -> None:
    """What is no object in a list is left out and logged, and the others are kept."""
    odd = answer(200, {"contact_list": [{"id": "1"}, None, "x", {"id": "2"}], "total": "many"})
    with serving(odd) as server:
        assert [row["id"] for row in client_of(server).iter_contacts()] == ["1", "2"]
    assert sum("left out" in record.message for record in caplog.records) == 2


@pytest.mark.parametrize("size", ["10", None, -1, True, {}])
def test_a_page_size_that_is_no_number_is_ignored(size: object) -> None:
    """A page size of another type neither crashes nor ends the list early."""
    with serving(page(*range(100), page_size=size), page(100, page_size=size)) as server:
        assert len(list(client_of(server).iter_contacts())) == 101
