"""What the engine keeps, shares and leaves out for speed changes nothing; and its values are what their names say."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from consent import engine
from consent.case_fixtures import Fixture, compile_fixture
from consent.case_values import document_from
from consent.cases import decide_case, prepare
from consent.engine import Tables, compile_directive, compile_policy
from consent.engine.codes import KEPT, has_coding
from consent.engine.decide import RULES
from consent.engine.directive import Node
from hie.standards.facts import ParticipantFacts, Perhaps, ReleaseRule
from tests.consent import fixture as fx

FIXTURE = Fixture(fx.FIXTURE)
MODULES = [
    sys.modules[f"consent.engine.{name}"]
    for name in ("boundaries", "codes", "decide", "derived", "directive", "matching", "policy", "time")
]


def functions() -> Iterator[Any]:
    """Every function and method of the engine."""
    for module in MODULES:
        for one in vars(module).values():
            if getattr(one, "__module__", None) != module.__name__:
                continue
            found = [one, *(vars(one).values() if isinstance(one, type) else ())]
            for each in found:
                each = getattr(each, "__func__", getattr(each, "__wrapped__", each))
                if inspect.isfunction(each):
                    yield each


def test_every_argument_can_be_given_by_its_name_and_the_instant_by_nothing_else() -> None:
    checked = 0
    for one in functions():
        for parameter in inspect.signature(one).parameters.values():
            assert parameter.kind is not parameter.POSITIONAL_ONLY, one.__qualname__
            if parameter.name in ("opens", "surely", "unknown", "against") or one.__name__ in ("decide", "gate"):
                checked += parameter.kind is parameter.KEYWORD_ONLY
    assert checked >= 8


def policy() -> engine.Policy:
    made = compile_fixture(fx.FIXTURE)[0]
    return replace(made, participants={one: made.participants[one] for one in ("hill", "lake", "coin")})


def test_what_was_worked_out_once_is_no_part_of_a_value() -> None:
    used, unused = policy(), policy()
    assert used == unused
    shown = repr(used.tables), repr(used), repr(used.between(None, "TREAT", "nobody"))
    case = fx.case(fx.consent(fx.node("deny", securityLabel=fx.labels("PSY"))), document=fx.document(labels=["PSY"]))
    told = prepare(case, FIXTURE)
    assert told.patient is not None
    prepared = engine.Prepared(told.request, told.patient, used, now=told.now)
    assert prepared.decide(document_from(case["document"])).rule == "D3"
    assert used.tables == unused.tables
    assert used == unused
    hill = unused.participants["hill"]
    assert used.between(hill, "TREAT", "lake") == unused.between(hill, "TREAT", "lake")
    assert (repr(used.tables), repr(used), repr(used.between(None, "TREAT", "nobody"))) == shown
    assert repr(used.between(hill, "TREAT", "lake")) == repr(unused.between(hill, "TREAT", "lake"))


def test_what_is_kept_is_thrown_away_when_there_is_no_more_room_and_not_before() -> None:
    tables = Tables.from_json(fx.FIXTURE)
    first = tables.weighed(frozenset({"x0"}))
    for n in range(1, KEPT):
        tables.weighed(frozenset({f"x{n}"}))
    assert len(tables._weighed) == KEPT
    assert tables.weighed(frozenset({"x0"})) is first
    assert tables.weighed(frozenset({"HIV"})) == ({"HIV"}, {"HIV"}, engine.RANK["R"])
    assert len(tables._weighed) == 1
    assert tables.weighed(frozenset({"x0"})) == first


ALWAYS, OTHERS = ["G1", "X1"], ["D4", "D5", "F3", "F2"]


@pytest.mark.parametrize(
    ("case", "tried"),
    [
        pytest.param(fx.case(), [*ALWAYS, *OTHERS, "F1"], id="by-default"),
        pytest.param(fx.case(request=fx.request(purpose="HRESCH", org="study", role="researcher"), document=fx.document(custodian="hill")), [*ALWAYS, *OTHERS], id="not-by-default"),
        pytest.param(fx.case(request=fx.request(purpose="BIORCH", org="study", role="researcher"), document=fx.document(custodian="hill")), [*ALWAYS, *OTHERS], id="no-emergency"),
        pytest.param(fx.case(document=fx.document(custodian="mer")), [*ALWAYS, "D5", "F3", "F2"], id="nothing-protected"),
        pytest.param(fx.case(document=fx.document(custodian="nowhere")), [*ALWAYS, "G3", *OTHERS], id="custodian-unknown"),
        pytest.param(fx.case(fx.consent(fx.node("permit", purpose=fx.purposes("HRESCH")))), [*ALWAYS, *OTHERS, "F1"], id="directive-not-for-this"),
        pytest.param(fx.case(fx.consent(fx.node("permit"))), [*ALWAYS, *OTHERS, "F1", "D3", "D6", "D7"], id="directed"),
        pytest.param(fx.case(None), [*ALWAYS, *OTHERS, "F1", "D3", "D6", "D7"], id="directed-by-what-cannot-be-read"),
        pytest.param(fx.case(request=fx.request(org="lake")), [*ALWAYS, *OTHERS, "F1", "C1"], id="own"),
        pytest.param(fx.case(request=fx.emergency()), [*ALWAYS, *OTHERS, "F1", "G7", "D1", "D2"], id="emergency"),
        pytest.param(fx.case(request=fx.request(org="coin", role="billing", purpose="HPAYMT")), [*ALWAYS, *OTHERS, "F1", "L1", "O1"], id="payer"),
        pytest.param(fx.case(request=fx.request(org="watch", role="public-health-officer", purpose="PUBHLTH")), [*ALWAYS, *OTHERS, "L2"], id="mandate"),
        pytest.param(fx.case(fx.consent(fx.node("permit")), request=fx.request(org="door", role="patient", purpose="PATRQT", user="Patient/ada")), [*ALWAYS, "P1", "P2", "P3"], id="self"),
        pytest.param(fx.case(fx.consent(fx.node("permit")), request=fx.request(org="door", role="proxy", purpose="FAMRQT", user="RelatedPerson/max")), [*ALWAYS, "P1", "P4", "P5", "P6", "P7", "P8", "P9"], id="proxy"),
        pytest.param(fx.case(request=fx.request(org="asleep")), [*ALWAYS, *OTHERS, "F1", "G2"], id="refused-at-the-gate"),
        pytest.param(fx.case(request=fx.request(role="billing")), [*ALWAYS, *OTHERS, "F1", "G5"], id="refused-for-its-role"),
    ],
)  # fmt: skip
def test_only_rules_that_can_fire_are_tried_and_explaining_tries_all(case: dict[str, Any], tried: list[str]) -> None:
    prepared, document = prepare(case, FIXTURE), document_from(case["document"])
    decision = prepared.decide(document)
    names = [one.rule for one in prepared._place(document.custodian).rules]
    assert sorted(names) == sorted(tried)
    trace: list[engine.RuleTrace] = []
    assert prepared.decide(document, trace=trace) == decision
    assert [one.rule for one in trace] == [one.rule for one in RULES][: len(trace)]
    assert trace[-1].rule == decision.rule


def test_a_request_that_the_gate_refuses_hears_no_directive() -> None:
    filed = [fx.consent(fx.node("deny")), None]
    assert len(prepare(fx.case(*filed), FIXTURE).opaque) == len(prepare(fx.case(*filed), FIXTURE).trees) == 1
    for refused in (
        fx.request(org="asleep"),
        fx.request(org="nowhere"),
        fx.request(role="billing"),
        fx.request(purpose="X"),
    ):
        prepared = prepare(fx.case(*filed, request=refused), FIXTURE)
        assert (prepared.opaque, prepared.trees, prepared.directed) == ((), (), False)


def test_a_directive_that_a_request_leaves_whole_is_not_copied_and_one_that_it_narrows_is() -> None:
    to_others = fx.node("deny", fx.node("permit", actor=fx.to("Organization/coin")), actor=fx.to("Organization/hill"))
    for provision, whole in ((fx.node("permit", fx.node("deny")), True), (fx.node("permit", to_others), False)):
        prepared = prepare(fx.case(fx.consent(provision)), FIXTURE)
        assert prepared.patient is not None
        assert (prepared.trees[0] is prepared.patient.directives[0].tree) is whole


@pytest.mark.parametrize("kind", ["permit", "deny"])
def test_a_provision_that_says_only_its_type_limits_nothing(kind: str) -> None:
    read = compile_directive(fx.consent(fx.node(kind, period={"end": "2030"})), directive_id="c")
    assert read.root == Node(path="provision", permit=kind == "permit")
    assert read.period is not None  # the root's own period belongs to the directive
    root = read.root
    assert root is not None
    assert (root.labels_given, root.letters_given, root.unknown_letter, root.other_actor) == (False,) * 4
    for member in (
        "period",
        "purposes",
        "actions",
        "recipients",
        "custodians",
        "authors",
        "classes",
        "codes",
        "data",
        "data_period",
    ):
        assert getattr(root, member) is None
    for member in (
        "listed_purposes",
        "loose_classes",
        "loose_codes",
        "ranks",
        "loose_ranks",
        "loose_labels",
        "listed_labels",
        "listed_letters",
        "named_exact",
        "named_broad",
        "or_else",
        "children",
    ):
        assert not getattr(root, member)


def test_a_consent_whose_provision_cannot_be_read_has_no_provisions() -> None:
    read = compile_directive(fx.consent([]), directive_id="c")
    assert (read.depth, read.size, read.root) == (0, 0, None)


def test_a_consent_whose_scope_cannot_be_read_counts_for_every_purpose() -> None:
    read = compile_directive(fx.consent(fx.node("permit"), scope={"text": "privacy"}), directive_id="c")
    assert (read.privacy, read.research, read.root) == (True, True, None)


@pytest.mark.parametrize("side", ["start", "end"])
def test_a_grant_whose_window_has_no_offset_is_no_grant(side: str) -> None:
    prepared = prepare(fx.case(request=fx.emergency()), FIXTURE)
    grant = prepared.request.break_glass
    assert grant is not None
    naive = replace(grant, **{side: getattr(grant, side).replace(tzinfo=None)})
    refusal = engine.gate(replace(prepared.request, break_glass=naive), prepared.policy, now=prepared.now)
    assert refusal is not None
    assert refusal.rule == "G7"
    assert prepared.refusal is None


def test_a_release_rule_without_a_letter_that_is_one_reaches_every_letter() -> None:
    rules = [
        ReleaseRule(id=str(n), min_confidentiality=letter) for n, letter in enumerate((None, "Q", "", "U", "L", "V"))
    ]
    made = compile_policy({"a": ParticipantFacts(id="a", release_policy=tuple(rules))}, {}, fx.FIXTURE)
    assert [one.min_rank for one in made.participants["a"].release_rules] == [0, 0, 0, 0, 1, 5]
    assert (made.epoch, made.require_obligations, made.home_jurisdiction) == (0, False, None)
    assert (policy().epoch, policy().require_obligations) == (0, False)


def in_doubt(role: str, other: str, reference: str) -> dict[str, Any]:
    codings = [fx.coding("v3-ParticipationType", one) for one in (role, other)]
    return {"role": {"coding": codings}, "reference": {"reference": reference}}


@pytest.mark.parametrize(("actors", "rule"), [(5, "D6"), (6, "D6"), (7, "D3")])
def test_as_many_readings_of_doubtful_actors_are_tried_as_can_be_and_more_are_taken_for_a_match_of_a_denial(
    actors: int, rule: str
) -> None:
    named = [in_doubt("IRCP", "CST", f"Organization/nobody-{n}") for n in range(actors)]
    assert decide_case(fx.case(fx.consent(fx.node("permit", fx.node("deny", actor=named)))), FIXTURE)["rule"] == rule
    met = [in_doubt("IRCP", "CST", f"Organization/{one}") for one in ("hill", "lake") * 4][:actors]
    found = decide_case(fx.case(fx.consent(fx.node("deny", fx.node("permit", actor=met)))), FIXTURE)["rule"]
    assert found == "D3"  # in some reading only one kind is named, and not the one who asks


PERHAPS = Perhaps(
    authors=frozenset({"Practitioner/kim"}), ids=frozenset({"1.2.3"}), related=frozenset({"1.2.4", "m-1"})
)


@pytest.mark.parametrize(
    ("meaning", "reference", "met"),
    [
        ("instance", "urn:oid:1.2.3", True),
        ("instance", "urn:oid:1.2.4", False),
        ("related", "urn:oid:1.2.3", True),
        ("related", "urn:oid:1.2.4", True),
        ("related", "DocumentReference/m-1", True),
        ("related", "urn:oid:1.2.5", False),
        ("dependents", "urn:oid:1.2.4", True),
        ("dependents", "urn:oid:1.2.5", False),
        ("authoredby", "Practitioner/kim", True),
        ("authoredby", "https://hub.example/fhir/Practitioner/kim", True),
        ("authoredby", "Practitioner/una", True),
        ("authoredby", "Practitioner/ivo", False),
        ("authoredby", "RelatedPerson/kim", False),
        ("authoredby", "urn:oid:1.2.3", False),
    ],
)
def test_what_a_document_perhaps_is_closes_it_and_never_opens_it(meaning: str, reference: str, met: bool) -> None:
    data = [{"meaning": meaning, "reference": {"reference": reference}}]
    about = document_from(fx.document(authors=["Practitioner/una"]))
    for document, surely in ((about, reference == "Practitioner/una"), (replace(about, perhaps=PERHAPS), met)):
        denies = prepare(fx.case(fx.consent(fx.node("permit", fx.node("deny", data=data)))), FIXTURE)
        assert denies.decide(document).rule == ("D3" if surely else "D6")
        permits = prepare(fx.case(fx.consent(fx.node("deny", fx.node("permit", data=data)))), FIXTURE)
        assert permits.decide(document).rule == ("D6" if reference == "Practitioner/una" else "D3")


def test_a_perhaps_author_closes_as_an_actor_and_never_opens() -> None:
    actor = [fx.actor("AUT", reference="Practitioner/kim")]
    document = replace(document_from(fx.document()), perhaps=PERHAPS)
    assert (
        prepare(fx.case(fx.consent(fx.node("permit", fx.node("deny", actor=actor)))), FIXTURE).decide(document).rule
        == "D3"
    )
    assert (
        prepare(fx.case(fx.consent(fx.node("deny", fx.node("permit", actor=actor)))), FIXTURE).decide(document).rule
        == "D3"
    )


@pytest.mark.parametrize(
    ("asked", "having", "opening", "closing"),
    [
        (["s|1"], ["s|1"], True, True),
        (["s|1"], ["s|2"], False, False),
        (["s|1"], ["1"], False, True),
        (["s|1"], ["|1"], False, True),
        (["s|1"], ["2"], False, False),
        (["|1"], ["s|1"], False, True),
        (["1"], ["1"], False, True),
        (["1"], ["2"], False, False),
        (["s|1"], ["t|1"], False, False),
        (["s|1"], [], False, False),
        (["1"], ["s|1", "1"], False, True),
        (["s|1"], ["t|1", "1"], False, True),
        (["urn:oid:2.16.840.1.113883.5.4|1"], ["http://hl7.org/fhir/v3/ActCode|1"], True, True),
    ],
)
def test_a_code_without_a_system_may_be_of_any_for_what_closes(
    asked: list[str], having: list[str], opening: bool, closing: bool
) -> None:
    exact, loose = engine.codes.split_codings(frozenset(asked))
    assert has_coding(exact, loose, frozenset(having), opens=True) is opening
    assert has_coding(exact, loose, frozenset(having), opens=False) is closing


def test_documents_that_differ_in_nothing_that_is_asked_about_are_decided_once() -> None:
    prepared = prepare(fx.case(fx.consent(fx.node("permit", fx.node("deny", securityLabel=fx.labels("PSY"))))), FIXTURE)
    plain = document_from(fx.document())
    same = replace(plain, id="other", classes=frozenset(), created=None)
    other = replace(plain, labels=frozenset({"PSY"}))
    first, second, third = prepared.decide_all([plain, same, other])
    assert first is second
    assert (first.rule, third.rule) == ("D6", "D3")
    assert prepared.decide(same) is first
    assert prepared.decide_all([]) == []


def asked_by_rule(member: str, value: str) -> dict[str, Any]:
    return {"fixtureOverride": {"organizations": {"lake": {"releasePolicy": [{"id": "X", member: [value]}]}}}}


def asked_by_data(meaning: str, reference: str) -> list[Any]:
    return [fx.node("permit", fx.node("deny", data=[{"meaning": meaning, "reference": {"reference": reference}}]))]


@pytest.mark.parametrize(
    ("provision", "more", "change", "rule"),
    [
        pytest.param([], asked_by_rule("classes", "urn:s|1"), {"classes": frozenset({"urn:s|1"})}, "O1", id="class-by-rule"),
        pytest.param([], asked_by_rule("codes", "urn:s|1"), {"codes": frozenset({"urn:s|1"})}, "O1", id="code-by-rule"),
        pytest.param([fx.node("permit", fx.node("deny", **{"class": [{"system": "urn:s", "code": "2"}]}))], asked_by_rule("classes", "urn:s|1"), {"classes": frozenset({"urn:s|1"})}, "O1", id="class-by-both"),
        pytest.param([], asked_by_rule("labels", "PSY"), {"labels": frozenset({"PSY"})}, "O1", id="label-by-rule"),
        pytest.param([fx.node("permit", fx.node("deny", **{"class": [{"system": "urn:s", "code": "1"}]}))], {}, {"classes": frozenset({"urn:s|1"})}, "D3", id="class"),
        pytest.param([fx.node("permit", fx.node("deny", code=[{"coding": [{"system": "urn:s", "code": "1"}]}]))], {}, {"codes": frozenset({"urn:s|1"})}, "D3", id="code"),
        pytest.param([fx.node("permit", fx.node("deny", actor=[fx.actor("AUT", reference="Practitioner/una")]))], {}, {"authors": ("Practitioner/una",)}, "D3", id="author"),
        pytest.param([fx.node("permit", fx.node("deny", actor=[fx.actor("AUT", reference="Practitioner/kim")]))], {}, {"perhaps": Perhaps(authors=frozenset({"Practitioner/kim"}))}, "D3", id="perhaps-author"),
        pytest.param(asked_by_data("instance", "DocumentReference/other"), {}, {"id": "other"}, "D3", id="id"),
        pytest.param(asked_by_data("instance", "DocumentReference/other"), {}, {"perhaps": Perhaps(ids=frozenset({"other"}))}, "D3", id="perhaps-id"),
        pytest.param(asked_by_data("related", "Encounter/e"), {}, {"encounter": "Encounter/e"}, "D3", id="encounter"),
        pytest.param(asked_by_data("related", "DocumentReference/x"), {}, {"related": ("DocumentReference/x",)}, "D3", id="related"),
        pytest.param(asked_by_data("dependents", "DocumentReference/x"), {}, {"depends_on": ("DocumentReference/x",)}, "D3", id="dependents"),
        pytest.param(asked_by_data("authoredby", "Practitioner/una"), {}, {"authors": ("Practitioner/una",)}, "D3", id="authored"),
        pytest.param([fx.node("permit", fx.node("deny", dataPeriod={"end": "2025"}))], {}, {"service_start": "2025-02"}, "D3", id="time"),
        pytest.param([fx.node("permit", fx.node("deny", dataPeriod={"end": "2025"}))], {}, {"created": "2025-02-01T10:00:00Z"}, "D3", id="created"),
        pytest.param([], {}, {"confidentiality": "V"}, "D5", id="letter"),
        pytest.param([], {}, {"confidentiality": None, "labelled": False}, "F2", id="labelled"),
        pytest.param([], {}, {"patient": "bea"}, "G1", id="patient"),
        pytest.param([], {}, {"custodian": "mer"}, "F3", id="custodian"),
    ],
)  # fmt: skip
def test_documents_that_differ_in_what_is_asked_about_are_told_apart_in_any_order_and_alone(
    provision: list[Any], more: dict[str, Any], change: dict[str, Any], rule: str
) -> None:
    case = fx.case(*(fx.consent(one) for one in provision), **more)
    plain = document_from(fx.document())
    other = replace(plain, **change)
    for documents in ([plain, other, plain], [other, plain, other]):
        expected = [rule if one is other else "D6" if provision else "F1" for one in documents]
        for prepared, each in ((prepare(case, FIXTURE), False), (prepare(case, FIXTURE), True)):
            found = [prepared.decide(one) for one in documents] if each else prepared.decide_all(documents)
            assert [one.rule for one in found] == expected


def test_a_list_of_several_custodians_asks_what_the_rules_of_each_ask() -> None:
    override = {"organizations": {
        "lake": {"releasePolicy": [{"id": "X", "classes": ["urn:s|1"]}]}, "mer": {"releasePolicy": [{"id": "Y", "codes": ["urn:s|2"]}]}}}  # fmt: skip
    prepared = prepare(fx.case(fixtureOverride=override), FIXTURE)
    plain = document_from(fx.document())
    several = [
        replace(plain, custodian=custodian, classes=frozenset(classes), codes=frozenset(codes))
        for custodian in ("lake", "mer")
        for classes in ((), ("urn:s|1",))
        for codes in ((), ("urn:s|2",))
    ]
    assert [one.rule for one in prepared.decide_all(several)] == ["F1", "F1", "O1", "O1", "F3", "O1", "F3", "O1"]


def test_a_changed_copy_of_a_policy_works_out_everything_anew() -> None:
    before = policy()
    hill = before.participants["hill"]
    assert before.between(hill, "TREAT", "lake").custodian is before.participants["lake"]
    after = replace(before, participants={"hill": hill})
    assert after.between(hill, "TREAT", "lake").custodian is None
    assert before.between(hill, "TREAT", "lake").custodian is before.participants["lake"]


def test_changed_code_tables_weigh_everything_anew() -> None:
    before = Tables.from_json(fx.FIXTURE)
    assert before.weighed(frozenset({"HIV"}))[2] == engine.RANK["R"]
    after = replace(before, floors={"HIV": engine.RANK["V"]})
    assert after.weighed(frozenset({"HIV"}))[2] == engine.RANK["V"]
    assert before.weighed(frozenset({"HIV"}))[2] == engine.RANK["R"]


def test_a_store_that_vouches_for_whose_a_consent_is_needs_no_patient_in_it() -> None:
    filed = fx.consent(fx.node("permit"), patient="somebody")
    assert compile_directive(filed, directive_id="c").counts
    assert not compile_directive(filed, directive_id="c", patient_ids=frozenset({"ada"})).counts
    assert not compile_directive(filed | {"status": "draft"}, directive_id="c").counts


def test_a_document_may_carry_every_label_there_is() -> None:
    document = document_from(fx.document(labels=sorted(fx.FIXTURE["labelParent"])))
    assert prepare(fx.case(fx.consent(fx.node("deny"))), FIXTURE).decide(document).rule in ("L1", "O1", "D3")
    assert prepare(fx.case(), FIXTURE).decide(replace(document, labels=document.labels | {"WHAT"})).rule == "G1"


def test_a_jurisdiction_that_cannot_be_read_is_unknown_and_the_others_are_not() -> None:
    laws = {"A": 3, "B": {"timezone": "UTC"}, "C": {}, "D": {"timezone": "UTC"}}
    assert set(compile_policy({}, laws, fx.FIXTURE).jurisdictions) == {"B", "D"}  # type: ignore[arg-type]


def test_a_list_with_a_derived_document_decides_each_and_its_sources() -> None:
    prepared = prepare(fx.case(fx.consent(fx.node("permit", fx.node("deny", securityLabel=fx.labels("PSY"))))), FIXTURE)
    plain = document_from(fx.document())
    hidden = replace(plain, labels=frozenset({"PSY"}))
    made = [replace(plain, derived_from=(plain,)), replace(plain, derived_from=(plain, hidden)), plain, hidden]
    assert [one.rule for one in prepared.decide_all(made)] == ["D6", "X1", "D6", "D3"]
