"""Edges of the engine that a case file cannot show: policy, gate, tables, times, unreadable consents."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consent import engine
from consent.case_fixtures import Fixture, compile_fixture
from consent.case_values import document_from, participant_from, request_from
from consent.cases import decide_case
from consent.engine import time
from hie.standards.facts import DocumentFacts, ParticipantFacts, SubjectFacts
from tests.consent import fixture as fx
from tests.consent.fixture import actor, case, consent, document, emergency, labels, node, purposes, request, to

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
FIXTURE = Fixture(fx.FIXTURE)
POLICY, _ = compile_fixture(fx.FIXTURE)
NOBODY = engine.compile_patient(SubjectFacts(id="ada", birth_date="1970-04-01", jurisdiction="JA"), [])
SYSTEMLESS = [{"code": "TREAT"}]


def rule_of(*consents: Any, **more: Any) -> str:
    return str(decide_case(case(*consents, **more), FIXTURE)["rule"])


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(consent(node("permit"), status=None), id="status-null"),
        pytest.param(consent(node("permit"), status="Active"), id="status-unknown"),
        pytest.param(consent(node("permit"), scope=None), id="scope-null"),
        pytest.param(consent(node("permit"), scope={"text": "privacy"}), id="scope-text-only"),
        pytest.param(consent(node("permit"), patient="ada") | {"patient": {"display": "Ada"}}, id="patient-display-only"),
        pytest.param(consent(node("permit")) | {"patient": {"reference": "https://x/Patient/ada"}}, id="patient-elsewhere"),
        pytest.param(consent(node("permit"), modifierExtension=[{"url": "x"}]), id="modifier-on-consent"),
        pytest.param(consent(node("permit", modifierExtension=[{"url": "x"}])), id="modifier-on-provision"),
        pytest.param(consent(node("permit", actor=[to("Organization/hill")[0] | {"modifierExtension": [{}]}])), id="modifier-on-actor"),
        pytest.param(consent(node("permit"), implicitRules="urn:x"), id="implicit-rules"),
        pytest.param(consent([]), id="provision-list"),
        pytest.param(consent(node("permit", provision={"type": "permit"})), id="nested-not-a-list"),
        pytest.param(consent(node("permit", {"purpose": purposes("TREAT")})), id="nested-without-type"),
        pytest.param(consent(node("permit", node("forbid"))), id="nested-of-unknown-type"),
        pytest.param(consent(node("permit", purpose=[])), id="empty-criterion"),
        pytest.param(consent(node("permit", purpose=purposes("TREAT")[0])), id="criterion-not-a-list"),
        pytest.param(consent(node("permit", purpose=["TREAT"])), id="code-not-a-coding"),
        pytest.param(consent(node("permit", purpose=[{"system": "x"}])), id="coding-without-code"),
        pytest.param(consent(node("permit", period="2026")), id="period-not-an-object"),
        pytest.param(consent(node("permit", period={"start": None})), id="period-null"),
        pytest.param(consent(node("permit", data=[1])), id="data-not-an-object"),
        pytest.param(consent(node("permit"), dateTime=20260101), id="date-number"),
        pytest.param(consent(node("permit"), verification=[{"verificationDate": "x"}]), id="verification-date"),
        pytest.param(consent(node("permit"), policyRule=[]), id="policy-rule-list"),
        pytest.param(consent(node("permit"), policyRule={"coding": [{"code": "OPTOUT"}]}), id="opt-out-without-system"),
        pytest.param(consent(node("permit"), resourceType="Patient"), id="not-a-consent"),
        pytest.param(None, id="null"),
        pytest.param("permit", id="text"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_denies_everything_while_in_force(broken: Any) -> None:
    assert rule_of(consent(node("permit"))) == "D6"
    assert rule_of(broken) == "D3"
    assert rule_of(broken, request=request(org="lake")) == "C1"  # it names nobody


def test_a_consent_nested_beyond_reading_denies_instead_of_crashing() -> None:
    deep = node("permit")
    for _ in range(400):
        deep = node("permit", deep)
    assert rule_of(consent(deep)) == "D3"


@pytest.mark.parametrize(
    ("criterion", "permit", "deny"),
    [
        pytest.param({"purpose": SYSTEMLESS}, "F1", "D3", id="purpose-without-system"),
        pytest.param({"securityLabel": [{"code": "HIV"}]}, "D7", "D3", id="label-without-system"),
        pytest.param({"class": [{"code": "34133-9"}]}, "D7", "D3", id="class-without-system"),
        pytest.param({"actor": [{"role": {"coding": [fx.coding("v3-ParticipationType", "IRCP")]}}]}, "F1", "D3", id="actor-without-reference"),
        pytest.param({"actor": [actor("IRCP", display="The clinic")]}, "F1", "D3", id="actor-by-name"),
        pytest.param({"actor": [actor("IRCP", reference="#c1")]}, "F1", "D3", id="contained-actor"),
        pytest.param({"actor": [actor("IRCP", reference="https://hub.example/fhir/Organization/hill")]}, "F1", "D3", id="absolute-reference"),
        pytest.param({"actor": [actor("IRCP", identifier={"value": "physician"})]}, "F1", "D3", id="identifier-without-system"),
        pytest.param({"actor": [{"reference": {"reference": "Organization/hill"}}]}, "F1", "D3", id="actor-without-role"),
        pytest.param({"data": [{"reference": {"reference": "DocumentReference/d"}}]}, "D7", "D3", id="data-without-meaning"),
    ],
)  # fmt: skip
def test_what_is_uncertain_never_widens_a_permit_and_always_widens_a_deny(
    criterion: dict[str, Any], permit: str, deny: str
) -> None:
    about = document(labels=["HIV"])
    assert rule_of(consent(node("permit", **criterion)), document=about) == permit
    assert rule_of(consent(node("permit", node("deny", **criterion))), document=about) == deny


@pytest.mark.parametrize("member", ["organization", "user", "role", "purpose", "operation"])
@pytest.mark.parametrize("value", [None, "", " ", "no-such-thing"])
def test_gate_refuses_what_is_missing_or_unknown(member: str, value: str | None) -> None:
    refusal = engine.gate(replace(request_from(request()), **{member: value}), POLICY, now=NOW)
    if member == "user" and value == "no-such-thing":
        assert refusal is None
    else:
        assert refusal is not None
        assert refusal.rule == ("G2" if (member, value) == ("organization", "no-such-thing") else "G1")


@pytest.mark.parametrize(
    ("asked", "rule"),
    [
        (request(), None),
        (request(org="asleep"), "G2"),
        (request(org="coin"), "G4"),
        (request(role="billing"), "G5"),
        (request(org="call"), "G6"),
        (emergency(), None),
        (emergency(end=fx.NOW), "G7"),
        (emergency(user="Practitioner/una"), "G7"),
        # Whether there is a grant, and for whom, needs a record: the decision says it.
        (emergency(patient="bea"), None),
        (request(purpose="BTG"), None),
    ],
)
def test_gate_answers_from_the_caller_alone(asked: dict[str, Any], rule: str | None) -> None:
    refusal = engine.gate(request_from(asked), POLICY, now=NOW)
    assert (refusal.rule if refusal else None) == rule


def test_a_naive_now_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="aware"):
        engine.gate(request_from(request()), POLICY, now=datetime(2026, 6, 15))


def test_a_patient_without_jurisdiction_is_refused_unless_the_hub_has_one() -> None:
    homeless = engine.compile_patient(SubjectFacts(id="ada"), [])
    asked, about = request_from(request()), document_from(document())
    assert engine.decide(asked, about, homeless, POLICY, now=NOW).rule == "G1"
    at_home = replace(POLICY, home_jurisdiction="JA")
    assert engine.decide(asked, about, homeless, at_home, now=NOW).rule == "F1"


def compiled(**organizations: Any) -> engine.Policy:
    facts = {name: participant_from(name, data) for name, data in (fx.FIXTURE["organizations"] | organizations).items()}
    return engine.compile_policy(facts, fx.LAW, fx.FIXTURE)


@pytest.mark.parametrize(
    "hill",
    [
        pytest.param({"partOf": "hill"}, id="its-own-parent"),
        pytest.param({"partOf": "gone"}, id="parent-unknown"),
        pytest.param({"partOf": "asleep"}, id="parent-suspended"),
        pytest.param({"jurisdiction": None}, id="no-jurisdiction"),
        pytest.param({"jurisdiction": "ZZ"}, id="unknown-jurisdiction"),
        pytest.param({"agreement": None}, id="no-agreement"),
        pytest.param({"agreement": fx.agreement("TREAT", period={"end": "never"})}, id="unreadable-period"),
        pytest.param({"status": "suspended"}, id="registration-suspended"),
    ],
)
def test_an_organization_whose_standing_is_unclear_is_not_active(hill: dict[str, Any]) -> None:
    asleep = {"status": "suspended", "jurisdiction": "JA"}
    policy = compiled(hill=fx.FIXTURE["organizations"]["hill"] | hill, asleep=asleep)
    refusal = engine.gate(request_from(request()), policy, now=NOW)
    assert refusal is not None
    assert refusal.rule == "G2"
    assert engine.gate(request_from(request()), compiled(), now=NOW) is None


def test_a_child_overrides_the_flags_of_its_parent() -> None:
    parent = ParticipantFacts(id="p", jurisdiction="JA", part2_program=True, requires_relationship=True)
    child = ParticipantFacts(id="c", part_of="p", part2_program=False)
    policy = engine.compile_policy({"p": parent, "c": child}, fx.LAW, fx.FIXTURE)
    assert policy.participants["p"].part2
    assert not policy.participants["c"].part2
    assert policy.participants["c"].requires_relationship


def test_an_obligation_the_requester_cannot_keep_denies_when_the_switch_is_on() -> None:
    asked = request_from(request(purpose="HOPERAT"))
    about = document_from(document())
    assert engine.decide(asked, about, NOBODY, POLICY, now=NOW).obligations == ("MINEC",)
    strict = replace(POLICY, require_obligations=True)
    refused = engine.decide(asked, about, NOBODY, strict, now=NOW)
    assert (refused.outcome, refused.reason) == ("deny", "obligation-not-supported")
    hill = fx.FIXTURE["organizations"]["hill"]
    able = compiled(hill=hill | {"agreement": hill["agreement"] | {"obligations": ["MINEC"]}})
    assert engine.decide(asked, about, NOBODY, replace(able, require_obligations=True), now=NOW).permitted


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (consent(node("permit")), "provision"),
        (consent(policyRule=fx.rule("OPTIN")), "policyRule"),
        (consent(node("deny", node("deny", securityLabel=labels("V")), node("permit"))), "provision[1]"),
        (consent(node("deny", node("permit", node("deny", securityLabel=labels("V")), node("permit")))), "provision[0].provision[1]"),
        (consent({}), ""),
    ],
)  # fmt: skip
def test_the_basis_names_consent_version_and_path(resource: dict[str, Any], path: str) -> None:
    directive = engine.compile_directive(resource, directive_id="k", version="3", patient_ids=frozenset({"ada"}))
    patient = engine.compile_patient(NOBODY.subject, [directive])
    decision = engine.decide(request_from(request()), document_from(document()), patient, POLICY, now=NOW)
    assert [(b.kind, b.id, b.version, b.path) for b in decision.basis] == [("consent", "k", "3", path)]
    trace = engine.explain(request_from(request()), document_from(document()), patient, POLICY, now=NOW)
    assert trace.decision == decision
    assert [one.id for one in trace.considered] == ["k"]


def test_a_derivation_longer_than_can_be_followed_is_denied() -> None:
    about = DocumentFacts(id="d", patient="ada", custodian="lake", confidentiality="N")
    for _ in range(40):
        about = replace(about, derived_from=(about,))
    assert engine.decide(request_from(request()), about, NOBODY, POLICY, now=NOW).rule == "X1"


@pytest.mark.parametrize(
    ("text", "zone", "start", "length"),
    [
        ("2026", "America/New_York", "2026-01-01T05:00Z", timedelta(days=365)),
        ("2026-03", "Europe/Paris", "2026-02-28T23:00Z", timedelta(days=31, hours=-1)),
        ("2026-03-08", "America/New_York", "2026-03-08T05:00Z", timedelta(hours=23)),
        ("2026-11-01", "America/New_York", "2026-11-01T04:00Z", timedelta(hours=25)),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00Z", timedelta(hours=23)),
        ("2026-03-10T10:20Z", "UTC", "2026-03-10T10:20Z", timedelta(minutes=1)),
        ("2026-03-10T10:20:30+02:00", "UTC", "2026-03-10T08:20:30Z", timedelta(seconds=1)),
        ("2026-03-10T10:20:30.123Z", "UTC", "2026-03-10T10:20:30.123Z", timedelta(milliseconds=1)),
        ("2016-12-31T23:59:60Z", "UTC", "2017-01-01T00:00Z", timedelta(seconds=1)),
    ],
)
def test_a_date_covers_the_whole_of_its_precision(text: str, zone: str, start: str, length: timedelta) -> None:
    begin, end = time.interval(text, zone)
    assert begin == datetime.fromisoformat(start)
    assert end - begin == length


@pytest.mark.parametrize(
    "text",
    ["", "26", "2026-3", "2026-02-30", "2026-13", "2026-01-01T10:00", "2026-01-01T10:00:00", "2026-01-01T24:00Z", "0000",
     "2026-01-01T10Z", "2026-01-01 10:00Z", "2026-01-01T10:00Z\n", "٢٠٢٦", "2026-01-01T10:00+15:00"],
)  # fmt: skip
def test_what_is_no_fhir_date_is_unreadable(text: str) -> None:
    assert not time.readable(text)


@pytest.mark.parametrize(
    "text", ["9999", "9999-12", "9999-12-31", "0001", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"]
)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_the_edges_of_the_calendar_can_be_read(text: str, zone: str) -> None:
    begin, end = time.interval(text, zone)
    assert begin <= end


ELSEWHERE = "https://hub.example/fhir/"
PROXY_ASKS = request(
    org="door",
    role="proxy",
    purpose="FAMRQT",
    user="RelatedPerson/max",
    proxyGrant={
        "person": "RelatedPerson/max",
        "patient": "ada",
        "kind": "parent",
        "status": "active",
        "maxConfidentiality": "R",
    },
)
BORN_2008 = {"patients": {"ada": {"birthDate": "2008"}}}
CST = [actor("CST", reference="Organization/x"), actor("CST", reference="Organization/lake")]
AUT = [actor("AUT", reference="Practitioner/x"), actor("AUT", reference="Practitioner/una")]


def mandate(**more: Any) -> dict[str, Any]:
    return {"jurisdictions": {"JB": {"mandates": [{"id": "M", "purposes": ["HOPERAT"]} | more]}}}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        # A name that is only probably this person's closes and never opens.
        pytest.param(case(consent(node("deny", actor=to(ELSEWHERE + "Practitioner/ivo"))), request=request(org="lake")), "D3", id="own-user-named-elsewhere"),
        pytest.param(case(consent(node("permit", node("deny", actor=to(ELSEWHERE + "RelatedPerson/max")))), request=PROXY_ASKS, fixtureOverride={"patients": {"ada": {"birthDate": "2011-01-20"}}}), "P7", id="proxy-named-elsewhere"),
        pytest.param(case(consent(node("permit", node("deny", purpose=purposes("PATRQT")))), request=PROXY_ASKS, fixtureOverride={"patients": {"ada": {"birthDate": "2011-01-20"}}}), "P7", id="purpose-on-one-node-of-the-path"),
        # A birth date of less precision: whichever reading refuses.
        pytest.param(case(now="2026-06-15T12:00:00Z", request=PROXY_ASKS, fixtureOverride=BORN_2008), "P5", id="perhaps-of-age-ends-a-parents-grant"),
        pytest.param(case(request=PROXY_ASKS | {"proxyGrant": PROXY_ASKS["proxyGrant"] | {"kind": "guardian"}}, fixtureOverride=BORN_2008, document=document(labels=["HIV"])), "P6", id="perhaps-a-minor-keeps-confidence"),
        # Alternatives of one kind.
        pytest.param(case(consent(node("deny", actor=CST))), "D3", id="one-of-two-custodians"),
        pytest.param(case(consent(node("deny", actor=AUT)), document=document(authors=["Practitioner/una", "Practitioner/z"])), "D3", id="one-of-two-authors"),
        pytest.param(case(consent(node("deny", actor=[actor("CST", identifier={"value": "hospital"})]))), "D3", id="custodian-type-without-system"),
        pytest.param(case(consent(node("deny", actor=[actor("CST", identifier={"system": "urn:oid:2.999.7", "value": "lake"})])), document=document(custodian="lake-eye")), "D3", id="custodian-by-identifier-of-an-ancestor"),
        # When the service took place.
        pytest.param(case(consent(node("permit", node("deny", dataPeriod={"end": "2020"}))), document=document(serviceStop="2026-05-02")), "D3", id="only-a-stop-is-no-known-time-for-a-deny"),
        pytest.param(case(consent(node("permit", dataPeriod={"start": "2020"})), document=document(serviceStop="2026-05-02")), "D7", id="only-a-stop-is-no-known-time-for-a-permit"),
        pytest.param(case(consent(node("permit", dataPeriod={"start": "2020"})), document=document(serviceStart="2026-05-03", serviceStop="2026-05-02")), "D7", id="stop-before-start-is-no-known-time"),
        pytest.param(case(consent(node("permit", node("deny", data=[{"meaning": "authoredby", "reference": {"reference": ELSEWHERE + "Practitioner/una"}}]))), document=document(authors=["Practitioner/una"])), "D3", id="author-elsewhere-in-a-deny"),
        pytest.param(case(consent(node("permit", data=[{"meaning": "instance", "reference": {"reference": ELSEWHERE + "DocumentReference/d"}}]))), "D7", id="document-elsewhere-in-a-permit"),
        # A mandate that asks for what the engine cannot check reaches nothing.
        pytest.param(case(request=request(purpose="HOPERAT"), document=document(custodian="mer"), fixtureOverride=mandate()), "L2", id="mandate"),
        pytest.param(case(request=request(purpose="HOPERAT"), document=document(custodian="mer"), fixtureOverride=mandate(regions=["north"])), "F3", id="mandate-with-an-unknown-criterion"),
        pytest.param(case(request=request(purpose="HOPERAT"), document=document(custodian="mer"), fixtureOverride=mandate(minConfidentiality="Q")), "F3", id="mandate-with-an-unknown-letter"),
        pytest.param(case(request=request(purpose="HOPERAT"), document=document(custodian="mer"), fixtureOverride=mandate(labels=[])), "F3", id="mandate-with-an-empty-list"),
        pytest.param(case(request=request(purpose="HOPERAT"), document=document(custodian="mer"), fixtureOverride={"jurisdictions": {"JB": {"prohibitions": [{"id": "P", "labels": []}]}}}), "L1", id="prohibition-with-an-empty-list"),
    ],
)  # fmt: skip
def test_what_is_not_known_for_certain_closes(question: dict[str, Any], expected: str) -> None:
    assert decide_case(question, FIXTURE)["rule"] == expected
