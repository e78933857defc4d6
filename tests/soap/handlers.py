"""The handlers of the SOAP face called as the wire calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lxml import etree

from hie.exchange import submit
from hie.faces.soap import transactions
from hie.faces.soap.message import Answer, Part, Request
from hie.standards.facts import Caller
from tests.soap import rim

_ALL = {**transactions.REGISTRY, **transactions.REPOSITORY}


def call(
    action: str, body: etree._Element, caller: Caller, parts: Mapping[str, bytes] | None = None, **changes: Any
) -> Answer:
    """The answer to a body with these parts, after the wire has received them."""
    received = {}
    for content_id, data in (parts or {}).items():
        staged = submit.stage(data, "application/octet-stream", caller)
        received[content_id] = Part(
            content_id=content_id, content_type="application/octet-stream", size=staged.size, sha1=staged.sha1, staged=staged
        )  # fmt: skip

    def stage(chunks: Iterable[bytes], content_type: str) -> submit.Staged:
        return submit.stage(chunks, content_type, caller)

    values: dict[str, Any] = {
        "action": action,
        "message_id": "urn:uuid:1",
        "to": "https://hub.example/xds",
        "body": body,
        "parts": received,
        "caller": caller,
        "stage": stage,
    }
    found = _ALL[action]
    assert body.tag == found.request_root.text
    return found.handler(Request(**values | changes))


def errors(answer: Answer) -> list[tuple[str, str]]:
    """Code and context of each error."""
    return [(e.get("errorCode", ""), e.get("codeContext", "")) for e in answer.body.iter("{*}RegistryError")]


def status(answer: Answer) -> str:
    """The last word of the status."""
    rim.check_schema(answer.body) if not answer.attachments else None
    found = next(e.get("status", "") for e in answer.body.iter() if "ResponseStatusType" in e.get("status", ""))
    return found.rpartition(":")[2]
