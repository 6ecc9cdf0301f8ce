"""The header that ties a request to a trace: W3C Trace Context, `traceparent`.

What is not valid is treated as if it were not there (section 3.2.2.3 of the recommendation), never as an error: a
trace is no reason to refuse a call.
"""

from __future__ import annotations

import re
from typing import Final

HEADER: Final = "traceparent"

_ZEROS_16: Final = "0" * 16
_ZEROS_32: Final = "0" * 32
# version, trace id, parent id, flags; what follows is a later version's.
_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_MAX_LENGTH: Final = 512


def parse_traceparent(text: str | None) -> str | None:
    """A valid `traceparent` as version 00 writes it, or None.

    A later version is read as far as 00 goes, as the recommendation asks for. Ids of zeros alone, upper case and
    version `ff` are not valid.
    """
    if text is None or len(text) > _MAX_LENGTH:
        return None
    match = _FORM.fullmatch(text.strip(" \t"))
    if match is None:
        return None
    version, trace_id, parent_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None):
        return None
    if trace_id == _ZEROS_32 or parent_id == _ZEROS_16:
        return None
    return f"00-{trace_id}-{parent_id}-{flags}"
