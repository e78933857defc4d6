"""Values that stewards set by hand: who does it, who reads of it, and to whom it says something (spec/mpi.md 3 and 5)."""

from __future__ import annotations

from uuid import UUID

import pytest

from hie.audit.models import AuditEvent
from hie.exchange import access, identity, stewardship
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused, BadRequest
from hie.exchange.values_by_hand import FIELDS, inputs_of, value_of
from hie.standards.demographics import Demographics
from hie.standards.facts import Caller
from patients import by_hand, identifiers, linking
from patients.errors import AlreadyUndone, UnknownValue
from patients.models import ValueByHand
from tests.exchange.people import CLINIC, HOSPITAL, QUIET, caller, fed, houses, nora  # noqa: F401 - `houses` is a fixture

STEWARD = Staff(user_id="ida", roles=frozenset({"steward"}), name="Ida Moss")
WHY = "Passport seen at the desk"
BY_HAND, BY_RECORD = "1970-02-13", "1970-02-03"


def set_date(person: UUID, date: str = BY_HAND) -> UUID:
    return stewardship.set_value(person, "birth_date", Demographics(birth_date=date), STEWARD, WHY)


def shown(person: UUID, by: Caller) -> str:
    return identity.read_patient(str(person), by).demographics.birth_date


def told(person: UUID, by: Caller, other: str) -> str | None:
    about = access.subject(person)
    said = access.questions(by, about, [other])[other][1]
    return said.birth_date if said is not None else None


@pytest.mark.usefixtures("houses")
def test_what_was_set_in_sight_of_a_hidden_source_is_shown_only_to_who_may_see_that_source() -> None:
    person = fed(HOSPITAL, "h1", nora())
    assert fed(QUIET, "q1", nora(birth_date=BY_HAND)) == person
    set_date(person)
    assert shown(person, caller(QUIET)) == BY_HAND
    assert shown(person, caller(CLINIC)) == BY_RECORD
    assert told(person, caller(CLINIC), "org-hospital") in (None, BY_RECORD)


@pytest.mark.usefixtures("houses")
def test_a_hidden_source_that_comes_later_changes_nothing_of_what_is_shown() -> None:
    person = fed(HOSPITAL, "h1", nora())
    set_date(person)
    before = identity.read_patient(str(person), caller(CLINIC))
    assert before.demographics.birth_date == BY_HAND
    assert fed(QUIET, "q1", nora(mothers_maiden_name="Hush")) == person
    assert identity.read_patient(str(person), caller(CLINIC)) == before


@pytest.mark.usefixtures("houses")
def test_a_value_stays_hidden_when_the_hidden_record_it_rests_on_has_gone_to_somebody_else() -> None:
    person = fed(HOSPITAL, "h1", nora())
    fed(QUIET, "q1", nora(birth_date=BY_HAND))
    set_date(person)
    there = identifiers.resolve(QUIET, "q1")
    assert there is not None
    parted = linking.unlink(there.source_record_id, actor="Staff/ida", reason="her sister")
    assert shown(person, caller(CLINIC)) == BY_RECORD
    linking.undo(parted, actor="Staff/ida", reason="she herself")
    assert shown(person, caller(QUIET)) == BY_HAND


@pytest.mark.usefixtures("houses")
def test_a_record_replaced_by_its_organization_still_bears_the_value() -> None:
    person = fed(HOSPITAL, "h1", nora())
    set_date(person)
    assert fed(HOSPITAL, "h2", nora()) == person
    one, two = identifiers.resolve(HOSPITAL, "h1"), identifiers.resolve(HOSPITAL, "h2")
    assert one is not None
    assert two is not None
    linking.resolve_duplicate(two, one, actor="hospital")
    assert shown(person, caller(CLINIC)) == BY_HAND


@pytest.mark.usefixtures("houses")
def test_the_patient_reads_who_set_undid_and_withdrew_a_value_and_the_log_does_not_name_it() -> None:
    person = fed(HOSPITAL, "h1", nora())
    set_date(person)
    (row,) = by_hand.holding(person)
    stewardship.undo_value(row.pk, STEWARD, "Misread")
    assert shown(person, caller(CLINIC)) == BY_RECORD
    with pytest.raises(AlreadyUndone):
        stewardship.undo_value(row.pk, STEWARD, "Again")
    set_date(person)
    stewardship.withdraw_value(by_hand.holding(person)[0].pk, STEWARD, "The records have it now")
    events = AuditEvent.objects.filter(kind="identity-by-hand").order_by("at")
    assert [str(event.person_id) for event in events] == [str(person)] * 4
    assert all(BY_HAND not in str(event.detail) for event in events)
    with pytest.raises(UnknownValue):
        stewardship.withdraw_value(row.pk, STEWARD, WHY)


@pytest.mark.usefixtures("houses")
def test_only_staff_with_the_right_and_a_reason_sets_a_value() -> None:
    person = fed(HOSPITAL, "h1", nora())
    value = Demographics(birth_date=BY_HAND)
    with pytest.raises(AccessRefused):
        stewardship.set_value(person, "birth_date", value, Staff(user_id="oz", roles=frozenset({"operator"})), WHY)
    with pytest.raises(BadRequest):
        stewardship.set_value(person, "birth_date", value, STEWARD, " ")
    assert not ValueByHand.objects.exists()
    set_date(person)
    assert ValueByHand.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "given", "element"),
    [
        ("birth_date", {"birth_date": "1980-02-31"}, "birth_date"),
        ("birth_date", {"birth_date": "14 March"}, "birth_date"),
        ("birth_date", {"birth_date": "2999-01-01"}, "birth_date"),
        ("birth_date", {"birth_date": " "}, "birth_date"),
        ("gender", {"gender": "lady"}, "gender"),
        ("names", {}, "given"),
        ("names", {"family": "x" * 201}, "family"),
        ("names", {"family": "a\x00b"}, "family"),
        ("deceased", {"deceased": "yes", "died": "yesterday"}, "died"),
        ("telecoms", {"system": "pigeon", "value": "1"}, "system"),
        ("identifiers", {"value": "1"}, "field"),
    ],
)
def test_what_a_detail_cannot_be_is_refused_by_its_input(field: str, given: dict[str, str], element: str) -> None:
    good = {
        "birth_date": "1980-03-14", "gender": "female", "given": "Maria", "family": "Smithson", "deceased": "yes",
        "died": "2020-05", "system": "phone", "value": "555-1",
    }  # fmt: skip
    with pytest.raises(BadRequest) as refused:
        value_of(field, given)
    assert refused.value.element == element
    if field in FIELDS:
        made = value_of(field, good)
        assert made != Demographics()
        assert value_of(field, inputs_of(field, made)) == made


def test_nothing_is_chosen_for_a_steward_where_a_detail_is_not_known() -> None:
    for field in FIELDS.values():
        assert set(inputs_of(field.key, Demographics()).values()) <= {""}
        if field.parts[0].choices:
            with pytest.raises(BadRequest, match="choose one of the list"):
                value_of(field.key, inputs_of(field.key, Demographics()))
