"""Code tables: purposes, confidentiality letters, sensitivity labels, roles.

The tables are data (`consent/data/codes.json`, overridable by rows); what is
fixed here are the systems, their older spellings and the order of the
confidentiality letters. A code of any other system matches nothing.

Source: spec/consent.md section 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeVar

from hie.standards.facts import Operation

Key = TypeVar("Key")
Value = TypeVar("Value")

_HL7: Final = "http://terminology.hl7.org/CodeSystem/"
ACT_REASON: Final = _HL7 + "v3-ActReason"
CONFIDENTIALITY: Final = _HL7 + "v3-Confidentiality"
ACT_CODE: Final = _HL7 + "v3-ActCode"
PARTICIPATION: Final = _HL7 + "v3-ParticipationType"
ACTION: Final = _HL7 + "consentaction"
SCOPE: Final = _HL7 + "consentscope"

_ALIASES: Final[Mapping[str, str]] = {
    **{s: s for s in (ACT_REASON, CONFIDENTIALITY, ACT_CODE, PARTICIPATION, ACTION, SCOPE)},
    "http://hl7.org/fhir/v3/ActReason": ACT_REASON,
    "http://hl7.org/fhir/v3/Confidentiality": CONFIDENTIALITY,
    "http://hl7.org/fhir/v3/ActCode": ACT_CODE,
    "http://hl7.org/fhir/v3/ParticipationType": PARTICIPATION,
    "urn:oid:2.16.840.1.113883.5.8": ACT_REASON,
    "urn:oid:2.16.840.1.113883.5.25": CONFIDENTIALITY,
    "urn:oid:2.16.840.1.113883.5.4": ACT_CODE,
}

LETTERS: Final = ("U", "L", "M", "N", "R", "V")
RANK: Final[Mapping[str, int]] = {letter: rank for rank, letter in enumerate(LETTERS)}
RANK_N: Final = RANK["N"]
RANK_R: Final = RANK["R"]
RANK_V: Final = RANK["V"]

KEPT: Final = 4096  # of each thing that is worked out once and kept beside a table

OPTED: Final[Mapping[str, str]] = {"OPTIN": "permit", "OPTINR": "permit", "OPTOUT": "deny", "OPTOUTE": "deny"}
ACTIONS: Final = frozenset({"collect", "access", "use", "disclose", "correct"})
TPO: Final = frozenset({"TREAT", "HPAYMT", "HOPERAT"})  # treatment, payment, operations
RECIPIENT_ROLES: Final = frozenset({"IRCP", "PRCP"})
ROLE_SYSTEM: Final = "urn:hie:role"
ORG_TYPE_SYSTEM: Final = "urn:hie:org-type"
DATA_MEANINGS: Final = frozenset({"instance", "related", "dependents", "authoredby"})
PROXY_KINDS: Final = frozenset({"parent", "guardian-of-minor", "guardian", "attorney", "nominated"})
PART2: Final = "42CFRPart2"
NOPAT: Final = "NOPAT"

OPERATION_ACTIONS: Final[Mapping[str, frozenset[str]]] = {
    Operation.QUERY.value: frozenset({"access"}),
    Operation.RETRIEVE.value: frozenset({"access"}),
    Operation.NOTIFY.value: frozenset({"access"}),
    Operation.BULK.value: frozenset({"access", "use"}),
    Operation.REGISTER.value: frozenset({"collect"}),
    Operation.UPDATE.value: frozenset({"correct"}),
}


def keep(kept: dict[Key, Value], key: Key, value: Value) -> Value:
    """Keep a value that was worked out; when as many are kept as may be, begin anew."""
    if len(kept) >= KEPT:
        kept.clear()
    kept[key] = value
    return value


def canonical_system(system: str) -> str:
    """The present name of a code system; a system that is not the hub's own stays as it is."""
    return _ALIASES.get(system, system)


@lru_cache(maxsize=KEPT)
def canonical_codings(codings: frozenset[str]) -> frozenset[str]:
    """Codings ``system|code`` with the present name of each system: older spellings are the same system."""
    return frozenset(_canonical_coding(one) for one in codings)


def _canonical_coding(coding: str) -> str:
    system, bar, code = coding.rpartition("|")
    return f"{_ALIASES.get(system, system)}{bar}{code}"


@lru_cache(maxsize=KEPT)
def split_codings(codings: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Codings ``system|code`` in the present spelling, and apart from them the codes that come without a system."""
    parts = [(coding, *coding.rpartition("|")) for coding in canonical_codings(codings)]
    return (
        frozenset(coding for coding, system, _, _ in parts if system),
        frozenset(code for _, system, _, code in parts if not system),
    )


def has_coding(exact: frozenset[str], loose: frozenset[str], codings: frozenset[str], *, opens: bool) -> bool:
    """Whether one of the codings asked for is among a document's, whatever the spelling of their systems.

    `exact` and `loose`: what is asked for, as `split_codings` gives it. What `opens` (a permit, a mandate) meets only
    what is surely the same; against what closes (a denial, a prohibition, a release rule) a code without a system, on
    either side, may be of any.
    """
    having, lacking = split_codings(codings)
    if not exact.isdisjoint(having):
        return True
    if opens or not (loose or lacking):
        return False
    codes = {coding.rpartition("|")[2] for coding in having} | lacking
    return not loose.isdisjoint(codes) or any(coding.rpartition("|")[2] in lacking for coding in exact)


def _family(parents: Mapping[str, str | None], code: str) -> frozenset[str]:
    family: set[str] = set()
    current: str | None = code
    while current is not None and current not in family:  # a cycle in the data must not hang the hub
        family.add(current)
        current = parents.get(current)
    return frozenset(family)


@dataclass(frozen=True, slots=True)
class Tables:
    """The code tables, compiled.

    `families` maps a purpose to itself and all its ancestors; `label_families`
    the same for sensitivity labels, so "a document carries X" is "X is in the
    family of one of its labels". `floors` maps a label to the rank below which
    a document that carries it never falls. `may_mean` maps a label that leaves open
    which of several things it stands for (BH: mental health or substance use) to all
    that it may stand for: what closes goes by these too, what opens never does (1.3).
    """

    families: Mapping[str, frozenset[str]]
    label_families: Mapping[str, frozenset[str]]
    floors: Mapping[str, int]
    roles: Mapping[str, frozenset[str]]
    break_glass_max_hours: float
    known_labels: frozenset[str]
    may_mean: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _weighed: dict[frozenset[str], tuple[frozenset[str], frozenset[str], int]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Tables:
        """Read the tables from the form of the fixture.

        Members: `purposeParent`, `labelParent` (child to parent or null),
        `labelFloor` (label to letter), `roles` (role to purposes), `hub.breakGlassMaxHours`,
        and, where there are such, `labelMayMean` (label to labels of the table).

        Raises:
            ValueError: a member is missing or has the wrong shape; nothing is guessed.
        """
        purposes = _parents(data, "purposeParent")
        labels = _parents(data, "labelParent")
        floors = _mapping(data, "labelFloor")
        roles = _mapping(data, "roles")
        hub = data.get("hub", {})
        hours = hub.get("breakGlassMaxHours", 4) if isinstance(hub, Mapping) else None
        if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 <= hours <= 24 * 365:
            raise ValueError("hub.breakGlassMaxHours")
        for role, listed in roles.items():
            if not isinstance(listed, list | tuple) or not all(isinstance(p, str) for p in listed):
                raise ValueError(f"roles.{role}")
        may_mean = _mapping(data, "labelMayMean") if "labelMayMean" in data else {}
        for label, meant in may_mean.items():
            listed = isinstance(meant, list | tuple) and all(isinstance(one, str) and one in labels for one in meant)
            if label not in labels or not listed:
                raise ValueError(f"labelMayMean.{label}")
        return cls(
            families={code: _family(purposes, code) for code in purposes},
            label_families={code: _family(labels, code) for code in labels},
            # A floor that cannot be read is the highest: it must not lower anything.
            floors={
                label: RANK.get(letter, RANK_V) if isinstance(letter, str) else RANK_V
                for label, letter in floors.items()
            },
            roles={role: frozenset(listed) for role, listed in roles.items()},
            break_glass_max_hours=float(hours),
            known_labels=frozenset(labels),
            may_mean={label: frozenset(meant) for label, meant in may_mean.items()},
        )

    def carried(self, labels: Iterable[str]) -> frozenset[str]:
        """Every label that a document with these labels carries: they and their ancestors."""
        carried: set[str] = set()
        for label in labels:
            carried |= self.label_families.get(label, frozenset({label}))
        return frozenset(carried)

    def feared(self, labels: Iterable[str]) -> frozenset[str]:
        """Every label that a document with these may carry: `carried`, and what those that leave it open may mean.

        Whatever else the document is labelled: a further label never makes a document less secret (spec/consent.md 19.3).
        """
        given = frozenset(labels)
        return self.carried(given.union(*(self.may_mean.get(label, ()) for label in given)))

    def floor(self, carried: Iterable[str]) -> int:
        """The lowest rank a document that carries these labels can have."""
        return max((self.floors.get(label, 0) for label in carried), default=0)

    def weighed(self, labels: frozenset[str]) -> tuple[frozenset[str], frozenset[str], int]:
        """`carried` and `feared` of these labels, and their `floor`; worked out once for each set of labels."""
        found = self._weighed.get(labels)
        if found is None:
            carried = self.carried(labels)
            found = keep(self._weighed, labels, (carried, self.feared(labels), self.floor(carried)))
        return found

    def permits(self, listed: frozenset[str], purpose: str) -> bool:
        """Whether a list of purposes (of an agreement or role) contains a purpose.

        Listing a purpose includes its descendants, except that BTG must be listed itself.
        """
        if purpose == "BTG":
            return "BTG" in listed
        return not listed.isdisjoint(self.families.get(purpose, frozenset()))


def _mapping(data: Mapping[str, Any], member: str) -> Mapping[str, Any]:
    value = data.get(member)
    if not isinstance(value, Mapping):
        raise ValueError(member)
    return value


def _parents(data: Mapping[str, Any], member: str) -> dict[str, str | None]:
    value = _mapping(data, member)
    for code, parent in value.items():
        if not isinstance(code, str) or not (parent is None or isinstance(parent, str)):
            raise ValueError(f"{member}.{code}")
    return dict(value)
