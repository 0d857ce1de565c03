"""What a second seed costs: ``train --seeds 2`` beside ``train --seeds 1``, whole commands.

    python benchmarks/seeds_speed.py [--timesteps 3000000] [--repeats 2]

Each is a fresh process in an empty folder on the simulated gold market, with the shipped PPO, on
two cores; they take turns, and the best of each counts. The bar: two seeds in at most 1.15 times
the time of one. A first, short training fills the caches and is not counted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[1]
BAR = 1.15


def seconds(seeds: int, timesteps: int) -> float:
    """Of one command, from its start to its end."""
    command = [sys.executable, "-m", "mtquant.train", "--symbol", "XAUUSD", "--name", "timed"]
    command += ["--seeds", str(seeds), "--timesteps", str(timesteps)]
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--timesteps", type=int, default=3_000_000)
    parser.add_argument("--repeats", type=int, default=2)
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    seconds(1, 20_000)
    taken: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(chosen.repeats):
        for seeds, found in taken.items():
            found.append(seconds(seeds, chosen.timesteps))
    one, two = min(taken[1]), min(taken[2])
    print(f"{chosen.timesteps:,} frames a seed, best of {chosen.repeats}")
    print(f"1 seed   {one:7.1f} s")
    print(f"2 seeds  {two:7.1f} s, {two / one:.2f} times as long (bar: {BAR})")


if __name__ == "__main__":
    main()
