"""Participants in the admin: seen, suspended, not rewritten."""

from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from hie.directory import registration
from hie.directory.models import DirectoryChange, Participant
from tests import second_factor
from tests.directory.forms import clinic, community, file, hospital, ward

pytestmark = pytest.mark.django_db
LIST = "/admin/directory/participant/"


@pytest.fixture
def staff(settings) -> Client:
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    registration.apply(file(clinic(), hospital(), ward(), community()))
    user = get_user_model().objects.create_superuser("root", password="x")
    return second_factor.sign_in(user)


def test_the_list_shows_standing_and_costs_the_same_however_many(staff, django_assert_max_num_queries):
    staff.get(LIST)
    with django_assert_max_num_queries(14):  # two: the session of the desk, the event of the page
        page = staff.get(LIST)
    assert page.status_code == 200
    assert b"org-hospital-ward" in page.content
    Participant.objects.filter(pk="org-hospital").update(status="suspended")
    page = staff.get(f"{LIST}?standing=inactive").content
    assert b"org-hospital-ward" in page
    assert b"com-east" not in page


def test_a_participant_is_shown_with_its_keys_and_agreement_and_only_limits_change(staff):
    page = staff.get(f"{LIST}org-clinic/change/")
    assert page.status_code == 200
    assert b"clinic-1" in page.content
    form = {"rate_per_s": "9", "name": "Changed", "status": "terminated"}
    for prefix in ("agreements", "endpoints", "keys", "certificates", "authorities", "users", "facilities"):
        form |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
    assert staff.post(f"{LIST}org-clinic/change/", form).status_code == 302
    row = Participant.objects.get(pk="org-clinic")
    assert (row.rate_per_s, row.name, row.status) == (9, "The Clinic", "active")


def test_suspending_asks_for_the_reason_and_leaves_history(staff):
    form = {"action": "suspend", "_selected_action": "org-clinic"}
    page = staff.post(LIST, form)["Location"]
    assert Participant.objects.get(pk="org-clinic").status == "active"
    assert staff.post(page, {"act": "decide", "outcome": "suspend", "seen": "0", "reason": "unpaid"}).status_code == 302
    assert Participant.objects.get(pk="org-clinic").status == "suspended"
    change = DirectoryChange.objects.first()
    assert change is not None
    assert (change.kind, change.actor, change.reason) == ("suspended", "root", "unpaid")


def test_history_is_shown_and_cannot_be_edited(staff):
    change = DirectoryChange.objects.first()
    assert staff.get("/admin/directory/directorychange/").status_code == 200
    url = f"/admin/directory/directorychange/{change.pk}/change/"
    assert staff.get(url).status_code == 200
    assert staff.post(url, {"actor": "me"}).status_code == 403
