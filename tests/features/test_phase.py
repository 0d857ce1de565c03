from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.phase import PhaseEstimation, periodogram
from mtquant.market.panel import Panel


def rows(feature, bars):
    """The warm rows by column name."""
    values = feature.compute(Panel([bars]), {})[feature.lookback - 1 :, 0]
    return dict(zip(feature.names, values.T, strict=True))


def sine(size, period, phase=0.0, amplitude=0.5, drift=0.01):
    """Prices with a straight trend and a sine that stands at ``phase`` turns on bar 0."""
    bar = np.arange(size)
    return 100.0 + drift * bar + amplitude * np.sin(2 * np.pi * (bar / period + phase))


def turns(a, b):
    """Distance on the circle, in turns."""
    return np.abs((np.asarray(a) - b + 0.5) % 1.0 - 0.5)


@pytest.mark.parametrize("size", [16, 63, 64])
def test_qft_probabilities_are_the_periodogram(size):
    window = np.random.default_rng(size).standard_normal(size) + 0.3
    k = np.arange(size)
    qft = np.exp(2j * np.pi * np.outer(k, k) / size) / np.sqrt(size)
    np.testing.assert_allclose(qft @ qft.conj().T, np.eye(size), atol=1e-12)
    state = window / np.linalg.norm(window)
    np.testing.assert_allclose(periodogram(window), np.abs(qft @ state) ** 2, rtol=0, atol=1e-12)


def test_a_window_of_zeros_is_no_state():
    np.testing.assert_array_equal(periodogram(np.zeros(8)), np.zeros(8))


@pytest.mark.parametrize("window", [64, 128])
def test_a_planted_sine_is_found_within_two_percent(bars_of, window):
    feature = PhaseEstimation(window=window)
    for period in np.linspace(6.0, window / 3, 29):
        for phase in np.arange(0.0, 1.0, 0.125):
            row = rows(feature, bars_of(sine(window + 1, period, phase)))
            assert row["qpe_period"][0] == pytest.approx(period, rel=0.002)
            assert turns(row["qpe_phase"][0], phase + window / period) < 0.002
            assert row["qpe_strength"][0] > 0.99


@pytest.mark.parametrize("period", [7.3, 12.0, 18.7])
def test_a_sine_in_a_random_walk_is_found_within_two_percent(bars_of, period):
    noise = np.cumsum(np.random.default_rng(4).standard_normal(1500)) * 0.03
    bars = bars_of(sine(1500, period) + noise)
    row = rows(PhaseEstimation(), bars)
    bar = np.arange(128, 1500)
    assert (row["qpe_period"] > 0.0).all()
    assert np.median(np.abs(row["qpe_period"] / period - 1.0)) < 0.005
    assert np.quantile(np.abs(row["qpe_period"] / period - 1.0), 0.95) < 0.02
    assert np.median(turns(row["qpe_phase"], bar / period)) < 0.02


def test_the_phase_is_that_of_the_newest_bar(bars_of):
    period = 17.3
    close = sine(400, period, phase=0.2, drift=0.0)
    feature = PhaseEstimation()
    row = rows(feature, bars_of(close[:300]))
    ahead = np.arange(1, 101)
    phase, found = row["qpe_phase"][-1], row["qpe_period"][-1]
    predicted = 100.0 + 0.5 * np.sin(2 * np.pi * (phase + ahead / found))
    np.testing.assert_allclose(predicted, close[300:], atol=0.02)
    np.testing.assert_allclose(row["qpe_phase_sin"], np.sin(2 * np.pi * row["qpe_phase"]))
    np.testing.assert_allclose(row["qpe_phase_cos"], np.cos(2 * np.pi * row["qpe_phase"]))


@pytest.mark.parametrize("window", [64, 128])
@pytest.mark.parametrize("law", ["normal", "student"])
def test_white_returns_have_a_period_in_one_percent_of_windows_at_most(bars_of, window, law):
    rng = np.random.default_rng(11)
    size = 400 * window
    returns = rng.standard_normal(size) if law == "normal" else rng.standard_t(4, size)
    row = rows(PhaseEstimation(window=window), bars_of(100.0 * np.exp(np.cumsum(1e-4 * returns))))
    share = np.mean(row["qpe_period"] > 0.0)
    assert 0.0005 < share <= 0.01


def test_a_random_walk_in_price_and_noise_about_a_price_have_no_period(bars_of):
    rng = np.random.default_rng(12)
    steps = rng.standard_normal(30_000)
    for close in (5000.0 + np.cumsum(steps), 100.0 + 0.1 * steps):
        share = np.mean(rows(PhaseEstimation(), bars_of(close))["qpe_period"] > 0.0)
        assert share <= 0.01


def test_a_larger_false_alarm_rate_finds_more(walk):
    bars = walk(20_000, seed=6)
    shares = [
        np.mean(rows(PhaseEstimation(window=64, false_alarm=rate), bars)["qpe_period"] > 0.0)
        for rate in (0.01, 0.1, 0.5)
    ]
    assert shares[0] < 0.01 < shares[1] <= 0.1 < shares[2] <= 0.5


@pytest.mark.parametrize("shape", ["line", "exponential", "constant", "bend", "rounding"])
def test_trends_and_rounding_are_no_cycles(bars_of, shape):
    bar = np.arange(400.0)
    close = {
        "line": 100.0 + 0.02 * bar,
        "exponential": 100.0 * 1.001**bar,
        "constant": np.full(400, 1.1),
        "bend": 100.0 + 0.02 * np.abs(bar - 200.0),
        "rounding": 1.0
        + np.spacing(1.0) * np.array([0.0, 1, 2, 3, 3, 2, 1, 0])[bar.astype(int) % 8],
    }[shape]
    for values in rows(PhaseEstimation(), bars_of(close)).values():
        assert not values.any()


def test_no_period_is_zero_in_every_column(walk):
    row = rows(PhaseEstimation(), walk(20_000, seed=7))
    none = row["qpe_period"] == 0.0
    assert 0 < np.sum(~none) < 200
    for values in row.values():
        assert not values[none].any()
    assert (row["qpe_strength"][~none] > 0.1).all()
    assert (row["qpe_confidence"][~none] > 0.0).all()


def test_quarters_one_and_four_rise_by_the_seed_preset(bars_of):
    feature = PhaseEstimation(**PhaseEstimation.presets["seed"])
    assert (feature.window, feature.horizon, feature.direction) == (64, 10, "quarter")
    for period in (9.0, 16.0):
        row = rows(feature, bars_of(sine(300, period, phase=0.011)))
        quarter = np.floor(4.0 * (np.arange(64, 300) / period + 0.011) % 4.0)
        np.testing.assert_array_equal(row["qpe_signal"], np.where(np.isin(quarter, [0, 3]), 1, -1))
        np.testing.assert_allclose(row["qpe_confidence"], 0.95)


def test_the_horizon_signal_is_the_change_that_comes(bars_of):
    period, horizon = 27.0, 10
    close = sine(400, period, phase=0.03, drift=0.0)
    row = rows(PhaseEstimation(horizon=horizon), bars_of(close))
    known = np.arange(128, 400 - horizon)
    share = (close[known + horizon] - close[known]) / (2 * 0.5)
    clear = np.abs(share) > 0.02
    signal, confidence = row["qpe_signal"][:-horizon], row["qpe_confidence"][:-horizon]
    np.testing.assert_array_equal(signal[clear], np.sign(share)[clear])
    expected = np.minimum(np.abs(share), 0.95)
    np.testing.assert_allclose(confidence, expected, atol=0.01)
    quarter = rows(PhaseEstimation(direction="quarter"), bars_of(close))["qpe_signal"]
    assert (signal != quarter[:-horizon]).any()


def test_noise_lowers_strength_and_confidence(bars_of):
    noise = np.cumsum(np.random.default_rng(8).standard_normal(1000))
    strengths = [
        np.median(rows(PhaseEstimation(), bars_of(sine(1000, 9.0) + s * noise))["qpe_strength"])
        for s in (0.01, 0.1, 0.2)
    ]
    # Returns of the sine have the variance (2 * 0.5 * sin(pi / 9)) ** 2 / 2 = 0.0585.
    np.testing.assert_allclose(
        strengths, 0.0585 / (0.0585 + np.square([0.01, 0.1, 0.2])), atol=0.05
    )


def test_scale_and_level_do_not_matter(walk):
    bars = walk(3000, seed=3)
    feature = PhaseEstimation(window=64, false_alarm=0.2)
    row = rows(feature, bars)
    other = rows(feature, walk(3000, seed=3, price=1e-5))
    assert (row["qpe_period"] > 0.0).any()
    np.testing.assert_allclose(row["qpe_period"], other["qpe_period"], rtol=1e-6)


@pytest.mark.parametrize("feature", [PhaseEstimation(), PhaseEstimation(window=65)])
def test_a_window_alone_gives_the_bits_of_the_whole_history(bars_of, feature):
    noise = np.cumsum(np.random.default_rng(1).standard_normal(400)) * 0.15
    bars = bars_of(sine(400, 11.0) + noise)
    whole = feature.compute(Panel([bars]), {})[:, 0]
    assert np.isnan(whole[: feature.lookback - 1]).all()
    assert (whole[feature.lookback - 1 :, 0] > 0.0).any()
    for row in range(feature.lookback - 1, 400, 7):
        alone = feature.compute(Panel([bars[row - feature.lookback + 1 : row + 1]]), {}, last=1)
        np.testing.assert_array_equal(alone[0, 0], whole[row])
