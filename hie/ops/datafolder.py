"""The data folder: one hub at a time, its format known, nothing of it readable by others."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from hie.settings.secrets import private_folder, write_private

# Raised when older code could no longer work on the folder.
FORMAT = 1
RELEASE = "0.1.0"


class FolderRefused(Exception):
    """This data folder cannot be used now; the message says why in one sentence."""


def prepare(data_dir: Path) -> None:
    """Make the folder (mode 0700) with its parts; an existing folder's mode is left as it is.

    Raises:
        FolderRefused: it cannot be written.
    """
    try:
        for part in ("logs", "run", "secrets"):
            private_folder(data_dir / part)
    except OSError as error:
        raise FolderRefused(f"the data folder {data_dir} cannot be written ({error.strerror})") from error


@contextlib.contextmanager
def held(data_dir: Path) -> Iterator[None]:
    """Hold the folder for one running hub; the kernel lets go when the process ends, however it ends.

    Raises:
        FolderRefused: another hub holds it.
    """
    with open(data_dir / "run" / "up.lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            pid = lock.read().strip()
            raise FolderRefused(
                f"a hub already runs on {data_dir}"
                + (f" (process {pid})" if pid else "")
                + "; stop it, or set HIE_DATA_DIR and HIE_PORT"
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def is_held(data_dir: Path) -> bool:
    """Whether a hub runs on this folder now."""
    try:
        with open(data_dir / "run" / "up.lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def check_version(data_dir: Path) -> None:
    """Refuse a folder that a newer release has written.

    Raises:
        FolderRefused: its format is above `FORMAT`, or its version file is not one.
    """
    try:
        content = json.loads((data_dir / "version.json").read_text())
        found = int(content["format"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        raise FolderRefused(f"{data_dir}/version.json cannot be read; restore it from a backup") from error
    if found > FORMAT:
        raise FolderRefused(
            f"the data folder was written by a newer release ({content.get('release', '?')}, format {found}; "
            f"this one, {RELEASE}, knows format {FORMAT}); use that release"
        )


def note_version(data_dir: Path, profile: str) -> None:
    """Write down that this release has worked on the folder."""
    content = json.dumps({"format": FORMAT, "release": RELEASE, "profile": profile})
    with contextlib.suppress(FileNotFoundError):
        if (data_dir / "version.json").read_text().strip() == content:
            return
    write_private(data_dir / "version.json", content)
