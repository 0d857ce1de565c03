"""Fault schedules: many lives of a runner on a terminal that goes wrong, judged by an oracle.

    python benchmarks/fault_schedules.py [--random 75000] [--workers 2] [--seed 1] [--done FILE]
    python benchmarks/fault_schedules.py --replay '22=requote,31=dies after'

Plays all single faults, all pairs of twenty kinds on a script of thirty bars, and random plans of
three to eight faults; prints rates and every violation with the command that replays its smallest
form, and ends with 1 if there was one. What is played stands in ``FILE``, a line for each chunk: a
run that was broken off goes on after them. Journals lie in memory where the machine has it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "faults"))

import harness
import schedules

CHUNK = 500
SCRIPT_BARS = 30  # of the pairs
KINDS = ("single", "pair", "random")


def plans_of(kind: str, options: argparse.Namespace) -> Iterator[schedules.Plan]:
    """All plans of a kind, the same ones in each run."""
    rng = np.random.default_rng([options.seed, KINDS.index(kind)])
    if kind == "single":
        # By their calls, so that those which come to the same stand in one chunk.
        every = schedules.single_plans(rng, options.singles)
        yield from sorted(every, key=lambda plan: sorted(plan.items()))
    elif kind == "pair":
        every = schedules.all_pairs(SCRIPT_BARS, schedules.TWENTY)
        yield from islice(every, options.pairs)
    else:
        yield from schedules.random_plans(rng, options.random)


def play(chunk: tuple[str, int, list[schedules.Plan]]) -> dict[str, Any]:
    """One line of the file: how many were played, how long, and what they broke."""
    kind, number, plans = chunk
    bars, began = SCRIPT_BARS if kind == "pair" else harness.BARS, time.process_time()
    known, found = schedules.known(bars), []
    lived = known.lived
    for plan in plans:
        if schedules.broken(plan, bars):
            command, broken = schedules.smallest(plan, bars)
            found.append([command, broken[0] if broken else "only where it is cut short"])
    spent, lived = time.process_time() - began, known.lived - lived
    told = {"kind": kind, "chunk": number, "plans": len(plans), "bars": lived}
    return told | {"cpu_s": round(spent, 3), "violations": found}


def chunks(kind: str, options: argparse.Namespace, done: set[int]) -> Iterator[Any]:
    plans, number = plans_of(kind, options), 0
    while chunk := list(islice(plans, CHUNK)):
        if number not in done:
            yield kind, number, chunk
        number += 1


def replay(text: str, bars: int) -> int:
    plan = dict((int(n), name) for n, name in (one.split("=", 1) for one in text.split(",")))
    broken = schedules.whole(schedules.faults_of(plan), bars)
    print("\n".join(broken) or "nothing is broken")
    return 1 if broken else 0


def read(path: Path | None, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Lines of an earlier run, which was one of the same plans."""
    if path is None or not path.exists():
        return []
    head, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if head != wanted(options):
        sys.exit(f"{path} is of another run, {head}; give the same options or another file")
    return lines


def wanted(options: argparse.Namespace) -> dict[str, int]:
    return {name: getattr(options, name) for name in ("singles", "pairs", "random", "seed")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--random", type=int, default=75_000)
    parser.add_argument("--pairs", type=int, default=10**9)
    parser.add_argument("--singles", type=int, default=10**9)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--done", type=Path)
    parser.add_argument("--bars", type=int, default=harness.BARS)
    parser.add_argument("--replay", default="")
    options = parser.parse_args()
    if options.replay:
        return replay(options.replay, options.bars)
    lines = read(options.done, options)
    if options.done is not None and not lines:
        options.done.write_text(json.dumps(wanted(options)) + "\n", "utf-8")
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        for kind in KINDS:
            done = {line["chunk"] for line in lines if line["kind"] == kind}
            for line in pool.map(play, chunks(kind, options, done)):
                lines.append(line)
                if options.done is not None:
                    with options.done.open("a", encoding="utf-8") as out:
                        out.write(json.dumps(line) + "\n")
                for command, broken in line["violations"]:
                    print(f"{command}\n    {broken}", flush=True)
            tell(kind, [line for line in lines if line["kind"] == kind])
    return 1 if any(line["violations"] for line in lines) else 0


def tell(kind: str, lines: list[dict[str, Any]]) -> None:
    """The result line of a kind, earlier runs included."""
    plans, spent = sum(one["plans"] for one in lines), sum(one["cpu_s"] for one in lines)
    broken = sum(len(one["violations"]) for one in lines)
    each = 1000 * spent / max(plans, 1)
    bars = sum(one["bars"] for one in lines) / max(plans, 1)
    print(
        f"{kind:<7} {plans:>8,} schedules  {spent:9.1f} s CPU  {each:6.1f} ms and {bars:5.1f} bars "
        f"each  {broken} violations",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
