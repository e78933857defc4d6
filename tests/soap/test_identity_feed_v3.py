"""Patients fed in HL7 V3 over the wire: added, revised, merged, refused by code, kept and tried again."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from lxml import etree

from documents.metadata import CX
from documents.stored_query import Kind
from hie.audit import atna
from hie.audit import queries as audit
from hie.audit.models import AuditEvent
from hie.audit.values import AuditQuery
from hie.directory import registration
from hie.exchange import feed, why_message
from hie.exchange.models import InboundMessage
from hie.faces.soap import iti44
from hie.faces.soap.ebxml import names as ebxml
from hie.faces.soap.hl7v3 import names, structure
from patients import queries as index
from patients.demographics import SourceRecordView
from patients.models import SourceRecord
from tests import second_factor
from tests.directory.forms import clinic, file, hospital
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY
from tests.grounds import ground
from tests.soap import keys, messages, v3, wire, world
from tests.soap.conftest import PROXY, Caller
from tests.soap.v3 import ADD, RESOLVE, REVISE, acknowledged, ii, message, sent
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db
PASSPORT = "2.999.88.1"
EVENT = "controlActProcess/subject/registrationEvent"
PATIENT = f"{EVENT}/subject1/patient"


@ground
def clinic_and_hospital() -> None:
    """Two participants, the clinic with a certificate."""
    mine = {"default_role": "nurse", "default_purpose": "TREAT", "certificates": [keys.CLINIC.pem]}
    registration.apply(file(clinic(**mine), hospital(users=[])))


@pytest.fixture
def source(hub: None, clinic_and_hospital: None, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """The clinic's patient identity source."""
    wire.real(monkeypatch)
    return Caller(certificate=keys.CLINIC.header)


def record(value: str = "P7") -> SourceRecordView:
    found = index.source_record(CLINIC_AUTHORITY, value)
    assert found is not None
    return found


def test_an_added_patient_is_known_with_all_that_the_message_says(source: Caller) -> None:
    person = (
        v3.PERSON
        + '<maritalStatusCode code="M"/>'
        + f'<asOtherIDs classCode="PAT">{ii("XK-1", PASSPORT)}{ii("123456789", "2.16.840.1.113883.4.1")}'
        + '<scopingOrganization classCode="ORG" determinerCode="INSTANCE"><id root="2.999.88"/></scopingOrganization></asOtherIDs>'
        + '<personalRelationship classCode="PRS"><code code="MTH"/>'
        + '<relationshipHolder1 classCode="PSN" determinerCode="INSTANCE"><name><family>Fenwright</family></name>'
        + "</relationshipHolder1></personalRelationship>"
        + "<birthPlace><addr><city>Port Oster</city></addr></birthPlace>"
        + '<languageCommunication><languageCode code="es"/><preferenceInd value="false"/></languageCommunication>'
        + '<languageCommunication><languageCode code="en-US"/><preferenceInd value="true"/></languageCommunication>'
    )
    twins = '<multipleBirthInd value="true"/><multipleBirthOrderNumber value="2"/>'
    text = message(ADD, person=person.replace("<addr use", f'<deceasedTime value="20260211"/>{twins}<addr use', 1))
    v3.valid(etree.fromstring(text))
    assert acknowledged(sent(source, text)) == ("CA", [])

    said = record().demographics
    (name,), (address,) = said.names, said.addresses
    assert (name.family, name.given, name.use) == ("Quarrel", ("Rosamund", "Ivy"), "official")
    assert (address.lines, address.city, address.state, address.postal_code, address.country, address.use) == (
        ("7 Tern Street",), "Velmoor", "VM", "40129", "US", "home",
    )  # fmt: skip
    assert [(one.system, one.value, one.use) for one in said.telecoms] == [
        ("phone", "+12025550119", "home"), ("email", "rosamund@mail.example", "home"),
    ]  # fmt: skip
    assert (said.birth_date, said.gender, said.marital_status) == ("1971-04-09", "female", "M")
    assert (said.multiple_birth, said.deceased, said.mothers_maiden_name) == (2, "2026-02-11", "Fenwright")
    assert (said.languages, said.birth_place and said.birth_place.city) == (("en-us", "es"), "Port Oster")
    assert {(one.authority, one.value, one.type) for one in said.identifiers} == {
        (CLINIC_AUTHORITY, "P7", ""), (PASSPORT, "XK-1", ""), ("http://hl7.org/fhir/sid/us-ssn", "123456789", "SS"),
    }  # fmt: skip
    event = AuditEvent.objects.get(kind="ITI-44")
    assert (event.outcome, event.participant) == (0, "org-clinic")
    row = InboundMessage.objects.get()
    assert (row.protocol, row.kind, row.status, row.sender) == ("hl7v3", ADD, "accepted", v3.CLINIC_OID)
    assert row.entered_at == datetime(2026, 3, 1, 9, 15, tzinfo=UTC)
    assert b"Quarrel" not in bytes(row.raw)


def test_a_revision_leaves_what_it_does_not_say_and_takes_away_what_it_names(source: Caller) -> None:
    sent(source, message())
    person = f'{v3.NAME.replace("Quarrel", "Quimby")}<telecom updateMode="D" value="tel:+12025550119"/>'
    text = message(REVISE, person=person)
    assert acknowledged(sent(source, text)) == ("CA", [])
    said = record().demographics
    assert (said.names[0].family, said.birth_date, said.gender) == ("Quimby", "1971-04-09", "female")
    assert (said.telecoms, len(said.addresses)) == ((), 1)


def test_how_secret_a_record_is_holds_until_it_is_taken_back(source: Caller) -> None:
    secret = '<confidentialityCode code="R"/><veryImportantPersonCode code="VIP"/>'
    sent(source, message(patient=secret))
    assert record().demographics.protected == ("R", "VIP")
    sent(source, message(REVISE))
    assert record().demographics.protected == ("R", "VIP")
    sent(source, message(REVISE, patient='<confidentialityCode code="N"/><veryImportantPersonCode code="N"/>'))
    assert record().demographics.protected == ()


def test_a_resolved_duplicate_leads_to_the_survivor_and_is_unknown_to_the_registry(source: Caller) -> None:
    sent(source, message(ADD, ii("P7")))
    sent(source, message(ADD, ii("P8")))
    eight = CX(value="P8", authority=CLINIC_AUTHORITY)
    document = world.submission(world.entry(eight), patient=eight)
    assert registered(source, document) == []
    text = message(RESOLVE, ii("P7"), priors=(ii("P8"),))
    v3.valid(etree.fromstring(text))
    assert acknowledged(sent(source, text)) == ("CA", [])
    assert record("P8").replaced_by == (CLINIC_AUTHORITY, "P7")
    # Out of its order: what gave way survives nobody.
    wrong = message(RESOLVE, ii("P8"), priors=(ii("P9"),))
    assert acknowledged(sent(source, wrong)) == ("CE", [("E", "KEY204", "priorRegisteredRole/id")])
    assert index.source_record(CLINIC_AUTHORITY, "P9") is None, "whole or not at all"

    found = wire.asked(source, world.QUERY, asking("P7"))
    assert len(list(found.root.iter(ebxml.tag(ebxml.RIM, "ExtrinsicObject")))) == 1
    again = world.submission(world.entry(eight), patient=eight)
    assert set(registered(source, again)) == {"XDSUnknownPatientId"}


def registered(source: Caller, submission: Any) -> list[str]:
    """The errors of a registration [ITI-42]."""
    answer = wire.asked(source, world.REGISTER, world.registration(submission))
    assert answer.status == 200, answer.reason
    return [one.get("errorCode", "") for one in answer.root.iter("{*}RegistryError")]


def asking(value: str) -> Any:
    patient = f"'{value}^^^&{CLINIC_AUTHORITY}&ISO'"
    slots = {"XDSDocumentEntryPatientId": patient, "XDSDocumentEntryStatus": world.APPROVED}
    return world.asking(Kind.FIND_DOCUMENTS, slots)


def test_a_document_is_provided_for_a_patient_once_he_is_fed(source: Caller, settings: Any) -> None:
    patient = CX(value="P7", authority=CLINIC_AUTHORITY)
    one = world.entry(patient, entry_uuid="Document01", repository_unique_id=None, hash=None, size=None, mime_type="text/plain")  # fmt: skip
    body = etree.Element(ebxml.tag(ebxml.XDS, "ProvideAndRegisterDocumentSetRequest"), nsmap={"xds": ebxml.XDS})
    body.append(world.registration(world.submission(one, patient=patient)))

    def provided() -> set[str]:
        answer = wire.asked(source, world.PROVIDE, body, {one.entry_uuid: b"Dear colleague"})
        return {error.get("errorCode", "") for error in answer.root.iter("{*}RegistryError")}

    assert provided() == {"XDSUnknownPatientId"}
    assert acknowledged(sent(source, message())) == ("CA", [])
    assert provided() == set()
    found = wire.asked(source, world.QUERY, asking("P7"))
    assert len(list(found.root.iter(ebxml.tag(ebxml.RIM, "ExtrinsicObject")))) == 1
    got = wire.asked(source, world.RETRIEVE, world.retrieval((settings.REPOSITORY_UNIQUE_ID, one.unique_id)))
    assert wire.retrieved(got) == {one.unique_id: b"Dear colleague"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(message(ADD, ii("P7", HOSPITAL_AUTHORITY)), ("CR", "KEY204", "patient/id"), id="anothers-domain"),
        pytest.param(message(ADD, ii("P7", "2.999.404")), ("CR", "KEY204", "patient/id"), id="nobodys-domain"),
        pytest.param(
            message(ADD, person=f'{v3.NAME}<asOtherIDs classCode="PAT">{ii("H1", HOSPITAL_AUTHORITY)}</asOtherIDs>'),
            ("CR", "KEY204", "asOtherIDs/id"),
            id="anothers-domain-among-other-ids",
        ),
        pytest.param(message(ADD, '<id nullFlavor="UNK"/>'), ("CE", "SYN101", "patient/id"), id="no-patient-id"),
        pytest.param(
            message(ADD, f'<id root="{CLINIC_AUTHORITY}"/>'), ("CE", "SYN101", "patient/id"), id="no-extension"
        ),
        pytest.param(message(sender="2.999.10.2"), ("CR", "NS260", "device/id"), id="another-sender"),
        pytest.param(
            message(**{'<id root="2.999.10.1"/></device></sender>': '<id nullFlavor="NI"/></device></sender>'}),
            ("CR", "SYN101", "sender/device/id"),
            id="no-sender",
        ),
        pytest.param(
            message(**{'extension="PRPA_IN201301UV02"': 'extension="PRPA_IN201302UV02"'}),
            ("CR", "NS200", "interactionId"),
            id="another-interaction",
        ),
        pytest.param(
            message(**{'value="19710409"': 'value="soon"'}),
            ("CE", "SYN102", "patientPerson/birthTime"),
            id="no-date",
        ),
        pytest.param(
            message(number="1", **{'<id root="2.999.77.1" extension="1"/>': ""}),
            ("CR", "SYN101", "id"),
            id="no-message-id",
        ),
        pytest.param(message(registrationEvent="queryEvent"), ("CE", "SYN101", EVENT), id="no-registration"),
        pytest.param(
            message(**{"</registrationEvent>": "</registrationEvent><registrationEvent/>"}),
            ("CE", "SYN110", EVENT),
            id="two-registrations",
        ),
        pytest.param(
            message(REVISE, priors=(ii("P8"),)), ("CE", "NS200", "replacementOf"), id="replacement-in-a-revision"
        ),
        pytest.param(message(RESOLVE), ("CE", "SYN101", "replacementOf"), id="nobody-replaced"),
        pytest.param(
            message(RESOLVE, priors=('<id nullFlavor="UNK"/>',)),
            ("CE", "SYN101", "priorRegisteredRole/id"),
            id="replaced-without-id",
        ),
        pytest.param(
            message(RESOLVE, priors=(ii("P8", HOSPITAL_AUTHORITY),)),
            ("CR", "KEY204", "priorRegisteredRole/id"),
            id="another-s-is-replaced",
        ),
    ],
)
def test_each_fault_has_its_code_and_place_and_changes_nothing(
    source: Caller, text: str, expected: tuple[str, str, str]
) -> None:
    code, *detail = expected
    answer = sent(source, text)
    assert acknowledged(answer) == (code, [("E", *detail)])
    assert "Quarrel" not in answer.data.decode()
    row = InboundMessage.objects.get()
    assert (row.status, row.error_code, row.error_element) == ("refused", *detail)
    assert SourceRecord.objects.count() == 0


NEEDED = (
    "sender", "sender/device", "controlActProcess", "controlActProcess/subject", EVENT, f"{EVENT}/subject1", PATIENT,
    f"{PATIENT}/id", f"{PATIENT}/patientPerson", "creationTime",
)  # fmt: skip
USUAL = (
    "processingCode", "processingModeCode", "acceptAckCode", "interactionId", "receiver", "receiver/device",
    f"{EVENT}/statusCode", f"{EVENT}/custodian", f"{EVENT}/custodian/assignedEntity", f"{PATIENT}/statusCode",
    f"{PATIENT}/patientPerson/name", f"{PATIENT}/providerOrganization",
)  # fmt: skip


def without(place: str) -> str:
    """A message that lacks one element, and is by that no message of HL7's schema."""
    root = etree.fromstring(message())
    v3.valid(root)
    gone = root.find(names.path(place))
    assert gone is not None
    gone.getparent().remove(gone)
    with pytest.raises(etree.DocumentInvalid):
        v3.valid(root)
    return etree.tostring(root).decode()


@pytest.mark.parametrize("place", NEEDED)
def test_an_element_that_a_message_must_have_is_named_by_its_path(source: Caller, place: str) -> None:
    code = "CE" if place.startswith("controlActProcess/") else "CR"
    assert acknowledged(sent(source, without(place))) == (code, [("E", "SYN101", place)])
    assert SourceRecord.objects.count() == 0


@pytest.mark.parametrize("place", USUAL)
def test_an_element_on_which_nothing_rests_is_missed_and_the_message_taken(source: Caller, place: str) -> None:
    assert acknowledged(sent(source, without(place))) == ("CA", [("W", "SYN101", place)])
    assert SourceRecord.objects.count() == 1


@pytest.mark.parametrize(
    "place",
    ["id", "sender", "controlActProcess", EVENT, f"{EVENT}/subject1", PATIENT, f"{PATIENT}/patientPerson",
     f"{PATIENT}/patientPerson/birthTime", f"{PATIENT}/patientPerson/administrativeGenderCode"],
)  # fmt: skip
def test_an_element_that_stands_twice_is_named_by_its_path(source: Caller, place: str) -> None:
    root = etree.fromstring(message())
    found = root.find(names.path(place))
    assert found is not None
    found.addnext(copy.deepcopy(found))
    code, details = acknowledged(sent(source, etree.tostring(root).decode()))
    assert code == ("CE" if place.startswith("controlActProcess/") else "CR")
    assert ("E", "SYN110", place) in details
    assert SourceRecord.objects.count() == 0


def test_everything_wrong_with_the_form_is_told_at_once(source: Caller) -> None:
    root = etree.fromstring(message())
    wanted = ["creationTime", "sender/device/id", f"{PATIENT}/id"]
    for place in wanted:
        gone = root.find(names.path(place))
        gone.getparent().remove(gone)
    code, details = acknowledged(sent(source, etree.tostring(root).decode()))
    assert code == "CR"
    assert details == [("E", "SYN101", place) for place in wanted]


@pytest.mark.shared
def test_a_message_of_another_toolkit_has_the_form_that_is_asked_for(settings: Any) -> None:
    sample = settings.SHARED_DIR / "data/xds/ipf-pixpdqv3/PIXv3_FEED_REG_Maximal_Request.xml"
    assert list(structure.problems(etree.parse(str(sample)).getroot())) == []


# -- the order of messages ------------------------------------------------------------------------------------------


def test_an_older_message_that_comes_late_changes_nothing_and_is_said_so(source: Caller) -> None:
    sent(source, message(created="20260301120000+0100"))
    newer = message(REVISE, person=v3.PERSON.replace("Velmoor", "Port Oster"), created="20260302080000+0000")
    assert acknowledged(sent(source, newer)) == ("CA", [])
    late = message(REVISE, person=v3.PERSON.replace("Velmoor", "Old Quay"), created="20260302085959+0100")
    assert acknowledged(sent(source, late)) == ("CA", [("W", "", "creationTime")])
    assert [one.city for one in record().demographics.addresses] == ["Port Oster"]
    again = message(REVISE, person=v3.PERSON.replace("Velmoor", "New Quay"), created="20260302090000+0100")
    assert acknowledged(sent(source, again)) == ("CA", []), "of one moment the later to come counts"
    assert [one.city for one in record().demographics.addresses] == ["New Quay"]
    events = AuditEvent.objects.filter(kind="ITI-44").order_by("pk")
    assert [event.outcome for event in events] == [0, 0, 0, 0], "the late one is in the log of the patient too"


def test_a_clock_that_runs_ahead_does_not_make_what_follows_old(source: Caller) -> None:
    sent(source, message(created="20990101000000+0000"))
    now = datetime.now(UTC) + timedelta(minutes=1)
    person = v3.PERSON.replace("Velmoor", "Port Oster")
    assert acknowledged(sent(source, message(REVISE, person=person, created=f"{now:%Y%m%d%H%M%S}+0000"))) == ("CA", [])
    assert [one.city for one in record().demographics.addresses] == ["Port Oster"]


def test_another_person_under_a_known_identifier_is_kept_aside_and_said_so(source: Caller) -> None:
    sent(source, message())
    other = "<name><family>Oduya</family><given>Tobias</given></name>"
    text = message(REVISE, person=f'{other}<administrativeGenderCode code="M"/><birthTime value="19480130"/>')
    assert acknowledged(sent(source, text)) == ("CA", [("W", "KEY205", "patient/id")])
    assert record().demographics.names[0].family == "Quarrel"


def test_the_same_message_is_answered_once(source: Caller) -> None:
    text = message()
    first, second = sent(source, text), sent(source, text)
    acks = [answer.root.find(".//{urn:hl7-org:v3}MCCI_IN000002UV01/{urn:hl7-org:v3}id").get("root") for answer in (first, second)]  # fmt: skip
    assert acks[0] == acks[1]
    row = InboundMessage.objects.get()
    assert (row.attempts, record().version) == (1, 1)
    assert AuditEvent.objects.filter(kind="ITI-44").count() == 1


def test_a_refused_message_is_tried_again_by_an_administrator(source: Caller, settings: Any) -> None:
    registration.apply(file(clinic(assigning_authority="2.999.10.1.5", certificates=[keys.CLINIC.pem])))
    text = message()
    assert acknowledged(sent(source, text))[0] == "CR"
    registration.apply(file(clinic(certificates=[keys.CLINIC.pem])))
    settings.ROOT_URLCONF = "hie.urls"
    user = User.objects.create_user("ida", is_staff=True, is_superuser=True)
    desk = second_factor.sign_in(user, Client(REMOTE_ADDR=PROXY))
    row = InboundMessage.objects.get()
    page = "/admin/exchange/inboundmessage/replay/"
    ahead = desk.post(page, {"act": "look", "of": [str(row.pk)], "reason": "registered now"})
    assert [one.came.value for one in ahead.context_data["ahead"].messages] == ["accepted"]
    shown = ahead.context_data["ahead"]
    assert index.source_record(CLINIC_AUTHORITY, "P7") is None, "it only looked"
    form = {"act": "try", "run": str(shown.run), "reason": "registered now", "looked": shown.reason, "of": [str(row.pk)], "message": [str(row.pk)]}  # fmt: skip
    assert desk.post(page, form).status_code == 302
    row.refresh_from_db()
    assert (row.status, row.attempts, record().demographics.names[0].family) == ("accepted", 2, "Quarrel")
    assert AuditEvent.objects.filter(kind="message-replayed").count() == 1


def test_the_desk_says_why_a_message_was_refused_and_names_nobody(source: Caller, settings: Any) -> None:
    sent(source, message(ADD, ii("P7", HOSPITAL_AUTHORITY)))
    settings.ROOT_URLCONF = "hie.urls"
    desk = second_factor.sign_in(User.objects.create_user("ida", is_staff=True, is_superuser=True))
    shown = desk.get(f"/admin/exchange/inboundmessage/{InboundMessage.objects.get().pk}/change/").content.decode()
    assert "Message can be read" in shown
    assert "Identifier is of your own domain" in shown
    assert "Register what is named with the organization that sends it" in shown
    assert "Quarrel" not in shown
    registered = why_message.missing("", "org-clinic", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)).why.steps[1]  # fmt: skip
    assert (registered.sign, "HL7 V3" in registered.found) == ("open", True)


def test_a_crash_is_answered_with_an_incident_and_can_be_sent_again(
    source: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = message()
    with monkeypatch.context() as broken:
        broken.setattr(feed, "apply", lambda *_, **__: 1 / 0)
        answer = sent(source, text)
    assert acknowledged(answer) == ("CE", [("E", "INTERR", "")])
    assert "division" not in answer.data.decode()
    assert InboundMessage.objects.get().status == "failed"
    assert acknowledged(sent(source, text)) == ("CA", [])
    assert InboundMessage.objects.get().attempts == 2


def test_only_who_is_known_and_may_feed_gets_in(source: Caller) -> None:
    refused = sent(Caller(), message())
    assert (refused.status, refused.code) == (400, "soap:Sender/wsse:FailedAuthentication")
    reader = Caller(token=trust.token(scope="system/DocumentReference.rs"), address="192.0.2.7")
    refused = sent(reader, message())
    assert (refused.status, refused.code) == (400, "soap:Sender")
    assert InboundMessage.objects.count() == 0
    feeder = Caller(token=trust.token(), address="192.0.2.7")
    text = message(sender="2.999.77.9")
    assert acknowledged(sent(feeder, text)) == ("CA", []), "a device that nobody registered says nothing"
    (event,) = audit.search(AuditQuery(kinds=("ITI-44",))).events
    assert event.user == "Practitioner/ada"
    told = atna.message(event, base_url="https://hub.example", site="2.999.1.1", repository_unique_id="")
    assert b'UserID="https://hub.example/pix"' in told


def test_an_assertion_says_who_feeds_beside_a_certificate_and_beside_a_token(source: Caller) -> None:
    registration.apply(
        file(clinic(certificates=[keys.CLINIC.pem], default_role="nurse", default_purpose="TREAT"), hospital(users=[]))
    )
    said = keys.security(keys.sign(keys.assertion(audience="https://hub.example/pix")))
    assert acknowledged(sent(source, message(), more=said)) == ("CA", [])
    token = Caller(token=trust.token("org-clinic", extensions={}), address="192.0.2.7")
    said = keys.security(keys.sign(keys.assertion()))
    assert acknowledged(sent(token, message(REVISE), more=said)) == ("CA", [])
    events = audit.search(AuditQuery(kinds=("ITI-44",))).events
    assert [event.user for event in events] == ["Practitioner/ada", "Practitioner/ada"]
    assert sent(Caller(), message(), more=said).code == "soap:Sender/wsse:FailedAuthentication"
    late = keys.security(keys.sign(keys.assertion(not_on_or_after=keys.instant(minutes=-1))))
    assert sent(source, message(), more=late).code == "soap:Sender/wsse:InvalidSecurityToken"
    assert InboundMessage.objects.count() == 2


def test_a_certificate_is_that_of_the_node_and_a_forged_header_is_none(source: Caller) -> None:
    assert acknowledged(sent(source, message())) == ("CA", [])
    (event,) = audit.search(AuditQuery(kinds=("ITI-44",))).events
    assert event.user == "Device/org-clinic"
    forged = Caller(certificate=keys.CLINIC.header, address="192.0.2.7")
    assert sent(forged, message()).code == "soap:Sender/wsse:FailedAuthentication"


def test_the_wire_is_that_of_the_registry(source: Caller) -> None:
    hidden = '<!DOCTYPE x [<!ENTITY e "y">]>'
    data = messages.envelope(message(), f"urn:hl7-org:v3:{ADD}", head=hidden)
    assert source.post("/pix", data).code == "soap:Sender"
    must = '<x:Odd xmlns:x="urn:x" s:mustUnderstand="1"/>'
    assert sent(source, message(), more=must).code == "soap:MustUnderstand"
    answer = source.post("/pix", messages.envelope())
    assert answer.code == "soap:Sender/wsa:ActionNotSupported"
    long = sent(source, message(patient=f"<x>{'x' * iti44.LONGEST}</x>"))
    assert (long.code, InboundMessage.objects.count()) == ("soap:Sender", 0)
    answer = sent(source, message())
    assert answer.text("/s:Envelope/s:Header/wsa:Action") == "urn:hl7-org:v3:MCCI_IN000002UV01"
    assert answer.text("/s:Envelope/s:Header/wsa:RelatesTo") == "urn:uuid:11111111-2222-4333-8444-555555555555"
    wsdl = etree.fromstring(Client().get("/pix?wsdl").content)
    said = {one.get("{http://www.w3.org/2007/05/addressing/metadata}Action") for one in wsdl.iter()} - {None}
    assert said == {f"urn:hl7-org:v3:{name}" for name in (ADD, REVISE, RESOLVE, "MCCI_IN000002UV01")}
    address = wsdl.find(".//{http://schemas.xmlsoap.org/wsdl/soap12/}address")
    assert address is not None
    assert address.get("location") == "https://hub.example/pix"
