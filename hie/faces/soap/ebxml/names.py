"""Names of ebRIM 3.0 and of the XDS metadata written in it (spec/xds.md 1 and 3)."""

from __future__ import annotations

from collections.abc import Mapping

RIM = "urn:oasis:names:tc:ebxml-regrep:xsd:rim:3.0"
RS = "urn:oasis:names:tc:ebxml-regrep:xsd:rs:3.0"
LCM = "urn:oasis:names:tc:ebxml-regrep:xsd:lcm:3.0"
QUERY = "urn:oasis:names:tc:ebxml-regrep:xsd:query:3.0"
XDS = "urn:ihe:iti:xds-b:2007"
RMD = "urn:ihe:iti:rmd:2017"
XOP = "http://www.w3.org/2004/08/xop/include"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

NSMAP = {"rim": RIM}

_OBJECT = "urn:oasis:names:tc:ebxml-regrep:ObjectType:RegistryObject:"
CLASSIFICATION = f"{_OBJECT}Classification"
EXTERNAL_IDENTIFIER = f"{_OBJECT}ExternalIdentifier"
ASSOCIATION = f"{_OBJECT}Association"
REGISTRY_PACKAGE = f"{_OBJECT}RegistryPackage"

STATUS_PREFIX = "urn:oasis:names:tc:ebxml-regrep:StatusType:"

# What makes a RegistryPackage one or the other, and the limited form of each object.
SUBMISSION_SET_NODE = "urn:uuid:a54d6aa5-d40d-43f9-88c5-b4633d873bdd"
FOLDER_NODE = "urn:uuid:d9d542f3-6cc4-48b6-8870-ea235fbc94c2"
LIMITED_ENTRY = "urn:uuid:ab9b591b-83ab-4d03-8f5d-f93b1fb92e85"
LIMITED_SUBMISSION_SET = "urn:uuid:5003a9db-8d8d-49e6-bf0c-990e34ac7707"
LIMITED_FOLDER = "urn:uuid:2c144a76-29a9-4b7c-af54-b25409fe7d03"

# Classification schemes of a DocumentEntry, by attribute.
ENTRY_CODES: Mapping[str, str] = {
    "classCode": "urn:uuid:41a5887f-8865-4c09-adf7-e362475b143a",
    "confidentialityCode": "urn:uuid:f4f85eac-e6cb-4883-b524-f2705394840f",
    "eventCodeList": "urn:uuid:2c6b8cb7-8b2a-4051-b291-b1ae6a575ef4",
    "formatCode": "urn:uuid:a09d5840-386c-46f2-b5ad-9c3699a4309d",
    "healthcareFacilityTypeCode": "urn:uuid:f33fb8ac-18af-42cc-ae0e-ed0b0bdb91e1",
    "practiceSettingCode": "urn:uuid:cccf5598-8b07-4b77-a05e-ae952c785ead",
    "typeCode": "urn:uuid:f0306f51-975f-434e-a61c-c59651d33983",
}
ENTRY_AUTHOR = "urn:uuid:93606bcf-9494-43ec-9b4e-a7748d1a838d"
SUBMISSION_SET_AUTHOR = "urn:uuid:a7058bb9-b4e4-4307-ba5b-e3f0ab85e12d"
CONTENT_TYPE = "urn:uuid:aa543740-bdda-424e-8c96-df4873be8500"
FOLDER_CODES = "urn:uuid:1ba97051-7806-41a8-a48b-8fce7af683c5"
DOCUMENTATION = "urn:uuid:abd807a3-4432-4053-87b4-fd82c643d1f3"

# Identification schemes with the label that stands as Name.
ENTRY_PATIENT_ID = "urn:uuid:58a6f841-87b3-4a3e-92fd-a8ffeff98427"
ENTRY_UNIQUE_ID = "urn:uuid:2e82c1f6-a085-4c72-9da3-8640a32e42ab"
SUBMISSION_SET_PATIENT_ID = "urn:uuid:6b5aea1a-874d-4603-a4bc-96a0a7b38446"
SUBMISSION_SET_SOURCE_ID = "urn:uuid:554ac39e-e3fe-47fe-b233-965d2a147832"
SUBMISSION_SET_UNIQUE_ID = "urn:uuid:96fdda7c-d067-4183-912e-bf5ee74998a8"
FOLDER_PATIENT_ID = "urn:uuid:f64ffdf0-4b97-4e06-b79f-a52b38ec2f8a"
FOLDER_UNIQUE_ID = "urn:uuid:75df8f67-9973-4fbe-a900-df66cefecc5a"
LABELS: Mapping[str, str] = {
    ENTRY_PATIENT_ID: "XDSDocumentEntry.patientId",
    ENTRY_UNIQUE_ID: "XDSDocumentEntry.uniqueId",
    SUBMISSION_SET_PATIENT_ID: "XDSSubmissionSet.patientId",
    SUBMISSION_SET_SOURCE_ID: "XDSSubmissionSet.sourceId",
    SUBMISSION_SET_UNIQUE_ID: "XDSSubmissionSet.uniqueId",
    FOLDER_PATIENT_ID: "XDSFolder.patientId",
    FOLDER_UNIQUE_ID: "XDSFolder.uniqueId",
}

REFERENCE_ID_LIST = "urn:ihe:iti:xds:2013:referenceIdList"


def tag(namespace: str, name: str) -> str:
    """The name as lxml writes it."""
    return f"{{{namespace}}}{name}"
