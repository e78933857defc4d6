"""The proof of a line: what it shows in words, and the three files with which anybody can check it alone.

For the patient: the sealed text of an event names every document of it, so a helper, who may see a part, gets none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from hie.exchange import accounts, audit_search, seals
from hie.exchange.access_log import LogEntry
from hie.exchange.errors import NotFound
from hie.faces.portal import dates, log, words
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader

_SHOWN = 20
"""Of how many events of a line the page tells the number and fingerprint; the file holds them all."""


@page("GET")
def show(request: HttpRequest, reader: Reader, event_id: str) -> HttpResponse:
    """What the proof of this line shows, how to check it, and what it does not show."""
    entry = _own_line(request, reader, str(event_id))
    zone = accounts.zone_of(reader.person_id)
    line = log.line_of(entry, reader, zone)
    asked = line.address.partition("?")[2]
    try:
        proven = audit_search.proofs(entry.event_ids, reader.caller)
    except NotFound:
        proven = []
    seal: dict[str, Any] = max((one["checkpoint"] for one in proven), key=lambda note: int(note["size"]), default={})
    newest: dict[str, Any] = proven[0]["links"][0]["to"] if proven and proven[0]["links"] else seal
    context = {
        "line": line,
        "back": line.address,
        "again": f"{reverse('portal:proof', args=[entry.id])}?{asked}",
        "file": f"{reverse('portal:proof-file', args=[entry.id])}?{asked}",
        "since": _moment(str(seal.get("time", "")), zone),
        "seal_size": newest.get("size", ""),
        "proven": [{"number": dates.digits(one["seq"]), "leaf": one["leaf"]} for one in proven[:_SHOWN]],
        "untold": any(not one["json"] for one in proven),
        "held_back": words.held_back(entry.who),
        "file_name": _file_name(proven) if proven else "",
        "seal_name": f"{newest['size']:012d}" if newest else "",
        "log_id": newest.get("log_id", ""),
        "base_url": getattr(settings, "BASE_URL", ""),
        "place": "log",
    }
    return render(request, "proof.html", context, reader=reader)


@page("GET")
def save(request: HttpRequest, reader: Reader, event_id: str) -> HttpResponse:
    """The proof as a file: one, or for a line of several events ``{"proofs": […]}``; `seal` as in the API."""
    entry = _own_line(request, reader, str(event_id))
    given = request.GET.get("seal", "")
    if given and not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise NotFound("no such seal")
    proven = audit_search.proofs(entry.event_ids, reader.caller, seal=int(given) if given else None)
    content: Any = proven[0] if len(proven) == 1 else {"proofs": proven}
    answer = HttpResponse(json.dumps(content, ensure_ascii=False, indent=1) + "\n", content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="{_file_name(proven)}"'
    return answer


@page("GET", signed_in=False)
def verifier(request: HttpRequest) -> HttpResponse:
    """The program that checks a proof: one file of Python."""
    answer = HttpResponse(seals.verifier(), content_type="text/x-python; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="standalone_verify.py"'
    return answer


def _file_name(proven: Sequence[Mapping[str, Any]]) -> str:
    return f"proof-{proven[0]['seq']}.json"


def _own_line(request: HttpRequest, reader: Reader, event_id: str) -> LogEntry:
    if reader.acting is not None:
        raise NotFound("no proof for a helper")
    return log.find(request, reader, event_id)


def _moment(text: str, zone: ZoneInfo) -> str:
    if not text:
        return ""
    moment = datetime.fromisoformat(text).astimezone(zone)
    return f"{dates.day(moment.date())}, {dates.clock(moment, zone)}"
