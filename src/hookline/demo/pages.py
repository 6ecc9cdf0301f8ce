"""The demo's own pages: the way in, five things to try, and what may be turned."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup, escape
from starlette.responses import RedirectResponse, Response

from hookline.dashboard.accounts import Accounts
from hookline.dashboard.app import Dashboard
from hookline.dashboard.frame import Action, Call, Page, SeeOther, Shown
from hookline.dashboard.sessions import set_session
from hookline.demo.stage import MAX_RATE
from hookline.errors import RequestError
from hookline.wire.signature import sign

if TYPE_CHECKING:
    from hookline.demo.ends import ReceiverEnd, SenderEnd
    from hookline.demo.stage import Stage
    from hookline.loop import Clock
    from hookline.storage import Database

VISITOR: Final = "demo"
_SESSION_S: Final = 86_400
# What the sliders turn: the name of a habit, and how it is called.
SLIDERS: Final = (
    ("delayed", "Delayed"),
    ("overtaken", "Overtaken by later ones"),
    ("doubled", "Delivered twice"),
    ("forged", "Followed by a forged copy"),
    ("reset_before", "Reset before they arrive"),
    ("reset_after", "Reset before the answer"),
)


def open_dashboard(
    database: Database, sender: SenderEnd, receiver: ReceiverEnd, stage: Stage, clock: Clock
) -> tuple[Dashboard, str]:
    """The demo's dashboard, and the path that leads into it without a password, for this run."""
    accounts = Accounts(database, clock=clock)
    accounts.open()
    password, token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    accounts.add_user(VISITOR, "admin", password=password)

    def enter(call: Call) -> Response:
        """Whoever has the link that the demo printed is let in."""
        if not hmac.compare_digest(call.query.get("token", "").encode(), token.encode()):
            raise RequestError(404, None, "This is not the link that the demo printed.")
        signed_in = accounts.sign_in(VISITOR, password, call.address)
        response = RedirectResponse(call.link("demo"), 303)
        set_session(response, call.request, signed_in.token, max_age_s=_SESSION_S)
        return response

    dashboard = Dashboard(
        accounts=accounts,
        sender=sender.app,
        receiver=receiver.receiver,
        clock=clock,
        more=[*_pages(stage), Page("demo_enter", "/demo/enter", enter, is_open=True)],
        extra={"banner": _banner},
    )
    return dashboard, f"/dashboard/demo/enter?token={token}"


def _banner(call: Call) -> Markup:
    said = "This is a demo: a made-up company, a bad wire, and nothing of it is kept."
    return Markup('<p class="alert demo-banner">{} <a href="{}">Five things to try</a></p>').format(
        said, escape(call.link("demo"))
    )


def _pages(stage: Stage) -> Sequence[Page | Action]:
    def demo(call: Call) -> Shown:
        return Shown("demo.html", "Five things to try", _data(call, stage), _sample(call, stage))

    def turn(call: Call) -> SeeOther:
        rate = _number(call, "rate", 1, MAX_RATE)
        changed = {name: _number(call, name, 0, 100) / 100 for name, _ in SLIDERS}
        stage.rate = rate
        stage.set_habits(**changed)
        return SeeOther(call.link("demo"), "Turned: it holds for what comes from now on.")

    def act(call: Call) -> SeeOther:
        deed = call.text("act", most=20)
        if deed == "pause":
            stage.is_paused = not stage.is_paused
            said = "The company rests." if stage.is_paused else "The company goes on."
        elif deed == "outage":
            stage.outage()
            said = "The wire is down for three seconds."
        elif deed == "fix":
            stage.consumer.is_fixed = not stage.consumer.is_fixed
            said = "Fixed: it answers 200 from now on." if stage.consumer.is_fixed else "Broken again: it answers 500."
        elif deed == "secrets":
            count = stage.give_secrets()
            said = f"The receiver verifies by {count} secret{'' if count == 1 else 's'} from now on."
        else:
            raise RequestError(422, "invalid", "act: expected pause, outage, fix or secrets")
        return SeeOther(call.link("demo"), said)

    return (
        Page("demo", "/demo", demo),
        Action("demo_turn", "/demo/turn", turn),
        Action("demo_act", "/demo/act", act),
    )


def _data(call: Call, stage: Stage) -> dict[str, Any]:
    user_id, planted = stage.inactive_user(), stage.planted
    return {
        "rate": stage.rate,
        "is_paused": stage.is_paused,
        "is_fixed": stage.consumer.is_fixed,
        "faults": [
            {"name": name, "label": label, "percent": round(100 * getattr(stage.habits, name))}
            for name, label in SLIDERS
        ],
        "inactive": None
        if user_id is None
        else {
            "id": user_id,
            "href": call.link("mirror_row", source="default", resource="directory_user", id=user_id),
        },
        "failing": {"id": stage.failing_id, "href": call.link("endpoint", id=stage.failing_id)},
        "app": {"href": call.link("endpoint_rotate", id=stage.endpoint().id)},
        "drift": {"is_planted": planted is not None, "href": call.link("reconcile")},
    }


def _sample(call: Call, stage: Stage) -> dict[str, Any]:
    """A body that was read and written again on its way, under the signature of what was sent."""
    event = {
        "id": "event_demo",
        "event": "dsync.user.updated",
        "data": {"id": "directory_user_demo", "state": "active"},
    }
    sent = json.dumps(event, separators=(",", ":"))
    secret = call.sender.registry.secret_of(stage.endpoint())
    header = sign(sent.encode(), secret, timestamp_ms=call.now_ms)
    return {"header": header, "body": json.dumps(event, indent=1), "most_rate": int(MAX_RATE)}


def _number(call: Call, name: str, least: float, most: float) -> float:
    text = call.text(name, most=20)
    try:
        value = float(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        message = f"{name}: expected a number from {least:g} to {most:g}"
        raise RequestError(422, "invalid", message, [{"code": "invalid", "field": name, "message": message}])
    return value
