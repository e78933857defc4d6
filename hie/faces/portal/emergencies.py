"""Emergency access as the patient is told of it: who, where, why, whether it was right; and how to object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, gettext_noop

from hie.exchange import accounts, emergency
from hie.exchange.access_log_lines import ROLE_WORDS, SENTENCES, ActorKind, Who
from hie.exchange.emergency import MAX_OBJECTION, EmergencyNotice
from hie.exchange.errors import BadRequest
from hie.faces.portal import dates, words
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader

CODES = {
    "UNCONSCIOUS": gettext_noop("you were not awake"),
    "UNABLE-TO-CONSENT": gettext_noop("you could not be asked"),
    "LIFE-THREAT": gettext_noop("your life was in danger"),
    "PUBLIC-SAFETY": gettext_noop("other people were in danger"),
    "OTHER": gettext_noop("another reason"),
}
"""What the clinician's code says, to the patient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One emergency as the page shows it."""

    number: int
    sentence: SafeString
    held_back: str
    day: str
    clock: str
    until: str
    at: str
    quotation: str
    code: str
    outcome: str
    suspended: bool
    checker: str
    objected: str
    objection: str
    looks: str


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Every emergency of the last months, newest first."""
    return _page(request, reader)


@page("POST")
def object_to(request: HttpRequest, reader: Reader, number: int) -> HttpResponseBase:
    """Keep an objection; whoever checks the emergency reads it first."""
    said = request.POST.get("words", "")[: MAX_OBJECTION + 1]
    try:
        emergency.object_to(number, reader.person_id, said, caller=reader.caller)
    except BadRequest:
        return _page(request, reader, wrong=number, typed=said)
    return HttpResponseRedirect(f"{reverse('portal:emergencies')}?{urlencode({'sent': number})}#notice")


def _page(request: HttpRequest, reader: Reader, *, wrong: int | None = None, typed: str = "") -> HttpResponseBase:
    found = emergency.notices(reader.person_id, caller=reader.caller)
    sent = request.GET.get("sent", "")
    context = {
        "emergencies": _told(found, reader),
        "wrong": wrong,
        "typed": typed,
        "longest": MAX_OBJECTION,
        "sent": any(str(one.review_id) == sent and one.objected_at is not None for one in found),
        "place": "log",
    }
    return render(request, "emergencies.html", context, reader=reader, status=200 if wrong is None else 422)


def _told(found: Sequence[EmergencyNotice], reader: Reader) -> list[Told]:
    zone = accounts.zone_of(reader.person_id)
    helper = reader.acting is not None
    today, asked = timezone.now().astimezone(zone).date(), {"result": "emergency"}
    made = []
    for one in found:
        began, ended = one.at.astimezone(zone), one.until.astimezone(zone)
        name, more = dates.heading(began.date(), today)
        made.append(
            Told(
                number=one.review_id,
                sentence=_sentence(one, helper=helper),
                held_back=words.held_back(_who(one)),
                day=", ".join(part for part in (name, more) if part),
                clock=dates.clock(one.at, zone),
                until=f"{dates.clock(one.until, zone)}, {dates.day(ended.date())}",
                at=one.at.isoformat(),
                quotation=words.isolate(one.text),
                code=gettext(CODES[one.code]) if one.code in CODES and not helper else "",
                outcome=one.outcome,
                suspended=one.suspended,
                checker=words.isolate(one.outcome_reason),
                objected=dates.day(one.objected_at.astimezone(zone).date()) if one.objected_at else "",
                objection=words.isolate(one.objection),
                looks=f"{reverse('portal:log')}?{urlencode(asked | {'person': one.name} if one.name else asked)}",
            )
        )
    return made


def _sentence(one: EmergencyNotice, *, helper: bool) -> SafeString:
    """The log's own sentence of the declaration."""
    template = (words.THEIRS if helper else SENTENCES)["declared"]
    return format_html("{}", words.fill(gettext(template), {"who": words.who_of(_who(one))}))


def _who(one: EmergencyNotice) -> Who:
    return Who(
        kind=ActorKind.PERSON,
        name=one.name,
        role=one.role,
        role_words=ROLE_WORDS.get(one.role, words.UNKNOWN_ROLE) if one.role else "",
        organization=one.organization,
        withheld=one.withheld,
    )
