"""Who could see a document, and what a draft would change: groups that say the same as asking one by one."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from consent import directives
from consent.directives import Filer
from consent.drafts import ConsentDraft, Draft, LabelDraft
from consent.errors import DirectiveRefused
from consent.owners import Capacity
from documents import queries as registry
from hie.audit.models import AuditEvent
from hie.directory import queries as directory
from hie.exchange import access, askers, find, found_pages, named_patients, what_if, who_could_see
from hie.exchange.access import Staff
from hie.exchange.askers import Asker
from hie.exchange.document_filter import entry_filter
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.standards.facts import Caller, Decision
from tests.consent import fixture as fx
from tests.decisions.loaded import Hub, caller

pytestmark = pytest.mark.django_db

PATIENT = Filer(actor="Patient", capacity=Capacity.PATIENT)


def ada(hub: Hub) -> Caller:
    """The patient at the portal."""
    return caller("door", user_id=f"Patient/{hub.persons['ada']}", role="patient", purpose="PATRQT")


def privacy_officer(*roles: str) -> Staff:
    return Staff(user_id="vera", roles=frozenset(roles or {"privacy-officer"}))


def brute_force(
    hub: Hub, world: access.World, about: access.Subject, documents: list[Any]
) -> list[dict[Asker, Decision]]:
    """Every participant, purpose and role asked by itself: what each is told, a document."""
    everybody = [
        Asker(organization, purpose, role)
        for organization in world.policy.participants
        for purpose in world.policy.tables.families
        for role in world.policy.tables.roles
    ]
    requests = [[askers.request(about, asker, world)] for asker in everybody]
    told: list[dict[Asker, Decision]] = [{} for _ in documents]
    for asker, decisions in zip(everybody, access.tried(world, requests, documents), strict=True):
        for of_document, decision in zip(told, decisions, strict=True):
            of_document[asker] = askers.same(decision)
    return told


def file(hub: Hub, provision: Any, patient: str = "ada") -> Any:
    resource = hub.in_hub(fx.consent(provision, patient=patient))
    return directives.file(resource, identifier_pk=hub.pk(patient), filer=PATIENT)


def named() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {},
        optional={
            "purpose": st.lists(st.sampled_from(["TREAT", "ETREAT", "BTG", "HPAYMT", "CLINTRCH", "DONAT"]), min_size=1, max_size=2).map(lambda some: fx.purposes(*some)),
            "actor": st.sampled_from(
                [
                    fx.to("Organization/hill"),
                    fx.to("Organization/lake"),
                    fx.to("Practitioner/ivo"),
                    [fx.actor("IRCP", identifier={"system": "urn:hie:org-type", "value": "payer"})],
                    [fx.actor("IRCP", identifier={"system": "urn:hie:role", "value": "nurse"})],
                    [fx.actor("IRCP", identifier={"system": "urn:oid:2.999.7", "value": "lake"})],
                    [fx.actor("IRCP", identifier={"value": "lake"})],
                    [fx.actor("CST", reference="Organization/lake-mind")],
                    fx.to("https://elsewhere.example/Organization/hill"),
                ]
            ),
            "securityLabel": st.lists(st.sampled_from(["N", "R", "V", "PSY", "HIV", "42CFRPart2"]), min_size=1, max_size=2).map(lambda some: fx.labels(*some)),
        },
    )  # fmt: skip


provisions = st.builds(
    lambda kind, criteria, children: fx.node(kind, *children, **criteria),
    st.sampled_from(["permit", "deny"]),
    named(),
    st.lists(
        st.builds(lambda kind, criteria: fx.node(kind, **criteria), st.sampled_from(["permit", "deny"]), named()),
        max_size=2,
    ),
)
LIMITS = settings(
    max_examples=int(os.environ.get("HIE_EXAMPLES", "4")),
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def hub(loaded_lake: Hub) -> Hub:
    return loaded_lake


@LIMITS
@given(
    chosen=st.lists(provisions, max_size=2),
    custodian=st.sampled_from(["lake", "lake-mind", "hill", "shore", "mer", "asleep"]),
    letter=st.sampled_from(["N", "R", "V", None]),
    labels=st.sets(st.sampled_from(["PSY", "HIV", "GDIS", "NOPAT"]), max_size=2),
)
def test_the_groups_say_of_every_participant_purpose_and_role_what_asking_each_says(
    hub: Hub, chosen: list[Any], custodian: str, letter: str | None, labels: set[str]
) -> None:
    directives.Consent.objects.update(status="inactive")
    for provision in chosen:
        directives.import_unchecked(hub.in_hub(fx.consent(provision)), identifier_pk=hub.pk("ada"), actor="test")
    entry = hub.document(fx.document(custodian=custodian, confidentiality=letter, labels=sorted(labels)))
    row = registry.entry(entry)
    assert row is not None
    with directory.one_reading():
        about = access.subject(hub.persons["ada"])
        facts = row.facts(about.person_id, about.identifier_pks)
        world = access.as_it_is(about)
        said: dict[Asker, Decision] = {}
        for answer in who_could_see.groups(about, facts):
            for asker in answer.block.askers():
                assert asker not in said
                said[asker] = answer.decision
        (expected,) = brute_force(hub, world, about, [facts])
        assert {asker: one for asker, one in said.items() if not asker.person} == expected


@LIMITS
@given(
    before=st.lists(provisions, max_size=1),
    after=provisions,
    at=st.sampled_from([None, datetime(2027, 3, 1, tzinfo=UTC)]),
)
def test_a_draft_changes_what_asking_each_before_and_after_says_and_nothing_else(
    hub: Hub, before: list[Any], after: Any, at: datetime | None
) -> None:
    directives.Consent.objects.update(status="inactive")
    registry.DocumentEntry.objects.all().delete()
    held = [
        directives.import_unchecked(hub.in_hub(fx.consent(one)), identifier_pk=hub.pk("ada"), actor="test").id
        for one in before
    ]
    entries = [
        hub.document(fx.document(**changes))
        for changes in (
            {},
            {"created": "2024-05-01T08:00:00Z"},
            {"custodian": "shore", "confidentiality": "R"},
            {"labels": ["HIV"], "confidentiality": "R"},
            {"custodian": "mer", "confidentiality": "V"},
        )
    ]
    drafts = (ConsentDraft(resource=hub.in_hub(fx.consent(after)), replaces=held[0] if held else None),)
    draft = Draft(consents=drafts, at=at)
    try:
        found = what_if.compare(hub.persons["ada"], draft, caller=ada(hub))
    except DirectiveRefused:
        return
    turned: dict[tuple[str, Asker], bool] = {}
    for change in found.changes:
        for document in change.documents:
            for asker in change.block.askers():
                assert (document.document_id, asker) not in turned
                turned[document.document_id, asker] = change.opens
    with directory.one_reading():
        about = access.subject(hub.persons["ada"])
        was, will = access.as_it_is(about), access.as_drafted(about, draft)
        rows = [registry.entry(entry) for entry in entries]
        facts = [row.facts(about.person_id, about.identifier_pks) for row in rows if row is not None]
        assert len(facts) == len(entries)
        expected: dict[tuple[str, Asker], bool] = {}
        told = zip(entries, brute_force(hub, was, about, facts), brute_force(hub, will, about, facts), strict=True)
        for entry, old, new in told:
            expected |= {(entry, one): new[one].permitted for one in old if old[one].permitted != new[one].permitted}
    assert {key: opens for key, opens in turned.items() if not key[1].person} == expected


def test_what_would_change_is_what_has_changed_once_the_draft_is_filed(hub: Hub) -> None:
    entry = hub.document(fx.document(custodian="lake"))
    provision = fx.node("deny", fx.node("permit", actor=fx.to("Organization/hill")), purpose=fx.purposes("TREAT"))
    resource = hub.in_hub(fx.consent(provision))
    found = what_if.compare(hub.persons["ada"], Draft(consents=(ConsentDraft(resource=resource),)), caller=ada(hub))
    assert {change.opens for change in found.changes} == {False}
    closed = {asker for change in found.changes for asker in change.block.askers()}
    assert Asker("call", "TREAT", "physician") in closed
    assert Asker("hill", "TREAT", "physician") not in closed
    before = {
        a: d.decision.permitted
        for d in who_could_see.for_patient(entry, caller=ada(hub)).answers
        for a in d.block.askers()
    }
    file(hub, provision)
    after = {
        a: d.decision.permitted
        for d in who_could_see.for_patient(entry, caller=ada(hub)).answers
        for a in d.block.askers()
    }
    assert {asker for asker in before if before[asker] != after[asker]} == closed


def test_a_draft_stores_nothing_and_ending_a_choice_is_a_draft_too(hub: Hub) -> None:
    hub.document(fx.document())
    stored = file(hub, fx.node("deny"))
    rows = directives.Consent.objects.count(), directives.ConsentVersion.objects.count()
    found = what_if.compare(hub.persons["ada"], Draft(consents=(ConsentDraft(replaces=stored.id),)), caller=ada(hub))
    assert {change.opens for change in found.changes} == {True}
    assert (directives.Consent.objects.count(), directives.ConsentVersion.objects.count()) == rows
    event = AuditEvent.objects.filter(kind="decision-simulated").latest("at")
    assert (event.outcome, str(event.person_id)) == (0, hub.persons["ada"])


def test_labels_policy_and_time_may_be_otherwise_too(hub: Hub) -> None:
    entry = hub.document(fx.document())
    person, me = hub.persons["ada"], ada(hub)

    def turned(draft: Draft) -> set[tuple[bool, str]]:
        return {(c.opens, c.after.rule) for c in what_if.compare(person, draft, caller=me).changes}

    assert turned(Draft()) == set()
    assert turned(Draft(documents={entry: LabelDraft(confidentiality="V")})) == {(False, "D5")}
    hill = directory.participant("hill")
    assert hill is not None
    assert hill.agreement is not None
    away = replace(hill, agreement=replace(hill.agreement, status="suspended"))
    assert turned(Draft(participants={"hill": away})) == {(False, "G2")}
    assert turned(Draft(participants={"lake": None})) == {(False, "G2"), (False, "G3")}


@pytest.mark.parametrize(
    ("who", "refusal"),
    [
        pytest.param({"role": "physician", "purpose": "TREAT"}, NotFound, id="participant"),
        pytest.param({"role": "proxy", "purpose": "FAMRQT", "user_id": "RelatedPerson/sam"}, NotFound, id="helper-without-grant"),
        pytest.param({"user_id": "Patient/00000000-0000-4000-8000-000000000001"}, NotFound, id="another-patient"),
        pytest.param({"role": None}, AccessRefused, id="no-role"),
    ],
)  # fmt: skip
def test_nobody_else_is_told_what_a_choice_would_change(
    hub: Hub, who: dict[str, Any], refusal: type[Exception]
) -> None:
    me = ada(hub)
    other = replace(me, **who) if who.get("role") != "physician" else caller("hill")
    with pytest.raises(refusal):
        what_if.compare(hub.persons["ada"], Draft(), caller=other)


def test_a_document_that_the_patient_may_not_see_does_not_count(hub: Hub) -> None:
    hub.document(fx.document(labels=["NOPAT"]))
    denial = ConsentDraft(resource=hub.in_hub(fx.consent(fx.node("deny"))))
    found = what_if.compare(hub.persons["ada"], Draft(consents=(denial,)), caller=ada(hub))
    assert (found.changes, found.documents) == ((), 0)
    staff = what_if.compare_for_staff(hub.persons["ada"], Draft(consents=(denial,)), privacy_officer(), reason="case 7")
    assert staff.documents == 1
    assert staff.changes


def test_staff_need_role_and_reason_and_are_seen(hub: Hub) -> None:
    entry = hub.document(fx.document(confidentiality="R"))
    with pytest.raises(AccessRefused):
        who_could_see.for_staff(entry, privacy_officer("steward"), reason="case 7")
    with pytest.raises(BadRequest):
        who_could_see.for_staff(entry, privacy_officer(), reason=" ")
    seen = who_could_see.for_staff(entry, privacy_officer(), reason="case 7")
    assert seen.person_id == hub.persons["ada"]
    assert AuditEvent.objects.filter(kind="staff-look", person_id=seen.person_id, outcome=0).exists()
    with pytest.raises(NotFound):
        who_could_see.for_staff("0d0e3f0a-0000-4000-8000-000000000000", privacy_officer(), reason="case 7")


def test_only_the_patient_is_told_who_could_see_a_document(hub: Hub) -> None:
    entry = hub.document(fx.document())
    hidden = hub.document(fx.document(labels=["NOPAT"]))
    absent = "0d0e3f0a-0000-4000-8000-000000000000"
    assert who_could_see.for_patient(entry, caller=ada(hub)).answers
    refused = []
    for wanted in (hidden, absent, "no uuid"):
        with pytest.raises(NotFound) as error:
            who_could_see.for_patient(wanted, caller=ada(hub))
        refused.append(str(error.value))
    assert len(set(refused)) == 1
    with pytest.raises(AccessRefused):
        who_could_see.for_patient(entry, caller=caller("hill"))


def test_a_finer_purpose_has_lines_of_its_own_where_it_is_told_otherwise_and_nowhere_else(hub: Hub) -> None:
    entry = hub.document(fx.document())

    def lines() -> dict[str, set[bool]]:
        found: dict[str, set[bool]] = {}
        for line in who_could_see.in_short(who_could_see.for_patient(entry, caller=ada(hub))):
            found.setdefault(line.purpose, set()).add(line.decision.permitted)
        return found

    assert set(lines()) <= set(who_could_see.IN_SHORT)
    file(hub, fx.node("deny", fx.node("permit", purpose=fx.purposes("CLINTRCH")), purpose=fx.purposes("HRESCH")))
    told = lines()
    assert (told["HRESCH"], told["CLINTRCH"]) == ({False}, {True})
    assert set(told) - set(who_could_see.IN_SHORT) == {"CLINTRCH"}


def test_a_care_team_that_a_choice_names_stands_by_itself_where_it_is_told_otherwise(hub: Hub) -> None:
    entry = hub.document(fx.document())
    file(hub, fx.node("deny", fx.node("permit", actor=fx.to("CareTeam/heart"), purpose=fx.purposes("TREAT"))))
    seen = who_could_see.for_patient(entry, caller=ada(hub))
    teams = [one for one in who_could_see.in_short(seen) if one.person == "CareTeam/heart"]
    assert {(one.purpose, one.decision.permitted, one.decision.rule) for one in teams} == {("TREAT", True, "D6")}
    everybody = [one for one in who_could_see.in_short(seen) if one.purpose == "TREAT" and not one.person]
    assert {one.decision.rule for one in everybody} == {"C1", "D3"}
    # So it is when somebody asks for the team, and when nobody does.
    for team, found in ((("CareTeam/heart",), 1), ((), 0), (("CareTeam/other",), 0)):
        named = named_patients.PatientNamed(id=hub.persons["ada"])
        asked = found_pages.DocumentSearch(patients=((named,),), asked=entry_filter([]))
        assert find.find_documents(asked, caller=caller("hill", care_teams=team)).total == found
