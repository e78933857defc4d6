"""Search criteria as conditions on rows; FHIR's comparison of dates as intervals lives here.

Source: spec/fhir.md 1.4 (HL7 FHIR R4 search, "prefix").
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from documents import codec
from documents.filters import CodeToken, DateAttribute, DateCriterion, DateRange, NameMatch, ReferenceToken


def token_condition(tokens: Sequence[CodeToken]) -> Q:
    condition = Q(pk__in=[])
    for token in tokens:
        one = Q()
        if token.code is not None:
            one &= Q(code=token.code)
        if token.scheme is not None:
            one &= Q(scheme=token.scheme)
        condition |= one
    return condition


def reference_condition(references: Sequence[ReferenceToken]) -> Q:
    """A row of referenceIdList that is one of these."""
    condition = Q(pk__in=[])
    for token in references:
        one = Q(value=token.value)
        if token.authority is not None:
            one &= Q(authority=token.authority)
        if token.type_code is not None:
            one &= Q(type_code=token.type_code)
        if token.home_community_id is not None:
            one &= Q(home_community_id=token.home_community_id)
        condition |= one
    return condition


def identifier_condition(identifiers: Sequence[str]) -> Q:
    """An object that has one of these as its uniqueId, entryUUID or further identifier (`codec.identifier_keys`)."""
    condition = Q(unique_id__in=list(identifiers)) | Q(identifier_keys__overlap=list(identifiers))
    keys = [key for key in map(as_uuid, identifiers) if key is not None]
    return condition | Q(entry_uuid__in=keys) if keys else condition


def name_condition(names: Sequence[NameMatch], part: str) -> Q:
    condition = Q(pk__in=[])
    for name in names:
        if name.mode == "exact":
            condition |= Q(**{part: name.text})
        elif name.mode == "contains":
            condition |= Q(**{f"{part}_key__contains": codec.folded(name.text)})
        else:
            condition |= Q(**{f"{part}_key__startswith": codec.folded(name.text)})
    return condition


def entry_date_condition(criterion: DateCriterion) -> Q:
    attribute = criterion.attribute
    if attribute is DateAttribute.CREATION:
        return any_range(criterion.any_of, "creation_time_from", "creation_time_until")
    if attribute is DateAttribute.DATE:
        return any_range(
            criterion.any_of, "submission_set__submission_time_from", "submission_set__submission_time_until"
        )
    if attribute is DateAttribute.LAST_UPDATED:
        return any_range(criterion.any_of, "updated_at", None)
    condition = Q(pk__in=[])
    for asked in criterion.any_of:
        condition |= _period_condition(asked)
    return condition


def any_range(ranges: Sequence[DateRange], lower: str, upper: str | None) -> Q:
    """FHIR comparison of an interval ``[lower, upper)`` (an instant when `upper` is None) with each range."""
    condition = Q(pk__in=[])
    for asked in ranges:
        condition |= _range_condition(asked, lower, upper)
    return condition


def _range_condition(asked: DateRange, lower: str, upper: str | None) -> Q:
    # An instant t is the interval that ends just behind t: "ends after x" is then t >= x.
    ends_after = f"{upper}__gt" if upper else f"{lower}__gte"
    ends_by = f"{upper}__lte" if upper else f"{lower}__lt"
    within = Q(**{f"{lower}__gte": asked.start, ends_by: asked.end})
    match asked.prefix:
        case "ne":
            return Q(**{f"{lower}__isnull": False}) & ~within
        case "gt":
            return Q(**{ends_after: asked.end})
        case "lt":
            return Q(**{f"{lower}__lt": asked.start})
        case "ge":
            return Q(**{ends_after: asked.end}) | within | Q(**{f"{lower}__gte": asked.start})
        case "le":
            return Q(**{f"{lower}__lt": asked.start}) | within | Q(**{ends_by: asked.end})
        case "sa":
            return Q(**{f"{lower}__gte": asked.end})
        case "eb":
            return Q(**{ends_by: asked.start})
        case "ap":
            return Q(**{f"{lower}__lt": asked.end, ends_after: asked.start})
        case _:
            return within


def _period_condition(asked: DateRange) -> Q:
    """FHIR comparison of the service period, whose open ends reach for ever; no time at all never matches.

    A bare date asks for overlap, as ITI-67 says.
    """
    known = Q(service_start_time_from__isnull=False) | Q(service_stop_time_from__isnull=False)

    def starts(operator: str, moment: datetime) -> Q:
        return Q(**{f"service_start_time_from__{operator}": moment})

    def stops(operator: str, moment: datetime) -> Q:
        return Q(**{f"service_stop_time_until__{operator}": moment})

    open_start, open_stop = Q(service_start_time_from__isnull=True), Q(service_stop_time_until__isnull=True)
    overlap = (starts("lt", asked.end) | open_start) & (stops("gt", asked.start) | open_stop)
    match asked.prefix:
        case "ne":
            return known & ~(starts("gte", asked.start) & stops("lte", asked.end))
        case "gt":
            return known & (stops("gt", asked.end) | open_stop)
        case "lt":
            return known & (starts("lt", asked.start) | open_start)
        case "ge":
            return known & (stops("gt", asked.start) | open_stop)
        case "le":
            return known & (starts("lt", asked.end) | open_start)
        case "sa":
            return starts("gte", asked.end)
        case "eb":
            return stops("lte", asked.start)
        case _:
            return known & overlap


def as_uuid(text: UUID | str) -> UUID | None:
    """A UUID with or without ``urn:uuid:`` in front, or None when it is none."""
    if isinstance(text, UUID):
        return text
    try:
        return uuid.UUID(bare_uuid(text))
    except ValueError:
        return None


def bare_uuid(text: str) -> str:
    """The UUID text behind ``urn:uuid:``."""
    return text.removeprefix("urn:uuid:").lower()
