"""A participant's system as a stranger would write it: tokens, FHIR, HL7 v2, queries. Nothing of the hub's inside.

Used by the sandbox, the story and the benchmarks; speaks only what `design.md` promises to everyone.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hl7.mllp import open_hl7_connection

FHIR_JSON = "application/fhir+json"
MINIMAL = "https://profiles.ihe.net/ITI/MHD/StructureDefinition/IHE.MHD.Minimal.ProvideBundle"
LIST_TYPES = "https://profiles.ihe.net/ITI/MHD/CodeSystem/MHDlistTypes"
IDENTIFIER_TYPE = "https://profiles.ihe.net/ITI/MHD/CodeSystem/IHE.MHD.MHDIdentifierType"
MHD = "https://profiles.ihe.net/ITI/MHD/StructureDefinition"


class Unexpected(RuntimeError):
    """The hub answered something else than the story says."""


def new_key(path: Path) -> None:
    """Write a new ES384 private key, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP384R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(pem)


def public_jwk(path: Path, kid: str) -> dict[str, Any]:
    """The public half as a JWK."""
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    jwk: dict[str, Any] = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))  # type: ignore[arg-type]  # EC by construction
    return jwk | {"kid": kid, "alg": "ES384", "use": "sig"}


@dataclass(slots=True, kw_only=True)
class Client:
    """One participant's client: a key, and the people who use it."""

    base_url: str
    client_id: str
    kid: str
    key: bytes
    scopes: tuple[str, ...]
    organization_oid: str
    organization_name: str
    http: httpx.Client = field(repr=False)
    _tokens: dict[tuple[Any, ...], tuple[str, float]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, sandbox: Mapping[str, Any], participant_id: str, folder: Path) -> Client:
        """The client that sandbox.json describes."""
        entry = next(item for item in sandbox["participants"] if item["id"] == participant_id)
        return cls(
            base_url=sandbox["base_url"],
            client_id=entry["client_id"],
            kid=entry["kid"],
            key=(folder / entry["private_key_file"]).read_bytes(),
            scopes=tuple(entry["scopes"]),
            organization_oid=entry["organization_oid"],
            organization_name=entry["name"],
            http=httpx.Client(base_url=sandbox["base_url"], timeout=60.0),
        )

    def assertion(self, extensions: Mapping[str, Any] | None, *, jti: str = "") -> str:
        """A fresh client assertion (RFC 7523)."""
        issued = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": f"{self.base_url}/oauth/token",
            "iat": issued,
            "exp": issued + 240,
            "jti": jti or str(uuid.uuid4()),
        }
        if extensions:
            claims["extensions"] = dict(extensions)
        return jwt.encode(claims, self.key, algorithm="ES384", headers={"kid": self.kid, "typ": "JWT"})

    def request_token(
        self, user: Mapping[str, Any] | None = None, purpose: str | None = None, *, jti: str = ""
    ) -> httpx.Response:
        """The token endpoint's answer, good or bad."""
        extensions = None
        if user is not None:
            extensions = {
                "hl7-b2b": {
                    "version": "1",
                    "subject_id": user["id"],
                    "subject_name": user["name"],
                    "subject_role": user["role"],
                    "organization_id": f"urn:oid:{self.organization_oid}",
                    "organization_name": self.organization_name,
                    "purpose_of_use": [purpose],
                }
            }
            if user.get("relationship"):
                extensions["hie"] = {"relationship": user["relationship"]}
        form = {
            "grant_type": "client_credentials",
            "scope": " ".join(self.scopes),
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.assertion(extensions, jti=jti),
        }
        return self.http.post("/oauth/token", data=form)

    def token(self, user: Mapping[str, Any] | None = None, purpose: str | None = None) -> str:
        """An access token, kept until shortly before it ends."""
        key = (user and user["id"], purpose)
        cached = self._tokens.get(key)
        if cached and cached[1] > time.monotonic():
            return cached[0]
        response = self.request_token(user, purpose)
        if response.status_code != 200:
            raise Unexpected(f"token for {self.client_id}: {response.status_code} {response.text[:200]}")
        body = response.json()
        self._tokens[key] = (body["access_token"], time.monotonic() + body["expires_in"] - 20)
        return str(body["access_token"])

    def step_up(self, user: Mapping[str, Any], purpose: str) -> str:
        """Let the user sign in again; gives the jti that says so."""
        jti = str(uuid.uuid4())
        response = self.request_token(user, purpose, jti=jti)
        if response.status_code != 200:
            raise Unexpected(f"signing in again: {response.status_code} {response.text[:200]}")
        return jti

    def call(
        self,
        method: str,
        path: str,
        *,
        user: Mapping[str, Any] | None = None,
        purpose: str | None = None,
        expect: tuple[int, ...] = (200, 201),
        **more: Any,
    ) -> httpx.Response:
        """One request with a token; raises `Unexpected` on any other status."""
        headers = {"Authorization": f"Bearer {self.token(user, purpose)}", "Accept": FHIR_JSON}
        headers |= more.pop("headers", {})
        if "json" in more:
            more["content"] = json.dumps(more.pop("json")).encode()
            headers.setdefault("Content-Type", FHIR_JSON if path.startswith("/fhir") else "application/json")
        response = self.http.request(method, path, headers=headers, **more)
        if expect and response.status_code not in expect:
            raise Unexpected(f"{method} {path.split('?')[0]}: {response.status_code} {response.text[:400]}")
        return response

    def feed(self, patient: Mapping[str, Any], system: str, value: str) -> httpx.Response:
        """Patient Identity Feed FHIR [ITI-104]."""
        return self.call("PUT", "/fhir/Patient", params={"identifier": f"{system}|{value}"}, json=patient)

    def provide(self, bundle: Mapping[str, Any]) -> dict[str, Any]:
        """Provide Document Bundle [ITI-65]."""
        answer: dict[str, Any] = self.call("POST", "/fhir", json=bundle).json()
        return answer


def provide_bundle(
    *,
    unique_id: str,
    set_unique_id: str,
    source_id: str,
    patient_system: str,
    patient_value: str,
    content: bytes,
    content_type: str,
    reference: Mapping[str, Any],
    created: str,
) -> dict[str, Any]:
    """A Minimal Metadata ITI-65 Bundle with one document."""
    document, binary, submission = (f"urn:uuid:{uuid.uuid4()}" for _ in range(3))
    subject = {"identifier": {"system": patient_system, "value": patient_value}}
    attachment = {
        "contentType": content_type,
        "url": binary,
        "hash": base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode(),
        "size": len(content),
        "creation": created,
        "language": "en-US",
        "title": reference.get("description", ""),
    }
    inner = dict(reference)
    formats = inner.pop("format", None)
    entry_content: dict[str, Any] = {"attachment": attachment}
    if formats:
        entry_content["format"] = formats
    return {
        "resourceType": "Bundle",
        "meta": {"profile": [MINIMAL]},
        "type": "transaction",
        "entry": [
            {
                "fullUrl": submission,
                "resource": {
                    "resourceType": "List",
                    "extension": [
                        {
                            "url": f"{MHD}/ihe-sourceId",
                            "valueIdentifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:oid:{source_id}"},
                        }
                    ],
                    "identifier": [
                        {
                            "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "uniqueId"}]},
                            "system": "urn:ietf:rfc:3986",
                            "value": f"urn:oid:{set_unique_id}",
                        }
                    ],
                    "status": "current",
                    "mode": "working",
                    "code": {"coding": [{"system": LIST_TYPES, "code": "submissionset"}]},
                    "subject": subject,
                    "date": created,
                    "entry": [{"item": {"reference": document}}],
                },
                "request": {"method": "POST", "url": "List"},
            },
            {
                "fullUrl": document,
                "resource": {
                    "resourceType": "DocumentReference",
                    "masterIdentifier": {
                        "type": {"coding": [{"system": IDENTIFIER_TYPE, "code": "uniqueId"}]},
                        "system": "urn:ietf:rfc:3986",
                        "value": f"urn:oid:{unique_id}",
                    },
                    "status": "current",
                    "subject": subject,
                    "content": [entry_content],
                }
                | inner,
                "request": {"method": "POST", "url": "DocumentReference"},
            },
            {
                "fullUrl": binary,
                "resource": {
                    "resourceType": "Binary",
                    "contentType": content_type,
                    "data": base64.b64encode(content).decode(),
                },
                "request": {"method": "POST", "url": "Binary"},
            },
        ],
    }


def send_hl7v2(host: str, port: int, message: str) -> str:
    """Send one message over MLLP and return the acknowledgement's text."""

    async def exchange() -> str:
        reader, writer = await open_hl7_connection(host, port, encoding="utf-8")
        try:
            writer.writemessage(message)
            await writer.drain()
            return str(await asyncio.wait_for(reader.readmessage(), 30))
        finally:
            writer.close()

    return asyncio.run(exchange())
