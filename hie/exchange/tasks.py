"""Thin Celery tasks of the exchange: ids in, safe to run twice. Rows say what must happen."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from celery import shared_task

from hie.exchange import inbox, notices, query
from hie.exchange.loop import running


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


@shared_task(name="exchange.forget_notices")
def forget_notices() -> int:
    """Remove notices delivered a month ago."""
    return notices.forget()


@shared_task(name="exchange.rewrap_messages")
def rewrap_messages() -> int:
    """Put kept messages under the current document key, after `rotate_keys`."""
    total = 0
    while done := inbox.rewrap():
        total += done
    return total


def nudge(query_id: UUID) -> None:
    """Nudge a worker. A dead broker costs a second (the loop also looks by itself), never the query."""
    try:
        run_query.apply_async((str(query_id),), retry=False, ignore_result=True)
    except Exception:
        import structlog

        structlog.get_logger(__name__).warning("query.nudge_failed", query_id=str(query_id))
