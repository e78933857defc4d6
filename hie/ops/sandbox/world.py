"""Who lives in the sandbox: organizations, people and the documents about them. All invented.

Names of places and people belong to no one. OIDs lie under 2.999, the arc for examples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ARC = "2.999.7"
FORMATS = "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"
LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
SNOMED_OID = "2.16.840.1.113883.6.96"
ICD10_OID = "2.16.840.1.113883.6.90"

FEED = [
    "system/Patient.cruds",
    "system/Subscription.cruds",
    "system/Binary.cruds",
    "system/List.cruds",
    "system/DocumentReference.cruds",
]
READ = [
    "system/Patient.rs",
    "system/DocumentReference.rs",
    "system/List.rs",
    "system/Binary.r",
    "system/Consent.rs",
    "system/AuditEvent.rs",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who works at a participant."""

    id: str
    name: str
    role: str
    purposes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A participant of the sandbox."""

    id: str
    name: str
    type: str
    number: int
    purposes: tuple[str, ...]
    users: tuple[User, ...] = ()
    scopes: tuple[str, ...] = tuple(FEED + READ)
    part_of: str | None = None
    status: str = "active"
    jurisdiction: str | None = None
    default_role: str | None = None
    default_purpose: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def oid(self) -> str:
        """The organization's OID."""
        return f"{ARC}.{self.number}"

    @property
    def authority(self) -> str:
        """The OID under which it issues patient identifiers."""
        return f"{ARC}.{self.number}.1"

    @property
    def source_id(self) -> str:
        """The OID its submissions carry as sourceId."""
        return f"{ARC}.{self.number}.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document of the sandbox: who keeps it, of what kind, with which labels."""

    key: str
    custodian: str
    kind: str  # ccda | pdf | png | dicom | fhir | text
    title: str
    type_code: str
    type_display: str
    text: tuple[str, ...] = ()
    codes: tuple[tuple[str, str, str], ...] = ()
    labels: tuple[str, ...] = ()
    confidentiality: str = "N"
    created: str = "2026-04-12T09:30:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How one organization knows a patient."""

    organization: str
    local_id: str
    family: str | None = None
    given: tuple[str, ...] | None = None
    birth_date: str | None = None
    channel: str = "fhir"  # fhir | hl7v2
    moved: bool = False  # neither address nor phone is known there


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """A person of the sandbox with the records that organizations keep of her."""

    key: str
    story: str
    family: str
    given: tuple[str, ...]
    birth_date: str
    gender: str
    street: str
    city: str
    postal_code: str
    phone: str
    records: tuple[Record, ...]
    documents: tuple[Document, ...] = ()
    portal_login: str | None = None
    proxy_for: tuple[str, ...] = ()
    choice: str | None = None  # opt-out | no-payers
    deceased: str | None = None
    multiple_birth: int | None = None

    @property
    def sex(self) -> str:
        """The letter HL7 v2 and CDA use."""
        return {"male": "M", "female": "F"}[self.gender]


HOSPITAL, CLINIC, LAB, IMAGING = "velmoor-general", "riverside-clinic", "dunmarrow-lab", "clearview-imaging"
PHARMACY, PAYER, PUBLIC, UNIVERSITY = "hartwell-pharmacy", "marrowby-health-plan", "dunmarrow-health", "northfield"
RECOVERY, TELE, PORTAL = "haven-recovery", "farcare", "my-record"

PHYSICIAN = ("TREAT", "HOPERAT", "BTG")

ORGANIZATIONS: tuple[Organization, ...] = (
    Organization(
        id=HOSPITAL,
        name="Velmoor General Hospital",
        type="hospital",
        number=10,
        purposes=("TREAT", "HPAYMT", "HOPERAT", "BTG"),
        users=(
            User(id="Practitioner/eve-marlowe", name="Dr. Eve Marlowe", role="physician", purposes=PHYSICIAN),
            User(id="Practitioner/ned-farrow", name="Ned Farrow", role="nurse", purposes=("TREAT", "BTG")),
        ),
        more={"hl7v2": {"application": "VELMOOR_ADT", "facility": "VELMOOR"}},
    ),
    Organization(
        id="velmoor-cardiology",
        name="Velmoor General Hospital, Cardiology",
        type="hospital",
        number=11,
        purposes=("TREAT", "HOPERAT", "BTG"),
        part_of=HOSPITAL,
        users=(User(id="Practitioner/ola-brandt", name="Dr. Ola Brandt", role="physician", purposes=PHYSICIAN),),
    ),
    Organization(
        id=CLINIC,
        name="Riverside Family Clinic",
        type="primary-care",
        number=20,
        purposes=("TREAT", "HOPERAT", "BTG"),
        users=(
            User(id="Practitioner/ada-quist", name="Dr. Ada Quist", role="physician", purposes=PHYSICIAN),
            User(id="Practitioner/tom-birch", name="Tom Birch", role="clerk", purposes=("HOPERAT",)),
        ),
        more={"hl7v2": {"application": "RIVERSIDE", "facility": "CLINIC"}},
    ),
    Organization(
        id=LAB,
        name="Dunmarrow Laboratory",
        type="lab",
        number=30,
        purposes=("TREAT",),
        users=(User(id="Practitioner/ida-lund", name="Dr. Ida Lund", role="physician", purposes=("TREAT",)),),
        default_role="system",
        default_purpose="TREAT",
    ),
    Organization(
        id=IMAGING,
        name="Clearview Imaging Centre",
        type="imaging",
        number=40,
        purposes=("TREAT",),
        users=(User(id="Practitioner/rex-holm", name="Dr. Rex Holm", role="physician", purposes=("TREAT",)),),
    ),
    Organization(
        id=PHARMACY,
        name="Hartwell Pharmacy",
        type="pharmacy",
        number=50,
        purposes=("TREAT", "HPAYMT"),
        users=(User(id="Practitioner/may-osei", name="May Osei", role="pharmacist", purposes=("TREAT",)),),
    ),
    Organization(
        id=PAYER,
        name="Marrowby Health Plan",
        type="payer",
        number=60,
        purposes=("HPAYMT", "HOPERAT"),
        users=(User(id="Practitioner/gus-pell", name="Gus Pell", role="billing", purposes=("HPAYMT",)),),
    ),
    Organization(
        id=PUBLIC,
        name="Dunmarrow Public Health Office",
        type="public-health",
        number=70,
        purposes=("PUBHLTH",),
        users=(
            User(
                id="Practitioner/pia-sandoval", name="Pia Sandoval", role="public-health-officer", purposes=("PUBHLTH",)
            ),
        ),
    ),
    Organization(
        id=UNIVERSITY,
        name="Northfield University Research",
        type="research",
        number=80,
        purposes=("HRESCH",),
        users=(User(id="Practitioner/leo-kranz", name="Leo Kranz", role="researcher", purposes=("HRESCH",)),),
    ),
    Organization(
        id=RECOVERY,
        name="Haven Recovery Program",
        type="sud-program",
        number=90,
        purposes=("TREAT", "HPAYMT"),
        users=(User(id="Practitioner/uma-vance", name="Dr. Uma Vance", role="physician", purposes=("TREAT",)),),
        more={"part2_program": True},
    ),
    Organization(
        id=TELE,
        name="Farcare Telehealth",
        type="telehealth",
        number=100,
        purposes=("TREAT",),
        users=(User(id="Practitioner/sol-wynne", name="Dr. Sol Wynne", role="physician", purposes=("TREAT",)),),
        status="suspended",
        more={"requires_relationship": True},
    ),
    Organization(
        id=PORTAL,
        name="My Record, the patients' portal",
        type="patient-portal",
        number=110,
        purposes=("PATRQT",),
        scopes=("system/Patient.rs", "system/DocumentReference.rs", "system/Binary.r", "system/AuditEvent.rs"),
    ),
)


def _summary(key: str, custodian: str, title: str, *text: str, **more: Any) -> Document:
    return Document(
        key=key,
        custodian=custodian,
        kind="ccda",
        title=title,
        type_code="34133-9",
        type_display="Summary of episode note",
        text=text,
        **more,
    )


PATIENTS: tuple[Patient, ...] = (
    Patient(
        key="amara-lindqvist",
        story="three-identifiers",
        family="Lindqvist",
        given=("Amara", "Sofia"),
        birth_date="1962-07-14",
        gender="female",
        street="18 Orchard Lane",
        city="Velmoor",
        postal_code="40121",
        phone="+1 202 555 0142",
        records=(
            Record(organization=HOSPITAL, local_id="VG-10023", channel="hl7v2"),
            Record(organization=CLINIC, local_id="RC-771", family="Lindquist", given=("Amara",)),
            Record(organization=LAB, local_id="L-55810"),
        ),
        documents=(
            Document(
                key="discharge",
                custodian=HOSPITAL,
                kind="ccda",
                title="Discharge summary",
                type_code="18842-5",
                type_display="Discharge summary",
                text=("Admitted with chest pain. Treated and sent home in good state.",),
                codes=(("I20.9", ICD10_OID, "Angina pectoris, unspecified"),),
            ),
            Document(
                key="chest-image",
                custodian=IMAGING,
                kind="dicom",
                title="Chest radiograph",
                type_code="36643-5",
                type_display="XR Chest 2 Views",
            ),
            Document(
                key="lipids",
                custodian=LAB,
                kind="fhir",
                title="Lipid panel",
                type_code="11502-2",
                type_display="Laboratory report",
            ),
            Document(
                key="letter",
                custodian=CLINIC,
                kind="pdf",
                title="Letter to the patient",
                type_code="68608-9",
                type_display="Summary note",
                text=("Dear Ms. Lindquist,", "your next visit is in May."),
            ),
        ),
        portal_login="amara",
        choice="no-payers",
    ),
    Patient(
        key="jonas-everly",
        story="ordinary",
        family="Everly",
        given=("Jonas",),
        birth_date="1985-02-03",
        gender="male",
        street="4 Mill Road",
        city="Velmoor",
        postal_code="40122",
        phone="+1 202 555 0178",
        records=(
            Record(organization=HOSPITAL, local_id="VG-10044"),
            Record(organization=PHARMACY, local_id="HP-903"),
        ),
        documents=(
            _summary("visit", HOSPITAL, "Visit summary", "Seen for a sprained ankle."),
            Document(
                key="photo",
                custodian=HOSPITAL,
                kind="png",
                title="Photograph of the ankle",
                type_code="72170-4",
                type_display="Photographic image",
            ),
        ),
        portal_login="jonas",
    ),
    Patient(
        key="mira-castellan",
        story="changed-name",
        family="Castellan",
        given=("Mira",),
        birth_date="1990-11-23",
        gender="female",
        street="77 Harbour Street",
        city="Port Alder",
        postal_code="40310",
        phone="+1 202 555 0110",
        records=(
            Record(organization=HOSPITAL, local_id="VG-10071"),
            Record(organization=CLINIC, local_id="RC-802", family="Thornbury"),
        ),
        documents=(_summary("allergy", CLINIC, "Allergy note", "Penicillin: rash."),),
    ),
    Patient(
        key="noa-ferris",
        story="twin-a",
        family="Ferris",
        given=("Noa",),
        birth_date="2001-05-19",
        gender="female",
        street="9 Larch Close",
        city="Velmoor",
        postal_code="40125",
        phone="+1 202 555 0133",
        multiple_birth=1,
        records=(Record(organization=HOSPITAL, local_id="VG-10101"),),
        documents=(_summary("noa-visit", HOSPITAL, "Visit summary", "Seasonal allergy."),),
    ),
    Patient(
        key="nia-ferris",
        story="twin-b",
        family="Ferris",
        given=("Nia",),
        birth_date="2001-05-19",
        gender="female",
        street="9 Larch Close",
        city="Velmoor",
        postal_code="40125",
        phone="+1 202 555 0133",
        multiple_birth=2,
        records=(Record(organization=CLINIC, local_id="RC-910"),),
        documents=(_summary("nia-visit", CLINIC, "Visit summary", "Asthma, well controlled."),),
    ),
    Patient(
        key="oskar-vantongeren",
        story="opt-out",
        family="Van Tongeren",
        given=("Oskar",),
        birth_date="1948-09-30",
        gender="male",
        street="2 Old Quay",
        city="Port Alder",
        postal_code="40311",
        phone="+1 202 555 0155",
        records=(
            Record(organization=HOSPITAL, local_id="VG-10120"),
            Record(organization=CLINIC, local_id="RC-933"),
        ),
        documents=(_summary("knee", HOSPITAL, "Operation note", "Knee replacement, left."),),
        portal_login="oskar",
        choice="opt-out",
    ),
    Patient(
        key="ilse-brandvold",
        story="mental-health",
        family="Brandvold",
        given=("Ilse",),
        birth_date="1977-03-08",
        gender="female",
        street="31 Chapel Row",
        city="Velmoor",
        postal_code="40123",
        phone="+1 202 555 0166",
        records=(
            Record(organization=HOSPITAL, local_id="VG-10140"),
            Record(organization=CLINIC, local_id="RC-950"),
        ),
        documents=(
            _summary(
                "therapy",
                HOSPITAL,
                "Psychiatry note",
                "Follow-up of a depressive episode.",
                codes=(("F32.1", ICD10_OID, "Major depressive disorder, single episode, moderate"),),
                labels=("PSY",),
                confidentiality="R",
            ),
            _summary("checkup", CLINIC, "Yearly check-up", "No findings."),
        ),
    ),
    Patient(
        key="dario-quennell",
        story="substance-use",
        family="Quennell",
        given=("Dario",),
        birth_date="1993-12-01",
        gender="male",
        street="60 Foundry Way",
        city="Velmoor",
        postal_code="40124",
        phone="+1 202 555 0199",
        records=(
            Record(organization=RECOVERY, local_id="HR-12"),
            Record(organization=HOSPITAL, local_id="VG-10160"),
        ),
        documents=(
            _summary(
                "programme",
                RECOVERY,
                "Treatment plan",
                "Opioid use disorder, on maintenance therapy.",
                codes=(("F11.20", ICD10_OID, "Opioid dependence, uncomplicated"),),
                labels=("42CFRPart2", "OPIOIDUD"),
                confidentiality="R",
            ),
        ),
    ),
    Patient(
        key="lena-everly",
        story="minor",
        family="Everly",
        given=("Lena",),
        birth_date="2016-06-10",
        gender="female",
        street="4 Mill Road",
        city="Velmoor",
        postal_code="40122",
        phone="+1 202 555 0178",
        records=(Record(organization=HOSPITAL, local_id="VG-10180"),),
        documents=(_summary("vaccines", HOSPITAL, "Vaccination record", "All vaccinations up to date."),),
    ),
    Patient(
        key="gerta-holloway",
        story="deceased",
        family="Holloway",
        given=("Gerta",),
        birth_date="1931-01-17",
        gender="female",
        street="5 Elm Terrace",
        city="Port Alder",
        postal_code="40312",
        phone="+1 202 555 0120",
        deceased="2025-11-02",
        records=(Record(organization=HOSPITAL, local_id="VG-10200"),),
        documents=(_summary("last-stay", HOSPITAL, "Summary of stay", "Palliative care."),),
    ),
    Patient(
        key="felix-arden",
        story="overlay",
        family="Arden",
        given=("Felix",),
        birth_date="1970-08-25",
        gender="male",
        street="12 Station Road",
        city="Velmoor",
        postal_code="40126",
        phone="+1 202 555 0187",
        records=(Record(organization=HOSPITAL, local_id="VG-10220"),),
        documents=(_summary("visit-felix", HOSPITAL, "Visit summary", "Back pain."),),
    ),
)

PROXIES = {"jonas-everly": ("lena-everly",)}
"""Who may act for whom: a parent for the minor."""

OVERLAY = {"felix-arden": {"family": "Okonjo", "given": ("Beatrice",), "birth_date": "1999-04-02", "gender": "female"}}
"""An update that is somebody else: it must be quarantined, not stored over the patient."""


def _doubt(key: str, family: str, given: str, birth_date: str, street: str, *records: Record, **more: Any) -> Patient:
    return Patient(
        key=key,
        story="ordinary",
        family=family,
        given=(given,),
        birth_date=birth_date,
        gender="female",
        street=street,
        city="Velmoor",
        postal_code="40127",
        phone=f"+1 202 555 02{len(key):02}",
        records=records,
        **more,
    )


DOUBTS: tuple[Patient, ...] = (
    _doubt(
        "rosalind-hartnell", "Hartnell", "Rosalind", "1969-02-14", "6 Weavers Yard",
        Record(organization=HOSPITAL, local_id="VG-10300"),
        Record(organization=CLINIC, local_id="RC-1010", birth_date="1969-02-24", moved=True),
        documents=(_summary("hartnell-visit", HOSPITAL, "Visit summary", "Seen for a cough."),),
    ),
    _doubt(
        "thea-merrowdale", "Merrowdale", "Thea", "1982-07-05", "14 Dyers Lane",
        Record(organization=HOSPITAL, local_id="VG-10310"), Record(organization=CLINIC, local_id="RC-1020"),
        Record(organization=RECOVERY, local_id="HR-31", birth_date="1982-07-15", moved=True),
    ),
    _doubt(
        "greta-solbergsen", "Solbergsen", "Greta", "1957-10-21", "2 Glovers Court",
        Record(organization=HOSPITAL, local_id="VG-10320"), Record(organization=CLINIC, local_id="RC-1030"),
    ),
    _doubt(
        "edda-rowntree", "Rowntree", "Edda", "1940-03-30", "27 Salters Row",
        Record(organization=HOSPITAL, local_id="VG-10330"), Record(organization=CLINIC, local_id="RC-1040"),
    ),
    _doubt("mabel-traskington", "Traskington", "Mabel", "1944-11-30", "8 Coopers Gate", Record(organization=HOSPITAL, local_id="VG-10331")),
)  # fmt: skip
"""People about whose records a steward must decide; beside the stories, so that no story meets them."""

REVISED = {"greta-solbergsen": Record(organization=CLINIC, local_id="RC-1030", family="Wexcombe", birth_date="1957-10-27", moved=True)}  # fmt: skip
"""A revision that no longer supports its record's link."""

REPLACED = {"edda-rowntree": ("VG-10330", "VG-10331")}
"""Two numbers of the hospital that it says are one patient, though they belong to different persons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Community:
    """A further hub of this same code, with people this hub knows as well."""

    id: str
    name: str
    number: int
    hospital: str
    patients: tuple[tuple[str, str], ...]  # (key of the patient, local id)
    documents: dict[str, tuple[Document, ...]]

    @property
    def home_community_id(self) -> str:
        """``urn:oid:`` form."""
        return f"urn:oid:{ARC}.{self.number}"


COMMUNITIES: tuple[Community, ...] = (
    Community(
        id="westbrook-exchange",
        name="Westbrook Health Exchange",
        number=500,
        hospital="Westbrook Regional Hospital",
        patients=(("amara-lindqvist", "WB-401"), ("jonas-everly", "WB-402"), ("oskar-vantongeren", "WB-403")),
        documents={
            "amara-lindqvist": (_summary("wb-cardio", "", "Heart clinic letter", "Stress test without findings."),),
            "jonas-everly": (_summary("wb-er", "", "Emergency visit", "Cut on the hand, stitched."),),
            "oskar-vantongeren": (_summary("wb-hip", "", "Hip consultation", "Mild arthrosis."),),
        },
    ),
    Community(
        id="lakeland-exchange",
        name="Lakeland Care Network",
        number=600,
        hospital="Lakeland Children's and General Hospital",
        patients=(("amara-lindqvist", "LL-88"), ("lena-everly", "LL-91")),
        documents={
            "amara-lindqvist": (
                Document(
                    key="ll-eye",
                    custodian="",
                    kind="pdf",
                    title="Eye examination",
                    type_code="70949-3",
                    type_display="Pathology report",
                    text=("Vision normal for age.",),
                ),
            ),
            "lena-everly": (_summary("ll-growth", "", "Growth record", "Growth along the 50th percentile."),),
        },
    ),
)

FAULTY = ("stormhaven-exchange", "Stormhaven Exchange", f"urn:oid:{ARC}.700")
"""The peer that is slow, dead or wrong on demand."""
