"""What is there to be earned on a planted market, by whom it is earned, and how much of it was.

The optimum of each law is found on a grid of its states with exact odds between them: the cells of
an AR(1) factor, of the log odds of Hamilton's filter, or the hours of the day. A policy is scored
by the *expected* reward of its positions, given what an ideal observer knows at each close, which
has the same mean as the realised reward and a fraction of its noise. Learners were first measured
against such optima by Chaouki, Hardiman, Schmidt, Serie and de Lataillade (2020), Deep
Deterministic Portfolio Optimization.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import numpy as np

from mtquant.errors import ConfigError
from mtquant.market.bars import Float
from mtquant.market.gaussian import normal_semivariances
from mtquant.market.planted import HOURS, FactorLaw, HiddenRegime, Season
from mtquant.market.planted_history import PlantedHistory, PlantedLaw
from mtquant.research.iteration import Chain, Solution, Terms, cell_odds, habits, solve

FACTOR_STATES, FACTOR_REACH = 201, 5.0  # over +-5 standard deviations
BELIEF_STATES = 401


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best that can be done on a planted market.

    Attributes:
        law: The market.
        terms: Costs and penalty it was solved for.
        value: Mean reward per bar with the penalty, in bar volatilities; 0 of a martingale.
        linear_value: The same without the penalty, which is the most that can be earned net.
        turnover: Mean absolute change of the position per bar, of the optimum with the penalty.
        exposure: Its mean absolute position.
        chain: The states it was solved on; None of a martingale.
        solution: The policy with the penalty; None of a martingale.
    """

    law: PlantedLaw
    terms: Terms
    value: float
    linear_value: float
    turnover: float
    exposure: float
    chain: Chain | None = None
    solution: Solution | None = None

    def positions(self, history: PlantedHistory) -> Float:
        """What the optimum holds from each close on, flat before the first, ``[T]``.

        The position at the close of bar t depends on the state there and the position before.

        Raises:
            ConfigError: The history is of another kind of market.
        """
        if type(history.law) is not type(self.law):
            raise ConfigError(
                f"the optimum of {type(self.law).__name__} says nothing about a history of "
                f"{type(history.law).__name__}; draw one from the law that was solved"
            )
        if self.chain is None or self.solution is None:
            return np.zeros(len(history))
        grid = self.solution.grid
        policy = [column.tolist() for column in self.solution.policy.T]
        rows = self.chain.rows(history.state).tolist()
        half, last = (grid.size - 1) / 2.0, grid.size - 2

        def decide(held: float, row: int) -> float:
            steps = (held + 1.0) * half
            low = min(int(steps + 1e-9), last)
            share = min(max(steps - low, 0.0), 1.0)
            after: list[float] = policy[row]
            return after[low] * (1.0 - share) + after[low + 1] * share

        return np.array(list(accumulate(rows, decide, initial=0.0)))[1:]


def optimum(law: PlantedLaw, cost: float | None = None, downside_penalty: float = 0.0) -> Optimum:
    """The best policy of a planted market and what it is worth.

    Args:
        law: The market; its quadratic cost is taken as it is.
        cost: Linear cost of changing the position by 1, in bar volatilities; by default the law's.
        downside_penalty: Weight of half the squared downside in the reward.

    Returns:
        The same record for the same arguments; solved once.

    Raises:
        ConfigError: A cost or the penalty is negative or not a number.
    """
    linear = law.cost if cost is None else cost
    return _optimum(law, Terms(linear, law.cost_quadratic, downside_penalty))


@lru_cache(maxsize=64)
def _optimum(law: PlantedLaw, terms: Terms) -> Optimum:
    chain = chain_of(law)
    if chain is None:
        return Optimum(law, terms, 0.0, 0.0, 0.0, 0.0)
    solution = solve(chain, terms)
    linear = solution.value
    if terms.downside_penalty:
        linear = solve(chain, Terms(terms.cost, terms.cost_quadratic)).value
    done = habits(chain, terms, solution)
    return Optimum(
        law, terms, solution.value, linear, done.turnover, done.exposure, chain, solution
    )


def chain_of(law: PlantedLaw) -> Chain | None:
    """The states of a planted market; None of a martingale.

    Raises:
        ConfigError: The law has no chain here.
    """
    if law.martingale:
        return None
    if isinstance(law, FactorLaw):
        return factor_chain(law)
    if isinstance(law, HiddenRegime):
        return belief_chain(law)
    if isinstance(law, Season):
        return day_chain(law)
    raise ConfigError(
        f"no optimum is known for the planted market {type(law).__name__}; add its chain of states"
    )


def factor_chain(law: FactorLaw, states: int = FACTOR_STATES) -> Chain:
    """Cells of the factor with exact odds between them.

    A value stands for its whole cell, which adds the variance of a uniform law to every step; it
    is taken away from the noise of the step (Sheppard's correction), so that a slow factor does
    not reach farther than it should.
    """
    factor = law.factor
    state = np.linspace(-FACTOR_REACH, FACTOR_REACH, states)
    step = state[1] - state[0]
    noise = math.sqrt(1.0 - factor.phi**2 - step**2 / 12.0)
    odds = cell_odds(state[:-1] + 0.5 * step, factor.phi * state, noise)
    mean = factor.edge * state
    return Chain(state, odds, mean, *normal_semivariances(mean, factor.noise))


def belief_chain(law: HiddenRegime, states: int = BELIEF_STATES) -> Chain:
    """Cells of the log odds of an upward drift in the next bar, with exact odds between them.

    The odds never pass ``(1 - q) / q``. The next log odds rise with the move, so that each edge
    of a cell belongs to one move, and the odds are those of a mixture of two normal moves.
    """
    widest = math.log((1.0 - law.q) / law.q)
    state = np.linspace(-widest, widest, states)
    edge = 1.0 / (1.0 + np.exp(-(state[:-1] + state[1:]) / 2.0))
    before_flip = (edge - law.q) / (1.0 - 2.0 * law.q)
    evidence = np.log(before_flip / (1.0 - before_flip)) - state[:, None]
    move = evidence / (2.0 * law.mu)
    up = (1.0 / (1.0 + np.exp(-state)))[:, None]
    drift = np.full(states, law.mu)
    odds = up * cell_odds(move, drift, 1.0) + (1.0 - up) * cell_odds(move, -drift, 1.0)
    return Chain(state, odds, *law.moments(state))


def day_chain(law: Season) -> Chain:
    """The hours of a day, one after the other."""
    hour = np.arange(HOURS, dtype=np.float64)
    mean = law.drift(hour)
    turn = np.roll(np.eye(HOURS), 1, axis=1)
    return Chain(hour, turn, mean, *normal_semivariances(mean, 1.0), period=HOURS)


def conditional_rewards(history: PlantedHistory, positions: Float, terms: Terms) -> Float:
    """Expected reward of each bar after a close, given what is known there, ``[T]``.

    Args:
        history: Where the positions were taken.
        positions: Held from the close of each bar over the next, in [-1, 1], ``[T]``; flat before.
        terms: Costs and penalty.

    Raises:
        ConfigError: The positions are not one a bar, or one lies outside [-1, 1].
    """
    x = np.asarray(positions, np.float64)
    if x.shape != history.mean.shape or not (np.abs(x) <= 1.0 + 1e-9).all():
        raise ConfigError(
            f"positions of shape {x.shape} cannot be scored; give one number in -1..1 for each of "
            f"the {len(history)} bars"
        )
    held = terms.holding(x, history.mean, history.down_long, history.down_short)
    return held - terms.trading(np.diff(x, prepend=0.0))


def conditional_value(
    history: PlantedHistory,
    positions: Float,
    cost: float | None = None,
    downside_penalty: float = 0.0,
) -> float:
    """Mean expected reward per bar of some positions, to be set against :attr:`Optimum.value`.

    The noise of realised moves is replaced by its mean, after Rao (1945) and Blackwell (1947).

    Args:
        history: Where the positions were taken; its law's quadratic cost is paid.
        positions: Held from the close of each bar over the next, in [-1, 1], ``[T]``; flat before.
        cost: Linear cost of changing the position by 1, in bar volatilities; by default the law's.
        downside_penalty: Weight of half the squared downside.

    Raises:
        ConfigError: See :func:`conditional_rewards`.
    """
    law = history.law
    terms = Terms(law.cost if cost is None else cost, law.cost_quadratic, downside_penalty)
    return float(conditional_rewards(history, positions, terms).mean())
