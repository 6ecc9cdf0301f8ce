"""What is cut out of events: secrets at the door, people later; and what must stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.receiver.resources import observe
from hookline.rules.redaction import REDACTED, SECRETS, Secrets, without_people, without_secrets
from hookline.wire.catalogue import CATALOGUE, sample, sampled_types
from hookline.wire.event import Event


def body(data: object, event_type: str = "magic_auth.created", **more: object) -> bytes:
    return json.dumps({"id": "event_1", "event": event_type, "data": data, **more}).encode()


def cut(raw: bytes, event_type: str, secrets: Secrets | None = None) -> bytes | None:
    return without_secrets(raw, (secrets or Secrets()).of(event_type))


@pytest.mark.parametrize(
    ("event_type", "field"),
    [
        ("magic_auth.created", "code"),
        ("email_verification.created", "code"),
        ("password_reset.created", "password_reset_token"),
        ("password_reset.created", "password_reset_url"),
        ("password_reset.succeeded", "token"),
        ("invitation.created", "token"),
        ("invitation.resent", "accept_invitation_url"),
        ("api_key.created", "value"),
        ("pipes.connected_account.connected", "access_token"),
        ("agent.registration.credential.issued", "client_secret"),
    ],
)
def test_what_lets_its_bearer_in_is_cut(event_type: str, field: str) -> None:
    data = {"id": "x_1", "email": "ada@lanternworks.example", field: "s3cr3t-123456"}
    found = cut(body(data, event_type), event_type)
    assert found is not None
    assert b"s3cr3t-123456" not in found
    assert json.loads(found)["data"] == data | {field: REDACTED}


@pytest.mark.parametrize("event_type", sampled_types())
def test_our_samples_hold_no_secret(event_type: str) -> None:
    assert cut(body(sample(event_type), event_type), event_type) is None


@pytest.mark.parametrize("pattern", SECRETS)
def test_every_pattern_takes_a_known_type(pattern: str) -> None:
    assert [one for one in CATALOGUE if Secrets({pattern: SECRETS[pattern]}).of(one)]


def test_all_else_keeps_its_bytes() -> None:
    raw = (
        b'{"id":"event_1","event":"magic_auth.created","created_at":"2026-01-01T00:00:00.000Z",'
        b'"data": {"n" : 1.0e5 , "big":123456789012345678901234567890,"u":"\\u00e9\\/","code":"4711","list":[1, 2]}}'
    )
    assert cut(raw, "magic_auth.created") == (
        b'{"id":"event_1","event":"magic_auth.created","created_at":"2026-01-01T00:00:00.000Z",'
        b'"data":{"n":1.0e5,"big":123456789012345678901234567890,"u":"\\u00e9\\/","code":"[redacted]","list":[1, 2]}}'
    )


def test_of_members_of_one_name_none_is_left() -> None:
    raw = b'{"event":"magic_auth.created","data":{"code":"4711","code":"4712"},"data":{"code":"4713","code":"4714"}}'
    assert cut(raw, "magic_auth.created") == b'{"event":"magic_auth.created","data":{"code":"[redacted]"}}'


def test_an_escaped_name_is_the_name() -> None:
    found = cut(b'{"event":"magic_auth.created","data":{"\\u0063ode":"4711"}}', "magic_auth.created")
    assert found is not None
    assert b"4711" not in found


@pytest.mark.parametrize("value", [4711, ["4711"], {"code": "4711"}, True])
def test_a_secret_of_any_shape_is_cut(value: Any) -> None:
    found = cut(body({"code": value}), "magic_auth.created")
    assert found is not None
    assert json.loads(found)["data"]["code"] == REDACTED


@pytest.mark.parametrize("data", [{}, {"code": None}, {"id": "x"}, {"Code": "4711"}])
def test_where_nothing_is_there_nothing_is_made_anew(data: Any) -> None:
    assert cut(body(data), "magic_auth.created") is None


def test_places_may_lie_deeper_and_patterns_add_up() -> None:
    secrets = Secrets({"*": ["user.token"], "invoice.*": ["card.number", "card.code"]})
    data = {"user": {"token": "a", "id": "u"}, "card": {"number": "b", "code": "c", "brand": "d"}}
    found = cut(body(data, "invoice.paid"), "invoice.paid", secrets)
    assert found is not None
    assert json.loads(found)["data"] == {
        "user": {"token": REDACTED, "id": "u"},
        "card": {"number": REDACTED, "code": REDACTED, "brand": "d"},
    }
    assert cut(body({"user": "token"}, "invoice.paid"), "invoice.paid", secrets) is None


@pytest.mark.parametrize("places", [{"a*": ["b"]}, {"": ["b"]}, {"a": "b"}, {"a": [""]}, {"a": ["b..c"]}, {"a": [1]}])
def test_what_is_no_place_is_refused(places: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        Secrets(places)


# -- people ------------------------------------------------------------------------------------------------------


def texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


def named(value: Any, name: str = "") -> list[str]:
    """The texts that say who somebody is."""
    if isinstance(value, dict):
        return [text for key, one in value.items() for text in named(one, key)]
    if isinstance(value, list):
        return [text for one in value for text in named(one, name)]
    return [value] if isinstance(value, str) and name.endswith(("name", "email", "value", "title", "domain")) else []


@pytest.mark.parametrize("event_type", sampled_types())
def test_of_a_sample_no_name_and_no_address_is_left(event_type: str) -> None:
    left = without_people(body(sample(event_type), event_type, created_at="2026-01-01T00:00:00.000Z"))
    assert left is not None
    event = Event.from_bytes(left)
    assert event.type == event_type
    left_over = texts(event.data)
    assert not [text for text in left_over if "@" in text]
    assert not set(named(sample(event_type))) & set(left_over)


@pytest.mark.parametrize("event_type", sampled_types())
def test_what_happened_to_which_object_can_still_be_told(event_type: str) -> None:
    raw = body(sample(event_type), event_type, created_at="2026-01-01T00:00:00.000Z")
    left = without_people(raw)
    assert left is not None
    before, after = (observe(Event.from_bytes(one), "event_1", 0) for one in (raw, left))
    assert [(one.resource, one.key, one.kind, one.clock) for one in after.objects] == [
        (one.resource, one.key, one.kind, one.clock) for one in before.objects
    ]
    assert after.edge == before.edge


def test_ids_of_the_identity_provider_and_open_fields_go() -> None:
    data = {
        "id": "directory_user_1", "idp_id": "ada@lanternworks.example", "external_id": "4711", "first_name": "Ada",
        "emails": [{"primary": True, "type": "work", "value": "ada@lanternworks.example"}], "state": "active",
        "custom_attributes": {"manager_id": "grace"}, "raw_attributes": {"id": 7}, "age": 36, "phone": None,
        "previous_attributes": {"state": "inactive"}, "updated_at": "2026-01-01T00:00:00.000Z", "id_number": "12",
    }  # fmt: skip
    left = without_people(body(data, "dsync.user.updated"))
    assert left is not None
    assert json.loads(left)["data"] == {
        "id": "directory_user_1", "idp_id": REDACTED, "external_id": REDACTED, "first_name": REDACTED,
        "emails": [{"primary": True, "type": "work", "value": REDACTED}], "state": "active",
        "custom_attributes": REDACTED, "raw_attributes": REDACTED, "age": REDACTED, "phone": None,
        "previous_attributes": REDACTED, "updated_at": "2026-01-01T00:00:00.000Z", "id_number": REDACTED,
    }  # fmt: skip


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b'"x"', b"{", b"[" * 100_000, b'{"a":\xff}'])
def test_of_what_is_no_event_nothing_is_kept(raw: bytes) -> None:
    assert without_people(raw) is None


_TEXT = st.text(st.characters(codec="ascii"), max_size=10)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["name", "email", "ids", "x", "value"]), _JSON, max_size=5))
def test_no_text_and_no_number_is_left_under_names_that_are_not_listed(data: dict[str, Any]) -> None:
    def left(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                left(one, key)
        elif isinstance(value, list):
            for one in value:
                left(one, name)
        elif not (name in {"id", "type"} or name.endswith(("_id", "_at", "_slug", "_type"))):
            assert value is None or isinstance(value, bool) or value == REDACTED

    found = without_people(body(data))
    assert found is not None
    left(json.loads(found)["data"], "")
