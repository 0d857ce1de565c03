"""Markets at random for property tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from mtquant.sim.account import Tape

# The slow run asks for many more cases of the same properties.
CASES = int(os.environ.get("MTQUANT_PROPERTY_CASES", "40"))
settings.register_profile("markets", max_examples=CASES, deadline=None)
settings.load_profile("markets")

SWAP_MODES = ("none", "points", "percent", "money")


@pytest.fixture(scope="session")
def random_tape(toy_spec, toy_bars, toy_tape) -> Callable[..., Tape]:
    """A tape of wild hourly bars over several days; everything follows from the seed.

    ``converted`` makes the last symbol the price of the account's currency, in which a step is
    worth a hundred times the quote, near to what it is without.
    """

    def make(
        seed: int, symbols: int = 1, bars: int = 40, *, converted: bool = False, **rules: Any
    ) -> Tape:
        rng = np.random.default_rng(seed)
        names = ["AAA", "BBB", "CCC"][:symbols]
        listed, specs = [], []
        for name in names:
            present = np.flatnonzero((rng.random(bars) < 0.85) | (np.arange(bars) % 7 == 0))
            hours = present if symbols > 1 else np.arange(bars)
            close = 100.0 * np.exp(np.cumsum(0.02 * rng.standard_t(3, len(hours))))
            close = np.clip(close, 5.0, 2000.0)
            opening = np.concatenate([close[:1], close[:-1]]) * (
                1.0 + 0.01 * rng.standard_normal(len(hours))
            )
            reach = 0.01 * rng.random((2, len(hours)))
            high = np.maximum(opening, close) * (1.0 + reach[0])
            low = np.minimum(opening, close) * (1.0 - reach[1])
            prices = np.round(np.stack([opening, high, low, close], axis=1), 2)
            spread = rng.integers(0, 60, len(hours))
            start = "2024-01-02T20:00"
            listed.append(toy_bars(prices, name, start=start, spread=spread, hours=hours))
            specs.append(
                toy_spec(
                    name,
                    swap_mode=SWAP_MODES[rng.integers(4)],
                    swap_long=float(rng.normal(0.0, 10.0)),
                    swap_short=float(rng.normal(0.0, 10.0)),
                    commission_per_lot=float(rng.choice([0.0, 3.5])),
                    lot_min=float(rng.choice([0.01, 0.05])),
                    contract_size=10_000 if converted else 100,
                    base="EUR" if converted and name == names[-1] else "XAU",
                )
            )
        chosen = {
            "slippage_points": float(rng.integers(0, 4)),
            "atr_bars": 3,
            "sizing_method": float(rng.integers(2)),
            "notional_fraction": float(rng.choice([0.5, 2.0, 8.0])),
            "max_exposure": float(rng.choice([1.0, 4.0, 10.0])),
            "leverage": float(rng.choice([5.0, 30.0, 500.0])),
            "rebalance_band": float(rng.choice([0.0, 0.1])),
            "shrink": 0.5,
        }
        if rng.random() < 0.5:
            losses = np.sort(rng.uniform(0.01, 0.3, 3))
            chosen |= {f"daily_loss_level_{k + 1}": float(losses[k]) for k in range(3)}
        currency = "EUR" if converted else "USD"
        return toy_tape(listed, specs, currency=currency, **{**chosen, **rules})

    return make
