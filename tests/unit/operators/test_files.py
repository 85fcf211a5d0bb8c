"""Files to WATI and back: names, destinations, interruptions, memory."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati.exceptions import WatiConnectionError, WatiNotFoundError, WatiValidationError
from airflow_provider_wati.operators._files import name_of, new_file, open_rows, open_table
from airflow_provider_wati.operators.messages import (
    MAX_BYTES_IN_RESULT,
    WatiGetMediaOperator,
    WatiSendFileOperator,
)
from airflow_provider_wati.state.storage import storage_path
from airflow_provider_wati.tables.outcomes import SEND_COLUMNS
from tests.support.scripted_server import answer, cut_short, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Sandbox
    from tests.support.tasks import Execute

ADA, BEN, MESSAGE_ID = "12025550143", "12025550144", "507f1f77bcf86cd799439011"


@pytest.fixture
def sandbox(quick_sandbox: Sandbox) -> Sandbox:
    return quick_sandbox


@pytest.fixture(params=["local", "object storage"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A directory to write into, as a URI that ends in a slash."""
    from airflow.sdk.io import attach, store
    from fsspec.implementations.memory import MemoryFileSystem

    if request.param == "local":
        yield f"file://{tmp_path}/inbox/"
        return
    attach("memory", fs=MemoryFileSystem())
    yield "memory://inbox/"
    store._STORE_CACHE.pop("memory")
    MemoryFileSystem.store.clear()


def customer_sends(sandbox: Sandbox, name: str, data: bytes) -> str:
    media = {"file_name": name, "mime_type": "image/jpeg", "data": base64.b64encode(data).decode()}
    message_id: str = sandbox.control("POST", "/inbound", {"phone": BEN, "media": media})["message"]["id"]
    return message_id


def names_in(folder: str) -> list[str]:
    path = storage_path(folder)
    return sorted(each.name for each in path.iterdir()) if path.exists() else []


#: What a sender calls a file, and what stands behind the message id.
HOSTILE = {
    "../../x": "_x",
    "/etc/passwd": "_passwd",
    "..\\..\\windows\\x.ini": "_x.ini",
    "C:\\x.txt": "_x.txt",
    "a/../..": ".bin",
    "..": ".bin",
    ".": ".bin",
    "": ".bin",
    "   ": ".bin",
    "x/": ".bin",
    ".bashrc": "_bashrc",
    "~root": "__root",
    "a\x00b\nc\x7f\x1b[31m.pdf": "_a_b_c___31m.pdf",
    "a:b|c<d>e\"f?g*h'.pdf": "_a_b_c_d_e_f_g_h_.pdf",
    "\u202egpj.exe": "__gpj.exe",
    "$(id);`id`&.sh": "__(id)__id__.sh",
    "half \ud83d.pdf": "_half _.pdf",
    "con": "_con",
    "NUL.txt": "_NUL.txt",
    "Rechnung für Müller (1).pdf": "_Rechnung für Müller (1).pdf",
    "發票.pdf": "_發票.pdf",
    "no suffix": "_no suffix",
    "trailing.": "_trailing",
}


def name_for(given: str | None, message_id: str = MESSAGE_ID, content_type: str = "x/unknown") -> str:
    media: Any = SimpleNamespace(file_name=given, content_type=content_type)
    return name_of(media, message_id)


@pytest.mark.parametrize("given", HOSTILE)
def test_a_file_name_of_a_stranger_is_made_safe(given: str) -> None:
    """A sender's file name stands behind the message id, without a path and control characters."""
    assert name_for(given, content_type="application/octet-stream") == MESSAGE_ID + HOSTILE[given]


@pytest.mark.parametrize(
    ("given", "suffix"),
    [("a" * 400 + ".pdf", ".pdf"), ("發" * 400 + ".pdf", ".pdf"), ("a." + "b" * 400, ""), ("é" * 400, "")],
)
@pytest.mark.parametrize("message_id", [MESSAGE_ID, "a" * 64, "wamid." + "A" * 400])
def test_a_long_name_fits_a_file_system_and_keeps_its_suffix(
    message_id: str, given: str, suffix: str, tmp_path: Path
) -> None:
    """A long name is cut in bytes, and its suffix stays."""
    name = name_for(given, message_id)
    assert 100 < len(name.encode()) <= 150
    assert name.endswith(suffix)
    assert name.partition("_")[2].removesuffix(suffix) in given
    (tmp_path / name).write_bytes(b"")


@pytest.mark.parametrize(
    ("content_type", "suffix"), [("image/png", ".png"), ("application/pdf", ".pdf"), ("x/unheard-of", "")]
)
def test_an_unnamed_file_is_called_after_its_message_and_kind(content_type: str, suffix: str) -> None:
    """A file without a name gets the message id and the suffix of its type."""
    assert name_for(None, content_type=content_type) == MESSAGE_ID + suffix
    assert re.fullmatch(r"etc-x-[0-9a-f]{16}" + suffix, name_for(None, "../../etc/x", content_type))


#: Ids that become one where signs are replaced or capitals do not count, and an id that is the name of another.
SIMILAR_IDS = [
    "a/b",
    "a_b",
    "a-b",
    "A-b",
    "wamid.A==",
    "wamid.a==",
    "wamid_a",
    "con",
    "..",
    "",
    "a",
    "a_b-1.pdf",
    "é",
]


def test_no_two_messages_share_a_name() -> None:
    """Whatever ids and names from outside look like, the files of two messages have two names."""
    ids = [*SIMILAR_IDS, MESSAGE_ID, MESSAGE_ID.upper(), MESSAGE_ID[:-1]]
    endings = ["invoice.pdf", None, "x", "_x"]
    endings += [
        name_for(given, message_id).partition(other)[2]
        for message_id in ids
        for given in ("x", None)
        for other in "_-"
    ]
    owners: dict[str, str] = {}
    for message_id in ids:
        for given in endings:
            name = name_for(given, message_id).casefold()
            assert owners.setdefault(name, message_id) == message_id
            assert name.split(".")[0] not in {"con", "nul", "aux", "prn", "com1", "lpt1"}


@pytest.mark.parametrize("given", ["../../x", "/etc/passwd", "..\\..\\x", "..", ".", "~root", "a\x00b"])
def test_no_name_leads_out_of_the_destination(
    given: str, execute: Execute, sandbox: Sandbox, folder: str, tmp_path: Path
) -> None:
    """A name of WATI never leads to a path outside the destination."""
    message_id = customer_sends(sandbox, given, b"data")
    around = {path.name for path in tmp_path.parent.iterdir()}
    result = execute(WatiGetMediaOperator(task_id="a", message_id=message_id, destination=folder))
    [name] = names_in(folder)
    assert storage_path(result["destination"]) == storage_path(f"{folder}{name}")
    assert result["file_name"] == name
    assert storage_path(f"{folder}{name}").read_bytes() == b"data"
    assert {path.name for path in tmp_path.iterdir()} <= {"inbox"}
    assert {path.name for path in tmp_path.parent.iterdir()} == around


def test_files_of_two_messages_with_one_name_are_kept_apart(
    execute: Execute, sandbox: Sandbox, folder: str
) -> None:
    """Two customers' invoice.pdf are two files; a retry of one message replaces its own file alone."""
    own = storage_path(f"{folder}prices.csv")
    with new_file(own) as file:
        file.write(b"ours")
    ids = [customer_sends(sandbox, "invoice.pdf", data) for data in (b"first", b"second")]
    ids.append(customer_sends(sandbox, "prices.csv", b"theirs"))
    for message_id in (*ids, ids[0]):
        execute(WatiGetMediaOperator(task_id="a", message_id=message_id, destination=folder))
    contents = {name: storage_path(f"{folder}{name}").read_bytes() for name in names_in(folder)}
    assert contents == {
        f"{ids[0]}_invoice.pdf": b"first",
        f"{ids[1]}_invoice.pdf": b"second",
        f"{ids[2]}_prices.csv": b"theirs",
        "prices.csv": b"ours",
    }


@pytest.mark.parametrize(
    "header",
    [
        'attachment; filename="../../x"',
        "attachment; filename*=UTF-8''..%2F..%2Fx",
        'attachment; filename="..\\\\..\\\\x"',
        "attachment; filename=/abs/x",
        "attachment; filename*0=../..; filename*1=/x",
    ],
)
def test_no_header_leads_out_of_the_destination(
    header: str, execute: Execute, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A name in an HTTP header never leads to a path outside the destination."""
    with serving(answer(200, raw=b"data", headers={"Content-Disposition": header})) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_SCRIPTED", f'{{"conn_type": "wati", "host": "{server.url}", "password": "t"}}'
        )
        operator = WatiGetMediaOperator(
            task_id="a", message_id=MESSAGE_ID, destination=f"{tmp_path}/in/", wati_conn_id="scripted"
        )
        assert execute(operator)["file_name"] == f"{MESSAGE_ID}_x"
    assert [path.name for path in tmp_path.rglob("*")] == ["in", f"{MESSAGE_ID}_x"]


def test_a_download_that_breaks_off_leaves_nothing(
    execute: Execute, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download that breaks off leaves no file."""
    with serving(cut_short) as server:
        monkeypatch.setenv(
            "AIRFLOW_CONN_SCRIPTED", f'{{"conn_type": "wati", "host": "{server.url}", "password": "t"}}'
        )
        for destination in (folder, f"{folder}a.pdf", None):
            operator = WatiGetMediaOperator(
                task_id="a", message_id=MESSAGE_ID, destination=destination, wati_conn_id="scripted"
            )
            with pytest.raises(WatiConnectionError, match="broke off before its end.*Fetch it again"):
                execute(operator)
    assert len(server.requests) == 3
    assert names_in(folder) == []


def test_missing_media_leave_nothing(execute: Execute, sandbox: Sandbox, folder: str) -> None:
    """A failed download leaves no file and no directory."""
    with pytest.raises(WatiNotFoundError):
        execute(WatiGetMediaOperator(task_id="a", message_id=MESSAGE_ID, destination=folder))
    assert names_in(folder) == []


def test_a_list_of_recipients_that_breaks_off_leaves_nothing(folder: str) -> None:
    """A listing that breaks off leaves no file."""

    def write() -> None:
        with open_table(f"{folder}a.csv", ["n"]) as row:
            row({"n": 1})
            raise WatiConnectionError("gone")

    with pytest.raises(WatiConnectionError):
        write()
    assert names_in(folder) == []


def test_a_directory_in_the_way_is_named_and_left_alone(tmp_path: Path) -> None:
    """A directory with the name of the file is an error that names it."""
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(IsADirectoryError), new_file(storage_path(str(tmp_path))) as file:
        file.write(b"data")
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_file_that_cannot_be_opened_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be replaced stays as it is."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read only")

    (tmp_path / "kept").write_text("kept")
    monkeypatch.setattr("airflow_provider_wati.state.storage.open", refuse, raising=False)
    with pytest.raises(PermissionError), new_file(storage_path(f"{tmp_path}/kept")) as file:
        file.write(b"data")
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_table_has_no_cell_that_a_spreadsheet_runs(folder: str) -> None:
    """A name from WhatsApp that is a formula is text in a CSV file, and unchanged in a JSONL file."""
    row = ("+919810000001", '=HYPERLINK("http://x.example","Ada")', -3)
    for suffix in ("csv", "jsonl"):
        with open_table(f"{folder}a.{suffix}", ["phone", "name", "n"]) as write:
            write([row])
    text = storage_path(f"{folder}a.csv").read_text()
    assert text.splitlines()[1] == '+919810000001,"\'=HYPERLINK(""http://x.example"",""Ada"")",-3'
    assert list(json.loads(storage_path(f"{folder}a.jsonl").read_text()).values()) == list(row)


def test_outcomes_are_the_rows_of_the_next_send(folder: str) -> None:
    """Targets and keys of an outcomes file are read as they were written, in each format."""
    texts = ["85264318722", "+91 98100-00001", "=1+1", "'=1+1", "@ada", "-7", "-A7", "\t1", "Ada"]
    for suffix in ("csv", "jsonl", "parquet"):
        with open_table(f"{folder}a.{suffix}", SEND_COLUMNS) as write:
            write((n, text, text, "invalid", "why", None, None, None) for n, text in enumerate(texts))
        with open_rows(f"{folder}a.{suffix}") as rows:
            assert [(row["key"], row["target"]) for row in rows] == [(text, text) for text in texts]


def test_base64_goes_up_to_a_stated_size(execute: Execute, sandbox: Sandbox) -> None:
    """Media in the result are limited in size; larger ones need a destination."""
    most = customer_sends(sandbox, "a.jpg", bytes(MAX_BYTES_IN_RESULT))
    result = execute(WatiGetMediaOperator(task_id="a", message_id=most))
    assert (result["size"], len(result["content_base64"])) == (256 * 1024, 349_528)
    more = customer_sends(sandbox, "a.jpg", bytes(MAX_BYTES_IN_RESULT + 1))
    with pytest.raises(WatiValidationError, match="larger than 256 kB.*give a destination"):
        execute(WatiGetMediaOperator(task_id="a", message_id=more))


@pytest.mark.parametrize("name", ["a b#c?d%20.pdf", "me@home.pdf", "Größe 發票.pdf", 'we"ird;name=.pdf'])
def test_an_unusual_name_goes_there_and_back(
    name: str, execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """An unusual file name arrives unchanged in WATI and comes back."""
    (tmp_path / name).write_bytes(b"%PDF-1.4")
    sent = execute(WatiSendFileOperator(task_id="a", target=ADA, path=f"{tmp_path}/{name}"))
    media = getattr(sandbox.state.messages.content[-1], "media", None)
    assert media is not None
    assert (media.file_name.replace("%22", '"'), media.data) == (name, b"%PDF-1.4")
    got = execute(WatiGetMediaOperator(task_id="b", message_id=sent["id"], destination=f"{tmp_path}/back/"))
    assert Path(got["destination"].removeprefix("file://")).read_bytes() == b"%PDF-1.4"


# Not by getrusage: its figure starts at the peak of the process that started this one.
SIXTEEN_MB_BOTH_WAYS = r"""
import re, sys
from pathlib import Path
from datetime import UTC, datetime
from types import SimpleNamespace
folder = sys.argv[1]
from airflow_provider_wati.operators.messages import WatiGetMediaOperator, WatiSendFileOperator

def memory(kind):
    return int(re.search(kind + r":\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

def run(operator):
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=1)
    return operator.execute({"ti": ti, "dag_run": SimpleNamespace(run_after=datetime.now(UTC))})

def send(name):
    return run(WatiSendFileOperator(task_id="a", target="12025550143", path=f"{folder}/{name}"))

def fetch(message_id):
    return run(WatiGetMediaOperator(task_id="b", message_id=message_id, destination=f"{folder}/{message_id}"))

# Everything that is loaded on first use is loaded before the measurement begins.
fetch(send("small.mp4")["id"])
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
sent = send("large.mp4")
after_upload = memory("VmHWM")
got = fetch(sent["id"])
print(got["size"], after_upload - before, memory("VmHWM") - before)
print(sent["id"])
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="tells its memory on Linux only")
def test_sixteen_mb_go_both_ways_through_little_memory(
    execute: Execute, sandbox: Sandbox, tmp_path: Path
) -> None:
    """Upload and download of 16 MB keep memory flat."""
    film = bytes(range(256)) * 65536
    assert len(film) == 16 * 1024 * 1024
    (tmp_path / "large.mp4").write_bytes(film)
    (tmp_path / "small.mp4").write_bytes(film[:1000])
    done = subprocess.run(
        [sys.executable, "-c", SIXTEEN_MB_BOTH_WAYS, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *_, figures, message_id = done.stdout.splitlines()
    size, added_by_upload, added = map(int, figures.split())
    media = getattr(sandbox.state.messages.content[-1], "media", None)
    assert media is not None
    assert media.data == film
    assert (tmp_path / message_id).read_bytes() == film
    assert size == len(film)
    assert added_by_upload < 12 * 1024
    assert added < 12 * 1024
