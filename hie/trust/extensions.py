"""Who acts and why, as a client states it in its assertion: `hl7-b2b` with `hie`, or `ihe_iua`.

Pure: claims in, a value out. Codes come bare or as ``system#code`` (b2b) or as Codings (iua).

Source: design.md "Token request"; spec/fhir.md 7 (UDAP B2B, IUA [71]); spec/consent.md 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hie.trust.errors import TokenRefused

PURPOSE_SYSTEMS = frozenset(
    {
        "",
        "http://terminology.hl7.org/CodeSystem/v3-ActReason",
        "http://hl7.org/fhir/v3/ActReason",
        "urn:oid:2.16.840.1.113883.5.8",
        "2.16.840.1.113883.5.8",
    }
)
RELATIONSHIPS = frozenset({"encounter", "referral", "care-team", "self-referral"})
_B2B = frozenset(
    {
        "version",
        "subject_id",
        "subject_name",
        "subject_role",
        "organization_id",
        "organization_name",
        "purpose_of_use",
        "consent_policy",
        "consent_reference",
    }
)
_IUA = frozenset(
    {
        "subject_name",
        "subject_organization",
        "subject_organization_id",
        "subject_role",
        "purpose_of_use",
        "home_community_id",
        "national_provider_identifier",
        "person_id",
    }
)
_HIE = frozenset({"relationship", "care_teams", "on_behalf_of"})
MAX_TEXT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the client says of the person and the organization that act; None or "" where it says nothing."""

    given: bool = False
    user_id: str = ""
    user_name: str = ""
    role: str | None = None
    organization_id: str = ""
    organization_name: str = ""
    purpose: str | None = None
    relationship: str | None = None
    care_teams: tuple[str, ...] = ()
    on_behalf_of: str | None = None


def read(claims: Mapping[str, Any]) -> Stated:
    """The statement of an assertion's ``extensions``; nothing stated is `Stated()`.

    Raises:
        TokenRefused: invalid_request, naming the member.
    """
    extensions = claims.get("extensions")
    if extensions is None:
        return Stated()
    whole = _object(extensions, "extensions")
    if "hl7-b2b" in whole and "ihe_iua" in whole:
        raise _refuse("extensions", "give hl7-b2b or ihe_iua, not both")
    if "hl7-b2b" in whole:
        stated = _b2b(_object(whole["hl7-b2b"], "hl7-b2b"))
    elif "ihe_iua" in whole:
        stated = _iua(_object(whole["ihe_iua"], "ihe_iua"))
    else:
        stated = Stated()
    return _hie(_object(whole["hie"], "hie"), stated) if "hie" in whole else stated


def _b2b(given: Mapping[str, Any]) -> Stated:
    _known(given, _B2B, "hl7-b2b")
    if given.get("version", "1") != "1":
        raise _refuse("hl7-b2b.version", 'must be "1"')
    purposes = given.get("purpose_of_use")
    if not isinstance(purposes, list) or len(purposes) != 1:
        raise _refuse("hl7-b2b.purpose_of_use", "must be a list of exactly one purpose")
    role = _text(given, "subject_role", "hl7-b2b")
    return Stated(
        given=True,
        user_id=_text(given, "subject_id", "hl7-b2b"),
        user_name=_text(given, "subject_name", "hl7-b2b"),
        role=role.rpartition("#")[2] or None,
        organization_id=_text(given, "organization_id", "hl7-b2b"),
        organization_name=_text(given, "organization_name", "hl7-b2b"),
        purpose=purpose_code(purposes[0], "hl7-b2b.purpose_of_use"),
    )


def _iua(given: Mapping[str, Any]) -> Stated:
    _known(given, _IUA, "ihe_iua")
    purpose = None
    if "purpose_of_use" in given:
        codings = given["purpose_of_use"]
        if not isinstance(codings, list) or len(codings) != 1:
            raise _refuse("ihe_iua.purpose_of_use", "must be a list of exactly one purpose")
        purpose = purpose_code(codings[0], "ihe_iua.purpose_of_use")
    role = None
    if "subject_role" in given:
        codings = given["subject_role"]
        if not isinstance(codings, list) or len(codings) != 1:
            raise _refuse("ihe_iua.subject_role", "must be a list of exactly one role")
        role = read_code(codings[0], "ihe_iua.subject_role")[1]
    return Stated(
        given=True,
        user_id=_text(given, "person_id", "ihe_iua") or _text(given, "national_provider_identifier", "ihe_iua"),
        user_name=_text(given, "subject_name", "ihe_iua"),
        role=role,
        organization_id=_text(given, "subject_organization_id", "ihe_iua"),
        organization_name=_text(given, "subject_organization", "ihe_iua"),
        purpose=purpose,
    )


def _hie(given: Mapping[str, Any], stated: Stated) -> Stated:
    _known(given, _HIE, "hie")
    relationship = _text(given, "relationship", "hie") or None
    if relationship is not None and relationship not in RELATIONSHIPS:
        raise _refuse("hie.relationship", f"must be one of: {' '.join(sorted(RELATIONSHIPS))}")
    teams = given.get("care_teams", [])
    if not isinstance(teams, list) or len(teams) > 100:
        raise _refuse("hie.care_teams", "must be a list of at most 100")
    if any(not isinstance(team, str) or not team or len(team) > MAX_TEXT for team in teams):
        raise _refuse("hie.care_teams", "must hold texts")
    return replace(
        stated,
        relationship=relationship,
        care_teams=tuple(teams),
        on_behalf_of=_text(given, "on_behalf_of", "hie") or None,
    )


def purpose_code(value: Any, element: str) -> str:
    """The purpose that a bare code, ``system#code`` or a Coding states.

    Raises:
        TokenRefused: invalid_request; no code, or of another system than purposes are taken from.
    """
    system, code = read_code(value, element)
    if system not in PURPOSE_SYSTEMS:
        raise _refuse(element, "is of an unknown code system")
    return code


def read_code(value: Any, element: str) -> tuple[str, str]:
    """``(system, code)`` of a bare code, ``system#code`` or a Coding.

    Raises:
        TokenRefused: invalid_request; it is none.
    """
    if isinstance(value, Mapping):
        system, code = value.get("system", ""), value.get("code", "")
    elif isinstance(value, str):
        system, _, code = value.rpartition("#")
    else:
        system = code = None
    if not isinstance(system, str) or not isinstance(code, str) or not code or len(system + code) > MAX_TEXT:
        raise _refuse(element, "must be a code")
    return system, code


def _text(given: Mapping[str, Any], member: str, where: str) -> str:
    value = given.get(member)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > MAX_TEXT or "\x00" in value:
        raise _refuse(f"{where}.{member}", f"must be a text of at most {MAX_TEXT} characters")
    return value.strip()


def _object(value: Any, element: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _refuse(element, "must be an object")
    return value


def _known(given: Mapping[str, Any], members: frozenset[str], where: str) -> None:
    for member in given:
        if member not in members:
            raise _refuse(f"{where}.{member}"[:200], "unknown member")


def _refuse(element: str, why: str) -> TokenRefused:
    refused = TokenRefused("invalid_request", f"{element}: {why}")
    refused.element = element
    return refused
