"""Fault schedules: many lives of a runner on a terminal that goes wrong, judged by an oracle.

    python benchmarks/fault_schedules.py [--calls 30] [--random 75000] [--workers 2] [--seed 1]
    python benchmarks/fault_schedules.py --replay '22=requote,31=dies after' [--on hedging]

Plays all single faults, all pairs of faults at 30 successive calls (in which the position is
turned, reduced and opened), and random plans of three to eight faults at any call; prints rates
and every violation with the command that replays its smallest form, and ends with 1 if there was
one. Journals lie in memory where the machine has it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))

import schedules


@cache
def folder() -> Path:
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))


def play(on: str, plans: list[dict[int, str]]) -> list[tuple[str, list[str]]]:
    """Violations of a batch, each with its smallest plan."""
    journal, found = folder() / "journal.db", []
    for plan in plans:
        if schedules.broken(plan, journal, on=on):
            found.append(schedules.smallest(plan, journal, on=on))
    return found


def batches(plans: Iterator[dict[int, str]], size: int = 50) -> Iterator[list[dict[int, str]]]:
    while batch := list(islice(plans, size)):
        yield batch


def replay(text: str, on: str) -> int:
    plan = dict((int(n), name) for n, name in (one.split("=", 1) for one in text.split(",")))
    broken = schedules.broken(plan, folder() / "journal.db", on=on)
    print("\n".join(broken) or "nothing is broken")
    return 1 if broken else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=75_000)
    parser.add_argument("--calls", type=int, default=30, help="of which all pairs are played")
    parser.add_argument("--from-call", type=int, default=25)
    parser.add_argument("--skip", type=int, default=0, help="so many of them, played before")
    parser.add_argument("--pairs", type=int, default=0, help="at any calls, by chance")
    parser.add_argument("--singles", type=int, default=10**9)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", default="")
    parser.add_argument("--on", choices=schedules.STAGES, default="brief")
    options = parser.parse_args()
    if options.replay:
        return replay(options.replay, options.on)
    rng, failures = np.random.default_rng(options.seed), 0
    among = range(options.from_call, options.from_call + options.calls)
    kinds = {
        "single": schedules.single_plans(rng, options.singles, options.on),
        "all pairs": islice(schedules.all_pairs(among, options.on), options.skip, None),
        "pair": schedules.pair_plans(rng, options.pairs, options.on),
        "random": schedules.random_plans(rng, options.random, options.on),
    }
    judged = partial(play, options.on)
    with ProcessPoolExecutor(options.workers) as pool:
        for kind, plans in kinds.items():
            began, count = time.perf_counter(), 0
            played = list(batches(plans))
            for batch, found in zip(played, pool.map(judged, played), strict=True):
                count += len(batch)
                for command, broken in found:
                    failures += 1
                    print(f"{command}\n    {broken[0]}", flush=True)
                if count % 20_000 == 0 or batch is played[-1]:
                    spent = time.perf_counter() - began
                    line = f"{kind:<9} {count:>8,} schedules  {spent:8.1f} s"
                    print(f"{line}  {failures} violations", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
