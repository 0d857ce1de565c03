"""``breaker: {rules: NAME}``: a challenge is resolved when it is read, and kept whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mtquant.config.challenge import RuleSet, load_rules
from mtquant.config.load import available, load_env
from mtquant.config.risk import RiskProfile, apply_risk, tighten
from mtquant.config.schema import EnvConfig
from mtquant.envs.scenario import resolve_env
from mtquant.errors import ConfigError
from mtquant.risk.challenge import CHALLENGE_FIELDS

PRESETS = available("configs/rules")
MINE = {"profit_target": 0.2, "max_drawdown": {"fraction": 0.25}}


def env(**breaker: Any) -> EnvConfig:
    values = {"name": "mine", "symbols": ["XAUUSD"], "breaker": breaker}
    return EnvConfig.model_validate(values)


def told(config: EnvConfig) -> dict[str, float]:
    rules = config.rules(reward_scale=1.0)
    return {name: rules[name] for name, _ in CHALLENGE_FIELDS}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_name_becomes_the_rules_themselves(preset):
    named = env(rules=preset)
    assert named.breaker.rules == load_rules(preset)[0]
    for mode in ("json", "python"):
        again = EnvConfig.model_validate(named.model_dump(mode=mode))
        assert again == named
        assert again.config_id == named.config_id
    assert named.config_id != env().config_id
    written_out = load_rules(preset)[0].model_dump()
    assert env(rules=written_out).config_id == named.config_id


def test_what_reaches_the_kernel():
    assert told(env()) == dict.fromkeys((name for name, _ in CHALLENGE_FIELDS), 0)
    assert told(env(rules="daily_from_balance", rules_margin=0.25)) == {
        "challenge": 1,
        "profit_target": 0.08,
        "max_daily_loss": 0.05,
        "daily_base": 0,
        "daily_of_start": 0,
        "max_drawdown": 0.10,
        "trails": 0,
        "drawdown_of_start": 1,
        "locks": 0,
        "max_days": 30,
        "rules_margin": 0.25,
    }
    trailing = told(env(rules="end_of_day_trailing"))
    assert (trailing["trails"], trailing["locks"], trailing["max_daily_loss"]) == (2, 1, 0.0)
    assert (told(env(rules="one_step_trailing"))["trails"], trailing["max_days"]) == (1, 0)
    assert told(env(rules="two_step_static"))["daily_of_start"] == 1


def test_a_file_of_one_s_own(tmp_path: Path, monkeypatch):
    """Read once: what stands in it later does not change an env that was made from it."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(yaml.safe_dump(MINE))
    Path("env.yaml").write_text("symbols: [XAUUSD]\nbreaker: {rules: mine.yaml}\n")
    read = load_env("env.yaml")[0]
    assert read.breaker.rules == RuleSet.model_validate(MINE)
    Path("mine.yaml").unlink()
    assert EnvConfig.model_validate(read.model_dump()) == read
    assert resolve_env(read, {"account": {"capital": 5.0}}).breaker == read.breaker
    assert resolve_env(read, {"breaker": {"rules": None}}).breaker.rules is None
    assert (
        resolve_env("xauusd_h1", {"breaker": {"rules": MINE}}).breaker.rules == read.breaker.rules
    )


@pytest.mark.parametrize(
    ("breaker", "message"),
    [
        ({"rules": "two_step_statc"}, r"breaker.rules = 'two_step_statc'.*'two_step_static'\?"),
        ({"rules": "nowhere.yaml"}, "no file of rules 'nowhere.yaml'"),
        ({"rules": {"profit_target": 0.1}}, r"breaker.rules.max_drawdown"),
        ({"rules": "two_step_static", "rules_margin": 1.0}, "rules_margin"),
        ({"rules_margin": -0.1}, "rules_margin"),
    ],
)
def test_what_is_refused(breaker, message):
    with pytest.raises(ConfigError, match=message):
        resolve_env("xauusd_h1", {"breaker": breaker})


def profile(**breaker: Any) -> RiskProfile:
    return RiskProfile.model_validate({"breaker": breaker})


def test_a_profile_adds_rules_and_never_replaces_them():
    theirs = profile(rules="one_step_trailing", rules_margin=0.1)
    tighter, changes = tighten(env(), theirs)
    assert tighter.breaker == theirs.breaker
    assert [str(one) for one in changes] == [
        "breaker.rules off -> on",
        "breaker.rules_margin 0 -> 0.1",
    ]
    own = env(rules="two_step_static", rules_margin=0.2)
    assert tighten(own, theirs) == (own, ())
    assert tighten(own, profile(rules_margin=0.3))[0].breaker.rules_margin == 0.3
    assert apply_risk(own, theirs).breaker == theirs.breaker
