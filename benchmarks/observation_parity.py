"""Batch against live: the observation of every bar from whole history and from a live window.

    python benchmarks/observation_parity.py FILE --symbol XAUUSD [--clock utc] [--bars 20000]

Prints the largest difference relative to max(1, |x|) over all columns, raw and scaled, and how many
rows differ in any bit. The contract is 1e-9.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from mtquant.config.data import read_bars
from mtquant.config.schema import EnvConfig
from mtquant.features.pipeline import FeaturePipeline
from mtquant.market.panel import Panel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--symbol", required=True)
    parser.add_argument("--clock")
    parser.add_argument("--bars", type=int, default=20_000)
    chosen = parser.parse_args()
    bars = read_bars(chosen.file, chosen.symbol, clock=chosen.clock)[: chosen.bars]
    features = EnvConfig(name="parity", symbols=(chosen.symbol,)).features
    pipeline = FeaturePipeline(features, (chosen.symbol,)).fit(Panel([bars]))
    history, scaled = pipeline.raw(Panel([bars])), pipeline.transform(Panel([bars]))
    window, worst, differing, times = pipeline.lookback, 0.0, 0, []
    for last in range(window, len(bars) + 1):
        live = Panel([bars[last - window : last]])
        started = time.perf_counter()
        row = pipeline.raw(live, last=1)[0]
        times.append(time.perf_counter() - started)
        expected = history[last - 1]
        worst = max(worst, float(np.max(np.abs(row - expected) / np.maximum(1, np.abs(expected)))))
        same = np.array_equal(pipeline.scaler.transform(row[None])[0], scaled[last - 1])
        differing += not same
    print(f"{len(times):,} windows of {window} bars, {len(pipeline.names)} columns")
    print(f"largest relative difference {worst:.3g}; rows whose float32 differ: {differing}")
    median, slow = np.percentile(times, [50, 99]) * 1e3
    print(f"one bar live: {median:.2f} ms median, {slow:.2f} ms at 99 %")


if __name__ == "__main__":
    main()
