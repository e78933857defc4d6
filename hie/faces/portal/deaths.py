"""How somebody says that she lives, whom the record says is dead; the page that asks is any page that would refuse her."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse

from hie.exchange import deaths
from hie.exchange.deaths import MAX_SAID
from hie.exchange.errors import BadRequest
from hie.faces.portal.page import page, said_dead
from hie.faces.portal.session import Reader


@page("POST")
def object_to(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Keep what she says; nothing opens by it."""
    said = request.POST.get("words", "")[: MAX_SAID + 1]
    try:
        deaths.object_to(reader.person_id, said, caller=reader.caller)
    except BadRequest:
        return said_dead(request, wrong=True, typed=said)
    return HttpResponseRedirect(reverse("portal:log"))
