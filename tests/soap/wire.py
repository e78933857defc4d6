"""The transactions themselves asked over the wire: envelopes and packages on the test client, by a bearer token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from lxml import etree

from hie.faces.soap import transactions
from hie.faces.soap.ebxml import names
from tests.soap import messages, nist
from tests.soap.conftest import Answered, Caller

# As they stand before a test puts the small ones in their place.
_REGISTRY, _REPOSITORY = transactions.REGISTRY, transactions.REPOSITORY


def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the transactions of the hub answer."""
    monkeypatch.setattr(transactions, "REGISTRY", _REGISTRY)
    monkeypatch.setattr(transactions, "REPOSITORY", _REPOSITORY)


def message(action: str, body: etree._Element, documents: Mapping[str, bytes], *, more: str = "") -> tuple[bytes, str]:
    """A request and its Content-Type; the documents, by the id of their entry, are the parts of a package.

    `more` are further header blocks.
    """
    text = etree.tostring(body, encoding="unicode")
    parts = []
    for number, (object_id, data) in enumerate(documents.items()):
        content = messages.include(f"part%20{number}@test")
        document = f'<xds:Document xmlns:xds="{names.XDS}" id="{object_id}">{content}</xds:Document>'
        text = text.replace("</xds:ProvideAndRegister", f"{document}</xds:ProvideAndRegister")
        parts.append(messages.part(f"part {number}@test", data, "application/octet-stream"))
    root = messages.envelope(text, action, more=more)
    return messages.package(root, *parts) if action in _REPOSITORY else (root, messages.PLAIN)


def asked(
    caller: Caller,
    action: str,
    body: etree._Element,
    documents: Mapping[str, bytes] | None = None,
    *,
    more: str = "",
) -> Answered:
    """The answer to one request."""
    data, content_type = message(action, body, documents or {}, more=more)
    return caller.post("/xds/repository" if action in _REPOSITORY else "/xds/registry", data, content_type)


def retrieved(answer: Answered) -> dict[str, bytes]:
    """The documents of an answer by uniqueId, each as its xop:Include names it."""
    found = {}
    for response in answer.root.iter(names.tag(names.XDS, "DocumentResponse")):
        (include,) = response.iter(names.tag(names.XOP, "Include"))
        unique_id = response.findtext(names.tag(names.XDS, "DocumentUniqueId"), "")
        found[unique_id] = answer.parts[include.get("href", "").removeprefix("cid:")]
    return found


def sender(caller: Caller, security: Callable[[], str] = str) -> Any:
    """What sends for `tests.soap.nist`; `security` gives a header block for each message."""

    def send(
        action: str, body: etree._Element, documents: Mapping[str, bytes]
    ) -> tuple[etree._Element, Mapping[str, bytes]]:
        answer = asked(caller, action, body, documents, more=security())
        if answer.status != 200:
            raise nist.Faulted(answer.reason)
        return answer.root.find("s:Body", messages.NS)[0], retrieved(answer)

    return send
