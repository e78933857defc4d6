"""C-CDA headers and codes, on made-up documents and on the shared samples."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hie.standards import cda, xml
from hie.standards.errors import MalformedContent
from tests.documents.cda_samples import clinical_document

SAMPLES = Path(os.environ.get("HIE_SHARED", "../shared")) / "data" / "cda"


def test_the_header_is_read_whole() -> None:
    header = cda.header(clinical_document())
    assert header.unique_id == "2.999.5^doc1"
    assert header.code == cda.Code(code="34133-9", system="http://loinc.org", display="Summary")
    assert header.title == "Summary of care"
    assert cda.to_utc(header.effective_time) == "20240131170000"
    assert (header.confidentiality, header.language, header.body) == ("N", "en-US", "structured")
    assert header.patient_ids == (cda.InstanceId(root="2.999.10.1.1", extension="P1"),)
    assert (header.names[0].given, header.names[0].family) == (("Ada", "Maria"), "Moor")
    assert (header.birth_date, header.gender) == ("1970-05-01", "F")
    assert header.authors[0].organization_name == "The Clinic"
    assert header.service_events[0].low == "20240101"


@pytest.mark.parametrize(
    ("name", "family", "given"),
    [
        ("<given>Robin</given><family>Taylor</family>", "Taylor", ("Robin",)),
        ("<family>Taylor</family><delimiter>, </delimiter><given>Robin</given>", "Taylor", ("Robin",)),
        ('<prefix qualifier="AC">Dr. </prefix><given> Robin </given><family>Taylor</family>', "Taylor", ("Robin",)),
        ("<given>Robin</given><family>Taylor</family><suffix> MD</suffix>", "Taylor", ("Robin",)),
        ("<given>Robin</given><given>Q</given><family>Taylor</family><prefix>Dr. </prefix>", "Taylor", ("Robin", "Q")),
        ("Robin Taylor", "", ()),
    ],
)
def test_the_layouts_of_a_name_give_the_same_parts(name: str, family: str, given: tuple[str, ...]) -> None:
    found = cda.header(clinical_document(name=name)).names[0]
    assert (found.family, found.given) == (family, given)
    if not family:
        assert found.text == "Robin Taylor"


@pytest.mark.parametrize(
    ("birth", "date"),
    [
        ("1975", "1975"),
        ("197502", "1975-02"),
        ("19540323000000.000-0600", "1954-03-23"),
        ("19400805120000", "1940-08-05"),
        ("", ""),
    ],
)
def test_birth_times_of_any_precision_give_the_day_that_was_written(birth: str, date: str) -> None:
    assert cda.header(clinical_document(birth=birth)).birth_date == date


@pytest.mark.parametrize(
    ("ts", "dtm"),
    [
        ("20240131120000+0100", "20240131110000"),
        ("202401311200-0500", "202401311700"),
        ("20240131", "20240131"),
        ("20240131120000.1234Z", "20240131120000"),
        ("2024013", "202401"),
        ("20241341", None),
        ("tomorrow", None),
        ("", None),
    ],
)
def test_times_with_a_zone_become_utc(ts: str, dtm: str | None) -> None:
    assert cda.to_utc(ts) == dtm


def test_codes_come_with_the_uri_of_their_system_and_the_sections_they_stood_in() -> None:
    content = cda.codes(clinical_document())
    assert "http://snomed.info/sct|86406008" in content.codes
    assert "http://loinc.org|34133-9" in content.codes
    assert content.sections == {"11450-4"}
    assert content.read


def test_the_most_confidential_section_makes_the_document() -> None:
    marked = clinical_document(section='<confidentialityCode code="V" codeSystem="2.16.840.1.113883.5.25"/>')
    assert cda.codes(marked).confidentiality == "V"
    assert cda.codes(clinical_document()).confidentiality == "N"


def test_labels_of_a_privacy_annotation_are_found() -> None:
    annotation = (
        '<entry><observation classCode="OBS" moodCode="EVN"><templateId root="2.16.840.1.113883.3.445.21"/>'
        '<code code="SECCLASSOBS" codeSystem="2.16.840.1.113883.1.11.20457"/>'
        '<value code="PSY" codeSystem="2.16.840.1.113883.5.4"/></observation></entry>'
        '<entry><observation classCode="OBS" moodCode="EVN"><code code="a" codeSystem="2.16.840.1.113883.6.1"/>'
        '<value code="AMB" codeSystem="2.16.840.1.113883.5.4"/></observation></entry>'
    )
    assert cda.codes(clinical_document(section=annotation)).security_labels == {"PSY"}


@pytest.mark.parametrize("root", ["section", "recordTarget", "ClinicalDocument"])
def test_another_root_is_no_clinical_document(root: str) -> None:
    with pytest.raises(cda.NotClinicalDocument):
        cda.read([f"<{root}/>".encode()])


def test_a_document_is_refused_at_its_last_byte() -> None:
    with pytest.raises(MalformedContent):
        cda.read([clinical_document()[:-3]])


def test_a_large_embedded_picture_is_read_past() -> None:
    document = clinical_document(section=f"<text>{'A' * (12 << 20)}</text>")
    chunks = (document[i : i + 65536] for i in range(0, len(document), 65536))
    assert cda.read(chunks).header.unique_id == "2.999.5^doc1"
    with pytest.raises(MalformedContent, match="larger"):
        cda.read([document], limits=xml.Limits(size=1 << 20))


@pytest.mark.shared
def test_every_sample_is_read_but_the_two_broken_ones_and_the_fragment() -> None:
    refused = {}
    for path in sorted(SAMPLES.glob("*.xml")):
        try:
            document = cda.read([path.read_bytes()])
        except (MalformedContent, cda.NotClinicalDocument) as error:
            refused[path.name[:3]] = type(error)
            continue
        assert document.header.id is not None, path.name
        assert document.header.record_targets == 1, path.name
        assert document.content.codes, path.name
    assert set(refused) == {"031", "032", "036"}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("number", "birth_date", "confidentiality"),
    [("007", "1954-03-23", "N"), ("019", "1940-08-05", "N"), ("041", "1975", "N"), ("035", "1970-05-01", "R")],
)
def test_the_known_quirks_of_the_samples(number: str, birth_date: str, confidentiality: str) -> None:
    (path,) = SAMPLES.glob(f"{number}-*.xml")
    document = cda.read([path.read_bytes()])
    assert (document.header.birth_date, document.content.confidentiality) == (birth_date, confidentiality)


def test_a_long_row_is_let_go_while_it_is_read() -> None:
    entry = b'<entry><observation><code code="1" codeSystem="2.16.840.1.113883.6.96"/></observation></entry>'
    data = (
        b'<ClinicalDocument xmlns="urn:hl7-org:v3"><component><structuredBody><component><section>'
        + entry * 5_000
        + b"</section></component></structuredBody></component></ClinicalDocument>"
    )
    reader, held = cda._Reader(), []
    for event, element in xml.elements([data]):
        if event == "start":
            reader.start(element)
            continue
        if element.tag.endswith("}section"):
            held.append(len(element))
        reader.end(element)
    assert len(held) == 1
    assert held[0] < 200
    assert reader.document().content.codes == {"http://snomed.info/sct|1"}


# -- whole, or element by element --------------------------------------------------------------------------------------

DS4P = '<templateId root="2.16.840.1.113883.3.445.12"/>'
SYSTEMS = st.sampled_from(["2.16.840.1.113883.5.25", "2.16.840.1.113883.6.96", "2.16.840.1.113883.5.4", ""])
CODES = st.sampled_from(["R", "V", "N", "PSY", "HIV", "38341003", "", " "])
LEAVES = st.one_of(
    st.just(DS4P),
    st.builds(
        '<{} code="{}" codeSystem="{}"/>'.format,
        st.sampled_from(["value", "code", "confidentialityCode", "statusCode", "other:code"]),
        CODES,
        SYSTEMS,
    ),
    st.sampled_from(["text", "<other:templateId root='2.16.840.1.113883.3.445.1'/>", "<br/>", "&amp;"]),
)
PARTS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda name, code, within: f'<{name} code="{code}">{"".join(within)}</{name.partition(" ")[0]}>',
        st.sampled_from(["section", "observation", "value", "entry", "component", "structuredBody", DS4P[1:-2]]),
        CODES,
        st.lists(inner, max_size=5),
    ),
    max_leaves=25,
)


@given(header=st.lists(PARTS, max_size=3), body=st.lists(st.lists(PARTS, max_size=6), max_size=2))
def test_a_document_says_the_same_read_whole_as_element_by_element(header: list[str], body: list[list[str]]) -> None:
    components = "".join(f"<component>{''.join(parts)}</component>" for parts in body)
    wrapped = "".join(f"<author>{part}</author>" for part in header)
    text = f'<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:other="urn:other"><code code="1"/>{wrapped}{components}</ClinicalDocument>'  # fmt: skip
    both = []
    for bound in (xml.MiB, 0):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(cda, "_WHOLE", bound)
            both.append(cda.read([text.encode()]))
    assert both[0] == both[1]


@pytest.mark.parametrize("bound", [xml.MiB, 0], ids=["whole", "by-element"])
def test_what_stands_within_the_template_of_an_annotation_is_annotated(
    bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cda, "_WHOLE", bound)
    inside = f'<observation>{DS4P[:-2]}><value code="PSY"/></templateId></observation>'
    text = f'<ClinicalDocument xmlns="urn:hl7-org:v3"><component>{inside}</component></ClinicalDocument>'
    assert cda.read([text.encode()]).content.security_labels == {"PSY"}


@pytest.mark.parametrize("bound", [xml.MiB, 0], ids=["whole", "by-element"])
@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("<ClinicalDocument xmlns='urn:hl7-org:v3'><a></ClinicalDocument>", MalformedContent),
        ("<Section xmlns='urn:hl7-org:v3'><q:a/></Section>", cda.NotClinicalDocument),
        ("<Section/>", cda.NotClinicalDocument),
        ("no XML", MalformedContent),
        (f"<ClinicalDocument xmlns='urn:hl7-org:v3'>{'<a>' * 300}{'</a>' * 300}</ClinicalDocument>", MalformedContent),
    ],
    ids=["broken", "another-and-broken", "another", "no-xml", "deep"],
)
def test_a_document_is_refused_the_same_read_whole_as_element_by_element(
    text: str, refusal: type[Exception], bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cda, "_WHOLE", bound)
    with pytest.raises(refusal):
        cda.read([text.encode()])
