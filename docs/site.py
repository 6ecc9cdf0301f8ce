"""Builds the site into docs/_build and looks at what came of it: `make docs`, or `python -m docs.site` in a checkout.

Any warning is an error: a link that leads nowhere, a page that no list of pages has, a language nobody can colour. So
is a page or a style sheet that would have a reader's browser ask another host for anything.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from docs import blocks

FOLDER: Final = Path(__file__).parent
BUILT: Final = FOLDER / "_build"

_FOREIGN: Final = re.compile(r"\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_IN_STYLES: Final = re.compile(r"(?:url\(\s*|@import\s+)[\"']?([^\"')\s]+)", re.IGNORECASE)
# What a browser fetches without being asked to. A link (`a`) is followed by its reader.
_FETCHED: Final = {"src", "srcset", "data", "poster", "background", "action"}


def build(builder: str, out: Path, doctrees: Path, *tags: str) -> int:
    """Run Sphinx; its exit code. `dummy` only reads and follows links, `html` writes pages; tags are for conf.py."""
    from sphinx.cmd.build import main

    flags = ["--quiet", "--fail-on-warning", "--conf-dir", str(FOLDER), "--builder", builder]
    return main(
        [*flags, *(f"--tag={tag}" for tag in tags), "--doctree-dir", str(doctrees), str(FOLDER.parent), str(out)]
    )


def foreign_requests(folder: Path) -> list[str]:
    """Every address on another host that some page or style sheet of a built site asks for, with its file."""
    return [
        f"{path.relative_to(folder)}: {address}"
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".html", ".css", ".svg"}
        for address in _requests(path)
        if _FOREIGN.match(address)
    ]


def _requests(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".css":
        page = _Page()
        page.feed(text)
        yield from page.fetched
    yield from _IN_STYLES.findall(text)


class _Page(HTMLParser):
    """Collects what the tags of a page have a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called for every tag."""
        for name, value in attrs:
            if name in _FETCHED or (name == "href" and tag in {"link", "image", "use"}):
                self.fetched.append(value or "")


def decisions() -> str:
    """A line per decision, oldest number first, in Markdown."""
    lines = []
    for path in sorted((FOLDER / "decisions").glob("0*.md")):
        title = re.sub(r"^#\s*\d+[.:]?\s*", "", path.read_text(encoding="utf-8").partition("\n")[0])
        lines.append(f"- {path.name[:4]} [{title}]({path.name})\n")
    return "".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Build, look, and say where it is; with `--check FOLDER` only read pages and follow their links."""
    if arguments[:1] == ["--check"]:
        scratch = Path(arguments[1])
        return build("dummy", scratch / "site", scratch / "doctrees", "links")
    code = build("html", BUILT / "site", BUILT / "doctrees")
    if code:
        return code
    start = BUILT / "site" / "index.html"
    start.write_text('<!doctype html><meta http-equiv="refresh" content="0; url=docs/index.html">', encoding="utf-8")
    if found := foreign_requests(BUILT / "site"):
        print("pages ask other hosts:", *found, sep="\n", file=sys.stderr)
        return 1
    print(f"{start.relative_to(FOLDER.parent)}: {sum(1 for _ in start.parent.rglob('*.html'))} pages")
    print(blocks.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
