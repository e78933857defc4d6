"""Rows of retention: how long each part is kept, what must not be removed, and what was."""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone


class RetentionRule(models.Model):
    """A version of how long a part is kept (`consent.retention`): ``{"days": n}``. Never changed or removed (a trigger)."""

    part = models.TextField()
    version = models.PositiveIntegerField()
    body = models.JSONField()
    effective_from = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "time that something is kept"
        verbose_name_plural = "times that things are kept"
        constraints = [models.UniqueConstraint(fields=["part", "version"], name="consent_retention_rule_version")]

    def __str__(self) -> str:
        return f"{self.part} version {self.version}"


class LegalHold(models.Model):
    """While it stands nothing of its subject is removed: a person by id, a document by its unique id, an organization by id.

    `identifiers` are those that a person had when it was placed. It is never removed itself.
    """

    class Kind(models.TextChoices):
        """What is held."""

        PERSON = "person"
        DOCUMENT = "document"
        ORGANIZATION = "organization"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.TextField(choices=Kind.choices)
    subject = models.TextField()
    identifiers: ArrayField[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list, blank=True)
    reason = models.TextField()
    placed_by = models.TextField()
    placed_account = models.BigIntegerField(null=True, blank=True)
    placed_at = models.DateTimeField(default=timezone.now)
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.TextField(blank=True, default="")
    lifted_reason = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=models.Q(lifted_at__isnull=True), name="consent_legal_hold_once"
            ),
            models.CheckConstraint(
                condition=models.Q(lifted_at__isnull=True, lifted_by="") | ~models.Q(lifted_by=""),
                name="consent_legal_hold_lifted_by",
            ),
        ]

    def __str__(self) -> str:
        return f"hold {self.pk}"


class RetentionRun(models.Model):
    """One sweep over a part: by which version of which rule, how far it has come, what went and what was held.

    What is older than `ended_before` is removed, from the oldest on; `after` is the place it goes on from and
    `announced` what of the log is said to go and has not gone yet. One at a time is open for a part.
    """

    part = models.TextField()
    rule_version = models.PositiveIntegerField()
    days = models.PositiveIntegerField()
    ended_before = models.DateTimeField()
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    announced = models.JSONField(default=list, blank=True)
    removed = models.BigIntegerField(default=0)
    held = models.BigIntegerField(default=0)
    first_at = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "removal"
        ordering = ["-started_at", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["part"], condition=models.Q(finished_at__isnull=True), name="consent_retention_run_one_open"
            )
        ]
        indexes = [models.Index(fields=["part", "-started_at"], name="consent_retention_run_part")]

    def __str__(self) -> str:
        return f"{self.part} {self.pk}"
