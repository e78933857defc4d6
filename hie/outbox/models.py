"""Notices waiting to be told to others: one row a notice and receiver."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class OutboxMessage(models.Model):
    """Something that must be told, written in the transaction of what happened.

    `key` says what it is about (an id); `payload` holds ids and codes, never content.
    `next_attempt_at` is when it may be claimed (again); `delivered_at` ends it, `failed_at` too: it was given up and
    waits for somebody, until it is put aside (`aside_at`). Notices of one `receiver` about one key are told in their order.
    """

    topic = models.TextField()
    key = models.TextField()
    receiver = models.TextField(blank=True, default="", db_default="")
    payload = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField("given up at", null=True, blank=True)
    aside_at = models.DateTimeField("put aside at", null=True, blank=True)

    class Meta:
        verbose_name = "notice"
        indexes = [
            models.Index(
                fields=["topic", "next_attempt_at", "id"],
                name="outbox_due",
                condition=models.Q(delivered_at__isnull=True),
            ),
            models.Index(
                fields=["receiver", "key", "id"],
                name="outbox_in_order",
                condition=models.Q(delivered_at__isnull=True, failed_at__isnull=True) & ~models.Q(receiver=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.topic} {self.key}"
