"""A patient's choices as the portal offers them, and the FHIR Consent that each set of them is. Pure.

`consent_of` writes a Consent; `choices_of` reads choices back, and only where the Consent says exactly what these
choices compile to: a Consent that was changed elsewhere is nobody's form, so no page can say other than the provisions.

How it compiles: the root is a denial whose content no document has, so that it says nothing by itself and no node below
it inherits a label or a purpose (either would count as named for rules D4 and D5). Each choice is a node below it; among
nodes a denial wins. So what is kept apart or hidden stays so whatever else is shown, and a show-exception stands
inside every denial that it is to be an exception of.

A minor's own choices are about confidential care: then the root lists their labels, and nothing is permitted.

Source: spec/consent.md 5, 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, Final

from consent.engine.codes import ACT_CODE, ACT_REASON, ORG_TYPE_SYSTEM, PARTICIPATION, SCOPE
from hie.standards.errors import HubError

EXTENSION: Final = "urn:hie:fhir:my-choices"
"""The extension of a Consent that says which choices it was made from, as JSON text."""

_NONE_OF_ITS_OWN: Final = {"system": "urn:hie:my-choices", "code": "nothing-by-itself"}
_VERSION: Final = 1
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
MAX_RULES: Final = 20
MAX_PLACES: Final = 60


class Answer(StrEnum):
    """What a patient says about a purpose; `GENERAL` leaves it to the law where the document is held."""

    GENERAL = "general"
    ALL = "all"
    NAMED = "named"
    NONE = "none"


PURPOSES: Final[Mapping[str, str]] = {"treat": "TREAT", "pay": "HPAYMT", "run": "HOPERAT", "research": "HRESCH"}
"""The purposes there are cards for."""

KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "mental": ("MH", "EMOTDIS", "COGN", "DVD"),
    "substance": ("SUD", "42CFRPart2"),
    "sexual": ("SEX", "STD"),
    "hiv": ("HIV",),
    "genetic": ("GDIS",),
    "violence": ("VIO",),
}
"""Kinds of information, each the sensitivity labels that it means; a label means what stands below it too."""


class ChoicesRefused(HubError):
    """Choices that cannot be saved; `element` names the field of the form, `key` says what is wrong with it."""

    def __init__(self, element: str, key: str) -> None:
        super().__init__(f"{element}: {key}", element=element)
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """A kind of information kept from all but some places, which see it to treat the patient."""

    kind: str
    labels: tuple[str, ...]
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A finer choice. "" is no limit.

    `who`: ``place:<participant>`` or ``type:<type of organization>``; `kind`: of `KINDS`; `held_by`: who holds the
    document; `since`, `until`: days of the care it is about; `ends`: the last day on which the rule counts. To show
    something needs a purpose.
    """

    show: bool
    who: str = ""
    kind: str = ""
    held_by: str = ""
    purpose: str = ""
    since: str = ""
    until: str = ""
    ends: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """All that a patient chose on the page. As made, without arguments: nothing chosen."""

    treat: Answer = Answer.GENERAL
    places: tuple[str, ...] = ()
    pay: Answer = Answer.GENERAL
    run: Answer = Answer.GENERAL
    research: Answer = Answer.GENERAL
    refuse_emergency: bool = False
    apart: tuple[Apart, ...] = ()
    rules: tuple[Rule, ...] = ()
    minor: bool = field(default=False)

    @property
    def empty(self) -> bool:
        """Whether nothing is chosen: then there is no Consent to file, the general rule decides."""
        return self == Choices(minor=self.minor)

    @property
    def named_places(self) -> frozenset[str]:
        """Every participant that these choices name."""
        whose = [rule.who.removeprefix("place:") for rule in self.rules if rule.who.startswith("place:")]
        holders = [rule.held_by for rule in self.rules]
        return frozenset((*self.places, *(place for one in self.apart for place in one.places), *whose, *holders)) - {
            ""
        }

    @property
    def named_types(self) -> frozenset[str]:
        """Every type of organization that these choices name."""
        return frozenset(rule.who.removeprefix("type:") for rule in self.rules if rule.who.startswith("type:")) - {""}

    def answer(self, card: str) -> Answer:
        """The answer of one of the cards of `PURPOSES`."""
        return Answer(getattr(self, card))


# --- to and from JSON -------------------------------------------------------------------------------------------------


def to_json(choices: Choices) -> dict[str, Any]:
    """The choices as JSON values; `from_json` reads them."""
    return {
        "version": _VERSION,
        **{card: choices.answer(card).value for card in PURPOSES},
        "places": list(choices.places),
        "refuse_emergency": choices.refuse_emergency,
        "apart": [{"kind": one.kind, "labels": list(one.labels), "places": list(one.places)} for one in choices.apart],
        "rules": [{name: getattr(rule, name) for name in Rule.__slots__} for rule in choices.rules],
        "minor": choices.minor,
    }


def from_json(data: object) -> Choices:
    """Choices from `to_json`'s form.

    Raises:
        ChoicesRefused: something in it is no such thing.
    """
    members = {"version", *PURPOSES, "places", "refuse_emergency", "apart", "rules", "minor"}
    held = _object(data, members, "choices")
    if held["version"] != _VERSION:
        raise ChoicesRefused("choices", "unreadable")
    return Choices(
        **{card: _answer(held[card], card) for card in PURPOSES},
        places=_texts(held["places"], "places"),
        refuse_emergency=_flag(held["refuse_emergency"], "emergency"),
        apart=tuple(_apart(one) for one in _list(held["apart"], "apart")),
        rules=tuple(_rule(one, n) for n, one in enumerate(_list(held["rules"], "rules"))),
        minor=_flag(held["minor"], "minor"),
    )


def _apart(data: object) -> Apart:
    held = _object(data, {"kind", "labels", "places"}, "apart")
    return Apart(
        kind=_text(held["kind"], "apart"),
        labels=_texts(held["labels"], "apart"),
        places=_texts(held["places"], "apart"),
    )


def _rule(data: object, n: int) -> Rule:
    place = f"rules[{n}]"
    held = _object(data, set(Rule.__slots__), place)
    texts = {name: _text(held[name], place) for name in Rule.__slots__ if name != "show"}
    return Rule(show=_flag(held["show"], place), **texts)


def _object(data: object, members: set[str], element: str) -> Mapping[str, Any]:
    if not isinstance(data, dict) or data.keys() != members:
        raise ChoicesRefused(element, "unreadable")
    return data


def _list(data: object, element: str) -> list[object]:
    if not isinstance(data, list):
        raise ChoicesRefused(element, "unreadable")
    return data


def _texts(data: object, element: str) -> tuple[str, ...]:
    return tuple(_text(one, element) for one in _list(data, element))


def _text(data: object, element: str) -> str:
    if not isinstance(data, str):
        raise ChoicesRefused(element, "unreadable")
    return data


def _flag(data: object, element: str) -> bool:
    if not isinstance(data, bool):
        raise ChoicesRefused(element, "unreadable")
    return data


def _answer(data: object, element: str) -> Answer:
    try:
        return Answer(_text(data, element))
    except ValueError as error:
        raise ChoicesRefused(element, "unreadable") from error


# --- what can be chosen -----------------------------------------------------------------------------------------------


def kinds_for(only_labels: frozenset[str] | None) -> dict[str, tuple[str, ...]]:
    """The kinds there are to choose from, with their labels: of a minor those of confidential care alone."""
    if only_labels is None:
        return dict(KINDS)
    found = {kind: tuple(label for label in labels if label in only_labels) for kind, labels in KINDS.items()}
    return {kind: labels for kind, labels in found.items() if labels}


def check(choices: Choices, *, places: Iterable[str], types: Iterable[str], only_labels: frozenset[str] | None) -> None:
    """Refuse choices that contradict themselves or name what is not there.

    `places` are the organizations and `types` their types that may be named; `only_labels` the labels that a minor's own
    choices are limited to (None: of age).

    Raises:
        ChoicesRefused: the first thing that is wrong.
    """
    known, kinds = set(places), kinds_for(only_labels)
    if choices.minor != (only_labels is not None):
        raise ChoicesRefused("choices", "unreadable")
    for card in ("pay", "run", "research"):
        if choices.answer(card) is Answer.NAMED:
            raise ChoicesRefused(card, "unreadable")
    _check_places(choices.places, known, "places")
    if (choices.treat is Answer.NAMED) != bool(choices.places):
        raise ChoicesRefused("places", "no-place" if choices.treat is Answer.NAMED else "unreadable")
    if len({one.kind for one in choices.apart}) != len(choices.apart):
        raise ChoicesRefused("apart", "unreadable")
    for one in choices.apart:
        element = f"apart-{one.kind}"
        if one.kind not in kinds or one.labels != kinds[one.kind]:
            raise ChoicesRefused("apart", "unreadable")
        _check_places(one.places, known, element)
        # A place that sees nothing to treat her does not see this either: the page must not say that it does.
        reached = choices.treat in (Answer.GENERAL, Answer.ALL) or set(one.places) <= set(choices.places)
        if not reached:
            raise ChoicesRefused(element, "place-sees-nothing")
    if choices.minor and (
        choices != Choices(apart=choices.apart, minor=True) or any(one.places for one in choices.apart)
    ):
        raise ChoicesRefused("choices", "unreadable")
    if len(choices.rules) > MAX_RULES:
        raise ChoicesRefused("rules", "too-many")
    if len(set(choices.rules)) != len(choices.rules):
        raise ChoicesRefused("rules", "twice")
    for n, rule in enumerate(choices.rules):
        _check_rule(rule, f"rules[{n}]", known, frozenset(types), kinds)


def _check_places(given: Sequence[str], known: set[str], element: str) -> None:
    if len(set(given)) != len(given) or not set(given) <= known:
        raise ChoicesRefused(element, "unknown-place")
    if len(given) > MAX_PLACES:
        raise ChoicesRefused(element, "too-many")


def _check_rule(
    rule: Rule, element: str, places: set[str], types: frozenset[str], kinds: Mapping[str, tuple[str, ...]]
) -> None:
    what, _, name = rule.who.partition(":")
    if rule.who and not ((what == "place" and name in places) or (what == "type" and name in types)):
        raise ChoicesRefused(f"{element}.who", "unknown-place")
    if rule.held_by and rule.held_by not in places:
        raise ChoicesRefused(f"{element}.held_by", "unknown-place")
    if rule.kind and rule.kind not in kinds:
        raise ChoicesRefused(f"{element}.kind", "unreadable")
    if rule.purpose and rule.purpose not in PURPOSES.values():
        raise ChoicesRefused(f"{element}.purpose", "unreadable")
    if rule.show and not rule.purpose:
        raise ChoicesRefused(f"{element}.purpose", "no-purpose")
    for name in ("since", "until", "ends"):
        _check_day(getattr(rule, name), f"{element}.{name}")
    if rule.since and rule.until and rule.until < rule.since:
        raise ChoicesRefused(f"{element}.until", "backwards")
    if not rule.show and rule == Rule(show=False, ends=rule.ends):
        # To hide all from all is three choices and an emergency refused; said in one line it would surprise.
        raise ChoicesRefused(f"{element}.who", "everything")


def _check_day(text: str, element: str) -> None:
    if not text:
        return
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ChoicesRefused(element, "no-day") from error
    if day.isoformat() != text or not 1900 <= day.year <= 2200:
        raise ChoicesRefused(element, "no-day")


# --- to and from a Consent --------------------------------------------------------------------------------------------


def consent_of(choices: Choices, *, person_id: str, by: str, at: datetime) -> dict[str, Any]:
    """The FHIR Consent that these choices are; `by` is the reference of who chose, `at` when.

    Choices that are `empty` are no Consent: ending the one in force is up to the caller.
    """
    return {
        "resourceType": "Consent",
        "extension": [{"url": EXTENSION, "valueString": _canonical(to_json(choices))}],
        "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{person_id}"},
        "dateTime": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "performer": [{"reference": by}],
        "policyRule": {"coding": [{"system": ACT_CODE, "code": "OPTOUT"}]},
        "provision": provision_of(choices),
    }


def choices_of(resource: Mapping[str, Any], *, now: datetime) -> Choices | None:
    """The choices that a Consent says exactly; None where it says anything else, whatever it claims to be made from.

    What no page could have saved is something else too, such as a kind with labels that are not its own. One that counts from a time still to come says something else too.
    """
    try:
        claimed = from_json(_claimed(resource))
        only = frozenset(label for one in claimed.apart for label in one.labels) if claimed.minor else None
        check(claimed, places=claimed.named_places, types=claimed.named_types, only_labels=only)
        expected = consent_of(claimed, person_id="", by="", at=now)
    except (ChoicesRefused, ValueError, KeyError, TypeError, RecursionError):
        return None
    fixed = ("scope", "policyRule", "provision", "extension")
    noted = {"id", "meta", "text", "status", "patient", "dateTime", "performer", "category", "resourceType"}
    if any(resource.get(name) != expected[name] for name in fixed) or not resource.keys() <= {*fixed, *noted}:
        return None
    if not isinstance(resource.get("dateTime"), str) or not _INSTANT.fullmatch(resource["dateTime"]):
        return None
    return claimed if resource["dateTime"] <= expected["dateTime"] else None


def _claimed(resource: Mapping[str, Any]) -> object:
    extensions = resource.get("extension")
    if not isinstance(extensions, list) or len(extensions) != 1 or not isinstance(extensions[0], dict):
        raise ChoicesRefused("choices", "unreadable")
    text = extensions[0].get("valueString")
    if extensions[0].get("url") != EXTENSION or not isinstance(text, str):
        raise ChoicesRefused("choices", "unreadable")
    return json.loads(text)


def provision_of(choices: Choices) -> dict[str, Any]:
    """The root provision of these choices."""
    nodes: list[dict[str, Any]] = []
    shows = [rule for rule in choices.rules if rule.show]
    for card, purpose in PURPOSES.items():
        nodes += _purpose_nodes(choices.answer(card), purpose, choices.places, shows)
    if choices.refuse_emergency:
        nodes.append({"type": "deny", "purpose": [_purpose("BTG")]})
    for one in choices.apart:
        # Also beside the labels: only whoever names a kind in a rule opens it.
        inside = [_rule_node(rule) for rule in shows if rule.kind == one.kind]
        if one.places:
            named = {"actor": _places(one.places), "purpose": [_purpose("TREAT")], "securityLabel": _labels(one.labels)}
            inside.insert(0, {"type": "permit", **named})
        nodes.append(_node("deny", {"securityLabel": _labels(one.labels)}, inside))
    nodes += [_rule_node(rule) for rule in choices.rules]
    root: dict[str, Any] = {"class": [_NONE_OF_ITS_OWN]}
    if choices.minor:
        root = {"securityLabel": _labels(tuple(label for one in choices.apart for label in one.labels))}
    return _node("deny", root, nodes)


def _purpose_nodes(answer: Answer, purpose: str, places: Sequence[str], shows: Sequence[Rule]) -> list[dict[str, Any]]:
    criteria = {"purpose": [_purpose(purpose)]}
    if answer is Answer.GENERAL:
        return []
    if answer is Answer.ALL:
        return [{"type": "permit", **criteria}]
    inside = [_rule_node(rule) for rule in shows if rule.purpose == purpose]
    if answer is Answer.NAMED:
        inside.insert(0, {"type": "permit", "actor": _places(places), **criteria})
    return [_node("deny", criteria, inside)]


def _rule_node(rule: Rule) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "permit" if rule.show else "deny"}
    if rule.ends:
        node["period"] = {"end": rule.ends}
    actors: list[dict[str, Any]] = []
    what, _, name = rule.who.partition(":")
    if what == "place":
        actors += _places([name])
    elif what == "type":
        actors.append(_actor("IRCP", {"identifier": {"system": ORG_TYPE_SYSTEM, "value": name}}))
    if rule.held_by:
        actors.append(_actor("CST", {"reference": f"Organization/{rule.held_by}"}))
    if actors:
        node["actor"] = actors
    if rule.purpose:
        node["purpose"] = [_purpose(rule.purpose)]
    if rule.kind:
        node["securityLabel"] = _labels(KINDS[rule.kind])
    if rule.since or rule.until:
        node["dataPeriod"] = {name: day for name, day in (("start", rule.since), ("end", rule.until)) if day}
    return node


def _node(kind: str, criteria: Mapping[str, Any], inside: Sequence[dict[str, Any]]) -> dict[str, Any]:
    node = {"type": kind, **criteria}
    return {**node, "provision": list(inside)} if inside else node


def _places(participant_ids: Sequence[str]) -> list[dict[str, Any]]:
    return [_actor("IRCP", {"reference": f"Organization/{one}"}) for one in participant_ids]


def _actor(role: str, reference: dict[str, Any]) -> dict[str, Any]:
    return {"role": {"coding": [{"system": PARTICIPATION, "code": role}]}, "reference": reference}


def _purpose(code: str) -> dict[str, str]:
    return {"system": ACT_REASON, "code": code}


def _labels(labels: Sequence[str]) -> list[dict[str, str]]:
    return [{"system": ACT_CODE, "code": label} for label in labels]


def _canonical(data: object) -> str:
    return json.dumps(data, separators=(",", ":"), sort_keys=True, ensure_ascii=True)
