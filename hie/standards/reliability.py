"""How far a sender vouches for what it says of a patient: codes it sends, and the fields they speak of. Pure.

What senders really send: HL7 v2 PID-32 (table 0445) names what is only a default or an alias, and PID-31 that nobody
knows who the patient is. France sends in PID-32, and in FHIR by `fr-core-identity-reliability`, whether the identity was
validated against a document, which is the one statement of verification that is exchanged beside the data. The traits it
validates are name, birth date, sex and birth place, never an address. "Verified by the patient" (IDVER) is no document, and
"provisional" (PROV) is the ordinary state: both say nothing here. The profiles of FHIR Identity Matching state an
assurance level for the question of a match, not for a record: not read.

Source: HL7 v2.5.1 3.4.2.31 and 3.4.2.32, table 0445; FHIR extension patient-unknownIdentity; IHE PAM national extension
France; FR Core fr-core-identity-reliability, code systems fr-core-cs-v2-0445 and fr-core-cs-identity-status.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import IntEnum

IDENTITY_KNOWN, IDENTITY_UNKNOWN = "known", "unknown"
"""PID-31 in the codes of FHIR; lower case, so that they stand beside those of table 0445."""

_TRAITS = frozenset({"names", "birth_date", "gender", "birth_place"})
_VERIFIED = frozenset({"VALI", "QUAL"})
_DEFAULTS = {"AL": "names", "UA": "addresses", "UD": "birth_date", "US": "identifiers"}
# Nobody known, anonymous, doubtful, fictitious, invalidated, usurped: nothing of the record is reliable.
_NOBODYS = frozenset({IDENTITY_UNKNOWN, "ANOM", "DOUT", "FICT", "INVA", "USUR"})


class Standing(IntEnum):
    """How a record stands behind one field; the lower counts first."""

    VERIFIED = 0
    SAID = 1
    UNRELIABLE = 2


def standing(codes: Collection[str], field: str) -> Standing:
    """How a record with these codes stands behind this field of `Demographics`; what speaks against it outweighs."""
    if not codes:
        return Standing.SAID
    if any(code in _NOBODYS or _DEFAULTS.get(code) == field for code in codes):
        return Standing.UNRELIABLE
    verified = field in _TRAITS and any(code in _VERIFIED for code in codes)
    return Standing.VERIFIED if verified else Standing.SAID


def still_said(codes: Iterable[str], restated: Collection[str]) -> tuple[str, ...]:
    """Of a former message's codes, those that a message without any leaves in force: `restated` are the fields it gives.

    PID-32 speaks of the data of its own message (HL7 v2.5.1 3.4.2.32): what is said anew is no default any more.
    """
    return tuple(
        code
        for code in codes
        if (_DEFAULTS[code] not in restated if code in _DEFAULTS else not _TRAITS.intersection(restated))
    )
