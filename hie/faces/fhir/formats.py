"""JSON and XML: which one a client sends, which one it wants, and a resource from and to its bytes.

Source: spec/fhir.md 1.1; FHIR R4 http.html "Content Types and encodings".
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

from django.http import HttpRequest

from hie.faces.fhir.errors import InvalidResource, NotAcceptable, UnsupportedBody
from hie.standards import fhir, fhir_xml
from hie.standards.errors import MalformedContent
from hie.standards.fhir import JsonObject


class Format(Enum):
    """A serialization, by the media type that names it."""

    JSON = "application/fhir+json"
    XML = "application/fhir+xml"

    @property
    def content_type(self) -> str:
        """What an answer in it is called."""
        return f"{self.value}; charset=utf-8"


_NAMES = {
    **dict.fromkeys(("application/fhir+json", "application/json", "text/json", "json"), Format.JSON),
    **dict.fromkeys(("application/fhir+xml", "application/xml", "text/xml", "xml"), Format.XML),
}
_EITHER = frozenset({"*/*", "application/*", "text/*", "*"})
_VERSIONS = ("4.0", "4.0.1")
_NOT_PRODUCED = "application/fhir+json and application/fhir+xml of FHIR 4.0 are produced here"


# --- what the client wants --------------------------------------------------------------------------------------------


def negotiate(http: HttpRequest, *, form: str = "") -> None:
    """Settle the format of the answer: ``_format`` (of the URL, else `form`, that of a posted search), then Accept.

    Raises:
        NotAcceptable: nothing that can be produced is accepted. That refusal is in JSON.
    """
    settle(http, Format.JSON)
    asked = in_url(http) or form
    if asked:
        # A "+" of the media type arrives as a blank where the client did not encode it.
        found = _preferred(asked.replace(" ", "+"))
        if found is None:
            raise NotAcceptable(_NOT_PRODUCED, element="_format")
    else:
        found = _preferred(http.headers.get("Accept", "") or "*/*")
        if found is None:
            raise NotAcceptable(_NOT_PRODUCED)
    settle(http, found)


def named(accept: str) -> Format | None:
    """The format that is asked for by FHIR's own media type, the first of several; None where none is."""
    wanted = [
        (part.partition(";")[0].strip().lower(), dict(_parameters(part.partition(";")[2])))
        for part in accept.split(",")
    ]
    return next(
        (one for name, given in wanted for one in Format if name == one.value and _quality(given.get("q", "1"))), None
    )


def in_url(http: HttpRequest) -> str:
    """The ``_format`` of the query string, "" where there is none."""
    query = http.META.get("QUERY_STRING", "")
    return dict(parse_qsl(query)).get("_format", "") if "_format" in query else ""


def settle(http: HttpRequest, chosen: Format) -> None:
    """From here on the request is answered in this format."""
    http.fhir_format = chosen  # type: ignore[attr-defined]  # carried with the request, as Django's own are


def settled(http: HttpRequest) -> Format:
    """The format of the answer; of a request that was refused before it was settled, the one it would have had."""
    found: Format | None = getattr(http, "fhir_format", None)
    if found is None:
        asked = in_url(http).replace(" ", "+") or http.headers.get("Accept", "")
        found = _preferred(asked) or Format.JSON
    return found


def _preferred(accept: str) -> Format | None:
    """The format of the highest quality, of equals the one that is named (first); JSON where either will do."""
    named: dict[Format, float] = {}
    either = 0.0
    for part in accept.split(","):
        name, _, rest = part.partition(";")
        given = dict(_parameters(rest))
        if given.get("fhirversion", "4.0") not in _VERSIONS:
            continue
        quality, name = _quality(given.get("q", "1")), name.strip().lower()
        if name in _EITHER:
            either = max(either, quality)
        elif name in _NAMES:
            named[_NAMES[name]] = max(quality, named.get(_NAMES[name], 0.0))
    wanted = {**named, **{one: either for one in Format if one not in named}}
    best = max(wanted, key=lambda one: wanted[one])  # the named come first, and of these the first named
    return best if wanted[best] > 0 else None


def _quality(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(";"):
        name, _, value = part.strip().partition("=")
        if name:
            yield name.lower(), value.strip('" ')


# --- what the client sends --------------------------------------------------------------------------------------------


def of_body(content_type: str) -> Format:
    """The format that a body is said to be in.

    Raises:
        UnsupportedBody: neither, or of another version or encoding.
    """
    name, _, parameters = content_type.partition(";")
    found = _NAMES.get(name.strip().lower())
    if found is None:
        raise UnsupportedBody("the body is taken as application/fhir+json or application/fhir+xml")
    given = dict(_parameters(parameters))
    if given.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedBody("the body is taken in UTF-8")
    if given.get("fhirversion", "4.0") not in _VERSIONS:
        raise UnsupportedBody("the body is taken as FHIR 4.0")
    return found


def read(raw: bytes, given: Format) -> JsonObject:
    """The resource of a body.

    Raises:
        MalformedContent: not of this format. InvalidResource: XML that is not FHIR's, with every place of it.
    """
    if given is Format.JSON:
        return fhir.loads(raw)
    try:
        parsed = fhir_xml.loads(raw)
    except MalformedContent as error:
        raise MalformedContent(str(error)) from None  # line and column are in the words, and no path of an element
    if parsed.problems:
        raise InvalidResource(parsed.problems)
    return parsed.resource


def write(resource: Any, wanted: Format) -> bytes:
    """A resource in its bytes."""
    return fhir.dumps(resource) if wanted is Format.JSON else fhir_xml.dumps(resource)
