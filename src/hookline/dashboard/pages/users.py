"""Users and their roles, for admins: each act that ends something states it on a page of its own first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.pages.settings import tabs
from hookline.dashboard.pages.sign_in import accounts_of
from hookline.dashboard.viewer import ROLES
from hookline.errors import RequestError

if TYPE_CHECKING:
    from hookline.dashboard.account_model import Session, User

ROLE_HELP: Final = "A viewer reads; an operator acts, too; an admin reads secrets and manages people."
_ACTS: Final = {
    "disable": ("Disable a user", "Disable"),
    "remove": ("Remove a user", "Remove"),
    "end-sessions": ("End all sessions of a user", "End them all"),
}


def users(call: Call) -> Shown:
    """Everybody."""
    accounts = accounts_of(call)
    open_sessions: dict[str, int] = {}
    for one in accounts.sessions():
        open_sessions[one.user] = open_sessions.get(one.user, 0) + 1
    data = {"users": [{**_user(one), "sessions": open_sessions.get(one.name, 0)} for one in accounts.users()]}
    return Shown("settings_users.html", "Users", data, {"tabs": tabs(call, "settings_users")})


def new(call: Call) -> Shown:
    """The form for a new user."""
    return _new_form(call)


def do_new(call: Call) -> Shown:
    """Add a user, and show the link in which they choose their password, this once."""
    accounts = accounts_of(call)
    name, role = call.text("name", most=500), call.text("role")
    try:
        user = accounts.add_user(name, role, actor=call.viewer.actor, address=call.address)  # type: ignore[arg-type]
    except RequestError as error:
        return _new_form(call, FormProblems.of(error), name=name, role=role, status=422)
    return _link_shown(call, user.name, "User added")


def user(call: Call) -> Shown:
    """One user: role, sessions, and what can be done."""
    return _user_page(call)


def do_role(call: Call) -> Shown | SeeOther:
    """Give a user another role."""
    accounts = accounts_of(call)
    name, role = call.params["name"], call.text("role")
    try:
        accounts.set_role(name, role, actor=call.viewer.actor, address=call.address)  # type: ignore[arg-type]
    except RequestError as error:
        if error.status == 404:
            raise
        return _user_page(call, FormProblems.of(error), status=error.status)
    return _after(call, "The role is changed; the sessions there were have ended.")


def do_link(call: Call) -> Shown:
    """Make a link in which a user chooses a password, and show it this once."""
    return _link_shown(call, accounts_of(call).user(call.params["name"]).name, "A link to choose a password")


def do_enable(call: Call) -> SeeOther:
    """Let a user in again."""
    accounts_of(call).enable(call.params["name"], actor=call.viewer.actor, address=call.address)
    return _after(call, "The user may sign in again.")


def do_end_session(call: Call) -> SeeOther:
    """End one session of a user."""
    accounts_of(call).revoke_session(
        call.params["session"], of=call.params["name"], actor=call.viewer.actor, address=call.address
    )
    return _after(call, "The session has ended.")


def confirm(call: Call) -> Shown:
    """What an act does, before it is done."""
    return _confirm_page(call)


def do_confirmed(call: Call) -> Shown | SeeOther:
    """Disable or remove a user, or end all their sessions."""
    accounts, name, act = accounts_of(call), call.params["name"], _act(call)
    given = {"actor": call.viewer.actor, "address": call.address}
    try:
        if act == "disable":
            accounts.disable(name, **given)
        elif act == "remove":
            accounts.remove(name, **given)
        else:
            accounts.revoke_sessions(name, **given)
    except RequestError as error:
        if error.status == 404:
            raise
        return _confirm_page(call, FormProblems.of(error), status=error.status)
    if act == "remove":
        return _after(call, "The user is removed.", is_gone=True)
    return _after(call, "The user is disabled." if act == "disable" else "All sessions have ended.")


def _after(call: Call, said: str, *, is_gone: bool = False) -> SeeOther:
    """On to the user's page, unless they are gone, or the viewer has just ended their own session."""
    if is_gone or call.params["name"] == call.viewer.name:
        return SeeOther(call.link("settings_users"), said)
    return SeeOther(call.link("settings_user", name=call.params["name"]), said)


def _act(call: Call) -> str:
    act = call.params["act"]
    if act not in _ACTS:
        raise RequestError(404, None, f"There is no such act; expected one of {', '.join(_ACTS)}.")
    return act


def _new_form(
    call: Call, problems: FormProblems | None = None, *, name: str = "", role: str = "viewer", status: int = 200
) -> Shown:
    data = {"roles": list(ROLES)}
    also = {
        "tabs": tabs(call, "settings_users"),
        "problems": problems or FormProblems(),
        "name": name,
        "role": role,
        "help": ROLE_HELP,
    }
    return Shown("settings_user_new.html", "Add a user", data, also, status)


def _user_page(call: Call, problems: FormProblems | None = None, *, status: int = 200) -> Shown:
    accounts = accounts_of(call)
    found = accounts.user(call.params["name"])
    data = {**_user(found), "sessions": [_session(one) for one in accounts.sessions(found.name)]}
    also = {
        "tabs": tabs(call, "settings_users"),
        "problems": problems or FormProblems(),
        "roles": [(one, one) for one in ROLES],
        "help": ROLE_HELP,
        "this": call.viewer.session_id,
    }
    return Shown("settings_user.html", found.name, data, also, status)


def _confirm_page(call: Call, problems: FormProblems | None = None, *, status: int = 200) -> Shown:
    title, label = _ACTS[_act(call)]
    accounts = accounts_of(call)
    found = accounts.user(call.params["name"])
    data = {**_user(found), "act": call.params["act"], "sessions": len(accounts.sessions(found.name))}
    also = {"tabs": tabs(call, "settings_users"), "problems": problems or FormProblems(), "label": label}
    return Shown("settings_user_confirm.html", title, data, also, status)


def _link_shown(call: Call, name: str, title: str) -> Shown:
    token = accounts_of(call).make_link(name, actor=call.viewer.actor, address=call.address)
    root = call.parts.extra.get("public_url") or f"{call.request.url.scheme}://{call.request.url.netloc}"
    data = {"name": name, "link": f"{root}{call.link('first', query={'token': token})}"}
    return Shown("settings_user_link.html", title, data, {"tabs": tabs(call, "settings_users")})


def _user(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "has_password": user.password_hash is not None,
        "issuer": user.issuer,
        "created_ms": user.created_ms,
        "signed_in_ms": user.signed_in_ms,
        "disabled_ms": user.disabled_ms,
    }


def _session(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "method": session.method,
        "address": session.address,
        "agent": session.agent,
        "created_ms": session.created_ms,
        "used_ms": session.used_ms,
        "expires_ms": session.expires_ms,
    }


PAGES: tuple[Page | Action, ...] = (
    Page("settings_users", "/settings/users", users, role="admin"),
    Page("settings_user_new", "/settings/add-user", new, role="admin"),
    Action("do_settings_user_new", "/settings/add-user", do_new, role="admin"),
    Page("settings_user", "/settings/users/{name}", user, role="admin"),
    Action("settings_user_role", "/settings/users/{name}/role", do_role, role="admin"),
    Action("settings_user_link", "/settings/users/{name}/link", do_link, role="admin"),
    Action("settings_user_enable", "/settings/users/{name}/enable", do_enable, role="admin"),
    Action("settings_user_end_session", "/settings/users/{name}/sessions/{session}/end", do_end_session, role="admin"),
    Page("settings_user_confirm", "/settings/users/{name}/confirm/{act}", confirm, role="admin"),
    Action("do_settings_user_confirm", "/settings/users/{name}/confirm/{act}", do_confirmed, role="admin"),
)
