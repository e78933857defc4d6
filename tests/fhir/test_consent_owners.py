"""Whose a choice is: who may file, change and end it, and what everybody else is told."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from consent import directives, owners, policies, proxies
from consent.models import Consent, ConsentVersion
from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import access, consent_sight, consents
from hie.exchange.access import Staff
from hie.exchange.errors import AccessRefused, BadRequest
from hie.standards.facts import SubjectFacts
from patients import identifiers
from tests.directory.forms import EC_P256, clinic, file, hospital, jwk, ward
from tests.exchange import world
from tests.fhir.conftest import Api, World, concept, payer, provide_bundle
from tests.fhir.test_consents import consent
from tests.leaks.answers import answer
from tests.trust import conftest as trust

pytestmark = pytest.mark.django_db
ACT_CODE_OID = "urn:oid:2.16.840.1.113883.5.4"
PORTAL = {
    "id": "org-portal",
    "name": "The Portal",
    "type": "patient-portal",
    "organization_oid": "2.999.10.9",
    "jwks": {"keys": [jwk(EC_P256, "portal-1")]},
    "scopes": ["system/*.cruds"],
    "purposes": ["PATRQT"],
}
SCOPES = ["system/*.cruds"]


@pytest.fixture
def people(hub_world: World) -> World:
    """The hub with a portal, and a ward of the hospital."""
    desk = hospital(scopes=SCOPES, users=[], purposes=["TREAT", "HOPERAT", "HRESCH"])
    registration.apply(file(clinic(scopes=SCOPES), desk, ward(), payer(), PORTAL))
    trust.KEYS["org-portal"] = (EC_P256, "portal-1", "ES256")
    return hub_world


def at_portal(people: World, user: str = "", role: str = "patient", **more: Any) -> Api:
    """The patient, or who acts for her, at the portal."""
    extension = trust.b2b(
        subject_id=user or f"Patient/{people.person}",
        subject_name="Rosamund Quarrel",
        subject_role=role,
        organization_id="urn:oid:2.999.10.9",
        organization_name="The Portal",
        purpose_of_use=["PATRQT"],
    )
    return Api(trust.token("org-portal", extensions={"hl7-b2b": extension, **more}))


def at_hospital(**changes: Any) -> Api:
    known = {"subject_id": "Practitioner/north", "subject_name": "Bo North", "organization_id": "urn:oid:2.999.10.2"}
    return Api(trust.token("org-hospital", extensions={"hl7-b2b": trust.b2b(**known | changes)}))


def filed(api: Api, resource: dict[str, Any]) -> dict[str, Any]:
    done = api.post("/Consent", resource)
    assert done.status_code == 201, done.content
    stored: dict[str, Any] = done.json()
    return stored


def put(api: Api, resource: dict[str, Any], **headers: str) -> Any:
    return api.call("PUT", f"/Consent/{resource['id']}", resource, **headers)


def rewritten(resource: dict[str, Any]) -> dict[str, Any]:
    """The choice turned into its opposite."""
    return resource | {k: v for k, v in consent("", decision="permit").items() if k in ("policyRule", "provision")}


# --- who may change ---------------------------------------------------------------------------------------------------


def test_no_organization_ends_or_rewrites_what_the_patient_denied_and_the_attempt_is_in_her_log(people: World) -> None:
    choice = filed(at_portal(people), consent(people.person))
    for api in (people.clinic, people.hospital):
        assert api.get(f"/Consent/{choice['id']}").status_code == 200
        for wanted in (choice | {"status": "inactive"}, choice | {"status": "entered-in-error"}, rewritten(choice)):
            refused = put(api, wanted)
            assert refused.status_code == 403, refused.content
            assert refused.json()["issue"][0]["code"] == "forbidden"
    now = at_portal(people).get(f"/Consent/{choice['id']}").json()
    assert (now["status"], now["meta"]["versionId"], now["provision"]) == ("active", "1", {"type": "deny"})
    attempts = AuditEvent.objects.filter(person_id=people.person, outcome=4, reason="directive-of-another")
    assert sorted(attempts.values_list("organization", flat=True)) == ["org-clinic"] * 3 + ["org-hospital"] * 3
    assert put(at_portal(people), choice | {"status": "inactive"}).status_code == 200


def test_a_denial_of_another_organization_that_may_not_be_known_is_refused_like_one_that_is_not_there(
    people: World,
) -> None:
    choice = filed(people.hospital, consent(people.person))
    assert people.clinic.get(f"/Consent/{choice['id']}").status_code == 404
    invented = str(uuid.uuid4())
    for wanted in (choice | {"status": "inactive"}, rewritten(choice)):
        told = [
            answer(put(people.clinic, wanted | {"id": one}, **{"If-Match": 'W/"9"'}), {one: "<asked>"})
            for one in (choice["id"], invented)
        ]
        assert told[0] == told[1]
        assert told[0][0] == 404
    assert people.hospital.get(f"/Consent/{choice['id']}").json()["status"] == "active"


def test_what_an_organization_filed_its_departments_change_and_no_other_organization(people: World) -> None:
    choice = filed(people.hospital, consent(people.person, decision="permit"))
    assert people.clinic.get(f"/Consent/{choice['id']}").status_code == 200
    assert put(people.clinic, choice | {"status": "inactive"}).status_code == 403
    department = at_hospital(organization_id="urn:oid:2.999.10.2.9")
    assert put(department, choice | {"dateTime": "2026-01-02"}).status_code == 200
    ended = put(people.hospital, choice | {"status": "inactive"})
    assert (ended.status_code, ended.json()["status"]) == (200, "inactive")


def test_what_the_patient_has_changed_is_hers_from_then_on(people: World) -> None:
    choice = filed(people.hospital, consent(people.person, decision="permit"))
    patient = at_portal(people)
    assert put(patient, choice | {"status": "inactive"}).status_code == 200
    again = put(people.hospital, choice)
    assert again.status_code == 403, again.content
    assert patient.get(f"/Consent/{choice['id']}").json()["status"] == "inactive"


@pytest.mark.parametrize(
    ("grant", "status"),
    [
        pytest.param({"kind": "nominated", "may_consent": True}, 200, id="may-consent"),
        pytest.param({"kind": "nominated", "may_consent": False}, 403, id="may-only-look"),
        pytest.param({"kind": "nominated", "may_consent": True, "end": "2020"}, 404, id="ended"),
        pytest.param({"kind": "parent", "may_consent": True}, 404, id="parent-of-one-of-age"),
        pytest.param({"kind": "nominated", "may_consent": True, "person": "RelatedPerson/other"}, 404, id="another's"),
    ],
)
def test_a_proxy_changes_a_choice_only_by_a_grant_that_says_so(
    people: World, grant: dict[str, Any], status: int
) -> None:
    choice = filed(people.hospital, consent(people.person))
    pk = identifiers.anchor(people.person).pk
    proxies.grant(**{"identifier_pk": pk, "person": "RelatedPerson/sam", "max_confidentiality": "R"} | grant)
    sam = at_portal(people, "RelatedPerson/sam", "proxy", hie={"on_behalf_of": f"Patient/{people.person}"})
    changed = put(sam, choice | {"status": "inactive"})
    assert changed.status_code == status, changed.content
    assert sam.post("/Consent", consent(people.person)).status_code == (201 if status == 200 else 404)


def test_a_proxy_who_acts_on_behalf_of_one_files_for_no_other(people: World) -> None:
    pk = identifiers.anchor(people.person).pk
    proxies.grant(identifier_pk=pk, person="RelatedPerson/sam", kind="nominated", may_consent=True)
    elsewhere = at_portal(people, "RelatedPerson/sam", "proxy", hie={"on_behalf_of": f"Patient/{uuid.uuid4()}"})
    assert elsewhere.post("/Consent", consent(people.person)).status_code == 404


NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)


def subject(birth_date: str | None = "1970-04-01", **more: Any) -> SubjectFacts:
    return SubjectFacts(id="ada", birth_date=birth_date, jurisdiction="JA", **more)


@pytest.mark.parametrize(
    ("about", "files", "limited"),
    [
        pytest.param(subject(), True, False, id="of-age"),
        pytest.param(subject("2010-09-15"), True, True, id="fifteen"),
        pytest.param(subject("2012-06-16"), False, True, id="the-day-before-fourteen"),
        pytest.param(subject("2012-06-15"), True, True, id="fourteen-today"),
        pytest.param(subject("2008-06-15"), True, False, id="eighteen-today"),
        pytest.param(subject("2012"), False, True, id="perhaps-fourteen"),
        pytest.param(subject(None), False, True, id="age-unknown"),
        pytest.param(subject(deceased=True), False, False, id="deceased"),
    ],
)
def test_a_patient_files_from_the_age_of_confidential_care_and_of_all_care_from_majority(
    about: SubjectFacts, files: bool, limited: bool
) -> None:
    law = policies.current().jurisdiction_of("JA")
    assert owners.patient_may_file(about, law, now=NOW) is files
    assert (owners.only_confidential_care(about, law, now=NOW) is not None) is limited


@pytest.mark.parametrize(
    ("about", "grant", "counts"),
    [
        pytest.param(subject(), {}, True, id="attorney"),
        pytest.param(subject(), {"may_consent": False}, False, id="may-only-look"),
        pytest.param(subject(), {"status": "suspended"}, False, id="suspended-by-court"),
        pytest.param(subject(), {"person": "RelatedPerson/x"}, False, id="somebody-else's"),
        pytest.param(subject(), {"start": "2026-06-15", "end": "2026-06-15"}, True, id="today-only"),
        pytest.param(subject(), {"end": "2026-06-14"}, False, id="over"),
        pytest.param(subject(), {"start": "soon"}, False, id="unreadable"),
        pytest.param(subject("2016"), {"kind": "parent"}, True, id="parent-of-a-child"),
        pytest.param(subject("2008-06-15"), {"kind": "parent"}, False, id="parent-on-the-day-of-majority"),
        pytest.param(subject(None), {"kind": "guardian-of-minor"}, False, id="parent-of-unknown-age"),
        pytest.param(subject(deceased=True), {"evidence": "will", "executor": True}, True, id="executor"),
        pytest.param(subject(deceased=True), {"evidence": "deed"}, False, id="attorney-of-the-living"),
        pytest.param(subject(deceased=True), {"executor": True}, False, id="executor-without-evidence"),
        pytest.param(subject(deceased=True), {"kind": "nominated", "evidence": "x"}, False, id="nominated-by-the-dead"),
    ],
)
def test_a_grant_to_choose_counts_while_everything_about_it_holds(
    about: SubjectFacts, grant: dict[str, Any], counts: bool
) -> None:
    whole: dict[str, Any] = {
        "person": "RelatedPerson/sam", "kind": "attorney", "status": "active", "start": None, "end": None,
        "may_consent": True, "evidence": "", "executor": False,
    }  # fmt: skip
    law = policies.current().jurisdiction_of("JA")
    found = owners.consenting_grant([SimpleNamespace(**whole | grant)], "RelatedPerson/sam", about, law, now=NOW)
    assert (found is not None) is counts
    assert owners.consenting_grant([SimpleNamespace(**whole)], "RelatedPerson/sam", subject(), None, now=NOW) is None


# --- who may file at all ----------------------------------------------------------------------------------------------


def test_a_token_that_only_feeds_neither_files_nor_ends_whatever_it_names(people: World) -> None:
    choice = filed(people.hospital, consent(people.person))
    feed = Api(trust.token("org-hospital", extensions={}))
    assert feed.post("/Consent", consent(people.person)).status_code == 403
    told = [
        answer(put(feed, choice | {"status": "inactive", "id": one}), {one: "<asked>"})
        for one in (choice["id"], str(uuid.uuid4()))
    ]
    assert told[0] == told[1]
    assert told[0][0] == 403
    assert people.hospital.get(f"/Consent/{choice['id']}").json()["status"] == "active"


@pytest.mark.parametrize(
    ("role", "purpose", "scope", "status"),
    [
        ("physician", "TREAT", "patient-privacy", 201),
        ("clerk", "HOPERAT", "patient-privacy", 201),
        ("clerk", "PATADMIN", "patient-privacy", 201),
        ("clerk", "TREAT", "patient-privacy", 403),
        ("researcher", "HRESCH", "patient-privacy", 403),
        ("researcher", "HRESCH", "research", 201),
        ("physician", "HPAYMT", "patient-privacy", 403),
    ],
)
def test_an_organization_files_in_its_own_work_and_research_for_research(
    people: World, role: str, purpose: str, scope: str, status: int
) -> None:
    api = at_hospital(subject_role=role, purpose_of_use=[purpose])
    resource = consent(people.person, scope=concept("http://terminology.hl7.org/CodeSystem/consentscope", scope))
    assert api.post("/Consent", resource).status_code == status


def test_a_patient_files_as_patient_or_not_at_all(people: World) -> None:
    posing = at_hospital(subject_id=f"Patient/{people.person}")
    assert posing.post("/Consent", consent(people.person)).status_code == 403
    other = at_portal(people, f"Patient/{uuid.uuid4()}")
    assert other.post("/Consent", consent(people.person)).status_code == 404


# --- what is refused in what is filed ---------------------------------------------------------------------------------


def test_a_choice_stays_with_its_patient(people: World) -> None:
    choice = filed(people.hospital, consent(people.person))
    for patient in (
        {"reference": f"Patient/{uuid.uuid4()}"},
        {"identifier": {"system": "urn:oid:2.999.1", "value": "X"}},
    ):
        moved = put(people.hospital, choice | {"patient": patient})
        assert (moved.status_code, moved.json()["issue"][0]["expression"]) == (422, ["Consent.patient"])
    two = {"reference": f"Patient/{people.person}", "identifier": {"system": "urn:oid:2.999.10.2.1", "value": "P-none"}}
    assert people.hospital.post("/Consent", consent(people.person, patient=two)).status_code == 404
    one = two | {"identifier": {"system": "urn:oid:2.999.10.2.1", "value": "P1"}}
    assert people.hospital.post("/Consent", consent(people.person, patient=one)).status_code == 201


# --- ending -----------------------------------------------------------------------------------------------------------


def revocation(**parts: Any) -> list[dict[str, Any]]:
    said = [{"url": name, **value} for name, value in parts.items()]
    return [{"url": "urn:hie:fhir:revocation", "extension": said}]


@pytest.mark.parametrize("also", [{}, {"dateTime": "2026-02-02"}], ids=["as-it-stands", "with-other-changes"])
def test_the_end_of_a_choice_is_kept_with_time_actor_reason_and_evidence(people: World, also: dict[str, Any]) -> None:
    choice = filed(people.hospital, consent(people.person))
    why = revocation(reason={"valueString": "asked for at the desk"}, evidence={"valueReference": {"reference": "DocumentReference/f7"}})  # fmt: skip
    ended = put(people.hospital, choice | also | {"status": "inactive", "extension": why})
    assert ended.status_code == 200, ended.content
    row = Consent.objects.get(pk=choice["id"])
    assert (row.revoked_by, row.revoked_reason, row.evidence) == (
        "org-hospital|Practitioner/north", "asked for at the desk", "DocumentReference/f7",
    )  # fmt: skip
    assert row.revoked_at is not None
    version = ConsentVersion.objects.get(consent=row, version=2)
    assert (version.action, version.capacity, version.reason, version.evidence) == (
        "revoke", "participant", "asked for at the desk", "DocumentReference/f7",
    )  # fmt: skip
    assert AuditEvent.objects.filter(person_id=people.person, kind="consent-revoked", outcome=0).count() == 1
    back = put(people.hospital, choice)
    assert back.status_code == 200
    row.refresh_from_db()
    assert (row.status, row.revoked_at, row.revoked_by) == ("active", None, "")


@pytest.mark.parametrize(
    "said",
    [
        revocation(reason={"valueString": "x" * 1001}),
        revocation(cause={"valueString": "x"}),
        revocation(reason={"valueInteger": 4}),
    ],
)
def test_a_reason_that_cannot_be_kept_is_refused_by_element(people: World, said: list[dict[str, Any]]) -> None:
    choice = filed(people.hospital, consent(people.person))
    refused = put(people.hospital, choice | {"status": "inactive", "extension": said})
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (422, ["Consent.extension[0]"])
    assert people.hospital.get(f"/Consent/{choice['id']}").json()["status"] == "active"


def test_a_denial_that_cannot_be_understood_can_be_ended_as_it_stands_and_only_by_the_patients_side(
    people: World,
) -> None:
    odd = consent(people.person)
    del odd["policyRule"], odd["provision"]
    kept = directives.import_unchecked(odd, identifier_pk=identifiers.anchor(people.person).pk, actor="import")
    assert kept.unintelligible
    held = at_portal(people).get(f"/Consent/{kept.id}").json()
    assert put(people.hospital, held | {"status": "inactive"}).status_code == 403
    assert put(at_portal(people), held | {"status": "inactive"}).status_code == 200


def officer(*roles: str) -> Staff:
    return Staff(user_id="ida", roles=frozenset(roles), name="Ida Moss", request_id="r-1")


def test_only_the_privacy_officer_ends_the_choice_of_others_with_reason_and_evidence(people: World) -> None:
    choice = uuid.UUID(filed(at_portal(people), consent(people.person))["id"])
    for roles in ((), ("auditor",), ("administrator",), ("steward", "operator")):
        with pytest.raises(AccessRefused):
            consents.end(choice, officer(*roles), reason="court order", evidence="case 7")
    for missing in ("reason", "evidence"):
        with pytest.raises(BadRequest) as refused:
            consents.end(choice, officer("privacy-officer"), **{"reason": "r", "evidence": "e"} | {missing: " "})
        assert refused.value.element == missing
    assert at_portal(people).get(f"/Consent/{choice}").json()["status"] == "active"
    ended = consents.end(choice, officer("privacy-officer", "auditor"), reason="court order", evidence="case 7")
    assert (ended.status, ended.revoked_by, ended.revoked_reason, ended.evidence) == (
        "inactive", "Staff/ida", "court order", "case 7",
    )  # fmt: skip
    acts = AuditEvent.objects.filter(person_id=people.person, user="Staff/ida").order_by("at")
    assert [(row.kind, row.outcome) for row in acts] == [("staff-look", 4)] * 4 + [("staff-act", 0)]
    # What she ended no organization takes up again; the patient can.
    held = at_portal(people).get(f"/Consent/{choice}").json() | {"status": "active"}
    assert put(people.hospital, held).status_code == 403
    assert put(at_portal(people), held).status_code == 200


# --- warnings ---------------------------------------------------------------------------------------------------------


def warned(answer_: Any) -> list[str]:
    return [issue["diagnostics"] for issue in answer_.json()["issue"] if issue["severity"] == "warning"]


def test_warnings_come_as_issues_where_an_outcome_is_preferred_and_else_in_a_header(people: World) -> None:
    refusal = names("purpose", {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "BTG"})
    resource = consent(people.person, decision="permit", provision=refusal)
    done = people.hospital.post("/Consent", resource, Prefer="return=OperationOutcome")
    (issue,) = [one for one in done.json()["issue"] if one["severity"] == "warning"]
    assert (done.status_code, issue["expression"]) == (201, ["Consent.provision.provision[0].purpose"])
    assert "emergency" in issue["diagnostics"]
    assert [one["severity"] for one in done.json()["issue"]] == ["warning", "information"]
    plain = people.hospital.post("/Consent", resource)
    assert (plain.json()["resourceType"], plain["Warning"].startswith('299 - "')) == ("Consent", True)
    assert "emergency" in plain["Warning"]
    assert "Warning" not in people.hospital.post("/Consent", consent(people.person, decision="permit"))


def test_a_choice_is_checked_before_it_is_filed_and_nothing_is_stored(people: World) -> None:
    filed(people.hospital, consent(people.person))
    draft = consent(people.person, decision="permit")
    for body in (draft, {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": draft}]}):
        checked = people.hospital.post("/Consent/$validate", body)
        assert checked.status_code == 200, checked.content
        assert [text for text in warned(checked) if "another choice" in text]
    assert people.hospital.get(f"/Consent?patient={people.person}").json()["total"] == 1
    vague = {k: v for k, v in draft.items() if k not in ("policyRule", "provision")}
    assert people.hospital.post("/Consent/$validate", vague).status_code == 422
    assert (
        people.hospital.post("/Consent/$validate", draft | {"patient": {"reference": "Patient/x"}}).status_code == 404
    )
    for odd in (
        {"resourceType": "Patient"},
        {"resourceType": "Parameters"},
        {"resourceType": "Parameters", "parameter": 3},
    ):
        assert people.hospital.post("/Consent/$validate", odd).status_code == 400
    feed = Api(trust.token("org-hospital", extensions={}))
    assert feed.post("/Consent/$validate", draft).status_code == 403


def test_no_warning_tells_of_a_choice_or_document_that_is_hidden_from_the_filer(people: World) -> None:
    """spec/consent.md 1.4: as if what is hidden did not exist."""
    dated = consent(people.person, decision="permit")
    dated["provision"] = {
        "type": "permit",
        "provision": [{"type": "deny", "dataPeriod": {"start": "2011", "end": "2011"}}],
    }
    assert people.hospital.post("", provide_bundle()).status_code == 200
    told = []
    for hide in (False, True):
        if hide:
            filed(people.hospital, consent(people.person))
        told.append([warned(api.post("/Consent/$validate", dated)) for api in (people.clinic, people.hospital)])
    (clinic_before, hospital_before), (clinic_after, hospital_after) = told
    assert any("on file" in text for text in clinic_before)
    assert any("on file" in text for text in hospital_before)
    assert clinic_after == []
    assert any("on file" in text for text in hospital_after)
    assert any("another choice" in text for text in hospital_after)


def test_a_choice_does_not_stand_in_its_own_way(people: World) -> None:
    choice = filed(people.hospital, consent(people.person))
    turned = put(people.hospital, rewritten(choice), Prefer="return=OperationOutcome")
    assert (turned.status_code, warned(turned)) == (200, [])


# --- versions ---------------------------------------------------------------------------------------------------------


def test_the_versions_of_a_choice_are_listed_newest_first_and_in_pages(people: World) -> None:
    choice = filed(people.hospital, consent(people.person))
    for day in ("2026-01-02", "2026-01-03"):
        assert put(people.hospital, choice | {"dateTime": day}).status_code == 200
    path = f"/Consent/{choice['id']}/_history"
    whole = people.hospital.get(path)
    assert whole.status_code == 200, whole.content
    found = whole.json()
    assert (found["type"], found["total"]) == ("history", 3)
    assert [entry["resource"]["meta"]["versionId"] for entry in found["entry"]] == ["3", "2", "1"]
    assert [entry["request"]["method"] for entry in found["entry"]] == ["PUT", "PUT", "POST"]
    assert [entry["response"]["etag"] for entry in found["entry"]] == ['W/"3"', 'W/"2"', 'W/"1"']
    first = people.hospital.get(f"{path}?_count=2").json()
    assert [entry["resource"]["meta"]["versionId"] for entry in first["entry"]] == ["3", "2"]
    onward = next(link["url"] for link in first["link"] if link["relation"] == "next")
    rest = people.hospital.get(onward).json()
    assert [entry["resource"]["meta"]["versionId"] for entry in rest["entry"]] == ["1"]
    assert all(link["relation"] != "next" for link in rest["link"])
    assert people.hospital.get(f"{path}?_since=2999-01-01").json()["total"] == 0
    for bad in ("_count=x", "_count=-1", "_since=soon", "_page=%C2%B2"):
        assert people.hospital.get(f"{path}?{bad}").status_code == 400
    assert people.hospital.call("POST", path, {}).status_code == 405


def test_the_versions_of_a_hidden_choice_are_those_of_none(people: World) -> None:
    choice = filed(people.hospital, consent(people.person))
    told = [
        answer(people.clinic.get(f"/Consent/{one}/_history"), {one: "<asked>"})
        for one in (choice["id"], str(uuid.uuid4()))
    ]
    assert told[0] == told[1]
    assert told[0][0] == 404


def test_each_version_is_shown_to_whom_it_may_be_shown(people: World) -> None:
    sdv = {"system": ACT_CODE_OID, "code": "SDV"}
    secret = consent(people.person, decision="permit")
    secret["provision"] = {"type": "permit", "provision": [{"type": "deny", "securityLabel": [sdv]}]}
    choice = filed(people.hospital, secret)
    plain = put(people.hospital, rewritten(choice) | {"status": "inactive"})
    assert plain.status_code == 200, plain.content
    path = f"/Consent/{choice['id']}/_history"
    assert people.hospital.get(path).json()["total"] == 2
    seen = people.clinic.get(path).json()
    # Nothing is in force: the general rule hides the version that names SDV.
    assert [entry["resource"]["meta"]["versionId"] for entry in seen["entry"]] == ["2"]
    assert seen["total"] == 1


def test_the_statement_declares_the_versions_and_the_check(people: World) -> None:
    rest = people.nobody.get("/metadata").json()["rest"][0]["resource"]
    declared = next(item for item in rest if item["type"] == "Consent")
    assert "history-instance" in {item["code"] for item in declared["interaction"]}
    assert [item["name"] for item in declared["operation"]] == ["consent-decision", "validate"]


# --- secrets in a choice ----------------------------------------------------------------------------------------------


def names(criterion: str, coding: dict[str, Any]) -> dict[str, Any]:
    value = {"coding": [coding]} if criterion == "code" else coding
    return {"type": "permit", "provision": [{"type": "deny", criterion: [value]}]}


@pytest.mark.parametrize(
    ("provision", "letter", "labels"),
    [
        pytest.param({"type": "permit"}, "N", set(), id="nothing"),
        pytest.param(names("securityLabel", {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}), "R", {"PSY"}, id="present-spelling"),
        pytest.param(names("securityLabel", {"system": ACT_CODE_OID, "code": "PSY"}), "R", {"PSY"}, id="oid"),
        pytest.param(names("securityLabel", {"system": "http://hl7.org/fhir/v3/ActCode", "code": "PSY"}), "R", {"PSY"}, id="older-spelling"),
        pytest.param(names("securityLabel", {"code": "PSY"}), "R", {"PSY"}, id="no-system"),
        pytest.param(names("securityLabel", {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}), "N", set(), id="a-letter"),
        pytest.param(names("code", {"system": "urn:oid:2.16.840.1.113883.6.90", "code": "F20.0"}), "R", {"MH"}, id="diagnosis"),
        pytest.param(names("code", {"system": "http://loinc.org", "code": "11488-4"}), "R", set(), id="a-clinical-code"),
        pytest.param(names("class", {"system": "http://loinc.org", "code": "11488-4"}), "N", set(), id="a-class"),
    ],
)  # fmt: skip
def test_a_choice_is_as_secret_as_what_it_names(
    people: World, provision: dict[str, Any], letter: str, labels: set[str]
) -> None:
    resource = consent(people.person, decision="permit", provision=provision)
    pk = identifiers.anchor(people.person).pk
    stored = directives.import_unchecked(resource, identifier_pk=pk, actor="import")
    _, verdict = consent_sight.judged(world.hospital_caller(), access.subject(people.person), [stored])
    ((row, _),) = verdict.permitted
    facts = row.facts(people.person)
    assert (facts.confidentiality, facts.labels >= labels, bool(facts.labels)) == (letter, True, bool(labels))


# --- one code in two spellings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "denied"),
    [
        pytest.param("http://loinc.org", "urn:oid:2.16.840.1.113883.6.1", id="denied-by-oid"),
        pytest.param("urn:oid:2.16.840.1.113883.6.1", "http://loinc.org", id="stored-by-oid"),
        pytest.param("urn:oid:2.16.840.1.113883.6.59", "http://hl7.org/fhir/sid/cvx", id="an-oid-the-face-keeps"),
        pytest.param("http://hl7.org/fhir/sid/cvx", "urn:oid:2.16.840.1.113883.12.292", id="the-other-oid"),
        pytest.param("http://loinc.org", "2.16.840.1.113883.6.1", id="denied-by-bare-oid"),
    ],
)
@pytest.mark.parametrize("criterion", ["class", "code"])
def test_a_denial_meets_a_document_whose_code_is_spelt_otherwise(
    people: World, document: str, denied: str, criterion: str
) -> None:
    coded = {"category": [concept(document, "88888-8")]} if criterion == "class" else {"type": concept(document, "88888-8")}  # fmt: skip
    assert people.hospital.post("", provide_bundle(**coded)).status_code == 200
    search = f"/DocumentReference?patient={people.person}&status=current"
    assert people.clinic.get(search).json()["total"] == 1
    other = names(criterion, {"system": "urn:oid:2.999.1", "code": "88888-8"})
    filed(people.hospital, consent(people.person, decision="permit", provision=other))
    assert people.clinic.get(search).json()["total"] == 1
    provision = names(criterion, {"system": denied, "code": "88888-8"})
    choice = filed(people.hospital, consent(people.person, decision="permit", provision=provision))
    assert people.clinic.get(search).json()["total"] == 0
    assert choice["provision"] == provision
