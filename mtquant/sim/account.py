"""The account as structured arrays, and how it is marked.

    Book    what changes: account, positions and the deals of the last bar, one row a lane
    Tape    what all lanes share and nothing changes: bars in ticks, features, contracts, rules

Volume is an int64 count of lot steps and price an int64 count of ticks; money is float64 in
account currency, rounded after each deal and each night's swap.
"""

from __future__ import annotations

from math import floor, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mtquant.jit import Record, Structured, kernel
from mtquant.risk.breaker import BRAKE_FIELDS, BREAKER_FIELDS
from mtquant.risk.checks import LIMIT_FIELDS
from mtquant.risk.sizing import SIZING_FIELDS, SIZING_OPTIONS

ACCOUNT = np.dtype(
    [
        ("balance", "f8"),
        ("equity", "f8"),  # marked at the last closed bar
        ("peak", "f8"),
        ("day_start", "f8"),
        ("day", "i8"),
        ("level", "i8"),  # circuit breaker
        ("cursor", "i8"),  # row of the last closed bar
        ("end", "i8"),  # row of the last bar that may be reached
        ("rng", "u8"),
        ("n_deals", "i8"),  # deals of the last bar
        ("start_equity", "f8"),
        ("bars", "i8"),
        ("high_water", "f8"),  # of this episode; ``peak`` may lie before it
        ("reward_sum", "f8"),
        ("return_sum", "f8"),
        ("return_square_sum", "f8"),
        ("downside_square_sum", "f8"),
        ("max_drawdown", "f8"),
        ("trades", "i8"),
        ("wins", "i8"),
        ("held_bars", "i8"),
        ("exposure_sum", "f8"),
        ("traded", "f8"),
        ("spread_cost", "f8"),
        ("slippage_cost", "f8"),
        ("commission", "f8"),
        ("swap", "f8"),
        ("gain_sum", "f8"),  # of finished round trips that won, account currency
        ("loss_sum", "f8"),  # of the others, not negative
        ("losing_run", "i8"),  # round trips lost one after the other
        ("week_start", "f8"),
        ("mean_return", "f8"),  # fading moments of the differential rewards
        ("square_return", "f8"),
        ("cost_factor", "f8"),  # of this episode, on spread and slippage
    ]
)

POSITION = np.dtype(
    [
        ("steps", "i8"),  # signed lot steps
        ("target", "i8"),  # decided at the last close
        ("reason", "i8"),  # why the target is what it is
        ("age", "i8"),  # bars since the position opened
        ("entry", "f8"),  # average price
        ("swap", "f8"),  # booked on the position, not yet in the balance
        ("result", "f8"),  # realised by this round trip so far, costs included
    ]
)

DEAL = np.dtype(
    [
        ("bar", "i8"),
        ("symbol", "i8"),
        ("steps", "i8"),  # signed: bought or sold
        ("closing", "i8"),  # 1 where the deal reduces a position
        ("reason", "i8"),
        ("price", "f8"),
        ("profit", "f8"),
        ("commission", "f8"),
        ("swap", "f8"),
    ]
)

BAR = np.dtype(
    [
        ("open", "i8"),  # ticks, bid
        ("high", "i8"),
        ("low", "i8"),
        ("close", "i8"),
        ("spread", "i8"),  # ticks
        ("atr", "f8"),  # price units
        ("rate", "f8"),  # account currency per quote currency
        ("volume", "f4"),  # average of a bar, 0 where not recorded
        ("nights", "i2"),  # rollovers between this open and the next
        ("tradable", "i2"),
    ]
)

CONTRACT = np.dtype(
    [
        ("tick_n", "i8"),  # tick size = tick_n / tick_d
        ("tick_d", "i8"),
        ("step_units", "f8"),  # contract units in one lot step
        ("min_steps", "i8"),
        ("max_steps", "i8"),
        ("slippage_ticks", "i8"),
        ("commission", "f8"),  # account currency per step and side
        ("margin_share", "f8"),  # margin per unit of notional, account leverage included
        ("swap_mode", "i8"),
        ("swap_long", "f8"),  # per step and night, in the unit of swap_mode
        ("swap_short", "f8"),
        ("step_lots", "f8"),  # lots in one lot step
    ]
)

OPTIONAL_FIELDS = [
    *BRAKE_FIELDS,
    ("slippage_model", "i8"),
    ("slippage_coefficient", "f8"),
    ("commission_per_fill", "f8"),
    ("commission_fraction", "f8"),
    ("cheapest", "f8"),  # bounds of an episode's factor on spread and slippage
    ("dearest", "f8"),
    ("reward_kind", "i8"),
    ("reward_window", "i8"),
    ("risk_free", "f8"),  # of one bar
    ("trade_penalty", "f8"),
    ("adaptation", "f8"),  # eta of the differential rewards
    ("deviation_floor", "f8"),  # in units of reward_scale
    ("reward_clip", "f8"),
]

RULES = np.dtype(
    [
        ("capital", "f8"),
        ("money_scale", "f8"),  # 10 ** digits of the account currency
        ("reward_scale", "f8"),  # reference volatility x reference leverage
        ("downside_penalty", "f8"),  # lambda
        ("first", "i8"),  # rows an episode may use
        ("last", "i8"),
        ("episode_bars", "i8"),  # 0: one episode runs to ``last``
        ("randomise", "i8"),
        *SIZING_FIELDS,
        *LIMIT_FIELDS,
        *BREAKER_FIELDS,
        *OPTIONAL_FIELDS,
    ]
)
# May be left out: 0 switches each of them off.
OPTIONAL_RULES = frozenset(name for name, _ in (*SIZING_OPTIONS, *OPTIONAL_FIELDS))

Float32 = npt.NDArray[np.float32]

SMALLEST_EQUITY = 1e-9  # denominators stay positive after ruin
DEALS_PER_SYMBOL = 4  # close, open, stop-out, and one to spare
SYMBOL_FEATURES = ("position", "position_profit", "position_age")
ACCOUNT_FEATURES = ("drawdown", "day_gain", "breaker_level")
MOMENT_FEATURES = ("return_ratio", "return_deviation")  # of the differential rewards only
NO_WINDOW = np.zeros((0, 0))


class Book(NamedTuple):
    """State of ``N`` lanes.

    Attributes:
        account: ``ACCOUNT[N]``.
        positions: ``POSITION[N, S]``.
        deals: ``DEAL[N, 4 S]``, of the last bar; ``account["n_deals"]`` are valid.
        returns: The last ``W`` returns of each lane in a ring, float64 ``[N, W]``; no columns
            unless the reward looks back on them.
    """

    account: Structured
    positions: Structured
    deals: Structured
    returns: npt.NDArray[np.float64] = NO_WINDOW


class Tape(NamedTuple):
    """What every lane reads and none writes.

    Attributes:
        market: ``BAR[T, S]``.
        day: Broker day of each bar's open, int64 ``[T]``.
        features: Observation columns, float32 ``[T, F]``.
        contracts: ``CONTRACT[S]``.
        rules: ``RULES[1]``.
    """

    market: Structured
    day: npt.NDArray[np.int64]
    features: npt.NDArray[np.float32]
    contracts: Structured
    rules: Structured


def empty_book(lanes: int, symbols: int, window: int = 0) -> Book:
    """A zeroed book of ``lanes`` accounts over ``symbols`` symbols, ``window`` returns each."""
    return Book(
        np.zeros(lanes, ACCOUNT),
        np.zeros((lanes, symbols), POSITION),
        np.zeros((lanes, DEALS_PER_SYMBOL * symbols), DEAL),
        np.zeros((lanes, window)),
    )


@kernel
def round_money(amount: float, scale: float) -> float:
    """Half away from zero to ``1 / scale``, as brokers book; half cents survive float noise."""
    rounded = floor(abs(amount) * scale + 0.5 + 1e-9) / scale
    return rounded if amount >= 0.0 else -rounded


@kernel
def price_of(contract: Record, ticks: int) -> float:
    """The price of a count of ticks, rounded once."""
    return ticks * contract["tick_n"] / contract["tick_d"]


@kernel
def step_value(contract: Record, bar: Record) -> float:
    """Account currency per 1.0 of price and lot step."""
    return contract["step_units"] * bar["rate"]


@kernel
def unrealised(position: Record, contract: Record, bar: Record, bid_ticks: int) -> float:
    """Profit of a position if closed now, account currency: longs at bid, shorts at ask."""
    steps = position["steps"]
    if steps == 0:
        return 0.0
    exit_ticks = bid_ticks if steps > 0 else bid_ticks + bar["spread"]
    move = price_of(contract, exit_ticks) - position["entry"]
    return steps * move * step_value(contract, bar)


@kernel
def notional(steps: int, contract: Record, bar: Record) -> float:
    """Signed notional of ``steps`` at the bar's close, account currency."""
    return steps * price_of(contract, bar["close"]) * step_value(contract, bar)


@kernel
def mark(book: Book, tape: Tape, i: int, t: int) -> float:
    """Equity at the close of bar ``t``: balance, booked swap and unrealised profit."""
    equity = book.account[i]["balance"]
    for s in range(book.positions.shape[1]):
        position, bar = book.positions[i, s], tape.market[t, s]
        if position["steps"] != 0:
            equity += position["swap"] + unrealised(position, tape.contracts[s], bar, bar["close"])
    return equity


@kernel
def squash(x: float) -> float:
    """``x / (1 + |x|)``: bounded, monotone, no constant to fit."""
    return x / (1.0 + abs(x))


@kernel
def moment_features(account: Record, out: Float32, i: int, k: int) -> None:
    """Write mean over deviation, and the deviation in percent, both squashed into [-1, 1]."""
    mean, deviation = account["mean_return"], sqrt(account["square_return"])
    out[i, k] = squash(mean / deviation) if deviation > 0.0 else 0.0
    out[i, k + 1] = squash(100.0 * deviation)


@kernel
def account_features(book: Book, tape: Tape, i: int, t: int, out: Float32, offset: int) -> None:
    """Write the account's part of the observation, every value in [-1, 1].

    Per symbol: signed notional over the maximum exposure, unrealised profit in percent of equity
    (squashed), age of the position against a day of 24 bars. Then drawdown from the peak, the
    day's gain in units of the LEVEL_3 loss, and the breaker's level; under a differential reward
    its moments too, where ``out`` has the columns.

    Args:
        book: State.
        tape: Market and rules.
        i: Lane.
        t: Row of the last closed bar.
        out: float32 ``[N, F + 3 S + 3]``.
        offset: First column to write.
    """
    account, rules = book.account[i], tape.rules[0]
    equity = max(account["equity"], SMALLEST_EQUITY)
    k = offset
    for s in range(book.positions.shape[1]):
        position, contract, bar = book.positions[i, s], tape.contracts[s], tape.market[t, s]
        profit = unrealised(position, contract, bar, bar["close"])
        share = notional(position["steps"], contract, bar) / (equity * rules["max_exposure"])
        out[i, k] = min(max(share, -1.0), 1.0)
        out[i, k + 1] = squash(100.0 * profit / equity)
        out[i, k + 2] = position["age"] / (position["age"] + 24.0)
        k += 3
    drawdown = 1.0 - account["equity"] / max(account["peak"], SMALLEST_EQUITY)
    gain = account["equity"] / max(account["day_start"], SMALLEST_EQUITY) - 1.0
    out[i, k] = min(max(drawdown, 0.0), 1.0)
    out[i, k + 1] = min(max(gain / rules["daily_loss_level_3"], -1.0), 1.0)
    out[i, k + 2] = account["level"] / 3.0
    if rules["adaptation"] != 0.0 and out.shape[1] >= k + 5:
        moment_features(account, out, i, k + 3)
