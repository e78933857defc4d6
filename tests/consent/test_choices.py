"""Choices of the page and the Consent they become: what the page says is what the engine decides, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import cases, filing
from consent import choices as rules
from consent.case_fixtures import Fixture
from consent.choices import KINDS, PURPOSES, Answer, Apart, Choices, ChoicesRefused, Rule
from consent.engine import Tables
from tests.consent.fixture import CODES, FIXTURE, agreement, case, document, emergency, request

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
TODAY = date(2026, 6, 15)
PLACES = ("hill", "mer", "coin")
TYPES = {"hill": "primary-care", "mer": "hospital", "coin": "payer"}
LABELS = ("BH", "MH", "PSY", "COGN", "ETHUD", "SEX", "STD", "HIV", "SICKLE", "SDV", "DEMO", "TBOO")
ASKED = ("TREAT", "COC", "ETREAT", "HPAYMT", "CLMATTCH", "HOPERAT", "TRAIN", "HRESCH", "CLINTRCH", "PUBHLTH")
DAYS = ("2025-01-01", "2025-06-30", "2026-01-01")
EXAMPLES = int(os.environ.get("HIE_EXAMPLES", "150"))


def world() -> dict[str, Any]:
    """The fixture without laws and release rules of its own: what is left to decide are choices and the default."""
    made = copy.deepcopy(FIXTURE)
    made["labelMayMean"] = CODES["labelMayMean"]
    for law in made["jurisdictions"].values():
        law |= {"prohibitions": [], "mandates": [], "consentRequired": []}
    for one in made["organizations"].values():
        one.pop("releasePolicy", None)
    for name in PLACES:
        one = made["organizations"][name]
        one["agreement"] = agreement("TREAT", "HPAYMT", "HOPERAT", "HRESCH", "PUBHLTH", "BTG")
    made["roles"] = {**made["roles"], "system": [*made["roles"]["system"], "BTG"]}
    return made


WORLD = world()
PLAIN = Fixture(WORLD)
LAWFUL = Fixture({**WORLD, "jurisdictions": FIXTURE["jurisdictions"]})
subsets = st.lists(st.sampled_from(PLACES), unique=True, max_size=2).map(tuple)
a_rule = st.builds(
    Rule,
    show=st.booleans(),
    who=st.sampled_from(("", "place:hill", "place:mer", "type:payer", "type:hospital")),
    kind=st.sampled_from(("", *KINDS)),
    held_by=st.sampled_from(("", "", "lake", "mer")),
    purpose=st.sampled_from(("", *PURPOSES.values())),
    since=st.sampled_from(("", "", *DAYS)),
    until=st.sampled_from(("", "", *DAYS)),
    ends=st.sampled_from(("", "", "2026-06-14", "2026-06-15", "2027-01-01")),
)


@st.composite
def choosing(draw: Any) -> Choices:
    treat = draw(st.sampled_from(list(Answer)))
    places = (
        draw(st.lists(st.sampled_from(PLACES), unique=True, min_size=1, max_size=3).map(tuple))
        if treat is Answer.NAMED
        else ()
    )
    reached = PLACES if treat in (Answer.GENERAL, Answer.ALL) else places
    three = st.sampled_from((Answer.GENERAL, Answer.ALL, Answer.NONE))
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True, max_size=3))
    made = Choices(
        treat=treat,
        places=places,
        pay=draw(three),
        run=draw(three),
        research=draw(three),
        refuse_emergency=draw(st.booleans()),
        apart=tuple(
            Apart(kind=kind, labels=KINDS[kind], places=tuple(one for one in draw(subsets) if one in reached))
            for kind in kinds
        ),
        rules=tuple(draw(st.lists(a_rule, unique=True, max_size=3))),
    )
    return made


def checked(choices: Choices) -> bool:
    try:
        rules.check(choices, places=(*PLACES, "lake"), types=("payer", "hospital"), only_labels=None)
    except ChoicesRefused:
        return False
    return True


def family(table: str, code: str) -> set[str]:
    """A code and everything above it."""
    found = {code}
    while (parent := CODES[table].get(code)) is not None:
        code = parent
        found.add(code)
    return found


def said(choices: Choices, asked: dict[str, Any], held: dict[str, Any]) -> str:
    """What the page says of a request, read from the choices alone: no, yes, or nothing (the general rule decides)."""
    why = family("purposeParent", asked["purpose"])
    carried = {above for label in held["labels"] for above in family("labelParent", label)}
    may_carry = carried | {meant for label in held["labels"] for meant in CODES["labelMayMean"].get(label, ())}
    labelled = held.get("labelled", True)

    def carries(kind: str, *, perhaps: bool) -> bool:
        return (perhaps and not labelled) or bool((may_carry if perhaps else carried) & set(KINDS[kind]))

    def meant(rule: Rule) -> bool:
        hides = not rule.show
        if rule.ends and date.fromisoformat(rule.ends) < TODAY:
            return False
        what, _, name = rule.who.partition(":")
        if rule.who and (asked["org"] if what == "place" else TYPES[asked["org"]]) != name:
            return False
        if rule.held_by and rule.held_by != held["custodian"]:
            return False
        if rule.purpose and rule.purpose not in why:
            return False
        if rule.kind and not carries(rule.kind, perhaps=hides):
            return False
        if rule.since or rule.until:
            first, last = held["serviceStart"], held["serviceStop"]
            since, until = rule.since or "0001-01-01", rule.until or "9999-12-31"
            return (first <= until and since <= last) if hides else (since <= first and last <= until)
        return True

    shown = [rule for rule in choices.rules if rule.show and meant(rule)]
    yes = bool(shown)
    if any(not rule.show and meant(rule) for rule in choices.rules):
        return "no"
    for card, purpose in PURPOSES.items():
        answer = choices.answer(card)
        if purpose not in why or answer is Answer.GENERAL:
            continue
        named = answer is Answer.NAMED and asked["org"] in choices.places
        if answer is not Answer.ALL and not named and not any(rule.purpose == purpose for rule in shown):
            return "no"
        yes = True
    for one in choices.apart:
        if not carries(one.kind, perhaps=True):
            continue
        named = asked["org"] in one.places and "TREAT" in why and carries(one.kind, perhaps=False)
        if not named and not any(rule.kind == one.kind for rule in shown):
            return "no"
        yes = True
    return "yes" if yes else "nothing"


def decided(resource: dict[str, Any], asked: dict[str, Any], held: dict[str, Any]) -> str:
    one = case(resource, request=asked, document=held, id="one")
    return str(cases.decide_case(one, PLAIN)["rule"])


TOLD = {"D3": "no", "D1": "no", "D6": "yes", "F1": "nothing", "F2": "nothing", "F3": "nothing"}


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    choices=choosing().filter(checked),
    org=st.sampled_from(PLACES),
    purpose=st.sampled_from(ASKED),
    labels=st.lists(st.sampled_from(LABELS), unique=True, max_size=2),
    labelled=st.booleans(),
    span=st.tuples(st.sampled_from(DAYS), st.sampled_from(DAYS)).map(sorted),
)
def test_what_the_page_says_is_what_is_decided(
    choices: Choices, org: str, purpose: str, labels: list[str], labelled: bool, span: list[str]
) -> None:
    held = document(labels=labels, labelled=labelled, serviceStart=span[0], serviceStop=span[1])
    asked = request(org=org, purpose=purpose, role="system", relationship="encounter")
    resource = rules.consent_of(choices, person_id="ada", by="Patient/ada", at=datetime(2026, 1, 1, tzinfo=UTC))
    assert TOLD[decided(resource, asked, held)] == said(choices, asked, held)


@pytest.mark.parametrize("kind", ["mental", "substance"])
def test_what_is_only_said_to_be_behavioural_health_is_kept_apart_with_either_kind(kind: str) -> None:
    """It may be of either, so who keeps one apart does not show it; nor does it open with the kind that is shown."""
    held = document(labels=["BH"], serviceStart="2025-01-01", serviceStop="2025-01-01")
    at = datetime(2026, 1, 1, tzinfo=UTC)
    asked = request(org="hill", role="system", relationship="encounter")
    apart = Choices(apart=(Apart(kind=kind, labels=KINDS[kind], places=("hill",)),))
    other = Choices(apart=(Apart(kind="hiv", labels=KINDS["hiv"]),))
    shown = Choices(treat=Answer.NONE, rules=(Rule(show=True, kind=kind, purpose="TREAT"),))
    for choices, rule in ((apart, "D3"), (other, "F1"), (shown, "D3")):
        assert decided(rules.consent_of(choices, person_id="ada", by="Patient/ada", at=at), asked, held) == rule


@settings(max_examples=EXAMPLES, deadline=None)
@given(choices=choosing().filter(checked), labels=st.lists(st.sampled_from(LABELS), unique=True, max_size=2))
def test_an_emergency_is_refused_only_by_who_refused_it(choices: Choices, labels: list[str]) -> None:
    resource = rules.consent_of(choices, person_id="ada", by="Patient/ada", at=datetime(2026, 1, 1, tzinfo=UTC))
    rule = decided(resource, emergency(), document(labels=labels))
    assert rule == ("D1" if choices.refuse_emergency else "D2")


@settings(max_examples=EXAMPLES, deadline=None)
@given(choices=choosing().filter(checked), data=st.data())
def test_hiding_a_kind_is_no_written_agreement_to_another(choices: Choices, data: Any) -> None:
    """A record of a substance-use program opens only to whom a choice names that kind for, whatever is hidden."""
    org = data.draw(st.sampled_from(PLACES))
    held = document(labels=["42CFRPart2"], serviceStart="2025-01-01", serviceStop="2025-01-01")
    asked = request(org=org, role="system", relationship="encounter")
    resource = rules.consent_of(choices, person_id="ada", by="Patient/ada", at=datetime(2026, 1, 1, tzinfo=UTC))
    one = case(resource, request=asked, document=held, id="one")
    found = cases.decide_case(one, LAWFUL)
    named = any(one.kind == "substance" and org in one.places for one in choices.apart)
    shown = any(rule.show and rule.kind == "substance" for rule in choices.rules)
    assert found["decision"] == "deny" or named or shown


@settings(max_examples=EXAMPLES, deadline=None)
@given(choices=choosing().filter(checked))
def test_choices_survive_their_consent_and_can_be_filed(choices: Choices) -> None:
    resource = rules.consent_of(choices, person_id="ada", by="Patient/ada", at=NOW)
    assert rules.choices_of(json.loads(json.dumps(resource)), now=NOW) == choices
    told = filing.check(resource, tables=Tables.from_json(CODES), patient_ids=frozenset({"ada"}), now=NOW)
    assert told.problems == ()


def test_a_consent_changed_elsewhere_is_no_form() -> None:
    whole = rules.consent_of(Choices(pay=Answer.NONE), person_id="ada", by="Patient/ada", at=NOW)
    assert rules.choices_of(whole, now=NOW) == Choices(pay=Answer.NONE)
    changed = copy.deepcopy(whole)
    changed["provision"]["provision"][0]["type"] = "permit"
    other = copy.deepcopy(whole)
    other["extension"][0]["valueString"] = json.dumps(rules.to_json(Choices(pay=Answer.ALL)))
    limited = {**whole, "provision": {**whole["provision"], "period": {"end": "2026-12-31"}}}
    more = {**whole, "verification": [{"verified": False}]}
    later = {**whole, "dateTime": "2099-01-01T00:00:00Z"}
    vague = {**whole, "dateTime": "2026"}
    research = {**whole, "scope": {"coding": [{**whole["scope"]["coding"][0], "code": "research"}]}}
    for one in (
        changed,
        other,
        limited,
        more,
        later,
        vague,
        research,
        {**whole, "extension": []},
        {"resourceType": "Consent"},
    ):
        assert rules.choices_of(one, now=NOW) is None


def claiming(changes: dict[str, Any]) -> dict[str, Any]:
    """A Consent that claims to be made from choices of its own, and says what these compile to where they compile."""
    data = {**rules.to_json(Choices()), **changes}
    text = json.dumps(data, separators=(",", ":"), sort_keys=True)
    whole = rules.consent_of(Choices(pay=Answer.NONE), person_id="ada", by="Patient/ada", at=NOW)
    with contextlib.suppress(ChoicesRefused, KeyError):
        whole["provision"] = rules.provision_of(rules.from_json(data))
    return {**whole, "extension": [{"url": rules.EXTENSION, "valueString": text}]}


A_RULE = {name: getattr(Rule(show=False), name) for name in Rule.__slots__} | {"kind": "hiv"}


def test_a_consent_that_claims_choices_that_a_page_could_save_is_a_form() -> None:
    assert rules.choices_of(claiming({"rules": [A_RULE]}), now=NOW) == Choices(rules=(Rule(show=False, kind="hiv"),))
    assert rules.choices_of(claiming({"treat": "named", "places": ["hill"]}), now=NOW) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"apart": [{"kind": "hiv", "labels": ["TBOO"], "places": []}]},
        {"apart": [{"kind": "hiv", "labels": ["TBOO"], "places": []}], "minor": True},
        {"apart": [{"kind": "zz", "labels": ["HIV"], "places": []}]},
        {"apart": [{"kind": "hiv", "labels": ["HIV"], "places": ["hill"]}], "treat": "none"},
        {"rules": [A_RULE | {"kind": "zz"}]},
        {"rules": [A_RULE | {"purpose": "PUBHLTH"}]},
        {"rules": [A_RULE | {"who": "someone"}]},
        {"rules": [A_RULE | {"since": "20260101"}]},
        {"pay": "named"},
        {"treat": "named"},
    ],
)
def test_a_consent_that_claims_what_no_page_could_have_saved_is_no_form(changes: dict[str, Any]) -> None:
    assert rules.choices_of(claiming(changes), now=NOW) is None


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 5, '{"version":' + "9" * 5000 + "}", "null", '"\\ud800"'])
def test_an_extension_that_cannot_be_read_is_no_form(text: str) -> None:
    whole = claiming({})
    assert rules.choices_of({**whole, "extension": [{"url": rules.EXTENSION, "valueString": text}]}, now=NOW) is None


MINOR = frozenset({"MH", "SUD", "SEX", "STD", "HIV"})


@settings(max_examples=60, deadline=None)
@given(kinds=st.lists(st.sampled_from(sorted(rules.kinds_for(MINOR))), unique=True, min_size=1))
def test_a_minors_choices_stay_within_confidential_care(kinds: list[str]) -> None:
    allowed = rules.kinds_for(MINOR)
    choices = Choices(apart=tuple(Apart(kind=kind, labels=allowed[kind]) for kind in kinds), minor=True)
    rules.check(choices, places=PLACES, types=(), only_labels=MINOR)
    resource = rules.consent_of(choices, person_id="teo", by="Patient/teo", at=NOW)
    tables = Tables.from_json(CODES)
    told = filing.check(resource, tables=tables, patient_ids=frozenset({"teo"}), only_labels=MINOR, now=NOW)
    assert told.problems == ()
    assert rules.choices_of(resource, now=NOW) == choices


@pytest.mark.parametrize(
    ("choices", "element", "key"),
    [
        (Choices(treat=Answer.NAMED), "places", "no-place"),
        (Choices(treat=Answer.NAMED, places=("nowhere",)), "places", "unknown-place"),
        (Choices(treat=Answer.ALL, places=("hill",)), "places", "unreadable"),
        (Choices(pay=Answer.NAMED), "pay", "unreadable"),
        (
            Choices(treat=Answer.NONE, apart=(Apart(kind="hiv", labels=("HIV",), places=("hill",)),)),
            "apart-hiv",
            "place-sees-nothing",
        ),
        (Choices(apart=(Apart(kind="hiv", labels=("MH",)),)), "apart", "unreadable"),
        (Choices(rules=(Rule(show=True, who="place:hill"),)), "rules[0].purpose", "no-purpose"),
        (Choices(rules=(Rule(show=False),)), "rules[0].who", "everything"),
        (Choices(rules=(Rule(show=False, who="place:nowhere"),)), "rules[0].who", "unknown-place"),
        (Choices(rules=(Rule(show=False, kind="hiv", since="2026"),)), "rules[0].since", "no-day"),
        (Choices(rules=(Rule(show=False, kind="hiv", ends="20260601"),)), "rules[0].ends", "no-day"),
        (Choices(rules=(Rule(show=False, since="2026-02-01", until="2026-01-01"),)), "rules[0].until", "backwards"),
        (Choices(rules=(Rule(show=False, kind="hiv"), Rule(show=False, kind="hiv"))), "rules", "twice"),
        (Choices(minor=True), "choices", "unreadable"),
    ],
)
def test_choices_that_contradict_themselves_are_refused_by_field(choices: Choices, element: str, key: str) -> None:
    with pytest.raises(ChoicesRefused) as refused:
        rules.check(choices, places=PLACES, types=("payer",), only_labels=None)
    assert (refused.value.element, refused.value.key) == (element, key)
    assert rules.from_json(rules.to_json(choices)) == choices


@pytest.mark.parametrize("broken", [None, [], {}, {"version": 1}, "x", 1])
def test_what_is_no_form_is_refused(broken: Any) -> None:
    with pytest.raises(ChoicesRefused):
        rules.from_json(broken)
    whole = rules.to_json(Choices())
    for name in whole:
        for value in (None, 7, {"a": 1}):
            with pytest.raises(ChoicesRefused):
                rules.from_json({**whole, name: value})
