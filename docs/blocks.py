"""The fenced blocks of README, docs/ and examples/: what tests/test_docs.py runs, what it does not, and why not.

`python -m docs.blocks` prints how many there are of each; the site's page on proof has the same figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DOCUMENTS: Final = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(path for path in (ROOT / "examples").rglob("README.md") if "node_modules" not in path.parts),
]
SHOWN: Final = {"mermaid", "text", "sql"}
"""Languages that nobody runs: pictures, and what a block before them prints."""

_FENCE: Final = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?(?P<soon><!-- soon -->\n)?"
    r"^```(?P<language>\w*)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    Attributes:
        language: the first word after its fence.
        file: the name that the text is saved under, or None.
        text: what stands between the fences.
        line: where that begins, from 1.
        reason: why it is not run, or None.
        is_soon: it looks at what is done in the background, and is run until it prints what is promised.
        expected: what it prints, or None where the document does not say.
    """

    language: str
    file: str | None
    text: str
    line: int
    reason: str | None
    is_soon: bool
    expected: str | None

    @property
    def is_run(self) -> bool:
        """Whether the tests run it, or save it as the file it names."""
        return self.reason is None and self.language not in SHOWN


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, each with the output that the next one promises."""
    document = path.read_text(encoding="utf-8")
    matches = list(_FENCE.finditer(document))
    found = []
    for match, following in zip_longest(matches, matches[1:]):
        is_output = (
            following is not None
            and following["language"] == "text"
            and not following["reason"]
            and not document[match.end() : following.start()].strip()
        )
        found.append(
            Block(
                match["language"],
                match["file"],
                match["text"],
                document.count("\n", 0, match.start("text")) + 1,
                match["reason"],
                match["soon"] is not None,
                following["text"] if is_output and following is not None else None,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class Counts:
    """How many blocks are run (or saved for one that is), are compared with what they print, only shown, or not run."""

    run: int
    compared: int
    shown: int
    not_run: int


def count(found: Iterable[Block]) -> Counts:
    """Every block is run, shown or not run; those whose output is compared are among the run."""
    all_ = list(found)
    run = [block for block in all_ if block.is_run]
    not_run = [block for block in all_ if block.reason is not None]
    return Counts(
        len(run), sum(block.expected is not None for block in run), len(all_) - len(run) - len(not_run), len(not_run)
    )


def summary() -> str:
    """One line on all documents."""
    all_ = count(block for path in DOCUMENTS for block in blocks(path))
    return (
        f"{all_.run + all_.shown + all_.not_run} blocks: {all_.run} are run, {all_.compared} of these compared with "
        f"what they print; {all_.shown} are outputs, settings and pictures; {all_.not_run} are not run, and say why"
    )


def page() -> str:
    """A row per document that has blocks, and the reason of each block that is not run, in Markdown."""
    lines = [f"{summary()}.", "", "| document | run | compared | shown | not run |", "|---|---|---|---|---|"]
    reasons = ["", "| not run | why |", "|---|---|"]
    for path in DOCUMENTS:
        name = f"`{path.relative_to(ROOT)}`"
        if found := blocks(path):
            counts = count(found)
            lines.append(f"| {name} | {counts.run} | {counts.compared} | {counts.shown} | {counts.not_run} |")
            reasons += [f"| {name}, line {block.line} | {block.reason} |" for block in found if block.reason]
    return "\n".join(lines + reasons) + "\n"


if __name__ == "__main__":
    print(summary())
