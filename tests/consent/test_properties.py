"""What must hold for every case (spec/consent.md 19), by generated cases; and that no shape of input breaks the engine."""

from __future__ import annotations

import copy
import os
import pickle
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from consent import engine
from consent.case_fixtures import Fixture
from consent.case_values import document_from, participant_from
from consent.cases import decide_case, prepare
from consent.engine import compile_directive
from consent.engine.decide import RULES, RuleTrace
from hie.standards.facts import Decision
from tests.consent import fixture as fx
from tests.consent import slow_evaluator
from tests.consent.strategies import LABELS, ORGS, cases, consents, documents, places, provisions, requests

FIXTURE = Fixture(fx.FIXTURE)
EXAMPLES = int(os.environ.get("HIE_EXAMPLES", "25"))


PROPERTIES: list[tuple[tuple[st.SearchStrategy[Any], ...], Callable[..., None]]] = []


class Vacuous(Exception):
    """The premise of a property does not hold in an example, which then says nothing."""


def given_that(premise: object) -> None:
    if not premise:
        raise Vacuous


def generated(*strategies: Any) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """A property held against drawn values: here HIE_EXAMPLES times, and in the slow lane with all the others."""

    def of(holds: Callable[..., None]) -> Callable[[], None]:
        PROPERTIES.append((strategies, holds))

        @wraps(holds)
        def example(**drawn: Any) -> None:
            with suppress(Vacuous):
                holds(**drawn)

        def test() -> None:
            several = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
            several(given(*strategies)(example))()

        test.__name__, test.__doc__, test.__module__ = holds.__name__, holds.__doc__, holds.__module__
        return test

    return of


PERMITTING = {"P3", "P9", "C1", "L2", "D2", "D6", "F1"}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def answer(case: dict[str, Any]) -> dict[str, Any]:
    return decide_case(case, FIXTURE)


def permitted(case: dict[str, Any]) -> bool:
    return bool(answer(case)["decision"] == "permit")


def shuffled(node: dict[str, Any], seed: random.Random) -> dict[str, Any]:
    node = dict(node)
    for member, value in node.items():
        if isinstance(value, list):
            value = [shuffled(one, seed) if member == "provision" else one for one in value]
            seed.shuffle(value)
            node[member] = value
    return node


@generated(cases(), st.integers())
def test_order_of_consents_provisions_and_values_changes_nothing(case: dict[str, Any], seed: int) -> None:
    other = copy.deepcopy(case)
    rng = random.Random(seed)
    rng.shuffle(other["consents"])
    for one in other["consents"]:
        one["provision"] = shuffled(one["provision"], rng)
    assert answer(case) == answer(other)


@generated(cases(), provisions(depth=1), st.integers(0, 3))
def test_adding_a_deny_provision_never_turns_deny_into_permit(
    case: dict[str, Any], extra: dict[str, Any], where: int
) -> None:
    given_that(case["consents"] and not permitted(case))
    extra = {**extra, "type": "deny"}
    # An added deny has no permits of its own below it: those would be an addition too.
    extra.pop("provision", None)
    target = case["consents"][where % len(case["consents"])]
    target["provision"]["provision"] = [*target["provision"].get("provision", []), extra]
    assert not permitted(case)


@generated(cases(), consents())
def test_adding_a_consent_with_base_deny_and_no_exceptions_never_turns_deny_into_permit(
    case: dict[str, Any], extra: dict[str, Any]
) -> None:
    given_that(not permitted(case))
    extra["provision"] = {k: v for k, v in extra["provision"].items() if k != "provision"} | {"type": "deny"}
    case["consents"].append(extra)
    assert not permitted(case)


def without_nested_permits(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The node with one nested permit left out, for each that has no denials below it."""
    children = node.get("provision", [])
    for index, child in enumerate(children):
        rest = [*children[:index], *children[index + 1 :]]
        if child["type"] == "permit" and not denies_below(child):
            yield node | {"provision": rest}
        for less in without_nested_permits(child):
            yield node | {"provision": [*children[:index], less, *children[index + 1 :]]}


def denies_below(node: dict[str, Any]) -> bool:
    return any(child["type"] == "deny" or denies_below(child) for child in node.get("provision", []))


@generated(cases())
def test_removing_a_nested_permit_without_denials_below_never_turns_deny_into_permit(case: dict[str, Any]) -> None:
    given_that(not permitted(case))
    for index, one in enumerate(case["consents"]):
        for less in without_nested_permits(one["provision"]):
            changed = [*case["consents"][:index], one | {"provision": less}, *case["consents"][index + 1 :]]
            assert not permitted(case | {"consents": changed})


def opens_by_label(node: dict[str, Any], *, root: bool = True, above: bool = False) -> bool:
    """The named exception: a permit that lists a label, or stands below a nested node that lists one."""
    lists = "securityLabel" in node
    if (node.get("type") != "deny" and lists) or (node.get("type") == "permit" and above):
        return True
    return any(
        opens_by_label(child, root=False, above=above or (lists and not root)) for child in node.get("provision", [])
    )


@generated(cases(), st.sampled_from(LABELS))
def test_raising_confidentiality_adding_a_label_or_taking_labelled_away_never_opens(
    case: dict[str, Any], label: str
) -> None:
    given_that(not permitted(case) and not any(opens_by_label(one["provision"]) for one in case["consents"]))
    document = case["document"]
    letters = "ULMNRV"
    given_that(document.get("confidentiality") != "X")
    raised = letters[letters.index(document.get("confidentiality") or "R") :]
    for letter in raised:
        assert not permitted(case | {"document": document | {"confidentiality": letter}})
    assert not permitted(case | {"document": document | {"labels": [*document["labels"], label]}})
    assert not permitted(case | {"document": document | {"labelled": False}})


@generated(cases(wild=True), st.booleans())
def test_suspending_an_organization_involved_denies(case: dict[str, Any], the_custodian: bool) -> None:
    organization = case["document"]["custodian"] if the_custodian else case["request"]["org"]
    changed = case["fixtureOverride"].setdefault("organizations", {})
    changed[organization] = {"agreement": {"status": "suspended"}}
    assert answer(case)["rule"] in ("G1", "G2", "G3")


@generated(cases(), st.sampled_from(["suspended", "terminated", "", "Active"]))
def test_suspending_the_registration_of_a_parent_denies_its_departments(case: dict[str, Any], status: str) -> None:
    case["request"]["org"] = "lake-mind"
    case["fixtureOverride"]["organizations"] = {"lake": {"status": status or "gone"}}
    assert answer(case)["rule"] in ("G1", "G2")


@generated(documents(), requests(), cases(), cases(wild=True))
def test_without_consents_only_agreement_role_grants_law_release_policy_and_default_count(
    other: dict[str, Any], asked: dict[str, Any], case: dict[str, Any], elsewhere: dict[str, Any]
) -> None:
    case["consents"] = []
    expected = answer(case)
    # What only a directive asks about: which document it is, by whom, on what occasion and when; who is in the
    # asker's team; what is done with it. And directives of somebody else.
    told = ("id", "authors", "encounter", "related", "dependsOn", "serviceStart", "serviceStop", "created")
    document = {k: v for k, v in case["document"].items() if k not in told}
    document |= {k: v for k, v in other.items() if k in told}
    request = case["request"] | {"operation": asked["operation"], "careTeams": asked.get("careTeams", [])}
    if "PATRQT" not in slow_evaluator.Case(fx.FIXTURE, case).family() and "breakGlass" not in request:
        request["user"] = asked["user"]
    foreign = [one | {"patient": {"reference": "Patient/bea"}} for one in elsewhere["consents"]]
    assert answer(case | {"document": document, "request": request, "consents": foreign}) == expected


@generated(cases(), st.lists(st.sampled_from(ORGS), max_size=3))
def test_a_set_is_decided_one_by_one(case: dict[str, Any], custodians: list[str]) -> None:
    alone = answer(case)
    others = [case["document"] | {"id": f"o{n}", "custodian": org} for n, org in enumerate(custodians)]
    together = answer(case | {"documents": [*others, case["document"]]})
    assert together["documents"]["d"] == {k: v for k, v in alone.items() if k != "id"}
    turned = answer(case | {"documents": [case["document"], *reversed(others)]})
    assert turned["documents"] == together["documents"]


@generated(cases())
def test_only_the_permitting_rules_permit_and_the_trace_ends_with_the_rule_that_decided(case: dict[str, Any]) -> None:
    found = answer(case)
    assert found["decision"] == "deny" or found["rule"] in PERMITTING
    assert found["decision"] == "permit" or not found["obligations"]
    assert {rule.rule for rule in RULES if rule.permits} == PERMITTING
    trace: list[RuleTrace] = []
    decision = prepare(case, FIXTURE).decide(document_from(case["document"]), trace=trace)
    assert [one.fired for one in trace] == [False] * (len(trace) - 1) + [True]
    assert (trace[-1].rule, trace[-1].reason) == (decision.rule, decision.reason)
    assert [one.rule for one in trace] == [rule.rule for rule in RULES][: len(trace)]


def lists_emergency(node: dict[str, Any]) -> bool:
    codes = {c["code"] for c in node.get("purpose", [])}
    return bool(codes & {"ETREAT", "BTG"}) or any(lists_emergency(c) for c in node.get("provision", []))


@generated(cases())
def test_emergency_access_reaches_at_least_what_treatment_does(case: dict[str, Any]) -> None:
    given_that(not any(lists_emergency(one["provision"]) for one in case["consents"]))
    base = {k: v for k, v in case["request"].items() if k not in ("breakGlass", "proxyGrant")}
    # The premise: agreement and role list BTG, and the grant is in its window.
    case["fixtureOverride"].pop("hub", None)
    told = slow_evaluator.Case(fx.FIXTURE, case)
    given_that("BTG" in (told.inherited("hill", "agreement") or {}).get("purposes", ()))
    given_that("BTG" in told.fx["roles"]["physician"])
    ordinary = case | {"now": fx.NOW, "request": base | {"purpose": "TREAT", "role": "physician", "org": "hill"}}
    given_that(permitted(ordinary))
    grant = fx.emergency()["breakGlass"] | {"user": base["user"]}
    assert permitted(ordinary | {"request": ordinary["request"] | {"purpose": "BTG", "breakGlass": grant}})


def boundaries(case: dict[str, Any]) -> list[datetime]:
    """Every instant at which something in a case, its fixture included, may begin or end, in order."""
    told = slow_evaluator.Case(fx.FIXTURE, case)
    laws = [law for law in told.fx["jurisdictions"].values() if law["timezone"] in slow_evaluator.ZONES]
    zones = [ZoneInfo(law["timezone"]) for law in laws]
    found: set[datetime] = set()
    for whole in (case["consents"], case["request"], told.fx["organizations"]):
        for place in places(whole):
            value = whole
            for key in place:
                value = value[key]
            for zone in zones:
                try:
                    found.update(slow_evaluator.unit(value, zone))
                except slow_evaluator.Unintelligible:
                    continue
    grant = case["request"].get("breakGlass")
    if grant:
        start = slow_evaluator.unit(grant["start"], UTC)[0]
        found.add(start + timedelta(hours=told.fx["hub"]["breakGlassMaxHours"]))
    ages = {law[member] for law in laws for member in ("majorityAge", "confidentialAge")}
    born = str(told.patient.get("birthDate"))
    for text in {born, f"{born}-01", f"{born}-12-31", f"{born}-30"}:  # a birth date of less precision, too
        try:
            day = date.fromisoformat(text if len(text) == 10 else f"{text}-01")
        except ValueError:
            continue
        for zone in zones:
            for year in {day.year + age for age in ages}:
                leap = (day.month, day.day) == (2, 29)
                found.add(
                    datetime(year, 3, 1, tzinfo=zone) if leap else datetime(year, day.month, day.day, tzinfo=zone)
                )
    return sorted(one.astimezone(UTC) for one in found)


@generated(cases(), st.floats(0, 1, exclude_max=True), st.booleans())
def test_inside_an_interval_without_a_boundary_the_instant_does_not_matter(
    case: dict[str, Any], part: float, its_start: bool
) -> None:
    limits = [datetime(1900, 1, 1, tzinfo=UTC), *boundaries(case), datetime(2100, 1, 1, tzinfo=UTC)]
    now = slow_evaluator.unit(case["now"], UTC)[0]
    before = bisect_right(limits, now) - 1
    since, until = limits[before], limits[before + 1]
    moved = since if its_start else since + (until - since) * part
    moved = moved.replace(microsecond=moved.microsecond // 1000 * 1000)
    given_that(since <= moved < until)
    text = moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert answer(case | {"now": text}) == answer(case)


@generated(cases(), st.floats(0, 1, exclude_max=True))
def test_until_the_next_boundary_no_decision_changes(case: dict[str, Any], part: float) -> None:
    told = prepare(case, FIXTURE)
    # Of ages and grants it says that it does not look at them.
    given_that("breakGlass" not in case["request"] and "PATRQT" not in told.families)
    assert told.patient is not None
    held = [one["custodian"] for one in (case["document"], *case["document"].get("derivedFrom", []))]
    until = engine.next_boundary(told.patient, told.policy, [case["request"]["org"], *held], now=told.now)
    moved = told.now + (min(until, datetime(2100, 1, 1, tzinfo=UTC)) - told.now) * part
    # All but the whole way, rounded, would be the boundary itself.
    moved = max(told.now, min(moved, until - timedelta(milliseconds=1)))
    text = moved.replace(microsecond=moved.microsecond // 1000 * 1000).isoformat(timespec="milliseconds")
    assert answer(case | {"now": text.replace("+00:00", "Z")}) == answer(case)


def plain_policy(override: dict[str, Any]) -> engine.Policy:
    """The fixture with an override compiled as a whole."""
    whole = slow_evaluator.merge(fx.FIXTURE, override)
    facts = {k: participant_from(k, v) for k, v in whole["organizations"].items() if v is not None}
    return engine.compile_policy(facts, whole["jurisdictions"], whole)


def told_of(decisions: list[Decision]) -> list[tuple[str, str, str, list[str]]]:
    return [(one.outcome, one.rule, one.reason, list(one.obligations)) for one in decisions]


def compared(asked: list[dict[str, Any]], about: list[dict[str, Any]]) -> int:
    """Hold every way to evaluate against the slow evaluator, the parts of the cases mixed; how many answers that were."""
    about = [one | {"id": f"d{n}"} for n, one in enumerate(about)]
    documents = [document_from(one) for one in about]
    answers = 0
    for changed in asked[:2]:
        policy, unkept = plain_policy(changed["fixtureOverride"]), Fixture(fx.FIXTURE)
        for filed in asked:
            for one in asked:
                case = {k: v for k, v in one.items() if k != "document"} | {"consents": filed["consents"]}
                case |= {"documents": about, "fixtureOverride": changed["fixtureOverride"]}
                expected = slow_evaluator.evaluate(fx.FIXTURE, case)
                assert decide_case(case, FIXTURE) == expected  # the override as kept from before
                assert decide_case(case, unkept) == expected
                right = [
                    (d["decision"], d["rule"], d["reason"], d["obligations"]) for d in expected["documents"].values()
                ]
                told = prepare(case, FIXTURE)
                assert told.patient is not None
                directives = [
                    compile_directive(consent, directive_id=str(n), patient_ids=told.patient.subject.ids)
                    for n, consent in enumerate(case["consents"])
                ]
                patient = engine.compile_patient(told.patient.subject, directives)
                prepared = engine.Prepared(told.request, patient, policy, now=told.now)
                assert told_of([prepared.decide(each) for each in documents]) == right
                assert told_of([prepared.decide(each) for each in documents]) == right  # as kept by class
                fresh = engine.Prepared(told.request, patient, policy, now=told.now)
                assert told_of(fresh.decide_all(documents)) == right
                plain = [engine.decide(told.request, each, patient, policy, now=told.now) for each in documents]
                assert told_of(plain) == right
                answers += len(documents)
    return answers


# A thousand answers an example: a thousand examples are the million of a release.
MIXED = (st.lists(cases(wild=True), min_size=5, max_size=5), st.lists(documents(), min_size=20, max_size=20))


@pytest.mark.parametrize("portion", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 11))])
def test_compiled_cached_and_plain_evaluation_agree(portion: int) -> None:
    answers = 0

    @seed(portion)
    @settings(max_examples=100 if portion else 2, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(*MIXED)
    def agree(several: list[dict[str, Any]], about: list[dict[str, Any]]) -> None:
        nonlocal answers
        answers += compared(several, about)

    agree()
    assert answers >= (100_000 if portion else 2_000)


@generated(JSON)
def test_any_json_in_place_of_a_consent_is_read_and_never_permits(junk: Any) -> None:
    assert compile_directive(junk, directive_id="x", patient_ids=frozenset({"ada"})) is not None
    assert answer(fx.case(junk))["rule"] == "D3"


CONSENT = fx.consent(
    fx.node(
        "permit",
        fx.node(
            "permit", actor=fx.to("Practitioner/ivo"), securityLabel=fx.labels("R", "PSY"), dataPeriod={"start": "2026"}
        ),
        purpose=fx.purposes("TREAT"),
        code=[{"coding": [{"system": "urn:s", "code": "1"}]}],
        action=[{"coding": [fx.coding("consentaction", "access")]}],
        data=[{"meaning": "instance", "reference": {"reference": "DocumentReference/d"}}],
        period={"end": "2030"},
    ),
    policyRule=fx.rule("OPTIN"),
)


@generated(st.sampled_from([p for p in places(CONSENT) if p]), JSON)
def test_junk_anywhere_in_a_consent_never_raises_and_never_opens_what_was_closed(
    place: tuple[Any, ...], junk: Any
) -> None:
    broken = copy.deepcopy(CONSENT)
    holder: Any = broken
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = junk
    compile_directive(broken, directive_id="x", patient_ids=frozenset({"ada"}))
    # V is closed, and nothing that is not a label list with V opens it.
    very = fx.case(broken, document=fx.document(confidentiality="V"))
    assert not permitted(very)
    # A jurisdiction without a default: only a directive that permits opens, and this one permits only what it matched.
    silent = fx.case(
        broken, document=fx.document(custodian="mer", patient="ada"), request=fx.request(purpose="HOPERAT")
    )
    assert answer(silent)["rule"] in ("F3", "D3", "D6", "D7")


@generated(
    st.dictionaries(
        st.sampled_from(["id", "now", "patient", "consents", "request", "document", "fixtureOverride"]), JSON
    )
)
def test_any_json_in_place_of_parts_of_a_case_is_answered(parts: dict[str, Any]) -> None:
    assert answer(fx.case(**parts))["decision"] in ("permit", "deny")


@generated(
    st.sampled_from(["organizations", "jurisdictions", "patients", "roles", "labelParent", "labelFloor", "hub"]), JSON
)
def test_any_json_in_place_of_a_part_of_the_fixture_is_answered(member: str, junk: Any) -> None:
    assert decide_case(fx.case(), Fixture(fx.FIXTURE | {member: junk}))["decision"] in ("permit", "deny")


@pytest.mark.slow
@pytest.mark.parametrize("portion", range(20))
def test_every_property_holds_in_a_thousand_examples(portion: int) -> None:
    """All of them in one run: what an example costs is drawing it, and one case says something about each."""
    drawn = list(dict.fromkeys(one for strategies, _ in PROPERTIES for one in strategies))
    met: Counter[str] = Counter()

    @seed(portion)
    @settings(
        max_examples=1_000,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*drawn))
    def hold(values: tuple[Any, ...]) -> None:
        kept = {strategy: pickle.dumps(value) for strategy, value in zip(drawn, values, strict=True)}
        for strategies, holds in PROPERTIES:
            with suppress(Vacuous):
                holds(*(pickle.loads(kept[strategy]) for strategy in strategies))
                met[holds.__name__] += 1

    hold()
    for _, holds in PROPERTIES:
        print(f"{holds.__name__}: the premise held in {met[holds.__name__]} of 1,000 examples")
        assert met[holds.__name__] > 20
