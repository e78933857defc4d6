"""Background work of the index: thin, takes ids only, safe to run twice."""

from __future__ import annotations

from celery import shared_task

from patients import maintenance, trust


@shared_task(ignore_result=True)
def train_model() -> None:
    """Train a match model on a sample of the index; live only past the guard and where none is live yet."""
    maintenance.train()


@shared_task(ignore_result=True)
def recluster() -> None:
    """List for review the persons whom the live model would join or split today."""
    maintenance.recluster()


@shared_task(ignore_result=True)
def settle_trust() -> None:
    """Bring a change of the trust in sources to the golden records."""
    trust.settle()
