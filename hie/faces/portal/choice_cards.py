"""The cards and finer choices of the page of choices, as its templates show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext

from consent.choices import PURPOSES, Answer, Choices, Rule
from hie.exchange.choices import Overview, Place
from hie.faces.portal.choice_words import kind_of, name_of, purpose_of, rule_facts, type_of

_OF_ONE_FAMILY = frozenset({"mental", "substance"})
"""Kinds that a label may leave open between them: a document of behavioural health may be of either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One answer of a card, with what it leads to."""

    value: str
    name: str
    effect: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place that can be ticked."""

    id: str
    name: str
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A question with its answers; `places` where some of them can be named. `fault`: what is wrong with it."""

    id: str
    question: str
    options: tuple[Option, ...]
    places: tuple[Tick, ...] = ()
    changed: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A finer choice in a form: its fields by name, what each of them offers, and what is wrong with it."""

    n: int
    show: str
    values: Rule
    facts: tuple[tuple[str, str], ...]
    offers: Mapping[str, Sequence[tuple[str, str]]]
    fault: str = ""


def cards(found: Overview, wanted: Choices, field: str, fault: str) -> list[Card]:
    """The cards of purposes and of emergencies; a minor has none."""
    if found.minor:
        return []
    now = found.in_force
    general = (gettext("No choice: the general rule"), gettext("The law where a paper is kept says who sees it."))
    words: Mapping[str, tuple[str, Mapping[Answer, tuple[str, str]]]] = {
        "treat": (
            gettext("To give care"),
            {
                Answer.GENERAL: general,
                Answer.ALL: (
                    gettext("Places that give care"),
                    gettext("A new doctor can see the record at once. Each look stands in the log."),
                ),
                Answer.NAMED: (
                    gettext("Only places ticked here"),
                    gettext(
                        "A place not ticked sees only what it wrote itself. In a strange town, that may slow care."
                    ),
                ),
                Answer.NONE: (gettext("No other place"), gettext("Each place sees only what it wrote itself.")),
            },
        ),
        "pay": (
            gettext("To pay for care"),
            {
                Answer.GENERAL: general,
                Answer.ALL: (
                    gettext("What a payment needs"),
                    gettext("A health plan sees what it asks for to pay. It is told to use no more than it needs."),
                ),
                Answer.NONE: (
                    gettext("Nothing"),
                    gettext("A health plan may ask a doctor for a letter. A payment may take longer."),
                ),
            },
        ),
        "run": (
            gettext("To check and run places"),
            {
                Answer.GENERAL: general,
                Answer.ALL: (gettext("Yes"), gettext("Other places may use the record to check how good care is.")),
                Answer.NONE: (gettext("No"), gettext("Other places do not get the record for such work.")),
            },
        ),
        "research": (
            gettext("For research"),
            {
                Answer.GENERAL: general,
                Answer.ALL: (gettext("Yes"), gettext("Research teams in the exchange may see the record.")),
                Answer.NONE: (gettext("No"), gettext("No research team sees the record.")),
            },
        ),
    }
    cards = [
        Card(
            id=card,
            question=question,
            options=tuple(
                Option(value=answer, name=name, effect=effect, chosen=wanted.answer(card) is answer)
                for answer, (name, effect) in answers.items()
            ),
            places=_ticks(found.places, wanted.places) if card == "treat" else (),
            changed=_changed(
                (wanted.answer(card), wanted.places if card == "treat" else ()),
                (now.answer(card), now.places if card == "treat" else ()),
            ),
            fault=fault if field == card or (card == "treat" and field == "places") else "",
        )
        for card, (question, answers) in words.items()
    ]
    cards.append(
        Card(
            id="emergency",
            question=gettext("In an emergency"),
            options=(
                Option(
                    value="yes",
                    name=gettext("Let them in, and say so"),
                    effect=gettext("A doctor must write down why. It stands in the log, and someone checks it."),
                    chosen=not wanted.refuse_emergency,
                ),
                Option(
                    value="no",
                    name=gettext("Not even then"),
                    effect=gettext("Doctors cannot see medicines or allergies. Some laws do not allow this choice."),
                    chosen=wanted.refuse_emergency,
                ),
            ),
            changed=_changed(wanted.refuse_emergency, now.refuse_emergency),
        )
    )
    return cards


def kind_cards(found: Overview, wanted: Choices, field: str, fault: str) -> list[Card]:
    """A card for each kind of information that can be kept apart."""
    held = {one.kind: one for one in wanted.apart}
    now = {one.kind: one for one in found.in_force.apart}
    cards = []
    for kind in found.kinds:
        apart = held.get(kind)
        effect = (
            gettext("Each place sees only what it wrote itself. Others do not see that it exists.")
            if found.minor
            else gettext("Only places ticked below see it, to give care. Others do not see that it exists.")
        )
        if kind in _OF_ONE_FAMILY:
            effect = f"{effect} {gettext('Papers that may be about it but do not say which are hidden too.')}"
        cards.append(
            Card(
                id=f"apart-{kind}",
                question=kind_of(kind),
                options=(
                    Option(
                        value="same",
                        name=gettext("Treat it like the rest"),
                        effect=gettext("The other choices count for it too."),
                        chosen=apart is None,
                    ),
                    Option(value="apart", name=gettext("Keep it apart"), effect=effect, chosen=apart is not None),
                ),
                places=() if found.minor else _ticks(found.places, apart.places if apart else ()),
                changed=_changed(apart, now.get(kind)),
                fault=fault if field == f"apart-{kind}" else "",
            )
        )
    return cards


def _changed(wanted: object, now: object) -> str:
    return gettext("Changed, not saved yet") if wanted != now else ""


def _ticks(places: Sequence[Place], chosen: Sequence[str]) -> tuple[Tick, ...]:
    known = {one.id for one in places}
    gone = [Tick(id=one, name=name_of(one), chosen=True) for one in chosen if one not in known]
    return (*(Tick(id=one.id, name=one.name, chosen=one.id in chosen) for one in places), *gone)


def lines(found: Overview, wanted: Choices, names: Mapping[str, str], field: str, fault: str) -> list[Line]:
    """The finer choices of a form."""
    return [
        Line(
            n=n,
            show="show" if rule.show else "hide",
            values=rule,
            facts=rule_facts(rule, names),
            offers=offers(found, rule),
            fault=fault if field.startswith(f"rules[{n}]") else "",
        )
        for n, rule in enumerate(wanted.rules)
    ]


def offers(found: Overview, held: Rule | None = None) -> dict[str, list[tuple[str, str]]]:
    """What the fields of a finer choice offer, with what the choice `held` names already, gone or not."""
    types = sorted({one.type for one in found.places})
    offers = {
        "who": [
            ("", gettext("All places")),
            *((f"type:{one}", type_of(one)) for one in types),
            *((f"place:{one.id}", one.name) for one in found.places),
        ],
        "kind": [("", gettext("Everything")), *((kind, kind_of(kind)) for kind in found.kinds)],
        "held_by": [("", gettext("Any place")), *((one.id, one.name) for one in found.places)],
        "purpose": [("", gettext("Any reason")), *((code, purpose_of(code)) for code in PURPOSES.values())],
    }
    if held is None:
        return offers
    # A list without its value would send its first one: hidden from one place would become hidden from all.
    what, _, name = held.who.partition(":")
    for field, value, words in (
        ("who", held.who, type_of(name) if what == "type" else name_of(name)),
        ("held_by", held.held_by, name_of(held.held_by)),
    ):
        if value not in dict(offers[field]):
            offers[field].append((value, words))
    return offers
