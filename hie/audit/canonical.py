"""Canonical JSON (RFC 8785): one text for one value, so that a hash of it means something. Pure."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

_SAFE_INTEGER = 2**53 - 1


class NotCanonical(ValueError):
    """A value that JSON, as RFC 8785 reads it, cannot hold exactly."""


def canonical(value: Any) -> str:
    """The RFC 8785 text of a value made of dict, list, str, int, float, bool, None.

    Members are sorted by UTF-16 code units, numbers written as ECMAScript does, no
    blank anywhere. Raises NotCanonical for NaN, infinities, integers beyond 2^53 and
    lone surrogates.
    """
    if _is_simple(value):
        with contextlib.suppress(orjson.JSONEncodeError):  # it nests too deeply
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    out: list[str] = []
    _put(value, out)
    return "".join(out)


def _is_simple(value: Any) -> bool:
    """Whether any sorted JSON writer gives the canonical text: ASCII names in objects, no floats, no large integers.

    Nearly every row of the log is; the slow way takes ten times as long.
    """
    kind = type(value)
    if kind is str:
        return str.isascii(value)
    if value is None or kind is bool:
        return True
    if kind is int:
        return bool(-_SAFE_INTEGER <= value <= _SAFE_INTEGER)
    if kind is dict:
        return all(type(key) is str and key.isascii() and _is_simple(item) for key, item in value.items())
    if kind is list or kind is tuple:
        return all(_is_simple(item) for item in value)
    return False


def _put(value: Any, out: list[str]) -> None:
    if isinstance(value, str):
        out.append(_string(value))
    elif value is None:
        out.append("null")
    elif value is True:
        out.append("true")
    elif value is False:
        out.append("false")
    elif isinstance(value, int):
        if abs(value) > _SAFE_INTEGER:
            raise NotCanonical(f"integer beyond 2^53: {value}")
        out.append(str(value))
    elif isinstance(value, float):
        out.append(_number(value))
    elif isinstance(value, Mapping):
        out.append("{")
        for position, key in enumerate(sorted(value, key=_utf16)):
            out.append(("," if position else "") + _string(key) + ":")
            _put(value[key], out)
        out.append("}")
    elif isinstance(value, list | tuple):
        out.append("[")
        for position, item in enumerate(value):
            if position:
                out.append(",")
            _put(item, out)
        out.append("]")
    else:
        raise NotCanonical(f"not a JSON value: {type(value).__name__}")


def _utf16(key: str) -> bytes:
    try:
        return key.encode("utf-16-be")
    except UnicodeEncodeError:
        raise NotCanonical("lone surrogate in a member name") from None


def _string(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotCanonical("lone surrogate in text") from None
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """ECMAScript's Number.prototype.toString, from Python's shortest digits."""
    if not math.isfinite(value):
        raise NotCanonical("not a finite number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    point = len(whole) - leading + int(exponent or 0)  # value = 0.digits * 10^point
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        return sign + digits + "0" * (point - count)
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = f"e{'+' if point - 1 >= 0 else '-'}{abs(point - 1)}"
    return f"{sign}{digits[0]}{'.' + digits[1:] if count > 1 else ''}{power}"


def plain(value: Any) -> Any:
    """A value as JSON and PostgreSQL can both hold it, the same after a round trip.

    Sets become sorted lists, ids and instants text, NUL and lone surrogates U+FFFD,
    integers beyond 2^53 and numbers that are none text. Never raises: an odd value
    in a detail must not cost the event.
    """
    kind = type(value)
    if kind is str and value.isascii() and "\x00" not in value:
        return value  # nearly every value of a row
    if value is None or kind is bool:
        return value
    if kind is dict:
        return {
            key if type(key) is str and key.isascii() and "\x00" not in key else plain(str(key)): plain(item)
            for key, item in value.items()
        }
    if kind is list or kind is tuple:
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        if "\x00" in value:
            value = value.replace("\x00", "�")
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int):
        return value if abs(value) <= _SAFE_INTEGER else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        # jsonb keeps 1e400 as digits but 1.0 as 1.0: whole floats travel as integers.
        return int(value) if value.is_integer() and abs(value) <= _SAFE_INTEGER else value
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, date | UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, bytes | bytearray | memoryview):
        return plain(bytes(value).decode("utf-8", "replace"))
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return plain(str(value))


def instant(value: datetime) -> str:
    """An instant as the log writes it: UTC, microseconds, ``Z``."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
