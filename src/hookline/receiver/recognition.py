"""Is the source that answers the one whose objects are here?

A key of another environment works as well as the right one: what it is asked about, the source honestly does not have.
So before a 404 ends anything, it has to know one of the organizations or directories that live here, or of those
organizations that directories are said to be in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hookline.receiver.mirror_store import Scope
from hookline.receiver.source import Found, Gone

if TYPE_CHECKING:
    from hookline.receiver.mirror_store import MirrorStore
    from hookline.receiver.work import Access
    from hookline.rules.merge import Clock

# So many of each are asked for; one that is known is enough.
ASKED: Final = 5
UNRECOGNISED: Final = (
    "the source knows none of the organizations and directories that are here: is its API key of another environment?"
)
_EVER: Final[Clock] = (2**62, "")


def is_recognised(access: Access, mirror: MirrorStore, source: str, get: Callable[[str, str], Found | Gone]) -> bool:
    """Whether the source knows one of the oldest of them; also where there is none.

    Raises: SourceError, as `get` (`SourceApi.get`) does.
    """
    with access.read() as connection:
        organizations, directories = (
            mirror.unseen(connection, source, Scope(resource), _EVER, "", ASKED)
            for resource in ("organization", "directory")
        )
        named = mirror.named_organizations(connection, source, ASKED)
    known = [("directory", id_) for id_ in directories]
    known += [("organization", id_) for id_ in dict.fromkeys(organizations + named)]
    return not known or any(isinstance(get(resource, id_), Found) for resource, id_ in known)
