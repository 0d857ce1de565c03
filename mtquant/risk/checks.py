"""Pre-trade checks: whether an increase of risk is allowed, reduced or denied, and why.

Each check is one small function ``(rules, order) -> cap``: the most lot steps that may be held in
the direction of the target, ``inf`` where all that is asked passes. The tightest cap decides. It
never takes away what is held: reducing is always allowed, a denied increase keeps the position and
a flip whose increase is denied still closes it. ``CHECKS`` lists them all.
"""

from __future__ import annotations

from collections.abc import Callable
from math import floor, inf
from typing import NamedTuple

import numpy as np

from mtquant.jit import Record, kernel
from mtquant.risk import reasons
from mtquant.risk.order import kept_steps
from mtquant.risk.reasons import ALLOWED, MAX_EXPOSURE, MAX_HOLDING, UNCHANGED
from mtquant.risk.sizing import GRID_TOLERANCE

LIMIT_OPTIONS = [
    ("checks", "i8"),  # 0: none of those below
    ("max_position", "f8"),
    ("max_lots", "f8"),
    ("max_daily_volume_share", "f8"),
    ("max_class_exposure", "f8"),
    ("use_leverage", "i8"),  # 1: some symbol has a largest leverage of its own
    ("max_correlation", "f8"),
    ("correlation_rejects", "i8"),  # 0: a correlated order is only remarked on
    ("min_balance", "f8"),
    ("max_positions", "i8"),
    ("order_budget", "f8"),
    ("day_budget", "f8"),
    ("trades_per_day", "i8"),
    ("max_day_trades", "i8"),
    ("day_trade_equity", "f8"),  # 0: day trades are counted at any equity
    ("cooldown_bars", "i8"),
    ("max_holding_bars", "i8"),
]
LIMIT_FIELDS = [("max_exposure", "f8"), ("stop_out_level", "f8"), *LIMIT_OPTIONS]
LIMITS = np.dtype(LIMIT_FIELDS)


@kernel
def within(order: Record, room: float, unit: float) -> float:
    """Lot steps of ``unit`` that fit into ``room``; ``inf`` where the target does.

    It divides only where a limit binds, which is rare.
    """
    if abs(order["target"]) * unit <= room:
        return inf
    return room / unit if room > 0.0 else 0.0


@kernel
def allowed_if(passes: bool) -> float:
    """The cap of a check that answers yes or no."""
    return inf if passes else 0.0


@kernel
def max_exposure(rules: Record, order: Record) -> float:
    """Notional of all symbols over equity."""
    room = rules["max_exposure"] * order["equity"] - order["others_gross"]
    return within(order, room, order["step_notional"])


@kernel
def margin(rules: Record, order: Record) -> float:
    """Margin of all symbols stays below equity."""
    return within(order, order["equity"] - order["others_margin"], order["step_margin"])


@kernel
def max_position(rules: Record, order: Record) -> float:
    """Notional of this symbol over equity."""
    if rules["max_position"] == 0.0:
        return inf
    return within(order, rules["max_position"] * order["equity"], order["step_notional"])


@kernel
def max_lots(rules: Record, order: Record) -> float:
    """Lots of this symbol."""
    if rules["max_lots"] == 0.0:
        return inf
    return within(order, rules["max_lots"], order["step_lots"])


@kernel
def max_daily_volume_share(rules: Record, order: Record) -> float:
    """Lots over the average volume of a day; unknown volume passes, as it does in sizing."""
    if rules["max_daily_volume_share"] == 0.0 or order["day_volume"] <= 0.0:
        return inf
    return within(order, rules["max_daily_volume_share"] * order["day_volume"], 1.0)


@kernel
def max_class_exposure(rules: Record, order: Record) -> float:
    """Notional of this asset class over equity."""
    if rules["max_class_exposure"] == 0.0:
        return inf
    room = rules["max_class_exposure"] * order["equity"] - order["others_class"]
    return within(order, room, order["step_notional"])


@kernel
def leverage(rules: Record, order: Record) -> float:
    """Notional of this symbol over equity, by a limit of its own."""
    if rules["use_leverage"] == 0 or order["leverage"] == 0.0:
        return inf
    return within(order, order["leverage"] * order["equity"], order["step_notional"])


@kernel
def max_correlation(rules: Record, order: Record) -> float:
    """No more of a bet that is held already under another name."""
    if rules["max_correlation"] == 0.0 or rules["correlation_rejects"] == 0:
        return inf
    return allowed_if(order["correlation"] <= rules["max_correlation"])


@kernel
def min_balance(rules: Record, order: Record) -> float:
    """Balance below which nothing is opened; 0 demands none."""
    return allowed_if(rules["min_balance"] == 0.0 or order["balance"] >= rules["min_balance"])


@kernel
def max_positions(rules: Record, order: Record) -> float:
    """Symbols held at once; adding to one that is held makes no more of them."""
    most = rules["max_positions"]
    return allowed_if(most == 0 or order["others_open"] < most or kept_steps(order) != 0)


@kernel
def order_budget(rules: Record, order: Record) -> float:
    """Notional that one order may open."""
    if rules["order_budget"] == 0.0:
        return inf
    unit = order["step_notional"]
    return within(order, rules["order_budget"] + abs(kept_steps(order)) * unit, unit)


@kernel
def day_budget(rules: Record, order: Record) -> float:
    """Notional that the orders of a broker day may open together."""
    if rules["day_budget"] == 0.0:
        return inf
    left, unit = rules["day_budget"] - order["spent_today"], order["step_notional"]
    return within(order, left + abs(kept_steps(order)) * unit, unit)


@kernel
def trades_per_day(rules: Record, order: Record) -> float:
    """Orders of a broker day that increase a position."""
    most = rules["trades_per_day"]
    return allowed_if(most == 0 or order["orders_today"] < most)


@kernel
def max_day_trades(rules: Record, order: Record) -> float:
    """Day trades that small accounts may make: closing is always allowed, so opening is not."""
    most, equity = rules["max_day_trades"], rules["day_trade_equity"]
    rich = 0.0 < equity <= order["equity"]
    return allowed_if(most == 0 or order["day_trades"] < most or rich)


@kernel
def cooldown_bars(rules: Record, order: Record) -> float:
    """Bars without an increase from a round trip that lost on, the one it lost in included."""
    return allowed_if(not 0 < order["bars_since_loss"] <= rules["cooldown_bars"])


@kernel
def max_holding_bars(rules: Record, order: Record) -> float:
    """Bars after which a position is closed; the one check that takes away what is held."""
    overdue = 0 < rules["max_holding_bars"] <= order["age"]
    return allowed_if(not overdue or kept_steps(order) == 0)


class Check(NamedTuple):
    """One check.

    Attributes:
        name: What findings call it.
        function: ``(rules, order) -> cap`` in lot steps.
        reason: Code of :mod:`mtquant.risk.reasons`.
        field: Where an env's YAML sets it.
    """

    name: str
    function: Callable[[Record, Record], float]
    reason: int
    field: str


# In order of rank: of two equal caps the first gives the reason.
CHECKS = (
    Check("max_exposure", max_exposure, reasons.MAX_EXPOSURE, "limits.max_exposure"),
    Check("margin", margin, reasons.MARGIN, "account.leverage"),
    Check("max_position", max_position, reasons.MAX_POSITION, "limits.max_position"),
    Check("max_lots", max_lots, reasons.MAX_LOTS, "limits.max_lots"),
    Check(
        "max_daily_volume_share",
        max_daily_volume_share,
        reasons.MAX_VOLUME,
        "limits.max_daily_volume_share",
    ),
    Check(
        "max_class_exposure",
        max_class_exposure,
        reasons.MAX_CLASS_EXPOSURE,
        "limits.max_class_exposure",
    ),
    Check("leverage", leverage, reasons.MAX_LEVERAGE, "limits.leverage"),
    Check("max_correlation", max_correlation, reasons.CORRELATED, "limits.max_correlation"),
    Check("min_balance", min_balance, reasons.MIN_BALANCE, "limits.min_balance"),
    Check("max_positions", max_positions, reasons.MAX_POSITIONS, "limits.max_positions"),
    Check("order_budget", order_budget, reasons.ORDER_BUDGET, "limits.order_budget"),
    Check("day_budget", day_budget, reasons.DAY_BUDGET, "limits.day_budget"),
    Check("trades_per_day", trades_per_day, reasons.TRADES_PER_DAY, "limits.trades_per_day"),
    Check("max_day_trades", max_day_trades, reasons.DAY_TRADES, "limits.max_day_trades"),
    Check("cooldown_bars", cooldown_bars, reasons.COOLDOWN, "limits.cooldown_bars"),
    Check("max_holding_bars", max_holding_bars, reasons.MAX_HOLDING, "limits.max_holding_bars"),
)


@kernel
def _tighter(cap: float, reason: int, other: float, code: int) -> tuple[float, int]:
    return (other, code) if other < cap else (cap, reason)


@kernel
def _tightest(rules: Record, order: Record) -> tuple[float, int]:
    """The smallest cap on an increase and its reason."""
    cap, why = max_exposure(rules, order), MAX_EXPOSURE
    # Where margin binds at the very exposure that is allowed, rounding must not name it.
    cap, why = _tighter(cap, why, margin(rules, order) + GRID_TOLERANCE, reasons.MARGIN)
    if rules["checks"] == 0:
        return cap, why
    cap, why = _tighter(cap, why, max_position(rules, order), reasons.MAX_POSITION)
    cap, why = _tighter(cap, why, max_lots(rules, order), reasons.MAX_LOTS)
    cap, why = _tighter(cap, why, max_daily_volume_share(rules, order), reasons.MAX_VOLUME)
    cap, why = _tighter(cap, why, max_class_exposure(rules, order), reasons.MAX_CLASS_EXPOSURE)
    cap, why = _tighter(cap, why, leverage(rules, order), reasons.MAX_LEVERAGE)
    cap, why = _tighter(cap, why, max_correlation(rules, order), reasons.CORRELATED)
    cap, why = _tighter(cap, why, min_balance(rules, order), reasons.MIN_BALANCE)
    cap, why = _tighter(cap, why, max_positions(rules, order), reasons.MAX_POSITIONS)
    cap, why = _tighter(cap, why, order_budget(rules, order), reasons.ORDER_BUDGET)
    cap, why = _tighter(cap, why, day_budget(rules, order), reasons.DAY_BUDGET)
    cap, why = _tighter(cap, why, trades_per_day(rules, order), reasons.TRADES_PER_DAY)
    cap, why = _tighter(cap, why, max_day_trades(rules, order), reasons.DAY_TRADES)
    return _tighter(cap, why, cooldown_bars(rules, order), reasons.COOLDOWN)


@kernel
def permitted(rules: Record, order: Record) -> tuple[int, int]:
    """Clip a target to what the checks permit.

    Args:
        rules: Record with :data:`LIMIT_FIELDS`.
        order: Record of :data:`mtquant.risk.order.ORDER`, of a symbol that can be traded now.

    Returns:
        ``(signed lot steps, reason code)``.
    """
    held, target = order["held"], order["target"]
    if rules["checks"] != 0 and max_holding_bars(rules, order) == 0.0:
        return 0, MAX_HOLDING
    if target == held:
        return held, UNCHANGED
    kept = kept_steps(order)
    if abs(target) <= abs(kept):
        return target, ALLOWED
    if order["barred"] != 0:
        return kept, order["barred"]
    cap, reason = _tightest(rules, order)
    if abs(target) <= cap + GRID_TOLERANCE:
        return target, ALLOWED
    most = max(floor(cap + GRID_TOLERANCE), abs(kept))
    return (most if target > 0 else -most), reason
