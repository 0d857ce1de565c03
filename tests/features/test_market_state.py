from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.features.market_state import (
    MarketState,
    State,
    consistent,
    describe,
    follow,
    state_of,
    trend_score,
)
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe

UP, DOWN, QUIET, WILD = "UDQW"
LETTERS = "UDQWt"
LEVELS = {UP: (1, 1), DOWN: (0, 2), QUIET: (1, 0), WILD: (2, 0)}


def follow_letters(letters, memory=None):
    """Rows of the machine over evidence such as ``UUD``; each row reads all before it."""
    codes = np.array([LETTERS.index(x) for x in letters])
    levels = np.array([LEVELS[x] for x in letters])
    volatility, strength = levels[:, 0].copy(), levels[:, 1].copy()
    if memory is not None:
        return follow(codes, volatility, strength, 0, memory, 3, 6)
    ends = range(1, len(letters) + 1)
    return np.array([follow(codes[:n], volatility[:n], strength[:n], 0, n, 3, 6)[-1] for n in ends])


def states(letters):
    return "".join(LETTERS[state_of(row[:5])] for row in follow_letters(letters))


@pytest.mark.nojit
@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        # A whole window in TRANSITION, then the state; a candle or two against it change nothing.
        ("UUUUUUUUDUDDU", "ttttttUUUUUUU"),
        # Candles against it of different kinds are still candles against it.
        ("UUUUUUUDQDDDDDDDD", "ttttttUUUttttttDD"),
        # Three end it; the same evidence must then last, and TRANSITION lasts six bars at least.
        ("UUUUUUUDDDDDDDDDD", "ttttttUUUttttttDD"),
        # One candle of another kind starts the count anew.
        ("UUUUUUUDDDDDUDDDDDDQ", "ttttttUUUtttttttttDD"),
        # Return to the old state takes a window too.
        ("QQQQQQQWWWQQQQQQQ", "ttttttQQQttttttQQ"),
        # Evidence that never lasts confirms nothing.
        ("UUUUUDDDDDWWWWWQQQQQ", "tttttttttttttttttttt"),
    ],
)
def test_states_by_hand(evidence, expected):
    assert states(evidence) == expected


@pytest.mark.nojit
def test_confidence_grows_over_patience_and_confirmation():
    rows = follow_letters("U" * 7 + "D" * 9)
    steps = [1, 2, 4, 5, 6, 7, 8, 9, 0]
    np.testing.assert_allclose(rows[7:, 9], np.array(steps) / 9)
    assert rows[6, 9] == 0.0
    back = follow_letters("U" * 7 + "DDUDDQ")
    np.testing.assert_allclose(back[7:, 9], np.array([1, 2, 0, 1, 2, 4]) / 9)


@pytest.mark.nojit
def test_previous_state_is_the_last_that_ended():
    rows = follow_letters("U" * 7 + "Q" * 9 + "W" * 3)
    assert not rows[:9, 5:9].any()
    np.testing.assert_array_equal(rows[9:18, 5:9], np.tile([1.0, 0.0, 0.0, 0.0], (9, 1)))
    np.testing.assert_array_equal(rows[18, 5:9], [0.0, 0.0, 1.0, 0.0])


@pytest.mark.nojit
def test_levels_are_those_of_the_newest_agreeing_bar():
    rows = follow_letters("Q" * 7 + "WWQ" + "WWW" + "D")
    np.testing.assert_array_equal(rows[6:10, 10], [0.5, 0.5, 0.5, 0.5])
    # In TRANSITION nothing is held back.
    np.testing.assert_array_equal(rows[10:, 10], [0.5, 0.5, 1.0, 0.0])
    np.testing.assert_array_equal(rows[10:, 11], [0.0, 0.0, 0.0, 1.0])


def test_a_row_reads_its_memory_and_nothing_before():
    rng = np.random.default_rng(3)
    letters = "".join(np.repeat(rng.choice(list("UDQW"), 60), rng.integers(1, 25, 60)))
    whole = follow_letters(letters, memory=40)
    assert np.isnan(whole[:39]).all()
    for row in range(39, len(letters), 17):
        alone = follow_letters(letters[row - 39 : row + 1], memory=40)
        np.testing.assert_array_equal(alone[-1], whole[row])


@pytest.mark.nojit
def test_trend_score_by_hand():
    returns = np.array([np.nan, 1.0, 2.0, -1.0, 0.0, 0.0, 0.0, -7.0])
    wide, narrow = np.full(8, 10.0), np.full(8, 1.0)
    scores = trend_score(returns, wide, 3)
    assert np.isnan(scores[:3]).all()
    root = np.sqrt
    expected = [2 / root(6), 1 / root(5), -1.0, 0.0, -1.0]
    np.testing.assert_allclose(scores[3:], expected)
    np.testing.assert_allclose(trend_score(returns, narrow, 3)[3], 1 / root(3))


def compute(bars, **params):
    feature = MarketState(**params)
    values = feature.compute(Panel([bars]), {})[:, 0]
    assert np.isnan(values[: feature.lookback - 1]).all()
    return dict(zip(feature.names, values[feature.lookback - 1 :].T, strict=True))


def noisy(bars_of, drift, size=600, seed=1, candles=()):
    """Closes with a drift in deviations a bar; each candle moves one close by so many."""
    moves = drift + np.random.default_rng(seed).standard_normal(size)
    for row, move in candles:
        moves[row] = move
    return bars_of(2000.0 * np.exp(0.001 * np.cumsum(moves)))


@pytest.mark.parametrize(("drift", "flag"), [(1.0, "state_bull"), (-1.0, "state_bear")])
def test_a_trend_is_seen(bars_of, drift, flag):
    found = compute(noisy(bars_of, drift))
    assert (found[flag] == 1.0).all()
    assert (found["state_trend"] == 1.0).all()


@pytest.mark.parametrize(
    "candles", [[(590, -200.0)], [(590, -30.0), (591, -30.0)], [(590, -5.0), (593, -200.0)]]
)
def test_a_candle_or_two_do_not_end_a_trend(bars_of, candles):
    bars = noisy(bars_of, 1.0, candles=candles)
    assert bars.close[590] < bars.close[580]
    found = compute(bars)
    assert (found["state_bull"] == 1.0).all()


def test_a_flat_market_goes_sideways_whatever_came_before(bars_of, walk):
    close = walk(400, volatility=0.02).close
    found = compute(bars_of(np.concatenate([close, np.full(800, close[-1])])))
    last = {name: column[-1] for name, column in found.items()}
    assert last["state_sideways_low"] == 1.0
    assert (last["state_volatility"], last["state_trend"]) == (0.5, 0.0)


def test_volatility_levels_follow_the_median_range(bars_of):
    calm, wide, tight = 0.001 * np.ones(400), 0.002 * np.ones(40), 0.0005 * np.ones(80)
    sizes = np.concatenate([calm, wide, tight])
    close = 100.0 * np.exp(np.cumsum(sizes * (-1.0) ** np.arange(sizes.size)))
    found = compute(bars_of(close))
    at = {name: dict(enumerate(column, start=359)) for name, column in found.items()}
    # Of 24 ranges the median is wide from the 12th on: 1.5 times the usual first, over 1.4.
    assert [at["state_volatility"][row] for row in (410, 411 + 3 + 6)] == [0.5, 1.0]
    assert at["state_sideways_low"][412] == 1.0
    assert at["state_transition"][413] == 1.0
    assert at["state_sideways_high"][419] == 1.0
    assert at["state_volatility"][519] == 0.0


regimes = st.lists(
    st.tuples(
        st.sampled_from([-3.0, -0.3, 0.0, 0.3, 3.0]),
        st.sampled_from([0.0, 1e-5, 1e-3, 0.2]),
        st.integers(1, 120),
    ),
    min_size=3,
    max_size=12,
)


@given(regimes=regimes, seed=st.integers(0, 2**32 - 1), quick=st.booleans())
@settings(max_examples=60, deadline=None)
def test_state_and_levels_never_contradict_each_other(regimes, seed, quick):
    rng = np.random.default_rng(seed)
    moves = np.concatenate(
        [width * (drift + rng.standard_t(3, size)) for drift, width, size in regimes]
    )
    moves = np.clip(np.concatenate([moves, 0.001 * rng.standard_normal(120)]), -1.0, 1.0)
    opened = 100.0 * np.exp(np.clip(np.cumsum(moves), -300.0, 300.0))
    close = opened * np.exp(0.3 * rng.permutation(moves))
    high, low = np.maximum(opened, close), np.minimum(opened, close)
    time = np.arange(close.size) * Timeframe.H1.nanoseconds
    none = np.zeros(close.size)
    bars = Bars("XAUUSD", Timeframe.H1, time, opened, high, low, close, none, none)
    params = {"trend": 10, "short": 5, "long": 20, "memory": 30} if quick else {"memory": 30}
    values = MarketState(**params, confirm=4).compute(Panel([bars]), {})[:, 0]
    for row in values[~np.isnan(values[:, 0])]:
        assert sorted(row[:5]) == [0.0, 0.0, 0.0, 0.0, 1.0]
        assert sorted(row[5:9])[:3] == [0.0, 0.0, 0.0]
        state = state_of(row[:5])
        assert consistent(state, row[10], row[11]), describe(state, row[10], row[11])
        assert 0.0 <= row[9] <= 1.0


def test_contradictions_by_name():
    assert not consistent(State.SIDEWAYS_LOW_VOL, 1.0, 0.0)
    assert not consistent(State.SIDEWAYS_HIGH_VOL, 0.5, 0.0)
    assert not consistent(State.SIDEWAYS_LOW_VOL, 0.0, 0.5)
    assert not consistent(State.BULL_TREND, 0.5, 0.0)
    assert consistent(State.BEAR_TREND, 1.0, 0.5)
    assert consistent(State.TRANSITION, 1.0, 0.0)
    assert describe(State.BEAR_TREND, 1.0, 0.5) == "BEAR_TREND, volatility HIGH, trend MODERATE"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"short": 240}, "short 240 must be below long 240"),
        ({"moderate": 3.0}, "moderate 3.0 must be below strong 2.0"),
        ({"memory": 17}, "memory 17 must be at least twice patience 3 and confirm 6 together"),
        ({"patience": 2}, "greater than or equal to 3"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        MarketState(**params)
