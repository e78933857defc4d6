"""Rows of the master patient index (spec/mpi.md section 2).

Documents, folders, submission sets and consents of other apps hang on `PatientIdentifier`,
never on `Person`: so link, merge and unmerge move nothing of theirs and undo exactly.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Person(models.Model):
    """The enterprise identity. A merge never deletes: the loser points at the survivor.

    `golden` is recomputed from the current records after every change, never patched.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merged_into = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="merged_from", db_index=False
    )
    golden = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(merged_into__isnull=True) | ~Q(merged_into=models.F("id")),
                name="patients_person_not_into_itself",
            )
        ]
        # Hardly anybody is merged: the index holds who is, so that an import of millions writes nothing to it.
        indexes = [
            models.Index(
                fields=["merged_into"], condition=Q(merged_into__isnull=False), name="patients_person_merged_into"
            )
        ]

    def __str__(self) -> str:
        return str(self.id)


class SourceRecord(models.Model):
    """One organization's record of a patient; what it said is in immutable versions.

    `participant_id` "hub" marks an anchor: a record without demographics that gives a person an
    identifier in the hub's own authority. `replaced_by` is set where the organization itself said
    that this record is a duplicate of another (ITI-104 resolve duplicate, ADT A40). `said_at` is the time that the
    newest message about it bears, where its channel goes by that (ITI-8, ITI-44); `joined_at` that of the newest one that
    joined it to another record or parted it from one.
    """

    class Status(models.TextChoices):
        ACTIVE = "active"
        REPLACED = "replaced"
        REMOVED = "removed"

    # Each index here is written for every record of an import. Nothing looks records up by participant alone or by
    # version: a version names its record.
    participant_id = models.TextField()
    status = models.TextField(choices=Status.choices, default=Status.ACTIVE)
    current_version = models.ForeignKey(
        "SourceRecordVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    replaced_by = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="replaces", db_index=False
    )
    said_at = models.DateTimeField(null=True, blank=True)
    joined_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=["active", "replaced", "removed"]), name="patients_record_status"
            ),
            models.CheckConstraint(
                condition=Q(replaced_by__isnull=True) | Q(status="replaced"), name="patients_record_replaced"
            ),
        ]
        indexes = [
            models.Index(
                fields=["replaced_by"], condition=Q(replaced_by__isnull=False), name="patients_record_replaced_by"
            )
        ]

    def __str__(self) -> str:
        return f"{self.participant_id} record {self.pk}"


class SourceRecordVersion(models.Model):
    """What one message said: as sent (`raw`) and as matched (`normalised`). Never changed.

    A quarantined version was kept aside as a suspected overlay: only a steward's verdict makes it current.
    """

    source_record = models.ForeignKey(  # the unique constraint begins with it
        SourceRecord, on_delete=models.PROTECT, related_name="versions", db_index=False
    )
    version = models.PositiveIntegerField()
    raw = models.JSONField()
    normalised = models.JSONField()
    digest = models.BinaryField(max_length=16)
    quarantined = models.BooleanField(default=False)
    source = models.TextField(default="fhir")
    actor = models.TextField(blank=True)
    received_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source_record", "version"], name="patients_version_unique"),
        ]

    def __str__(self) -> str:
        return f"version {self.version} of record {self.source_record_id}"


class PatientIdentifier(models.Model):
    """A local identifier in the domain of an assigning authority (bare OID, or a URI).

    Documents, folders, submission sets and consents hang here, never on the person.
    """

    authority = models.TextField()
    value = models.TextField()
    source_record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="identifiers")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["authority", "value"], name="patients_identifier_unique")]

    def __str__(self) -> str:
        return f"{self.value}^^^&{self.authority}&ISO"


class MatchModel(models.Model):
    """A version of the match weights; at most one is active. None active: the built-in one."""

    class Status(models.TextChoices):
        SHADOW = "shadow"
        ACTIVE = "active"
        RETIRED = "retired"
        REFUSED = "refused"

    version = models.TextField(unique=True)
    status = models.TextField(choices=Status.choices, default=Status.SHADOW)
    parameters = models.JSONField()
    statistics = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["status"], condition=Q(status="active"), name="patients_matchmodel_one_active"
            )
        ]

    def __str__(self) -> str:
        return self.version


class Link(models.Model):
    """Which person a source record belongs to, from when until when, and why.

    One link of a record is current (`valid_to` empty and not rejected). A rejected link says
    that a reviewer took the record away from that person. `event` is the change of identity that made the link, empty
    where the record's first feed did. `restored_at` is set where an undo put a former link back: `valid_from` is
    then the former link's, and between its end and this instant the record was linked otherwise.
    """

    class Kind(models.TextChoices):
        AUTO = "auto"
        MANUAL = "manual"
        REJECTED = "rejected"

    source_record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="links")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="links")
    kind = models.TextField(choices=Kind.choices, default=Kind.AUTO)
    model_version = models.TextField(blank=True)
    score = models.FloatField(null=True, blank=True)  # bits
    weights = models.JSONField(default=dict)  # field -> bits
    reason = models.TextField(blank=True)
    valid_from = models.DateTimeField(default=timezone.now)
    valid_to = models.DateTimeField(null=True, blank=True)
    restored_at = models.DateTimeField(null=True, blank=True)
    # Found by record, never by event: an index would only slow the import of millions of links that have none.
    event = models.ForeignKey(
        "IdentityEvent", null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source_record"],
                condition=Q(valid_to__isnull=True) & ~Q(kind="rejected"),
                name="patients_link_one_current",
            ),
            models.CheckConstraint(condition=Q(kind__in=["auto", "manual", "rejected"]), name="patients_link_kind"),
        ]
        indexes = [
            models.Index(
                fields=["person", "source_record"],
                condition=Q(valid_to__isnull=True) & ~Q(kind="rejected"),
                name="patients_link_members",
            )
        ]

    def __str__(self) -> str:
        return f"record {self.source_record_id} -> person {self.person_id}"


class MatchDecision(models.Model):
    """A reviewer's verdict on two records; sticky, and the same both ways (`record_a` < `record_b`).

    `event` is the change it came with. `withdrawn_at` is set while that change is undone, or while a later verdict on
    the pair stands. ``open`` says that nobody says: a merge took back a former ``different``.
    """

    class Verdict(models.TextChoices):
        SAME = "same"
        DIFFERENT = "different"
        OPEN = "open"

    record_a = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="+")
    record_b = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="+")
    verdict = models.TextField(choices=Verdict.choices)
    reviewer = models.TextField()
    reason = models.TextField(blank=True)
    decided_at = models.DateTimeField(default=timezone.now)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    event = models.ForeignKey("IdentityEvent", null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(record_a__lt=models.F("record_b")), name="patients_decision_ordered_pair"
            ),
            models.UniqueConstraint(
                fields=["record_a", "record_b"],
                condition=Q(withdrawn_at__isnull=True),
                name="patients_decision_one_per_pair",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.record_a_id} and {self.record_b_id}: {self.verdict}"


class IdentityEvent(models.Model):
    """What happened to identities, in order. Append-only: a trigger refuses change and deletion.

    `detail` names the records it moved; `undoes` names the event that this one undid. An event stands while nothing
    that stands undoes it. ``decided`` is a steward's verdict that moved nothing.
    """

    class Kind(models.TextChoices):
        CREATED = "created"
        LINKED = "linked"
        UNLINKED = "unlinked"
        MERGED = "merged"
        UNMERGED = "unmerged"
        SPLIT = "split"
        REPLACED = "replaced"
        REMOVED = "removed"
        REVISED = "revised"
        DECIDED = "decided"
        OVERLAY_SUSPECTED = "overlay-suspected"
        SURVIVORSHIP_CHANGED = "survivorship-changed"

    seq = models.BigAutoField(primary_key=True)
    id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    kind = models.TextField(choices=Kind.choices)
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="events")
    other_person = models.ForeignKey(
        Person, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    source_record = models.ForeignKey(
        SourceRecord, null=True, blank=True, on_delete=models.PROTECT, related_name="events"
    )
    undoes = models.OneToOneField("self", null=True, blank=True, on_delete=models.PROTECT, related_name="undone_by")
    actor = models.TextField(blank=True)
    reason = models.TextField(blank=True)
    detail = models.JSONField(default=dict)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["seq"]
        indexes = [
            models.Index(
                fields=["other_person"], condition=Q(other_person__isnull=False), name="patients_event_other_person"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class ValueByHand(models.Model):
    """A value that a steward set for one field of a person, or, without `value`, withdrew. Rows are only added.

    It hangs on an anchor of the hub, so that links carry it and undo brings it back like any record. `event` is the
    change it came with; of an anchor and field the last whose event stands `holds`. `value` is demographics of that
    field only. `rests_on` are the source records of the person at that time: what the steward saw.
    """

    source_record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="values_by_hand")
    field = models.TextField()
    value = models.JSONField(null=True, blank=True)
    rests_on: ArrayField[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list, blank=True)
    actor = models.TextField()
    reason = models.TextField()
    set_at = models.DateTimeField(default=timezone.now)
    holds = models.BooleanField(default=False)
    event = models.OneToOneField(IdentityEvent, on_delete=models.PROTECT, related_name="value_by_hand")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source_record", "field"], condition=Q(holds=True), name="patients_byhand_one_holds"
            ),
            models.CheckConstraint(
                condition=Q(holds=False) | Q(value__isnull=False), name="patients_byhand_withdrawn_says_nothing"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.field} at record {self.source_record_id}"


class TrustSweep(models.Model):
    """The one row that says by which trust in sources the golden records are made, and how far a change has got.

    `applied` and `wanted` are rank by participant, 0 left out; `wanted` is empty when nothing is under way. `changed`
    are the participants concerned; persons up to `after` are done.
    """

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    applied = models.JSONField(default=dict)
    wanted = models.JSONField(null=True, blank=True)
    changed = models.JSONField(default=list)
    after = models.UUIDField(null=True, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="patients_trustsweep_one_row")]

    def __str__(self) -> str:
        return "under way" if self.wanted is not None else "done"


class BlockingKey(models.Model):
    """64-bit hash of a blocking key of a record's current version; the primary key is the covering index.

    `finer`: the record's refining fields, by which a large block is split (`blocking.refinement`).
    """

    pk = models.CompositePrimaryKey("key", "finer", "record_id")
    key = models.BigIntegerField()
    finer = models.BigIntegerField()
    record = models.ForeignKey(SourceRecord, on_delete=models.CASCADE, related_name="+", db_constraint=False)


class SearchTerm(models.Model):
    """A cleaned word of a record's current version, for search that starts with it."""

    pk = models.CompositePrimaryKey("field", "term", "record_id")
    field = models.TextField()
    term = models.TextField(db_collation="C")
    record = models.ForeignKey(SourceRecord, on_delete=models.CASCADE, related_name="+", db_constraint=False)


class ReviewItem(models.Model):
    """Something a steward must decide: a possible match, or a suspected overlay.

    `claimed_by` works on it until `claimed_until`. `proposed` is a verdict that waits for a second steward; while it
    does, nothing has moved. A deferred item waits again from `deferred_until` on. `sampled`: a doubtful link that was
    drawn at random, to learn how many links are wrong. What was done is in `ReviewAct`.

    `event` is the change of identity that opened it, empty where a feed did. What closed it is in `ReviewClosure`.
    Of a parting, `records` are the source records said to be somebody else's, `source_record` the first of them, and
    `candidate` the person they are said to belong to, empty: a new one. `contested` is the change that the verdict which
    moves something undoes exactly, in place of a change of its own.
    """

    class Kind(models.TextChoices):
        POSSIBLE_MATCH = "possible-match"
        OVERLAY = "overlay"
        DOUBTFUL_LINK = "doubtful-link"
        DUPLICATE_RESOLVED = "duplicate-resolved"
        PARTING = "parting"

    class Status(models.TextChoices):
        OPEN = "open"
        DEFERRED = "deferred"
        DECIDED = "decided"

    kind = models.TextField(choices=Kind.choices)
    status = models.TextField(choices=Status.choices, default=Status.OPEN)
    source_record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="reviews")
    version = models.ForeignKey(SourceRecordVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="reviews")
    candidate = models.ForeignKey(Person, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    score = models.FloatField(null=True, blank=True)
    probability = models.FloatField(null=True, blank=True)
    weights = models.JSONField(default=dict)
    reason = models.TextField(blank=True)
    claimed_by = models.TextField(blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    deferred_until = models.DateTimeField(null=True, blank=True)
    sampled = models.BooleanField(default=False)
    proposed = models.TextField(blank=True)
    proposed_by = models.TextField(blank=True)
    decided_by = models.TextField(blank=True)
    decision = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    decided_at = models.DateTimeField(null=True, blank=True)
    event = models.ForeignKey(
        IdentityEvent, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    records: ArrayField[list[int], list[int]] = ArrayField(models.BigIntegerField(), default=list, blank=True)
    contested = models.ForeignKey(
        IdentityEvent, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        indexes = [models.Index(fields=["status", "-probability"], name="patients_review_queue")]
        constraints = [
            models.UniqueConstraint(
                fields=["source_record", "candidate"],
                condition=Q(status__in=["open", "deferred"], kind="possible-match"),
                name="patients_review_one_waiting",
            ),
            models.CheckConstraint(
                condition=Q(proposed="", proposed_by="") | (~Q(proposed="") & ~Q(proposed_by="")),
                name="patients_review_proposal",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of record {self.source_record_id}"


class ReviewAct(models.Model):
    """One thing that a steward did with a review item, and why. Append-only: a trigger refuses change and deletion.

    An item that a steward opened, because somebody called, begins with ``opened``.

    `event_id` is the identity event by which the act is undone, where it made one. `other_record` is the record that
    the item's own was most like when both were said to be one person: what calibration learns from.
    """

    class Kind(models.TextChoices):
        OPENED = "opened"
        PROPOSED = "proposed"
        CONFIRMED = "confirmed"
        REJECTED = "rejected"
        WITHDRAWN = "withdrawn"
        DECIDED = "decided"
        DEFERRED = "deferred"
        RESUMED = "resumed"
        UNDONE = "undone"

    item = models.ForeignKey(ReviewItem, on_delete=models.PROTECT, related_name="acts")
    kind = models.TextField(choices=Kind.choices)
    verdict = models.TextField(blank=True)
    actor = models.TextField()
    reason = models.TextField()
    event_id = models.UUIDField(null=True, blank=True)
    other_record = models.ForeignKey(SourceRecord, null=True, blank=True, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["at"], name="patients_reviewact_at"),
            models.Index(fields=["actor", "-at"], name="patients_reviewact_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of item {self.item_id}"


class ReviewClosure(models.Model):
    """That a change of identity answered a review item, and how. The item is closed while one such change stands.

    `was` is the status in which the item waited, and waits again when the change is undone.
    """

    item = models.ForeignKey(  # the unique constraint begins with it
        ReviewItem, on_delete=models.PROTECT, related_name="closures", db_index=False
    )
    event = models.ForeignKey(IdentityEvent, on_delete=models.PROTECT, related_name="+")
    was = models.TextField()
    decision = models.TextField()
    decided_by = models.TextField(blank=True)
    decided_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "event"], name="patients_closure_once")]

    def __str__(self) -> str:
        return f"item {self.item_id} by event {self.event_id}"


class ImportRun(models.Model):
    """One bulk import: how far it is, and what came of each line (`ImportLine`).

    `upload` names the bytes kept of an import that came over HTTP, which any worker can go on with; a run without one
    was started by a command and ends with it. `actor` is who asked, as the log calls him. `attempts` counts starts
    since anything was last committed. Records numbered `ahead_first` to `ahead_last` have keys and terms already, though
    they may never be stored (`ahead`).
    """

    class Status(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    participant_id = models.TextField()
    status = models.TextField(choices=Status.choices, default=Status.RUNNING)
    read = models.BigIntegerField(default=0)
    new = models.BigIntegerField(default=0)
    linked = models.BigIntegerField(default=0)
    review = models.BigIntegerField(default=0)
    updated = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    message = models.TextField(blank=True)
    upload = models.TextField(blank=True)
    columns = models.JSONField(null=True, blank=True)
    actor = models.JSONField(default=dict)
    attempts = models.PositiveIntegerField(default=0)
    ahead_first = models.BigIntegerField(null=True)
    ahead_last = models.BigIntegerField(null=True)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["started_at"], condition=Q(status="running"), name="patients_import_running"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class ImportLine(models.Model):
    """What came of one line of an import, written with the record itself: a line with a row is settled.

    `source_record_id` is a plain number: a million rows are copied in at once, and records are never deleted.
    """

    pk = models.CompositePrimaryKey("run_id", "number")
    run = models.ForeignKey(
        ImportRun, on_delete=models.CASCADE, related_name="lines", db_index=False, db_constraint=False
    )
    number = models.BigIntegerField()
    identifier = models.TextField(blank=True)
    outcome = models.TextField()
    source_record_id = models.BigIntegerField(null=True, blank=True)
    score = models.FloatField(null=True, blank=True)  # 0..1
    reason = models.TextField(blank=True)

    def __str__(self) -> str:
        return f"line {self.number} of {self.run_id}"
