"""Documents merged into a summary: places still found, nothing foreign, each thing once and under its document."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hie.standards import cda, cda_copy, xml
from hie.standards.ccda_summary import About, Body, Hub, Listed
from hie.standards.cda_merge import Heading, Merge
from hie.standards.demographics import Address, Demographics, HumanName, Telecom
from tests.documents.cda_samples import references

V3 = {"v3": cda_copy.NS, "xsi": cda_copy.XSI}
HUB = Hub(oid="2.999.1.1", name="The Exchange", software="Hub")
ABOUT = About(salt="x", title="Summary", made_at="20240131120000+0000", language="en-US", level="N", hub=HUB)
OBSERVATION = '<observation classCode="OBS" moodCode="EVN"><code code="1" codeSystem="2.999"/>{}</observation>'


def document(*sections: str, more: str = "", header: str = "") -> etree._Element:
    """The root of a document with these sections."""
    return xml.parse(
        f"""<ClinicalDocument xmlns="{cda_copy.NS}" xmlns:xsi="{cda_copy.XSI}" xmlns:sdtc="{cda.SDTC}"
        xmlns:x="urn:somebody" {more}>
        <author><time value="2024"/><assignedAuthor><id root="2.999.3"/><addr><city>Nowhere</city></addr>
        <assignedPerson><name><family>Doctor</family></name></assignedPerson></assignedAuthor></author>{header}
        <component><structuredBody>{"".join(sections)}</structuredBody></component></ClinicalDocument>""".encode()
    )


def section(
    text: str = "",
    *,
    code: str = "11450-4",
    title: str = "Problems",
    more: str = "",
    before: str = "",
    system: str = "",
) -> str:
    named = f'codeSystem="{system or "2.16.840.1.113883.6.1"}"'
    coded = f'<code code="{code}" {named}/>' if code else ""
    return f"<component><section>{before}{coded}<title>{title}</title><text>{text}</text>{more}</section></component>"


def entry(more: str = "") -> str:
    return f"<entry>{OBSERVATION.format(more)}</entry>"


def merged(*roots: etree._Element, listed: tuple[Listed, ...] = (), note: str = "", about: About = ABOUT) -> Any:
    merge = Merge()
    for number, root in enumerate(roots, start=1):
        assert merge.add(root, Heading(title=f"Letter {number}", organization="The Clinic", day="2024-01-31"))
    made = Body(merge, listed, note).summary(about)
    root = xml.parse(made.data)
    given = [name for one in root.iter(etree.Element) if (name := one.get("ID"))]
    assert len(given) == len(set(given))
    assert set(references(root)) <= set(given)
    return root


def found(root: etree._Element, path: str) -> list[Any]:
    result = root.xpath(path, namespaces=V3)
    assert isinstance(result, list)
    return result


PROBLEMS = "//v3:structuredBody/v3:component/v3:section[v3:code/@code='11450-4']"


# -- places -----------------------------------------------------------------------------------------------------------


def test_the_same_name_in_two_documents_leads_to_each_document_s_own_place() -> None:
    def one(word: str) -> etree._Element:
        pointing = entry('<text><reference value="#p"/></text>')
        return document(section(f'<paragraph ID="p">{word}</paragraph>', more=pointing))

    root = merged(one("first"), one("second"))
    for number, word in enumerate(("first", "second")):
        target = found(root, f"({PROBLEMS}/v3:entry)[{number + 1}]//v3:reference/@value")[0]
        assert found(root, f"//*[@ID='{target[1:]}']")[0].text == word


def test_a_name_twice_in_one_document_leads_to_the_place_in_the_same_section() -> None:
    pointing = entry('<text><reference value="#p"/></text>')
    root = merged(
        document(
            section('<paragraph ID="p">in problems</paragraph>', more=pointing),
            section('<paragraph ID="p">in results</paragraph>', code="30954-2", more=pointing),
        )
    )
    for code, word in (("11450-4", "in problems"), ("30954-2", "in results")):
        own = f"//v3:section[v3:code/@code='{code}']"
        target = found(root, f"{own}/v3:entry//v3:reference/@value")[0]
        assert found(root, f"//*[@ID='{target[1:]}']")[0].text == word


def test_a_place_in_another_section_of_the_document_is_found() -> None:
    pointing = entry('<text><reference value="#far"/></text>')
    root = merged(document(section(more=pointing), section('<content ID="far">here</content>', code="30954-2")))
    target = found(root, f"{PROBLEMS}/v3:entry//v3:reference/@value")[0]
    assert found(root, f"//*[@ID='{target[1:]}']")[0].text == "here"


def test_every_kind_of_pointer_is_turned() -> None:
    text = (
        '<table><thead><tr><th ID="h">Head</th></tr></thead><tbody><tr><td headers="h">cell</td></tr></tbody></table>'
        '<paragraph ID="a">see <linkHtml href="#a">above</linkHtml><footnote ID="f">note</footnote>'
        '<footnoteRef IDREF="f"/><renderMultiMedia referencedObject="m"/></paragraph>'
    )
    media = (
        '<entry><observationMedia ID="m" classCode="OBS" moodCode="EVN"><value mediaType="image/png"'
        ' representation="B64">AAAA</value></observationMedia></entry>'
    )
    root = merged(document(section(text, more=media)))
    assert len(list(references(root))) == 4
    assert found(root, "//v3:observationMedia/@ID") == found(root, "//v3:renderMultiMedia/@referencedObject")


def test_what_points_nowhere_is_taken_away_and_its_text_stays() -> None:
    text = (
        '<paragraph>x <linkHtml href="#gone">link</linkHtml><footnoteRef IDREF="gone">ref</footnoteRef>'
        '<renderMultiMedia referencedObject="gone"><caption>picture</caption></renderMultiMedia></paragraph>'
    )
    root = merged(document(section(text, more=entry('<text><reference value="#gone"/></text>'))))
    assert found(root, "//v3:reference/@nullFlavor") == ["NI"]
    assert not found(root, "//v3:footnoteRef | //v3:renderMultiMedia | //v3:linkHtml/@href")
    assert "".join(found(root, f"{PROBLEMS}//v3:paragraph")[0].itertext()).split() == ["x", "linkrefpicture"]


def test_a_name_of_a_document_can_not_be_made_to_lead_into_another() -> None:
    first = document(section('<paragraph ID="p">first</paragraph>'))
    second = document(section("<paragraph/>", more=entry('<text><reference value="#d1-1"/></text>')))
    assert found(merged(first, second), "//v3:reference/@value") == []


# -- what is foreign ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("<script>alert(1)</script>after", "after", id="script"),
        pytest.param('<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>after', "after", id="xhtml"),
        pytest.param('<paragraph onclick="alert(1)">kept</paragraph>', "kept", id="attribute"),
        pytest.param('<linkHtml href="javascript:alert(1)">kept</linkHtml>', "kept", id="link"),
        pytest.param('<linkHtml href=" JaVaScRiPt:alert(1)">kept</linkHtml>', "kept", id="link-in-disguise"),
        pytest.param('<iframe src="https://x.example/">no</iframe>after', "after", id="frame"),
        pytest.param("<x:thing>kept as <x:deep>text</x:deep></x:thing>", "kept as text", id="other-namespace"),
        pytest.param("<p>one</p><p>two</p>", "onetwo", id="html"),
    ],
)
def test_of_a_narrative_only_the_narrative_comes_along(text: str, left: str) -> None:
    root = merged(document(section(text)))
    item = found(root, f"{PROBLEMS}/v3:text/v3:list/v3:item")[0]
    said = "".join(item.itertext()).removeprefix("Letter 1 — The Clinic, 2024-01-31")
    assert said == left
    assert b"alert" not in etree.tostring(item)
    assert {cda_copy.local(one) for one in item.iter(etree.Element)} <= {
        "item",
        "caption",
        "paragraph",
        "linkHtml",
        "br",
    }
    assert not found(item, "//@onclick | //@src")


def test_html_blocks_stay_apart() -> None:
    root = merged(document(section("<p>one</p><p>two</p>")))
    assert len(found(root, f"{PROBLEMS}//v3:item/v3:br")) == 2


def test_entries_keep_hl7_and_its_extension_and_lose_the_rest() -> None:
    inside = (
        '<x:own>lost</x:own><value xsi:type="hl7:CD" xmlns:hl7="urn:hl7-org:v3" code="1" codeSystem="2.999"'
        ' sdtc:valueSet="2.999.1" x:mark="1"/>'
        '<entryRelationship typeCode="REFR"><act classCode="ACT" moodCode="EVN"><sdtc:note>kept</sdtc:note></act>'
        "</entryRelationship>"
    )
    root = merged(document(section(more=entry(inside)), more='xsi:schemaLocation="urn:hl7-org:v3 CDA.xsd"'))
    value = found(root, "//v3:value")[0]
    assert value.get(f"{{{cda_copy.XSI}}}type") == "CD"
    assert value.get(f"{{{cda.SDTC}}}valueSet") == "2.999.1"
    assert b"lost" not in etree.tostring(root)
    assert b"urn:somebody" not in etree.tostring(root)
    assert b"schemaLocation" not in etree.tostring(root)
    assert b"kept" in etree.tostring(root)


def test_an_unsafe_address_in_an_entry_is_taken_away() -> None:
    root = merged(document(section(more=entry('<text><reference value="javascript:alert(1)"/></text>'))))
    assert b"javascript" not in etree.tostring(root)


# -- what is merged ---------------------------------------------------------------------------------------------------


def test_sections_of_one_code_are_one_however_the_sender_spells_the_system() -> None:
    roots = [document(section("a")), document(section("b", system="2.16.840.1.113883.6.1 "))]
    bare = document('<component><section><code code="11450-4"/><title>P</title><text>c</text></section></component>')
    other = document(section("d", system="2.999.7"))
    root = merged(*roots, bare, other)
    assert len(found(root, PROBLEMS)) == 2
    assert [len(found(one, "v3:text/v3:list/v3:item")) for one in found(root, PROBLEMS)] == [3, 1]


def test_an_entry_says_who_wrote_it_in_the_place_that_the_schema_has_for_it() -> None:
    own = '<author><time value="2020"/><assignedAuthor><id root="2.999.8"/></assignedAuthor></author>'
    relation = '<entryRelationship typeCode="REFR"><act classCode="ACT" moodCode="EVN"/></entryRelationship>'
    root = merged(document(section(more=entry(relation) + entry(own))))
    first, second = found(root, f"{PROBLEMS}/v3:entry/v3:observation")
    assert [cda_copy.local(one) for one in first] == ["code", "author", "entryRelationship"]
    assert found(first, "v3:author//v3:family")[0].text == "Doctor"
    assert not found(first, ".//v3:addr")
    assert found(second, "v3:author//v3:id/@root") == ["2.999.8"]
    assert len(found(second, "v3:author")) == 1


def test_the_author_of_a_section_goes_before_that_of_its_document() -> None:
    own = '<author><time value="2020"/><assignedAuthor><id root="2.999.8"/></assignedAuthor></author>'
    root = merged(document(section(more=own + entry())))
    assert found(root, f"{PROBLEMS}/v3:entry//v3:author//v3:id/@root") == ["2.999.8"]


def test_a_section_claims_what_all_that_is_in_it_claim() -> None:
    def claiming(*templates: tuple[str, str]) -> etree._Element:
        told = "".join(f'<templateId root="{root}" extension="{x}"/>' if x else f'<templateId root="{root}"/>' for root, x in templates)  # fmt: skip
        return document(section(before=told, more=entry()))

    both, old = claiming(("2.999.1", ""), ("2.999.1", "2015")), claiming(("2.999.1", ""))
    assert [(one.get("root"), one.get("extension")) for one in found(merged(both, old), f"{PROBLEMS}/v3:templateId")] == [("2.999.1", None)]  # fmt: skip
    assert len(found(merged(both), f"{PROBLEMS}/v3:templateId")) == 2


def test_a_summary_claims_to_be_a_ccd_only_where_each_of_its_sections_does() -> None:
    ccd = "/v3:ClinicalDocument/v3:templateId[@root='2.16.840.1.113883.10.20.22.1.2']"
    assert len(found(merged(), ccd)) == 2
    assert not found(merged(document(section(more=entry()))), ccd)
    claiming = '<templateId root="2.16.840.1.113883.10.20.22.2.5.1" extension="2015-08-01"/>'
    assert found(merged(document(section(before=claiming, more=entry()))), ccd)


def test_a_section_with_the_same_id_comes_once_where_it_says_the_same_and_is_still_pointed_at() -> None:
    same = section('<paragraph ID="p">said</paragraph>', before='<id root="2.999.4"/>')
    pointing = section(code="30954-2", more=entry('<text><reference value="#p"/></text>'))
    root = merged(document(same), document(same, pointing))
    assert len(found(root, f"{PROBLEMS}//v3:paragraph")) == 1
    target = found(root, "//v3:entry//v3:reference/@value")[0]
    assert found(root, f"//*[@ID='{target[1:]}']")[0].text == "said"
    other = section('<paragraph ID="p">said otherwise</paragraph>', before='<id root="2.999.4"/>')
    assert len(found(merged(document(same), document(other)), f"{PROBLEMS}//v3:paragraph")) == 2


def test_a_section_about_somebody_else_stays_whole() -> None:
    subject = '<subject><relatedSubject classCode="PRS"><code code="MTH"/></relatedSubject></subject>'
    root = merged(document(section("of the mother", more=subject + entry())), document(section("own", more=entry())))
    inner = found(root, f"{PROBLEMS}/v3:component/v3:section")
    assert len(inner) == 1
    assert found(inner[0], "v3:subject")
    assert found(inner[0], "v3:title")[0].text == "Problems (Letter 1 — The Clinic, 2024-01-31)"
    assert len(found(root, f"{PROBLEMS}/v3:entry")) == 1


def test_sections_in_sections_come_along_with_the_name_of_their_document() -> None:
    inner = section('<content ID="c">deep</content>', code="8716-3", title="Vitals", more=entry())
    root = merged(document(section(more=inner)))
    (kept,) = found(root, f"{PROBLEMS}/v3:component/v3:section")
    assert found(kept, "v3:title")[0].text == "Vitals (Letter 1 — The Clinic, 2024-01-31)"
    assert found(kept, "v3:entry//v3:author")


def test_a_section_that_says_nothing_and_one_without_a_code_are_kept() -> None:
    empty = '<component><section nullFlavor="NI"><code code="8716-3" codeSystem="2.16.840.1.113883.6.1"/><title>V</title><text>None.</text></section></component>'  # fmt: skip
    root = merged(document(empty, section("odd", code="", title="Remarks"), section("", code="", title="")))
    assert found(root, "//v3:section[v3:code/@code='8716-3']/@nullFlavor") == ["NI"]
    assert found(root, "//v3:section[v3:title='Remarks']//v3:item[contains(., 'odd')]")
    assert found(root, "//v3:section[v3:title='Other content']")


def test_what_a_document_says_keeps_its_language() -> None:
    merge = Merge()
    inner = section("dentro", code="8716-3", title="Signos")
    merge.add(document(section("aquí", more=inner)), Heading(title="Carta", language="es"))
    merge.add(document(section("odd")), Heading(title="Letter", language="no language"))
    root = xml.parse(Body(merge, ()).summary(ABOUT).data)
    assert [one.get("language") for one in found(root, f"{PROBLEMS}//v3:item")] == ["es", None]
    (kept,) = found(root, f"{PROBLEMS}/v3:component/v3:section")
    assert [cda_copy.local(one) for one in kept] == ["code", "title", "text", "languageCode"]


@pytest.mark.parametrize(
    "data",
    [
        b'<ClinicalDocument xmlns="urn:hl7-org:v3"/>',
        b'<ClinicalDocument xmlns="urn:hl7-org:v3"><component><nonXMLBody/></component></ClinicalDocument>',
        b'<ClinicalDocument xmlns="urn:hl7-org:v3"><component><structuredBody/></component></ClinicalDocument>',
        b'<Bundle xmlns="http://hl7.org/fhir"/>',
    ],
)
def test_what_has_no_sections_is_not_taken(data: bytes) -> None:
    merge = Merge()
    assert not merge.add(xml.parse(data), Heading(title="x"))
    assert not merge.groups


# -- the header -------------------------------------------------------------------------------------------------------


def test_the_header_says_who_the_patient_is() -> None:
    known = Demographics(
        names=(HumanName(family="Moor", given=("Ada", "Maria"), use="official"), HumanName(text="Ada the Great")),
        birth_date="1970-05-01",
        gender="female",
        addresses=(Address(lines=("7 Tern Street",), city="Velmoor", postal_code="40129", use="home"),),
        telecoms=(Telecom(value="+1 202 5550119", use="mobile"), Telecom(value="ada@x.example", system="email")),
    )
    about = About(
        salt="x", title="S\x00ummary", made_at="20240131120000+0000", language="en", level="R", hub=HUB,
        patient_ids=(("2.999.10", "P1"),), patient=known,
    )  # fmt: skip
    root = merged(about=about)
    header = cda.header_of(root)
    assert header.title == "Summary"
    assert [(name.family, name.given, name.text) for name in header.names] == [
        ("Moor", ("Ada", "Maria"), ""), ("", (), "Ada the Great")
    ]  # fmt: skip
    assert (header.birth_date, header.gender, header.confidentiality) == ("1970-05-01", "F", "R")
    assert found(root, "//v3:patientRole/v3:telecom/@value") == ["tel:+12025550119", "mailto:ada@x.example"]
    assert found(root, "//v3:patientRole/v3:addr/v3:city")[0].text == "Velmoor"


def test_the_parts_stand_in_the_order_of_the_schema() -> None:
    root = merged(
        document(section(more=entry())), listed=(Listed(title="t", type="t", day="", unique_id="1", why="w"),)
    )
    assert list(dict.fromkeys(cda_copy.local(one) for one in root)) == [
        "realmCode", "typeId", "templateId", "id", "code", "title", "effectiveTime", "confidentialityCode",
        "languageCode", "recordTarget", "author", "custodian", "documentationOf", "component",
    ]  # fmt: skip
    order = ["templateId", "id", "code", "title", "text", "confidentialityCode", "languageCode", "entry", "component"]
    for one in found(root, "//v3:section"):
        places = [order.index(cda_copy.local(part)) for part in one]
        assert places == sorted(places)
    for path, parts in (
        ("//v3:patientRole", ["id", "addr", "telecom", "patient"]),
        ("//v3:patient", ["name", "administrativeGenderCode", "birthTime", "raceCode", "ethnicGroupCode"]),
        ("v3:author", ["time", "assignedAuthor"]),
        (
            "v3:author/v3:assignedAuthor",
            ["id", "addr", "telecom", "assignedAuthoringDevice", "representedOrganization"],
        ),
        ("//v3:representedCustodianOrganization", ["id", "name", "telecom", "addr"]),
    ):
        assert [cda_copy.local(one) for one in found(root, path)[0]] == parts


def test_what_is_not_known_of_the_patient_is_a_null_flavour() -> None:
    role = found(merged(), "//v3:patientRole")[0]
    assert [cda_copy.local(one) for one in role] == ["id", "addr", "telecom", "patient"]
    assert len(found(role, ".//@nullFlavor")) == 8


@given(
    st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20),
    st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20),
)
def test_any_title_makes_a_document_that_can_be_read(title: str, listed: str) -> None:
    row = Listed(title=listed, type=listed, day="", unique_id=listed, why="so")
    about = About(salt=title, title=title, made_at="", language="en", level="N", hub=HUB,
                  patient=Demographics(names=(HumanName(family=title, given=(listed,)),)))  # fmt: skip
    root = merged(listed=(row,), note="Note.", about=about)
    assert len(found(root, "//v3:tbody/v3:tr/v3:td")) == 5


def test_the_id_goes_with_the_content_alone() -> None:
    merge = Merge()
    merge.add(document(section("said")), Heading(title="Letter"))
    body = Body(merge, ())
    first = body.summary(ABOUT)
    assert body.summary(ABOUT) == first
    other = Merge()
    other.add(document(section("said otherwise")), Heading(title="Letter"))
    assert Body(other, ()).summary(ABOUT).unique_id != first.unique_id
    assert len(first.unique_id) <= 64
