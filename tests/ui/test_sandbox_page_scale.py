"""The sandbox's page with 10,000 conversations and a campaign of 100,000 recipients."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

import requests

from airflow_provider_wati.sandbox.model.campaigns import Order, Recipient, place
from airflow_provider_wati.sandbox.model.records import Note

if TYPE_CHECKING:
    from tests.conftest import Sandbox
    from tests.ui.browser import Screen

CONVERSATIONS = 10_000
RECIPIENTS = 100_000
#: No answer of the page may take so many times as long as the one that holds no rows. One that drew all rows would.
SLOWEST_ANSWER = 200
#: Elements in the list at once, however long it is.
MOST_ROWS = 60
#: What a person sees as smooth is 60 a second; a slow machine without a graphics card must still make this.
FEWEST_FRAMES = 5


def fill(sandbox: Sandbox) -> None:
    """Write 10,000 conversations, of which one is long, and send one campaign to 100,000 people."""
    state = sandbox.state
    channel = state.default_channel
    for index in range(CONVERSATIONS):
        person = state.create_contact(str(919700000001 + index), f"Customer {index + 1}", source="import")
        talk = state.conversation_between(person, channel)
        state.receive(Note(talk, "text", f"Question {index + 1}", from_business=False))
    first = state.by_phone["919700000001"].conversations[0]
    for index in range(2000):
        state.say(Note(first, "text", f"Message {index + 1}"))
    template = next(each for each in state.templates if each.name == "order_update")
    names = ("name", "order_id", "status")
    people = [
        Recipient(str(919800000001 + index), None, None, (names, f"Person {index}", str(index), "on its way"))
        for index in range(RECIPIENTS)
    ]
    place(state, Order(channel, template, "everybody", people))


def milliseconds(call: Callable[[], object]) -> float:
    """The median of five calls, after one that is not counted."""
    call()
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return median(taken)


def test_the_page_stays_usable_at_scale(screen: Screen, sandbox: Sandbox) -> None:
    """With 110,000 conversations the page paints, scrolls, searches and answers; the figures are printed."""
    fill(sandbox)
    sandbox.control("POST", "/clock", {"advance": 20})
    base = f"{sandbox.url}/_sandbox/page"
    session = requests.Session()

    def ask(path: str) -> Callable[[], object]:
        return lambda: session.get(f"{base}/{path}", timeout=30).raise_for_status()

    campaign = f"campaigns/{sandbox.state.broadcasts[0].id}"
    long_talk = sandbox.state.by_phone["919700000001"].conversations[0].id
    answers = {
        path: milliseconds(ask(path))
        for path in (
            "changes",
            "conversations?limit=50",
            "conversations?skip=100000&limit=50",
            "conversations?query=customer%2099&limit=50",
            "conversations?unread=true&limit=50",
            f"conversations/{long_talk}",
            campaign,
            f"{campaign}/recipients?limit=50",
            f"{campaign}/recipients?status=read&skip=5000&limit=50",
            f"{campaign}/recipients?query=%2B9198000999&limit=50",
            "contacts?skip=100000&limit=50",
            "contacts?query=customer%2099&limit=50",
        )
    }
    for path, taken in answers.items():
        print(f"{taken:8.1f} ms  {path.replace(campaign, 'campaigns/ID').replace(long_talk, 'ID')}")
    assert max(answers.values()) < SLOWEST_ANSWER * answers["changes"]

    screen.open()
    screen.find("[role=option]", "Hi Person")
    paint = screen.run("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
    print(f"{paint:8.1f} ms  first contentful paint")
    total = CONVERSATIONS + RECIPIENTS + 7
    assert screen.run("return document.querySelector('[role=option]').getAttribute('aria-setsize')") == str(
        total
    )
    frames = screen.chrome.execute_async_script(SCROLL)
    print(f"{frames['rate']:8.1f} frames a second while scrolling {frames['rows']} rows")
    assert frames["most"] <= MOST_ROWS
    assert frames["rate"] >= FEWEST_FRAMES
    screen.run("document.querySelector('.listbox').scrollTop = 1e9")
    screen.find("[role=option]", "Chitra Rao")

    screen.type("input[type=search]", "customer 1")
    screen.run("document.querySelector('.listbox').scrollTop = 0")
    screen.wait(lambda: "found" in screen.find(".talk-filter").text, "the search has an answer")
    screen.run(f"location.hash = '#/conversations/{long_talk}'")
    screen.find(".message", "Message 2000")
    assert len(screen.texts(".message")) < 200
    screen.run("document.querySelector('.messages').scrollTop = 0")
    screen.click("button.earlier")
    screen.find(".message", "Message 1900")

    screen.run(f"location.hash = '#/{campaign}'")
    screen.wait(lambda: len(screen.texts("tbody tr")) == 50, "a page of recipients is shown")
    screen.click(".pager button", "Next")
    screen.wait(lambda: "51–100 of 100,000" in screen.find(".pager").text, "the next page is shown")


#: Scrolls 20,000 rows in steps of 100, one for each frame, and counts the rows that are there.
SCROLL = """
const done = arguments[arguments.length - 1];
const list = document.querySelector('.listbox');
const began = performance.now();
let frames = 0;
let most = 0;
function step() {
  frames += 1;
  most = Math.max(most, list.querySelectorAll('[role=option]').length);
  list.scrollTop += 7200;
  if (frames < 200) requestAnimationFrame(step);
  else done({rate: 1000 * frames / (performance.now() - began), most, rows: list.scrollTop / 72});
}
requestAnimationFrame(step);
"""
