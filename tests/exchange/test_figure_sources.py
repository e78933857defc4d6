"""What is counted besides the log agrees with a slow count of the rows, and with their later states until a day is over."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from consent import directives
from hie.audit import figures
from hie.audit.models import Figure, FigureMark
from hie.exchange import figure_sources
from hie.exchange.figure_sources import ANSWERS, DOCUMENT_FIELDS, NUMBERED, RECORD_FIELDS, Delay, Subject
from hie.exchange.models import InboundMessage, Query, QueryTarget
from hie.exchange.tasks import roll_up_figures
from patients import identifiers
from patients.models import IdentityEvent, Link
from tests.backoffice.conftest import document, failed_message, question, world  # noqa: F401 - fixtures
from tests.exchange.releasing import choice


def sums(subject: str) -> dict[str, tuple[int, int]]:
    rows = Figure.objects.filter(subject=subject).values("what").annotate(a=Sum("n"), b=Sum("total"))
    return {row["what"]: (row["a"], row["b"]) for row in rows}


def settled() -> bool:
    """Whether every numbered source has been counted to its end."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(f"coalesce(({one.newest}), 0)" for one in NUMBERED))
        newest = cursor.fetchone()
    counted = dict(FigureMark.objects.values_list("source", "counted"))
    return all(counted.get(one.name) == number for one, number in zip(NUMBERED, newest, strict=True))


@pytest.mark.django_db(transaction=True)
def test_every_source_is_counted_once_by_the_task(
    monkeypatch: pytest.MonkeyPatch,
    document: Any,  # noqa: F811
    question: Query,  # noqa: F811
    failed_message: InboundMessage,  # noqa: F811
    world: UUID,  # noqa: F811
) -> None:
    monkeypatch.setattr(figures, "SETTLES_AFTER", timedelta(0))
    directives.import_unchecked(choice("deny"), identifier_pk=identifiers.anchor(world).pk, actor="x")
    IdentityEvent.objects.create(kind="overlay-suspected", person_id=world)
    for n, ago in enumerate(
        (timedelta(minutes=10), timedelta(minutes=-3), None)
    ):  # one whose clock is ahead, one that said nothing
        InboundMessage.objects.create(
            protocol="hl7v2", sender="LAB|NORTH", control_id=f"9{n}", kind="ADT^A08", digest=bytes([n]) * 32, raw=b"", key_id="k",
            size=0, status="accepted", attempts=1, received_at=failed_message.received_at,
            entered_at=None if ago is None else failed_message.received_at - ago,
        )  # fmt: skip
    # Other databases of the server may have transactions open, which keep what is numbered unsettled.
    until = time.monotonic() + 120
    while not settled() and time.monotonic() < until:
        roll_up_figures()
    kinds = Counter("first" if score is None else "certain" for score in Link.objects.filter(kind="auto").values_list("score", flat=True))  # fmt: skip
    assert {name: n for name, (n, _) in sums(Subject.LINKS).items()} == dict(kinds)
    fields = sums(Subject.RECORD_FIELDS)
    assert set(fields) == set(RECORD_FIELDS)
    assert fields["birth_date"] == (1, 1)
    assert IdentityEvent.objects.filter(kind="linked").exists()
    assert sums(Subject.IDENTITY) == {"overlay-suspected": (1, 0)}
    filled = sums(Subject.DOCUMENT_FIELDS)
    assert set(filled) == set(DOCUMENT_FIELDS)
    assert filled["title"] == (1, int(bool(document.title)))
    assert filled["event"][1] == int(document.codes.filter(attribute="eventCodeList").exists())
    late = document.registered_at - document.creation_time_until
    assert late > timedelta(days=7)
    assert sums(Subject.DELAYS) == {Delay.LONGER: (1, round(late.total_seconds()))}
    assert {name: n for name, (n, _) in sums(Subject.ANSWERS).items()} == {"answered": 1, "failed": 1, "withheld": 1}
    assert sums(Subject.MESSAGES) == {"accepted": (3, 0), "refused": (1, 0)}
    assert sums(Subject.FEED_DELAYS) == {Delay.MINUTE: (1, 0), Delay.QUARTER: (1, 600)}
    assert sums(Subject.RECORDS) == {"": (1, 0)}
    assert sums(Subject.CHOICES) == {"any": (1, 0), "other-words": (1, 0)}
    assert sums(Subject.PATIENTS)[""][0] == 1
    before = list(Figure.objects.order_by("subject", "day", "what").values_list("subject", "what", "n", "total"))
    for _ in range(2):
        roll_up_figures()
    assert (
        list(Figure.objects.order_by("subject", "day", "what").values_list("subject", "what", "n", "total")) == before
    )


def counted_slowly() -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for target in QueryTarget.objects.select_related("query"):
        late = target.answered_at is not None and target.answered_at > target.query.deadline_at
        status = {"nothing": "answered", "down": "failed", "error": "failed"}.get(target.status, target.status)
        how = "withheld" if target.withheld else "late" if late else status
        found[target.query.created_at.astimezone(UTC).date(), target.target_id, how] += 1
    return found


def asked(at: datetime, **changes: Any) -> QueryTarget:
    query = Query.objects.create(
        participant_id="org-clinic", client_id="org-clinic", user_id="Practitioner/ada", caller={}, person_id=UUID(int=7), purpose="TREAT",
        status="complete", created_at=at, deadline_at=at + timedelta(seconds=2), expires_at=at + timedelta(hours=24),
    )  # fmt: skip
    values = {"target_id": "urn:oid:2.999.30.1", "participant_id": "com-1", "name": "One", "kind": "community", "status": "late", "asked_at": at}  # fmt: skip
    return QueryTarget.objects.create(query=query, **(values | changes))


@pytest.mark.django_db
def test_answers_are_counted_as_they_stand_until_nothing_can_change_them() -> None:
    now = timezone.now().replace(hour=9, minute=0)
    late = asked(now - timedelta(days=1))
    for days in range(4):
        asked(
            now - timedelta(days=days), status="answered", answered_at=now - timedelta(days=days) + timedelta(seconds=1)
        )
    for step in range(3):
        figures.recount(ANSWERS, now=now + timedelta(hours=step))
        found = {(one.day, one.other, one.what): one.n for one in Figure.objects.filter(subject=Subject.ANSWERS)}
        assert found == counted_slowly()
        if step == 0:  # it answers after all, and a question of the day before is written late
            QueryTarget.objects.filter(pk=late.pk).update(status="answered", answered_at=now)
            asked(now - timedelta(days=1, hours=2), status="down")
    closed = FigureMark.objects.get(pk=ANSWERS.name)
    # The day before yesterday was over 33 hours ago, yesterday nine.
    assert closed.counted == (now - timedelta(days=2)).date().toordinal()
    assert closed.counted_at == now + timedelta(hours=2)


@pytest.mark.django_db
def test_a_round_that_was_cut_short_goes_on_and_begins_anew() -> None:
    now = timezone.now().replace(hour=9, minute=0)
    for days in range(3):
        asked(now - timedelta(days=days), status="refused")
    assert figures._recount_one(ANSWERS, now)  # the first of three days, and the process ends
    assert figures.recount(ANSWERS, now=now) == 2
    asked(now - timedelta(days=1), status="refused")
    assert figures.recount(ANSWERS, now=now) > 0
    found = {(one.day, one.other, one.what): one.n for one in Figure.objects.filter(subject=Subject.ANSWERS)}
    assert found == counted_slowly()


@pytest.mark.django_db
def test_a_state_is_counted_no_more_than_once_an_hour(world: UUID) -> None:  # noqa: F811
    name, subjects, fill = figure_sources.STATES[1]
    assert figures.state(name, subjects, fill, every=timedelta(hours=1))
    assert not figures.state(name, subjects, fill, every=timedelta(hours=1))
    assert figures.state(name, subjects, fill, every=timedelta(0))
    assert sums(Subject.RECORDS) == {"": (1, 0)}
