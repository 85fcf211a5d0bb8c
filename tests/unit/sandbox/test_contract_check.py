"""The contract check itself: a check that lets everything through would prove nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.contract import ContractCheck, load_contract
from tests.unit.sandbox.conftest import ADA, Caller


@pytest.fixture
def broken(start_sandbox: Any) -> tuple[Caller, ContractCheck]:
    """A sandbox whose answers can be spoiled without the check knowing that it was on purpose."""
    checks: list[ContractCheck] = []

    def forget_the_fault(app: Any) -> Any:
        async def inner(scope: Any, receive: Any, send: Any) -> None:
            async def forgetful_send(message: Any) -> None:
                scope.pop("wati_sandbox.fault", None)
                await send(message)

            await app(scope, receive, forgetful_send)

        checks.append(ContractCheck(inner, load_contract()))
        return checks[0]

    caller = start_sandbox(wrap=forget_the_fault)
    return caller, checks[0]


def test_the_check_sees_an_answer_that_breaks_the_contract(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check finds a wrong answer."""
    wati, check = broken
    wati.fault("answer", path="*/credits", answer={"credit": "a lot", "extra": 1}, when="after")
    wati("GET", "/account/credits")
    text = "\n".join(check.violations)
    assert "'a lot' is not of type 'number'" in text
    assert "'extra' was unexpected" in text
    with pytest.raises(AssertionError):
        check.assert_clean()


def test_the_check_sees_an_answer_that_is_not_json(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check finds an answer that is not JSON."""
    wati, check = broken
    wati.fault("garbage", path="*/credits")
    wati("GET", "/account/credits")
    assert "not JSON" in check.violations[0]


def test_the_check_sees_a_request_that_breaks_the_contract(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check finds a wrong request."""
    wati, check = broken
    # What the sandbox itself would refuse is let through by an answer made up before it looks.
    wati.fault("answer", answer={})
    wati.send_template({"phone_number": int(ADA)}, {}, channel_number="1")
    wati("GET", "/contacts", params={"page_number": 1, "pageSize": 5})
    wati("POST", "/conversations/messages/file", files={"target": (None, ADA), "files": ("a", b"a")})
    text = "\n".join(check.violations)
    for fault in (
        f"{ADA} is not of type 'string'",
        "'channel_number' was unexpected",
        "pageSize is not a parameter",
        "page_size is missing",
        "files is not a member",
        "file is missing",
    ):
        assert fault in text


def test_the_check_sees_an_operation_that_does_not_exist(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check finds a call that WATI does not have."""
    wati, check = broken
    wati("GET", "/no-such-thing")
    assert check.violations == []
    wati.fault("answer", answer={})
    wati("GET", "/no-such-thing")
    assert check.violations == ["GET /api/ext/v3/no-such-thing: not in the contract"]


def test_the_check_excuses_what_the_sandbox_refused(broken: tuple[Caller, ContractCheck]) -> None:
    """The contract check ignores a wrong request that the sandbox refused."""
    wati, check = broken
    assert wati("POST", "/contacts", json={"name": 1}).status_code == 400
    check.assert_clean()
    assert check.exercised["POST /contacts"] == 0
