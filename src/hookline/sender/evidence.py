"""What is kept of an attempt to show it: the request as sent, whom it reached, how long it took, what was answered.

JSON text without a secret or a whole digest; bytes that are no text in base 64. One is written for each of thousands
of attempts a second, and their headers are nearly all alike: what a header looks like in JSON is remembered.
"""

from __future__ import annotations

import base64
import codecs
import functools
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from hookline.rules.headers import is_sensitive
from hookline.wire import standard
from hookline.wire.signature import HEADER

if TYPE_CHECKING:
    from hookline.sender.http import Answer, Headers

# Of a signature so many digits are kept: enough to tell two apart, too few to use.
DIGITS_KEPT: Final = 8

_SIGNATURE: Final = HEADER.lower()
_encode: Final = msgspec.json.Encoder().encode


def evidence_of(
    url: str,
    endpoint_version: int,
    headers: Headers,
    answer: Answer | None,
    detail: str | None,
    *,
    fixed: int = 0,
    sensitive: frozenset[str] = frozenset(),
    signed_with: str | None = None,
) -> str:
    """An attempt's evidence.

    Args:
        url: the endpoint's, of this version of it.
        headers: the request's, where the answer does not tell what was sent.
        answer: what came of it; None where nothing was sent.
        detail: for people, where something went wrong.
        fixed: how many of `headers` come first in each of the endpoint's requests.
        sensitive: names of headers, in lower case, whose values are not shown.
        signed_with: `new` or `old`, while an endpoint has two secrets.
    """
    sent = headers
    if answer is not None and answer.sent_headers:
        sent = answer.sent_headers
        fixed += sent[0][0] == "Host"
    again, others = _shown_again(sent[:fixed], sensitive), _shown(sent[fixed:], sensitive)
    comma = "," if again and others else ""
    request = f"{_endpoint(url, endpoint_version)}{again}{comma}{others}]}}"
    if signed_with is not None:
        request += f',"signed_with":"{signed_with}"'
    if detail is not None:
        request += f',"detail":{_json(detail)}'
    if answer is None:
        return request + "}"
    way, timings = _way(answer.address, answer.tls, answer.reused, answer.redone), _encode(answer.timings).decode()
    if answer.status is None:
        return f'{request}{way}{timings},"error":"{answer.error}"}}'
    body = _body(answer.body, is_whole=answer.body_bytes == len(answer.body)) if answer.body else '"body":""'
    return (
        f'{request}{way}{timings},"answer":{{"headers":[{_shown(answer.headers, sensitive)}],{body}'
        f',"body_bytes":{answer.body_bytes},"body_end":"{answer.body_end}"}}}}'
    )


def shown_headers(headers: Headers, sensitive: frozenset[str] = frozenset()) -> Headers:
    """Headers as evidence shows them: no whole signature, nothing that is secret."""
    pairs = msgspec.json.decode(f"[{_shown(headers, sensitive)}]", type=list[tuple[str, str]])
    return tuple(pairs)


@functools.lru_cache(maxsize=1024)
def _endpoint(url: str, version: int) -> str:
    return f'{{"url":{_json(url)},"endpoint_version":{version},"request":{{"headers":['


@functools.lru_cache(maxsize=1024)
def _way(address: str | None, tls: str | None, reused: bool, redone: bool) -> str:
    return (
        f',"address":{_json(address)},"tls":{_json(tls)},"reused":{_json(reused)},"redone":{_json(redone)},"timings":'
    )


def _json(value: str | bool | None) -> str:
    return _encode(value).decode()


def _shown(headers: Headers, sensitive: frozenset[str]) -> str:
    """Headers as pairs of a JSON list, what is secret masked."""
    pairs = []
    for header in headers:
        name, value = header
        how = _shown_how(name)
        if how == "signature":
            before, v1, whole = value.partition("v1=")
            pairs.append(_cut_pair(name, f"{before}{v1}{whole[:DIGITS_KEPT]}"))
        elif how == "signatures":
            shown = "… ".join([one[: len("v1,") + DIGITS_KEPT] for one in value.split(" ")])
            pairs.append(_cut_pair(name, shown))
        elif how == "hidden" or (sensitive and name.lower() in sensitive):
            pairs.append(_cut_pair(name, ""))
        else:
            pairs.append(_encode(header).decode())
    return ",".join(pairs)


# Of headers that come again.
_shown_again: Final = functools.lru_cache(maxsize=1024)(_shown)


def _cut_pair(name: str, start: str) -> str:
    """A header of which the start is shown, and an ellipsis: escaped, as one such character makes all the text wide."""
    return _encode((name, start)).decode()[: -len('"]')] + '\\u2026"]'


@functools.lru_cache(maxsize=4096)
def _shown_how(name: str) -> Literal["whole", "signature", "signatures", "hidden"]:
    """How a header's value is shown, as far as its name alone says."""
    lower = name.lower()
    if lower == _SIGNATURE:
        return "signature"
    if lower == standard.SIGNATURE_HEADER:
        return "signatures"
    return "hidden" if is_sensitive(lower) else "whole"


def _body(body: bytes, *, is_whole: bool) -> str:
    try:
        # A character cut in two at the end of an excerpt does not make it binary.
        text = codecs.getincrementaldecoder("utf-8")().decode(body, is_whole)
    except UnicodeDecodeError:
        return f'"body_base64":"{base64.b64encode(body).decode("ascii")}"'
    return f'"body":{_encode(text).decode()}'
