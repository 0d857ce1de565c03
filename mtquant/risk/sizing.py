"""PositionSizer: from an action in [-1, 1] to target lot steps.

full size   what |action| = 1 is worth in lot steps, by one of the methods below
target      sign(action) * floor(|action| * full size), on the lot grid
dead band   a target of the same sign within ``rebalance_band`` of full size is left alone,
so that a drifting ATR does not churn the position

    volatility          a fixed share of equity is lost on a move of some ATR
    fixed_fractional    the notional is a fixed multiple of equity
    fixed_at_start      the same of the episode's first equity and price: lots that stay
    kelly               as volatility; the share follows from the account's own round trips
    volatility_target   the deviation of equity over a bar is a fixed share of it
"""

from __future__ import annotations

from math import floor, inf

from mtquant.jit import Record, kernel

VOLATILITY, FIXED_FRACTIONAL, KELLY, VOLATILITY_TARGET, FIXED_AT_START = range(5)
SIZING_METHODS = {
    "volatility": VOLATILITY,
    "fixed_fractional": FIXED_FRACTIONAL,
    "kelly": KELLY,
    "volatility_target": VOLATILITY_TARGET,
    "fixed_at_start": FIXED_AT_START,
}

SIZING_OPTIONS = [
    ("min_change", "f8"),  # lot steps
    ("kelly_fraction", "f8"),
    ("max_risk_fraction", "f8"),
    ("prior_trades", "f8"),
    ("prior_win_rate", "f8"),
    ("prior_payoff", "f8"),
    ("target_volatility", "f8"),  # of equity over one bar, a fraction
    ("max_volume_share", "f8"),  # 0: no cap
]
SIZING_FIELDS = [
    ("sizing_method", "i8"),
    ("risk_fraction", "f8"),
    ("atr_multiple", "f8"),
    ("notional_fraction", "f8"),
    ("rebalance_band", "f8"),
    *SIZING_OPTIONS,
]

# A quotient such as 25.0 may come out as 24.999999999999996; the lot grid is coarser than this.
GRID_TOLERANCE = 1e-9

# Mean range of a Brownian motion over its deviation, sqrt(8 / pi) (Feller 1951).
RANGE_PER_DEVIATION = 1.5957691216057308


@kernel
def full_size(rules: Record, equity: float, price: float, atr: float, unit_value: float) -> float:
    """Lot steps at ``|action| = 1``, before rounding.

    Volatility sizing risks ``risk_fraction`` of equity on a move of ``atr_multiple`` ATR: equity
    50,000, 2 %, ATR 20 and multiple 2 give 1,000 / 40 = 25 units, 0.25 lots of 100 units.
    A volatility target holds ``target_volatility`` of equity over the deviation of one bar, which
    is ATR over 1.596; gaps widen ATR, so the size errs on the small side. Kelly sizing takes its
    share from :func:`kelly_risk`.

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
    if rules["sizing_method"] in (FIXED_FRACTIONAL, FIXED_AT_START):
        if price <= 0.0:
            return 0.0
        return rules["notional_fraction"] * equity / (price * unit_value)
    if rules["sizing_method"] == VOLATILITY_TARGET:
        return at_risk(rules["target_volatility"], equity, atr / RANGE_PER_DEVIATION, unit_value)
    return at_risk(rules["risk_fraction"], equity, atr * rules["atr_multiple"], unit_value)


@kernel
def at_risk(fraction: float, equity: float, distance: float, unit_value: float) -> float:
    """Lot steps that lose ``fraction`` of ``equity`` on a move of ``distance``; 0 without one."""
    loss = distance * unit_value
    return fraction * equity / loss if loss > 0.0 else 0.0


@kernel
def kelly_risk(rules: Record, wins: int, losses: int, gain_sum: float, loss_sum: float) -> float:
    """Share of equity to put at risk, from the account's own finished round trips.

    Kelly's ``f = p - q L / W`` with the mean win W and the mean loss L: p 0.6, W 100 and L 50 give
    0.6 - 0.4 / 2 = 0.4, and a quarter of it is 0.1. This f is what is *lost* in a losing trip.
    Where a loss takes only half of the stake, the stake is twice that, 0.8 and a quarter 0.2: the
    same bet, named by what is laid down instead of what is lost.

    A short record proves little. ``prior_trades`` imagined round trips at ``prior_win_rate`` are
    added to the counts (a Beta prior), and ``prior_payoff`` (W / L) weighs as many trips against
    the rarer of wins and losses. A record without an edge risks nothing, and then stays so.

    Args:
        rules: Record array with :data:`SIZING_FIELDS`.
        wins: Round trips that ended above their costs.
        losses: The others.
        gain_sum: Sum of the wins, account currency.
        loss_sum: Sum of the losses, not negative.

    Returns:
        ``kelly_fraction * f``, between 0 and ``max_risk_fraction``.
    """
    weight = rules["prior_trades"]
    p = (wins + weight * rules["prior_win_rate"]) / (wins + losses + weight)
    payoff = rules["prior_payoff"]
    if wins > 0 and loss_sum > 0.0:
        seen, known = gain_sum * losses / (loss_sum * wins), min(wins, losses)
        payoff = (weight * payoff + known * seen) / (weight + known)
    edge = p - (1.0 - p) / payoff
    return min(max(rules["kelly_fraction"] * edge, 0.0), rules["max_risk_fraction"])


@kernel
def volume_cap(rules: Record, average_volume: float, step_lots: float) -> float:
    """Lot steps that are ``max_volume_share`` of a bar's average volume; no volume, no cap."""
    if average_volume <= 0.0:
        return inf
    return rules["max_volume_share"] * average_volume / step_lots


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
    change = abs(target - held)
    small = change <= rules["rebalance_band"] * min(largest, most)
    stays = (target * held > 0) & (small | (change < rules["min_change"]))
    return held if stays else target
