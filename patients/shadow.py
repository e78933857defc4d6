"""A change of model in shadow: who would be merged or split, before anything is.

Nothing is changed here but the status of models. A model goes live only after a shadow run that is neither too old nor
implausible: that links a good deal more than the one that is live, or makes persons too large to be one.

Source: spec/mpi.md section 3, Guard.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from patients import bulk, clustering, packing, store
from patients.errors import ModelRefused
from patients.matching import Model, Scorer
from patients.models import MatchModel
from patients.normalise import Features

SAMPLE = 100_000
MOST_RECORDS = 100
"""Records of one person beyond which a model is not believed, unless the index has such persons today."""
MORE_LINKS = 1.25
"""How many times today's links a new model may make."""
_FREE_LINKS = 20

_RECORDS = f"""
SELECT r.id, l.person_id, l.kind = 'manual', v.normalised, v.digest,
       (SELECT min(i.authority || '|' || i.value) FROM patients_patientidentifier i WHERE i.source_record_id = r.id)
  FROM patients_link l
  JOIN patients_sourcerecord r ON r.id = l.source_record_id AND r.status = 'active'
  JOIN patients_sourcerecordversion v ON v.id = r.current_version_id
 WHERE {store.CURRENT}
 ORDER BY hashtextextended(l.person_id::text, 0), l.person_id, r.id LIMIT %s
"""  # noqa: S608  # constants only
_APART = """
SELECT record_a_id, record_b_id FROM patients_matchdecision WHERE verdict = 'different' AND withdrawn_at IS NULL
"""


@dataclass(slots=True, kw_only=True)
class Changes:
    """What a model would do to the persons of today, of `records` looked at (all, or whole persons of a sample).

    `merged` are sets of persons that would be one, `split` a person with the records of each part. What stewards
    decided stays as decided in either.
    """

    records: int
    links_before: int
    links_after: int
    largest: int
    merged: list[list[UUID]] = field(default_factory=list)
    split: list[tuple[UUID, list[list[int]]]] = field(default_factory=list)
    largest_before: int = 1

    @property
    def implausible(self) -> str:
        """Why the model is not to be believed; "" when it is."""
        if self.links_after > self.links_before * MORE_LINKS + _FREE_LINKS:
            return f"it makes {self.links_after} links where there are {self.links_before} today"
        if self.largest > max(MOST_RECORDS, self.largest_before):
            return f"it makes a person of {self.largest} records"
        return ""

    def statistics(self) -> dict[str, Any]:
        """The figures, for storage."""
        return {
            "records": self.records, "links_before": self.links_before, "links_after": self.links_after,
            "largest": self.largest, "merged": len(self.merged), "split": len(self.split),
            "implausible": self.implausible,
        }  # fmt: skip


def run(version: str, *, sample: int = SAMPLE) -> Changes:
    """Judge the index by a kept model, note the figures with it, and give the list. Persons stay as they are.

    Raises:
        ModelRefused: there is no such model.
    """
    row = MatchModel.objects.filter(version=version).first()
    if row is None:
        raise ModelRefused(f"no model {version}")
    found = changes(Scorer(Model.from_json(row.parameters)), sample=sample)
    row.statistics = {**row.statistics, "shadow": found.statistics()}
    row.save(update_fields=["statistics"])
    return found


def activate(version: str) -> None:
    """Make a model live in place of the one that is.

    Raises:
        ModelRefused: there is no such model, the guard refused it, or its shadow run is missing or implausible.
    """
    with transaction.atomic():
        rows = {row.version: row for row in MatchModel.objects.select_for_update().order_by("pk")}
        row = rows.get(version)
        if row is None:
            raise ModelRefused(f"no model {version}")
        if row.status == MatchModel.Status.REFUSED:
            raise ModelRefused(f"model {version} was refused by the guard")
        shadow = row.statistics.get("shadow")
        if shadow is None:
            raise ModelRefused(f"model {version} has not run in shadow")
        if shadow["implausible"]:
            raise ModelRefused(f"model {version} is implausible: {shadow['implausible']}")
        MatchModel.objects.filter(status=MatchModel.Status.ACTIVE).update(status=MatchModel.Status.RETIRED)
        MatchModel.objects.filter(pk=row.pk).update(status=MatchModel.Status.ACTIVE)


def relinked(scorer: Scorer, *, sample: int = SAMPLE) -> list[list[int]]:
    """The records of today put together anew: persons of two and more records, by record id, in order.

    What stewards kept apart stays apart. The order in which records arrived plays no part.
    """
    rows = _records(sample)
    return sorted(sorted(rows[position][0] for position in members) for members in _clusters(rows, scorer))


def _clusters(rows: list[tuple[int, UUID, bool, Features]], scorer: Scorer) -> list[list[int]]:
    features = packing.Records(item for _, _, _, item in rows)
    place = {record_id: n for n, (record_id, _, _, _) in enumerate(rows)}
    with connection.cursor() as cursor:
        cursor.execute(_APART)
        told = [(place.get(a), place.get(b)) for a, b in cursor.fetchall()]
    apart = frozenset((min(a, b), max(a, b)) for a, b in told if a is not None and b is not None)
    some = bulk.pairs_of(features)
    found = bulk.scored(features, some, scorer)
    chosen = found.automatic
    links = list(
        zip(found.first[chosen].tolist(), found.second[chosen].tolist(), found.score[chosen].tolist(), strict=True)
    )
    return clustering.cluster(
        len(rows),
        links,
        lambda a, b: scorer.score(features[a], features[b]).clustering,
        test=clustering.AUTOMATIC,
        apart=apart,
    )


def changes(scorer: Scorer, *, sample: int = SAMPLE) -> Changes:
    """Who would be merged or split by this scorer."""
    rows = _records(sample)
    clusters = _clusters(rows, scorer)
    group = list(range(len(rows)))
    for members in clusters:
        for position in members:
            group[position] = members[0]
    people: dict[UUID, list[int]] = defaultdict(list)
    for position, (_, person, _, _) in enumerate(rows):
        people[person].append(position)
    sizes = Counter(group)
    out = Changes(
        records=len(rows),
        links_before=len(rows) - len(people),
        links_after=len(rows) - len(sizes),
        largest=max(sizes.values(), default=0),
        largest_before=max(map(len, people.values()), default=0),
    )
    for members in clusters:
        persons = sorted({rows[position][1] for position in members})
        if len(persons) > 1:
            out.merged.append(persons)
    for person, positions in sorted(people.items()):
        parts: dict[int, list[int]] = defaultdict(list)
        for position in positions:
            if not rows[position][2]:  # what a steward linked stays
                parts[group[position]].append(rows[position][0])
        if len(parts) > 1:
            out.split.append((person, sorted(parts.values())))
    return out


def _records(sample: int) -> list[tuple[int, UUID, bool, Features]]:
    """Ordered by what they say, not by when they came: ties between scores fall the same way whatever came first."""
    with connection.cursor() as cursor:
        cursor.execute(_RECORDS, [sample])
        rows = sorted(cursor.fetchall(), key=lambda row: (bytes(row[4]), row[5]))
    return [
        (record_id, person, by_hand, Features.read(normalised)) for record_id, person, by_hand, normalised, _, _ in rows
    ]
