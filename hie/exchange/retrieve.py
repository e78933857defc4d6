"""Reading a document's bytes [ITI-68, ITI-43], through the door, audited before the first byte, stopped when consent ends.

An on-demand document of this repository is made of what the caller may read, at each time it is asked for
(`hie.exchange.on_demand`); its entry's UUID stands for the binary that it has not.

A binary has no patient of its own: it is read through one entry that points at it and is permitted, and the
event names that one. Bytes staged and not yet hung on an entry are their uploader's alone.

Source: spec/fhir.md 3.4, trap 9; spec/consent.md 1.5 (a decision holds for its instant).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings

from documents import queries as registry
from documents import ranges
from documents.errors import ContentUnavailable, UnknownCommunity, UnknownDocumentUniqueId, UnknownRepositoryId
from documents.queries import EntryRow
from hie.audit import recorder
from hie.audit.recorder import EventType, Outcome
from hie.exchange import access, find, found_pages, on_demand, release
from hie.exchange.errors import BadRequest, NotFound
from hie.standards.errors import HubError
from hie.standards.facts import Caller, Operation
from hie.trust import tokens
from patients import identifiers

RECHECK_BYTES = 1 << 20
RECHECK_S = 1.0
MOST_AT_ONCE = 1000
"""Documents of one request [ITI-43]."""
_HELD = 8
"""Documents of one request whose first bytes are kept from when they were verified to when they are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """A document on its way: `size` is that of the whole, `first`..`last` (inclusive) what `chunks` gives.

    `sha1` is lower-case hex over the whole, "" when a remote document did not say; `size` is None then
    too, and a range cannot be given. `entry_uuid` is the entry it was read through, "" for staged bytes;
    `new_unique_id` that of a document made on demand, "" of any other.
    """

    binary_id: str
    content_type: str
    size: int | None
    sha1: str
    first: int
    last: int
    chunks: Iterator[bytes] = field(repr=False)
    entry_uuid: str = ""
    new_unique_id: str = ""

    @property
    def partial(self) -> bool:
        """Whether this is less than the whole."""
        return self.size is not None and (self.first, self.last) != (0, self.size - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a binary: its id and perhaps a range (`first` to `last`, or the last `last` bytes).

    `head`: nothing but its type and size. `kept`: a document that never changes, so none that is made on demand. `raw` is
    the request as sent.
    """

    binary_id: str
    first: int | None = None
    last: int | None = None
    head: bool = False
    kept: bool = False
    raw: str = ""


Source = Callable[[Wanted, Caller], Retrieved | None]
_SOURCES: list[Source] = []


def register_source(source: Source) -> None:
    """Add a place where documents of others are found; it asks the door and records by itself, None: not there."""
    if source not in _SOURCES:
        _SOURCES.append(source)


def retrieve(wanted: Wanted, *, caller: Caller) -> Retrieved:
    """The bytes of a document, when an entry that points at them may be read by the caller now.

    Raises:
        AccessRefused: the caller may read nothing at all.
        NotFound: no such document, or none that this caller may see.
        RangeNotSatisfiable: nothing of the range is in the document.
        ContentUnavailable: the stored bytes are damaged; nothing was sent.
    """
    try:
        access.gate(caller, Operation.RETRIEVE)
    except HubError:
        with recorder.recording(EventType.RETRIEVE_DOCUMENT, caller, query=wanted.raw):
            raise
    try:
        found = _local(wanted, caller)
    except NotFound:
        # Looked for elsewhere all the same: what is hidden must not cost less than what is not there.
        for source in _SOURCES:
            source(wanted, caller)
        raise
    if found is not None:
        return found
    for source in _SOURCES:
        found = source(wanted, caller)
        if found is not None:
            return found
    with recorder.recording(EventType.RETRIEVE_DOCUMENT, caller, query=wanted.raw):
        raise NotFound("no such document")


@release.point
def _local(wanted: Wanted, caller: Caller) -> Retrieved | None:
    """From this hub's repository; None when it holds no such binary."""
    rows = [row for row in registry.entries_of_binary(wanted.binary_id) if row.binary_id or not wanted.kept]
    if not rows:
        found_pages.whose(None)
        return _own_upload(wanted, caller)
    with recorder.recording(EventType.RETRIEVE_DOCUMENT, caller, query=wanted.raw) as event:
        # Again, so that a suspension since the first look at the caller is seen.
        access.gate(caller, Operation.RETRIEVE)
        persons = identifiers.persons_of({row.identifier_pk for row in rows})
        refused: list[tuple[access.Subject, access.Verdict[EntryRow]]] = []
        for person_id in dict.fromkeys(persons[row.identifier_pk] for row in rows if row.identifier_pk in persons):
            subject = access.subject(person_id)
            theirs = [row for row in rows if persons.get(row.identifier_pk) == person_id]
            for row in theirs:
                verdict = access.permitted(caller, subject, [row], Operation.RETRIEVE)
                if verdict.permitted:
                    return _send(wanted, caller, subject, row, verdict, event)
                refused.append((subject, verdict))
        for subject, verdict in refused:
            access.record(event, caller, subject, verdict, what="bytes", shown=find.shown, operation=Operation.RETRIEVE)
        access.look_for_upload(wanted.binary_id)
        raise NotFound("no such document")


def _send(
    wanted: Wanted,
    caller: Caller,
    subject: access.Subject,
    row: EntryRow,
    verdict: access.Verdict[EntryRow],
    event: recorder.Recording,
) -> Retrieved:
    if row.binary_id is None:
        return _send_made(wanted, caller, subject, row, verdict, event)
    content = access.open_permitted(verdict, row, wanted.binary_id, first=wanted.first, last=wanted.last)
    what = "metadata" if wanted.head else "bytes"
    detail = {"binary": wanted.binary_id}
    if (content.first, content.last) != (0, content.size - 1):
        detail["range"] = f"{content.first}-{content.last}/{content.size}"
    access.record(
        event, caller, subject, verdict, what=what, shown=find.shown, operation=Operation.RETRIEVE, detail=detail
    )
    event.commit()
    watch = Watch(
        caller,
        subject,
        release.basis_of(event),
        lambda about: _again(row.entry_uuid, wanted.binary_id, about),
        shown=find.shown(row),
    )
    return Retrieved(
        binary_id=wanted.binary_id,
        content_type=row.metadata.mime_type or content.content_type,
        size=content.size,
        sha1=content.sha1,
        first=content.first,
        last=content.last,
        chunks=watch.stream(content.chunks, content.length),
        entry_uuid=row.entry_uuid,
    )


def _send_made(
    wanted: Wanted,
    caller: Caller,
    subject: access.Subject,
    row: EntryRow,
    verdict: access.Verdict[EntryRow],
    event: recorder.Recording,
) -> Retrieved:
    gathered = on_demand.Gathered(caller, subject)
    made = gathered.made(row, _letter(verdict, row))
    first, last = ranges.span(len(made.data), wanted.first, wanted.last)
    detail: dict[str, Any] = {"made": [made.unique_id]}
    if (first, last) != (0, len(made.data) - 1):
        detail["range"] = f"{first}-{last}/{len(made.data)}"
    access.record(
        event,
        caller,
        subject,
        on_demand.together(verdict, gathered, [row]),
        what=lambda one: gathered.what(one, "metadata" if wanted.head else "bytes"),
        shown=on_demand.shown,
        operation=Operation.RETRIEVE,
        detail=detail,
    )
    event.commit()
    return _made_on_its_way(
        made, gathered.left(row), caller, release.basis_of(event), subject, row, first=first, last=last
    )


def _letter(verdict: access.Verdict[EntryRow], row: EntryRow) -> str:
    return access.effective(verdict.facts[id(row)], verdict)[0]


def _made_on_its_way(
    made: on_demand.Made,
    left: on_demand.Left,
    caller: Caller,
    basis: release.Basis,
    subject: access.Subject,
    row: EntryRow,
    *,
    first: int,
    last: int,
) -> Retrieved:
    watch = Watch(caller, subject, basis, left.again, shown=find.shown(row))
    return Retrieved(
        binary_id=row.content_id or "",
        content_type=row.metadata.mime_type,
        size=len(made.data),
        sha1=hashlib.sha1(made.data, usedforsecurity=False).hexdigest(),
        first=first,
        last=last,
        chunks=watch.stream(made.chunks(first, last), last - first + 1),
        entry_uuid=row.entry_uuid,
        new_unique_id=made.unique_id,
    )


# -- by repository and uniqueId [ITI-43] ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRequest:
    """One document as ITI-43 asks for it: the repository's id and the document's in it.

    `home_community_id` is that of the community asked, "" for the one that is spoken to.
    """

    repository_unique_id: str
    unique_id: str
    home_community_id: str = ""

    @property
    def community(self) -> str:
        """The community that the document is asked of, as an URN; this hub's where none is named."""
        named = self.home_community_id.removeprefix("urn:oid:")
        return f"urn:oid:{named}" if named else settings.HOME_COMMUNITY_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievedSet:
    """What became of each request, in their order: the document on its way, or why there is none."""

    found: tuple[tuple[DocumentRequest, Retrieved | HubError], ...]


def retrieve_set(wanted: Sequence[DocumentRequest], *, caller: Caller, raw: str = "") -> RetrievedSet:
    """The documents of a set of requests, those that the caller may read now; asked twice, given twice.

    One reading of what is in force for all of them. A document that may not be read is answered as one that is not
    there; a deprecated one is given, one that is offline is not; one whose bytes are damaged is named, and keeps no other
    back. What is asked of another community is not answered from here, unless the entry itself says that home: a consumer
    asks with what a query told it.

    Raises:
        AccessRefused: the caller may read nothing at all.
        BadRequest: more are asked for at once than `MOST_AT_ONCE`.
    """
    return _retrieve_set(wanted, caller, raw)


@release.point
def _retrieve_set(wanted: Sequence[DocumentRequest], caller: Caller, raw: str) -> RetrievedSet:
    own = [one for one in wanted if one.repository_unique_id == settings.REPOSITORY_UNIQUE_ID]
    damaged: dict[str, HubError] = {}  # by uniqueId: what may be read, and cannot be
    try:
        with recorder.recording(EventType.RETRIEVE_DOCUMENT_SET, caller, query=raw) as event:
            access.gate(caller, Operation.RETRIEVE)
            if len(wanted) > MOST_AT_ONCE:
                raise BadRequest(
                    f"at most {MOST_AT_ONCE} documents are given at once, {len(wanted)} are asked for",
                    element="DocumentRequest",
                )
            rows = registry.entries_with_bytes({one.unique_id for one in own})
            persons = identifiers.persons_of({row.identifier_pk for row in rows} or {0})
            subjects = access.subjects(set(persons.values()) or {_NOBODY})
            homes = {(one.unique_id, one.community) for one in own}
            readable: dict[str, tuple[access.Subject, EntryRow]] = {}
            verdicts: list[tuple[access.Subject, access.Verdict[EntryRow]]] = []
            for person_id, subject in subjects.items():
                theirs = [row for row in rows if persons.get(row.identifier_pk) == person_id]
                verdict = access.permitted(caller, subject, theirs, Operation.RETRIEVE)
                verdicts.append((subject, verdict))
                for row in verdict.rows():
                    if any((row.metadata.unique_id, home) in homes for home in _homes_of(row)):
                        readable.setdefault(row.metadata.unique_id, (subject, row))
            gathered, made = _made(caller, verdicts, readable)
            contents: list[access.Content | on_demand.Made | None] = []
            for one in wanted:
                content = None
                try:
                    content = _opened(one, verdicts, readable, made, held=len(wanted) <= _HELD)
                except ContentUnavailable as error:
                    # The others are given; it does not leave, and is not recorded as leaving.
                    damaged[one.unique_id] = ContentUnavailable(f"{one.unique_id} cannot be read: {error}")
                contents.append(content)
            readable = {key: found for key, found in readable.items() if key not in damaged}
            for subject, verdict in verdicts:
                _record_set(event, caller, subject, verdict, readable, gathered.get(subject.person_id), made)
            if not readable:
                raise next(iter(damaged.values()), None) or NotFound("no such document")
            event.commit()
            basis = release.basis_of(event)
    except (NotFound, ContentUnavailable):
        return RetrievedSet(found=tuple((one, _not_given(one, damaged)) for one in wanted))
    return RetrievedSet(
        found=tuple(
            (
                one,
                _not_given(one, damaged)
                if content is None or one.unique_id not in readable
                else _on_its_way(content, caller, basis, *readable[one.unique_id], gathered),
            )
            for one, content in zip(wanted, contents, strict=True)
        )
    )


_NOBODY = UUID(int=0)


def _made(
    caller: Caller,
    verdicts: Sequence[tuple[access.Subject, access.Verdict[EntryRow]]],
    readable: Mapping[str, tuple[access.Subject, EntryRow]],
) -> tuple[dict[str, on_demand.Gathered], dict[str, on_demand.Made]]:
    """The on-demand documents among those that leave, by the UUID of their entries; what they are made of, by person.

    Raises:
        BadRequest: more of them than `on_demand.AT_ONCE`.
    """
    asked = [(subject, row) for subject, row in readable.values() if row.binary_id is None]
    if len(asked) > on_demand.AT_ONCE:
        raise BadRequest(
            f"at most {on_demand.AT_ONCE} on-demand documents are made at once, {len(asked)} are asked for",
            element="DocumentRequest",
        )
    gathered: dict[str, on_demand.Gathered] = {}
    made: dict[str, on_demand.Made] = {}
    for subject, row in asked:
        if subject.person_id not in gathered:
            gathered[subject.person_id] = on_demand.Gathered(caller, subject)
        verdict = next(verdict for about, verdict in verdicts if about is subject)
        made[row.entry_uuid] = gathered[subject.person_id].made(row, _letter(verdict, row))
    return gathered, made


def _record_set(
    event: recorder.Recording,
    caller: Caller,
    subject: access.Subject,
    verdict: access.Verdict[EntryRow],
    readable: Mapping[str, tuple[access.Subject, EntryRow]],
    gathered: on_demand.Gathered | None,
    made: Mapping[str, on_demand.Made],
) -> None:
    """Record one entry for each document that leaves: others may name the same bytes."""
    leaving = [row for about, row in readable.values() if about is subject]
    ids = [made[row.entry_uuid].unique_id for row in leaving if row.entry_uuid in made]
    access.record(
        event,
        caller,
        subject,
        on_demand.together(verdict, gathered, leaving),
        what="bytes" if gathered is None else gathered.what,
        shown=on_demand.shown,
        operation=Operation.RETRIEVE,
        detail={"made": ids} if ids else {},
    )


def _opened(
    wanted: DocumentRequest,
    verdicts: Sequence[tuple[access.Subject, access.Verdict[EntryRow]]],
    readable: Mapping[str, tuple[access.Subject, EntryRow]],
    made: Mapping[str, on_demand.Made],
    *,
    held: bool,
) -> access.Content | on_demand.Made | None:
    if wanted.repository_unique_id != settings.REPOSITORY_UNIQUE_ID or wanted.unique_id not in readable:
        return None
    subject, row = readable[wanted.unique_id]
    if wanted.community not in _homes_of(row):
        return None
    if row.entry_uuid in made:
        return made[row.entry_uuid]
    verdict = next(verdict for about, verdict in verdicts if about is subject)
    return access.open_permitted(verdict, row, row.binary_id or "", held=held)


def _homes_of(row: EntryRow) -> set[str]:
    """The communities that a document may be asked of here: this one, and the one that its entry says."""
    return {settings.HOME_COMMUNITY_ID, row.metadata.home_community_id or settings.HOME_COMMUNITY_ID}


def _not_given(wanted: DocumentRequest, damaged: Mapping[str, HubError]) -> HubError:
    """Why a document is not given: it is not there, or its bytes are damaged and it may be known of."""
    there = wanted.repository_unique_id == settings.REPOSITORY_UNIQUE_ID and wanted.unique_id in damaged
    return damaged[wanted.unique_id] if there else _not_there(wanted)


def _not_there(wanted: DocumentRequest) -> HubError:
    """Why a document is not given: the community outranks the repository, and that the document.

    Source: spec/xds.md 6, 8, 9 (IHE ITI TF-3 table 4.2.4.1-2).
    """
    if wanted.community != settings.HOME_COMMUNITY_ID:
        return UnknownCommunity(f"{wanted.home_community_id} is not this community: {wanted.unique_id} is not given")
    if wanted.repository_unique_id != settings.REPOSITORY_UNIQUE_ID:
        return UnknownRepositoryId(f"{wanted.repository_unique_id} is no repository of this hub")
    return UnknownDocumentUniqueId(f"there is no document {wanted.unique_id}")


def _on_its_way(
    content: access.Content | on_demand.Made,
    caller: Caller,
    basis: release.Basis,
    subject: access.Subject,
    row: EntryRow,
    gathered: Mapping[str, on_demand.Gathered],
) -> Retrieved:
    if isinstance(content, on_demand.Made):
        left = gathered[subject.person_id].left(row)
        last = len(content.data) - 1
        return _made_on_its_way(content, left, caller, basis, subject, row, first=0, last=last)
    binary_id = row.binary_id or ""
    watch = Watch(caller, subject, basis, lambda about: _again(row.entry_uuid, binary_id, about), shown=find.shown(row))
    return Retrieved(
        binary_id=binary_id,
        content_type=row.metadata.mime_type or content.content_type,
        size=content.size,
        sha1=content.sha1,
        first=content.first,
        last=content.last,
        chunks=watch.stream(content.chunks, content.length),
        entry_uuid=row.entry_uuid,
    )


# -- while it is sent -----------------------------------------------------------------------------------------------


def _again(entry_uuid: str, binary_id: str, about: access.Subject) -> list[EntryRow]:
    """The entry as it is now, while it is about this person and these bytes."""
    pks = set(about.identifier_pks)
    rows = registry.entries_of_binary(binary_id)
    return [row for row in rows if row.entry_uuid == entry_uuid and row.identifier_pk in pks][:1]


def _own_upload(wanted: Wanted, caller: Caller) -> Retrieved | None:
    try:
        content = access.open_upload(caller, wanted.binary_id, first=wanted.first, last=wanted.last)
    except HubError:
        with recorder.recording(EventType.RETRIEVE_DOCUMENT, caller, query=wanted.raw):
            raise
    if content is None:
        return None
    with recorder.recording(EventType.RETRIEVE_DOCUMENT, caller, query=wanted.raw) as event:
        event.about(None, detail={"binary": wanted.binary_id, "staged": True})
        event.commit()
    return Retrieved(
        binary_id=wanted.binary_id,
        content_type=content.content_type,
        size=content.size,
        sha1=content.sha1,
        first=content.first,
        last=content.last,
        chunks=content.chunks,
    )


class Watch:
    """Asks again, while a document is being sent, whether it still may be: consent, agreement, labels, the caller's token.

    Every MiB it looks whether anything that it rests on has changed since it was decided (`basis`), and every second
    (periods end without any change) it decides anew, about the rows as `fresh` reads them then. A transfer that breaks
    off, for whichever reason, adds an event.
    """

    def __init__(
        self,
        caller: Caller,
        subject: access.Subject,
        basis: release.Basis,
        fresh: Callable[[access.Subject], Sequence[access.Row]],
        *,
        shown: access.Shown,
    ) -> None:
        self._caller = caller
        self._fresh = fresh
        self._shown = shown
        self._subject = subject
        self._basis = basis
        self._decided_at = time.monotonic()
        self._sent = 0
        self._unchecked = 0

    def stream(self, chunks: Iterator[bytes], length: int) -> Iterator[bytes]:
        """The chunks, as long as they may be sent."""
        reason = "broken-off"
        try:
            for chunk in chunks:
                if self._sent and not self._may_go_on():
                    reason = "no-longer-permitted"
                    return
                self._sent += len(chunk)
                self._unchecked += len(chunk)
                yield chunk
        finally:
            if self._sent < length:
                self._record_broken(reason, length)

    def _may_go_on(self) -> bool:
        overdue = time.monotonic() - self._decided_at >= RECHECK_S
        if self._unchecked < RECHECK_BYTES and not overdue:
            return True
        self._unchecked = 0
        if not overdue and self._basis.stands():
            return True
        self._decided_at = time.monotonic()
        try:
            tokens.recheck(self._caller)
            basis = access.still_permitted(self._caller, self._subject.person_id, self._fresh, Operation.RETRIEVE)
        except HubError:
            return False
        if basis is None:
            return False
        self._basis = basis
        return True

    def _record_broken(self, reason: str, length: int) -> None:
        draft = recorder.EventDraft(
            kind=EventType.TRANSFER_BROKEN,
            caller=self._caller,
            outcome=Outcome.REFUSED if reason == "no-longer-permitted" else Outcome.FAILED,
            person_id=self._subject.person_id,
            reason=reason,
            detail={"document": self._shown.document_id, "sent": self._sent, "of": length},
        )
        recorder.write_apart([draft])
