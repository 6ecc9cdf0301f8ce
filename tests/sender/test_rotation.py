"""Rotating and revoking an endpoint's secret: which keys it has afterwards, and for how long."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from hookline.errors import RequestError
from hookline.rules.rotation import MAX_OVERLAP_S
from hookline.sender.idempotency import IdempotencyKey
from hookline.sender.model import Endpoint
from hookline.sender.rotation import revoke_old_secret, rotate_secret
from hookline.sender.secrets import SecretBox, open_box
from hookline.sender.store import SenderStore
from hookline.storage import Connection, Database
from tests.sender.conftest import NOW_MS

DAY_S = 86_400


class World:
    def __init__(self, database: Database, store: SenderStore, box: SecretBox) -> None:
        self.database = database
        self.store = store
        self.box = box

    def add(self, secret: str = "whsec_first") -> Endpoint:
        def write(connection: Connection) -> Endpoint | None:
            self.store.add_endpoint(
                connection,
                endpoint_id="we_1",
                environment="production",
                url="https://example.com/",
                events=["*"],
                description=None,
                secret_enc=self.box.seal(secret),
                now_ms=NOW_MS,
            )
            return self.store.endpoint(connection, "production", "we_1")

        endpoint = self.database.run(write)
        assert endpoint is not None
        return endpoint

    def rotate(
        self, *, overlap_s: int = DAY_S, now_ms: int = NOW_MS, idempotency: IdempotencyKey | None = None
    ) -> Endpoint:
        return self.database.run(
            lambda connection: rotate_secret(
                connection,
                self.store,
                self.box,
                "production",
                "we_1",
                overlap_s=overlap_s,
                now_ms=now_ms,
                idempotency=idempotency,
            )
        )

    def revoke(self, *, now_ms: int = NOW_MS) -> Endpoint:
        return self.database.run(
            lambda connection: revoke_old_secret(connection, self.store, "production", "we_1", now_ms=now_ms)
        )

    def secrets(self, endpoint: Endpoint) -> tuple[str, str | None]:
        old = endpoint.old_secret_enc
        return self.box.open(endpoint.secret_enc), None if old is None else self.box.open(old)

    def set(self, **columns: object) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        with self.database.transaction() as connection:
            connection.execute(f"update hookline_sender_endpoints set {names}", list(columns.values()))


@pytest.fixture
def world(database: Database, store: SenderStore, box: SecretBox) -> World:
    return World(database, store, box)


def test_a_rotation_keeps_the_secret_before_for_its_overlap(world: World) -> None:
    """The new secret is shown, the old one signs first until the consumer shows that it takes the new one."""
    world.add()

    rotated = world.rotate(overlap_s=60)

    new, old = world.secrets(rotated)
    assert (new.startswith("whsec_"), len(new), old) == (True, 31, "whsec_first")
    assert new != old
    assert (rotated.old_secret_until_ms, rotated.signs_with_old) == (NOW_MS + 60_000, True)
    assert rotated.version == 2
    with world.database.read() as connection:
        version = world.store.endpoint_version_at(connection, rotated.row_id, NOW_MS)
    assert version is not None
    assert version.version == 2


def test_without_an_overlap_the_new_secret_stands_alone(world: World) -> None:
    """An overlap of 0 forgets the old secret in the same commit."""
    world.add()

    rotated = world.rotate(overlap_s=0)

    assert world.secrets(rotated)[1] is None
    assert (rotated.old_secret_until_ms, rotated.signs_with_old) == (None, False)


@pytest.mark.parametrize(
    ("signs_with_old", "after_ms", "kept"),
    [(1, 0, "whsec_first"), (0, 0, "second"), (1, DAY_S * 1000, "second")],
    ids=["the consumer never took the second", "it took the second", "the first one's time is over"],
)
def test_a_second_rotation_keeps_what_the_consumer_knows(
    world: World, signs_with_old: int, after_ms: int, kept: str
) -> None:
    """Of three secrets two remain: the newest, and the one that verified last."""
    world.add()
    second, _ = world.secrets(world.rotate())
    world.set(signs_with_old=signs_with_old, probe_failures=3, probe_after_ms=NOW_MS)

    rotated = world.rotate(now_ms=NOW_MS + after_ms)

    new, old = world.secrets(rotated)
    assert old == (second if kept == "second" else kept)
    assert new not in ("whsec_first", second)
    assert (rotated.signs_with_old, rotated.probe_failures, rotated.probe_after_ms) == (True, 0, None)


def test_revoking_ends_the_overlap_at_once(world: World) -> None:
    """What leaked signs nothing more; revoking twice changes nothing more."""
    world.add()
    new, _ = world.secrets(world.rotate())

    revoked = world.revoke(now_ms=NOW_MS + 5)
    again = world.revoke(now_ms=NOW_MS + 9)

    assert world.secrets(revoked) == (new, None)
    assert (revoked.old_secret_until_ms, revoked.signs_with_old) == (None, False)
    assert (revoked.version, again.version, again.updated_ms) == (3, 3, NOW_MS + 5)


def test_a_repeated_call_rotates_once(world: World) -> None:
    """The same idempotency key makes one new secret."""
    world.add()
    key = IdempotencyKey("once", "POST /api/v1/endpoints/we_1/rotate_secret", "hash")

    first = world.rotate(idempotency=key)
    second = world.rotate(idempotency=key)

    assert first == second


@pytest.mark.parametrize("overlap_s", [-1, MAX_OVERLAP_S + 1])
def test_an_overlap_out_of_bounds_is_refused(world: World, overlap_s: int) -> None:
    """0 to 7 days; the error names the field and what came."""
    world.add()

    with pytest.raises(RequestError) as caught:
        world.rotate(overlap_s=overlap_s)

    assert caught.value.status == 422
    assert caught.value.errors is not None
    assert str(overlap_s) in caught.value.errors[0]["message"]


def test_an_unknown_endpoint_is_not_found(world: World) -> None:
    """404 for both calls."""
    for call in (world.rotate, world.revoke):
        with pytest.raises(RequestError) as caught:
            call()
        assert caught.value.status == 404


def test_a_new_encryption_key_keeps_both_secrets(world: World, database: Database, store: SenderStore) -> None:
    """After a start with a new key in front nothing is left that only the old one opens."""
    older, newer = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    world.box = open_box(database, store, keys=[older], key_file=None)
    world.add()
    before = world.secrets(world.rotate())
    headers = world.box.seal("[]")
    world.set(headers_enc=headers)

    open_box(database, store, keys=[newer, older], key_file=None)
    world.box = open_box(database, store, keys=[newer], key_file=None)

    with database.read() as connection:
        endpoint = store.endpoint(connection, "production", "we_1")
    assert endpoint is not None
    assert endpoint.headers_enc is not None
    assert world.secrets(endpoint) == before
    assert world.box.open(endpoint.headers_enc) == "[]"
