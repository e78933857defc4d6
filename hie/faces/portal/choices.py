"""My choices: who may see the record, what a change would do, the change itself, and the way back.

Every change is a page that shows what it would do first. Nothing here decides what a choice means: a form becomes
`Choices`, which the exchange turns into a Consent, compares and files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from consent import choices as rules
from consent import explain
from consent.choices import PURPOSES, Answer, Apart, Choices, ChoicesRefused, Rule
from consent.errors import DirectiveChanged, DirectiveOfAnother, DirectiveRefused
from hie.directory import queries as directory
from hie.exchange import access_log_lines as log
from hie.exchange import accounts
from hie.exchange import choices as exchange
from hie.exchange.choices import Action, ChoicesMoved, NothingToSave, Overview, Place, Preview, Version
from hie.exchange.errors import BadRequest, NotFound
from hie.faces.portal import dates
from hie.faces.portal.page import page, render
from hie.faces.portal.session import Reader
from hie.faces.portal.words import FOR_THE_PURPOSE, THEIR_WHY

_LONGEST = 20_000
_TITLES = 3


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A change of who could see what."""

    who: tuple[str, ...]
    why: tuple[str, ...]
    count: str
    titles: tuple[str, ...]
    more: str
    opens: bool


@page("GET")
def show(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What is chosen, as a form."""
    found = exchange.overview(reader.person_id, caller=reader.caller, raw="/my/consent/")
    return _form(request, reader, found, found.in_force)


@page("GET")
def past(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What was chosen before, newest first; each can be gone back to."""
    zone = accounts.zone_of(reader.person_id)
    found = exchange.history(reader.person_id, caller=reader.caller, raw="/my/consent/history")
    names = _names()
    context = {
        "versions": [
            {
                "number": one.version,
                "day": dates.day(one.recorded_at.astimezone(zone).date()),
                "clock": dates.clock(one.recorded_at, zone),
                "by": _by(one),
                "lines": _said(one.choices, names)
                if one.active
                else [(gettext("All choices"), gettext("Taken back."))],
                "now": n == 0,
            }
            for n, one in enumerate(found)
        ],
        "place": "choices",
    }
    return render(request, "choices_history.html", context, reader=reader)


@page("POST")
def check(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """What was sent, and what it would change: nothing is saved yet."""
    if "restore" in request.POST or "end" in request.POST:
        return _confirm(request, reader, _way_back(request))
    found = exchange.overview(reader.person_id, caller=reader.caller, raw="/my/consent/check")
    wanted = _read(request, found)
    try:
        return _confirm(request, reader, Action(choices=wanted))
    except ChoicesRefused as refused:
        return _form(request, reader, found, wanted, refused=refused)
    except NothingToSave:
        return _form(request, reader, found, wanted, unchanged=True)


@page("POST")
def save(request: HttpRequest, reader: Reader) -> HttpResponseBase:
    """Save what was shown, and nothing else."""
    action = _action(request.POST.get("action", ""))
    try:
        exchange.save(
            reader.person_id,
            action,
            basis=request.POST.get("basis", "")[:64],
            caller=reader.caller,
            raw="/my/consent/save",
        )
    except (ChoicesMoved, DirectiveChanged):
        return _confirm(request, reader, action, moved=True)
    except NothingToSave:
        return HttpResponseRedirect(f"{reverse('portal:choices')}?same=1#note")
    except (ChoicesRefused, DirectiveRefused, DirectiveOfAnother) as error:
        raise BadRequest("the choice cannot be saved", element=error.element or "choices") from error
    return HttpResponseRedirect(f"{reverse('portal:choices')}?saved=1#note")


# --- pages ------------------------------------------------------------------------------------------------------------


def _form(
    request: HttpRequest,
    reader: Reader,
    found: Overview,
    wanted: Choices,
    *,
    refused: ChoicesRefused | None = None,
    unchanged: bool = False,
) -> HttpResponse:
    zone = accounts.zone_of(reader.person_id)
    fault = _fault(refused) if refused is not None else ""
    field = (refused.element or "choices") if refused is not None else ""
    names = _names()
    mine = found.mine if found.mine is not None and found.mine.active else None
    context = {
        "cards": _cards(found, wanted, field, fault),
        "kinds": _kind_cards(found, wanted, field, fault),
        "lines": _lines(found, wanted, names, field, fault),
        "blank": len(wanted.rules),
        "offers": _offers(found),
        "fault": fault,
        "fault_at": _anchor(field),
        "unchanged": unchanged or "same" in request.GET,
        "saved": "saved" in request.GET,
        "since": dates.day(mine.recorded_at.astimezone(zone).date()) if mine is not None else "",
        "may_choose": found.may_choose,
        "minor": found.minor,
        "undo": _undo(found),
        "others": [_other(one, zone, names) for one in found.others],
        "past": found.mine is not None,
        "place": "choices",
    }
    return render(request, "choices.html", context, reader=reader)


def _confirm(request: HttpRequest, reader: Reader, action: Action, *, moved: bool = False) -> HttpResponseBase:
    try:
        shown = exchange.preview(reader.person_id, action, caller=reader.caller, raw="/my/consent/check")
    except NothingToSave:
        if action.choices is not None and not moved:
            raise
        return HttpResponseRedirect(f"{reverse('portal:choices')}?same=1#note")
    except (DirectiveRefused, DirectiveOfAnother) as error:
        raise BadRequest("the choice cannot be saved", element=error.element or "choices") from error
    names = _names()
    rows = _rows(shown, names, helper=reader.acting is not None)
    closes, opens = sum(not row.opens for row in rows), sum(row.opens for row in rows)
    context = {
        "before": _said(shown.before, names),
        "after": _said(shown.after, names),
        "rows": rows,
        "closes": closes,
        "opens": opens,
        "whole": shown.found.whole,
        "nothing": not shown.found.documents,
        "warnings": _warnings(shown),
        "hides_time": shown.after is not None and any(not r.show and (r.since or r.until) for r in shown.after.rules),
        "action": json.dumps(_packed(action)),
        "basis": shown.basis,
        "moved": moved,
        "place": "choices",
    }
    return render(request, "confirm.html", context, reader=reader, status=409 if moved else 200)


def _cards(found: Overview, wanted: Choices, field: str, fault: str) -> list[Card]:
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
                    gettext("All who give care"),
                    gettext("A new doctor can see the record at once. Each look stands in the log."),
                ),
                Answer.NAMED: (
                    gettext("Only places ticked here"),
                    gettext("A place not ticked sees nothing. In a strange town, that may slow care."),
                ),
                Answer.NONE: (gettext("No one"), gettext("Each place sees only what it wrote itself.")),
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


def _kind_cards(found: Overview, wanted: Choices, field: str, fault: str) -> list[Card]:
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
        cards.append(
            Card(
                id=f"apart-{kind}",
                question=_kind(kind),
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
    gone = [Tick(id=one, name=_name(one), chosen=True) for one in chosen if one not in known]
    return (*(Tick(id=one.id, name=one.name, chosen=one.id in chosen) for one in places), *gone)


def _lines(found: Overview, wanted: Choices, names: Mapping[str, str], field: str, fault: str) -> list[Line]:
    return [
        Line(
            n=n,
            show="show" if rule.show else "hide",
            values=rule,
            facts=_rule_facts(rule, names),
            offers=_offers(found, rule),
            fault=fault if field.startswith(f"rules[{n}]") else "",
        )
        for n, rule in enumerate(wanted.rules)
    ]


def _offers(found: Overview, held: Rule | None = None) -> dict[str, list[tuple[str, str]]]:
    """What the fields of a finer choice offer, with what the choice `held` names already, gone or not."""
    types = sorted({one.type for one in found.places})
    offers = {
        "who": [
            ("", gettext("Everyone")),
            *((f"type:{one}", _type(one)) for one in types),
            *((f"place:{one.id}", one.name) for one in found.places),
        ],
        "kind": [("", gettext("Everything")), *((kind, _kind(kind)) for kind in found.kinds)],
        "held_by": [("", gettext("Any place")), *((one.id, one.name) for one in found.places)],
        "purpose": [("", gettext("Any reason")), *((code, _purpose(code)) for code in PURPOSES.values())],
    }
    if held is None:
        return offers
    # A list without its value would send its first one: hidden from one place would become hidden from all.
    what, _, name = held.who.partition(":")
    for field, value, words in (
        ("who", held.who, _type(name) if what == "type" else _name(name)),
        ("held_by", held.held_by, _name(held.held_by)),
    ):
        if value not in dict(offers[field]):
            offers[field].append((value, words))
    return offers


def _undo(found: Overview) -> dict[str, str] | None:
    """The field that goes back behind the last change of the form."""
    if found.mine is None or not found.may_choose:
        return None
    if found.mine.version > 1:
        return {"name": "restore", "value": str(found.mine.version - 1)}
    return {"name": "end", "value": str(found.mine.consent_id)} if found.mine.active else None


def _other(one: Version, zone: ZoneInfo, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "id": str(one.consent_id),
        "day": dates.day(one.recorded_at.astimezone(zone).date()),
        "by": _by(one),
        "lines": _said(one.choices, names),
        "may_end": one.mine,
    }


def _by(one: Version) -> str:
    if one.capacity == "participant":
        return gettext("Written down by {place}").format(place=_name(one.organization))
    return {
        "patient": gettext("Chosen by the person"),
        "proxy": gettext("Chosen by a helper"),
        "staff": gettext("Ended by our privacy office"),
    }.get(one.capacity, gettext("Taken over from another system"))


# --- words ------------------------------------------------------------------------------------------------------------


def _said(choices: Choices | None, names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Choices as (what, answer), one a line; what was not chosen is left out."""
    if choices is None:
        return [(gettext("Another choice"), gettext("It was not made on this page. Ask its place what it says."))]
    lines: list[tuple[str, str]] = []
    answers: Mapping[str, tuple[str, Mapping[Answer, str]]] = {
        "treat": (
            gettext("To give care"),
            {
                Answer.ALL: gettext("All who give care"),
                Answer.NONE: gettext("No one"),
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
            else gettext("Kept apart from all.")
        )
        lines.append((_kind(one.kind), kept))
    for rule in choices.rules:
        facts = " · ".join(f"{name}: {value}" for name, value in _rule_facts(rule, names))
        lines.append((gettext("Show") if rule.show else gettext("Hide"), facts))
    return lines or [(gettext("No choices"), gettext("The general rule decides."))]


def _rule_facts(rule: Rule, names: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    what, _, name = rule.who.partition(":")
    who = _type(name) if what == "type" else names.get(name, name) if name else gettext("Everyone")
    facts = [
        (gettext("Who"), who),
        (gettext("What"), _kind(rule.kind) if rule.kind else gettext("Everything")),
        (gettext("Why"), _purpose(rule.purpose) if rule.purpose else gettext("Any reason")),
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


def _kind(kind: str) -> str:
    return {
        "mental": gettext("Mental health"),
        "substance": gettext("Alcohol and drug use"),
        "sexual": gettext("Sexual health and pregnancy"),
        "hiv": gettext("HIV"),
        "genetic": gettext("Genes"),
        "violence": gettext("Violence and abuse"),
    }[kind]


def _purpose(code: str) -> str:
    return {
        "TREAT": gettext("To give care"),
        "HPAYMT": gettext("To pay for care"),
        "HOPERAT": gettext("To check and run places"),
        "HRESCH": gettext("For research"),
    }[code]


def _type(kind: str) -> str:
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


def _fault(refused: ChoicesRefused) -> str:
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


def _warnings(shown: Preview) -> list[str]:
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


def _rows(shown: Preview, names: Mapping[str, str], *, helper: bool) -> list[Row]:
    """The changes by who and why: documents that turn alike for the same askers are one row, what closes first."""
    turned: dict[tuple[str, tuple[str, ...], bool], dict[str, str]] = {}
    for change in shown.found.changes:
        why = _reasons(change.block.purposes, helper=helper)
        people = (change.block.person,) if change.block.person else change.block.organizations
        for one in people:
            held = turned.setdefault((one, why, change.opens), {})
            held.update({seen.document_id: seen.title or seen.type_display for seen in change.documents})
    alike: dict[tuple[tuple[str, ...], bool, tuple[str, ...]], list[str]] = {}
    titles: dict[str, str] = {}
    for (one, why, opens), documents in turned.items():
        titles |= documents
        alike.setdefault((why, opens, tuple(sorted(documents))), []).append(_who(one, names))
    rows = [
        Row(
            who=tuple(sorted(set(who), key=str.casefold)),
            why=why,
            count=ngettext("{n} document", "{n} documents", len(ids)).format(n=dates.digits(len(ids))),
            titles=tuple(sorted(titles[one] for one in ids)[:_TITLES]),
            more=ngettext("and {n} more", "and {n} more", len(ids) - _TITLES).format(n=dates.digits(len(ids) - _TITLES))
            if len(ids) > _TITLES
            else "",
            opens=opens,
        )
        for (why, opens, ids), who in alike.items()
    ]
    return sorted(rows, key=lambda row: (row.opens, row.why, row.who))


def _reasons(purposes: Iterable[str], *, helper: bool) -> tuple[str, ...]:
    """Purposes in words, those that the log has words for first of all; the rest only where there is no such."""
    named = {log.PURPOSE_WORDS[code] for code in purposes if code in log.PURPOSE_WORDS}
    if named:
        return tuple(sorted(gettext(THEIR_WHY.get(words, words) if helper else words) for words in named))
    rest = {
        gettext(explain.PURPOSE_WORDS[code])
        if code in explain.PURPOSE_WORDS
        else gettext(FOR_THE_PURPOSE).format(code=code)
        for code in purposes
    }
    return tuple(sorted(rest))


def _who(one: str, names: Mapping[str, str]) -> str:
    if one.startswith("RelatedPerson/"):
        return gettext("A helper")
    if "/" in one:
        return gettext("A person named in a choice")
    return names.get(one, one)


def _names() -> dict[str, str]:
    return {one.id: one.name or one.id for one in directory.participants().values()}


def _name(participant_id: str) -> str:
    facts = directory.participant(participant_id)
    return (facts.name if facts else "") or participant_id


def _list(places: Sequence[str], names: Mapping[str, str]) -> str:
    return ", ".join(names.get(one, one) for one in places)


# --- what was sent ----------------------------------------------------------------------------------------------------


def _read(request: HttpRequest, found: Overview) -> Choices:
    """The form as choices.

    Raises:
        BadRequest: a field holds what no form of ours sends.
    """
    post = request.POST
    apart = tuple(
        Apart(kind=kind, labels=labels, places=_many(request, f"apart-{kind}-place"))
        for kind, labels in found.kinds.items()
        if post.get(f"apart-{kind}") == "apart"
    )
    if found.minor:
        return Choices(apart=tuple(replace(one, places=()) for one in apart), minor=True)
    try:
        answers = {card: Answer(post.get(card, "general")) for card in PURPOSES}
    except ValueError as error:
        raise BadRequest("the form was not understood", element="choices") from error
    kept: list[Rule] = []
    for n in range(rules.MAX_RULES + 1):
        how = post.get(f"rule-{n}-show", "")
        if how not in ("show", "hide") or f"rule-{n}-remove" in post:
            continue
        if f"rule-{n}-who" not in post:
            raise BadRequest("the form was not understood", element=f"rules[{n}].who")
        texts = {name: post.get(f"rule-{n}-{name}", "").strip()[:200] for name in Rule.__slots__ if name != "show"}
        kept.append(Rule(show=how == "show", **texts))
    return Choices(
        treat=answers["treat"],
        # Ticks under another answer are left over from before; they would say nothing.
        places=_many(request, "place") if answers["treat"] is Answer.NAMED else (),
        pay=answers["pay"],
        run=answers["run"],
        research=answers["research"],
        refuse_emergency=post.get("emergency") == "no",
        apart=apart,
        rules=tuple(kept),
    )


def _many(request: HttpRequest, name: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one[:200] for one in request.POST.getlist(name)))


def _way_back(request: HttpRequest) -> Action:
    consent_id = _uuid(request.POST.get("end", "") or request.POST.get("consent", ""))
    if "end" in request.POST:
        if consent_id is None:
            raise NotFound("no such choice")
        return Action(consent_id=consent_id, end=True)
    number = request.POST.get("restore", "")
    if not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise NotFound("no such choice")
    return Action(restore=int(number), consent_id=consent_id)


def _packed(action: Action) -> dict[str, Any]:
    return {
        "choices": rules.to_json(action.choices) if action.choices is not None else None,
        "restore": action.restore,
        "consent": str(action.consent_id) if action.consent_id else None,
        "end": action.end,
    }


def _action(text: str) -> Action:
    """The action that the page of confirmation was about.

    Raises:
        BadRequest: the field holds no such thing.
    """
    try:
        held = json.loads(text[:_LONGEST])
        choices, restore, consent, end = (held[name] for name in ("choices", "restore", "consent", "end"))
        chosen = rules.from_json(choices) if choices is not None else None
    except (ValueError, KeyError, TypeError, RecursionError, ChoicesRefused) as error:
        raise BadRequest("the form was not understood", element="action") from error
    consent_id = _uuid(consent) if isinstance(consent, str) else None
    whole = restore is None or (isinstance(restore, int) and not isinstance(restore, bool))
    if not whole or not isinstance(end, bool) or (consent is not None and consent_id is None):
        raise BadRequest("the form was not understood", element="action")
    if chosen is None and restore is None and not end:
        raise BadRequest("the form was not understood", element="action")
    return Action(choices=chosen, restore=restore, consent_id=consent_id, end=end)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _anchor(field: str) -> str:
    """The id on the page of the field that a fault is about."""
    if field.startswith("rules["):
        return f"rule-{field[6:].partition(']')[0]}"
    return {"places": "treat", "rules": "finer", "apart": "kinds", "choices": "main"}.get(field, field)
