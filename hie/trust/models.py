"""Rows of trust: assertions already used."""

from __future__ import annotations

from django.db import models


class UsedAssertion(models.Model):
    """A client assertion's `jti`, kept until the assertion has ended, so that it is used once.

    In PostgreSQL, not in Redis: a broker that restarts must not make a captured assertion good again.
    `jti_digest` is SHA-256 over client id and jti.
    """

    jti_digest = models.BinaryField(max_length=32)
    expires_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["jti_digest"], name="trust_used_assertion_jti")]
        indexes = [models.Index(fields=["expires_at"], name="trust_used_assertion_expires")]

    def __str__(self) -> str:
        return str(self.pk)
