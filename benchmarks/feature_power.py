"""What a window of 256 returns tells of its law: AUC against iid normal noise, per feature.

    python benchmarks/feature_power.py [--windows 700] [--json FILE]

0.5 is useless, 1 is perfect; above and below 0.5 count alike. In brackets stands the figure of the
survey that chose the features, where it has one. The laws: autoregression with coefficient 0.2 and
-0.3, a hidden trend of 0.35 deviations that changes sign, a cycle of 12 bars, and GARCH(1, 1).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mtquant.features.base import SymbolFeature
from mtquant.features.registry import make_feature
from mtquant.market.bars import Bars, Float
from mtquant.market.timeframe import Timeframe

RETURNS = 256
VOLATILITY = 1e-3
LAWS = ("ar +.2", "ar -.3", "trend .35", "cycle 12", "garch")

#: Label: feature, parameters, column, figures of the survey in the order of LAWS.
ROWS: Mapping[str, tuple[str, Mapping[str, object], str, tuple[float, ...]]] = {
    "zlib, returns": (
        "zlib_ratio",
        {"window": 256, "numbers": "returns"},
        "compression_ratio",
        (0.51, 0.53, 0.52, 0.55, 0.58),
    ),
    "zlib, prices": (
        "zlib_ratio",
        {"window": 256},
        "compression_ratio",
        (0.72, 0.72, 0.96, 0.55, 0.58),
    ),
    "permutation entropy, prices": (
        "regime_statistics",
        {"window": 256},
        "permutation_entropy",
        (0.92, 0.98, 0.82, 0.81, 0.51),
    ),
    "autoencoder, one window of 16": (
        "compression",
        {},
        "compression_fidelity",
        (0.54, 0.59, 0.51, 0.51, 0.53),
    ),
    "autoencoder ensemble, 8 of 16": (
        "ensemble",
        {"qubits": 4, "length": 241},
        "ensemble_energy",
        (0.88, 0.99, 0.83, 0.93, 0.51),
    ),
    "autoencoder ensemble, default": ("ensemble", {}, "ensemble_energy", ()),
    "lag-1 autocorrelation": (
        "regime_statistics",
        {"window": 256},
        "autocorrelation_1",
        (0.99, 1.00, 0.82, 0.93, 0.51),
    ),
    "variance ratio 8": (
        "regime_statistics",
        {"window": 256},
        "variance_ratio_8",
        (0.91, 0.98, 0.94, 0.61, 0.51),
    ),
    "phase estimation, strength": ("qpe", {}, "qpe_strength", ()),
    "quantum entropy, 30 bars": ("quantum_state", {}, "quantum_entropy", ()),
    "entanglement, 30 bars": ("quantum_state", {}, "entanglement_degree", ()),
    "volatility ratio 20/100": ("realised_volatility", {}, "volatility_ratio", ()),
}


def noise(rng: np.random.Generator) -> Float:
    return rng.standard_normal(RETURNS)


def autoregression(coefficient: float) -> Callable[[np.random.Generator], Float]:
    def draw(rng: np.random.Generator) -> Float:
        shocks = rng.standard_normal(RETURNS + 50)
        for t in range(1, shocks.size):
            shocks[t] += coefficient * shocks[t - 1]
        return shocks[50:]

    return draw


def hidden_trend(rng: np.random.Generator) -> Float:
    changes = rng.random(RETURNS) < 0.04
    sign = np.where(np.cumsum(changes) % 2 == int(rng.random() < 0.5), 1.0, -1.0)
    return 0.35 * sign + rng.standard_normal(RETURNS)


def cycle(rng: np.random.Generator) -> Float:
    turn = rng.random() + np.arange(RETURNS) / 12.0
    return 0.57 * np.sin(2.0 * np.pi * turn) + rng.standard_normal(RETURNS)


def garch(rng: np.random.Generator) -> Float:
    shocks, variance = rng.standard_normal(RETURNS + 200), 1.0
    for t in range(shocks.size):
        shocks[t] *= np.sqrt(variance)
        variance = 0.05 + 0.10 * shocks[t] ** 2 + 0.85 * variance
    return shocks[200:]


DRAWS = dict(
    zip(LAWS, (autoregression(0.2), autoregression(-0.3), hidden_trend, cycle, garch), strict=True)
)


def bars_of(returns: Float) -> Bars:
    """A window as bars whose ranges are their bodies."""
    close = 2000.0 * np.exp(VOLATILITY * np.concatenate([[0.0], np.cumsum(returns)]))
    # What a longer lookback than the window reads was the same price: nothing to learn from.
    opening = np.concatenate([close[:1], close[:-1]])
    rest = np.zeros(close.size)
    return Bars(
        "XAUUSD",
        Timeframe.H1,
        np.arange(close.size) * Timeframe.H1.nanoseconds,
        opening,
        np.maximum(opening, close),
        np.minimum(opening, close),
        close,
        rest,
        rest,
    )


def values_of(feature: SymbolFeature, column: str, windows: list[Bars]) -> Float:
    position = feature.names.index(column)
    return np.array([feature.on_bars(bars, {})[position][-1] for bars in windows])


def auc(noise_values: Float, law_values: Float) -> float:
    """Probability that a value of the law lies above one of the noise, ties half; never < 0.5."""
    below = np.searchsorted(np.sort(noise_values), law_values, side="left")
    upto = np.searchsorted(np.sort(noise_values), law_values, side="right")
    share = float((below + upto).mean() / (2 * noise_values.size))
    return max(share, 1.0 - share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=700)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rng = np.random.default_rng(0)
    samples = {
        law: [bars_of(draw(rng)) for _ in range(chosen.windows)]
        for law, draw in {"noise": noise, **DRAWS}.items()
    }
    print(f"{'AUC against noise':<32}" + "".join(f"{law:>16}" for law in LAWS) + f"{'us':>8}")
    results = {}
    for label, (key, params, column, survey) in ROWS.items():
        feature = make_feature(key, params)
        assert isinstance(feature, SymbolFeature)
        reference = values_of(feature, column, samples["noise"])
        started = time.perf_counter()
        figures = [auc(reference, values_of(feature, column, samples[law])) for law in LAWS]
        cost = (time.perf_counter() - started) / (len(LAWS) * chosen.windows) * 1e6
        results[label] = dict(zip(LAWS, figures, strict=True))
        known = survey or (float("nan"),) * len(LAWS)
        cells = [
            f"{figure:.2f}" + (f" ({old:.2f})" if old == old else "       ")
            for figure, old in zip(figures, known, strict=True)
        ]
        print(f"{label:<32}" + "".join(f"{cell:>16}" for cell in cells) + f"{cost:>8.0f}")
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
