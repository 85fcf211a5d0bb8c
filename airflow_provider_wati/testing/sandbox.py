"""A WATI in the test: what arrived, what customers do, what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from airflow_provider_wati.testing._running import RunningSandbox, kit
from airflow_provider_wati.testing.messages import Expectation, Message, explain, person, unexpected

_PLACEHOLDER = re.compile(r"{{\s*(\w+)\s*}}")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """
    A call of WATI's API that has arrived.

    :param status: of the answer; None when the connection was broken without one.
    :param fault: the kind of fault that acted on it, None for none.
    """

    method: str
    path: str
    status: int | None
    fault: str | None

    def __str__(self) -> str:
        answer = "no answer" if self.status is None else str(self.status)
        return f"{self.method} {self.path} -> {answer}{f' (fault: {self.fault})' if self.fault else ''}"


class WatiSandbox(RunningSandbox):
    """
    A WATI for one test, in this process and on a free port; the Airflow connection leads to it.

    It is the object behind the fixture ``wati_sandbox``, and a context manager and a decorator as well. A decorated
    function gets it as the argument ``wati``, if it has one, and a fresh one with each call::

        with WatiSandbox() as wati:
            wati.received("12025550143", template="order_update")


        @WatiSandbox()
        def test_orders(wati): ...

    A new one holds a small shop: a few customers, templates and chatbots. Sandboxes can be nested, under one connection
    id (the inner one counts) or under several.

    :param conn_id: the Airflow connection that leads here while it runs.
    :param people: whether the customers of the shop are there.
    :param skip_pauses: whether pauses of the provider take no time. Its clock and the sandbox's then go ahead by them.
    :param extra: fields of the connection's extra, beside the ones that switch off the pacing of calls.
    :param settings: settings of the sandbox, such as ``plan="growth"`` or ``failed_share=0.1``.
    """

    # What arrived

    def messages(self, phone: str | None = None, *, template: str | None = None) -> list[Message]:
        """
        Return the messages that were sent to customers, oldest first; scheduled ones from their time on.

        :param phone: only those to this person: digits with the country code, ``+`` and separators are ignored; or a BSUID.
        :param template: only those of this template.
        """
        expectation = Expectation(phone=self._known(phone), template=template)
        return [message for message in self._sent() if expectation.matches(message)]

    def scheduled(self, phone: str | None = None) -> list[Message]:
        """
        Return the messages of campaigns that are scheduled and not cancelled.

        :param phone: as in :meth:`messages`.
        """
        parts, workspace = kit(), self.server.workspace
        self.sync()
        numbers = [
            number
            for campaign in workspace.state.broadcasts
            if campaign.cancelled_at is None and campaign.starts_at > workspace.clock.now()
            for number in range(campaign.first, campaign.first + campaign.count)
        ]
        expectation = Expectation(phone=self._known(phone))
        messages = [parts.message_of(workspace.state, number) for number in numbers]
        return [message for message in messages if expectation.matches(message)]

    def received(
        self,
        phone: str,
        *,
        template: str | None = None,
        text: str | re.Pattern[str] | None = None,
        params: Mapping[str, object] | None = None,
        kind: str | None = None,
        campaign: str | None = None,
        times: int | None = 1,
    ) -> list[Message]:
        """
        Assert that a person has received a message, and how often.

        :param phone: the person: digits with the country code, ``+`` and separators are ignored; or a BSUID.
        :param template: the name of its template.
        :param text: the whole text as the person reads it, or a compiled pattern that is found in it.
        :param params: parameters of its template; others may be there too.
        :param kind: ``template``, ``text``, ``interactive``, ``image``, ``document`` and so on.
        :param campaign: text in the name of its campaign.
        :param times: how many such messages there are, exactly; None for one at least.
        :return: the messages, oldest first.
        :raises AssertionError: with the message that comes nearest, as a diff, and the calls that failed.
        :raises ValueError: for what is no phone number, or one without its country code.
        """
        __tracebackhide__ = True
        expectation = Expectation(
            phone=self._known(phone),
            template=template,
            text=text,
            params={name: str(value) for name, value in (params or {}).items()},
            campaign=campaign,
            kind=kind,
        )
        sent = self._sent()
        found = [message for message in sent if expectation.matches(message)]
        if found and times is None or len(found) == times:
            return found
        reason = explain(expectation, times, sent, [str(call) for call in self.calls() if call.status != 200])
        if any(expectation.matches(message) for message in self.scheduled()):
            reason += "\nOne that fits is scheduled: let the time pass with move_clock()."
        raise AssertionError(reason)

    def nothing_received(self, phone: str | None = None) -> None:
        """
        Assert that nobody has received a message.

        :param phone: that this person has received none.
        :raises AssertionError: with the messages.
        :raises ValueError: for what is no phone number, or one without its country code.
        """
        __tracebackhide__ = True
        messages = self.messages(phone)
        if messages:
            raise AssertionError(unexpected(messages))

    def calls(self, method: str | None = None, path: str = "") -> list[ApiCall]:
        """
        Return the API calls that have arrived, oldest first; the latest 10,000 are kept.

        :param method: only those with this HTTP method.
        :param path: only those with this text in their path.
        """
        return [
            ApiCall(seen.method, seen.path, seen.status, seen.fault)
            for seen in list(self.server.workspace.requests)
            if method in (None, seen.method) and path in seen.path
        ]

    def _known(self, phone: str | None) -> str | None:
        """Return whom the phone number of an assertion means; None for everybody."""
        return None if phone is None else person(phone, self.server.state.by_phone.keys())

    def _sent(self) -> list[Message]:
        parts, state = kit(), self.server.state
        self.sync()
        return [parts.message_of(state, number) for number in state.sent()]

    # What customers do

    def customer_writes(
        self, phone: str, text: str, *, name: str | None = None, channel: str | None = None
    ) -> None:
        """
        Let a customer write, which opens the 24 hours in which they may be sent anything but templates.

        :param phone: who: a phone number, or the BSUID of somebody without one; a new one becomes a contact.
        :param text: what.
        :param name: of a new contact.
        :param channel: on which channel, by name or phone number; the default one if left out.
        """
        body = {**_whom(phone), "text": text, "name": name, "channel": channel}
        self.control("POST", "/inbound", {key: value for key, value in body.items() if value is not None})

    def taps(self, phone: str, choice: str) -> None:
        """
        Let a customer tap a button, or choose a row of a list, that the latest messages offer.

        :param choice: the text of the button, or the title of the row.
        :raises AssertionError: when no message to the customer offers it.
        """
        __tracebackhide__ = True
        parts, state = kit(), self.server.state
        phone = person(phone, self.server.state.by_phone.keys())
        if not any(choice in parts.choices_of(state, number) for number in state.sent(phone=phone)):
            sent = [str(message) for message in self.messages(phone)]
            raise AssertionError(
                f"No message to {phone} offers {choice!r}. Messages: {', '.join(sent) or 'none'}"
            )
        self.control("POST", "/inbound", {**_whom(phone), "text": choice, "type": "interactive"})

    def answers(self, phone: str, choice: str, *, after: timedelta = timedelta(0)) -> None:
        """
        Let a customer tap a button, or choose a row of a list, when a message offers it; once.

        :param choice: the text of the button, or the title of the row.
        :param after: how long after the message, by the sandbox's clock; 0 for before WATI's answer to the call that
            sends it.
        """
        self.server.answers.append(kit().Answer(person(phone), choice, after.total_seconds()))

    # What is there

    def add_template(
        self,
        name: str,
        body: str,
        *,
        params: Mapping[str, str] | None = None,
        status: str = "APPROVED",
        channel: str | None = None,
    ) -> None:
        """
        Add a template, or change the one of that name.

        :param body: its text, with ``{{name}}`` for parameters.
        :param params: example values of the parameters; all that the text uses, if left out.
        :param status: ``APPROVED``, ``PENDING`` or ``REJECTED``.
        :param channel: the one channel of a new template; all of them if left out.
        """
        values = dict.fromkeys(_PLACEHOLDER.findall(body), "example") if params is None else dict(params)
        template = {"status": status, "body": body, "params": values, "channel": channel}
        self.control("PUT", f"/templates/{name}", template)

    def add_contact(
        self,
        phone: str,
        name: str | None = None,
        *,
        custom_params: Mapping[str, str] | None = None,
        allow_broadcast: bool = True,
    ) -> None:
        """
        Add a contact, or change the one with that phone number.

        :param custom_params: its attributes.
        :param allow_broadcast: false for somebody who has opted out of campaigns.
        """
        contact: dict[str, Any] = {**_whom(phone), "allow_broadcast": allow_broadcast}
        contact |= {"name": name} if name else {}
        contact |= {} if custom_params is None else {"custom_params": dict(custom_params)}
        self.control("POST", "/contacts", {"contacts": [contact]})

    # What goes wrong

    def fails(self, endpoint: str, fault: str | int = 500, *, times: int | None = 1, **options: Any) -> None:
        """
        Make calls go wrong.

        :param endpoint: the end of their path, with the method before it if it matters: ``"messageTemplates/send"``,
            ``"POST /contacts"``. ``*`` stands for any text.
        :param fault: an HTTP status, or a kind of fault: ``drop``, ``delay``, ``garbage`` and so on.
        :param times: how many calls go wrong; None for all from now on.
        :param options: of the fault: ``when="after"`` (WATI acts, and the answer is lost), ``seconds``,
            ``retry_after``, ``numbers``, ``skip`` and so on.
        :raises ValueError: for a fault that does not exist, or an option that does not fit.
        """
        method, _, path = endpoint.rpartition(" ")
        method = method.strip().upper()
        kind = {"kind": "status", "status": fault} if isinstance(fault, int) else {"kind": fault}
        rule = {**kind, "method": method or "*", "path": f"*{path}", "count": times, **options}
        self.control("POST", "/faults", rule)

    def recovers(self) -> None:
        """Let nothing go wrong any more."""
        self.control("DELETE", "/faults")


def _whom(phone: str) -> dict[str, str]:
    """Name a person to the sandbox's API."""
    address = person(phone)
    return {"phone" if address.isdecimal() else "bsuid": address}
