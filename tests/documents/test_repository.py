"""Bytes in, the same bytes out: encrypted, deduplicated, in ranges, swept, re-wrapped; in a folder and in S3."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from documents import keys, repository, segments, storage
from documents.errors import ContentTooLarge, ContentUnavailable, NoSuchBinary, RangeNotSatisfiable
from documents.models import Binary, Blob, RepositoryKey
from tests.documents import samples

pytestmark = pytest.mark.django_db
SEGMENT = segments.SEGMENT
ALREADY = timedelta(seconds=-5)


def put(content: Any, owner: str = "org-clinic") -> repository.Staged:
    return repository.put(content, content_type="text/plain", owner=owner)


def stored_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class Pattern(io.RawIOBase):
    """A stream of `size` bytes that nobody holds; reads come in odd sizes."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1, /) -> bytes:
        step = min(self.left, 70_001, size if size > 0 else self.left)
        self.left -= step
        return b"\xa5" * step


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 3 * SEGMENT + 17])
def test_bytes_come_back_identical_around_the_edges_of_segments(size: int) -> None:
    content = bytes(i * 31 % 256 for i in range(1000)) * (size // 1000 + 1)
    content = content[:size]
    staged = put(io.BytesIO(content))
    assert (staged.size, staged.sha1) == (size, hashlib.sha1(content).hexdigest())
    opened = repository.open(staged.id)
    assert opened.read_all() == content
    assert (opened.size, opened.sha1, opened.content_type) == (size, staged.sha1, "text/plain")


def test_stored_bytes_show_nothing_of_the_content(store_folder: Path) -> None:
    put(b"a sentence that nobody may read " * 100)
    (path,) = stored_files(store_folder)
    assert b"sentence" not in path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0


def test_the_same_bytes_are_kept_once_and_named_twice(store_folder: Path) -> None:
    first, second = put(b"same"), put(b"same", owner="org-hospital")
    assert first.id != second.id
    assert first.digest == second.digest
    assert len(stored_files(store_folder)) == 1
    assert repository.staged(second.id).owner == "org-hospital"  # type: ignore[union-attr]  # just put


def test_the_digest_is_keyed() -> None:
    assert put(b"known text").digest != hashlib.sha256(b"known text").hexdigest()


def test_too_many_bytes_are_refused_and_nothing_stays(store_folder: Path, settings: Any) -> None:
    settings.DOCUMENT_MAX_SIZE = 3 * SEGMENT
    put(Pattern(3 * SEGMENT))
    before = len(stored_files(store_folder))
    with pytest.raises(ContentTooLarge):
        put(Pattern(3 * SEGMENT + 1))
    assert len(stored_files(store_folder)) == before


def test_a_stream_that_breaks_off_leaves_nothing(store_folder: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * SEGMENT
        raise ConnectionError

    with pytest.raises(ConnectionError):
        put(broken())
    assert stored_files(store_folder) == []
    assert not Binary.objects.exists()


RANGES = [
    (0, 0), (5, 9), (0, None), (None, 1), (None, 10**9), (SEGMENT - 1, SEGMENT), (SEGMENT, None),
    (2 * SEGMENT + 5, 10**9), (SEGMENT // 2, 2 * SEGMENT + 1),
]  # fmt: skip


@pytest.mark.parametrize(("first", "last"), RANGES)
def test_a_range_is_a_slice(first: int | None, last: int | None) -> None:
    content = bytes(range(251)) * (SEGMENT * 2 // 251 + 10)
    opened = repository.open(put(content).id, first=first, last=last)
    expected = content[-(last or 0) :] if first is None else content[first : None if last is None else last + 1]
    assert opened.read_all() == expected
    assert opened.length == len(expected)


@pytest.mark.parametrize(("first", "last"), [(4, None), (9, 12), (2, 1), (None, 0), (-1, 2)])
def test_a_range_outside_the_content_is_refused(first: int | None, last: int | None) -> None:
    with pytest.raises(RangeNotSatisfiable):
        repository.open(put(b"four").id, first=first, last=last)


@pytest.mark.parametrize("name", ["nonsense", "9f2d3c1e-0b1a-4c57-9a55-6f1d2f0c7b10", ""])
def test_unknown_bytes_are_not_there(name: str) -> None:
    with pytest.raises(NoSuchBinary):
        repository.open(name)
    assert repository.staged(name) is None


def tampered(path: Path, change: str, other: bytes) -> bytes:
    data = path.read_bytes()
    size = SEGMENT + segments.TAG
    header, parts = data[:16], [data[16 + i : 16 + i + size] for i in range(0, len(data) - 16, size)]
    match change:
        case "bit":
            return data[:40] + bytes([data[40] ^ 1]) + data[41:]
        case "last-bit":
            return data[:-1] + bytes([data[-1] ^ 1])
        case "reorder":
            return header + parts[1] + parts[0] + b"".join(parts[2:])
        case "truncate-segment":
            return header + b"".join(parts[:-1])
        case "truncate-bytes":
            return data[:-5]
        case "append":
            return data + b"x"
        case "duplicate":
            return header + parts[0] + parts[0] + b"".join(parts[2:])
        case "splice":
            return header + other[16 : 16 + size] + b"".join(parts[1:])
        case "other-header":
            return other[:16] + data[16:]
        case "whole-other":
            return other
        case _:
            return b""


@pytest.mark.parametrize(
    "change",
    [
        "bit", "last-bit", "reorder", "truncate-segment", "truncate-bytes", "append", "duplicate", "splice",
        "other-header", "whole-other", "empty",
    ],
)  # fmt: skip
def test_bytes_that_were_tampered_with_are_never_given_out(store_folder: Path, change: str) -> None:
    staged, other = put(b"a" * (2 * SEGMENT + 9)), put(b"b" * (2 * SEGMENT + 9))
    blob = Binary.objects.get(pk=staged.id).blob
    other_path = store_folder / Binary.objects.get(pk=other.id).blob.storage_key
    path = store_folder / blob.storage_key
    path.write_bytes(tampered(path, change, other_path.read_bytes()))
    seen = bytearray()
    with pytest.raises(ContentUnavailable):
        seen.extend(b"".join(_noting(repository.open(staged.id), seen)))
    assert bytes(seen) == b"a" * len(seen), "only verified bytes leave"


def _noting(content: repository.Content, seen: bytearray) -> Iterator[bytes]:
    for chunk in content:
        seen += chunk
        yield b""


def test_a_row_pointed_at_another_blob_does_not_open(store_folder: Path) -> None:
    one, two = put(b"one" * 100), put(b"two" * 100)
    first, second = Binary.objects.get(pk=one.id).blob, Binary.objects.get(pk=two.id).blob
    Blob.objects.filter(pk=first.pk).update(wrapped_key=second.wrapped_key)
    with pytest.raises(ContentUnavailable):
        repository.open(one.id)


def test_missing_bytes_are_said_to_be_missing(store_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    staged = put(b"gone")
    (path,) = stored_files(store_folder)
    path.unlink()
    with pytest.raises(ContentUnavailable, match="missing"):
        repository.open(staged.id)
    assert caplog.messages == [f"blob {Blob.objects.get().pk}: stored bytes are missing"], "an operator hears which"


@settings(max_examples=25, deadline=None)
@given(content=st.binary(max_size=200), size=st.integers(1, 17), data=st.data())
def test_segments_open_only_in_their_own_place(content: bytes, size: int, data: st.DataObject) -> None:
    key, blob_id = b"k" * 32, uuid.uuid4()
    sealer = segments.Sealer(key, blob_id, size)
    pieces = [content[i : i + size] for i in range(0, len(content), size)] or [b""]
    sealed = [sealer.seal(piece, last=n == len(pieces) - 1) for n, piece in enumerate(pieces)]
    opener = segments.Opener(key, blob_id, sealer.header, size)
    assert segments.count(len(content), size) == len(pieces)
    for n, piece in enumerate(pieces):
        assert opener.open(sealed[n], n, last=n == len(pieces) - 1) == piece
    taken, place = (data.draw(st.integers(0, len(pieces) - 1)) for _ in range(2))
    last = data.draw(st.booleans())
    if (taken, taken == len(pieces) - 1) != (place, last):
        with pytest.raises(ContentUnavailable):
            opener.open(sealed[taken], place, last=last)
    with pytest.raises(ContentUnavailable):
        segments.Opener(key, uuid.uuid4(), sealer.header, size).open(sealed[0], 0, last=len(pieces) == 1)


# -- keys ---------------------------------------------------------------------------------------


def test_rotation_wraps_every_key_anew_and_the_old_document_key_may_go(settings: Any) -> None:
    staged = [put(b"one"), put(b"two")]
    settings.DOCUMENT_KEYS = {"k2": b"2" * 32, "k1": b"1" * 32}
    assert repository.open(staged[0].id).read_all() == b"one"
    assert repository.rotate(batch=1) == 3  # two blobs and the digest key
    settings.DOCUMENT_KEYS = {"k2": b"2" * 32}
    assert [repository.open(s.id).read_all() for s in staged] == [b"one", b"two"]
    assert put(b"one").digest == staged[0].digest, "content is still found by its digest"
    assert repository.rotate() == 0


def test_a_document_key_that_is_missing_is_named(settings: Any) -> None:
    staged = put(b"one")
    settings.DOCUMENT_KEYS = {"k2": b"2" * 32}
    with pytest.raises(ContentUnavailable, match="k1"):
        repository.open(staged.id)


def test_the_command_keeps_a_new_key_and_wraps_under_it(
    settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.DOCUMENT_KEYS_FILE = tmp_path / "keys" / "document-keys"
    first = put(b"before")
    call_command("rotate_keys")
    current = keys.document_keys().current
    assert current != "k1"
    assert set(Blob.objects.values_list("key_id", flat=True)) == {current}
    assert RepositoryKey.objects.get().key_id == current
    assert settings.DOCUMENT_KEYS_FILE.stat().st_mode & 0o077 == 0
    call_command("rotate_keys")
    assert keys.document_keys().current not in {"k1", current}
    assert repository.open(first.id).read_all() == b"before"
    assert "re-wrapped" in capsys.readouterr().out


# -- sweeping -----------------------------------------------------------------------------------


def test_what_nothing_refers_to_is_swept_after_the_grace_period(store_folder: Path, patients: Any) -> None:
    kept = samples.entry()
    samples.register(samples.submission(kept), patients)
    orphan = put(b"never registered")
    assert repository.sweep().binaries == 0, "within the grace period nothing goes"
    swept = repository.sweep(grace=ALREADY)
    assert (swept.binaries, swept.blobs) == (1, 1)
    assert repository.staged(orphan.id) is None
    assert len(stored_files(store_folder)) == 1
    assert repository.sweep(grace=ALREADY) == repository.Swept()


def test_a_blob_with_another_name_survives_the_sweep(patients: Any) -> None:
    kept = samples.entry()
    samples.register(samples.submission(kept), patients, bytes_of={kept.entry_uuid: b"shared"})
    put(b"shared")
    assert repository.sweep(grace=ALREADY) == repository.Swept(binaries=1)
    assert repository.open(Binary.objects.get().pk).read_all() == b"shared"


def test_what_no_entry_hangs_on_is_discarded_at_once_and_nothing_else(
    store_folder: Path, patients: Any, django_assert_num_queries: Any
) -> None:
    kept = samples.entry()
    samples.register(samples.submission(kept), patients, bytes_of={kept.entry_uuid: b"kept"})
    hung, again, alone = str(Binary.objects.get().pk), put(b"kept"), put(b"alone")
    with django_assert_num_queries(1):
        assert repository.discard([hung]) == 0
    assert repository.discard([hung, again.id, alone.id, str(uuid.uuid4()), "no name"]) == 2
    assert [str(pk) for pk in Binary.objects.values_list("pk", flat=True)] == [hung]
    assert len(stored_files(store_folder)) == 1
    assert repository.open(hung).read_all() == b"kept"
    with django_assert_num_queries(0):
        assert repository.discard([]) == 0


def test_staged_bytes_are_passed_on_to_another_owner() -> None:
    one, other = put(b"one"), put(b"other")
    repository.pass_on([one.id], owner="org-hospital")
    found = [repository.staged(one.id), repository.staged(other.id)]
    assert [each.owner for each in found if each is not None] == ["org-hospital", "org-clinic"]


def test_stored_objects_without_a_row_and_half_written_ones_are_swept(store_folder: Path) -> None:
    kept = put(b"kept")
    store = storage.store()
    lost = store.writer(storage.new_key(uuid.uuid4()))
    lost.write(b"x")
    lost.commit()
    half = store.writer(storage.new_key(uuid.uuid4()))
    half.write(b"y")
    Binary.objects.update(created_at=timezone.now() + timedelta(days=1))
    Blob.objects.update(created_at=timezone.now() + timedelta(days=1))
    assert repository.sweep(grace=ALREADY) == repository.Swept(objects=1, partial=1)
    assert repository.open(kept.id).read_all() == b"kept"


# -- size ---------------------------------------------------------------------------------------


def through(size: int) -> int:
    """Put and read `size` bytes; the most memory that Python held meanwhile."""
    put(b"")
    tracemalloc.start()
    try:
        staged = put(Pattern(size))
        assert staged.size == size
        seen = 0
        for chunk in repository.open(staged.id):
            seen += len(chunk)
        assert seen == size
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_twenty_megabytes_go_in_and_out_in_bounded_memory() -> None:
    assert through(20 << 20) < 10 << 20


@pytest.mark.slow
def test_five_hundred_megabytes_go_in_and_out_in_bounded_memory() -> None:
    assert through(500 << 20) < 10 << 20


# -- the other store ----------------------------------------------------------------------------


@pytest.fixture
def s3(settings: Any) -> Iterator[Any]:
    """A bucket played by moto in this process."""
    moto = pytest.importorskip("moto")
    import boto3

    with moto.mock_aws():
        storage._s3_store.cache_clear()
        settings.DOCUMENT_STORE = "s3"
        settings.S3_BUCKET, settings.S3_REGION, settings.S3_ENDPOINT_URL = "documents", "us-east-1", ""
        settings.S3_ACCESS_KEY_ID = settings.S3_SECRET_ACCESS_KEY = "test"
        settings.S3_PREFIX = "hub"
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t")
        client.create_bucket(Bucket="documents")
        yield client
    storage._s3_store.cache_clear()


def test_an_s3_store_keeps_ranges_and_forgets_the_same(s3: Any) -> None:
    content = bytes(range(256)) * (9 * SEGMENT // 256)  # more than one part of an upload
    staged = put(content)
    assert repository.open(staged.id).read_all() == content
    assert repository.open(staged.id, first=SEGMENT + 3, last=SEGMENT + 9).read_all() == content[SEGMENT + 3 :][:7]
    put(content)
    small = put(b"")
    assert repository.open(small.id).read_all() == b""
    assert len(s3.list_objects_v2(Bucket="documents")["Contents"]) == 2
    swept = repository.sweep(grace=timedelta(seconds=-5))
    assert (swept.binaries, swept.blobs) == (3, 2)
    assert "Contents" not in s3.list_objects_v2(Bucket="documents")


def test_an_s3_upload_that_breaks_off_leaves_nothing(s3: Any) -> None:
    def broken() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * SEGMENT
        raise ConnectionError

    with pytest.raises(ConnectionError):
        put(broken())
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="documents")
    assert "Contents" not in s3.list_objects_v2(Bucket="documents")


def test_a_missing_s3_object_is_said_to_be_missing(s3: Any) -> None:
    staged = put(b"gone")
    storage.store().delete(Binary.objects.get(pk=staged.id).blob.storage_key)
    with pytest.raises(ContentUnavailable):
        repository.open(staged.id)
