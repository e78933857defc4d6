"""The administrators' pages of the log: they open, change nothing, and a look at a patient's event is kept."""

from __future__ import annotations

import uuid

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client, RequestFactory

from hie.audit.models import AuditEvent, AuditSeal, Checkpoint, Disclosure
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from hie.standards.facts import Caller
from tests import second_factor

ALICE = uuid.UUID(int=1)
EVE = Caller(participant_id="org-clinic", organization_id="org-clinic", client_id="c", user_id="Practitioner/eve", user_name="Dr. Eve", purpose="TREAT")  # fmt: skip


def request_of(method: str = "get", **query: str):
    request = getattr(RequestFactory(), method)("/", query)
    request.user = User.objects.create_superuser("ada", password="x")
    return request


@pytest.mark.django_db
@pytest.mark.parametrize("model", [AuditEvent, AuditSeal, Checkpoint])
def test_nothing_of_the_log_can_be_changed_by_an_administrator(model: type) -> None:
    page = admin.site._registry[model]
    request = request_of()
    assert page.has_view_permission(request)
    rights = [
        page.has_add_permission(request),
        page.has_change_permission(request),
        page.has_delete_permission(request),
    ]
    assert rights == [False, False, False]


@pytest.mark.django_db
def test_opening_an_event_about_a_patient_is_itself_in_the_log(client: Client) -> None:
    query = b"family=Delgado"
    (event_id,) = write([EventDraft(kind=EventType.FIND_DOCUMENTS, caller=EVE, person_id=ALICE, query=query, disclosures=(DisclosureDraft(document_id="d1", title="Letter"),))])  # fmt: skip
    page = admin.site._registry[AuditEvent]
    words = page.words(AuditEvent.objects.get(id=event_id))  # type: ignore[attr-defined]  # our own page
    assert "Dr. Eve" in words
    assert "Delgado" not in words
    second_factor.sign_in(request_of().user, client)
    url = f"/admin/audit/auditevent/{event_id}/change/"
    assert b"Your reason" in client.get(url).content
    client.post(url, {"look_reason": "task 7"})
    assert client.get(url).status_code == 200
    look = AuditEvent.objects.get(kind="staff-look")
    assert (look.person_id, look.user, look.detail["row"]) == (ALICE, "Staff/ada", str(event_id))
    assert Disclosure.objects.count() == 1


@pytest.mark.django_db
def test_the_list_is_filtered_by_kind_outcome_and_purpose() -> None:
    write([EventDraft(kind=kind, caller=EVE, outcome=outcome) for kind, outcome in ((EventType.FIND_DOCUMENTS, 0), (EventType.PATIENT_READ, 4))])  # fmt: skip
    page = admin.site._registry[AuditEvent]
    found = page.get_changelist_instance(request_of(outcome="4", purpose="TREAT")).get_queryset(request_of_again())
    assert [row.kind for row in found] == ["patient-read"]


def request_of_again():
    request = RequestFactory().get("/", {"outcome": "4", "purpose": "TREAT"})
    request.user = User.objects.get(username="ada")
    return request
