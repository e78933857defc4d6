"""The pages of the log over HTTP."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client, override_settings
from django.utils.html import strip_tags

from consent import proxies
from consent.models import ProxyGrant
from hie.audit.recorder import EventDraft, EventType, write
from hie.exchange import access_log, access_log_lines
from hie.faces.portal import words
from hie.faces.portal.page import POLICY
from patients import identifiers
from tests.portal.conftest import EVE, PAYER, busy_log, document, look, signed_in


def text_of(page: bytes) -> str:
    body = re.sub(r"(?s)<svg.*?</svg>|<head>.*?</head>", "", page.decode())
    return " ".join(
        html.unescape(strip_tags(re.sub(r"(</?(li|p|h\d|dd|dt|div|option|summary)[^>]*>)", r"\1 ", body))).split()
    )


def read(client: Client, path: str = "/my/") -> str:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content.decode()
    return text_of(answer.content)


def test_the_log_says_who_where_what_why_and_under_which_rule(alice: str) -> None:
    busy_log(alice)
    page = read(signed_in())
    for sentence in (
        "Dr. Eve Marlowe, doctor at The Clinic, opened 3 of your documents to treat you.",
        "Show the 3 looks",
        "Jo Adeyemi-Clarke, nurse at The Clinic, looked at the entry of your list of medicines to treat you.",
        "Passed on by The Hospital. It carried the request. It did not read your record.",
        "Refused The Hospital asked for your documents to decide on a payment. Nothing was shown. Refused because of your choice.",
        "Emergency access Dr. Tomas Varga, doctor at The Clinic, opened 2 of your documents in an emergency.",
        'Dr. Tomas Varga opened this in an emergency: "Found at home, could not speak". It will be checked, and you can object.',
        "Partly shown Lin Mei-Hua (林美華), pharmacist at",
        "Part of it was held back.",
        "looked you up to treat you.",
        "The exchange’s own staff (records staff) looked at your record: name and contact data.",
        "The reason given: “a possible duplicate”",
        "1 look was an emergency. 1 request was refused.",
        "In the last 30 days, 3 organizations looked at your record.",
    ):
        assert sentence in page
    assert "no person looked" not in page
    assert "Automatic services no person looked" in read(signed_in(), "/my/?part=automatic")


def test_the_sentence_of_a_line_is_the_one_of_the_exchange_with_names_marked(alice: str) -> None:
    busy_log(alice)
    caller = signed_in()
    read(caller)
    me = replace(
        EVE,
        participant_id="org-portal",
        organization_id="org-portal",
        user_id=f"Patient/{alice}",
        role="patient",
        purpose="PATRQT",
    )
    for entry in access_log.log_for_patient(me, alice).entries:
        if entry.values["what"] in words.WHAT or entry.sentence == "staff":
            continue
        assert html.unescape(words.plain(entry)) == access_log.sentence_words(entry)


def test_every_sentence_has_its_form_for_a_helper_and_none_says_you() -> None:
    of_you = re.compile(r"\byou(r|rself)?\b")
    assert set(words.THEIRS) == {key for key, text in access_log_lines.SENTENCES.items() if of_you.search(text)}
    for text in [*words.THEIRS.values(), *words.THEIR_WHY.values(), *words.THEIR_RULES.values()]:
        assert not re.search(r"\byou(r|rself)?\b", text, re.IGNORECASE)


def test_names_with_markup_are_text(alice: str) -> None:
    bad = replace(EVE, user_name="<script>alert(1)</script> & {why} %s", organization_name='"><img src=x>')
    look(alice, 1, bad, disclosures=(document("<b>Letter</b> {kind}"),))
    page = signed_in().get("/my/").content.decode()
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; {why} %s" in page


def test_lines_since_the_last_visit_are_new_and_own_looks_stand_apart(alice: str) -> None:
    look(alice, 5, disclosures=(document("Letter"),))
    first = signed_in()
    assert not re.findall(r"\bNew\b(?! York)", read(first))
    look(alice, 0, PAYER, EventType.FIND_DOCUMENTS, denied=(("x", "D3"),))
    again = read(signed_in())
    assert len(re.findall(r"\bNew\b(?! York)", again)) == 1
    assert "You what you did here yourself" in again


def test_nobody_has_looked_yet(alice: str) -> None:
    for _ in range(2):
        page = read(signed_in())
        assert "No one has looked yet" in page
        assert "no one looked at your record." in page
    page = read(signed_in(), "/my/?period=30&org=None+such")
    assert "Nothing fits this search" in page
    page = read(signed_in(), "/my/?since=2001-01-01&until=2001-02-01")
    assert "Nothing fits this search" in page


@pytest.mark.parametrize(
    ("query", "there", "gone"),
    [
        ("why=HPAYMT", "decide on a payment. Nothing", "opened 3"),
        ("org=The+Hospital", "decide on a payment. Nothing", "opened 3"),
        ("person=Jo+Adeyemi-Clarke", "Jo Adeyemi-Clarke, nurse", "opened 3"),
        ("result=refused", "decide on a payment. Nothing", "opened 3"),
        ("result=emergency", "Dr. Tomas Varga, doctor", "opened 3"),
        ("result=partly", "Part of it was held back", "opened 3"),
        ("kind=Heart+tracing", "heart tracing", "Jo Adeyemi-Clarke, nurse"),
        ("text=varga", "Dr. Tomas Varga, doctor", "opened 3"),
        ("part=automatic", "no person looked", "opened 3"),
        ("part=own", "what you did here yourself", "opened 3"),
        ("part=people", "opened 3", "no person looked"),
    ],
)
def test_filters_narrow_the_log_and_each_can_be_taken_off(alice: str, query: str, there: str, gone: str) -> None:
    busy_log(alice)
    client = signed_in()
    read(client)
    page = client.get(f"/my/?{query}")
    text = text_of(page.content)
    assert there in text
    assert gone not in text
    if not query.startswith("part"):
        assert "Filters in use:" in text
        assert "(remove)" in text
        assert '<details class="more fold" open>' in page.content.decode()


@pytest.mark.parametrize(
    "query",
    [
        "period=9",
        "result=king",
        "part=x",
        "since=yesterday",
        "before=x",
        "before=99999999999999999.00000000-0000-0000-0000-000000000000",
        "text=%00",
        "why=%F0%9F%92%A9",
        "text=" + "x" * 5000,
        "until=9999-12-31",
        "since=0001-01-01",
        "org=%27%3B--",
    ],
)
def test_whatever_stands_in_the_address_gives_a_page(alice: str, query: str) -> None:
    assert signed_in().get(f"/my/?{query}").status_code == 200


def test_a_long_log_goes_on_over_pages_without_gap_or_repeat(alice: str) -> None:
    drafts = [
        EventDraft(
            kind=EventType.RETRIEVE_DOCUMENT,
            caller=replace(EVE, user_id=f"Practitioner/{n}", user_name=f"Reader {n:03d}"),
            person_id=alice,
            at=datetime.now(UTC) - timedelta(hours=n),
            disclosures=(document("Letter"),),
        )
        for n in range(1, 121)
    ]
    write(drafts)
    client, path, seen = signed_in(), "/my/", []
    while path:
        page = client.get(path).content.decode()
        seen += re.findall(r"<bdi>(Reader \d+)</bdi></b>, doctor", page)
        older = re.search(r'href="(\?[^"]+before=[^"]+)"', page)
        path = "/my/" + html.unescape(older[1]) if older else ""
    assert seen == [f"Reader {n:03d}" for n in range(1, 121)]


def test_a_line_has_its_details_and_only_for_whose_log_it_is(alice: str) -> None:
    busy_log(alice)
    client = signed_in()
    page = client.get("/my/").content.decode()
    links = [html.unescape(link) for link in re.findall(r'href="(/my/log/[^"]+)"', page)]
    assert len(links) > 6
    first = next(link for link in links if "opened 3" in read(client, link))
    text = read(client, first)
    for words_ in (
        "What happened",
        "Heart tracing of May (The Clinic)",
        "Technical details",
        "ITI-68",
        "The way the request took",
    ):
        assert words_ in text
    assert "opened 3" in read(client, first.partition("?")[0])
    assert client.get(f"/my/log/{uuid.uuid4()}").status_code == 404
    assert signed_in("sam").get(first).status_code == 404
    assert signed_in("sam").get(first.partition("?")[0]).status_code == 404


def test_the_table_holds_every_line_and_no_formula(alice: str) -> None:
    busy_log(alice)
    look(
        alice, 1, replace(EVE, user_id="Practitioner/x", user_name="=HYPERLINK(1)"), disclosures=(document("+Letter"),)
    )
    answer = signed_in().get("/my/log.csv")
    assert answer["Content-Disposition"].startswith("attachment")
    rows = list(csv.reader(io.StringIO(answer.getvalue().decode("utf-8-sig"))))
    assert rows[0][0] == "time"
    assert any("opened 3 of your documents" in cell for row in rows for cell in row)
    assert not [cell for row in rows for cell in row if cell[:1] in set("=+-@\t\r")]
    only = signed_in().get("/my/log.csv?why=HPAYMT").getvalue().decode()
    assert "Marlowe" not in only


def test_the_bundle_for_another_system_is_one_of_audit_events(alice: str) -> None:
    busy_log(alice)
    bundle = json.loads(signed_in().get("/my/log.json").getvalue())
    assert bundle["resourceType"] == "Bundle"
    assert {entry["resource"]["resourceType"] for entry in bundle["entry"]} == {"AuditEvent"}


# --- helpers --------------------------------------------------------------------------------


def switched(person: str) -> Client:
    client = signed_in("sam")
    assert client.post("/my/person", {"person": person})["Location"] == "/my/"
    return client


def test_a_helper_reads_the_record_he_may_and_the_patient_sees_that(alice: str) -> None:
    busy_log(alice)
    own = signed_in("sam")
    assert "Dr. Eve Marlowe" not in read(own)
    assert "Rosa Delgado" in read(own)
    page = read(switched(alice))
    assert "You are acting for Rosa Delgado." in page
    assert "Who looked at the record of Rosa Delgado" in page
    assert "opened 3 of their documents to treat them." in page
    patient = read(signed_in())
    assert "Your helper Sam Delgado, on your behalf, read this log." in patient
    back = switched(alice)
    back.post("/my/person", {"person": ""})
    assert "Who looked at my record" in read(back)


def test_a_helper_sees_no_trace_of_what_is_above_the_grant(alice: str) -> None:
    look(alice, 1, disclosures=(document("Secret", confidentiality="V"),))
    look(alice, 100, disclosures=(document("Letter"), document("Secret", confidentiality="V")))
    client = switched(alice)
    assert "Secret" not in client.get("/my/").content.decode()
    assert "Secret" not in client.get("/my/log.csv").getvalue().decode()
    assert "Secret" not in client.get("/my/log.json").getvalue().decode()
    assert "opened their letter" in read(client)


def test_without_a_grant_nobody_is_acted_for_and_an_ended_one_ends_at_once(alice: str) -> None:
    assert signed_in("alice").post("/my/person", {"person": alice}).status_code == 404
    assert signed_in("sam").post("/my/person", {"person": str(uuid.uuid4())}).status_code == 404
    client = switched(alice)
    proxies.set_status(ProxyGrant.objects.get().pk, "ended")
    page = read(client)
    assert "Rosa Delgado" not in page
    assert "Who looked at my record" in page
    assert identifiers.anchor(alice)


# --- the frame ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/my/sign-in", "/my/", "/my/help", "/my/documents", "/my/nowhere", "/my/log/x", "/my/log.csv", "/my/sign-in/code"],
)
def test_every_answer_has_the_strict_policy_and_is_kept_nowhere(alice: str, path: str) -> None:
    for client in (Client(), signed_in()):
        answer = client.get(path)
        assert answer["Content-Security-Policy"] == POLICY
        assert answer["Cache-Control"] == "no-store"
        if "html" in answer["Content-Type"] and answer.content:
            page = answer.content.decode()
            assert "<script" not in page
            assert not re.search(r'\son\w+="|\sstyle="|https?://(?!www\.w3\.org)', page)
            assert "Wayfold" not in page
            assert settings.HUB_NAME in page or "&#x27;" in page


def test_errors_speak_in_the_frame_of_the_portal(alice: str) -> None:
    client = signed_in()
    for path, status, words_ in (
        ("/my/nowhere", 404, "There is nothing here"),
        ("/my/sign-out", 405, "That does not work here"),
    ):
        answer = client.get(path)
        assert answer.status_code == status
        assert words_ in text_of(answer.content)


def test_a_crash_is_a_page_with_a_number_and_no_trace(alice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = signed_in()

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(access_log, "log_for_patient", fails)
    answer = client.get("/my/", headers={"X-Request-Id": "r-17"})
    assert answer.status_code == 500
    assert "r-17" in text_of(answer.content)
    assert "secret words" not in answer.content.decode()


def test_the_log_costs_the_same_whatever_its_length(alice: str, django_assert_max_num_queries: Any) -> None:
    busy_log(alice)
    client = signed_in()
    read(client)
    with django_assert_max_num_queries(45):
        read(client)


@pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("es", "ltr"), ("ar", "rtl")])
def test_the_language_is_kept_with_browser_and_account(alice: str, language: str, direction: str) -> None:
    client = signed_in()
    answer = client.post("/my/language", {"language": language, "next": "/my/help"})
    assert answer["Location"] == "/my/help"
    page = client.get("/my/").content.decode()
    assert f'<html lang="{language}" dir="{direction}">' in page
    again = signed_in()
    assert f'<html lang="{language}"' in again.get("/my/").content.decode()
    assert client.post("/my/language", {"language": "xx"}).status_code == 302


@override_settings(HUB_NAME="Harbour <Exchange>")
def test_the_product_has_the_name_of_the_hub(alice: str) -> None:
    assert "Harbour &lt;Exchange&gt;" in Client().get("/my/sign-in").content.decode()
