"""A trading challenge, judged bar by bar: is the target reached before a floor is broken?

    walk    accounts through broker days in any order    (kernels; money in units of the start)
    judge   one account as it was                        (money as given)

A rule is looked at when a bar closes, with the equity of that close: what happens inside a bar is
not seen. Floors and target are those of :mod:`mtquant.risk.challenge`, by which the circuit breaker
trips too; days of trading, consistency and the end of the last day are judged here alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mtquant.config.challenge import RuleSet
from mtquant.errors import DataError
from mtquant.jit import Record, Structured, kernel
from mtquant.market.bars import Float, Int
from mtquant.market.clock import Mask
from mtquant.risk.challenge import (
    CHALLENGE_FIELDS,
    DAILY_LOSS,
    DAYS,
    DRAWDOWN,
    PASSED,
    TOLERANCE,
    TRAILS_BARS,
    UNDECIDED,
    broken_floor,
    daily_floor,
    reaches_target,
    total_floor,
)

Verdict = Literal["passed", "failed", "undecided"]

FAILURES = {DAILY_LOSS: "max_daily_loss", DRAWDOWN: "max_drawdown", DAYS: "max_days"}

ANY_SHARE = 1e18
START = 1.0

# Its own fields first: the compiler takes a record for one of which it begins with all fields.
RULES = np.dtype([("trading_days", "i8"), ("best_day", "f8"), *CHALLENGE_FIELDS])

STATE = np.dtype(
    [
        ("code", "i8"),
        ("days", "i8"),  # begun, the current one included
        ("row", "i8"),  # of the last bar looked at
        ("equity", "f8"),
        ("high_water", "f8"),
        ("limit", "f8"),  # the floor that was broken, else the target
        ("trading_days", "i8"),
        ("best_day", "f8"),  # profit of the best day, 0 or more
    ]
)


class Days(NamedTuple):
    """Broker days of an account, each of them complete in itself so that they can be reordered.

    Attributes:
        first: Row of each day's first bar, then the number of rows, int64 ``[D + 1]``.
        level: Equity at each close over that at the day's start, ``[T]``.
        traded: Whether the bar had a fill, ``[T]``.
        balance: Balance over equity at each day's start, ``[D]``.
    """

    first: Int
    level: Float
    traded: Mask
    balance: Float


def split_days(equity: Float, day: Int, traded: Mask, balance: Float) -> Days:
    """An account's path as its days; nothing moves once equity is not positive at a day's start.

    Args:
        equity: At the start and at each bar's close, ``[T + 1]``.
        day: Broker day of each bar, ``[T]``.
        traded: Whether the bar had a fill, ``[T]``.
        balance: At each day's start, ``[D]``.

    Raises:
        DataError: Columns that do not belong together.
    """
    first = np.append(np.flatnonzero(np.diff(day, prepend=day[:1] - 1)), day.size)
    if not equity.size - 1 == day.size == traded.size or balance.size != first.size - 1:
        raise DataError(
            f"{equity.size} equities, {day.size} days, {traded.size} flags and {balance.size} "
            f"balances: give T + 1, T, T and one for each of the {first.size - 1} broker days"
        )
    starts = equity[first[:-1]]
    alive = starts > 0.0
    start = np.repeat(np.where(alive, starts, 1.0), np.diff(first))
    level = np.where(np.repeat(alive, np.diff(first)), equity[1:] / start, 1.0)
    share = np.divide(balance, starts, out=np.ones_like(starts), where=alive)
    return Days(first, level, np.ascontiguousarray(traded, np.bool_), share)


def rules_record(rules: RuleSet) -> Structured:
    """``RULES[1]``."""
    row = np.zeros(1, RULES)
    for name, value in rules.numbers().items():
        row[name] = value
    row["trading_days"] = rules.min_trading_days
    row["best_day"] = ANY_SHARE if rules.consistency is None else rules.consistency
    return row


@kernel
def _all_met(rules: Record, state: Record, best_day: float) -> bool:
    """Whether the target is reached and every condition met with it."""
    met: bool = (
        reaches_target(rules, START, state["equity"])
        and state["trading_days"] >= rules["trading_days"]
        and best_day <= rules["best_day"] * (state["equity"] - START) + TOLERANCE
    )
    return met


@kernel
def _walk_day(days: Days, d: int, rules: Record, state: Record) -> None:
    """Day ``d`` as the next one, until it ends or decides."""
    start = state["equity"]
    balance = start * days.balance[d] if state["days"] > 0 else start
    daily = daily_floor(rules, START, start, balance)
    state["days"] += 1
    traded = False
    for t in range(days.first[d], days.first[d + 1]):
        state["row"] = t
        state["equity"] = start * days.level[t]
        if days.traded[t] and not traded:
            traded = True
            state["trading_days"] += 1
        total = total_floor(rules, START, state["high_water"])
        state["code"] = broken_floor(START, state["equity"], daily, total)
        if state["code"] != UNDECIDED:
            state["limit"] = max(daily, total)
            return
        best_day = max(state["best_day"], state["equity"] - start)
        if _all_met(rules, state, best_day):
            state["code"] = PASSED
            state["best_day"] = best_day
            return
        if rules["trails"] == TRAILS_BARS:
            state["high_water"] = max(state["high_water"], state["equity"])
    state["best_day"] = max(state["best_day"], state["equity"] - start)
    state["high_water"] = max(state["high_water"], state["equity"])


@kernel
def walk(days: Days, order: Int, rules: Structured, states: Structured) -> None:
    """Accounts that live through days of ``days`` in the given orders, until decided.

    Args:
        days: An account's days.
        order: int64 ``[N, L]`` of days.
        rules: ``RULES[1]``.
        states: ``STATE[N]`` to write.
    """
    for i in range(order.shape[0]):
        state = states[i]
        state["code"], state["days"], state["row"] = UNDECIDED, 0, -1
        state["equity"], state["high_water"] = START, START
        state["limit"] = START + rules[0]["profit_target"]
        state["trading_days"], state["best_day"] = 0, 0.0
        for n in range(order.shape[1]):
            _walk_day(days, order[i, n], rules[0], state)
            if state["code"] != UNDECIDED:
                break
            if state["days"] == rules[0]["max_days"]:
                state["code"] = DAYS
                break


@dataclass(frozen=True)
class Outcome:
    """How a challenge ended, or how it stands.

    Attributes:
        verdict: ``passed``, ``failed`` or ``undecided``.
        rule: The rule that failed it, None otherwise.
        row: Bar that decided, the last one where nothing did.
        days: Broker days begun, that of the bar included.
        equity: At that bar's close.
        limit: The floor that was broken, else the equity that passes.
        trading_days: Days with a fill.
        best_day_share: Share of the profit that the best day made; None without a profit.
    """

    verdict: Verdict
    rule: str | None
    row: int
    days: int
    equity: float
    limit: float
    trading_days: int
    best_day_share: float | None


def judge(
    equity: Float,
    day: npt.ArrayLike,
    traded: npt.ArrayLike,
    balance: npt.ArrayLike,
    rules: RuleSet,
) -> Outcome:
    """An account under a rule set, from its first bar on.

    Args:
        equity: At the start and at each bar's close, ``[T + 1]``; the first is the capital.
        day: Broker day of each bar, ``[T]``.
        traded: Whether the bar had a fill, ``[T]``.
        balance: At the start of each of the days, ``[D]``.
        rules: What must be met.
    """
    path = np.asarray(equity, np.float64)
    days = split_days(
        path,
        np.asarray(day, np.int64),
        np.asarray(traded, np.bool_),
        np.asarray(balance, np.float64),
    )
    states = np.zeros(1, STATE)
    walk(days, np.arange(days.balance.size)[None, :], rules_record(rules), states)
    return _outcome(states[0], path)


def _outcome(state: Record, path: Float) -> Outcome:
    code, row = int(state["code"]), int(state["row"])
    profit = float(state["equity"]) - START
    return Outcome(
        verdict="passed" if code == PASSED else "failed" if code in FAILURES else "undecided",
        rule=FAILURES.get(code),
        row=row,
        days=int(state["days"]),
        equity=float(path[row + 1]),
        limit=float(state["limit"] * path[0]),
        trading_days=int(state["trading_days"]),
        best_day_share=float(state["best_day"]) / profit if profit > TOLERANCE else None,
    )
