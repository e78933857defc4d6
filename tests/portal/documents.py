"""Documents about Alice, published as the clinic or the hospital publishes them."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

from documents.metadata import CX, CodedValue
from hie.exchange import submit
from hie.standards.facts import Caller
from tests.documents import samples

_numbers = itertools.count(1)
ALICE_ID = CX(value="A1", authority="2.999.10.1.1")
CLINIC = Caller(
    participant_id="org-clinic",
    organization_id="org-clinic",
    client_id="org-clinic",
    user_id="Practitioner/ada",
    role="physician",
    purpose="TREAT",
    organization_name="The Clinic",
)
HOSPITAL = replace(CLINIC, participant_id="org-hospital", organization_id="org-hospital", client_id="org-hospital")
CDA_FORMAT = CodedValue(
    code="urn:hl7-org:sdwg:ccda-structuredBody:2.1", scheme="urn:oid:1.3.6.1.4.1.19376.1.2.3", display="C-CDA"
)


def published(content: bytes, mime_type: str, *, by: Caller = CLINIC, of: CX = ALICE_ID, **values: Any) -> str:
    """A document is published; the id of its entry."""
    own = re.search(rb'<id root="(2\.999\.77\.\d+)"/>', content[:1000])
    if own:
        values.setdefault("unique_id", own[1].decode())
    entry = samples.entry(patient_id=of, source_patient_id=of, mime_type=mime_type, **values)
    staged = submit.stage(content, mime_type, by)
    source = "2.999.10.2" if by is HOSPITAL else "2.999.10.1"
    wanted = samples.submission(
        entry, contents={entry.entry_uuid: staged.id}, patient_id=of, source_id=values.get("source_id", source)
    )
    receipt = submit.submit(wanted, by)
    return str(receipt.entry_uuids[0]).removeprefix("urn:uuid:")


def cda(body: str, *, language: str = "en-US", title: str = "Letter", head: str = "") -> bytes:
    """A small CDA document of Alice with this structured body (or ``nonXMLBody``)."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<id root="2.999.77.{next(_numbers)}"/><code code="34133-9" codeSystem="2.16.840.1.113883.6.1" displayName="Summary"/>
<title>{title}</title><effectiveTime value="20240131120000+0000"/>
<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="{language}"/>
<recordTarget><patientRole><id root="2.999.10.1.1" extension="A1"/><patient><name><given>Rosa</given><family>Delgado</family></name>
<administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/><birthTime value="19700501"/></patient></patientRole></recordTarget>
<author><time value="20240130"/><assignedAuthor><id root="2.999.10.1" extension="9"/><assignedPerson><name><prefix>Dr.</prefix>
<given>Eve</given><family>Marlowe</family></name></assignedPerson></assignedAuthor></author>
<custodian><assignedCustodian><representedCustodianOrganization><id root="2.999.10.1"/><name>The Clinic</name>
</representedCustodianOrganization></assignedCustodian></custodian>{head}
<component>{body if body.lstrip().startswith("<nonXMLBody") else f"<structuredBody>{body}</structuredBody>"}</component>
</ClinicalDocument>""".encode()


def section(text: str, *, title: str = "Findings", more: str = "") -> str:
    """A section with this narrative."""
    return f"<component><section><title>{title}</title><text>{text}</text>{more}</section></component>"
