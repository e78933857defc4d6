"""Beat asks only for tasks that exist."""

from __future__ import annotations

import pytest
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from hie.celery import TIMETABLE, app, forget_old_entries


def test_every_entry_of_the_timetable_names_a_registered_task():
    app.loader.import_default_modules()
    assert {task for _, task, _ in TIMETABLE} <= set(app.tasks)


def test_entries_have_names_of_their_own_and_run_no_oftener_than_beat_ticks():
    assert len({name for name, _, _ in TIMETABLE}) == len(TIMETABLE)
    assert all(seconds >= 5 for _, _, seconds in TIMETABLE)


@pytest.mark.django_db
def test_entries_of_an_older_release_are_forgotten_and_others_stay():
    often = IntervalSchedule.objects.create(every=60, period="seconds")
    for name in ("sweep documents", TIMETABLE[0][0], "celery.backend_cleanup"):
        PeriodicTask.objects.update_or_create(name=name, defaults={"task": "x", "interval": often})
    forget_old_entries()
    assert not PeriodicTask.objects.filter(name="sweep documents").exists()
    assert PeriodicTask.objects.filter(name__in=[TIMETABLE[0][0], "celery.backend_cleanup"]).count() == 2
