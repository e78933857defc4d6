"""Subscriptions to changes of identities [ITI-94]: whose they are, and how each is kept.

A subscription is its client's own; another's is not there. To subscribe tells nothing of anybody: what may be
known is decided for each notice when it leaves (`hie.exchange.notices`).

Source: IHE PMIR 1.5.1, 2:3.94; spec/fhir.md 2.5, 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from django.conf import settings
from django.db import transaction

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import access, release
from hie.exchange.errors import BadRequest, NotFound, StaleVersion
from hie.exchange.models import Subscription
from hie.standards.facts import Caller, Operation
from hie.standards.hosts import is_loopback

MAX_SUBSCRIPTIONS = 100
"""Of one client; each costs a row with every change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A subscription as asked for: `resource` as sent, and what of it the hub acts on. `on` False: status off."""

    criteria: str
    endpoint: str
    resource: dict[str, Any]
    ends_at: datetime | None = None
    on: bool = True


@release.point
def subscribe(wanted: Wanted, caller: Caller, *, raw: str | bytes | None = None) -> Subscription:
    """Keep a new subscription, active from now on.

    Raises:
        AccessRefused: the caller may not be told of anybody.
        BadRequest: the address is not one that may be told, or the client has too many.
    """
    with recorder.recording(EventType.SUBSCRIPTION, caller, action="C", query=raw) as event:
        access.gate(caller, Operation.NOTIFY)
        check_endpoint(wanted.endpoint, caller.participant_id)
        now = datetime.now(UTC)
        with transaction.atomic():
            if Subscription.objects.filter(client_id=caller.client_id).count() >= MAX_SUBSCRIPTIONS:
                raise BadRequest("no more subscriptions for this client", element="Subscription")
            row = Subscription.objects.create(
                participant_id=caller.participant_id,
                client_id=caller.client_id,
                caller=_stated(caller),
                criteria=wanted.criteria,
                endpoint=wanted.endpoint,
                resource=wanted.resource,
                status=Subscription.Status.ACTIVE if wanted.on else Subscription.Status.OFF,
                ends_at=wanted.ends_at,
                created_at=now,
                updated_at=now,
            )
            event.about(None, detail={"subscription": str(row.id), "endpoint": wanted.endpoint})
            event.commit()
    return row


@release.point
def change(
    subscription_id: str,
    wanted: Wanted,
    caller: Caller,
    *,
    if_version: int | None = None,
    raw: str | bytes | None = None,
) -> Subscription:
    """Replace a subscription: off ends it, otherwise it is active again, for the caller as proven now.

    Raises:
        NotFound: another's, or none. StaleVersion: not the version the client saw.
        AccessRefused, BadRequest: as for `subscribe`.
    """
    with recorder.recording(EventType.SUBSCRIPTION, caller, action="U", query=raw) as event:
        access.gate(caller, Operation.NOTIFY)
        check_endpoint(wanted.endpoint, caller.participant_id)
        with transaction.atomic():
            row = _own(subscription_id, caller, lock=True)
            if if_version is not None and row.version != if_version:
                raise StaleVersion(f"the subscription is at version {row.version}", element="If-Match")
            row.caller, row.criteria, row.endpoint = _stated(caller), wanted.criteria, wanted.endpoint
            row.resource, row.ends_at, row.error = wanted.resource, wanted.ends_at, ""
            row.status = Subscription.Status.ACTIVE if wanted.on else Subscription.Status.OFF
            row.version += 1
            row.updated_at = datetime.now(UTC)
            row.save()
            event.about(None, detail={"subscription": str(row.id), "status": row.status})
            event.commit()
    return row


def read(subscription_id: str, caller: Caller) -> Subscription:
    """A subscription of the caller's client.

    Raises:
        NotFound: another's, or none. AccessRefused: the caller may not be told of anybody.
    """
    access.gate(caller, Operation.NOTIFY)
    return _own(subscription_id, caller)


def owned(caller: Caller) -> list[Subscription]:
    """All of the caller's client, oldest first.

    Raises:
        AccessRefused: the caller may not be told of anybody.
    """
    access.gate(caller, Operation.NOTIFY)
    return list(Subscription.objects.filter(client_id=caller.client_id).order_by("created_at", "pk"))


@release.point
def end(subscription_id: str, caller: Caller) -> None:
    """Remove a subscription; what was not yet told stays untold.

    Raises:
        NotFound: another's, or none.
    """
    with recorder.recording(
        EventType.SUBSCRIPTION, caller, action="D", query=f"Subscription/{subscription_id}"
    ) as event:
        access.gate(caller, Operation.NOTIFY)
        with transaction.atomic():
            row = _own(subscription_id, caller, lock=True)
            event.about(None, detail={"subscription": str(row.id)})
            row.delete()
            event.commit()


def caller_of(row: Subscription) -> Caller:
    """Who subscribed, as proven then."""
    values = dict(row.caller)
    values["scopes"] = frozenset(values.get("scopes", ()))
    values["care_teams"] = tuple(values.get("care_teams", ()))
    return Caller(**values)


def check_endpoint(url: str, participant_id: str) -> None:
    """Refuse an address that is not to be called: only https, at a host that the participant is registered with.

    A sandbox also calls its own machine, plainly.

    Raises:
        BadRequest: naming the element.
    """
    element = "Subscription.channel.endpoint"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadRequest("the endpoint is not a URL", element=element) from error
    if parts.username or parts.password or parts.fragment or any(c.isspace() or not c.isprintable() for c in url):
        raise BadRequest("the endpoint carries neither user nor fragment", element=element)
    if settings.PROFILE == "sandbox" and parts.scheme in ("http", "https") and is_loopback(host):
        return
    if parts.scheme != "https" or not host:
        raise BadRequest("the endpoint is an https URL", element=element)
    known = {
        (at.hostname or "", at.port or 443)
        for at in (urlsplit(one.url) for one in directory.snapshot().endpoints if one.participant_id == participant_id)
    }
    if (host, port or 443) not in known:
        raise BadRequest("the endpoint is at no host that the participant is registered with", element=element)


def _own(subscription_id: str, caller: Caller, *, lock: bool = False) -> Subscription:
    try:
        wanted = UUID(subscription_id)
    except ValueError as error:
        raise NotFound("no such subscription") from error
    rows = Subscription.objects.select_for_update() if lock else Subscription.objects.all()
    row = rows.filter(pk=wanted, client_id=caller.client_id).first()
    if row is None:
        raise NotFound("no such subscription")
    return row


def _stated(caller: Caller) -> dict[str, Any]:
    stated: dict[str, Any] = orjson.loads(orjson.dumps(asdict(caller), default=sorted))
    return stated


def receivers_named(names: Sequence[str]) -> dict[str, Subscription]:
    """Subscriptions by their receiver name in the outbox; ended ones are absent. 1 query."""
    ids = [name.removeprefix("subscription/") for name in names if name.startswith("subscription/")]
    return {f"subscription/{row.pk}": row for row in Subscription.objects.filter(pk__in=ids)}
