from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from mtquant.config.load import load_agent, load_env
from mtquant.config.schema import AgentConfig, EnvConfig, canonical_json
from mtquant.sim.records import RULES

MINIMAL = {"name": "mine", "symbols": ["XAUUSD"], "features": ["returns"]}


def changed(path: tuple[str, ...], value: object) -> EnvConfig:
    values = json.loads(json.dumps(MINIMAL))
    inner = values
    for key in path[:-1]:
        inner = inner.setdefault(key, {})
    inner[path[-1]] = value
    return EnvConfig.model_validate(values)


def test_saying_a_default_changes_nothing():
    plain = EnvConfig.model_validate(MINIMAL)
    said = EnvConfig.model_validate({**plain.model_dump(), "timeframe": "h1"})
    assert said.config_id == plain.config_id
    assert EnvConfig.model_validate(json.loads(plain.model_dump_json())) == plain


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("name",), "other"),
        (("symbols",), ["EURUSD"]),
        (("symbols",), ["XAUUSD", "EURUSD"]),
        (("timeframe",), "M15"),
        (("features",), ["returns", "trend"]),
        (("features",), [{"returns": {"horizons": [1]}}]),
        (("account", "capital"), 10_000.01),
        (("account", "leverage"), 99),
        (("account", "currency"), "EUR"),
        (("account", "money_digits"), 3),
        (("sizing", "risk_fraction"), 0.021),
        (("sizing", "atr_bars"), 15),
        (("sizing", "method"), "fixed_fractional"),
        (("costs", "slippage_points"), 2),
        (("costs", "commission_per_lot"), 0),
        (("limits", "max_exposure"), 4),
        (("breaker", "daily_loss"), [0.05, 0.1, 0.16]),
        (("breaker", "shrink"), 0.5),
        (("reward", "downside_penalty"), 0.06),
        (("episode", "bars"), 1999),
        (("episode", "randomise"), False),
        (("split", "test"), 0.21),
        (("split", "embargo_bars"), 25),
    ],
)
def test_every_value_is_in_the_id(path, value):
    assert changed(path, value).config_id != EnvConfig.model_validate(MINIMAL).config_id


def test_symbols_and_features_are_ordered():
    one, two = changed(("symbols",), ["A", "B"]), changed(("symbols",), ["B", "A"])
    assert one.config_id != two.config_id


def test_the_id_is_the_same_in_another_process():
    """Neither the hash seed nor the order of keys gets in."""
    command = "from mtquant.config.load import load_env; print(load_env('xauusd_h1')[0].config_id)"
    ran = subprocess.run(
        [sys.executable, "-c", command],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    env, _ = load_env("xauusd_h1")
    assert ran.stdout.strip() == env.config_id
    assert len(env.config_id) == 16
    assert env.config_id != load_agent("flat")[0].config_id


def test_configs_cannot_change():
    env = EnvConfig.model_validate(MINIMAL)
    with pytest.raises(ValidationError):
        env.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        env.account.capital = 1.0  # type: ignore[misc]


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"x": float("nan")})


def test_rules_are_the_kernels_and_follow_the_config():
    env = changed(("breaker", "daily_loss"), [0.01, 0.02, 0.04])
    rules = env.rules(reward_scale=0.5, first=3, last=9)
    assert set(rules) == set(RULES.names) - {"managed"}  # follows from the others
    assert [rules[f"daily_loss_level_{k}"] for k in (1, 2, 3)] == [0.01, 0.02, 0.04]
    assert (rules["first"], rules["last"], rules["reward_scale"]) == (3, 9, 0.5)
    assert rules["money_scale"] == 100.0
    assert (rules["episode_bars"], rules["randomise"]) == (0, 0)
    training = env.rules(reward_scale=0.5, training=True)
    assert (training["episode_bars"], training["randomise"]) == (2000, 1)


def test_agents_have_defaults():
    agent = AgentConfig(kind="flat")
    assert agent.params == {}
    assert agent.learning.timesteps > 0
