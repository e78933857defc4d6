"""The participants file read strictly: every fault named by its path, nothing guessed.

Pure: a document in, participants in normal form and faults out. The normal form is the
file's own form with OIDs bare and optional members left out when they say nothing, so
two of them are the same registration when they are equal.

Source: design.md "participants"; release rules: spec/consent.md 6 (O1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from hie.directory import codes, keys, periods
from hie.directory.errors import Fault
from hie.directory.models import TRUST_LIMIT, EndpointKind, ParticipantType, Standing

Form = dict[str, Any]
_Check = Callable[[str, Any], Any]
_MISSING = object()
_DEEPEST = 32


class Reader:
    """Collects faults while a document is read; a faulty value reads as None."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def fault(self, path: str, message: str) -> None:
        self.faults.append(Fault(path=path, message=message))

    def members(
        self, path: str, value: Any, required: dict[str, _Check], optional: dict[str, _Check] | None = None
    ) -> Form:
        """An object of exactly these members, each through its check; null counts as absent where optional."""
        if not isinstance(value, dict):
            self.fault(path, "must be an object")
            return {}
        checks = required | (optional or {})
        where = f"{path}." if path else ""
        for member in value:
            if member not in checks:
                self.fault(f"{where}{member}", "unknown member")
        read: Form = {}
        for member, check in checks.items():
            given = value.get(member, _MISSING)
            if given is _MISSING or (given is None and member not in required):
                if member in required:
                    self.fault(f"{where}{member}", "is missing")
                continue
            before = len(self.faults)
            result = check(f"{where}{member}", given)
            if len(self.faults) == before:
                read[member] = result
        return read

    def items(self, path: str, value: Any, check: _Check) -> list[Any]:
        """A list, each item through the check."""
        if not isinstance(value, list):
            self.fault(path, "must be a list")
            return []
        return [check(f"{path}[{index}]", item) for index, item in enumerate(value)]

    def text(self, path: str, value: Any) -> str:
        if not isinstance(value, str) or not value.strip():
            self.fault(path, "must be a text that is not empty")
            return ""
        if "\x00" in value or len(value) > 10_000:
            self.fault(path, "holds a NUL character or is too long")
            return ""
        return value.strip()

    def flag(self, path: str, value: Any) -> bool:
        if not isinstance(value, bool):
            self.fault(path, "must be true or false")
        return value is True

    def code(self, allowed: Collection[str]) -> _Check:
        def check(path: str, value: Any) -> str:
            if not isinstance(value, str) or value not in allowed:
                self.fault(path, f"must be one of: {' '.join(sorted(allowed))}")
                return ""
            return value

        return check

    def listed(self, check: _Check) -> _Check:
        def read(path: str, value: Any) -> list[Any]:
            found = self.items(path, value, check)
            if len({str(item) for item in found}) != len(found):
                self.fault(path, "holds the same item twice")
            return found

        return read

    def oid(self, path: str, value: Any) -> str:
        text = value.removeprefix("urn:oid:") if isinstance(value, str) else ""
        if not codes.OID.match(text) or len(text) > 128:
            self.fault(path, "must be an OID")
            return ""
        return text

    def urn(self, path: str, value: Any) -> str:
        return f"urn:oid:{self.oid(path, value)}"

    def date(self, path: str, value: Any) -> str:
        try:
            periods.span(value if isinstance(value, str) else "", ZoneInfo("UTC"))
        except (ValueError, OverflowError):
            self.fault(path, "must be a FHIR date, or a dateTime with offset")
            return ""
        return str(value)

    def url(self, *schemes: str) -> _Check:
        def check(path: str, value: Any) -> str:
            text = self.text(path, value)
            try:
                parts = urlsplit(text)
                sound = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
            except ValueError:
                sound = False
            if text and (not sound or any(character.isspace() for character in text)):
                self.fault(path, f"must be a URL with host: {' or '.join(f'{scheme}://' for scheme in schemes)}")
            elif text and (urlsplit(text).username or urlsplit(text).fragment):
                self.fault(path, "must carry neither user nor fragment")
            return text

        return check


def read_documents(document: Any) -> tuple[list[Form], list[Fault]]:
    """The participants of a file in normal form, and all its faults; with faults the forms are of no use."""
    reader = Reader()
    forms: list[Form] = []

    def one(path: str, value: Any) -> Form:
        if wrong := _unstorable(value, path):
            reader.fault(
                wrong, "holds what cannot be stored: a NUL, half a character, no number, or it is nested too deeply"
            )
            return {}
        form = _participant(reader, path, value)
        forms.append(form)
        return form

    reader.members("", document, {"participants": lambda path, value: reader.items(path, value, one)})
    return forms, reader.faults


def storable(text: str) -> bool:
    """Whether a database can keep the text: no NUL and no half of a character."""
    return not _unstorable(text, "text")


def _unstorable(value: Any, path: str, depth: int = 0) -> str:
    """The path of the first thing that a database cannot keep; "" where there is none."""
    if depth > _DEEPEST:
        return path
    if isinstance(value, str):
        return path if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value) else ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else path
    if isinstance(value, dict):
        found = (
            _unstorable(name, path, depth) or _unstorable(item, f"{path}.{name}"[:500], depth + 1)
            for name, item in value.items()
        )
        return next((one for one in found if one), "")
    if isinstance(value, list):
        return next(
            (one for n, item in enumerate(value) if (one := _unstorable(item, f"{path}[{n}]"[:500], depth + 1))), ""
        )
    return ""


def read_release_policy(value: Any, path: str = "release_policy") -> tuple[list[Form], list[Fault]]:
    """The rules of a release policy in normal form, and all their faults."""
    reader = Reader()
    rules = reader.listed(lambda where, given: _release_rule(reader, where, given))(path, value)
    _once(reader, path, rules if not reader.faults else [], "id")
    return list(rules or []), reader.faults


def read_agreement(value: Any, path: str = "agreement") -> tuple[Form, list[Fault]]:
    """An agreement with its purposes in normal form, and all its faults."""
    reader = Reader()
    given = dict(value) if isinstance(value, dict) else value
    purposes: list[str] = []
    if isinstance(given, dict):
        purposes = reader.listed(reader.code(codes.PURPOSES))(f"{path}.purposes", given.pop("purposes", None))
    return {**_agreement(reader, path, given), "purposes": purposes}, reader.faults


def read_placement(value: Any, path: str = "placement") -> tuple[Form, list[Fault]]:
    """What an organization is part of and under whose law, in normal form, and all its faults."""
    reader = Reader()
    form = reader.members(
        path,
        value,
        {},
        {"part_of": lambda where, given: _participant_id(reader, where, given), "jurisdiction": reader.text},
    )
    return form, reader.faults


def _participant(reader: Reader, path: str, value: Any) -> Form:
    read_text, read_flag = reader.text, reader.flag
    purpose = reader.code(codes.PURPOSES)
    form = reader.members(
        path,
        value,
        {
            "id": lambda where, given: _participant_id(reader, where, given),
            "name": read_text,
            "type": reader.code(ParticipantType.values),
            "organization_oid": reader.oid,
            "scopes": reader.listed(lambda where, given: _scope(reader, where, given)),
            "purposes": reader.listed(purpose),
        },
        {
            "assigning_authority": reader.oid,
            "part_of": lambda where, given: _participant_id(reader, where, given),
            "jurisdiction": read_text,
            "status": reader.code(Standing.values),
            "client_id": read_text,
            "jwks": lambda where, given: _jwks(reader, where, given),
            "jwks_url": reader.url("https", "http"),
            "certificates": reader.listed(lambda where, given: _certificate(reader, where, given)),
            "default_role": reader.code(codes.ROLES),
            "default_purpose": lambda where, given: _default_purpose(reader, where, given),
            "agreement": lambda where, given: _agreement(reader, where, given),
            "part2_program": read_flag,
            "requires_relationship": read_flag,
            "source_trust": lambda where, given: _source_trust(reader, where, given),
            "home_community_id": reader.urn,
            "source_id": reader.oid,
            "hl7v2": lambda where, given: reader.members(
                where, given, {"application": read_text, "facility": read_text}
            ),
            "endpoints": reader.listed(lambda where, given: _endpoint(reader, where, given)),
            "users": reader.listed(lambda where, given: _user(reader, where, given)),
            "release_policy": reader.listed(lambda where, given: _release_rule(reader, where, given)),
        },
    )
    if "jwks" in form and "jwks_url" in form:
        reader.fault(f"{path}.jwks_url", "give keys by value or by URL, not both")
    for member, key in (("users", "id"), ("release_policy", "id"), ("endpoints", "url")):
        _once(reader, f"{path}.{member}", form.get(member, []), key)
    if "id" in form and form.get("part_of") == form["id"]:
        reader.fault(f"{path}.part_of", "an organization is not part of itself")
    return form


def _once(reader: Reader, path: str, items: list[Form], key: str) -> None:
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(items):
        name = (str(item.get("kind", "")), str(item.get(key, "")))
        if name[1] and name in seen:
            reader.fault(f"{path}[{index}].{key}", "stands twice")
        seen.add(name)


def _participant_id(reader: Reader, path: str, value: Any) -> str:
    if not isinstance(value, str) or not codes.PARTICIPANT_ID.match(value):
        reader.fault(path, "must be 1 to 64 letters, digits, dots and hyphens")
        return ""
    if value == "hub":
        reader.fault(path, "is the hub's own name")
    return value


def _scope(reader: Reader, path: str, value: Any) -> str:
    if not isinstance(value, str) or not codes.SCOPE.match(value):
        reader.fault(path, "must be one scope, without spaces and without a query part")
        return ""
    if value.startswith(codes.SMART_CONTEXTS) and not codes.SMART_SCOPE.match(value):
        reader.fault(path, "must read system/Type.cruds (letters in this order), .read, .write or .*")
    return value


def _default_purpose(reader: Reader, path: str, value: Any) -> str:
    if value == "BTG":
        reader.fault(path, "breaking the glass is never a default")
    return str(reader.code(codes.PURPOSES)(path, value))


def _source_trust(reader: Reader, path: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > TRUST_LIMIT:
        reader.fault(path, f"must be a whole number from -{TRUST_LIMIT} to {TRUST_LIMIT}")
        return 0
    return value


def _jwks(reader: Reader, path: str, value: Any) -> Form:
    def key(where: str, given: Any) -> Form:
        if not isinstance(given, dict):
            reader.fault(where, "must be a JWK")
            return {}
        try:
            keys.read_jwk(given)
            keys.validity(given)
        except keys.UnusableKey as refused:
            reader.fault(where, str(refused))
        return given

    read = reader.members(path, value, {"keys": lambda where, given: reader.items(where, given, key)})
    found = sorted(read.get("keys", []), key=lambda jwk: str(jwk.get("kid")))
    kids = [jwk.get("kid") for jwk in found]
    for kid in sorted({str(kid) for kid in kids if kids.count(kid) > 1}):
        reader.fault(f"{path}.keys", f"two keys share the kid {kid}")
    return {"keys": found}


def _certificate(reader: Reader, path: str, value: Any) -> str:
    try:
        return keys.read_certificate(reader.text(path, value)).pem
    except keys.UnusableKey as refused:
        reader.fault(path, str(refused))
        return ""


def _agreement(reader: Reader, path: str, value: Any) -> Form:
    def period(where: str, given: Any) -> Form:
        read = reader.members(where, given, {"start": reader.date}, {"end": reader.date})
        if "start" in read and "end" in read:
            zone = ZoneInfo("UTC")
            if periods.span(read["end"], zone)[1] <= periods.span(read["start"], zone)[0]:
                reader.fault(f"{where}.end", "lies before the start")
        return read

    read = reader.members(
        path,
        value,
        {"status": reader.code(Standing.values), "period": period},
        {
            "labels_documents": reader.flag,
            "decision_point": reader.flag,
            "obligations": reader.listed(reader.code(codes.OBLIGATIONS)),
        },
    )
    return {"labels_documents": False, "decision_point": False, "obligations": []} | read


def _endpoint(reader: Reader, path: str, value: Any) -> Form:
    def url(where: str, given: Any) -> str:
        kind = value.get("kind")
        schemes = ("mllp", "mllps") if kind == EndpointKind.MLLP else ("https", "http")
        return str(reader.url(*schemes)(where, given)).rstrip("/")

    return reader.members(
        path,
        value,
        {"kind": reader.code(EndpointKind.values), "url": url},
        {"repository_unique_id": reader.oid},
    )


def _user(reader: Reader, path: str, value: Any) -> Form:
    return reader.members(
        path,
        value,
        {"id": reader.text, "name": reader.text, "role": reader.code(codes.ROLES)},
        {"purposes": reader.listed(reader.code(codes.PURPOSES))},
    )


def _release_rule(reader: Reader, path: str, value: Any) -> Form:
    texts = reader.listed(reader.text)
    return reader.members(
        path,
        value,
        {"id": reader.text},
        {
            "absolute": reader.flag,
            "purposes": reader.listed(reader.code(codes.PURPOSES)),
            "recipientTypes": reader.listed(reader.code(ParticipantType.values)),
            "recipients": texts,
            "exceptRecipients": texts,
            "labels": reader.listed(reader.code(codes.LABELS)),
            "classes": texts,
            "codes": texts,
            "minConfidentiality": reader.code(codes.CONFIDENTIALITY),
        },
    )
