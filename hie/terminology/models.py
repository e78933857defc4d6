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
    source = models.TextField(blank=True, help_text="file or authority it was loaded from")
    loaded_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("attribute",)

    def __str__(self) -> str:
        return self.attribute


class Code(models.Model):
    """One code of a set; `scheme` is a URI, empty for media types."""

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
