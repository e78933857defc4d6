"""The pages of a person's identity over HTTP: found with a reason, joined, parted and undone through cases of the queue; who
is shown is recorded, and a refusal says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from hie.audit.models import AuditEvent
from patients import identifiers, linking, review_queue
from patients.models import IdentityEvent, Link, ReviewAct, ReviewItem
from tests.backoffice.cases import documented, fed, who
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, exchange

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]
FIND = "/admin/patients/person/find/"
WHY = "The registrar called, 4711"


def url_of(page: str, *people: UUID) -> str:
    return reverse(f"admin:patients_person_{page}", args=people)


def looked_at() -> list[UUID]:
    found = AuditEvent.objects.filter(kind="staff-look").order_by("at").values_list("person_id", flat=True)
    return [UUID(str(one)) for one in found]


def amara(documents: int = 0) -> tuple[UUID, list[int]]:
    """A woman of three records; documents on the second."""
    exchange()
    home = {"line": "1 Fen Street", "phone": "+12025550188"}
    made = [fed(owner, value, who("Amara Jo", "Lindqvist", "1968-12-01", **home)) for owner, value in (
        (HOSPITAL_AUTHORITY, "M1"), (CLINIC_AUTHORITY, "M2"), (CLINIC_AUTHORITY, "M3"))]  # fmt: skip
    assert len({one.person_id for one in made}) == 1
    if documents:
        documented(CLINIC_AUTHORITY, "M2", documents)
    return UUID(str(made[0].person_id)), [one.source_record_id for one in made]


def felix() -> UUID:
    """Somebody else, of one record."""
    return UUID(str(fed(HOSPITAL_AUTHORITY, "F1", who("Felix", "Arden", "1970-08-25", gender="male", line="12 Station Road", phone="+12025550177")).person_id))  # fmt: skip


def looking(client: Client, *people: UUID, page: str = "identity") -> None:
    """Give the reason for which these people are looked at."""
    for person in people:
        assert client.post(url_of("identity", person), {"look_reason": WHY}).status_code == 302


def holder(value: str, authority: str = CLINIC_AUTHORITY) -> UUID:
    found = identifiers.resolve(authority, value)
    assert found is not None
    return found.person_id


def parting(client: Client, person: UUID, records: list[int], **changes: Any) -> dict[str, Any]:
    seen = client.get(url_of("split", person)).context_data["page"].seen
    return {"act": "open", "record": [str(one) for one in records], "reason": WHY, "seen": seen} | changes


def case_form(client: Client, item_id: int, **changes: Any) -> dict[str, Any]:
    url = reverse("admin:patients_reviewitem_change", args=[item_id])
    client.post(url, {"act": "claim"})
    return {"act": "decide", "reason": WHY, "seen": client.get(url).context_data["case"].seen} | changes


# --- finding ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        pytest.param({"value": "M1"}, True, id="number"),
        pytest.param({"value": "M1", "system": HOSPITAL_AUTHORITY}, True, id="number-of-its-organization"),
        pytest.param({"value": "M1", "system": CLINIC_AUTHORITY}, False, id="number-of-another-organization"),
        pytest.param({"family": "lindqvist", "given": "Amara"}, True, id="name"),
        pytest.param({"family": "Lindq", "born": "1968"}, True, id="beginning-of-name-and-year"),
        pytest.param({"family": "Lindqvist", "born": "1968-12-02"}, False, id="another-birth-date"),
    ],
)
def test_a_person_is_found_by_number_or_by_name_and_each_who_is_shown_has_a_look_with_the_reason(
    as_role: AsRole, asked: dict[str, str], found: bool
) -> None:
    person, _ = amara()
    felix()
    steward = as_role("steward")
    answer = steward.post(FIND, {**asked, "reason": WHY})
    text = answer.content.decode()
    assert ("1968" in text, "Arden" in text) == (found or "born" in asked, False)
    assert [one.person_id for one in answer.context_data["found"]] == ([person] if found else [])
    assert looked_at() == ([person] if found else [])
    if found:
        look = AuditEvent.objects.get(kind="staff-look")
        assert look.detail["page"] == "find"
        # The reason holds for the pages of whoever was found: nobody is asked twice.
        assert steward.get(url_of("identity", person)).status_code == 200
        assert "Records now" in steward.get(url_of("identity", person)).content.decode()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"value": ""}, "value", id="nothing"),
        pytest.param({"value": "", "family": "Lindqvist"}, "value", id="family-name-alone"),
        pytest.param({"value": "", "system": CLINIC_AUTHORITY}, "value", id="organization-alone"),
        pytest.param({"born": "1968-02-31"}, "born", id="no-such-day"),
        pytest.param({"born": "12/1968"}, "born", id="a-date-written-otherwise"),
        pytest.param({"born": "1968-2-3"}, "born", id="a-date-without-zeros"),
        pytest.param({"value": "x" * 201}, "value", id="too-long"),
        pytest.param({"family": "a\x00b"}, "family", id="what-cannot-be-shown"),
        pytest.param({"reason": "  "}, "why", id="no-reason"),
    ],
)
def test_a_question_that_says_too_little_finds_nobody_and_names_its_field(
    as_role: AsRole, changes: dict[str, str], field: str
) -> None:
    amara()
    answer = as_role("steward").post(FIND, {"value": "M1", "reason": WHY} | changes)
    text = answer.content.decode()
    assert answer.status_code == 422
    assert f'href="#{field}"' in text
    assert f'id="{field}"' in text
    assert "<title>Error: " in text
    assert "1 Fen Street" not in text
    assert looked_at() == []


def test_no_more_are_shown_than_a_page_holds_and_the_page_says_so(as_role: AsRole) -> None:
    exchange()
    for number in range(29):
        fed(HOSPITAL_AUTHORITY, f"N{number}", who(f"Name{number:02d}", "Oxley", f"{1900 + 4 * number}-03-0{1 + number % 9}", phone="", line=f"{number} Way"))  # fmt: skip
    answer = as_role("steward").post(FIND, {"family": "Oxley", "born": "19", "reason": WHY})
    assert answer.status_code == 422
    answer = as_role("steward", username="bo").post(FIND, {"family": "Oxley", "given": "Name", "reason": WHY})
    assert len(answer.context_data["found"]) == 20 == len(looked_at())
    assert "There are more than can be shown" in answer.content.decode()


@pytest.mark.parametrize("role", ["auditor", "operator", "onboarding"])
def test_who_is_no_steward_finds_opens_and_undoes_nothing(as_role: AsRole, role: str) -> None:
    person, records = amara()
    other = felix()
    event = linking.merge(person, other, actor="Staff/x", reason="by hand")
    before = Link.objects.count()
    client = as_role(role)
    posts: list[tuple[str, dict[str, Any]]] = [
        (FIND, {"value": "M1", "reason": WHY}),
        (url_of("identity", person), {"act": "undo", "event": str(event), "reason": WHY}),
        (url_of("split", person), {"act": "open", "record": str(records[0]), "reason": WHY}),
        (url_of("join", person, other), {"reason": WHY}),
    ]
    for url, form in posts:
        assert client.get(url).status_code in {302, 403}, url
        answer = client.post(url, form)
        assert answer.status_code in {302, 403}, url
        assert "find" not in answer.headers.get("Location", "")
    assert not ReviewItem.objects.exists()
    assert Link.objects.count() == before
    assert Client().get(url_of("identity", person)).status_code == 302


def test_no_page_of_a_person_is_shown_without_a_reason_or_of_nobody(as_role: AsRole) -> None:
    person, _ = amara()
    other = felix()
    steward = as_role("steward")
    for url in (url_of("identity", person), url_of("split", person), url_of("join", person, other)):
        asked = steward.get(url).content.decode()
        assert "Your reason" in asked
        assert "Lindqvist" not in asked
    assert looked_at() == []
    unknown = UUID(int=7)
    looking(steward, person)
    for url in (url_of("identity", unknown), url_of("split", unknown), url_of("join", person, unknown),
                f"{FIND}?join={unknown}", f"{FIND}?into=x", url_of("split", person) + f"?into={unknown}",
                url_of("split", person) + f"?into={person}"):  # fmt: skip
        assert steward.get(url).status_code == 404, url
    # A reason for one is none for the other.
    assert "Your reason" in steward.get(url_of("join", person, other)).content.decode()
    assert "Your reason" in steward.get(url_of("split", person) + f"?into={other}").content.decode()
    assert other not in looked_at()


def test_the_pages_run_no_foreign_and_no_inline_script(as_role: AsRole) -> None:
    person, _ = amara()
    other = felix()
    steward = as_role("steward")
    looking(steward, person, other)
    for url in (FIND, url_of("identity", person), url_of("split", person), url_of("join", person, other)):
        answer = steward.get(url)
        assert answer.status_code == 200, url
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "no-store" in answer.headers["Cache-Control"]
        text = answer.content.decode()
        assert "style=" not in text
        assert " on" + "click" not in text
        assert "<script" not in text


# --- two are one -----------------------------------------------------------------------------------------------------


def test_two_persons_who_are_said_to_be_one_become_a_case_of_whoever_asked(as_role: AsRole) -> None:
    person, _ = amara(documents=2)
    other = felix()
    ada, bo = as_role("steward", username="ada"), as_role("steward", username="bo")
    found = ada.post(f"{FIND}?join={person}", {"value": "F1", "reason": WHY})
    assert url_of("join", person, other) in found.content.decode()
    looking(ada, person)
    page = ada.get(url_of("join", person, other)).content.decode()
    assert looked_at() == [other, *sorted([person, other])]
    assert "Lindqvist" in page
    assert "Arden" in page
    empty = ada.post(url_of("join", person, other), {"reason": " "})
    assert (empty.status_code, 'href="#why"' in empty.content.decode()) == (422, True)
    assert not ReviewItem.objects.exists()
    opened = ada.post(url_of("join", person, other), {"reason": WHY})
    item = ReviewItem.objects.get()
    assert opened["Location"].startswith(reverse("admin:patients_reviewitem_change", args=[item.pk]))
    case = ada.get(opened["Location"].split("#")[0])
    assert case.context_data["claim"] == "mine"
    assert case.context_data["typed"]["reason"] == WHY
    assert "2 documents would move: a second steward must agree first" in case.content.decode()
    url = reverse("admin:patients_reviewitem_change", args=[item.pk])
    ada.post(url, case_form(ada, item.pk, verdict="same"))
    assert identifiers.survivor(other) == other
    own = ada.post(url, {"act": "confirm", "reason": WHY, "seen": case.context_data["case"].seen})
    assert own.status_code == 409
    bo.post(url, case_form(bo, item.pk, act="confirm"))
    assert identifiers.survivor(other) == identifiers.survivor(person)
    # Whoever opens the page of the two again is led to the one they are.
    assert ada.get(url_of("join", person, other))["Location"] == url_of(
        "identity", identifiers.survivor(person) or other
    )


def test_two_who_became_one_meanwhile_open_no_case(as_role: AsRole) -> None:
    person, _ = amara()
    other = felix()
    steward = as_role("steward")
    looking(steward, person, other)
    linking.merge(person, other, actor="Staff/x", reason="by hand")
    assert steward.post(url_of("join", person, other), {"reason": WHY})["Location"] == url_of("identity", person)
    assert not ReviewItem.objects.exists()


# --- records of somebody else ----------------------------------------------------------------------------------------


def test_records_are_chosen_with_what_hangs_on_them_and_moved_by_two_stewards_and_back_by_one(as_role: AsRole) -> None:
    person, records = amara(documents=2)
    ada, bo = as_role("steward", username="ada"), as_role("steward", username="bo")
    looking(ada, person)
    page = ada.get(url_of("split", person)).content.decode()
    assert "With it: 2 documents, the newest of" in page
    opened = ada.post(url_of("split", person), parting(ada, person, records[1:2]))
    item = ReviewItem.objects.get()
    assert (item.kind, item.records, item.claimed_by) == ("parting", records[1:2], "Staff/ada")
    case = ada.get(opened["Location"].split("#")[0]).content.decode()
    assert "2 documents leave this person with 1 record." in case
    assert "2 documents would move: a second steward must agree first" in case
    url = reverse("admin:patients_reviewitem_change", args=[item.pk])
    ada.post(url, case_form(ada, item.pk, verdict="different"))
    assert holder("M2") == person
    assert ada.post(url, {"act": "claim"}).status_code == 409
    bo.post(url, case_form(bo, item.pk, act="confirm"))
    apart = holder("M2")
    assert apart != person
    assert holder("M3") == person
    concerned = {event.person_id for event in AuditEvent.objects.filter(kind="identity-unlink")}
    assert {UUID(str(one)) for one in concerned} == {person, apart}
    assert bo.post(url, {"act": "undo", "reason": "It was hers"}).status_code == 302
    assert holder("M2") == person


def test_records_go_to_another_known_person_who_is_found_on_the_way(as_role: AsRole) -> None:
    person, records = amara()
    other = felix()
    steward = as_role("steward")
    looking(steward, person)
    sent = steward.post(url_of("split", person), parting(steward, person, records[2:], act="find"))
    assert sent["Location"] == f"{FIND}?into={person}&record={records[2]}"
    found = steward.post(sent["Location"], {"value": "F1", "reason": WHY}).content.decode()
    target = f"{url_of('split', person)}?record={records[2]}&into={other}"
    assert target.replace("&", "&amp;") in found
    page = steward.get(target)
    assert "Arden" in page.content.decode()
    assert f'value="{records[2]}" checked' in page.content.decode()
    assert other in looked_at()
    steward.post(target, parting(steward, person, records[2:]))
    item = ReviewItem.objects.get()
    url = reverse("admin:patients_reviewitem_change", args=[item.pk])
    assert "Move record A to the other person" in steward.get(url).content.decode()
    steward.post(url, case_form(steward, item.pk, verdict="different"))
    assert holder("M3") == other


@pytest.mark.parametrize(
    ("changes", "status", "says"),
    [
        pytest.param({"record": []}, 422, 'href="#records"', id="none-chosen"),
        pytest.param({"record": "all"}, 422, "Leave at least one record", id="all-chosen"),
        pytest.param({"record": ["999999"]}, 422, 'href="#records"', id="another-persons-record"),
        pytest.param({"reason": ""}, 422, 'href="#why"', id="no-reason"),
        pytest.param({"seen": "0" * 16}, 409, "A record changed while you looked", id="stale"),
        pytest.param({"act": "everything"}, 422, "There is nothing here", id="no-such-act"),
    ],
)
def test_a_parting_that_lacks_something_opens_no_case_and_keeps_what_was_typed(
    as_role: AsRole, changes: dict[str, Any], status: int, says: str
) -> None:
    person, records = amara()
    steward = as_role("steward")
    looking(steward, person)
    if changes.get("record") == "all":
        changes = {"record": [str(one) for one in records]}
    refused = steward.post(url_of("split", person), parting(steward, person, records[1:2]) | changes)
    text = refused.content.decode()
    assert (refused.status_code, says in text) == (status, True)
    assert "<title>Error: " in text
    assert changes.get("reason", WHY) in text
    assert not ReviewItem.objects.exists()


def test_a_record_that_moved_while_the_page_was_open_is_not_moved_again(as_role: AsRole) -> None:
    person, records = amara()
    steward = as_role("steward")
    looking(steward, person)
    form = parting(steward, person, records[1:2])
    linking.unlink(records[1], actor="Staff/x", reason="not hers")
    refused = steward.post(url_of("split", person), form)
    assert (refused.status_code, b"A record changed while you looked" in refused.content) == (409, True)
    # And on the case: what was proposed there is not carried out on other records.
    linking.link(records[1], person, actor="Staff/x", reason="hers")
    steward.post(url_of("split", person), parting(steward, person, records[1:2]))
    item = ReviewItem.objects.get(kind="parting")
    typed = case_form(steward, item.pk, verdict="different")
    linking.unlink(records[1], actor="Staff/x", reason="not hers")
    url = reverse("admin:patients_reviewitem_change", args=[item.pk])
    assert steward.post(url, typed).status_code == 409
    item.refresh_from_db()
    assert item.status == "open"


# --- history ---------------------------------------------------------------------------------------------------------


def test_the_page_says_who_changed_what_why_and_who_the_identity_was_on_a_day(as_role: AsRole) -> None:
    person, records = amara()
    steward = as_role("steward", username="ada")
    linking.unlink(records[1], actor="Staff/ada", reason="Two women of one name")
    apart = holder("M2")
    Link.objects.filter(source_record__in=records, valid_to__isnull=False).update(
        valid_from=timezone.now() - timedelta(days=9)
    )
    looking(steward, person)
    text = steward.get(url_of("identity", person)).content.decode()
    assert "Taken out." in text
    assert "By Ida Moss." in text
    assert "Two women of one name" in text
    assert {person, apart} <= set(looked_at())
    now = steward.get(url_of("identity", person), {"on": f"{timezone.now():%Y-%m-%d}"})
    assert {one.identifier for one in now.context_data["then"]} == {"M1", "M3"}
    week = steward.get(
        url_of("identity", person), {"on": f"{timezone.now() - timedelta(days=5):%Y-%m-%d}", "at": "09:30"}
    )
    (then,) = [one for one in week.context_data["then"] if one.identifier == "M2"]
    assert (then.elsewhere, then.now) == (None, apart)
    assert "another’s today" in week.content.decode()
    before = steward.get(url_of("identity", person), {"on": "1999-01-01"})
    assert "Nothing was known of this person then" in before.content.decode()


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        pytest.param({"on": ""}, "on", id="no-day"),
        pytest.param({"on": "2026-02-31"}, "on", id="no-such-day"),
        pytest.param({"on": "9999-12-31"}, "on", id="a-day-to-come"),
        pytest.param({"on": "2026-02-01", "at": "noon"}, "at", id="no-such-time"),
    ],
)
def test_a_day_that_cannot_be_asked_for_is_named_beside_its_field(
    as_role: AsRole, asked: dict[str, str], field: str
) -> None:
    person, _ = amara()
    steward = as_role("steward")
    looking(steward, person)
    answer = steward.get(url_of("identity", person), asked)
    assert answer.status_code == 422
    assert f'id="{field}-wrong"' in answer.content.decode()


def test_a_change_is_undone_from_the_page_at_once_or_by_a_case_where_documents_move(as_role: AsRole) -> None:
    person, _ = amara()
    other = felix()
    steward = as_role("steward", username="ada")
    merged = linking.merge(person, other, actor="client-9", reason="by a client")
    looking(steward, person)
    url = url_of("identity", person)
    form = steward.get(url, {"undo": str(merged)}).content.decode()
    assert "Undo this change" in form
    empty = steward.post(url, {"act": "undo", "event": str(merged), "reason": ""})
    assert (empty.status_code, 'href="#why"' in empty.content.decode()) == (422, True)
    assert steward.post(url, {"act": "undo", "event": str(merged), "reason": WHY})["Location"] == f"{url}?done=1#notice"
    assert identifiers.survivor(other) == other
    assert "Undone" in steward.get(url).content.decode()
    again = steward.post(url, {"act": "undo", "event": str(merged), "reason": WHY})
    assert (again.status_code, b"This was undone before" in again.content) == (409, True)
    documented(CLINIC_AUTHORITY, "M2")
    undo = IdentityEvent.objects.get(undoes__id=merged)
    opened = steward.post(url, {"act": "undo", "event": str(undo.id), "reason": WHY})
    item = ReviewItem.objects.get()
    assert opened["Location"].startswith(reverse("admin:patients_reviewitem_change", args=[item.pk]))
    assert item.contested_id == undo.seq
    assert identifiers.survivor(other) == other
    shown = steward.get(opened["Location"].split("#")[0]).content.decode()
    assert "Undo the change" in shown
    assert "a second steward must agree first" in shown


def test_what_is_contested_goes_to_the_case_that_waits_between_the_two_with_its_reason(as_role: AsRole) -> None:
    person, _ = amara()
    other = felix()
    steward = as_role("steward", username="ada")
    looking(steward, person)
    merged = linking.merge(person, other, actor="client-9", reason="by a client")
    undo = IdentityEvent.objects.get(id=linking.undo(merged, actor="client-9", reason="by mistake"))
    waits, _ = review_queue.open_between(person, other, actor="Staff/x", reason="a call")
    documented(CLINIC_AUTHORITY, "M2")
    act = {"act": "undo", "event": str(undo.id), "reason": WHY}
    opened = steward.post(url_of("identity", person), act)
    assert opened["Location"].startswith(reverse("admin:patients_reviewitem_change", args=[waits]))
    item = ReviewItem.objects.get()
    assert item.contested_id == undo.seq
    said = [(one.actor, one.reason) for one in ReviewAct.objects.order_by("pk")]
    assert said == [("Staff/x", "a call"), ("Staff/ada", WHY)]
    assert b"Undo the change" in steward.get(opened["Location"].split("#")[0]).content


def test_what_is_no_change_of_this_person_is_not_undone_on_its_page(as_role: AsRole) -> None:
    person, records = amara()
    other = felix()
    elsewhere = UUID(str(fed(HOSPITAL_AUTHORITY, "Z1", who("Mabel", "Trask", "1944-11-30", line="8 Mill Road", phone="+12025550121")).person_id))  # fmt: skip
    foreign = linking.merge(other, elsewhere, actor="Staff/x", reason="by hand")
    created = IdentityEvent.objects.filter(person=person).first()
    assert created is not None
    steward = as_role("steward")
    looking(steward, person)
    for event in (str(foreign), str(created.id), str(UUID(int=7)), "x", ""):
        refused = steward.post(url_of("identity", person), {"act": "undo", "event": event, "reason": WHY})
        assert (refused.status_code, b"This cannot be undone" in refused.content) == (409, True), event
    assert identifiers.survivor(elsewhere) == other
    assert not ReviewAct.objects.exists()
    merged = linking.merge(person, other, actor="Staff/x", reason="by hand")
    # The page of who was merged away leads to who he is now.
    assert steward.get(url_of("identity", other))["Location"] == url_of("identity", person)
    assert b"Undo" in steward.get(url_of("identity", person), {"undo": str(merged)}).content
    assert records


def test_a_page_costs_as_many_statements_for_many_records_as_for_few(as_role: AsRole) -> None:
    person, records = amara(documents=1)
    other = felix()
    steward = as_role("steward")
    looking(steward, person)

    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert steward.get(url_of("identity", person), {"on": f"{timezone.now():%Y-%m-%d}"}).status_code == 200
        return len(captured)

    linking.undo(linking.unlink(records[2], actor="Staff/x", reason="not hers"), actor="Staff/y", reason="hers")
    few = statements()
    for number in range(4, 12):
        fed(CLINIC_AUTHORITY, f"M{number}", who("Amara Jo", "Lindqvist", "1968-12-01", line="1 Fen Street", phone="+12025550188"))  # fmt: skip
    linking.undo(linking.merge(person, other, actor="client-9"), actor="Staff/x", reason="no")
    # One look more is written for whoever has the records that were here meanwhile.
    assert statements() - few <= 6
