"""My documents: what the patient (or a helper) may read, through the same door as everybody."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from documents.filters import EntryFilter
from documents.metadata import Status
from hie.directory import queries as directory
from hie.exchange import askers, find, retrieve, who_could_see
from hie.exchange.document_filter import Asked
from hie.exchange.errors import NotFound
from hie.faces.portal import dates, words
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader

DOCUMENTS = 50
_ENDINGS = {
    "text/xml": "xml",
    "application/xml": "xml",
    "application/hl7-cda+xml": "xml",
    "application/pdf": "pdf",
    "image/png": "png",
    "image/jpeg": "jpg",
    "application/dicom": "dcm",
    "application/fhir+json": "json",
    "text/plain": "txt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A document in the list."""

    dom_id: str
    title: str
    kind: str
    place: str
    author: str
    day: str
    icon: str
    size: str
    address: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Who could see it, for one purpose: yes or no, and why."""

    who: str
    yes: bool
    why: str


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """The documents, newest first."""
    after = request.GET.get("after", "")[:400]
    search = find.DocumentSearch(
        patients=((find.PatientNamed(id=reader.person_id),),),
        asked=Asked(entries=EntryFilter(statuses=(Status.APPROVED,))),
        after=tuple(after.split("|")) if after else None,
        count=DOCUMENTS,
        raw=f"/my/documents {request.META.get('QUERY_STRING', '')}"[:500],
    )
    found = find.find_documents(search, caller=reader.caller)
    documents = [_shown(row) for row in found.rows]
    count = ngettext("{n} document. You can save it.", "{n} documents. You can save each one.", found.total)
    context = {
        "documents": documents,
        "lead": count.format(n=dates.digits(found.total)) if found.total else "",
        "older": "?" + urlencode({"after": "|".join(found.rows[-1].key)}) if found.more and found.rows else "",
        "place": "documents",
    }
    return render(request, "documents.html", context, reader=reader)


@page("GET")
def save(request: HttpRequest, reader: Reader, entry_id: str) -> HttpResponseBase:
    """The bytes of a document, as they were published."""
    found = find.read_document(str(entry_id), caller=reader.caller, raw=request.path)
    if found.person_id != reader.person_id or not found.row.binary_id:
        raise NotFound("no such document")
    content = retrieve.retrieve(
        retrieve.Wanted(binary_id=str(found.row.binary_id), raw=request.path), caller=reader.caller
    )
    response = StreamingHttpResponse(content.chunks, content_type=content.content_type)
    if content.size is not None:
        response["Content-Length"] = str(content.size)
    mime = content.content_type.partition(";")[0].strip().lower()
    title = re.sub(r"[^A-Za-z0-9]+", "-", found.row.metadata.title or "").strip("-")[:60] or "document"
    response["Content-Disposition"] = f'attachment; filename="{title}.{_ENDINGS.get(mime, "bin")}"'
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
        "purposes": [
            (gettext("You and your helpers") if code == "PATRQT" else words.purpose(code), answers)
            for code, answers in purposes.items()
        ],
        "place": "documents",
    }
    return render(request, "who.html", context, reader=reader)


def _answer(line: who_could_see.Line, seen: who_could_see.Seen) -> Answer:
    names = [gettext(words.ALL_OF_A_TYPE.get(kind, kind)) for kind in line.types]
    names += [words.isolate(_custodian(one)) for one in line.others]
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
        custodian=_custodian(seen.custodian),
        choice_on=next((seen.choices[item.id] for item in line.decision.basis if item.id in seen.choices), ""),
        jurisdiction=seen.jurisdiction,
    )
    return Answer(who=who, yes=line.decision.permitted, why=why)


def _person(reference: str) -> str:
    if askers.is_team(reference):
        return gettext("Care team {name}").format(name=words.isolate(reference.partition("/")[2]))
    return words.isolate(who_could_see.name_of(reference))


def _shown(found: find.Found) -> Shown:
    entry = found.row.metadata
    kind = next((code.display for code in (entry.type_code, entry.class_code) if code and code.display), "") or ""
    title = entry.title or kind or "…"
    author = entry.authors[0] if entry.authors else None
    person = getattr(author, "person", None)
    name = (
        " ".join(
            part
            for part in (getattr(person, "prefix", ""), getattr(person, "given", ""), getattr(person, "family", ""))
            if part
        )
        if person
        else ""
    )
    uuid = entry.entry_uuid.removeprefix("urn:uuid:")
    mime = entry.mime_type
    return Shown(
        dom_id=f"d-{uuid}",
        title=title,
        kind=kind if kind != title else "",
        place=_custodian(found.row.custodian),
        author=name,
        day=dates.fhir_date(_day(entry.service_start_time or entry.creation_time or "")),
        icon="image" if mime.startswith("image/") or mime == "application/dicom" else "doc",
        size=_size(entry.size),
        address=reverse("portal:save", args=[uuid]),
        who=reverse("portal:who", args=[uuid]),
    )


def _day(dtm: str) -> str:
    """A DTM (YYYYMMDD…) as a FHIR date."""
    return "-".join(part for part in (dtm[:4], dtm[4:6], dtm[6:8]) if part)


def _custodian(participant_id: str) -> str:
    facts = directory.participant(participant_id)
    return facts.name if facts else ""


def _size(size: int | None) -> str:
    if not size:
        return ""
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{dates.digits(size)} {unit}"
        size = round(size / 1000)
    return f"{dates.digits(size)} GB"
