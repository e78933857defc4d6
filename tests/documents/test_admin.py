"""The admin shows documents as metadata: no title, no content, nothing to change."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory

from documents import models
from documents.metadata import CX
from tests.documents.samples import entry, register, submission

pytestmark = pytest.mark.django_db
SHOWN = [
    models.DocumentEntry, models.ReviewItem, models.SubmissionSet, models.Folder, models.Association, models.Blob,
]  # fmt: skip


@pytest.mark.parametrize("model", SHOWN)
def test_nothing_registered_can_be_changed(model: type) -> None:
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    page = admin.site._registry[model]
    assert not page.has_add_permission(request)
    assert not page.has_change_permission(request)
    assert not page.has_delete_permission(request)
    assert page.has_view_permission(request)


@pytest.mark.parametrize("model", SHOWN)
def test_the_pages_ask_for_fields_that_exist_and_show_no_words_of_the_document(
    patients: dict[CX, int], model: type
) -> None:
    one = entry(title="Result of the HIV test", comments="words")
    register(submission(one), patients, restricted={one.entry_uuid: ["name-differs"]})
    page = admin.site._registry[model]
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_active=True)
    rows = page.get_queryset(request)
    shown = [*page.get_fields(request), *page.get_list_display(request)]
    assert not {"title", "comments", "metadata", "source_patient_info", "digest", "wrapped_key"} & set(shown)
    for row in rows:
        for name in shown:
            value = getattr(page, name)(row) if hasattr(page, name) else getattr(row, name)
            assert "HIV" not in str(value)


def test_the_list_page_is_answered(patients: dict[CX, int], rf: RequestFactory) -> None:
    register(submission(entry()), patients)
    request = rf.get("/")
    request.user = User(is_superuser=True, is_active=True)
    response = admin.site._registry[models.DocumentEntry].changelist_view(request)
    assert response.status_code == 200
