"""What somebody of the staff typed into the one search field, read as what it may be. Pure.

A number may be written bare, as ``value^^^&oid&ISO`` or as ``oid|value``; a UUID with or without ``urn:uuid:`` or the name
of a resource before it; a person as names with a date of birth, or as two names.

Source: HL7 v2 CX; FHIR token; spec/mpi.md 2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from hie.exchange.errors import BadRequest

SHORTEST, LONGEST = 2, 200
"""Characters of what is looked for."""

_UUID = re.compile(
    r"(?:[A-Za-z]+/)?(?:urn:uuid:)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:#\d+)?",
    re.IGNORECASE,
)
_CX = re.compile(r"([^\^|&]+)\^\^\^[^&^]*&((?:\d+\.)+\d+)(?:&ISO)?")
_TOKEN = re.compile(r"(?:urn:oid:)?((?:\d+\.)+\d+|[a-z][a-z0-9+.-]*:[^|\s]+)\|([^|]+)", re.IGNORECASE)
_DATES = (
    re.compile(r"(?P<year>\d{4})-(?P<month>\d{1,2})(?:-(?P<day>\d{1,2}))?"),
    re.compile(r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})"),
    re.compile(r"(?P<year>(?:18|19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})"),
    re.compile(r"(?P<year>(?:18|19|20)\d{2})"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What was typed, and what it may be; parts that it cannot be are empty.

    `text` is the whole in one line and `bare` the same without ``urn:oid:`` or ``urn:uuid:``. `number` is (authority or "",
    value). `family` and `given` are only told apart by a comma; `names` are all names, and `born` a date, a month or a year.
    """

    text: str
    bare: str
    uuid: UUID | None = None
    number: tuple[str, str] | None = None
    names: tuple[str, ...] = ()
    family: str = ""
    given: str = ""
    born: str = ""

    @property
    def person(self) -> bool:
        """Whether it says enough of somebody to look for him by name: two names, or one and a date of birth."""
        return len(self.names) > 1 or bool(self.names and self.born)


def words_of(text: str) -> Words:
    """Read what was typed.

    Raises:
        BadRequest: too short, too long, or nothing that can be written; `element` is ``q``.
    """
    # A control sign is no space: where one stands, something else than a search was pasted.
    if not text.replace("\t", " ").strip().isprintable():
        raise BadRequest("take out the sign that cannot be shown", element="q")
    said = " ".join(text.split())
    if len(said) > LONGEST:
        raise BadRequest(f"write it in at most {LONGEST} letters", element="q")
    if len(said) < SHORTEST:
        raise BadRequest(f"write at least {SHORTEST} letters or digits", element="q")
    bare = re.sub(r"^urn:(?:oid|uuid):", "", said, flags=re.IGNORECASE)
    found = _UUID.fullmatch(said)
    if found:
        key = UUID(found[1])
        return Words(text=said, bare=str(key), uuid=key, number=("", said))
    for shape, (authority, value) in ((_CX, (2, 1)), (_TOKEN, (1, 2))):
        if named := shape.fullmatch(said):
            return Words(text=said, bare=bare, number=(named[authority].strip(), named[value].strip()))
    family, comma, given = said.partition(",")
    rest, born = _dated(f"{family} , {given}".split() if comma else said.split())
    names = tuple(one for one in rest if one != "," and any(char.isalpha() for char in one))
    if comma and rest.count(",") == 1:
        place = rest.index(",")
        family, given = " ".join(rest[:place]), " ".join(rest[place + 1 :])
    else:
        family = given = ""
    return Words(
        text=said, bare=bare, number=("", bare) if " " not in said else None, names=names, family=family, given=given, born=born
    )  # fmt: skip


def _dated(parts: list[str]) -> tuple[list[str], str]:
    """The parts without the first that is a date, and that date as FHIR writes it."""
    for place, part in enumerate(parts):
        if len(parts) > 1 and (born := _date(part.strip(","))):
            return [*parts[:place], *parts[place + 1 :]], born
    return parts, ""


def _date(text: str) -> str:
    """A day, month or year as FHIR writes it; "" where it is none, or none that the calendar has."""
    for shape in _DATES:
        if found := shape.fullmatch(text):
            year, month, day = (found.groupdict().get(part) for part in ("year", "month", "day"))
            try:
                on = date(int(year or 0), int(month or 1), int(day or 1))
            except ValueError:
                return ""
            return f"{on:%Y-%m-%d}"[: 10 if day else 7 if month else 4]
    return ""
