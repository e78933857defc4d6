"""The page on which a steward sees where each detail of a person comes from, sets one by hand, and takes it back.

What is done is in `stewardship`; here is what the page shows, and how a form becomes one field of `Demographics`. The
look must be recorded before the page is shown.

Source: spec/mpi.md 3 (Survive) and 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from hie.directory import queries as directory
from hie.exchange import review_list
from hie.exchange.errors import BadRequest
from hie.exchange.review_comparison import in_words
from hie.standards.demographics import Address, Demographics, HumanName, Telecom, from_json
from hie.standards.errors import MalformedContent
from hie.standards.fhir_patient import from_fhir, to_fhir
from patients import by_hand, standing
from patients import queries as index
from patients.models import Person, ValueByHand

LONGEST = 200
"""Characters of one part of a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One input of a form: `choices` (value, words) make it a list, `kind` is the input's type."""

    name: str
    label: str
    kind: str = "text"
    choices: tuple[tuple[str, str], ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A detail that can be set here, with the inputs of its form."""

    key: str
    title: str
    parts: tuple[Part, ...]


_SEXES = (("female", "Female"), ("male", "Male"), ("other", "Other"), ("unknown", "Not known"))
_MARRIED = (
    ("M", "Married"),
    ("S", "Never married"),
    ("W", "Widowed"),
    ("D", "Divorced"),
    ("L", "Separated"),
    ("T", "Partner"),
)
_FIELDS = (
    Field(key="names", title="Name", parts=(
        Part(name="given", label="Given names"), Part(name="family", label="Surname"))),
    Field(key="birth_date", title="Date of birth", parts=(
        Part(name="birth_date", label="Date of birth", hint="As 1980-03-14; 1980-03 or 1980 where no more is known."),)),
    Field(key="gender", title="Sex", parts=(Part(name="gender", label="Sex", choices=_SEXES),)),
    Field(key="addresses", title="Address", parts=(
        Part(name="line", label="Street and number"), Part(name="city", label="Town"), Part(name="state", label="State"),
        Part(name="postal_code", label="Post code"), Part(name="country", label="Country"))),
    Field(key="telecoms", title="Phone or e-mail", parts=(
        Part(name="system", label="Kind", choices=(("phone", "Phone"), ("email", "E-mail"))),
        Part(name="value", label="Number or address"))),
    Field(key="mothers_maiden_name", title="Mother’s maiden name", parts=(
        Part(name="mothers_maiden_name", label="Mother’s maiden name"),)),
    Field(key="deceased", title="Deceased", parts=(
        Part(name="deceased", label="Deceased", choices=(("no", "No"), ("yes", "Yes"))),
        Part(name="died", label="Date of death", hint="As 2026-03-14, where it is known."))),
    Field(key="marital_status", title="Marital status", parts=(
        Part(name="marital_status", label="Marital status", choices=_MARRIED),)),
    Field(key="occupation", title="Occupation", parts=(Part(name="occupation", label="Occupation"),)),
)  # fmt: skip
_NO_DATE = "write a date that the calendar has and that has come, as 1980-03-14"
FIELDS: Mapping[str, Field] = MappingProxyType({field.key: field for field in _FIELDS})


def value_of(field: str, given: Mapping[str, str]) -> Demographics:
    """The field as a form says it, alone in its demographics.

    Raises:
        BadRequest: no such field, nothing in it, or something that it cannot be; `element` is the input.
    """
    if field not in FIELDS:
        raise BadRequest("this detail cannot be set by hand", element="field")
    said = {part.name: " ".join(given.get(part.name, "").split()) for part in FIELDS[field].parts}
    for part in FIELDS[field].parts:
        if len(said[part.name]) > LONGEST:
            raise BadRequest(f"write it in at most {LONGEST} letters", element=part.name)
        if not said[part.name].isprintable():
            raise BadRequest("take out the sign that cannot be shown", element=part.name)
        if part.choices and said[part.name] not in dict(part.choices):
            raise BadRequest("choose one of the list", element=part.name)
    made = _made(field, said)
    first = FIELDS[field].parts[0].name
    if made == Demographics():
        raise BadRequest("write what it is", element=first)
    try:
        kept = from_fhir(to_fhir(made))
    except MalformedContent as error:
        raise BadRequest(_NO_DATE, element=FIELDS[field].parts[-1].name) from error
    dated = (made.birth_date, str(made.deceased) if isinstance(made.deceased, str) else "")
    if kept.birth_date != made.birth_date or any(date > datetime.now(UTC).date().isoformat() for date in dated):
        raise BadRequest(_NO_DATE, element=FIELDS[field].parts[-1].name)
    return made


def inputs_of(field: str, shown: Demographics) -> dict[str, str]:
    """What the form of a field starts with: the detail as it is shown now, the first where there are several.

    `value_of` makes the same detail of it again; what is not known is "".
    """
    value = getattr(shown, field)
    if isinstance(value, tuple):
        value = value[0] if value else None
    match value:
        case HumanName():
            return {"given": " ".join(value.given), "family": value.family}
        case Address():
            return {
                "line": ", ".join(value.lines), "city": value.city, "state": value.state,
                "postal_code": value.postal_code, "country": value.country,
            }  # fmt: skip
        case Telecom():
            return {"system": value.system, "value": value.value}
    if field == "deceased" and value is not None:
        return {"deceased": "no" if value is False else "yes", "died": value if isinstance(value, str) else ""}
    return {field: value or ""}


def _made(field: str, said: Mapping[str, str]) -> Demographics:
    match field:
        case "names":
            name = HumanName(use="official", given=tuple(said["given"].split()), family=said["family"])
            return Demographics(names=(name,) if name.given or name.family else ())
        case "addresses":
            address = Address(
                use="home", lines=(said["line"],) if said["line"] else (), city=said["city"], state=said["state"],
                postal_code=said["postal_code"], country=said["country"],
            )  # fmt: skip
            return Demographics(addresses=(address,) if address != Address(use="home") else ())
        case "telecoms":
            return Demographics(
                telecoms=(Telecom(system=said["system"], value=said["value"]),) if said["value"] else ()
            )
        case "deceased":
            return Demographics(deceased=False if said["deceased"] == "no" else said["died"] or True)
        case _:
            return from_json({field: said[field]} if said[field] else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One detail as it is shown now: its words, where it comes from, and the value by hand behind it, if one holds.

    `inputs` are what its form starts with; `name` is who set the value by hand.
    """

    field: Field
    words: str
    source: str
    inputs: Mapping[str, str]
    by_hand: ValueByHand | None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing done by hand, by `name`: set (`words`) or withdrawn (""); `stands` until it is undone."""

    title: str
    words: str
    name: str
    row: ValueByHand
    stands: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where each detail of a person comes from, and what was done by hand, the newest first."""

    rows: tuple[Row, ...]
    acts: tuple[Act, ...]

    def row(self, field: str) -> Row | None:
        """The row of a field."""
        return next((row for row in self.rows if row.field.key == field), None)

    def act(self, value_id: str) -> Act | None:
        """What was done, by the number of its value."""
        return next((act for act in self.acts if str(act.row.pk) == value_id), None)


def page(person: Person) -> Page:
    """The page of a person who was not merged away; a constant number of statements."""
    views = {view.source_record_id: view for view in index.source_records(person.pk)}
    holding = {row.pk: row for row in by_hand.holding(person.pk)}
    names = {one: facts.name for one, facts in directory.participants().items()}
    golden = from_json(person.golden.get("demographics") or {})
    sources: dict[str, list[Any]] = person.golden.get("sources") or {}

    def source(field: str) -> str:
        if field not in sources:
            return ""
        record_id, at, *grade = sources[field]
        view = views.get(record_id)
        whose = names.get(view.participant_id, view.participant_id) if view is not None else ""
        if grade == ["manual"]:
            whose = "Set by hand"
        return f"{whose}, {datetime.fromisoformat(at):%-d %B %Y}" + (", verified" if grade == ["verified"] else "")

    newest: dict[str, ValueByHand] = {}
    for row in sorted(holding.values(), key=lambda one: (one.set_at, one.pk)):
        newest[row.field] = row
    done = list(ValueByHand.objects.filter(source_record__in=list(views)).select_related("event").order_by("-pk")[:50])
    gone = standing.struck(row.event_id for row in done)
    staff = review_list.names_of({row.actor for row in (*done, *holding.values())})
    return Page(
        rows=tuple(
            Row(
                field=field,
                words=words(field.key, golden),
                source=source(field.key),
                inputs=inputs_of(field.key, golden),
                by_hand=held,
                name=staff.get(held.actor, held.actor) if held is not None else "",
            )
            for field in _FIELDS
            for held in [newest.get(field.key)]
        ),
        acts=tuple(
            Act(
                title=FIELDS[row.field].title if row.field in FIELDS else row.field,
                words=words(row.field, from_json(row.value)) if row.value is not None else "",
                name=staff.get(row.actor, row.actor),
                row=row,
                stands=row.event_id not in gone,
            )
            for row in done
        ),
    )


def words(field: str, demographics: Demographics) -> str:
    """A detail in one line, the first where there are several; "" where there is none."""
    value = getattr(demographics, field)
    choices = {code: text for part in (FIELDS[field].parts if field in FIELDS else ()) for code, text in part.choices}
    if isinstance(value, tuple):
        value = value[0] if value else ""
    match value:
        case None:
            return ""
        case bool():
            return "Yes" if value else "No"
        case HumanName():
            return " ".join([*value.given, value.family]).strip() or value.text
        case Address():
            shown = [*value.lines, value.city, value.state, value.postal_code, value.country]
            return ", ".join(part for part in shown if part) or value.text
        case Telecom():
            return value.value
        case str() if field in ("birth_date", "deceased"):
            return in_words(value)
    return choices.get(str(value), str(value))
