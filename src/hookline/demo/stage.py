"""What the demo lays out for whoever looks at its dashboard: a consumer that fails, a difference to find, and a hand on
the wire.

Pages call it from threads of the sender's server; the company, the wire and the drain are on another loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hookline.demo.wire import Habits
from hookline.sender.model import Endpoint

if TYPE_CHECKING:
    from hookline.demo.ends import ReceiverEnd, SenderEnd
    from hookline.demo.wire import Wire
    from hookline.storage import Connection, Database

# Seldom enough that its failures are not all there is to see, and among the first that happen.
FAILING_TYPES: Final = ("organization.created", "dsync.user.deleted")
FAILING_NAME: Final = "Billing, which fails until it is fixed on the demo's page"
_PLANTED: Final = "planted-by-the-demo@elsewhere.example"
OUTAGE_S: Final = 3.0
MAX_RATE: Final = 500.0


class Consumer:
    """Somebody else's app: answers 500 until it is fixed."""

    def __init__(self) -> None:
        self.is_fixed = False

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        while (await receive()).get("more_body"):
            pass
        body = b"{}" if self.is_fixed else b'{"error": "cannot reach the ledger"}'
        start = {"type": "http.response.start", "status": 200 if self.is_fixed else 500}
        await send({**start, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})


class Stage:
    """The demo while it runs, to be turned from its pages.

    Attributes:
        rate: events a second; may be set.
        is_paused: whether the company rests; may be set.
        consumer, consumer_url, failing_id: somebody else's app, where it is, and its endpoint once that is laid out.
        planted: the user whose row of the mirror was changed, and the address it had; None before.
    """

    def __init__(
        self,
        *,
        sender: SenderEnd,
        receiver: ReceiverEnd,
        wire: Wire,
        consumer: Consumer,
        consumer_url: str,
        endpoint_url: str,
        rate: float,
    ) -> None:
        self._sender, self._receiver, self._wire, self.consumer = sender, receiver, wire, consumer
        self._loop = asyncio.get_running_loop()
        self.rate = rate
        self.is_paused = False
        self.planted: tuple[str, str] | None = None
        self.consumer_url = consumer_url
        self._endpoint_url = endpoint_url
        self.failing_id = ""

    def lay_out(self) -> None:
        """Register the consumer that fails."""
        made = self._sender.app.registry.create(
            "production", url=self.consumer_url, events=FAILING_TYPES, description=FAILING_NAME, actor="demo"
        )
        self.failing_id = made.id

    @property
    def habits(self) -> Habits:
        """How bad the wire is."""
        return self._wire.habits

    def set_habits(self, **changed: float) -> None:
        """Change how likely it is, from 0 to 1, that each of these befalls a request from now on."""
        self._wire.habits = replace(self._wire.habits, **changed)  # type: ignore[arg-type]

    def outage(self) -> None:
        """Take the wire down for a while."""
        self._loop.call_soon_threadsafe(self._wire.break_down, OUTAGE_S)

    def endpoint(self) -> Endpoint:
        """The endpoint of the app that is kept in step, as it is now."""
        with self._sender.app.look() as connection:
            found = self._sender.app.store.endpoints(connection, "production", "newer", 0, 50)
        return next(one for one in found if one.url == self._endpoint_url)

    def give_secrets(self) -> int:
        """Give the receiver's door every secret that the sender may sign with; how many there are."""
        found = self._sender.app.registry.secrets_of(self.endpoint(), self._sender.now_ms())
        secrets = [secret for _, secret in found]
        self._receiver.take_secrets(secrets)
        return len(secrets)

    def plant(self) -> None:
        """Change one row of the mirror behind everybody's back, unless that was done: a reconcile finds it."""
        if self.planted is not None:
            return

        def change(connection: Connection) -> tuple[str, str] | None:
            rows = self._run(
                connection,
                "select id, email from hookline_directory_users_live where email is not null and email <> ''"
                " order by id limit 1",
            )
            if not rows:
                return None
            user_id, email = rows[0]
            self._run(connection, "update hookline_directory_users set email = ? where id = ?", _PLANTED, user_id)
            return str(user_id), str(email)

        self.planted = self._database.run(change)

    def take_back(self) -> bool:
        """Undo what was planted where nobody has; whether it was still there."""
        if self.planted is None:
            return False
        user_id, email = self.planted

        def undo(connection: Connection) -> bool:
            held = self._run(
                connection, "select 1 from hookline_directory_users where id = ? and email = ?", user_id, _PLANTED
            )
            statement = "update hookline_directory_users set email = ? where id = ? and email = ?"
            self._run(connection, statement, email, user_id, _PLANTED)
            return bool(held)

        return self._database.run(undo)

    def inactive_user(self) -> str | None:
        """The id of somebody the mirror holds as not active, the one that changed last; None where all are."""
        with self._database.read() as connection:
            rows = self._run(
                connection,
                "select id from hookline_directory_users_live where state = 'inactive'"
                " order by updated_at desc limit 1",
            )
        return str(rows[0][0]) if rows else None

    @property
    def _database(self) -> Database:
        return self._receiver.database

    def _run(self, connection: Connection, statement: str, *values: object) -> list[Any]:
        cursor = connection.cursor()
        cursor.execute(statement if self._database.dialect == "sqlite" else statement.replace("?", "%s"), values)
        found: list[Any] = cursor.fetchall() if cursor.description is not None else []
        return found
