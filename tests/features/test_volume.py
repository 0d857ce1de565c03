from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.features.volume import VolumeScore, _recorded_score
from mtquant.features.windows import standard_score
from mtquant.market.panel import Panel


def scores(bars, period=20):
    return VolumeScore(period=period).compute(Panel([bars]), {})[:, 0, 0]


@pytest.mark.nojit
def test_score_by_hand(bars_of):
    volume = np.exp([1.0, 2.0, 6.0, 6.0, 6.0])
    # Of logs: window 1, 2, 6 has mean 3 and deviation sqrt(14 / 3); 2, 6, 6 the extreme's half.
    expected = [np.nan, np.nan, 3.0 / np.sqrt(14.0 / 3.0), np.sqrt(0.5), 0.0]
    np.testing.assert_allclose(scores(bars_of(np.ones(5), volume=volume), 3), expected, atol=1e-12)


@pytest.mark.nojit
def test_what_is_not_recorded_scores_zero_and_stays_out_of_the_window(bars_of):
    volume = np.array([0.0, np.e, 0.0, np.e**3, 0.0, 0.0, 0.0, 5.0])
    # 1 and 3 are one deviation from their mean 2; later the window holds one volume or none.
    expected = [np.nan, np.nan, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(scores(bars_of(np.ones(8), volume=volume), 3), expected, atol=1e-12)


def test_a_file_without_volumes_gives_a_silent_column(bars_of):
    assert (scores(bars_of(np.ones(60)))[19:] == 0.0).all()


@pytest.mark.nojit
@given(
    logs=st.lists(st.one_of(st.just(np.nan), st.floats(-5.0, 20.0)), min_size=4, max_size=25),
    period=st.integers(2, 7),
)
def test_score_is_that_of_the_recorded_values_and_bounded(logs, period):
    values = np.array(logs, np.float64)
    result = _recorded_score(values, period)
    for row in range(period - 1, values.size):
        window = values[row - period + 1 : row + 1]
        known = window[~np.isnan(window)]
        assert abs(result[row]) <= np.sqrt(max(known.size - 1, 0))
        if np.isnan(values[row]) or np.ptp(known) == 0.0:
            assert result[row] == 0.0
        elif np.ptp(known) > 1e-3:
            expected = (values[row] - known.mean()) / known.std()
            assert result[row] == pytest.approx(expected, abs=1e-6)


def test_with_every_volume_recorded_it_is_the_standard_score():
    values = np.random.default_rng(2).standard_normal(300)
    np.testing.assert_array_equal(_recorded_score(values, 20), standard_score(values, 20))


def test_units_do_not_matter_and_a_live_window_gives_the_same_bits(walk, bars_of):
    bars = walk(400, seed=9)
    whole = scores(bars)
    lots = bars_of(bars.close, volume=bars.volume / 100.0)
    np.testing.assert_allclose(scores(lots), whole, atol=1e-9)
    for row in range(19, 400, 7):
        assert scores(bars[row - 19 : row + 1])[-1] == whole[row]
