from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_provider_wati import connection_form
from airflow_provider_wati.hooks.wati import WatiHook


class Recorded:
    """Stands in for whatever wtforms or Flask AppBuilder would build, and keeps what it was given."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args, self.kwargs = args, kwargs


class StringField(Recorded):
    pass


class PasswordField(StringField):
    pass


class Optional(Recorded):
    pass


class AnyOf(Recorded):
    pass


@pytest.fixture
def fab(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the API server of Airflow 3.1 has in ``sys.modules`` when it asks for the widgets."""
    modules: dict[str, dict[str, Any]] = {
        "wtforms": {"StringField": StringField, "PasswordField": PasswordField},
        "wtforms.validators": {"Optional": Optional, "any_of": AnyOf},
        "flask_appbuilder": {},
        "flask_appbuilder.fieldwidgets": {
            "BS3TextFieldWidget": Recorded,
            "BS3PasswordFieldWidget": Recorded,
        },
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("fab")
def test_both_renderings_agree() -> None:
    """The form has the same fields in Airflow 3.1 and later."""
    declared, widgets = connection_form.conn_fields(), WatiHook.get_connection_form_widgets()
    assert list(widgets) == list(declared)
    for name, widget in widgets.items():
        schema = declared[name]["schema"]
        assert isinstance(widget, StringField)
        assert isinstance(widget, PasswordField) == (schema.get("format") == "password")
        assert widget.args == (declared[name]["label"],)
        assert widget.kwargs["description"] == declared[name]["description"]
        assert widget.kwargs["default"] == (schema.get("default") or None)
        choices = [check.args[0] for check in widget.kwargs["validators"] if isinstance(check, AnyOf)]
        assert choices == ([schema["enum"]] if "enum" in schema else [])
        assert any(isinstance(check, Optional) for check in widget.kwargs["validators"])
        assert "null" in schema["type"], "a field that cannot be left empty"


def test_both_treatments_of_the_standard_fields_agree() -> None:
    """Labels and hidden fields are the same in Airflow 3.1 and later."""
    declared, python = connection_form.ui_field_behaviour(), WatiHook.get_ui_field_behaviour()
    assert python == {
        "hidden_fields": declared["hidden-fields"],
        "relabeling": declared["relabeling"],
        "placeholders": declared["placeholders"],
    }
    assert sorted(declared["hidden-fields"]) == ["login", "port", "schema"]
    assert declared["relabeling"] == {"host": "API Endpoint", "password": "Access Token"}


def test_the_fields_are_the_documented_ones() -> None:
    """The form has exactly the documented fields."""
    assert {field.name for field in connection_form.FIELDS} == {
        "tenant_id", "channel", "plan", "rate_limits", "timeout", "default_region", "verify",
        "rate_limit_storage", "webhook_secret",
    }  # fmt: skip


def test_the_plans_are_the_clients() -> None:
    """The plans of the form are those of the client."""
    from airflow_provider_wati.client.rate_limit import PLANS

    assert connection_form.conn_fields()["plan"]["schema"]["enum"] == list(PLANS)


@pytest.mark.parametrize("field", connection_form.FIELDS, ids=lambda field: field.name)
def test_every_field_is_described(field: connection_form.FormField) -> None:
    """Each field has a label and a description."""
    assert field.label
    assert len(field.description) > len(field.label)
    assert field.default is None or not field.choices or field.default in field.choices
    # Airflow shows the text as it stands.
    assert "`" not in field.description


def test_the_documentation_lists_the_fields_as_the_form_does() -> None:
    """The page has the labels of the form."""
    text = (Path(__file__).parents[2] / "docs" / "connection.md").read_text()
    rows = re.findall(r"^\| ([A-Z][\w ]+?) \| extra `(\w+)` \|", text, re.MULTILINE)
    assert rows == [(field.label, field.name) for field in connection_form.FIELDS]
