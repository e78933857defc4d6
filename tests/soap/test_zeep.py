"""zeep, a client of another maker, with the IHE WSDLs and the hub's own: the transactions without MTOM."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import zeep
from django.test import Client
from lxml import etree
from zeep.transports import Transport

from documents.metadata import ON_DEMAND
from documents.models import DocumentEntry
from documents.stored_query import Kind
from hie.faces.soap.ebxml import names
from patients import queries as index
from tests.conftest import SHARED
from tests.exchange.world import CLINIC_AUTHORITY, exchange
from tests.grounds import ground
from tests.soap import rim, v3, wire, world
from tests.soap.conftest import Answered, Caller
from tests.soap.test_updates import further, versions
from tests.soap.world import APPROVED, cx, entry
from tests.trust import conftest as trust

pytestmark = [pytest.mark.django_db, pytest.mark.shared]
REGISTRY = "https://hub.example/xds/registry"


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@pytest.fixture(autouse=True)
def _real(hub: None, ada_of_the_clinic: None, monkeypatch: pytest.MonkeyPatch) -> None:
    wire.real(monkeypatch)


class ThroughTheHub(Transport):
    """zeep's requests answered by this hub; files of the WSDLs read where they lie."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._headers = {"HTTP_AUTHORIZATION": f"Bearer {token}", "REMOTE_ADDR": "192.0.2.7"}

    def load(self, url: str) -> bytes:
        if not url.startswith("https://hub.example/"):
            return bytes(super().load(url))
        place = urlsplit(url)
        answer = Client().get(f"{place.path}?{place.query}")
        assert answer.status_code == 200, url
        return bytes(answer.content)

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> requests.Response:
        content_type = headers["Content-Type"]
        sent = Client().generic("POST", urlsplit(address).path, message, content_type=content_type, **self._headers)
        answer = requests.Response()
        answer.status_code, answer._content = sent.status_code, sent.content
        answer.headers.update(sent.headers)
        return answer


class Partner:
    """Another maker's system: one client a WSDL, which it calls with values, not with XML."""

    def __init__(self, *, own_wsdl: bool) -> None:
        self._transport = ThroughTheHub(trust.token())
        self._own = own_wsdl

    def call(self, number: int, name: str, listed: etree._Element | None = None, **arguments: Any) -> etree._Element:
        """The body of the answer to the operation whose name ends so; it is valid by the schema."""
        source = f"{REGISTRY}?wsdl" if self._own else str(SHARED / f"spec/wsdl/xds/iti{number}.wsdl")
        client = zeep.Client(source, transport=self._transport, plugins=[Filled(listed)])
        if listed is not None:
            arguments["RegistryObjectList"] = {"Identifiable": []}
        (binding,) = client.wsdl.bindings.values()
        (operation,) = (one for one in binding.all() if str(one).rpartition("_")[2] == name)
        with client.settings(raw_response=True):
            answer = client.create_service(binding.name, REGISTRY)[operation](**arguments)
        root = etree.fromstring(answer.content)
        assert answer.status_code == 200, etree.tostring(root)
        found = root.find("{*}Body")[0]
        rim.check_schema(found)
        return found


class Filled(zeep.Plugin):
    """Puts registry objects into the message that zeep has made: it knows neither slots nor ids of a classification,
    which its schema gives by a type that holds itself.
    """

    def __init__(self, listed: etree._Element | None) -> None:
        self._listed = listed

    def egress(self, envelope: etree._Element, http_headers: Any, operation: Any, binding_options: Any) -> Any:
        if self._listed is not None:
            (place,) = envelope.iter(names.tag(names.RIM, "RegistryObjectList"))
            place.extend(self._listed)
        return envelope, http_headers


class Told(zeep.Plugin):
    """Puts a message of HL7 V3 in the place that zeep has made for it: the WSDLs do not tell its form."""

    def __init__(self, message: etree._Element) -> None:
        self._message = message

    def egress(self, envelope: etree._Element, http_headers: Any, operation: Any, binding_options: Any) -> Any:
        (place,) = envelope.iter(self._message.tag)
        place.attrib.update(self._message.attrib)
        place.extend(self._message)
        return envelope, http_headers


def succeeded(answer: etree._Element) -> bool:
    assert not list(answer.iter("{*}RegistryError")), etree.tostring(answer)
    return answer.get("status", "").endswith(":Success")


def objects(submission: Any) -> etree._Element:
    return world.registration(submission)[0]


def slots_of(values: dict[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "ValueList": {"_value_1": [{"Value": value}]}} for name, value in values.items()]


def find(partner: Partner) -> dict[str, str]:
    """The status of each document of Ada, by UUID."""
    slots = {"$XDSDocumentEntryPatientId": cx(), "$XDSDocumentEntryStatus": world.EVERY_STATUS}
    answer = partner.call(
        18,
        "RegistryStoredQuery",
        ResponseOption={"returnType": "LeafClass", "returnComposedObjects": True},
        AdhocQuery={"id": Kind.FIND_DOCUMENTS, "Slot": slots_of(slots)},
    )
    assert succeeded(answer)
    found = answer.iter(names.tag(names.RIM, "ExtrinsicObject"))
    return {one.get("id", ""): one.get("status", "").rpartition(":")[2] for one in found}


@pytest.mark.parametrize("own_wsdl", [False, True], ids=["the-ihe-wsdls", "the-hubs-wsdl"])
def test_zeep_registers_finds_updates_and_removes(own_wsdl: bool) -> None:
    partner = Partner(own_wsdl=own_wsdl)
    wanted = world.with_uuids(world.submission(entry()))
    (one,) = wanted.entries
    assert succeeded(partner.call(42, "RegisterDocumentSet-b", objects(wanted)))
    assert find(partner) == {one.entry_uuid: "Approved"}

    on_demand = world.submission(entry(object_type=ON_DEMAND, hash=None, size=None, creation_time=None))
    assert succeeded(partner.call(61, "RegisterOnDemandDocumentEntry", objects(on_demand)))
    assert find(partner) == {one.entry_uuid: "Approved"}

    for number, name, title in ((57, "UpdateDocumentSet", "Corrected"), (92, "RestrictedUpdateDocumentSet", "Again")):
        latest = DocumentEntry.objects.filter(unique_id=one.unique_id).order_by("-version")[0]
        newer = versions(further(one, title=title), PreviousVersion=[str(latest.version)])
        assert succeeded(partner.call(number, name, objects(newer)))
        (told,) = find(partner)
        assert DocumentEntry.objects.get(entry_uuid=told.removeprefix("urn:uuid:")).title == title

    refs = [{"ObjectRef": {"id": told}}]
    refused = partner.call(62, "DeleteDocumentSet", ObjectRefList={"_value_1": refs})
    assert {error.get("errorCode") for error in refused.iter("{*}RegistryError")} == {"ReferencesExistException"}


def test_zeep_asks_about_several_patients() -> None:
    wanted = world.with_uuids(world.submission(entry()))
    partner = Partner(own_wsdl=False)
    assert succeeded(partner.call(42, "RegisterDocumentSet-b", objects(wanted)))
    slots = {"$XDSDocumentEntryPatientId": f"({cx()})", "$XDSDocumentEntryStatus": APPROVED}
    answer = partner.call(
        51,
        "MultiPatientStoredQuery",
        ResponseOption={"returnType": "ObjectRef", "returnComposedObjects": True},
        AdhocQuery={"id": "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f", "Slot": slots_of(slots)},
    )
    assert succeeded(answer)
    assert [ref.get("id") for ref in answer.iter("{*}ObjectRef")] == [wanted.entries[0].entry_uuid]


TYPES = {
    "ExtrinsicObject": "ExtrinsicObjectType",
    "RegistryPackage": "RegistryPackageType",
    "Association": "AssociationType1",
    "Classification": "ClassificationType",
}


@pytest.mark.parametrize("general", ["Identifiable", "RegistryObject"])
def test_objects_that_say_what_they_are_by_a_type_are_taken(general: str) -> None:
    """As zeep writes members of a substitution group; a type that is none is refused."""
    system = Caller(token=trust.token(), address="192.0.2.7")

    def sent(types: dict[str, str]) -> Answered:
        body = world.registration(world.submission(entry()))
        for element in body[0]:
            kind = etree.QName(element).localname
            element.tag = names.tag(names.RIM, general)
            element.set("{http://www.w3.org/2001/XMLSchema-instance}type", f"rim:{types[kind]}")
        return wire.asked(system, world.REGISTER, body)

    assert succeeded(sent(TYPES).root.find("{*}Body")[0])
    assert DocumentEntry.objects.count() == 1
    assert sent(TYPES | {"ExtrinsicObject": "NothingType"}).status == 400


@pytest.mark.parametrize("own_wsdl", [False, True], ids=["the-ihe-wsdl", "the-hubs-wsdl"])
def test_zeep_feeds_a_patient_in_hl7_v3(own_wsdl: bool) -> None:
    at = "https://hub.example/pix"
    source = f"{at}?wsdl" if own_wsdl else str(SHARED / "spec/wsdl/hl7v3/iti44/iti44-pix-raw.wsdl")
    for interaction, priors in ((v3.ADD, ()), (v3.REVISE, ()), (v3.RESOLVE, (v3.ii("P1"),))):
        told = Told(etree.fromstring(v3.message(interaction, priors=priors)))
        client = zeep.Client(source, transport=ThroughTheHub(trust.token()), plugins=[told])
        (binding,) = client.wsdl.bindings.values()
        (operation,) = (str(one) for one in binding.all() if str(one).endswith(interaction))
        with client.settings(raw_response=True):
            answer = client.create_service(binding.name, at)[operation]("")
        root = etree.fromstring(answer.content)
        assert answer.status_code == 200, etree.tostring(root)
        (code,) = root.iter("{*}typeCode")
        assert code.get("code") == "CA", etree.tostring(root)
    found = index.source_record(CLINIC_AUTHORITY, "P1")
    assert found is not None
    assert found.replaced_by == (CLINIC_AUTHORITY, "P7")
