"""Questions of the wrong shape: each refused in its protocol's own form with the element named, none decided."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hie.audit.models import AuditEvent
from hie.directory.models import Participant
from tests.consent import fixture as fx
from tests.decisions import asking
from tests.decisions.asking import CDS, FHIR, XACML
from tests.decisions.loaded import Hub, lake
from tests.grounds import ground

pytestmark = pytest.mark.django_db


@ground
def lake_with_a_document() -> Hub:
    made = lake(points=frozenset({"hill"}))
    made.document(fx.document())
    return made


@pytest.fixture
def hub(lake_with_a_document: Hub) -> Hub:
    return lake_with_a_document


def changed(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(body)
    at = made
    for step in path[:-1]:
        at = at[step]
    if value is KeyError:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return made


CDS_BODY = asking.consult(("urn:oid:2.999.50.5.1", "ada"), fx.request(org="urn:oid:2.999.50.1"))
XACML_BODY = asking.xacml("0d0e3f0a-0000-4000-8000-000000000000", fx.request(), None)
FHIR_BODY = asking.parameters(
    "0d0e3f0a-0000-4000-8000-000000000000", fx.request(), [asking.reference_of(fx.document())]
)
PARAMETER = "Parameters.parameter"


@pytest.mark.parametrize(
    ("path", "value", "element"),
    [
        (("hook",), 3, "hook"),
        (("hook",), "patient-view", "hook"),
        (("hookInstance",), KeyError, "hookInstance"),
        (("context",), [], "context"),
        (("context",), KeyError, "context"),
        (("surplus",), 1, "surplus"),
        (("context", "surplus"), 1, "context.surplus"),
        (("context", "scope"), "adr", "context.scope"),
        (("context", "scope"), ["patient-privacy"], "context.scope"),
        (("context", "patientId"), KeyError, "context.patientId"),
        (("context", "patientId"), "ada", "context.patientId"),
        (("context", "patientId"), ["ada"], "context.patientId[0]"),
        (("context", "patientId", 0, "value"), 7, "context.patientId[0].value"),
        (("context", "patientId", 0, "system"), "", "context.patientId[0].system"),
        (("context", "patientId"), [{"system": "s", "value": "v"}] * 101, "context.patientId"),
        (("context", "purposeOfUse"), [], "context.purposeOfUse"),
        (("context", "purposeOfUse"), ["TREAT", "HPAYMT"], "context.purposeOfUse"),
        (("context", "purposeOfUse"), {"system": "urn:other", "code": "TREAT"}, "context.purposeOfUse.system"),
        (("context", "purposeOfUse"), {"kode": "TREAT"}, "context.purposeOfUse.kode"),
        (("context", "actor", 2), {"system": "urn:ietf:rfc:3986", "value": "urn:oid:1.2"}, "context.actor[2]"),
        (("context", "class"), [{"code": "34133-9"}], "context.class[0].system"),
        (("context", "category"), [{"system": "http://loinc.org", "code": ["x"]}], "context.category[0].code"),
    ],
)
def test_a_hook_of_the_wrong_shape_is_a_400_that_names_the_member(
    hub: Hub, path: Any, value: Any, element: str
) -> None:
    token = hub.token("hill")
    assert asking.post(CDS, CDS_BODY, token).status_code == 200
    answer = asking.post(CDS, changed(CDS_BODY, path, value), token)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, element)


SUBJECT = ("Request", "AccessSubject", "Attribute")


@pytest.mark.parametrize(
    ("path", "value", "element"),
    [
        (("Request",), 5, "Request"),
        (("Other",), {}, "Other"),
        (("Request", "MultiRequests"), {}, "Request.MultiRequests"),
        (("Request", "CombinedDecision"), True, "Request.CombinedDecision"),
        (("Request", "ReturnPolicyIdList"), "yes", "Request.ReturnPolicyIdList"),
        (("Request", "Resource"), "x", "Request.Resource"),
        (("Request", "Resource"), [{"Attribute": []}] * 51, "Request.Resource"),
        (("Request", "Resource", "Content"), "<x/>", "Request.Resource[0].Content"),
        (("Request", "Action"), [{}, {}], "Request.Action"),
        ((*SUBJECT, 0, "AttributeId"), "urn:other", "Request.AccessSubject[0].Attribute[0].AttributeId"),
        ((*SUBJECT, 0, "Value"), {"kode": 1}, "Request.AccessSubject[0].Attribute[0].Value"),
        ((*SUBJECT, 3, "Value"), {"system": "urn:other", "code": "TREAT"}, "Request.AccessSubject[0].Attribute[3].Value"),
        ((*SUBJECT, 3, "Value"), "urn:other#TREAT", "Request.AccessSubject[0].Attribute[3].Value"),
        ((*SUBJECT, 1, "Value"), {"system": "urn:other", "code": "x"}, "Request.AccessSubject[0].Attribute[1].Value"),
        ((*SUBJECT, 0, "Value"), [], "Request.AccessSubject[0].Attribute[0].Value"),
        ((*SUBJECT, 0, "IncludeInResult"), "yes", "Request.AccessSubject[0].Attribute[0].IncludeInResult"),
        ((*SUBJECT, 0, "Value"), ["a", "b"], "Request.AccessSubject[0].Attribute[0].Value"),
        ((*SUBJECT, 0, "Value"), True, "Request.AccessSubject[0].Attribute[0].Value"),
        (("Request", "Resource", "Attribute", 0, "Value"), "ada", "Request.Resource[0].Attribute[0].Value"),
        (("Request", "Category"), [{"CategoryId": "urn:x"}], "Request.Category[0].CategoryId"),
        (("Request", "Environment"), {"Attribute": [asking.attribute("current-dateTime", "today")]}, "Request.Environment"),
        (("Request", "Environment"), {"Attribute": [asking.attribute("current-dateTime", "2026-06-15T12:00:00")]}, "Request.Environment"),
        (("Request", "Environment"), {"Attribute": [asking.attribute("purpose", "HPAYMT")]}, "Request.Environment[0].Attribute[0].Value"),
    ],
)  # fmt: skip
def test_a_request_of_the_wrong_shape_is_indeterminate_and_names_the_member(
    hub: Hub, path: Any, value: Any, element: str
) -> None:
    token = hub.token("hill")
    answer = asking.post(XACML, changed(XACML_BODY, path, value), token)
    (result,) = answer.json()["Response"]
    assert (answer.status_code, result["Decision"]) == (400, "Indeterminate")
    assert result["Status"]["StatusMessage"].startswith(f"{element}: ")


@pytest.mark.parametrize(
    ("path", "value", "element"),
    [
        (("Request", "Resource"), KeyError, "Request.Resource"),
        (("Request", "Resource"), {"Attribute": []}, "Request.Resource[0].Attribute"),
    ],
)
def test_what_a_decision_needs_and_is_not_there_is_a_missing_attribute(
    hub: Hub, path: Any, value: Any, element: str
) -> None:
    answer = asking.post(XACML, changed(XACML_BODY, path, value), hub.token("hill"))
    (result,) = answer.json()["Response"]
    assert (answer.status_code, result["Decision"]) == (200, "Indeterminate")
    assert result["Status"]["StatusCode"]["Value"] == "urn:oasis:names:tc:xacml:1.0:status:missing-attribute"
    assert result["Status"]["StatusMessage"].startswith(f"{element}: ")


P = "parameter"


@pytest.mark.parametrize("person", ["ada", None], ids=["known", "unknown"])
@pytest.mark.parametrize("odd", ["\ud800", "x\x00"], ids=["half-a-pair", "nul"])
def test_what_is_no_text_is_refused_whether_or_not_the_patient_exists(hub: Hub, odd: str, person: str | None) -> None:
    """Looked up it would break, and only where there is somebody to look it up for."""
    hill = hub.token("hill")
    named = hub.persons["ada"] if person else "0d0e3f0a-0000-4000-8000-000000000000"
    document = hub.document(fx.document(custodian="hill"))
    for member in ("org", "user", "role", "purpose", "operation", "relationship"):
        request = fx.request(org="coin", relationship="encounter") | {member: odd}
        if member == "user":
            request |= {"purpose": "BTG"}
        asked = [(FHIR, asking.parameters(named, request, [document]))]
        if member not in ("operation", "relationship"):
            asked.append((CDS, asking.consult(("urn:oid:2.999", named), request)))
        if member != "org":
            asked.append((XACML, asking.xacml(named, request, document)))
        for path, body in asked:
            assert asking.post(path, body, hill).status_code == 400, (path, member)
    stated = asking.reference_of(fx.document(custodian="hill"))
    stated["category"][0]["coding"][0]["code"] = odd
    answer = asking.post(FHIR, asking.parameters(named, fx.request(org="coin"), [stated]), hill)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("path", "value", "status", "element"),
    [
        (("resourceType",), "Bundle", 400, "resourceType"),
        ((P,), {}, 400, PARAMETER),
        ((P,), [], 400, PARAMETER),
        ((P, 0), 3, 400, f"{PARAMETER}[0].name"),
        ((P, 0, "name"), "patients", 400, f"{PARAMETER}[0].name"),
        ((P, 0, "name"), "purpose", 400, f"{PARAMETER}[2].name"),
        ((P, 0, "valueReference"), {"reference": 4}, 400, f"{PARAMETER}[0].valueReference.reference"),
        ((P, 0, "valueReference"), {"reference": "Device/1"}, 400, f"{PARAMETER}[0].valueReference.reference"),
        ((P, 0, "valueReference"), {"reference": "https://elsewhere.example/fhir/Patient/1"}, 400, f"{PARAMETER}[0].valueReference.reference"),
        ((P, 0, "valueReference"), {}, 400, f"{PARAMETER}[0].valueReference"),
        ((P, 2), {"name": "purpose", "valueCoding": {"system": "urn:other", "code": "TREAT"}}, 400, f"{PARAMETER}[2].valueCoding"),
        ((P, 0, "valueString"), "x", 400, f"{PARAMETER}[0]"),
        ((P, 1, "part"), "x", 400, f"{PARAMETER}[1].part"),
        ((P, 1, "part", 0, "name"), "x", 400, f"{PARAMETER}[1].part[0].name"),
        ((P, 1, "part", 2, "valueCode"), ["physician"], 400, f"{PARAMETER}[1].part[2].valueCode"),
        ((P, 1, "part", 2, "valueCode"), "x" * 1001, 400, f"{PARAMETER}[1].part[2].valueCode"),
        ((P, 2, "name"), "patient", 400, f"{PARAMETER}[2].name"),
        ((P, 2, "valueCode"), "", 400, f"{PARAMETER}[2].valueCode"),
        ((P, 4, "resource"), {"resourceType": "Patient"}, 400, f"{PARAMETER}[4].resource.resourceType"),
        ((P, 4, "resource", "status"), 3, 400, None),
        ((P, 4, "resource", "implicitRules"), "urn:x", 400, f"{PARAMETER}[4].resource.implicitRules"),
        ((P, 4, "resource", "subject"), {"reference": "Group/1"}, 400, f"{PARAMETER}[4].resource.subject.reference"),
        ((P, 4), {"name": "document", "part": [{"name": "labelled", "valueBoolean": True}]}, 400, f"{PARAMETER}[4]"),
        ((P, 4), {"name": "now", "valueInstant": "2026"}, 400, f"{PARAMETER}[4].valueInstant"),
        ((P, 4), {"name": "now", "valueInstant": "2026-06-15T12:00:00"}, 400, f"{PARAMETER}[4].valueInstant"),
        ((P, 4), {"name": "now", "valueInstant": "0001-01-01T00:00:00+14:00"}, 400, f"{PARAMETER}[4].valueInstant"),
        ((P,), [{"name": "purpose", "valueCode": "TREAT"}], 422, PARAMETER),
    ],
)  # fmt: skip
def test_parameters_of_the_wrong_shape_are_refused_by_element(
    hub: Hub, path: Any, value: Any, status: int, element: str | None
) -> None:
    token = hub.token("hill")
    answer = asking.post(FHIR, changed(FHIR_BODY, path, value), token)
    (issue,) = answer.json()["issue"][:1]
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome")
    assert element is None or issue["expression"] == [element]
    assert not AuditEvent.objects.filter(kind="consent-decision", outcome=0).exists()


@pytest.mark.parametrize("path", [CDS, XACML, FHIR])
@pytest.mark.parametrize(
    ("body", "status"),
    [(b" ", 400), (b"{", 400), (b"[]", 400), (b"\xff\xfe", 400), (b'{"a": 1, "a": 2}', 400), (b"[" * 100_000, 400), (b'{"a": NaN}', 400), (b" " * (1 << 21), 413)],
    ids=["empty", "broken", "list", "not-utf8", "twice", "deep", "nan", "huge"],
)  # fmt: skip
def test_a_body_that_is_no_question_is_refused_whole(hub: Hub, path: str, body: bytes, status: int) -> None:
    answer = asking.post(path, body, hub.token("hill"))
    assert answer.status_code == status
    assert b"Traceback" not in answer.content


@pytest.mark.parametrize("path", [CDS, XACML, FHIR])
def test_another_type_or_method_is_refused(hub: Hub, path: str) -> None:
    from django.test import Client

    headers = {"HTTP_AUTHORIZATION": f"Bearer {hub.token('hill')}"}
    assert Client().post(path, b"{}", content_type="text/plain", **headers).status_code == 415
    assert Client().get(path, **headers).status_code == 405
    assert Client().get("/consent/else").status_code == 404
    assert [one["id"] for one in Client().get("/consent/cds-services").json()["services"]] == [
        "patient-consent-consult"
    ]


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.text(max_size=8) | st.sampled_from(["TREAT", "Patient/x", "\x00", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["reference", "code", "system", "value", "name", "part"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


BODIES = {CDS: CDS_BODY, XACML: XACML_BODY, FHIR: FHIR_BODY}


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data(), path=st.sampled_from([CDS, XACML, FHIR]), value=values)
def test_whatever_stands_in_a_question_nothing_breaks_and_nothing_is_permitted_by_mistake(
    hub: Hub, data: Any, path: str, value: Any
) -> None:
    Participant.objects.filter(id="hill").update(status="active")
    place = data.draw(st.sampled_from(places(BODIES[path])))
    body = changed(BODIES[path], place, value)
    answer = asking.post(path, json.dumps(body), hub.token("hill"))
    assert answer.status_code in (200, 400, 404, 413, 422)
    assert b"Traceback" not in answer.content
