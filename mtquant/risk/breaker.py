"""CircuitBreaker: losses trip levels that no agent can talk its way out of.

    NORMAL    everything is allowed
    LEVEL_1   full size shrinks to ``shrink`` of itself
    LEVEL_2   positions may only be reduced, and the riskiest are closed until ``shed`` is gone
    LEVEL_3   everything is closed, and stays closed until a person (or a reset rule) decides

Inside a day on the broker's clock the level only rises; a new day brings LEVEL_1 and LEVEL_2 back
to NORMAL, LEVEL_3 never. Daily loss is always watched; four brakes may be added, each with the
level that it trips: loss of the week, fall from the peak, loss since the start, losing run.
"""

from __future__ import annotations

from mtquant.jit import Record, kernel

NORMAL, LEVEL_1, LEVEL_2, LEVEL_3 = range(4)
# Shares of what a loss is counted from; one that meets its level to the cent may come out below.
TOLERANCE = 1e-9
LEVEL_NAMES = ("NORMAL", "LEVEL_1", "LEVEL_2", "LEVEL_3")

BREAKER_FIELDS = [
    ("daily_loss_level_1", "f8"),
    ("daily_loss_level_2", "f8"),
    ("daily_loss_level_3", "f8"),
    ("shrink", "f8"),
]

BRAKE_FIELDS = [
    ("shed", "f8"),  # share of exposure that LEVEL_2 closes, riskiest first
    ("brakes", "i8"),  # 0: none of those below
    ("weekly_loss", "f8"),
    ("weekly_loss_level", "i8"),
    ("drawdown", "f8"),
    ("drawdown_level", "i8"),
    ("start_loss", "f8"),
    ("start_loss_level", "i8"),
    ("losing_run", "i8"),  # 0: any number
    ("losing_run_level", "i8"),
]


@kernel
def trip(rules: Record, level: int, day_start_equity: float, equity: float) -> int:
    """The level after a bar that closed with ``equity``.

    Args:
        rules: Record array with :data:`BREAKER_FIELDS`; fractions of equity.
        level: Level before.
        day_start_equity: Equity when the broker's day began.
        equity: Equity marked at the bar's close; NaN trips LEVEL_3.

    Returns:
        The level, never below ``level``.
    """
    if equity != equity or day_start_equity <= 0.0:
        return LEVEL_3
    loss = 1.0 - equity / day_start_equity + TOLERANCE
    if loss >= rules["daily_loss_level_3"]:
        return LEVEL_3
    if loss >= rules["daily_loss_level_2"]:
        return max(level, LEVEL_2)
    if loss >= rules["daily_loss_level_1"]:
        return max(level, LEVEL_1)
    return level


@kernel
def brake(
    rules: Record, equity: float, week_start: float, peak: float, start: float, losing_run: int
) -> int:
    """The highest level that a brake asks for.

    Args:
        rules: Record array with :data:`BRAKE_FIELDS`; fractions of what a loss is counted from.
        equity: Equity marked at the bar's close.
        week_start: Equity when the broker's week began.
        peak: Highest equity so far: the drawdown limit trails it.
        start: Equity at the beginning: this limit stands still.
        losing_run: Round trips lost one after the other.

    Returns:
        A level; NORMAL where none binds.
    """
    level = NORMAL
    if week_start - equity >= (rules["weekly_loss"] - TOLERANCE) * week_start:
        level = max(level, rules["weekly_loss_level"])
    if peak - equity >= (rules["drawdown"] - TOLERANCE) * peak:
        level = max(level, rules["drawdown_level"])
    if start - equity >= (rules["start_loss"] - TOLERANCE) * start:
        level = max(level, rules["start_loss_level"])
    if 0 < rules["losing_run"] <= losing_run:
        level = max(level, rules["losing_run_level"])
    return level


@kernel
def week_of(day: int) -> int:
    """Number of the week, Monday to Sunday, of a day counted from Thursday 1970-01-01."""
    return (day + 3) // 7


@kernel
def size_factor(rules: Record, level: int) -> float:
    """What is left of full size at ``level``: ``shrink`` at LEVEL_1, all of it below.

    It scales the size rather than what is held, so that bar after bar it asks for the same.
    """
    return rules["shrink"] if level == LEVEL_1 else 1.0


@kernel
def limit(level: int, held: int, target: int) -> int:
    """The target that ``level`` still allows.

    Args:
        level: Current level.
        held: Signed lot steps held.
        target: Signed lot steps asked for and already checked.

    Returns:
        Signed lot steps; at LEVEL_2 never further from zero than ``held``, at LEVEL_3 zero.
    """
    if level < LEVEL_2:
        return target
    if level >= LEVEL_3 or target * held <= 0:
        return 0
    return target if abs(target) <= abs(held) else held


@kernel
def next_day(level: int) -> int:
    """The level with which a new broker day begins."""
    return level if level >= LEVEL_3 else NORMAL
