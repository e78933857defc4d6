"""Who is told a decision, and that everybody else hears of a hidden thing what he hears of one that does not exist."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from consent import directives
from documents import queries as registry
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.directory.models import Agreement, Participant
from hie.exchange import access, decisions, replay, who_could_see
from hie.exchange.decisions import OrganizationNamed, Question
from hie.exchange.named_patients import PatientNamed
from tests.consent import fixture as fx
from tests.decisions import asking
from tests.decisions.asking import CDS, FHIR, XACML
from tests.decisions.loaded import Hub, caller, lake
from tests.exchange import releasing
from tests.grounds import ground
from tests.leaks.answers import answer as compared

pytestmark = pytest.mark.django_db
ABSENT = "0d0e3f0a-0000-4000-8000-000000000000"


@ground
def lake_with_a_point() -> Hub:
    return lake(points=frozenset({"call"}))


@pytest.fixture
def hub(lake_with_a_point: Hub) -> Hub:
    return lake_with_a_point


def file(hub: Hub, provision: Any) -> None:
    directives.import_unchecked(hub.in_hub(fx.consent(provision)), identifier_pk=hub.pk("ada"), actor="test")


def ask(hub: Hub, token: str, request: Any, documents: Any = (), person: str = "", **more: Any) -> Any:
    return asking.post(FHIR, asking.parameters(person or hub.persons["ada"], request, list(documents), **more), token)


def identifier(hub: Hub, patient: str = "ada") -> tuple[str, str]:
    return f"urn:oid:{hub.authority(hub.holder('JA'))}", patient


def of(hub: Hub, organization: str = "coin", **changes: Any) -> dict[str, Any]:
    return fx.request(org=organization, **changes)


PAYER = {"role": "billing", "purpose": "HPAYMT"}


def oid(organization: str) -> str:
    row = Participant.objects.filter(id=organization).first()
    return f"urn:oid:{row.organization_oid if row is not None else '2.999.99'}"


def test_the_custodian_is_told_about_its_own_and_not_about_others(hub: Hub) -> None:
    own, other = hub.document(fx.document(custodian="hill")), hub.document(fx.document(custodian="lake"))
    file(hub, fx.node("deny", actor=fx.to("Organization/coin")))
    hill = hub.token("hill")
    answer = ask(hub, hill, of(hub, **PAYER), [own, other])
    assert [one["rule"] for one in asking.told(answer)] == ["D3"]
    assert json.dumps(answer.json()).count(other) == 0
    assert compared(ask(hub, hill, of(hub, **PAYER), [own])) == compared(
        ask(hub, hill, of(hub, **PAYER), [own, ABSENT])
    )
    assert compared(answer) == compared(ask(hub, hill, of(hub, **PAYER), [own, ABSENT]))


def test_a_decision_point_is_told_all_and_loses_it_with_its_agreement(hub: Hub) -> None:
    entry = hub.document(fx.document())
    file(hub, fx.node("deny"))
    token = hub.token("call")
    # What the caller itself must state (a relationship) is asked of it as of any other.
    assert ask(hub, token, of(hub, "hill"), [entry]).status_code == 403
    Participant.objects.filter(id="call").update(requires_relationship=False)
    assert asking.told(ask(hub, token, of(hub, "hill"), [entry]))[0]["rule"] == "D3"
    # Nobody who signs in there is told.
    person = hub.token("call", subject_id="Practitioner/eve")
    assert ask(hub, person, of(hub, "hill"), [entry]).status_code == 404
    Agreement.objects.filter(participant_id="call").update(decision_point=False)
    assert ask(hub, token, of(hub, "hill"), [entry]).status_code == 404


def test_the_patient_is_told_about_whoever_he_asks_and_only_of_what_he_may_see(hub: Hub) -> None:
    seen, withheld = hub.document(fx.document()), hub.document(fx.document(labels=["NOPAT"]))
    token = hub.token(
        "door", subject_id=f"Patient/{hub.persons['ada']}", subject_role="patient", purpose_of_use=["PATRQT"]
    )
    told = asking.told(ask(hub, token, of(hub, **PAYER), [seen, withheld]))
    assert [(one["decision"], one["rule"]) for one in told] == [("permit", "F1")]
    absent = ask(hub, token, of(hub, **PAYER), [ABSENT])
    assert compared(ask(hub, token, of(hub, **PAYER), [withheld])) == compared(absent)
    other = hub.token(
        "door", subject_id=f"Patient/{hub.persons['kit']}", subject_role="patient", purpose_of_use=["PATRQT"]
    )
    assert compared(ask(hub, other, of(hub, **PAYER), [seen])) == compared(absent)


def test_a_helper_at_a_custodians_portal_hears_of_what_he_may_see_and_not_of_what_the_house_holds(hub: Hub) -> None:
    holder = hub.holder("JA")
    own = hub.document(fx.document(custodian=holder))
    hub.grants({"request": {"proxyGrant": {
        "person": "RelatedPerson/sam", "patient": "ada", "kind": "attorney", "status": "active", "maxConfidentiality": "N",
    }}})  # fmt: skip
    withheld = hub.document(fx.document(custodian=holder, confidentiality="R"))
    Agreement.objects.filter(participant_id=holder).update(purposes=["FAMRQT"])
    helper = {"subject_role": "proxy", "purpose_of_use": ["FAMRQT"]}
    sam = hub.token(holder, subject_id="RelatedPerson/sam", **helper)
    assert len(asking.told(ask(hub, sam, of(hub, **PAYER), [own, withheld]))) == 1
    absent = compared(ask(hub, sam, of(hub, **PAYER), [ABSENT]))
    assert absent[0] == 404
    stranger = hub.token(holder, subject_id="RelatedPerson/eve", **helper)
    stated = [asking.reference_of(fx.document(custodian=holder))]
    for token, documents in ((sam, [withheld]), (sam, stated), (stranger, [own]), (stranger, stated), (stranger, [])):
        assert compared(ask(hub, token, of(hub, **PAYER), documents)) == absent


def test_with_the_patient_the_patients_own_access_is_decided_to_have_ended(hub: Hub) -> None:
    holder = hub.holder("JA")
    own = hub.document(fx.document(custodian=holder))
    hub.grants({"request": {"proxyGrant": {
        "person": "RelatedPerson/sam", "patient": "ada", "kind": "attorney", "status": "active",
    }}})  # fmt: skip
    ada = of(hub, "door", user=f"Patient/{hub.persons['ada']}", role="patient", purpose="PATRQT")
    sam = of(hub, "door", user="RelatedPerson/sam", role="proxy", purpose="FAMRQT")

    def rules() -> list[str]:
        about = access.subject(hub.persons["ada"])
        (facts,) = [one.facts(about.person_id) for one in registry.entries(about.identifier_pks)]
        answers = who_could_see.groups(about, facts)
        assert (
            any(
                answer.decision.permitted
                for answer in answers
                if answer.block.person == "RelatedPerson/sam" or "patient" in answer.block.roles
            )
            is not about.facts.deceased
        )
        token = hub.token(holder)
        return [asking.told(ask(hub, token, who, [own]))[0]["rule"] for who in (ada, sam)]

    assert rules() == ["P3", "P9"]
    hub.dies("ada")
    assert access.subject(hub.persons["ada"]).facts.deceased
    assert rules() == ["P4", "P4"]


def test_anybody_else_may_ask_about_itself_alone_and_hears_of_what_it_may_see(hub: Hub) -> None:
    seen, hidden = (
        hub.document(fx.document(custodian="lake")),
        hub.document(fx.document(custodian="lake", labels=["PSY"])),
    )
    file(hub, fx.node("permit", fx.node("deny", securityLabel=fx.labels("PSY"))))
    token = hub.token("hill")
    assert [one["rule"] for one in asking.told(ask(hub, token, None, [seen]))] == ["D6"]
    assert [one["rule"] for one in asking.told(ask(hub, token, of(hub, "hill"), [seen, hidden]))] == ["D6"]
    absent = compared(ask(hub, token, None, [ABSENT]))
    for question in (
        ask(hub, token, None, [hidden]),
        ask(hub, token, of(hub, **PAYER), [seen]),
        ask(hub, token, of(hub, "hill", user="Practitioner/other"), [seen]),
        ask(hub, token, of(hub, "hill", role="nurse"), [seen]),
        ask(hub, token, of(hub, "hill", purpose="HOPERAT"), [seen]),
        ask(hub, token, of(hub, "hill", relationship="encounter"), [seen]),
        ask(hub, token, of(hub, "hill", operation="bulk"), [seen]),
        ask(hub, token, None, [seen], now="2026-06-15T12:00:00Z"),
        ask(hub, token, None, [asking.reference_of(fx.document(custodian="lake"))]),
        ask(hub, token, None, [asking.reference_of(fx.document(custodian="hill"))]),
        ask(hub, token, None, [seen], person=ABSENT),
        ask(hub, token, None, [], person=ABSENT),
    ):
        assert compared(question) == absent
    assert absent[0] == 404


def test_a_holder_of_no_record_of_the_patient_cannot_try_out_choices_with_documents_of_its_own(hub: Hub) -> None:
    holder = hub.holder("JA")
    stated = [asking.reference_of(fx.document(custodian=holder))]
    assert asking.told(ask(hub, hub.token(holder), of(hub, **PAYER), stated))
    mine = [asking.reference_of(fx.document(custodian="shore"))]
    file(hub, fx.node("deny"))
    shore = hub.token("shore")
    assert compared(ask(hub, shore, of(hub, **PAYER), mine)) == compared(
        ask(hub, shore, of(hub, **PAYER), mine, person=ABSENT)
    )


FACES = ("fhir", "cds", "xacml")


def every_face(hub: Hub, token: str, request: Any, document: str | None, patient: str) -> list[Any]:
    person = hub.persons.get(patient, ABSENT)
    of_kind = None if request is None else request | {"org": oid(request["org"])}
    asked = asking.consult(identifier(hub, patient), of_kind)
    asked["hookInstance"] = "one"
    return [
        compared(asking.post(FHIR, asking.parameters(person, request, [document] if document else []), token)),
        compared(asking.post(CDS, asked, token)),
        compared(asking.post(XACML, asking.xacml(person, request, document), token)),
    ]


@pytest.mark.parametrize(
    "request_", [None, fx.request(org="coin", **PAYER), fx.request(purpose="NONSENSE"), fx.request(org="nowhere")]
)
def test_hidden_and_absent_are_one_answer_on_every_face_in_body_status_and_headers(hub: Hub, request_: Any) -> None:
    hidden = hub.document(fx.document(custodian="lake", confidentiality="V"))
    file(hub, fx.node("deny"))
    token = hub.token("hill")
    absent = every_face(hub, token, request_, ABSENT, "nobody")
    assert every_face(hub, token, request_, hidden, "ada") == absent
    assert every_face(hub, token, request_, None, "ada") == every_face(hub, token, request_, None, "nobody")
    assert [status for status, _, _ in absent] == [404, 200, 200]
    assert json.loads(absent[1][2]) == {"cards": []}
    assert json.loads(absent[2][2])["Response"][0]["Decision"] == "Indeterminate"


def test_refusals_from_the_caller_alone_come_before_any_record(hub: Hub) -> None:
    hub.document(fx.document())
    for stated, status in (({"purpose_of_use": ["HMARKT"]}, 403), ({"subject_role": "clerk"}, 403)):
        token = hub.token("hill", **stated)
        for person in (hub.persons["ada"], ABSENT):
            assert ask(hub, token, of(hub), [], person=person).status_code == status
    read_only = hub.token("hill", scope="system/Patient.rs")
    for path, body in (
        (FHIR, asking.parameters(ABSENT, None)),
        (CDS, asking.consult(("urn:oid:1.2", "x"), None)),
        (XACML, asking.xacml(ABSENT, None, None)),
    ):
        assert asking.post(path, body, read_only).status_code == 403
        refused = asking.post(path, body, None)
        assert (refused.status_code, "WWW-Authenticate" in refused.headers) == (401, True)


def test_guesses_count_alike_for_hidden_and_absent(hub: Hub, settings: Any) -> None:
    settings.GUESSING_PER_MINUTE = 3
    hidden = hub.document(fx.document(custodian="lake", confidentiality="V"))
    for documents in ([hidden], [ABSENT]):
        token = hub.token(
            "coin", subject_id=f"Practitioner/{documents[0][:6]}", subject_role="billing", purpose_of_use=["HPAYMT"]
        )
        statuses = [ask(hub, token, None, documents).status_code for _ in range(5)]
        assert statuses == [404, 404, 404, 429, 429]


def test_each_decision_leaves_an_event_with_a_record_that_comes_out_again(hub: Hub) -> None:
    entry = hub.document(fx.document(custodian="hill", confidentiality="R"))
    hill = hub.token("hill")
    real = ask(hub, hill, of(hub, **PAYER), [entry])
    tried = ask(hub, hill, of(hub, **PAYER), [entry], now="2030-01-01T00:00:00Z")
    for answer, kind, mode in ((real, "consent-decision", "decide"), (tried, "decision-simulated", "simulate")):
        given = {one["name"]: one for one in answer.json()["parameter"]}
        event = AuditEvent.objects.get(id=given["id"]["valueString"])
        assert (event.kind, event.outcome, str(event.person_id)) == (kind, 0, hub.persons["ada"])
        assert (event.decision["mode"], given["mode"]["valueCode"]) == (mode, mode)
        assert event.decision["request"]["org"] == "coin"
        assert replay.decide_again(str(event.id), event.decision).outcome == "same"
        # The requester of the question is not who asked it: that is the caller of the event.
        assert (event.organization, event.user) == ("hill", "Practitioner/ivo")
        assert not event.disclosures.exists()
    asking.post(XACML, asking.xacml(ABSENT, None, ABSENT), hill)
    refused = AuditEvent.objects.filter(outcome=4, kind="consent-decision").latest("at")
    assert (refused.person_id, refused.decision) == (None, {})


def test_a_hidden_attempt_stands_in_the_patients_log_refused(hub: Hub) -> None:
    hidden = hub.document(fx.document(custodian="lake", confidentiality="V"))
    token = hub.token("coin", subject_role="billing", purpose_of_use=["HPAYMT"])
    assert ask(hub, token, None, [hidden]).status_code == 404
    event = AuditEvent.objects.filter(kind="consent-decision").latest("at")
    assert (event.outcome, str(event.person_id)) == (4, hub.persons["ada"])


def test_a_class_is_permitted_when_some_are_with_a_redaction_that_takes_out_the_rest(hub: Hub) -> None:
    Participant.objects.filter(id="call").update(requires_relationship=False)
    token = hub.token("call")
    hub.document(fx.document(**{"class": ["http://loinc.org|11506-3"]}))
    hub.document(fx.document(labels=["PSY"], confidentiality="R", **{"class": ["http://loinc.org|11506-3"]}))
    hub.document(fx.document(custodian="mer", **{"class": ["http://loinc.org|11506-3"]}))
    hub.document(fx.document(labels=["HIV"], confidentiality="R"))
    file(
        hub,
        fx.node(
            "permit",
            fx.node("deny", securityLabel=fx.labels("PSY")),
            fx.node("deny", actor=[fx.actor("CST", reference="Organization/mer")]),
        ),
    )
    asked = asking.consult(
        identifier(hub),
        of(hub, "hill") | {"org": oid("hill")},
        **{"class": [{"system": "http://loinc.org", "code": "11506-3"}]},
    )
    (card,) = asking.post(CDS, asked, token).json()["cards"]
    assert (card["summary"], card["indicator"]) == ("CONSENT_PERMIT", "warning")
    (redact,) = card["extension"]["obligations"]
    assert redact["id"]["code"] == "REDACT"
    codes = {(one["system"], one["code"]) for one in redact["parameters"]["codes"]}
    assert ("http://terminology.hl7.org/CodeSystem/v3-ActCode", "PSY") in codes
    assert ("http://loinc.org", "11506-3") not in codes
    # Nothing but the holder tells the third from the first: so it is named itself.
    assert [system for system, _ in codes].count("urn:ietf:rfc:3986") == 1
    assert all(code != "HIV" for _, code in codes)
    nothing = asking.consult(
        identifier(hub),
        of(hub, "hill") | {"org": oid("hill")},
        **{"class": [{"system": "http://loinc.org", "code": "1-8"}]},
    )
    (card,) = asking.post(CDS, nothing, token).json()["cards"]
    assert card["summary"] == "CONSENT_PERMIT"
    # Of a set of which some are denied no single Permit is given.
    (result,) = asking.post(XACML, asking.xacml(hub.persons["ada"], of(hub, "hill"), None), token).json()["Response"]
    assert result["Decision"] == "Indeterminate"


def test_what_is_behind_the_first_page_is_decided_too_and_a_set_too_large_to_decide_is_never_permitted(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decisions, "MAX_DOCUMENTS", 2)
    hill = hub.token("hill")
    hub.document(fx.document(custodian="hill", confidentiality="V", **{"class": ["http://loinc.org|11506-3"]}))
    for _ in range(2):
        hub.document(fx.document(custodian="hill"))
    summary = {"class": [{"system": "http://loinc.org", "code": "11506-3"}]}
    asked = asking.consult(identifier(hub), of(hub, **PAYER) | {"org": oid("coin")}, **summary)
    (card,) = asking.post(CDS, asked, hill).json()["cards"]
    assert card["summary"] == "CONSENT_DENY"
    # Three are meant: neither form permits by the two newest.
    assert ask(hub, hill, of(hub, **PAYER)).status_code == 422
    (result,) = asking.post(XACML, asking.xacml(hub.persons["ada"], of(hub, **PAYER), None), hill).json()["Response"]
    assert result["Decision"] == "Indeterminate"
    # Who may be told of none of them is not told of their number either.
    shore = hub.token("shore")
    assert compared(ask(hub, shore, of(hub, **PAYER))) == compared(ask(hub, shore, of(hub, **PAYER), person=ABSENT))


def test_nothing_on_file_is_no_permit_for_whatever_may_come(hub: Hub) -> None:
    holder = hub.holder("JA")
    token = hub.token(holder)
    person = hub.persons["ada"]
    for request in (of(hub, **PAYER), of(hub, holder)):
        assert ask(hub, token, request).status_code == 404
        (result,) = asking.post(XACML, asking.xacml(person, request, None), token).json()["Response"]
        assert result["Decision"] == "Indeterminate"
    asked = asking.consult(identifier(hub), of(hub, holder) | {"org": oid(holder)})
    assert asking.post(CDS, asked, token).json() == {"cards": []}


def test_what_a_stated_document_was_made_from_is_never_taken_for_less_than_it_may_be(hub: Hub) -> None:
    holder = hub.holder("JA")
    token = hub.token(holder)
    source = fx.document(custodian=holder)
    stated = asking.reference_of(fx.document(custodian=holder, derivedFrom=[source]))
    assert asking.told(ask(hub, token, of(hub, **PAYER), [stated]))[0]["rule"] == "F1"
    # Of another patient.
    stated["contained"][0]["subject"] = {"reference": f"Patient/{hub.persons['kit']}"}
    assert asking.told(ask(hub, token, of(hub, **PAYER), [stated]))[0]["decision"] == "deny"
    # Not described: a directive that keeps back what is very restricted reaches it.
    unknown = stated | {"relatesTo": [{"code": "transforms", "target": {"reference": "DocumentReference/elsewhere"}}]}
    del unknown["contained"]
    file(hub, fx.node("permit", fx.node("deny", securityLabel=fx.labels("V"))))
    (told,) = asking.told(ask(hub, token, of(hub, **PAYER), [unknown]))
    assert told["decision"] == "deny"
    many = unknown | {"relatesTo": [{"code": "appends", "target": {"reference": "DocumentReference/x"}}] * 51}
    assert ask(hub, token, of(hub, **PAYER), [many]).status_code == 400


def test_the_event_of_a_decision_is_of_the_root_of_whoever_asked(hub: Hub) -> None:
    entry = hub.document(fx.document(custodian="hill"))
    asking.told(ask(hub, hub.token("hill"), of(hub, **PAYER), [entry]))
    event = AuditEvent.objects.filter(kind="consent-decision").latest("at")
    assert (event.root_organization, event.decision["request"]["org"]) == (directory.root_of("hill"), "coin")


def test_the_time_of_the_request_is_no_simulation_and_another_time_is_one(hub: Hub) -> None:
    entry = hub.document(fx.document(custodian="hill"))
    token = hub.token("hill")
    for away, kind in ((timedelta(seconds=20), "consent-decision"), (timedelta(minutes=2), "decision-simulated")):
        when = (access.now() - away).isoformat()
        asking.post(XACML, asking.xacml(hub.persons["ada"], of(hub, **PAYER), entry, when), token)
        assert AuditEvent.objects.latest("at").kind == kind


def test_only_a_relationship_that_a_token_may_state_counts_as_one(hub: Hub) -> None:
    entry = hub.document(fx.document(custodian="hill"))
    hill = hub.token("hill")
    for relationship, rule in (("encounter", "F1"), ("none", "G6"), ("", "G6")):
        asked = of(hub, "call", relationship=relationship)
        assert asking.told(ask(hub, hill, asked, [entry]))[0]["rule"] == rule


def test_the_category_of_consents_narrows_no_question(hub: Hub) -> None:
    Participant.objects.filter(id="call").update(requires_relationship=False)
    hub.document(fx.document(confidentiality="V"))
    category = [{"system": "http://loinc.org", "code": "59284-0"}]
    asked = asking.consult(identifier(hub), of(hub, "hill") | {"org": oid("hill")}, category=category)
    (card,) = asking.post(CDS, asked, hub.token("call")).json()["cards"]
    assert (card["summary"], card["extension"]["rule"]) == ("CONSENT_DENY", "D5")


def test_an_emergency_or_a_helper_is_decided_by_the_grants_in_store(hub: Hub) -> None:
    Participant.objects.filter(id="call").update(requires_relationship=False)
    token = hub.token("call")
    entry = hub.document(fx.document())
    file(hub, fx.node("deny"))
    case = {"request": fx.emergency(), "patient": "ada"}
    during = "2026-06-15T12:00:00Z"
    assert asking.told(ask(hub, token, fx.emergency(), [entry], now=during))[0]["rule"] == "G7"
    hub.grants(case)
    assert asking.told(ask(hub, token, fx.emergency(), [entry], now=during))[0]["rule"] == "D2"
    other = fx.emergency() | {"user": "Practitioner/other"}
    assert asking.told(ask(hub, token, other, [entry], now=during))[0]["rule"] == "G7"


@pytest.mark.django_db(transaction=True)
def test_a_change_between_decision_and_release_is_decided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = lake()
    entry = hub.document(fx.document(custodian="hill"))
    question = Question(
        patient=(PatientNamed(id=hub.persons["ada"]),),
        organization=OrganizationNamed(id="coin"),
        role="billing",
        purpose="HPAYMT",
        documents=(entry,),
    )
    assert decisions.decide(question, caller=caller("hill")).decision == "permit"
    real, changed = access.decision_of, []

    def meanwhile(*args: Any, **kwargs: Any) -> Any:
        if not changed:
            changed.append(True)
            releasing.apart(lambda: file(hub, fx.node("deny")))
        return real(*args, **kwargs)

    monkeypatch.setattr(access, "decision_of", meanwhile)
    assert decisions.decide(question, caller=caller("hill")).decision == "deny"
    assert changed


def test_a_decision_on_twenty_documents_costs_the_statements_of_one(hub: Hub) -> None:
    entries = [hub.document(fx.document(custodian="hill")) for _ in range(20)]
    counts = []
    for some in (entries[:1], entries):
        question = Question(
            patient=(PatientNamed(id=hub.persons["ada"]),),
            organization=OrganizationNamed(id="coin"),
            role="billing",
            purpose="HPAYMT",
            documents=tuple(some),
        )
        decisions.decide(question, caller=caller("hill"))
        with CaptureQueriesContext(connection) as seen:
            decisions.decide(question, caller=caller("hill"))
        counts.append(len(seen))
    assert counts[0] == counts[1]
    assert counts[0] <= 12, [one["sql"][:80] for one in seen.captured_queries]
