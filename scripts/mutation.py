"""
The mutation score of the policy modules: the share of small faults in them that their tests notice.

``make mutation`` runs it. Each fault is a change of one place, such as ``<`` to ``<=``; the tests of the module have to fail.
Texts with a space in them are for people, and are left as they are.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

CHECKOUT = Path(__file__).parents[1]
PACKAGE = "airflow_provider_wati"
#: The modules, and the tests that have to notice a fault in them.
TESTS: dict[str, tuple[str, ...]] = {
    "client/retry": ("tests/unit/client/test_retry.py",),
    "sending/reconciler": ("tests/unit/sending/test_reconciler.py",),
    "sending/schedule": ("tests/unit/sending/test_schedule.py",),
    "tables/outcomes": ("tests/unit/tables/test_outcomes.py",),
    "tables/phone_numbers": ("tests/unit/tables/test_phone_numbers.py",),
}
FLOOR = 0.9
# Loaded once and shared by all forks. Nothing of ours is among them, because a fork loads its own, with the fault in it.
_SHARED = (
    "pytest",
    "_pytest.assertion.rewrite",
    "hypothesis",
    "requests",
    "fastapi",
    "uvicorn",
    "phonenumbers",
    "airflow.sdk",
)

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_SUMS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True, slots=True)
class Mutant:
    """
    A module with one fault.

    :param line: where the fault is.
    :param fault: what was changed, for people.
    :param tree: the module.
    """

    line: int
    fault: str
    tree: ast.Module


@dataclass(slots=True)
class Score:
    """
    What became of the faults in a module.

    :param noticed: how many made its tests fail, or never end.
    :param survivors: those that no test noticed.
    """

    noticed: int = 0
    survivors: list[Mutant] = field(default_factory=list)

    @property
    def share(self) -> float:
        """The share of faults that were noticed; 1 where there are none."""
        total = self.noticed + len(self.survivors)
        return self.noticed / total if total else 1.0


def mutants_of(source: str) -> Iterator[Mutant]:
    """Yield a module with each fault, one at a time."""
    tree = ast.parse(source)
    skipped = _skipped(tree)
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        for variant, changed in enumerate(_changes(node)):
            with_fault = copy.deepcopy(tree)
            place = next(each for at, each in enumerate(ast.walk(with_fault)) if at == number)
            _replace(with_fault, place, list(_changes(place))[variant])
            ast.fix_missing_locations(with_fault)
            yield Mutant(getattr(node, "lineno", 0), f"{_text(node)} -> {_text(changed)}", with_fault)


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())[:90]


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what a node may be replaced by."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                yield ast.Compare(
                    node.left, [*node.ops[:index], other(), *node.ops[index + 1 :]], node.comparators
                )
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    elif isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
        yield ast.BinOp(node.left, _SUMS[type(node.op)](), node.right)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield ast.Call(ast.Name(_CALLS[node.func.id], ast.Load()), node.args, node.keywords)
    elif isinstance(node, ast.If | ast.While):
        yield type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Return) and not (node.value is None or _is_none(node.value)):
        yield ast.Return(ast.Constant(None))
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield ast.Pass()


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _other_constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and value and not any(map(str.isspace, value)):
        yield ast.Constant(f"{value}~")


def _skipped(tree: ast.Module) -> set[int]:
    """Return the ids of nodes that say nothing about what the module does: annotations, decorators, texts for people."""
    skipped: set[int] = set()
    for each in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(each, ast.FunctionDef | ast.ClassDef):
            parts += each.decorator_list
        if isinstance(each, ast.FunctionDef):
            parts.append(each.returns)
        if isinstance(each, ast.arg | ast.AnnAssign):
            parts.append(each.annotation)
        if isinstance(each, ast.ClassDef) and any(
            isinstance(base, ast.Name) and base.id == "Enum" for base in each.bases
        ):
            # Nobody reads the values of a plain enum; those of a StrEnum are written to files.
            parts += each.body
        if isinstance(each, ast.If) and isinstance(each.test, ast.Name) and each.test.id == "TYPE_CHECKING":
            parts.append(each)
        if isinstance(each, ast.Subscript) and isinstance(each.value, ast.Name) and each.value.id == "type":
            parts.append(each)
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant):
            parts.append(each)
        if isinstance(each, ast.JoinedStr):
            parts += [part for part in each.values if isinstance(part, ast.Constant)]
            parts += [part.format_spec for part in each.values if isinstance(part, ast.FormattedValue)]
        skipped |= {id(inner) for part in parts if part is not None for inner in ast.walk(part)}
    return skipped


def _replace(tree: ast.AST, place: ast.AST, replacement: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is place:
                setattr(parent, name, replacement)
            elif isinstance(value, list):
                value[:] = [replacement if item is place else item for item in value]


class _Faulty(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives one module with its fault to those who import it."""

    def __init__(self, name: str, mutant: Mutant, path: Path) -> None:
        self.name = name
        self.mutant = mutant
        self.path = path

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(self.path))

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.mutant.tree, str(self.path), "exec"), module.__dict__)


def passes(tests: Sequence[str], faulty: _Faulty | None, seconds: float) -> bool:
    """
    Run tests in a fork.

    :param tests: files of tests.
    :param faulty: the module with a fault; None for the module as it is.
    :param seconds: how long they may take; longer counts as a failure.
    :return: whether all passed.
    """
    child = os.fork()
    if child == 0:
        _run_in_fork(tests, faulty)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run_in_fork(tests: Sequence[str], faulty: _Faulty | None) -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    code = 1
    with contextlib.suppress(BaseException):
        if faulty is not None:
            sys.meta_path.insert(0, faulty)
            # Before pytest, which loads the modules of its plugins itself, and this package has one.
            import_module(faulty.name)
        code = import_module("pytest").main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests])
    # Without the clean-up at exit, which belongs to the parent.
    os._exit(int(code))


def score_of(module: str, tests: Sequence[str]) -> Score:
    """
    Run the tests of a module on each of its faults.

    :param module: the module's path in the package, without its ending.
    :param tests: files of tests.
    :raises SystemExit: when the tests fail on the module as it is, or do not load it with its faults.
    """
    path = CHECKOUT / PACKAGE / f"{module}.py"
    name = f"{PACKAGE}.{module.replace('/', '.')}"
    began = time.monotonic()
    if not passes(tests, None, 600):
        raise SystemExit(f"{module}: {', '.join(tests)} fail without a fault.")
    # Some faults make a loop endless.
    limit = 5 * (time.monotonic() - began) + 5
    if passes(tests, _Faulty(name, Mutant(1, "", ast.parse("raise ValueError")), path), limit):
        raise SystemExit(f"{module}: the tests do not load the module with its fault.")
    score = Score()
    for mutant in mutants_of(path.read_text()):
        if passes(tests, _Faulty(name, mutant, path), limit):
            score.survivors.append(mutant)
            print(f"{module}.py:{mutant.line}: no test notices {mutant.fault}", flush=True)
        else:
            score.noticed += 1
    return score


def main() -> int:
    """Print each survivor and the score of each module; the exit code is 1 where a score is below the floor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"some of: {', '.join(TESTS)}")
    modules = parser.parse_args().modules or list(TESTS)
    os.chdir(CHECKOUT)
    sys.path.insert(0, str(CHECKOUT))
    for name in _SHARED:
        import_module(name)
    scores = {module: score_of(module, TESTS[module]) for module in modules}
    for module, score in scores.items():
        total = score.noticed + len(score.survivors)
        print(f"{module:24} {score.noticed:4} of {total:4} noticed  {score.share:6.1%}")
    return int(any(score.share < FLOOR for score in scores.values()))


if __name__ == "__main__":
    sys.exit(main())
