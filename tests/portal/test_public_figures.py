"""The public page: published once a month, rounded, nothing small, the same for everybody, in three languages."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as hub_settings
from django.test import Client

from hie.audit.figures import Tally
from hie.audit.figures_of_log import Subject as Logged
from hie.audit.models import Figure
from hie.exchange import public_figures
from tests.backoffice.conftest import world  # noqa: F401 - fixtures
from tests.exchange import figures_made

pytestmark = pytest.mark.django_db

END_OF_OCTOBER = date(2026, 10, 31)
IN_NOVEMBER = datetime(2026, 11, 3, 0, 30, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    settings.ROOT_URLCONF = "hie.urls"


@pytest.fixture
def october(world: Any) -> None:  # noqa: F811
    """Sixty busy days up to the end of October, counted in November."""
    figures_made.busy(END_OF_OCTOBER)
    figures_made.counted(IN_NOVEMBER)


def test_a_month_is_published_once_two_days_after_its_end_and_never_changes(october: None) -> None:
    assert public_figures.publish(datetime(2026, 11, 2, 23, tzinfo=UTC)) == 1  # September
    assert public_figures.publish(IN_NOVEMBER) == 1
    assert public_figures.publish(IN_NOVEMBER) == 0
    before = public_figures.published()
    assert [one.month for one in before] == [date(2026, 10, 1), date(2026, 9, 1)]
    tally = Tally()
    tally.add(
        Logged.LEFT,
        date(2026, 10, 9),
        participant="org-clinic",
        purpose="TREAT",
        what="bytes",
        n=5000,
        people=figures_made.people(50),
    )
    tally.store()  # late rows
    assert public_figures.publish(IN_NOVEMBER + timedelta(days=9)) == 0
    assert public_figures.published() == before


def test_a_month_that_is_not_counted_to_its_end_waits(october: None) -> None:
    figures_made.counted(datetime(2026, 11, 2, 20, tzinfo=UTC))
    assert public_figures.publish(IN_NOVEMBER) == 1
    assert [one.month for one in public_figures.published()] == [date(2026, 9, 1)]


def test_numbers_are_rounded_and_small_ones_left_out(october: None) -> None:
    Figure.objects.filter(subject=Logged.SIGNED_IN, day__month=10).delete()
    tally = Tally()
    tally.add(Logged.SIGNED_IN, date(2026, 10, 9), n=400, people=figures_made.people(10))
    tally.add(Logged.LEFT, date(2026, 10, 9), purpose="HRESCH", what="bytes", n=44, people=figures_made.people(3))
    tally.store()
    public_figures.publish(IN_NOVEMBER)
    month = public_figures.published()[0]
    assert month.signed_in is None
    assert month.patients == 1200
    assert month.organizations == 2
    assert month.documents is not None
    numbers = [month.documents, month.asked, month.sent, month.choosing, *(n for _, n in month.purposes)]
    assert all(n is not None and n % 10 == 0 for n in numbers), numbers
    # One small group alone could be worked out from the sum: the smallest beside it is left out with it.
    assert [purpose for purpose, _ in month.purposes] == ["TREAT"]


def test_the_page_costs_one_statement_and_sets_no_cookie(october: None, django_assert_num_queries: Any) -> None:
    public_figures.publish(IN_NOVEMBER)
    with django_assert_num_queries(1):
        answer = Client().get("/figures/")
    assert answer.status_code == 200
    assert not answer.cookies
    assert answer["Cache-Control"] == "public, max-age=3600"
    assert "Cookie" not in answer["Vary"]
    assert "Accept-Language" in answer["Vary"]
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")
    page = answer.content.decode()
    assert "style=" not in page
    assert "<script" not in page
    assert "October 2026" in page
    assert "The Clinic" not in page


def test_a_signed_in_cookie_changes_nothing(october: None) -> None:
    public_figures.publish(IN_NOVEMBER)
    bare, known = Client(), Client()
    known.cookies[hub_settings.LANGUAGE_COOKIE_NAME] = "es"
    known.cookies[hub_settings.SESSION_COOKIE_NAME] = "x" * 32
    assert bare.get("/figures/").content == known.get("/figures/").content


@pytest.mark.parametrize(
    ("asked", "accepted", "language", "words", "number"),
    [
        ("", "", "en", "How this network is used", "1,200"),
        ("?language=es", "en", "es", "Cómo se usa esta red", "1.200"),
        ("", "ar-EG,en;q=0.5", "ar", "كيف تُستعمل هذه الشبكة", "١٬٢٠٠"),
        ("?language=xx", "fr", "en", "How this network is used", "1,200"),
    ],
)
def test_each_reader_has_the_page_in_a_language(
    october: None, asked: str, accepted: str, language: str, words: str, number: str
) -> None:
    public_figures.publish(IN_NOVEMBER)
    page = Client().get(f"/figures/{asked}", HTTP_ACCEPT_LANGUAGE=accepted).content.decode()
    assert f'<html lang="{language}"' in page
    assert words in page
    assert number in page
    assert ('dir="rtl"' in page) == (language == "ar")
    if language != "en":
        shown = re.sub(r"<[^>]+>", " ", page)
        assert not re.search(r"\b(documents|patients|months|read|count)\b", shown)


def test_before_the_first_month_it_says_when_there_will_be_something() -> None:
    page = Client().get("/figures/").content.decode()
    assert "two days after it ends" in page
    assert "<table" not in page


def test_nothing_is_sent_to_it() -> None:
    assert Client().post("/figures/", {}).status_code == 405
    assert Client().get("/figures").status_code == 302
