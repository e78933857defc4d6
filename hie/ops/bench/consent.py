"""The consent engine by itself: decisions, explained decisions, lists; then with its store and through the door.

1,000 patients, each with 50 documents and up to three directives, and four requesters. Policies are compiled
beforehand; each triple of patient, document and requester is decided once, in random order. CPU is that of one
thread. What a machine can give at most stands beside: a call of a Python function that does nothing.

Source: spec/consent.md 6, 12, 14; the bars are in `docs/reference/proof.md`.
"""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from consent import engine, explain
from consent.case_values import participant_from, request_from
from hie.ops.bench import exchange
from hie.ops.bench.place import ROOT, USER, Place
from hie.ops.sandbox.hub import FHIR_JSON
from hie.standards.facts import DocumentFacts, RequestFacts, SubjectFacts

PATIENTS, DOCUMENTS, LIST = 1_000, 50, 500
NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
HL7 = "http://terminology.hl7.org/CodeSystem/"
ORGANIZATIONS = ("lake", "lake", "lake-eye", "hill", "shore", "mer")
LABELS = ("PSY", "SUD", "HIV", "SEX", "SDV", "GDIS", "STD")
LOINC = ("34133-9", "11488-4", "18842-5", "34117-2", "11502-2", "18748-4", "57133-1", "11506-3")
KINDS = tuple(
    (
        frozenset({f"http://loinc.org|{code}", "urn:ietf:bcp:13|application/pdf"}),
        frozenset({f"http://snomed.info/sct|{1000 + number}"}),
    )
    for number, code in enumerate(LOINC)
)


@dataclass(frozen=True, slots=True)
class World:
    """What decisions are made of: the policy, the requests, and each patient with documents."""

    policy: engine.Policy
    requests: tuple[RequestFacts, ...]
    patients: tuple[tuple[engine.PatientPolicy, tuple[DocumentFacts, ...]], ...]

    def prepared(self) -> list[list[engine.Prepared]]:
        """Every request about every patient, ready to decide."""
        return [
            [engine.Prepared(one, patient, self.policy, now=NOW) for one in self.requests]
            for patient, _ in self.patients
        ]

    def triples(self) -> list[tuple[int, int, DocumentFacts]]:
        """(patient, requester, document) of every decision, in random order."""
        found = [
            (number, asker, document)
            for number, (_, documents) in enumerate(self.patients)
            for asker in range(len(self.requests))
            for document in documents
        ]
        random.Random(20).shuffle(found)  # noqa: S311 - invented, the same at each run
        return found


def world(patients: int = PATIENTS, documents: int = DOCUMENTS) -> World:
    """Invented patients, the same at each run."""
    chance = random.Random(7)  # noqa: S311 - invented, the same at each run
    return World(
        policy=_policy(),
        requests=tuple(map(request_from, _requests())),
        patients=tuple(_patient(chance, number, documents) for number in range(patients)),
    )


def _requests() -> Iterator[dict[str, Any]]:
    for org, role, purpose, operation in (
        ("hill", "physician", "TREAT", "retrieve"),
        ("lake", "nurse", "ETREAT", "query"),
        ("coin", "billing", "HPAYMT", "query"),
        ("study", "researcher", "HRESCH", "bulk"),
    ):
        user = f"Practitioner/{org}"
        yield {"org": org, "user": user, "role": role, "purpose": purpose, "operation": operation}


def _policy() -> engine.Policy:
    data = ROOT / "consent" / "data"
    laws = json.loads((data / "jurisdictions.json").read_text())["jurisdictions"]
    hospital = ["TREAT", "HPAYMT", "HOPERAT", "BTG"]
    organizations: dict[str, dict[str, Any]] = {
        "lake": _organization("hospital", hospital, [{"id": "L-1", "recipientTypes": ["payer"], "labels": ["HIV"]}]),
        "lake-eye": {"partOf": "lake"},
        "hill": _organization("primary-care", ["TREAT", "HOPERAT"], []),
        "shore": _organization("sud-program", hospital, [{"id": "S-1", "classes": ["http://loinc.org|11488-4"]}])
        | {"part2Program": True},
        "mer": _organization("hospital", hospital, []) | {"jurisdiction": "JB"},
        "coin": _organization("payer", ["HPAYMT", "HOPERAT"], []),
        "study": _organization("research", ["HRESCH"], []),
    }
    facts = {key: participant_from(key, value) for key, value in organizations.items()}
    return engine.compile_policy(facts, laws, json.loads((data / "codes.json").read_text()))


def _organization(kind: str, purposes: list[str], rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": kind,
        "jurisdiction": "JA",
        "agreement": {"status": "active", "period": {"start": "2020-01-01"}, "purposes": purposes},
        "releasePolicy": rules,
    }


def _patient(chance: random.Random, number: int, held: int) -> tuple[engine.PatientPolicy, tuple[DocumentFacts, ...]]:
    identifier = f"p{number}"
    subject = SubjectFacts(id=identifier, birth_date="1970-04-01", jurisdiction="JA")
    directives = [
        engine.compile_directive(_consent(chance, identifier), directive_id=f"{identifier}-{n}", version="1")
        for n in range(chance.choice((0, 1, 1, 1, 2, 3)))
    ]
    custodians = chance.sample(ORGANIZATIONS, chance.choice((1, 2, 2, 3, 4)))
    documents = tuple(_document(chance, identifier, n, custodians) for n in range(held))
    return engine.compile_patient(subject, directives), documents


def _document(chance: random.Random, patient: str, number: int, custodians: Sequence[str]) -> DocumentFacts:
    """A document of one of eight kinds; its id, author and times are its own.

    One in ten is sensitive and restricted for it, one in a hundred very restricted. Codings are shared by all of a
    kind, as those of registered entries are.
    """
    day = f"{2020 + chance.randrange(6)}-{chance.randrange(12) + 1:02d}-{chance.randrange(28) + 1:02d}"
    classes, codes = chance.choice(KINDS)
    sensitive = chance.randrange(10) == 0
    return DocumentFacts(
        id=f"{patient}-d{number}",
        patient=patient,
        custodian=chance.choice(custodians),
        authors=(f"Practitioner/a{chance.randrange(40)}",),
        classes=classes,
        codes=codes,
        confidentiality="V" if chance.randrange(100) == 0 else "R" if sensitive else "N",
        labels=frozenset([chance.choice(LABELS)] if sensitive else ()),
        service_start=day,
        created=f"{day}T09:{chance.randrange(60):02d}:00Z",
    )


def _consent(chance: random.Random, patient: str) -> dict[str, Any]:
    """One of the directives that people file: all, all but some labels, kinds, persons or years, or nobody."""
    to_hill = [
        {"role": {"coding": [_coding("v3-ParticipationType", "IRCP")]}, "reference": {"reference": "Organization/hill"}}
    ]
    restricted = [_coding("v3-Confidentiality", "R")]
    criteria: tuple[dict[str, Any], ...] = (
        {"securityLabel": [_coding("v3-ActCode", chance.choice(LABELS))]},
        {"securityLabel": restricted},
        {"purpose": [_coding("v3-ActReason", "HPAYMT")]},
        {"actor": to_hill},
        {"securityLabel": restricted, "provision": [{"type": "permit", "actor": to_hill}]},
        {"class": [{"system": "http://loinc.org", "code": chance.choice(LOINC)}]},
        {"dataPeriod": {"start": "2021", "end": "2022"}},
    )
    exceptions = [{"type": "deny", **one} for one in chance.sample(criteria, chance.choice((0, 1, 1, 2)))]
    root: dict[str, Any] = {"type": chance.choice(("permit", "permit", "permit", "deny"))}
    if chance.random() < 0.5:
        root["purpose"] = [_coding("v3-ActReason", code) for code in ("TREAT", "HPAYMT", "HOPERAT")]
    if chance.random() < 0.2:
        root["securityLabel"] = [_coding("v3-Confidentiality", "N")]
    if exceptions:
        root["provision"] = exceptions
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [_coding("consentscope", "patient-privacy")]},
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": "2026-01-15",
        "provision": root,
    }


def _coding(system: str, code: str) -> dict[str, str]:
    return {"system": HL7 + system, "code": code}


# --- rows of the engine


def run() -> Iterator[dict[str, Any]]:
    """A row for each figure of the engine by itself."""
    whole = world()
    triples = whole.triples()
    # All that 4,000 requests have decided is kept here at once; in a hub each is gone with its request, by reference
    # counting. To look through it again and again would measure the collector.
    gc.collect()
    gc.disable()
    limit = f"a Python call {_call_us():.2f} µs, the clock {_clock_us():.2f}; 10 M multiply-adds {_loop_s():.2f} s"
    yield _decisions(whole, triples, limit)
    yield _from_nothing(whole, triples[: len(triples) // 10], limit)
    yield _explained(whole, triples[: len(triples) // 4], limit)
    yield _lists(limit)
    gc.enable()


def _decisions(whole: World, triples: Sequence[tuple[int, int, DocumentFacts]], limit: str) -> dict[str, Any]:
    prepared, preparing_s = _cpu(whole.prepared)

    calls = [(prepared[number][asker].decide, document) for number, asker, document in triples]

    def decide_each() -> None:
        for decide, document in calls:
            decide(document)

    _, used_s = _cpu(decide_each)
    again = whole.prepared()  # none of them has decided anything
    took = _each([(again[number][asker].decide, (document,)) for number, asker, document in triples])
    permitted = sum(again[number][asker].decide(document).permitted for number, asker, document in triples)
    classes = sum(len(one._decided) for row in again for one in row)
    each_us = used_s / len(triples) * 1e6
    with_preparing = len(triples) / (used_s + preparing_s)
    return _row(
        "consent decisions",
        each_us,
        took,
        limit,
        f"{len(triples)} triples once each, random order, {permitted / len(triples):.0%} permitted, {classes} classes; "
        f"with the {len(again) * len(again[0])} requests prepared in the same time {with_preparing:,.0f}/s; "
        "bar 150,000/s, p99 0.025 ms",
    )


def _from_nothing(whole: World, triples: Sequence[tuple[int, int, DocumentFacts]], limit: str) -> dict[str, Any]:
    took = _each(
        (_decide, (whole.requests[asker], document, whole.patients[number][0], whole.policy))
        for number, asker, document in triples
    )
    return _row(
        "consent decision alone", sum(took) / len(took), took, limit, "request, directives and rules anew for each"
    )


def _decide(
    request: RequestFacts, document: DocumentFacts, patient: engine.PatientPolicy, policy: engine.Policy
) -> None:
    engine.decide(request, document, patient, policy, now=NOW)


def _explained(whole: World, triples: Sequence[tuple[int, int, DocumentFacts]], limit: str) -> dict[str, Any]:
    prepared = whole.prepared()

    def explained(number: int, asker: int, document: DocumentFacts) -> None:
        decision = prepared[number][asker].decide(document, trace=[])
        explain.sentence(decision, explain.Audience.PATIENT)

    took = _each((explained, triple) for triple in triples)
    note = "every rule tried, with what it rested on, and the patient's sentence; bar 20,000/s"
    return _row("consent explained", sum(took) / len(took), took, limit, note)


def _lists(limit: str) -> dict[str, Any]:
    whole = world(100, LIST)
    lists = [
        (one, documents) for row, (_, documents) in zip(whole.prepared(), whole.patients, strict=True) for one in row
    ]

    def long(one: engine.Prepared, documents: tuple[DocumentFacts, ...]) -> list[DocumentFacts]:
        decisions = one.decide_all(documents)
        return [document for document, decision in zip(documents, decisions, strict=True) if decision.permitted]

    took = [us / LIST for us in _each((long, one) for one in lists)]
    again = [us / LIST for us in _each((long, one) for one in lists)]
    dated = [us for us, (one, _) in zip(took, lists, strict=True) if one._periods]
    undated = [us for us, (one, _) in zip(took, lists, strict=True) if not one._periods]
    note = (
        f"{len(lists)} lists of {LIST} documents decided and filtered, a document; where no directive asks when "
        f"({len(undated)} lists) {sum(undated) / len(undated):.2f} µs, where one does {sum(dated) / len(dated):.2f}, "
        f"a list looked at again {sum(again) / len(again):.2f}; bar 0.001 ms"
    )
    return _row("consent list filter", sum(took) / len(took), took, limit, note)


def _row(name: str, each_us: float, took: Iterable[float], ceiling: str, note: str) -> dict[str, Any]:
    ordered = sorted(took)
    return {
        "name": name,
        "cpu_ms": round(each_us / 1000, 5),
        "rate_per_s": round(1e6 / each_us, 1),
        "p50_ms": round(ordered[len(ordered) // 2] / 1000, 5),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] / 1000, 5),
        "ceiling": ceiling,
        "note": note,
    }


def _cpu(act: Callable[[], Any]) -> tuple[Any, float]:
    began = time.thread_time()
    found = act()
    return found, time.thread_time() - began


def _each(calls: Iterable[tuple[Callable[..., Any], tuple[Any, ...]]]) -> list[float]:
    """CPU of each call in µs, that of the clock included."""
    clock = time.thread_time_ns
    took = []
    for act, arguments in calls:
        began = clock()
        act(*arguments)
        took.append(clock() - began)
    return [one / 1000 for one in took]


def _call_us() -> float:
    def nothing(one: object) -> None:
        return None

    count = 1_000_000
    began = time.thread_time()
    for _ in range(count):
        nothing(None)
    return (time.thread_time() - began) / count * 1e6


def _clock_us() -> float:
    began = time.thread_time()
    for _ in range(100_000):
        time.thread_time_ns()
    return (time.thread_time() - began) * 10


def _loop_s() -> float:
    began = time.thread_time()
    total = 0
    for number in range(10_000_000):
        total += number * 3
    return time.thread_time() - began


# --- rows of the hub

_SEARCHED = "urn:oid:2.999.8.21.1|C0"


def through_the_door(place: Place) -> Iterator[dict[str, Any]]:
    """Rows for directives from the database, and for a search of 500 documents with and without consent."""
    place.register(
        [
            place.participant("bench-lake", "hospital", 21, ["TREAT", "HOPERAT"], scopes=("system/Consent.cruds",)),
            place.participant("bench-hill", "primary-care", 22, ["TREAT", "HOPERAT"]),
        ]
    )
    hospital = place.clients["bench-lake"]
    system, value = _SEARCHED.split("|")
    authority = system.removeprefix("urn:oid:")
    hospital.feed(
        exchange.patient(900_021, authority) | {"identifier": [{"system": system, "value": value}]}, system, value
    )
    for number in range(LIST):
        entry = exchange.reference(authority, value, f"note {number}\n".encode() * 20)
        entry["type"] = {"coding": [{"system": "http://loinc.org", "code": LOINC[number % len(LOINC)]}]}
        entry["author"] = [{"reference": f"Practitioner/a{number % 40}"}]
        hospital.call("POST", "/fhir/DocumentReference", json=entry)
    for provision in _five():
        consent = {
            "resourceType": "Consent",
            "status": "active",
            "scope": {"coding": [_coding("consentscope", "patient-privacy")]},
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {"identifier": {"system": system, "value": value}},
            "dateTime": "2026-05-03",
            "provision": provision,
        }
        hospital.call("POST", "/fhir/Consent", user=USER, purpose="TREAT", json=consent)
    told = json.loads(place.hub("consent_cost", _SEARCHED, "bench-hill", USER["id"]).stdout.strip().splitlines()[-1])
    limit = "a statement of the ORM 0.55 ms, of psycopg 0.07 ms"
    note = f"{told['directives']} consents read and compiled, nothing kept from before; wall time; bar 3 ms"
    yield _waited("consent load", told["load_ms"], limit, note)
    middle = [told[member][len(told[member]) // 2] for member in ("with_ms", "without_ms")]
    note = f"{told['documents']} documents in one process, without FHIR; the same without consent {middle[1]:.1f} ms: "
    yield _waited("consent search 500", told["with_ms"], limit, note + f"{middle[0] / middle[1] - 1:+.1%}; bar +10 %")
    clinic = place.clients["bench-hill"]
    asked = f"/fhir/DocumentReference?patient.identifier={_SEARCHED}&_count={LIST}"
    took = [_wall_ms(lambda: clinic.call("GET", asked, user=USER, purpose="TREAT")) for _ in range(20)]
    whole = sorted(took)[len(took) // 2]
    consent_ms = middle[0] - middle[1]
    note = (
        f"the same over HTTP, of which consent {consent_ms:.1f} ms: {consent_ms / (whole - consent_ms):+.1%}; bar +10 %"
    )
    yield _waited("consent search 500 HTTP", sorted(took), limit, note)


def _five() -> Iterator[dict[str, Any]]:
    """What a patient may have filed over the years: all of it lets her clinic read."""
    yield {"type": "permit", "provision": [{"type": "deny", "securityLabel": [_coding("v3-ActCode", "PSY")]}]}
    yield {
        "type": "permit",
        "purpose": [_coding("v3-ActReason", "TREAT")],
        "securityLabel": [_coding("v3-Confidentiality", "N")],
    }
    yield {"type": "permit", "provision": [{"type": "deny", "purpose": [_coding("v3-ActReason", "HRESCH")]}]}
    role = {"coding": [_coding("v3-ParticipationType", "IRCP")]}
    payer = {"role": role, "reference": {"identifier": {"system": "urn:hie:org-type", "value": "payer"}}}
    yield {"type": "permit", "provision": [{"type": "deny", "actor": [payer]}]}
    yield {
        "type": "permit",
        "provision": [{"type": "deny", "class": [{"system": "http://loinc.org", "code": "99999-9"}]}],
    }


def decision_over_http(place: Place) -> tuple[Callable[[int], None], str, str] | None:
    """The act of asking `Consent/$consent-decision`; None where this hub has no such operation."""
    hospital = place.clients["bench-lake"]
    body: dict[str, Any] = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "patient", "valueIdentifier": dict(zip(("system", "value"), _SEARCHED.split("|"), strict=True))},
            {
                "name": "requester",
                "part": [
                    {"name": "organization", "valueReference": {"reference": "Organization/bench-hill"}},
                    {"name": "user", "valueReference": {"reference": USER["id"]}},
                    {"name": "role", "valueCode": "physician"},
                ],
            },
            {"name": "purpose", "valueCode": "TREAT"},
            {"name": "operation", "valueCode": "retrieve"},
        ],
    }
    found = hospital.call(
        "GET",
        "/fhir/DocumentReference",
        user=USER,
        purpose="TREAT",
        params={"patient.identifier": _SEARCHED, "_count": "1"},
    ).json()
    document = found["entry"][0]["resource"]["id"]
    asked = {"name": "document", "valueReference": {"reference": f"DocumentReference/{document}"}}
    body |= {"parameter": [*body["parameter"], asked]}
    path, content = "/fhir/Consent/$consent-decision", json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {hospital.token(USER, 'TREAT')}", "Content-Type": FHIR_JSON}

    def ask(number: int) -> None:
        status, answer = place.request("POST", path, headers=headers, body=content)
        if status != 200:
            raise RuntimeError(f"$consent-decision: {status} {answer[:300]!r}")

    if place.request("POST", path, headers=headers, body=content)[0] in (404, 405):
        return None
    return (
        ask,
        "one durable audit row, 6,700/s at 8 clients",
        "one document, by its custodian; with record and audit; bar 800/s",
    )


def _wall_ms(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _waited(name: str, ordered_ms: Sequence[float], ceiling: str, note: str) -> dict[str, Any]:
    middle = ordered_ms[len(ordered_ms) // 2]
    return {
        "name": name,
        "cpu_ms": None,
        "rate_per_s": round(1000 / middle, 1),
        "p50_ms": round(middle, 3),
        "p99_ms": round(ordered_ms[int(len(ordered_ms) * 0.99)], 3),
        "ceiling": ceiling,
        "note": note,
    }
