"""How Sphinx makes the site: ``make docs``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from airflow_provider_smartech import __version__

ROOT = Path(__file__).parents[1]
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Source"]

project = "airflow-provider-smartech"
author = "the authors of airflow-provider-smartech"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton", "sphinxcontrib.mermaid"]
# What is for maintainers is not part of the site.
exclude_patterns = ["publishing.md"]

myst_fence_as_directive = ["mermaid"]
# So that a link to a heading is checked.
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"{project} {version}"
html_theme_options = {
    "source_repository": f"{REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "docs/",
}


def setup(app: Any) -> None:
    """Register what is special here."""
    app.connect("source-read", link_to_repository)


def link_to_repository(app: Any, page: str, source: list[str]) -> None:
    """Let relative links that leave this folder lead to the repository, where the pages are read too."""
    folder = (ROOT / "docs" / page).parent

    def absolute(found: re.Match[str]) -> str:
        target = (folder / found[1]).resolve()
        inside = target.is_relative_to(ROOT / "docs") or not target.is_relative_to(ROOT)
        return found[0] if inside else f"]({REPOSITORY}/blob/main/{target.relative_to(ROOT)}{found[2] or ''})"

    source[0] = re.sub(r"\]\((\.\./[^)#\s]*)(#[^)\s]*)?\)", absolute, source[0])
