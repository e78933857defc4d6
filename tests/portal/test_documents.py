"""My documents: the list and the bytes, through the door."""

from __future__ import annotations

import html
import io
import re
import time
import uuid
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from documents import queries as registry
from documents.metadata import CX, ON_DEMAND, Bytes, CodedValue
from documents.models import DocumentEntry
from hie.audit.kinds import EventType
from hie.audit.models import AuditEvent
from hie.exchange import document_view, retrieve, submit
from hie.standards import cda as cda_header
from hie.standards.facts import Caller
from tests.documents import samples
from tests.portal.conftest import signed_in
from tests.portal.documents import CDA_FORMAT, HOSPITAL, cda, published, section
from tests.portal.test_log import text_of

ALICE_ID = CX(value="A1", authority="2.999.10.1.1")
CLINIC = Caller(
    participant_id="org-clinic",
    organization_id="org-clinic",
    client_id="org-clinic",
    user_id="Practitioner/ada",
    role="physician",
    purpose="TREAT",
    organization_name="The Clinic",
)


@pytest.fixture
def letter(alice: str, settings: Any, tmp_path: Path) -> str:
    """A text of the clinic about Alice; its entry's id."""
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    entry = samples.entry(
        patient_id=ALICE_ID, source_patient_id=ALICE_ID, title='Letter <b>of</b> "May"/..\\', mime_type="text/plain"
    )
    staged = submit.stage(b"Dear Alice", "text/plain", CLINIC)
    wanted = samples.submission(entry, contents={entry.entry_uuid: staged.id}, patient_id=ALICE_ID)
    receipt = submit.submit(wanted, CLINIC)
    return str(receipt.entry_uuids[0]).removeprefix("urn:uuid:")


def test_a_patient_finds_and_saves_a_document_and_reads_that_in_the_log(alice: str, letter: str) -> None:
    client = signed_in()
    page = client.get("/my/documents")
    text = text_of(page.content)
    assert 'Letter <b>of</b> "May"' in text
    assert "The Clinic" in text
    assert "1 document. You can read and save it." in text
    answer = client.get(f"/my/documents/{letter}/file")
    assert answer.getvalue() == b"Dear Alice"
    assert answer["Content-Disposition"] == 'attachment; filename="Letter-b-of-b-May.txt"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    kinds = set(AuditEvent.objects.filter(person_id=alice, user=f"Patient/{alice}").values_list("kind", flat=True))
    assert {"ITI-67", "ITI-68"} <= kinds
    assert "You opened your" in text_of(client.get("/my/").content)


def test_another_patient_and_a_stranger_get_what_an_absent_document_gives(alice: str, letter: str) -> None:
    absent = "00000000-0000-4000-8000-000000000000"
    other = signed_in("sam")
    assert other.get(f"/my/documents/{letter}/file").status_code == 404
    hidden, none = (text_of(other.get(f"/my/documents/{one}/file").content) for one in (letter, absent))
    assert hidden == none
    assert Client().get(f"/my/documents/{letter}/file").status_code == 302
    assert "There are no documents yet" in text_of(other.get("/my/documents").content)


def test_a_helper_saves_what_the_grant_reaches(alice: str, letter: str) -> None:
    client = signed_in("sam")
    client.post("/my/person", {"person": alice})
    assert "Documents of Rosa Delgado" in text_of(client.get("/my/documents").content)
    assert client.get(f"/my/documents/{letter}/file").getvalue() == b"Dear Alice"


@pytest.mark.parametrize("after", ["x", "||||", "%00", "9" * 500])
def test_whatever_stands_for_a_place_in_the_list_gives_a_page(alice: str, after: str) -> None:
    assert signed_in().get(f"/my/documents?after={after}").status_code in {200, 400, 404}


def many(entry: str, count: int, **values: Any) -> None:
    """The document `count` times more, a day apart, under titles of their own."""
    first = DocumentEntry.objects.get(entry_uuid=entry)
    copies = []
    for n in range(count):
        copy = DocumentEntry.objects.get(pk=first.pk) if not copies else DocumentEntry(**_fields(copies[0]))
        key = uuid.uuid4()
        day = datetime(2024, 1, 30, 12, tzinfo=UTC) - timedelta(days=n)
        copy.pk, copy.entry_uuid, copy.logical_id = None, key, key
        copy.unique_id, copy.sorted_at, copy.title = f"2.999.5.{n}", day, f"Letter {n}"
        copy.creation_time = f"{day:%Y%m%d%H%M%S}"
        copy.metadata = first.metadata | {
            "entry_uuid": f"urn:uuid:{key}",
            "logical_id": f"urn:uuid:{key}",
            "unique_id": copy.unique_id,
            "title": copy.title,
            "creation_time": copy.creation_time,
        }
        for name, value in values.items():
            setattr(copy, name, value)
        copies.append(copy)
    DocumentEntry.objects.bulk_create(copies, batch_size=500)


def _fields(row: DocumentEntry) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if field.attname != "id"}


def titles(page: bytes) -> list[str]:
    return re.findall(r'class="docs__title" id="[^"]+"><bdi>([^<]*)</bdi>', page.decode())


def test_thousands_of_documents_come_page_by_page_each_once_newest_first(alice: str, letter: str) -> None:
    many(letter, 2000)
    client = signed_in()
    found: list[str] = []
    path = "/my/documents"
    started = time.process_time()
    pages = 0
    while path:
        page = client.get(path).content
        found += titles(page)
        pages += 1
        older = re.search(r'href="(\?[^"]*)">Older documents', page.decode())
        path = f"/my/documents{html.unescape(older[1])}" if older and pages < 8 else ""
    assert found[1:] == [f"Letter {n}" for n in range(len(found) - 1)]
    assert len(found) == 8 * 50
    assert (time.process_time() - started) / pages < 3, "a page of two thousand takes seconds"
    text = text_of(client.get("/my/documents").content)
    assert "2001 documents. You can read and save each one." in text
    assert "January 2024" in text
    assert "Showing 50 of 2001" in text


def test_the_list_costs_the_same_statements_however_many_documents(
    alice: str, letter: str, django_assert_num_queries: Any
) -> None:
    client = signed_in()
    client.get("/my/documents")
    with CaptureQueriesContext(connection) as few:
        client.get("/my/documents")
    many(letter, 60)
    with django_assert_num_queries(len(few)):
        client.get("/my/documents")


def test_documents_are_found_by_words_kind_place_language_and_year_and_each_filter_can_be_taken_off(
    alice: str, settings: Any, tmp_path: Path
) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    lab = CodedValue(code="11502-2", scheme="http://loinc.org", display="Laboratory report")
    published(
        b"a", "text/plain", title="Análisis de sangre", type_code=lab, language_code="es", creation_time="20230102"
    )
    published(b"b", "text/plain", title="Brief aus Köln", creation_time="20240203", by=HOSPITAL)
    published(b"\x89PNG\r\n\x1a\n", "image/png", title="الصورة الأولى", language_code="ar", creation_time="20240301")
    client = signed_in()

    def shown(query: str) -> list[str]:
        return titles(client.get(f"/my/documents?{query}").content)

    every = ["الصورة الأولى", "Brief aus Köln", "Análisis de sangre"]
    assert shown("") == every
    assert shown("words=analisis") == shown("words=LABORATORY+sangre") == shown("topic=tests") == every[2:]
    assert shown("words=koln") == shown("place=org-hospital") == shown("words=the+hospital") == every[1:2]
    assert (
        shown("words=%D8%A7%D9%84%D8%A7%D9%88%D9%84%D9%89")
        == shown("topic=images")
        == shown("language=ar")
        == every[:1]
    )
    assert shown("year=2024") == every[:2]
    assert shown("year=2024&place=org-clinic") == every[:1]
    assert shown("words=nothing") == shown("topic=no-such") == shown("year=x%00") == []
    page = client.get("/my/documents?year=2024&topic=images").content.decode()
    assert "Showing 1 of 1" in page
    assert 'href="?topic=images"' in page
    assert 'href="?year=2024"' in page
    options = re.findall(r'<option value="([^"]*)"', page)
    assert {"tests", "images", "summaries", "org-clinic", "org-hospital", "2023", "2024", "es", "ar", "en"} <= set(
        options
    )
    assert "Nothing was found" in client.get("/my/documents?words=nothing").content.decode()


def test_what_is_looked_for_is_written_down_nowhere(alice: str, letter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = document_view.find.find_documents
    monkeypatch.setattr(
        document_view.find,
        "find_documents",
        lambda search, *, caller: asked.append(search.raw) or real(search, caller=caller),
    )
    signed_in().get("/my/documents?words=pregnancy&topic=tests")
    assert asked == ["/my/documents words topic"]


def test_a_helper_is_offered_no_filter_that_only_hidden_documents_would_fill(
    alice: str, settings: Any, tmp_path: Path
) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    very = (samples.code("V", samples.CONFIDENTIALITY, "very restricted"),)
    published(b"a", "text/plain", title="Open", creation_time="20240203")
    published(b"b", "text/plain", title="Kept", creation_time="19990203", language_code="fr", confidentiality_codes=very, by=HOSPITAL)  # fmt: skip
    hidden = {"1999", "fr", "org-hospital"}
    assert hidden <= offered(client_page(signed_in()))
    sam = signed_in("sam")
    sam.post("/my/person", {"person": alice})
    theirs = client_page(sam)
    assert titles(theirs.encode()) == ["Open"]
    assert hidden.isdisjoint(offered(theirs))
    assert "The Hospital" not in theirs
    assert "1 document." in theirs


def offered(page: str) -> set[str]:
    """Values that a filter can be set to. The rest of a page has random tokens, in which any few letters may occur."""
    return set(re.findall(r'<option value="([^"]*)"', page))


def client_page(client: Client) -> str:
    return client.get("/my/documents").content.decode()


def test_the_day_of_a_document_is_the_patients_and_a_day_without_an_hour_stays_itself(
    alice: str, settings: Any, tmp_path: Path
) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    published(b"a", "text/plain", title="At night", creation_time="20240301030000")
    published(b"b", "text/plain", title="That day", creation_time="20240301", service_start_time="20240227")
    rows = [registry.entry(one.entry_uuid) for one in DocumentEntry.objects.all()]
    found = {one.metadata.title: document_view.day(one, ZoneInfo("America/New_York")) for one in rows if one}
    assert found == {"At night": date(2024, 2, 29), "That day": date(2024, 3, 1)}
    assert "Visit on 27 February 2024" in text_of(signed_in().get("/my/documents").content)


def test_a_line_of_the_log_leads_to_its_document_and_one_of_no_document_to_none(alice: str, letter: str) -> None:
    client = signed_in()
    client.get(f"/my/documents/{letter}/file")
    page = client.get("/my/").content.decode()
    lines = [html.unescape(one) for one in re.findall(r'<a href="(/my/log/[^"/]+)"', page)]
    told = [client.get(line).content for line in lines]
    opened = [page for page in told if "You opened" in text_of(page)]
    assert opened
    assert all(f'href="/my/documents/{letter}"' in page.decode() for page in opened)
    without = [page for page in told if "What was shown" not in text_of(page)]
    assert without
    assert all("/my/documents/" not in page.decode() for page in without)


def test_a_summary_made_on_demand_is_listed_read_and_saved_and_not_taken_along(
    alice: str, letter: str, settings: Any
) -> None:
    entry = samples.entry(
        patient_id=ALICE_ID, source_patient_id=ALICE_ID, object_type=ON_DEMAND, creation_time=None, mime_type="text/xml",
        format_code=CDA_FORMAT, title="All in one", repository_unique_id=settings.REPOSITORY_UNIQUE_ID,
    )  # fmt: skip
    wanted = replace(samples.submission(entry, patient_id=ALICE_ID), bytes=Bytes.ON_DEMAND)
    receipt = submit.submit(wanted, CLINIC, kind=EventType.REGISTER_ON_DEMAND)
    summary = str(receipt.entry_uuids[0]).removeprefix("urn:uuid:")
    published(cda(section("<paragraph>Asthma</paragraph>")), "text/xml", format_code=CDA_FORMAT)
    client = signed_in()
    assert f"/my/documents/{summary}" in client.get("/my/documents").content.decode()
    page = text_of(client.get(f"/my/documents/{summary}").content)
    assert "Asthma" in page
    assert "Letter <b>of</b>" in page
    saved = client.get(f"/my/documents/{summary}/file").getvalue()
    assert cda_header.header(saved).authors[0].organization_name == settings.HUB_NAME
    retrieve.retrieve(retrieve.Wanted(binary_id=summary), caller=HOSPITAL)
    log = text_of(client.get("/my/").content)
    assert "opened 3 of your documents to treat you" in log
    assert "All in one" in log
    whole = zipfile.ZipFile(io.BytesIO(client.get("/my/documents/all.zip").getvalue()))
    assert not [name for name in whole.namelist() if "All-in-one" in name]
    assert len([name for name in whole.namelist() if name.endswith(".xml")]) == 1
