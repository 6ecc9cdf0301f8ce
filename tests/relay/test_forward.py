"""Where deliveries go on the developer's machine, how they are signed anew, and what disorder does to them."""

from __future__ import annotations

import random

import pytest

from hookline.errors import ConfigError
from hookline.relay.disorder import SHUFFLE_S, Disorder
from hookline.relay.forward import forward_url, signed_anew
from hookline.wire.signature import HEADER, sign, verify_signature
from hookline.wire.standard import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, StandardVerifier

NOW_MS = 1_700_000_000_000
STANDARD_SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:8000/webhooks", "http://localhost:8000/webhooks"),
        ("8000/webhooks", "http://localhost:8000/webhooks"),
        (":8000", "http://localhost:8000"),
        (" http://127.0.0.1:8000/a?b=c ", "http://127.0.0.1:8000/a?b=c"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ("app.test/hooks/", "http://app.test/hooks/"),
    ],
)
def test_a_url_may_be_short(text: str, url: str) -> None:
    assert forward_url(text) == url


@pytest.mark.parametrize("text", ["", "http://", "ftp://localhost/x", "http://a:b@localhost/", "localhost:8000/#x"])
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--forward-to"):
        forward_url(text)


def test_signed_anew_everything_else_keeps_its_place() -> None:
    """The name keeps its case; a second signature, which would be the old one, goes."""
    old = sign(b"{}", "old", timestamp_ms=1_600_000_000_000)
    headers = (("A", "1"), ("workos-signature", old), ("A", "2"), (HEADER, old))
    signed = signed_anew(headers, b"{}", "new", event_id="event_1", now_ms=NOW_MS)
    assert [name for name, _ in signed] == ["A", "workos-signature", "A"]
    verify_signature(b"{}", signed[1][1], ["new"], now_ms=NOW_MS)
    assert signed_anew((("A", "1"),), b"{}", "new", event_id="e", now_ms=NOW_MS)[1][0] == HEADER


def test_standard_webhooks_are_signed_anew_by_their_own_scheme() -> None:
    headers = ((ID_HEADER, "event_7"), (TIMESTAMP_HEADER, "1"), (SIGNATURE_HEADER, "v1,old"), ("A", "1"))
    signed = signed_anew(headers, b"{}", STANDARD_SECRET, event_id="another", now_ms=NOW_MS)
    assert [name for name, _ in signed] == [ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER, "A"]
    pairs = [(name.lower().encode(), value.encode()) for name, value in signed]
    assert StandardVerifier([STANDARD_SECRET]).verify(b"{}", pairs, now_ms=NOW_MS).event_id == "event_7"


def test_one_kind_of_disorder_does_not_change_what_another_does_by_the_same_seed() -> None:
    def fates(disorder: Disorder) -> list[tuple[int, ...]]:
        rng = random.Random(3)
        return [disorder.fate(rng) for _ in range(500)]

    dropped = fates(Disorder(drop=0.1))
    both = fates(Disorder(drop=0.1, duplicate=0.2, shuffle=True))
    assert [not one for one in dropped] == [not one for one in both]
    assert 30 < sum(not one for one in dropped) < 70
    assert 60 < sum(len(one) == 2 for one in both) < 120
    assert all(0 <= wait <= SHUFFLE_S * 1000 for one in both for wait in one)
    assert len({wait for one in both for wait in one}) > 100
    assert fates(Disorder(delay_s=5, duplicate=1))[:2] == [(5000, 5000), (5000, 5000)]
    assert set(fates(Disorder())) == {(0,)}
    assert Disorder().is_orderly
    assert not Disorder(drop=0.1).is_orderly
