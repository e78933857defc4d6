"""Bulk import: a file of one participant's records into the index, set-based.

New records are stored by COPY, compared among themselves and with what the index holds, each pair once
by the same scorer as a single feed, and put together by the same test (`patients.clustering`). Records
that the index knows already go through `feed`. One transaction: an import that breaks off leaves nothing,
and one that is repeated finds everything ``unchanged``.

Source: spec/mpi.md section 3; design.md, Formats, import_patients.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from django.db import connection, transaction
from django.utils import timezone

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.standards.demographics import to_json
from hie.standards.facts import Caller
from patients import blocking, clustering, models_of_match, store
from patients.deciding import PersonScore
from patients.demographics import RecordFeed, authority_of, system_of
from patients.errors import UnusableDemographics, UnusableFile
from patients.linking import MAX_IDENTIFIER, check_repeats, feed
from patients.matching import PROBABLE_BITS, Grade, PairScore
from patients.models import IdentityEvent, ImportRun, ReviewItem
from patients.normalise import Features, features, storable
from patients.reading import Line, read

_KNOWN = f"""
SELECT i.value, l.person_id, CASE WHEN r.status <> 'removed' THEN v.digest END
  FROM patients_patientidentifier i
  JOIN patients_sourcerecord r ON r.id = i.source_record_id
  JOIN patients_link l ON l.source_record_id = r.id AND {store.CURRENT}
  LEFT JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
 WHERE i.authority = %s
"""  # noqa: S608  # constants only
_CHUNK = 2_000
_MAX_REVIEWS = 3
_COPIED = (
    "patients_person", "patients_sourcerecord", "patients_sourcerecordversion", "patients_patientidentifier",
    "patients_link", "patients_blockingkey", "patients_searchterm",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of one line, as the link file says it."""

    identifier: str
    person: uuid.UUID | None = None
    outcome: str = "refused"
    score: float | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """One line of LINKS."""
        out: dict[str, Any] = {
            "identifier": self.identifier,
            "person": str(self.person) if self.person else None,
            "outcome": self.outcome,
            "score": round(self.score, 6) if self.score is not None else None,
        }
        if self.reason:
            out["reason"] = self.reason
        return out


@dataclass(slots=True, kw_only=True)
class _New:
    """A record to be stored: its line, and what becomes of it."""

    line: Line
    features: Features
    outcome: Outcome
    record_id: int = 0
    identifier_pk: int = 0
    person: uuid.UUID | None = None
    best: PairScore | None = None
    reviews: list[PersonScore] = field(default_factory=list)


def import_file(
    path: Path, *, participant_id: str, columns: Mapping[str, Any] | None = None, run: ImportRun | None = None
) -> list[Outcome]:
    """Import a file and give the outcome of every line, in order, when all is settled.

    Raises:
        UnusableFile: the file or its column map is unusable, or the participant is unknown or issues no
            identifiers, or is not active now; nothing was stored.
    """
    facts = directory.participant(participant_id)
    if facts is None:
        raise UnusableFile(f"no participant {participant_id}", element="participant")
    if not facts.assigning_authority:
        raise UnusableFile(f"participant {participant_id} has no assigning authority", element="participant")
    if not directory.is_active(participant_id, timezone.now()):
        raise UnusableFile(f"participant {participant_id} is not active", element="participant")
    run = run or ImportRun.objects.create(participant_id=participant_id)
    try:
        with transaction.atomic():
            outcomes = _Import(participant_id, authority_of(facts.assigning_authority)).settle(
                read(path, authority=authority_of(facts.assigning_authority), columns=columns)
            )
            counts = Counter(item.outcome for item in outcomes)
            ImportRun.objects.filter(pk=run.pk).update(
                status=ImportRun.Status.DONE,
                read=len(outcomes),
                new=counts["new"],
                linked=counts["linked"],
                review=counts["review"] + counts["quarantined"],
                updated=counts["updated"],
                refused=counts["refused"],
                finished_at=timezone.now(),
            )
            _record(run, counts)
    except BaseException as error:
        ImportRun.objects.filter(pk=run.pk).update(
            status=ImportRun.Status.FAILED, message=error.__class__.__name__, finished_at=timezone.now()
        )
        raise
    return outcomes


def write_links(outcomes: Sequence[Outcome], out: IO[str]) -> None:
    """The link file: one JSON object a line, in the order of the input."""
    for item in outcomes:
        out.write(json.dumps(item.to_json(), ensure_ascii=False) + "\n")


def _record(run: ImportRun, counts: Mapping[str, int]) -> None:
    # One event a run: what came of each record stands in the index's own events.
    caller = Caller(
        participant_id=run.participant_id,
        organization_id=run.participant_id,
        client_id=run.participant_id,
        user_id=f"Device/{run.participant_id}",
        user_name="",
        role=None,
        purpose=None,
        face="import",
    )
    detail = {"run": str(run.pk), **{name: counts[name] for name in sorted(counts)}}
    recorder.write([recorder.EventDraft(kind=EventType.PATIENT_IMPORT, caller=caller, detail=detail)])


class _Import:
    """One import inside its transaction."""

    def __init__(self, participant_id: str, authority: str) -> None:
        self.participant_id = participant_id
        self.authority = authority
        self.now = timezone.now()
        self.places = directory.snapshot()

    def settle(self, lines: Iterator[Line]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        new: list[_New] = []
        again: list[tuple[Line, Outcome]] = []
        seen: set[str] = set()
        store.lock_bulk()
        # One look-up for the whole file would hold its identifiers twice: the participant's own are few columns.
        known = self._known()
        for line in lines:
            outcome = Outcome(identifier=f"{system_of(self.authority)}|{line.value}" if line.value else "")
            outcomes.append(outcome)
            reason = line.reason or _unstorable(line) or self._stolen(line)
            if reason:
                outcome.identifier = outcome.identifier if line.reason else ""
                outcome.reason = f"line {line.number}: {reason}"
            elif line.value in known or line.value in seen:
                again.append((line, outcome))
            else:
                seen.add(line.value)
                cleaned = features(line.demographics, own=(self.authority, line.value))
                new.append(_New(line=line, features=cleaned, outcome=outcome))
        if new:
            self._link(new)
            self._store(new)
        for line, outcome in again:
            self._feed(line, outcome, known.get(line.value) if line.value not in seen else None)
        return outcomes

    def _known(self) -> dict[str, tuple[uuid.UUID, bytes]]:
        """The participant's records by identifier: person, and digest of what is current (empty: none or not in use)."""
        with connection.cursor() as cursor:
            cursor.execute(_KNOWN, [self.authority])
            return {value: (person, bytes(digest or b"")) for value, person, digest in cursor.fetchall()}

    def _stolen(self, line: Line) -> str:
        """Why the line may not name an identifier that another participant issues: it would be evidence of being his."""
        for item in line.demographics.identifiers:
            issuer = self.places.authorities.get(item.authority) if item.system else None
            if issuer is None or item.authority == self.authority:
                continue
            near = self.places.within(issuer, self.participant_id) or self.places.within(self.participant_id, issuer)
            if not near:
                return f"Patient.identifier: identifiers of {item.authority} may only be fed by who issues them"
        return ""

    def _feed(self, line: Line, outcome: Outcome, known: tuple[uuid.UUID, bytes] | None) -> None:
        if known is not None and known[1] and store.digest(to_json(line.demographics)) == known[1]:
            outcome.person, outcome.outcome = known[0], "unchanged"
            return
        result = feed(
            RecordFeed(
                participant_id=self.participant_id,
                authority=self.authority,
                value=line.value,
                demographics=line.demographics,
                actor=self.participant_id,
                source="import",
            ),
            alone=True,
        )
        outcome.person, outcome.outcome = result.person_id, result.outcome
        outcome.score, outcome.reason = result.score, "" if result.outcome == "unchanged" else result.reason

    def _link(self, new: list[_New]) -> None:
        """Find each new record's person: clusters of new and known records by automatic links."""
        known = store.near_many([item.features for item in new])
        every = [item.features for item in new] + [item.features for item in known]
        persons = [None] * len(new) + [item.person_id for item in known]
        # Pairs of two known records were judged when they came; only pairs with a new record are scored.
        pairs = [(a, b) for a, b in blocking.pairs(every) if a < len(new)]
        scorer = models_of_match.for_population(every, pairs)
        self.scorer = scorer
        scored: dict[tuple[int, int], PairScore] = {}
        for a, b in pairs:
            verdict = scorer.score(every[a], every[b])
            if verdict.score >= PROBABLE_BITS:
                scored[(a, b)] = verdict
        links = [(a, b, verdict.score) for (a, b), verdict in scored.items() if verdict.automatic]
        by_person: dict[uuid.UUID, list[int]] = defaultdict(list)
        for position in range(len(new), len(every)):
            by_person[persons[position]].append(position)  # type: ignore[index]  # known records have a person
        for positions in by_person.values():
            # What is one person already stays one: its records hold together whatever their own score.
            links += [(positions[0], position, 12.0) for position in positions[1:]]
        together = {
            (a, b) for positions in by_person.values() for n, a in enumerate(positions) for b in positions[n + 1 :]
        }
        clusters = clustering.cluster(
            len(every),
            links,
            lambda a, b: 12.0 if (a, b) in together else scorer.score(every[a], every[b]).clustering,
            test=clustering.AUTOMATIC,
        )
        for members in clusters:
            self._settle_cluster(members, new, persons, scored)
        for item in new:
            if item.person is None:
                item.person = uuid.uuid4()
        owner = [item.person for item in new] + persons[len(new) :]
        self._reviews(new, owner, known, scored)

    def _settle_cluster(
        self,
        members: list[int],
        new: list[_New],
        persons: Sequence[uuid.UUID | None],
        scored: Mapping[tuple[int, int], PairScore],
    ) -> None:
        # Persons that the index keeps apart are not joined here: the one with most records near takes the new ones.
        standing = Counter(person for position in members if (person := persons[position]) is not None)
        person = min(standing, key=lambda found: (-standing[found], str(found))) if standing else uuid.uuid4()
        for n, position in enumerate(members):
            if position >= len(new):
                continue
            item = new[position]
            item.person = person
            if not standing and n == 0:
                continue  # the first record of a new person
            verdicts = [
                verdict
                for other in members
                if other != position and (verdict := scored.get((min(position, other), max(position, other))))
            ]
            item.best = max(verdicts, key=lambda verdict: (verdict.automatic, verdict.score), default=None)
            item.outcome.outcome = "linked"

    def _reviews(
        self,
        new: list[_New],
        owner: Sequence[uuid.UUID | None],
        known: Sequence[store.CandidateRecord],
        scored: Mapping[tuple[int, int], PairScore],
    ) -> None:
        best: dict[tuple[int, uuid.UUID], tuple[PairScore, int]] = {}
        for (a, b), verdict in scored.items():
            other = owner[b]
            if owner[a] == other or other is None:
                continue
            # Between two new records the later one asks about the earlier one's person.
            asking, about, person = (a, b, other) if b >= len(new) else (b, a, owner[a])
            if person is not None:
                key = (asking, person)
                if key not in best or verdict.score > best[key][0].score:
                    best[key] = (verdict, about)
        found: dict[int, list[PersonScore]] = defaultdict(list)
        for (asking, person), (verdict, about) in best.items():
            grade = Grade.PROBABLE if not verdict.vetoed else Grade.POSSIBLE
            record_id = known[about - len(new)].record_id if about >= len(new) else about
            found[asking].append(
                PersonScore(
                    person_id=person, record_id=record_id, best=verdict, mean=verdict.clustering, grade=grade,
                    needs_review=True,
                )
            )  # fmt: skip
        for asking, items in found.items():
            items.sort(key=lambda item: (-item.bits, -item.best.score, item.record_id))
            new[asking].reviews = items[:_MAX_REVIEWS]

    def _store(self, new: list[_New]) -> None:
        taken = _next_ids("patients_sourcerecord", len(new))
        identifiers = _next_ids("patients_patientidentifier", len(new))
        versions = _next_ids("patients_sourcerecordversion", len(new))
        for item, record_id, identifier_pk in zip(new, taken, identifiers, strict=True):
            item.record_id, item.identifier_pk = record_id, identifier_pk
        existing = self._existing([item.person for item in new if item.person])
        created = dict.fromkeys(item.person for item in new if item.person not in existing)
        now = self.now
        _copy("patients_person", ("id", "golden", "created_at", "updated_at"),
              ((person, "{}", now, now) for person in created))  # fmt: skip
        _copy("patients_sourcerecord", ("id", "participant_id", "status", "created_at", "updated_at"),
              ((item.record_id, self.participant_id, "active", now, now) for item in new))  # fmt: skip
        _copy("patients_sourcerecordversion",
              ("id", "source_record_id", "version", "raw", "normalised", "digest", "quarantined", "source", "actor",
               "received_at"), self._version_rows(new, versions))  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE patients_sourcerecord r SET current_version_id = w.v"
                " FROM unnest(%s::bigint[], %s::bigint[]) AS w(r, v) WHERE r.id = w.r",
                [taken, versions],
            )
        _copy("patients_patientidentifier", ("id", "authority", "value", "source_record_id", "created_at"),
              ((item.identifier_pk, self.authority, item.line.value, item.record_id, now) for item in new))  # fmt: skip
        _copy("patients_link",
              ("source_record_id", "person_id", "kind", "model_version", "score", "weights", "reason", "valid_from"),
              self._link_rows(new))  # fmt: skip
        _copy("patients_identityevent",
              ("id", "kind", "person_id", "source_record_id", "actor", "reason", "detail", "at"),
              self._event_rows(new, set(created)))  # fmt: skip
        _copy("patients_blockingkey", ("key", "record_id"),
              ((key, item.record_id) for item in new for key in blocking.hashes(item.features)))  # fmt: skip
        _copy("patients_searchterm", ("field", "term", "record_id"),
              ((*term, item.record_id) for item in new for term in store.terms(item.line.demographics)))  # fmt: skip
        self._store_reviews(new)
        if len(new) >= _CHUNK // 4:
            # The planner knows nothing yet of what was copied in, and would read whole tables for each person.
            with connection.cursor() as cursor:
                cursor.execute(f"ANALYZE {', '.join(_COPIED)}")
        everyone = list(dict.fromkeys(item.person for item in new if item.person))
        for start in range(0, len(everyone), _CHUNK):
            store.refresh_golden(everyone[start : start + _CHUNK])
        for item in new:
            self._conclude(item)

    def _existing(self, persons: list[uuid.UUID]) -> set[uuid.UUID]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM patients_person WHERE id = ANY(%s)", [persons])
            return {row[0] for row in cursor.fetchall()}

    def _version_rows(self, new: list[_New], versions: list[int]) -> Iterator[tuple[Any, ...]]:
        for item, version in zip(new, versions, strict=True):
            raw = to_json(item.line.demographics)
            yield (
                version, item.record_id, 1, json.dumps(raw), json.dumps(item.features.to_json()), store.digest(raw), False,
                "import", self.participant_id, self.now,
            )  # fmt: skip

    def _link_rows(self, new: list[_New]) -> Iterator[tuple[Any, ...]]:
        version = self.scorer.model.version
        for item in new:
            best = item.best
            yield (
                item.record_id, item.person, "auto", version, best.score if best else None,
                json.dumps(dict(best.weights) if best else {}), _reason(item), self.now,
            )  # fmt: skip

    def _event_rows(self, new: list[_New], created: set[uuid.UUID | None]) -> Iterator[tuple[Any, ...]]:
        for item in new:
            first = item.person in created
            created.discard(item.person)
            kind = IdentityEvent.Kind.CREATED if first else IdentityEvent.Kind.LINKED
            yield (
                uuid.uuid4(), str(kind), item.person, item.record_id, self.participant_id, _reason(item), "{}", self.now,
            )  # fmt: skip

    def _store_reviews(self, new: list[_New]) -> None:
        ReviewItem.objects.bulk_create(
            [
                ReviewItem(
                    kind=ReviewItem.Kind.POSSIBLE_MATCH,
                    source_record_id=item.record_id,
                    person_id=item.person,
                    candidate_id=found.person_id,
                    score=found.best.score,
                    probability=found.probability,
                    weights=dict(found.best.weights),
                    reason="; ".join(found.best.reasons),
                )
                for item in new
                if item.person is not None
                for found in item.reviews
            ],
            batch_size=1000,
            ignore_conflicts=True,
        )

    def _conclude(self, item: _New) -> None:
        outcome = item.outcome
        outcome.person = item.person
        if outcome.outcome == "linked":
            outcome.score = item.best.probability if item.best else None
            outcome.reason = _reason(item)
        elif item.reviews:
            outcome.outcome = "review"
            outcome.score = item.reviews[0].probability
            outcome.reason = "; ".join(item.reviews[0].best.reasons)
        else:
            outcome.outcome = "new"


def _unstorable(line: Line) -> str:
    if len(line.value) > MAX_IDENTIFIER // 2 or not storable(line.value):
        return "the identifier is too long or no text"
    try:
        check_repeats(line.demographics)
        store.digest(to_json(line.demographics))
    except UnusableDemographics as error:
        return str(error)
    return ""


def _reason(item: _New) -> str:
    if item.outcome.outcome != "linked":
        return "a new person"
    return "; ".join(item.best.reasons) if item.best else "linked with records that are linked to it"


def _next_ids(table: str, count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id')) FROM generate_series(1, %s)", [table, count])
        return [row[0] for row in cursor.fetchall()]


def _copy(table: str, columns: Sequence[str], rows: Iterator[tuple[Any, ...]]) -> None:
    # Django's wrapper hands `copy` through to psycopg; names are constants of this module.
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
