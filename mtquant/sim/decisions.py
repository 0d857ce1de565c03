"""From actions at the close of a bar to targets that every gate allows.

    protect -> re-entry -> size -> check -> breaker

Positions are decided in the order of the symbols, and each reserves its exposure before the next.
The live runner decides with these functions too.
"""

from __future__ import annotations

from math import ceil, inf

from mtquant.jit import Record, kernel
from mtquant.risk.breaker import LEVEL_2, limit, size_factor
from mtquant.risk.checks import permitted
from mtquant.risk.reasons import (
    ALLOWED,
    BREAKER,
    NOT_TRADABLE,
    PARTIAL_CLOSE,
    REENTRY,
    SHED,
    UNCHANGED,
)
from mtquant.risk.sizing import (
    FIXED_AT_START,
    GRID_TOLERANCE,
    KELLY,
    at_risk,
    full_size,
    kelly_risk,
    target_steps,
    volume_cap,
)
from mtquant.sim.account import Book, Float32, Tape, step_notional, symbols_of
from mtquant.sim.facts import describe, reserve, tally
from mtquant.sim.pending import ordered
from mtquant.sim.protect import distance, obey, protect, reopened


@kernel
def steps_at_full_size(
    account: Record, contract: Record, bar: Record, began: Record, rules: Record
) -> float:
    """Lot steps at ``|action| = 1`` for an account at the close of a bar, before the limits.

    Args:
        account: Of the lane.
        contract: Of the symbol.
        bar: Just closed.
        began: The bar at whose close the episode began.
        rules: Of sizing.
    """
    equity, wins = account["equity"], account["wins"]
    if rules["sizing_method"] == KELLY:
        losses = account["trades"] - wins
        risk = kelly_risk(rules, wins, losses, account["gain_sum"], account["loss_sum"])
        full = at_risk(risk, max(equity, 0.0), bar["atr"] * rules["atr_multiple"], bar["value"])
    elif rules["sizing_method"] == FIXED_AT_START:
        full = full_size(rules, account["start_equity"], began["close"], 0.0, began["value"])
    else:
        full = full_size(rules, equity, bar["close"], bar["atr"], bar["value"])
    if rules["max_volume_share"] > 0.0:
        full = min(full, volume_cap(rules, float(bar["volume"]), contract["step_lots"]))
    return full * size_factor(rules, account["level"])


@kernel
def began_at(account: Record, t: int) -> int:
    """Row at whose close the episode began that has come to the close of bar ``t``."""
    return max(t - account["bars"], 0)


@kernel
def largest_size(account: Record, contract: Record, bar: Record, rules: Record) -> float:
    """Lot steps of one symbol that the limits on size allow at best, whatever else is held."""
    exposure = rules["max_exposure"]
    if rules["checks"] == 0:
        return max(exposure * account["equity"] / step_notional(bar), 0.0)
    if rules["max_position"] > 0.0:
        exposure = min(exposure, rules["max_position"])
    if contract["leverage"] > 0.0:
        exposure = min(exposure, contract["leverage"])
    most = max(exposure * account["equity"] / step_notional(bar), 0.0)
    if rules["max_lots"] > 0.0:
        most = min(most, rules["max_lots"] / contract["step_lots"])
    day = bar["volume"] / contract["step_lots"] * contract["bars_per_day"]
    if rules["max_daily_volume_share"] > 0.0 and day > 0.0:
        most = min(most, rules["max_daily_volume_share"] * day)
    return most


@kernel
def _ask(
    account: Record,
    position: Record,
    contract: Record,
    bar: Record,
    began: Record,
    rules: Record,
    held: int,
    action: float,
) -> tuple[int, int]:
    """``(lot steps, reason)`` that the action asks for, protective rules obeyed."""
    if rules["managed"] != 0 and not reopened(position, rules, action):
        return 0, REENTRY
    full = steps_at_full_size(account, contract, bar, began, rules)
    most = inf
    if action * held > 0.0:
        most = largest_size(account, contract, bar, rules)
    largest = contract["max_steps"]
    asked = target_steps(rules, action, full, held, contract["min_steps"], largest, most)
    cap = position["cap"]
    if cap != 0 and asked * held > 0 and abs(asked) > cap:
        return cap if held > 0 else -cap, PARTIAL_CLOSE
    return asked, ALLOWED


@kernel
def _protect(position: Record, contract: Record, bar: Record, rules: Record) -> None:
    """Move the stop of what is held and say how far away the next increase will set its own."""
    if rules["managed"] == 0:
        return
    position["moved"] = 0
    if position["steps"] != 0 and bar["tradable"] != 0:
        protect(position, contract, bar, rules)
    position["stop_distance"] = distance(rules["stop_atr"], contract, bar)
    position["take_distance"] = distance(rules["take_atr"], contract, bar)
    if position["asked_stop"] != 0.0 or position["asked_take"] != 0.0:
        obey(position, contract, bar)


@kernel
def decide(book: Book, tape: Tape, i: int, s: int, t: int, action: float) -> int:
    """From an action at the close of bar ``t`` to a target that every gate allows.

    Args:
        book: State, marked at ``t`` and tallied; target, reason and distances are written.
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
    held, least = ordered(book, i, s, t), contract["min_steps"]
    _protect(position, contract, bar, rules)
    began = tape.market[began_at(account, t), s]
    asked, why = _ask(account, position, contract, bar, began, rules, held, action)
    if asked != held and bar["tradable"] == 0:
        target, reason = held, NOT_TRADABLE
    else:
        describe(book, tape, i, s, t, held, asked)
        target, reason = permitted(rules, book.orders[0])
    if why != ALLOWED and reason <= UNCHANGED:
        reason = why
    braked = limit(account["level"], held, target)
    if braked != target:
        target, reason = braked, BREAKER
    if abs(target) < least:
        target = 0
    elif 0 < abs(target - held) < least:
        target, reason = held, UNCHANGED  # no broker takes an order below the minimum
    position["target"], position["reason"] = target, reason
    reserve(book, tape, i, s, t)
    return target


@kernel
def _riskiest(book: Book, tape: Tape, i: int, t: int) -> int:
    """The symbol whose target loses most on a move of one ATR, of those that can be sold now.

    One that has not moved of late loses nothing so, and goes last.
    """
    most, symbol = -1.0, -1
    for s in range(symbols_of(book)):
        bar, target = tape.market[t, s], book.positions[i, s]["target"]
        risk = abs(target) * bar["atr"] * bar["value"]
        if bar["tradable"] != 0 and target != 0 and risk > most:
            most, symbol = risk, s
    return symbol


@kernel(rare=True)
def shed(book: Book, tape: Tape, i: int, t: int) -> None:
    """At LEVEL_2 close the riskiest first until exposure is what the breaker leaves.

    Args:
        book: With decided targets, which shrink; ``shed_to`` was set when the level was reached.
        tape: Market and rules.
        i: Lane.
        t: Row of the last closed bar.
    """
    account, gross = book.account[i], 0.0
    for s in range(symbols_of(book)):
        gross += abs(book.positions[i, s]["target"]) * step_notional(tape.market[t, s])
    while gross > account["shed_to"] * (1.0 + GRID_TOLERANCE):
        s = _riskiest(book, tape, i, t)
        if s < 0:
            return
        position, notional = book.positions[i, s], step_notional(tape.market[t, s])
        target, held = abs(position["target"]), abs(position["steps"])
        more = ceil((gross - account["shed_to"]) / notional - GRID_TOLERANCE)
        left = max(target - max(more, 1), 0)
        least = tape.contracts[s]["min_steps"]
        if left < least or held - left < least:
            left = 0
        gross -= (target - left) * notional
        position["target"], position["reason"] = left if position["target"] > 0 else -left, SHED


@kernel
def decide_all(book: Book, tape: Tape, i: int, t: int, actions: Float32) -> None:
    """Decide every symbol of lane ``i`` at the close of bar ``t``."""
    tally(book, tape, i, t)
    for s in range(symbols_of(book)):
        decide(book, tape, i, s, t, actions[i, s])
    if book.account[i]["level"] == LEVEL_2 and tape.rules[0]["shed"] > 0.0:
        shed(book, tape, i, t)
