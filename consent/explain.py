"""A decision in words: one sentence a rule, for patients, participants, administrators.

Sentences are templates under stable keys with named places, so that another
language is another table and nothing else. What participants are told never says
that a hidden document exists.

Source: spec/consent.md sections 14 and 14.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from string import Formatter
from typing import Final

from hie.standards.facts import Decision


class Audience(StrEnum):
    """Who reads the sentence."""

    PATIENT = "patient"
    PARTICIPANT = "participant"
    ADMINISTRATOR = "administrator"


_PATIENT: Final[Mapping[str, str]] = {
    "G1": "The request was incomplete, so nothing was shown.",
    "G2": "{o} is not an active member of the exchange, so nothing was shown.",
    "G3": "{o} is not an active member of the exchange, so nothing was shown.",
    "G4": "{o} is not allowed to ask for {w}.",
    "G5": "{p}'s role does not allow {w}.",
    "G6": "{o} did not say that it is treating you.",
    "G7": "{p} tried emergency access without a valid emergency request.",
    "X1": "This summary contains something {p} may not see.",
    "P1": "Your care team asked to talk with you before this is shown. Ask {o}.",
    "P2": "You can see your own record from the age of {n}.",
    "P3": "You looked at this yourself.",
    "P4": "{p} has no valid permission from you.",
    "P5": "{p}'s access as a parent ended when you came of age.",
    "P6": "This is kept between you and your care team.",
    "P7": "You chose not to show this to {p}.",
    "P8": "Your permission for {p} does not reach this document.",
    "P9": "{p} saw this on your behalf.",
    "C1": "{o} looked at its own record of you.",
    "L1": "The law does not allow this.",
    "L2": "The law requires {o2} to report this.",
    "O1": "{o2} does not share this kind of document with {o}.",
    "D1": "You refused emergency access, and the law here respects that.",
    "D2": '{p} opened this in an emergency: "{reason}". It will be checked, and you can object.',
    "D3": "Refused because of {c}.",
    "D4": "This needs your written agreement that names it; there is none.",
    "D5": "This is very private and opens only if you name it.",
    "D6": "Shown because of {c}.",
    "D7": "{c} does not reach this document.",
    "F1": "Shown under the general rule of {jurisdiction}; you have made no other choice.",
    "F2": "The general rule of {jurisdiction} does not cover this.",
    "F3": "In {jurisdiction} nothing is shared until you agree; you have not.",
}

# Refusals that rest on a record are one sentence for participants, the same as when nothing is there.
_NOTHING: Final = "Nothing was found that may be shown."
_PARTICIPANT: Final[Mapping[str, str]] = {
    "G1": "The request is incomplete or names an unknown purpose, role or operation.",
    "G2": "Your organization's participation is not active.",
    "G4": "Your organization's agreement does not include {w}.",
    "G5": "Your role does not allow {w}.",
    "G6": "State the treatment relationship with the patient.",
    "G7": "There is no valid emergency grant for this request.",
    "P3": "Shown to the patient.",
    "P9": "Shown to the patient's representative.",
    "C1": "Shown as your own organization's record.",
    "L2": "Shown because the law requires it.",
    "D2": "Shown in an emergency; the patient is told and the access is reviewed.",
    "D6": "Shown under the patient's consent.",
    "F1": "Shown under the general rule of {jurisdiction}.",
}

_ADMINISTRATOR: Final[Mapping[str, str]] = {
    "G1": "Something in the request is missing or unknown, or the document is not about this patient.",
    "G2": "The requester {o} is unknown, or its registration or agreement is not active now.",
    "G3": "The custodian {o2} is unknown, or its registration or agreement is not active now.",
    "G4": "{w} is not among the purposes in the agreement of {o}.",
    "G5": "{w} is not among the purposes of the role.",
    "G6": "{o} must attest a treatment relationship and did not.",
    "G7": "No valid emergency grant for this user, organization, patient and time.",
    "X1": "A source of this derived document is denied to the requester.",
    "P1": "The document is withheld from the patient (NOPAT).",
    "P2": "The patient is below the age of own access.",
    "P3": "The patient's own access.",
    "P4": "No active proxy grant for this user and patient now.",
    "P5": "The grant of a parent ended at majority.",
    "P6": "Confidential care of a minor; the minor has not named this proxy.",
    "P7": "The patient's directive denies this proxy or purpose.",
    "P8": "The document is above the ceiling of the proxy grant.",
    "P9": "Access under a proxy grant.",
    "C1": "The custodian's own use for care, payment or operations.",
    "L1": "A legal prohibition applies.",
    "L2": "A legal mandate applies; the disclosure must be accounted for.",
    "O1": "A release rule of {o2} applies.",
    "D1": "The patient refused emergency access, and the jurisdiction honours it.",
    "D2": "Emergency access under a valid grant; review and notice follow.",
    "D3": "Denied by the patient's directive.",
    "D4": "A label needs an explicit consent, and no permitting directive covers it.",
    "D5": "Very restricted, and no permitting directive lists V.",
    "D6": "Permitted by the patient's directive.",
    "D7": "A directive of the patient permits less than this.",
    "F1": "Permitted by the opt-out default of {jurisdiction}.",
    "F2": "Not covered by the opt-out default of {jurisdiction}.",
    "F3": "The default of {jurisdiction} is opt-in, and no directive permits.",
}

_TABLES: Final[Mapping[str, Mapping[Audience, Mapping[str, str]]]] = {
    "en": {
        Audience.PATIENT: _PATIENT,
        Audience.PARTICIPANT: _PARTICIPANT,
        Audience.ADMINISTRATOR: _ADMINISTRATOR,
    },
}

# What stands in for a name that the caller does not give: a sentence must never show a bare brace.
_UNNAMED: Final[Mapping[str, str]] = {
    "p": "This person",
    "o": "The organization",
    "o2": "the organization that holds it",
    "w": "this purpose",
    "d": "this document",
    "c": "your choice",
    "n": "majority",
    "reason": "emergency",
    "jurisdiction": "this place",
}

PURPOSE_WORDS: Final[Mapping[str, str]] = {
    "TREAT": "treatment",
    "COC": "coordination of care",
    "POPHLTH": "population health",
    "ETREAT": "emergency treatment",
    "ERTREAT": "emergency room treatment",
    "BTG": "emergency access",
    "HPAYMT": "payment",
    "HOPERAT": "health care operations",
    "HRESCH": "research",
    "PUBHLTH": "public health",
    "PATRQT": "the patient's own request",
    "FAMRQT": "a family request",
    "PWATRNY": "a request under power of attorney",
    "SUPNWK": "a request of the support network",
    "HLEGAL": "legal proceedings",
    "HMARKT": "marketing",
}


def rule_key(rule: str) -> str:
    """The stable key of a rule's sentences, stored with a decision: ``consent.D3``; the audience chooses among them."""
    return f"consent.{rule}"


def key(rule: str, audience: Audience) -> str:
    """The stable key of a sentence, stored with a decision: ``consent.D3.patient``."""
    return f"consent.{rule}.{audience.value}"


def template(rule: str, audience: Audience, language: str = "en") -> str:
    """The sentence with its named places; English where a language lacks it."""
    for table in (_TABLES.get(language, {}), _TABLES["en"]):
        sentences = table.get(audience, {})
        if rule in sentences:
            return sentences[rule]
    return _NOTHING


def sentence(
    decision: Decision, audience: Audience, parameters: Mapping[str, str] | None = None, *, language: str = "en"
) -> str:
    """The decision in one sentence.

    `parameters`: p person, o asking organization, o2 custodian, w purpose in words, d document,
    c "your choice of <date>", n age, reason, jurisdiction. What is not given is said generally.
    """
    return fill(template(decision.rule, audience, language), parameters or {})


def fill(text: str, parameters: Mapping[str, str]) -> str:
    """Put names into a template; values are text and are never themselves read as templates."""
    parts: list[str] = []
    for literal, name, _, _ in Formatter().parse(text):
        parts.append(literal)
        if name is not None:
            value = parameters.get(name) or _UNNAMED.get(name, "")
            parts.append(value[:1].upper() + value[1:] if not "".join(parts) else value)
    return "".join(parts)


def purpose_words(purpose: str) -> str:
    """A purpose of use in words; the code itself where there are none yet."""
    return PURPOSE_WORDS.get(purpose, purpose)
