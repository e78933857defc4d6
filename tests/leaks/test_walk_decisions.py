"""The walk over decisions asked for and explained: who asks about hidden documents hears what he hears of none.

Whoever asks about a decision hears of what he may see himself. One hub has all documents of the case, the other those
that the slow evaluator lets the asker see; on both he asks by every form about each of them, about all, about a class,
about himself and about others, at another time, with documents of his own making; and has what came of it explained.
"""

from __future__ import annotations

import os
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hie.audit.models import AuditEvent
from tests.decisions import asking
from tests.decisions.asking import CDS, FHIR, TYPES, XACML
from tests.exchange import world
from tests.leaks import place, policies
from tests.leaks.policies import CATEGORIES, CLASS, Document, Policy
from tests.leaks.test_walk_documents import EXAMPLES, bare
from tests.leaks.test_walk_people import own_record
from tests.leaks.walking import Ear, Heard, Listener, same, taken_back, walks

pytestmark = pytest.mark.django_db

OTHERS: dict[str, dict[str, Any]] = {
    "payer": {"org": "org-payer", "oid": "2.999.10.3", "role": "billing", "purpose": "HPAYMT"},
    "hospital": {"org": "org-hospital", "oid": "2.999.10.2", "role": "physician", "purpose": "TREAT"},
    "emergency": {"org": "org-clinic", "oid": "2.999.10.1", "role": "physician", "purpose": "BTG"},
}
LATER = "2031-01-01T00:00:00Z"


def request_of(name: str) -> dict[str, Any] | None:
    """The request in question, of somebody else; None: the asker's own."""
    if not name:
        return None
    one = OTHERS[name]
    return {"user": "Practitioner/other", "operation": "query"} | {k: v for k, v in one.items() if k != "oid"}


def stated(source: str) -> dict[str, Any]:
    """A document of the asker's own making, made from one of the hub's."""
    return {
        "resourceType": "DocumentReference",
        "id": str(uuid.UUID(int=7)),
        "status": "current",
        "custodian": {"reference": "Organization/org-clinic"},
        "relatesTo": [{"code": "transforms", "target": {"reference": f"DocumentReference/{source}"}}],
        "content": [{"attachment": {"contentType": "text/plain"}}],
    }


def questions(
    person: str, sets: dict[str, list[str]], others: list[str]
) -> list[tuple[tuple[str, ...], str, dict[str, Any]]]:
    """What is asked: key, path, body. `sets` are the documents asked about together, [] for all there are."""
    asked: list[tuple[tuple[str, ...], str, dict[str, Any]]] = []
    for other in ("", *others):
        request = request_of(other)
        by_oid = None if request is None else request | {"org": f"urn:oid:{OTHERS[other]['oid']}"}
        for name, ids in sets.items():
            asked.append(((other, name, FHIR), FHIR, asking.parameters(person, request, ids)))
            one = ids[0] if ids else None
            asked.append(((other, name, XACML), XACML, asking.xacml(person, request, one)))
        for category in CATEGORIES:
            of_class = {"class": [{"system": CLASS, "code": category}]}
            consulted = asking.consult((place.SYSTEM, place.LOCAL), by_oid, **of_class) | {"hookInstance": "one"}
            asked.append(((other, category, CDS), CDS, consulted))
        consulted = asking.consult((place.SYSTEM, place.LOCAL), by_oid) | {"hookInstance": "one"}
        asked.append(((other, "all", CDS), CDS, consulted))
        asked.append(((other, "later", FHIR), FHIR, asking.parameters(person, request, [], now=LATER)))
        asked.append(((other, "later", XACML), XACML, asking.xacml(person, request, None, LATER)))
    return asked


def explained(ear: Ear, who: str, heard: dict[Any, list[Heard]]) -> None:
    """What came of each of the asker's own requests, in the order of asking."""
    mine = AuditEvent.objects.filter(user=ear.caller.user_id).order_by("at", "id")
    if who == "patient":
        # Whom a look was about finds it in the log, her own too: of what is withheld the line stays, the title waits.
        mine = mine.filter(outcome=0)
    for number, (event, kind) in enumerate(list(mine.values_list("id", "kind"))):
        ear.known |= {str(event): f"<event {number}>"}
        heard["explained", kind, number] = [ear.ask("GET", f"/api/decisions/{event}/explain")]
    for language in ("es", "ar"):
        heard["explained", language] = [
            ear.ask("GET", f"/api/decisions/{uuid.UUID(int=9)}/explain?language={language}")
        ]


def side(
    who: str,
    held: list[Document],
    policy: Policy,
    there: list[bool],
    seen: list[bool],
    others: list[str],
    listener: Listener,
) -> dict[Any, list[Heard]]:
    """One hub: all documents that are `there`; what is heard of the decisions about them."""
    place.takes_part(policy)
    person = place.fed()
    place.helped()
    if others and who == "clinician":
        assert own_record() == person, (
            "the clinic holds a record of its own, so that it may ask about its own documents"
        )
    made = place.published(held, there, listener)
    place.directed(policy, person, made, listener)
    ear = Ear(policies.requester(who, person), listener)
    known = {person: "<person>"} | place.called(made, seen)
    visible = [one["DocumentReference"].split("/")[1] for one, may in zip(made, seen, strict=True) if one and may]
    hidden = {n: ids["DocumentReference"].split("/")[1] for n, ids in place.not_seen(made, seen)}
    known |= {one: f"<asked {number}>" for number, one in hidden.items()}
    ear.known = known
    sets = {
        "all": [],
        **{f"hidden {number}": [one] for number, one in hidden.items()},
        **{f"hidden {number} and others": [one, *visible] for number, one in hidden.items()},
        "shown": visible or [str(uuid.UUID(int=3))],
    }
    heard: dict[Any, list[Heard]] = {}
    for key, path, body in questions(person, sets, others):
        heard[key] = [ear.ask("POST", path, body, **{"Content-Type": TYPES[path]})]
    for number, one in hidden.items():
        body = asking.parameters(person, request_of("payer"), [stated(one)])
        heard["made from", number] = [ear.ask("POST", FHIR, body)]
        heard["who", number] = [ear.ask("GET", f"/api/documents/{one}/who-could-see")]
        ear.ask("GET", f"/fhir/DocumentReference/{one}")
        ear.ask("GET", f"/fhir/DocumentReference?patient={person}&related=DocumentReference/{one}")
    for one in visible:
        heard["who", one] = [ear.ask("GET", f"/api/documents/{one}/who-could-see")]
    ear.ask("GET", f"/fhir/DocumentReference?patient={person}")
    ear.ask("GET", f"/fhir/List?patient={person}")
    ear.ask("GET", f"/fhir/Patient/{person}")
    explained(ear, who, heard)
    if who == "patient":
        # She is told of the looks of others: what was shown to them and is withheld from her is not named.
        looker = Ear(world.hospital_caller(), listener)
        looker.ask("GET", f"/fhir/DocumentReference?patient={person}")
        event = AuditEvent.objects.filter(user=looker.caller.user_id, person_id=person).latest("at").id
        ear.known |= {str(event): "<look>"}
        heard["a look explained",] = [ear.ask("GET", f"/api/decisions/{event}/explain")]
    return heard


@walks("fhir", "Consent $consent-decision")
@walks("url", "consent/cds-services/patient-consent-consult", "consent/xacml")
@walks("url", "api/decisions/<uuid:decision_id>/explain", "api/documents/<uuid:document_id>/who-could-see")
@pytest.mark.parametrize(
    "who",
    [
        pytest.param(who, marks=() if who in ("clinician", "patient") else pytest.mark.slow)
        for who in ("clinician", "payer", "researcher", "patient", "proxy")
    ],
)
@settings(
    max_examples=EXAMPLES,
    derandomize="HIE_EXAMPLES" not in os.environ,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    held=policies.documents,
    policy=policies.policies,
    others=st.lists(st.sampled_from(tuple(OTHERS)), max_size=1),
)
def test_who_asks_for_decisions_on_hidden_documents_hears_what_he_hears_of_none(
    listener: Listener, who: str, held: list[Document], policy: Policy, others: list[str]
) -> None:
    held = [*held, Document(label="NOPAT"), Document()][-4:]
    seen = policies.visible(who, held, policy)
    with_them = taken_back(lambda: side(who, held, policy, [True] * len(held), seen, others, listener))
    without = taken_back(lambda: side(who, held, policy, seen, seen, others, listener))
    same(bare(with_them), bare(without))
