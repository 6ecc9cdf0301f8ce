"""Which cause is named for what was found."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.rules.drift import Cause, Evidence, cause_of, differing

HEARD: dict[str, Any] = {"event_id": "event_1", "event_us": 5, "source_us": 5, "outcome": "applied"}


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        (Evidence("missing"), "never_received"),
        (Evidence("missing", source_us=5, event_id="event_1", event_us=4, outcome="applied"), "never_received"),
        (Evidence("differs", source_us=5, event_id="event_1", event_us=4, refused=("mismatch",)), "rejected"),
        (Evidence("differs", **HEARD, refused=("mismatch",)), "unknown"),
        (Evidence("differs", **HEARD, is_as_told=True), "never_received"),
        (Evidence("differs", **HEARD, is_as_told=True, refused=("expired",)), "rejected"),
        (Evidence("differs", **HEARD, lost_id="event_1"), "stale"),
        (Evidence("differs", **HEARD, is_uncertain=True), "stale"),
        (Evidence("differs", is_edited=True, dead_id="event_2"), "changed_locally"),
        (Evidence("differs", **HEARD, dead_id="event_2"), "dead_lettered"),
        (Evidence("missing", **HEARD), "changed_locally"),
        (Evidence("missing", **HEARD, has_row=True), "unknown"),
        (Evidence("extra", event_id="event_1", event_us=9, outcome="applied"), "never_received"),
        (
            Evidence("extra", event_id="event_1", event_us=9, outcome="stale", is_deletion=True, lost_id="event_1"),
            "stale",
        ),
        (Evidence("uncertain"), "unknown"),
        (Evidence("uncertain", lost_id="event_1"), "stale"),
    ],
)
def test_the_likely_cause(evidence: Evidence, cause: Cause) -> None:
    assert cause_of(evidence) == cause


def test_fields_that_differ() -> None:
    """Null is absent, `groups` say nothing, and what events do not carry is not compared."""
    here = {"id": "u", "state": "active", "email": None, "groups": [1], "custom_attributes": {"a": 1, "b": None}}
    there = {"id": "u", "state": "inactive", "groups": [], "custom_attributes": {"a": 1}, "only_in_the_api": 1}
    assert differing("directory_user", here, there) == ["state"]
    assert differing("directory_user", here, {**there, "custom_attributes": {"a": 2}}) == ["custom_attributes", "state"]
    assert differing("directory", {"metadata": {"users": 1}}, {"metadata": {"users": 2}}) == []
    assert differing("directory_user", {"email": "a"}, {}) == ["email"]
    # `dsync.activated` tells of domains, which the API's directory does not have.
    assert differing("directory", {"name": "a", "domains": [{"domain": "a.example"}]}, {"name": "a"}) == []
    assert differing("directory", {"domains": [{"domain": "a.example"}]}, {"domains": []}) == ["domains"]
