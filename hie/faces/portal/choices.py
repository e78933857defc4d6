"""My choices: who may see the record, what a change would do, the change itself, and the way back.

Every change is a page that shows what it would do first. Nothing here decides what a choice means: a form becomes
`Choices`, which the exchange turns into a Consent, compares and files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext

from consent.choices import Choices, ChoicesRefused
from consent.errors import DirectiveChanged, DirectiveOfAnother, DirectiveRefused
from hie.exchange import accounts
from hie.exchange import choices as exchange
from hie.exchange.choices import Action, ChoicesMoved, NothingToSave, Overview, Version
from hie.exchange.errors import BadRequest
from hie.faces.portal import choice_cards, choice_changes, choice_forms, choice_words, dates
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What is chosen, as a form."""
    found = exchange.overview(reader.person_id, caller=reader.caller, raw="/my/consent/")
    return _form(request, reader, found, found.in_force)


@page("GET")
def past(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What was chosen before, newest first; each can be gone back to."""
    zone = accounts.zone_of(reader.person_id)
    found = exchange.history(reader.person_id, caller=reader.caller, raw="/my/consent/history")
    names = choice_words.names_of_places()
    context = {
        "versions": [
            {
                "number": one.number,
                "day": dates.day(one.recorded_at.astimezone(zone).date()),
                "clock": dates.clock(one.recorded_at, zone),
                "by": choice_words.filed_by(one),
                "lines": choice_words.said(one.choices, names)
                if one.active
                else [(gettext("All choices"), gettext("Taken back."))],
                "now": n == 0,
            }
            for n, one in enumerate(found)
        ],
        "place": "choices",
    }
    return render(request, "choices_history.html", context, reader=reader)


@page("POST")
def check(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What was sent, and what it would change: nothing is saved yet."""
    if "restore" in request.POST or "end" in request.POST:
        return _confirm(request, reader, choice_forms.way_back(request))
    found = exchange.overview(reader.person_id, caller=reader.caller, raw="/my/consent/check")
    wanted = choice_forms.read(request, found)
    try:
        return _confirm(request, reader, Action(choices=wanted))
    except ChoicesRefused as refused:
        return _form(request, reader, found, wanted, refused=refused)
    except NothingToSave:
        return _form(request, reader, found, wanted, unchanged=True)


@page("POST")
def save(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Save what was shown, and nothing else."""
    action = choice_forms.action_of(request.POST.get("action", ""))
    try:
        exchange.save(
            reader.person_id,
            action,
            basis=request.POST.get("basis", "")[:64],
            caller=reader.caller,
            raw="/my/consent/save",
        )
    except (ChoicesMoved, DirectiveChanged):
        return _confirm(request, reader, action, moved=True)
    except NothingToSave:
        return HttpResponseRedirect(f"{reverse('portal:choices')}?same=1#note")
    except (ChoicesRefused, DirectiveRefused, DirectiveOfAnother) as error:
        raise BadRequest("the choice cannot be saved", element=error.element or "choices") from error
    return HttpResponseRedirect(f"{reverse('portal:choices')}?saved=1#note")


# --- pages ------------------------------------------------------------------------------------------------------------


def _form(
    request: HttpRequest,
    reader: Reader,
    found: Overview,
    wanted: Choices,
    *,
    refused: ChoicesRefused | None = None,
    unchanged: bool = False,
) -> HttpResponse:
    zone = accounts.zone_of(reader.person_id)
    fault = choice_words.fault_of(refused) if refused is not None else ""
    field = (refused.element or "choices") if refused is not None else ""
    names = choice_words.names_of_places()
    mine = found.mine if found.mine is not None and found.mine.active else None
    context = {
        "cards": choice_cards.cards(found, wanted, field, fault),
        "kinds": choice_cards.kind_cards(found, wanted, field, fault),
        "lines": choice_cards.lines(found, wanted, names, field, fault),
        "blank": len(wanted.rules),
        "offers": choice_cards.offers(found),
        "fault": fault,
        "fault_at": choice_forms.anchor(field),
        "unchanged": unchanged or "same" in request.GET,
        "saved": "saved" in request.GET,
        "since": dates.day(mine.recorded_at.astimezone(zone).date()) if mine is not None else "",
        "may_choose": found.may_choose,
        "minor": found.minor,
        "undo": _undo(found),
        "others": [_other(one, zone, names) for one in found.others],
        "past": found.mine is not None,
        "place": "choices",
    }
    return render(request, "choices.html", context, reader=reader)


def _confirm(request: HttpRequest, reader: Reader, action: Action, *, moved: bool = False) -> HttpResponseBase:
    try:
        shown = exchange.preview(reader.person_id, action, caller=reader.caller, raw="/my/consent/check")
    except NothingToSave:
        if action.choices is not None and not moved:
            raise
        return HttpResponseRedirect(f"{reverse('portal:choices')}?same=1#note")
    except (DirectiveRefused, DirectiveOfAnother) as error:
        raise BadRequest("the choice cannot be saved", element=error.element or "choices") from error
    names = choice_words.names_of_places()
    zone = accounts.zone_of(reader.person_id)
    rows = choice_changes.rows(shown, names, helper=reader.acting is not None)
    closes, opens = sum(not row.opens for row in rows), sum(row.opens for row in rows)
    context = {
        "before": choice_words.said(shown.before, names),
        "after": choice_words.said(shown.after, names),
        "rows": rows,
        "closes": closes,
        "opens": opens,
        "received": choice_changes.received(shown, names, zone),
        "whole": shown.found.whole,
        "nothing": not shown.found.documents,
        "warnings": choice_words.warnings(shown),
        "hides_time": shown.after is not None and any(not r.show and (r.since or r.until) for r in shown.after.rules),
        "action": json.dumps(choice_forms.packed(action)),
        "basis": shown.basis,
        "moved": moved,
        "place": "choices",
    }
    return render(request, "confirm.html", context, reader=reader, status=409 if moved else 200)


def _undo(found: Overview) -> dict[str, str] | None:
    """The field that goes back behind the last change of the form."""
    if found.mine is None or not found.may_choose:
        return None
    if found.mine.number > 1:
        return {"name": "restore", "value": str(found.mine.number - 1)}
    return {"name": "end", "value": str(found.mine.consent_id)} if found.mine.active else None


def _other(one: Version, zone: ZoneInfo, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": str(one.consent_id),
        "day": dates.day(one.recorded_at.astimezone(zone).date()),
        "by": choice_words.filed_by(one),
        "lines": choice_words.said(one.choices, names),
        "may_end": one.mine,
    }
