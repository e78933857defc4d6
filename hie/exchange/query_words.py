"""A cross-organization question in words, for the exchange's own staff: who answered, how fast, and why not.

What consent kept from being asked is told apart from what was not found only to staff who may see choices of
patients; for the others it reads as nothing found, as it does to the asker.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Count

from hie.exchange.models import Query, QueryTarget

_S = QueryTarget.Status
# Status: the word, the sign's class, the sign, the class of the lane.
WORDS: dict[str, tuple[str, str, str, str]] = {
    _S.PENDING: ("Being asked", "is-system", "clock", "took--late"),
    _S.ANSWERED: ("Answered", "is-good", "tick", "took"),
    _S.NOTHING: ("Nothing found", "is-system", "bar", "took"),
    _S.REFUSED: ("Refused", "is-refused", "refused", "took--bad"),
    _S.LATE: ("Too late", "is-emergency", "clock", "took--late"),
    _S.DOWN: ("Down", "is-bad", "cross", "took--bad"),
    _S.ERROR: ("Wrong answer", "is-bad", "cross", "took--bad"),
}
NOT_ASKED = ("Not asked because of consent: administrators only", "is-refused", "refused", "took")
_ADVICE: dict[str, str] = {
    "timeout": "It was asked and did not answer in time. If this goes on, see its load and the deadline with its operators.",
    "unreachable": "No connection could be made. See whether its address and certificate still hold, then ring its operators.",
    "broken-off": "It began to answer and broke off. Ask again; if it goes on, ring its operators.",
    "garbage": "What it answered is not what the profile says. Send the incident’s number to its operators.",
    "token-refused": "It does not let this hub ask. See whether the key it knows of this hub still holds.",
    "token-garbage": "Its token endpoint did not answer as it must. See whether its address still holds.",
}
_ADVICE_BY_STATUS: dict[str, str] = {
    _S.PENDING: "It is still being asked. Reload the page.",
    _S.ANSWERED: "",
    _S.NOTHING: "It does not know the patient, or holds nothing that it would show. It tells neither from the other.",
    _S.REFUSED: "It let this hub ask and showed nothing for this purpose. Ask its privacy office which rule it follows.",
    _S.LATE: _ADVICE["timeout"],
    _S.DOWN: _ADVICE["unreachable"],
    _S.ERROR: _ADVICE["garbage"],
}
_ADVICE_WITHHELD = "A choice of the patient, or the law, keeps it from being asked. See the patient’s choices."
ANSWERED_LATE = ("Answered late", "is-emergency", "clock", "took--late")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetWords:
    """One community: its state, its lane from 0 to 100 (percent of the scale), documents before consent, cause.

    `todo` says why there is no answer, or not more of one, and what to do; `participant_id` "" for who is no participant.
    """

    name: str
    kind: str
    word: str
    sign: str
    icon: str
    lane: str
    width: int
    elapsed: str
    found: int
    known: str
    todo: str
    participant_id: str
    withheld: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPage:
    """The question: its heading is the completeness. `limit` is where the deadline stands in a lane, in percent."""

    heading: str
    status: str
    took: str
    deadline: str
    scale: str
    limit: int
    found: int
    badges: tuple[tuple[str, str, str], ...]
    targets: tuple[TargetWords, ...]


def page(query_id: str, *, consent_outcomes: bool) -> QueryPage | None:
    """The page of one question; None when there is none of this id. 2 queries, however many communities."""
    try:
        query = Query.objects.filter(pk=UUID(str(query_id))).first()
    except (ValueError, ValidationError):
        return None
    if query is None:
        return None
    rows = list(query.targets.annotate(n_documents=Count("documents")).order_by("kind", "name", "pk"))
    deadline_s = max((query.deadline_at - query.created_at).total_seconds(), 0.001)
    longest = max([deadline_s, *(_elapsed(row) or 0.0 for row in rows)])
    scale = min(longest, 3 * deadline_s) * 1.1
    targets = tuple(_target(row, query.deadline_at, scale, consent_outcomes) for row in rows)
    in_time = sum(target.word in {"Answered", "Nothing found"} for target in targets)
    return QueryPage(
        heading=f"{in_time} of {len(targets)} communities answered in time",
        status=query.status,
        took=_seconds((query.completed_at - query.created_at).total_seconds())
        if query.completed_at
        else "still running",
        deadline=_seconds(deadline_s),
        scale=_seconds(scale),
        limit=round(100 * deadline_s / scale),
        found=sum(target.found for target in targets),
        badges=_badges(targets),
        targets=targets,
    )


def _target(row: QueryTarget, deadline_at: datetime, scale: float, consent_outcomes: bool) -> TargetWords:
    elapsed = _elapsed(row)
    late = row.status == _S.ANSWERED and row.answered_at is not None and row.answered_at > deadline_at
    withheld = row.withheld and consent_outcomes
    word, sign, icon, lane = NOT_ASKED if withheld else ANSWERED_LATE if late else WORDS[row.status]
    if row.withheld and not consent_outcomes:
        # The row waits until an ordinary time before it reads nothing; here it reads so at once.
        word, sign, icon, lane = WORDS[_S.NOTHING]
    known = "; ".join(part for part in (row.message, row.cause, _tries(row.attempts)) if part)
    return TargetWords(
        name=row.name,
        kind=row.kind,
        word=word,
        sign=sign,
        icon=icon,
        lane=lane,
        width=0 if elapsed is None or withheld else max(1, min(100, round(100 * elapsed / scale))),
        elapsed="–" if elapsed is None or withheld else _seconds(elapsed),
        found=int(getattr(row, "n_documents", 0)),
        known="Nothing was sent." if withheld else "" if row.withheld else known,
        # One that was kept from being asked reads to the others as one that found nothing, here too.
        todo=_ADVICE_WITHHELD
        if withheld
        else _ADVICE_BY_STATUS[_S.NOTHING]
        if row.withheld
        else _ADVICE.get(row.cause, _ADVICE_BY_STATUS[row.status]),
        participant_id=row.participant_id,
        withheld=withheld,
    )


def _elapsed(row: QueryTarget) -> float | None:
    if row.asked_at is None or row.answered_at is None:
        return None
    return max(0.0, (row.answered_at - row.asked_at).total_seconds())


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _tries(attempts: int) -> str:
    return f"{attempts} tries" if attempts > 1 else ""


def _badges(targets: tuple[TargetWords, ...]) -> tuple[tuple[str, str, str], ...]:
    counted: dict[str, tuple[int, str, str]] = {}
    for target in targets:
        word = "Not asked" if target.withheld else target.word
        count = counted.get(word, (0, "", ""))[0]
        counted[word] = (count + 1, target.sign, target.icon)
    return tuple((f"{count} {word.lower()}", sign, icon) for word, (count, sign, icon) in counted.items())
