"""The reader of the statuses that the receiver has stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_wati.listening.received_statuses import ReceivedStatuses, ReceiverUnavailableError
from tests.support.scripted_server import closed_port, stay_silent
from tests.support.status_receiver import StatusReceiver, receiving

KEY = "0123456789abcdef" * 4


@pytest.fixture
def receiver() -> Iterator[StatusReceiver]:
    with receiving(wati=KEY) as running:
        yield running


def reader(receiver: StatusReceiver, key: str = KEY, conn_id: str = "wati") -> ReceivedStatuses:
    return ReceivedStatuses(receiver.url, conn_id, key)


def test_pages_go_on_from_a_cursor(receiver: StatusReceiver) -> None:
    """Statuses come page by page, and from the last cursor on only what is new."""
    receiver.most = 2
    for n in range(5):
        receiver.add("sent", id=str(n))
    pages = list(reader(receiver).pages(""))
    assert [[status["id"] for status in page.statuses] for page in pages] == [["0", "1"], ["2", "3"], ["4"]]
    receiver.add("read", id="5")
    [page] = reader(receiver).pages(pages[-1].cursor)
    assert [status["id"] for status in page.statuses] == ["5"]
    assert [again.statuses for again in reader(receiver).pages(page.cursor)] == [[]]


def test_one_status_can_be_asked_for(receiver: StatusReceiver) -> None:
    """A look whether anything has come costs one call and one status."""
    receiver.add("sent")
    receiver.add("sent")
    assert len(reader(receiver).page("", limit=1).statuses) == 1
    assert receiver.requests == ["/wati/webhooks/wati/statuses?limit=1"]


def test_an_id_of_a_connection_is_escaped(receiver: StatusReceiver) -> None:
    """Characters of a path in the id of a connection stay within their part."""
    with pytest.raises(ReceiverUnavailableError, match="404"):
        reader(receiver, conn_id="a/../b c").page("")
    assert receiver.requests == ["/wati/webhooks/a%2F..%2Fb%20c/statuses?limit=1000"]


def test_a_wrong_key_is_said_without_it(receiver: StatusReceiver) -> None:
    """A 404 says what may be wrong, and neither the key nor the address."""
    with pytest.raises(ReceiverUnavailableError, match="another access token") as caught:
        reader(receiver, key="f" * 64).page("")
    assert "f" * 8 not in str(caught.value)


def test_a_netrc_file_does_not_replace_the_key(
    receiver: StatusReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that requests finds for the host are not sent."""
    file = tmp_path / "netrc"
    file.write_text("default login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(file))
    monkeypatch.setattr("airflow_provider_wati.listening.received_statuses.is_loopback", lambda _: False)
    assert list(reader(receiver).page("").statuses) == []


@pytest.mark.parametrize(
    "fault",
    [
        500,
        302,
        b"",
        b"[]",
        b"\xff",
        b"null",
        b'{"statuses": 5, "cursor": "1"}',
        b'{"statuses": [], "cursor": 1}',
        b'{"statuses": [], "cursor": ""}',
        json.dumps({"statuses": [], "cursor": "1" * 5000}).encode(),
        b"[" * 100_000,
        b" " * 17_000_000,
    ],
    ids=repr,
)
def test_an_answer_that_is_not_a_page_is_one_error(receiver: StatusReceiver, fault: int | bytes) -> None:
    """Whatever answers, the caller gets the one error of this reader."""
    receiver.fault = fault
    with pytest.raises(ReceiverUnavailableError):
        reader(receiver).page("")


def test_odd_statuses_cost_themselves_only(receiver: StatusReceiver) -> None:
    """An item without a status is left out."""
    receiver.add("sent")
    receiver.statuses += [{"status": None}, {}, {"id": "1"}]
    assert len(reader(receiver).page("").statuses) == 1


def test_a_receiver_whose_cursor_stands_still_ends(receiver: StatusReceiver) -> None:
    """A page that promises more and does not move on is the last."""
    receiver.fault = b'{"statuses": [], "cursor": "7", "more": true}'
    assert len(list(reader(receiver).pages(""))) == 2


def test_nobody_at_the_address_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port, an address that is none and a server that stays silent are all said without the address."""
    from tests.support.scripted_server import serving

    with (
        closed_port() as port,
        pytest.raises(ReceiverUnavailableError, match=r"127\.0\.0\.1 cannot be asked"),
    ):
        ReceivedStatuses(f"http://127.0.0.1:{port}", "wati", KEY).page("")
    with pytest.raises(ReceiverUnavailableError) as caught:
        ReceivedStatuses("http://user:secret@[", "wati", KEY).page("")
    assert "secret" not in str(caught.value)
    monkeypatch.setattr("airflow_provider_wati.listening.received_statuses._TIMEOUT", (0.2, 0.2))
    with serving(stay_silent) as server, pytest.raises(ReceiverUnavailableError, match="Timeout"):
        ReceivedStatuses(server.url, "wati", KEY).page("")
