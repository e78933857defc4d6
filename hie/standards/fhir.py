"""FHIR R4 (4.0.1) without a web server: strict JSON, structure, required codes, date intervals, search values.

Resources are plain dictionaries. Decimals are `decimal.Decimal`, so ``72.50`` stays
``72.50``; `dumps` writes them with their digits.

Source: https://hl7.org/fhir/R4/json.html, /search.html, /datatypes.html; spec/fhir.md 1.1, 1.4.
"""

from __future__ import annotations

import calendar
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import fhirkit
import orjson

from hie.standards.errors import MalformedContent

JsonObject = dict[str, Any]

MAX_DEPTH = 60
MAX_ISSUES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with a resource: where (FHIRPath), what, the issue code of FHIR, perhaps an error code of IHE."""

    expression: str
    message: str
    code: str = "structure"
    details: str = ""


# --- JSON -------------------------------------------------------------------------------------------------------------


def loads(body: bytes) -> JsonObject:
    """The JSON object of a body in UTF-8, refused as a whole when it cannot be read without guessing.

    Raises:
        MalformedContent: not UTF-8, a NUL, not JSON, not an object, nested deeper than `MAX_DEPTH`.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        body = body[3:]
    if b"\x00" in body or rb"\u0000" in body:
        raise MalformedContent("the body holds a NUL character")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedContent(f"the body is not UTF-8 (byte {error.start})") from error
    try:
        value = json.loads(
            text, parse_float=Decimal, parse_int=_whole, parse_constant=_refuse_constant, object_pairs_hook=_unique
        )
    except RecursionError as error:
        raise MalformedContent(f"the body is nested deeper than {MAX_DEPTH} levels") from error
    except json.JSONDecodeError as error:
        raise MalformedContent(f"the body is not JSON: line {error.lineno}, column {error.colno}") from error
    except ValueError as error:
        if isinstance(error, _Malformed):
            raise MalformedContent(str(error)) from error
        raise MalformedContent("the body is not JSON: a number has too many digits") from error
    if not isinstance(value, dict):
        raise MalformedContent("the body is not a JSON object")
    check_depth(value)
    return value


def check_depth(value: JsonObject) -> None:
    """Refuse a value of more levels than anybody needs.

    Raises:
        MalformedContent: nested deeper than `MAX_DEPTH`.
    """
    if _depth(value) > MAX_DEPTH:
        raise MalformedContent(f"the body is nested deeper than {MAX_DEPTH} levels")


class _Malformed(ValueError):
    """A rule of FHIR's JSON that the parser's hooks found broken."""


def _whole(digits: str) -> int | Decimal:
    """A whole number; one of more than 64 bits as Decimal, which is written back digit by digit."""
    if len(digits) > 1000:
        raise ValueError("too many digits")
    return int(digits) if len(digits) < 19 else Decimal(digits)


def _refuse_constant(name: str) -> Any:
    raise _Malformed(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Malformed(f"the key {key[:64]!r} appears more than once in one object")
            seen.add(key)
    return value


def _depth(value: Any) -> int:
    level, deepest = [value], 0
    while level:
        deepest += 1
        if deepest > MAX_DEPTH:
            break
        children: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children.extend(v for v in item.values() if isinstance(v, (dict, list)))
            elif isinstance(item, list):
                children.extend(v for v in item if isinstance(v, (dict, list)))
        level = children
    return deepest


def dumps(value: Any) -> bytes:
    """JSON bytes; decimals keep their digits, ready-made bytes are spliced in through `orjson.Fragment`."""
    return orjson.dumps(value, default=_plain)


def plain(value: Any) -> Any:
    """The value as it would be read back from `dumps`: spliced bytes unpacked, every number with its digits."""
    return json.loads(dumps(value), parse_float=Decimal, parse_int=_whole)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value).encode())
    raise TypeError(type(value).__name__)


class Encoder(json.JSONEncoder):
    """For `JSONField(encoder=)`: writes a resource as `dumps` does."""

    def encode(self, o: Any) -> str:
        """The resource as JSON text."""
        return dumps(o).decode()


class Decoder(json.JSONDecoder):
    """For `JSONField(decoder=)`: reads what `Encoder` wrote, decimals with their digits."""

    def decode(self, s: str, *_: Any) -> Any:
        """The value of a JSON text."""
        return json.loads(s, parse_float=Decimal, parse_int=_whole)


# --- structure --------------------------------------------------------------------------------------------------------

_STATUS_DOCUMENT = {"current", "superseded", "entered-in-error"}
_USES = {"usual", "official", "temp", "secondary", "old"}
_CODES: dict[str, set[str]] = {
    "DocumentReference.status": _STATUS_DOCUMENT,
    "DocumentReference.docStatus": {"preliminary", "final", "amended", "entered-in-error"},
    "DocumentReference.relatesTo.code": {"replaces", "transforms", "signs", "appends"},
    "List.status": {"current", "retired", "entered-in-error"},
    "List.mode": {"working", "snapshot", "changes"},
    "Bundle.type": {
        "document", "message", "transaction", "transaction-response", "batch", "batch-response", "history",
        "searchset", "collection",
    },
    "Bundle.entry.request.method": {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"},
    "Patient.gender": {"male", "female", "other", "unknown"},
    "Patient.contact.gender": {"male", "female", "other", "unknown"},
    "Patient.link.type": {"replaced-by", "replaces", "refer", "seealso"},
    "Practitioner.gender": {"male", "female", "other", "unknown"},
    "Consent.status": {"draft", "proposed", "active", "rejected", "inactive", "entered-in-error"},
    "Consent.provision.type": {"deny", "permit"},
    "Consent.provision.data.meaning": {"instance", "related", "dependents", "authoredby"},
    "AuditEvent.action": {"C", "R", "U", "D", "E"},
    "AuditEvent.outcome": {"0", "4", "8", "12"},
}  # fmt: skip
_ANYWHERE: dict[tuple[str, str], set[str]] = {
    ("identifier", "use"): _USES,
    ("masterIdentifier", "use"): _USES,
    ("name", "use"): {"usual", "official", "temp", "nickname", "anonymous", "old", "maiden"},
    ("telecom", "use"): {"home", "work", "temp", "old", "mobile"},
    ("telecom", "system"): {"phone", "fax", "email", "pager", "url", "sms", "other"},
    ("address", "use"): {"home", "work", "temp", "old", "billing"},
    ("address", "type"): {"postal", "physical", "both"},
    ("text", "status"): {"generated", "extensions", "additional", "empty"},
}
_INDEX = re.compile(r"\[\d+\]")


def check(resource: Mapping[str, Any] | bytes, parsed: JsonObject | None = None) -> list[Problem]:
    """Everything wrong with a resource against the base specification: structure, types, cardinality, required codes.

    Give the submitted bytes (with their parsed form) where they exist: a duplicated key is only
    visible there. At most `MAX_ISSUES` problems are told. Profiles are checked by their own modules.
    """
    problems: list[Problem] = []
    try:
        issues = fhirkit.validate(bytes(resource) if isinstance(resource, (bytes, bytearray)) else dumps(resource))
    except fhirkit.ParseError as error:
        return [Problem(expression="", message=str(error))]
    for issue in issues:
        if issue.severity != "error":
            continue
        code = "required" if issue.message.endswith("missing") else "structure"
        if "is not a valid" in issue.message:
            code = "value"
        problems.append(Problem(expression=issue.path, message=_quiet(issue.message), code=code))
        if len(problems) >= MAX_ISSUES:
            return problems
    value = parsed if parsed is not None else resource
    if isinstance(value, Mapping) and not problems:
        problems.extend(_empty(value))
        problems.extend(_bad_codes(value))
    return problems[:MAX_ISSUES]


def _quiet(message: str) -> str:
    """The checker's sentence without the submitted value: it may be a name or a birth date."""
    return re.sub(r'^".*" is not', "the value is not", message, flags=re.DOTALL)[:300]


def _empty(resource: Mapping[str, Any]) -> Iterator[Problem]:
    """Every object and list that says nothing: FHIR's JSON has no empty ones, and nothing could be kept of them."""
    stack: list[tuple[str, Any]] = [(str(resource.get("resourceType")), resource)]
    while stack:
        path, node = stack.pop()
        if not node:
            yield Problem(expression=path, message="an empty object or list is not allowed; leave the element out")
        elif isinstance(node, Mapping):
            stack += [(f"{path}.{key}", child) for key, child in node.items() if isinstance(child, (dict, list))]
        else:
            stack += [(f"{path}[{n}]", child) for n, child in enumerate(node) if isinstance(child, (dict, list))]


def _bad_codes(resource: Mapping[str, Any]) -> Iterator[Problem]:
    stack: list[tuple[str, str, Any]] = [
        (str(resource.get("resourceType")), str(resource.get("resourceType")), resource)
    ]
    while stack:
        path, spec, node = stack.pop()
        name = spec.rpartition(".")[2]
        for key, child in node.items():
            if isinstance(child, str):
                allowed = _CODES.get(f"{spec}.{key}") or _ANYWHERE.get((name, key))
                if allowed is not None and child not in allowed:
                    yield Problem(
                        expression=f"{path}.{key}",
                        message=f"not one of the codes {', '.join(sorted(allowed))}",
                        code="code-invalid",
                    )
            elif isinstance(child, dict):
                stack.append(_step(path, spec, key, child))
            elif isinstance(child, list):
                for index, item in enumerate(child):
                    if isinstance(item, dict):
                        stack.append(_step(f"{path}", spec, key, item, index))


def _step(path: str, spec: str, key: str, node: JsonObject, index: int | None = None) -> tuple[str, str, JsonObject]:
    where = f"{path}.{key}" + ("" if index is None else f"[{index}]")
    if "resourceType" in node:
        return where, str(node["resourceType"]), node
    # A provision holds provisions; they obey the same table.
    return where, spec if key == "provision" and spec.endswith(".provision") else f"{spec}.{key}", node


# --- dates ------------------------------------------------------------------------------------------------------------

_DATE = re.compile(
    r"^(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)?)?)?)?$", re.ASCII
)
PREFIXES = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Half open: `start` ≤ t < `end`, aware UTC."""

    start: datetime
    end: datetime


def interval(text: str) -> Interval:
    """The stretch of time that a FHIR date, dateTime or instant of any precision names; no zone means UTC.

    Raises:
        ValueError: not such a text, or not a day of the calendar.
    """
    found = _DATE.match(text)
    if not found:
        raise ValueError("not a date")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    if second == "60":
        second = "59"
    start = datetime(
        int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC
    )
    if fraction:
        start += timedelta(microseconds=int((fraction[1:] + "000000")[:6]))
    step: timedelta
    if month is None:
        step = timedelta(days=366 if calendar.isleap(int(year)) else 365)
    elif day is None:
        step = timedelta(days=calendar.monthrange(int(year), int(month))[1])
    elif hour is None:
        step = timedelta(days=1)
    elif second is None:
        step = timedelta(minutes=1)
    elif fraction is None:
        step = timedelta(seconds=1)
    else:
        step = timedelta(microseconds=max(1, 10 ** (6 - min(6, len(fraction) - 1))))
    if zone and zone != "Z":
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
        if offset > timedelta(hours=14):
            raise ValueError("no such zone")
        start = shifted(start, -offset if zone[0] == "+" else offset)
    return Interval(start=start, end=shifted(start, step))


_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def shifted(moment: datetime, by: timedelta) -> datetime:
    """The moment moved, at most to the ends of the calendar: the year 9999 is what many say for "for ever"."""
    try:
        return moment + by
    except OverflowError:
        return _LAST if by > timedelta() else _FIRST


def instant_text(moment: datetime) -> str:
    """An instant in UTC with milliseconds and ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_DTM = re.compile(r"^(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d))?)?)?)?)?$", re.ASCII)


def dtm_to_fhir(dtm: str) -> str:
    """``YYYY[MM[DD[hh[mm[ss]]]]]`` in UTC as a FHIR dateTime.

    FHIR has no hour and no minute precision: those are filled with zeros (the caller keeps the
    precision in an extension if it matters).
    """
    found = _DTM.match(dtm)
    if not found:
        raise ValueError("not a DTM")
    year, month, day, hour, minute, second = found.groups()
    date = "-".join(part for part in (year, month, day) if part)
    return date if hour is None else f"{date}T{hour}:{minute or '00'}:{second or '00'}Z"


def fhir_to_dtm(text: str) -> str:
    """A FHIR date, dateTime or instant as DTM in UTC, of the same precision; fractions are cut.

    Raises:
        ValueError: not such a text.
    """
    found = _DATE.match(text)
    if not found:
        raise ValueError("not a date")
    start = interval(text).start
    _, month, day, hour, _, second, _, _ = found.groups()
    layout = "%Y%m%d%H%M" if second is None else "%Y%m%d%H%M%S"
    if hour is None:
        layout = "%Y%m%d" if day else "%Y%m" if month else "%Y"
    # strftime does not pad years before 1000 on every platform
    return f"{start.year:04d}" + start.strftime(layout[2:])


def dtm_interval(dtm: str) -> Interval:
    """The stretch of time a DTM names."""
    found = _DTM.match(dtm)
    if not found:
        raise ValueError("not a DTM")
    _, _, _, hour, minute, second = found.groups()
    whole = interval(dtm_to_fhir(dtm))
    if hour and not second:
        return Interval(start=whole.start, end=whole.start + (timedelta(minutes=1) if minute else timedelta(hours=1)))
    return whole


# --- search values ----------------------------------------------------------------------------------------------------


def split_escaped(text: str, separator: str) -> list[str]:
    r"""Parts of a search value at an unescaped separator; escapes stay (``\,`` ``\|`` ``\$`` ``\\``)."""
    if "\\" not in text:
        return text.split(separator)
    parts, current, escaped = [], [], False
    for character in text:
        if escaped:
            current.append(character)
            escaped = False
        elif character == "\\":
            current.append(character)
            escaped = True
        elif character == separator:
            parts.append("".join(current))
            current = []
        else:
            current.append(character)
    parts.append("".join(current))
    return parts


def unescape(text: str) -> str:
    r"""A search value without its escapes.

    Raises:
        ValueError: a lone ``\`` at the end, or before a character that needs none.
    """
    if "\\" not in text:
        return text
    if not re.fullmatch(r"(?:[^\\]|\\[,|$\\])*", text, re.DOTALL):
        raise ValueError("stray backslash")
    return re.sub(r"\\([,|$\\])", r"\1", text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """``code`` (`system` None), ``|code`` (`system` ""), ``system|code``, ``system|`` (`code` "")."""

    system: str | None
    code: str


def token(text: str) -> Token:
    """A token value as searched.

    Raises:
        ValueError: neither system nor code, or more than one bar.
    """
    parts = [unescape(part) for part in split_escaped(text, "|")]
    if len(parts) > 2 or not any(parts):
        raise ValueError("not a token")
    if len(parts) == 1:
        return Token(system=None, code=parts[0])
    return Token(system=parts[0], code=parts[1])


ID = re.compile(r"^[A-Za-z0-9\-.]{1,64}$", re.ASCII)
