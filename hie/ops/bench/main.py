"""`./hub bench [name …]`: a table (CPU per request, rate seen, p50, p99, the ceiling beside it) and a JSON file each.

CPU per request is that of the whole hub, its database included; the rate is what this machine gave while the
client ran on it too. Compare ratios within one run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from hie.ops.bench import consent, exchange, fanout, index, index_identity, index_speed, log, pure, xds
from hie.ops.bench.place import ROOT, Place, running

RESULTS = ROOT / "bench-results"
CLIENTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    cpu_ms: float | None
    rate_per_s: float
    p50_ms: float
    p99_ms: float
    ceiling: str
    note: str = ""


def measure(place: Place, name: str, act: Callable[[int], None], *, count: int, ceiling: str, note: str = "") -> Row:
    """Do `act` `count` times from a few clients at once; CPU of the hub's tree per act."""
    for number in range(min(20, count)):
        act(-1 - number)
    took: list[float] = []

    def timed(number: int) -> None:
        began = time.perf_counter()
        act(number)
        took.append(time.perf_counter() - began)

    before, began = place.cpu_s(), time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(timed, range(count)))
    elapsed, used = time.perf_counter() - began, place.cpu_s() - before
    took.sort()
    return Row(
        name=name,
        cpu_ms=round(used / count * 1000, 2),
        rate_per_s=round(count / elapsed, 1),
        p50_ms=round(statistics.median(took) * 1000, 2),
        p99_ms=round(took[min(len(took) - 1, int(len(took) * 0.99))] * 1000, 2),
        ceiling=ceiling,
        note=note,
    )


def main(arguments: list[str]) -> int:
    """Run the benchmarks named, or all."""
    known = [*exchange.NAMES, *pure.NAMES, "consent", "fanout", "index", "log", "xds"]
    parser = argparse.ArgumentParser(prog="./hub bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(known))
    parser.add_argument("--count", type=int, default=400, help="requests a benchmark")
    parser.add_argument("--records", type=int, default=index_speed.RECORDS, help="people of the index at its largest")
    parser.add_argument("--entries", type=int, default=xds.ENTRIES, help="document entries of `xds` at its largest")
    parser.add_argument("--events", type=int, default=log.EVENTS, help="events of the log that the desk searches")
    parser.add_argument("--lines", type=int, default=log.LINES, help="events of the one patient whose log is read")
    parser.add_argument("--keep", type=Path, help="folder in which the hub of `log` stays, to go on with filling it")
    parser.add_argument(
        "--data", type=Path, help="folder of the labelled sets; without it the index is measured for speed"
    )
    parser.add_argument(
        "--sets", nargs="*", default=[], metavar="SET", help=", ".join([*index.SETS, index_identity.NAME])
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    names = options.names or known
    RESULTS.mkdir(exist_ok=True)
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        (RESULTS / f"{row.name.replace(' ', '-')}.json").write_text(json.dumps(asdict(row), indent=1))
        print(_line(row), flush=True)

    print(_line(None), flush=True)
    for name in pure.NAMES:
        if name in names and name != "audit":
            add(Row(**pure.run(name)))
    if "consent" in names:
        for row in consent.run():
            add(Row(**row))
    if any(name in names for name in (*exchange.NAMES, "audit", "consent", "fanout")):
        with running() as place:
            wanted = [name for name in exchange.NAMES if name in names]
            if wanted:
                for name, act, ceiling, note in exchange.acts(place, wanted, count=options.count):
                    add(measure(place, name, act, count=options.count, ceiling=ceiling, note=note))
            if "audit" in names:
                add(Row(**pure.audit(place)))
            if "consent" in names:
                for row in consent.through_the_door(place):
                    add(Row(**row))
                asking = consent.decision_over_http(place)
                if asking is None:
                    print("no $consent-decision here, so it is not measured")
                else:
                    act, ceiling, note = asking
                    name = "consent decision HTTP"
                    add(measure(place, name, act, count=options.count * 5, ceiling=ceiling, note=note))
            if "fanout" in names:
                for row in fanout.run(place):
                    add(Row(**row))
            print(f"memory of the hub's tree (PSS): {place.pss_mb():.0f} MB")
    if "log" in names:
        with running(keep=options.keep) as place:
            for row in log.run(place, events=options.events, lines=options.lines, count=min(options.count, 200)):
                add(Row(**row))
    if "xds" in names:
        # A hub of its own: what others publish would lie among the entries.
        with running() as place:
            for name, act, ceiling, note in xds.acts(place, entries=options.entries, count=options.count):
                add(measure(place, name, act, count=options.count, ceiling=ceiling, note=note))
            for row in xds.gibibyte(place):
                add(Row(**row))
    if "index" in names and options.data:
        print(index.HEAD, flush=True)
        findings = []
        lines = index.run(options.data, options.sets)
        if not options.sets or index_identity.NAME in options.sets:
            lines = itertools.chain(lines, index_identity.run())
        for finding in lines:
            findings.append(asdict(finding))
            print(finding, flush=True)
            (RESULTS / "index-accuracy.json").write_text(json.dumps(findings, indent=1))
    elif "index" in names:
        # A hub of its own: nothing else lies in its tables.
        with running() as place:
            for row in index_speed.run(place, records=options.records, count=options.count):
                add(Row(**row))
    return 0


def _line(row: Row | None) -> str:
    if row is None:
        head = ("benchmark", "CPU ms", "per s", "p50 ms", "p99 ms", "ceiling")
        return "{:<26}{:>9}{:>11}{:>10}{:>10}  {}".format(*head)
    cpu = "" if row.cpu_ms is None else _ms(row.cpu_ms)
    tail = f"{row.ceiling}  {row.note}".rstrip()
    return f"{row.name:<26}{cpu:>9}{row.rate_per_s:>11,.1f}{_ms(row.p50_ms):>10}{_ms(row.p99_ms):>10}  {tail}"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.5f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
