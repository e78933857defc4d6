"""QBP: what a Patient Demographics Query [ITI-21] or a PIX Query [ITI-9] asks, as values. Pure.

QPD-3 of a demographics query holds pairs of a field of PID and a value (``@PID.5.1^SMITH``). A value is compared whole,
ignoring case and accents; ``*`` at its end stands for anything that follows, at both ends for anything around.

Source: IHE ITI TF-2 3.9.4.1, 3.21.4.1; HL7 v2.5.1 5.4, 5.5.4 (QPD), 5.5.6 (RCP), 2.15.4 (DSC).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hie.faces.hl7v2.adt import SSN, Cx, gender_of
from hie.faces.hl7v2.er7 import Message, MessageRefused, Segment, part
from hie.standards.demographics import DateMatch, IdentifierMatch, PatientQuery, StringMatch

DEMOGRAPHICS = "Q22"
CROSS_REFERENCE = "Q23"
QUESTIONS = frozenset({DEMOGRAPHICS, CROSS_REFERENCE})
CANCEL = "QCN^J01"
MAX_PARAMETERS = 50
MAX_QUANTITY = 1000

_FIELD = re.compile(r"@?PID[.-](\d{1,2})(?:\.(\d{1,2}))?(?:\.(\d{1,2}))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What every query has: its tag, the answers wanted at once (None: all) and where an earlier answer broke off.

    `domains` are those whose identifiers are asked for, as written; empty: all.
    """

    tag: str
    domains: tuple[Cx, ...] = ()
    quantity: int | None = None
    pointer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demographics:
    """A demographics query. `named` is the identifier asked for, whose domain is still to be resolved."""

    question: Question
    query: PatientQuery
    named: Cx | None = None


def tag_of(message: Message) -> str:
    """QPD-2, or QID-1 of a cancellation; "" where there is none."""
    for name, number in (("QPD", 2), ("QID", 1)):
        found = message.first(name)
        if found is not None:
            return found.text(number)
    return ""


def cross_reference(message: Message) -> tuple[Question, Cx]:
    """A PIX query: the question, and the identifier whose others are asked for.

    Raises:
        MessageRefused: AE with the field that lacks or cannot be used.
    """
    qpd = _qpd(message)
    found = _cx(qpd, 3)
    if len(found) != 1 or not found[0].value:
        text = "QPD-3 is one identifier with its domain"
        raise MessageRefused(text, code="101" if not found else "102", location=("QPD", 1, 3), reject=False)
    return _question(message, qpd, 4), found[0]


def demographics(message: Message) -> Demographics:
    """A demographics query.

    Raises:
        MessageRefused: AE with the field that lacks or cannot be used.
    """
    qpd = _qpd(message)
    repetitions = qpd.repetitions(3)
    if not repetitions:
        raise MessageRefused("QPD-3 names nothing that is looked for", code="101", location=("QPD", 1, 3), reject=False)
    if len(repetitions) > MAX_PARAMETERS:
        raise MessageRefused("QPD-3 has too many repetitions", code="102", location=("QPD", 1, 3), reject=False)
    query, named = PatientQuery(limit=MAX_QUANTITY), Cx(value="")
    for index, repetition in enumerate(repetitions, start=1):
        place = ("QPD", 1, 3, index)
        field = _FIELD.match(part(repetition, 1))
        value = "&".join(repetition[1]).strip() if len(repetition) > 1 else ""
        if field is None:
            raise MessageRefused("QPD-3 names a field of PID", code="102", location=(*place, 1), reject=False)
        if not value:
            continue
        number, component, sub = (int(item or 1) for item in field.groups())
        if number == 3:
            named = _identifier(named, component, sub, value)
            continue
        add = _PARAMETERS.get((number, component)) or _PARAMETERS.get((number, 0))
        if add is None:
            text = f"patients are not looked for by PID.{number}.{component}"
            raise MessageRefused(text, code="102", location=(*place, 1), reject=False)
        changed = add(query, value)
        if changed is None:
            text = f"PID.{number} has a value that is none of its kind"
            raise MessageRefused(text, code="102", location=(*place, 2), reject=False)
        query = changed
    asked = named if named != Cx(value="") else None
    if asked is None and query == PatientQuery(limit=MAX_QUANTITY):
        raise MessageRefused("QPD-3 names nothing that is looked for", code="101", location=("QPD", 1, 3), reject=False)
    return Demographics(question=_question(message, qpd, 8), query=query, named=asked)


def _qpd(message: Message) -> Segment:
    found = message.all("QPD")
    if len(found) != 1:
        raise MessageRefused("one QPD segment is needed", code="100", location=("QPD", 1), reject=False)
    if not found[0].text(1):
        raise MessageRefused("QPD-1 is empty", code="101", location=("QPD", 1, 1), reject=False)
    if not found[0].text(2):
        raise MessageRefused("QPD-2 is empty", code="101", location=("QPD", 1, 2), reject=False)
    return found[0]


def _question(message: Message, qpd: Segment, domains: int) -> Question:
    rcp, dsc = message.first("RCP"), message.first("DSC")
    quantity: int | None = None
    if rcp is not None:
        if rcp.text(1).upper() not in ("", "I"):
            text = "RCP-1: answers are given at once only"
            raise MessageRefused(text, code="102", location=("RCP", 1, 1), reject=False)
        text = rcp.text(2)
        unit = rcp.text(2, 2).upper()
        if text and (not re.fullmatch(r"[1-9]\d{0,6}", text) or unit not in ("", "RD")):
            problem = "RCP-2 is a number of records (RD)"
            raise MessageRefused(problem, code="102", location=("RCP", 1, 2), reject=False)
        quantity = min(int(text), MAX_QUANTITY) if text else None
    return Question(
        tag=qpd.text(2),
        domains=_cx(qpd, domains),
        quantity=quantity,
        pointer=dsc.text(1) if dsc is not None else "",
    )


def _cx(qpd: Segment, number: int) -> tuple[Cx, ...]:
    return tuple(
        Cx(
            value=part(rep, 1),
            namespace=part(rep, 4, 1),
            universal_id=part(rep, 4, 2),
            universal_type=part(rep, 4, 3).upper(),
            type=part(rep, 5).upper(),
            location=("QPD", 1, number, index, 4),
        )
        for index, rep in enumerate(qpd.repetitions(number), start=1)
    )


def _identifier(named: Cx, component: int, sub: int, value: str) -> Cx:
    if component == 1:
        return replace(named, value=value)
    if component == 4 and sub == 1:
        pieces = [*value.split("&"), "", ""]
        return replace(
            named,
            namespace=pieces[0],
            universal_id=pieces[1] or named.universal_id,
            universal_type=(pieces[2] or named.universal_type).upper(),
        )
    if component == 4 and sub == 2:
        return replace(named, universal_id=value)
    if component == 4 and sub == 3:
        return replace(named, universal_type=value.upper())
    return named  # identifier type, check digit: nothing that narrows


def _text(value: str) -> StringMatch:
    if value.startswith("*") and value.strip("*"):
        return StringMatch(values=(value.strip("*"),), modifier="contains")
    if value.endswith("*") and value.strip("*"):
        return StringMatch(values=(value.strip("*"),))
    return StringMatch(values=(value,), modifier="equal")


def _strings(name: str) -> Callable[[PatientQuery, str], PatientQuery | None]:
    def add(query: PatientQuery, value: str) -> PatientQuery:
        changed: dict[str, Any] = {name: (*getattr(query, name), _text(value))}
        return replace(query, **changed)

    return add


def _contact(name: str) -> Callable[[PatientQuery, str], PatientQuery | None]:
    def add(query: PatientQuery, value: str) -> PatientQuery:
        changed: dict[str, Any] = {name: (*getattr(query, name), StringMatch(values=(value,)))}
        return replace(query, **changed)

    return add


def _birth(query: PatientQuery, value: str) -> PatientQuery | None:
    found = re.match(r"(\d{4})(?:(\d{2})(\d{2})?)?\d*(?:\.\d+)?(?:[+-]\d{4})?\Z", value)
    if found is None:
        return None
    text = "-".join(piece for piece in found.groups() if piece)
    return replace(query, birth_dates=(*query.birth_dates, (DateMatch(value=text, prefix="eq"),)))


def _sex(query: PatientQuery, value: str) -> PatientQuery | None:
    code = gender_of(value)
    both = (code,) if not query.genders or code in query.genders else ("-",)
    return replace(query, genders=both)


def _ssn(query: PatientQuery, value: str) -> PatientQuery | None:
    return replace(query, identifiers=(*query.identifiers, (IdentifierMatch(system=SSN, value=value),)))


_PARAMETERS: dict[tuple[int, int], Callable[[PatientQuery, str], PatientQuery | None]] = {
    (5, 1): _strings("family"),
    (5, 2): _strings("given"),
    (5, 3): _strings("given"),
    (6, 1): _strings("mothers_maiden_name"),
    (7, 1): _birth,
    (8, 1): _sex,
    (11, 1): _strings("address"),
    (11, 2): _strings("address"),
    (11, 3): _strings("address_city"),
    (11, 4): _strings("address_state"),
    (11, 5): _strings("address_postal_code"),
    (11, 6): _strings("address_country"),
    (13, 1): _contact("phone"),
    (13, 4): _contact("email"),
    (13, 12): _contact("phone"),
    (14, 1): _contact("phone"),
    (19, 1): _ssn,
}
