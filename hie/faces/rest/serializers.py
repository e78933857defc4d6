"""Shapes of `/api/queries`; unknown members are refused by name (design.md)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rest_framework import serializers

FILTERS = ("status", "category", "type", "format", "event", "period", "creation")


class SecondsField(serializers.FloatField):
    """A number of seconds; text and truth values are none, and neither is "nan"."""

    def to_internal_value(self, data: Any) -> float:
        """The number."""
        if isinstance(data, bool) or not isinstance(data, int | float | Decimal):
            self.fail("invalid")
        return float(super().to_internal_value(float(data)))


class Strict(serializers.Serializer[Any]):
    """A serializer that refuses members it does not know, by name."""

    def to_internal_value(self, data: Any) -> Any:
        """Shape first, then nothing beside it."""
        if isinstance(data, dict):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({unknown[0]: ["unknown member"]})
        return super().to_internal_value(data)


class IdentifierInput(Strict):
    """An identifier in its domain."""

    system = serializers.CharField(max_length=255)
    value = serializers.CharField(max_length=255)


class PatientInput(Strict):
    """The patient by identifier or by this hub's reference: exactly one."""

    identifier = IdentifierInput(required=False)
    reference = serializers.RegexField(r"^Patient/[0-9A-Za-z.\-]{1,64}$", required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Exactly one way to name the patient."""
        if len(attrs) != 1:
            raise serializers.ValidationError("identifier or reference, exactly one")
        return attrs


class TextList(serializers.ListField):
    """ITI-67 values of one parameter."""

    child = serializers.CharField(max_length=512)
    max_length = 50


class FilterInput(Strict):
    """Lists of ITI-67 values."""

    status = TextList(required=False)
    category = TextList(required=False)
    type = TextList(required=False)
    format = TextList(required=False)
    event = TextList(required=False)
    period = TextList(required=False)
    creation = TextList(required=False)


class QueryInput(Strict):
    """The body of `POST /api/queries`."""

    patient = PatientInput()
    filter = FilterInput(required=False)
    targets = serializers.ListField(child=serializers.CharField(max_length=255), required=False, max_length=1000)
    deadline_s = SecondsField(required=False, default=10, min_value=1, max_value=60)


class TargetOutput(serializers.Serializer[Any]):
    """One community or organization, with what came of asking it."""

    id = serializers.CharField()
    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=["local", "community", "organization"])
    status = serializers.ChoiceField(choices=["pending", "answered", "nothing", "refused", "late", "down", "error"])
    found = serializers.IntegerField()
    asked_at = serializers.DateTimeField(allow_null=True)
    answered_at = serializers.DateTimeField(allow_null=True)
    elapsed_ms = serializers.IntegerField(allow_null=True)
    message = serializers.CharField(required=False)


class ReferenceOutput(serializers.Serializer[Any]):
    """A FHIR reference."""

    reference = serializers.CharField()


class QueryOutput(serializers.Serializer[Any]):
    """A query as its asker sees it now."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=["running", "complete", "cancelled", "expired"])
    created_at = serializers.DateTimeField()
    deadline_at = serializers.DateTimeField()
    completed_at = serializers.DateTimeField(allow_null=True)
    patient = ReferenceOutput()
    purpose = serializers.CharField()
    targets = TargetOutput(many=True)
    documents = serializers.ListField(child=serializers.DictField())


class ImportOutput(serializers.Serializer[Any]):
    """A bulk import: counts of lines so far; the files once it has settled."""

    id = serializers.UUIDField()
    status = serializers.ChoiceField(choices=["running", "done", "failed"])
    read = serializers.IntegerField()
    new = serializers.IntegerField()
    linked = serializers.IntegerField()
    review = serializers.IntegerField()
    updated = serializers.IntegerField()
    refused = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    links_url = serializers.URLField(allow_null=True)
    refused_url = serializers.URLField(allow_null=True)


class ErrorDetail(serializers.Serializer[Any]):
    """What was wrong, and with which member."""

    code = serializers.CharField()
    message = serializers.CharField()
    field = serializers.CharField(allow_null=True)


class ErrorOutput(serializers.Serializer[Any]):
    """Every error of `/api/`."""

    error = ErrorDetail()


class ProofOutput(serializers.Serializer[Any]):
    """What shows that one event is in the sealed log."""

    event_id = serializers.UUIDField()
    seq = serializers.IntegerField()
    json = serializers.CharField()
    leaf = serializers.CharField()
    path = serializers.ListField(child=serializers.CharField())
    checkpoint = serializers.DictField()
