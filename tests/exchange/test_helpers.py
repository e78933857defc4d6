"""Helpers: given and suspended with evidence, ended by the patient, told before majority, over at death."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from consent import policies, proxies
from consent.errors import ProxyGrantRefused
from consent.models import ProxyGrant
from hie.audit import queries as audit
from hie.audit.models import AuditEvent
from hie.audit.values import AuditQuery
from hie.directory import registration
from hie.exchange import access, accounts, helpers, identity
from hie.exchange.access import Staff
from hie.exchange.accounts import Visit
from hie.exchange.errors import AccessRefused, BadRequest, NotFound
from hie.exchange.helpers import Asked
from hie.standards.facts import Caller
from hie.trust import sign_ins
from hie.trust.accounts import _stamp
from hie.trust.models import PatientAccount
from hie.trust.second_factor import Owner
from patients import identifiers, linking
from patients.demographics import Demographics, HumanName, RecordFeed
from tests.directory.forms import clinic, file, hospital
from tests.portal.conftest import PASSWORD, PORTAL

pytestmark = pytest.mark.django_db
OFFICER = Staff(user_id="ida", roles=frozenset({"privacy-officer"}), name="Ida Moss")
WHY = "Asked at the desk"


@pytest.fixture(autouse=True)
def place() -> Any:
    policies.forget()
    registration.apply(file(clinic(), hospital(), PORTAL))
    yield
    policies.forget()


def person(value: str, birth_date: str, **more: Any) -> str:
    who = Demographics(
        names=(HumanName(family="Delgado", given=(value,)),), birth_date=birth_date, gender="female", **more
    )
    return str(
        linking.feed(
            RecordFeed(participant_id="org-clinic", authority="2.999.10.1.1", value=value, demographics=who)
        ).person_id
    )


def account(value: str) -> str:
    entry = {
        "login": value.lower(),
        "password": PASSWORD,
        "name": f"{value} Delgado",
        "identifier": f"{value}^^^&2.999.10.1.1&ISO",
    }
    accounts.load({"patients": [entry]})
    return f"RelatedPerson/{PatientAccount.objects.get(login=value.lower()).pk}"


@pytest.fixture
def rosa() -> str:
    found = person("Rosa", "1970-05-01")
    account("Rosa")
    person("Sam", "1995-06-02")
    account("Sam")
    return found


def asking(login: str, acting_for: str | None = None) -> Caller:
    row = PatientAccount.objects.get(login=login)
    session = sign_ins.start(Owner(account=str(row.pk)), agent="")
    one = accounts.account(session, _stamp(row))
    assert one is not None
    pk = identifiers.anchor(acting_for).pk if acting_for else None
    return accounts.caller(one, Visit(), acting_for=pk)


def asked(patient: str, **changes: Any) -> Asked:
    values: dict[str, Any] = {"patient": patient, "login": "sam", "kind": "nominated", "evidence": "form 7"} | changes
    return Asked(**values)


def test_a_helper_is_given_with_evidence_and_the_patient_sees_by_whom(rosa: str) -> None:
    row = helpers.give(asked(rosa, end="2090-01-01", may_consent=True), OFFICER, reason=WHY)
    assert (row.kind, row.max_confidentiality, row.may_consent, row.verified_by, row.evidence) == (
        "nominated", "N", True, "Staff/ida", "form 7",
    )  # fmt: skip
    assert identity.read_patient(rosa, asking("sam", rosa)).person_id == uuid.UUID(rosa)
    (event,) = AuditEvent.objects.filter(kind="proxy-changed")
    assert (str(event.person_id), event.user, event.detail["act"]) == (rosa, "Staff/ida", "given")
    (seen,) = helpers.of_patient(rosa, caller=asking("rosa"))
    assert (seen.name, seen.kind, seen.status, seen.ends_on, seen.mine) == (
        "Sam Delgado",
        "nominated",
        "active",
        "2090-01-01",
        True,
    )


@pytest.mark.parametrize(
    ("changes", "element"),
    [
        ({"patient": str(uuid.uuid4())}, "patient"),
        ({"patient": "urn:oid:2.999.10.1.1|nobody"}, "patient"),
        ({"login": "nobody"}, "login"),
        ({"login": "rosa"}, "login"),
        ({"evidence": ""}, "evidence"),
        ({"evidence": "form\x007"}, "evidence"),
        ({"login": "sa\x00m"}, "login"),
        ({"kind": "friend"}, "kind"),
        ({"kind": "parent"}, "kind"),
        ({"max_confidentiality": "X"}, "max_confidentiality"),
        ({"start": "2030-05-01", "end": "2030-04-01"}, "end"),
        ({"end": "soon"}, "end"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_given(rosa: str, changes: Any, element: str) -> None:
    with pytest.raises((BadRequest, ProxyGrantRefused)) as refused:
        helpers.give(asked(rosa, **{} | changes) if "patient" not in changes else asked(**changes), OFFICER, reason=WHY)
    assert refused.value.element == element
    assert not ProxyGrant.objects.exists()


@pytest.mark.parametrize("role", ["steward", "auditor", "operator", "onboarding"])
def test_only_a_privacy_officer_gives_and_suspends(rosa: str, role: str) -> None:
    other = Staff(user_id="bo", roles=frozenset({role}))
    with pytest.raises(AccessRefused):
        helpers.give(asked(rosa), other, reason=WHY)
    row = helpers.give(asked(rosa), OFFICER, reason=WHY)
    with pytest.raises(AccessRefused):
        helpers.set_status(row.pk, "ended", other, reason=WHY, evidence="x")
    with pytest.raises(BadRequest):
        helpers.set_status(row.pk, "ended", OFFICER, reason=" ", evidence="x")
    row.refresh_from_db()
    assert row.status == "active"


def test_suspended_by_order_a_helper_sees_nothing_until_it_is_taken_up_again(rosa: str) -> None:
    row = helpers.give(asked(rosa), OFFICER, reason=WHY)
    with pytest.raises(BadRequest) as refused:
        helpers.set_status(row.pk, "suspended", OFFICER, reason=WHY, evidence=" ")
    assert refused.value.element == "evidence"
    helpers.set_status(row.pk, "suspended", OFFICER, reason="By order", evidence="Court order 12/2026")
    with pytest.raises(NotFound):
        identity.read_patient(rosa, asking("sam", rosa))
    helpers.set_status(row.pk, "active", OFFICER, reason="The order is over", evidence="Court order 13/2026")
    identity.read_patient(rosa, asking("sam", rosa))
    helpers.set_status(row.pk, "ended", OFFICER, reason="Asked for it", evidence="")
    with pytest.raises(ProxyGrantRefused):
        helpers.set_status(row.pk, "active", OFFICER, reason=WHY, evidence="Court order 14/2026")
    row.refresh_from_db()
    assert row.evidence.splitlines() == ["form 7", "Court order 12/2026", "Court order 13/2026"]
    shown = audit.events_for_person([rosa], filters=AuditQuery(kinds=("proxy-changed",))).events
    assert [event.words.get("evidence") for event in reversed(shown)] == [*row.evidence.splitlines(), None]
    assert [event.detail["act"] for event in AuditEvent.objects.filter(kind="proxy-changed").order_by("at")] == [
        "given", "suspended", "active", "ended",
    ]  # fmt: skip


def test_the_patient_ends_whom_she_named_and_nobody_else(rosa: str) -> None:
    row = helpers.give(asked(rosa), OFFICER, reason=WHY)
    by_law = helpers.give(asked(rosa, kind="attorney", evidence="deed 3"), OFFICER, reason=WHY)
    with pytest.raises(NotFound):
        helpers.end(by_law.pk, rosa, caller=asking("rosa"))
    with pytest.raises(NotFound):
        helpers.end(
            row.pk,
            str(identifiers.person_of_pk(PatientAccount.objects.get(login="sam").identifier_id)),
            caller=asking("sam"),
        )
    with pytest.raises(AccessRefused):
        helpers.end(row.pk, rosa, caller=asking("sam", rosa))
    helpers.end(row.pk, rosa, caller=asking("rosa"))
    row.refresh_from_db()
    by_law.refresh_from_db()
    assert (row.status, by_law.status) == ("ended", "active")
    with pytest.raises(NotFound):
        helpers.end(row.pk, rosa, caller=asking("rosa"))


@pytest.mark.parametrize(("days", "told"), [(91, 0), (89, 1), (1, 1), (-2, 0)])
def test_patient_and_parent_are_told_once_ninety_days_before_majority(rosa: str, days: int, told: int) -> None:
    mia = person("Mia", "2010-03-15")
    at = datetime(2028, 3, 15, 12, tzinfo=UTC) - timedelta(days=days)
    proxies.grant(
        identifier_pk=identifiers.anchor(mia).pk, person=account("Sam"), kind="parent", evidence="certificate"
    )
    assert helpers.tell_of_majority(now=at) == told
    assert helpers.tell_of_majority(now=at) == 0
    events = AuditEvent.objects.filter(kind="proxy-changed", person_id=mia)
    assert [event.detail["act"] for event in events] == ["ends-at-majority"] * told


def test_nobody_is_told_of_the_majority_of_a_child_who_has_died(rosa: str) -> None:
    mia = person("Mia", "2010-03-15")
    proxies.grant(
        identifier_pk=identifiers.anchor(mia).pk, person=account("Sam"), kind="parent", evidence="certificate"
    )
    person("Mia", "2010-03-15", deceased=True)
    assert helpers.tell_of_majority(now=datetime(2028, 3, 1, tzinfo=UTC)) == 0


def test_with_the_patients_death_all_but_an_executors_permission_ends(rosa: str) -> None:
    helpers.give(asked(rosa), OFFICER, reason=WHY)
    account("Rosa")
    identity.read_patient(rosa, asking("sam", rosa))
    identity.read_patient(rosa, asking("rosa"))
    helpers.give(asked(rosa, kind="attorney", evidence="power of attorney"), OFFICER, reason=WHY)
    person("Rosa", "1970-05-01", deceased=True)
    for who in (asking("sam", rosa), asking("rosa")):
        with pytest.raises(NotFound):
            identity.read_patient(rosa, who)
    with pytest.raises(NotFound):
        helpers.of_patient(rosa, caller=asking("rosa"))
    with pytest.raises(BadRequest):
        helpers.give(asked(rosa, kind="guardian"), OFFICER, reason=WHY)
    (living,) = [row for row in proxies.grants_of(identifiers.identifier_pks(rosa)) if row.kind == "attorney"]
    helpers.set_status(living.pk, "ended", OFFICER, reason="She has died", evidence="")
    helpers.give(asked(rosa, kind="attorney", evidence="grant of probate 5"), OFFICER, reason=WHY)
    identity.read_patient(rosa, asking("sam", rosa))
    assert access.subject(rosa).facts.deceased


@pytest.mark.parametrize("typed", ["id", "number"])
def test_a_permission_given_while_two_records_were_one_stays_with_whom_it_names(rosa: str, typed: str) -> None:
    other = person("Ada", "1950-01-01")
    identifiers.anchor(other)
    event = linking.merge(uuid.UUID(rosa), uuid.UUID(other), actor="steward", reason="same person")
    helpers.give(asked(rosa if typed == "id" else "urn:oid:2.999.10.1.1|Ada"), OFFICER, reason=WHY)
    linking.unmerge(event, actor="steward")
    meant, stranger = (rosa, other) if typed == "id" else (other, rosa)
    assert identity.read_patient(meant, asking("sam", meant)).person_id == uuid.UUID(meant)
    with pytest.raises(NotFound):
        identity.read_patient(stranger, asking("sam", stranger))
