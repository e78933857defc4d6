"""Rows of the log. Inserted, never changed: the database refuses UPDATE, TRUNCATE, and DELETE before the end of their time.

`AuditEvent` is partitioned by month of `at`; its
primary key in the database is (id, at), which Django need not know. No foreign key
of the database points into the log: PostgreSQL would lock rows with a right that
these tables do not grant. Words that name or describe a person (names, titles, free
text, the raw query) are in `personal`, encrypted under a key of that patient; what
is searched (identifiers, codes, rules) is clear.

Source: spec/consent.md 13, 16, 17.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models


class AuditKey(models.Model):
    """The key of one patient's words in the log, wrapped; shredding empties it and stamps the time.

    `subject` is the person's id, or ``hub`` for events about nobody.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    subject = models.CharField(max_length=64, unique=True)
    wrap_key_id = models.CharField(max_length=64)
    wrapped = models.BinaryField(null=True)
    created_at = models.DateTimeField()
    shredded_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "audit_key"

    def __str__(self) -> str:
        return str(self.id)


class AuditEvent(models.Model):
    """One request and patient: who asked, for what, why, and what came of it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField("time")
    kind = models.CharField(max_length=40)
    action = models.CharField(max_length=1)
    outcome = models.SmallIntegerField()
    participant = models.CharField(max_length=128, blank=True)
    organization = models.CharField(max_length=128, blank=True)
    root_organization = models.CharField(max_length=128, blank=True)
    organization_name = models.CharField(max_length=255, blank=True)
    organization_oid = models.CharField(max_length=128, blank=True)
    client = models.CharField(max_length=255, blank=True)
    user = models.CharField(max_length=255, blank=True, db_column="user_ref")
    role = models.CharField(max_length=64, blank=True)
    purpose = models.CharField(max_length=64, blank=True)
    on_behalf_of = models.CharField(max_length=255, blank=True)
    intermediary = models.CharField(max_length=128, blank=True)
    relationship = models.CharField(max_length=64, blank=True)
    person_id = models.UUIDField(null=True)
    patient_identifier = models.CharField(max_length=512, blank=True)
    rule = models.CharField(max_length=16, blank=True)
    reason = models.CharField(max_length=128, blank=True)
    request_id = models.CharField("request", max_length=255, blank=True)
    correlation = models.CharField(max_length=255, blank=True)
    token_id = models.CharField("token", max_length=255, blank=True)
    network_address = models.CharField(max_length=64, blank=True)
    face = models.CharField(max_length=32, blank=True)
    detail = models.JSONField(default=dict)
    denied = models.JSONField(default=list)
    decision = models.JSONField(default=dict)
    personal_key = models.UUIDField(null=True)
    personal = models.BinaryField(null=True)

    class Meta:
        db_table = "audit_event"
        ordering = ["-at", "-id"]
        indexes = [
            models.Index(fields=["person_id", "-at", "-id"], name="audit_event_person"),
            models.Index(fields=["-at", "-id"], name="audit_event_at"),
            models.Index(fields=["organization", "-at"], name="audit_event_organization"),
            models.Index(fields=["user", "-at"], name="audit_event_user"),
            models.Index(fields=["kind", "-at"], name="audit_event_kind"),
            models.Index(
                fields=["rule", "-at"], name="audit_event_rule", condition=models.Q(outcome__gt=0) | ~models.Q(rule="")
            ),
            models.Index(fields=["correlation"], name="audit_event_correlation", condition=~models.Q(correlation="")),
            models.Index(fields=["request_id"], name="audit_event_request", condition=~models.Q(request_id="")),
            models.Index(
                fields=["patient_identifier", "-at"],
                name="audit_event_identifier",
                condition=~models.Q(patient_identifier=""),
            ),
            models.Index(fields=["purpose", "-at"], name="audit_event_purpose"),
            models.Index(fields=["outcome", "-at"], name="audit_event_outcome", condition=models.Q(outcome__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Disclosure(models.Model):
    """One document (or set of demographics, or question) that left the hub with an event."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    event = models.ForeignKey(
        AuditEvent, on_delete=models.DO_NOTHING, related_name="disclosures", db_constraint=False, db_index=False
    )
    at = models.DateTimeField("time")
    n = models.IntegerField()
    person_id = models.UUIDField(null=True)
    document_id = models.CharField("document", max_length=255, blank=True)
    unique_id = models.CharField(max_length=255, blank=True)
    custodian = models.CharField(max_length=128, blank=True)
    what = models.CharField(max_length=16)
    labels = models.JSONField(default=list)
    confidentiality = models.CharField(max_length=8, blank=True)
    rule = models.CharField(max_length=16, blank=True)
    reason = models.CharField(max_length=128, blank=True)
    basis = models.JSONField(default=list)
    obligations = models.JSONField(default=list)
    recipient = models.CharField(max_length=128, blank=True)

    class Meta:
        db_table = "audit_disclosure"
        ordering = ["event_id", "n"]
        constraints = [models.UniqueConstraint(fields=["event", "n"], name="audit_disclosure_event_n")]
        indexes = [
            models.Index(fields=["document_id", "-at"], name="audit_disclosure_document"),
            models.Index(
                fields=["unique_id", "-at"], name="audit_disclosure_unique", condition=~models.Q(unique_id="")
            ),
            models.Index(fields=["rule", "-at"], name="audit_disclosure_rule"),
            models.Index(fields=["custodian", "-at"], name="audit_disclosure_custodian"),
            models.Index(fields=["person_id", "document_id", "-at"], name="audit_disclosure_person"),
        ]

    def __str__(self) -> str:
        return f"{self.what} {self.document_id}"


class AuditUnsealed(models.Model):
    """The sealer's queue: a row for each event of a committed transaction not yet sealed.

    Written by a trigger of `audit_event`, so no way of inserting forgets it; a
    transaction that commits late only shows its row late, and is never passed over.
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField()
    at = models.DateTimeField()

    class Meta:
        db_table = "audit_unsealed"

    def __str__(self) -> str:
        return str(self.event_id)


class AuditSeal(models.Model):
    """The place of an event in the log: `leaf` over its canonical JSON, `chain` over all before it."""

    seq = models.BigIntegerField(primary_key=True)
    event_id = models.UUIDField("event", unique=True)
    at = models.DateTimeField("time of the event")
    leaf = models.BinaryField()
    chain = models.BinaryField()
    sealed_at = models.DateTimeField()

    class Meta:
        db_table = "audit_seal"
        ordering = ["-seq"]

    def __str__(self) -> str:
        return str(self.seq)


class AuditRetired(models.Model):
    """Numbers of events that an event of the log says will be removed (`hie.audit.retirement`): the database lets them go."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField("event that says so")
    first = models.BigIntegerField()
    last = models.BigIntegerField()

    class Meta:
        db_table = "audit_retired"
        indexes = [
            models.Index(fields=["last", "first"], name="audit_retired_place"),
            models.Index(fields=["event_id"], name="audit_retired_event"),
        ]

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class AuditNode(models.Model):
    """The root over 2^level leaves, the `index`-th from 0: what makes proofs cheap (`hie.audit.tree`); derived, trusted by nobody."""

    pk = models.CompositePrimaryKey("level", "index")
    level = models.SmallIntegerField()
    index = models.BigIntegerField()
    hash = models.BinaryField()

    class Meta:
        db_table = "audit_node"
        ordering = ["level", "index"]

    def __str__(self) -> str:
        return f"{self.level}:{self.index}"


class Checkpoint(models.Model):
    """A signed statement of the log's size and Merkle root; `note` is the file's text.

    `frontier` holds the roots of the complete subtrees, largest first (hex), so that
    the sealer goes on from here without reading the log again.
    """

    size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField()
    chain = models.BinaryField()
    at = models.DateTimeField("time")
    note = models.JSONField()
    frontier = models.JSONField(default=list)

    class Meta:
        db_table = "audit_checkpoint"
        ordering = ["-size"]

    def __str__(self) -> str:
        return str(self.size)


class Figure(models.Model):
    """How much of one thing there was on one day; derived by `hie.audit.figures`, and counted again from nothing at need.

    `subject` says what is counted; `participant`, `purpose`, `what` and `other` tell its cells apart, "" where it has no
    such side. `n` counts; `total` is the sum of what is measured, by the subject. `people` tells one patient from another
    without naming any: the keyed hashes of up to `figures.SMALLEST` of those concerned, so that fewer are all there are.
    """

    subject = models.TextField()
    day = models.DateField()
    participant = models.TextField(blank=True, default="")
    purpose = models.TextField(blank=True, default="")
    what = models.TextField(blank=True, default="")
    other = models.TextField(blank=True, default="")
    n = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    people: ArrayField[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list)

    class Meta:
        db_table = "audit_figure"
        default_permissions = ()
        permissions = [
            ("see_exchange", "Can see figures of the exchange"),
            ("see_queries", "Can see figures of answers and refusals"),
            ("see_matching", "Can see figures of matching"),
            ("see_choices", "Can see figures of patients' choices"),
            ("see_feeds", "Can see how complete and timely participants are"),
            ("see_participants", "Can see figures of one participant"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["subject", "day", "participant", "purpose", "what", "other"], name="audit_figure_cell"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.day}"


class FigureMark(models.Model):
    """How far a source of figures is counted. What moves it and what it counted are one transaction.

    Of a source with numbered rows all up to `counted` are; `seen` is the highest number there was at `seen_at`, and
    everything up to it is settled once no transaction below `horizon` runs. Of a source by days, `counted` is the
    ordinal of the last day that is counted for good. `hie.audit.receiver` marks with it how far the log was told.
    """

    source = models.TextField(primary_key=True)
    counted = models.BigIntegerField(default=0)
    seen = models.BigIntegerField(null=True)
    horizon = models.BigIntegerField(null=True)
    seen_at = models.DateTimeField(null=True)
    counted_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "audit_figure_mark"
        default_permissions = ()

    def __str__(self) -> str:
        return self.source


class PublishedMonth(models.Model):
    """The public figures of a calendar month as they were published, once: never counted again, so that none differs."""

    month = models.DateField(primary_key=True)
    body = models.JSONField()
    published_at = models.DateTimeField()

    class Meta:
        db_table = "audit_published_month"
        default_permissions = ()
        ordering = ["-month"]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m}"
