"""Sequences of changes of identity by two clients, with feeds between them, and what must be true of each.

A client works from a page that it looked at some time ago, so it often asks for what the other has made impossible. Every
change that is drawn for it is undone, brought back and undone again on the spot: the state must be equal byte for byte
each time (`tests.patients.state`). At the end everything somebody asked for is undone, in any order; what is left must be
what the feeds alone say.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Max

from patients import blocking, identifiers, linking, queries, reviewing, shadow, store
from patients.demographics import Demographics
from patients.errors import AlreadyUndone, InvalidMerge, ReviewClosed, UnknownIdentityEvent, UnknownPatient
from patients.golden import golden_json, survive
from patients.models import IdentityEvent, MatchDecision, Person, ReviewItem, SourceRecord, SourceRecordVersion
from patients.normalise import Features
from patients.reviewing import Verdict
from tests.patients import state
from tests.patients.people import demographics, record

OPERATIONS = 30
REFUSALS = (InvalidMerge, UnknownPatient, ReviewClosed, AlreadyUndone, UnknownIdentityEvent)
ORGS = {"clinic": "2.999.1", "hospital": "2.999.2", "lab": "2.999.3"}
VALUES = 4

_HOMES = (
    ("Smithson", "female", "555-201-3344", "12 Main St", "62701", "Springfield"),
    ("Okafor", "male", "555-111-7777", "9 Oak Av", "10001", "York"),
    ("Zhao", "female", "555-444-2222", "77 Hill Rd", "94110", "Oakland"),
)
_GIVEN = (("Maria", "Helen"), ("Robert", "Daniel"), ("Ling", "Mei"))
_BORN = (("1980-03-14", "1980-03-14"), ("1955-07-30", "1981-02-11"), ("1999-12-25", "1994-05-02"))


def somebody(draw: random.Random) -> Demographics:
    """One of six people of three households, or what a careless clerk makes of her."""
    home, who = draw.randrange(3), draw.randrange(2)
    family, gender, phone, line, postal, city = _HOMES[home]
    born = _BORN[home][who]
    match draw.randrange(8):
        case 0:
            born = born[:-1] + str((int(born[-1]) + 3) % 10)
        case 1:
            phone, line, postal = "", "", ""
        case 2:
            family = "Lindqvist"
        case 3:
            born, phone = "", ""
        case 4:
            line, postal, city = "4 New Rd", "75001", "Dallas"
    return demographics(_GIVEN[home][who], family, born, gender, phone, line, postal, city)


@dataclass(slots=True)
class Client:
    """Somebody at work, with what he saw when he last looked."""

    name: str
    persons: list[UUID] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    done: list[UUID] = field(default_factory=list)

    def look(self) -> None:
        self.persons = list(
            Person.objects.filter(merged_into__isnull=True).order_by("created_at", "pk").values_list("pk", flat=True)
        )
        self.records = list(SourceRecord.objects.order_by("pk").values_list("pk", flat=True))
        self.items = list(ReviewItem.objects.order_by("pk").values_list("pk", flat=True))


class Sequence:
    """One sequence, drawn from a seed. `probes`: the share of changes that are undone and brought back on the spot."""

    def __init__(self, seed: int, *, probes: float = 0.0) -> None:
        self.draw = random.Random(seed)
        self.probes = probes
        self.clients = [Client("Staff/ada"), Client("Staff/ben")]
        self.first_links: dict[int, list[Any]] = {}
        self.items: dict[int, list[Any]] = {}
        self.closed: dict[int, dict[int, list[Any]]] = {}
        self.removed: set[int] = set()
        self.counts: dict[str, int] = {}

    def run(self, operations: int = OPERATIONS) -> None:
        for _ in range(6):
            self._feed()
        for client in self.clients:
            client.look()
        for _ in range(operations):
            client = self.draw.choice(self.clients)
            if self.draw.random() < 0.5:
                client.look()
            if self.draw.random() < 0.3:
                self._feed_like(client)
            else:
                self._change(client)
        self.consistent()
        self.undo_everything()
        self.consistent()
        self.is_what_the_feeds_say()

    # -- what feeds do --

    def _feed_like(self, client: Client) -> None:
        act = self.draw.choice(["feed"] * 6 + ["remove", "defer", "anchor"])
        self._count(act)
        match act:
            case "feed":
                self._feed()
            case "remove":
                self._remove()
            case "defer":
                self._noted(lambda: self._defer(client))
            case _:
                self._noted(lambda: self._anchor(client))

    def _feed(self) -> None:
        org = self.draw.choice(list(ORGS))
        value = f"{org[0].upper()}{self.draw.randrange(VALUES)}"
        person = somebody(self.draw)
        known = SourceRecord.objects.filter(identifiers__value=value, identifiers__authority=ORGS[org]).first()
        was_removed = known is not None and known.status == "removed"
        self._noted(lambda: linking.feed(record(value, person, org=org)))
        if known is not None and was_removed and SourceRecord.objects.get(pk=known.pk).status == "active":
            self.removed.discard(known.pk)

    def _noted(self, act: Callable[[], object]) -> None:
        """Run what is not to be undone, and note what it did of itself."""
        before = state.rows()
        last = IdentityEvent.objects.order_by("-seq").values_list("seq", flat=True).first() or 0
        act()
        after = state.rows()
        had = {row[0] for row in before["links"]}
        for row in after["links"]:
            if row[2] != "rejected" and row[0] not in had:
                self.first_links[row[0]] = row[1:]
        merged = IdentityEvent.objects.filter(seq__gt=last, kind="merged", undoes__isnull=True).first()
        self._note_items(before, after, merged.seq if merged else None)

    def _note_items(self, before: dict[str, list[Any]], after: dict[str, list[Any]], closing: int | None) -> None:
        former = {row[0]: row for row in before["items"]}
        for row in after["items"]:
            if former.get(row[0]) == row:
                continue
            if closing is not None and row[0] in former:
                self.closed.setdefault(closing, {})[row[0]] = row
            elif closing is None or row[0] not in former:
                self.items[row[0]] = row

    def _remove(self) -> None:
        found = SourceRecord.objects.exclude(participant_id="hub").exclude(status="removed").order_by("pk")
        one = self.draw.choice(list(found))
        identifier = one.identifiers.get()
        known = identifiers.resolve(identifier.authority, identifier.value)
        assert known is not None
        linking.remove(known, actor="clinic")
        self.removed.add(one.pk)

    def _defer(self, client: Client) -> None:
        waiting = ReviewItem.objects.filter(status__in=["open", "deferred"], event__isnull=True).order_by("pk").first()
        if waiting is not None:
            reviewing.settle(waiting.pk, Verdict.DEFER, actor=client.name, reason="later")

    def _anchor(self, client: Client) -> None:
        living = Person.objects.filter(merged_into__isnull=True, links__valid_to__isnull=True).order_by("pk").distinct()
        identifiers.anchor(self.draw.choice([person.pk for person in living]))

    # -- what somebody asks for --

    def _change(self, client: Client) -> None:
        verb = self.draw.choice(
            ["merge", "merge", "link", "unlink", "split", "replace", "verdict", "verdict", "undo", "undo"]
        )
        before = state.dump()
        try:
            event = self._asked(client, verb)
        except REFUSALS:
            self._count("refused")
            assert state.dump() == before, f"a refused {verb} left something behind"
            return
        if event is None:
            return
        self._count(verb)
        client.done.append(event)
        if self.draw.random() < self.probes:
            self._probe(client, verb, event, before)

    def _asked(self, client: Client, verb: str) -> UUID | None:
        draw, actor = self.draw, client.name
        match verb:
            case "merge":
                return linking.merge(draw.choice(client.persons), draw.choice(client.persons), actor=actor)
            case "link":
                return linking.link(draw.choice(client.records), draw.choice(client.persons), actor=actor)
            case "unlink":
                return linking.unlink(draw.choice(client.records), actor=actor)
            case "split":
                person = draw.choice(client.persons)
                held = [view.source_record_id for view in queries.source_records(person)]
                into = draw.choice(client.persons) if draw.random() < 0.3 else None
                return linking.split(person, draw.sample(held, len(held) // 2), actor=actor, into=into)
            case "replace":
                org = draw.choice(list(ORGS))
                one, other = (
                    identifiers.resolve(ORGS[org], f"{org[0].upper()}{n}") for n in draw.sample(range(VALUES), 2)
                )
                return linking.resolve_duplicate(one, other, actor=actor) if one and other else None
            case "verdict":
                if not client.items:
                    return None
                said = draw.choice([Verdict.SAME, Verdict.DIFFERENT])
                return reviewing.settle(draw.choice(client.items), said, actor=actor, reason="asked").event_id
            case _:
                theirs = self.clients[0].done + self.clients[1].done
                return self._undo(draw.choice(client.done or theirs), actor) if theirs else None

    def _undo(self, event_id: UUID, actor: str) -> UUID:
        """Undo; what the machine had joined is noted as the machine's."""
        before = state.rows()
        event = linking.undo(event_id, actor=actor)
        made = IdentityEvent.objects.get(id=event)
        root = made
        while root.undoes is not None:
            root = root.undoes
        if root.detail.get("automatic"):
            self._note_items(before, state.rows(), made.seq)
        return event

    def _probe(self, client: Client, verb: str, event: UUID, before: str) -> None:
        self._count("probes")
        after = state.dump()
        undone = linking.undo(event, actor=client.name)
        now = state.dump()
        assert now == before, f"{verb} undone: {state.differences(before, now)}"
        linking.undo(undone, actor=client.name)
        now = state.dump()
        assert now == after, f"{verb} brought back: {state.differences(after, now)}"

    def _count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    # -- what must be true --

    def undo_everything(self) -> None:
        """Undo, in any order, all that somebody asked for; what the machine joined and somebody parted is joined again."""
        roots = list(IdentityEvent.objects.filter(undoes__isnull=True, detail__has_key="moved"))
        roots += list(IdentityEvent.objects.filter(undoes__isnull=True, detail__has_key="adopted"))
        self.draw.shuffle(roots)
        stands = _standing()
        for root in roots:
            if not root.detail.get("automatic") and stands(root.seq):
                linking.undo(root.id, actor="Staff/ada")
        for root in roots:
            if root.detail.get("automatic") and not stands(root.seq):
                events = [root]
                while (later := IdentityEvent.objects.filter(undoes=events[-1]).first()) is not None:
                    events.append(later)
                try:
                    self._undo(events[-1].id, "Staff/ben")
                except InvalidMerge:
                    self._count("joined otherwise since")

    def is_what_the_feeds_say(self) -> None:
        held, stands = state.rows(), _standing()
        joined = {
            event.other_person_id: event
            for event in IdentityEvent.objects.filter(kind="merged", undoes__isnull=True, detail__automatic=True)
            if stands(event.seq)
        }
        expected = []
        for record_id, link in self.first_links.items():
            person, row = UUID(link[0]), [record_id, *link[:6], datetime.fromisoformat(link[6])]
            while person in joined:
                event = joined[person]
                person = event.person_id
                row = [record_id, str(person), "auto", None, "", {}, event.reason, max(row[7], event.at)]
            expected.append(row)
        links = [[*row[:7], datetime.fromisoformat(row[7])] for row in held["links"]]
        assert sorted(links, key=repr) == sorted(expected, key=repr), "links"
        parted = MatchDecision.objects.filter(event__undoes__isnull=False, event__undoes__detail__automatic=True)
        left = sorted((d.record_a_id, d.record_b_id) for d in parted if d.event_id and stands(d.event_id))
        assert sorted((row[0], row[1]) for row in held["verdicts"]) == sorted(set(left)), "verdicts"
        statuses = {row[0]: (row[2], row[3]) for row in held["records"]}
        removed = {pk: ("removed" if pk in self.removed else "active", None) for pk in self.first_links}
        assert statuses == removed, "statuses"
        items = dict(self.items)
        for seq in sorted(self.closed):
            if stands(seq):
                items |= self.closed[seq]
        assert _asked_once(held["items"]) == _asked_once(list(items.values())), "review items"

    def consistent(self) -> None:
        """What is derived is what it is derived from says, whatever was done."""
        held = state.rows()
        persons = {row[0]: row for row in held["persons"]}
        linked = {row[1] for row in held["links"] if row[2] != "rejected"}
        for pk, (_, into, _, _) in persons.items():
            assert (into is None) == (pk in linked), "a person is a redirect, or somebody's"
        assert set(self.first_links) <= {row[0] for row in held["links"] if row[2] != "rejected"}
        views = store.views([UUID(one) for one in linked])
        for person in Person.objects.filter(pk__in=linked):
            made = golden_json(survive(views[person.pk]))
            assert person.golden == made, "a golden record is what the records make"
        for _, living in identifiers.survivors_of(Person.objects.values_list("pk", flat=True)).items():
            assert str(living) in linked, "a redirect leads to somebody"
        keys = {record_id: set(some) for record_id, some in held["keys"]}
        newest = dict(
            SourceRecordVersion.objects.filter(quarantined=False)
            .values_list("source_record")
            .annotate(n=Max("version"))
        )
        for row in SourceRecord.objects.select_related("current_version"):
            version = row.current_version
            if version is None or row.status != "active":
                assert row.pk not in keys
                continue
            assert keys[row.pk] == set(blocking.hashes(Features.from_json(version.normalised)))
            assert version.version >= newest[row.pk]

    def persons_after_a_relink(self) -> list[list[str]]:
        """The records of each person of two and more, by identifier, when all are put together anew."""
        found = shadow.relinked(store.scorer())
        names = {row.pk: row.identifiers.get().value for row in SourceRecord.objects.all()}
        return sorted(sorted(names[one] for one in members) for members in found)


def _standing() -> Callable[[int], bool]:
    """Whether an event stands, as things are now."""
    by = dict(IdentityEvent.objects.filter(undoes__isnull=False).values_list("undoes_id", "seq"))

    def stands(seq: int) -> bool:
        later = by.get(seq)
        return later is None or not stands(later)

    return stands


def _asked_once(rows: list[list[Any]]) -> list[list[Any]]:
    """Review items in order; of several that ask the same of a record and a person, and are open, one is enough."""
    seen: set[tuple[Any, ...]] = set()
    out = []
    for row in sorted(rows, key=lambda row: -row[0]):
        _, kind, status, record_id, _, _, candidate = row[:7]
        if (kind, status) == ("possible-match", "open"):
            if (record_id, candidate) in seen:
                continue
            seen.add((record_id, candidate))
            row = [kind, status, record_id, candidate]
        out.append(row)
    return sorted(out, key=repr)
