"""A source with a life of its own and a receiver of it, joined by webhooks, by the tail, by both, or by passes alone.

Both are real and go by one clock: `FakeWorkOS` is the sender, the receiver asks it in process. An app on the receiver's
database keeps `access` in a handler: who may log in.
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

from hookline import Change, Receiver
from hookline.errors import RequestError
from hookline.receiver.leases import LEASE_MS
from hookline.receiver.passes import Passes
from hookline.receiver.reconcile import Findings
from hookline.receiver.source_http import Answered
from hookline.receiver.sources import TailMode
from hookline.sender.directory_model import InactiveFlow
from hookline.storage import connect
from hookline.testing import FakeWorkOS, TurnedClock

PATHS: Final = {
    "organization": "/organizations",
    "directory": "/directories",
    "directory_user": "/directory_users",
    "directory_group": "/directory_groups",
}
SHOWN: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "organization": ("hookline_organizations_live", ("name", "external_id", "created_at", "updated_at")),
    "directory": (
        "hookline_directories_live",
        ("organization_id", "name", "type", "state", "external_key", "created_at", "updated_at"),
    ),
    "directory_user": (
        "hookline_directory_users_live",
        ("directory_id", "organization_id", "idp_id", "email", "first_name", "last_name", "state", "created_at",
         "updated_at"),
    ),
    "directory_group": (
        "hookline_directory_groups_live",
        ("directory_id", "organization_id", "idp_id", "name", "created_at", "updated_at"),
    ),
}  # fmt: skip
MOST_WAITS: Final = 500
FLOWS: Final[tuple[InactiveFlow, ...]] = ("secure", "custom")
MEMBERSHIPS: Final = "select group_id, user_id from hookline_directory_memberships_live"


class KilledError(BaseException):
    """The receiver's process has ended, with an answer in hand."""


class Ends:
    """Both ends. Use as a context manager.

    Args:
        tail: how the receiver reads the feed at first; `only` closes its door.
        loss: the chance that a webhook never arrives.

    Attributes:
        dies: whether the receiver's process ends at every answer that it is given for the first time.
    """

    def __init__(self, folder: Path, *, tail: TailMode = "off", loss: float = 0.0, seed: int = 0) -> None:
        self.clock = TurnedClock()
        self.rng = random.Random(seed)
        self.source = FakeWorkOS(folder, clock=self.clock, seed=seed)
        self.env = self.source.environment
        self.source.faults.webhooks_lost = loss
        self._source_url = f"sqlite:///{folder / 'workos.db'}"
        self._url = f"sqlite:///{folder / 'app.db'}"
        self._secret = self.source.deliver_to(lambda *request: self.receiver.receive(*request))
        self.receiver = self._receiver(tail)
        self.hired = 0
        self.dies = False
        self._answered: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.receiver.close()
        self.source.close()

    def _receiver(self, tail: TailMode) -> Receiver:
        receiver = Receiver(
            self._url,
            secrets=[] if tail == "only" else [self._secret],
            api_key=self.source.api_key,
            api_url="https://api.source.test",
            tail=tail,
            exchange=self._ask,
            clock=self.clock,
        )
        database = receiver.open().database
        assert database is not None
        with database.transaction() as connection:
            connection.execute("create table if not exists access (id text primary key)")

        @receiver.on_change("directory_user", name="access")
        def access(change: Change, tx: Any) -> None:
            tx.execute("delete from access where id = ?", (change.id,))
            if change.is_active:
                tx.execute("insert into access values (?)", (change.id,))

        receiver.worker().register()
        self.feeds = receiver.feeds()
        return receiver

    def _ask(self, method: str, target: str, headers: Mapping[str, str]) -> Answered:
        answer = self.source.exchange(method, target, headers)
        if self.dies and target not in self._answered:
            self._answered.add(target)
            raise KilledError
        return answer

    def switch(self, tail: TailMode) -> None:
        """Start the receiver anew, with another way of reading the feed."""
        self.feeds.close()
        self.receiver.close()
        self.receiver = self._receiver(tail)

    def settle(self) -> None:
        """Let everything happen that is due by the clock at either end."""
        for _ in range(3):
            self.source.drain()
            self.receiver.drain()
            self.feeds.settle()
        self.receiver.drain()

    def turn(self, seconds: float) -> None:
        self.clock.advance(round(seconds * 1_000))
        self.settle()

    def reconcile(self) -> str:
        """One pass that puts the mirror right, to its end, behind those that wait already; what state it ended in."""
        [passes] = [one.feed for one in self.feeds if one.does == "passes"]
        assert isinstance(passes, Passes)
        pass_id = passes.start("reconcile", "apply", asked_by="test")
        for _ in range(MOST_WAITS):
            try:
                self.settle()
            except KilledError:
                # What it held is nobody's until its lease has passed.
                self.feeds = self.receiver.feeds()
                self.clock.advance(LEASE_MS)
                continue
            done = Findings(passes._access, passes._source, passes._clock).progress(pass_id)
            assert done is not None
            if done.pass_.state != "running":
                return done.pass_.state
            self.clock.advance(5_000)
        raise AssertionError("the pass came to no end")

    # -- what happens at the source ------------------------------------------------------------------------------

    def found(self, *, inactive_flow: InactiveFlow = "secure") -> str:
        """A customer with a directory, two groups and five people in them; the directory's id."""
        write, env = self.source.directories, self.env
        organization = write.create_organization(env, name="Acme")
        directory = write.create_directory(
            env, organization_id=organization.id, name="Okta", inactive_flow=inactive_flow
        )
        users = [self.hire(directory.id) for _ in range(5)]
        for name in ("Engineering", "Sales"):
            group = write.create_group(env, directory.id, idp_id=name, name=name)
            for user in users[:3]:
                write.add_member(env, directory.id, group.id, user)
        return directory.id

    def hire(self, directory_id: str) -> str:
        self.hired += 1
        name = f"p{self.hired}"
        return self.source.directories.create_user(
            self.env, directory_id, idp_id=name, email=f"{name}@acme.example", first_name="Ada", last_name=name
        ).id

    def act(self) -> None:
        """One thing happens, somewhere."""
        write, env, rng = self.source.directories, self.env, self.rng
        directories = self._at_source("directories where deleted_ms is null")
        if not directories:
            self.found()
            return
        directory = rng.choice(directories)
        users = self._at_source("directory_users where directory_id = ?", directory)
        groups = self._at_source("directory_groups where directory_id = ?", directory)
        dice = rng.random()
        try:
            if dice < 0.2 or not users:
                self.hire(directory)
            elif dice < 0.4:
                write.update_user(env, directory, rng.choice(users), first_name=f"Ada {rng.randrange(1_000)}")
            elif dice < 0.5:
                write.update_user(env, directory, rng.choice(users), state=rng.choice(("active", "inactive")))
            elif dice < 0.57:
                write.delete_user(env, directory, rng.choice(users))
            elif dice < 0.75 and groups:
                write.add_member(env, directory, rng.choice(groups), rng.choice(users))
            elif dice < 0.85 and groups:
                write.remove_member(env, directory, rng.choice(groups), rng.choice(users))
            elif dice < 0.9 and groups:
                write.update_group(env, directory, rng.choice(groups), name=f"Team {rng.randrange(1_000)}")
            elif dice < 0.93 and groups:
                write.delete_group(env, directory, rng.choice(groups))
            elif dice < 0.95 and len(directories) > 1:
                write.delete_directory(env, directory)
            elif dice < 0.98:
                self.found(inactive_flow=rng.choice(FLOWS))
            else:
                write.create_group(env, directory, idp_id=f"g{rng.random()}", name="Team")
        except RequestError as refusal:
            if refusal.status != 409:  # what was drawn is taken already
                raise

    def _at_source(self, rows: str, *values: str) -> list[str]:
        with contextlib.closing(connect(self._source_url)) as database, database.read() as connection:
            found = connection.execute(f"select id from hookline_sender_{rows} order by id", values).fetchall()
        return [id_ for (id_,) in found]

    # -- looking -------------------------------------------------------------------------------------------------

    def listed(self, resource: str, **filters: str) -> dict[str, dict[str, Any]]:
        """All of a list, as the source's API says: id -> object. Where it has faults, it has them here, too."""
        found: dict[str, dict[str, Any]] = {}
        after: str | None = None
        while True:
            named = {**filters, "limit": "100"} | ({"after": after} if after else {})
            answer = self.source.exchange(
                "GET", f"{PATHS[resource]}?{urlencode(named)}", {"authorization": f"Bearer {self.source.api_key}"}
            )
            assert answer.status == 200, answer.body
            page = json.loads(answer.body)
            found.update((item["id"], item) for item in page["data"])
            after = page["list_metadata"]["after"]
            if after is None:
                return found

    def differences(self) -> list[str]:
        """In what mirror, memberships and the app's own table are not as the source says."""
        directories = self.listed("directory")
        truth = {
            "organization": self.listed("organization"),
            "directory": directories,
            **{
                resource: {
                    id_: item
                    for directory in directories
                    for id_, item in self.listed(resource, directory=directory).items()
                }
                for resource in ("directory_user", "directory_group")
            },
        }
        wrong: list[str] = []
        for resource, (view, columns) in SHOWN.items():
            rows = {row[0]: row[1:] for row in self.rows(f"select id, {', '.join(columns)} from {view}")}
            said = {id_: tuple(item.get(name) for name in columns) for id_, item in truth[resource].items()}
            wrong += [
                f"{resource} {id_}: expected {said.get(id_)}, got {rows.get(id_)}"
                for id_ in sorted(said.keys() | rows.keys())
                if said.get(id_) != rows.get(id_)
            ]
        pairs = {
            (group, user) for group in truth["directory_group"] for user in self.listed("directory_user", group=group)
        }
        wrong += [f"membership {pair}" for pair in sorted(pairs ^ set(self.rows(MEMBERSHIPS)))]
        active = {id_ for id_, item in truth["directory_user"].items() if item["state"] == "active"}
        wrong += [f"access of {id_}" for id_ in sorted(active ^ {id_ for (id_,) in self.rows("select id from access")})]
        return wrong

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        database = self.receiver.open().database
        assert database is not None
        with database.read() as connection:
            return [tuple(row) for row in connection.execute(sql).fetchall()]
