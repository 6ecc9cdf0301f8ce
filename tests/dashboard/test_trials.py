"""Sending a test event and checking an endpoint from its page, with what our receiver made of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from hookline.dashboard import observing
from hookline.receiver.app import Receiver
from hookline.sender.conformance import CHECKS
from hookline.sender.conformance_requests import Requests
from hookline.sender.model import Endpoint

from .browser import Browser
from .endpoint_world import Ends, ends


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    with ends(tmp_path_factory.mktemp("trials")) as made:
        yield made


@pytest.fixture(scope="module")
def endpoint(world: Ends) -> Endpoint:
    """Leads to our receiver, which has another secret until a test gives it this one."""
    return world.endpoint("https://receiver.example/webhooks", ["dsync.*", "invoice.paid"])


@pytest.fixture
def operator(world: Ends) -> Iterator[Browser]:
    world.answering.status = None
    with world.browser("operator") as browser:
        yield browser


@pytest.fixture
def trusted(world: Ends, endpoint: Endpoint) -> Iterator[None]:
    """The receiver's door takes what the endpoint's secret signs."""
    usual = world.answering.receiver
    with Receiver(world.receiver_url, secrets=[world.secret(endpoint.id)], clock=world.clock) as door:
        world.answering.receiver = door
        yield
    world.answering.receiver = usual


def tab(endpoint: Endpoint, rest: str = "/test") -> str:
    return f"/dashboard/production/endpoints/{endpoint.id}{rest}"


def test_types_are_those_it_asks_for(operator: Browser, endpoint: Endpoint) -> None:
    """Others stand greyed with the reason; the sample of the chosen one is laid out to be changed."""
    page = operator.get(tab(endpoint))

    assert '<option value="dsync.user.created" selected>' in page.text
    assert '<option value="user.created" disabled>user.created (not subscribed)</option>' in page.text
    assert json.loads(dict(page.page.form("/test").fields)["data"])["object"] == "directory_user"
    other = operator.submit(page, "/test", button="sample", type="dsync.group.created")
    assert json.loads(dict(other.page.form("/test").fields)["data"])["object"] == "directory_group"
    assert other.status == 200


def test_a_test_arrives_and_is_followed(world: Ends, operator: Browser, endpoint: Endpoint, trusted: None) -> None:
    """Status, headers, body and timing beneath, and what became of it in our receiver."""
    page = operator.get(tab(endpoint))
    data = json.loads(dict(page.page.form("/test").fields)["data"]) | {"first_name": "Edited"}

    answer = operator.submit(page, "/test", button="send", data=json.dumps(data))

    text = " ".join(answer.page.text.split())
    assert answer.status == 200
    assert "The test was answered 200" in text
    assert "Our receiver kept it from default : ● applied" in text.replace("default:", "default :")
    assert json.loads(world.answering.seen[-1][2])["data"]["first_name"] == "Edited"
    told = operator.post(tab(endpoint, "/test?format=json"), {"type": "dsync.user.created", "data": "{}"}).json["test"]
    assert (told["status"], told["outcome"]) == (200, "succeeded")
    assert world.secret(endpoint.id) not in answer.text
    sent = dict(told["request_headers"])
    assert sent["WorkOS-Signature"].endswith("…")
    assert sent["Hookline-Origin"] == "test"


def test_a_refusal_says_what_to_do(world: Ends, operator: Browser, endpoint: Endpoint) -> None:
    """With the answer as it came, shown harmlessly."""
    world.answering.status, world.answering.body = 401, b'<script>alert("x")</script>'

    answer = operator.submit(operator.get(tab(endpoint)), "/test", button="send")

    assert "The test was answered 401" in answer.page.text
    assert "check which secret the endpoint verifies with" in answer.page.text
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;alert" in answer.text
    assert "req_1" in answer.page.text
    explained = operator.get(answer.page.link("Explain its signature"))
    assert "attempt 1: status_401" in explained.page.text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{", "expected JSON"),
        ("[1]", "expected a JSON object"),
        ('{"n": 9007199254740993}', "beyond which JavaScript loses digits"),
        ('{"a": 1, "a": 2}', "expected each key once"),
        ('{"x": "' + "y" * 400_000 + '"}', "at most 400000 characters"),
    ],
)
def test_a_payload_that_is_none(world: Ends, operator: Browser, endpoint: Endpoint, data: str, said: str) -> None:
    """Beside the field, with what was typed; nothing is sent."""
    before = len(world.answering.seen)

    answer = operator.post(tab(endpoint), {"type": "dsync.user.created", "data": data, "do": "send"})

    assert answer.status == 422
    assert said in answer.page.text
    if len(data) < 1_000:
        assert dict(answer.page.form("/test").fields)["data"] == data
    assert len(world.answering.seen) == before


def test_a_type_it_does_not_ask_for(world: Ends, operator: Browser, endpoint: Endpoint) -> None:
    """Is refused though the form was bent; an unknown one has no sample."""
    answer = operator.post(tab(endpoint), {"type": "user.created", "data": "{}", "do": "send"})

    assert answer.status == 422
    assert "does not ask for this type" in answer.text.partition('id="error-type"')[2]
    own = operator.post(tab(endpoint), {"type": "invoice.paid", "data": '{"id": "i"}', "do": "send"})
    assert own.status == 200
    assert json.loads(world.answering.seen[-1][2])["event"] == "invoice.paid"


def test_an_endpoint_that_is_off_is_told(world: Ends, operator: Browser) -> None:
    """Tests reach it, events do not."""
    off = world.endpoint("https://off.example/", ["dsync.*"])
    world.sender.registry.change("production", off.id, status="disabled")
    world.answering.status = 204

    answer = operator.submit(operator.get(tab(off)), "/test", button="send")

    assert "tests reach it, events do not" in answer.page.text


def test_the_conformance_check(world: Ends, operator: Browser, endpoint: Endpoint, trusted: None) -> None:
    """A line for each check; our receiver passes all, those that are only seen from within as well."""
    answer = operator.submit(operator.get(tab(endpoint)), "/check")

    assert answer.status == 200
    verdicts = operator.post(tab(endpoint, "/check?format=json")).json["check"]["lines"]
    assert [(one["name"], one["verdict"]) for one in verdicts] == [(one.name, "passed") for one in CHECKS]
    assert "the newer state was kept" in answer.page.text
    assert world.secret(endpoint.id) not in answer.text
    trail = operator.get(tab(endpoint, "/activity?format=json")).json["trail"]
    assert trail[0]["action"] == "endpoint.checked"
    assert trail[0]["actor"] == "user:ada"


def test_a_consumer_that_takes_anything(world: Ends, operator: Browser, endpoint: Endpoint) -> None:
    """Fails where it should, with the guide's advice; what cannot be seen is unknown."""
    world.answering.status = 200

    lines = operator.post(tab(endpoint, "/check?format=json")).json["check"]["lines"]

    by_name = {one["name"]: one for one in lines}
    assert [name for name, one in by_name.items() if one["verdict"] == "failed"] == [
        "wrong_secret",
        "missing_signature",
        "old_timestamp",
        "future_timestamp",
        "tampered_body",
        "content_type",
    ]
    assert (by_name["oversize"]["verdict"], by_name["stale"]["verdict"]) == ("warning", "unknown")
    assert "verify the signature" in by_name["wrong_secret"]["advice"]


def test_what_a_check_has_left_at_the_endpoint_is_said(
    operator: Browser, endpoint: Endpoint, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no verdict, and somebody may have to take it away."""

    async def take_away(_: Requests) -> int:
        return 3

    monkeypatch.setattr(Requests, "take_away", take_away)

    answer = operator.submit(operator.get(tab(endpoint)), "/check")

    assert "3 of the users and groups that were made up could not be deleted" in answer.page.text


def test_what_waits_is_waited_for_and_no_longer(
    world: Ends, operator: Browser, endpoint: Endpoint, trusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a worker an event stays waiting: that is what is told."""
    monkeypatch.setattr(observing, "PATIENCE_S", 0.0)
    monkeypatch.setattr(world.answering, "drains", False)

    told = operator.post(tab(endpoint, "/test?format=json"), {"type": "dsync.user.created", "data": "{}"}).json["test"]

    assert told["became"]["state"] == "waiting"
