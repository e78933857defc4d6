"""The patient index at size: bulk load, bulk match, then match, register and search over HTTP, small and large.

Rows 9 to 13 of the specification of the index. People are invented (`people.py`); the hub gets FHIR Patients through
`POST /api/patients/imports`, requests carry a token and pass consent and audit. Each request is measured at the first
size and again at the last: `growth` is the p95 there over the p95 here.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

from hie.ops.bench.people import people
from hie.ops.bench.place import USER, Place, tree
from hie.ops.sandbox.hub import FHIR_JSON, Client

SMALL = 10_000
RECORDS = 1_000_000
CLIENTS = 2
_POLL_S = 0.5


def run(place: Place, *, records: int, count: int) -> Iterator[dict[str, Any]]:
    """Rows of the table, as they are measured."""
    place.register(
        [
            place.participant("bench-index", "hospital", 31, ["TREAT", "HPAYMT", "HOPERAT"]),
            place.participant("bench-asker", "primary-care", 32, ["TREAT"]),
        ]
    )
    before: dict[str, float] = {}
    had = 0
    for size in sorted({min(SMALL, records), records}):
        yield from _load(place, size - had, seed=size)
        had = size
        yield _engine(place, size, count)
        for name, act, clients, ceiling in _acts(place, size, count):
            row = _measure(place, f"{name} {_short(size)}", act, count=count, clients=clients, ceiling=ceiling)
            p95 = row.pop("p95_ms")
            row["note"] = f"p95 {p95:.1f} ms, {clients} at once" + (
                f", growth {p95 / before[name]:.2f}" if name in before else ""
            )
            before.setdefault(name, p95)
            yield row


def _load(place: Place, records: int, *, seed: int) -> Iterator[dict[str, Any]]:
    """Import so many people; a row for the load (reading and storing) and one for matching and clustering."""
    client = place.clients["bench-index"]
    authority = f"{client.organization_oid}.1"
    path = place.folder / "people.ndjson"
    with path.open("w") as out:
        for resource in people(records, authority=authority, seed=seed):
            out.write(json.dumps(resource) + "\n")
    cpu, began = place.cpu_s(), time.perf_counter()
    with path.open("rb") as body, httpx.Client(base_url=place.base_url, timeout=900) as http:
        answer = http.post(
            "/api/patients/imports",
            content=iter(lambda: body.read(1 << 20), b""),
            headers={"Authorization": f"Bearer {client.token()}", "Content-Type": "application/x-ndjson"},
        )
    if answer.status_code != 202:
        raise RuntimeError(f"the import answered {answer.status_code}: {answer.text[:300]}")
    taken = time.perf_counter()
    read_at = stored_at = 0.0
    most = 0.0
    while True:
        path_of_it = f"/api/patients/imports/{answer.json()['id']}"
        state = client.call("GET", path_of_it, headers={"Accept": "application/json"}).json()
        now = time.perf_counter()
        if not read_at and state["read"] >= records:
            read_at = now
        if not stored_at and state["new"]:
            stored_at = now
        if state["status"] != "running":
            break
        most = max(most, _importing_mb(place))
        time.sleep(_POLL_S)
    path.unlink()
    if state["status"] != "done" or state["refused"]:
        raise RuntimeError(f"the import ended as {state}")
    used = (place.cpu_s() - cpu) / records * 1000
    matching = max(stored_at - read_at, _POLL_S)
    loading = now - taken - matching
    told = f"{state['new']} new, {state['linked']} linked, {state['review']} to review"
    yield {
        "name": f"index load {_short(records)}", "cpu_ms": round(used, 3), "rate_per_s": round(records / loading, 1),
        "p50_ms": round(loading * 1000 / records, 3), "p99_ms": round(loading * 1000 / records, 3),
        "ceiling": "46,000 to 68,000/s with seven keys a record",
        "note": f"read {read_at - taken:.0f} s, store {now - stored_at:.0f} s, upload {taken - began:.0f} s; {told};"
        " CPU is that of the whole import; mean in place of quantiles",
    }  # fmt: skip
    yield {
        "name": f"index match {_short(records)}", "cpu_ms": None, "rate_per_s": round(records / matching, 1),
        "p50_ms": round(matching * 1000 / records, 3), "p99_ms": round(matching * 1000 / records, 3),
        "ceiling": "Splink 169 s for 1M, nothing persisted",
        "note": f"train, block, score, cluster {matching:.0f} s; whole import {now - began:.0f} s; {most:.0f} MB at most;"
        " mean in place of quantiles",
    }  # fmt: skip


def _importing_mb(place: Place) -> float:
    """Proportional memory of the processes that import, in MB."""
    held = 0
    for pid in tree(place.process.pid):
        with contextlib.suppress(OSError):
            if "carry_on_imports" in Path(f"/proc/{pid}/cmdline").read_text():
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        held += int(line.split()[1])
    return held / 1024


def _engine(place: Place, size: int, count: int) -> dict[str, Any]:
    """Match in the index alone, without HTTP, consent and audit: by a command beside the hub."""
    path = place.folder / "asked.ndjson"
    with path.open("w") as out:
        for resource in people(count, authority="2.999.8.32.1", seed=size):
            resource.pop("identifier")
            out.write(json.dumps(resource) + "\n")
    found = json.loads(place.hub("measure_match", str(path)).stdout.strip().splitlines()[-1])
    return {
        "name": f"index engine {_short(size)}", "cpu_ms": found["cpu_ms"], "rate_per_s": found["rate_per_s"],
        "p50_ms": found["p50_ms"], "p99_ms": found["p99_ms"], "ceiling": "0.2 / 0.9 ms with 7 keys",
        "note": f"{found['candidates']:.1f} persons found; CPU without PostgreSQL;"
        f" after {found['waited_s']} s until no table was being vacuumed",
    }  # fmt: skip


def _acts(place: Place, size: int, count: int) -> Iterator[tuple[str, Callable[[int], None], int, str]]:
    source, asker = place.clients["bench-index"], place.clients["bench-asker"]
    authority = f"{source.organization_oid}.1"
    known = list(people(count, authority=authority, seed=size))  # the first of those loaded
    fresh = list(people(2 * count + 100, authority=authority, seed=size + 7, prefix="N"))

    def send(client: Client, method: str, path: str, *, expect: int, user: bool, resource: Any = None) -> None:
        bearer = client.token(USER, "TREAT") if user else client.token()
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": FHIR_JSON}
        body = b"" if resource is None else json.dumps(resource).encode()
        status, answer = place.request(method, path, headers=headers, body=body)
        if status not in (200, expect):
            raise RuntimeError(f"{method} {path.split('?')[0]}: {status} {answer[:300]!r}")

    def match(number: int) -> None:
        resource = {k: v for k, v in known[number % count].items() if k != "identifier"}
        send(asker, "POST", "/fhir/Patient/$match", expect=200, user=True, resource=resource)

    def search(number: int) -> None:
        resource = known[number % count]
        name = resource["name"][0]
        query = {"family": name["family"], "given": name["given"][0], "birthdate": resource["birthDate"]}
        send(asker, "GET", f"/fhir/Patient?{urlencode(query)}", expect=200, user=True)

    taken = iter(fresh)
    turn = threading.Lock()

    def register(number: int) -> None:
        with turn:
            resource = next(taken)
        value = resource["identifier"][0]["value"]
        path = f"/fhir/Patient?identifier=urn:oid:{authority}|{value}"
        send(source, "PUT", path, expect=201, user=False, resource=resource)

    yield "match", match, 1, "12.4 / 58 ms at 50,000 without consent"
    yield "search", search, 1, ""
    yield "register", register, 1, "15.8 / 97 ms"
    yield "register x 2", register, CLIENTS, "51 to 73/s"


def _measure(
    place: Place, name: str, act: Callable[[int], None], *, count: int, clients: int, ceiling: str
) -> dict[str, Any]:
    for number in range(20):
        act(number)
    took: list[float] = []

    def timed(number: int) -> None:
        began = time.perf_counter()
        act(number)
        took.append(time.perf_counter() - began)

    number = count if clients == 1 else count - 20
    cpu, began = place.cpu_s(), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(timed, range(number)))
    elapsed, used = time.perf_counter() - began, place.cpu_s() - cpu
    took.sort()

    def share(part: float) -> float:
        return round(took[min(len(took) - 1, int(len(took) * part))] * 1000, 2)

    return {
        "name": name, "cpu_ms": round(used / number * 1000, 2), "rate_per_s": round(number / elapsed, 1),
        "p50_ms": share(0.5), "p95_ms": share(0.95), "p99_ms": share(0.99), "ceiling": ceiling,
    }  # fmt: skip


def _short(size: int) -> str:
    return f"{size // 1_000_000}M" if size % 1_000_000 == 0 else f"{size // 1000}k"
