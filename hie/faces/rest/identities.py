"""`/api/identities/`: changes of identity and their undoing, and who was who on a day (spec/mpi.md 2)."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hie.exchange import identity_changes
from hie.exchange.identity_changes import Changed, Then
from hie.exchange.query_answers import instant
from hie.faces.rest.parsers import raw_of
from hie.faces.rest.queries import ERRORS, CallerView, caller_of
from hie.faces.rest.serializers import (
    ChangeOutput,
    HistoryInput,
    HistoryOutput,
    LinkInput,
    MergeInput,
    ReasonInput,
    SplitInput,
    Strict,
    UnlinkInput,
    UnmergeInput,
)
from hie.standards.demographics import Identifier
from hie.trust import limits

MADE = {201: ChangeOutput, **ERRORS}
SYSTEM = OpenApiParameter("system", str, required=True, description="The domain of the identifier.")
VALUE = OpenApiParameter("value", str, required=True, description="The identifier.")
AT = OpenApiParameter("at", datetime, required=True, description="The instant, RFC 3339 with offset.")


def _said(request: Request, shape: type[Strict]) -> dict[str, Any]:
    serializer = shape(data=request.data)
    serializer.is_valid(raise_exception=True)
    said: dict[str, Any] = serializer.validated_data
    return said


class Merges(CallerView):
    """Two persons are one."""

    @extend_schema(request=MergeInput, responses=MADE)
    def post(self, request: Request) -> Response:
        """Merge; the event in the answer undoes it."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            said = _said(request, MergeInput)
            return _made(
                identity_changes.merge(said["survivor"], said["subsumed"], caller, reason=said["reason"], raw=raw)
            )


class Unmerges(CallerView):
    """Two persons are two after all."""

    @extend_schema(request=UnmergeInput, responses=MADE)
    def post(self, request: Request) -> Response:
        """Undo the merge by which the person became part of another."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            said = _said(request, UnmergeInput)
            return _made(identity_changes.unmerge(said["person"], caller, reason=said["reason"], raw=raw))


class Links(CallerView):
    """A record is a person's."""

    @extend_schema(request=LinkInput, responses=MADE)
    def post(self, request: Request) -> Response:
        """Link the record of an identifier to a person."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            said = _said(request, LinkInput)
            named = _identifier(said["identifier"])
            return _made(identity_changes.link(named, said["person"], caller, reason=said["reason"], raw=raw))


class Unlinks(CallerView):
    """A record is not its person's."""

    @extend_schema(request=UnlinkInput, responses=MADE)
    def post(self, request: Request) -> Response:
        """Make the record of an identifier a person of its own."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            said = _said(request, UnlinkInput)
            named = _identifier(said["identifier"])
            return _made(identity_changes.unlink(named, caller, reason=said["reason"], raw=raw))


class Splits(CallerView):
    """One person is two."""

    @extend_schema(request=SplitInput, responses=MADE)
    def post(self, request: Request) -> Response:
        """Make the records of some identifiers a person of their own."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            said = _said(request, SplitInput)
            named = [_identifier(one) for one in said["identifiers"]]
            return _made(identity_changes.split(said["person"], named, caller, reason=said["reason"], raw=raw))


class Undo(CallerView):
    """One change."""

    @extend_schema(request=ReasonInput, responses=MADE)
    def post(self, request: Request, event_id: UUID) -> Response:
        """Undo it exactly, or bring back what it undid."""
        caller, raw = caller_of(request), raw_of(request._request)
        with limits.admit(caller):
            said = _said(request, ReasonInput)
            return _made(identity_changes.undo(event_id, caller, reason=said["reason"], raw=raw))


class History(CallerView):
    """Who was this on that day."""

    @extend_schema(parameters=[SYSTEM, VALUE, AT], responses={200: HistoryOutput, **ERRORS})
    def get(self, request: Request) -> Response:
        """Which person the identifier belonged to at the instant, with which others, and why."""
        caller = caller_of(request)
        with limits.admit(caller):
            serializer = HistoryInput(data=request.query_params.dict())
            serializer.is_valid(raise_exception=True)
            said = serializer.validated_data
            raw = f"GET {request._request.get_full_path()}"
            return Response(_history(identity_changes.who_was(_identifier(said), said["at"], caller, raw=raw)))


def _identifier(said: dict[str, Any]) -> Identifier:
    return Identifier(system=said["system"], value=said["value"])


def _person(person_id: UUID | None) -> dict[str, str] | None:
    return {"reference": f"Patient/{person_id}"} if person_id is not None else None


def _made(change: Changed) -> Response:
    body = {
        "event": str(change.event_id),
        "kind": change.kind,
        "at": instant(change.at),
        "persons": [_person(person_id) for person_id in change.persons],
        "undoes": str(change.undoes) if change.undoes else None,
    }
    return Response(body, status=201)


def _history(then: Then) -> dict[str, Any]:
    return {
        "identifier": {"system": then.identifier.system, "value": then.identifier.value},
        "at": instant(then.at),
        "person": _person(then.person_id),
        "now": _person(then.now),
        "identifiers": [{"system": one.system, "value": one.value} for one in then.others],
        "since": instant(then.since),
        "until": instant(then.until) if then.until else None,
        "why": {
            "kind": then.kind,
            "reason": then.reason,
            "event": str(then.event_id) if then.event_id else None,
            "event_kind": then.event_kind or None,
        },
    }
