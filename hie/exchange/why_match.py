"""Why two persons are not one: did their records ever meet, what was compared, how it weighs, which rule stands above it,
and what people have said.

No rule of matching is written here: the search for candidates, the score and the decision are asked as a message asks them.
Both persons are shown, so each must have a look in the log before the page is.

Source: spec/mpi.md section 3 (Block, Compare, Score, Rules, Decide) and 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from hie.directory import queries as directory
from hie.exchange import identity_pages, review_list
from hie.exchange.identity_pages import Summary
from hie.exchange.review_cases import RULE_WORDS
from hie.exchange.review_comparison import FIELDS, Row, family_of, features_of, is_given, odds_words, row_of, signed
from hie.exchange.review_records import Record
from hie.exchange.why import Step, Why, bad, good, note
from patients import blocking, deciding, store
from patients import queries as index
from patients.demographics import SourceRecordView
from patients.identifiers import HUB
from patients.matching import AUTOMATIC_BITS, POSSIBLE_BITS, PROBABLE_BITS, Grade, PairScore
from patients.models import Link, MatchDecision, ReviewItem
from patients.normalise import Features

MOST_RECORDS = 12
"""Records of one person that are compared; the first by organization and number."""

_KEY_WORDS: Mapping[str, str] = {
    "id": "the same number", "ph": "the same phone", "em": "the same e-mail address", "st": "the same street and post code",
    "pc": "the same post code", "nt": "a name and the town", "so": "names that sound alike",
    "ga": "the beginnings of both names", "ty": "the town and the year of birth", "ly": "the family name and the year of birth",
    "gl": "the beginnings of both names and the year of birth", "ny": "all names and the year of birth",
    "bd": "the date of birth", "ld": "the family name and the birthday", "gd": "the given name and the birthday",
}  # fmt: skip
_GRADES: Mapping[Grade, str] = {
    Grade.CERTAIN: "The record would be linked without a person looking.",
    Grade.PROBABLE: "A steward would be asked. Nothing is linked before.",
    Grade.POSSIBLE: "It would be no more than possible: nothing is linked.",
    Grade.CERTAINLY_NOT: "They would be taken for two.",
}
_NEWS = "Records are compared when one is news. Have one of them sent again, or open a case for the two."


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The answer, with the two records that come nearest, field by field. `case` is a case of the queue about the two."""

    why: Why
    people: tuple[Summary, Summary]
    together: bool
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    family: tuple[tuple[str, str, str], ...] = ()
    total: str = ""
    total_words: str = ""
    case: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The two records that come nearest of those that were compared, their score, and how many were."""

    first: SourceRecordView
    second: SourceRecordView
    score: PairScore
    compared: int


def match(one: UUID, other: UUID) -> Match:
    """Why these two persons are not one, or by what they are; 17 statements at most. Both must be living."""
    with directory.one_reading():
        return _match(one, other)


def _match(one: UUID, other: UUID) -> Match:
    people = identity_pages.summaries([one, other])
    views = index.source_records_of([one, other])
    mine, theirs = (_in_use(views.get(person, ())) for person in (one, other))
    if one == other:
        return _together(people[one], mine)
    both = (people[one], people[other])
    if not mine or not theirs:
        step = bad("Each has a record in use", "One of the two has none: it was withdrawn or replaced, so nothing is compared.", "Ask its organization to send the record again.")  # fmt: skip
        return Match(
            why=Why(heading="One of them has no record in use", steps=(step,)), people=both, together=False, case=None
        )
    pair = _nearest(mine, theirs)
    said, case = _said(one, other, views)
    steps = [_met(pair), _weighed(pair), *_ruled(pair), *_as_persons(pair, mine, theirs, one, other), *said]
    records = [_record("A", pair.first, 1), _record("B", pair.second, 2)]
    return Match(
        why=Why(heading=_heading(steps, said, case, pair), steps=tuple(steps)),
        people=both,
        together=False,
        columns=tuple(f"{record.letter} · {record.organization}" for record in records),
        rows=tuple(
            row_of(title, key, records, [pair.score], 1) for title, key in FIELDS if is_given(key, title, records)
        ),
        family=family_of(pair.score),
        total=signed(pair.score.score),
        total_words=f"{odds_words(pair.score.score).capitalize()}, as the model sees it. From {AUTOMATIC_BITS:.0f} bits records are linked without a person, unless a rule forbids it.",
        case=case,
    )


def _in_use(views: Sequence[SourceRecordView]) -> list[SourceRecordView]:
    return [view for view in views if view.active and view.participant_id != HUB][:MOST_RECORDS]


def _record(letter: str, view: SourceRecordView, person: int) -> Record:
    facts = directory.participant(view.participant_id)
    name = facts.name if facts is not None and facts.name else view.participant_id
    return Record(letter=letter, organization=name, view=view, person=person, demographics=view.demographics, version=f"{view.version}")  # fmt: skip


def _features(view: SourceRecordView) -> Features:
    return features_of(_record("", view, 0), own=True)


def _nearest(mine: Sequence[SourceRecordView], theirs: Sequence[SourceRecordView]) -> _Pair:
    scorer = store.scorer()
    scored = [(scorer.score(_features(first), _features(second)), first, second) for first in mine for second in theirs]
    # A pair that no rule forbids comes before one that a rule does, as where persons are scored.
    score, first, second = max(scored, key=lambda item: (item[0].automatic, not item[0].vetoed, item[0].score))
    return _Pair(first=first, second=second, score=score, compared=len(scored))


def _met(pair: _Pair) -> Step:
    """Whether each comes up when candidates for the other are looked for."""
    title = "Do they find one another?"
    first, second = _features(pair.first), _features(pair.second)
    shared = sorted({key.partition(":")[0] for key in {*blocking.keys(first)} & {*blocking.keys(second)}})
    words = ", ".join(_KEY_WORDS.get(kind, kind) for kind in shared)
    there = {item.record_id for item in store.near(first, record_id=pair.first.source_record_id)[0]}
    back = {item.record_id for item in store.near(second, record_id=pair.second.source_record_id)[0]}
    if pair.second.source_record_id in there or pair.first.source_record_id in back:
        by = f"by {words}" if words else "by another record of the same person"
        many = f"It is one of {len(there)} that were compared." if len(there) > 1 else "No other was compared."
        return good(title, f"Yes, {by}. {many}")
    if shared:
        return bad(title, f"Hardly: they share {words}, but so do so many others that only the nearest are compared, and these are not among them.", "Open a case for the two.")  # fmt: skip
    return bad(title, "No: no number, phone, address, name or date of birth of one leads to the other, so they were never compared.", "Open a case for the two, or have an organization send what both have in common.")  # fmt: skip


def _weighed(pair: _Pair) -> Step:
    title, bits = "Does enough agree?", pair.score.score
    near = f"Of {pair.compared} pairs of records the nearest has" if pair.compared > 1 else "The two records have"
    found = f"{near} {signed(bits)} bits: {odds_words(bits)}."
    if bits >= AUTOMATIC_BITS:
        return good(title, f"{found} {AUTOMATIC_BITS:.0f} are enough.")
    if bits >= PROBABLE_BITS:
        return bad(title, f"{found} Below {AUTOMATIC_BITS:.0f} a person must decide.", "Open a case for the two, or decide the one there is.")  # fmt: skip
    if bits >= POSSIBLE_BITS:
        return bad(title, f"{found} Below 0 nobody is asked.", "Open a case for the two, if you know that they are one.")  # fmt: skip
    return bad(title, f"{found} That is nobody near.", "Open a case for the two, if you know that they are one.")


def _ruled(pair: _Pair) -> list[Step]:
    title = "Does a rule stand above the score?"
    if not pair.score.rules:
        return [good(title, "No rule forbids it.")]
    return [bad(title, RULE_WORDS[rule], "Open a case for the two: a person may decide otherwise.") for rule in pair.score.rules]  # fmt: skip


def _as_persons(
    pair: _Pair, mine: Sequence[SourceRecordView], theirs: Sequence[SourceRecordView], one: UUID, other: UUID
) -> list[Step]:
    """What would come of it if either record were news today: all records of the other person count."""
    title = "What if it came today?"
    steps = []
    for letter, view, records, person in (("A", pair.first, theirs, other), ("B", pair.second, mine, one)):
        candidates = [(item.source_record_id, person, _features(item)) for item in records]
        near = [item for item in store.near(_features(view), record_id=view.source_record_id)[0] if item.person_id == person]  # fmt: skip
        found = deciding.person_scores(store.scorer(), _features(view), candidates, by_hand=store.by_hand(near))
        grade = found[0].grade if found and near else Grade.CERTAINLY_NOT
        words = f"Record {letter} against all {len(records)} of the other person: {_GRADES[grade]}" if len(records) > 1 else f"Record {letter}: {_GRADES[grade]}"  # fmt: skip
        if found and found[0].best.automatic and grade is not Grade.CERTAIN:
            words += " The nearest agrees well, but the others do not: their mean is too low."
        steps.append(
            Step(title=title, sign="good", found=words, todo=_NEWS) if grade is Grade.CERTAIN else note(title, words)
        )
    return steps


def _said(one: UUID, other: UUID, views: Mapping[UUID, Sequence[SourceRecordView]]) -> tuple[list[Step], int | None]:
    """What stewards have said of the two, and the case that waits. 3 statements."""
    title = "What have people said?"
    mine, theirs = ([view.source_record_id for view in views.get(person, ())] for person in (one, other))
    decisions = list(
        MatchDecision.objects.filter(
            Q(record_a__in=mine, record_b__in=theirs) | Q(record_a__in=theirs, record_b__in=mine),
            verdict="different", withdrawn_at__isnull=True,
        ).order_by("-decided_at", "-pk")[:3]
    )  # fmt: skip
    items = list(
        ReviewItem.objects.filter(
            Q(source_record__in=mine, candidate=other) | Q(source_record__in=theirs, candidate=one)
        ).order_by("-created_at", "-pk")[:5]
    )
    names = review_list.names_of({row.reviewer for row in decisions} | {item.decided_by for item in items})
    steps = [
        bad(
            title,
            f"{names.get(row.reviewer, row.reviewer.removeprefix('Staff/'))} said on {row.decided_at:%-d %B %Y} that they are two"
            + (f": “{row.reason}”." if row.reason else ". That is kept until it is undone."),
            "Undo that decision if it was wrong.",
        )
        for row in decisions
    ]
    waits = next((item for item in items if item.status in (ReviewItem.Status.OPEN, ReviewItem.Status.DEFERRED)), None)
    if waits is not None:
        steps.append(note(title, f"A steward is asked already: case {waits.pk} waits since {waits.created_at:%-d %B %Y}.", "Decide that case."))  # fmt: skip
    if not steps:
        steps.append(note(title, "Nothing. No steward was asked about the two." if not items else "They were asked before, and nothing of it stands today."))  # fmt: skip
    return steps, waits.pk if waits is not None else None


def _heading(steps: Sequence[Step], said: Sequence[Step], case: int | None, pair: _Pair) -> str:
    if any(step.sign == "bad" for step in said):
        return "Somebody said that they are two persons"
    if case is not None:
        return "A steward must decide, and has not yet"
    failed = [step for step in steps if step.sign == "bad"]
    if not failed:
        return "Today they would be linked" if any(step.sign == "good" and step.title.startswith("What if") for step in steps) else "The other records of the two do not agree"  # fmt: skip
    if failed[0].title.startswith("Do they find"):
        return "Their records never met"
    if pair.score.rules:
        return "A rule forbids to link them without a person"
    return "Too little agrees to link them without a person"


def _together(person: Summary, mine: Sequence[SourceRecordView]) -> Match:
    links = Link.objects.filter(person=person.person_id, valid_to__isnull=True).exclude(kind=Link.Kind.REJECTED)
    by_record = {view.source_record_id: view for view in mine}
    steps = tuple(
        good(
            f"{_record('', by_record[link.source_record_id], 0).organization}: {by_record[link.source_record_id].value}",
            f"Linked {'by the machine' if link.kind == Link.Kind.AUTO else 'by hand'} on {link.valid_from:%-d %B %Y}"
            + (f": {link.reason}." if link.reason else "."),
        )
        for link in links.order_by("pk")
        if link.source_record_id in by_record
    )
    return Match(why=Why(heading="They are one person already", steps=steps), people=(person, person), together=True)
