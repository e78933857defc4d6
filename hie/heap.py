"""How the processes that serve collect their garbage."""

from __future__ import annotations

import gc
from typing import Any


def load() -> None:
    """Look for cycles seldom from now on: called before anything is loaded.

    What loading makes lives as long as the process. Walking it each time that 700 objects more have come costs a third
    of the start of every command and every process.
    """
    gc.set_threshold(50_000, 20, 20)


def settle(**_: Any) -> None:
    """Set apart what is loaded by now, and look for cycles among the rest less often.

    A loaded hub is half a million objects that live as long as the process: walking them again and again costs a
    quarter of the work (measured on a hundred communities' answers), and unshares them between forked processes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
