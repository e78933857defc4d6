"""My documents: what the patient (or a helper) may read, through the same door as everybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, tzinfo
from itertools import groupby
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from django.utils.translation import get_language_info, gettext, gettext_noop, ngettext

from hie.directory import queries as directory
from hie.exchange import accounts, askers, document_view, find, found_pages, retrieve, who_could_see
from hie.exchange.document_view import Kind, Looked, Topic
from hie.exchange.errors import NotFound
from hie.faces.portal import dates, words
from hie.faces.portal.page import page, render
from hie.faces.portal.reading import LOCKED, author_of, file_name, keeper_of, kind_of
from hie.faces.portal.session import Reader

DOCUMENTS = 50
TOPICS: dict[str, str] = {
    Topic.LETTERS: gettext_noop("Letters and notes"),
    Topic.TESTS: gettext_noop("Tests"),
    Topic.IMAGES: gettext_noop("Images"),
    Topic.MEDICINES: gettext_noop("Medicines"),
    Topic.SUMMARIES: gettext_noop("Summaries"),
}
_ICONS = {Topic.TESTS: "lab", Topic.IMAGES: "image", Topic.MEDICINES: "pill"}
_ASKED = ("words", "topic", "place", "language", "year")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A document in the list."""

    dom_id: str
    title: str
    kind: str
    place: str
    author: str
    day: str
    visit: str
    icon: str
    size: str
    read: str
    act: str
    address: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """Documents of one month."""

    dom_id: str
    name: str
    documents: Sequence[Shown]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A value that can be chosen, its words, and whether it is."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who could see it, for one purpose: yes or no, and why."""

    who: str
    yes: bool
    why: str


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The documents by months, newest first: all of them, or those that are looked for."""
    after = request.GET.get("after", "")[:400]
    asked = {name: request.GET.get(name, "")[:100].strip() for name in _ASKED}
    looked = Looked(
        words=asked["words"],
        topic=asked["topic"],
        organization=asked["place"],
        language=asked["language"],
        year=asked["year"],
    )
    zone = accounts.zone_of(reader.person_id)
    query = {name: value for name, value in asked.items() if value}
    found = document_view.listed(
        reader.person_id,
        looked,
        caller=reader.caller,
        zone=zone,
        after=tuple(after.split("|")) if after else None,
        count=DOCUMENTS,
        raw=f"/my/documents {' '.join(query)}".strip(),  # what is looked for is nobody's business, not even the log's
    )
    keeper = _keepers()
    held = sum(found.tallies.get("topic", {}).values())
    older = urlencode(query | {"after": "|".join(found.rows[-1].key)}) if found.more and found.rows else ""
    context = {
        "months": _months(found.rows, zone, keeper),
        "lead": _lead(held, len(found.tallies.get("organization", {}))),
        "held": held,
        "asked": asked,
        "applied": _applied(asked, query, keeper),
        "topics": _options(found.tallies.get("topic", {}), asked["topic"], _topic),
        "places": _options(found.tallies.get("organization", {}), asked["place"], keeper),
        "languages_of": _options(found.tallies.get("language", {}), asked["language"], _language),
        "years": _options(found.tallies.get("year", {}), asked["year"], dates.digits),
        "older": f"?{older}" if older else "",
        "newest": f"?{urlencode(query)}" if after else "",
        "showing": _showing(len(found.rows), found.total) if found.rows else "",
        "place": "documents",
    }
    return render(request, "documents.html", context, reader=reader)


@page("GET")
def save(request: HttpRequest, reader: Reader, entry_id: str) -> HttpResponseBase:
    """The bytes of a document, as they were published."""
    found = find.read_document(str(entry_id), caller=reader.caller, raw=request.path)
    if found.person_id != reader.person_id or not found.row.content_id:
        raise NotFound("no such document")
    content = retrieve.retrieve(
        retrieve.Wanted(binary_id=str(found.row.content_id), raw=request.path), caller=reader.caller
    )
    response = StreamingHttpResponse(content.chunks, content_type=content.content_type)
    if content.size is not None:
        response["Content-Length"] = str(content.size)
    response["Content-Disposition"] = f'attachment; filename="{file_name(found.row.metadata, content.content_type)}"'
    response["Content-Security-Policy"] = LOCKED
    return response


@page("GET")
def who(request: HttpRequest, reader: Reader, entry_id: str) -> HttpResponseBase:
    """Who could see a document if they asked today, and why; for the patient alone."""
    seen = who_could_see.for_patient(str(entry_id), caller=reader.caller, raw=request.path)
    if seen.person_id != reader.person_id:
        raise NotFound("no such document")
    purposes: dict[str, list[Answer]] = {}
    for line in who_could_see.in_short(seen):
        purposes.setdefault(line.purpose, []).append(_answer(line, seen))
    context = {
        "title_of": seen.title,
        "read": reverse("portal:document", args=[entry_id]),
        "purposes": [
            (gettext("You and your helpers") if code == "PATRQT" else words.purpose(code), answers)
            for code, answers in purposes.items()
        ],
        "place": "documents",
    }
    return render(request, "who.html", context, reader=reader)


def _answer(line: who_could_see.Line, seen: who_could_see.Seen) -> Answer:
    names = [gettext(words.ALL_OF_A_TYPE.get(kind, kind)) for kind in line.types]
    names += [words.isolate(keeper_of(one)) for one in line.others]
    if line.person:
        names = [_person(line.person), *names]
    if line.decision.rule == "P3":
        names = [gettext("You")]
    elif line.person.startswith("RelatedPerson/"):
        names = names[:1]  # through whichever portal he comes
    if line.roles:
        roles = ", ".join(words.role(role) for role in line.roles)
        names.append(gettext("only {roles}").format(roles=roles))
    who = ", ".join(name for name in names if name)
    why = words.would(
        line.decision.rule,
        asker=who,
        custodian=keeper_of(seen.custodian),
        choice_on=next((seen.choices[item.id] for item in line.decision.basis if item.id in seen.choices), ""),
        jurisdiction=seen.jurisdiction,
    )
    return Answer(who=who, yes=line.decision.permitted, why=why)


def _person(reference: str) -> str:
    if askers.is_team(reference):
        return gettext("Care team {name}").format(name=words.isolate(reference.partition("/")[2]))
    return words.isolate(who_could_see.name_of(reference))


# --- the list ---------------------------------------------------------------------------------------------------------


def _keepers() -> Callable[[str], str]:
    """Organizations by name, by one reading of the directory."""
    members = directory.participants()
    return lambda participant_id: members[participant_id].name if participant_id in members else ""


def _months(rows: Sequence[found_pages.Found], zone: tzinfo, keeper: Callable[[str], str]) -> list[Month]:
    months: dict[date, list[Shown]] = {}
    for first, found in groupby(rows, lambda one: document_view.day(one.row, zone).replace(day=1)):
        months.setdefault(first, []).extend(_shown(one, zone, keeper) for one in found)
    return [
        Month(dom_id=f"m-{first:%Y-%m}", name=dates.month(first), documents=documents)
        for first, documents in months.items()
    ]


def _shown(found: found_pages.Found, zone: tzinfo, keeper: Callable[[str], str]) -> Shown:
    entry = found.row.metadata
    kind = kind_of(entry)
    title = entry.title or kind or gettext("A document")
    uuid = entry.entry_uuid.removeprefix("urn:uuid:")
    made_on = document_view.day(found.row, zone)
    visit = _day(entry.service_start_time or "")
    return Shown(
        dom_id=f"d-{uuid}",
        title=title,
        kind=kind if kind != title else "",
        place=keeper(found.row.custodian),
        author=author_of(entry),
        day=dates.day(made_on),
        visit=dates.fhir_date(visit) if len(visit) == 10 and visit != made_on.isoformat() else "",
        icon=_ICONS.get(document_view.topic(entry), "doc"),
        size=_size(entry.size),
        read=reverse("portal:document", args=[uuid]),
        act=_act(entry.mime_type) if found.row.content_id else gettext("See details"),
        address=reverse("portal:save", args=[uuid]) if found.row.content_id else "",
        who=reverse("portal:who", args=[uuid]),
    )


def _act(mime_type: str) -> str:
    """What is done with a document of such a type."""
    how = document_view.shown_as(mime_type)
    if how is Kind.PICTURE:
        return gettext("Look")
    return gettext("See details") if how is Kind.FILE else gettext("Read")


def _lead(held: int, places: int) -> str:
    if not held:
        return ""
    documents = ngettext(
        "{n} document. You can read and save it.", "{n} documents. You can read and save each one.", held
    )
    organizations = ngettext("They come from {n} place.", "They come from {n} places.", places)
    said = [documents.format(n=dates.digits(held))]
    if held > 1:
        said.append(organizations.format(n=dates.digits(places)))
    return " ".join(said)


def _showing(shown: int, total: int) -> str:
    return gettext("Showing {n} of {all}").format(n=dates.digits(shown), all=dates.digits(total))


def _options(tally: Mapping[str, int], chosen: str, words_of: Callable[[str], str]) -> list[Option]:
    """All, and the values that there are, in the order of their words; one that is asked for stays, found or not."""
    found = {value: words_of(value) for value in {*tally, chosen} if value}
    options = [Option(value=value, label=label, chosen=value == chosen) for value, label in found.items() if label]
    return [
        Option(value="", label=gettext("All"), chosen=not chosen),
        *sorted(options, key=lambda one: one.label.casefold()),
    ]


def _applied(asked: Mapping[str, str], query: Mapping[str, str], keeper: Callable[[str], str]) -> list[tuple[str, str]]:
    """What is asked for in words, each with the address of the list without it."""
    said = {
        "words": asked["words"],
        "topic": _topic(asked["topic"]),
        "place": keeper(asked["place"]),
        "language": _language(asked["language"]),
        "year": dates.digits(asked["year"]),
    }
    return [
        (said[name] or asked[name], "?" + urlencode({key: value for key, value in query.items() if key != name}))
        for name in query
    ]


def _topic(value: str) -> str:
    return gettext(TOPICS[value]) if value in TOPICS else ""


def _language(code: str) -> str:
    if not code:
        return ""
    try:
        return str(get_language_info(code)["name_translated"]).capitalize()
    except KeyError:
        return code


def _day(dtm: str) -> str:
    """A DTM (YYYYMMDD…) as a FHIR date."""
    return "-".join(part for part in (dtm[:4], dtm[4:6], dtm[6:8]) if part)


def _size(size: int | None) -> str:
    if not size:
        return ""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{dates.digits(size)} {unit}"
        size = round(size / 1000)
    return f"{dates.digits(size)} GB"
