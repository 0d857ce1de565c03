"""Hostile configuration files and names, 100,000 of them: only clear refusals, counted by kind.

    python benchmarks/hostile_input.py [--cases 100000] [--seed 0]

The cases and what must hold of each stand in ``tests/config/hostile_configs.py``; the first that
ends otherwise stops the run and is printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests" / "config"))
hostile = import_module("hostile_configs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    begun = time.perf_counter()
    counted = hostile.run(given.cases, given.seed)
    took = time.perf_counter() - begun
    for what in sorted({what for what, _ in counted}):
        refused, taken = counted[what, True], counted[what, False]
        print(f"{what:28} {refused:8,} refused {taken:8,} taken")
    print(f"{given.cases:,} cases, 0 violations, {took:.0f} s")


if __name__ == "__main__":
    main()
