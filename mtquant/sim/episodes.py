"""Episodes: where a lane starts, what it sees, and many lanes in one call.

A lane draws from its own generator alone, so its history does not depend on how many lanes run
beside it or in which order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mtquant.jit import Record, kernel, prefetch
from mtquant.sim.account import (
    MOST_TICKETS,
    Book,
    Float32,
    Tape,
    closing_quote,
    round_money,
    symbols_of,
)
from mtquant.sim.decisions import decide
from mtquant.sim.facts import tally
from mtquant.sim.fills import set_stops
from mtquant.sim.kernel import RUNNING, step
from mtquant.sim.observation import account_features
from mtquant.sim.randomness import uniform

# Randomised starts: up to 8 % below the peak, half of them in a position.
DEEPEST_START = 0.08
OLDEST_START = 48
LONG_AGO = 1 << 30  # bars

Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]


@kernel
def open_account(book: Book, tape: Tape, i: int, start: int, end: int, equity: float) -> None:
    """Clear lane ``i``: flat, with ``equity``, at the close of bar ``start``, until bar ``end``."""
    account = book.account[i]
    account["balance"], account["equity"], account["peak"] = equity, equity, equity
    account["day_start"], account["start_equity"], account["high_water"] = equity, equity, equity
    account["day"], account["level"] = tape.day[start], 0
    account["cursor"], account["end"], account["n_deals"] = start, end, 0
    account["bars"], account["trades"], account["wins"], account["held_bars"] = 0, 0, 0, 0
    account["reward_sum"], account["return_sum"] = 0.0, 0.0
    account["return_square_sum"], account["downside_square_sum"] = 0.0, 0.0
    account["max_drawdown"], account["exposure_sum"], account["traded"] = 0.0, 0.0, 0.0
    account["spread_cost"], account["slippage_cost"] = 0.0, 0.0
    account["commission"], account["swap"] = 0.0, 0.0
    account["gain_sum"], account["loss_sum"], account["losing_run"] = 0.0, 0.0, 0
    account["week_start"], account["cost_factor"] = equity, 1.0
    account["mean_return"], account["square_return"] = 0.0, 0.0
    account["latency"], account["shed_to"] = tape.rules[0]["latency_least"], 0.0
    account["open_equity"], account["open_margin"] = equity, 0.0
    account["reserved"], account["reserved_margin"], account["reserved_open"] = 0.0, 0.0, 0
    account["reserved_spent"], account["reserved_orders"] = 0.0, 0
    account["orders_today"], account["spent_today"], account["day_trades"] = 0, 0.0, 0
    account["since_loss"], account["tickets"] = LONG_AGO, 0
    account["day_balance"], account["challenge_high"], account["challenge_days"] = equity, equity, 0
    account["gross"], account["before"] = 0.0, equity
    for s in range(symbols_of(book)):
        clear_position(book.positions[i, s])
    for k in range(book.queue.shape[1]):
        book.queue[i, k] = 0


@kernel
def clear_position(position: Record) -> None:
    """Flat, and nothing remembered."""
    position["steps"], position["target"], position["planned"] = 0, 0, 0
    position["reason"], position["age"] = 0, 0
    position["entry"], position["swap"], position["result"] = 0.0, 0.0, 0.0
    position["stop"], position["take"], position["cap"], position["moved"] = 0, 0, 0, 0
    position["stop_distance"], position["take_distance"] = 0, 0
    position["asked_stop"], position["asked_take"] = 0.0, 0.0
    position["barred_side"], position["barred_bars"] = 0, 0
    position["born"], position["tickets"] = 0, 0


@kernel
def _deepest_start(rules: Record) -> float:
    """The largest drawdown behind a start: half of what would trip the breaker, at most."""
    deepest = DEEPEST_START
    if rules["brakes"] != 0:
        deepest = min(deepest, 0.5 * rules["drawdown"])
    if rules["challenge"] != 0:
        deepest = min(deepest, 0.5 * (1.0 - rules["rules_margin"]) * rules["max_drawdown"])
    return deepest


@kernel
def randomise_start(book: Book, tape: Tape, i: int) -> None:
    """Give a fresh lane another capital, a drawdown behind it and perhaps a position.

    Agents that only ever start flat at the peak do not know what to do anywhere else. The position
    is bought without cost at the mark, so the start itself neither pays nor charges.
    """
    account = book.account[i]
    t = account["cursor"]
    spread = tape.rules[0]["capital_spread"] * (2.0 * uniform(book, i) - 1.0)
    capital = round_money(account["start_equity"] * (1.0 + spread), tape.rules[0]["money_scale"])
    account["balance"], account["equity"] = capital, capital
    account["day_start"], account["start_equity"] = capital, capital
    account["high_water"], account["week_start"] = capital, capital
    account["day_balance"], account["before"] = capital, capital
    account["peak"] = capital / (1.0 - _deepest_start(tape.rules[0]) * uniform(book, i))
    account["challenge_high"] = account["peak"]
    for s in range(symbols_of(book)):
        position, bar = book.positions[i, s], tape.market[t, s]
        chance, action, age = uniform(book, i), uniform(book, i), uniform(book, i)
        tally(book, tape, i, t)
        steps = decide(book, tape, i, s, t, 2.0 * action - 1.0) if chance < 0.5 else 0
        if steps != 0:
            start_with(book, i, s, steps, closing_quote(steps, bar, bar["close"]))
            set_stops(position, bar, bar["close"])
            position["age"] = int(age * OLDEST_START)


@kernel
def start_with(book: Book, i: int, s: int, steps: int, ticks: int) -> None:
    """Put a position into a flat book at a price, without cost."""
    account, position = book.account[i], book.positions[i, s]
    position["steps"], position["entry"] = steps, float(ticks)
    position["born"] = account["day"] - 1
    if book.tickets.shape[1] > 0:
        account["tickets"] += 1
        position["tickets"] = 1
        ticket = book.tickets[i, s * MOST_TICKETS]
        ticket["number"], ticket["steps"] = account["tickets"], steps
        ticket["entry"], ticket["swap"] = float(ticks), 0.0
    slots = book.queue.shape[1] // symbols_of(book)
    for k in range(s * slots, (s + 1) * slots):
        book.queue[i, k] = steps


@kernel
def reset_lane(book: Book, tape: Tape, i: int, stagger: bool) -> None:
    """Start an episode in lane ``i`` by the rules: where, how long, and from which account.

    Args:
        book: State; the lane's ``rng`` decides.
        tape: Market and rules.
        i: Lane.
        stagger: Draw the length too, so that lanes reset together do not end together.
    """
    rules = tape.rules[0]
    first, last, length = rules["first"], rules["last"], rules["episode_bars"]
    start, end = first, last
    if 0 < length < last - first:
        start = first + int(uniform(book, i) * (last - first - length + 1))
        if stagger:
            length = 1 + int(uniform(book, i) * length)
        end = start + length
    open_account(book, tape, i, start, end, rules["capital"])
    if rules["dearest"] != 0.0:
        spread = rules["dearest"] - rules["cheapest"]
        book.account[i]["cost_factor"] = rules["cheapest"] + spread * uniform(book, i)
    if rules["latency_most"] != rules["latency_least"]:
        spread = rules["latency_most"] - rules["latency_least"]
        book.account[i]["latency"] = rules["latency_least"] + spread * uniform(book, i)
    if rules["randomise"] != 0:
        randomise_start(book, tape, i)


@kernel
def see_market(tape: Tape, t: int, i: int, out: Float32) -> None:
    """Write the market features of the window that bar ``t`` ends to lane ``i``'s observation."""
    width = tape.features.shape[1]
    for bar in range(tape.window):
        for k in range(width):
            out[i, bar * width + k] = tape.features[t - tape.window + 1 + bar, k]


@kernel
def see_next(book: Book, tape: Tape, i: int, out: Float32) -> None:
    """Write the features of the bar that lane ``i`` comes to, and ask for the rows after it.

    In a loop of its own over all lanes, so that the memory of many is on its way at once.
    """
    t = book.account[i]["cursor"] + 1
    see_market(tape, t, i, out)
    prefetch(tape.market, t + 1)
    prefetch(tape.features, t + 1)


@kernel
def observe(book: Book, tape: Tape, i: int, out: Float32) -> None:
    """Write lane ``i``'s observation: market features of its last closed bar, then the account."""
    t = book.account[i]["cursor"]
    see_market(tape, t, i, out)
    account_features(book, tape, i, t, out, tape.window * tape.features.shape[1])


@kernel
def keep_last(i: int, over: bool, out: Float32, final: Float32) -> int:
    """Note what lane ``i`` has seen last, if it is ``over`` and starts anew; 1 if so."""
    if not over:
        return 0
    for k in range(out.shape[1]):
        final[i, k] = out[i, k]
    return 1


@kernel
def show(book: Book, i: int, shown: Float64) -> None:
    """Write what people are told of a lane: cursor, equity, balance, level; steps and reason each.

    Args:
        book: State.
        i: Lane.
        shown: float64 ``[4 + 2 S]``.
    """
    account = book.account[i]
    shown[0], shown[1] = account["cursor"], account["equity"]
    shown[2], shown[3] = account["balance"], account["level"]
    for s in range(symbols_of(book)):
        position = book.positions[i, s]
        shown[4 + 2 * s], shown[5 + 2 * s] = position["steps"], position["reason"]


@kernel
def step_one(
    book: Book,
    tape: Tape,
    i: int,
    action: Float32,
    actions: Float32,
    out: Float32,
    shown: Float64,
) -> tuple[float, int]:
    """One bar of one lane and what is seen after it; no reset.

    Args:
        book: State.
        tape: Market and rules.
        i: Lane.
        action: ``[S]``, of this lane.
        actions: ``[N, S]``, of all lanes; this lane's are overwritten.
        out: ``[N, O]``.
        shown: See :func:`show`.
    """
    for s in range(actions.shape[1]):
        actions[i, s] = action[s]
    reward, status = step(book, tape, i, actions)
    observe(book, tape, i, out)
    show(book, i, shown)
    return reward, status


@kernel
def step_batch(
    book: Book,
    tape: Tape,
    mine: Bool | None,
    actions: Float32,
    out: Float32,
    final: Float32,
    rewards: Float32,
    statuses: Int64,
    over: Bool,
) -> int:
    """One bar of every lane that is on a tape; returns how many finished.

    Args:
        book: State of ``N`` lanes; the sums of those that finish stay until they are reset.
        tape: Market and rules.
        mine: Whether a lane is on the tape; None if all are.
        actions: ``[N, S]``.
        out: ``[N, W F + A]``, observations.
        final: Those of lanes that finished, for they will start anew.
        rewards: ``[N]``.
        statuses: ``[N]``.
        over: Whether the status is not RUNNING.
    """
    lanes, width, finished = actions.shape[0], tape.window * tape.features.shape[1], 0
    for i in range(lanes):
        if mine is None or mine[i]:
            see_next(book, tape, i, out)
    for i in range(lanes):
        if mine is None or mine[i]:
            rewards[i], statuses[i] = step(book, tape, i, actions)
            account_features(book, tape, i, book.account[i]["cursor"], out, width)
            over[i] = statuses[i] != RUNNING
            finished += keep_last(i, over[i], out, final)
    return finished


@kernel
def draw_tape(book: Book, over: Bool, tapes: int, drawn: Int64) -> None:
    """Let every lane that is ``over`` draw on which of so many tapes its next episode is played."""
    for i in range(over.shape[0]):
        if over[i]:
            drawn[i] = int(uniform(book, i) * tapes)


@kernel
def reset_batch(book: Book, tape: Tape, chosen: Bool, out: Float32, stagger: bool) -> None:
    """Put every lane that is ``chosen`` on a tape, and write the first observations."""
    for i in range(chosen.shape[0]):
        if chosen[i]:
            reset_lane(book, tape, i, stagger)
            observe(book, tape, i, out)
