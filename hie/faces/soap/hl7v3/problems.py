"""How a message of HL7 V3 is refused, and by which code.

Source: HL7 V3 vocabulary, AcknowledgementDetailCode (2.16.840.1.113883.5.1100).
"""

from __future__ import annotations

from collections.abc import Sequence

from hie.standards.errors import HubError

CODES = {
    "INTERR": "Internal system error",
    "KEY204": "Unknown key identifier",
    "KEY205": "Duplicate key identifier",
    "NS200": "Unsupported interaction",
    "NS260": "Unknown sender",
    "SYN101": "Required attribute missing",
    "SYN102": "Data type error",
    "SYN110": "Number of association repetitions exceeds limit",
}
"""Every code that is used here, with its words."""


class Refused(HubError):
    """A message is not taken, or not as it stands. `code` is one of `CODES`, or "" of a note that HL7 has no code for.

    `reject` tells CR from CE.

    `location` is a path below the message, such as ``patient/id``.
    """

    def __init__(self, message: str, *, code: str, location: str = "", reject: bool = False) -> None:
        super().__init__(message, element=location or None)
        self.code = code
        self.reject = reject


class Malformed(Refused):
    """A message whose form is wrong: `problems`, at least one; it is named by the first."""

    def __init__(self, problems: Sequence[Refused]) -> None:
        first = problems[0]
        super().__init__(str(first), code=first.code, location=first.element or "", reject=first.reject)
        self.problems = tuple(problems)
