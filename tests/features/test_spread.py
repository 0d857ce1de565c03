from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.spread import SpreadRatio
from mtquant.market.panel import Panel


@pytest.mark.nojit
def test_spread_over_the_median_of_the_recorded_ones(bars_of):
    spread = np.array([10.0, 0.0, 30.0, -5.0, 40.0, 0.0])
    bars = bars_of(np.ones(6), spread=spread)
    result = SpreadRatio(period=4).compute(Panel([bars]), {})[:, 0, 0]
    # Windows of four end at 0, 0, 30 (10, 30), none, 40 (30, 40), none.
    assert np.isnan(result[:3]).all()
    np.testing.assert_allclose(result[3:], [0.0, np.log(40.0 / 35.0), 0.0])


def test_a_file_without_spreads_gives_a_silent_column(bars_of):
    result = SpreadRatio().compute(Panel([bars_of(np.ones(150))]), {})[:, 0, 0]
    assert (result[119:] == 0.0).all()


def test_point_size_does_not_matter(walk, bars_of):
    bars = walk(400)
    finer = bars_of(bars.close, spread=bars.spread * 10.0)
    a, b = (SpreadRatio().compute(Panel([x]), {}) for x in (bars, finer))
    np.testing.assert_allclose(a, b, atol=1e-15)
