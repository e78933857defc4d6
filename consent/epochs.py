"""The consent epoch: a number per patient identifier, new after every change.

Caches of directives and everything derived from them are keyed by it and cannot
serve an older one.

Source: spec/consent.md section 12.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from hie.database import prepared

_BUMP = """
INSERT INTO consent_consentepoch AS e (identifier_id, value) VALUES (%s, nextval('consent_epoch_seq'))
ON CONFLICT (identifier_id) DO UPDATE SET value = GREATEST(e.value + 1, nextval('consent_epoch_seq'))
"""


def bump(identifier_pk: int) -> None:
    """Give an identifier's directives and grants a new epoch, in the caller's transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_BUMP, [identifier_pk])


def values(identifier_pks: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """(identifier, epoch) of those that ever had a directive or grant, sorted; one statement."""
    pks = sorted(set(identifier_pks))
    if not pks:
        return ()
    with prepared() as cursor:
        cursor.execute(
            "SELECT identifier_id, value FROM consent_consentepoch WHERE identifier_id = ANY(%s::bigint[]) ORDER BY 1",
            [pks],
        )
        return tuple((int(pk), int(value)) for pk, value in cursor.fetchall())
