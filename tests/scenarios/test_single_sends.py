"""Single sends over the sandbox: one message for one person, however often Airflow runs the task (A1-A7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wati._compat import AirflowFailException
from airflow_provider_wati.client import WatiClient
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiConfigurationError,
    WatiConflictError,
    WatiError,
    WatiRateLimitError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
)
from airflow_provider_wati.operators.chatbots import WatiStartChatbotOperator
from airflow_provider_wati.operators.contacts import WatiCreateContactOperator
from airflow_provider_wati.operators.messages import (
    WatiSendButtonsOperator,
    WatiSendFileOperator,
    WatiSendFileUrlOperator,
    WatiSendTextOperator,
)
from tests.conftest import Sandbox
from tests.support.late_clock import LateClock
from tests.support.tasks import Store

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_wati.operators._base import WatiOperator
    from tests.support.tasks import Execute

ADA, BEN, NEW = "12025550143", "12025550144", "85264318722"
BOT = "65b7a1c2c4a7b07000000001"
HELLO = "Hello Ada"
SUPPORT = "16505550101"


@pytest.fixture
def sandbox(quick_sandbox: Sandbox) -> Sandbox:
    """The sandbox of the module, as good as new."""
    return quick_sandbox


@pytest.fixture(params=["task_state_store", "state_path"])
def memory(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the journal is: both places have to do the same."""
    if request.param == "state_path":
        monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path / "state"))
    return str(request.param)


@pytest.fixture
def state_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep journals in a directory."""
    monkeypatch.setenv("AIRFLOW__WATI__STATE_PATH", str(tmp_path / "state"))


def text(target: str = ADA, **more: Any) -> WatiSendTextOperator:
    """A task that sends a text."""
    return WatiSendTextOperator(task_id="send", target=target, **{"text": HELLO, **more})


def chatbot(target: str = ADA, **more: Any) -> WatiStartChatbotOperator:
    """A task that starts a chatbot."""
    return WatiStartChatbotOperator(task_id="start", target=target, chatbot_id=BOT, **more)


def die(*_: Any, **__: Any) -> None:
    """Stand for a call before which the worker dies."""
    raise KeyboardInterrupt


def lose(sandbox: Sandbox, path: str = "*/messages/text", when: str = "before") -> None:
    """Lose the answer to the next call, with or without its effect."""
    sandbox.fault("drop", method="POST", path=path, when=when, count=1)


def refuse(sandbox: Sandbox, path: str = "*/messages/text") -> None:
    """Answer 429 to the attempts of the next call."""
    sandbox.fault("status", status=429, method="POST", path=path, count=10)


def recover(sandbox: Sandbox) -> None:
    """Let nothing go wrong any more."""
    sandbox.control("DELETE", "/faults")


# A1


@pytest.mark.parametrize("seconds", [33, 110])
def test_a_message_that_wati_sends_late_is_waited_for(
    seconds: int, execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A1: the effect comes 33 or 110 s after a call without an answer, the retry comes at once: one message."""
    store = Store()
    lose(sandbox)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(), store=store)
    late_clock.after(seconds, lambda: sandbox.client().send_text(ADA, HELLO))
    assert execute(text(), store=store, try_number=2)["id"] == sandbox.messages_to(ADA)[0]["message_id"]
    assert sandbox.texts_to(ADA) == [HELLO]


def test_the_grace_is_a_setting_and_longer_than_a_call(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A1: ``[wati] unknown_grace`` holds for single sends, and one that ends before a call may is refused."""
    store = Store()
    lose(sandbox)
    monkeypatch.setenv("AIRFLOW__WATI__UNKNOWN_GRACE", "600")
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(), store=store)
    late_clock.after(590, lambda: sandbox.client().send_text(ADA, HELLO))
    execute(text(), store=store, try_number=2)
    assert sandbox.texts_to(ADA) == [HELLO]
    monkeypatch.setenv("AIRFLOW__WATI__UNKNOWN_GRACE", "3")
    with pytest.raises(WatiConfigurationError, match="give a longer grace"):
        execute(text(BEN))
    assert sandbox.texts_to(BEN) == []


def test_an_upload_is_waited_for_from_its_end(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A1: a process that dies after a long upload leaves a call whose grace has not run meanwhile."""
    from requests import Session

    class Killed(BaseException):
        """The process is gone."""

    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF-1.4")
    send = Session.request

    def slow(session: Session, method: str, url: str, **options: Any) -> Any:
        if url.endswith("/messages/file"):
            late_clock.advance(600)
            raise Killed
        return send(session, method, url, **options)

    operator = WatiSendFileOperator(task_id="send", target=ADA, path=str(path), caption="Invoice")
    store = Store()
    with monkeypatch.context() as patch:
        patch.setattr(Session, "request", slow)
        with pytest.raises(Killed):
            execute(operator, store=store)

    def arrive() -> None:
        with path.open("rb") as file:
            sandbox.client().send_file(
                ADA, file, file_name="a.pdf", mime_type="application/pdf", caption="Invoice"
            )

    late_clock.after(100, arrive)
    execute(operator, store=store, try_number=2)
    assert sandbox.texts_to(ADA) == ["Invoice"]


def test_what_never_appears_is_sent_once_more_and_no_third_time(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """After the grace without contrary evidence there is one resend in the life of a send."""
    store = Store()
    for try_number in (1, 2):
        lose(sandbox)
        with pytest.raises(WatiUnknownOutcomeError):
            execute(text(), store=store, try_number=try_number)
    with pytest.raises(WatiUnknownOutcomeError, match="sent again once already"):
        execute(text(), store=store, try_number=3)
    assert len([each for each in sandbox.requests("POST") if each.endswith("/text")]) == 2


# A2


def expand(
    execute: Execute, people: list[str], stores: list[Store], errors: dict[str, type[WatiError]], **how: Any
) -> None:
    """Run a mapped task for people, of whom some fail."""
    make = how.pop("make", text)
    for index, person in enumerate(people):
        attempt = {"store": stores[index], "map_index": index, **how}
        if person in errors:
            with pytest.raises(errors[person]):
                execute(make(person), **attempt)
        else:
            execute(make(person), **attempt)


def test_people_in_another_order_after_a_clear_have_one_message_each(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A2: Ada was sent to and Ben was not; after Clear the upstream task gives the other order: one message each."""
    stores = [Store(), Store()]
    refuse_ben = {"method": "POST", "contains": BEN, "count": 10}
    sandbox.fault("status", status=429, **refuse_ben)
    expand(execute, [ADA, BEN], stores, {BEN: WatiRateLimitError})
    recover(sandbox)
    expand(execute, [BEN, ADA], stores, {}, try_number=2, clears=1)
    assert (sandbox.texts_to(ADA), sandbox.texts_to(BEN)) == ([HELLO], [HELLO])


def test_a_chatbot_in_another_order_is_started_where_the_journals_tell(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, state_path: None
) -> None:
    """A2: with a state path the journals of the other mapped tasks tell who has had the chatbot."""
    stores = [Store(), Store()]
    sandbox.fault("status", status=400, path="*/chatbots/start", contains=BEN, count=1)
    expand(execute, [ADA, BEN], stores, {BEN: WatiBadRequestError}, make=chatbot)
    expand(execute, [BEN, ADA], stores, {}, make=chatbot, try_number=2, clears=1)
    assert (len(sandbox.texts_to(ADA)), len(sandbox.texts_to(BEN))) == (1, 1)


def test_a_chatbot_in_another_order_is_held_where_nothing_tells(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """A2: Airflow's store is one per map index, so a chatbot for another person fails, unless the user says ``start``."""
    stores = [Store(), Store()]
    expand(execute, [ADA, BEN], stores, {}, make=chatbot)
    with pytest.raises(AirflowFailException, match="clear the task with on_unknown='start'"):
        execute(chatbot(ADA), store=stores[1], map_index=1, try_number=2, clears=1)
    assert len(sandbox.texts_to(ADA)) == 1
    execute(chatbot(ADA, on_unknown="start"), store=stores[1], map_index=1, try_number=3, clears=2)
    assert len(sandbox.texts_to(ADA)) == 2


def test_a_mapped_task_that_is_new_after_a_clear_knows_who_was_sent_to(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A2: Ada moves to a map index that was not there before: she has one message, and so has the new person."""
    stores = [Store(), Store()]
    expand(execute, [ADA], stores, {})
    execute(text(BEN), store=stores[0], map_index=0, try_number=2, clears=1)
    execute(text(ADA), store=stores[1], map_index=1, try_number=1, clears=1)
    assert (sandbox.texts_to(ADA), sandbox.texts_to(BEN)) == ([HELLO], [HELLO])


# A3


def test_two_deployments_with_one_state_path_do_not_see_each_other(
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    state_path: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A3: dev and prod have the same DAG, run and task ids and one directory, and each sends to its own account."""
    execute(text())
    with Sandbox() as prod:
        connection = {
            "conn_type": "wati",
            "host": prod.endpoint,
            "password": prod.token,
            "extra": {"timeout": [2, 2]},
        }
        monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
        execute(text(), has_store=False)
        assert isinstance(prod, Sandbox)
        assert prod.texts_to(ADA) == [HELLO]
    assert sandbox.texts_to(ADA) == [HELLO]


# A4


@pytest.mark.parametrize("make", [text, chatbot], ids=["text", "chatbot"])
def test_an_attempt_that_did_not_come_to_its_send_leaves_nothing_to_look_for(
    make: Callable[[], WatiOperator],
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    memory: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A4: the connection was missing; in a backfill another run's same message is not taken for this one's."""
    dates = {"start_date": datetime.now(UTC), "run_after": datetime(2026, 1, 1, tzinfo=UTC)}
    execute(make(), run_id="another run", run_dates=dates)
    store = Store()
    with monkeypatch.context() as patch:
        patch.delenv("AIRFLOW_CONN_WATI_DEFAULT")
        with pytest.raises(Exception, match="wati_default"):
            execute(make(), store=store, run_dates=dates)
    execute(make(), store=store, try_number=2, run_dates=dates)
    assert len(sandbox.texts_to(ADA)) == 2


def test_a_lost_journal_is_looked_behind_no_further_than_the_run(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """A4: in a backfill the run began today, so another run's same message of yesterday is not this one's."""
    sandbox.client().send_text(ADA, HELLO)
    sandbox.state.messages.created[-1] -= 24 * 3600
    dates = {"start_date": late_clock.now(), "run_after": datetime(2026, 1, 1, tzinfo=UTC)}
    execute(text(retries=0), has_store=False, try_number=2, run_dates=dates)
    assert sandbox.texts_to(ADA) == [HELLO, HELLO]


# A5


def test_a_refusal_does_not_erase_an_older_ambiguous_call(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A5: the first call takes effect after its grace, the resend draws a 429: the third attempt finds the message."""
    store = Store()
    lose(sandbox)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(), store=store)
    refuse(sandbox)
    with pytest.raises(WatiRateLimitError):
        execute(text(), store=store, try_number=2)
    recover(sandbox)
    sandbox.client().send_text(ADA, HELLO)
    execute(text(), store=store, try_number=3)
    assert sandbox.texts_to(ADA) == [HELLO]


# A6


def listed(sandbox: Sandbox, **fields: Any) -> None:
    """Let the conversation list the latest message in another way."""
    [shown] = list(sandbox.client().iter_messages(ADA))[:1]
    message = {**shown, **fields}
    sandbox.fault("answer", method="GET", path="*/messages", answer={"message_list": [message]})


@pytest.mark.parametrize(
    ("operator", "fields"),
    [
        (WatiSendFileUrlOperator, {"type": "document"}),
        (WatiSendFileUrlOperator, {"type": "image", "text": " A map\r\n"}),
        (WatiSendTextOperator, {"text": "Hello  Ada "}),
        (WatiSendButtonsOperator, {"type": "interactive", "text": "Today?"}),
    ],
)
def test_a_message_that_wati_lists_in_another_way_is_found(
    operator: type[Any], fields: dict[str, Any], execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """A6: an image listed as a document, and texts in other forms, are not sent again."""
    arguments: Any = {
        WatiSendFileUrlOperator.__name__: {"file_url": "https://example.com/map.png", "caption": "A map"},
        WatiSendTextOperator.__name__: {"text": HELLO},
        WatiSendButtonsOperator.__name__: {"body": "Today?", "buttons": ["Yes", "No"]},
    }[operator.__name__]
    task = operator(task_id="send", target=ADA, **arguments)
    store = Store()
    sandbox.fault("drop", method="POST", when="after", count=1)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(task, store=store)
    listed(sandbox, **fields)
    execute(task, store=store, try_number=2)
    assert len(sandbox.messages_to(ADA)) == 1


@pytest.mark.parametrize(
    "fields", [{"text": None}, {"type": "voice", "text": ""}, {"type": "session"}, {"owner": None}]
)
def test_what_wati_lists_too_little_of_is_neither_sent_again_nor_green(
    fields: dict[str, Any], execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """A6: an inconclusive message stops the send and fails the task, which says where to look."""
    url = "https://example.com/a.ogg"
    task = WatiSendFileUrlOperator(task_id="send", target=ADA, file_url=url, caption="A note")
    store = Store()
    sandbox.fault("drop", method="POST", when="after", count=1)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(task, store=store)
    listed(sandbox, **fields)
    with pytest.raises(WatiUnknownOutcomeError, match="does not show enough to say"):
        execute(task, store=store, try_number=2)
    assert len(sandbox.messages_to(ADA)) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_file_of_another_task_is_not_taken_for_this_one(
    when: str, execute: Execute, sandbox: Sandbox, late_clock: LateClock, tmp_path: Path
) -> None:
    """Two tasks upload a PDF without a caption each: the one whose answer was lost is known by its name, or not green."""

    def upload(name: str) -> WatiSendFileOperator:
        (tmp_path / name).write_bytes(b"%PDF-1.4")
        return WatiSendFileOperator(task_id=f"send_{name}", target=ADA, path=str(tmp_path / name))

    store = Store()
    lose(sandbox, path="*/messages/file", when=when)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(upload("contract.pdf"), store=store)
    execute(upload("invoice.pdf"))
    if when == "after":
        execute(upload("contract.pdf"), store=store, try_number=2)
    else:
        with pytest.raises(WatiUnknownOutcomeError, match="does not show enough to say"):
            execute(upload("contract.pdf"), store=store, try_number=2)
    assert len(sandbox.messages_to(ADA)) == (2 if when == "after" else 1)


def test_a_solved_conversation_and_another_channel_hide_nothing(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """A6: the conversation was solved and the person wrote on another channel: the message is found."""
    store = Store()
    lose(sandbox, when="after")
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(), store=store)
    sandbox.client().update_conversation_status(ADA, "solved")
    sandbox.control("POST", "/inbound", {"phone": ADA, "text": "Hi", "channel": "Support"})
    execute(text(), store=store, try_number=2)
    assert sandbox.texts_to(ADA) == [HELLO]


@pytest.mark.parametrize("minutes", [2, -2])
def test_a_worker_whose_clock_differs_finds_its_message(
    minutes: int, execute: Execute, sandbox: Sandbox, late_clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A6: WATI's answers tell how far the clocks differ."""
    monkeypatch.setattr(LateClock, "now", lambda _: datetime.now(UTC) + timedelta(minutes=minutes))
    store = Store()
    lose(sandbox, when="after")
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(), store=store)
    execute(text(), store=store, try_number=2)
    assert sandbox.texts_to(ADA) == [HELLO]


def test_words_of_an_agent_that_contain_the_body_are_not_the_message(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """A6: an agent's text around the same words does not make the task green without a message."""
    store = Store()
    task = WatiSendButtonsOperator(task_id="send", target=ADA, body="Today?", buttons=["Yes", "No"])
    lose(sandbox, path="*/interactive")
    with pytest.raises(WatiUnknownOutcomeError):
        execute(task, store=store)
    sandbox.client().send_text(ADA, "Shall we come Today? Yes or No?")
    execute(task, store=store, try_number=2)
    assert [each["type"] for each in sandbox.messages_to(ADA)] == ["text", "interactive"]


# A7


@pytest.mark.parametrize(
    "answer",
    [{"result": False}, {"result": "false"}, {"success": False}, {"ok": 0}, {"code": 400, "message": "no"}],
)
def test_a_refusal_inside_a_200_is_not_green(
    answer: dict[str, Any], execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """A7: an answer that says no is a refusal, whatever message comes along; the next attempt sends."""
    store = Store()
    sandbox.fault("answer", method="POST", answer={"message": {"id": "m"}, **answer}, count=1)
    with pytest.raises(WatiRejectedError):
        execute(text(), store=store)
    execute(text(), store=store, try_number=2)
    assert sandbox.texts_to(ADA) == [HELLO]


def test_a_contact_that_was_there_before_is_green_in_no_attempt(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A7: 400 "already exists" stays red, and a lost answer does not make another name green."""
    store = Store()
    task = WatiCreateContactOperator(task_id="create", phone_number=ADA, name="Somebody Else")
    for try_number in (1, 2):
        with pytest.raises(WatiBadRequestError, match="already exists"):
            execute(task, store=store, try_number=try_number)
    lose(sandbox, path="*/contacts")
    with pytest.raises(WatiUnknownOutcomeError):
        execute(task, store=store, try_number=3)
    with pytest.raises(WatiConflictError, match="WatiUpsertContactOperator"):
        execute(task, store=store, try_number=4)
    assert sandbox.state.by_phone[ADA].name == "Ada Wong"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_contact_is_created_once(
    when: str, execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A lost answer to a create is settled by looking the contact up."""
    store = Store()
    task = WatiCreateContactOperator(
        task_id="create", phone_number=NEW, name="Bob", custom_params={"tier": "gold"}
    )
    lose(sandbox, path="*/contacts", when=when)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(task, store=store)
    assert execute(task, store=store, try_number=2)["name"] == "Bob"
    assert execute(task, store=store, try_number=3)["id"] == sandbox.state.by_phone[NEW].id


# Keys and state


def test_an_own_key_needs_a_state_path(execute: Execute, sandbox: Sandbox, late_clock: LateClock) -> None:
    """Other runs may send under it and have to find its journal: without a directory nothing is called."""
    for operator in (text(send_key="promo"), chatbot(send_key="promo")):
        with pytest.raises(WatiConfigurationError, match="state_path"):
            execute(operator)
    assert sandbox.requests() == []


@pytest.mark.parametrize("make", [text, chatbot], ids=["text", "chatbot"])
def test_an_own_key_sends_once_over_all_runs(
    make: Callable[..., WatiOperator],
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    state_path: None,
) -> None:
    """The first run sends, also a chatbot; later runs return its result; another key sends again on purpose."""
    results = [execute(make(send_key="promo"), run_id=run) for run in ("a", "b", "c")]
    assert results == results[:1] * 3
    assert len(sandbox.texts_to(ADA)) == 1
    execute(make(send_key="another"))
    assert len(sandbox.texts_to(ADA)) == 2


@pytest.mark.parametrize(("first", "then"), [(0, -1), (-1, 0), (0, 1)])
@pytest.mark.parametrize("is_lost", [False, True], ids=["answered", "lost"])
def test_an_own_key_sends_once_though_the_task_is_mapped_in_some_runs(
    first: int,
    then: int,
    is_lost: bool,
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    state_path: None,
) -> None:
    """What a mapped task has sent under a key of the user's own is known to a task that is not mapped, and vice versa."""
    if is_lost:
        lose(sandbox, when="after")
        with pytest.raises(WatiUnknownOutcomeError):
            execute(text(send_key="promo"), map_index=first, run_id="a")
    else:
        execute(text(send_key="promo"), map_index=first, run_id="a")
    execute(text(send_key="promo"), map_index=then, run_id="b")
    assert sandbox.texts_to(ADA) == [HELLO]


def test_an_own_key_with_other_content_of_a_mapped_task_is_refused(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, state_path: None
) -> None:
    """A task that is not mapped any more sends no second text under the key by which a mapped one has sent."""
    execute(text(send_key="promo"), map_index=0, run_id="a")
    with pytest.raises(WatiConfigurationError, match="a message with other content"):
        execute(text(send_key="promo", text="Another text"), run_id="b")
    assert sandbox.texts_to(ADA) == [HELLO]


def test_an_own_key_with_other_content_is_refused(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, state_path: None
) -> None:
    """A key names one message: another text under it is an error, and not a second message."""
    execute(text(send_key="promo"))
    with pytest.raises(WatiConfigurationError, match="a message with other content"):
        execute(text(send_key="promo", text="Another text"), run_id="b")
    assert sandbox.texts_to(ADA) == [HELLO]


def test_an_own_key_with_another_picture_is_refused(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, state_path: None
) -> None:
    """The picture above the buttons is content too; another address of the same picture is not another one."""

    def ask(url: str) -> WatiSendButtonsOperator:
        header = {"type": "image", "media": {"url": url}}
        buttons = ["Yes", "No"]
        return WatiSendButtonsOperator(
            task_id="ask", target=ADA, body="Take it?", buttons=buttons, header=header, send_key="promo"
        )

    execute(ask("https://x.example/1.png?signature=a"))
    execute(ask("https://cdn.example/b/1.png?signature=c"), run_id="b")
    with pytest.raises(WatiConfigurationError, match="a message with other content"):
        execute(ask("https://x.example/2.png"), run_id="c")
    assert len(sandbox.messages_to(ADA)) == 1


def test_a_file_is_the_same_content_in_another_directory(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, state_path: None
) -> None:
    """A file is known by its name and caption, because its directory may change with each attempt."""

    def upload(url: str) -> WatiSendFileUrlOperator:
        return WatiSendFileUrlOperator(task_id="send", target=ADA, file_url=url, send_key="invoice")

    execute(upload("https://x.example/tmp1/invoice.pdf"))
    execute(upload("https://x.example/tmp2/invoice.pdf"), run_id="b")
    with pytest.raises(WatiConfigurationError, match="a message with other content"):
        execute(upload("https://x.example/tmp2/invoice-1002.pdf"), run_id="c")
    assert len(sandbox.messages_to(ADA)) == 1


def test_an_own_key_is_one_message_for_each_person(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, state_path: None
) -> None:
    """What one person got under a key proves nothing about another one."""
    execute(text(ADA, send_key="promo"))
    execute(text(BEN, send_key="promo"), run_id="b")
    assert (sandbox.texts_to(ADA), sandbox.texts_to(BEN)) == ([HELLO], [HELLO])


def test_airflow_without_a_store_needs_a_state_path_for_retries(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """Airflow 3.1 and 3.2 remember nothing: a task with retries says so before anything is called."""
    with pytest.raises(WatiConfigurationError, match="set retries=0"):
        execute(text(retries=2), has_store=False)
    assert sandbox.requests() == []
    execute(text(retries=0), has_store=False)
    assert sandbox.texts_to(ADA) == [HELLO]


def test_airflow_without_a_store_looks_after_a_clear(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """Without any journal a Clear looks since the run began, and waits for what is late."""
    began = {"start_date": late_clock.now(), "run_after": late_clock.now()}
    lose(sandbox)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(retries=0), has_store=False, run_dates=began)
    late_clock.after(100, lambda: sandbox.client().send_text(ADA, HELLO))
    execute(text(retries=0), has_store=False, try_number=2, clears=1, run_dates=began)
    assert sandbox.texts_to(ADA) == [HELLO]


def test_a_clear_that_discards_the_state_is_looked_behind(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """Airflow 3.4 discards its store with a Clear: the message is found in WATI, or known by the directory."""
    began = {"start_date": late_clock.now(), "run_after": late_clock.now()}
    execute(text(), run_dates=began)
    late_clock.advance(3600)
    cleared = {"start_date": late_clock.now(), "run_after": began["run_after"]}
    execute(text(), store=Store(), try_number=2, clears=1, run_dates=cleared)
    assert sandbox.texts_to(ADA) == [HELLO]


def test_a_reschedule_without_a_new_try_number_is_another_part_of_the_attempt(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """Airflow 3.4 runs a rescheduled task under the same try number: what its first part did is known."""
    store = Store()
    lose(sandbox, when="after")
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(), store=store)
    execute(text(), store=store, reschedules=1)
    execute(text(), store=store, reschedules=2)
    assert sandbox.texts_to(ADA) == [HELLO]


def test_each_iteration_of_a_loop_is_a_send_of_its_own(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """Airflow 3.4 repeats a task in a loop; each iteration sends once, also over its retries."""
    stores = [Store(), Store()]
    for loop, store in enumerate(stores):
        execute(text(), store=store, loop=loop)
        execute(text(), store=store, loop=loop, try_number=2)
    assert sandbox.texts_to(ADA) == [HELLO, HELLO]


def test_a_loop_whose_run_was_cleared_sends_nothing_again(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A cleared run makes later iterations as if they had never been: try number 1, no store."""
    began = {"start_date": late_clock.now(), "run_after": late_clock.now()}
    execute(text(), loop=1, run_dates=began)
    execute(text(), loop=1, store=Store(), clears=1, run_dates=began)
    assert sandbox.texts_to(ADA) == [HELLO]


@pytest.mark.parametrize("make", [text, chatbot], ids=["text", "chatbot"])
def test_another_key_sends_again_on_purpose(
    make: Callable[..., WatiOperator],
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    state_path: None,
) -> None:
    """After a Clear with another send_key the same thing goes out once more, and once only."""
    execute(make())
    for send_key in ("a", "b", "a", "b", None):
        execute(make(send_key=send_key), try_number=2, clears=1)
    assert len(sandbox.texts_to(ADA)) == 3


def test_a_chatbot_whose_answer_was_lost_is_held_until_the_user_says_start(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """WATI shows no start, so a second one needs a person's word, and costs no waiting before."""
    store = Store()
    lose(sandbox, path="*/chatbots/start", when="after")
    for try_number in (1, 2):
        with pytest.raises(AirflowFailException):
            execute(chatbot(), store=store, try_number=try_number)
    assert (len(sandbox.texts_to(ADA)), late_clock.sleeps) == (1, [])
    execute(chatbot(on_unknown="start"), store=store, try_number=3)
    execute(chatbot(on_unknown="start"), store=store, try_number=4)
    assert len(sandbox.texts_to(ADA)) == 2


def test_content_that_changes_with_each_attempt_is_sent_once(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A text with the time in it: the one whose answer was lost is known by its fingerprint, so the other is refused."""
    store = Store()
    lose(sandbox, when="after")
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(text="It is 10:00"), store=store)
    with pytest.raises(WatiConfigurationError, match="a message with other content"):
        execute(text(text="It is 10:05"), store=store, try_number=2)
    assert sandbox.texts_to(ADA) == ["It is 10:00"]


def test_a_message_that_failed_is_sent_again(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, memory: str
) -> None:
    """A message whose answer was lost and that WATI lists as failed has not arrived."""
    store = Store()
    lose(sandbox, when="after")
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(), store=store)
    listed(sandbox, status="FAILED")
    execute(text(), store=store, try_number=2)
    assert len(sandbox.texts_to(ADA)) == 2


def test_a_chatbot_whose_task_died_before_its_call_is_started_after_a_clear(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WATI shows no chatbot, and the task had the same person before: it is started."""
    store = Store()
    with monkeypatch.context() as patch:
        patch.setattr(WatiClient, "start_chatbot", die)
        with pytest.raises(KeyboardInterrupt):
            execute(chatbot(), store=store, map_index=0)
    execute(chatbot(), store=store, map_index=0, try_number=2, clears=1)
    assert len(sandbox.texts_to(ADA)) == 1


def test_two_texts_change_places_after_one_task_died_before_its_call(
    execute: Execute,
    sandbox: Sandbox,
    late_clock: LateClock,
    state_path: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task that left no call has, after a Clear, the text that another mapped task has sent: it is not sent again."""
    with monkeypatch.context() as patch:
        patch.setattr(WatiClient, "send_text", die)
        with pytest.raises(KeyboardInterrupt):
            execute(text(text="One"), map_index=0)
    execute(text(text="Two"), map_index=1)
    late_clock.advance(600)
    execute(text(text="Two"), map_index=0, try_number=2, clears=1)
    assert sandbox.texts_to(ADA) == ["Two"]


def test_two_texts_change_places_within_the_grace(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock
) -> None:
    """The grace of a text counts from now where another mapped task may have had it: WATI shows it 33 s late."""
    stores = [Store(), Store()]
    sandbox.fault("status", status=400, method="POST", path="*/messages/text", count=1)
    with pytest.raises(WatiBadRequestError):
        execute(text(text="One"), store=stores[0], map_index=0)
    late_clock.advance(600)
    lose(sandbox)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(text="Two"), store=stores[1], map_index=1)
    late_clock.after(33, lambda: sandbox.client().send_text(ADA, "Two"))
    execute(text(text="Two"), store=stores[0], map_index=0, try_number=2, clears=1)
    late_clock.sleep(60)
    assert sandbox.texts_to(ADA) == ["Two"]


def test_an_own_key_gives_one_person_one_content_in_all_runs(
    execute: Execute, sandbox: Sandbox, state_path: None
) -> None:
    """Another mapped task of a later run has another text for the person under the same key: it is refused."""
    execute(text(text="One", send_key="promo"), map_index=0, run_id="a")
    with pytest.raises(WatiConfigurationError, match="a message with other content"):
        execute(text(text="Two", send_key="promo"), map_index=1, run_id="b")
    assert sandbox.texts_to(ADA) == ["One"]


def test_a_lost_text_is_sent_once_more_beside_another_text_of_another_mapped_task(
    execute: Execute, sandbox: Sandbox, late_clock: LateClock, state_path: None
) -> None:
    """A person is moved away from a task and back: the call there says that the text has not changed."""
    execute(text(text="One"), map_index=0)
    lose(sandbox)
    with pytest.raises(WatiUnknownOutcomeError):
        execute(text(text="Two"), map_index=1)
    execute(text(BEN, text="Three"), map_index=1, try_number=2, clears=1)
    late_clock.advance(600)
    execute(text(text="Two"), map_index=1, try_number=3, clears=2)
    assert sorted(sandbox.texts_to(ADA)) == ["One", "Two"]
