"""Rows of the exchange: questions to others, and messages as they came in."""

from __future__ import annotations

import json
import uuid
from typing import Any

import orjson
from django.db import models

from hie.exchange.desk_models import DeskTask, DeskTaskAct

__all__ = [
    "Concern", "ConcernAct", "DeathObjection", "DeskTask", "DeskTaskAct", "FastJson", "InboundMessage", "NoticeChoice",
    "PatientNotice", "Query", "QueryEvent", "QueryTarget", "RemoteDocument", "Subscription",
]  # fmt: skip


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
    tell nothing to who holds only the table. `error_*` name segments, fields and codes, never content. `entered_at` is
    when its sender says that what it tells was entered there; null: not said to the minute. `aside` is the
    task in which one that was refused or failed was put aside: it waits for nobody then.
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
    entered_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    aside = models.ForeignKey(
        DeskTask, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )

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
            models.Index(
                fields=["control_id", "-received_at"],
                name="exchange_inbound_control",
                condition=~models.Q(control_id=""),
            ),
            models.Index(fields=["participant_id", "-received_at"], name="exchange_inbound_of"),
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


class Concern(models.Model):
    """A patient, or a helper, does not recognise a line of the access log: what is asked of whom, by when, and what came of it.

    It hangs on an identifier that the person of the line had, so it follows a merge and its undoing. `event_id` is the
    line's newest look, of `event_at`, by `looker`. `participant` is the organization that must answer, by its root; "": the
    exchange's own office does. `raised_by` is the patient as ``patient``, else the helper as the log calls him.
    `due_at` is by when whoever it waits for must act: the organization while it is asked (`answer_due_at` keeps that), else
    the office. `owner` is the member of staff who acted last. What is said stands in `ConcernAct`, encrypted. Source: spec/consent.md 15.
    """

    class Reason(models.TextChoices):
        """What the patient chose from."""

        PERSON = "person"
        VISIT = "visit"
        PURPOSE = "purpose"
        OTHER = "other"

    class Status(models.TextChoices):
        """Whom it waits for: the organization, the office, the patient or the office; or that it is over."""

        ASKED = "asked"
        OFFICE = "office"
        ANSWERED = "answered"
        SETTLED = "settled"
        WITHDRAWN = "withdrawn"

    class Outcome(models.TextChoices):
        """What came of it: the office found the look right, or wrong; or the patient took the answer."""

        EXPLAINED = "explained"
        UPHELD = "upheld"
        ACCEPTED = "accepted"

    number = models.TextField(unique=True)
    identifier = models.ForeignKey("patients.PatientIdentifier", on_delete=models.PROTECT, related_name="+")
    event_id = models.UUIDField()
    event_at = models.DateTimeField()
    looker = models.TextField(blank=True, default="")
    participant = models.TextField(blank=True, default="")
    raised_by = models.TextField()
    reason = models.TextField(choices=Reason.choices)
    status = models.TextField(choices=Status.choices)
    outcome = models.TextField(choices=Outcome.choices, blank=True, default="")
    raised_at = models.DateTimeField()
    asked_at = models.DateTimeField(null=True, blank=True)
    answer_due_at = models.DateTimeField(null=True, blank=True)
    read_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    overdue_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.TextField(blank=True, default="")
    owner = models.TextField(blank=True, default="")

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="exchange_concern_closed",
                condition=models.Q(status__in=["asked", "office", "answered"], outcome="", closed_at__isnull=True)
                | models.Q(status="settled", closed_at__isnull=False) & ~models.Q(outcome="")
                | models.Q(status="withdrawn", outcome="", closed_at__isnull=False),
            ),
            models.CheckConstraint(
                name="exchange_concern_asked_of_somebody",
                condition=~models.Q(status="asked") | ~models.Q(participant=""),
            ),
        ]
        indexes = [
            models.Index(
                fields=["due_at", "id"],
                name="exchange_concern_due",
                condition=models.Q(status__in=["asked", "office", "answered"]),
            ),
            models.Index(fields=["participant", "-asked_at"], name="exchange_concern_of"),
            models.Index(fields=["event_id"], name="exchange_concern_event"),
        ]

    def __str__(self) -> str:
        return self.number

    @property
    def is_open(self) -> bool:
        """Whether it waits for somebody."""
        return self.status in {self.Status.ASKED, self.Status.OFFICE, self.Status.ANSWERED}


class ConcernAct(models.Model):
    """One thing said or done about a concern, by whom; never changed or removed (a trigger holds it).

    `words` are sealed under the key `personal_key` of the patient (`hie.audit.personal`), bound to the act's id: with that
    key destroyed they are gone.
    """

    class Kind(models.TextChoices):
        """What was done."""

        RAISED = "raised"
        SAID = "said"
        READ = "read"
        ASKED = "asked"
        WROTE = "wrote"
        ANSWERED = "answered"
        OVERDUE = "overdue"
        DISPUTED = "disputed"
        EXPLAINED = "explained"
        UPHELD = "upheld"
        REOPENED = "reopened"
        ACCEPTED = "accepted"
        WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    concern = models.ForeignKey(Concern, on_delete=models.PROTECT, related_name="acts", db_index=False)
    kind = models.TextField(choices=Kind.choices)
    actor = models.TextField()
    name = models.TextField(blank=True, default="")
    personal_key = models.UUIDField(null=True, blank=True)
    words = models.BinaryField(null=True)
    at = models.DateTimeField()

    class Meta:
        verbose_name = "act of a concern"
        indexes = [models.Index(fields=["concern", "at", "id"], name="exchange_concern_act_of")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.concern_id}"


class NoticeChoice(models.Model):
    """Which notices an account wants, and whether by mail as well; without a row: of emergencies, in the portal.

    `address` is sealed under the key `personal_key` of the account's own person, bound to the account's id. It counts once
    somebody followed the link sent to it (`verified_at`); `nonce` is what that link must carry, `asked` how many were sent
    on the day that began at `asked_at`. `failed_at`: the mail server would not take the address. Looks since `chosen_at`
    are told, and up to `looked_until` they have been; `digest_at` is when the week of the next digest began.
    """

    class Wanted(models.TextChoices):
        """What an account is told of."""

        ALL = "all"
        NEW = "new-organization"
        EMERGENCY = "emergency"
        WEEKLY = "weekly"
        NONE = "none"

    account = models.OneToOneField("trust.PatientAccount", on_delete=models.CASCADE, primary_key=True, related_name="+")
    wanted = models.TextField(choices=Wanted.choices, default=Wanted.EMERGENCY)
    by_mail = models.BooleanField(default=False)
    personal_key = models.UUIDField(null=True, blank=True)
    address = models.BinaryField(null=True)
    nonce = models.TextField(blank=True, default="")
    asked_at = models.DateTimeField(null=True, blank=True)
    asked = models.PositiveSmallIntegerField(default=0)
    verified_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    chosen_at = models.DateTimeField()
    looked_until = models.DateTimeField()
    digest_at = models.DateTimeField()

    class Meta:
        verbose_name = "choice of notices"

    def __str__(self) -> str:
        return f"notices of {self.account_id}"


class PatientNotice(models.Model):
    """That something happened, told to one account about one patient's record; of what it was, it holds nothing.

    `identifier` is whose record; `event_id` the event it tells of, None for the week's `count`. `mail_id` is the row of
    the outbox that carries it to the account's mail.
    """

    class Kind(models.TextChoices):
        """What it tells of."""

        LOOK = "look"
        NEW = "new-organization"
        EMERGENCY = "emergency"
        WEEK = "week"
        CONCERN = "concern"

    account = models.ForeignKey("trust.PatientAccount", on_delete=models.CASCADE, related_name="+", db_index=False)
    identifier = models.ForeignKey(
        "patients.PatientIdentifier", on_delete=models.PROTECT, related_name="+", db_index=False
    )
    kind = models.TextField(choices=Kind.choices)
    event_id = models.UUIDField(null=True, blank=True)
    concern = models.ForeignKey(
        Concern, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    count = models.PositiveIntegerField(default=1)
    at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)
    mail_id = models.BigIntegerField(null=True, blank=True)
    mailed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "notice to a patient"
        verbose_name_plural = "notices to patients"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "event_id", "kind"],
                condition=models.Q(event_id__isnull=False),
                name="exchange_patient_notice_once",
            ),
        ]
        indexes = [
            models.Index(fields=["account", "-at", "-id"], name="exchange_patient_notice_of"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} for {self.account_id}"
