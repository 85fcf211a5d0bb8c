"""All operators: their arguments, their templates and their documentation."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import Any

import pytest

import airflow_provider_wati.operators
from airflow_provider_wati.operators._base import WatiOperator
from airflow_provider_wati.operators._template_send import WatiBulkSendOperator


def all_operators() -> list[type[WatiOperator]]:
    found = set()
    for module in pkgutil.iter_modules(airflow_provider_wati.operators.__path__):
        members = vars(importlib.import_module(f"airflow_provider_wati.operators.{module.name}")).values()
        found |= {
            member
            for member in members
            if inspect.isclass(member)
            and issubclass(member, WatiOperator)
            and member.__name__.startswith("Wati")
        }
    return sorted(found - {WatiOperator, WatiBulkSendOperator}, key=lambda each: each.__name__)


OPERATORS = all_operators()
#: Something for each argument that has no default.
NEEDED: dict[str, Any] = {
    "phone_number": "12025550143",
    "name": "Ada",
    "target": "12025550143",
    "custom_params": {"tier": "gold"},
    "teams": ["Billing"],
    "text": "Hello",
    "file_url": "https://example.com/a.png",
    "path": "/a.png",
    "message_id": "507f1f77bcf86cd799439011",
    "body": "Hello",
    "buttons": ["Yes"],
    "answer_timeout": 3600,
    "button_text": "Choose",
    "sections": [{"rows": [{"title": "10:00"}]}],
    "template_name": "welcome",
    "recipients": {"target": "12025550143"},
    "rows": [{"phone": "12025550143", "first_name": "Ada"}],
    "target_column": "phone",
    "param_columns": {"name": "first_name"},
    "phone_column": "phone",
    "attribute_columns": {"tier": "loyalty_tier"},
    "scheduled_at": "2030-01-01T00:00:00Z",
    "status": "open",
    "assignee_email": None,
    "campaign_id": "66b1fb04b40adca000000000",
}
#: Arguments whose attribute has another name, because Airflow's operators have a method of that name.
KEPT_AS = {"dry_run": "is_dry_run"}


def own_arguments(operator: type[WatiOperator]) -> dict[str, inspect.Parameter]:
    """The arguments of an operator and of its bases of this package."""
    arguments: dict[str, inspect.Parameter] = {}
    for base in operator.__mro__:
        if base.__module__.startswith("airflow_provider_wati") and "__init__" in vars(base):
            arguments = dict(inspect.signature(vars(base)["__init__"]).parameters) | arguments
    return {name: each for name, each in arguments.items() if name not in ("self", "kwargs")}


def make(operator: type[WatiOperator], **more: Any) -> WatiOperator:
    needed = [name for name, each in own_arguments(operator).items() if each.default is each.empty]
    return operator(task_id="a", **{name: NEEDED[name] for name in needed}, **more)


def templated_in_words(operator: type[WatiOperator]) -> set[str]:
    """The arguments whose paragraph of the docstring, or of that of a base that it refers to, says templated."""
    words: dict[str, bool] = {}
    for base in reversed(operator.__mro__):
        if base.__module__.startswith("airflow_provider_wati") and base.__doc__:
            text = re.split(r"\n\s*:(?:return|raises)", inspect.cleandoc(base.__doc__))[0]
            for name, about in re.findall(r":param (\w+):(.*?)(?=\n:|\Z)", text, flags=re.DOTALL):
                words[name] = words.get(name, False) or "(templated" in about
    return {name for name, templated in words.items() if templated}


def docs_referred_to(operator: type[WatiOperator]) -> list[str]:
    """The docstrings of the bases that an operator's docstring refers its reader to."""
    found: list[str] = []
    for base in operator.__mro__[1:]:
        if base.__name__ in "".join([operator.__doc__ or "", *found]):
            found.append(inspect.cleandoc(base.__doc__ or ""))
    return found


def test_the_list_of_operators_is_complete() -> None:
    """The tests of this module see every operator."""
    assert {operator.__name__ for operator in OPERATORS} >= {
        "WatiAskOperator",
        "WatiAssignConversationOperator",
        "WatiAssignTeamsOperator",
        "WatiBroadcastTemplateOperator",
        "WatiCancelScheduledCampaignOperator",
        "WatiCreateContactOperator",
        "WatiGetCampaignOperator",
        "WatiGetCampaignRecipientsOperator",
        "WatiGetContactOperator",
        "WatiGetMediaOperator",
        "WatiGetTemplateOperator",
        "WatiScheduleTemplateOperator",
        "WatiSendButtonsOperator",
        "WatiSendFileOperator",
        "WatiSendFileUrlOperator",
        "WatiSendListOperator",
        "WatiSendTemplateOperator",
        "WatiSendTextOperator",
        "WatiStartChatbotOperator",
        "WatiSubscribeWebhookOperator",
        "WatiSyncContactsOperator",
        "WatiUpdateContactOperator",
        "WatiUpdateConversationStatusOperator",
        "WatiUpsertContactOperator",
    }


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_takes_named_arguments_only(operator: type[WatiOperator]) -> None:
    """Arguments are keyword-only and have types."""
    with pytest.raises((TypeError, ValueError)):
        operator(*["12025550143"], task_id="a")
    for name, parameter in inspect.signature(operator.__init__).parameters.items():
        assert name in ("self", "kwargs") or parameter.kind is parameter.KEYWORD_ONLY
        assert name in ("self", "kwargs") or parameter.annotation is not parameter.empty


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_missing_or_unknown_argument_is_an_error(operator: type[WatiOperator]) -> None:
    """A missing argument and a misspelt one are errors when the DAG is parsed."""
    needed = [name for name, each in own_arguments(operator).items() if each.default is each.empty]
    given = {name: NEEDED[name] for name in needed}
    if needed:
        with pytest.raises(TypeError, match=needed[-1]):
            operator(task_id="a", **{name: given[name] for name in needed[:-1]})
    with pytest.raises(TypeError, match="targett"):
        operator(task_id="a", **given, targett="x")


@pytest.mark.parametrize("operator", OPERATORS)
def test_template_fields_are_attributes_and_what_the_docstring_calls_templated(
    operator: type[WatiOperator],
) -> None:
    """The templated arguments are exactly those that the docstring calls templated."""
    made = make(operator)
    arguments = own_arguments(operator)
    for field in operator.template_fields:
        assert hasattr(made, field)
        assert field in arguments
    assert set(operator.template_fields) == templated_in_words(operator)
    assert set(operator.template_fields_renderers) <= set(operator.template_fields)
    assert set(operator.redacted_fields) <= set(operator.template_fields)


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_keeps_its_arguments_as_they_came(operator: type[WatiOperator]) -> None:
    """Nothing is checked or changed before templates are rendered."""
    arguments = own_arguments(operator)
    made = operator(task_id="a", **dict.fromkeys(arguments, "{{ ds }}"))
    assert {name: getattr(made, KEPT_AS.get(name, name)) for name in arguments} == dict.fromkeys(
        arguments, "{{ ds }}"
    )
    assert made.hook.wati_conn_id == "{{ ds }}"


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_is_documented(operator: type[WatiOperator]) -> None:
    """The docstring has every argument, the result, an error and a working example."""
    doc = inspect.cleandoc(operator.__doc__ or "")
    docs = "\n".join([doc, *docs_referred_to(operator)])
    described = set(re.findall(r"^:param (\w+):", docs, flags=re.MULTILINE))
    assert described >= set(own_arguments(operator)), "an argument is not described"
    assert re.search(r"^:return:", docs, flags=re.MULTILINE)
    assert f".. code-block:: python\n\n    {operator.__name__}(" in doc
    code = doc.split(".. code-block:: python\n\n")[1].split("\n\n")[0]
    made = eval(inspect.cleandoc(code), {operator.__name__: operator})
    assert isinstance(made, operator)
    assert made.task_id
    assert re.search(r"^:raises Wati", docs, flags=re.MULTILINE)
