"""Choices in words: what was chosen, who chose it, what is wrong with a form, what is worth a warning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext

from consent.choices import Answer, Choices, ChoicesRefused, Rule
from hie.directory import queries as directory
from hie.exchange.choices import Preview, Version
from hie.faces.portal import dates


def filed_by(one: Version) -> str:
    """Who stands behind a version of a choice."""
    if one.capacity == "participant":
        return gettext("Written down by {place}").format(place=name_of(one.organization))
    return {
        "patient": gettext("Chosen by the person"),
        "proxy": gettext("Chosen by a helper"),
        "staff": gettext("Ended by our privacy office"),
    }.get(one.capacity, gettext("Taken over from another system"))


def said(choices: Choices | None, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Choices as (what, answer), one a line; what was not chosen is left out."""
    if choices is None:
        return [(gettext("Another choice"), gettext("It was not made on this page. Ask its place what it says."))]
    lines: list[tuple[str, str]] = []
    answers: Mapping[str, tuple[str, Mapping[Answer, str]]] = {
        "treat": (
            gettext("To give care"),
            {
                Answer.ALL: gettext("Places that give care"),
                Answer.NONE: gettext("No other place"),
                Answer.NAMED: gettext("Only {places}").format(places=_list(choices.places, names)),
            },
        ),
        "pay": (
            gettext("To pay for care"),
            {Answer.ALL: gettext("What a payment needs"), Answer.NONE: gettext("Nothing")},
        ),
        "run": (gettext("To check and run places"), {Answer.ALL: gettext("Yes"), Answer.NONE: gettext("No")}),
        "research": (gettext("For research"), {Answer.ALL: gettext("Yes"), Answer.NONE: gettext("No")}),
    }
    for card, (question, words) in answers.items():
        if choices.answer(card) is not Answer.GENERAL:
            lines.append((question, words[choices.answer(card)]))
    if choices.refuse_emergency:
        lines.append((gettext("In an emergency"), gettext("Not even then")))
    for one in choices.apart:
        kept = (
            gettext("Kept apart. Only {places} may see it, to give care.").format(places=_list(one.places, names))
            if one.places
            else gettext("Kept apart from all places.")
        )
        lines.append((kind_of(one.kind), kept))
    for rule in choices.rules:
        facts = " · ".join(f"{name}: {value}" for name, value in rule_facts(rule, names))
        lines.append((gettext("Show") if rule.show else gettext("Hide"), facts))
    return lines or [(gettext("No choices"), gettext("The general rule decides."))]


def rule_facts(rule: Rule, names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """A finer choice as (what, answer)."""
    what, _, name = rule.who.partition(":")
    who = type_of(name) if what == "type" else names.get(name, name) if name else gettext("All places")
    facts = [
        (gettext("Who"), who),
        (gettext("What"), kind_of(rule.kind) if rule.kind else gettext("Everything")),
        (gettext("Why"), purpose_of(rule.purpose) if rule.purpose else gettext("Any reason")),
    ]
    if rule.held_by:
        facts.append((gettext("Kept by"), names.get(rule.held_by, rule.held_by)))
    if rule.since:
        facts.append((gettext("Care from"), dates.fhir_date(rule.since)))
    if rule.until:
        facts.append((gettext("Care until"), dates.fhir_date(rule.until)))
    if rule.ends:
        facts.append((gettext("This choice ends after"), dates.fhir_date(rule.ends)))
    return tuple(facts)


def kind_of(kind: str) -> str:
    """A kind of information by name."""
    return {
        "mental": gettext("Mental health"),
        "substance": gettext("Alcohol and drug use"),
        "sexual": gettext("Sexual health and pregnancy"),
        "hiv": gettext("HIV"),
        "genetic": gettext("Genes"),
        "violence": gettext("Violence and abuse"),
    }[kind]


def purpose_of(code: str) -> str:
    """What a card of that purpose is called."""
    return {
        "TREAT": gettext("To give care"),
        "HPAYMT": gettext("To pay for care"),
        "HOPERAT": gettext("To check and run places"),
        "HRESCH": gettext("For research"),
    }[code]


def type_of(kind: str) -> str:
    """A type of organization, as all of them."""
    return {
        "hospital": gettext("All hospitals"),
        "primary-care": gettext("All family doctors"),
        "lab": gettext("All laboratories"),
        "imaging": gettext("All places for images"),
        "pharmacy": gettext("All pharmacies"),
        "payer": gettext("All health plans"),
        "public-health": gettext("All public health offices"),
        "research": gettext("All research places"),
        "sud-program": gettext("All alcohol and drug programs"),
        "telehealth": gettext("All doctors by phone or video"),
        "law-enforcement": gettext("All police"),
    }.get(kind, kind)


def fault_of(refused: ChoicesRefused) -> str:
    """What is wrong with a form."""
    return {
        "no-place": gettext("Tick the places that may see the record."),
        "unknown-place": gettext("Choose a place from the list."),
        "place-sees-nothing": gettext("A place ticked here may not see the record at all. Tick it under care too."),
        "no-purpose": gettext("Say why they may see it: choose a reason."),
        "everything": gettext("Say from whom to hide it, or what to hide."),
        "no-day": gettext("Write the day like 2026-05-31."),
        "backwards": gettext("The last day must come after the first."),
        "twice": gettext("Two of the finer choices are the same. Take one out."),
        "too-many": gettext("That is too much for one page. Take some out."),
    }.get(refused.key, gettext("We could not read that choice. Load the page again."))


_WARNINGS: Mapping[str, str] = {
    "has no effect: a denial in this same choice closes all that it permits": "beside",
    "has no effect: another choice in force denies all that it permits": "elsewhere",
    "is over already: this has no effect": "over",
    "refuses emergency access: in an emergency this is not shown either": "emergency",
    "says what the general rule says anyway, for all holders you can see": "rule",
}


def warnings(shown: Preview) -> list[str]:
    """The warnings of filing in plain words, each once."""
    found = {_warning(message) for _, message in shown.warnings}
    refused = gettext("Doctors could not see this in an emergency, even to save a life.")
    if refused in found and shown.forbidden:
        found.add(gettext("Not each place is under a law that allows this. There, doctors may still see it."))
    if refused in found and shown.forbidden and not shown.allowed:
        found.discard(refused)
    return sorted(found)


def _warning(message: str) -> str:
    words = {
        "beside": gettext("One part of this choice does nothing: another part hides all that it would show."),
        "elsewhere": gettext(
            "One part of this choice does nothing: another choice in force hides all that it would show."
        ),
        "over": gettext("A day in this choice is past. That part does nothing."),
        "emergency": gettext("Doctors could not see this in an emergency, even to save a life."),
        "rule": gettext("This choice changes nothing: the general rule says the same."),
        "time": gettext("No document is from the time in this choice."),
        "label": gettext("One part of this choice shows nothing. What it names is more private than it allows."),
        "written": gettext("By law, a choice on alcohol and drug use needs a signed paper. Ask your clinic for one."),
        "other": gettext("One part of this choice may do nothing."),
    }
    if message.startswith("excludes everything on file"):
        return words["time"]
    if message.startswith("reaches nothing"):
        return words["label"]
    if message.startswith("a written consent"):
        return words["written"]
    return words[_WARNINGS.get(message, "other")]


def names_of_places() -> dict[str, str]:
    """What every participant is called, by id."""
    return {one.id: one.name or one.id for one in directory.participants().values()}


def name_of(participant_id: str) -> str:
    """What a participant is called; its id where it is gone."""
    facts = directory.participant(participant_id)
    return (facts.name if facts else "") or participant_id


def _list(places: Sequence[str], names: Mapping[str, str]) -> str:
    return ", ".join(names.get(one, one) for one in places)
