"""What answers and silences mean."""

from __future__ import annotations

import time

import pytest

from hookline.rules.response import PROBE_STATUSES, SILENCES, UNKNOWN, judge, retry_after_s, silence

NOW_MS = 784_111_777_000
"""Sun, 06 Nov 1994 08:49:37 GMT, the date of RFC 9110's examples."""


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (200, "succeeded", "status_200"),
        (201, "succeeded", "status_201"),
        (204, "succeeded", "status_204"),
        (299, "succeeded", "status_299"),
        (100, "failed", "protocol"),
        (199, "failed", "protocol"),
        (0, "failed", "protocol"),
        (600, "failed", "protocol"),
        (999, "failed", "protocol"),
        (300, "failed", "status_300"),
        (301, "failed", "redirect"),
        (302, "failed", "redirect"),
        (303, "failed", "redirect"),
        (304, "failed", "status_304"),
        (307, "failed", "redirect"),
        (308, "failed", "redirect"),
        (400, "failed", "status_400"),
        (404, "failed", "status_404"),
        (410, "gone", "status_410"),
        (429, "failed", "status_429"),
        (500, "failed", "status_500"),
        (503, "failed", "status_503"),
        (599, "failed", "status_599"),
    ],
)
def test_only_2xx_is_success(status: int, kind: str, reason: str) -> None:
    """Every other final answer is a failure, 410 a farewell, and what is no final status a broken protocol."""
    outcome = judge(status, now_ms=NOW_MS)

    assert (outcome.kind, outcome.reason, outcome.status) == (kind, reason, status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        (" 120 ", 120),
        ("0000000000120", 120),
        ("259200", 259_200),
        ("259201", 259_200),
        ("9" * 5_000, 259_200),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:50:37 +0100", 0),
        ("Sun, 06 Nov 1994 10:50:37 +0200", 60),
        ("Sat, 05 Nov 1994 08:49:37 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 259_200),
        ("Sun, 99 Nov 1994 99:99:99 GMT", None),
        ("Sun, 06 Nov 99999999999999999999 08:50:37 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_any_http_date(header: str | None, seconds: float | None) -> None:
    """Clamped to 0 … 72 h; what cannot be read is ignored, never an error."""
    assert retry_after_s(header, now_ms=NOW_MS) == seconds


def test_dates_without_a_zone_are_utc_wherever_we_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The asctime form names none, and the machine's own zone must not slip in."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert retry_after_s("Sun Nov  6 08:50:37 1994", now_ms=NOW_MS) == 60
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_counts_from_the_millisecond() -> None:
    """Half a second before the date asks for half a second."""
    assert retry_after_s("Sun, 06 Nov 1994 08:49:37 GMT", now_ms=NOW_MS - 500) == 0.5


@pytest.mark.parametrize(("status", "asked"), [(429, 30), (503, 30), (500, 30), (404, 30), (200, None), (302, None)])
def test_a_failure_may_ask_for_time(status: int, asked: int | None) -> None:
    """A success or a redirect has nothing to ask for."""
    assert judge(status, retry_after="30", now_ms=NOW_MS).retry_after_s == asked


def test_a_silence_fails_with_its_reason() -> None:
    """One word per way of getting no answer."""
    for reason in SILENCES:
        outcome = silence(reason)

        assert (outcome.kind, outcome.reason, outcome.status) == ("failed", reason, None)


def test_a_passed_lease_is_unknown() -> None:
    """It may have reached the endpoint: neither success nor failure."""
    assert (UNKNOWN.kind, UNKNOWN.status) == ("unknown", None)


def test_overload_is_429_503_and_no_answer_in_time() -> None:
    """These halve the endpoint's window; an ordinary error does not."""
    overloads = {status for status in range(200, 600) if judge(status, now_ms=NOW_MS).is_overload}

    assert overloads == {429, 503}
    assert {reason for reason in SILENCES if silence(reason).is_overload} == {"timeout", "connect_timeout"}


def test_a_probe_follows_answers_to_a_wrong_signature() -> None:
    """400, 401, 403, 422 and 500; never a silence."""
    probes = {status for status in range(200, 600) if judge(status, now_ms=NOW_MS).may_be_wrong_key}

    assert probes == {400, 401, 403, 422, 500} == PROBE_STATUSES
    assert not any(silence(reason).may_be_wrong_key for reason in SILENCES)
