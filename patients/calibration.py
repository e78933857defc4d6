"""What reviewed pairs say of the scores: how many bits they are off. Pure.

Source: spec/mpi.md section 3, Guard ("Thresholds are corrected by reviewed samples").
"""

from __future__ import annotations

from collections.abc import Sequence

from patients.matching import probability

MIN_REVIEWED = 50
LOWEST, HIGHEST = -6.0, 2.0
"""More care is learned faster than less: reviewers see the doubtful pairs, not those that were linked by themselves."""
_CLIP = 12.0
_SPREAD = 2.0  # bits; what is expected before anything was reviewed


def correction(reviewed: Sequence[tuple[float, bool]]) -> float:
    """Bits to add to every score so that reviewers' verdicts (score, same person) are as likely as can be.

    0 for fewer than `MIN_REVIEWED`; within `LOWEST` and `HIGHEST`. Moving the score by so much is the same as moving
    both thresholds the other way.
    """
    if len(reviewed) < MIN_REVIEWED:
        return 0.0
    clipped = [(min(_CLIP, max(-_CLIP, bits)), same) for bits, same in reviewed]
    low, high = LOWEST, HIGHEST
    # The slope of the likelihood falls all the way: halve until it is nothing.
    for _ in range(40):
        middle = (low + high) / 2
        slope = sum(same - probability(bits + middle) for bits, same in clipped) - middle / _SPREAD**2
        low, high = (middle, high) if slope > 0 else (low, middle)
    return round((low + high) / 2, 3)
