"""FHIR in XML: what is read is what JSON would have said, what is written stands in the order of the definitions."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pytest
from django.conf import settings
from lxml import etree

from hie.standards import fhir, fhir_elements, fhir_xml
from hie.standards.errors import MalformedContent

HEAD = '<Patient xmlns="http://hl7.org/fhir">'
XHTML = '<div xmlns="http://www.w3.org/1999/xhtml"><p>Ada &amp; <b>Byron</b></p></div>'
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "meta": {"versionId": "3", "profile": ["http://example.org/a", "http://example.org/b"]},
    "text": {"status": "generated", "div": XHTML},
    "contained": [{"resourceType": "Organization", "id": "o1", "name": "North"}],
    "extension": [
        {"url": "http://example.org/size", "valueDecimal": Decimal("72.50")},
        {"url": "http://example.org/both", "extension": [{"url": "a", "valueBoolean": False}]},
    ],
    "identifier": [{"id": "i1", "system": "urn:oid:2.999.1", "value": " P 1\nx"}],
    "active": True,
    "name": [
        {"family": "Byron", "_family": {"extension": [{"url": "http://example.org/own", "valueString": "v"}]}},
        {"given": [None, "Ada"], "_given": [{"extension": [{"url": "u", "valueCode": "unknown"}]}, None]},
    ],
    "_birthDate": {"extension": [{"url": "http://example.org/why", "valueCode": "masked"}]},
    "multipleBirthInteger": 2,
    "managingOrganization": {"reference": "#o1"},
}


def test_what_is_written_is_read_back_with_every_digit_hole_and_extension():
    read = fhir_xml.loads(fhir_xml.dumps(PATIENT))
    assert read.problems == ()
    assert json.loads(fhir.dumps(read.resource)) == json.loads(fhir.dumps(PATIENT))
    assert read.resource["extension"][0]["valueDecimal"].as_tuple() == Decimal("72.50").as_tuple()


def test_elements_stand_in_the_order_of_the_definition_whatever_the_order_of_the_value():
    backwards = dict(reversed(PATIENT.items()))
    root = etree.fromstring(fhir_xml.dumps(backwards))
    assert [etree.QName(child).localname for child in root] == [
        "id", "meta", "text", "contained", "extension", "extension", "identifier", "active", "name", "name",
        "birthDate", "multipleBirthInteger", "managingOrganization",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "names"),
    [
        (("Bundle", "entry"), "link fullUrl resource search request response"),
        (("Bundle", "entry", "search"), "extension mode score"),
        (("Parameters", "parameter"), "name valueReference resource part"),
        (("OperationOutcome", "issue"), "severity code details diagnostics expression"),
        (("DocumentReference",), "masterIdentifier identifier status docStatus type category subject date author relatesTo description securityLabel content context"),
        (("DocumentReference", "content", "attachment"), "contentType language data url size hash title creation"),
        (("Consent", "provision"), "type period actor action securityLabel purpose class code dataPeriod data provision"),
        (fhir_elements.EXTENSION, "extension valueCodeableConcept"),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_the_order_is_that_of_r4(place, names):
    assert fhir_elements.in_order(place, frozenset(names.split())) == tuple(names.split())


@pytest.mark.shared
def test_a_whole_record_of_another_program_says_the_same_in_both():
    folder = settings.SHARED_DIR / "data" / "fhir" / "synthea-r4"
    sample = min(folder.glob("*.json.gz"), key=lambda path: path.stat().st_size)
    whole = fhir.loads(gzip.decompress(sample.read_bytes()))
    read = fhir_xml.loads(fhir_xml.dumps(whole))
    assert read.problems == ()
    assert json.loads(fhir.dumps(read.resource)) == json.loads(fhir.dumps(whole))


@pytest.mark.parametrize(
    ("inner", "where"),
    [
        pytest.param('<active value="yes"/>', "Patient.active", id="boolean"),
        pytest.param('<multipleBirthInteger value="1.0"/>', "Patient.multipleBirthInteger", id="whole"),
        pytest.param('<colour value="red"/>', "Patient.colour", id="unknown"),
        pytest.param('<active xmlns="" value="true"/>', "Patient.active", id="no-namespace"),
        pytest.param('<active xmlns="http://example.org" value="true"/>', "Patient.active", id="another-namespace"),
        pytest.param('<active value="true"/><active value="true"/>', "Patient.active", id="twice"),
        pytest.param("<active>true</active>", "Patient.active", id="value-as-text"),
        pytest.param("<active/>", "Patient.active", id="nothing"),
        pytest.param('<active value=""/>', "Patient.active.value", id="empty"),
        pytest.param("stray", "Patient", id="text"),
        pytest.param('<name value="Ada"/>', "Patient.name[0]", id="value-on-an-object"),
        pytest.param('<name><id value="x"/></name>', "Patient.name[0].id", id="id-as-element"),
        pytest.param('<extension><url value="x"/></extension>', "Patient.extension[0].url", id="url-as-element"),
        pytest.param('<active value="true"><name/></active>', "Patient.active", id="object-in-a-primitive"),
        pytest.param("<contained/>", "Patient.contained[0]", id="empty-contained"),
        pytest.param("<contained><Spaceship/></contained>", "Patient.contained[0]", id="no-such-resource"),
        pytest.param('<div xmlns="http://www.w3.org/1999/xhtml"/>', "Patient.div", id="markup-where-none-belongs"),
    ],
)
def test_what_is_not_fhir_is_named_by_its_path(inner, where):
    assert [p.expression for p in fhir_xml.loads(f"{HEAD}{inner}</Patient>".encode()).problems] == [where]


def test_of_very_much_that_is_wrong_as_much_is_told_as_of_json():
    body = HEAD + "".join(f"<x{n}/>" for n in range(5000)) + "</Patient>"
    assert len(fhir_xml.loads(body.encode()).problems) == fhir.MAX_ISSUES


def test_an_identifier_that_is_assigned_by_one_that_is_assigned_is_read_to_the_end():
    assigned = '<assigner><identifier><value value="x"/>' * 12 + "</identifier></assigner>" * 12
    read = fhir_xml.loads(f"{HEAD}<identifier>{assigned}</identifier></Patient>".encode())
    assert read.problems == ()
    assert fhir_xml.loads(fhir_xml.dumps(read.resource)).resource == read.resource


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<Patient",
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + f"{HEAD}<active value='true'/></Patient>".encode(),
        (HEAD + "<contact><name>" * 100 + "</name></contact>" * 100 + "</Patient>").encode(),
        (HEAD + '<extension url="x">' * 110 + "</extension>" * 110 + "</Patient>").encode(),
        f"{HEAD}<gender value='&unknown;'/></Patient>".encode(),
        HEAD.encode("utf-16") + b"\x00",
    ],
    ids=["empty", "json", "cut", "doctype", "deep", "deep-extensions", "entity", "utf-16"],
)
def test_what_is_not_xml_to_be_taken_is_refused_whole(body):
    with pytest.raises(MalformedContent):
        fhir_xml.loads(body)


def test_what_cannot_stand_in_xml_is_written_as_the_replacement_character():
    written = fhir_xml.dumps({"resourceType": "Patient", "name": [{"family": "By\x01ron\ufffe"}]})
    assert fhir_xml.loads(written).resource["name"] == [{"family": "By\ufffdron\ufffd"}]


@pytest.mark.parametrize("div", ["<div>no namespace</div>", "not markup", '<!DOCTYPE div [<!ENTITY a "b">]><div/>'])
def test_a_narrative_that_is_no_xhtml_is_written_as_its_letters(div):
    written = fhir_xml.dumps({"resourceType": "Patient", "text": {"status": "generated", "div": div}})
    shown = etree.fromstring(written).find(".//{http://www.w3.org/1999/xhtml}div")
    assert shown.text == div


def test_a_prefix_for_either_namespace_changes_nothing():
    body = (
        '<f:Patient xmlns:f="http://hl7.org/fhir" xmlns:h="http://www.w3.org/1999/xhtml" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://hl7.org/fhir patient.xsd">'
        '<!-- said by another program --><f:text><f:status value="generated"/><h:div><h:p>Ada</h:p></h:div></f:text>'
        '<f:active value=" true "/></f:Patient>'
    )
    read = fhir_xml.loads(body.encode())
    assert read.problems == ()
    assert read.resource["active"] is True
    assert read.resource["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml"><p>Ada</p></div>'
