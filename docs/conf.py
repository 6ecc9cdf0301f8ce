"""How Sphinx makes the site: `make docs` writes it to docs/_build. Nothing is fetched, while it is made or read.

Of some pages the repository has only the beginning: what follows is made from the code whenever the site is, so that it
is never stale (`MADE`, docs/decisions/0241).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from docs import blocks, site
from sphinx.application import Sphinx

import hookline

MADE: Final[Mapping[str, Callable[[], str]]] = {
    "docs/proof/blocks": blocks.page,
    "docs/decisions/index": site.decisions,
}
"""What is put in the place of `<!-- made here -->` in a page."""

project = "Hookline"
author = "the authors of Hookline"
version = release = hookline.__version__

# The source folder is the repository's, so that pages link to examples/ and CHANGELOG.md as they do where code is read.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/proof/*.md",
    "docs/decisions/*.md",
    "examples/*/README.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "bench", "docs/_build", "soak", "src", "tests", "**/node_modules"]  # not even looked through

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nitpicky = True
smartquotes = False

html_theme = "furo"
html_title = "Hookline"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False


def read(app: Sphinx, name: str, source: list[str]) -> None:
    """Put in what is made from the code; leave the many decisions out of the tree of pages: one page lists them."""
    if name in MADE:
        source[0] = source[0].replace("<!-- made here -->", MADE[name]())
    if name.startswith("docs/decisions/") and name not in MADE:
        app.env.metadata[name]["orphan"] = True


def outdated(*_: Any) -> list[str]:
    """Pages that are made from the code are made anew, whatever the times of their files."""
    return list(MADE)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", read)
    app.connect("env-get-outdated", outdated)
