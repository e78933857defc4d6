"""Codes that came and that no set of the hub knows: collected with who sent them, and what was decided about each.

Two kinds are met: a code of document metadata outside its set of the affinity domain (`attribute` is the XDS name), and a
code inside a document whose system is a sender's own (`attribute` is ""), which no labelling rule can judge. A decision
is kept for the code: it means the same as another (`MAPPED`), it belongs to its set (`ADDED`), or it is local and stays so.

Collecting costs a request nothing while it brings no new code: what this process has seen lately is counted in memory,
and written with the next new one, or after a minute. A process that dies forgets up to a minute's count, never a code.

Source: issue 5, item 8; spec/consent.md 8 (labels only rise), 11 (label value sets take two people); spec/xds.md 11.
"""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from time import monotonic
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from hie.standards import oids
from hie.terminology import versions
from hie.terminology.models import Code, CodeSet, LocalCode

log = logging.getLogger("hie.terminology")

EVERY = "*"
"""The code of a set that stands for all codes of its scheme; nobody can mean it."""
CONTENT = ""
"""The attribute of a code that stood inside a document."""
FLUSH_S = 60.0
MOST_OF_ONE = 5_000
"""So many codes of one sender wait at most: who invents them fills no table."""
MOST_AT_ONCE = 200
_SEEN = 20_000
LONGEST_CODE = 64
_OURS = ("http://hl7.org/", "https://hl7.org/", "http://terminology.hl7.org/", "http://www.hl7.org/", "http://ihe.net/",
         "https://ihe.net/", "http://profiles.ihe.net/", "https://profiles.ihe.net/", "urn:ietf:", "urn:iso:", "urn:ihe:")  # fmt: skip
# HL7's own systems and value sets, its tables of version 2, and the external systems it has registered; those of DICOM and IHE.
_REGISTERED = re.compile(
    r"urn:oid:(2\.16\.840\.1\.113883\.(1|2|4|5|6|12|15|18|21)\.|1\.2\.840\.10008\.|1\.3\.6\.1\.4\.1\.19376\.|1\.0\.)",
    re.ASCII,
)
_CODE = re.compile(r"[!-~]([ -~]*[!-~])?\Z", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Met:
    """A code as it came; `scheme` is a URI, "" where it has none (media types)."""

    attribute: str
    scheme: str
    code: str


def is_local(system: str) -> bool:
    """Whether a coding system is a sender's own: none that HL7, IHE or DICOM made or registered, and none known by name.

    "" is none: a code without a system may be of any, and labelling takes it so.
    """
    uri = oids.kin_scheme(system)
    if not uri or uri in oids.OID_OF_URI:
        return False
    return not uri.lower().startswith(_OURS) and _REGISTERED.match(uri) is None


def met_inside(codes: Iterable[str]) -> list[Met]:
    """Of the codes found in a document (``system|code``) those of a sender's own system, at most 200."""
    pairs = (one.rpartition("|") for one in codes)
    found = {Met(CONTENT, oids.compared_scheme(system), code) for system, _, code in pairs if is_local(system)}
    return sorted(found)[:MOST_AT_ONCE]


# --- collecting --------------------------------------------------------------------------------------------------------


class _Counted:
    """What this process has seen lately and not written yet, by sender and code."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.forget()

    def forget(self) -> None:
        with self._lock:
            self._held: OrderedDict[tuple[str, Met], int] = OrderedDict()
            self._written = monotonic()

    def take(self, sender: str, met: Iterable[Met]) -> dict[tuple[str, Met], int]:
        """Count these; what is to be written now: everything, where one of them is new here or a minute has gone by."""
        with self._lock:
            fresh = False
            for one in met:
                key = (sender, one)
                fresh = fresh or key not in self._held
                self._held[key] = self._held.get(key, 0) + 1
                self._held.move_to_end(key)
            now = monotonic()
            if not fresh and now - self._written < FLUSH_S:
                return {}
            self._written = now
            due = {key: count for key, count in self._held.items() if count}
            for key in due:
                self._held[key] = 0
            while len(self._held) > _SEEN:
                self._held.popitem(last=False)
            return due


_counted = _Counted()


def forget() -> None:
    """Drop what this process has counted (tests that take rows back)."""
    _counted.forget()


# Senders first: a sender who has brought too many brings no new ones, and a code that nobody brought is not written.
_WRITE = """
WITH met AS (
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::int[]) AS m(sender, attribute, scheme, code, n)
), allowed AS (
    SELECT m.* FROM met m LEFT JOIN terminology_localcode c USING (attribute, scheme, code)
    WHERE c.id IS NOT NULL
       OR (SELECT count(*) FROM terminology_codesender s WHERE s.sender = m.sender) < %s
), codes AS (
    INSERT INTO terminology_localcode AS c (attribute, scheme, code, state, met, first_at, last_at,
        to_scheme, to_code, to_display, raises, proposed, proposed_by, proposed_account)
    SELECT attribute, scheme, code, 'waiting', sum(n), %s, %s, '', '', '', false, '', '', NULL FROM allowed
    GROUP BY attribute, scheme, code ORDER BY attribute, scheme, code
    ON CONFLICT (attribute, scheme, code) DO UPDATE SET met = c.met + EXCLUDED.met, last_at = EXCLUDED.last_at
    RETURNING c.id, c.attribute, c.scheme, c.code
)
INSERT INTO terminology_codesender AS s (local_code_id, sender, met, first_at, last_at)
SELECT codes.id, a.sender, a.n, %s, %s FROM allowed a JOIN codes USING (attribute, scheme, code) ORDER BY codes.id, a.sender
ON CONFLICT (local_code_id, sender) DO UPDATE SET met = s.met + EXCLUDED.met, last_at = EXCLUDED.last_at
"""


def note(sender: str, met: Iterable[Met], *, now: datetime | None = None) -> int:
    """Count codes that a participant sent; how many rows were written (usually none, and then no statement).

    For after what brought them: it never fails that. A code longer than 64 characters, or not of ASCII, is not kept:
    what is no code may be anything.
    """
    wanted = sorted({one for one in met if len(one.code) <= LONGEST_CODE and _CODE.match(one.code)})
    if not wanted:
        return 0
    due = sorted(_counted.take(sender, wanted).items())
    if not due:
        return 0
    at = now or timezone.now()
    columns: list[Any] = [
        [key[0] for key, _ in due], [key[1].attribute for key, _ in due], [key[1].scheme for key, _ in due],
        [key[1].code for key, _ in due], [count for _, count in due],
    ]  # fmt: skip
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_WRITE, [*columns, MOST_OF_ONE, at, at, at, at])
            return int(cursor.rowcount)
    except DatabaseError as problem:
        log.warning("codes that came could not be noted: %s", type(problem).__name__)
        return 0


# --- what was decided --------------------------------------------------------------------------------------------------


def same_as(wanted: Iterable[Met]) -> dict[Met, Met]:
    """Which of these codes mean the same as another, by decision; one statement."""
    asked = set(wanted)
    rows = LocalCode.objects.filter(
        state=LocalCode.State.MAPPED,
        attribute__in={one.attribute for one in asked},
        code__in={one.code for one in asked},
    ).values_list("attribute", "scheme", "code", "to_scheme", "to_code")
    found = {Met(a, s, c): Met(a, to_scheme, to_code) for a, s, c, to_scheme, to_code in rows}
    return {one: found[one] for one in asked if one in found}


def label_codes() -> list[tuple[str, str]]:
    """Codes that labelling takes as another's besides, ``system|code`` and ``system|code``; one statement.

    Whatever they are of: a type of document and a code inside one are judged alike.
    """
    rows = LocalCode.objects.filter(state=LocalCode.State.MAPPED).order_by("pk")
    return [
        (f"{scheme}|{code}", f"{to_scheme}|{to_code}")
        for scheme, code, to_scheme, to_code in rows.values_list("scheme", "code", "to_scheme", "to_code")
    ]


def added(attribute: str) -> frozenset[tuple[str, str]]:
    """Codes (code, scheme) that were added to a set by decision: a file that is loaded anew does not retire them."""
    rows = LocalCode.objects.filter(state=LocalCode.State.ADDED, attribute=attribute)
    return frozenset(rows.values_list("code", "scheme"))


def in_set(attribute: str, scheme: str, code: str) -> str | None:
    """What a code of a set is called there; None: it is not in the set, or retired. One statement."""
    rows = Code.objects.filter(code_set__attribute=attribute, scheme=scheme, code=code, active=True)
    rows = rows.exclude(code__endswith=EVERY)
    return rows.values_list("display", flat=True).first()


def set_of(attribute: str) -> int:
    """The row of the set of an attribute; 0 where there is none. One statement."""
    return CodeSet.objects.filter(attribute=attribute).values_list("pk", flat=True).first() or 0


def held(pk: int) -> LocalCode | None:
    """A code, locked until the transaction ends."""
    return LocalCode.objects.select_for_update().filter(pk=pk).first()


def propose(
    row: LocalCode, what: str, *, to: tuple[str, str, str] = ("", "", ""), by: str, account: int | None
) -> None:
    """Keep what one member of staff would do, for another to agree to: ``map`` to (scheme, code, display), or ``end``."""
    row.proposed, row.proposed_by, row.proposed_account, row.proposed_at = what, by, account, timezone.now()
    if what == LocalCode.Proposed.MAP:
        row.to_scheme, row.to_code, row.to_display = to
    row.save()


def withdraw(row: LocalCode) -> None:
    """Forget what was proposed; what counts goes on."""
    if row.proposed == LocalCode.Proposed.MAP:
        row.to_scheme = row.to_code = row.to_display = ""
    _no_proposal(row)
    row.save()


def map_to(row: LocalCode, *, to: tuple[str, str, str], raises: bool) -> None:
    """From now on the code means the same as (scheme, code, display). `raises`: labels depend on it."""
    row.state, (row.to_scheme, row.to_code, row.to_display), row.raises = LocalCode.State.MAPPED, to, raises
    _no_proposal(row)
    row.save()


def add_to_set(row: LocalCode, *, display: str, by: str) -> None:
    """From now on the code is one of its set."""
    code_set = CodeSet.objects.get(attribute=row.attribute)
    Code.objects.update_or_create(
        code_set=code_set, code=row.code, scheme=row.scheme, defaults={"active": True, "display": display}
    )
    versions.keep(code_set, by=by)
    row.state = LocalCode.State.ADDED
    row.save(update_fields=["state"])


def leave_local(row: LocalCode) -> None:
    """It is known to be the sender's own: nobody is asked again."""
    row.state = LocalCode.State.LOCAL
    row.save(update_fields=["state"])


def take_back(row: LocalCode, *, by: str) -> None:
    """It waits again, as if nothing had been decided; a code added to its set is retired."""
    if row.state == LocalCode.State.ADDED:
        Code.objects.filter(code_set__attribute=row.attribute, code=row.code, scheme=row.scheme).update(active=False)
        for code_set in CodeSet.objects.filter(attribute=row.attribute):
            versions.keep(code_set, by=by)
    row.state, row.raises = LocalCode.State.WAITING, False
    row.to_scheme = row.to_code = row.to_display = ""
    _no_proposal(row)
    row.save()


def _no_proposal(row: LocalCode) -> None:
    row.proposed, row.proposed_by, row.proposed_account, row.proposed_at = "", "", None, None


def senders(row: LocalCode) -> list[tuple[str, int, datetime, datetime]]:
    """Who sent it: participant, how often, first and last; most first. One statement."""
    rows = row.senders.order_by("-met", "sender")
    return list(rows.values_list("sender", "met", "first_at", "last_at"))


def candidates(attribute: str, *, limit: int = 200) -> list[tuple[str, str, str]]:
    """Codes of a set that one could mean, as (scheme, code, display), by display; one statement."""
    rows = Code.objects.filter(code_set__attribute=attribute, active=True).exclude(code__endswith=EVERY)
    rows = rows.order_by("display", "code", "scheme")
    return list(rows.values_list("scheme", "code", "display")[:limit])
