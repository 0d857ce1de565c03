"""Episodes: where a lane starts, what it sees, and many lanes in one call.

Each lane carries one splitmix64 state, drawn from only at a reset, so a lane's history does not
depend on how many lanes run beside it or in which order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mtquant.jit import kernel
from mtquant.sim.account import Book, Float32, Tape, account_features, price_of, round_money
from mtquant.sim.kernel import RUNNING, decide, step

MASK = 0xFFFFFFFFFFFFFFFF
WEYL = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB

# Randomised starts: capital within +-30 %, up to 8 % below the peak, half of them in a position.
CAPITAL_SPREAD = 0.3
DEEPEST_START = 0.08
OLDEST_START = 48

Int64 = npt.NDArray[np.int64]


@kernel
def uniform(book: Book, i: int) -> float:
    """The lane's next number in [0, 1): splitmix64 (Steele, Lea and Flood 2014), 53 bits."""
    z = (int(book.account[i]["rng"]) + WEYL) & MASK
    book.account[i]["rng"] = z
    z = ((z ^ (z >> 30)) * MIX_1) & MASK
    z = ((z ^ (z >> 27)) * MIX_2) & MASK
    z = z ^ (z >> 31)
    return (z >> 11) * (1.0 / 9007199254740992.0)


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
    for s in range(book.positions.shape[1]):
        position = book.positions[i, s]
        position["steps"], position["target"] = 0, 0
        position["reason"], position["age"] = 0, 0
        position["entry"], position["swap"], position["result"] = 0.0, 0.0, 0.0


@kernel
def randomise_start(book: Book, tape: Tape, i: int) -> None:
    """Give a fresh lane another capital, a drawdown behind it and perhaps a position.

    Agents that only ever start flat at the peak do not know what to do anywhere else. The position
    is bought without cost at the mark, so the start itself neither pays nor charges.
    """
    account = book.account[i]
    t = account["cursor"]
    spread = CAPITAL_SPREAD * (2.0 * uniform(book, i) - 1.0)
    capital = round_money(account["start_equity"] * (1.0 + spread), tape.rules[0]["money_scale"])
    account["balance"], account["equity"] = capital, capital
    account["day_start"], account["start_equity"] = capital, capital
    account["high_water"], account["week_start"] = capital, capital
    deepest = DEEPEST_START
    if tape.rules[0]["brakes"] != 0:
        deepest = min(deepest, 0.5 * tape.rules[0]["drawdown"])
    account["peak"] = capital / (1.0 - deepest * uniform(book, i))
    for s in range(book.positions.shape[1]):
        position, bar = book.positions[i, s], tape.market[t, s]
        chance, action, age = uniform(book, i), uniform(book, i), uniform(book, i)
        steps = decide(book, tape, i, s, t, 2.0 * action - 1.0) if chance < 0.5 else 0
        if steps != 0:
            ticks = bar["close"] if steps > 0 else bar["close"] + bar["spread"]
            position["steps"] = steps
            position["entry"] = price_of(tape.contracts[s], ticks)
            position["age"] = int(age * OLDEST_START)


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
    if rules["randomise"] != 0:
        randomise_start(book, tape, i)


@kernel
def see_market(tape: Tape, t: int, i: int, out: Float32) -> None:
    """Write the market features of bar ``t`` to lane ``i``'s observation."""
    for k in range(tape.features.shape[1]):
        out[i, k] = tape.features[t, k]


@kernel
def observe(book: Book, tape: Tape, i: int, out: Float32) -> None:
    """Write lane ``i``'s observation: market features of its last closed bar, then the account."""
    t = book.account[i]["cursor"]
    see_market(tape, t, i, out)
    account_features(book, tape, i, t, out, tape.features.shape[1])


@kernel
def step_one(book: Book, tape: Tape, i: int, actions: Float32, out: Float32) -> tuple[float, int]:
    """One bar of one lane and the observation after it; no reset."""
    reward, status = step(book, tape, i, actions)
    observe(book, tape, i, out)
    return reward, status


@kernel
def step_batch(
    book: Book,
    tape: Tape,
    actions: Float32,
    out: Float32,
    final: Float32,
    rewards: Float32,
    statuses: Int64,
) -> int:
    """One bar of every lane.

    Args:
        book: State of ``N`` lanes.
        tape: Market and rules.
        actions: float32 ``[N, S]``.
        out: float32 ``[N, F + A]``, observations.
        final: float32 ``[N, F + A]``, those of lanes that finished, for they will start anew.
        rewards: float32 ``[N]``.
        statuses: int64 ``[N]``.

    Returns:
        How many lanes finished; their sums stand in ``book.account`` until
        :func:`restart_finished`.
    """
    lanes, width = actions.shape[0], tape.features.shape[1]
    # Loops of their own: many lanes' rows are then on their way from memory at once.
    for i in range(lanes):
        see_market(tape, book.account[i]["cursor"] + 1, i, out)
    for i in range(lanes):
        rewards[i], statuses[i] = step(book, tape, i, actions)
    finished = 0
    for i in range(lanes):
        account_features(book, tape, i, book.account[i]["cursor"], out, width)
        if statuses[i] != RUNNING:
            finished += 1
            for k in range(out.shape[1]):
                final[i, k] = out[i, k]
    return finished


@kernel
def restart_finished(book: Book, tape: Tape, statuses: Int64, out: Float32) -> None:
    """Reset every lane whose episode ended in the last :func:`step_batch`."""
    for i in range(statuses.shape[0]):
        if statuses[i] != RUNNING:
            reset_lane(book, tape, i, False)
            observe(book, tape, i, out)


@kernel
def reset_batch(book: Book, tape: Tape, out: Float32, stagger: bool) -> None:
    """Reset every lane and write the first observations."""
    for i in range(out.shape[0]):
        reset_lane(book, tape, i, stagger)
        observe(book, tape, i, out)
