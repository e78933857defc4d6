"""The state of the index as one text: what a change followed by its undoing must leave equal, byte for byte.

State is what the hub answers by today, each row by what it says, not by its number:

* the link of every record: person, kind, score, model, weight per field, reason, since when; rejected links that stand;
* every person's golden record and redirect; the redirect of a person that an undone unlink or split had made, and that
  only still leads whoever kept its id, is none: it was not there before, and nothing that was there points at it;
* every record's status, survivor and current version; its blocking keys and search terms;
* the verdicts that stand, with reviewer, reason and date;
* every review item with status, decision, by whom and when, but for those an undone change had opened;
* the identifiers of every person, which is where documents, consents and proxies hang.

History is not state: closed links, withdrawn verdicts, closures, versions and events keep what happened, and so do
`restored_at` and the dates on which rows last changed.
"""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

NAMES = ("links", "persons", "records", "keys", "terms", "verdicts", "items", "identifiers")
_STATE = """
WITH RECURSIVE made(person_id, seq, depth) AS (
  SELECT other_person_id, seq, 0 FROM patients_identityevent WHERE undoes_id IS NULL AND kind IN ('unlinked', 'split')
     AND detail->>'into' IS NULL
  UNION ALL SELECT m.person_id, e.seq, m.depth + 1 FROM made m JOIN patients_identityevent e ON e.undoes_id = m.seq)
SELECT 'links', json_build_array(source_record_id, person_id, kind, score, model_version, weights, reason, valid_from)::text
  FROM patients_link WHERE valid_to IS NULL
UNION ALL
SELECT 'persons', json_build_array(p.id, p.merged_into_id, p.golden, p.created_at)::text FROM patients_person p
 WHERE EXISTS (SELECT 1 FROM patients_link l WHERE l.person_id = p.id AND l.valid_to IS NULL AND l.kind <> 'rejected')
    OR NOT EXISTS (SELECT 1 FROM made m WHERE m.person_id = p.id HAVING max(m.depth) % 2 = 1)
UNION ALL
SELECT 'records', json_build_array(id, participant_id, status, replaced_by_id, current_version_id)::text
  FROM patients_sourcerecord
UNION ALL
SELECT 'keys', json_build_array(record_id, json_agg(key ORDER BY key))::text FROM patients_blockingkey GROUP BY record_id
UNION ALL
SELECT 'terms', json_build_array(record_id, string_agg(field || '=' || term, ' ' ORDER BY field, term))::text
  FROM patients_searchterm GROUP BY record_id
UNION ALL
SELECT 'verdicts', json_build_array(record_a_id, record_b_id, verdict, reviewer, reason, decided_at)::text
  FROM patients_matchdecision WHERE withdrawn_at IS NULL AND verdict <> 'open'
UNION ALL
SELECT 'items', json_build_array(id, kind, status, source_record_id, version_id, person_id, candidate_id, score, probability,
       weights, reason, claimed_by, decided_by, decision, created_at, decided_at)::text
  FROM patients_reviewitem WHERE decision <> 'undone'
UNION ALL
SELECT 'identifiers', json_build_array(i.authority, i.value, l.person_id)::text FROM patients_patientidentifier i
  JOIN patients_link l ON l.source_record_id = i.source_record_id AND l.valid_to IS NULL AND l.kind <> 'rejected'
"""


def _read() -> list[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_STATE)
        return sorted(cursor.fetchall())


def dump() -> str:
    """The state as text, one row a line."""
    return "\n".join(f"{name} {text}" for name, text in _read())


def rows() -> dict[str, list[Any]]:
    """The state by kind, every row as a list, in a fixed order."""
    found: dict[str, list[Any]] = {name: [] for name in NAMES}
    for name, text in _read():
        found[name].append(json.loads(text))
    return {name: sorted(some, key=repr) for name, some in found.items()}


def differences(one: str, other: str) -> str:
    """The rows that two dumps do not share, those of the first before those of the second."""
    first, second = set(one.splitlines()), set(other.splitlines())
    return "\n".join(
        ["", *(f"- {row}" for row in sorted(first - second)), *(f"+ {row}" for row in sorted(second - first))]
    )
