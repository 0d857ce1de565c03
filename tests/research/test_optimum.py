"""The optima of planted markets, against known numbers, and the scoring of policies."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError
from mtquant.market.planted import (
    PRESETS,
    HiddenRegime,
    LeadLag,
    OUPrice,
    PlantedHistory,
    PlantedLaw,
    Season,
    SlowAlpha,
    planted,
)
from mtquant.market.planted_history import Sample
from mtquant.research.closed_forms import lead_lag_value
from mtquant.research.iteration import Terms, solve
from mtquant.research.optimum import (
    Optimum,
    belief_chain,
    chain_of,
    conditional_rewards,
    conditional_value,
    factor_chain,
    optimum,
)

#: The penalty of the shipped reward.
PENALTY = 0.05

SLOW = pytest.mark.slow
PREDICTABLE = (
    "lead_lag",
    "slow_alpha",
    "blurred_alpha",
    "ou_price_easy",
    "hidden_regime",
    "season",
    "quadratic",
)


@lru_cache(maxsize=8)
def drawn(name: str, seed: int, bars: int = 50_000) -> PlantedHistory:
    return PRESETS[name].draw(bars, seed)


def column(best: Optimum, state: float) -> np.ndarray:
    """Position after, by position before, in one state."""
    assert best.chain is not None and best.solution is not None
    return best.solution.policy[:, best.chain.rows(np.array([state]))[0]]


def flips_at(best: Optimum, states: np.ndarray) -> float:
    """The first state, rising, in which a short position becomes long."""
    return next(float(state) for state in states if column(best, float(state))[0] == 1.0)


@pytest.mark.parametrize(
    ("law", "value"),
    [
        (LeadLag(rho=0.10, cost=0.05), 0.039559),
        (LeadLag(rho=0.08, cost=0.04), 0.031647),
        (SlowAlpha(phi=0.90, rho=0.06, cost=0.10), 0.03453),
        pytest.param(SlowAlpha(phi=0.97, rho=0.05, cost=0.20), 0.03064, marks=SLOW),
        pytest.param(SlowAlpha(phi=0.90, rho=0.10, cost=0.10), 0.06406, marks=SLOW),
        pytest.param(OUPrice(k=0.005, cost=0.10), 0.03831, marks=SLOW),
        (OUPrice(k=0.010, cost=0.50), 0.04719),
        (HiddenRegime(mu=0.10, q=0.01, cost=0.10), 0.03138),
        pytest.param(HiddenRegime(mu=0.06, q=0.002, cost=0.10), 0.02600, marks=SLOW),
        (Season(a=0.08, d=0.05, cost=0.10), 0.03460),
        (planted("leak"), 0.749),
    ],
    ids=repr,
)
def test_values_without_penalty_are_the_known_ones(law: PlantedLaw, value: float) -> None:
    best = optimum(law)
    assert best.value == best.linear_value == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize(
    ("law", "rho"), [(LeadLag(), 0.10), (LeadLag(rho=0.2), 0.20), (planted("leak"), 1.0)]
)
def test_an_independent_factor_is_worth_two_calls(law: PlantedLaw, rho: float) -> None:
    assert optimum(law).value == pytest.approx(lead_lag_value(rho, law.cost), rel=5e-4)


def test_the_threshold_of_a_slow_alpha_is_the_known_one() -> None:
    # A cell of the grid is 0.003 in rho f.
    alpha = flips_at(optimum(SlowAlpha()), np.linspace(-5, 5, 201))
    assert 0.06 * alpha == pytest.approx(0.036, abs=0.003)


@SLOW
def test_the_threshold_of_a_price_is_the_known_one() -> None:
    # A cell of the grid is 0.5 in p.
    price = flips_at(optimum(OUPrice()), np.linspace(5, -5, 201)) * OUPrice().deviation
    assert price == pytest.approx(-2.63, abs=0.5)


@pytest.mark.parametrize(
    ("law", "belief"),
    [(HiddenRegime(), 0.602), pytest.param(HiddenRegime(mu=0.06, q=0.002), 0.592, marks=SLOW)],
    ids=repr,
)
def test_the_threshold_of_a_belief_is_the_known_one(law: HiddenRegime, belief: float) -> None:
    chain = belief_chain(law, 201)  # of which this is the first cell that is long
    becomes_long = np.argmax(solve(chain, Terms(law.cost)).policy[0] == 1.0)
    assert 1.0 / (1.0 + math.exp(-chain.state[becomes_long])) == pytest.approx(belief, abs=5e-4)


def test_linear_cost_without_penalty_is_all_or_nothing() -> None:
    for law in (LeadLag(), SlowAlpha(), OUPrice(k=0.010, cost=0.50)):
        best = optimum(law)
        held = best.positions(law.draw(5_000, 1))
        assert set(np.unique(held)) <= {-1.0, 0.0, 1.0} and best.exposure == pytest.approx(1.0)


def test_the_season_is_flat_between_its_waves() -> None:
    law = Season()
    best = optimum(law, downside_penalty=PENALTY)
    held = best.positions(law.draw(24 * 20, 1))
    next_hour = (np.arange(held.size) + 1) % 24
    settled = held[48:], next_hour[48:]
    for hours, position in ((range(1, 9), 1.0), (range(11, 14), 0.0), (range(16, 24), -1.0)):
        at = settled[0][np.isin(settled[1], list(hours))]
        assert np.abs(at - position).max() < 0.35, f"{hours}"


@pytest.mark.parametrize(
    "law",
    [SlowAlpha(), *(pytest.param(law, marks=SLOW) for law in (OUPrice(k=0.02), HiddenRegime()))],
    ids=repr,
)
def test_another_grid_of_states_changes_little(law: PlantedLaw) -> None:
    terms = Terms(law.cost, 0.0, PENALTY)
    other = (
        belief_chain(law, 281) if isinstance(law, HiddenRegime) else factor_chain(law, 301)  # type: ignore[arg-type]
    )
    value = optimum(law, downside_penalty=PENALTY).value
    assert solve(other, terms).value == pytest.approx(value, rel=1.5e-3)


@pytest.mark.parametrize("name", ["slow_alpha", "season", pytest.param("quadratic", marks=SLOW)])
def test_a_finer_grid_of_positions_changes_little(name: str) -> None:
    law = PRESETS[name]
    terms = Terms(law.cost, law.cost_quadratic, PENALTY)
    chain = chain_of(law)
    assert chain is not None
    finer = solve(chain, terms, n_positions=61).value
    assert optimum(law, downside_penalty=PENALTY).value == pytest.approx(finer, rel=2e-3)


@pytest.mark.parametrize("name", [*PREDICTABLE[:-1], pytest.param("quadratic", marks=SLOW)])
def test_the_policy_earns_its_value_on_drawn_histories(name: str) -> None:
    best = optimum(PRESETS[name], downside_penalty=PENALTY)
    values, turnover, exposure = [], [], []
    for seed in range(6):
        whole = drawn(name, seed)
        held = best.positions(whole)
        values.append(conditional_value(whole, held, downside_penalty=PENALTY) / best.value)
        turnover.append(np.abs(np.diff(held)).mean())
        exposure.append(np.abs(held).mean())
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values) - 1.0) < max(4.0 * error, 2e-3)
    assert error < 0.03, "too noisy to tell"
    assert np.mean(turnover) == pytest.approx(best.turnover, rel=0.03)
    assert np.mean(exposure) == pytest.approx(best.exposure, rel=0.03)


@pytest.mark.parametrize(
    "name", ["slow_alpha", "lead_lag", pytest.param("ou_price_easy", marks=SLOW), "hidden_regime"]
)
@pytest.mark.parametrize("penalty", [0.0, PENALTY])
def test_no_threshold_policy_beats_the_optimum(name: str, penalty: float) -> None:
    whole = drawn(name, 1)
    best = optimum(PRESETS[name], downside_penalty=penalty)
    held = best.positions(whole)
    ours = conditional_value(whole, held, downside_penalty=penalty)
    spread = whole.mean.std()
    for threshold in np.linspace(0.0, 3.0, 13) * spread:
        side = np.where(np.abs(whole.mean) > threshold, np.sign(whole.mean), 0.0)
        last = np.maximum.accumulate(np.where(side != 0.0, np.arange(side.size), 0))
        for size in (0.5, 1.0):
            rival = conditional_value(whole, size * side[last], downside_penalty=penalty)
            assert rival < ours + 0.005 * best.value
    greedy = conditional_value(whole, np.sign(whole.mean), downside_penalty=penalty)
    assert greedy < 0.93 * ours


@given(row=st.integers(0, 198), shift=st.floats(-3, 3))
def test_positions_know_nothing_of_later_bars(row: int, shift: float) -> None:
    best = optimum(SlowAlpha(), downside_penalty=PENALTY)
    whole = drawn("slow_alpha", 1, 200)
    later = whole.state.copy()
    later[row + 1 :] += shift
    kept = best.positions(whole)[: row + 1]
    assert best.positions(replace(whole, state=later))[: row + 1].tobytes() == kept.tobytes()
    assert best.positions(whole[: row + 1]).tobytes() == kept.tobytes()


def history_of(means: list[float], cost_quadratic: float = 0.0) -> PlantedHistory:
    whole = planted("quadratic", cost_quadratic=cost_quadratic).draw(len(means), 1)
    falls, rises = np.array([0.4, 0.5, 0.6, 0.7]), np.array([0.9, 0.8, 0.7, 0.6])
    return replace(whole, mean=np.array(means), down_long=falls, down_short=rises)


def test_conditional_rewards_by_hand() -> None:
    whole = history_of([0.1, -0.2, 0.3, 0.0])
    held = np.array([1.0, -0.5, -0.5, 0.0])
    # x m - 0.1 x^2 down - 0.05 |dx|
    by_hand = [
        0.1 - 0.1 * 0.4 - 0.05,
        0.1 - 0.1 * 0.25 * 0.8 - 0.05 * 1.5,
        -0.15 - 0.1 * 0.25 * 0.7,
        -0.05 * 0.5,
    ]
    rewards = conditional_rewards(whole, held, Terms(0.05, 0.0, 0.2))
    assert rewards == pytest.approx(by_hand, abs=1e-15)
    assert conditional_value(whole, held, 0.05, 0.2) == pytest.approx(sum(by_hand) / 4)


def test_quadratic_cost_by_hand() -> None:
    whole = history_of([0.1, -0.2, 0.3, 0.0], cost_quadratic=0.4)
    held = np.array([1.0, -0.5, -0.5, 0.0])
    by_hand = (0.1 + 0.1 - 0.15) - 0.2 * (1.0 + 2.25 + 0.25)
    assert conditional_value(whole, held) == pytest.approx(by_hand / 4)


@pytest.mark.parametrize("name", [*PREDICTABLE, "garch", "leak"])
def test_the_score_has_the_mean_of_the_realised_reward(name: str) -> None:
    whole = drawn(name, 2)
    rng = np.random.default_rng(1)
    steps = rng.uniform(-1, 1, len(whole))
    held = np.clip(np.where(rng.random(len(whole)) < 0.5, np.sign(whole.mean), steps), -1, 1)
    law, gain = whole.law, held[:-1] * whole.moves[1:]
    terms = Terms(law.cost, law.cost_quadratic, 0.8)
    change = np.diff(held, prepend=0.0)[:-1]
    paid = law.cost * np.abs(change) + 0.5 * law.cost_quadratic * change**2
    realised = gain - 0.4 * np.minimum(gain, 0.0) ** 2 - paid
    gap = realised - conditional_rewards(whole, held, terms)[:-1]
    assert abs(gap.mean()) <= 4.0 * gap.std() / math.sqrt(gap.size) + 1e-12


@pytest.mark.parametrize("name", ["iid", "student_t", "garch", "seasonal", "leak_blind"])
def test_on_a_martingale_flat_is_best_and_trading_loses(name: str) -> None:
    best = optimum(PRESETS[name], downside_penalty=PENALTY)
    whole = drawn(name, 3, 2_000)
    assert best.value == best.linear_value == best.turnover == best.exposure == 0.0
    assert not best.positions(whole).any()
    assert conditional_value(whole, np.zeros(2_000), downside_penalty=PENALTY) == 0.0
    assert conditional_value(whole, np.ones(2_000), downside_penalty=PENALTY) < -0.01


@pytest.mark.parametrize(
    "name",
    [
        *("slow_alpha", "lead_lag", "season"),
        *(
            pytest.param(name, marks=SLOW)
            for name in ("ou_price_easy", "hidden_regime", "quadratic")
        ),
    ],
)
def test_the_penalty_takes_value_and_size(name: str) -> None:
    free, mild, harsh = (optimum(PRESETS[name], None, penalty) for penalty in (0.0, 0.05, 0.2))
    assert free.value == mild.linear_value == harsh.linear_value
    assert free.value > mild.value > harsh.value > 0.0
    assert free.exposure > mild.exposure > harsh.exposure > 0.0


def test_an_optimum_is_solved_once_and_a_cost_can_be_another() -> None:
    assert optimum(SlowAlpha()) is optimum(SlowAlpha(), 0.10, 0.0)
    cheap = optimum(SlowAlpha(), cost=0.0)
    # Free trading earns rho E|f| = rho sqrt(2 / pi).
    assert cheap.value == pytest.approx(0.06 * math.sqrt(2.0 / math.pi), rel=2e-3)
    assert cheap.value > optimum(SlowAlpha()).value


class Unsolved(PlantedLaw):
    def sample(self, rng: np.random.Generator, n_bars: int) -> Sample:
        raise NotImplementedError


def test_what_cannot_be_solved_or_scored_is_refused() -> None:
    whole = drawn("slow_alpha", 1, 200)
    with pytest.raises(ConfigError, match=r"optimum of LeadLag says nothing .* SlowAlpha"):
        optimum(LeadLag()).positions(whole)
    with pytest.raises(ConfigError, match="no optimum is known for the planted market Unsolved"):
        optimum(Unsolved())
    with pytest.raises(ConfigError, match="downside_penalty -1"):
        optimum(LeadLag(), downside_penalty=-1.0)
    with pytest.raises(ConfigError, match="cannot both be paid"):
        optimum(PRESETS["quadratic"], cost=0.1)
    with pytest.raises(ConfigError, match="no middle"):
        solve(factor_chain(LeadLag()), Terms(), n_positions=4)
    for held in (np.zeros(199), np.full(200, 1.1), np.full(200, math.nan)):
        with pytest.raises(ConfigError, match="cannot be scored"):
            conditional_value(whole, held)


@SLOW
@pytest.mark.parametrize("name", [*PREDICTABLE, "ou_price", "slow_alpha_slow", "leak"])
def test_the_policy_earns_its_value_in_the_long_run(name: str) -> None:
    best = optimum(PRESETS[name], downside_penalty=PENALTY)
    shares = []
    for seed in range(100, 110):
        whole = PRESETS[name].draw(200_000, seed)
        held = best.positions(whole)
        shares.append(conditional_value(whole, held, downside_penalty=PENALTY) / best.value)
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - 1.0) < 4.0 * error + 1e-3
    assert error < 0.02, "too noisy to tell"
