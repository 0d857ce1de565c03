"""Options may be added; a market without them stays what it was, to the last bit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from mtquant.sim.simulator import Simulator

pytestmark = pytest.mark.nojit

ACCOUNT = (
    "balance equity peak day_start day level cursor end rng start_equity bars high_water "
    "reward_sum return_sum return_square_sum downside_square_sum max_drawdown trades wins "
    "held_bars exposure_sum traded spread_cost slippage_cost commission swap"
).split()
POSITION = "steps target reason age entry swap result".split()


# Whoever changes the rules of a plain market changes them here.
@pytest.mark.parametrize(("method", "digest"), [(0, "3b224937076d194e"), (1, "5069451eb4a4f8c6")])
def test_a_plain_market_is_what_it_was(toy_spec, toy_bars, toy_tape, method, digest):
    """Sixteen lanes over 400 bars of a market in whole numbers, both old ways of sizing."""
    rng = np.random.default_rng(21)
    close = 20_000 + np.cumsum(rng.integers(-60, 61, 600))
    opened = np.concatenate([close[:1], close[:-1]]) + rng.integers(-5, 6, 600)
    high = np.maximum(opened, close) + rng.integers(0, 30, 600)
    low = np.minimum(opened, close) - rng.integers(0, 30, 600)
    rows = np.stack([opened, high, low, close], axis=1) / 100
    spec = toy_spec(swap_mode="percent", swap_long=-5.3, swap_short=1.1, commission_per_lot=3.5)
    rules = {
        "first": 20,
        "episode_bars": 120,
        "randomise": 1,
        "capital_spread": 0.3,
        "sizing_method": method,
    }
    rules |= {"daily_loss_level_1": 0.01, "daily_loss_level_2": 0.02, "daily_loss_level_3": 0.04}
    bars = toy_bars(rows, spread=rng.integers(0, 40, 600))
    simulator = Simulator(toy_tape(bars, spec, atr_bars=14, slippage_points=2, **rules), 16)
    simulator.seed(5)
    found = hashlib.sha256(simulator.reset(stagger=True).tobytes())
    for row in rng.integers(-10, 11, (400, 16, 1)):
        result = simulator.step((row / 8).astype(np.float32))
        book = simulator.book
        for part in (result.observations, result.rewards, result.statuses):
            found.update(part.tobytes())
        for name in ACCOUNT:
            found.update(book.account[name].tobytes())
        for name in POSITION:
            found.update(book.positions[name].tobytes())
        found.update(book.deals["price"][:, 0].tobytes())
    assert found.hexdigest()[:16] == digest
