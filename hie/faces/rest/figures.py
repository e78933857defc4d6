"""`/api/participants/self/figures`: what a participant asked, sent and failed, and who asks for its documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hie.audit.figures import Cell
from hie.directory import queries as directory
from hie.exchange import own_figures
from hie.exchange.errors import BadRequest
from hie.exchange.query_answers import instant
from hie.faces.rest.queries import ERRORS, CallerView, caller_of
from hie.faces.rest.serializers import OwnFiguresOutput
from hie.trust import limits

PERIOD = OpenApiParameter(
    "period", str, description="Days up to today (7, 28, 90 or 365; 28 when absent), or a calendar month as 2026-10."
)


class Own(CallerView):
    """The caller's own organization and those below it, never another's."""

    @extend_schema(parameters=[PERIOD], responses={200: OwnFiguresOutput, **ERRORS})
    def get(self, request: Request) -> Response:
        """The participant's own view, for a purpose of its operations.

        Requests count once each, whoever they were about and whatever was found. Who had documents of the participant is
        told by calendar months that are over, where eleven patients and more are concerned.
        """
        caller = caller_of(request)
        with limits.admit(caller):
            for name in request.query_params:
                if name != "period":
                    raise BadRequest("not understood here", element=name[:100])
            asked = request.query_params.get("period", "")
            found = own_figures.of_caller(asked, caller=caller, raw=f"GET {request._request.get_full_path()}")
        return Response(_as_json(found))


def _as_json(own: own_figures.Own) -> dict[str, Any]:
    names = {key: facts.name for key, facts in directory.participants().items()}

    def named(organization: str) -> dict[str, str]:
        return {"id": organization, "name": names.get(organization, "")}

    return {
        "participants": [named(one) for one in own.participants],
        "period": {"since": own.period.since.isoformat(), "until": own.period.until.isoformat()},
        "step": own.period.step,
        "counted_at": instant(own.counted_at) if own.counted_at else None,
        "asked": _requests(own.asked),
        "refused_at_the_door": sum(one.total for one in own.refused),
        "failed_here": own.broke,
        "sent": _requests(own.sent),
        "sent_as": [{"what": one.keys[0], "came": one.keys[1], "requests": one.total} for one in own.sent_as],
        "messages": [
            {"status": one.keys[0], "protocol": one.keys[1], "messages": one.n, "again": one.total}
            for one in own.messages
        ],
        "received": [{"what": one.keys[0], "count": one.n} for one in own.received],
        "record_fields": _fields(own.record_fields),
        "document_fields": _fields(own.document_fields),
        "delays": [{"within": one.keys[0], "documents": one.n} for one in own.delays],
        "feed_delays": [{"within": one.keys[0], "messages": one.n} for one in own.feed_delays],
        "records": {"in_use": own.records, "one_too_many": own.surplus},
        "months_told": [f"{one:%Y-%m}" for one in own.months],
        "asked_for": [
            {
                "month": f"{one.month:%Y-%m}",
                "organization": named(one.organization),
                "purpose": one.purpose,
                "documents": one.documents,
            }
            for one in own.asked_for
        ],
        "may_ask": [
            {"organization": named(one.organization), "purposes": list(one.purposes), "limited": one.limited}
            for one in own.may_ask
        ],
    }


def _requests(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    return [{"on": one.keys[0].isoformat(), "what": one.keys[1], "requests": one.total} for one in cells]


def _fields(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    return [{"field": one.keys[0], "filled": one.total, "of": one.n} for one in cells]
