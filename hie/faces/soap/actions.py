"""The number of each transaction by the Action of its request, and what it is answered with.

The number is the scope that opens it and the kind of its audit event. Source: spec/xds.md 1.
"""

from __future__ import annotations

from collections.abc import Mapping

from hie.faces.soap.ebxml.names import QUERY, RS, XDS
from hie.faces.soap.hl7v3.names import ACKNOWLEDGEMENT, HL7, INTERACTIONS

ITI: Mapping[str, str] = {
    "urn:ihe:iti:2007:RegistryStoredQuery": "ITI-18",
    "urn:ihe:iti:2007:CrossGatewayQuery": "ITI-38",
    "urn:ihe:iti:2007:CrossGatewayRetrieve": "ITI-39",
    "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b": "ITI-41",
    "urn:ihe:iti:2007:RegisterDocumentSet-b": "ITI-42",
    "urn:ihe:iti:2007:RetrieveDocumentSet": "ITI-43",
    **{f"{HL7}:{interaction}": "ITI-44" for interaction in INTERACTIONS},
    "urn:ihe:iti:2009:MultiPatientStoredQuery": "ITI-51",
    "urn:ihe:iti:2010:UpdateDocumentSet": "ITI-57",
    "urn:ihe:iti:2010:RegisterOnDemandDocumentEntry": "ITI-61",
    "urn:ihe:iti:2010:DeleteDocumentSet": "ITI-62",
    "urn:ihe:iti:2017:RemoveDocuments": "ITI-86",
    "urn:ihe:iti:2018:RestrictedUpdateDocumentSet": "ITI-92",
}

_RESPONSE = {
    f"{{{QUERY}}}AdhocQueryRequest": f"{{{QUERY}}}AdhocQueryResponse",
    f"{{{XDS}}}RetrieveDocumentSetRequest": f"{{{XDS}}}RetrieveDocumentSetResponse",
    **{f"{{{HL7}}}{interaction}": f"{{{HL7}}}{ACKNOWLEDGEMENT}" for interaction in INTERACTIONS},
}


def response_root(request_root: str) -> str:
    """The element that answers one in a request's body (both ``{namespace}name``)."""
    return _RESPONSE.get(request_root, f"{{{RS}}}RegistryResponse")
