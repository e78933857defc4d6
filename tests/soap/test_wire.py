"""The wire of the SOAP face: real bytes in, real bytes out, through small transactions that say what reached them."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from lxml import etree

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.faces.soap import actions, transactions
from hie.faces.soap.ebxml import names
from hie.faces.soap.faults import SOAP, SOAP_11, WSA
from hie.standards import xds_schema
from tests.soap import echo, keys, messages
from tests.soap.conftest import DATA, Caller, files, participants, pnr, provide, stored
from tests.soap.messages import include, package, part
from tests.trust import conftest as trust

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


def test_an_action_that_xml_cannot_hold_is_not_supported_either(by_token: Caller) -> None:
    for said in (
        by_token.post("/xds/registry", messages.envelope(action=None), 'application/soap+xml; action="x\x01"'),
        by_token.post("/xds/registry", messages.envelope(action=None), HTTP_SOAPACTION="x\x01"),
    ):
        assert (said.status, said.code) == (400, "soap:Sender/wsa:ActionNotSupported")
        assert said.text(".//s:Detail/wsa:ProblemAction/wsa:Action") == "x\ufffd"


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
    text = f'<rim:RegistryPackage xmlns:rim="{names.RIM}">{slot}</rim:RegistryPackage>'
    assert xds_schema.complaints(etree.fromstring(text)) == []
    assert xds_schema.complaints(etree.fromstring(text.replace("rim:ValueList", "rim:Values")))


def test_another_order_and_an_owner_left_out_lose_nothing_but_what_is_wrong_is_named() -> None:
    name = '<rim:Name><rim:LocalizedString value="XDSSubmissionSet.uniqueId"/></rim:Name>'
    slot = '<rim:Slot name="x"><rim:ValueList><rim:Value>y</rim:Value></rim:ValueList></rim:Slot>'
    held = (
        f'<rim:ExternalIdentifier id="e" identificationScheme="urn:uuid:1" value="1.2">{name}</rim:ExternalIdentifier>'
    )
    text = f'<rim:RegistryPackage xmlns:rim="{names.RIM}" id="a">{held}{name}{slot}</rim:RegistryPackage>'
    assert xds_schema.complaints(etree.fromstring(text)) == []
    (twice,) = xds_schema.complaints(etree.fromstring(text.replace(name + slot, name + name + slot)))
    assert (twice.element, twice.kind) == ("Name", "SCHEMAV_ELEMENT_CONTENT")
    (bare,) = xds_schema.complaints(etree.fromstring(text.replace(' value="1.2"', "")))
    assert (bare.element, bare.kind) == ("ExternalIdentifier", "SCHEMAV_CVC_COMPLEX_TYPE_4")


def test_remove_documents_takes_one_request_or_several() -> None:
    """ITI-86; IHE's own schema knows one."""
    asked = messages.retrieve("1.2.3", "1.2.4").replace("xds:RetrieveDocumentSetRequest", "rmd:RemoveDocumentsRequest")
    asked = asked.replace(" xmlns:xds=", ' xmlns:rmd="urn:ihe:iti:rmd:2017" xmlns:xds=')
    assert xds_schema.complaints(etree.fromstring(asked)) == []
    without = asked.replace("<xds:RepositoryUniqueId>2.999.1.2</xds:RepositoryUniqueId>", "", 1)
    assert [one.kind for one in xds_schema.complaints(etree.fromstring(without))] == ["SCHEMAV_ELEMENT_CONTENT"]


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
    assert b"".join(sending)
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
