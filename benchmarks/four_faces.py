"""Four faces, one ledger, the long form: random instruments over long histories.

    python benchmarks/four_faces.py [--instruments 100] [--bars 100000] [--first 1000] [--workers 1]
                                    [--runner]

Plays the same bars and actions through env, batched env, backtest and paper, compares every fill,
balance, equity, margin, position and breaker level bit for bit, and prints a line for each
instrument: what happened to it, and ``same`` or the first difference. Ends with 1 if there was one.

Paper is the simulated terminal behind the real adapter, traded by the kernel's own decisions. With
``--runner`` the live runner decides, from features that it computes anew at each bar, and keeps its
journal: about ten times as long.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

COLUMNS = {  # what the faces count, under a shorter name
    "bars": "bars",
    "deals": "deals",
    "flips": "flips",
    "reductions": "reductions",
    "stops": "protective stop",
    "targets": "target reached",
    "parts": "part taken on the way to the target",
    "moved": "moved stops",
    "tickets": "tickets closed",
    "limited": "new limits",
    "no money": "not enough money",
    "rejected": "rejected by the server",
    "stop-outs": "stop-out",
    "brakes": "brakes",
}
ACCOUNTS = 10_000  # one after the other on the same bars, where they keep dying


class Line(NamedTuple):
    """One instrument."""

    seed: int
    kind: str
    happened: Counter[str]
    verdict: str
    seconds: float


def play(seed: int, n_bars: int, runner: bool) -> Line:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "parity"))
    import faces
    import instruments

    started, count, verdict = time.perf_counter(), Counter[str](), "same"
    case = instruments.random_case(seed, n_bars)
    spec, env = case.scenario.market.specs[0], case.scenario.env
    with tempfile.TemporaryDirectory() as folder:
        try:
            count = faces.compare_lives(*case, Path(folder) if runner else None, ACCOUNTS)
        except AssertionError as difference:
            verdict = str(difference).splitlines()[0]
    book = env.account.book
    kind = f"{spec.asset_class} {env.timeframe} {spec.tick_size:g} {spec.margin_mode} {book}"
    return Line(seed, kind, count, verdict, time.perf_counter() - started)


def row(seed: object, kind: str, count: Counter[str], verdict: str) -> str:
    numbers = "".join(f"{count[name]:>{len(head) + 4},}" for head, name in COLUMNS.items())
    return f"{seed!s:>5}  {kind:<40}{numbers}  {verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instruments", type=int, default=100)
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=1000, help="seed of the first instrument")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--runner", action="store_true", help="the live runner decides")
    chosen = parser.parse_args()
    os.environ["MTQUANT_FEATURE_CACHE"] = "0"
    total, different = Counter[str](), 0
    heads = "".join(f"{head:>{len(head) + 4}}" for head in COLUMNS)
    print(f"{'seed':>5}  {'instrument':<40}{heads}")
    seeds = range(chosen.first, chosen.first + chosen.instruments)
    with ProcessPoolExecutor(chosen.workers) as pool:
        rest = [chosen.bars] * len(seeds), [chosen.runner] * len(seeds)
        for line in pool.map(play, seeds, *rest):
            shown = f"{line.verdict}, {line.seconds:.0f} s"
            print(row(line.seed, line.kind, line.happened, shown), flush=True)
            total += line.happened
            different += line.verdict != "same"
    print(row("all", "", total, f"{different} of {len(seeds)} differ"))
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
