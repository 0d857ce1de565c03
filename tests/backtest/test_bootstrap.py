"""Blocks are drawn whole, every row equally often, and intervals hold what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mtquant.backtest import bootstrap
from mtquant.backtest.bootstrap import (
    block_bootstrap,
    block_length,
    confidence_interval,
    mean,
    sharpe,
    sortino,
)
from mtquant.errors import ConfigError


def drawn(n: int, block: float, paths: int, seed: int = 0, **options) -> np.ndarray:
    parts = block_bootstrap(n, block, paths, np.random.default_rng(seed), **options)
    return np.concatenate(list(parts))


@pytest.mark.parametrize("stationary", [True, False])
@pytest.mark.parametrize("block", [1, 4, 7])
def test_every_row_is_drawn_equally_often(stationary, block):
    rows = drawn(20, block, 20_000, stationary=stationary, length=10)
    assert rows.shape == (20_000, 10) and rows.dtype == np.int64
    # Independent blocks: their number bounds the error of a count at one place of the paths.
    for place in (0, 3, 9):
        share = np.bincount(rows[:, place], minlength=20) / 20_000
        assert np.abs(share - 0.05).max() < 5 * math.sqrt(0.05 * 0.95 / 20_000)


def test_a_stationary_block_goes_on_with_the_right_probability():
    rows = drawn(1000, 5.0, 400)
    on = (np.diff(rows, axis=1) % 1000) == 1
    # 1 - 1/5, and once in a thousand a new block begins where the old one would go on.
    assert on.mean() == pytest.approx(0.8 + 0.2 / 1000, abs=0.004)
    assert (rows[1:, 0] == (rows[:-1, -1] + 1) % 1000).mean() < 0.02, "a path begins anew"


def test_a_fixed_block_is_whole_and_goes_on_from_the_last_row_to_the_first():
    rows = drawn(10, 4, 300, stationary=False, length=11)
    for block in (rows[:, :4], rows[:, 4:8], rows[:, 8:]):
        assert (np.diff(block, axis=1) % 10 == 1).all()
    assert ((rows[:, 3] == 0) & (rows[:, 2] == 9)).any()
    assert (np.diff(rows[:, 3:5], axis=1) % 10 != 1).any()


def test_blocks_keep_what_single_rows_lose():
    rng = np.random.default_rng(1)
    values = np.convolve(rng.standard_normal(1019), np.ones(20) / 20, mode="valid")
    centred = values - values.mean()

    def autocorrelation(block: float) -> float:
        paths = centred[drawn(1000, block, 200)]
        return float((paths[:, 1:] * paths[:, :-1]).mean() / (paths**2).mean())

    own = float((centred[1:] * centred[:-1]).mean() / (centred**2).mean())
    assert autocorrelation(50.0) == pytest.approx(own * 0.98, abs=0.02)
    assert abs(autocorrelation(1.0)) < 0.02


def test_paths_of_many_parts_are_one_draw_and_seeds_repeat(monkeypatch):
    assert np.array_equal(drawn(50, 3.0, 40, seed=2), drawn(50, 3.0, 40, seed=2))
    assert not np.array_equal(drawn(50, 3.0, 40, seed=2), drawn(50, 3.0, 40, seed=3))
    monkeypatch.setattr(bootstrap, "ROWS_AT_ONCE", 120)
    parts = list(block_bootstrap(50, 3.0, 7, np.random.default_rng(0)))
    assert [part.shape for part in parts] == [(2, 50)] * 3 + [(1, 50)]


@pytest.mark.parametrize(
    ("n", "block", "paths", "stationary"),
    [
        (0, 2.0, 5, True),
        (5, 0.5, 5, True),
        (5, math.nan, 5, True),
        (5, 2.5, 5, False),
        (5, 2.0, 0, True),
    ],
)
def test_nothing_to_draw_is_refused(n, block, paths, stationary):
    with pytest.raises(ConfigError, match="cannot draw"):
        next(block_bootstrap(n, block, paths, np.random.default_rng(0), stationary=stationary))


def autoregressive(rho: float, n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(n + 99)
    return np.convolve(noise, rho ** np.arange(100.0), mode="valid")


@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_block_length_of_an_autoregression_is_the_known_one(rho):
    """For lag 1 the rule's optimum is ``(2 rho / (1 - rho^2))^(2/3) n^(1/3)``."""
    found = np.median([block_length(autoregressive(rho, 40_000, seed)) for seed in range(11)])
    known = (2 * rho / (1 - rho**2)) ** (2 / 3) * 40_000 ** (1 / 3)
    assert found == pytest.approx(known, rel=0.06)


def test_block_length_of_nothing_to_keep():
    noise = np.random.default_rng(3).standard_normal(2000)
    assert 1.0 <= block_length(noise) < 4.0
    assert block_length(noise + 1e6) == pytest.approx(block_length(noise), rel=1e-3)
    assert block_length(np.full(100, 0.01)) == 1.0 and block_length(noise[:5]) == 1.0
    assert block_length(np.arange(300.0)) <= 3 * math.sqrt(300)


def test_the_interval_of_an_independent_mean_is_the_textbook_s():
    values = 0.1 + np.random.default_rng(4).standard_normal(1000)
    found = confidence_interval(values, mean, np.random.default_rng(0), block=1.0)
    error = values.std() / math.sqrt(1000)
    assert found.value == values.mean()
    assert found.error == pytest.approx(error, rel=0.07)
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.15 * error)


def test_the_error_of_a_dependent_mean_needs_blocks():
    """The mean of an autoregression errs ``1 / (1 - rho) / sqrt(n)``, twice as much as alone."""
    values = autoregressive(0.6, 5000, 5)
    blocks = confidence_interval(values, mean, np.random.default_rng(0), paths=500)
    rows = confidence_interval(values, mean, np.random.default_rng(0), paths=500, block=1.0)
    assert blocks.error == pytest.approx(2.5 / math.sqrt(5000), rel=0.2)
    assert rows.error == pytest.approx(1.25 / math.sqrt(5000), rel=0.2)


def test_the_error_of_a_sharpe_ratio_is_mertens_s():
    """``sqrt((1 + SR^2 / 2) / n)`` for independent normal returns."""
    values = 0.3 + np.random.default_rng(6).standard_normal(2000)
    found = confidence_interval(values, sharpe, np.random.default_rng(0), block=1.0)
    assert found.error == pytest.approx(math.sqrt((1 + 0.3**2 / 2) / 2000), rel=0.1)
    assert found.value == pytest.approx(values.mean() / values.std(ddof=1))
    assert found.low < 0.3 < found.high


def test_statistics_by_hand_and_at_their_ends():
    rows = np.array([[0.01, -0.01, 0.03, -0.02], [0.01, 0.02, 0.01, 0.02], [0.0, 0.0, 0.0, 0.0]])
    assert mean(rows) == pytest.approx([0.0025, 0.015, 0.0])
    downside = math.sqrt((0.01**2 + 0.02**2) / 4)
    assert sortino(rows) == pytest.approx([0.0025 / downside, math.inf, 0.0])
    deviation = math.sqrt((0.0075**2 + 0.0125**2 + 0.0275**2 + 0.0225**2) / 3)
    assert sharpe(rows)[0] == pytest.approx(0.0025 / deviation)
    assert sharpe(np.full(5, -0.01)) == -math.inf


def test_a_series_that_hardly_loses_has_an_open_interval():
    values = np.full(30, 0.01)
    values[3] = -0.001
    found = confidence_interval(values, sortino, np.random.default_rng(0), block=1.0, paths=300)
    assert math.isfinite(found.value) and math.isfinite(found.low)
    assert found.high == math.inf and found.error == math.inf
