"""One decision explained from its record: the rules in order, which fired and why, in words of the reader's language.

To the patient: of her own record, in plain words, only documents she may see now. To a participant: of its own
requests, what was shown and what follows from itself; a request that hit hidden documents reads like one that hit
none. To the hub's staff who may read patients' choices: everything.

Source: spec/consent.md 14 "Explain", 14.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.utils import translation
from django.utils.translation import gettext

from consent import explain, jurisdictions
from consent.explain import Audience
from consent.replay import MissingVersion
from documents import queries as registry
from hie.audit import queries as audit
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.audit.values import AuditQuery, EventRecord
from hie.directory import queries as directory
from hie.exchange import access, access_log, access_log_words, audit_search, release, replay, withheld_names
from hie.exchange.access import RuleTried, Staff
from hie.exchange.decision_record import Decided, decided_of
from hie.exchange.errors import NotFound
from hie.standards.facts import Caller, Operation

__all__ = ["LANGUAGES", "Explained", "ExplainedDocument", "ExplainedRule", "explain_decision", "explain_for_staff"]

LANGUAGES: Mapping[Audience, tuple[str, ...]] = {
    Audience.PATIENT: ("en", "es", "ar"),
    Audience.PARTICIPANT: explain.languages(Audience.PARTICIPANT),
    Audience.ADMINISTRATOR: explain.languages(Audience.ADMINISTRATOR),
}
_GATE = ("G1", "G2", "G4", "G5", "G6", "G7")
_NO_LOOKS = frozenset(
    {
        EventType.TOKEN_ISSUED, EventType.TOKEN_REFUSED, EventType.TOKEN_INTROSPECTED, EventType.LOGIN, EventType.LOGIN_FAILED,
        EventType.LOGOUT, EventType.AUDIT_RECEIVED, EventType.AUDIT_EXPORT, EventType.AUDIT_SEARCH, EventType.DECISION_EXPLAINED,
    }
)  # fmt: skip
"""Kinds of a participant's own events that decide on no document, so that there is nothing to explain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRule:
    """One rule in its place: whether it fired, and in one sentence why (not). `basis` for staff only."""

    rule: str
    reason: str
    fired: bool
    why: str
    basis: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedDocument:
    """One document: what was decided, in one sentence why, and the rules as they were tried (as far as they may be told)."""

    document_id: str
    decision: str
    rule: str
    reason: str
    sentence: str
    obligations: tuple[str, ...] = ()
    basis: tuple[Mapping[str, str], ...] = ()
    rules: tuple[ExplainedRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A decision: what was asked, what came of it, in words. `documents` only those that this reader may know of."""

    id: str
    at: Any
    audience: str
    language: str
    organization: str
    purpose: str
    role: str
    sentence: str
    rules: tuple[ExplainedRule, ...] = ()
    documents: tuple[ExplainedDocument, ...] = ()


@release.point
def explain_decision(decision_id: str, *, caller: Caller, language: str = "en", raw: str = "") -> Explained:
    """Explain one decision to the patient whom it was about, or to the participant that asked; recorded.

    `language` falls back to English where there are no words.

    Raises:
        AccessRefused: what follows from the caller alone.
        NotFound: no such decision for this caller.
    """
    with recorder.recording(EventType.DECISION_EXPLAINED, caller, query=raw or None) as event:
        access.gate(caller, Operation.QUERY)
        found = _event(decision_id)
        if found is None:
            raise NotFound("no such decision")
        if caller.role == "patient":
            told = _to_patient(found, caller, language, event)
        elif caller.role == "proxy" or not _is_own(found, caller):
            raise NotFound("no such decision")
        else:
            told = _to_participant(found, caller, language)
        event.note(detail={"decision": found.id})
        event.commit()
    return told


def explain_for_staff(decision_id: str, staff: Staff, *, reason: str, language: str = "en") -> Explained:
    """Explain one decision in full to the hub's staff who may look at documents and choices; the patient finds the look in the log.

    Raises:
        NotFound: no such decision.
        AccessRefused, BadRequest: as `access.administrative`.
    """
    found = _event(decision_id)
    if found is None or not found.decision:
        raise NotFound("no such decision")
    access.administrative_decisions(staff, [found.person_id], reason=reason, detail={"decision explained": found.id})
    return _told(found, Audience.ADMINISTRATOR, language, _documents(found, Audience.ADMINISTRATOR, language, None))


def _event(decision_id: str) -> EventRecord | None:
    try:
        wanted = str(UUID(decision_id))
    except ValueError:
        return None
    events = audit.search(AuditQuery(ids=(wanted,), limit=1)).events
    return events[0] if events else None


def _is_own(found: EventRecord, caller: Caller) -> bool:
    held = directory.snapshot()
    mine = found.organization in access_log.tree(held, held.root_of(caller.organization_id))
    return mine and found.type not in _NO_LOOKS


# --- whom it is told ----------------------------------------------------------------------------------------------------


def _to_patient(found: EventRecord, caller: Caller, language: str, event: recorder.Recording) -> Explained:
    kind, _, identifier = caller.user_id.partition("/")
    if not found.person_id or not found.decision or kind != "Patient":
        raise NotFound("no such decision")
    about = access.subject(found.person_id)
    # Who is too young for the record is too young for its decisions: the door says so of the record itself.
    known = access.permitted(caller, about, access.demographics_rows(about.records), Operation.QUERY)
    if identifier not in about.facts.ids or not known.permitted:
        raise NotFound("no such decision")
    event.about(about.person_id)
    (found,) = withheld_names.told([found], withheld_names.in_force(), person_id=about.person_id)
    ids = [row[0] for row in found.decision.get("documents", ())]
    entries = registry.entries_by_uuid([one for one in ids if registry.as_uuid(one) is not None])
    verdict = access.permitted(caller, about, list(entries.values()), Operation.QUERY)
    seen = {registry.bare_uuid(row.entry_uuid) for row in verdict.rows()}
    seen |= {str(row.record.source_record_id) for row in known.rows()}
    documents = _documents(found, Audience.PATIENT, language, seen)
    return _told(found, Audience.PATIENT, language, documents)


def _to_participant(found: EventRecord, caller: Caller, language: str) -> Explained:
    """What was shown, with the one rule of each, and the rules about the asker alone: equal for hidden and absent."""
    language = _language(Audience.PARTICIPANT, language)
    refused = audit_search.refused_at_gate(found)
    words = _Words(found, Audience.PARTICIPANT, language)
    documents = tuple(
        ExplainedDocument(
            document_id=one.document_id,
            decision="permit",
            rule=one.rule,
            reason=one.reason,
            sentence=words.of(one.rule, one.custodian, ()),
            obligations=tuple(one.obligations),
        )
        for one in found.disclosures
        if one.rule and one.what != "query"
    )
    itself = (found.organization, found.user, found.role) == (caller.organization_id, caller.user_id, caller.role)
    if found.type in (EventType.CONSENT_DECISION, EventType.DECISION_SIMULATED) and not found.outcome and itself:
        documents = _told_already(found, words)
    rules: list[ExplainedRule] = []
    for rule in _GATE:
        fired = rule == refused
        why = words.of(rule, "", ()) if fired else explain.passed(rule, language)
        rules.append(ExplainedRule(rule=rule, reason=found.reason if fired else "", fired=fired, why=why))
        if fired:
            break
    sentence = (
        documents[0].sentence if documents else words.of(refused, "", ()) if refused else explain.nothing(language)
    )
    return replace(_told(found, Audience.PARTICIPANT, language, documents), rules=tuple(rules), sentence=sentence)


def _told_already(found: EventRecord, words: _Words) -> tuple[ExplainedDocument, ...]:
    """The record of a question about decisions holds what its asker was told, and nothing else: to be told to him alone."""
    try:
        decided = decided_of(found.decision) if found.decision else []
    except ValueError:
        return ()
    return tuple(
        ExplainedDocument(
            document_id=one.facts.id,
            decision=one.decision.outcome,
            rule=one.decision.rule,
            reason=one.decision.reason,
            sentence=words.of(one.decision.rule, one.facts.custodian, ()),
            obligations=one.decision.obligations,
        )
        for one in decided
    )


def _documents(
    found: EventRecord, audience: Audience, language: str, seen: set[str] | None
) -> tuple[ExplainedDocument, ...]:
    """The documents of the record, all or only `seen` ones, by UUID or as the source record of demographics.

    What an enforcement point stated is nothing of this hub, whatever its id says: nobody can say that it may be seen.
    """
    language = _language(audience, language)
    words = _Words(found, audience, language)
    try:
        then = replay.as_then(found.decision)
    except (ValueError, MissingVersion):
        then = None
    made = []
    stated = found.decision.get("stated", ())
    for n, one in enumerate(then.decided if then is not None else ()):
        if seen is not None and (n in stated or _held_as(one.facts.id) not in seen):
            continue
        tried = access.traced(then.world, then.request.alternatives, one.facts) if then is not None else ()
        made.append(_document(one, tried, audience, words))
    return tuple(made)


def _held_as(document_id: str) -> str:
    """A document's own id; of demographics the source record's, whatever the person is called by now."""
    return document_id.rpartition("#")[2] if document_id.startswith("Patient/") else document_id


def _document(one: Decided, tried: Sequence[RuleTried], audience: Audience, words: _Words) -> ExplainedDocument:
    full = audience is Audience.ADMINISTRATOR
    custodian, decision = one.facts.custodian, one.decision
    consents = [item.id for item in decision.basis if item.kind == "consent"]
    sentence = words.of(decision.rule, custodian, consents)
    return ExplainedDocument(
        document_id=one.facts.id,
        decision=decision.outcome,
        rule=decision.rule,
        reason=decision.reason,
        sentence=sentence,
        obligations=decision.obligations,
        basis=tuple(_item(item) for item in decision.basis) if full else (),
        rules=tuple(
            ExplainedRule(
                rule=rule.rule,
                reason=rule.reason,
                fired=rule.fired,
                why=sentence if rule.fired else words.passed(rule.rule),
                basis=tuple(_item(item) for item in rule.basis) if full else (),
            )
            for rule in tried
        ),
    )


def _item(item: Any) -> Mapping[str, str]:
    told = {"kind": item.kind, "id": item.id, "version": item.version, "path": item.path}
    return {name: value for name, value in told.items() if value}


def _told(found: EventRecord, audience: Audience, language: str, documents: tuple[ExplainedDocument, ...]) -> Explained:
    language = _language(audience, language)
    # A decision that was asked for another names that one as the requester.
    said: Mapping[str, Any] = found.decision.get("request", {}) if audience is not Audience.PARTICIPANT else {}
    return Explained(
        id=found.id,
        at=found.at,
        audience=audience.value,
        language=language,
        organization=_name(str(said.get("org") or found.organization)),
        purpose=str(said.get("purpose") or found.purpose),
        role=str(said.get("role") or found.role),
        sentence=documents[0].sentence if documents else explain.nothing(language),
        documents=documents,
    )


def _language(audience: Audience, wanted: str) -> str:
    short = wanted.partition("-")[0].lower()
    return short if short in LANGUAGES[audience] else "en"


def _name(participant_id: str) -> str:
    facts = directory.participant(participant_id)
    return facts.name if facts is not None and facts.name else participant_id


class _Words:
    """Sentences of one event in one language, with names as they are called now and choices as they were dated then."""

    def __init__(self, found: EventRecord, audience: Audience, language: str) -> None:
        self._found = found
        self._audience = audience
        self._language = language
        self._places: dict[str, Mapping[str, Any]] | None = None

    def of(self, rule: str, custodian: str, consents: Sequence[str]) -> str:
        """The sentence of a rule that fired."""
        found, audience = self._found, self._audience
        # A participant's words rest on nothing but what it sent and saw: hidden and absent read alike.
        said: Mapping[str, Any] = {} if audience is Audience.PARTICIPANT else found.decision.get("request", {})
        person = found.user_name if said.get("user") in (None, found.user) else ""
        organization = _name(str(said.get("org") or found.organization))
        holder = _name(custodian) if custodian else ""
        with translation.override(self._language):
            template = explain.template(rule, audience, self._language)
            if audience is Audience.PATIENT:
                template = gettext(template)
            parameters = {
                "p": person or (gettext("This person") if audience is Audience.PATIENT else ""),
                "o": holder if rule in ("P1", "G3") and audience is Audience.PATIENT else organization,
                "o2": holder,
                "w": gettext(explain.purpose_words(str(said.get("purpose") or found.purpose))),
                "c": self._choice(consents),
                "n": self._age(custodian),
                "jurisdiction": self._place(custodian),
                "reason": str(found.words.get("text", "")).rstrip(".") or gettext("emergency"),
            }
            return explain.fill(template, parameters, self._language)

    def passed(self, rule: str) -> str:
        """Why a rule did not fire."""
        return explain.passed(rule, self._language)

    def _choice(self, consents: Sequence[str]) -> str:
        dates = self._found.decision.get("choices", {})
        made = next((str(dates[one])[:10] for one in consents if isinstance(dates, Mapping) and dates.get(one)), "")
        if not made:
            return gettext("your choice")
        return gettext("your choice of {date}").format(
            date=access_log_words.day_words(made) if self._language == "en" else made
        )

    def _law(self, code: str) -> Mapping[str, Any]:
        if self._places is None:
            self._places = dict(jurisdictions.in_effect(self._found.at))
        return self._places.get(code, {})

    def _place(self, custodian: str) -> str:
        held = directory.snapshot()
        if not custodian or custodian not in held.participants:
            return ""
        code = held.jurisdiction_of(custodian)
        law = self._law(code)
        return str(law.get("name") or law.get("title") or code)

    def _age(self, custodian: str) -> str:
        law = self._law(str(self._found.decision.get("jurisdiction") or ""))
        age = law.get("confidentialAge", law.get("majorityAge"))
        return str(age) if isinstance(age, int) else ""
