"""URLs of pages by their names. Ids may hold anything, slashes and spaces too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

ROOT: Final = "/dashboard"
_PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")


class Links:
    """The URLs of the pages of one dashboard.

    Args:
        paths: by name, below `ROOT`.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._paths = dict(paths)

    def has(self, name: str) -> bool:
        """Whether there is such a page."""
        return name in self._paths

    def to(self, name: str, params: Mapping[str, object], query: Mapping[str, Any] | None = None) -> str:
        """The URL of a page.

        Raises: KeyError where there is no such page, or it has a place that `params` does not fill.
        """
        path = _PLACE.sub(lambda place: quote(str(params[place[1]]), safe=""), self._paths[name])
        return ROOT + path + _query(query or {})

    def with_query(self, path: str, query: QueryParams, changed: Mapping[str, object]) -> str:
        """A URL whose query is `query` with what is in `changed`; None takes a name out."""
        kept = [(name, value) for name, value in query.multi_items() if name not in changed]
        kept += [(name, str(value)) for name, value in changed.items() if value is not None]
        return path + (f"?{urlencode(kept)}" if kept else "")


def is_local(location: str) -> bool:
    """Whether a location is a page of ours: never another host's, however a browser reads it."""
    return (
        (location == ROOT or location.startswith((f"{ROOT}/", f"{ROOT}?")))
        and "\\" not in location
        and location.isprintable()
        and "//" not in location.partition("?")[0]
    )


def _query(query: Mapping[str, Any]) -> str:
    given = [(name, value) for name, value in query.items() if value is not None and value != ""]
    return f"?{urlencode(given, doseq=True)}" if given else ""
