"""Notices to whoever signs in: the inbox, the choice, and the pages that the links of a mail lead to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop, ngettext

from hie.exchange import accounts, patient_notices
from hie.exchange.errors import BadRequest
from hie.exchange.patient_notices import CHOICES, Shown
from hie.faces.portal import dates, session
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader

CHOICE_WORDS = {
    "all": (
        gettext_noop("Each look"),
        gettext_noop("You hear of each look, and of each try. It can be many notices."),
    ),
    "new-organization": (
        gettext_noop("A new place, or an emergency"),
        gettext_noop("You hear when a place looks that never did before."),
    ),
    "emergency": (
        gettext_noop("Only an emergency"),
        gettext_noop("You hear of each emergency look at your record."),
    ),
    "weekly": (
        gettext_noop("Once a week"),
        gettext_noop("If someone looked, you hear it once a week. Of an emergency you hear at once."),
    ),
    "none": (
        gettext_noop("Nothing"),
        gettext_noop("You get no notices. All looks still stand in your log."),
    ),
}
SENTENCES = {
    "look": gettext_noop("Someone looked at your record, or tried to."),
    "new-organization": gettext_noop("Someone new looked at your record."),
    "emergency": gettext_noop("There was an emergency look at your record."),
    "concern": gettext_noop("There is news about your concern."),
}
THEIR_SENTENCES = {
    "look": gettext_noop("Someone looked at a record that you help with, or tried to."),
    "new-organization": gettext_noop("Someone new looked at a record that you help with."),
    "emergency": gettext_noop("There was an emergency look at a record that you help with."),
    "concern": gettext_noop("There is news about your concern."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A notice as the page shows it. `person` is whom to act for to follow `to`; "" for oneself, None where nobody need."""

    dom_id: str
    sentence: str
    whose: str
    when: str
    at: str
    new: bool
    to: str
    act: str
    person: str
    change: bool
    icon: str


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What happened, newest first, and the choice of what to be told of."""
    return _page(request, reader)


@page("POST")
def choose(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Keep the choice; a new address gets a mail."""
    by_mail = request.POST.get("by_mail") == "yes"
    try:
        asks = patient_notices.choose(
            reader.account,
            reader.visit,
            wanted=request.POST.get("wanted", ""),
            by_mail=by_mail,
            address=request.POST.get("address", "")[:300],
        )
    except BadRequest as error:
        return _page(request, reader, fault=_fault(error), field=error.element or "wanted")
    return HttpResponseRedirect(f"{reverse('portal:notices')}?{urlencode({'kept': 'mail' if asks else '1'})}#notice")


@page("POST")
def read(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Mark all as read."""
    patient_notices.mark_read(reader.account)
    return HttpResponseRedirect(f"{reverse('portal:notices')}#inbox")


@page("GET", "POST", signed_in=False)
def address(request: HttpRequest, token: str) -> HttpResponseBase:
    """Whoever follows the link of a mail says that the address is his; works signed out. A GET changes nothing: programs follow links too."""
    if request.method == "POST":
        done = patient_notices.verify(token, session.visit_of(request))
        return _linked(request, "address", "done" if done else "old")
    return _linked(request, "address", "ask" if patient_notices.is_link(token) else "old")


@page("GET", "POST", signed_in=False, by_link=True)
def unsubscribe(request: HttpRequest, token: str) -> HttpResponseBase:
    """End the mails; works signed out, and by one press in a mail program (RFC 8058)."""
    if request.method == "POST":
        done = patient_notices.unsubscribe(token, session.visit_of(request))
        return _linked(request, "unsubscribe", "done" if done else "old")
    return _linked(request, "unsubscribe", "ask" if patient_notices.is_unsubscribe(token) else "old")


def _linked(request: HttpRequest, what: str, state: str) -> HttpResponse:
    status = 410 if state == "old" else 200
    return render(request, "notice_link.html", {"what": what, "state": state}, status=status)


def _page(request: HttpRequest, reader: Reader, *, fault: str = "", field: str = "") -> HttpResponseBase:
    chosen = patient_notices.chosen(reader.account)
    typed = request.POST if fault else {}
    wanted = typed.get("wanted", "") or chosen.wanted
    zone = accounts.zone_of(reader.account.person_id)
    found = patient_notices.inbox(reader.account, reader.visit, reader.people)
    context = {
        "rows": [_row(n, one, reader, zone) for n, one in enumerate(found)],
        "unread": any(not one.read for one in found),
        "choices": [
            (code, gettext(CHOICE_WORDS[code][0]), gettext(CHOICE_WORDS[code][1]), code == wanted) for code in CHOICES
        ],
        "by_mail": typed.get("by_mail") == "yes" if fault else chosen.by_mail,
        "address": typed.get("address", "") if fault else chosen.address,
        "waits": bool(chosen.address) and chosen.by_mail and not chosen.verified,
        "failing": chosen.failing,
        "can_mail": chosen.can_mail,
        "fault": fault,
        "field": field,
        "kept": request.GET.get("kept", ""),
        "place": "notices",
    }
    return render(request, "notices.html", context, reader=reader, status=422 if fault else 200)


def _fault(error: BadRequest) -> str:
    if error.element == "address":
        many = "many" in str(error)
        return (
            gettext("You tried many addresses today. Wait for a day, then try again.")
            if many
            else gettext("Write your mail address, such as name@example.org.")
        )
    if error.element == "by_mail":
        return gettext("We cannot send mail here. You find your notices on this page.")
    return gettext("Choose what you want to hear of.")


def _row(n: int, one: Shown, reader: Reader, zone: ZoneInfo) -> Row:
    to, act = "", ""
    if one.concern:
        to, act = reverse("portal:concern", args=[one.concern]), gettext("Read it")
    elif one.kind == "emergency":
        to, act = reverse("portal:emergencies"), gettext("See who it was")
    elif one.event_id:
        at = one.at.astimezone(UTC).isoformat()
        to = f"{reverse('portal:line', args=[one.event_id])}?{urlencode({'at': at})}"
        act = gettext("See who it was")
    elif one.kind == "week":
        to, act = reverse("portal:log"), gettext("See the log")
    mine = not one.whose
    person = "" if mine else one.person_id
    now = reader.acting.person_id if reader.acting else ""
    today = timezone.now().astimezone(zone).date()
    name, _ = dates.heading(one.at.astimezone(zone).date(), today)
    return Row(
        dom_id=f"n{n}",
        sentence=_sentence(one, mine=mine),
        whose=one.whose,
        when=f"{name}, {dates.clock(one.at, zone)}",
        at=one.at.isoformat(),
        new=not one.read,
        to=to,
        act=act,
        person=person,
        change=person != now,
        icon="emergency" if one.kind == "emergency" else "seen" if one.kind in {"look", "new-organization"} else "info",
    )


def _sentence(one: Shown, *, mine: bool) -> str:
    if one.kind != "week":
        return gettext((SENTENCES if mine else THEIR_SENTENCES)[one.kind])
    if mine:
        template = ngettext(
            "In one week there was {n} look at your record.",
            "In one week there were {n} looks at your record.",
            one.count,
        )
    else:
        template = ngettext(
            "In one week there was {n} look at a record that you help with.",
            "In one week there were {n} looks at a record that you help with.",
            one.count,
        )
    return template.format(n=dates.digits(one.count))
