"""Events taken out of the log at the end of their time: what remains verifies, and nothing else may be missing."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from hie.audit import checkpoints, export, retirement, seal, verify
from hie.audit.models import AuditEvent, AuditRetired, AuditSeal, Checkpoint, Disclosure
from hie.audit.recorder import DisclosureDraft, EventDraft, EventType, write
from hie.audit.retired import FLOOR, Removals, ranges_of
from hie.standards.facts import Caller
from tests.audit.test_verify import EVE, alone, sql

pytestmark = pytest.mark.django_db

SWEEPER = Caller(participant_id="hub", organization_id="hub", client_id="retention", user_id="", role="system", face="hub")  # fmt: skip
NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=4000)
YESTERDAY = NOW - timedelta(days=1)


@pytest.fixture(autouse=True)
def _folders(settings: Any, tmp_path: Path) -> None:
    settings.SECRETS_DIR = tmp_path / "keys"
    settings.CHECKPOINT_DIR = tmp_path / "checkpoints"


def look(n: int, at: datetime) -> None:
    shown = DisclosureDraft(document_id=f"d{n}", custodian="org-lab")
    write([EventDraft(kind=EventType.RETRIEVE_DOCUMENT, caller=EVE, person_id=uuid.UUID(int=n % 3 + 1), at=at, detail={"n": n}, disclosures=(shown,), denied=(("hidden", "D3"),))])  # fmt: skip


def sign(at: datetime) -> None:
    """A checkpoint over all that is sealed, of this time."""
    seal.seal_now(checkpoint=False)
    frontier, _ = checkpoints.last_frontier()
    checkpoints.add(frontier, seal.catch_up(frontier), now=at)


@pytest.fixture
def aged() -> None:
    """Six events of eleven years ago under a checkpoint of that time, four of yesterday under one of today."""
    for n in range(1, 7):
        look(n, LONG_AGO + timedelta(seconds=n))
    sign(LONG_AGO + timedelta(minutes=1))
    for n in range(7, 11):
        look(n, YESTERDAY + timedelta(seconds=n))
    seal.seal_now()


def announce(*seqs: int, before: datetime = NOW - FLOOR) -> uuid.UUID:
    """Say that these go, whether or not they are old."""
    found = {one.seq: one for one in retirement.oldest(before, after=None, limit=100)}
    missing = [seq for seq in seqs if seq not in found]
    for row in AuditSeal.objects.filter(seq__in=missing):
        found[row.seq] = retirement.Old(event_id=row.event_id, at=row.at, seq=row.seq, person_id=None, patient_identifier="", organizations=frozenset(), documents=frozenset())  # fmt: skip
    return retirement.announce([found[seq] for seq in seqs], SWEEPER, {"part": "log"})


def gone(announcement: uuid.UUID, *, but: tuple[int, ...] = ()) -> tuple[int, int]:
    return retirement.remove(announcement, lambda: None, lambda one: one.seq in but)


def both(tmp_path: Path) -> tuple[verify.Report, verify.Report]:
    """What the hub says of the live log and of an export; the standalone program must say the same of that."""
    live = verify.verify_live()
    path = tmp_path / f"{uuid.uuid4()}.ndjson"
    export.write(path)
    exported = verify.verify_export(path)
    assert alone(path) == (0 if exported.ok else 1, exported.as_json())
    return live, exported


def test_what_remains_verifies_by_both_verifiers_and_proves_itself(aged: None, tmp_path: Path) -> None:
    assert retirement.sealed_until(NOW - FLOOR) == 6
    assert retirement.counts(NOW - FLOOR) == 6
    old = retirement.oldest(NOW - FLOOR, after=None, limit=4)
    assert [one.seq for one in old] == [1, 2, 3, 4]
    assert (old[0].organizations, old[0].documents) == ({"org-clinic", "org-lab"}, {"d1", "hidden"})
    place = (old[-1].at, old[-1].event_id)
    assert [one.seq for one in retirement.oldest(NOW - FLOOR, after=place, limit=4)] == [5, 6]
    announcement = announce(1, 2, 3, 5, 6)
    assert not retirement.announced(announcement)
    seal.seal_now()
    assert retirement.announced(announcement)
    assert gone(announcement, but=(5,)) == (4, 1)
    assert gone(announcement, but=(5,)) == (0, 1), "run again it finds nothing more"
    left = set(AuditSeal.objects.filter(event_id__in=AuditEvent.objects.values("id")).values_list("seq", flat=True))
    assert left == {4, 5, 7, 8, 9, 10, 11}
    assert set(Disclosure.objects.values_list("document_id", flat=True)) == {"d4", "d5", "d7", "d8", "d9", "d10"}
    live, exported = both(tmp_path)
    assert (live.ok, live.events, exported.ok, exported.events) == (True, 11, True, 11)
    for seq in (4, 7, 11):
        event = AuditSeal.objects.get(seq=seq).event_id
        for note in Checkpoint.objects.filter(size__gte=seq):
            proof = tmp_path / f"proof-{seq}-{note.size}.json"
            proof.write_text(json.dumps(export.inclusion_proof(event, seal=note.size)))
            assert alone(proof)[0] == 0
    with pytest.raises(export.NotSealed):
        export.inclusion_proof(AuditSeal.objects.get(seq=1).event_id)


def test_the_database_lets_nothing_go_that_is_young_or_was_not_announced(aged: None) -> None:
    def delete(*seqs: int) -> None:
        ids = list(AuditSeal.objects.filter(seq__in=seqs).values_list("event_id", flat=True))
        with connection.cursor() as cursor, transaction.atomic():
            cursor.execute("DELETE FROM audit_disclosure WHERE event_id = ANY(%s)", [ids])
            cursor.execute("DELETE FROM audit_event WHERE id = ANY(%s)", [ids])

    announce(1, 7)
    for seqs in ((2,), (7,), (1, 2), (1, 7)):
        with pytest.raises(DatabaseError, match="append-only"):
            delete(*seqs)
    delete(1)
    assert AuditEvent.objects.filter(detail__n=1).count() == 0
    with connection.cursor() as cursor:
        cursor.execute("GRANT ALL ON audit_retired TO CURRENT_USER")
    for statement in ("UPDATE audit_retired SET last = 99", "DELETE FROM audit_retired"):
        with connection.cursor() as cursor, pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            cursor.execute(statement)


def _by_hand(*seqs: int) -> None:
    ids = list(AuditSeal.objects.filter(seq__in=seqs).values_list("event_id", flat=True))
    sql("DELETE FROM audit_disclosure WHERE event_id = ANY(%s)", [ids])
    sql("DELETE FROM audit_event WHERE id = ANY(%s)", [ids])


@pytest.mark.parametrize(
    ("said", "taken", "bad"),
    [
        pytest.param((1, 2), (1, 2), None, id="as-announced"),
        pytest.param((1, 2), (1, 2, 3), 3, id="one-more-than-announced"),
        pytest.param((), (4,), 4, id="never-announced"),
        pytest.param((8,), (8,), 8, id="announced-but-young"),
        pytest.param((6, 7), (6,), 6, id="a-range-that-reaches-into-young-ones"),
    ],
)
def test_a_removal_is_right_only_as_announced_and_six_years_after_it_was_signed_for(
    aged: None, tmp_path: Path, said: tuple[int, ...], taken: tuple[int, ...], bad: int | None
) -> None:
    if said:
        announce(*said)
    seal.seal_now()
    _by_hand(*taken)
    live, exported = both(tmp_path)
    assert (live.first_bad.seq if live.first_bad else None) == bad
    assert (exported.first_bad.seq if exported.first_bad else None) == bad
    if live.first_bad:
        assert live.first_bad.kind == "removed"


def test_a_removal_excused_afterwards_by_a_false_date_is_still_missing(aged: None, tmp_path: Path) -> None:
    detail = {"ranges": [[8, 8]], "count": 1}
    write([EventDraft(kind=EventType.LOG_RETIRED, caller=SWEEPER, detail=detail, at=NOW + timedelta(days=9000))])
    seal.seal_now()
    _by_hand(8)
    live, exported = both(tmp_path)
    assert live.first_bad is not None
    assert exported.first_bad is not None
    assert (live.first_bad.seq, exported.first_bad.seq) == (8, 8)


def test_an_announcement_that_was_changed_excuses_nothing(aged: None, tmp_path: Path) -> None:
    announcement = announce(1)
    seal.seal_now()
    sql("""UPDATE audit_event SET detail = jsonb_set(detail, '{ranges}', '[[1, 3]]') WHERE id = %s""", [announcement])
    _by_hand(2)
    live, exported = both(tmp_path)
    assert live.first_bad is not None
    assert exported.first_bad is not None
    assert (live.first_bad.seq, exported.first_bad.seq) == (2, 2)


def test_what_says_that_something_went_never_goes_itself(aged: None) -> None:
    announcement = announce(1)
    seal.seal_now()
    later = NOW + timedelta(days=9000)
    assert announcement not in {one.event_id for one in retirement.oldest(later, after=None, limit=100)}


def test_ranges_hold_what_they_were_made_of_and_nothing_else() -> None:
    assert ranges_of([7, 1, 2, 3, 9, 8]) == [[1, 3], [7, 9]]
    removals = Removals()
    told = {"event": {"kind": "log-retired", "outcome": 0, "detail": {"ranges": [[1, 3], [3, 5], [9, 9], "x", [0, 2], [7, 6], [18, 20]]}}}  # fmt: skip
    removals.add(told, 20)
    removals.add({"event": {"kind": "clock", "outcome": 0, "detail": {"ranges": [[12, 12]]}}}, 20)
    removals.add({"event": "x"}, 20)
    removals.settle([(10, "2010-01-01T00:00:00.000000Z"), (15, "2015-01-01T00:00:00.000000Z"), (20, "2016-06-01T00:00:00.000000Z")])  # fmt: skip
    assert [seq for seq in range(25) if removals.covers(seq)] == [1, 2, 3, 4, 5, 9]


def test_announcements_say_their_numbers_in_rows_and_in_the_log_alike(aged: None) -> None:
    announcement = announce(1, 2, 6)
    rows = AuditRetired.objects.filter(event_id=announcement).order_by("first").values_list("first", "last")
    event = AuditEvent.objects.get(id=announcement)
    assert event.detail["ranges"] == [list(row) for row in rows] == [[1, 2], [6, 6]]
    assert (event.detail["count"], event.kind, event.action) == (3, "log-retired", "D")
