"""What trading and holding cost: fill prices, commission, swap.

A buy pays bid + spread + slippage, a sell receives bid - slippage, both at the open of the bar
after the decision: never a price that the agent has already seen. Slippage is a constant, or grows
with the last bar's range or with the share of the market's volume that the order takes; it is
rounded up to whole ticks. Commission is a sum of three: by volume, by deal, by notional.
"""

from __future__ import annotations

from math import ceil, sqrt

from mtquant.jit import Record, kernel
from mtquant.sim.account import Tape, round_money

SLIPPAGE_POINTS, SLIPPAGE_RANGE, SLIPPAGE_VOLUME, SLIPPAGE_SQRT = range(4)
SLIPPAGE_MODELS = {
    "none": SLIPPAGE_POINTS,  # of zero points
    "points": SLIPPAGE_POINTS,
    "range": SLIPPAGE_RANGE,
    "volume": SLIPPAGE_VOLUME,
    "sqrt": SLIPPAGE_SQRT,
}
TICK_TOLERANCE = 1e-6  # ticks; three may come out as 3.0000000000000004 and are no four

SWAP_NONE, SWAP_POINTS, SWAP_PERCENT, SWAP_MONEY = range(4)
SWAP_MODES = {
    "none": SWAP_NONE,
    "points": SWAP_POINTS,
    "percent": SWAP_PERCENT,
    "money": SWAP_MONEY,
}


@kernel
def round_up(ticks: float) -> int:
    """Whole ticks against the trader."""
    return ceil(ticks - TICK_TOLERANCE)


@kernel(rare=True)
def modelled_slippage(contract: Record, rules: Record, before: Record, steps: int) -> int:
    """Slippage of one deal in ticks, by a model that looks at the market.

    ::

        range    coefficient * (high - low)
        volume   coefficient * (order / volume) * ATR          linear impact
        sqrt     coefficient * sqrt(order / volume) * ATR      square-root impact

    The square root is the law that is measured on real orders (Almgren and others 2005, Toth and
    others 2011), with a coefficient near 1 for a day's ATR and volume. Where no volume is recorded
    the constant of the contract stands in.

    Args:
        contract: Of the symbol.
        rules: With ``slippage_model`` and ``slippage_coefficient``.
        before: The symbol's last bar that had closed.
        steps: Signed lot steps of the deal.
    """
    model, coefficient = rules["slippage_model"], rules["slippage_coefficient"]
    if model == SLIPPAGE_RANGE:
        return round_up(coefficient * (before["above"] + before["below"]))
    volume = float(before["volume"])
    if volume <= 0.0:
        return contract["slippage_ticks"]
    share = abs(steps) * contract["step_lots"] / volume
    if model == SLIPPAGE_SQRT:
        share = sqrt(share)
    return round_up(coefficient * share * before["atr"])


@kernel
def row_before(tape: Tape, s: int, t: int) -> int:
    """The row of the last bar before ``t``; for a model of slippage, of the symbol's own last.

    While a market is shut its rows stand still and have no range.
    """
    row = t - 1
    if tape.rules[0]["slippage_model"] != SLIPPAGE_POINTS:
        while row > 0 and tape.market[row, s]["tradable"] == 0:
            row -= 1
    return row


@kernel
def paid_ticks(
    contract: Record, rules: Record, bar: Record, before: Record, factor: float, steps: int
) -> tuple[int, int]:
    """``(spread, slippage)`` of a deal in ticks, the spread whichever side pays it.

    ``factor`` is the episode's own dearness: it raises what fills pay, never what is observed.
    """
    spread, slippage = bar["spread"], contract["slippage_ticks"]
    if rules["slippage_model"] != SLIPPAGE_POINTS:
        slippage = modelled_slippage(contract, rules, before, steps)
    if rules["dearest"] != 0.0:
        return round_up(factor * spread), round_up(factor * slippage)
    return spread, slippage


@kernel
def fill_ticks(buying: bool, bid_ticks: int, spread: int, slippage: int) -> int:
    """Price of a market order in ticks."""
    return bid_ticks + spread + slippage if buying else bid_ticks - slippage


@kernel
def commission_of(contract: Record, rules: Record, steps: int, value: float) -> float:
    """Commission of one deal of notional ``value``, rounded to money, not negative."""
    charged = abs(steps) * contract["commission"]
    charged += rules["commission_per_fill"] + rules["commission_fraction"] * abs(value)
    return round_money(charged, rules["money_scale"]) if charged != 0.0 else 0.0


@kernel
def nightly_swap(contract: Record, bar: Record, rules: Record, steps: int) -> float:
    """Swap booked on ``steps`` held for the rollovers of a bar; a charge is negative.

    Points (in ticks) and money are per lot step and night; percent is a year's rate on the
    position's value at the bar's close, over 360 days.
    """
    nights, mode = bar["nights"], contract["swap_mode"]
    if nights == 0 or mode == SWAP_NONE:
        return 0.0
    per_step = contract["swap_long"] if steps > 0 else contract["swap_short"]
    if mode == SWAP_POINTS:
        per_step *= bar["value"]
    elif mode == SWAP_PERCENT:
        per_step *= bar["close"] * bar["value"]
    return round_money(abs(steps) * per_step * nights, rules["money_scale"])
