"""One bar of one account.

    At the close of bar t:  observe -> size -> check -> breaker    (``decide_all``)
    Inside bar t+1:         fill at the open                       (``trade``)
                            stops, targets, stop-out               (``inside_bar``)
                            swap of the rollovers                  (``carry``)
                            mark at the close, breaker, reward     (``close_bar``, ``step``)

The single env, the batched env, the backtest and the simulated terminal call these functions.
Trading changes cash and positions in ``fills`` alone; accounts are opened in ``episodes``.
"""

from __future__ import annotations

from mtquant.jit import Record, kernel
from mtquant.risk.breaker import (
    LEVEL_2,
    LEVEL_3,
    NORMAL,
    brake,
    limit,
    next_day,
    trip,
    week_of,
)
from mtquant.risk.challenge import TRAILS_DAYS, UNDECIDED, challenge_end
from mtquant.risk.reasons import STOP
from mtquant.sim.account import (
    SMALLEST_EQUITY,
    Book,
    Float32,
    Tape,
    gross_notional,
    margin_at_open,
    mark,
    symbols_of,
)
from mtquant.sim.decisions import decide_all
from mtquant.sim.fills import stop_refused
from mtquant.sim.inside import bar_side, carry, inside_bar
from mtquant.sim.orders import execute, late_bid
from mtquant.sim.pending import call_off, give_up, send, whole_bars
from mtquant.sim.reward import SORTINO, other_reward, sortino_reward

RUNNING, TERMINATED, TRUNCATED = range(3)
DAYS_OF_TRADES = (1 << 40) - 1  # five days, a byte each


@kernel
def open_bar(book: Book, tape: Tape, i: int, t: int) -> None:
    """Begin bar ``t``: a new broker day, or week, starts from the equity last marked."""
    account = book.account[i]
    account["n_deals"] = 0
    new_day = tape.day[t] != account["day"]
    if tape.rules[0]["challenge"] != 0 and (new_day or account["challenge_days"] == 0):
        account["challenge_days"] += 1
    if new_day:
        if week_of(tape.day[t]) != week_of(account["day"]):
            account["week_start"] = account["equity"]
        if 0 < tape.rules[0]["losing_run"] <= account["losing_run"]:
            account["losing_run"] = 0  # a run that has tripped the breaker is served
        account["day"] = tape.day[t]
        account["day_start"], account["day_balance"] = account["equity"], account["balance"]
        account["challenge_high"] = max(account["challenge_high"], account["equity"])
        account["level"] = next_day(account["level"])
        account["orders_today"], account["spent_today"] = 0, 0.0
        account["day_trades"] = (account["day_trades"] << 8) & DAYS_OF_TRADES
    equity, margin = margin_at_open(book, tape, i, t)
    account["open_equity"], account["open_margin"] = equity, margin


@kernel
def _level(account: Record, rules: Record, equity: float) -> int:
    """The breaker's level after a bar that closed with ``equity``."""
    level = trip(rules, account["level"], account["day_start"], equity)
    if rules["challenge"] != 0 and _ends_challenge(account, rules, equity):
        return LEVEL_3
    return max(level, _braked(account, rules, equity, account["losing_run"]))


@kernel
def _braked(account: Record, rules: Record, equity: float, losing_run: int) -> int:
    """The level that the brakes ask for."""
    if rules["brakes"] == 0:
        return NORMAL
    week, peak, start = account["week_start"], account["peak"], account["start_equity"]
    return brake(rules, equity, week, peak, start, losing_run)


@kernel
def _ends_challenge(account: Record, rules: Record, equity: float) -> bool:
    """Whether a bar that closed with ``equity`` ends the challenge; moves its high water."""
    start, high = account["start_equity"], account["challenge_high"]
    day_start, balance = account["day_start"], account["day_balance"]
    days = account["challenge_days"]
    if rules["trails"] != TRAILS_DAYS:
        account["challenge_high"] = max(high, equity)
    return challenge_end(rules, start, equity, day_start, balance, high, days) != UNDECIDED


@kernel
def close_bar(book: Book, tape: Tape, i: int, t: int) -> float:
    """Mark at the close of bar ``t``, age the positions and let the breaker judge."""
    account, rules = book.account[i], tape.rules[0]
    for s in range(symbols_of(book)):
        position = book.positions[i, s]
        position["age"] += position["steps"] != 0
        position["barred_bars"] += position["barred_side"] != 0
    equity = mark(book, tape, i, t)
    account["cursor"] = t
    account["since_loss"] += 1
    level = _level(account, rules, equity)
    if level == LEVEL_2 and account["level"] < LEVEL_2 and not _was_braked(account, rules):
        account["shed_to"] = (1.0 - rules["shed"]) * gross_notional(book, tape, i, t)
    account["level"] = level
    account["equity"], account["peak"] = equity, max(account["peak"], equity)
    return equity


@kernel
def _was_braked(account: Record, rules: Record) -> bool:
    """Whether a brake held LEVEL_2 at the bar before: over midnight it binds on and sheds once.

    Reads the equity and peak of that bar, and no losing run: the new day has served that.
    """
    return _braked(account, rules, account["equity"], 0) >= LEVEL_2


@kernel
def _gross_gap(book: Book, tape: Tape, i: int, t: int) -> float:
    """Held position times the change of bid from the close of bar ``t - 1`` to the open of t."""
    gross = 0.0
    for s in range(symbols_of(book)):
        bar = tape.market[t, s]
        move = bar["open"] - tape.market[t - 1, s]["close"]
        gross += book.positions[i, s]["steps"] * move * bar["open_value"]
    return gross


@kernel
def _gross_bar(book: Book, tape: Tape, i: int, t: int) -> float:
    """Held position times the change of bid inside bar ``t``."""
    gross = 0.0
    for s in range(symbols_of(book)):
        bar = tape.market[t, s]
        gross += book.positions[i, s]["steps"] * (bar["close"] - bar["open"]) * bar["value"]
    return gross


@kernel
def trade(book: Book, tape: Tape, i: int, t: int) -> float:
    """Fill target minus held of every symbol at the open of bar ``t``.

    Returns:
        Money that late fills missed of the bar's move (or were spared), bid to bid.
    """
    missed = 0.0
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        target = due = position["target"]
        if book.queue.shape[1] > 0:
            target = due = send(book, i, s, t, due)
            if book.account[i]["level"] >= LEVEL_2:  # reached since this was decided
                target = limit(LEVEL_2, position["steps"], due)
        if position["moved"] != 0 and target * position["steps"] > 0:
            if stop_refused(position, tape.contracts[s], bar):
                # What the stop cannot protect any more is closed.
                bar_side(position)
                call_off(book, i, s)
                target, position["reason"] = 0, STOP
        steps = target - position["steps"]
        if steps != 0:
            done = execute(book, tape, i, s, t, steps, position["reason"])
            late = late_bid(book.account[i], bar, steps) - bar["open"]
            missed += done * late * bar["open_value"]
        if position["steps"] != due and whole_bars(book, i) > 0:
            give_up(book, i, s, t, due)
    return missed


@kernel
def step(book: Book, tape: Tape, i: int, actions: Float32) -> tuple[float, int]:
    """Move lane ``i`` from the close of bar t to the close of bar t+1.

    Args:
        book: State.
        tape: Market and rules.
        i: Lane.
        actions: float ``[N, S]``.

    Returns:
        ``(reward, RUNNING | TERMINATED | TRUNCATED)``.
    """
    account = book.account[i]
    t, before = account["cursor"], account["equity"]
    decide_all(book, tape, i, t, actions)
    t += 1
    open_bar(book, tape, i, t)
    gross = _gross_gap(book, tape, i, t)
    gross -= trade(book, tape, i, t)
    closed_gross, stopped = inside_bar(book, tape, i, t)
    gross += closed_gross + _gross_bar(book, tape, i, t)
    carry(book, tape, i, t)
    equity = close_bar(book, tape, i, t)
    if tape.rules[0]["reward_kind"] == SORTINO:
        reward = sortino_reward(tape.rules[0], gross, equity - before, before)
    else:
        account["gross"], account["before"] = gross, before
        reward = other_reward(book, tape, i, before)
    exposure = _count(book, tape, i, t, before, reward)
    if stopped or equity <= 0.0:
        account["level"] = LEVEL_3
    if account["level"] >= LEVEL_3 and exposure == 0.0:
        return reward, TERMINATED
    return reward, TRUNCATED if t >= account["end"] else RUNNING


@kernel
def _count(book: Book, tape: Tape, i: int, t: int, before: float, reward: float) -> float:
    """Add the bar to the episode's sums; returns the gross notional held."""
    account = book.account[i]
    equity = account["equity"]
    change = equity / max(before, SMALLEST_EQUITY) - 1.0
    account["bars"] += 1
    account["reward_sum"] += reward
    account["return_sum"] += change
    account["return_square_sum"] += change * change
    account["downside_square_sum"] += change * min(change, 0.0)
    account["high_water"] = max(account["high_water"], equity)
    drawdown = 1.0 - equity / account["high_water"]
    account["max_drawdown"] = max(account["max_drawdown"], drawdown)
    gross = gross_notional(book, tape, i, t)
    account["exposure_sum"] += gross / max(equity, SMALLEST_EQUITY)
    return gross
