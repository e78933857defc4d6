"""A small ClinicalDocument of our own, with one thing changed, and what a document points at."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from hie.standards import cda_copy


def clinical_document(
    *,
    root: str = "2.999.5",
    extension: str = "doc1",
    patient: str = '<id root="2.999.10.1.1" extension="P1"/>',
    name: str = "<given>Ada</given><given>Maria</given><family>Moor</family>",
    birth: str = "19700501",
    gender: str = "F",
    confidentiality: str = "N",
    section: str = "",
    before: str = '<?xml version="1.0" encoding="UTF-8"?>',
) -> bytes:
    """The bytes of a small document of patient Ada Moor."""
    return f"""{before}
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <realmCode code="US"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
 <templateId root="2.16.840.1.113883.10.20.22.1.2"/>
 <id root="{root}" extension="{extension}"/>
 <code code="34133-9" codeSystem="2.16.840.1.113883.6.1" displayName="Summary"/>
 <title>Summary
   of care</title>
 <effectiveTime value="20240131120000-0500"/>
 <confidentialityCode code="{confidentiality}" codeSystem="2.16.840.1.113883.5.25"/>
 <languageCode code="en-US"/>
 <recordTarget><patientRole>{patient}
  <patient><name>{name}</name><administrativeGenderCode code="{gender}" codeSystem="2.16.840.1.113883.5.1"/>
   <birthTime value="{birth}"/></patient></patientRole></recordTarget>
 <author><time value="20240131"/><assignedAuthor><id root="2.999.6" extension="7"/>
  <assignedPerson><name><given>Eve</given><family>Doctor</family></name></assignedPerson>
  <representedOrganization><id root="2.999.10.1"/><name>The Clinic</name></representedOrganization></assignedAuthor></author>
 <custodian><assignedCustodian><representedCustodianOrganization><id root="2.999.10.1"/><name>The Clinic</name>
  </representedCustodianOrganization></assignedCustodian></custodian>
 <documentationOf><serviceEvent classCode="PCPR"><effectiveTime><low value="20240101"/><high value="20240131"/>
  </effectiveTime></serviceEvent></documentationOf>
 <component><structuredBody><component><section>
  <code code="11450-4" codeSystem="2.16.840.1.113883.6.1"/><title>Problems</title>{section}
  <entry><observation classCode="OBS" moodCode="EVN"><code code="55607006" codeSystem="2.16.840.1.113883.6.96"/>
   <value xsi:type="CD" code="86406008" codeSystem="2.16.840.1.113883.6.96"/></observation></entry>
 </section></component></structuredBody></component>
</ClinicalDocument>
""".encode()


def references(root: etree._Element) -> Iterator[str]:
    """Every name of a place that something in a document points at."""
    for element in root.iter(etree.Element):
        if cda_copy.local(element) in {"reference", "linkHtml"}:
            for key in ("value", "href"):
                target = element.get(key, "")
                if target.startswith("#"):
                    yield target[1:]
        for key in ("IDREF", "referencedObject", "headers"):
            yield from element.get(key, "").split()
