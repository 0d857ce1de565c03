"""Wrong configuration, at length: what the readers of YAML make of it.

    python benchmarks/config_fuzz.py [--cases 100000] [--seed 1] [--workers 1]

Changes every shipped env, agent, rule set, risk profile and symbol file in one to three places and
reads the result as a program would. Each case must end in a model that says what the file says, or
in one sentence. Prints the counts, and each failing case so that it can be run again; ends with 1
if there was one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path


def read(seed: int, count: int) -> tuple[Counter[str], list[str]]:
    """Verdicts on the first cases of a seed, and what failed."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "config"))
    import mutations

    verdicts, failed = Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for number, case in enumerate(islice(mutations.cases(seed), count)):
            began = time.process_time()
            try:
                verdicts[mutations.verdict(case, Path(folder))] += 1
            except Exception as error:  # whatever it is, it is what is looked for
                verdicts["FAILED"] += 1
                failed.append(f"case {number} of seed {seed}, {case.folder}/{case.name}: {error!r}")
            if time.process_time() - began > 5.0:
                verdicts["SLOW"] += 1
                failed.append(f"case {number} of seed {seed} took more than 5 s")
        os.chdir("/")
    return verdicts, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    asked = parser.parse_args()
    began, total = time.perf_counter(), Counter[str]()
    part = -(-asked.cases // asked.workers)
    with ProcessPoolExecutor(asked.workers) as pool:
        seeds = [asked.seed * 1000 + k for k in range(asked.workers)]
        for verdicts, failed in pool.map(read, seeds, [part] * len(seeds)):
            total += verdicts
            for line in failed:
                print(line[:1000])
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(total.items()))
    print(f"{total.total():,} files in {time.perf_counter() - began:,.0f} s: {counts}")
    return int(total["FAILED"] + total["SLOW"] > 0)


if __name__ == "__main__":
    sys.exit(main())
