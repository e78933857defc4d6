"""What a patient does not recognise in the log: the form on a line, the list, one concern with its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop, pgettext

from hie.exchange import accounts, concerns
from hie.exchange.concern_rows import PATIENT, Act, ConcernRefused, Outcome, Said, Status
from hie.exchange.concerns import MAX_WORDS, REASONS, Brief, Told
from hie.exchange.errors import BadRequest
from hie.faces.portal import dates, log, words
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader

REASON_WORDS = {
    "person": gettext_noop("I don’t know this person or place"),
    "visit": gettext_noop("I was not there on that day"),
    "purpose": gettext_noop("The reason is not right"),
    "other": gettext_noop("Something else"),
}
THEIR_REASON_WORDS = {"visit": gettext_noop("The person was not there on that day")}
_TITLES = {
    "person": gettext_noop("I don’t know who looked on {day}"),
    "visit": gettext_noop("I was not there on {day}"),
    "purpose": gettext_noop("The reason of {day} is not right"),
    "other": gettext_noop("I don’t recognise a look of {day}"),
}
_SAID_BY = {
    Act.ANSWERED: gettext_noop("They answered"),
    Act.ASKED: gettext_noop("We asked them"),
    Act.WROTE: gettext_noop("We wrote to you"),
    Act.EXPLAINED: gettext_noop("We checked it: the look was right"),
    Act.UPHELD: gettext_noop("We checked it: the look was wrong"),
    Act.REOPENED: gettext_noop("We opened it again"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A concern in the list."""

    number: str
    title: str
    raised: str
    badge: str
    icon: str
    by_helper: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """One thing that was said; `mine`: by the patient's side."""

    who: str
    when: str
    at: str
    text: str
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where it stands; `state` is done, now or "" for what is to come."""

    name: str
    more: str
    state: str


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """All concerns, newest first."""
    zone = accounts.zone_of(reader.person_id)
    helper = reader.acting is not None
    rows = [_row(one, zone, helper=helper) for one in concerns.listed(reader.person_id, caller=reader.caller)]
    return render(request, "concerns.html", {"rows": rows, "place": "concerns"}, reader=reader)


@page("GET", "POST")
def new(request: HttpRequest, reader: Reader, event_id: UUID) -> HttpResponseBase:
    """The form on a line; a POST sends it."""
    if request.method != "POST":
        return _form(request, reader, event_id, {})
    said, reason = request.POST.get("words", "")[: MAX_WORDS * 2], request.POST.get("reason", "")
    try:
        number = concerns.open_one(event_id, reader.person_id, reason, said, caller=reader.caller)
    except BadRequest as error:
        return _form(request, reader, event_id, {error.element or "reason": _fault(error)})
    return HttpResponseRedirect(f"{reverse('portal:concern', args=[number])}?sent=1#notice")


@page("GET")
def one(request: HttpRequest, reader: Reader, number: str) -> HttpResponseBase:
    """One concern: where it stands, the line, what was said."""
    return _page(request, reader, number)


@page("POST")
def say(request: HttpRequest, reader: Reader, number: str) -> HttpResponseBase:
    """Add words, ask to look further, or close it, by which button was pressed."""
    said = request.POST.get("words", "")[: MAX_WORDS * 2]
    act = request.POST.get("act", "")
    try:
        if act == "close":
            concerns.close(number, reader.person_id, caller=reader.caller)
        elif act == "further":
            concerns.look_further(number, reader.person_id, said, caller=reader.caller)
        else:
            concerns.say(number, reader.person_id, said, caller=reader.caller)
    except BadRequest as error:
        return _page(request, reader, number, fault=_fault(error), typed=said)
    except ConcernRefused:
        return _page(request, reader, number, fault=gettext("This has changed. Look at it again."), status=409)
    return HttpResponseRedirect(f"{reverse('portal:concern', args=[number])}?kept=1#notice")


def _form(request: HttpRequest, reader: Reader, event_id: UUID, faults: dict[str, str]) -> HttpResponseBase:
    found = concerns.doubted(event_id, reader.person_id, caller=reader.caller)
    zone = accounts.zone_of(reader.person_id)
    helper = reader.acting is not None
    context = {
        "line": log.line_of(found.line, reader, zone, with_day=True),
        "organization": found.organization,
        "due": _day(found.due_at, zone),
        "reasons": [(code, _reason(code, helper=helper), code == request.POST.get("reason", "")) for code in REASONS],
        "earlier": [_row(one, zone, helper=helper) for one in found.earlier],
        "typed": request.POST.get("words", ""),
        "faults": faults,
        "longest": MAX_WORDS,
        "place": "log",
    }
    return render(request, "concern_new.html", context, reader=reader, status=422 if faults else 200)


def _page(
    request: HttpRequest, reader: Reader, number: str, *, fault: str = "", typed: str = "", status: int = 422
) -> HttpResponseBase:
    found = concerns.read(number, reader.person_id, caller=reader.caller)
    zone = accounts.zone_of(reader.person_id)
    brief, helper = found.brief, reader.acting is not None
    context = {
        "number": brief.number,
        "title": _title(brief, zone, helper=helper),
        "reason": _reason(brief.reason, helper=helper),
        "badge": _badge(brief),
        "icon": _icon(brief),
        "waits_for": brief.organization if brief.status == Status.ASKED else "",
        "open": brief.status not in {Status.SETTLED, Status.WITHDRAWN},
        "answered": brief.status == Status.ANSWERED,
        "due": _day(brief.due_at, zone),
        "overdue": brief.overdue,
        "steps": _steps(found, zone),
        "line": log.line_of(found.line, reader, zone, with_day=True) if found.line is not None else None,
        "said": _said(found, reader, zone),
        "read_by": brief.organization,
        "may_say": Act.SAID in found.may,
        "may_dispute": Act.DISPUTED in found.may,
        "may_withdraw": Act.WITHDRAWN in found.may,
        "may_accept": Act.ACCEPTED in found.may,
        "typed": typed,
        "fault": fault,
        "longest": MAX_WORDS,
        "sent": request.GET.get("sent") == "1" and brief.mine,
        "kept": request.GET.get("kept") == "1",
        "place": "concerns",
    }
    return render(request, "concern.html", context, reader=reader, status=status if fault else 200)


def _fault(error: BadRequest) -> str:
    if error.element == "reason":
        return gettext("Choose what it is.")
    if error.element == "line":
        return gettext("There are many concerns already. Add your words to one of them, or call us.")
    return gettext("Write what you want to say, in at most 1000 letters.")


def _reason(code: str, *, helper: bool) -> str:
    return gettext((THEIR_REASON_WORDS.get(code) if helper else None) or REASON_WORDS[code])


def _title(brief: Brief, zone: ZoneInfo, *, helper: bool) -> str:
    """In the patient's own words, where she raised it and reads it."""
    key = brief.reason if brief.mine and not helper else "other"
    return gettext(_TITLES[key]).format(day=_day(brief.event_at, zone))


def _row(brief: Brief, zone: ZoneInfo, *, helper: bool) -> Row:
    return Row(
        number=brief.number,
        title=_title(brief, zone, helper=helper),
        raised=_day(brief.raised_at, zone),
        badge=_badge(brief),
        icon=_icon(brief),
        by_helper=not brief.mine,
    )


def _badge(brief: Brief) -> str:
    if brief.outcome == Outcome.EXPLAINED:
        return gettext("Checked: the look was right")
    if brief.outcome == Outcome.UPHELD:
        return gettext("Checked: the look was wrong")
    if brief.outcome == Outcome.ACCEPTED:
        return gettext("Settled")
    return {
        Status.WITHDRAWN: gettext("You took it back"),
        Status.ANSWERED: gettext("There is an answer for you"),
        Status.ASKED: gettext("They must answer"),
    }.get(Status(brief.status), gettext("We look into it"))


def _icon(brief: Brief) -> str:
    if brief.status in {Status.SETTLED, Status.WITHDRAWN}:
        return "tick"
    return "info" if brief.status == Status.ANSWERED else "clock"


def _steps(found: Told, zone: ZoneInfo) -> Sequence[Step]:
    brief = found.brief
    over = found.closed_at is not None
    steps = [Step(name=gettext("We have it"), more=_moment(brief.raised_at, zone), state="done")]
    if found.asked_at is not None:
        steps.append(Step(name=gettext("We asked them"), more=_moment(found.asked_at, zone), state="done"))
        if found.answered_at is not None and found.answered_at >= found.asked_at:
            steps.append(Step(name=gettext("They answered"), more=_moment(found.answered_at, zone), state="done"))
        elif brief.overdue:
            steps.append(Step(name=gettext("They did not answer in time"), more="", state="done"))
        elif not over:
            more = gettext("by {day}").format(day=_day(brief.due_at, zone))
            steps.append(Step(name=gettext("They answer"), more=more, state="now"))
    if over and found.closed_at is not None:
        steps.append(Step(name=gettext("It is closed"), more=_moment(found.closed_at, zone), state="done"))
    elif brief.status == Status.OFFICE:
        more = gettext("by {day}").format(day=_day(brief.due_at, zone))
        steps.append(Step(name=gettext("Our office looks into it"), more=more, state="now"))
    elif brief.status == Status.ANSWERED:
        steps.append(Step(name=gettext("You say if it is settled"), more=gettext("or we look further"), state="now"))
    else:
        steps.append(Step(name=gettext("You say if it is settled"), more=gettext("or we look further"), state=""))
    return steps


def _said(found: Told, reader: Reader, zone: ZoneInfo) -> list[Saying]:
    made = []
    for one in found.said:
        if not one.words:
            continue
        mine = one.actor == PATIENT or one.actor.startswith("RelatedPerson/")
        made.append(
            Saying(
                who=_who(one, found.brief, reader),
                when=_moment(one.at, zone),
                at=one.at.isoformat(),
                text=one.words,
                mine=mine,
            )
        )
    return made


def _who(one: Said, brief: Brief, reader: Reader) -> str:
    if one.actor == reader.caller.user_id or (one.actor == PATIENT and reader.acting is None):
        return pgettext("person", "You")
    if one.actor.startswith("RelatedPerson/"):
        return words.isolate(one.name) or gettext("A helper")
    if one.kind == Act.ANSWERED:
        return words.isolate(brief.organization) or gettext("They answered")
    return gettext(_SAID_BY[Act(one.kind)]) if one.kind in _SAID_BY else gettext("Our office")


def _day(moment: datetime, zone: ZoneInfo) -> str:
    return dates.day(moment.astimezone(zone).date())


def _moment(moment: datetime, zone: ZoneInfo) -> str:
    return f"{_day(moment, zone)}, {dates.clock(moment, zone)}"
