"""Which match model is live, and when a new one may become it.

A model goes live only past the guard (`training.Trained.acceptable`). While one is live, a newly
trained one is kept in shadow for a steward to compare.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.utils import timezone

from patients import store, training
from patients.matching import Scorer
from patients.models import MatchModel
from patients.normalise import Features


def for_population(records: Sequence[Features], pairs: Sequence[tuple[int, int]]) -> Scorer:
    """The scorer to judge these records by.

    The live model; where only the built-in one is and there are records enough, one trained on them goes
    live first, if it passes the guard. A refused one is kept, for the record.
    """
    if MatchModel.objects.filter(status=MatchModel.Status.ACTIVE).exists() or len(records) < training.MIN_RECORDS:
        return store.scorer()
    save(trained(records, pairs))
    return store.scorer()


def trained(records: Sequence[Features], pairs: Sequence[tuple[int, int]]) -> training.Trained:
    """A model trained on these records, named by the time."""
    return training.train(records, pairs, version=f"em-{timezone.now():%Y%m%dT%H%M%S%fZ}")


def save(result: training.Trained) -> MatchModel:
    """Keep a trained model: live when the guard lets it and none is live yet, else in shadow, or refused."""
    with transaction.atomic():
        live = MatchModel.objects.select_for_update().filter(status=MatchModel.Status.ACTIVE).exists()
        status = MatchModel.Status.SHADOW if live else MatchModel.Status.ACTIVE
        if not result.acceptable:
            status = MatchModel.Status.REFUSED
        return MatchModel.objects.create(
            version=result.model.version,
            status=status,
            parameters=result.model.to_json(),
            statistics=result.statistics(),
        )
