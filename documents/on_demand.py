"""Which on-demand entries this repository makes the document of, whenever it is asked for.

Source: IHE ITI TF-2 3.61, 3.43.4.2 (On-Demand Document Source).
"""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings

from documents.errors import InvalidAttribute
from documents.metadata import ON_DEMAND, EntryMetadata
from hie.standards import mime
from hie.standards.errors import HubError

MIME_TYPE = "text/xml"
FORMATS = frozenset({"urn:hl7-org:sdwg:ccda-structuredBody:2.1"})
"""The format codes of what is made here: C-CDA R2.1 with a structured body."""


def is_own(entry: EntryMetadata) -> bool:
    """Whether an entry is on-demand and names this repository as the one that makes its document."""
    return entry.object_type == ON_DEMAND and entry.repository_unique_id == settings.REPOSITORY_UNIQUE_ID


def is_made_here(entry: EntryMetadata) -> bool:
    """Whether this repository makes the entry's document: it is `is_own`, and of a format that is made here."""
    return is_own(entry) and not any(_problems(entry))


def check(entry: EntryMetadata) -> Iterator[HubError]:
    """An on-demand entry of this repository is of a format that this repository makes; of another's it is the other's word."""
    if is_own(entry):
        yield from _problems(entry)


def _problems(entry: EntryMetadata) -> Iterator[HubError]:
    where = f"DocumentEntry[{entry.entry_uuid}]"
    declared = mime.parse(entry.mime_type)
    if declared is None or declared.essence != MIME_TYPE:
        yield InvalidAttribute(
            f"this repository makes on-demand documents of mimeType {MIME_TYPE} only, not {entry.mime_type}",
            element=f"{where}.mimeType",
        )
    code = entry.format_code.code if entry.format_code is not None else ""
    if code not in FORMATS:
        yield InvalidAttribute(
            f"this repository makes on-demand documents of formatCode {', '.join(sorted(FORMATS))} only, not {code}",
            element=f"{where}.formatCode",
        )
