"""Searchset Bundles with stable pages.

A page link carries a signed token: who may follow it, which search it belongs to, the instant of the
first page and the last sort key seen. Nothing is kept on the server, no resource comes twice or never
because rows are inserted meanwhile, and following a link decides everything anew.

Source: spec/fhir.md 1.4; IHE ITI TF-2 Appendix Z.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django.core import signing

from hie.faces.fhir.errors import PageExpired
from hie.faces.fhir.outcome import Issue, outcome
from hie.faces.fhir.search import Query
from hie.standards.facts import Caller
from hie.standards.fhir import JsonObject, instant_text

PAGE_MAX_AGE_S = 24 * 3600
_SALT = "hie.fhir.page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where a page begins: after `after` (None: at the start) among what existed at `snapshot`."""

    snapshot: datetime
    after: tuple[str, ...] | None = None


def page_of(query: Query, caller: Caller, *, now: datetime) -> Page:
    """The page a query asks for.

    Raises:
        PageExpired: the token is altered, older than a day, another caller's or of another search.
    """
    if not query.page:
        return Page(snapshot=now)
    try:
        held = signing.loads(query.page, salt=_SALT, max_age=PAGE_MAX_AGE_S)
    except signing.BadSignature as error:
        raise PageExpired("this page link is not valid (any more)", element="_page") from error
    if held["c"] != _holder(caller) or held["q"] != query.fingerprint:
        raise PageExpired("this page link is not valid (any more)", element="_page")
    return Page(snapshot=datetime.fromtimestamp(held["s"] / 1_000_000, UTC), after=tuple(held["a"]))


def _holder(caller: Caller) -> str:
    return "|".join((caller.client_id, caller.organization_id, caller.user_id, caller.purpose or ""))


def page_token(query: Query, caller: Caller, page: Page, after: Sequence[str]) -> str:
    """The token of the page that begins after the sort key `after`."""
    snapshot = int(page.snapshot.timestamp() * 1_000_000)
    value = {"c": _holder(caller), "q": query.fingerprint, "s": snapshot, "a": list(after)}
    return signing.dumps(value, salt=_SALT, compress=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: `resource` is a dictionary or spliced bytes (`orjson.Fragment`)."""

    full_url: str
    resource: Any
    mode: str = "match"
    score: float | None = None
    extension: Sequence[Mapping[str, Any]] = field(default=())


def searchset(
    url: str,
    query: Query,
    entries: Sequence[Entry],
    *,
    total: int,
    next_token: str = "",
    warnings: Sequence[Issue] = (),
) -> JsonObject:
    """The Bundle of one page.

    `url` is the absolute address searched, `total` counts matches only. Parameters that were ignored
    are named in an outcome entry and are not in the self link.
    """
    self_link = url + (f"?{query.query_string}" if query.applied else "")
    pages = f"{self_link}{'&' if query.applied else '?'}_page="
    links = [{"relation": "self", "url": pages + query.page if query.page else self_link}]
    if query.page or next_token:
        links.append({"relation": "first", "url": self_link})
    if next_token:
        links.append({"relation": "next", "url": pages + next_token})
    bundle: JsonObject = {
        "resourceType": "Bundle",
        "id": str(uuid4()),
        "meta": {"lastUpdated": instant_text(datetime.now(UTC))},
        "type": "searchset",
        "total": total,
        "link": links,
    }
    listed: list[JsonObject] = []
    if query.summary != "count" and query.count > 0:
        listed.extend(_entry(entry, query) for entry in entries)
    warnings = [
        *warnings,
        *(
            Issue(severity="warning", code="not-supported", diagnostics=f"the parameter {name} was ignored")
            for name in query.ignored
        ),
    ]
    if warnings and query.summary != "count":
        listed.append({"resource": outcome(warnings), "search": {"mode": "outcome"}})
    if listed:
        bundle["entry"] = listed
    return bundle


def _entry(entry: Entry, query: Query) -> JsonObject:
    search: JsonObject = {"mode": entry.mode}
    if entry.extension:
        search["extension"] = list(entry.extension)
    if entry.score is not None:
        search["score"] = entry.score
    return {"fullUrl": entry.full_url, "resource": shaped(entry.resource, query), "search": search}


_ALWAYS = frozenset({"resourceType", "id", "meta", "implicitRules", "modifierExtension"})
_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
_MANDATORY: Mapping[str, frozenset[str]] = {
    "DocumentReference": frozenset({"status", "content"}),
    "List": frozenset({"status", "mode"}),
    "Consent": frozenset({"status", "scope", "category"}),
    "AuditEvent": frozenset({"type", "recorded", "agent", "source"}),
    "Binary": frozenset({"contentType"}),
}


def shaped(resource: Any, query: Query) -> Any:
    """The resource reduced to what `_elements` or `_summary` asks for, marked as such."""
    if not isinstance(resource, dict) or (not query.elements and query.summary in ("false", "count")):
        return resource
    kept: frozenset[str]
    if query.elements:
        names = {name.rpartition(".")[2] if name.count(".") == 1 else name for name in query.elements}
        kept = _ALWAYS | names | _MANDATORY.get(str(resource.get("resourceType")), frozenset())
        small = {k: v for k, v in resource.items() if k in kept or k.removeprefix("_") in kept}
    elif query.summary == "text":
        kept = _ALWAYS | {"text"} | _MANDATORY.get(str(resource.get("resourceType")), frozenset())
        small = {k: v for k, v in resource.items() if k in kept}
    else:
        dropped = {"text", "contained"} if query.summary == "true" else {"text"}
        small = {k: v for k, v in resource.items() if k not in dropped}
    meta = dict(small.get("meta") or {})
    meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
    return {**small, "meta": meta}
