"""What somebody asks a steward for, two persons who are one or records that are another's, is a case of the queue under its
one rule, and undone exactly; a change whoever made it is undone under the same rule (spec/mpi.md 2 and 5).
"""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import transaction

from hie.audit.models import AuditEvent
from hie.exchange import review_cases, review_list, stewardship
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused, BadRequest
from patients import identifiers, linking, queries
from patients.errors import AlreadyUndone, InvalidMerge, OwnProposal, UnknownIdentityEvent, UnknownPatient
from patients.models import IdentityEvent, MatchDecision, ReviewAct, ReviewItem
from tests.exchange.test_stewardship import documented
from tests.patients import state
from tests.patients.people import demographics, record

pytestmark = pytest.mark.django_db

ADA = Staff(user_id="ada", roles=frozenset({"steward"}), name="Ada Moss")
BO = Staff(user_id="bo", roles=frozenset({"steward"}), name="Bo Reed")
WHY = "The registrar called, 4711"


def holder(value: str, authority: str) -> UUID:
    found = identifiers.resolve(authority, value)
    assert found is not None
    return found.person_id


def two() -> tuple[UUID, UUID]:
    """A woman and a man whom no machine would compare."""
    one = linking.feed(record("A1"))
    other = linking.feed(record("B1", demographics("Robert", "Okafor", "1955-07-30", "male", line="", phone="", city=""), org="hospital"))  # fmt: skip
    assert not ReviewItem.objects.exists()
    return one.person_id, other.person_id


def three() -> tuple[UUID, list[int]]:
    """One person of three records."""
    fed = [linking.feed(record(f"{org[0].upper()}1", org=org)) for org in ("clinic", "hospital", "lab")]
    assert len({one.person_id for one in fed}) == 1
    return fed[0].person_id, [one.source_record_id for one in fed]


def identity_events() -> set[tuple[str, str]]:
    found = AuditEvent.objects.filter(kind__startswith="identity-")
    return {(event.kind, str(event.person_id)) for event in found}


def test_a_case_for_two_persons_is_the_askers_and_is_decided_like_any_other() -> None:
    one, other = two()
    before = state.dump()
    opened = stewardship.open_case(one, other, ADA, WHY)
    item = ReviewItem.objects.get(pk=opened.item_id)
    assert (item.kind, item.claimed_by, item.probability) == ("possible-match", "Staff/ada", None)
    assert identity_events() == {("identity-review", str(one)), ("identity-review", str(other))}
    (act,) = review_list.acts(item_id=item.pk, me="Staff/ada")
    assert (act.kind, act.reason, act.undoable) == ("opened", WHY, False)
    shown = review_cases.case(item, me="Staff/ada")
    assert "somebody says that the two are one person" in shown.why[0]
    assert stewardship.decide_review(item.pk, "same", ADA, WHY).act == "decided"
    assert identifiers.survivor(other) == identifiers.survivor(one)
    stewardship.undo_review(item.pk, BO, "They are not")
    assert {row for row in state.dump().splitlines() if not row.startswith("items")} == set(before.splitlines())


def test_where_documents_come_together_the_asker_alone_cannot_join_two_persons() -> None:
    one, other = two()
    documented()
    opened = stewardship.open_case(one, other, ADA, WHY)
    assert opened.item_id is not None
    assert stewardship.decide_review(opened.item_id, "same", ADA, WHY).act == "proposed"
    assert identifiers.survivor(other) == other
    with pytest.raises(OwnProposal):
        stewardship.confirm_review(opened.item_id, ADA, WHY)
    # Asking again leads to the same case, and gives nobody a second vote.
    assert stewardship.open_case(other, one, ADA, WHY).item_id == opened.item_id
    assert ReviewItem.objects.count() == 1
    stewardship.claim_review(opened.item_id, BO)
    assert stewardship.confirm_review(opened.item_id, BO, "Seen the passport").act == "confirmed"
    assert identifiers.survivor(other) == identifiers.survivor(one)


def test_two_persons_said_to_be_different_for_ever_are_so_with_all_their_records() -> None:
    person, records = three()
    other = linking.feed(record("X1", demographics("Robert", "Okafor", "1955-07-30", "male", line="", phone="", city=""), org="x"))  # fmt: skip
    opened = stewardship.open_case(person, other.person_id, ADA, WHY)
    assert opened.item_id is not None
    stewardship.decide_review(opened.item_id, "different", ADA, WHY)
    said = MatchDecision.objects.filter(withdrawn_at__isnull=True, verdict="different")
    assert {(row.record_a_id, row.record_b_id) for row in said} == {(one, other.source_record_id) for one in records}


def test_no_case_is_opened_for_one_person_or_one_that_is_gone_or_without_right_or_reason() -> None:
    one, other = two()
    with pytest.raises(InvalidMerge):
        stewardship.open_case(one, one, ADA, WHY)
    with pytest.raises(UnknownPatient):
        stewardship.open_case(one, UUID(int=7), ADA, WHY)
    with pytest.raises(BadRequest):
        stewardship.open_case(one, other, ADA, "  ")
    for roles in ("auditor", "operator", "onboarding", ""):
        with pytest.raises(AccessRefused):
            stewardship.open_case(one, other, Staff(user_id="x", roles=frozenset({roles})), WHY)
    linking.merge(one, other, actor="Staff/bo")
    with pytest.raises(InvalidMerge):
        stewardship.open_case(one, other, ADA, WHY)
    assert not ReviewItem.objects.exists()
    assert not ReviewAct.objects.exists()


@pytest.mark.parametrize("known", [False, True], ids=["a-new-person", "a-known-person"])
def test_records_of_somebody_else_are_moved_out_stay_apart_and_come_back_exactly(known: bool) -> None:
    person, records = three()
    into = linking.feed(record("X1", demographics("Robert", "Okafor", "1955-07-30", "male", line="", phone="", city=""), org="x")) if known else None  # fmt: skip
    before = state.dump()
    opened = stewardship.open_parting(person, records[1:], ADA, WHY, into=into.person_id if into else None)
    assert opened.item_id is not None
    item = ReviewItem.objects.get(pk=opened.item_id)
    shown = review_cases.case(item, me="Staff/ada")
    assert [column.person for column in shown.columns][:3] == ["This person; would move"] * 2 + ["This person; stays"]
    assert {choice.verdict for choice in shown.choices} == {"different", "same", "defer"}
    assert stewardship.decide_review(item.pk, "different", ADA, WHY).act == "decided"
    gone = holder("H1", "2.999.2")
    assert gone == holder("L1", "2.999.3") != person == holder("C1", "2.999.1")
    assert not known or (into is not None and gone == into.person_id)
    said = MatchDecision.objects.filter(withdrawn_at__isnull=True, verdict="different")
    assert {(row.record_a_id, row.record_b_id) for row in said} == {(records[0], one) for one in records[1:]}
    # The next message of a record that was moved out does not bring it back.
    point = transaction.savepoint()
    linking.feed(record("H1", demographics(city="Ames"), org="hospital"))
    assert holder("H1", "2.999.2") == gone
    transaction.savepoint_rollback(point)
    assert ("identity-unlink", str(gone)) in identity_events()
    stewardship.undo_review(item.pk, ADA, "It was hers")
    assert [row for row in state.dump().splitlines() if not row.startswith("items")] == before.splitlines()


def test_records_with_documents_are_moved_out_by_two_stewards_and_kept_by_one() -> None:
    person, records = three()
    documented("H1", "2.999.2")
    moved = stewardship.open_parting(person, [records[1]], ADA, WHY).item_id
    kept = stewardship.open_parting(person, [records[2]], ADA, WHY).item_id
    assert moved is not None
    assert kept is not None
    listed = {
        case.item_id: case.documents for case in review_list.listed(review_list.Narrowed(), actor="Staff/ada").cases
    }
    assert listed == {moved: 1, kept: 0}
    assert stewardship.decide_review(kept, "same", ADA, "It is hers").act == "decided"
    assert stewardship.decide_review(moved, "different", ADA, WHY).act == "proposed"
    assert holder("H1", "2.999.2") == person
    with pytest.raises(OwnProposal):
        stewardship.claim_review(moved, ADA)
    stewardship.claim_review(moved, BO)
    assert stewardship.confirm_review(moved, BO, "Seen the chart").act == "confirmed"
    assert holder("H1", "2.999.2") != person


def test_records_that_moved_meanwhile_are_moved_by_nobody_who_saw_them_before() -> None:
    person, records = three()
    opened = stewardship.open_parting(person, records[1:], ADA, WHY)
    assert opened.item_id is not None
    linking.unlink(records[2], actor="Staff/bo", reason="not hers")
    before = state.dump()
    with pytest.raises(InvalidMerge):
        stewardship.decide_review(opened.item_id, "different", ADA, WHY)
    assert state.dump() == before
    for wanted in (records[1:], records, [], [10**9], [records[0], records[1]]):
        with pytest.raises(InvalidMerge):
            stewardship.open_parting(person, wanted, ADA, WHY)
    with pytest.raises(InvalidMerge):
        stewardship.open_parting(person, [records[1]], ADA, WHY, into=person)


def test_a_parting_that_is_turned_down_teaches_nothing_of_the_other_person() -> None:
    person, records = three()
    other = linking.feed(record("X1", demographics("Robert", "Okafor", "1955-07-30", "male"), org="x"))
    opened = stewardship.open_parting(person, [records[1]], ADA, WHY, into=other.person_id)
    assert opened.item_id is not None
    stewardship.decide_review(opened.item_id, "same", ADA, "It is hers")
    assert ReviewAct.objects.get(kind="decided").other_record_id is None
    assert not MatchDecision.objects.exists()


# --- undoing any change ----------------------------------------------------------------------------------------------


def test_one_steward_takes_back_what_the_staff_did_documents_or_not() -> None:
    one, other = two()
    documented()
    opened = stewardship.open_case(one, other, ADA, WHY)
    assert opened.item_id is not None
    stewardship.decide_review(opened.item_id, "same", ADA, WHY)
    stewardship.claim_review(opened.item_id, BO)
    made = stewardship.confirm_review(opened.item_id, BO, WHY).event_id
    assert made is not None
    done = stewardship.undo_change(made, ADA, "They are not")
    assert (done.act, done.item_id) == ("undone", None)
    assert identifiers.survivor(other) == other
    item = ReviewItem.objects.get(pk=opened.item_id)
    # It is the queue's own undoing: the case waits again and says so.
    assert (item.status, ReviewAct.objects.latest("pk").kind) == ("open", "undone")
    with pytest.raises(AlreadyUndone):
        stewardship.undo_change(made, ADA, "again")


@pytest.mark.parametrize("actor", ["client-9", "Device/hospital", "Staff/ada"])
def test_what_others_did_is_undone_by_one_steward_where_no_document_moves_and_by_two_where_one_does(actor: str) -> None:
    one, other = two()
    first = linking.merge(one, other, actor=actor, reason="by a client")
    assert stewardship.undo_change(first, ADA, WHY).act == "undone"
    assert identifiers.survivor(other) == other
    documented("B1", "2.999.2")
    before = state.dump()
    second = linking.merge(one, other, actor=actor, reason="by a client")
    done = stewardship.undo_change(second, ADA, WHY)
    assert done.act == "opened"
    assert done.item_id is not None
    assert identifiers.survivor(other) == one
    assert stewardship.decide_review(done.item_id, "different", ADA, WHY).act == "proposed"
    assert stewardship.undo_change(second, ADA, WHY).item_id == done.item_id
    assert identifiers.survivor(other) == one
    stewardship.claim_review(done.item_id, BO)
    confirmed = stewardship.confirm_review(done.item_id, BO, "Two charts")
    # It is the merge that is undone: the person who was merged away is himself again.
    assert {row for row in state.dump().splitlines() if not row.startswith("items")} == {
        row for row in before.splitlines() if not row.startswith("items")
    }
    assert confirmed.event_id is not None
    assert IdentityEvent.objects.get(id=confirmed.event_id).kind == "unmerged"
    stewardship.undo_review(done.item_id, ADA, "They were one")
    assert identifiers.survivor(other) == one


def test_what_was_taken_back_comes_back_under_the_same_rule() -> None:
    one, other = two()
    merged = linking.merge(one, other, actor="client-9", reason="by a client")
    undone = stewardship.undo_change(merged, ADA, "They are not").event_id
    assert undone is not None
    documented()
    done = stewardship.undo_change(undone, ADA, "They are")
    assert done.act == "opened"
    assert done.item_id is not None
    item = ReviewItem.objects.get(pk=done.item_id)
    assert [choice.verdict for choice in review_cases.case(item).choices] == ["same", "different", "defer"]
    with pytest.raises(BadRequest):
        stewardship.decide_review(done.item_id, "link", ADA, WHY)
    assert stewardship.decide_review(done.item_id, "same", ADA, WHY).act == "proposed"
    stewardship.claim_review(done.item_id, BO)
    stewardship.confirm_review(done.item_id, BO, WHY)
    assert identifiers.survivor(other) == one
    assert len(queries.source_records(one)) == 2


def test_what_a_message_did_is_no_change_to_undo_and_a_reason_and_a_right_are_needed() -> None:
    one, other = two()
    created = IdentityEvent.objects.filter(person=one).first()
    assert created is not None
    with pytest.raises(UnknownIdentityEvent):
        stewardship.undo_change(created.id, ADA, WHY)
    with pytest.raises(UnknownIdentityEvent):
        stewardship.undo_change(UUID(int=7), ADA, WHY)
    merged = linking.merge(one, other, actor="Staff/bo")
    with pytest.raises(BadRequest):
        stewardship.undo_change(merged, ADA, " ")
    with pytest.raises(AccessRefused):
        stewardship.undo_change(merged, Staff(user_id="x", roles=frozenset({"auditor"})), WHY)
    assert identifiers.survivor(other) == one
