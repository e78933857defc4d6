"""The access log in other forms: as a table, and as FHIR.

Source: spec/consent.md 14.1 and 15; spec/fhir.md 6.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from hie.audit.balp import audit_event
from hie.exchange.access_log import LogPage, without_titles


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows as a table (RFC 4180); no cell can act as a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return out.getvalue()


def utc(moment: datetime) -> str:
    """A time as RFC 3339 with Z, to the second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _harmless(cell: str) -> str:
    return "'" + cell if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell


def as_fhir(page: LogPage, *, base_url: str, hub_name: str = "", hub_oid: str = "") -> dict[str, Any]:
    """The events behind a page as a FHIR collection Bundle of AuditEvent resources."""
    withheld = {item.document_id for entry in page.entries for item in entry.items if item.withheld}
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {
                "fullUrl": f"{base_url}/AuditEvent/{event.id}",
                "resource": audit_event(
                    without_titles(event, withheld), base_url=base_url, hub_name=hub_name, hub_oid=hub_oid
                ),
            }
            for event in page.events
        ],
    }
