"""The hardened parser: what it takes and what it refuses, with the place."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hie.standards import xml
from hie.standards.errors import MalformedContent

BOMB = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;">]><a>&y;</a>'
EXTERNAL = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'
REFUSED = [
    pytest.param(BOMB, "DOCTYPE", id="entity-bomb"),
    pytest.param(EXTERNAL, "DOCTYPE", id="external-entity"),
    pytest.param(b"<!-- a --><!DOCTYPE a><a/>", "DOCTYPE", id="doctype-behind-a-comment"),
    pytest.param("\ufeff<!DOCTYPE a><a/>".encode(), "DOCTYPE", id="doctype-behind-a-byte-order-mark"),
    pytest.param('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a><a/>'.encode("utf-16"), "DOCTYPE", id="utf-16"),
    pytest.param(gzip.compress(b"<a/>"), "compressed", id="gzip"),
    pytest.param(b"<a>\x00</a>", "NUL", id="nul-character"),
    pytest.param(b"<a>" * 500 + b"</a>" * 500, "nested", id="deep-nesting"),
    pytest.param(b"<a><b></a>", "not well-formed", id="crossed-tags"),
    pytest.param(b"<a><b>", "not well-formed", id="cut-off"),
    pytest.param(b"", "no content", id="empty"),
    pytest.param(b"\xef\xbb\xbf  \n", "no content", id="only-a-byte-order-mark"),
    pytest.param(b'<?xml version="1.0" encoding="utf-7"?><a/>', "encoding", id="utf-7"),
    pytest.param(b'<?xml version="1.0" encoding="utf-8"?><a>\xe9</a>', "not well-formed", id="latin-1-called-utf-8"),
    pytest.param(b"<a>&undefined;</a>", "not well-formed", id="undefined-entity"),
    pytest.param(b"<x:a/>", "not well-formed", id="undeclared-prefix"),
    pytest.param(b"plain text", "not well-formed", id="no-xml"),
    pytest.param("<a/>".encode("utf-32"), "encoding", id="utf-32"),
]


@pytest.mark.parametrize(("data", "says"), REFUSED)
def test_unacceptable_xml_is_refused_with_a_word_that_says_why(data: bytes, says: str) -> None:
    with pytest.raises(MalformedContent, match=says):
        xml.parse(data)
    with pytest.raises(MalformedContent, match=says):
        list(xml.elements([data]))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<a>x</a>", id="no-declaration"),
        pytest.param("\ufeff<a>x</a>".encode(), id="byte-order-mark"),
        pytest.param('<?xml version="1.0" encoding="iso-8859-1"?><a>\u00e9</a>'.encode("latin-1"), id="latin-1"),
        pytest.param('<?xml version="1.0" encoding="utf-16"?><a>x</a>'.encode("utf-16"), id="utf-16"),
        pytest.param(b"<a>&amp;&#233;</a>", id="built-in-entities"),
        pytest.param(b'<!-- c --><?pi x?><a b="c"/>', id="comment-and-instruction"),
    ],
)
def test_ordinary_xml_is_read(data: bytes) -> None:
    assert xml.parse(data).tag == "a"


def test_a_refusal_names_line_and_column_and_quotes_nothing() -> None:
    with pytest.raises(MalformedContent) as refused:
        xml.parse(b"<a>\n<secret></other>\n</a>")
    assert refused.value.element is not None
    assert refused.value.element.startswith("line 2")
    assert "secret" not in str(refused.value)
    assert "other" not in str(refused.value)


def test_more_bytes_than_the_limit_are_refused_however_they_come() -> None:
    data = b"<a>" + b"x" * 100 + b"</a>"
    with pytest.raises(MalformedContent, match="larger"):
        xml.parse(data, limits=xml.Limits(size=50))
    with pytest.raises(MalformedContent, match="larger"):
        list(xml.elements((bytes([b]) for b in data), limits=xml.Limits(size=50)))


def test_depth_is_counted_exactly() -> None:
    def nested(depth: int) -> bytes:
        return b"<a>" * depth + b"</a>" * depth

    assert xml.parse(nested(10), limits=xml.Limits(depth=10)) is not None
    with pytest.raises(MalformedContent):
        xml.parse(nested(11), limits=xml.Limits(depth=10))


def test_a_stream_cut_anywhere_gives_the_same_elements() -> None:
    data = b"<?xml version='1.0'?><a><b c='d'>text</b><e/></a>"
    whole = [(event, element.tag) for event, element in xml.elements([data])]
    for cut in range(len(data)):
        assert [(event, element.tag) for event, element in xml.elements([data[:cut], data[cut:]])] == whole


def test_a_padded_prolog_does_not_hide_a_doctype() -> None:
    with pytest.raises(MalformedContent):
        xml.parse(b"<!--" + b"x" * (300 * 1024) + b"--><!DOCTYPE a><a/>")


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        root = xml.parse(data)
    except MalformedContent:
        return
    assert isinstance(root.tag, str)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=50))
def test_text_comes_back_as_it_was_written(text: str) -> None:
    element = etree.Element("a")
    element.text = text
    assert (xml.parse(etree.tostring(element, encoding="utf-8")).text or "") == text


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3"', None),
        (b'<ClinicalDocument xmlns="urn:hl7-org:v3">', "{urn:hl7-org:v3}ClinicalDocument"),
        (b'<?xml version="1.0"?><!-- x --><a/>', "a"),
        (b"%PDF-1.4", None),
        (b"<!DOCTYPE a><a/>", None),
    ],
)
def test_the_root_is_seen_from_the_first_bytes(head: bytes, name: str | None) -> None:
    assert xml.root_name(head) == name


@pytest.mark.parametrize("encoding", ["KLINGON", "utf-7", "idna", "rot13", "base64", "cp500", "hex", "x" * 300])
def test_an_encoding_unfit_for_xml_is_refused_by_whatever_reads_the_bytes(encoding: str) -> None:
    data = f'<?xml version="1.0" encoding="{encoding}"?><ClinicalDocument xmlns="urn:hl7-org:v3"/>'.encode()
    assert xml.root_name(data) is None
    for reading in (lambda: xml.parse(data), lambda: list(xml.elements([data]))):
        with pytest.raises(MalformedContent):
            reading()
