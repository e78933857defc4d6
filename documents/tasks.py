"""Upkeep of the repository by the worker; each task may run twice or be cut off."""

from __future__ import annotations

import logging

from celery import shared_task

from documents import repository

log = logging.getLogger(__name__)


@shared_task(ignore_result=True, acks_late=True)
def sweep() -> None:
    """Remove bytes that nothing refers to (beat: hourly)."""
    swept = repository.sweep()
    log.info(
        "repository swept: %d binaries, %d blobs, %d objects, %d partial",
        swept.binaries,
        swept.blobs,
        swept.objects,
        swept.partial,
    )


@shared_task(ignore_result=True, acks_late=True)
def rotate() -> None:
    """Re-wrap what is under an older document key (beat: every ten minutes, and after `rotate_keys`)."""
    total = repository.rotate()
    if total:
        log.info("repository keys re-wrapped: %d", total)
