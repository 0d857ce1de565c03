"""Optima that can be written down, by which the solver of the others is checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from mtquant.errors import ConfigError

_NORMAL = NormalDist()


def lead_lag_value(rho: float, cost: float) -> float:
    """Optimum per bar where an independent normal factor leads the next move, without penalty.

    Trade where the expected move exceeds the cost and hold otherwise; twice a Bachelier call::

        2 (rho phi(c / rho) - c Phi(-c / rho))

    With ``rho = 1`` it is what the next move is worth to those who know it.

    Args:
        rho: Correlation of the next move with the factor, above 0.
        cost: Of changing the position by 1, in bar volatilities.

    Raises:
        ConfigError: ``rho`` is not in (0, 1] or the cost is negative.
    """
    if not 0.0 < rho <= 1.0 or cost < 0.0:
        raise ConfigError(f"needs rho in (0, 1] and a cost of 0 or more, not {rho} and {cost}")
    return 2.0 * (rho * _NORMAL.pdf(cost / rho) - cost * _NORMAL.cdf(-cost / rho))


@dataclass(frozen=True)
class PartialAdjustment:
    """The policy ``x_t = x_{t-1} + rate (aim f_t - x_{t-1})``.

    Attributes:
        rate: Share of the way to the aim that is traded in a bar.
        aim: Position aimed at, per unit of the factor.
    """

    rate: float
    aim: float

    def value(self, edge: float, phi: float, risk_aversion: float, cost_quadratic: float) -> float:
        """Mean reward per bar of the policy where positions have no bounds.

        ::

            E[x edge f - risk_aversion / 2 x^2 - cost_quadratic / 2 dx^2]

        with ``f`` an AR(1) of unit variance and moves of unit variance, as in
        :func:`garleanu_pedersen`.
        """
        keep = 1.0 - self.rate
        pull = self.rate * self.aim
        with_factor = pull / (1.0 - keep * phi)  # E[x f]
        square = (pull**2 + 2.0 * keep * pull * phi * with_factor) / (1.0 - keep**2)  # E[x^2]
        step = 2.0 * (square - keep * square - pull * phi * with_factor)  # E[dx^2]
        return edge * with_factor - 0.5 * risk_aversion * square - 0.5 * cost_quadratic * step


def garleanu_pedersen(
    edge: float,
    phi: float,
    risk_aversion: float,
    cost_quadratic: float,
    discount: float = 0.0,
    variance: float = 1.0,
) -> PartialAdjustment:
    """Best trading with quadratic cost in one dimension: partially, towards an aim ahead.

    Source: Garleanu and Pedersen (2013), Dynamic Trading with Predictable Returns and Transaction
    Costs, with ``lambda = cost_quadratic / variance``.

    Args:
        edge: Expected next move of a factor of 1.
        phi: Share of the factor that stays for the next bar.
        risk_aversion: Half of it times ``variance x^2`` is the dislike of a position ``x``.
        cost_quadratic: Twice the cost of a change by 1.
        discount: Rate per bar; 0 for the long-run mean.
        variance: Of a move.

    Raises:
        ConfigError: A parameter that must be positive is not, or the discount is outside [0, 1).
    """
    if min(risk_aversion, cost_quadratic, variance) <= 0.0 or not 0.0 <= discount < 1.0:
        raise ConfigError(
            f"needs risk_aversion {risk_aversion}, cost_quadratic {cost_quadratic} and variance "
            f"{variance} above 0 and discount {discount} in [0, 1)"
        )
    gamma, price, later = risk_aversion, cost_quadratic / variance, 1.0 - discount
    b = gamma * later + price * discount
    a = (math.sqrt(b**2 + 4.0 * gamma * price * later**2) - b) / (2.0 * later)
    fades = (1.0 - phi) * a / gamma
    return PartialAdjustment(a / price, edge / (gamma * variance * (1.0 + fades)))
