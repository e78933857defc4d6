"""A search as the client asked for it: parameters parsed by the resource's table, and what was really applied.

Source: FHIR R4 search; spec/fhir.md 1.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from hie.faces.fhir.errors import InvalidSearch
from hie.faces.fhir.resources import Param, ParamType, Resource
from hie.standards import fhir

DEFAULT_COUNT = 50
MAX_COUNT = 500
MAX_PARAMETERS = 200
MAX_VALUES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class DateValue:
    """A date as searched: the prefix and the stretch of time named."""

    prefix: str
    interval: fhir.Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValue:
    """A reference as searched: `type` "" when only an id was given; `url` for one on another server."""

    type: str
    id: str
    url: str = ""


Value = fhir.Token | DateValue | ReferenceValue | str | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One parameter of the search: its values are alternatives. `:missing` has one value, a bool."""

    param: Param
    modifier: str
    values: tuple[Value, ...]
    raw: str

    @property
    def name(self) -> str:
        """The parameter's name without modifier."""
        return self.param.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """One key of `_sort`."""

    name: str
    descending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A parsed search. Criteria must all hold (AND).

    `page` is the opaque token of a page link, "" on a first page. `ignored` names the parameters that
    were not understood. `applied` are the pairs of the self link, `fingerprint` stands for them.
    """

    criteria: tuple[Criterion, ...] = ()
    count: int = DEFAULT_COUNT
    sort: tuple[Sort, ...] = ()
    summary: str = "false"
    elements: tuple[str, ...] = ()
    includes: tuple[str, ...] = ()
    page: str = ""
    ignored: tuple[str, ...] = ()
    applied: tuple[tuple[str, str], ...] = ()
    raw: str = ""

    def all(self, name: str) -> tuple[Criterion, ...]:
        """Every criterion of this name."""
        return tuple(criterion for criterion in self.criteria if criterion.name == name)

    def first(self, name: str) -> Criterion | None:
        """The first criterion of this name."""
        return next((criterion for criterion in self.criteria if criterion.name == name), None)

    @property
    def fingerprint(self) -> str:
        """Digest of what was applied: a page token belongs to one search."""
        return hashlib.sha256(repr(self.applied).encode()).hexdigest()[:16]

    @property
    def query_string(self) -> str:
        """The applied parameters, percent-encoded."""
        return urlencode(self.applied, quote_via=quote, safe="|,:/$")


def pairs(query_string: str | bytes) -> list[tuple[str, str]]:
    """Name and value of a query string or form body.

    Raises:
        InvalidSearch: not UTF-8, or too many parameters.
    """
    # WSGI gives the query string as Latin-1 text of bytes that are UTF-8 where a client did not encode them.
    raw = query_string if isinstance(query_string, bytes) else query_string.encode("latin-1", "replace")
    try:
        text = raw.decode("utf-8")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError as error:
        raise InvalidSearch("the parameters are not UTF-8") from error
    except ValueError as error:
        raise InvalidSearch(f"more than {MAX_PARAMETERS} parameters") from error


def parse(resource: Resource, given: Iterable[tuple[str, str]], *, base: str, strict: bool = False) -> Query:
    """The search of a resource type.

    An unknown parameter is left out of what is applied and named in `ignored`; under strict handling
    it is refused. An empty value is ignored. A known parameter with a bad value or modifier is always refused.

    Raises:
        InvalidSearch: with `element` naming the parameter.
    """
    criteria: list[Criterion] = []
    applied: list[tuple[str, str]] = []
    ignored: list[str] = []
    settings: dict[str, str] = {}
    includes: list[str] = []
    given = list(given)
    for name, value in given:
        if "\x00" in value or "\x00" in name:
            raise InvalidSearch("a parameter holds a NUL character", element=_shown(name))
        if value == "" or name == "_format" or name == "_pretty":
            continue
        if name in ("_count", "_sort", "_summary", "_elements", "_total", "_page"):
            if name in settings and settings[name] != value:
                raise InvalidSearch(f"{name} is given twice", element=name)
            if name not in settings:
                settings[name] = value
            continue
        if name in ("_include", "_revinclude"):
            _include(resource, name, value, strict, includes, applied, ignored)
            continue
        plain = _without_target_type(resource, name)
        base_name, _, modifier = plain.partition(":")
        param = resource.by_name.get(base_name)
        if param is None:
            if strict:
                raise InvalidSearch("unknown search parameter", element=_shown(name))
            ignored.append(_shown(name))
            continue
        criteria.append(_criterion(param, modifier, value, name, base))
        applied.append((name, value))
    for name in ("_sort", "_count", "_summary", "_elements", "_total"):
        if name in settings:
            applied.append((name, settings[name]))
    _one_of("_total", settings.get("_total", "accurate"), ("none", "estimate", "accurate"))
    return Query(
        criteria=tuple(criteria),
        count=_count(settings.get("_count")),
        sort=_sort(resource, settings.get("_sort")),
        summary=_one_of("_summary", settings.get("_summary", "false"), ("true", "text", "data", "count", "false")),
        elements=tuple(part.strip() for part in settings.get("_elements", "").split(",") if part.strip()),
        includes=tuple(includes),
        page=settings.get("_page", ""),
        ignored=tuple(dict.fromkeys(ignored)),
        applied=tuple(applied),
        raw=urlencode(given),
    )


def _shown(name: str) -> str:
    return "".join(c for c in name[:64] if c.isprintable())


def _without_target_type(resource: Resource, name: str) -> str:
    """``patient:Patient.identifier`` means ``patient.identifier``; ``patient:Patient`` means ``patient``."""
    head, colon, tail = name.partition(":")
    if colon and tail[:1].isupper():
        kind, dot, rest = tail.partition(".")
        param = resource.by_name.get(head)
        if param is not None and param.targets and kind not in param.targets:
            raise InvalidSearch(f"{head} refers to {', '.join(param.targets)}", element=_shown(name))
        return f"{head}.{rest}" if dot else head
    return name


def _include(
    resource: Resource,
    name: str,
    value: str,
    strict: bool,
    includes: list[str],
    applied: list[tuple[str, str]],
    ignored: list[str],
) -> None:
    if name == "_include" and value in resource.includes:
        includes.append(value)
        applied.append((name, value))
    elif strict:
        raise InvalidSearch("this include is not offered", element=name)
    else:
        ignored.append(f"{name}={_shown(value)}")


def _criterion(param: Param, modifier: str, value: str, name: str, base: str) -> Criterion:
    if modifier and not param.allows(modifier):
        raise InvalidSearch(f"the modifier :{_shown(modifier)} is not offered on {param.name}", element=_shown(name))
    if modifier == "missing":
        flag = _one_of(param.name, value, ("true", "false")) == "true"
        return Criterion(param=param, modifier=modifier, values=(flag,), raw=value)
    parts = fhir.split_escaped(value, ",")
    if len(parts) > MAX_VALUES:
        raise InvalidSearch(f"more than {MAX_VALUES} alternatives", element=_shown(name))
    try:
        values = tuple(_value(param, modifier, part, base) for part in parts if part != "")
    except ValueError as error:
        raise InvalidSearch(
            f"{param.name} has a value that is not a {param.type.value}: {error}", element=_shown(name)
        ) from error
    if not values:
        raise InvalidSearch(f"{param.name} has no value", element=_shown(name))
    return Criterion(param=param, modifier=modifier, values=values, raw=value)


def _value(param: Param, modifier: str, text: str, base: str) -> Value:
    if param.type is ParamType.TOKEN or modifier == "identifier":
        return fhir.token(text)
    if param.type is ParamType.DATE:
        prefix = text[:2] if text[:2] in fhir.PREFIXES else "eq"
        # A "+" of a zone arrives as a blank where the client did not encode it.
        bare = text[2:] if text[:2] in fhir.PREFIXES else text
        return DateValue(prefix=prefix, interval=fhir.interval(bare.replace(" ", "+")))
    if param.type is ParamType.REFERENCE:
        return reference(fhir.unescape(text), base, param.targets)
    return fhir.unescape(text)


def reference(text: str, base: str, targets: tuple[str, ...] = ()) -> ReferenceValue:
    """``id``, ``Type/id`` or an absolute URL; one of another server keeps its `url`.

    Raises:
        ValueError: none of these, or a type the parameter does not reach.
    """
    if text.startswith(base + "/"):
        text = text[len(base) + 1 :]
    elif "://" in text or text.startswith("urn:"):
        return ReferenceValue(type="", id="", url=text)
    kind, slash, logical = text.rpartition("/")
    if slash and targets and kind not in targets:
        raise ValueError(f"it refers to {', '.join(targets)}")
    if not slash and len(targets) == 1:
        kind = targets[0]
    if not fhir.ID.match(logical) or (kind and not kind.isalpha()):
        raise ValueError("not a reference")
    return ReferenceValue(type=kind, id=logical)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise InvalidSearch(f"{name} is one of {', '.join(allowed)}", element=name)
    return value


def _count(text: str | None) -> int:
    if text is None:
        return DEFAULT_COUNT
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidSearch("_count is a whole number from 0", element="_count")
    return min(int(text), MAX_COUNT)


def _sort(resource: Resource, text: str | None) -> tuple[Sort, ...]:
    keys: list[Sort] = []
    for part in (text or "").split(","):
        name = part.strip().removeprefix("-")
        if not name:
            continue
        if name not in resource.sorts:
            raise InvalidSearch(f"_sort is offered on {', '.join(resource.sorts)}", element="_sort")
        keys.append(Sort(name=name, descending=part.strip().startswith("-")))
    return tuple(keys)


# --- matching in memory -----------------------------------------------------------------------------------------------


def date_matches(value: DateValue, start: fhir.Interval | None, stop: fhir.Interval | None = None) -> bool:
    """Whether a stored stretch of time satisfies the searched one; an open end reaches for ever.

    `start` alone is a point or partial date; with `stop` (or one of both None in a period) a period.
    """
    if start is None and stop is None:
        return False
    low = start.start if start is not None else None
    high = (stop or start).end if stop is not None or start is not None else None  # type: ignore[union-attr]
    return _compare(value, low, high)


def _compare(value: DateValue, low: object, high: object) -> bool:
    from datetime import datetime, timedelta

    asked = value.interval
    first = low if isinstance(low, datetime) else None
    last = high if isinstance(high, datetime) else None
    starts_before_end = first is None or first < asked.end
    ends_after_start = last is None or last > asked.start
    within = first is not None and last is not None and asked.start <= first and last <= asked.end
    overlaps = starts_before_end and ends_after_start
    match value.prefix:
        case "eq":
            return within
        case "ne":
            return not within
        case "gt":
            return last is None or last > asked.end
        case "lt":
            return first is None or first < asked.start
        case "ge":
            return within or last is None or last > asked.end
        case "le":
            return within or first is None or first < asked.start
        case "sa":
            return first is not None and first >= asked.end
        case "eb":
            return last is not None and last <= asked.start
        case _:
            slack = max((asked.end - asked.start), timedelta(days=1))
            near_start, near_end = fhir.shifted(asked.start, -slack), fhir.shifted(asked.end, slack)
            return ((first is None or first < near_end) and (last is None or last > near_start)) or overlaps


def folded(text: str) -> str:
    """Text for comparing without case and accents."""
    import unicodedata

    decomposed = unicodedata.normalize("NFD", text)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).casefold()


def string_matches(criterion: Criterion, stored: Iterable[str]) -> bool:
    """Whether any stored text satisfies any alternative: starts-with, `:exact`, `:contains`, `:missing`."""
    texts = [text for text in stored if text]
    if criterion.modifier == "missing":
        return (not texts) is bool(criterion.values[0])
    for value in criterion.values:
        asked = str(value)
        for text in texts:
            if criterion.modifier == "exact":
                if text == asked:
                    return True
            elif criterion.modifier == "contains":
                if folded(asked) in folded(text):
                    return True
            elif folded(text).startswith(folded(asked)):
                return True
    return False


def token_matches(criterion: Criterion, stored: Iterable[tuple[str, str]]) -> bool:
    """Whether any stored (system, code) satisfies any alternative; `:not` and `:missing` are understood."""
    codes = list(stored)
    if criterion.modifier == "missing":
        return (not codes) is bool(criterion.values[0])
    hit = any(_token_hit(value, codes) for value in criterion.values if isinstance(value, fhir.Token))
    return hit is not (criterion.modifier == "not")


def _token_hit(value: fhir.Token, codes: list[tuple[str, str]]) -> bool:
    for system, code in codes:
        if value.system is None:
            if code == value.code:
                return True
        elif system == value.system and (value.code == "" or code == value.code):
            return True
    return False


def criteria_by_name(query: Query) -> Mapping[str, list[Criterion]]:
    """Criteria grouped by parameter."""
    grouped: dict[str, list[Criterion]] = {}
    for criterion in query.criteria:
        grouped.setdefault(criterion.name, []).append(criterion)
    return grouped
