"""Notices: what an account is told of, in the portal and by mail; nothing of what was seen, nothing of what it may not know."""

from __future__ import annotations

import re
import smtplib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone

from consent import proxies
from hie.audit.models import AuditEvent
from hie.audit.recorder import EventType, staff_look
from hie.exchange import emergency, emergency_review, patient_notices, queues
from hie.exchange.access import Staff
from hie.exchange.models import NoticeChoice, PatientNotice
from hie.outbox import outbox
from hie.outbox.models import OutboxMessage
from hie.outbox.outbox import Topic
from hie.trust.models import PatientAccount
from patients import identifiers
from tests.backoffice.emergencies import emergency as opened
from tests.portal.conftest import EVE, PAYER, document, look, signed_in

ADDRESS = "rosa@example.org"
LOCMEM = "django.core.mail.backends.locmem.EmailBackend"


@pytest.fixture(autouse=True)
def post(settings: Any) -> None:
    settings.EMAIL_BACKEND = LOCMEM
    settings.BASE_URL = "https://hub.example"


def now() -> datetime:
    return datetime.now(UTC)


def choose(client: Client, wanted: str, **more: str) -> Any:
    return client.post("/my/notices/choose", {"wanted": wanted, **more})


def wants(wanted: str, login: str = "alice", *, by_mail: bool = False) -> Client:
    """Somebody signed in who chose an hour ago, with an address that is proven."""
    client = signed_in(login)
    more = {"by_mail": "yes", "address": ADDRESS} if by_mail else {}
    assert choose(client, wanted, **more).status_code == 302
    hour = now() - timedelta(hours=1)
    rows = NoticeChoice.objects.filter(account__login=login)
    rows.update(chosen_at=hour, looked_until=hour)
    if by_mail:
        rows.update(verified_at=hour)
        OutboxMessage.objects.filter(topic="mail").delete()
    return client


def page(client: Client) -> str:
    answer = client.get("/my/notices")
    assert answer.status_code == 200
    return answer.content.decode()


def sent() -> list[mail.EmailMessage]:
    patient_notices.send(now=now() + timedelta(minutes=20))
    return mail.outbox


# --- what is told -------------------------------------------------------------------------------------------------------


def test_each_look_is_told_once_and_nothing_of_what_was_seen(alice: str) -> None:
    client = wants("all")
    look(alice, 5, disclosures=(document("Heart tracing"),))
    look(alice, 4, disclosures=(document("Hospital letter"),))
    look(alice, 3, PAYER, EventType.FIND_DOCUMENTS, denied=(("5a3b4f0e-0000-4000-8000-000000000002", "D3"),))
    assert patient_notices.find() == 2
    assert patient_notices.find() == 0
    text = page(client)
    assert "Someone looked at your record" in text or "Someone new looked at your record" in text
    for hidden in ("Heart", "letter", "Marlowe", "Clinic", "Hospital", "doctor"):
        assert hidden not in text, hidden
    look(alice, 0.01, disclosures=(document("Blood test"),))
    assert patient_notices.find() == 0, "it is of the line that was told"
    assert "See who it was" in text
    (address,) = set(re.findall(r'href="(/my/log/[0-9a-f-]{36}\?at=[^"]+)"', text)[:1])
    assert client.get(address.replace("&amp;", "&")).status_code == 200


@pytest.mark.parametrize("kind", ["own", "by the hub's machine", "fed", "before the choice"])
def test_no_notice_is_given_of_what_is_no_look_of_anothers(alice: str, kind: str) -> None:
    client = wants("all")
    match kind:
        case "own":
            client.get("/my/")
            client.get("/my/documents")
        case "by the hub's machine":
            look(alice, 5, replace(EVE, participant_id="hub", organization_id="hub", user_id="", role="system", purpose=""), EventType.IDENTITY_LINK)  # fmt: skip
        case "fed":
            look(alice, 5, kind=EventType.PATIENT_FEED, action="C")
        case _:
            look(alice, 90, disclosures=(document("Letter"),))
    assert patient_notices.find() == 0


def test_a_look_of_the_hubs_staff_is_told_to_who_wants_each_and_is_no_new_place(alice: str) -> None:
    wants("all")
    staff_look(staff_user="ada", role="steward", person_id=alice, what="identity", reason="a possible duplicate")
    assert patient_notices.find() == 1
    assert PatientNotice.objects.get().kind == "look"


def test_a_place_that_never_looked_is_new_once(alice: str) -> None:
    look(alice, 5000, disclosures=(document("Old letter"),))
    wants("new-organization")
    look(alice, 5, disclosures=(document("Letter"),))
    assert patient_notices.find() == 0, "the clinic has looked before"
    north = replace(EVE, participant_id="org-hospital", organization_id="org-hospital", user_id="Practitioner/north")
    look(alice, 50, north, EventType.FIND_DOCUMENTS, denied=(("5a3b4f0e-0000-4000-8000-000000000002", "D3"),))
    assert patient_notices.find() == 0, "nothing was shown to it"
    look(alice, 4, north, disclosures=(document("Letter"),))
    assert patient_notices.find() == 1
    assert PatientNotice.objects.get().kind == "new-organization"
    look(alice, 0.1, replace(north, user_id="Practitioner/south"), disclosures=(document("Letter"),))
    assert patient_notices.find() == 0


def test_a_week_is_one_notice_with_the_number_of_looks_and_a_quiet_week_is_none(alice: str) -> None:
    client = wants("weekly")
    NoticeChoice.objects.update(digest_at=now() - timedelta(days=7, minutes=1))
    assert patient_notices.find() == 0
    NoticeChoice.objects.update(digest_at=now() - timedelta(days=7, minutes=1))
    look(alice, 60 * 24, disclosures=(document("Letter"),))
    look(alice, 60 * 48, disclosures=(document("Letter"),))
    look(alice, 60 * 24 * 9, disclosures=(document("Letter"),))
    client.get("/my/")
    assert patient_notices.find() == 1
    assert patient_notices.find() == 0
    assert "In one week there were 2 looks at your record." in page(client)


@pytest.mark.parametrize(
    ("wanted", "told"), [("all", 1), ("new-organization", 1), ("emergency", 1), ("weekly", 1), ("none", 0)]
)
def test_an_emergency_is_told_within_five_minutes_to_all_who_want_any_notice(
    alice: str, wanted: str, told: int
) -> None:
    client = wants(wanted, by_mail=True)
    review = opened(alice, at=now())
    outbox.add(Topic.EMERGENCY, str(review.grant_id), not_before=now() + emergency.TELL_AFTER)
    look(
        alice,
        0.01,
        replace(EVE, purpose="BTG", user_id="Practitioner/ada"),
        disclosures=(document("Allergies", rule="D2"),),
    )
    patient_notices.find()
    assert PatientNotice.objects.count() == 0, "of an emergency is told by itself"
    at = now() + emergency.TELL_AFTER + timedelta(seconds=15)
    assert emergency.tell(now=at) == 1
    assert patient_notices.send(now=at + timedelta(seconds=10)) == told
    assert at + timedelta(seconds=10) - review.opened_at < timedelta(minutes=5)
    assert PatientNotice.objects.filter(kind="emergency").count() == told
    assert ("There was an emergency look" in page(client).partition("What do you want")[0]) is bool(told)


def test_an_account_without_a_choice_is_told_of_emergencies_in_the_portal(alice: str) -> None:
    review = opened(alice)
    outbox.add(Topic.EMERGENCY, str(review.grant_id))
    assert emergency.tell() == 1
    assert "There was an emergency look at your record." in page(signed_in())
    assert PatientNotice.objects.get().mail_id is None


def test_what_is_held_back_for_safety_is_told_by_no_notice(alice: str) -> None:
    wants("all")
    review = opened(alice)
    officer = Staff(user_id="ida", roles=frozenset({"privacy-officer"}))
    emergency_review.hold_notice(review.pk, officer, "Threatened at home", timezone.now() + timedelta(hours=2))
    outbox.add(Topic.EMERGENCY, str(review.grant_id))
    look(
        alice,
        1,
        replace(EVE, purpose="BTG", user_id="Practitioner/ada"),
        disclosures=(document("Allergies", rule="D2"),),
    )
    assert (emergency.tell(), patient_notices.find()) == (0, 0)


def test_notices_are_new_until_they_are_read(alice: str) -> None:
    client = wants("all")
    look(alice, 5, disclosures=(document("Letter"),))
    patient_notices.find()
    assert ">New</b>" in page(client)
    assert client.post("/my/notices/read").status_code == 302
    assert ">New</b>" not in page(client)


# --- helpers -------------------------------------------------------------------------------------------------------------


def test_a_helper_is_told_of_looks_he_may_see_and_as_long_as_he_may(alice: str) -> None:
    client = wants("all", "sam")
    look(alice, 5, disclosures=(document("Letter"),))
    look(
        alice,
        4,
        replace(EVE, user_id="Practitioner/x"),
        disclosures=(document("Counselling", confidentiality="V", labels=("MH",)),),
    )
    assert patient_notices.find() == 1
    text = page(client)
    assert "a record that you help with" in text
    assert "Rosa Delgado" in text
    (onward,) = set(re.findall(r'name="next" value="(/my/log/[^"]+)"', text))
    answer = client.post("/my/person", {"person": alice, "next": onward.replace("&amp;", "&")})
    assert client.get(answer.headers["Location"]).status_code == 200
    proxies.set_status(proxies.grants_of(identifiers.identifier_pks(alice))[0].pk, "ended")
    text = page(signed_in("sam"))
    assert "There is no notice" in text
    assert "Rosa" not in text


def test_a_helpers_mail_is_not_sent_once_he_may_no_longer_know(alice: str) -> None:
    wants("all", "sam", by_mail=True)
    look(alice, 5, disclosures=(document("Letter"),))
    assert patient_notices.find() == 1
    proxies.set_status(proxies.grants_of(identifiers.identifier_pks(alice))[0].pk, "ended")
    assert sent() == []
    assert OutboxMessage.objects.get(topic="mail").delivered_at is not None


def test_the_patient_and_the_helper_are_not_told_of_their_own_looks(alice: str) -> None:
    wants("all")
    helper = wants("all", "sam")
    helper.post("/my/person", {"person": alice})
    helper.get("/my/documents")
    assert patient_notices.find() == 1
    assert PatientNotice.objects.get().account.login == "alice"


# --- mail ----------------------------------------------------------------------------------------------------------------


def test_a_mail_says_that_someone_looked_and_holds_nothing_of_health(alice: str) -> None:
    wants("all", by_mail=True)
    look(alice, 5, disclosures=(document("Heart tracing"),))
    assert patient_notices.find() == 1
    (letter,) = sent()
    assert letter.to == [ADDRESS]
    whole = f"{letter.subject}\n{letter.body}\n{letter.extra_headers}"
    for hidden in ("Heart", "Marlowe", "The Clinic", "doctor", "Rosa", "Delgado", alice):
        assert hidden not in whole, hidden
    assert "https://hub.example/my/notices" in letter.body
    assert letter.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert sent() == [letter]
    assert PatientNotice.objects.get().mailed_at is not None
    event = AuditEvent.objects.get(kind="notice-sent")
    assert (event.person_id, ADDRESS in str(event.detail)) == (None, False)


@pytest.mark.parametrize(("language", "words"), [("es", "Entre para ver quién fue"), ("ar", "سجّل الدخول لترى من كان")])
def test_a_mail_is_in_the_language_of_the_account(alice: str, language: str, words: str) -> None:
    client = wants("all", by_mail=True)
    client.post("/my/language", {"language": language})
    look(alice, 5, disclosures=(document("Letter"),))
    patient_notices.find()
    (letter,) = sent()
    assert words in letter.body
    assert "Sign in" not in letter.body


def test_many_looks_are_one_mail_and_the_next_waits_a_quarter_of_an_hour(alice: str) -> None:
    wants("all", by_mail=True)
    look(alice, 40, disclosures=(document("Letter"),))
    look(alice, 5, replace(EVE, user_id="Practitioner/x"), disclosures=(document("Letter"),))
    assert patient_notices.find() == 2
    assert patient_notices.send() == 1
    look(alice, 0.1, replace(EVE, user_id="Practitioner/y"), disclosures=(document("Letter"),))
    assert patient_notices.find() == 1
    assert patient_notices.send() == 0
    assert patient_notices.send(now=now() + timedelta(minutes=16)) == 1
    assert len(mail.outbox) == 2


def test_an_address_counts_only_after_its_owner_followed_the_link_signed_out(alice: str) -> None:
    client = signed_in()
    assert choose(client, "all", by_mail="yes", address=ADDRESS).status_code == 302
    assert "Open the link in the mail that we sent you" in page(client)
    NoticeChoice.objects.update(chosen_at=now() - timedelta(hours=1), looked_until=now() - timedelta(hours=1))
    look(alice, 5, disclosures=(document("Letter"),))
    assert patient_notices.find() == 1
    (letter,) = sent()
    assert "Rosa" not in letter.body
    (link,) = re.findall(r"https://hub\.example(/my/notices/address/\S+)", letter.body)
    visitor = Client()
    assert "Is this your mail address?" in visitor.get(link).content.decode()
    assert NoticeChoice.objects.get().verified_at is None, "a program that follows links proves nothing"
    assert "Your address is kept" in visitor.post(link).content.decode()
    assert visitor.post(link).status_code == 200
    assert NoticeChoice.objects.get().verified_at is not None
    assert Client().get(link + "x").status_code == 410


def test_a_link_ends_after_two_days_and_with_another_address(alice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in()
    choose(client, "all", by_mail="yes", address=ADDRESS)
    (letter,) = sent()
    (link,) = re.findall(r"https://hub\.example(/my/notices/address/\S+)", letter.body)
    choose(client, "all", by_mail="yes", address="other@example.org")
    assert Client().post(link).status_code == 410
    choose(client, "all", by_mail="yes", address=ADDRESS)
    assert Client().post(link).status_code == 410
    link = re.findall(r"https://hub\.example(/my/notices/address/\S+)", sent()[-1].body)[0]
    monkeypatch.setattr(patient_notices, "LINK_LASTS", timedelta(seconds=-1))
    assert Client().get(link).status_code == 410


def test_one_press_in_a_mail_program_ends_the_mails_without_cookie_or_form(alice: str) -> None:
    wants("all", by_mail=True)
    look(alice, 5, disclosures=(document("Letter"),))
    patient_notices.find()
    (letter,) = sent()
    link = letter.extra_headers["List-Unsubscribe"].strip("<>").removeprefix("https://hub.example")
    stranger = Client(enforce_csrf_checks=True)
    assert "Do you want no more mail?" in stranger.get(link).content.decode()
    assert NoticeChoice.objects.get().by_mail
    assert stranger.post(link, {"List-Unsubscribe": "One-Click"}).status_code == 200
    assert not NoticeChoice.objects.get().by_mail
    assert AuditEvent.objects.filter(kind="notices-chosen", detail__act="unsubscribed", person_id=alice).exists()
    look(alice, 0.1, replace(EVE, user_id="Practitioner/y"), disclosures=(document("Letter"),))
    assert patient_notices.find() == 1
    assert sent() == [letter]


def test_the_address_is_kept_encrypted(alice: str) -> None:
    wants("all", by_mail=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(c)::text, encode(c.address, 'escape') FROM exchange_noticechoice c")
        assert all("rosa@" not in text for text in cursor.fetchone())
        cursor.execute("SELECT string_agg(row_to_json(o)::text, '') FROM outbox_outboxmessage o")
        assert "rosa@" not in (cursor.fetchone()[0] or "")


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        ({"wanted": "sometimes"}, "Choose what you want to hear of"),
        ({"wanted": "all", "by_mail": "yes", "address": ""}, "Write your mail address"),
        ({"wanted": "all", "by_mail": "yes", "address": "rosa"}, "Write your mail address"),
        (
            {"wanted": "all", "by_mail": "yes", "address": "rosa@example.org\nBcc: all@example.org"},
            "Write your mail address",
        ),
        ({"wanted": "all", "by_mail": "yes", "address": f"{'x' * 250}@example.org"}, "Write your mail address"),
    ],
)
def test_what_cannot_be_chosen_is_named_and_nothing_is_kept(alice: str, form: dict[str, str], fault: str) -> None:
    answer = signed_in().post("/my/notices/choose", form)
    assert (answer.status_code, fault in answer.content.decode()) == (422, True)
    assert not NoticeChoice.objects.exists()
    assert not OutboxMessage.objects.exists()


def test_nobody_is_flooded_with_questions_for_an_address(alice: str) -> None:
    client = signed_in()
    for n in range(patient_notices.MOST_LINKS_A_DAY):
        assert choose(client, "all", by_mail="yes", address=f"r{n}@example.org").status_code == 302
    answer = choose(client, "all", by_mail="yes", address="more@example.org")
    assert (answer.status_code, "You tried many addresses today" in answer.content.decode()) == (422, True)


def test_a_hub_without_mail_says_so_and_takes_no_address(alice: str, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    client = signed_in()
    assert "We cannot send mail here" in page(client)
    assert choose(client, "all", by_mail="yes", address=ADDRESS).status_code == 422
    assert choose(client, "all").status_code == 302


class Refusing:
    """A mail server that does not take what it is given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def send_messages(self, messages: Any) -> int:
        """Never."""
        raise self.error


def refused_by(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(mail, "get_connection", lambda *args, **kwargs: Refusing(error))


def test_a_mail_that_does_not_arrive_is_tried_again_and_given_up_after_a_day_at_the_desk(
    alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wants("all", by_mail=True)
    look(alice, 5, disclosures=(document("Letter"),))
    patient_notices.find()
    with monkeypatch.context() as patch:
        refused_by(patch, smtplib.SMTPServerDisconnected(f"lost while sending to {ADDRESS}"))
        assert patient_notices.send() == 0
        row = OutboxMessage.objects.get(topic="mail")
        assert (row.failed_at, row.attempts, row.next_attempt_at > now()) == (None, 1, True)
        assert ADDRESS not in row.last_error
        later = now() + timedelta(hours=25)
        assert patient_notices.send(now=later) == 0
    row.refresh_from_db()
    assert row.failed_at is not None
    (queue,) = [one for one in queues.waiting() if one.key == "notices"]
    assert queue.count == 1
    outbox.try_again([row.pk])
    assert patient_notices.send() == 1


def test_an_address_that_the_server_refuses_is_given_up_and_its_owner_reads_so(
    alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = wants("all", by_mail=True)
    look(alice, 5, disclosures=(document("Letter"),))
    patient_notices.find()
    refused_by(monkeypatch, smtplib.SMTPRecipientsRefused({ADDRESS: (550, b"no such user")}))
    assert patient_notices.send() == 0
    assert OutboxMessage.objects.get(topic="mail").failed_at is not None
    assert "We could not reach this address" in page(client)


def test_a_closed_account_gets_no_mail(alice: str) -> None:
    wants("all", by_mail=True)
    look(alice, 5, disclosures=(document("Letter"),))
    patient_notices.find()
    PatientAccount.objects.update(active=False)
    assert sent() == []
