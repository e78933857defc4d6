"""One review item as a steward sees it: the records side by side, what agrees, why it waits, what a verdict would do.

Each value is that of a record's current version, and the comparison is made anew by today's model, so that what is
shown is what is decided. Words only: no rule of matching is written here.

Source: spec/mpi.md section 5.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from difflib import SequenceMatcher
from uuid import UUID

from django.db.models import Count, Max

from consent.models import Consent, ProxyGrant
from documents.models import DocumentEntry, Folder
from hie.directory import queries as directory
from hie.exchange import review_list, review_stakes
from hie.standards.demographics import Demographics
from patients import levels as lv
from patients import queries as index
from patients import reviewing
from patients.demographics import SourceRecordView
from patients.identifiers import HUB
from patients.matching import AUTOMATIC_BITS, PERSON_BITS, PairScore, Rule
from patients.models import ReviewItem
from patients.normalise import Features, features
from patients.reviewing import ASKED, Verdict

MAX_RECORDS = 5
"""Records shown side by side; more of these persons are counted."""

Kind = ReviewItem.Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One record: who keeps it, and what hangs on it."""

    letter: str
    organization: str
    identifier: str
    person: str
    since: datetime | None
    told: datetime | None
    version: str
    documents: int
    newest: datetime | None
    choices: int
    folders: int
    helpers: int

    @property
    def name(self) -> str:
        """Letter and organization."""
        return f"{self.letter} · {self.organization}"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A verdict with its words, what it does, and how many documents it moves."""

    verdict: str
    words: str
    effect: str
    moved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What would happen, as short sentences under a heading."""

    heading: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A review item for its page. `people` are those it shows: each look at them must be recorded before it is shown.

    `seen` changes whenever a record, its version or its person does.
    """

    item: ReviewItem
    people: tuple[UUID, ...]
    waits: bool
    heading: str
    kind_words: str
    why: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    family: tuple[tuple[str, str, str], ...]
    total: str
    total_words: str
    more: int
    choices: tuple[Choice, ...]
    effects: tuple[Effect, ...]
    proposed: Choice | None
    acts: tuple[review_list.Act, ...]
    names: Mapping[str, str]
    seen: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    letter: str
    organization: str
    view: SourceRecordView
    person: int
    demographics: Demographics
    version: str


_FIELDS = (
    ("Family name", "surname"), ("Given name", "given"), ("Born", "birth"), ("Sex", "sex"), ("Street", "street"),
    ("Place", "place"), ("Phone", "phone"), ("E-mail", "email"), ("Other numbers", "ident"), ("Occupation", "occupation"),
    ("Born as one of several", ""), ("Former family name of the mother", ""),
)  # fmt: skip
_NEAR_FROM = {"given": 2, "surname": 2, "birth": 3, "sex": 1, "street": 2, "place": 2, "phone": 1, "email": 1, "ident": 1, "occupation": 1}  # fmt: skip
"""The lowest level of a field that is called nearly the same; below it is different."""
_NUMBER = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}


def case(item: ReviewItem, *, me: str = "") -> Case:
    """The page of an item; 14 statements at most, whatever hangs on its records."""
    here, there = review_stakes.sides(item)
    people = tuple(sorted(one for one in (here, there) if one is not None))
    views = index.source_records_of(people)
    names = directory.participants()
    revised = reviewing.revision_of(item) if item.kind == Kind.OVERLAY else None
    records, more = _records(item, here, there, views, revised, {one: names[one].name for one in names})
    hanging = hanging_on(view.source_record_id for some in views.values() for view in some)
    parting = item.kind == Kind.PARTING
    columns = tuple(_column(record, hanging, two=there is not None, parting=parting) for record in records)
    compared = [_features(record, own=revised is None) for record in records]
    pairs = index.compared(compared[0], compared[1:])
    chosen = _chosen(item, records, pairs, there)
    pair = pairs[chosen - 1] if pairs else None
    acts = tuple(review_list.acts(item_id=item.pk, me=me))
    waits = item.status in (ReviewItem.Status.OPEN, ReviewItem.Status.DEFERRED)
    choices = _choices(item, records, there)
    actors = {act.actor for act in acts} | {item.claimed_by, item.proposed_by}
    return Case(
        item=item,
        people=people,
        waits=waits,
        heading=_heading(item, len(records)),
        kind_words=_kind_words(item),
        why=_why(item, pair, there),
        columns=columns,
        rows=tuple(_row(title, key, records, pairs, chosen) for title, key in _FIELDS if _given(key, title, records)),
        family=_family(pair),
        total="" if pair is None else signed(pair.score),
        total_words="" if pair is None else _total_words(pair, records[chosen].letter, item.kind),
        more=more,
        choices=choices if waits else (),
        effects=_effects(item, columns, there, more, hanging) if waits else (),
        proposed=next((choice for choice in choices if choice.verdict == item.proposed), None),
        acts=acts,
        names=review_list.names_of(actors),
        seen=_seen(people, views, item),
    )


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


def _kind_words(item: ReviewItem) -> str:
    return "Link drawn at random" if item.sampled else review_list.KIND_WORDS[item.kind]


def _heading(item: ReviewItem, number: int) -> str:
    if item.kind == Kind.OVERLAY:
        return "Does this new version describe the same person?"
    if item.kind == Kind.DOUBTFUL_LINK:
        return "Does this record belong to this person?"
    if item.kind == Kind.PARTING:
        return f"{'Is this record' if len(item.records) == 1 else 'Are these records'} somebody else’s?"
    return f"Are these {_NUMBER[number]} records one person?" if number > 1 else "Is there anything left to decide?"


def _records(
    item: ReviewItem,
    here: UUID,
    there: UUID | None,
    views: Mapping[UUID, Sequence[SourceRecordView]],
    revised: Demographics | None,
    names: Mapping[str, str],
) -> tuple[list[_Record], int]:
    """The item's record first, then its person's and the other person's, at least one of each; and how many are left out."""
    mine = [view for view in views.get(here, ()) if view.participant_id != HUB]
    own = next(view for view in mine if view.source_record_id == item.source_record_id)
    version = "the current version"
    first = _Record(letter="A", organization=names.get(own.participant_id, own.participant_id), view=own, person=1, demographics=own.demographics, version=f"{own.version}")  # fmt: skip
    if revised is not None:
        number = item.version.version if item.version is not None else 0
        kept = replace(first, letter="B", demographics=revised, version=f"{number}, kept aside", organization=f"{first.organization}, new")  # fmt: skip
        return [
            replace(first, version=f"{own.version}, {version}", organization=f"{first.organization}, as it is"),
            kept,
        ], 0
    if item.kind == Kind.PARTING:
        first = replace(first, person=0)
    kin = [
        (0 if view.source_record_id in item.records else 1, view)
        for view in mine
        if (view.active or view.source_record_id in item.records) and view.source_record_id != own.source_record_id
    ]
    kin.sort(key=lambda one: one[0])  # those that would move first
    others = [(2, view) for view in views.get(there, ()) if view.active and view.participant_id != HUB] if there else []
    room = MAX_RECORDS - 1
    shown_others = others[: max(1, room - len(kin))] if len(kin) + len(others) > room else others
    shown_kin = kin[: room - len(shown_others)]
    if kin and kin[-1][0] == 1 and shown_kin and shown_kin[-1][0] == 0:
        shown_kin = [
            *shown_kin[:-1],
            next(one for one in kin if one[0] == 1),
        ]  # one of those that would stay, to compare
    out = [first]
    for number, (person, view) in enumerate([*shown_kin, *shown_others], 1):
        out.append(
            _Record(
                letter=chr(65 + number),
                organization=names.get(view.participant_id, view.participant_id),
                view=view,
                person=person,
                demographics=view.demographics,
                version=f"{view.version}",
            )
        )
    return out, len(kin) + len(others) + 1 - len(out)


# --- what hangs on the records ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Hanging:
    """What hangs on records, by record: documents with the day of the newest, choices, folders, helpers."""

    documents: Mapping[int, tuple[int, datetime | None]]
    choices: Mapping[int, int]
    folders: Mapping[int, int]
    helpers: Mapping[int, int]


def hanging_on(source_records: Iterable[int]) -> Hanging:
    """What hangs on these records. 4 statements."""
    records = list(source_records)
    entries = DocumentEntry.objects.filter(patient_identifier__source_record__in=records)
    folders = Folder.objects.filter(patient_identifier__source_record__in=records)
    choices = Consent.objects.filter(identifier__source_record__in=records, status="active")
    helpers = ProxyGrant.objects.filter(identifier__source_record__in=records)
    counted = entries.values_list("patient_identifier__source_record").annotate(
        n=Count("pk"), newest=Max("registered_at")
    )
    return Hanging(
        documents={record: (n, newest) for record, n, newest in counted.order_by("patient_identifier__source_record")},
        choices=_counted(choices.values_list("identifier__source_record", flat=True)),
        folders=_counted(folders.values_list("patient_identifier__source_record", flat=True)),
        helpers=_counted(helpers.values_list("identifier__source_record", flat=True)),
    )


def _counted(records: Iterable[int]) -> Mapping[int, int]:
    return Counter(records)


_PLACES = ("This person; would move", "This person; stays", "The other person")


def _column(record: _Record, hanging: Hanging, *, two: bool, parting: bool) -> Column:
    key = record.view.source_record_id
    documents, newest = hanging.documents.get(key, (0, None))
    return Column(
        letter=record.letter,
        organization=record.organization,
        identifier=record.view.value,
        person=_PLACES[record.person] if parting else f"Person {record.person}" if two else "One person",
        since=record.view.created_at,
        told=record.view.updated_at,
        version=record.version,
        documents=documents,
        newest=newest,
        choices=hanging.choices.get(key, 0),
        folders=hanging.folders.get(key, 0),
        helpers=hanging.helpers.get(key, 0),
    )


# --- fields ----------------------------------------------------------------------------------------------------------


def _features(record: _Record, *, own: bool) -> Features:
    # Two versions of one record share its number: that they do says nothing of whom they describe.
    return features(record.demographics, own=(record.view.authority, record.view.value) if own else None)


def _chosen(item: ReviewItem, records: Sequence[_Record], pairs: Sequence[PairScore], there: UUID | None) -> int:
    """The record that A's weights are shown against: the likest of the other person, or of its own where it is about one."""
    wanted = 2 if there is not None else 1
    ranked = [(pair.score, -place) for place, pair in enumerate(pairs, 1) if records[place].person == wanted]
    return -max(ranked)[1] if ranked else 0


def _texts(record: _Record, title: str, key: str) -> tuple[str, ...]:
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


def _given(key: str, title: str, records: Sequence[_Record]) -> bool:
    """Whether any record says anything of this field: what nobody says is left out."""
    return any(_texts(record, title, key) for record in records)


def _row(title: str, key: str, records: Sequence[_Record], pairs: Sequence[PairScore], chosen: int) -> Row:
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


def _family(pair: PairScore | None) -> tuple[tuple[str, str, str], ...]:
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


def _total_words(pair: PairScore, letter: str, kind: str) -> str:
    said = f"A with {letter}: {odds_words(pair.score)}, as the model sees it."
    if kind != Kind.POSSIBLE_MATCH:
        return said
    return f"{said} From {AUTOMATIC_BITS:.0f} bits records are linked without a person, unless a rule forbids it."


# --- why it waits, and what a verdict does ---------------------------------------------------------------------------

_RULE_WORDS: Mapping[Rule, str] = {
    Rule.TWIN: "They may be twins: family name, birth date and home or phone agree, the given name does not. Twins are never linked by the machine.",
    Rule.JUNIOR: "They may be parent and child: the same name and home, born fifteen years or more apart. Such pairs are never linked by the machine.",
    Rule.EVIDENCE: "Too little speaks of the person: given name and birth date must agree, or one of them and a number.",
    Rule.PERSON_WEIGHT: f"What agrees is mostly of the home: given name, birth date, sex and numbers weigh less than {PERSON_BITS:.0f} bits.",
}


def _why(item: ReviewItem, pair: PairScore | None, there: UUID | None) -> tuple[str, ...]:
    if item.sampled:
        return ("This link was drawn at random, to learn how many links are wrong. Nothing speaks against it so far.",)
    if item.kind == Kind.OVERLAY:
        return (
            "An organization sent a new version of its record in which name, birth date and sex differ together.",
            "It may have used the number for somebody else. The new version is kept aside until you decide.",
        )
    if item.kind == Kind.DUPLICATE_RESOLVED:
        return ("An organization said that two of its own records are one patient. They belonged to different persons, and other records are still with the second one.",)  # fmt: skip
    if item.kind == Kind.DOUBTFUL_LINK:
        return ("A record changed, and no longer supports the link to its person.",)
    if item.kind == Kind.PARTING:
        return _why_parting(item)
    if there is None:
        return ("The records belong to one person by now: somebody joined them.",)
    if pair is None:
        return ("One of the persons has no record in use.",)
    found = [_RULE_WORDS[rule] for rule in pair.rules]
    if item.reason == ASKED:
        asked = "A steward opened this case because somebody says that the two are one person. The reason is below, under “What was done”."
        return (asked if item.contested_id is None else _CONTESTED, *found)
    if not found and pair.score >= AUTOMATIC_BITS:
        found = ["These two agree well, but the other records of the two persons do not: their mean is too low."]
    if not found:
        found = [f"The score is {signed(pair.score)} bits. Below {AUTOMATIC_BITS:.0f} a person must decide."]
    return tuple(found)


_CONTESTED = (
    "A steward wants a change undone that put records where they are. The reason is below, under “What was done”."
)


def _why_parting(item: ReviewItem) -> tuple[str, ...]:
    many = len(item.records) != 1
    if item.contested is not None:
        return (
            _CONTESTED,
            f"{_things(len(item.records), 'record')} would go back to where {'they were' if many else 'it was'}.",
        )
    asked = f"A steward opened this case because somebody says that {'these records are' if many else 'this record is'} another person’s. The reason is below, under “What was done”."
    return (asked,)


_ONE, _APART_WORDS, _LATER = "One person: merge", "Not the same person", "Not now"


def _choices(item: ReviewItem, records: Sequence[_Record], there: UUID | None) -> tuple[Choice, ...]:
    """What may be decided here, each with what it does; 3 statements a choice that moves anything."""
    kin = [record for record in records if record.person == 1]
    out: list[tuple[Verdict, str, str]] = []
    if item.kind == Kind.OVERLAY:
        out = [
            (Verdict.SAME, "The same person: take the new version", "It becomes the record's current version. Can be undone."),
            (Verdict.DIFFERENT, "Somebody else: keep the former version", "Remembered. Tell the organization that its number was used twice."),
        ]  # fmt: skip
    elif item.kind == Kind.DOUBTFUL_LINK:
        out = [
            (Verdict.SAME, "One person: keep the link", "Remembered. The record stays where it is."),
            (Verdict.DIFFERENT, "Not this person: take the record out", "Record A becomes a person of its own. Can be undone."),
        ]  # fmt: skip
    elif item.kind == Kind.PARTING:
        out = _parting_choices(item, there)
    else:
        together = "all records" if len(records) > 2 else "both records"
        if there is not None:
            if item.contested_id is not None:
                out.append((Verdict.SAME, "Undo the change", "The records come together again, as they were. Can be undone."))  # fmt: skip
            else:
                out.append((Verdict.SAME, _ONE, f"{together.capitalize()} come together. Can be undone."))
            if len(kin) > 1 and item.contested_id is None:
                out.append((Verdict.LINK, "Only record A belongs to person 2", "A moves to person 2. The other records of person 1 stay. Can be undone."))  # fmt: skip
            out.append(
                (Verdict.DIFFERENT, _APART_WORDS, "Remembered for ever, unless it is undone. We do not ask again.")
            )
        else:
            out.append((Verdict.SAME, "One person: nothing is left to do", "The case is closed."))
    out.append((Verdict.DEFER, _LATER, "The case comes back on the day you choose."))
    return tuple(
        Choice(verdict=verdict.value, words=words, effect=effect, moved=review_stakes.documents_moved(item, verdict))
        for verdict, words, effect in out
    )


def _parting_choices(item: ReviewItem, there: UUID | None) -> list[tuple[Verdict, str, str]]:
    many = len(item.records) != 1
    they, what = ("They", f"these {len(item.records)} records") if many else ("It", "record A")
    if item.contested_id is not None:
        move = ("Undo the change", "Everything goes back to exactly where it was. Can be undone.")
    elif there is not None:
        move = (f"Move {what} to the other person", f"{they} {'stay' if many else 'stays'} apart from this person for good. Can be undone.")  # fmt: skip
    else:
        move = (f"Move {what} out", f"{they} {'become' if many else 'becomes'} a person of {'their' if many else 'its'} own, and {'stay' if many else 'stays'} apart. Can be undone.")  # fmt: skip
    keep = (Verdict.SAME, "This person’s: nothing moves", "The case is closed.")
    return [(Verdict.DIFFERENT, *move), keep]


def _effects(
    item: ReviewItem, columns: Sequence[Column], there: UUID | None, more: int, hanging: Hanging
) -> tuple[Effect, ...]:
    documents = sum(n for n, _ in hanging.documents.values())
    choices, folders, helpers = (sum(found.values()) for found in (hanging.choices, hanging.folders, hanging.helpers))
    own = columns[0]
    rest = f"{_things(folders, 'folder')}, {_things(choices, 'choice')} about sharing, {_things(helpers, 'helper')}."
    if item.kind == Kind.OVERLAY:
        moved = (
            _sentence(f"{_things(own.documents, 'document')} of this record would stand under the new name."),
            "No document leaves its record.",
        )
        return (Effect(heading="If you take the new version", sentences=moved),)
    if item.kind == Kind.DOUBTFUL_LINK:
        return (
            Effect(
                heading="If you take record A out",
                sentences=(
                    _sentence(
                        f"{_things(own.documents, 'document')} and {_things(own.choices, 'choice')} about sharing leave this person with record A."
                    ),
                    "Everything else stays with this person.",
                ),
            ),
            _FOR_THE_PEOPLE_APART,
        )
    if item.kind == Kind.PARTING:
        return _parting_effects(item, there, hanging)
    if there is None:
        return ()
    parts = ", ".join(f"{column.documents} from {column.letter}" for column in columns if column.documents)
    more_words = " and others not shown" if more else ""
    come = f"{_things(documents, 'document')} {'comes' if documents == 1 else 'come'} together{': ' + parts + more_words if parts else ''}."
    law = (
        "Choices about sharing hold for all of them. The stricter one wins."
        if choices
        else "No choice about sharing is on file."
    )
    return (
        Effect(heading="If you merge", sentences=(_sentence(come), f"With them: {rest}", law)),
        Effect(
            heading="For the people",
            sentences=(
                "The patient sees one log instead of two, and your decision in it.",
                "It can be undone. Each document then goes back to where it came from.",
            ),
        ),
    )


def _parting_effects(item: ReviewItem, there: UUID | None, hanging: Hanging) -> tuple[Effect, ...]:
    gone = set(item.records)
    documents = sum(n for record, (n, _) in hanging.documents.items() if record in gone)
    choices, folders, helpers = (
        sum(n for record, n in found.items() if record in gone)
        for found in (hanging.choices, hanging.folders, hanging.helpers)
    )
    kept = sum(n for record, (n, _) in hanging.documents.items() if record not in gone)
    leave = f"{_things(documents, 'document')} {'leaves' if documents == 1 else 'leave'} this person with {_things(len(gone), 'record')}."
    rest = f"With them: {_things(folders, 'folder')}, {_things(choices, 'choice')} about sharing, {_things(helpers, 'helper')}."
    stay = (
        f"{_things(kept, 'document')} {'stays' if kept == 1 else 'stay'} where {'it is' if kept == 1 else 'they are'}."
    )
    if there is not None:
        stay = "The other person’s documents are seen together with these then. Nothing else moves."
    heading = (
        "If you undo the change"
        if item.contested_id is not None
        else f"If you move {'it' if len(gone) == 1 else 'them'} out"
    )
    sentences = (_sentence(leave), rest, _sentence(stay))
    return Effect(heading=heading, sentences=sentences), _FOR_THE_PEOPLE_APART


_FOR_THE_PEOPLE_APART = Effect(
    heading="For the people",
    sentences=("Both see your decision in their log.", "It can be undone. Record and documents then come back."),
)


def _things(number: int, name: str) -> str:
    return f"{number or 'no'} {name}{'' if number == 1 else 's'}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _seen(people: Sequence[UUID], views: Mapping[UUID, Sequence[SourceRecordView]], item: ReviewItem) -> str:
    """Sixteen letters that change with any record, version or link of what is shown."""
    parts = [f"{item.pk}/{item.status}/{item.proposed}"]
    for person in people:
        parts += [f"{person}/{view.source_record_id}/{view.version}/{view.active}" for view in views.get(person, ())]
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]
