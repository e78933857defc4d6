"""The policy epoch: one number, new after every change of policy data.

Read it once a request and key caches by it. It rises inside the transaction of the
change, so a reader sees the change and the new number together or neither.
"""

from __future__ import annotations

from django.db import connection

_READ = "SELECT value FROM directory_policyepoch WHERE id = 1"


def epoch() -> int:
    """The policy epoch now: one statement, never cached. 0 before anything was registered."""
    with connection.cursor() as cursor:
        cursor.execute(_READ)
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def bump_epoch() -> None:
    """Give the policy data a new epoch, in the caller's transaction.

    Writers queue on the one row until the first commits, so the number never
    goes back. Changes to the directory's own tables need no call: a trigger does it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT directory_bump_epoch()")
