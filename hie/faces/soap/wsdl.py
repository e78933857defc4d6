"""The WSDL of each address, made from the transactions it answers, and the schemas it imports.

Source: WSDL 1.1 and its binding for SOAP 1.2; WS-Addressing 1.0 Metadata; ITI TF-2 Appendix W.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings
from lxml import etree

from hie.faces.soap import actions
from hie.faces.soap.ebxml import names
from hie.faces.soap.hl7v3.names import HL7
from hie.faces.soap.transactions import Transaction
from hie.standards import xds_schema

WSDL = "http://schemas.xmlsoap.org/wsdl/"
SOAP12 = "http://schemas.xmlsoap.org/wsdl/soap12/"
WSAM = "http://www.w3.org/2007/05/addressing/metadata"
XSD = "http://www.w3.org/2001/XMLSchema"
PIXV3 = "urn:ihe:iti:pixv3:2007"
_PREFIXES: dict[str | None, str] = {
    "rim": names.RIM,
    "rs": names.RS,
    "lcm": names.LCM,
    "query": names.QUERY,
    "xds": names.XDS,
    "rmd": names.RMD,
    "hl7": HL7,
}
_PREFIX_OF = {namespace: prefix for prefix, namespace in _PREFIXES.items()}
_FILES = frozenset(str(path.relative_to(xds_schema.FOLDER).as_posix()) for path in xds_schema.FOLDER.rglob("*.xsd"))


def schema(path: str) -> bytes | None:
    """A schema file by its path below ``/xds/schema/``, or None."""
    return (xds_schema.FOLDER / path).read_bytes() if path in _FILES else None


def document(name: str, url: str, offered: Mapping[str, Transaction]) -> bytes:
    """The WSDL of the service `name` at `url`: one operation for each transaction whose form the schemas know.

    Messages of HL7 V3 are named without their form, as in the WSDLs of IHE.
    """
    known = {
        action: one
        for action, one in offered.items()
        if etree.QName(one.request_root).namespace in {HL7, *xds_schema.NAMESPACES}
    }
    own = PIXV3 if any(etree.QName(one.request_root).namespace == HL7 for one in known.values()) else names.XDS
    nsmap: dict[str | None, str] = {None: WSDL, "soap12": SOAP12, "wsam": WSAM, "xsd": XSD, "tns": own}
    root = etree.Element(f"{{{WSDL}}}definitions", nsmap=nsmap | _PREFIXES, name=name, targetNamespace=own)
    types = etree.SubElement(etree.SubElement(root, f"{{{WSDL}}}types"), f"{{{XSD}}}schema")
    if own == PIXV3:
        _any_of(types, known)
    else:
        for namespace, file in xds_schema.NAMESPACES.items():
            location = f"{settings.BASE_URL}/xds/schema/{file}"
            etree.SubElement(types, f"{{{XSD}}}import", namespace=namespace, schemaLocation=location)
    for action, one in known.items():
        response = actions.response_root(str(etree.QName(one.request_root)))
        _message(root, _tail(action), etree.QName(one.request_root))
        _message(root, f"{_tail(action)}Response", etree.QName(response))
    port_type = etree.SubElement(root, f"{{{WSDL}}}portType", name=f"{name}_PortType")
    for action, one in known.items():
        operation = etree.SubElement(port_type, f"{{{WSDL}}}operation", name=f"{name}_{_tail(action)}")
        for kind, message, said in (
            ("input", _tail(action), action),
            ("output", f"{_tail(action)}Response", one.response_action),
        ):
            element = etree.SubElement(operation, f"{{{WSDL}}}{kind}", message=f"tns:{message}_Message")
            element.set(f"{{{WSAM}}}Action", said)
    _binding(root, name, known)
    service = etree.SubElement(root, f"{{{WSDL}}}service", name=f"{name}_Service")
    port = etree.SubElement(
        service, f"{{{WSDL}}}port", name=f"{name}_Port_Soap12", binding=f"tns:{name}_Binding_Soap12"
    )
    etree.SubElement(port, f"{{{SOAP12}}}address", location=url)
    data: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return data


def _any_of(schema: etree._Element, known: Mapping[str, Transaction]) -> None:
    """The elements of HL7 V3 that are asked and answered, each of any content."""
    schema.set("targetNamespace", HL7)
    schema.set("elementFormDefault", "qualified")
    roots = [str(etree.QName(one.request_root)) for one in known.values()]
    for root in dict.fromkeys([*roots, *map(actions.response_root, roots)]):
        etree.SubElement(schema, f"{{{XSD}}}element", name=etree.QName(root).localname, type="xsd:anyType")


def _message(root: etree._Element, name: str, element: etree.QName) -> None:
    message = etree.SubElement(root, f"{{{WSDL}}}message", name=f"{name}_Message")
    prefix = _PREFIX_OF[str(element.namespace)]
    etree.SubElement(message, f"{{{WSDL}}}part", name="body", element=f"{prefix}:{element.localname}")


def _binding(root: etree._Element, name: str, known: Mapping[str, Transaction]) -> None:
    binding = etree.SubElement(root, f"{{{WSDL}}}binding", name=f"{name}_Binding_Soap12", type=f"tns:{name}_PortType")
    etree.SubElement(
        binding, f"{{{SOAP12}}}binding", style="document", transport="http://schemas.xmlsoap.org/soap/http"
    )
    for action in known:
        operation = etree.SubElement(binding, f"{{{WSDL}}}operation", name=f"{name}_{_tail(action)}")
        etree.SubElement(operation, f"{{{SOAP12}}}operation", soapAction=action, soapActionRequired="false")
        for kind in ("input", "output"):
            etree.SubElement(etree.SubElement(operation, f"{{{WSDL}}}{kind}"), f"{{{SOAP12}}}body", use="literal")


def _tail(action: str) -> str:
    return action.rpartition(":")[2]
