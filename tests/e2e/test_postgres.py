"""Both ends as processes on one PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from hookline.storage import connect
from hookline.testing import sample_event

from .processes import API_KEY, call, serving, wait_for

TYPE = "dsync.user.created"


def test_two_servers_of_everything_share_one_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """`serve all` twice on one database: what is published at one arrives at the other's door, is applied by either,
    and the second, killed in between, costs nothing.
    """
    settings: dict[str, Any] = {
        "database_url": postgres_url,
        "encryption_key": Fernet.generate_key().decode(),
        "api_key": API_KEY,
        "allow_private_targets": "true",
    }
    database = connect(postgres_url)

    def ask(sql: str) -> list[tuple[Any, ...]]:
        with database.read() as connection:
            found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
            return found

    def publish(numbers: range) -> set[str]:
        ids = {f"directory_user_{number:04}" for number in numbers}
        events = [{"event": TYPE, "data": sample_event(TYPE, id=id_).data} for id_ in sorted(ids)]
        assert call(one, "POST", "/api/v1/events", {"events": events}).status == 201
        return ids

    def live() -> set[str]:
        return {id_ for (id_,) in ask("select id from hookline_directory_users_live")}

    with serving("all", tmp_path, **settings) as one:
        made = call(one, "POST", "/webhook_endpoints", {"endpoint_url": "http://127.0.0.1:9/", "events": [TYPE]}).json
        with serving("all", tmp_path, **settings, webhook_secrets=made["secret"]) as other:
            url = {"endpoint_url": f"{other.url}/webhooks"}
            assert call(one, "PATCH", f"/webhook_endpoints/{made['id']}", url).status == 200
            ids = publish(range(50))
            wait_for(lambda: live() == ids, "what was published before the kill")
            port = int(other.url.rpartition(":")[2])
            other.kill()
        with serving("all", tmp_path, port=port, **settings, webhook_secrets=made["secret"]) as other:
            ids |= publish(range(50, 100))
            wait_for(lambda: live() == ids, "what was published after the kill")
            assert other.stop() == 0
        assert one.stop() == 0

    states = ask("select distinct state from hookline_sender_deliveries")
    queued = ask("select count(*) from hookline_inbox_queue")
    database.close()
    assert (states, queued) == ([("succeeded",)], [(0,)])
