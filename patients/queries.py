"""Reads of the index for the exchange. Each function says how many statements it costs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from hie.directory import queries as directory
from hie.standards.facts import SubjectFacts
from patients import golden as survivorship
from patients import store
from patients.deciding import person_scores
from patients.demographics import (
    Candidate,
    DateMatch,
    Demographics,
    PatientQuery,
    SourceRecordView,
    StringMatch,
    authority_of,
)
from patients.identifiers import HUB
from patients.matching import PairScore
from patients.models import IdentityEvent
from patients.normalise import Features, features, fold, phone_digits, storable

_MAX_CANDIDATES = 50


def source_records(person_id: UUID | str) -> list[SourceRecordView]:
    """The records that belong to a person now, by authority and value; inactive ones and anchors too. 1 query."""
    wanted = _uuid(person_id)
    return store.views([wanted]).get(wanted, []) if wanted else []


def source_records_of(person_ids: Iterable[UUID | str]) -> dict[UUID, list[SourceRecordView]]:
    """As `source_records`, for several persons. 1 query."""
    wanted = [found for found in map(_uuid, person_ids) if found]
    return store.views(wanted) if wanted else {}


def source_record(authority: str, value: str) -> SourceRecordView | None:
    """The record that an identifier names, or None. 1 query."""
    return store.view(authority_of(authority), value) if storable(authority + value) else None


def golden(records: Iterable[SourceRecordView], *, about: Iterable[SourceRecordView] = ()) -> Demographics:
    """The surviving demographics of the given records only: what a caller who may see just these is shown. No query.

    `about` are all records of the person. Of what a steward set by hand there, that counts which rests on records that
    are all among the given: what was set in sight of a hidden record is hidden with it.
    """
    shown = [record for record in records if record.participant_id != HUB]
    return survivorship.survive([*shown, *borne_out(shown, about)]).demographics


def borne_out(shown: Iterable[SourceRecordView], about: Iterable[SourceRecordView]) -> list[SourceRecordView]:
    """The anchors among `about` that say something by hand, with what rests on records that are all `shown`. No query."""
    seen = {record.source_record_id for record in shown}
    anchors = (
        replace(anchor, by_hand=tuple(item for item in anchor.by_hand if item.rests_on <= seen))
        for anchor in about
        if anchor.by_hand
    )
    return [anchor for anchor in anchors if anchor.by_hand]


def candidates(demographics: Demographics, *, limit: int = _MAX_CANDIDATES) -> list[Candidate]:
    """Persons who may be the one described, most likely first, at most `limit`. 2 queries.

    Grades: ``certain`` would be linked automatically; ``probable`` at even odds or better; ``possible`` below,
    and at most that where the twin or junior rule speaks. Whoever is certainly not is left out.
    """
    described = features(demographics)
    near = store.near(described)
    found = person_scores(
        store.scorer(),
        described,
        [(item.record_id, item.person_id, item.features) for item in near],
        by_hand=store.by_hand(near),
    )
    return [
        Candidate(
            person_id=item.person_id,
            score=round(item.bits, 3),
            probability=item.probability,
            grade=str(item.grade),
            weights=dict(item.best.weights),
            reasons=item.best.reasons,
        )
        for item in found[:limit]
    ]


def compared(one: Features, others: Iterable[Features]) -> list[PairScore]:
    """How today's model compares a record with each of the others. 1 query, one more where the model has changed."""
    scorer = store.scorer()
    return [scorer.score(one, other) for other in others]


def subject_facts(person_id: UUID | str) -> SubjectFacts | None:
    """The person as consent sees it, or None when unknown; a merged id gives its survivor. 5 queries at most.

    The jurisdiction is that of the participant of the earliest active record (its own or the nearest
    ancestor's), else the hub's. `linked` are all ids that became this person by merge.
    """
    wanted = _uuid(person_id)
    found = known_persons([wanted]) if wanted else {}
    return found[wanted].facts if wanted in found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPerson:
    """A person as consent sees it, with its records and the row ids of its identifiers, all read together."""

    facts: SubjectFacts
    records: tuple[SourceRecordView, ...]
    identifier_pks: tuple[int, ...]


def known_persons(person_ids: Iterable[UUID]) -> dict[UUID, KnownPerson]:
    """Several persons by the id asked for: a merged one gives its survivor, an unknown one is absent.

    2 queries whatever the number.
    """
    read = store.as_read(person_ids)
    places = directory.snapshot()
    known: dict[UUID, KnownPerson] = {}
    for person in read.values():
        if person.id in known:
            continue
        fed = [record for record in person.records if record.participant_id != HUB]
        shown = golden(fed, about=person.records)
        known[person.id] = KnownPerson(
            facts=SubjectFacts(
                id=str(person.id),
                birth_date=shown.birth_date or None,
                jurisdiction=_jurisdiction(fed, places),
                linked=frozenset(map(str, person.linked)),
                deceased=shown.deceased not in (None, False),
            ),
            records=tuple(person.records),
            identifier_pks=person.identifier_pks,
        )
    return {asked: known[person.id] for asked, person in read.items()}


def _jurisdiction(records: Sequence[SourceRecordView], places: directory.Directory) -> str:
    active = sorted((r for r in records if r.active), key=lambda r: (r.created_at, r.source_record_id))
    for record in active[:1]:
        for facts in places.lineage(record.participant_id):
            if facts.jurisdiction:
                return facts.jurisdiction
    return str(settings.HUB_JURISDICTION)


def events(person_id: UUID | str, *, limit: int = 500) -> list[IdentityEvent]:
    """What happened to a person's identity, newest first. 1 query."""
    wanted = _uuid(person_id)
    if wanted is None:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT seq FROM patients_identityevent WHERE person_id = %s OR other_person_id = %s"
            " ORDER BY seq DESC LIMIT %s",
            [wanted, wanted, limit],
        )
        seqs = [row[0] for row in cursor.fetchall()]
    return list(IdentityEvent.objects.filter(seq__in=seqs).order_by("-seq"))


class _Search:
    """A PDQm search as one statement: an EXISTS per parameter over the person's active records."""

    def __init__(self) -> None:
        self.where: list[str] = []
        self.values: list[Any] = []

    def term(self, fields: Sequence[str], wanted: StringMatch) -> None:
        """Any of the values in any of the fields, by the modifier of the parameter."""
        clauses: list[str] = []
        values: list[Any] = []
        for value in wanted.values:
            text = fold(value)
            if not text:
                continue
            if wanted.modifier == "contains":
                clauses.append("t.term LIKE %s")
                values.append(f"%{_like(text)}%")
            elif wanted.modifier in ("exact", "equal"):
                clauses.append("t.term = %s")
                values.append(text)
            else:
                # A range finds "starts with" in the C collation by the index alone.
                clauses.append("(t.term >= %s AND t.term < %s)")
                values += [text, _after(text)]
        self._exists(fields, clauses, values)

    def plain(self, fields: Sequence[str], terms: Sequence[str]) -> None:
        """Any of these whole terms."""
        self._exists(fields, ["t.term = ANY(%s)"] if terms else [], [list(terms)] if terms else [])

    def starts(self, fields: Sequence[str], terms: Sequence[str]) -> None:
        """Any term that begins with one of these."""
        clauses = ["(t.term >= %s AND t.term < %s)"] * len(terms)
        self._exists(fields, clauses, [bound for text in terms for bound in (text, _after(text))])

    def birth(self, dates: Sequence[DateMatch]) -> None:
        """Any of these dates, by prefix and precision."""
        clauses: list[str] = []
        values: list[Any] = []
        for date in dates:
            bounds = _bounds(date.value)
            if bounds is None:
                continue
            low, high = bounds
            clause, used = _date_clause(date.prefix, low, high)
            clauses.append(clause)
            values += used
        self._exists(["birth"], clauses, values)

    def _exists(self, fields: Sequence[str], clauses: Sequence[str], values: Sequence[Any]) -> None:
        if not clauses:
            self.where.append("false")
            return
        self.where.append(
            "p.id IN (SELECT l.person_id FROM patients_searchterm t JOIN patients_link l"  # noqa: S608  # values bound
            f" ON l.source_record_id = t.record_id AND {store.CURRENT}"
            f" WHERE t.field = ANY(%s) AND ({' OR '.join(clauses)}))"
        )
        self.values += [list(fields), *values]


def _like(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _after(text: str) -> str:
    """The least text greater than every text that begins with this one."""
    return text[:-1] + chr(ord(text[-1]) + 1)


def _bounds(value: str) -> tuple[str, str] | None:
    digits = value.split("T")[0].replace("-", "")
    if not digits.isdigit() or len(digits) not in (4, 6, 8):
        return None
    return digits.ljust(8, "0"), digits.ljust(8, "9")


def _date_clause(prefix: str, low: str, high: str) -> tuple[str, list[str]]:
    """Stored dates are 8 digits with 00 for unknown parts, so a date's own span begins at itself."""
    match prefix:
        case "ne":
            return "NOT (t.term BETWEEN %s AND %s)", [low, high]
        case "lt" | "eb":
            return "t.term < %s", [low]
        case "le":
            return "t.term <= %s", [high]
        case "gt" | "sa":
            return "t.term > %s", [high]
        case "ge":
            return "t.term >= %s", [low]
        case "ap":
            return "t.term BETWEEN %s AND %s", [str(int(low[:4]) - 1) + low[4:], str(int(high[:4]) + 1) + high[4:]]
        case _:
            return "t.term BETWEEN %s AND %s", [low, high]


def search(query: PatientQuery) -> list[UUID]:
    """Persons who fit every parameter, sorted by id, at most `query.limit`. 1 query; no criterion gives nobody.

    A person fits when any of its active records has the value; what a caller may see of the person is for the
    exchange to check again with `matches` on the demographics it is going to show.
    """
    ask = _Search()
    if query.ids:
        wanted = [found for found in map(_uuid, query.ids) if found]
        ask.where.append("p.id = ANY(%s)")
        ask.values.append(wanted)
    for names, items in (
        (("family",), query.family),
        (("given",), query.given),
        (("family", "given", "name"), query.name),
        (("address", "city", "state", "country", "postal"), query.address),
        (("city",), query.address_city),
        (("state",), query.address_state),
        (("country",), query.address_country),
        (("postal",), query.address_postal_code),
        (("maiden",), query.mothers_maiden_name),
    ):
        for item in items:
            ask.term(names, item)
    for telecoms, items in (
        (("phone", "email"), query.telecom),
        (("phone",), query.phone),
        (("email",), query.email),
    ):
        for item in items:
            ask.plain(telecoms, telecom_terms(item.values))
    for dates in query.birth_dates:
        ask.birth(dates)
    if query.genders:
        ask.plain(["gender"], [value for value in query.genders if storable(value)])
    for identifiers in query.identifiers:
        _ask_identifiers(ask, query, identifiers)
    if not ask.where:
        if not query.anybody:
            return []
        ask.where.append("TRUE")
    active = "" if query.active is None else " AND " + ("" if query.active else "NOT ") + _ACTIVE
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT p.id FROM patients_person p WHERE p.merged_into_id IS NULL AND {' AND '.join(ask.where)}{active}"  # noqa: S608  # clauses of this module, values bound
            " ORDER BY p.id LIMIT %s",
            [*ask.values, query.limit],
        )
        return [row[0] for row in cursor.fetchall()]


_ACTIVE = (
    "EXISTS (SELECT 1 FROM patients_link l JOIN patients_sourcerecord r ON r.id = l.source_record_id"  # noqa: S608
    f" AND r.status = 'active' AND r.participant_id <> 'hub' WHERE l.person_id = p.id AND {store.CURRENT})"
)


def telecom_terms(values: Iterable[str]) -> list[str]:
    """The forms under which a telecom value may be stored: as sent, and the national digits."""
    usable = [value for value in values if storable(value)]
    return [form for value in usable for form in {value.strip().lower(), phone_digits(value)} if form]


def _ask_identifiers(ask: _Search, query: PatientQuery, identifiers: Sequence[Any]) -> None:
    clauses: list[str] = []
    values: list[Any] = []
    identifiers = [item for item in identifiers if storable(item.value + (item.system or ""))]
    for item in identifiers:
        if item.system is None:
            clauses += ["i.value = %s"]
            values += [item.value]
        elif item.value:
            clauses += ["(i.authority = %s AND i.value = %s)"]
            values += [authority_of(item.system), item.value]
        else:
            clauses += ["i.authority = %s"]
            values += [authority_of(item.system)]
    stated = [
        ("value", item.value) if item.system is None else ("identifier", f"{authority_of(item.system)}|{item.value}")
        for item in identifiers
        if item.value
    ]
    if not clauses:
        ask.where.append("false")
        return
    # Local identifiers of any record (its own organization's namespace), and those that records state besides.
    ask.where.append(
        "p.id IN (SELECT l.person_id FROM patients_patientidentifier i JOIN patients_link l"  # noqa: S608
        f" ON l.source_record_id = i.source_record_id AND {store.CURRENT} WHERE {' OR '.join(clauses)}"
        " UNION SELECT l.person_id FROM patients_searchterm t JOIN patients_link l"
        f" ON l.source_record_id = t.record_id AND {store.CURRENT}"
        " JOIN unnest(%s::text[], %s::text[]) AS w(f, v) ON t.field = w.f AND t.term = w.v)"
    )
    ask.values += [*values, [field for field, _ in stated], [text for _, text in stated]]


def _uuid(value: UUID | str) -> UUID | None:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except ValueError:
        return None
