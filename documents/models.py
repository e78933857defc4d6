"""Rows of the document registry and repository (spec/xds.md section 3).

Every attribute of the metadata is a column or a row of its own, so that any of them can be asked
for; `metadata` holds the same values once more as JSON, so that a list is answered from one row.
It is written once, at registration; what changes later (`availability_status`, `version`, labels)
lives only in columns, which win.

Times of the standard are kept twice: as the DTM text that was sent, and as the half-open interval
``[from, until)`` of instants which that text covers, for searching.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils import timezone

from documents.metadata import ON_DEMAND, STABLE, AssociationType, Status

STATUS_CHOICES = [(s.value, s.name.title()) for s in Status]


class RepositoryKey(models.Model):
    """A key of the repository's own (the digest key), wrapped by a document key."""

    name = models.TextField(primary_key=True)
    wrapped_key = models.BinaryField()
    key_id = models.TextField()

    def __str__(self) -> str:
        return self.name


class Blob(models.Model):
    """Encrypted bytes in the store, once for each distinct content.

    `digest` is HMAC-SHA256 of the content under the repository's digest key, so that the column
    tells nobody who lacks the key which documents are known here. `sha1` is the hash that XDS
    prescribes; `wrapped_key` the data key under document key `key_id`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    digest = models.BinaryField(max_length=32)
    size = models.BigIntegerField()
    sha1 = models.CharField(max_length=40)
    storage_key = models.TextField()
    segment_size = models.IntegerField()
    wrapped_key = models.BinaryField()
    key_id = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["digest"], name="documents_blob_digest_unique"),
            models.UniqueConstraint(fields=["storage_key"], name="documents_blob_storage_key"),
        ]
        indexes = [models.Index(fields=["key_id"], name="documents_blob_key_id")]

    def __str__(self) -> str:
        return str(self.id)


class Binary(models.Model):
    """A public name for bytes: what ``/fhir/Binary/{id}`` and a document entry point at.

    Staged until an entry points at it; only its owner may register it. Two binaries may share a blob.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="binaries")
    content_type = models.TextField()
    owner = models.TextField(help_text="participant that sent the bytes")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        verbose_name_plural = "binaries"

    def __str__(self) -> str:
        return str(self.id)


class KeptDocument(models.Model):
    """A stored document whose last entry was removed from the registry: its bytes stay until they are removed by uniqueId."""

    unique_id = models.TextField(db_index=True)
    custodian = models.TextField(help_text="participant that answered for the document")
    patient_identifier = models.ForeignKey(
        "patients.PatientIdentifier", on_delete=models.PROTECT, related_name="+", help_text="whose document it was"
    )
    binary = models.OneToOneField(Binary, on_delete=models.PROTECT, related_name="kept")
    removed_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.unique_id


class SubmissionSet(models.Model):
    """One submission (spec/xds.md 3.3); immutable, always Approved."""

    entry_uuid = models.UUIDField(unique=True)
    unique_id = models.TextField()
    identifier_keys = ArrayField(models.TextField(), default=list, help_text="how a search may name it by identifier")
    source_id = models.TextField()
    patient_identifier = models.ForeignKey(
        "patients.PatientIdentifier", on_delete=models.PROTECT, related_name="submission_sets", db_index=False
    )
    patient_id_value = models.TextField()
    patient_id_authority = models.TextField()
    custodian = models.TextField(help_text="participant that submitted")
    availability_status = models.TextField(choices=STATUS_CHOICES, default=Status.APPROVED.value)
    submission_time = models.CharField(max_length=14)
    submission_time_from = models.DateTimeField()
    submission_time_until = models.DateTimeField()
    content_type_code = models.TextField(blank=True)
    content_type_scheme = models.TextField(blank=True)
    content_type_display = models.TextField(blank=True)
    intended_recipients = ArrayField(models.TextField(), default=list)
    title = models.TextField(null=True, blank=True)
    comments = models.TextField(null=True, blank=True)
    home_community_id = models.TextField(null=True, blank=True)
    limited_metadata = models.BooleanField(default=False)
    extra = models.JSONField(default=dict)
    metadata = models.JSONField()
    registered_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["unique_id"], name="documents_set_unique_id")]
        indexes = [
            models.Index(fields=["patient_identifier", "-submission_time_from", "-id"], name="documents_set_newest"),
            models.Index(fields=["source_id"], name="documents_set_source_id"),
            GinIndex(fields=["identifier_keys"], name="documents_set_identifiers"),
            models.Index(fields=["content_type_code", "content_type_scheme"], name="documents_set_content_type"),
        ]

    def __str__(self) -> str:
        return self.unique_id


class DocumentEntry(models.Model):
    """A document entry (spec/xds.md 3.2).

    `logical_id` groups the versions of one entry; `version` counts them. `labels`,
    `confidentiality` (the effective code), `labelled` and `label_version` are what the labelling
    service or a reviewer set last; `LabelAssignment` says why. `restricted` entries were accepted
    with doubts and wait for a `ReviewItem` to be closed.
    """

    entry_uuid = models.UUIDField(unique=True)
    logical_id = models.UUIDField()
    version = models.IntegerField(default=1)
    revision = models.IntegerField(default=1, help_text="counts what changes under one version: status, members")
    object_type = models.TextField(choices=[(STABLE, "stable"), (ON_DEMAND, "on-demand")], default=STABLE)
    availability_status = models.TextField(choices=STATUS_CHOICES, default=Status.APPROVED.value)
    unique_id = models.TextField()
    identifier_keys = ArrayField(models.TextField(), default=list, help_text="how a search may name it by identifier")
    patient_identifier = models.ForeignKey(
        "patients.PatientIdentifier", on_delete=models.PROTECT, related_name="document_entries", db_index=False
    )
    patient_id_value = models.TextField()
    patient_id_authority = models.TextField()
    custodian = models.TextField(help_text="participant that answers for the document")
    submission_set = models.ForeignKey(SubmissionSet, on_delete=models.PROTECT, related_name="entries")
    binary = models.ForeignKey(Binary, on_delete=models.PROTECT, null=True, blank=True, related_name="entries")

    mime_type = models.TextField()
    hash = models.CharField(max_length=40, null=True, blank=True)
    size = models.BigIntegerField(null=True, blank=True)
    title = models.TextField(null=True, blank=True)
    comments = models.TextField(null=True, blank=True)
    language_code = models.TextField(null=True, blank=True)
    uri = models.TextField(null=True, blank=True)
    home_community_id = models.TextField(null=True, blank=True)
    repository_unique_id = models.TextField(null=True, blank=True)
    document_availability = models.TextField(null=True, blank=True)
    limited_metadata = models.BooleanField(default=False)
    creation_time = models.CharField(max_length=14, null=True, blank=True)
    creation_time_from = models.DateTimeField(null=True, blank=True)
    creation_time_until = models.DateTimeField(null=True, blank=True)
    service_start_time = models.CharField(max_length=14, null=True, blank=True)
    service_start_time_from = models.DateTimeField(null=True, blank=True)
    service_start_time_until = models.DateTimeField(null=True, blank=True)
    service_stop_time = models.CharField(max_length=14, null=True, blank=True)
    service_stop_time_from = models.DateTimeField(null=True, blank=True)
    service_stop_time_until = models.DateTimeField(null=True, blank=True)
    source_patient_id_value = models.TextField(null=True, blank=True)
    source_patient_id_authority = models.TextField(null=True, blank=True)
    source_patient_info = ArrayField(models.TextField(), default=list)
    legal_authenticator = models.JSONField(null=True, blank=True)
    extra = models.JSONField(default=dict)
    metadata = models.JSONField()

    labels = ArrayField(models.TextField(), default=list)
    confidentiality = models.TextField(null=True, blank=True)
    labelled = models.BooleanField(default=False)
    label_version = models.IntegerField(default=1)
    labelled_under = models.TextField(default="", help_text="the labelling rules that were last applied, by digest")
    restricted = models.BooleanField(default=False)

    sorted_at = models.DateTimeField(help_text="creation time, else time of registration: newest first")
    registered_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "document entries"
        constraints = [
            models.UniqueConstraint(fields=["logical_id", "version"], name="documents_entry_version"),
            models.CheckConstraint(
                condition=models.Q(object_type=STABLE)
                | models.Q(hash__isnull=True, size__isnull=True, binary__isnull=True),
                name="documents_on_demand_no_bytes",
            ),
        ]
        indexes = [
            models.Index(fields=["patient_identifier", "-sorted_at", "-id"], name="documents_newest_of_patient"),
            models.Index(fields=["unique_id"], name="documents_entry_unique_id"),
            models.Index(fields=["custodian"], name="documents_entry_custodian"),
            models.Index(fields=["updated_at"], name="documents_entry_updated_at"),
            GinIndex(fields=["identifier_keys"], name="documents_entry_identifiers"),
            models.Index(
                fields=["source_patient_id_authority", "source_patient_id_value"], name="documents_entry_source_pat"
            ),
            models.Index(
                fields=["id"], condition=models.Q(labelled=False), name="documents_entry_unlabelled"
            ),  # the labelling service's work list
            models.Index(fields=["labelled_under", "id"], name="documents_entry_labelled_under"),
        ]

    def __str__(self) -> str:
        return f"urn:uuid:{self.entry_uuid}"


class Folder(models.Model):
    """A folder (spec/xds.md 3.4); the registry sets `last_update_time`."""

    entry_uuid = models.UUIDField(unique=True)
    logical_id = models.UUIDField()
    version = models.IntegerField(default=1)
    revision = models.IntegerField(default=1, help_text="counts what changes under one version: status, members")
    unique_id = models.TextField(db_index=True)
    identifier_keys = ArrayField(models.TextField(), default=list, help_text="how a search may name it by identifier")
    availability_status = models.TextField(choices=STATUS_CHOICES, default=Status.APPROVED.value)
    patient_identifier = models.ForeignKey(
        "patients.PatientIdentifier", on_delete=models.PROTECT, related_name="folders", db_index=False
    )
    patient_id_value = models.TextField()
    patient_id_authority = models.TextField()
    custodian = models.TextField()
    submission_set = models.ForeignKey(SubmissionSet, on_delete=models.PROTECT, related_name="folders")
    title = models.TextField(null=True, blank=True)
    comments = models.TextField(null=True, blank=True)
    home_community_id = models.TextField(null=True, blank=True)
    limited_metadata = models.BooleanField(default=False)
    last_update_time = models.DateTimeField()
    extra = models.JSONField(default=dict)
    metadata = models.JSONField()
    registered_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["logical_id", "version"], name="documents_folder_version"),
        ]
        indexes = [
            models.Index(fields=["patient_identifier", "-last_update_time", "-id"], name="documents_folder_newest"),
            GinIndex(fields=["identifier_keys"], name="documents_folder_identifiers"),
        ]

    def __str__(self) -> str:
        return self.unique_id


class Association(models.Model):
    """An association between registry objects, named by their entry UUIDs (spec/xds.md 3.5)."""

    entry_uuid = models.UUIDField(unique=True)
    type = models.TextField(choices=[(t.value, t.name) for t in AssociationType])
    source = models.UUIDField()
    target = models.UUIDField()
    availability_status = models.TextField(choices=STATUS_CHOICES, default=Status.APPROVED.value)
    submission_set = models.ForeignKey(SubmissionSet, on_delete=models.PROTECT, related_name="associations")
    submission_set_status = models.TextField(null=True, blank=True)
    documentation_code = models.TextField(null=True, blank=True)
    documentation_scheme = models.TextField(null=True, blank=True)
    documentation_display = models.TextField(null=True, blank=True)
    extra = models.JSONField(default=dict)
    registered_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["source", "type"], name="documents_assoc_source"),
            models.Index(fields=["target", "type"], name="documents_assoc_target"),
        ]

    def __str__(self) -> str:
        return f"urn:uuid:{self.entry_uuid}"


class EntryCode(models.Model):
    """One coded value of an entry: `attribute` is the XDS name (classCode, eventCodeList …)."""

    entry = models.ForeignKey(DocumentEntry, on_delete=models.CASCADE, related_name="codes", db_index=False)
    attribute = models.TextField()
    position = models.SmallIntegerField(default=0)
    code = models.TextField()
    scheme = models.TextField()
    display = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["entry", "attribute", "position"], name="documents_entry_code_pos")
        ]
        # Without the entry, which would make every key another: alike ones lie together in a tenth of the room.
        indexes = [models.Index(fields=["attribute", "code", "scheme"], name="documents_entry_code_search")]

    def __str__(self) -> str:
        return f"{self.attribute} {self.scheme}|{self.code}"


class FolderCode(models.Model):
    """One code of a folder's codeList."""

    folder = models.ForeignKey(Folder, on_delete=models.CASCADE, related_name="codes")
    position = models.SmallIntegerField(default=0)
    code = models.TextField()
    scheme = models.TextField()
    display = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["folder", "position"], name="documents_folder_code_pos")]
        indexes = [models.Index(fields=["code", "scheme", "folder"], name="documents_folder_code_search")]

    def __str__(self) -> str:
        return f"{self.scheme}|{self.code}"


class AuthorRow(models.Model):
    """One author of an entry or a submission set.

    `family_key` and `given_key` are the names folded for searching: lower case, no accents.
    """

    entry = models.ForeignKey(DocumentEntry, on_delete=models.CASCADE, null=True, blank=True, related_name="authors")
    submission_set = models.ForeignKey(
        SubmissionSet, on_delete=models.CASCADE, null=True, blank=True, related_name="authors"
    )
    position = models.SmallIntegerField(default=0)
    person_id = models.TextField(blank=True)
    person_authority = models.TextField(blank=True)
    family = models.TextField(blank=True)
    given = models.TextField(blank=True)
    second = models.TextField(blank=True)
    suffix = models.TextField(blank=True)
    prefix = models.TextField(blank=True)
    degree = models.TextField(blank=True)
    family_key = models.TextField(blank=True)
    given_key = models.TextField(blank=True)
    institutions = models.JSONField(default=list)
    roles = ArrayField(models.TextField(), default=list)
    specialties = ArrayField(models.TextField(), default=list)
    telecommunications = ArrayField(models.TextField(), default=list)

    class Meta:
        verbose_name = "author"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(entry__isnull=False, submission_set__isnull=True)
                | models.Q(entry__isnull=True, submission_set__isnull=False),
                name="documents_author_of_one_object",
            )
        ]
        indexes = [
            models.Index(fields=["family_key"], name="documents_author_family", opclasses=["text_pattern_ops"]),
            models.Index(fields=["given_key"], name="documents_author_given", opclasses=["text_pattern_ops"]),
        ]

    def __str__(self) -> str:
        return f"author {self.pk}"


class ReferenceIdRow(models.Model):
    """One identifier of an entry's referenceIdList."""

    entry = models.ForeignKey(DocumentEntry, on_delete=models.CASCADE, related_name="reference_ids")
    position = models.SmallIntegerField(default=0)
    value = models.TextField()
    type_code = models.TextField(blank=True)
    authority = models.TextField(blank=True)
    home_community_id = models.TextField(blank=True)

    class Meta:
        verbose_name = "reference id"
        indexes = [models.Index(fields=["value", "authority"], name="documents_reference_id")]

    def __str__(self) -> str:
        return f"{self.type_code} {self.value}"


class LabelAssignment(models.Model):
    """Why an entry carries a label or a raised confidentiality: the rule, its version, who and when.

    Append-only; `label_version` numbers the runs, each of which adds what it set: nothing is taken back but by a person.
    """

    entry = models.ForeignKey(DocumentEntry, on_delete=models.CASCADE, related_name="label_assignments")
    label_version = models.IntegerField()
    label = models.TextField()
    rule = models.TextField(blank=True)
    rule_version = models.TextField(blank=True)
    assigned_by = models.TextField(default="labelling")
    assigned_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["entry", "label_version"], name="documents_label_of_entry")]

    def __str__(self) -> str:
        return f"{self.label} ({self.rule})"


class LabelRun(models.Model):
    """One going over of registered documents with changed labelling rules: how far it is, what it found.

    The work itself is in the entries (`labelled_under`); a run that was cut off goes on behind the entry `last_entry` of those
    that the rules `last_rules` were applied to before.
    """

    rules = models.TextField(help_text="digest of the rules applied")
    rules_version = models.TextField(blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    superseded = models.BooleanField(default=False, help_text="the rules changed again before it was through")
    last_rules = models.TextField(blank=True, default="")
    last_entry = models.BigIntegerField(default=0)
    looked_at = models.BigIntegerField(default=0)
    raised = models.BigIntegerField(default=0)
    unread = models.BigIntegerField(
        default=0, help_text="documents whose bytes could not be read; they keep their labels"
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                models.F("superseded"), condition=models.Q(finished_at__isnull=True), name="documents_label_run_open"
            )
        ]

    def __str__(self) -> str:
        return f"labelling run {self.pk} under {self.rules_version}"


class ReviewItem(models.Model):
    """A document accepted with doubts: it stays restricted until a person closed this.

    `reasons` are codes such as ``demographics-differ``; never names or dates.
    """

    entry = models.ForeignKey(DocumentEntry, on_delete=models.CASCADE, related_name="reviews")
    reasons = ArrayField(models.TextField())
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.TextField(blank=True)
    outcome = models.TextField(
        blank=True,
        choices=[("released", "released"), ("kept-restricted", "kept restricted"), ("withdrawn", "withdrawn")],
    )

    class Meta:
        indexes = [
            models.Index(fields=["opened_at"], condition=models.Q(closed_at__isnull=True), name="documents_review_open")
        ]

    def __str__(self) -> str:
        return f"review of {self.entry_id}"
