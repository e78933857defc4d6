"""The document repository: bytes in, the same bytes out, encrypted at rest.

Content is kept once under a keyed digest; each `put` gives it a public name of its own (a binary). A blob has
its own data key, wrapped by the current document key (`documents.keys`). Nothing that was not verified is ever
given out, and neither way holds more than a few segments in memory.

`hie.exchange.access` is the only one to open bytes for a caller.
"""

from __future__ import annotations

import builtins
import hashlib
import hmac
import logging
import secrets
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from documents import keys, ranges, segments
from documents.errors import ContentTooLarge, ContentUnavailable, NoSuchBinary
from documents.models import Binary, Blob, DocumentEntry, KeptDocument, RepositoryKey
from documents.storage import Writer, new_key, store
from hie.database import prepared

log = logging.getLogger(__name__)

MAX_SIZE = 4 << 30
"""Default of ``settings.DOCUMENT_MAX_SIZE``: bytes of one document."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = ..., /) -> builtins.bytes:
        """At most `size` bytes; b"" at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """Bytes in the repository: their name, size, SHA-1 (hex) and keyed digest (hex)."""

    id: str
    size: int
    sha1: str
    digest: str
    content_type: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Stored bytes, verified segment by segment as they are iterated (`chunks`, or the value itself).

    `size` is that of the whole; `first` and `last` the range in it that `chunks` gives (inclusive;
    `last` is -1 where there is nothing).
    """

    binary_id: str
    content_type: str
    size: int
    sha1: str
    first: int
    last: int
    chunks: Iterator[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks

    @property
    def length(self) -> int:
        """How many bytes `chunks` gives."""
        return self.last - self.first + 1

    def read_all(self, limit: int = 64 << 20) -> bytes:
        """Everything at once, for content known to be small.

        Raises:
            ContentTooLarge: more than `limit` bytes.
        """
        if self.length > limit:
            raise ContentTooLarge
        return b"".join(self.chunks)


# -- in -----------------------------------------------------------------------------------------


def put(content: Readable | bytes | Iterable[bytes], *, content_type: str, owner: str) -> Staged:
    """Store bytes and name them; the same bytes again get another name and no more room.

    Streams: at most a few MiB are held. The bytes stay staged (and are swept after the grace
    period) until `registry.register` hangs an entry on them. No transaction may be open around it longer than
    needed: bytes first, rows second.

    Raises:
        ContentTooLarge: more than ``settings.DOCUMENT_MAX_SIZE`` bytes; nothing is kept.
    """
    limit = int(getattr(settings, "DOCUMENT_MAX_SIZE", MAX_SIZE))
    blob_id = uuid.uuid4()
    data_key = secrets.token_bytes(32)
    sealer = segments.Sealer(data_key, blob_id)
    sha1, digest = hashlib.sha1(usedforsecurity=False), hmac.new(keys.digest_key(), digestmod=hashlib.sha256)
    size = 0
    storage_key = new_key(blob_id)
    writer = store().writer(storage_key)
    try:
        writer.write(sealer.header)
        for segment, last in _segments(content):
            size += len(segment)
            if size > limit:
                raise ContentTooLarge(f"more than {limit} bytes")
            sha1.update(segment)
            digest.update(segment)
            writer.write(sealer.seal(segment, last=last))
        present = _name_existing(digest.digest(), content_type, owner)
        if present is not None:
            return present
        wrapped, key_id = keys.document_keys().wrap(data_key, blob_id.bytes)
        blob = _Stored(
            id=blob_id,
            size=size,
            sha1=sha1.hexdigest(),
            storage_key=storage_key,
            segment_size=segments.SEGMENT,
            wrapped_key=wrapped,
            key_id=key_id,
            digest=digest.digest(),
        )
        return _keep(blob, writer, content_type, owner)
    finally:
        writer.abort()


def _keep(blob: _Stored, writer: Writer, content_type: str, owner: str) -> Staged:
    writer.commit()
    try:
        kept = _first(_NEW, {**blob._asdict(), "name": uuid.uuid4(), "content_type": content_type, "owner": owner})
    except BaseException:
        store().delete(blob.storage_key)
        raise
    if kept is not None:
        return _named(kept, content_type, owner)
    # The same bytes came in twice at once and the other was first.
    store().delete(blob.storage_key)
    present = _name_existing(blob.digest, content_type, owner)
    if present is None:
        raise ContentUnavailable("the same bytes came in and were removed at once")
    return present


def _name_existing(digest: bytes, content_type: str, owner: str) -> Staged | None:
    """Another name for bytes that are there."""
    found = _first(_AGAIN, {"digest": digest, "name": uuid.uuid4(), "content_type": content_type, "owner": owner})
    return None if found is None else _named(found, content_type, owner)


def _named(row: tuple[Any, ...], content_type: str, owner: str) -> Staged:
    name, size, sha1, digest = row
    return Staged(
        id=str(name), size=size, sha1=sha1, digest=bytes(digest).hex(), content_type=content_type, owner=owner
    )


class _Stored(NamedTuple):
    """A blob as it is read: where its bytes are, and under which key."""

    id: UUID
    size: int
    sha1: str
    storage_key: str
    segment_size: int
    wrapped_key: bytes
    key_id: str
    digest: bytes


_STORED = ", ".join(_Stored._fields)
_NAMED = """, named AS (
    INSERT INTO documents_binary (id, blob_id, content_type, owner, created_at)
    SELECT %(name)s::uuid, b.id, %(content_type)s::text, %(owner)s::text, statement_timestamp() FROM b RETURNING id
) SELECT named.id, b.size, b.sha1, b.digest FROM b, named"""
# Locked, so that a sweep cannot take the blob away between the look and the new name.
_AGAIN = f"WITH b AS (SELECT {_STORED} FROM documents_blob WHERE digest = %(digest)s::bytea FOR UPDATE){_NAMED}"  # noqa: S608
_NEW = f"""WITH b AS (
    INSERT INTO documents_blob ({_STORED}, created_at)
    VALUES (%(id)s::uuid, %(size)s::bigint, %(sha1)s::text, %(storage_key)s::text, %(segment_size)s::int,
            %(wrapped_key)s::bytea, %(key_id)s::text, %(digest)s::bytea, statement_timestamp())
    ON CONFLICT (digest) DO NOTHING RETURNING {_STORED}
){_NAMED}"""  # noqa: S608  # constants only, all three
_FIND = f"""SELECT n.id, n.content_type, n.owner, {", ".join(f"b.{name}" for name in _Stored._fields)}
  FROM documents_binary n JOIN documents_blob b ON b.id = n.blob_id WHERE n.id = %s::uuid"""  # noqa: S608
_HOLDERS = (DocumentEntry, KeptDocument)
"""What hangs on a binary: an entry, or the bytes of a document whose metadata alone was removed."""
_FREE = " AND NOT EXISTS ".join(
    [
        "SELECT n.blob_id FROM documents_binary n WHERE n.id = ANY(%s::uuid[])",
        *(f"(SELECT FROM {kind._meta.db_table} h WHERE h.binary_id = n.id)" for kind in _HOLDERS),
    ]
)


def _first(sql: str, params: Any) -> tuple[Any, ...] | None:
    """The first row of a statement that every upload or download runs: it is kept ready."""
    with prepared() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()  # type: ignore[no-any-return]  # a row or None


@dataclass(frozen=True, slots=True)
class Found:
    """What is stored under a name, with the way to its bytes."""

    staged: Staged
    _blob: _Stored

    def open(self, *, first: int | None = None, last: int | None = None, held: bool = True) -> Content:
        """As `open` of the name; no statement."""
        return _content(self.staged, self._blob, first, last, held)


def look(binary_id: UUID | str) -> Found | None:
    """What is stored under this name, or None. One statement."""
    key = _uuid(binary_id)
    row = _first(_FIND, [key]) if key else None
    if row is None:
        return None
    name, content_type, owner, *columns = row
    blob = _Stored(*columns)
    return Found(_named((name, blob.size, blob.sha1, blob.digest), content_type, owner), blob)


def _segments(content: Readable | bytes | Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Pieces of exactly one segment, the last one shorter or empty; one piece is held back to know the last."""
    held: bytes | None = None
    buffer = bytearray()
    for piece in _pieces(content):
        buffer += piece
        while len(buffer) >= segments.SEGMENT:
            if held is not None:
                yield held, False
            held = bytes(buffer[: segments.SEGMENT])
            del buffer[: segments.SEGMENT]
    if held is None:
        yield bytes(buffer), True
    elif buffer:
        yield held, False
        yield bytes(buffer), True
    else:
        yield held, True


def _pieces(content: Readable | bytes | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(content, bytes | bytearray | memoryview):
        view = memoryview(content)
        for start in range(0, len(view), segments.SEGMENT):
            yield bytes(view[start : start + segments.SEGMENT])
        return
    read = getattr(content, "read", None)
    if read is None:
        yield from content  # type: ignore[misc]  # an iterable of bytes, having no read()
        return
    while piece := read(segments.SEGMENT):
        yield piece


# -- out ----------------------------------------------------------------------------------------


def staged(binary_id: UUID | str) -> Staged | None:
    """What is stored under this name, or None. One statement."""
    found = look(binary_id)
    return None if found is None else found.staged


def open(binary_id: UUID | str, *, first: int | None = None, last: int | None = None, held: bool = True) -> Content:
    """Stored bytes, whole or a range.

    `first` alone: from there to the end; `last` alone: the last so many bytes (a suffix range); both
    inclusive. The first segment is verified before this returns, so that a face can still refuse. It is kept for the
    beginning of `chunks`, or with `held` False read once more: where many are open at once, that is a MiB each.

    Raises:
        NoSuchBinary: no bytes under this name.
        RangeNotSatisfiable: nothing of the range is in the content.
        ContentUnavailable: the bytes are missing, or are not those that were stored (also while iterating).
    """
    found = look(binary_id)
    if found is None:
        raise NoSuchBinary
    return found.open(first=first, last=last, held=held)


def _content(staged: Staged, blob: _Stored, first: int | None, last: int | None, held: bool) -> Content:
    begin, end = ranges.span(blob.size, first, last)
    backend = store()
    with _told(blob):
        opener = segments.Opener(
            keys.document_keys().unwrap(bytes(blob.wrapped_key), blob.key_id, blob.id.bytes),
            blob.id,
            backend.read(blob.storage_key, 0, segments.HEADER),
            blob.segment_size,
        )
    chunks = _chunks(blob, opener, backend, begin, end)
    head = next(chunks, b"")
    given = _chain(head, chunks) if held else _chunks(blob, opener, backend, begin, end)
    return Content(
        binary_id=staged.id,
        content_type=staged.content_type,
        size=blob.size,
        sha1=blob.sha1,
        first=begin,
        last=end,
        chunks=given,
    )


@contextmanager
def _told(blob: _Stored) -> Iterator[None]:
    """An operator hears which blob is damaged and how, whoever asked for it: the asker is told only that it is."""
    try:
        yield
    except ContentUnavailable as error:
        log.error("blob %s: %s", blob.id, error)
        raise


def _chunks(blob: _Stored, opener: segments.Opener, backend: Any, begin: int, end: int) -> Iterator[bytes]:
    length = blob.segment_size
    final = segments.count(blob.size, length) - 1
    for number in range(begin // length, max(end, 0) // length + 1):
        with _told(blob):
            # One byte more than the last segment may have: bytes behind the end are noticed too.
            sealed = backend.read(
                blob.storage_key, segments.offset(number, length), length + segments.TAG + (number == final)
            )
            content = opener.open(sealed, number, last=number == final)
            expected = length if number < final else blob.size - final * length
            if len(content) != expected:
                raise ContentUnavailable("stored bytes have another size than was registered")
        start = max(begin - number * length, 0)
        yield content[start : min(end - number * length + 1, length)]


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


# -- upkeep -------------------------------------------------------------------------------------


def rotate(*, batch: int = 200) -> int:
    """Wrap every data key that is under an older document key by the current one; how many were.

    Content is not touched. Works in small transactions beside running readers and writers, can be cut
    off and run again, and two at once share the work.
    """
    total = 0
    current = keys.document_keys()
    while True:
        with transaction.atomic():
            rows = list(
                Blob.objects.select_for_update(skip_locked=True)
                .exclude(key_id=current.current)
                .only("id", "wrapped_key", "key_id")
                .order_by("created_at", "pk")[:batch]
            )
            for row in rows:
                data_key = current.unwrap(bytes(row.wrapped_key), row.key_id, row.id.bytes)
                row.wrapped_key, row.key_id = current.wrap(data_key, row.id.bytes)
            Blob.objects.bulk_update(rows, ["wrapped_key", "key_id"])
        total += len(rows)
        if not rows:
            break
    with transaction.atomic():
        for own in RepositoryKey.objects.select_for_update().exclude(key_id=current.current):
            plain = current.unwrap(bytes(own.wrapped_key), own.key_id, own.name.encode())
            own.wrapped_key, own.key_id = current.wrap(plain, own.name.encode())
            own.save(update_fields=["wrapped_key", "key_id"])
            total += 1
    return total


def pass_on(binary_ids: Iterable[str], *, owner: str) -> None:
    """Let staged bytes be another's to register; one statement."""
    Binary.objects.filter(pk__in=[key for key in map(_uuid, binary_ids) if key is not None]).update(owner=owner)


def _held_by_nobody() -> tuple[Q, ...]:
    """That nothing hangs on a binary."""
    return tuple(Q(~Exists(kind._default_manager.filter(binary=OuterRef("pk")))) for kind in _HOLDERS)


def discard(binary_ids: Iterable[str]) -> int:
    """Remove staged bytes that no entry hangs on, at once rather than at the next sweep; how many names went.

    Bytes that are kept under another name too stay. One statement where an entry hangs on every one.
    """
    names = [key for key in map(_uuid, binary_ids) if key is not None]
    if not names:
        return 0
    with prepared() as cursor:
        cursor.execute(_FREE, [names])
        blobs = {blob_id for (blob_id,) in cursor.fetchall()}
    if not blobs:
        return 0
    free = Binary.objects.filter(*_held_by_nobody(), pk__in=names)
    with transaction.atomic():
        # Locked first, as by whoever names bytes that are there: what he finds, he finds with its bytes.
        held = list(Blob.objects.select_for_update().filter(pk__in=blobs).order_by("pk"))
        count = free.delete()[0]
        left = set(Binary.objects.filter(blob__in=blobs).values_list("blob_id", flat=True))
        orphans = [row for row in held if row.pk not in left]
        Blob.objects.filter(pk__in=[row.pk for row in orphans]).delete()
    backend = store()
    for row in orphans:
        backend.delete(row.storage_key)
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep removed."""

    binaries: int = 0
    blobs: int = 0
    objects: int = 0
    partial: int = 0


def unused(before: datetime, *, owners: Collection[str] | None = None) -> QuerySet[Binary]:
    """Staged bytes older than an instant that no entry refers to, oldest first; of these owners alone, or of all.

    Those of a document whose metadata alone was removed are none: they stay until they are removed too.
    """
    rows = Binary.objects.filter(*_held_by_nobody(), created_at__lt=before).order_by("created_at")
    return rows if owners is None else rows.filter(owner__in=owners)


def sweep(
    *,
    grace: timedelta | None = None,
    now: datetime | None = None,
    spare: Collection[str] = (),
    batch: int = 500,
) -> Swept:
    """Remove what nothing refers to and is older than the grace period (``settings.DOCUMENT_GRACE_S``, a day).

    Staged binaries without an entry, but those of the owners in `spare`; blobs without a binary, stored objects without a
    blob, half-written objects. Safe beside writers: rows are locked and looked at again before they go, an object goes
    after its row.
    """
    period = grace if grace is not None else timedelta(seconds=int(getattr(settings, "DOCUMENT_GRACE_S", 86_400)))
    before = (now or timezone.now()) - period
    backend = store()
    binaries = blobs = 0
    while True:
        with transaction.atomic():
            stale = unused(before).exclude(owner__in=spare).select_for_update(skip_locked=True)
            found = [row.pk for row in stale[:batch]]
            Binary.objects.filter(pk__in=found).delete()
        binaries += len(found)
        if len(found) < batch:
            break
    while True:
        with transaction.atomic():
            orphans = list(
                Blob.objects.select_for_update(skip_locked=True)
                .filter(~Exists(Binary.objects.filter(blob=OuterRef("pk"))), created_at__lt=before)
                .order_by("created_at")[:batch]
            )
            Blob.objects.filter(pk__in=[row.pk for row in orphans]).delete()
        for row in orphans:
            backend.delete(row.storage_key)
        blobs += len(orphans)
        if len(orphans) < batch:
            break
    objects = _sweep_objects(before, batch)
    return Swept(binaries=binaries, blobs=blobs, objects=objects, partial=backend.clean(older_than=before))


def _sweep_objects(before: datetime, batch: int) -> int:
    """An object older than the grace period without a row will never get one: its row follows within seconds."""
    backend = store()
    removed = 0
    pending: list[str] = []

    def drop() -> int:
        known = set(Blob.objects.filter(storage_key__in=pending).values_list("storage_key", flat=True))
        orphans = [key for key in pending if key not in known]
        for key in orphans:
            backend.delete(key)
        pending.clear()
        return len(orphans)

    for key in backend.keys(older_than=before):
        pending.append(key)
        if len(pending) >= batch:
            removed += drop()
    return removed + drop()


def _uuid(text: UUID | str) -> UUID | None:
    if isinstance(text, UUID):
        return text
    try:
        return UUID(text)
    except ValueError:
        return None
