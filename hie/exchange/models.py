"""Rows of the exchange: questions to others, and messages as they came in."""

from __future__ import annotations

import json
import uuid
from typing import Any

import orjson
from django.db import models


class FastJson(json.JSONDecoder):
    """Reads stored JSON with orjson: an answer of a hundred communities is a hundred resources."""

    def decode(self, s: str, _w: Any = None) -> Any:
        """The value of a JSON text."""
        return orjson.loads(s)


class Query(models.Model):
    """One cross-organization question. Rows are the truth; the broker only nudges (design.md).

    `caller` is who asked, as proven then; each answer is decided again for that caller before it is shown. `told`
    is what was decided that the question may say (`access.told`): numbers of records and epochs, no demographics.
    """

    class Status(models.TextChoices):
        RUNNING = "running"
        COMPLETE = "complete"
        CANCELLED = "cancelled"
        EXPIRED = "expired"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant_id = models.TextField()
    client_id = models.TextField()
    user_id = models.TextField()
    caller = models.JSONField()
    person_id = models.UUIDField(db_index=True)
    purpose = models.TextField()
    filter = models.JSONField(default=dict)
    status = models.TextField(choices=Status.choices, default=Status.RUNNING)
    created_at = models.DateTimeField()
    deadline_at = models.DateTimeField()
    completed_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    idempotency_key = models.TextField(null=True, blank=True)
    request_digest = models.TextField(blank=True)
    told = models.JSONField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "queries"
        constraints = [
            models.UniqueConstraint(fields=["client_id", "idempotency_key"], name="exchange_query_idempotency"),
        ]
        indexes = [models.Index(fields=["-created_at"], name="exchange_query_created")]

    def __str__(self) -> str:
        return str(self.id)


class QueryTarget(models.Model):
    """One community or organization asked in a query, with what came of it.

    `claimed_until` is the lease of the loop that is asking; past it another loop may take the row: a new target's
    is over when it is made, one that is asked again later has its time, one that is done the year 9999. A
    target that consent kept from being asked (`withheld`) reads ``nothing`` from `answered_at` on.
    """

    class Status(models.TextChoices):
        PENDING = "pending"
        ANSWERED = "answered"
        NOTHING = "nothing"
        REFUSED = "refused"
        LATE = "late"
        DOWN = "down"
        ERROR = "error"

    query = models.ForeignKey(Query, on_delete=models.CASCADE, related_name="targets", db_index=False)
    target_id = models.TextField()
    participant_id = models.TextField()
    name = models.TextField()
    kind = models.TextField()
    endpoint_url = models.TextField(blank=True)
    status = models.TextField(choices=Status.choices, default=Status.PENDING)
    withheld = models.BooleanField(default=False)
    asked_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    message = models.TextField(blank=True)
    cause = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    claimed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["query", "target_id"], name="exchange_target_unique")]
        indexes = [
            models.Index(
                fields=["claimed_until"],
                name="exchange_target_open",
                condition=models.Q(status__in=["pending", "late", "down"], withheld=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.query_id} {self.target_id}"


class RemoteDocument(models.Model):
    """A document that another community named in an answer; its bytes stay there until asked for.

    `resource` is the DocumentReference as answered; `source_url` where its bytes are. The id is the
    Binary and DocumentReference id under which this hub shows it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # No index of its own, here and below: the unique constraint begins with it.
    target = models.ForeignKey(QueryTarget, on_delete=models.CASCADE, related_name="documents", db_index=False)
    remote_id = models.TextField()
    unique_id = models.TextField(blank=True)
    custodian = models.TextField()
    resource = models.JSONField(decoder=FastJson)
    source_url = models.TextField()
    content_type = models.TextField(blank=True)
    sha1 = models.TextField(blank=True)
    size = models.BigIntegerField(null=True, blank=True)
    received_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["target", "remote_id"], name="exchange_remote_document_unique")]

    def __str__(self) -> str:
        return str(self.id)


class QueryEvent(models.Model):
    """What a query's asker has been shown, in order: resumes a stream and records each release once."""

    query = models.ForeignKey(Query, on_delete=models.CASCADE, related_name="events", db_index=False)
    kind = models.TextField()  # target | document | withdrawn | done
    key = models.TextField()
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["query", "kind", "key"], name="exchange_query_event_once")]
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.query_id} {self.kind} {self.key}"


class InboundMessage(models.Model):
    """A message as it came in, kept whatever became of it.

    `raw` is encrypted under a key derived from document key `key_id`; `digest` is keyed, so equal rows
    tell nothing to who holds only the table. `error_*` name segments, fields and codes, never content.
    """

    class Status(models.TextChoices):
        RECEIVED = "received"
        ACCEPTED = "accepted"
        REFUSED = "refused"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    protocol = models.TextField()
    sender = models.TextField(blank=True)
    participant_id = models.TextField(blank=True)
    control_id = models.TextField(blank=True)
    kind = models.TextField(blank=True)
    digest = models.BinaryField(max_length=32)
    raw = models.BinaryField()
    key_id = models.TextField()
    size = models.PositiveIntegerField()
    network_address = models.TextField(blank=True)
    status = models.TextField(choices=Status.choices, default=Status.RECEIVED)
    error_code = models.TextField(blank=True)
    error_element = models.TextField(blank=True)
    error_text = models.TextField(blank=True)
    reply = models.BinaryField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    received_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["protocol", "sender", "control_id", "digest"], name="exchange_inbound_message_once"
            )
        ]
        indexes = [
            models.Index(
                fields=["protocol", "error_code", "error_element"],
                name="exchange_inbound_errors",
                condition=models.Q(status__in=["refused", "failed"]),
            ),
            models.Index(fields=["-received_at"], name="exchange_inbound_received"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class Subscription(models.Model):
    """Who wants to be told of changes of identities [ITI-94].

    `caller` is who asked, as proven then; each notice is decided again for that caller before it leaves.
    `resource` is the Subscription as sent, `criteria` and `endpoint` out of it.
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        ERROR = "error"
        OFF = "off"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant_id = models.TextField()
    client_id = models.TextField(db_index=True)
    caller = models.JSONField()
    criteria = models.TextField()
    endpoint = models.TextField()
    resource = models.JSONField()
    status = models.TextField(choices=Status.choices, default=Status.ACTIVE)
    error = models.TextField(blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["id"], name="exchange_subscription_active", condition=models.Q(status="active"))
        ]

    def __str__(self) -> str:
        return str(self.id)


class DeathObjection(models.Model):
    """Somebody who signed in as a patient says that the patient lives, though the record says otherwise.

    Nothing opens by it: a steward asks whoever it is, and sets the record right, or closes it with a reason.
    """

    identifier = models.ForeignKey("patients.PatientIdentifier", on_delete=models.PROTECT, related_name="+")
    said = models.TextField(blank=True)
    at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.TextField(blank=True, default="")
    closed_reason = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "objection to a death"
        verbose_name_plural = "objections to a death"
        constraints = [
            models.UniqueConstraint(
                fields=["identifier"],
                condition=models.Q(closed_at__isnull=True),
                name="exchange_death_objection_once",
            )
        ]

    def __str__(self) -> str:
        return f"objection {self.pk}"
