"""Rows of trust: assertions already used, accounts of patients, failed sign-ins."""

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
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    login = models.TextField(unique=True, help_text="As typed at sign-in, in lower case")
    password = models.TextField(help_text="Hash, as Django's hashers write it")
    name = models.TextField(help_text="As the portal greets, and as the log names a helper")
    identifier = models.ForeignKey("patients.PatientIdentifier", on_delete=models.PROTECT, related_name="accounts")
    active = models.BooleanField(default=True)
    language = models.CharField(max_length=8, blank=True)
    totp_secret = models.TextField(blank=True, help_text="Base32; empty: no second factor")
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
