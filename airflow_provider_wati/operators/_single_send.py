"""Act once for one person: send a message, start a chatbot, create a contact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_wati.state.sends import grace_of, open_journal

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_wati.client.target import Target
    from airflow_provider_wati.client.types import SendHooks
    from airflow_provider_wati.operators._base import WatiOperator
    from airflow_provider_wati.sending.conversation_index import Search, Sighting
    from airflow_provider_wati.sending.earlier_calls import EarlierCalls


def act_once(
    operator: WatiOperator,
    context: Context,
    *,
    target: Target,
    content: str,
    act: Callable[[SendHooks], Any],
    look: Callable[[Search], Sighting] | None,
    detail_of: Callable[[Any], dict[str, Any]],
    send_key: Any = None,
    acts_when_unknown: bool = False,
) -> dict[str, Any]:
    """
    Act once for one person, even if Airflow runs the task several times.

    :param operator: the task's operator.
    :param context: the task's context.
    :param target: the person.
    :param content: a fingerprint of what is sent.
    :param act: sends, and returns WATI's answer.
    :param look: looks in WATI for the effect of an earlier call; None where WATI's API shows none.
    :param detail_of: returns the identifying fields of an answer, without its content.
    :param send_key: the user's own send key, if there is one.
    :param acts_when_unknown: whether to act even if the outcome of an earlier call stays unknown.
    :return: the result of ``detail_of``, for this attempt or the earlier one.
    """
    # SQLite and phone parsing wait until a task runs.
    from airflow_provider_wati.sending.single import SingleSend

    return SingleSend(
        earlier=_earlier_calls(operator, context, target, content, send_key, is_shown=look is not None),
        act=act,
        look=look,
        detail_of=detail_of,
        clock=operator.clock,
        acts_when_unknown=acts_when_unknown,
    ).run()


def _earlier_calls(
    operator: WatiOperator,
    context: Context,
    target: Target,
    content: str,
    send_key: Any,
    *,
    is_shown: bool,
) -> EarlierCalls:
    """Open the journal; the parameters are those of :func:`act_once` and :class:`.EarlierCalls`."""
    from airflow_provider_wati.sending.earlier_calls import EarlierCalls
    from airflow_provider_wati.sending.reconciler import policy_of
    from airflow_provider_wati.sending.row_mapping import hash_of
    from airflow_provider_wati.tables.phone_numbers import dedupe_key_of

    # Without the channel: adding one to the connection does not make another person.
    person = hash_of(dedupe_key_of(target.value), None)
    policy = policy_of(grace_of(None), operator.hook.client.timeout)
    opened = open_journal(
        context,
        send_key=send_key,
        account=operator.hook.account,
        person=person,
        clock=operator.clock,
    )
    return EarlierCalls(
        journal=opened.journal,
        start=opened.start,
        began=operator.clock.now(),
        person=person,
        content=content,
        policy=policy,
        task=opened.task,
        is_shown=is_shown,
    )
