"""A change of the trust in sources, brought to the golden records in portions.

Which source counts more is data of the directory (`Participant.source_trust`); a golden record is stored. So a sweep
remembers by which ranks the stored ones are made (`TrustSweep`), and recomputes the persons who have a record of a
participant whose rank has changed. A feed reads the ranks together with the records while it holds the person
(`store.refresh_golden`): what it writes beside the sweep is as new as what the sweep writes. What is shown outside is
made when it is asked for, and needs no sweep.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from hie.directory import queries as directory
from patients import store
from patients.changes import lock_persons
from patients.models import TrustSweep

PORTION = 500
"""Persons recomputed in one transaction: feeds of these wait meanwhile, others do not."""

_NEXT = f"""
SELECT DISTINCT l.person_id FROM patients_link l JOIN patients_sourcerecord r ON r.id = l.source_record_id
 WHERE {store.CURRENT} AND r.participant_id = ANY(%s) AND (%s::uuid IS NULL OR l.person_id > %s::uuid)
 ORDER BY l.person_id LIMIT %s
"""  # noqa: S608  # constants only


def settle(*, portions: int | None = None) -> int:
    """Recompute golden records after a change of trust; how many persons. Nothing to do: 2 statements and the epoch.

    Goes on where a former call stopped; `portions` bounds the work of this one. A rank that changes under way begins
    anew with all that have changed. Safe to run twice, and beside itself.
    """
    done = 0
    while portions is None or portions > 0:
        persons = _portion()
        if persons is None:
            return done
        done += persons
        portions = portions - 1 if portions is not None else None
    return done


def _portion() -> int | None:
    with transaction.atomic():
        # As a feed does it: imports and changes of identity are waited for, then the persons in order of id.
        store.lock([])
        ranks = directory.snapshot().trusts()
        TrustSweep.objects.get_or_create(pk=1)
        row = TrustSweep.objects.select_for_update().get(pk=1)
        if row.wanted is None and row.applied == ranks:
            return None
        if row.wanted != ranks:
            made = row.wanted if row.wanted is not None else row.applied
            differ = {one for one in {*made, *ranks} if made.get(one) != ranks.get(one)}
            row.wanted, row.changed, row.after = ranks, sorted({*row.changed, *differ}), None
        persons = _next(row.changed, row.after)
        if persons:
            lock_persons(persons)
            store.refresh_golden(persons)
            row.after = persons[-1]
        else:
            row.applied, row.wanted, row.changed, row.after = ranks, None, [], None
        row.save()
        return len(persons)


def _next(participants: list[str], after: UUID | None) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(_NEXT, [participants, after, after, PORTION])
        return [row[0] for row in cursor.fetchall()]
