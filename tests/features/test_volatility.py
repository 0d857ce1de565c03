from __future__ import annotations

import math

import numpy as np
import pytest

from mtquant.features.ranges import GarmanKlass, Parkinson, RangeToAtr, YangZhang
from mtquant.features.registry import make_feature
from mtquant.features.volatility import AtrRegime, RealisedVolatility, VolatilityAnalyser
from mtquant.market.panel import Panel

LN2 = math.log(2.0)
Q = 13.0 / 14.0
EVERY = (Parkinson(), GarmanKlass(), YangZhang(), RangeToAtr(), AtrRegime(), VolatilityAnalyser())


def values(feature, bars, last=None):
    return feature.compute(Panel([bars]), {}, last)[:, 0]


@pytest.mark.nojit
def test_volatility_by_hand(bars_of):
    bars = bars_of(100.0 * np.exp(np.cumsum([0.0, 0.01, -0.03, 0.04, 0.0])))
    result = RealisedVolatility(short=2, long=4).compute(Panel([bars]), {})[:, 0]
    assert np.isnan(result[:4]).all()
    short, long = 0.04 / np.sqrt(2), np.sqrt((1 + 9 + 16) * 1e-4 / 4)
    np.testing.assert_allclose(result[4], [short, long, short / long], rtol=1e-12)


def test_ratio_is_one_where_nothing_moves_and_at_its_bound_where_only_now_something_does(bars_of):
    bars = bars_of(np.append(np.full(150, 5.0), 6.0))
    feature = make_feature("realised_volatility")
    ratio = feature.compute(Panel([bars]), {})[:, 0, 2]
    assert ratio[-2] == 1.0
    assert ratio[-1] == pytest.approx(np.sqrt(5.0))
    assert ratio[-1] <= feature.columns[2].high


@pytest.fixture
def four_bars(bars_of):
    """Log prices in hundredths; the first bar only has a close, at 0."""
    opened, high, low, close = 2000.0 * np.exp(
        0.01 * np.array([[0, 0, 2, 3], [0, 3, 5, 5], [0, -1, 0, 1], [0, 2, 1, 4]])
    )
    return bars_of(close, open=opened, high=high, low=low)


@pytest.mark.nojit
def test_parkinson_by_hand(four_bars):
    # Ranges 4, 5, 4.
    expected = 0.01 * math.sqrt((16 + 25 + 16) / 3 / (4 * LN2))
    assert values(Parkinson(period=3), four_bars)[-1, 0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.nojit
def test_garman_klass_by_hand(four_bars):
    # Ranges 4, 5, 4 and bodies 2, -1, 1.
    expected = 0.01 * math.sqrt(0.5 * 57 / 3 - (2 * LN2 - 1) * (4 + 1 + 1) / 3)
    assert values(GarmanKlass(period=3), four_bars)[-1, 0] == pytest.approx(expected, rel=1e-10)


@pytest.mark.nojit
def test_yang_zhang_by_hand(four_bars):
    # Gaps 0, 0, 2 with the mean 2/3; bodies 2, -1, 1 with the mean 2/3.
    gaps = ((2 / 3) ** 2 + (2 / 3) ** 2 + (4 / 3) ** 2) / 2
    bodies = ((4 / 3) ** 2 + (5 / 3) ** 2 + (1 / 3) ** 2) / 2
    # u (u - c) + d (d - c), from each bar's own open.
    within = ((3 * 1 + 1 * 3) + (3 * 4 + 2 * 1) + (2 * 1 + 2 * 3)) / 3
    k = 0.34 / (1.34 + 4 / 2)
    expected = 0.01 * math.sqrt(gaps + k * bodies + (1 - k) * within)
    result = values(YangZhang(period=3), four_bars)[:, 0]
    assert np.isnan(result[:3]).all()
    assert result[3] == pytest.approx(expected, rel=1e-10)


def test_a_close_outside_its_bar_gives_no_negative_variance(bars_of):
    prices = {"open": 100.0, "high": 101.0, "low": 100.0}
    columns = {name: np.full(30, price) for name, price in prices.items()}
    faulty = bars_of(np.full(30, 110.0), **columns)
    assert (values(GarmanKlass(), faulty)[19:] == 0.0).all()


STEPS, SIGMA = 400, 0.01


@pytest.fixture(scope="module")
def paths():
    """Log prices within 10,000 bars of a driftless diffusion, from the open of each: ``[T, n]``."""
    rng = np.random.default_rng(11)
    steps = rng.standard_normal((10_000, STEPS), dtype=np.float32) * (SIGMA / math.sqrt(STEPS))
    return np.cumsum(steps, axis=1, dtype=np.float64)


def bars_from(bars_of, paths, gaps=0.0):
    """Bars of the paths laid end to end, with these gaps (log) before each."""
    body = paths[:, -1]
    opened = np.concatenate([[0.0], np.cumsum(body[:-1])]) + np.cumsum(
        np.broadcast_to(gaps, body.shape)
    )
    return bars_of(
        np.exp(opened + body),
        open=np.exp(opened),
        high=np.exp(opened + np.maximum(paths.max(axis=1), 0.0)),
        low=np.exp(opened + np.minimum(paths.min(axis=1), 0.0)),
    )


def variances(feature, bars):
    """Estimates of the variance from windows that share no bar."""
    return values(feature, bars)[40::20, 0] ** 2


@pytest.mark.parametrize(
    ("feature", "loss", "efficiency"),
    [(Parkinson(), 0.67, 4.0), (GarmanKlass(), 0.93, 5.5), (YangZhang(), 0.80, 5.5)],
)
def test_estimators_find_the_volatility_of_a_diffusion(bars_of, paths, feature, loss, efficiency):
    bars = bars_from(bars_of, paths)
    found = variances(feature, bars)
    # A path seen at n moments lacks 0.58 / sqrt(n) deviations at either end of its range.
    expected = SIGMA * (1.0 - loss / math.sqrt(STEPS))
    assert math.sqrt(found.mean()) == pytest.approx(expected, rel=0.01)
    closes = variances(RealisedVolatility(short=20, long=21), bars)
    assert math.sqrt(closes.mean()) == pytest.approx(SIGMA, rel=0.02)
    relative = (closes.var() / closes.mean() ** 2) / (found.var() / found.mean() ** 2)
    assert relative > efficiency


def test_only_yang_zhang_sees_gaps_and_only_it_is_free_of_drift(bars_of, paths):
    gaps = SIGMA * np.random.default_rng(5).standard_normal(len(paths))
    jumping = bars_from(bars_of, paths, gaps)
    drifting = bars_from(bars_of, paths + 2.0 * SIGMA * np.arange(1, STEPS + 1) / STEPS)
    plain = bars_from(bars_of, paths)

    def size(feature, bars):
        return math.sqrt(variances(feature, bars).mean())

    for feature in (Parkinson(), GarmanKlass()):
        assert size(feature, jumping) == pytest.approx(size(feature, plain), rel=1e-6)
        assert size(feature, drifting) > 1.2 * size(feature, plain)
    assert size(YangZhang(), jumping) == pytest.approx(math.sqrt(2.0) * SIGMA, rel=0.04)
    assert size(YangZhang(), drifting) == pytest.approx(size(YangZhang(), plain), rel=0.03)


def ranged(bars_of, spans, close=None):
    """Bars whose true range is each span, around a constant close unless one is given."""
    spans = np.asarray(spans, np.float64)
    close = np.full(spans.size, 1000.0) if close is None else np.asarray(close, np.float64)
    return bars_of(close, high=1000.0 + spans / 2.0, low=1000.0 - spans / 2.0)


@pytest.mark.nojit
def test_range_to_atr_by_hand(bars_of):
    spans = np.concatenate([np.full(120, 2.0), [2.0, 4.0, 0.0, 0.001]])
    # Weights 1/2, 1/4, ...: ATR 2, 3, 1.5; nothing, and less than a hundredth, stand at the floor.
    result = values(RangeToAtr(period=2), ranged(bars_of, spans))[-4:, 0]
    expected = [0.0, math.log(4 / 3), math.log(0.01), math.log(0.01)]
    np.testing.assert_allclose(result, expected, atol=1e-9)
    waking = values(RangeToAtr(), ranged(bars_of, np.append(np.zeros(400), 5.0)))
    assert waking[-2, 0] == 0.0, "no range at all"
    assert waking[-1, 0] == pytest.approx(math.log(14.0)) and waking[-1, 0] <= math.log(14.0)


@pytest.mark.nojit
def test_atr_regime_by_hand(bars_of):
    spans = np.concatenate([np.full(120, 2.0), [2.0, 12.0, 2.0]])
    feature = AtrRegime(period=2, mean_period=2, high=1.5, low=0.8)
    # ATR 2, 7, 4.5 over the means 2, 4.5, 5.75.
    expected = [[1.0, 0.5], [7 / 4.5, 1.0], [4.5 / 5.75, 0.0]]
    np.testing.assert_allclose(values(feature, ranged(bars_of, spans))[-3:], expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("tail", "ratio", "level"),
    [
        ([10.0], 1.0, 0.5),
        # One range of w times the usual: (13 + w) / 14 over 1 + (w - 1) / 700.
        ([80.0], 1.485149, 0.5),
        ([90.0], 1.553672, 1.0),
        # No range for j bars: Q^j over (50 - j + 13 (1 - Q^j)) / 50; 0.509 and 0.478.
        ([0.0] * 10, 50 * Q**10 / (40 + 13 * (1 - Q**10)), 0.5),
        ([0.0] * 11, 50 * Q**11 / (39 + 13 * (1 - Q**11)), 0.0),
    ],
)
def test_the_seeds_regime(bars_of, tail, ratio, level):
    feature = AtrRegime(**AtrRegime.presets["seed"])
    bars = ranged(bars_of, [*[10.0] * 500, *tail])
    np.testing.assert_allclose(values(feature, bars)[-1], [ratio, level], atol=1e-6)


# The last k of 20 closes lie on one side of two prices: position 0.5 sqrt((20 - k) / k).
SEED_TABLE = [
    # k, position, confidence in a NORMAL market, in a HIGH one
    (1, 2.1794495, 0.95, 0.8287119),
    (2, 1.5, 0.9, 0.72),
    (5, 0.8660254, 0.7732051, 0.6185641),
    (6, 0.7637626, 0.0, 0.0),
    (10, 0.5, 0.0, 0.0),
]


@pytest.mark.parametrize(("k", "position", "normal", "high"), SEED_TABLE)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_seeds_analyser(bars_of, k, position, normal, high, side):
    feature = VolatilityAnalyser(**VolatilityAnalyser.presets["seed"])
    close = np.full(500, 1000.0 - side)
    close[-k:] = 1000.0 + side
    signal = -side if position > 0.8 else 0.0
    spans = np.full(500, 10.0)
    quiet = values(feature, ranged(bars_of, spans, close))[-1]
    np.testing.assert_allclose(quiet, [signal, normal], atol=1e-6)
    spans[-1] = 200.0
    wild = values(feature, ranged(bars_of, spans, close))[-1]
    np.testing.assert_allclose(wild, [signal, high], atol=1e-6)


def test_the_seeds_constants_are_the_defaults():
    assert VolatilityAnalyser().parameters() == {
        "period": 20,
        "width": 2.0,
        "threshold": 0.8,
        "atr_period": 14,
        "mean_period": 50,
        "high": 1.5,
    }
    assert VolatilityAnalyser(**VolatilityAnalyser.presets["seed"]) == VolatilityAnalyser()
    assert AtrRegime(**AtrRegime.presets["seed"]) == AtrRegime()
    assert VolatilityAnalyser().names == ("volatility_signal", "volatility_confidence")
    assert AtrRegime().names == ("atr_ratio", "atr_level")


@pytest.mark.parametrize("feature", EVERY, ids=lambda feature: feature.key)
def test_a_live_window_gives_the_bits_of_the_whole_history(walk, feature):
    bars = walk(800, seed=6, volatility=0.01)
    whole = values(feature, bars)
    assert np.isnan(whole[: feature.lookback - 1]).all()
    for row in range(feature.lookback - 1, 800, 13):
        window = bars[row - feature.lookback + 1 : row + 1]
        np.testing.assert_array_equal(values(feature, window, last=1)[0], whole[row])


@pytest.mark.parametrize("feature", EVERY, ids=lambda feature: feature.key)
def test_a_flat_market_after_a_storm_is_neutral(bars_of, walk, feature):
    storm = walk(400, volatility=0.2)
    still = np.full(600, storm.close[-1])
    bars = bars_of(np.concatenate([storm.close, still]))
    neutral = {"atr_regime": [1.0, 0.5], "volatility_signal": [0.0, 0.0]}
    assert values(feature, bars)[-1].tolist() == neutral.get(feature.key, [0.0])
