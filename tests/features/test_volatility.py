from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.registry import make_feature
from mtquant.features.volatility import RealisedVolatility
from mtquant.market.panel import Panel


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
