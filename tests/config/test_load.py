from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mtquant.config.load import (
    available,
    env_of_symbol,
    find,
    load_agent,
    load_env,
    load_symbols,
    read_yaml,
)
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError
from mtquant.features.pipeline import FeaturePipeline

ROOT = Path(__file__).parents[2]
ENVS = sorted(path.stem for path in (ROOT / "envs").glob("*.yaml"))
AGENTS = sorted(path.stem for path in (ROOT / "configs" / "agents").glob("*.yaml"))
GOLD = yaml.safe_load((ROOT / "envs" / "xauusd_h1.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working directory of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = values if isinstance(values, str) else yaml.safe_dump(values)
    path.write_text(text, encoding="utf-8")
    return path


def one_sentence(error: pytest.ExceptionInfo[ConfigError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ENVS)
def test_every_shipped_env_loads(name):
    env, found = load_env(name)
    assert env.name == name == found.path.stem
    assert set(env.symbols) <= set(load_symbols().names)


def test_the_three_envs_are_shipped():
    assert {"xauusd_h1", "eurusd_h1", "btcusd_m5"} <= set(ENVS)
    assert set(available("envs")) >= set(ENVS)


@pytest.mark.parametrize("name", AGENTS)
def test_every_shipped_agent_loads(name):
    agent, _ = load_agent(name)
    assert agent.kind


def test_the_eight_symbols_are_shipped():
    assert len(load_symbols().names) >= 8
    for symbol in load_symbols().names:
        assert load_symbols()[symbol].name == symbol


@pytest.mark.parametrize(
    ("load", "name", "said"),
    [
        (load_env, "xausd_h1", "unknown env 'xausd_h1'; did you mean 'xauusd_h1'?"),
        (load_env, "XAUUSD-H1", "did you mean 'xauusd_h1'?"),
        (load_env, "qqqqqqqqqqq", "known: btc_eth_m5, btcusd_m5"),
        (load_agent, "ema_cros", "unknown agent 'ema_cros'; did you mean 'ema_cross'?"),
        (load_env, "../secrets", "neither the name"),
        (load_env, "envs\\x", "neither the name"),
        (load_env, ".hidden", "neither the name"),
        (load_env, "nowhere.yaml", "there is no env file 'nowhere.yaml'"),
        (load_agent, "nowhere.yml", "there is no agent file 'nowhere.yml'"),
    ],
)
def test_a_name_that_does_not_exist(load, name, said):
    with pytest.raises(ConfigError) as caught:
        load(name)
    assert said in one_sentence(caught)


def test_an_unknown_symbol_names_the_nearest():
    with pytest.raises(ConfigError, match="unknown symbol 'XAUSD'; did you mean 'XAUUSD'"):
        load_symbols()["XAUSD"]


@pytest.mark.parametrize(("symbol", "env"), [("XAUUSD", "xauusd_h1"), ("BTCUSD", "btcusd_m5")])
def test_the_env_of_a_symbol(symbol, env):
    assert env_of_symbol(symbol)[0].name == env


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"acount": {}}, "unknown key 'acount'; did you mean 'account'?"),
        (
            {"account": {"capitl": 1}},
            "unknown key 'capitl'; did you mean 'capital'? under 'account'",
        ),
        ({"sizing": {"atr_bar": 3}}, "did you mean 'atr_bars'? under 'sizing'"),
        ({"account": {"capital": -5}}, "account.capital = -5"),
        ({"account": {"capital": 0}}, "account.capital = 0"),
        ({"account": {"capital": float("nan")}}, "account.capital = nan"),
        ({"account": {"capital": float("inf")}}, "account.capital = inf"),
        ({"account": {"capital": "much"}}, "account.capital = 'much'"),
        ({"account": {"leverage": 0.5}}, "account.leverage = 0.5"),
        ({"account": {"leverage": float("nan")}}, "account.leverage = nan"),
        ({"account": {"currency": "usd"}}, "account.currency = 'usd'"),
        ({"account": {"stop_out_level": 1.5}}, "account.stop_out_level = 1.5"),
        ({"account": [1]}, "account = [1]"),
        ({"sizing": {"method": "martingale"}}, "sizing.method = 'martingale'"),
        ({"sizing": {"risk_fraction": 2}}, "sizing.risk_fraction = 2"),
        ({"sizing": {"atr_bars": 0}}, "sizing.atr_bars = 0"),
        ({"sizing": {"atr_bars": 1.5}}, "sizing.atr_bars = 1.5"),
        ({"sizing": {"rebalance_band": 1.0}}, "sizing.rebalance_band = 1.0"),
        ({"sizing": {"rebalance_band": float("nan")}}, "sizing.rebalance_band = nan"),
        ({"costs": {"slippage_points": -1}}, "costs.slippage_points = -1"),
        ({"costs": {"slippage_points": 1e30}}, "costs.slippage_points = 1e+30"),
        ({"costs": {"slippage_coefficient": 1e30}}, "costs.slippage_coefficient = 1e+30"),
        ({"stops": {"atr": 1e18}}, "stops.atr = 1e+18"),
        ({"stops": {"target_atr": 1e18}}, "stops.target_atr = 1e+18"),
        ({"stops": {"trail_atr": 1e18}}, "stops.trail_atr = 1e+18"),
        ({"stops": {"break_even_atr": 1e18}}, "stops.break_even_atr = 1e+18"),
        ({"costs": {"commission_per_lot": -1}}, "costs.commission_per_lot = -1"),
        ({"limits": {"max_exposure": 0}}, "limits.max_exposure = 0"),
        ({"breaker": {"daily_loss": [0.1, 0.05, 0.2]}}, "must rise"),
        ({"breaker": {"daily_loss": [0.1, 0.2]}}, "breaker.daily_loss"),
        ({"breaker": {"daily_loss": [0.1, 0.2, 1.5]}}, "breaker.daily_loss.2 = 1.5"),
        ({"breaker": {"shrink": 0}}, "breaker.shrink = 0"),
        ({"reward": {"kind": "sharpe"}}, "reward.kind = 'sharpe'"),
        ({"reward": {"downside_penalty": -1}}, "reward.downside_penalty = -1"),
        ({"episode": {"bars": -1}}, "episode.bars = -1"),
        ({"episode": {"randomise": "perhaps"}}, "episode.randomise = 'perhaps'"),
        ({"split": {"validation": 0.5, "test": 0.5}}, "less than a tenth"),
        ({"split": {"test": 0}}, "split.test = 0"),
        ({"split": {"embargo_bars": -1}}, "split.embargo_bars = -1"),
        ({"symbols": []}, "symbols = []"),
        ({"symbols": ["XAUUSD", "XAUUSD"]}, "stands twice"),
        ({"symbols": [5]}, "symbols = [5]: a text must stand here"),
        ({"features": []}, "features = []"),
        ({"timeframe": "H7"}, "unknown timeframe 'H7'"),
        ({"timeframe": 60}, "timeframe = 60"),
        ({"name": "../x"}, "name = '../x'"),
        ({"name": ""}, "name = ''"),
    ],
)
def test_a_wrong_key_or_value_is_one_sentence_with_its_place(here, changes, said):
    path = write(here / "mine.yaml", {**GOLD, **changes})
    with pytest.raises(ConfigError) as caught:
        load_env(str(path))
    message = one_sentence(caught)
    assert said in message
    if "timeframe 'H7'" not in said:
        assert "mine.yaml" in message


def test_a_missing_key_is_named(here):
    path = write(here / "mine.yaml", {"features": ["returns"]})
    with pytest.raises(ConfigError, match="the key 'symbols' is missing"):
        load_env(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("symbols: [XAUUSD\nfeatures: x", r"line 2 is no valid YAML"),
        ("- a\n- b\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("just words", "must be a mapping"),
        ("!!python/object/apply:os.getcwd []", "no valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration(here, text, said):
    path = write(here / "mine.yaml", text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_env(str(path))
    one_sentence(caught)


def test_bytes_that_are_no_text(here):
    (here / "mine.yaml").write_bytes(b"\xff\xfe\x00symbols")
    with pytest.raises(ConfigError, match="no valid YAML"):
        load_env("mine.yaml")


def test_a_folder_cannot_be_read(here):
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(here)


def test_a_file_in_the_working_directory_wins(here):
    packaged, before = load_env("xauusd_h1")
    assert before.origin == "package"
    write(here / "envs" / "xauusd_h1.yaml", {**GOLD, "account": {"capital": 123_456}})
    env, found = load_env("xauusd_h1")
    assert (env.account.capital, found.origin) == (123_456, "working directory")
    assert found.path == here / "envs" / "xauusd_h1.yaml"
    assert env.config_id != packaged.config_id
    write(here / "envs" / "mine_d1.yaml", {**GOLD, "timeframe": "d1"})
    assert load_env("mine_d1")[0].timeframe == "D1"
    assert "mine_d1" in available("envs")
    assert "eurusd_h1" in available("envs")


def test_a_path_is_a_file_and_not_a_name(here):
    path = write(here / "other" / "xauusd_h1.yaml", {**GOLD, "account": {"capital": 7}})
    env, found = load_env(str(path))
    assert (env.account.capital, found.origin) == (7, "file")


@pytest.mark.parametrize("name", ["sub/mine", "../mine", "sub\\mine"])
def test_a_name_cannot_walk_through_folders(here, name):
    for path in (here / "envs" / "sub" / "mine.yaml", here / "mine.yaml"):
        write(path, GOLD)
    with pytest.raises(ConfigError, match="neither the name"):
        load_env(name)


def test_symbols_of_the_working_directory_win(here):
    listed = read_yaml(ROOT / "configs" / "symbols.yaml")
    listed["XAUUSD"]["commission_per_lot"] = 99.0
    write(here / "configs" / "symbols.yaml", listed)
    assert load_symbols()["XAUUSD"].commission_per_lot == 99.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lot_mn": 1}, "symbols.yaml: XAUUSD: unknown key 'lot_mn'; did you mean 'lot_min'"),
        ({"contract_size": -1}, "contract_size = -1"),
        ({"lot_min": 200}, "lot_min"),
        ({"swap_mode": "gift"}, "swap_mode = 'gift'"),
    ],
)
def test_a_wrong_contract_is_named(here, change, said):
    listed = read_yaml(ROOT / "configs" / "symbols.yaml")
    listed["XAUUSD"] |= change
    write(here / "configs" / "symbols.yaml", listed)
    with pytest.raises(ConfigError) as caught:
        load_symbols()
    assert said in one_sentence(caught)


def test_a_list_of_symbols_is_refused(here):
    write(here / "configs" / "symbols.yaml", ["XAUUSD"])
    with pytest.raises(ConfigError, match="must map symbol names"):
        load_symbols()


def test_nothing_is_found_where_nothing_is(here):
    assert find("configs/nothing.yaml") is None


def test_an_agent_file_says_what_it_is(here):
    path = write(here / "mine.yaml", {"kind": "flat", "parms": {}})
    with pytest.raises(ConfigError, match="unknown key 'parms'; did you mean 'params'"):
        load_agent(str(path))
    path = write(here / "mine.yaml", {"kind": "flat", "learning": {"n_envs": 0}})
    with pytest.raises(ConfigError, match=r"learning\.n_envs = 0"):
        load_agent(str(path))
    path = write(here / "mine.yaml", {"params": {}})
    with pytest.raises(ConfigError, match="the key 'kind' is missing"):
        load_agent(str(path))


def test_a_wrong_timeframe_names_the_file(here):
    path = write(here / "mine.yaml", {**GOLD, "timeframe": "H7"})
    with pytest.raises(ConfigError, match=r"mine\.yaml: timeframe = 'H7': unknown timeframe 'H7'"):
        load_env(str(path))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"account": {"capital": True}}, "account.capital = True: true or false stands"),
        ({"account": {"leverage": True}}, "account.leverage = True"),
        ({"episode": {"bars": False}}, "episode.bars = False"),
        ({"costs": {"commission_per_lot": False}}, "costs.commission_per_lot = False"),
        ({"name": True}, "name = True"),
    ],
)
def test_yes_and_no_are_no_numbers(here, changes, place):
    """YAML reads ``yes`` and ``on`` as true, which Python counts as 1."""
    path = write(here / "mine.yaml", {**GOLD, **changes})
    with pytest.raises(ConfigError) as caught:
        load_env(str(path))
    assert place in one_sentence(caught)
    answered = write(here / "yours.yaml", {**GOLD, "episode": {"randomise": False}})
    assert load_env(str(answered))[0].episode.randomise is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (7, "found 7"),
        ("gold", "found 'gold'"),
        (None, "found None"),
        (["metal"], "found ['metal']"),
        ({"clock": "ny+seven"}, "unknown clock 'ny+seven'"),
        ({"clock": "utc+25"}, "'utc+25' is shifted by more than 14 hours"),
        ({"hours": {"mon-fri": "24:00-01:00"}}, "cannot read the trading hours 'mon-fri: 24:00"),
        ({"hours": {"mon-fri": "always"}}, "cannot read the trading hours 'mon-fri: always'"),
        ({"hours": {"monday": "01:00-24:00"}}, "'monday'; did you mean 'mon'?"),
        ({"volume_limit": 0.001}, "volume_limit 0.001 is below lot_min 0.01: nothing could be"),
        ({"hours": {"mon-fri": "01:00-24:00", "tue": "02:00-03:00"}}, "overlap others"),
    ],
)
def test_a_wrong_symbol_names_its_file_and_itself(here, change, said):
    listed = read_yaml(ROOT / "configs" / "symbols.yaml")
    listed["EURUSD"] = {**listed["EURUSD"], **change} if isinstance(change, dict) else change
    path = write(here / "configs" / "symbols.yaml", listed)
    with pytest.raises(ConfigError) as caught:
        load_symbols()
    message = one_sentence(caught)
    assert message.startswith(f"{path}: EURUSD")
    assert said in message


@pytest.mark.parametrize(
    ("right", "wrong"), [("contract_size", "contract_sise"), ("hours", "hour"), ("quote", "qoute")]
)
def test_a_misspelt_key_that_is_required_is_said_to_be_misspelt(here, right, wrong):
    listed = read_yaml(ROOT / "configs" / "symbols.yaml")
    listed["EURUSD"][wrong] = listed["EURUSD"].pop(right)
    write(here / "configs" / "symbols.yaml", listed)
    with pytest.raises(ConfigError) as caught:
        load_symbols()
    assert f"EURUSD: unknown key '{wrong}'; did you mean '{right}'?" in one_sentence(caught)


def test_a_symbol_without_a_file_trades_by_the_defaults():
    env, found = env_of_symbol("GBPUSD")
    assert found is None and env.symbols == ("GBPUSD",) and env.timeframe == "H1"
    assert env == EnvConfig(name="gbpusd_h1", symbols=("GBPUSD",))


@pytest.mark.parametrize("name", ["xauusd_h1", "eurusd_h1", "btcusd_m5", "btc_eth_m5"])
def test_every_shipped_env_observes_regime_quantum_and_technical_features(name):
    env = load_env(name)[0]
    seen = {feature.group for feature in FeaturePipeline(env.features, env.symbols).features}
    assert {"regime", "quantum", "technical"} <= seen
