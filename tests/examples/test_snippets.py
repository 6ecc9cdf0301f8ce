"""The code that the dashboard gives for an endpoint's secret, on what an example of the same framework stands on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from hookline.dashboard.pages.endpoint_acts import snippet

from .served import FOREIGN, Example, each, running
from .test_doors import body_of, post, signed

KEPT = (
    'const keep = async (event) => console.log(`${event.id} kept: once`);\napp.listen(process.env.PORT, "127.0.0.1");\n'
)
FAR_MS = 600_000


@each([one for one in FOREIGN if one.name == "express"])
def test_the_code_for_express_does_what_it_says(
    example: Example, ready: Callable[[Example], Path], tmp_path: Path
) -> None:
    """As it is copied: what is genuine is kept, what is forged, old or from the future is refused."""
    shutil.copytree(ready(example), tmp_path / "app", symlinks=True)
    (tmp_path / "app" / "server.js").write_text(snippet("express.js") + KEPT, encoding="utf-8")
    body = body_of("event_of_snippet")

    with running(example, tmp_path / "app", tmp_path / "log", WORKOS_API_KEY="sk_not_needed") as served:
        answers = [
            post(served, body, signature).status
            for signature in (
                signed(body),
                signed(body, ahead_ms=FAR_MS),
                signed(body, ahead_ms=-FAR_MS),
                signed(b"{}"),
            )
        ]
        kept = served.outcomes("event_of_snippet")

    assert (answers, kept) == ([200, 401, 401, 401], ["once"])
