"""Directives, law, grants in store: versions, epochs, what a change does and what it costs."""

from __future__ import annotations

import io
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import IntegrityError

from consent import break_glass, directives, engine, jurisdictions, policies, proxies, tables
from consent.directives import Beside, Filer
from consent.errors import (
    DirectiveChanged,
    DirectiveRefused,
    EmergencyGrantRefused,
    JurisdictionRefused,
    ProxyGrantRefused,
    UnknownDirective,
)
from consent.models import Consent, ConsentVersion, Jurisdiction
from consent.owners import Capacity
from hie.directory import queries as directory
from hie.directory import registration
from hie.standards.facts import SubjectFacts
from patients.models import PatientIdentifier, SourceRecord
from tests.consent import fixture as fx
from tests.consent.fixture import consent, labels, node, purposes
from tests.directory.forms import clinic, file

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
PATIENT = Filer(actor="portal|Patient/ada", capacity=Capacity.PATIENT)
CLINIC = Filer(actor="clinic|Practitioner/ivo", capacity=Capacity.PARTICIPANT, organization="clinic")
ADA = SubjectFacts(id="ada", birth_date="1970-04-01", jurisdiction="JA")


def identifier(value: str = "1") -> int:
    record = SourceRecord.objects.create(participant_id="lake")
    made = PatientIdentifier.objects.create(authority="2.999.7", value=value, source_record=record)
    return int(made.pk)


@pytest.fixture
def pk() -> int:
    return identifier()


def test_a_directive_is_filed_as_version_one_and_read_back(pk: int) -> None:
    stored = directives.file(consent(node("permit")), identifier_pk=pk, filer=PATIENT, subject=ADA)
    assert (stored.version, stored.status, stored.resource["meta"]["versionId"]) == (1, "active", "1")
    assert stored.resource["id"] == str(stored.id)
    assert directives.in_store([pk]) == [directives.read(stored.id)]


@pytest.mark.parametrize(
    ("resource", "element"),
    [
        (consent({}), "Consent.provision.type"),
        (consent(node("permit", purpose=purposes("TREATMENT"))), "Consent.provision.purpose"),
        (consent(node("permit", node("deny", securityLabel=labels("WHAT")))), "Consent.provision.provision[0].securityLabel"),
        (consent(node("permit", action=[{"coding": [fx.coding("consentaction", "peek")]}])), "Consent.provision.action"),
        (consent(node("permit", actor=[fx.actor("TRC", reference="Organization/x")])), "Consent.provision.actor[0].role"),
        (consent(node("permit"), patient="bea"), "Consent.patient"),
        (consent(node("permit", period={"start": "2026-02", "end": "2026-01"})), "Consent.provision.period"),
        (consent(node("permit", node("deny", dataPeriod={"start": "2026", "end": "2025"}))), "Consent.provision.provision[0].dataPeriod"),
        (consent(node("permit", *[node("deny")] * 201)), "Consent.provision"),
        (consent(node("permit", node("deny", node("deny", node("deny", node("deny", node("deny", node("deny", node("deny"))))))))), "Consent.provision"),
        (consent(node("permit"), modifierExtension=[{"url": "x"}]), "Consent.modifierExtension"),
    ],
)  # fmt: skip
def test_filing_refuses_by_element_and_stores_nothing(pk: int, resource: dict[str, Any], element: str) -> None:
    with pytest.raises(DirectiveRefused) as refused:
        directives.file(resource, identifier_pk=pk, filer=PATIENT, subject=ADA)
    assert element in [problem.element for problem in refused.value.problems]
    assert directives.in_store([pk]) == []


IRCP = [fx.actor("IRCP", reference="Organization/hill")]
EVE = [fx.actor("IRCP", reference="Practitioner/eve")]
LOINC = {"system": "http://loinc.org", "code": "11488-4"}


def about(code: dict[str, str]) -> list[dict[str, Any]]:
    return [{"coding": [code]}]


@pytest.mark.parametrize(
    ("provision", "element", "words"),
    [
        (node("permit", securityLabel=labels("N", "PSY")), ".securityLabel", "always above N"),
        (node("permit", securityLabel=labels("R", "PSY")), "", None),
        (node("permit", node("deny", purpose=purposes("BTG"))), ".provision[0].purpose", "emergency"),
        (node("permit", node("deny")), "", "no effect"),
        (node("permit", node("deny", purpose=purposes("TREAT"))), "", None),
        (node("permit", node("deny", purpose=purposes("TREAT")), purpose=purposes("COC")), "", "no effect"),
        (node("permit", node("deny", purpose=purposes("COC")), purpose=purposes("TREAT")), "", None),
        (node("deny", node("permit", actor=IRCP), node("deny", actor=IRCP)), ".provision[0]", "no effect"),
        (node("deny", node("permit", actor=IRCP), node("deny", actor=EVE)), ".provision[0]", None),
        (node("deny", node("permit", actor=IRCP), node("deny", node("permit"), actor=IRCP)), ".provision[0]", None),
        (node("deny", node("permit", securityLabel=labels("PSY")), node("deny", securityLabel=labels("R"))), ".provision[0]", "no effect"),
        (node("deny", node("permit", securityLabel=labels("PSY")), node("deny", securityLabel=labels("BH"))), ".provision[0]", "no effect"),
        (node("deny", node("permit", securityLabel=labels("BH")), node("deny", securityLabel=labels("PSY"))), ".provision[0]", None),
        (node("deny", node("permit", code=about(LOINC)), node("deny", code=about({"system": "urn:oid:2.16.840.1.113883.6.1", "code": "11488-4"}))), ".provision[0]", "no effect"),
        (node("deny", node("permit", dataPeriod={"start": "2025-03", "end": "2025-03"}), node("deny", dataPeriod={"start": "2025", "end": "2025"})), ".provision[0]", "no effect"),
        (node("deny", node("permit", dataPeriod={"start": "2025"}), node("deny", dataPeriod={"start": "2025", "end": "2025"})), ".provision[0]", None),
        (node("permit", period={"start": "2019", "end": "2020"}), ".period", "over already"),
        (node("permit", node("deny", period={"end": "2020"})), ".provision[0].period", "over already"),
        (node("permit", period={"end": "2199"}), ".period", None),
    ],
)  # fmt: skip
def test_filing_warns_of_what_has_no_effect_and_stores_it(
    pk: int, provision: dict[str, Any], element: str, words: str | None
) -> None:
    stored = directives.file(consent(provision), identifier_pk=pk, filer=PATIENT, subject=ADA)
    said = [warning.message for warning in stored.warnings if warning.element == f"Consent.provision{element}"]
    assert any(words in one for one in said) if words else said == []
    assert directives.in_store([pk]) != []


@pytest.mark.parametrize(
    ("other", "provision", "warned"),
    [
        (consent(node("deny")), node("permit"), True),
        (consent(node("deny"), dateTime="2199"), node("permit"), False),
        (consent(node("deny"), status="inactive"), node("permit"), False),
        (consent(node("deny", period={"end": "2199"})), node("permit"), False),
        (consent(node("deny", period={"end": "2199"})), node("permit", period={"end": "2198"}), True),
        (consent(node("deny", purpose=purposes("HPAYMT"))), node("permit"), False),
        (consent(node("deny", purpose=purposes("HPAYMT"))), node("permit", purpose=purposes("CLMATTCH")), True),
        (consent(node("permit", node("deny", actor=IRCP))), node("deny", node("permit", actor=IRCP)), True),
        (consent(node("permit", node("deny", node("permit"), actor=IRCP))), node("deny", node("permit", actor=IRCP)), False),
        (consent(node("permit", node("deny", actor=IRCP), purpose=purposes("HPAYMT"))), node("deny", node("permit", actor=IRCP)), False),
        (consent(node("deny"), scope={"coding": [fx.coding("consentscope", "research")]}), node("permit"), False),
        (consent(node("deny"), scope={"coding": [fx.coding("consentscope", "research")]}), node("permit", purpose=purposes("CLINTRCH")), True),
    ],
)  # fmt: skip
def test_a_permit_that_another_choice_closes_is_warned_about(
    pk: int, other: dict[str, Any], provision: dict[str, Any], warned: bool
) -> None:
    directives.file(other, identifier_pk=pk, filer=PATIENT)
    beside = Beside(others=tuple(directives.in_store([pk])))
    stored = directives.file(consent(provision), identifier_pk=pk, filer=PATIENT, subject=ADA, beside=beside)
    assert any("another choice" in warning.message for warning in stored.warnings) is warned
    alone = directives.check(consent(provision), subject=ADA)
    assert not any("another choice" in warning.message for warning in alone.warnings)


@pytest.mark.parametrize(
    ("provision", "warned"),
    [
        (node("deny", purpose=purposes("HRESCH")), True),
        (node("deny", purpose=purposes("CLINTRCH", "HMARKT")), True),
        (node("deny", purpose=purposes("HRESCH", "TREAT")), False),
        (node("deny", purpose=purposes("COC")), False),
        (node("deny", purpose=purposes("FAMRQT")), False),
        (node("deny", securityLabel=labels("SDV")), True),
        (node("deny", securityLabel=labels("V")), True),
        (node("deny", securityLabel=labels("R")), False),
        (node("deny", securityLabel=labels("MH")), False),
        (node("deny", purpose=purposes("HRESCH", "BTG")), False),
        (node("deny", actor=EVE, purpose=purposes("HRESCH")), False),
        (node("deny"), False),
        (node("permit", purpose=purposes("TREAT")), False),
    ],
)
def test_a_denial_of_what_the_general_rule_denies_anyway_is_warned_about(
    pk: int, provision: dict[str, Any], warned: bool
) -> None:
    registration.apply(file(clinic(id="lake", jurisdiction="JA")))
    stored = directives.check(consent(provision), subject=ADA, beside=Beside(holders=("lake",)))
    assert any("general rule" in warning.message for warning in stored.warnings) is warned
    permit = directives.file(consent(node("permit")), identifier_pk=pk, filer=PATIENT)
    with_a_permit = directives.check(
        consent(provision), subject=ADA, beside=Beside(holders=("lake",), others=(permit,))
    )
    assert not any("general rule" in warning.message for warning in with_a_permit.warnings)


WRITTEN = {
    "performer": [{"reference": "Patient/ada"}],
    "organization": [{"reference": "Organization/lake"}],
    "sourceReference": {"reference": "DocumentReference/form"},
}
TPO = purposes("TREAT", "HPAYMT", "HOPERAT")


@pytest.mark.parametrize(
    ("changes", "provision", "lacking"),
    [
        ({}, node("permit", purpose=TPO, securityLabel=labels("42CFRPart2")), set()),
        ({}, node("permit", purpose=TPO, securityLabel=labels("R")), set()),
        ({}, node("deny", purpose=TPO, securityLabel=labels("42CFRPart2")), set()),
        ({}, node("permit", securityLabel=labels("42CFRPart2")), {"Consent.provision.purpose", "Consent.provision.actor"}),
        ({}, node("permit", purpose=purposes("HLEGAL"), securityLabel=labels("42CFRPart2")), {"Consent.provision.actor"}),
        ({}, node("deny", node("permit", actor=IRCP, purpose=purposes("HLEGAL"), securityLabel=labels("42CFRPart2"))), set()),
        ({"performer": None}, node("permit", purpose=TPO, securityLabel=labels("42CFRPart2")), {"Consent.performer"}),
        ({"dateTime": None}, node("permit", purpose=TPO, securityLabel=labels("42CFRPart2")), {"Consent.dateTime"}),
        ({"sourceReference": None}, node("permit", purpose=TPO, securityLabel=labels("42CFRPart2")), {"Consent.source"}),
        ({"organization": None}, node("permit", purpose=TPO, securityLabel=labels("42CFRPart2")), {"Consent.organization"}),
        ({"organization": None}, node("permit", purpose=TPO, securityLabel=labels("42CFRPart2"), actor=[fx.actor("CST", reference="Organization/lake")]), set()),
    ],
)  # fmt: skip
def test_a_consent_to_share_part_2_records_is_told_what_it_lacks_as_a_written_one(
    changes: dict[str, Any], provision: dict[str, Any], lacking: set[str]
) -> None:
    resource = {k: v for k, v in (consent(provision) | WRITTEN | changes).items() if v is not None}
    checked = directives.check(resource, subject=ADA)
    assert {one.element for one in checked.warnings if "substance-use" in one.message} == lacking


@pytest.mark.parametrize(
    ("on_file", "warned"),
    [
        ([("2024-01-01", None)], True),
        ([("2024-01-01", None), ("2024-12-31", "2025-01-01")], False),
        ([("2024-12-31T23:30:00-05:00", None)], True),
        ([("2025-01-01T04:30:00Z", None)], True),
        ([("2025-01-01T05:30:00Z", None)], False),
        ([(None, None)], False),
        ([], False),
    ],
)
def test_a_time_from_which_nothing_is_on_file_is_warned_about(
    on_file: list[tuple[str | None, str | None]], warned: bool
) -> None:
    resource = consent(node("permit", node("deny", dataPeriod={"start": "2025", "end": "2025"})))
    checked = directives.check(resource, subject=ADA, beside=Beside(on_file=tuple(on_file)))
    assert any("on file" in warning.message for warning in checked.warnings) is warned


def test_periods_are_compared_in_the_patients_time_zone() -> None:
    # 10 March in New York lasts until 04:00Z of the 11th.
    resource = consent(node("permit", period={"start": "2026-03-11T03:00:00Z", "end": "2026-03-10"}))
    assert directives.check(resource, subject=ADA).problems == ()
    with pytest.raises(DirectiveRefused):
        directives.check(resource)


@pytest.mark.parametrize(
    ("provision", "refused"),
    [
        (node("deny", securityLabel=labels("SEX")), False),
        (node("deny", securityLabel=labels("PREGNANT", "PSY")), False),
        (node("deny", securityLabel=labels("BH")), True),
        (node("deny", securityLabel=labels("SEX", "GDIS")), True),
        (node("deny", securityLabel=labels("SEX", "R")), True),
        (node("permit", securityLabel=labels("SEX", "R")), False),
        (node("deny"), True),
        (node("deny", node("permit", actor=EVE), securityLabel=labels("SEX")), True),
        (node("deny", node("permit", actor=EVE, securityLabel=labels("STD")), securityLabel=labels("SEX")), False),
    ],
)
def test_a_minors_own_choice_is_about_confidential_care_only(provision: dict[str, Any], refused: bool) -> None:
    only = frozenset({"SEX", "STD", "HIV", "MH", "SUD"})
    assert directives.check(consent(provision), subject=ADA).problems == ()
    if not refused:
        assert directives.check(consent(provision), subject=ADA, only_labels=only).problems == ()
        return
    with pytest.raises(DirectiveRefused) as refusal:
        directives.check(consent(provision), subject=ADA, only_labels=only)
    assert {problem.element.rpartition(".")[2] for problem in refusal.value.problems} == {"securityLabel"}


def test_every_change_is_a_new_version_and_old_ones_stay(pk: int) -> None:
    stored = directives.file(consent(node("permit")), identifier_pk=pk, filer=PATIENT)
    directives.update(stored.id, consent(node("deny")), filer=PATIENT, if_version=1)
    revoked = directives.revoke(stored.id, filer=PATIENT, reason="changed my mind")
    assert (revoked.version, revoked.status, revoked.revoked_by) == (3, "inactive", PATIENT.actor)
    assert revoked.revoked_at is not None
    assert directives.revoke(stored.id, filer=PATIENT, reason="again").version == 3
    assert [directives.read(stored.id, n).resource["provision"]["type"] for n in (1, 2, 3)] == [
        "permit",
        "deny",
        "deny",
    ]
    assert list(ConsentVersion.objects.order_by("version").values_list("action", flat=True)) == [
        "file",
        "update",
        "revoke",
    ]


def test_a_change_of_an_old_version_is_refused(pk: int) -> None:
    stored = directives.file(consent(node("permit")), identifier_pk=pk, filer=PATIENT)
    with pytest.raises(DirectiveChanged):
        directives.update(stored.id, consent(node("deny")), filer=PATIENT, if_version=2)
    with pytest.raises(UnknownDirective):
        directives.read(stored.id, 2)


def test_a_version_can_be_neither_changed_nor_removed(pk: int) -> None:
    directives.file(consent(node("permit")), identifier_pk=pk, filer=PATIENT)
    for change in ("UPDATE consent_consentversion SET actor = 'y'", "DELETE FROM consent_consentversion"):
        with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(change)


def test_the_epoch_rises_with_every_change_and_only_for_its_identifier(pk: int) -> None:
    other = identifier("2")
    seen = [directives.consent_epoch([pk])]
    stored = directives.file(consent(node("permit")), identifier_pk=pk, filer=PATIENT)
    seen.append(directives.consent_epoch([pk]))
    directives.revoke(stored.id, filer=PATIENT, reason="r")
    seen.append(directives.consent_epoch([pk]))
    proxies.grant(identifier_pk=pk, person="RelatedPerson/max", kind="parent")
    seen.append(directives.consent_epoch([pk]))
    assert seen == sorted(set(seen))
    assert directives.consent_epoch([other]) == 0
    assert directives.consent_epoch([]) == 0


def test_an_epoch_given_in_a_transaction_that_rolled_back_is_not_given_again(pk: int) -> None:
    with transaction.atomic():
        directives.file(consent(node("deny")), identifier_pk=pk, filer=PATIENT)
        lost = directives.consent_epoch([pk])
        assert len(directives.for_subject(ADA, [pk]).directives) == 1
        transaction.set_rollback(True)
    assert directives.for_subject(ADA, [pk]).directives == ()
    directives.file(consent(node("permit")), identifier_pk=pk, filer=PATIENT)
    assert directives.consent_epoch([pk]) > lost
    (directive,) = directives.for_subject(ADA, [pk]).directives
    assert directive.root is not None
    assert directive.root.permit


def test_a_persons_directives_cost_two_statements_and_then_one(pk: int, django_assert_num_queries: Any) -> None:
    directives.file(consent(node("permit")), identifier_pk=pk, filer=PATIENT)
    with django_assert_num_queries(2):
        first = directives.for_subject(ADA, [pk])
    with django_assert_num_queries(1):
        assert directives.for_subject(ADA, [pk]) == first


def test_the_directives_of_who_has_filed_none_cost_one_statement_and_the_first_is_seen_at_once(
    pk: int, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        assert directives.for_subject(ADA, [pk]).directives == ()
    directives.file(consent(node("deny")), identifier_pk=pk, filer=PATIENT)
    assert len(directives.for_subject(ADA, [pk]).directives) == 1


def test_directives_follow_their_identifier_whatever_person_their_reference_names(pk: int) -> None:
    directives.file(consent(node("deny"), patient="somebody-before-the-merge"), identifier_pk=pk, filer=PATIENT)
    asked = fx.request()
    policy, _ = _fixture_policy()
    decided = engine.decide(_request(asked), _document(), directives.for_subject(ADA, [pk]), policy, now=NOW)
    assert decided.rule == "D3"


def test_an_imported_directive_that_cannot_be_understood_denies_and_shows(pk: int) -> None:
    stored = directives.import_unchecked(consent({"type": "perhaps"}), identifier_pk=pk, actor="import")
    assert stored.unintelligible
    policy, _ = _fixture_policy()
    decided = engine.decide(_request(fx.request()), _document(), directives.for_subject(ADA, [pk]), policy, now=NOW)
    assert decided.rule == "D3"


def _fixture_policy() -> Any:
    from consent.case_fixtures import compile_fixture

    return compile_fixture(fx.FIXTURE)


def _request(asked: dict[str, Any]) -> Any:
    from consent.case_values import request_from

    return request_from(asked)


def _document() -> Any:
    from consent.case_values import document_from

    return document_from(fx.document())


# --- policy


def test_shipped_jurisdictions_and_tables_can_be_used() -> None:
    found = policies.current()
    assert {"JA", "JB"} <= found.jurisdictions.keys()
    assert found.jurisdictions["JA"].opt_out
    assert not found.jurisdictions["JB"].opt_out
    assert jurisdictions.zone_of("JB") == "Europe/Paris"
    assert jurisdictions.zone_of("ZZ") is None


def test_the_policy_is_compiled_again_only_after_a_change(django_assert_num_queries: Any) -> None:
    first = policies.current()
    with django_assert_num_queries(1):
        assert policies.current() is first
    before = directory.epoch()
    assert jurisdictions.load({"JC": fx.LAW["JB"]}) == {"JC": "created"}
    assert directory.epoch() > before
    assert "JC" in policies.current().jurisdictions


def test_loading_the_same_jurisdiction_again_changes_nothing() -> None:
    jurisdictions.load({"JC": fx.LAW["JB"]})
    epoch = directory.epoch()
    assert jurisdictions.load({"JC": fx.LAW["JB"]}) == {"JC": "unchanged"}
    assert directory.epoch() == epoch
    assert jurisdictions.load({"JC": fx.LAW["JA"]}) == {"JC": "updated"}
    assert list(Jurisdiction.objects.order_by("version").values_list("version", flat=True)) == [1, 2]


def test_a_jurisdiction_counts_from_its_instant() -> None:
    jurisdictions.load({"JC": fx.LAW["JB"]}, effective_from=datetime(2100, 1, 1, tzinfo=UTC))
    assert "JC" not in policies.current().jurisdictions
    assert "JC" in jurisdictions.in_effect(datetime(2100, 1, 1, tzinfo=UTC))


def test_one_bad_jurisdiction_keeps_all_out() -> None:
    with pytest.raises(JurisdictionRefused) as refused:
        jurisdictions.load({"JC": fx.LAW["JB"], "JD": {"timezone": "Moon/Base"}})
    assert refused.value.element == "jurisdictions.JD.timezone"
    assert not Jurisdiction.objects.exists()


def test_the_command_loads_jurisdictions(tmp_path: Path) -> None:
    path = tmp_path / "law.json"
    path.write_text(json.dumps({"jurisdictions": {"JC": fx.LAW["JB"]}}))
    out = io.StringIO()
    call_command("jurisdictions", str(path), stdout=out)
    assert out.getvalue().split() == ["created", "JC"]
    path.write_text("[]")
    with pytest.raises(CommandError):
        call_command("jurisdictions", str(path))


def test_a_row_overrides_a_member_of_a_code_table() -> None:
    from consent.models import CodeTable

    CodeTable.objects.create(name="codes", version=1, body={"roles": {"physician": ["TREAT"]}})
    assert tables.codes().roles == {"physician": frozenset({"TREAT"})}
    assert "TREAT" in tables.codes().families


# --- grants


def test_every_grant_of_a_proxy_is_found_the_active_ones_first(pk: int) -> None:
    kept = proxies.grant(
        identifier_pk=pk, person="RelatedPerson/max", kind="attorney", max_confidentiality="R", start="2026"
    )
    ended = proxies.grant(identifier_pk=pk, person="RelatedPerson/max", kind="parent")
    proxies.set_status(ended.id, "ended", evidence="court order 7")
    found = proxies.grants_for("RelatedPerson/max", [(ADA, [pk])])["ada"]
    assert [one.id for one in found] == [str(kept.id), str(ended.id)]
    assert (found[0].patient, found[0].max_confidentiality) == ("ada", "R")
    assert proxies.grants_for("RelatedPerson/other", [(ADA, [pk])]) == {}
    assert [row.identifier_id for row in proxies.active_of("RelatedPerson/max")] == [pk]


@pytest.mark.parametrize(
    ("given", "element"),
    [({"kind": "friend"}, "kind"), ({"max_confidentiality": "X"}, "max_confidentiality"), ({"end": "soon"}, "end")],
)
def test_a_proxy_grant_that_could_not_be_read_is_refused(pk: int, given: dict[str, str], element: str) -> None:
    with pytest.raises(ProxyGrantRefused) as refused:
        proxies.grant(**{"identifier_pk": pk, "person": "RelatedPerson/max", "kind": "parent"} | given)
    assert refused.value.element == element


def opened(pk: int, at: datetime = NOW, **more: str) -> Any:
    given = {"reason": "LIFE-THREAT", "text": f"collapsed in the waiting room at {at.isoformat()}"} | more
    return break_glass.open_grant(identifier_pk=pk, user_id="Practitioner/ivo", organization="hill", now=at, **given)


def test_an_open_emergency_grant_is_found_before_newer_closed_ones(pk: int) -> None:
    first, second = opened(pk), opened(pk, NOW + timedelta(minutes=1))
    break_glass.end_grant(second.id, status="revoked")
    found = break_glass.grant_for("Practitioner/ivo", ["hill"], ADA, [pk], now=NOW + timedelta(hours=1))
    assert found is not None
    assert (found.id, found.end - found.start) == (first.id, timedelta(hours=4))
    assert break_glass.grant_for("Practitioner/una", ["hill"], ADA, [pk], now=NOW) is None


def test_an_emergency_grant_of_another_house_stands_before_none_of_the_own(pk: int) -> None:
    own = opened(pk)
    break_glass.open_grant(
        identifier_pk=pk,
        user_id="Practitioner/ivo",
        organization="dale",
        reason="LIFE-THREAT",
        text="collapsed in the waiting room",
        now=NOW + timedelta(minutes=1),
    )
    later = NOW + timedelta(hours=1)
    for found in (
        break_glass.grant_for("Practitioner/ivo", ["hill"], ADA, [pk], now=later),
        break_glass.any_grant("Practitioner/ivo", ["hill"], now=later),
    ):
        assert found is not None
        assert found.id == own.id
    assert break_glass.any_grant("Practitioner/ivo", ["moor"], now=later) is None


@pytest.mark.parametrize(
    ("given", "element"), [({"reason": "CURIOUS"}, "reason"), ({"text": "fell" + " " * 20}, "text")]
)
def test_an_emergency_grant_needs_a_reason_and_words(pk: int, given: dict[str, str], element: str) -> None:
    with pytest.raises(EmergencyGrantRefused) as refused:
        opened(pk, **given)
    assert refused.value.element == element


def test_a_further_emergency_of_the_day_needs_words_of_its_own(pk: int) -> None:
    opened(pk, text="collapsed in the waiting room")
    with pytest.raises(EmergencyGrantRefused) as refused:
        opened(pk, NOW + timedelta(hours=5), text=" Collapsed  in the waiting ROOM", reason="OTHER")
    assert refused.value.element == "text"
    opened(pk, NOW + timedelta(days=1, minutes=1), text="collapsed in the waiting room")


def test_the_fourth_emergency_of_a_day_needs_a_supervisor(pk: int) -> None:
    for minutes in range(3):
        opened(pk, NOW + timedelta(minutes=minutes))
    with pytest.raises(EmergencyGrantRefused):
        opened(pk, NOW + timedelta(hours=5))
    opened(pk, NOW + timedelta(days=1, minutes=5))


def test_directives_filed_before_it_was_noted_get_the_one_who_filed_their_version(pk: int) -> None:
    cases = {
        "clinic|Practitioner/ivo": ("file", "clinic", "participant"),
        "portal|Patient/ada": ("update", "", "patient"),
        "portal|RelatedPerson/max": ("revoke", "", "proxy"),
        "clinic|Device/x": ("import", "", "import"),
        "import": ("file", "", "import"),
    }
    made = {}
    for actor, (action, _, _) in cases.items():
        row = Consent.objects.create(identifier_id=pk, resource={}, version=2)
        ConsentVersion.objects.create(consent=row, version=1, resource={}, action="file", actor="other|Device/y")
        ConsentVersion.objects.create(consent=row, version=2, resource={}, action=action, actor=actor)
        made[actor] = row
    with connection.cursor() as cursor:
        cursor.execute(import_module("consent.migrations.0003_whose_directive").FILL)
    for actor, (_, organization, capacity) in cases.items():
        made[actor].refresh_from_db()
        assert (made[actor].filed_by, made[actor].capacity) == (organization, capacity), actor


@pytest.mark.django_db(transaction=True)
def test_of_several_emergencies_at_once_the_fourth_of_a_day_is_refused() -> None:
    pk = identifier()
    outcomes: list[bool] = []
    together = threading.Barrier(8)

    def press(n: int) -> None:
        try:
            together.wait(10)
            opened(pk, NOW + timedelta(seconds=n))
            outcomes.append(True)
        except EmergencyGrantRefused:
            outcomes.append(False)
        finally:
            connection.close()

    pressing = [threading.Thread(target=press, args=(n,)) for n in range(8)]
    for one in pressing:
        one.start()
    for one in pressing:
        one.join(30)
    assert sorted(outcomes) == [False] * 5 + [True] * 3


@pytest.mark.django_db(transaction=True)
def test_of_many_who_need_a_new_policy_at_once_one_compiles_it_and_all_use_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[engine.Policy] = []
    real = policies.Sources.compiled

    def slowly(self: policies.Sources, *, epoch: int = 0) -> engine.Policy:
        time.sleep(0.2)
        compiled.append(real(self, epoch=epoch))
        return compiled[-1]

    monkeypatch.setattr(policies.Sources, "compiled", slowly)
    policies.forget()
    found: list[engine.Policy] = []
    together = threading.Barrier(6)

    def ask() -> None:
        try:
            together.wait(10)
            found.append(policies.current())
        finally:
            connection.close()

    asking = [threading.Thread(target=ask) for _ in range(6)]
    for one in asking:
        one.start()
    for one in asking:
        one.join(30)
    assert len(compiled) == 1
    assert len(found) == 6
    assert all(one is compiled[0] for one in found)
