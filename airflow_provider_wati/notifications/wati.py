"""The notifier: tell people by WhatsApp what happened to a run or a task."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.sdk.bases.notifier import BaseNotifier

from airflow_provider_wati._compat import conf
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.masking import clean, mask_numbers

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import DAG, Context

    from airflow_provider_wati.client import Target, WatiClient
    from airflow_provider_wati.client.target import TargetRule
    from airflow_provider_wati.clock import Clock

# The DAG processor ends a callback after `[dag_processor] dag_file_processor_timeout`, 50 s by default, without a word.
# So no call starts after 25 s, and one call ends within 20 s: its attempts, then the last answer.
_LAST_START = 25.0
_MAX_SECONDS = 10.0
_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 10.0

_NOT_SENT = "No WhatsApp message was sent"
_LONGEST_REASON = 300
_LONGEST_CAMPAIGN_NAME = 100
_ELLIPSIS = "…"


class WatiNotifier(BaseNotifier):
    """
    Send a WhatsApp message about a run or a task: a callback of a DAG or task, of a deadline, or of an approval.

    It never raises: what goes wrong is logged, and the state of the task stays as it is. It never repeats itself:
    after a lost answer the log says that the outcome is unknown. It ends within 45 seconds; targets that
    are left by then are logged as not sent to.

    .. code-block:: python

        with DAG(
            "orders",
            on_failure_callback=WatiNotifier(targets="85264318722", template_name="pipeline_alert"),
        ):
            ...

    Without ``text`` and ``template_name`` the text names DAG, task and run, with a link to the run if
    ``[api] base_url`` is set where the callback runs.

    :param targets: one target or a list, also as JSON: phone numbers, BSUIDs, for a text also conversation ids
        (templated). The same one twice, or one phone number in both of its spellings, is sent to once.
    :param text: up to 4,096 characters, the rest is cut off (templated). It reaches only people who wrote within the
        last 24 hours.
    :param template_name: an approved template in place of a text (templated). It reaches everybody.
    :param template_params: the template's parameters, a dict of texts (templated).
    :param channel: name or number to send from (templated); the connection's, else WATI's default, if left out.
    :param wati_conn_id: the connection of type ``wati`` (templated).
    """

    template_fields: Sequence[str] = (
        "targets", "text", "template_name", "template_params", "channel", "wati_conn_id",
    )  # fmt: skip

    def __init__(
        self,
        *,
        targets: str | Sequence[str],
        text: str | None = None,
        template_name: str | None = None,
        template_params: Mapping[str, str] | None = None,
        channel: str | None = None,
        wati_conn_id: str = "wati_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.targets = targets
        self.text = text
        self.template_name = template_name
        self.template_params = template_params
        self.channel = channel
        self.wati_conn_id = wati_conn_id

    # Airflow's own methods render in place, so that a second task would get the text of the first, and let the error of
    # a template through, which fails the operator that waits for an approval.
    def __call__(self, *args: Any) -> None:
        """
        Send the message.

        :param args: Airflow's context.
        """
        self.notify(args[0] if args else self.context)

    def __await__(self) -> Generator[Any, None, None]:
        """Send the message; the context is the one that the notifier was made with."""
        return self.async_notify(self.context).__await__()

    async def async_notify(self, context: Context) -> None:
        """
        Send the message from a thread, so that a slow WATI holds up no trigger.

        :param context: Airflow's context; that of a deadline has ``dag_run`` and ``deadline`` only.
        """
        from asgiref.sync import sync_to_async

        # A template or a secrets backend may ask Airflow, which on 3.1 works only from a thread of asgiref's. The one
        # thread that `thread_sensitive` means is shared by all triggers.
        await sync_to_async(self.notify, thread_sensitive=False)(context)

    def notify(self, context: Context) -> None:
        """
        Render the arguments, send the message to each target and log what becomes of it.

        :param context: Airflow's context, or what there is of it.
        """
        rendered = copy(self)
        try:
            rendered.render_template_fields(context)
        except Exception as error:
            reason = mask_numbers(f"{type(error).__name__}: {error}")[:_LONGEST_REASON]
            self.log.error(
                "%s: an argument cannot be rendered (%s). Correct its template.", _NOT_SENT, reason
            )
            return
        rendered._notify(context)

    def get_template_env(self, dag: DAG | None = None) -> jinja2.Environment:
        """
        Return the environment that renders the arguments.

        :param dag: the DAG of the context; ``dag.test()`` gives callbacks of a DAG one that cannot render.
        """
        return super().get_template_env(dag if hasattr(dag, "get_template_env") else None)

    def _notify(self, context: Context) -> None:
        """Send with arguments that have been rendered."""
        try:
            message = self._message(context)
            targets = _targets_of(self.targets)
            clock, client = self._connect()
        except WatiError as error:
            self.log.error("%s: %s", _NOT_SENT, error)
            return
        except Exception as error:
            # Without its text: Airflow's own errors may repeat the URI of the connection, token included.
            self.log.error(
                "%s: connection %r cannot be read (%s). Check that it exists where the callback runs: on the worker for a "
                "task, in the DAG processor for a DAG, in the triggerer for a deadline.",
                _NOT_SENT,
                self.wati_conn_id,
                type(error).__name__,
            )
            return
        with closing(client):
            self._send_all(message, targets, client, clock)

    def _message(self, context: Context) -> _Text | _Template:
        channel = self.channel or None
        if self.template_name is None:
            if self.template_params:
                raise WatiValidationError("template_params is given without template_name: give both.")
            text = default_text(context, _base_url()) if self.text is None else self.text
            return _Text.of(text, channel)
        if self.text is not None:
            raise WatiValidationError("text and template_name are both given: give one of them.")
        return _Template(self.template_name, _campaign_name(context), self.template_params or {}, channel)

    def _connect(self) -> tuple[Clock, WatiClient]:
        """Read the connection and make a client that is done within the time that a callback has."""
        from airflow_provider_wati.client import WatiClient
        from airflow_provider_wati.hooks.settings import ClientArguments, naming
        from airflow_provider_wati.hooks.wati import WatiHook

        hook = WatiHook(self.wati_conn_id)
        given = hook.settings.client_arguments
        connect, read = given.get("timeout", (_CONNECT_TIMEOUT, _READ_TIMEOUT))
        arguments: ClientArguments = {
            **given,
            "timeout": (min(connect, _CONNECT_TIMEOUT), min(read, _READ_TIMEOUT)),
            "max_seconds": _MAX_SECONDS,
            # An alert does not wait until a bulk send leaves room; a 429 is repeated.
            "rate_limits": {"*": None},
        }
        with naming(self.wati_conn_id):
            return hook.clock, WatiClient(**arguments, clock=hook.clock)

    def _send_all(
        self, message: _Text | _Template, targets: Iterable[Any], client: WatiClient, clock: Clock
    ) -> None:
        """Send to each target once, in order."""
        from airflow_provider_wati.tables.phone_numbers import dedupe_key_of

        last_start = clock.monotonic() + _LAST_START
        seen: set[Target] = set()
        for given in targets:
            try:
                target = message.rule.check(given)
            except WatiError as error:
                self.log.error("A WhatsApp message was not sent: %s", error)
                continue
            # The two spellings of a mobile phone number in Mexico, Argentina and Brazil are one person.
            person = replace(
                target.on_channel(message.channel or client.channel), value=dedupe_key_of(target.value)
            )
            if person in seen:
                continue
            seen.add(person)
            if clock.monotonic() >= last_start:
                self.log.error(
                    "The WhatsApp message to %s was not sent: the targets before it took %d s. Check the log above; put "
                    "fewer targets into one notifier.",
                    target.masked,
                    _LAST_START,
                )
                continue
            self._send(message, target, client)

    def _send(self, message: _Text | _Template, target: Target, client: WatiClient) -> None:
        try:
            message.send(client, target)
        except WatiUnknownOutcomeError as error:
            self.log.warning(
                "The WhatsApp message to %s may have been sent, and is not sent again: %s",
                target.masked,
                error,
            )
        except (WatiBadRequestError, WatiRejectedError) as error:
            self.log.error(
                "The WhatsApp message to %s was not sent: %s %s", target.masked, error, message.remedy
            )
        except WatiError as error:
            self.log.error("The WhatsApp message to %s was not sent: %s", target.masked, error)
        except Exception as error:
            # Without its text, which may repeat the message.
            self.log.error(
                "The WhatsApp message to %s may have been sent, and is not sent again: %s. This is a defect of "
                "airflow-provider-wati; please report it.",
                target.masked,
                type(error).__name__,
            )
        else:
            self.log.info("WATI has the WhatsApp message to %s.", target.masked)


#: The name that Airflow's documentation uses for notifiers.
send_wati_notification = WatiNotifier


@dataclass(frozen=True, slots=True)
class _Text:
    """A text into an open conversation."""

    text: str
    channel: str | None
    remedy: ClassVar[str] = (
        "A text reaches only people who wrote within the last 24 hours: give an approved template in template_name."
    )

    @classmethod
    def of(cls, value: str, channel: str | None) -> _Text:
        """Check a text; what WATI would refuse for its length is cut, because half an alert is better than none."""
        from airflow_provider_wati.client.validation import MAX_TEXT, text

        whole = clean(value) if isinstance(value, str) else value
        checked = text(whole, "text")
        if len(checked) > MAX_TEXT:
            checked = checked[: MAX_TEXT - len(_ELLIPSIS)] + _ELLIPSIS
        return cls(checked, channel)

    @property
    def rule(self) -> TargetRule:
        """Which targets a text can go to."""
        from airflow_provider_wati.client.target import CONVERSATIONS

        return CONVERSATIONS

    def send(self, client: WatiClient, target: Target) -> None:
        client.send_text(target.on_channel(self.channel), self.text)


@dataclass(frozen=True, slots=True)
class _Template:
    """An approved template."""

    name: str
    campaign_name: str
    params: Mapping[str, str]
    channel: str | None
    remedy: ClassVar[str] = (
        "Check that the template is approved on this channel, and the names in template_params."
    )

    @property
    def rule(self) -> TargetRule:
        """Which targets a template can go to."""
        from airflow_provider_wati.client.target import RECIPIENTS

        return RECIPIENTS

    def send(self, client: WatiClient, target: Target) -> None:
        recipient = {"target": target, "params": self.params}
        sent = client.send_template_messages(self.name, self.campaign_name, [recipient], self.channel)
        if (error := sent.recipients[0].error) is not None:
            raise WatiRejectedError(f"{error.rstrip('.')}.")


def default_text(context: Mapping[str, Any], base_url: str | None) -> str:
    """
    Say what happened to which DAG, task and run.

    :param context: Airflow's context. A task's callback has ``ti``, that of a DAG ``reason``, that of a deadline
        ``deadline`` and ``dag_run`` as a dict.
    :param base_url: the address of Airflow's UI; None leaves the link out.
    :return: a few lines: the event, the DAG, the task, the run, the link.
    """
    ti, dag_id, run_id = context.get("ti"), _dag_id_of(context), _run_id_of(context)
    lines = [f"Airflow: {_event_of(context)}"]
    if dag_id:
        lines.append(f"DAG: {dag_id}")
    # The task in the context of a run is not always the one that failed, on Airflow 3.1.
    if "reason" not in context and (task_id := _get(ti, "task_id")):
        map_index = _get(ti, "map_index")
        is_mapped = isinstance(map_index, int) and map_index >= 0
        lines.append(f"Task: {task_id}[{map_index}]" if is_mapped else f"Task: {task_id}")
    if run_id:
        lines.append(f"Run: {run_id}")
    if base_url and dag_id and run_id:
        lines.append(f"{base_url.rstrip('/')}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}")
    return "\n".join(lines)


def _event_of(context: Mapping[str, Any]) -> str:
    if context.get("deadline"):
        return "a deadline was missed"
    if reason := context.get("reason"):
        return f"run ended: {str(reason).replace('_', ' ')}"
    state = _get(context.get("ti"), "state")
    # It is an enum in a task, and a text in what Airflow stores.
    return f"task {str(getattr(state, 'value', state)).replace('_', ' ')}" if state else "a notification"


def _dag_id_of(context: Mapping[str, Any]) -> str | None:
    places = (context.get(name) for name in ("ti", "dag_run", "dag"))
    return next((found for place in places if (found := _get(place, "dag_id"))), None)


def _run_id_of(context: Mapping[str, Any]) -> str | None:
    run = context.get("dag_run")
    # The context of a deadline holds the run as Airflow's REST API shows it.
    found = _get(context.get("ti"), "run_id") or _get(run, "run_id") or _get(run, "dag_run_id")
    return found or context.get("run_id")


def _get(place: Any, name: str) -> Any:
    return place.get(name) if isinstance(place, Mapping) else getattr(place, name, None)


def _base_url() -> str | None:
    base_url: str | None = conf.get("api", "base_url", fallback=None)
    return base_url


def _campaign_name(context: Mapping[str, Any]) -> str:
    """Return what the campaign of a template is called in WATI."""
    return f"Airflow: {_dag_id_of(context) or 'notification'}"[:_LONGEST_CAMPAIGN_NAME]


def _targets_of(targets: Any) -> list[Any]:
    """Return the targets as a list; each is checked later, so that one with an error stops no other."""
    from airflow_provider_wati.tables.readers import json_of

    targets = json_of(targets, "targets")
    if isinstance(targets, (str, int)):
        targets = [targets]
    if not isinstance(targets, Sequence) or not targets:
        raise WatiValidationError(
            "targets is one target or a list of them, also as JSON, and one is needed at least."
        )
    return list(targets)
