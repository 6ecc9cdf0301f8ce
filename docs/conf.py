"""How Sphinx makes the site: `make docs` writes it to docs/_build. Nothing is fetched, while it is made or read.

Of some pages the repository has only the beginning: what follows is made from the code whenever the site is, so that it
is never stale (`MADE`, docs/decisions/0241).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from docs import blocks, http_api, site
from sphinx.application import Sphinx

import hookline


def commands() -> str:
    """Imported late: it loads every command."""
    from docs import cli

    return cli.page()


def error_codes() -> str:
    """Imported late, as `commands` is."""
    from docs import errors

    return errors.page()


MADE: Final[Mapping[str, Callable[[], str]]] = {
    "docs/cli": commands,
    "docs/errors": error_codes,
    "docs/http-api": http_api.page,
    "docs/proof/blocks": blocks.page,
    "docs/decisions/index": site.decisions,
}
"""What is put in the place of `<!-- made here -->` in a page."""

SLOW: Final = {"docs/cli", "docs/errors", "docs/python-api"}
"""Pages whose making loads all of Hookline; they are left as they are where only links are followed (tag `links`)."""

project = "Hookline"
author = "the authors of Hookline"
version = release = hookline.__version__

# The source folder is the repository's, so that pages link to examples/ and CHANGELOG.md as they do where code is read.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/python-api.rst",
    "docs/proof/*.md",
    "docs/decisions/*.md",
    "examples/*/README.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "bench", "docs/_build", "soak", "src", "tests", "**/node_modules"]  # not even looked through

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of Python's and of ours that have no page
smartquotes = False

default_role = "code"  # docstrings have single backticks
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = "Hookline"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Put in what is made from the code; leave the many decisions out of the tree of pages: one page lists them."""
    if name in SLOW and app.tags.has("links"):
        source[0] = re.sub(r"^\.\. auto.*\n(?:   .*\n)*", "", source[0], flags=re.MULTILINE)
    elif name in MADE:
        source[0] = source[0].replace("<!-- made here -->", MADE[name]())
    if name.startswith("docs/decisions/") and name not in MADE:
        app.env.metadata[name]["orphan"] = True


def outdated(*_: Any) -> list[str]:
    """Pages that are made from the code are made anew, whatever the times of their files."""
    return [*MADE, *SLOW]


def show_code(*given: Any) -> None:
    """In docstrings code is what stands indented below the first words; reStructuredText wants to be told so."""
    lines: list[str] = given[-1]
    section = next((at for at, line in enumerate(lines) if re.fullmatch(r"[A-Z]\w+:", line)), len(lines))
    starts = [
        at
        for at in range(1, section)
        if lines[at].startswith("    ") and not lines[at - 1] and not lines[max(at - 2, 0)].startswith(" ")
    ]
    for at in reversed(starts):
        lines[at:at] = ["::", ""]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read)
    app.connect("env-get-outdated", outdated)
    app.connect("autodoc-process-docstring", show_code, priority=100)  # before napoleon
