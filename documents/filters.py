"""What a search asks of entries, submission sets and folders, as values.

Within one criterion the alternatives are ORed; criteria are ANDed. A face turns its own parameters
(ITI-67, ITI-66, stored queries) into these and never sees a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from documents.metadata import ON_DEMAND, STABLE, Status


class CodeAttribute(StrEnum):
    """Coded attributes of an entry, by their XDS name (affinity domain files use the same)."""

    CLASS = "classCode"
    TYPE = "typeCode"
    FORMAT = "formatCode"
    FACILITY = "healthcareFacilityTypeCode"
    SETTING = "practiceSettingCode"
    CONFIDENTIALITY = "confidentialityCode"
    EVENT = "eventCodeList"


class DateAttribute(StrEnum):
    """Times that can be searched. `DATE` is the submission's time (DocumentReference.date)."""

    CREATION = "creation"
    DATE = "date"
    PERIOD = "period"  # serviceStartTime .. serviceStopTime, overlapping
    LAST_UPDATED = "_lastUpdated"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeToken:
    """A code, a scheme, or both; None leaves it open. ``scheme=""`` means no scheme at all."""

    code: str | None = None
    scheme: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeCriterion:
    """The attribute has one of these codes; `negate`: it has none of them."""

    attribute: CodeAttribute
    any_of: tuple[CodeToken, ...]
    negate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DateRange:
    """A FHIR date with its prefix: the value covers ``[start, end)``."""

    prefix: str  # eq ne gt lt ge le sa eb ap
    start: datetime
    end: datetime

    def has(self, instant: datetime) -> bool:
        """Whether an instant stands to the value as the prefix says; as `conditions.any_range` asks the database."""
        within = self.start <= instant < self.end
        match self.prefix:
            case "ne":
                return not within
            case "gt" | "sa":
                return instant >= self.end
            case "lt" | "eb":
                return instant < self.start
            case "ge":
                return instant >= self.start
            case "le":
                return instant < self.end
            case _:
                return within


@dataclass(frozen=True, slots=True, kw_only=True)
class DateCriterion:
    """The time stands to one of these ranges as its prefix says."""

    attribute: DateAttribute
    any_of: tuple[DateRange, ...]

    def has(self, instant: datetime) -> bool:
        """Whether an instant stands to one of the ranges so."""
        return any(one.has(instant) for one in self.any_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameMatch:
    """Text of a name: ``starts`` and ``contains`` ignore case and accents, ``exact`` does not."""

    text: str
    mode: str = "starts"  # starts | contains | exact


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceToken:
    """A value of referenceIdList; None leaves the domain, the type or the community open."""

    value: str
    authority: str | None = None
    type_code: str | None = None
    home_community_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """All parameters of ITI-67. An empty tuple asks nothing.

    `identifiers` are unique ids as stored or entry UUIDs as ``urn:uuid:…``. `registered_until`
    is the snapshot instant of a paged search: what came later is not there. With `superseded_too`, entries
    deprecated by their relation to another document pass whatever `statuses` says, and whether they changed then or when
    they were registered: the reader may not know the other.
    """

    ids: tuple[UUID, ...] = ()
    statuses: tuple[Status, ...] = ()
    superseded_too: bool = False
    object_types: tuple[str, ...] = (STABLE, ON_DEMAND)
    codes: tuple[CodeCriterion, ...] = ()
    dates: tuple[DateCriterion, ...] = ()
    author_family: tuple[tuple[NameMatch, ...], ...] = ()
    author_given: tuple[tuple[NameMatch, ...], ...] = ()
    identifiers: tuple[tuple[str, ...], ...] = ()
    related: tuple[tuple[ReferenceToken, ...], ...] = ()
    mime_types: tuple[str, ...] = ()
    custodians: tuple[str, ...] = ()
    registered_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFilter:
    """All parameters of ITI-66, for submission sets and folders; what one lacks is ignored there.

    `codes` are contentTypeCode of a submission set and codeList of a folder; `dates` its
    submissionTime and lastUpdateTime.
    """

    ids: tuple[UUID, ...] = ()
    statuses: tuple[Status, ...] = ()
    codes: tuple[tuple[CodeToken, ...], ...] = ()
    dates: tuple[DateCriterion, ...] = ()
    identifiers: tuple[tuple[str, ...], ...] = ()
    source_ids: tuple[str, ...] = ()
    source_family: tuple[tuple[NameMatch, ...], ...] = ()
    source_given: tuple[tuple[NameMatch, ...], ...] = ()
    registered_until: datetime | None = None
    members: tuple[UUID, ...] = ()  # having one of these objects as a member


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a list was left: the sort key of the last row seen."""

    sorted_at: datetime
    pk: int
