"""Rows of trust: assertions already used, accounts of patients and their ways in, failed sign-ins."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone


class UsedAssertion(models.Model):
    """A client assertion's `jti`, kept until the assertion has ended, so that it is used once.

    In PostgreSQL, not in Redis: a broker that restarts must not make a captured assertion good again.
    `jti_digest` is SHA-256 over client id and jti. `user_id`, `organization` and `accepted_at` say for whom, of which
    participant, and when a token was given for it ("" and None: for nobody); `stepped_up_at` when it stood for having signed in again, which it does once.
    """

    jti_digest = models.BinaryField(max_length=32)
    expires_at = models.DateTimeField()
    user_id = models.TextField(blank=True, default="", db_default="")
    organization = models.TextField(blank=True, default="", db_default="")
    accepted_at = models.DateTimeField(null=True, blank=True)
    stepped_up_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["jti_digest"], name="trust_used_assertion_jti")]
        indexes = [models.Index(fields=["expires_at"], name="trust_used_assertion_expires")]

    def __str__(self) -> str:
        return str(self.pk)


class PatientAccount(models.Model):
    """A patient's (or helper's) way into the portal.

    Not a Django user: nothing of the administrators' side knows it, and no right can be given to it. It hangs on a
    `PatientIdentifier`, so it follows merges. `totp_last` is the last time step a code was taken for: a code works once.
    Who signs in through a provider alone has no usable password.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    login = models.TextField(unique=True, help_text="As typed at sign-in, in lower case")
    password = models.TextField(help_text="Hash, as Django's hashers write it")
    name = models.TextField(help_text="As the portal greets, and as the log names a helper")
    identifier = models.ForeignKey("patients.PatientIdentifier", on_delete=models.PROTECT, related_name="accounts")
    active = models.BooleanField(default=True)
    language = models.CharField(max_length=8, blank=True)
    totp_secret = models.TextField(
        blank=True, help_text="Base32, sealed by hie.trust.second_factor.seal; empty: no second factor"
    )
    totp_last = models.BigIntegerField(default=-1)
    created_at = models.DateTimeField(default=timezone.now)
    signed_in_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"account {self.id}"


class StaffAffiliation(models.Model):
    """An organization that a member of the exchange's own staff works at besides: what it did they do not judge."""

    username = models.TextField(help_text="As the account of the desk is called")
    organization = models.TextField(help_text="Id of the participant")

    class Meta:
        verbose_name = "second employer"
        constraints = [
            models.UniqueConstraint(fields=["username", "organization"], name="trust_staff_affiliation_once")
        ]

    def __str__(self) -> str:
        return f"{self.username} at {self.organization}"


class StaffPerson(models.Model):
    """Who stands behind an account of the desk, where that is known: accounts of one staff number are one person's."""

    account = models.BigIntegerField(primary_key=True, help_text="Primary key of the account")
    staff_number = models.TextField(help_text="As the exchange's personnel office counts its people")

    class Meta:
        verbose_name = "person behind an account"
        verbose_name_plural = "persons behind accounts"
        constraints = [
            models.CheckConstraint(condition=~models.Q(staff_number=""), name="trust_staff_person_number_said")
        ]

    def __str__(self) -> str:
        return f"person of account {self.account}"


class StaffAccountAct(models.Model):
    """Something done to an account of the desk, and by whose account (None: at the command line).

    Never changed or removed (a trigger holds it): who takes part in a decision of two goes by it.
    """

    class Kind(models.TextChoices):
        """What was done."""

        CREATED = "created", "made"
        PASSWORD = "password", "password set"
        SECOND_FACTOR = "second-factor", "second factor set"
        ROLES = "roles", "rights changed"
        PERSON = "person", "person changed"

    account = models.BigIntegerField(help_text="Primary key of the account")
    kind = models.TextField(choices=Kind.choices)
    by = models.BigIntegerField(null=True, blank=True)
    by_name = models.TextField(blank=True, default="")
    changed = models.JSONField(default=dict, help_text="member: [before, after]")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [models.Index(fields=["account", "at"], name="trust_staff_account_act")]

    def __str__(self) -> str:
        return f"{self.kind} of account {self.account}"


class SignInAttempts(models.Model):
    """Failed sign-ins in a row under one login, whether or not there is such an account.

    `login_digest` is SHA-256 over face and login: what was typed by mistake (a password) is kept nowhere.
    """

    login_digest = models.BinaryField(max_length=32, unique=True)
    failures = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(default=timezone.now)
    locked_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["last_at"], name="trust_sign_in_attempts_last")]

    def __str__(self) -> str:
        return str(self.pk)


class RecoveryCode(models.Model):
    """A code that stands once for the second factor of an account: of the portal (`account`) or of the desk (`staff`, primary key).

    `digest` is SHA-256 over owner and code: the code itself stands nowhere.
    """

    account = models.ForeignKey(
        PatientAccount, null=True, blank=True, on_delete=models.CASCADE, related_name="recovery_codes"
    )
    staff = models.BigIntegerField(null=True, blank=True, help_text="Primary key of the account of the desk")
    digest = models.BinaryField(max_length=32, unique=True)
    made_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(account__isnull=True) ^ models.Q(staff__isnull=True),
                name="trust_recovery_code_one_owner",
            )
        ]
        indexes = [models.Index(fields=["staff"], name="trust_recovery_code_staff")]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"


class ActivationCode(models.Model):
    """A code by which an organization lets its patient open an account of the portal, or come back into one.

    `digest` of it; `identifier` is the organization's own for the patient, so that it follows merges. `attempts` counts
    wrong birth dates typed with it. Open until it is used, until `ends_at`, or until the organization makes a new one.
    """

    digest = models.BinaryField(max_length=32, unique=True)
    identifier = models.ForeignKey(
        "patients.PatientIdentifier", on_delete=models.PROTECT, related_name="activation_codes"
    )
    organization = models.TextField(help_text="Id of the participant that gave it, or of the exchange's own staff")
    issued_by = models.TextField(help_text="Reference of who made it")
    made_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    attempts = models.PositiveSmallIntegerField(default=0)
    used_at = models.DateTimeField(null=True, blank=True)
    account = models.ForeignKey(
        PatientAccount, null=True, blank=True, on_delete=models.SET_NULL, related_name="activation_codes"
    )

    class Meta:
        indexes = [models.Index(fields=["ends_at"], name="trust_activation_code_ends")]

    def __str__(self) -> str:
        return f"activation code {self.pk}"


class Passkey(models.Model):
    """A passkey of an account of the portal (`account`) or of the desk (`staff`, primary key), W3C WebAuthn Level 2.

    `public_key` is in COSE form, `sign_count` as last said by its holder.
    """

    account = models.ForeignKey(
        PatientAccount, null=True, blank=True, on_delete=models.CASCADE, related_name="passkeys"
    )
    staff = models.BigIntegerField(null=True, blank=True, help_text="Primary key of the account of the desk")
    credential_id = models.BinaryField(max_length=1023, unique=True)
    public_key = models.BinaryField()
    sign_count = models.BigIntegerField(default=0)
    name = models.TextField(help_text="As its owner calls it")
    made_at = models.DateTimeField(default=timezone.now)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(account__isnull=True) ^ models.Q(staff__isnull=True), name="trust_passkey_one_owner"
            )
        ]
        indexes = [models.Index(fields=["staff"], name="trust_passkey_staff")]

    def __str__(self) -> str:
        return f"passkey {self.pk}"


class SignedIn(models.Model):
    """A session of the portal (`account`) or of the desk (`staff`, primary key): since when, on what kind of device.

    It has ended when `ended_at` is set.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(
        PatientAccount, null=True, blank=True, on_delete=models.CASCADE, related_name="sessions"
    )
    staff = models.BigIntegerField(null=True, blank=True, help_text="Primary key of the account of the desk")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    browser = models.CharField(max_length=40, blank=True, help_text="Key of the words for the browser")
    system = models.CharField(max_length=40, blank=True, help_text="Key of the words for the device")

    class Meta:
        indexes = [
            models.Index(fields=["account", "-seen_at"], name="trust_signed_in_account"),
            models.Index(fields=["ends_at"], name="trust_signed_in_ends"),
            models.Index(fields=["staff", "-seen_at"], name="trust_signed_in_staff"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(account__isnull=True) ^ models.Q(staff__isnull=True),
                name="trust_signed_in_one_owner",
            )
        ]

    def __str__(self) -> str:
        return f"session {self.id}"


class ProviderLink(models.Model):
    """Who an account is at an OpenID Connect provider: `subject` is the provider's own, never used again for another."""

    account = models.ForeignKey(PatientAccount, on_delete=models.CASCADE, related_name="provider_links")
    issuer = models.TextField()
    subject = models.TextField()
    made_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="trust_provider_link_subject")]

    def __str__(self) -> str:
        return f"provider link {self.pk}"
