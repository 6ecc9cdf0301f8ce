"""What is done with an endpoint: each act has a page of its own that says what it will do, before the button that does.

Secrets are the admins': an operator may make, pause and delete endpoints, and never reads or changes a secret.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources
from typing import Any, Final

from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.pages.endpoints import find_endpoint, name_of, shown_endpoint, tabs
from hookline.errors import RequestError
from hookline.sender.holding import Choice, Deliver
from hookline.sender.model import Endpoint
from hookline.sender.replays import EarlierState, Selection
from hookline.wire.signature import HEADER
from hookline.wire.standard import secret_form
from hookline.wire.timestamps import moment_ms

_DELIVER: Final[tuple[Deliver, ...]] = ("all", "since", "latest", "none")
OVERLAPS_H: Final = (24, 72, 0)
SINCE: Final = (("1h", "the last hour"), ("6h", "6 hours"), ("24h", "24 hours"), ("3d", "3 days"), ("7d", "7 days"))
SNIPPETS: Final = (
    ("nextjs", "Next.js", "nextjs.ts"),
    ("express", "Express", "express.js"),
    ("django", "Django", "django.py"),
    ("flask", "Flask", "flask.py"),
    ("fastapi", "FastAPI", "fastapi.py"),
    ("rails", "Rails", "rails.rb"),
    ("sinatra", "Sinatra", "sinatra.rb"),
)


# -- pause and resume, on and off ------------------------------------------------------------------------------------


def pause(call: Call) -> Shown:
    """What pausing means."""
    return _confirm(call, "pause")


def do_pause(call: Call) -> SeeOther:
    """Hold its deliveries from now on."""
    call.sender.registry.pause(call.environment, call.params["id"], actor=call.viewer.actor)
    return _back(call, "The endpoint is paused: its deliveries are held.")


def resume(call: Call) -> Shown:
    """What each choice would come to now."""
    return _resume(call, FormProblems())


def do_resume(call: Call) -> Shown | SeeOther:
    """End the pause, and let go of what is held as chosen."""
    typed = call.text("deliver", most=10)
    deliver = next((one for one in _DELIVER if one == typed), None)
    since_ms = _time_ms(call, call.text("since", most=40))
    if deliver is None:
        return _resume(call, FormProblems({"deliver": "expected one of these"}), status=422)
    if deliver == "since" and since_ms is None:
        return _resume(call, FormProblems({"since": "expected a time, as in 2026-11-28T09:00:00Z or 2h"}), status=422)
    choice = Choice(deliver, since_ms if deliver == "since" and since_ms is not None else 0)
    call.sender.registry.resume(call.environment, call.params["id"], choice, actor=call.viewer.actor)
    return _back(call, "The endpoint is open again.")


def disable(call: Call) -> Shown:
    """What disabling means."""
    return _confirm(call, "disable")


def do_disable(call: Call) -> SeeOther:
    """Make no deliveries for it any more."""
    call.sender.registry.change(call.environment, call.params["id"], status="disabled", actor=call.viewer.actor)
    return _back(call, "The endpoint is disabled: events of this time do not come to it.")


def enable(call: Call) -> Shown:
    """What enabling means."""
    return _confirm(call, "enable")


def do_enable(call: Call) -> SeeOther:
    """Make deliveries for it again."""
    call.sender.registry.change(call.environment, call.params["id"], status="enabled", actor=call.viewer.actor)
    return _back(call, "The endpoint is enabled.")


def delete(call: Call) -> Shown:
    """What deleting means, and what it must be confirmed by."""
    return _confirm(call, "delete")


def do_delete(call: Call) -> Shown | SeeOther:
    """Delete it, where its name was typed."""
    found = find_endpoint(call)
    if call.text("name", most=1_000) != name_of(found):
        return _confirm(call, "delete", FormProblems({"name": f"expected {name_of(found)!r}, as it is called"}))
    call.sender.registry.delete(call.environment, found.id, actor=call.viewer.actor)
    return SeeOther(call.link("endpoints"), f"{name_of(found)} is deleted.")


# -- the secret ------------------------------------------------------------------------------------------------------


def secret(call: Call) -> Shown:
    """Where the secret stands, and code that verifies by it; never the secret itself."""
    return _secret(call, None)


def reveal(call: Call) -> Shown:
    """The secret in clear, once, with a line in the trail. Not in `data`: there is no JSON of it here."""
    revealed = call.sender.registry.reveal_secret(call.environment, call.params["id"], actor=call.viewer.actor)
    return _secret(
        call,
        {
            "secret": revealed.secret,
            "standard": secret_form(revealed.secret),
            "old": revealed.old_secret,
            "old_until_ms": revealed.old_secret_until_ms,
        },
    )


def rotate(call: Call) -> Shown:
    """What a new secret means."""
    return _confirm(call, "rotate")


def do_rotate(call: Call) -> Shown | SeeOther:
    """Make a new secret; the old one lasts as long as chosen."""
    try:
        overlap_h = int(call.text("overlap_h", most=5))
    except ValueError:
        overlap_h = -1
    if overlap_h not in OVERLAPS_H:
        return _confirm(call, "rotate", FormProblems({"overlap_h": "expected one of these"}))
    call.sender.registry.rotate_secret(
        call.environment, call.params["id"], overlap_s=overlap_h * 3_600, actor=call.viewer.actor
    )
    return SeeOther(call.link("endpoint_secret", id=call.params["id"]), "There is a new secret.")


def revoke(call: Call) -> Shown:
    """What ending a rotation now means."""
    return _confirm(call, "revoke")


def do_revoke(call: Call) -> SeeOther:
    """End the old secret now."""
    call.sender.registry.revoke_old_secret(call.environment, call.params["id"], actor=call.viewer.actor)
    return SeeOther(call.link("endpoint_secret", id=call.params["id"]), "The old secret is revoked.")


# -- what did not arrive ---------------------------------------------------------------------------------------------


def recover(call: Call) -> Shown:
    """Which events did not arrive: a range and types, then how many those are."""
    found = find_endpoint(call)
    problems = FormProblems()
    selection = _selection(call, found, dict(call.query), problems)
    count = None
    if selection is not None:
        try:
            count = call.sender.replays.count(call.environment, selection)
        except RequestError as error:
            problems = FormProblems.of(error)
    data = {
        "endpoint": shown_endpoint(call, found),
        "what": "missing" if call.query.get("what") == "missing" else "failed",
        "since": call.query.get("since", ""),
        "events": call.query.get("events", ""),
        "selection": None if selection is None else asdict(selection),
        "count": None if count is None else {"total": count.total, "skipped": dict(count.skipped)},
    }
    status = 422 if problems else 200
    return Shown("endpoint_recover.html", name_of(found), data, {"problems": problems, "since": SINCE}, status)


def do_recover(call: Call) -> SeeOther:
    """Send them again, as a job."""
    found = find_endpoint(call)
    problems = FormProblems()
    typed = {name: str(value) for name, value in call.form.items()}
    selection = _selection(call, found, typed, problems)
    if selection is None:
        raise RequestError(422, "invalid", problems.summary or "expected since when")
    replay = call.sender.replays.start(call.environment, selection, actor=call.viewer.actor)
    said = f"{replay.total} events are sent again, one after the other."
    if call.parts.links.has("replay"):
        return SeeOther(call.link("replay", id=replay.id), said)
    return _back(call, said)


# -- parts -----------------------------------------------------------------------------------------------------------


def _confirm(call: Call, act: str, problems: FormProblems | None = None) -> Shown:
    found = find_endpoint(call)
    with call.sender.database.read() as connection:
        waiting = call.sender.store.count_waiting(connection, found.row_id)
    data = {"endpoint": shown_endpoint(call, found), "act": act, "waiting": waiting}
    also = {"problems": problems or FormProblems(), "overlaps_h": OVERLAPS_H}
    return Shown("endpoint_confirm.html", f"{act.capitalize()}: {name_of(found)}", data, also, 422 if problems else 200)


def _resume(call: Call, problems: FormProblems, *, status: int = 200) -> Shown:
    found = find_endpoint(call)
    since = call.text("since", most=40) if call.form else call.query.get("since", "")
    since_ms = _time_ms(call, since)
    if since and since_ms is None and not problems:
        problems = FormProblems({"since": "expected a time, as in 2026-11-28T09:00:00Z or 2h"})
        status = 422
    choices: dict[str, Choice] = {"all": Choice("all"), "latest": Choice("latest"), "none": Choice("none")}
    if since_ms is not None:
        choices["since"] = Choice("since", since_ms)
    registry = call.sender.registry
    counts = {name: asdict(registry.count_held(call.environment, found.id, choice)) for name, choice in choices.items()}
    data = {"endpoint": shown_endpoint(call, found), "counts": counts, "since": since, "since_ms": since_ms}
    return Shown("endpoint_resume.html", f"Resume: {name_of(found)}", data, {"problems": problems}, status)


def _secret(call: Call, revealed: dict[str, Any] | None) -> Shown:
    found = find_endpoint(call)
    chosen = call.query.get("code", SNIPPETS[0][0])
    name, _, file = next((one for one in SNIPPETS if one[0] == chosen), SNIPPETS[0])
    data = {"endpoint": shown_endpoint(call, found), "header": HEADER, "code": name, "snippet": snippet(file)}
    also = {
        "revealed": revealed,
        "snippets": [(label, call.here(code=key), key == name) for key, label, _ in SNIPPETS],
        "is_new": call.query.get("new") == "1",
        "tabs": tabs(call, "endpoint_secret"),
    }
    return Shown("endpoint_secret.html", name_of(found), data, also)


def snippet(file: str) -> str:
    """Code that verifies deliveries, with the header that ours carry."""
    text = (resources.files("hookline.dashboard") / "snippets" / f"{file}.txt").read_text("utf-8")
    names = {"@HEADER@": HEADER, "@header@": HEADER.lower(), "@CGI@": f"HTTP_{HEADER.upper().replace('-', '_')}"}
    for place, name in names.items():
        text = text.replace(place, name)
    return text


def _selection(call: Call, found: Endpoint, typed: dict[str, str], problems: FormProblems) -> Selection | None:
    """What a form asks to be sent again; None where it does not say since when."""
    since = typed.get("since", "").strip()
    if not since:
        return None
    since_ms = _time_ms(call, since)
    if since_ms is None:
        problems.by_field["since"] = "expected a time, as in 2026-11-28T09:00:00Z, or how long ago, as in 2h or 3d"
        problems.summary = "Since when?"
        return None
    events = tuple(typed.get("events", "").replace(",", " ").split())
    states: tuple[EarlierState, ...] = ("never",) if typed.get("what") == "missing" else ("failed",)
    return Selection(since_ms=since_ms, events=events or None, endpoints=(found.id,), states=states)


def _time_ms(call: Call, text: str) -> int | None:
    """A time or an age, as people write them; None where it is neither."""
    try:
        return moment_ms(text, call.now_ms)
    except ValueError:
        return None


def _back(call: Call, said: str) -> SeeOther:
    return SeeOther(call.link("endpoint", id=call.params["id"]), said)


_ONE: Final = "/{environment}/endpoints/{id}"

PAGES: tuple[Page | Action, ...] = (
    Page("endpoint_pause", f"{_ONE}/pause", pause, role="operator", needs="sender"),
    Action("endpoint_do_pause", f"{_ONE}/pause", do_pause, needs="sender"),
    Page("endpoint_resume", f"{_ONE}/resume", resume, role="operator", needs="sender"),
    Action("endpoint_do_resume", f"{_ONE}/resume", do_resume, needs="sender"),
    Page("endpoint_disable", f"{_ONE}/disable", disable, role="operator", needs="sender"),
    Action("endpoint_do_disable", f"{_ONE}/disable", do_disable, needs="sender"),
    Page("endpoint_enable", f"{_ONE}/enable", enable, role="operator", needs="sender"),
    Action("endpoint_do_enable", f"{_ONE}/enable", do_enable, needs="sender"),
    Page("endpoint_delete", f"{_ONE}/delete", delete, role="operator", needs="sender"),
    Action("endpoint_do_delete", f"{_ONE}/delete", do_delete, needs="sender"),
    Page("endpoint_recover", f"{_ONE}/recover", recover, role="operator", needs="sender"),
    Action("endpoint_do_recover", f"{_ONE}/recover", do_recover, needs="sender"),
    Page("endpoint_secret", f"{_ONE}/secret", secret, needs="sender"),
    Action("endpoint_reveal", f"{_ONE}/secret", reveal, role="admin", needs="sender"),
    Page("endpoint_rotate", f"{_ONE}/rotate", rotate, role="admin", needs="sender"),
    Action("endpoint_do_rotate", f"{_ONE}/rotate", do_rotate, role="admin", needs="sender"),
    Page("endpoint_revoke", f"{_ONE}/revoke", revoke, role="admin", needs="sender"),
    Action("endpoint_do_revoke", f"{_ONE}/revoke", do_revoke, role="admin", needs="sender"),
)
