"""A CDA made readable: its narrative by the whitelist, nothing lost, nothing that a browser could run or fetch."""

from __future__ import annotations

import base64
import random
from pathlib import Path

import pytest
from lxml import etree

from hie.standards import cda_html, pieces, xml
from hie.standards.cda import NotClinicalDocument
from hie.standards.errors import MalformedContent
from hie.standards.pieces import Piece
from hie.standards.readable import PART, NotThere, Readable, in_parts
from tests.conftest import SHARED
from tests.portal.documents import cda, section

V3 = "{urn:hl7-org:v3}"
SAMPLES = sorted((SHARED / "data" / "cda").glob("*.xml"))


def read(body: str, **values: str) -> Readable:
    return cda_html.read([cda(body, **values)])


def body(text: str, more: str = "") -> tuple[pieces.Node, ...]:
    """The pieces of one section's text."""
    return read(section(text, more=more)).sections[0].body


def names(nodes: tuple[pieces.Node, ...]) -> list[str]:
    return [one.name for one in pieces.walk(nodes)]


def letters(text: str) -> str:
    return "".join(text.split())


def narrative_of(data: bytes) -> str:
    """All text of every section's `text`, by another reader than ours."""
    root = etree.fromstring(data, etree.XMLParser(remove_comments=True, remove_pis=True, huge_tree=True))
    texts = [one for one in root.iter(f"{V3}text") if one.getparent().tag == f"{V3}section"]
    return letters("".join("".join(one.itertext()) for one in texts))


@pytest.mark.shared
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem[:40])
def test_all_text_of_every_vendors_narrative_is_there_in_order(path: Path) -> None:
    data = path.read_bytes()
    if path.name[:3] in {"031", "032", "036"}:  # two fragments and one that is no XML
        with pytest.raises((NotClinicalDocument, MalformedContent)):
            cda_html.read([data])
        return
    made = cda_html.read([data])
    # What we add, the address that a link would have led to, stands in a piece of its own.
    shown = "".join(pieces.text_of(strip_addresses(one.body)) for one in made.sections)
    assert letters(shown) == narrative_of(data)
    assert not made.cut
    in_order = [run for part in made.parts for run in part]
    assert letters("".join(pieces.text_of(strip_addresses(one.body)) for one in in_order)) == narrative_of(data)


def strip_addresses(nodes: tuple[pieces.Node, ...]) -> tuple[pieces.Node, ...]:
    return tuple(
        one if isinstance(one, str) else Piece(one.name, strip_addresses(one.children), mark=one.mark)
        for one in nodes
        if isinstance(one, str) or one.mark != "address"
    )


def test_the_header_says_who_wrote_for_whom_when_and_where() -> None:
    place = """<componentOf><encompassingEncounter><effectiveTime><low value="20240128"/><high value="20240130"/></effectiveTime>
      <location><healthCareFacility><location><name>Ward 4</name></location></healthCareFacility></location>
      </encompassingEncounter></componentOf>"""
    header = cda_html.read([cda(section("x"), head=place, language="spa")]).header
    assert (header.title, header.kind, header.language, header.on) == ("Letter", "Summary", "es", "2024-01-31")
    assert header.patients == ("Rosa Delgado",)
    assert header.birth_date == "1970-05-01"
    assert [(one.name, one.on) for one in header.writers] == [("Dr. Eve Marlowe", "2024-01-30")]
    assert (header.keeper, header.place, header.since, header.until) == (
        "The Clinic",
        "Ward 4",
        "2024-01-28",
        "2024-01-30",
    )


@pytest.mark.parametrize("value", ["", "0001", "00010101", "20241399", "unknown"])
def test_a_day_that_is_none_is_not_said(value: str) -> None:
    data = cda(section("x")).replace(b"20240131120000+0000", value.encode())
    assert cda_html.read([data]).header.on == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<paragraph>a <content styleCode='Bold'>b</content></paragraph>", ["p", "b"]),
        ("a<br/>b<sub>2</sub><sup>3</sup>", ["br", "sub", "sup"]),
        ("<content styleCode='Italics'>a</content><content styleCode='Underline'>b</content>", ["i", "u"]),
        ("<content revised='delete'>a</content><content revised='insert'>b</content>", ["del", "ins"]),
        ("<list listType='ordered'><caption>c</caption><item>a</item><item>b</item></list>", ["p", "ol", "li", "li"]),
        ("<list><item>a<list><item>b</item></list></item></list>", ["ul", "li", "ul", "li"]),
        ("<paragraph>a<list><item>b</item></list></paragraph>", ["div", "ul", "li"]),
        ("<content>a<paragraph>b</paragraph></content>", ["div", "p"]),
        ("<table><tr><td>a</td></tr></table>", ["table", "tbody", "tr", "td"]),
        ("<item>a</item>", ["ul", "li"]),
        ("<tr><td>a</td></tr>", ["div", "div"]),
        ("<list>stray</list>", ["ul", "li"]),
    ],
)
def test_markup_of_the_narrative_becomes_pieces_that_nest_as_a_browser_keeps_them(
    text: str, expected: list[str]
) -> None:
    assert names(body(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<content onclick='x' style='x' class='x' styleCode='xEvil\" onload=\"'>alert(1)</content>",
        "<iframe src='https://evil.example/'>alert(1)</iframe>",
        "<img src='https://evil.example/p.png' alt='alert(1)'/>",
        "<linkHtml href='javascript:alert(1)'>alert(1)</linkHtml>",
        "<linkHtml href='data:text/html,x'>alert(1)</linkHtml>",
        "<h:form xmlns:h='http://www.w3.org/1999/xhtml' action='https://evil.example/'><h:input value='x'/>alert(1)</h:form>",
        "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "<foo:bar xmlns:foo='urn:x'>alert(1)</foo:bar>",
        "<style>alert(1)</style>",
    ],
)
def test_markup_that_is_not_on_the_list_is_text(text: str) -> None:
    found = body(text)
    assert pieces.text_of(found).strip() == "alert(1)"
    for one in pieces.walk(found):
        assert one.name in pieces.NAMES
        assert one.mark in pieces.MARKS
        assert (one.to, one.id, one.lang, one.scope, one.style) == ("", "", "", "", "")


def test_an_address_elsewhere_is_written_out_and_led_to_by_nothing() -> None:
    found = body("<linkHtml href='https://clinic.example/a?b=1'>advice</linkHtml>")
    assert " ".join(pieces.text_of(found).split()) == "advice (https://clinic.example/a?b=1)"
    assert all(one.name != "a" for one in pieces.walk(found))


def test_links_lead_within_the_document_only_and_across_its_sections() -> None:
    made = read(
        section("<linkHtml href='#later'>see below</linkHtml> <linkHtml href='#nowhere'>gone</linkHtml>")
        + section(
            "<paragraph ID='later'>here</paragraph><paragraph ID='later'>again</paragraph><paragraph ID='other'>x</paragraph>"
        )
    )
    links = [one.to for one in pieces.walk(made.sections[0].body) if one.name == "a"]
    assert links == ["n-later", "n-nowhere"]
    assert [one.id for one in pieces.walk(made.sections[1].body) if one.id] == ["n-later"]
    assert "n-nowhere" not in made.where


def test_a_footnote_has_a_number_a_place_and_a_way_back() -> None:
    made = read(
        section("one<footnote ID='f1'>first</footnote> two<footnoteRef IDREF='f1'/>")
        + section("three<footnote>second</footnote>")
    )
    first, second = made.sections
    assert [(one.number, pieces.text_of(one.body)) for one in (*first.notes, *second.notes)] == [
        (1, "first"),
        (2, "second"),
    ]
    assert [one.to for one in pieces.walk(first.body) if one.name == "a"] == ["note-1", "note-1"]
    assert made.where["note-2"] == made.where["to-note-2"] == 0


def test_headings_of_a_table_say_what_they_are_over() -> None:
    (table,) = body(
        "<table border='1' width='100%'><caption>Values</caption><thead><tr><th>Test</th><th>Value</th><th>Never filled</th></tr></thead>"
        "<tbody><tr><th>Sodium</th><td>140</td></tr><tr><th colspan='2'>Others</th></tr><tr><th/><td colspan='x' rowspan='-1'>5</td></tr></tbody></table>"
    )
    assert isinstance(table, Piece)
    cells = [one for one in pieces.walk([table]) if one.name in {"th", "td"}]
    assert [(one.name, one.scope, pieces.text_of(one.children)) for one in cells] == [
        ("td", "", "Test"),  # nothing but row headings and group names below it
        ("th", "col", "Value"),
        ("td", "", "Never filled"),
        ("th", "row", "Sodium"),
        ("td", "", "140"),
        ("td", "", "Others"),
        ("td", "", ""),
        ("td", "", "5"),
    ]
    assert [one.mark for one in cells if pieces.text_of(one.children) in {"Others", "Never filled"}] == ["b", "b"]
    assert (cells[-1].columns, cells[-1].rows) == (1, 1)


def test_text_between_the_parts_of_a_table_is_a_row_of_its_own() -> None:
    found = body(
        "<table>lost<thead><tr><th>A</th></tr>found</thead><tr>x<td>1</td></tr><paragraph>p</paragraph></table>"
    )
    assert pieces.text_of(found).split() == ["lost", "A", "found", "x", "1", "p"]
    assert {one.name for one in pieces.walk(found)} <= {"table", "thead", "tbody", "tr", "td", "th", "p"}


@pytest.mark.parametrize(
    ("code", "tag", "direction"),
    [("ar-SA", "ar-SA", "rtl"), ("he", "he", "rtl"), ("eng", "en", "ltr"), ("xx", "", "auto"), ("en us", "", "auto")],
)
def test_language_and_direction_are_the_documents(code: str, tag: str, direction: str) -> None:
    header = read(section("x"), language=code).header
    assert (header.language, pieces.direction(header.language)) == (tag, direction)


def test_a_section_without_text_is_shown_by_its_coded_entries_and_what_is_denied_is_denied() -> None:
    entries = """<entry><act classCode="ACT" moodCode="EVN"><code code="CONC"/><entryRelationship typeCode="SUBJ">
      <observation classCode="OBS" moodCode="EVN" negationInd="true"><code code="1" displayName="Allergy"/><statusCode code="active"/>
      <effectiveTime><low value="20200102"/></effectiveTime><value code="2" displayName="Penicillin"/></observation></entryRelationship></act></entry>
      <entry><observation classCode="OBS" moodCode="EVN"><code code="9"><originalText>Weight</originalText></code><value value="72" unit="kg"/></observation></entry>"""
    made = cda_html.read([cda(f"<component><section><title>S</title>{entries}</section></component>")])
    first, second = made.sections[0].facts
    assert (first.label, first.value, first.negated, first.since) == ("Allergy", "Penicillin", True, "2020-01-02")
    assert (second.label, second.value, second.negated) == ("Weight", "72 kg", False)
    told = cda_html.read([cda(section("There is a text", more=entries))])
    assert told.sections[0].facts == ()


def test_why_there_is_no_text_is_kept_and_sections_within_sections_keep_their_depth() -> None:
    made = read(
        "<component><section nullFlavor='NI'><title>A</title><text/></section></component>"
        "<component><section><title>B</title><component><section><title>C</title><text nullFlavor='UNK'/></section></component></section></component>"
        "<component><section><code code='1' displayName='Coded'/></section></component>"
    )
    assert [(one.title, one.level, one.null, one.is_silent) for one in made.sections] == [
        ("A", 0, "NI", False),
        ("B", 0, "", False),
        ("C", 1, "UNK", False),
        ("Coded", 0, "", True),
    ]


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_a_picture_inside_is_named_by_its_number_and_one_that_is_not_there_by_none() -> None:
    picture = f"""<entry><observationMedia classCode="OBS" moodCode="EVN" ID="MM1"><value mediaType="image/png" representation="B64">
      {base64.b64encode(PNG).decode()}</value></observationMedia></entry>
      <entry><observationMedia classCode="OBS" moodCode="EVN" ID="MM2"><value mediaType="image/png"><reference value="https://evil.example/p.png"/></value></observationMedia></entry>"""
    made = read(
        section(
            "<renderMultiMedia referencedObject='MM1'><caption>My hand</caption></renderMultiMedia><renderMultiMedia referencedObject='MM2 MM9'/>",
            more=picture,
        )
    )
    shown = [
        (one.number, pieces.text_of(one.children)) for one in pieces.walk(made.sections[0].body) if one.name == "media"
    ]
    assert shown == [(0, "My hand"), (1, ""), (-1, "")]
    assert made.media[0].content() == PNG
    assert made.media[0].kind() == "image/png"
    assert (made.media[1].kind(), made.media[1].elsewhere) == ("", "https://evil.example/p.png")
    with pytest.raises(NotThere):
        made.media[1].content()


def test_a_document_around_another_holds_it_as_its_medium() -> None:
    inside = base64.b64encode(b"%PDF-1.7 x").decode()
    made = read(f"<nonXMLBody><text mediaType='application/pdf' representation='B64'>{inside}</text></nonXMLBody>")
    assert made.sections == ()
    assert made.media[made.body].kind() == "application/pdf"
    assert made.media[made.body].content() == b"%PDF-1.7 x"


def test_what_is_no_clinical_document_or_no_xml_is_refused() -> None:
    with pytest.raises(NotClinicalDocument):
        cda_html.read([b"<html/>"])
    with pytest.raises(MalformedContent):
        cda_html.read([cda(section("x")).replace(b"</title>", b"")])
    with pytest.raises(MalformedContent):
        cda_html.read([cda(section("x"))], limits=xml.Limits(size=100))


def test_markup_nested_without_end_is_text_and_nothing_breaks() -> None:
    deep = "<content styleCode='Bold'>" * 120 + "x" + "</content>" * 120
    found = body(f"<table><tbody><tr><td>{deep}</td></tr></tbody></table>")
    assert pieces.text_of(found).split() == ["x"]
    lists = "<list><item>" * 60 + "y" + "</item></list>" * 60
    assert pieces.text_of(body(lists)).split() == ["y"]


def test_a_document_that_is_too_long_is_cut_and_says_so() -> None:
    rows = "".join(f"<tr><td>row {n}</td></tr>" for n in range(400))
    made = cda_html.read([cda(section(f"<table><tbody>{rows}</tbody></table>") + section("the end"))], max_elements=500)
    assert made.cut
    text = pieces.text_of(made.sections[0].body)
    assert "row 0" in text
    assert "row 399" not in text
    assert made.sections[1].title == "Findings"


@pytest.mark.parametrize("seed", range(5))
def test_long_sections_are_split_into_parts_with_nothing_lost_and_headings_repeated(seed: int) -> None:
    chance = random.Random(seed)
    rows = "".join(f"<tr><td>{n}</td><td>{'word ' * chance.randrange(1, 20)}</td></tr>" for n in range(300))
    table = f"<table><thead><tr><th>Number</th><th>Words</th></tr></thead><tbody>{rows}</tbody></table>"
    items = "<list listType='ordered'>" + "".join(f"<item>item {n}</item>" for n in range(300)) + "</list>"
    text = f"<paragraph>{'long ' * 5000}</paragraph>"
    made = read(section(table, title="T") + section(items, title="L") + section(text, title="P"))
    parts, where = in_parts(made.sections, 6000)
    assert len(parts) > 5
    flat = [one for part in parts for one in part]
    whole = letters("".join(pieces.text_of(one.body) for one in made.sections))
    again = letters("".join(pieces.text_of(one.body) for one in flat).replace("Number", "").replace("Words", ""))
    assert again == whole.replace("Number", "").replace("Words", "")
    tables = [one for one in flat if one.title == "T"]
    assert len(tables) > 1
    assert all("Number" in pieces.text_of(one.body) for one in tables)
    assert [one.continued for one in tables] == [False] + [True] * (len(tables) - 1)
    starts = [one.start for section_ in flat for one in pieces.walk(section_.body) if one.name == "ol"]
    assert starts == sorted(set(starts))
    assert starts[0] == 1
    assert {where[one.anchor] for one in flat} == set(range(len(parts)))
    assert all(pieces.weight(one.body) < PART for one in flat)
