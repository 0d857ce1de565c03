"""The rules of a trading challenge: what ends it, judged when a bar closes.

    daily_floor, total_floor    the equity that a day, and the whole challenge, must stay above
    challenge_end               how the bar that has closed ends the challenge, if it does

The circuit breaker trips by them and a backtest is judged by them. To touch a floor is to break
it; in one bar a breach counts before the target, and of two floors the higher one, which falling
equity meets first. ``rules_margin`` lifts each floor by that share of the loss that it allows.
"""

from __future__ import annotations

from mtquant.jit import Record, kernel

UNDECIDED, PASSED, DAILY_LOSS, DRAWDOWN, DAYS = range(5)
STATIC, TRAILS_BARS, TRAILS_DAYS = range(3)
BALANCE, EQUITY, HIGHER = range(3)

CHALLENGE_FIELDS = [
    ("challenge", "i8"),  # 0: none of those below
    ("profit_target", "f8"),  # of the start
    ("max_daily_loss", "f8"),  # 0: any
    ("daily_base", "i8"),  # what the day began with: BALANCE, EQUITY or HIGHER
    ("daily_of_start", "i8"),
    ("max_drawdown", "f8"),
    ("trails", "i8"),  # STATIC, TRAILS_BARS or TRAILS_DAYS
    ("drawdown_of_start", "i8"),
    ("locks", "i8"),  # 1: the floor never rises above the start
    ("max_days", "i8"),  # 0: any number
    ("rules_margin", "f8"),
]

NO_FLOOR = -1e300
# Shares of the start; a level that is met to the cent may come out a hair beside it.
TOLERANCE = 1e-9


@kernel
def daily_floor(rules: Record, start: float, equity: float, balance: float) -> float:
    """The floor of a broker day.

    Args:
        rules: Record with :data:`CHALLENGE_FIELDS`.
        start: The first balance.
        equity: With which the day began.
        balance: With which the day began.
    """
    if rules["max_daily_loss"] == 0.0:
        return NO_FLOOR
    base = equity
    if rules["daily_base"] == BALANCE or (rules["daily_base"] == HIGHER and balance > equity):
        base = balance
    loss = rules["max_daily_loss"] * (start if rules["daily_of_start"] != 0 else base)
    return base - loss + rules["rules_margin"] * loss


@kernel
def total_floor(rules: Record, start: float, high_water: float) -> float:
    """The floor of the challenge while the mark that a trailing one follows is ``high_water``."""
    static = rules["trails"] == STATIC
    high = start if static else high_water
    loss = rules["max_drawdown"] * (start if static or rules["drawdown_of_start"] != 0 else high)
    floor = high - loss
    if rules["locks"] != 0:
        floor = min(floor, start)
    return floor + rules["rules_margin"] * loss


@kernel
def broken_floor(start: float, equity: float, daily: float, total: float) -> int:
    """DAILY_LOSS or DRAWDOWN where ``equity`` has come down to a floor, else UNDECIDED."""
    if equity > max(daily, total) + TOLERANCE * start:
        return UNDECIDED
    return DAILY_LOSS if daily >= total - TOLERANCE * start else DRAWDOWN


@kernel
def reaches_target(rules: Record, start: float, equity: float) -> bool:
    """Whether the profit target is reached."""
    return equity - start >= (rules["profit_target"] - TOLERANCE) * start


@kernel
def challenge_end(
    rules: Record,
    start: float,
    equity: float,
    day_start: float,
    day_balance: float,
    high_water: float,
    days: int,
) -> int:
    """How the bar that closed with ``equity`` ends the challenge.

    Args:
        rules: Record with :data:`CHALLENGE_FIELDS`.
        start: The first balance.
        equity: At the bar's close.
        day_start: Equity with which the broker's day began.
        day_balance: Balance with which it began.
        high_water: Mark that a trailing floor follows, this bar not yet in it.
        days: Broker days begun, that of the bar included.

    Returns:
        UNDECIDED while it goes on. PASSED says that the target is reached: days of trading and
        consistency are looked at by a backtest alone.
    """
    if 0 < rules["max_days"] < days:
        return DAYS
    daily = daily_floor(rules, start, day_start, day_balance)
    broken = broken_floor(start, equity, daily, total_floor(rules, start, high_water))
    if broken != UNDECIDED:
        return broken
    return PASSED if reaches_target(rules, start, equity) else UNDECIDED
