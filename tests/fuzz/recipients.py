"""Recipients of a template send, as Python values and as the JSON that a template of Airflow renders."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from airflow_provider_wati.client.recipients import encode_recipients, template_body
from airflow_provider_wati.tables.readers import rows_given
from tests.fuzz.harness import Surface
from tests.fuzz.odd import bodies, damaged

_VALID: Any = [
    {"target": "85264318722", "params": {"name": "Ada", "order_id": "1001"}, "local_message_id": "order-1001-ada"},
    {"phone_number": 919810000001, "custom_params": [{"name": "name", "value": "Ben"}]},
    {"target": "US.123124141512", "params": {}},
]  # fmt: skip

_recipients = st.one_of(
    damaged(_VALID),
    damaged(_VALID[0]),
    bodies(_VALID).map(
        lambda body: body.decode("utf-8", "surrogatepass" if b"\xed\xa0" in body else "replace")
    ),
)


def _feed(recipients: Any) -> None:
    """Read recipients and encode the body of a call."""
    rows: Any = list(rows_given(recipients, "recipients"))
    encoded = encode_recipients(rows)
    body = json.loads(template_body("order_update", "campaign", encoded, None, None))
    assert len(body["recipients"]) == len(rows)


SURFACE = Surface(name="recipients", inputs=_recipients, feed=_feed, batch=10)
