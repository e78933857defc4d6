"""Literal references of submitted resources to things of this server."""

from __future__ import annotations

from uuid import UUID


def local_id(reference: str, resource_type: str, base: str) -> str | None:
    """The id behind ``Type/id`` or ``[base]/Type/id`` (a version at its end is cut off), else None."""
    local = reference.removeprefix(f"{base}/").split("/_history/")[0]
    kind, slash, logical = local.partition("/")
    return logical if slash and kind == resource_type and logical and "/" not in logical else None


def entry_uuid_of(reference: str, base: str, resource_type: str = "DocumentReference") -> str | None:
    """The ``urn:uuid:`` of a DocumentReference or List of this server that a reference names, else None."""
    logical = local_id(reference, resource_type, base)
    if logical is None:
        return None
    try:
        return f"urn:uuid:{UUID(logical)}"
    except ValueError:
        return None
