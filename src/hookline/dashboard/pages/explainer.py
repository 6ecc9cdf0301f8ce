"""The signature explainer: a header, a body, a secret; and which step of verifying them fails, and why.

Secrets that are known here are compared with on the server and named, never shown: for operators and admins. A viewer
has the secrets that they paste.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import UploadFile

from hookline.dashboard.frame import Action, Call, FormProblems, Page, Shown
from hookline.dashboard.pages.endpoints import name_of
from hookline.errors import RequestError
from hookline.sender.model import ENVIRONMENTS, Environment
from hookline.sender.queries import PageRequest, delivery_detail, endpoint_page
from hookline.wire.explain import NamedSecret, explain
from hookline.wire.signature import TOLERANCE_S
from hookline.wire.standard import secret_form

if TYPE_CHECKING:
    from hookline.sender.model import Endpoint
    from hookline.wire.schemes import Scheme

# Of each environment, the newest.
MOST_ENDPOINTS: Final = 500
_MOST_BODY: Final = 8 * 1024 * 1024
_STEPS: Final = {
    "header": "The header is read",
    "unit": "The time is in the right unit",
    "signature": "The signature is compared",
    "window": "The time is recent",
}


@dataclass(frozen=True, slots=True)
class _About:
    """What the page was linked with: an attempt, or a source of the receiver."""

    environment: str = ""
    delivery: str = ""
    attempt: str = ""
    source: str = ""
    endpoint_id: str | None = None
    sent: bytes | None = None
    header: str = ""
    said: str = ""


def explainer(call: Call) -> Shown:
    """The form, prefilled with what is known of the attempt or the source that was linked."""
    about = _about(call, dict(call.query))
    return _page(call, about, header=about.header, body="", result=None, problems=FormProblems())


def do_explain(call: Call) -> Shown:
    """Say which step fails."""
    about = _about(call, {name: value for name, value in call.form.items() if isinstance(value, str)})
    header = call.text("header", most=40_000)
    typed = call.form.get("body")
    # A browser writes each line end of a text box as CRLF.
    body_text = typed.replace("\r\n", "\n") if isinstance(typed, str) else ""
    upload = call.form.get("file")
    body = body_text.encode(errors="surrogatepass")
    file = b""
    if isinstance(upload, UploadFile):
        with upload.file:
            file = upload.file.read(_MOST_BODY)
    if file:
        body = file
    elif not body and about.sent is not None:
        body = about.sent
    # As it was pasted: white space around it may be the fault.
    pasted = call.form.get("secret")
    problems, tolerance_s = _tolerance(call.text("tolerance_s", most=20))
    if problems:
        return _page(call, about, header=header, body=body_text, result=None, problems=problems, status=422)
    scheme = next((one for one in _SCHEMES if one == call.text("scheme", most=20)), None)
    given = [NamedSecret("the secret pasted", pasted[:5_000])] if isinstance(pasted, str) and pasted else []
    known = list(_known(call, about, is_in_force=not given)) if call.viewer.may("operator") else []
    told = explain(
        body,
        header,
        [*given, *known],
        now_ms=call.now_ms,
        tolerance_s=tolerance_s,
        scheme=scheme,
        sent=about.sent,
    )
    result = asdict(told) | {"body_bytes": len(body), "secrets_tried": len(given) + len(known)}
    return _page(call, about, header=header, body=body_text, result=result, problems=FormProblems())


_SCHEMES: Final[tuple[Scheme, ...]] = ("workos", "standard_webhooks")


def _page(
    call: Call,
    about: _About,
    *,
    header: str,
    body: str,
    result: dict[str, Any] | None,
    problems: FormProblems,
    status: int = 200,
) -> Shown:
    data = {
        "result": result,
        "about": {
            "environment": about.environment,
            "delivery": about.delivery,
            "attempt": about.attempt,
            "source": about.source,
            "sent_bytes": None if about.sent is None else len(about.sent),
            "said": about.said,
        },
        "compares_known": call.viewer.may("operator"),
    }
    also = {
        "header": header,
        "body": body,
        "problems": problems,
        "steps": _STEPS,
        "sources": [] if call.parts.receiver is None else [one.name for one in call.parts.receiver.sources],
        "tolerance_s": call.text("tolerance_s", most=20) if call.form else f"{TOLERANCE_S:g}",
        "scheme": call.text("scheme", most=20) if call.form else "",
    }
    return Shown("explainer.html", "Explain a signature", data, also, status)


def _tolerance(text: str) -> tuple[FormProblems, float | None]:
    if text.lower() == "none":
        return FormProblems(), None
    try:
        seconds = float(text or TOLERANCE_S)
    except ValueError:
        seconds = -1
    if 0 <= seconds < float("inf"):
        return FormProblems(), seconds
    said = "expected seconds, 0 or more, or none for no check of the time"
    return FormProblems({"tolerance_s": said}, summary="This cannot be explained as it stands"), None


def _about(call: Call, linked: dict[str, str]) -> _About:
    """What the ids of a link, or of the form's hidden fields, say."""
    if linked.get("delivery") and call.parts.sender is not None:
        return _of_delivery(call, linked)
    if linked.get("source") and call.parts.receiver is not None:
        return _of_source(call, linked["source"], linked.get("reason", ""))
    return _About()


def _of_delivery(call: Call, linked: dict[str, str]) -> _About:
    environment = _environment(linked.get("environment", ""))
    with call.sender.database.snapshot() as connection:
        delivery, attempts = delivery_detail(call.sender.store, connection, environment, linked["delivery"])
        event = call.sender.store.event(connection, environment, delivery.event_id)
    number = linked.get("attempt", "")
    attempt = next((one for one in attempts if str(one.number) == number), attempts[-1] if attempts else None)
    headers = [] if attempt is None else json.loads(attempt.evidence).get("request", {}).get("headers", [])
    signed = [f"{name}: {value}" for name, value in headers if name.lower().startswith(("workos-", "webhook-"))]
    return _About(
        environment=environment,
        delivery=delivery.id,
        attempt="" if attempt is None else str(attempt.number),
        endpoint_id=delivery.endpoint_id,
        # A pruned event has an empty body, and was not sent so. Viewers see payloads redacted, and compare with none.
        sent=event.body if event is not None and event.body and call.viewer.may("operator") else None,
        header="\n".join(signed),
        said="" if attempt is None else f"attempt {attempt.number}: {attempt.reason or attempt.outcome}",
    )


def _of_source(call: Call, source: str, reason: str) -> _About:
    if not any(one.name == source for one in call.receiver.sources):
        raise RequestError(404, None, f"There is no source {source[:80]!r} in this process.")
    said = ""
    with call.receiver.look(source) as (queries, connection):
        for row in queries.rejections(connection, since_ms=call.now_ms - 30 * 86_400_000):
            if not reason or row.reason == reason:
                said = f"{row.reason}: {row.sample}"
                break
    return _About(source=source, said=said)


def _environment(text: str) -> Environment:
    return next((one for one in ENVIRONMENTS if one == text), "production")


def _known(call: Call, about: _About, *, is_in_force: bool) -> Iterator[NamedSecret]:
    """Secrets known here. In force are those of the attempt's endpoint or of the source; where none is linked, all."""
    is_linked = bool(about.endpoint_id or about.source)
    if call.parts.receiver is not None:
        for source in call.parts.receiver.sources:
            is_meant = is_in_force and (source.name == about.source or not is_linked)
            for number, one in enumerate(source.secrets, 1):
                yield NamedSecret(f"secret {number} of the source {source.name}", one, is_meant)
    if call.parts.sender is None:
        return
    for environment in ENVIRONMENTS:
        with call.sender.database.snapshot() as connection:
            wanted = PageRequest(limit=MOST_ENDPOINTS)
            page = endpoint_page(call.sender.store, connection, environment, wanted)
        for found in page.items:
            is_meant = is_in_force and (found.id == about.endpoint_id or not is_linked)
            yield from _secrets_of(call, found, is_meant)


def _secrets_of(call: Call, found: Endpoint, is_meant: bool) -> Iterator[NamedSecret]:
    registry = call.sender.registry
    name = f"{name_of(found)} ({found.id})"
    for what, secret in registry.secrets_of(found, call.now_ms):
        yield NamedSecret(f"{what} secret of the endpoint {name}", secret, is_meant)
        # One key, written for libraries of the other scheme.
        yield NamedSecret(f"{what} secret of the endpoint {name}, for Standard Webhooks", secret_form(secret), is_meant)


PAGES: tuple[Page | Action, ...] = (
    Page("explainer", "/explain", explainer),
    Action("explain", "/explain", do_explain, role="viewer"),
)
