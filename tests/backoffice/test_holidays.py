"""Public holidays at the desk: seen, entered, taken out; each with a trace, and by role."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from hie.audit.models import AuditEvent
from hie.directory.models import PublicHoliday

pytestmark = pytest.mark.django_db
AsRole = Callable[..., Client]
LIST = "/admin/directory/publicholiday/"


def ahead(days: int) -> str:
    return (timezone.now().date() + timedelta(days=days)).isoformat()


def events() -> list[tuple[int, object]]:
    found = AuditEvent.objects.filter(kind="directory-changed").order_by("at", "id")
    return [(event.outcome, event.detail.get("what")) for event in found]


def test_holidays_are_entered_by_the_year_taken_out_and_put_in_again(as_role: AsRole) -> None:
    officer = as_role("privacy-officer")
    page = officer.get(LIST).content.decode()
    assert "No holiday is known ahead" in page
    form = {"place": "JA", "days": f"{ahead(20)} Harvest Day\n{ahead(40)} River Day", "reason": "Calendar of the state"}
    done = officer.post(LIST, form)
    assert (done.status_code, done.headers["Location"]) == (302, f"{LIST}?entered=2&place=JA#notice")
    page = officer.get(done.headers["Location"]).content.decode()
    for words in ("2 holidays entered for JA", "Harvest Day", "River Day", "privacy-officer", "Calendar of the state"):
        assert words in page
    row = PublicHoliday.objects.get(name="River Day")
    out = f"{LIST}{row.pk}/out/"
    assert "It becomes a working day in JA" in officer.get(out).content.decode()
    empty = officer.post(out, {"reason": " "})
    assert (empty.status_code, b'aria-invalid="true"' in empty.content) == (422, True)
    done = officer.post(out, {"reason": "Entered for the wrong year"})
    assert done.status_code == 302
    page = officer.get(done.headers["Location"]).content.decode()
    assert "Entered for the wrong year" in page
    assert f'href="?place=JA&amp;days={row.on.isoformat()}%20River%20Day#enter"' in page
    assert (
        f"{row.on.isoformat()} River Day</textarea>"
        in officer.get(LIST, {"place": "JA", "days": f"{row.on} River Day"}).content.decode()
    )
    assert officer.get(out).status_code == 404
    assert events() == [(0, "holidays entered"), (4, "holiday taken out"), (0, "holiday taken out")]
    entered = AuditEvent.objects.get(detail__what="holidays entered")
    assert (entered.detail["place"], entered.detail["days"], entered.detail["reason"]) == (
        "JA",
        [ahead(20), ahead(40)],
        "Calendar of the state",
    )
    assert AuditEvent.objects.filter(kind="policy-read", detail__page="directory.publicholiday").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"place": ""}, "choose the place"),
        ({"place": "NOWHERE"}, "choose the place"),
        ({"days": "tomorrow Harvest Day"}, "line 1: begin with the day"),
        ({"reason": "  "}, "give the reason"),
    ],
)
def test_what_cannot_be_kept_is_said_at_its_field_and_what_was_typed_stays(
    as_role: AsRole, change: dict[str, str], words: str
) -> None:
    officer = as_role("privacy-officer")
    form = {"place": "JA", "days": f"{ahead(20)} Harvest Day", "reason": "Calendar"}
    wrong = officer.post(LIST, form | change)
    page = wrong.content.decode()
    assert wrong.status_code == 422
    assert page.count(words) == 2
    assert page.count('aria-invalid="true"') == 1
    assert "Harvest Day" in page
    assert PublicHoliday.objects.count() == 0
    assert officer.post(LIST, form).status_code == 302


def test_others_of_the_staff_read_them_and_change_none(as_role: AsRole) -> None:
    as_role("privacy-officer", username="ida").post(
        LIST, {"place": "JA", "days": f"{ahead(20)} Harvest Day", "reason": "x"}
    )
    row = PublicHoliday.objects.get()
    for role in ("auditor", "onboarding", "operator"):
        reader = as_role(role)
        page = reader.get(LIST).content.decode()
        assert "Harvest Day" in page
        assert "Enter holidays" not in page
        assert "Take it out" not in page
        assert reader.post(LIST, {"place": "JA", "days": f"{ahead(30)} River Day", "reason": "x"}).status_code == 403
        assert reader.get(f"{LIST}{row.pk}/out/").status_code == 403
        assert reader.post(f"{LIST}{row.pk}/out/", {"reason": "x"}).status_code == 403
    assert as_role("steward").get(LIST).status_code == 403
    assert (PublicHoliday.objects.count(), events().count((4, "holidays entered"))) == (1, 3)
