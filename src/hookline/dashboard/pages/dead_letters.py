"""Dead letters: entries that could not be applied, runs that failed for good; once more, all of them, or given up."""

from __future__ import annotations

from typing import Any, Final

from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.receiving import cause_link, entry_data, number_of, options_of, query_of, run_data
from hookline.errors import RequestError
from hookline.receiver.inbox_search import NEWEST, InboxFilter

MOST_NOTE: Final = 500


def dead_letters(call: Call) -> Shown:
    """Both kinds, a page of each."""
    given = query_of(call, "handler", "runs_before", "entries_before")
    runs_before = number_of(given["runs_before"], "runs_before") or NEWEST
    entries_before = number_of(given["entries_before"], "entries_before") or NEWEST
    with call.receiver.look() as (queries, connection):
        handlers = [one.name for one in queries.handlers(connection) if one.dead]
        runs = queries.runs(
            connection, state="failed", handler=given["handler"] or None, before_row=runs_before, limit=51
        )
        entries = queries.page(connection, InboxFilter(state="dead"), before_seq=entries_before)
        subjects = queries.subjects(connection, [one.seq for one in entries.entries])
        counts = {
            "runs": queries.count_dead_runs(connection, given["handler"] or None),
            "entries": queries.count_dead_entries(connection),
        }
    data = {
        "counts": counts,
        "runs": [run_data(one) for one in runs[:50]],
        "next_run": runs[49].row_id if len(runs) > 50 else None,
        "entries": [entry_data(call, one, subjects.get(one.seq)) for one in entries.entries],
        "next_entry": entries.next_seq,
    }
    also = {"given": given, "handlers": options_of(handlers, "all handlers")}
    return Shown("dead_letters.html", "Dead letters", data, also)


def run(call: Call) -> Shown:
    """One run, with its traceback."""
    data = _run(call, call.params["id"])
    also = {"event": cause_link(call, data["source"], data["event_id"])}
    return Shown("run.html", f"Run {data['id']} of {data['handler']}", data, also)


def _run(call: Call, text: str) -> dict[str, Any]:
    number = number_of(text, "id")
    with call.receiver.look() as (queries, connection):
        found = None if number is None else queries.run(connection, number)
    if found is None:
        raise RequestError(404, None, f"There is no run {text[:40]}: it may be no longer kept.")
    return run_data(found)


def retry_run(call: Call) -> SeeOther:
    """Try one run again now."""
    found = _run(call, call.params["id"])
    here = call.link("run", id=found["id"])
    if not call.receiver.worker().retry_run(found["id"]):
        return SeeOther(here, "It runs just now, or has succeeded: nothing was done.")
    call.audit("run.retried", str(found["id"]), handler=found["handler"])
    return SeeOther(here, "It is tried again as soon as a worker comes to it.")


def confirm_skip(call: Call) -> Shown:
    """What giving a run up means."""
    return Shown("run_skip.html", "Skip a run", _run(call, call.params["id"]), {"problems": FormProblems(), "note": ""})


def skip_run(call: Call) -> Shown | SeeOther:
    """Give a run up, with a note in the audit log."""
    found = _run(call, call.params["id"])
    note = call.text("note", most=MOST_NOTE)
    if not note:
        problems = FormProblems({"note": "say why: it is kept in the audit log"})
        return Shown("run_skip.html", "Skip a run", found, {"problems": problems, "note": note}, status=422)
    here = call.link("run", id=found["id"])
    if not call.receiver.worker().skip_run(found["id"]):
        return SeeOther(here, "It does not wait and is not dead: nothing was done.")
    call.audit("run.skipped", str(found["id"]), handler=found["handler"], note=note)
    return SeeOther(here, "Skipped: it holds nothing any more.")


def confirm_retry_all(call: Call) -> Shown:
    """How many dead letters there are, and what trying them again does."""
    given = query_of(call, "what", "handler")
    return Shown("dead_letters_retry.html", "Try dead letters again", _all_of(call, given["what"], given["handler"]))


def _all_of(call: Call, what: str, handler: str) -> dict[str, Any]:
    if what not in ("runs", "entries"):
        raise RequestError(422, "invalid", "what: expected runs or entries")
    with call.receiver.look() as (queries, connection):
        count = (
            queries.count_dead_runs(connection, handler or None)
            if what == "runs"
            else queries.count_dead_entries(connection)
        )
    return {"what": what, "handler": handler or None, "count": count}


def retry_all(call: Call) -> SeeOther:
    """Try all dead runs, or all dead entries, again."""
    chosen = _all_of(call, call.text("what"), call.text("handler"))
    worker = call.receiver.worker()
    if chosen["what"] == "runs":
        done = worker.retry_dead_runs(chosen["handler"])
    else:
        done = worker.retry_dead_entries()
    call.audit("dead_letters.retried", None, what=chosen["what"], handler=chosen["handler"], count=done)
    return SeeOther(call.link("dead_letters"), f"{done:,} {chosen['what']} are taken up again by the workers.")


def confirm_drop(call: Call) -> Shown:
    """What dropping a dead entry means."""
    given = query_of(call, "source", "event")
    return _drop_page(call, given["source"], given["event"], FormProblems(), "")


def _drop_page(call: Call, source: str, event_id: str, problems: FormProblems, note: str) -> Shown:
    with call.receiver.look(source) as (queries, connection):
        found = queries.entry(connection, event_id)
    if found is None:
        raise RequestError(404, None, f"The inbox of {source} has no event {event_id[:200]}.")
    also = {"problems": problems, "note": note}
    status = 422 if problems else 200
    return Shown("dead_letter_drop.html", "Drop a dead entry", entry_data(call, found, None), also, status=status)


def drop(call: Call) -> Shown | SeeOther:
    """Have a dead entry ignored from now on, with a note that is kept beside it."""
    source, event_id, note = call.text("source"), call.text("event"), call.text("note", most=MOST_NOTE)
    if not note:
        return _drop_page(call, source, event_id, FormProblems({"note": "say why: it is shown with the entry"}), note)
    here = call.link("inbox_entry", source=source, id=event_id)
    if not call.receiver.worker().drop_entry(source, event_id, note):
        return SeeOther(here, "It is not dead, or waits to be applied again: nothing was done.")
    call.audit("inbox.dropped", event_id, source=source, note=note)
    return SeeOther(here, "Dropped: it is ignored from now on.")


PAGES: Final[tuple[Page | Action, ...]] = (
    Page("dead_letters", "/dead-letters", dead_letters, needs="receiver"),
    Page("dead_letters_retry", "/dead-letters/retry", confirm_retry_all, role="operator", needs="receiver"),
    Action("dead_letters_retry_all", "/dead-letters/retry", retry_all, needs="receiver"),
    Page("dead_letter_drop", "/dead-letters/drop", confirm_drop, role="operator", needs="receiver"),
    Action("dead_letter_dropped", "/dead-letters/drop", drop, needs="receiver"),
    Page("run", "/runs/{id}", run, needs="receiver"),
    Action("run_retry", "/runs/{id}/retry", retry_run, needs="receiver"),
    Page("run_skip", "/runs/{id}/skip", confirm_skip, role="operator", needs="receiver"),
    Action("run_skipped", "/runs/{id}/skip", skip_run, needs="receiver"),
)
