"""Shapes of `/api/`; unknown members are refused by name (design.md)."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

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


class ActivationInput(Strict):
    """The patient by the organization's own identifier."""

    identifier = IdentifierInput()


class ActivationOutput(serializers.Serializer[Any]):
    """A code, told once: `url` is the page that takes it, with the patient's date of birth beside it."""

    code = serializers.CharField()
    expires_at = serializers.DateTimeField()
    url = serializers.URLField()


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


class PersonField(serializers.Field[UUID, str, str, Any]):
    """A person by this hub's reference, ``Patient/{id}``; gives the id."""

    def to_internal_value(self, data: Any) -> UUID:
        """The id."""
        text = data if isinstance(data, str) else ""
        try:
            return UUID(text.removeprefix("Patient/") if text.startswith("Patient/") else "")
        except ValueError:
            raise serializers.ValidationError("a person is written Patient/{id}") from None


class ReasonInput(Strict):
    """Why: it stands in the log of every person concerned."""

    reason = serializers.CharField(max_length=500)


class MergeInput(ReasonInput):
    """Who is to be one; `subsumed` becomes a redirect."""

    survivor = PersonField()
    subsumed = PersonField()


class UnmergeInput(ReasonInput):
    """The person that was merged away."""

    person = PersonField()


class LinkInput(ReasonInput):
    """The record of an identifier, and whose it is to be."""

    identifier = IdentifierInput()
    person = PersonField()


class UnlinkInput(ReasonInput):
    """The record of an identifier that is to be a person of its own."""

    identifier = IdentifierInput()


class SplitInput(ReasonInput):
    """The person, and the identifiers whose records are to be a new one."""

    person = PersonField()
    identifiers = serializers.ListField(child=IdentifierInput(), min_length=1, max_length=100)


class InstantField(serializers.Field[datetime, str, str, Any]):
    """An instant of RFC 3339: with an offset, for a day begins at another hour elsewhere."""

    def to_internal_value(self, data: Any) -> datetime:
        """The instant; a plus sign that nobody encoded comes as a space."""
        try:
            found = datetime.fromisoformat(str(data).replace(" ", "+"))
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise serializers.ValidationError("an instant with its offset, such as 2026-03-01T12:00:00Z")
        return found


class HistoryInput(IdentifierInput):
    """What is asked of the past."""

    at = InstantField()


class TextField(serializers.CharField):
    """Text as text: a number or a truth value is none."""

    def to_internal_value(self, data: Any) -> str:
        """The text."""
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class PatientField(serializers.Field[dict[str, Any], Any, str, Any]):
    """The patient as `PatientInput`, or shorter as text: ``Patient/{id}``, or ``{system}|{value}`` of an identifier."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        """As `PatientInput` gives it."""
        if isinstance(data, str):
            system, bar, value = data.partition("|")
            data = {"identifier": {"system": system, "value": value}} if bar else {"reference": data}
        for named in [data, *(data.values() if isinstance(data, dict) else ())]:
            # A number is no identifier: read as text it could become another patient's.
            if isinstance(named, dict) and any(not isinstance(one, str | dict) for one in named.values()):
                raise serializers.ValidationError("identifiers and references are text")
        inner = PatientInput(data=data)
        inner.is_valid(raise_exception=True)
        said: dict[str, Any] = inner.validated_data
        return said


class AcceptedField(serializers.Field[bool, Any, bool, Any]):
    """The word true, in JSON."""

    def to_internal_value(self, data: Any) -> bool:
        """True."""
        if data is not True:
            raise serializers.ValidationError("the statement must be accepted: true")
        return True


class EmergencyInput(Strict):
    """The body of `POST /api/break-glass`; what `reason` may be, the hub says."""

    patient = PatientField()
    reason = TextField(max_length=64)
    text = TextField(max_length=2000)
    statement_accepted = AcceptedField()
    step_up = TextField(max_length=512, trim_whitespace=False)


class EmergencyOutput(serializers.Serializer[Any]):
    """An emergency grant."""

    id = serializers.UUIDField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    status = serializers.CharField()


class EmergencyTermsOutput(serializers.Serializer[Any]):
    """What is shown before an emergency is declared; equal for all patients. `hint` may be shown with any of them."""

    statement = serializers.CharField()
    hint = serializers.CharField()
    reasons = serializers.ListField(child=serializers.CharField())
    min_text = serializers.IntegerField()
    hours = serializers.FloatField()
    a_day = serializers.IntegerField()


class LeaveInput(Strict):
    """The body of `POST /api/break-glass/leaves`: the colleague, and why one emergency more."""

    user = TextField(max_length=255, trim_whitespace=False)
    text = TextField(max_length=2000)
    step_up = TextField(max_length=512, trim_whitespace=False)


class LeaveOutput(serializers.Serializer[Any]):
    """A supervisor's leave: for one emergency, until `end`."""

    user = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()


class EmergencyAnswerInput(Strict):
    """The body of `POST /api/break-glass/cases/{id}/answer`."""

    text = TextField(max_length=2000)


class EmergencyCaseOutput(serializers.Serializer[Any]):
    """A case that the participant answers for; `id` is the grant's. `raised`: three stand in a month."""

    id = serializers.UUIDField()
    user = serializers.CharField()
    reason = serializers.CharField()
    text = serializers.CharField()
    start = serializers.DateTimeField()
    end = serializers.DateTimeField()
    opened_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    status = serializers.ChoiceField(choices=["open", "answered", "withdrawn"])
    raised = serializers.BooleanField()
    answered_at = serializers.DateTimeField(allow_null=True)
    answer = serializers.CharField(allow_null=True)


class EmergencyCasesOutput(serializers.Serializer[Any]):
    """The cases of the caller's organization, newest first."""

    cases = serializers.ListField(child=EmergencyCaseOutput())


class ConcernAnswerInput(Strict):
    """The body of `POST /api/concerns/{number}/answer`."""

    text = TextField(max_length=2000)


class ConcernWordsOutput(serializers.Serializer[Any]):
    """One thing said about a concern: by the patient's side, the exchange's office, or the organization."""

    by = serializers.ChoiceField(choices=["patient", "exchange", "organization"])
    at = serializers.DateTimeField()
    text = serializers.CharField(allow_blank=True)


class ConcernOutput(serializers.Serializer[Any]):
    """A look of the organization's that a patient does not recognise; `event` is the id of its AuditEvent."""

    number = serializers.CharField()
    reason = serializers.ChoiceField(choices=["person", "visit", "purpose", "other"])
    status = serializers.ChoiceField(choices=["asked", "answered", "closed", "withdrawn"])
    asked_at = serializers.DateTimeField()
    due_at = serializers.DateTimeField()
    overdue = serializers.BooleanField()
    event = serializers.UUIDField()
    at = serializers.DateTimeField()
    request_id = serializers.CharField(allow_null=True)
    transaction = serializers.CharField(allow_null=True)
    organization = serializers.CharField()
    user = serializers.CharField(allow_null=True)
    role = serializers.CharField(allow_null=True)
    purpose = serializers.CharField(allow_null=True)
    said = serializers.ListField(child=ConcernWordsOutput())


class ConcernsOutput(serializers.Serializer[Any]):
    """What the caller's organization was asked, newest first."""

    concerns = serializers.ListField(child=ConcernOutput())


class ChangeOutput(serializers.Serializer[Any]):
    """A change of identity: `event` undoes it."""

    event = serializers.UUIDField()
    kind = serializers.CharField()
    at = serializers.DateTimeField()
    persons = serializers.ListField(child=serializers.DictField())
    undoes = serializers.UUIDField(allow_null=True)


class WhyOutput(serializers.Serializer[Any]):
    """Why an identifier belonged to a person."""

    kind = serializers.ChoiceField(choices=["auto", "manual"])
    reason = serializers.CharField(allow_null=True)
    event = serializers.UUIDField(allow_null=True)
    event_kind = serializers.CharField(allow_null=True)


class HistoryOutput(serializers.Serializer[Any]):
    """Who an identifier was at an instant."""

    identifier = serializers.DictField()
    at = serializers.DateTimeField()
    person = serializers.DictField(allow_null=True)
    now = serializers.DictField()
    identifiers = serializers.ListField(child=serializers.DictField())
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True)
    why = WhyOutput()


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
    links = serializers.ListField(child=serializers.DictField())


class ExplainedRuleOutput(serializers.Serializer[Any]):
    """One rule in its place: fired or not, and why."""

    rule = serializers.CharField()
    fired = serializers.BooleanField()
    reason = serializers.CharField(allow_blank=True)
    why = serializers.CharField()


class ExplainedDocumentOutput(serializers.Serializer[Any]):
    """One document of a decision, with its rules in order."""

    id = serializers.CharField()
    decision = serializers.ChoiceField(choices=["permit", "deny"])
    rule = serializers.CharField()
    reason = serializers.CharField()
    sentence = serializers.CharField()
    obligations = serializers.ListField(child=serializers.CharField())
    rules = ExplainedRuleOutput(many=True)


class RequesterOutput(serializers.Serializer[Any]):
    """Who asked, as what, what for."""

    organization = serializers.CharField()
    purpose = serializers.CharField(allow_blank=True)
    role = serializers.CharField(allow_blank=True)


class ExplainedOutput(serializers.Serializer[Any]):
    """A decision in words, for the patient or the participant that asked."""

    id = serializers.UUIDField()
    at = serializers.DateTimeField()
    audience = serializers.ChoiceField(choices=["patient", "participant"])
    language = serializers.CharField()
    request = RequesterOutput()
    sentence = serializers.CharField()
    rules = ExplainedRuleOutput(many=True)
    documents = ExplainedDocumentOutput(many=True)


class NamedOutput(serializers.Serializer[Any]):
    """A participant."""

    id = serializers.CharField()
    name = serializers.CharField()


class CouldSeeOutput(serializers.Serializer[Any]):
    """Askers with one answer: each organization, for each purpose, in each role; `person` where it is one certain person."""

    organizations = NamedOutput(many=True)
    purposes = serializers.ListField(child=serializers.CharField())
    roles = serializers.ListField(child=serializers.CharField())
    person = serializers.CharField(allow_null=True)
    decision = serializers.ChoiceField(choices=["permit", "deny"])
    rule = serializers.CharField()
    reason = serializers.CharField()
    obligations = serializers.ListField(child=serializers.CharField())
    basis = serializers.ListField(child=serializers.DictField())


class WhoCouldSeeOutput(serializers.Serializer[Any]):
    """A document and everybody who could ask for it, each once."""

    document = serializers.DictField()
    patient = serializers.DictField()
    answers = CouldSeeOutput(many=True)


class OwnRequestsOutput(serializers.Serializer[Any]):
    """Requests of a day or month (its first day), each once."""

    on = serializers.DateField()
    what = serializers.CharField()
    requests = serializers.IntegerField()


class OwnSentOutput(serializers.Serializer[Any]):
    """What became of what was sent."""

    what = serializers.CharField()
    came = serializers.ChoiceField(choices=["answered", "partly", "refused", "failed"])
    requests = serializers.IntegerField()


class OwnMessagesOutput(serializers.Serializer[Any]):
    """Kept messages of a protocol; `again`: how often one came once more."""

    protocol = serializers.CharField()
    status = serializers.CharField()
    messages = serializers.IntegerField()
    again = serializers.IntegerField()


class OwnReceivedOutput(serializers.Serializer[Any]):
    """What left for the participant."""

    what = serializers.CharField()
    count = serializers.IntegerField()


class FieldOutput(serializers.Serializer[Any]):
    """A field, and how many of the records or documents have it."""

    field = serializers.CharField()
    filled = serializers.IntegerField()
    of = serializers.IntegerField()


class DelayOutput(serializers.Serializer[Any]):
    """How long after its creation a document came."""

    within = serializers.CharField()
    documents = serializers.IntegerField()


class FeedDelayOutput(serializers.Serializer[Any]):
    """How long after its entry there a message about a patient came."""

    within = serializers.CharField()
    messages = serializers.IntegerField()


class AskedForOutput(serializers.Serializer[Any]):
    """Documents that an organization had for a purpose in a month (``2026-10``)."""

    month = serializers.CharField()
    organization = NamedOutput()
    purpose = serializers.CharField()
    documents = serializers.IntegerField()


class MayAskOutput(serializers.Serializer[Any]):
    """Who may ask, for what; `limited`: release rules of one's own name it."""

    organization = NamedOutput()
    purposes = serializers.ListField(child=serializers.CharField())
    limited = serializers.BooleanField()


class OwnFiguresOutput(serializers.Serializer[Any]):
    """A participant's own view; `step` is ``day`` or ``month``, `counted_at` up to when it is counted."""

    participants = NamedOutput(many=True)
    period = serializers.DictField(child=serializers.CharField())
    step = serializers.ChoiceField(choices=["day", "month"])
    counted_at = serializers.DateTimeField(allow_null=True)
    asked = OwnRequestsOutput(many=True)
    refused_at_the_door = serializers.IntegerField()
    failed_here = serializers.IntegerField()
    sent = OwnRequestsOutput(many=True)
    sent_as = OwnSentOutput(many=True)
    messages = OwnMessagesOutput(many=True)
    received = OwnReceivedOutput(many=True)
    record_fields = FieldOutput(many=True)
    document_fields = FieldOutput(many=True)
    delays = DelayOutput(many=True)
    feed_delays = FeedDelayOutput(many=True)
    records = serializers.DictField(child=serializers.IntegerField(allow_null=True))
    months_told = serializers.ListField(child=serializers.CharField())
    asked_for = AskedForOutput(many=True)
    may_ask = MayAskOutput(many=True)
