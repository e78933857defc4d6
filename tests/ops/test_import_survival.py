"""A bulk import whose worker is killed in the middle: it goes on where it was, to the same persons, and the hub answers.

Real processes, real kills. Run by `./hub test -m survival`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hie.ops.bench import place
from hie.ops.bench.people import people
from hie.ops.bench.place import Place
from tests.ops.test_survival import pids

pytestmark = [pytest.mark.slow, pytest.mark.survival]

RECORDS = 6_000
AUTHORITY = "2.999.8.41.1"


@pytest.fixture(scope="module")
def hub() -> Iterator[Place]:
    with place.running() as started:
        started.register([started.participant("org", "hospital", 41, ["TREAT"])])
        yield started


def call(hub: Place, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {hub.clients['org'].token()}"} | more.pop("headers", {})
    return httpx.request(method, f"{hub.base_url}{path}", headers=headers, timeout=60, **more)


def body(records: int, seed: int) -> bytes:
    return b"".join(json.dumps(item).encode() + b"\n" for item in people(records, authority=AUTHORITY, seed=seed))


def begin(hub: Place, content: bytes) -> str:
    answer = call(
        hub, "POST", "/api/patients/imports?participant=org", content=content,
        headers={"Content-Type": "application/x-ndjson"},
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def state(hub: Place, run: str) -> dict[str, Any]:
    answer = call(hub, "GET", f"/api/patients/imports/{run}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def until(hub: Place, run: str, wanted: Any, *, within_s: float = 240) -> dict[str, Any]:
    end = time.monotonic() + within_s
    while True:
        now = state(hub, run)
        if wanted(now):
            return now
        assert time.monotonic() < end, now
        assert now["status"] == "running", now
        time.sleep(0.1)


def persons(hub: Place, run: str) -> list[list[str]]:
    lines = [json.loads(line) for line in call(hub, "GET", f"/api/patients/imports/{run}/links").text.splitlines()]
    assert [line["identifier"].rpartition("-")[2] for line in lines] == [str(n + 1) for n in range(len(lines))]
    groups: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        groups[line["person"]].append(line["identifier"])
    return sorted(sorted(group) for group in groups.values())


@pytest.mark.parametrize("victim", ["carry_on_imports", "hie.ops.worker"])
def test_a_killed_import_goes_on_where_it_was_and_to_the_same_lines(hub: Place, victim: str) -> None:
    content = body(RECORDS, seed=len(victim))
    run = begin(hub, content)
    stored = until(hub, run, lambda now: now["new"] > 0)
    orphans = pids(hub, "carry_on_imports")
    for pid in pids(hub, victim):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if victim == "hie.ops.worker":
        # The supervisor ends with an error, and whoever watches it starts it again.
        assert hub.process.wait(60) == 1
        end = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() for pid in orphans):
            assert time.monotonic() < end, "an importing process outlived its worker"
            time.sleep(0.2)
        place.start(hub)
    done = until(hub, run, lambda now: now["status"] == "done")
    assert done["read"] == RECORDS
    assert done["new"] + done["linked"] + done["review"] == RECORDS
    assert done["new"] >= stored["new"] > 0
    first = persons(hub, run)
    again = begin(hub, content)
    repeated = until(hub, again, lambda now: now["status"] == "done")
    assert (repeated["read"], repeated["new"], repeated["linked"], repeated["updated"]) == (RECORDS, 0, 0, 0)
    assert persons(hub, again) == first


def test_the_hub_answers_and_takes_feeds_while_an_import_runs(hub: Place) -> None:
    run = begin(hub, body(RECORDS, seed=77))
    until(hub, run, lambda now: now["read"] > 0)
    slowest = 0.0
    number = 0
    while state(hub, run)["status"] == "running":
        number += 1
        resource = next(people(1, authority=AUTHORITY, seed=1000 + number, prefix="F"))
        value = resource["identifier"][0]["value"]
        began = time.monotonic()
        answer = call(
            hub, "PUT", f"/fhir/Patient?identifier=urn:oid:{AUTHORITY}|{value}", json=resource,
            headers={"Content-Type": "application/fhir+json"},
        )  # fmt: skip
        slowest = max(slowest, time.monotonic() - began)
        assert answer.status_code == 201, answer.text
    assert number > 5
    assert slowest < 10, "a feed waited for the whole import"
    assert state(hub, run)["refused"] == 0
