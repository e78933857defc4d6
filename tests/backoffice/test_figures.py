"""The dashboards: who sees which, what is recorded, what is not drawn, and that they read sums alone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from hie.audit.figures import Tally
from hie.audit.figures_of_log import Subject as Logged
from hie.audit.models import AuditEvent, Figure
from hie.exchange.figures import period, periods
from hie.trust.staff import PAGES as ROLES
from tests.exchange import figures_made

AsRole = Callable[..., Client]
pytestmark = pytest.mark.django_db

BOARDS = {
    "figures": {"privacy-officer", "auditor", "operator", "administrator"},
    "figures_answers": {"privacy-officer", "auditor", "operator", "administrator"},
    "figures_matching": {"privacy-officer", "steward", "administrator"},
    "figures_choices": {"privacy-officer", "auditor", "administrator"},
    "figures_feeds": {"privacy-officer", "steward", "onboarding", "auditor", "operator", "administrator"},
    "figures_participant": {"privacy-officer", "onboarding", "auditor", "operator", "administrator"},
}


def place(board: str) -> str:
    return reverse(f"admin:{board}", args=["org-hospital"] if board == "figures_participant" else [])


@pytest.fixture
def busy(world: Any) -> date:
    today = timezone.now().date()
    figures_made.busy(today)
    return today


@pytest.mark.parametrize("role", sorted(ROLES))
def test_each_role_sees_its_dashboards_alone_and_each_look_is_recorded(busy: date, as_role: AsRole, role: str) -> None:
    client = as_role(role)
    seen = {board: client.get(f"{place(board)}?period=7").status_code for board in BOARDS}
    assert seen == {board: 200 if role in roles else 403 for board, roles in BOARDS.items()}
    looks = AuditEvent.objects.filter(kind="staff-look").order_by("at", "id")
    found = {
        event.detail["page"]: (event.outcome, event.rule, event.detail.get("period"), event.person_id)
        for event in looks
    }
    assert found == {
        board: (0, "", "7", None) if role in roles else (4, "G5", None, None) for board, roles in BOARDS.items()
    }
    bar = re.findall(r'href="([^"]+)"', client.get(reverse("admin:index")).content.decode())
    shown = {board for board in BOARDS if board != "figures_participant" and place(board) in bar}
    assert shown == {board for board, roles in BOARDS.items() if board != "figures_participant" and role in roles}


@pytest.mark.parametrize("board", sorted(BOARDS))
def test_a_page_works_bare_under_the_strictest_policy_and_costs_the_same_for_a_year(
    busy: date, as_role: AsRole, board: str, django_assert_num_queries: Any
) -> None:
    client = as_role("administrator")
    answer = client.get(f"{place(board)}?period=28")
    page = answer.content.decode()
    assert "script" not in answer["Content-Security-Policy"].replace("script-src 'self'", "")
    assert "style=" not in page
    assert "<script" not in page
    assert page.count("<figure") >= 2
    assert page.count("<table") >= page.count("<figure")
    for figure in re.findall(r"<figure.*?</figure>", page, re.DOTALL):
        heading = re.search(r"<figcaption><h2>[^<]+</h2><p class=\"soft\"><bdi>[^<]+", figure)
        assert heading, figure[:300]
        assert all(not re.search(r"<text|<title", svg) for svg in re.findall(r"<svg.*?</svg>", figure, re.DOTALL))
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    # Both reach into months that are over, of which a participant's own view tells more.
    with CaptureQueriesContext(connection) as few:
        client.get(f"{place(board)}?period=90")
    with django_assert_num_queries(len(few)):
        client.get(f"{place(board)}?period=365")


def test_every_table_is_a_file_with_the_numbers_of_the_page_and_saving_is_recorded(busy: date, as_role: AsRole) -> None:
    client = as_role("administrator")
    for board in BOARDS:
        page = client.get(f"{place(board)}?period=28").content.decode()
        keys = re.findall(r"&amp;csv=([a-z-]+)", page)
        assert keys, board
        for key in keys:
            answer = client.get(f"{place(board)}?period=28&csv={key}")
            assert answer["Content-Type"] == "text/csv; charset=utf-8"
            assert key in answer["Content-Disposition"]
            rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
            assert len(rows) > 1, key
            assert {len(row) for row in rows} == {len(rows[0])}
            for cell in rows[1]:
                # What would be taken for a formula carries a mark in the file.
                assert cell.lstrip("'") in page.replace("&amp;", "&"), (key, cell)
            assert AuditEvent.objects.filter(detail__saved=key, detail__page=board).exists()
        assert client.get(f"{place(board)}?csv=nothing").status_code == 404


def test_a_day_with_few_people_is_neither_drawn_nor_told_nor_left_over(busy: date, as_role: AsRole) -> None:
    client = as_role("auditor")
    rows = table(client, "figures", "days", "7")
    shown = {row[0]: row[1] for row in rows[1:]}
    assert shown[f"{busy:%-d %b}"] == "–"  # four people
    # The sum of the days would leave today's number: the smallest other day is hidden with it, the sixth before.
    assert [day for day, number in shown.items() if number == "–"] == [
        f"{busy - timedelta(days=6):%-d %b}",
        f"{busy:%-d %b}",
    ]
    page = client.get(f"{place('figures')}?period=7").content.decode()
    assert "not shown, so that no group below 11 people" in page


def test_an_organization_is_looked_at_alone_without_telling_of_small_groups(busy: date, as_role: AsRole) -> None:
    tally = Tally()
    tally.add(
        Logged.LEFT, busy, participant="org-clinic", purpose="HRESCH", what="bytes", n=3, people=figures_made.people(2)
    )
    tally.store()
    client = as_role("auditor")
    rows = table(client, "figures", "purposes", "28", organization="org-clinic")
    assert "Research" not in {row[0] for row in rows}
    whole = table(client, "figures", "purposes", "28")
    assert "Research" not in {row[0] for row in whole}
    assert client.get(f"{place('figures')}?organization=nobody").status_code == 200


def test_the_findings_say_what_the_numbers_do(busy: date, as_role: AsRole) -> None:
    client = as_role("administrator")
    page = client.get(f"{place('figures_answers')}?period=28").content.decode()
    assert "is late or fails" in page
    assert "questions were not sent, as the patient’s choice forbids it" in page
    feeds = table(client, "figures_feeds", "completeness", "28")
    hospital = next(row for row in feeds if row[0] == "The Hospital")
    assert hospital[3] == "7 days"  # nine of ten of 8, 8, 8, 8, 8
    assert hospital[4] == "15 minutes"  # 46 of 50
    assert hospital[6] == "4 %"
    assert hospital[7] == "12 of 900"
    choices = client.get(f"{place('figures_choices')}?period=28").content.decode()
    assert "Of 1,200 known patients, 8 %" in choices
    assert "Research: no one" not in choices  # three people


def test_the_page_of_a_participant_says_what_the_participant_reads(busy: date, as_role: AsRole) -> None:
    client = as_role("onboarding")
    page = client.get(f"{place('figures_participant')}?period=28").content.decode()
    assert "Nobody is told who was refused" in page
    assert "Who may ask it" in page
    assert client.get(reverse("admin:figures_participant", args=["nobody"])).status_code == 404
    change = client.get(reverse("admin:directory_participant_change", args=["org-hospital"])).content.decode()
    assert place("figures_participant") in change
    plain = as_role("auditor", "operator", username="both").get(
        reverse("admin:directory_participant_change", args=["org-hospital"])
    )
    assert place("figures_participant").encode() in plain.content


def test_an_empty_hub_has_pages_that_say_so(world: Any, as_role: AsRole) -> None:
    Figure.objects.all().delete()
    client = as_role("administrator")
    for board in BOARDS:
        page = client.get(place(board)).content.decode()
        assert "Not counted to the end yet" in page, board
        assert "None" not in re.sub(r"<[^>]+>", " ", page), board


def test_periods_are_those_of_the_list_and_no_others() -> None:
    today = date(2026, 11, 30)
    names = dict(periods(today))
    assert list(names)[:5] == ["7", "28", "90", "365", "2026-11"]
    assert names["2026-11"] == "November 2026"
    for asked in ("", "13", "2026-13", "2019-01", "2027-01", "7; DROP"):
        assert period(asked, today).key == "28", asked
    month = period("2026-02", today)
    assert (month.since, month.until, month.before.since, month.before.until) == (
        date(2026, 2, 1), date(2026, 2, 28), date(2026, 1, 1), date(2026, 1, 31),
    )  # fmt: skip
    part = period("2026-11", date(2026, 11, 9))
    assert (part.until, part.before.since, part.before.until) == (
        date(2026, 11, 9),
        date(2026, 10, 1),
        date(2026, 10, 9),
    )
    assert (period("7", today).before.since, period("7", today).before.until) == (
        date(2026, 11, 17),
        date(2026, 11, 23),
    )


def table(client: Client, board: str, key: str, at: str, **more: str) -> list[list[str]]:
    answer = client.get(place(board), {"period": at, "csv": key, **more})
    assert answer.status_code == 200
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
