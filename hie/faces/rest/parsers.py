"""The one way JSON comes in on `/api/`: bounded, in UTF-8, each member once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.core.exceptions import RequestDataTooBig
from django.http.request import HttpRequest, UnreadablePostError
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

from hie.standards import fhir

MAX_BODY = 1 << 20
"""Bytes of a body; nothing asked for here needs more."""


class TooLong(APIException):
    """The body is longer than anything that is asked for here."""

    status_code = 413
    default_code = "too-long"
    default_detail = f"at most {MAX_BODY} bytes are taken here"


def raw_of(request: HttpRequest) -> bytes:
    """The body as it was sent.

    Raises:
        TooLong: more than the framework holds in memory. ParseError: it broke off.
    """
    try:
        return request.body
    except RequestDataTooBig as error:
        raise TooLong from error
    except UnreadablePostError as error:
        raise ParseError from error


class BoundedJsonParser(BaseParser):
    """JSON as an object; what cannot be read without guessing is refused, never half understood."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The object of a body; no body is an empty object.

        Raises:
            TooLong: more than `MAX_BODY` bytes. ParseError: the body broke off.
            MalformedContent: not one JSON object in UTF-8, a member twice, nested too deeply.
        """
        try:
            raw = stream.read(MAX_BODY + 1)
        except UnreadablePostError as error:
            raise ParseError from error
        if len(raw) > MAX_BODY:
            raise TooLong
        return fhir.loads(raw) if raw.strip() else {}
