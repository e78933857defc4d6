"""The walk over people: a patient who may not be known is answered as one who never was, by every way that takes a name.

One hub has the patient, her document, directive, query and the events about them; the other never heard of her. Then the
asker feeds a record of her own about the same patient, and everything is asked again.
"""

from __future__ import annotations

import base64
import functools
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from hie.audit.models import AuditEvent
from hie.directory import registration
from hie.exchange import feed, query, subscriptions
from hie.faces.hl7v2.mllp import answer
from patients import identifiers
from patients.models import ImportRun
from tests.exchange import world
from tests.exchange.releasing import choice
from tests.fhir.conftest import document_reference, provide_bundle
from tests.leaks import place, policies
from tests.leaks.place import FAMILY, LOCAL, SYSTEM
from tests.leaks.policies import BIRTH, Document, Policy
from tests.leaks.walking import Ear, Heard, Listener, same, stopped, taken_back, walks
from tests.rest.test_break_glass import said, signed_in

pytestmark = pytest.mark.django_db

NOBODY = "org-clinic", "org-payer", "org-study"
ALL_TYPES = ["primary-care", "payer", "research"]


@dataclass(frozen=True)
class Hiding:
    """Why a patient may not be known: by policy, by a choice of hers, by a flag, or by who holds the record."""

    policy: Policy = field(default_factory=Policy)
    demographics: dict[str, Any] = field(default_factory=dict)
    after: Callable[[], Any] | None = None
    documents: bool = True
    emergency: bool = False
    """Whether she stays hidden in an emergency too."""


HIDINGS = {
    "she denies all": Hiding(Policy(provisions=({"type": "deny"},))),
    "she denies these": Hiding(
        Policy(
            provisions=(
                {
                    "type": "permit",
                    "provision": [
                        {
                            "type": "deny",
                            "actor": [policies.actor("IRCP", reference=f"Organization/{one}") for one in NOBODY],
                        }
                    ],
                },
            )
        )
    ),
    "the hospital releases nothing": Hiding(
        Policy(release=({"id": "RR-9", "recipients": list(NOBODY), "absolute": True},)), emergency=True
    ),
    "the law forbids": Hiding(
        Policy(prohibitions=({"id": "LAW-9", "recipientTypes": ALL_TYPES, "emergencyOverride": False},)), emergency=True
    ),
    "she is protected": Hiding(demographics={"protected": ("VIP",)}, documents=False, emergency=True),
    "the hospital is suspended": Hiding(
        after=lambda: registration.suspend("org-hospital", reason="test", actor="test"), emergency=True
    ),
}


def made(hiding: Hiding, listener: Listener) -> dict[str, str]:
    """The patient with all that hangs on her; what it is called."""
    person = place.fed(**hiding.demographics)
    names = {"person": person}
    if hiding.documents:
        (ids,) = place.published([Document()], [True], listener)
        assert ids is not None
        names |= {kind: place_.split("/")[1] for kind, place_ in ids.items() if "/" in place_} | {
            "unique": ids["unique"]
        }
    filed = place.directed(hiding.policy, person, [], listener) or place.directed(
        Policy(provisions=({"type": "permit"},)) if hiding.documents else hiding.policy, person, [], listener
    )
    names["consent"] = filed[0] if filed else str(uuid.uuid4())
    asked = query.ask(
        query.QueryRequest(person_id=UUID(person), filter={}, deadline_s=60.0, raw=b"{}"),
        caller=world.hospital_caller(),
        nudge=lambda _: None,
    )
    names["query"] = str(asked.id)
    theirs = subscriptions.subscribe(
        subscriptions.Wanted(criteria=f"Patient?_id={person}", endpoint="http://127.0.0.1:9/feed", resource={}),
        world.hospital_caller(),
    )
    names["subscription"] = str(theirs.id)
    run = ImportRun.objects.create(participant_id="org-hospital", status="done")
    names["import"] = str(run.pk)
    names["event"] = str(AuditEvent.objects.filter(person_id=person).order_by("at")[0].id)
    if hiding.after is not None:
        hiding.after()
    return names


PLAIN = ("she denies these", "she is protected")


def each(*but: str) -> list[Any]:
    """The hidings; those that go another way through the same code are looked at in the slow lane."""
    return [pytest.param(name, marks=() if name in PLAIN else pytest.mark.slow) for name in HIDINGS if name not in but]


PARTS = (
    "person", "List", "DocumentReference", "Binary", "unique", "consent", "query", "event", "subscription", "import",
)  # fmt: skip


def invented(names: dict[str, str]) -> dict[str, str]:
    """Names for what there is not."""
    return {
        part: names.get(part) or (f"urn:oid:2.25.{uuid.uuid4().int}" if part == "unique" else str(uuid.uuid4()))
        for part in PARTS
    }


def parameters(**more: Any) -> dict[str, Any]:
    """A question to $match about the patient."""
    resource = {
        "resourceType": "Patient",
        "name": [{"family": FAMILY, "given": ["Rosamund"]}],
        "birthDate": BIRTH,
        "gender": "female",
    }
    return {
        "resourceType": "Parameters",
        "parameter": [{"name": "resource", "resource": resource}, *({"name": k} | v for k, v in more.items())],
    }


def simplified(subject: dict[str, Any], replaces: list[Any]) -> dict[str, Any]:
    """A document published by its DocumentReference alone."""
    data = b"a letter"
    reference = document_reference(data, "", subject=subject, relatesTo=replaces)
    attachment = reference["content"][0]["attachment"]
    del attachment["url"]
    attachment["data"] = base64.b64encode(data).decode()
    return reference


GETS = (
    "/fhir/Patient?family={family}",
    "/fhir/Patient?family={family}&_count=1&_total=accurate",
    "/fhir/Patient?family=Vanter&given=Rosa",
    "/fhir/Patient?name=Vanterpool&gender=female",
    "/fhir/Patient?birthdate={birth}",
    "/fhir/Patient?birthdate={birth}&_summary=count",
    "/fhir/Patient?identifier={system}%7C{local}",
    "/fhir/Patient?identifier={system}%7C{local}&_elements=identifier",
    "/fhir/Patient?identifier={system}%7C",
    "/fhir/Patient?identifier=2.999.10.1.1%7C,{system}%7C{local}",
    "/fhir/Patient?_id={person}",
    "/fhir/Patient?_id={person}&_revinclude=DocumentReference:subject",
    "/fhir/Patient?_has:DocumentReference:patient:type=34133-9",
    "/fhir/Patient/{person}",
    "/fhir/Patient/{person}/_history/1",
    "/fhir/Patient/{person}/_history",
    "/fhir/Patient/{person}/$everything",
    "/fhir/Patient/$ihe-pix?sourceIdentifier={system}%7C{local}",
    "/fhir/Patient/$ihe-pix?sourceIdentifier={system}%7C{local}&targetSystem=urn:oid:2.999.10.1.1",
    "/fhir/DocumentReference?patient={person}",
    "/fhir/DocumentReference?patient={person}&_summary=count",
    "/fhir/DocumentReference?patient.identifier={system}%7C{local}",
    "/fhir/DocumentReference/{DocumentReference}",
    "/fhir/DocumentReference?_id={DocumentReference}",
    "/fhir/DocumentReference?identifier={unique}",
    "/fhir/Binary/{Binary}",
    "/fhir/List?patient={person}",
    "/fhir/List?patient.identifier={system}%7C{local}",
    "/fhir/List/{List}",
    "/fhir/List/{List}/_history/1",
    "/fhir/Consent?patient={person}",
    "/fhir/Consent?patient.identifier={system}%7C{local}",
    "/fhir/Consent?_id={consent}",
    "/fhir/Consent/{consent}",
    "/fhir/Consent/{consent}/_history",
    "/fhir/Consent/{consent}/_history/1",
    "/fhir/AuditEvent?date=ge2020-01-01",
    "/fhir/AuditEvent?date=ge2020-01-01&patient={person}",
    "/fhir/AuditEvent?date=ge2020-01-01&patient.identifier={system}%7C{local}",
    "/fhir/AuditEvent?date=ge2020-01-01&entity=DocumentReference/{DocumentReference}",
    "/fhir/AuditEvent?_id={event}",
    "/fhir/AuditEvent/{event}",
    "/fhir/Subscription",
    "/fhir/Subscription/{subscription}",
    "/api/patients/imports/{import}",
    "/api/patients/imports/{import}/links",
    "/api/patients/imports/{import}/refused",
    "/api/queries/{query}",
    "/api/queries/{query}/events",
    "/api/identities/history?system={system}&value={local}&at={now}",
    "/api/audit/{event}/proof",
)


def asks(names: dict[str, str], own: str) -> list[tuple[str, str, Any]]:
    """What is asked with a body: method, path, body. `own` is a record of the asker's own."""
    about = {"identifier": {"system": SYSTEM, "value": LOCAL}}
    person, reason = names["person"], "one and the same"
    record = {"system": f"urn:oid:{world.CLINIC_AUTHORITY}", "value": own}
    replaces = [{"code": "replaces", "target": {"reference": f"DocumentReference/{names['DocumentReference']}"}}]
    related = provide_bundle(b"a letter", subject={"identifier": record}, relatesTo=replaces)
    related["entry"][0]["resource"]["subject"] = {"identifier": record}
    foreign = provide_bundle(b"a letter", subject=about)
    foreign["entry"][0]["resource"]["subject"] = about
    of_the_hub = {"reference": f"Patient/{person}"}
    consent = choice("deny") | {"patient": {"reference": f"Patient/{person}"}}
    patient = {
        "resourceType": "Patient",
        "identifier": [{"system": SYSTEM, "value": LOCAL}],
        "name": [{"family": FAMILY, "given": ["Rosamund"]}],
    }
    subscription = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "keep our copy in step",
        "channel": {"type": "message", "endpoint": "http://127.0.0.1:9/feed", "payload": "application/fhir+json"},
    }
    her = f"Patient/{person}"
    changes = (
        ("merges", {"survivor": her, "subsumed": f"Patient/{uuid.uuid4()}"}),
        ("unmerges", {"person": her}),
        ("links", {"identifier": record, "person": her}),
        ("links", {"identifier": about["identifier"], "person": her}),
        ("unlinks", {"identifier": about["identifier"]}),
        ("splits", {"person": her, "identifiers": [about["identifier"]]}),
    )
    return [
        ("HEAD", f"/fhir/Patient/{person}", None),
        ("POST", "/fhir/Patient/$match", parameters()),
        ("POST", "/fhir/Patient/$match", parameters(onlyCertainMatches={"valueBoolean": True})),
        ("POST", "/fhir/Patient/$match", parameters(count={"valueInteger": 1})),
        ("POST", "/fhir/Consent", consent),
        ("POST", "/fhir/Consent/$validate", consent),
        ("PUT", f"/fhir/Consent/{names['consent']}", consent | {"id": names["consent"], "status": "inactive"}),
        ("PUT", f"/fhir/Patient?identifier={SYSTEM}%7C{LOCAL}", patient),
        ("DELETE", f"/fhir/Patient?identifier={SYSTEM}%7C{LOCAL}", None),
        ("POST", "/fhir", related),
        ("POST", "/fhir/Subscription", subscription | {"criteria": f"Patient?_id={person}"}),
        ("POST", "/fhir/Subscription", subscription | {"criteria": f"Patient?identifier={SYSTEM}|{LOCAL}"}),
        (
            "PUT",
            f"/fhir/Subscription/{names['subscription']}",
            subscription | {"id": names["subscription"], "criteria": "Patient"},
        ),
        ("DELETE", f"/fhir/Subscription/{names['subscription']}", None),
        ("POST", "/fhir/", related),
        ("POST", "/fhir/DocumentReference", simplified({"identifier": record}, replaces)),
        ("POST", "/fhir", foreign),
        ("POST", "/fhir/DocumentReference", simplified(about, [])),
        ("POST", "/fhir/DocumentReference", simplified(of_the_hub, [])),
        ("POST", "/api/queries", {"patient": {"reference": f"Patient/{person}"}, "deadline_s": 1}),
        ("POST", "/api/queries", {"patient": about, "deadline_s": 1}),
        ("DELETE", f"/api/queries/{names['query']}", None),
        ("POST", "/api/patients/activation-codes", about),
        *(("POST", f"/api/identities/{act}", body | {"reason": reason}) for act, body in changes),
        ("POST", f"/api/identities/events/{names['event']}/undo", {"reason": reason}),
    ]


HL7 = (
    ("Q22", "QPD|IHE PDQ Query|T1|@PID.5.1^{family}"),
    ("Q22", "QPD|IHE PDQ Query|T1|@PID.5.1^Vant*~@PID.8^F"),
    ("Q22", "QPD|IHE PDQ Query|T1|@PID.3.1^{local}~@PID.3.4.2^{authority}"),
    ("Q22", "QPD|IHE PDQ Query|T1|@PID.7^19710409|||||^^^&{authority}&ISO"),
    ("Q23", "QPD|IHE PIX Query|T1|{local}^^^&{authority}&ISO"),
    ("Q23", "QPD|IHE PIX Query|T1|{local}^^^&{authority}&ISO|^^^&2.999.10.1.1&ISO"),
)


def walk(ear: Ear, names: dict[str, str], phase: str) -> dict[Any, list[Heard]]:
    """Ask everything about somebody who is called by these names."""
    values = names | {
        "family": FAMILY, "birth": BIRTH, "local": LOCAL, "system": SYSTEM, "now": "2026-03-01T10:00:00Z",
        "authority": world.HOSPITAL_AUTHORITY,
    }  # fmt: skip
    ear.known = {name: f"<{part}>" for part, name in names.items()}
    heard: dict[Any, list[Heard]] = {}
    for path in GETS:
        at = path.format(**values)
        heard[phase, "GET", path] = ear.pages(at) if "?" in path and path.startswith("/fhir") else [ear.ask("GET", at)]
    for number, (method, path, body) in enumerate(asks(names, "C1")):
        where = functools.reduce(lambda text, pair: text.replace(pair[1], f"<{pair[0]}>"), names.items(), path)
        heard[phase, method, where, number] = [ear.ask(method, path, body)]
    if ear.caller.participant_id == "org-clinic":
        for number, (event, qpd) in enumerate(HL7):
            lines = (
                f"MSH|^~\\&|CLIN|SOUTH|HIE|HUB|20260101120000||QBP^{event}^QBP_Q21|q{phase}{number}|P|2.5.1",
                qpd.format(**values),
                "RCP|I|10^RD",
            )
            ear.listener.taken()
            heard[phase, event, qpd] = [ear.heard(200, {}, answer(("\r".join(lines) + "\r").encode()))]
    return heard


def own_record() -> str:
    """The clinic feeds a record of its own of the same patient; her person."""
    done = feed.feed(
        feed.Revision(
            authority=world.CLINIC_AUTHORITY,
            value="C1",
            demographics=world.rosa(
                "C1",
                names=(world.HumanName(family=FAMILY, given=("Rosamund",), use="official"),),
                birth_date=BIRTH,
                identifiers=(),
            ),
        ),
        world.caller(),
    )  # fmt: skip
    assert done.result is not None
    return str(done.result.person_id)


def side(who: str, hiding: Hiding, there: bool, listener: Listener) -> dict[Any, list[Heard]]:
    """One hub: with the patient, or without."""
    place.takes_part(hiding.policy)
    names = invented(made(hiding, listener) if there else {})
    if not there and hiding.after is not None:
        hiding.after()
    changes: dict[str, Any] = {"scopes": frozenset({"system/*.cruds", "hie:stewardship"})}
    ear = Ear(policies.requester(who, names["person"]), listener)
    ear.caller = world.caller(**policies.REQUESTERS[who] | changes)
    return walk(ear, names, "1")


@walks("fhir", "Patient search", "Patient read", "Patient vread", "Patient $match", "Patient $ihe-pix")
@walks("fhir", "Patient conditional_update", "Patient conditional_delete")
@walks("fhir", "Consent search", "Consent read", "Consent vread", "Consent history")
@walks("fhir", "AuditEvent search", "AuditEvent read", "List search", "List read", "List vread")
@walks("fhir", "Subscription create", "Subscription search", "Subscription read", "Subscription delete")
@walks("url", "api/queries", "api/audit/<uuid:event_id>/proof", "api/identities/history", "fhir/<path:path>")
@walks("url", *(f"api/identities/{act}" for act in ("merges", "unmerges", "links", "unlinks", "splits")))
@walks("url", "api/identities/events/<uuid:event_id>/undo", "api/patients/activation-codes")
@walks("url", *(f"api/patients/imports/<uuid:import_id>{part}" for part in ("", "/links", "/refused")))
@walks("hl7v2", "QBP^Q22", "QBP^Q23")
@stopped("fhir", "transaction", "DocumentReference create", "Consent create", "Consent update", "Consent $validate")
@stopped("fhir", "Subscription update")
@stopped("url", "fhir", "fhir/")
@pytest.mark.parametrize("hidden", each())
def test_a_hidden_patient_is_one_who_never_was_by_every_way(listener: Listener, hidden: str) -> None:
    hiding = HIDINGS[hidden]
    with_her = taken_back(lambda: side("clinician", hiding, True, listener))
    without = taken_back(lambda: side("clinician", hiding, False, listener))
    same(with_her, without)


@walks("url", "api/break-glass")
@pytest.mark.parametrize("hidden", [name for name, hiding in HIDINGS.items() if hiding.emergency])
def test_an_emergency_of_somebody_who_may_not_be_known_is_one_of_nobody(listener: Listener, hidden: str) -> None:
    def emergency(there: bool) -> dict[Any, list[Heard]]:
        hiding = HIDINGS[hidden]
        place.takes_part(hiding.policy)
        names = invented(made(hiding, listener) if there else {})
        if not there and hiding.after is not None:
            hiding.after()
        ear = Ear(world.caller(), listener, {names["person"]: "<person>"})
        heard: dict[Any, list[Heard]] = {}
        for how, whom in (("id", names["person"]), ("identifier", {"identifier": {"system": SYSTEM, "value": LOCAL}})):
            token, jti = signed_in()
            heard[how,] = [ear.ask("POST", "/api/break-glass", said(whom, jti), Authorization=f"Bearer {token}")]
        return heard

    same(taken_back(lambda: emergency(True)), taken_back(lambda: emergency(False)))


@pytest.mark.parametrize("who", [pytest.param(one, marks=pytest.mark.slow) for one in ("payer", "researcher")])
def test_a_patient_whom_the_law_hides_is_nobody_to_payers_and_researchers(listener: Listener, who: str) -> None:
    hiding = HIDINGS["the law forbids"]
    with_her = taken_back(lambda: side(who, hiding, True, listener))
    without = taken_back(lambda: side(who, hiding, False, listener))
    same(with_her, without)


@walks("hl7v2", *(f"ADT^{event}" for event in ("A01", "A04", "A05", "A08", "A28", "A31")))
@pytest.mark.parametrize("hidden", each("she is protected"))
def test_a_record_of_the_askers_own_tells_nothing_of_a_hidden_one_of_the_same_patient(
    listener: Listener, hidden: str
) -> None:
    """The index takes both for one person: her own record must look as if it stood alone."""
    hiding = HIDINGS[hidden]

    def own(there: bool) -> dict[Any, list[Heard]]:
        place.takes_part(hiding.policy)
        names = invented(made(hiding, listener) if there else {})
        if not there and hiding.after is not None:
            hiding.after()
        ear = Ear(world.caller(scopes=frozenset({"system/*.cruds", "hie:stewardship"})), listener)
        known = {name: f"<{part}>" for part, name in names.items() if part != "person"}
        ear.known = known
        patient = {
            "resourceType": "Patient",
            "identifier": [{"system": f"urn:oid:{world.CLINIC_AUTHORITY}", "value": "C1"}],
            "name": [{"family": FAMILY, "given": ["Rosamund"]}],
            "birthDate": BIRTH,
            "gender": "female",
            "telecom": [{"system": "phone", "value": "+12025550119"}],
            "address": [{"line": ["7 Tern Street"], "city": "Velmoor", "postalCode": "40129", "country": "US"}],
        }
        by_own = f"identifier=urn:oid:{world.CLINIC_AUTHORITY}%7CC1"
        heard: dict[Any, list[Heard]] = {("fed",): [ear.ask("PUT", f"/fhir/Patient?{by_own}", patient)]}
        heard["fed again",] = [ear.ask("PUT", f"/fhir/Patient?{by_own}", patient | {"birthDate": BIRTH})]
        for event in ("A28", "A31", "A01", "A04", "A05", "A08"):
            record = f"C1^^^&{world.CLINIC_AUTHORITY}&ISO"
            lines = (
                f"MSH|^~\\&|CLIN|SOUTH|HIE|HUB|20260101120000||ADT^{event}|f{event}|P|2.5.1",
                f"EVN|{event}|20260101120000",
                f"PID|1||{record}||{FAMILY}^Rosamund||19710409|F",
            )
            listener.taken()
            heard[event,] = [ear.heard(200, {}, answer(("\r".join(lines) + "\r").encode()))]
        person = own_person()
        if there:
            assert person == names["person"], "the index takes both for one"
        return heard | walk(ear, names | {"person": person}, "2")

    same(taken_back(lambda: own(True)), taken_back(lambda: own(False)))


def own_person() -> str:
    """The person of the clinic's own record."""
    found = identifiers.resolve(world.CLINIC_AUTHORITY, "C1")
    assert found is not None
    return str(found.person_id)
