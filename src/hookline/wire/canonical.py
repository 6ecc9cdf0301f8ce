"""The bytes of a value to publish: JSON that survives being parsed and written again by JavaScript.

Older official Node SDKs verify a signature over `JSON.stringify(JSON.parse(body))`. So the bytes B we store,
sign and send satisfy `JSON.stringify(JSON.parse(B)) === B`. What JSON does not tell apart is brought to
JavaScript's form (docs/decisions/0011); what it would lose or change is refused, with the path of the place:

- brought to form: no spaces, no needless escapes; `1.0` is `1`, `-0.0` is `0`, `1e-07` is `1e-7`; keys that
  are array indexes come first, ascending, the others keep their order.
- refused: integers beyond ±(2^53 - 1) however spelled, NaN and infinities, text with lone surrogates, keys
  that are not text, values that JSON has no form for, nesting deeper than `MAX_DEPTH`; and when reading,
  repeated keys.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from json.encoder import encode_basestring
from typing import Any

from hookline.errors import NotCanonical

# Real events nest 5 deep. Beyond this, what handlers and databases do with a value would depend on how much
# of Python's recursion limit is left where they happen to run.
MAX_DEPTH = 128
MAX_INTEGER = 2**53 - 1

_MAX_ARRAY_INDEX = 2**32 - 2
_ARRAY_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def canonical_bytes(value: object) -> bytes:
    """The one spelling of `value`, in UTF-8.

    Takes dicts with text keys, lists, tuples, str, int, float, bool and None.
    Raises: NotCanonical, whose `path` names the place, as in `data.emails[0].value`.
    """
    parts: list[str] = []
    _write(value, (), parts.append)
    return "".join(parts).encode()


def loads_strict(raw: bytes | str) -> Any:
    """Decode JSON to publish; what a lenient reader would silently drop or bend is refused.

    That is: repeated keys, NaN and infinities, numbers beyond a float or of thousands of digits.
    Raises: NotCanonical, whose `path` names the place; the path is empty where the whole is not UTF-8 or not
    JSON.
    """
    try:
        text = raw if isinstance(raw, str) else raw.decode()
    except UnicodeDecodeError as error:
        raise NotCanonical("", f"expected UTF-8, got {error.reason} at byte {error.start}") from None
    refused: list[_Refused] = []
    try:
        value = _decoder(refused).decode(text)
    except json.JSONDecodeError as error:
        # `from None`: the original error carries the whole document.
        raise NotCanonical(
            "", f"expected JSON: {error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise NotCanonical("", f"nested deeper than {MAX_DEPTH}") from None
    if refused:
        path, why = _find_refused(value)
        raise NotCanonical(dotted_path(path), why)
    return value


_Path = tuple[str | int, ...]


def _write(value: object, path: _Path, put: Callable[[str], None]) -> None:
    if isinstance(value, str):
        put(_text(value, path))
    elif value is None:
        put("null")
    elif isinstance(value, bool):
        put("true" if value else "false")
    elif isinstance(value, int):
        put(_integer(value, path))
    elif isinstance(value, float):
        put(_number(value, path))
    elif isinstance(value, dict):
        _require_shallow(path)
        put("{")
        for index, key in enumerate(_in_javascript_order(value, path)):
            put("," if index else "")
            put(_text(key, (*path, key)))
            put(":")
            _write(value[key], (*path, key), put)
        put("}")
    elif isinstance(value, list | tuple):
        _require_shallow(path)
        put("[")
        for index, item in enumerate(value):
            put("," if index else "")
            _write(item, (*path, index), put)
        put("]")
    else:
        raise NotCanonical(
            dotted_path(path),
            f"expected text, a number, true, false, null, a list or an object, got {type(value).__name__}",
        )


def _text(value: str, path: _Path) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotCanonical(dotted_path(path), "expected text that has UTF-8, got a lone surrogate") from None
    return encode_basestring(value)


def _integer(value: int, path: _Path) -> str:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise NotCanonical(
            dotted_path(path),
            f"expected an integer within ±{MAX_INTEGER}, beyond which JavaScript loses digits; send it as text",
        )
    return int.__repr__(value)


def _number(value: float, path: _Path) -> str:
    """A float as ECMAScript's Number::toString writes it; both print the shortest digits that read back."""
    if not math.isfinite(value):
        raise NotCanonical(dotted_path(path), f"expected a number JSON can write, got {value}")
    if value.is_integer():
        return _integer(int(value), path)
    mantissa, _, exponent = float.__repr__(value).partition("e")
    if not exponent:
        return mantissa
    places = -int(exponent)  # a fraction below 2^53 never has a positive exponent
    if places > 6:
        return f"{mantissa}e-{places}"
    # Python turns to exponents below 1e-4, JavaScript below 1e-6.
    sign = "-" if value < 0 else ""
    return f"{sign}0.{'0' * (places - 1)}{mantissa.lstrip('-').replace('.', '')}"


def _in_javascript_order(value: dict[Any, object], path: _Path) -> list[str]:
    keys = list(value)
    for key in keys:
        if not isinstance(key, str):
            raise NotCanonical(
                dotted_path(path), f"expected keys that are text, got a key of type {type(key).__name__}"
            )
    indexes = [key for key in keys if _is_array_index(key)]
    if not indexes:
        return keys
    return sorted(indexes, key=int) + [key for key in keys if not _is_array_index(key)]


def _is_array_index(key: str) -> bool:
    return key[:1].isdigit() and _ARRAY_INDEX.fullmatch(key) is not None and int(key) <= _MAX_ARRAY_INDEX


def _require_shallow(path: _Path) -> None:
    if len(path) >= MAX_DEPTH:
        raise NotCanonical(dotted_path(path), f"nested deeper than {MAX_DEPTH}")


class _Refused:
    """Stands in the decoded value where something was refused, because the hooks of `json` know no path."""

    def __init__(self, why: str, path: _Path = ()) -> None:
        self.why = why
        self.path = path  # from here


def _decoder(refused: list[_Refused]) -> json.JSONDecoder:
    def refuse(why: str, path: _Path = ()) -> _Refused:
        refused.append(_Refused(why, path))
        return refused[-1]

    def to_object(pairs: list[tuple[str, Any]]) -> Any:
        members = dict(pairs)
        if len(members) == len(pairs):
            return members
        counts = Counter(key for key, _ in pairs)
        return refuse("expected each key once, got it again", (counts.most_common(1)[0][0],))

    def to_int(digits: str) -> Any:
        # Python's own limit is 4,300 digits; far below it canonical_bytes refuses anyway.
        return int(digits) if len(digits) <= 400 else refuse(f"expected an integer within ±{MAX_INTEGER}")

    def to_float(digits: str) -> Any:
        number = float(digits)
        return number if math.isfinite(number) else refuse("expected a number that fits a 64-bit float")

    def to_constant(word: str) -> Any:
        return refuse(f"expected a number JSON can write, got {word}")

    return json.JSONDecoder(
        object_pairs_hook=to_object, parse_int=to_int, parse_float=to_float, parse_constant=to_constant
    )


def _find_refused(whole: object) -> tuple[_Path, str]:
    waiting: list[tuple[_Path, object]] = [((), whole)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, _Refused):
            return path + value.path, value.why
        if isinstance(value, dict):
            waiting.extend(((*path, key), inner) for key, inner in value.items())
        elif isinstance(value, list):
            waiting.extend(((*path, index), inner) for index, inner in enumerate(value))
    raise AssertionError("a refused value is in the tree it was refused from")


def dotted_path(path: Sequence[str | int]) -> str:
    """A place in a value as errors write it: `data.emails[0].value`; names are cut and escaped, never trusted."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{_cut(step)}" if text else _cut(step)
        else:
            text += f"[{_cut(step)!a}]"
    return text


def _cut(key: str) -> str:
    return key if len(key) <= 40 else key[:40] + "…"
