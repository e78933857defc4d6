"""This hub as a FHIR client of another community: Patient $match [ITI-119], Find Document References [ITI-67],
Retrieve Document [ITI-68].

Speaks over the fan-out's `PeerSession`. What a peer does wrong becomes an `Answer`, never an
exception of its own making; links are followed on the endpoint's own origin only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
from collections.abc import Mapping
from typing import IO, Any
from urllib.parse import urlencode, urljoin, urlsplit

import httpx
import orjson

from hie.exchange.errors import RemoteUnavailable
from hie.exchange.remotes import Answer, Outcome, Question, RemoteContent, RemoteEntry
from hie.standards.demographics import Demographics
from hie.standards.facts import Caller, EndpointFacts
from hie.standards.fhir_patient import to_fhir
from hie.trust import clients
from hie.trust.errors import PeerRefused
from hie.trust.peer_session import PeerGarbled, PeerSession, PeerTooLarge

MAX_BODY = 16 * 1024 * 1024
MAX_PAGES = 20
MAX_DOCUMENTS = 2000
TOKEN_WAIT_S = 120.0
"""The question's own time limit ends the wait; a slow token is a late answer, not a refusal."""
MAX_CONTENT = 4 * 1024 * 1024 * 1024
SPOOL = 4 * 1024 * 1024
MAX_SIZE = 2**63 - 1
RESOURCE_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
REFUSALS = frozenset({401, 403, 429})
NO_MATCH_OPERATION = frozenset({404, 405, 501})

FILTER_PARAMETERS = ("status", "category", "type", "format", "event", "period", "creation")
DATES = frozenset({"period", "creation"})


class PeerError(Exception):
    """The peer answered with something that is no answer."""

    def __init__(self, outcome: Outcome, message: str, cause: str) -> None:
        super().__init__(message)
        self.answer = Answer(outcome=outcome, message=message, cause=cause)


class FhirCommunity:
    """A community or organization that is asked over FHIR (MHD, PDQm)."""

    async def ask(self, endpoint: EndpointFacts, question: Question, *, session: PeerSession) -> Answer:
        """Find the patient there by demographics, then list the documents that fit the filter."""
        try:
            token = await clients.token_for_async(
                session, endpoint, question.caller.purpose or "", question.caller, timeout_s=TOKEN_WAIT_S
            )
            await question.still()
            patient_id = await self._patient(endpoint, question, token, session)
            if patient_id is None:
                return Answer(outcome=Outcome.NOTHING)
            documents = await self._documents(endpoint, patient_id, question, token, session)
        except PeerRefused as error:
            return _without_token(error)
        except PeerError as error:
            return error.answer
        return Answer(outcome=Outcome.ANSWERED if documents else Outcome.NOTHING, documents=tuple(documents))

    async def _patient(
        self, endpoint: EndpointFacts, question: Question, token: str, session: PeerSession
    ) -> str | None:
        """The peer's one certain patient, or None. A peer without $match is asked by PDQm search."""
        url = f"{endpoint.url.rstrip('/')}/Patient/$match"
        status, bundle = await _call(session, "POST", url, token, _match_body(question))
        if status in NO_MATCH_OPERATION:
            query = _search_parameters(question.demographics)
            if query is None:
                return None
            await question.still()
            url = f"{endpoint.url.rstrip('/')}/Patient?{query}"
            status, bundle = await _call(session, "GET", url, token)
        if status in (404, 422):
            return None
        found = {
            str(resource["id"])
            for resource in _resources(_expect(status, bundle), "Patient")
            if resource.get("active", True) and isinstance(resource.get("id"), str)
        }
        # Two certain patients are no certainty: nobody's documents are better than another's.
        return found.pop() if len(found) == 1 else None

    async def _documents(
        self,
        endpoint: EndpointFacts,
        patient_id: str,
        question: Question,
        token: str,
        session: PeerSession,
    ) -> list[RemoteEntry]:
        base = endpoint.url.rstrip("/")
        patient = urlencode({"patient": f"Patient/{patient_id}"})
        url: str | None = f"{base}/DocumentReference?{patient}&{_filter_parameters(question)}"
        entries: dict[str, RemoteEntry] = {}
        for _ in range(MAX_PAGES):
            if url is None or len(entries) >= MAX_DOCUMENTS:
                break
            await question.still()
            status, bundle = await _call(session, "GET", url, token)
            if status == 404:
                break
            body = _expect(status, bundle)
            for resource in _resources(body, "DocumentReference"):
                entry = _entry(resource, base)
                entries.setdefault(entry.remote_id, entry)
            url = _next(body, base)
        return list(entries.values())

    def open(self, endpoint: EndpointFacts, source_url: str, caller: Caller) -> RemoteContent:
        """Fetch a document's bytes into a spooled file, so that nothing unverified is released.

        Raises:
            RemoteUnavailable: the community is down, slow, refuses, or no longer has the document.
        """
        name = endpoint.participant_id
        if not _same_origin(source_url, endpoint.url):
            raise RemoteUnavailable(name, "the document's address is not the community's own")
        spool: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115 - the reader closes it
        try:
            token = clients.token_for(endpoint, caller.purpose or "", caller)
            headers = {"Authorization": f"Bearer {token}", "Accept": "*/*"}
            with (
                httpx.Client(timeout=httpx.Timeout(30.0, connect=5.0), follow_redirects=False) as http,
                http.stream("GET", source_url, headers=headers) as response,
            ):
                if response.status_code != 200:
                    raise RemoteUnavailable(name, f"the community answered {response.status_code}")
                total, digest = 0, hashlib.sha1(usedforsecurity=False)
                for chunk in response.iter_bytes(1024 * 1024):
                    total += len(chunk)
                    if total > MAX_CONTENT:
                        raise RemoteUnavailable(name, "the document is larger than this hub carries")
                    digest.update(chunk)
                    spool.write(chunk)
                content_type = response.headers.get("content-type", "application/octet-stream")
        except (httpx.HTTPError, PeerRefused) as error:
            spool.close()
            raise RemoteUnavailable(name, "the community did not give the document") from error
        except RemoteUnavailable:
            spool.close()
            raise
        return RemoteContent(content_type=content_type, size=total, sha1=digest.hexdigest(), file=spool)


def _without_token(error: PeerRefused) -> Answer:
    """What it means that a peer gave no token: it is away, too slow, says no, or talks nonsense."""
    cause = error.__cause__
    if isinstance(cause, TimeoutError):
        return Answer(outcome=Outcome.LATE, message="No answer by the deadline.", cause="timeout")
    if isinstance(cause, OSError):
        raise cause  # the loop tells a community that is away from one that broke off
    if " answered 4" in error.reason:
        return Answer(outcome=Outcome.REFUSED, message="The community refused to be asked.", cause="token-refused")
    return Answer(outcome=Outcome.ERROR, message="The community's answer could not be read.", cause="token-garbage")


async def _call(session: PeerSession, method: str, url: str, token: str, body: bytes | None = None) -> tuple[int, Any]:
    """One bounded exchange; the body is read as JSON where there is one."""
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
    if body is not None:
        headers["Content-Type"] = "application/fhir+json"
    try:
        status, raw = await session.exchange(method, url, headers, body, at_most=MAX_BODY)
        if status in REFUSALS:
            raise PeerError(Outcome.REFUSED, "The community refused to be asked.", f"http-{status}")
        if status >= 500 and status != 501:
            raise PeerError(Outcome.ERROR, "The community answered with a fault.", f"http-{status}")
        if status >= 300:
            return status, None
        if b"\\u0000" in raw:
            # No text of FHIR holds NUL, and PostgreSQL keeps none.
            raise PeerError(Outcome.ERROR, "The community's answer could not be read.", "garbage")
        return status, orjson.loads(raw)
    except PeerTooLarge as error:
        raise PeerError(Outcome.ERROR, "The community's answer is too large.", "too-large") from error
    except (PeerGarbled, orjson.JSONDecodeError) as error:
        raise PeerError(Outcome.ERROR, "The community's answer could not be read.", "garbage") from error


def _expect(status: int, body: Any) -> dict[str, Any]:
    if status != 200 or not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        raise PeerError(Outcome.ERROR, "The community's answer could not be read.", f"not-a-bundle-{status}")
    return body


def _resources(bundle: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    entries = bundle.get("entry", [])
    if not isinstance(entries, list):
        raise PeerError(Outcome.ERROR, "The community's answer could not be read.", "garbage")
    resources = [entry.get("resource") for entry in entries if isinstance(entry, dict)]
    return [item for item in resources if isinstance(item, dict) and item.get("resourceType") == kind]


def _match_body(question: Question) -> bytes:
    """The Parameters of $match [ITI-119]."""
    body = question.encoded.get("match")
    if body is None:
        resource = to_fhir(question.demographics)
        resource.pop("id", None)
        parameters = [
            {"name": "resource", "resource": resource},
            {"name": "onlyCertainMatches", "valueBoolean": True},
            {"name": "count", "valueInteger": 2},
        ]
        body = question.encoded["match"] = orjson.dumps({"resourceType": "Parameters", "parameter": parameters})
    return body


def _search_parameters(demographics: Demographics) -> str | None:
    """A PDQm search that only one person should fit: family, given and birth date."""
    name = next((item for item in demographics.names if item.family and item.given), None)
    if name is None or not demographics.birth_date:
        return None
    pairs = [("family:exact", name.family), ("given:exact", name.given[0]), ("birthdate", demographics.birth_date)]
    if demographics.gender:
        pairs.append(("gender", demographics.gender))
    return urlencode([(key, _escape(value)) for key, value in pairs])


def _escape(value: str) -> str:
    for character in ("\\", ",", "|", "$"):
        value = value.replace(character, f"\\{character}")
    return value


def _filter_parameters(question: Question) -> str:
    """ITI-67 parameters: tokens of one list are alternatives, dates of one list hold together. Encoded once a question."""
    encoded = question.encoded.get("filter")
    if encoded is None:
        pairs: list[tuple[str, str]] = []
        for name in FILTER_PARAMETERS:
            values = [str(value) for value in question.filter.get(name) or ()]
            if name == "status" and not values:
                values = ["current"]
            if name in DATES:
                pairs += [(name, value) for value in values]
            elif values:
                pairs.append((name, ",".join(values)))
        pairs.append(("_count", "200"))
        encoded = question.encoded["filter"] = urlencode(pairs).encode()
    return encoded.decode()


def _entry(resource: dict[str, Any], base: str) -> RemoteEntry:
    remote_id = resource.get("id")
    contents = resource.get("content")
    attachment = contents[0].get("attachment") if isinstance(contents, list) and contents else None
    if (
        not isinstance(remote_id, str)
        or not RESOURCE_ID.fullmatch(remote_id)
        or not isinstance(attachment, dict)
        or not isinstance(attachment.get("url"), str)
    ):
        raise PeerError(Outcome.ERROR, "The community's answer could not be read.", "garbage")
    try:
        # Eight levels more than it will ever be shown under: what nests deeper can be read, but not written again.
        orjson.dumps([[[[[[[[resource]]]]]]]])
    except orjson.JSONEncodeError as error:
        raise PeerError(Outcome.ERROR, "The community's answer could not be read.", "garbage") from error
    size, url = attachment.get("size"), attachment["url"]
    return RemoteEntry(
        remote_id=remote_id,
        unique_id=_unique_id(resource),
        resource=resource,
        source_url=url if url.startswith(f"{base}/") else urljoin(f"{base}/", url),
        content_type=str(attachment.get("contentType") or ""),
        sha1=_sha1(attachment.get("hash")),
        size=size if isinstance(size, int) and 0 <= size <= MAX_SIZE else None,
        custodian_oid=_custodian_oid(resource),
    )


def _unique_id(resource: Mapping[str, Any]) -> str:
    master = resource.get("masterIdentifier")
    value = master.get("value") if isinstance(master, dict) else None
    return value.removeprefix("urn:oid:") if isinstance(value, str) else ""


def _custodian_oid(resource: Mapping[str, Any]) -> str:
    """The custodian's OID where the peer states one by identifier, directly or in a contained Organization."""
    custodian = resource.get("custodian")
    if not isinstance(custodian, dict):
        return ""
    candidates = [custodian.get("identifier")]
    reference = custodian.get("reference")
    if isinstance(reference, str) and reference.startswith("#"):
        for contained in resource.get("contained") or ():
            if isinstance(contained, dict) and contained.get("id") == reference[1:]:
                candidates += contained.get("identifier") or []
    for identifier in candidates:
        value = identifier.get("value") if isinstance(identifier, dict) else None
        if isinstance(value, str) and value.startswith("urn:oid:"):
            return value.removeprefix("urn:oid:")
    return ""


def _sha1(value: Any) -> str:
    """Hex of the base64 SHA-1 of FHIR, or "" when it is none."""
    if not isinstance(value, str):
        return ""
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return digest.hex() if len(digest) == 20 else ""


def _next(bundle: Mapping[str, Any], base: str) -> str | None:
    for link in bundle.get("link") or ():
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            url = urljoin(f"{base}/", link["url"])
            return url if _same_origin(url, base) else None
    return None


def _same_origin(url: str, base: str) -> bool:
    ours, theirs = urlsplit(base), urlsplit(url)
    return (ours.scheme, ours.hostname, ours.port) == (theirs.scheme, theirs.hostname, theirs.port)
