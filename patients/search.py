"""A PDQm search: whom the index finds by the words of its records.

A criterion holds for a person when any of her active records has the value. The rarest criterion is looked up first
and the others asked of whom it found: PostgreSQL takes field and word for independent, and so every word for rare.

Source: spec/fhir.md 2.1; IHE ITI-78.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

from hie.database import prepared
from patients import store
from patients.demographics import DateMatch, PatientQuery, StringMatch, authority_of
from patients.identifiers import person_uuid
from patients.normalise import fold, phone_digits, storable

_FEW = 2_000
"""Records so found whose persons are asked one by one; beyond, the whole is left to the planner."""
_VALUES = 4  # of one parameter: more make statements that are not asked again, and push out those that are

_ACTIVE = (
    "EXISTS (SELECT 1 FROM patients_link l JOIN patients_sourcerecord r ON r.id = l.source_record_id"  # noqa: S608
    f" AND r.status = 'active' AND r.participant_id <> 'hub' WHERE l.person_id = p.id AND {store.CURRENT})"
)
_OF_PERSONS = f"SELECT l.person_id FROM patients_searchterm t JOIN patients_link l ON l.source_record_id = t.record_id AND {store.CURRENT}"  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """One parameter as a condition on `patients_searchterm t`, with its values."""

    clause: str
    values: tuple[Any, ...]


class _Search:
    """The criteria of a search, all of which must hold."""

    def __init__(self) -> None:
        self.words: list[_Words] = []
        self.where: list[str] = []
        self.values: list[Any] = []
        self.simple = True

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
        self._any(fields, clauses, values)

    def plain(self, fields: Sequence[str], terms: Sequence[str]) -> None:
        """Any of these whole terms."""
        self._any(fields, ["t.term = ANY(%s::text[])"] if terms else [], [list(terms)] if terms else [])

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
        self._any(["birth"], clauses, values)

    def _any(self, fields: Sequence[str], clauses: Sequence[str], values: Sequence[Any]) -> None:
        if not clauses:
            self.where.append("false")
            return
        self.simple = self.simple and len(clauses) <= _VALUES
        clause = f"t.field = ANY(%s::text[]) AND ({' OR '.join(clauses)})"
        self.words.append(_Words(clause=clause, values=(list(fields), *values)))

    def also(self, clause: str, values: Sequence[Any] = ()) -> None:
        """A condition on `patients_person p`."""
        self.where.append(clause)
        self.values += values

    def run(self, limit: int) -> list[UUID]:
        """The persons for whom all holds, by id. 1 query, 2 where there are several words to begin with."""
        if "false" in self.where:
            return []
        rarest = self._rarest()
        if rarest is None:
            sql, values = self._as_one(limit)
            with connection.cursor() as cursor:
                cursor.execute(sql, values)
                return [row[0] for row in cursor.fetchall()]
        sql, values = self._from(rarest, limit)
        with prepared() if self.simple else connection.cursor() as cursor:
            cursor.execute(sql, values)
            return [row[0] for row in cursor.fetchall()]

    def _rarest(self) -> int | None:
        """Which of the words find few records, the fewest of all; None where none does. 1 query where they are several."""
        if len(self.words) < 2:
            return 0 if self.words and not self.where else None
        sql = ", ".join(
            f"(SELECT count(*) FROM (SELECT 1 FROM patients_searchterm t WHERE {item.clause} LIMIT {_FEW + 1}) x)"  # noqa: S608  # as below
            for item in self.words
        )
        with prepared() if self.simple else connection.cursor() as cursor:
            cursor.execute(f"SELECT {sql}", [value for item in self.words for value in item.values])
            counts = list(cursor.fetchone())
        rarest = min(range(len(counts)), key=counts.__getitem__)
        return rarest if counts[rarest] <= _FEW else None

    def _from(self, rarest: int, limit: int) -> tuple[str, list[Any]]:
        """From those whom the rarest words find; the others asked of each of them."""
        first, others = self.words[rarest], [item for n, item in enumerate(self.words) if n != rarest]
        # LIMIT and OFFSET keep the planner, which knows no values here, from reading whole tables to join them.
        asked = "".join(
            " CROSS JOIN LATERAL (SELECT 1 FROM patients_link l JOIN patients_searchterm t ON t.record_id = l.source_record_id"  # noqa: S608  # as below
            f" WHERE l.person_id = p.id AND {store.CURRENT} AND {item.clause} LIMIT 1) w{n}"
            for n, item in enumerate(others)
        )
        where = " AND ".join(["p.id = f.person_id", "p.merged_into_id IS NULL", *self.where])
        sql = (
            "WITH found AS MATERIALIZED (SELECT DISTINCT l.person_id FROM patients_searchterm t CROSS JOIN LATERAL"  # noqa: S608  # clauses of this module, values bound
            f" (SELECT l.person_id FROM patients_link l WHERE l.source_record_id = t.record_id AND {store.CURRENT} OFFSET 0) l"
            f" WHERE {first.clause})"
            f" SELECT p.id FROM found f CROSS JOIN LATERAL (SELECT p.id FROM patients_person p WHERE {where} OFFSET 0) p{asked}"
            " ORDER BY p.id LIMIT %s"
        )
        values = [*first.values, *self.values, *(value for item in others for value in item.values), limit]
        return sql, values

    def _as_one(self, limit: int) -> tuple[str, list[Any]]:
        """All criteria side by side, for the planner to choose among."""
        words = [f"p.id IN ({_OF_PERSONS} WHERE {item.clause})" for item in self.words]
        where = " AND ".join(["p.merged_into_id IS NULL", *words, *self.where])
        values = [*(value for item in self.words for value in item.values), *self.values, limit]
        return f"SELECT p.id FROM patients_person p WHERE {where} ORDER BY p.id LIMIT %s", values  # noqa: S608  # as above


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
    """Persons who fit every parameter, sorted by id, at most `query.limit`. 2 queries; no criterion gives nobody.

    A person fits when any of its active records has the value; what a caller may see of the person is for the
    exchange to check again with `matches` on the demographics it is going to show.
    """
    ask = _Search()
    if query.ids:
        wanted = [found for found in map(person_uuid, query.ids) if found]
        ask.also("p.id = ANY(%s::uuid[])", [wanted])
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
    if not ask.where and not ask.words and not query.anybody:
        return []
    if query.active is not None:
        ask.also(_ACTIVE if query.active else f"NOT {_ACTIVE}")
    return ask.run(query.limit)


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
        ask.also("false")
        return
    # Local identifiers of any record (its own organization's namespace), and those that records state besides.
    ask.simple = ask.simple and len(identifiers) <= _VALUES
    ask.also(
        "p.id IN (SELECT l.person_id FROM patients_patientidentifier i JOIN patients_link l"  # noqa: S608
        f" ON l.source_record_id = i.source_record_id AND {store.CURRENT} WHERE {' OR '.join(clauses)}"
        " UNION SELECT l.person_id FROM patients_searchterm t JOIN patients_link l"
        f" ON l.source_record_id = t.record_id AND {store.CURRENT}"
        " JOIN unnest(%s::text[], %s::text[]) AS w(f, v) ON t.field = w.f AND t.term = w.v)",
        [*values, [field for field, _ in stated], [text for _, text in stated]],
    )
