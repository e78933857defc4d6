"""The log at size: a page of `/my/` with 100,000 lines of one patient, and searches at the desk over millions of events.

The events are put in by `./hub audit_fill`, not through the exchange; pages are asked for over HTTP by somebody signed in,
as a browser does, one at a time. Each look at the log is an event of it, so what is measured grows by itself: the newest
lines are the reader's own, hundreds of looks to a line.

Ten million events take a while: with `--keep FOLDER` the hub stays there, filling goes on where it was, and the next run
with the same numbers only measures. Times are a machine's own; the CPU of a page is that of the hub's whole tree.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import re
import secrets
import statistics
import struct
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx

from hie.ops.bench.exchange import patient
from hie.ops.bench.place import Place

EVENTS = 1_000_000
LINES = 100_000
WARM = 8
"""Requests before those that count: each of the web workers reads policy and templates at its first."""
_PAGE_CEILING = "p95 under 200 ms"
_SEARCH_CEILING = "p95 under 100 ms over ten million events"
_PASSWORD = secrets.token_urlsafe(18)
_TOTP = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def run(place: Place, *, events: int, lines: int, count: int) -> Iterator[dict[str, Any]]:
    """Rows of the table: what filling took, each page of the patient, each search of the desk."""
    person = _people(place)
    sizes = ("--events", str(events), "--person", person, "--lines", str(lines), "--until", _begun(place))
    answer = json.loads(place.hub("audit_fill", *sizes).stdout.strip().splitlines()[-1])
    if answer["events"]:
        each = answer["seconds"] / answer["events"]
        yield _row("fill log", [each], note=f"{answer['events']} events in {answer['seconds']} s")
    with _patient(place) as browser:
        for name, path in PAGES:
            yield _measure(
                place, f"my log {name}", partial(_get, browser, path), count, _PAGE_CEILING, f"{lines} lines"
            )
    with _desk(place) as browser:
        for name, path in searches(browser, person):
            note = f"{events + lines} events"
            yield _measure(place, f"desk {name}", partial(_get, browser, path), count, _SEARCH_CEILING, note)


def _begun(place: Place) -> str:
    """The day on which the log of this place was begun: what it holds lies before, whenever filling goes on."""
    path = place.folder / "bench-log-until"
    if not path.exists():
        path.write_text(datetime.now(UTC).date().isoformat())
    return path.read_text()


PAGES = (
    ("newest", "/my/"),
    ("all", "/my/?period=all"),
    ("refused", "/my/?period=all&result=refused"),
    ("machines", "/my/?period=all&part=automatic"),
    ("one place", "/my/?period=all&org=org-4"),
    ("a rare reason", "/my/?period=all&why=PUBHLTH"),
    ("choices", "/my/?period=all&more=1"),
)
_LIST = "/admin/audit/auditevent/"


def searches(browser: httpx.Client, person: str) -> list[tuple[str, str]]:
    """What is looked for at the desk, with values that stand in the log; each the first page."""
    found = browser.get(f"{_LIST}?outcome=4").text
    event = re.search(r"/admin/audit/auditevent/([0-9a-f-]{36})/", found)
    if event is None:
        raise RuntimeError("the desk shows no refused event")
    return [
        ("newest", _LIST),
        ("by event", f"{_LIST}?q={event[1]}"),
        ("by person", f"{_LIST}?q={person}"),
        ("by user", f"{_LIST}?q=Practitioner/77"),
        ("by organization", f"{_LIST}?q=org-77"),
        ("by rule", f"{_LIST}?q=D3"),
        ("by nothing known", f"{_LIST}?q=nobody-is-called-so"),
        ("refused", f"{_LIST}?outcome=4"),
        ("by purpose", f"{_LIST}?purpose=PUBHLTH"),
        ("purpose and outcome", f"{_LIST}?purpose=HRESCH&outcome=4"),
        ("in a period", f"{_LIST}?period=30&kind=ITI-43"),
        ("user in a period", f"{_LIST}?period=30&q=Practitioner/77"),
    ]


def _people(place: Place) -> str:
    """A hospital, a portal, a patient with an account, and an auditor; the patient's person."""
    portal = place.participant("bench-portal", "patient-portal", 3, ["PATRQT", "FAMRQT"])
    hospital = place.participant("bench-hospital", "hospital", 1, ["TREAT", "HPAYMT", "HOPERAT"])
    place.register([hospital, {**portal, "users": []}])
    authority = str(hospital["assigning_authority"])
    place.clients["bench-hospital"].feed(patient(0, authority), f"urn:oid:{authority}", "B0")
    path = place.folder / "bench-accounts.json"
    path.touch(mode=0o600)
    accounts = {
        "patients": [{"login": "bench", "password": _PASSWORD, "name": "Bench Patient", "identifier": f"B0^^^&{authority}&ISO"}],
        "staff": [{"username": "auditor", "password": _PASSWORD, "totp_secret": _TOTP, "roles": ["auditor"]}],
    }  # fmt: skip
    path.write_text(json.dumps(accounts))
    place.hub("accounts", str(path))
    links = place.folder / "bench-links.ndjson"
    place.hub("links", "--out", str(links))
    return next(str(json.loads(line)["person"]) for line in links.read_text().splitlines() if line.strip())


def _code(secret: str) -> str:
    """The code of this half minute (RFC 6238)."""
    step = struct.pack(">Q", int(time.time()) // 30)
    digest = hmac.new(base64.b32decode(secret), step, hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06d}"


@contextlib.contextmanager
def _patient(place: Place) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place.base_url, timeout=120, follow_redirects=True) as browser:
        _send(browser, "/my/sign-in", {"login": "bench", "password": _PASSWORD})
        if "Bench Patient" not in browser.get("/my/help").text:
            raise RuntimeError("the patient could not sign in")
        yield browser


@contextlib.contextmanager
def _desk(place: Place) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=place.base_url, timeout=120, follow_redirects=True) as browser:
        form = {"username": "auditor", "password": _PASSWORD, "otp_token": _code(_TOTP), "next": "/admin/"}
        _send(browser, "/admin/login/", form)
        if browser.get(_LIST).url.path != _LIST:
            raise RuntimeError("the auditor could not sign in")
        yield browser


def _send(browser: httpx.Client, path: str, form: dict[str, str]) -> None:
    """Fill in a form of a page, with what protects it."""
    hidden = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(path).text)
    token = {"csrfmiddlewaretoken": hidden[1]} if hidden else {}
    browser.post(path, data={**form, **token}, headers={"Referer": f"{browser.base_url}"})


def _get(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status_code}")


def _measure(place: Place, name: str, act: Callable[[], None], count: int, ceiling: str, note: str) -> dict[str, Any]:
    for _ in range(WARM):
        act()
    took: list[float] = []
    before = place.cpu_s()
    for _ in range(count):
        began = time.perf_counter()
        act()
        took.append(time.perf_counter() - began)
    cpu = (place.cpu_s() - before) / count * 1000
    p95 = sorted(took)[min(count - 1, int(count * 0.95))] * 1000
    return _row(name, took, cpu_ms=round(cpu, 2), ceiling=ceiling, note=f"p95 {p95:.1f} ms, {note}")


def _row(name: str, took: list[float], *, cpu_ms: float | None = None, ceiling: str = "", note: str) -> dict[str, Any]:
    ordered = sorted(took)
    return {
        "name": name,
        "cpu_ms": cpu_ms,
        "rate_per_s": round(len(took) / sum(took), 1) if sum(took) else 0.0,
        "p50_ms": round(statistics.median(ordered) * 1000, 4),
        "p99_ms": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] * 1000, 4),
        "ceiling": ceiling,
        "note": note,
    }
