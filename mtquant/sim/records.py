"""The records that kernels read and write: structured dtypes, one row a lane, position or bar.

    ACCOUNT, POSITION, TICKET, DEAL    what changes
    BAR, CONTRACT, RULES               what all lanes share and nothing changes

Volume is an int64 count of lot steps and price a count of ticks; money is float64 in account
currency, rounded after each deal and each night's swap.
"""

from __future__ import annotations

import numpy as np

from mtquant.risk.breaker import BRAKE_FIELDS, BREAKER_FIELDS
from mtquant.risk.challenge import CHALLENGE_FIELDS
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
        ("open_equity", "f8"),  # at the open of the bar being traded, as its deals go on
        ("open_margin", "f8"),
        ("reserved", "f8"),  # gross notional held, or just allowed to be, at a decision
        ("reserved_margin", "f8"),
        ("reserved_open", "i8"),
        ("reserved_spent", "f8"),  # notional that orders not yet filled will open
        ("reserved_orders", "i8"),  # how many of them increase
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
        ("latency", "f8"),  # of this episode, bars
        ("shed_to", "f8"),  # gross notional that LEVEL_2 leaves, account currency
        ("orders_today", "i8"),  # increases executed
        ("spent_today", "f8"),  # their notional, account currency
        ("day_trades", "i8"),  # round trips inside a day, one byte for each of five days
        ("since_loss", "i8"),  # bars since a round trip lost
        ("tickets", "i8"),  # opened so far, in a hedging book
        ("day_balance", "f8"),  # when the broker's day began
        ("challenge_high", "f8"),  # mark that a challenge's trailing floor follows
        ("challenge_days", "i8"),  # broker days begun
        ("gross", "f8"),  # held position times bid-to-bid change of the last bar, and
        ("before", "f8"),  # equity at the close before it; where the reward is not the default
    ]
)

POSITION = np.dtype(
    [
        ("steps", "i8"),  # signed lot steps
        ("target", "i8"),  # decided at the last close
        ("planned", "i8"),  # largest of what is held, on its way and allowed, at a decision
        ("reason", "i8"),  # why the target is what it is
        ("age", "i8"),  # bars since the position opened
        ("entry", "f8"),  # average price in ticks, on the grid of ENTRY_GRID
        ("swap", "f8"),  # booked on the position, not yet in the balance
        ("result", "f8"),  # realised by this round trip so far, costs included
        ("stop", "i8"),  # ticks, 0 for none: of the bid for a long, of the ask for a short
        ("take", "i8"),
        ("moved", "i8"),  # whether the stop was moved at the last close
        ("stop_distance", "i8"),  # ticks, what the next increase will set; 0 for none
        ("take_distance", "i8"),
        ("asked_stop", "f8"),  # fraction of the price, by the agent for one decision; 0 for none
        ("asked_take", "f8"),
        ("cap", "i8"),  # lot steps that a partial close has left, 0 before
        ("barred_side", "i8"),  # sign that a protective stop has closed, until re-entry
        ("barred_bars", "i8"),  # closed since then
        ("born", "i8"),  # broker day on which it opened
        ("tickets", "i8"),  # open ones, in a hedging book
    ]
)

TICKET = np.dtype(
    [
        ("number", "i8"),  # counted per account, from 1
        ("steps", "i8"),
        ("entry", "f8"),
        ("swap", "f8"),
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
        ("ticket", "i8"),  # of a hedging book, else 0
    ]
)

# 64 bytes, a line of the cache: the step reads two of them, one behind the other.
BAR = np.dtype(
    [
        ("open", "i8"),  # ticks, bid
        ("close", "i8"),
        ("atr", "f8"),  # ticks
        ("value", "f8"),  # account currency of one tick and lot step, at the close
        ("open_value", "f8"),  # the same at the open: nothing in the bar may know more
        ("above", "i4"),  # ticks from the open up to the high
        ("below", "i4"),  # ticks from the open down to the low
        ("spread", "i4"),  # ticks
        ("volume", "f4"),  # average of a bar in lots, 0 where not recorded
        ("nights", "i2"),  # rollovers between this open and the next
        ("tradable", "i1"),
        ("barred", "i1"),  # why no increase may be decided at the close, or 0
        ("banded", "i4"),  # why none may be filled at the open, or 0
    ]
)

CONTRACT = np.dtype(
    [
        ("tick_n", "i8"),  # tick size = tick_n / tick_d
        ("tick_d", "i8"),
        ("min_steps", "i8"),
        ("max_steps", "i8"),  # largest position
        ("slippage_ticks", "i8"),
        ("stops_ticks", "i8"),  # least distance of a stop from the price
        ("commission", "f8"),  # account currency per step and side
        ("margin_share", "f8"),  # margin per unit of notional, account leverage included
        ("swap_mode", "i8"),
        ("swap_long", "f8"),  # per step and night, in the unit of swap_mode
        ("swap_short", "f8"),
        ("step_lots", "f8"),  # lots in one lot step
        ("bars_per_day", "f8"),
        ("asset_class", "i8"),
        ("leverage", "f8"),  # largest notional of this symbol over equity, 0 for any
    ]
)

STOP_FIELDS = [
    ("managed", "i8"),  # whether any of these is on; follows from them
    ("stop_atr", "f8"),  # distances in ATR, 0 for none
    ("take_atr", "f8"),
    ("trail_atr", "f8"),
    ("break_even_atr", "f8"),
    ("partial_at", "f8"),  # share of the way to the target, 0 for none
    ("partial_share", "f8"),
    ("reentry_bars", "i8"),
]

EXECUTION_FIELDS = [
    ("slippage_model", "i8"),
    ("slippage_coefficient", "f8"),
    ("commission_per_fill", "f8"),
    ("commission_fraction", "f8"),
    ("cheapest", "f8"),  # bounds of an episode's factor on spread and slippage
    ("dearest", "f8"),
    ("latency_least", "f8"),  # bounds of an episode's latency, bars
    ("latency_most", "f8"),
    ("reject_probability", "f8"),
    ("partial_probability", "f8"),
    ("hedging", "i8"),
    ("stop_out_money", "f8"),  # equity, instead of a share of margin, where positive
]

UNIT_FIELDS = [
    ("loss_unit", "f8"),  # of the account's columns; 0 takes the breaker's own value
]

REWARD_FIELDS = [
    ("reward_kind", "i8"),
    ("reward_window", "i8"),
    ("risk_free", "f8"),  # of one bar
    ("trade_penalty", "f8"),
    ("adaptation", "f8"),  # eta of the differential rewards
    ("deviation_floor", "f8"),  # in units of reward_scale
    ("reward_clip", "f8"),
]

EPISODE_FIELDS = [
    ("capital_spread", "f8"),  # randomised starts: capital within +- this share
]

OPTIONAL_FIELDS = [
    *BRAKE_FIELDS,
    *CHALLENGE_FIELDS,
    *STOP_FIELDS,
    *EXECUTION_FIELDS,
    *REWARD_FIELDS,
    *UNIT_FIELDS,
    *EPISODE_FIELDS,
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
ALWAYS_LIMITED = {"max_exposure", "stop_out_level"}
# May be left out: 0 switches each of them off.
OPTIONAL_RULES = frozenset(
    name for name, _ in (*SIZING_OPTIONS, *LIMIT_FIELDS, *OPTIONAL_FIELDS)
).difference(ALWAYS_LIMITED)
