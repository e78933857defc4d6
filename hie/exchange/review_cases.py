"""One review item as a steward sees it: the records side by side, what agrees, why it waits, what a verdict would do.

Each value is that of a record's current version, and the comparison is made anew by today's model, so that what is
shown is what is decided. Words only: no rule of matching is written here.

Source: spec/mpi.md section 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from hie.directory import queries as directory
from hie.exchange import review_list, review_stakes
from hie.exchange.review_comparison import (
    FIELDS,
    Row,
    chosen_of,
    family_of,
    features_of,
    is_given,
    row_of,
    signed,
    total_words_of,
)
from hie.exchange.review_records import Column, Hanging, Kind, Record, column_of, hanging_on, records_of
from patients import queries as index
from patients import reviewing
from patients.demographics import SourceRecordView
from patients.matching import AUTOMATIC_BITS, PERSON_BITS, PairScore, Rule
from patients.models import ReviewItem
from patients.reviewing import ASKED, Verdict


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


_NUMBER = {1: "one", 2: "two", 3: "three", 4: "four", 5: "five"}


def case(item: ReviewItem, *, me: str = "") -> Case:
    """The page of an item; 14 statements at most, whatever hangs on its records."""
    here, there = review_stakes.sides(item)
    people = tuple(sorted(one for one in (here, there) if one is not None))
    views = index.source_records_of(people)
    names = directory.participants()
    revised = reviewing.revision_of(item) if item.kind == Kind.OVERLAY else None
    records, more = records_of(item, here, there, views, revised, {one: names[one].name for one in names})
    hanging = hanging_on(view.source_record_id for some in views.values() for view in some)
    parting = item.kind == Kind.PARTING
    columns = tuple(column_of(record, hanging, two=there is not None, parting=parting) for record in records)
    compared = [features_of(record, own=revised is None) for record in records]
    pairs = index.compared(compared[0], compared[1:])
    chosen = chosen_of(item, records, pairs, there)
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
        rows=tuple(
            row_of(title, key, records, pairs, chosen) for title, key in FIELDS if is_given(key, title, records)
        ),
        family=family_of(pair),
        total="" if pair is None else signed(pair.score),
        total_words="" if pair is None else total_words_of(pair, records[chosen].letter, item.kind),
        more=more,
        choices=choices if waits else (),
        effects=_effects(item, columns, there, more, hanging) if waits else (),
        proposed=next((choice for choice in choices if choice.verdict == item.proposed), None),
        acts=acts,
        names=review_list.names_of(actors),
        seen=_seen(people, views, item),
    )


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


# --- why it waits, and what a verdict does ---------------------------------------------------------------------------

RULE_WORDS: Mapping[Rule, str] = {
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
    found = [RULE_WORDS[rule] for rule in pair.rules]
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


def _choices(item: ReviewItem, records: Sequence[Record], there: UUID | None) -> tuple[Choice, ...]:
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
