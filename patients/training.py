"""Training of the match model without labels: EM over three latent classes. Pure; needs numpy.

u comes from random pairs less the matches among them; m, the household's own distributions and the
priors by EM on candidate pairs, which stand for all pairs of the population: pairs that share no block
are taken as unrelated. Prior counts from the built-in table keep fields that are rarely compared sane.

Source: spec/mpi.md section 3, Score and Guard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patients import levels as lv
from patients import packing, setwise
from patients.matching import (
    PERSON_FIELDS,
    PHONE,
    STREET,
    Model,
    Scorer,
    default_model,
    frequency_terms,
)
from patients.normalise import Features

SAMPLE_PAIRS = 300_000
ALL_PAIRS = 1_500 * 1_499 // 2
PRIOR_COUNT = 30.0
MAX_ITERATIONS = 40
MIN_RECORDS = 300
MAX_WRONG_SHARE = 0.03
_TABLE_LIMIT = 20_000  # values kept of a frequency table; rarer ones share its floor
_SMALLEST = 1e-9
SWAP_FLOOR = 1e-4

Floats = NDArray[np.float64]
Ints = NDArray[np.int8]
Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained model and what the guard looks at.

    `wrong_share` is the model's own estimate of wrong links among those at *probable* (it ranks, but runs
    up to four times too low); `links_per_record` the probable links it would make.
    """

    model: Model
    wrong_share: float
    links_per_record: float
    pairs: int
    iterations: int

    @property
    def acceptable(self) -> bool:
        """Whether the model may go live."""
        return self.wrong_share <= MAX_WRONG_SHARE

    def statistics(self) -> dict[str, Any]:
        """As JSON data for storage."""
        return {
            "wrong_share": round(self.wrong_share, 5),
            "links_per_record": round(self.links_per_record, 4),
            "pairs": self.pairs,
            "iterations": self.iterations,
        }


def frequencies(records: Sequence[Features]) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """How often each value occurs, the more frequent ones by table, and what any other counts as."""
    counts: dict[str, Counter[str]] = {}
    for record, count in _distinct(packing.of(records)):
        for table, value in frequency_terms(record):
            counts.setdefault(table, Counter())[value] += count
    tables: dict[str, dict[str, float]] = {}
    floor: dict[str, float] = {}
    for table, counter in sorted(counts.items()):
        total = sum(counter.values())
        if total < MIN_RECORDS // 2:
            continue
        # A value seen once or twice says only that it is rare: both count as the floor.
        kept = sorted(((c, v) for v, c in counter.items() if c > 2), key=lambda item: (-item[0], item[1]))
        tables[table] = {value: count / total for count, value in kept[:_TABLE_LIMIT]}
        floor[table] = 2.0 / total
    return tables, floor


def _distinct(records: packing.Records) -> Iterator[tuple[Features, int]]:
    """Each value of each field whose frequency counts, as a record of that field alone, and how many have it."""
    for column in ("given", "surname", "birth", "places", "phones", "emails"):
        values = records.names if column in ("given", "surname") else records.values[column]
        held = np.bincount(records.codes(column), minlength=len(values))
        chosen = np.flatnonzero(held)
        for value, count in zip(values.some(chosen), held[chosen].tolist(), strict=True):
            yield Features(**{column: value}), count


def random_pairs(count: int, *, seed: int = 1) -> tuple[Positions, Positions]:
    """Pairs of positions for u: all of them where they are no more than 1,500 records', else 300,000 at random."""
    if count * (count - 1) // 2 <= ALL_PAIRS:
        first, second = np.triu_indices(count, 1)
        return first.astype(np.int64), second.astype(np.int64)
    draw = np.random.default_rng(seed)
    one, other = draw.integers(0, count, (2, SAMPLE_PAIRS + SAMPLE_PAIRS // 10))
    keys = packing.distinct((np.minimum(one, other) * count + np.maximum(one, other))[one != other])
    if len(keys) > SAMPLE_PAIRS:
        keys = np.sort(draw.choice(keys, SAMPLE_PAIRS, replace=False))
    return keys // count, keys % count


def sample(candidates: Sequence[tuple[int, int]], *, seed: int = 1) -> tuple[Positions, Positions]:
    """At most 300,000 of the candidate pairs, as two arrays."""
    first, second = pair_arrays(candidates)
    if len(first) <= SAMPLE_PAIRS:
        return first, second
    chosen = np.sort(np.random.default_rng(seed).choice(len(first), SAMPLE_PAIRS, replace=False))
    return first[chosen], second[chosen]


def pair_arrays(candidates: Sequence[tuple[int, int]]) -> tuple[Positions, Positions]:
    """Pairs as two arrays; those that are kept as arrays (`first`, `second`) are taken as they are."""
    first, second = getattr(candidates, "first", None), getattr(candidates, "second", None)
    if first is None or second is None:
        both = np.array(candidates, dtype=np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]
    return first, second


def _shares(counts: Floats, prior: Sequence[float], weight: float) -> Floats:
    total = counts + weight * np.asarray(prior)
    shares: Floats = np.maximum(total / total.sum(), _SMALLEST)
    return shares


class _State:
    """The distributions as they are being estimated."""

    def __init__(self, base: Model) -> None:
        self.m = {name: np.asarray(base.m[name], dtype=float) for name in lv.FIELDS}
        self.u = {name: np.asarray(base.u[name], dtype=float) for name in lv.FIELDS}
        self.h = {name: np.asarray(values, dtype=float) for name, values in base.h.items()}
        self.prior_m = base.prior_m
        self.prior_h = base.prior_h

    def model(self, version: str, tables: Mapping[str, Mapping[str, float]], floor: Mapping[str, float]) -> Model:
        return Model(
            version=version,
            m={name: [float(p) for p in values] for name, values in self.m.items()},
            u={name: [float(p) for p in values] for name, values in self.u.items()},
            h={name: [float(p) for p in values] for name, values in self.h.items()},
            prior_m=float(self.prior_m),
            prior_h=float(self.prior_h),
            frequency=tables,
            floor=floor,
        )


def train(
    records: Sequence[Features], candidates: Sequence[tuple[int, int]], *, version: str, base: Model | None = None
) -> Trained:
    """A model for a population from its records and their candidate pairs (i < j, each once). Deterministic.

    Candidates must include pairs that share only a phone number, or only number, street and post code: the
    household class is learned from them.
    """
    base = base or default_model()
    columns = packing.of(records)
    first, second = sample(candidates)
    scale = len(candidates) / max(len(first), 1)
    all_pairs = max(len(records) * (len(records) - 1) / 2, 1.0)
    tables, floor = frequencies(columns)
    strangers = setwise.compare(columns, *random_pairs(len(records))).levels
    stranger_counts = {name: _count(strangers[:, index], len(base.m[name])) for index, name in enumerate(lv.FIELDS)}
    stranger_scale = all_pairs / max(len(strangers), 1)
    compared = setwise.compare(columns, first, second)
    vectors = compared.levels
    household_on = (vectors[:, PHONE] >= 0) | (vectors[:, STREET] >= 0)
    state = _State(base)
    state.prior_m = min(0.5 * len(records) / all_pairs, 0.01)
    state.prior_h = state.prior_m / 2
    # The first u: what random pairs say, before any match is taken out.
    _estimate_u(state, base, stranger_counts, stranger_scale, {})
    by_frequency = setwise.frequency_bits(Scorer(state.model(version, tables, floor)), compared)
    before, done = -1.0, 0
    match = np.zeros(len(vectors))
    for done in range(1, MAX_ITERATIONS + 1):  # noqa: B007  # read after the loop
        match, household = _expect(state, vectors, by_frequency, household_on)
        _maximise(state, base, vectors, match, household, scale, all_pairs)
        taken = {
            name: _weighted(vectors[:, index], match, len(base.m[name])) * scale for index, name in enumerate(lv.FIELDS)
        }
        _estimate_u(state, base, stranger_counts, stranger_scale, taken)
        total = float(match.sum())
        if abs(total - before) <= 1e-4 * max(total, 1.0):
            break
        before = total
    match, _ = _expect(state, vectors, by_frequency, household_on)
    probable = match >= 0.5
    links = int(probable.sum())
    return Trained(
        model=state.model(version, tables, floor),
        wrong_share=float((1.0 - match[probable]).mean()) if links else 0.0,
        links_per_record=links * scale / max(len(records), 1),
        pairs=len(first),
        iterations=done,
    )


def _count(column: Ints, size: int) -> Floats:
    return np.bincount(column[column >= 0].astype(np.int64), minlength=size).astype(float)


def _weighted(column: Ints, weights: Floats, size: int) -> Floats:
    present = column >= 0
    return np.bincount(column[present].astype(np.int64), weights=weights[present], minlength=size).astype(float)


def _estimate_u(
    state: _State, base: Model, counts: Mapping[str, Floats], scale: float, taken: Mapping[str, Floats]
) -> None:
    for name in lv.FIELDS:
        left = counts[name] * scale
        if name in taken:
            left = np.maximum(left - taken[name], 0.0)
        state.u[name] = _shares(left, base.u[name], PRIOR_COUNT)
    # Families give the same names crosswise (Thomas James, James Thomas): a swap never counts as rarer than this.
    given = state.u["given"]
    given[lv.GIVEN_SWAPPED] = max(given[lv.GIVEN_SWAPPED], SWAP_FLOOR)


def _log_likelihood(vectors: Ints, tables: Sequence[Floats]) -> Floats:
    out = np.zeros(len(vectors))
    for index, table in enumerate(tables):
        column = vectors[:, index]
        # A missing value (-1) takes the zero put at the end.
        out += np.append(np.log2(table), 0.0)[column]
    return out


def _expect(
    state: _State, vectors: Ints, by_frequency: Floats, household_on: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    log_m = _log_likelihood(vectors, [state.m[name] for name in lv.FIELDS]) + np.log2(state.prior_m)
    log_u = np.zeros(len(vectors))
    log_h = np.zeros(len(vectors))
    for index, name in enumerate(lv.FIELDS):
        column = vectors[:, index]
        plain = np.append(np.log2(state.u[name]), 0.0)[column]
        stranger = np.where(np.isnan(by_frequency[:, index]), plain, by_frequency[:, index])
        log_u += stranger
        if index in PERSON_FIELDS or name not in state.h:
            log_h += stranger
        else:
            log_h += np.append(np.log2(state.h[name]), 0.0)[column]
    log_u += np.log2(1.0 - state.prior_m - state.prior_h)
    log_h = np.where(household_on, log_h + np.log2(state.prior_h), -np.inf)
    top = np.maximum(np.maximum(log_m, log_u), log_h)
    parts = [np.exp2(log_m - top), np.exp2(log_u - top), np.exp2(log_h - top)]
    total = parts[0] + parts[1] + parts[2]
    return parts[0] / total, parts[2] / total


def _maximise(
    state: _State, base: Model, vectors: Ints, match: Floats, household: Floats, scale: float, all_pairs: float
) -> None:
    for index, name in enumerate(lv.FIELDS):
        size = len(base.m[name])
        state.m[name] = _shares(_weighted(vectors[:, index], match, size), base.m[name], PRIOR_COUNT)
        if name in state.h:
            state.h[name] = _shares(_weighted(vectors[:, index], household, size), base.h[name], PRIOR_COUNT)
    state.prior_m = min(max(float(match.sum()) * scale / all_pairs, 1.0 / all_pairs), 0.25)
    state.prior_h = min(max(float(household.sum()) * scale / all_pairs, 0.1 / all_pairs), 0.25)
