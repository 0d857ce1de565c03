"""Shares paid in full: the tape on which one lot step is one share.

Full size is :data:`MOST_SHARES` at any equity and price, so an exposure of n of them asks the sizer
for exactly n; what cash can pay is left to the kernel's own checks. There is no stop, no breaker
and no overnight fee.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from mtquant.config.assemble import assemble_tape
from mtquant.config.load import validate
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError, DataError
from mtquant.market.panel import Panel
from mtquant.market.symbols import SymbolSpec
from mtquant.sim.account import Tape

MOST_SHARES = 2**24  # float32 holds every share of it exactly
FEWEST_TICKS = 100  # of a price; coarser grids would round away returns
NEVER = 1e-9  # of equity


def stock_tape(panel: Panel, capital: float, cost: float, digits: int, reserve: float) -> Tape:
    """The tape of a stock account.

    Args:
        panel: Every tic on every date.
        capital: Cash at the start.
        cost: Commission as a fraction of the value.
        digits: Decimals of a price.
        reserve: Share of assets that no order may spend.

    Raises:
        ConfigError: An argument is out of range, or ``digits`` leaves too coarse a grid of prices.
        DataError: There is no bar to trade on.
    """
    if len(panel) < 2:
        raise DataError("a FinRL env needs two dates at least: orders fill on the one after")
    if not (capital > 0.0 and 0.0 <= reserve < 1.0):
        raise ConfigError(
            f"initial_amount = {capital:g} must be above 0, and reserve = {reserve:g} in [0, 1)"
        )
    for bars in panel.bars:
        least = float(bars.low.min())
        if least * 10.0**digits < FEWEST_TICKS:
            raise ConfigError(
                f"digits = {digits} makes the price {least:g} of {bars.symbol} less than "
                f"{FEWEST_TICKS} ticks; give more digits"
            )
    env = _stock_account(panel, capital, cost, reserve)
    rules = env.rules(reward_scale=1.0, last=len(panel) - 1)
    nothing = np.zeros((len(panel), 0), np.float32)
    shares = [_share(cost, digits)] * len(panel.symbols)
    return assemble_tape(env, panel, shares, nothing, rules)


def _share(cost: float, digits: int) -> SymbolSpec:
    """The contract: one share a lot step."""
    tick = float(Decimal(1).scaleb(-digits))
    return SymbolSpec(
        name="SHARE",
        asset_class="stock",
        base="SHARE",
        quote="USD",
        contract_size=1,
        tick_size=tick,
        digits=digits,
        pip_size=tick,
        lot_min=1,
        lot_step=1,
        lot_max=MOST_SHARES,
        margin_mode="cfd",
        margin_rate=1.0 + cost,  # the cash must pay for the commission too
        swap_mode="none",
        typical_spread_points=1,
        clock="utc",
        hours={"mon-sun": "00:00-24:00"},
    )


def _stock_account(panel: Panel, capital: float, cost: float, reserve: float) -> EnvConfig:
    """Full size is always ``MOST_SHARES``, and nothing but cash limits an order."""
    dearest = max(float(bars.close[0]) for bars in panel.bars)
    beyond = 2.0 * MOST_SHARES * dearest / capital
    settings = {
        "name": "finrl",
        "symbols": panel.symbols,
        "timeframe": panel.timeframe.name,
        "account": {"capital": capital, "stop_out_level": NEVER, "money_digits": 8},
        "sizing": {
            "method": "fixed_at_start",
            "notional_fraction": beyond,
            "rebalance_band": 0.0,
        },
        "stops": {"atr": 0.0},
        "costs": {"slippage": "none", "commission_fraction": cost},
        "limits": {"max_exposure": 1.0 - reserve},
        "breaker": {"daily_loss": (1.0 - 2.0 * NEVER, 1.0 - NEVER, 1.0), "shed": 0.0},
    }
    return validate(EnvConfig, settings, "FinRLStockEnv")
