"""The wire of the SOAP face: real bytes in, real bytes out, through small transactions that say what reached them."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings as hub_settings
from django.test import Client
from lxml import etree

from documents.models import Binary
from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import submit
from hie.faces.soap import actions, transactions, views
from hie.faces.soap.faults import SOAP, SOAP_11, WSA
from hie.standards import xds_schema
from tests.exchange import world
from tests.soap import echo, keys, messages
from tests.soap.conftest import Answered, Caller, participants, stored
from tests.soap.messages import include, package, part
from tests.trust import conftest as trust

DATA = b"A letter.\r\n\x00\xff--b\n" * 50
SHA1 = hashlib.sha1(DATA).hexdigest()


def provide(caller: Caller, data: bytes, content_type: str, **headers: str) -> Answered:
    return caller.post("/xds/repository", data, content_type, **headers)


def pnr(*documents: str, **message: Any) -> bytes:
    return messages.envelope(messages.provide(*documents), echo.PROVIDE, **message)


def files() -> list[Path]:
    folder = Path(hub_settings.DOCUMENT_DIR)
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


# --- envelopes --------------------------------------------------------------------------------------------------------


def test_a_plain_message_is_answered_plain(by_token: Caller) -> None:
    answer = by_token.ask()
    assert answer.status == 200
    assert answer.response.headers["Content-Type"].startswith("application/soap+xml; charset=UTF-8")
    assert answer.text("s:Header/wsa:Action") == f"{echo.STORED_QUERY}Response"
    assert answer.text("s:Header/wsa:RelatesTo") == "urn:uuid:11111111-2222-4333-8444-555555555555"
    assert answer.said["caller"][:2] == ["org-clinic", "org-clinic"]


@pytest.mark.parametrize(
    "content_type", ["text/xml", "application/xml", "APPLICATION/SOAP+XML", 'application/soap+xml;charset="utf-8"']
)
def test_the_type_of_a_plain_message_is_taken_as_toolkits_write_it(by_token: Caller, content_type: str) -> None:
    assert by_token.post("/xds/registry", messages.envelope(), content_type).status == 200


def test_the_action_of_the_header_outranks_that_of_http(by_token: Caller) -> None:
    said = f'application/soap+xml; action="{echo.MULTI_PATIENT}"'
    answer = by_token.post("/xds/registry", messages.envelope(), said)
    assert answer.text("s:Header/wsa:Action") == f"{echo.STORED_QUERY}Response"


def test_without_the_header_http_says_the_action(by_token: Caller) -> None:
    said = f'application/soap+xml; action="{echo.MULTI_PATIENT}"'
    answer = by_token.post("/xds/registry", messages.envelope(action=None), said)
    assert answer.text("s:Header/wsa:Action") == f"{echo.MULTI_PATIENT}Response"
    answer = by_token.post("/xds/registry", messages.envelope(action=None), HTTP_SOAPACTION=f'"{echo.STORED_QUERY}"')
    assert answer.text("s:Header/wsa:Action") == f"{echo.STORED_QUERY}Response"


def test_without_any_action_the_body_tells_where_it_is_of_one_transaction_alone(by_token: Caller) -> None:
    answer = by_token.post("/xds/repository", messages.envelope(messages.retrieve("1.2.3"), None))
    assert answer.text("s:Header/wsa:Action") == f"{echo.RETRIEVE}Response"
    answer = by_token.ask(action=None)
    assert (answer.status, answer.code) == (400, "soap:Sender/wsa:MessageAddressingHeaderRequired")
    assert answer.text(".//wsa:ProblemHeaderQName") == "wsa:Action"


def test_an_action_of_another_address_is_not_supported(by_token: Caller) -> None:
    answer = by_token.ask(path="/xds/repository")
    assert (answer.status, answer.code) == (400, "soap:Sender/wsa:ActionNotSupported")
    assert answer.text(".//s:Detail/wsa:ProblemAction/wsa:Action") == echo.STORED_QUERY
    assert answer.text("s:Header/wsa:Action") == f"{WSA}/fault"
    assert answer.text("s:Header/wsa:RelatesTo") == "urn:uuid:11111111-2222-4333-8444-555555555555"


def test_answers_go_nowhere_but_back(by_token: Caller) -> None:
    for name in ("ReplyTo", "FaultTo"):
        more = f"<wsa:{name}><wsa:Address>https://elsewhere.example/</wsa:Address></wsa:{name}>"
        answer = by_token.ask(more=more)
        assert answer.code == "soap:Sender/wsa:InvalidAddressingHeader/wsa:OnlyAnonymousAddressSupported"
        assert answer.text(".//wsa:ProblemHeaderQName") == f"wsa:{name}"


@pytest.mark.parametrize(
    ("broken", "status", "code"),
    [
        pytest.param({"namespace": "urn:other"}, 500, "soap:VersionMismatch", id="version"),
        pytest.param(
            {"more": '<x:y xmlns:x="urn:x" s:mustUnderstand="true"/>'}, 500, "soap:MustUnderstand", id="header"
        ),
        pytest.param({"message_id": None}, 400, "soap:Sender/wsa:MessageAddressingHeaderRequired", id="message-id"),
        pytest.param({"body": "<a/>"}, 400, "soap:Sender", id="another-root"),
        pytest.param(
            {"body": messages.STORED_QUERY.replace("<rim:AdhocQuery ", "<rim:Adhoc ")}, 400, "soap:Sender", id="schema"
        ),
        pytest.param({"head": "<!DOCTYPE x>"}, 400, "soap:Sender", id="doctype"),
        pytest.param({"body": f"<a>{'<b>' * 120}{'</b>' * 120}</a>"}, 400, "soap:Sender", id="deep"),
    ],
)
def test_each_thing_wrong_with_a_message_has_its_fault(by_token: Caller, broken: Any, status: int, code: str) -> None:
    answer = by_token.ask(**broken)
    assert (answer.status, answer.code) == (status, code)
    assert answer.response.headers["Content-Type"] == "application/soap+xml; charset=UTF-8"


def test_soap_1_1_is_answered_in_its_own_type(by_token: Caller) -> None:
    response = Client().generic(
        "POST", "/xds/registry", messages.envelope(namespace=SOAP_11), content_type="text/xml", **by_token.headers
    )
    assert (response.status_code, response.headers["Content-Type"]) == (500, "text/xml; charset=UTF-8")
    assert b"VersionMismatch" in response.content


def test_a_body_that_is_not_valid_is_named_by_its_elements_and_never_by_its_values(by_token: Caller) -> None:
    body = messages.retrieve("1.2.3").replace("2.999.1.2", "Rosamund Quarrel" * 20)
    answer = by_token.post("/xds/repository", messages.envelope(body, echo.RETRIEVE))
    assert answer.code == "soap:Sender"
    assert "RepositoryUniqueId" in answer.reason
    assert "Quarrel" not in answer.data.decode()
    event = AuditEvent.objects.filter(kind="ITI-43").get()
    assert (event.outcome, event.participant) == (4, "org-clinic")


def test_an_object_without_an_id_is_valid() -> None:
    """Spec/xds.md 3: be tolerant of missing ids on receipt."""
    slot = '<rim:Slot name="x"><rim:ValueList><rim:Value>y</rim:Value></rim:ValueList></rim:Slot>'
    text = f'<rim:RegistryPackage xmlns:rim="{actions.RIM}">{slot}</rim:RegistryPackage>'
    assert xds_schema.complaints(etree.fromstring(text)) == []
    assert xds_schema.complaints(etree.fromstring(text.replace("rim:ValueList", "rim:Values")))


def test_remove_documents_takes_one_request_or_several() -> None:
    """ITI-86; IHE's own schema knows one."""
    asked = messages.retrieve("1.2.3", "1.2.4").replace("xds:RetrieveDocumentSetRequest", "rmd:RemoveDocumentsRequest")
    asked = asked.replace(" xmlns:xds=", ' xmlns:rmd="urn:ihe:iti:rmd:2017" xmlns:xds=')
    assert xds_schema.complaints(etree.fromstring(asked)) == []
    without = asked.replace("<xds:RepositoryUniqueId>2.999.1.2</xds:RepositoryUniqueId>", "", 1)
    assert [one.kind for one in xds_schema.complaints(etree.fromstring(without))] == ["SCHEMAV_ELEMENT_CONTENT"]


# --- packages ---------------------------------------------------------------------------------------------------------


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
    content_type = header.pop("CONTENT_TYPE", messages.PLAIN)
    answer = by_token.post("/xds/registry", messages.envelope(), content_type, **header)
    assert (answer.status, answer.code) == (400, "soap:Sender")


# --- who may ----------------------------------------------------------------------------------------------------------


def test_nobody_is_answered_as_nobody_and_stores_nothing(directory: None) -> None:
    answer = Caller().ask()
    assert (answer.status, answer.code) == (400, "soap:Sender/wsse:FailedAuthentication")
    assert answer.response.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.text("s:Header/wsa:RelatesTo") == "urn:uuid:11111111-2222-4333-8444-555555555555"
    for root_at in (0, 1):
        sent = package(pnr(include("d")), part("d", DATA), root_at=root_at)
        assert provide(Caller(), *sent).code == "soap:Sender/wsse:FailedAuthentication"
    assert (stored(), files()) == ((0, 0), [])


def test_of_a_sender_who_is_not_let_in_little_is_read(directory: None) -> None:
    answer = provide(Caller(), pnr(messages.inline(b"x" * 400_000)), messages.PLAIN)
    assert answer.code == "soap:Sender/wsse:FailedAuthentication"


def test_a_token_that_does_not_hold_is_refused_and_audited(directory: None) -> None:
    answer = Caller(token="no.token.atall").ask()
    assert (answer.status, answer.code) == (400, "soap:Sender/wsse:FailedAuthentication")
    assert 'error="invalid_token"' in answer.response.headers["WWW-Authenticate"]
    assert AuditEvent.objects.get(kind="login-failed").face == "soap"


def test_a_transaction_is_open_to_whom_its_scope_is_granted(directory: None) -> None:
    registration.apply(participants(scopes=["ITI-43"]))
    caller = Caller(token=trust.token("org-clinic", scope="ITI-43"))
    answer = caller.ask()
    assert (answer.status, answer.code) == (400, "soap:Sender")
    assert "ITI-18" in answer.reason
    assert AuditEvent.objects.filter(kind="access-refused", outcome=4).count() == 1
    assert caller.post("/xds/repository", messages.envelope(messages.retrieve("1.1"), echo.RETRIEVE)).status == 200
    sent = package(pnr(include("d")), part("d", DATA))
    assert provide(caller, *sent).code == "soap:Sender"
    assert (stored(), files()) == ((0, 0), [])


@pytest.mark.parametrize(
    ("path", "data", "code", "root"),
    [
        ("/xds/registry", messages.envelope(), "XDSRegistryBusy", "AdhocQueryResponse"),
        ("/xds/repository", messages.envelope(messages.retrieve("1.1"), echo.RETRIEVE), "XDSRepositoryBusy", "RetrieveDocumentSetResponse"),
        ("/xds/repository", pnr(messages.inline(DATA)), "XDSRepositoryBusy", "RegistryResponse"),
    ],
)  # fmt: skip
def test_who_asks_too_much_is_told_so_in_the_answer(
    by_token: Caller, settings: Any, path: str, data: bytes, code: str, root: str
) -> None:
    settings.PARTICIPANT_LIMITS = {"rate_per_s": 1, "burst": 1}
    assert by_token.ask().status == 200
    answer = by_token.post(path, data)
    assert answer.status == 200
    assert int(answer.response.headers["Retry-After"]) >= 1
    error = answer.root.find(".//rs:RegistryError", messages.NS)
    assert error.get("errorCode") == code
    assert error.get("location")
    body = answer.root.find("s:Body", messages.NS)[0]
    assert etree.QName(body).localname == root
    assert xds_schema.complaints(body) == []
    assert stored() == (0, 0)


def test_a_transaction_that_has_too_much_to_do_says_so(by_token: Caller) -> None:
    answer = by_token.ask(
        body=messages.STORED_QUERY.replace("urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d", "urn:uuid:busy")
    )
    assert (answer.status, answer.response.headers["Retry-After"]) == (200, "7")
    assert answer.root.find(".//rs:RegistryError", messages.NS).get("errorCode") == "XDSRegistryBusy"


def test_a_request_gives_its_place_back_when_its_answer_is_sent(by_token: Caller, settings: Any) -> None:
    settings.PARTICIPANT_LIMITS = {"rate_per_s": 500, "burst": 1000, "concurrency": 1}
    ask = messages.envelope(messages.retrieve("1.100"), echo.RETRIEVE)
    for _ in range(3):
        assert by_token.post("/xds/repository", ask).parts, "the one before still holds the only place"
    sending = Client().generic("POST", "/xds/repository", ask, content_type=messages.PLAIN, **by_token.headers)
    assert by_token.ask().root.find(".//rs:RegistryError", messages.NS) is not None
    sending.close()
    assert by_token.ask().root.find(".//rs:RegistryError", messages.NS) is None


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/xds/registry", "/xds/repository"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_told_what_is_offered(path: str, method: str) -> None:
    response = Client().generic(method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST, GET")
    assert b"?wsdl" in response.content


@pytest.mark.parametrize("service", ["registry", "repository"])
@pytest.mark.parametrize("query", ["wsdl", "WSDL"])
def test_the_wsdl_names_this_hub_and_imports_schemas_that_are_there(service: str, query: str) -> None:
    response = Client().get(f"/xds/{service}?{query}")
    assert response.headers["Content-Type"] == "text/xml"
    root = etree.fromstring(response.content)
    address = root.find(".//{http://schemas.xmlsoap.org/wsdl/soap12/}address").get("location")
    assert address == f"https://hub.example/xds/{service}"
    offered = getattr(transactions, service.upper())
    said = {element.get("{http://www.w3.org/2007/05/addressing/metadata}Action") for element in root.iter()} - {None}
    assert said == {*offered, *(one.response_action for one in offered.values())}
    fetched: set[str] = set()
    left = root.xpath("//*[local-name()='import']/@schemaLocation")
    while left:
        location = left.pop()
        if location in fetched:
            continue
        fetched.add(location)
        assert location.startswith("https://hub.example/xds/schema/")
        found = Client().get(location.removeprefix("https://hub.example"))
        assert (found.status_code, found.headers["Content-Type"]) == (200, "application/xml")
        folder = location.rpartition("/")[0]
        for inner in etree.fromstring(found.content).xpath("/*/*[local-name()='import']/@schemaLocation"):
            base = folder
            while inner.startswith("../"):
                base, inner = base.rpartition("/")[0], inner[3:]
            left.append(f"{base}/{inner}")
    assert len(fetched) == 7


@pytest.mark.parametrize("path", ["nothing.xsd", "../xds_schema.py", "ebRS30/../../../xds_schema.py", "ebRS30"])
def test_nothing_but_schemas_is_served_beside_the_wsdl(path: str) -> None:
    assert Client().get(f"/xds/schema/{path}").status_code == 404


def test_every_transaction_has_its_number() -> None:
    """What answers here has a scope and a kind of event."""
    assert {*transactions.REGISTRY, *transactions.REPOSITORY} <= set(actions.ITI)


def test_the_envelope_of_the_answer_is_soap_1_2(by_token: Caller) -> None:
    assert by_token.ask().root.tag == f"{{{SOAP}}}Envelope"


def test_a_certificate_that_is_nobodys_is_refused(directory: None) -> None:
    assert Caller(certificate=keys.STRANGER.header).ask().code == "soap:Sender/wsse:FailedAuthentication"
