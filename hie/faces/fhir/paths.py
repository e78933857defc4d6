"""From the element a refusal of the core names to the FHIRPath of what was submitted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from hie.faces.fhir import mhd
from hie.standards.errors import HubError

_ELEMENT = re.compile(r"^(?P<kind>[A-Za-z]+)(?:\[(?P<id>[^\]]*)\])?(?:\.(?P<attribute>\w+))?")

Path = Callable[[HubError], str]


def element_path(places: Mapping[str, str]) -> Path:
    """The path of an element, given where each object of the submission stands (its id to its FHIRPath)."""

    def path(error: HubError) -> str:
        found = _ELEMENT.match(error.element or "")
        if not found:
            return error.element or ""
        where = places.get(found["id"] or "")
        if where is None:
            return ""
        table = mhd.ENTRY_PATHS if found["kind"] == "DocumentEntry" else mhd.LIST_PATHS
        element = table.get(found["attribute"] or "", "")
        return f"{where}.{element}" if element else where

    return path


@contextmanager
def told_with(path: Path) -> Iterator[None]:
    """Let a refusal of the core leave with its elements told as FHIRPath."""
    try:
        yield
    except HubError as error:
        error.fhir_path = path  # type: ignore[attr-defined]  # read by the dispatcher's refusal
        raise
