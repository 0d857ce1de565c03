"""Every limit of a YAML file reaches the checks or the gates, and none does before it is said."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
import yaml

from mtquant.config.limits import LimitsConfig
from mtquant.config.load import validate
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError
from mtquant.risk.checks import LIMIT_OPTIONS
from mtquant.risk.gates import Gates, Prohibition

YEAR_2024 = int(np.datetime64("2024-01-01", "ns").astype(np.int64))
DAY = 86_400 * 10**9


def limits(text: str) -> LimitsConfig:
    return validate(LimitsConfig, yaml.safe_load(text) or {}, "limits")


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        limits(text)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    return message


@pytest.mark.parametrize("text", ["{}", "max_lots: null\nhours:\nleverage: {}\nprohibited: []"])
def test_everything_but_the_exposure_is_off(text):
    config = limits(text)
    assert config.rules() == {"max_exposure": 5.0, **{name: 0 for name, _ in LIMIT_OPTIONS}}
    assert config.gates() == Gates() and config == LimitsConfig()


@pytest.mark.parametrize(
    ("line", "rules"),
    [
        ("max_position: 0.1", {"max_position": 0.1}),
        ("max_lots: 1", {"max_lots": 1.0}),
        ("max_daily_volume_share: 0.05", {"max_daily_volume_share": 0.05}),
        ("max_class_exposure: 0.4", {"max_class_exposure": 0.4}),
        ("max_correlation: 0.7", {"max_correlation": 0.7}),
        (
            "{max_correlation: 0.7, on_correlation: reject}",
            {"max_correlation": 0.7, "correlation_rejects": 1},
        ),
        ("min_balance: 500", {"min_balance": 500.0}),
        ("max_positions: 3", {"max_positions": 3}),
        ("order_budget: 75", {"order_budget": 75.0}),
        ("day_budget: 1000", {"day_budget": 1000.0}),
        ("trades_per_day: 10", {"trades_per_day": 10}),
        ("max_day_trades: 3", {"max_day_trades": 3}),
        (
            "{max_day_trades: 3, day_trade_equity: 25000}",
            {"max_day_trades": 3, "day_trade_equity": 25000.0},
        ),
        ("cooldown_bars: 4", {"cooldown_bars": 4}),
        ("max_holding_bars: 24", {"max_holding_bars": 24}),
        ("leverage: {XAUUSD: 20}", {"use_leverage": 1}),
    ],
)
def test_a_line_becomes_a_rule_and_switches_the_checks_on(line, rules):
    assert limits(line).rules() == {**LimitsConfig().rules(), "checks": 1, **rules}


def test_the_exposure_alone_needs_no_switch():
    assert limits("max_exposure: 2").rules() == {**LimitsConfig().rules(), "max_exposure": 2.0}


@pytest.mark.parametrize(
    ("line", "gates"),
    [
        ("max_spread_fraction: 0.02", Gates(max_spread_fraction=0.02)),
        ("max_spread_points: 30", Gates(max_spread_points=30.0)),
        ("min_volume: 5", Gates(min_volume=5.0)),
        ("min_day_value: 5000000", Gates(min_day_value=5e6)),
        ("min_price: 5", Gates(min_price=5.0)),
        ("price_band: 0.1", Gates(price_band=0.1)),
        ("hours: {mon-fri: '09:30-16:00'}", Gates(hours={"mon-fri": "09:30-16:00"})),
        ("hours: {}", Gates(hours={})),
        (
            "prohibited: [{symbol: XAUUSD, from: 2024-01-02T00:00:00Z, "
            "until: '2024-01-03T02:00:00+02:00', reason: holiday}]",
            Gates(
                prohibited=(Prohibition("XAUUSD", YEAR_2024 + DAY, YEAR_2024 + 2 * DAY, "holiday"),)
            ),
        ),
        (
            "prohibited: [{from: 2024-01-02 00:00:00+00:00, until: 2024-01-03T00:00:00.000001Z, "
            "reason: x}]",
            Gates(prohibited=(Prohibition("*", YEAR_2024 + DAY, YEAR_2024 + 2 * DAY + 1000, "x"),)),
        ),
    ],
)
def test_a_line_becomes_a_gate_and_no_rule(line, gates):
    assert limits(line).gates() == gates
    assert limits(line).rules() == LimitsConfig().rules()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_lot: 1", "unknown key 'max_lot'; did you mean 'max_lots'?"),
        ("max_exposure: null", "max_exposure = None"),
        ("max_lots: 0", "max_lots = 0"),
        ("max_lots: yes", "max_lots = True: true or false"),
        ("max_positions: 2.5", "max_positions = 2.5"),
        ("max_correlation: 1.1", "max_correlation = 1.1"),
        ("correlation_bars: 2", "correlation_bars = 2"),
        ("on_correlation: refuse", "'warn' or 'reject'"),
        ("price_band: 10", "price_band = 10"),
        ("leverage: {XAUUSD: 0}", "leverage.XAUUSD = 0"),
        ("leverage: {XAUUSD: yes}", "leverage = {'XAUUSD': True}"),
        ("leverage: {gold: 20}", "leverage.gold"),
        ("hours: {mon-fri: '9-17'}", "cannot read the trading hours 'mon-fri: 9-17'"),
        ("hours: {monday: '09:00-17:00'}", "'monday'; did you mean 'mon'?"),
    ],
)
def test_a_wrong_line_is_one_sentence(text, told):
    assert told in refused(text)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{from: 2024-01-02, until: 2024-01-03T00:00:00Z}", "prohibited.0.from"),
        ("{from: 2024-01-02T00:00:00, until: 2024-01-03T00:00:00Z}", "a time with its zone"),
        ("{from: '2024-01-02 00:00', until: 2024-01-03T00:00:00Z}", "a time with its zone"),
        ("{from: 1704153600, until: 2024-01-03T00:00:00Z}", "a time with its zone"),
        ("{from: soon, until: 2024-01-03T00:00:00Z}", "prohibited.0.from = 'soon'"),
        ("{from: 2024-01-03T00:00:00Z, until: 2024-01-03T00:00:00Z}", "must lie after from"),
        ("{from: 2024-01-03T00:00Z, until: '9999-12-31T23:59:59-05:00'}", "0.until = '9999-12-31T"),
        ("{until: 2024-01-03T00:00:00Z}", "the key 'prohibited.0.from' is missing"),
    ],
)
def test_a_time_without_a_zone_is_refused(entry, told):
    assert told in refused(f"prohibited: [{entry[:-1]}, reason: x}}]")


def test_an_env_may_only_name_what_it_trades():
    plain = {"name": "mine", "symbols": ["XAUUSD", "EURUSD"]}
    entry = {"from": "2024-01-02T00:00Z", "until": "2024-01-03T00:00Z", "reason": "x"}
    for wrong in (
        {"leverage": {"XAUSD": 20}},
        {"prohibited": [entry, {**entry, "symbol": "XAUSD"}]},
    ):
        with pytest.raises(ConfigError, match="unknown symbol of the env 'XAUSD'; did you mean"):
            validate(EnvConfig, {**plain, "limits": wrong}, "mine.yaml")
    right = {"leverage": {"XAUUSD": 20}, "prohibited": [entry]}
    env = validate(EnvConfig, {**plain, "limits": right}, "mine.yaml")
    assert env.limits.leverage == {"XAUUSD": 20.0}


def test_limits_survive_being_written_down():
    """A bundle's manifest is JSON, and overrides go through plain values."""
    entry = {"from": "2024-01-02T01:00+01:00", "until": "2024-01-03T00:00Z", "reason": "x"}
    values = {"hours": {"mon": "09:00-17:00"}, "prohibited": [entry], "leverage": {"XAUUSD": 20}}
    env = EnvConfig.model_validate({"name": "mine", "symbols": ["XAUUSD"], "limits": values})
    assert EnvConfig.model_validate(env.model_dump(mode="json")) == env
    assert EnvConfig.model_validate(env.model_dump()) == env
    assert env.limits.prohibited[0].begins == datetime(2024, 1, 2, tzinfo=UTC)
    utc = {**values, "prohibited": [{**entry, "from": "2024-01-02T00:00Z"}]}
    same = EnvConfig.model_validate({"name": "mine", "symbols": ["XAUUSD"], "limits": utc})
    assert same.config_id == env.config_id


def test_the_rules_of_an_env_hold_its_limits():
    env = EnvConfig.model_validate(
        {"name": "mine", "symbols": ["XAUUSD"], "limits": {"max_exposure": 3, "max_lots": 2}}
    )
    rules = env.rules(reward_scale=1.0)
    assert (rules["max_exposure"], rules["max_lots"], rules["checks"]) == (3.0, 2.0, 1)
