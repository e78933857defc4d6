"""Sessions of the portal and the desk as rows: since when, on what kind of device, and ended from another one.

What the browser holds names a row here. A session ends when nothing was asked for in `IDLE`, after `LONGEST` in any
case, and when its owner ends it, on this device or another.

Source: NIST SP 800-63B 7.1, 7.2; issue 5, "Getting in".
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from hie.trust.models import PatientAccount, SignedIn
from hie.trust.second_factor import Owner

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=8)
_NOTED_EVERY = timedelta(minutes=1)
# Order counts: most browsers name others too.
_BROWSERS = (
    ("Edge", r"Edg(e|A|iOS)?/"), ("Opera", r"OPR/|Opera"), ("Samsung Internet", r"SamsungBrowser/"),
    ("Firefox", r"Firefox/|FxiOS/"), ("Chrome", r"Chrome/|CriOS/|Chromium/"), ("Safari", r"Safari/"),
)  # fmt: skip
_SYSTEMS = (
    ("iPhone", r"iPhone"), ("iPad", r"iPad"), ("Android", r"Android"), ("Windows", r"Windows"),
    ("Mac", r"Macintosh|Mac OS X"), ("Linux", r"Linux|X11"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """A running session: `browser` and `system` are names everybody knows them by, "" where the browser did not say."""

    id: str
    started_at: datetime
    seen_at: datetime
    browser: str
    system: str


def device(agent: str) -> tuple[str, str]:
    """The browser and the kind of device that a User-Agent header speaks of; "" for what it does not say."""
    agent = agent[:512]
    return (
        next((name for name, sign in _BROWSERS if re.search(sign, agent)), ""),
        next((name for name, sign in _SYSTEMS if re.search(sign, agent)), ""),
    )


def start(owner: Owner, *, agent: str) -> str:
    """A new session of an account; its id."""
    now = timezone.now()
    browser, system = device(agent)
    row = SignedIn.objects.create(
        **owner.row, started_at=now, seen_at=now, ends_at=now + LONGEST, browser=browser, system=system
    )
    return str(row.pk)


def running(session_id: str) -> PatientAccount | None:
    """The open account of the portal whose session has not ended; noted as seen, at most once a minute."""
    row = _running(session_id, SignedIn.objects.select_related("account").filter(account__active=True))
    return row.account if row is not None else None


def running_at_desk(session_id: str, staff: int) -> datetime | None:
    """When a session of this account of the desk ends at the latest; None: it has ended, or is another's."""
    row = _running(session_id, SignedIn.objects.filter(staff=staff))
    return row.ends_at if row is not None else None


def _running(session_id: str, among: QuerySet[SignedIn]) -> SignedIn | None:
    try:
        key = uuid.UUID(session_id)
    except ValueError:
        return None
    now = timezone.now()
    row = among.filter(pk=key, ended_at=None).first()
    # What is noted once a minute may be a minute late: nobody is put out before the page said.
    if row is None or row.ends_at <= now or row.seen_at <= now - IDLE - _NOTED_EVERY:
        return None
    if row.seen_at <= now - _NOTED_EVERY:
        SignedIn.objects.filter(pk=key).update(seen_at=now)
    return row


def of(owner: Owner) -> list[SessionFacts]:
    """The running sessions of an account, last seen first; one statement."""
    now = timezone.now()
    rows = SignedIn.objects.filter(**owner.row, ended_at=None, ends_at__gt=now, seen_at__gt=now - IDLE - _NOTED_EVERY)
    return [
        SessionFacts(
            id=str(row.pk), started_at=row.started_at, seen_at=row.seen_at, browser=row.browser, system=row.system
        )
        for row in rows.order_by("-seen_at", "pk")
    ]


def end(owner: Owner, *, only: str = "", but: str = "") -> int:
    """End an account's sessions: one (`only`), all (neither), or all but one; how many."""
    rows = SignedIn.objects.filter(**owner.row, ended_at=None)
    if only:
        rows = rows.filter(pk=only)
    if but:
        rows = rows.exclude(pk=but)
    return rows.update(ended_at=timezone.now())
