"""How the records of a review item agree, field by field, in words and weights; no rule of matching is written here.

Source: spec/mpi.md section 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import SequenceMatcher
from uuid import UUID

from hie.exchange.review_records import Kind, Record
from patients import levels as lv
from patients.matching import AUTOMATIC_BITS, PairScore
from patients.models import ReviewItem
from patients.normalise import Features, features


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How a field of two records or more agrees, in words; `sign` names colour, `icon` shape."""

    words: str
    sign: str
    icon: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One field: a cell a record, each as runs of text of which some are marked as differing from A's."""

    name: str
    cells: tuple[tuple[tuple[str, bool], ...], ...]
    compared: tuple[Compared, ...]
    bits: float | None
    says: str

    @property
    def weight(self) -> str:
        """The weight in bits, with its sign."""
        return "" if self.bits is None else signed(self.bits)


FIELDS = (
    ("Family name", "surname"), ("Given name", "given"), ("Born", "birth"), ("Sex", "sex"), ("Street", "street"),
    ("Place", "place"), ("Phone", "phone"), ("E-mail", "email"), ("Other numbers", "ident"), ("Occupation", "occupation"),
    ("Born as one of several", ""), ("Former family name of the mother", ""),
)  # fmt: skip
_NEAR_FROM = {"given": 2, "surname": 2, "birth": 3, "sex": 1, "street": 2, "place": 2, "phone": 1, "email": 1, "ident": 1, "occupation": 1}  # fmt: skip
"""The lowest level of a field that is called nearly the same; below it is different."""


def signed(bits: float) -> str:
    """Bits with a sign, by a real minus."""
    return f"{bits:+.1f}".replace("-", "−")


def odds_words(bits: float) -> str:
    """A score as odds in plain words."""
    times = 2.0 ** min(abs(bits), 60.0)
    if times < 1.5:
        return "about even"
    said = "more than a thousand million" if times >= 1e9 else f"about {_round(times)}"
    return f"{said} to 1 {'for' if bits > 0 else 'against'} one person"


def _round(number: float) -> str:
    if number < 10:
        return f"{number:.0f}"
    size = 10 ** (len(str(int(number))) - 2)
    return f"{round(number / size) * size:,.0f}"


def features_of(record: Record, *, own: bool) -> Features:
    """What matching compares of a record; `own`: with its number, which only another record can share."""
    # Two versions of one record share its number: that they do says nothing of whom they describe.
    return features(record.demographics, own=(record.view.authority, record.view.value) if own else None)


def chosen_of(item: ReviewItem, records: Sequence[Record], pairs: Sequence[PairScore], there: UUID | None) -> int:
    """The record that A's weights are shown against: the likest of the other person, or of its own where it is about one."""
    wanted = 2 if there is not None else 1
    ranked = [(pair.score, -place) for place, pair in enumerate(pairs, 1) if records[place].person == wanted]
    return -max(ranked)[1] if ranked else 0


def _texts(record: Record, title: str, key: str) -> tuple[str, ...]:
    """The words of a field, every variant once; without the record's own number, which names it elsewhere."""
    demographics, own = record.demographics, (record.view.authority, record.view.value)
    found: dict[str, Iterable[str]] = {
        "surname": (name.family or name.text for name in demographics.names),
        "given": (" ".join(name.given) for name in demographics.names),
        "birth": (in_words(demographics.birth_date),),
        "sex": (demographics.gender,),
        "street": (", ".join(one.lines) for one in demographics.addresses),
        "place": (" ".join(part for part in (one.postal_code, one.city) if part) for one in demographics.addresses),
        "phone": (one.value for one in demographics.telecoms if one.system != "email"),
        "email": (one.value for one in demographics.telecoms if one.system == "email"),
        "ident": (one.value for one in demographics.identifiers if (one.authority, one.value) != own),
        "occupation": (demographics.occupation,),
        "": (_birth_order(demographics.multiple_birth),)
        if title.startswith("Born")
        else (demographics.mothers_maiden_name,),
    }
    return tuple(dict.fromkeys(value for value in found[key] if value))


def in_words(text: str) -> str:
    """A full date in words; anything else as it was sent."""
    try:
        return f"{date.fromisoformat(text):%-d %B %Y}"
    except ValueError:
        return text


def _birth_order(multiple: bool | int | None) -> str:
    if multiple is None:
        return ""
    if isinstance(multiple, bool):
        return "yes" if multiple else "no"
    return f"yes, number {multiple}"


def is_given(key: str, title: str, records: Sequence[Record]) -> bool:
    """Whether any record says anything of this field: what nobody says is left out."""
    return any(_texts(record, title, key) for record in records)


def row_of(title: str, key: str, records: Sequence[Record], pairs: Sequence[PairScore], chosen: int) -> Row:
    """One field of all records; its weight is that of A with the `chosen` record."""
    texts = ["; ".join(_texts(record, title, key)) for record in records]
    found: list[tuple[str, str]] = []
    for place, pair in enumerate(pairs, 1):
        level = pair.levels[lv.FIELDS.index(key)] if key else lv.MISSING
        found.append((records[place].letter, _level_words(key, level, swapped=_swapped(pair))))
    grouped: dict[str, list[str]] = {}
    for letter, words in found:
        grouped.setdefault(words, []).append(letter)
    alone = len(grouped) == 1
    bits = pairs[chosen - 1].weights.get(key) if pairs and chosen else None
    return Row(
        name=title,
        cells=tuple(
            ((text or "not given", False),)
            if n == 0 or found[n - 1][1] in ("The same", "Not compared")
            else _marked(texts[0], text, near=found[n - 1][1].startswith("Nearly"))
            for n, text in enumerate(texts)
        ),
        compared=tuple(
            _signed_words(words if alone else f"{words} in {_and(['A', *letters])}")
            for words, letters in grouped.items()
        ),
        bits=bits,
        says="" if bits is None else _says(bits),
    )


def _swapped(pair: PairScore) -> bool:
    return pair.levels[lv.FIELDS.index("given")] == lv.GIVEN_SWAPPED


def _level_words(key: str, level: int, *, swapped: bool) -> str:
    if key == "surname" and swapped:
        return "Compared with the given name"
    if level < 0:
        return "Not compared"
    names = lv.LEVEL_NAMES[key]
    if key == "given" and swapped:
        return "Nearly the same: given and family name swapped"
    if names[level] == "equal":
        return "The same"
    if level >= _NEAR_FROM[key]:
        return "Nearly the same" if names[level] == "nearly equal" else f"Nearly the same: {names[level]}"
    return "Different" if level == 0 else f"Different: {names[level]}"


def _signed_words(words: str) -> Compared:
    for start, sign, icon in (
        ("The same", "t-good", "equal"),
        ("Nearly", "t-emergency", "near"),
        ("Different", "t-bad", "differs"),
    ):
        if words.startswith(start):
            return Compared(words=words, sign=sign, icon=icon)
    return Compared(words=words, sign="soft", icon="bar")


def _and(letters: Sequence[str]) -> str:
    return letters[0] if len(letters) == 1 else f"{', '.join(letters[:-1])} and {letters[-1]}"


def _marked(first: str, other: str, *, near: bool) -> tuple[tuple[str, bool], ...]:
    """The text with what differs from the first one's marked: parts of it where the two are `near`, else all of it."""
    if not other:
        return (("not given", False),)
    if not first or first.casefold() == other.casefold():
        return ((other, False),)
    if not near:
        return ((other, True),)
    letters = _runs(list(first), list(other))
    if any(marked for _, marked in letters) and not other[:1].isdigit():
        return letters
    # Of a date, or where only something is left out, whole words say more.
    return _runs(re.split(r"(?<=\s)", first), re.split(r"(?<=\s)", other))


def _runs(first: list[str], other: list[str]) -> tuple[tuple[str, bool], ...]:
    folded = [[part.casefold().strip() for part in parts] for parts in (first, other)]
    codes = SequenceMatcher(None, folded[0], folded[1], autojunk=False).get_opcodes()
    runs: list[tuple[str, bool]] = []
    for tag, _, _, start, end in codes:
        text = "".join(other[start:end])
        bare = text.strip()
        if tag == "equal" or not bare:
            runs.append((text, False))
            continue
        # A space is no difference to be seen.
        before, after = text.split(bare, 1)
        runs += [(before, False), (bare, True), (after, False)]
    return tuple(run for run in runs if run[0])


def _says(bits: float) -> str:
    size = abs(bits)
    if size < 0.5:
        return "says little"
    side = "for" if bits > 0 else "against"
    return f"{'slightly ' if size < 2 else 'strongly ' if size >= 5 else ''}{side} one person"


def family_of(pair: PairScore | None) -> tuple[tuple[str, str, str], ...]:
    """What counts besides the fields: (what, bits, in words)."""
    if pair is None:
        return ()
    out = []
    if pair.weights.get("household", 0.0) < -0.05:
        bits = pair.weights["household"]
        out.append(("One household", signed(bits), "people of one home share name, address and phone: that much is taken back"))  # fmt: skip
    prior = pair.weights.get("prior", 0.0)
    out.append(("Before looking", signed(prior), "two records picked at random are hardly ever one person"))
    return tuple(out)


def total_words_of(pair: PairScore, letter: str, kind: str) -> str:
    """The whole score in words, and what it is for this kind of item."""
    said = f"A with {letter}: {odds_words(pair.score)}, as the model sees it."
    if kind != Kind.POSSIBLE_MATCH:
        return said
    return f"{said} From {AUTOMATIC_BITS:.0f} bits records are linked without a person, unless a rule forbids it."
