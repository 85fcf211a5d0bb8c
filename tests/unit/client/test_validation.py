"""The limits of texts, buttons, lists and files, on either side of each figure."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pytest

from airflow_provider_wati.client import Target, TargetKind, WatiClient, validation as checks
from airflow_provider_wati.client.recipients import encode_recipient
from airflow_provider_wati.exceptions import WatiError, WatiNotFoundError, WatiValidationError
from tests.support.clients import client_of
from tests.support.scripted_server import ScriptedServer, answer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NUMBER = "85264310001"
MEGABYTE = 1024 * 1024


def buttons(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"body": "b", "buttons": ["1"], "header": None, "footer": None, **more}
    return checks.buttons_message(**given)


def menu(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "body": "b",
        "button_text": "c",
        "sections": sections(1),
        "header": None,
        "footer": None,
        **more,
    }
    return checks.list_message(**given)


def sections(*rows: int, **more: str) -> list[dict[str, Any]]:
    return [
        {"title": f"s{n}", "rows": [{"title": f"r{row}", **more} for row in range(count)]}
        for n, count in enumerate(rows)
    ]


def row(**row: str) -> dict[str, Any]:
    return menu(sections=[{"rows": [row]}])


#: What is limited: how to make it of a size, the largest that WATI allows, and what an error calls it.
LENGTHS: dict[str, tuple[Callable[[str], object], int, str]] = {
    "text": (lambda text: checks.text(text, "text", checks.MAX_TEXT), 4096, "text"),
    "buttons body": (lambda text: buttons(body=text), 1024, "body"),
    "buttons header": (lambda text: buttons(header=text), 60, "header"),
    "buttons header as dict": (
        lambda text: buttons(header={"type": "text", "text": text}),
        60,
        "header text",
    ),
    "buttons footer": (lambda text: buttons(footer=text), 60, "footer"),
    "button": (lambda text: buttons(buttons=["1", text]), 20, "button 2"),
    "list body": (lambda text: menu(body=text), 1024, "body"),
    "list header": (lambda text: menu(header=text), 60, "header"),
    "list footer": (lambda text: menu(footer=text), 60, "footer"),
    "list button": (lambda text: menu(button_text=text), 20, "button_text"),
    "section title": (
        lambda text: menu(sections=[*sections(1), {"title": text, "rows": [{"title": "r"}]}]),
        24,
        "section 2 title",
    ),
    "row title": (lambda text: row(title=text), 24, "section 1 row 1 title"),
    "row description": (lambda text: row(title="r", description=text), 72, "section 1 row 1 description"),
}


@pytest.mark.parametrize("what", LENGTHS)
def test_a_text_may_be_as_long_as_wati_says_and_no_longer(what: str) -> None:
    """Each limit of a text holds on either side of its figure."""
    make, limit, name = LENGTHS[what]
    make("x" * limit)
    make("é" * limit)
    with pytest.raises(
        WatiValidationError, match=f"^{name} has {limit + 1} characters; WATI allows {limit}\\.$"
    ):
        make("x" * (limit + 1))


@pytest.mark.parametrize(
    ("make", "most", "says"),
    [
        (lambda n: buttons(buttons=[str(each) for each in range(n)]), 3, "buttons is a list of 1 to 3 texts"),
        (lambda n: menu(sections=sections(n)), 10, "have 11 rows together; WhatsApp allows 10"),
        (lambda n: menu(sections=sections(4, n - 4)), 10, "have 11 rows together; WhatsApp allows 10"),
        (lambda n: menu(sections=sections(*[1] * n)), 10, "have 11 rows together; WhatsApp allows 10"),
    ],
    ids=["buttons", "rows", "rows of two sections", "sections"],
)
def test_there_may_be_as_many_as_whatsapp_shows(make: Callable[[int], object], most: int, says: str) -> None:
    """Each limit of a list holds on either side of its figure."""
    make(1 if most == 3 else 5)
    make(most)
    with pytest.raises(WatiValidationError, match=says):
        make(most + 1)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: buttons(buttons=[]), "buttons is a list of 1 to 3 texts"),
        (lambda: buttons(buttons="Yes"), "buttons is a list of 1 to 3 texts"),
        (lambda: buttons(buttons=["Yes", "Yes"]), "Two buttons have the same text"),
        (lambda: buttons(buttons=["Yes", ""]), "button 2 is empty"),
        (lambda: buttons(buttons=[1]), "button 1 is text, not int"),
        (lambda: buttons(buttons=[{"text": 1}]), "button 1 is text, not int"),
        (lambda: buttons(buttons=[{"text": "Yes", "id": "1"}]), "button 1 is a text, or .* and nothing else"),
        (lambda: buttons(buttons=[{}]), "button 1 is a text, or"),
        (lambda: buttons(buttons=["Yes", {"text": "Yes"}]), "Two buttons have the same text"),
        (lambda: buttons(buttons=[{"text": "x" * 21}]), "button 1 has 21 characters"),
        (lambda: buttons(body=" "), "body is empty"),
        (lambda: buttons(body=None), "body is text, not NoneType"),
        (lambda: buttons(header=""), "header is empty"),
        (lambda: buttons(header={}), "one of text, image, video, document, not ''"),
        (lambda: buttons(header={"type": "audio"}), "one of text, image, video, document, not 'audio'"),
        (lambda: buttons(header={"type": "image"}), "of type image needs {'media': {'url': ...}}"),
        (lambda: buttons(header={"type": "video", "media": None}), "of type video needs {'media'"),
        (
            lambda: menu(sections=[]),
            "sections is a list of {'title': ..., 'rows': ...}|one is needed at least",
        ),
        (lambda: menu(sections={"rows": []}), "one is needed at least"),
        (lambda: menu(sections=[{"title": "s", "rows": []}]), "section 1 is .* with one row at least"),
        (lambda: menu(sections=["s"]), "section 1 is {'title': ..., 'rows': \\[...\\]}"),
        (lambda: menu(sections=[{"rows": [{"title": "r"}], "id": "1"}]), "section 1 is {'title'"),
        (lambda: row(), "section 1 row 1 title is empty"),
        (lambda: row(title="r", id="1"), "section 1 row 1 is .*; WATI's rows have no ids"),
        (
            lambda: menu(sections=[{"rows": [{"title": "r"}]}] * 2),
            "more than one section, each needs a title",
        ),
        (lambda: menu(button_text=""), "button_text is empty"),
    ],
)
def test_what_has_the_wrong_shape_is_named(make: Callable[[], object], says: str) -> None:
    """An interactive message of another shape is refused in words that name the part."""
    with pytest.raises(WatiValidationError, match=says):
        make()


def test_an_interactive_message_is_built_as_wati_reads_it() -> None:
    """Buttons and lists become WATI's members."""
    media = {"type": "document", "media": {"url": "https://example.com/a.pdf", "file_name": "a.pdf"}}
    assert buttons(buttons=["Yes", "No"], header="Order", footer="Acme") == {
        "header": {"type": "text", "text": "Order"},
        "body": "b",
        "footer": "Acme",
        "buttons": [{"text": "Yes"}, {"text": "No"}],
    }
    assert buttons(header=media)["header"] == media
    assert "header" not in buttons()
    assert menu(header="Order", footer="Acme", sections=sections(1, 1, description="d")) == {
        "header": "Order",
        "body": "b",
        "footer": "Acme",
        "button_text": "c",
        "sections": [
            {"title": "s0", "rows": [{"title": "r0", "description": "d"}]},
            {"title": "s1", "rows": [{"title": "r0", "description": "d"}]},
        ],
    }


_OFFICE = "application/vnd.openxmlformats-officedocument"
FILES = {
    "image": (5 * MEGABYTE, "5 MB", ["image/jpeg", "image/png", "IMAGE/PNG"]),
    "video": (16 * MEGABYTE, "16 MB", ["video/mp4", "video/3gpp", "video/mp4; codecs=avc1"]),
    "audio": (16 * MEGABYTE, "16 MB", ["audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg"]),
    "document": (
        100 * MEGABYTE,
        "100 MB",
        [
            "text/plain",
            "application/pdf",
            "application/msword",
            "application/vnd.ms-excel",
            "application/vnd.ms-powerpoint",
            f"{_OFFICE}.wordprocessingml.document",
            f"{_OFFICE}.spreadsheetml.sheet",
            f"{_OFFICE}.presentationml.presentation",
        ],
    ),
    "sticker": (500 * 1024, "500 kB", ["image/webp"]),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_may_be_as_large_as_wati_says_for_its_kind(kind: str) -> None:
    """Each limit of a file holds on either side of its figure."""
    limit, in_words, types = FILES[kind]
    for mime_type in types:
        assert checks.media_kind(mime_type) == kind
        checks.file_size(1, mime_type, "a")
        checks.file_size(limit, mime_type, "a")
        says = rf"^'a' has {limit + 1:,} bytes; WATI takes {in_words} \({limit:,}\) as {kind}\.$"
        with pytest.raises(WatiValidationError, match=says):
            checks.file_size(limit + 1, mime_type, "a")


@pytest.mark.parametrize("mime_type", ["image/gif", "application/zip", "text/csv", "text/html", "image", ""])
def test_a_kind_of_file_that_wati_does_not_take(mime_type: str) -> None:
    """A media type that WATI does not take is refused with those that it takes."""
    assert checks.media_kind(mime_type) is None
    with pytest.raises(WatiValidationError, match="does not take 'a' of type .*; it takes: .*jpeg.*mp4.*pdf"):
        checks.file_size(1, mime_type, "a")


def test_an_empty_file_is_refused() -> None:
    """A file without a byte is refused."""
    with pytest.raises(WatiValidationError, match="'a.pdf' is empty"):
        checks.file_size(0, "application/pdf", "a.pdf")


@pytest.mark.parametrize(("size", "mime_type"), [(0, "image/png"), (1, "image/gif"), (10**9, "image/png")])
def test_a_phone_number_in_the_name_of_a_file_is_masked(size: int, mime_type: str) -> None:
    """Files are often named by their customer; no error about one shows the number."""
    with pytest.raises(WatiValidationError, match=r"^(?!.*85264318722).*\.png") as error:
        checks.file_size(size, mime_type, "85264318722.png")
    assert "85264318722" not in str(error.value)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving(answer(200, {"message": {"id": "1"}})) as running:
        yield running


@pytest.fixture
def client(server: ScriptedServer) -> WatiClient:
    return WatiClient(f"{server.url}/100001", "token", rate_limits={"*": None}, max_tries=1)


@pytest.mark.parametrize(
    ("mime_type", "limit"),
    [("image/png", 5 * MEGABYTE), ("video/mp4", 16 * MEGABYTE), ("application/pdf", 100 * MEGABYTE)],
)
def test_a_file_that_is_too_large_never_leaves(
    mime_type: str, limit: int, client: WatiClient, server: ScriptedServer, tmp_path: Path
) -> None:
    """A file beyond its limit is refused before it is read."""
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(limit + 1)
    with path.open("rb") as file, pytest.raises(WatiValidationError, match="WATI takes"):
        client.send_file(NUMBER, file, file_name="a", mime_type=mime_type)
    assert not server.requests
    with path.open("rb") as file:
        # What was read before does not count.
        file.read(1 if limit < 100 * MEGABYTE else limit)
        client.send_file(NUMBER, file, file_name="a", mime_type=mime_type)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda wati: wati.create_contact(NUMBER, ""), "name is empty"),
        (lambda wati: wati.create_contact(f"+{NUMBER}", "A"), "without '\\+'"),
        (lambda wati: wati.create_contact(NUMBER, "A", [{"name": "n"}]), "create_contact: custom_params"),
        (lambda wati: wati.create_contact(NUMBER, "A", {"": "x"}), "a parameter's name is text, not ''"),
        (lambda wati: wati.update_contacts([]), "one at least"),
        (lambda wati: wati.update_contacts({"target": NUMBER}), "contacts is a list"),
        (
            lambda wati: wati.update_contacts([{"target": NUMBER, "name": "A"}]),
            "Contact 1 is .* nothing else",
        ),
        (lambda wati: wati.update_contacts([{"custom_params": {"a": "b"}}]), "Contact 1: .*empty"),
        (lambda wati: wati.update_contacts([{"target": "x", "custom_params": {}}]), "Contact 1: Target 'x'"),
        (lambda wati: wati.assign_teams(NUMBER, []), "one is needed at least"),
        (lambda wati: wati.assign_teams(NUMBER, "Billing"), "teams is a list"),
        (lambda wati: wati.send_text(NUMBER, "x" * 4097), "4097 characters; WATI allows 4096"),
        (lambda wati: wati.send_text("US.1", ""), "text is empty"),
        (lambda wati: wati.send_file_url(NUMBER, "ftp://example.com/a"), "file_url starts with https://"),
        (lambda wati: wati.send_file_url(NUMBER, "https://"), "file_url starts with https://"),
        (
            lambda wati: wati.send_file(NUMBER, io.BytesIO(b"x"), file_name="", mime_type="image/png"),
            "file_name is empty",
        ),
        (lambda wati: wati.send_buttons(NUMBER, "b", ["1", "2", "3", "4"]), "1 to 3 texts"),
        (lambda wati: wati.send_list(NUMBER, "b", "c", sections(11)), "11 rows"),
        (lambda wati: wati.assign_operator(NUMBER, ""), "assignee_email is empty"),
        (lambda wati: wati.update_conversation_status(NUMBER, "OPEN"), "not 'OPEN'"),
        (lambda wati: wati.add_tag(NUMBER, ""), "tag is empty"),
        (lambda wati: wati.remove_tag(NUMBER, " "), "tag is empty"),
        (lambda wati: wati.get_template(""), "template_id is empty"),
        (lambda wati: wati.send_template_messages("", "b", [{"target": NUMBER}]), "template_name is empty"),
        (lambda wati: wati.send_template_messages("t", "", [{"target": NUMBER}]), "campaign_name is empty"),
        (
            lambda wati: wati.schedule_template_messages(
                "t", "b", [{"target": NUMBER}], datetime(2099, 1, 1)
            ),
            "scheduled_at needs a datetime with a time zone",
        ),
        (lambda wati: wati.cancel_scheduled_campaign(""), "campaign_id is empty"),
        (lambda wati: wati.get_campaign(" "), "campaign_id is empty"),
        (lambda wati: list(wati.iter_campaign_recipients("")), "campaign_id is empty"),
        (
            lambda wati: wati.get_campaigns_overview(datetime(2026, 1, 1), datetime.now(UTC)),
            "date_from needs a datetime with a time zone",
        ),
        (lambda wati: wati.estimate_campaign_cost("t", []), "one is needed at least"),
        (lambda wati: wati.estimate_campaign_cost("t", "c"), "contact_ids is a list"),
        (lambda wati: wati.start_chatbot(NUMBER, ""), "chatbot_id is empty"),
        (lambda wati: wati.get_media("").__enter__(), "message_id is empty"),
        (
            lambda wati: wati.get_message_by_local_id("x" * 9, NUMBER),
            "has 9 characters; WATI looks up 10 to 64",
        ),
        (lambda wati: wati.get_message_by_local_id("x" * 65, NUMBER), "has 65 characters"),
        (lambda wati: wati.get_message_by_local_id("x" * 10), "channel_number is needed"),
        (lambda wati: wati.update_webhook("", "https://example.com", ["message"]), "webhook_id is empty"),
    ],
)
def test_the_client_sends_nothing_that_cannot_be_right(
    call: Callable[[WatiClient], object], says: str, client: WatiClient, server: ScriptedServer
) -> None:
    """A wrong argument of any method is refused before a request leaves."""
    with pytest.raises(WatiValidationError, match=says) as raised:
        call(client)
    assert not server.requests
    assert NUMBER not in str(raised.value)


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (datetime(2026, 12, 24, 10, tzinfo=UTC), "2026-12-24T10:00:00Z"),
        (datetime(2026, 12, 24, 3, tzinfo=timezone(timedelta(hours=8))), "2026-12-23T19:00:00Z"),
        (datetime(2026, 7, 1, 9, tzinfo=ZoneInfo("America/New_York")), "2026-07-01T13:00:00Z"),
        (datetime(2026, 12, 1, 9, tzinfo=ZoneInfo("America/New_York")), "2026-12-01T14:00:00Z"),
        (datetime(2026, 12, 1, 9, 30, tzinfo=ZoneInfo("Asia/Kolkata")), "2026-12-01T04:00:00Z"),
    ],
)
def test_a_time_goes_out_in_utc(at: datetime, written: str) -> None:
    """A time of any zone becomes WATI's UTC form."""
    assert checks.utc_time(at, "scheduled_at") == written


@pytest.mark.parametrize("given", [datetime(2026, 12, 24, 10), "2026-12-24T10:00:00Z", None, 0])
def test_a_time_without_a_zone_is_refused(given: Any) -> None:
    """A time without a zone could be any hour, and is refused."""
    with pytest.raises(WatiValidationError, match="scheduled_at needs a datetime with a time zone, not"):
        checks.utc_time(given, "scheduled_at")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (None, []),
        ({}, []),
        ({"tier": "gold", "a": ""}, [{"name": "tier", "value": "gold"}, {"name": "a", "value": ""}]),
        ([{"name": "tier", "value": "gold"}], [{"name": "tier", "value": "gold"}]),
    ],
)
def test_parameters_go_out_as_watis_list(given: Any, written: list[dict[str, str]]) -> None:
    """Parameters in each form become WATI's list."""
    assert checks.name_values(given, "here") == written


def test_buttons_are_taken_as_wati_writes_them() -> None:
    """A button as a bare text and one as WATI's dict go out alike."""
    message = checks.buttons_message("Well?", ["Yes", {"text": "No"}], None, None)
    assert message["buttons"] == [{"text": "Yes"}, {"text": "No"}]


HALF = "half \ud83d"


@pytest.mark.parametrize(
    "call",
    [
        lambda wati: wati.send_text(NUMBER, HALF),
        lambda wati: wati.send_text(f"{HALF}:{NUMBER}", "x"),
        lambda wati: wati.send_file_url(NUMBER, "https://a.example/b", HALF),
        lambda wati: wati.send_file_url(NUMBER, f"https://a.example/{HALF}"),
        lambda wati: wati.send_file(NUMBER, io.BytesIO(b"x"), file_name=HALF, mime_type="image/png"),
        lambda wati: wati.send_file(
            NUMBER, io.BytesIO(b"x"), file_name="a.png", mime_type="image/png", caption=HALF
        ),
        lambda wati: wati.send_buttons(NUMBER, HALF, ["Yes"]),
        lambda wati: wati.send_buttons(NUMBER, "x", [HALF]),
        lambda wati: wati.send_buttons(NUMBER, "x", [{"text": HALF}]),
        lambda wati: wati.send_buttons(NUMBER, "x", ["Yes"], {"type": "image", "media": {"url": HALF}}),
        lambda wati: wati.send_buttons(NUMBER, "x", ["Yes"], footer=HALF),
        lambda wati: wati.send_buttons(NUMBER, "x", ["Yes"], HALF),
        lambda wati: wati.send_buttons(NUMBER, "x", ["Yes"], {"type": "text", "text": HALF}),
        lambda wati: wati.send_list(NUMBER, HALF, "c", sections(1)),
        lambda wati: wati.send_list(NUMBER, "x", HALF, sections(1)),
        lambda wati: wati.send_list(NUMBER, "x", "c", sections(1), HALF),
        lambda wati: wati.send_list(NUMBER, "x", "c", sections(1), footer=HALF),
        lambda wati: wati.send_list(NUMBER, "x", "c", [{"title": HALF, "rows": [{"title": "r"}]}]),
        lambda wati: wati.send_list(NUMBER, "x", "c", [{"rows": [{"title": "r", "description": HALF}]}]),
        lambda wati: wati.get_contact(f"{HALF}:{NUMBER}"),
        lambda wati: wati.get_contact(Target.phone(NUMBER, HALF)),
        lambda wati: wati.delete_contact(f"{HALF}:{NUMBER}"),
        lambda wati: list(wati.iter_messages(Target.phone(NUMBER, HALF))),
        lambda wati: wati.update_contacts([{"target": f"{HALF}:{NUMBER}", "custom_params": {"a": "b"}}]),
        lambda wati: wati.assign_teams(f"{HALF}:{NUMBER}", ["a"]),
        lambda wati: wati.send_text(Target.phone(NUMBER, HALF), "x"),
        lambda wati: wati.send_file(
            Target.phone(NUMBER, HALF), io.BytesIO(b"x"), file_name="a.png", mime_type="image/png"
        ),
        lambda wati: wati.update_conversation_status(Target.phone(NUMBER, HALF), "open"),
        lambda wati: wati.start_chatbot(Target.phone(NUMBER, HALF), "b"),
        lambda wati: list(wati.iter_conversations(HALF)),
        lambda wati: list(wati.iter_conversations(channel_id=HALF)),
        lambda wati: wati.get_media(HALF).__enter__(),
        lambda wati: wati.get_template(HALF),
        lambda wati: list(wati.iter_campaign_recipients(HALF)),
        lambda wati: wati.get_campaigns_overview(datetime.now(UTC), datetime.now(UTC), HALF),
        lambda wati: wati.count_contacts(date_to=HALF),
        lambda wati: wati.estimate_campaign_cost(HALF, ["c"]),
        lambda wati: wati.update_webhook(HALF, "https://a.example", []),
        lambda wati: wati.update_webhook("1", "https://a.example", [HALF]),
        lambda wati: wati.dispatch_template("t", "c", [encode_recipient(NUMBER, {"a": HALF})]),
        lambda wati: wati.dispatch_template(HALF, "c", [encode_recipient(NUMBER, {})]),
        lambda wati: wati.schedule_template_messages(HALF, "c", [{"target": NUMBER}], datetime.now(UTC)),
        lambda wati: wati.send_list(NUMBER, "x", "c", [{"rows": [{"title": HALF}]}]),
        lambda wati: wati.create_contact(NUMBER, HALF),
        lambda wati: wati.create_contact(NUMBER, "Ada", {"a": HALF}),
        lambda wati: wati.create_contact(NUMBER, "Ada", {HALF: "a"}),
        lambda wati: wati.update_contacts([{"target": NUMBER, "custom_params": {"a": HALF}}]),
        lambda wati: wati.assign_teams(NUMBER, [HALF]),
        lambda wati: wati.assign_operator(NUMBER, HALF),
        lambda wati: wati.add_tag(NUMBER, HALF),
        lambda wati: wati.remove_tag(NUMBER, HALF),
        lambda wati: wati.start_chatbot(NUMBER, HALF),
        lambda wati: wati.get_campaign(HALF),
        lambda wati: wati.cancel_scheduled_campaign(HALF),
        lambda wati: list(wati.iter_campaigns(HALF)),
        lambda wati: list(wati.iter_templates(HALF)),
        lambda wati: wati.count_contacts(HALF),
        lambda wati: wati.estimate_campaign_cost("t", [HALF]),
        lambda wati: wati.update_webhook("1", HALF, []),
        lambda wati: wati.get_message_by_local_id("0123456789\ud83d", NUMBER),
        lambda wati: wati.send_template_messages(HALF, "c", [{"target": NUMBER}]),
        lambda wati: wati.send_template_messages("t", HALF, [{"target": NUMBER}]),
        lambda wati: wati.send_template_messages("t", "c", [{"target": NUMBER}], HALF),
        lambda wati: wati.send_template_messages("t", "c", [{"target": NUMBER, "params": {"a": HALF}}]),
        lambda wati: wati.send_template_messages("t", "c", [{"target": NUMBER, "local_message_id": HALF}]),
    ],
)
def test_half_a_character_is_refused_before_anything_is_sent(call: Callable[[WatiClient], Any]) -> None:
    """A lone surrogate in any text argument is a validation error, and no request leaves."""
    with serving(answer(200, {})) as server, pytest.raises(WatiValidationError, match="half a character"):
        call(client_of(server))
    assert not server.requests


class Odd:
    """An object that no JSON can hold."""


_ODD: list[Any] = [7, 1.5, True, b"x", [], ["a"], {}, {"a": "b"}, object(), Odd, 10**5000, {1, 2}, range(3)]


def _with(method: str, *before: Any, **named: Any) -> Callable[[WatiClient, Any], Any]:
    """Make a call of a method with the odd value after some arguments, or as the named one that is Odd."""

    def call(wati: WatiClient, odd: Any) -> Any:
        positional = [odd if value is Odd else value for value in before]
        return getattr(wati, method)(*positional, **{k: odd if v is Odd else v for k, v in named.items()})

    return call


def _used(found: Any) -> None:
    """Enter what is opened, and read what is listed."""
    found.__enter__() if hasattr(found, "__enter__") else list(found)


def _file() -> io.BytesIO:
    return io.BytesIO(b"x")


_NOW = datetime.now(UTC)
#: Each text, list or target that a method takes, given as Odd.
ARGUMENTS = [
    _with("create_contact", Odd, "Ada"),
    _with("create_contact", NUMBER, Odd),
    _with("get_contact", Odd),
    _with("update_contacts", Odd),
    _with("update_contacts", [Odd]),
    _with("update_contacts", [{"target": NUMBER, "custom_params": {"a": "b"}}, Odd]),
    _with("delete_contact", Odd),
    _with("count_contacts", Odd),
    _with("count_contacts", None, Odd),
    _with("assign_teams", Odd, ["a"]),
    _with("iter_conversations", Odd),
    _with("iter_conversations", channel_id=Odd),
    _with("iter_messages", Odd),
    _with("send_text", Odd, "x"),
    _with("send_text", NUMBER, Odd),
    _with("send_file_url", NUMBER, Odd),
    _with("send_file", Odd, _file(), file_name="a", mime_type="image/png"),
    _with("send_file", NUMBER, Odd, file_name="a", mime_type="image/png"),
    _with("send_file", NUMBER, _file(), file_name=Odd, mime_type="image/png"),
    _with("send_file", NUMBER, _file(), file_name="a", mime_type=Odd),
    _with("get_media", Odd),
    _with("send_buttons", Odd, "x", ["Yes"]),
    _with("send_buttons", NUMBER, Odd, ["Yes"]),
    _with("send_buttons", NUMBER, "x", ["Yes"], Odd),
    _with("send_list", Odd, "x", "c", [{"rows": [{"title": "r"}]}]),
    _with("send_list", NUMBER, Odd, "c", [{"rows": [{"title": "r"}]}]),
    _with("send_list", NUMBER, "x", Odd, [{"rows": [{"title": "r"}]}]),
    _with("send_list", NUMBER, "x", "c", Odd),
    _with("assign_operator", Odd, "a@b.example"),
    _with("assign_operator", NUMBER, Odd),
    _with("update_conversation_status", Odd, "open"),
    _with("update_conversation_status", NUMBER, Odd),
    _with("add_tag", Odd, "vip"),
    _with("add_tag", NUMBER, Odd),
    _with("remove_tag", Odd, "vip"),
    _with("remove_tag", NUMBER, Odd),
    _with("get_template", Odd),
    _with("dispatch_template", Odd, "c", [encode_recipient(NUMBER, {})]),
    _with("dispatch_template", "t", Odd, [encode_recipient(NUMBER, {})]),
    _with("dispatch_template", "t", "c", Odd),
    _with("send_template_messages", Odd, "c", [{"target": NUMBER}]),
    _with("send_template_messages", "t", Odd, [{"target": NUMBER}]),
    _with("send_template_messages", "t", "c", Odd),
    _with("schedule_template_messages", "t", "c", [{"target": NUMBER}], Odd),
    _with("cancel_scheduled_campaign", Odd),
    _with("get_campaign", Odd),
    _with("iter_campaign_recipients", Odd),
    _with("get_campaigns_overview", Odd, _NOW),
    _with("get_campaigns_overview", _NOW, Odd),
    _with("estimate_campaign_cost", Odd, ["c"]),
    _with("start_chatbot", Odd, "b"),
    _with("start_chatbot", NUMBER, Odd),
    _with("update_webhook", Odd, "https://a.example", ["message"]),
    _with("update_webhook", "1", Odd, ["message"]),
    _with("get_message_by_local_id", Odd, NUMBER),
]
#: Places inside of arguments, and arguments that may be left out or be a list of texts: some odd values are fine there.
PLACES: list[Callable[[WatiClient, Any], Any]] = [
    lambda wati, odd: wati.create_contact(NUMBER, "Ada", odd),
    lambda wati, odd: wati.create_contact(NUMBER, "Ada", {"a": odd}),
    lambda wati, odd: wati.create_contact(NUMBER, "Ada", [{"name": odd, "value": odd}]),
    lambda wati, odd: wati.update_contacts([{"target": odd, "custom_params": odd}]),
    lambda wati, odd: wati.assign_teams(NUMBER, odd),
    lambda wati, odd: wati.assign_teams(NUMBER, [odd]),
    lambda wati, odd: wati.send_file_url(NUMBER, "https://a.example/b", odd),
    lambda wati, odd: wati.send_buttons(NUMBER, "x", odd),
    lambda wati, odd: wati.send_buttons(NUMBER, "x", [odd]),
    lambda wati, odd: wati.send_buttons(NUMBER, "x", [{"text": odd}]),
    lambda wati, odd: wati.send_buttons(NUMBER, "x", ["Yes"], footer=odd),
    lambda wati, odd: wati.send_buttons(NUMBER, "x", ["Yes"], {"type": odd}),
    lambda wati, odd: wati.send_buttons(NUMBER, "x", ["Yes"], {"type": "text", "text": odd}),
    lambda wati, odd: wati.send_buttons(NUMBER, "x", ["Yes"], {"type": "image", "media": odd}),
    lambda wati, odd: wati.send_buttons(NUMBER, "x", ["Yes"], {"type": "image", "media": {"url": odd}}),
    lambda wati, odd: wati.send_buttons(
        NUMBER, "x", ["Yes"], {"type": "image", "media": {"url": "https://a.example", "data": odd}}
    ),
    lambda wati, odd: wati.send_list(NUMBER, "x", "c", [odd]),
    lambda wati, odd: wati.send_list(NUMBER, "x", "c", [{"rows": odd}]),
    lambda wati, odd: wati.send_list(NUMBER, "x", "c", [{"rows": [odd]}]),
    lambda wati, odd: wati.send_list(NUMBER, "x", "c", [{"rows": [{"title": odd}]}]),
    lambda wati, odd: wati.send_list(NUMBER, "x", "c", [{"title": odd, "rows": [{"title": "r"}]}]),
    lambda wati, odd: wati.send_list(NUMBER, "x", "c", sections(1), odd, odd),
    lambda wati, odd: list(wati.iter_templates(odd)),
    lambda wati, odd: list(wati.iter_campaigns(odd)),
    lambda wati, odd: wati.dispatch_template("t", "c", [encode_recipient(NUMBER, {})], channel=odd),
    lambda wati, odd: wati.dispatch_template("t", "c", [encode_recipient(NUMBER, {})], scheduled_at=odd),
    lambda wati, odd: wati.dispatch_template("t", "c", [odd]),
    lambda wati, odd: wati.send_template_messages("t", "c", [odd]),
    lambda wati, odd: wati.send_template_messages("t", "c", [{"target": odd}]),
    lambda wati, odd: wati.send_template_messages("t", "c", [{"phone_number": odd}]),
    lambda wati, odd: wati.send_template_messages("t", "c", [{"target": NUMBER, "params": odd}]),
    lambda wati, odd: wati.send_template_messages("t", "c", [{"target": NUMBER, "params": {"a": odd}}]),
    lambda wati, odd: wati.send_template_messages("t", "c", [{"target": NUMBER, "local_message_id": odd}]),
    lambda wati, odd: wati.send_template_messages("t", "c", [{"target": NUMBER, "custom_params": [odd]}]),
    lambda wati, odd: wati.get_campaigns_overview(_NOW, _NOW, odd),
    lambda wati, odd: wati.estimate_campaign_cost("t", odd),
    lambda wati, odd: wati.estimate_campaign_cost("t", [odd]),
    lambda wati, odd: wati.update_webhook("1", "https://a.example", odd),
    lambda wati, odd: wati.update_webhook("1", "https://a.example", [odd]),
    lambda wati, odd: wati.get_message_by_local_id("order-1001-x", odd),
]


@pytest.mark.parametrize("at", range(len(ARGUMENTS)))
def test_an_argument_of_another_type_is_refused(at: int) -> None:
    """Numbers, bytes, lists and objects in place of a text, a list or a time are refused before the call."""
    with serving(answer(200, {})) as server:
        for odd in _ODD:
            with pytest.raises(WatiValidationError):
                _used(ARGUMENTS[at](client_of(server), odd))
    assert not server.requests


@pytest.mark.parametrize("at", range(len(PLACES)))
def test_a_part_of_another_type_is_sent_or_refused(at: int) -> None:
    """What may stand inside an argument, or be left out, is sent as WATI reads it or is a validation error."""
    with serving(answer(200, {"message": {"id": "1"}})) as server:
        refused = 0
        for odd in _ODD:
            before = len(server.requests)
            try:
                PLACES[at](client_of(server), odd)
            except WatiValidationError:
                refused += 1
                assert len(server.requests) == before
            except WatiError:
                assert len(server.requests) == before + 1
    assert refused >= 7


@pytest.mark.parametrize("given", [".", ".."])
@pytest.mark.parametrize(
    "call",
    [
        lambda wati, given: wati.get_campaign(given),
        lambda wati, given: list(wati.iter_campaign_recipients(given)),
        lambda wati, given: wati.cancel_scheduled_campaign(given),
        lambda wati, given: wati.get_template(given),
        lambda wati, given: wati.get_media(given).__enter__(),
        lambda wati, given: wati.remove_tag(NUMBER, given),
        lambda wati, given: wati.update_webhook(given, "https://a.example", ["message"]),
        lambda wati, given: wati.get_contact(Target(TargetKind.PHONE, given)),
        lambda wati, given: list(wati.iter_messages(Target(TargetKind.PHONE, given))),
    ],
)
def test_an_id_that_climbs_is_refused(call: Callable[[WatiClient, str], Any], given: str) -> None:
    """An id that would change the address of a call is refused before it."""
    with serving(answer(200, {})) as server, pytest.raises(WatiValidationError, match="change the address"):
        call(client_of(server), given)
    assert not server.requests


@pytest.mark.parametrize(
    "given",
    [
        "../contacts",
        "a/b",
        "a?page=1",
        "a#b",
        "%2e%2e",
        "..%2f..",
        "%2E",
        "..;",
        "...",
        "a\\b",
        "a\r\nX: 1",
        "ü",
        "a b",
        "//x",
    ],
)
@pytest.mark.parametrize(
    ("call", "before", "after"),
    [
        (lambda wati, given: wati.get_campaign(given), "/api/ext/v3/broadcasts/", ""),
        (
            lambda wati, given: list(wati.iter_campaign_recipients(given)),
            "/api/ext/v3/broadcasts/",
            "/recipients?page_number=1&page_size=100",
        ),
        (
            lambda wati, given: wati.cancel_scheduled_campaign(given),
            "/100001/api/v1/broadcast/deleteScheduledBroadcast/",
            "",
        ),
        (lambda wati, given: wati.get_template(given), "/api/ext/v3/messageTemplates/", ""),
        (
            lambda wati, given: wati.get_media(given).__enter__(),
            "/api/ext/v3/conversations/messages/file/",
            "",
        ),
        (
            lambda wati, given: wati.remove_tag(NUMBER, given),
            f"/api/ext/v3/conversations/{NUMBER}/tags/",
            "",
        ),
        (
            lambda wati, given: wati.update_webhook(given, "https://a.example", ["message"]),
            "/api/ext/v3/webhooks/",
            "",
        ),
        (
            lambda wati, given: wati.get_message_by_local_id(f"{given:0<10}", NUMBER),
            f"/100001/api/v1/whatsApp/messages/{NUMBER}/",
            "",
        ),
        (
            lambda wati, given: wati.get_contact(f"{given}:{NUMBER}"),
            "/api/ext/v3/contacts/",
            f":{NUMBER}",
        ),
    ],
)
def test_an_id_stays_one_segment_of_the_path(
    call: Callable[[WatiClient, str], Any], before: str, after: str, given: str
) -> None:
    """What an id holds is percent-encoded, so that it stays one segment and reaches WATI as it is."""
    with serving(answer(404)) as server, pytest.raises(WatiNotFoundError):
        call(client_of(server), given)
    [request] = server.requests
    assert request.path.startswith(before)
    assert request.path.endswith(after)
    segment = request.path.removeprefix(before).removesuffix(after)
    assert not set(segment) & set("/?#\\ ")
    assert unquote(segment).rstrip("0") == given
    assert "x" not in request.headers


@pytest.mark.parametrize(
    "time",
    [
        datetime.min.replace(tzinfo=timezone(timedelta(hours=8))),
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-8))),
    ],
)
def test_a_time_that_utc_does_not_have_is_refused(time: datetime) -> None:
    """A time at the end of the calendar is refused rather than an OverflowError."""
    with pytest.raises(WatiValidationError, match="UTC does not have"):
        checks.utc_time(time, "scheduled_at")


@pytest.mark.parametrize(
    "name",
    [
        "allow_broadcast",
        "allowBroadcast",
        "Allow Broadcast",
        "opted_in",
        "optedIn",
        "opt-in",
        "opt_out",
        "allow_sms",
    ],
)
def test_consent_is_never_written(name: str) -> None:
    """Consent is refused as an attribute in any spelling, by the create and by the update."""
    with serving(answer(200, {})) as server:
        wati = client_of(server)
        with pytest.raises(WatiValidationError, match="is consent"):
            wati.create_contact(NUMBER, "Ada", {name: "true"})
        with pytest.raises(WatiValidationError, match="is consent"):
            wati.update_contacts([{"target": NUMBER, "custom_params": {name: "true"}}])
    assert not server.requests


@pytest.mark.parametrize("name", ["option", "allowance", "broadcast", "opt", "tier"])
def test_other_attributes_are_no_consent(name: str) -> None:
    """An attribute whose name only resembles consent is written."""
    assert checks.contact_attributes({name: "x"}, "here") == [{"name": name, "value": "x"}]
