"""Persons out of scored pairs: mean linkage over the full matrix of each component. Pure.

Source: spec/mpi.md section 3, Cluster.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

COMPONENT_LIMIT = 400
RAISE_BITS = 2.0
TOGETHER = inf
"""The score of two that are together already: they are joined before any others, and never clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """When two clusters are one person: a link of at least `threshold` between them, and the mean score.

    Scores are clipped to `low` … `high` before the mean is taken.
    """

    mean: float
    low: float
    high: float = 12.0


AUTOMATIC = Test(mean=5.0, low=-20.0)
PROBABLE = Test(mean=0.0, low=-6.0)


def components(count: int, links: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Connected sets of positions with at least two members, each ascending, in order of their first member."""
    parent = list(range(count))

    def find(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    touched: set[int] = set()
    for a, b in links:
        touched.update((a, b))
        first, second = find(a), find(b)
        if first != second:
            parent[max(first, second)] = min(first, second)
    groups: dict[int, list[int]] = defaultdict(list)
    for position in sorted(touched):
        groups[find(position)].append(position)
    return [groups[root] for root in sorted(groups)]


def cluster(
    count: int,
    links: Sequence[tuple[int, int, float]],
    score: Callable[[int, int], float],
    *,
    test: Test,
    apart: frozenset[tuple[int, int]] = frozenset(),
) -> list[list[int]]:
    """Clusters of two and more positions, ascending, in order of their first member.

    `links` are the eligible links (i < j, score); `score(i, j)` gives the clustering score of any pair, under a rule
    -20, and `TOGETHER` for two that are one already; `apart` are pairs (i < j) that must never be together: sticky
    verdicts.
    """
    out: list[list[int]] = []
    pending = [list(links)]
    while pending:
        subset = pending.pop()
        groups = components(count, [(a, b) for a, b, _ in subset])
        group_of = {position: n for n, members in enumerate(groups) for position in members}
        inside: dict[int, list[tuple[int, int, float]]] = defaultdict(list)
        for item in subset:
            inside[group_of[item[0]]].append(item)
        for n, members in enumerate(groups):
            weakest = min(strength for _, _, strength in inside[n])
            if weakest == TOGETHER:
                out.append(members)
                continue
            if len(members) <= COMPONENT_LIMIT:
                out += _linkage(members, inside[n], score, test, apart)
                continue
            # Too large to be one person: weaker links go until it falls apart.
            floor = weakest + RAISE_BITS
            pending.append([item for item in inside[n] if item[2] >= floor])
    return sorted(out)


def _linkage(
    members: list[int],
    links: Sequence[tuple[int, int, float]],
    score: Callable[[int, int], float],
    test: Test,
    apart: frozenset[tuple[int, int]],
) -> list[list[int]]:
    def clipped(a: int, b: int) -> float:
        strength = score(a, b)
        return strength if strength == TOGETHER else min(test.high, max(test.low, strength))

    if len(members) == 2:
        a, b = members
        return [members] if clipped(a, b) >= test.mean and (a, b) not in apart else []
    sums: dict[tuple[int, int], float] = {}
    linked: set[tuple[int, int]] = {(a, b) for a, b, _ in links}
    for n, a in enumerate(members):
        for b in members[n + 1 :]:
            sums[(a, b)] = -inf if (a, b) in apart else clipped(a, b)
    clusters = {position: [position] for position in members}
    # The best mean first; ties by position, so that the order of input plays no part.
    heap = [(-sums[pair], pair, 1, 1) for pair in linked]
    heapq.heapify(heap)
    while heap:
        negative, (a, b), size_a, size_b = heapq.heappop(heap)
        if a not in clusters or b not in clusters or (len(clusters[a]), len(clusters[b])) != (size_a, size_b):
            continue
        if -negative < test.mean:
            break
        clusters[a] += clusters.pop(b)
        for c in clusters:
            if c == a:
                continue
            to_a, to_b = (min(a, c), max(a, c)), (min(b, c), max(b, c))
            sums[to_a] += sums.pop(to_b)
            if to_a in linked or to_b in linked:
                linked.add(to_a)
                sizes = (len(clusters[to_a[0]]), len(clusters[to_a[1]]))
                heapq.heappush(heap, (-sums[to_a] / (sizes[0] * sizes[1]), to_a, *sizes))
    return [sorted(items) for items in clusters.values() if len(items) > 1]
