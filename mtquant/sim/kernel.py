"""One bar of one account.

    At the close of bar t:  observe -> size -> check -> breaker    (``decide``)
    Inside bar t+1:         fill at the open                       (``fill``)
                            stop-out on the extremes               (``stop_out``)
                            swap of the rollovers                  (``carry``)
                            mark at the close, breaker, reward     (``close_bar``, ``step``)

The single env, the batched env, the backtest and the simulated terminal call these functions.
Trading changes cash and positions in ``fills`` alone; accounts are opened in ``episodes``.
"""

from __future__ import annotations

from mtquant.jit import Record, kernel
from mtquant.risk.breaker import LEVEL_3, brake, limit, next_day, size_factor, trip, week_of
from mtquant.risk.checks import BREAKER, NOT_TRADABLE, UNCHANGED, permitted
from mtquant.risk.sizing import KELLY, at_risk, full_size, kelly_risk, target_steps, volume_cap
from mtquant.sim.account import (
    SMALLEST_EQUITY,
    Book,
    Float32,
    Tape,
    mark,
    notional,
    price_of,
    step_value,
)
from mtquant.sim.fills import carry, fill, stop_out
from mtquant.sim.reward import SORTINO, other_reward, sortino_reward

RUNNING, TERMINATED, TRUNCATED = range(3)


@kernel
def _reserved(book: Book, tape: Tape, i: int, s: int, t: int) -> float:
    """Gross notional that other symbols hold, or were just allowed to hold, account currency."""
    gross = 0.0
    for o in range(book.positions.shape[1]):
        if o != s:
            position = book.positions[i, o]
            steps = abs(position["steps"])
            if o < s:
                steps = max(steps, abs(position["target"]))
            gross += notional(steps, tape.contracts[o], tape.market[t, o])
    return gross


@kernel
def _full(
    account: Record, contract: Record, bar: Record, rules: Record, price: float, value: float
) -> float:
    """Lot steps at ``|action| = 1`` for an account at the close of a bar, before the limits."""
    equity, wins = account["equity"], account["wins"]
    if rules["sizing_method"] == KELLY:
        losses = account["trades"] - wins
        risk = kelly_risk(rules, wins, losses, account["gain_sum"], account["loss_sum"])
        full = at_risk(risk, max(equity, 0.0), bar["atr"] * rules["atr_multiple"], value)
    else:
        full = full_size(rules, equity, price, bar["atr"], value)
    if rules["max_volume_share"] > 0.0:
        full = min(full, volume_cap(rules, float(bar["volume"]), contract["step_lots"]))
    return full * size_factor(rules, account["level"])


@kernel
def decide(book: Book, tape: Tape, i: int, s: int, t: int, action: float) -> int:
    """From an action at the close of bar ``t`` to a target that every gate allows.

    Args:
        book: State; ``equity`` is marked at ``t``. Writes ``target`` and ``reason``.
        tape: Market and rules.
        i: Lane.
        s: Symbol; earlier symbols are decided first and reserve their exposure.
        t: Row of the last closed bar.
        action: Target exposure in [-1, 1].

    Returns:
        Signed lot steps to hold from the next open on.
    """
    account, position = book.account[i], book.positions[i, s]
    contract, bar, rules = tape.contracts[s], tape.market[t, s], tape.rules[0]
    held, equity = position["steps"], account["equity"]
    price, value = price_of(contract, bar["close"]), step_value(contract, bar)
    full = _full(account, contract, bar, rules, price, value)
    most = max(rules["max_exposure"] * equity / (price * value), 0.0)
    least = contract["min_steps"]
    asked = target_steps(rules, action, full, held, least, contract["max_steps"], most)
    target, reason = permitted(
        rules,
        held,
        asked,
        bar["tradable"] != 0,
        price * value,
        _reserved(book, tape, i, s, t),
        equity,
        contract["margin_share"],
    )
    braked = limit(account["level"], held, target)
    if braked != target:
        target, reason = braked, BREAKER
    if abs(target) < least:
        target = 0
    elif 0 < abs(target - held) < least:
        target, reason = held, UNCHANGED  # no broker takes an order below the minimum
    position["target"] = target
    position["reason"] = reason
    return target


@kernel
def open_bar(book: Book, tape: Tape, i: int, t: int) -> None:
    """Begin bar ``t``: a new broker day, or week, starts from the equity last marked."""
    account = book.account[i]
    account["n_deals"] = 0
    if tape.day[t] != account["day"]:
        if week_of(tape.day[t]) != week_of(account["day"]):
            account["week_start"] = account["equity"]
        if 0 < tape.rules[0]["losing_run"] <= account["losing_run"]:
            account["losing_run"] = 0  # a run that has tripped the breaker is served
        account["day"] = tape.day[t]
        account["day_start"] = account["equity"]
        account["level"] = next_day(account["level"])


@kernel
def close_bar(book: Book, tape: Tape, i: int, t: int) -> float:
    """Mark at the close of bar ``t``, age the positions and let the breaker judge."""
    account, rules = book.account[i], tape.rules[0]
    for s in range(book.positions.shape[1]):
        if book.positions[i, s]["steps"] != 0:
            book.positions[i, s]["age"] += 1
    equity = mark(book, tape, i, t)
    account["equity"] = equity
    account["peak"] = max(account["peak"], equity)
    account["cursor"] = t
    account["level"] = trip(rules, account["level"], account["day_start"], equity)
    if rules["brakes"] != 0:
        braked = brake(
            rules,
            equity,
            account["week_start"],
            account["peak"],
            account["start_equity"],
            account["losing_run"],
        )
        account["level"] = max(account["level"], braked)
    return equity


@kernel
def _gross_gap(book: Book, tape: Tape, i: int, t: int) -> float:
    """Held position times the change of bid from the close of bar ``t - 1`` to the open of t."""
    gross = 0.0
    for s in range(book.positions.shape[1]):
        contract, bar, steps = tape.contracts[s], tape.market[t, s], book.positions[i, s]["steps"]
        move = bar["open"] - tape.market[t - 1, s]["close"]
        gross += steps * price_of(contract, move) * step_value(contract, bar)
    return gross


@kernel
def _gross_bar(book: Book, tape: Tape, i: int, t: int) -> float:
    """Held position times the change of bid inside bar ``t``."""
    gross = 0.0
    for s in range(book.positions.shape[1]):
        contract, bar, steps = tape.contracts[s], tape.market[t, s], book.positions[i, s]["steps"]
        move = bar["close"] - bar["open"]
        gross += steps * price_of(contract, move) * step_value(contract, bar)
    return gross


@kernel
def trade(book: Book, tape: Tape, i: int, t: int) -> None:
    """Fill target minus held of every symbol at the open of bar ``t``."""
    for s in range(book.positions.shape[1]):
        position = book.positions[i, s]
        steps = position["target"] - position["steps"]
        if steps != 0 and tape.market[t, s]["tradable"] == 0:
            position["reason"] = NOT_TRADABLE
        elif steps != 0:
            fill(book, tape, i, s, t, steps, position["reason"])


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
    for s in range(book.positions.shape[1]):
        decide(book, tape, i, s, t, actions[i, s])
    t += 1
    open_bar(book, tape, i, t)
    gross = _gross_gap(book, tape, i, t)
    trade(book, tape, i, t)
    closed_gross, stopped = stop_out(book, tape, i, t)
    gross += closed_gross + _gross_bar(book, tape, i, t)
    carry(book, tape, i, t)
    equity = close_bar(book, tape, i, t)
    if tape.rules[0]["reward_kind"] == SORTINO:
        reward = sortino_reward(tape.rules[0], gross, equity - before, before)
    else:
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
    if change < 0.0:
        account["downside_square_sum"] += change * change
    account["high_water"] = max(account["high_water"], equity)
    drawdown = 1.0 - equity / account["high_water"]
    account["max_drawdown"] = max(account["max_drawdown"], drawdown)
    gross = 0.0
    for s in range(book.positions.shape[1]):
        gross += notional(abs(book.positions[i, s]["steps"]), tape.contracts[s], tape.market[t, s])
    account["exposure_sum"] += gross / max(equity, SMALLEST_EQUITY)
    return gross
