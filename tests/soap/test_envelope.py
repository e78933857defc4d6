"""Envelopes: version, mandatory headers and addressing, by the fault that each thing wrong has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hie.faces.soap import envelope, faults
from hie.faces.soap.envelope import Seen
from hie.faces.soap.faults import SOAP, SOAP_11, WSA, Fault
from hie.standards.errors import MalformedContent
from tests.soap import messages
from tests.soap.messages import code, text


def read(data: bytes) -> tuple[envelope.Envelope, Seen]:
    seen = Seen()
    return envelope.read(envelope.parse([data], size=1 << 20), seen), seen


def refused(data: bytes) -> tuple[Fault, Any]:
    seen = Seen()
    with pytest.raises(Fault) as caught:
        envelope.read(envelope.parse([data], size=1 << 20), seen)
    return caught.value, etree.fromstring(faults.document(caught.value, message_id=seen.message_id))


def test_a_message_is_read_with_its_addressing() -> None:
    more = f"<wsa:ReplyTo><wsa:Address>{envelope.ANONYMOUS}</wsa:Address></wsa:ReplyTo>"
    found, seen = read(messages.envelope(more=more, head='<?xml version="1.0" encoding="utf-8"?>\n<!-- a toolkit -->'))
    assert (found.action, found.to) == ("urn:ihe:iti:2007:RegistryStoredQuery", "https://hub.example/xds/registry")
    assert found.message_id == seen.message_id == "urn:uuid:11111111-2222-4333-8444-555555555555"
    assert etree.QName(found.body).localname == "AdhocQueryRequest"
    assert found.reply_to == ""


@pytest.mark.parametrize("must", ["1", "true", "0", "false", " 1 "])
def test_must_understand_may_be_said_in_any_way_of_a_header_that_is_known(must: str) -> None:
    assert read(messages.envelope(must=must))[0].action


MANDATORY = '<x:Y xmlns:x="urn:x" s:mustUnderstand="{}" {}/>'


@pytest.mark.parametrize("said", ["1", "true"])
@pytest.mark.parametrize("role", ["", f's:role="{SOAP}/role/next"', f's:role="{SOAP}/role/ultimateReceiver"'])
def test_a_mandatory_header_that_is_unknown_is_not_understood(said: str, role: str) -> None:
    fault, root = refused(messages.envelope(more=MANDATORY.format(said, role)))
    assert (fault.status_code, code(root)) == (500, "soap:MustUnderstand")
    block = root.find(".//s:Header/s:NotUnderstood", messages.NS)
    prefix, _, local = block.get("qname").partition(":")
    assert (block.nsmap[prefix], local) == ("urn:x", "Y")
    assert text(root, ".//wsa:RelatesTo") == "urn:uuid:11111111-2222-4333-8444-555555555555"
    assert text(root, ".//wsa:Action") == f"{WSA}/soap/fault"


@pytest.mark.parametrize(
    "header",
    [
        MANDATORY.format("0", ""),
        MANDATORY.format("false", ""),
        '<x:Y xmlns:x="urn:x"/>',
        MANDATORY.format("1", f's:role="{SOAP}/role/none"'),
        MANDATORY.format("1", 's:role="http://example.org/other"'),
        MANDATORY.format("0", 's:relay="true"'),
    ],
)
def test_a_header_for_others_or_not_mandatory_is_passed_over(header: str) -> None:
    assert read(messages.envelope(more=header))[0].message_id


def test_a_header_for_another_role_is_not_ours_to_read() -> None:
    other = f'<wsa:MessageID s:role="{SOAP}/role/none">urn:uuid:other</wsa:MessageID>'
    assert read(messages.envelope(more=other))[0].message_id.startswith("urn:uuid:1111")


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        pytest.param({"message_id": None}, "MessageAddressingHeaderRequired MessageID", id="no-message-id"),
        pytest.param({"to": None}, "MessageAddressingHeaderRequired To", id="no-to"),
        pytest.param({"message_id": ""}, "InvalidAddressingHeader MessageID", id="empty-message-id"),
        pytest.param({"message_id": "two words"}, "InvalidAddressingHeader MessageID", id="no-iri"),
        pytest.param({"action": " "}, "InvalidAddressingHeader Action", id="blank-action"),
        pytest.param({"more": "<wsa:To>x</wsa:To>"}, "InvalidAddressingHeader/wsa:InvalidCardinality To", id="two-to"),
        pytest.param(
            {"more": "<wsa:Action>x</wsa:Action>"},
            "InvalidAddressingHeader/wsa:InvalidCardinality Action",
            id="two-actions",
        ),
        pytest.param(
            {"more": "<wsa:MessageID>x</wsa:MessageID>"},
            "InvalidAddressingHeader/wsa:InvalidCardinality MessageID",
            id="two-message-ids",
        ),
        pytest.param(
            {"more": "<wsa:ReplyTo/>"}, "InvalidAddressingHeader/wsa:MissingAddressInEPR ReplyTo", id="reply-to-nowhere"
        ),
        pytest.param(
            {"more": "<wsa:ReplyTo><wsa:Address/></wsa:ReplyTo>"},
            "InvalidAddressingHeader/wsa:InvalidAddress ReplyTo",
            id="reply-to-empty",
        ),
    ],
)
def test_addressing_that_is_missing_or_wrong_is_named(broken: dict[str, Any], expected: str) -> None:
    fault, root = refused(messages.envelope(**broken))
    kind, _, header = expected.partition(" ")
    assert (fault.status_code, code(root)) == (400, f"soap:Sender/wsa:{kind}")
    assert text(root, ".//s:Detail/wsa:ProblemHeaderQName") == f"wsa:{header}"
    assert text(root, "/s:Envelope/s:Header/wsa:Action") == f"{WSA}/fault"
    assert root.find("s:Header/wsa:Action", messages.NS).get(f"{{{SOAP}}}mustUnderstand") == "1"
    assert text(root, ".//s:Reason/s:Text/@xml:lang") == "en"


def test_an_action_may_be_missing_until_it_is_asked_for() -> None:
    assert read(messages.envelope(action=None))[0].action == ""


def test_soap_1_1_is_told_in_its_own_words_which_version_is_spoken() -> None:
    fault, root = refused(messages.envelope(namespace=SOAP_11))
    assert fault.status_code == 500
    assert text(root, "/e:Envelope/e:Body/e:Fault/faultcode") == "env:VersionMismatch"
    supported = root.find(".//e:Header/s:Upgrade/s:SupportedEnvelope", messages.NS)
    prefix, _, local = supported.get("qname").partition(":")
    assert (supported.nsmap[prefix], local) == (SOAP, "Envelope")


def test_any_other_version_is_a_mismatch() -> None:
    fault, root = refused(messages.envelope(namespace="urn:soap-of-tomorrow"))
    assert (fault.status_code, code(root)) == (500, "soap:VersionMismatch")
    assert root.find(".//s:Upgrade/s:SupportedEnvelope", messages.NS) is not None


def _without(data: bytes, what: bytes, by: bytes = b"") -> bytes:
    assert what in data
    return data.replace(what, by)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<a/>", id="no-envelope"),
        pytest.param(messages.envelope(body=""), id="empty-body"),
        pytest.param(messages.envelope(body="<a/><b/>"), id="two-in-the-body"),
        pytest.param(_without(messages.envelope(), b"</s:Body>", b"</s:Body><s:Body/>"), id="two-bodies"),
        pytest.param(_without(messages.envelope(), b"</s:Body>", b"</s:Body><x/>"), id="trailer"),
        pytest.param(messages.envelope(more='<x:y xmlns:x="urn:x" s:mustUnderstand="yes"/>'), id="no-boolean"),
    ],
)
def test_an_envelope_of_another_form_is_the_senders_fault(data: bytes) -> None:
    fault, root = refused(data)
    assert (fault.status_code, code(root)) == (400, "soap:Sender")


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]>"
)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(
            messages.envelope(head='<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', more="&e;"), id="xxe"
        ),
        pytest.param(messages.envelope(head='<!DOCTYPE x SYSTEM "http://192.0.2.1/x.dtd">'), id="foreign-dtd"),
        pytest.param(messages.envelope(head=BOMB, more="&i;"), id="billion-laughs"),
        pytest.param(messages.envelope(body="<a>" * 200 + "</a>" * 200), id="deep"),
        pytest.param(messages.envelope(more=f'<x:y xmlns:x="urn:x">{"z" * (1 << 20)}</x:y>'), id="long"),
        pytest.param(messages.envelope()[:-5], id="cut"),
        pytest.param(b"\x1f\x8b\x08" + b"\0" * 50, id="packed"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_the_parser_refuses_never_becomes_a_message(data: bytes) -> None:
    with pytest.raises(MalformedContent):
        envelope.parse([data], size=1 << 20)


@given(sizes=st.lists(st.integers(1, 60), max_size=200))
def test_it_does_not_matter_how_an_envelope_is_split(sizes: list[int]) -> None:
    data = messages.envelope()
    chunks = []
    for size in sizes:
        chunks.append(data[:size])
        data = data[size:]
    root = envelope.parse([*chunks, data], size=1 << 20)
    assert envelope.read(root, Seen()).to == "https://hub.example/xds/registry"


def test_a_comment_in_a_value_neither_ends_nor_joins_it() -> None:
    found, _ = read(messages.envelope(to="https://hub.example/<!-- x -->xds/registry"))
    assert found.to == "https://hub.example/xds/registry"


def test_an_answer_says_what_it_answers() -> None:
    root = etree.fromstring(envelope.write(etree.Element("{urn:x}a"), action="urn:b", message_id="urn:m"))
    assert text(root, "s:Header/wsa:Action") == "urn:b"
    assert root.find("s:Header/wsa:Action", messages.NS).get(f"{{{SOAP}}}mustUnderstand") == "1"
    assert text(root, "s:Header/wsa:RelatesTo") == "urn:m"
    assert root.find("s:Body", messages.NS)[0].tag == "{urn:x}a"
