"""`hookline trigger`: an event or a scenario, now: published by the sender, or posted straight to a URL."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit, talk
from hookline.cli.api_client import HERE, Place, sender_api
from hookline.cli.editing import check_editor, edited
from hookline.cli.parameters import AsJson, read_body
from hookline.cli.sender_commands import moment, seconds
from hookline.cli.signing_secrets import signing_secrets
from hookline.cli.tables import print_json, print_table
from hookline.cli.trigger_events import Changes, Draft, Samples, read_draft
from hookline.cli.trigger_ways import BySender, ByUrl, Way
from hookline.config import load
from hookline.errors import ConfigError
from hookline.loop import SystemClock
from hookline.relay.forward import forward_url
from hookline.testing.scenarios import SCENARIOS, Outline, Scenario
from hookline.wire.catalogue import CATALOGUE, nearest, sampled_types
from hookline.wire.timestamps import parse_us

if TYPE_CHECKING:
    from hookline.cli.trigger_verify import Verification

trigger = cyclopts.App(name="trigger", help="Make an event or a scenario happen, by the sender or straight to a URL.")

MOST_EVENTS: Final = 1_000
_Several: TypeAlias = Annotated[list[str] | None, Parameter(negative=())]


@trigger.default
def send_event(
    event: str | None = None,
    /,
    *,
    override: _Several = None,
    add: _Several = None,
    remove: _Several = None,
    edit: Annotated[bool, Parameter(negative=())] = False,
    raw: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    count: int | None = None,
    organization: str | None = None,
    created_at: str | None = None,
    scenario: str | None = None,
    to: str | None = None,
    secret_env: str | None = None,
    secret_file: str | None = None,
    standard: Annotated[bool, Parameter(negative=())] = False,
    verify: Annotated[bool, Parameter(negative=())] = False,
    within: str = "30s",
    list_: Annotated[bool, Parameter("--list", negative=())] = False,
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Publish an event of a type, about an object of its own, as if it had just happened; or play a scenario.

    Parameters
    ----------
    event:
        Its type, as dsync.user.created.
    override:
        Another value in its payload, as path=value: email=eve@example.com, user.state=inactive, roles[0].slug=admin.
        JSON where it is some, else text. Repeatable.
    add:
        A member that is not there, or the end of a list, as path=value. Repeatable.
    remove:
        What to leave out, by its path. Repeatable.
    edit:
        Open the event in VISUAL or EDITOR first.
    raw:
        File with the event instead, or - for standard input; with --to its bytes as they are, whatever they are.
    count:
        So many, each about an object of its own; of the scenario burst how many users.
    organization:
        The id of the organization that it is about; else a new one.
    created_at:
        When it happened: a time, or how long ago: 15m, 2h, 3d; else now.
    scenario:
        Play this one instead; `hookline trigger scenarios` has them.
    to:
        Post it signed to this URL, as localhost:8000/webhooks: no server is needed. Exit 1 unless all is answered 2xx.
    secret_env:
        With --to, the variable that holds the secret; else the first of the webhook secrets in force signs.
    secret_file:
        With --to, the file that holds it.
    standard:
        With --to, sign as Standard Webhooks says, with a secret of whsec_ and base 64, and not as WorkOS does.
    verify:
        With --scenario, wait until a receiver has worked it off and compare its mirror with what must hold; exit 1
        where it does not. Its database is that of HOOKLINE_RECEIVER_DATABASE_URL, or HOOKLINE_DATABASE_URL.
    within:
        How long --verify waits.
    list_:
        Only list the types and scenarios there are.
    """
    if list_:
        return _list(as_json=as_json)
    _check_what(event, scenario, raw)
    _check_changes(
        scenario,
        raw,
        {
            "--override": override,
            "--add": add,
            "--remove": remove,
            "--edit": edit or None,
            "--count": count,
            "--organization": organization,
            "--created-at": created_at,
        },
    )
    _check_way(to, {"--secret-env": secret_env, "--secret-file": secret_file, "--standard": standard or None}, place)
    if verify and scenario is None:
        raise ConfigError("--verify", "expected with --scenario, which says what must hold")
    if edit:
        check_editor("--edit", "use --override, or --raw with a file")
    number = _number(scenario, count)
    played = None if scenario is None else _at_now(scenario, count)
    wait_s = seconds("--within", within) if verify else None
    changes = Changes.parsed(override or (), add or (), remove or ())
    at = moment("--created-at", created_at)
    with ExitStack() as ends:
        way: Way
        if to is None:
            way = BySender(ends.enter_context(sender_api(place)), is_quiet=as_json)
        else:
            way = ByUrl(
                forward_url(to, setting="--to"),
                signing_secrets(secret_env, secret_file)[0],
                SystemClock(),
                scheme="standard_webhooks" if standard else "workos",
                is_quiet=as_json,
            )
        if played is not None:
            return _play(way, played, wait_s=wait_s, as_json=as_json)
        if raw is not None:
            done = way.send_raw(read_body(raw), raw)
        else:
            samples = Samples(
                str(event),
                SystemClock(),
                organization=organization,
                created_us=None if at is None else parse_us(at),
                own_sample=None if event in CATALOGUE else way.own_sample(str(event)),
            )
            drafts = [samples.next() for _ in range(number)]
            for draft in drafts:
                changes.make(draft)
            if edit and not (drafts := _edited(drafts[0])):
                print("nothing was sent: the editor left nothing, or failed", file=sys.stderr)
                return Exit.FAILED
            done = way.send_drafts(drafts)
    if as_json:
        print_json({"sent": done.items})
    return Exit.OK if done.is_whole else Exit.FAILED


@trigger.command
def scenarios(name: str | None = None, /, *, as_json: AsJson = False) -> None:
    """List the scenarios, what each proves and what must hold at its end; or one of them, step by step.

    Parameters
    ----------
    name:
        Which.
    """
    if name is None:
        if as_json:
            print_json([_outline_json(one) for one in SCENARIOS.values()])
        else:
            _print_outlines()
        return
    outline = _outline(name)
    played = outline.at(SystemClock().now_ms(), users=2 if outline.takes_users else None)
    happened = {event.id: number for number, event in enumerate(played.history, 1)}
    if as_json:
        steps = [
            {"event": step.event.type, "happened": happened[step.event.id], "says": step.says} for step in played.steps
        ]
        expected = [{**asdict(one), "rules": one.rules} for one in played.expected]
        print_json({**_outline_json(outline), "steps": steps, "expected": expected})
        return
    print(f"{outline.name}: {outline.proves}\nAt its end: {outline.holds}.\n")
    print_table(
        ("COMES", "HAPPENED", "EVENT", "WHAT"),
        [(number, happened[step.event.id], step.event.type, step.says) for number, step in enumerate(played.steps, 1)],
        empty="no steps",
    )
    print()
    print_table(
        ("RESOURCE", "MUST BE", "RULES: WHY"),
        [(one.resource, "shown" if one.is_live else "not shown", one.because) for one in played.expected],
        empty="nothing",
    )


# -- what goes together ------------------------------------------------------------------------------------------------


def _check_what(event: str | None, scenario: str | None, raw: str | None) -> None:
    given = {"an EVENT": event, "--scenario": scenario, "--raw": raw}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        got = " and ".join(named) or "none of them"
        raise ConfigError("trigger", f"expected an EVENT, --scenario or --raw; got {got} (--list has what there is)")


def _check_changes(scenario: str | None, raw: str | None, given: Mapping[str, object]) -> None:
    changes = {flag: value for flag, value in given.items() if value is not None}
    if changes.get("--edit") and changes.get("--count", 1) != 1:
        raise ConfigError("--edit", "expected without --count: one event is edited")
    if scenario is not None and _outline(scenario).takes_users:
        changes.pop("--count", None)
    if changes and (scenario is not None or raw is not None):
        what = "--raw, whose event is as it is in the file" if scenario is None else f"the scenario {scenario}"
        raise ConfigError(next(iter(changes)), f"expected with an EVENT, not with {what}")


def _check_way(to: str | None, signing: Mapping[str, object], place: Place) -> None:
    if to is None:
        for flag, value in signing.items():
            if value is not None:
                raise ConfigError(flag, "expected with --to; a sender signs for each endpoint as that has it")
        return
    for flag, value in (("--url", place.url), ("--database-url", place.database_url)):
        if value is not None:
            raise ConfigError(flag, "expected it or --to, which asks no sender; got both")


def _number(scenario: str | None, count: int | None) -> int:
    """How many events; of a scenario how many users is its own affair."""
    if scenario is None and count is not None and not 1 <= count <= MOST_EVENTS:
        raise ConfigError("--count", f"expected 1 to {MOST_EVENTS:,}, got {count}")
    return count or 1


def _edited(draft: Draft) -> list[Draft]:
    if (found := edited(draft, "--edit")) is None:
        return []
    text, file = found
    # Until it is one event, the text is all that is left of somebody's work.
    drafts = [read_draft(text, f"--edit: the text is kept in {file}")]
    file.unlink()
    return drafts


def _outline(name: str) -> Outline:
    if name not in SCENARIOS:
        near = nearest(name, SCENARIOS)
        hint = f"expected {near}?" if near else f"expected one of {', '.join(SCENARIOS)};"
        raise ConfigError("--scenario", f"{hint} got {name[:80]!r}")
    return SCENARIOS[name]


# -- a scenario ------------------------------------------------------------------------------------------------------


def _at_now(name: str, users: int | None) -> Scenario:
    try:
        # Objects of its own each time, so that what was played before is not in its way.
        return _outline(name).at(SystemClock().now_ms(), key=secrets.token_hex(8), users=users)
    except ValueError as error:
        raise ConfigError("--count", str(error)) from None


def _play(way: Way, scenario: Scenario, *, wait_s: int | None, as_json: bool) -> int:
    from hookline.cli import trigger_verify
    from hookline.cli.receiver_app import receiver_to_ask

    found: Verification | None = None
    with ExitStack() as ends:
        receiver = None if wait_s is None else ends.enter_context(receiver_to_ask("--verify", load()))
        done = way.play(scenario)
        if receiver is not None and wait_s is not None:
            if done.is_whole:
                found = trigger_verify.verify(receiver, scenario, done.ids, within_s=wait_s)
            else:
                print("not verified, since not all of it was taken", file=sys.stderr)
    if as_json:
        told: dict[str, Any] = {"scenario": scenario.name, "sent": done.items, "verified": None}
        print_json(told if found is None else {**told, "verified": trigger_verify.as_json(found)})
    elif found is not None:
        trigger_verify.print_verdicts(found)
    elif wait_s is None:
        talk(f"must hold at its end: {SCENARIOS[scenario.name].holds}")
    if found is not None and wait_s is not None:
        for line in found.obstacles(wait_s):
            print(line, file=sys.stderr)
    return Exit.OK if done.is_whole and (wait_s is None or (found is not None and found.holds)) else Exit.FAILED


# -- lists -----------------------------------------------------------------------------------------------------------


def _list(*, as_json: bool) -> int:
    types = [(name, CATALOGUE[name].object or "") for name in sampled_types()]
    if as_json:
        events = [{"name": name, "object": object_ or None} for name, object_ in types]
        print_json({"events": events, "scenarios": [_outline_json(one) for one in SCENARIOS.values()]})
        return Exit.OK
    print_table(("EVENT", "OBJECT"), types, empty="no types")
    print()
    _print_outlines()
    return Exit.OK


def _print_outlines() -> None:
    rows: Sequence[Sequence[object]] = [(one.name, one.proves, one.holds) for one in SCENARIOS.values()]
    print_table(("SCENARIO", "PROVES", "MUST HOLD AT THE END"), rows, empty="no scenarios")


def _outline_json(outline: Outline) -> dict[str, Any]:
    return {"name": outline.name, "proves": outline.proves, "holds": outline.holds, "rules": outline.rules}
