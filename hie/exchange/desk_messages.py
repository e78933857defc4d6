"""Messages that were refused or failed, by cause: one task a cause. Their bytes are shown to nobody.

What is put aside are the messages that were there as the page was shown; one that comes later with the same cause, or one
of them that is tried again and fails again, waits anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from django.db.models import Count, Max, Min, Q, QuerySet

from hie.directory import queries as directory
from hie.exchange import desk_tasks, inbox
from hie.exchange.access import Staff, StaffView
from hie.exchange.desk_models import DeskTask, DeskTaskAct
from hie.exchange.desk_tasks import Acting
from hie.exchange.desk_values import Badge, Field, Item, Option, Table, Task, Way
from hie.exchange.errors import BadRequest, NotFound
from hie.exchange.inbox import ErrorGroup
from hie.exchange.models import InboundMessage

DUE_AFTER = timedelta(days=2)
_FAILED = (InboundMessage.Status.REFUSED, InboundMessage.Status.FAILED)
_SHOWN = 20


def cause_of(group: ErrorGroup) -> str:
    """The key of a cause: protocol, code, element and kind of message, digested, since a sender writes some of them."""
    parts = (group.protocol, group.error_code, group.error_element, group.kind)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


class FailedMessages(desk_tasks.TaskQueue):
    """Causes, the most frequent first."""

    key = "messages"
    title = "Messages that were refused or failed"
    about = "A message comes here when it was refused or failed. Messages with one cause are one task."
    permission = "exchange.view_inboundmessage"
    deciders = frozenset({"operator", "administrator"})
    decided_by = "Operators decide this."
    act_words: ClassVar = {
        "aside": "Put aside: known, or answered by the sender",
        "told": "Sender told",
        "later": "Left for later",
    }
    undoable = frozenset({"aside", "told", "later"})

    def everything(self, now: datetime) -> Sequence[Item]:
        """1 statement."""
        return [item_of(group) for group in inbox.error_groups()[: desk_tasks.MOST_LISTED]]

    def task(self, key: str, staff: Staff, view: StaffView | None, now: datetime) -> Task:
        """Some 6 statements, however many messages."""
        group = _group(key)
        mine = _of_cause(group)
        waits = mine.filter(aside__isnull=True)
        counted = mine.aggregate(
            n=Count("pk", filter=Q(aside__isnull=True)),
            set_aside=Count("pk", filter=Q(aside__isnull=False)),
            first=Min("received_at", filter=Q(aside__isnull=True)),
            last=Max("received_at", filter=Q(aside__isnull=True)),
        )
        put_off = desk_tasks.standing(self, key, now)
        return Task(
            key=key,
            name=_name(group),
            question="What is to be done about these messages?",
            lead=f"{group.error_text or 'No reason was given'}.",
            waits=bool(counted["n"]) and not put_off,
            standing=put_off or "All of them are put aside",
            badges=(_badge(counted["n"]),),
            facts=(
                ("Element", group.error_element or "None is named"),
                ("Code", group.error_code or "None"),
                ("Kind of message", f"{group.protocol} {group.kind}".strip()),
                ("First", _at(counted["first"])),
                ("Last", _at(counted["last"])),
                ("Put aside before", f"{counted['set_aside']:,}"),
            ),
            tables=(_by_sender(waits), _newest(waits)),
            ways=(
                Way(
                    words="The messages themselves, to try them again",
                    name="admin:exchange_inboundmessage_changelist",
                    permission=self.permission,
                    query={
                        "open": "1",
                        "protocol__exact": group.protocol,
                        "error_code__exact": group.error_code,
                        "error_element__exact": group.error_element,
                        "kind__exact": group.kind,
                    },
                ),
            ),
            options=(
                Option(
                    value="aside",
                    title="Put them aside",
                    follows="Known, or the sender has answered. These leave the queue; new ones with this cause come back.",
                ),
                Option(
                    value="told",
                    title="I told the sender",
                    follows="The cause leaves the queue until the day below, with what comes until then.",
                ),
                Option(value="later", title="Leave it for later", follows="As above, and nobody was told."),
            ),
            fields=(
                Field(
                    name="as_of", label="", kind="hidden", value=counted["last"].isoformat() if counted["last"] else ""
                ),
                Field(name=desk_tasks.TOLD, label="Whom you told, and how", hint="For “I told the sender”."),
                Field(
                    name=desk_tasks.UNTIL,
                    label="Until",
                    kind="date",
                    hint="For “I told the sender” and “Leave it for later”.",
                ),
            ),
            undo="The cause waits again, with every message of it that was put aside.",
            final="You can open it again. A message is not changed by this.",
            not_mine=self.not_mine(staff),
            due_at=counted["first"] + DUE_AFTER if counted["first"] else None,
        )

    def decide(self, outcome: str, acting: Acting) -> str:
        """Put aside what was shown, or put the cause off."""
        group = _group(acting.row.key)
        if outcome == "aside":
            as_of = _instant(acting.typed.get("as_of", ""))
            waiting = _of_cause(group).filter(aside__isnull=True, received_at__lte=as_of)
            acting.more["set"] = f"{waiting.update(aside=acting.row)} messages"
            return outcome
        if outcome == "told":
            acting.words(desk_tasks.TOLD, "say whom you told, and how")
        acting.off_until()
        return outcome

    def take_back(self, last: DeskTaskAct, acting: Acting) -> None:
        """What was put aside of this cause waits again."""
        _of_task(acting.row).update(aside=None)


def item_of(group: ErrorGroup) -> Item:
    """A cause as it stands in a list."""
    return Item(
        key=cause_of(group),
        title=_name(group),
        what=" · ".join(filter(None, (f"{group.protocol} {group.kind}".strip(), group.error_element))),
        since=group.first_at,
        due_at=group.first_at + DUE_AFTER,
        count=group.count,
    )


def _group(key: str) -> ErrorGroup:
    found = next((one for one in inbox.error_groups(put_aside=True) if cause_of(one) == key), None)
    if found is None:
        raise NotFound("no such cause")
    return found


def _of_cause(group: ErrorGroup) -> QuerySet[InboundMessage]:
    return InboundMessage.objects.filter(
        status__in=_FAILED, protocol=group.protocol, error_code=group.error_code, error_element=group.error_element,
        kind=group.kind,
    )  # fmt: skip


def _of_task(row: DeskTask) -> QuerySet[InboundMessage]:
    return _of_cause(_group(row.key)).filter(aside=row)


def _name(group: ErrorGroup) -> str:
    return group.error_text or (f"Code {group.error_code}" if group.error_code else "No reason was given")


def _badge(count: int) -> Badge:
    if not count:
        return Badge(words="None waits", tone="good", icon="tick")
    return Badge(words=f"{count:,} {'message waits' if count == 1 else 'messages wait'}", icon="clock")


def _at(at: datetime | None) -> str:
    return f"{at:%-d %B %Y, %H:%M} UTC" if at is not None else "–"


def _by_sender(waits: QuerySet[InboundMessage]) -> Table:
    rows = list(
        waits.values("participant_id", "sender")
        .annotate(n=Count("pk"), first=Min("received_at"), last=Max("received_at"))
        .order_by("-n", "participant_id", "sender")[:_SHOWN]
    )
    names = directory.participants()
    return Table(
        title="From whom",
        head=("Sender", "Messages", "First", "Last"),
        rows=tuple(
            (
                names[row["participant_id"]].name if row["participant_id"] in names else row["sender"] or "Not said",
                f"{row['n']:,}", _at(row["first"]), _at(row["last"]),
            )
            for row in rows
        ),
        empty="None waits.",
    )  # fmt: skip


def _newest(waits: QuerySet[InboundMessage]) -> Table:
    rows = list(
        waits.order_by("-received_at", "pk").values("pk", "control_id", "received_at", "attempts", "status")[:_SHOWN]
    )
    return Table(
        title="The newest of them",
        head=("Control id", "Received", "Tried", "Became", "Message"),
        rows=tuple(
            (row["control_id"] or "None", _at(row["received_at"]), str(row["attempts"]), row["status"], str(row["pk"]))
            for row in rows
        ),
        note=f"At most {_SHOWN} stand here." if len(rows) == _SHOWN else "",
        empty="None waits.",
    )


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadRequest("read the page again: it does not say which messages you saw", element="outcome") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
