"""The files around the code: workflows, templates and pages agree with the Makefile and pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FILES = [
    *WORKFLOWS,
    *sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: The Airflow versions that are supported.
SERIES = {"3.1.*", "3.2.*", "3.3.*"}


def loaded(file: Path) -> dict[str, Any]:
    found = yaml.safe_load(file.read_text())
    assert isinstance(found, dict)
    return found


def steps_of(workflow: Path) -> list[dict[str, Any]]:
    return [step for job in loaded(workflow)["jobs"].values() for step in job["steps"]]


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def requirements(kind: str) -> list[str]:
    """The requirements of pyproject.toml: ``runtime`` with those of the extras, or ``groups``."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = content["project"]
    extras = [
        each
        for extra in project["optional-dependencies"].values()
        for each in extra
        if not each.startswith(f"{project['name']}[")  # one extra that brings another
    ]
    groups = [each for group in content["dependency-groups"].values() for each in group]
    return groups if kind == "groups" else [*project["dependencies"], *extras]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_yaml_can_be_read(file: Path) -> None:
    """Each workflow, template and hook file is a YAML mapping."""
    assert loaded(file)


def test_the_checks_see_the_files() -> None:
    """There are workflows, templates and targets to check."""
    assert {file.stem for file in WORKFLOWS} == {"ci", "weekly", "release"}
    assert len(FILES) >= 6
    assert {"test", "quick", "unit"} <= targets()


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_calls_targets_that_exist(workflow: Path) -> None:
    """Each command of a workflow is a target of the Makefile, .ci/run or the upload."""
    commands = [step["run"] for step in steps_of(workflow) if "run" in step]
    assert commands
    for command in commands:
        called = re.match(r"make ([a-z-]+)", command)
        if called:
            assert called[1] in targets(), command
        else:
            assert command == ".ci/run" or workflow.stem == "release", command


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_an_action_is_pinned_by_its_commit(workflow: Path) -> None:
    """A tag can be moved to other code; a commit cannot. The tag stands beside it for people."""
    lines = [line for line in workflow.read_text().splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.fullmatch(r"\s*- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9.]+", line), line


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda file: file.name)
def test_a_workflow_may_do_no_more_than_it_needs(workflow: Path) -> None:
    """Workflows read the repository; only the job that publishes may prove who it is, and it runs nothing of ours."""
    content = loaded(workflow)
    assert content["permissions"] == {"contents": "read"}
    more = {name: job["permissions"] for name, job in content["jobs"].items() if "permissions" in job}
    assert more == ({"publish": {"id-token": "write"}} if workflow.stem == "release" else {})
    for job in more:
        assert not any("checkout" in step.get("uses", "") for step in content["jobs"][job]["steps"])


def test_the_matrix_has_every_version_that_is_supported() -> None:
    """All supported series of Airflow run on each Python that they and the classifiers know."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Programming Language :: Python :: "
    pythons = [each.removeprefix(prefix) for each in project["classifiers"] if each.startswith(prefix)]
    matrix = loaded(ROOT / ".github/workflows/ci.yml")["jobs"]["airflow"]["strategy"]["matrix"]
    assert set(matrix["airflow"]) == SERIES
    assert matrix["python"] == pythons
    assert matrix["exclude"] == [{"airflow": "3.1.*", "python": "3.14"}]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_targets_that_exist(page: Path) -> None:
    """Each ``make`` command that a page shows is a target of the Makefile."""
    named = re.findall(r"(?:`|\$ )make ([a-z-]+)", page.read_text())
    assert set(named) <= targets()


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "docs/adr/index.md"])
def test_a_link_of_the_pages_for_contributors_leads_somewhere(name: str) -> None:
    """Every relative link of these pages leads to a file."""
    page = ROOT / name
    links = re.findall(r"\]\(([^)#\s]+)\)", page.read_text())
    assert links
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_every_decision_is_in_the_list() -> None:
    """The list of decisions names each page, and each has what a decision needs."""
    folder = ROOT / "docs" / "adr"
    pages = sorted(path for path in folder.glob("0*.md"))
    listed = re.findall(r"^(0\d+-[\w-]+)$", (folder / "index.md").read_text(), flags=re.MULTILINE)
    assert [path.stem for path in pages] == listed
    for path in pages:
        for part in ("Problem", "Decision", "Reasons", "Cost", "What would change it"):
            assert f"**{part}.**" in path.read_text(), path


def test_every_runtime_dependency_has_its_row() -> None:
    """The page of dependencies has the name and the floor of each, and no other."""
    page = (ROOT / "docs" / "dependencies.md").read_text().partition("## For development")[0]
    rows = re.findall(r"^\|(?: `\w+` \|)? `([\w-]+)` \| ([\d.]+) \|", page, flags=re.MULTILINE)
    assert sorted(f"{name}>={floor}" for name, floor in rows) == sorted(requirements("runtime"))


def test_every_tool_is_named() -> None:
    """The page of dependencies names each package of development, and no other."""
    page = (ROOT / "docs" / "dependencies.md").read_text().partition("## For development")[2]
    cells = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert sorted(re.findall(r"`([\w-]+)`", cells)) == sorted(
        {re.split(r"[\[><=]", each)[0] for each in requirements("groups")}
    )
