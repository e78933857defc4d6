"""Reads one variable at a time; a wrong value is named, with what it should look like."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """The variable without surrounding blanks; set but empty counts as absent."""
    return os.environ.get(name, "").strip() or default


def integer(name: str, default: int, *, low: int = 0, high: int = 2**31) -> int:
    """A whole number within bounds, ends included."""
    value = text(name)
    if not value:
        return default
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise ImproperlyConfigured(f"{name} must be a whole number from {low} to {high}")
    return int(value)


def flag(name: str, default: bool) -> bool:
    """1, true, yes, on or 0, false, no, off."""
    value = text(name).lower()
    if not value:
        return default
    if value not in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
        raise ImproperlyConfigured(f"{name} must be true or false")
    return value in {"1", "true", "yes", "on"}


def names(name: str) -> list[str]:
    """A list separated by commas; empty members are dropped."""
    return [part.strip() for part in text(name).split(",") if part.strip()]


def folder(name: str, default: Path) -> Path:
    """An absolute folder; ``~`` is the home folder, a relative path counts from the working directory."""
    value = text(name)
    return Path(value).expanduser().absolute() if value else default


def passing_folder() -> Path:
    """A private folder that goes when the process ends: what tests write stays out of the hub's own data."""
    path = Path(tempfile.mkdtemp(prefix="hie-test-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def choice(name: str, default: str, allowed: frozenset[str]) -> str:
    """One of a few words."""
    value = text(name, default)
    if value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(sorted(allowed))}")
    return value


def oid_urn(name: str, default: str) -> str:
    """A home community id: an OID written ``urn:oid:``; a bare OID is completed."""
    value = text(name, default)
    return value if value.startswith("urn:oid:") else f"urn:oid:{value}"


def database(url: str) -> dict[str, Any]:
    """A ``postgresql://user:password@host:port/name?option=value`` as Django's dictionary.

    The query string holds libpq options (``sslmode``, ``connect_timeout``, ``host`` for a socket folder).

    Raises:
        ImproperlyConfigured: another scheme, or no database name.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise ImproperlyConfigured("DATABASE_URL must read postgresql://user:password@host:port/name")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", unquote(parts.hostname or "")),
        "PORT": str(parts.port or ""),
        "OPTIONS": options,
    }
