"""Which transactions each address answers, by the Action of the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from hie.faces.soap import iti18, iti41, iti42, iti43, iti44, iti57, iti62
from hie.faces.soap.ebxml.names import LCM, QUERY, RMD, XDS
from hie.faces.soap.hl7v3.names import ACKNOWLEDGEMENT, HL7, INTERACTIONS
from hie.faces.soap.message import Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One transaction: what answers it, what its answer is called, what stands in the body of its request.

    `mtom`: its answers are MTOM packages, also without an attachment.
    """

    handler: Handler
    response_action: str
    request_root: etree.QName
    schema_root: str = ""
    mtom: bool = False


REGISTRY: Mapping[str, Transaction] = {
    "urn:ihe:iti:2007:RegistryStoredQuery": Transaction(
        handler=iti18.registry_stored_query,
        response_action="urn:ihe:iti:2007:RegistryStoredQueryResponse",
        request_root=etree.QName(QUERY, "AdhocQueryRequest"),
    ),
    "urn:ihe:iti:2009:MultiPatientStoredQuery": Transaction(
        handler=iti18.multi_patient_stored_query,
        response_action="urn:ihe:iti:2009:MultiPatientStoredQueryResponse",
        request_root=etree.QName(QUERY, "AdhocQueryRequest"),
    ),
    "urn:ihe:iti:2007:RegisterDocumentSet-b": Transaction(
        handler=iti42.register,
        response_action="urn:ihe:iti:2007:RegisterDocumentSet-bResponse",
        request_root=etree.QName(LCM, "SubmitObjectsRequest"),
    ),
    "urn:ihe:iti:2010:RegisterOnDemandDocumentEntry": Transaction(
        handler=iti42.register_on_demand,
        response_action="urn:ihe:iti:2010:RegisterOnDemandDocumentResponse",
        request_root=etree.QName(LCM, "SubmitObjectsRequest"),
    ),
    "urn:ihe:iti:2010:UpdateDocumentSet": Transaction(
        handler=iti57.update_document_set,
        response_action="urn:ihe:iti:2010:UpdateDocumentSetResponse",
        request_root=etree.QName(LCM, "SubmitObjectsRequest"),
    ),
    "urn:ihe:iti:2018:RestrictedUpdateDocumentSet": Transaction(
        handler=iti57.restricted_update_document_set,
        response_action="urn:ihe:iti:2018:RestrictedUpdateDocumentSetResponse",
        request_root=etree.QName(LCM, "SubmitObjectsRequest"),
    ),
    "urn:ihe:iti:2010:DeleteDocumentSet": Transaction(
        handler=iti62.remove_metadata,
        response_action="urn:ihe:iti:2010:DeleteDocumentSetResponse",
        request_root=etree.QName(LCM, "RemoveObjectsRequest"),
    ),
}
REPOSITORY: Mapping[str, Transaction] = {
    "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b": Transaction(
        handler=iti41.provide_and_register,
        response_action="urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-bResponse",
        request_root=etree.QName(XDS, "ProvideAndRegisterDocumentSetRequest"),
        mtom=True,
    ),
    "urn:ihe:iti:2007:RetrieveDocumentSet": Transaction(
        handler=iti43.retrieve_document_set,
        response_action="urn:ihe:iti:2007:RetrieveDocumentSetResponse",
        request_root=etree.QName(XDS, "RetrieveDocumentSetRequest"),
        mtom=True,
    ),
    "urn:ihe:iti:2017:RemoveDocuments": Transaction(
        handler=iti62.remove_documents,
        response_action="urn:ihe:iti:2017:RemoveDocumentsResponse",
        request_root=etree.QName(RMD, "RemoveDocumentsRequest"),
    ),
}
PIX: Mapping[str, Transaction] = {
    f"{HL7}:{interaction}": Transaction(
        handler=iti44.feed,
        response_action=f"{HL7}:{ACKNOWLEDGEMENT}",
        request_root=etree.QName(HL7, interaction),
    )
    for interaction in INTERACTIONS
}
