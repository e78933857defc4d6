"""Whose a directive is: who may file for a patient, and who may change or end what is filed. Pure.

A directive belongs to whoever stands behind its current version. The patient may always change it; a
participant only what it filed itself (it and all of its organization), a proxy only with a grant that says so.
What the patient or a proxy has changed is theirs from then on: the participant that filed it first
cannot take it back. Everybody else goes to the hub's privacy officer, who ends a directive with reason and evidence.

Source: spec/consent.md sections 9 to 12.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from consent.engine import time
from consent.engine.policy import Jurisdiction
from hie.standards.facts import SubjectFacts

OF_MINORS = frozenset({"parent", "guardian-of-minor"})
_OUTLIVES = frozenset({"attorney"})


class Capacity(StrEnum):
    """As what somebody files a directive."""

    PARTICIPANT = "participant"
    PATIENT = "patient"
    PROXY = "proxy"
    STAFF = "staff"
    IMPORT = "import"


class Grant(Protocol):
    """A proxy grant as stored."""

    person: str
    kind: str
    status: str
    start: str | None
    end: str | None
    may_consent: bool
    evidence: str
    executor: bool


G = TypeVar("G", bound=Grant)


def patient_may_file(subject: SubjectFacts, law: Jurisdiction | None, *, now: datetime) -> bool:
    """Whether a patient has the age for choices of his own, and lives.

    The age is `confidentialAge` of the patient's law, majority where it names none; without a law or a
    birth date that settles it, no.

    Source: spec/consent.md 10 (P2 says the same of reading).
    """
    if law is None or subject.deceased:
        return False
    age = law.confidential_age if law.confidential_age is not None else law.majority_age
    return _has_reached(subject, age, law, now)


def only_confidential_care(subject: SubjectFacts, law: Jurisdiction | None, *, now: datetime) -> frozenset[str] | None:
    """The labels that a minor's own choices are limited to; None: of age, there is no limit.

    Source: spec/consent.md 10: "files own directives about documents with confidential labels".
    """
    if law is not None and _has_reached(subject, law.majority_age, law, now):
        return None
    return law.confidential_labels if law is not None else frozenset()


def keeps_nothing_from_parents(subject: SubjectFacts, law: Jurisdiction | None, *, now: datetime) -> bool:
    """Whether a patient is surely too young to keep any care from a parent: below `confidentialAge`, whatever is unknown.

    An age that is not sure, and a law that names none, read as P6 reads them: there may be something to keep.

    Source: spec/consent.md 6 (P6), 10.
    """
    return law is not None and _is_surely_below(subject, law.confidential_age, law, now)


def consenting_grant(
    grants: Iterable[G], user: str, subject: SubjectFacts, law: Jurisdiction | None, *, now: datetime
) -> G | None:
    """The first grant by which this user may choose in the patient's place, or None.

    It is active, made out to the user, in its period, says `may_consent`; a parent's ends at majority, and
    after death only an attorney's with evidence counts. A period that cannot be read counts for nothing.
    """
    return next((grant for grant in grants if grant.person == user and _consents(grant, subject, law, now)), None)


def outlives(grant: Grant) -> bool:
    """Whether a grant counts after the patient's death: an executor's, with evidence; a living person's attorney is none."""
    return grant.kind in _OUTLIVES and grant.executor and bool(grant.evidence.strip())


def comes_of_age(subject: SubjectFacts, law: Jurisdiction | None) -> datetime | None:
    """When a patient surely is of age, in the law's own time; None where that is not known."""
    if law is None or law.majority_age is None or not subject.birth_date or not time.readable(subject.birth_date):
        return None
    return time.birthday(subject.birth_date, law.majority_age, law.zone)[1]


def day_of(instant: datetime, law: Jurisdiction | None) -> str:
    """The day of an instant where the law counts, as FHIR writes it."""
    return instant.astimezone(time.zone(law.zone) if law is not None else UTC).date().isoformat()


def _consents(grant: Grant, subject: SubjectFacts, law: Jurisdiction | None, now: datetime) -> bool:
    if law is None or grant.status != "active" or not grant.may_consent:
        return False
    if grant.kind in OF_MINORS and not _is_surely_below(subject, law.majority_age, law, now):
        return False
    if subject.deceased and not outlives(grant):
        return False
    try:
        since, until = time.bounds(grant.start, grant.end, law.zone)
    except time.UnreadableDate:
        return False
    return since <= now < until


def _has_reached(subject: SubjectFacts, years: int | None, law: Jurisdiction, now: datetime) -> bool:
    """Surely, whatever of the birth date is unknown."""
    if years is None or not subject.birth_date or not time.readable(subject.birth_date):
        return False
    return now >= time.birthday(subject.birth_date, years, law.zone)[1]


def _is_surely_below(subject: SubjectFacts, years: int | None, law: Jurisdiction, now: datetime) -> bool:
    return years is not None and now < time.birthday(subject.birth_date, years, law.zone)[0]
