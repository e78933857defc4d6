"""What must hold for every case (spec/consent.md 19), by generated cases; and that no shape of input breaks the engine."""

from __future__ import annotations

import copy
import os
import random
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.cases import Fixture, decide_case, prepare
from consent.engine import compile_directive
from consent.engine.decide import RULES, RuleTrace
from tests.consent import fixture as fx
from tests.consent.strategies import LABELS, ORGS, cases, consents, provisions

FIXTURE = Fixture(fx.FIXTURE)
# HIE_EXAMPLES=2000 for a long run; the differential test has its own in the slow lane.
QUICK = settings(
    max_examples=int(os.environ.get("HIE_EXAMPLES", "25")), deadline=None, suppress_health_check=list(HealthCheck)
)
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


@QUICK
@given(cases(), st.integers())
def test_order_of_consents_provisions_and_values_changes_nothing(case: dict[str, Any], seed: int) -> None:
    other = copy.deepcopy(case)
    rng = random.Random(seed)
    rng.shuffle(other["consents"])
    for one in other["consents"]:
        one["provision"] = shuffled(one["provision"], rng)
    assert answer(case) == answer(other)


@QUICK
@given(cases(), provisions(depth=1), st.integers(0, 3))
def test_adding_a_deny_provision_never_turns_deny_into_permit(
    case: dict[str, Any], extra: dict[str, Any], where: int
) -> None:
    if not (case["consents"] and not permitted(case)):
        return
    extra = {**extra, "type": "deny"}
    # An added deny has no permits of its own below it: those would be an addition too.
    extra.pop("provision", None)
    target = case["consents"][where % len(case["consents"])]
    target["provision"]["provision"] = [*target["provision"].get("provision", []), extra]
    assert not permitted(case)


@QUICK
@given(cases(), consents())
def test_adding_a_consent_with_base_deny_and_no_exceptions_never_turns_deny_into_permit(
    case: dict[str, Any], extra: dict[str, Any]
) -> None:
    if permitted(case):
        return
    extra["provision"] = {k: v for k, v in extra["provision"].items() if k != "provision"} | {"type": "deny"}
    case["consents"].append(extra)
    assert not permitted(case)


def label_free(node: dict[str, Any]) -> bool:
    return "securityLabel" not in node and all(label_free(child) for child in node.get("provision", []))


@QUICK
@given(cases(), st.sampled_from(LABELS))
def test_raising_confidentiality_adding_a_label_or_taking_labelled_away_never_opens(
    case: dict[str, Any], label: str
) -> None:
    if not (not permitted(case) and all(label_free(one["provision"]) for one in case["consents"])):
        return
    document = case["document"]
    letters = "ULMNRV"
    raised = letters[letters.index(document.get("confidentiality") or "R") :]
    for letter in raised:
        assert not permitted(case | {"document": document | {"confidentiality": letter}})
    assert not permitted(case | {"document": document | {"labels": [*document["labels"], label]}})
    assert not permitted(case | {"document": document | {"labelled": False}})


@QUICK
@given(cases(), st.booleans())
def test_suspending_an_organization_involved_denies(case: dict[str, Any], the_custodian: bool) -> None:
    organization = case["document"]["custodian"] if the_custodian else case["request"]["org"]
    override = case["fixtureOverride"]
    suspended = {organization: {"agreement": {"status": "suspended"}}}
    case["fixtureOverride"] = override | {"organizations": override.get("organizations", {}) | suspended}
    assert answer(case)["rule"] in ("G1", "G2", "G3")


@QUICK
@given(cases(), st.sampled_from(["suspended", "terminated", "", "Active"]))
def test_suspending_the_registration_of_a_parent_denies_its_departments(case: dict[str, Any], status: str) -> None:
    case["request"]["org"] = "lake-mind"
    case["fixtureOverride"]["organizations"] = {"lake": {"status": status or "gone"}}
    assert answer(case)["rule"] in ("G1", "G2")


@QUICK
@given(cases(), st.lists(st.sampled_from(ORGS), max_size=3))
def test_a_set_is_decided_one_by_one(case: dict[str, Any], custodians: list[str]) -> None:
    alone = answer(case)
    others = [case["document"] | {"id": f"o{n}", "custodian": org} for n, org in enumerate(custodians)]
    together = answer(case | {"documents": [*others, case["document"]]})
    assert together["documents"]["d"] == {k: v for k, v in alone.items() if k != "id"}


@QUICK
@given(cases())
def test_only_the_permitting_rules_permit_and_the_trace_ends_with_the_rule_that_decided(case: dict[str, Any]) -> None:
    found = answer(case)
    assert found["decision"] == "deny" or found["rule"] in PERMITTING
    assert found["decision"] == "permit" or not found["obligations"]
    assert {rule.rule for rule in RULES if rule.permits} == PERMITTING
    from consent.cases import document_from

    trace: list[RuleTrace] = []
    decision = prepare(case, FIXTURE).decide(document_from(case["document"]), trace=trace)
    assert [one.fired for one in trace] == [False] * (len(trace) - 1) + [True]
    assert (trace[-1].rule, trace[-1].reason) == (decision.rule, decision.reason)
    assert [one.rule for one in trace] == [rule.rule for rule in RULES][: len(trace)]


def lists_emergency(node: dict[str, Any]) -> bool:
    codes = {c["code"] for c in node.get("purpose", [])}
    return bool(codes & {"ETREAT", "BTG"}) or any(lists_emergency(c) for c in node.get("provision", []))


@QUICK
@given(cases())
def test_emergency_access_reaches_at_least_what_treatment_does(case: dict[str, Any]) -> None:
    if any(lists_emergency(one["provision"]) for one in case["consents"]):
        return
    base = {k: v for k, v in case["request"].items() if k not in ("breakGlass", "proxyGrant")}
    ordinary = case | {"now": fx.NOW, "request": base | {"purpose": "TREAT", "role": "physician", "org": "hill"}}
    if not (permitted(ordinary)):
        return
    grant = fx.emergency()["breakGlass"] | {"user": base["user"]}
    assert permitted(ordinary | {"request": ordinary["request"] | {"purpose": "BTG", "breakGlass": grant}})


@QUICK
@given(cases(), st.integers(1, 59))
def test_between_boundaries_the_instant_does_not_matter(case: dict[str, Any], seconds: int) -> None:
    # Every boundary the strategies draw lies on a whole minute or a millisecond before one.
    start = datetime(2026, 6, 15, 12, 20, tzinfo=UTC)
    moved = (start + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    assert answer(case | {"now": "2026-06-15T12:20:00Z"}) == answer(case | {"now": moved})


@QUICK
@given(JSON)
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


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in inner for place in places(child, (*path, key)))]


@QUICK
@given(st.sampled_from([p for p in places(CONSENT) if p]), JSON)
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


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(["id", "now", "patient", "consents", "request", "document", "fixtureOverride"]), JSON
    )
)
def test_any_json_in_place_of_parts_of_a_case_is_answered(parts: dict[str, Any]) -> None:
    assert answer(fx.case(**parts))["decision"] in ("permit", "deny")


@QUICK
@given(
    st.sampled_from(["organizations", "jurisdictions", "patients", "roles", "labelParent", "labelFloor", "hub"]), JSON
)
def test_any_json_in_place_of_a_part_of_the_fixture_is_answered(member: str, junk: Any) -> None:
    assert decide_case(fx.case(), Fixture(fx.FIXTURE | {member: junk}))["decision"] in ("permit", "deny")
