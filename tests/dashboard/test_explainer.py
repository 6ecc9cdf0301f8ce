"""The signature explainer by HTTP: what it finds, with which secrets, for whom, and what it never shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from hookline.sender.model import Endpoint
from hookline.wire.schemes import signed_headers
from hookline.wire.signature import sign
from hookline.wire.standard import secret_form

from .browser import Answer, Browser
from .endpoint_world import NOW_MS, RECEIVER_SECRET, Ends, ends

PAGE = "/dashboard/explain"
BODY = '{"id":"event_01","event":"user.created","data":{"first_name":"Zoë"},"created_at":"2026-11-27T09:00:00.000Z"}'


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    with ends(tmp_path_factory.mktemp("explainer")) as made:
        yield made


@pytest.fixture(scope="module")
def endpoint(world: Ends) -> Endpoint:
    return world.endpoint("https://explained.example/", ["*"], description="Billing")


@pytest.fixture
def operator(world: Ends) -> Iterator[Browser]:
    with world.browser("operator") as browser:
        yield browser


@pytest.fixture
def viewer(world: Ends) -> Iterator[Browser]:
    with world.browser("viewer") as browser:
        yield browser


def explained(browser: Browser, header: str, body: str = BODY, **fields: str) -> dict[str, Any]:
    answer = browser.post(f"{PAGE}?format=json", {"header": header, "body": body, **fields})
    assert answer.status == 200, answer.text
    result: dict[str, Any] = answer.json["result"]
    return result


def multipart(browser: Browser, fields: dict[str, str], file: bytes) -> Answer:
    """As a browser sends a form with a file."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts.append(
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="body.json"\r\n\r\n' + file + b"\r\n"
    )
    headers = {"content_type": "multipart/form-data; boundary=edge", "sec_fetch_site": "same-origin"}
    return browser._ask("POST", f"{PAGE}?format=json", b"".join([*parts, b"--edge--\r\n"]), headers, follow=False)


def test_the_step_and_the_culprit_are_on_the_page(world: Ends, operator: Browser, endpoint: Endpoint) -> None:
    """Without JavaScript; what was typed is kept, but for the secret."""
    header = sign(BODY.encode(), world.secret(endpoint.id), timestamp_ms=NOW_MS)
    spaced = json.dumps(json.loads(BODY))

    answer = operator.submit(operator.get(PAGE), "explain", header=header, body=spaced, secret="whsec_mine")

    text = " ".join(answer.page.text.split())
    assert "The body was changed on its way" in text
    assert "json.dumps" in text
    assert "Billing" in text  # whose secret it is
    fields = dict(answer.page.form("explain").fields)
    assert (fields["header"], fields["body"], fields["secret"]) == (header, spaced, "")
    assert "whsec_mine" not in answer.text


def test_known_secrets_are_named_and_never_shown(world: Ends, operator: Browser, endpoint: Endpoint) -> None:
    """Endpoints' current and old ones, sources', in both forms; with a pasted one they are others."""
    secret = world.secret(endpoint.id)
    genuine = explained(operator, sign(BODY.encode(), secret, timestamp_ms=NOW_MS))
    assert (genuine["code"], genuine["broken"]) == ("genuine", None)
    assert genuine["secret"] == f"current secret of the endpoint Billing ({endpoint.id})"
    world.sender.registry.rotate_secret("production", endpoint.id)
    assert explained(operator, sign(BODY.encode(), secret, timestamp_ms=NOW_MS))["secret"].startswith("old secret")
    source = explained(operator, sign(BODY.encode(), RECEIVER_SECRET, timestamp_ms=NOW_MS))
    assert source["secret"] == "secret 1 of the source default"

    other = explained(operator, sign(BODY.encode(), secret, timestamp_ms=NOW_MS), secret="whsec_pasted")
    assert other["code"] == "secret_other"
    headers = signed_headers("standard_webhooks", BODY.encode(), secret_form(secret), event_id="e_1", now_ms=NOW_MS)
    lines = "\n".join(f"{name}: {value}" for name, value in headers.items())
    standard = explained(operator, lines)
    assert (standard["code"], standard["scheme"]) == ("genuine", "standard_webhooks")
    for told in (genuine, other, source, standard):
        for one in (secret, world.secret(endpoint.id), RECEIVER_SECRET, secret_form(secret)):
            assert one not in json.dumps(told)


def test_a_viewer_has_pasted_secrets_only(world: Ends, viewer: Browser, endpoint: Endpoint) -> None:
    """Nothing is compared with what is known here; with the right secret pasted it holds."""
    secret = world.secret(endpoint.id)
    header = sign(BODY.encode(), secret, timestamp_ms=NOW_MS)

    assert explained(viewer, header)["code"] == "no_secret"
    pasted = explained(viewer, header, secret="whsec_pasted")
    assert (pasted["code"], pasted["secrets_tried"]) == ("mismatch", 1)
    assert explained(viewer, header, secret=secret)["code"] == "genuine"
    assert explained(viewer, header, secret=secret + " ")["code"] == "secret_white_space"
    assert "compared by operators and admins" in viewer.get(PAGE).page.text


def test_line_ends_of_a_text_box_are_no_fault(world: Ends, operator: Browser, endpoint: Endpoint) -> None:
    """A browser makes CRLF of them; raw bytes are uploaded instead where it may be about those."""
    body = '{\n"event":"user.created","data":{}}'
    header = sign(body.encode(), world.secret(endpoint.id), timestamp_ms=NOW_MS)

    assert explained(operator, header, body.replace("\n", "\r\n"))["code"] == "genuine"
    crlf = multipart(operator, {"header": header, "body": ""}, body.replace("\n", "\r\n").encode())
    assert crlf.json["result"]["code"] == "body_line_end"
    latin = multipart(operator, {"header": header}, '{"n":"Zoë"}'.encode("latin-1"))
    assert latin.json["result"]["body_bytes"] == 11


@pytest.mark.parametrize(
    ("tolerance", "code"), [("", "expired"), ("180", "expired"), ("3600", "genuine"), ("none", "genuine")]
)
def test_the_tolerance_is_asked_for(
    world: Ends, operator: Browser, endpoint: Endpoint, tolerance: str, code: str
) -> None:
    """In seconds, or none."""
    header = sign(BODY.encode(), world.secret(endpoint.id), timestamp_ms=NOW_MS - 600_000)

    assert explained(operator, header, tolerance_s=tolerance)["code"] == code


def test_a_tolerance_that_is_none(operator: Browser) -> None:
    """Beside its field; the rest is kept."""
    answer = operator.post(PAGE, {"header": "t=1, v1=2", "body": BODY, "tolerance_s": "soon"})

    assert answer.status == 422
    assert "expected seconds" in answer.text.partition('id="error-tolerance_s"')[2]
    assert dict(answer.page.form("explain").fields)["body"] == BODY


def test_from_a_delivery(world: Ends, operator: Browser, viewer: Browser, endpoint: Endpoint) -> None:
    """Its endpoint's secrets are meant, and what was sent is compared with what came; payloads are not shown."""
    world.answering.status = 401
    with world.browser("operator") as browser:
        test = browser.post(
            f"/dashboard/production/endpoints/{endpoint.id}/test?format=json",
            {"type": "user.created", "data": '{"first_name":"Personal"}'},
        ).json["test"]
    _, headers, sent = world.answering.seen[-1]
    header = next(value for name, value in headers if name == "WorkOS-Signature")
    link = f"{PAGE}?environment=production&delivery={test['delivery_id']}&attempt=1"

    page = operator.get(link)

    assert "Personal" not in page.text
    assert "status_401" in page.page.text
    masked = dict(page.page.form("explain").fields)["header"]
    assert masked.startswith("WorkOS-Signature: t=")
    assert header not in masked
    of_the_log = operator.submit(page, "explain")
    assert "cut as logs show it" in of_the_log.page.text
    held = operator.submit(page, "explain", header=header)
    assert "The signature holds over these bytes" in held.page.text
    changed = operator.submit(page, "explain", header=header, body=sent.decode().replace("Personal", "Personel"))
    assert "not as it was sent" in changed.page.text
    assert viewer.get(link).status == 200
    assert "bytes, is compared" not in viewer.get(link).page.text
    assert operator.get(f"{PAGE}?delivery=del_unknown").status == 404


def test_from_a_refusal_of_the_inbox(world: Ends, operator: Browser) -> None:
    """The source's secrets are meant; why it refused lately is told."""
    world.receiver.receive(
        "POST", "/webhooks", [("WorkOS-Signature", f"t={NOW_MS}, v1={'0' * 64}")], b"{}", "127.0.0.1"
    )
    world.receiver.flush()

    page = operator.get(f"{PAGE}?source=default&reason=mismatch")

    assert "It refused lately: mismatch" in " ".join(page.page.text.split())
    told = operator.submit(page, "explain", header=f"t={NOW_MS}, v1={'0' * 64}", body="{}")
    assert "none of" in told.page.text
    assert operator.get(f"{PAGE}?source=elsewhere").status == 404


def test_hostile_input_is_explained_too(operator: Browser) -> None:
    """Megabytes, depth, scripts."""
    answer = operator.post(PAGE, {"header": "<script>alert(1)</script>" * 500, "body": "[" * 200_000})
    assert answer.status == 200
    assert "<script>alert" not in answer.text
    large = multipart(operator, {"header": f"t={NOW_MS}, v1={'0' * 64}"}, b"\xff" * 1_000_000)
    assert large.json["result"]["broken"] == "signature"
    assert multipart(operator, {"header": ""}, b"x" * (9 * 1024 * 1024)).status == 413
