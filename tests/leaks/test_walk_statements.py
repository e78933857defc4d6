"""The walk over work: a refusal of what is hidden takes the statements that a refusal of what is not there takes.

Time tells what an answer does not. No constant time is claimed, but that both refusals ask the database the same: no
statement more, and none of another kind. What is read once and remembered was read before.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from tests.decisions import asking
from tests.exchange import world
from tests.leaks import place, policies
from tests.leaks.place import LOCAL, SYSTEM
from tests.leaks.policies import Document
from tests.leaks.test_walk_people import HIDINGS
from tests.leaks.walking import Ear, Listener, taken_back
from tests.rest.test_break_glass import said, signed_in

pytestmark = pytest.mark.django_db

Ask = tuple[str, str, Any]

READS: dict[str, str] = {
    "a document": "/fhir/DocumentReference/{DocumentReference}",
    "its version": "/fhir/DocumentReference/{DocumentReference}/_history/1",
    "its bytes": "/fhir/Binary/{Binary}",
    "its set": "/fhir/List/{List}",
    "a consent": "/fhir/Consent/{consent}",
    "a consent's versions": "/fhir/Consent/{consent}/_history",
    "a document by id": "/fhir/DocumentReference?_id={DocumentReference}",
    "a document by identifier": "/fhir/DocumentReference?identifier={unique}",
    "a set by id": "/fhir/List?_id={List}",
    "a consent by id": "/fhir/Consent?_id={consent}",
    "a patient": "/fhir/Patient/{person}",
    "a patient by id": "/fhir/Patient?_id={person}",
    "a patient by identifier": "/fhir/Patient?identifier={system}%7C{local}",
    "documents of a patient": "/fhir/DocumentReference?patient={person}",
    "documents by identifier": "/fhir/DocumentReference?patient.identifier={system}%7C{local}",
    "sets of a patient": "/fhir/List?patient={person}",
    "consents of a patient": "/fhir/Consent?patient={person}",
    "a cross-reference": "/fhir/Patient/$ihe-pix?sourceIdentifier={system}%7C{local}",
    "who could see it": "/api/documents/{DocumentReference}/who-could-see",
}

SPACE = re.compile(r"\s+")
LISTS = re.compile(r"\((?:%s|ARRAY\[[^\]]*\]|'[^']*'|\d+)(?:, *(?:%s|'[^']*'|\d+))*\)")


def statements(ask: Callable[[], Any]) -> list[str]:
    """The statements of a request, without their values, sorted."""
    found: list[str] = []

    def noted(execute: Any, sql: Any, *rest: Any) -> Any:
        text = LISTS.sub("(…)", SPACE.sub(" ", str(sql)))
        if not text.startswith(("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")):
            found.append(text)
        return execute(sql, *rest)

    with connection.execute_wrapper(noted):
        ask()
    return sorted(found)


def of(hidden: bool, who: str, listener: Listener) -> dict[str, list[str]]:
    """What each question costs on a hub where the patient is hidden, or where she never was."""
    hiding = HIDINGS["she denies all"]
    place.takes_part(hiding.policy)
    names = {name: str(uuid.uuid4()) for name in ("person", "DocumentReference", "Binary", "List", "consent")}
    names["unique"] = "urn:oid:2.25.404"
    if hidden:
        person = place.fed()
        (ids,) = place.published([Document()], [True], listener)
        assert ids is not None
        names = {kind: one.rpartition("/")[2] for kind, one in ids.items()} | {"person": person}
        names["consent"] = place.directed(hiding.policy, person, [], listener)[0]
    names |= {"system": SYSTEM, "local": LOCAL}
    ear = Ear(policies.requester(who, names["person"]), listener)
    ear.caller = world.caller(**policies.REQUESTERS[who] | {"scopes": frozenset({"system/*.cruds"})})
    asks: dict[str, Ask] = {name: ("GET", path.format(**names), None) for name, path in READS.items()}
    asks["a match"] = ("POST", "/fhir/Patient/$match", _match())
    asks["a decision"] = ("POST", asking.FHIR, asking.parameters(names["person"], None, [names["DocumentReference"]]))
    asks["a question"] = ("POST", "/api/queries", {"patient": {"reference": f"Patient/{names['person']}"}})
    found = {}
    for name, (method, path, body) in asks.items():
        ear.ask(method, path, body)  # what every request reads once is read
        found[name] = statements(lambda m=method, p=path, b=body: ear.ask(m, p, b))  # type: ignore[misc]
    return found


def emergency(hidden: bool, how: str, listener: Listener) -> list[str]:
    """What the declaration of an emergency costs, of a patient whom the law hides, or of nobody."""
    hiding = HIDINGS["the law forbids"]
    place.takes_part(hiding.policy)
    person = place.fed() if hidden else str(uuid.uuid4())
    named: Any = person if how == "id" else {"identifier": {"system": SYSTEM, "value": LOCAL}}
    ear = Ear(world.caller(), listener)
    for _ in range(2):
        token, jti = signed_in()
        body = said(named, jti)
        found = statements(lambda b=body, t=token: ear.ask("POST", "/api/break-glass", b, Authorization=f"Bearer {t}"))  # type: ignore[misc]
    return found


@pytest.mark.parametrize("how", ["id", "identifier"])
def test_an_emergency_of_a_hidden_patient_costs_what_one_of_nobody_costs(listener: Listener, how: str) -> None:
    hidden = taken_back(lambda: emergency(True, how, listener))
    absent = taken_back(lambda: emergency(False, how, listener))
    assert Counter(hidden) == Counter(absent), (Counter(hidden) - Counter(absent), Counter(absent) - Counter(hidden))


def _match() -> dict[str, Any]:
    from tests.leaks.test_walk_people import parameters

    return parameters()


@pytest.mark.parametrize("who", ["clinician", "payer"])
def test_a_refusal_of_what_is_hidden_costs_what_one_of_what_is_not_there_costs(listener: Listener, who: str) -> None:
    hidden = taken_back(lambda: of(True, who, listener))
    absent = taken_back(lambda: of(False, who, listener))
    differing = {name: (hidden[name], absent[name]) for name in hidden if hidden[name] != absent[name]}
    lines = []
    for name, (one, two) in differing.items():
        lines.append(f"{name}: {len(one)} and {len(two)}")
        lines += [f"   + {text[:150]}" for text in (Counter(one) - Counter(two)).elements()]
        lines += [f"   - {text[:150]}" for text in (Counter(two) - Counter(one)).elements()]
    assert not differing, "\n".join(lines)
