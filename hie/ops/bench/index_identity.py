"""Row 16 of the specification of the index: a merge undone, of a person of fifty records, from outside.

Two people of fifty records each are imported. Then they are merged and parted again, several times, through
`/api/identities/`, each request with its token, consent and audit; after each time everything that the hub answers of them
must be what it answered before, byte for byte. That the rows behind the answers are equal too is held by
`tests/patients/test_reviewing.py` and `tests/patients/test_sequences.py`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median
from typing import Any

from hie.ops.bench.index import Bench, Finding
from hie.ops.bench.place import USER, running

NAME = "identity"
SCOPE = "hie:stewardship"
RECORDS = 50
ROUNDS = 20
_PEOPLE = (("Quarrel", "Rosamund", "1971-04-09", "female"), ("Oddfellow", "Barnaby", "1933-11-30", "male"))


def run() -> Iterator[Finding]:
    """The lines of the table."""
    with running() as place:
        yield from _undone(Bench(place, scopes=(SCOPE,)))


def _patients() -> list[dict[str, Any]]:
    return [
        {
            "resourceType": "Patient",
            "identifier": [{"system": f"urn:oid:{Bench.authority}", "value": f"{family[0]}{number:02d}"}],
            "name": [{"family": family, "given": [given]}],
            "birthDate": born,
            "gender": gender,
            "address": [{"line": [f"7 {family} Street"], "city": "Velmoor", "postalCode": "40129"}],
        }
        for family, given, born, gender in _PEOPLE
        for number in range(RECORDS)
    ]


def _undone(bench: Bench) -> Iterator[Finding]:
    links = bench.send(_patients())
    persons = list(dict.fromkeys(link["person"] for link in links))
    if len(persons) != 2:
        raise RuntimeError(f"{2 * RECORDS} records of two people became {len(persons)} persons")
    before, filed = _answers(bench, persons), bench.persons()
    took: list[float] = []
    equal = 0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        merged = _post(bench, "merges", {"survivor": f"Patient/{persons[0]}", "subsumed": f"Patient/{persons[1]}"})
        _post(bench, f"events/{merged['event']}/undo", {})
        took.append((time.perf_counter() - began) * 1000)
        equal += _answers(bench, persons) == before
    same = equal == ROUNDS and bench.persons() == filed
    yield Finding(
        row="16", what=f"merge, then unmerge, {RECORDS} records: answers equal byte for byte", found=f"{equal}/{ROUNDS}",
        bar="all", best_other="partial", holds=same,
    )  # fmt: skip
    yield Finding(
        row="16", what="both requests together, p50 and longest", found=f"{median(took):.0f} and {max(took):.0f} ms",
        bar="<= 200 ms", best_other="partial", holds=max(took) <= 200,
    )  # fmt: skip


def _post(bench: Bench, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = bench.client.call(
        "POST", f"/api/identities/{path}", user=USER, purpose="TREAT", json=body | {"reason": "measured"},
        headers={"Accept": "application/json"},
    )  # fmt: skip
    found: dict[str, Any] = answer.json()
    return found


def _answers(bench: Bench, persons: list[str]) -> list[bytes]:
    """What is answered of the two: each read, and the cross-references of one record each."""
    paths = [f"/fhir/Patient/{person}" for person in persons]
    paths += [
        f"/fhir/Patient/$ihe-pix?sourceIdentifier=urn:oid:{Bench.authority}|{family[0]}00" for family, *_ in _PEOPLE
    ]
    return [bench.client.call("GET", path, user=USER, purpose="TREAT").content for path in paths]
