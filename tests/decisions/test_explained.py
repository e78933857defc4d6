"""A decision in words: full for staff, plain for the patient, and for a participant nothing of what was hidden from it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from consent import directives, explain
from consent.drafts import Draft
from consent.engine.decide import RULES
from hie.audit.models import AuditEvent
from hie.audit.values import AuditQuery
from hie.exchange import audit_search, decisions, explained, find, what_if, who_could_see
from hie.exchange.access import Staff
from hie.exchange.decisions import Question, StatedDocument
from hie.exchange.document_filter import entry_filter
from hie.exchange.errors import AccessRefused, NotFound
from hie.exchange.found_pages import DocumentSearch
from hie.exchange.named_patients import PatientNamed
from hie.standards.facts import DocumentFacts
from tests.consent import fixture as fx
from tests.decisions import asking
from tests.decisions.loaded import Hub, caller
from tests.leaks.answers import answer as compared

pytestmark = pytest.mark.django_db
ABSENT = "0d0e3f0a-0000-4000-8000-000000000000"


@pytest.fixture
def hub(loaded_lake: Hub) -> Hub:
    return loaded_lake


def get(path: str, token: str, **headers: str) -> Any:
    return Client().get(path, HTTP_AUTHORIZATION=f"Bearer {token}", **headers)


def own(hub: Hub, patient: str = "ada") -> str:
    return hub.token(
        "door", subject_id=f"Patient/{hub.persons[patient]}", subject_role="patient", purpose_of_use=["PATRQT"]
    )


def looked(hub: Hub, organization: str = "hill", person: str = "", **changes: Any) -> str:
    """A search by an organization; the id of its decision."""
    named = PatientNamed(id=person or hub.persons["ada"])
    find.find_documents(
        DocumentSearch(patients=((named,),), asked=entry_filter([])), caller=caller(organization, **changes)
    )
    return str(AuditEvent.objects.filter(kind="ITI-67").latest("at").id)


def a_mixed_record(hub: Hub) -> tuple[str, str, str]:
    shown = hub.document(fx.document())
    hidden = hub.document(fx.document(labels=["PSY"], confidentiality="R"))
    provision = fx.node("permit", fx.node("deny", securityLabel=fx.labels("PSY")))
    directives.import_unchecked(hub.in_hub(fx.consent(provision)), identifier_pk=hub.pk("ada"), actor="test")
    return shown, hidden, looked(hub)


def test_staff_read_every_rule_in_order_with_what_it_rested_on(hub: Hub) -> None:
    shown, hidden, decision = a_mixed_record(hub)
    officer = Staff(user_id="vera", roles=frozenset({"privacy-officer"}))
    told = explained.explain_for_staff(decision, officer, reason="case 7")
    by_id = {one.document_id: one for one in told.documents}
    assert {key: one.rule for key, one in by_id.items()} == {shown: "D6", hidden: "D3"}
    order = [one.rule for one in RULES]
    for one in told.documents:
        assert [rule.rule for rule in one.rules] == order[: len(one.rules)]
        assert [rule.fired for rule in one.rules] == [False] * (len(one.rules) - 1) + [True]
        assert one.rules[-1].rule == one.rule
        assert all(rule.why for rule in one.rules)
    (item,) = by_id[hidden].basis
    assert (item["kind"], item["version"], item["path"]) == ("consent", "1", "provision[0]")
    assert AuditEvent.objects.filter(kind="staff-look", person_id=hub.persons["ada"]).exists()
    with pytest.raises(AccessRefused):
        explained.explain_for_staff(decision, Staff(user_id="otto", roles=frozenset({"operator"})), reason="case 7")
    with pytest.raises(NotFound):
        explained.explain_for_staff(ABSENT, officer, reason="case 7")


def test_the_patient_reads_plain_words_in_three_languages_about_what_she_may_see(hub: Hub) -> None:
    shown, hidden, decision = a_mixed_record(hub)
    withheld = hub.document(fx.document(labels=["NOPAT"]))
    later = looked(hub)
    token = own(hub)
    body = get(f"/api/decisions/{decision}/explain", token).json()
    sentences = {one["id"]: one["sentence"] for one in body["documents"]}
    assert sentences == {
        shown: "Shown because of your choice of 1 January 2026.",
        hidden: "Refused because of your choice of 1 January 2026.",
    }
    assert "basis" not in json.dumps(body)
    assert withheld not in get(f"/api/decisions/{later}/explain", token).content.decode()
    spanish = get(f"/api/decisions/{decision}/explain?language=es", token).json()
    assert spanish["language"] == "es"
    assert {one["sentence"] for one in spanish["documents"]}.isdisjoint(sentences.values())
    assert "organización" in json.dumps(spanish["documents"][0]["rules"], ensure_ascii=False)
    arabic = get(f"/api/decisions/{decision}/explain", token, HTTP_ACCEPT_LANGUAGE="ar-EG,en").json()
    assert arabic["language"] == "ar"
    assert re.search("[\u0600-\u06ff]", arabic["documents"][0]["sentence"])
    assert get(f"/api/decisions/{decision}/explain", token, HTTP_ACCEPT_LANGUAGE="fr").json()["language"] == "en"


def test_a_participant_reads_the_same_of_hidden_documents_and_of_none(hub: Hub) -> None:
    hub.document(fx.document(confidentiality="V"))
    hidden, absent = looked(hub), looked(hub, person=ABSENT)
    nobody = looked(hub, person=hub.persons["kit"])
    token = hub.token("hill")
    answers = [compared(get(f"/api/decisions/{one}/explain", token)) for one in (hidden, absent, nobody)]
    assert answers[0] == answers[1] == answers[2]
    assert json.loads(answers[0][2])["sentence"] == "Nothing was found that may be shown."
    shown, hidden_too, decision = a_mixed_record(hub)
    body = get(f"/api/decisions/{decision}/explain", token).json()
    assert [(one["id"], one["sentence"]) for one in body["documents"]] == [
        (shown, "Shown under the patient's consent.")
    ]
    assert hidden_too not in json.dumps(body)
    assert [(one["rule"], one["fired"]) for one in body["rules"]] == [
        (g, False) for g in ("G1", "G2", "G4", "G5", "G6", "G7")
    ]
    assert "consentimiento" in get(f"/api/decisions/{decision}/explain?language=es", token).json()["sentence"]


def test_nobody_reads_of_anothers_decision(hub: Hub) -> None:
    _, _, decision = a_mixed_record(hub)
    absent = compared(
        get(f"/api/decisions/{ABSENT}/explain", hub.token("coin", subject_role="billing", purpose_of_use=["HPAYMT"]))
    )
    assert absent[0] == 404
    for token in (
        hub.token("coin", subject_role="billing", purpose_of_use=["HPAYMT"]),
        own(hub, "bea"),
        own(hub, "kit"),  # too young
        hub.token("door", subject_id="RelatedPerson/sam", subject_role="proxy", purpose_of_use=["FAMRQT"]),
    ):
        assert compared(get(f"/api/decisions/{decision}/explain", token)) == absent


def test_a_refusal_at_the_gate_is_explained_to_whom_it_hit(hub: Hub) -> None:
    with pytest.raises(AccessRefused):
        looked(hub, purpose="HPAYMT", role="clerk")
    event = AuditEvent.objects.filter(kind="ITI-67").latest("at")
    body = get(f"/api/decisions/{event.id}/explain", hub.token("hill")).json()
    assert [(one["rule"], one["fired"]) for one in body["rules"]] == [("G1", False), ("G2", False), ("G4", True)]
    assert body["sentence"] == "Your organization's agreement does not include payment."


def test_the_rule_of_a_hidden_document_is_not_told_as_a_refusal_at_the_gate(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.document(fx.document())
    asking.at(monkeypatch, "2026-06-15T12:00:00Z")
    hub.grants({"request": fx.emergency(patient="bea")})
    hidden, absent = looked(hub, purpose="BTG"), looked(hub, purpose="BTG", person=ABSENT)
    assert AuditEvent.objects.get(id=hidden).rule == "G7"
    token = hub.token("hill")
    told = [compared(get(f"/api/decisions/{one}/explain", token)) for one in (hidden, absent)]
    assert told[0] == told[1]
    found = audit_search.search_events(AuditQuery(ids=(hidden, absent)), caller=caller("hill")).events
    assert len({(one.rule, one.reason, one.outcome, one.person_id) for one in found}) == 1


def test_what_an_asker_was_told_is_not_told_to_the_rest_of_its_house_again(hub: Hub) -> None:
    own_one = hub.document(fx.document(custodian="hill"))
    asked = Question(patient=(PatientNamed(id=hub.persons["ada"]),), documents=(own_one,))
    decision = decisions.decide(asked, caller=caller("hill")).id
    path = f"/api/decisions/{decision}/explain"
    assert [one["id"] for one in get(path, hub.token("hill")).json()["documents"]] == [own_one]
    for other in ({"subject_id": "Practitioner/eve"}, {"subject_role": "nurse"}):
        assert get(path, hub.token("hill", **other)).json()["documents"] == []


def test_the_patient_does_not_read_of_what_somebody_stated_under_whatever_id(hub: Hub) -> None:
    holder = hub.holder("JA")
    entry = hub.document(fx.document(custodian=holder))
    asked = Question(
        patient=(PatientNamed(id=hub.persons["ada"]),),
        documents=tuple(
            StatedDocument(facts=DocumentFacts(id=one, patient="", custodian=holder, confidentiality="V"))
            for one in (entry, "kept apart from her")
        ),
    )
    decision = decisions.decide(asked, caller=caller(holder)).id
    assert get(f"/api/decisions/{decision}/explain", own(hub)).json()["documents"] == []
    asked = replace(asked, documents=(entry,))
    decision = decisions.decide(asked, caller=caller(holder)).id
    assert [one["id"] for one in get(f"/api/decisions/{decision}/explain", own(hub)).json()["documents"]] == [entry]


def test_staff_who_may_not_look_at_documents_read_no_decision_on_them_and_no_look_is_written(hub: Hub) -> None:
    shown, _, decision = a_mixed_record(hub)
    auditor, steward = (Staff(user_id="otto", roles=frozenset({role})) for role in ("auditor", "steward"))
    for staff in (auditor, steward):
        with pytest.raises(AccessRefused):
            explained.explain_for_staff(decision, staff, reason="case 7")
        with pytest.raises(AccessRefused):
            what_if.compare_for_staff(hub.persons["ada"], Draft(), staff, reason="case 7")
        with pytest.raises(AccessRefused):
            who_could_see.for_staff(shown, staff, reason="case 7")
    assert not AuditEvent.objects.filter(kind="staff-look", outcome=0).exists()


def test_the_words_of_a_choice_stay_those_of_the_day_it_decided(hub: Hub) -> None:
    _, _, decision = a_mixed_record(hub)
    row = directives.Consent.objects.get()
    changed = {**row.resource, "dateTime": "2026-03-03"}
    directives.update(row.id, changed, filer=directives.Filer(actor="x", capacity=directives.Capacity.PATIENT))
    told = get(f"/api/decisions/{decision}/explain", own(hub)).json()["documents"]
    assert {one["sentence"] for one in told} == {
        "Shown because of your choice of 1 January 2026.",
        "Refused because of your choice of 1 January 2026.",
    }


def test_who_could_see_over_http_names_every_asker_once_and_hides_like_absent(hub: Hub) -> None:
    shown, _, _ = a_mixed_record(hub)
    withheld = hub.document(fx.document(labels=["NOPAT"]))
    token = own(hub)
    body = get(f"/api/documents/{shown}/who-could-see", token).json()
    askers = [
        (organization["id"], purpose, role)
        for one in body["answers"]
        if one["person"] is None
        for organization in one["organizations"]
        for purpose in one["purposes"]
        for role in one["roles"]
    ]
    organizations, purposes, roles = fx.FIXTURE["organizations"], fx.FIXTURE["purposeParent"], fx.FIXTURE["roles"]
    assert len(askers) == len(set(askers)) == len(organizations) * len(purposes) * len(roles)
    absent = compared(get(f"/api/documents/{ABSENT}/who-could-see", token))
    assert compared(get(f"/api/documents/{withheld}/who-could-see", token)) == absent
    assert compared(get(f"/api/documents/{shown}/who-could-see", own(hub, "bea"))) == absent
    refused = get(f"/api/documents/{shown}/who-could-see", hub.token("hill"))
    assert refused.status_code == 403
    assert compared(refused) == compared(get(f"/api/documents/{ABSENT}/who-could-see", hub.token("hill")))
    assert get(f"/api/documents/{shown}/who-could-see?x=1", token).json()["error"]["field"] == "x"


def test_every_rule_has_words_in_both_languages_for_every_audience() -> None:
    rules = {one.rule for one in RULES}
    for language in ("en", "es"):
        assert all(explain.passed(rule, language) for rule in rules)
        for audience in (explain.Audience.PARTICIPANT, explain.Audience.ADMINISTRATOR):
            for rule in rules:
                text = explain.fill(explain.template(rule, audience, language), {}, language)
                assert text
                assert "{" not in text
    english, spanish = explain._PASSED["en"], explain._PASSED["es"]
    assert english.keys() == spanish.keys()
    assert all(english[rule] != spanish[rule] for rule in english)
