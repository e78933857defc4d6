"""Packages at the SOAP face: documents arrive as they were sent, however a toolkit packs them, and nothing else stays."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import quote

import pytest

from documents.models import Binary
from hie.exchange import submit
from hie.faces.soap import views
from tests.exchange import world
from tests.soap import echo, messages
from tests.soap.conftest import DATA, SHA1, Caller, files, pnr, provide, stored
from tests.soap.messages import include, package, part


def test_a_package_is_received_part_by_part_and_answered_as_a_package(by_token: Caller) -> None:
    sent = package(
        pnr(include("d%40x"), include("e@x")), part("d@x", DATA, "text/plain"), part("e@x", b"", "image/png")
    )
    answer = provide(by_token, *sent)
    assert answer.status == 200, answer.reason
    assert answer.response.headers["Content-Type"].startswith('multipart/related; type="application/xop+xml"; start="<')
    assert answer.said["d0"][:3] == [str(len(DATA)), SHA1, "text/plain"]
    assert answer.said["d1"][:3] == ["0", hashlib.sha1(b"").hexdigest(), "image/png"]
    assert answer.text("s:Header/wsa:Action") == f"{echo.PROVIDE}Response"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"newline": b"\n"}, id="lf-only"),
        pytest.param({"root_at": 1}, id="root-last"),
        pytest.param({"content_type": "Multipart/Related; boundary=b; TYPE=application/xop+xml; START=\"<root@test>\"", "boundary": "b"}, id="unquoted"),
        pytest.param({"content_type": 'multipart/related;boundary="b;x";type="application/xop+xml"', "boundary": "b;x"}, id="no-start"),
        pytest.param({"root_id": "", "content_type": "multipart/related; boundary=BOUNDARY"}, id="no-root-id"),
        pytest.param({"content_type": "multipart/related; boundary=BOUNDARY; start=root@test"}, id="start-without-brackets"),
        pytest.param({"root_id": "<root%40test>", "content_type": 'multipart/related; boundary="BOUNDARY"; start="<root@test>"'}, id="encoded-root"),
    ],
)  # fmt: skip
def test_packages_are_taken_as_toolkits_write_them(by_token: Caller, how: dict[str, Any]) -> None:
    if "BOUNDARY" in how.get("content_type", ""):
        how = how | {"boundary": "=_some-boundary"}
        how["content_type"] = how["content_type"].replace("boundary=BOUNDARY", 'boundary="BOUNDARY"')
    answer = provide(by_token, *package(pnr(include("d@x")), part("d@x", DATA), **how))
    assert answer.said["d0"][:2] == [str(len(DATA)), SHA1], answer.reason


@pytest.mark.parametrize(
    ("name", "href"),
    [
        ("d@x", "d%40x"),
        ("d%40x", "d@x"),
        ("d%40x", "d%2540x"),
        ("http://x/é", quote("http://x/é", safe="")),
        ("urn:uuid:1", "urn:uuid:1"),
        ("a b", "a%20b"),
    ],
)
def test_a_part_is_found_by_its_content_id_however_either_is_escaped(by_token: Caller, name: str, href: str) -> None:
    answer = provide(by_token, *package(pnr(include(href)), part(name, DATA)))
    assert answer.said["d0"][1] == SHA1, answer.reason


@pytest.mark.parametrize(
    "headers",
    [{"Content-Transfer-Encoding": "x\x01"}, {"X\x01": "1", "x\x01": "2"}, {"Content-Transfer-Encoding": "\x00"}],
    ids=["encoding", "twice", "nul"],
)
def test_a_header_that_xml_cannot_hold_is_the_senders_fault(by_token: Caller, headers: dict[str, str]) -> None:
    answer = provide(by_token, *package(pnr(include("d@x")), ({"Content-ID": "<d@x>"} | headers, DATA)))
    assert (answer.status, answer.code) == (400, "soap:Sender"), answer.reason
    assert stored() == (0, 0)


def test_parts_are_decoded_as_they_declare(by_token: Caller) -> None:
    folded = base64.encodebytes(DATA)
    sent = package(
        pnr(include("a"), include("b"), include("c")),
        part("a", folded, Content_Transfer_Encoding="BASE64"),
        part("b", b"caf=C3=A9=\r\n!", Content_Transfer_Encoding="quoted-printable"),
        part("c", DATA, Content_Transfer_Encoding="8bit"),
    )
    answer = provide(by_token, *sent)
    assert [answer.said[f"d{n}"][1] for n in range(3)] == [SHA1, hashlib.sha1("café!".encode()).hexdigest(), SHA1]


def test_the_envelope_itself_may_be_encoded(by_token: Caller) -> None:
    data, content_type = package(base64.encodebytes(pnr(include("d"))), part("d", DATA))
    answer = provide(
        by_token,
        data.replace(b"Content-Transfer-Encoding: binary", b"Content-Transfer-Encoding: base64", 1),
        content_type,
    )
    assert answer.said["d0"][1] == SHA1, answer.reason


def test_a_document_may_stand_inline_in_a_package_and_in_a_plain_message(by_token: Caller) -> None:
    inside = messages.inline(DATA)
    assert provide(by_token, *package(pnr(inside))).said["d0"][1] == SHA1
    answer = provide(by_token, pnr(f"\n {inside} \n"), messages.PLAIN)
    assert answer.said["d0"][1] == SHA1, answer.reason
    assert answer.response.headers["Content-Type"].startswith("multipart/related"), "answers of this one are packages"


def test_a_message_that_is_a_package_of_one_part_is_taken(by_token: Caller) -> None:
    data, content_type = package(messages.envelope())
    assert by_token.post("/xds/registry", data, content_type).status == 200


def test_documents_are_sent_as_parts(by_token: Caller) -> None:
    answer = by_token.post("/xds/repository", messages.envelope(messages.retrieve("1.70000", "1.0"), echo.RETRIEVE))
    assert answer.status == 200
    assert int(answer.response.headers["Content-Length"]) == len(answer.data)
    assert {name: hashlib.sha1(data).hexdigest() for name, data in answer.parts.items()} == {
        "doc0@hub": echo.sha1_of(70000),
        "doc1@hub": echo.sha1_of(0),
    }
    hrefs = answer.root.xpath("//*[local-name()='Include']/@href")
    assert hrefs == ["cid:doc0@hub", "cid:doc1@hub"]


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        pytest.param(package(pnr(include("d"))), "not in the package", id="part-missing"),
        pytest.param(package(pnr(include("d")), part("d", DATA), part("d", b"other")), "same Content-ID", id="twice"),
        pytest.param(package(pnr(include("d")), part("d%40", DATA), part("d@", b"other")), "same Content-ID", id="twice-escaped"),
        pytest.param(package(pnr(include("d")), ({"Content-Type": "text/plain"}, DATA)), "not in the package", id="no-id"),
        pytest.param(package(pnr(include("root@test"))), "not in the package", id="the-root-itself"),
        pytest.param(package(pnr('<xop:Include xmlns:xop="http://www.w3.org/2004/08/xop/include" href="http://x/"/>')), "by cid:", id="no-cid"),
        pytest.param(package(pnr(f"QUJD{include('d')}"), part("d", DATA)), "alone", id="text-beside"),
        pytest.param((pnr(include("d")), messages.PLAIN), "not in the package", id="include-without-package"),
        pytest.param(package(pnr(), root_id="<other>", content_type='multipart/related; boundary="BOUNDARY"; start="<root@test>"'), "start names", id="no-root"),
        pytest.param((package(pnr(include("d")), part("d", DATA))[0], "multipart/related"), "boundary", id="no-boundary"),
        pytest.param(package(pnr("not base64!")), "not valid", id="inline-no-base64"),
    ],
)  # fmt: skip
def test_a_package_that_is_none_is_the_senders_fault_and_leaves_nothing(
    by_token: Caller, sent: tuple[bytes, str], said: str
) -> None:
    answer = provide(by_token, *sent)
    assert (answer.status, answer.code) == (400, "soap:Sender")
    assert said in answer.reason
    assert stored() == (0, 0)
    assert files() == []


@pytest.mark.parametrize("where", ["first-part", "second-part", "delimiter", "root"])
@pytest.mark.parametrize("root_at", [0, 2])
def test_a_package_that_breaks_off_leaves_nothing(by_token: Caller, where: str, root_at: int) -> None:
    data, content_type = package(
        pnr(include("d"), include("e")), part("d", DATA * 100), part("e", b"E" * 100_000), root_at=root_at
    )
    cut = {
        "first-part": data.index(DATA) + 5000,
        "second-part": data.index(b"EEEE") + 70_000,
        "delimiter": len(data) - 8,
        "root": data.index(b"<s:Body>"),
    }[where]
    answer = provide(by_token, data[:cut], content_type)
    assert (answer.status, answer.code) == (400, "soap:Sender")
    assert stored() == (0, 0)
    assert files() == []


def test_a_transaction_that_refuses_or_breaks_leaves_nothing_and_tells_nothing(
    by_token: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    refused = provide(by_token, *package(pnr(include("d")), part("d", b"refuse me")))
    assert (refused.status, refused.code, refused.reason) == (400, "soap:Sender", "refused by the transaction")
    broken = provide(by_token, *package(pnr(include("d")), part("d", b"break")))
    assert (broken.status, broken.code) == (500, "soap:Receiver")
    assert "Quarrel" not in broken.data.decode()
    assert "quote" in broken.reason
    incident = broken.reason.rpartition(" ")[2]
    assert any(incident in record.getMessage() for record in caplog.records)
    assert (stored(), files()) == ((0, 0), [])


def test_what_no_entry_takes_is_gone_when_the_request_is_over_but_not_what_is_known_by_another_name(
    by_token: Caller,
) -> None:
    other = submit.receive(DATA, "text/plain", world.caller())
    answer = provide(by_token, *package(pnr(include("d")), part("d", DATA)))
    assert answer.said["d0"][1] == SHA1
    assert (stored(), len(files())) == ((1, 1), 1)
    assert str(Binary.objects.get().pk) == other.id


def test_a_part_that_nobody_names_is_not_stored(by_token: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    keep = views.submit.receive

    def receive(chunks: Any, content_type: str, caller: Any) -> Any:
        kept.append(content_type)
        return keep(chunks, content_type, caller)

    monkeypatch.setattr(views.submit, "receive", receive)
    provide(by_token, *package(pnr(include("d")), part("x", DATA, "a/x"), part("d", DATA, "a/d")))
    assert kept == ["a/d"]


def test_a_document_larger_than_may_be_is_refused(by_token: Caller, settings: Any) -> None:
    settings.DOCUMENT_MAX_SIZE = 1000
    answer = provide(by_token, *package(pnr(include("d")), part("d", b"x" * 1001)))
    assert (answer.status, answer.code) == (400, "soap:Sender")
    assert (stored(), files()) == ((0, 0), [])
    assert provide(by_token, *package(pnr(include("d")), part("d", b"x" * 1000))).status == 200


def test_an_envelope_larger_than_may_be_is_refused(by_token: Caller, settings: Any) -> None:
    settings.SOAP_MAX_ENVELOPE_BYTES = 10_000
    answer = provide(by_token, *package(pnr(messages.inline(b"x" * 10_000))))
    assert (answer.status, answer.code) == (400, "soap:Sender")
    assert "larger" in answer.reason


@pytest.mark.parametrize(
    "header",
    [
        {"HTTP_CONTENT_ENCODING": "gzip"},
        {"CONTENT_TYPE": "application/json"},
        {"CONTENT_TYPE": "multipart/form-data; boundary=b"},
    ],
)
def test_a_body_of_another_kind_is_refused(by_token: Caller, header: dict[str, str]) -> None:
    content_type = header.get("CONTENT_TYPE", messages.PLAIN)
    named = {name: value for name, value in header.items() if name != "CONTENT_TYPE"}
    answer = by_token.post("/xds/registry", messages.envelope(), content_type, **named)
    assert (answer.status, answer.code) == (400, "soap:Sender")
