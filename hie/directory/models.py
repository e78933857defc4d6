"""Rows of the directory: who takes part in the exchange or is about to, and how each is known and reached.

A change to a table that policy reads (participants, agreements, authorities, endpoints, keys,
certificates) raises the policy epoch by a trigger in the same transaction
(migration ``0002_policy_epoch``), so no writer, the admin included, can forget it; and so does the instant from which a
stored version counts (``0005_policy_instants``).

Source: spec/consent.md 3 and 11; design.md "participants".
"""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q


class ParticipantType(models.TextChoices):
    HOSPITAL = "hospital", "Hospital"
    PRIMARY_CARE = "primary-care", "Primary care"
    LAB = "lab", "Laboratory"
    IMAGING = "imaging", "Imaging centre"
    PHARMACY = "pharmacy", "Pharmacy"
    PAYER = "payer", "Payer"
    PUBLIC_HEALTH = "public-health", "Public health"
    RESEARCH = "research", "Research"
    SUD_PROGRAM = "sud-program", "Substance-use program"
    TELEHEALTH = "telehealth", "Telehealth"
    LAW_ENFORCEMENT = "law-enforcement", "Law enforcement"
    PATIENT_PORTAL = "patient-portal", "Patient portal"
    COMMUNITY = "community", "Community"


class Standing(models.TextChoices):
    """Of a registration and of an agreement; only `active` takes part."""

    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    TERMINATED = "terminated", "Terminated"


class EndpointKind(models.TextChoices):
    FHIR = "fhir", "FHIR"
    XCA_QUERY = "xca-query", "XCA query"
    XCA_RETRIEVE = "xca-retrieve", "XCA retrieve"
    XCPD = "xcpd", "XCPD"
    XDS_REPOSITORY = "xds-repository", "XDS repository"
    MLLP = "mllp", "MLLP"


TRUST_LIMIT = 100
"""The trust in a source runs from minus this to this; 0 where nobody said anything."""


def _texts() -> ArrayField[Any, Any]:
    return ArrayField(models.TextField(), default=list, blank=True)


class Participant(models.Model):
    """An organization, department or community. Blank or null fields are inherited from `part_of`."""

    id = models.TextField(primary_key=True)
    name = models.TextField()
    type = models.TextField(choices=ParticipantType.choices)
    organization_oid = models.TextField("organization OID")
    part_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="parts", verbose_name="part of"
    )
    jurisdiction = models.TextField(blank=True, default="", help_text="Empty: as the organization above it.")
    status = models.TextField(choices=Standing.choices, default=Standing.ACTIVE)
    client_id = models.TextField("client id")
    jwks_url = models.TextField("JWKS URL", blank=True, default="")
    scopes = _texts()
    default_role = models.TextField(blank=True, default="")
    default_purpose = models.TextField(blank=True, default="")
    part2_program = models.BooleanField("42 CFR Part 2 program", null=True, blank=True)
    requires_relationship = models.BooleanField(null=True, blank=True)
    home_community_id = models.TextField(blank=True, default="")
    source_id = models.TextField(blank=True, default="")
    hl7v2_application = models.TextField("HL7 v2 application (MSH-3)", blank=True, default="")
    hl7v2_facility = models.TextField("HL7 v2 facility (MSH-4)", blank=True, default="")
    release_policy = models.JSONField(default=list, blank=True)
    source_trust = models.SmallIntegerField(
        null=True,
        blank=True,
        help_text="From -100 to 100: where sources of a patient differ, the higher one counts. "
        "Empty: as the organization above it, in the end 0.",
    )
    rate_per_s = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the hub's own limit.")
    burst = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the hub's own limit.")
    concurrency = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the hub's own limit.")
    registered_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["organization_oid"], name="directory_participant_organization_oid"),
            models.UniqueConstraint(fields=["client_id"], name="directory_participant_client_id"),
            models.UniqueConstraint(
                fields=["home_community_id"],
                name="directory_participant_home_community_id",
                condition=~Q(home_community_id=""),
            ),
            models.UniqueConstraint(
                fields=["hl7v2_application", "hl7v2_facility"],
                name="directory_participant_hl7v2_sender",
                condition=~Q(hl7v2_application=""),
            ),
            models.UniqueConstraint(
                fields=["source_id"], name="directory_participant_source_id", condition=~Q(source_id="")
            ),
            models.CheckConstraint(
                name="directory_participant_not_its_own_part", condition=Q(part_of=None) | ~Q(part_of=F("id"))
            ),
            models.CheckConstraint(name="directory_participant_type", condition=Q(type__in=ParticipantType.values)),
            models.CheckConstraint(name="directory_participant_status", condition=Q(status__in=Standing.values)),
            models.CheckConstraint(name="directory_participant_default_never_btg", condition=~Q(default_purpose="BTG")),
            models.CheckConstraint(
                name="directory_participant_source_trust",
                condition=Q(source_trust=None) | Q(source_trust__gte=-TRUST_LIMIT, source_trust__lte=TRUST_LIMIT),
            ),
        ]

    def __str__(self) -> str:
        return self.id


class Agreement(models.Model):
    """One version of a participation agreement; the highest version counts, earlier ones are kept.

    `approved_by`: the second person, where there was one; such a version is never changed or removed (a trigger holds
    it), and from then on files no longer change the agreement.
    """

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="agreements")
    version = models.PositiveIntegerField()
    status = models.TextField(choices=Standing.choices, default=Standing.ACTIVE)
    start = models.TextField(help_text="FHIR date or dateTime, in the participant's time zone.")
    end = models.TextField(blank=True, default="")
    purposes = _texts()
    labels_documents = models.BooleanField(default=False)
    decision_point = models.BooleanField(default=False)
    obligations = _texts()
    recorded_at = models.DateTimeField(auto_now_add=True)
    recorded_by = models.TextField(blank=True, default="")
    approved_by = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["participant", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["participant", "version"], name="directory_agreement_version"),
            models.CheckConstraint(name="directory_agreement_status", condition=Q(status__in=Standing.values)),
        ]

    def __str__(self) -> str:
        return f"{self.participant_id} v{self.version}"


class ReleasePolicy(models.Model):
    """One version of what an organization does not release; the newest in effect counts, earlier ones are kept.

    `rules` are in the form of a participants file. Where an organization has no version, what it registered with counts.
    A version is never changed or removed (a trigger holds it). `approved_by`: the second person, where there was one; from
    then on files no longer change it.
    """

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="release_policies")
    version = models.PositiveIntegerField()
    rules = models.JSONField(default=list)
    effective_from = models.DateTimeField()
    recorded_at = models.DateTimeField(auto_now_add=True)
    recorded_by = models.TextField(blank=True, default="")
    approved_by = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["participant", "-version"]
        verbose_name_plural = "release policies"
        constraints = [
            models.UniqueConstraint(fields=["participant", "version"], name="directory_release_policy_version")
        ]

    def __str__(self) -> str:
        return f"{self.participant_id} release policy version {self.version}"


class Placement(models.Model):
    """One version of where an organization stands: what it is part of, and under whose law; the highest counts.

    Version 0 is what files said before two people placed it. A version is never changed or removed (a trigger holds it),
    and where there is one files no longer move the organization. The participant's own row says what is in force.
    """

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="placements")
    version = models.PositiveIntegerField()
    part_of = models.TextField(blank=True, default="", help_text="Id of the organization above it")
    jurisdiction = models.TextField(blank=True, default="")
    recorded_at = models.DateTimeField(auto_now_add=True)
    recorded_by = models.TextField(blank=True, default="")
    approved_by = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["participant", "-version"]
        constraints = [models.UniqueConstraint(fields=["participant", "version"], name="directory_placement_version")]

    def __str__(self) -> str:
        return f"{self.participant_id} placement version {self.version}"


class AssigningAuthority(models.Model):
    """The domain in which a participant issues patient identifiers; the OID is bare."""

    oid = models.TextField("OID", primary_key=True)
    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="authorities")

    class Meta:
        ordering = ["oid"]
        verbose_name_plural = "assigning authorities"

    def __str__(self) -> str:
        return self.oid


class Endpoint(models.Model):
    """Where a participant is reached. One row a kind and address."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="endpoints")
    kind = models.TextField(choices=EndpointKind.choices)
    url = models.TextField("URL")
    repository_unique_id = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["participant", "kind", "url"]
        constraints = [
            models.UniqueConstraint(fields=["participant", "kind", "url"], name="directory_endpoint_address"),
            models.CheckConstraint(name="directory_endpoint_kind", condition=Q(kind__in=EndpointKind.values)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.url}"


class ClientKey(models.Model):
    """A client's public key by value. Several at once let a client change keys without a gap."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="keys")
    kid = models.TextField()
    jwk = models.JSONField("JWK")
    not_before = models.DateTimeField(null=True, blank=True)
    expires = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["participant", "kid"]
        constraints = [models.UniqueConstraint(fields=["participant", "kid"], name="directory_client_key_kid")]

    def __str__(self) -> str:
        return self.kid


class Certificate(models.Model):
    """A TLS client certificate of a participant; `thumbprint` is SHA-256 over DER, lower hex."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="certificates")
    pem = models.TextField("PEM")
    thumbprint = models.TextField()
    not_before = models.DateTimeField()
    expires = models.DateTimeField()

    class Meta:
        ordering = ["participant", "thumbprint"]
        constraints = [models.UniqueConstraint(fields=["thumbprint"], name="directory_certificate_thumbprint")]

    def __str__(self) -> str:
        return self.thumbprint


class Facility(models.Model):
    """A place where a participant gives care."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="facilities")
    oid = models.TextField("OID", blank=True, default="")
    name = models.TextField()
    address = models.TextField(blank=True, default="")
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ["participant", "name"]
        verbose_name_plural = "facilities"
        constraints = [
            models.UniqueConstraint(fields=["oid"], name="directory_facility_oid", condition=~Q(oid="")),
        ]

    def __str__(self) -> str:
        return self.name


class Practitioner(models.Model):
    """A person who uses the exchange for a participant; `user_id` is as tokens name it."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="users")
    user_id = models.TextField("user", help_text="Practitioner/…")
    name = models.TextField()
    role = models.TextField()
    purposes = _texts()

    class Meta:
        ordering = ["participant", "user_id"]
        constraints = [models.UniqueConstraint(fields=["participant", "user_id"], name="directory_practitioner_user")]

    def __str__(self) -> str:
        return self.user_id


class PolicyEpoch(models.Model):
    """One row: a number that is new after every change of policy data, and the instants at which it rises by itself.

    The number comes from a sequence, so one that was rolled back is never given
    again and a cache keyed by it cannot hold what was never committed. `instants`, sorted, are those from which stored
    versions count and that were still to come when the number was given: the epoch is the number and how many have passed.
    """

    value = models.BigIntegerField()
    instants = ArrayField(models.DateTimeField(), default=list, blank=True)

    class Meta:
        constraints = [models.CheckConstraint(name="directory_policy_epoch_single", condition=Q(id=1))]

    def __str__(self) -> str:
        return str(self.value)


class DirectoryChange(models.Model):
    """History: who changed what of which participant, when and why. Never edited."""

    class Kind(models.TextChoices):
        CREATED = "created", "Created"
        UPDATED = "updated", "Updated"
        SUSPENDED = "suspended", "Suspended"
        REINSTATED = "reinstated", "Reinstated"

    at = models.DateTimeField(auto_now_add=True)
    actor = models.TextField()
    participant_id = models.TextField(db_index=True)
    kind = models.TextField(choices=Kind.choices)
    reason = models.TextField(blank=True, default="")
    changed = models.JSONField(default=dict, help_text="member: [before, after]")

    class Meta:
        ordering = ["-at", "-pk"]

    def __str__(self) -> str:
        return f"{self.kind} {self.participant_id}"


class PublicHoliday(models.Model):
    """A day on which nobody works in a jurisdiction, so that it counts for no deadline in working days.

    Never changed or removed (a trigger holds it), but taken out once: deadlines that began before still count by it.
    """

    jurisdiction = models.TextField(help_text="Code of the place")
    on = models.DateField()
    name = models.TextField()
    recorded_at = models.DateTimeField()
    recorded_by = models.TextField()
    reason = models.TextField()
    removed_at = models.DateTimeField(null=True, blank=True)
    removed_by = models.TextField(blank=True, default="")
    removed_reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["jurisdiction", "on", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["jurisdiction", "on"], name="directory_holiday_once", condition=Q(removed_at=None)
            )
        ]

    def __str__(self) -> str:
        return f"{self.jurisdiction} {self.on}"


class Onboarding(models.Model):
    """An organization on its way from invitation to taking part.

    `draft` is what it will be registered as, in the form of a participants file, as far as it is known. Nobody asks or
    is asked by it before `state` is live. `code_digest` is that of the code in its invitation; empty: it has none.
    Acts and test runs are kept beside it and never changed.
    """

    class State(models.TextChoices):
        OPEN = "open", "Being prepared"
        WAITING = "waiting", "Waits for a second person"
        LIVE = "live", "Takes part"
        WITHDRAWN = "withdrawn", "Given up"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.TextField(help_text="As it was invited.")
    state = models.TextField(choices=State.choices, default=State.OPEN)
    draft = models.JSONField(default=dict)
    participant_id = models.TextField(blank=True, default="")
    code_digest = models.BinaryField(blank=True, default=b"")
    code_expires_at = models.DateTimeField(null=True, blank=True)
    test_begun_at = models.DateTimeField(null=True, blank=True)
    begun_at = models.DateTimeField()
    begun_by = models.TextField()
    begun_account = models.BigIntegerField()
    asked_at = models.DateTimeField(null=True, blank=True)
    asked_by = models.TextField(blank=True, default="")
    asked_account = models.BigIntegerField(null=True, blank=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.TextField(blank=True, default="")
    decided_account = models.BigIntegerField(null=True, blank=True)
    version = models.PositiveIntegerField(default=1, help_text="Rises with every change of the draft.")

    class Meta:
        ordering = ["-begun_at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="directory_onboarding_state", condition=Q(state__in=["open", "waiting", "live", "withdrawn"])
            ),
            models.UniqueConstraint(
                fields=["code_digest"], name="directory_onboarding_code", condition=~Q(code_digest=b"")
            ),
            # The second person is another: who asked, and who began it, do not let it in.
            models.CheckConstraint(
                name="directory_onboarding_two_people",
                condition=~Q(state="live")
                | (
                    Q(decided_account__isnull=False, asked_account__isnull=False)
                    & ~Q(decided_account=F("asked_account"))
                    & ~Q(decided_account=F("begun_account"))
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class OnboardingAct(models.Model):
    """One thing that was done about an onboarding: by whom, when, and why. Never changed."""

    class Kind(models.TextChoices):
        INVITED = "invited", "Invited"
        CODE_GIVEN = "code-given", "Given a new code"
        CODE_USED = "code-used", "Code used by the organization"
        SAVED = "saved", "Changed"
        TESTED = "tested", "Tested"
        ASKED = "asked", "Second person asked"
        SENT_BACK = "sent-back", "Sent back"
        APPROVED = "approved", "Approved"
        WITHDRAWN = "withdrawn", "Given up"

    onboarding = models.ForeignKey(Onboarding, on_delete=models.PROTECT, related_name="acts")
    at = models.DateTimeField()
    kind = models.TextField(choices=Kind.choices)
    actor = models.TextField(help_text="A member of staff, or the organization by its code.")
    reason = models.TextField(blank=True, default="")
    detail = models.JSONField(default=dict)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [
            models.CheckConstraint(
                name="directory_onboarding_act_kind",
                condition=Q(
                    kind__in=[
                        "invited", "code-given", "code-used", "saved", "tested", "asked", "sent-back", "approved",
                        "withdrawn",
                    ]
                ),
            )
        ]  # fmt: skip

    def __str__(self) -> str:
        return self.kind


class OnboardingTest(models.Model):
    """One run of the self-test: its report, and the version of the draft that it was made on. Never changed.

    `report` is a list of checks with result, check, clause, field, found and fix; nothing of what was sent stands in it.
    """

    onboarding = models.ForeignKey(Onboarding, on_delete=models.PROTECT, related_name="tests")
    number = models.PositiveIntegerField()
    draft_version = models.PositiveIntegerField()
    began_at = models.DateTimeField()
    took_s = models.FloatField()
    actor = models.TextField()
    passed = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()
    report = models.JSONField()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["onboarding", "number"], name="directory_onboarding_test_number")
        ]

    def __str__(self) -> str:
        return f"test {self.number}"
