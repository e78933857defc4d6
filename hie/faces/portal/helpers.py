"""Who may act for the patient, and how that ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext, gettext_noop

from hie.exchange import helpers
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.helpers import CODE_LASTS, Helper
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
        "named": "named" in request.GET,
        "place": "helpers",
    }
    return render(request, "helpers.html", context, reader=reader)


@page("POST")
def code(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """A code to tell somebody whom the reader is willing to help; shown once."""
    made = helpers.make_code(reader.account.helper_id, caller=reader.caller)
    context = {"code": made, "days": CODE_LASTS.days, "place": "helpers"}
    return render(request, "helper_code.html", context, reader=reader)


@page("GET", "POST")
def name(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Ask for a helper's code; then show whose it is, and ask how far the help goes; then give it."""
    typed = {field: request.POST.get(field, "").strip()[:100] for field in ("code", "letter", "end")}
    may_consent = request.POST.get("may_consent", "") == "yes"
    problem = field = helper = ""
    if request.method == "POST":
        try:
            if request.POST.get("step") == "give":
                helpers.nominate(
                    typed["code"], reader.person_id, letter=typed["letter"], end=typed["end"], may_consent=may_consent,
                    caller=reader.caller,
                )  # fmt: skip
                return HttpResponseRedirect(f"{reverse('portal:helpers')}?named=1#notice")
            helper = helpers.named_by(typed["code"], reader.person_id, caller=reader.caller)
        except BadRequest as error:
            field = error.element if error.element in PROBLEMS else "code"
            problem = gettext(PROBLEMS[field])
            if field in ("letter", "end"):
                helper = helpers.named_by(typed["code"], reader.person_id, caller=reader.caller)
    context = {
        "helper": helper,
        "typed": typed,
        "may_consent": may_consent,
        "problem": problem,
        "field": field,
        "place": "helpers",
    }
    return render(request, "helper_name.html", context, reader=reader, status=422 if problem else 200)


PROBLEMS = {
    "code": gettext_noop("This code does not work. Ask your helper for a new one."),
    "helper": gettext_noop(
        "You cannot name this helper by a code: they can act for you already, or only our office can allow it."
    ),
    "patient": gettext_noop("You can name helpers when you are of age. Ask our office until then."),
    "letter": gettext_noop("Choose what they may see."),
    "end": gettext_noop("Choose a day that is still to come."),
}


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
