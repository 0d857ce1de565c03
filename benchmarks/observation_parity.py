"""Batch against live: rows of a whole history against the same rows from a live window.

    python benchmarks/observation_parity.py [FILE SYMBOL CLOCK ...] [--simulated]
                                            [--features default] [--bars 100000] [--every 1]

Prints for each market the largest difference relative to max(1, |x|) over all columns, how many
scaled float32 rows differ in any bit, and how long the newest row takes. The contract is 1e-9.
``--features all`` takes every feature that needs no other symbol.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator

import numpy as np

from mtquant.config.data import read_bars
from mtquant.config.load import load_symbols
from mtquant.features.pipeline import FeaturePipeline
from mtquant.features.registry import groups
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.simulated import simulate
from mtquant.market.timeframe import Timeframe


def markets(given: list[str], bars: int, simulated: bool) -> Iterator[Bars]:
    for file, symbol, clock in zip(given[::3], given[1::3], given[2::3], strict=True):
        yield read_bars(file, symbol, clock=clock)[:bars]
    if simulated or not given:
        yield simulate(load_symbols()["XAUUSD"], Timeframe.H1, bars, seed=3)


def compare(bars: Bars, selection: list[str], every: int) -> None:
    pipeline = FeaturePipeline(selection, (bars.symbol,)).fit(Panel([bars[: len(bars) * 2 // 3]]))
    history, scaled = pipeline.raw(Panel([bars])), pipeline.transform(Panel([bars]))
    window, worst, differing, times = pipeline.lookback, 0.0, 0, []
    for last in range(window, len(bars) + 1, every):
        live = Panel([bars[last - window : last]])
        started = time.perf_counter()
        row = pipeline.raw(live, last=1)[0]
        times.append(time.perf_counter() - started)
        expected = history[last - 1]
        worst = max(worst, float(np.max(np.abs(row - expected) / np.maximum(1, np.abs(expected)))))
        differing += not np.array_equal(pipeline.scaler.transform(row[None])[0], scaled[last - 1])
    median, slow = np.percentile(times, [50, 99]) * 1e3
    print(
        f"{bars.symbol} {bars.timeframe.name}, {len(times):,} windows of {window} bars, "
        f"{len(pipeline.names)} columns: largest relative difference {worst:.3g}, float32 rows "
        f"that differ {differing}, one bar live {median:.2f} ms median, {slow:.2f} ms at 99 %",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("market", nargs="*", metavar="FILE SYMBOL CLOCK")
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--features", choices=("default", "all"), default="default")
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=1)
    chosen = parser.parse_args()
    os.environ["MTQUANT_FEATURE_CACHE"] = "0"
    selection = ["default"] if chosen.features == "default" else list(groups())
    for bars in markets(chosen.market, chosen.bars, chosen.simulated):
        compare(bars, selection, chosen.every)


if __name__ == "__main__":
    main()
