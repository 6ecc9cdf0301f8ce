"""What no tracked file may hold, and what the pure folders may import: the rules of the house that no linter knows."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Standard library that neither waits, draws, measures nor remembers. `hookline` itself is policed by lint-imports.
PURE = {
    "__future__",
    "base64",
    "bisect",
    "collections",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "email",  # its readers of HTTP dates
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "hmac",
    "hookline",
    "importlib",  # samples are package data
    "ipaddress",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "re",
    "struct",
    "types",
    "typing",
    "unicodedata",
    "urllib",
}

# Each pattern is split so that this file does not match itself.
FORBIDDEN = {
    "a package registry's host": re.compile(
        "|".join(
            re.escape(a + b)
            for a, b in [
                ("pypi", ".org"),
                ("pythonhosted", ".org"),
                ("registry.npm", "js.org"),
                ("npmjs", ".com"),
                ("deb.debian", ".org"),
                ("archive.ubuntu", ".com"),
                ("crates", ".io"),
                ("proxy.golang", ".org"),
            ]
        )
    ),
    "a path of one machine": re.compile(
        r"(?<![\w.$}-])/(?:root|work|home/[a-z]\w*|Users/[A-Za-z]\w*)(?:/|\b(?![\w-]))"
    ),
    "a private key": re.compile("-----BEGIN [A-Z ]*PRIVATE" + " KEY-----"),
    "a live-looking provider key": re.compile(
        r"\b(?:AKIA[0-9A-Z]{16}|ghp_[A-Za-z0-9]{36}|xox[bap]-[0-9A-Za-z-]{20,}|sk_live_[0-9A-Za-z]{16,})\b"
    ),
    "credentials in a URL": re.compile(
        r"\bhttps?://[^/\s:@'\"<>{}\[\]]+:[^/\s@'\"<>{}\[\]]+@(?!127\.|localhost\b|(?:[\w-]+\.)*(?:example|test)\b)[a-z0-9.-]+"
    ),
}


def tracked() -> list[Path]:
    """Every tracked text file; without git (an unpacked archive) the test that asks is skipped with that reason."""
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: no list of tracked files")
    return [ROOT / name for name in listing.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_tracked_file_holds(what: str) -> None:
    """No tracked file names a registry's host or a machine's path, or holds a secret."""
    pattern = FORBIDDEN[what]

    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if (match := pattern.search(line))
    ]

    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a package registry's host", "index-url = https://pypi" + ".org/simple"),
        ("a path of one machine", "cd /ro" + "ot/project"),
        ("a path of one machine", "sqlite:////ho" + "me/ada/hookline.db"),
        ("a private key", "-----BEGIN RSA PRIVATE" + " KEY-----"),
        ("credentials in a URL", "https://ada:pass" + "word@git.corp/x"),
    ],
)
def test_the_patterns_would_find(what: str, line: str) -> None:
    """The patterns above match what they are for, so an empty result means something."""
    assert FORBIDDEN[what].search(line)


@pytest.mark.parametrize("package", ["wire", "rules"])
def test_pure_folders_import_only_what_computes(package: str) -> None:
    """`wire` and `rules` import nothing that could read a clock, draw a number, wait, or reach the outside."""
    files = sorted((ROOT / "src" / "hookline" / package).rglob("*.py"))
    assert files

    strays = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported(node)
        if name.partition(".")[0] not in PURE
    ]

    assert strays == []


@pytest.mark.parametrize("package", ["wire", "rules"])
def test_pure_folders_never_ask_for_now(package: str) -> None:
    """`datetime` may be computed with there, but "now" and "today" are arguments."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: .{node.attr}"
        for path in sorted((ROOT / "src" / "hookline" / package).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
    ]

    assert found == []


def imported(node: ast.AST) -> list[str]:
    """The modules a statement imports, absolute names only (relative imports are this package's)."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom(level=0, module=str(module)):
            return [module]
        case _:
            return []


def test_readme_fits_on_a_few_screens() -> None:
    """The README stays within 150 lines: it shows the door, docs/ is the house."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def pins(name: str) -> dict[str, str]:
    """Package -> exact version, of one requirements file."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;]+)", text, re.MULTILINE))


def test_requirements_cover_what_pyproject_asks_for() -> None:
    """Whatever pyproject.toml names is pinned, and both requirement files agree on every version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    light = project["project"]["dependencies"]
    server = project["project"]["optional-dependencies"]["server"]
    dev = project["dependency-groups"]["dev"]

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[^A-Za-z0-9._-]", entry, maxsplit=1)[0].lower() for entry in requirements}

    assert names(light + server) <= pins("server.txt").keys()
    assert names(light + server + dev) <= pins("dev.txt").keys()
    assert pins("server.txt").items() <= pins("dev.txt").items()


@pytest.mark.parametrize("name", ["dev.txt", "server.txt", "node.txt"])
def test_requirements_are_hashed_and_name_no_place(name: str) -> None:
    """Every pin carries hashes, and no line says where to fetch from."""
    lines = (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines()
    entries = [index for index, line in enumerate(lines) if "==" in line and not line.startswith((" ", "#"))]

    assert entries
    assert all(lines[index + 1].lstrip().startswith("--hash=sha256:") for index in entries)
    assert not [line for line in lines if re.search(r"--(?!hash)|://|@", line)]


@pytest.mark.parametrize("folder", ["tests/node", "examples/express", "examples/nextjs"])
def test_node_packages_are_hashed_and_name_no_place(folder: str) -> None:
    """Every package of a lock has its hash, none says where to fetch it from, and what we ask for is one version."""
    lock = json.loads((ROOT / folder / "package-lock.json").read_text(encoding="utf-8"))
    package = json.loads((ROOT / folder / "package.json").read_text(encoding="utf-8"))
    locked = {name: entry for name, entry in lock["packages"].items() if name}

    assert locked
    assert [name for name, entry in locked.items() if not entry.get("integrity", "").startswith("sha512-")] == []
    assert [name for name, entry in locked.items() if "resolved" in entry] == []
    asked = {**package["dependencies"], **package.get("devDependencies", {})}
    assert [name for name, version in asked.items() if not re.fullmatch(r"(?:npm:.+@)?\d+\.\d+\.\d+", version)] == []
    assert {key: lock["packages"][""].get(key) for key in ("dependencies", "devDependencies")} == {
        key: package.get(key) for key in ("dependencies", "devDependencies")
    }
