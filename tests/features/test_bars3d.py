from __future__ import annotations

import numpy as np
import pytest

from mtquant.features.bars3d import Bars3D, colours
from mtquant.market.bars import Bars
from mtquant.market.panel import Panel
from mtquant.market.timeframe import Timeframe

# open, high, low, close; body over range on the right.
TABLE = [
    (10.0, 12.0, 9.0, 11.0),  # 1/3 green
    (11.0, 13.0, 11.0, 12.0),  # 1/2 green
    (12.0, 14.0, 12.0, 13.0),  # 1/2 green
    (13.0, 14.0, 12.0, 13.5),  # 1/4 yellow
    (13.5, 14.0, 12.0, 13.0),  # 1/4 yellow
    (13.0, 13.0, 13.0, 13.0),  # no range, yellow
    (13.0, 15.0, 12.5, 14.5),  # 3/5 green, closes above the yellow cluster
    (14.5, 14.5, 11.0, 11.5),  # 6/7 red, closes below it
    (11.5, 12.0, 11.0, 11.9),  # 2/5 green
]


def bars_from(rows):
    opened, high, low, close = np.array(rows, np.float64).T
    time = np.arange(len(rows)) * Timeframe.H1.nanoseconds
    none = np.zeros(len(rows))
    return Bars("XAUUSD", Timeframe.H1, time, opened, high, low, close, none, none)


def compute(bars, params=None, **given):
    feature = Bars3D(**given)
    values = feature.compute(Panel([bars]), {"XAUUSD": params or {}})[:, 0]
    assert np.isnan(values[: feature.window - 1]).all()
    return dict(zip(feature.names, values[feature.window - 1 :].T, strict=True))


@pytest.mark.nojit
def test_seed_by_hand():
    found = compute(bars_from(TABLE), **{**Bars3D.presets["seed"], "window": 5})
    # Ranges 3, 2, 2: mean 7/3, variance 2/9. Ranges 2, 2, 0: mean 4/3, variance 8/9.
    green = 1.0 / (1.0 + np.sqrt(2.0) / 7.0)
    yellow = 1.0 / (1.0 + np.sqrt(0.5))
    leaves = 0.7 + 0.2 * yellow
    expected = {
        # Rows 4 to 8: the old green cluster, the yellow one, left above, left below, none.
        "bar_colour": [0, 0, 1, -1, 1],
        "run_length": [2, 3, 1, 1, 1],
        "cluster_yellow": [0, 1, 1, 1, 0],
        "cluster_green": [1, 0, 0, 0, 0],
        "cluster_red": [0, 0, 0, 0, 0],
        "cluster_strength": [green, yellow, yellow, yellow, 0],
        "cluster_direction": [1, 0, 0, 0, 0],
        "breakout_probability": [0.4 + 0.2 * green, leaves, leaves, leaves, 0],
        "bars3d_signal": [1, 0, 1, -1, 0],
        "bars3d_confidence": [0.7 * green, 0, leaves, leaves, 0],
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-12, err_msg=name)


def test_a_body_of_three_tenths_is_coloured():
    rows = [(10.0, 20.0, 10.0, 13.0), (13.0, 20.0, 10.0, 10.0), (10.0, 20.0, 10.0, 12.9)]
    np.testing.assert_array_equal(colours(bars_from(rows)), [1.0, -1.0, 0.0])


ONE = {"G": (1.0, 2.0, 1.0, 2.0), "R": (2.0, 2.0, 1.0, 1.0), "Y": (1.0, 2.0, 1.0, 1.1)}


@pytest.mark.parametrize(
    ("bars", "mixed", "kind", "run"),
    [
        ("GRGRRRGG", False, "R", 2),
        ("GRRRRGGG", False, "G", 3),
        ("GRGGYRGG", False, "", 2),
        ("YYYYYYYY", False, "Y", 8),
        # Yellow may stand among coloured ones, and the shares decide.
        ("GRRGGYGG", True, "G", 5),
        ("GGGRYRRR", True, "R", 5),
        ("RGGRYRYY", True, "Y", 5),
        ("GRRGYGYG", True, "", 5),  # Exactly 0.6 green.
        ("GRGRGYYG", True, "", 4),  # Exactly 0.5 yellow.
        ("GGGGRRGR", True, "G", 1),
    ],
)
def test_kind_of_the_newest_cluster(bars, mixed, kind, run):
    found = compute(bars_from([ONE[x] for x in bars]), window=8, mixed=mixed)
    assert found["run_length"][-1] == run
    names = {"Y": "cluster_yellow", "G": "cluster_green", "R": "cluster_red"}
    assert {x: found[n][-1] for x, n in names.items()} == {x: float(x == kind) for x in names}
    assert (found["cluster_strength"][-1] == 0.0) == (bars == "GRGGYRGG")


def naive_shares(bars, horizon, prior, least=3, window=50):
    """Breakouts of every cluster at its newest bar, counted one by one."""
    colour, cases = colours(bars), []
    for row in range(window - 1, len(bars) - horizon):
        first = row
        while first > row - window + 1 and colour[first - 1] == colour[row]:
            first -= 1
        if row - first + 1 < least:
            continue
        run = slice(first, row + 1)
        ranges = (bars.high - bars.low)[run]
        later = bars.close[row + 1 : row + 1 + horizon]
        broken = later.max() > bars.high[run].max() or later.min() < bars.low[run].min()
        cases.append((colour[row] == 0.0, 1.0 / (1.0 + ranges.std() / ranges.mean()), broken))
    yellow, strength, broken = np.array(cases).T
    limits = np.quantile(strength, [1 / 3, 2 / 3])
    shares = {}
    for name, kind in (("yellow", 1.0), ("other", 0.0)):
        shares[name] = []
        for low, high in zip([0.0, *limits], [*limits, 2.0], strict=True):
            cell = broken[(yellow == kind) & (strength >= low) & (strength < high)]
            shares[name].append((cell.sum() + prior * broken.mean()) / (cell.size + prior))
    return limits, shares


@pytest.mark.parametrize("horizon", [1, 3, 12])
def test_learned_shares_are_those_counted_one_by_one(walk, horizon):
    bars = walk(1500, seed=4)
    learned = Bars3D(horizon=horizon, prior=20.0).learn(bars)
    limits, shares = naive_shares(bars, horizon, 20.0)
    np.testing.assert_allclose(learned["limits"], limits)
    np.testing.assert_allclose(learned["yellow"], shares["yellow"])
    np.testing.assert_allclose(learned["other"], shares["other"])


def test_only_whole_horizons_inside_the_training_split_count():
    rows = [ONE["G"], ONE["R"]] * 3 + [(1.0, 2.0, 1.0, 2.0), (1.0, 2.0, 1.0, 2.0), ONE["G"]]
    leaving = [(2.0, 3.0, 2.0, 2.1), (2.0, 3.0, 2.0, 2.9)]
    short = Bars3D(window=5, horizon=2).learn(bars_from([*rows, leaving[0]]))
    whole = Bars3D(window=5, horizon=2).learn(bars_from([*rows, *leaving]))
    assert short == {}
    assert whole["other"] == [1.0, 1.0, 1.0]


def test_learned_shares_take_the_place_of_the_constants():
    learned = {"limits": [0.7, 0.9], "yellow": [0.1, 0.2, 0.3], "other": [0.4, 0.5, 0.6]}
    found = compute(bars_from(TABLE), learned, window=5)
    # Strengths 0.83 (green) and 0.59 (yellow).
    np.testing.assert_array_equal(found["breakout_probability"], [0.5, 0.1, 0.1, 0.1, 0.0])
    np.testing.assert_array_equal(found["bars3d_confidence"][1:4], [0.0, 0.1, 0.1])
    seed = compute(bars_from(TABLE), learned, window=5, calibrated=False)
    assert seed["breakout_probability"][0] > 0.56


def test_confidence_has_a_ceiling():
    learned = {"limits": [0.7, 0.9], "yellow": [1.0, 1.0, 1.0], "other": [1.0, 1.0, 1.0]}
    found = compute(bars_from(TABLE), learned, window=5)
    np.testing.assert_array_equal(found["breakout_probability"][1:4], 1.0)
    np.testing.assert_array_equal(found["bars3d_confidence"][2:4], 0.95)


def test_a_flat_market_is_one_yellow_cluster_that_points_nowhere(bars_of):
    bars = bars_of(np.full(200, 5.0))
    feature = Bars3D()
    found = compute(bars, feature.learn(bars))
    last = {name: column[-1] for name, column in found.items()}
    assert (last["cluster_yellow"], last["run_length"]) == (1.0, 50.0)
    assert last["breakout_probability"] == 0.0
    assert (last["bars3d_signal"], last["bars3d_confidence"]) == (0.0, 0.0)
