"""The files that pages load: all from here, none from anywhere else, each under a name that changes with its bytes."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file: its bytes, their type, and the part of its URL that changes with them."""

    content: bytes
    content_type: str
    mark: str


@dataclass(frozen=True, slots=True)
class Vendored:
    """One file that is not ours: where it comes from, and under which licence."""

    file: str
    package: str
    version: str
    path: str
    licence: str
    text: str
    sha256: str


def load_assets() -> dict[str, Asset]:
    """Every file under static/ that pages may load, by its path there."""
    found: dict[str, Asset] = {}
    _collect(_static(), "", found)
    return found


def vendored() -> list[Vendored]:
    """What is not ours, from vendor.toml."""
    text = (_static() / "vendor" / "vendor.toml").read_text("utf-8")
    return [Vendored(**one) for one in tomllib.loads(text)["asset"]]


def licence_texts() -> Mapping[str, str]:
    """The licences of what is not ours, by package."""
    folder = _static() / "vendor"
    return {one.package: (folder / one.text).read_text("utf-8") for one in vendored()}


def _static() -> Traversable:
    return resources.files("hookline.dashboard") / "static"


def _collect(folder: Traversable, prefix: str, found: dict[str, Asset]) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            _collect(entry, f"{prefix}{entry.name}/", found)
        elif content_type := _TYPES.get(entry.name[entry.name.rfind(".") :]):
            content = entry.read_bytes()
            mark = hashlib.sha256(content).hexdigest()[:16]
            found[prefix + entry.name] = Asset(content, content_type, mark)
