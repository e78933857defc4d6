"""Pages about decisions: a role and a reason first, then all of it; the patient finds the look."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from consent import directives
from documents.models import DocumentEntry
from hie.audit.models import AuditEvent
from hie.exchange import find
from hie.exchange.document_filter import entry_filter
from hie.exchange.found_pages import DocumentSearch
from hie.exchange.named_patients import PatientNamed
from tests.consent import fixture as fx
from tests.decisions.loaded import Hub, caller, lake
from tests.fhir.conftest import hub as keys_and_folders  # noqa: F401 - a fixture

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages(keys_and_folders: None, settings: Any) -> dict[str, str]:  # noqa: F811 - the fixture of that name
    settings.ROOT_URLCONF = "hie.urls"
    hub: Hub = lake()
    entry = hub.document(fx.document(labels=["HIV"], confidentiality="R"))
    provision = fx.node("permit", fx.node("deny", actor=fx.to("Organization/hill")))
    (choice,) = hub.consents({"patient": "ada", "consents": [fx.consent(provision)]})
    named = PatientNamed(id=hub.persons["ada"])
    find.find_documents(DocumentSearch(patients=((named,),), asked=entry_filter([])), caller=caller("hill"))
    event = AuditEvent.objects.filter(kind="ITI-67").latest("at")
    return {
        "who": reverse("admin:documents_documententry_who", args=[entry]),
        "what-if": reverse("admin:consent_consent_what_if", args=[choice]),
        "explain": reverse("admin:audit_auditevent_explain", args=[event.id]),
        "end": reverse("admin:consent_consent_end", args=[choice]),
        "row-of-choice": reverse("admin:consent_consent_change", args=[choice]),
        "row-of-event": reverse("admin:audit_auditevent_change", args=[event.pk]),
        "row-of-entry": reverse("admin:documents_documententry_change", args=[DocumentEntry.objects.get().pk]),
        "person": hub.persons["ada"],
        "entry": entry,
        "choice": str(choice),
    }


def test_each_page_asks_for_a_reason_and_records_the_look(pages: dict[str, str], as_role: Any) -> None:
    officer: Client = as_role("privacy-officer")
    for name in ("who", "what-if", "explain"):
        asked = officer.get(pages[name])
        assert asked.status_code == 200, name
        assert b"Reason (required)" in asked.content
        assert b"<tbody" not in asked.content
        none = officer.post(pages[name], {"reason": "  "})
        assert (none.status_code, b"Give a reason" in none.content) == (422, True), name
        assert b"resourceType" not in none.content
        before = AuditEvent.objects.filter(kind="staff-look", person_id=pages["person"]).count()
        shown = officer.post(pages[name], {"reason": "asked by the patient", "how": "end"})
        assert shown.status_code == 200, name
        assert AuditEvent.objects.filter(kind="staff-look", person_id=pages["person"]).count() == before + 1


def test_what_the_pages_say_is_what_the_engine_decides(pages: dict[str, str], as_role: Any) -> None:
    officer: Client = as_role("privacy-officer")
    who = officer.post(pages["who"], {"reason": "case 7"}).content.decode()
    assert "The hill" in who
    assert "D3: Denied by the patient" in who
    assert "C1: The custodian" in who
    # A purpose with all that is below it is said in one word, and what is decided apart is not below it.
    assert "health care operations</td>" in who
    assert "organ donation" not in who
    assert "treatment</td>" in who
    assert "emergency access</td>" in who
    ended = officer.post(pages["what-if"], {"reason": "case 7", "how": "end"}).content.decode()
    assert "<strong>open</strong>" in ended
    assert "Now: D3" in ended
    assert directives.Consent.objects.get().version == 1
    same = officer.post(
        pages["what-if"], {"reason": "case 7", "how": "time", "at": "2026-12-01T12:00Z"}
    ).content.decode()
    assert "Nothing would change for anybody." in same
    wrong = officer.post(pages["what-if"], {"reason": "case 7", "how": "change", "draft": "{"})
    assert (wrong.status_code, b"the draft is not JSON" in wrong.content) == (422, True)
    wrong = officer.post(
        pages["what-if"],
        {"reason": "case 7", "how": "change", "draft": '{"resourceType": "Consent", "status": "active"}'},
    )
    assert (wrong.status_code, b"Consent." in wrong.content) == (422, True)
    wrong = officer.post(pages["what-if"], {"reason": "case 7", "how": "time", "at": "soon"})
    assert wrong.status_code == 422
    explained = officer.post(pages["explain"], {"reason": "case 7"}).content.decode()
    assert pages["entry"] in explained
    assert "Denied</strong> by D3" in explained


@pytest.mark.parametrize(
    ("role", "page", "status"),
    [
        ("steward", "who", 403),
        ("auditor", "who", 403),
        ("operator", "who", 403),
        ("steward", "what-if", 403),
        ("auditor", "what-if", 403),
        ("steward", "explain", 403),
        ("auditor", "explain", 403),
        ("administrator", "who", 200),
    ],
)
def test_only_roles_that_may_read_choices_and_documents_get_in(
    pages: dict[str, str], as_role: Any, role: str, page: str, status: int
) -> None:
    client: Client = as_role(role)
    answer = client.post(pages[page], {"reason": "curious", "how": "end"})
    assert answer.status_code == status
    assert client.get(pages[page]).status_code == status
    if role == "auditor" and page == "what-if":
        assert (
            DocumentEntry.objects.get().title is None
            or DocumentEntry.objects.get().title not in answer.content.decode()
        )


@pytest.mark.parametrize(
    ("role", "row", "shown"),
    [
        ("privacy-officer", "row-of-choice", {"what-if", "end"}),
        ("administrator", "row-of-choice", {"what-if"}),
        ("auditor", "row-of-choice", set()),
        ("privacy-officer", "row-of-event", {"explain"}),
        ("auditor", "row-of-event", set()),
        ("administrator", "row-of-entry", {"who"}),
        ("steward", "row-of-entry", set()),
    ],
)
def test_a_way_that_would_refuse_who_goes_it_is_not_shown(
    pages: dict[str, str], as_role: Any, role: str, row: str, shown: set[str]
) -> None:
    client: Client = as_role(role)
    client.post(pages[row], {"look_reason": "case 7"})
    page = client.get(pages[row])
    assert page.status_code == 200
    assert {name for name in ("who", "what-if", "explain", "end") if pages[name] in page.content.decode()} == shown


def test_nobody_signed_out_sees_anything_and_what_is_not_there_is_not_there(
    pages: dict[str, str], as_role: Any
) -> None:
    assert User.objects.count() == 0
    for name in ("who", "what-if", "explain"):
        assert Client().post(pages[name], {"reason": "x"}).status_code == 302
    officer: Client = as_role("privacy-officer")
    absent = "0d0e3f0a-0000-4000-8000-000000000000"
    for name, held in (("who", pages["entry"]), ("what-if", pages["choice"])):
        assert officer.post(pages[name].replace(held, absent), {"reason": "x"}).status_code == 404
    assert officer.post(reverse("admin:audit_auditevent_explain", args=[absent]), {"reason": "x"}).status_code == 404
