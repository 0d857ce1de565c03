r"""The reward: Sortino minus costs, or one of its rivals.

The default, per bar, with :math:`g` the held position times the bid-to-bid change and :math:`c`
everything else (spread, slippage, commission, swap), both over
``equity x reference volatility x reference leverage``:

.. math:: r = g - \tfrac{\lambda}{2}\min(g, 0)^2 - c

``g - c`` is the change of equity in those units, so costs count exactly once. Scaling a policy by
:math:`k` scales the net mean :math:`\mu` and the gross downside deviation :math:`\delta`, and
:math:`\max_k k\mu - \tfrac{\lambda}{2}k^2\delta^2 = \mu^2 / (2\lambda\delta^2)`: half the squared
Sortino ratio over :math:`\lambda`. There is no hidden state, and on noise flat is optimal.

The others look at the net return :math:`R` of the bar alone. ``log_return`` has no opinion on risk;
``sortino_ratio`` judges a window again at every bar; the two differential ratios are what one bar
adds to a fading Sharpe or Sortino ratio. All but the first two keep state, and the sum of a
differential ratio has mean zero by construction: it praises what is better than before. Rewards of
the user's own are in :mod:`mtquant.sim.custom_reward`.
"""

from __future__ import annotations

from math import log, sqrt

from mtquant.jit import Record, kernel
from mtquant.sim.account import SMALLEST_EQUITY, Book, Tape

SORTINO, LOG_RETURN, SORTINO_RATIO, DIFFERENTIAL_SHARPE, DIFFERENTIAL_DOWNSIDE, CUSTOM = range(6)
REWARDS = {
    "sortino": SORTINO,
    "log_return": LOG_RETURN,
    "sortino_ratio": SORTINO_RATIO,
    "differential_sharpe": DIFFERENTIAL_SHARPE,
    "differential_downside": DIFFERENTIAL_DOWNSIDE,
}
LEAST_GROWTH = 0.01  # a bar that loses more counts as losing 99 %


@kernel
def sortino_reward(
    rules: Record, gross: float, equity_change: float, equity_before: float
) -> float:
    """Reward of one bar.

    Args:
        rules: Record array with ``reward_scale`` and ``downside_penalty``.
        gross: Held position times bid-to-bid change, account currency.
        equity_change: Change of marked equity, account currency.
        equity_before: Equity at the close before, account currency.

    Returns:
        Reward in units of one bar's standard deviation at full size.
    """
    unit = max(equity_before, SMALLEST_EQUITY) * rules["reward_scale"]
    g = gross / unit
    cost = (gross - equity_change) / unit
    downside = min(g, 0.0)
    return g - 0.5 * rules["downside_penalty"] * downside * downside - cost


@kernel
def log_return_reward(rules: Record, growth: float) -> float:
    """``ln(equity / equity before)`` over ``reward_scale``; their sum is the log of wealth.

    Source: Kelly (1956), A New Interpretation of Information Rate.
    """
    return log(max(growth, LEAST_GROWTH)) / rules["reward_scale"]


@kernel
def sortino_ratio_reward(
    book: Book, rules: Record, i: int, bars: int, change: float, deals: int
) -> float:
    """The ratio of the last ``reward_window`` returns, less a penalty for each deal.

    ::

        (mean(R) - rf) / max(sqrt(mean(min(R - rf, 0)^2)), floor) - penalty * deals

    Until the window is full it is of the returns so far. Source: Sortino and Price (1994),
    Performance Measurement in a Downside Risk Framework.

    Args:
        book: With the ring of returns, which takes ``change``.
        rules: Of the reward.
        i: Lane.
        bars: Bars of the episode before this one.
        change: Net return of this bar.
        deals: Deals of this bar.
    """
    ring, free = book.returns[i], rules["risk_free"]
    penalty = rules["trade_penalty"] * deals
    if ring.size == 0:
        return -penalty
    ring[bars % ring.size] = change
    count = min(bars + 1, ring.size)
    total, downside = 0.0, 0.0
    for k in range(count):
        excess = ring[k] - free
        total += excess
        downside += min(excess, 0.0) ** 2
    floor = rules["deviation_floor"] * rules["reward_scale"]
    return total / count / max(sqrt(downside / count), floor) - penalty


@kernel
def differential_reward(account: Record, rules: Record, change: float) -> float:
    """What one return adds to a fading ratio: the derivative to the adaptation rate.

    ::

        Sharpe     (B (R - A) - A (R^2 - B) / 2) / (B - A^2)^(3/2)
        downside   (R - A / 2) / D                                    R > 0
                   (D^2 (R - A / 2) - A R^2 / 2) / D^3                otherwise

    with A the fading mean of R, B of R^2 and D^2 of min(R, 0)^2, all before this bar. Deviations
    are floored, so that a quiet start is not worth a fortune, and the whole is clipped. Source:
    Moody and Saffell (2001), Learning to Trade via Direct Reinforcement.
    """
    a, b = account["mean_return"], account["square_return"]
    floor = rules["deviation_floor"] * rules["reward_scale"]
    sharpe = rules["reward_kind"] == DIFFERENTIAL_SHARPE
    deviation = max(sqrt(max(b - a * a if sharpe else b, 0.0)), floor)
    if sharpe:
        gained = (b * (change - a) - 0.5 * a * (change * change - b)) / deviation**3
    elif change > 0.0:
        gained = (change - 0.5 * a) / deviation
    else:
        gained = (change - 0.5 * a) / deviation - 0.5 * a * change * change / deviation**3
    return min(max(gained, -rules["reward_clip"]), rules["reward_clip"])


@kernel
def fade_moments(book: Book, tape: Tape, i: int, before: float) -> None:
    """Let the bar just closed into the moments of a differential reward; other rewards have none.

    Args:
        book: Marked at the bar's close.
        tape: Rules.
        i: Lane.
        before: Equity at the close before, account currency.
    """
    account, rules = book.account[i], tape.rules[0]
    eta = rules["adaptation"]
    if eta == 0.0:
        return
    change = account["equity"] / max(before, SMALLEST_EQUITY) - 1.0
    counted = change if rules["reward_kind"] == DIFFERENTIAL_SHARPE else min(change, 0.0)
    account["mean_return"] += eta * (change - account["mean_return"])
    account["square_return"] += eta * (counted * counted - account["square_return"])


@kernel(rare=True)
def other_reward(book: Book, tape: Tape, i: int, before: float) -> float:
    """The reward of the bar just closed where it is not the default one.

    Args:
        book: Marked at the bar's close; the bar is not yet counted.
        tape: Rules.
        i: Lane.
        before: Equity at the close before, account currency.
    """
    account, rules = book.account[i], tape.rules[0]
    kind = rules["reward_kind"]
    if kind == CUSTOM:
        return 0.0  # the simulator pays it when the bar is over
    growth = account["equity"] / max(before, SMALLEST_EQUITY)
    if kind == LOG_RETURN:
        return log_return_reward(rules, growth)
    if kind == SORTINO_RATIO:
        bars, deals = account["bars"], account["n_deals"]
        return sortino_ratio_reward(book, rules, i, bars, growth - 1.0, deals)
    reward = differential_reward(account, rules, growth - 1.0)
    fade_moments(book, tape, i, before)
    return reward
