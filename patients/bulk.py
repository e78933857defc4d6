"""Many records at once: the same keys, scorer and test as for a single feed, in arrays and worker processes.

Nothing here touches the database. Workers are forked, so that they share what the parent has read; what a record
says besides its features lies in a nameless temporary file (`Spool`), which goes when its process ends however it ends.

Source: spec/mpi.md section 3, Block, Score, Cluster.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, overload
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from patients import blocking, clustering, packing, setwise
from patients.deciding import parts
from patients.matching import PROBABLE_BITS, Scorer, clustering_bits, probability
from patients.normalise import Features

Ints = NDArray[np.int64]
MAX_REVIEWS = 3
TOGETHER = clustering.TOGETHER  # what records of one known person count among themselves, whatever their own score
_SCORED = 250_000  # pairs scored in one piece
_FEW = 5_000  # lines, pairs or records that are not worth a process
T = TypeVar("T")


# --- processes --------------------------------------------------------------------------------------------------------

_shared: Any = None


def _call(task: tuple[Callable[[Any, Any], Any], Any]) -> Any:
    function, argument = task
    return function(_shared, argument)


class Workers:
    """Runs `function(shared, argument)` for many arguments, results in order: in forked processes, or right here."""

    def __init__(self, shared: Any, *, processes: int) -> None:
        global _shared
        self.shared = shared
        self.pool = None
        if processes > 1:
            # Forked now: what the parent holds is shared with them, page by page, and never sent.
            _shared = shared
            self.pool = multiprocessing.get_context("fork").Pool(
                processes, initializer=_settle_in, initargs=(os.getpid(),)
            )
            _shared = None

    def map(self, function: Callable[[Any, Any], T], arguments: Iterable[Any], *, ahead: int = 4) -> Iterator[T]:
        """Results in the order of the arguments; at most `ahead` of them are worked on beforehand."""
        if self.pool is None:
            for argument in arguments:
                yield function(self.shared, argument)
            return
        waiting: list[Any] = []
        for argument in arguments:
            waiting.append(self.pool.apply_async(_call, ((function, argument),)))
            if len(waiting) > ahead:
                yield waiting.pop(0).get()
        for result in waiting:
            yield result.get()

    def close(self) -> None:
        """End the processes; once is enough."""
        if self.pool is not None:
            self.pool.terminate()
            self.pool.join()
            self.pool = None


def _settle_in(parent: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # What was there before the fork is never collected here: walking over it would copy all of it. What is made here
    # goes with its last use; looking for cycles all the time cost a third of the reading.
    gc.freeze()
    gc.set_threshold(500_000)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@contextmanager
def workers(shared: Any, *, wanted: int) -> Iterator[Workers]:
    """Workers for about `wanted` pieces of work: none besides this process where that is few."""
    made = Workers(shared, processes=os.cpu_count() or 1 if wanted >= _FEW else 1)
    try:
        yield made
    finally:
        made.close()


# --- what lines say, out of memory ------------------------------------------------------------------------------------


class Spool:
    """Values put away by number, in a file without a name; read by any process forked after they were put."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # open as long as the spool
        self._ends = array("q", [0])

    def put(self, blobs: Iterable[bytes]) -> None:
        """Add values at the end."""
        data = list(blobs)
        self._file.write(b"".join(data))
        end = self._ends[-1]
        for blob in data:
            end += len(blob)
            self._ends.append(end)

    def flush(self) -> None:
        """Make what was put readable by others."""
        self._file.flush()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def read(self, number: int) -> bytes:
        """The value of this number."""
        start, end = self._ends[number], self._ends[number + 1]
        return os.pread(self._file.fileno(), end - start, start)

    def get(self, number: int) -> Any:
        """The value of this number, unpickled: only this process and its parents wrote it."""
        return pickle.loads(self.read(number))  # noqa: S301

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


# --- blocking ---------------------------------------------------------------------------------------------------------


class Pairs(Sequence[tuple[int, int]]):
    """Pairs of positions (i < j), each once, ascending, as two arrays."""

    def __init__(self, first: Ints, second: Ints) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first)

    @overload
    def __getitem__(self, index: int) -> tuple[int, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[int, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[int, int] | list[tuple[int, int]]:
        if isinstance(index, slice):
            return list(zip(self.first[index].tolist(), self.second[index].tolist(), strict=True))
        return int(self.first[index]), int(self.second[index])

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for start in range(0, len(self), 100_000):
            yield from self[start : start + 100_000]


def pairs(keys: Ints, owners: NDArray[Any], records: Sequence[Features], *, asking: int) -> Pairs:
    """As `blocking.pairs`, from hashed keys and the positions they belong to (ascending); one of the two below `asking`."""
    records = packing.of(records)
    count = len(records)
    order = np.argsort(keys)
    sorted_keys, members = keys[order], owners[order]
    found: list[Ints] = []

    def keep(first: NDArray[Any], second: NDArray[Any]) -> None:
        low, high = np.minimum(first, second), np.maximum(first, second)
        wanted = (low < asking) & (low != high)
        found.append(low[wanted].astype(np.int64) * count + high[wanted])
        if len(found) > 1 and sum(map(len, found[1:])) > len(found[0]):
            # A pair shares several keys: what is held is held once.
            found[:] = [packing.distinct(np.concatenate(found))]

    sizes = _sizes(sorted_keys)
    large = sizes > blocking.BLOCK_LIMIT
    _emit(sorted_keys, members, (sizes > 1) & ~large, keep)
    sorted_keys, members = sorted_keys[large], members[large]
    if len(members):
        codes = records.refinements()
        group = np.unique(sorted_keys, return_inverse=True)[1].astype(np.int64)
        for depth in range(codes.shape[1]):
            group = np.unique(group * (1 << 32) + codes[members, depth], return_inverse=True)[1].astype(np.int64)
            order = np.argsort(group)
            group, members = group[order], members[order]
            sizes = _sizes(group)
            large = sizes > blocking.BLOCK_LIMIT
            _emit(group, members, (sizes > 1) & ~large, keep)
            group, members = group[large], members[large]
        order = np.lexsort((members, codes[members, 2], codes[members, 1], group))
        group, members = group[order], members[order]
        for distance in range(1, blocking.WINDOW):
            same = group[:-distance] == group[distance:]
            keep(members[:-distance][same], members[distance:][same])
    every = packing.distinct(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)
    return Pairs(every // count, every % count)


def pairs_of(records: Sequence[Features]) -> Pairs:
    """`blocking.pairs` of these records, in arrays."""
    records = packing.of(records)
    held = [array("q", blocking.hashes(record)) for record in records]
    keys = np.frombuffer(b"".join([some.tobytes() for some in held]), dtype=np.int64)
    owners = np.repeat(np.arange(len(records), dtype=np.int64), [len(some) for some in held])
    return pairs(keys, owners, records, asking=len(records))


def _sizes(keys: Ints) -> Ints:
    """For each place of a sorted array, how many share its value."""
    if not len(keys):
        return np.empty(0, dtype=np.int64)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    lengths = np.diff(np.append(starts, len(keys)))
    return np.repeat(lengths, lengths)


def _emit(keys: Ints, members: NDArray[Any], wanted: NDArray[np.bool_], keep: Callable[[Any, Any], None]) -> None:
    keys, members = keys[wanted], members[wanted]
    for distance in range(1, blocking.BLOCK_LIMIT):
        same = keys[:-distance] == keys[distance:]
        if same.any():
            keep(members[:-distance][same], members[distance:][same])


# --- scoring and clustering -------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Found:
    """Pairs at *probable* and better: positions, score, whether automatic, whether under the twin or junior rule."""

    first: Ints
    second: Ints
    score: NDArray[np.float64]
    automatic: NDArray[np.bool_]
    vetoed: NDArray[np.bool_]


def _score_some(shared: tuple[packing.Records, Pairs, Scorer], bounds: tuple[int, int]) -> Found:
    columns, some, scorer = shared
    first, second = some.first[slice(*bounds)], some.second[slice(*bounds)]
    verdicts = setwise.score(scorer, columns, first, second)
    kept = verdicts.score >= PROBABLE_BITS
    return Found(
        first=first[kept],
        second=second[kept],
        score=verdicts.score[kept],
        automatic=verdicts.automatic[kept],
        vetoed=verdicts.vetoed[kept],
    )


def scored(records: Sequence[Features], some: Pairs, scorer: Scorer) -> Found:
    """Score every pair; keep those at *probable* and better."""
    columns = packing.of(records)
    columns.pack()
    bounds = [(start, start + _SCORED) for start in range(0, len(some), _SCORED)] or [(0, 0)]
    with workers((columns, some, scorer), wanted=len(some)) as crew:
        parts = list(crew.map(_score_some, bounds))
    return Found(
        first=np.concatenate([part.first for part in parts]),
        second=np.concatenate([part.second for part in parts]),
        score=np.concatenate([part.score for part in parts]),
        automatic=np.concatenate([part.automatic for part in parts]),
        vetoed=np.concatenate([part.vetoed for part in parts]),
    )


def _cluster_some(
    shared: tuple[Sequence[Features], Sequence[Hashable | None], Scorer], links: list[tuple[int, int, float]]
) -> list[list[int]]:
    records, units, scorer = shared
    positions = sorted({position for a, b, _ in links for position in (a, b)})
    place = {position: n for n, position in enumerate(positions)}

    def score(a: int, b: int) -> float:
        one, other = positions[a], positions[b]
        if units[one] is not None and units[one] == units[other]:
            return TOGETHER
        return scorer.score(records[one], records[other]).clustering

    local = [(place[a], place[b], strength) for a, b, strength in links]
    found = clustering.cluster(len(positions), local, score, test=clustering.AUTOMATIC)
    return [[positions[n] for n in members] for members in found]


def clusters(
    records: Sequence[Features], units: Sequence[Hashable | None], found: Found, scorer: Scorer
) -> list[list[int]]:
    """Clusters of two and more positions by automatic links, ascending, in order of their first member.

    `units` says what is together already, and stays together.
    """
    chosen = found.automatic
    links = list(
        zip(found.first[chosen].tolist(), found.second[chosen].tolist(), found.score[chosen].tolist(), strict=True)
    )
    first_of: dict[Hashable, int] = {}
    for position, unit in enumerate(units):
        if unit is not None and first_of.setdefault(unit, position) != position:
            links.append((first_of[unit], position, TOGETHER))
    group_of: dict[int, int] = {}
    for n, members in enumerate(clustering.components(len(records), [(a, b) for a, b, _ in links])):
        group_of |= dict.fromkeys(members, n)
    links.sort(key=lambda link: group_of[link[0]])
    out: list[list[int]] = []
    with workers((records, units, scorer), wanted=len(links)) as crew:
        for part in crew.map(_cluster_some, _batches(links, group_of)):
            out += part
    return sorted(out)


def _batches(links: list[tuple[int, int, float]], group_of: dict[int, int]) -> Iterator[list[tuple[int, int, float]]]:
    """The links in batches that cut no component."""
    batch: list[tuple[int, int, float]] = []
    for link in links:
        if len(batch) >= 2000 and group_of[link[0]] != group_of[batch[-1][0]]:
            yield batch
            batch = []
        batch.append(link)
    if batch:
        yield batch


@dataclass(slots=True, kw_only=True)
class Review:
    """A person that a record may belong to: the position it was nearest to, and the score there."""

    about: int
    score: float
    vetoed: bool


@dataclass(slots=True, kw_only=True)
class Plan:
    """What is to become of the new records: groups of one person each, the pair behind each link, what to review.

    `groups` hold positions of new records, in order of their first; `person_of` the known person a group joins, by
    its number. `best` is the pair that a linked record was linked by, None where its group links it.
    """

    groups: list[list[int]] = field(default_factory=list)
    person_of: dict[int, UUID] = field(default_factory=dict)
    linked: set[int] = field(default_factory=set)
    best: dict[int, int] = field(default_factory=dict)
    reviews: dict[int, list[Review]] = field(default_factory=dict)


def units(
    records: Sequence[Features], persons: Sequence[UUID | None], by_hand: Collection[UUID], scorer: Scorer
) -> list[Hashable | None]:
    """What is together already: the records of each known person, but of one whom hands put together (`by_hand`) each
    part for itself, as when a single record is fed (`deciding.parts`)."""
    out: list[Hashable | None] = list(persons)
    held: dict[UUID, list[int]] = defaultdict(list)
    for position, person in enumerate(persons):
        if person is not None and person in by_hand:
            held[person].append(position)
    for person, positions in held.items():
        for number, members in enumerate(parts(scorer, [records[position] for position in positions])):
            for place in members:
                out[positions[place]] = (person, number)
    return out


def plan(
    count: int,
    records: Sequence[Features],
    persons: Sequence[UUID | None],
    found: Found,
    scorer: Scorer,
    *,
    by_hand: Collection[UUID] = (),
) -> Plan:
    """Put the first `count` records, which are new, with one another and with the known ones after them.

    `persons` are those of the known ones, `by_hand` those of them whom hands put together.
    """
    out = Plan()
    joined: list[tuple[list[int], UUID | None]] = []
    grouped: set[int] = set()
    for members in clusters(records, units(records, persons, by_hand, scorer), found, scorer):
        # Persons that the index keeps apart are not joined here: the one with most records near takes the new ones.
        standing = Counter(person for position in members if (person := persons[position]) is not None)
        person = min(standing, key=lambda known: (-standing[known], str(known))) if standing else None
        fresh = [position for position in members if position < count]
        if fresh:
            joined.append((fresh, person))
            grouped.update(fresh)
            out.linked.update(fresh if person is not None else fresh[1:])
    joined += [([position], None) for position in range(count) if position not in grouped]
    joined.sort()
    out.groups = [members for members, _ in joined]
    out.person_of = {n: person for n, (_, person) in enumerate(joined) if person is not None}
    owner: list[Any] = [None] * count + list(persons[count:])
    for n, (members, person) in enumerate(joined):
        for position in members:
            owner[position] = person or n
    _judge(count, owner, found, out)
    return out


def _judge(count: int, owner: Sequence[Any], found: Found, out: Plan) -> None:
    """The best pair behind each link, and the persons each record asks about."""
    strongest: dict[int, tuple[bool, float]] = {}
    asked: dict[int, dict[Any, Review]] = defaultdict(dict)
    rows = zip(
        found.first.tolist(), found.second.tolist(), found.score.tolist(), found.automatic.tolist(),
        found.vetoed.tolist(), strict=True,
    )  # fmt: skip
    for a, b, score, automatic, vetoed in rows:
        if owner[a] == owner[b]:
            for one, other in ((a, b), (b, a)):
                if one in out.linked and strongest.get(one, (False, -1e9)) < (automatic, score):
                    strongest[one] = (automatic, score)
                    out.best[one] = other
            continue
        # Between two new records the later one asks about the earlier one's person.
        asking, about = (a, b) if b >= count else (b, a)
        known = asked[asking].get(owner[about])
        if known is None or score > known.score:
            asked[asking][owner[about]] = Review(about=about, score=score, vetoed=vetoed)
    for asking, items in asked.items():
        ordered = sorted(items.values(), key=lambda item: (-shown_bits(item), -item.score, item.about))
        out.reviews[asking] = ordered[:MAX_REVIEWS]


def shown_bits(item: Review) -> float:
    """The score shown for a person to review."""
    return clustering_bits(item.score, vetoed=item.vetoed)


def shown_probability(item: Review) -> float:
    """`shown_bits` as a probability."""
    return probability(shown_bits(item))
