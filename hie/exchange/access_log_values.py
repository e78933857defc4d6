"""What a line of the patient's access log is: its parts as values, for whoever makes, words or shows it.

Source: spec/consent.md 14.1 and 15.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Seen(StrEnum):
    """What came of it: the shape and badge of the line."""

    SEEN = "seen"
    PARTLY = "partly"
    REFUSED = "refused"
    EMERGENCY = "emergency"


class ActorKind(StrEnum):
    """Who acted; `YOU` is the viewer, whoever that is."""

    PERSON = "person"
    ORGANIZATION = "organization"
    SYSTEM = "system"
    YOU = "you"
    PATIENT = "patient"  # the patient, seen by a helper
    HELPER = "helper"
    STAFF = "staff"


class Verb(StrEnum):
    """What was done, in the words of the log."""

    OPENED = "opened"
    LOOKED_AT = "looked-at"
    ASKED_FOR = "asked-for"
    LOOKED_UP = "looked-up"
    SENT = "sent"
    ADDED = "added"
    CHANGED = "changed"
    READ_LOG = "read-log"
    DECLARED = "declared"


class Part(StrEnum):
    """The tabs of the log."""

    PEOPLE = "people"
    OWN = "own"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The reader. `role_words` like "doctor"; `name` "" when the place alone is known."""

    kind: ActorKind
    name: str = ""
    role: str = ""
    role_words: str = ""
    organization_id: str = ""
    organization: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One document (or look) within a line. `title` "" where it is withheld from the patient for now."""

    at: datetime
    event_id: str
    document_id: str = ""
    title: str = ""
    kind: str = ""
    custodian: str = ""
    what: str = ""
    rule: str = ""
    withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSentence:
    """The second sentence: key (the rule) and what fills it; see `consent.explain.patient_sentence`."""

    rule: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of the log. `at` is the newest look in it, `first_at` the oldest, `count` how many.

    `sentence` is a key of `SENTENCES`, filled from `values`; `purpose` a code and
    `purpose_words` its words; `relay` the community that passed the request on;
    `obligations` went along with what was shown; `detail` is one step deeper.
    """

    id: str
    at: datetime
    first_at: datetime
    count: int
    who: Who
    verb: Verb
    sentence: str
    values: Mapping[str, str]
    kind_of_information: str
    purpose: str
    purpose_words: str
    seen: Seen
    part: Part
    rule: RuleSentence | None = None
    quotation: str = ""
    relay: str = ""
    on_behalf_of: str = ""
    items: tuple[Item, ...] = ()
    obligations: tuple[str, ...] = ()
    event_ids: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)
