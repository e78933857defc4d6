"""The answer of a registry or repository that has too much to do: a business answer, so that clients try again.

Source: ITI TF-3 4.2.4.1 (XDSRegistryBusy, XDSRepositoryBusy); design.md "Interfaces"; spec/xds.md 9.
"""

from __future__ import annotations

from lxml import etree

from hie.faces.soap.actions import response_root
from hie.faces.soap.ebxml.names import QUERY, RIM, RS, XDS
from hie.faces.soap.errors import Severity, Status


def answer(request_root: str, code: str, *, context: str, location: str) -> etree._Element:
    """The response to a request of this root that says one error and nothing else."""
    name = response_root(request_root)
    root = etree.Element(name, nsmap={"rs": RS, "rim": RIM, "query": QUERY, "xds": XDS})
    response = etree.SubElement(root, f"{{{RS}}}RegistryResponse") if name.startswith(f"{{{XDS}}}") else root
    response.set("status", Status.FAILURE.value)
    errors = etree.SubElement(response, f"{{{RS}}}RegistryErrorList", highestSeverity=Severity.ERROR.value)
    etree.SubElement(
        errors,
        f"{{{RS}}}RegistryError",
        errorCode=code,
        codeContext=context,
        location=location,
        severity=Severity.ERROR.value,
    )
    if name.startswith(f"{{{QUERY}}}"):
        etree.SubElement(root, f"{{{RIM}}}RegistryObjectList")
    return root
