"""What others may ask the directory.

Everything but people is one frozen `Directory`, held per process and keyed by the policy
epoch: a question costs one statement (the epoch), and seven more only after a change.
Ask `snapshot()` once and use its methods where many questions belong to one request.

Source: docs/explanation/architecture.md; spec/consent.md 3.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Exists, Min, OuterRef
from django.utils import timezone

from hie.directory import periods
from hie.directory.epoch import (
    EPOCH,
    Reading,
    bump_epoch,
    epoch,
    hold_epoch,
    offer,
    offered,
    one_reading,
    read_epoch,
    reading,
    reading_now,
    recent,
)
from hie.directory.models import (
    Agreement,
    AssigningAuthority,
    Certificate,
    ClientKey,
    Endpoint,
    Participant,
    Practitioner,
    ReleasePolicy,
    Standing,
)
from hie.standards import naming
from hie.standards.facts import AgreementFacts, EndpointFacts, ParticipantFacts, ReleaseRule

__all__ = [
    "EPOCH",
    "HUB",
    "ClientFacts",
    "Directory",
    "KeyFacts",
    "LimitFacts",
    "Reading",
    "UserFacts",
    "authority_owner",
    "bump_epoch",
    "certificates_of",
    "client",
    "endpoints",
    "epoch",
    "hl7v2_sender",
    "hold_epoch",
    "is_active",
    "offer",
    "offered",
    "one_reading",
    "participant",
    "participant_by_certificate",
    "participant_by_client",
    "participant_by_home_community",
    "participant_by_oid",
    "participants",
    "read_zones_from",
    "reading",
    "reading_now",
    "recent",
    "root_of",
    "snapshot",
    "user",
    "users_named",
    "within",
]

HUB = "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """A client's public key as registered by value; a bound of None is open."""

    kid: str
    jwk: Mapping[str, Any]
    not_before: datetime | None = None
    expires: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFacts:
    """A participant's own limits; None is the hub's."""

    rate_per_s: int | None = None
    burst: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFacts:
    """A client as the token service sees it: exactly one of `keys` and `jwks_url` is given."""

    client_id: str
    participant_id: str
    scopes: tuple[str, ...] = ()
    keys: tuple[KeyFacts, ...] = ()
    jwks_url: str | None = None
    default_role: str | None = None
    default_purpose: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFacts:
    """A person who uses the exchange for a participant."""

    participant_id: str
    id: str
    name: str
    role: str
    purposes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The whole directory at one epoch. Lookups are dictionary reads and cost no statement."""

    epoch: int
    participants: Mapping[str, ParticipantFacts]
    clients: Mapping[str, ClientFacts]
    limits: Mapping[str, LimitFacts]
    by_oid: Mapping[str, str]
    by_home_community: Mapping[str, str]
    by_sender: Mapping[tuple[str, str], str]
    by_thumbprint: Mapping[str, str]
    client_ids: Mapping[str, str]
    authorities: Mapping[str, str]
    endpoints: tuple[EndpointFacts, ...]
    _roots: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def participant(self, participant_id: str | None) -> ParticipantFacts | None:
        """The participant, or None."""
        return self.participants.get(participant_id) if participant_id else None

    def client_of(self, participant_id: str) -> ClientFacts | None:
        """The client as which a participant is registered, or None when it is unknown."""
        client_id = self.client_ids.get(participant_id)
        return self.clients.get(client_id) if client_id is not None else None

    def lineage(self, participant_id: str) -> list[ParticipantFacts]:
        """The participant and all above it, nearest first; empty when unknown."""
        found: list[ParticipantFacts] = []
        current = self.participants.get(participant_id)
        while current is not None and current not in found:
            found.append(current)
            current = self.participants.get(current.part_of) if current.part_of else None
        return found

    def root_of(self, participant_id: str) -> str:
        """The topmost ancestor; the id itself when it has none or is unknown."""
        root = self._roots.get(participant_id)
        if root is None:
            line = self.lineage(participant_id)
            root = line[-1].id if line else participant_id
            self._roots[participant_id] = root
        return root

    def within(self, child_id: str, ancestor_id: str) -> bool:
        """Whether `child_id` is `ancestor_id` or stands below it."""
        return any(facts.id == ancestor_id for facts in self.lineage(child_id))

    def agreement_of(self, participant_id: str) -> AgreementFacts | None:
        """The agreement in force: its own, or the nearest ancestor's that has one."""
        return next((facts.agreement for facts in self.lineage(participant_id) if facts.agreement), None)

    def jurisdiction_of(self, participant_id: str) -> str:
        """Its own jurisdiction, the nearest ancestor's, or the hub's."""
        found = (facts.jurisdiction for facts in self.lineage(participant_id) if facts.jurisdiction)
        return next(found, settings.HUB_JURISDICTION)

    def trust_of(self, participant_id: str) -> int:
        """How much it counts where sources differ: its own rank, the nearest ancestor's that states one, or 0."""
        found = (facts.source_trust for facts in self.lineage(participant_id) if facts.source_trust is not None)
        return next(found, 0)

    def trusts(self) -> dict[str, int]:
        """The rank of every participant that has one other than 0, by id."""
        return {one: rank for one in sorted(self.participants) if (rank := self.trust_of(one))}

    def is_active(self, participant_id: str, now: datetime) -> bool:
        """Registration (its own and of all above it) and agreement active, and `now` in its period."""
        facts = self.participants.get(participant_id)
        if facts is None or facts.status != Standing.ACTIVE:
            return False
        agreement = self.agreement_of(participant_id)
        if agreement is None or agreement.status != Standing.ACTIVE:
            return False
        return periods.covers(agreement.start, agreement.end, now, zone_of(self.jurisdiction_of(participant_id)))


_cached: Directory | None = None


_loading = threading.Lock()


def snapshot(*, at: int | None = None) -> Directory:
    """The directory now: one statement when nothing changed since this process last asked.

    `at` is the epoch, where the caller has read it together with rows of its own (`EPOCH`): then none.
    """
    global _cached
    current = epoch() if at is None else at
    held = _cached
    if held is not None and held.epoch == current:
        return held
    # One thread loads, the others of this process find it done.
    with _loading:
        held = _cached
        if held is not None and held.epoch == current:
            return held
        while True:
            loaded = _load(current)
            # A change may have committed between our statements: what we read is one state only if the epoch
            # stood still.
            after = read_epoch()
            if after == current:
                _cached = loaded
                return loaded
            current = after


def _load(at_epoch: int) -> Directory:
    rows = {row.id: row for row in Participant.objects.all()}
    agreements: dict[str, Agreement] = {}
    for agreement in Agreement.objects.order_by("participant_id", "version"):
        agreements[agreement.participant_id] = agreement
    authorities = dict(AssigningAuthority.objects.order_by("-oid").values_list("oid", "participant_id"))
    first_authority = {owner: oid for oid, owner in authorities.items()}
    keys: dict[str, list[KeyFacts]] = {}
    for key in ClientKey.objects.order_by("pk"):
        keys.setdefault(key.participant_id, []).append(
            KeyFacts(kid=key.kid, jwk=MappingProxyType(key.jwk), not_before=key.not_before, expires=key.expires)
        )
    facts: dict[str, ParticipantFacts] = {
        row.id: _facts(row, rows, agreements.get(row.id), first_authority.get(row.id)) for row in rows.values()
    }
    return Directory(
        epoch=at_epoch,
        participants=MappingProxyType(facts),
        clients=MappingProxyType(
            {
                row.client_id: ClientFacts(
                    client_id=row.client_id,
                    participant_id=row.id,
                    scopes=tuple(row.scopes),
                    keys=tuple(keys.get(row.id, ())),
                    jwks_url=row.jwks_url or None,
                    default_role=row.default_role or None,
                    default_purpose=row.default_purpose or None,
                )
                for row in rows.values()
            }
        ),
        limits=MappingProxyType(
            {
                row.id: LimitFacts(rate_per_s=row.rate_per_s, burst=row.burst, concurrency=row.concurrency)
                for row in rows.values()
            }
        ),
        by_oid=MappingProxyType({row.organization_oid: row.id for row in rows.values()}),
        by_home_community=MappingProxyType(
            {bare_oid(row.home_community_id): row.id for row in rows.values() if row.home_community_id}
        ),
        by_sender=MappingProxyType(
            {(row.hl7v2_application, row.hl7v2_facility): row.id for row in rows.values() if row.hl7v2_application}
        ),
        client_ids=MappingProxyType({row.id: row.client_id for row in rows.values()}),
        by_thumbprint=MappingProxyType(dict(Certificate.objects.values_list("thumbprint", "participant_id"))),
        authorities=MappingProxyType(authorities),
        endpoints=tuple(
            EndpointFacts(
                participant_id=endpoint.participant_id,
                participant_name=rows[endpoint.participant_id].name,
                participant_type=rows[endpoint.participant_id].type,
                kind=endpoint.kind,
                url=endpoint.url,
                home_community_id=rows[endpoint.participant_id].home_community_id or None,
                repository_unique_id=endpoint.repository_unique_id or None,
                assigning_authority=first_authority.get(endpoint.participant_id),
            )
            for endpoint in Endpoint.objects.order_by("participant_id", "kind", "url")
            if endpoint.participant_id in rows
        ),
    )


def _facts(
    row: Participant, rows: Mapping[str, Participant], agreement: Agreement | None, authority: str | None
) -> ParticipantFacts:
    return ParticipantFacts(
        id=row.id,
        name=row.name,
        part_of=row.part_of_id,
        type=row.type or None,
        jurisdiction=row.jurisdiction or None,
        status=_standing(row, rows),
        agreement=None if agreement is None else _agreement_facts(agreement),
        part2_program=row.part2_program,
        requires_relationship=row.requires_relationship,
        release_policy=tuple(release_rule(rule) for rule in row.release_policy),
        identifiers=tuple(sorted(naming.identifier("", row.organization_oid))),
        organization_oid=row.organization_oid,
        assigning_authority=authority,
        home_community_id=row.home_community_id or None,
        source_trust=row.source_trust,
    )


def _standing(row: Participant, rows: Mapping[str, Participant]) -> str:
    # A suspended hospital takes its departments with it, for everyone who reads `status`.
    seen = {row.id}
    current: Participant | None = row
    while current is not None:
        if current.status != Standing.ACTIVE:
            return current.status
        above = current.part_of_id
        current = rows.get(above) if above and above not in seen else None
        if above:
            seen.add(above)
    return Standing.ACTIVE.value


def standing_if(participant_id: str, status: str) -> dict[str, str]:
    """The standing of an organization and of all below it if its own registration had this one; one statement."""
    rows = {row.id: row for row in Participant.objects.only("id", "status", "part_of")}
    if participant_id not in rows:
        return {}
    rows[participant_id].status = status
    below = {participant_id}
    while more := {row.id for row in rows.values() if row.part_of_id in below} - below:
        below |= more
    return {one: _standing(rows[one], rows) for one in sorted(below)}


def agreement_facts(form: Mapping[str, Any]) -> AgreementFacts:
    """An agreement in the form of a participants file, with its purposes, as a value."""
    return AgreementFacts(
        status=form["status"],
        start=form["period"]["start"],
        end=form["period"].get("end"),
        purposes=tuple(form["purposes"]),
        labels_documents=form["labels_documents"],
        decision_point=form["decision_point"],
        obligations=tuple(form["obligations"]),
    )


def _agreement_facts(row: Agreement) -> AgreementFacts:
    return AgreementFacts(
        status=row.status,
        start=row.start or None,
        end=row.end or None,
        purposes=tuple(row.purposes),
        labels_documents=row.labels_documents,
        decision_point=row.decision_point,
        obligations=tuple(row.obligations),
        version=str(row.version),
    )


def release_rule(rule: Mapping[str, Any]) -> ReleaseRule:
    """A release rule as stored (camelCase, as in a participants file) as a value."""
    return ReleaseRule(
        id=rule["id"],
        absolute=rule.get("absolute", False),
        purposes=tuple(rule.get("purposes", ())),
        recipient_types=tuple(rule.get("recipientTypes", ())),
        recipients=tuple(rule.get("recipients", ())),
        except_recipients=tuple(rule.get("exceptRecipients", ())),
        labels=tuple(rule.get("labels", ())),
        classes=tuple(rule.get("classes", ())),
        codes=tuple(rule.get("codes", ())),
        min_confidentiality=rule.get("minConfidentiality"),
    )


def release_policies(at: datetime) -> dict[str, tuple[int, tuple[ReleaseRule, ...]]]:
    """The version of each organization's release policy in effect, and its rules; those without a version are absent.

    One statement.
    """
    rows = ReleasePolicy.objects.filter(effective_from__lte=at).order_by("version")
    return {row.participant_id: (row.version, tuple(release_rule(rule) for rule in row.rules)) for row in rows}


def next_release_policy(after: datetime) -> datetime | None:
    """When the next version of a release policy comes into effect; one statement."""
    overtaken = ReleasePolicy.objects.filter(
        participant=OuterRef("participant"),
        version__gt=OuterRef("version"),
        effective_from__lte=OuterRef("effective_from"),
    )
    waiting = ReleasePolicy.objects.filter(~Exists(overtaken), effective_from__gt=after)
    found: datetime | None = waiting.aggregate(at=Min("effective_from"))["at"]
    return found


def bare_oid(value: str) -> str:
    """An OID without its ``urn:oid:``."""
    return value.removeprefix("urn:oid:")


_zone_source: Callable[[str], str | None] | None = None
_zones: dict[str, tuple[ZoneInfo, float, Callable[[str], str | None] | None]] = {}


def read_zones_from(source: Callable[[str], str | None]) -> None:
    """Let the owner of jurisdictions say their IANA zone: ``source("JA") -> "America/New_York"``.

    Called once, from an `AppConfig.ready()`. Without it agreement dates are read in UTC.
    """
    global _zone_source
    _zone_source = source


def zone_of(jurisdiction: str) -> ZoneInfo:
    """The time zone of a jurisdiction; UTC where its owner knows none."""
    # Held for a minute: asking the owner costs a statement, and a zone changes once in a generation.
    held = _zones.get(jurisdiction)
    if held is not None and time.monotonic() < held[1] and held[2] is _zone_source:
        return held[0]
    zone = ZoneInfo((_zone_source(jurisdiction) if _zone_source is not None else None) or "UTC")
    _zones[jurisdiction] = (zone, time.monotonic() + 60.0, _zone_source)
    return zone


# The module's questions: each one statement.


def participant(participant_id: str) -> ParticipantFacts | None:
    """One participant now, never a stale one."""
    return snapshot().participant(participant_id)


def participants() -> Mapping[str, ParticipantFacts]:
    """All participants by id."""
    return snapshot().participants


def is_active(facts_or_id: ParticipantFacts | str, now: datetime) -> bool:
    """Whether status and agreement (own or the nearest ancestor's) are active and `now` is in the period."""
    participant_id = facts_or_id if isinstance(facts_or_id, str) else facts_or_id.id
    return snapshot().is_active(participant_id, now)


def authority_owner(oid: str) -> str | None:
    """The participant that issues identifiers under this OID; `HUB` for the hub's own authority."""
    bare = bare_oid(oid)
    if bare == bare_oid(settings.HUB_ASSIGNING_AUTHORITY):
        return HUB
    return snapshot().authorities.get(bare)


def client(client_id: str) -> ClientFacts | None:
    """Keys, scopes and defaults of a client."""
    return snapshot().clients.get(client_id)


def participant_by_client(client_id: str) -> ParticipantFacts | None:
    """The participant that owns this client."""
    directory = snapshot()
    found = directory.clients.get(client_id)
    return directory.participant(found.participant_id) if found else None


def participant_by_oid(oid: str) -> ParticipantFacts | None:
    """The participant of this organization OID, bare or ``urn:oid:``."""
    directory = snapshot()
    return directory.participant(directory.by_oid.get(bare_oid(oid)))


def participant_by_home_community(home_community_id: str) -> ParticipantFacts | None:
    """The community of this home community id, bare or ``urn:oid:``."""
    directory = snapshot()
    return directory.participant(directory.by_home_community.get(bare_oid(home_community_id)))


def participant_by_certificate(thumbprint: str) -> ParticipantFacts | None:
    """The participant whose client certificate has this SHA-256 thumbprint (hex)."""
    directory = snapshot()
    return directory.participant(directory.by_thumbprint.get(thumbprint.replace(":", "").lower()))


def certificates_of(participant_ids: Iterable[str]) -> list[tuple[str, str]]:
    """Participant and PEM of every certificate registered for them, in order; one statement."""
    rows = Certificate.objects.filter(participant_id__in=list(participant_ids)).order_by("participant_id", "pk")
    return list(rows.values_list("participant_id", "pem"))


def hl7v2_sender(application: str, facility: str) -> ParticipantFacts | None:
    """The participant that sends as this MSH-3 (namespace) and MSH-4."""
    directory = snapshot()
    return directory.participant(directory.by_sender.get((application, facility)))


def within(child_id: str, ancestor_id: str) -> bool:
    """Whether `child_id` is `ancestor_id` or stands below it."""
    return snapshot().within(child_id, ancestor_id)


def root_of(participant_id: str) -> str:
    """The topmost ancestor."""
    return snapshot().root_of(participant_id)


def same_organization(participant_id: str) -> tuple[str, ...]:
    """All that have this one's root, itself included; ordered."""
    directory = snapshot()
    root = directory.root_of(participant_id)
    return tuple(sorted({participant_id} | {one for one in directory.participants if directory.root_of(one) == root}))


def endpoints(kind: str = "fhir", *, now: datetime | None = None) -> list[EndpointFacts]:
    """Every address of a kind that a query may ask: its participant active now. Ordered by participant, address."""
    directory = snapshot()
    at = now or timezone.now()
    return [
        endpoint
        for endpoint in directory.endpoints
        if endpoint.kind == kind and directory.is_active(endpoint.participant_id, at)
    ]


def user(participant_id: str, user_id: str) -> UserFacts | None:
    """A person of a participant, or of the organizations above it (nearest first); two statements."""
    line = [facts.id for facts in snapshot().lineage(participant_id)]
    rows = {row.participant_id: row for row in Practitioner.objects.filter(participant_id__in=line, user_id=user_id)}
    row = next((rows[owner] for owner in line if owner in rows), None)
    if row is None:
        return None
    return UserFacts(
        participant_id=row.participant_id, id=row.user_id, name=row.name, role=row.role, purposes=tuple(row.purposes)
    )


def users_named(user_ids: Iterable[str]) -> list[UserFacts]:
    """Every registration of these persons at a participant, in order of participant and person; one statement."""
    wanted = sorted(set(user_ids))
    rows = Practitioner.objects.filter(user_id__in=wanted).order_by("participant_id", "user_id") if wanted else ()
    return [
        UserFacts(
            participant_id=row.participant_id,
            id=row.user_id,
            name=row.name,
            role=row.role,
            purposes=tuple(row.purposes),
        )
        for row in rows
    ]
