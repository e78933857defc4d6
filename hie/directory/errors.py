"""What the directory refuses."""

from __future__ import annotations

from dataclasses import dataclass

from hie.standards.errors import HubError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong in a participants file: `path` such as ``participants[2].jwks.keys[0].kid``."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class RegistrationRefused(HubError):
    """The participants file is wrong; nothing was changed. `faults` names every place."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults), element=faults[0].path if faults else None)
        self.faults = tuple(faults)


class UnknownParticipant(HubError):
    """The directory holds no participant of this id."""

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"no participant {participant_id} in the directory", element="participant")
        self.participant_id = participant_id


class OnboardingRefused(HubError):
    """A step of an onboarding cannot be taken; nothing was changed."""


class HolidaysRefused(HubError):
    """Public holidays cannot be entered or taken out so; `element` names the part. Nothing was changed."""


class OnboardingChanged(HubError):
    """Somebody else changed an onboarding since it was shown; nothing was changed."""
