"""Searching the log at the desk: what is found, and by which index."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory

from hie.audit import desk
from hie.audit.models import AuditEvent, Disclosure
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from tests.audit.test_verify import EVE

PERSON = uuid.UUID(int=7)


def found(model: type, **query: str) -> list[Any]:
    request = RequestFactory().get("/", query)
    request.user, _ = User.objects.get_or_create(username="ada", is_superuser=True, is_staff=True)
    page = admin.site._registry[model]
    return list(page.get_changelist_instance(request).get_queryset(request))


@pytest.fixture
def events(db: None) -> list[str]:
    drafts = [
        EventDraft(kind=EventType.PATIENT_READ, caller=replace(EVE, user_id="Practitioner/ann", request_id="r-1"), person_id=PERSON, rule="F1"),
        EventDraft(kind=EventType.PATIENT_READ, caller=replace(EVE, organization_id="org-x", participant_id="org-x"), patient_identifier="A1^^^&2.999&ISO", at=datetime.now(UTC) - timedelta(days=20)),
        EventDraft(kind=EventType.FIND_DOCUMENTS, caller=EVE, correlation="q-1", outcome=4, disclosures=(DisclosureDraft(document_id="d1", unique_id="1.2.3", custodian="org-y", rule="D6"),)),
    ]  # fmt: skip
    return [str(one) for one in write(drafts)]


def test_the_desk_finds_by_each_exact_word_and_no_other(events: list[str]) -> None:
    for number, words in enumerate(
        (
            (events[0], str(PERSON), str(PERSON).upper(), "Practitioner/ann", "r-1", "F1", " r-1 "),
            (events[1], "org-x", "A1^^^&2.999&ISO"),
            (events[2], "q-1"),
        )
    ):
        for word in words:
            assert [str(row.id) for row in found(AuditEvent, q=word)] == [events[number]], word
    for word in ("practitioner/ann", "Practitioner", "nobody", str(uuid.uuid4()), "%", "r-1 r-1"):
        assert found(AuditEvent, q=word) == [], word
    for word in ("d1", "1.2.3", "org-y", "D6", events[2]):
        assert [row.document_id for row in found(Disclosure, q=word)] == ["d1"], word
    assert {str(row.id) for row in found(AuditEvent, period="7")} == {events[2], events[0]}
    assert len(found(AuditEvent, period="30")) == 3
    assert [str(row.id) for row in found(AuditEvent, period="30", q="org-x")] == [events[1]]


@pytest.mark.parametrize(
    ("model", "column", "value"),
    [
        *((AuditEvent, column, "x") for column in ("correlation", "request_id", "patient_identifier", "user", "organization", "purpose")),
        (AuditEvent, "person_id", PERSON),
        (AuditEvent, "id", PERSON),
        (AuditEvent, "outcome", 4),
        *((Disclosure, column, "x") for column in ("document_id", "unique_id", "custodian", "rule")),
        (Disclosure, "person_id", PERSON),
        (Disclosure, "event_id", PERSON),
    ],
)  # fmt: skip
def test_a_search_at_the_desk_uses_an_index_for_each_column(db: None, model: type, column: str, value: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        rows = model.objects.filter(**{column: value}).order_by("-at", "-id")[:51]  # type: ignore[attr-defined]
        plan = json.loads(rows.explain(format="json"))
    name = model._meta.get_field(column).column  # type: ignore[attr-defined]
    assert f"({name} = " in json.dumps(plan) or f"({name})::text = " in json.dumps(plan), plan
    assert '"Index Cond"' in json.dumps(plan)
    assert "Seq Scan" not in json.dumps(plan)


def test_no_list_counts_further_than_ten_thousand(events: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "COUNTED", 2)
    assert desk.Bounded(AuditEvent.objects.all(), 50).count == 2
    assert admin.site._registry[AuditEvent].paginator is desk.Bounded
