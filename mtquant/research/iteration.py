"""The best policy of a small market, and its worth, by relative value iteration.

The market is a chain of states, each with what the next move is expected to be, and the position
is one of a grid in [-1, 1]. A state's value next to another's is found by going one bar back again
and again until every state gains the same per bar; that gain is the value of the optimum. Source:
White (1963), Dynamic Programming, Markov Chains, and the Method of Successive Approximations.
With linear cost and no penalty the answer is the threshold of de Lataillade, Deremble, Potters and
Bouchaud (2012), Optimal Trading with Linear Costs: all or nothing, and a band in which to hold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mtquant.errors import ConfigError
from mtquant.market.bars import Float, Int
from mtquant.market.gaussian import normal_cdf

POSITIONS = 41
TOLERANCE = 1e-9  # of the value per bar
SETTLED = 1e-7  # change of a distribution in a sweep
MOST_SWEEPS = 20_000


@dataclass(frozen=True, eq=False)
class Chain:
    """A market as states with known odds.

    Attributes:
        state: What each state stands for, evenly spaced, ``[S]``.
        transition: Probability of the next state (column) from each (row), ``[S, S]``.
        mean: Expected next move, in bar volatilities, ``[S]``.
        down_long: Expected square of its fall, ``[S]``.
        down_short: Expected square of its rise, ``[S]``.
        period: Bars after which the chain may return; more than 1 where it goes round.
    """

    state: Float
    transition: Float
    mean: Float
    down_long: Float
    down_short: Float
    period: int = 1

    def rows(self, states: Float) -> Int:
        """The nearest state of each value, ``[T]``."""
        step = self.state[1] - self.state[0]
        nearest = np.rint((states - self.state[0]) / step).astype(np.int64)
        return np.asarray(np.clip(nearest, 0, self.state.size - 1))


@dataclass(frozen=True)
class Terms:
    """What is paid and disliked, in bar volatilities.

    A bar with position ``x`` after ``x'`` is worth::

        x m - downside_penalty / 2 x^2 E[min(sign(x) z, 0)^2] - cost |d| - cost_quadratic / 2 d^2

    with ``m`` the expected move and ``d = x - x'``.

    Attributes:
        cost: Linear cost.
        cost_quadratic: Quadratic cost; one of the two is 0.
        downside_penalty: Weight of the downside, 0 for plain profit.
    """

    cost: float = 0.0
    cost_quadratic: float = 0.0
    downside_penalty: float = 0.0

    def __post_init__(self) -> None:
        values = (self.cost, self.cost_quadratic, self.downside_penalty)
        if not all(0.0 <= value < np.inf for value in values):
            raise ConfigError(
                f"cost {self.cost}, cost_quadratic {self.cost_quadratic} and downside_penalty "
                f"{self.downside_penalty} must be numbers of 0 or more"
            )
        if self.cost and self.cost_quadratic:
            raise ConfigError(
                f"cost {self.cost} and cost_quadratic {self.cost_quadratic} cannot both be paid; "
                "set one of them to 0"
            )

    def holding(self, x: Float, mean: Float, down_long: Float, down_short: Float) -> Float:
        """Expected reward of positions before the cost of reaching them; arrays broadcast."""
        down = np.where(x > 0.0, down_long, down_short)
        return x * mean - 0.5 * self.downside_penalty * x**2 * down

    def trading(self, change: Float) -> Float:
        """Cost of changes of position, any shape."""
        return self.cost * np.abs(change) + 0.5 * self.cost_quadratic * change**2


@dataclass(frozen=True, eq=False)
class Solution:
    """The optimum of a chain.

    Attributes:
        value: Mean reward per bar.
        grid: Positions held before a decision, ``[X]``.
        policy: Position after it, by position before and state, ``[X, S]``.
    """

    value: float
    grid: Float
    policy: Float


def solve(chain: Chain, terms: Terms, n_positions: int = POSITIONS) -> Solution:
    """The policy with the highest mean reward, by relative value iteration.

    With linear cost positions are on the grid. With quadratic cost they lie between, at the top of
    a parabola through the best grid point and its neighbours: a small step would otherwise round
    to none.

    Args:
        chain: The market.
        terms: Costs and penalty.
        n_positions: Points of the grid, odd, so that flat is one of them.

    Raises:
        ConfigError: ``n_positions`` is even or below 3.
    """
    if n_positions < 3 or n_positions % 2 == 0:
        raise ConfigError(f"a grid of {n_positions} positions has no middle; take an odd number")
    grid = np.linspace(-1.0, 1.0, n_positions)
    base = terms.holding(grid[:, None], chain.mean, chain.down_long, chain.down_short)
    onwards = np.ascontiguousarray(chain.transition.T)
    best = best_by_running_maximum if terms.cost_quadratic == 0.0 else best_by_parabola
    value = np.zeros_like(base)
    for _ in range(MOST_SWEEPS):
        before = value
        for _ in range(chain.period):
            value = best(base + value @ onwards, grid, terms)
        gain = (value - before) / chain.period
        low, high = float(gain.min()), float(gain.max())
        value = value - value[n_positions // 2, 0]
        if high - low < TOLERANCE:
            break
    worth = base + value @ onwards
    return Solution(0.5 * (low + high), grid, best_positions(worth, grid, terms))


def best_by_running_maximum(worth: Float, grid: Float, terms: Terms) -> Float:
    """``max_x worth(x) - cost |x - x'|`` for every ``x'`` on the grid, ``[X, S]``."""
    toll = terms.cost * grid[:, None]
    upwards = np.maximum.accumulate(worth + toll, axis=0) - toll
    downwards = np.maximum.accumulate((worth - toll)[::-1], axis=0)[::-1] + toll
    return np.maximum(upwards, downwards)


def best_by_parabola(worth: Float, grid: Float, terms: Terms) -> Float:
    """The same with quadratic cost, ``x`` between grid points by a parabola, ``[X, S]``."""
    return _peaks(worth, grid, terms)[0]


def best_positions(worth: Float, grid: Float, terms: Terms) -> Float:
    """Where the best is, ``[X, S]``; of equals the one nearest to the position held."""
    if terms.cost_quadratic:
        return _peaks(worth, grid, terms)[1]
    chosen = np.empty_like(worth)
    for k, held in enumerate(grid):
        nearest = np.argsort(np.abs(grid - held), kind="stable")
        net = (worth - terms.trading(grid - held)[:, None])[nearest]
        # The first that comes within rounding of the best is the nearest of equals.
        first = np.argmax(net >= net.max(axis=0) - 1e-12, axis=0)
        chosen[k] = grid[nearest[first]]
    return chosen


def _peaks(worth: Float, grid: Float, terms: Terms) -> tuple[Float, Float]:
    """Height and place of the best net worth for each position held and state, ``[X, S]`` each."""
    cost = terms.trading(grid[:, None] - grid)
    net = worth[None, :, :] - cost[:, :, None]
    at = np.clip(net.argmax(axis=1), 1, grid.size - 2)[:, None, :]
    left, middle, right = (np.take_along_axis(net, at + k, axis=1)[:, 0] for k in (-1, 0, 1))
    slope, curve = 0.5 * (right - left), left - 2.0 * middle + right
    # Beyond the neighbours the parabola is not known: at an edge of the grid the edge is taken.
    shift = np.clip(np.divide(-slope, curve, out=np.sign(slope), where=curve < 0.0), -1.0, 1.0)
    height = middle + shift * slope + 0.5 * shift**2 * curve
    return height, grid[at[:, 0]] + shift * (grid[1] - grid[0])


@dataclass(frozen=True)
class Habits:
    """What a policy does in the long run.

    Attributes:
        value: Mean reward per bar.
        turnover: Mean absolute change of position per bar.
        exposure: Mean absolute position.
    """

    value: float
    turnover: float
    exposure: float


def habits(chain: Chain, terms: Terms, solution: Solution) -> Habits:
    """Long-run averages of a policy that starts flat, from the distribution it settles in."""
    grid, after = solution.grid, solution.policy
    columns = np.arange(chain.state.size)
    low, share = between(after, grid)
    below = (low * columns.size + columns).ravel()
    mass = np.zeros_like(after)
    mass[grid.size // 2] = stationary(chain)
    for _ in range(MOST_SWEEPS):
        before = mass
        for _ in range(chain.period):
            held = np.bincount(below, (mass * (1.0 - share)).ravel(), mass.size)
            held += np.bincount(below + columns.size, (mass * share).ravel(), mass.size)
            mass = held.reshape(mass.shape) @ chain.transition
        if np.abs(mass - before).sum() < SETTLED:
            break
    change = after - grid[:, None]
    reward = terms.holding(after, chain.mean, chain.down_long, chain.down_short)
    reward = reward - terms.trading(change)
    averages = (reward, np.abs(change), np.abs(after))
    return Habits(*(float((mass * each).sum()) for each in averages))


def between(positions: Float, grid: Float) -> tuple[Int, Float]:
    """The grid point below each position, never the last, and the share of the way to the next."""
    steps = (positions - grid[0]) / (grid[1] - grid[0])
    low = np.clip(np.floor(steps + 1e-9), 0, grid.size - 2).astype(np.int64)
    return low, np.clip(steps - low, 0.0, 1.0)


def stationary(chain: Chain) -> Float:
    """Share of bars that the chain spends in each state, ``[S]``."""
    size = chain.state.size
    equations = np.vstack([chain.transition.T - np.eye(size), np.ones(size)])
    shares: Float = np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0), rcond=None)[0]
    return shares


def cell_odds(edges: Float, mean: Float, deviation: float) -> Float:
    """Probabilities of the cells between edges for normal variables.

    Args:
        edges: Rising, without the outermost, which are infinite; ``[S - 1]``, or one row per
            variable.
        mean: Of each variable, ``[N]``.
        deviation: Standard deviation of all.

    Returns:
        One row a variable, ``[N, S]``.
    """
    inner = normal_cdf((edges - mean[:, None]) / deviation)
    ends = np.zeros((mean.size, 1)), np.ones((mean.size, 1))
    return np.diff(np.hstack([ends[0], inner, ends[1]]), axis=1)
