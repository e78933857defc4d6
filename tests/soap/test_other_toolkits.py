"""Messages of toolkits that read the framework otherwise, or mean harm: each rule by a message of which one thing is wrong."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from documents import validation
from documents.metadata import AssociationMetadata, AssociationType, Submission
from documents.models import SubmissionSet
from documents.stored_query import Kind
from hie.faces.soap.ebxml import names
from hie.faces.soap.message import Answer
from hie.standards import xds_schema
from tests.exchange.world import caller, exchange
from tests.grounds import ground
from tests.soap import handlers, world
from tests.soap.world import APPROVED, cx, entry, folder, ids, register, registered, submission

pytestmark = pytest.mark.django_db
MEMBER = AssociationType.HAS_MEMBER
ELSEWHERE = "urn:uuid:11111111-1111-4111-8111-111111111111"
Change = Callable[[etree._Element], None]


@ground
def ada_of_the_clinic() -> None:
    """Clinic and hospital, and the patient whom the clinic feeds."""
    exchange()
    world.feed_patient("P1")


@pytest.fixture(autouse=True)
def _world(ada_of_the_clinic: None, settings: Any, tmp_path: Path) -> None:
    settings.DOCUMENT_STORE, settings.DOCUMENT_DIR = "folder", tmp_path / "documents"


def tag(name: str) -> str:
    return names.tag(names.RIM, name)


def one(body: etree._Element, name: str) -> etree._Element:
    found = body.find(f".//{tag(name)}")
    assert found is not None
    return found


def slot(owner: etree._Element, name: str, *values: str) -> None:
    """The slot of this name with these values, in place of any that is there."""
    for old in [each for each in owner.findall(tag("Slot")) if each.get("name") == name]:
        owner.remove(old)
    made = etree.Element(tag("Slot"), {"name": name})
    listed = etree.SubElement(made, tag("ValueList"))
    for value in values:
        etree.SubElement(listed, tag("Value")).text = value
    owner.insert(0, made)


def sent(change: Change, wanted: Submission | None = None) -> list[tuple[str, str]]:
    """Where each error of ITI-42 is, by the part of the codeContext before the colon, with its code."""
    body = world.registration(wanted or submission(entry(entry_uuid="d"), folders=(folder(entry_uuid="f"),)))
    change(body)
    answer = handlers.call(world.REGISTER, body, caller())
    if handlers.status(answer) == "Failure":
        assert not SubmissionSet.objects.exists(), "nothing is half stored"
    return [(code, context.partition(": ")[0]) for code, context in handlers.errors(answer)]


def of_entry(attribute: str, *values: str) -> Change:
    return lambda body: slot(one(body, "ExtrinsicObject"), attribute, *values)


def said(name: str, attribute: str, value: str) -> Change:
    return lambda body: one(body, name).set(attribute, value)


def twice(find: Callable[[etree._Element], etree._Element]) -> Change:
    def change(body: etree._Element) -> None:
        found = find(body)
        found.addnext(copy.deepcopy(found))

    return change


def under(scheme: str, kind: str = "Classification") -> Callable[[etree._Element], etree._Element]:
    """The first classification or identifier of a scheme."""
    attribute = "classificationScheme" if kind == "Classification" else "identificationScheme"
    return lambda body: next(each for each in body.iter(tag(kind)) if each.get(attribute) == scheme)


CLASS = names.ENTRY_CODES["classCode"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        pytest.param(of_entry("creationTime", "2024", "2025"), "DocumentEntry[d].creationTime", id="two-times"),
        pytest.param(twice(lambda b: one(one(b, "ExtrinsicObject"), "Slot")), "DocumentEntry[d].creationTime", id="slot-twice"),
        pytest.param(of_entry("creationTime", "20240230"), "DocumentEntry[d].creationTime", id="no-such-day"),
        pytest.param(of_entry("creationTime", "20240101120000+0100"), "DocumentEntry[d].creationTime", id="zone"),
        pytest.param(of_entry("creationTime", "20240101120000.5"), "DocumentEntry[d].creationTime", id="fraction"),
        pytest.param(of_entry("size", "\uff15"), "DocumentEntry[d].size", id="wide-digit"),
        pytest.param(of_entry("size", "-1"), "DocumentEntry[d].size", id="negative-size"),
        pytest.param(of_entry("hash", "a" * 41), "DocumentEntry[d].hash", id="long-hash"),
        pytest.param(of_entry("repositoryUniqueId", "1.02"), "DocumentEntry[d].repositoryUniqueId", id="no-oid"),
        pytest.param(of_entry("repositoryUniqueId", "urn:oid:1.2"), "DocumentEntry[d].repositoryUniqueId", id="urn"),
        pytest.param(of_entry("sourcePatientId", "P1^^^ns&1.2&ISO"), "DocumentEntry[d].sourcePatientId", id="namespace"),
        pytest.param(of_entry("sourcePatientId", "P1^^^&1.2&ISO^PI"), "DocumentEntry[d].sourcePatientId", id="type-of-id"),
        pytest.param(of_entry("sourcePatientInfo", "PID-19|1"), "DocumentEntry[d].sourcePatientInfo", id="pid-19"),
        pytest.param(of_entry(names.REFERENCE_ID_LIST, "a^^^&1.2&ISO"), "DocumentEntry[d].referenceIdList", id="no-type"),
        pytest.param(of_entry("documentAvailability", "Online"), "DocumentEntry[d].documentAvailability", id="availability"),
        pytest.param(said("ExtrinsicObject", "home", "1.2"), "DocumentEntry[d].homeCommunityId", id="home"),
        pytest.param(said("ExtrinsicObject", "mimeType", "text"), "DocumentEntry[d].mimeType", id="media-type"),
        pytest.param(said("ExtrinsicObject", "lid", ELSEWHERE), "DocumentEntry[d].logicalID", id="version-of-another"),
        pytest.param(twice(under(CLASS)), "DocumentEntry[d].classCode", id="two-class-codes"),
        pytest.param(lambda b: under(CLASS)(b).set("nodeRepresentation", ""), "DocumentEntry[d].classCode", id="no-code"),
        pytest.param(lambda b: slot(under(CLASS)(b), "codingScheme", "1.2", "1.3"), "DocumentEntry[d].classCode", id="two-schemes"),
        pytest.param(lambda b: slot(under(CLASS)(b), "codingScheme"), "DocumentEntry[d].classCode", id="no-scheme"),
        pytest.param(lambda b: under(CLASS)(b).set("classifiedObject", "f"), "DocumentEntry[d].classifiedObject", id="of-another"),
        pytest.param(twice(under(names.ENTRY_UNIQUE_ID, "ExternalIdentifier")), "DocumentEntry[d].uniqueId", id="two-ids"),
        pytest.param(twice(under(names.ENTRY_PATIENT_ID, "ExternalIdentifier")), "DocumentEntry[d].patientId", id="two-patients"),
        pytest.param(lambda b: one(b, "Association").set("lid", ELSEWHERE), "Association[{a}].logicalID", id="association-lid"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_one_attribute_is_named_by_object_and_attribute(change: Change, where: str) -> None:
    wanted = submission(entry(entry_uuid="d"), folders=(folder(entry_uuid="f"),))
    where = where.replace("{a}", wanted.associations[0].entry_uuid)
    assert set(sent(change, wanted)) == {("XDSRegistryMetadataError", where)}
    assert sent(lambda body: None, wanted) == []


@pytest.mark.parametrize("kind", ["HasMember", "", "urn:oasis:names:tc:ebxml-regrep:AssociationType:Foo"])
def test_a_type_of_association_that_is_none_is_named_beside_what_hangs_on_nothing_by_it(kind: str) -> None:
    wanted = submission(entry(entry_uuid="d"))
    (first,) = wanted.associations
    found = sent(said("Association", "associationType", kind), wanted)
    assert [where for _, where in found] == [f"Association[{first.entry_uuid}].associationType", "DocumentEntry[d]"]


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [({"limited_metadata": True}, "limitedMetadata"), ({"home_community_id": "1.2"}, "homeCommunityId")],
)
def test_a_folder_is_held_to_the_rules_of_a_submission_set(changes: dict[str, Any], attribute: str) -> None:
    wanted = submission(entry(), folders=(folder(entry_uuid="f", **changes),))
    assert sent(lambda body: None, wanted) == [("XDSRegistryMetadataError", f"Folder[f].{attribute}")]


def test_a_folder_registered_before_is_joined_by_documents_and_is_no_member_of_another_set() -> None:
    held = registered(entry(), folders=(folder(),)).folders[0].entry_uuid
    wanted = submission(entry(entry_uuid="d"))
    own = wanted.submission_set.entry_uuid

    def with_more(*more: AssociationMetadata) -> Answer:
        return register(replace(wanted, associations=(*wanted.associations, *more)))

    whole = AssociationMetadata(entry_uuid="w", type=MEMBER, source=own, target=held, submission_set_status="Reference")
    assert handlers.errors(with_more(whole)) == [
        (
            "XDSRegistryMetadataError",
            "Association[w].targetObject: a folder registered before is no member of another submission set",
        )
    ]
    member = AssociationMetadata(entry_uuid="m", type=MEMBER, source=held, target="d")
    assert handlers.errors(with_more(member, replace(member, entry_uuid="n", source=own, target="m"))) == []


def test_a_list_in_one_value_of_a_query_may_be_long_and_that_of_an_object_may_not() -> None:
    wanted = registered(entry()).entries[0]
    code = "'REPORTS^^1.3.6.1.4.1.19376.1.2.6.1'"
    listed = "(" + ",".join([*(f"'X{number}^^1.2.3'" for number in range(200)), code]) + ")"
    slots = {"XDSDocumentEntryPatientId": cx(), "XDSDocumentEntryStatus": APPROVED, "XDSDocumentEntryClassCode": listed}
    asked = world.asking(Kind.FIND_DOCUMENTS, slots)
    assert xds_schema.complaints(asked) == []
    assert ids(handlers.call(world.QUERY, asked, caller())) == {wanted.entry_uuid}
    body = world.registration(submission(entry()))
    slot(one(body, "ExtrinsicObject"), "urn:example:long", "v" * 257)
    (complaint,) = xds_schema.complaints(body)
    assert (complaint.element, complaint.kind) == ("Value", "SCHEMAV_CVC_MAXLENGTH_VALID")


def test_a_submission_of_very_many_members_is_checked_in_time_that_grows_with_their_number() -> None:
    def seconds(count: int) -> float:
        wanted = submission(*(entry(entry_uuid=f"d{n}") for n in range(count)), folders=(folder(entry_uuid="f"),))
        own = wanted.submission_set.entry_uuid
        members = [
            AssociationMetadata(entry_uuid=f"m{n}", type=MEMBER, source="f", target=f"d{n}") for n in range(count)
        ]
        joined = [replace(each, entry_uuid=f"j{n}", source=own, target=f"m{n}") for n, each in enumerate(members)]
        whole = replace(wanted, associations=(*wanted.associations, *members, *joined))
        began = time.process_time()
        assert validation.check(whole) == []
        return time.process_time() - began

    # Twenty times as many took four hundred times as long when each member was held against all.
    assert seconds(4000) < 60 * max(seconds(200), 0.01)
