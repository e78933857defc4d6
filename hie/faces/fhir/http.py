"""The door of the FHIR face: one dispatcher that authenticates, routes, reads, calls one handler and answers.

What every interaction shares is here and nowhere else: token and scope, limits, content negotiation, size of
bodies, refusals as OperationOutcome, the general headers. Source: spec/fhir.md 1.
"""

from __future__ import annotations

import gzip
import logging
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.http.request import RawPostDataException, UnreadablePostError
from django.utils.http import http_date
from django.views.decorators.csrf import csrf_exempt

from hie.audit import recorder
from hie.audit.kinds import EventType
from hie.directory import queries as directory
from hie.exchange import find
from hie.faces import bodies
from hie.faces.fhir import capability, formats, outcome, search
from hie.faces.fhir.errors import (
    BodyTooLarge,
    FhirSyntax,
    InvalidResource,
    InvalidSearch,
    MethodNotAllowed,
    MultipleMatches,
    NotFound,
    ScopeMissing,
    UnsupportedBody,
)
from hie.faces.fhir.formats import Format
from hie.faces.fhir.outcome import Issue
from hie.faces.fhir.resources import (
    Interaction,
    OperationDefinition,
    Resource,
    resources,
    system_operations,
    transaction_interaction,
)
from hie.standards import fhir
from hie.standards.errors import HubError
from hie.standards.facts import Caller
from hie.standards.fhir import JsonObject
from hie.standards.values import quick
from hie.trust import limits, scopes, tokens
from hie.trust.requests import request_id

log = logging.getLogger("hie.fhir")

_GZIP_FROM = 1400
MAX_FORM = 1 << 20
_CLOCKS_APART = timedelta(seconds=10)


def base_url() -> str:
    """The absolute address of this face, without a slash at its end."""
    return f"{settings.BASE_URL}/fhir"


def max_body() -> int:
    """Bytes taken for a resource, after decompression; larger documents come raw to ``Binary``."""
    return int(getattr(settings, "FHIR_MAX_BODY_BYTES", 64 * 1024 * 1024))


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Prefer:
    """The Prefer header: `returns` is minimal, representation or OperationOutcome, "" when it does not say."""

    returns: str = ""
    strict: bool = False


@dataclass(slots=True, kw_only=True)
class FhirRequest:
    """What a handler gets: who asks, what for, the parsed search or body.

    `body` is the checked resource, `raw` the bytes it came in (an audit needs the request as sent), in `format`;
    a handler that declared ``raw`` reads `http` itself. `criteria` of a conditional interaction is in `query`.
    """

    http: HttpRequest
    caller: Caller
    resource: Resource | None = None
    id: str = ""
    version: str = ""
    query: search.Query = field(default_factory=search.Query)
    body: JsonObject | None = None
    raw: bytes = b""
    format: Format = Format.JSON
    prefer: Prefer = field(default_factory=Prefer)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def base(self) -> str:
        """Absolute base of this face."""
        return base_url()

    @property
    def url(self) -> str:
        """Absolute address of the resource type."""
        return f"{base_url()}/{self.resource.type}" if self.resource else base_url()

    @property
    def resource_body(self) -> JsonObject:
        """The body, which is there for every interaction declared with one."""
        if self.body is None:
            raise FhirSyntax("a body is needed")
        return self.body

    def problems(self) -> list[fhir.Problem]:
        """Everything wrong with the body against the base specification."""
        return fhir.check(self.raw if self.format is Format.JSON else self.resource_body, self.resource_body)


@dataclass(slots=True, kw_only=True)
class Answer:
    """What a handler gives back: a resource, or a stream of bytes, or nothing.

    Without a `content_type` it goes out in the format that was settled with the client.
    """

    status: int = 200
    resource: JsonObject | None = None
    stream: Iterator[bytes] | None = None
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    compress: bool = True


def stored(
    request: FhirRequest,
    resource: JsonObject,
    *,
    status: int,
    location: str,
    version: str = "1",
    last_updated: datetime | None = None,
    issues: Sequence[Issue] = (),
) -> Answer:
    """The answer to a create or update: headers always, the body as `Prefer` asks.

    `location` is relative (``Type/id``). `issues` are warnings: in the OperationOutcome where one is preferred, else in
    the header ``Warning``, for the resource has no place for them.
    """
    headers = {"Location": f"{request.base}/{location}/_history/{version}", "ETag": f'W/"{version}"'}
    if last_updated is not None:
        headers["Last-Modified"] = http_date(last_updated.timestamp())
    if request.prefer.returns == "OperationOutcome":
        done = outcome.outcome([*issues, Issue(severity="information", code="informational", diagnostics="stored")])
        return Answer(status=status, resource=done, headers=headers)
    if issues:
        headers["Warning"] = ", ".join(f'299 - "{_quotable(issue)}"' for issue in issues)
    return Answer(status=status, resource=None if request.prefer.returns == "minimal" else resource, headers=headers)


def _quotable(issue: Issue) -> str:
    """An issue as the text of a Warning header: printable ASCII without what ends a quoted string."""
    text = f"{issue.expression}: {issue.diagnostics}" if issue.expression else issue.diagnostics
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "?" for c in text)[:500]


# --- the view ---------------------------------------------------------------------------------------------------------


@csrf_exempt
def dispatch(http: HttpRequest, path: str = "") -> HttpResponseBase:
    """Every request to ``/fhir``."""
    held = ExitStack()
    bodies.open_chunked(http)
    try:
        answer = _answer(http, path, held)
        response = _response(http, answer)
    except HubError as error:
        response = _refusal(http, error)
    except (UnreadablePostError, RawPostDataException) as error:
        response = _refusal(http, FhirSyntax("the body broke off"), cause=error)
    except Exception:
        incident = str(uuid4())
        log.exception("incident %s at %s", incident, http.method)
        issue = Issue(severity="fatal", code="exception", diagnostics=f"incident {incident}")
        response = _told(http, [issue], 500)
    directory.offer(None)
    if response.streaming:
        response._resource_closers.append(held.close)  # type: ignore[attr-defined]  # Django's own hook for close()
    else:
        held.close()
    response.headers["X-Request-Id"] = request_id(http)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def _answer(http: HttpRequest, path: str, held: ExitStack) -> Answer:
    method = http.method or ""
    if path in ("metadata", ".well-known/smart-configuration"):
        if method not in ("GET", "HEAD"):
            raise MethodNotAllowed("only GET is offered here", allow=("GET", "HEAD"))
        if path == "metadata":
            formats.negotiate(http)
            return Answer(resource=capability.statement(), headers={"Cache-Control": "public, max-age=60"})
        return Answer(
            resource=capability.smart_configuration(),
            content_type="application/json",
            headers={"Cache-Control": "public, max-age=60"},
        )
    with directory.one_reading() as reading:
        caller = tokens.authenticate(http)
        held.enter_context(limits.admit(caller))
    directory.offer(reading)
    if path in ("", "/"):
        return _root(http, caller)
    if path.strip("/").startswith("$"):
        return _system(http, caller, path.strip("/")[1:])
    return _typed(http, caller, path.strip("/").split("/"))


def _system(http: HttpRequest, caller: Caller, name: str) -> Answer:
    operation = system_operations().get(name)
    if operation is None:
        raise NotFound("no such operation")
    if http.method not in operation.methods:
        raise MethodNotAllowed("the operation is not offered with this method", allow=operation.methods)
    formats.negotiate(http)
    _need_scope(http, caller, "Bundle", operation.interaction)
    request = FhirRequest(http=http, caller=caller, prefer=_prefer(http))
    _read_body(request, operation.interaction, "Bundle")
    return operation.interaction.handler(request)


def _root(http: HttpRequest, caller: Caller) -> Answer:
    if http.method != "POST":
        raise MethodNotAllowed("the base takes transactions only", allow=("POST",))
    formats.negotiate(http)
    interaction = transaction_interaction()
    _need_scope(http, caller, "Bundle", interaction)
    request = FhirRequest(http=http, caller=caller, prefer=_prefer(http))
    _read_body(request, interaction, "Bundle")
    return interaction.handler(request)


def _typed(http: HttpRequest, caller: Caller, parts: list[str]) -> Answer:
    resource = resources().get(parts[0])
    if resource is None:
        raise NotFound("no such resource type on this server")
    request = FhirRequest(http=http, caller=caller, resource=resource, prefer=_prefer(http))
    interaction, is_search = _route(http, resource, parts[1:], request)
    posted = is_search and http.method == "POST"
    if not interaction.negotiates and not posted:
        formats.negotiate(http)
    _need_scope(http, caller, resource.type, interaction)
    if is_search:
        given = search.pairs(http.META.get("QUERY_STRING", ""))
        if posted:
            form = _form(http)
            formats.negotiate(http, form=dict(form).get("_format", ""))
            given = given + form
        request.query = search.parse(resource, given, base=request.base, strict=request.prefer.strict)
    if interaction.body == "json" and http.method not in ("GET", "HEAD"):
        _read_body(request, interaction, resource.type)
    if interaction is resource.create and "If-None-Exist" in http.headers:
        return _create_if_none_exists(request, resource)
    return interaction.handler(request)


def _create_if_none_exists(request: FhirRequest, resource: Resource) -> Answer:
    """Conditional create: what matches the criteria already is named instead, and nothing is stored.

    What the caller may not see does not match. Equal creates at once end in one resource.

    Raises:
        InvalidSearch: no criteria, or one that is not understood. MultipleMatches: several match.
    """
    assert resource.create is not None
    header = "If-None-Exist"
    if resource.search is None:
        raise InvalidSearch(f"{resource.type} cannot be searched, so not created conditionally", element=header)
    _need_scope(request.http, request.caller, resource.type, resource.search)
    given = search.pairs(request.http.headers[header].strip().rpartition("?")[2])
    query = search.parse(resource, given, base=request.base, strict=True)
    if not query.criteria:
        raise InvalidSearch("criteria are needed", element=header)
    query = replace(query, count=2, page="", summary="false", elements=())
    with find.one_at_a_time(f"{resource.type}?{query.query_string}"):
        # Not the instant of the request: what came while it waited is there, also by a host whose clock is ahead.
        now = datetime.now(UTC) + _CLOCKS_APART
        looking = replace(request, query=query, body=None, raw=b"", now=now)
        found = resource.search.handler(looking).resource or {}
        if found.get("total", 0) > 1:
            raise MultipleMatches("several resources match", element=header)
        matches = [e["resource"] for e in found.get("entry", ()) if e["search"]["mode"] == "match"]
        if not matches:
            return resource.create.handler(request)
    version = str(matches[0].get("meta", {}).get("versionId", "1"))
    location = f"{resource.type}/{matches[0]['id']}"
    return stored(request, matches[0], status=200, location=location, version=version)


def _route(http: HttpRequest, resource: Resource, parts: list[str], request: FhirRequest) -> tuple[Interaction, bool]:
    """The interaction of a path below a resource type, and whether its parameters are a search.

    Raises:
        NotFound: no such path. MethodNotAllowed: the path is there, the method is not.
    """
    method = http.method or ""
    reading = method in ("GET", "HEAD")
    offered: dict[str, Interaction | None]
    if not parts:
        conditional = bool(http.META.get("QUERY_STRING"))
        offered = {
            "GET": resource.search,
            "HEAD": resource.search,
            "POST": resource.create,
            "PUT": resource.conditional_update,
            "DELETE": resource.conditional_delete,
        }
        found = _pick(offered, method)
        return found, reading or (conditional and method in ("PUT", "DELETE"))
    if parts == ["_search"]:
        return _pick({"POST": resource.search}, method), True
    if parts[0].startswith("$") and len(parts) == 1:
        return _operation(resource, parts[0][1:], method, on_instance=False), False
    request.id = parts[0]
    if not fhir.ID.match(request.id):
        raise NotFound("no such resource")
    if len(parts) == 1:
        offered = {
            "GET": resource.read,
            "HEAD": resource.read,
            "PUT": resource.update,
            "DELETE": resource.delete,
        }
        return _pick(offered, method), False
    if len(parts) == 2 and parts[1].startswith("$"):
        return _operation(resource, parts[1][1:], method, on_instance=True), False
    if parts[1:] == ["_history"] and resource.history is not None:
        return _pick({"GET": resource.history, "HEAD": resource.history}, method), False
    if len(parts) == 3 and parts[1] == "_history" and resource.vread is not None:
        request.version = parts[2]
        return _pick({"GET": resource.vread, "HEAD": resource.vread}, method), False
    raise NotFound("no such resource")


def _pick(offered: Mapping[str, Interaction | None], method: str) -> Interaction:
    found = offered.get(method)
    if found is None:
        allow = tuple(name for name, interaction in offered.items() if interaction is not None)
        raise MethodNotAllowed("this interaction is not offered here", allow=allow)
    return found


def _operation(resource: Resource, name: str, method: str, *, on_instance: bool) -> Interaction:
    found: OperationDefinition | None = next(
        (op for op in resource.operations if op.name == name and (op.on_instance if on_instance else op.on_type)), None
    )
    if found is None:
        raise NotFound("no such operation")
    if method not in found.methods and not (method == "HEAD" and "GET" in found.methods):
        raise MethodNotAllowed("the operation is not offered with this method", allow=found.methods)
    return found.interaction


def _need_scope(http: HttpRequest, caller: Caller, resource_type: str, interaction: Interaction) -> None:
    """Refuse, and record, what the token's scopes do not cover."""
    if interaction.verb and scopes.allows(caller.scopes, resource_type, interaction.verb):
        return
    if any(scopes.allows_transaction(caller.scopes, name) for name in interaction.transactions):
        return
    asked = f"{resource_type}.{interaction.verb}" if interaction.verb else ", ".join(interaction.transactions)
    with recorder.recording(EventType.ACCESS_REFUSED, caller, query=f"{http.method} {http.get_full_path()}"):
        raise ScopeMissing(f"the token's scopes do not cover {asked}")


def _prefer(http: HttpRequest) -> Prefer:
    value = http.headers.get("Prefer", "")
    returns, strict = "", False
    for part in re.split(r"[;,]", value):
        name, _, setting = (piece.strip() for piece in part.partition("="))
        if name.lower() == "return" and setting.strip('"') in ("minimal", "representation", "OperationOutcome"):
            returns = setting.strip('"')
        elif name.lower() == "handling":
            strict = setting.strip('"') == "strict"
    return Prefer(returns=returns, strict=strict)


# --- reading ----------------------------------------------------------------------------------------------------------


def _form(http: HttpRequest) -> list[tuple[str, str]]:
    content_type = http.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type not in ("application/x-www-form-urlencoded", ""):
        raise UnsupportedBody("_search takes application/x-www-form-urlencoded")
    return search.pairs(read_bounded(http, MAX_FORM))


def _read_body(request: FhirRequest, interaction: Interaction, resource_type: str) -> None:
    http = request.http
    request.format = formats.of_body(http.headers.get("Content-Type", ""))
    raw = read_bounded(http, interaction.max_body or max_body())
    if not raw:
        raise FhirSyntax("the body is empty")
    body = formats.read(raw, request.format)
    kind = body.get("resourceType")
    operation = interaction.lenient
    if not operation and kind != resource_type:
        raise FhirSyntax(f"a {resource_type} is expected here", element="resourceType")
    request.raw, request.body = raw, body
    if not operation:
        problems = request.problems()
        if problems:
            raise InvalidResource(problems)


def holds(http: HttpRequest, etag: str) -> bool:
    """Whether ``If-None-Match`` says that the client has this state already (weak comparison; ``*``: any)."""
    given = http.headers.get("If-None-Match", "")
    bare = etag.removeprefix("W/")
    return any(item.strip().removeprefix("W/") in (bare, "*") for item in given.split(",")) if given else False


def read_bounded(http: HttpRequest, limit: int) -> bytes:
    """The whole body, unpacked when it came as gzip, never more than `limit` bytes of it.

    Raises:
        BodyTooLarge: more than `limit`. UnsupportedBody: another Content-Encoding. FhirSyntax: broken gzip.
    """
    encoding = http.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise UnsupportedBody("of content encodings only gzip is taken")
    packed = encoding in ("gzip", "x-gzip")
    length = http.META.get("CONTENT_LENGTH") or ""
    if not packed and length.isdigit() and int(length) > limit:
        raise BodyTooLarge(f"at most {limit} bytes are taken here")
    unpacker = zlib.decompressobj(wbits=31) if packed else None
    parts: list[bytes] = []
    total = received = 0
    while chunk := http.read(65536):
        received += len(chunk)
        if received > limit:
            raise BodyTooLarge(f"at most {limit} bytes are taken here")
        if unpacker is not None:
            if unpacker.eof:
                raise FhirSyntax("something follows the gzip body")
            try:
                chunk = unpacker.decompress(chunk, limit - total + 1)
            except zlib.error as error:
                raise FhirSyntax("the body is not gzip") from error
        total += len(chunk)
        if total > limit:
            raise BodyTooLarge(f"at most {limit} bytes are taken here")
        parts.append(chunk)
    if unpacker is not None and unpacker.unused_data:
        raise FhirSyntax("something follows the gzip body")
    if unpacker is not None and not unpacker.eof:
        raise FhirSyntax("the gzip body broke off")
    return b"".join(parts)


# --- answering --------------------------------------------------------------------------------------------------------


def _response(http: HttpRequest, answer: Answer) -> HttpResponseBase:
    response: HttpResponseBase
    if answer.stream is not None and http.method != "HEAD":
        response = StreamingHttpResponse(answer.stream, status=answer.status, content_type=answer.content_type)
    else:
        wanted = Format.JSON if answer.content_type else formats.settled(http)
        body = formats.write(answer.resource, wanted) if answer.resource is not None else b""
        response = _packed(http, body, answer, answer.content_type or wanted.content_type)
    for name, value in answer.headers.items():
        response.headers[name] = value
    return response


def _packed(http: HttpRequest, body: bytes, answer: Answer, content_type: str) -> HttpResponse:
    if len(body) >= _GZIP_FROM and "gzip" in http.headers.get("Accept-Encoding", "").lower() and answer.compress:
        response = HttpResponse(gzip.compress(body, compresslevel=1), status=answer.status, content_type=content_type)
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = HttpResponse(body, status=answer.status, content_type=content_type)
    if body:
        response.headers["Vary"] = "Accept, Accept-Encoding"
    else:
        del response.headers["Content-Type"]
        if answer.stream is not None:
            response.headers["Content-Type"] = content_type
    return response


def _told(http: HttpRequest, issues: Iterable[Issue], status: int) -> HttpResponse:
    wanted = formats.settled(http)
    body = formats.write(outcome.outcome(issues), wanted)
    return HttpResponse(body, status=status, content_type=wanted.content_type)


ElementPath = Callable[[HubError], str]


def _challenge(given: str) -> str:
    """The challenge of a 401: always with the realm, and with an error where a token came."""
    _, _, parameters = given.partition(" ")
    realm = f'Bearer realm="{settings.BASE_URL}"'
    return realm if not parameters else given if "realm=" in parameters else f"{realm}, {parameters}"


def _refusal(http: HttpRequest, error: HubError, cause: BaseException | None = None) -> HttpResponse:
    path: ElementPath | None = getattr(error, "fhir_path", None)
    issues: Iterable[Issue] = outcome.issues_of(error, path)
    status = outcome.status_of(error)
    response = _told(http, issues, status)
    if status == 401:
        challenge: Any = getattr(error, "www_authenticate", None)
        response.headers["WWW-Authenticate"] = _challenge(str(challenge or ""))
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.allow)
    retry: Any = getattr(error, "retry_after_s", None)
    if retry is not None:
        response.headers["Retry-After"] = str(max(1, round(float(retry))))
    size: Any = getattr(error, "size", None)
    if status == 416 and size is not None:
        response.headers["Content-Range"] = f"bytes */{size}"
    return response
