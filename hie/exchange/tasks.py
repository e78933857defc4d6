"""Thin Celery tasks of the exchange: ids in, safe to run twice. Rows say what must happen."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from celery import shared_task
from django.conf import settings

from hie.audit import receiver
from hie.exchange import (
    concerns,
    emergency,
    emergency_review,
    figure_sources,
    helpers,
    imports,
    inbox,
    notices,
    patient_notices,
    public_figures,
    query,
    relabel,
    replay,
    retention,
)
from hie.exchange.loop import running

log = structlog.get_logger(__name__)


@shared_task(name="exchange.run_query")
def run_query(query_id: str) -> None:
    """Tell this worker's loop that a query has targets to ask."""
    running().nudge()


@shared_task(name="exchange.expire_queries")
def expire_queries() -> int:
    """Mark queries past their day as expired."""
    return sum(1 for _ in query.expire(at=datetime.now(UTC)))


@shared_task(name="exchange.deliver_notices")
def deliver_notices() -> int:
    """Tell receivers of changes of identities, as far as due."""
    return notices.deliver_all()


@shared_task(name="exchange.remove_old")
def remove_old() -> int:
    """Remove what has had its time, by the schedule of retention."""
    return retention.carry_on(until=time.monotonic() + REMOVE_S)


REMOVE_S = 20.0
"""How long one task goes on removing; the next one goes on behind it."""


@shared_task(name="exchange.relabel_documents")
def relabel_documents() -> int:
    """Go over registered documents with the labelling rules in force, where these have changed."""
    return relabel.carry_on(until=time.monotonic() + RELABEL_S)


RELABEL_S = 3.0
"""How long one task goes on labelling: this process has questions to ask. The next one goes on behind it."""


@shared_task(name="exchange.roll_up_figures")
def roll_up_figures() -> int:
    """Count what came since for the figures, and publish the months that are over."""
    done = figure_sources.roll_up(seconds=ROLL_UP_S)
    public_figures.publish()
    return done


ROLL_UP_S = 3.0
"""As `RELABEL_S`."""


@shared_task(name="exchange.tell_audit_receiver")
def tell_audit_receiver() -> int:
    """Send ATNA messages of what came into the log since, where a receiver is configured."""
    return receiver.tell()


@shared_task(name="exchange.tell_patients")
def tell_patients() -> int:
    """Tell patients of emergency access, as far as due."""
    return emergency.tell()


@shared_task(name="exchange.pass_on_concerns")
def pass_on_concerns() -> int:
    """Make concerns that no organization answered in time the office's own."""
    return concerns.pass_on_overdue()


@shared_task(name="exchange.find_patient_notices")
def find_patient_notices() -> int:
    """Look in the log for what patients and helpers want to be told of."""
    return patient_notices.find()


@shared_task(name="exchange.send_mails")
def send_mails() -> int:
    """Send the mails that are due."""
    return patient_notices.send()


@shared_task(name="exchange.escalate_emergencies")
def escalate_emergencies() -> int:
    """Make emergency cases whose deadline went by the hub's own matter."""
    return emergency_review.escalate()


@shared_task(name="exchange.replay_decisions")
def replay_decisions() -> int:
    """Decide a random 1 % of the last day's decisions again; how many did not come out as recorded."""
    return len(replay.nightly().found)


@shared_task(name="exchange.tell_of_majority")
def tell_of_majority() -> int:
    """Tell patients and parents, 90 days before, that a parent's permission ends."""
    return helpers.tell_of_majority()


@shared_task(name="exchange.rewrap_messages")
def rewrap_messages() -> int:
    """Put kept messages under the current document key, after `rotate_keys`."""
    total = 0
    while done := inbox.rewrap():
        total += done
    return total


_importing = threading.Lock()
_process: subprocess.Popen[bytes] | None = None


@shared_task(name="exchange.carry_on_imports")
def carry_on_imports() -> None:
    """Carry on bulk imports, in a process of their own: this one has questions to ask, and one core is soon full.

    The process ends with this one however that ends: it watches its standard input.
    """
    global _process
    if not imports.waiting() or not _importing.acquire(blocking=False):
        return
    try:
        _process = subprocess.Popen(  # noqa: S603  # this hub's own command
            [sys.executable, str(settings.BASE_DIR / "manage.py"), "carry_on_imports"], stdin=subprocess.PIPE
        )
        _process.wait()
    finally:
        _process = None
        _importing.release()


def stop_imports() -> None:
    """End the process of `carry_on_imports`; the next worker goes on where it was."""
    if _process is not None:
        _process.terminate()


def nudge_imports() -> None:
    """Nudge a worker; without a broker beat looks by itself."""
    _nudge(carry_on_imports)


NUDGE_EVERY_S = 0.1
"""A process tells of its questions at most this often: a nudge makes a loop look at all rows, whichever it names."""

_nudging = threading.Lock()
_nudged_at = float("-inf")
_later: threading.Timer | None = None


def nudge(query_id: UUID) -> None:
    """Nudge a worker, now or with the next nudge in a moment; without a broker the loops look by themselves.

    Twenty questions at once would else pay for twenty messages, sent and taken: more than deciding them costs.
    """
    global _nudged_at, _later
    with _nudging:
        if _later is not None:
            return
        wait_s = _nudged_at + NUDGE_EVERY_S - time.monotonic()
        if wait_s > 0:
            _later = threading.Timer(wait_s, _nudge_later, [str(query_id)])
            _later.daemon = True
            _later.start()
            return
        _nudged_at = time.monotonic()
    _nudge(run_query, str(query_id))


def _nudge_later(query_id: str) -> None:
    global _nudged_at, _later
    with _nudging:
        # From here on a question starts a nudge of its own: its rows may be younger than this one's look.
        _later, _nudged_at = None, time.monotonic()
    _nudge(run_query, query_id)


def _nudge(task: Any, *arguments: str) -> None:
    # A dead broker costs a second, never what the rows say must happen.
    try:
        task.apply_async(arguments, retry=False, ignore_result=True)
    except Exception:
        log.warning("tasks.nudge_failed", task=task.name, about=arguments)
