"""The Celery app and the timetable of beat; with `hie/urls.py` the only place that knows every part."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hie.settings")

# Every package that may hold a tasks.py.
TASK_PACKAGES = [
    "hie.exchange",
    "hie.audit",
    "hie.outbox",
    "hie.directory",
    "hie.trust",
    "hie.terminology",
    "patients",
    "documents",
    "consent",
    "hie.faces.fhir",
    "hie.faces.hl7v2",
    "hie.faces.rest",
]

# What is swept and how often: (name, task, seconds). Work is rows; a sweep missed or doubled does no harm.
TIMETABLE: list[tuple[str, str, float]] = []

app = Celery("hie")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(TASK_PACKAGES)


def schedule() -> dict[str, dict[str, Any]]:
    """Beat's entries; each expires when the next is due, so a worker that was away does not catch up on old ones."""
    return {
        name: {"task": task, "schedule": seconds, "options": {"expires": seconds}}
        for name, task, seconds in TIMETABLE
        if importlib.util.find_spec(task.rpartition(".")[0]) is not None
    }


app.conf.beat_schedule = schedule()


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Celery would otherwise lay its own format, with task arguments, over the hub's."""
