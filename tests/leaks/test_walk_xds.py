"""The walk over XDS: stored queries and retrieval answer, with hidden documents, as if these had never been registered."""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from documents.metadata import CX, ON_DEMAND, AssociationType, CodedValue
from documents.models import DocumentEntry
from documents.stored_query import MULTI_PATIENT, Kind
from hie.faces.soap.message import Answer
from hie.standards.facts import Caller
from tests.documents import samples
from tests.exchange import world as exchange_world
from tests.leaks import place, policies
from tests.leaks.policies import Document, Policy
from tests.leaks.walking import Ear, Heard, Listener, Names, same, taken_back, walks
from tests.soap import handlers, test_removal, test_updates, world

pytestmark = pytest.mark.django_db
EXAMPLES = int(os.environ.get("HIE_EXAMPLES", "1"))
PATIENT = f"'{place.LOCAL}^^^&{exchange_world.HOSPITAL_AUTHORITY}&ISO'"
CCDA = CodedValue(code="urn:hl7-org:sdwg:ccda-structuredBody:2.1", scheme="urn:oid:1.3.6.1.4.1.19376.1.2.3")
ON_DEMAND_ACTION = "urn:ihe:iti:2010:RegisterOnDemandDocumentEntry"
EVERY = world.EVERY_STATUS
RELATED = "('urn:ihe:iti:2007:AssociationType:RPLC','urn:ihe:iti:2007:AssociationType:APND','urn:ihe:iti:2007:AssociationType:XFRM')"
# When a folder was last changed is an instant of the side's own; which changes count is walked over FHIR.
_UPDATED = re.compile(r'(name="lastUpdateTime".*?<rim:Value>)\d+')

FINDS: dict[str, tuple[str, dict[str, str]]] = {
    "current": (Kind.FIND_DOCUMENTS, {"XDSDocumentEntryPatientId": PATIENT, "XDSDocumentEntryStatus": world.APPROVED}),
    "all": (Kind.FIND_DOCUMENTS, {"XDSDocumentEntryPatientId": PATIENT, "XDSDocumentEntryStatus": EVERY}),
    "restricted": (
        Kind.FIND_DOCUMENTS,
        {
            "XDSDocumentEntryPatientId": PATIENT, "XDSDocumentEntryStatus": EVERY,
            "XDSDocumentEntryConfidentialityCode": "('R^^2.16.840.1.113883.5.25')",
        },
    ),
    "excluding": (
        Kind.FIND_DOCUMENTS_EXCLUDE,
        {
            "XDSDocumentEntryPatientId": PATIENT, "XDSDocumentEntryStatus": world.APPROVED,
            "XDSDocumentEntryClassCodeExclude": "('IMAGES^^1.3.6.1.4.1.19376.1.2.6.1')",
        },
    ),
    "sets": (
        Kind.FIND_SUBMISSION_SETS, {"XDSSubmissionSetPatientId": PATIENT, "XDSSubmissionSetStatus": world.APPROVED}
    ),
    "folders": (Kind.FIND_FOLDERS, {"XDSFolderPatientId": PATIENT, "XDSFolderStatus": EVERY}),
    "everything": (
        Kind.GET_ALL,
        {
            "patientId": PATIENT, "XDSDocumentEntryStatus": EVERY, "XDSSubmissionSetStatus": EVERY,
            "XDSFolderStatus": EVERY,
        },
    ),
}  # fmt: skip


def heard(ear: Ear, answer: Answer) -> Heard:
    """An answer as it is compared, with the documents that come with it."""
    text = _UPDATED.sub(r"\1", etree.tostring(answer.body, encoding="unicode"))
    text = re.sub(r"[0-9a-f-]{36}@hub", "part@hub", text)
    parts = b"".join(b"|" + b"".join(one.chunks) for one in answer.attachments)
    return ear.heard(200, {}, text.encode() + parts)


def asked(ear: Ear, kind: str, *, multi: bool = False, refs: bool = False, **slots: Any) -> Heard:
    """A stored query."""
    ear.listener.taken()
    return heard(ear, world.query(kind, ear.caller, refs=refs, multi=multi, **slots))


def named(entry: str, unique: str, submission_set: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """The queries that name one document, its set, and what may stand around them."""
    one = f"'urn:uuid:{entry}'"
    return {
        "documents": (Kind.GET_DOCUMENTS, {"XDSDocumentEntryEntryUUID": f"({one})"}),
        "by uniqueId": (Kind.GET_DOCUMENTS, {"XDSDocumentEntryUniqueId": f"('{unique}')"}),
        "associations": (Kind.GET_ASSOCIATIONS, {"uuid": f"({one})"}),
        "with associations": (Kind.GET_DOCUMENTS_AND_ASSOCIATIONS, {"XDSDocumentEntryEntryUUID": f"({one})"}),
        "sets": (Kind.GET_SUBMISSION_SETS, {"uuid": f"({one})"}),
        "contents": (
            Kind.GET_SUBMISSION_SET_AND_CONTENTS, {"XDSSubmissionSetEntryUUID": f"'urn:uuid:{submission_set}'"}
        ),
        "folders": (Kind.GET_FOLDERS_FOR_DOCUMENT, {"XDSDocumentEntryEntryUUID": one}),
        "related": (Kind.GET_RELATED_DOCUMENTS, {"XDSDocumentEntryEntryUUID": one, "AssociationTypes": RELATED}),
    }  # fmt: skip


def side(
    who: str,
    held: list[Document],
    policy: Policy,
    there: list[bool],
    seen: list[bool],
    in_folder: bool,
    listener: Listener,
    own: str,
) -> dict[Any, list[Heard]]:
    """One hub: all documents that are `there`; what is heard of them over XDS."""
    place.takes_part(policy)
    person = place.fed()
    place.helped()
    folder = ""
    if in_folder:
        made, address, _ = place.published_in_sets(held, there, listener)
        folder = address.removeprefix("List/")
    else:
        made = place.published(held, there, listener)
    place.directed(policy, person, made, listener)
    names = {person: "<person>"} | place.called(made, seen)
    caller: Caller = policies.requester(who, person)
    ear = Ear(caller, listener, names)
    found: dict[Any, list[Heard]] = {}
    for name, (kind, slots) in FINDS.items():
        found[name,] = [asked(ear, kind, **slots), asked(ear, kind, refs=True, **slots)]
    multi = next(iter(MULTI_PATIENT))
    slots = {"XDSDocumentEntryPatientId": f"({PATIENT})", "XDSDocumentEntryStatus": EVERY}
    found["several patients",] = [asked(ear, multi, multi=True, **slots)]
    if folder:
        contents = {"XDSFolderEntryUUID": f"'urn:uuid:{folder}'"}
        found["folder",] = [asked(ear, Kind.GET_FOLDER_AND_CONTENTS, **contents)]
        found["folder by uuid",] = [asked(ear, Kind.GET_FOLDERS, XDSFolderEntryUUID=f"('urn:uuid:{folder}')")]
        found["around the folder",] = [asked(ear, Kind.GET_ASSOCIATIONS, uuid=f"('urn:uuid:{folder}')")]
    hidden = dict(place.not_seen(made, seen))
    for number, ids in enumerate(made):
        of_it = hidden.get(number) or ids
        if of_it is None:
            continue
        unique = of_it["unique"].removeprefix("urn:oid:")
        if number in hidden:
            ear.known = names | {unique: "<asked>"}
            ear.known |= {of_it[kind].split("/")[1]: f"<asked {kind}>" for kind in place.KINDS}
        entry, own_set = of_it["DocumentReference"].split("/")[1], of_it["List"].split("/")[1]
        questions = named(entry, unique, own_set)
        if folder and number < 2 and any(seen[:2]):
            # Both came in one set, which whoever sees one of them sees.
            questions.pop("contents" if number in hidden else "", None)
        for name, (kind, slots) in questions.items():
            found[name, number] = [asked(ear, kind, **slots)]
        ear.listener.taken()
        found["bytes", number] = [heard(ear, world.retrieve((own, unique), who=caller))]
        ear.known = names
    return found


def bare(questions: dict[Any, list[Heard]]) -> dict[Any, list[Heard]]:
    names = Names({})
    return {tuple(names.bare(str(part)) for part in key): heard for key, heard in questions.items()}


@walks("xds", "RegistryStoredQuery", "MultiPatientStoredQuery", "RetrieveDocumentSet")
@pytest.mark.parametrize(
    "who",
    [pytest.param(who, marks=() if who in ("clinician", "payer") else pytest.mark.slow) for who in policies.REQUESTERS],
)
@settings(
    max_examples=EXAMPLES,
    derandomize="HIE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(held=policies.documents, policy=policies.policies, in_folder=st.booleans())
def test_over_xds_the_hub_with_hidden_documents_answers_as_one_that_never_had_them(
    listener: Listener, settings: Any, who: str, held: list[Document], policy: Policy, in_folder: bool
) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    if in_folder:  # what comes in one submission with another is related to nothing that was there before
        held = [replace(one, relation="") if number == 1 else one for number, one in enumerate(held)]
    seen = policies.visible(who, held, policy)
    everything = [True] * len(held)
    with_them = taken_back(lambda: side(who, held, policy, everything, seen, in_folder, listener, own))
    without = taken_back(lambda: side(who, held, policy, seen, seen, in_folder, listener, own))
    same(bare(with_them), bare(without))


def made_of(
    who: str, held: list[Document], policy: Policy, there: list[bool], seen: list[bool], listener: Listener, own: str
) -> dict[Any, list[Heard]]:
    """One hub: a summary made on demand of all documents that are `there`, over XDS and over FHIR."""
    place.takes_part(policy)
    person = place.fed()
    place.helped()
    of_her = CX(value=place.LOCAL, authority=exchange_world.HOSPITAL_AUTHORITY)
    one = world.entry(
        of_her, object_type=ON_DEMAND, hash=None, size=None, creation_time=None, repository_unique_id=own,
        mime_type="text/xml", format_code=CCDA, unique_id="2.999.7.770",
    )  # fmt: skip
    hospital = exchange_world.hospital_caller()
    wanted = world.with_uuids(world.submission(one, patient=of_her, unique_id="2.999.6.770", source_id="2.999.10.2"))
    assert handlers.errors(handlers.call(ON_DEMAND_ACTION, world.registration(wanted), hospital)) == []
    made = place.published(held, there, listener, clinical=True)
    place.directed(policy, person, made, listener)
    entry = str(DocumentEntry.objects.get(unique_id="2.999.7.770").entry_uuid)
    names = {person: "<person>", entry: "<entry>"} | place.called(made, seen)
    ear = Ear(policies.requester(who, person), listener, names)
    ear.listener.taken()
    return {
        "set": [heard(ear, world.retrieve((own, "2.999.7.770"), who=ear.caller))],
        "binary": [_without_digest(ear.ask("GET", f"/fhir/Binary/{entry}"))],
        "entry": [ear.ask("GET", f"/fhir/DocumentReference/{entry}")],
    }


def _without_digest(answer: Heard) -> Heard:
    """Without the digest of bytes that have ids and instants of their side in them."""
    return replace(answer, headers=tuple(pair for pair in answer.headers if pair[0] != "ETag"))


@walks("xds", "RetrieveDocumentSet")
@pytest.mark.parametrize(
    "who",
    [
        pytest.param(who, marks=() if who in ("clinician", "patient") else pytest.mark.slow)
        for who in policies.REQUESTERS
    ],
)
@settings(
    max_examples=EXAMPLES,
    derandomize="HIE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@example(held=[Document(), Document(letter="V", relation="replaces"), Document(year=2022)], policy=Policy())
@given(held=policies.documents, policy=policies.policies)
def test_a_summary_made_on_demand_is_that_of_a_hub_that_never_had_what_is_hidden(
    listener: Listener, settings: Any, who: str, held: list[Document], policy: Policy
) -> None:
    own = settings.REPOSITORY_UNIQUE_ID
    seen = policies.visible(who, held, policy)
    everything = [True] * len(held)
    with_them = taken_back(lambda: made_of(who, held, policy, everything, seen, listener, own))
    without = taken_back(lambda: made_of(who, held, policy, seen, seen, listener, own))
    same(with_them, without)


@walks("xds", "RegisterDocumentSet-b", "ProvideAndRegisterDocumentSet-b", "RegisterOnDemandDocumentEntry")
@walks("xds", "DeleteDocumentSet", "RemoveDocuments", "UpdateDocumentSet", "RestrictedUpdateDocumentSet")
def test_what_is_hidden_is_not_there_for_who_submits_or_removes(listener: Listener, settings: Any) -> None:
    """A document of the hospital that the patient keeps from the clinic, named by the clinic in everything it sends."""

    def told(exists: bool) -> dict[Any, list[Heard]]:
        place.takes_part()
        person = place.fed()
        (ids,) = place.published([Document()], [exists], listener)
        place.directed(Policy(provisions=({"type": "deny"},)), person, [], listener)
        ear = Ear(exchange_world.caller(), listener, {person: "<person>"})
        entry = ids["DocumentReference"].split("/")[1] if ids else str(uuid.uuid4())
        unique = ids["unique"].removeprefix("urn:oid:") if ids else "2.999.404"
        ear.known |= {entry: "<entry>", unique: "<unique>"}
        listener.taken()
        found = {}
        for name, answer in submitted(f"urn:uuid:{entry}", unique, settings.REPOSITORY_UNIQUE_ID).items():
            found[name,] = [_numbered(heard(ear, answer))]
        return found

    same(bare(taken_back(lambda: told(True))), bare(taken_back(lambda: told(False))))


def _numbered(answer: Heard) -> Heard:
    """Without the numbers that the tests give the associations of a submission."""
    return replace(answer, body=re.sub(r"Association\[a\d+\]", "Association[a]", answer.body))


def submitted(entry: str, unique: str, own: str) -> dict[str, Answer]:
    """What the clinic hears of submissions about a patient of its own that point at an entry, and of removing it."""
    world.feed_patient("P1")
    answers = {}
    made_later = {"object_type": ON_DEMAND, "hash": None, "size": None, "creation_time": None}
    for name, changes in (("register", {}), ("on demand", made_later)):
        one = world.entry(entry_uuid="Document01", **changes)
        wanted = world.submission(
            one, associations=(samples.relation(AssociationType.APND, "Document01", entry),), unique_id="2.999.6.77"
        )
        action = world.REGISTER if name == "register" else ON_DEMAND_ACTION
        answers[name] = handlers.call(action, world.registration(wanted), exchange_world.caller())
    one = world.entry(entry_uuid="Document01", repository_unique_id=None, hash=None, size=None)
    wanted = world.submission(
        one, associations=(samples.relation(AssociationType.RPLC, "Document01", entry),), unique_id="2.999.6.77"
    )
    answers["provide"] = world.provide(wanted, {"Document01": b"hello"})
    change = [("UpdateAvailabilityStatus", entry, test_updates.change())]
    answers["status"] = test_updates.send(world.submission(unique_id="2.999.6.77"), more=tuple(change))
    version = world.entry(entry_uuid="Document01", logical_id=entry)
    answers["version"] = test_updates.send(test_updates.versions(version))
    answers["restricted"] = test_updates.restrict(test_updates.versions(version))
    answers["remove"] = test_removal.remove(entry)
    answers["remove documents"] = test_removal.remove_documents((own, unique))
    return answers
