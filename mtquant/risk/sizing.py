"""PositionSizer: from an action in [-1, 1] to target lot steps.

full size   what |action| = 1 is worth in lot steps, by one of the methods below
target      sign(action) * floor(|action| * full size), on the lot grid
dead band   a target of the same sign within ``rebalance_band`` of full size is left alone,
so that a drifting ATR does not churn the position
"""

from __future__ import annotations

from math import floor, inf

from mtquant.jit import Record, kernel

VOLATILITY, FIXED_FRACTIONAL = 0, 1
SIZING_METHODS = {"volatility": VOLATILITY, "fixed_fractional": FIXED_FRACTIONAL}

SIZING_FIELDS = [
    ("sizing_method", "i8"),
    ("risk_fraction", "f8"),
    ("atr_multiple", "f8"),
    ("notional_fraction", "f8"),
    ("rebalance_band", "f8"),
]

# A quotient such as 25.0 may come out as 24.999999999999996; the lot grid is coarser than this.
GRID_TOLERANCE = 1e-9


@kernel
def full_size(rules: Record, equity: float, price: float, atr: float, unit_value: float) -> float:
    """Lot steps at ``|action| = 1``, before rounding.

    Volatility sizing risks ``risk_fraction`` of equity on a move of ``atr_multiple`` ATR: equity
    50,000, 2 %, ATR 20 and multiple 2 give 1,000 / 40 = 25 units, 0.25 lots of 100 units.

    Args:
        rules: Record array with :data:`SIZING_FIELDS`.
        equity: Account equity, account currency.
        price: Last closed bid.
        atr: Average true range in price units.
        unit_value: Account currency per 1.0 of price and lot step.

    Returns:
        Lot steps, float, not negative; 0 where ATR or price is not positive.
    """
    if equity <= 0.0 or unit_value <= 0.0:
        return 0.0
    if rules["sizing_method"] == FIXED_FRACTIONAL:
        if price <= 0.0:
            return 0.0
        return rules["notional_fraction"] * equity / (price * unit_value)
    distance = atr * rules["atr_multiple"]
    if not distance > 0.0:
        return 0.0
    return rules["risk_fraction"] * equity / (distance * unit_value)


@kernel
def target_steps(
    rules: Record,
    action: float,
    full: float,
    held: int,
    min_steps: int,
    max_steps: int,
    most: float = inf,
) -> int:
    """Signed lot steps that ``action`` asks for.

    Args:
        rules: Record with :data:`SIZING_FIELDS`.
        action: Target exposure in [-1, 1]; values outside are clipped, NaN keeps what is held.
        full: Result of :func:`full_size`.
        held: Signed lot steps held now.
        min_steps: Smallest position in lot steps; anything less is 0.
        max_steps: Largest position in lot steps.
        most: Steps that the limits will allow; the dead band is a share of what can be held.

    Returns:
        Signed int64 lot steps.
    """
    if action != action:
        return held
    largest = min(full, float(max_steps))
    steps = floor(min(abs(action), 1.0) * largest + GRID_TOLERANCE)
    if steps < min_steps:
        steps = 0
    target = steps if action > 0.0 else -steps
    same_side = target * held > 0
    if same_side and abs(target - held) <= rules["rebalance_band"] * min(largest, most):
        return held
    return target
