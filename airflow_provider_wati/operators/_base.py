"""What all WATI operators share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from airflow_provider_wati._compat import conf
from airflow_provider_wati.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from airflow_provider_wati.hooks.wati import WatiHook


class Redacted:
    """
    A rendered argument that Airflow must not store in the clear.

    Airflow keeps the text of every rendered field in its database and shows it in the UI, where a list of
    people does not belong.

    :param value: the argument.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __str__(self) -> str:
        if isinstance(self.value, str):
            return f"<text of {len(self.value):,} characters, not shown>"
        if isinstance(self.value, dict):
            return "<1 row, not shown>"
        try:
            return f"<{len(self.value):,} rows, not shown>"
        except TypeError:
            return f"<{type(self.value).__name__}, not shown>"

    __repr__ = __str__


class WatiOperator(BaseOperator):
    """
    Base of the operators: knows the connection.

    :param wati_conn_id: the connection of type ``wati`` (templated).
    """

    template_fields: Sequence[str] = ("wati_conn_id",)
    #: Template fields that hold people; Airflow stores their size in place of their content.
    redacted_fields: ClassVar[Sequence[str]] = ()
    ui_color = "#dcf8c6"
    #: Where times and pauses come from; tests put another one here.
    clock: ClassVar[Clock] = SYSTEM_CLOCK

    def __init__(self, *, wati_conn_id: str = "wati_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wati_conn_id = wati_conn_id

    @cached_property
    def hook(self) -> WatiHook:
        """The hook of the connection; imported here because a DAG file needs no HTTP to be parsed."""
        from airflow_provider_wati.hooks.wati import WatiHook

        return WatiHook(self.wati_conn_id)

    # Plain and mapped tasks both come through here, and only here.
    def _do_render_template_fields(
        self,
        parent: Any,
        template_fields: Iterable[str],
        context: Context,
        jinja_env: jinja2.Environment,
        seen_oids: set[int],
    ) -> None:
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if parent is self:
            from airflow_provider_wati.tables.readers import is_address

            for name in self.redacted_fields:
                value = getattr(self, name)
                is_shown = isinstance(value, str) and is_address(value)
                if value is not None and not is_shown and not isinstance(value, Redacted):
                    setattr(self, name, Redacted(value))


def unredacted(value: Any) -> Any:
    """Return an argument as it was given, whether it has been rendered or not."""
    return value.value if isinstance(value, Redacted) else value


def is_deferrable(given: bool | None) -> bool:
    """
    Say whether a task waits in the triggerer.

    :param given: what the DAG says; None for the option ``[operators] default_deferrable``.
    """
    if given is not None:
        return given
    default: bool = conf.getboolean("operators", "default_deferrable", fallback=False)
    return default
