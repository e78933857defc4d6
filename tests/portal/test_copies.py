"""Copies of the log to keep: whole, in the reader's language, and harmless."""

from __future__ import annotations

import csv
import io
import re
import threading
import time
import zipfile
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import translation

from hie.audit.models import AuditEvent
from hie.audit.recorder import EventDraft, EventType, write
from hie.directory import registration
from hie.exchange import accounts
from hie.exchange.errors import AccessRefused
from hie.faces.portal import copies, log_paper
from hie.faces.portal.paper import Paper
from tests.portal.conftest import EVE, busy_log, document, look, signed_in, world
from tests.portal.test_log import read

ARABIC, CHINESE = "د. أحمد إبراهيم الخطيب", "林美華"
LONG = "Dr. Maximiliane Featherstonehaugh-Wojciechowska de la Torre y Monteverde-Esterhá"
assert len(LONG) == 80


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on papers."""
    texts: list[str] = []
    say = Paper._say

    def listen(paper: Paper, text: str, *args: Any, **kwargs: Any) -> None:
        texts.append(paper.known(text))
        say(paper, text, *args, **kwargs)

    monkeypatch.setattr(Paper, "_say", listen)
    return texts


def table(client: Client, path: str = "/my/log.csv?period=all") -> list[list[str]]:
    return list(csv.reader(io.StringIO(client.get(path).getvalue().decode("utf-8-sig"))))


def spoken(language: str) -> Client:
    client = signed_in()
    client.post("/my/language", {"language": language})
    return client


@pytest.mark.parametrize(
    ("language", "head", "sentence", "result"),
    [
        ("en", "what happened", "opened 3 of your documents to treat you.", "Refused"),
        ("es", "qué ocurrió", "abrió 3 de sus documentos para atenderle.", "Rechazado"),
        ("ar", "ما حدث", "٣ من وثائقك", "رُفض"),
    ],
)
def test_the_table_is_in_the_readers_language_to_its_last_line(
    alice: str, language: str, head: str, sentence: str, result: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_LINES", 3)  # several pages, the later ones read when the request is over
    busy_log(alice)
    rows = table(spoken(language))
    assert head in rows[0]
    said_at = rows[0].index(head)
    assert any(sentence in row[said_at] for row in rows)
    assert any(result in row for row in rows)
    if language != "en":
        assert not [row for row in rows[1:] if " opened " in row[said_at] or "looked" in row[said_at]]
    assert not [cell for row in rows for cell in row if "\u2068" in cell]


def test_no_line_is_left_out_however_long_the_log(alice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_LINES", 7)
    start = datetime.now(UTC)
    write([EventDraft(kind=EventType.RETRIEVE_DOCUMENT, caller=replace(EVE, user_id=f"Practitioner/{n}", user_name=f"Reader {n}"), person_id=alice, at=start - timedelta(hours=n), disclosures=(document("Letter"),)) for n in range(1, 301)])  # fmt: skip
    client = signed_in()
    names = [row[2] for row in table(client) if row[2].startswith("Reader")]
    assert names == [f"Reader {n}" for n in range(1, 301)]
    bundle = client.get("/my/log.json?period=all").getvalue().decode()
    assert len(set(re.findall(r'"Reader \d+"', bundle))) == 300


def text_of_pdf(content: bytes) -> bytes:
    return b"".join(zlib.decompress(part) for part in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", content, re.DOTALL))  # fmt: skip


@pytest.mark.parametrize("language", ["en", "es", "ar"])
def test_the_paper_says_what_the_page_says_in_the_readers_language(alice: str, language: str, said: list[str]) -> None:
    busy_log(alice)
    look(alice, 3, replace(EVE, user_id="Practitioner/k", user_name=ARABIC), disclosures=(document("<b>Letter</b>"),))
    look(alice, 5, replace(EVE, user_id="Practitioner/l", user_name=LONG), disclosures=(document("Letter"),))
    answer = spoken(language).get("/my/log.pdf?period=all")
    content = answer.getvalue()
    assert (answer["Content-Type"], len(content)) == ("application/pdf", int(answer["Content-Length"]))
    assert content.startswith(b"%PDF-")
    assert f"/Lang ({language})".encode() in content
    assert b"/Outlines" in content
    whole = "\n".join(said).replace("\u2068", "").replace("\u2069", "")
    expected = {
        "en": (
            "opened 3 of your documents to treat you.",
            "Refused",
            "Found at home, could not speak",
            "Emergency access",
        ),
        "es": ("abrió 3 de sus documentos para atenderle.", "Rechazado", "Found at home, could not speak", "Acceso de"),
        "ar": ("٣ من وثائقك", "رُفض", "Found at home, could not speak"),
    }[language]
    for text in (*expected, ARABIC, LONG, "Passed on by" if language == "en" else "The Hospital"):
        assert text in whole, text
    assert "&" not in whole
    # Letters that no font here has are written in others, and that is said.
    assert CHINESE not in whole
    assert "Lin Mei Hua" in whole
    notes = {"en": "in Latin ones", "es": "con letras latinas", "ar": "بحروف لاتينية"}
    assert notes[language] in said[-2] or notes[language] in said[-1] or notes[language] in whole


@pytest.mark.parametrize("language", ["en", "ar"])
@pytest.mark.parametrize(
    "text",
    [
        f"{LONG}, doctor at The Clinic, opened 3 of your documents to treat you. Shown under the general rule of Dunmarrow.",
        f"{ARABIC} في The Clinic فتح ٣ من وثائقك لعلاجك. عُرض وفق القاعدة العامة في Dunmarrow؛ لم تختر غير ذلك حتى الآن.",
        "W" * 300,
        f"a {'https://hub.example/' + 'x' * 200} b",
        "",
        "two  blanks",
    ],
)
def test_each_line_of_a_paper_fits_and_no_word_is_lost(language: str, text: str) -> None:
    with translation.override(language):
        paper = Paper("Title", of="", foot="")
        shaped = bool(re.search(r"[\u0590-\u08ff]", text))
        paper.set_text_shaping(shaped)
        paper.set_font("NotoSansArabic" if shaped and language == "ar" else "NotoSans", "B", 11)
        lines = list(paper._lines(text, 11, (True, shaped)))
        assert max(paper.get_string_width(line) for line in lines) <= paper.epw - 2 * paper.c_margin + 0.5
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
        if len(text) > 90:
            assert len(lines) > 1


def readers(person: str, count: int) -> None:
    """So many people looked, an hour after another; the newest is number 1."""
    start = datetime.now(UTC)
    for first in range(1, count + 1, 1_000):
        write([EventDraft(kind=EventType.RETRIEVE_DOCUMENT, caller=replace(EVE, user_id=f"Practitioner/{n}", user_name=f"Reader {n}"), person_id=person, at=start - timedelta(hours=n), disclosures=(document("Letter"),)) for n in range(first, min(first + 1_000, count + 1))])  # fmt: skip


def numbers(texts: list[str]) -> list[int]:
    return [int(found[1]) for text in texts if (found := re.match(r"Reader (\d+), doctor at", text))]


def test_a_log_too_long_for_one_paper_comes_in_parts_with_every_line_once(
    alice: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_paper, "PAPER_LINES", 50)
    readers(alice, 220)
    client = signed_in()
    answer = client.get("/my/log.pdf?period=all&part=people")
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"].endswith('.zip"')
    whole = zipfile.ZipFile(io.BytesIO(answer.getvalue()))
    assert whole.testzip() is None
    names = whole.namelist()
    assert [name[:3] for name in names] == ["001", "002", "003", "004", "005"]
    assert all(re.fullmatch(r"\d{3}-\d{4}-\d\d-\d\d-\d{4}-\d\d-\d\d\.pdf", name) for name in names)
    assert all(whole.read(name).startswith(b"%PDF-") for name in names)
    assert numbers(said) == list(range(1, 221))
    heads = [text for text in said if re.match(r"Part \d\. From .* back to ", text)]
    assert [text[:7] for text in heads] == ["Part 1.", "Part 2.", "Part 3.", "Part 4.", "Part 5."]
    ends = [text for text in said if "goes on" in text or "last part" in text]
    assert ends == [*(f"The log goes on in part {n}." for n in range(2, 6)), "This is the last part."]
    # Just one paper's worth is one paper, and what is asked for narrows all of it.
    said.clear()
    since = (datetime.now(UTC) - timedelta(hours=50)).astimezone(accounts.zone_of(alice)).date()
    until = (datetime.now(UTC) - timedelta(hours=26)).astimezone(accounts.zone_of(alice)).date()
    one = client.get(f"/my/log.pdf?part=people&since={since}&until={until}")
    content = one.getvalue()
    assert (one["Content-Type"], content[:5], len(content)) == ("application/pdf", b"%PDF-", int(one["Content-Length"]))
    found = numbers(said)
    assert 20 < len(found) <= 50
    assert not [text for text in said if "art " in text and ("goes on" in text or text.startswith("Part"))]
    said.clear()
    client.get("/my/log.pdf?since=2001-01-01&until=2001-02-01").getvalue()
    assert "Nothing stands in the log for this time." in said


@pytest.mark.parametrize("language", ["es", "ar"])
def test_parts_are_told_in_the_readers_language(
    alice: str, language: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_paper, "PAPER_LINES", 10)
    readers(alice, 25)
    spoken(language).get("/my/log.pdf?period=all").getvalue()
    expected = {
        "es": ("Parte 2. Del ", "El registro sigue en la parte 3.", "Esta es la última parte."),
        "ar": ("الجزء ٢. من ", "يتابع السجل في الجزء ٣.", "هذا هو الجزء الأخير."),
    }[language]
    for text in expected:
        assert any(one.replace("\u2068", "").startswith(text) for one in said), text
    assert not [text for text in said if "Part 2" in text or "goes on" in text]


def test_a_long_paper_is_sent_while_it_is_made(alice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_paper, "PAPER_LINES", 20)
    readers(alice, 200)
    looks = AuditEvent.objects.filter(kind="access-log-read")
    client = signed_in()
    before = looks.count()
    parts = iter(client.get("/my/log.pdf?period=all&part=people").streaming_content)  # type: ignore[attr-defined]  # the client's answer is a stream or whole
    assert b"%PDF-" in b"".join(next(parts) for _ in range(2))
    # Each page that is read is a look: two parts were, the rest is still to come.
    assert looks.count() - before <= 3
    b"".join(parts)
    assert looks.count() - before >= 10


@pytest.mark.django_db(transaction=True)
def test_a_long_paper_breaks_off_when_the_log_may_not_be_shown_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    alice = world()
    monkeypatch.setattr(log_paper, "PAPER_LINES", 20)
    readers(alice, 100)
    client = signed_in()
    parts = iter(client.get("/my/log.pdf?period=all&part=people").streaming_content)  # type: ignore[attr-defined]  # the client's answer is a stream or whole
    assert next(parts)
    registration.suspend("org-portal", "a test", "ida")
    with pytest.raises((ConnectionAbortedError, AccessRefused)):
        for _ in parts:
            pass


def test_the_accounting_is_shown_as_a_page_a_table_and_a_paper(alice: str, said: list[str]) -> None:
    client = signed_in()
    assert "There is nothing that has to be listed." in read(client, "/my/accounting")
    office = replace(EVE, organization_id="org-hospital", organization_name="=The Health Office", purpose="PUBHLTH")
    for minute in (10, 5000):
        look(alice, minute, office, disclosures=(document("Lab report", rule="L2", obligations=("ACCOUNT",)),))
    look(alice, 60, disclosures=(document("Letter"),))
    page = read(client, "/my/accounting")
    for words in ("=The Health Office", "Lab report (The Clinic)", "For public health. A law made the place report it.", "This happened 2 times."):  # fmt: skip
        assert words in page
    assert "Letter" not in page
    assert "It was for care, payment or running a place." in read(client, "/my/accounting?all=1")
    rows = table(client, "/my/accounting.csv")
    assert rows[1][0] == "'=The Health Office"
    assert (len(rows), len(table(client, "/my/accounting.csv?all=1"))) == (2, 3)
    assert client.get("/my/accounting.pdf").content.startswith(b"%PDF-")
    assert "=The Health Office" in said
    assert "Quién recibió datos" in read(spoken("es"), "/my/accounting")
    assert Client().get("/my/accounting").status_code == 302


@pytest.mark.django_db(transaction=True)
def test_a_look_is_in_the_log_within_five_seconds_of_its_commit() -> None:
    alice = world()
    client = signed_in()
    assert "Kit Newcomer" not in read(client)

    def somewhere_else() -> None:
        look(alice, 0, replace(EVE, user_id="Practitioner/kit", user_name="Kit Newcomer"), disclosures=(document("Letter"),))  # fmt: skip
        connection.close()

    began = time.monotonic()
    other = threading.Thread(target=somewhere_else)
    other.start()
    other.join()
    while "Kit Newcomer" not in read(client):
        assert time.monotonic() - began < 5
    assert time.monotonic() - began < 5


def test_ten_thousand_lines_with_names_of_every_script_are_read_page_by_page(
    alice: str, django_assert_max_num_queries: Any
) -> None:
    start, names = datetime.now(UTC), (ARABIC, CHINESE, LONG)
    for first in range(0, 10_000, 1_000):
        write([EventDraft(kind=EventType.RETRIEVE_DOCUMENT, caller=replace(EVE, user_id=f"Practitioner/{n}", user_name=f"{names[n % 3]} {n}"), person_id=alice, at=start - timedelta(minutes=n), disclosures=(document(f"Kind {n % 40}"),)) for n in range(first, first + 1_000)])  # fmt: skip
    client = signed_in()
    client.get("/my/")
    with django_assert_max_num_queries(45):
        page = read(client, "/my/?period=all")
    for name in names:
        assert name in page
    assert "Showing 50 entries" in page
    assert f"{ARABIC} 9999" in read(client, "/my/?period=all&text=" + "احمد ابراهيم الخطيب 9999")
    offered = client.get("/my/?period=all&more=1").content.decode()
    assert all(f">Kind {n}</option>" in offered for n in range(40))
    people = re.findall(
        r'<option value="[^"]* (\d+)">', offered[offered.index('id="person"') : offered.index('id="kind"')]
    )
    # Of ten thousand people those of the newest looks are offered.
    assert sorted(map(int, people)) == list(range(300))
