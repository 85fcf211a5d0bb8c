"""The faults of ``make mutation``: each changes what the code does, in one place."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from tests.ui.announced import CHECKOUT


@pytest.fixture(scope="module")
def mutation() -> ModuleType:
    """``scripts/mutation.py`` as a module."""
    spec = spec_from_file_location("mutation", CHECKOUT / "scripts" / "mutation.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


def faults(mutation: ModuleType, source: str) -> list[str]:
    """The source with each fault."""
    return [ast.unparse(mutant.tree) for mutant in mutation.mutants_of(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < 1", ["a <= 1", "a >= 1", "a < 2"]),
        ("a is not b", ["a is b"]),
        ("a and b", ["a or b"]),
        ("not a", ["a"]),
        ("a + b", ["a - b"]),
        ("min(a)", ["pass", "max(a)"]),
        ("a = True", ["a = False"]),
        ("a = 'sent'", ["a = 'sent~'"]),
        ("a if b else c", ["c if b else a"]),
        ("if a:\n    b", ["if not a:\n    b"]),
        ("def f():\n    return a", ["def f():\n    return None"]),
        ("raise a", ["pass"]),
    ],
)
def test_a_place_is_changed_in_each_way_that_matters(
    source: str, expected: list[str], mutation: ModuleType
) -> None:
    """Bounds, conditions, constants, results and statements are changed, one at a time."""
    assert faults(mutation, source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "a = 'for people to read'",
        "'''docstring'''",
        "a: Literal[1]",
        "def f(a: Literal['x']) -> Literal[2]:\n    pass",
        "@cache(maxsize=16)\ndef f():\n    pass",
        "class Kind(Enum):\n    READ = 'read'",
        "if TYPE_CHECKING:\n    import a",
        "a = f'no {b:>3} one'",
        "def f():\n    return None",
    ],
)
def test_what_changes_nothing_is_left_alone(source: str, mutation: ModuleType) -> None:
    """Texts for people, types, decorators and the values of a plain enum hold no fault."""
    assert faults(mutation, source) == []


def test_the_module_is_given_with_its_fault(mutation: ModuleType) -> None:
    """Whoever imports the module gets the one with the fault."""
    fault = list(mutation.mutants_of("def f(a):\n    return not a\n"))[1]
    module = ModuleType("faulty")
    mutation._Faulty("faulty", fault, CHECKOUT / "faulty.py").exec_module(module)
    assert module.f(True) is True


def test_every_module_and_its_tests_exist(mutation: ModuleType) -> None:
    """The list names files that are there."""
    for module, tests in mutation.TESTS.items():
        assert (CHECKOUT / mutation.PACKAGE / f"{module}.py").is_file()
        assert all((CHECKOUT / each).is_file() for each in tests)


def test_the_tests_of_a_module_load_it_with_its_fault() -> None:
    """pytest loads the modules of its plugins itself, and this package has one: a fault reaches the tests all the same."""
    code = (
        "import ast; from mutation import CHECKOUT, TESTS, Mutant, _Faulty, passes; tests = TESTS['sending/schedule']; "
        "broken = Mutant(1, '', ast.parse('raise ValueError')); "
        "faulty = _Faulty('airflow_provider_wati.sending.schedule', broken, CHECKOUT / 'schedule.py'); "
        "print(passes(tests, None, 300), passes(tests, faulty, 300))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT / "scripts")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["True", "False"], done.stderr
