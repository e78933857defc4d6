"""Rows of the desk's tasks: what was decided about a thing that waits in a queue, and each act."""

from __future__ import annotations

from django.db import models


class DeskTask(models.Model):
    """One thing of a queue that somebody did something about; who acts holds the row meanwhile.

    `queue` is the queue's key and `key` what the thing is called in it (`hie.exchange.desk_tasks`). Until `until_at` it
    does not wait, whatever comes; with `settled` it never waits again as it is. What nothing was done about has no row.
    """

    queue = models.TextField()
    key = models.TextField()
    until_at = models.DateTimeField(null=True, blank=True)
    settled = models.BooleanField(default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["queue", "key"], name="exchange_desk_task_once")]
        indexes = [
            models.Index(
                fields=["queue"],
                name="exchange_desk_task_off",
                condition=models.Q(settled=True) | models.Q(until_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.queue} {self.key}"


class DeskTaskAct(models.Model):
    """One thing that a member of staff did about a task; never changed or removed (a trigger holds it).

    `kind` is the queue's own word, or ``reopened``. `more` holds what else was written down, by name.
    """

    task = models.ForeignKey(DeskTask, on_delete=models.PROTECT, related_name="acts", db_index=False)
    kind = models.TextField()
    actor = models.TextField()
    reason = models.TextField()
    more = models.JSONField(default=dict)
    until_at = models.DateTimeField(null=True, blank=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = "act of a task"
        indexes = [models.Index(fields=["task", "id"], name="exchange_desk_task_act_of")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.task_id}"
