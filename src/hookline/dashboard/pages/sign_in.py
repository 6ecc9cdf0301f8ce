"""Signing in and out, the links that are good once, and what everybody may change of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from hookline.dashboard.accounts import Accounts
from hookline.dashboard.credentials import LEAST_PASSWORD, MOST_PASSWORD
from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.links import is_local
from hookline.dashboard.sessions import begun_sign_in, end_session, keep_begun, session_token, set_session
from hookline.dashboard.viewer import THEMES
from hookline.errors import RequestError, SignInRefused

if TYPE_CHECKING:
    from hookline.dashboard.account_model import LinkPurpose, SignedIn
    from hookline.dashboard.oidc import Provider

_PASSWORD_HELP = f"At least {LEAST_PASSWORD} characters. A few words in a row are easy to keep in mind."


def accounts_of(call: Call) -> Accounts:
    """The accounts of this dashboard, to be changed."""
    accounts = call.parts.accounts
    if not isinstance(accounts, Accounts):
        raise RequestError(404, None, "The accounts of this dashboard are kept elsewhere.")
    return accounts


def agent_of(call: Call) -> str:
    """What the browser calls itself."""
    return call.request.headers.get("user-agent", "")


def sign_in(call: Call) -> Shown | SeeOther:
    """The form; who is signed in goes on."""
    back = _back(call, call.query.get("next", ""))
    if call.viewer.name and not call.viewer.is_key:
        return SeeOther(back)
    return _sign_in_form(call, back)


def do_sign_in(call: Call) -> Shown | Response:
    """Name and password."""
    back = _back(call, call.text("next"))
    name, password = call.text("name", most=500), _secret(call, "password")
    missing = {one: "is missing" for one, value in (("name", name), ("password", password)) if not value}
    if missing:
        return _sign_in_form(call, back, FormProblems(missing), name=name, status=422)
    try:
        signed_in = accounts_of(call).sign_in(name, password, call.address, agent=agent_of(call))
    except SignInRefused as refused:
        return _sign_in_form(call, back, FormProblems(summary=refused.message), name=name, status=refused.status)
    return entered(call, signed_in, back)


def entered(call: Call, signed_in: SignedIn, location: str) -> Response:
    """Go on as somebody: under a new token, and what the browser was signed in with before ends."""
    _end_this(call)
    response = RedirectResponse(location, 303)
    set_session(response, call.request, signed_in.token, max_age_s=signed_in.lasts_s)
    return response


async def begin(call: Call) -> Response | SeeOther:
    """On to the provider. A link, since a form's redirect to another host is what the policy forbids."""
    back = _back(call, call.query.get("next", ""))
    provider = provider_of(call)
    if provider is None:
        return SeeOther(call.link("sign_in"), _NO_PROVIDER)
    begun = await provider.begin(back)
    response = RedirectResponse(begun.location, 303)
    keep_begun(response, call.request, begun.kept)
    return response


async def callback(call: Call) -> Response | SeeOther:
    """Back from the provider."""
    accounts, provider = accounts_of(call), provider_of(call)
    if provider is None:
        return SeeOther(call.link("sign_in"), _NO_PROVIDER)
    try:
        await run_in_threadpool(accounts.count_try, call.address)
        vouched = await provider.complete(call.query, begun_sign_in(call.request) or "")
        signed_in = await run_in_threadpool(accounts.sign_in_as, vouched, call.address, agent=agent_of(call))
    except SignInRefused as refused:
        if not refused.wait_s:
            detail = {"by": "oidc", "reason": refused.message}
            await run_in_threadpool(
                accounts.record, "nobody", "user.sign_in_failed", None, detail, address=call.address
            )
        return SeeOther(call.link("sign_in"), refused.message)
    response = await run_in_threadpool(entered, call, signed_in, _back(call, vouched.next))
    keep_begun(response, call.request, None)
    return response


def provider_of(call: Call) -> Provider | None:
    """The provider of OpenID Connect that is set up, or None."""
    found: Provider | None = call.parts.extra.get("oidc")
    return found


def do_sign_out(call: Call) -> Response:
    """End this session; also where it has ended already."""
    _end_this(call)
    response = RedirectResponse(call.link("sign_in"), 303)
    end_session(response, call.request)
    return response


def first(call: Call) -> Shown:
    """What a link that is good once is good for."""
    token = call.query.get("token", "")
    if not token:
        return _first_form(call, None, "")
    purpose = accounts_of(call).purpose_of(token)
    if purpose is None:
        raise RequestError(410, None, _NOT_GOOD)
    return _first_form(call, purpose, token)


def do_first(call: Call) -> Shown | Response:
    """Make the first admin, or set the password that a link is for."""
    accounts = accounts_of(call)
    token = call.text("token", most=500)
    purpose = accounts.purpose_of(token)
    if purpose is None:
        raise RequestError(410, None, _NOT_GOOD)
    name, password = call.text("name", most=500), _secret(call, "password")
    if password != _secret(call, "again"):
        return _first_form(call, purpose, token, FormProblems({"again": "is not the same"}), name=name, status=422)
    try:
        if purpose.kind == "first":
            signed_in = accounts.redeem_first(token, name, password, call.address, agent=agent_of(call))
        else:
            signed_in = accounts.redeem_password(token, password, call.address, agent=agent_of(call))
    except SignInRefused as refused:
        raise RequestError(410, None, refused.message) from None
    except RequestError as error:
        return _first_form(call, purpose, token, FormProblems.of(error), name=name, status=422)
    return entered(call, signed_in, call.link("overview"))


def account(call: Call) -> Shown:
    """One's own password, theme and sessions."""
    return _account_page(call)


def do_password(call: Call) -> Shown | Response:
    """Change one's own password: whoever else is signed in with the old one is not any longer."""
    new = _secret(call, "password")
    if new != _secret(call, "again"):
        return _account_page(call, FormProblems({"again": "is not the same"}), status=422)
    try:
        signed_in = accounts_of(call).change_password(
            call.viewer, _secret(call, "old"), new, call.address, agent=agent_of(call)
        )
    except RequestError as error:
        return _account_page(call, FormProblems.of(error), status=error.status)
    return entered(call, signed_in, call.link("account"))


def do_theme(call: Call) -> SeeOther:
    """How pages look for somebody, wherever they sign in."""
    accounts_of(call).set_theme(call.viewer, call.text("theme"))  # type: ignore[arg-type]
    return SeeOther(call.link("account"), "Your theme is kept.")


def do_end_session(call: Call) -> SeeOther:
    """End one of one's own sessions."""
    accounts_of(call).revoke_session(
        call.params["session"], of=call.viewer.name, actor=call.viewer.actor, address=call.address
    )
    return SeeOther(call.link("account"), "The session has ended.")


def do_end_others(call: Call) -> SeeOther:
    """End all of one's own sessions but this one."""
    accounts = accounts_of(call)
    others = [one.id for one in accounts.sessions(call.viewer.name) if one.id != call.viewer.session_id]
    for one in others:
        accounts.revoke_session(one, of=call.viewer.name, actor=call.viewer.actor, address=call.address)
    return SeeOther(call.link("account"), f"{len(others)} other session{'s' if len(others) != 1 else ''} ended.")


_NO_PROVIDER = "No provider is set up here: sign in with a password."
_NOT_GOOD = (
    "This link was used, or its time is over. An admin makes a new one under Settings, Users; so does the command "
    "`hookline users link` on the machine."
)


def _end_this(call: Call) -> None:
    """End the session that the request came with, if it is one: a stranger's cookie costs no write."""
    if call.viewer.session_id and (token := session_token(call.request)) is not None:
        accounts_of(call).sign_out(token)


def _secret(call: Call, name: str) -> str:
    """A password as it was typed, white space at its ends too; one that is too long is none."""
    value = call.form.get(name, "")
    return value if isinstance(value, str) and len(value) <= MOST_PASSWORD * 4 else ""


def _back(call: Call, wanted: str) -> str:
    """Where to go on: where one was, never another site, and not round in circles."""
    is_open = wanted.startswith((call.link("sign_in"), call.link("first")))
    return wanted if is_local(wanted) and not is_open else call.link("overview")


def _sign_in_form(
    call: Call, back: str, problems: FormProblems | None = None, *, name: str = "", status: int = 200
) -> Shown:
    data: Mapping[str, Any] = {"next": back, "name": name}
    also = {"problems": problems or FormProblems(), "provider": provider_of(call)}
    return Shown("sign_in.html", "Sign in", data, also, status)


def _first_form(
    call: Call,
    purpose: LinkPurpose | None,
    token: str,
    problems: FormProblems | None = None,
    *,
    name: str = "",
    status: int = 200,
) -> Shown:
    titles = {"first": "Make the first account", "password": "Choose your password"}
    title = "A link lets you in" if purpose is None else titles[purpose.kind]
    data = {"kind": None if purpose is None else purpose.kind, "user": None if purpose is None else purpose.user}
    also = {"token": token, "name": name, "problems": problems or FormProblems(), "help": _PASSWORD_HELP}
    return Shown("first.html", title, data, {**also, "action": call.link("first")}, status)


def _account_page(call: Call, problems: FormProblems | None = None, *, status: int = 200) -> Shown:
    accounts = accounts_of(call)
    user = accounts.user(call.viewer.name)
    data = {
        "name": user.name,
        "role": user.role,
        "theme": user.theme,
        "has_password": user.password_hash is not None,
        "by_provider": user.issuer,
        "created_ms": user.created_ms,
        "sessions": [
            {"id": one.id, "is_this": one.id == call.viewer.session_id, "method": one.method, "address": one.address,
             "agent": one.agent, "created_ms": one.created_ms, "used_ms": one.used_ms, "expires_ms": one.expires_ms}
            for one in accounts.sessions(user.name)
        ],
    }  # fmt: skip
    also = {"problems": problems or FormProblems(), "help": _PASSWORD_HELP, "themes": THEMES}
    return Shown("account.html", "My account", data, also, status)


PAGES: tuple[Page | Action, ...] = (
    Page("sign_in", "/sign-in", sign_in, is_open=True),
    Action("do_sign_in", "/sign-in", do_sign_in, role="viewer", is_open=True),
    Page("oidc_begin", "/sign-in/provider", begin, is_open=True),
    Page("oidc_callback", "/sign-in/callback", callback, is_open=True),
    Action("sign_out", "/sign-out", do_sign_out, role="viewer", is_open=True),
    Page("first", "/first", first, is_open=True),
    Action("do_first", "/first", do_first, role="viewer", is_open=True),
    Page("account", "/account", account),
    Action("account_password", "/account/password", do_password, role="viewer"),
    Action("account_theme", "/account/theme", do_theme, role="viewer"),
    Action("account_end_others", "/account/sessions/end-others", do_end_others, role="viewer"),
    Action("account_end_session", "/account/sessions/{session}/end", do_end_session, role="viewer"),
)
