"""Participants files: strict, all or nothing, repeatable."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.core.management import CommandError, call_command

from hie.directory import queries, registration
from hie.directory.errors import RegistrationRefused, UnknownParticipant
from hie.directory.models import Agreement, ClientKey, DirectoryChange, Participant
from tests.directory.forms import (
    EC_P256,
    EC_P384,
    RSA_2048,
    clinic,
    community,
    file,
    hospital,
    jwk,
    private_jwk,
    ward,
)

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def certificate() -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clinic.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(EC_P256.public_key())
        .serial_number(7)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=365))
        .sign(EC_P256, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def agreement(**changes: object) -> dict:
    return {"status": "active", "period": {"start": "2026-01-01"}} | changes


def refusal(*participants: dict) -> list[str]:
    with pytest.raises(RegistrationRefused) as refused:
        registration.apply(file(*participants))
    assert not Participant.objects.exists()
    return [str(fault) for fault in refused.value.faults]


def test_a_file_applied_twice_changes_nothing_the_second_time():
    whole = clinic(
        certificates=[certificate()],
        jurisdiction="JB",
        part2_program=False,
        requires_relationship=True,
        source_id="2.999.10.1.2",
        hl7v2={"application": "CLIN", "facility": "MAIN"},
        default_role="system",
        default_purpose="TREAT",
        agreement=agreement(period={"start": "2026", "end": "2027-06"}, labels_documents=True, obligations=["MINEC"]),
        endpoints=[{"kind": "fhir", "url": "https://clinic.example/fhir/", "repository_unique_id": "2.999.10.1.3"}],
        release_policy=[{"id": "C-1", "recipientTypes": ["payer"], "labels": ["HIV"], "absolute": True}],
    )
    document = file(whole, hospital(), ward(), community())
    ids = ["org-clinic", "org-hospital", "org-hospital-ward", "com-east"]
    assert registration.apply(document) == [("created", one) for one in ids]
    before = queries.epoch()
    assert registration.apply(document) == [("unchanged", one) for one in ids]
    assert queries.epoch() == before
    exported = registration.export()
    assert registration.apply(json.loads(json.dumps(exported))) == [("unchanged", one) for one in sorted(ids)]


def test_participants_not_named_stay_untouched():
    registration.apply(file(clinic(), hospital()))
    before = registration.export(["org-hospital"])
    assert registration.apply(file(clinic(name="New Name"))) == [("updated", "org-clinic")]
    assert registration.export(["org-hospital"]) == before


def test_a_repeated_file_does_not_end_a_suspension_but_an_explicit_status_does():
    registration.apply(file(clinic(status="suspended")))
    assert registration.apply(file(clinic())) == [("unchanged", "org-clinic")]
    assert not queries.is_active("org-clinic", NOW)
    assert registration.apply(file(clinic(status="active"))) == [("updated", "org-clinic")]


def test_no_file_ends_a_suspension_by_the_desk():
    registration.apply(file(clinic(status="suspended")))
    registration.apply(file(clinic(status="active")))
    registration.suspend("org-clinic", "unpaid", "admin")
    assert registration.apply(file(clinic())) == [("unchanged", "org-clinic")]
    with pytest.raises(RegistrationRefused) as refused:
        registration.apply(file(clinic(status="active"), hospital()))
    assert [one.path for one in refused.value.faults] == ["participants[0].status"]
    assert not queries.is_active("org-clinic", NOW)
    assert queries.participant("org-hospital") is None
    registration.reinstate("org-clinic", "paid", "ida and bo")
    assert registration.apply(file(clinic(status="active"))) == [("unchanged", "org-clinic")]
    assert registration.apply(file(clinic(status="suspended"))) == [("updated", "org-clinic")]
    assert registration.apply(file(clinic(status="active"))) == [("updated", "org-clinic")]


def test_defaults_are_active_now_and_the_hubs_own_jurisdiction(settings):
    registration.apply(file(clinic()))
    facts = queries.participant("org-clinic")
    assert facts is not None
    assert facts.agreement is not None
    assert (facts.status, facts.jurisdiction, facts.agreement.status) == ("active", settings.HUB_JURISDICTION, "active")
    assert facts.agreement.purposes == ("TREAT", "HOPERAT", "BTG")
    assert queries.is_active("org-clinic", datetime.now(UTC))
    assert queries.participant_by_client("org-clinic") == facts


def test_a_changed_agreement_is_a_new_version_and_the_old_one_is_kept():
    registration.apply(file(clinic()))
    registration.apply(file(clinic(purposes=["TREAT"])))
    registration.apply(file(clinic(purposes=["TREAT"], agreement=agreement(status="suspended"))))
    rows = Agreement.objects.filter(participant="org-clinic").order_by("version")
    assert [(row.version, row.status, len(row.purposes)) for row in rows] == [
        (1, "active", 3),
        (2, "active", 1),
        (3, "suspended", 1),
    ]


def test_every_change_is_history_with_before_and_after():
    registration.apply(file(clinic()), actor="ops")
    registration.apply(file(clinic(name="New Name")), actor="ops")
    registration.suspend("org-clinic", "unpaid", "root")
    registration.reinstate("org-clinic", "paid", "root")
    rows = DirectoryChange.objects.order_by("pk")
    assert [(row.kind, row.actor, row.reason) for row in rows] == [
        ("created", "ops", ""),
        ("updated", "ops", ""),
        ("suspended", "root", "unpaid"),
        ("reinstated", "root", "paid"),
    ]
    assert rows[1].changed == {"name": ["The Clinic", "New Name"]}


def test_suspending_someone_unknown_is_refused():
    with pytest.raises(UnknownParticipant):
        registration.suspend("org-nobody", "x", "root")


SMALL_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
ONE_FAULT = {
    "unknown-member": (clinic(colour="blue"), "participants[0].colour: unknown member"),
    "unknown-nested-member": (
        clinic(agreement=agreement(period={"start": "2026-01-01", "stop": "2027"})),
        "participants[0].agreement.period.stop: unknown member",
    ),
    "missing-name": (clinic(name=None), "participants[0].name: is missing"),
    "type-not-a-code": (clinic(type="shop"), "participants[0].type: must be one of"),
    "purpose-not-a-code": (clinic(purposes=["TREAT", "FUN"]), "participants[0].purposes[1]: must be one of"),
    "purpose-twice": (clinic(purposes=["TREAT", "TREAT"]), "participants[0].purposes: holds the same item twice"),
    "role-not-a-code": (clinic(default_role="boss"), "participants[0].default_role: must be one of"),
    "btg-as-default": (clinic(default_purpose="BTG"), "participants[0].default_purpose: breaking the glass is never"),
    "oid": (clinic(organization_oid="clinic"), "participants[0].organization_oid: must be an OID"),
    "authority": (clinic(assigning_authority="2.999.01"), "participants[0].assigning_authority: must be an OID"),
    "hub-authority": (clinic(assigning_authority="2.999.1.3"), "participants[0].assigning_authority: is the hub's own"),
    "hub-id": (clinic(id="hub"), "participants[0].id: is the hub's own name"),
    "hub-community": (clinic(home_community_id="2.999.1.1"), "participants[0].home_community_id: is the hub's own"),
    "date": (
        clinic(agreement=agreement(period={"start": "01/02/2026"})),
        "participants[0].agreement.period.start: must be a FHIR date",
    ),
    "calendar": (
        clinic(agreement=agreement(period={"start": "2026-02-30"})),
        "participants[0].agreement.period.start: must be a FHIR date",
    ),
    "period-reversed": (
        clinic(agreement=agreement(period={"start": "2026-02", "end": "2026-01"})),
        "participants[0].agreement.period.end: lies before the start",
    ),
    "private-ec-key": (
        clinic(jwks={"keys": [private_jwk(EC_P384, "k")]}),
        "participants[0].jwks.keys[0]: holds private material (d)",
    ),
    "private-rsa-key": (
        clinic(jwks={"keys": [private_jwk(RSA_2048, "k")]}),
        "participants[0].jwks.keys[0]: holds private material (d, dp",
    ),
    "symmetric-key": (
        clinic(jwks={"keys": [{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}]}),
        "participants[0].jwks.keys[0]: holds private material (k)",
    ),
    "small-rsa-key": (clinic(jwks={"keys": [jwk(SMALL_RSA, "k")]}), "participants[0].jwks.keys[0]: RSA keys need 2048"),
    "hs256": (clinic(jwks={"keys": [jwk(EC_P384, "k", alg="HS256")]}), "participants[0].jwks.keys[0]: alg must be"),
    "no-kid": (clinic(jwks={"keys": [jwk(EC_P384, "")]}), "participants[0].jwks.keys[0]: kid is missing"),
    "two-kids": (
        clinic(jwks={"keys": [jwk(EC_P384, "k"), jwk(EC_P256, "k")]}),
        "participants[0].jwks.keys: two keys share the kid k",
    ),
    "keys-twice": (clinic(jwks_url="https://c.example/jwks"), "participants[0].jwks_url: give keys by value or by URL"),
    "jwks-scheme": (clinic(jwks=None, jwks_url="file:///etc/passwd"), "participants[0].jwks_url: must be a URL"),
    "certificate": (clinic(certificates=["not a certificate"]), "participants[0].certificates[0]: is not a PEM"),
    "endpoint-kind": (
        clinic(endpoints=[{"kind": "ftp", "url": "https://a.example"}]),
        "participants[0].endpoints[0].kind: must be one of",
    ),
    "endpoint-url": (
        clinic(endpoints=[{"kind": "fhir", "url": "javascript:alert(1)"}]),
        "participants[0].endpoints[0].url: must be a URL",
    ),
    "scope": (clinic(scopes=["system/Patient.sr"]), "participants[0].scopes[0]: must read system/Type.cruds"),
    "scope-query": (clinic(scopes=["system/Patient.rs?x=y z"]), "participants[0].scopes[0]: must be one scope"),
    "user-role": (
        clinic(users=[{"id": "Practitioner/a", "name": "A", "role": "king"}]),
        "participants[0].users[0].role: must be one of",
    ),
    "user-twice": (
        clinic(users=[{"id": "u", "name": "A", "role": "nurse"}, {"id": "u", "name": "B", "role": "nurse"}]),
        "participants[0].users[1].id: stands twice",
    ),
    "release-label": (
        clinic(release_policy=[{"id": "R", "labels": ["SECRET"]}]),
        "participants[0].release_policy[0].labels[0]: must be one of",
    ),
    "release-member": (
        clinic(release_policy=[{"id": "R", "label": ["HIV"]}]),
        "participants[0].release_policy[0].label: unknown member",
    ),
    "flag": (clinic(part2_program="yes"), "participants[0].part2_program: must be true or false"),
    "parent-unknown": (clinic(part_of="org-none"), "participants[0].part_of: org-none is neither in the file"),
    "own-parent": (clinic(part_of="org-clinic"), "participants[0].part_of: an organization is not part of itself"),
}


@pytest.mark.parametrize(("broken", "expected"), ONE_FAULT.values(), ids=ONE_FAULT)
def test_a_file_with_one_fault_is_refused_by_its_path_and_changes_nothing(broken, expected):
    faults = refusal(hospital(), broken)
    faults = [fault.replace("participants[1]", "participants[0]") for fault in faults]
    assert [fault for fault in faults if fault.startswith(expected)], faults
    assert len(faults) == 1


def test_all_faults_are_named_at_once():
    faults = refusal(clinic(type="shop", colour=1), hospital(organization_oid="x"))
    assert [fault.split(":")[0] for fault in faults] == [
        "participants[0].colour",
        "participants[0].type",
        "participants[1].organization_oid",
    ]


def test_parents_in_a_circle_are_refused():
    faults = refusal(hospital(part_of="org-hospital-ward"), ward())
    assert "participants[0].part_of: leads back to itself" in faults


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("organization_oid", "2.999.10.2"),
        ("client_id", "org-hospital"),
        ("assigning_authority", "2.999.10.2.1"),
        ("hl7v2", {"application": "EPIC", "facility": "NORTH"}),
    ],
)
def test_what_is_anothers_is_refused_in_the_file_and_against_the_database(member, value):
    taken = clinic(**{member: value})
    assert refusal(hospital(), taken) == [f"participants[1].{member}: is already that of org-hospital"]
    registration.apply(file(hospital()))
    with pytest.raises(RegistrationRefused) as refused:
        registration.apply(file(taken))
    assert refused.value.faults[0].path == f"participants[0].{member}"


def test_a_parent_may_come_later_in_the_file_or_be_registered_already():
    registration.apply(file(ward(), hospital()))
    registration.apply(file(ward(id="org-hospital-lab", organization_oid="2.999.10.2.8", part_of="org-hospital-ward")))
    assert queries.root_of("org-hospital-lab") == "org-hospital"
    assert queries.within("org-hospital-lab", "org-hospital")
    assert not queries.within("org-hospital", "org-hospital-lab")


def test_keys_change_with_an_overlap():
    registration.apply(file(clinic()))
    both = {"keys": [jwk(EC_P384, "clinic-1"), jwk(EC_P256, "clinic-2", exp=1_900_000_000)]}
    registration.apply(file(clinic(jwks=both)))
    assert set(ClientKey.objects.values_list("kid", flat=True)) == {"clinic-1", "clinic-2"}
    assert ClientKey.objects.get(kid="clinic-2").expires is not None


def test_the_command_prints_a_line_each_and_exits_1_naming_the_fault(tmp_path, capsys):
    path = tmp_path / "participants.json"
    path.write_text(json.dumps(file(clinic(), hospital())))
    call_command("participants", str(path))
    assert capsys.readouterr().out.splitlines() == ["created org-clinic", "created org-hospital"]
    path.write_text(json.dumps(file(clinic(colour=1))))
    with pytest.raises(CommandError, match=r"participants\[0\].colour: unknown member"):
        call_command("participants", str(path))
    path.write_text("{")
    with pytest.raises(CommandError, match="not JSON"):
        call_command("participants", str(path))
