"""A sandbox around each call of a function."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

#: The argument under which a decorated function gets the sandbox.
_ARGUMENT = "wati"


def decorated(function: F, fresh: Callable[[], AbstractContextManager[Any]]) -> F:
    """
    Decorate a function, a coroutine function or a generator function.

    :param fresh: makes the sandbox of a call.
    :raises TypeError: for a class or an asynchronous generator function.
    """
    wrapped: Any = function
    if isinstance(wrapped, staticmethod | classmethod):
        kind: Any = type(wrapped)
        return kind(decorated(wrapped.__func__, fresh))  # type: ignore[no-any-return] # of the same kind
    if not callable(wrapped) or inspect.isclass(wrapped) or inspect.isasyncgenfunction(wrapped):
        raise TypeError(
            "WatiSandbox decorates functions, coroutine functions and generator functions. "
            "Elsewhere use `with WatiSandbox() as wati:` inside."
        )
    call = _giving(function)

    def run(*args: Any, **kwargs: Any) -> Any:
        with fresh() as wati:
            return call(wati, args, kwargs)

    def generate(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with fresh() as wati:
            return (yield from call(wati, args, kwargs))

    async def wait(*args: Any, **kwargs: Any) -> Any:
        with fresh() as wati:
            return await call(wati, args, kwargs)

    wrapper: Any = run
    if inspect.isgeneratorfunction(function):
        wrapper = generate
    elif inspect.iscoroutinefunction(function):
        wrapper = wait
    result: Any = functools.wraps(function)(wrapper)
    signature = inspect.signature(function)
    # pytest takes the arguments of a test for fixtures.
    shown = [each for each in signature.parameters.values() if each.name != _ARGUMENT]
    result.__signature__ = signature.replace(parameters=shown)
    return result  # type: ignore[no-any-return] # it takes what the function takes, but for `wati`


def _giving(function: Callable[..., Any]) -> Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]:
    """Return what calls a function with its sandbox, wherever that stands among its parameters."""
    parameters = inspect.signature(function).parameters
    has_place = _ARGUMENT in parameters and parameters[_ARGUMENT].kind is not inspect.Parameter.KEYWORD_ONLY
    place = list(parameters).index(_ARGUMENT) if has_place else sys.maxsize

    def call(wati: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if _ARGUMENT not in parameters or _ARGUMENT in kwargs:
            return function(*args, **kwargs)
        if len(args) > place:
            return function(*args[:place], wati, *args[place:], **kwargs)
        return function(*args, **kwargs, **{_ARGUMENT: wati})

    return call
