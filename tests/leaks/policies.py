"""Documents, requesters and policies at random, and who may see what of them, by the slow evaluator.

The policies are directives (nested, by recipient, role, type of organization, custodian, purpose, class, code, label,
period, action, one document), release rules of the hospital and prohibitions of the place. What is hidden is said by
`tests/consent/slow_evaluator.py`, which imports nothing of the engine.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from hie.standards.facts import Caller
from tests.consent import slow_evaluator
from tests.consent.fixture import CODES, LAW, actor, coding, labels, node, purposes
from tests.exchange import world

LOINC = "http://loinc.org"
CLASS = "urn:oid:1.3.6.1.4.1.19376.1.2.6.1"
TYPES = ("34133-9", "11488-4", "57133-1")
CATEGORIES = ("REPORTS", "IMAGES")
YEARS = (2020, 2021, 2022)
RELATIONS = ("", "", "", "replaces", "appends", "transforms")
BIRTH = "1971-04-09"


@dataclass(frozen=True)
class Document:
    """A document of a case. `relation` is to the one before it."""

    type: str = TYPES[0]
    category: str = CATEGORIES[0]
    letter: str = "N"
    label: str = ""
    year: int = 2021
    relation: str = ""


@dataclass(frozen=True)
class Policy:
    """What decides: the provisions of the patient's directives, rules of the hospital, prohibitions of the place."""

    provisions: tuple[dict[str, Any], ...] = ()
    release: tuple[dict[str, Any], ...] = ()
    prohibitions: tuple[dict[str, Any], ...] = ()


REQUESTERS: dict[str, dict[str, Any]] = {
    "clinician": {},
    "own clinician": {
        "participant_id": "org-hospital",
        "organization_id": "org-hospital",
        "client_id": "org-hospital",
        "user_id": "Practitioner/north",
        "user_name": "Bo North",
        "organization_name": "The Hospital",
        "organization_oid": "2.999.10.2",
    },
    "payer": {
        "participant_id": "org-payer",
        "organization_id": "org-payer",
        "client_id": "org-payer",
        "user_id": "Practitioner/clerk",
        "user_name": "Cy Clerk",
        "role": "billing",
        "purpose": "HPAYMT",
        "organization_name": "The Payer",
        "organization_oid": "2.999.10.3",
    },
    "researcher": {
        "participant_id": "org-study",
        "organization_id": "org-study",
        "client_id": "org-study",
        "user_id": "Practitioner/lens",
        "user_name": "Di Lens",
        "role": "researcher",
        "purpose": "HRESCH",
        "organization_name": "The Study",
        "organization_oid": "2.999.10.4",
    },
    "patient": {
        "participant_id": "org-portal",
        "organization_id": "org-portal",
        "client_id": "org-portal",
        "role": "patient",
        "purpose": "PATRQT",
        "organization_name": "The Portal",
        "organization_oid": "2.999.10.9",
    },
    "proxy": {
        "participant_id": "org-portal",
        "organization_id": "org-portal",
        "client_id": "org-portal",
        "user_id": "RelatedPerson/sam",
        "user_name": "Sam Delgado",
        "role": "proxy",
        "purpose": "FAMRQT",
        "organization_name": "The Portal",
        "organization_oid": "2.999.10.9",
    },
}


def requester(name: str, person: str) -> Caller:
    """One of those who ask, about this person."""
    changes = dict(REQUESTERS[name])
    if name == "patient":
        changes["user_id"] = f"Patient/{person}"
    if name == "proxy":
        changes["on_behalf_of"] = f"Patient/{person}"
    return world.caller(**changes)


# --- drawn ------------------------------------------------------------------------------------------------------------

documents = st.lists(
    st.builds(
        Document,
        type=st.sampled_from(TYPES),
        category=st.sampled_from(CATEGORIES),
        letter=st.sampled_from(("N", "N", "R", "V")),
        label=st.sampled_from(("", "", "HIV", "PSY", "NOPAT")),
        year=st.sampled_from(YEARS),
        relation=st.sampled_from(RELATIONS),
    ),
    min_size=2,
    max_size=4,
)


def _to(**reference: Any) -> dict[str, Any]:
    return {"actor": [actor("IRCP", **reference)]}


_who = st.one_of(
    st.sampled_from(("org-clinic", "org-hospital", "org-payer", "org-study")).map(
        lambda one: _to(reference=f"Organization/{one}")
    ),
    st.sampled_from(("Practitioner/ada", "Practitioner/north", "RelatedPerson/sam")).map(
        lambda one: _to(reference=one)
    ),
    st.sampled_from((("role", "physician"), ("role", "researcher"), ("org-type", "payer"))).map(
        lambda one: _to(identifier={"system": f"urn:hie:{one[0]}", "value": one[1]})
    ),
    st.just({"actor": [actor("CST", reference="Organization/org-hospital")]}),
)
_why = st.one_of(
    st.sampled_from(("TREAT", "HPAYMT", "HRESCH", "PATRQT", "FAMRQT")).map(lambda one: {"purpose": purposes(one)}),
    st.sampled_from(("access", "disclose", "collect")).map(
        lambda one: {"action": [{"coding": [coding("consentaction", one)]}]}
    ),
    st.sampled_from(({"end": "2021"}, {"start": "2021"})).map(lambda one: {"period": one}),
)
_what = st.one_of(
    st.sampled_from(TYPES).map(lambda one: {"code": [{"coding": [{"system": LOINC, "code": one}]}]}),
    st.sampled_from(CATEGORIES).map(lambda one: {"class": [{"system": CLASS, "code": one}]}),
    st.sampled_from(("N", "R", "V", "HIV", "PSY", "MH")).map(lambda one: {"securityLabel": labels(one)}),
    st.sampled_from(YEARS).map(lambda one: {"dataPeriod": {"start": str(one), "end": str(one)}}),
    st.integers(0, 3).map(
        lambda n: {"data": [{"meaning": "instance", "reference": {"reference": f"DocumentReference/d{n}"}}]}
    ),
)


@st.composite
def _criteria(draw: Any) -> dict[str, Any]:
    """At least one criterion, of different kinds."""
    kinds = draw(st.lists(st.sampled_from((_who, _why, _what, _what)), min_size=1, max_size=2, unique_by=id))
    return {key: value for kind in kinds for key, value in draw(kind).items()}


@st.composite
def _provisions(draw: Any) -> dict[str, Any]:
    def nested(depth: int) -> dict[str, Any]:
        below = [nested(depth - 1) for _ in range(draw(st.integers(0, 1)))] if depth else []
        return node(draw(st.sampled_from(("deny", "deny", "permit"))), *below, **draw(_criteria()))

    root = draw(st.sampled_from(("permit", "permit", "permit", "deny")))
    return node(root, *(nested(1) for _ in range(draw(st.integers(1, 2)))))


_rules = st.sampled_from(
    (
        {"id": "RR-1", "labels": ["HIV"], "recipientTypes": ["payer", "research"], "absolute": False},
        {"id": "RR-2", "codes": [f"{LOINC}|11488-4"], "recipients": ["org-clinic"], "absolute": True},
        {"id": "RR-3", "minConfidentiality": "R", "exceptRecipients": ["org-clinic"], "absolute": False},
        {"id": "RR-4", "classes": [f"{CLASS}|IMAGES"], "purposes": ["HRESCH"], "absolute": True},
    )
)
_prohibitions = st.sampled_from(
    (
        {"id": "LAW-1", "labels": ["MH"], "purposes": ["HPAYMT"], "emergencyOverride": False},
        {"id": "LAW-2", "codes": [f"{LOINC}|57133-1"], "recipientTypes": ["primary-care"], "emergencyOverride": True},
        {"id": "LAW-3", "minConfidentiality": "R", "purposes": ["HRESCH"], "emergencyOverride": False},
    )
)
policies = st.builds(
    Policy,
    provisions=st.lists(_provisions(), max_size=2).map(tuple),
    release=st.lists(_rules, max_size=1).map(tuple),
    prohibitions=st.lists(_prohibitions, max_size=1).map(tuple),
)


# --- decided ----------------------------------------------------------------------------------------------------------


def law(policy: Policy) -> dict[str, Any]:
    """The place's law with the prohibitions of the case."""
    place = copy.deepcopy(LAW["JA"])
    place["prohibitions"] = [*place.get("prohibitions", ()), *policy.prohibitions]
    return place


def directive(provision: dict[str, Any], patient: str, ids: dict[str, str] | None = None) -> dict[str, Any]:
    """A Consent with this provision; `ids` say what the documents are called."""
    whole: dict[str, Any] = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [coding("consentscope", "patient-privacy")]},
        "category": [{"coding": [{"system": LOINC, "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": "2026-01-01",
        "provision": provision,
    }
    return _renamed(whole, ids or {})


def _renamed(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(item, ids) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, ids) for item in value]
    return ids.get(value, value) if isinstance(value, str) else value


def _facts(number: int, held: list[Document]) -> dict[str, Any]:
    """A document as the case files write it; what it was made from goes into it."""
    one = held[number]
    made_from = [_facts(number - 1, held)] if one.relation == "transforms" and number else []
    above = [{"confidentiality": one.letter, "labels": [one.label] if one.label else []}, *made_from]
    facts: dict[str, Any] = {
        "id": f"d{number}",
        "patient": "p",
        "custodian": "org-hospital",
        "confidentiality": max((item["confidentiality"] for item in above), key="ULMNRV".index),
        "labels": sorted({label for item in above for label in item["labels"]}),
        "class": [f"{CLASS}|{one.category}"],
        "codes": [f"{LOINC}|{one.type}"],
        "serviceStart": f"{one.year}-03-01T09:00:00Z",
        "serviceStop": f"{one.year}-03-01T09:30:00Z",
        "created": f"{one.year}-04-0{number + 1}T10:00:00Z",
    }
    if made_from:
        facts["derivedFrom"] = made_from
    return facts


def _agreement(*codes: str) -> dict[str, Any]:
    return {"status": "active", "period": {"start": "2020"}, "purposes": list(codes)}


def visible(who: str, held: list[Document], policy: Policy, *, purpose: str = "", ceiling: str = "R") -> list[bool]:
    """Whether this requester may see each of the documents, by the slow evaluator; `purpose` where it is another.

    `ceiling` is how far a proxy's grant goes.
    """
    fixture = {
        **{key: CODES[key] for key in ("hub", "purposeParent", "labelParent", "labelFloor", "roles")},
        "jurisdictions": {"JA": law(policy)},
        "organizations": {
            "org-clinic": {
                "type": "primary-care",
                "jurisdiction": "JA",
                "agreement": _agreement("TREAT", "HOPERAT", "BTG"),
            },
            "org-hospital": {
                "type": "hospital",
                "jurisdiction": "JA",
                "agreement": _agreement("TREAT"),
                "releasePolicy": list(policy.release),
            },
            "org-payer": {"type": "payer", "jurisdiction": "JA", "agreement": _agreement("HPAYMT")},
            "org-study": {"type": "research", "jurisdiction": "JA", "agreement": _agreement("HRESCH")},
            "org-portal": {"type": "patient-portal", "jurisdiction": "JA", "agreement": _agreement("PATRQT", "FAMRQT")},
        },
        "patients": {"p": {"birthDate": BIRTH, "jurisdiction": "JA"}},
    }
    caller = requester(who, "p")
    request: dict[str, Any] = {
        "org": caller.organization_id,
        "user": caller.user_id,
        "role": caller.role,
        "purpose": purpose or caller.purpose,
        "operation": "query",
    }
    if who == "proxy":
        request["proxyGrant"] = {
            "person": caller.user_id,
            "patient": "p",
            "kind": "nominated",
            "status": "active",
            "maxConfidentiality": ceiling,
        }
    case = {
        "id": "walk",
        "now": datetime.now(UTC).isoformat(),
        "patient": "p",
        "consents": [directive(one, "p") for one in policy.provisions],
        "request": request,
        "documents": [_facts(number, held) for number in range(len(held))],
    }
    answers = slow_evaluator.evaluate(fixture, case)["documents"]
    return [answers[f"d{number}"]["decision"] == "permit" for number in range(len(held))]
