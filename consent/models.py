"""Directives and their versions, policy data, proxy and emergency grants, as rows.

Directives hang on a patient identifier, never on a person: a merge counts them
together and an unlink parts them again without touching a row.

Source: spec/consent.md 3, 9, 10, 12.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.expressions import Combinable
from django.db.models.functions import Upper
from django.utils import timezone

from consent.owners import Capacity
from consent.retention_models import LegalHold as LegalHold
from consent.retention_models import RetentionRule as RetentionRule
from consent.retention_models import RetentionRun as RetentionRun
from hie.standards import fhir


class Consent(models.Model):
    """A patient's directive: the current version of a FHIR Consent.

    `status` is the resource's own; `in_force_from` and `in_force_until` are the widest
    instants it can count in any time zone (for lists and sweeps; the engine decides).
    `capacity` and `filed_by` (a participant's id) say who stands behind the current version,
    and so who may change it (`consent/owners.py`).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    identifier = models.ForeignKey("patients.PatientIdentifier", on_delete=models.PROTECT, related_name="consents")
    version = models.PositiveIntegerField(default=1)
    status = models.TextField(blank=True)
    resource = models.JSONField(encoder=fhir.Encoder, decoder=fhir.Decoder)
    unintelligible = models.BooleanField(default=False)
    in_force_from = models.DateTimeField(null=True, blank=True)
    in_force_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_by = models.TextField(blank=True)
    revoked_reason = models.TextField(blank=True)
    evidence = models.TextField(blank=True)
    capacity = models.TextField(choices=[(one.value, one.value) for one in Capacity], default=Capacity.IMPORT)
    filed_by = models.TextField(blank=True)

    class Meta:
        verbose_name = "directive"
        indexes = [models.Index(fields=["identifier", "status"], name="consent_identifier_status")]

    def __str__(self) -> str:
        return f"Consent/{self.id} version {self.version}"


class ConsentVersion(models.Model):
    """One version of a directive as it was filed; never changed or removed (a trigger holds it)."""

    consent = models.ForeignKey(Consent, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    status = models.TextField(blank=True)
    resource = models.JSONField(encoder=fhir.Encoder, decoder=fhir.Decoder)
    action = models.TextField()  # file | update | revoke | import
    actor = models.TextField()
    capacity = models.TextField(blank=True)
    reason = models.TextField(blank=True)
    evidence = models.TextField(blank=True)
    recorded_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "directive version"
        constraints = [models.UniqueConstraint(fields=["consent", "version"], name="consent_version_unique")]

    def __str__(self) -> str:
        return f"Consent/{self.consent_id}/_history/{self.version}"


class ConsentEpoch(models.Model):
    """A number per patient identifier that rises with every change of its directives or grants, its person or its labels.

    Values come from a sequence, so that a value given in a transaction that rolled back is never given again; 0 was
    never raised. The column `raised_by`, which only the database reads, is the transaction that raised it last.
    """

    identifier = models.OneToOneField(
        "patients.PatientIdentifier", on_delete=models.PROTECT, primary_key=True, related_name="consent_epoch"
    )
    value = models.BigIntegerField()

    def __str__(self) -> str:
        return f"epoch {self.value} of identifier {self.pk}"


class Jurisdiction(models.Model):
    """A version of a place's law in the form of the fixture; the newest in effect counts.

    Never changed or removed (a trigger holds it), and the policy epoch rises at `effective_from`.
    """

    code = models.TextField()
    version = models.PositiveIntegerField()
    body = models.JSONField()
    effective_from = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["code", "version"], name="consent_jurisdiction_version")]

    def __str__(self) -> str:
        return f"{self.code} version {self.version}"


class CodeTable(models.Model):
    """A version of a code table that overrides the one shipped with the hub, member by member.

    Never changed or removed (a trigger holds it), and the policy epoch rises at `effective_from`.
    """

    class Name(models.TextChoices):
        """The tables there are: `consent/data/<name>.json`."""

        CODES = "codes", "purposes, labels, floors, roles"
        LABELS = "labels", "value sets of the labelling rules"

    name = models.TextField(choices=Name.choices)
    version = models.PositiveIntegerField()
    body = models.JSONField()
    effective_from = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="consent_code_table_version")]

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


class ProxyGrant(models.Model):
    """A person's standing permission to act for a patient. Dates are FHIR date text (spec/consent.md 10).

    `end_told_at`: patient and parent have been told that it ends when the patient comes of age. `executor`: it was given
    to act for one who has died; no other outlives the patient. `evidence` has a line for each act that needed some.
    """

    class Kind(models.TextChoices):
        """What the permission rests on."""

        PARENT = "parent"
        GUARDIAN_OF_MINOR = "guardian-of-minor"
        GUARDIAN = "guardian"
        ATTORNEY = "attorney"
        NOMINATED = "nominated"

    class Status(models.TextChoices):
        """Only an active grant permits."""

        ACTIVE = "active"
        SUSPENDED = "suspended"
        ENDED = "ended"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    identifier = models.ForeignKey("patients.PatientIdentifier", on_delete=models.PROTECT, related_name="proxy_grants")
    person = models.TextField(help_text="Reference of the proxy, such as RelatedPerson/…")
    kind = models.TextField(choices=Kind.choices)
    status = models.TextField(choices=Status.choices, default=Status.ACTIVE)
    max_confidentiality = models.TextField(null=True, blank=True)
    start = models.TextField(null=True, blank=True)
    end = models.TextField(null=True, blank=True)
    may_consent = models.BooleanField(default=False)
    evidence = models.TextField(blank=True)
    verified_by = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    end_told_at = models.DateTimeField(null=True, blank=True)
    executor = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["person"], name="consent_proxy_person")]

    def __str__(self) -> str:
        return f"proxy grant {self.id}"


def user_key(user: Combinable) -> Upper:
    """By what a user is counted and stopped: the id alone, in one case and without blanks.

    A client says who its user is. However it spells the id, or what it writes before it, it is the same user.
    """
    said = [user, models.Value(r"^.*/|\s+"), models.Value(""), models.Value("g")]
    return Upper(models.Func(*said, function="regexp_replace", output_field=models.TextField()))


def _user_key_field() -> models.GeneratedField:
    return models.GeneratedField(
        expression=user_key(models.F("user")), output_field=models.TextField(), db_persist=True
    )


class HelperCode(models.Model):
    """A code that somebody gives to a patient whom he is willing to help: `digest` of it, and what it was used for.

    Who gives it agrees to help, who types it names the helper; so nobody is named by a name that is guessed or mistyped.
    """

    digest = models.BinaryField(max_length=32, unique=True)
    person = models.TextField(help_text="Reference of the helper, such as RelatedPerson/…")
    made_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    grant = models.OneToOneField(ProxyGrant, null=True, blank=True, on_delete=models.PROTECT, related_name="code")

    class Meta:
        indexes = [models.Index(fields=["person", "-made_at"], name="consent_helper_code_person")]

    def __str__(self) -> str:
        return f"helper code {self.pk}"


class BreakGlassGrant(models.Model):
    """An emergency grant: user, root organization, patient, window (spec/consent.md 9). `user_key` as the function."""

    class Reason(models.TextChoices):
        """Why the glass was broken."""

        UNCONSCIOUS = "UNCONSCIOUS"
        UNABLE_TO_CONSENT = "UNABLE-TO-CONSENT"
        LIFE_THREAT = "LIFE-THREAT"
        PUBLIC_SAFETY = "PUBLIC-SAFETY"
        OTHER = "OTHER"

    class Status(models.TextChoices):
        """Only an active grant is valid."""

        ACTIVE = "active"
        ENDED = "ended"
        REVOKED = "revoked"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    identifier = models.ForeignKey(
        "patients.PatientIdentifier", on_delete=models.PROTECT, related_name="break_glass_grants"
    )
    user = models.TextField()
    user_key = _user_key_field()
    organization = models.TextField()
    start = models.DateTimeField()
    end = models.DateTimeField()
    status = models.TextField(choices=Status.choices, default=Status.ACTIVE)
    reason = models.TextField(choices=Reason.choices)
    text = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "emergency grant"
        indexes = [
            models.Index(fields=["user", "-start"], name="consent_emergency_user"),
            models.Index(fields=["user_key", "-start"], name="consent_emergency_user_key"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(end__gt=models.F("start")), name="consent_emergency_window")
        ]

    def __str__(self) -> str:
        return f"emergency grant {self.id}"


class EmergencyReview(models.Model):
    """The case that each emergency grant becomes: by when somebody must judge it, who does, and what came of it.

    `claimed_by` and `decided_by` are members of staff as the log calls them (``Staff/…``). `passed_on_by` asked for a
    second reviewer; `escalated_at` is since when that, or the deadline that went by (`overdue_at`), makes it the hub's own matter.
    `told_at` is when the patient had been told; `held_until` with `held_reason` puts that off. `objection` is the
    patient's. Source: spec/consent.md 9.
    """

    class Status(models.TextChoices):
        """Whether it waits."""

        OPEN = "open"
        DECIDED = "decided"

    class Outcome(models.TextChoices):
        """What came of it; "" while it waits."""

        JUSTIFIED = "justified"
        NOT_JUSTIFIED = "not-justified"

    grant = models.OneToOneField(BreakGlassGrant, on_delete=models.PROTECT, related_name="review")
    status = models.TextField(choices=Status.choices, default=Status.OPEN)
    outcome = models.TextField(choices=Outcome.choices, blank=True, default="")
    opened_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField()
    claimed_by = models.TextField(blank=True, default="")
    claimed_until = models.DateTimeField(null=True, blank=True)
    passed_on_by = models.TextField(blank=True, default="")
    escalated_at = models.DateTimeField(null=True, blank=True)
    overdue_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.TextField(blank=True, default="")
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True, default="")
    told_at = models.DateTimeField(null=True, blank=True)
    held_until = models.DateTimeField(null=True, blank=True)
    held_reason = models.TextField(blank=True, default="")
    objected_at = models.DateTimeField(null=True, blank=True)
    objection = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "emergency review"
        constraints = [
            models.CheckConstraint(
                name="consent_emergency_review_decided",
                condition=models.Q(status="open", outcome="", decided_at__isnull=True)
                | models.Q(status="decided", outcome__in=["justified", "not-justified"], decided_at__isnull=False)
                & ~models.Q(reason=""),
            )
        ]
        indexes = [
            models.Index(
                fields=["due_at", "id"], name="consent_emergency_review_due", condition=models.Q(status="open")
            )
        ]

    def __str__(self) -> str:
        return f"emergency review {self.pk}"


class EmergencyAct(models.Model):
    """One thing done about an emergency case, by whom and why; never changed or removed (a trigger holds it)."""

    class Kind(models.TextChoices):
        """What was done."""

        OPENED = "opened"
        HELD = "notice-held"
        TOLD = "told"
        NOT_TOLD = "no-account"
        OBJECTED = "objected"
        PASSED_ON = "passed-on"
        OVERDUE = "overdue"
        JUSTIFIED = "justified"
        NOT_JUSTIFIED = "not-justified"
        REOPENED = "reopened"
        GIVEN_BACK = "access-given-back"
        ANSWERED = "answered"

    review = models.ForeignKey(EmergencyReview, on_delete=models.PROTECT, related_name="acts")
    kind = models.TextField(choices=Kind.choices)
    actor = models.TextField()
    reason = models.TextField(blank=True, default="")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name = "act of an emergency review"
        indexes = [models.Index(fields=["review", "at", "id"], name="consent_emergency_act_review")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.review_id}"


class EmergencyBan(models.Model):
    """A user whose emergency access was taken away, at all of one organization; it counts until it is lifted."""

    review = models.ForeignKey(EmergencyReview, on_delete=models.PROTECT, related_name="bans")
    user = models.TextField()
    user_key = _user_key_field()
    organization = models.TextField()
    since = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.TextField(blank=True, default="")
    lifted_reason = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "suspended emergency access"
        indexes = [models.Index(fields=["user_key", "organization"], name="consent_emergency_ban_key")]
        constraints = [
            models.UniqueConstraint(
                fields=["review"], condition=models.Q(lifted_at__isnull=True), name="consent_emergency_ban_once"
            )
        ]

    def __str__(self) -> str:
        return f"ban {self.pk}"


class EmergencyCase(models.Model):
    """What a participant must answer for: an emergency access of one of its users that was not justified."""

    review = models.OneToOneField(EmergencyReview, on_delete=models.PROTECT, related_name="case")
    participant = models.TextField()
    opened_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    answer = models.TextField(blank=True, default="")

    class Meta:
        verbose_name = "case with a participant"
        indexes = [models.Index(fields=["participant", "-opened_at"], name="consent_emergency_case_of")]

    def __str__(self) -> str:
        return f"case {self.pk}"


class SupervisorLeave(models.Model):
    """One emergency more than three a day, allowed by another clinician of the user's house; `grant` is what it opened.

    Source: spec/consent.md 9.2.
    """

    user = models.TextField()
    user_key = _user_key_field()
    organization = models.TextField()
    given_by = models.TextField()
    text = models.TextField()
    given_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    grant = models.OneToOneField(BreakGlassGrant, null=True, blank=True, on_delete=models.PROTECT, related_name="leave")

    class Meta:
        verbose_name = "supervisor's leave"
        indexes = [models.Index(fields=["user_key", "-given_at"], name="consent_emergency_leave_user")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__gt=models.F("given_at")), name="consent_emergency_leave_window"
            )
        ]

    def __str__(self) -> str:
        return f"leave {self.pk}"


class KeptPolicy(models.Model):
    """A policy as decisions were made by it: participants, law and code tables together, to decide a record again.

    `digest` is over `body`, its JSON, compressed. Written once, never changed.
    """

    digest = models.TextField(primary_key=True)
    body = models.BinaryField()
    kept_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "kept policies"

    def __str__(self) -> str:
        return self.digest


class PolicyProposal(models.Model):
    """A change of policy that one person proposes and another activates (spec/consent.md 11).

    `subject` is the code of a jurisdiction, the name of a code table or the id of a participant; `body` the whole of the
    new version, `on_version` the one it was written on (0: none). `version` is what became of it. Whoever proposed and
    whoever decided are told apart by their accounts (primary keys); their names stand beside for reading. What was
    proposed, by whom and on what never changes, and a decision is made once (a trigger holds both).
    """

    class Kind(models.TextChoices):
        """What is changed."""

        JURISDICTION = "jurisdiction", "law of a place"
        CODE_TABLE = "code-table", "code table"
        RELEASE_POLICY = "release-policy", "release policy of an organization"
        AGREEMENT = "agreement", "agreement of an organization"
        PLACEMENT = "placement", "place and law of an organization"
        REINSTATEMENT = "reinstatement", "end of an organization's suspension"
        RETENTION = "retention", "time that something is kept"
        HOLD = "hold", "end of a legal hold"

    class State(models.TextChoices):
        """Proposed until somebody decides."""

        PROPOSED = "proposed"
        ACTIVATED = "activated"
        WITHDRAWN = "withdrawn"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.TextField(choices=Kind.choices)
    subject = models.TextField()
    body = models.JSONField()
    on_version = models.PositiveIntegerField()
    reason = models.TextField()
    effective_from = models.DateTimeField(null=True, blank=True, help_text="Empty: from its activation on.")
    state = models.TextField(choices=State.choices, default=State.PROPOSED)
    proposed_by = models.TextField()
    proposed_account = models.BigIntegerField(null=True, blank=True)
    proposed_at = models.DateTimeField(default=timezone.now)
    decided_by = models.TextField(blank=True)
    decided_account = models.BigIntegerField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_reason = models.TextField(blank=True)
    version = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["-proposed_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "subject"], condition=models.Q(state="proposed"), name="consent_proposal_one_open"
            ),
            models.CheckConstraint(
                condition=~models.Q(state="activated")
                | ~models.Q(decided_by=models.F("proposed_by"))
                & ~models.Q(decided_account=models.F("proposed_account")),
                name="consent_proposal_four_eyes",
            ),
            models.CheckConstraint(
                condition=models.Q(state="proposed") | ~models.Q(decided_by=""), name="consent_proposal_decided_by"
            ),
        ]

    def __str__(self) -> str:
        return f"proposal {self.id}"


class PolicyReport(models.Model):
    """What a proposal would change of the last month's decisions, or of documents' labels, on one policy.

    `basis` is the policy in force that it was made on: activated is only by a report on the policy in force then. Never
    changed or removed (a trigger holds it): one that is out of date gets another beside it.
    """

    proposal = models.ForeignKey(PolicyProposal, on_delete=models.PROTECT, related_name="reports")
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.TextField()
    basis = models.TextField()
    body = models.JSONField()

    class Meta:
        ordering = ["-made_at", "-pk"]

    def __str__(self) -> str:
        return f"report {self.pk} on proposal {self.proposal_id}"
