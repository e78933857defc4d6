"""Code sets of the affinity domain (spec/xds.md 11)."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class CodeSet(models.Model):
    """The codes that an attribute of document metadata may have, and what a code outside means.

    `attribute` is the XDS name (``classCode``, ``mimeType``, ``folderCodeList`` …).
    """

    class Mode(models.TextChoices):
        """What a code outside the set means."""

        ENFORCE = "enforce", "enforce: refuse"
        WARN = "warn", "warn: accept and say so"
        OFF = "off", "off: not checked"

    attribute = models.TextField(unique=True)
    mode = models.TextField(choices=Mode.choices, default=Mode.ENFORCE)
    mode_chosen = models.BooleanField(
        default=False, help_text="whether staff chose the mode: a file that names none leaves it"
    )
    source = models.TextField(blank=True, help_text="file or authority it was loaded from, and its version")
    loaded_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("attribute",)

    def __str__(self) -> str:
        return self.attribute


class CodeSetVersion(models.Model):
    """A set as it was from `made_at` until its next version; `codes` are its active ones, [code, scheme, display] each."""

    code_set = models.ForeignKey(CodeSet, on_delete=models.CASCADE, related_name="versions", db_index=False)
    number = models.PositiveIntegerField()
    mode = models.TextField(choices=CodeSet.Mode.choices)
    source = models.TextField(blank=True)
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.TextField(help_text="who changed it")
    codes = models.JSONField()

    class Meta:
        ordering = ("code_set", "-number")
        constraints = [models.UniqueConstraint(fields=["code_set", "number"], name="terminology_version_once")]

    def __str__(self) -> str:
        return f"{self.code_set_id}, version {self.number}"


class Code(models.Model):
    """One code of a set; `scheme` is a URI, empty for media types.

    The code ``*`` stands for every code of its scheme, the media type ``image/*`` for every one of that kind.
    """

    code_set = models.ForeignKey(CodeSet, on_delete=models.CASCADE, related_name="codes")
    code = models.TextField()
    scheme = models.TextField(blank=True)
    display = models.TextField(blank=True)
    active = models.BooleanField(default=True)

    class Meta:
        ordering = ("scheme", "code")
        constraints = [
            models.UniqueConstraint(fields=["code_set", "code", "scheme"], name="terminology_code_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.scheme}|{self.code}"


class LocalCode(models.Model):
    """A code that came and that no set of the hub knew, and what was decided about it (`hie.terminology.local_codes`).

    `attribute` is the XDS name; "": it stood inside a document. `met` counts how often it came. In state ``mapped`` it
    means `to_scheme`, `to_code` everywhere. `raises`: labels depend on that meaning. `proposed` is what one member of
    staff (`proposed_by`, the account's key `proposed_account`) would do and another has to agree to; the target of a
    mapping that is only proposed stands in `to_*` already.
    """

    class State(models.TextChoices):
        """What was decided."""

        WAITING = "waiting", "waits"
        MAPPED = "mapped", "means another code"
        ADDED = "added", "added to its set"
        LOCAL = "local", "local, and stays so"

    class Proposed(models.TextChoices):
        """What waits for a second person."""

        MAP = "map", "to map it"
        END = "end", "to end its mapping"

    attribute = models.TextField(blank=True)
    scheme = models.TextField(blank=True)
    code = models.TextField()
    state = models.TextField(choices=State.choices, default=State.WAITING)
    met = models.PositiveBigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    to_scheme = models.TextField(blank=True, default="")
    to_code = models.TextField(blank=True, default="")
    to_display = models.TextField(blank=True, default="")
    raises = models.BooleanField(default=False)
    proposed = models.TextField(choices=Proposed.choices, blank=True, default="")
    proposed_by = models.TextField(blank=True, default="")
    proposed_account = models.BigIntegerField(null=True, blank=True)
    proposed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attribute", "scheme", "code"], name="terminology_local_code_once"),
            models.CheckConstraint(
                name="terminology_local_code_target",
                condition=~models.Q(to_code="") | ~models.Q(state="mapped") & ~models.Q(proposed="map"),
            ),
        ]
        indexes = [
            models.Index(
                fields=["first_at", "id"],
                name="terminology_local_code_waits",
                condition=models.Q(state="waiting") | ~models.Q(proposed=""),
            ),
            models.Index(fields=["code"], name="terminology_local_code_mapped", condition=models.Q(state="mapped")),
        ]

    def __str__(self) -> str:
        return f"{self.scheme}|{self.code}"


class CodeSender(models.Model):
    """That a participant, by its id, sent a local code."""

    local_code = models.ForeignKey(LocalCode, on_delete=models.CASCADE, related_name="senders", db_index=False)
    sender = models.TextField()
    met = models.PositiveBigIntegerField(default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["local_code", "sender"], name="terminology_code_sender_once")]
        indexes = [models.Index(fields=["sender"], name="terminology_code_sender")]

    def __str__(self) -> str:
        return f"{self.sender} of {self.local_code_id}"
