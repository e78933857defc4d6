"""Figures rolled up from the log: each event once, whatever order, batches and stops; people never below eleven by chance."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from hie.audit import figures, seal
from hie.audit.figures import Numbered, Tally
from hie.audit.figures_of_log import GROUP_OF, LOG, SAME_REQUEST, Came, Group, Subject
from hie.audit.models import AuditEvent, AuditSeal, Disclosure, Figure, FigureMark
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, Outcome, write
from hie.standards.facts import Caller

START = datetime(2026, 10, 30, 12, tzinfo=UTC)
KINDS = (
    EventType.FIND_DOCUMENTS, EventType.RETRIEVE_DOCUMENT, EventType.PATIENT_FEED, EventType.CONSENT_FILED, EventType.LOGOUT,
    EventType.STORED_QUERY, EventType.ACCESS_REFUSED,
)  # fmt: skip


def draft(
    kind: EventType = EventType.RETRIEVE_DOCUMENT,
    *,
    who: str = "org-clinic",
    purpose: str = "TREAT",
    person: int | None = 1,
    at: datetime = START,
    outcome: Outcome = Outcome.SUCCESS,
    request: str = "",
    documents: int = 0,
    denied: bool = False,
) -> EventDraft:
    caller = Caller(participant_id=who, organization_id=who, client_id=who, user_id="Practitioner/eve", purpose=purpose, request_id=request)  # fmt: skip
    return EventDraft(
        kind=kind, caller=caller, person_id=uuid.UUID(int=person) if person else None, at=at, outcome=outcome, rule="D3" if outcome else "",
        denied=[("d9", "D3")] if denied else [],
        disclosures=tuple(DisclosureDraft(document_id=f"d{n}", custodian="org-hospital", what="bytes") for n in range(documents)),
    )  # fmt: skip


def roll_up(batch: int = figures.BATCH) -> None:
    while figures.carry_on(LOG, batch=batch):
        pass


def kept() -> dict[tuple[Any, ...], tuple[int, int, int]]:
    rows = Figure.objects.values_list(
        "subject", "day", "participant", "purpose", "what", "other", "n", "total", "people"
    )
    return {row[:6]: (row[6], row[7], len(row[8])) for row in rows}


def counted_slowly() -> dict[tuple[Any, ...], tuple[int, int, int]]:
    """The same, read from the log event by event in the order of the seals."""
    n: Counter[tuple[Any, ...]] = Counter()
    total: Counter[tuple[Any, ...]] = Counter()
    people: dict[tuple[Any, ...], set[uuid.UUID | None]] = {}
    before: list[tuple[str, str, Group, datetime]] = []

    def add(key: tuple[Any, ...], person: uuid.UUID | None, first: bool = False) -> None:
        n[key] += 1
        total[key] += first
        people.setdefault(key, set()).add(person)

    for event_id in AuditSeal.objects.order_by("seq").values_list("event_id", flat=True):
        event = AuditEvent.objects.get(pk=event_id)
        day, group = event.at.date(), GROUP_OF.get(event.kind)
        if group is not None:
            mine = (event.participant, event.request_id, group, event.at)
            first = not event.request_id or all(
                mine[:3] != other[:3] or abs(mine[3] - other[3]) > SAME_REQUEST for other in before
            )
            before.append(mine)
            came = {0: Came.PARTLY if event.denied else Came.ANSWERED, 4: Came.REFUSED}.get(event.outcome, Came.FAILED)
            add((Subject.REQUESTS, day, event.participant, event.purpose, group, came), event.person_id, first)
            if event.outcome == 4:
                add((Subject.REFUSED, day, event.participant, event.purpose, event.rule, ""), event.person_id)
        elif event.kind == EventType.CONSENT_FILED and not event.outcome:
            add((Subject.CHOICES_CHANGED, day, "", "", "filed", ""), event.person_id)
        for one in Disclosure.objects.filter(event=event):
            add((Subject.LEFT, day, event.participant, event.purpose, one.what, ""), event.person_id)
            month = day.replace(day=1)
            add((Subject.HELD, month, one.custodian, event.purpose, "", event.participant), event.person_id)
    return {key: (n[key], total[key], min(figures.SMALLEST, len(people[key] - {None}))) for key in n}


EVENTS = st.builds(
    draft,
    st.sampled_from(KINDS),
    who=st.sampled_from(["org-clinic", "org-lab"]),
    purpose=st.sampled_from(["TREAT", "HPAYMT"]),
    person=st.one_of(st.none(), st.integers(1, 30)),
    at=st.integers(-90, 90).map(lambda minutes: START + timedelta(minutes=minutes * 37)),
    outcome=st.sampled_from([Outcome.SUCCESS, Outcome.SUCCESS, Outcome.REFUSED, Outcome.FAILED]),
    request=st.sampled_from(["", "r1", "r2"]),
    documents=st.integers(0, 2),
    denied=st.booleans(),
)


@pytest.mark.django_db
@pytest.mark.parametrize("examples", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_the_roll_up_is_exact_whatever_comes_late_and_wherever_it_stops(examples: int) -> None:
    """Between its runs events of earlier days are written; at `stops` a run dies with its batch added and not committed."""
    groups = st.lists(st.lists(EVENTS, min_size=1, max_size=12), min_size=1, max_size=6)
    drawn = given(groups=groups, batch=st.integers(1, 9), stops=st.sets(st.integers(0, 12)))
    settings(max_examples=examples, deadline=None)(drawn(_is_exact))()


def _is_exact(groups: list[list[EventDraft]], batch: int, stops: set[int]) -> None:
    runs = 0

    def dies(after: int, upto: int, tally: Tally) -> None:
        LOG.tally(after, upto, tally)
        tally.store()
        raise KeyboardInterrupt

    with transaction.atomic():
        for group in groups:
            write(group)
            seal.seal_now(checkpoint=False)
            for _ in range(2):
                if runs in stops:
                    with suppress(KeyboardInterrupt), transaction.atomic():
                        figures.carry_on(replace(LOG, tally=dies), batch=batch)
                else:
                    figures.carry_on(LOG, batch=batch)
                runs += 1
        roll_up(batch)
        assert kept() == counted_slowly()
        roll_up()
        assert kept() == counted_slowly()
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_a_stopped_run_that_had_nothing_to_add_leaves_the_mark() -> None:
    roll_up()
    assert (FigureMark.objects.get().counted, kept()) == (0, {})
    assert FigureMark.objects.get().counted_at is not None


@pytest.mark.django_db
def test_a_request_about_several_patients_is_one_request_and_a_later_one_with_its_id_another() -> None:
    later = START + SAME_REQUEST + timedelta(seconds=1)
    write([draft(EventType.FIND_DOCUMENTS, person=n, request="r1") for n in (1, 2, 3)])
    seal.seal_now(checkpoint=False)
    roll_up()
    write([draft(EventType.FIND_DOCUMENTS, person=4, request="r1", at=START + timedelta(minutes=2)), draft(EventType.FIND_DOCUMENTS, person=5, request="r1", at=later + timedelta(minutes=2))])  # fmt: skip
    seal.seal_now(checkpoint=False)
    roll_up()
    (cell,) = figures.cells(Subject.REQUESTS, START.date(), START.date(), by=("what",))
    assert (cell.keys, cell.n, cell.total) == (("find-documents",), 5, 2)


@pytest.mark.django_db
@pytest.mark.parametrize(("people", "small"), [(10, True), (11, False)])
def test_people_are_told_apart_over_days_and_no_further_than_needed(people: int, small: bool) -> None:
    days = [START + timedelta(days=n) for n in range(4)]
    write([draft(person=1 + n % people, at=day) for n in range(3 * people) for day in days[n % 4 :]])
    seal.seal_now(checkpoint=False)
    roll_up()
    (cell,) = figures.cells(Subject.REQUESTS, days[0].date(), days[-1].date())
    assert (cell.small, None if cell.people is None else len(cell.people)) == (small, people if small else None)
    assert max(len(one) for one in Figure.objects.values_list("people", flat=True)) <= figures.SMALLEST


@pytest.mark.django_db
def test_no_figure_holds_the_id_of_a_person() -> None:
    person = uuid.uuid4()
    write([replace(draft(), person_id=person)])
    seal.seal_now(checkpoint=False)
    roll_up()
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(f)::text FROM audit_figure f")
        rows = " ".join(row[0] for row in cursor.fetchall())
    assert "org-clinic" in rows
    assert str(person) not in rows
    assert str(person.int & 2**63 - 1) not in rows


@pytest.mark.django_db
def test_a_sum_costs_one_statement_however_many_days_and_a_batch_eight(django_assert_num_queries: Any) -> None:
    write([draft(person=n, at=START + timedelta(days=n), request=f"r{n}", documents=1) for n in range(1, 41)])
    seal.seal_now(checkpoint=False)
    figures.carry_on(LOG, batch=1)  # the hub's key is read once a batch, and made once
    with django_assert_num_queries(
        11
    ):  # savepoint 2, mark 2, what is settled, events, what left, earlier, key, figures, mark
        figures.carry_on(LOG)
    with django_assert_num_queries(1):
        assert figures.cells(Subject.REQUESTS, date(2026, 1, 1), date(2027, 1, 1))[0].n == 40


# --- tables whose rows are numbered before they are committed -----------------------------------------------------------


def _types(after: int, upto: int, tally: Tally) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM django_content_type WHERE id > %s AND id <= %s", [after, upto])
        for (pk,) in cursor.fetchall():
            tally.add("types", date(2026, 1, 1), what=str(pk))


TYPES = Numbered(name="types", newest="SELECT max(id) FROM django_content_type", tally=_types)


@pytest.mark.django_db(transaction=True)
def test_what_commits_after_a_higher_number_is_neither_passed_over_nor_counted_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figures, "SETTLES_AFTER", timedelta(0))
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(id) FROM django_content_type")
        first = cursor.fetchone()[0]
    FigureMark.objects.create(source=TYPES.name, counted=first)
    apart = connection.copy()
    apart.set_autocommit(False)
    insert = "INSERT INTO django_content_type (app_label, model) VALUES ('figures', %s) RETURNING id"
    try:
        with apart.cursor() as late, connection.cursor() as cursor:
            late.execute(insert, ["late"])
            lower = late.fetchone()[0]
            cursor.execute(insert, ["early"])
            higher = cursor.fetchone()[0]
        assert lower < higher
        assert [figures.carry_on(TYPES) for _ in range(3)] == [0, 0, 0]
        apart.commit()
    finally:
        apart.close()
    # Other databases of the server may have transactions open, which keep these numbers unsettled too.
    counted, until = 0, time.monotonic() + 120
    while counted < higher - first and time.monotonic() < until:
        counted += figures.carry_on(TYPES)
        time.sleep(0.05)
    assert counted == higher - first
    assert figures.carry_on(TYPES) == 0
    found = {key[4]: n for key, (n, *_) in kept().items()}
    assert found == {str(lower): 1, str(higher): 1}
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_content_type WHERE app_label = 'figures'")


@pytest.mark.django_db(transaction=True)
def test_of_two_who_count_at_once_one_counts() -> None:
    write([draft()])
    seal.seal_now(checkpoint=False)
    FigureMark.objects.create(source="log")
    apart = connection.copy()
    apart.set_autocommit(False)
    with apart.cursor() as cursor:
        cursor.execute("SELECT 1 FROM audit_figure_mark FOR UPDATE")
    assert figures.carry_on(LOG) == 0
    apart.rollback()
    apart.close()
    assert figures.carry_on(LOG) == 1
