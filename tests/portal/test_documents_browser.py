"""My documents in Chromium: the list, every kind of document and the vendors' samples, accessible, fitting and silent."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from hie.exchange import document_view
from tests.portal.conftest import world
from tests.portal.documents import CDA_FORMAT, HOSPITAL, cda, published, section
from tests.portal.test_browser import Browsing, browsing, pytestmark
from tests.portal.test_reading import COMPOSITION, PDF
from tests.standards.test_cda_html import PNG, SAMPLES

__all__ = ["browsing", "pytestmark"]

LONG = "Report about everything that was seen and done on the ward from early spring to late autumn"
EVERYTHING = (
    section(
        "<paragraph>All is <content styleCode='Bold'>well</content>, see <linkHtml href='#plan'>the plan</linkHtml>"
        "<footnote>As of May</footnote> and <linkHtml href='https://clinic.example/advice/with/a/very/long/address/indeed'>advice</linkHtml>."
        "</paragraph><paragraph><content revised='delete'>5 mg</content> <content revised='insert'>10 mg</content> H<sub>2</sub>O</paragraph>"
        "<list listType='ordered' styleCode='LittleAlpha'><caption>Steps</caption><item>One</item><item>Two<list><item>Inner</item></list></item></list>"
        "<renderMultiMedia referencedObject='M1'><caption>The scar</caption></renderMultiMedia><renderMultiMedia referencedObject='none'/>",
        more=f"<entry><observationMedia classCode='OBS' moodCode='EVN' ID='M1'><value mediaType='image/png' representation='B64'>{base64.b64encode(PNG).decode()}</value></observationMedia></entry>",
    )
    + section(
        "<table><caption>Few columns</caption><thead><tr><th>Test</th><th>Value</th></tr></thead><tbody><tr><th>Sodium</th><td>140 mmol/l</td></tr>"
        "<tr><td>Pneumonoultramicroscopicsilicovolcanoconiosis</td><td>none</td></tr></tbody></table>"
        "<table><thead><tr>"
        + "".join(f"<th>Heading {n}</th>" for n in range(9))
        + "</tr></thead><tbody><tr>"
        + "<td>Acetaminophen</td>" * 9
        + "</tr></tbody></table>"
        "<table><tbody><tr><td>Outer<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table></td><td colspan='2'>x</td></tr></tbody></table>",
        title="Tables",
    )
    + section("<paragraph ID='plan'>Rest.</paragraph>", title="Plan")
    + "<component><section nullFlavor='NI'><title>Nothing</title><text/></section></component>"
    + "<component><section><title>Codes</title><entry><observation classCode='OBS' moodCode='EVN' negationInd='true'>"
    "<code code='1' displayName='Allergy'/><value code='2' displayName='Penicillin'/></observation></entry></section></component>"
    + "<component><section><title>Outer</title><component><section><title>Inner</title><text>Deep</text></section></component></section></component>"
)


@pytest.fixture(autouse=True)
def _store(settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def speak(browsing: Browsing, language: str) -> None:
    browsing.page.set_viewport_size({"width": 1280, "height": 900})
    browsing.page.click(f"button[lang={language}]")


def unfold(browsing: Browsing) -> None:
    for summary in browsing.page.query_selector_all("main summary"):
        if summary.is_visible():
            summary.click()


def test_the_list_and_every_kind_of_document_are_accessible_in_every_language(browsing: Browsing) -> None:
    world()
    ids = {
        "cda": published(cda(EVERYTHING), "text/xml", format_code=CDA_FORMAT, title=LONG),
        "cda-ar": published(
            cda(section("<paragraph>كل شيء بخير</paragraph><table><thead><tr><th>الفحص</th><th>القيمة</th></tr></thead><tbody><tr><td>الصوديوم</td><td>140 mmol/l</td></tr></tbody></table>", title="النتائج"), language="ar"),
            "text/xml", format_code=CDA_FORMAT, title="تقرير المستشفى", by=HOSPITAL, creation_time="20231120",
        ),
        "pdf": published(PDF, "application/pdf", title="Scan 林美華"),
        "picture": published(PNG, "image/png", title="Scar", creation_time="20240202"),
        "sound": published(b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/wav", title="Heart sound"),
        "text": published(b"Dear Rosa,\n\n  all is well.\n", "text/plain", title="Note"),
        "fhir": published(COMPOSITION.encode(), "application/fhir+json", title="Informe"),
        "inside": published(
            cda(f"<nonXMLBody><text mediaType='application/pdf' representation='B64'>{base64.b64encode(PDF).decode()}</text></nonXMLBody>"),
            "text/xml", format_code=CDA_FORMAT, title="Scan in a letter",
        ),
        "broken": published(b"<letter><to>Rosa</to></letter>", "application/xml", title="Odd file"),
    }  # fmt: skip
    browsing.sign_in()
    browsing.open("/my/documents")
    unfold(browsing)
    browsing.hold("documents", fully=True)
    browsing.open("/my/documents?words=nothing+like+this&year=2023")
    browsing.hold("documents-none-found")
    for name, entry in ids.items():
        browsing.open(f"/my/documents/{entry}")
        browsing.hold(f"document-{name}", fully=name.startswith("cda"))
        for picture in browsing.page.query_selector_all("main img"):
            assert picture.evaluate("one => one.complete && one.naturalWidth > 0"), name
    browsing.open(f"/my/documents/{ids['cda']}/who")
    browsing.hold("document-who")
    for language in ("es", "ar"):
        browsing.open("/my/documents")
        speak(browsing, language)
        unfold(browsing)
        browsing.hold(f"documents-{language}")
        for name in ("cda", "cda-ar", "pdf", "picture", "sound", "inside", "broken"):
            browsing.open(f"/my/documents/{ids[name]}")
            browsing.hold(f"document-{name}-{language}")


@pytest.mark.shared
def test_samples_of_every_vendor_are_accessible_and_fit(browsing: Browsing, monkeypatch: pytest.MonkeyPatch) -> None:
    world()
    entry = published(b"<x/>", "text/xml", title="Sample")
    browsing.sign_in()
    largest = sorted(SAMPLES, key=lambda path: -path.stat().st_size)[:2]
    one_of_each = {path.name.split("-")[1]: path for path in SAMPLES}
    chosen = {
        *largest,
        *one_of_each.values(),
        *(p for p in SAMPLES if p.name[:3] in {"002", "006", "020", "025", "028"}),
    }
    for path in sorted(chosen):
        data = path.read_bytes()
        monkeypatch.setattr(document_view, "_whole", lambda *_, data=data: data)
        browsing.open(f"/my/documents/{entry}")
        browsing.hold(f"sample-{path.name[:3]}")


def test_a_document_is_read_by_keyboard_alone_and_a_link_moves_the_reader(browsing: Browsing) -> None:
    world()
    published(cda(EVERYTHING), "text/xml", format_code=CDA_FORMAT, title="Letter")
    browsing.sign_in()
    browsing.open("/my/documents")
    page = browsing.page
    page.focus("a:has-text('Read')")
    page.keyboard.press("Enter")
    page.wait_for_selector("article.narrative")
    assert page.evaluate("document.scripts.length") == 0
    page.focus(".contents a:has-text('Plan')")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Plan"
    page.keyboard.press("Tab")
    stops = page.evaluate(
        "[...document.querySelectorAll('article [tabindex=\"0\"]')].map(e => e.getAttribute('aria-label'))"
    )
    assert stops == ["Table 2", "Table 3"]
    tree = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => e.tagName + ' ' + e.textContent)")
    assert [one for one in tree if "Inner" in one or "Outer" in one] == ["H2 Outer", "H3 Inner"]


def test_a_pdf_is_a_page_of_its_own_that_the_browser_gets_whole(browsing: Browsing) -> None:
    world()
    entry = published(PDF, "application/pdf", title="Scan")
    browsing.sign_in()
    browsing.open(f"/my/documents/{entry}")
    got = browsing.page.context.request.get(f"{browsing.server}/my/documents/{entry}/open")
    assert got.status == 200
    assert got.body() == PDF
    assert got.headers["content-disposition"].startswith("inline")
