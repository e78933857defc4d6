"""The Celery app and the timetable of beat; with `hie/urls.py` the only place that knows every part."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, heartbeat_sent, setup_logging, worker_ready, worker_shutting_down

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hie.settings")

# What is swept and how often: (name, task, seconds). Work is rows; a sweep missed or doubled does no harm.
TIMETABLE: list[tuple[str, str, float]] = [
    ("carry on imports", "exchange.carry_on_imports", 30),
    ("expire queries", "exchange.expire_queries", 60),
    ("deliver notices", "exchange.deliver_notices", 5),
    ("remove what has had its time", "exchange.remove_old", 300),
    ("tell patients of emergencies", "exchange.tell_patients", 15),
    ("look for what patients want to be told of", "exchange.find_patient_notices", 60),
    ("send mails to patients", "exchange.send_mails", 10),
    ("pass on overdue concerns", "exchange.pass_on_concerns", 300),
    ("tell of coming of age", "exchange.tell_of_majority", 86_400),
    ("escalate overdue emergencies", "exchange.escalate_emergencies", 300),
    ("decide a share of the day's decisions again", "exchange.replay_decisions", 86_400),
    ("label documents again", "exchange.relabel_documents", 10),
    ("roll up figures", "exchange.roll_up_figures", 30),
    ("tell the receiver of audit messages", "exchange.tell_audit_receiver", 5),
    ("rewrap document keys", "documents.tasks.rotate", 600),
    ("forget ended assertions", "trust.forget_ended_assertions", 300),
    ("seal secrets of code apps", "trust.seal_secrets", 600),
    ("clear ended sessions", "trust.clear_sessions", 86_400),
    ("rewrap kept messages", "exchange.rewrap_messages", 600),
    ("train the match model", "patients.tasks.train_model", 86_400),
    ("bring trust in sources to golden records", "patients.tasks.settle_trust", 60),
    ("look for persons to join or part", "patients.tasks.recluster", 86_400),
]

app = Celery("hie")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def schedule() -> dict[str, dict[str, Any]]:
    """Beat's entries; each expires when the next is due, so a worker that was away does not catch up on old ones."""
    return {
        name: {"task": task, "schedule": seconds, "options": {"expires": seconds}} for name, task, seconds in TIMETABLE
    }


app.conf.beat_schedule = schedule()


@beat_init.connect
def forget_old_entries(**_: Any) -> None:
    """Rows of an older release's timetable would go on asking for tasks that are no more."""
    from django_celery_beat.models import PeriodicTask

    known = [name for name, _, _ in TIMETABLE]
    PeriodicTask.objects.exclude(name__in=known).exclude(name__startswith="celery.").delete()


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """Celery would otherwise lay its own format, with task arguments, over the hub's."""


@worker_ready.connect
def start_the_loop(**_: Any) -> None:
    """Questions to other communities run on one event loop a worker (`hie/exchange/loop.py`)."""
    alive()
    from hie.exchange import loop

    loop.running()


@worker_shutting_down.connect
def stop_the_loop(**_: Any) -> None:
    """Open questions and imports stay rows; the next worker goes on with them."""
    from hie.exchange import loop, tasks

    tasks.stop_imports()
    loop.stop()


@heartbeat_sent.connect
def alive(**_: Any) -> None:
    """A file that is touched while the worker talks to its broker; health checks look at its age."""
    from django.conf import settings

    mark = settings.DATA_DIR / "run" / "worker.alive"
    mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mark.touch()
