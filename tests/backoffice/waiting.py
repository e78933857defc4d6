"""One thing that waits in each queue of the desk, made as it comes there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from consent import directives
from hie.directory.models import Certificate
from hie.exchange.desk_queues import QUEUES
from hie.exchange.models import DeathObjection, InboundMessage, QueryTarget
from hie.outbox import outbox
from hie.terminology import affinity_domain, local_codes
from hie.terminology.local_codes import Met
from hie.terminology.models import LocalCode
from patients import identifiers
from tests.backoffice import conftest
from tests.backoffice.emergencies import emergency

LOCAL = "urn:oid:1.2.840.114350.1.13.88"
ODD = {
    "resourceType": "Consent", "status": "active", "scope": {"coding": [{"code": "patient-privacy"}]},
    "policyRule": {"coding": [{"code": "OPTOUT"}]}, "provision": {"type": "permit"},
}  # fmt: skip
SETS = (
    b'<Codes><CodeType name="classCode"><Code code="11488-4" codingScheme="2.16.840.1.113883.6.1" display="Consult note"/>'
    b'<Code code="18842-5" codingScheme="2.16.840.1.113883.6.1" display="Discharge summary"/></CodeType></Codes>'
)


def message(control_id: str = "77", **changes: Any) -> InboundMessage:
    """A message refused for a bad date."""
    values: dict[str, Any] = {
        "protocol": "hl7v2", "sender": "LAB|NORTH", "participant_id": "org-hospital", "control_id": control_id,
        "kind": "ADT^A08", "digest": control_id.encode().ljust(32, b"d"), "raw": b"SECRETBYTES", "key_id": "k", "size": 11,
        "status": "refused", "error_code": "102", "error_element": "PID-7", "error_text": "Not a date", "reply": b"MSA|AR",
        "attempts": 1, "received_at": timezone.now() - timedelta(hours=3),
    }  # fmt: skip
    return InboundMessage.objects.create(**values | changes)


def messages(person: UUID) -> str:
    """The cause of a message."""
    message()
    return QUEUES["messages"].everything(timezone.now())[0].key


def codes(person: UUID) -> str:
    """A code outside its set, by a submission of the clinic."""
    affinity_domain.load(SETS, source="test")
    local_codes.note("org-clinic", [Met("classCode", LOCAL, "NOTE7")])
    return str(LocalCode.objects.get(code="NOTE7").pk)


def code_inside(code: str = "LAB-042", sender: str = "org-hospital") -> LocalCode:
    """A code of a sender's own system, inside a document."""
    local_codes.note(sender, [Met("", LOCAL, code)])
    return LocalCode.objects.get(code=code)


def consents(person: UUID) -> str:
    """A choice that contradicts itself, as another system had it."""
    resource = {**ODD, "patient": {"reference": f"Patient/{person}"}}
    (pk, *_) = identifiers.identifier_pks(person)
    return str(directives.import_unchecked(resource, identifier_pk=pk, actor="import").id)


def documents(person: UUID) -> str:
    """A document whose name is not the patient's."""
    from documents.metadata import CX
    from documents.models import ReviewItem
    from tests.documents.samples import ALICE, ALICE_ELSEWHERE, entry, register, submission
    from tests.exchange.world import HOSPITAL_AUTHORITY

    found = identifiers.resolve(HOSPITAL_AUTHORITY, "P1")
    assert found is not None
    cx = CX(value="P1", authority=HOSPITAL_AUTHORITY)
    one = entry(title="Result of the HIV test", patient_id=cx)
    register(
        submission(one, patient_id=cx),
        {cx: found.pk, ALICE: found.pk, ALICE_ELSEWHERE: found.pk},
        restricted={one.entry_uuid: ["name-differs"]},
    )
    return str(ReviewItem.objects.get(entry__title=one.title).pk)


def deaths(person: UUID) -> str:
    """Somebody who signed in, and says that she lives."""
    row = DeathObjection.objects.create(
        identifier_id=identifiers.anchor(person).pk, said="I am alive and at home.", at=timezone.now()
    )
    return str(row.pk)


def raised(person: UUID) -> str:
    """The clinic, three of whose emergencies were not justified."""
    from consent import emergency_reviews

    for n in range(3):
        review = emergency(person, user_id=f"Practitioner/{n}", at=timezone.now() - timedelta(hours=n + 1))
        emergency_reviews.open_case(review, participant="org-clinic", now=timezone.now())
    return "org-clinic"


def suspended(person: UUID) -> str:
    """The hospital, suspended."""
    conftest.suspend("org-hospital")
    return "org-hospital"


def keys(person: UUID) -> str:
    """A certificate of the clinic that ends in nine days."""
    at = timezone.now()
    row = Certificate.objects.create(
        participant_id="org-clinic", pem="x", thumbprint="ab" * 32, not_before=at, expires=at + timedelta(days=9)
    )
    return f"certificate-{row.pk}-{row.expires:%Y%m%d}"


def notices(person: UUID) -> str:
    """A notice for a receiver that did not answer."""
    outbox.add_for(outbox.Topic.IDENTITIES, [("mllp org-clinic", str(person), {})])
    (notice,) = outbox.claim(outbox.Topic.IDENTITIES)
    outbox.give_up(notice, "the endpoint answered 503")
    return QUEUES["notices"].everything(timezone.now())[0].key


def communities(person: UUID) -> str:
    """A community that was down for a question of the last hour."""
    from hie.exchange.models import Query

    at = timezone.now() - timedelta(minutes=20)
    query = Query.objects.create(
        participant_id="org-clinic", client_id="org-clinic", user_id="Practitioner/ada", caller={}, person_id=person,
        purpose="TREAT", status="complete", created_at=at, deadline_at=at + timedelta(seconds=2), completed_at=at,
        expires_at=at + timedelta(hours=24),
    )  # fmt: skip
    QueryTarget.objects.create(
        query=query, target_id="urn:oid:2.999.30.2", participant_id="com-2", name="Isle of Wren", kind="community",
        status="down", cause="unreachable", attempts=1, asked_at=at,
    )  # fmt: skip
    return "urn:oid:2.999.30.2"


MAKE: dict[str, Callable[[UUID], str]] = {
    "messages": messages, "codes": codes, "consents": consents, "doubtful-documents": documents, "deaths": deaths,
    "raised": raised, "suspended": suspended, "communities": communities, "keys": keys, "notices": notices,
}  # fmt: skip
"""What makes a thing wait, by queue; gives its key. Of the patient given, where it is one's."""
