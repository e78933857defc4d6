"""The self-test of an organization that is about to take part: what it sends, and what it can be asked, held to the rules.

What it sends are samples of invented people: each is read by the face that will read the real ones, as a rehearsal that
stores nothing. A face registers its rehearsal in `AppConfig.ready()`. What it can be asked is asked: its endpoints get
the questions that they will get, about somebody whom nobody knows. A check that fails names the clause, the field, what
was found and what to do.

Nothing of a sample stands in the report but its own identifiers and codes of fields.

Source: ITI TF-1 Appendix (conformance by actor and transaction); SMART App Launch 2, backend services.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from django.conf import settings
from django.utils import timezone

from hie.audit.recorder import HUB
from hie.directory import keys
from hie.directory.queries import ClientFacts, KeyFacts
from hie.exchange import remotes
from hie.standards.demographics import Demographics, HumanName
from hie.standards.facts import Caller, EndpointFacts
from hie.trust import assertions, client_keys, server_certificates
from hie.trust.addresses import token_url
from hie.trust.errors import TokenRefused
from hie.trust.peer_session import PeerSession

KEY_LASTS = timedelta(days=30)
"""So long a key must still be good when somebody begins to take part."""
MAX_SAMPLE = 2 << 20
_CONNECT_S, _ASK_S, _RUN_S = 5.0, 10.0, 60.0
_MOST = 20
_KEY_SET = "Key set is there"
_RFC7523, _BACKEND = "RFC 7523, 3", "SMART App Launch 2, backend services"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check and how it came out. `found` and `fix` are sentences; a check that passes has nothing to fix."""

    result: Literal["pass", "fail"]
    check: str
    clause: str
    field: str
    found: str = ""
    fix: str = "Nothing to do"


def passed(check: str, clause: str, where: str) -> Check:
    """A check that held."""
    return Check(result="pass", check=check, clause=clause, field=where)


def failed(check: str, clause: str, where: str, *, found: str, fix: str) -> Check:
    """A check that did not."""
    return Check(result="fail", check=check, clause=clause, field=where, found=_sentence(found), fix=_sentence(fix))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Who is tested, as its draft says. Texts are empty where it says nothing."""

    id: str
    name: str
    organization_oid: str = ""
    authority: str = ""
    application: str = ""
    facility: str = ""
    scopes: tuple[str, ...] = ()
    client: ClientFacts = field(default_factory=lambda: ClientFacts(client_id="", participant_id=""))

    @classmethod
    def of(cls, draft: Mapping[str, Any]) -> Candidate:
        """From a draft whose parts hold no fault."""
        participant_id = str(draft.get("id", ""))
        client_id = str(draft.get("client_id") or participant_id)
        held = []
        for jwk in (draft.get("jwks") or {}).get("keys", ()):
            not_before, expires = keys.validity(jwk)
            held.append(KeyFacts(kid=jwk["kid"], jwk=jwk, not_before=not_before, expires=expires))
        sender = draft.get("hl7v2") or {}
        return cls(
            id=participant_id,
            name=str(draft.get("name", "")),
            organization_oid=str(draft.get("organization_oid", "")),
            authority=str(draft.get("assigning_authority", "")),
            application=str(sender.get("application", "")),
            facility=str(sender.get("facility", "")),
            scopes=tuple(draft.get("scopes", ())),
            client=ClientFacts(
                client_id=client_id, participant_id=participant_id, scopes=tuple(draft.get("scopes", ())),
                keys=tuple(held), jwks_url=draft.get("jwks_url") or None,
            ),
        )  # fmt: skip


Rehearsal = Callable[[bytes, Candidate], Iterable[Check]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A kind of sample: its name, what is asked for in words, and whether this organization must send one."""

    kind: str
    title: str
    what: str
    needed: Callable[[Candidate], bool]


def _may(candidate: Candidate, *names: str) -> bool:
    return any(
        scope in names or scope.startswith(("system/*.c", "system/*.w", "system/*.*")) for scope in candidate.scopes
    )


def _writes(candidate: Candidate, resource: str, transaction: str) -> bool:
    prefix = f"system/{resource}."
    granted = [scope.removeprefix(prefix) for scope in candidate.scopes if scope.startswith(prefix)]
    return _may(candidate, transaction) or any(
        rights in ("write", "*") or set(rights) & {"c", "u"} for rights in granted
    )


SAMPLES: tuple[Sample, ...] = (
    Sample(
        kind="assertion", title="Request for a token",
        what="A client assertion as your client makes it (a JWT). It is not used up by the test.",
        needed=lambda candidate: True,
    ),
    Sample(
        kind="hl7v2", title="HL7 v2 message",
        what="One ADT message about an invented person, as your interface sends it.",
        needed=lambda candidate: bool(candidate.application),
    ),
    Sample(
        kind="hl7v3", title="HL7 V3 message",
        what="One PRPA_IN201301UV02 about an invented person, as you will feed it [ITI-44], in XML.",
        needed=lambda candidate: "ITI-44" in candidate.scopes,
    ),
    Sample(
        kind="patient", title="FHIR Patient",
        what="One Patient as you will feed it [ITI-104], about an invented person, in JSON.",
        needed=lambda candidate: _writes(candidate, "Patient", "ITI-104")
        and not (candidate.application or "ITI-44" in candidate.scopes),
    ),
    Sample(
        kind="bundle", title="Document bundle",
        what="One Provide Document Bundle [ITI-65] about an invented person, in JSON.",
        needed=lambda candidate: _writes(candidate, "DocumentReference", "ITI-65"),
    ),
)  # fmt: skip
_REHEARSALS: dict[str, Rehearsal] = {}


def register(kind: str, rehearsal: Rehearsal) -> None:
    """Let a face read samples of a kind."""
    _REHEARSALS[kind] = rehearsal


def needed(draft: Mapping[str, Any]) -> list[Sample]:
    """The samples that this organization is asked for."""
    candidate = Candidate.of(draft)
    return [sample for sample in SAMPLES if sample.needed(candidate)]


def run(draft: Mapping[str, Any], samples: Mapping[str, bytes], *, now: datetime | None = None) -> list[dict[str, str]]:
    """Every check, in the order of the report. `draft` holds no fault; `samples` are by kind. Stores nothing.

    Takes as long as the endpoints take, some ten seconds each and about a minute together; nothing is locked meanwhile.
    """
    at = now or timezone.now()
    candidate = Candidate.of(draft)
    until = time.monotonic() + _RUN_S
    found: list[Check] = [*_keys(draft, candidate, at)]
    keys_are_there = not any(check.result == "fail" and check.check == _KEY_SET for check in found)
    for sample in needed(draft):
        if sample.kind == "assertion" and not keys_are_there:
            fix = "Mend the key set first"
            found.append(
                failed(sample.title, _RFC7523, "client_assertion", found="there is no key to verify it with", fix=fix)
            )
            continue
        found += _rehearsed(sample, samples.get(sample.kind, b""), candidate, at)
    endpoints = draft.get("endpoints", ())
    for endpoint in endpoints[:_MOST]:
        if time.monotonic() > until:
            fix = "Run the self-test again, with endpoints that answer sooner"
            found.append(
                failed(
                    "Endpoint is asked",
                    "Self-test",
                    f"endpoints: {endpoint['url']}",
                    found="there was no time left",
                    fix=fix,
                )
            )
            continue
        found += _endpoint(endpoint, candidate, draft)
    if len(endpoints) > _MOST:
        fix = f"Register at most {_MOST} endpoints at first"
        found.append(
            failed("Endpoints are asked", "Self-test", "endpoints", found=f"there are {len(endpoints)}", fix=fix)
        )
    return [asdict(check) for check in found]


# --- keys and tokens --------------------------------------------------------------------------------------------------


def _keys(draft: Mapping[str, Any], candidate: Candidate, now: datetime) -> Iterator[Check]:
    url = candidate.client.jwks_url
    clause = "RFC 7517, 5"
    if url:
        try:
            _check_reachable(url)
            found = client_keys.renewed(url)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
            fix = "Serve the key set there with status 200, as JSON, without a redirect"
            yield failed(_KEY_SET, clause, "jwks_url", found=_trouble(error), fix=fix)
            return
        yield passed(_KEY_SET, clause, "jwks_url")
    else:
        found = tuple(dict(key.jwk) for key in candidate.client.keys)
    where = "jwks_url" if url else "jwks"
    usable = 0
    lasting = 0
    for position, jwk in enumerate(found[:_MOST]):
        name = f"{where}: keys[{position}]"
        try:
            keys.read_jwk(jwk)
            _, expires = keys.validity(jwk)
        except keys.UnusableKey as refused:
            yield failed("Key can be used", clause, name, found=str(refused), fix="Serve public signing keys only: RSA of 2048 bits or more, or P-256 or P-384, each with a kid")  # fmt: skip
            continue
        usable += 1
        lasting += expires is None or expires > now + KEY_LASTS
        yield passed("Key can be used", clause, name)
    if not usable:
        yield failed("A key to verify with", clause, where, found="no key can be used", fix="Serve at least one public key")  # fmt: skip
    elif not lasting:
        yield failed("A key for the next month", clause, where, found="every key ends within 30 days", fix="Add the next key beside the one in use")  # fmt: skip
    else:
        yield passed("A key for the next month", clause, where)
    kids = [jwk.get("kid") for jwk in found]
    if len(set(map(str, kids))) != len(kids):
        yield failed("Each key has a name of its own", clause, where, found="two keys share a kid", fix="Give each key a kid of its own")  # fmt: skip
    for position, pem in enumerate(draft.get("certificates", ())):
        facts = keys.read_certificate(pem)
        name = f"certificates[{position}]"
        if facts.not_before <= now < facts.expires - KEY_LASTS:
            yield passed("Certificate is good for the next month", "RFC 5280, 4.1.2.5", name)
        else:
            found_words = f"it is good from {facts.not_before:%Y-%m-%d} to {facts.expires:%Y-%m-%d}"
            yield failed("Certificate is good for the next month", "RFC 5280, 4.1.2.5", name, found=found_words, fix="Send the next certificate as well")  # fmt: skip


def assertion(raw: bytes, candidate: Candidate, now: datetime) -> Iterator[Check]:
    """What a client assertion says, as the token service will read it; it is not spent."""
    try:
        encoded = raw.decode("ascii").strip()
        proven = assertions.verify(encoded, {candidate.client.client_id: candidate.client}, now=now)
    except UnicodeDecodeError:
        yield failed("Assertion can be read", _RFC7523, "client_assertion", found="it is no JWT", fix="Send the JWT alone, in its compact form")  # fmt: skip
        return
    except TokenRefused as refused:
        words = str(refused)
        where = next((name for name in ("typ", "alg", "kid", "jku") if f"header {name}" in words), "")
        where = where or next(
            (n for n in ("iss and sub", "aud", "iat", "exp", "jti") if words.startswith(n)), "client_assertion"
        )
        known = (
            f"Set iss and sub to {candidate.client.client_id}, aud to {token_url()}, exp at most 300 s after iat, a jti "
            "of its own, and sign with a key whose kid is registered"
        )
        yield failed("Assertion is accepted", f"{_BACKEND}; {_RFC7523}", where, found=words, fix=known)
        return
    yield passed("Assertion is accepted", f"{_BACKEND}; {_RFC7523}", "client_assertion")
    lifetime = int(proven.claims["exp"] - proven.claims["iat"])
    yield passed(f"Assertion is good for {lifetime} s", _BACKEND, "exp")


def _rehearsed(sample: Sample, raw: bytes, candidate: Candidate, now: datetime) -> Iterable[Check]:
    if not raw.strip():
        return [failed(sample.title, "Self-test", sample.kind, found="nothing was sent", fix=sample.what)]
    if len(raw) > MAX_SAMPLE:
        return [
            failed(sample.title, "Self-test", sample.kind, found="it is larger than 2 MiB", fix="Send a smaller one")
        ]
    if sample.kind == "assertion":
        return assertion(raw, candidate, now)
    return _REHEARSALS[sample.kind](raw, candidate)


# --- endpoints --------------------------------------------------------------------------------------------------------

_NOBODY = Demographics(
    names=(HumanName(family="Selftest-Nobody", given=("Zz",)),), birth_date="1901-01-01", gender="unknown"
)


def _endpoint(endpoint: Mapping[str, Any], candidate: Candidate, draft: Mapping[str, Any]) -> Iterator[Check]:
    kind, url = str(endpoint["kind"]), str(endpoint["url"])
    where = f"endpoints: {url}"
    try:
        _check_reachable(url)
    except (ValueError, OSError) as error:
        yield failed("Endpoint can be reached", "Agreement, endpoints", where, found=_trouble(error), fix="Give an address that the hub can reach")  # fmt: skip
        return
    if settings.PRODUCTION and urlsplit(url).scheme in ("http", "mllp"):
        yield failed("Connection is encrypted", "ITI TF-2 3.19 (ATNA)", where, found="it is not", fix="Offer TLS: https or mllps")  # fmt: skip
        return
    if kind == "mllp":
        yield from _mllp(url, where)
    elif kind == "fhir":
        yield from _fhir(url, where, candidate, draft)
    else:
        yield from _answers(url, where)


def _mllp(url: str, where: str) -> Iterator[Check]:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 2575), timeout=_CONNECT_S) as plain:
            if parts.scheme == "mllps":
                with ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname):
                    pass
    except (OSError, ValueError) as error:
        yield failed("Listener takes a connection", "HL7 v2 Transport, MLLP R1", where, found=_trouble(error), fix="Let the hub connect to this port")  # fmt: skip
        return
    yield passed("Listener takes a connection", "HL7 v2 Transport, MLLP R1", where)


def _get(url: str) -> tuple[int, bytes]:
    """Status and body, of 2 MiB and within ten seconds.

    Raises:
        httpx.HTTPError, httpx.InvalidURL, ValueError: no answer, or one that is too large or too slow.
    """
    until = time.monotonic() + _ASK_S
    body = bytearray()
    headers = {"Accept": "application/fhir+json", "Accept-Encoding": "identity"}
    with (
        httpx.Client(
            timeout=_CONNECT_S, follow_redirects=False, trust_env=False, verify=server_certificates.trusted()
        ) as session,
        session.stream("GET", url, headers=headers) as answer,
    ):
        for chunk in answer.iter_raw():
            body += chunk
            if len(body) > MAX_SAMPLE or time.monotonic() > until:
                raise ValueError("the answer is too large or too slow")
        return answer.status_code, bytes(body)


def _answers(url: str, where: str) -> Iterator[Check]:
    name, clause = "Endpoint answers", "SOAP 1.2 part 2, 7"
    try:
        status, _ = _get(url)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        fix = "Let the hub connect, with a certificate that it can check"
        yield failed(name, clause, where, found=_trouble(error), fix=fix)
        return
    if status >= 500 or status == 404:
        yield failed(name, clause, where, found=f"it answers {status}", fix="Say where the service is, or start it")
        return
    yield passed(name, clause, where)


def _fhir(url: str, where: str, candidate: Candidate, draft: Mapping[str, Any]) -> Iterator[Check]:
    clause, place = "FHIR R4, capabilities", f"{where}/metadata"
    statement: Any = None
    try:
        status, body = _get(f"{url}/metadata")
        found = f"it answers {status}"
        if status == 200:
            found = "it answers with something else"
            statement = json.loads(body)
    except RecursionError:
        found = "it answers with something else"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        found = "it answers with something else" if isinstance(error, json.JSONDecodeError) else _trouble(error)
    if not isinstance(statement, dict) or statement.get("resourceType") != "CapabilityStatement":
        fix = "Serve a CapabilityStatement there, as JSON"
        yield failed("Says what it offers", clause, place, found=found, fix=fix)
        return
    yield passed("Says what it offers", clause, place)
    version = statement.get("fhirVersion")
    if not (isinstance(version, str) and version.startswith("4.0")):
        fix = "Offer FHIR 4.0.1 at this address"
        where_said = "CapabilityStatement.fhirVersion"
        yield failed("Speaks FHIR R4", clause, where_said, found="it says another version, or none", fix=fix)
        return
    yield passed("Speaks FHIR R4", clause, "CapabilityStatement.fhirVersion")
    offered = {
        str(resource.get("type"))
        for rest in _objects(statement.get("rest"))
        for resource in _objects(rest.get("resource"))
    }
    for name, transaction in (("Patient", "ITI-78 or ITI-119"), ("DocumentReference", "ITI-67")):
        where_said = "CapabilityStatement.rest.resource"
        if name in offered:
            yield passed(f"Offers {name}", f"IHE {transaction}", where_said)
        else:
            fix = f"Offer {name} with search"
            yield failed(f"Offers {name}", f"IHE {transaction}", where_said, found="it is not offered", fix=fix)
    yield _asked(url, where, candidate, draft)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _asked(url: str, where: str, candidate: Candidate, draft: Mapping[str, Any]) -> Check:
    """The question that it will get, about somebody whom nobody knows: token, patient, documents."""
    name, clause = "Answers a question about an unknown person", f"{_BACKEND}; IHE ITI-119, ITI-67"
    endpoint = EndpointFacts(
        participant_id=candidate.id, participant_name=candidate.name, participant_type=str(draft.get("type", "")),
        kind="fhir", url=url, home_community_id=draft.get("home_community_id"),
        assigning_authority=candidate.authority or None,
    )  # fmt: skip
    caller = Caller(
        participant_id=HUB, organization_id=HUB, client_id="self-test", user_id="", role="system", purpose="TREAT",
        face="hub",
    )  # fmt: skip

    async def ask() -> remotes.Answer:
        async with PeerSession() as session, asyncio.timeout(_ASK_S):
            question = remotes.Question(demographics=_NOBODY, filter={}, caller=caller)
            return await remotes.client_for("fhir").ask(endpoint, question, session=session)

    began = time.monotonic()
    try:
        answer = asyncio.run(ask())
    except (TimeoutError, OSError) as error:
        return failed(name, clause, where, found=_trouble(error), fix="Answer within ten seconds; questions wait two")
    if answer.outcome in (remotes.Outcome.NOTHING, remotes.Outcome.ANSWERED):
        if answer.documents:
            return failed(name, clause, where, found="it names documents of somebody whom nobody knows", fix="Name the documents of the patient in the question only")  # fmt: skip
        return passed(f"{name}, in {time.monotonic() - began:.1f} s", clause, where)
    words = {
        remotes.Outcome.REFUSED: "Trust the hub's keys, and let it ask with purpose TREAT",
        remotes.Outcome.DOWN: "Let the hub connect",
        remotes.Outcome.LATE: "Answer within two seconds",
    }
    fix = words.get(answer.outcome, "Answer with a searchset Bundle, empty where nobody is known")
    return failed(name, clause, where, found=f"{answer.outcome.value} ({answer.cause})" if answer.cause else answer.outcome.value, fix=fix)  # fmt: skip


def _check_reachable(url: str) -> None:
    """Refuse addresses that are not of the open network, but for those of `HIE_SELF_TEST_NETWORKS`.

    The hub connects where somebody who is not yet trusted tells it to: not to its own machine, nor into the networks
    around it. The sandbox lives on one machine and may. Who answers for a name may answer otherwise the next moment; so
    nothing that comes back from a connection is told but whether it is what was asked for.

    Raises:
        ValueError: such an address. OSError: the name is not known.
    """
    host = urlsplit(url).hostname
    if not host:
        raise ValueError("the address names no host")
    if not settings.PRODUCTION:
        return
    allowed = [ipaddress.ip_network(one) for one in settings.SELF_TEST_NETWORKS]
    for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM):
        found = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if any(found in network for network in allowed):
            continue
        if not found.is_global or found.is_multicast:
            raise ValueError("the address is not one of the open network")


def _trouble(error: Exception) -> str:
    """What went wrong, without what came back or the library's words."""
    if isinstance(error, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error):
        return "its certificate cannot be checked"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    # Closed, filtered and silent are one: what stands behind an address is not the self-test's to tell.
    if isinstance(error, httpx.TransportError | OSError):
        return "no answer"
    return (
        str(error)[:200]
        if isinstance(error, ValueError) and not isinstance(error, UnicodeError)
        else type(error).__name__
    )


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if text else ""
