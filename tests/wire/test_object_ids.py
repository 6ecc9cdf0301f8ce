"""Which object an event is about, whatever comes."""

from __future__ import annotations

import pytest

from hookline.wire.object_ids import object_of

MEMBER = "dsync.group.user_added"


@pytest.mark.parametrize(
    ("event_type", "body", "object_id"),
    [
        ("dsync.user.created", b'{"data": {"id": "u1", "more": [1, {}]}}', "u1"),
        ("dsync.user.created", b'{"data": {"id": 5}}', None),
        ("dsync.user.created", b'{"data": {"id": ""}}', None),
        (MEMBER, b'{"data": {"group": {"id": "g1"}, "user": {"id": "u1"}}}', "g1/u1"),
        (MEMBER, b'{"data": {"group": {"id": "g/1"}, "user": {"id": "u%1"}}}', "g%2F1/u%251"),
        (MEMBER, b'{"data": {"group": {"id": "g1"}, "user": 5}}', None),
        (MEMBER, b'{"data": null}', None),
        ("invoice.paid", b'{"id": "event_1", "data": {"id": "invoice_1"}}', "invoice_1"),
        (None, b'{"data": {"id": "u1"}}', "u1"),
        ("invoice.paid", b'{"data": {"id": "' + b"x" * 401 + b'"}}', None),
        ("invoice.paid", b'{"data": {"id": "a\\u0000b"}}', None),
        ("invoice.paid", b'{"data": ["id"]}', None),
        ("invoice.paid", b'{"data": null}', None),
        ("invoice.paid", b"[]", None),
        ("invoice.paid", b"", None),
        ("invoice.paid", b'{"data": {"id": "\xff"}}', None),
        (MEMBER, b"[" * 100_000, None),
        ("invoice.paid", b"[" * 100_000, None),
    ],
)
def test_the_object_of_whatever_comes(event_type: str | None, body: bytes, object_id: str | None) -> None:
    assert object_of(event_type, body) == object_id
