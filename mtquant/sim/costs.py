"""What trading and holding cost: fill prices, commission, swap.

A buy pays bid + spread + slippage, a sell receives bid - slippage, both at the open of the bar
after the decision: never a price that the agent has already seen.
"""

from __future__ import annotations

from mtquant.jit import Record, kernel
from mtquant.sim.account import price_of, round_money, step_value

SWAP_NONE, SWAP_POINTS, SWAP_PERCENT, SWAP_MONEY = range(4)
SWAP_MODES = {
    "none": SWAP_NONE,
    "points": SWAP_POINTS,
    "percent": SWAP_PERCENT,
    "money": SWAP_MONEY,
}


@kernel
def fill_ticks(contract: Record, buying: bool, bid_ticks: int, spread_ticks: int) -> int:
    """Price of a market order in ticks."""
    if buying:
        return bid_ticks + spread_ticks + contract["slippage_ticks"]
    return bid_ticks - contract["slippage_ticks"]


@kernel
def commission_of(contract: Record, rules: Record, steps: int) -> float:
    """Commission of one deal, rounded to money, not negative."""
    return round_money(abs(steps) * contract["commission"], rules["money_scale"])


@kernel
def nightly_swap(contract: Record, bar: Record, rules: Record, steps: int) -> float:
    """Swap booked on a position for the rollovers of a bar; a charge is negative.

    Points and money are per lot step and night; percent is a year's rate on the position's value
    at the bar's close, over 360 days.
    """
    nights, mode = bar["nights"], contract["swap_mode"]
    if nights == 0 or mode == SWAP_NONE:
        return 0.0
    per_step = contract["swap_long"] if steps > 0 else contract["swap_short"]
    if mode == SWAP_POINTS:
        per_step *= bar["rate"]
    elif mode == SWAP_PERCENT:
        per_step *= price_of(contract, bar["close"]) * step_value(contract, bar)
    return round_money(abs(steps) * per_step * nights, rules["money_scale"])
