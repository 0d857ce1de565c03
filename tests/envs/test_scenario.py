from __future__ import annotations

import numpy as np
import pytest

from mtquant.agents.rules import RsiReversion
from mtquant.config.data import given_market
from mtquant.envs.scenario import Scenario, resolve_env
from mtquant.errors import ConfigError, DataError
from mtquant.features.observed import observed_features
from mtquant.sim.simulator import Simulator


def test_the_rewards_g_has_unit_deviation_at_full_size(gold_scenario):
    """Buying full size and holding it on the training split, whatever it costs."""
    simulator = gold_scenario.simulator("train", training=False)
    simulator.reset()
    first, last = gold_scenario.rows("train")
    gross = []
    tape = simulator.tape
    for row in range(max(first, gold_scenario.first_row), last - 1):
        before = simulator.book.account["equity"][0]
        simulator.step_lane(0, np.ones((1, 1), np.float32))
        steps = simulator.book.positions["steps"][0, 0]
        move = (tape.market["close"][row + 2, 0] - tape.market["close"][row + 1, 0]) * 0.01
        gross.append(steps * move / (before * gold_scenario.reward_scale))
    held = np.array(gross)
    assert held.size > 1_000
    assert 0.85 < held.std() < 1.15


def test_nothing_is_learned_from_later_bars(gold_bars):
    """Other validation and test bars leave features, scaler and reward unit as they were."""
    config = resolve_env("xauusd_h1")
    plain = Scenario.fit(config, given_market(config, gold_bars))
    frame = gold_bars.to_frame()
    cut = plain.splits.train[1] + 1
    frame.loc[cut:, ["open", "high", "low", "close"]] *= 3.0
    altered = type(gold_bars).from_frame(frame, "XAUUSD", gold_bars.timeframe)
    other = Scenario.fit(config, given_market(config, altered))
    assert other.pipeline.to_dict() == plain.pipeline.to_dict()
    assert other.reward_scale == plain.reward_scale
    np.testing.assert_array_equal(other.features()[:cut], plain.features()[:cut])
    assert not np.array_equal(other.features()[cut:], plain.features()[cut:])


def test_features_are_finite_from_the_first_row_on(gold_scenario):
    features = gold_scenario.features()
    assert np.isfinite(features[gold_scenario.first_row :]).all()
    assert np.abs(features[gold_scenario.first_row :]).max() <= 5.0


def test_an_agent_sees_its_own_inputs_raw(gold_scenario):
    columns = gold_scenario.features(RsiReversion())
    assert columns.shape == (4_000, 1)
    seen = columns[gold_scenario.first_row :, 0]
    assert 0.0 <= seen.min() < 40.0 < 60.0 < seen.max() <= 100.0


class Windowed(RsiReversion):
    """Sees three bars at once."""

    window = 3


def test_a_window_is_the_last_bars_oldest_first(gold_scenario):
    rows, row = gold_scenario.features(Windowed()), gold_scenario.first_row + 50
    tape = gold_scenario.tape(rows, gold_scenario.rows("all"), window=3)
    assert tape.rules["first"][0] == gold_scenario.first_row + 2
    seen = Simulator(tape).place(0, row, row + 5, 10_000.0)
    assert seen.shape == (3 + 8,)
    np.testing.assert_array_equal(seen[:3], rows[row - 2 : row + 1, 0])
    views = observed_features(Windowed(), gold_scenario.pipeline, gold_scenario.market.panel)
    np.testing.assert_array_equal(views[row], seen[:3])


def test_splits_do_not_touch(gold_scenario):
    splits, gap = gold_scenario.splits, gold_scenario.env.split.embargo_bars
    assert splits.validation[0] - splits.train[1] == gap + 1
    assert splits.test[0] - splits.validation[1] == gap + 1
    assert splits.test[1] == 3_999


def test_a_span_without_bars_says_so(gold_scenario):
    with pytest.raises(DataError, match="0 bars after the warm-up of 745 bars"):
        gold_scenario.tape(gold_scenario.features(), (0, 10))


def test_bars_for_a_backtest_have_no_splits(gold_bars):
    config = resolve_env("xauusd_h1")
    scenario = Scenario.fit_all(config, given_market(config, gold_bars))
    assert scenario.rows("all") == (scenario.first_row, 3_999)
    with pytest.raises(ConfigError, match="split 'test'"):
        scenario.rows("test")


def test_an_env_may_be_a_mapping(gold_bars):
    config = resolve_env({"symbols": ["XAUUSD"], "features": ["returns"]})
    assert config.name == "custom"
    with pytest.raises(ConfigError, match="'sizng'; did you mean 'sizing'"):
        resolve_env({"symbols": ["XAUUSD"], "features": ["returns"], "sizng": {}})
    assert resolve_env(config) is config
