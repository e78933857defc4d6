"""Who calls over SOAP: a node that proves itself, and the person for whom it asks.

The node is known by a bearer token or by its TLS client certificate, before a byte of what it sends is kept. A SAML
assertion (Cross-Enterprise User Assertion) says who acts; it is signed by the node's participant or one above or below
it, and the lower of the two is the participant of the call. Without one it is whom the token names, or the node itself.
The result is the same `Caller` that a token gives, through the same rule (`acting`).

Source: design.md "Interfaces"; IHE ITI TF-2 3.19, 3.40; spec/xds.md 2 (7, 8).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from lxml import etree

from hie.directory import queries
from hie.directory.queries import ClientFacts
from hie.standards.facts import Caller
from hie.trust import acting, assertions, certificates, refusals, saml, scopes, tokens
from hie.trust.addresses import base_url
from hie.trust.certificates import ClientCertificate
from hie.trust.errors import AssertionRefused, NotAuthenticated, TokenRefused
from hie.trust.extensions import Stated
from hie.trust.requests import network_address, request_id

FACE = "soap"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The system that calls: whom it is before any assertion is read, and the certificate it has shown, if any."""

    caller: Caller
    certificate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """For whom a node asks. `resource_id` (CX or "") and `consents` are as its assertion has them."""

    caller: Caller
    resource_id: str = ""
    consents: tuple[str, ...] = ()


def node(request: HttpRequest) -> Node:
    """The node of a request, by ``Authorization: Bearer`` or by the certificate it has shown.

    A refusal is audited, but not that nothing was shown.

    Raises:
        NotAuthenticated: neither, or one that does not hold, or both and they are of two participants.
    """
    if request.headers.get("Authorization", "").lower().startswith("bearer "):
        return _by_token(request)
    try:
        certificate = certificates.presented(request, now=timezone.now())
        if certificate is not None:
            return _by_certificate(request, certificate)
    except NotAuthenticated as refused:
        _record(request, refused.reason)
        raise
    raise NotAuthenticated("a client certificate or a bearer token is needed", 'Bearer realm="hie"')


def _by_token(request: HttpRequest) -> Node:
    caller = tokens.authenticate(request, face=FACE)
    certificate: ClientCertificate | None
    try:
        certificate = certificates.presented(request, now=timezone.now())
        shown = queries.snapshot().by_thumbprint.get(certificate.thumbprint) if certificate is not None else None
        if shown is not None and shown != caller.participant_id:
            raise NotAuthenticated("token and client certificate are of two participants")
    except NotAuthenticated as refused:
        _record(request, refused.reason, caller)
        raise
    return Node(caller=caller, certificate=certificate.thumbprint if certificate is not None else "")


def _by_certificate(request: HttpRequest, certificate: ClientCertificate) -> Node:
    directory, now = queries.snapshot(), timezone.now()
    owner = directory.by_thumbprint.get(certificate.thumbprint)
    client = directory.client_of(owner) if owner is not None else None
    if client is None:
        raise NotAuthenticated("the client certificate is nobody's here")
    try:
        participant = acting.participant(client, directory, now=now)
        caller = acting.caller(Stated(), client, participant, directory, now=now)
    except TokenRefused as refused:
        raise NotAuthenticated(refused.description) from refused
    caller = replace(
        caller,
        scopes=_scopes(client),
        network_address=network_address(request),
        request_id=request_id(request),
        face=FACE,
    )
    return Node(caller=caller, certificate=certificate.thumbprint)


def person(node: Node, security: tuple[etree._Element, ...], *, endpoint: str) -> Person:
    """Who acts, by the assertion in the message's wsse:Security; without one, whom the node itself speaks for.

    Of what else stands in wsse:Security (timestamps, signatures of the message) nothing is asked: the connection is
    what keeps the message whole. `endpoint` is the address called. A refusal is audited.

    Raises:
        AssertionRefused: it proves nobody. NotAuthenticated: nothing did.
    """
    found = [child for block in security for child in block if child.tag == f"{{{saml.SAML}}}Assertion"]
    sealed = any(child.tag == f"{{{saml.SAML}}}EncryptedAssertion" for block in security for child in block)
    if not found and not sealed:
        return Person(caller=node.caller)
    try:
        if len(found) != 1 or sealed:
            raise AssertionRefused("InvalidSecurityToken", "one assertion is taken, and none that is encrypted")
        return _asserted(node, found[0], endpoint)
    except AssertionRefused as refused:
        caller = node.caller
        refusals.record(
            refused.reason,
            client_id=caller.client_id,
            participant_id=caller.participant_id,
            network_address=caller.network_address,
            request_id=caller.request_id,
            face=FACE,
        )
        raise


def audiences(endpoint: str) -> frozenset[str]:
    """Names of this hub in an assertion's audience: its address, the endpoint's, its home community, and those set."""
    names = {base_url(), f"{base_url()}/", endpoint, str(settings.HOME_COMMUNITY_ID)}
    return frozenset({*names, *settings.SAML_AUDIENCES})


def _asserted(node: Node, element: etree._Element, endpoint: str) -> Person:
    directory, now, caller = queries.snapshot(), timezone.now(), node.caller
    assertion = saml.verify(
        element,
        directory=directory,
        participant_id=caller.participant_id,
        audiences=audiences(endpoint),
        certificate=node.certificate,
        now=now,
    )
    lower = _lower(caller.participant_id, assertion.signer)
    client = directory.client_of(lower) if lower is not None else None
    if client is None:
        raise AssertionRefused("FailedAuthentication", "it is signed by another participant than the one that calls")
    try:
        participant = acting.participant(client, directory, now=now)
        acts = acting.caller(assertion.stated, client, participant, directory, now=now)
    except TokenRefused as refused:
        code = "FailedAuthentication" if refused.code == "invalid_client" else "InvalidSecurityToken"
        raise AssertionRefused(code, refused.description) from refused
    if assertion.once and not assertions.spend_once(
        assertion.signer, assertion.id, until=assertion.expires_at + timedelta(seconds=60)
    ):
        raise AssertionRefused("InvalidSecurityToken", "it may be used once, and has been")
    acts = replace(
        acts,
        # Neither the node nor the one who vouches for the person may do more than is registered for both.
        scopes=frozenset(scopes.granted(tuple(sorted(caller.scopes)), client.scopes)),
        token_id=assertion.id[:256],
        network_address=caller.network_address,
        request_id=caller.request_id,
        face=FACE,
    )
    return Person(caller=acts, resource_id=assertion.resource_id, consents=assertion.consents)


def _lower(one: str, other: str) -> str | None:
    """The lower of two participants in one line, or None when they are of two."""
    directory = queries.snapshot()
    if directory.within(one, other):
        return one
    return other if directory.within(other, one) else None


def _scopes(client: ClientFacts) -> frozenset[str]:
    return frozenset(scopes.granted(client.scopes, client.scopes))


def _record(request: HttpRequest, reason: str, caller: Caller | None = None) -> None:
    refusals.record(
        reason,
        client_id=caller.client_id if caller else "",
        participant_id=caller.participant_id if caller else None,
        network_address=network_address(request),
        request_id=request_id(request),
        face=FACE,
    )
