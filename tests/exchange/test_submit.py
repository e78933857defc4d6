"""Publishing through the exchange: real documents, hostile bytes, wrong patients, doubts, labels, audit."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consent import directives
from documents import queries, repository
from documents.errors import (
    ContentMismatch,
    DeprecatedTarget,
    HashMismatch,
    InvalidAttribute,
    MissingDocument,
    NonIdenticalHash,
    SizeMismatch,
    SubmissionRefused,
    UniqueIdDiffers,
    UnknownCode,
    UnknownPatientId,
    UnresolvedReference,
    WrongPatient,
)
from documents.metadata import CX, AssociationType, CodedValue, EntryMetadata, MetadataLevel, Status, Submission
from documents.models import Binary, DocumentEntry, SubmissionSet
from hie.audit.kinds import EventType
from hie.audit.models import AuditEvent as Event
from hie.audit.values import AuditQuery
from hie.directory import registration
from hie.exchange import audit_search, feed, named_patients, submit
from hie.exchange.errors import AccessRefused
from hie.exchange.named_patients import PatientNamed
from hie.outbox.models import OutboxMessage
from hie.standards import cda, oids
from hie.standards.demographics import Demographics, HumanName, Identifier
from hie.standards.errors import HubError, MalformedContent
from hie.standards.facts import Caller
from hie.terminology import affinity_domain
from hie.terminology.models import CodeSet
from patients import identifiers
from tests.directory.forms import file, hospital
from tests.documents import samples
from tests.documents.cda_samples import clinical_document
from tests.exchange.releasing import PATIENT, choice
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, caller, exchange, hospital_caller
from tests.grounds import ground

pytestmark = pytest.mark.django_db
DATA = Path(os.environ.get("HIE_SHARED", "../shared")) / "data"
CCDA = CodedValue(
    code="urn:hl7-org:sdwg:ccda-structuredBody:2.1", scheme="urn:oid:1.3.6.1.4.1.19376.1.2.3", display="C-CDA"
)
ADA = CX(value="P1", authority=CLINIC_AUTHORITY)


@ground
def ada_at_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    feed_patient("P1")


@pytest.fixture(autouse=True)
def _world(ada_at_the_clinic: None, settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def feed_patient(local_id: str, **changes: Any) -> CX:
    """Ada Moor, or whoever the changes make of her, fed by the clinic."""
    values: dict[str, Any] = {
        "names": (HumanName(family="Moor", given=("Ada", "Maria")),),
        "birth_date": "1970-05-01",
        "gender": "female",
        "identifiers": (Identifier(system=f"urn:oid:{CLINIC_AUTHORITY}", value=local_id),),
    }
    demographics = Demographics(**values | changes)
    feed.feed(feed.Revision(authority=CLINIC_AUTHORITY, value=local_id, demographics=demographics), caller())
    return CX(value=local_id, authority=CLINIC_AUTHORITY)


def prepared(content: bytes, *, who: Caller | None = None, patient: CX = ADA, **changes: Any) -> Submission:
    """A submission of one staged document of the patient."""
    values: dict[str, Any] = {"patient_id": patient, "source_patient_id": patient}
    entry = samples.entry(**values | changes)
    staged = submit.stage(content, entry.mime_type, who or caller())
    return samples.submission(entry, contents={entry.entry_uuid: staged.id}, patient_id=patient)


def publish(content: bytes, **changes: Any) -> queries.EntryRow:
    """The registered entry of one document."""
    wanted = prepared(content, **changes)
    receipt = submit.submit(wanted, changes.get("who") or caller())
    row = queries.entry(receipt.entry_uuids[0])
    assert row is not None
    return row


def refused(content: bytes, **changes: Any) -> HubError:
    """The one problem that publishing this meets."""
    wanted = prepared(content, **changes)
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(wanted, changes.get("who") or caller())
    assert len(caught.value.problems) == 1, caught.value.problems
    assert not DocumentEntry.objects.exists()
    return caught.value.problems[0]


def cda_changes(**changes: Any) -> dict[str, Any]:
    return {"mime_type": "text/xml", "format_code": CCDA, "unique_id": "2.999.5^doc1"} | changes


# -- real documents -----------------------------------------------------------------------------

GENDER = {"M": "male", "F": "female"}


def patient_of(header: cda.CdaHeader | None, number: str) -> CX:
    """Feed the patient that the header names, under an identifier of the clinic."""
    if header is None:
        return feed_patient(f"S{number}")
    return feed_patient(
        f"S{number}", names=header.names, birth_date=header.birth_date, gender=GENDER.get(header.gender, "unknown")
    )


@pytest.mark.shared
def test_the_sample_documents_are_accepted_and_come_back_byte_for_byte_but_the_three_broken_ones() -> None:
    accepted, turned_away = 0, {}
    for path in sorted((DATA / "cda").glob("*.xml")):
        content = path.read_bytes()
        try:
            header = cda.header(content)
        except HubError:
            header = None
        patient = patient_of(header, path.name[:3])
        unique_id = header.unique_id if header else oids.new()
        if DocumentEntry.objects.filter(unique_id=unique_id).exists():
            DocumentEntry.objects.filter(unique_id=unique_id).update(unique_id=oids.new())
        wanted = prepared(content, patient=patient, unique_id=unique_id, mime_type="text/xml", format_code=CCDA)
        try:
            receipt = submit.submit(wanted, caller())
        except SubmissionRefused as error:
            turned_away[path.name[:3]] = type(error.problems[0])
            continue
        row = queries.entry(receipt.entry_uuids[0])
        assert row is not None
        assert row.binary_id is not None
        assert repository.open(row.binary_id).read_all() == content
        assert row.metadata.hash == hashlib.sha1(content).hexdigest()
        assert not row.restricted, (path.name, receipt.warnings)
        accepted += 1
    assert turned_away == {"031": ContentMismatch, "032": ContentMismatch, "036": MalformedContent}
    assert accepted == 40


MEDIA = {
    ".dcm": "application/dicom", ".wav": "audio/wav", ".jpg": "image/jpeg", ".pdf": "application/pdf",
    ".ZIP": "application/zip", ".txt": "text/plain",
}  # fmt: skip


@pytest.mark.shared
def test_every_sample_of_other_media_is_accepted_and_comes_back_byte_for_byte() -> None:
    files = [path for path in sorted((DATA / "media").iterdir()) if path.suffix in MEDIA]
    for path in files:
        content = path.read_bytes()
        row = publish(content, mime_type=MEDIA[path.suffix])
        assert row.binary_id is not None
        assert repository.open(row.binary_id).read_all() == content
        assert row.labelled
    assert len(files) == 14


# -- content ------------------------------------------------------------------------------------

GOOD = clinical_document()
HOSTILE = [
    pytest.param(GOOD.replace(b"?>", b'?><!DOCTYPE a [<!ENTITY x "y">]>', 1), "DOCTYPE", id="doctype"),
    pytest.param(gzip.compress(GOOD), "not a CDA", id="gzip"),
    pytest.param(GOOD.replace(b"Summary\n", b"Sum\x00mary\n"), "NUL", id="nul"),
    pytest.param(GOOD[:-40], "not well-formed", id="cut-off"),
    pytest.param(GOOD.replace(b"<entry>", b"<entry>" + b"<act>" * 300 + b"</act>" * 300), "nested", id="deep"),
    pytest.param(GOOD.replace(b'encoding="UTF-8"', b'encoding="UTF-7"'), "encoding", id="utf-7"),
    pytest.param(GOOD.replace(b"Eve", b"\xc3\x28"), "not well-formed", id="not-utf-8"),
    pytest.param(b"<section/>", "ClinicalDocument", id="fragment"),
    pytest.param(b"%PDF-1.4 ...", "not a CDA", id="pdf"),
    pytest.param(b"", "empty", id="nothing"),
]


@pytest.mark.parametrize(("content", "says"), HOSTILE)
def test_bytes_that_are_no_acceptable_cda_are_refused_with_a_word(content: bytes, says: str) -> None:
    problem = refused(content, **cda_changes())
    assert says in str(problem)
    assert problem.element is not None
    assert problem.element.startswith("DocumentEntry[")


@pytest.mark.parametrize(
    ("content", "mime_type", "attribute"),
    [
        (b"hello", "application/pdf", "mimeType"),
        (b"%PDF-1.4", "text/plain", "mimeType"),
        (GOOD, "application/pdf", "mimeType"),
        (gzip.compress(GOOD), "text/xml", "mimeType"),
        (b"<recordTarget><patientRole/></recordTarget>", "text/xml", "content"),
        (b"<a><b></a>", "application/xml", "content"),
        (b'{"a": ', "application/fhir+json", "content"),
        (b"<a/>", "application/fhir+json", "mimeType"),
    ],
)
def test_content_of_another_kind_than_stated_is_refused(content: bytes, mime_type: str, attribute: str) -> None:
    problem = refused(content, mime_type=mime_type)
    assert isinstance(problem, ContentMismatch | MalformedContent)
    assert problem.element is not None
    assert problem.element.endswith(f".{attribute}")


@pytest.mark.parametrize(
    ("content", "mime_type"),
    [
        (b"<a><b/></a>", "application/xml"),
        (b'{"resourceType": "Bundle", "type": "document"}', "application/fhir+json"),
        (b"\x00\x01", "application/octet-stream"),
        (b"MSH|^~\\&|", "x-application/hl7-v2+er7"),
    ],
)
def test_content_of_the_stated_kind_is_accepted(content: bytes, mime_type: str) -> None:
    assert publish(content, mime_type=mime_type).metadata.size == len(content)


def test_a_clinical_document_is_recognised_whatever_its_media_type_is_called() -> None:
    of_another = clinical_document(name="<given>Bob</given><family>Stone</family>", birth="19550707")
    assert isinstance(refused(of_another, mime_type="text/plain", unique_id="2.999.7.1"), WrongPatient)


@pytest.mark.parametrize(
    ("changes", "kind", "attribute"),
    [({"hash": "0" * 40}, HashMismatch, "hash"), ({"size": 3}, SizeMismatch, "size")],
)
def test_stated_hash_and_size_are_those_of_the_bytes(changes: dict[str, Any], kind: type, attribute: str) -> None:
    problem = refused(b"hello", **changes)
    assert type(problem) is kind
    assert problem.element is not None
    assert problem.element.endswith(attribute)


def test_a_stated_hash_is_compared_ignoring_case() -> None:
    digest = hashlib.sha1(b"hello").hexdigest()
    assert publish(b"hello", hash=digest.upper(), size=5).metadata.hash == digest


def test_bytes_of_another_participant_or_of_nobody_are_missing() -> None:
    wanted = prepared(b"hello", who=hospital_caller())
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(wanted, caller())
    assert [type(p) for p in caught.value.problems] == [MissingDocument]


def test_staging_needs_a_media_type_and_an_active_participant() -> None:
    with pytest.raises(InvalidAttribute):
        submit.stage(b"x", "nonsense", caller())
    with pytest.raises(AccessRefused):
        submit.stage(b"x", "text/plain", caller(organization_id="org-nobody"))
    assert not Binary.objects.exists()


def test_the_limit_on_bytes_is_told(settings: Any) -> None:
    settings.DOCUMENT_MAX_SIZE = 4
    assert submit.max_size() == 4
    with pytest.raises(HubError, match="4 bytes"):
        submit.stage(b"12345", "text/plain", caller())


# -- header -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "unique_id",
    ["2.999.5^doc1", "urn:oid:2.999.5^doc1", "doc1^^^&2.999.5&ISO"],
)
def test_the_documents_own_id_is_the_unique_id_in_any_spelling(unique_id: str) -> None:
    assert not publish(GOOD, **cda_changes(unique_id=unique_id)).restricted


def test_another_unique_id_is_refused_unless_the_deployment_only_doubts_it(settings: Any) -> None:
    problem = refused(GOOD, **cda_changes(unique_id="2.999.5^doc2"))
    assert isinstance(problem, UniqueIdDiffers)
    assert problem.element is not None
    assert problem.element.endswith(".uniqueId")
    settings.UNIQUE_ID_CHECK = "doubt"
    assert publish(GOOD, **cda_changes(unique_id="2.999.5^doc2")).restricted


def test_a_format_that_says_no_more_than_the_media_type_does_not_bind_the_unique_id() -> None:
    sufficient = CodedValue(
        code="urn:ihe:iti:xds:2017:mimeTypeSufficient", scheme="1.3.6.1.4.1.19376.1.2.3", display="mimeType Sufficient"
    )
    assert not publish(GOOD, **cda_changes(unique_id="2.999.5^doc2", format_code=sufficient)).restricted


@pytest.mark.parametrize("extension", ["an id with blanks", "0123456789abcdef0123456789abcdef"])
def test_an_id_that_xds_cannot_carry_may_be_replaced(extension: str) -> None:
    document = clinical_document(extension=extension)
    assert not publish(document, **cda_changes(unique_id="2.999.7.77")).restricted


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"name": "<given>Bob</given><family>Stone</family>", "birth": "19550707"}, id="all-differs"),
        pytest.param({"name": "<given>Zoe</given><family>Moor</family>", "birth": "20010101"}, id="a-relative"),
        pytest.param(
            {"name": "<given>Bob</given><family>Stone</family>", "birth": "", "gender": "M"}, id="name-and-gender"
        ),
    ],
)
def test_a_document_about_somebody_else_is_refused(changes: dict[str, str]) -> None:
    problem = refused(clinical_document(**changes), **cda_changes())
    assert isinstance(problem, WrongPatient)
    assert problem.element is not None
    assert problem.element.endswith(".patientId")
    assert "Stone" not in str(problem)


def test_an_identifier_that_the_index_knows_as_another_persons_is_refused() -> None:
    feed_patient("P2", names=(HumanName(family="Stone", given=("Bob",)),), birth_date="1955-07-07", gender="male")
    document = clinical_document(patient=f'<id root="{CLINIC_AUTHORITY}" extension="P2"/>')
    assert isinstance(refused(document, **cda_changes()), WrongPatient)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "<given>Zoe</given><family>Moor</family>"}, "given-name-differs"),
        ({"birth": "19710909"}, "birth-date-differs"),
        ({"birth": "19700105"}, "birth-date-nearly-equal"),
        ({"gender": "M"}, "gender-differs"),
        ({"confidentiality": "X"}, "confidentiality-unknown"),
    ],
)
def test_a_doubtful_document_is_kept_restricted_for_review(changes: dict[str, str], reason: str) -> None:
    wanted = prepared(clinical_document(**changes), **cda_changes())
    receipt = submit.submit(wanted, caller())
    assert reason in receipt.warnings[0]
    row = queries.entry(receipt.entry_uuids[0])
    assert row is not None
    assert (row.restricted, row.confidentiality) == (True, "R")
    assert [review.reasons for review in queries.open_reviews()] == [(reason,)]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"name": "<given>Ada</given><family>Northcliffe</family>"}, id="changed-family-name"),
        pytest.param({"name": "<family>Ada</family><given>Moor</given>"}, id="swapped"),
        pytest.param({"name": "<given>A.</given><family>MOOR</family>"}, id="initial"),
        pytest.param({"birth": "1970"}, id="year-only"),
        pytest.param({"name": ""}, id="no-name"),
        pytest.param({"gender": "asdf"}, id="impossible-gender"),
    ],
)
def test_what_an_ordinary_life_explains_is_no_doubt(changes: dict[str, str]) -> None:
    assert not publish(clinical_document(**changes), **cda_changes()).restricted


# -- labels and codes ---------------------------------------------------------------------------


def test_codes_in_the_content_set_labels_with_the_rule_that_did() -> None:
    row = publish(GOOD, **cda_changes())  # 86406008: HIV
    facts = row.facts("p")
    assert "HIV" in facts.labels
    assert (facts.confidentiality, facts.labelled) == ("R", True)
    assignment = DocumentEntry.objects.get().label_assignments.get(label="HIV")
    assert assignment.rule
    assert assignment.rule_version


def test_an_entry_whose_bytes_are_elsewhere_stays_unlabelled() -> None:
    entry = samples.entry(patient_id=ADA, source_patient_id=ADA, hash="0" * 40, size=1)
    receipt = submit.submit(samples.submission(entry, patient_id=ADA), caller())
    row = queries.entry(receipt.entry_uuids[0])
    assert row is not None
    assert (row.labelled, row.binary_id) == (False, None)


def test_letters_and_labels_that_nobody_knows_are_refused() -> None:
    for scheme, value in ((samples.CONFIDENTIALITY, "X"), (submit.ACT_CODE, "SECRETISH")):
        problem = refused(b"hello", confidentiality_codes=(samples.code(value, scheme),))
        assert isinstance(problem, UnknownCode)


def test_the_affinity_domain_refuses_warns_or_stays_silent() -> None:
    affinity_domain.load(
        b'<Codes><CodeType name="classCode"><Code code="A" codingScheme="2.999.9" display="a"/></CodeType></Codes>',
        source="test",
    )
    wanted = prepared(b"hello")
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(wanted, caller())
    assert [type(p) for p in caught.value.problems] == [UnknownCode]
    publish(b"hello", class_code=samples.code("A", "urn:oid:2.999.9"))
    CodeSet.objects.update(mode=CodeSet.Mode.WARN)
    assert "classCode" in submit.submit(wanted, caller()).warnings[0]
    CodeSet.objects.update(mode=CodeSet.Mode.OFF)
    assert submit.submit(prepared(b"again"), caller()).warnings == ()


# -- who, whom and what is left behind ----------------------------------------------------------


def test_an_unknown_patient_is_refused_by_name_of_the_attribute() -> None:
    stranger = CX(value="nobody", authority=CLINIC_AUTHORITY)
    problem_elements = []
    wanted = prepared(b"hello", patient=stranger)
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(wanted, caller())
    problem_elements = [(type(p), p.element) for p in caught.value.problems]
    assert problem_elements == [(UnknownPatientId, f"SubmissionSet[{wanted.submission_set.entry_uuid}].patientId")]


def test_only_a_participant_for_itself_may_publish() -> None:
    wanted = prepared(b"hello")
    with pytest.raises(AccessRefused):
        submit.submit(wanted, caller(), custodian="org-hospital")
    with pytest.raises(AccessRefused):
        submit.submit(wanted, caller(participant_id="org-nobody", organization_id="org-nobody"))
    assert not SubmissionSet.objects.exists()


def test_a_submission_leaves_one_event_and_one_notice_in_its_transaction() -> None:
    before = Event.objects.count()
    wanted = prepared(b"hello")
    receipt = submit.submit(wanted, caller())
    events = list(Event.objects.order_by("at")[before:])
    assert [(e.kind, e.outcome) for e in events] == [("stage-content", 0), ("ITI-65", 0)]
    assert events[-1].detail["submission_set"] == receipt.submission_set_uuid
    assert events[-1].person_id is not None
    notice = OutboxMessage.objects.get(topic="documents")
    assert notice.payload["entries"] == list(receipt.entry_uuids)


def test_a_refusal_is_recorded_and_nothing_announced() -> None:
    refused(b"hello", size=3)
    event = Event.objects.order_by("at").last()
    assert event is not None
    assert (event.kind, event.outcome) == ("ITI-65", 4)
    assert not OutboxMessage.objects.filter(topic="documents").exists()


def test_a_replacement_supersedes_and_the_next_one_is_refused() -> None:
    old = publish(b"first")

    def replacing() -> Submission:
        wanted = prepared(b"second")
        own = wanted.entries[0].entry_uuid
        return replace(
            wanted,
            associations=(*wanted.associations, samples.relation(AssociationType.RPLC, own, old.entry_uuid)),
        )

    receipt = submit.submit(replacing(), caller())
    assert receipt.deprecated == (old.entry_uuid,)
    assert queries.entry(old.entry_uuid).metadata.availability_status == Status.DEPRECATED  # type: ignore[union-attr]  # just published
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(replacing(), caller())
    assert [type(p) for p in caught.value.problems] == [DeprecatedTarget]


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        pytest.param(hospital_caller(), True, id="may-read-it"),
        pytest.param(hospital_caller(role=None, purpose=None), False, id="may-read-nothing"),
    ],
)
def test_a_target_that_the_submitter_may_not_see_is_not_there(who: Caller, allowed: bool) -> None:
    old = publish(b"first")
    wanted = prepared(b"an addendum", who=who)
    own = wanted.entries[0].entry_uuid
    wanted = replace(
        wanted, associations=(*wanted.associations, samples.relation(AssociationType.APND, own, old.entry_uuid))
    )
    if allowed:
        submit.submit(wanted, who)
        return
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(wanted, who)
    assert [type(p) for p in caught.value.problems] == [UnresolvedReference]


PUBLISHERS = [
    pytest.param({}, id="for-treatment"),
    pytest.param({"role": "quality", "purpose": "HQUALIMP"}, id="for-operations"),
    pytest.param({"role": None, "purpose": None}, id="without-a-purpose"),
]


def chosen_for_all(decision: str) -> None:
    found = identifiers.resolve(ADA.authority, ADA.value)
    assert found is not None
    directives.file(choice(decision), identifier_pk=found.pk, filer=PATIENT)


def denied_to_all() -> None:
    chosen_for_all("deny")


@pytest.mark.parametrize("changes", PUBLISHERS)
def test_of_a_hidden_patient_who_publishes_under_anothers_identifier_hears_what_he_hears_of_none(changes: Any) -> None:
    who = hospital_caller(**changes)
    assert publish(b"before", who=who).custodian == "org-hospital"
    denied_to_all()
    hidden = prepared(b"after", who=who)
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(hidden, who)
    (known,) = caught.value.problems
    absent = replace(ADA, value="P0")
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(prepared(b"after", who=who, patient=absent), who)
    (unknown,) = caught.value.problems
    assert isinstance(known, UnknownPatientId)
    assert (type(known), str(known).replace("P1", "P0")) == (type(unknown), str(unknown))
    # She reads of the attempt; her own house publishes as before.
    person = identifiers.resolve(ADA.authority, ADA.value)
    assert person is not None
    assert Event.objects.filter(person_id=person.person_id, organization="org-hospital", outcome=4).count() == 1
    assert publish(b"after").custodian == "org-clinic"


def test_a_hidden_patient_reads_who_named_her_to_publish_and_he_hears_what_he_hears_of_nobody() -> None:
    denied_to_all()
    system, person = f"urn:oid:{CLINIC_AUTHORITY}", identifiers.resolve(ADA.authority, ADA.value)
    assert person is not None
    for named in (PatientNamed(system=system, value="P1"), PatientNamed(id=str(person.person_id))):
        before = Event.objects.filter(person_id=person.person_id, outcome=4).count()
        assert named_patients.person_of(named, caller=hospital_caller()) is None
        assert Event.objects.filter(person_id=person.person_id, outcome=4).count() == before + 1
    assert named_patients.person_of(PatientNamed(system=system, value="P0"), caller=hospital_caller()) is None
    asked = AuditQuery(since=datetime(2020, 1, 1, tzinfo=UTC), kinds=(EventType.PROVIDE_DOCUMENT_BUNDLE.value,))
    told = audit_search.search_events(asked, hospital_caller()).events
    assert len(told) == 3
    assert [(one.person_id, one.reason, one.rule, one.detail) for one in told] == [("", "not-found", "", {})] * 3


def test_who_is_asked_for_no_agreement_on_treatment_publishes_about_whom_nothing_hides() -> None:
    """A registry that feeds and publishes and reads nothing: its agreement lists no purpose."""
    registration.apply(file(hospital(purposes=[], users=[])))
    who = hospital_caller(role=None, purpose=None)
    assert publish(b"before", who=who).custodian == "org-hospital"
    denied_to_all()
    with pytest.raises(SubmissionRefused):
        submit.submit(prepared(b"after", who=who), who)


def test_who_states_a_purpose_other_than_treatment_and_no_role_publishes_about_whom_he_may_see() -> None:
    """A registry of public health: its agreement lists no treatment."""
    registration.apply(file(hospital(purposes=["PUBHLTH"], users=[])))
    who = hospital_caller(role=None, purpose="PUBHLTH")
    chosen_for_all("permit")
    assert publish(b"before", who=who).custodian == "org-hospital"
    denied_to_all()
    with pytest.raises(SubmissionRefused):
        submit.submit(prepared(b"after", who=who), who)


def test_whose_record_is_anothers_own_is_published_under_an_own_one_though_the_other_is_hidden() -> None:
    denied_to_all()
    own = CX(value="H1", authority=HOSPITAL_AUTHORITY)
    ada = Demographics(
        names=(HumanName(family="Moor", given=("Ada", "Maria")),), birth_date="1970-05-01", gender="female"
    )
    feed.feed(feed.Revision(authority=HOSPITAL_AUTHORITY, value="H1", demographics=ada), hospital_caller())
    assert publish(b"under its own", who=hospital_caller(), patient=own).custodian == "org-hospital"
    with pytest.raises(SubmissionRefused):
        submit.submit(prepared(b"under another's", who=hospital_caller()), hospital_caller())


@pytest.mark.parametrize("there", [True, False])
def test_a_documents_own_header_does_not_tell_whose_identifier_is_known(there: bool) -> None:
    """The hospital publishes about a patient of its own a document that names Ada's identifier, whom it may not know."""
    denied_to_all()
    bob = CX(value="H2", authority=HOSPITAL_AUTHORITY)
    patient = Demographics(names=(HumanName(family="Stone", given=("Bob",)),), birth_date="1955-07-07", gender="male")
    feed.feed(feed.Revision(authority=HOSPITAL_AUTHORITY, value="H2", demographics=patient), hospital_caller())
    other = f'<id root="{CLINIC_AUTHORITY}" extension="{ADA.value if there else "P0"}"/>'
    for number, ids in enumerate((other, f'<id root="{HOSPITAL_AUTHORITY}" extension="H2"/>{other}')):
        document = clinical_document(
            patient=ids, name="<given>Bob</given><family>Stone</family>", birth="19550707", gender="M",
            extension=f"doc{number}",
        )  # fmt: skip
        changes = cda_changes(unique_id=f"2.999.5^doc{number}")
        assert not publish(document, who=hospital_caller(), patient=bob, **changes).restricted


def test_the_same_document_again_is_legal_and_other_bytes_are_not() -> None:
    publish(b"hello", unique_id="2.999.7.7")
    publish(b"hello", unique_id="2.999.7.7")
    wanted = prepared(b"other", unique_id="2.999.7.7")
    with pytest.raises(SubmissionRefused) as caught:
        submit.submit(wanted, caller())
    assert [type(p) for p in caught.value.problems] == [NonIdenticalHash]


def test_a_minimal_submission_takes_its_letter_from_the_document() -> None:
    def minimal(content: bytes, **changes: Any) -> queries.EntryRow:
        entry = EntryMetadata(entry_uuid="d", patient_id=ADA, **changes)
        staged = submit.stage(content, entry.mime_type, caller())
        wanted = samples.submission(
            entry, contents={"d": staged.id}, patient_id=ADA, level=MetadataLevel.MINIMAL, content_type_code=None
        )
        row = queries.entry(submit.submit(wanted, caller()).entry_uuids[0])
        assert row is not None
        return row

    plain = clinical_document().replace(b"86406008", b"38341003")
    assert minimal(plain, unique_id="2.999.5^doc1", mime_type="text/xml").confidentiality == "N"
    assert minimal(b"hello", unique_id="2.999.7.8", mime_type="text/plain").confidentiality == "R"


_BUNDLE_JSON = (
    b'{"resourceType":"Bundle","type":"document","entry":[{"resource":{"resourceType":"Composition","confidentiality":"L",'
    b'"section":[{"code":{"coding":[{"system":"http://loinc.org","code":"10160-0"}]}}]}},{"resource":{"resourceType":'
    b'"Condition","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality","code":"%b"}]},'
    b'"code":{"coding":[{"system":"http://snomed.info/sct","code":"%b"}]}}}]}'
)
_BUNDLE_XML = (
    b'<Bundle xmlns="http://hl7.org/fhir"><type value="document"/><entry><resource><Composition><confidentiality value="L"/>'
    b'<section><code><coding><system value="http://loinc.org"/><code value="10160-0"/></coding></code><text>'
    b'<div xmlns="http://www.w3.org/1999/xhtml"><p>None.</p></div></text></section></Composition></resource></entry><entry>'
    b"<resource><Condition><meta><security>"
    b'<system value="http://terminology.hl7.org/CodeSystem/v3-Confidentiality"/><code value="%b"/></security></meta><code>'
    b'<coding><system value="http://snomed.info/sct"/><code value="%b"/></coding></code></Condition></resource></entry></Bundle>'
)


@pytest.mark.parametrize(
    ("body", "mime_type"), [(_BUNDLE_JSON, "application/fhir+json"), (_BUNDLE_XML, "application/fhir+xml")]
)
@pytest.mark.parametrize(
    ("level", "code", "letter", "labels"),
    [
        (b"N", b"38341003", "N", set()),
        (b"N", b"86406008", "R", {"HIV"}),
        (b"V", b"38341003", "V", set()),
        (b"PSY", b"38341003", "R", {"PSY"}),  # a level of the older table
        (b"T", b"38341003", "R", set()),
    ],
)
def test_a_fhir_document_is_labelled_from_its_codings(
    body: bytes, mime_type: str, level: bytes, code: bytes, letter: str, labels: set[str]
) -> None:
    row = publish(body % (level, code), mime_type=mime_type)
    assert (row.confidentiality, set(row.labels) & {"HIV", "PSY"}) == (letter, labels)


def test_base64_is_no_document_type_of_its_own() -> None:
    assert isinstance(refused(base64.b64encode(GOOD), **cda_changes()), ContentMismatch)
