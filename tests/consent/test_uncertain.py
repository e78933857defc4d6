"""What a Consent leaves uncertain closes: no shape of input opens more than its surest reading.

Each row says how a point is settled that the text of the specification leaves open, and the slow
evaluator, written apart, settles it alike.
"""

from __future__ import annotations

from typing import Any

import pytest

from consent.case_fixtures import Fixture
from consent.cases import decide_case
from tests.consent import fixture as fx
from tests.consent import slow_evaluator
from tests.consent.fixture import actor, case, coding, consent, document, labels, node, purposes, request, rule, to

FIXTURE = Fixture(fx.FIXTURE)
TO_HILL = node("permit", actor=to("Organization/hill"))
OTHER = "http://example.org/other"
ACT_CODE, CONFIDENTIALITY = fx.HL7 + "v3-ActCode", fx.HL7 + "v3-Confidentiality"
ROLES = {"IRCP": coding("v3-ParticipationType", "IRCP"), "CST": coding("v3-ParticipationType", "CST")}
TRC = coding("v3-ParticipationType", "TRC")
OPT_OUT = {"coding": [{"code": "OPTOUT"}]}
OPT_IN = {"coding": [{"code": "OPTIN"}]}


def party(reference: str, *roles: dict[str, str], **more: Any) -> dict[str, Any]:
    role = {"role": {"coding": list(roles)}} if roles else {}
    return role | {"reference": {"reference": reference} | more}


def denies(*actors: dict[str, Any], **criteria: Any) -> dict[str, Any]:
    return consent(node("permit", node("deny", **({"actor": list(actors)} if actors else {}), **criteria)))


def permits(*actors: dict[str, Any], **criteria: Any) -> dict[str, Any]:
    return consent(node("permit", **({"actor": list(actors)} if actors else {}), **criteria))


def scope(*codings: dict[str, str]) -> dict[str, Any]:
    return consent(node("permit"), scope={"coding": list(codings)})


RESEARCH = request(purpose="HRESCH", role="researcher", org="study")
NO_LABEL = document(labelled=False)
PSY = document(labels=["PSY"])
SETTLED: list[tuple[str, dict[str, Any], str]] = [
    # Base decision: no code without a system is one, but it can contradict one.
    ("opt-out-without-system-is-no-base-for-exceptions", case(consent({"provision": [TO_HILL]}, policyRule=OPT_OUT)), "D3"),
    ("opt-out-with-system-is", case(consent({"provision": [TO_HILL]}, policyRule=rule("OPTOUT"))), "D6"),
    ("opt-out-without-system-is-no-base-for-content", case(consent({"securityLabel": labels("R")}, policyRule=OPT_OUT)), "D3"),
    ("opt-in-without-system-is-no-base", case(consent({}, policyRule=OPT_IN)), "D3"),
    ("opt-in-without-system-agrees-with-a-permit", case(consent(node("permit"), policyRule=OPT_IN)), "D6"),
    ("opt-in-without-system-contradicts-a-deny", case(consent(node("deny", TO_HILL), policyRule=OPT_IN)), "D3"),
    ("opt-out-without-system-agrees-with-a-deny", case(consent(node("deny", TO_HILL), policyRule=OPT_OUT)), "D6"),
    ("both-one-of-them-without-system", case(consent(policyRule={"coding": [coding("v3-ActCode", "OPTIN"), {"code": "OPTOUT"}]})), "D3"),
    ("opt-out-of-another-system-says-nothing", case(consent(node("permit"), policyRule={"coding": [{"system": OTHER, "code": "OPTOUT"}]})), "D6"),
    # Scope: what may be privacy stays in force, and denies.
    ("scope-without-system", case(scope({"code": "patient-privacy"})), "D3"),
    ("scope-unknown-code", case(scope(coding("consentscope", "privacy"))), "D3"),
    ("scope-unknown-code-without-system", case(scope({"code": "what"})), "D3"),
    ("scope-treatment", case(scope(coding("consentscope", "treatment"))), "F1"),
    ("scope-treatment-without-system", case(scope({"code": "treatment"})), "F1"),
    ("scope-of-another-system", case(scope({"system": OTHER, "code": "patient-privacy"})), "F1"),
    ("scope-beside-a-sure-one", case(scope({"code": "what"}, coding("consentscope", "patient-privacy"))), "D6"),
    ("scope-treatment-and-perhaps-privacy", case(scope(coding("consentscope", "treatment"), {"code": "patient-privacy"})), "D3"),
    ("scope-perhaps-research-for-treatment", case(scope({"code": "research"})), "F1"),
    ("scope-perhaps-research-for-research", case(scope({"code": "research"}), request=RESEARCH), "D3"),
    ("scope-research-for-research", case(scope(coding("consentscope", "research")), request=RESEARCH), "D6"),
    # An unreadable date anywhere.
    ("date-of-last-update", case(consent(node("permit"), meta={"lastUpdated": "x"})), "D3"),
    ("date-of-last-update-readable", case(consent(node("permit"), meta={"lastUpdated": "2026-01-01T00:00:00.000Z"})), "D6"),
    ("date-in-an-identifier", case(consent(node("permit"), identifier=[{"value": "1", "period": {"start": "bad"}}])), "D3"),
    ("date-in-the-identifier-of-an-actor", case(permits(party("Organization/hill", ROLES["IRCP"], identifier={"system": "urn:oid:2.999.7", "value": "x", "period": {"end": "bad"}}))), "D3"),
    ("date-in-an-extension", case(consent(node("permit"), extension=[{"url": "urn:x", "valueDateTime": "bad"}])), "D3"),
    ("date-in-a-nested-extension", case(consent(node("permit", extension=[{"url": "u", "extension": [{"url": "v", "valuePeriod": {"end": "x"}}]}]))), "D3"),
    ("date-in-what-is-contained", case(consent(node("permit"), contained=[{"resourceType": "Patient", "birthDate": "1 May"}])), "D3"),
    ("date-of-a-scan", case(consent(node("permit"), sourceAttachment={"creation": "x"})), "D3"),
    ("date-of-a-verification", case(consent(node("permit"), verification=[{"verificationDate": "2026-02-30"}])), "D3"),
    ("date-that-says-it-has-no-value", case(permits(dataPeriod={"_end": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]}})), "D3"),
    ("text-that-is-no-date", case(consent(node("permit"), extension=[{"url": "urn:x", "valueString": "soon"}])), "D6"),
    # Modifiers: on the Consent and its parts; what is contained or in an extension is something else.
    ("modifier-on-a-policy", case(consent(node("permit"), policy=[{"modifierExtension": [{"url": "x"}]}])), "D3"),
    ("modifier-on-a-data-reference", case(permits(data=[{"modifierExtension": [{"url": "x"}], "meaning": "instance", "reference": {"reference": "DocumentReference/d"}}])), "D3"),
    ("modifier-of-what-is-contained", case(consent(node("permit"), contained=[{"resourceType": "Group", "modifierExtension": [{"url": "x"}]}])), "D6"),
    # Lists of FHIR are never empty; an empty list of exceptions is no exception.
    *((f"empty-{member}", case(consent(node("permit", **{member: []}))), "D3") for member in ("purpose", "action", "actor", "securityLabel", "class", "code", "data")),
    ("empty-role", case(permits({"role": {"coding": []}, "reference": {"reference": "Organization/hill"}})), "D3"),
    ("no-exceptions", case(consent(node("permit", provision=[]))), "D6"),
    # Labels. A code that is not known is still of its kind; a letter nobody knows may be any.
    ("permit-letter-and-unknown-label", case(permits(securityLabel=labels("N", "WHAT"))), "D7"),
    ("permit-label-and-unknown-label", case(permits(securityLabel=labels("PSY", "WHAT")), document=PSY), "D6"),
    ("permit-label-and-unknown-letter", case(permits(securityLabel=[*labels("PSY"), coding("v3-Confidentiality", "X")]), document=PSY), "D7"),
    ("permit-letter-and-unknown-letter", case(permits(securityLabel=[*labels("N"), coding("v3-Confidentiality", "X")])), "D6"),
    ("permit-letter-and-another-system", case(permits(securityLabel=[*labels("N"), {"system": OTHER, "code": "PSY"}])), "D6"),
    ("permit-letter-and-label-without-system", case(permits(securityLabel=[*labels("N"), {"code": "PSY"}])), "D7"),
    ("permit-letter-and-label-without-system-carried", case(permits(securityLabel=[*labels("R"), {"code": "PSY"}]), document=PSY), "D6"),
    ("permit-label-and-letter-without-system", case(permits(securityLabel=[*labels("PSY"), {"code": "N"}]), document=PSY), "D7"),
    ("deny-unknown-letter", case(denies(securityLabel=[coding("v3-Confidentiality", "X")])), "D3"),
    ("deny-letter-without-system", case(denies(securityLabel=[{"code": "N"}])), "D3"),
    ("deny-unknown-label-of-the-labelled", case(denies(securityLabel=labels("WHAT"))), "D6"),
    ("deny-unknown-label-of-the-unlabelled", case(denies(securityLabel=labels("WHAT")), document=NO_LABEL), "D3"),
    ("deny-label-of-another-system-of-the-unlabelled", case(denies(securityLabel=[{"system": OTHER, "code": "PSY"}]), document=NO_LABEL), "D6"),
    # Roles of an actor: a permit needs every reading, a deny one.
    ("deny-recipient-or-custodian-as-recipient", case(denies(party("Organization/hill", *ROLES.values()))), "D3"),
    ("deny-recipient-or-custodian-as-custodian", case(denies(party("Organization/lake", *ROLES.values()))), "D3"),
    ("deny-recipient-or-custodian-as-neither", case(denies(party("Organization/shore", *ROLES.values()))), "D6"),
    ("permit-recipient-or-custodian-as-recipient", case(permits(party("Organization/hill", *ROLES.values()))), "F1"),
    ("permit-recipient-or-custodian-as-both", case(permits(party("Organization/lake", *ROLES.values())), request=RESEARCH | {"org": "lake"}), "D6"),
    ("deny-two-actors-one-in-doubt", case(denies(party("Organization/hill", *ROLES.values()), *to("Organization/shore"))), "D3"),
    ("deny-two-actors-one-without-role", case(denies(party("Organization/hill"), *to("Organization/shore"))), "D3"),
    ("deny-two-actors-one-role-without-system", case(denies(party("Organization/hill", {"code": "IRCP"}), *to("Organization/shore"))), "D3"),
    ("deny-two-actors-one-of-another-role", case(denies(party("Organization/hill", TRC), *to("Organization/shore"))), "D6"),
    ("permit-role-with-a-translation", case(permits(party("Organization/hill", ROLES["IRCP"], {"system": OTHER, "code": "reader"}))), "D6"),
    ("permit-role-without-system", case(permits(party("Organization/hill", {"code": "IRCP"}))), "F1"),
    ("permit-role-of-another-system", case(permits(party("Organization/hill", {"system": OTHER, "code": "IRCP"}))), "F1"),
    ("deny-role-of-another-system", case(denies(party("Organization/shore", {"system": OTHER, "code": "IRCP"}))), "D3"),
    ("deny-more-roles-in-doubt-than-can-be-told-apart", case(denies(*(party("Organization/shore") for _ in range(4)))), "D3"),
    ("permit-more-roles-in-doubt-than-can-be-told-apart", case(permits(*(party("Organization/hill") for _ in range(4)))), "F1"),
    # Reference and identifier of one actor: in a permit both must mean the asker.
    ("permit-reference-of-one-identifier-of-another", case(permits(actor("IRCP", reference="Organization/shore", identifier={"system": "urn:hie:role", "value": "physician"}))), "F1"),
    ("permit-reference-and-identifier-of-one", case(permits(actor("IRCP", reference="Organization/hill", identifier={"system": "urn:hie:role", "value": "physician"}))), "D6"),
    ("deny-reference-of-one-identifier-of-another", case(denies(actor("IRCP", reference="Organization/shore", identifier={"system": "urn:hie:role", "value": "physician"}))), "D3"),
    # "Exactly that person": perhaps for what closes, surely for what opens.
    ("own-record-and-a-denial-with-a-servers-address", case(denies(*to("https://hub.example/fhir/Practitioner/ivo")), request=request(org="lake")), "D3"),
    ("own-record-and-a-denial-in-a-role-in-doubt", case(denies(party("Practitioner/ivo", {"code": "IRCP"})), request=request(org="lake")), "D3"),
    # Who asks writes his own name; however he does, a denial that names him means him, and a permit only as it is written.
    *(
        (f"{what}-named-as-{i}", case(of, request=request(org=org, user=written)), expected)
        for what, of, org, expected in [
            ("denied", denies(*to("Practitioner/ivo")), "hill", "D3"),
            ("denied-own", denies(*to("Practitioner/ivo")), "lake", "D3"),
            ("permitted", permits(*to("Practitioner/ivo")), "hill", "F1"),
        ]
        for i, written in enumerate([
            "https://hill.example/fhir/Practitioner/ivo", "Practitioner/ivo/_history/3", " Practitioner/ivo ", "practitioner/ivo",
            "https://hill.example/staff/ivo", "ivo",
        ])
    ),
    ("denied-of-another-type", case(denies(*to("Practitioner/ivo")), request=request(user="RelatedPerson/ivo")), "D6"),
    ("denied-by-the-id-alone", case(denies(*to("ivo"))), "D3"),
    ("denied-organization-by-the-id-alone", case(denies(*to("hill"))), "D3"),
    ("denied-custodian-by-the-id-alone", case(denies(actor("CST", reference="lake"))), "D3"),
    ("denied-author-by-the-id-alone", case(denies(actor("AUT", reference="ida")), document=document(authors=["Practitioner/ida"])), "D3"),
    ("denied-what-one-wrote-by-the-id-alone", case(denies(data=[{"meaning": "authoredby", "reference": {"reference": "ida"}}]), document=document(authors=["Practitioner/ida"])), "D3"),
    ("permitted-by-the-id-alone", case(permits(*to("hill"))), "F1"),
    ("proxy-denied-however-he-writes-his-name", case(denies(*to("RelatedPerson/max")), request=request(org="door", role="proxy", purpose="FAMRQT", user="https://else.example/RelatedPerson/max", proxyGrant={"person": "https://else.example/RelatedPerson/max", "patient": "ada", "kind": "attorney", "status": "active", "maxConfidentiality": "R"})), "P7"),
    # A relationship that says nothing is none.
    ("blank-relationship", case(request=request(relationship=" "), fixtureOverride={"organizations": {"hill": {"requiresRelationship": True}}}), "G6"),
    # Data: a denial reaches what may be meant; a type that no document is of means none of its id.
    *(
        (f"deny-data-{i}", case(denies(data=[{"meaning": meaning, "reference": {"reference": reference}}]), document=document(encounter="e", related=["Encounter/f"])), expected)
        for i, (meaning, reference, expected) in enumerate([
            ("instance", "DocumentReference/d", "D3"), ("instance", "d", "D3"), ("instance", "Observation/d", "D3"),
            ("instance", "https://else.example/fhir/DocumentReference/d", "D3"), ("instance", "Composition/d", "D3"),
            ("instance", "Encounter/d", "D6"), ("instance", "https://else.example/fhir/Encounter/d", "D6"),
            ("instance", "Patient/d", "D6"), ("instance", "DocumentReference/e", "D6"), ("dependents", "Encounter/d", "D6"),
            ("related", "Encounter/e", "D3"), ("related", "https://else.example/fhir/Encounter/e", "D3"),
            ("related", "EpisodeOfCare/e", "D3"), ("related", "e", "D3"), ("related", "DocumentReference/e", "D6"),
            ("related", "Encounter/f", "D3"), ("related", "https://else.example/fhir/Encounter/f", "D3"), ("related", "f", "D3"),
            ("related", "DocumentReference/f", "D6"),
        ])
    ),
    # A period that ends before it starts cannot be filed. In store it keeps to the letter: a service that reaches over
    # both of its days overlaps it, for whoever wrote them may have meant the days between; no permit reaches into it.
    ("deny-period-turned-round-over-both-days", case(denies(dataPeriod={"start": "2026-05-20", "end": "2026-05-10"}), document=document(serviceStart="2026-05-01", serviceStop="2026-05-30")), "D3"),
    ("deny-period-turned-round-between-its-days", case(denies(dataPeriod={"start": "2026-05-20", "end": "2026-05-10"}), document=document(serviceStart="2026-05-14")), "D6"),
    ("permit-period-turned-round", case(permits(dataPeriod={"start": "2026-05-20", "end": "2026-05-10"}), document=document(serviceStart="2026-05-14")), "D7"),
    # Older spellings are the same system in class and code, of documents and of rules too.
    ("class-in-another-spelling", case(denies(**{"class": [{"system": "urn:oid:2.16.840.1.113883.5.4", "code": "CLN"}]}), document=document(**{"class": ["http://hl7.org/fhir/v3/ActCode|CLN"]})), "D3"),
    ("code-in-the-same-old-spelling", case(denies(code=[{"coding": [{"system": "http://hl7.org/fhir/v3/ActCode", "code": "CLN"}]}]), document=document(codes=["http://hl7.org/fhir/v3/ActCode|CLN"])), "D3"),
    ("release-rule-in-another-spelling", case(document=document(**{"class": [f"{ACT_CODE}|CLN"]}), fixtureOverride={"organizations": {"lake": {"releasePolicy": [{"id": "X", "classes": ["urn:oid:2.16.840.1.113883.5.4|CLN"]}]}}}), "O1"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "expected"), [pytest.param(q, r, id=i) for i, q, r in SETTLED])
def test_what_the_text_leaves_open_is_settled_alike_in_engine_and_slow_evaluator(
    question: dict[str, Any], expected: str
) -> None:
    assert decide_case(question, FIXTURE)["rule"] == expected
    assert slow_evaluator.evaluate(fx.FIXTURE, question) == decide_case(question, FIXTURE)


# Every place of a code: the criterion with that coding, and the document that it means.
PLACES: dict[str, tuple[str, str, Any, dict[str, Any]]] = {
    "purpose": ("v3-ActReason", "TREAT", lambda c: {"purpose": [c]}, {}),
    "action": ("consentaction", "access", lambda c: {"action": [{"coding": [c]}]}, {}),
    "letter": ("v3-Confidentiality", "N", lambda c: {"securityLabel": [c]}, {}),
    "label": ("v3-ActCode", "PSY", lambda c: {"securityLabel": [c]}, {"labels": ["PSY"]}),
    "role": ("v3-ParticipationType", "IRCP", lambda c: {"actor": [party("Organization/hill", c)]}, {}),
    "class": ("v3-ActCode", "CLN", lambda c: {"class": [c]}, {"class": [f"{ACT_CODE}|CLN"]}),
    "code": ("v3-ActCode", "CLN", lambda c: {"code": [{"coding": [c]}]}, {"codes": [f"{ACT_CODE}|CLN"]}),
}
SPELLINGS = {
    "v3-ActReason": ["urn:oid:2.16.840.1.113883.5.8", "http://hl7.org/fhir/v3/ActReason"],
    "v3-ActCode": ["urn:oid:2.16.840.1.113883.5.4", "http://hl7.org/fhir/v3/ActCode"],
    "v3-Confidentiality": ["urn:oid:2.16.840.1.113883.5.25", "http://hl7.org/fhir/v3/Confidentiality"],
    "v3-ParticipationType": ["http://hl7.org/fhir/v3/ParticipationType"],
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("spelled", ["present", "older", "none", "other"])
def test_a_code_permits_only_in_its_system_and_denies_also_without_one(place: str, spelled: str) -> None:
    system, code, criterion, about = PLACES[place]
    systems = {"present": [fx.HL7 + system], "older": SPELLINGS.get(system, []), "none": [None], "other": [OTHER]}
    for one in systems[spelled]:  # type: ignore[attr-defined]  # a list, by the table
        made = {"code": code} if one is None else {"system": one, "code": code}
        asked = {"document": document(**about)}
        permit = decide_case(case(permits(**criterion(made)), **asked), FIXTURE)["rule"]
        deny = decide_case(case(denies(**criterion(made)), **asked), FIXTURE)["rule"]
        by_rule = decide_case(case(consent(criterion(made), policyRule=rule("OPTIN")), **asked), FIXTURE)["rule"]
        assert permit == by_rule
        assert (permit == "D6") == (spelled in ("present", "older"))
        # A role of another system is another role, and that always matches in a deny.
        assert deny == ("D6" if spelled == "other" and place != "role" else "D3")


def test_a_purpose_listed_without_a_system_refuses_an_emergency_but_names_nothing_for_the_law() -> None:
    loose = [{"code": "BTG"}, {"code": "TREAT"}]
    refused = case(denies(purpose=loose), request=fx.emergency())
    assert decide_case(refused, FIXTURE)["rule"] == "D1"
    part2 = document(custodian="shore", confidentiality="R")
    named = node("permit", node("permit", securityLabel=labels("42CFRPart2"), purpose=purposes("TREAT")))
    assert decide_case(case(consent(named), document=part2), FIXTURE)["rule"] == "D6"
    named["provision"][0]["purpose"] = loose[1:]
    assert decide_case(case(consent(named), document=part2), FIXTURE)["rule"] == "D4"


CODED = "http://snomed.info/sct|38341003"
REPORT = {"org": "watch", "role": "public-health-officer", "purpose": "PUBHLTH"}


@pytest.mark.parametrize(("member", "of_document"), [("codes", "codes"), ("classes", "class")])
@pytest.mark.parametrize(
    ("listed", "held", "prohibited", "mandated"),
    [
        pytest.param(CODED, CODED, True, True, id="the-same"),
        pytest.param(CODED, "http://loinc.org|38341003", False, False, id="of-another-system"),
        pytest.param(CODED, "|38341003", True, False, id="document-without-system"),
        pytest.param(CODED, "38341003", True, False, id="document-without-bar"),
        pytest.param("|38341003", CODED, True, False, id="rule-without-system"),
        pytest.param("38341003", CODED, True, False, id="rule-without-bar"),
        pytest.param("|38341003", "|38341003", True, False, id="neither-with-system"),
        pytest.param(CODED, "|1", False, False, id="another-code-without-system"),
        pytest.param("|1", CODED, False, False, id="rule-of-another-code-without-system"),
        pytest.param("urn:oid:2.16.840.1.113883.5.4|x", fx.HL7 + "v3-ActCode|x", True, True, id="older-spelling"),
    ],
)
def test_a_coding_without_a_system_may_be_of_any_where_it_closes_and_of_none_where_it_opens(
    member: str, of_document: str, listed: str, held: str, prohibited: bool, mandated: bool
) -> None:
    rule = {"id": "X", member: ["http://example.org|y", listed]}
    about = document(**{of_document: ["http://example.org|z", held]})
    for part, closes in (
        ({"jurisdictions": {"JA": {"prohibitions": [rule]}}}, "L1"),
        ({"organizations": {"lake": {"releasePolicy": [rule | {"absolute": True}]}}}, "O1"),
    ):
        made = case(document=about, fixtureOverride=part)
        assert decide_case(made, FIXTURE) == slow_evaluator.evaluate(fx.FIXTURE, made)
        assert decide_case(made, FIXTURE)["rule"] == (closes if prohibited else "F1")
    override = {"jurisdictions": {"JA": {"mandates": [rule]}}}
    made = case(consent(node("deny")), document=about, request=request(**REPORT), fixtureOverride=override)
    assert decide_case(made, FIXTURE) == slow_evaluator.evaluate(fx.FIXTURE, made)
    assert decide_case(made, FIXTURE)["rule"] == ("L2" if mandated else "D3")


OPEN = {"labelMayMean": {"BH": ["MH", "SUD"]}}
PARENT = {"org": "door", "role": "proxy", "purpose": "FAMRQT", "user": "RelatedPerson/max"}
PARENT["proxyGrant"] = {"kind": "parent", "person": "RelatedPerson/max", "patient": "ada", "status": "active"}  # type: ignore[assignment]
PARENT["proxyGrant"] |= {"maxConfidentiality": "R"}  # type: ignore[operator]
TEEN = {"patients": {"ada": {"birthDate": "2011-01-01"}}}


def law(**changes: Any) -> dict[str, Any]:
    return {"jurisdictions": {"JA": changes}}


@pytest.mark.parametrize(
    ("asked", "override", "open_rule", "rule_"),
    [
        pytest.param({"consents": [denies(securityLabel=labels("MH"))]}, {}, "D3", "D6", id="denial-of-one"),
        pytest.param({"consents": [denies(securityLabel=labels("SUD"))]}, {}, "D3", "D6", id="denial-of-the-other"),
        pytest.param({"consents": [denies(securityLabel=labels("BH"))]}, {}, "D3", "D3", id="denial-of-all"),
        pytest.param({"consents": [denies(securityLabel=labels("PSY"))]}, {}, "D6", "D6", id="denial-of-a-finer-one"),
        pytest.param({"consents": [denies(securityLabel=labels("HIV"))]}, {}, "D6", "D6", id="denial-of-another"),
        pytest.param({"consents": [permits(securityLabel=labels("MH"))]}, {}, "D7", "D7", id="permit-of-one"),
        pytest.param({"consents": [permits(securityLabel=labels("BH"))]}, {}, "D6", "D6", id="permit-of-all"),
        pytest.param({}, law(prohibitions=[{"id": "X", "labels": ["MH"]}]), "L1", "F1", id="prohibition"),
        pytest.param({}, {"organizations": {"lake": {"releasePolicy": [{"id": "X", "labels": ["SUD"]}]}}}, "O1", "F1", id="release-rule"),
        pytest.param({}, law(default={"excludeLabels": ["MH"]}), "F2", "F1", id="default"),
        pytest.param({}, law(consentRequired=[{"id": "X", "label": "MH", "coveredBy": ["MH"], "policyCodes": []}]), "D4", "F1", id="consent-required"),
        pytest.param({"request": request(**REPORT)}, law(mandates=[{"id": "X", "labels": ["MH"]}]), "F2", "F2", id="mandate-of-one"),
        pytest.param(
            {"request": request(**REPORT)},
            law(mandates=[{"id": "X"}], consentRequired=[{"id": "Y", "label": "SUD", "coveredBy": ["SUD"], "policyCodes": []}]),
            "D4", "L2", id="mandate-of-all-and-consent-required",
        ),
        pytest.param({"request": request(**PARENT)}, {**TEEN, **law(confidentialLabels=["MH"])}, "P6", "P9", id="parent-of-a-teenager"),
    ],
)  # fmt: skip
def test_a_label_that_leaves_it_open_closes_like_each_that_it_may_mean_and_opens_like_none(
    asked: dict[str, Any], override: dict[str, Any], open_rule: str, rule_: str
) -> None:
    for table, expected in ((OPEN, open_rule), ({}, rule_)):
        for carried in (["BH"], ["BH", "DEMO"]):
            given = {"request": request(), **asked, "document": document(labels=carried)}
            made = case(*given.pop("consents", []), **given, fixtureOverride={**override, **table})
            assert decide_case(made, FIXTURE)["rule"] == expected
            assert slow_evaluator.evaluate(fx.FIXTURE, made) == decide_case(made, FIXTURE)


def test_a_further_label_opens_nothing_that_one_which_leaves_it_open_closes() -> None:
    made = case(denies(securityLabel=labels("SUD")), document=document(labels=["BH", "MH"]), fixtureOverride=OPEN)
    assert decide_case(made, FIXTURE)["rule"] == "D3"
