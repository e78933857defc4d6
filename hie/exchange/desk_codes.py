"""Codes that no set or mapping of the hub knows: what each means, whether it belongs to its set, or is local and stays so.

A meaning counts for the affinity domain and for labels from the commit on: registered documents are gone over again
where labels depend on it (`hie.exchange.relabel`), which only ever raises them. Such a meaning is a change of the value
sets of labels: one member of staff proposes it, or its end, and another agrees.

Source: spec/consent.md 8, 11; spec/xds.md 11; issue 5, item 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from django.db.models import Count, QuerySet

from consent import labelling
from hie.directory import queries as directory
from hie.exchange import access, desk_tasks
from hie.exchange.access import Staff, StaffView
from hie.exchange.desk_models import DeskTaskAct
from hie.exchange.desk_tasks import Acting, TaskRefused
from hie.exchange.desk_values import Badge, Field, Item, Option, Table, Task, Way
from hie.exchange.errors import BadRequest, NotFound
from hie.standards import oids
from hie.terminology import local_codes
from hie.terminology.models import LocalCode
from hie.trust import second_person
from hie.trust.second_person import Member

DUE_AFTER = timedelta(days=7)
MEANS, SYSTEM, CODE, DISPLAY = "means", "to_system", "to_code", "to_display"
State, Proposed = LocalCode.State, LocalCode.Proposed
_STANDING = {
    State.MAPPED: "It means another code",
    State.ADDED: "It was added to its set",
    State.LOCAL: "It is local, and stays so",
}


class UnknownCodes(desk_tasks.TaskQueue):
    """Codes that wait, the longest waiting first."""

    key = "codes"
    title = "Codes without a mapping"
    about = (
        "A code comes here when it is outside its set of the affinity domain, or when it stood inside a document under a"
        " system of the sender’s own, which no labelling rule can judge."
    )
    permission = "terminology.view_localcode"
    deciders = frozenset({"steward", "administrator"})
    decided_by = "Stewards decide this."
    act_words: ClassVar = {
        "map": "Mapped",
        "propose": "Mapping proposed",
        "agree": "Agreed by a second person",
        "refuse": "Proposal refused",
        "add": "Added to its set",
        "local": "Put aside as local",
    }
    undoable = frozenset({"map", "propose", "agree", "add", "local"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """1 statement."""
        rows = waiting().annotate(n=Count("senders")).order_by("first_at", "pk")[: desk_tasks.MOST_LISTED]
        return [
            Item(
                key=str(row.pk),
                title=f"{row.code} in {where(row)}",
                what=f"{f'System {row.scheme}' if row.scheme else 'No system'} · met {row.met:,} {'time' if row.met == 1 else 'times'},"
                f" from {row.n} {'organization' if row.n == 1 else 'organizations'}"
                + (" · waits for a second person" if row.proposed else ""),
                since=row.first_at,
                due_at=row.first_at + DUE_AFTER,
            )
            for row in rows
        ]

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 6 statements."""
        row = _row(key)
        put_off = desk_tasks.standing(self, key, now)
        return Task(
            key=key,
            name=f"Code {row.code}",
            question=f"What does {row.code} mean?",
            waits=bool(row.state == State.WAITING or row.proposed) and not put_off,
            standing=put_off or _STANDING.get(State(row.state), "It waits"),
            badges=_badges(row),
            facts=tuple(_facts(row)),
            tables=(_senders(row),),
            ways=_ways(row),
            options=_options(row),
            fields=_fields(row),
            hint="It is kept with the code and in the log.",
            undo=_undoing(row),
            final="You can take it back. Labels that were raised by it stay raised.",
            not_mine=self.not_mine(staff),
            kept_for=_not_second(row, staff),
            due_at=row.first_at + DUE_AFTER if row.state == State.WAITING or row.proposed else None,
        )

    def decide(self, outcome: str, acting: Acting) -> str:
        """One decision; a meaning that labels depend on becomes a proposal."""
        row = local_codes.held(_number(acting.row.key))
        if row is None:
            raise NotFound("no such code")
        if row.proposed:
            _on_proposal(row, outcome, acting)
        elif row.state != State.WAITING:
            raise TaskRefused("this was decided: take that back first", element="act")
        elif outcome == "add" and row.attribute != local_codes.CONTENT:
            display = acting.typed.get(DISPLAY, "").strip()[:200]
            local_codes.add_to_set(row, display=display, by=acting.staff.user_id)
        elif outcome == "local":
            local_codes.leave_local(row)
        elif outcome == "map":
            to = _target(row, acting)
            if _labels(to):
                local_codes.propose(row, Proposed.MAP, to=to, by=acting.staff.user_id, account=acting.staff.account)
                return "propose"
            local_codes.map_to(row, to=to, raises=False)
        else:
            raise BadRequest("choose what you decide", element="outcome")
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """What was decided; a meaning that labels depend on ends once a second person agrees."""
        row = local_codes.held(_number(acting.row.key))
        if row is None:
            raise NotFound("no such code")
        if row.proposed:
            if acting.actor != last.actor:
                raise TaskRefused("who proposed it takes it back; refuse it instead", element="act")
            local_codes.withdraw(row)
        elif row.state == State.MAPPED and row.raises:
            local_codes.propose(row, Proposed.END, by=acting.staff.user_id, account=acting.staff.account)
        elif row.state == State.WAITING:
            raise TaskRefused("there is nothing to take back", element="act")
        else:
            local_codes.take_back(row, by=acting.staff.user_id)


def waiting() -> QuerySet[LocalCode]:
    """The codes that wait, or whose proposal waits for a second person."""
    return LocalCode.objects.filter(state=State.WAITING) | LocalCode.objects.exclude(proposed="")


def _labels(to: tuple[str, str, str]) -> frozenset[str]:
    """The labels that depend on a meaning: then two people decide it."""
    return labelling.labels_of(f"{to[0]}|{to[1]}", access.label_tables())


def where(row: LocalCode) -> str:
    """Where a code stood, in words."""
    return row.attribute or "a document"


def _row(key: str) -> LocalCode:
    row = LocalCode.objects.filter(pk=_number(key)).first()
    if row is None:
        raise NotFound("no such code")
    return row


def _number(key: str) -> int:
    return int(key) if key.isascii() and key.isdigit() and len(key) < 18 else 0


def _facts(row: LocalCode) -> list[tuple[str, str]]:
    facts = [
        ("System", row.scheme or "None is named"),
        ("Stood in", f"Metadata of documents: {row.attribute}" if row.attribute else "Documents themselves"),
        ("Met", f"{row.met:,} {'time' if row.met == 1 else 'times'}, at least"),
        ("First", f"{row.first_at:%-d %B %Y, %H:%M} UTC"),
        ("Last", f"{row.last_at:%-d %B %Y, %H:%M} UTC"),
    ]
    if row.to_code:
        to = (row.to_scheme, row.to_code, row.to_display)
        labels = sorted(_labels(to))
        facts += [
            ("Proposed meaning" if row.proposed == Proposed.MAP else "Means", _said(to)),
            ("Labels by it", ", ".join(labels) or "None"),
        ]
    if row.proposed:
        what = "that it means this" if row.proposed == Proposed.MAP else "that this meaning ends"
        facts.append(("Waits for a second person", f"{row.proposed_by} proposes {what}"))
    return facts


def _said(to: tuple[str, str, str]) -> str:
    return f"{to[1]} {to[2]} ({to[0] or 'no system'})".replace("  ", " ")


def _senders(row: LocalCode) -> Table:
    names = directory.participants()
    return Table(
        title="From whom",
        head=("Organization", "Times", "First", "Last"),
        rows=tuple(
            (names[one].name if one in names else one, f"{met:,}", f"{first:%-d %B %Y}", f"{last:%-d %B %Y}")
            for one, met, first, last in local_codes.senders(row)[:50]
        ),
    )


def _badges(row: LocalCode) -> tuple[Badge, ...]:
    if row.proposed:
        return (Badge(words="For a second person", tone="emergency", icon="person"),)
    if row.state == State.WAITING:
        return (Badge(words="Nobody has decided yet", icon="clock"),)
    return (Badge(words=_STANDING[State(row.state)], tone="good", icon="tick"),)


def _ways(row: LocalCode) -> tuple[Way, ...]:
    if not row.attribute:
        return ()
    return (
        Way(
            words="The codes of its set",
            name="admin:terminology_code_changelist",
            permission="terminology.view_code",
            query={"code_set__id__exact": str(local_codes.set_of(row.attribute))},
        ),
    )


def _options(row: LocalCode) -> tuple[Option, ...]:
    if row.proposed:
        return (
            Option(
                value="agree",
                title="Agree to it",
                follows="It counts at once. Registered documents are gone over again; labels only rise."
                if row.proposed == Proposed.MAP
                else "The meaning ends for what comes. Labels that it raised stay.",
            ),
            Option(value="refuse", title="Refuse it", follows="All stays as it is."),
        )
    found = [
        Option(
            value="map",
            title="It means another code",
            follows="From now on it is taken as that one. Where labels depend on that code, a second person agrees first,"
            " and registered documents are gone over again; labels only rise.",
        ),
    ]
    if row.attribute:
        found.append(
            Option(value="add", title="It belongs to its set", follows=f"From now on it is a code of {row.attribute}.")
        )
    found.append(
        Option(
            value="local",
            title="It is local, and stays so",
            follows="It is treated as until now, and nobody is asked again.",
        )
    )
    return tuple(found)


def _fields(row: LocalCode) -> tuple[Field, ...]:
    if row.proposed:
        return ()
    if row.attribute:
        choices = tuple(
            (f"{scheme}|{code}", f"{display or code} ({code})")
            for scheme, code, display in local_codes.candidates(row.attribute)
        )
        return (
            Field(
                name=MEANS,
                label="The code of the set that it means",
                hint="For “It means another code”.",
                kind="choice",
                choices=choices,
            ),
            Field(name=DISPLAY, label="What it is called", hint="For “It belongs to its set”. It may stay empty."),
        )
    return (
        Field(
            name=SYSTEM,
            label="System of the other code",
            hint="For “It means another code”: a URI or OID, such as http://loinc.org.",
        ),
        Field(name=CODE, label="The other code", hint="For “It means another code”."),
        Field(name=DISPLAY, label="What it is called", hint="It may stay empty."),
    )


def _target(row: LocalCode, acting: Acting) -> tuple[str, str, str]:
    """The other code as typed or chosen: (scheme, code, display); kept with the act.

    Raises:
        BadRequest: none was, or it is none that is known.
    """
    if row.attribute:
        scheme, _, code = acting.typed.get(MEANS, "").rpartition("|")
        display = local_codes.in_set(row.attribute, scheme, code) if code else None
        if display is None:
            raise BadRequest("choose a code of the set", element=MEANS)
        found = (scheme, code, display)
    else:
        scheme = oids.compared_scheme(acting.typed.get(SYSTEM, "").strip()[:200])
        code = acting.typed.get(CODE, "").strip()
        if not scheme or local_codes.is_local(scheme):
            raise BadRequest("give a system that is known here, such as http://loinc.org", element=SYSTEM)
        if not code or len(code) > local_codes.LONGEST_CODE or not code.isprintable():
            raise BadRequest("give the other code", element=CODE)
        found = (scheme, code, acting.typed.get(DISPLAY, "").strip()[:200])
    if (found[0], found[1]) == (row.scheme, row.code):
        raise BadRequest("this is the same code", element=MEANS if row.attribute else CODE)
    acting.more["to"] = _said(found)
    return found


def _on_proposal(row: LocalCode, outcome: str, acting: Acting) -> None:
    """What a second person says of a proposal."""
    if outcome == "refuse":
        local_codes.withdraw(row)
        return
    if outcome != "agree":
        raise BadRequest("agree to what was proposed, or refuse it", element="outcome")
    if why := _not_second(row, acting.staff):
        raise TaskRefused(why, element="reviewer")
    to = (row.to_scheme, row.to_code, row.to_display)
    acting.more["to"] = _said(to)
    if row.proposed == Proposed.MAP:
        local_codes.map_to(row, to=to, raises=True)
    else:
        local_codes.take_back(row, by=acting.staff.user_id)


def _not_second(row: LocalCode, staff: Staff) -> str:
    """Why this member of staff is not the second person for a proposal, in words."""
    if not row.proposed or row.proposed_at is None:
        return ""
    first = Member(name=row.proposed_by, account=row.proposed_account)
    why = second_person.why_not(first, Member(name=staff.user_id, account=staff.account), since=row.proposed_at)
    return f"{why[:1].upper()}{why[1:]}" if why else ""


def _undoing(row: LocalCode) -> str:
    if row.proposed:
        return "The proposal is withdrawn."
    if row.state == State.MAPPED and row.raises:
        return "A second person agrees first. Then it means nothing again; labels that it raised stay."
    return "It waits again. What came meanwhile stays as it was taken." if row.state != State.WAITING else ""
