"""Making an endpoint and changing one: where it leads, what it asks for, how it is delivered to."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.pages.endpoints import (
    asks_for,
    find_endpoint,
    known_types,
    name_of,
    retry_plan,
    schedule_of,
    shown_endpoint,
    tabs,
    volumes,
)
from hookline.errors import ConfigError, RequestError
from hookline.rules.address import MAX_URL
from hookline.rules.schedule import Schedule, parse_schedule
from hookline.sender.model import OPERATIONAL_TYPES, Endpoint
from hookline.sender.registry import MAX_RATE_PER_MIN, MAX_RETRIES, MIN_GAP_S, CustomHeader, check_patterns

_MOST_TEXT: Final = 20_000
# 128 bits.
_TOKEN_BYTES: Final = 16


@dataclass(slots=True)
class Typed:
    """What stands in the form, as it was typed."""

    url: str = ""
    description: str = ""
    chosen: list[str] = field(default_factory=list)
    patterns: str = ""
    search: str = ""
    retries: str = ""
    timeout_s: str = ""
    rate_limit_per_min: str = ""
    headers: str = ""
    secret_headers: str = ""
    standard_webhooks: bool = False


def new(call: Call) -> Shown:
    """The empty form."""
    return _form(call, Typed(url=call.query.get("url", "")[:MAX_URL]), FormProblems())


def create(call: Call) -> Shown | SeeOther:
    """Make the endpoint; or change the form: suggest a path, check the URL, filter the types, show the retry plan."""
    typed = _typed(call)
    act = call.text("do", most=20)
    if act == "suggest":
        typed.url = _with_token(typed.url)
        return _form(call, typed, FormProblems())
    if act in {"check", "filter", "plan"}:
        problems, looked = FormProblems(), None
        if act == "check":
            problems, looked = _looked(call, typed.url)
        return _form(call, typed, problems, looked=looked)
    problems = FormProblems()
    values = _values(typed, problems)
    _check_events(values["events"], problems)
    if typed.url:
        found, _ = _looked(call, typed.url)
        problems.by_field = {**found.by_field, **problems.by_field}
    if not problems:
        try:
            made = call.sender.registry.create(call.environment, **values, actor=call.viewer.actor)
        except RequestError as error:
            problems = _problems_of(error)
        else:
            return SeeOther(call.link("endpoint_secret", id=made.id, query={"new": "1"}), "The endpoint is made.")
    return _form(call, typed, problems, status=422)


def subscriptions(call: Call) -> Shown:
    """What an endpoint asks for."""
    found = find_endpoint(call)
    return _subscriptions(call, found, _typed_events(call, found), FormProblems())


def change_subscriptions(call: Call) -> Shown | SeeOther:
    """Ask for something else."""
    found = find_endpoint(call)
    typed = _typed(call)
    if call.text("do", most=20) == "filter":
        return _subscriptions(call, found, typed, FormProblems())
    events, problems = _events(typed), FormProblems()
    _check_events(events, problems)
    if problems:
        return _subscriptions(call, found, typed, problems, status=422)
    call.sender.registry.change(call.environment, found.id, events=events, actor=call.viewer.actor)
    return SeeOther(call.link("endpoint_subscriptions", id=found.id), "The subscriptions are changed.")


def settings(call: Call) -> Shown:
    """How an endpoint is called."""
    found = find_endpoint(call)
    return _settings(call, found, _typed_settings(call, found), FormProblems())


def change_settings(call: Call) -> Shown | SeeOther:
    """Call it otherwise; or look where the URL leads, or what the retries come to."""
    found = find_endpoint(call)
    typed = _typed(call)
    act = call.text("do", most=20)
    if act == "suggest":
        typed.url = _with_token(typed.url)
        return _settings(call, found, typed, FormProblems())
    if act == "check":
        problems, looked = _looked(call, typed.url)
        return _settings(call, found, typed, problems, looked=looked)
    if act == "plan":
        return _settings(call, found, typed, FormProblems())
    problems = FormProblems()
    values = _values(typed, problems)
    del values["events"]
    if values["url"] == found.url:
        # Registered as it is: not asked again whether it may be.
        values["url"] = None
    if not problems:
        try:
            call.sender.registry.change(call.environment, found.id, **values, actor=call.viewer.actor)
        except RequestError as error:
            problems = _problems_of(error)
        else:
            return SeeOther(call.link("endpoint_settings", id=found.id), "The settings are changed.")
    return _settings(call, found, typed, problems, status=422)


# -- the pages -------------------------------------------------------------------------------------------------------


def _form(
    call: Call, typed: Typed, problems: FormProblems, *, looked: Mapping[str, Any] | None = None, status: int = 200
) -> Shown:
    plan = _plan(call, typed, call.sender.schedules[call.environment], problems)
    data = {"environment": call.environment, "looked": looked, "retries": plan}
    also = {"typed": typed, "problems": problems, "picker": _picker(call, typed)}
    return Shown("endpoint_new.html", "New endpoint", data, also, status)


def _subscriptions(call: Call, found: Endpoint, typed: Typed, problems: FormProblems, status: int = 200) -> Shown:
    data = {"endpoint": shown_endpoint(call, found), "taken": _taken(call, found)}
    also = {
        "typed": typed,
        "problems": problems,
        "picker": _picker(call, typed),
        "tabs": tabs(call, "endpoint_subscriptions"),
    }
    return Shown("endpoint_subscriptions.html", name_of(found), data, also, status)


def _settings(
    call: Call,
    found: Endpoint,
    typed: Typed,
    problems: FormProblems,
    *,
    looked: Mapping[str, Any] | None = None,
    status: int = 200,
) -> Shown:
    plan = _plan(call, typed, call.sender.schedules[call.environment], problems)
    data = {"endpoint": shown_endpoint(call, found), "looked": looked, "retries": plan}
    also = {"typed": typed, "problems": problems, "tabs": tabs(call, "endpoint_settings")}
    return Shown("endpoint_settings.html", name_of(found), data, also, status)


def _plan(call: Call, typed: Typed, usual: Schedule, problems: FormProblems) -> list[dict[str, int]]:
    """The retries that the form asks for, as clock times from now on; the usual ones where it says nothing."""
    schedule = usual
    if typed.retries:
        try:
            schedule = Schedule.from_gaps(tuple(_gaps(typed.retries)))
        except ConfigError as error:
            problems.by_field.setdefault("schedule", _of_setting(error))
    return retry_plan(schedule, call.now_ms)


def _taken(call: Call, found: Endpoint) -> list[str]:
    return [name for name in known_types(call) if asks_for(found.events, name)]


def _picker(call: Call, typed: Typed) -> dict[str, Any]:
    """The types in groups by their first part, as far as the search goes; what is chosen stays in the form."""
    groups: dict[str, list[dict[str, Any]]] = {}
    search = typed.search.lower()
    published = volumes(call)
    known = known_types(call) | dict.fromkeys(sorted(OPERATIONAL_TYPES))
    for name, description in sorted(known.items()):
        is_shown = not search or search in name or search in (description or "").lower()
        one = {
            "name": name,
            "description": description,
            "volume": published.get(name, 0),
            "is_chosen": name in typed.chosen,
            "is_shown": is_shown,
        }
        groups.setdefault(name.partition(".")[0], []).append(one)
    return {
        "all": "*" in typed.chosen,
        "volume": sum(published.values()),
        "groups": [
            {
                "name": name,
                "pattern": f"{name}.*",
                "is_whole": f"{name}.*" in typed.chosen,
                "types": types,
                "chosen": sum(one["is_chosen"] for one in types),
                "volume": sum(one["volume"] for one in types),
                "is_shown": any(one["is_shown"] for one in types),
            }
            for name, types in groups.items()
        ],
    }


# -- what was typed --------------------------------------------------------------------------------------------------


def _typed(call: Call) -> Typed:
    return Typed(
        url=call.text("url", most=2 * MAX_URL),
        description=call.text("description"),
        chosen=list(dict.fromkeys(one for one in call.form.getlist("events") if isinstance(one, str))),
        patterns=call.text("patterns", most=_MOST_TEXT),
        search=call.text("search", most=200),
        retries=call.text("schedule", most=500),
        timeout_s=call.text("timeout_s", most=20),
        rate_limit_per_min=call.text("rate_limit_per_min", most=20),
        headers=call.text("headers", most=_MOST_TEXT),
        secret_headers=call.text("secret_headers", most=_MOST_TEXT),
        standard_webhooks=call.text("standard_webhooks", most=5) == "1",
    )


def _typed_events(call: Call, found: Endpoint) -> Typed:
    known = known_types(call) | dict.fromkeys(OPERATIONAL_TYPES)
    offered = {"*", *known, *(f"{name.partition('.')[0]}.*" for name in known)}
    return Typed(
        chosen=[one for one in found.events if one in offered],
        patterns="\n".join(one for one in found.events if one not in offered),
    )


def _typed_settings(call: Call, found: Endpoint) -> Typed:
    headers = call.sender.registry.headers_of(found)
    gaps = [] if found.schedule is None else _gaps_of(schedule_of(call, found))
    return Typed(
        url=found.url,
        description=found.description or "",
        retries=", ".join(gaps) if found.schedule is None or gaps else "none",
        timeout_s="" if found.timeout_ms is None else f"{found.timeout_ms / 1000:g}",
        rate_limit_per_min="" if found.rate_limit_per_min is None else str(found.rate_limit_per_min),
        headers="\n".join(f"{one.name}: {one.value}" for one in headers if not one.is_sensitive),
        # Without its value the one that is kept stays.
        secret_headers="\n".join(f"{one.name}:" for one in headers if one.is_sensitive),
        standard_webhooks=found.standard_webhooks,
    )


def _gaps_of(schedule: Schedule) -> list[str]:
    return [f"{later - earlier:g}s" for earlier, later in pairwise((0.0, *schedule.offsets_s))]


def _values(typed: Typed, problems: FormProblems) -> dict[str, Any]:
    """What the form asks for; what cannot be read is noted in `problems`."""

    def note(name: str, message: str) -> None:
        problems.by_field.setdefault(name, message)

    if not typed.url:
        note("url", "expected where to send events, as in https://example.com/webhooks")
    if len(typed.description) > 500:
        note("description", f"expected at most 500 characters, got {len(typed.description)}")
    timeout_s = _number(typed.timeout_s, 1, 30)
    if typed.timeout_s and timeout_s is None:
        note("timeout_s", "expected seconds from 1 to 30, or nothing for the usual 15")
    rate = _number(typed.rate_limit_per_min, 1, MAX_RATE_PER_MIN)
    if typed.rate_limit_per_min and (rate is None or rate != int(rate)):
        note("rate_limit_per_min", f"expected a whole number from 1 to {MAX_RATE_PER_MIN}, or nothing for no limit")
        rate = None
    gaps_s: list[float] | None = None
    if typed.retries:
        try:
            gaps_s = _gaps(typed.retries)
        except ConfigError as error:
            note("schedule", _of_setting(error))
    headers: list[CustomHeader] = []
    for name, text, is_sensitive in (("headers", typed.headers, False), ("secret_headers", typed.secret_headers, True)):
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            header, colon, value = line.partition(":")
            if not colon:
                note(name, f"expected a header per line, as in X-Tenant: acme; line {number} has no colon")
                continue
            headers.append(CustomHeader(header.strip(), value.strip() or (None if is_sensitive else ""), is_sensitive))
    return {
        "url": typed.url,
        "events": _events(typed),
        "description": typed.description or None,
        "timeout_ms": None if timeout_s is None else round(timeout_s * 1000),
        "rate_limit_per_min": None if rate is None else int(rate),
        "headers": headers,
        "standard_webhooks": typed.standard_webhooks,
        "schedule": gaps_s,
    }


def _events(typed: Typed) -> list[str]:
    """What is asked for; what a chosen pattern takes anyway is left out."""
    asked = list(dict.fromkeys([*typed.chosen, *_words(typed.patterns)]))
    whole = [one for one in asked if one.endswith(".*")]
    if "*" in asked:
        # The sender's own events are told to those alone who name them.
        return ["*", *(one for one in asked if one in OPERATIONAL_TYPES or one in {"endpoint.*", "delivery.*"})]
    return [one for one in asked if one in whole or not asks_for(whole, one)]


def _check_events(events: list[str], problems: FormProblems) -> None:
    try:
        check_patterns(events)
    except RequestError as error:
        problems.by_field |= FormProblems.of(error).by_field


def _words(text: str) -> Iterable[str]:
    return text.replace(",", " ").split()


def _gaps(text: str) -> list[float]:
    """Waits between attempts in seconds; `none` for no retries. ConfigError where they are none."""
    schedule = Schedule((), 0) if text.lower() == "none" else parse_schedule(text, setting="retries")
    if len(schedule.offsets_s) > MAX_RETRIES:
        raise ConfigError("retries", f"expected at most {MAX_RETRIES} waits, got {len(schedule.offsets_s)}")
    gaps_s = [later - earlier for earlier, later in pairwise((0.0, *schedule.offsets_s))]
    if any(gap_s < MIN_GAP_S for gap_s in gaps_s):
        raise ConfigError("retries", f"expected waits of at least {MIN_GAP_S}s")
    return gaps_s


def _of_setting(error: ConfigError) -> str:
    return str(error).removeprefix(f"{error.setting}: ")


def _number(text: str, least: float, most: float) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and least <= number <= most else None


def _with_token(url: str) -> str:
    """The URL with a last part of 128 bits that nobody guesses."""
    before, mark, query = url.partition("?")
    if "//" not in before:
        before = f"https://{before or 'example.com/webhooks'}"
    return f"{before.rstrip('/')}/{secrets.token_urlsafe(_TOKEN_BYTES)}{mark}{query}"


def _looked(call: Call, url: str) -> tuple[FormProblems, Mapping[str, Any] | None]:
    """Where a URL leads, or why it may not be called."""
    try:
        addresses = call.sender.targets.addresses(url, call.environment)
    except RequestError as error:
        return _problems_of(error), None
    return FormProblems(), {"url": url, "addresses": list(addresses)}


def _problems_of(error: RequestError) -> FormProblems:
    """A refusal; of an address with the setting that would allow it."""
    problems = FormProblems.of(error)
    if error.code == "invalid_url" and "address" in error.message:
        problems.by_field["url"] = (
            f"{error.message}. HOOKLINE_ALLOWED_TARGETS names networks that may be called although they are not public"
        )
    return problems


PAGES: tuple[Page | Action, ...] = (
    Page("endpoint_new", "/{environment}/endpoints/new", new, role="operator", needs="sender"),
    Action("endpoint_create", "/{environment}/endpoints/new", create, needs="sender"),
    Page("endpoint_subscriptions", "/{environment}/endpoints/{id}/subscriptions", subscriptions, needs="sender"),
    Action("endpoint_subscribe", "/{environment}/endpoints/{id}/subscriptions", change_subscriptions, needs="sender"),
    Page("endpoint_settings", "/{environment}/endpoints/{id}/settings", settings, needs="sender"),
    Action("endpoint_change", "/{environment}/endpoints/{id}/settings", change_settings, needs="sender"),
)
