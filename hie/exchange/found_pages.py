"""What a search of documents or lists asks and finds: which rows may be shown, in which order, page by page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from documents.queries import EntryRow, FolderRow, SubmissionSetRow
from hie.exchange import access
from hie.exchange.access import Subject, Verdict
from hie.exchange.document_filter import Asked
from hie.exchange.errors import BadRequest
from hie.exchange.named_patients import PatientNamed
from hie.standards.facts import Decision
from patients import identifiers

ListRow = SubmissionSetRow | FolderRow
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSearch:
    """A search of entries or lists.

    `patients` are ANDed groups of alternatives; without any, `asked` must name ids or identifiers. `sort` are keys with
    whether they descend, the first counting most: ``date``, ``creation``, ``period``, ``_lastUpdated``, ``_id``, or
    ``""`` for newest first. `after` is the `key` of the last row seen, `count` the rows wanted (0: the total only). `raw` is the request as sent.
    Of entries that may be seen, `tally` counts values by name before `narrow` leaves only those it is true of.
    """

    patients: tuple[tuple[PatientNamed, ...], ...] = ()
    asked: Asked = field(default_factory=Asked)
    sort: tuple[tuple[str, bool], ...] = (("", True),)
    after: tuple[str, ...] | None = None
    count: int = 50
    raw: str = ""
    tally: Callable[[EntryRow], Mapping[str, str]] | None = None
    narrow: Callable[[EntryRow], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One row that may be shown, about the person it is about now. `members` are those that may be shown."""

    row: Any
    person_id: str
    key: tuple[str, ...]
    decision: Decision
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPage:
    """A page: its rows, how many there are altogether, and whether more follow."""

    rows: tuple[Found, ...]
    total: int
    more: bool
    tallies: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


NOBODY = UUID(int=0)


def whose(row: EntryRow | ListRow | None) -> Subject:
    """The person that a row is about; of no row nobody, at the same cost."""
    persons = identifiers.persons_of([row.identifier_pk if row is not None else 0])
    return access.somebody(persons[row.identifier_pk] if row is not None else None)


def within(pks: Sequence[int], reach: frozenset[int] | None) -> Sequence[int]:
    """The identifiers' row ids that a name reaches (`named_patients.Reach`): all of them where it reaches the whole person."""
    return pks if reach is None else [pk for pk in pks if pk in reach]


def named_alone(identifiers_: Sequence[str]) -> Sequence[str]:
    """Identifiers that may stand without a patient: a bare system would name everybody.

    Raises:
        BadRequest: one is only a system.
    """
    if any(item.endswith("|") for item in identifiers_):
        raise BadRequest("without a patient an identifier needs its value", element="identifier")
    return identifiers_


def grouped_by_person(rows: Sequence[T]) -> dict[UUID, list[T]]:
    """The rows of each person they are about now; one statement."""
    persons = identifiers.persons_of({row.identifier_pk for row in rows})  # type: ignore[attr-defined]  # every row of the registry has it
    grouped: dict[UUID, list[T]] = {}
    for row in rows:
        person = persons.get(row.identifier_pk)  # type: ignore[attr-defined]  # as above
        if person is not None:
            grouped.setdefault(person, []).append(row)
    return grouped


@dataclass(frozen=True, slots=True)
class Judged:
    """One person's rows with what was decided of each."""

    subject: Subject
    verdict: Verdict[Any]


def moment(value: datetime) -> str:
    """An instant as text of the same order, those before 1970 too."""
    return f"{int(value.timestamp() * 1_000_000) + 10**17:020d}"


def page_of(
    found: Sequence[Judged], search: DocumentSearch, key: Callable[[Any, str], tuple[str, ...]]
) -> tuple[FoundPage, set[int]]:
    """The rows of this page in order, and the identities of the rows on it."""
    rows = [
        Found(row=row, person_id=judged.subject.person_id, key=_whole_key(row, search, key), decision=decision)
        for judged in found
        for row, decision in judged.verdict.permitted
    ]
    total = len(rows)
    # Ties go the way of the last key asked for.
    descending = [*(down for _, down in search.sort), search.sort[-1][1]]
    for place in reversed(range(len(descending))):
        rows.sort(key=lambda item: item.key[place], reverse=descending[place])
    if search.after is not None:
        after = search.after
        rows = [item for item in rows if _behind(item.key, after, descending)]
    page = rows[: search.count]
    return (
        FoundPage(rows=tuple(page), total=total, more=len(rows) > len(page) > 0),
        {id(item.row) for item in page},
    )


def _whole_key(row: Any, search: DocumentSearch, key: Callable[[Any, str], tuple[str, ...]]) -> tuple[str, ...]:
    parts = [key(row, name) for name, _ in search.sort]
    return (*(part[0] for part in parts), parts[-1][1])


def _behind(key: tuple[str, ...], after: tuple[str, ...], descending: Sequence[bool]) -> bool:
    for mine, seen, down in zip(key, after, descending, strict=True):
        if mine != seen:
            return mine < seen if down else mine > seen
    return False


def only(verdict: Verdict[Any], rows: set[int]) -> Verdict[Any]:
    """The verdict with only what leaves on this page among the permitted."""
    return replace(verdict, permitted=tuple(item for item in verdict.permitted if id(item[0]) in rows))
