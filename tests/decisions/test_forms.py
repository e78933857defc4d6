"""The forms of the decision services as their standards have them: media types, status codes, what comes back, whose words.

Source: OASIS JSON Profile of XACML 3.0 1.1, REST Profile of XACML 3.0 1.1; CDS Hooks 2.0; spec/consent.md 14.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from hie.audit import personal
from hie.audit.models import AuditEvent
from hie.directory.models import Participant
from hie.exchange import decisions
from hie.exchange.decisions import OrganizationNamed, Question, StatedDocument
from hie.exchange.named_patients import PatientNamed
from hie.standards.facts import DocumentFacts
from tests.consent import fixture as fx
from tests.decisions import asking
from tests.decisions.asking import CDS, XACML
from tests.decisions.loaded import Hub, caller, lake
from tests.decisions.test_who_is_told import PAYER, file, identifier, of, oid

pytestmark = pytest.mark.django_db
STATUS = "urn:oasis:names:tc:xacml:1.0:status:"
PLAIN, OWN = "application/json", "application/xacml+json"


@pytest.fixture
def hub(db: None) -> Hub:
    return lake(points=frozenset({"call"}))


def asked_in(hub: Hub, content_type: str, accept: str | None) -> Any:
    entry = hub.document(fx.document(custodian="hill"))
    body = json.dumps(asking.xacml(hub.persons["ada"], of(hub, **PAYER), entry))
    headers = {"HTTP_AUTHORIZATION": f"Bearer {hub.token('hill')}"} | ({"HTTP_ACCEPT": accept} if accept else {})
    return Client().post(XACML, body, content_type=content_type, **headers)


@pytest.mark.parametrize(
    ("sent", "accept", "answered"),
    [
        (OWN, None, OWN),
        (PLAIN, None, PLAIN),
        (f"{OWN}; version=3.0; charset=utf-8", None, OWN),
        (OWN, "*/*", OWN),
        (PLAIN, "application/*", PLAIN),
        (PLAIN, OWN, OWN),
        (OWN, f"{PLAIN}, {OWN};q=0.5", PLAIN),
        (OWN, f"{PLAIN};q=0.2, {OWN};q=0.5", OWN),
        (OWN, f"text/html, {PLAIN};q=x, */*;q=0.1", OWN),
    ],
)
def test_an_answer_comes_in_the_media_type_of_the_question_or_the_one_wanted(
    hub: Hub, sent: str, accept: str | None, answered: str
) -> None:
    answer = asked_in(hub, sent, accept)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == answered
    assert answer.json()["Response"][0]["Decision"] == "Permit"


@pytest.mark.parametrize("accept", ["text/xml", "application/xacml+xml", f"{OWN};q=0, {PLAIN};q=0"])
def test_an_answer_in_another_media_type_is_refused(hub: Hub, accept: str) -> None:
    before = AuditEvent.objects.filter(kind="consent-decision").count()
    assert asked_in(hub, OWN, accept).status_code == 406
    assert AuditEvent.objects.filter(kind="consent-decision").count() == before


def test_attributes_that_are_to_come_back_tell_which_result_is_of_which_resource(hub: Hub) -> None:
    mine, theirs = (
        hub.document(fx.document(custodian="hill")),
        hub.document(fx.document(custodian="hill", labels=["HIV"])),
    )
    file(hub, fx.node("permit", fx.node("deny", securityLabel=fx.labels("HIV"))))
    body = asking.xacml(hub.persons["ada"], of(hub, **PAYER), mine)
    first = body["Request"].pop("Resource")
    named = first["Attribute"][1] | {"IncludeInResult": True, "DataType": "string"}
    body["Request"]["Resource"] = [
        {"Attribute": [first["Attribute"][0], named | {"Value": entry}]} for entry in (mine, theirs)
    ]
    body["Request"]["Action"]["Attribute"][0]["IncludeInResult"] = True
    answer = asking.post(XACML, body, hub.token("hill"))
    found = {}
    for result in answer.json()["Response"]:
        (action, resource) = result["Category"]
        assert action["CategoryId"] == "urn:oasis:names:tc:xacml:3.0:attribute-category:action"
        assert resource["CategoryId"] == "urn:oasis:names:tc:xacml:3.0:attribute-category:resource"
        ((told),) = resource["Attribute"]
        assert set(told) == {"AttributeId", "Value", "DataType"}
        found[told["Value"]] = result["Decision"]
    assert found == {mine: "Permit", theirs: "Deny"}


def test_what_is_asked_fifty_times_is_decided_once_and_the_request_is_kept_once(hub: Hub) -> None:
    entries = [hub.document(fx.document(custodian="hill")) for _ in range(3)]
    body = asking.xacml(hub.persons["ada"], of(hub, **PAYER), entries[0])
    (patient, named) = body["Request"].pop("Resource")["Attribute"]
    body["Request"]["Resource"] = [{"Attribute": [patient, named | {"Value": entries[n % 3]}]} for n in range(50)]
    body["Request"]["AccessSubject"]["Attribute"].append(asking.attribute("care-team", *["t" * 900] * 90))
    token = hub.token("hill")
    before = AuditEvent.objects.count()
    answer = asking.post(XACML, body, token)
    assert [one["Decision"] for one in answer.json()["Response"]] == ["Permit"] * 50
    made = list(AuditEvent.objects.order_by("-at").values_list("id", flat=True)[:3])
    assert AuditEvent.objects.count() == before + 3
    rows = AuditEvent.objects.filter(id__in=made).values_list("id", "personal_key", "personal")
    kept = [words.get("query", "") for words in personal.open_words(rows, connection).values()]
    assert sorted(len(one) > 50_000 for one in kept) == [False, False, True]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"purpose": "WHATEVER"}, "syntax-error"), ({"role": "wizard"}, "syntax-error")],
)
def test_a_request_that_no_rule_can_take_is_indeterminate_with_a_status_that_is_not_ok(
    hub: Hub, change: dict[str, str], code: str
) -> None:
    entry = hub.document(fx.document(custodian="hill"))
    body = asking.xacml(hub.persons["ada"], of(hub, **(PAYER | change)), entry)
    (result,) = asking.post(XACML, body, hub.token("hill")).json()["Response"]
    assert (result["Decision"], result["Status"]["StatusCode"]["Value"]) == ("Indeterminate", STATUS + code)
    assert result["PolicyIdentifierList"] == {"PolicyIdReference": [{"Id": "urn:hie:rule:G1"}]}


def test_a_card_speaks_to_whoever_reads_it(hub: Hub) -> None:
    """The custodian reads which rule it was with names; who asks about itself reads what it is told when it is shown."""
    Participant.objects.filter(id="call").update(requires_relationship=False)
    hub.document(fx.document(custodian="hill"))
    asked = asking.consult(identifier(hub), of(hub, **PAYER) | {"org": oid("coin")})
    (card,) = asking.post(CDS, asked, hub.token("hill")).json()["cards"]
    assert card["detail"].startswith("Permitted by the opt-out default of ")
    payer = hub.token("coin", subject_role="billing", purpose_of_use=["HPAYMT"])
    (own,) = asking.post(CDS, asking.consult(identifier(hub), None), payer).json()["cards"]
    assert own["detail"].startswith("Shown under the general rule of ")


def test_stated_documents_cost_the_same_statements_whatever_their_number(hub: Hub) -> None:
    named, holder = (PatientNamed(id=hub.persons["ada"]),), hub.holder("JA")
    counts = []
    for number in (1, 40):
        stated = tuple(
            StatedDocument(
                facts=DocumentFacts(id=f"d{n}", patient="", custodian=holder, confidentiality="N"), subject=named
            )
            for n in range(number)
        )
        question = Question(
            patient=named,
            organization=OrganizationNamed(id="coin"),
            role="billing",
            purpose="HPAYMT",
            documents=stated,
        )
        decisions.decide(question, caller=caller(holder))
        with CaptureQueriesContext(connection) as seen:
            assert len(decisions.decide(question, caller=caller(holder)).documents) == number
        counts.append(len(seen))
    assert counts[0] == counts[1]
