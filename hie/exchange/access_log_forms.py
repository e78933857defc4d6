"""The patient's access log in other forms: a table, a FHIR collection, and the second sentence of a line in words.

Source: spec/consent.md 14.1, 15.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from consent import explain
from hie.audit.balp import audit_event
from hie.exchange.access_log import LogPage, without_titles
from hie.exchange.access_log_values import LogEntry
from hie.exchange.access_log_words import sentence_words

CSV_COLUMNS = (
    "time", "first_time", "who", "role", "organization", "passed_on_by", "on_behalf_of", "what_happened", "why",
    "documents", "result", "rule", "obligations", "events",
)  # fmt: skip


def as_csv(entries: Iterable[LogEntry]) -> str:
    """The lines as a table (RFC 4180, first row the column names), times in UTC; no cell can act as a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for entry in entries:
        row = (
            _utc(entry.at), _utc(entry.first_at), entry.who.name, entry.who.role_words, entry.who.organization, entry.relay,
            entry.on_behalf_of, sentence_words(entry), entry.purpose_words,
            "; ".join(sorted({item.title or item.kind for item in entry.items if item.title or item.kind})),
            entry.seen.value, rule_words(entry), " ".join(entry.obligations), " ".join(entry.event_ids),
        )  # fmt: skip
        writer.writerow([_harmless(cell) for cell in row])
    return out.getvalue()


def _utc(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _harmless(cell: str) -> str:
    return "'" + cell if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell


def rule_words(entry: LogEntry, *, language: str = "en") -> str:
    """The second sentence, the rule's own (spec/consent.md 14.1); "" when no rule decided.

    Another language gives its words for places, reasons and dates by filling
    `explain.template` itself.
    """
    if entry.rule is None:
        return ""
    params = dict(entry.rule.params) | {"w": explain.purpose_words(entry.purpose)}
    if params["choice_on"]:
        params["c"] = f"your choice of {day_words(params['choice_on'])}"
    return explain.fill(explain.template(entry.rule.rule, explain.Audience.PATIENT, language), params)


def day_words(date: str) -> str:
    """A FHIR date in words: "3 May 2026", "May 2026", "2026"; text that is none unchanged."""
    for form, words in (("%Y-%m-%d", "{0.day} {0:%B %Y}"), ("%Y-%m", "{0:%B %Y}")):
        try:
            return words.format(datetime.strptime(date, form))  # noqa: DTZ007  a calendar day, no instant
        except ValueError:
            continue
    return date


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
