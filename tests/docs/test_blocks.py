"""
Every fenced block of the documentation: included from a tested file, executed, or held against what it names.

A block in a language without a check fails, so a new kind of block needs one.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import json
import re
import shlex
import sqlite3
import sys
import textwrap
import tomllib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_provider_wati.get_provider_info import get_provider_info
from tests.docs.test_docs import DOCS, ROOT, dag_in, included

if TYPE_CHECKING:
    from tests.conftest import Sandbox

PAGES = [
    *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
]
#: The account of the examples; a block that is executed calls the sandbox in its place.
ACCOUNT = "https://live-mt-server.wati.io/123456"
SANDBOX = "http://127.0.0.1:8765"
#: Blocks of plain text, by their first words, with what holds them true.
TEXTS = {
    "https://live-mt-server.wati.io/123456": "read as endpoints here",
    "https://airflow.example.com/wati/webhooks/wati_default/THE-SECRET": "compared with the receiver here",
    "AssertionError: Expected 1 message": "tests/docs/test_testing.py::test_the_sandbox_of_the_page_runs",
    "Replay of shop:": "tests/docs/test_testing.py::test_the_report_of_the_page",
}
#: What the tests that run example DAGs say.
TESTS = "\n".join(
    path.read_text()
    for folder in ("docs", "airflow", "scenarios")
    for path in (ROOT / "tests" / folder).glob("test_*.py")
    if path.name not in ("test_docs.py", "test_blocks.py")
)
#: Files that are included and are no example DAG, with the test that uses them.
INCLUDED = {
    "scenario.json": "tests/unit/sandbox/scenarios/test_reading.py",
}


@dataclass(frozen=True)
class Block:
    """
    A fenced block.

    :param page: its file.
    :param line: of the opening fence.
    :param language: the word behind the fence; ``{name}`` for a directive.
    :param argument: what follows the name of a directive.
    :param text: without the fences, and without their indentation.
    """

    page: Path
    line: int
    language: str
    argument: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, from top to bottom."""
    found: list[Block] = []
    fence, start, info, lines = "", 0, "", list[str]()
    for number, line in enumerate(page.read_text().splitlines(), 1):
        mark = re.match(r" *(`{3,}|~{3,})(.*)", line)
        if not fence and mark:
            fence, start, info, lines = mark[1], number, mark[2].strip(), []
        elif fence and mark and mark[1] == fence and not mark[2].strip():
            language, _, argument = info.partition(" ")
            found.append(Block(page, start, language, argument, textwrap.dedent("\n".join(lines))))
            fence = ""
        else:
            lines.append(line)
    assert not fence, f"{page}:{start} is not closed"
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def in_language(*languages: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


#: Sphinx builds these, and test_docs.py holds the build to no warning.
DIRECTIVES = {"{toctree}", "{eval-rst}", "{include}", "{image}", "{figure}"}
CHECKED = {"{literalinclude}", "python", "bash", "console", "ini", "toml", "json", "yaml", "sql", "text"}


def test_blocks_are_found(tmp_path: Path) -> None:
    """Blocks are found with their language, in lists and behind longer fences too."""
    page = tmp_path / "page.md"
    page.write_text(
        "# A\n```python\nx = 1\n```\n- b\n\n  ````text\n  ```\n  y\n  ````\n```{image} a.svg\n```\n"
    )
    assert [(block.line, block.language, block.argument, block.text) for block in blocks_of(page)] == [
        (2, "python", "", "x = 1"),
        (7, "text", "", "```\ny"),
        (11, "{image}", "a.svg", ""),
    ]
    assert len(BLOCKS) > 140
    assert {block.language for block in BLOCKS} >= {"{literalinclude}", "python", "console", "sql", "ini"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_has_a_check(page: Path) -> None:
    """No page has a block in a language that nothing here checks."""
    unchecked = [str(block) for block in blocks_of(page) if block.language not in CHECKED | DIRECTIVES]
    assert unchecked == []


@pytest.mark.parametrize("block", in_language("{literalinclude}"))
def test_what_is_included_is_tested(block: Block) -> None:
    """An included file is an example DAG that a test runs, or has the test that is named here."""
    file = (block.page.parent / block.argument).resolve()
    assert included((block.argument, block.text))
    if file.parent == ROOT / "example_dags":
        assert re.search(rf"\b{file.stem}\b", TESTS), f"no test runs {file.name}"
    else:
        assert file.name in (ROOT / INCLUDED[file.name]).read_text()


@pytest.mark.parametrize("block", in_language("python"))
def test_python_runs(block: Block, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of Python makes a DAG that Airflow reads, runs against the sandbox, or is code of this package."""
    if block.page.name == "CONTRIBUTING.md":
        source = [path.read_text() for path in (ROOT / "airflow_provider_wati").rglob("*.py")]
        assert any(block.text in text for text in source)
        return
    skip_where_airflow_lacks_it(block)
    text = block.text.replace(ACCOUNT, sandbox.endpoint)
    connection = {"conn_type": "wati", "host": sandbox.endpoint, "password": sandbox.token}
    monkeypatch.setenv("AIRFLOW_CONN_WATI_DEFAULT", json.dumps(connection))
    # A text needs an open conversation.
    sandbox.control("POST", "/inbound", {"phone": "85264318722", "text": "Hi"})
    if re.search(r"\bDAG\(|@dag\b", text):
        dag_in(text, tmp_path / "of_the_page.py")
        return
    from airflow.sdk import DAG

    # Some decorators look the module of a function up.
    module = ModuleType("of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    names = module.__dict__
    names["token"] = sandbox.token
    with DAG("of_the_page", schedule=None):
        exec(compile(text, str(block), "exec"), names)
    for expression, value in told_values(text):
        found = eval(expression, names)
        assert value in (repr(found), f"{type(found).__name__}.{getattr(found, 'name', '')}"), expression


def skip_where_airflow_lacks_it(block: Block) -> None:
    """Skip a block on a version of Airflow that does not have a name that it imports."""
    sdk = __import__("airflow.sdk", fromlist=["sdk"])
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module == "airflow.sdk":
            lacking = [alias.name for alias in node.names if not hasattr(sdk, alias.name)]
            if lacking:
                pytest.skip(
                    f"this Airflow has no airflow.sdk.{lacking[0]}; the page says from which version on"
                )


def told_values(text: str) -> list[tuple[str, str]]:
    """Return the expressions that have their value in a comment behind them, as in ``f(1)  # True: why``."""
    return re.findall(r"^(\S.*?)  # ([\w.]+)(?:: .*)?$", text, flags=re.MULTILINE)


def test_values_in_comments_are_read() -> None:
    """An expression and the value behind it are told from other comments."""
    text = 'f("a")  # True: why\nx = 1\n# no value\n    g()  # not of this level\nh()  # A.B'
    assert told_values(text) == [('f("a")', "True"), ("h()", "A.B")]


def commands_of(block: Block) -> list[list[str]]:
    """Return the commands of a block; in a console block they stand behind ``$``."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    if block.language == "console":
        text = "\n".join(re.findall(r"^\$ (.*)", text, flags=re.MULTILINE))
    commands: list[list[str]] = []
    unfinished = ""
    for line in text.splitlines():
        unfinished += line
        try:
            commands.append(shlex.split(unfinished, comments=True))
            unfinished = ""
        except ValueError:  # a quotation goes on in the next line
            unfinished += "\n"
    assert not unfinished, block
    return [command for command in commands if command]


@pytest.mark.parametrize("block", in_language("bash", "console"))
def test_commands_exist(block: Block, sandbox: Sandbox) -> None:
    """Each command that a page shows is known, with its options; calls of the sandbox are made."""
    commands = commands_of(block)
    assert commands
    for command in commands:
        name, arguments = command[0], command[1:]
        if name.startswith(".venv/bin/"):
            name = name.removeprefix(".venv/bin/")
        assert name in COMMANDS, f"no check knows the command {name}"
        COMMANDS[name](arguments, sandbox)


def check_make(arguments: list[str], _: Sandbox) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    [target, *variables] = arguments
    assert target in targets
    assert all(re.fullmatch(r"[A-Z_]+=\S+", variable) for variable in variables)


def check_pip(arguments: list[str], _: Sandbox) -> None:
    given = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = given["project"]
    # What other packages bring is known with the extras that the tests of the cluster install.
    known = [
        re.split("[><=]", each)[0]
        for each in [*project["dependencies"], *given["dependency-groups"]["cluster"]]
    ]
    assert arguments[0] in ("install", "uninstall")
    for requirement in arguments[1:]:
        name, *extras = requirement.removesuffix("]").split("[")
        if name == project["name"]:
            assert set(",".join(extras).split(",")) <= {*project["optional-dependencies"], ""}
        else:
            assert requirement in known


def check_python(arguments: list[str], _: Sandbox) -> None:
    if arguments[0] == "-m":
        module, options = arguments[1], arguments[2:]
        if module == "airflow_provider_wati.sandbox":
            parsed = sandbox_options().parse_args(options)
            assert not (parsed.scenario or "").endswith(".json") or (ROOT / parsed.scenario).is_file()
            return
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
        return
    script = ROOT / arguments[0]
    assert script.is_file()
    options = [word for word in arguments[1:] if word.startswith("--")]
    assert [option for option in options if f'"{option}"' not in script.read_text()] == []


def sandbox_options() -> argparse.ArgumentParser:
    from airflow_provider_wati.sandbox import __main__ as sandbox

    return sandbox._parser()


def check_airflow(arguments: list[str], _: Sandbox) -> None:
    from airflow.cli.cli_parser import get_parser

    get_parser().parse_args(arguments)


def check_export(arguments: list[str], _: Sandbox) -> None:
    from airflow_provider_wati.hooks.wati import WatiHook

    [assignment] = arguments
    name, value = assignment.split("=", 1)
    if name.startswith("AIRFLOW_CONN_"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, value)
            hook = WatiHook(name.removeprefix("AIRFLOW_CONN_").lower())
            assert hook.client
            assert hook.settings.unknown == ()
        return
    section, option = name.split("__")[1:]
    if section == "WATI":
        assert option.lower() in get_provider_info()["config"]["wati"]["options"]
        return
    if section == "CELERY":
        # Options of a provider that is installed for one test only, which sets them.
        assert name in (ROOT / "tests/airflow/test_cluster.py").read_text()
        return
    from airflow.configuration import conf

    assert conf.has_option(section.lower(), option.lower())


def check_curl(arguments: list[str], sandbox: Sandbox) -> None:
    import requests

    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("-X", dest="method")
    parser.add_argument("-H", dest="headers", action="append", default=[])
    parser.add_argument("--json")
    call = parser.parse_args(arguments)
    headers = dict(header.replace("sandbox-token", sandbox.token).split(": ", 1) for header in call.headers)
    path = call.url.removeprefix("http://").removeprefix("127.0.0.1:8765").removeprefix("localhost:8765")
    assert path.startswith("/"), call.url
    body = None if call.json is None else json.loads(call.json)
    method = call.method or ("GET" if body is None else "POST")
    answer = requests.request(method, f"{sandbox.url}{path}", json=body, headers=headers, timeout=30)
    assert answer.ok, f"{call.url}: {answer.status_code} {answer.text}"


def check_pytest(arguments: list[str], _: Sandbox) -> None:
    files = [word.split("::")[0] for word in arguments if word.startswith("tests/")]
    assert files
    assert all((ROOT / file).exists() for file in files)


COMMANDS: dict[str, Callable[[list[str], Sandbox], None]] = {
    "airflow": check_airflow,
    "curl": check_curl,
    "export": check_export,
    "make": check_make,
    "pip": check_pip,
    "pytest": check_pytest,
    "python": check_python,
}


def test_commands_are_read() -> None:
    """Commands are read with their quotes and continued lines, output is not, and comments are not."""
    console = "$ make demo  # a comment\noutput\n$ pip install 'a[b]' \\\n    --json '{\"a\": 1}'"
    assert commands_of(Block(ROOT, 1, "console", "", console)) == [
        ["make", "demo"],
        ["pip", "install", "a[b]", "--json", '{"a": 1}'],
    ]
    assert commands_of(Block(ROOT, 1, "bash", "", "export A='{\n  1\n}'\nmake b")) == [
        ["export", "A={\n  1\n}"],
        ["make", "b"],
    ]


@pytest.mark.parametrize("block", in_language("ini"))
def test_options_exist(block: Block) -> None:
    """A piece of airflow.cfg names options that Airflow or this provider has."""
    from airflow.configuration import conf

    content = configparser.ConfigParser(interpolation=None)
    content.read_string(block.text)
    assert content.sections()
    for section in content.sections():
        for option in content.options(section):
            known = get_provider_info()["config"].get(section, {}).get("options", {})
            assert option in known or conf.has_option(section, option), f"[{section}] {option}"


def test_data_can_be_read() -> None:
    """Each piece of JSON, TOML or YAML can be read as such."""
    readers: dict[str, Any] = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
    assert [str(b) for b in BLOCKS if b.language in readers and not readers[b.language](b.text)] == []


@pytest.mark.parametrize("block", in_language("sql"))
def test_sql_runs(block: Block) -> None:
    """A query runs on the tables as the extractions create them."""
    from airflow_provider_wati.extracting.campaign_recipients import CAMPAIGN_RECIPIENTS
    from airflow_provider_wati.extracting.contacts import CONTACTS
    from airflow_provider_wati.extracting.messages import MESSAGES

    tables = {
        "wati_contacts": CONTACTS,
        "wati_messages": MESSAGES,
        "wati_campaign_recipients": CAMPAIGN_RECIPIENTS,
    }
    with closing(sqlite3.connect(":memory:")) as database:
        for name, table in tables.items():
            database.execute(f"CREATE TABLE {name} ({', '.join(column.name for column in table.columns)})")
        database.execute(block.text)


@pytest.mark.parametrize("block", in_language("text"))
def test_text_is_held_by_a_test(block: Block) -> None:
    """A block of plain text is checked here, or by the test that is named for it."""
    [(start, by)] = [(start, by) for start, by in TEXTS.items() if block.text.startswith(start)]
    if "::" in by:
        file, _, test = by.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text()
    elif start.startswith("https://live"):
        from airflow_provider_wati.client.endpoint import Endpoint

        assert len({Endpoint.parse(line) for line in block.text.splitlines()}) == 1
    else:
        from airflow_provider_wati.plugins import webhooks

        assert webhooks.WatiWebhooksPlugin.fastapi_apps[0]["url_prefix"] == "/wati"
