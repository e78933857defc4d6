"""A document read in the portal: safe, whole, in words; pictures and PDFs shown; nothing that the reader may not see."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path
from typing import Any

import lxml.html
import pytest
from django.test import Client

from documents.models import DocumentEntry
from hie.audit.models import AuditEvent, Disclosure
from hie.exchange import document_view
from tests.portal.conftest import signed_in
from tests.portal.documents import CDA_FORMAT, HOSPITAL, cda, published, section
from tests.portal.test_log import text_of
from tests.standards.test_cda_html import PNG, SAMPLES, letters, narrative_of

PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
ABSENT = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def store(alice: str, settings: Any, tmp_path: Path) -> str:
    """Alice, and a folder for documents; her person."""
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"
    return alice


def put_cda(body: str, **values: Any) -> str:
    return published(cda(body, **values), "text/xml", format_code=CDA_FORMAT, title="Letter of May")


def page_of(client: Client, entry: str, more: str = "") -> lxml.html.HtmlElement:
    answer = client.get(f"/my/documents/{entry}{more}")
    assert answer.status_code == 200, answer.content.decode()
    return lxml.html.fromstring(answer.content.decode())


def test_a_document_is_read_as_a_page_that_says_who_wrote_it_when_and_for_whom(store: str) -> None:
    entry = put_cda(
        section("<paragraph>All is <content styleCode='Bold'>well</content>.</paragraph>", title="Findings")
        + section("<list><item>Rest</item></list>", title="Plan")
    )
    client = signed_in()
    assert f"/my/documents/{entry}" in client.get("/my/documents").content.decode()
    page = page_of(client, entry)
    text = text_of(lxml.html.tostring(page.find(".//main"), encoding="utf-8"))
    for said in (
        "Letter of May",
        "Written by",
        "Dr. Eve Marlowe",
        "31 January 2024",
        "Rosa Delgado, born on 1 May 1970",
        "Kept by The Clinic",
    ):
        assert said in text, said
    (article,) = page.findall(".//article")
    assert (article.get("lang"), article.get("dir")) == ("en-US", "ltr")
    assert [one.text for one in article.findall(".//h2")] == ["Findings", "Plan"]
    assert article.find(".//b").text == "well"
    assert [one.get("href") for one in page.findall('.//nav[@class="contents"]//a')] == ["#s-1", "#s-2"]
    seen = AuditEvent.objects.filter(person_id=store, user=f"Patient/{store}", kind="ITI-68")
    assert [one.what for one in Disclosure.objects.filter(event__in=seen)] == ["bytes"]


def test_what_a_document_holds_of_scripts_styles_and_addresses_reaches_no_browser(store: str) -> None:
    entry = put_cda(
        section(
            "<script>alert(1)</script><content onclick='x()' style='x'>a &lt;b&gt; &amp;amp; &quot;q&quot;</content>"
            "<linkHtml href='javascript:x()'>go</linkHtml><img src='https://evil.example/x.png'/>"
            "<renderMultiMedia referencedObject='none'/>",
            title="&lt;script&gt;title&lt;/script&gt;",
        )
    )
    client = signed_in()
    answer = client.get(f"/my/documents/{entry}")
    page = lxml.html.fromstring(answer.content.decode())
    assert page.findall(".//script") == []
    (article,) = page.findall(".//article")
    for one in article.iter():
        assert not [
            name for name in one.attrib if name.startswith("on") or name in {"style", "src", "action", "srcset"}
        ]
        assert (one.get("href") or "#").startswith(("#", "?part="))
    text = article.text_content()
    assert "alert(1)" in text
    assert 'a <b> &amp; "q"' in text
    assert "evil.example" not in answer.content.decode()
    assert "<script>title</script>" in page.text_content()
    assert answer["Content-Security-Policy"].startswith("default-src 'none'")


def test_an_arabic_letter_runs_from_right_to_left_on_an_english_page(store: str) -> None:
    table = "<table><tbody><tr><td>الصوديوم</td><td>140 mmol/l</td></tr></tbody></table>"
    entry = put_cda(section(f"<paragraph>كل شيء بخير</paragraph>{table}", title="النتائج"), language="ar-SA")
    page = page_of(signed_in(), entry)
    (article,) = page.findall(".//article")
    assert (article.get("lang"), article.get("dir")) == ("ar-SA", "rtl")
    assert (page.get("lang"), page.get("dir")) == ("en", "ltr")
    assert [one.text for one in article.xpath(".//td/bdi")] == ["الصوديوم", "140 mmol/l"]  # each in its own direction
    assert "in the language of the place that wrote it" in page.text_content()


def test_a_part_without_text_is_said_to_have_none_or_shown_by_its_codes(store: str) -> None:
    negated = """<entry><observation classCode="OBS" moodCode="EVN" negationInd="true"><code code="1" displayName="Allergy"/>
      <value code="2" displayName="Penicillin"/></observation></entry>"""
    entry = put_cda(
        f"<component><section><title>A</title>{negated}</section></component>"
        "<component><section nullFlavor='NI'><title>B</title><text/></section></component>"
        "<component><section><title>C</title></section></component>"
    )
    text = " ".join(page_of(signed_in(), entry).find(".//article").text_content().split())
    assert "Allergy: Penicillin (it is said that this is not so)" in text
    assert "B Nothing was written here." in text
    assert "C This part has no text." in text


@pytest.mark.shared
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem[:40])
def test_every_vendors_sample_stands_on_its_page_whole_and_in_order(
    path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = path.read_bytes()
    entry = published(b"<x/>", "text/xml", title=path.stem)
    monkeypatch.setattr(document_view, "_whole", lambda *_: data)  # as stored before the hub refused broken ones
    client = signed_in()
    page = page_of(client, entry)
    article = page.find(".//article")
    for more in page.xpath("//a[text()='The next part']/@href"):
        article.extend(page_of(client, entry, more).find(".//article"))
    for extra in article.xpath(".//*[@class='m-address' or @class='visually-hidden']"):
        extra.drop_tree()
    shown = letters(article.text_content())
    if path.name[:3] in {"031", "032", "036"}:
        assert shown == letters(data.decode("utf-8-sig"))
        assert "We could not read this file as a document." in page.text_content()
        return
    wanted, place = narrative_of(data), 0
    for letter in wanted:  # what is ours, titles and what is said of silent parts, stands between
        place = shown.find(letter, place) + 1
        assert place
    parts = "".join(letters(one.text_content()) for one in article.xpath(".//*[@class='narrative__text']"))
    assert parts == wanted


# --- other kinds ------------------------------------------------------------------------------------------------------


def test_a_pdf_opens_by_itself_with_headers_of_its_own(store: str) -> None:
    entry = published(PDF, "application/pdf", title="Scan")
    client = signed_in()
    assert "This is a PDF" in text_of(client.get(f"/my/documents/{entry}").content)
    answer = client.get(f"/my/documents/{entry}/open")
    assert answer.getvalue() == PDF
    assert answer["Content-Type"] == "application/pdf"
    assert answer["Content-Disposition"].startswith("inline")
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"


def test_a_picture_is_shown_with_words_and_locked_up(store: str) -> None:
    entry = published(PNG, "image/png", title='Scar "left"')
    client = signed_in()
    page = page_of(client, entry)
    (picture,) = page.findall(".//main//img")
    assert picture.get("alt") == 'Picture: Scar "left"'
    answer = client.get(picture.get("src"))
    assert answer.getvalue() == PNG
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>", "image/svg+xml", id="svg"),
        pytest.param(b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/wav", id="sound"),
        pytest.param(b"PK\x03\x04", "application/zip", id="zip"),
        pytest.param(b"<html><script>x</script></html>", "text/html", id="html"),
    ],
)
def test_nothing_else_is_opened_by_the_browser(store: str, content: bytes, mime_type: str) -> None:
    entry = published(content, mime_type, title="Thing")
    client = signed_in()
    assert client.get(f"/my/documents/{entry}/open").status_code == 404
    saved = client.get(f"/my/documents/{entry}/file")
    assert saved.getvalue() == content
    assert saved["Content-Disposition"].startswith("attachment")
    assert saved["Content-Security-Policy"] == "sandbox; default-src 'none'"
    page = page_of(client, entry)
    assert page.findall(".//script") == []
    if mime_type.startswith(("audio", "application")):
        assert "We cannot show this kind of file" in page.text_content()


def test_a_page_that_calls_itself_a_picture_is_not_shown_as_one(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = published(PNG, "image/png", title="Scar")
    real = document_view.retrieve.retrieve

    def other(wanted: Any, *, caller: Any) -> Any:
        found = real(wanted, caller=caller)
        b"".join(found.chunks)
        return document_view.retrieve.Retrieved(
            binary_id="", content_type="image/png", size=6, sha1="", first=0, last=5, chunks=iter([b"<html>"])
        )

    monkeypatch.setattr(document_view.retrieve, "retrieve", other)
    assert signed_in().get(f"/my/documents/{entry}/open").status_code == 404


@pytest.mark.parametrize(
    ("content", "mime_type", "expected"),
    [
        pytest.param(b"Dear Rosa,\r\n\r\n  all is well.\n", "text/plain", "Dear Rosa, all is well.", id="text"),
        pytest.param("Muñoz".encode("cp1252"), "text/plain", "Muñoz", id="windows"),
        pytest.param("Muñoz".encode("utf-16"), "text/plain", "Muñoz", id="utf-16"),
        pytest.param("Muñoz".encode("latin-1"), "text/plain; charset=iso-8859-1", "Muñoz", id="charset"),
        pytest.param(
            b"{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}Dear Rosa,\\par caf\\'e9 {\\*\\x hidden}\\u1605?}",
            "application/rtf",
            "Dear Rosa, café م",
            id="rtf",
        ),
        pytest.param(
            b"<html><head><title>t</title></head><body><p>Dear <b onclick=x>Rosa</b><script>bad()</script><ul><li>a<li>b</ul>",
            "text/html",
            "Dear Rosa a b",
            id="html",
        ),
        pytest.param(b"<letter><to>Rosa</to></letter>", "application/xml", "<letter><to>Rosa</to></letter>", id="xml"),
    ],
)
def test_texts_of_every_kind_are_read_as_text(store: str, content: bytes, mime_type: str, expected: str) -> None:
    entry = published(content, mime_type, title="Note")
    (article,) = page_of(signed_in(), entry).findall(".//article")
    assert text_of(lxml.html.tostring(article, encoding="utf-8")) == expected


COMPOSITION = """{"resourceType": "Bundle", "type": "document", "language": "es", "entry": [
 {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Composition", "title": "Informe", "date": "2024-02-03T10:00:00Z", "status": "final",
  "type": {"text": "Informe de alta"}, "subject": {"reference": "urn:uuid:2"}, "author": [{"display": "Dra. Eva Marlowe"}],
  "section": [
   {"title": "Hallazgos", "text": {"status": "generated", "div": "<div xmlns=\\"http://www.w3.org/1999/xhtml\\"><p>Todo <b>bien</b></p><script>x()</script><a href=\\"https://evil.example\\">m\\u00e1s</a></div>"}},
   {"title": "Valores", "entry": [{"reference": "urn:uuid:3"}], "section": [{"title": "Nada", "emptyReason": {"text": "No se sabe"}}]}]}},
 {"fullUrl": "urn:uuid:2", "resource": {"resourceType": "Patient", "name": [{"given": ["Rosa"], "family": "Delgado"}], "birthDate": "1970-05-01"}},
 {"fullUrl": "urn:uuid:3", "resource": {"resourceType": "Observation", "status": "final", "code": {"text": "Peso"}, "effectiveDateTime": "2024-02-01", "valueQuantity": {"value": 72, "unit": "kg"}}}]}"""


def test_a_fhir_document_is_read_by_the_text_of_its_composition(store: str) -> None:
    entry = published(COMPOSITION.encode(), "application/fhir+json", title="Informe")
    page = page_of(signed_in(), entry)
    (article,) = page.findall(".//article")
    text = text_of(lxml.html.tostring(article, encoding="utf-8"))
    assert "Hallazgos Todo bien más (https://evil.example)" in text
    assert "x()" not in text
    assert "Peso: 72 kg · 1 February 2024" in text
    assert "Nada No se sabe" in text
    assert [one.tag for one in article.xpath(".//h2|.//h3")] == ["h2", "h2", "h3"]
    assert article.get("lang") == "es"
    assert "Rosa Delgado, born on 1 May 1970" in page.text_content()
    assert article.xpath(".//script|.//a[starts-with(@href, 'http')]") == []


def test_fhir_in_xml_is_read_as_in_json(store: str) -> None:
    xml = """<Observation xmlns="http://hl7.org/fhir"><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml"><p>Weight: <b>72 kg</b></p></div></text>
      <status value="final"/><code><text value="Weight"/></code></Observation>"""
    entry = published(xml.encode(), "application/fhir+xml", title="Weight")
    assert "Weight: 72 kg" in text_of(signed_in().get(f"/my/documents/{entry}").content)


@pytest.mark.parametrize("content", [b"[]", b'{"a":1}', b"{" + b'"a":[' * 200 + b"]" * 200 + b"}", b"\xff\xfe{"])
def test_json_that_is_no_document_is_shown_as_it_stands(
    store: str, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = published(b"{}", "application/json", title="Thing")
    monkeypatch.setattr(document_view, "_whole", lambda *_: content)
    assert "letter by letter" in text_of(signed_in().get(f"/my/documents/{entry}").content)


# --- pictures inside --------------------------------------------------------------------------------------------------


def test_a_picture_inside_a_letter_comes_from_this_hub_and_is_recorded(store: str) -> None:
    data = base64.b64encode(PNG).decode()
    entry = put_cda(
        section(
            "<renderMultiMedia referencedObject='M1'><caption>The scar</caption></renderMultiMedia>",
            more=f"<entry><observationMedia classCode='OBS' moodCode='EVN' ID='M1'><value mediaType='image/svg+xml' representation='B64'>{data}</value></observationMedia></entry>",
        )
    )
    client = signed_in()
    (picture,) = page_of(client, entry).findall(".//article//img")
    assert picture.get("alt") == "The scar"
    before = AuditEvent.objects.filter(person_id=store, kind="ITI-68").count()
    answer = client.get(picture.get("src"))
    assert answer.getvalue() == PNG
    assert (answer["Content-Type"], answer["Content-Security-Policy"]) == ("image/png", "sandbox; default-src 'none'")
    assert AuditEvent.objects.filter(person_id=store, kind="ITI-68").count() == before + 1
    for number in (1, 99, 10**9):
        assert client.get(f"/my/documents/{entry}/part/{number}").status_code == 404


@pytest.mark.parametrize(
    ("kind", "content", "shown", "inline"),
    [
        ("application/pdf", PDF, "Open the PDF", True),
        ("image/png", PNG, "What this document holds", True),
        ("audio/wav", b"RIFF\x00\x00\x00\x00WAVEfmt ", "Save the file", False),
        ("image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "", None),
        ("text/plain", b"Dear Rosa", "Dear Rosa", None),
        ("text/html", b"<p>Dear <b>Rosa</b></p><script>x()</script>", "Dear Rosa", None),
        ("text/rtf", b"{\\rtf1 Dear Rosa}", "Dear Rosa", None),
    ],
)
def test_what_a_document_without_parts_holds_is_shown_by_its_kind(
    store: str, kind: str, content: bytes, shown: str, inline: bool | None
) -> None:
    data = base64.b64encode(content).decode()
    entry = put_cda(f"<nonXMLBody><text mediaType='{kind}' representation='B64'>{data}</text></nonXMLBody>")
    client = signed_in()
    answer = client.get(f"/my/documents/{entry}")
    assert shown in answer.content.decode() or shown in text_of(answer.content)
    assert "x()" not in answer.content.decode()
    if inline is not None:
        file = client.get(f"/my/documents/{entry}/part/0")
        assert file.getvalue() == content
        assert file["Content-Disposition"].startswith("inline" if inline else "attachment")


def test_what_is_kept_elsewhere_is_said_to_be_elsewhere_and_not_fetched(store: str) -> None:
    entry = put_cda(
        "<nonXMLBody><text mediaType='application/pdf'><reference value='https://evil.example/x.pdf'/></text></nonXMLBody>"
    )
    answer = signed_in().get(f"/my/documents/{entry}")
    assert "This part is kept in another place." in text_of(answer.content)
    assert "evil.example" not in answer.content.decode()


# --- long, large, broken ----------------------------------------------------------------------------------------------


def test_a_long_document_comes_in_parts_that_link_to_one_another(store: str) -> None:
    rows = "".join(f"<tr><td>row {n} {'word ' * 40}</td></tr>" for n in range(2000))
    entry = put_cda(
        section("<linkHtml href='#end'>to the end</linkHtml>", title="Start")
        + section(f"<table><thead><tr><th>Column</th></tr></thead><tbody>{rows}</tbody></table>", title="Table")
        + section("<paragraph ID='end'>The end</paragraph>", title="End")
    )
    client = signed_in()
    first = page_of(client, entry)
    last = first.xpath("//article//a[text()='to the end']/@href")[0]
    path, _, place = last.partition("#")
    assert place == "n-end"
    there = page_of(client, entry, path)
    assert there.get_element_by_id("n-end").text_content() == "The end"
    found, more = "", "?part=1"
    while more:
        one = page_of(client, entry, more)
        found += one.find(".//article").text_content()
        more = next(iter(one.xpath("//a[text()='The next part']/@href")), "")
    assert [f"row {n} " in found for n in range(2000)] == [True] * 2000
    for odd in ("0", "-1", "x", "99999", "1e3", "%00"):
        assert client.get(f"/my/documents/{entry}?part={odd}").status_code == 200


def test_a_document_that_is_too_large_is_saved_and_not_read_into_memory(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document_view, "MAX_SHOWN", 100)
    entry = put_cda(section("x"))
    assert "This is too large for a page" in text_of(signed_in().get(f"/my/documents/{entry}").content)
    assert not AuditEvent.objects.filter(person_id=store, kind="ITI-68").exists()


def test_a_document_whose_bytes_are_not_here_is_said_to_be_elsewhere(store: str) -> None:
    entry = put_cda(section("x"))
    DocumentEntry.objects.filter(entry_uuid=entry).update(binary=None)
    client = signed_in()
    listed = client.get("/my/documents").content.decode()
    assert f"/my/documents/{entry}" in listed
    assert f"/my/documents/{entry}/file" not in listed
    page = text_of(client.get(f"/my/documents/{entry}").content)
    assert "It is kept in another place" in page
    assert "Save it as it is" not in page
    for more in ("/file", "/open", "/part/0"):
        assert client.get(f"/my/documents/{entry}{more}").status_code == 404
    assert taken(client).namelist() == ["index.html"]


def test_nobody_reads_what_he_may_not_see_in_any_way(store: str) -> None:
    entry = put_cda(section("<renderMultiMedia referencedObject='M1'/>"))
    stranger = signed_in("sam")
    for more in ("", "/open", "/part/0", "/file"):
        hidden, none = (stranger.get(f"/my/documents/{one}{more}") for one in (entry, ABSENT))
        assert hidden.status_code == none.status_code == 404
        assert text_of(hidden.content) == text_of(none.content)
        assert Client().get(f"/my/documents/{entry}{more}").status_code == 302
    stranger.post("/my/person", {"person": store})
    assert stranger.get(f"/my/documents/{entry}").status_code == 200
    page = stranger.get(f"/my/documents/{entry}").content.decode()
    assert "/who" not in page


# --- all of them ------------------------------------------------------------------------------------------------------


def taken(client: Client) -> zipfile.ZipFile:
    answer = client.get("/my/documents/all.zip")
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith('attachment; filename="documents-')
    return zipfile.ZipFile(io.BytesIO(answer.getvalue()))


def test_all_documents_are_taken_in_one_file_with_a_list_and_pages_to_read(store: str) -> None:
    letter = cda(section("<paragraph>All is <content styleCode='Bold'>well</content></paragraph>"))
    published(letter, "text/xml", format_code=CDA_FORMAT, title="Letter <b>", creation_time="20240105")
    published(PDF, "application/pdf", title="../../etc/passwd", creation_time="20240301")
    published(PNG, "image/png", title="صورة", by=HOSPITAL)
    whole = taken(signed_in())
    assert whole.testzip() is None
    assert sorted(whole.namelist()) == [
        "documents/00001-2024-03-01-etc-passwd.pdf",
        "documents/00002-2024-01-31-document.png",
        "documents/00003-2024-01-05-Letter-b.page.html",
        "documents/00003-2024-01-05-Letter-b.xml",
        "index.html",
    ]
    assert whole.read("documents/00003-2024-01-05-Letter-b.xml") == letter
    assert whole.read("documents/00001-2024-03-01-etc-passwd.pdf") == PDF
    index = lxml.html.fromstring(whole.read("index.html").decode())
    assert {one.get("href") for one in index.iter("a")} == set(whole.namelist()) - {"index.html"}
    assert "Letter <b>" in index.text_content()
    assert "صورة" in index.text_content()
    readable = lxml.html.fromstring(whole.read("documents/00003-2024-01-05-Letter-b.page.html").decode())
    assert "All is well" in " ".join(readable.text_content().split())
    assert index.xpath("//script|//*[@src]") == readable.xpath("//script|//*[@src]") == []
    looks = AuditEvent.objects.filter(person_id=store, user=f"Patient/{store}", kind="ITI-68")
    assert looks.count() == 3


def test_a_file_of_none_says_so_and_another_patients_is_not_in_it(store: str) -> None:
    put_cda(section("x"))
    whole = taken(signed_in("sam"))
    assert whole.namelist() == ["index.html"]
    assert "There are no documents yet" in whole.read("index.html").decode()


def test_what_may_not_be_sent_any_more_is_left_out_and_what_breaks_off_leaves_no_whole_file(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_cda(section("first"))
    put_cda(section("second"))
    real, asked = document_view.retrieve.retrieve, []

    def gone(wanted: Any, *, caller: Any) -> Any:
        asked.append(wanted)
        if len(asked) == 1:
            raise document_view.NotFound("no such document")
        return real(wanted, caller=caller)

    monkeypatch.setattr("hie.faces.portal.take_all.retrieve.retrieve", gone)
    assert len([one for one in taken(signed_in()).namelist() if one.endswith(".xml")]) == 1

    def broken(wanted: Any, *, caller: Any) -> Any:
        found = real(wanted, caller=caller)
        chunks = b"".join(found.chunks)
        return document_view.retrieve.Retrieved(
            binary_id="",
            content_type="text/xml",
            size=len(chunks) + 1,
            sha1="",
            first=0,
            last=len(chunks),
            chunks=iter([chunks]),
        )

    monkeypatch.setattr("hie.faces.portal.take_all.retrieve.retrieve", broken)
    answer = signed_in().get("/my/documents/all.zip")
    with pytest.raises(ConnectionAbortedError):
        answer.getvalue()
