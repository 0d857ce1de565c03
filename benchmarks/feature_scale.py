"""Whether a feature's cost per bar and its memory grow with the history.

    OMP_NUM_THREADS=1 python benchmarks/feature_scale.py [--bars 1000000]

Prints for each feature microseconds per bar over 10,000, 100,000 and all bars, and the peak memory
of the longest run over the size of its result, the result included; then the same of the default
set through its pipeline, scaled. The peak is read from /proc, so on Linux only.
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mtquant.config.load import load_symbols
from mtquant.errors import ConfigError
from mtquant.features.base import Feature, Params
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import FEATURES, default_feature
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.simulated import simulate
from mtquant.market.timeframe import Timeframe

FIT_BARS = 10_000


def kibibytes(process: int) -> int:
    """Resident memory; 0 once the process has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


def usable() -> list[Feature]:
    found = []
    for kind in FEATURES.values():
        feature = default_feature(kind)
        try:
            if feature is not None:
                _ = feature.context
                found.append(feature)
        except ConfigError as reason:
            print(f"left out: {reason}")
    return found


def seconds(feature: Feature, bars: Bars, params: Params, rounds: int) -> float:
    times = []
    for _ in range(rounds):
        panel = Panel([bars])
        started = time.perf_counter()
        feature.compute(panel, params)
        times.append(time.perf_counter() - started)
    return min(times)


def peak_share(run: Callable[[], Any]) -> float:
    """Largest growth of a fresh process during a run, over the result's bytes."""
    gc.collect()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, b"go")
        size = run().nbytes
        os.write(writer, str(size).encode())
        os._exit(0)
    os.read(reader, 2)
    before = peak = kibibytes(child)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        peak = max(peak, kibibytes(child))
    return (peak - before) * 1024 / int(os.read(reader, 32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=1_000_000)
    chosen = parser.parse_args()
    spec = load_symbols()["XAUUSD"]
    bars = simulate(spec, Timeframe.H1, chosen.bars, seed=1)
    print(f"{'feature':<22}{'10k':>8}{'100k':>8}{'all':>8}{'all/10k':>9}{'memory/result':>15}")
    growth, memory = {}, {}
    for feature in usable():
        params = feature.fit(Panel([bars[:FIT_BARS]]))
        costs = [
            seconds(feature, bars[:size], params, rounds) / size * 1e6
            for size, rounds in ((10_000, 5), (100_000, 3), (chosen.bars, 1))
        ]
        growth[feature.key] = costs[-1] / costs[0]
        memory[feature.key] = peak_share(
            lambda feature=feature, params=params: feature.compute(Panel([bars]), params)
        )
        print(
            f"{feature.key:<22}"
            + "".join(f"{cost:8.3f}" for cost in costs)
            + f"{growth[feature.key]:9.2f}{memory[feature.key]:15.2f}",
            flush=True,
        )
    os.environ["MTQUANT_FEATURE_CACHE"] = "0"
    default = FeaturePipeline(["default"], ["XAUUSD"]).fit(Panel([bars[:FIT_BARS]]))
    times = []
    for size in (10_000, 100_000, chosen.bars):
        panel = Panel([bars[:size]])
        started = time.perf_counter()
        default.transform(panel)
        times.append((time.perf_counter() - started) / size * 1e6)
    share = peak_share(lambda: default.transform(Panel([bars])))
    print(
        f"{'default set, scaled':<22}"
        + "".join(f"{cost:8.3f}" for cost in times)
        + f"{times[-1] / times[0]:9.2f}{share:15.2f}"
    )
    print(f"largest growth {max(growth, key=lambda k: growth[k])} {max(growth.values()):.2f}")
    print(f"largest memory {max(memory, key=lambda k: memory[k])} {max(memory.values()):.2f}")
    print(f"median growth {np.median(list(growth.values())):.2f}")


if __name__ == "__main__":
    main()
