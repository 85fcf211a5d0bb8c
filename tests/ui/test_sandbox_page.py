"""The sandbox's page in a browser, with real clicks and keys."""

from __future__ import annotations

import base64
import os
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_wati.exceptions import WatiError
from airflow_provider_wati.hooks.wati import WatiHook
from airflow_provider_wati.sandbox.model.records import Media, Note
from airflow_provider_wati.sandbox.server import SandboxServer
from tests.ui.browser import Screen

if TYPE_CHECKING:
    from tests.conftest import Sandbox

ADA, BEN, DANA = "12025550143", "12025550144", "12025550146"
NOT_ON_WHATSAPP = "12025131026"
VIEWS = ("conversations", "campaigns", "contacts", "faults", "calls", "parity")
#: Set to a directory, the tests put the screenshots of the documentation there.
SCREENSHOTS = os.environ.get("SANDBOX_SCREENSHOTS")
LARGEST_SCREENSHOT = 150_000
HOSTILE = (
    "<img src=x onerror=\"document.title='taken'\">",
    "<script>document.title='taken'</script>",
    "\u202etxet desrever\u2066\u200f",
    "{{name}} ${7*7} &lt;b&gt; javascript:alert(1)",
)


def picture(width: int = 320, height: int = 110) -> bytes:
    """A PNG with a soft gradient."""
    rows = b"".join(
        b"\0" + b"".join(bytes((60 + x * 150 // width, 140 + y * 70 // height, 120)) for x in range(width))
        for y in range(height)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def talk_of(sandbox: Sandbox, phone: str) -> str:
    """The id of the first conversation of a person."""
    return sandbox.state.by_phone[phone].conversations[0].id


def order(phone: str, name: str) -> dict[str, Any]:
    values = {"name": name, "order_id": "1001", "status": "on its way"}
    return {"phone_number": phone, "custom_params": [{"name": k, "value": v} for k, v in values.items()]}


def fill(sandbox: Sandbox) -> None:
    """Let something of every kind happen."""
    enable_webhooks(sandbox)
    client = sandbox.client()
    client.send_template_messages(
        "order_update",
        "order updates",
        [order(ADA, "Ada"), order(BEN, "Ben"), order(DANA, "Dana"), order(NOT_ON_WHATSAPP, "Nobody")],
    )
    client.send_template_messages("welcome", "welcome to the store", [{"phone_number": ADA}])
    client.send_text(ADA, "Good morning Ada! Your order 1001 left our warehouse today.")
    client.send_buttons(
        ADA, "Shall we deliver today?", ["Yes, today", "Tomorrow"], "Order 1001", "Acme Store"
    )
    rows = [{"title": "10:00", "description": "Morning"}, {"title": "15:00", "description": "Afternoon"}]
    client.send_list(ADA, "Pick a time.", "Choose a time", [{"title": "Today", "rows": rows}], "Delivery")
    talk = sandbox.state.by_phone[ADA].conversations[0]
    media = Media("parcel.png", "image/png", picture())
    sandbox.state.say(Note(talk, "image", "Your parcel is on its way", media=media))
    client.send_file_url(ADA, "https://acme.example/invoice-1001.pdf", "Your invoice")
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "Thank you, that is quick!"})
    sandbox.control("POST", "/clock", {"advance": 90})
    sandbox.fault("status", status=503, path="*/messageTemplates/send", count=2)
    sandbox.fault("drop", when="after", path="*/conversations/messages/text", count=1)


def enable_webhooks(sandbox: Sandbox) -> None:
    """Let the subscription of the seed be told of what happens from now on, at an address of no machine."""
    webhook = sandbox.state.webhooks[0]
    webhook.status, webhook.url = "Enabled", "https://192.0.2.7/a-secret"


def inbound(sandbox: Sandbox, phone: str) -> list[tuple[str, str]]:
    """What the API lists of a customer's messages: type and text, newest first."""
    listed = api(sandbox, f"/conversations/{phone}/messages?page_number=1&page_size=100")["message_list"]
    return [(each["type"], each["text"]) for each in listed if not each["owner"]]


def may_be_sent_campaigns(sandbox: Sandbox, phone: str) -> bool:
    """What the API says of a contact's consent."""
    return api(sandbox, f"/contacts/{phone}")["allow_broadcast"]


def api(sandbox: Sandbox, path: str) -> Any:
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    return requests.get(f"{sandbox.url}/api/ext/v3{path}", headers=headers, timeout=10).json()


def test_a_message_of_a_hook_arrives_without_reloading(screen: Screen, sandbox: Sandbox) -> None:
    """What a DAG sends through the hook appears by itself, counts as unread, is read, and its ticks advance."""
    screen.open()
    screen.find("[role=option]", "Chitra Rao")
    WatiHook().client.send_text(BEN, "Yes, in blue as well.")
    row = screen.find("[role=option]", "Yes, in blue as well.")
    assert "Ben Okafor" in row.text
    screen.wait(
        lambda: screen.look("[role=option].unread .unread-count", "1"), "the conversation has an unread mark"
    )
    screen.wait(lambda: "Yes, in blue as well." in screen.texts("#announcer")[0], "it is announced")

    screen.click("[role=option]", "Ben Okafor")
    message = screen.find(".message", "Yes, in blue as well.")
    assert "mine" not in (message.get_attribute("class") or "")
    screen.wait(lambda: not screen.look(".unread-count"), "the unread mark goes")
    WatiHook().client.send_text(BEN, "Shall I put one aside?")
    screen.find(".message", "Shall I put one aside?")
    sandbox.control("POST", "/clock", {"advance": 15})
    screen.wait(
        lambda: screen.look(".message[data-status=delivered], .message[data-status=read]", "aside"),
        "the message is delivered",
    )
    screen.assert_never_reloaded()


def test_a_message_has_all_its_parts(screen: Screen, sandbox: Sandbox) -> None:
    """Header, body with its parameters, footer, buttons, lists, images and files are shown, and why one failed."""
    fill(sandbox)
    screen.open(f"conversations/{talk_of(sandbox, ADA)}")
    screen.find(".message .text", "Hi Ada, your order 1001 is on its way.")
    parts = {
        ".head": ["Hello!", "Order 1001", "Delivery"],
        ".foot": ["Acme Store", "Reply STOP to hear no more from us"],
        ".replies button": ["Show me what is new", "Stop", "Yes, today", "Tomorrow"],
        ".choices summary": ["Choose a time"],
        ".file": ["invoice-1001.pdf"],
    }
    for css, expected in parts.items():
        shown = screen.texts(css)
        assert [text for text in expected if not any(text in each for each in shown)] == [], css
    width = screen.wait(
        lambda: screen.run("return document.querySelector('.media img').naturalWidth"), "image"
    )
    assert width == 320
    screen.open(f"conversations/{talk_of(sandbox, NOT_ON_WHATSAPP)}")
    assert "131026 Message undeliverable" in screen.find(".message .reason").text


def test_a_tap_is_an_answer_in_the_api(screen: Screen, sandbox: Sandbox) -> None:
    """A tap on a button or on a row of a list is a message of the customer, of the type interactive, with its text."""
    fill(sandbox)
    screen.open(f"conversations/{talk_of(sandbox, ADA)}")
    screen.click(".replies button", "Yes, today")
    screen.find(".message.mine", "Yes, today")
    screen.click(".choices summary")
    screen.click(".choices button", "15:00")
    screen.find(".message.mine", "15:00")
    assert inbound(sandbox, ADA)[:2] == [("interactive", "15:00"), ("interactive", "Yes, today")]
    screen.assert_never_reloaded()


def test_a_button_that_is_pressed_while_the_ticks_change_is_tapped(screen: Screen, sandbox: Sandbox) -> None:
    """The ticks of a message change between the press and the release of a button: it is tapped all the same."""
    from selenium.webdriver import ActionChains

    sandbox.control("POST", "/clock", {"frozen": True})
    request = {"type": "buttons", "button_message": {"body": "Today?", "buttons": [{"text": "Yes, today"}]}}
    talk = sandbox.state.by_phone[ADA].conversations[0]
    sandbox.state.say(Note(talk, "interactive", "Today?", interactive=request))
    screen.open(f"conversations/{talk.id}")
    button = screen.find(".replies button", "Yes, today")
    ActionChains(screen.chrome).click_and_hold(button).perform()
    for status, seconds in (("sending", 1), ("sent", 1), ("delivered", 8)):
        sandbox.control("POST", "/clock", {"advance": seconds})
        screen.wait(partial(screen.look, f".message[data-status={status}]", "Today?"), f"it is {status}")
    ActionChains(screen.chrome).release().perform()
    screen.find(".message.mine", "Yes, today")
    assert inbound(sandbox, ADA)[0] == ("interactive", "Yes, today")


def test_one_writes_as_the_customer(screen: Screen, sandbox: Sandbox, tmp_path: Path) -> None:
    """Text, files and new customers come in through the page as they would from a phone."""
    screen.open()
    screen.click("button", "New customer")
    screen.type("dialog [name=name]", "Zoë Novak")
    screen.type("dialog [name=phone]", "+1 (202) 555-0190")
    screen.type("dialog [name=text]", "Hello, are you open?")
    screen.click("dialog button", "Write in")
    screen.find(".thread-head h2", "Zoë Novak")
    screen.find(".message.mine", "Hello, are you open?")
    screen.type(".composer textarea", "On Sunday?\ue007")
    screen.find(".message.mine", "On Sunday?")
    file = tmp_path / "receipt.png"
    file.write_bytes(picture())
    screen.chrome.find_element("css selector", ".composer input[type=file]").send_keys(str(file))
    screen.wait(lambda: screen.look(".message.mine .media img"), "the image is shown")
    assert [text for _, text in inbound(sandbox, "12025550190")] == ["", "On Sunday?", "Hello, are you open?"]


def test_a_customer_without_a_number_writes_and_taps(screen: Screen, sandbox: Sandbox) -> None:
    """Somebody with a BSUID and no phone number writes, taps and withdraws consent on the page like everybody."""
    grace = "US.13491208655302741918"
    screen.open("contacts")
    screen.click("tr button[aria-label='Withdraw: campaigns to Grace']")
    screen.find("tr button[aria-label='Allow: campaigns to Grace']")
    screen.click("tr a", "Grace")
    screen.type(".composer textarea", "Good morning\ue007")
    screen.find(".message.mine", "Good morning")
    sandbox.client().send_buttons(grace, "Shall we deliver today?", ["Yes", "No"])
    screen.click(".replies button", "Yes")
    screen.find(".message.mine", "Yes")
    assert inbound(sandbox, grace)[:2] == [("interactive", "Yes"), ("text", "Good morning")]
    screen.click("nav a", "Conversations")
    screen.click("button", "New customer")
    screen.type("dialog [name=name]", "Nele")
    screen.type("dialog [name=phone]", " DE.998877665544332211 ")
    screen.type("dialog [name=text]", "Hello")
    screen.click("dialog button", "Write in")
    screen.find(".thread-head h2", "Nele")
    assert inbound(sandbox, "DE.998877665544332211") == [("text", "Hello")]
    screen.assert_never_reloaded()


def test_a_fault_strikes_and_is_counted(screen: Screen, sandbox: Sandbox) -> None:
    """A fault of the form makes the next call fail, its count goes up, the log names it, and it can be removed."""
    screen.open("faults")
    screen.choose(".fault-form label:nth-of-type(1) select", "status")
    screen.choose(".fault-form label:nth-of-type(2) select", "Send a text")
    screen.run("document.querySelector('.fault-form input[min=\"200\"]').value = '403'")
    screen.click(".fault-form button", "Add fault")
    screen.find("tbody tr .used", "0 of 1")
    with pytest.raises(WatiError, match="403"):
        sandbox.client().send_text(ADA, "This one fails")
    screen.find("tbody tr .used", "1 of 1")
    sandbox.client().send_text(ADA, "This one arrives")
    assert sandbox.texts_to(ADA) == ["This one arrives"]
    screen.click("nav a", "API calls")
    row = screen.find("tbody tr", "403")
    assert "fault: status" in row.text
    assert "POST /api/ext/v3/conversations/messages/text" in row.text
    assert sandbox.token not in screen.run("return document.documentElement.outerHTML")
    screen.click("nav a", "Faults")
    screen.click("tbody button", "Remove")
    screen.find(".empty", "Everything works")
    assert sandbox.control("GET", "/faults")["faults"] == []
    screen.assert_never_reloaded()


def test_a_fault_with_an_answer_and_a_probability(screen: Screen, sandbox: Sandbox) -> None:
    """The form makes a fault that answers with JSON for a share of calls; JSON that is none is refused beside the form."""
    screen.open("faults")
    screen.choose(".fault-form label:nth-of-type(1) select", "answer")
    screen.choose(".fault-form label:nth-of-type(2) select", "Send a text")
    screen.type(".fault-form textarea", '{"result": fals}')
    screen.click(".fault-form button", "Add fault")
    screen.find(".fault-form [role=alert]", "The answer is no JSON")
    assert sandbox.control("GET", "/faults")["faults"] == []
    screen.find(".fault-form textarea").clear()
    screen.type(".fault-form textarea", '{"result": false, "message": "Busy"}')
    share = '.fault-form input[max="100"]'
    screen.find(share).clear()
    screen.type(share, "0")
    screen.click(".fault-form button", "Add fault")
    screen.find("tbody tr", "0% of calls")
    sandbox.client().send_text(ADA, "This one arrives")
    screen.find("tbody tr", "1 call fitted")
    screen.find(share).clear()
    screen.type(share, "100")
    screen.click(".fault-form button", "Add fault")
    screen.find("tbody tr:nth-of-type(2)", 'answer {"result":false,"message":"Busy"}')
    with pytest.raises(WatiError):
        sandbox.client().send_text(ADA, "This one does not")
    screen.find("tbody tr:nth-of-type(2) .used", "1 of 1")
    assert sandbox.texts_to(ADA) == ["This one arrives"]
    faults = sandbox.control("GET", "/faults")["faults"]
    assert [(each["kind"], each["probability"], each["fired"]) for each in faults] == [
        ("answer", 0, 0),
        ("answer", 1, 1),
    ]
    assert screen.grave_faults() == []


def test_every_kind_of_fault_is_in_the_form(screen: Screen, sandbox: Sandbox) -> None:
    """The form offers every kind that the control API takes."""
    screen.open("faults")
    screen.find(".fault-form option", "status")
    offered = screen.run(
        "return [...document.querySelector('.fault-form select').options].map((e) => e.value)"
    )
    assert offered == list(sandbox.control("GET", "/faults")["kinds"])


def test_webhooks_that_went_out_are_shown(screen: Screen, sandbox: Sandbox) -> None:
    """Each webhook is listed with its event, its state and the host that it went to, and can be sent again."""
    screen.open("calls")
    screen.click(".tabs a", "Webhooks out")
    screen.find(".empty", "No webhooks yet")
    enable_webhooks(sandbox)
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "hello"})
    # The sandbox sends nothing to another machine. The path may hold a secret, so the page shows the host alone.
    screen.wait(lambda: "refused" in screen.find("tbody tr", "message").text, "the webhook is refused")
    assert "192.0.2.7" in screen.texts("tbody tr")[0]
    assert "secret" not in screen.run("return document.documentElement.outerHTML")
    screen.click("tbody button", "Send again")
    screen.wait(lambda: len(screen.texts("tbody tr")) == 2, "it is sent again")
    screen.assert_never_reloaded()


def test_the_clock_is_moved_and_frozen(screen: Screen, sandbox: Sandbox) -> None:
    """A day later the window is closed; a frozen clock stands still; the speed of statuses changes."""
    screen.open(f"conversations/{talk_of(sandbox, ADA)}")
    assert screen.find(".window strong").text.startswith(("22:", "23:"))
    first = screen.find(".window strong").text
    screen.wait(lambda: screen.find(".window strong").text < first, "the window counts down")
    screen.click("#clock button", "+1 hour")
    screen.wait(lambda: screen.find(".window strong").text.startswith(("21:", "22:")), "an hour has passed")
    screen.click("#clock button", "+1 day")
    screen.wait(lambda: screen.find(".window strong").text == "Closed", "the window is closed")
    with pytest.raises(WatiError, match="expired"):
        sandbox.client().send_text(ADA, "too late")
    screen.click("#clock button", "Freeze")
    screen.wait(lambda: "frozen" in screen.find(".clock-date").text, "the clock is frozen")
    assert sandbox.control("GET", "/clock")["frozen"] is True
    screen.choose("#clock select", "60 times faster")
    screen.wait(lambda: sandbox.control("GET", "/clock")["speed"] == 60, "statuses change faster")


def test_stop_withdraws_consent(screen: Screen, sandbox: Sandbox) -> None:
    """STOP of a customer withdraws consent, START gives it back, and the page shows both at once."""
    screen.open(f"conversations/{talk_of(sandbox, ADA)}")
    screen.type(".composer textarea", "STOP\ue007")
    screen.find(".thread-head .badge", "No consent to campaigns")
    assert may_be_sent_campaigns(sandbox, ADA) is False
    screen.click("nav a", "Contacts")
    screen.wait(lambda: "Not allowed" in screen.find("tbody tr", "Ada Wong").text, "consent is withdrawn")
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": " start "})
    screen.wait(lambda: "Not allowed" not in screen.find("tbody tr", "Ada Wong").text, "consent is back")
    assert may_be_sent_campaigns(sandbox, ADA) is True
    screen.assert_never_reloaded()


def test_a_campaign_has_a_funnel_and_recipients_with_reasons(screen: Screen, sandbox: Sandbox) -> None:
    """The funnel follows the campaign, and its recipients can be narrowed down to those that failed."""
    screen.open("campaigns")
    screen.find(".empty", "No campaigns yet")
    fill(sandbox)
    screen.click(".campaign a", "order updates")
    screen.wait(lambda: screen.texts("[data-stage=failed]") == ["1 25%"], "the funnel shows the failure")
    assert screen.texts("[data-stage=sent]") == ["3 75%"]
    screen.choose("select[aria-label='Status of the recipients']", "failed (1)")
    screen.wait(lambda: len(screen.texts("tbody tr")) == 1, "one recipient is left")
    assert "131026 Message undeliverable" in screen.texts("tbody tr")[0]
    screen.click("tbody a")
    screen.find(".thread-head .about", f"+{NOT_ON_WHATSAPP}")


def test_hostile_texts_are_text(screen: Screen, sandbox: Sandbox) -> None:
    """HTML, scripts, marks of direction and halves of characters in names and messages are shown as they are."""
    state = sandbox.state
    half = "half \ud83d of it"
    for index, text in enumerate((*HOSTILE, half)):
        person = state.create_contact(f"1202555{200 + index:04}", text, custom_params={text: text})
        talk = state.conversation_between(person, state.default_channel)
        media = Media(text, "text/html", b"<script>document.title='taken'</script>")
        state.receive(Note(talk, "document", text, from_business=False, media=media))
        request = {
            "type": "buttons",
            "button_message": {"body": text, "footer": text, "buttons": [{"text": text}]},
        }
        state.say(Note(talk, "interactive", text, operator_name=text, interactive=request))
    for index, text in enumerate((*HOSTILE, half)):
        shown = text.replace("\ud83d", "\ufffd")
        screen.open(f"conversations/{talk_of(sandbox, f'1202555{200 + index:04}')}")
        screen.find(".message .text")
        assert screen.texts(".message .text") == [shown, shown]
        for css in (".thread-head h2", ".replies button", ".foot", ".file bdi"):
            assert screen.texts(css)[0] == shown, css
        assert screen.run("return document.querySelectorAll('main script, main img').length") == 0
        screen.open("contacts")
        screen.wait(lambda: screen.look("tbody tr", "Ada Wong"), "the contacts are shown")
        assert shown in screen.texts("tbody bdi")
        assert "taken" not in screen.chrome.title
    # What somebody sent is a file to save, and nothing that runs here.
    number = state.by_phone["12025550200"].conversations[0].messages[0]
    message_id = screen.url + f"/_sandbox/page/media/66b1fb043e55a6e0{number:08x}"
    answer = requests.get(message_id, timeout=10)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")


def test_a_long_text_is_shown_in_part_and_a_long_name_pushes_nothing_away(
    screen: Screen, sandbox: Sandbox
) -> None:
    """A text beyond what WhatsApp takes is cut, shown whole on demand, and a long name leaves the box to write in sight."""
    text = "x" * 4999 + "\N{ROCKET}" + "y" * 1000
    person = sandbox.state.create_contact("12025550190", "Z" * 5000)
    talk = sandbox.state.conversation_between(person, sandbox.state.default_channel)
    sandbox.state.receive(Note(talk, "text", text, from_business=False))
    for width in (1280, 400):
        screen.resize(width)
        screen.open(f"conversations/{talk.id}")
        screen.find(".message .text")
        assert screen.texts(".message .text") == ["x" * 4999 + "…"]
        script = "return document.querySelector('.composer').getBoundingClientRect().bottom <= innerHeight"
        screen.wait(partial(screen.run, script), "the box to write in is in sight")
        screen.click(".message .all", "Show all 6,001 characters")
        screen.wait(lambda: screen.texts(".message .text") == [text], "the whole text is shown")


def test_a_sandbox_that_starts_again_is_another_one(screen: Screen) -> None:
    """Ids begin again at a start, so a page that was open loads again and nothing is written as somebody else."""

    def served(name: str, port: int = 0) -> SandboxServer:
        server = SandboxServer(port=port)
        person = server.state.create_contact("12025550190", name)
        talk = server.state.conversation_between(person, server.state.default_channel)
        server.state.receive(Note(talk, "text", f"I am {name}", from_business=False))
        return server

    first = served("Five")
    own = Screen(screen.chrome, first.url)
    with first:
        own.open(f"conversations/{first.state.by_phone['12025550190'].conversations[0].id}")
        own.find(".message .text", "I am Five")
        own.type(".composer textarea", "half a")
        own.wait(lambda: own.run("return window.loadedOnce"), "the page is open")
    with served("Six", first.port):
        own.find(".message .text", "I am Six")
        own.wait(lambda: own.run("return window.loadedOnce === undefined"), "the page loads again")
        own.find(".composer .as", "You write as Six")
        assert own.find(".composer textarea").get_attribute("value") == ""
        own.chrome.get("about:blank")
    # It has complained about the server that was away.
    screen.complaints()


def test_everything_is_reached_by_the_keyboard(screen: Screen, sandbox: Sandbox) -> None:
    """With keys alone one finds a conversation, answers, taps a button, goes to the faults and makes one."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    fill(sandbox)
    screen.open()
    screen.find("[role=option]", "Ada Wong")
    assert sandbox.state.conversation_count() == 9

    def tab_to(words: str, *, backwards: bool = False) -> None:
        for _ in range(40):
            if words in screen.focused():
                return
            tab = ActionChains(screen.chrome)
            if backwards:
                tab.key_down(Keys.SHIFT)
            tab.send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
        pytest.fail(f"{words} is not reached; the focus is on {screen.focused()}")

    screen.press(Keys.TAB)
    assert "Skip to content" in screen.focused()
    screen.press(Keys.ENTER)
    assert "view" in screen.focused()
    tab_to("Search name or number")
    screen.press(*"ada")
    screen.wait(lambda: len(screen.texts("[role=option]")) == 1, "the list is narrowed down")
    tab_to("listbox")
    outline = screen.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    screen.press(Keys.ENTER)
    screen.wait(lambda: "Write as Ada Wong" in screen.focused(), "the box to write in has the focus")
    screen.press(*"yes", Keys.ENTER)
    screen.find(".message.mine", "yes")
    # Back over the file, and through the messages, to the buttons.
    screen.press(Keys.ESCAPE)
    screen.wait(lambda: "listbox" in screen.focused(), "the list has the focus again")
    screen.press(Keys.ENTER)
    screen.wait(lambda: "Write as Ada Wong" in screen.focused(), "the conversation is open again")
    tab_to("Tomorrow", backwards=True)
    screen.press(Keys.ENTER)
    screen.find(".message.mine", "Tomorrow")
    assert inbound(sandbox, ADA)[:2] == [("interactive", "Tomorrow"), ("text", "yes")]

    screen.open()
    tab_to("Faults")
    screen.press(Keys.ENTER)
    screen.find("h2", "Faults")
    assert "Faults" in screen.focused()
    tab_to("Add fault")
    screen.press(Keys.ENTER)
    screen.wait(lambda: len(screen.texts("tbody tr")) == 3, "the fault is in force")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_every_view_is_accessible_and_fits(screen: Screen, sandbox: Sandbox, width: int, scheme: str) -> None:
    """axe-core finds nothing serious in any view, light and dark, and at 400 pixels nothing is wider than the screen."""
    fill(sandbox)
    screen.resize(width, scheme=scheme)
    opened = (
        f"conversations/{talk_of(sandbox, ADA)}",
        f"conversations/{talk_of(sandbox, NOT_ON_WHATSAPP)}",
        f"campaigns/{sandbox.state.broadcasts[0].id}",
        "calls/webhooks",
    )
    for view in (*VIEWS, *opened):
        screen.open(view)
        css = {"faults": ".panel", "campaigns": ".campaign"}.get(view, "td, .message, [role=option]")
        screen.wait(partial(screen.look, css), f"{view} shows something")
        assert screen.grave_faults() == [], view
        assert screen.overflow() <= 0, view
    screen.open()
    screen.click("button", "New customer")
    screen.find("dialog h2")
    assert screen.grave_faults() == [], "new customer"
    assert screen.overflow() <= 0
    if width == 400:
        screen.press("\ue00c")
        screen.click(".clock-toggle")
        screen.find("#clock button", "+1 day")
        assert screen.overflow() <= 0, "clock"
        assert screen.grave_faults() == [], "clock"


def test_many_messages_at_once_leave_no_gap(screen: Screen, sandbox: Sandbox) -> None:
    """More messages than one answer holds are all shown, in their order."""
    talk = sandbox.state.by_phone[ADA].conversations[0]
    screen.open(f"conversations/{talk.id}")
    screen.find(".message", "where is my order")
    for index in range(500):
        sandbox.state.say(Note(talk, "text", f"Message {index}"))
    screen.wait(lambda: len(screen.texts(".message .text")) == 501, "all messages are shown")
    assert screen.texts(".message .text")[1:] == [f"Message {index}" for index in range(500)]


def test_a_reset_begins_again(screen: Screen, sandbox: Sandbox) -> None:
    """After a reset the page shows the new workspace, without what was there before."""
    sandbox.control("POST", "/inbound", {"phone": "12025550191", "text": "soon gone", "name": "Soon Gone"})
    screen.open()
    screen.find("[role=option]", "Soon Gone")
    sandbox.control("POST", "/reset", {})
    screen.wait(
        lambda: screen.look("[role=option]", "Ada Wong") and not screen.look("[role=option]", "Soon Gone"),
        "the new workspace is shown",
    )


@pytest.mark.skipif(SCREENSHOTS is None, reason="SANDBOX_SCREENSHOTS names no directory for the screenshots")
def test_screenshots_for_the_documentation(screen: Screen, sandbox: Sandbox) -> None:
    """The documentation's pictures are of the page as it is."""
    fill(sandbox)
    pictures = {
        "conversations": (f"conversations/{talk_of(sandbox, ADA)}", 1180, 800, "light"),
        "campaign": (f"campaigns/{sandbox.state.broadcasts[0].id}", 1180, 720, "light"),
        "faults": ("faults", 1180, 720, "light"),
        "phone": (f"conversations/{talk_of(sandbox, ADA)}", 400, 760, "dark"),
    }
    for name, (view, width, height, scheme) in pictures.items():
        screen.resize(width, height, scheme=scheme)
        screen.open(view)
        css = {"faults": "td", "campaign": "td"}.get(name, ".message img")
        screen.wait(partial(screen.look, css), f"{view} shows something")
        shot = screen.chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        data = base64.b64decode(shot["data"])
        assert len(data) < LARGEST_SCREENSHOT, name
        (Path(str(SCREENSHOTS)) / f"sandbox-{name}.png").write_bytes(data)
