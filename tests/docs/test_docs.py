"""The documentation: complete, without broken links, and true where a test can check it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from airflow_provider_wati import exceptions
from airflow_provider_wati.client import Target
from airflow_provider_wati.client.rate_limit import EndpointGroup, rate_limits_of
from airflow_provider_wati.exceptions import WatiError, WatiValidationError

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from tests.conftest import Sandbox

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "example_dags"
PAGES = sorted(DOCS.glob("*.md"))

RunDag = Callable[["DAG"], dict[str, Any]]


def operators() -> dict[str, str]:
    """The operators and sensors by their name, with the module of each."""
    found = {}
    package = ROOT / "airflow_provider_wati"
    for file in sorted(
        file for part in ("operators", "sensors", "transfers") for file in (package / part).glob("[a-z]*.py")
    ):
        module = f"airflow_provider_wati.{file.parent.name}.{file.stem}"
        for name, value in vars(importlib.import_module(module)).items():
            if re.fullmatch(r"(SqlTo)?Wati\w+(Operator|Sensor)", name) and value.__module__ == module:
                found[name] = module
    return found


OPERATORS = operators()


def page_of(name: str) -> str:
    """The page of an operator, without its suffix."""
    if name.endswith("Sensor"):
        return "waiting"
    if name == "WatiSubscribeWebhookOperator":
        return "subscribe"
    if ".wati_to_" in OPERATORS[name]:
        return "warehouse"
    return "sql" if name.startswith("Sql") else OPERATORS[name].rpartition(".")[2]


def without_code(text: str) -> str:
    fenceless = re.sub(r"^(`{3,}|~{3,}).*?^\1[`~]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "code", fenceless)


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    fenceless = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#{1,3} +(.+?) *$", fenceless, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links_of(page: Path) -> list[str]:
    return re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", without_code(page.read_text()))


def broken_links(page: Path) -> Iterator[str]:
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and (target.suffix != ".md" or anchor not in anchors_of(target))):
            yield link


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    """The link check finds missing pages and missing headings."""
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# Other\n\n## `code` and more\n\n```\n# no heading\n```\n")
    page.write_text(
        "# Page\n[a](other.md) [b\nc](other.md#code-and-more) [d](#page) `[e](code.md)` [f](https://example.com)\n"
        "[g](missing.md) [h](other.md#no-heading) [i](#other)\n"
    )
    assert list(broken_links(page)) == ["missing.md", "other.md#no-heading", "#other"]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_no_link_is_broken(page: Path) -> None:
    """Every link inside the documentation leads to a page and a heading."""
    assert list(broken_links(page)) == []


def test_links_are_seen_at_all() -> None:
    """The link check reads the links of the pages."""
    assert len([link for page in PAGES for link in links_of(page)]) > 30
    assert "docs/index.md" in links_of(ROOT / "README.md")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: page.name)
def test_python_in_the_docs_is_python(page: Path) -> None:
    """Every Python block parses, and the names it imports exist."""
    for block in python_blocks(page):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("airflow_provider_wati"):
                module = importlib.import_module(str(node.module))
                for alias in node.names:
                    full_name = f"{node.module}.{alias.name}"
                    assert hasattr(module, alias.name) or importlib.util.find_spec(full_name)


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def included(directive: tuple[str, str]) -> str:
    """What a literalinclude puts into the page."""
    path, options = directive
    text = (DOCS / path).read_text()
    markers = dict(re.findall(r':(start-after|end-before): "(.+)"', options))
    if markers:
        start, end = markers["start-after"], markers["end-before"]
        assert text.count(f"{start}\n") == 1, f"{start} in {path}"
        assert text.count(f"{end}\n") == 1, f"{end} in {path}"
        text = text.split(f"{start}\n")[1].split(end)[0]
    assert text.strip(), f"nothing of {path} is included by {options}"
    return text


def includes_of(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```\{literalinclude\} (\S+)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def sections() -> Iterator[tuple[str, str]]:
    """The parts of all pages, one for each heading of the second level."""
    for page in PAGES:
        for part in re.split(r"^## ", page.read_text(), flags=re.MULTILINE):
            yield page.name, part


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_has_its_section_with_an_example(name: str) -> None:
    """Each operator has one section on its page, with an example that uses it."""
    directive = f".. autoclass:: {OPERATORS[name]}.{name}\n"
    [(page, section)] = [(page, section) for page, section in sections() if directive in section]
    assert page == f"{page_of(name)}.md"
    examples = [included(directive) for directive in includes_of(section)]
    assert examples
    assert all(re.search(rf"\b{name}(\.partial)?\(", example) for example in examples)


def test_what_operators_refer_to_for_the_rest_is_on_their_page() -> None:
    """The base class that docstrings refer to is on the page of its operators."""
    assert (
        "autoclass:: airflow_provider_wati.operators._template_send.WatiBulkSendOperator\n"
        in (DOCS / "templates.md").read_text()
    )


def test_every_operator_is_found() -> None:
    """The list of operators is not empty by mistake."""
    assert len(OPERATORS) >= 20
    assert "WatiOperator" not in OPERATORS


def test_no_marker_of_an_example_is_left_over() -> None:
    """Each marked part of an example is shown on exactly one page."""
    shown = [
        (Path(path).name, marker)
        for _, section in sections()
        for path, options in includes_of(section)
        for marker in re.findall(r"\[START (\w+)\]", options)
    ]
    there = [
        (file.name, marker)
        for file in EXAMPLES.glob("*.py")
        for marker in re.findall(r"# \[START (\w+)\]", file.read_text())
    ]
    assert len(there) > 20
    assert set(shown) == set(there)
    assert len(there) == len(set(there))


def test_every_example_is_listed() -> None:
    """The page of examples lists every example DAG."""
    listed = re.findall(r"^\| `(\w+)` \|", (DOCS / "examples.md").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(file.stem for file in EXAMPLES.glob("*.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation as HTML, built with warnings as errors and without network."""
    for package in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: the docs are built with the dependency group docs")
    folder = tmp_path_factory.mktemp("site")
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, "http_proxy": nowhere, "https_proxy": nowhere, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(DOCS)]
    done = subprocess.run(
        [*command, str(folder)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_docs_build_without_a_warning_and_without_network(site: Path) -> None:
    """Sphinx builds a page of each file, with each operator on its page."""
    for page in PAGES:
        assert (site / page.name).with_suffix(".html").is_file()
    for name, module in OPERATORS.items():
        page_html = (site / f"{page_of(name)}.html").read_text()
        assert f'id="{module}.{name}"' in page_html


class Links(HTMLParser):
    """Collects the places of a page that can be linked to, and what it links to or shows."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.ids |= {found[name] for name in ("id", "name") if name in found}
        self.links += [found[name] for name in ("href", "src") if name in found]


def dead_links(site: Path) -> Iterator[str]:
    """Yield the links of a site to its own pages, files and headings that lead nowhere."""
    pages = {page: Links(page) for page in site.rglob("*.html")}
    for page, content in pages.items():
        for link in content.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (page.parent / unquote(url.path)).resolve() if url.path else page
            is_there = target.is_file() if not url.fragment else target in pages
            if not is_there or (url.fragment and unquote(url.fragment) not in pages[target].ids):
                yield f"{page.relative_to(site)}: {link}"


def test_a_dead_link_of_a_site_is_found(tmp_path: Path) -> None:
    """The check of the site finds missing pages, headings and images."""
    (tmp_path / "a.html").write_text(
        '<h1 id="a">A</h1><a href="#a">1</a><a href="b/c.html#d%20e">2</a><a href="https://example.com">3</a>'
        '<a href="#b">4</a><a href="c.html">5</a><img src="d.png"><a href="b/c.html#a">6</a>'
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.html").write_text('<h1 id="d e">C</h1><a href="../a.html">7</a>')
    assert sorted(dead_links(tmp_path)) == [
        "a.html: #b",
        "a.html: b/c.html#a",
        "a.html: c.html",
        "a.html: d.png",
    ]


def test_no_link_of_the_site_is_dead(site: Path) -> None:
    """Every link of the built pages to a page, a heading or an image leads there, also those that Sphinx makes."""
    # What these lead to is made by the page's own script, or is Sphinx's list of nothing.
    assert [link for link in dead_links(site) if not link.endswith(": #")] == []


def test_the_reference_lists_every_operator_and_the_client() -> None:
    """The API reference names each operator once, and describes what the client exports."""
    from airflow_provider_wati import client

    page = (DOCS / "api.md").read_text()
    named = re.findall(r"`((?:SqlTo)?Wati\w+(?:Operator|Sensor))`", page)
    assert sorted(named) == sorted(OPERATORS)
    assert {name for name in client.__all__ if f".{name}\n" not in page} == set()


def rows_of(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    [section] = [part for name, part in sections() if name == page and part.startswith(f"{heading}\n")]
    table = re.search(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n?)+)", section, flags=re.MULTILINE)
    assert table is not None
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.group(1).strip().splitlines()
    ]


def test_phone_formats_are_as_the_page_says() -> None:
    """A single target is accepted or refused as the table says."""
    rows = rows_of("identifiers.md", "Phone format")
    assert len(rows) > 8
    for given, verdict in rows:
        number = given.strip("`")
        if verdict == "accepted":
            assert str(Target.phone(number)) == str(Target.parse(number)) == number
        else:
            assert verdict.startswith("refused: ")
            with pytest.raises(WatiValidationError):
                Target.parse(number)
            with pytest.raises(WatiValidationError):
                Target.phone(number)


def test_phone_numbers_in_rows_are_read_as_the_page_says() -> None:
    """Phone numbers in rows are read as the table says, with and without a region."""
    from airflow_provider_wati.tables.phone_numbers import TargetReader

    rows = rows_of("identifiers.md", "Numbers in rows")
    assert len(rows) > 8
    for given, *cells in rows:
        for reader, cell in zip((TargetReader("IN"), TargetReader()), cells, strict=True):
            if cell == "invalid":
                with pytest.raises(WatiValidationError):
                    reader.read(given.strip("`"))
            else:
                assert reader.read(given.strip("`")) == cell.strip("`")


def test_a_send_s_statuses_summary_and_columns_are_as_the_page_says(sandbox: Sandbox) -> None:
    """The page names exactly the statuses, summary keys and outcome columns of a send."""
    from airflow_provider_wati.clock import SYSTEM_CLOCK
    from airflow_provider_wati.sending.job import SendJob
    from airflow_provider_wati.sending.journal import Journal, Start
    from airflow_provider_wati.sending.row_mapping import map_recipient
    from airflow_provider_wati.state.journal_store import NoJournalStore
    from airflow_provider_wati.tables.outcomes import SEND_COLUMNS, SendStatus

    page = "reliability.md"
    statuses = {row[0].strip("`") for row in rows_of(page, "What each status means")}
    assert statuses == set(SendStatus)
    send = SendJob(
        client=sandbox.client(),
        template_name="welcome",
        campaign_name="b",
        send_key="k",
        journal=Journal(NoJournalStore(), SYSTEM_CLOCK),
        start=Start.NEW,
        mapping=map_recipient,
        dry_run=True,
    )
    send.run([])
    named = {name for row in rows_of(page, "Summary and outcomes") for name in re.findall(r"`(\w+)`", row[0])}
    optional = {"estimate", "scheduled_at"}
    assert named - optional | statuses == set(send.summary()) - optional
    columns = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \|", (DOCS / page).read_text().split("| Column |")[1].split("\n\n")[0], re.M
    )
    assert tuple(re.findall(r"\w+", " ".join(columns))) == SEND_COLUMNS


def test_targets_are_accepted_as_the_page_says() -> None:
    """Each group of endpoints accepts the kinds of target that the table says."""
    from airflow_provider_wati.client import target

    values = {
        "phone number": "85264318722",
        "contact id": target.Target.contact("507f1f77bcf86cd799439011"),
        "conversation id": target.Target.conversation("685bd235e6119686e693a093"),
        "BSUID": "US.123124141512",
    }
    rules = {
        "looked up": target.CONTACTS,
        "[messages]": target.CONVERSATIONS,
        "[chatbots]": target.CHATBOTS,
        "recipients": target.RECIPIENTS,
    }
    rows = rows_of("identifiers.md", "Which operator takes which")
    for words, rule in rules.items():
        [(_, *cells, channel)] = [row for row in rows if words in row[0]]
        for kind, cell in zip(values, cells, strict=True):
            assert takes(rule, values[kind]) is (cell == "yes"), f"{words}: {kind}"
        assert takes(rule, "Support:85264318722") is channel.startswith("yes")


def takes(rule: Any, target: Any) -> bool:
    try:
        rule.check(target)
    except WatiValidationError:
        return False
    return True


def test_paces_are_as_the_page_says() -> None:
    """The rate limits of the plans are those of the client."""
    families = {
        "template sends": EndpointGroup.TEMPLATES,
        "contacts": EndpointGroup.CONTACTS,
        "conversations": EndpointGroup.CONVERSATIONS,
        "campaigns": EndpointGroup.CAMPAIGNS,
    }
    rows = {row[0].split(",")[0].split(" and ")[0]: row[1:4] for row in rows_of("scopes.md", "Plans")}
    for words, family in families.items():
        published = [rate_limits_of(plan)[family] for plan in ("growth", "pro", "business")]
        assert [(int(cell.removesuffix(" calls")), 10.0) for cell in rows[words]] == published


def test_every_operator_has_its_scopes() -> None:
    """The table of scopes has every operator."""
    named = " ".join(row[0] for row in rows_of("scopes.md", "Scopes"))
    assert set(re.findall(r"(?:SqlTo)?Wati\w+(?:Operator|Sensor)", named)) == set(OPERATORS)


def test_every_error_has_its_row() -> None:
    """The table of errors has every class."""
    rows = rows_of("errors.md", "What each error asks of you")
    classes = {name for name, value in vars(exceptions).items() if isinstance(value, type)}
    assert {row[0].strip("`") for row in rows} == classes - {WatiError.__name__}


def dag_in(block: str, file: Path) -> DAG:
    """Let Airflow's DAG processor read a block as the file that a reader would make of it."""
    from tests.conftest import read_dags

    file.write_text(block)
    bag = read_dags(str(file))
    assert bag.import_errors == {}
    [dag] = bag.dags.values()
    return dag


def test_the_quickstart_works(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """The DAG of the quickstart runs in Airflow and sends its message."""
    [block] = python_blocks(DOCS / "quickstart.md")
    dag = dag_in(block, tmp_path / "tell_customer.py")
    assert run_dag(dag)["tell_customer"].state == "success"
    assert "Hi Ada, your order 1001 is packed." in sandbox.texts_to("12025550143")


def test_the_retry_policy_works(run_dag: RunDag, sandbox: Sandbox, tmp_path: Path) -> None:
    """The retry policy of the page fails, waits and retries as it says."""
    try:
        from airflow.sdk import ExceptionRetryPolicy, RetryAction
    except ImportError:
        pytest.skip("retry policies came with Airflow 3.3")
    [block] = python_blocks(DOCS / "errors.md")
    dag = dag_in(block, tmp_path / "patient.py")
    sandbox.fault("status", status=401)
    ti = run_dag(dag)["tell"]
    assert (ti.state, ti.try_number, ti.max_tries) == ("failed", 1, 3)

    given: Any = dag.get_task("tell").retry_policy
    stored = ExceptionRetryPolicy.deserialize(given.serialize())
    for policy in (given, stored):
        decisions = {
            name: policy.evaluate(error(name), 1, 3)
            for name, error in vars(exceptions).items()
            if isinstance(error, type)
        }
        failing = {name for name, decision in decisions.items() if decision.action is RetryAction.FAIL}
        assert failing == {
            "WatiConfigurationError",
            "WatiValidationError",
            "WatiBadRequestError",
            "WatiAuthenticationError",
            "WatiPermissionError",
            "WatiNotFoundError",
            "WatiConflictError",
        }
        assert decisions["WatiUnknownOutcomeError"].action is RetryAction.DEFAULT
        slow = decisions["WatiRateLimitError"].retry_delay
        assert slow is not None
        assert slow.total_seconds() == 600
