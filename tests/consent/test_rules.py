"""Each rule and criterion: a case where it decides and the nearest case where it does not."""

from __future__ import annotations

from typing import Any

import pytest

from consent.case_fixtures import Fixture
from consent.cases import decide_case
from tests.consent import fixture as fx
from tests.consent import slow_evaluator
from tests.consent.fixture import (
    actor,
    case,
    consent,
    document,
    emergency,
    labels,
    node,
    purposes,
    request,
    rule,
    to,
)

FIXTURE = Fixture(fx.FIXTURE)
BTG_NO = node("permit", node("deny", purpose=purposes("BTG")))
PART2 = document(custodian="shore", confidentiality="R")
LOOK = {"org": "door", "role": "patient", "purpose": "PATRQT", "user": "Patient/ada"}
GRANT = {
    "person": "RelatedPerson/max",
    "patient": "ada",
    "kind": "attorney",
    "status": "active",
    "maxConfidentiality": "R",
}
PROXY = {"org": "door", "role": "proxy", "purpose": "FAMRQT", "user": "RelatedPerson/max"}
TEEN = {"patients": {"ada": {"birthDate": "2011-01-20"}}}


def proxy(**more: Any) -> dict[str, Any]:
    return request(**PROXY, proxyGrant=GRANT | more)


def late(member: str, text: str) -> dict[str, Any]:
    return {member: text}


TABLE: list[tuple[str, dict[str, Any], str]] = [
    # gate
    ("agreement-of-another-purpose", case(request=request(org="coin", role="billing")), "G4"),
    ("descendant-of-a-listed-purpose", case(request=request(purpose="COC")), "F1"),
    ("btg-not-listed-itself", case(request=emergency() | {"org": "coin"}), "G4"),
    ("btg-not-in-role", case(request=emergency() | {"role": "pharmacist"}), "G5"),
    ("suspended-custodian", case(document=document(custodian="asleep")), "G3"),
    ("unknown-custodian", case(document=document(custodian="nowhere")), "G3"),
    ("unknown-requester", case(request=request(org="nowhere")), "G2"),
    ("custodian-before-agreement", case(request=request(org="coin"), document=document(custodian="asleep")), "G3"),
    ("agreement-not-begun-in-its-own-zone", case(now="2025-12-31T22:59:59Z", request=request(org="mer")), "G2"),
    ("agreement-begun-in-its-own-zone", case(now="2025-12-31T23:00:00Z", request=request(org="mer")), "F1"),
    ("agreement-ends-with-the-whole-month", case(now="2026-12-31T22:59:59Z", request=request(org="mer")), "F1"),
    ("agreement-ended", case(now="2026-12-31T23:00:00Z", request=request(org="mer")), "G2"),
    ("relationship-missing", case(request=request(org="call")), "G6"),
    ("relationship-empty", case(request=request(org="call", relationship="")), "G6"),
    ("relationship-not-needed-in-emergency", case(request=emergency(org="call") | {"org": "call"}), "D2"),
    ("document-of-a-linked-id", case(document=document(patient="ada-old")), "F1"),
    # break-glass
    ("grant-at-its-start", case(now="2026-06-15T11:00:00Z", request=emergency()), "D2"),
    ("grant-before-its-start", case(now="2026-06-15T10:59:59.999Z", request=emergency()), "G7"),
    ("grant-at-its-end", case(request=emergency(end=fx.NOW)), "G7"),
    ("grant-at-four-hours", case(request=emergency(start="2026-06-15T08:00:00Z")), "G7"),
    ("grant-just-under-four-hours", case(request=emergency(start="2026-06-15T08:00:00.001Z")), "D2"),
    ("grant-not-active", case(request=emergency(status="ended")), "G7"),
    ("grant-without-reason", case(request=emergency(reason="")), "G7"),
    ("grant-without-text", case(request=emergency(text=" ")), "G7"),
    ("grant-of-another-user", case(request=emergency(user="Practitioner/una")), "G7"),
    ("grant-of-another-root", case(request=emergency(org="lake")), "G7"),
    ("grant-of-the-same-root", case(request=emergency(org="lake-eye") | {"org": "lake"}, document=document(custodian="hill")), "D2"),
    ("grant-about-another-patient", case(request=emergency(patient="bea")), "G7"),
    ("grant-about-a-linked-id", case(request=emergency(patient="ada-old")), "D2"),
    ("grant-counts-for-btg-only", case(consent(node("deny")), request=emergency() | {"purpose": "TREAT"}), "D3"),
    ("refusal-where-honoured", case(consent(BTG_NO), request=emergency()), "D1"),
    ("refusal-where-not-honoured", case(consent(BTG_NO), request=emergency(), document=document(custodian="mer")), "D2"),
    ("deny-that-lists-only-etreat", case(consent(node("permit", node("deny", purpose=purposes("ETREAT")))), request=emergency()), "D2"),
    ("unintelligible-lists-no-purpose", case(consent({}), request=emergency()), "D2"),
    ("btg-over-explicit-consent", case(request=emergency(), document=PART2), "D2"),
    ("btg-not-over-v", case(request=emergency(), document=document(confidentiality="V")), "D5"),
    ("btg-with-v-by-name", case(consent(node("permit", securityLabel=labels("V"))), request=emergency(), document=document(confidentiality="V")), "D6"),
    ("btg-with-v-denied", case(consent(node("deny")), request=emergency(), document=document(confidentiality="V")), "D3"),
    ("btg-over-plain-release-rule", case(request=emergency(org="call") | {"org": "call"}, document=document(custodian="lake-mind", labels=["MH"])), "D2"),
    ("release-rule-without-btg", case(request=request(org="call", relationship="referral"), document=document(custodian="lake-mind", labels=["MH"])), "O1"),
    ("btg-not-over-absolute-release-rule", case(request=emergency(), document=PART2 | {"class": ["http://loinc.org|11488-4"]}), "O1"),
    ("btg-over-yielding-prohibition", case(request=emergency(org="call") | {"org": "call"}, document=document(labels=["SEX"])), "D2"),
    ("prohibition-without-btg", case(request=request(org="call", relationship="referral"), document=document(labels=["PREGNANT"])), "L1"),
    # derived
    ("derived-from-permitted", case(document=document(derivedFrom=[document(id="s")])), "F1"),
    ("derived-from-denied", case(document=document(derivedFrom=[document(id="s"), document(id="t", confidentiality="V")])), "X1"),
    ("derived-twice-from-denied", case(document=document(derivedFrom=[document(derivedFrom=[document(labels=["SDV"])])])), "X1"),
    ("derived-from-another-patient", case(document=document(derivedFrom=[document(patient="bea")])), "X1"),
    # patient and proxy
    ("self", case(consent(node("deny")), request=request(**LOOK)), "P3"),
    ("self-under-linked-id", case(request=request(**LOOK | {"user": "Patient/ada-old"})), "P3"),
    ("self-withheld", case(request=request(**LOOK), document=document(labels=["NOPAT"])), "P1"),
    ("another-patient-is-no-self", case(request=request(**LOOK | {"user": "Patient/bea"})), "P4"),
    ("self-a-moment-before-the-age", case(now="2025-01-20T04:59:59Z", request=request(**LOOK), fixtureOverride=TEEN), "P2"),
    ("self-at-local-midnight-of-the-birthday", case(now="2025-01-20T05:00:00Z", request=request(**LOOK), fixtureOverride=TEEN), "P3"),
    ("self-without-birth-date", case(request=request(**LOOK), fixtureOverride={"patients": {"ada": {"birthDate": None}}}), "P2"),
    ("leap-day-birthday-on-28-february", case(now="2022-02-28T12:00:00Z", request=request(**LOOK), fixtureOverride={"patients": {"ada": {"birthDate": "2008-02-29"}}}), "P2"),
    ("leap-day-birthday-on-1-march", case(now="2022-03-01T05:00:00Z", request=request(**LOOK), fixtureOverride={"patients": {"ada": {"birthDate": "2008-02-29"}}}), "P3"),
    ("birth-year-alone-waits-for-its-end", case(now="2022-06-01T00:00:00Z", request=request(**LOOK), fixtureOverride={"patients": {"ada": {"birthDate": "2008"}}}), "P2"),
    ("no-grant", case(request=request(**PROXY)), "P4"),
    ("grant-suspended", case(request=proxy(status="suspended")), "P4"),
    ("grant-of-another-person", case(request=proxy(person="RelatedPerson/x")), "P4"),
    ("grant-for-another-patient", case(request=proxy(patient="bea")), "P4"),
    ("grant-ended", case(request=proxy(period={"end": "2026-06-14"})), "P4"),
    ("grant-on-its-last-day", case(request=proxy(period={"end": "2026-06-15"})), "P9"),
    ("grant-with-unreadable-date", case(request=proxy(period={"end": "soon"})), "P4"),
    ("grant-of-unknown-kind", case(request=proxy(kind="friend")), "P4"),
    ("parent-of-an-adult", case(request=proxy(kind="parent")), "P5"),
    ("parent-a-moment-before-majority", case(now="2029-01-20T04:59:59Z", request=proxy(kind="parent"), fixtureOverride=TEEN), "P9"),
    ("parent-at-majority", case(now="2029-01-20T05:00:00Z", request=proxy(kind="parent"), fixtureOverride=TEEN), "P5"),
    ("guardian-of-an-adult", case(request=proxy(kind="guardian")), "P9"),
    ("proxy-and-nopat", case(request=proxy(), document=document(labels=["NOPAT"])), "P1"),
    ("teenager-confidential", case(request=proxy(), fixtureOverride=TEEN, document=document(labels=["PREGNANT"])), "P6"),
    ("teenager-named-the-proxy", case(consent(node("permit", actor=to("RelatedPerson/max"))), request=proxy(), fixtureOverride=TEEN, document=document(labels=["PREGNANT"])), "P9"),
    ("teenager-permits-everybody", case(consent(node("permit")), request=proxy(), fixtureOverride=TEEN, document=document(labels=["PREGNANT"])), "P6"),
    ("teenager-other-label", case(request=proxy(), fixtureOverride=TEEN, document=document(labels=["GDIS"])), "P9"),
    ("deny-naming-the-proxy", case(consent(node("permit", node("deny", actor=to("RelatedPerson/max")))), request=proxy()), "P7"),
    ("deny-listing-the-purpose", case(consent(node("deny", purpose=purposes("PATRQT"))), request=proxy()), "P7"),
    ("deny-of-everything-names-nobody", case(consent(node("deny")), request=proxy()), "P9"),
    ("above-the-grant", case(request=proxy(maxConfidentiality=None), document=document(confidentiality="R")), "P8"),
    ("at-the-grant", case(request=proxy(), document=document(confidentiality="R")), "P9"),
    ("proxy-and-law", case(request=proxy(), document=PART2), "P9"),
    # own, law, release
    ("own-despite-deny", case(consent(node("deny")), request=request(org="lake-eye")), "C1"),
    ("own-research-is-not-own-care", case(request=request(org="lake", role="researcher", purpose="HRESCH")), "F2"),
    ("own-with-user-named", case(consent(node("deny", actor=to("Practitioner/ivo"))), request=request(org="lake")), "D3"),
    ("own-with-organization-named", case(consent(node("deny", actor=to("Organization/lake"))), request=request(org="lake")), "C1"),
    ("genetic-for-payment", case(consent(node("permit")), request=request(org="coin", role="billing", purpose="COVERAGE"), document=document(labels=["SICKLE"])), "L1"),
    ("mandate", case(consent(node("deny")), request=request(org="watch", role="public-health-officer", purpose="PUBHLTH"), document=document(codes=["http://snomed.info/sct|56717001"])), "L2"),
    ("mandate-over-v", case(request=request(org="watch", role="public-health-officer", purpose="DISASTER"), document=document(confidentiality="V", codes=["http://snomed.info/sct|56717001"])), "L2"),
    ("mandate-never-over-explicit-consent", case(request=request(org="watch", role="public-health-officer", purpose="PUBHLTH"), document=PART2 | {"codes": ["http://snomed.info/sct|56717001"]}), "D4"),
    ("mandate-of-another-code", case(request=request(org="watch", role="public-health-officer", purpose="PUBHLTH"), document=document(codes=["http://snomed.info/sct|1"])), "F2"),
    ("release-rule-of-an-ancestor", case(consent(node("permit")), request=request(org="coin", role="billing", purpose="HPAYMT"), document=document(custodian="lake-eye", labels=["HIV"])), "O1"),
    ("release-rule-exception", case(request=request(org="hill"), document=document(custodian="lake-mind", labels=["PSY"])), "F1"),
    ("release-rule-from-a-level", case(consent(node("permit", securityLabel=labels("V"))), request=request(org="study", role="researcher", purpose="HRESCH"), document=document(confidentiality="V")), "O1"),
    # directives: time
    ("before-its-date", case(consent(node("deny"), dateTime="2026-06-16")), "F1"),
    ("on-its-date-in-the-patients-zone", case(consent(node("deny"), dateTime="2026-06-15"), now="2026-06-15T04:00:00Z"), "D3"),
    ("a-moment-before-its-date", case(consent(node("deny"), dateTime="2026-06-15"), now="2026-06-15T03:59:59.999Z"), "F1"),
    ("date-of-the-day-of-the-clock-change", case(consent(node("deny", period={"end": "2026-03-08"})), now="2026-03-09T03:59:59Z"), "D3"),
    ("after-the-day-of-the-clock-change", case(consent(node("deny", period={"end": "2026-03-08"})), now="2026-03-09T04:00:00Z"), "F1"),
    ("unreadable-date-denies", case(consent(node("permit"), dateTime="2026-13-01")), "D3"),
    ("time-without-offset-denies", case(consent(node("permit"), dateTime="2026-01-01T10:00:00")), "D3"),
    ("unreadable-root-period-stays-in-force", case(consent(node("permit", period={"end": "2020-02-30"}))), "D3"),
    ("unreadable-nested-date-denies", case(consent(node("permit", node("permit", dataPeriod={"start": "x"})))), "D3"),
    ("unintelligible-but-expired", case(consent(node("permit", node("maybe"), period={"end": "2026-06-14"}))), "F1"),
    ("unintelligible-but-not-yet", case(consent(node(None), dateTime="2027")), "F1"),
    ("nested-period-over", case(consent(node("permit", node("deny", period={"end": "2026-06-14"})))), "D6"),
    ("nested-period-now", case(consent(node("permit", node("deny", period={"end": "2026-06-15"})))), "D3"),
    ("of-another-patient", case(consent(node("deny"), patient="bea")), "F1"),
    ("of-a-linked-id", case(consent(node("deny"), patient="ada-old")), "D3"),
    ("research-scope-for-treatment", case(consent(node("deny"), scope={"coding": [fx.coding("consentscope", "research")]})), "F1"),
    # base decision
    ("opt-in-code", case(consent(policyRule=rule("OPTINR"))), "D6"),
    ("opt-out-code", case(consent(policyRule=rule("OPTOUTE"))), "D3"),
    ("in-and-out", case(consent(node("permit"), policyRule=rule("OPTIN", "OPTOUT"))), "D3"),
    ("type-agrees-with-code", case(consent(node("permit"), policyRule=rule("OPTIN"))), "D6"),
    ("type-against-code", case(consent(node("permit"), policyRule=rule("OPTOUT"))), "D3"),
    ("no-base", case(consent({"purpose": purposes("TREAT")})), "D3"),
    ("code-of-another-system-is-no-base", case(consent(policyRule={"coding": [{"system": "urn:x", "code": "OPTIN"}]})), "D3"),
    # nesting
    ("permit-under-deny", case(consent(node("deny", node("permit", actor=to("Organization/hill"))))), "D6"),
    ("sibling-deny-wins", case(consent(node("permit", node("permit"), node("deny")))), "D3"),
    ("permit-below-permit-below-deny", case(consent(node("deny", node("permit", node("deny", securityLabel=labels("R")))))), "D6"),
    ("weak-deny-beats-default", case(consent(node("permit", securityLabel=labels("L")))), "D7"),
    ("root-deny-outside-its-content-says-nothing", case(consent(node("deny", securityLabel=labels("R")))), "F1"),
    ("root-that-does-not-apply-hides-its-children", case(consent(node("permit", node("deny"), purpose=purposes("HRESCH")))), "F1"),
    ("permit-beats-weak-deny", case(consent(node("permit", securityLabel=labels("L"))), consent(node("permit"))), "D6"),
    ("deny-beats-permit", case(consent(node("permit")), consent(node("deny"))), "D3"),
    # criteria
    ("ancestor-purpose-in-a-permit", case(consent(node("permit", purpose=purposes("TREAT"))), request=request(purpose="ERTREAT")), "D6"),
    ("descendant-purpose-does-not-match", case(consent(node("deny", purpose=purposes("ETREAT")))), "F1"),
    ("purpose-of-another-system", case(consent(node("deny", purpose=[{"system": "urn:x", "code": "TREAT"}]))), "F1"),
    ("purpose-by-oid", case(consent(node("deny", purpose=[{"system": "urn:oid:2.16.840.1.113883.5.8", "code": "TREAT"}]))), "D3"),
    ("access-denied", case(consent(node("permit", node("deny", action=[{"coding": [fx.coding("consentaction", "access")]}])))), "D3"),
    ("disclose-between-organizations", case(consent(node("permit", node("deny", action=[{"coding": [fx.coding("consentaction", "disclose")]}])))), "D3"),
    ("use-is-not-retrieve", case(consent(node("permit", node("deny", action=[{"coding": [fx.coding("consentaction", "use")]}])))), "D6"),
    ("use-is-bulk", case(consent(node("permit", node("deny", action=[{"coding": [fx.coding("consentaction", "use")]}]))), request=request(operation="bulk")), "D3"),
    ("correct-is-update", case(consent(node("permit", node("deny", action=[{"coding": [fx.coding("consentaction", "correct")]}]))), request=request(operation="update")), "D3"),
    ("disclose-is-not-register", case(consent(node("permit", node("deny", action=[{"coding": [fx.coding("consentaction", "disclose")]}]))), request=request(operation="register")), "D6"),
    ("ancestor-organization", case(consent(node("deny", actor=to("Organization/lake"))), request=request(org="lake-eye"), document=document(custodian="hill")), "D3"),
    ("descendant-organization-does-not-match", case(consent(node("deny", actor=to("Organization/lake-eye"))), request=request(org="lake"), document=document(custodian="hill")), "F1"),
    ("primary-recipient", case(consent(node("deny", actor=[actor("PRCP", reference="Practitioner/ivo")]))), "D3"),
    ("care-team", case(consent(node("deny", actor=to("CareTeam/t1"))), request=request(careTeams=["CareTeam/t1"])), "D3"),
    ("team-cannot-pose-as-organization", case(consent(node("permit", actor=to("Organization/lake"))), request=request(careTeams=["Organization/lake"])), "F1"),
    ("user-cannot-pose-as-organization", case(consent(node("permit", actor=to("Organization/lake"))), request=request(user="Organization/lake")), "F1"),
    ("identifier-of-an-ancestor", case(consent(node("deny", actor=[actor("IRCP", identifier={"system": "urn:oid:2.999.7", "value": "lake"})])), request=request(org="lake-eye"), document=document(custodian="hill")), "D3"),
    ("by-role", case(consent(node("deny", actor=[actor("IRCP", identifier={"system": "urn:hie:role", "value": "physician"})]))), "D3"),
    ("by-inherited-type", case(consent(node("deny", actor=[actor("IRCP", identifier={"system": "urn:hie:org-type", "value": "hospital"})])), request=request(org="lake-eye"), document=document(custodian="hill")), "D3"),
    ("two-of-a-kind-are-alternatives", case(consent(node("deny", actor=to("Organization/x") + to("Organization/hill")))), "D3"),
    ("different-kinds-must-all-match", case(consent(node("deny", actor=[*to("Organization/hill"), actor("CST", reference="Organization/shore")]))), "F1"),
    ("custodian-by-ancestor", case(consent(node("deny", actor=[actor("CST", reference="Organization/lake")])), document=document(custodian="lake-eye")), "D3"),
    ("author", case(consent(node("deny", actor=[actor("AUT", reference="Practitioner/una")])), document=document(authors=["Practitioner/una"])), "D3"),
    ("another-author", case(consent(node("deny", actor=[actor("AUT", reference="Practitioner/una")])), document=document(authors=["Practitioner/ivo"])), "F1"),
    ("other-role-in-a-permit", case(consent(node("permit", actor=[actor("TRC", reference="Organization/hill")]))), "F1"),
    ("other-role-in-a-deny", case(consent(node("deny", actor=[actor("TRC", reference="Organization/x")]))), "D3"),
    ("other-role-beside-a-recipient-that-differs", case(consent(node("deny", actor=[actor("TRC", reference="Organization/x"), *to("Organization/x")]))), "F1"),
    ("class", case(consent(node("deny", **{"class": [{"system": "http://loinc.org", "code": "34133-9"}]}))), "D3"),
    ("another-class", case(consent(node("deny", **{"class": [{"system": "http://loinc.org", "code": "34133-8"}]}))), "F1"),
    ("code", case(consent(node("deny", code=[{"coding": [{"system": "urn:s", "code": "1"}]}])), document=document(codes=["urn:s|1"])), "D3"),
    ("permit-letter-and-label-both-needed", case(consent(node("permit", securityLabel=labels("R", "PSY"))), document=document(labels=["HIV"])), "D7"),
    ("permit-letter-and-label-both-there", case(consent(node("permit", securityLabel=labels("R", "MH"))), document=document(labels=["PSY"])), "D6"),
    ("permit-letter-too-low-for-the-floor", case(consent(node("permit", securityLabel=labels("N", "PSY"))), document=document(labels=["PSY"])), "D7"),
    ("permit-of-unknown-labels-only", case(consent(node("permit", securityLabel=labels("WHAT")))), "D7"),
    ("deny-any-label-suffices", case(consent(node("permit", node("deny", securityLabel=labels("V", "HIV")))), document=document(labels=["HIV"])), "D3"),
    ("deny-letter-above", case(consent(node("permit", node("deny", securityLabel=labels("R"))))), "D6"),
    ("deny-label-of-the-unlabelled", case(consent(node("permit", node("deny", securityLabel=labels("HIV")))), document=document(labelled=False)), "D3"),
    ("permit-label-of-the-unlabelled", case(consent(node("permit", securityLabel=labels("HIV"))), document=document(labelled=False)), "D7"),
    ("data-instance", case(consent(node("permit", node("deny", data=[{"meaning": "instance", "reference": {"reference": "DocumentReference/d"}}])))), "D3"),
    ("data-instance-of-another", case(consent(node("permit", node("deny", data=[{"meaning": "instance", "reference": {"reference": "DocumentReference/e"}}])))), "D6"),
    ("data-related-by-encounter", case(consent(node("permit", node("deny", data=[{"meaning": "related", "reference": {"reference": "Encounter/e"}}]))), document=document(encounter="Encounter/e")), "D3"),
    ("data-dependents", case(consent(node("permit", node("deny", data=[{"meaning": "dependents", "reference": {"reference": "DocumentReference/x"}}]))), document=document(dependsOn=["DocumentReference/x"])), "D3"),
    ("data-authored", case(consent(node("permit", node("deny", data=[{"meaning": "authoredby", "reference": {"reference": "Practitioner/una"}}]))), document=document(authors=["Practitioner/una"])), "D3"),
    ("data-period-touching-does-not-overlap", case(consent(node("permit", node("deny", dataPeriod={"end": "2026-04"}))), document=document(serviceStart="2026-05-01")), "D6"),
    ("data-period-without-any-time-in-a-deny", case(consent(node("permit", node("deny", dataPeriod={"end": "2020"}))), document=document(created=None)), "D3"),
    ("data-period-without-any-time-in-a-permit", case(consent(node("permit", dataPeriod={"start": "2020"})), document=document(created=None)), "D7"),
    ("data-period-exactly-the-day", case(consent(node("permit", dataPeriod={"start": "2026-05-01", "end": "2026-05-01"})), document=document(serviceStart="2026-05-01")), "D6"),
    # explicit consent, V
    ("covered-by-label-and-purpose", case(consent(node("permit", securityLabel=labels("SUD", "42CFRPart2"), purpose=purposes("TREAT"))), document=PART2), "D6"),
    ("label-without-purpose", case(consent(node("permit", securityLabel=labels("42CFRPart2"))), document=PART2), "D4"),
    ("purpose-on-another-node-of-the-path", case(consent(node("permit", node("permit", securityLabel=labels("42CFRPart2")), purpose=purposes("TREAT"))), document=PART2), "D6"),
    ("covered-by-policy-code", case(consent(node("permit", purpose=purposes("TREAT")), policyRule=rule("42CFRPart2CD")), document=PART2), "D6"),
    ("each-rule-needs-its-cover", case(consent(node("permit", securityLabel=labels("42CFRPart2"), purpose=purposes("TREAT"))), document=PART2 | {"labels": ["PSYTHPN"]}), "D4"),
    ("two-consents-cover-two-rules", case(consent(node("permit", securityLabel=labels("42CFRPart2"), purpose=purposes("TREAT"))), consent(node("permit", securityLabel=labels("PSYTHPN"), purpose=purposes("TREAT"))), document=PART2 | {"labels": ["PSYTHPN"]}), "D6"),
    ("v-listed-on-the-path", case(consent(node("permit", securityLabel=labels("V"))), document=document(confidentiality="V")), "D6"),
    ("v-listed-off-the-path", case(consent(node("permit", node("permit", securityLabel=labels("V"), actor=to("Organization/x")))), document=document(confidentiality="V")), "D5"),
    # default
    ("missing-letter-counts-as-r", case(consent(node("permit", securityLabel=labels("N"))), document=document(confidentiality=None)), "D7"),
    ("default-below-its-ceiling", case(document=document(confidentiality="R")), "F1"),
    ("default-excludes-a-descendant-free-label", case(document=document(labels=["VIO"])), "F1"),
    ("opt-in-custodian", case(document=document(custodian="mer")), "F3"),
    ("unlabelled-under-the-default", case(document=document(labelled=False)), "F2"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "expected"), [pytest.param(q, r, id=i) for i, q, r in TABLE])
def test_the_rule_that_decides(question: dict[str, Any], expected: str) -> None:
    assert decide_case(question, FIXTURE)["rule"] == expected


@pytest.mark.parametrize("question", [pytest.param(q, id=i) for i, q, _ in TABLE])
def test_the_slow_evaluator_says_the_same(question: dict[str, Any]) -> None:
    assert decide_case(question, FIXTURE) == slow_evaluator.evaluate(fx.FIXTURE, question)


OBLIGATIONS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("default-for-treatment", case(), []),
    ("default-for-operations", case(request=request(purpose="HOPERAT")), ["MINEC"]),
    ("permit-for-payment", case(consent(node("permit")), request=request(org="coin", role="billing", purpose="COVERAGE")), ["MINEC"]),
    ("permit-for-research", case(consent(node("permit")), request=request(org="study", role="researcher", purpose="BIORCH")), ["NORELINK"]),
    ("mandate", case(request=request(org="watch", role="public-health-officer", purpose="PUBHLTH"), document=document(codes=["http://snomed.info/sct|56717001"])), ["ACCOUNT"]),
    ("own", case(request=request(org="lake", purpose="HOPERAT")), []),
    ("emergency", case(request=emergency()), ["NOREUSE", "NOTIFY-PATIENT", "REVIEW"]),
    ("emergency-part-2", case(request=emergency(), document=PART2), ["NORDSCLCD", "NOREUSE", "NOTIFY-PATIENT", "PART2-NOTICE", "REVIEW"]),
    ("emergency-v-by-name", case(consent(node("permit", securityLabel=labels("V"))), request=emergency(), document=document(confidentiality="V")), ["NOREUSE", "NOTIFY-PATIENT", "REVIEW"]),
    ("part-2-all-of-tpo", case(consent(node("permit", securityLabel=labels("SUD", "42CFRPart2"), purpose=purposes("TREAT", "HPAYMT", "HOPERAT"))), document=PART2), ["PART2-NOTICE", "REDISCLOSE-HIPAA"]),
    ("part-2-tpo-over-two-nodes", case(consent(node("permit", node("permit", purpose=purposes("TREAT", "HPAYMT")), securityLabel=labels("42CFRPart2"), purpose=purposes("TREAT", "HOPERAT"))), document=PART2), ["NORDSCLCD", "PART2-NOTICE"]),
    ("deny-has-none", case(consent(node("deny")), request=request(purpose="HOPERAT")), []),
]  # fmt: skip


@pytest.mark.parametrize(("question", "expected"), [pytest.param(q, o, id=i) for i, q, o in OBLIGATIONS])
def test_obligations_that_go_with_a_decision(question: dict[str, Any], expected: list[str]) -> None:
    assert decide_case(question, FIXTURE)["obligations"] == expected
