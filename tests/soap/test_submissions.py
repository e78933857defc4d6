"""Registering and providing over XDS: what is accepted, how each refusal is called, and that nothing stays of what failed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from lxml import etree

from documents.errors import InvalidAttribute
from documents.metadata import ON_DEMAND, XCN, AssociationType, CodedValue, EntryMetadata, Status, Submission
from documents.models import Association, Binary, DocumentEntry, Folder, SubmissionSet
from documents.stored_query import Kind
from hie.audit.models import AuditEvent
from hie.exchange import find, retrieve
from hie.exchange.document_filter import entry_filter
from hie.exchange.found_pages import DocumentSearch
from hie.exchange.named_patients import PatientNamed
from hie.faces.soap import errors
from hie.faces.soap.ebxml import names
from hie.faces.soap.errors import Actor
from hie.ops.sandbox import load
from hie.standards.errors import HubError
from hie.terminology import affinity_domain
from hie.terminology.models import CodeSet
from tests.documents import samples
from tests.exchange.world import CLINIC_AUTHORITY, caller, exchange
from tests.grounds import ground
from tests.soap import handlers, world
from tests.soap.world import ADA, entry, folder, provide, register, registered, submission

pytestmark = pytest.mark.django_db
RPLC, APND = AssociationType.RPLC, AssociationType.APND


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@pytest.fixture(autouse=True)
def _world(ada_of_the_clinic: None, settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def codes(wanted: Submission) -> list[str]:
    """The error codes that registering meets; nothing stays of it."""
    before = SubmissionSet.objects.count()
    answer = register(wanted)
    assert handlers.status(answer) == "Failure"
    assert SubmissionSet.objects.count() == before
    return [code for code, _ in handlers.errors(answer)]


# -- the table ------------------------------------------------------------------------------------------------------


def test_every_refusal_has_a_code_or_is_a_fault() -> None:
    for name in ("documents", "patients", "consent", "hie.trust", "hie.directory", "hie.exchange"):
        import_module(f"{name}.errors")

    def below(kind: type[HubError]) -> Any:
        for child in kind.__subclasses__():
            yield child
            yield from below(child)

    ours = {one.__name__ for one in below(HubError) if one.__module__.startswith("documents.")}
    assert ours - set(errors.XDS_CODE) - errors.CARRIERS - errors.NOT_OF_XDS == set()
    everything = {one.__name__ for one in below(HubError)}
    assert set(errors.XDS_CODE) | errors.CARRIERS | errors.NOT_OF_XDS <= everything


def test_codes_are_named_after_who_answers() -> None:
    error = InvalidAttribute("hash is wrong", element="DocumentEntry[d].hash")
    (registry,) = errors.errors_of(error, Actor.REGISTRY)
    (repository,) = errors.errors_of(error, Actor.REPOSITORY)
    assert (registry.code, repository.code) == ("XDSRegistryMetadataError", "XDSRepositoryMetadataError")
    assert registry.context == "DocumentEntry[d].hash: hash is wrong"


# -- ITI-42 ---------------------------------------------------------------------------------------------------------


def test_a_document_of_a_repository_elsewhere_is_registered() -> None:
    one = entry()
    wanted = registered(one)
    row = DocumentEntry.objects.get(unique_id=one.unique_id)
    assert f"urn:uuid:{row.entry_uuid}" == wanted.entries[0].entry_uuid
    assert (row.repository_unique_id, row.hash, row.size, row.binary_id) == (world.ELSEWHERE, one.hash, 5, None)
    assert (row.version, row.logical_id, row.availability_status) == (1, row.entry_uuid, "urn:oasis:names:tc:ebxml-regrep:StatusType:Approved")  # fmt: skip
    assert AuditEvent.objects.filter(kind="ITI-42").count() == 1


def test_a_registration_costs_the_same_however_many_entries_it_has() -> None:
    def statements(count: int) -> int:
        entries = [entry(entry_uuid=f"D{n}", unique_id=f"1.2.77.{count}.{n}") for n in range(count)]
        with CaptureQueriesContext(connection) as caught:
            assert handlers.errors(register(submission(*entries))) == []
        return len(caught)

    statements(2)
    few = statements(1)
    assert statements(7) == few
    assert few <= 20


def test_symbolic_ids_become_uuids_everywhere() -> None:
    wanted = submission(entry(entry_uuid="Document01"))
    assert handlers.status(register(wanted)) == "Success"
    row = DocumentEntry.objects.get()
    assert Association.objects.filter(target=row.entry_uuid, source=row.submission_set.entry_uuid).exists()


REQUIRED = [
    "class_code", "type_code", "format_code", "healthcare_facility_type_code", "practice_setting_code", "creation_time",
    "language_code", "source_patient_id", "hash", "size", "repository_unique_id",
]  # fmt: skip


@pytest.mark.parametrize("attribute", [*REQUIRED, "confidentiality_codes"])
def test_what_the_registry_requires_is_named_when_it_is_missing(attribute: str) -> None:
    missing = () if attribute == "confidentiality_codes" else None
    answer = register(submission(entry(entry_uuid="Document01", **{attribute: missing})))
    (code, context), = handlers.errors(answer)  # fmt: skip
    assert code == "XDSRegistryMetadataError"
    name = {"confidentiality_codes": "confidentialityCode"}.get(attribute) or "".join(
        part.title() if number else part for number, part in enumerate(attribute.split("_"))
    )
    assert f"DocumentEntry[Document01].{name}" in context


def test_everything_wrong_with_attributes_is_told_at_once() -> None:
    answer = register(
        submission(entry(entry_uuid="a", creation_time="2024-01", hash="xyz"), entry(entry_uuid="b", class_code=None))
    )
    contexts = [context for _, context in handlers.errors(answer)]
    assert len(contexts) == 3
    assert all(any(place in one for one in contexts) for place in ("[a].creationTime", "[a].hash", "[b].classCode"))


def test_an_attribute_that_cannot_be_read_is_told_once() -> None:
    body = world.registration(submission(entry(entry_uuid="Document01")))
    for identifier in body.iter("{*}ExternalIdentifier"):
        if identifier.get("value", "").startswith("P1") and identifier.get("registryObject") == "Document01":
            identifier.set("value", "P1")
    answer = handlers.call(world.REGISTER, body, caller())
    assert all("patientId" in context for _, context in handlers.errors(answer))
    assert not any("required" in context for _, context in handlers.errors(answer))


def test_a_refused_submission_leaves_nothing_and_is_recorded() -> None:
    assert codes(submission(entry(), entry(class_code=None), folders=(folder(),))) == ["XDSRegistryMetadataError"]
    assert not DocumentEntry.objects.exists()
    assert not Folder.objects.exists()
    assert AuditEvent.objects.get(kind="ITI-42").outcome == 4


def test_patients_are_known_and_one() -> None:
    stranger = replace(ADA, value="P9")
    assert codes(submission(entry(stranger), patient=stranger)) == ["XDSUnknownPatientId"]
    other = world.feed_patient("P2", "Eve")
    assert codes(submission(entry(other))) == ["XDSPatientIdDoesNotMatch"]
    assert codes(submission(entry(stranger))) == ["XDSUnknownPatientId", "XDSPatientIdDoesNotMatch"]


def test_a_patient_of_another_system_is_unknown_by_an_identifier_not_fed() -> None:
    nobody = replace(ADA, authority="1.2.3.4")
    assert codes(submission(entry(nobody), patient=nobody)) == ["XDSUnknownPatientId"]


def test_unique_ids_of_sets_and_folders_are_new_and_of_documents_go_with_their_bytes() -> None:
    first = registered(entry(unique_id="2.999.1.1"), folders=(folder(unique_id="2.999.1.2"),))
    taken = first.submission_set.unique_id
    assert codes(submission(entry(), unique_id=taken)) == ["XDSDuplicateUniqueIdInRegistry"]
    assert codes(submission(folders=(folder(unique_id="2.999.1.2"),))) == ["XDSDuplicateUniqueIdInRegistry"]
    registered(entry(unique_id="2.999.1.1"))
    assert codes(submission(entry(unique_id="2.999.1.1", hash="0" * 40))) == ["XDSNonIdenticalHash"]
    assert codes(submission(entry(unique_id="2.999.1.1", size=6))) == ["XDSNonIdenticalSize"]
    assert codes(submission(entry(unique_id="2.999.1.9"), entry(unique_id="2.999.1.9"))) == [
        "XDSRegistryDuplicateUniqueIdInMessage"
    ]


def test_a_hash_in_capitals_is_the_same_hash() -> None:
    one = entry(unique_id="2.999.1.1")
    registered(one)
    assert one.hash is not None
    registered(replace(one, entry_uuid="again", hash=one.hash.upper()))


def test_a_uuid_in_use_is_refused() -> None:
    first = registered(entry())
    again = entry(entry_uuid=first.entries[0].entry_uuid)
    assert codes(submission(again)) == ["XDSRegistryMetadataError"]


def test_what_a_submission_refers_to_is_there_approved_and_of_the_same_patient() -> None:
    old = registered(entry()).entries[0].entry_uuid
    nowhere = "urn:uuid:11111111-2222-4333-8444-555555555555"

    def replacing(target: str, **changes: Any) -> Submission:
        new = entry(**changes)
        return submission(
            new, associations=(samples.relation(RPLC, new.entry_uuid, target),), patient=new.patient_id or ADA
        )

    assert codes(replacing(nowhere)) == ["UnresolvedReferenceException"]
    other = world.feed_patient("P2", "Eve")
    assert codes(replacing(old, patient=other)) == ["XDSPatientIdDoesNotMatch"]
    assert handlers.status(register(replacing(old))) == "Success"
    assert codes(replacing(old)) == ["XDSRegistryDeprecatedDocumentError"]


def test_two_documents_of_a_submission_do_not_replace_one() -> None:
    old = registered(entry()).entries[0].entry_uuid
    both = [entry(), entry()]
    relations = tuple(samples.relation(RPLC, one.entry_uuid, old) for one in both)
    sent = [replace(one, repository_unique_id=None, hash=None, size=None) for one in both]
    for answer in (
        register(submission(*both, associations=relations)),
        provide(submission(*sent, associations=relations), {one.entry_uuid: b"hello" for one in sent}),
    ):
        ((code, said),) = handlers.errors(answer)
        assert code == "XDSRegistryDeprecatedDocumentError"
        assert all(one.entry_uuid in said for one in relations)
    assert DocumentEntry.objects.get().availability_status == Status.APPROVED.value


def test_a_replacement_deprecates_what_hung_on_the_old_and_joins_its_folders() -> None:
    held = entry(entry_uuid="d")
    first = registered(held, folders=(folder(entry_uuid="f"),), associations=(samples.member("f", "d", None),))
    old = first.entries[0].entry_uuid
    addendum = entry()
    registered(addendum, associations=(samples.relation(APND, addendum.entry_uuid, old),))
    new = entry()
    registered(new, associations=(samples.relation(RPLC, new.entry_uuid, old),))
    status = dict(DocumentEntry.objects.values_list("unique_id", "availability_status"))
    assert [status[one.unique_id].rpartition(":")[2] for one in (held, addendum, new)] == [
        "Deprecated", "Deprecated", "Approved",
    ]  # fmt: skip
    row = DocumentEntry.objects.get(unique_id=new.unique_id)
    assert Association.objects.filter(source=Folder.objects.get().entry_uuid, target=row.entry_uuid).exists()


def test_update_operations_do_not_belong_into_a_registration() -> None:
    one = entry()
    wanted = submission(one)
    members = tuple(
        replace(a, extra={"slots": {"PreviousVersion": ["1"]}}) if a.target == one.entry_uuid else a
        for a in wanted.associations
    )
    assert codes(replace(wanted, associations=members)) == ["XDSRegistryMetadataError"]
    body = world.registration(submission(one))
    for association in body.iter("{*}Association"):
        association.set("associationType", "urn:ihe:iti:2010:AssociationType:SubmitAssociation")
    answer = handlers.call(world.REGISTER, body, caller())
    assert {code for code, _ in handlers.errors(answer)} == {"XDSRegistryMetadataError"}


def test_short_association_types_are_refused() -> None:
    body = world.registration(submission(entry()))
    for association in body.iter("{*}Association"):
        association.set("associationType", "HasMember")
    answer = handlers.call(world.REGISTER, body, caller())
    assert {code for code, _ in handlers.errors(answer)} == {"XDSRegistryMetadataError"}


def test_what_is_no_submission_is_refused_with_a_word() -> None:
    body = world.registration(submission(entry()))
    body.remove(body[0])
    assert [code for code, _ in handlers.errors(handlers.call(world.REGISTER, body, caller()))] == [
        "XDSRegistryMetadataError"
    ]


def test_extra_slots_and_what_was_said_in_other_words_come_back() -> None:
    one = entry(extra={"slots": {"urn:example:extra": ["a", "b"]}})
    wanted = registered(one)
    answer = world.query(
        "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4", XDSDocumentEntryEntryUUID=f"('{wanted.entries[0].entry_uuid}')"
    )
    assert [v.text for v in answer.body.xpath("//*[@name='urn:example:extra']//*[local-name()='Value']")] == ["a", "b"]


# -- the affinity domain --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "outcome"), [("enforce", "Failure"), ("warn", "Success"), ("off", "Success")])
def test_a_code_outside_its_set_is_refused_warned_of_or_not_looked_at(mode: str, outcome: str) -> None:
    CodeSet.objects.create(attribute="classCode", mode=mode)
    answer = register(submission(entry()))
    assert handlers.status(answer) == outcome
    found = [e.get("severity", "").rpartition(":")[2] for e in answer.body.iter("{*}RegistryError")]
    assert found == {"enforce": ["Error"], "warn": ["Warning"], "off": []}[mode]


def test_a_registration_in_the_sandbox_names_the_code_that_is_not_of_its_domain() -> None:
    affinity_domain.load(load.CODES.read_bytes(), source="sandbox")
    assert handlers.errors(register(submission(entry()))) == []
    other = entry(type_code=CodedValue(code="NOTE", scheme="urn:oid:2.999.1", display="Note"))
    answer = register(submission(other))
    assert handlers.status(answer) == "Success"
    (said,) = answer.body.iter("{*}RegistryError")
    assert (said.get("errorCode"), said.get("severity", "").rpartition(":")[2]) == (
        "XDSRegistryMetadataError",
        "Warning",
    )
    assert "].typeCode: typeCode NOTE of urn:oid:2.999.1" in said.get("codeContext", "")


# -- the hub's own repository ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [False, True])
def test_nobody_registers_for_the_hub_s_own_repository(held: bool, settings: Any) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    one = provided(b"hello") if held else entry()
    there = DocumentEntry.objects.count()
    claimed = entry(unique_id=one.unique_id, repository_unique_id=own, title="")  # with a second thing that is wrong
    answer = register(submission(claimed, entry(language_code="not a tag")))
    found = dict.fromkeys(context.partition(": ")[0].rpartition(".")[2] for _, context in handlers.errors(answer))
    assert list(found)[:2] == ["repositoryUniqueId", "languageCode"]
    assert {code for code, _ in handlers.errors(answer)} == {"XDSRegistryMetadataError"}
    assert own in handlers.errors(answer)[0][1]
    assert DocumentEntry.objects.count() == there
    assert not SubmissionSet.objects.exclude(pk__in=DocumentEntry.objects.values("submission_set")).exists()


# -- ITI-41 ---------------------------------------------------------------------------------------------------------


def provided(data: bytes = b"hello", *, inline: bool = False, **changes: Any) -> EntryMetadata:
    """A document that was provided."""
    one = entry(repository_unique_id=None, hash=None, size=None, **changes)
    answer = provide(submission(one), {one.entry_uuid: data}, inline=inline)
    assert handlers.errors(answer) == []
    return one


@pytest.mark.parametrize("inline", [False, True])
def test_a_document_is_stored_registered_and_the_same_through_mhd(inline: bool, settings: Any) -> None:
    one = provided(b"hello \xe2\x82\xac", inline=inline)
    row = DocumentEntry.objects.get(unique_id=one.unique_id)
    assert (row.size, row.hash) == (9, hashlib.sha1(b"hello \xe2\x82\xac").hexdigest())
    assert row.repository_unique_id == settings.REPOSITORY_UNIQUE_ID
    page = find.find_documents(
        DocumentSearch(
            patients=((PatientNamed(system=f"urn:oid:{CLINIC_AUTHORITY}", value="P1"),),),
            asked=entry_filter([("status", "", "current")]),
        ),
        caller=caller(),
    )
    assert [item.row.entry_uuid for item in page.rows] == [f"urn:uuid:{row.entry_uuid}"]


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("said", [{}, {"size": 0, "hash": hashlib.sha1(b"").hexdigest()}], ids=["unsaid", "said"])
def test_a_document_of_no_bytes_is_kept_and_given_back_as_such(
    inline: bool, said: dict[str, Any], settings: Any
) -> None:
    one = entry(repository_unique_id=None, **({"hash": None, "size": None} | said), mime_type="text/plain")
    assert handlers.errors(provide(submission(one), {one.entry_uuid: b""}, inline=inline)) == []
    row = DocumentEntry.objects.get()
    assert (row.size, row.hash) == (0, hashlib.sha1(b"").hexdigest())
    answer = world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id))
    (given,) = answer.attachments
    assert (given.length, b"".join(given.chunks)) == (0, b"")
    over_mhd = retrieve.retrieve(retrieve.Wanted(binary_id=str(row.binary_id)), caller=caller())
    assert (over_mhd.size, over_mhd.partial, b"".join(over_mhd.chunks)) == (0, False, b"")


@pytest.mark.parametrize("mime_type", ["text/xml", "application/fhir+json", "application/cda+xml"])
def test_no_bytes_are_no_xml_and_no_json(mime_type: str) -> None:
    one = entry(repository_unique_id=None, hash=None, size=None, mime_type=mime_type)
    ((code, context),) = handlers.errors(provide(submission(one), {one.entry_uuid: b""}))
    assert code == "XDSRepositoryMetadataError"
    assert f"{mime_type} cannot be" in context
    assert not DocumentEntry.objects.exists()


def test_a_document_without_entry_and_an_entry_without_document_are_told_apart() -> None:
    one = entry(repository_unique_id=None, hash=None, size=None)
    assert [code for code, _ in handlers.errors(provide(submission(one), {}))] == ["XDSMissingDocument"]
    both = {one.entry_uuid: b"a", "stray": b"b"}
    assert [code for code, _ in handlers.errors(provide(submission(one), both))] == ["XDSMissingDocumentMetadata"]
    assert not DocumentEntry.objects.exists()


@pytest.mark.parametrize("changes", [{"hash": "0" * 40}, {"size": 6}])
def test_a_stated_hash_or_size_that_is_another_is_refused(changes: dict[str, Any]) -> None:
    one = entry(**{"repository_unique_id": None, "hash": None, "size": None} | changes)
    answer = provide(submission(one), {one.entry_uuid: b"hello"})
    assert [code for code, _ in handlers.errors(answer)] == ["XDSRepositoryMetadataError"]


def test_the_registry_s_errors_keep_their_code_and_nothing_can_be_retrieved(settings: Any) -> None:
    stranger = replace(ADA, value="P9")
    one = entry(stranger, repository_unique_id=None, hash=None, size=None)
    answer = provide(submission(one, patient=stranger), {one.entry_uuid: b"hello"})
    assert [code for code, _ in handlers.errors(answer)] == ["XDSUnknownPatientId"]
    answer = world.retrieve((settings.REPOSITORY_UNIQUE_ID, one.unique_id))
    assert [code for code, _ in handlers.errors(answer)] == ["XDSDocumentUniqueIdError"]


def test_the_same_bytes_are_taken_again_and_others_are_not() -> None:
    provided(b"hello", unique_id="2.999.1.1")
    provided(b"hello", unique_id="2.999.1.1")
    one = entry(repository_unique_id=None, hash=None, size=None, unique_id="2.999.1.1")
    answer = provide(submission(one), {one.entry_uuid: b"other"})
    assert [code for code, _ in handlers.errors(answer)] == ["XDSNonIdenticalHash"]


def test_parts_that_are_not_there_and_what_is_no_base64_are_named() -> None:
    one = entry(repository_unique_id=None, hash=None, size=None)
    body_of = submission(one)
    for text in ("%%%", None):
        body = etree.Element(names.tag(names.XDS, "ProvideAndRegisterDocumentSetRequest"))
        body.append(world.registration(body_of))
        document = etree.SubElement(body, names.tag(names.XDS, "Document"), {"id": one.entry_uuid})
        document.text = text
        if text is None:
            etree.SubElement(document, names.tag(names.XOP, "Include"), {"href": "cid:nowhere"})
        answer = handlers.call(world.PROVIDE, body, caller())
        assert "XDSRepositoryMetadataError" in [code for code, _ in handlers.errors(answer)]
    assert not Binary.objects.exists()


def test_an_on_demand_entry_cannot_be_provided() -> None:
    one = entry(repository_unique_id=None, hash=None, size=None, creation_time=None, object_type=ON_DEMAND)
    answer = provide(submission(one), {one.entry_uuid: b"hello"})
    assert handlers.status(answer) == "Failure"


def test_text_with_the_format_of_a_clinical_document_is_taken_restricted_until_somebody_looked() -> None:
    ccda = CodedValue(code="urn:ihe:pcc:aps:2007", scheme="urn:oid:1.3.6.1.4.1.19376.1.2.3")
    one = entry(repository_unique_id=None, hash=None, size=None, format_code=ccda)
    answer = provide(submission(one), {one.entry_uuid: b"hello"})
    assert handlers.status(answer) == "Success"
    assert [e.get("severity", "").rpartition(":")[2] for e in answer.body.iter("{*}RegistryError")] == ["Warning"]
    assert DocumentEntry.objects.get().restricted


# -- ITI-61 ---------------------------------------------------------------------------------------------------------

ON_DEMAND_ENTRY = {"object_type": ON_DEMAND, "hash": None, "size": None, "creation_time": None}


def register_on_demand(wanted: Submission) -> Any:
    return handlers.call("urn:ihe:iti:2010:RegisterOnDemandDocumentEntry", world.registration(wanted), caller())


def test_an_on_demand_entry_is_registered_and_found_when_asked_for() -> None:
    one = entry(service_start_time="2020", **ON_DEMAND_ENTRY)
    assert handlers.errors(register_on_demand(submission(one))) == []
    given = {"XDSDocumentEntryPatientId": world.cx(), "XDSDocumentEntryStatus": world.APPROVED}
    assert not world.ids(world.query(Kind.FIND_DOCUMENTS, **given))
    found = world.query(Kind.FIND_DOCUMENTS, XDSDocumentEntryType=f"('{ON_DEMAND}')", **given)
    assert len(world.ids(found)) == 1
    bounded = world.query(
        Kind.FIND_DOCUMENTS, XDSDocumentEntryType=f"('{ON_DEMAND}')", XDSDocumentEntryCreationTimeFrom="1900", **given
    )
    assert not world.ids(bounded)


@pytest.mark.parametrize("attribute", ["hash", "size", "creation_time", "legal_authenticator"])
def test_an_on_demand_entry_says_nothing_of_bytes_that_are_not_made_yet(attribute: str) -> None:
    given: dict[str, Any] = {
        "hash": "0" * 40,
        "size": 5,
        "creation_time": "2024",
        "legal_authenticator": XCN(family="W"),
    }
    one = entry(**ON_DEMAND_ENTRY | {attribute: given[attribute]})
    answer = register_on_demand(submission(one))
    assert [code for code, _ in handlers.errors(answer)] == ["XDSRegistryMetadataError"]


def test_stable_and_on_demand_entries_have_each_their_transaction() -> None:
    assert [code for code, _ in handlers.errors(register_on_demand(submission(entry())))] == [
        "XDSRegistryMetadataError"
    ]
    assert codes(submission(entry(**ON_DEMAND_ENTRY))) == ["XDSRegistryMetadataError"]


def test_a_snapshot_points_at_an_on_demand_entry() -> None:
    wanted = world.with_uuids(submission(entry(**ON_DEMAND_ENTRY)))
    assert handlers.errors(register_on_demand(wanted)) == []
    stable = entry()
    kind = AssociationType.IS_SNAPSHOT_OF
    snapshot = submission(
        stable, associations=(samples.relation(kind, stable.entry_uuid, wanted.entries[0].entry_uuid),)
    )
    assert handlers.errors(register(snapshot)) == []
    another = entry()
    to_stable = samples.relation(kind, another.entry_uuid, f"urn:uuid:{DocumentEntry.objects.get(unique_id=stable.unique_id).entry_uuid}")  # fmt: skip
    assert codes(submission(another, associations=(to_stable,))) == ["XDSRegistryMetadataError"]
