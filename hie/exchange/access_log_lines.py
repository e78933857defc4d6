"""Lines of the patient's access log, made from events. Pure: values in, values out.

A line is a sentence by key with its values (a translation fills its own template),
never words put together. Looks of one person for one reason close to one another
are one line. What a viewer may not see is taken out before (`hie.exchange.access_log`).

Source: spec/consent.md 14.1 and 15; words of `ui/README.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from hie.audit.kinds import EventType
from hie.audit.values import DisclosureRecord, EventRecord, NameWithheld

GROUP_WINDOW = timedelta(minutes=30)
GROUP_MAX = 200
HUB = "hub"


class Seen(StrEnum):
    """What came of it: the shape and badge of the line."""

    SEEN = "seen"
    PARTLY = "partly"
    REFUSED = "refused"
    EMERGENCY = "emergency"


class ActorKind(StrEnum):
    """Who acted; `YOU` is the viewer, whoever that is."""

    PERSON = "person"
    ORGANIZATION = "organization"
    SYSTEM = "system"
    YOU = "you"
    PATIENT = "patient"  # the patient, seen by a helper
    HELPER = "helper"
    STAFF = "staff"


class Verb(StrEnum):
    """What was done, in the words of the log."""

    OPENED = "opened"
    LOOKED_AT = "looked-at"
    ASKED_FOR = "asked-for"
    LOOKED_UP = "looked-up"
    SENT = "sent"
    ADDED = "added"
    CHANGED = "changed"
    READ_LOG = "read-log"
    DECLARED = "declared"


class Part(StrEnum):
    """The tabs of the log; `EVERYONE` is all but what no person did."""

    EVERYONE = "everyone"
    PEOPLE = "people"
    OWN = "own"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """The reader. `role_words` like "doctor"; `name` "" when the place alone is known, or a law holds it back (`withheld`)."""

    kind: ActorKind
    name: str = ""
    role: str = ""
    role_words: str = ""
    organization_id: str = ""
    organization: str = ""
    withheld: NameWithheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One document (or look) within a line. `title` "" where it is withheld from the patient for now."""

    at: datetime
    event_id: str
    document_id: str = ""
    title: str = ""
    kind: str = ""
    custodian: str = ""
    what: str = ""
    rule: str = ""
    withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSentence:
    """The second sentence: key (the rule) and what fills it; see `consent.explain.patient_sentence`."""

    rule: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of the log. `at` is the newest look in it, `first_at` the oldest, `count` how many.

    `sentence` is a key of `SENTENCES`, filled from `values`; `purpose` a code and
    `purpose_words` its words; `relay` the community that passed the request on;
    `obligations` went along with what was shown; `detail` is one step deeper.
    """

    id: str
    at: datetime
    first_at: datetime
    count: int
    who: Who
    verb: Verb
    sentence: str
    values: Mapping[str, str]
    kind_of_information: str
    purpose: str
    purpose_words: str
    seen: Seen
    part: Part
    rule: RuleSentence | None = None
    quotation: str = ""
    relay: str = ""
    on_behalf_of: str = ""
    items: tuple[Item, ...] = ()
    obligations: tuple[str, ...] = ()
    event_ids: tuple[str, ...] = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


PURPOSE_WORDS: dict[str, str] = {
    "TREAT": "to treat you",
    "HPAYMT": "to decide on a payment",
    "HOPERAT": "to run the hospital",
    "HRESCH": "for research",
    "PUBHLTH": "for public health",
    "BTG": "in an emergency",
    "ETREAT": "to treat you",
    "PATRQT": "because you asked",
    "HLEGAL": "for a court",
    "HMARKT": "for advertising",
}

ROLE_WORDS: dict[str, str] = {
    "physician": "doctor",
    "nurse": "nurse",
    "paramedic": "ambulance staff",
    "pharmacist": "pharmacist",
    "clerk": "office staff",
    "billing": "billing staff",
    "quality": "quality staff",
    "researcher": "researcher",
    "public-health-officer": "public health officer",
    "investigator": "investigator",
    "patient": "patient",
    "proxy": "helper",
    "steward": "records staff",
    "privacy-officer": "privacy officer",
    "onboarding": "office staff",
    "auditor": "auditor",
    "operator": "technical staff",
    "administrator": "administrator",
}

# One template a key; {who} is already "name, role at place" in its own template WHO. English, the source of translations.
SENTENCES: dict[str, str] = {
    "opened.one": "{who} opened your {kind} {why}.",
    "opened.many": "{who} opened {count} of your documents {why}.",
    "opened.withheld": "{who} opened one of your documents {why}.",
    "looked-at.none": "{who} looked for documents about you {why}. There were none to show.",
    "looked-at.one": "{who} looked at the entry of your {kind} {why}.",
    "looked-at.many": "{who} looked at the list of {count} of your documents {why}.",
    "looked-at.record": "{who} looked at your record {why}.",
    "asked-for.documents": "{who} asked for your documents {why}. Nothing was shown.",
    "asked-for.record": "{who} asked for your record {why}. Nothing was shown.",
    "looked-up": "{who} looked you up {why}.",
    "looked-up.refused": "{who} tried to look you up {why}. Nothing was shown.",
    "sent.question": "{who} asked {recipient} about you {why}. Your name and date of birth were sent.",
    "sent.withheld": "{who} wanted to ask {recipient} about you {why}. Nothing was sent.",
    "sent.documents": "{who} sent {count} of your documents to {recipient} {why}.",
    "sent.notice": "{who} sent a notice about you to {recipient} {why}.",
    "asked.decision": "{who} asked us who may see your record {why}. Nothing of it was shown.",
    "tried.decision": "{who} looked at who could see your record.",
    "read.decision": "{who} read why your record was shown or not.",
    "added.documents": "{who} added documents to your record.",
    "added.refused": "{who} tried to add to your record. It was not taken in.",
    "added.person": "{who} added or updated your name and contact data.",
    "added.choice": "{who} saved a choice about your record.",
    "changed.choice": "{who} took back a choice about your record.",
    "changed.record": "{who} changed your record: {what}.",
    "read-log": "{who} read this log.",
    "declared": "{who} said that there is an emergency, to see more of your record.",
    "staff": "{who} looked at your record: {what}.",
    "automatic": "{who} worked on your record: {what}.",
    "chose.notices": "{who} chose which notices to get.",
    "concern.raised": "{who} raised a concern about a look.",
    "concern.said": "{who} wrote more about a concern.",
    "concern.read": "{who} read a concern.",
    "concern.asked": "{who} asked more about a concern.",
    "concern.wrote": "{who} wrote to you about a concern.",
    "concern.answered": "{who} answered a concern.",
    "concern.overdue": "{who} passed on a concern: no answer came in time.",
    "concern.disputed": "{who} asked to look further into a concern.",
    "concern.decided": "{who} checked a concern and closed it.",
    "concern.reopened": "{who} opened a concern again.",
    "concern.closed": "{who} closed a concern.",
}

WHO: dict[str, str] = {
    "person": "{name}, {role} at {organization},",
    "person.no-role": "{name} at {organization}",
    "withheld": "Someone at {organization} ({role})",
    "withheld.no-role": "Someone at {organization}",
    "organization": "{organization}",
    "system": "An automatic service of {organization}",
    "you": "You",
    "patient": "{name}",
    "helper": "{name}, on your behalf,",
    "staff": "The exchange’s own staff ({role})",
    "staff.named": "{name} of the exchange’s own staff ({role})",
}

HELD_BACK = "The law lets {organization} hold back this name. Its privacy office can tell you more: {contact}."
HELD_BACK_BY_OFFICE = "The law lets {organization} hold back this name. {office} can tell you more: {contact}."

_ABOUT_DECISIONS = {
    EventType.CONSENT_DECISION: "asked.decision",
    EventType.DECISION_SIMULATED: "tried.decision",
    EventType.DECISION_EXPLAINED: "read.decision",
}
"""What is about decisions shows nothing of the record itself, and no rule of it let anything out."""
_CONCERNS = {
    "raised": "concern.raised",
    "said": "concern.said",
    "read": "concern.read",
    "asked": "concern.asked",
    "wrote": "concern.wrote",
    "answered": "concern.answered",
    "overdue": "concern.overdue",
    "disputed": "concern.disputed",
    "explained": "concern.decided",
    "upheld": "concern.decided",
    "reopened": "concern.reopened",
    "accepted": "concern.closed",
    "withdrawn": "concern.closed",
}
"""What was done about a patient's concern, by the act that the event names."""
_ADDED = {
    EventType.PROVIDE_DOCUMENT_BUNDLE,
    EventType.SIMPLIFIED_PUBLISH,
    EventType.PROVIDE_AND_REGISTER,
    EventType.REGISTER_DOCUMENTS,
    EventType.REGISTER_ON_DEMAND,
    EventType.STAGE_CONTENT,
    EventType.GENERATE_METADATA,
}
_FED = {
    EventType.PATIENT_FEED,
    EventType.PATIENT_FEED_V2,
    EventType.PATIENT_FEED_V3,
    EventType.PATIENT_FEED_PMIR,
    EventType.PATIENT_IMPORT,
    EventType.CROSS_REFERENCE_UPDATE,
}
_LOOKED_UP = {
    EventType.PATIENT_QUERY,
    EventType.PATIENT_QUERY_V2,
    EventType.PATIENT_QUERY_V3,
    EventType.PATIENT_MATCH,
    EventType.CROSS_REFERENCE,
    EventType.CROSS_REFERENCE_V2,
    EventType.CROSS_REFERENCE_V3,
    EventType.PATIENT_DISCOVERY,
}
_OPENED = {
    EventType.RETRIEVE_DOCUMENT,
    EventType.RETRIEVE_DOCUMENT_SET,
    EventType.CROSS_GATEWAY_RETRIEVE,
    EventType.REMOTE_RETRIEVE,
    EventType.TRANSFER_BROKEN,
}
_LISTED = {
    EventType.FIND_DOCUMENTS,
    EventType.FIND_DOCUMENT_LISTS,
    EventType.READ_DOCUMENT_REFERENCE,
    EventType.READ_DOCUMENT_LIST,
    EventType.STORED_QUERY,
    EventType.MULTI_PATIENT_QUERY,
    EventType.CROSS_GATEWAY_QUERY,
    EventType.CROSS_QUERY,
    EventType.CROSS_QUERY_RESULT,
}
_SENT = {EventType.QUESTION_SENT, EventType.QUESTION_WITHHELD, EventType.NOTIFICATION_SENT, EventType.DELIVERY, EventType.BULK_EXPORT}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """How identifiers are called, and when the patient made a choice; given by the caller, so that this stays pure."""

    organization: Callable[[str], str]
    user: Callable[[str, str], tuple[str, str]]  # (participant, user) -> (name, role)
    choice_on: Callable[[str], str]  # consent id -> FHIR date, "" when unknown
    jurisdiction: Callable[[str], str]  # custodian -> name of the law's place
    patient_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """Whose eyes the log is shown to: their user id and the ids of the patient."""

    user_id: str
    patient_ids: frozenset[str]
    withheld: frozenset[str] = frozenset()  # documents whose titles are kept back from the patient for now


@dataclass(slots=True)
class _Group:
    events: list[EventRecord]
    verb: Verb


def lines(events: Iterable[EventRecord], *, names: Names, looker: Looker) -> list[LogEntry]:
    """Lines for events given newest first, newest first; near looks of one reader for one reason become one."""
    return [_entry(group, names, looker) for group in groups(events)]


def groups(events: Iterable[EventRecord]) -> list[_Group]:
    """Events as lines: each joins the open line of the same reader, reason and result within `GROUP_WINDOW`."""
    made: list[_Group] = []
    open_groups: dict[tuple[object, ...], _Group] = {}
    for event in events:
        key = group_key(event)
        group = open_groups.get(key)
        if group is not None and joins(group.events, event):
            group.events.append(event)
            continue
        group = _Group(events=[event], verb=verb_of(event))
        open_groups[key] = group
        made.append(group)
    return made


def joins(events: list[EventRecord], event: EventRecord) -> bool:
    """Whether an older event belongs to the line whose events, newest first, are given."""
    return events[-1].at - event.at <= GROUP_WINDOW and len(events) < GROUP_MAX


def group_key(event: EventRecord) -> tuple[object, ...]:
    """What must agree for two events to stand in one line."""
    return (
        event.user or event.client, event.organization, event.purpose, event.on_behalf_of, event.intermediary,
        verb_of(event), seen_of(event), event.type if event.type in _SENT else "", event.detail.get("what", ""),
        event.rule if seen_of(event) in {Seen.REFUSED, Seen.EMERGENCY} else "",
    )  # fmt: skip


def seen_of(event: EventRecord) -> Seen:
    """Seen, partly, refused, emergency."""
    if event.type is EventType.BREAK_GLASS:
        return Seen.REFUSED if event.outcome else Seen.EMERGENCY
    if event.outcome and event.type is not EventType.TRANSFER_BROKEN:
        return Seen.REFUSED
    if event.type is EventType.QUESTION_WITHHELD:
        return Seen.REFUSED
    if event.denied and not event.disclosures:
        return Seen.REFUSED
    if event.purpose == "BTG" and event.disclosures:
        return Seen.EMERGENCY
    return Seen.PARTLY if event.denied else Seen.SEEN


def verb_of(event: EventRecord) -> Verb:
    """The verb of the log for an event."""
    kind = event.type
    if kind in _ADDED or kind in _FED or kind is EventType.CONSENT_FILED:
        return Verb.ADDED
    if kind is EventType.ACCESS_LOG_READ:
        return Verb.READ_LOG
    if kind is EventType.BREAK_GLASS:
        return Verb.DECLARED
    if kind in _SENT:
        return Verb.SENT
    if kind in _LOOKED_UP:
        return Verb.LOOKED_UP
    if seen_of(event) is Seen.REFUSED:
        return Verb.ASKED_FOR
    if kind in _OPENED:
        return Verb.OPENED
    if kind in _LISTED or event.action in {"R", "E"}:
        return Verb.OPENED if any(item.what == "bytes" for item in event.disclosures) else Verb.LOOKED_AT
    return Verb.CHANGED


def _entry(group: _Group, names: Names, looker: Looker) -> LogEntry:
    newest, oldest = group.events[0], group.events[-1]
    who = who_of(newest, names, looker)
    items = tuple(item for event in group.events for item in _items(event, names, looker))
    documents = {item.document_id: item for item in items if item.document_id}
    seen = seen_of(newest)
    kind = _kind_of_information(documents.values())
    words = purpose_words(newest.purpose)
    sentence = _sentence(newest, group.verb, seen, list(documents.values()))
    recipients = sorted({names.organization(r) for e in group.events for r in _recipients(e)})
    values = {
        "who": who_words(who),
        "name": who.name,
        "role": who.role_words,
        "organization": who.organization,
        "kind": kind,
        "count": str(len(documents)),
        "why": words,
        "what": str(newest.detail.get("what", "") or newest.type.value.replace("-", " ")),
        "recipient": ", ".join(recipients),
    }
    return LogEntry(
        id=newest.id,
        at=newest.at,
        first_at=oldest.at,
        count=len(group.events),
        who=who,
        verb=group.verb,
        sentence=sentence,
        values=values,
        kind_of_information=kind,
        purpose=newest.purpose,
        purpose_words=words,
        seen=seen,
        part=_part(who.kind),
        rule=_rule_sentence(newest, who, items, names),
        quotation=str(newest.words.get("text", "")),
        relay=names.organization(newest.intermediary) if newest.intermediary else "",
        on_behalf_of=newest.on_behalf_of,
        items=items,
        obligations=tuple(sorted({o for e in group.events for d in e.disclosures for o in d.obligations})),
        event_ids=tuple(event.id for event in group.events),
        detail={
            "transaction": newest.kind,
            "outcome": newest.outcome,
            "rule": newest.rule,
            "policy": _policy(newest, looker),
            "reason": newest.reason,
            "request_id": newest.request_id,
            "correlation": newest.correlation,
            "client": newest.client,
            "user": "" if newest.name_withheld else newest.user,
            "network_address": newest.network_address,
        },
    )


def who_of(event: EventRecord, names: Names, looker: Looker) -> Who:
    """The reader of an event, never a relay."""
    organization = event.organization_name or names.organization(event.organization)
    name, role = event.user_name, event.role
    if not name and event.user and event.name_withheld is None and not event.user.startswith("Device/"):
        name, known_role = names.user(event.participant, event.user)
        role = role or known_role
    kind = _actor_kind(event, looker, named=bool(name) or event.name_withheld is not None)
    if kind is ActorKind.PATIENT:
        name = names.patient_name or name
    return Who(
        kind=kind,
        name=name,
        role=role,
        role_words=ROLE_WORDS.get(role, role.replace("-", " ")),
        organization_id=event.organization,
        organization=organization,
        withheld=event.name_withheld,
    )


def _actor_kind(event: EventRecord, looker: Looker, *, named: bool) -> ActorKind:
    if event.user and event.user == looker.user_id:
        return ActorKind.YOU
    type_, _, identifier = event.user.partition("/")
    if type_ == "Patient" and identifier in looker.patient_ids:
        # The same patient under an id from before a merge is still the viewer.
        own = looker.user_id.partition("/")[2] in looker.patient_ids
        return ActorKind.YOU if own else ActorKind.PATIENT
    if event.role == "proxy":
        return ActorKind.HELPER
    if event.type in {EventType.STAFF_LOOK, EventType.STAFF_ACT} or type_ == "Staff":
        return ActorKind.STAFF
    if type_ != "Patient" and (
        event.organization in {"", HUB}
        or event.role == "system"
        or (event.user.startswith("Device/") and not event.purpose)
    ):
        return ActorKind.SYSTEM
    return ActorKind.PERSON if named else ActorKind.ORGANIZATION


def part_of(event: EventRecord, looker: Looker) -> Part:
    """The tab on which the line of an event stands."""
    return _part(_actor_kind(event, looker, named=True))


def _part(kind: ActorKind) -> Part:
    if kind in {ActorKind.YOU, ActorKind.HELPER, ActorKind.PATIENT}:
        return Part.OWN
    return Part.AUTOMATIC if kind is ActorKind.SYSTEM else Part.PEOPLE


def who_words(who: Who) -> str:
    """The reader in English: "Dr. Eve Marlowe, doctor at Velmoor General Hospital,"."""
    key = who_key(who)
    organization = who.organization or "the exchange"
    return WHO[key].format(name=who.name or "Someone", role=who.role_words or "staff", organization=organization)


def who_key(who: Who) -> str:
    """Which template of `WHO` says the reader."""
    if who.kind is ActorKind.PERSON:
        key = "person" if who.withheld is None else "withheld"
        return key if who.role_words else f"{key}.no-role"
    return "staff.named" if who.kind is ActorKind.STAFF and who.name else str(who.kind)


def held_back(who: Who) -> tuple[str, dict[str, str]]:
    """The template of the sentence that says why a name is not told and who can tell it, and its values."""
    if who.withheld is None:
        return "", {}
    contact = ", ".join(part for part in (who.withheld.phone, who.withheld.address) if part)
    values = {"organization": who.organization, "office": who.withheld.office, "contact": contact}
    return HELD_BACK_BY_OFFICE if who.withheld.office else HELD_BACK, values


def purpose_words(purpose: str) -> str:
    """Why, in words; "" where no reason was needed."""
    from_family = {"COC": "TREAT", "ERTREAT": "TREAT", "POPHLTH": "TREAT", "FAMRQT": "PATRQT", "PWATRNY": "PATRQT", "SUPNWK": "PATRQT"}  # fmt: skip
    known = PURPOSE_WORDS.get(purpose) or PURPOSE_WORDS.get(from_family.get(purpose, ""))
    return known or (f"for the purpose {purpose}" if purpose else "")


def sentence_words(entry: LogEntry) -> str:
    """The line's sentence in English."""
    text = SENTENCES[entry.sentence].format(**entry.values)
    return " ".join(text.split()).replace(" .", ".").replace(" ,", ",")


def _items(event: EventRecord, names: Names, looker: Looker) -> list[Item]:
    made: list[Item] = []
    for disclosure in event.disclosures:
        if disclosure.what in {"demographics", "query"}:
            continue
        withheld = disclosure.document_id in looker.withheld
        made.append(
            Item(
                at=event.at,
                event_id=event.id,
                document_id=disclosure.document_id,
                title="" if withheld else disclosure.title,
                kind="" if withheld else disclosure.type_display,
                custodian=names.organization(disclosure.custodian),
                what=disclosure.what,
                rule=disclosure.rule,
                withheld=withheld,
            )
        )
    return made


def _kind_of_information(items: Iterable[Item]) -> str:
    kinds = {item.kind or item.title for item in items if not item.withheld}
    return next(iter(kinds)).lower() if len(kinds) == 1 and "" not in kinds else "documents"


def _recipients(event: EventRecord) -> list[str]:
    return [item.recipient for item in event.disclosures if item.recipient] or [
        str(name) for name in (event.detail.get("target"), event.detail.get("recipient")) if name
    ]


def _sentence(event: EventRecord, verb: Verb, seen: Seen, documents: list[Item]) -> str:
    kind, count = event.type, len(documents)
    if kind in _ABOUT_DECISIONS and seen is not Seen.REFUSED:
        return _ABOUT_DECISIONS[kind]
    if kind is EventType.CONCERN and seen is not Seen.REFUSED and event.detail.get("act") in _CONCERNS:
        return _CONCERNS[event.detail["act"]]
    if kind is EventType.NOTICES_CHOSEN:
        return "chose.notices"
    if kind in {EventType.STAFF_LOOK, EventType.STAFF_ACT}:
        return "staff" if kind is EventType.STAFF_LOOK else "changed.record"
    if verb is Verb.ADDED:
        if seen is Seen.REFUSED:
            return "added.refused"
        return (
            "added.choice" if kind is EventType.CONSENT_FILED else "added.person" if kind in _FED else "added.documents"
        )
    if verb is Verb.SENT:
        keys = {EventType.QUESTION_SENT: "sent.question", EventType.QUESTION_WITHHELD: "sent.withheld", EventType.NOTIFICATION_SENT: "sent.notice"}  # fmt: skip
        return keys.get(kind, "sent.documents")
    if verb is Verb.LOOKED_UP:
        return "looked-up.refused" if seen is Seen.REFUSED else "looked-up"
    if verb is Verb.ASKED_FOR:
        return "asked-for.documents" if kind in _OPENED | _LISTED else "asked-for.record"
    if verb is Verb.OPENED:
        if count == 1 and (documents[0].withheld or not (documents[0].kind or documents[0].title)):
            return "opened.withheld"
        return "opened.one" if count == 1 else "opened.many"
    if verb is Verb.LOOKED_AT:
        if kind not in _LISTED:
            return "looked-at.record"
        if count == 1 and not documents[0].withheld and (documents[0].kind or documents[0].title):
            return "looked-at.one"
        return "looked-at.many" if count else "looked-at.none"
    if verb in {Verb.READ_LOG, Verb.DECLARED}:
        return verb.value
    return "changed.choice" if kind is EventType.CONSENT_REVOKED else "changed.record"


def _policy(event: EventRecord, looker: Looker) -> str:
    """Which law, default or release policy the decision names, each with its version; for the patient alone.

    A helper is not told: the name of a rule may say what a document is about.
    """
    if not looker.user_id.startswith("Patient/"):
        return ""
    basis = [item for one in _decisions(event) if one.get("rule") == event.rule for item in one.get("basis", ())]
    told = {
        f"{item['kind']} {item.get('id', '')} {item.get('version') or '-'}"
        for item in basis
        if isinstance(item, Mapping) and item.get("kind") in ("law", "default", "release")
    }
    return ", ".join(sorted(told))


def _decisions(event: EventRecord) -> list[Mapping[str, Any]]:
    listed = event.decision.get("decisions", ())
    return [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []


def _rule_sentence(event: EventRecord, who: Who, items: tuple[Item, ...], names: Names) -> RuleSentence | None:
    """The rule that decided: of what was shown; of what was refused when nothing was."""
    if event.type in _ABOUT_DECISIONS:
        return None
    shown: DisclosureRecord | None = event.disclosures[0] if event.disclosures else None
    rule = shown.rule if shown and shown.rule else (event.denied[0][1] if event.denied else event.rule) or event.rule
    if not rule or not rule[0].isalpha():
        return None
    consents = [str(item.get("id", "")) for item in (shown.basis if shown else ()) if item.get("kind") == "consent"]
    if not consents:
        basis = [item for one in _decisions(event) if one.get("rule") == rule for item in one.get("basis", ())]
        consents = [str(item.get("id", "")) for item in basis if isinstance(item, Mapping) and item.get("kind") == "consent"]  # fmt: skip
    # As the choice was when it decided; where the record does not say, as it is now.
    then = event.decision.get("choices", {})
    chosen_on = next((str(then[one])[:10] for one in consents if isinstance(then, Mapping) and then.get(one)), "")
    chosen_on = chosen_on or next((date for date in map(names.choice_on, consents) if date), "")
    custodian = shown.custodian if shown else ""
    return RuleSentence(
        rule=rule,
        params={
            "p": who.name or who.organization,
            # Who can be asked, and who is no longer a member, is the place that holds the document.
            "o": names.organization(custodian) if custodian and rule in {"P1", "G3"} else who.organization,
            "o2": names.organization(custodian) if custodian else "",
            "w": purpose_words(event.purpose),
            "d": next((item.title or item.kind for item in items if item.title or item.kind), ""),
            "choice_on": chosen_on,
            "jurisdiction": names.jurisdiction(custodian),
            "reason": str(event.words.get("text", "")),
        },
    )
