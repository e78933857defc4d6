"""What may be removed of the registry and the repository, by whom, and that nothing is left hanging."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from documents import repository
from documents.metadata import AssociationType, Submission
from documents.models import Association, Binary, DocumentEntry, Folder, KeptDocument, SubmissionSet
from hie.audit.models import AuditEvent
from hie.faces.soap.ebxml import names
from hie.faces.soap.message import Answer
from hie.standards.facts import Caller
from tests.documents import samples
from tests.exchange.world import caller, exchange, hospital_caller
from tests.grounds import ground
from tests.soap import handlers, world
from tests.soap.world import entry, folder, registered

pytestmark = pytest.mark.django_db


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@pytest.fixture(autouse=True)
def _world(ada_of_the_clinic: None, settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def remove(*ids: str, who: Caller | None = None) -> Answer:
    """ITI-62."""
    body = etree.Element(names.tag(names.LCM, "RemoveObjectsRequest"), nsmap={"lcm": names.LCM})
    listed = etree.SubElement(body, names.tag(names.RIM, "ObjectRefList"), nsmap=names.NSMAP)
    for one in ids:
        etree.SubElement(listed, names.tag(names.RIM, "ObjectRef"), {"id": one})
    return handlers.call("urn:ihe:iti:2010:DeleteDocumentSet", body, who or caller())


def remove_documents(*wanted: tuple[str, str], who: Caller | None = None) -> Answer:
    """ITI-86."""
    body = etree.Element(names.tag(names.RMD, "RemoveDocumentsRequest"), nsmap={"rmd": names.RMD})
    for repository_id, unique_id in wanted:
        one = etree.SubElement(body, names.tag(names.XDS, "DocumentRequest"))
        etree.SubElement(one, names.tag(names.XDS, "RepositoryUniqueId")).text = repository_id
        etree.SubElement(one, names.tag(names.XDS, "DocumentUniqueId")).text = unique_id
    return handlers.call("urn:ihe:iti:2017:RemoveDocuments", body, who or caller())


def every_id(wanted: Submission) -> list[str]:
    objects = (wanted.submission_set, *wanted.entries, *wanted.folders, *wanted.associations)
    return [one.entry_uuid for one in objects]  # type: ignore[attr-defined]  # all objects have one


def codes(answer: Answer) -> list[str]:
    return [code for code, _ in handlers.errors(answer)]


def in_a_folder() -> Submission:
    return registered(
        entry(entry_uuid="d"), entry(entry_uuid="e"), folders=(folder(entry_uuid="f"),),
        associations=(samples.member("f", "d", None),),
    )  # fmt: skip


# -- metadata -------------------------------------------------------------------------------------------------------


def test_a_whole_submission_goes_without_trace() -> None:
    wanted = in_a_folder()
    assert handlers.status(remove(*every_id(wanted))) == "Success"
    for model in (SubmissionSet, DocumentEntry, Folder, Association):
        assert not model.objects.exists()
    (event,) = AuditEvent.objects.filter(kind="ITI-62", outcome=0)
    assert event.person_id is not None


def test_one_document_goes_with_what_joins_it() -> None:
    wanted = in_a_folder()
    second = wanted.entries[1].entry_uuid
    (member,) = (one.entry_uuid for one in wanted.associations if one.target == second)
    assert handlers.status(remove(second, member)) == "Success"
    assert DocumentEntry.objects.count() == 1
    assert SubmissionSet.objects.exists()


def test_what_is_still_referred_to_stays() -> None:
    wanted = in_a_folder()
    answer = remove(wanted.entries[0].entry_uuid)
    assert set(codes(answer)) == {"ReferencesExistException"}
    assert wanted.entries[0].entry_uuid in handlers.errors(answer)[0][1]
    assert codes(remove(wanted.submission_set.entry_uuid))[0] == "ReferencesExistException"
    assert DocumentEntry.objects.count() == 2


def test_nothing_is_left_alone() -> None:
    wanted = in_a_folder()
    second = wanted.entries[1].entry_uuid
    (member,) = (one.entry_uuid for one in wanted.associations if one.target == second)
    assert codes(remove(member)) == ["XDSUnreferencedObjectException"]
    alone = registered(entry())
    (only,) = (one.entry_uuid for one in alone.associations)
    answer = remove(alone.entries[0].entry_uuid, only)
    assert codes(answer) == ["XDSUnreferencedObjectException"]
    assert alone.submission_set.entry_uuid in handlers.errors(answer)[0][1]


def test_a_replacement_is_not_removed_while_it_is_named_and_removing_it_restores_nothing() -> None:
    old = registered(entry())
    new = entry()
    replacing = registered(
        new,
        associations=(samples.relation(AssociationType.RPLC, new.entry_uuid, old.entries[0].entry_uuid),),
    )
    without = [one for one in every_id(replacing) if one != replacing.associations[-1].entry_uuid]
    assert codes(remove(*without)) == ["ReferencesExistException"]
    assert handlers.status(remove(*every_id(replacing))) == "Success"
    assert DocumentEntry.objects.get().availability_status.endswith("Deprecated")


def test_what_is_not_there_or_another_s_is_unresolved() -> None:
    nowhere = "urn:uuid:11111111-2222-4333-8444-555555555555"
    wanted = registered(entry())
    answer = remove(nowhere, "nonsense", *every_id(wanted))
    assert codes(answer) == ["UnresolvedReferenceException"] * 2
    answer = remove(*every_id(wanted), who=hospital_caller())
    assert set(codes(answer)) == {"UnresolvedReferenceException"}
    assert DocumentEntry.objects.exists()


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        ("DeleteRepositoryItemOnly", "<rim:ObjectRefList>{refs}</rim:ObjectRefList>"),
        ("DeleteAll", "<rim:AdhocQuery id='urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d'/>"),
        ("DeleteAll", "<rim:AdhocQuery id='urn:uuid:1'/><rim:ObjectRefList>{refs}</rim:ObjectRefList>"),
        ("DeleteAll", "<rim:ObjectRefList/>"),
        ("DeleteAll", ""),
    ],
)
def test_a_removal_of_another_kind_is_refused_and_not_taken_for_done(scope: str, inside: str) -> None:
    refs = "".join(f'<rim:ObjectRef id="{one}"/>' for one in every_id(registered(entry())))
    body = etree.fromstring(
        f'<lcm:RemoveObjectsRequest xmlns:lcm="{names.LCM}" xmlns:rim="{names.RIM}"'
        f' deletionScope="urn:oasis:names:tc:ebxml-regrep:DeletionScopeType:{scope}">{inside.format(refs=refs)}'
        "</lcm:RemoveObjectsRequest>"
    )
    answer = handlers.call("urn:ihe:iti:2010:DeleteDocumentSet", body, caller())
    assert (handlers.status(answer), codes(answer)) == ("Failure", ["XDSRegistryError"])
    assert DocumentEntry.objects.exists()


def test_an_entry_that_another_set_refers_to_stays_with_that_one() -> None:
    first = registered(entry())
    one = first.entries[0].entry_uuid
    empty = world.with_uuids(world.submission())
    reference = samples.member(empty.submission_set.entry_uuid, one, "Reference")
    holding = replace(empty, associations=(reference,))
    assert handlers.errors(world.register(holding)) == []
    (member,) = (a.entry_uuid for a in first.associations)
    assert handlers.status(remove(first.submission_set.entry_uuid, member)) == "Success"
    row = DocumentEntry.objects.get(entry_uuid=one[9:])
    assert f"urn:uuid:{row.submission_set.entry_uuid}" == holding.submission_set.entry_uuid


# -- documents ------------------------------------------------------------------------------------------------------


def provided(data: bytes = b"hello") -> str:
    one = entry(repository_unique_id=None, hash=None, size=None)
    assert handlers.errors(world.provide(world.submission(one), {one.entry_uuid: data})) == []
    return one.unique_id


def test_a_removed_document_is_not_retrieved_any_more(settings: Any) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    unique_id = provided()
    assert handlers.status(remove_documents((own, unique_id))) == "Success"
    assert codes(world.retrieve((own, unique_id))) == ["XDSDocumentUniqueIdError"]
    assert not Binary.objects.exists()
    assert DocumentEntry.objects.exists()
    assert codes(remove_documents((own, unique_id))) == ["XDSDocumentUniqueIdError"]


def test_bytes_stay_after_their_metadata_until_they_are_removed_too(settings: Any) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    unique_id = provided()
    ids = [f"urn:uuid:{one}" for model in (SubmissionSet, DocumentEntry, Association)
           for one in model.objects.values_list("entry_uuid", flat=True)]  # fmt: skip
    assert handlers.status(remove(*ids)) == "Success"
    assert codes(world.retrieve((own, unique_id))) == ["XDSDocumentUniqueIdError"]
    repository.sweep(grace=timedelta(0))
    assert Binary.objects.count() == 1
    assert handlers.status(remove_documents((own, unique_id))) == "Success"
    repository.sweep(grace=timedelta(0))
    assert not Binary.objects.exists()
    assert not KeptDocument.objects.exists()


def test_a_document_that_is_asked_of_another_community_is_not_removed(settings: Any) -> None:
    own, unique_id = settings.REPOSITORY_UNIQUE_ID, provided()

    def of(home: str) -> Answer:
        body = etree.Element(names.tag(names.RMD, "RemoveDocumentsRequest"), nsmap={"rmd": names.RMD})
        one = etree.SubElement(body, names.tag(names.XDS, "DocumentRequest"))
        for name, text in (("HomeCommunityId", home), ("RepositoryUniqueId", own), ("DocumentUniqueId", unique_id)):
            etree.SubElement(one, names.tag(names.XDS, name)).text = text
        return handlers.call("urn:ihe:iti:2017:RemoveDocuments", body, caller())

    assert codes(of("urn:oid:2.999.77.1")) == ["XDSUnknownRepositoryId"]
    assert Binary.objects.count() == 1
    assert handlers.status(of(settings.HOME_COMMUNITY_ID)) == "Success"
    assert not Binary.objects.exists()


def test_each_document_is_removed_by_itself(settings: Any) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    unique_id = provided()
    answer = remove_documents((own, unique_id), (own, "9.9.9"), ("1.2.3", unique_id))
    assert handlers.status(answer) == "PartialSuccess"
    assert codes(answer) == ["XDSDocumentUniqueIdError", "XDSUnknownRepositoryId"]


def test_another_s_document_is_not_removed(settings: Any) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    unique_id = provided()
    answer = remove_documents((own, unique_id), who=hospital_caller())
    assert codes(answer) == ["XDSDocumentUniqueIdError"]
    assert [b"".join(one.chunks) for one in world.retrieve((own, unique_id)).attachments] == [b"hello"]
