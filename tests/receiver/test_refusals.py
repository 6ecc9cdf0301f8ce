"""The closed list of refusals: each reason that the door has is explained, and with the status that it answers."""

from __future__ import annotations

from typing import get_args

from hookline.receiver import receive
from hookline.receiver.model import Receipt, RefusalReason
from hookline.receiver.refusals import REFUSALS, refusal_of


def test_every_reason_is_explained_with_its_status() -> None:
    """Those of the type, and the statuses that the door itself has for them."""
    reasons = {one for part in get_args(RefusalReason) for one in (get_args(part) or (part,))}
    assert set(REFUSALS) == reasons
    answers = [one for one in vars(receive).values() if isinstance(one, Receipt) and one.reason is not None]
    said = {**receive._STATUS, **{str(one.reason): one.status for one in answers}, "size": 413}
    assert {reason: one.status for reason, one in REFUSALS.items()} == said


def test_a_reason_of_another_version_is_passed_over() -> None:
    """What an older or newer Hookline kept may have a name that this one does not know."""
    assert refusal_of("mismatch") == REFUSALS["mismatch"]
    assert refusal_of("bored") is None
