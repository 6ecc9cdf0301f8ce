"""Bodies as the sender makes them, to put before foreign verifiers: every sample, and the awkward ones."""

from __future__ import annotations

from hookline.testing import sample_event
from hookline.wire.catalogue import sampled_types
from hookline.wire.event import Event, encode_event

AWKWARD = Event.from_bytes(
    encode_event(
        event_id="event_01HF000000000000000000000A",
        event_type="order.placed",
        data={
            "b": [1.0, -0.0, 1e-5, 1e-7, 12.5, 9007199254740991],
            "10": "integer-like keys",
            "2": "in JavaScript's order",
            "text": 'Zoë 😀 / \\ " \u2028 \x7f \x00 \b \f \ufeff',
            "__proto__": {"a": None},
        },
        created_us=1_700_000_000_000_000,
        context={"client_id": "client_1", "actor": {"id": "user_1", "source": "api", "name": None}},
    )
)

DELIVERIES = (*(sample_event(name) for name in sampled_types()), AWKWARD)
