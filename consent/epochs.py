"""The consent epoch: a number per patient identifier, new after every change of what its patient's decisions rest on.

Directives and grants raise it here; moved records and changed labels by triggers. Caches of directives and everything
derived from them are keyed by it and cannot serve an older one; beside it stands which transaction raised it, for
answers that are about to be released (`hie.exchange.release`).

Source: spec/consent.md section 12.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from hie.database import prepared


def bump(*identifier_pks: int) -> None:
    """Give identifiers' directives and grants a new epoch, in the caller's transaction.

    Answers that rest on them and are being released are waited for, and none is released before this commits. Whoever
    raises several in one transaction raises them together here first: in their order, two such never wait for each other.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT consent_raise_epoch(%s::bigint[])", [list(identifier_pks)])


def of(identifier_pks: Iterable[int]) -> dict[int, tuple[int, bool]]:
    """By identifier, sorted: the epoch (0 of one never raised), and whether a directive is in store. One statement."""
    pks = sorted(set(identifier_pks))
    with prepared() as cursor:
        cursor.execute(
            "SELECT i, coalesce((SELECT e.value FROM consent_consentepoch e WHERE e.identifier_id = i), 0),"
            " EXISTS (SELECT FROM consent_consent c WHERE c.identifier_id = i) FROM unnest(%s::bigint[]) AS i ORDER BY 1",
            [pks],
        )
        return {int(pk): (int(value), held) for pk, value, held in cursor.fetchall()}


def values(identifier_pks: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """(identifier, epoch) of those whose epoch was ever raised, sorted; one statement."""
    pks = sorted(set(identifier_pks))
    with prepared() as cursor:
        cursor.execute(
            "SELECT identifier_id, value FROM consent_consentepoch"
            " WHERE identifier_id = ANY(%s::bigint[]) AND value > 0 ORDER BY 1",
            [pks],
        )
        return tuple((int(pk), int(value)) for pk, value in cursor.fetchall())
