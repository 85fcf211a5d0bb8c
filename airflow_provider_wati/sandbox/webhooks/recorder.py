"""Turns what happens in the workspace into events for those who are subscribed to them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.sandbox.model.records import Note
from airflow_provider_wati.sandbox.webhooks import event_types as types, payloads
from airflow_provider_wati.sandbox.webhooks.courses import Course, Courses
from airflow_provider_wati.sandbox.webhooks.deliveries import Deliveries, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_wati.sandbox.model.records import (
        Broadcast,
        Channel,
        Chatbot,
        Conversation,
        Template,
        Webhook,
    )
    from airflow_provider_wati.sandbox.model.state import State
    from airflow_provider_wati.sandbox.model.status import Standing

_SESSION_EVENTS = {
    "sent": types.SESSION_SENT,
    "failed": types.SESSION_FAILED,
    "delivered": types.DELIVERED,
    "read": types.READ,
}
_TEMPLATE_EVENTS = _SESSION_EVENTS | {"sent": types.TEMPLATE_SENT, "failed": types.TEMPLATE_FAILED}
_ON_THE_WAY = ("sent", "delivered", "read")


class Recorder:
    """
    Listens to the workspace.

    :param state: what it listens to.
    :param deliveries: where events go.
    """

    def __init__(self, state: State, deliveries: Deliveries) -> None:
        self._state = state
        self._deliveries = deliveries
        self.courses: Courses = Courses(state)

    # What happens

    def said(self, number: int) -> None:
        """Follow a message to a customer that is not a template."""
        note = self._state.messages.content[number]
        if isinstance(note, Note):
            created = self._state.messages.created[number]
            self.courses.begin(Course(created, note.conversation.channel, number, 1, is_template=False))

    def broadcast_started(self, broadcast: Broadcast) -> None:
        """Follow the messages of a campaign."""
        self.courses.begin(
            Course(
                broadcast.starts_at,
                broadcast.channel,
                broadcast.first,
                broadcast.count,
                is_template=True,
                replied=broadcast.replied,
            )
        )

    def received(self, number: int, *, is_first: bool) -> None:
        """
        Tell of a customer's message.

        :param is_first: of a person who became a contact by writing (documented as a new contact).
        """
        channel = self._channel_of(number)
        if is_first:
            self._tell(types.NEW_CONTACT, channel, number)
        self._tell(types.MESSAGE, channel, number)

    def replied(self, number: int, before: Standing) -> None:
        """
        Tell of a campaign's message that was answered.

        Who answers has received and read it, so what was not told yet is told first (inferred).
        """
        channel = self._channel_of(number)
        told = _ON_THE_WAY.index(before.status)
        for status in _ON_THE_WAY[told + 1 :]:
            self._tell(_TEMPLATE_EVENTS[status], channel, number)
        self._tell(types.REPLIED, channel, number)

    def chatbot_started(self, talk: Conversation, chatbot: Chatbot) -> None:
        self._tell_all(
            types.CHATBOT_TRIGGERED,
            talk.channel,
            talk.contact.number,
            lambda name: partial(payloads.chatbot_payload, self._state, name, talk, chatbot),
        )

    def template_changed(self, template: Template, old_status: str) -> None:
        """Tell of a template's new status, on each channel that has it."""
        if template.status == old_status:
            return
        for channel in template.channels:
            payload = payloads.review_payload(template, channel, old_status)
            self._tell_all(types.TEMPLATE_REVIEWED, channel, template.number, _always(payload.copy))

    def send_by_hand(self, event_type: str, channel: Channel, payload: dict[str, Any]) -> int:
        """
        Send a payload to those who are subscribed to an event.

        :return: how many deliveries that makes.
        """
        before = self._deliveries.waiting
        now = self._state.clock.now()
        for webhook, _ in self._deliveries.subscribers((event_type,), channel):
            self._deliveries.add(webhook, Event(event_type, len(event_type), payload.copy), now)
        return self._deliveries.waiting - before

    # The course of time

    def advance(self) -> None:
        """Tell of every status that has been reached by now, oldest first, unless too many deliveries are waiting."""
        now = self._state.clock.now()
        while not self._deliveries.is_crowded and (due := self.courses.take_due(now)) is not None:
            course, step, moment = due
            names = (_TEMPLATE_EVENTS if course.is_template else _SESSION_EVENTS)[step.status]
            subscribers = self._deliveries.subscribers(types.names_of(names), course.channel)
            if subscribers:
                for number in self.courses.messages_of(course, step):
                    self._deliver(subscribers, number, moment)

    # Deliveries

    def _tell(self, name: str, channel: Channel, number: int) -> None:
        subscribers = self._deliveries.subscribers(types.names_of(name), channel)
        self._deliver(subscribers, number, self._state.clock.now())

    def _deliver(self, subscribers: Iterable[tuple[Webhook, str]], number: int, moment: float) -> None:
        person = self._state.messages.contact[number]
        for webhook, name in subscribers:
            payload = partial(payloads.message_payload, self._state, name, number, moment)
            self._deliveries.add(webhook, Event(name, person, payload), self._state.clock.now())

    def _tell_all(
        self,
        name: str,
        channel: Channel,
        key: int,
        payload_of: Callable[[str], Callable[[], dict[str, Any]]],
    ) -> None:
        for webhook, each in self._deliveries.subscribers(types.names_of(name), channel):
            self._deliveries.add(webhook, Event(each, key, payload_of(each)), self._state.clock.now())

    def _channel_of(self, number: int) -> Channel:
        content = self._state.messages.content[number]
        if isinstance(content, Note):
            return content.conversation.channel
        broadcast = self._state.broadcast_of(number)
        return broadcast.channel if broadcast else self._state.default_channel


def _always(payload: Callable[[], dict[str, Any]]) -> Callable[[str], Callable[[], dict[str, Any]]]:
    """Return the same payload for every name."""
    return lambda _: payload
