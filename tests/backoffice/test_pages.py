"""The desk over HTTP: who may open what, what it shows, and that each look stands in the patient's log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory
from django.urls import reverse

from consent import directives
from hie.audit.models import AuditEvent
from hie.directory.models import DirectoryChange, Participant
from hie.exchange import access, access_log, accounts, queues
from hie.exchange.access import Held
from hie.exchange.errors import BadRequest
from hie.exchange.models import InboundMessage, Query
from hie.exchange.staff_pages import AuditedAdmin
from hie.trust.staff import PAGES, ensure_roles
from patients import identifiers
from patients import queries as index
from patients.models import Person, ReviewItem, ValueByHand
from tests import second_factor
from tests.exchange.world import caller

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def list_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")


def open_page(client: Client, url: str, reason: str = "Asked by phone, call 4711") -> Any:
    client.post(url, {"look_reason": reason})
    return client.get(url)


def looks(person: UUID) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(kind="staff-look", person_id=person).order_by("at"))


def own_log(person: UUID) -> list[access_log.LogEntry]:
    patient = caller(
        participant_id="org-portal",
        organization_id="org-portal",
        user_id=f"Patient/{person}",
        role="patient",
        purpose="PATRQT",
    )
    page = access_log.log_for_patient(patient, person)
    return [line for line in page.entries if line.who.kind is access_log.ActorKind.STAFF]


def test_a_person_is_shown_only_for_a_reason_and_the_patient_reads_who_looked(world: UUID, as_role: AsRole) -> None:
    steward = as_role("steward")
    url = page_of(Person.objects.get(pk=world))
    asked = steward.get(url)
    assert b"Your reason" in asked.content
    assert b"Quarrel" not in asked.content
    assert looks(world) == []
    shown = open_page(steward, url)
    assert b"Rosamund Ivy Quarrel" in shown.content
    (look,) = looks(world)
    assert (look.user, look.role, look.detail["what"]) == ("Staff/steward", "steward", "identity")
    (line,) = own_log(world)
    assert "Ida Moss" in access_log.sentence_words(line)
    steward.get(url)
    assert len(looks(world)) == 2


def test_a_list_of_everybody_shows_no_name_and_a_search_is_a_look(world: UUID, as_role: AsRole) -> None:
    steward = as_role("steward")
    everybody = steward.get(list_of(Person(pk=world)))
    assert str(world) in everybody.content.decode()
    assert b"Quarrel" not in everybody.content
    assert looks(world) == []
    found = steward.get(list_of(Person(pk=world)), {"q": "P1"})
    assert b"Quarrel" in found.content
    assert [look.detail["what"] for look in looks(world)] == ["identity"]


@pytest.mark.parametrize("probe", ["golden__demographics__birth_date", "golden__icontains", "links__reason"])
def test_a_list_cannot_be_asked_about_names_through_the_address(world: UUID, as_role: AsRole, probe: str) -> None:
    answer = as_role("steward").get(list_of(Person(pk=world)), {probe: "1971-04-09"})
    assert answer.status_code in {302, 400}
    assert str(world) not in answer.content.decode()


def test_a_doubtful_document_in_the_queue_is_a_task_and_needs_no_other_reason(document: Any, as_role: AsRole, world: UUID) -> None:  # fmt: skip
    item = document.reviews.get()
    shown = as_role("steward").get(page_of(item))
    assert shown.status_code == 200
    assert b"name-differs" in shown.content
    assert [look.detail["what"] for look in looks(world)] == ["documents"]


def test_a_steward_decides_a_review_item_on_its_page_and_the_patient_reads_it(world: UUID, as_role: AsRole) -> None:
    other = Person.objects.create()
    record = index.source_records(world)[0]
    item = ReviewItem.objects.create(
        kind="possible-match",
        source_record_id=record.source_record_id,
        person_id=world,
        candidate=other,
        probability=0.7,
    )
    steward, url = as_role("steward"), page_of(item)
    shown = steward.get(url)
    assert "Quarrel" in shown.content.decode()
    assert "Take this case" in shown.content.decode()
    form = {"act": "decide", "verdict": "different", "reason": "Two sisters", "seen": shown.context_data["case"].seen}
    refused = steward.post(url, form)
    assert (refused.status_code, b"Take this case first" in refused.content) == (409, True)
    steward.post(url, {"act": "claim"})
    assert steward.post(url, {**form, "reason": " "}).status_code == 422
    item.refresh_from_db()
    assert item.status == "open"
    answer = steward.post(url, form)
    assert (answer.status_code, f"done={item.pk}" in answer["Location"]) == (302, True)
    item.refresh_from_db()
    assert (item.status, item.decision, item.decided_by) == ("decided", "different", "Staff/steward")
    words = [access_log.sentence_words(line) for line in own_log(world)]
    assert any("Ida Moss" in line and "changed your record" in line for line in words), words
    assert as_role("auditor").post(url, form).status_code in {302, 403, 404}
    assert ReviewItem.objects.get(pk=item.pk).decision == "different"


@pytest.mark.parametrize(
    ("role", "confidentiality", "shown"),
    [
        pytest.param("steward", "N", True, id="codes-of-an-ordinary-document"),
        pytest.param("steward", "R", False, id="codes-above-N-are-not-for-the-steward"),
        pytest.param("steward", None, False, id="no-label-counts-as-above-N"),
        pytest.param("administrator", "R", False, id="nor-for-the-administrator"),
        pytest.param("privacy-officer", "V", True, id="the-privacy-officer-sees-them"),
    ],
)
def test_codes_of_a_document_above_n_are_for_the_privacy_officer(
    document: Any, as_role: AsRole, role: str, confidentiality: str | None, shown: bool
) -> None:
    document.confidentiality = confidentiality
    document.save()
    content = open_page(as_role(role), page_of(document)).content.decode()
    assert document.unique_id in content
    assert ("34133-9" in content) is shown
    assert "Result of the HIV" not in content


def test_a_question_names_each_community_and_what_consent_kept_back(question: Query, as_role: AsRole) -> None:
    officer = open_page(as_role("privacy-officer"), page_of(question)).content.decode()
    assert "1 of 3 communities answered in time" in officer
    assert "Not asked because of consent: administrators only" in officer
    assert "unreachable" in officer
    assert "Secret letter" not in officer
    operator = open_page(as_role("operator"), page_of(question)).content.decode()
    assert "Not asked" not in operator
    assert "Nothing found" in operator


def test_the_bytes_of_a_message_are_shown_to_nobody(failed_message: InboundMessage, as_role: AsRole) -> None:
    boss = as_role("administrator", "privacy-officer")
    for url in (list_of(failed_message), page_of(failed_message)):
        content = boss.get(url).content
        assert b"Not a date" in content
        assert b"SECRETBYTES" not in content
        assert b"MSA|AR" not in content


def test_home_counts_what_waits_and_leads_to_it(document: Any, question: Query, failed_message: InboundMessage, as_role: AsRole) -> None:  # fmt: skip
    boss = as_role("administrator")
    rows = {row.queue.key: row for row in boss.get("/admin/").context_data["rows"]}
    counts = {key: row.queue.count for key, row in rows.items()}
    assert counts["doubtful-documents"] == 1
    assert counts["messages"] == 1
    assert counts["communities"] == 1
    assert "Community 2: 1 of 1 questions" in rows["communities"].queue.what
    assert rows["messages"].oldest == "3 hours"
    for row in rows.values():
        answer = boss.get(row.url)
        assert answer.status_code == 200, row.url
        if row.queue.key == "duplicates":
            assert answer.context_data["listed"].total == row.queue.count, row.url
        elif row.queue.key in {"doubtful-documents", "messages", "communities", "suspended"}:
            assert sum(item.count for item in answer.context_data["items"]) == row.queue.count, row.url


def test_home_shows_each_role_its_own_queues(as_role: AsRole) -> None:
    keys = {row.queue.key for row in as_role("steward").get("/admin/").context_data["rows"]}
    assert keys == {"duplicates", "deaths", "doubtful-documents", "codes"}
    assert as_role("operator").get("/admin/").context_data["summary"] == "Nothing waits."


def test_the_queues_cost_the_same_however_much_waits(
    document: Any, question: Query, failed_message: InboundMessage, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(17):
        queues.waiting()


def every_list() -> list[str]:
    return [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") for model in admin.site._registry
    ]


def test_every_list_opens(document: Any, question: Query, failed_message: InboundMessage, as_role: AsRole) -> None:
    boss = as_role("administrator", "privacy-officer")
    for url in every_list():
        assert boss.get(url).status_code == 200, url


COUNTED = [
    "patients_person", "exchange_query", "exchange_remotedocument", "audit_auditevent", "audit_disclosure",
    "documents_documententry", "consent_consent", "directory_clientkey", "directory_agreement",
]  # fmt: skip


def test_a_list_costs_a_few_statements(
    document: Any, question: Query, as_role: AsRole, django_assert_max_num_queries: Any
) -> None:
    boss = as_role("administrator")
    for name in COUNTED:
        url = reverse(f"admin:{name}_changelist")
        boss.get(url)
        # Two of them are the session of the desk and the event of the page.
        with django_assert_max_num_queries(11, info=name):
            boss.get(url)


REGISTERED = [
    "patients.person", "patients.sourcerecord", "patients.reviewitem", "patients.identityevent", "documents.documententry",
    "documents.reviewitem", "documents.submissionset", "directory.agreement", "directory.endpoint", "directory.clientkey",
    "directory.certificate", "directory.directorychange", "exchange.query", "exchange.remotedocument",
    "exchange.inboundmessage", "audit.auditevent", "audit.disclosure",
]  # fmt: skip


def test_what_is_registered_or_audited_cannot_be_posted(
    document: Any, question: Query, failed_message: InboundMessage, as_role: AsRole
) -> None:
    boss = as_role("administrator", "privacy-officer")
    with_rows = 0
    for label in REGISTERED:
        model = next(one for one in admin.site._registry if one._meta.label_lower == label)
        base = f"/admin/{label.replace('.', '/')}/"
        row = model.objects.first()  # type: ignore[attr-defined]  # every model here has one
        if row is not None:
            with_rows += 1
            assert boss.post(f"{base}{row.pk}/change/", {"status": "changed"}).status_code == 403, label
            assert boss.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403, label
            boss.post(base, {"action": "delete_selected", "_selected_action": [row.pk]})
            assert model.objects.filter(pk=row.pk).exists(), label  # type: ignore[attr-defined]  # every model here has one
        assert boss.post(f"{base}add/", {"status": "new"}).status_code == 403, label
    assert with_rows >= 12


def by_role_and_thing() -> list[tuple[str, Held]]:
    return [(role, held) for role in sorted(access.STAFF_MAY) for held in Held]


@pytest.mark.parametrize(("role", "held"), by_role_and_thing())
def test_the_door_lets_a_role_in_exactly_as_its_table_says(role: str, held: Held) -> None:
    world = UUID(int=7)
    staff = access.Staff(user_id="ida", roles=frozenset({role}))
    if held in access.STAFF_MAY[role]:
        view = access.administrative(staff, held, [world], reason="task 7")
        assert (view.role, [look.outcome for look in looks(world)]) == (role, [0])
    else:
        with pytest.raises(access.AccessRefused) as refused:
            access.administrative(staff, held, [world], reason="task 7")
        assert refused.value.rule == "G5"
        (look,) = looks(world)
        assert (look.outcome, look.rule, look.reason) == (4, "G5", "role-not-permitted")


def test_without_a_reason_nothing_is_shown_and_nothing_recorded(world: UUID) -> None:
    staff = access.Staff(user_id="ida", roles=frozenset({"steward"}))
    with pytest.raises(BadRequest):
        access.administrative(staff, Held.IDENTITIES, [world], reason="  ")
    assert looks(world) == []


MAY_LOOK = {
    "privacy-officer": {"identity", "consents", "access log", "documents", "queries"},
    "administrator": {"identity", "consents", "access log", "documents", "queries"},
    "steward": {"identity", "documents"},
    "auditor": {"access log", "queries", "consents"},
    "operator": {"queries"},
    "onboarding": set(),
}


def test_the_table_of_the_door_is_the_one_agreed() -> None:
    assert {role: {str(held) for held in things} for role, things in access.STAFF_MAY.items()} == MAY_LOOK


def test_pages_and_the_door_give_a_role_the_same(as_role: AsRole, rf: RequestFactory) -> None:
    ensure_roles()
    assert set(PAGES) == set(access.STAFF_MAY)
    for role, things in access.STAFF_MAY.items():
        as_role(role, username=f"one-{role}")
        request = rf.get("/")
        request.user = User.objects.get(username=f"one-{role}")
        for model, page in admin.site._registry.items():
            if isinstance(page, AuditedAdmin):
                assert page.has_view_permission(request) is (page.held in things), (role, model)


def test_staff_of_an_accounts_file_have_the_pages_of_their_role(client: Client) -> None:
    accounts.load({"staff": [{"username": "otto", "password": "a long enough one", "roles": ["operator"]}]})
    second_factor.sign_in(User.objects.get(username="otto"), client)
    assert client.get("/admin/exchange/query/").status_code == 200
    assert client.get("/admin/patients/person/").status_code == 403


def test_roles_are_made_once() -> None:
    assert ensure_roles()
    assert not ensure_roles()


def test_every_page_of_a_patient_goes_through_the_door() -> None:
    """What hangs on a person or an identifier of one is an AuditedAdmin; what is not is named here with its reason."""
    allowed = {"documents.association", "documents.blob", "exchange.inboundmessage", "audit.auditseal", "audit.checkpoint", "patients.importrun", "patients.matchmodel", "documents.labelrun"}  # fmt: skip
    open_pages = {
        model._meta.label_lower
        for model, page in admin.site._registry.items()
        if model._meta.app_label in {"patients", "documents", "consent", "audit", "exchange"}
        and not isinstance(page, AuditedAdmin)
    }
    policy = {"consent.jurisdiction", "consent.codetable", "consent.policyproposal"}
    # Ids and counts, and nothing of whom or what they are of.
    assert open_pages - allowed == policy | {"consent.legalhold", "consent.retentionrun"}


def test_a_stranger_and_a_user_who_is_no_staff_are_sent_to_sign_in(client: Client) -> None:
    assert client.get("/admin/").status_code == 302
    second_factor.sign_in(User.objects.create_user("walker", password="x"), client)
    assert client.get("/admin/").status_code == 302


def test_the_browser_policy_names_no_other_host_and_no_inline_script(as_role: AsRole, client: Client) -> None:
    for answer in (as_role("administrator").get("/admin/"), client.get("/admin/login/")):
        policy = answer.headers["Content-Security-Policy"]
        assert "http" not in policy
        assert "script-src 'self' 'unsafe-eval';" in policy
        assert "frame-ancestors 'none'" in policy


def test_a_steward_sets_withdraws_and_undoes_a_value_by_hand_without_script(world: UUID, as_role: AsRole) -> None:
    steward = as_role("steward")
    url = reverse("admin:patients_person_by_hand", args=[world])
    assert b"Why do you look?" in steward.get(url).content
    shown = open_page(steward, url).content.decode()
    assert "9 April 1971" in shown
    assert "The Hospital" in shown
    assert "script-src 'self'" in steward.get(url).headers["Content-Security-Policy"]
    assert b'name="birth_date" value="1971-04-09"' in steward.get(url, {"set": "birth_date"}).content
    form = {"act": "set", "field": "birth_date", "birth_date": "1971-04-31", "reason": "Passport seen"}
    wrong = steward.post(url, form)
    assert wrong.status_code == 422
    assert b'value="1971-04-31"' in wrong.content
    assert b"Passport seen" in wrong.content
    assert steward.post(url, {**form, "birth_date": "1971-04-19", "reason": ""}).status_code == 422
    done = steward.post(url, {**form, "birth_date": "1971-04-19"}, follow=True).content.decode()
    assert "19 April 1971" in done
    assert "Set by hand" in done
    assert "Ida Moss: “Passport seen”" in done
    assert "Passport seen" in done
    assert b"1971-04-19" in open_page(steward, page_of(Person.objects.get(pk=world))).content
    value = index.source_records(world)
    (held,) = [item for record in value for item in record.by_hand]
    assert b"Withdraw it" in steward.get(url, {"withdraw": held.pk}).content
    steward.post(url, {"act": "withdraw", "value_id": held.pk, "reason": "Misread"})
    assert b"9 April 1971" in steward.get(url).content
    assert b"Withdraw it" not in steward.get(url, {"withdraw": "77"}).content
    newest = ValueByHand.objects.latest("pk")
    steward.post(url, {"act": "undo", "value_id": newest.pk, "reason": "It was right"})
    assert b"Undone" in steward.get(url).content
    assert index.golden(index.source_records(world), about=index.source_records(world)).birth_date == "1971-04-19"
    for act, number in (("withdraw", "77"), ("undo", "x"), ("fly", "1")):
        assert steward.post(url, {"act": act, "value_id": number, "reason": "x"}).status_code == 422
    assert [event.person_id for event in AuditEvent.objects.filter(kind="identity-by-hand")] == [world] * 3
    assert "It was right" in {line.quotation for line in own_log(world)}


def test_values_by_hand_are_for_those_who_may_see_identities(world: UUID, as_role: AsRole) -> None:
    url = reverse("admin:patients_person_by_hand", args=[world])
    assert as_role("operator").get(url).status_code == 403
    form = {"act": "set", "field": "gender", "gender": "male", "reason": "x"}
    assert as_role("auditor").post(url, form).status_code == 403
    assert as_role("steward").get(reverse("admin:patients_person_by_hand", args=[UUID(int=3)])).status_code == 404


def test_an_administrator_ranks_a_source_and_the_history_tells(world: UUID, as_role: AsRole) -> None:
    boss = as_role("administrator")
    row = Participant.objects.get(pk="org-clinic")
    page = page_of(row)
    asked = boss.get(page)
    form = {
        name: value
        for name, value in asked.context["adminform"].form.initial.items()
        if name in ("rate_per_s", "burst", "concurrency") and value is not None
    }
    for formset in asked.context["inline_admin_formsets"]:
        form |= {f"{formset.formset.prefix}-{name}": 0 for name in ("TOTAL_FORMS", "INITIAL_FORMS")}
    assert boss.post(page, {**form, "source_trust": "101"}).status_code == 200
    assert boss.post(page, {**form, "source_trust": "7"}).status_code == 302
    row.refresh_from_db()
    assert row.source_trust == 7
    assert DirectoryChange.objects.latest("pk").changed == {"source_trust": [None, 7]}


def test_the_privacy_officer_ends_a_choice_on_its_page_and_the_patient_reads_it(world: UUID, as_role: AsRole) -> None:
    choice = directives.import_unchecked({"status": "active"}, identifier_pk=identifiers.anchor(world).pk, actor="x")
    url = reverse("admin:consent_consent_end", args=[choice.id])
    for role in ("auditor", "steward", "administrator"):
        client = as_role(role)
        assert client.get(url).status_code == 403
        assert client.post(url, {"reason": "curious", "evidence": "none"}).status_code == 403
    officer = as_role("privacy-officer")
    assert officer.get(url).status_code == 200
    missing = officer.post(url, {"reason": "Filed for another patient", "evidence": " "})
    assert (missing.status_code, b"Give the evidence" in missing.content) == (422, True)
    assert b"Filed for another patient" in missing.content
    assert directives.read(choice.id).status == "active"
    assert officer.post(url, {"reason": "Filed for another patient", "evidence": "Folder 7"}).status_code == 302
    ended = directives.read(choice.id)
    assert (ended.status, ended.revoked_by, ended.evidence) == ("inactive", "Staff/privacy-officer", "Folder 7")
    assert "Filed for another patient" in {line.quotation for line in own_log(world)}
    assert officer.get(reverse("admin:consent_consent_end", args=[world])).status_code == 404
