"""A community that is good, slow, dead or wrong on demand: for the sandbox, the story, tests and benchmarks.

One process plays any number of communities under ``/c/<n>``. Each speaks as much FHIR as a query needs and takes
``PUT /c/<n>/control {"mode": "ok|slow|down|refuse|garbage|drip", "delay_s": 5}`` (design.md).

Run: ``python -m hie.ops.sandbox.peer --port P [--delay S]``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import signal
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvloop
from aiohttp import web

MODES = ("ok", "slow", "down", "refuse", "garbage", "drip")
FHIR_JSON = "application/fhir+json"


@dataclass(slots=True)
class Behaviour:
    """How one community behaves now, and what it has been asked."""

    number: int
    mode: str = "ok"
    delay_s: float = 5.0
    documents: int = 1
    asked: list[str] = field(default_factory=list)
    held: dict[tuple[str, int], bytes] = field(default_factory=dict)


def content_of(community: int, number: int) -> bytes:
    """The bytes of a document there: the same at every call."""
    return f"Community {community}, note {number}: nothing to report.\n".encode()


def document_reference(base: str, community: int, number: int) -> dict[str, Any]:
    """A DocumentReference of a simulated community."""
    content = content_of(community, number)
    document_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{community}/{number}"))
    return {
        "resourceType": "DocumentReference",
        "id": document_id,
        "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:2.999.7.9000.{community}.{number}"},
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": "34109-9", "display": "Note"}]},
        "subject": {"reference": "Patient/p1"},
        "date": "2026-03-01T08:00:00Z",
        "securityLabel": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"}]}
        ],
        "content": [
            {
                "attachment": {
                    "contentType": "text/plain",
                    "language": "en",
                    "url": f"{base}/Binary/{number}",
                    "size": len(content),
                    "hash": base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode(),
                    "title": f"Note {number}",
                    "creation": "2026-03-01T08:00:00Z",
                }
            }
        ],
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of one community: the request, and how the community behaves."""

    request: web.BaseRequest
    behaviour: Behaviour
    step: str

    @property
    def base(self) -> str:
        """The community's own address."""
        return f"{self.request.scheme}://{self.request.host}/c/{self.behaviour.number}"


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type=FHIR_JSON)


class Communities:
    """Any number of communities under one address, by number; each step of a good one takes `delay_s`."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self._behaviours: dict[int, Behaviour] = {}

    def __getitem__(self, number: int) -> Behaviour:
        return self._behaviours.setdefault(number, Behaviour(number))

    async def listen(self, port: int) -> tuple[web.ServerRunner, int]:
        """Serve them on this port (0: any free one), on the running loop; what to clean up, and the port.

        Without a router: one costs a fifth of what an answer does, and these communities share a machine with the hub
        that is measured.
        """
        runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner, runner.addresses[0][1]

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/healthz":
            return web.Response(text="ok")
        number, _, step = request.path.removeprefix("/c/").partition("/")
        if request.path.startswith("/c/") and number.isascii() and number.isdigit():
            return await serve(Asked(request, self[int(number)], step), self.delay_s)
        return web.Response(status=404)


async def serve(asked: Asked, delay_s: float) -> web.StreamResponse:
    """Whatever is asked of a community; everything but the control path goes wrong as its mode says."""
    request, behaviour, step = asked.request, asked.behaviour, asked.step
    if step == "control":
        return await control(asked)
    answer = ANSWERS.get((request.method, step.partition("fhir/Binary/")[1] or step))
    if answer is None:
        return web.Response(status=404)
    behaviour.asked.append(f"{request.method} {request.path}")
    if delay_s:
        await asyncio.sleep(delay_s)
    if behaviour.mode == "slow":
        await asyncio.sleep(behaviour.delay_s)
    if behaviour.mode == "down":
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)
    if behaviour.mode == "refuse":
        return _json({"error": "access_denied"}, 403)
    if behaviour.mode == "garbage":
        return web.Response(body=b"\x00\xff<<<{not json", content_type=FHIR_JSON)
    if behaviour.mode == "drip":
        dripping = web.StreamResponse(headers={"Content-Type": FHIR_JSON})
        await dripping.prepare(request)
        for _ in range(int(max(behaviour.delay_s, 1) * 100)):
            await dripping.write(b" ")
            await asyncio.sleep(0.5)
        return dripping
    return await answer(asked)


async def control(asked: Asked) -> web.Response:
    """Set how a community behaves; answers what it does now."""
    request, behaviour = asked.request, asked.behaviour
    if request.method == "PUT":
        try:
            wanted = orjson.loads(await request.read())
            mode = wanted["mode"]
            delay_s = float(wanted.get("delay_s", behaviour.delay_s))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return _json({"error": {"code": "invalid", "message": 'send {"mode", "delay_s"?}', "field": None}}, 422)
        if mode not in MODES:
            return _json({"error": {"code": "invalid", "message": "unknown mode", "field": "mode"}}, 422)
        behaviour.mode, behaviour.delay_s = mode, delay_s
    return _json({"mode": behaviour.mode, "delay_s": behaviour.delay_s, "asked": len(behaviour.asked)})


async def smart_configuration(asked: Asked) -> web.Response:
    """Where the token endpoint is."""
    base = asked.base
    return _json(
        {
            "token_endpoint": f"{base}/token",
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
            "grant_types_supported": ["client_credentials"],
            "capabilities": ["client-confidential-asymmetric"],
        }
    )


async def token(asked: Asked) -> web.Response:
    """A token for whoever asks: this peer trusts everyone."""
    await asked.request.read()
    return _json(
        {
            "access_token": f"peer-{uuid.uuid4()}",
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": "system/Patient.rs system/DocumentReference.rs system/Binary.r",
        }
    )


async def match(asked: Asked) -> web.Response:
    """It knows everybody, under one id."""
    base = asked.base
    await asked.request.read()
    grade = {"url": "http://hl7.org/fhir/StructureDefinition/match-grade", "valueCode": "certain"}
    patient = {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": f"urn:oid:2.999.7.9000.{asked.behaviour.number}", "value": "1"}],
    }
    entry = {
        "fullUrl": f"{base}/fhir/Patient/p1",
        "resource": patient,
        "search": {"extension": [grade], "mode": "match", "score": 1.0},
    }
    return _json({"resourceType": "Bundle", "type": "searchset", "total": 1, "entry": [entry]})


async def documents(asked: Asked) -> web.Response:
    """Its documents about that one patient."""
    behaviour = asked.behaviour
    base = f"{asked.base}/fhir"
    held = behaviour.held.get((base, behaviour.documents))
    if held is None:
        entries = [
            {
                "fullUrl": f"{base}/DocumentReference/{number}",
                "resource": document_reference(base, behaviour.number, number),
                "search": {"mode": "match"},
            }
            for number in range(1, behaviour.documents + 1)
        ]
        bundle = {"resourceType": "Bundle", "type": "searchset", "total": len(entries), "entry": entries}
        held = behaviour.held[(base, behaviour.documents)] = orjson.dumps(bundle)
    return web.Response(body=held, content_type=FHIR_JSON)


async def binary(asked: Asked) -> web.Response:
    """The bytes of one document."""
    number = asked.step.rpartition("/")[2]
    if not (number.isascii() and number.isdigit()):
        return web.Response(status=404)
    return web.Response(body=content_of(asked.behaviour.number, int(number)), content_type="text/plain")


ANSWERS: dict[tuple[str, str], Callable[[Asked], Awaitable[web.Response]]] = {
    ("GET", "fhir/.well-known/smart-configuration"): smart_configuration,
    ("POST", "token"): token,
    ("POST", "fhir/Patient/$match"): match,
    ("GET", "fhir/DocumentReference"): documents,
    ("GET", "fhir/Binary/"): binary,
}
"""By method and what follows ``/c/<n>/``."""


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds each step takes while all is well")
    options = parser.parse_args()
    uvloop.run(_listen(Communities(options.delay), options.port))


async def _listen(communities: Communities, port: int) -> None:
    runner, _ = await communities.listen(port)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await runner.cleanup()


if __name__ == "__main__":
    main()
