from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.returns import EmaDistance, Returns
from mtquant.features.windows import ema_bars
from mtquant.market.panel import Panel


def test_returns_by_hand(bars_of):
    bars = bars_of([100.0, 110.0, 99.0, 120.0])
    result = Returns(horizons=(1, 3)).compute(Panel([bars]), {})[:, 0]
    assert np.isnan(result[:3]).all()
    np.testing.assert_allclose(result[3], [np.log(120 / 99), np.log(1.2)])


def test_default_returns_are_named_by_horizon():
    assert Returns().names == ("ret_1", "ret_5", "ret_20", "ret_60")
    assert Returns().lookback == 61


@pytest.mark.nojit
def test_ema_distance_by_hand(bars_of):
    bars = bars_of(np.append(np.full(200, 100.0), 110.0))
    # EMA 3 stands at 105 and the true range of 10, weighed 1/2, at 5: one range above, the bound.
    # EMA 4 stands at 104: 6 / 5.
    feature = EmaDistance(periods=(3, 4), atr_period=2)
    np.testing.assert_allclose(feature.compute(Panel([bars]), {})[-1, 0], [1.0, 1.2], rtol=1e-9)


def test_a_straight_line_reaches_the_bound_and_a_calm_after_it_does_not_pass_it(bars_of):
    line = 1000.0 + np.arange(1000.0)
    bars = bars_of(np.concatenate([line, np.full(600, line[-1])]))
    result = EmaDistance().compute(Panel([bars]), {})[:, 0]
    np.testing.assert_allclose(result[999], [9.5, 24.5], rtol=1e-9)
    warm = result[ema_bars(50) :]
    assert (warm <= [9.5, 24.5]).all()
    assert warm[-1, 0] == 0.0, "no range within the window"


def test_a_live_window_gives_the_bits_of_the_whole_history(walk):
    bars = walk(900, seed=6)
    for feature in (Returns(), EmaDistance()):
        whole = feature.compute(Panel([bars]), {})
        for row in range(feature.lookback - 1, 900, 17):
            window = Panel([bars[row - feature.lookback + 1 : row + 1]])
            np.testing.assert_array_equal(feature.compute(window, {}, last=1)[0], whole[row])


def test_short_horizons_add_up_to_long_ones(walk):
    result = Returns(horizons=(1, 5)).compute(Panel([walk(60)]), {})[5:, 0]
    np.testing.assert_allclose(
        result[4:, 1], np.convolve(result[:, 0], np.ones(5), "valid"), atol=1e-14
    )
