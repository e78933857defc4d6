"""An answer to "why not?": one sentence, and the steps that lead to it, each with what was found and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sign = Literal["good", "bad", "open"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that must hold: whether it does (``open``: it speaks neither for nor against), what was found, what to do."""

    title: str
    sign: Sign
    found: str
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The answer: `heading` is the whole of it in a sentence."""

    heading: str
    steps: tuple[Step, ...]

    @property
    def todo(self) -> tuple[str, ...]:
        """What is to be done, each once."""
        return tuple(dict.fromkeys(step.todo for step in self.steps if step.todo))


def good(title: str, found: str) -> Step:
    """It holds."""
    return Step(title=title, sign="good", found=found)


def bad(title: str, found: str, todo: str = "") -> Step:
    """It does not hold."""
    return Step(title=title, sign="bad", found=found, todo=todo)


def note(title: str, found: str, todo: str = "") -> Step:
    """To be known."""
    return Step(title=title, sign="open", found=found, todo=todo)


def sentence(text: str) -> str:
    """Text as a sentence."""
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?', '!')) else '.'}" if text else ""
