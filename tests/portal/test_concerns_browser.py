"""Concerns and notices in Chromium: accessible and fitting in every language, light and dark, by keyboard, without a script."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.core import signing

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import concern_answers, concern_review, patient_notices
from hie.exchange.models import Concern, NoticeChoice, PatientNotice
from tests.directory.forms import clinic, file, hospital
from tests.portal.conftest import EVE, PORTAL, busy_log, document, look, world
from tests.portal.test_browser import (
    Browsing,
    browsing,  # noqa: F401  the fixture
    pytestmark,  # noqa: F401  marks this module too
)
from tests.portal.test_concerns import OFFICER, QUALITY

LONG = "Ärztehaus Featherstonehaugh-Wojciechowska de la Torre y Monteverde-Esterhazy von Au"
"""Eighty letters and more."""


@pytest.fixture(autouse=True)
def letters(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"


def prepared() -> tuple[str, str]:
    """Alice with a busy log whose places have long names, and the newest look of the clinic's."""
    alice = world()
    registration.apply(
        file(clinic(name=LONG, purposes=["TREAT", "HPAYMT", "HOPERAT"]), hospital(name="مستشفى السلام"), PORTAL)
    )
    busy_log(alice)
    look(alice, 3, replace(EVE, organization_name="", user_name="林美華"), disclosures=(document("Letter"),))
    return alice, str(AuditEvent.objects.filter(person_id=alice, user=EVE.user_id).latest("at").pk)


def speak(browsing: Browsing, language: str) -> None:  # noqa: F811  the fixture's value
    browsing.page.set_viewport_size({"width": 1280, "height": 900})
    if browsing.page.query_selector(f"button[lang={language}]"):
        browsing.page.click(f"button[lang={language}]")


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_a_concern_is_raised_and_followed_on_pages_that_are_accessible_and_fit(
    browsing: Browsing,  # noqa: F811  the fixture's value
    language: str,
) -> None:
    _, event = prepared()
    browsing.sign_in()
    browsing.open("/my/concerns")
    speak(browsing, language)
    browsing.open("/my/concerns")
    browsing.hold(f"concerns-none-{language}")
    browsing.open(f"/my/log/{event}")
    browsing.hold(f"line-doubt-{language}")
    browsing.page.click(f"a[href$='/{event}/concern']")
    browsing.hold(f"concern-new-{language}", fully=True)
    browsing.page.evaluate("document.querySelectorAll('#reason').forEach(one => one.form.noValidate = true)")
    browsing.page.click("main form button[type=submit]")
    browsing.page.wait_for_selector(".errors")
    browsing.hold(f"concern-new-error-{language}")
    browsing.page.check("input[value=visit]")
    browsing.page.fill(
        "#words", "我那天在家。 I was at home, and so was my son, who drove me to the lake and back again."
    )
    browsing.page.click("main form button[type=submit]")
    browsing.page.wait_for_selector("#notice")
    browsing.hold(f"concern-sent-{language}", fully=True)
    number = browsing.page.url.split("/my/concerns/")[1].split("?")[0]
    (case,) = concern_answers.cases(caller=QUALITY)
    concern_answers.answer(case.number, "Dr. Lin read the letter that your family doctor sent us.", caller=QUALITY)
    browsing.open(f"/my/concerns/{number}")
    browsing.hold(f"concern-answered-{language}", fully=True)
    browsing.page.fill("#words", "I do not know Dr. Lin.")
    browsing.page.click("button[value=further]")
    browsing.page.wait_for_selector("#notice")
    browsing.hold(f"concern-further-{language}")
    concern_review.decide(
        Concern.objects.get().pk, "upheld", OFFICER, "Nobody there treats you. They closed the account of Dr. Lin."
    )
    browsing.open(f"/my/concerns/{number}")
    browsing.hold(f"concern-closed-{language}")
    browsing.open("/my/concerns")
    browsing.hold(f"concerns-{language}", fully=True)
    browsing.noise[:] = [line for line in browsing.noise if "status of 422" not in line]


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_notices_are_chosen_and_read_on_pages_that_are_accessible_and_fit(
    browsing: Browsing,  # noqa: F811  the fixture's value
    language: str,
) -> None:
    alice, _ = prepared()
    browsing.sign_in("sam")
    browsing.open("/my/notices")
    speak(browsing, language)
    browsing.open("/my/notices")
    browsing.hold(f"notices-none-{language}")
    browsing.page.check("input[value=all]")
    browsing.page.check("#by_mail")
    browsing.page.evaluate("document.getElementById('wanted').form.noValidate = true")
    browsing.page.fill("#address", "sam")
    browsing.page.click("main .panel button[type=submit]")
    browsing.page.wait_for_selector(".errors")
    browsing.hold(f"notices-error-{language}")
    browsing.page.fill("#address", "sam@example.org")
    browsing.page.click("main .panel button[type=submit]")
    browsing.page.wait_for_selector("#notice")
    browsing.hold(f"notices-kept-{language}")
    NoticeChoice.objects.update(chosen_at="2020-01-01T00:00Z", looked_until="2020-01-01T00:00Z")
    look(alice, 2, disclosures=(document("Letter"),))
    assert patient_notices.find() > 0
    first = PatientNotice.objects.order_by("pk")[0]
    for kind, count in (("week", 12), ("emergency", 1)):
        PatientNotice.objects.create(
            account=first.account, identifier=first.identifier, kind=kind, count=count, at=first.at
        )
    browsing.open("/my/notices")
    browsing.hold(f"notices-{language}", fully=True)
    choice = NoticeChoice.objects.get()
    token = signing.dumps([str(choice.account_id), choice.nonce], salt=patient_notices._LINK)
    ending = signing.dumps([str(choice.account_id), choice.nonce], salt=patient_notices._UNSUBSCRIBE)
    browsing.page.click("header form[action$='sign-out'] button")
    for name, path in (("address", f"/my/notices/address/{token}"), ("end", f"/my/notices/end/{ending}")):
        browsing.open(path)
        browsing.hold(f"notice-{name}-{language}")
        browsing.page.click("main button[type=submit]")
        browsing.hold(f"notice-{name}-done-{language}")
    browsing.open("/my/notices/end/old")
    browsing.hold(f"notice-old-{language}")
    browsing.noise[:] = [line for line in browsing.noise if "status of 4" not in line]


def test_a_concern_is_sent_by_the_keyboard_alone(browsing: Browsing) -> None:  # noqa: F811  the fixture's value
    _, event = prepared()
    browsing.sign_in()
    browsing.open(f"/my/log/{event}/concern")
    page, press = browsing.page, browsing.page.keyboard.press

    def tab_to(identifier: str) -> None:
        for _ in range(60):
            press("Tab")
            if page.evaluate("document.activeElement.id || document.activeElement.innerText") == identifier:
                return
        raise AssertionError(f"{identifier} is not reached")

    tab_to("reason")
    press("Space")
    tab_to("words")
    page.keyboard.type("I was at home")
    tab_to("Send my concern")
    press("Enter")
    page.wait_for_selector("#notice")
    assert page.evaluate("document.scripts.length") == 0
