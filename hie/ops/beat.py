"""`./hub beat`: the clock that asks for the sweeps of `hie/celery.py`; one for all hosts."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Tick until told to stop."""
    from hie.celery import app
    from hie.ops.worker import refuse_if_wrong

    app.set_default()
    refuse_if_wrong()
    app.start(["beat", "--loglevel=INFO", "--pidfile=", *arguments])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
