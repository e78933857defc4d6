"""Runs of bulk imports: begun, one at a time, and what came of their lines.

Source: design.md, Formats, import_patients and links.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO, Any

from django.db import connection
from django.utils import timezone

from hie.directory import queries as directory
from hie.standards.facts import Caller
from patients import store
from patients.demographics import authority_of
from patients.errors import UnusableFile
from patients.models import ImportRun

_ONE_IMPORT = int.from_bytes(b"imports!", "big", signed=True)
_LINES = f"""
SELECT n.identifier, l.person_id, n.outcome, n.score, n.reason, n.number
  FROM patients_importline n
  LEFT JOIN patients_link l ON l.source_record_id = n.source_record_id AND {store.CURRENT}
 WHERE n.run_id = %s AND n.number > %s AND (NOT %s OR n.outcome = 'refused')
 ORDER BY n.number LIMIT %s
"""  # noqa: S608  # constants only


def start(
    participant_id: str,
    *,
    columns: Mapping[str, Any] | None = None,
    upload: str = "",
    caller: Caller | None = None,
) -> ImportRun:
    """Note that a file is to be imported."""
    actor = asdict(caller) | {"scopes": [], "token_id": "", "care_teams": []} if caller else {}
    return ImportRun.objects.create(
        participant_id=participant_id, columns=dict(columns) if columns else None, upload=upload, actor=actor
    )


def authority_for(participant_id: str) -> str:
    """The authority (bare OID or URI) that names the records of a participant who may import now.

    Raises:
        UnusableFile: the participant is unknown, issues no identifiers or is not active.
    """
    facts = directory.participant(participant_id)
    if facts is None:
        raise UnusableFile(f"no participant {participant_id}", element="participant")
    if not facts.assigning_authority:
        raise UnusableFile(f"participant {participant_id} has no assigning authority", element="participant")
    if not directory.is_active(participant_id, timezone.now()):
        raise UnusableFile(f"participant {participant_id} is not active", element="participant")
    return authority_of(facts.assigning_authority)


@contextmanager
def one_at_a_time(*, wait: bool) -> Iterator[bool]:
    """Hold the place of the one import that runs (its memory is for one); gives False where it is taken.

    Held by the connection: whoever is killed lets go at once.
    """
    held = False
    with connection.cursor() as cursor:
        while not held:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [_ONE_IMPORT])
            held = cursor.fetchone()[0]
            if held or not wait:
                break
            time.sleep(0.5)
    try:
        yield held
    finally:
        if held and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [_ONE_IMPORT])


def caller_of(run: ImportRun) -> Caller:
    """Who asked for a run: a caller with a token, or the participant in whose name a command ran."""
    if run.actor:
        lists = {"scopes": frozenset(), "care_teams": ()}
        return Caller(**{**run.actor, **lists})
    return Caller(
        participant_id=run.participant_id,
        organization_id=run.participant_id,
        client_id=run.participant_id,
        user_id=f"Device/{run.participant_id}",
        face="import",
    )


def lines_of(run_id: uuid.UUID, *, refused: bool = False, size: int = 5_000) -> Iterator[dict[str, Any]]:
    """What became of each line, in order (LINKS in design.md), or of the refused ones; person as of now.

    1 query for each `size` lines, so memory is bounded.
    """
    after = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(_LINES, [run_id, after, refused, size])
            rows = cursor.fetchall()
        for identifier, person, outcome, score, reason, number in rows:
            out: dict[str, Any] = {"line": number} if refused else {}
            out |= {"identifier": identifier}
            if not refused:
                out |= {
                    "person": str(person) if person else None,
                    "outcome": outcome,
                    "score": round(score, 6) if score is not None else None,
                }
            if reason:
                out["reason"] = reason
            yield out
            after = number
        if len(rows) < size:
            return


def write_links(run_id: uuid.UUID, out: IO[str]) -> None:
    """The link file: one JSON object a line, in the order of the input."""
    for item in lines_of(run_id):
        out.write(json.dumps(item, ensure_ascii=False) + "\n")
