"""The one search of the desk over HTTP: what finds what, for whom, and that each look stands in the log."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from hie.audit.models import AuditEvent
from hie.exchange.models import Concern, InboundMessage, Query
from patients import identifiers, linking
from tests.backoffice.cases import fed, who
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]
FIND = "/admin/find/"
WHY = "The registrar called, 4711"


def asked(client: Client, text: str, reason: str = WHY) -> Any:
    return client.post(FIND, {"q": text, "reason": reason})


def kinds(answer: Any) -> dict[str, int]:
    """How many of each kind are shown."""
    return {group.kind: group.count for group in answer.context_data["found"].groups if group.count}


def looks() -> list[tuple[UUID | None, str]]:
    found = AuditEvent.objects.filter(kind="staff-look").order_by("at", "pk")
    return [(row.person_id, row.detail["what"]) for row in found]


@pytest.mark.parametrize(
    "text",
    [
        "P1",
        f"P1^^^&{HOSPITAL_AUTHORITY}&ISO",
        f"{HOSPITAL_AUTHORITY}|P1",
        f"urn:oid:{HOSPITAL_AUTHORITY}|P1",
        "Quarrel 1971-04-09",
        "quarrel 9.4.1971",
        "Rosamund Quarrel",
        "Quarrel, Rosamund",
        "Quarr 1971",
        "{person}",
        "urn:uuid:{person}",
    ],
)
def test_a_person_is_found_by_whatever_is_known_and_has_a_look_with_the_reason(
    world: UUID, as_role: AsRole, text: str
) -> None:
    fed(CLINIC_AUTHORITY, "F1", who("Felix", "Arden", "1970-08-25", gender="male"))
    steward = as_role("steward")
    answer = asked(steward, text.format(person=world))
    content = answer.content.decode()
    assert (answer.status_code, kinds(answer)) == (200, {"persons": 1})
    assert ("Quarrel, Rosamund Ivy" in content, "Arden" in content) == (True, False)
    assert looks() == [(world, "identity")]
    # The reason holds for the pages of whoever was found: nobody is asked twice.
    assert "Records now" in steward.get(f"/admin/patients/person/{world}/identity/").content.decode()


@pytest.mark.parametrize("text", ["P2", f"P1^^^&{CLINIC_AUTHORITY}&ISO", "Quarrel 1971-04-10", "Rosamund Arden"])
def test_nobody_else_is_found(world: UUID, as_role: AsRole, text: str) -> None:
    answer = asked(as_role("steward"), text)
    assert kinds(answer) == {}
    assert "Nothing found" in answer.content.decode()
    assert looks() == []


def test_without_a_reason_persons_are_not_looked_for_at_all(world: UUID, as_role: AsRole) -> None:
    steward = as_role("steward")
    answers = [asked(steward, text, "  ").content.decode() for text in ("P1", "P2")]
    assert "Say why you look" in answers[0]
    assert "Quarrel" not in answers[0]
    assert looks() == []
    # Nor does it tell that there is such a number.
    one, other = (re.sub(r"P[12]|value=\"[A-Za-z0-9]{64}\"", "", text) for text in answers)
    assert one == other


def test_the_reason_is_kept_for_the_next_search_and_shown_before_it_is_used(world: UUID, as_role: AsRole) -> None:
    steward = as_role("steward")
    asked(steward, "P1")
    assert WHY in steward.get(FIND).content.decode()
    assert len(looks()) == 1
    asked(steward, "P1", "")
    assert len(looks()) == 1


def test_a_merged_person_is_found_under_its_former_id(world: UUID, as_role: AsRole) -> None:
    other = UUID(str(fed(CLINIC_AUTHORITY, "R2", who("Rosa", "Quarrel", "1971-04-09", phone="+12025550999")).person_id))
    if other != world:
        linking.merge(world, other, actor="x", reason="x")
    gone = other if identifiers.survivor(other) == world else world
    answer = asked(as_role("steward"), str(gone))
    assert [one.person_id for group in answer.context_data["found"].groups for one in group.people] == [world]


def test_documents_are_found_by_unique_id_entry_uuid_and_logical_id(
    world: UUID, document: Any, as_role: AsRole
) -> None:
    steward = as_role("steward")
    for text in (document.unique_id, f"urn:oid:{document.unique_id}", str(document.entry_uuid), f"urn:uuid:{document.logical_id}"):  # fmt: skip
        answer = asked(steward, text, "")
        assert kinds(answer) == {"documents": 1}, text
        content = answer.content.decode()
        assert f"/admin/documents/documententry/{document.pk}/change/" in content
        assert "HIV" not in content
    assert looks() == [(world, "documents")] * 4


def test_a_message_is_found_by_control_id_and_id(failed_message: InboundMessage, as_role: AsRole) -> None:
    operator = as_role("operator")
    for text in ("77", str(failed_message.pk)):
        answer = asked(operator, text)
        assert kinds(answer) == {"messages": 1}, text
        assert "Not a date" in answer.content.decode()
    assert kinds(asked(operator, "78")) == {}
    assert looks() == []


@pytest.mark.parametrize("text", ["clinic", "org-clinic", CLINIC_AUTHORITY])
def test_an_organization_is_found_by_part_of_its_name_id_and_authority(world: UUID, as_role: AsRole, text: str) -> None:
    answer = asked(as_role("onboarding"), text)
    assert kinds(answer) == {"organizations": 1}
    assert "/admin/directory/participant/org-clinic/change/" in answer.content.decode()


def test_a_question_and_an_event_are_found_by_id_and_are_looks_at_their_patient(
    question: Query, world: UUID, as_role: AsRole
) -> None:
    auditor = as_role("auditor")
    event = AuditEvent.objects.filter(person_id=world).first()
    assert event is not None
    assert kinds(asked(auditor, str(question.pk), "")) == {"queries": 1}
    assert kinds(asked(auditor, str(event.pk), "")) == {"events": 1}
    assert looks() == [(world, "queries"), (world, "access log")]


def test_a_concern_is_found_by_its_number_however_it_is_written(world: UUID, as_role: AsRole) -> None:
    found = identifiers.resolve(HOSPITAL_AUTHORITY, "P1")
    at = timezone.now()
    assert found is not None
    Concern.objects.create(
        number="C-2026-000042", identifier_id=found.pk, event_id=UUID(int=1), event_at=at, raised_by="patient",
        reason="person", status="office", raised_at=at, due_at=at + timedelta(days=5),
    )  # fmt: skip
    assert kinds(asked(as_role("auditor"), "c-2026-000042", "")) == {"concerns": 1}
    assert looks() == [(world, "access log")]


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("steward", {"persons", "documents"}),
        ("privacy-officer", {"persons", "documents", "organizations", "queries", "concerns", "events"}),
        ("auditor", {"organizations", "queries", "concerns", "events"}),
        ("operator", {"messages", "organizations", "queries"}),
        ("onboarding", {"organizations"}),
        ("administrator", {"persons", "documents", "messages", "organizations", "queries", "concerns", "events"}),
    ],
)
def test_each_role_looks_for_what_it_may_open_and_for_nothing_else(
    role: str, may: set[str], world: UUID, document: Any, question: Query, failed_message: InboundMessage, as_role: AsRole
) -> None:  # fmt: skip
    client = as_role(role)
    page = client.get(FIND)
    assert {kind.key for kind in page.context_data["kinds"]} == may
    for text, kind in (
        (str(world), "persons"), (str(document.entry_uuid), "documents"), ("77", "messages"), ("The Clinic", "organizations"),
        (str(question.pk), "queries"),
    ):  # fmt: skip
        assert (kind in kinds(asked(client, text))) is (kind in may), (role, kind)
    assert ("Why you look" in page.content.decode()) is ("persons" in may)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(" ", "Write at least 2 letters or digits.", id="nothing"),
        pytest.param("x", "Write at least 2 letters or digits.", id="too-short"),
        pytest.param("x" * 201, "Write it in at most 200 letters.", id="too-long"),
        pytest.param("a\x00b", "Take out the sign that cannot be shown.", id="no-text"),
    ],
)
def test_what_cannot_be_looked_for_is_said_at_its_field(world: UUID, as_role: AsRole, text: str, says: str) -> None:
    answer = asked(as_role("steward"), text)
    content = answer.content.decode()
    assert answer.status_code == 422
    assert content.count(says) == 2
    assert 'href="#q"' in content
    assert "<title>Error: " in content


def test_where_there_are_more_than_can_be_shown_it_says_so(world: UUID, as_role: AsRole) -> None:
    at = timezone.now()
    InboundMessage.objects.bulk_create(
        InboundMessage(protocol="hl7v2", sender=f"LAB|{n}", control_id="again", digest=bytes([n]) * 32, raw=b"", key_id="k", size=0, received_at=at)
        for n in range(25)
    )  # fmt: skip
    answer = asked(as_role("operator"), "again")
    assert kinds(answer) == {"messages": 20}
    assert "Messages: 20 shown, and there are more" in answer.content.decode()
    steward = as_role("steward")
    content = asked(steward, "Quarrel").content.decode()
    assert "write the date of birth too, or family name and given name" in content
    for n in range(22):
        born = f"{1900 + 3 * n}-0{1 + n % 9}-11"
        fed(CLINIC_AUTHORITY, f"Z{n}", who(f"{'Abcdefghijklmnopqrstuvwxyz'[n]}na", "Zylstra", born, phone="", line="", city="", code=""))  # fmt: skip
    answer = asked(steward, "Zylstra 19")
    assert kinds(answer) == {}
    many = steward.post(FIND, {"q": "Zylstra, a", "reason": WHY})
    assert many.context_data["found"].count <= 20


def statements(client: Client, text: str) -> int:
    asked(client, text)
    with CaptureQueriesContext(
        connection,
    ) as seen:
        asked(client, text)
    return len(seen)


def test_a_search_costs_the_same_statements_for_one_thing_as_for_many(world: UUID, as_role: AsRole) -> None:
    boss, at = as_role("administrator"), timezone.now()
    InboundMessage.objects.create(protocol="hl7v2", sender="A", control_id="one", digest=b"a" * 32, raw=b"", key_id="k", size=0, received_at=at)  # fmt: skip
    InboundMessage.objects.bulk_create(
        InboundMessage(protocol="hl7v2", sender=f"A{n}", control_id="ten", digest=b"a" * 32, raw=b"", key_id="k", size=0, received_at=at)
        for n in range(10)
    )  # fmt: skip
    assert statements(boss, "one") == statements(boss, "ten")
    fed(CLINIC_AUTHORITY, "L0", who("Ann", "Lone", "1950-01-02", phone=""))
    # Not of the people: each of them has a look, which is a row in the log.
    assert statements(boss, "Lone 1950") <= 45


def test_the_field_stands_on_every_page_of_the_desk(world: UUID, as_role: AsRole) -> None:
    steward = as_role("steward")
    for path in ("/admin/", "/admin/patients/person/", "/admin/patients/reviewitem/", "/admin/patients/person/find/", FIND):  # fmt: skip
        content = steward.get(path).content.decode()
        assert f'action="{FIND}#results"' in content, path
        assert content.count('name="q"') >= 1
    assert f'href="{FIND}"' in steward.get("/admin/patients/reviewitem/").content.decode()


def test_who_has_not_signed_in_is_shown_nothing(world: UUID) -> None:
    answer = Client().post(FIND, {"q": "P1", "reason": WHY})
    assert answer.status_code == 302
    assert "/admin/login/" in answer["Location"]
    assert looks() == []


MANY = 10_000
FILLED = {
    "exchange_inboundmessage": "'id', gen_random_uuid(), 'control_id', 'c' || n, 'digest', '\\x' || lpad(n::text, 8, '0'), 'sender', 'S|' || n % 50",
    "documents_documententry": "'id', 1000000 + n, 'entry_uuid', gen_random_uuid(), 'logical_id', gen_random_uuid(), 'unique_id', '2.999.50.' || n",
    "patients_patientidentifier": "'id', 1000000 + n, 'value', 'V' || n",
    "patients_searchterm": "'term', 'w' || n",
    "audit_event": "'id', gen_random_uuid(), 'request_id', 'r' || n, 'correlation', 'k' || n",
    "exchange_query": "'id', gen_random_uuid()",
}
"""Tables that grow with use, and in what the copies of one of their rows differ."""


def filled() -> None:
    """Each table with `MANY` rows more, and the planner told so."""
    with connection.cursor() as cursor:
        for table, different in FILLED.items():
            cursor.execute(
                f"INSERT INTO {table} SELECT (jsonb_populate_record(one.o, jsonb_build_object({different}))).*"
                f" FROM (SELECT o FROM {table} o LIMIT 1) one, generate_series(1, {MANY}) n"
            )
            cursor.execute(f"ANALYZE {table}")


def read_in_a_row() -> dict[str, int]:
    """Rows of each table that were read one after the other in this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables")
        return {name: read for name, read in cursor.fetchall() if name.startswith(tuple(FILLED))}


def test_no_search_reads_through_a_table_that_grows(
    world: UUID, document: Any, question: Query, failed_message: InboundMessage, as_role: AsRole
) -> None:
    boss = as_role("administrator")
    filled()
    asked(boss, "warm up the caches")
    for text in (
        "P1", "V17", f"{HOSPITAL_AUTHORITY}|V17", "Quarrel 1971-04-09", "Rosamund Quarrel", "c17", "2.999.50.17", "r17",
        str(UUID(int=7)), "The Clinic",
    ):  # fmt: skip
        before = read_in_a_row()
        assert asked(boss, text).status_code == 200
        read = {name: rows - before.get(name, 0) for name, rows in read_in_a_row().items()}
        assert {name: rows for name, rows in read.items() if rows} == {}, text
