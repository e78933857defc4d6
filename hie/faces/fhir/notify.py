"""Notification of changes of identities, the patient identity feed [ITI-93], and of consents that ended, to the endpoint
of a subscription.

A message Bundle is posted as JSON. ``X-HIE-Signature`` holds a JWT by a key of ``/oauth/jwks`` (`typ`
``notification+jwt``): `iss` this hub, `aud` the endpoint, `jti` the notice, `sha256` the digest of the body
(base64url), good for five minutes. 2xx is arrival; 410 is final; redirects are not followed; all else is tried again.

Source: IHE PMIR 1.5.1, 2:3.93.4.1; RFC 7515, RFC 7519.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import NAMESPACE_URL, uuid5

import httpx
import jwt

from hie.exchange.copies import ConsentEnded
from hie.exchange.notices import BUDGET_S, ChangedPerson, IdentityChange, Sent
from hie.faces.fhir.http import base_url
from hie.faces.fhir.people_codec import patient_json
from hie.faces.fhir.pmir import DEFINITION, EVENT
from hie.standards import fhir
from hie.standards.fhir import JsonObject, instant_text
from hie.trust import hub_keys, server_certificates
from hie.trust.addresses import base_url as issuer

TIMEOUT_S = 10.0
SIGNATURE = "X-HIE-Signature"
SIGNATURE_TYPE = "notification+jwt"
CONSENT_ENDED = "urn:hie:fhir:consent-ended"
"""The event of a message that tells a holder of copies of a revocation; no profile has one."""
_STATUS = {"POST": "201", "PUT": "200", "DELETE": "204"}


class Notifications:
    """The channel of subscriptions."""

    def encode(self, change: IdentityChange | ConsentEnded, *, endpoint: str) -> list[bytes]:
        """One message of all persons that the change concerns, or of the consent that ended."""
        if isinstance(change, ConsentEnded):
            return [fhir.dumps(ended_message(change, endpoint=endpoint))]
        if not change.persons:
            return []
        return [fhir.dumps(message(change, endpoint=endpoint))]

    def send(self, endpoint: str, batch: Sequence[tuple[str, list[bytes]]]) -> list[Sent]:
        """Over one client; after a failed connection the rest of the batch waits for the next round."""
        results: list[Sent] = []
        until = time.monotonic() + BUDGET_S
        with httpx.Client(
            timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, verify=server_certificates.trusted()
        ) as client:
            for notice, bodies in batch:
                if time.monotonic() > until:
                    break
                results.append(_post(client, endpoint, notice, bodies))
                if not results[-1].arrived and not results[-1].final:
                    waits = Sent(arrived=False, error=results[-1].error)
                    return results + [waits] * (len(batch) - len(results))
        return results


def message(change: IdentityChange, *, endpoint: str) -> JsonObject:
    """The message Bundle that tells of a change; the same for every attempt but for its timestamp."""
    history: JsonObject = {
        "resourceType": "Bundle",
        "type": "history",
        "entry": [_entry(person) for person in change.persons],
    }
    return _message(change.id, history, endpoint=endpoint, eventUri=EVENT, definition=DEFINITION)


def ended_message(change: ConsentEnded, *, endpoint: str) -> JsonObject:
    """The message Bundle that tells a holder of copies that the consent they were taken by has ended: ids alone."""
    said: JsonObject = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "consent", "valueReference": {"reference": f"{base_url()}/Consent/{change.consent_id}"}},
            {"name": "versionId", "valueId": str(change.version)},
            {"name": "status", "valueCode": change.status},
            {"name": "ended", "valueInstant": instant_text(change.ended_at)},
            *(
                {"name": "document", "valueReference": {"reference": f"{base_url()}/DocumentReference/{one}"}}
                for one in change.documents
            ),
        ],
    }
    return _message(change.id, said, endpoint=endpoint, eventUri=CONSENT_ENDED)


def _message(notice: str, body: JsonObject, *, endpoint: str, **header_members: str) -> JsonObject:
    names = [str(uuid5(NAMESPACE_URL, f"{base_url()}/notice/{notice}/{part}")) for part in ("bundle", "head", "body")]
    header = {
        "resourceType": "MessageHeader",
        "id": names[1],
        "destination": [{"endpoint": endpoint}],
        "source": {"endpoint": f"{base_url()}/$process-message"},
        "focus": [{"reference": f"urn:uuid:{names[2]}"}],
        **header_members,
    }
    return {
        "resourceType": "Bundle",
        "id": names[0],
        "type": "message",
        "timestamp": instant_text(datetime.now(UTC)),
        "entry": [
            {"fullUrl": f"urn:uuid:{names[1]}", "resource": header},
            {"fullUrl": f"urn:uuid:{names[2]}", "resource": body | {"id": names[2]}},
        ],
    }


def _entry(person: ChangedPerson) -> JsonObject:
    url = f"Patient/{person.person_id}"
    entry: JsonObject = {"fullUrl": f"{base_url()}/{url}"}
    if person.replaced_by is not None:
        method = "PUT"
        entry["resource"] = {
            "resourceType": "Patient",
            "id": str(person.person_id),
            "active": False,
            "link": [{"other": {"reference": f"Patient/{person.replaced_by}"}, "type": "replaced-by"}],
        }
    elif person.patient is None:
        method = "DELETE"
    else:
        method = "POST" if person.new else "PUT"
        entry["resource"] = patient_json(person.patient)
    entry["request"] = {"method": method, "url": "Patient" if method == "POST" else url}
    entry["response"] = {"status": _STATUS[method]}
    return entry


def _post(client: httpx.Client, endpoint: str, notice: str, bodies: Sequence[bytes]) -> Sent:
    for body in bodies:
        headers = {"Content-Type": "application/fhir+json; charset=utf-8", SIGNATURE: signed(endpoint, notice, body)}
        try:
            with client.stream("POST", endpoint, content=body, headers=headers) as response:
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            return Sent(arrived=False, error=f"{type(problem).__name__} at the endpoint")
        if not 200 <= status < 300:
            return Sent(arrived=False, error=f"the endpoint answered {status}", final=status == 410)
    return Sent(arrived=True)


def signed(endpoint: str, notice: str, body: bytes) -> str:
    """The signature of one body for one endpoint."""
    key = hub_keys.signing_key(hub_keys.Ring.CLIENT)
    now = datetime.now(UTC)
    claims = {
        "iss": issuer(),
        "aud": endpoint,
        "jti": notice,
        "iat": now,
        "exp": now + timedelta(minutes=5),
        "sha256": base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode(),
    }
    return jwt.encode(claims, key.private, algorithm=key.algorithm, headers={"kid": key.kid, "typ": SIGNATURE_TYPE})
