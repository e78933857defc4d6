"""What would be otherwise if a directive, a policy, a label or the time were: only the differences. Changes nothing.

`compare` is for whoever chooses for the patient (the patient, or a helper whose grant says so), `compare_for_staff`
for the hub's staff. Both give a `WhatIf`::

    draft = Draft(consents=(ConsentDraft(resource=changed, replaces=UUID(consent_id)),))   # consent/drafts.py
    found = what_if.compare(person_id, draft, caller=caller)
    for change in found.changes:
        change.opens            # True: these would become able to see, False: they no longer could
        change.documents        # which documents (id, title, type, custodian), newest first
        change.block            # who: organizations x purposes x roles; `person` where it is one certain person
        change.before, .after   # the decisions: rule, reason, obligations, basis (a draft's id is ``draft-<n>``)

A new directive is `ConsentDraft(resource=…)`, a changed one names what it `replaces`, an ended one is
`ConsentDraft(replaces=…)` alone. Each pair of a document and an asker (participant, purpose, role) that would change
is in exactly one `Change`. Documents that the asker of the question may not see do not count, and are not said to exist;
directives that he may not see count on neither side of the comparison.
Both answers are the engine's, through the one door.

Source: spec/consent.md 5.7 and 14, "What-if".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from consent.drafts import Draft
from documents import queries as registry
from documents.queries import EntryRow
from hie.audit import recorder
from hie.audit.recorder import EventType
from hie.exchange import access, askers, consent_rights, consent_sight, release
from hie.exchange.access import Staff, Subject
from hie.exchange.askers import Block
from hie.exchange.errors import NotFound
from hie.exchange.find import shown
from hie.standards.facts import Caller, Decision, DocumentFacts, Operation, Perhaps

__all__ = ["MAX_DOCUMENTS", "Change", "SeenDocument", "WhatIf", "compare", "compare_for_staff"]

MAX_DOCUMENTS = 500
"""The newest so many documents of a person are looked at; `WhatIf.whole` says whether these are all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDocument:
    """A document that would change hands; `title` and `type_display` are "" for staff who may not read them."""

    document_id: str
    title: str = ""
    type_display: str = ""
    custodian: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Documents and askers between whom the answer turns; `opens` says which way."""

    documents: tuple[SeenDocument, ...]
    block: Block
    opens: bool
    before: Decision
    after: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """The differences that a draft makes for a person: first what closes, then what opens; none: ().

    `documents` is how many documents were looked at, `whole` whether there are no more.
    """

    person_id: str
    changes: tuple[Change, ...]
    documents: int
    whole: bool = True


@release.point
def compare(person_id: UUID | str, draft: Draft, *, caller: Caller, raw: str = "") -> WhatIf:
    """What a draft would change, for the patient or a helper who may choose in the patient's place; recorded.

    Raises:
        AccessRefused: the gate's rules.
        NotFound: no such person, or not for this caller to choose.
        DirectiveRefused, JurisdictionRefused, CodeTableRefused: the draft cannot be used; by element.
    """
    with recorder.recording(EventType.DECISION_SIMULATED, caller, query=raw or None) as event:
        access.gate(caller, Operation.QUERY)
        about = access.subject(person_id)
        event.about(about.person_id, detail=_detail(draft))
        if not consent_rights.chooses_for(caller, about):
            raise NotFound("no such patient")
        seen = _seen(caller, about)
        rows = seen[:MAX_DOCUMENTS]
        found = _compared(consent_sight.as_known(caller, about), draft, rows, [_shown(row, words=True) for row in rows])
        event.commit()
    return replace(found, whole=len(seen) <= MAX_DOCUMENTS)


def compare_for_staff(person_id: UUID | str, draft: Draft, staff: Staff, *, reason: str) -> WhatIf:
    """What a draft would change, for staff who may look at the patient's documents and choices; the patient finds the look in the log.

    Raises:
        NotFound: no such person.
        AccessRefused, BadRequest: as `access.administrative`.
        DirectiveRefused, JurisdictionRefused, CodeTableRefused: the draft cannot be used; by element.
    """
    about = access.subject(person_id)
    view = access.administrative_decisions(staff, [about.person_id], reason=reason, detail=_detail(draft))
    rows = registry.entries(about.identifier_pks, limit=MAX_DOCUMENTS + 1)
    named = [_shown(row, words=view.words_of(row.confidentiality)) for row in rows[:MAX_DOCUMENTS]]
    found = _compared(about, draft, rows[:MAX_DOCUMENTS], named)
    return replace(found, whole=len(rows) <= MAX_DOCUMENTS)


def _seen(caller: Caller, about: Subject) -> list[EntryRow]:
    """The newest documents that this caller may see, one more than are looked at where there are more: the hidden count nowhere."""
    seen: list[EntryRow] = []
    after = None
    while len(seen) <= MAX_DOCUMENTS:
        page = registry.entries(about.identifier_pks, limit=MAX_DOCUMENTS + 1, after=after)
        seen += access.permitted(caller, about, page, Operation.QUERY).rows()
        if len(page) <= MAX_DOCUMENTS:
            break
        after = page[-1].position
    return seen[: MAX_DOCUMENTS + 1]


def _compared(about: Subject, draft: Draft, rows: Sequence[EntryRow], named: Sequence[SeenDocument]) -> WhatIf:
    before, after = access.as_it_is(about), access.as_drafted(about, draft)
    facts = [row.facts(about.person_id, about.identifier_pks) for row in rows]
    alike: dict[Hashable, list[int]] = defaultdict(list)
    field = askers.field(about, [before, after], facts, draft)
    for n, one in enumerate(facts):
        alike[_kind(one, _drafted(one, draft), field.looks_at_each)].append(n)
    kinds = list(alike.values())
    was = [facts[members[0]] for members in kinds]
    will = [_drafted(one, draft) for one in was]
    turned: list[list[tuple[Block, Hashable]]] = [[] for _ in kinds]
    told_before = access.tried(before, field.requests(before), was)
    told_after = access.tried(after, field.requests(after), will)
    for block, olds, news in zip(field.blocks, told_before, told_after, strict=True):
        for n, (old, new) in enumerate(zip(olds, news, strict=True)):
            if old.permitted != new.permitted:
                turned[n].append((block, (askers.same(old), askers.same(new))))
    together: dict[tuple[Block, Decision, Decision], list[int]] = defaultdict(list)
    for members, found in zip(kinds, turned, strict=True):
        for block, (old, new) in askers.merged(askers.apart(found)):
            together[block, old, new] += members
    changes = [
        Change(
            documents=tuple(named[n] for n in sorted(members)),
            block=block,
            opens=new.permitted,
            before=old,
            after=new,
        )
        for (block, old, new), members in together.items()
    ]
    changes.sort(key=lambda one: (one.opens, one.block.person, one.block.organizations, one.block.purposes))
    return WhatIf(person_id=about.person_id, changes=tuple(changes), documents=len(rows))


def _drafted(facts: DocumentFacts, draft: Draft) -> DocumentFacts:
    """The facts with the labels of the draft, on the document and where it is a source."""
    if not draft.documents:
        return facts
    label = draft.documents.get(facts.id)
    made = replace(facts, confidentiality=label.confidentiality, labels=label.labels) if label is not None else facts
    return replace(made, derived_from=tuple(_drafted(one, draft) for one in facts.derived_from))


def _kind(was: DocumentFacts, will: DocumentFacts, each: bool) -> Hashable:
    """What of a document rules and directives look at: equal ones are decided once.

    `each`: a directive names single documents or times, so that every document is a kind of its own.
    """
    if each:
        return was.id
    return _bare(was), _bare(will)


def _bare(one: DocumentFacts) -> DocumentFacts:
    return replace(
        one,
        id="",
        service_start=None,
        service_stop=None,
        created=None,
        encounter=None,
        related=(),
        depends_on=(),
        perhaps=Perhaps(authors=one.perhaps.authors),
        derived_from=tuple(_bare(source) for source in one.derived_from),
    )


def _shown(row: EntryRow, *, words: bool) -> SeenDocument:
    name = shown(row)
    return SeenDocument(
        document_id=name.document_id,
        title=name.title if words else "",
        type_display=name.type_display if words else "",
        custodian=row.custodian,
    )


def _detail(draft: Draft) -> dict[str, object]:
    """What the event says of a draft: of what it is, never what it says."""
    parts = ("consents", "participants", "jurisdictions", "codes", "documents", "at")
    return {"what": "what if", "draft": [part for part in parts if getattr(draft, part)]}
