"""Every option of a YAML file reaches the kernel, and none does before it is said."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from mtquant.config.assemble import contracts_of, leverage_at_full_size
from mtquant.config.load import load_symbols
from mtquant.config.schema import EnvConfig
from mtquant.sim.records import BAR, OPTIONAL_RULES

FLAGS = (
    "min_change",
    "max_volume_share",
    "brakes",
    "losing_run",
    "slippage_model",
    "commission_per_fill",
    "commission_fraction",
    "cheapest",
    "dearest",
    "reward_kind",
    "reward_window",
    "adaptation",
)


def env(**sections: object) -> EnvConfig:
    plain = {"name": "mine", "symbols": ["XAUUSD"], "features": ["returns"]}
    return EnvConfig.model_validate({**plain, **sections})


def test_everything_optional_is_off():
    for training in (False, True):
        rules = env().rules(reward_scale=1.0, training=training)
        assert {name: rules[name] for name in FLAGS} == dict.fromkeys(FLAGS, 0)
    assert set(FLAGS) <= OPTIONAL_RULES
    assert rules["sizing_method"] == 0


@pytest.mark.parametrize(
    ("section", "values", "expected"),
    [
        ("sizing", {"method": "kelly"}, {"sizing_method": 2, "kelly_fraction": 0.25}),
        ("sizing", {"method": "kelly", "kelly": {"prior_trades": 7}}, {"prior_trades": 7.0}),
        (
            "sizing",
            {"method": "volatility_target", "target_volatility": 0.02},
            {"sizing_method": 3, "target_volatility": 0.02},
        ),
        # 16 % a year of 6,400 bars are 0.2 % a bar
        (
            "sizing",
            {"target_volatility": 0.16, "bars_per_year": 6400},
            {"target_volatility": 0.002},
        ),
        ("sizing", {"min_change_steps": 3}, {"min_change": 3}),
        ("sizing", {"max_volume_share": 0.05}, {"max_volume_share": 0.05}),
        (
            "costs",
            {"slippage": "range", "slippage_coefficient": 0.2},
            {"slippage_model": 1, "slippage_coefficient": 0.2},
        ),
        ("costs", {"slippage": "volume"}, {"slippage_model": 2}),
        ("costs", {"slippage": "sqrt"}, {"slippage_model": 3}),
        ("costs", {"commission_per_fill": 2.5}, {"commission_per_fill": 2.5}),
        ("costs", {"commission_fraction": 0.003}, {"commission_fraction": 0.003}),
        ("costs", {"randomise": [0.5, 2]}, {"cheapest": 0.5, "dearest": 2.0}),
        (
            "breaker",
            {"weekly_loss": 0.1, "weekly_loss_level": 2},
            {"brakes": 1, "weekly_loss": 0.1, "weekly_loss_level": 2, "drawdown": 1.0},
        ),
        ("breaker", {"drawdown": 0.2}, {"brakes": 1, "drawdown": 0.2, "drawdown_level": 3}),
        ("breaker", {"start_loss": 0.3}, {"brakes": 1, "start_loss": 0.3}),
        ("breaker", {"losing_run": 4}, {"brakes": 1, "losing_run": 4, "losing_run_level": 3}),
        ("reward", {"kind": "log_return"}, {"reward_kind": 1, "reward_window": 0}),
        (
            "reward",
            {"kind": "sortino_ratio", "window": 50},
            {"reward_kind": 2, "reward_window": 50, "trade_penalty": 0.003, "adaptation": 0.0},
        ),
        ("reward", {"kind": "differential_sharpe"}, {"reward_kind": 3, "adaptation": 0.01}),
        (
            "reward",
            {"kind": "differential_downside", "adaptation": 0.02},
            {"reward_kind": 4, "adaptation": 0.02},
        ),
    ],
)
def test_what_is_said_reaches_the_kernel(section, values, expected):
    rules = env(**{section: values}).rules(reward_scale=1.0, training=True)
    assert {name: rules[name] for name in expected} == pytest.approx(expected)


def test_costs_are_drawn_in_training_alone():
    dear = env(costs={"randomise": [0.5, 2]}).rules(reward_scale=1.0)
    assert (dear["cheapest"], dear["dearest"]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"sizing": {"kelly": {"prior_win_rate": 0.5}}}, "no edge"),
        ({"sizing": {"method": "martingale"}}, "method"),
        ({"costs": {"randomise": [2, 0.5]}}, r"\[least, most\]"),
        ({"costs": {"randomise": [1, 1001]}}, "less than or equal to 1000"),
        ({"costs": {"randomise": [0, 1]}}, "greater than 0"),
        ({"costs": {"commission_per_lot": 1.1e9}}, "commission_per_lot"),
        ({"costs": {"commission_per_fill": 1e300}}, "commission_per_fill"),
        ({"costs": {"slippage": "wild"}}, "slippage"),
        ({"costs": {"commission_fraction": 1.0}}, "commission_fraction"),
        ({"breaker": {"weekly_loss": 0.0}}, "weekly_loss"),
        ({"breaker": {"losing_run_level": 4}}, "losing_run_level"),
        ({"reward": {"kind": "sharpe"}}, "kind"),
        ({"reward": {"window": 1}}, "window"),
    ],
)
def test_what_makes_no_sense_is_refused(sections, message):
    with pytest.raises(ValidationError, match=message):
        env(**sections)


@pytest.mark.parametrize(("slippage", "ticks"), [("none", 0), ("points", 4), ("sqrt", 4)])
def test_no_slippage_needs_no_points(slippage, ticks):
    chosen = env(costs={"slippage": slippage, "slippage_points": 4})
    assert contracts_of(chosen, [load_symbols()["XAUUSD"]])["slippage_ticks"][0] == ticks


def test_reference_leverage_of_the_other_methods():
    """Price 2,000 and ATR 10.

    Kelly begins with a quarter of 0.55 - 0.45 = 2.5 %, capped at 2 %, over a distance of 20: twice
    the equity. A target of 0.5 % over a deviation of 10 / 1.59577 is 1.59577 times the equity.
    """
    bars = np.zeros(2, BAR)
    bars["close"], bars["atr"] = 200_000, [1_000, 0]
    kelly = env(sizing={"method": "kelly"})
    assert leverage_at_full_size(kelly, bars) == pytest.approx([2.0, 0.0])
    modest = env(sizing={"method": "kelly", "kelly": {"max_risk_fraction": 0.5}})
    assert leverage_at_full_size(modest, bars) == pytest.approx([2.5, 0.0])
    target = env(sizing={"method": "volatility_target", "target_volatility": 0.005})
    assert leverage_at_full_size(target, bars) == pytest.approx([1.5957691, 0.0])
