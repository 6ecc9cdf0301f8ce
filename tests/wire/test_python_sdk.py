"""The official Python SDK accepts what we sign, within its own tolerance, and parses every sample."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest

from hookline.wire.event import Event
from hookline.wire.signature import sign

from .deliveries import DELIVERIES
from .vectors import VECTORS, Vector

workos = pytest.importorskip("workos")
SECRET = "whsec_made_up_for_python"
SAMPLE = DELIVERIES[0]


@pytest.fixture(scope="module")
def webhooks() -> Any:
    return workos.WorkOSClient(api_key="sk_test_nobody", client_id="client_nobody").webhooks


def signed(body: bytes, *, s_ago: float = 0) -> str:
    return sign(body, SECRET, timestamp_ms=int((time.time() - s_ago) * 1000))


def places(value: Any, at: str = "") -> Iterator[str]:
    """Every named place in a payload: a name that their model does not have is lost on its way through it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{at}.{name}"
            yield from places(inner, f"{at}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from places(inner, f"{at}[]")


def unknown_words(model: Any) -> Iterator[str]:
    """Words that their enumerations do not list: they take any, so that new ones do not break old packages."""
    if isinstance(model, Enum):
        if model not in set(type(model)):
            yield f"{type(model).__name__}: {model.value}"
    elif isinstance(model, list):
        for inner in model:
            yield from unknown_words(inner)
    elif dataclasses.is_dataclass(model):
        for field in dataclasses.fields(model):
            yield from unknown_words(getattr(model, field.name))


@pytest.mark.parametrize("event", DELIVERIES, ids=lambda event: event.type)
def test_our_deliveries_are_accepted(webhooks: Any, event: Event) -> None:
    """`verify_event` takes every sample, knows its type, and reads every member and word of it into its own model."""
    theirs = webhooks.verify_event(event_body=event.raw, event_signature=signed(event.raw), secret=SECRET)

    if event.type == "order.placed":
        assert theirs.raw_data["id"] == event.id
    else:
        assert (theirs.id, theirs.event) == (event.id, event.type)
        assert type(theirs).__name__ != "EventSchemaUnknown"
        assert getattr(theirs.data, "id", None) == event.data.get("id")
        assert set(places(event.data)) <= set(places(theirs.to_dict()["data"]))
        assert set(places(event.context)) <= set(places(getattr(theirs.context, "to_dict", dict)()))
        assert list(unknown_words(theirs)) == []


@pytest.mark.parametrize(("s_ago", "accepted"), [(170, True), (190, False), (-170, True), (-190, False)])
def test_its_tolerance_is_ours(webhooks: Any, s_ago: float, accepted: bool) -> None:
    """A signature of minutes ago passes or fails there as it does here."""
    header = signed(SAMPLE.raw, s_ago=s_ago)

    if accepted:
        webhooks.verify_event(event_body=SAMPLE.raw, event_signature=header, secret=SECRET)
    else:
        with pytest.raises(ValueError, match="tolerance"):
            webhooks.verify_event(event_body=SAMPLE.raw, event_signature=header, secret=SECRET)


def test_a_forgery_is_refused(webhooks: Any) -> None:
    """The foreign verifier is one: another secret or another body does not pass."""
    header = signed(SAMPLE.raw)
    for body, secret in ((SAMPLE.raw, "whsec_another"), (SAMPLE.raw + b" ", SECRET)):
        with pytest.raises(ValueError, match="does not match"):
            webhooks.verify_event(event_body=body, event_signature=header, secret=secret)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_vectors_hold_there_too(webhooks: Any, vector: Vector) -> None:
    """Each vector verifies with the official package, its age set aside."""
    webhooks.verify_header(
        event_body=vector.body, event_signature=vector.header, secret=vector.secret, tolerance=10**10
    )
