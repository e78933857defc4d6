"""Cases of every kind for the review queue, between invented people of a clinic and a hospital."""

from __future__ import annotations

from typing import Any

from documents.metadata import CX
from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom
from patients import identifiers, linking
from patients.demographics import RecordFeed
from patients.models import ReviewItem
from tests.documents.samples import ALICE, ALICE_ELSEWHERE, entry, register, submission
from tests.exchange.world import CLINIC_AUTHORITY, HOSPITAL_AUTHORITY, exchange

OWNERS = {CLINIC_AUTHORITY: "org-clinic", HOSPITAL_AUTHORITY: "org-hospital"}


def who(given: str, family: str, born: str, **changes: Any) -> Demographics:
    """Somebody of 7 Tern Street, but for what is said otherwise; "" leaves a part out."""
    parts = {"gender": "female", "phone": "+12025550119", "line": "7 Tern Street", "city": "Velmoor", "code": "40129"} | changes  # fmt: skip
    address = Address(lines=(parts["line"],) if parts["line"] else (), city=parts["city"], postal_code=parts["code"])
    return Demographics(
        names=(HumanName(family=family, given=tuple(given.split())),),
        birth_date=born,
        gender=parts["gender"],
        telecoms=(Telecom(value=parts["phone"]),) if parts["phone"] else (),
        addresses=(address,) if address != Address() else (),
        identifiers=(Identifier(system="urn:oid:2.999.77", value=parts["number"]),) if parts.get("number") else (),
        multiple_birth=parts.get("birth_order"),
    )


def fed(authority: str, value: str, person: Demographics) -> Any:
    """Feed a record as its owner."""
    return linking.feed(
        RecordFeed(participant_id=OWNERS[authority], authority=authority, value=value, demographics=person, actor="x")
    )


def documented(authority: str, value: str, number: int = 1) -> None:
    """Documents that hang on this identifier."""
    found = identifiers.resolve(authority, value)
    assert found is not None
    cx = CX(value=value, authority=authority)
    for _ in range(number):
        one = entry(patient_id=cx)
        register(submission(one, patient_id=cx), {cx: found.pk, ALICE: found.pk, ALICE_ELSEWHERE: found.pk})


def low_score(documents: int = 0) -> ReviewItem:
    """The same name, two days of birth, and one of them moved away."""
    fed(HOSPITAL_AUTHORITY, "L1", who("Rosamund Ivy", "Quarrel", "1971-04-09"))
    done = fed(CLINIC_AUTHORITY, "L2", who("Rosamund", "Quarrel", "1971-04-19", phone="", line="", city="", code=""))
    if documents:
        documented(HOSPITAL_AUTHORITY, "L1", documents)
    return ReviewItem.objects.get(source_record_id=done.source_record_id)


def twins() -> ReviewItem:
    """Two of one birth."""
    home = {"line": "9 Larch Close", "phone": "+12025550133"}
    fed(HOSPITAL_AUTHORITY, "T1", who("Noa", "Ferris", "2001-05-19", **home, birth_order=1))
    done = fed(CLINIC_AUTHORITY, "T2", who("Nia", "Ferris", "2001-05-19", **home, birth_order=2))
    return ReviewItem.objects.get(source_record_id=done.source_record_id)


def junior() -> ReviewItem:
    """Father and son of one name and home."""
    home = {"line": "3 Weir Lane", "phone": "+12025550144", "gender": "male"}
    fed(HOSPITAL_AUTHORITY, "J1", who("Bertrand", "Oxley", "1950-02-11", **home, number="55-1"))
    done = fed(CLINIC_AUTHORITY, "J2", who("Bertrand", "Oxley", "1979-06-23", **home))
    return ReviewItem.objects.get(source_record_id=done.source_record_id)


def overlay() -> ReviewItem:
    """A number used for somebody else."""
    fed(HOSPITAL_AUTHORITY, "O1", who("Felix", "Arden", "1970-08-25", gender="male", line="12 Station Road"))
    fed(HOSPITAL_AUTHORITY, "O1", who("Beatrice", "Okonjo", "1999-04-02", line="4 Quay", phone="+12025550177"))
    return ReviewItem.objects.get(kind="overlay")


def doubtful_link() -> ReviewItem:
    """A record that was linked, and changed."""
    fed(HOSPITAL_AUTHORITY, "D1", who("Ilse", "Brandvold", "1977-03-08", line="31 Chapel Row", phone="+12025550166"))
    done = fed(CLINIC_AUTHORITY, "D2", who("Ilse", "Brandvold", "1977-03-08", line="31 Chapel Row", phone="+12025550166"))  # fmt: skip
    return ReviewItem.objects.create(
        kind="doubtful-link", source_record_id=done.source_record_id, person_id=done.person_id, probability=0.4
    )


def duplicate_resolved() -> ReviewItem:
    """An organization's two records were one, but belonged to two persons of whom one keeps another record."""
    home = {"line": "5 Elm Terrace", "phone": "+12025550120"}
    fed(HOSPITAL_AUTHORITY, "R1", who("Gerta", "Holloway", "1931-01-17", **home))
    fed(CLINIC_AUTHORITY, "R2", who("Gerta", "Holloway", "1931-01-17", **home))
    fed(HOSPITAL_AUTHORITY, "R3", who("Mabel", "Trask", "1944-11-30", line="8 Mill Road", phone="+12025550121"))
    kept, gone = (identifiers.resolve(HOSPITAL_AUTHORITY, value) for value in ("R3", "R1"))
    assert kept is not None
    assert gone is not None
    linking.resolve_duplicate(kept, gone, actor="x", reason="typed twice")
    return ReviewItem.objects.get(kind="duplicate-resolved")


def many_records() -> ReviewItem:
    """Three records of one woman, and one that may be hers."""
    fed(HOSPITAL_AUTHORITY, "M1", who("Amara Jo", "Lindqvist-Whitt", "1968-12-01", line="1 Fen Street", phone="+12025550188"))  # fmt: skip
    for value in ("M2", "M3"):
        fed(HOSPITAL_AUTHORITY, value, who("Amara", "Lindqvist-Whitt", "1968-12-01", line="1 Fen Street", phone="+12025550188"))  # fmt: skip
    done = fed(CLINIC_AUTHORITY, "M4", who("Amara", "Lindqvist-Whitt", "1968-12-11", line="", city="", code="", phone=""))  # fmt: skip
    return ReviewItem.objects.filter(source_record_id=done.source_record_id).order_by("-probability").first()  # type: ignore[return-value]


def every_kind() -> dict[str, ReviewItem]:
    """One case of each kind, in a clinic and a hospital that are registered."""
    exchange()
    return {
        "low-score": low_score(documents=3),
        "twins": twins(),
        "junior": junior(),
        "overlay": overlay(),
        "doubtful-link": doubtful_link(),
        "duplicate-resolved": duplicate_resolved(),
        "many-records": many_records(),
    }
