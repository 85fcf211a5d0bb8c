"""Lists end, whatever the server does."""

from __future__ import annotations

import itertools
import socket
import tracemalloc
from typing import Any

import pytest

from airflow_provider_wati.client import paging
from airflow_provider_wati.client.paging import is_last, iter_pages
from airflow_provider_wati.exceptions import WatiResponseError
from tests.support.client_calls import CALLS
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


def test_a_server_that_caps_its_pages_silently_loses_nobody() -> None:
    """A first page that is short proves nothing: the list goes on until a page is shorter than one before it."""
    with serving(page(*range(50)), page(*range(50, 100)), page(*range(100, 120))) as server:
        assert len(list(client_of(server).iter_contacts())) == 120
    assert len(server.requests) == 3


def test_a_server_that_claims_larger_pages_than_it_gives_loses_nobody() -> None:
    """The page size that the server repeats from the request is no proof that a short page is the last."""
    with serving(
        page(*range(50), page_size=100), page(*range(50, 100), page_size=100), page(page_size=100)
    ) as server:
        assert len(list(client_of(server).iter_contacts())) == 100


def test_a_short_list_that_comes_again_is_the_whole_list() -> None:
    """A server that ignores the page number gives a short list twice: it is the list, once."""
    with serving(page(1, 2)) as server:
        assert [row["id"] for row in client_of(server).iter_contacts()] == ["1", "2"]
    assert len(server.requests) == 2


def test_full_pages_of_a_stated_size_that_come_again_are_an_error() -> None:
    """Pages as full as the server says that repeat end in an error, because the rest is missing."""
    with serving(page(1, 2, page_size=2)) as server, pytest.raises(WatiResponseError, match="page 2"):
        list(client_of(server).iter_contacts())


def test_a_short_list_below_its_total_that_comes_again_is_an_error() -> None:
    """A page that repeats though the total promises more rows ends in an error."""
    short = answer(200, {"templates": [{"id": "1"}], "total": 3})
    with serving(short) as server, pytest.raises(WatiResponseError, match="page 2"):
        list(client_of(server).iter_templates())


@pytest.mark.parametrize("total", [100, "100", 0, None, "many", -5, {}, 250])
def test_no_total_cuts_the_recipients_of_a_campaign(total: object) -> None:
    """Whatever the total of the recipients says, all 403 are listed, also from pages of 50."""
    for size in (100, 50):
        pages = [range(at, min(at + size, 403)) for at in range(0, 403, size)]
        steps = [
            answer(200, {"recipients": [{"id": str(n)} for n in rows], "total_count": total})
            for rows in pages
        ]
        with serving(*steps) as server:
            assert len(list(client_of(server).iter_campaign_recipients("abc"))) == 403


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("iter_")])
@pytest.mark.parametrize(
    "order", ["the same", "turned", "alternating", "a field that changes", "no id", "no objects"]
)
def test_each_list_without_end_is_an_error(name: str, order: str) -> None:
    """Each iterator of the client ends with an error when full pages bring no new id."""
    call, good = CALLS[name]
    key = next(key for key, value in good.items() if isinstance(value, list))
    calls = itertools.count()

    def step(connection: socket.socket) -> bool:
        n = next(calls)
        first = 100 * (n % 2) if order == "alternating" else 0
        rows: list[Any] = [{"id": f"r{row}", "name": "x"} for row in range(first, first + 100)]
        if order == "turned" and n % 2:
            rows.reverse()
        elif order == "a field that changes":
            rows = [{**row, "seen": n} for row in rows]
        elif order == "no id":
            rows = [{"teams": [n], "seen": row} for row in range(100)]
        elif order == "no objects":
            rows = [None, n, [n]] * 33 + ["x"]
        return answer(200, {key: rows})(connection)

    with serving(step) as server, pytest.raises(WatiResponseError, match="again and again"):
        for _ in call(client_of(server)):
            pass
    assert len(server.requests) <= 3


@pytest.mark.parametrize(
    ("page", "last"),
    [
        ({"rows": 100, "longest": 0, "count": 100}, False),
        ({"rows": 99, "longest": 0, "count": 99}, False),
        ({"rows": 99, "longest": 100, "count": 199}, True),
        ({"rows": 50, "longest": 50, "count": 100}, False),
        ({"rows": 50, "longest": 50, "count": 100, "total": 100}, False),
        ({"rows": 49, "longest": 50, "count": 99}, True),
        ({"rows": 30, "longest": 0, "count": 30, "total": 30}, True),
        ({"rows": 30, "longest": 0, "count": 30, "total": 31}, False),
        ({"rows": 30, "longest": 0, "count": 30, "total": 29}, False),
        ({"rows": 100, "longest": 0, "count": 100, "total": 100}, False),
        ({"rows": 30, "longest": 100, "count": 130, "total": 100}, True),
        ({"rows": 30, "longest": 100, "count": 130, "total": 200}, False),
        ({"rows": 2, "longest": 0, "count": 2, "size": 2}, False),
        ({"rows": 1, "longest": 2, "count": 3, "size": 2}, True),
    ],
)
def test_what_proves_that_a_page_is_the_last(page: dict[str, Any], last: bool) -> None:
    """A page is the last when it is shorter than one before it, or when it is short and alone and has the total."""
    assert is_last(**{"size": 100, "total": None, **page}) is last


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
    assert [record.message[:12] for record in caplog.records if "left out" in record.message] == [
        "WATI lists 2"
    ]


@pytest.mark.parametrize("size", ["10", None, -1, True, {}])
def test_a_page_size_that_is_no_number_is_ignored(size: object) -> None:
    """A page size of another type neither crashes nor ends the list early."""
    with serving(page(*range(100), page_size=size), page(100, page_size=size)) as server:
        assert len(list(client_of(server).iter_contacts())) == 101


@pytest.mark.parametrize("field", ["message_id", "contact_id", "contact_phone", "bsuid", "name", "created"])
def test_rows_without_an_id_are_told_apart_by_other_fields(field: str) -> None:
    """Recipients and events without an id are listed over several pages."""
    pages = [
        answer(200, {"recipients": [{"id": None, field: f"r{n}"} for n in range(at, at + 100)]})
        for at in (0, 100)
    ]
    with serving(*pages, answer(200, {"recipients": []})) as server:
        assert len(list(client_of(server).iter_campaign_recipients("abc"))) == 200


def rows_of_round(page_number: int, length: int) -> list[dict[str, str]]:
    """A full page of a list that begins again after so many rows."""
    first = 100 * (page_number - 1)
    return [{"id": str(n % length)} for n in range(first, first + 100)]


@pytest.mark.parametrize("length", [150, 9_950, 10_000, 30_000, 123_457])
def test_a_list_that_goes_round_ends_whatever_its_length(length: int) -> None:
    """A list that begins again after any number of rows, in the middle of a page too, ends within three rounds."""
    pages = 0

    def fetch(page_number: int) -> dict[str, Any]:
        nonlocal pages
        pages = page_number
        return {"rows": rows_of_round(page_number, length)}

    with pytest.raises(WatiResponseError, match="again and again"):
        for _ in iter_pages(fetch, "rows", "/rows"):
            pass
    assert pages <= 3 * length / 100 + 3


def test_a_long_list_takes_no_more_memory_than_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that are remembered are as many for 40,000 rows as for 4,000, where 1,000 are enough to remember."""
    monkeypatch.setattr(paging, "_ROWS_KEPT", 1_000)

    def peak(rows: int) -> int:
        def fetch(page_number: int) -> dict[str, Any]:
            return {"rows": rows_of_round(page_number, 10**9) if page_number <= rows / 100 else []}

        tracemalloc.start()
        try:
            assert sum(1 for _ in iter_pages(fetch, "rows", "/rows")) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40_000) < 1.2 * peak(4_000)
