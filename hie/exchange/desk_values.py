"""What the pages of the desk's tasks show: words and choices, no row and no rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing of a list: nobody's name stands there. `count` where it is several in one."""

    key: str
    title: str
    what: str
    since: datetime | None = None
    due_at: datetime | None = None
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A state in word and shape: `tone` good, emergency or system, `icon` of the sprite."""

    words: str
    tone: str = "system"
    icon: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Evidence in rows; the first column names the row. `note` stands below."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    empty: str = "None."


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to another page of the desk, by its name there; shown to who has `permission`."""

    words: str
    name: str
    permission: str
    args: tuple[str, ...] = ()
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What may be decided, with its consequence."""

    value: str
    title: str
    follows: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What an option asks for besides the reason; `kind` text, date or choice. `choices` are (value, words)."""

    name: str
    label: str
    hint: str = ""
    kind: str = "text"
    value: str = ""
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing for its page: the evidence, and what may be decided.

    `standing`: how it stands where it does not wait. `undo`: what taking the last act back brings, "" where that cannot
    be; `final` says before the decision whether it can. `not_mine`: why this reader may do nothing here, "" where he may;
    `kept_for`: why somebody else than this reader decides it, who may take his own act back.
    """

    key: str
    name: str
    question: str
    waits: bool
    lead: str = ""
    badges: tuple[Badge, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    ways: tuple[Way, ...] = ()
    standing: str = ""
    options: tuple[Option, ...] = ()
    fields: tuple[Field, ...] = ()
    hint: str = "It is kept in the log."
    undo: str = ""
    final: str = "You can take it back."
    not_mine: str = ""
    kept_for: str = ""
    due_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One act in words."""

    key: str
    kind: str
    words: str
    at: datetime
    by: str
    mine: bool
    reason: str
    more: tuple[tuple[str, str], ...] = ()
