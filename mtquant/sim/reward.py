r"""The reward: Sortino minus costs.

Per bar, with :math:`g` the held position times the bid-to-bid change and :math:`c` everything
else (spread, slippage, commission, swap), both over
``equity x reference volatility x reference leverage``:

.. math:: r = g - \tfrac{\lambda}{2}\min(g, 0)^2 - c

``g - c`` is the change of equity in those units, so costs count exactly once. Scaling a policy by
:math:`k` scales the net mean :math:`\mu` and the gross downside deviation :math:`\delta`, and
:math:`\max_k k\mu - \tfrac{\lambda}{2}k^2\delta^2 = \mu^2 / (2\lambda\delta^2)`: half the squared
Sortino ratio over :math:`\lambda`. There is no hidden state, and on noise flat is optimal.
"""

from __future__ import annotations

from mtquant.jit import Record, kernel
from mtquant.sim.account import SMALLEST_EQUITY


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
