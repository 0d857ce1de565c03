"""Planted markets keep what they promise: their bars, their moments, and nothing beyond."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtquant.errors import ConfigError
from mtquant.market.gaussian import normal_cdf, normal_semivariances
from mtquant.market.planted import (
    LAWS,
    PRESETS,
    HiddenRegime,
    PlantedHistory,
    PlantedLaw,
    noise_signals,
    planted,
)
from mtquant.market.planted_history import VOLATILITY, bars_of
from mtquant.market.timeframe import Timeframe

BARS = 120_000
HOUR = 3600 * 10**9
SIZES = np.abs(np.random.default_rng(5).standard_t(5, 3_000)) * np.linspace(0.001, 0.003, 3_000)
MARKETS: dict[str, PlantedLaw] = {**PRESETS, "shuffled": planted("shuffled", sizes=SIZES)}
MARTINGALES = ("iid", "student_t", "garch", "seasonal", "shuffled", "leak_blind")
PREDICTABLE = tuple(sorted(set(MARKETS) - set(MARTINGALES)))

#: E[z^2]; of the others 1.
VARIANCES = {
    "ou_price": 2.0 / 1.995,
    "ou_price_easy": 2.0 / 1.98,
    "hidden_regime": 1.0 + 0.10**2,
    "season": 1.0 + (0.08**2 + 0.05**2) / 2.0,
    "season_easy": 1.0 + (0.16**2 + 0.10**2) / 2.0,
}


@cache
def history(name: str) -> PlantedHistory:
    return MARKETS[name].draw(2_900 if name == "shuffled" else BARS, 11)


def standard_error(values: np.ndarray) -> float:
    return float(values.std() / math.sqrt(values.size))


@pytest.mark.parametrize("name", MARKETS)
def test_a_seed_makes_one_history(name: str) -> None:
    law = MARKETS[name]
    one, same, other = law.draw(300, 7), law.draw(300, 7), law.draw(300, 8)
    assert one.bars.fingerprint() == same.bars.fingerprint() != other.bars.fingerprint()
    for column in ("moves", "mean", "down_long", "down_short", "state"):
        assert getattr(one, column).dtype == np.float64
        assert getattr(one, column).tobytes() == getattr(same, column).tobytes()
    assert one.signals.keys() == same.signals.keys()
    for signal in one.signals:
        assert one.signals[signal].tobytes() == same.signals[signal].tobytes()


@pytest.mark.parametrize("name", MARKETS)
def test_bars_are_ordinary_and_open_where_the_last_closed(name: str) -> None:
    whole = history(name)
    bars = whole.bars
    assert (bars.symbol, bars.timeframe) == ("PLANTED", Timeframe.H1)
    assert bars.when(0) == "2015-01-05T00:00:00Z" and set(np.diff(bars.time)) == {HOUR}
    assert bars.open[0] == 100.0 and (bars.open[1:] == bars.close[:-1]).all()
    assert (bars.high == np.maximum(bars.open, bars.close)).all()
    assert (bars.low == np.minimum(bars.open, bars.close)).all()
    assert (bars.close == np.round(bars.close, 5)).all()
    assert (bars.volume > 0).all() and not bars.spread.any()
    off = bars.close - bars.open * (1.0 + VOLATILITY * whole.moves)
    assert np.abs(off).max() <= 0.5000001e-5


@pytest.mark.parametrize("name", PREDICTABLE)
def test_the_next_move_has_the_mean_that_was_stated(name: str) -> None:
    whole = history(name)
    mean, after = whole.mean[:-1], whole.moves[1:]
    slope = (mean @ after) / (mean @ mean)
    error = float((after - mean).std() / math.sqrt(mean @ mean))
    assert abs(slope - 1.0) <= 3.0 * error + 1e-12
    assert error < 0.1, "too noisy to tell"
    wrong = (mean @ whole.moves[:-1]) / (mean @ mean)
    if name not in ("hidden_regime", "ou_price", "ou_price_easy", "season", "season_easy"):
        persistence = MARKETS[name].factor.phi  # type: ignore[attr-defined]
        assert abs(wrong - persistence) < 4.0 * error + 0.02, "the move itself is no guide"


@pytest.mark.parametrize("name", MARKETS)
def test_the_variance_is_the_laws(name: str) -> None:
    square = history(name).moves ** 2
    wanted = VARIANCES.get(name, 1.0)
    clusters = 3.0 if name in ("garch", "seasonal", "shuffled", "student_t") else 1.0
    assert abs(square.mean() - wanted) < 4.0 * clusters * standard_error(square)


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("side", ["down_long", "down_short"])
def test_the_downside_is_what_was_stated_in_every_state(name: str, side: str) -> None:
    whole = history(name)
    stated = getattr(whole, side)[:-1]
    after = whole.moves[1:]
    found = (np.minimum if side == "down_long" else np.maximum)(after, 0.0) ** 2
    assert (stated >= 0.0).all()
    for rows in np.array_split(np.argsort(stated, kind="stable"), 5):
        gap = found[rows] - stated[rows]
        assert abs(gap.mean()) <= 4.0 * standard_error(gap) + 1e-12
    low, high = np.quantile(stated, [0.1, 0.9])
    if name in ("garch", "seasonal", "shuffled"):
        assert high > 1.5 * low, "the variance moves and is known to move"


@given(mean=st.floats(-3, 3), deviation=st.floats(0.05, 3))
def test_normal_semivariances_are_their_integrals(mean: float, deviation: float) -> None:
    z = mean + deviation * np.linspace(-12.0, 12.0, 200_001)
    density = np.exp(-0.5 * ((z - mean) / deviation) ** 2) / (deviation * math.sqrt(2 * math.pi))
    step = z[1] - z[0]
    fall, rise = normal_semivariances(np.array(mean), deviation)
    scale = mean**2 + deviation**2
    assert fall == pytest.approx((np.minimum(z, 0) ** 2 * density).sum() * step, abs=1e-7 * scale)
    assert rise == pytest.approx((np.maximum(z, 0) ** 2 * density).sum() * step, abs=1e-7 * scale)


def test_what_is_known_has_its_own_square() -> None:
    fall, rise = normal_semivariances(np.array([-2.0, 3.0]), 0.0)
    assert fall.tolist() == [4.0, 0.0] and rise.tolist() == [0.0, 9.0]
    # Printed tables of the normal law.
    assert normal_cdf(np.array([-1.96, 0.0, 1.0])) == pytest.approx([0.0250, 0.5, 0.8413], abs=5e-5)


@pytest.mark.parametrize("name", MARTINGALES)
def test_signs_of_martingales_are_independent_of_the_past(name: str) -> None:
    whole = history(name)
    signs = np.sign(whole.moves)
    assert not whole.mean.any() and not whole.signals and MARKETS[name].martingale
    after = signs[1:]
    hour = np.arange(1, signs.size) * (2.0 * math.pi / 24.0)
    size = np.abs(whole.moves[:-1])
    for known in (signs[:-1], size - size.mean(), np.sin(hour), whole.down_long[:-1] - 0.5):
        product = after * known
        assert abs(product.mean()) <= 4.0 * standard_error(product) + 1e-12
    assert abs(signs.mean()) < 4.0 / math.sqrt(signs.size)


def test_martingales_differ_in_the_size_of_their_moves() -> None:
    def follows(name: str) -> float:
        size = np.minimum(np.abs(history(name).moves), 4.0)
        return float(np.corrcoef(size[1:], size[:-1])[0, 1])

    assert abs(follows("iid")) < 0.01 and abs(follows("student_t")) < 0.01
    assert follows("garch") > 0.05
    kurtosis = np.mean(history("student_t").moves ** 4) / np.mean(history("student_t").moves ** 2)
    assert kurtosis > 6.0
    hourly = np.abs(history("seasonal").moves).reshape(-1, 24).mean(axis=0)
    assert hourly[14] > 2.0 * hourly[0] and hourly.argmax() == 14


def test_shuffled_keeps_the_order_of_the_sizes() -> None:
    law = planted("shuffled", sizes=SIZES)
    whole = law.draw(500, 3)
    scaled = SIZES / math.sqrt(np.mean(SIZES**2))
    starts = np.flatnonzero(np.isclose(scaled, abs(whole.moves[0])))
    first = int(starts[0])
    assert np.allclose(np.abs(whole.moves), scaled[first : first + 500], rtol=1e-12)
    assert whole.down_long[-1] == pytest.approx(0.5 * scaled[first + 500] ** 2)
    assert law != planted("shuffled", sizes=SIZES)


def test_garch_variance_by_hand() -> None:
    law = planted("garch", alpha=0.2, beta=0.5)
    whole = law.draw(3, 1)
    variance = [1.0]
    for move in whole.moves:
        variance.append(0.3 + 0.2 * move**2 + 0.5 * variance[-1])
    assert (whole.down_long * 2.0).tolist() == pytest.approx(variance[1:], rel=1e-12)


def odds_by_enumeration(moves: list[float], mu: float, q: float) -> float:
    """Log odds of an upward drift in the bar after, summing over every path of the regime."""
    weight = {1: 0.0, -1: 0.0}
    for path in itertools.product((1, -1), repeat=len(moves) + 1):
        odds = 0.5
        for before, now in itertools.pairwise(path):
            odds *= q if before != now else 1.0 - q
        for regime, move in zip(path, moves, strict=False):
            odds *= math.exp(-0.5 * (move - mu * regime) ** 2)
        weight[path[-1]] += odds
    return math.log(weight[1] / weight[-1])


def test_the_belief_is_the_posterior_over_all_paths() -> None:
    law = HiddenRegime(mu=0.6, q=0.1)
    whole = law.draw(6, 2)
    for t in range(6):
        wanted = odds_by_enumeration(whole.moves[: t + 1].tolist(), 0.6, 0.1)
        assert whole.state[t] == pytest.approx(wanted, abs=1e-12)
    up = 1.0 / (1.0 + np.exp(-whole.state))
    assert whole.mean == pytest.approx(0.6 * (2.0 * up - 1.0), abs=1e-12)


@given(t=st.integers(0, 98), shift=st.floats(-9, 9))
def test_the_belief_knows_nothing_of_later_moves(t: int, shift: float) -> None:
    law = HiddenRegime()
    moves = law.draw(100, 4).moves
    altered = moves.copy()
    altered[t + 1 :] += shift
    assert law.filter(altered)[: t + 1].tobytes() == law.filter(moves)[: t + 1].tobytes()


def test_the_season_tells_the_hour_that_begins() -> None:
    whole = history("season")
    opens = whole.bars.time + HOUR
    hour = opens // HOUR % 24
    assert (whole.state == hour).all()
    by_hand = {0: 0.0, 6: 0.08, 3: 0.08 * math.sqrt(0.5) + 0.05, 15: -0.08 * math.sqrt(0.5) + 0.05}
    for at, drift in by_hand.items():
        assert whole.mean[hour == at] == pytest.approx(drift, abs=1e-12)
    assert whole.signals["day_sin"][hour == 6] == pytest.approx(1.0)


def test_the_leak_tells_the_next_move_and_the_blind_market_is_the_same() -> None:
    told, blind = history("leak"), history("leak_blind")
    assert (told.signals["next_return"][:-1] == told.moves[1:]).all()
    assert told.bars.fingerprint() == blind.bars.fingerprint() and not blind.signals


def test_an_ornstein_uhlenbeck_price_is_the_sum_of_its_moves() -> None:
    whole = history("ou_price")
    price = whole.signals["deviation"] * (0.005 * 1.995) ** -0.5
    assert np.diff(price) == pytest.approx(whole.moves[1:], abs=1e-9)
    assert abs(price.std() - 10.0) < 1.0


def test_a_blurred_alpha_is_told_with_noise_of_its_own_in_each_copy() -> None:
    whole = history("blurred_alpha")
    noise = np.stack([copy - whole.state for copy in whole.signals.values()])
    assert list(whole.signals) == ["copy_1", "copy_2", "copy_3", "copy_4"]
    among = np.corrcoef([*noise, whole.state, whole.moves])
    assert np.abs(among[:4] - np.eye(4, 6)).max() < 0.03
    np.testing.assert_allclose(noise.std(axis=1), 0.5, rtol=0.02)


def test_signals_become_instruments_of_context() -> None:
    whole = MARKETS["season"].draw(50, 1)
    context = whole.as_context(
        {**whole.signals, **noise_signals(1, 50, 1), "far": np.full(50, -50)}
    )
    assert [bars.symbol for bars in context] == ["DAYSIN", "DAYCOS", "NOISE1", "FAR"]
    sine = context[0]
    assert (sine.time == whole.bars.time).all() and sine.timeframe is Timeframe.H1
    assert sine.close == pytest.approx(1000.0 + 100.0 * whole.signals["day_sin"])
    assert all(
        np.shares_memory(sine.close, getattr(sine, name)) for name in ("open", "high", "low")
    )
    assert np.shares_memory(sine.time, whole.bars.time)
    assert (context[-1].close == 1.0).all()
    assert [bars.symbol for bars in whole.as_context()] == ["DAYSIN", "DAYCOS"]


def test_noise_is_an_autoregression_that_carries_nothing() -> None:
    noise = noise_signals(3, BARS, 11, phi=0.8)
    assert list(noise) == ["noise_1", "noise_2", "noise_3"]
    for column in noise.values():
        assert abs(column.std() - 1.0) < 0.03
        assert abs(np.corrcoef(column[1:], column[:-1])[0, 1] - 0.8) < 0.01
        for name in ("iid", "slow_alpha"):
            assert abs(np.corrcoef(column[:-1], history(name).moves[1:])[0, 1]) < 0.012
    assert abs(np.corrcoef(noise["noise_1"], noise["noise_2"])[0, 1]) < 0.03
    assert (
        noise_signals(3, 50, 2)["noise_2"].tobytes() == noise_signals(2, 50, 2)["noise_2"].tobytes()
    )


def test_a_stretch_keeps_its_rows_together() -> None:
    whole = MARKETS["slow_alpha"].draw(100, 1)
    cut = whole[40:60]
    assert len(cut) == 20 and cut.law is whole.law and cut.bars.time[0] == whole.bars.time[40]
    assert (cut.mean == whole.mean[40:60]).all() and (cut.moves == whole.moves[40:60]).all()
    assert (cut.signals["alpha"] == whole.signals["alpha"][40:60]).all()


def test_every_law_has_a_market_of_its_name_and_easy_ones_a_stronger_edge() -> None:
    assert set(LAWS) - {"shuffled"} <= set(PRESETS)
    for name in ("lead_lag", "slow_alpha", "ou_price", "season"):
        assert history(f"{name}_easy").mean.std() > 1.5 * history(name).mean.std()
    assert planted("slow_alpha", rho=0.07, cost=0.2).cost == 0.2


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("slow_alfa", {}, "did you mean 'slow_alpha'"),
        ("slow_alpha", {"roh": 0.1}, "unknown parameter .* 'roh'; did you mean 'rho'"),
        ("slow_alpha", {"phi": 1.0}, "phi 1.0 of planted market SlowAlpha must lie in 0.0..0.999"),
        ("lead_lag", {"rho": math.nan}, "rho nan"),
        ("lead_lag", {"cost": -0.1}, "cost -0.1"),
        ("lead_lag", {"cost_quadratic": 0.1}, "set one of them to 0"),
        ("ou_price", {"k": 0.0}, "k 0.0"),
        ("hidden_regime", {"q": 0.5}, "q 0.5"),
        ("season", {"a": math.inf}, "a inf"),
        ("garch", {"alpha": 0.2, "beta": 0.8}, "beta 0.8"),
        ("student_t", {"freedom": 2.0}, "freedom 2.0"),
        ("shuffled", {}, "needs the parameter sizes"),
        ("shuffled", {"sizes": np.zeros(9)}, "finite returns, not all 0"),
    ],
)
def test_impossible_markets_are_refused(name: str, changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        planted(name, **changes)


def test_impossible_histories_are_refused() -> None:
    law = MARKETS["iid"]
    for n_bars, seed in ((1, 1), (2_000_001, 1), (10, -1)):
        with pytest.raises(ConfigError, match=r"2\.\.2000000 bars and a seed >= 0"):
            law.draw(n_bars, seed)
    with pytest.raises(ConfigError, match="3000 bars of Shuffled need 3001 sizes"):
        MARKETS["shuffled"].draw(3_000, 1)
    with pytest.raises(ConfigError, match=r"falls below 1\.0"):
        bars_of(np.full(5_000, -1.0))
    with pytest.raises(ConfigError, match=r"inside -1\.\.1"):
        noise_signals(1, 10, 1, phi=1.0)
    whole = law.draw(10, 1)
    for name, column in (("x", np.zeros(10)), ("planted", np.zeros(10)), ("ok", np.zeros(9))):
        with pytest.raises(ConfigError, match=f"signal '{name}'"):
            whole.as_context({name: column})
    with pytest.raises(ConfigError, match="name of its own"):
        whole.as_context({"a_b": np.zeros(10), "ab": np.zeros(10)})
