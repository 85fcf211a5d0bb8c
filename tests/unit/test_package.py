"""The wheel and the sdist: they hold what they should, and nothing else."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.message import Message
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from airflow_provider_wati import __version__
from tests.ui.announced import CHECKOUT

NAME = "airflow_provider_wati"
LEFT_BEHIND = re.compile(
    r"(^|/)(__pycache__|_build|\.venv|\.demo|\.airflow|\.hypothesis|\.\w+_cache|dist)(/|$)|\.pyc$"
)
#: Folders that the sdist takes whole.
FOLDERS = (NAME, "tests", "docs", "example_dags", "scripts", ".ci", ".github")
#: Single files of the sdist, beside what the index needs.
FILES = (
    ".editorconfig",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "hatch_build.py",
    "pyproject.toml",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel and the sdist of this checkout."""
    directory = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(directory)],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    return directory


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    [path] = built.glob("*.whl")
    return zipfile.ZipFile(path)


def files_of(*folders: str) -> Iterator[str]:
    """The files under folders of the checkout, without what work leaves behind."""
    for folder in folders:
        for path in (CHECKOUT / folder).rglob("*"):
            name = path.relative_to(CHECKOUT).as_posix()
            if path.is_file() and not LEFT_BEHIND.search(name):
                yield name


def metadata_of(wheel: zipfile.ZipFile) -> Message:
    return email.message_from_bytes(wheel.read(f"{NAME}-{__version__}.dist-info/METADATA"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """All files of the package are in the wheel, py.typed too, and beside them only its metadata."""
    about = f"{NAME}-{__version__}.dist-info"
    metadata = {
        f"{about}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }
    assert set(wheel.namelist()) == {*files_of(NAME), *metadata}
    assert f"{NAME}/py.typed" in wheel.namelist()


def test_the_sdist_holds_what_tests_and_docs_need_and_nothing_else(built: Path) -> None:
    """Who has the sdist alone can run the tests and build the docs."""
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert names == {*files_of(*FOLDERS), *FILES, "PKG-INFO"}


def test_the_page_of_the_index_has_no_link_that_leads_nowhere(wheel: zipfile.ZipFile) -> None:
    """The description has no relative link, and the words of each are still there."""
    description = metadata_of(wheel).get_payload()
    assert isinstance(description, str)
    targets = re.findall(r"\]\(([^)]+)\)", description)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []
    assert "docs/templates.md" in description


def test_the_metadata_says_what_an_index_shows(wheel: zipfile.ZipFile) -> None:
    """Version, licence, authors and types are those of the project."""
    metadata = metadata_of(wheel)
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Author"]
    assert metadata["Requires-Python"] == ">=3.11"
    classifiers = metadata.get_all("Classifier")
    assert classifiers is not None
    assert {"Framework :: Apache Airflow :: Provider", "Typing :: Typed"} <= set(classifiers)


def test_a_dependency_has_a_floor_and_no_ceiling(wheel: zipfile.ZipFile) -> None:
    """An upper bound would keep users from an update for a break that nobody has seen."""
    requirements = metadata_of(wheel).get_all("Requires-Dist")
    assert requirements is not None
    assert all(re.fullmatch(r"[\w-]+>=[\w.]+( *;.*)?", requirement) for requirement in requirements)


def hook() -> ModuleType:
    """The module that makes the description."""
    spec = spec_from_file_location("hatch_build", CHECKOUT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, "See a page and [b](https://example.com), [c](#below)."),
        (
            "https://code.example/v1",
            "See [a page](https://code.example/v1/docs/a.md#part) and [b](https://example.com), [c](#below).",
        ),
    ],
)
def test_relative_links_become_words_or_links_to_the_source(source: str | None, expected: str) -> None:
    """A link of the repository leads to the source if there is one; other links stay."""
    text = "See [a page](docs/a.md#part) and [b](https://example.com), [c](#below)."
    assert hook().readme_of_index(text, source) == expected
