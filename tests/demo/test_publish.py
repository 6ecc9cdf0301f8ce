"""The demo's client of the sender's API: what it says, and what it does when no answer comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from hookline.demo.company import NewEvent
from hookline.demo.publish import Client
from hookline.errors import HooklineError

EVENT = NewEvent("organization.created", {"object": "organization", "id": "org_1"}, 1_790_000_000_123)
USER = NewEvent("dsync.user.deleted", {"id": "u_1", "organization_id": "org_2"}, 1_790_000_000_124)
EDGE = NewEvent("dsync.group.user_added", {"user": {"organization_id": "org_3"}}, 1_790_000_000_125)


@dataclass
class Sender:
    """Answers with the given statuses in turn, then 201; None closes the connection without an answer."""

    statuses: list[int | None]
    calls: list[tuple[str, str, object]] = field(default_factory=list)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                self.calls.append((head.split(" ")[1], headers["idempotency-key"], body))
                status = self.statuses.pop(0) if self.statuses else 201
                if status is None:
                    return
                made = {"data": [{"id": f"event_{n}"} for n in range(9)], "id": "event_0", "secret": "whsec_x"}
                content = json.dumps(made).encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    % (status, len(content))
                )
                writer.write(content)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def publish(sender: Sender, *batches: Sequence[NewEvent]) -> list[list[str]]:
    async def whole() -> list[list[str]]:
        server = await asyncio.start_server(sender.accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, Client(f"http://127.0.0.1:{port}", "sk_live_x", name="test") as client:
            return [await client.publish(batch) for batch in batches]

    return asyncio.run(whole())


def test_one_event_goes_by_itself_and_several_as_a_batch() -> None:
    """Each call has its own idempotency key; the organization is found wherever the payload has it."""
    sender = Sender([])

    ids = publish(sender, [EVENT], [USER, EDGE])
    (first_path, first_key, first), (second_path, second_key, second) = sender.calls

    assert ids[0] == ["event_0"]
    assert (first_path, second_path) == ("/api/v1/events", "/api/v1/events")
    assert first_key != second_key
    assert first == {
        "event": "organization.created",
        "data": EVENT.data,
        "organization_id": "org_1",
        "created_at": "2026-09-21T14:13:20.123Z",
    }
    assert isinstance(second, dict)
    assert [one["organization_id"] for one in second["events"]] == ["org_2", "org_3"]


@pytest.mark.parametrize("trouble", [503, None])
def test_a_call_whose_outcome_is_not_known_is_repeated_with_its_key(trouble: int | None) -> None:
    """Unavailable or cut off: the same body with the same key, so that nothing is published twice."""
    sender = Sender([trouble, trouble])

    publish(sender, [EVENT])

    assert len(sender.calls) >= 3
    assert len({json.dumps(call) for call in sender.calls}) == 1


def test_a_refusal_is_told_and_not_repeated() -> None:
    """What the API refuses would be refused again."""
    sender = Sender([422])

    with pytest.raises(HooklineError, match="was answered 422, expected 201"):
        publish(sender, [EVENT])
    assert len(sender.calls) == 1
