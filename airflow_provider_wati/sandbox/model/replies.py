"""Customers who answer campaigns by themselves, as the scenario's rates say."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from airflow_provider_wati.sandbox.model.agenda import Agenda
from airflow_provider_wati.sandbox.model.records import Note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_wati.sandbox.model.records import Broadcast
    from airflow_provider_wati.sandbox.model.state import State


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An answer that is to come.

    :param number: of the message that it answers.
    :param is_tap: whether it is a button of the template.
    :param wait: seconds at speed 1 from the start of the campaign.
    """

    broadcast: Broadcast
    number: int
    text: str
    is_tap: bool
    wait: float


class Replies:
    """
    Every answer that has not come yet.

    :param state: where it arrives.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._agenda: Agenda[Reply] = Agenda(state.speed)

    def __len__(self) -> int:
        return len(self._agenda)

    def plan(self, broadcast: Broadcast) -> None:
        """Decide who answers a campaign, what, and when."""
        delivery, pace = self._state.delivery, self._state.delivery.pace
        if delivery.seed is None or not delivery.rates.replied:
            return
        chance = Random(f"{delivery.seed} replies {broadcast.number}")
        taps = broadcast.template.buttons
        texts = [*taps, *delivery.rates.replies]
        for number in range(broadcast.first, broadcast.first + broadcast.count):
            fate = self._state.messages.fate[number]
            read = pace.read_after(fate) if delivery.rates.is_read(fate) else None
            if read is None or chance.random() >= delivery.rates.replied:
                continue
            wait = read + delivery.rates.replied_after.at(chance.random())
            choice = chance.randrange(len(texts))
            self.add(Reply(broadcast, number, texts[choice], choice < len(taps), wait))

    def add(self, reply: Reply) -> None:
        self._agenda.add(reply.broadcast.starts_at, reply.wait, reply)

    def to_come(self) -> Iterator[Reply]:
        """Yield what has not come yet, in no order."""
        return iter(self._agenda)

    def advance(self) -> None:
        """Let every answer arrive that is due by now, oldest first."""
        while (due := self._agenda.pop_due(self._state.clock.now())) is not None:
            moment, reply = due
            self._arrive(reply, moment)

    def change_speed(self, speed: float) -> None:
        self._agenda.set_speed(speed)

    def _arrive(self, reply: Reply, moment: float) -> None:
        contact = self._state.contact_of_message(reply.number)
        # Meanwhile somebody may have deleted the contact, or answered in their name.
        if contact.number not in self._state.contacts or reply.number in reply.broadcast.replied:
            return
        talk = self._state.conversation_between(contact, reply.broadcast.channel)
        kind = "interactive" if reply.is_tap else "text"
        self._state.receive(Note(talk, kind, reply.text, from_business=False), moment)
