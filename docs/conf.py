"""
How Sphinx builds these pages.

``sphinx-build -W --keep-going -b html docs docs/_build/html``; needs the dependency group ``docs`` and Airflow, and no
network.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

# The docs of this checkout, whatever version is installed.
sys.path.insert(0, str(Path(__file__).parents[1]))

# Importing the operators imports Airflow, which would otherwise write a configuration into the home directory.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="wati-docs-airflow-"))

from airflow_provider_wati import __version__  # after the setting above

project = "airflow-provider-wati"
author = "the authors of airflow-provider-wati"
copyright = f"{datetime.now(tz=UTC).year}, {author}. Apache License 2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["deflist"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

# Headings of these levels can be linked to, as in errors.md#what-may-be-sent-again.
myst_heading_anchors = 3

autodoc_class_signature = "mixed"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_title = f"{project} {release}"
html_show_sphinx = False
html_copy_source = False
