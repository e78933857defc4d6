"""Metadata values to and from JSON, and the folding of names for search.

`decode_*(encode(value))` gives the value back; attributes at their default are left out, so that
stored rows stay small and a later attribute needs no migration of old ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import Enum
from functools import cache
from typing import Any

from documents.metadata import (
    CX,
    XCN,
    XON,
    AssociationMetadata,
    Author,
    CodedValue,
    EntryMetadata,
    FolderMetadata,
    ReferenceId,
    Status,
    SubmissionSetMetadata,
)

Metadata = EntryMetadata | SubmissionSetMetadata | FolderMetadata | AssociationMetadata


@cache
def _defaults(kind: type) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (
            f.name,
            f.default if f.default is not MISSING else (() if f.default_factory is MISSING else f.default_factory()),
        )
        for f in fields(kind)
    )


def encode(value: Any) -> Any:
    """A metadata value as plain JSON types, attributes at their default left out."""
    if value is None or type(value) in (str, int, bool, float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    encoded: dict[str, Any] = {}
    kind: type = type(value)
    for name, default in _defaults(kind):
        member = getattr(value, name)
        if member is not None and member != default:
            encoded[name] = encode(member)
    return encoded


def _coded(data: Mapping[str, Any] | None) -> CodedValue | None:
    return None if data is None else CodedValue(**data)


def _coded_list(data: Mapping[str, Any], name: str) -> tuple[CodedValue, ...]:
    return tuple(CodedValue(**item) for item in data.get(name, ()))


def _cx(data: Mapping[str, Any] | None) -> CX | None:
    return None if data is None else CX(**data)


def _xcn(data: Mapping[str, Any] | None) -> XCN | None:
    return None if data is None else XCN(**data)


def _author(data: Mapping[str, Any]) -> Author:
    return Author(
        person=_xcn(data.get("person")),
        institutions=tuple(XON(**item) for item in data.get("institutions", ())),
        roles=tuple(data.get("roles", ())),
        specialties=tuple(data.get("specialties", ())),
        telecommunications=tuple(data.get("telecommunications", ())),
    )


_ENTRY_CODES = ("class_code", "type_code", "format_code", "healthcare_facility_type_code", "practice_setting_code")


def decode_entry(data: Mapping[str, Any]) -> EntryMetadata:
    """An `EntryMetadata` from what `encode` made of it."""
    members: dict[str, Any] = dict(data)
    members["patient_id"] = _cx(data.get("patient_id"))
    members["source_patient_id"] = _cx(data.get("source_patient_id"))
    members["legal_authenticator"] = _xcn(data.get("legal_authenticator"))
    members["authors"] = tuple(_author(item) for item in data.get("authors", ()))
    for name in _ENTRY_CODES:
        members[name] = _coded(data.get(name))
    members["confidentiality_codes"] = _coded_list(data, "confidentiality_codes")
    members["event_codes"] = _coded_list(data, "event_codes")
    members["reference_ids"] = tuple(ReferenceId(**item) for item in data.get("reference_ids", ()))
    members["source_patient_info"] = tuple(data.get("source_patient_info", ()))
    members["availability_status"] = Status(data.get("availability_status", Status.APPROVED))
    return EntryMetadata(**members)


def decode_submission_set(data: Mapping[str, Any]) -> SubmissionSetMetadata:
    """A `SubmissionSetMetadata` from what `encode` made of it."""
    members: dict[str, Any] = dict(data)
    members["patient_id"] = _cx(data.get("patient_id"))
    members["authors"] = tuple(_author(item) for item in data.get("authors", ()))
    members["content_type_code"] = _coded(data.get("content_type_code"))
    members["intended_recipients"] = tuple(data.get("intended_recipients", ()))
    return SubmissionSetMetadata(**members)


def decode_folder(data: Mapping[str, Any]) -> FolderMetadata:
    """A `FolderMetadata` from what `encode` made of it."""
    members: dict[str, Any] = dict(data)
    members["patient_id"] = _cx(data.get("patient_id"))
    members["codes"] = _coded_list(data, "codes")
    return FolderMetadata(**members)


_RFC3986 = "urn:ietf:rfc:3986"


def identifier_keys(unique_id: str, extra: Mapping[str, Any]) -> list[str]:
    """The texts by which a search may name an object by identifier: value, ``system|value``, ``system|``.

    Besides its uniqueId these are the further identifiers it was sent with: ``extra["identifiers"]``, pairs of
    system ("" for none) and value.
    """
    system, bar, value = unique_id.partition("|")
    root, caret, extension = unique_id.partition("^")
    if bar:
        pairs = [(system, value)]
    elif caret:
        pairs = [(f"urn:oid:{root}", extension)]
    else:
        oid = unique_id[:1].isdigit() and "." in unique_id
        pairs = [(_RFC3986, f"urn:oid:{unique_id}" if oid else unique_id)]
    pairs += [(str(system), str(value)) for system, value in extra.get("identifiers", ())]
    keys = [unique_id]
    for system, value in pairs:
        keys += [value, f"{system}|{value}"] + ([f"{system}|"] if system else [])
    return list(dict.fromkeys(key for key in keys if key))


def folded(text: str) -> str:
    """A name as search compares it: no accents, no case, single blanks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(plain.casefold().split())
