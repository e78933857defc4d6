"""Who may act for the patient, and how that ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop

from hie.exchange import helpers
from hie.exchange.errors import NotFound
from hie.exchange.helpers import Helper
from hie.faces.portal import dates
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader

KINDS = {
    "parent": gettext_noop("Your parent"),
    "guardian-of-minor": gettext_noop("Your guardian"),
    "guardian": gettext_noop("Your guardian"),
    "attorney": gettext_noop("Acts for you by law"),
    "nominated": gettext_noop("You named this helper"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A helper as the page shows one."""

    id: str
    name: str
    kind: str
    status: str
    private: bool
    may_consent: bool
    since: str
    until: str
    mine: bool


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """All helpers, those of now first."""
    found = _shown(helpers.of_patient(reader.person_id, caller=reader.caller))
    context = {
        "now": [one for one in found if one.status != "ended"],
        "before": [one for one in found if one.status == "ended"],
        "ended": "ended" in request.GET,
        "place": "helpers",
    }
    return render(request, "helpers.html", context, reader=reader)


@page("GET", "POST")
def end(request: HttpRequest, reader: Reader, grant_id: UUID) -> HttpResponseBase:
    """Ask, then end a permission that the patient gave."""
    if request.method == "POST":
        helpers.end(grant_id, reader.person_id, caller=reader.caller)
        return HttpResponseRedirect(f"{reverse('portal:helpers')}?ended=1#notice")
    found = [one for one in helpers.of_patient(reader.person_id, caller=reader.caller) if one.mine]
    asked = next((one for one in _shown(found) if one.id == str(grant_id)), None)
    if asked is None:
        raise NotFound("no such helper")
    return render(request, "helper_end.html", {"helper": asked, "place": "helpers"}, reader=reader)


def _shown(found: Sequence[Helper]) -> list[Shown]:
    return [
        Shown(
            id=str(one.grant_id),
            name=one.name or gettext("A helper"),
            kind=gettext(KINDS.get(one.kind, KINDS["nominated"])),
            status=one.status,
            private=one.letter in ("R", "V"),
            may_consent=one.may_consent,
            since=dates.fhir_date(one.since),
            until=dates.fhir_date(one.ends_on) if one.ends_on else "",
            mine=one.mine,
        )
        for one in found
    ]
