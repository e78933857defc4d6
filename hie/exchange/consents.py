"""Consents as resources: file, change, end, read and search, through the door and with a trace [ITI-108].

A participant files for its own patients (those it feeds a record of), a patient for himself, a proxy where the
grant says so; who may change what is filed stands in `consent/owners.py`. A consent is read as a document of the
participant under whose identifier it was filed, labelled with the sensitivities it names; one that may not be seen
is not there, and what may be seen but not changed is refused.

Source: spec/fhir.md 5; spec/consent.md 5.7, 9 to 12.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import transaction

from consent import directives, labelling, owners, policies, proxies, tables
from consent.directives import Beside, Filer, StoredConsent
from consent.drafts import ConsentDraft
from consent.errors import DirectiveChanged, DirectiveOfAnother, DirectiveRefused, UnknownDirective
from consent.filing import Checked
from consent.owners import Capacity
from documents import queries as registry
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.directory import queries as directory
from hie.exchange import access, copies, release, scans
from hie.exchange.access import PRIVACY_OFFICER, Held, Shown, Staff, Subject, Verdict
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.find import PatientNamed, count_guesses, persons_named, reached
from hie.exchange.scans import Scan
from hie.standards import oids
from hie.standards.facts import Caller, CodedContent, Decision, DocumentFacts, Operation
from hie.trust import limits
from patients import identifiers

__all__ = ["Checked", "ShownConsent", "StoredConsent", "change", "check", "end", "file", "history", "read", "search"]

CONSENT_CLASS = "http://hl7.org/fhir/resource-types|Consent"
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_DESK = frozenset({"TREAT", "HPAYMT", "HOPERAT"})
"""Families of the purposes in which an organization does its own work: in these it takes down patients' choices.

The specification names roles by the purposes they may use; it leaves open who files. Emergency access (BTG) opens a
record, it changes nothing of it; research files consents to research alone.
"""
_MANY = 500
_PERSONS = ("Patient/", "RelatedPerson/")
_PORTAL = {"patient": Capacity.PATIENT, "proxy": Capacity.PROXY}
"""Roles of those who choose for themselves or for one they help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownConsent:
    """A consent that may be shown, and the person it is about now."""

    stored: StoredConsent
    person_id: str


@dataclass(frozen=True, slots=True)
class _ConsentRow:
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


def _secrecy(
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
    for child in _items(node.get("provision")):
        yield from _criteria(child)


def _codings(items: Any) -> Iterator[Mapping[str, Any]]:
    """Codings, and those of CodeableConcepts."""
    for item in _items(items):
        if isinstance(item, Mapping):
            yield item
            yield from (one for one in _items(item.get("coding")) if isinstance(one, Mapping))


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


# --- filing -----------------------------------------------------------------------------------------------------------


@release.point
def file(resource: dict[str, Any], patient: Sequence[PatientNamed], *, caller: Caller, raw: str = "") -> ShownConsent:
    """File a new consent; in force from the moment this returns. `patient`: every name it gives, all of one person.

    Raises:
        AccessRefused: the caller's role and purpose may not file.
        NotFound: no such patient for this caller.
        DirectiveRefused: every problem found in it.
    """
    with recorder.recording(EventType.CONSENT_FILED, caller, action="C", query=raw) as event:
        capacity = _may_file(caller, Operation.REGISTER, resource)
        about, pk, only_labels = _own_patient(patient, caller, capacity)
        event.about(UUID(about.person_id))
        scan = scans.taken(resource)
        wanted = _about(scans.without(resource), about.person_id)
        _check_source(scan, wanted, about, caller)
        beside = _beside(caller, about, wanted)
        with transaction.atomic():
            # Alone: what somebody else files or ends at the same time, this decides with, or waits behind.
            release.basis_of(event).hold_alone()
            stored = directives.file(
                _with_scan(scan, wanted, about, caller, pk),
                identifier_pk=pk,
                filer=_filer(caller, capacity),
                subject=about.facts,
                beside=beside,
                only_labels=only_labels,
            )
            event.about(UUID(about.person_id), detail=_detail(stored))
            event.commit()
    return ShownConsent(stored=stored, person_id=about.person_id)


@release.point
def check(
    resource: dict[str, Any],
    patient: Sequence[PatientNamed],
    *,
    caller: Caller,
    replaces: UUID | None = None,
    raw: str = "",
) -> Checked:
    """What filing this consent would say: its warnings. Nothing is stored but the trace.

    `replaces`: the consent it would be a new version of, against which it is not held.

    Raises:
        As `file`.
    """
    with recorder.recording(EventType.CONSENT_ACCESS, caller, query=raw) as event:
        capacity = _may_file(caller, Operation.REGISTER, resource)
        about, _, only_labels = _own_patient(patient, caller, capacity)
        event.about(UUID(about.person_id))
        scan = scans.taken(resource)
        wanted = _about(scans.without(resource), about.person_id)
        _check_source(scan, wanted, about, caller, replaces)
        checked = directives.check(
            wanted, subject=about.facts, beside=_beside(caller, about, wanted, but=replaces), only_labels=only_labels
        )
        event.commit()
    return checked


@release.point
def change(
    consent_id: str,
    resource: dict[str, Any],
    patient: Sequence[PatientNamed],
    *,
    caller: Caller,
    if_version: int | None = None,
    reason: str = "",
    evidence: str = "",
    raw: str = "",
) -> ShownConsent:
    """Store a new version; one that is not active ends it. Nothing that it forbids leaves once this has returned.

    `reason` and `evidence` are kept with the version, and with the consent when it ends.

    Raises:
        AccessRefused: the caller's role and purpose may not file.
        NotFound: no such consent for this caller.
        DirectiveOfAnother: the caller may see it, and not change it.
        DirectiveRefused, DirectiveChanged: nothing was stored.
    """
    with recorder.recording(EventType.CONSENT_FILED, caller, action="U", query=raw) as event:
        capacity = _may_file(caller, Operation.UPDATE, resource)
        stored = _stored(consent_id)
        about = access.subject(identifiers.person_of_pk(stored.identifier_pk))
        person_id = UUID(about.person_id)
        event.about(person_id, detail={"consent": str(stored.id)})
        if not _may_change(caller, capacity, stored, about):
            if not _visible(caller, about, [stored], event):
                raise NotFound("no such consent")
            raise DirectiveOfAnother
        if persons_named([[name] for name in patient]) != {person_id}:
            raise DirectiveRefused.at("Consent.patient", "is another patient")
        if if_version is not None and if_version != stored.version:
            raise DirectiveChanged(f"directive {stored.id} is at version {stored.version}", element="meta.versionId")
        scan = scans.taken(resource)
        wanted = _about(scans.without(resource), about.person_id)
        _check_source(scan, wanted, about, caller, stored.id)
        if directives.ends(stored.status, wanted):
            event.note(kind=EventType.CONSENT_REVOKED)
        beside = _beside(caller, about, wanted, but=stored.id)
        with transaction.atomic():
            release.basis_of(event).hold_alone()
            changed = directives.update(
                stored.id,
                _with_scan(scan, wanted, about, caller, stored.identifier_pk, stored),
                filer=_filer(caller, capacity),
                reason=reason,
                evidence=evidence,
                # Whose it is was looked up at this version: a change in between may have made it another's.
                if_version=stored.version,
                subject=about.facts,
                beside=beside,
                only_labels=_only_labels(about, capacity),
            )
            holders: dict[str, Any] = {}
            if directives.ends(stored.status, changed.resource):
                scans.ended(changed.resource)
                holders = copies.tell(changed, about)
            event.about(person_id, detail=_detail(changed) | holders)
            event.commit()
    return ShownConsent(stored=changed, person_id=about.person_id)


def end(consent_id: UUID, staff: Staff, *, reason: str, evidence: str) -> StoredConsent:
    """End a consent that nobody else may or will: the privacy officer, with reason and evidence, shown to the patient.

    Raises:
        NotFound: no such consent.
        BadRequest: reason or evidence is missing; `element` names it.
        AccessRefused: not a privacy officer; the attempt stands in the patient's log.
    """
    stored = _stored(str(consent_id))
    person_id = identifiers.person_of_pk(stored.identifier_pk)
    officer = replace(staff, roles=staff.roles & {PRIVACY_OFFICER})
    detail = {"consent": str(stored.id), "version": stored.version, "ended": True}
    if not officer.roles:
        # The refusal is written apart, so before a transaction is begun.
        access.administrative(officer, Held.CONSENTS, [person_id], reason=reason, act=True, detail=detail)
    for element, given in (("reason", reason), ("evidence", evidence)):
        if not given.strip():
            raise BadRequest(f"{element} is needed", element=element)
    with transaction.atomic():
        filer = Filer(actor=f"Staff/{staff.user_id}", capacity=Capacity.STAFF)
        revoked = directives.revoke(stored.id, filer=filer, reason=reason.strip(), evidence=evidence.strip())
        holders: dict[str, Any] = {}
        if revoked.version != stored.version:
            scans.ended(revoked.resource)
            holders = copies.tell(revoked, access.subject(person_id))
        access.administrative(officer, Held.CONSENTS, [person_id], reason=reason, act=True, detail=detail | holders)
        return revoked


# --- reading ----------------------------------------------------------------------------------------------------------


@release.point
def read(consent_id: str, *, caller: Caller, version: int | None = None, raw: str = "") -> ShownConsent:
    """One consent, now or at an old version.

    Raises:
        NotFound: absent, or not to be seen by this caller.
    """
    with recorder.recording(EventType.CONSENT_READ, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        held = [one for one in _versions(consent_id) if version in (None, one.version)]
        about = _whose(held)
        seen = _visible(caller, about, held[:1], event)
        if not seen:
            raise NotFound("no such consent")
        event.commit()
    return ShownConsent(stored=seen[0], person_id=about.person_id)


@release.point
def history(consent_id: str, *, caller: Caller, raw: str = "") -> list[ShownConsent]:
    """The versions of a consent that this caller may see, newest first; each is decided by itself.

    Raises:
        NotFound: absent, or none to be seen by this caller.
    """
    with recorder.recording(EventType.CONSENT_READ, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        versions = _versions(consent_id)
        about = _whose(versions)
        seen = _visible(caller, about, versions, event)
        if not seen:
            raise NotFound("no such consent")
        event.commit()
    return [ShownConsent(stored=stored, person_id=about.person_id) for stored in seen]


@release.point
def search(
    patients: Sequence[Sequence[PatientNamed]],
    ids: Sequence[str],
    keep: Callable[[StoredConsent], bool],
    *,
    caller: Caller,
    raw: str = "",
) -> list[ShownConsent]:
    """Consents of a patient, or by id, that may be shown; newest first."""
    with recorder.recording(EventType.CONSENT_ACCESS, caller, query=raw) as event:
        access.gate(caller, Operation.QUERY)
        if patients:
            event.note(detail=access.NAMES_THE_PATIENT)
        found: list[ShownConsent] = []
        for person_id, held in _candidates(patients, ids, caller).items():
            about = access.somebody(person_id)
            wanted = [item for item in held if keep(item)]
            for stored in _visible(caller, about, wanted, event):
                found.append(ShownConsent(stored=stored, person_id=about.person_id))
        if patients and not found:
            count_guesses(patients, caller)
        event.commit()
    return found


def _candidates(
    patients: Sequence[Sequence[PatientNamed]], ids: Sequence[str], caller: Caller
) -> dict[UUID | None, list[StoredConsent]]:
    """The consents meant, by the person; under None what nobody has, so that nobody costs what somebody costs."""
    if patients:
        found: list[tuple[UUID | None, frozenset[int] | None]] = [*sorted(reached(patients, caller=caller).items())]
        return {
            person: directives.in_store(
                [pk for pk in identifiers.identifier_pks(person or UUID(int=0)) if reach is None or pk in reach]
            )
            for person, reach in found or [(None, None)]
        }
    stored = [one for consent_id in ids for one in _known_as(consent_id)]
    persons = identifiers.persons_of([one.identifier_pk for one in stored])
    by_person: dict[UUID | None, list[StoredConsent]] = {}
    for one in stored:
        by_person.setdefault(persons[one.identifier_pk], []).append(one)
    return by_person or {None: []}


def _known_as(consent_id: str) -> list[StoredConsent]:
    try:
        return [_stored(consent_id)]
    except NotFound:
        return []


def _versions(consent_id: str) -> list[StoredConsent]:
    """The versions of a consent, newest first; none of one that is not there."""
    try:
        return directives.history(UUID(consent_id))
    except (UnknownDirective, ValueError):
        return []


def _whose(held: Sequence[StoredConsent]) -> Subject:
    """The person that consents are about; of none nobody, at the same cost."""
    pk = held[0].identifier_pk if held else 0
    persons = identifiers.persons_of([pk])
    return access.somebody(persons[pk] if held else None)


def _check_source(
    scan: Scan | None, wanted: Mapping[str, Any], about: Subject, caller: Caller, replaces: UUID | None = None
) -> None:
    """What the consent names as its source may be named; what comes with a scan of its own is written anew anyway."""
    earlier = [one.resource for one in directives.history(replaces)] if replaces is not None else []
    named = wanted if scan is None else {key: value for key, value in wanted.items() if key != "sourceAttachment"}
    scans.check_source(named, about, caller, earlier=earlier)


def _with_scan(
    scan: Scan | None,
    wanted: dict[str, Any],
    about: Subject,
    caller: Caller,
    identifier_pk: int,
    held: StoredConsent | None = None,
) -> dict[str, Any]:
    """The consent with its scan kept as a document, as secret as the consent itself and under the same custodian."""
    letter, labels = _secrecy(wanted, access.known_labels(), tables.label_tables)
    if scan is None:
        scans.raise_with(wanted, letter=letter, labels=labels)
        return wanted
    return scans.keep(
        scan,
        wanted,
        about,
        caller,
        custodian=_custodian(identifier_pk, caller),
        letter=letter,
        labels=labels,
        held=held.resource if held is not None else None,
    )


def _custodian(identifier_pk: int, caller: Caller) -> str:
    """Who answers for a consent, where the filer may speak for that one; else the filer's own organization."""
    owner = identifiers.by_pk({identifier_pk})[identifier_pk].participant_id
    mine = owner in directory.participants() and directory.within(owner, caller.participant_id)
    return owner if mine else caller.organization_id


def _stored(consent_id: str, version: int | None = None) -> StoredConsent:
    try:
        return directives.read(UUID(consent_id), version)
    except (UnknownDirective, ValueError) as error:
        raise NotFound("no such consent") from error


def _visible(
    caller: Caller, about: Subject, held: Sequence[StoredConsent], event: recorder.Recording
) -> list[StoredConsent]:
    """Those that may be shown, recorded."""
    seen, verdict = _judged(caller, about, held)
    access.record(event, caller, about, verdict, what="metadata", shown=_shown, operation=Operation.QUERY)
    return seen


def _judged(
    caller: Caller, about: Subject, held: Sequence[StoredConsent]
) -> tuple[list[StoredConsent], Verdict[_ConsentRow]]:
    """Those that may be shown, and the verdict with one row for each."""
    owners_ = identifiers.by_pk({item.identifier_pk for item in held})
    sources = sorted({record.participant_id for record in about.records})
    participants = directory.participants() if held else {}
    known = access.known_labels() if held else frozenset()
    read: list[labelling.LabelTables] = []

    def label_tables() -> labelling.LabelTables:
        if not read:
            read.append(tables.label_tables())
        return read[0]

    rows: dict[int, list[_ConsentRow]] = {}
    for n, item in enumerate(held):
        owner = owners_[item.identifier_pk].participant_id if item.identifier_pk in owners_ else ""
        letter, labels = _secrecy(item.resource, known, label_tables)
        rows[n] = [_ConsentRow(item, one, letter, labels) for one in ([owner] if owner in participants else sources)]
    every = access.permitted(caller, about, [row for some in rows.values() for row in some], Operation.QUERY)
    allowed = {id(row): decision for row, decision in every.permitted}
    refused = {id(row): decision for row, decision in every.denied}
    seen: list[StoredConsent] = []
    permitted: list[tuple[_ConsentRow, Decision]] = []
    denied: list[tuple[_ConsentRow, Decision]] = []
    for n, item in enumerate(held):
        first = next((row for row in rows[n] if id(row) in allowed), None)
        if first is not None:
            permitted.append((first, allowed[id(first)]))
            seen.append(item)
        elif rows[n]:
            denied.append((rows[n][0], refused[id(rows[n][0])]))
    return seen, replace(every, permitted=tuple(permitted), denied=tuple(denied))


def _shown(row: _ConsentRow) -> Shown:
    return Shown(document_id=str(row.stored.id), title="Consent", type_display="Consent")


# --- who may ----------------------------------------------------------------------------------------------------------


def _may_file(caller: Caller, operation: Operation, resource: Mapping[str, Any]) -> Capacity:
    """As what the caller files, when it may file anything at all; equal for existing and invented consents.

    Raises:
        AccessRefused: the gate's rules, and a purpose in which nobody files.
    """
    access.gate(caller, operation)
    capacity = _PORTAL.get(caller.role or "", Capacity.PARTICIPANT)
    if capacity is not Capacity.PARTICIPANT:
        return capacity
    if caller.user_id.startswith(_PERSONS):
        raise AccessRefused("G5", "role-not-permitted")
    families = policies.current().tables.families.get(caller.purpose or "", frozenset())
    if caller.purpose == "BTG" or not families & (_DESK | ({"HRESCH"} if _is_research(resource) else frozenset())):
        raise AccessRefused("G4", "purpose-not-permitted")
    return capacity


def _is_research(resource: Mapping[str, Any]) -> bool:
    """Whether a consent is to research and to nothing else."""
    scope = resource.get("scope")
    codings = _items(scope.get("coding")) if isinstance(scope, Mapping) else ()
    return bool(codings) and all(isinstance(one, Mapping) and one.get("code") == "research" for one in codings)


def _own_patient(
    names: Sequence[PatientNamed], caller: Caller, capacity: Capacity
) -> tuple[Subject, int, frozenset[str] | None]:
    """The person, the identifier to hang the consent on, and what a minor is limited to, when it is the caller's.

    Raises:
        NotFound: no such patient of this caller.
    """
    found = persons_named([[name] for name in names])
    for person_id in sorted(found)[:1]:
        about = access.subject(person_id)
        pk = _own(about, caller, capacity)
        if pk is not None:
            return about, pk, _only_labels(about, capacity)
    # Counted whether the patient is unknown or another's: the limit must not tell which.
    limits.guessing(caller, "patient")
    raise NotFound("no such patient")


def _own(about: Subject, caller: Caller, capacity: Capacity) -> int | None:
    if capacity is not Capacity.PARTICIPANT:
        stands = _is_self(caller, about) if capacity is Capacity.PATIENT else _is_consenting_proxy(caller, about)
        return identifiers.own_anchor(about.person_id).pk if stands else None
    for identifier in identifiers.of_person(about.person_id):
        if identifier.active and directory.within(identifier.participant_id, caller.participant_id):
            return identifier.pk
    return None


def _may_change(caller: Caller, capacity: Capacity, stored: StoredConsent, about: Subject) -> bool:
    """Whether the consent is the caller's to change (`consent/owners.py`)."""
    if capacity is Capacity.PATIENT:
        # A minor's own are about confidential care; what a parent or an organization chose for him stays theirs.
        own = stored.capacity == Capacity.PATIENT or _only_labels(about, capacity) is None
        return own and _is_self(caller, about)
    if capacity is Capacity.PROXY:
        # A helper changes only what he may know of: a teenager's own choice about confidential care he may not.
        return _is_consenting_proxy(caller, about) and bool(_judged(caller, about, [stored])[0])
    families = policies.current().tables.families.get(caller.purpose or "", frozenset())
    if not families & _DESK and not _is_research(stored.resource):
        return False
    return stored.capacity == Capacity.PARTICIPANT and stored.organization in directory.same_organization(
        caller.organization_id
    )


def versions(stored: StoredConsent, about: Subject, *, caller: Caller) -> list[StoredConsent]:
    """The versions of a consent that this caller may see, newest first; for one who has been shown it, so not recorded."""
    return _judged(caller, about, directives.history(stored.id))[0]


def chooses_for(caller: Caller, about: Subject) -> bool:
    """Whether choices about this person's record are the caller's to make: as the patient, or as a helper who may."""
    return (caller.role == "patient" and _is_self(caller, about)) or (
        caller.role == "proxy" and _is_consenting_proxy(caller, about)
    )


def _is_self(caller: Caller, about: Subject) -> bool:
    kind, _, number = caller.user_id.partition("/")
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    return (
        kind == "Patient" and number in about.facts.ids and owners.patient_may_file(about.facts, law, now=access.now())
    )


def _is_consenting_proxy(caller: Caller, about: Subject) -> bool:
    patient = (caller.on_behalf_of or "").removeprefix("Patient/")
    if patient and patient not in about.facts.ids:
        return False
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    grants = proxies.grants_of(about.identifier_pks)
    return owners.consenting_grant(grants, caller.user_id, about.facts, law, now=access.now()) is not None


def _only_labels(about: Subject, capacity: Capacity) -> frozenset[str] | None:
    if capacity is not Capacity.PATIENT:
        return None
    law = policies.current().jurisdiction_of(about.facts.jurisdiction)
    return owners.only_confidential_care(about.facts, law, now=access.now())


def _beside(caller: Caller, about: Subject, wanted: Mapping[str, Any], *, but: UUID | None = None) -> Beside:
    """What the consent may be held against for this caller: a warning must not tell of what is hidden from it."""
    others = [item for item in directives.in_store(about.identifier_pks) if item.id != but]
    on_file: tuple[tuple[str | None, str | None], ...] = ()
    if _limits_time(wanted.get("provision")):
        rows = registry.entries(about.identifier_pks, limit=_MANY)
        # Of a longer record the rest is not looked at: nothing is said then.
        if len(rows) < _MANY:
            seen = access.permitted(caller, about, rows, Operation.QUERY)
            facts = [seen.facts[id(row)] for row in seen.rows()]
            on_file = tuple((one.service_start or one.created, one.service_stop) for one in facts)
    known = access.permitted(caller, about, access.demographics_rows(about.records), Operation.QUERY)
    holders = sorted({row.record.participant_id for row in known.rows()})
    return Beside(others=tuple(_judged(caller, about, others)[0]), on_file=on_file, holders=tuple(holders))


def versions_seen(
    caller: Caller, about: Subject, asked: Collection[tuple[str, int | None]]
) -> frozenset[tuple[str, int | None]]:
    """Of versions of consents (None: the newest), those that this caller may see; decided, and not recorded."""
    held: dict[tuple[str, int | None], StoredConsent] = {}
    for consent_id in sorted({one for one, _ in asked}):
        versions = _versions(consent_id)
        held |= {(consent_id, one.version): one for one in versions}
        if versions:
            held[consent_id, None] = versions[0]
    wanted = [one for one in asked if one in held]
    seen = {id(one) for one in _judged(caller, about, [held[one] for one in wanted])[0]} if wanted else set()
    return frozenset(one for one in wanted if id(held[one]) in seen)


def as_known(caller: Caller, about: Subject) -> Subject:
    """The person with those directives alone that this caller may see: what he tries out must not tell of the others."""
    seen = {str(one.id) for one in _judged(caller, about, directives.in_store(about.identifier_pks))[0]}
    hidden = [ConsentDraft(replaces=UUID(one.id)) for one in about.policy.directives if one.id not in seen]
    return replace(about, policy=directives.drafted(about.policy, hidden)) if hidden else about


def _limits_time(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    return "dataPeriod" in node or any(_limits_time(child) for child in _items(node.get("provision")))


def may_change(caller: Caller, stored: StoredConsent, about: Subject) -> bool:
    """Whether a consent is this patient's or helper's to change or end; of others, no."""
    capacity = _PORTAL.get(caller.role or "")
    return capacity is not None and _may_change(caller, capacity, stored, about)


def refusal_honoured(about: Subject) -> frozenset[bool]:
    """Whether the laws of those who hold records of the person let her refuse emergency access: some, all or none do."""
    members = policies.current().participants
    laws = [members[one.participant_id].jurisdiction for one in about.records if one.participant_id in members]
    return frozenset(law is not None and law.honours_refusal for law in laws)


def limited_to(caller: Caller, about: Subject) -> frozenset[str] | None:
    """The labels that this caller's choices about the person are limited to (None: no limit)."""
    return _only_labels(about, _PORTAL.get(caller.role or "", Capacity.PARTICIPANT))


def _filer(caller: Caller, capacity: Capacity) -> Filer:
    organization = caller.organization_id if capacity is Capacity.PARTICIPANT else ""
    return Filer(actor=f"{caller.organization_id}|{caller.user_id}", capacity=capacity, organization=organization)


def _about(resource: dict[str, Any], person_id: str) -> dict[str, Any]:
    return {**resource, "patient": {"reference": f"Patient/{person_id}"}}


def _detail(stored: StoredConsent) -> dict[str, Any]:
    return {"consent": str(stored.id), "version": stored.version, "status": stored.status}
