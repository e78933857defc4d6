"""The addresses of the SOAP face: take the wire off a message, let one transaction answer, put it on again.

The order of steps: who calls, envelope, for whom, which transaction, whether that is open to the caller, the body's
form, the parts; then the handler. What goes wrong before it is a fault, made in one place (`faults.of`). Bytes that no
entry hangs on when the request is over are removed.

Source: spec/xds.md 1 and 2; design.md "Interfaces".
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt
from lxml import etree

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import submit
from hie.exchange.errors import Unsettled
from hie.exchange.submit import Staged
from hie.faces import bodies
from hie.faces.soap import actions, busy, envelope, faults, mtom, replies, transactions, wsdl, xop
from hie.faces.soap.ebxml import typed
from hie.faces.soap.envelope import Envelope, Seen
from hie.faces.soap.faults import Fault
from hie.faces.soap.inbound import Inbound
from hie.faces.soap.message import Answer, Request
from hie.faces.soap.replies import Reply
from hie.faces.soap.transactions import Transaction
from hie.standards import xds_schema
from hie.standards.errors import HubError, MalformedContent
from hie.standards.facts import Caller
from hie.trust import limits, scopes, xua
from hie.trust.errors import NotAuthenticated, NotEntitled, TooManyRequests
from hie.trust.requests import request_id
from hie.trust.xua import Node

log = logging.getLogger("hie.soap")

UNKNOWN_SIZE = 256 * 1024
"""Bytes of an envelope that are read of a sender who is not let in, so as to answer his message and no other."""

PASSED_OVER = 1 << 20
"""Bytes of a refused message that are read on, so that its sender comes to read the answer."""


def max_envelope() -> int:
    """Bytes of one envelope, inline documents included; larger ones come as parts of an MTOM package."""
    return int(settings.SOAP_MAX_ENVELOPE_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One address: its path, what it answers with when it has too much to do, what it is called in its WSDL.

    `busy_code` "": its answers know no such thing, and a fault says it.
    """

    path: str
    name: str
    busy_code: str = ""

    @property
    def url(self) -> str:
        """The absolute address."""
        return f"{settings.BASE_URL}{self.path}"

    def transactions(self) -> Mapping[str, Transaction]:
        """What it answers, by Action."""
        if self is PIX:
            return transactions.PIX
        return transactions.REGISTRY if self is REGISTRY else transactions.REPOSITORY


REGISTRY = Service(path="/xds/registry", name="DocumentRegistry", busy_code="XDSRegistryBusy")
REPOSITORY = Service(path="/xds/repository", name="DocumentRepository", busy_code="XDSRepositoryBusy")
PIX = Service(path="/pix", name="PIXManager")


@csrf_exempt
def registry(http: HttpRequest) -> HttpResponseBase:
    """The Document Registry."""
    return _endpoint(http, REGISTRY)


@csrf_exempt
def repository(http: HttpRequest) -> HttpResponseBase:
    """The Document Repository."""
    return _endpoint(http, REPOSITORY)


@csrf_exempt
def pix(http: HttpRequest) -> HttpResponseBase:
    """The Patient Identifier Cross-reference Manager."""
    return _endpoint(http, PIX)


def schema(http: HttpRequest, path: str) -> HttpResponse:
    """A schema that the WSDLs import."""
    if http.method not in ("GET", "HEAD"):
        return _not_allowed("only GET is offered here", "GET, HEAD")
    found = wsdl.schema(path)
    if found is None:
        return HttpResponse("there is no such schema\n", status=404, content_type="text/plain; charset=utf-8")
    return HttpResponse(found, content_type="application/xml", headers={"Cache-Control": "public, max-age=3600"})


@dataclass(slots=True)
class _Work:
    """One request under way: what is known of it, and what it holds."""

    http: HttpRequest
    service: Service
    seen: Seen = field(default_factory=Seen)
    held: ExitStack = field(default_factory=ExitStack)
    received: list[Staged] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    node: Node | None = None
    caller: Caller | None = None
    refused: HubError | None = None
    root: str = ""
    response_action: str = ""
    mtom: bool = False
    reply: Reply | None = None

    def keep(self, chunks: Iterable[bytes], content_type: str) -> Staged:
        """Store a document of the message for whoever is known to send it; nothing is kept for one who was not let in."""
        if self.refused is not None:
            raise self.refused
        assert self.caller is not None
        staged = submit.receive(chunks, content_type, self.caller)
        self.received.append(staged)
        return staged


def _endpoint(http: HttpRequest, service: Service) -> HttpResponseBase:
    if http.method in ("GET", "HEAD") and any(name.lower() == "wsdl" for name in http.GET):
        return HttpResponse(wsdl.document(service.name, service.url, service.transactions()), content_type="text/xml")
    if http.method != "POST":
        return _not_allowed("SOAP 1.2 messages are posted here; the WSDL is at ?wsdl", "POST, GET")
    bodies.open_chunked(http)
    work = _Work(http=http, service=service)
    response: HttpResponseBase
    try:
        response = _response(work, _answer(work))
    except (TooManyRequests, Unsettled) as error:
        response = _busy(work, error)
        bodies.pass_over(http, at_most=PASSED_OVER)
    except Exception as error:
        response = _refusal(work, error)
        bodies.pass_over(http, at_most=PASSED_OVER)
    finally:
        directory.offer(None)
    _discard(work)
    if work.reply is not None:
        work.reply.send(response, work.held.close)
        response = HttpResponse(status=202)
    elif response.streaming:
        response._resource_closers.append(work.held.close)  # type: ignore[attr-defined]  # Django's own hook for close()
    else:
        work.held.close()
    response.headers["X-Request-Id"] = request_id(http)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response


def _discard(work: _Work) -> None:
    """Let nothing stay of what came with the message but what the transaction took."""
    try:
        submit.discard(one for one in work.received if one.id not in work.taken)
    except DatabaseError:
        # The answer stands; the sweep finds them.
        log.exception("received documents were not discarded")


def _answer(work: _Work) -> Answer:
    inbound = Inbound(work.http, work.keep)
    with directory.one_reading() as reading:
        _let_in(work)
    size = max_envelope() if work.refused is None else UNKNOWN_SIZE
    try:
        root = inbound.root(size=size)
    except MalformedContent as error:
        # Of a sender who was not let in so little is read that his message may well end there.
        raise work.refused or error from error
    message = envelope.read(root, work.seen)
    action, transaction = _transaction(work, message, inbound.action)
    work.root, work.response_action, work.mtom = message.body.tag, transaction.response_action, transaction.mtom
    if work.refused is not None:
        raise work.refused
    assert work.node is not None
    with directory.one_reading(given=directory.recent(reading)) as reading:
        person = xua.person(work.node, message.security, endpoint=work.service.url)
    work.caller = person.caller
    if work.received and person.caller.participant_id != work.node.caller.participant_id:
        submit.pass_on(work.received, person.caller)
    _need_scope(person.caller, action)
    if message.reply_to or message.fault_to:
        work.reply = _elsewhere(message)
    typed.named(message.body)
    raw = xop.without_documents(message.body)
    with recorder.recording(EventType(actions.ITI[action]), person.caller, query=raw) as event:
        found = _checked(message.body, transaction)
        parts = inbound.parts({one.content_id for one in found})
        xop.resolved(found, parts)
        # What was done is for the handler to say.
        event.dismiss()
    request = Request(
        action=action,
        message_id=message.message_id,
        to=message.to,
        body=message.body,
        parts=parts,
        caller=person.caller,
        stage=work.keep,
        raw=raw,
        resource_id=person.resource_id,
        consents=person.consents,
        taken=work.taken,
    )
    directory.offer(reading)
    return transaction.handler(request)


def _elsewhere(message: Envelope) -> Reply:
    """A place for the answer to a message that is to be answered elsewhere; faults go where answers go.

    Raises:
        Fault: answers may not go there. TooManyRequests: too many are under way.
    """
    why = "OnlyAnonymousAddressSupported"
    if not replies.may_go_to(message.reply_to):
        local = "ReplyTo" if message.reply_to else "FaultTo"
        raise faults.invalid_header(local, "answers are given on the connection of the question", why=why)
    if message.fault_to not in ("", message.reply_to):
        raise faults.invalid_header("FaultTo", "faults are given where the answer is given", why=why)
    return replies.place(message.reply_to)


def _let_in(work: _Work) -> None:
    """Who calls, and whether he may now; a refusal waits until it is known what it answers."""
    try:
        work.node = xua.node(work.http)
        work.caller = work.node.caller
        work.held.enter_context(limits.admit(work.node.caller))
    except (NotAuthenticated, TooManyRequests) as refused:
        work.refused = refused


def _transaction(work: _Work, message: Envelope, said: str) -> tuple[str, Transaction]:
    """The transaction of a message: by wsa:Action, else by what HTTP says of it, else by what stands in the body.

    Raises:
        Fault: it is none of this address, or the body does not tell which.
    """
    offered = work.service.transactions()
    action = message.action or said or work.http.headers.get("SOAPAction", "").strip('" ')
    if not action:
        alike = [name for name, one in offered.items() if etree.QName(one.request_root).text == message.body.tag]
        if len(alike) != 1:
            raise faults.header_required("Action")
        action = alike[0]
    transaction = offered.get(action)
    if transaction is None:
        raise faults.action_not_supported(action)
    return action, transaction


def _need_scope(caller: Caller, action: str) -> None:
    """Refuse, and record, what the caller's scopes do not cover."""
    number = actions.ITI[action]
    if scopes.allows_transaction(caller.scopes, number):
        return
    with recorder.recording(EventType.ACCESS_REFUSED, caller, query=action):
        raise NotEntitled(f"the caller's scopes do not cover {number}", scope=number)


def _checked(body: etree._Element, transaction: Transaction) -> list[xop.Include]:
    """The includes of a body that has the form its transaction asks for.

    Raises:
        Fault: it has not.
    """
    if body.tag != etree.QName(transaction.request_root).text:
        raise Fault(f"the body of this action is a {etree.QName(transaction.request_root).localname}")
    found = xop.includes(body)
    if etree.QName(body).namespace in xds_schema.NAMESPACES:
        with xop.taken_out(found):
            wrong = xds_schema.complaints(body)
        if wrong:
            raise Fault("the body is not valid by its schema: " + "; ".join(map(str, wrong)))
    return found


# --- answering -----------------------------------------------------------------------------------------------------------


def _response(work: _Work, answer: Answer) -> HttpResponseBase:
    to = work.reply.address if work.reply is not None else ""
    root = envelope.write(answer.body, action=work.response_action, message_id=work.seen.message_id, to=to)
    if not work.mtom:
        return HttpResponse(root, content_type=f'{faults.CONTENT_TYPE}; action="{work.response_action}"')
    written = mtom.package(root, answer.attachments, boundary=f"hub-{uuid4().hex}", action=work.response_action)
    if not answer.attachments:
        return HttpResponse(b"".join(written.chunks), content_type=written.content_type)
    response = StreamingHttpResponse(written.chunks, content_type=written.content_type)
    if written.length is not None:
        response.headers["Content-Length"] = str(written.length)
    return response


def _refusal(work: _Work, error: Exception) -> HttpResponse:
    fault = faults.of(error)
    content_type = "text/xml; charset=UTF-8" if fault.soap_11 else faults.CONTENT_TYPE
    data = faults.document(fault, message_id=work.seen.message_id)
    return HttpResponse(data, status=fault.status_code, content_type=content_type, headers=fault.http_headers)


def _busy(work: _Work, error: TooManyRequests | Unsettled) -> HttpResponseBase:
    """Too much at once is told in the answer that the transaction gives; a message of none gets a fault."""
    if not work.response_action or not work.service.busy_code:
        return _refusal(work, error)
    body = busy.answer(work.root, work.service.busy_code, context=str(error), location=work.service.path)
    response = _response(work, Answer(body=body))
    response.headers["Retry-After"] = str(max(1, round(float(error.retry_after_s))))
    return response


def _not_allowed(text: str, allow: str) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=405, content_type="text/plain; charset=utf-8", headers={"Allow": allow})
