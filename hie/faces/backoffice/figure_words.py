"""What the dashboards call things, and the sentences of their findings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from hie.audit.figures_of_log import Came, Group
from hie.exchange.figure_sources import Delay
from hie.exchange.figures import Period

PURPOSES: Mapping[str, str] = {
    "TREAT": "To treat", "HPAYMT": "Payment", "HOPERAT": "Running an organization", "PATRQT": "Patient’s own look",
    "PUBHLTH": "Public health", "HRESCH": "Research", "BTG": "Emergency", "HLEGAL": "For a court", "HMARKT": "Advertising",
    "COC": "Coordination of care", "": "No purpose given",
}  # fmt: skip
GROUPS: Mapping[str, str] = {
    Group.FIND_PATIENT: "Finding a patient", Group.FIND_DOCUMENTS: "Finding documents",
    Group.READ_DOCUMENT: "Reading a document", Group.ASK_OTHERS: "Asking other communities",
    Group.SEND_PATIENT: "Sending a patient’s details", Group.SEND_DOCUMENT: "Sending documents", Group.DOOR: "Refused at the door",
}  # fmt: skip
CAME: Mapping[str, str] = {
    Came.ANSWERED: "Answered", Came.PARTLY: "Answered in part", Came.REFUSED: "Refused", Came.FAILED: "Failed",
}  # fmt: skip
ANSWERS: Mapping[str, str] = {
    "answered": "Answered in time", "late": "Late", "refused": "Refused", "failed": "Failed", "withheld": "Not asked, by consent",
    "pending": "Being asked",
}  # fmt: skip
LINKS: Mapping[str, str] = {
    "first": "First record of a person", "certain": "Linked by the machine", "by-hand": "Linked by a steward",
    "taken-out": "Taken out by a steward", "put-back": "Put back by an undo",
}  # fmt: skip
CHANGES: Mapping[str, str] = {
    "linked": "Linked", "unlinked": "Link found wrong, undone", "merged": "Merged", "unmerged": "Merge found wrong, undone",
    "split": "Person parted", "replaced": "Record replaced by its source", "removed": "Record removed by its source",
    "revised": "Record changed the person", "decided": "Decided, nothing moved", "overlay-suspected": "Overlay suspected",
    "survivorship-changed": "Details chosen anew",
}  # fmt: skip
CHOICES: Mapping[str, str] = {
    "treat:all": "All who treat me", "treat:named": "Only named places", "treat:none": "No one, to treat me",
    "pay:all": "Payment: all", "pay:named": "Payment: named places", "pay:none": "Payment: no one",
    "run:all": "Running an organization: all", "run:named": "Running an organization: named places",
    "run:none": "Running an organization: no one", "research:all": "Research: all", "research:named": "Research: named places",
    "research:none": "Research: no one", "apart": "Something kept apart", "finer": "Finer rules",
    "no-emergency": "Not in an emergency either", "other-words": "Said in other words", "unread": "Could not be read",
}  # fmt: skip
CHOICE_CHANGES: Mapping[str, str] = {"filed": "Made", "changed": "Changed", "ended": "Ended"}
DELAYS: Mapping[str, str] = {
    Delay.MINUTE: "1 minute", Delay.QUARTER: "15 minutes", Delay.HOUR: "1 hour", Delay.DAY: "1 day", Delay.WEEK: "7 days",
    Delay.LONGER: "more than 7 days", Delay.UNKNOWN: "no creation time",
}  # fmt: skip
FIELDS: Mapping[str, str] = {
    "names": "Name", "birth_date": "Date of birth", "gender": "Sex", "addresses": "Address", "telecoms": "Phone or mail",
    "title": "Title", "language": "Language", "created": "Time of creation", "service-start": "Start of care", "author": "Author",
    "class": "Class", "type": "Type", "setting": "Practice setting", "facility": "Type of facility", "event": "Event code",
    "patient-info": "Details of the patient",
}  # fmt: skip
TOO_FEW = "Fewer than 11 people"


def of_choices(what: str) -> str:
    """A choice in words."""
    return CHOICES.get(what, what)


def of_change(what: str) -> str:
    """A change of identities in words."""
    bare = what.removeprefix("undo-")
    return f"{CHANGES.get(bare, bare)} (undo)" if bare != what else CHANGES.get(what, what)


def step(day: date, at: Period) -> str:
    """A day, or a month, of a period."""
    return f"{day:%-d %b}" if at.step == "day" else f"{day:%b %Y}"


def hidden(number: int) -> str:
    """That something is not shown."""
    if not number:
        return ""
    return f"{number:,} {'number is' if number == 1 else 'numbers are'} not shown, so that no group below 11 people can be read off."


def compared(now: int, before: int, what: str) -> str:
    """How a number stands to that of the time before."""
    if not before:
        return f"{now:,} {what}. There is nothing before to compare with."
    change = round(100 * (now - before) / before)
    if not change:
        return f"{now:,} {what}, as many as in the time before."
    return f"{now:,} {what}, {abs(change)} % {'more' if change > 0 else 'fewer'} than in the time before."


def share(part: int, whole: int) -> str:
    """A share in percent, never "100 %" of what is not whole."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if part < whole and percent > 99:
        return f"{min(percent, 99.9):.1f} %"
    return f"{percent:.0f} %"
