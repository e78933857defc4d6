"""Updates of metadata: versions follow one another, and every wrong way to ask for one has its code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from documents.metadata import (
    ON_DEMAND,
    AssociationMetadata,
    AssociationType,
    EntryMetadata,
    FolderMetadata,
    Status,
    Submission,
)
from documents.models import Association, DocumentEntry, Folder, SubmissionSet
from documents.stored_query import Kind
from hie.audit.models import AuditEvent
from hie.faces.soap.ebxml import names
from hie.faces.soap.message import Answer
from hie.standards.facts import Caller
from tests.documents import samples
from tests.exchange.world import caller, exchange, hospital_caller
from tests.grounds import ground
from tests.soap import handlers, world
from tests.soap.world import APPROVED, EVERY_STATUS, cx, entry, folder, ids, query, registered, submission

pytestmark = pytest.mark.django_db
UPDATE = "urn:ihe:iti:2010:UpdateDocumentSet"
ON_DEMAND_REGISTRATION = "urn:ihe:iti:2010:RegisterOnDemandDocumentEntry"
RESTRICTED = "urn:ihe:iti:2018:RestrictedUpdateDocumentSet"
RPLC, APND = AssociationType.RPLC, AssociationType.APND
STATUS = "urn:oasis:names:tc:ebxml-regrep:StatusType:"
_TYPES = "urn:ihe:iti:2010:AssociationType:"
NOWHERE = "urn:uuid:11111111-2222-4333-8444-555555555555"


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@pytest.fixture(autouse=True)
def _world(ada_of_the_clinic: None, settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def versions(*objects: EntryMetadata | FolderMetadata, patient: Any = world.ADA, **slots: list[str]) -> Submission:
    """A submission of further versions; `slots` are those of their memberships, version 1 before unless said."""
    wanted = submission(
        *(one for one in objects if isinstance(one, EntryMetadata)),
        folders=tuple(one for one in objects if isinstance(one, FolderMetadata)),
        patient=patient,
    )
    said = {"PreviousVersion": ["1"]} | slots
    said = {name: values for name, values in said.items() if values}
    return replace(
        wanted,
        associations=tuple(
            replace(one, extra={"slots": said}, submission_set_status="Original") for one in wanted.associations
        ),
    )


def send(wanted: Submission, who: Caller | None = None, *, action: str = UPDATE, more: tuple[Any, ...] = ()) -> Answer:
    """The update; `more` are operations as (type, target, slots)."""
    body = world.registration(wanted)
    listed = body[0]
    for number, (kind, target, slots) in enumerate(more):
        attributes = {
            "id": f"operation{number}", "associationType": f"{_TYPES}{kind}",
            "sourceObject": wanted.submission_set.entry_uuid, "targetObject": target,
        }  # fmt: skip
        element = etree.SubElement(listed, names.tag(names.RIM, "Association"), attributes)
        for name, value in slots.items():
            slot = etree.SubElement(element, names.tag(names.RIM, "Slot"), {"name": name})
            values = etree.SubElement(slot, names.tag(names.RIM, "ValueList"))
            etree.SubElement(values, names.tag(names.RIM, "Value")).text = value
    return handlers.call(action, body, who or caller())


def done(answer: Answer) -> None:
    assert handlers.errors(answer) == []
    assert handlers.status(answer) == "Success"


def codes(answer: Answer) -> set[str]:
    assert handlers.status(answer) == "Failure"
    return {code for code, _ in handlers.errors(answer)}


def further(one: EntryMetadata, **changes: Any) -> EntryMetadata:
    """A further version of a registered entry."""
    return replace(one, entry_uuid="new", logical_id=one.entry_uuid, **changes)


def change(original: str = "Approved", new: str = "Deprecated") -> dict[str, str]:
    return {"OriginalStatus": f"{STATUS}{original}", "NewStatus": f"{STATUS}{new}"}


# -- versions -------------------------------------------------------------------------------------------------------


def test_a_further_version_takes_the_place_of_the_one_before() -> None:
    (one,) = registered(entry()).entries
    done(send(versions(further(one, title="Corrected"))))
    old, new = DocumentEntry.objects.order_by("version")
    assert (new.logical_id, new.version, new.title) == (old.entry_uuid, 2, "Corrected")
    assert old.availability_status == Status.DEPRECATED.value
    assert new.availability_status == Status.APPROVED.value
    given = {"XDSDocumentEntryPatientId": cx(), "XDSDocumentEntryStatus": EVERY_STATUS}
    assert ids(query(Kind.FIND_DOCUMENTS, **given)) == {f"urn:uuid:{new.entry_uuid}"}
    assert len(ids(query(Kind.FIND_DOCUMENTS, MetadataLevel="2", **given))) == 2
    by_logical_id = query(Kind.GET_DOCUMENTS, MetadataLevel="2", XDSDocumentEntryLogicalID=f"('{one.entry_uuid}')")
    assert [v.get("versionName") for v in by_logical_id.body.iter("{*}VersionInfo")] == ["2", "1"]
    assert AuditEvent.objects.filter(kind="ITI-57", outcome=0, person_id__isnull=False).count() == 1
    again = further(one, title="Again")
    assert codes(send(versions(again))) == {"XDSMetadataVersionError"}
    done(send(versions(again, PreviousVersion=["2"])))


def test_the_bytes_go_with_the_new_version(settings: Any) -> None:
    sent = entry(repository_unique_id=None, hash=None, size=None)
    assert handlers.errors(world.provide(submission(sent), {sent.entry_uuid: b"hello"})) == []
    row = DocumentEntry.objects.get()
    stored = replace(
        sent, entry_uuid=f"urn:uuid:{row.entry_uuid}", repository_unique_id=settings.REPOSITORY_UNIQUE_ID,
        hash=row.hash, size=row.size,
    )  # fmt: skip
    done(send(versions(further(stored, title="Corrected"))))
    answer = world.retrieve((settings.REPOSITORY_UNIQUE_ID, sent.unique_id))
    assert [b"".join(part.chunks) for part in answer.attachments] == [b"hello"]
    assert DocumentEntry.objects.get(version=2).binary_id == row.binary_id


def test_labels_do_not_fall_and_a_restriction_stays() -> None:
    secret = samples.code("R", samples.CONFIDENTIALITY)
    (one,) = registered(entry(confidentiality_codes=(secret,))).entries
    DocumentEntry.objects.update(labels=["HIV"], restricted=True, confidentiality="V")
    done(send(versions(further(one, confidentiality_codes=(samples.code("N", samples.CONFIDENTIALITY),)))))
    new = DocumentEntry.objects.get(version=2)
    assert "HIV" in new.labels
    assert new.restricted
    assert new.confidentiality == "V"


def test_a_folder_has_versions_too() -> None:
    (held,) = registered(entry(), folders=(folder(),)).folders
    done(send(versions(replace(held, entry_uuid="new", logical_id=held.entry_uuid, title="Renamed"))))
    assert Folder.objects.get(version=2).title == "Renamed"
    found = query(Kind.FIND_FOLDERS, XDSFolderPatientId=cx(), XDSFolderStatus=EVERY_STATUS)
    assert ids(found, "RegistryPackage") == {f"urn:uuid:{Folder.objects.get(version=2).entry_uuid}"}


@pytest.mark.parametrize(("said", "joins"), [(["yes"], True), ([], True), (["no"], False)])
def test_associations_are_given_to_the_new_version_unless_told_otherwise(said: list[str], joins: bool) -> None:
    wanted = registered(
        entry(entry_uuid="d"), folders=(folder(entry_uuid="f"),), associations=(samples.member("f", "d", None),)
    )
    done(send(versions(further(wanted.entries[0]), AssociationPropagation=said)))
    new = DocumentEntry.objects.get(version=2)
    in_folder = Association.objects.filter(source=Folder.objects.get().entry_uuid, target=new.entry_uuid)
    assert in_folder.exists() is joins


# -- other operations -----------------------------------------------------------------------------------------------


def test_a_status_is_changed_and_changed_back() -> None:
    (one,) = registered(entry()).entries
    done(send(submission(), more=[("UpdateAvailabilityStatus", one.entry_uuid, change())]))
    assert not ids(query(Kind.FIND_DOCUMENTS, XDSDocumentEntryPatientId=cx(), XDSDocumentEntryStatus=APPROVED))
    done(send(submission(), more=[("UpdateAvailabilityStatus", one.entry_uuid, change("Deprecated", "Approved"))]))
    assert DocumentEntry.objects.get().availability_status == Status.APPROVED.value


def test_an_association_is_added_between_what_is_registered() -> None:
    first, second = registered(entry(), entry()).entries
    relation = samples.relation(APND, second.entry_uuid, first.entry_uuid)
    wanted = submission()
    wanted = replace(wanted, associations=(relation,))
    done(send(wanted, more=[("SubmitAssociation", relation.entry_uuid, {})]))
    assert Association.objects.filter(type=APND.value).count() == 1
    again = replace(submission(), associations=(replace(relation, entry_uuid="again"),))
    assert codes(send(again, more=[("SubmitAssociation", "again", {})])) == {"XDSMetadataUpdateError"}


def joined(*relations: AssociationMetadata, who: Caller | None = None, status: Any = ()) -> Answer:
    """Associations added by SubmitAssociation, and perhaps changes of status with them."""
    wanted = replace(submission(), associations=relations)
    return send(wanted, who, more=[*(("SubmitAssociation", one.entry_uuid, {}) for one in relations), *status])


def statuses() -> dict[str, bool]:
    """Which entries are approved, by the UUID of each."""
    rows = DocumentEntry.objects.values_list("entry_uuid", "availability_status")
    return {f"urn:uuid:{key}": status == Status.APPROVED.value for key, status in rows}


@pytest.mark.parametrize("kind", [RPLC, AssociationType.XFRM_RPLC])
def test_a_replacement_that_is_only_joined_does_what_one_that_is_registered_does(kind: AssociationType) -> None:
    old, new, bystander = registered(entry(), entry(), entry()).entries
    addendum, further_one = entry(), entry()
    registered(addendum, associations=(samples.relation(APND, addendum.entry_uuid, old.entry_uuid),))
    (addendum_row,) = DocumentEntry.objects.filter(unique_id=addendum.unique_id)
    on_it = samples.relation(AssociationType.XFRM, further_one.entry_uuid, f"urn:uuid:{addendum_row.entry_uuid}")
    registered(further_one, associations=(on_it,))
    shelf = folder()
    (held,) = registered(
        folders=(shelf,), associations=(samples.member(shelf.entry_uuid, old.entry_uuid, None),)
    ).folders
    touched = Folder.objects.get().last_update_time
    done(joined(samples.relation(kind, new.entry_uuid, old.entry_uuid)))
    approved = {key for key, status in statuses().items() if status}
    assert approved == {new.entry_uuid, bystander.entry_uuid}
    members = Association.objects.filter(source=held.entry_uuid.removeprefix("urn:uuid:"))
    assert {f"urn:uuid:{one.target}" for one in members} == {old.entry_uuid, new.entry_uuid}
    assert Folder.objects.get().last_update_time > touched
    (event,) = AuditEvent.objects.filter(kind="ITI-57", outcome=0)
    assert len(event.detail["deprecated"]) == 3
    # What was replaced is not replaced again, nor is it joined to anything.
    again = joined(samples.relation(RPLC, bystander.entry_uuid, old.entry_uuid))
    assert codes(again) == {"XDSMetadataUpdateError"}


def test_a_replacement_that_is_in_the_folder_does_not_join_it_twice() -> None:
    old, new = entry(), entry()
    shelf = folder()
    both = tuple(samples.member(shelf.entry_uuid, one.entry_uuid, None) for one in (old, new))
    wanted = registered(old, new, folders=(shelf,), associations=both)
    old, new = wanted.entries
    done(joined(samples.relation(RPLC, new.entry_uuid, old.entry_uuid)))
    assert Association.objects.filter(source=wanted.folders[0].entry_uuid.removeprefix("urn:uuid:")).count() == 2


def test_an_addendum_that_replaces_what_it_was_added_to_stays() -> None:
    (old,) = registered(entry()).entries
    new, on_new = entry(), entry()
    (new,) = registered(new, associations=(samples.relation(APND, new.entry_uuid, old.entry_uuid),)).entries
    (on_new,) = registered(on_new, associations=(samples.relation(APND, on_new.entry_uuid, new.entry_uuid),)).entries
    done(joined(samples.relation(RPLC, new.entry_uuid, old.entry_uuid)))
    assert statuses() == {old.entry_uuid: False, new.entry_uuid: True, on_new.entry_uuid: True}


def test_of_added_associations_too_one_replaces_one() -> None:
    old, first, second = registered(entry(), entry(), entry()).entries
    both = [samples.relation(RPLC, one.entry_uuid, old.entry_uuid) for one in (first, second)]
    answer = joined(*both)
    ((code, said),) = handlers.errors(answer)
    assert code == "XDSRegistryDeprecatedDocumentError"
    assert all(one.entry_uuid in said for one in both)
    ring = [
        samples.relation(RPLC, first.entry_uuid, old.entry_uuid),
        samples.relation(RPLC, old.entry_uuid, first.entry_uuid),
    ]
    assert codes(joined(*ring)) == {"XDSMetadataUpdateError"}
    assert all(statuses().values())
    assert not Association.objects.filter(type=RPLC.value).exists()


def test_statuses_are_changed_after_an_added_association_has_done_its_work() -> None:
    old, new = registered(entry(), entry()).entries
    relation = samples.relation(RPLC, new.entry_uuid, old.entry_uuid)
    answer = joined(relation, status=[("UpdateAvailabilityStatus", old.entry_uuid, change())])
    assert codes(answer) == {"XDSMetadataUpdateError"}
    done(joined(relation, status=[("UpdateAvailabilityStatus", old.entry_uuid, change("Deprecated", "Approved"))]))
    assert all(statuses().values())


def test_a_new_version_hangs_on_what_is_replaced_as_the_one_before_did() -> None:
    old, new = registered(entry(), entry()).entries
    addendum = entry()
    (addendum,) = registered(
        addendum, associations=(samples.relation(APND, addendum.entry_uuid, old.entry_uuid),)
    ).entries
    wanted = versions(further(addendum))
    relation = samples.relation(RPLC, new.entry_uuid, old.entry_uuid)
    wanted = replace(wanted, associations=(*wanted.associations, relation))
    done(send(wanted, more=[("SubmitAssociation", relation.entry_uuid, {})]))
    assert {key for key, status in statuses().items() if status} == {new.entry_uuid}


def test_what_is_derived_by_an_added_association_carries_what_its_source_does() -> None:
    source, made = registered(entry(), entry()).entries
    on_it = entry()
    registered(on_it, associations=(samples.relation(AssociationType.XFRM, on_it.entry_uuid, made.entry_uuid),))
    of_source = DocumentEntry.objects.filter(unique_id=source.unique_id)
    of_source.update(labels=["HIV"], confidentiality="V", labelled=True)
    done(joined(samples.relation(AssociationType.XFRM, made.entry_uuid, source.entry_uuid)))
    for unique_id in (made.unique_id, on_it.unique_id):
        row = DocumentEntry.objects.get(unique_id=unique_id)
        assert (row.labels, row.confidentiality) == (["HIV"], "V")


def test_a_replacement_by_itself_is_no_registration_and_no_update() -> None:
    old, new = registered(entry(), entry()).entries
    relation = samples.relation(RPLC, new.entry_uuid, old.entry_uuid)
    wanted = replace(submission(), associations=(relation,))
    assert codes(world.register(wanted)) == {"XDSRegistryMetadataError"}
    assert codes(send(wanted)) == {"XDSRegistryMetadataError"}
    assert all(statuses().values())


def test_a_snapshot_is_joined_to_what_is_made_on_demand_alone() -> None:
    stable, other = registered(entry(), entry()).entries
    on_demand = samples.entry(
        entry_uuid=NOWHERE, object_type=ON_DEMAND, hash=None, size=None, creation_time=None, patient_id=world.ADA,
        source_patient_id=world.ADA, repository_unique_id="1.2.3",
    )  # fmt: skip
    answer = handlers.call(ON_DEMAND_REGISTRATION, world.registration(submission(on_demand)), caller())
    assert handlers.errors(answer) == []

    snapshot = AssociationType.IS_SNAPSHOT_OF
    assert codes(joined(samples.relation(snapshot, stable.entry_uuid, other.entry_uuid))) == {"XDSMetadataUpdateError"}
    assert codes(joined(samples.relation(RPLC, stable.entry_uuid, NOWHERE))) == {"XDSMetadataUpdateError"}
    done(joined(samples.relation(snapshot, stable.entry_uuid, NOWHERE)))


def test_operations_of_one_submission_are_done_in_order() -> None:
    (one,) = registered(entry()).entries
    done(send(versions(further(one)), more=[("UpdateAvailabilityStatus", "new", change())]))
    assert set(DocumentEntry.objects.values_list("availability_status", flat=True)) == {Status.DEPRECATED.value}


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "slots", "code"),
    [
        pytest.param({"logical_id": None}, {}, "XDSMetadataUpdateError", id="initial"),
        pytest.param({"logical_id": "new"}, {}, "XDSMetadataUpdateError", id="initial-by-own-lid"),
        pytest.param({"logical_id": NOWHERE}, {}, "XDSMetadataVersionError", id="unknown-lid"),
        pytest.param({}, {"PreviousVersion": ["7"]}, "XDSMetadataVersionError", id="other-version"),
        pytest.param({}, {"PreviousVersion": []}, "XDSMetadataUpdateError", id="no-version"),
        pytest.param({}, {"PreviousVersion": ["one"]}, "XDSMetadataUpdateError", id="version-in-words"),
        pytest.param({}, {"AssociationPropagation": ["maybe"]}, "XDSMetadataUpdateError", id="propagation"),
        pytest.param({}, {"OriginalStatus": [f"{STATUS}Approved"]}, "XDSMetadataUpdateError", id="status-slot"),
        pytest.param({"unique_id": "2.999.1"}, {}, "XDSMetadataUpdateError", id="unique-id"),
        pytest.param({"class_code": None}, {}, "XDSRegistryMetadataError", id="incomplete"),
        pytest.param(
            {"object_type": ON_DEMAND, "hash": None, "size": None, "creation_time": None}, {},
            "XDSMetadataUpdateError", id="object-type",
        ),
    ],
)  # fmt: skip
def test_a_wrong_version_is_refused_whole(changes: dict[str, Any], slots: dict[str, Any], code: str) -> None:
    (one,) = registered(entry()).entries
    sets = SubmissionSet.objects.count()
    assert codes(send(versions(replace(further(one), **changes), **slots))) == {code}
    assert SubmissionSet.objects.count() == sets
    assert DocumentEntry.objects.get().availability_status == Status.APPROVED.value


def test_a_document_neither_comes_into_the_hub_s_own_repository_nor_leaves_it(settings: Any) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    (elsewhere,) = registered(entry()).entries
    assert codes(send(versions(further(elsewhere, repository_unique_id=own)))) == {"XDSMetadataUpdateError"}
    done(send(versions(further(elsewhere, repository_unique_id="1.2.3.4"))))
    one = world.entry(repository_unique_id=None, hash=None, size=None)
    assert handlers.errors(world.provide(submission(one), {one.entry_uuid: b"hello"})) == []
    row = DocumentEntry.objects.get(unique_id=one.unique_id)
    said = world.entry(unique_id=one.unique_id, logical_id=f"urn:uuid:{row.logical_id}", entry_uuid="new")
    assert codes(send(versions(replace(said, repository_unique_id="1.2.3.4")))) == {"XDSMetadataUpdateError"}
    done(send(versions(replace(said, repository_unique_id=own))))


@pytest.mark.parametrize(
    ("action", "code"), [(UPDATE, "XDSMetadataUpdateError"), (RESTRICTED, "UnmodifiableMetadataError")]
)
@pytest.mark.parametrize("changes", [{"hash": "0" * 40}, {"size": 6}])
def test_what_bytes_held_here_are_is_not_restated(
    settings: Any, action: str, code: str, changes: dict[str, Any]
) -> None:
    sent = entry(repository_unique_id=None, hash=None, size=None)
    assert handlers.errors(world.provide(submission(sent), {sent.entry_uuid: b"hello"})) == []
    row = DocumentEntry.objects.get()
    said = replace(
        sent, entry_uuid="new", logical_id=f"urn:uuid:{row.logical_id}", title="Corrected",
        repository_unique_id=settings.REPOSITORY_UNIQUE_ID, hash=str(row.hash).upper(), size=row.size,
    )  # fmt: skip
    answer = send(versions(replace(said, **changes)), action=action)
    assert codes(answer) == {code}
    assert next(iter(changes)) in handlers.errors(answer)[0][1]
    assert DocumentEntry.objects.count() == 1
    done(send(versions(said), action=action))
    new = DocumentEntry.objects.get(version=2)
    assert (new.hash, new.size) == (row.hash, row.size)


@pytest.mark.parametrize(
    "changes",
    [{"hash": "0" * 40}, {"size": 6}, {"mime_type": "text/goofy"}, {"creation_time": "2020"}, {"uri": "other.txt"}],
)
def test_what_other_repositories_hold_may_be_restated_unless_the_operator_will_not(
    settings: Any, changes: dict[str, Any]
) -> None:
    (one,) = registered(entry()).entries
    settings.RESTRICTED_UPDATES_KEEP_CONTENT = True
    assert codes(restrict(versions(further(one, **changes)))) == {"UnmodifiableMetadataError"}
    done(restrict(versions(further(one, title="Corrected"))))
    settings.RESTRICTED_UPDATES_KEEP_CONTENT = False
    done(restrict(versions(further(one, **changes), PreviousVersion=["2"])))
    done(send(versions(further(one, **changes), PreviousVersion=["3"])))


def test_a_deprecated_version_is_not_followed() -> None:
    (one,) = registered(entry()).entries
    DocumentEntry.objects.update(availability_status=Status.DEPRECATED.value)
    assert codes(send(versions(further(one)))) == {"XDSMetadataUpdateError"}


@pytest.mark.parametrize(
    ("slots", "code"),
    [
        pytest.param(change("Approved", "Approved"), "XDSMetadataUpdateOperationError", id="the-same"),
        pytest.param({"NewStatus": f"{STATUS}Deprecated"}, "XDSMetadataUpdateOperationError", id="no-original"),
        pytest.param(change("Approved", "Gone"), "XDSMetadataUpdateOperationError", id="unknown"),
        pytest.param(change() | {"PreviousVersion": "1"}, "XDSMetadataUpdateOperationError", id="with-version"),
        pytest.param(change("Deprecated", "Approved"), "XDSMetadataUpdateError", id="not-so"),
    ],
)
def test_a_wrong_change_of_status_is_refused(slots: dict[str, str], code: str) -> None:
    (one,) = registered(entry()).entries
    assert codes(send(submission(), more=[("UpdateAvailabilityStatus", one.entry_uuid, slots)])) == {code}


def test_a_submission_set_and_its_memberships_keep_their_status() -> None:
    wanted = registered(entry())
    for target in (wanted.submission_set.entry_uuid, wanted.associations[0].entry_uuid, NOWHERE):
        answer = send(submission(), more=[("UpdateAvailabilityStatus", target, change())])
        assert codes(answer) == {"XDSMetadataUpdateError"}


def test_a_patient_moves_with_everything_that_hangs_on_the_document_or_not_at_all() -> None:
    eve = world.feed_patient("P2", "Eve")
    (one,) = registered(entry()).entries
    addendum = entry()
    registered(addendum, associations=(samples.relation(APND, addendum.entry_uuid, one.entry_uuid),))
    moved = further(one, patient_id=eve)
    assert codes(send(versions(moved, patient=eve))) == {"XDSPatientIDReconciliationError"}
    done(send(versions(moved, patient=eve, AssociationPropagation=["no"])))
    assert ids(query(Kind.FIND_DOCUMENTS, XDSDocumentEntryPatientId=cx(eve), XDSDocumentEntryStatus=APPROVED))
    both = query(Kind.GET_DOCUMENTS, MetadataLevel="2", XDSDocumentEntryUniqueId=f"('{one.unique_id}')")
    assert codes(both) == {"XDSResultNotSinglePatient"}


def test_two_operations_on_one_object_are_refused() -> None:
    first, second = registered(entry(), entry()).entries
    twice = versions(
        further(first), replace(first, entry_uuid="other", logical_id=first.entry_uuid, unique_id="2.999.3")
    )
    assert codes(send(twice)) == {"XDSMetadataUpdateOperationError"}
    relation = samples.relation(APND, second.entry_uuid, "new")
    wanted = versions(further(first))
    wanted = replace(wanted, associations=(*wanted.associations, relation))
    answer = send(wanted, more=[("SubmitAssociation", relation.entry_uuid, {})])
    assert codes(answer) == {"XDSMetadataUpdateOperationError"}


def test_what_an_update_makes_has_ids_of_its_own() -> None:
    """Spec/xds.md 4, stages 2, 6 and 7, which hold of every submission."""
    held = registered(entry(), entry(), folders=(folder(),))
    one, other = held.entries
    wanted = versions(further(one))
    (member,) = wanted.associations
    own, taken = wanted.submission_set, held.submission_set.entry_uuid
    for broken, code in (
        (versions(replace(further(one), entry_uuid=other.entry_uuid)), "XDSRegistryMetadataError"),
        (
            replace(
                wanted, submission_set=replace(own, entry_uuid=taken), associations=(replace(member, source=taken),)
            ),
            "XDSRegistryMetadataError",
        ),
        (
            replace(wanted, associations=(replace(member, entry_uuid=held.associations[0].entry_uuid),)),
            "XDSRegistryMetadataError",
        ),
        (replace(wanted, submission_set=replace(own, unique_id=other.unique_id)), "XDSDuplicateUniqueIdInRegistry"),
        (
            replace(wanted, submission_set=replace(own, unique_id=held.folders[0].unique_id)),
            "XDSDuplicateUniqueIdInRegistry",
        ),
    ):
        assert codes(send(broken)) == {code}
    operation = ("UpdateAvailabilityStatus", other.entry_uuid, change())
    twice = replace(wanted, associations=(replace(member, entry_uuid="operation0"),))
    assert codes(send(twice, more=(operation,))) == {"XDSRegistryMetadataError"}
    # A name is a name, whatever it looks like.
    done(send(versions(replace(further(one), entry_uuid=other.entry_uuid.removeprefix("urn:uuid:")))))
    assert SubmissionSet.objects.count() == 2


def test_an_update_makes_no_member_of_what_is_registered() -> None:
    one, other = registered(entry(), entry()).entries
    wanted = versions(further(one))
    (member,) = wanted.associations
    reference = replace(member, entry_uuid="r", target=other.entry_uuid, submission_set_status="Reference", extra={})
    both = replace(wanted, associations=(member, reference))
    assert handlers.errors(send(both)) == [
        (
            "XDSMetadataUpdateError",
            f"Association[r].targetObject: {other.entry_uuid} is not in the submission, and no update makes it a member",
        )
    ]
    assert codes(restrict(both)) == {"XDSInvalidRequestException"}
    assert DocumentEntry.objects.count() == 2


def test_an_association_is_added_once_and_joins_two_objects() -> None:
    first, second = registered(entry(), entry()).entries
    ring = samples.relation(APND, first.entry_uuid, first.entry_uuid)
    answer = send(replace(submission(), associations=(ring,)), more=(("SubmitAssociation", ring.entry_uuid, {}),))
    assert codes(answer) == {"XDSMetadataUpdateError"}
    relation = samples.relation(APND, first.entry_uuid, second.entry_uuid)
    again = replace(relation, entry_uuid="again")
    answer = send(
        replace(submission(), associations=(relation, again)),
        more=(("SubmitAssociation", relation.entry_uuid, {}), ("SubmitAssociation", "again", {})),
    )
    assert handlers.errors(answer) == [
        ("XDSMetadataUpdateError", "Association[again]: the same association is given twice")
    ]
    assert not Association.objects.filter(type=APND.value).exists()


def test_a_status_is_changed_once_in_a_submission() -> None:
    (one,) = registered(entry()).entries
    operation = ("UpdateAvailabilityStatus", one.entry_uuid, change())
    assert codes(send(submission(), more=(operation, operation))) == {"XDSMetadataUpdateOperationError"}
    assert DocumentEntry.objects.get().availability_status == Status.APPROVED.value


def test_another_s_object_is_as_one_that_is_not_there() -> None:
    (one,) = registered(entry()).entries
    answer = send(versions(further(one)), hospital_caller())
    assert codes(answer) == {"XDSMetadataVersionError"}
    status = send(submission(), hospital_caller(), more=[("UpdateAvailabilityStatus", one.entry_uuid, change())])
    assert codes(status) == {"XDSMetadataUpdateError"}


# -- ITI-92 ---------------------------------------------------------------------------------------------------------


def restrict(wanted: Submission, **more: Any) -> Answer:
    return send(wanted, action=RESTRICTED, **more)


def test_a_restricted_update_finds_its_entry_by_document_and_follows_a_deprecated_one() -> None:
    (one,) = registered(entry()).entries
    done(restrict(versions(replace(one, entry_uuid="new", logical_id=None, title="Corrected"))))
    DocumentEntry.objects.update(availability_status=Status.DEPRECATED.value)
    done(restrict(versions(further(one, title="Once more"), PreviousVersion=["2"])))
    row = DocumentEntry.objects.get(version=3)
    assert (row.title, row.availability_status) == ("Once more", Status.DEPRECATED.value)


def test_who_registered_the_same_document_too_is_not_in_the_way_of_a_restricted_update() -> None:
    (one,) = registered(entry()).entries
    registered(replace(one, entry_uuid="theirs", logical_id=None), who=hospital_caller())
    done(restrict(versions(replace(one, entry_uuid="new", logical_id=None, title="Corrected"))))
    assert DocumentEntry.objects.get(version=2).logical_id == DocumentEntry.objects.earliest("pk").logical_id


@pytest.mark.parametrize(
    ("changes", "slots", "code"),
    [
        pytest.param({"logical_id": "new"}, {}, "XDSInvalidRequestException", id="initial"),
        pytest.param({"unique_id": "2.999.1"}, {}, "XDSMetadataIdentifierError", id="unique-id"),
        pytest.param({"repository_unique_id": "1.2.3"}, {}, "UnmodifiableMetadataError", id="repository"),
        pytest.param(
            {"source_patient_id": replace(world.ADA, value="X")}, {}, "UnmodifiableMetadataError", id="source"
        ),
        pytest.param({}, {"AssociationPropagation": ["no"]}, "XDSMetadataAnnotationError", id="no-propagation"),
        pytest.param({}, {"PreviousVersion": []}, "XDSMetadataAnnotationError", id="no-version"),
        pytest.param({}, {"PreviousVersion": ["9"]}, "XDSMetadataVersionError", id="other-version"),
    ],
)
def test_a_restricted_update_has_its_own_refusals(changes: dict[str, Any], slots: dict[str, Any], code: str) -> None:
    (one,) = registered(entry()).entries
    wanted = replace(further(one), **changes)
    assert codes(restrict(versions(wanted, **slots))) == {code}


def test_a_restricted_update_is_of_document_entries_alone() -> None:
    wanted = registered(entry(), folders=(folder(),))
    (held,) = wanted.folders
    renamed = replace(held, entry_uuid="new", logical_id=held.entry_uuid)
    assert codes(restrict(versions(renamed))) == {"XDSObjectTypeError"}
    status = [("UpdateAvailabilityStatus", wanted.entries[0].entry_uuid, change())]
    assert codes(restrict(submission(), more=tuple(status))) == {"XDSObjectTypeError"}
    assert codes(restrict(submission())) == {"XDSInvalidRequestException"}
    eve = world.feed_patient("P2", "Eve")
    moved = further(wanted.entries[0], patient_id=eve)
    assert codes(restrict(versions(moved, patient=eve))) == {"XDSPatientIDReconciliationError"}
