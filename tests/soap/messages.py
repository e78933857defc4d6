"""Messages for the SOAP face, of which a test breaks one thing; and answers taken apart."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable
from typing import Any

from lxml import etree

from hie.faces.soap import mtom
from hie.faces.soap.ebxml import names
from hie.faces.soap.faults import SOAP, SOAP_11, WSA, WSSE
from hie.standards import mime
from tests.soap import echo

PLAIN = "application/soap+xml; charset=UTF-8"
NS = {"s": SOAP, "e": SOAP_11, "wsa": WSA, "wsse": WSSE, "xds": names.XDS, "rs": names.RS, "rim": names.RIM}

STORED_QUERY = """<query:AdhocQueryRequest xmlns:query="urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"
 xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"><query:ResponseOption returnType="ObjectRef" returnComposedObjects="true"/>
 <rim:AdhocQuery id="urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d"/></query:AdhocQueryRequest>"""


def provide(*documents: str) -> str:
    """A ProvideAndRegisterDocumentSetRequest without objects; each document's content is XML or base64 text."""
    inside = "".join(f'<xds:Document id="d{n}">{content}</xds:Document>' for n, content in enumerate(documents))
    return (
        '<xds:ProvideAndRegisterDocumentSetRequest xmlns:xds="urn:ihe:iti:xds-b:2007"'
        ' xmlns:lcm="urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0" xmlns:rim="urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0">'
        "<lcm:SubmitObjectsRequest><rim:RegistryObjectList/></lcm:SubmitObjectsRequest>"
        f"{inside}</xds:ProvideAndRegisterDocumentSetRequest>"
    )


def include(content_id: str) -> str:
    return f'<xop:Include xmlns:xop="{names.XOP}" href="cid:{content_id}"/>'


def inline(data: bytes) -> str:
    return base64.b64encode(data).decode()


def retrieve(*unique_ids: str) -> str:
    asked = "".join(
        "<xds:DocumentRequest><xds:RepositoryUniqueId>2.999.1.2</xds:RepositoryUniqueId>"
        f"<xds:DocumentUniqueId>{unique_id}</xds:DocumentUniqueId></xds:DocumentRequest>"
        for unique_id in unique_ids
    )
    return (
        f'<xds:RetrieveDocumentSetRequest xmlns:xds="urn:ihe:iti:xds-b:2007">{asked}</xds:RetrieveDocumentSetRequest>'
    )


def envelope(
    body: str = STORED_QUERY,
    action: str | None = echo.STORED_QUERY,
    *,
    message_id: str | None = "urn:uuid:11111111-2222-4333-8444-555555555555",
    to: str | None = "https://hub.example/xds/registry",
    more: str = "",
    namespace: str = SOAP,
    head: str = "",
    must: str = "1",
) -> bytes:
    """An envelope; None leaves a header out, `more` adds some."""
    headers = [
        f'<wsa:Action s:mustUnderstand="{must}">{action}</wsa:Action>' if action is not None else "",
        f"<wsa:MessageID>{message_id}</wsa:MessageID>" if message_id is not None else "",
        f"<wsa:To>{to}</wsa:To>" if to is not None else "",
        more,
    ]
    return (
        f'{head}<s:Envelope xmlns:s="{namespace}" xmlns:wsa="{WSA}" xmlns:wsse="{WSSE}">'
        f"<s:Header>{''.join(headers)}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def package(
    root: bytes,
    *parts: tuple[dict[str, str], bytes],
    boundary: str = "",
    newline: bytes = b"\r\n",
    root_at: int = 0,
    root_id: str = "<root@test>",
    content_type: str = "",
) -> tuple[bytes, str]:
    """A multipart/related body and its Content-Type; parts are headers and bytes as they stand on the line."""
    boundary = boundary or f"=_{uuid.uuid4().hex}"
    own = {"Content-Type": 'application/xop+xml; charset=UTF-8; type="application/soap+xml"'}
    own |= {"Content-Transfer-Encoding": "binary"} | ({"Content-ID": root_id} if root_id else {})
    whole = list(parts)
    whole.insert(root_at, (own, root))
    data = b""
    for headers, content in whole:
        data += b"--" + boundary.encode() + newline
        data += b"".join(f"{name}: {value}".encode() + newline for name, value in headers.items())
        data += newline + content + newline
    data += b"--" + boundary.encode() + b"--" + newline
    said = content_type or (
        f'multipart/related; type="application/xop+xml"; start="{root_id}"; start-info="application/soap+xml"; '
        f'boundary="{boundary}"'
    )
    return data, said.replace("BOUNDARY", boundary)


def part(
    content_id: str, data: bytes, content_type: str = "text/plain", **headers: str
) -> tuple[dict[str, str], bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"Content-Type": content_type, "Content-ID": f"<{content_id}>"} | named, data


def opened(data: bytes, content_type: str) -> tuple[Any, dict[str, bytes]]:
    """Envelope and parts of an answer, by content id."""
    media = mime.parse(content_type)
    assert media is not None
    if media.essence != "multipart/related":
        return etree.fromstring(data), {}
    source = iter([data])
    found = [
        (p.content_id, b"".join(p.chunks))
        for p in mtom.Package(lambda _: next(source, b""), media.parameters["boundary"]).parts()
    ]
    assert f"<{found[0][0]}>" == media.parameters["start"]
    return etree.fromstring(found[0][1]), dict(found[1:])


def text(root: Any, path: str) -> str:
    found: Iterable[Any] = root.xpath(path, namespaces=NS)
    return " ".join(str(one) if isinstance(one, str) else str(one.xpath("string()")) for one in found).strip()


def code(root: Any) -> str:
    """Codes of a fault from the outer to the inner, such as ``soap:Sender/wsa:ActionNotSupported``."""
    return "/".join(value.text for value in root.iterfind(".//s:Fault/s:Code//s:Value", NS))
