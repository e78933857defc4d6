"""The second sentence of a line, the rule's own, and dates in words.

Source: spec/consent.md 14.1.
"""

from __future__ import annotations

from datetime import datetime

from consent import explain
from hie.exchange.access_log_lines import LogEntry


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
