"""Upkeep of the repository by the worker; each may run twice or be cut off."""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime

from celery import shared_task
from django.utils import timezone

from documents import repository
from documents.repository import Swept

log = logging.getLogger(__name__)


def sweep_older(before: datetime, *, spare: Collection[str] = ()) -> Swept:
    """Remove bytes that nothing refers to and that are older than an instant, but those of these owners."""
    swept = repository.sweep(grace=timezone.now() - before, spare=spare)
    log.info(
        "repository swept: %d binaries, %d blobs, %d objects, %d partial",
        swept.binaries,
        swept.blobs,
        swept.objects,
        swept.partial,
    )
    return swept


def count_older(before: datetime, *, owners: Collection[str] | None = None) -> int:
    """How many uploads nothing refers to are older than an instant; of these owners alone, or of all."""
    return repository.unused(before, owners=owners).count()


@shared_task(ignore_result=True, acks_late=True)
def rotate() -> None:
    """Re-wrap what is under an older document key (beat: every ten minutes, and after `rotate_keys`)."""
    total = repository.rotate()
    if total:
        log.info("repository keys re-wrapped: %d", total)
