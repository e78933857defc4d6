"""The registry's rules on rows: atomic, in the order of the standard, one winner of concurrent replaces."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from documents import queries, registry, repository
from documents.errors import (
    DeprecatedTarget,
    DuplicateUniqueId,
    InvalidAttribute,
    InvalidStructure,
    MissingDocument,
    NonIdenticalHash,
    PatientIdDoesNotMatch,
    SubmissionRefused,
    UnknownPatientId,
    UnresolvedReference,
)
from documents.metadata import CX, ON_DEMAND, AssociationType, MetadataLevel, Status
from documents.models import Association, DocumentEntry, Folder, SubmissionSet
from hie.standards.facts import Labels
from tests.documents.conftest import make_patients
from tests.documents.samples import (
    ALICE,
    ALICE_ELSEWHERE,
    BOB,
    entry,
    folder,
    member,
    put_all,
    register,
    relation,
    submission,
)

pytestmark = pytest.mark.django_db
RPLC, XFRM, APND = AssociationType.RPLC, AssociationType.XFRM, AssociationType.APND
Patients = dict[CX, int]


def registered(patients: Patients, **changes: Any) -> str:
    """A new approved entry; its ``urn:uuid:…``."""
    one = entry(**changes)
    return register(submission(one), patients).ids[one.entry_uuid]


def on_demand(**changes: Any) -> Any:
    return entry(object_type=ON_DEMAND, creation_time=None, **changes)


def related(patients: Patients, kind: AssociationType, target: str, **more: Any) -> str:
    """A new entry in a relationship to a registered one."""
    one = entry()
    return register(submission(one, associations=(relation(kind, one.entry_uuid, target),)), patients, **more).ids[
        one.entry_uuid
    ]


def status(uuid: str) -> Status:
    row = queries.entry(uuid)
    assert row is not None
    return row.metadata.availability_status


def problems(refused: pytest.ExceptionInfo[SubmissionRefused]) -> list[type]:
    return [type(problem) for problem in refused.value.problems]


def test_a_registered_entry_is_read_back_as_it_was_sent(patients: Patients) -> None:
    sent = entry(title="T", comments="C", uri="a.txt", extra={"urn:x": ["1"]})
    receipt = register(submission(sent), patients)
    row = queries.entry(receipt.ids[sent.entry_uuid])
    assert row is not None
    own = receipt.ids[sent.entry_uuid]
    assert row.metadata == replace(
        sent, entry_uuid=own, logical_id=own, hash=row.metadata.hash, size=len(sent.unique_id)
    )
    assert (row.identifier_pk, row.custodian, row.submission_set_uuid) == (
        patients[ALICE], "org-clinic", receipt.submission_set_uuid,
    )  # fmt: skip


def test_symbolic_names_are_replaced_everywhere_and_uuids_kept(patients: Patients) -> None:
    own = f"urn:uuid:{uuid4()}"
    one, shelf = entry(entry_uuid=own), folder()
    membership = member(shelf.entry_uuid, own, None)
    receipt = register(submission(one, folders=(shelf,), associations=(membership,)), patients)
    assert receipt.ids[own] == own
    found = queries.folder(receipt.ids[shelf.entry_uuid])
    assert found is not None
    assert found.members == (own,)
    whole = queries.submission_set(receipt.submission_set_uuid)
    assert whole is not None
    assert set(whole.members) == {own, receipt.ids[shelf.entry_uuid], receipt.ids[membership.entry_uuid]}


def test_a_refused_submission_leaves_nothing(patients: Patients) -> None:
    good, bad = entry(), entry(unique_id="2.999.7.500")
    registered(patients, unique_id="2.999.7.500")
    before = [model.objects.count() for model in (SubmissionSet, DocumentEntry, Association)]
    with pytest.raises(SubmissionRefused):
        register(submission(good, bad), patients, bytes_of={bad.entry_uuid: b"other"})
    assert [model.objects.count() for model in (SubmissionSet, DocumentEntry, Association)] == before


def test_replacing_deprecates_and_a_second_replacement_is_refused(patients: Patients) -> None:
    old = registered(patients)
    new = related(patients, RPLC, old)
    assert (status(old), status(new)) == (Status.DEPRECATED, Status.APPROVED)
    with pytest.raises(SubmissionRefused) as refused:
        related(patients, RPLC, old)
    assert problems(refused) == [DeprecatedTarget]
    row = queries.entry(new)
    assert row is not None
    assert [(a.type, a.target) for a in row.associations] == [(RPLC, old)]


@pytest.mark.parametrize("kind", [RPLC, AssociationType.XFRM_RPLC])
@pytest.mark.parametrize("level", [MetadataLevel.XDS, MetadataLevel.COMPREHENSIVE])
def test_one_document_is_replaced_by_one_of_a_submission(
    patients: Patients, kind: AssociationType, level: MetadataLevel
) -> None:
    old = registered(patients)
    first, second = entry(), entry()
    both = (relation(RPLC, first.entry_uuid, old), relation(kind, second.entry_uuid, old))
    before = DocumentEntry.objects.count()
    with pytest.raises(SubmissionRefused) as refused:
        register(submission(first, second, associations=both, level=level), patients)
    assert problems(refused) == [DeprecatedTarget]
    (problem,) = refused.value.problems
    assert all(one.entry_uuid in str(problem) for one in both)
    assert problem.element == f"Association[{both[1].entry_uuid}].targetObject"
    assert (DocumentEntry.objects.count(), status(old)) == (before, Status.APPROVED)
    other = registered(patients)
    both = (relation(RPLC, first.entry_uuid, old), relation(kind, first.entry_uuid, other))
    register(submission(first, associations=both, level=level), patients)
    assert (status(old), status(other)) == (Status.DEPRECATED, Status.DEPRECATED)


def test_a_document_of_a_bundle_is_replaced_by_one_of_it(patients: Patients) -> None:
    old, first, second = entry(), entry(), entry()
    both = tuple(relation(RPLC, one.entry_uuid, old.entry_uuid) for one in (first, second))
    with pytest.raises(SubmissionRefused) as refused:
        register(submission(old, first, second, associations=both, level=MetadataLevel.COMPREHENSIVE), patients)
    assert problems(refused) == [DeprecatedTarget]


@pytest.mark.parametrize("kind", [APND, XFRM])
def test_what_was_appended_or_transformed_goes_with_what_is_replaced_however_far(
    patients: Patients, kind: AssociationType
) -> None:
    old = registered(patients)
    first = related(patients, kind, old)
    second = related(patients, APND, first)
    bystander = registered(patients)
    new = related(patients, RPLC, old)
    assert [status(u) for u in (first, second)] == [Status.DEPRECATED] * 2
    assert [status(u) for u in (bystander, new)] == [Status.APPROVED] * 2
    relations = Association.objects.exclude(type=AssociationType.HAS_MEMBER.value)
    assert set(relations.values_list("availability_status", flat=True)) == {Status.APPROVED.value}


def test_a_document_knows_all_it_was_made_from_whatever_else_is_on_the_page(patients: Patients) -> None:
    first = registered(patients)
    second = related(patients, XFRM, first)
    third = related(patients, XFRM, second)
    for asked in ([third], [first, third], [first, second, third]):
        row = queries.entries_by_uuid(asked)[third]
        assert {source.entry_uuid for source in row.sources} == {first, second}
        assert all(source.sources == () for source in row.sources)


def test_a_transforming_replacement_stays_approved_itself(patients: Patients) -> None:
    old = registered(patients)
    new = related(patients, AssociationType.XFRM_RPLC, old)
    assert (status(old), status(new)) == (Status.DEPRECATED, Status.APPROVED)
    related(patients, RPLC, new)
    assert status(new) == Status.DEPRECATED


@pytest.mark.parametrize("kind", [RPLC, XFRM, APND, AssociationType.SIGNS, AssociationType.XFRM_RPLC])
def test_no_relationship_points_at_a_deprecated_entry(patients: Patients, kind: AssociationType) -> None:
    old = registered(patients)
    related(patients, RPLC, old)
    with pytest.raises(SubmissionRefused) as refused:
        related(patients, kind, old)
    assert problems(refused) == [DeprecatedTarget]


def test_the_replacement_joins_the_folders_of_the_replaced_entry(patients: Patients) -> None:
    one, shelf = entry(), folder()
    receipt = register(
        submission(one, folders=(shelf,), associations=(member(shelf.entry_uuid, one.entry_uuid, None),)), patients
    )
    shelf_uuid = receipt.ids[shelf.entry_uuid]
    before = queries.folder(shelf_uuid)
    new = related(patients, RPLC, receipt.ids[one.entry_uuid])
    after = queries.folder(shelf_uuid)
    assert before is not None
    assert after is not None
    assert after.members == (receipt.ids[one.entry_uuid], new)
    assert after.last_update_time > before.last_update_time
    own = queries.submission_set(queries.entry(new).submission_set_uuid)  # type: ignore[union-attr]  # just registered
    joined = Association.objects.get(source=UUID(shelf_uuid[9:]), target=UUID(new[9:]))
    assert own is not None
    assert f"urn:uuid:{joined.entry_uuid}" in own.members


def test_a_deprecated_folder_gains_no_member(patients: Patients) -> None:
    one, shelf = entry(), folder()
    receipt = register(
        submission(one, folders=(shelf,), associations=(member(shelf.entry_uuid, one.entry_uuid, None),)), patients
    )
    Folder.objects.update(availability_status=Status.DEPRECATED.value)
    related(patients, RPLC, receipt.ids[one.entry_uuid])
    found = queries.folder(receipt.ids[shelf.entry_uuid])
    assert found is not None
    assert found.members == (receipt.ids[one.entry_uuid],)


def test_adding_to_a_folder_moves_its_time(patients: Patients) -> None:
    shelf = folder()
    made = register(submission(folders=(shelf,)), patients).ids[shelf.entry_uuid]
    before = queries.folder(made)
    one = entry()
    register(submission(one, associations=(member(made, one.entry_uuid, None),)), patients)
    after = queries.folder(made)
    assert before is not None
    assert after is not None
    assert after.last_update_time > before.last_update_time
    assert len(after.members) == 1


def test_the_same_document_may_be_registered_again_and_other_bytes_may_not(patients: Patients) -> None:
    first, again, other = (entry(unique_id="2.999.7.700") for _ in range(3))
    register(submission(first), patients)
    register(submission(again), patients)
    assert len(queries.entries_by_unique_id("2.999.7.700")) == 2
    with pytest.raises(SubmissionRefused) as refused:
        register(submission(other), patients, bytes_of={other.entry_uuid: b"other"})
    assert problems(refused) == [NonIdenticalHash]
    assert refused.value.problems[0].element == f"DocumentEntry[{other.entry_uuid}].uniqueId"


def test_unique_ids_of_sets_and_folders_are_used_once_in_the_whole_registry(patients: Patients) -> None:
    shelf = folder()
    register(submission(entry(unique_id="2.999.7.800"), folders=(shelf,), unique_id="2.999.6.800"), patients)
    for taken in ("2.999.6.800", "2.999.7.800", shelf.unique_id):
        with pytest.raises(SubmissionRefused) as refused:
            register(submission(unique_id=taken), patients)
        assert problems(refused) == [DuplicateUniqueId]
        with pytest.raises(SubmissionRefused) as refused:
            register(submission(folders=(folder(unique_id=taken),)), patients)
        assert problems(refused) == [DuplicateUniqueId]
    with pytest.raises(SubmissionRefused) as refused:
        register(submission(entry(unique_id="2.999.6.800")), patients)
    assert problems(refused) == [InvalidAttribute]


def test_references_must_be_there_and_be_visible(patients: Patients) -> None:
    with pytest.raises(SubmissionRefused) as refused:
        related(patients, RPLC, f"urn:uuid:{uuid4()}")
    assert problems(refused) == [UnresolvedReference]
    old = registered(patients)
    with pytest.raises(SubmissionRefused) as hidden:
        related(patients, RPLC, old, visible=lambda key: False)
    assert problems(hidden) == [UnresolvedReference]
    related(patients, RPLC, old, visible=lambda key: f"urn:uuid:{key}" == old)


def test_another_patients_document_cannot_be_replaced_but_another_identifier_of_hers_can(patients: Patients) -> None:
    bobs = entry(patient_id=BOB, source_patient_id=BOB)
    target = register(submission(bobs, patient_id=BOB), patients).ids[bobs.entry_uuid]
    with pytest.raises(SubmissionRefused) as refused:
        related(patients, RPLC, target)
    assert problems(refused) == [PatientIdDoesNotMatch]
    elsewhere = entry(patient_id=ALICE_ELSEWHERE)
    other = register(submission(elsewhere, patient_id=ALICE_ELSEWHERE), patients).ids[elsewhere.entry_uuid]
    assert status(related(patients, RPLC, other)) == Status.APPROVED


def test_an_unknown_patient_is_refused(patients: Patients) -> None:
    stranger = CX(value="X", authority="2.999.1")
    with pytest.raises(SubmissionRefused) as refused:
        register(submission(entry(patient_id=stranger), patient_id=stranger), patients)
    assert problems(refused) == [UnknownPatientId]


def test_a_uuid_in_use_is_refused(patients: Patients) -> None:
    taken = registered(patients)
    with pytest.raises(SubmissionRefused) as refused:
        register(submission(entry(entry_uuid=taken)), patients)
    assert problems(refused) == [InvalidStructure]


def test_on_demand_entries_are_replaced_by_their_like_and_snapshots_point_at_them(patients: Patients) -> None:
    live = on_demand()
    target = register(submission(live), patients).ids[live.entry_uuid]
    with pytest.raises(SubmissionRefused) as refused:
        related(patients, RPLC, target)
    assert problems(refused) == [InvalidStructure]
    snapshot = related(patients, AssociationType.IS_SNAPSHOT_OF, target)
    assert queries.entry(snapshot).sources[0].entry_uuid == target  # type: ignore[union-attr]  # just registered
    with pytest.raises(SubmissionRefused) as refused:
        related(patients, AssociationType.IS_SNAPSHOT_OF, registered(patients))
    assert problems(refused) == [InvalidStructure]
    again = on_demand(unique_id=live.unique_id)
    with pytest.raises(SubmissionRefused) as refused:
        register(submission(again), patients)
    assert problems(refused) == [InvalidAttribute]
    better = on_demand()
    register(submission(better, associations=(relation(RPLC, better.entry_uuid, target),)), patients)
    assert status(target) == Status.DEPRECATED


def test_a_bundle_may_replace_within_itself(patients: Patients) -> None:
    old, new = entry(), entry()
    receipt = register(
        submission(
            old,
            new,
            associations=(relation(RPLC, new.entry_uuid, old.entry_uuid),),
            level=MetadataLevel.COMPREHENSIVE,
        ),
        patients,
    )
    assert status(receipt.ids[old.entry_uuid]) == Status.DEPRECATED
    assert status(receipt.ids[new.entry_uuid]) == Status.APPROVED


def test_staged_bytes_that_are_gone_are_missing(patients: Patients) -> None:
    one = entry()
    lost = repository.Staged(id=str(uuid4()), size=1, sha1="0" * 40, digest="")
    with transaction.atomic(), pytest.raises(SubmissionRefused) as refused:
        registry.register(
            submission(one),
            contents={one.entry_uuid: lost},
            labels={},
            patients=patients,
            custodian="org-clinic",
            same_person=lambda a, b: a == b,
        )
    assert problems(refused) == [MissingDocument]


def test_labels_are_kept_with_the_rule_that_set_each_and_doubts_raise_to_r(patients: Patients) -> None:
    one = entry()
    labels = Labels(
        labels=frozenset({"HIV"}), confidentiality="N", provenance={"HIV": {"rule": "L-HIV", "version": "7"}}
    )
    receipt = register(
        submission(one),
        patients,
        labels={one.entry_uuid: labels},
        restricted={one.entry_uuid: ["name-differs"]},
    )
    row = queries.entry(receipt.ids[one.entry_uuid])
    assert row is not None
    facts = row.facts("person")
    assert (facts.labels, facts.confidentiality, facts.labelled) == (frozenset({"HIV"}), "R", True)
    assert row.restricted
    assert [(r.entry_uuid, r.reasons) for r in queries.open_reviews()] == [(row.entry_uuid, ("name-differs",))]
    assignment = DocumentEntry.objects.get().label_assignments.get(label="HIV")
    assert (assignment.rule, assignment.rule_version) == ("L-HIV", "7")


def test_an_entry_that_nobody_labelled_says_so(patients: Patients) -> None:
    row = queries.entry(registered(patients))
    assert row is not None
    assert row.facts("p").labelled is False


def test_statements_do_not_grow_with_the_entries(patients: Patients) -> None:
    counts = []
    for number in (1, 20):
        wanted = submission(*(entry() for _ in range(number)))
        contents = put_all(wanted, {})
        with CaptureQueriesContext(connection) as seen, transaction.atomic():
            registry.register(
                wanted,
                contents=contents,
                labels={},
                patients=patients,
                custodian="org-clinic",
                same_person=lambda one, other: one == other,
            )
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 14


def together(*work: Callable[[], Any]) -> list[Any]:
    """Run in threads with connections of their own; what each gave or raised."""
    barrier = threading.Barrier(len(work))
    outcomes: list[Any] = [None] * len(work)

    def run(n: int) -> None:
        try:
            barrier.wait(10)
            outcomes[n] = work[n]()
        except Exception as error:
            outcomes[n] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


@pytest.mark.django_db(transaction=True)
def test_of_concurrent_replaces_exactly_one_wins() -> None:
    patients = make_patients()
    old = registered(patients)
    outcomes = together(*(lambda: related(patients, RPLC, old) for _ in range(4)))
    winners = [o for o in outcomes if isinstance(o, str)]
    losers = [o for o in outcomes if isinstance(o, SubmissionRefused)]
    assert (len(winners), len(losers)) == (1, 3), outcomes
    assert {type(p) for o in losers for p in o.problems} == {DeprecatedTarget}
    assert status(winners[0]) == Status.APPROVED


@pytest.mark.django_db(transaction=True)
def test_what_is_added_to_a_follower_while_the_replacement_waits_goes_with_it_too() -> None:
    patients = make_patients()
    old = registered(patients)
    follower = related(patients, APND, old)
    outcome: list[str] = []

    def replace_it() -> None:
        try:
            outcome.append(related(patients, RPLC, old))
        finally:
            connection.close()

    thread = threading.Thread(target=replace_it)
    with transaction.atomic():
        late = related(patients, APND, follower)
        thread.start()
        deadline = time.monotonic() + 20
        while not _somebody_waits():
            assert time.monotonic() < deadline
            time.sleep(0.02)
    thread.join(30)
    assert [status(one) for one in (old, follower, late)] == [Status.DEPRECATED] * 3
    assert status(outcome[0]) == Status.APPROVED


def _somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
        )
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_of_concurrent_documents_with_one_id_and_other_bytes_exactly_one_is_kept() -> None:
    patients = make_patients()

    def one(n: int) -> Callable[[], Any]:
        wanted = entry(unique_id="2.999.7.900")
        return lambda: register(submission(wanted), patients, bytes_of={wanted.entry_uuid: b"bytes %d" % n})

    outcomes = together(*(one(n) for n in range(4)))
    refused = [o for o in outcomes if isinstance(o, SubmissionRefused)]
    assert len(refused) == 3, outcomes
    assert {type(p) for o in refused for p in o.problems} == {NonIdenticalHash}
    assert len(queries.entries_by_unique_id("2.999.7.900")) == 1


@pytest.mark.django_db(transaction=True)
def test_of_concurrent_documents_with_one_uuid_exactly_one_is_kept_and_the_others_are_told_why() -> None:
    patients = make_patients()
    uuid = "urn:uuid:0b0a0d5e-7c52-4f8e-9a51-0e4f7b2f6c01"
    outcomes = together(*(lambda: register(submission(entry(entry_uuid=uuid)), patients) for _ in range(4)))
    refused = [o for o in outcomes if isinstance(o, SubmissionRefused)]
    assert len(refused) == 3, outcomes
    assert {(type(p), str(p)) for o in refused for p in o.problems} == {
        (InvalidStructure, f"{uuid} is registered already")
    }


@pytest.mark.django_db
def test_a_submission_of_many_documents_takes_a_bounded_part_of_the_locks_that_all_share() -> None:
    registry.hold_names([f"2.999.7.{n}" for n in range(5000)])
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert 0 < cursor.fetchone()[0] <= 1024
