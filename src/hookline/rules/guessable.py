"""Could somebody guess this secret?"""

from __future__ import annotations

from typing import Final

LEAST: Final = 16  # characters
_PLACEHOLDERS: Final = ("changeme", "change-me", "change_me", "example", "placeholder", "your_secret", "xxxx")


def is_guessable(secret: str) -> bool:
    """Whether a signing secret is a placeholder of some documentation, or too short to be one that a source gave."""
    return len(secret) < LEAST or any(word in secret.lower() for word in _PLACEHOLDERS)
