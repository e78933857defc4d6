"""Where encrypted bytes are kept: a folder, or any S3-compatible store.

A store knows opaque keys and bytes, nothing of documents. An object appears whole or not at all:
`Writer.commit` makes it visible, `abort` leaves nothing (what a crash leaves is swept by age).
Chosen by ``settings.DOCUMENT_STORE``: ``folder`` (``DOCUMENT_DIR``) or ``s3`` (``S3_BUCKET``, ``S3_ENDPOINT_URL`` …).
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from documents.errors import ContentUnavailable

_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f-]{36}\Z")
_PART = 8 * 1024 * 1024


class Writer(Protocol):
    """An object being written."""

    def write(self, data: bytes) -> None:
        """Append."""

    def commit(self) -> None:
        """Make the object visible under its key, durably."""

    def abort(self) -> None:
        """Leave nothing behind; harmless after `commit`."""


class Store(Protocol):
    """Objects by key."""

    def writer(self, key: str) -> Writer:
        """Begin an object."""

    def read(self, key: str, start: int, length: int) -> bytes:
        """So many bytes from `start`; fewer at the end.

        Raises:
            ContentUnavailable: there is no such object.
        """

    def delete(self, key: str) -> None:
        """Remove; an absent object is no error."""

    def keys(self, *, older_than: datetime) -> Iterator[str]:
        """Keys of objects last written before an instant."""

    def clean(self, *, older_than: datetime) -> int:
        """Drop writes begun before an instant and never committed; how many."""


def new_key(blob_id: uuid.UUID) -> str:
    """The key of a blob: spread over 256 prefixes by its random id."""
    return f"{blob_id.hex[:2]}/{blob_id}"


def store() -> Store:
    """The configured store."""
    kind = getattr(settings, "DOCUMENT_STORE", "folder")
    if kind == "folder":
        return _folder_store(str(getattr(settings, "DOCUMENT_DIR", None) or Path(settings.DATA_DIR) / "documents"))
    if kind == "s3":
        return _s3_store(
            S3Options(
                bucket=settings.S3_BUCKET,
                endpoint_url=getattr(settings, "S3_ENDPOINT_URL", "") or None,
                region=getattr(settings, "S3_REGION", "") or "us-east-1",
                access_key=getattr(settings, "S3_ACCESS_KEY_ID", "") or None,
                secret_key=getattr(settings, "S3_SECRET_ACCESS_KEY", "") or None,
                prefix=getattr(settings, "S3_PREFIX", "").strip("/"),
            )
        )
    raise ImproperlyConfigured(f"document store {kind!r} is neither folder nor s3")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """Where a bucket is and how to get in; None leaves it to the platform's own credentials."""

    bucket: str
    endpoint_url: str | None = None
    region: str = "us-east-1"
    access_key: str | None = None
    secret_key: str | None = None
    prefix: str = ""


@lru_cache(maxsize=8)
def _folder_store(path: str) -> Store:
    return FolderStore(Path(path))


@lru_cache(maxsize=8)
def _s3_store(options: S3Options) -> Store:
    return S3Store(options)


class FolderStore:
    """Objects as files, two levels deep, mode 0600; half-written ones stay apart in ``incoming``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "incoming"
        self.incoming.mkdir(parents=True, exist_ok=True, mode=0o700)

    def writer(self, key: str) -> Writer:
        """Begin a file in ``incoming``."""
        return _FileWriter(self.incoming / f"{uuid.uuid4()}.part", self._path(key))

    def read(self, key: str, start: int, length: int) -> bytes:
        """Part of a file."""
        try:
            with self._path(key).open("rb") as file:
                file.seek(start)
                return file.read(length)
        except FileNotFoundError:
            raise ContentUnavailable("stored bytes are missing") from None

    def delete(self, key: str) -> None:
        """Remove the file."""
        self._path(key).unlink(missing_ok=True)

    def keys(self, *, older_than: datetime) -> Iterator[str]:
        """Keys of files by modification time."""
        for folder in sorted(self.root.iterdir()):
            if folder.is_dir() and len(folder.name) == 2:
                for entry in os.scandir(folder):
                    with suppress(FileNotFoundError):
                        if entry.stat().st_mtime < older_than.timestamp():
                            yield f"{folder.name}/{entry.name}"

    def clean(self, *, older_than: datetime) -> int:
        """Drop stale files of ``incoming``."""
        count = 0
        for path in self.incoming.glob("*.part"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < older_than.timestamp():
                    path.unlink()
                    count += 1
        return count

    def _path(self, key: str) -> Path:
        if _KEY.match(key) is None:
            raise ContentUnavailable("storage key is not one of ours")
        return self.root / key


class _FileWriter:
    def __init__(self, partial: Path, final: Path) -> None:
        self.partial, self.final = partial, final
        self.file = os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def write(self, data: bytes) -> None:
        self.file.write(data)

    def commit(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self.final.parent.mkdir(exist_ok=True, mode=0o700)
        os.replace(self.partial, self.final)
        folder = os.open(self.final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name must be as durable as the bytes before a row says so
        finally:
            os.close(folder)

    def abort(self) -> None:
        self.file.close()
        self.partial.unlink(missing_ok=True)


class S3Store:
    """Objects of a bucket; anything over 8 MiB goes up in parts."""

    def __init__(self, options: S3Options) -> None:
        import boto3  # half a second to import: only where it is used
        from botocore.config import Config

        self.bucket = options.bucket
        self.prefix = options.prefix
        self.client = boto3.client(
            "s3",
            endpoint_url=options.endpoint_url,
            region_name=options.region,
            aws_access_key_id=options.access_key,
            aws_secret_access_key=options.secret_key,
            config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"}),
        )

    def writer(self, key: str) -> Writer:
        """Begin an object."""
        return _S3Writer(self.client, self.bucket, self._name(key))

    def read(self, key: str, start: int, length: int) -> bytes:
        """Part of an object by a ranged GET."""
        try:
            answer = self.client.get_object(
                Bucket=self.bucket, Key=self._name(key), Range=f"bytes={start}-{start + length - 1}"
            )
            body: bytes = answer["Body"].read()
            return body
        except self.client.exceptions.NoSuchKey:
            raise ContentUnavailable("stored bytes are missing") from None
        except self.client.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") == "InvalidRange":
                return b""
            raise ContentUnavailable("the document store refused to give the bytes") from error

    def delete(self, key: str) -> None:
        """Remove the object."""
        self.client.delete_object(Bucket=self.bucket, Key=self._name(key))

    def keys(self, *, older_than: datetime) -> Iterator[str]:
        """Keys under the prefix by LastModified."""
        start = f"{self.prefix}/" if self.prefix else ""
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=start):
            for item in page.get("Contents", ()):
                key = item["Key"][len(start) :]
                if item["LastModified"].astimezone(UTC) < older_than and _KEY.match(key):
                    yield key

    def clean(self, *, older_than: datetime) -> int:
        """Abort stale multipart uploads."""
        count = 0
        for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket):
            for upload in page.get("Uploads", ()):
                if upload["Initiated"].astimezone(UTC) < older_than:
                    self.client.abort_multipart_upload(
                        Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
                    count += 1
        return count

    def _name(self, key: str) -> str:
        if _KEY.match(key) is None:
            raise ContentUnavailable("storage key is not one of ours")
        return f"{self.prefix}/{key}" if self.prefix else key


class _S3Writer:
    def __init__(self, client: Any, bucket: str, name: str) -> None:
        self.client, self.bucket, self.name = client, bucket, name
        self.buffer = bytearray()
        self.upload_id: str | None = None
        self.parts: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= _PART:
            self._part(bytes(self.buffer[:_PART]))
            del self.buffer[:_PART]

    def commit(self) -> None:
        if self.upload_id is None:
            self.client.put_object(Bucket=self.bucket, Key=self.name, Body=bytes(self.buffer))
            return
        if self.buffer:
            self._part(bytes(self.buffer))
        self.client.complete_multipart_upload(
            Bucket=self.bucket, Key=self.name, UploadId=self.upload_id, MultipartUpload={"Parts": self.parts}
        )
        self.upload_id = None

    def abort(self) -> None:
        if self.upload_id is not None:
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=self.name, UploadId=self.upload_id)
            self.upload_id = None

    def _part(self, body: bytes) -> None:
        if self.upload_id is None:
            self.upload_id = self.client.create_multipart_upload(Bucket=self.bucket, Key=self.name)["UploadId"]
        number = len(self.parts) + 1
        answer = self.client.upload_part(
            Bucket=self.bucket, Key=self.name, UploadId=self.upload_id, PartNumber=number, Body=body
        )
        self.parts.append({"PartNumber": number, "ETag": answer["ETag"]})
