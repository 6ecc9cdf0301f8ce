"""Reconcile and drift: passes over what a source lists, where the mirror differs and why, and putting that right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, get_args

from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.receiving import cut, number_of, query_of, sources_of
from hookline.errors import RequestError, SourceError
from hookline.receiver.drift import DriftItem, DriftState
from hookline.receiver.drift_words import cause_of, progress_in_words, summary
from hookline.receiver.listing import MassDelete
from hookline.receiver.pass_store import Mode, Pass
from hookline.receiver.reconcile import Findings, Report
from hookline.receiver.sources import Source
from hookline.rules.drift import Kind

PAGE: Final = 20
PASSES: Final = 20
MOST_NOTE: Final = 500
# What a report may be narrowed to.
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_STATES: Final[tuple[DriftState, ...]] = ("open", "healed", "ignored")


def reconcile(call: Call) -> Shown:
    """Every source: how its passes went and when the next one is due, and what can be begun."""
    known = {one.name: one for one in call.receiver.sources}
    found = []
    for name in sources_of(call):
        passes = call.receiver.findings(name).newest(PASSES)
        found.append(_source(name, known.get(name), passes))
    data = {"sources": found, "has_worker": _has_worker(call)}
    return Shown("reconcile.html", "Reconcile", data)


def _source(name: str, one: Source | None, passes: Sequence[Pass]) -> dict[str, Any]:
    every_s = None if one is None or one.api_key is None else one.reconcile_every_s
    begun_ms = max((of.created_ms for of in passes), default=None)
    return {
        "name": name,
        "is_configured": one is not None,
        "has_key": one is not None and one.api_key is not None,
        "api_url": None if one is None else one.api_url,
        "every_s": every_s,
        "next_ms": None if every_s is None or begun_ms is None else begun_ms + round(every_s * 1000),
        "passes": [_pass(of) for of in passes],
    }


def _has_worker(call: Call) -> bool:
    """Whether anybody would do a pass that is begun."""
    return bool(call.receiver.status(counts_mirror=False).running_workers)


def _pass(one: Pass) -> dict[str, Any]:
    ended_ms = one.finished_ms or one.updated_ms
    return {
        "id": one.row_id,
        "source": one.source,
        "kind": one.kind,
        "mode": one.mode,
        "directory_id": one.directory_id,
        "allow_mass_delete": one.allow_mass_delete,
        "state": one.state,
        "reason": one.reason,
        "asked_by": one.asked_by,
        "created_ms": one.created_ms,
        "finished_ms": one.finished_ms,
        "took_ms": ended_ms - one.created_ms,
        "requests": one.counts.get("requests", 0),
        "objects": one.counts.get("objects", 0),
        "memberships": one.counts.get("edges", 0),
        "counts": dict(one.counts),
    }


def confirm_start(call: Call) -> Shown:
    """What a pass would read and do, before it is begun."""
    given = query_of(call, "source", "mode", "directory")
    return _start_page(call, given, FormProblems())


def _start_page(call: Call, given: dict[str, str], problems: FormProblems) -> Shown:
    if given["mode"] not in get_args(Mode):
        raise RequestError(422, "invalid", f"mode: expected one of {', '.join(get_args(Mode))}")
    source = _with_key(call, given["source"])
    with call.receiver.look_at_mirror(source.name) as mirrored:
        counts = mirrored.queries.counts(mirrored.connection, most=100_000)
        listed = ("organization", "directory", "directory_user", "directory_group", "directory_membership")
    data = {
        "source": source.name,
        "api_url": source.api_url,
        "mode": given["mode"],
        "directory_id": given["directory"] or None,
        "rows": {one.resource: one.live for one in counts if one.resource in listed},
        "has_worker": _has_worker(call),
    }
    also = {"problems": problems, "given": given}
    title = "Put the mirror right" if given["mode"] == "apply" else "See where they differ"
    return Shown("reconcile_start.html", title, data, also, status=422 if problems else 200)


def _with_key(call: Call, name: str) -> Source:
    """A source that can be asked. RequestError: there is none such, or it has no key."""
    found = next((one for one in call.receiver.sources if one.name == name), None)
    if found is None:
        raise RequestError(404, None, f"This receiver has no source {name[:80]!r}.")
    if found.api_key is None:
        raise RequestError(
            409,
            "no_api_key",
            f"There is no API key for {name}: set HOOKLINE_WORKOS_API_KEY, or Source(…, api_key=…), and restart.",
        )
    return found


def start(call: Call) -> Shown | SeeOther:
    """Begin a pass: a worker does it, and whoever closes the page stops nothing."""
    given = {name: call.text(name) for name in ("source", "mode", "directory")}
    source = _with_key(call, given["source"])
    allows = call.text("allow_mass_delete") == "1"
    if given["mode"] not in get_args(Mode):
        raise RequestError(422, "invalid", f"mode: expected one of {', '.join(get_args(Mode))}")
    mode: Mode = "apply" if given["mode"] == "apply" else "dry_run"
    if allows and mode == "dry_run":
        problems = FormProblems({"allow_mass_delete": "a dry run deletes nothing"})
        return _start_page(call, given, problems)
    with call.receiver.reconciler(source.name) as reconciler:
        pass_id = reconciler.passes.start(
            "reconcile",
            mode,
            directory_id=given["directory"] or None,
            allow_mass_delete=allows,
            asked_by=call.viewer.actor,
        )
    call.audit(
        "pass.started",
        str(pass_id),
        source=source.name,
        mode=mode,
        directory_id=given["directory"] or None,
        allow_mass_delete=allows,
    )
    return SeeOther(call.link("drift", id=pass_id), "Begun. A worker does it; it goes on without this page.")


# -- one pass, and what it found --------------------------------------------------------------------------------


def _pass_of(call: Call) -> tuple[Findings, Pass]:
    """The pass of the path. RequestError(404): there is none of that number."""
    number = number_of(call.params["id"], "id")
    if number is not None:
        for source in sources_of(call):
            findings = call.receiver.findings(source)
            if (found := findings.read(number)) is not None:
                return findings, found
    raise RequestError(
        404, None, f"There is no pass {call.params['id'][:40]}: the newest {PASSES} of a source are kept."
    )


def drift(call: Call) -> Shown:
    """One pass: how it stands, and what it found."""
    findings, one = _pass_of(call)
    given = query_of(call, "kind", "state", "after", "values")
    kind = next((one for one in _KINDS if one == given["kind"]), None)
    state = next((one for one in _STATES if one == given["state"]), None)
    report = findings.report(one)
    progress = findings.progress(one.row_id)
    after = number_of(given["after"], "after") or 0
    items = findings.page(one.row_id, state=state, kind=kind, after=after, limit=PAGE + 1)
    shown = items[:PAGE]
    has_key = any(of.name == one.source and of.api_key is not None for of in call.receiver.sources)
    data = {
        "pass": _pass(one),
        "progress": None if progress is None or one.state != "running" else progress_in_words(progress),
        "end_ms": None if progress is None else progress.end_ms,
        "summary": summary(report) if one.mode == "dry_run" else None,
        "counts": _counts(report),
        "items": [_item(item) for item in shown],
        "next_after": shown[-1].row_id if len(items) > PAGE else None,
        "has_key": has_key,
        "has_worker": _has_worker(call) if one.state == "running" else True,
    }
    if given["values"] and has_key and call.viewer.may("operator"):
        _add_values(call, one.source, shown, data)
    also = {
        "given": given,
        "kinds": [("", "any kind"), *((kind, kind) for kind in _KINDS)],
        "states": [("", "any state"), *((state, state) for state in _STATES)],
    }
    return Shown("drift.html", f"Pass {one.row_id}", data, also)


def _counts(report: Report) -> dict[str, int]:
    return {
        **{kind: report.count(kind) for kind in ("missing", "extra", "differs", "uncertain")},
        "ignored": report.count(*_KINDS, state="ignored"),
        "healed": report.count(*_KINDS, state="healed"),
    }


def _item(item: DriftItem) -> dict[str, Any]:
    return {
        "id": item.row_id,
        "pass_id": item.pass_id,
        "source": item.source,
        "resource": item.resource,
        "object_id": item.object_id,
        "kind": item.kind,
        "fields": list(item.fields),
        "cause": item.cause,
        "cause_text": cause_of(item),
        "evidence": dict(item.evidence),
        "events": _events(item),
        "state": item.state,
        "note": item.note,
        "found_ms": item.found_ms,
        "settled_ms": item.settled_ms,
        "values": None,
    }


def _events(item: DriftItem) -> list[str]:
    """The events that the evidence names."""
    named = [item.evidence.get("lost"), *(_named(item.evidence.get(name)) for name in ("dead", "newest"))]
    return list(dict.fromkeys(one for one in named if isinstance(one, str)))


def _named(evidence: Any) -> str | None:
    return evidence.get("event") if isinstance(evidence, dict) else None


def _add_values(call: Call, source: str, items: Sequence[DriftItem], data: dict[str, Any]) -> None:
    """Ask the source what these items' values are now; nothing of it is kept."""
    try:
        with call.receiver.reconciler(source) as reconciler:
            for item, told in zip(items, data["items"], strict=True):
                told["values"] = _values(call, item.resource, reconciler.values(item))
    except SourceError as error:
        data["source_error"] = f"{error.reason}: {error}"


def _values(call: Call, resource: str, values: Sequence[tuple[str, Any, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "field": name,
            "source": cut(call.shown_member(name, there, of=resource)),
            "here": cut(call.shown_member(name, here, of=resource)),
        }
        for name, there, here in values
    ]


def item(call: Call) -> SeeOther:
    """An item by its number alone: where it is listed."""
    found = _items(call, [call.params["id"]])[0]
    return SeeOther(call.link("drift", id=found.pass_id, query={"after": found.row_id - 1}))


def _items(call: Call, numbers: Sequence[str]) -> list[DriftItem]:
    """Items by their numbers, all of one source. RequestError: there is none such, or they are of several."""
    found: list[DriftItem] = []
    for text in dict.fromkeys(numbers):
        number = number_of(text, "item")
        of = [
            one
            for source in sources_of(call)
            if number is not None and (one := call.receiver.findings(source).item(number)) is not None
        ]
        if not of:
            raise RequestError(404, None, f"There is no difference {text[:40]}: it may be of a pass no longer kept.")
        found += of
    if not found:
        raise RequestError(422, "invalid", "Choose at least one difference.")
    if len({one.source for one in found}) > 1:
        raise RequestError(422, "invalid", "Choose differences of one source.")
    return found


def confirm_items(call: Call) -> Shown:
    """What putting differences right, or leaving them, means for how many."""
    act = call.query.get("act", "")
    if act not in ("heal", "ignore"):
        raise RequestError(422, "invalid", "act: expected heal or ignore")
    return _items_page(call, act, _items(call, call.query.getlist("item")), FormProblems(), "")


def _items_page(call: Call, act: str, items: Sequence[DriftItem], problems: FormProblems, note: str) -> Shown:
    if act == "heal":
        _with_key(call, items[0].source)
    data = {"act": act, "source": items[0].source, "pass_id": items[0].pass_id, "items": [_item(one) for one in items]}
    also = {"problems": problems, "note": note}
    title = "Put these right" if act == "heal" else "Leave these as they are"
    return Shown("drift_confirm.html", title, data, also, status=422 if problems else 200)


def settle(call: Call) -> Shown | SeeOther:
    """Put differences right, or ignore them with a note."""
    act = call.text("act")
    items = _items(call, [str(one) for one in call.form.getlist("item")])
    numbers = [one.row_id for one in items]
    back = call.link("drift", id=items[0].pass_id)
    if act == "ignore":
        note = call.text("note", most=MOST_NOTE)
        if not note:
            problems = FormProblems({"note": "say why: it is shown with them from now on"})
            return _items_page(call, act, items, problems, note)
        count = call.receiver.findings(items[0].source).ignore(items, note)
        call.audit("drift.ignored", str(items[0].pass_id), items=numbers, note=note, count=count)
        return SeeOther(back, f"{count:,} ignored, in later passes too, until they differ otherwise.")
    if act != "heal":
        raise RequestError(422, "invalid", "act: expected heal or ignore")
    source = _with_key(call, items[0].source)
    allows = call.text("allow_mass_delete") == "1"
    try:
        with call.receiver.reconciler(source.name) as reconciler:
            done = reconciler.heal(items, allow_mass_delete=allows)
    except MassDelete as guard:
        problems = FormProblems({"allow_mass_delete": f"{guard}"}, summary="Nothing was changed")
        return _items_page(call, act, items, problems, "")
    call.audit(
        "drift.healed",
        str(items[0].pass_id),
        items=numbers,
        healed=len(done.healed),
        left=len(done.left),
        allow_mass_delete=allows,
    )
    said = f"{len(done.healed):,} put right, {len(done.left):,} still differ"
    return SeeOther(back, f"{said}: {done.why}" if done.why else f"{said}.")


def act_on_pass(call: Call) -> SeeOther:
    """End a pass for good, or let one that stopped go on."""
    findings, one = _pass_of(call)
    here, act = call.link("drift", id=one.row_id), call.text("act")
    if act == "cancel":
        if not findings.cancel(one.row_id, asked_by=call.viewer.actor):
            return SeeOther(here, "It has ended already: nothing was done.")
        call.audit("pass.canceled", str(one.row_id), source=one.source)
        return SeeOther(here, "Canceled. What it did stays.")
    if act != "resume":
        raise RequestError(422, "invalid", "act: expected cancel or resume")
    allows = call.text("allow_mass_delete") == "1"
    with call.receiver.reconciler(_with_key(call, one.source).name) as reconciler:
        if not reconciler.passes.resume(one.row_id, allow_mass_delete=allows):
            return SeeOther(here, "It has ended already: nothing was done.")
    call.audit("pass.resumed", str(one.row_id), source=one.source, allow_mass_delete=allows)
    return SeeOther(here, "It goes on where it stands.")


def confirm_act(call: Call) -> Shown:
    """What ending or resuming a pass means."""
    _, one = _pass_of(call)
    act = call.query.get("act", "")
    if act not in ("cancel", "resume"):
        raise RequestError(422, "invalid", "act: expected cancel or resume")
    title = f"Cancel pass {one.row_id}" if act == "cancel" else f"Resume pass {one.row_id}"
    return Shown("drift_act.html", title, {"act": act, "pass": _pass(one)}, {"problems": FormProblems()})


PAGES: Final[tuple[Page | Action, ...]] = (
    Page("reconcile", "/reconcile", reconcile, needs="receiver"),
    Page("reconcile_start", "/reconcile/start", confirm_start, role="operator", needs="receiver"),
    Action("reconcile_started", "/reconcile/start", start, needs="receiver"),
    Page("drift_confirm", "/reconcile/items", confirm_items, role="operator", needs="receiver"),
    Action("drift_settle", "/reconcile/items", settle, needs="receiver"),
    Page("drift_item", "/reconcile/items/{id}", item, needs="receiver"),
    Page("drift", "/reconcile/{id}", drift, needs="receiver", reveals=True),
    Action("drift_act", "/reconcile/{id}", act_on_pass, needs="receiver"),
    Page("drift_act_confirm", "/reconcile/{id}/confirm", confirm_act, role="operator", needs="receiver"),
)
