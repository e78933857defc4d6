"""Rows of the master patient index (spec/mpi.md section 2)."""

from __future__ import annotations

import uuid

from django.db import models


class Person(models.Model):
    """The enterprise identity. A merge never deletes: the loser points at the survivor."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    merged_into = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="merged_from")
    created_at = models.DateTimeField(auto_now_add=True)


class SourceRecord(models.Model):
    """One organization's record of a patient; versions are kept apart, immutable."""

    participant_id = models.TextField()  # directory id
    created_at = models.DateTimeField(auto_now_add=True)


class PatientIdentifier(models.Model):
    """A local identifier in the domain of an assigning authority (bare OID).

    Documents, folders, submission sets and consents hang here, never on the person.
    """

    authority = models.TextField()
    value = models.TextField()
    source_record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="identifiers")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["authority", "value"], name="patients_identifier_unique")]


class Link(models.Model):
    """Which person a source record belongs to, from when until when."""

    source_record = models.ForeignKey(SourceRecord, on_delete=models.PROTECT, related_name="links")
    person = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="links")
    valid_from = models.DateTimeField(auto_now_add=True)
    valid_to = models.DateTimeField(null=True, blank=True)
