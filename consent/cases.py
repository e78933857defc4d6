"""Worked consent cases: a fixture and cases as JSON, to decisions as JSON.

The form is that of `spec/consent.md` section 20. Pure: no database, no clock.
Only what decides is read; an `expected` or `why` beside it never is. A case that
cannot be used is a deny G1; a part of a fixture that cannot be used is not there.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from consent import engine
from consent.engine import time
from hie.standards.facts import (
    AgreementFacts,
    BreakGlassGrant,
    Decision,
    DocumentFacts,
    ParticipantFacts,
    ProxyGrant,
    ReleaseRule,
    RequestFacts,
    SubjectFacts,
)

JSON = Mapping[str, Any]
Value = TypeVar("Value")

KEPT_OVERRIDES: Final = 256
_SPACE: Final = re.compile(r"[ \t\n\r]*")


class Unusable(ValueError):
    """A part of a case or fixture has the wrong shape; the message names the member."""


class CaseFile:
    """The text of a case file, read through once; its cases are decoded one at a time, as they are asked for.

    Raises:
        Unusable: there is no object `fixture` or no list `cases`.
        ValueError: the text is not JSON.
        RecursionError: it is nested too deep to be read.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._decoder = json.JSONDecoder()
        self._cases_at: int | None = None
        fixture: object = None
        for member, at in self._members():
            if member == "fixture":
                fixture = self._value(at)[0]
            elif member == "cases":
                self._cases_at = at if text.startswith("[", at) else None
        if not isinstance(fixture, Mapping):
            raise Unusable("no object `fixture`")
        if self._cases_at is None:
            raise Unusable("no list `cases`")
        self.fixture = fixture

    def cases(self) -> Iterator[object]:
        """The cases, in order."""
        if self._cases_at is not None:
            for case, _ in self._elements(self._cases_at):
                yield case

    def _members(self) -> Iterator[tuple[object, int]]:
        """Each member of the whole, with where its value begins; all of the text is checked on the way."""
        at = self._skip(0)
        if not self._text.startswith("{", at):
            self._value(at)
            raise Unusable("no object `fixture`")
        at = self._after("{", at)
        while not self._text.startswith("}", at):
            member, at = self._value(at)
            if not isinstance(member, str):
                raise ValueError("a name is not text")
            begin = at = self._after(":", at)
            if member == "cases" and self._text.startswith("[", at):
                ends = (end for _, end in self._elements(begin))
                at = self._after("]", max(ends, default=self._after("[", begin)))
            else:
                _, at = self._value(at)
            yield member, begin
            if not self._text.startswith("}", at):
                at = self._after(",", at)
                if self._text.startswith("}", at):
                    raise ValueError("a comma before the end of an object")
        if self._after("}", at) != len(self._text):
            raise ValueError("more after the end")

    def _elements(self, at: int) -> Iterator[tuple[object, int]]:
        """Each value of the list that begins here, with where reading goes on after it."""
        at = self._after("[", at)
        while not self._text.startswith("]", at):
            value, at = self._value(at)
            yield value, at
            if not self._text.startswith("]", at):
                at = self._after(",", at)
                if self._text.startswith("]", at):
                    raise ValueError("a comma before the end of a list")

    def _value(self, at: int) -> tuple[object, int]:
        value, end = self._decoder.raw_decode(self._text, at)
        return value, self._skip(end)

    def _after(self, mark: str, at: int) -> int:
        if not self._text.startswith(mark, at):
            raise ValueError(f"no {mark} at {at}")
        return self._skip(at + 1)

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        return space.end() if space else at


class Fixture:
    """A fixture and its overrides, each compiled where a case asks.

    An override costs what it changes: everything else is shared with the fixture. The
    last `KEPT_OVERRIDES` are kept, so cases by the hundred thousand need no more memory.
    """

    def __init__(self, data: JSON) -> None:
        self._plain = _Compiled(data)
        self._kept: OrderedDict[str, _Compiled] = OrderedDict()

    def policy(self, override: object) -> tuple[engine.Policy, JSON]:
        """(policy, patients) of the fixture with one case's override merged in.

        Raises:
            Unusable: override or code tables cannot be read.
        """
        if override is not None and not isinstance(override, Mapping):
            raise Unusable("fixtureOverride")
        if not override:
            return self._plain.usable()
        key = json.dumps(override, sort_keys=True)
        compiled = self._kept.get(key)
        if compiled is None:
            compiled = self._kept[key] = self._plain.overridden(override)
            if len(self._kept) > KEPT_OVERRIDES:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return compiled.usable()


_TABLES: Final = frozenset({"purposeParent", "labelParent", "labelMayMean", "labelFloor", "roles", "hub"})
_NOTHING: Final[frozenset[str]] = frozenset()


class _Compiled:
    """A fixture whose organizations and jurisdictions are read when first asked for.

    `base` is the fixture it overrides, of which it uses all that the override leaves as it is.
    """

    def __init__(self, data: JSON, *, base: _Compiled | None = None, override: JSON | None = None) -> None:
        override = override or {}
        self._data = data
        # The code tables of the fixture, where the override changes none of them.
        self._tables_from = base if not _TABLES & override.keys() else None
        self._tables: engine.Tables | None = None
        laws, organizations = (_changed(override, member) for member in ("jurisdictions", "organizations"))
        self._laws: _Laws = _Laws(data.get("jurisdictions"), base._laws if base is not None else None, laws)
        self._organizations: _Organizations = _Organizations(
            data.get("organizations"), base._organizations if base is not None else None, organizations
        )
        shared = base is not None and laws is not None and organizations is not None
        self._participants: _Participants = _Participants(
            self._organizations, self._laws, base._participants if base is not None and shared else None
        )

    def overridden(self, override: JSON) -> _Compiled:
        """This fixture with an override merged in: objects merge, other values replace."""
        return _Compiled(_Merged(self._data, override), base=self, override=override)

    def usable(self) -> tuple[engine.Policy, JSON]:
        """(policy, patients); an organization or jurisdiction that cannot be read is unknown.

        Raises:
            Unusable: the code tables, organizations, jurisdictions or patients are not objects.
        """
        *_, patients = (_object(self._data, member) for member in ("organizations", "jurisdictions", "patients"))
        policy = engine.Policy(participants=self._participants, jurisdictions=self._laws, tables=self._code_tables())
        return policy, patients

    def _code_tables(self) -> engine.Tables:
        if self._tables_from is not None:
            return self._tables_from._code_tables()
        if self._tables is None:
            try:
                self._tables = engine.Tables.from_json(self._data)
            except ValueError as problem:
                raise Unusable(str(problem)) from problem
        return self._tables


def _changed(override: JSON, member: str) -> frozenset[str] | None:
    """The names within a member of the fixture that an override changes; None: it puts another member there."""
    if member not in override:
        return _NOTHING
    part = override[member]
    return frozenset(part) if isinstance(part, Mapping) else None


class _Lazily(Mapping[str, Value]):
    """Values made when first asked for; what cannot be made is not there."""

    def __init__(self) -> None:
        self._made: dict[str, Value] = {}

    @abstractmethod
    def _make(self, key: str) -> Value | None:
        """The value of a key, None where there is none."""

    def __getitem__(self, key: str) -> Value:
        value = self._made.get(key)
        if value is None:
            value = self._make(key)
            if value is None:
                raise KeyError(key)
            self._made[key] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


class _Laws(_Lazily[engine.Jurisdiction]):
    """Jurisdictions by code."""

    def __init__(self, data: object, base: _Laws | None, changed: frozenset[str] | None) -> None:
        super().__init__()
        self._data: JSON = data if isinstance(data, Mapping) else {}
        self._base = base if changed is not None else None
        self.changed = changed or _NOTHING

    def _make(self, key: str) -> engine.Jurisdiction | None:
        if self._base is not None and key not in self.changed:
            return self._base.get(key)
        try:
            return engine.compile_jurisdiction(key, self._data.get(key))
        except ValueError:
            return None


class _Organizations(_Lazily[ParticipantFacts]):
    """Organizations by id, as registered."""

    def __init__(self, data: object, base: _Organizations | None, changed: frozenset[str] | None) -> None:
        super().__init__()
        self._data: JSON = data if isinstance(data, Mapping) else {}
        self._base = base if changed is not None else None
        self.changed = changed or _NOTHING

    def _make(self, key: str) -> ParticipantFacts | None:
        if self._base is not None and key not in self.changed:
            return self._base.get(key)
        try:
            return participant_from(key, self._data.get(key))
        except Unusable:
            return None


class _Participants(_Lazily[engine.Participant]):
    """Organizations by id, with what they inherit and the law they are under."""

    def __init__(self, organizations: _Organizations, laws: _Laws, base: _Participants | None) -> None:
        super().__init__()
        self._organizations = organizations
        self._laws = laws
        self._base = base

    def _make(self, key: str) -> engine.Participant | None:
        if self._base is not None and self._untouched(key):
            return self._base.get(key)
        return engine.compile_participant(key, self._organizations, self._laws)

    def _untouched(self, identifier: str) -> bool:
        """Whether the override changes neither an organization, nor one above it, nor their law."""
        seen: set[str] = set()
        current: str | None = identifier
        while current is not None and current not in seen:
            seen.add(current)
            facts = self._organizations.get(current)
            if current in self._organizations.changed or facts is None or facts.jurisdiction in self._laws.changed:
                return False
            current = facts.part_of
        return True


class _Merged(Mapping[str, Any]):
    """An object with an override over it, merged member by member as it is read; both stay as they are."""

    def __init__(self, base: JSON, override: JSON) -> None:
        self._base = base
        self._override = override

    def __getitem__(self, key: str) -> Any:
        if key not in self._override:
            return self._base[key]
        value, before = self._override[key], self._base.get(key)
        return _Merged(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else value

    def __iter__(self) -> Iterator[str]:
        yield from self._base
        yield from (key for key in self._override if key not in self._base)

    def __len__(self) -> int:
        return len(self._base.keys() | self._override.keys())


def compile_fixture(data: JSON) -> tuple[engine.Policy, JSON]:
    """(policy, patients) of a fixture.

    Raises:
        Unusable: the code tables, organizations, jurisdictions or patients are not objects.
    """
    return Fixture(data).policy(None)


def decide_case(case: object, fixture: Fixture) -> dict[str, Any]:
    """The answer to one case, as one JSON object; never raises."""
    identifier = case.get("id") if isinstance(case, Mapping) else None
    if not isinstance(case, Mapping):
        return {"id": identifier, **_answer(_UNUSABLE)}
    try:
        prepared = prepare(case, fixture)
    except (Unusable, RecursionError):
        prepared = None
    if "documents" not in case:
        return {"id": identifier, **_answer(_decide_document(prepared, case.get("document")))}
    documents = case["documents"]
    answers: dict[str, Any] = {}
    for index, document in enumerate(documents if isinstance(documents, list) else []):
        name = document.get("id") if isinstance(document, Mapping) else None
        name = name if isinstance(name, str) else f"documents[{index}]"
        answers[name] = _answer(_decide_document(prepared, document))
    outcomes = {one["decision"] for one in answers.values()}
    together = "partial" if len(outcomes) > 1 else next(iter(outcomes), "deny")
    return {"id": identifier, "decision": together, "documents": answers}


_UNUSABLE = Decision(permitted=False, rule="G1", reason="invalid-request")


def _answer(decision: Decision) -> dict[str, Any]:
    return {
        "decision": decision.outcome,
        "rule": decision.rule,
        "reason": decision.reason,
        "obligations": list(decision.obligations),
    }


def _decide_document(prepared: engine.Prepared | None, document: object) -> Decision:
    try:
        return prepared.decide(document_from(document)) if prepared is not None else _UNUSABLE
    except (Unusable, RecursionError):
        return _UNUSABLE


def prepare(case: JSON, fixture: Fixture) -> engine.Prepared:
    """A case's request and patient, ready to decide its documents.

    Raises:
        Unusable: now, patient, consents or request cannot be read.
    """
    policy, patients = fixture.policy(case.get("fixtureOverride"))
    subject = subject_from(case.get("patient"), patients)
    consents = case.get("consents")
    if not isinstance(consents, list):
        raise Unusable("consents")
    directives = [
        engine.compile_directive(resource, directive_id=_consent_id(resource, index), patient_ids=subject.ids)
        for index, resource in enumerate(consents)
    ]
    patient = engine.compile_patient(subject, directives)
    return engine.Prepared(request_from(case.get("request")), patient, policy, now=_instant(case, "now"))


def _consent_id(resource: object, index: int) -> str:
    identifier = resource.get("id") if isinstance(resource, Mapping) else None
    return identifier if isinstance(identifier, str) else f"consents[{index}]"


def subject_from(identifier: object, patients: JSON) -> SubjectFacts:
    """The patient of a case.

    Raises:
        Unusable: no such patient, or its jurisdiction or linked ids cannot be read.
    """
    data = patients.get(identifier) if isinstance(identifier, str) else None
    if not isinstance(identifier, str) or not isinstance(data, Mapping):
        raise Unusable("patient")
    birth_date = data.get("birthDate")
    return SubjectFacts(
        id=identifier,
        # A birth date that is no text is an unreadable one: the engine refuses where age matters.
        birth_date=birth_date if isinstance(birth_date, str) else None,
        jurisdiction=_text(data, "jurisdiction"),
        linked=frozenset(_texts(data, "linked")),
    )


def request_from(data: object) -> RequestFacts:
    """The request of a case; a grant that cannot be read is no grant.

    Raises:
        Unusable: not an object, or the care teams cannot be read.
    """
    if not isinstance(data, Mapping):
        raise Unusable("request")
    relationship = data.get("relationship")
    return RequestFacts(
        organization=_word(data, "org"),
        user=_word(data, "user"),
        role=_word(data, "role"),
        purpose=_word(data, "purpose"),
        operation=_word(data, "operation"),
        relationship=relationship if isinstance(relationship, str) else None,
        care_teams=_texts(data, "careTeams"),
        break_glass=_break_glass(data.get("breakGlass")),
        proxy_grant=_proxy_grant(data.get("proxyGrant")),
    )


def _break_glass(data: object) -> BreakGlassGrant | None:
    if not isinstance(data, Mapping):
        return None
    try:
        return BreakGlassGrant(
            id=_text(data, "id") or "",
            user=_text(data, "user") or "",
            organization=_text(data, "org") or "",
            patient=_text(data, "patient") or "",
            start=_instant(data, "start"),
            end=_instant(data, "end"),
            status=_text(data, "status") or "",
            reason=_text(data, "reason") or "",
            text=_text(data, "text") or "",
        )
    except Unusable:
        return None


def _proxy_grant(data: object) -> ProxyGrant | None:
    if not isinstance(data, Mapping):
        return None
    try:
        period = _optional_object(data, "period")
        return ProxyGrant(
            id=_text(data, "id") or "",
            person=_text(data, "person") or "",
            patient=_text(data, "patient") or "",
            kind=_text(data, "kind") or "",
            status=_text(data, "status") or "",
            max_confidentiality=_text(data, "maxConfidentiality"),
            start=_text(period, "start"),
            end=_text(period, "end"),
        )
    except Unusable:
        return None


def document_from(data: object) -> DocumentFacts:
    """A document of a case, its sources included.

    Raises:
        Unusable: a member has the wrong shape.
    """
    if not isinstance(data, Mapping):
        raise Unusable("document")
    labelled = data.get("labelled", True)
    if not isinstance(labelled, bool):
        raise Unusable("labelled")
    sources = data.get("derivedFrom", [])
    if not isinstance(sources, list):
        raise Unusable("derivedFrom")
    return DocumentFacts(
        id=_text(data, "id") or "",
        patient=_text(data, "patient") or "",
        custodian=_text(data, "custodian") or "",
        authors=_texts(data, "authors"),
        classes=frozenset(_texts(data, "class")),
        codes=frozenset(_texts(data, "codes")),
        confidentiality=_text(data, "confidentiality"),
        labels=frozenset(_texts(data, "labels")),
        labelled=labelled,
        service_start=_text(data, "serviceStart"),
        service_stop=_text(data, "serviceStop"),
        created=_text(data, "created"),
        encounter=_text(data, "encounter"),
        related=_texts(data, "related"),
        depends_on=_texts(data, "dependsOn"),
        derived_from=tuple(document_from(one) for one in sources),
    )


def participant_from(identifier: str, data: object) -> ParticipantFacts:
    """An organization of a fixture.

    Raises:
        Unusable: a member has the wrong shape.
    """
    if not isinstance(data, Mapping):
        raise Unusable(identifier)
    agreement = data.get("agreement")
    if agreement is not None and not isinstance(agreement, Mapping):
        raise Unusable("agreement")
    return ParticipantFacts(
        id=identifier,
        part_of=_text(data, "partOf"),
        type=_text(data, "type"),
        jurisdiction=_text(data, "jurisdiction"),
        status=_text(data, "status") or "active",
        agreement=agreement_from(agreement) if agreement is not None else None,
        part2_program=_flag(data, "part2Program"),
        requires_relationship=_flag(data, "requiresRelationship"),
        release_policy=tuple(release_rule_from(one) for one in _objects(data, "releasePolicy")),
        identifiers=tuple(
            f"{_text(one, 'system') or ''}|{_text(one, 'value') or ''}" for one in _objects(data, "identifiers")
        ),
    )


def agreement_from(data: JSON) -> AgreementFacts:
    """A participation agreement of a fixture.

    Raises:
        Unusable: a member has the wrong shape.
    """
    period = _optional_object(data, "period")
    return AgreementFacts(
        status=_text(data, "status") or "",
        start=_text(period, "start"),
        end=_text(period, "end"),
        purposes=_texts(data, "purposes"),
        obligations=_texts(data, "obligations"),
    )


def release_rule_from(data: JSON) -> ReleaseRule:
    """A release rule of a fixture or registration.

    Raises:
        Unusable: a member has the wrong shape.
    """
    return ReleaseRule(
        id=_text(data, "id") or "",
        absolute=bool(_flag(data, "absolute")),
        purposes=_texts(data, "purposes"),
        recipient_types=_texts(data, "recipientTypes"),
        recipients=_texts(data, "recipients"),
        except_recipients=_texts(data, "exceptRecipients"),
        labels=_texts(data, "labels"),
        classes=_texts(data, "classes"),
        codes=_texts(data, "codes"),
        min_confidentiality=_text(data, "minConfidentiality"),
    )


# --- shapes


def _object(data: JSON, member: str) -> JSON:
    value = data.get(member)
    if not isinstance(value, Mapping):
        raise Unusable(member)
    return value


def _optional_object(data: JSON, member: str) -> JSON:
    return {} if data.get(member) is None else _object(data, member)


def _objects(data: JSON, member: str) -> list[JSON]:
    value = data.get(member)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise Unusable(member)
    return value


def _word(data: JSON, member: str) -> str | None:
    value = data.get(member)
    return value if isinstance(value, str) else None


def _text(data: JSON, member: str) -> str | None:
    value = data.get(member)
    if value is not None and not isinstance(value, str):
        raise Unusable(member)
    return value


def _texts(data: JSON, member: str) -> tuple[str, ...]:
    value = data.get(member)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise Unusable(member)
    return tuple(value)


def _flag(data: JSON, member: str) -> bool | None:
    value = data.get(member)
    if value is not None and not isinstance(value, bool):
        raise Unusable(member)
    return value


def _instant(data: JSON, member: str) -> datetime:
    """An instant: date, time to the minute at least, and offset."""
    text = _text(data, member)
    if text is None or "T" not in text:
        raise Unusable(member)
    try:
        return time.interval(text, "UTC")[0].astimezone(UTC)
    except time.UnreadableDate as problem:
        raise Unusable(member) from problem
