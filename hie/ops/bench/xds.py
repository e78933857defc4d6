"""XDS.b at size: stored query, provide and register, retrieve; token, consent and audit on; and what 1 GiB costs.

The registry is filled by `./hub documents_fill`, not through the exchange: copies of one document, ten for each patient, whose
records came by a bulk import. FindDocuments is asked about patients of exactly ten entries, whole objects, at each size; then
C-CDAs of 280 kB are provided as parts of MTOM packages, and retrieved. At last one document of 1 GiB passes in and out.

The default ends at a million entries; `--entries 10000000` is the slow run: with a million patients
about an hour, and some 65 GB on disk.

Source: spec/xds.md; the bars of its speed are said beside each row.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from hie.ops.bench.exchange import patient
from hie.ops.bench.people import people
from hie.ops.bench.place import USER, Place, tree
from hie.ops.sandbox import make, xds

SIZES = (10_000, 100_000)
ENTRIES = 1_000_000
EACH = 10
"""Entries of a patient."""
ASKED = 200
"""Patients who are asked about: nobody else is like them."""
GIB = 1 << 30
_CDA_BYTES = 280_000
_CREATED = "20260401080000"
_POLL_S = 0.5

Act = tuple[str, Callable[[int], None], str, str]


def acts(place: Place, *, entries: int, count: int) -> Iterator[Act]:
    """Fill the registry step by step and give each act: name, function, ceiling, note."""
    source, authority = _participants(place)
    _feed(place, authority)
    model = _note(authority)
    source.provide(_message(place, [model]))
    filled = 0
    for size in sorted({*(size for size in SIZES if size < entries), entries}):
        filled += _fill(place, size - filled, authority, model.unique_id)
        place.settle()
        note = f"{EACH} entries whole of {_short(size)}; bar 400/s, p99 50 ms"
        yield f"xds find {_short(size)}", _finding(place, authority), "lxml of 53 kB SOAP 3,150/s a core", note
    yield from _documents(place, authority, count)


def _documents(place: Place, authority: str, count: int) -> Iterator[Act]:
    """Provide and retrieve, over what lies there by then."""
    source, reader = (_Sender(place, name, user) for name, user in (("bench-source", None), ("bench-reader", USER)))
    template = _ccda(authority)
    # Put together beforehand: it is the machine of the source that does this.
    waiting = [
        (one.unique_id, _message(place, [one]))
        for one in (_clinical(template, authority, number) for number in range(count + 20))
    ]
    sent: list[str] = []

    def provide(number: int) -> None:
        unique_id, message = waiting.pop()
        source.provide(message)
        sent.append(unique_id)

    size = f"{len(template) // 1000} kB C-CDA"
    yield "xds provide", provide, "lxml of 280 kB C-CDA 453/s a core", f"ITI-41, MTOM, {size}; bar 100/s"

    repository = _repository_id(place, authority)

    def retrieve(number: int) -> None:
        wanted = [(repository, sent[number % len(sent)])]
        answer = reader.post(xds.REPOSITORY_PATH, xds.retrieve(wanted, to=f"{place.base_url}{xds.REPOSITORY_PATH}"))
        if b"</ClinicalDocument>" not in answer:
            raise RuntimeError(f"ITI-43: {answer[:600]!r}")

    yield "xds retrieve", retrieve, "one durable audit row, 6,700/s at 8 clients", f"ITI-43, MTOM, {size}; bar 300/s"


def gibibyte(place: Place) -> Iterator[dict[str, Any]]:
    """One document of 1 GiB provided and retrieved: time, and what a web worker held at most beyond what it held before."""
    _, authority = _participants(place)
    unique_id = _unique_id()
    one = xds.Sent(
        unique_id=unique_id,
        patient=xds.cx(authority, "B0"),
        content=b"\0hole\0",
        mime_type="application/octet-stream",
        title="Scan",
        created=_CREATED,
        kind=xds.SUMMARY,
        format=xds.SUFFICIENT,
    )
    package, content_type = _message(place, [one])
    head, _, tail = package.partition(one.content)
    chunk = bytes(range(256)) * 4096
    repository = _repository_id(place, authority)
    workers = _workers(place)
    held, began = _highest_mb(workers), time.perf_counter()

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(GIB // len(chunk)):
            yield chunk
        yield tail

    source, reader = _Sender(place, "bench-source", None), _Sender(place, "bench-reader", USER)
    with source.stream(xds.REPOSITORY_PATH, (body(), content_type)) as answer:
        if b"ResponseStatusType:Success" not in answer.read():
            raise RuntimeError(f"1 GiB in: {answer.status_code} {answer.text[:800]}")
    yield _gib_row("xds 1 GiB in", time.perf_counter() - began, _highest_mb(workers) - held)
    held, began, read = _highest_mb(workers), time.perf_counter(), 0
    asked = xds.retrieve([(repository, unique_id)], to=f"{place.base_url}{xds.REPOSITORY_PATH}")
    with reader.stream(xds.REPOSITORY_PATH, asked) as answer:
        for piece in answer.iter_bytes(1 << 20):
            read += len(piece)
    if read < GIB:
        raise RuntimeError(f"of 1 GiB came back {read} bytes")
    yield _gib_row("xds 1 GiB out", time.perf_counter() - began, _highest_mb(workers) - held)


def _gib_row(name: str, took_s: float, grown_mb: float) -> dict[str, Any]:
    return {
        "name": name,
        "cpu_ms": None,
        "rate_per_s": round(1 / took_s, 3),
        "p50_ms": round(took_s * 1000),
        "p99_ms": round(took_s * 1000),
        "ceiling": "AES-256-GCM 11 GB/s, SHA-1 1.8 GB/s",
        "note": f"{1024 / took_s:.0f} MiB/s; highest memory of a web worker grew by {grown_mb:.1f} MB",
    }


# -- who, and what is there -----------------------------------------------------------------------------------------


class _Sender:
    """A participant's system: one connection a thread, a token kept while it is good."""

    def __init__(self, place: Place, participant: str, user: dict[str, str] | None) -> None:
        self._place = place
        self._client = place.clients[participant]
        self._user = user

    def _headers(self, content_type: str) -> dict[str, str]:
        token = self._client.token(self._user, "TREAT" if self._user else None)
        return {"Authorization": f"Bearer {token}", "Content-Type": content_type}

    def post(self, path: str, message: tuple[bytes, str]) -> bytes:
        """The answer to a message, which is a success."""
        content, content_type = message
        status, answer = self._place.request("POST", path, headers=self._headers(content_type), body=content)
        # Whether all went well is looked for in the bytes: reading the answer is the other side's work.
        if status != 200 or b"ResponseStatusType:Success" not in answer[:4096]:
            raise RuntimeError(f"{path}: {status} {answer[:800]!r}")
        return answer

    def provide(self, message: tuple[bytes, str]) -> None:
        """Provide and register."""
        self.post(xds.REPOSITORY_PATH, message)

    def stream(self, path: str, message: tuple[bytes | Iterator[bytes], str]) -> Any:
        """The answer to a message that need not be in memory, as it arrives."""
        content, content_type = message
        url = f"{self._place.base_url}{path}"
        return httpx.stream("POST", url, content=content, headers=self._headers(content_type), timeout=900)


def _participants(place: Place) -> tuple[_Sender, str]:
    """A hospital that publishes and a clinic whose physician reads; the hospital's authority."""
    if "bench-source" not in place.clients:
        entries = [
            place.participant("bench-source", "hospital", 41, ["TREAT", "HPAYMT", "HOPERAT"]),
            place.participant("bench-reader", "primary-care", 42, ["TREAT"]),
        ]
        place.register(entries)
    return _Sender(place, "bench-source", None), f"{place.clients['bench-source'].organization_oid}.1"


def _feed(place: Place, authority: str) -> None:
    for number in range(ASKED):
        place.clients["bench-source"].feed(patient(number, authority), f"urn:oid:{authority}", f"B{number}")


def _fill(place: Place, entries: int, authority: str, like: str) -> int:
    """More patients, ten documents each; how many documents were made."""
    _import(place, max(0, entries // EACH - ASKED), authority)
    done = place.hub("documents_fill", "--like", like, "--authority", authority, "--each", str(EACH))
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"registry: {answer['documents']} entries more in {answer['seconds']} s", flush=True)
    return int(answer["documents"])


def _import(place: Place, count: int, authority: str) -> None:
    """So many people more, by bulk."""
    path = place.folder / "people.ndjson"
    seed = int(time.time())
    with path.open("w") as out:
        for resource in people(count, authority=authority, seed=seed):
            out.write(json.dumps(resource) + "\n")
    client = place.clients["bench-source"]
    headers = {"Authorization": f"Bearer {client.token()}", "Content-Type": "application/x-ndjson"}
    with path.open("rb") as body, httpx.Client(base_url=place.base_url, timeout=900) as http:
        lines = iter(lambda: body.read(1 << 20), b"")
        answer = http.post("/api/patients/imports", content=lines, headers=headers)
    if answer.status_code != 202:
        raise RuntimeError(f"the import answered {answer.status_code}: {answer.text[:300]}")
    path.unlink()
    state = {"status": "running"}
    while state["status"] == "running":
        time.sleep(_POLL_S)
        state = client.call(
            "GET", f"/api/patients/imports/{answer.json()['id']}", headers={"Accept": "application/json"}
        ).json()
    if state["status"] != "done":
        raise RuntimeError(f"the import ended as {state}")


def _finding(place: Place, authority: str) -> Callable[[int], None]:
    reader = _Sender(place, "bench-reader", USER)

    def find(number: int) -> None:
        # B0 has the first document, and so eleven.
        asked = xds.cx(authority, f"B{1 + abs(number) % (ASKED - 1)}")
        answer = reader.post(xds.REGISTRY_PATH, xds.find_documents(asked, to=f"{place.base_url}{xds.REGISTRY_PATH}"))
        if answer.count(b"<rim:ExtrinsicObject") != EACH:
            raise RuntimeError(f"found {answer.count(b'<rim:ExtrinsicObject')} entries in place of {EACH}")

    return find


def _repository_id(place: Place, authority: str) -> str:
    """The hub's own repository, as an entry of it says."""
    reader = _Sender(place, "bench-reader", USER)
    to = f"{place.base_url}{xds.REGISTRY_PATH}"
    found = reader.post(xds.REGISTRY_PATH, xds.find_documents(xds.cx(authority, "B0"), to=to))
    entries = xds.read(httpx.Response(200, content=found)).entries()
    return next(iter(entries.values()))["repositoryUniqueId"]


# -- documents ------------------------------------------------------------------------------------------------------


def _message(place: Place, documents: list[xds.Sent]) -> tuple[bytes, str]:
    return xds.provide(
        documents,
        source_id=place.clients["bench-source"].organization_oid + ".2",
        set_unique_id=_unique_id(),
        to=f"{place.base_url}{xds.REPOSITORY_PATH}",
    )


def _unique_id() -> str:
    return f"2.25.{uuid.uuid4().int}"


def _note(authority: str) -> xds.Sent:
    return xds.Sent(
        unique_id=f"2.999.8.41.9.{time.time_ns()}",
        patient=xds.cx(authority, "B0"),
        content=b"Nothing of note.\n" * 100,
        mime_type="text/plain",
        title="Note",
        created=_CREATED,
        kind=xds.SUMMARY,
        format=xds.SUFFICIENT,
    )


_ID, _PATIENT = "2.25.111111111111111111111111111111111111111", "B0000000"


def _ccda(authority: str) -> bytes:
    """A C-CDA of 280 kB without header data that would have to fit each patient."""
    header = make.CdaHeader(
        unique_id=_ID,
        patient_id=_PATIENT,
        authority=authority,
        family="FAMILY",
        given=("GIVEN",),
        birth_date="19000101",
        gender="F",
        code="34133-9",
        display="Summary of episode note",
        title="Summary",
        effective_time=_CREATED,
        author_family="Physician",
        author_given="Bench",
        organization="bench-source",
        organization_oid="2.999.8.41",
    )
    codes = tuple(("38341003", "2.16.840.1.113883.6.96", f"Finding {number}") for number in range(60))
    section = make.Section(
        code="11450-4", title="Problems", text=("A line of the story of a patient. " * 4,) * 20, codes=codes
    )
    one = len(make.ccda(header, (section,)))
    two = len(make.ccda(header, (section, section)))
    return make.ccda(header, (section,) * (2 + (_CDA_BYTES - one) // (two - one)))


def _clinical(template: bytes, authority: str, number: int) -> xds.Sent:
    """The C-CDA of one of the patients."""
    value = f"B{number % ASKED}"
    whose = patient(number % ASKED, authority)
    (name,) = whose["name"]
    unique_id = _unique_id()
    content = template
    for old, new in (
        (_ID, unique_id),
        (_PATIENT, value),
        ("FAMILY", name["family"]),
        ("GIVEN", name["given"][0]),
        ('birthTime value="19000101"', f'birthTime value="{whose["birthDate"].replace("-", "")}"'),
        ('administrativeGenderCode code="F"', f'administrativeGenderCode code="{whose["gender"][0].upper()}"'),
    ):
        content = content.replace(old.encode(), new.encode())
    return xds.Sent(
        unique_id=unique_id,
        patient=xds.cx(authority, value),
        content=content,
        mime_type="text/xml",
        title="Summary",
        created=_CREATED,
        kind=xds.SUMMARY,
        format=xds.FORMAT["ccda"],
    )


# -- memory ---------------------------------------------------------------------------------------------------------


def _workers(place: Place) -> list[int]:
    """The processes that answer HTTP."""
    found = []
    for pid in tree(place.process.pid):
        with suppress(OSError):
            if (
                "hie.ops.web" in Path(f"/proc/{pid}/cmdline").read_text()
                or "granian" in Path(f"/proc/{pid}/comm").read_text()
            ):
                found.append(pid)
    if not found:
        raise RuntimeError("no web worker was found")
    return found


def _highest_mb(workers: list[int]) -> float:
    """The most that one of these processes has ever held, in MB."""
    highest = 0
    for pid in workers:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        highest = max(highest, next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")))
    return highest / 1024


def _short(size: int) -> str:
    return f"{size // 1_000_000}M" if size % 1_000_000 == 0 else f"{size // 1000}k"
