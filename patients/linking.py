"""From a message to an identity: `feed`, and the changes of identity somebody asks for.

A feed costs a constant number of statements. Registrations that arrive at once are put in order by
advisory locks on the record and on every strong key (identifiers, phone, e-mail, birth date, names),
so that twenty registrations of one new person make one person. Locks are taken in one order: the index (shared
by feeds, whole for a change somebody asks for), advisory locks ascending, then persons ascending.

Source: spec/mpi.md sections 2 and 3; IHE ITI-104; HL7 v2 ADT.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from uuid import UUID, uuid4

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from hie.database import prepared
from patients import blocking, store
from patients.changes import (
    link,
    lock_persons,
    merge,
    merge_of,
    remove,
    replacement_of,
    resolve_duplicate,
    split,
    undo,
    unlink,
    unmerge,
)
from patients.deciding import AUTOMATIC_MEAN, PROBABLE_MEAN, PersonScore, is_overlay, of_versions, person_scores
from patients.demographics import Demographics, FeedResult, RecordFeed, authority_of, to_json
from patients.errors import IdentifierNotOwned, MissingIdentifier, UnknownPatient, UnusableDemographics
from patients.identifiers import survivor
from patients.matching import Grade, Scorer
from patients.models import (
    IdentityEvent,
    Link,
    MatchDecision,
    Person,
    ReviewItem,
    SourceRecord,
    SourceRecordVersion,
)
from patients.normalise import Features, features, storable

__all__ = [
    "AUTOMATIC_MEAN",
    "PROBABLE_MEAN",
    "feed",
    "joined_at",
    "link",
    "merge",
    "merge_of",
    "note_said",
    "remove",
    "replacement_of",
    "resolve_duplicate",
    "said_at",
    "split",
    "undo",
    "unlink",
    "unmerge",
]

_MAX_REVIEWS = 3
MAX_IDENTIFIER = 1_000
"""Characters of authority and value together: more is no identifier, and no index can hold it."""
MAX_REPEATS = 200
"""Names, addresses, telecoms, identifiers of one record: more is no patient's, and every later read would pay for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    record_id: int
    participant_id: str
    status: str
    identifier_pk: int
    person_id: UUID
    link_kind: str
    version: int
    last_version: int
    digest: bytes
    features: Features
    quarantined_digest: bytes | None


_KNOWN = f"""
SELECT r.id, r.participant_id, r.status, i.id, l.person_id, l.kind, v.version, last.version, v.digest, v.normalised,
       CASE WHEN last.quarantined THEN last.digest END
  FROM patients_patientidentifier i
  JOIN patients_sourcerecord r ON r.id = i.source_record_id
  JOIN patients_link l ON l.source_record_id = r.id AND {store.CURRENT}
  LEFT JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
  LEFT JOIN LATERAL (SELECT * FROM patients_sourcerecordversion x WHERE x.source_record_id = r.id
                     ORDER BY x.version DESC LIMIT 1) last ON true
 WHERE i.authority = %s AND i.value = %s
"""  # noqa: S608  # constants only


def _known(authority: str, value: str) -> _Known | None:
    with prepared() as cursor:
        cursor.execute(_KNOWN, [authority, value])
        row = cursor.fetchone()
    if row is None:
        return None
    return _Known(
        record_id=row[0],
        participant_id=row[1],
        status=row[2],
        identifier_pk=row[3],
        person_id=row[4],
        link_kind=row[5],
        version=row[6] or 0,
        last_version=row[7] or 0,
        digest=bytes(row[8] or b""),
        features=Features.read(row[9]) if row[9] is not None else Features(),
        quarantined_digest=bytes(row[10]) if row[10] is not None else None,
    )


def feed(record: RecordFeed, *, alone: bool = False) -> FeedResult:
    """Take one organization's record of a patient: add it, or revise it in full; then find its person.

    The same message again changes nothing (``unchanged``). A revision that describes somebody else is kept
    aside as a suspected overlay (``quarantined``): the former version and link stay, a review item opens.
    A removed record that is fed again is active again; one that its organization has replaced by another
    keeps its new version but stays replaced. `alone`: the caller holds the whole index (`store.lock_index`), so
    that nothing more is locked: the locks of a large file would not fit into the server's table.

    Raises:
        MissingIdentifier: no authority or no value.
        IdentifierNotOwned: the identifier belongs to a record of another participant.
        UnusableDemographics: something in it cannot be stored.
    """
    authority, value = authority_of(record.authority), record.value.strip()
    if not authority or not value:
        raise MissingIdentifier
    if len(authority) + len(value) > MAX_IDENTIFIER or not storable(authority + value):
        raise UnusableDemographics("the identifier is too long or no text", element="Patient.identifier")
    check_repeats(record.demographics)
    normalised = features(record.demographics, own=(authority, value))
    raw = to_json(record.demographics)
    digest = store.digest(raw)
    # Without a savepoint: what raises in here ends the caller's transaction too, but for an import's, which goes on.
    with transaction.atomic(savepoint=alone):
        if not alone:
            store.lock([blocking.digest(f"record/{authority}|{value}"), *blocking.strong_hashes(normalised)])
        known = _known(authority, value)
        feeding = _Feed(record, authority, value, normalised, raw, digest)
        if known is None:
            return feeding.add()
        if known.participant_id == record.participant_id:
            if known.status != "removed" and digest == known.digest:
                return _result(known, outcome="unchanged", reason="the same as the current version")
            if digest == known.quarantined_digest:
                return _result(known, outcome="quarantined", reason="the same as the version kept aside")
            return feeding.revise(known)
    raise IdentifierNotOwned


def said_at(source_record_id: int) -> datetime | None:
    """The time that the newest message about a record bears; None where none was noted. 1 query."""
    return SourceRecord.objects.filter(pk=source_record_id).values_list("said_at", flat=True).first()


def joined_at(source_record_id: int) -> datetime | None:
    """The time that the newest message bears that joined a record to another or parted it from one, as `said_at`."""
    return SourceRecord.objects.filter(pk=source_record_id).values_list("joined_at", flat=True).first()


def note_said(source_record_ids: Collection[int], at: datetime, *, joining: bool = False) -> None:
    """Note the time that a message about records bears, where it is newer than what was noted. 1 query.

    `joining`: it says whom they belong to, not what they are like.
    """
    name = "joined_at" if joining else "said_at"
    older = Q(**{f"{name}__isnull": True}) | Q(**{f"{name}__lt": at})
    SourceRecord.objects.filter(older, pk__in=source_record_ids).update(**{name: at})


def check_repeats(demographics: Demographics) -> None:
    """Refuse what holds more of one kind than a patient has.

    Raises:
        UnusableDemographics: more than `MAX_REPEATS` names, addresses, telecoms or identifiers.
    """
    for element, held in (
        ("name", demographics.names),
        ("address", demographics.addresses),
        ("telecom", demographics.telecoms),
        ("identifier", demographics.identifiers),
    ):
        if len(held) > MAX_REPEATS:
            raise UnusableDemographics(f"more than {MAX_REPEATS} of {element}", element=f"Patient.{element}")


def _result(
    known: _Known, *, outcome: str, reason: str, version: int | None = None, person_id: UUID | None = None,
    score: float | None = None,
) -> FeedResult:  # fmt: skip
    return FeedResult(
        created=False,
        version=version or known.version,
        person_id=person_id or known.person_id,
        outcome=outcome,
        score=score,
        reason=reason,
        identifier_pk=known.identifier_pk,
        source_record_id=known.record_id,
    )


def lock_person(person_id: UUID) -> Person:
    """The person, locked; the survivor where a merge came between."""
    person = Person.objects.select_for_update().filter(pk=person_id).first()
    if person is not None and person.merged_into_id is not None:
        now = survivor(person_id)
        person = Person.objects.select_for_update().filter(pk=now).first() if now else None
    if person is None:
        raise UnknownPatient
    return person


def why(found: PersonScore) -> str:
    """The decision on a person in one line: grade, score, and each reason."""
    return f"{found.grade} ({found.best.score:+.1f} bits): " + "; ".join(found.best.reasons)


class _Feed:
    """One feed under its locks."""

    def __init__(
        self,
        record: RecordFeed,
        authority: str,
        value: str,
        normalised: Features,
        raw: dict[str, object],
        digest: bytes,
    ) -> None:
        self.record = record
        self.authority = authority
        self.value = value
        self.features = normalised
        self.raw = raw
        self.digest = digest

    @cached_property
    def scorer(self) -> Scorer:
        """That of the active model, under the feed's locks."""
        return store.scorer()

    def add(self) -> FeedResult:
        near, self.scorer, ids = store.near_new(self.features)
        found = self._scores(near)
        certain = found[0] if found and found[0].grade is Grade.CERTAIN else None
        person_id = lock_person(certain.person_id).id if certain else uuid4()
        reason = why(certain) if certain else ""
        store.add_record(
            ids,
            store.NewRecord(
                record=self.record,
                authority=self.authority,
                value=self.value,
                features=self.features,
                raw=self.raw,
                digest=self.digest,
                person_id=person_id,
                created=certain is None,
                model_version=self.scorer.model.version,
                score=certain.best.score if certain else None,
                weights=certain.best.weights if certain else {},
                reason=reason or "a new person",
            ),
        )
        reviews = self._review(ids.record, person_id, found[1:] if certain else found, new=certain is None)
        if certain:
            store.refresh_golden([person_id])
        outcome = "linked" if certain else "review" if reviews else "new"
        shown = certain or (reviews[0] if reviews else None)
        return FeedResult(
            created=True,
            version=1,
            person_id=person_id,
            outcome=outcome,
            score=shown.probability if shown else None,
            reason=why(shown) if shown else "no known person comes near",
            identifier_pk=ids.identifier,
            source_record_id=ids.record,
        )

    def revise(self, known: _Known) -> FeedResult:
        number = known.last_version + 1
        if known.version and known.status == "active" and is_overlay(self.scorer, known.features, self.features):
            return self._quarantine(known, lock_person(known.person_id), number)
        if known.status == "replaced":
            person = lock_person(known.person_id)
            self._write_version(known.record_id, number, active=False)
            store.refresh_golden([person.id])  # where nothing else says who this is, the replaced record still does
            return _result(known, outcome="updated", version=number, reason="the record is replaced by another")
        found = [] if known.link_kind == Link.Kind.MANUAL else self._elsewhere(known)
        person = self._lock(known, found)
        self._write_version(known.record_id, number)
        outcome, person_id, shown, reason = self._reconsider(known, person, found)
        IdentityEvent.objects.create(
            kind=IdentityEvent.Kind.REVISED,
            person_id=person_id,
            source_record_id=known.record_id,
            actor=self.record.actor,
            reason=reason,
            detail={"version": number},
        )
        store.refresh_golden([person_id])
        score = shown.probability if shown else None
        return _result(known, outcome=outcome, version=number, person_id=person_id, score=score, reason=reason)

    def _elsewhere(self, known: _Known) -> list[PersonScore]:
        """Other persons that the revised record may belong to."""
        near, _ = store.near(self.features, record_id=known.record_id)
        return self._scores([item for item in near if item.person_id != known.person_id], _different(known.record_id))

    def _lock(self, known: _Known, found: list[PersonScore]) -> Person:
        """The record's person, and whom it may join: at once and in one order, for two feeds may want each other's."""
        first = found[0] if found and found[0].grade is Grade.CERTAIN else None
        if first is None:
            return lock_person(known.person_id)
        persons = lock_persons([known.person_id, first.person_id])
        if persons[first.person_id].merged_into_id is not None:
            found[:] = self._elsewhere(known)  # another feed was quicker: what is certain now waits for a steward
            found[:] = [replace(item, grade=Grade.PROBABLE) if item.grade is Grade.CERTAIN else item for item in found]
        return persons[known.person_id]

    def _scores(self, near: list[store.CandidateRecord], different: Collection[int] = ()) -> list[PersonScore]:
        return person_scores(
            self.scorer,
            self.features,
            [(item.record_id, item.person_id, item.features) for item in near],
            different=different,
            by_hand=store.by_hand(near),
        )

    def _write_version(self, record_id: int, number: int, *, active: bool = True) -> None:
        version = SourceRecordVersion.objects.create(
            source_record_id=record_id,
            version=number,
            raw=self.raw,
            normalised=self.features.to_json(),
            digest=self.digest,
            source=self.record.source,
            actor=self.record.actor,
        )
        changes: dict[str, object] = {"current_version": version, "updated_at": timezone.now()}
        if active:
            changes["status"] = "active"
        SourceRecord.objects.filter(pk=record_id).update(**changes)
        if active:
            store.write_keys(record_id, self.features)
            store.write_terms(record_id, self.record.demographics)

    def _quarantine(self, known: _Known, person: Person, number: int) -> FeedResult:
        version = SourceRecordVersion.objects.create(
            source_record_id=known.record_id,
            version=number,
            raw=self.raw,
            normalised=self.features.to_json(),
            digest=self.digest,
            quarantined=True,
            source=self.record.source,
            actor=self.record.actor,
        )
        reason = "suspected overlay: the revision describes another person (names, birth date and sex together)"
        pair = of_versions(self.scorer, known.features, self.features)
        ReviewItem.objects.create(
            kind=ReviewItem.Kind.OVERLAY,
            source_record_id=known.record_id,
            version=version,
            person=person,
            score=pair.score,
            probability=pair.probability,
            weights=dict(pair.weights),
            reason=reason + ": " + "; ".join(pair.reasons),
        )
        IdentityEvent.objects.create(
            kind=IdentityEvent.Kind.OVERLAY_SUSPECTED,
            person=person,
            source_record_id=known.record_id,
            actor=self.record.actor,
            reason=reason,
            detail={"version": number},
        )
        return _result(known, outcome="quarantined", reason=reason, score=pair.probability)

    def _reconsider(
        self, known: _Known, person: Person, found: list[PersonScore]
    ) -> tuple[str, UUID, PersonScore | None, str]:
        """Whether the revised record still belongs where it is, or now belongs to another person too (`found`)."""
        if known.link_kind == Link.Kind.MANUAL:
            return "updated", person.id, None, "linked by hand: stays"
        members = _members(person.id, known.record_id)
        if members:
            own = self._scores(members)
            if not own or own[0].mean < PROBABLE_MEAN:
                reason = "the revision no longer supports the link" + (f": {why(own[0])}" if own else "")
                ReviewItem.objects.create(
                    kind=ReviewItem.Kind.DOUBTFUL_LINK,
                    source_record_id=known.record_id,
                    person=person,
                    score=own[0].best.score if own else None,
                    probability=own[0].probability if own else 0.0,
                    weights=dict(own[0].best.weights) if own else {},
                    reason=reason,
                )
                return "updated", person.id, own[0] if own else None, reason
        if found and found[0].grade is Grade.CERTAIN and not members:
            # Alone so far: its whole person, with all that hangs on it, joins the other.
            merge(found[0].person_id, person.id, actor=self.record.actor, reason=why(found[0]), automatic=True)
            return "linked", found[0].person_id, found[0], why(found[0])
        reviews = self._review(known.record_id, person.id, found)
        shown = reviews[0] if reviews else None
        return "updated", person.id, shown, "revised" + (f"; to review: {why(shown)}" if shown else "")

    def _review(
        self, record_id: int, person_id: UUID, found: list[PersonScore], *, new: bool = False
    ) -> list[PersonScore]:
        """Ask about each of these persons, unless it was asked or answered already. At most 2 statements."""
        wanted = [item for item in found if item.needs_review][:_MAX_REVIEWS]
        if wanted and not new:
            done = store.asked_or_apart([(person_id, item.person_id) for item in wanted])
            wanted = [item for item in wanted if (person_id, item.person_id) not in done]
        if not wanted:
            return []
        ReviewItem.objects.bulk_create(
            [
                ReviewItem(
                    kind=ReviewItem.Kind.POSSIBLE_MATCH,
                    source_record_id=record_id,
                    person_id=person_id,
                    candidate_id=item.person_id,
                    score=item.best.score,
                    probability=item.probability,
                    weights=dict(item.best.weights),
                    reason=why(item),
                )
                for item in wanted
            ],
            ignore_conflicts=True,  # one open item for a record and a candidate is enough
        )
        return wanted


def _different(record_id: int) -> set[int]:
    rows = MatchDecision.objects.filter(
        Q(record_a=record_id) | Q(record_b=record_id), verdict="different", withdrawn_at__isnull=True
    ).values_list("record_a_id", "record_b_id")
    return {a if b == record_id else b for a, b in rows}


def _members(person_id: UUID, without: int) -> list[store.CandidateRecord]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT r.id, v.normalised, {store.HAND} FROM patients_link l JOIN patients_sourcerecord r ON r.id = l.source_record_id"  # noqa: S608  # constants only
            f" AND r.status = 'active' JOIN patients_sourcerecordversion v ON v.id = r.current_version_id"
            f" WHERE l.person_id = %s AND {store.CURRENT} AND r.id <> %s ORDER BY r.id",
            [person_id, without],
        )
        return [
            store.CandidateRecord(
                record_id=row[0],
                person_id=person_id,
                features=Features.read(row[1]),
                by_hand=row[2],
            )
            for row in cursor.fetchall()
        ]
