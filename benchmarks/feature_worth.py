"""What every registered feature costs, and what its columns are worth.

    OMP_NUM_THREADS=1 python benchmarks/feature_worth.py [--data FOLDER] [--json FILE]

Cost is that of a feature's columns together, on one core, the fastest of some repeats: per bar of a
whole history of 50,000 simulated bars, and for the newest row of a live window. Worth is measured
on the simulated market, with its weak hidden regime and without, averaged over the seeds, and on
those of ``FILES`` that the folder holds: the information coefficient with the return over 1 and 20
bars and with its size, and the AUC of the next bar's sign. Features that need parameters or
other symbols' bars are left out. With ``--json
docs/feature_measurements.json`` the catalogue of features is made from them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

from mtquant.config.data import read_bars
from mtquant.config.load import load_symbols
from mtquant.errors import ConfigError, DataError
from mtquant.features.base import Feature
from mtquant.features.describe import microseconds_per_bar
from mtquant.features.registry import FEATURES, default_feature
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe
from mtquant.research.ranking import HORIZONS, rank, simulated_panel
from mtquant.research.worth import Ranking, pool

SYMBOL, TIMEFRAME = "XAUUSD", Timeframe.H1
BARS, LIVE_BARS, LIVE_REPEATS = 50_000, 1_500, 30
REGIME = 0.11  # mean move of a bar in its volatilities, the simulated market's default

#: Files with UTC clocks: name without its suffix, symbol, and what tables call it.
FILES = (
    ("XAUUSD_H1_2006_2019_oanda", "XAUUSD", "XAUUSD H1 2006-2019"),
    ("EURUSD_H1_2007_2018_oanda", "EURUSD", "EURUSD H1 2007-2018"),
    ("BTCUSD_H1_2018_2022_bitstamp", "BTCUSD", "BTCUSD H1 2018-2022"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of real bars")
    parser.add_argument("--seeds", type=int, default=3, help="of the simulated market")
    parser.add_argument("--bars", type=int, default=BARS, help="of every simulated market")
    parser.add_argument("--json", type=Path, help="where to write the measurements")
    chosen = parser.parse_args()
    features = usable_features()
    costs = measure_costs(features, chosen.bars)
    rankings = simulated_rankings(features, chosen.seeds, chosen.bars)
    if chosen.data is not None:
        rankings |= real_rankings(features, chosen.data)
    for market, ranking in rankings.items():
        show(market, ranking)
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(measurements(costs, rankings), indent=1) + "\n", "utf-8")
        print(f"wrote {chosen.json}")


def usable_features() -> list[Feature]:
    """Registered features that need neither parameters nor another symbol's bars."""
    usable, panel = [], simulated(LIVE_BARS, seed=1)
    for key, kind in FEATURES.items():
        feature = default_feature(kind)
        try:
            if feature is None:
                raise ConfigError(f"{key} needs parameters")
            feature.compute(panel, feature.fit(panel), last=1)
        except (ConfigError, DataError) as problem:
            print(f"left out: {problem}")
        else:
            usable.append(feature)
    return usable


def simulated(bars: int, seed: int, drift: float = REGIME) -> Panel:
    """Simulated bars of the one symbol."""
    return simulated_panel([load_symbols()[SYMBOL]], TIMEFRAME, bars, seed, drift=drift)


def measure_costs(features: list[Feature], bars: int) -> dict[str, tuple[float, float]]:
    """By column: microseconds per bar of a history, and for the newest row of a live window."""
    print(f"{'feature':24} {'columns':>7} {'lookback':>8} {'us/bar':>8} {'live us':>8}")
    costs: dict[str, tuple[float, float]] = {}
    panel = simulated(bars, seed=1)
    window = panel[-LIVE_BARS:]
    for feature in features:
        params = feature.fit(panel)
        per_bar, live = microseconds_per_bar(feature, panel), []
        for _ in range(LIVE_REPEATS):
            fresh = Panel(window.bars)  # nothing kept from the last row
            began = perf_counter()
            feature.compute(fresh, params, last=1)
            live.append((perf_counter() - began) * 1e6)
        costs |= dict.fromkeys(feature.names, (per_bar, min(live)))
        print(
            f"{feature.key:24} {len(feature.names):7} {feature.lookback:8,} {per_bar:8.3f} "
            f"{min(live):8.1f}"
        )
    return costs


def simulated_rankings(features: list[Feature], seeds: int, bars: int) -> dict[str, Ranking]:
    """The simulated market with its hidden regime and without, each averaged over seeds."""
    found = {}
    for market, drift in (("simulated", REGIME), ("simulated without regime", 0.0)):
        panels = (simulated(bars, seed, drift) for seed in range(1, seeds + 1))
        ranked = [rank(features, panel) for panel in panels]
        found[market] = pool(ranked, f"{SYMBOL} {TIMEFRAME.name}, {seeds} seeds together")
    return found


def real_rankings(features: list[Feature], folder: Path) -> dict[str, Ranking]:
    """Every known file of the folder."""
    found = {}
    for stem, symbol, market in FILES:
        path = folder / f"{stem}.parquet"
        if path.is_file():
            found[market] = rank(features, Panel([read_bars(path, symbol, TIMEFRAME.name, "utc")]))
    return found


def show(market: str, ranking: Ranking) -> None:
    """Tables of one market: what all columns explain together, and what each is worth."""
    print(f"\n{market}: {ranking.market}, {ranking.rows:,} bars, {len(ranking.names)} columns")
    print(f"intervals beyond 0 expected by chance {ranking.expected_by_chance:.0%}; found:")
    for k, kind in enumerate(("direction", "size")):
        beyond = ", ".join(
            f"{share:.0%} over {h} bars (R2 {r2:+.4f}, IC {ic:+.3f})"
            for share, h, r2, ic in zip(
                ranking.found_beyond[k],
                ranking.horizons,
                ranking.model_r2.value[k],
                ranking.model_ic.value[k],
                strict=True,
            )
        )
        print(f"  {kind}: {beyond}")
    titles = ("ic_1", "auc_1", "ic_20", "stable", "loss 1e4", "size_ic_20", "loss 1e4", "verdict")
    print(f"{'column':28} " + " ".join(f"{title:>10}" for title in titles))
    first = {row["column"]: row for row in ranking.rows_of(HORIZONS[0])}
    for row in ranking.rows_of(HORIZONS[-1]):
        near = first[row["column"]]
        numbers: tuple[Any, ...] = (
            near["ic"],
            near["auc"],
            row["ic"],
            row["stability"],
            float(row["loss"]) * 1e4,
            row["size_ic"],
            float(row["size_loss"]) * 1e4,
        )
        print(f"{row['column']:28} " + " ".join(f"{n:10.4f}" for n in numbers), row["verdict"])


def measurements(
    costs: dict[str, tuple[float, float]], rankings: dict[str, Ranking]
) -> dict[str, dict[str, Any]]:
    """By column what ``docs/features.md`` is made from."""
    return {
        column: {
            "us_per_bar": round(per_bar, 4),
            "live_us": round(live, 1),
            "worth": {
                market: worth(ranking, column)
                for market, ranking in rankings.items()
                if column in ranking.names
            },
        }
        for column, (per_bar, live) in costs.items()
    }


def worth(ranking: Ranking, column: str) -> dict[str, float]:
    """A handful of numbers for the catalogue."""
    k = ranking.names.index(column)
    near, far = (ranking.horizons.index(h) for h in (HORIZONS[0], HORIZONS[-1]))
    numbers = {
        "ic_1": ranking.ic.value[k, 0, near],
        "ic_20": ranking.ic.value[k, 0, far],
        "size_ic_20": ranking.ic.value[k, 1, far],
        "auc_1": ranking.auc.value[k, near],
    }
    return {name: round(float(number), 4) for name, number in numbers.items()}


if __name__ == "__main__":
    main()
