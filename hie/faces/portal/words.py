"""The sentences of the log on a page: translated, filled, names marked up. Nothing here decides what is shown.

The English templates are those of `hie.exchange.access_log_lines` and `consent.explain`; for a
helper they speak of "their" record. A translation has its own template under the same English one.

Source: spec/consent.md 14.1, 15; words and rules of the user interface reference.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from django.utils.html import conditional_escape, format_html, strip_tags
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language_bidi, gettext, gettext_noop, ngettext, pgettext

from consent import explain
from hie.exchange import access_log_lines as log
from hie.exchange.access_log import ActorKind, LogEntry, Part, Seen
from hie.faces.portal import dates

# What is said otherwise to a helper, who reads about another person.
THEIRS: dict[str, str] = {
    "opened.one": "{who} opened their {kind} {why}.",
    "opened.many": "{who} opened {count} of their documents {why}.",
    "opened.withheld": "{who} opened one of their documents {why}.",
    "looked-at.none": "{who} looked for documents about them {why}. There were none to show.",
    "looked-at.one": "{who} looked at the entry of their {kind} {why}.",
    "looked-at.many": "{who} looked at the list of {count} of their documents {why}.",
    "looked-at.record": "{who} looked at their record {why}.",
    "asked-for.documents": "{who} asked for their documents {why}. Nothing was shown.",
    "asked-for.record": "{who} asked for their record {why}. Nothing was shown.",
    "looked-up": "{who} looked them up {why}.",
    "looked-up.refused": "{who} tried to look them up {why}. Nothing was shown.",
    "sent.question": "{who} asked {recipient} about them {why}. Their name and date of birth were sent.",
    "sent.withheld": "{who} wanted to ask {recipient} about them {why}. Nothing was sent.",
    "sent.documents": "{who} sent {count} of their documents to {recipient} {why}.",
    "sent.notice": "{who} sent a notice about them to {recipient} {why}.",
    "asked.decision": "{who} asked us who may see their record {why}. Nothing of it was shown.",
    "tried.decision": "{who} looked at who could see their record.",
    "read.decision": "{who} read why their record was shown or not.",
    "added.documents": "{who} added documents to their record.",
    "added.refused": "{who} tried to add to their record. It was not taken in.",
    "added.person": "{who} added or updated their name and contact data.",
    "added.choice": "{who} saved a choice about their record.",
    "changed.choice": "{who} took back a choice about their record.",
    "changed.record": "{who} changed their record: {what}.",
    "declared": "{who} said that there is an emergency, to see more of their record.",
    "staff": "{who} looked at their record: {what}.",
    "automatic": "{who} worked on their record: {what}.",
    "concern.wrote": "{who} wrote to them about a concern.",
}
THEIR_WHY: dict[str, str] = {"to treat you": "to treat them", "because you asked": "because they asked"}
THEIR_RULES: dict[str, str] = {
    "G6": "{o} did not say that it is treating them.",
    "P1": "The care team asked to talk with them before this is shown. Ask {o}.",
    "P2": "They can see their own record from the age of {n}.",
    "P3": "They looked at this themselves.",
    "P4": "{p} has no valid permission from them.",
    "P5": "{p}'s access as a parent ended when they came of age.",
    "P6": "This is kept between them and their care team.",
    "P7": "They chose not to show this to {p}.",
    "P8": "Their permission for {p} does not reach this document.",
    "P9": "{p} saw this on their behalf.",
    "C1": "{o} looked at its own record of them.",
    "D1": "They refused emergency access, and the law here respects that.",
    "D2": '{p} opened this in an emergency: "{reason}". It will be checked.',
    "D4": "This needs their written agreement that names it; there is none.",
    "D5": "This is very private and opens only if they name it.",
    "F1": "Shown under the general rule of {jurisdiction}; they have made no other choice.",
    "F3": "In {jurisdiction} nothing is shared until they agree; they have not.",
}
# Who could see a document, by the rule that would decide; where it has no sentence here, the one of the log is said.
WOULD: dict[str, str] = {
    "C1": "It is their own record of you.",
    "D2": "They must give a reason, and you will be told.",
    "D3": "Because of {c}.",
    "D6": "Because of {c}.",
    "P3": "This is you.",
    "P9": "You let them act for you.",
}
ALL_OF_A_TYPE: dict[str, str] = {
    "hospital": "All hospitals",
    "primary-care": "All family doctors and clinics",
    "lab": "All laboratories",
    "imaging": "All imaging centers",
    "pharmacy": "All pharmacies",
    "payer": "All insurers",
    "public-health": "All public health offices",
    "research": "All researchers",
    "sud-program": "All addiction programs",
    "telehealth": "All online doctors",
    "law-enforcement": "All police offices",
    "patient-portal": "All patient portals",
    "community": "All other networks",
}
# What staff and machines worked on, in words of the log.
WHAT: dict[str, str] = {
    "identity": "name and contact data",
    "documents": "list of documents",
    "document": "list of documents",
    "consents": "choices",
    "consent": "choices",
    "access-log": "access log",
    "audit": "access log",
    "queries": "questions to other places",
    "identity link": "which records belong together",
    "identity unlink": "which records belong together",
    "identity merge": "which records belong together",
    "identity unmerge": "which records belong together",
    "identity review": "which records belong together",
    "patient removed": "a record was taken out",
    "relabel": "privacy marks of a document",
    "ITI 57": "facts about a document",
    "ITI 92": "facts about a document",
    "ITI 62": "documents were taken out",
    "ITI 86": "documents were taken out",
    "proxy changed": "helpers",
    "account code": "a code for a way in here",
    "account opened": "your way in here",
    "helper ends soon": "the time of a helper ends soon",
    "concern": "a concern",
    "break glass reviewed": "the check of an emergency look",
    "emergency justified": "the check of an emergency look, which was right",
    "emergency not justified": "the check of an emergency look, which was not right",
    "transfer broken": "sending was broken off",
}
FOR_THE_PURPOSE = "for the purpose {code}"
UNKNOWN_ROLE = "staff"


def sentence(entry: LogEntry, *, helper: bool = False) -> SafeString:
    """The line's sentence with names in bold, each in its own direction."""
    template = (THEIRS.get(entry.sentence) if helper else None) or log.SENTENCES[entry.sentence]
    if "{count}" in template:
        count = int(entry.values["count"])
        template = ngettext(template, template, count)
    else:
        template = gettext(template)
    recipients = entry.values["recipient"].split(", ") if entry.values["recipient"] else []
    filled = fill(
        template,
        {
            "who": who(entry),
            "kind": _kind(entry),
            "count": dates.digits(entry.values["count"]),
            "why": why(entry, helper=helper),
            "what": gettext(WHAT.get(entry.values["what"], entry.values["what"])),
            "recipient": mark_safe(", ".join(name_of(r) for r in recipients)) or gettext("another place"),  # noqa: S308
        },
    )
    return mark_safe(_tidy(filled))  # noqa: S308  every value was escaped by fill


def plain(entry: LogEntry, *, helper: bool = False) -> str:
    """The sentence as text."""
    return strip_tags(sentence(entry, helper=helper))


def said(entry: LogEntry, *, helper: bool = False) -> str:
    """All that a line says in the reader's language, as text: what a search for words looks in."""
    words = (
        plain(entry, helper=helper), rule(entry, helper=helper), badge(entry, helper=helper), held_back(entry.who),
    )  # fmt: skip
    return without_isolates(html.unescape(" ".join(words)))


def plain_text(entry: LogEntry, *, helper: bool = False) -> str:
    """The sentence as text for where there is no markup."""
    return html.unescape(plain(entry, helper=helper))


def without_isolates(text: str) -> str:
    """Text for a machine: without what only parts directions."""
    return text.translate(_ISOLATES)


_ISOLATES = {0x2068: None, 0x2069: None}


def who(entry: LogEntry) -> SafeString:
    """The reader: name, role and place in one phrase."""
    return who_of(entry.who)


def who_of(one: log.Who) -> SafeString:
    """As `who`, of a reader that stands in no line."""
    template = pgettext("who", log.WHO[log.who_key(one)])
    values = {
        "name": name_of(one.name or gettext("Someone")),
        "role": gettext(one.role_words or UNKNOWN_ROLE),
        "organization": name_of(one.organization or gettext("the exchange")),
    }
    filled = fill(template, values)
    return format_html("<b>{}</b>", filled) if "<b>" not in filled else filled


def who_plain(entry: LogEntry) -> str:
    """The reader as text that can stand alone."""
    return strip_tags(who(entry)).rstrip(",،")


def held_back(one: log.Who) -> str:
    """Why the name of a reader is not told, and who can tell it; "" where none is held back by law."""
    template, values = log.held_back(one)
    return fill_text(gettext(template), values) if template else ""


def why(entry: LogEntry, *, helper: bool = False) -> str:
    """The purpose in words; "" where none was needed."""
    words = entry.purpose_words
    # Own looks and those of helpers are at one's own wish by nature.
    if not words or (entry.part is Part.OWN and log.PURPOSE_WORDS["PATRQT"] == words):
        return ""
    return reason(entry.purpose, words, helper=helper)


def reason(code: str, words: str, *, helper: bool = False) -> str:
    """A purpose, given with its English words, in the reader's language."""
    if words == FOR_THE_PURPOSE.format(code=code):
        return gettext(FOR_THE_PURPOSE).format(code=code)
    return gettext(THEIR_WHY.get(words, words) if helper else words) if words else ""


def rule(entry: LogEntry, *, helper: bool = False) -> str:
    """The second sentence, the rule's own; "" when no rule decided."""
    if helper and entry.who.kind is ActorKind.YOU:
        return gettext("They see this line too.")
    if entry.rule is None:
        return ""
    key = entry.rule.rule
    template = (THEIR_RULES.get(key) if helper else None) or explain.template(key, explain.Audience.PATIENT)
    template = gettext(template)
    given, values = entry.rule.params, dict[str, str]()
    # Only what this sentence says: a page says a hundred of them.
    for name in _PLACE.findall(template):
        value = str(given.get(name, ""))
        if name == "w":
            value = gettext(explain.purpose_words(entry.purpose))
        elif name == "c":
            value = _choice_words(str(given.get("choice_on", "")), helper=helper)
        elif name == "reason":
            value = value.rstrip(".")
        elif not value and name in _UNKNOWN:
            value = gettext(_UNKNOWN[name])
        if value:
            values[name] = isolate(value)
    return explain.fill(template, values)


_PLACE = re.compile(r"\{(\w+)\}")
_UNKNOWN: Mapping[str, str] = {
    "p": gettext_noop("This person"),
    "o": gettext_noop("The organization"),
    "o2": gettext_noop("the organization that holds it"),
    "jurisdiction": gettext_noop("this place"),
}
"""What stands in for a name that is not known."""


def _choice_words(made_on: str, *, helper: bool) -> str:
    if not made_on:
        return gettext("their choice") if helper else gettext("your choice")
    made = gettext("their choice of {date}") if helper else gettext("your choice of {date}")
    return made.format(date=dates.fhir_date(made_on))


def would(rule: str, *, asker: str, custodian: str, choice_on: str, jurisdiction: str) -> str:
    """Why somebody could see a document, or could not."""
    template = WOULD.get(rule) or explain.template(rule, explain.Audience.PATIENT)
    choice = (
        gettext("your choice of {date}").format(date=dates.fhir_date(choice_on))
        if choice_on
        else gettext("your choice")
    )
    parameters = {
        "p": asker,
        "o": isolate(custodian) if rule in {"P1", "G3"} else asker,
        "o2": isolate(custodian) or gettext("the organization that holds it"),
        "c": choice,
        "jurisdiction": isolate(jurisdiction) or gettext("this place"),
    }
    return explain.fill(gettext(template), parameters)


def purpose(code: str) -> str:
    """A purpose of use in words, such as treatment."""
    return gettext(explain.purpose_words(code))


def role(code: str) -> str:
    """A role in words, such as doctor."""
    return gettext(log.ROLE_WORDS.get(code, code))


def isolate(text: str) -> str:
    """Text of unknown direction within a sentence that runs from right to left, kept apart from it."""
    return f"\u2068{text}\u2069" if text and get_language_bidi() else text


def badge(entry: LogEntry, *, helper: bool = False) -> str:
    """The word of the line's state; "" when the verb says it."""
    words = {
        Seen.REFUSED: pgettext("result", "Refused"),
        Seen.EMERGENCY: pgettext("result", "Emergency access"),
        Seen.PARTLY: pgettext("result", "Partly shown"),
    }
    if entry.seen in words:
        return words[entry.seen]
    return {
        ActorKind.SYSTEM: gettext("Automatic"),
        ActorKind.YOU: gettext("You"),
        ActorKind.HELPER: gettext("A helper") if helper else gettext("Your helper"),
        ActorKind.PATIENT: gettext("Their own look"),
    }.get(entry.who.kind, "")


def shape(entry: LogEntry) -> str:
    """The sign of the line: seen, partly, refused, emergency, system, self."""
    if entry.seen is not Seen.SEEN:
        return str(entry.seen)
    if entry.who.kind is ActorKind.SYSTEM:
        return "system"
    return "self" if entry.who.kind in {ActorKind.YOU, ActorKind.HELPER, ActorKind.PATIENT} else "seen"


def _kind(entry: LogEntry) -> SafeString:
    kind = entry.values["kind"]
    return format_html("{}", gettext(kind)) if kind == "documents" else format_html("<bdi>{}</bdi>", kind)


def name_of(name: str) -> SafeString:
    """A name, in its own direction."""
    return format_html("<b><bdi>{}</bdi></b>", name)


def fill(template: str, values: Mapping[str, object]) -> SafeString:
    """`format_html` for templates of our own and of translators: the literal text is escaped too."""
    parts: list[str] = []
    for n, part in enumerate(_PLACE.split(template)):
        parts.append(str(conditional_escape(str(values[part]) if n % 2 else part)))
    return mark_safe("".join(parts))  # noqa: S308  every part was escaped


def fill_text(template: str, values: Mapping[str, str]) -> str:
    """A template filled as text, each value in its own direction."""
    return _PLACE.sub(lambda found: isolate(values[found[1]]), template)


def _tidy(text: str) -> str:
    """No blank before a full stop or comma, where a reason was not needed."""
    return re.sub(r"\s+([.,،。])", r"\1", " ".join(text.split()))
