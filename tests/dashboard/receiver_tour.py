"""Where a visitor goes among the pages of the receiving end, which has had some trouble by then."""

from __future__ import annotations

import itertools
import json
from typing import Any, Final

from hookline.receiver.replay import Selection
from hookline.sender.directories import Directories
from hookline.sender.ids import IdMaker
from hookline.testing.signed import signed_request

from .world import World

# Longer than what an answer of the source may lag behind.
LATER_S: Final = 20
ATTACK: Final = "</textarea><script>alert('x')</script>\u202egnp.exe\u200b"


def trouble(world: World) -> None:
    """A handler that fails for good, an event that attacks, one that is stale, refusals, drift that nobody hears of."""

    def broken(event: Any, tx: Any) -> None:
        raise RuntimeError

    world.receiver.on("kitten.*", name="letters", unlisted=True)(broken)
    world.receiver.on_change("directory_user", name="access")(lambda change, tx: None)
    worker = world.receiver.worker()
    worker.register()
    world.drain()
    secret = world.door.secrets[0]
    now_ms = world.clock.now_ms()
    with world.receiver.look_at_mirror("default") as mirrored:
        users = [str(one["id"]) for one in mirrored.queries.rows(mirrored.connection, "directory_user", limit=4)]
        row = mirrored.queries.row(mirrored.connection, "directory_user", users[0])
    assert row is not None
    assert row.payload is not None
    held = world.door._held
    assert held is not None
    stale = {**row.payload, "first_name": ATTACK, "updated_at": "2020-01-01T00:00:00.000Z"}
    events: list[bytes] = [
        b'{"id":"event_of_a_kitten","event":"kitten.created","data":{"object":"kitten","id":"kitten_1","name":"%s"}}'
        % ATTACK.encode("ascii", "backslashreplace"),
        _event("event_that_is_late", "dsync.user.updated", stale),
        b'{"not": "json"',
    ]
    for body in (*events, events[1]):
        request = signed_request(body, secret, timestamp_ms=now_ms)
        assert held.receive("POST", "/webhooks", request.headers, request.body, "203.0.113.7")[0] == 200
    for other, at_ms in (("whsec_of_another", now_ms), (secret, now_ms - 3_600_000), (secret, now_ms + 3_600_000)):
        request = signed_request(events[0], other, timestamp_ms=at_ms)
        assert held.receive("POST", "/webhooks", request.headers, request.body, "203.0.113.9")[0] == 401
    held.flush()
    world.drain()
    while (due_ms := _next_run(world)) is not None:
        world.clock.set(max(due_ms, world.clock.now_ms()))
        world.drain()
    worker.pause("access", "the directory of the office is moved")
    worker.start_replay("default", Selection(type="dsync.user.*"))
    directories = Directories(world.database, world.sender.store, clock=world.clock, ids=IdMaker(), is_silent=True)
    directory_id = str(row.columns["directory_id"])
    world.clock.advance(LATER_S * 1000)
    directories.update_user("production", directory_id, users[0], first_name="Ida")
    directories.create_user("production", directory_id, idp_id="nobody_heard", email="nobody.heard@acme.example")
    world.clock.advance(LATER_S * 1000)
    world.receiver.reconcile()


def _event(id_: str, type_: str, data: dict[str, Any]) -> bytes:
    created_at = "2020-01-01T00:00:00.000Z"
    return json.dumps({"object": "event", "id": id_, "event": type_, "data": data, "created_at": created_at}).encode()


def _next_run(world: World) -> int | None:
    with world.receiver.look() as (queries, connection):
        return min((one.due_ms for one in queries.runs(connection, state="pending")), default=None)


def stops(world: World) -> list[tuple[str, str]]:
    """Names and paths; after `trouble`."""
    link = world.dashboard.parts.links.to
    with world.receiver.look() as (queries, connection):
        dead_entry = queries.entries(connection, state="dead", limit=1)[0]
        [dead_run] = queries.runs(connection, state="failed", limit=1)
        [replay] = queries.replays(connection, limit=1)
    [dry_run] = world.receiver.passes(limit=1)
    findings = world.receiver.findings("default")
    items = list(itertools.islice(findings.items(dry_run.row_id), 3))
    one = {"source": "default"}
    users = {**one, "resource": "directory_user"}
    with world.receiver.look_at_mirror("default") as mirrored:
        user = str(mirrored.queries.rows(mirrored.connection, "directory_user", limit=1)[0]["id"])
    return [
        ("inbox", link("inbox", {})),
        ("inbox:none", link("inbox", {}, {"object": "nobody"})),
        ("error:inbox", link("inbox", {}, {"type": "a.*.b", "since": "soon"})),
        ("inbox_rejected", link("inbox_rejected", {}, {"since": "30d"})),
        ("inbox_entry", link("inbox_entry", {**one, "id": dead_entry.event_id})),
        ("inbox_entry:attack", link("inbox_entry", {**one, "id": "event_of_a_kitten"})),
        ("inbox_replay", link("inbox_replay", {}, {"type": "dsync.user.*"})),
        ("inbox_replays", link("inbox_replays", {})),
        ("inbox_replay_one", link("inbox_replay_one", {"id": replay.row_id})),
        ("dead_letters", link("dead_letters", {})),
        ("dead_letters_retry", link("dead_letters_retry", {}, {"what": "runs"})),
        ("dead_letter_drop", link("dead_letter_drop", {}, {**one, "event": dead_entry.event_id})),
        ("run", link("run", {"id": dead_run.row_id})),
        ("run_skip", link("run_skip", {"id": dead_run.row_id})),
        ("mirror", link("mirror", {})),
        ("mirror_rows", link("mirror_rows", users)),
        ("mirror_rows:pairs", link("mirror_rows", {**one, "resource": "directory_membership"})),
        ("mirror_row", link("mirror_row", {**users, "id": user})),
        ("mirror_row:then", link("mirror_row", {**users, "id": user}, {"point": "0"})),
        ("reconcile", link("reconcile", {})),
        ("reconcile_start", link("reconcile_start", {}, {**one, "mode": "apply"})),
        ("drift", link("drift", {"id": dry_run.row_id}, {"values": "1"})),
        ("drift_item", link("drift_item", {"id": items[0].row_id})),
        ("drift_confirm", link("drift_confirm", {}, {"act": "ignore", "item": [one.row_id for one in items]})),
        ("drift_act_confirm", link("drift_act_confirm", {"id": dry_run.row_id}, {"act": "cancel"})),
        ("handlers", link("handlers", {})),
        ("handler_confirm", link("handler_confirm", {}, {"act": "pause", "name": "letters"})),
    ]
