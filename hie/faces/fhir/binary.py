"""Binary: Retrieve Document [ITI-68], and documents of any size and type sent as they are.

Source: spec/fhir.md 3.4, trap 13; RFC 9110 section 14 (ranges).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from django.conf import settings

from hie.exchange import retrieve as exchange
from hie.exchange import submit
from hie.exchange.retrieve import Retrieved, Wanted
from hie.faces.fhir import formats, http
from hie.faces.fhir.errors import (
    BodyTooLarge,
    FhirSyntax,
    InvalidResource,
    NotAcceptable,
    NotFound,
    UnsupportedBody,
)
from hie.faces.fhir.formats import Format
from hie.faces.fhir.http import Answer, FhirRequest
from hie.faces.fhir.resources import Interaction, Resource
from hie.standards import fhir, fhir_xml, xml
from hie.standards.fhir import JsonObject

_FHIR = frozenset(one.value for one in Format)
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$", re.ASCII)
_MEDIA_TYPE = re.compile(r"^[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(\s*;.*)?$", re.ASCII)
_CHUNK = 1 << 20
MAX_SIZE = 4 << 30
RESOURCE_LIMIT = 64 << 20
"""Bytes of a document that are still given as a Binary resource: it stands whole in memory, in base64."""


def read(request: FhirRequest) -> Answer:
    """Retrieve Document [ITI-68]: the document's bytes; the Binary resource where ``_format`` or Accept names FHIR."""
    if request.version not in ("", "1"):
        raise NotFound("a Binary has one version only")
    head = request.http.method == "HEAD"
    first, last = _range(request.http.headers.get("Range", ""))
    if "If-Range" in request.http.headers:
        # Whether it has changed since (one made on demand may have) is not asked: the whole is right in any case.
        first, last = None, None
    wanted = Wanted(
        binary_id=request.id,
        first=first,
        last=last,
        head=head,
        kept=bool(request.version),
        raw=request.http.get_full_path(),
    )
    found = exchange.retrieve(wanted, caller=request.caller)
    try:
        return _answer(request, found)
    except BaseException:
        _close(found.chunks)
        raise


def _answer(request: FhirRequest, found: Retrieved) -> Answer:
    bare_type = found.content_type.partition(";")[0].strip().lower()
    accept = request.http.headers.get("Accept", "")
    if formats.in_url(request.http):
        formats.negotiate(request.http)
        as_resource = True
    else:
        wanted = _wants_resource(accept, bare_type)
        as_resource = wanted is not None
        formats.settle(request.http, wanted or Format.JSON)
        if not as_resource and not _accepts(accept, bare_type):
            raise NotAcceptable(f"the document is {bare_type}")
    headers = {"ETag": f'"{found.sha1}"'} if found.sha1 else {}
    headers["Content-Disposition"] = f'attachment; filename="{found.binary_id}"'
    # A document is shown to nobody's browser as a page of this hub.
    headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    if found.sha1 and http.holds(request.http, f'"{found.sha1}"'):
        _close(found.chunks)
        return Answer(status=304, headers=headers)
    if as_resource:
        return _as_resource(found)
    headers["Accept-Ranges"] = "bytes" if found.size is not None else "none"
    status = 200
    if found.size is not None:
        headers["Content-Length"] = str(found.last - found.first + 1)
        if found.partial:
            status = 206
            headers["Content-Range"] = f"bytes {found.first}-{found.last}/{found.size}"
    return Answer(status=status, stream=found.chunks, content_type=found.content_type, headers=headers)


def _as_resource(found: Retrieved) -> Answer:
    if found.size is None or found.size > RESOURCE_LIMIT:
        _close(found.chunks)
        raise NotAcceptable("the document is too large for a Binary resource; ask for its own type")
    resource: JsonObject = {
        "resourceType": "Binary",
        "id": found.binary_id,
        "contentType": found.content_type,
        "data": base64.b64encode(b"".join(found.chunks)).decode(),
    }
    if not resource["data"]:
        del resource["data"]
    return Answer(resource=resource, compress=False)


def _close(chunks: Iterator[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _range(text: str) -> tuple[int | None, int | None]:
    """First and last byte asked for; several ranges or another unit are ignored, as HTTP allows."""
    found = _RANGE.match(text.strip())
    if not found or (not found[1] and not found[2]):
        return None, None
    first = _position(found[1]) if found[1] else None
    last = _position(found[2]) if found[2] else None
    if first is not None and last is not None and last < first:
        return None, None
    return first, last


def _position(digits: str) -> int:
    """A byte position; one of more digits than any document has bytes is just behind every end."""
    return int(digits) if len(digits) <= 18 else 10**18


def _names(accept: str) -> list[tuple[str, float]]:
    names = []
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        if name:
            names.append((name, quality))
    return names


def _wants_resource(accept: str, content_type: str) -> Format | None:
    """FHIR's own types name the resource, unless the document itself is of that type."""
    names = [name for name, quality in _names(accept) if quality > 0]
    wanted = formats.named(accept)
    return None if wanted is None or content_type in names else wanted


def _accepts(accept: str, content_type: str) -> bool:
    if not accept.strip():
        return True
    family = content_type.partition("/")[0] + "/*"
    qualities = dict(_names(accept))
    for name in (content_type, family, "*/*"):
        if name in qualities:
            return qualities[name] > 0
    return False


# --- in ---------------------------------------------------------------------------------------------------------------


def create(request: FhirRequest) -> Answer:
    """Take a document: raw bytes of any type are streamed; a Binary resource (as ``application/fhir+…``) is unpacked.

    Its address is then named by a DocumentReference; until then only its sender can read it, for a day.
    """
    content_type = request.http.headers.get("Content-Type", "").strip()
    name = content_type.partition(";")[0].strip().lower()
    if not _MEDIA_TYPE.match(content_type):
        raise UnsupportedBody("Content-Type names the type of the document")
    encoding = request.http.headers.get("Content-Encoding", "identity").strip().lower()
    if name in _FHIR:
        content_type, data = _unpacked(content_type, http.read_bounded(request.http, http.max_body()))
        staged = submit.stage(data, content_type, caller=request.caller)
    elif encoding in ("", "identity"):
        staged = submit.stage(_Body(request), content_type, caller=request.caller)
    else:
        raise UnsupportedBody("documents are taken without Content-Encoding")
    location = f"Binary/{staged.id}"
    stored: JsonObject = {"resourceType": "Binary", "id": staged.id, "contentType": content_type}
    answer = http.stored(request, stored, status=201, location=location)
    answer.headers["ETag"] = f'"{staged.sha1}"'
    return answer


def _unpacked(content_type: str, raw: bytes) -> tuple[str, bytes]:
    """Type and bytes of what came as FHIR: those inside a Binary, else the resource itself is the document."""
    given = formats.of_body(content_type)
    if given is Format.XML and xml.root_name(raw) != f"{{{fhir_xml.FHIR}}}Binary":
        xml.parse(raw)
        return content_type, raw
    body = formats.read(raw, given)
    if body.get("resourceType") != "Binary":
        return content_type, raw
    problems = fhir.check(body)
    if problems:
        raise InvalidResource(problems)
    try:
        return str(body["contentType"]), decode_data(body.get("data", ""))
    except ValueError as error:
        raise FhirSyntax("data is not base64", element="Binary.data") from error


def decode_data(text: str) -> bytes:
    """The bytes of a base64Binary; FHIR allows white space in it.

    Raises:
        ValueError: not base64.
    """
    return base64.b64decode("".join(text.split()), validate=True)


class _Body:
    """The request's body as a stream that knows its limit and notices when it breaks off."""

    def __init__(self, request: FhirRequest) -> None:
        self._http = request.http
        self._left = int(getattr(settings, "DOCUMENT_MAX_SIZE", MAX_SIZE))
        length = request.http.META.get("CONTENT_LENGTH") or ""
        self._announced = int(length) if length.isdigit() else None
        self._seen = 0
        if self._announced is not None and self._announced > self._left:
            raise BodyTooLarge(f"at most {self._left} bytes are taken here")

    def read(self, size: int = _CHUNK, /) -> bytes:
        """At most `size` bytes; b"" at the end."""
        chunk: bytes = self._http.read(min(size if size > 0 else _CHUNK, _CHUNK))
        self._seen += len(chunk)
        if self._seen > self._left:
            raise BodyTooLarge(f"at most {self._left} bytes are taken here")
        if not chunk and self._announced is not None and self._seen < self._announced:
            raise FhirSyntax("the body broke off")
        return chunk


RESOURCE = Resource(
    type="Binary",
    profile="http://hl7.org/fhir/StructureDefinition/Binary",
    read=Interaction(
        handler=read,
        verb="r",
        transactions=("ITI-68",),
        negotiates=True,
        documentation="Retrieve Document [ITI-68]: the bytes, with Range and ETag",
    ),
    vread=Interaction(
        handler=read,
        verb="r",
        transactions=("ITI-68",),
        negotiates=True,
        documentation="the one version there is of a document that is kept; one made on demand has no versions",
    ),
    create=Interaction(
        handler=create,
        verb="c",
        transactions=("ITI-65",),
        body="raw",
        negotiates=True,
        documentation="raw bytes of any content type and size, or a Binary resource",
    ),
    documentation="a document's bytes; readable only through a DocumentReference that may be seen",
)
