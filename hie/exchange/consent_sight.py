"""Which consents a caller may see: each is read as a document of the participant under whose identifier it was filed.

It is labelled with the sensitivities that it names. One that may not be seen is not there.

Source: spec/fhir.md 5; spec/consent.md 5, 8.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from consent import directives, labelling
from consent.directives import StoredConsent
from consent.drafts import ConsentDraft
from consent.errors import UnknownDirective
from hie.audit import recorder
from hie.directory import queries as directory
from hie.exchange import access
from hie.exchange.access import Shown, Subject, Verdict
from hie.standards import oids
from hie.standards.facts import Caller, CodedContent, Decision, DocumentFacts, Operation
from patients import identifiers

CONSENT_CLASS = "http://hl7.org/fhir/resource-types|Consent"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """A consent as policy sees it, for one of the participants that may answer for it."""

    stored: StoredConsent
    custodian: str
    confidentiality: str
    labels: frozenset[str]

    @property
    def document_version(self) -> str:
        """The consent's own version."""
        return str(self.stored.version)

    def facts(self, person_id: str, identifier_pks: Collection[int] | None = None) -> DocumentFacts:
        """Class Consent, as secret as what it names."""
        mine = identifier_pks is None or self.stored.identifier_pk in identifier_pks
        return DocumentFacts(
            id=str(self.stored.id),
            patient=person_id if mine else f"identifier:{self.stored.identifier_pk}",
            custodian=self.custodian,
            classes=frozenset({CONSENT_CLASS}),
            confidentiality=self.confidentiality,
            labels=self.labels,
        )


def secrecy(
    resource: Mapping[str, Any], known: frozenset[str], label_tables: Callable[[], labelling.LabelTables]
) -> tuple[str, frozenset[str]]:
    """Letter and labels of a consent read as a document: N, or more where it says that there is something to hide.

    That says a sensitivity label, in whatever spelling of its system, a clinical code, and the consent's own
    security label; classes and codes are labelled by the rules that label documents. `known` are the hub's labels.
    """
    labels, codes, letter = set(), set(), "N"
    for criterion, coding in _secrets(resource):
        system, code = coding.get("system"), coding.get("code")
        if not isinstance(code, str) or not code:
            continue
        uri = oids.scheme_uri(system) if isinstance(system, str) else ""
        # A code without a system may be meant as a label, and is matched as one by a denial.
        if criterion in ("label", "policy") and (code in known or (criterion == "label" and uri == _ACT_CODE)):
            labels.add(code)
        elif criterion == "code":
            codes.add(f"{uri}|{code}")
            letter = "R"
        elif criterion in ("class", "own"):
            codes.add(f"{uri}|{code}")
    if not (labels or codes):
        return letter, frozenset()
    found = labelling.labels_for(
        CodedContent(),
        codes=frozenset(codes),
        confidentiality="R" if labels else letter,
        labels=frozenset(labels),
        tables=label_tables(),
    )
    return found.confidentiality or "R", found.labels | labels


def _secrets(resource: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The codings of a consent that may say what it is about, each with what it stands for, whatever their shape."""
    meta, rule = resource.get("meta"), resource.get("policyRule")
    yield from (("own", one) for one in _codings(meta.get("security") if isinstance(meta, Mapping) else None))
    yield from (("policy", one) for one in _codings([rule]))
    yield from _criteria(resource.get("provision"))


def _criteria(node: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(node, Mapping):
        return
    for member, criterion in (("securityLabel", "label"), ("class", "class"), ("code", "code")):
        yield from ((criterion, one) for one in _codings(node.get(member)))
    for child in items_of(node.get("provision")):
        yield from _criteria(child)


def _codings(items: Any) -> Iterator[Mapping[str, Any]]:
    """Codings, and those of CodeableConcepts."""
    for item in items_of(items):
        if isinstance(item, Mapping):
            yield item
            yield from (one for one in items_of(item.get("coding")) if isinstance(one, Mapping))


def items_of(value: Any) -> Sequence[Any]:
    """A list as it is; nothing of anything else."""
    return value if isinstance(value, list) else ()


def versions_of(consent_id: str) -> list[StoredConsent]:
    """The versions of a consent, newest first; none of one that is not there."""
    try:
        return directives.history(UUID(consent_id))
    except (UnknownDirective, ValueError):
        return []


def visible(
    caller: Caller, about: Subject, held: Sequence[StoredConsent], event: recorder.Recording
) -> list[StoredConsent]:
    """Those that may be shown, recorded."""
    seen, verdict = judged(caller, about, held)
    access.record(event, caller, about, verdict, what="metadata", shown=_shown, operation=Operation.QUERY)
    return seen


def judged(
    caller: Caller, about: Subject, held: Sequence[StoredConsent]
) -> tuple[list[StoredConsent], Verdict[ConsentRow]]:
    """Those that may be shown, and the verdict with one row for each."""
    owners_ = identifiers.by_pk({item.identifier_pk for item in held})
    sources = sorted({record.participant_id for record in about.records})
    participants = directory.participants() if held else {}
    known = access.known_labels() if held else frozenset()
    read: list[labelling.LabelTables] = []

    def label_tables() -> labelling.LabelTables:
        if not read:
            read.append(access.label_tables())
        return read[0]

    rows: dict[int, list[ConsentRow]] = {}
    for n, item in enumerate(held):
        owner = owners_[item.identifier_pk].participant_id if item.identifier_pk in owners_ else ""
        letter, labels = secrecy(item.resource, known, label_tables)
        rows[n] = [ConsentRow(item, one, letter, labels) for one in ([owner] if owner in participants else sources)]
    every = access.permitted(caller, about, [row for some in rows.values() for row in some], Operation.QUERY)
    allowed = {id(row): decision for row, decision in every.permitted}
    refused = {id(row): decision for row, decision in every.denied}
    seen: list[StoredConsent] = []
    permitted: list[tuple[ConsentRow, Decision]] = []
    denied: list[tuple[ConsentRow, Decision]] = []
    for n, item in enumerate(held):
        first = next((row for row in rows[n] if id(row) in allowed), None)
        if first is not None:
            permitted.append((first, allowed[id(first)]))
            seen.append(item)
        elif rows[n]:
            denied.append((rows[n][0], refused[id(rows[n][0])]))
    return seen, replace(every, permitted=tuple(permitted), denied=tuple(denied))


def _shown(row: ConsentRow) -> Shown:
    return Shown(document_id=str(row.stored.id), title="Consent", type_display="Consent")


def versions(stored: StoredConsent, about: Subject, *, caller: Caller) -> list[StoredConsent]:
    """The versions of a consent that this caller may see, newest first; for one who has been shown it, so not recorded."""
    return judged(caller, about, directives.history(stored.id))[0]


def versions_seen(
    caller: Caller, about: Subject, asked: Collection[tuple[str, int | None]]
) -> frozenset[tuple[str, int | None]]:
    """Of versions of consents (None: the newest), those that this caller may see; decided, and not recorded."""
    held: dict[tuple[str, int | None], StoredConsent] = {}
    for consent_id in sorted({one for one, _ in asked}):
        versions = versions_of(consent_id)
        held |= {(consent_id, one.version): one for one in versions}
        if versions:
            held[consent_id, None] = versions[0]
    wanted = [one for one in asked if one in held]
    seen = {id(one) for one in judged(caller, about, [held[one] for one in wanted])[0]} if wanted else set()
    return frozenset(one for one in wanted if id(held[one]) in seen)


def as_known(caller: Caller, about: Subject) -> Subject:
    """The person with those directives alone that this caller may see: what he tries out must not tell of the others."""
    seen = {str(one.id) for one in judged(caller, about, directives.in_store(about.identifier_pks))[0]}
    hidden = [ConsentDraft(replaces=UUID(one.id)) for one in about.policy.directives if one.id not in seen]
    return replace(about, policy=directives.drafted(about.policy, hidden)) if hidden else about
