"""Small demographics for tests: one invented woman, and what a test changes of her."""

from __future__ import annotations

from typing import Any

from hie.standards.demographics import Address, Demographics, HumanName, Identifier, Telecom
from patients.demographics import RecordFeed


def demographics(
    given: str | tuple[str, ...] = "Maria",
    family: str = "Smithson",
    birth_date: str = "1980-03-14",
    gender: str = "female",
    phone: str = "555-201-3344",
    line: str = "12 Main St",
    postal_code: str = "62701",
    city: str = "Springfield",
    national_id: str = "",
    **more: Any,
) -> Demographics:
    """Maria Smithson, but for what is said otherwise; "" leaves a part out."""
    address = Address(lines=(line,) if line else (), city=city, postal_code=postal_code)
    return Demographics(
        names=(HumanName(family=family, given=(given,) if isinstance(given, str) else given),),
        birth_date=birth_date,
        gender=gender,
        telecoms=(Telecom(value=phone),) if phone else (),
        addresses=(address,) if address != Address() else (),
        identifiers=(Identifier(system="http://hl7.org/fhir/sid/us-ssn", value=national_id),) if national_id else (),
        **more,
    )


def record(value: str, person: Demographics | None = None, *, org: str = "clinic", authority: str = "") -> RecordFeed:
    """A feed of one record; each organization has an authority of its own."""
    return RecordFeed(
        participant_id=org,
        authority=authority or {"clinic": "2.999.1", "hospital": "2.999.2", "lab": "2.999.3"}.get(org, f"urn:{org}"),
        value=value,
        demographics=person or demographics(),
        actor=f"user@{org}",
    )
