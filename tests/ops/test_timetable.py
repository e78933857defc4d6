"""Beat asks only for tasks that exist."""

from __future__ import annotations

from hie.celery import TIMETABLE, app


def test_every_entry_of_the_timetable_names_a_registered_task():
    app.loader.import_default_modules()
    assert {task for _, task, _ in TIMETABLE} <= set(app.tasks)


def test_entries_have_names_of_their_own_and_run_no_oftener_than_beat_ticks():
    assert len({name for name, _, _ in TIMETABLE}) == len(TIMETABLE)
    assert all(seconds >= 5 for _, _, seconds in TIMETABLE)
