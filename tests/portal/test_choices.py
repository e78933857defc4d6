"""My choices: what is shown before saving is what happens after, undo brings every decision back, helpers have limits."""

from __future__ import annotations

import html
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import translation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent import directives, jurisdictions, proxies, tables
from consent.choices import KINDS, Answer, Apart, Choices, Rule, choices_of, consent_of, provision_of, to_json
from consent.models import Consent, ConsentVersion, ProxyGrant
from consent.owners import Capacity
from documents import queries as registry
from documents.models import DocumentEntry
from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import access, accounts, choices, find, found_pages, named_patients, retrieve, submit
from hie.exchange.choices import Action
from hie.exchange.document_filter import entry_filter
from hie.faces.portal import choice_words
from hie.standards.facts import Caller, Operation
from patients import identifiers
from tests.directory.forms import file
from tests.documents import samples
from tests.portal.conftest import PASSWORD, SON, fed, signed_in
from tests.portal.test_documents import ALICE_ID, CLINIC
from tests.portal.test_log import text_of

PAYER = {
    "id": "org-payer",
    "name": "Marrowby Health Plan",
    "type": "payer",
    "organization_oid": "2.999.10.7",
    "scopes": [],
    "purposes": ["HPAYMT"],
}


@pytest.fixture
def record(alice: str, settings: Any, tmp_path: Path) -> str:
    """Alice with documents of several kinds at the clinic, and a health plan; her person."""
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    registration.apply(file(PAYER))
    for n, (title, labels, day) in enumerate(
        (("Letter", (), "20250301"), ("Visit", ("MH",), "20260110"), ("Blood", ("HIV",), "20260301"))
    ):
        publish(n, title, labels, day)
    return alice


def publish(n: int, title: str, labels: tuple[str, ...], day: str) -> None:
    """A document of the clinic about Alice, labelled as its submitter says."""
    codes = [samples.code("N", "2.16.840.1.113883.5.25")] if not labels else []
    codes += [samples.code(label, "2.16.840.1.113883.5.4") for label in labels]
    entry = samples.entry(
        patient_id=ALICE_ID,
        source_patient_id=ALICE_ID,
        title=title,
        mime_type="text/plain",
        confidentiality_codes=tuple(codes),
        service_start_time=day,
        service_stop_time=day,
    )
    staged = submit.stage(f"Dear Alice {n}".encode(), "text/plain", CLINIC)
    submit.submit(samples.submission(entry, contents={entry.entry_uuid: staged.id}, patient_id=ALICE_ID), CLINIC)


def asks(org: str, role: str, purpose: str) -> Caller:
    return Caller(
        participant_id=org,
        organization_id=org,
        client_id=org,
        user_id="Practitioner/nobody",
        role=role,
        purpose=purpose,
        relationship="encounter",
    )


ASKERS = [
    asks("org-clinic", "physician", "TREAT"),
    asks("org-hospital", "physician", "TREAT"),
    asks("org-hospital", "nurse", "TREAT"),
    asks("org-hospital", "quality", "HOPERAT"),
    asks("org-hospital", "billing", "HPAYMT"),
    asks("org-payer", "billing", "HPAYMT"),
]


def decisions(person: str) -> dict[tuple[str, str, str, str], bool]:
    """Who is let through to which document now, by the door itself."""
    about = access.subject(person)
    rows = registry.entries(about.identifier_pks)
    found: dict[tuple[str, str, str, str], bool] = {}
    for caller in ASKERS:
        seen = {id(row) for row in access.permitted(caller, about, rows, Operation.RETRIEVE).rows()}
        for row in rows:
            key = (caller.organization_id, caller.purpose or "", caller.role or "", registry.bare_uuid(row.entry_uuid))
            found[key] = id(row) in seen
    return found


def told(shown: choices.Preview) -> dict[tuple[str, str, str, str], bool]:
    """What a preview says will be otherwise."""
    return {
        (asker.organization, asker.purpose, asker.role, document.document_id): change.opens
        for change in shown.found.changes
        if not change.block.person
        for asker in change.block.askers()
        for document in change.documents
    }


def patient(person: str) -> Caller:
    caller = accounts.caller(accounts.sign_in("alice", PASSWORD, accounts.Visit()), accounts.Visit())
    assert caller.user_id == f"Patient/{person}"
    return caller


three = st.sampled_from((Answer.GENERAL, Answer.ALL, Answer.NONE))
places = st.lists(st.sampled_from(("org-clinic", "org-hospital")), unique=True, max_size=2).map(tuple)
some_rules = st.lists(
    st.one_of(
        st.builds(
            Rule,
            show=st.just(True),
            who=st.sampled_from(("", "place:org-hospital", "type:payer")),
            kind=st.sampled_from(("", "mental", "hiv")),
            purpose=st.sampled_from(("TREAT", "HPAYMT", "HOPERAT")),
        ),
        st.builds(
            Rule,
            show=st.just(False),
            who=st.sampled_from(("place:org-hospital", "type:payer")),
            kind=st.sampled_from(("", "mental", "hiv")),
            since=st.sampled_from(("", "2026-01-01")),
            held_by=st.sampled_from(("", "org-clinic")),
        ),
    ),
    unique=True,
    max_size=2,
).map(tuple)
chosen = st.builds(
    Choices,
    treat=three,
    pay=three,
    run=three,
    refuse_emergency=st.booleans(),
    apart=st.one_of(
        st.just(()),
        st.tuples(st.builds(Apart, kind=st.just("mental"), labels=st.just(KINDS["mental"]), places=st.just(()))),
        st.tuples(st.builds(Apart, kind=st.just("hiv"), labels=st.just(KINDS["hiv"]), places=st.just(()))),
    ),
    rules=some_rules,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.lists(chosen, min_size=1, max_size=3))
def test_what_the_preview_says_is_what_happens_and_undo_brings_every_decision_back(
    record: str, wanted: list[Choices]
) -> None:
    caller = patient(record)
    for one in wanted:
        before = decisions(record)
        action = Action(choices=one)
        try:
            shown = choices.preview(record, action, caller=caller)
        except choices.NothingToSave:
            continue
        saved = choices.save(record, action, basis=shown.basis, caller=caller)
        after = decisions(record)
        turned = {key: after[key] for key in after if after[key] != before[key]}
        assert {key: opens for key, opens in told(shown).items() if key in after} == turned
        back = Action(restore=saved.version - 1) if saved.version > 1 else Action(end=True)
        way_back = choices.preview(record, back, caller=caller)
        choices.save(record, back, basis=way_back.basis, caller=caller)
        assert decisions(record) == before
        assert {key: not opens for key, opens in told(way_back).items()} == told(shown)


FORM = {"treat": "general", "pay": "general", "run": "general", "research": "general", "emergency": "yes"}


def confirmed(client: Client, **fields: Any) -> Any:
    """The page that shows what would change."""
    return client.post("/my/consent/check", FORM | fields)


def hidden(page: Any) -> dict[str, str]:
    found = dict(re.findall(r'name="(action|basis)" value="([^"]*)"', page.content.decode()))
    return {name: html.unescape(value) for name, value in found.items()}


def test_a_patient_keeps_a_kind_apart_sees_who_loses_it_first_and_undoes_it(record: str) -> None:
    client = signed_in()
    before = decisions(record)
    assert "No choices yet" in text_of(client.get("/my/consent/").content)
    page = confirmed(client, **{"apart-mental": "apart"})
    text = text_of(page.content)
    assert page.status_code == 200
    assert "Kept apart from all places." in text
    assert "Visit" in text
    assert "Now: yes" in text
    assert not Consent.objects.exists()
    assert client.post("/my/consent/save", hidden(page)).status_code == 302
    assert decisions(record) != before
    text = text_of(client.get("/my/consent/?saved=1").content)
    assert "Your choice is saved." in text
    assert "In force" in text
    ended = client.post("/my/consent/check", {"end": str(Consent.objects.get().pk)})
    assert "Now: no" in text_of(ended.content)
    client.post("/my/consent/save", hidden(ended))
    assert decisions(record) == before
    past = text_of(client.get("/my/consent/history").content)
    assert "Taken back." in past
    assert "Chosen by the person" in past
    back = client.post("/my/consent/check", {"restore": "1"})
    client.post("/my/consent/save", hidden(back))
    assert decisions(record) != before
    assert [one.version for one in ConsentVersion.objects.order_by("version")] == [1, 2, 3]
    log = text_of(client.get("/my/").content)
    assert "You saved a choice about your record." in log


@pytest.mark.parametrize(("kind", "kept"), [("mental", True), ("substance", True), ("hiv", False)])
def test_a_document_said_only_to_be_about_behavioural_health_is_found_by_no_one_it_may_be_kept_from(
    record: str, kind: str, kept: bool
) -> None:
    publish(7, "Group", ("BH",), "20260401")
    asked = found_pages.DocumentSearch(patients=((named_patients.PatientNamed(id=record),),), asked=entry_filter([]))

    def found() -> set[str]:
        page = find.find_documents(asked, caller=asks("org-hospital", "physician", "TREAT"))
        return {one.row.metadata.title for one in page.rows}

    assert "Group" in found()
    client = signed_in()
    page = confirmed(client, **{f"apart-{kind}": "apart"})
    assert ("Group" in text_of(page.content)) is kept
    client.post("/my/consent/save", hidden(page))
    assert found() >= {"Letter"}
    assert ("Group" not in found()) is kept
    if kept:
        assert "do not say which are hidden too" in text_of(client.get("/my/consent/").content)


def test_a_form_that_contradicts_itself_is_shown_again_with_what_was_typed(record: str) -> None:
    client = signed_in()
    page = confirmed(client, treat="named")
    assert page.status_code == 200
    assert "Tick the places that may see the record." in text_of(page.content)
    assert 'value="named" checked' in page.content.decode()
    assert "<title>Error:" in page.content.decode()
    page = confirmed(client, **{"rule-0-show": "hide", "rule-0-who": "place:org-hospital", "rule-0-since": "soon"})
    assert page.status_code == 200
    assert "Write the day like" in text_of(page.content)
    assert 'value="soon"' in page.content.decode()
    assert not Consent.objects.exists()


def test_what_has_changed_since_is_shown_again_and_not_saved(record: str) -> None:
    client = signed_in()
    first = confirmed(client, pay="none")
    second = confirmed(client, run="none")
    assert client.post("/my/consent/save", hidden(second)).status_code == 302
    moved = client.post("/my/consent/save", hidden(first))
    assert moved.status_code == 409
    assert "Something has changed since you looked." in text_of(moved.content)
    assert choices_of(Consent.objects.get().resource, now=access.now()) == Choices(run=Answer.NONE)
    assert client.post("/my/consent/save", hidden(moved)).status_code == 302
    assert choices_of(Consent.objects.get().resource, now=access.now()) == Choices(pay=Answer.NONE)


@pytest.mark.parametrize(
    "action",
    [
        "",
        "[]",
        "{}",
        "1",
        '"x"',
        "[" * 5000,
        '{"choices":null,"restore":null,"consent":null,"end":false}',
        '{"choices":null,"restore":true,"consent":null,"end":false}',
        '{"choices":{},"restore":1,"consent":null,"end":false}',
    ],
)
def test_a_field_that_no_page_of_ours_sends_is_refused(record: str, action: str) -> None:
    answer = signed_in().post("/my/consent/save", {"action": action, "basis": "x"})
    assert answer.status_code == 400
    assert not Consent.objects.exists()


def test_a_place_that_is_not_there_cannot_be_named_by_a_forged_field(record: str) -> None:
    client = signed_in()
    page = confirmed(client, pay="none")
    sent = hidden(page)
    forged = json.loads(sent["action"])
    forged["choices"]["apart"] = [{"kind": "hiv", "labels": ["MH"], "places": ["org-nowhere"]}]
    assert client.post("/my/consent/save", sent | {"action": json.dumps(forged)}).status_code == 400
    assert not Consent.objects.exists()


def test_warnings_of_filing_stand_before_saving(record: str) -> None:
    client = signed_in()
    page = confirmed(client, emergency="no")
    assert "Doctors could not see this in an emergency, even to save a life." in text_of(page.content)
    past = {"rule-0-show": "hide", "rule-0-who": "place:org-hospital", "rule-0-ends": "2020-01-01"}
    assert "A day in this choice is past." in text_of(confirmed(client, **past).content)


def test_a_helper_chooses_only_by_a_grant_that_says_so_and_both_stand_in_the_log(record: str) -> None:
    client = signed_in("sam")
    client.post("/my/person", {"person": record})
    page = text_of(client.get("/my/consent/").content)
    assert "You may look, but not choose for this person." in page
    assert confirmed(client, pay="none").status_code == 404
    grant = ProxyGrant.objects.get()
    proxies.set_status(grant.pk, "ended")
    proxies.grant(
        identifier_pk=identifiers.anchor(record).pk,
        person=grant.person,
        kind="nominated",
        max_confidentiality="R",
        may_consent=True,
        verified_by="desk",
        evidence="form 8",
    )
    page = confirmed(client, pay="none")
    assert page.status_code == 200, page.content.decode()
    assert client.post("/my/consent/save", hidden(page)).status_code == 302
    assert Consent.objects.get().capacity == "proxy"
    assert "Chosen by a helper" in text_of(signed_in().get("/my/consent/history").content)
    assert "saved a choice about your record." in text_of(signed_in().get("/my/").content)


def test_a_helper_sees_no_trace_of_what_is_kept_from_him(record: str) -> None:
    """A helper whose grant stops at N is shown neither a very private document in a preview nor a choice that names it."""
    mine = signed_in()
    page = confirmed(mine, **{"apart-hiv": "apart"})
    assert mine.post("/my/consent/save", hidden(page)).status_code == 302
    grant = ProxyGrant.objects.get()
    proxies.set_status(grant.pk, "ended")
    proxies.grant(
        identifier_pk=identifiers.anchor(record).pk,
        person=grant.person,
        kind="nominated",
        max_confidentiality="N",
        may_consent=True,
        verified_by="desk",
        evidence="form 8",
    )
    client = signed_in("sam")
    client.post("/my/person", {"person": record})
    page_ = client.get("/my/consent/").content.decode()
    assert 'name="apart-hiv" value="apart" checked' not in page_
    assert str(Consent.objects.get().pk) not in page_
    assert client.post("/my/consent/check", {"end": str(Consent.objects.get().pk)}).status_code == 404
    shown = text_of(confirmed(client, treat="none").content)
    assert "Letter" in shown
    assert "Blood" not in shown
    assert "Visit" not in shown


def test_numbers_of_versions_tell_a_helper_of_none_that_is_kept_from_him(record: str) -> None:
    """Between two choices about payment stood one that names HIV: a helper whose grant stops at N counts two."""
    mine = signed_in()
    for fields in ({"pay": "none"}, {"pay": "none", "apart-hiv": "apart"}, {"run": "none"}):
        assert mine.post("/my/consent/save", hidden(confirmed(mine, **fields))).status_code == 302
    assert 'name="restore" value="2"' in mine.get("/my/consent/").content.decode()
    grant = ProxyGrant.objects.get()
    proxies.set_status(grant.pk, "ended")
    proxies.grant(
        identifier_pk=identifiers.anchor(record).pk,
        person=grant.person,
        kind="nominated",
        max_confidentiality="N",
        may_consent=True,
        verified_by="desk",
        evidence="form 8",
    )
    client = signed_in("sam")
    client.post("/my/person", {"person": record})
    assert 'name="restore" value="1"' in client.get("/my/consent/").content.decode()
    past = client.get("/my/consent/history").content.decode()
    assert re.findall(r'name="restore" value="(\d+)"', past) == ["1"]
    assert client.post("/my/consent/check", {"restore": "3"}).status_code == 404
    back = client.post("/my/consent/check", {"restore": "1"})
    assert "HIV" not in text_of(back.content)
    assert client.post("/my/consent/save", hidden(back)).status_code == 302
    assert choices_of(Consent.objects.get().resource, now=access.now()) == Choices(pay=Answer.NONE)


def test_who_opened_before_what_would_close_is_listed_with_what_it_keeps(record: str) -> None:
    client = signed_in()
    assert "Already received by" not in text_of(confirmed(client, **{"apart-mental": "apart"}).content)
    visit = DocumentEntry.objects.get(title="Visit")
    letter = DocumentEntry.objects.get(title="Letter")
    for entry in (visit, letter):
        for org in ("org-hospital", "org-clinic"):
            wanted = retrieve.Wanted(binary_id=str(entry.binary_id))
            b"".join(retrieve.retrieve(wanted, caller=asks(org, "physician", "TREAT")).chunks)
    shown = confirmed(client, **{"apart-mental": "apart"})
    (copies,) = re.findall(r'id="copies".*?</section>', shown.content.decode(), re.DOTALL)
    listed = text_of(copies.encode())
    assert "The Hospital" in listed
    assert "1 document: Visit" in listed
    # What stays open, and who keeps its own, is nobody's copy of what closes.
    assert "Letter" not in listed
    assert "The Clinic" not in listed


def test_another_person_ends_and_reads_nothing(record: str) -> None:
    mine = signed_in()
    mine.post("/my/consent/save", hidden(confirmed(mine, pay="none")))
    held = str(Consent.objects.get().pk)
    other = signed_in("sam")
    absent = "00000000-0000-4000-8000-000000000000"
    answers = [other.post("/my/consent/check", {"end": one}) for one in (held, absent)]
    assert {one.status_code for one in answers} == {404}
    assert text_of(answers[0].content) == text_of(answers[1].content)
    assert "When a choice is saved, you will find it here." in text_of(other.get("/my/consent/history").content)


def test_a_choice_filed_elsewhere_is_shown_apart_and_can_be_taken_back(record: str) -> None:
    told_ = directives.file(
        {
            "resourceType": "Consent",
            "status": "active",
            "scope": {
                "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
            },
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"reference": f"Patient/{record}"},
            "provision": {"type": "deny"},
        },
        identifier_pk=identifiers.anchor(record).pk,
        filer=directives.Filer(actor="org-clinic|x", capacity="participant", organization="org-clinic"),
    )
    client = signed_in()
    text = text_of(client.get("/my/consent/").content)
    assert "Other choices in force" in text
    assert "Written down by The Clinic" in text
    page = client.post("/my/consent/check", {"end": str(told_.id)})
    assert "Now: no" in text_of(page.content)
    client.post("/my/consent/save", hidden(page))
    assert Consent.objects.get().status == "inactive"


def test_each_look_and_change_is_recorded(record: str) -> None:
    client = signed_in()
    client.get("/my/consent/")
    client.post("/my/consent/save", hidden(confirmed(client, pay="none")))
    kinds = set(AuditEvent.objects.filter(user=f"Patient/{record}").values_list("kind", flat=True))
    assert {"ITI-108", "decision-simulated", "consent-filed"} <= kinds


def test_a_choice_put_off_over_fhir_is_not_shown_as_in_force(record: str) -> None:
    client = signed_in()
    client.post("/my/consent/save", hidden(confirmed(client, pay="none")))
    held = Consent.objects.get()
    directives.update(
        held.pk,
        {**held.resource, "dateTime": "2099-01-01T00:00:00Z"},
        filer=directives.Filer(actor="x", capacity=Capacity.PATIENT),
    )
    page = client.get("/my/consent/")
    assert 'name="pay" value="none" checked' not in page.content.decode()
    assert "It was not made on this page." in text_of(page.content)


def test_a_teenager_keeps_confidential_care_apart_and_nothing_else(record: str) -> None:
    fed("T1", "Delgado", "Tea", f"{datetime.now(UTC).year - 15}-01-01")
    accounts.load(
        {"patients": [{**SON, "login": "tea", "identifier": "T1^^^&2.999.10.1.1&ISO", "name": "Tea Delgado"}]}
    )
    client = signed_in("tea")
    page = client.get("/my/consent/").content.decode()
    assert "A parent makes the other choices." in page
    assert 'name="treat"' not in page
    assert 'name="apart-genetic"' not in page
    shown = confirmed(client, treat="none", **{"apart-mental": "apart", "apart-genetic": "apart"})
    assert shown.status_code == 200
    assert client.post("/my/consent/save", hidden(shown)).status_code == 302
    made = choices_of(Consent.objects.get().resource, now=access.now())
    assert made == Choices(apart=(Apart(kind="mental", labels=("MH",)),), minor=True)


def test_where_the_law_allows_no_refusal_the_page_says_so(record: str) -> None:
    text = text_of(confirmed(signed_in(), emergency="no").content)
    assert "even to save a life" in text
    assert "There, doctors may still see it." not in text
    body = {**tables.shipped("jurisdictions")["jurisdictions"]["JA"], "breakGlassRefusal": False}
    jurisdictions.load({"JA": body})
    text = text_of(confirmed(signed_in(), emergency="no").content)
    assert "There, doctors may still see it." in text
    assert "even to save a life" not in text


def test_the_warning_about_emergencies_stands_for_a_patient_without_records_too() -> None:
    shown = choices.Preview(
        before=Choices(),
        after=Choices(refuse_emergency=True),
        found=None,  # type: ignore[arg-type]  # what would change is not looked at here
        warnings=(("provision", "refuses emergency access: in an emergency this is not shown either"),),
        basis="",
        allowed=False,
        forbidden=False,
    )
    with translation.override("en"):
        assert [one for one in choice_words.warnings(shown) if "even to save a life" in one]


def sent_by(page: str) -> dict[str, str]:
    """What a browser sends of the fields of the finer choices: of a list without a selected value its first one."""
    sent = {}
    for name, options in re.findall(r'<select[^>]* name="(rule-[^"]*)">(.*?)</select>', page, re.DOTALL):
        values = re.findall(r'<option value="([^"]*)"( selected)?>', options)
        sent[name] = next((value for value, chosen in values if chosen), values[0][0])
    return sent


@pytest.mark.parametrize("who", ["place:org-payer", "type:payer"])
def test_a_finer_choice_whose_place_is_gone_still_names_it_after_the_next_save(record: str, who: str) -> None:
    client = signed_in()
    fields = {"rule-0-show": "show", "rule-0-who": who, "rule-0-purpose": "HPAYMT", "rule-0-held_by": "org-hospital"}
    client.post("/my/consent/save", hidden(confirmed(client, **fields)))
    registration.suspend("org-payer", "gone", "x")
    registration.suspend("org-hospital", "gone", "x")
    page = client.get("/my/consent/").content.decode()
    again = confirmed(client, **sent_by(page) | {"run": "none"})
    assert client.post("/my/consent/save", hidden(again)).status_code == 302
    made = choices_of(Consent.objects.get().resource, now=access.now())
    rule = Rule(show=True, who=who, purpose="HPAYMT", held_by="org-hospital")
    assert made == Choices(run=Answer.NONE, rules=(rule,))


def test_a_finer_choice_sent_without_whom_it_is_about_is_refused(record: str) -> None:
    answer = confirmed(signed_in(), **{"rule-0-show": "show", "rule-0-purpose": "TREAT"})
    assert answer.status_code == 400


@pytest.mark.parametrize("capacity", [Capacity.PARTICIPANT, Capacity.IMPORT])
def test_a_consent_of_another_with_the_words_of_the_page_is_no_form_of_the_patient(
    record: str, capacity: Capacity
) -> None:
    directives.file(
        consent_of(Choices(pay=Answer.NONE), person_id=record, by="Organization/org-clinic", at=access.now()),
        identifier_pk=identifiers.anchor(record).pk,
        filer=directives.Filer(actor="org-clinic|x", capacity=capacity, organization="org-clinic"),
    )
    page = signed_in().get("/my/consent/")
    assert "Other choices in force" in text_of(page.content)
    assert 'name="pay" value="none" checked' not in page.content.decode()


def test_a_claim_in_a_filed_consent_that_no_page_made_breaks_no_page(record: str) -> None:
    made = consent_of(Choices(pay=Answer.NONE), person_id=record, by="Organization/org-clinic", at=access.now())
    claim = to_json(Choices(apart=(Apart(kind="zz", labels=("HIV",)),)))
    made["extension"][0]["valueString"] = json.dumps(claim, separators=(",", ":"), sort_keys=True)
    made["provision"] = provision_of(Choices(apart=(Apart(kind="zz", labels=("HIV",)),)))
    directives.file(
        made,
        identifier_pk=identifiers.anchor(record).pk,
        filer=directives.Filer(actor="org-clinic|x", capacity=Capacity.PARTICIPANT, organization="org-clinic"),
    )
    page = signed_in().get("/my/consent/")
    assert page.status_code == 200
    assert "It was not made on this page." in text_of(page.content)
