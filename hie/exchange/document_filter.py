"""What ITI-67 and ITI-66 parameters ask, as filters of the registry: one reading for every face and for queries to others.

A parameter is (name, modifier, text) as FHIR writes it: alternatives by comma, escapes with a backslash.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from documents.codec import identifier_keys
from documents.filters import (
    CodeAttribute,
    CodeCriterion,
    CodeToken,
    DateAttribute,
    DateCriterion,
    DateRange,
    EntryFilter,
    ListFilter,
    NameMatch,
    ReferenceToken,
)
from documents.metadata import Author, EntryMetadata, Status
from documents.queries import FolderRow, SubmissionSetRow, as_uuid
from hie.exchange.errors import BadRequest
from hie.standards import fhir, oids
from hie.standards.demographics import authority_of

_FAR = datetime(9999, 12, 31, tzinfo=UTC)
_STATUS_SYSTEMS = ("http://hl7.org/fhir/document-reference-status", "http://hl7.org/fhir/list-status")
_LIST_TYPES = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
_STATUS = {"current": Status.APPROVED, "superseded": Status.DEPRECATED, "retired": Status.DEPRECATED}

CODES: Mapping[str, CodeAttribute] = {
    "category": CodeAttribute.CLASS,
    "type": CodeAttribute.TYPE,
    "format": CodeAttribute.FORMAT,
    "facility": CodeAttribute.FACILITY,
    "setting": CodeAttribute.SETTING,
    "security-label": CodeAttribute.CONFIDENTIALITY,
    "event": CodeAttribute.EVENT,
}
DATES: Mapping[str, DateAttribute] = {
    "creation": DateAttribute.CREATION,
    "date": DateAttribute.DATE,
    "period": DateAttribute.PERIOD,
    "_lastUpdated": DateAttribute.LAST_UPDATED,
}
_NAMES = ("author.family", "author.given", "source.family", "source.given")

Parameter = tuple[str, str, str]
Row = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A filter the registry applies, and what is left to be looked at row by row.

    `nothing`: the parameters contradict themselves, no row can match.
    """

    entries: EntryFilter = field(default_factory=EntryFilter)
    lists: ListFilter = field(default_factory=ListFilter)
    also: tuple[Callable[[Row], bool], ...] = ()
    nothing: bool = False
    kinds: frozenset[str] = frozenset({"submissionset", "folder"})

    def admits(self, row: Row) -> bool:
        """Whether a row that passed the registry's filter passes the rest."""
        return all(test(row) for test in self.also)


def tokens(name: str, text: str) -> list[fhir.Token]:
    """The alternatives of a token parameter.

    Raises:
        BadRequest: a value that is none.
    """
    try:
        return [fhir.token(part) for part in fhir.split_escaped(text, ",") if part]
    except ValueError as error:
        raise BadRequest(f"{name} has a value that is not a token", element=name) from error


def strings(name: str, text: str) -> list[str]:
    """The alternatives of a string parameter."""
    try:
        return [fhir.unescape(part) for part in fhir.split_escaped(text, ",") if part]
    except ValueError as error:
        raise BadRequest(f"{name} has a value with a stray backslash", element=name) from error


def ranges(name: str, text: str) -> tuple[DateRange, ...]:
    """The alternatives of a date parameter; ``ap`` reaches a day further on both sides."""
    found = []
    for part in strings(name, text):
        prefix = part[:2] if part[:2] in fhir.PREFIXES else "eq"
        bare = part[2:] if part[:2] in fhir.PREFIXES else part
        try:
            stretch = fhir.interval(bare.replace(" ", "+"))
        except ValueError as error:
            raise BadRequest(f"{name} has a value that is not a date", element=name) from error
        found.append(DateRange(prefix=prefix, start=stretch.start, end=stretch.end))
    return tuple(found)


def unique_id_alternatives(token: fhir.Token) -> list[str]:
    """What a searched identifier may stand for: a unique id as stored, or an entry UUID."""
    value, system = token.code, token.system or ""
    if not value:
        return [f"{system}|"]  # any value of the system
    if token.system is None:
        found = [value, oids.bare(value)]
        if (key := as_uuid(value)) is not None:
            found.append(f"urn:uuid:{key}")
    else:
        found = [f"{system}|{value}"]
        if system == "urn:ietf:rfc:3986" and value.startswith("urn:"):
            found += [value, oids.bare(value)]
        elif system.startswith("urn:oid:"):
            found.append(f"{system[8:]}^{value}")
    return list(dict.fromkeys(found))


def entry_filter(parameters: Iterable[Parameter], *, snapshot: datetime | None = None) -> Asked:
    """The filter of an ITI-67 search; ``patient`` and its chains are the caller's to resolve.

    Raises:
        BadRequest: a value or modifier that cannot be processed; `element` names the parameter.
    """
    collected = _Collected()
    for name, modifier, text in parameters:
        if modifier == "missing":
            collected.also.append(_missing(name, text))
        elif name in CODES:
            _code(collected, name, modifier, text)
        elif name in DATES:
            collected.dates.append(DateCriterion(attribute=DATES[name], any_of=ranges(name, text)))
        elif name in _NAMES:
            collected.names.setdefault(name, []).append(_names(name, modifier, text))
        elif name == "status":
            collected.status(_status(name, modifier, text))
        elif name == "identifier":
            _identifier(collected, name, modifier, text)
        elif name == "_id" and modifier == "not":
            collected.also.append(_is_another(_ids(name, text)))
        elif name == "_id":
            collected.id(_ids(name, text))
        elif name == "related":
            _related(collected, name, modifier, text)
        elif name == "contenttype":
            wanted = frozenset(token.code.lower() for token in tokens(name, text))
            collected.also.append(_has_type(wanted, negate=modifier == "not"))
        else:
            raise BadRequest("unknown parameter", element=name)
    return Asked(
        entries=EntryFilter(
            ids=tuple(sorted(collected.ids or ())),
            statuses=tuple(sorted(collected.statuses or ())),
            codes=tuple(collected.codes),
            dates=tuple(collected.dates),
            author_family=tuple(collected.names.get("author.family", ())),
            author_given=tuple(collected.names.get("author.given", ())),
            identifiers=tuple(collected.identifiers),
            related=tuple(collected.related),
            registered_until=snapshot,
        ),
        also=tuple(collected.also),
        nothing=collected.nothing(),
    )


def list_filter(parameters: Iterable[Parameter], *, snapshot: datetime | None = None) -> Asked:
    """The filter of an ITI-66 search, for submission sets and folders.

    Parameters that make no sense for folders are ignored there (spec/fhir.md 3.3).
    """
    collected = _Collected()
    kinds = {"submissionset", "folder"}
    codes: list[tuple[CodeToken, ...]] = []
    source_ids: list[tuple[str, ...]] = []
    for name, modifier, text in parameters:
        if name == "code":
            wanted = {code for token in tokens(name, text) for code in _kinds(token)}
            if modifier == "missing":
                kinds = kinds if text == "false" else set()
            else:
                kinds = kinds - wanted if modifier == "not" else kinds & wanted
        elif modifier == "missing":
            collected.also.append(_missing(name, text))
        elif name == "designationType":
            found = tuple(_code_token(token) for token in tokens(name, text))
            if modifier == "not":
                collected.also.append(_not_designated(found))
            else:
                codes.append(found)
        elif name in ("date", "_lastUpdated"):
            collected.dates.append(DateCriterion(attribute=DATES[name], any_of=ranges(name, text)))
        elif name in _NAMES:
            collected.names.setdefault(name, []).append(_names(name, modifier, text))
        elif name == "status":
            collected.status(_status(name, modifier, text))
        elif name == "identifier":
            _identifier(collected, name, modifier, text)
        elif name == "_id" and modifier == "not":
            collected.also.append(_is_another(_ids(name, text)))
        elif name == "_id":
            collected.id(_ids(name, text))
        elif name == "sourceId":
            wanted_ids = tuple(oids.bare(token.code) for token in tokens(name, text))
            if modifier == "not":
                collected.also.append(_source_differs(wanted_ids))
            else:
                source_ids.append(wanted_ids)
        else:
            raise BadRequest("unknown parameter", element=name)
    for wanted_ids in source_ids[1:]:
        collected.also.append(_source_is(wanted_ids))
    return Asked(
        lists=ListFilter(
            ids=tuple(sorted(collected.ids or ())),
            statuses=tuple(sorted(collected.statuses or ())),
            codes=tuple(codes),
            dates=tuple(collected.dates),
            identifiers=tuple(collected.identifiers),
            source_ids=source_ids[0] if source_ids else (),
            source_family=tuple(collected.names.get("source.family", ())),
            source_given=tuple(collected.names.get("source.given", ())),
            registered_until=snapshot,
        ),
        also=tuple(collected.also),
        nothing=collected.nothing() or not kinds,
        kinds=frozenset(kinds),
    )


def from_values(values: Mapping[str, Any]) -> Asked:
    """The filter of `POST /api/queries`: parameter name to a list of ITI-67 values, each list one OR.

    Raises:
        BadRequest: an unknown name or unusable value.
    """
    parameters: list[Parameter] = []
    for name, given in values.items():
        listed: Sequence[Any] = [given] if isinstance(given, str) else given
        texts = [str(item) for item in listed if str(item)]
        if not texts:
            continue
        if name in DATES:
            parameters.extend((name, "", text) for text in texts)  # ge and lt together make a range
        else:
            parameters.append((name, "", ",".join(texts)))
    return entry_filter(parameters)


# --- pieces -----------------------------------------------------------------------------------------------------------


class _Collected:
    """Criteria as they are read."""

    def __init__(self) -> None:
        self.ids: set[UUID] | None = None
        self.statuses: set[Status] | None = None
        self.codes: list[CodeCriterion] = []
        self.dates: list[DateCriterion] = []
        self.names: dict[str, list[tuple[NameMatch, ...]]] = {}
        self.identifiers: list[tuple[str, ...]] = []
        self.related: list[tuple[ReferenceToken, ...]] = []
        self.also: list[Callable[[Row], bool]] = []

    def status(self, wanted: set[Status]) -> None:
        self.statuses = wanted if self.statuses is None else self.statuses & wanted

    def id(self, wanted: set[UUID]) -> None:
        self.ids = wanted if self.ids is None else self.ids & wanted

    def nothing(self) -> bool:
        return self.statuses == set() or self.ids == set() or () in self.identifiers


def _code_token(token: fhir.Token) -> CodeToken:
    scheme = None if token.system is None else oids.scheme_uri(token.system) if token.system else ""
    return CodeToken(code=token.code or None, scheme=scheme)


def _code(collected: _Collected, name: str, modifier: str, text: str) -> None:
    if modifier not in ("", "not"):
        raise BadRequest(f"the modifier :{modifier} is not offered on {name}", element=name)
    found = tuple(_code_token(token) for token in tokens(name, text))
    collected.codes.append(CodeCriterion(attribute=CODES[name], any_of=found, negate=modifier == "not"))


def _names(name: str, modifier: str, text: str) -> tuple[NameMatch, ...]:
    if modifier not in ("", "exact", "contains"):
        raise BadRequest(f"the modifier :{modifier} is not offered on {name}", element=name)
    return tuple(NameMatch(text=item, mode=modifier or "starts") for item in strings(name, text))


def _status(name: str, modifier: str, text: str) -> set[Status]:
    """Tokens that no registered object can have (``entered-in-error``) find nothing."""
    wanted = {
        _STATUS[token.code]
        for token in tokens(name, text)
        if token.code in _STATUS and token.system in (None, "", *_STATUS_SYSTEMS)
    }
    return set(Status) - wanted if modifier == "not" else wanted


def _kinds(token: fhir.Token) -> tuple[str, ...]:
    """The kinds of list a token of ``code`` names; without a code, all of its system."""
    if token.system not in (None, _LIST_TYPES):
        return ()
    return (token.code,) if token.code else ("submissionset", "folder")


def _is_another(unwanted: set[UUID]) -> Callable[[Row], bool]:
    return lambda row: as_uuid(row.metadata.entry_uuid) not in unwanted


def _ids(name: str, text: str) -> set[UUID]:
    return {key for item in strings(name, text) if (key := as_uuid(item)) is not None}


def _identifier(collected: _Collected, name: str, modifier: str, text: str) -> None:
    found = tuple(dict.fromkeys(value for token in tokens(name, text) for value in unique_id_alternatives(token)))
    if modifier == "not":
        unwanted = frozenset(found)
        collected.also.append(
            lambda row: (
                row.metadata.entry_uuid not in unwanted
                and unwanted.isdisjoint(identifier_keys(row.metadata.unique_id, row.metadata.extra))
            )
        )
    else:
        collected.identifiers.append(found)


def _related(collected: _Collected, name: str, modifier: str, text: str) -> None:
    if modifier == "identifier":
        collected.related.append(
            tuple(
                ReferenceToken(value=token.code, authority=None if token.system is None else authority_of(token.system))
                for token in tokens(name, text)
            )
        )
        return
    wanted = frozenset(strings(name, text))
    collected.also.append(lambda row: bool(wanted & _related_references(row.metadata)))


def _related_references(entry: EntryMetadata) -> frozenset[str]:
    """Literal references of ``context.related`` and ``context.encounter``, which have no attribute of their own."""
    kept = entry.extra.get("fhir", {}).get("context.related", {}).get("is", {})
    kept = json.loads(kept) if isinstance(kept, str) else kept
    held = [*kept.get("context.related", ()), *kept.get("context.encounter", ())]
    return frozenset(str(item.get("reference")) for item in held if item.get("reference"))


def _has_type(wanted: frozenset[str], *, negate: bool) -> Callable[[Row], bool]:
    return lambda row: (row.metadata.mime_type.split(";")[0].strip().lower() in wanted) is not negate


def _not_designated(unwanted: Sequence[CodeToken]) -> Callable[[Row], bool]:
    return lambda row: not any(_has(unwanted, code) for code in _designations(row))


def _source_differs(unwanted: Sequence[str]) -> Callable[[Row], bool]:
    return lambda row: getattr(row.metadata, "source_id", "") not in unwanted


def _source_is(wanted: Sequence[str]) -> Callable[[Row], bool]:
    """A folder has no source id, and the parameter is ignored for it."""
    return lambda row: getattr(row.metadata, "source_id", None) in (None, *wanted)


def _has(tokens_: Sequence[CodeToken], code: Any) -> bool:
    return any(t.code in (None, code.code) and t.scheme in (None, code.scheme) for t in tokens_)


def _designations(row: SubmissionSetRow | FolderRow) -> list[Any]:
    if isinstance(row, SubmissionSetRow):
        return [row.metadata.content_type_code] if row.metadata.content_type_code else []
    return list(row.metadata.codes)


_ATTRIBUTE: Mapping[str, Callable[[Any], Any]] = {
    "category": lambda m: m.class_code,
    "type": lambda m: m.type_code,
    "format": lambda m: m.format_code,
    "facility": lambda m: m.healthcare_facility_type_code,
    "setting": lambda m: m.practice_setting_code,
    "security-label": lambda m: m.confidentiality_codes,
    "event": lambda m: m.event_codes,
    "creation": lambda m: m.creation_time,
    "period": lambda m: m.service_start_time or m.service_stop_time,
    "related": lambda m: m.reference_ids or _related_references(m),
    "author.family": lambda m: [a for a in _people(m) if a.person and a.person.family],
    "author.given": lambda m: [a for a in _people(m) if a.person and a.person.given],
    "source.family": lambda m: [a for a in _people(m) if a.person and a.person.family],
    "source.given": lambda m: [a for a in _people(m) if a.person and a.person.given],
    "designationType": lambda m: getattr(m, "content_type_code", None) or getattr(m, "codes", None),
    "sourceId": lambda m: getattr(m, "source_id", None),
}


def _people(metadata: Any) -> Sequence[Author]:
    found: Sequence[Author] = getattr(metadata, "authors", ())
    return found


def _missing(name: str, text: str) -> Callable[[Row], bool]:
    """What every row has (status, date, identifier, _id …) is never missing."""
    if text not in ("true", "false"):
        raise BadRequest(f"{name}:missing is true or false", element=name)
    wanted = text == "true"
    attribute: Callable[[Any], Any] = _ATTRIBUTE.get(name, bool)
    return lambda row: (not attribute(row.metadata)) is wanted
