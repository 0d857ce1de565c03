"""Risk profiles: what ships, what they set, and that going to market they only tighten."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mtquant.config.load import load_env, read_yaml
from mtquant.config.risk import (
    DETAILS,
    STRICTER,
    RiskProfile,
    apply_risk,
    load_risk,
    tighten,
)
from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError

ROOT = Path(__file__).parents[2]
NAMES = ("default", "etare", "kobe", "conservative", "moderate", "aggressive")

UNITS = {"breaker.daily_loss": "units.day_loss"}


def env(**sections: object) -> EnvConfig:
    return EnvConfig.model_validate({"name": "mine", "symbols": ["XAUUSD", "EURUSD"], **sections})


def profile(**sections: object) -> RiskProfile:
    return RiskProfile.model_validate(sections)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, content: object) -> None:
    (folder / "configs").mkdir()
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / "configs" / "risk.yaml").write_text(text, encoding="utf-8")


def test_the_default_is_what_the_documents_ask_for(here):
    chosen, found = load_risk("default")
    assert (found.path.name, found.origin) == ("risk.yaml", "package")
    sizing, limits, breaker = chosen.sizing, chosen.limits, chosen.breaker
    assert (sizing.risk_fraction, sizing.atr_multiple, sizing.kelly.fraction) == (0.02, 2.0, 0.25)
    assert (limits.max_position, limits.max_daily_volume_share) == (0.10, 0.05)
    assert (limits.max_exposure, limits.max_class_exposure) == (1.5, 0.40)
    assert (limits.max_correlation, limits.on_correlation) == (0.7, "warn")
    assert limits.price_band == 0.10
    assert (breaker.daily_loss, breaker.shrink) == ((0.05, 0.10, 0.15), 0.75)
    assert (breaker.weekly_loss, breaker.drawdown) == (0.10, 0.20)


@pytest.mark.parametrize(
    ("name", "section", "values"),
    [
        ("etare", "limits", {"max_lots": 1.0, "max_positions": 3}),
        ("etare", "breaker", {"drawdown": 0.10, "drawdown_level": 3, "shrink": 1.0}),
        ("kobe", "limits", {"order_budget": 75.0, "day_budget": 1000.0, "min_day_value": 5e6}),
        ("kobe", "limits", {"max_spread_fraction": 0.02}),
        ("kobe", "limits", {"max_day_trades": 3, "day_trade_equity": 25000.0}),
        ("conservative", "sizing", {"risk_fraction": 0.01}),
        ("conservative", "limits", {"max_exposure": 1.0}),
        ("moderate", "sizing", {"risk_fraction": 0.02}),
        ("aggressive", "sizing", {"risk_fraction": 0.04}),
    ],
)
def test_presets(here, name, section, values):
    given_values = getattr(load_risk(name)[0], section).model_dump(exclude_unset=True)
    assert values.items() <= given_values.items()


def test_etare_opens_nothing_after_five_percent_of_a_day(here):
    breaker = load_risk("etare")[0].breaker
    assert breaker.daily_loss[1] == 0.05, "LEVEL_2 only reduces"
    assert breaker.shed == 0.0, "and what is held is kept"


def test_the_file_holds_these_profiles_and_the_shipped_envs_take_each(here):
    assert tuple(read_yaml(ROOT / "configs" / "risk.yaml")) == NAMES
    for name in NAMES:
        for path in sorted((ROOT / "envs").glob("*.yaml")):
            shipped = load_env(path.stem)[0]
            assert apply_risk(shipped, load_risk(name)[0]).name == path.stem
            tighter, changed = tighten(shipped, load_risk(name)[0])
            assert bool(changed) == (tighter != shipped)


def test_the_shipped_file_is_packaged():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"configs" = "mtquant/shipped/configs"' in text


def test_a_file_in_the_working_directory_wins_as_a_whole(here):
    write(here, {"mine": {"limits": {"max_lots": 2}}})
    chosen, found = load_risk("mine")
    assert (chosen.limits.max_lots, found.origin) == (2.0, "working directory")
    with pytest.raises(ConfigError, match="unknown risk profile 'kobe'; known: mine"):
        load_risk("kobe")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"mine": {"limit": {}}}, "unknown key 'limit'; did you mean 'limits'?"),
        ({"mine": {"limits": {"max_lot": 1}}}, "'max_lots'? under 'limits'"),
        ({"mine": {"sizing": {"risk_fraction": 2}}}, "sizing.risk_fraction = 2"),
        ({"mine": {"account": {"capital": 5}}}, "unknown key 'account'"),
        ({"mine": {"limits": {"leverage": {"XAUSD": 5}}}}, "'XAUSD'; did you mean 'XAUUSD'?"),
        ({"mine": None}, "mine must be a mapping"),
        (["mine"], "must map names of risk profiles"),
        ("mine: [", "no valid YAML"),
    ],
)
def test_a_wrong_file_is_one_sentence(here, content, told):
    write(here, content)
    with pytest.raises(ConfigError) as caught:
        load_risk("mine")
    assert told in str(caught.value) and "risk.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_nearest_name_is_said(here):
    with pytest.raises(ConfigError, match="unknown risk profile 'koby'; did you mean 'kobe'"):
        load_risk("koby")


@pytest.mark.parametrize("name", ["kobe\0", "kobe\n", None, True, 7, "kobe" * 200])
def test_a_profile_has_a_name_that_can_be_typed(here, name):
    """Or a wrong name's sentence would show what nobody can read, or be a page long."""
    write(here, {name: {}, "mine": {}})
    with pytest.raises(ConfigError, match=r"must be 1 to 64 letters|put it in quotes") as caught:
        load_risk("koby")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_nothing_is_found_where_nothing_is(here, monkeypatch):
    shutil.copytree(ROOT / "configs" / "agents", here / "configs" / "agents")
    monkeypatch.setattr("mtquant.config.risk.find", lambda name: None)
    with pytest.raises(ConfigError, match=r"no configs/risk\.yaml"):
        load_risk("default")


def test_applying_sets_exactly_the_keys_that_are_given():
    before = env(
        sizing={"risk_fraction": 0.03, "atr_multiple": 4.0, "kelly": {"prior_trades": 7}},
        limits={"max_lots": 5, "max_positions": 2, "leverage": {"XAUUSD": 9, "EURUSD": 30}},
        breaker={"drawdown": 0.3},
    )
    chosen = profile(
        sizing={"risk_fraction": 0.05, "kelly": {"fraction": 0.5}},
        limits={"max_lots": 7, "max_positions": None, "leverage": {"EURUSD": 40, "USDJPY": 3}},
    )
    after = apply_risk(before, chosen)
    expected = env(
        sizing={
            "risk_fraction": 0.05,
            "atr_multiple": 4.0,
            "kelly": {"prior_trades": 7, "fraction": 0.5},
        },
        limits={"max_lots": 7, "leverage": {"XAUUSD": 9, "EURUSD": 40}},
        breaker={"drawdown": 0.3},
    )
    assert after == expected and after.config_id == expected.config_id
    assert apply_risk(before, profile()) == before


def test_a_profile_that_does_not_go_with_the_env_is_refused():
    before = env(sizing={"kelly": {"prior_win_rate": 0.4, "prior_payoff": 2.0}})
    with pytest.raises(ConfigError, match=r"env mine under the risk profile: .*no edge"):
        apply_risk(before, profile(sizing={"kelly": {"prior_payoff": 1.0}}))


ENTRY = {"from": "2024-01-02T00:00Z", "until": "2024-01-03T00:00Z", "reason": "x"}
LATER = {**ENTRY, "symbol": "EURUSD", "until": "2024-01-04T00:00Z"}


@pytest.mark.parametrize(
    ("key", "mine", "theirs", "stricter"),
    [
        ("sizing.risk_fraction", 0.02, 0.01, 0.01),
        ("sizing.risk_fraction", 0.02, 0.04, 0.02),
        ("sizing.atr_multiple", 2.0, 3.0, 3.0),
        ("sizing.atr_multiple", 3.0, 2.0, 3.0),
        ("sizing.kelly.fraction", 0.25, 0.1, 0.1),
        ("sizing.method", "kelly", "volatility", "kelly"),
        ("sizing.max_volume_share", None, 0.1, 0.1),
        ("limits.max_exposure", 5.0, 1.5, 1.5),
        ("limits.max_exposure", 1.0, 1.5, 1.0),
        ("limits.max_lots", None, 1.0, 1.0),
        ("limits.max_lots", 1.0, None, 1.0),
        ("limits.max_lots", 1.0, 2.0, 1.0),
        ("limits.min_balance", 500.0, 100.0, 500.0),
        ("limits.min_balance", 100.0, 500.0, 500.0),
        ("limits.min_balance", None, 500.0, 500.0),
        ("limits.cooldown_bars", 3, 5, 5),
        ("limits.price_band", None, 0.1, 0.1),
        ("limits.leverage", {"XAUUSD": 20.0}, {"XAUUSD": 30.0, "EURUSD": 5.0},
         {"XAUUSD": 20.0, "EURUSD": 5.0}),
        ("limits.leverage", {"XAUUSD": 20.0}, {"XAUUSD": 3.0, "USDJPY": 5.0}, {"XAUUSD": 3.0}),
        ("limits.hours", None, {"mon": "09:00-17:00"}, {"mon": "09:00-17:00"}),
        ("limits.hours", {"mon": "09:00-17:00"}, None, {"mon": "09:00-17:00"}),
        ("limits.hours", {"mon": "09:00-17:00"}, {"sun-sat": "00:00-24:00"},
         {"mon": "09:00-17:00"}),
        ("limits.hours", {"mon-tue": "00:00-12:00,13:30-24:00"}, {"mon,wed": "09:00-17:05"},
         {"mon": "09:00-12:00, 13:30-17:05"}),
        ("limits.hours", {"mon": "09:00-24:00"}, {"mon": "10:00-24:00"}, {"mon": "10:00-24:00"}),
        ("limits.hours", {"mon": "09:00-10:00"}, {"tue": "09:00-10:00"}, {}),
        ("breaker.daily_loss", (0.04, 0.10, 0.20), (0.05, 0.08, 0.15), (0.04, 0.08, 0.15)),
        ("breaker.shrink", 0.75, 0.5, 0.5),
        ("breaker.shrink", 0.5, 1.0, 0.5),
        ("breaker.losing_run", 0, 4, 4),
        ("breaker.losing_run", 4, 0, 4),
        ("breaker.losing_run", 4, 6, 4),
        ("breaker.cooldown_minutes", 60.0, 90.0, 90.0),
        ("breaker.on_level_3", "reset", "stay_flat", "stay_flat"),
        ("breaker.on_level_3", "stay_flat", "reset", "stay_flat"),
    ],
)  # fmt: skip
def test_the_stricter_of_two_values_holds(key, mine, theirs, stricter):
    tighter, changed = tighten(env(**nested(key, mine)), profile(**nested(key, theirs)))
    assert value_of(tighter, key) == stricter
    expected = [] if stricter == mine else [(key, mine, stricter)]
    assert list(changed) == expected
    others = env(**nested(key, stricter))
    if stricter != mine and key in UNITS:
        seen = mine[2] if isinstance(mine, tuple) else mine
        assert value_of(tighter, UNITS[key]) == seen, "the policy sees what it was trained on"
        others = others.model_copy(update={"units": tighter.units})
    assert tighter == others, "nothing else has changed"


def nested(key: str, value: object) -> dict[str, object]:
    head, _, rest = key.partition(".")
    return {head: nested(rest, value) if rest else value}


def value_of(model: BaseModel, key: str) -> object:
    for name in key.split("."):
        model = getattr(model, name)
    return model


def test_the_prohibitions_of_both_hold():
    tighter, changed = tighten(
        env(limits={"prohibited": [ENTRY]}),
        profile(limits={"prohibited": [ENTRY, LATER, {**LATER, "symbol": "USDJPY"}]}),
    )
    assert tighter == env(limits={"prohibited": [ENTRY, LATER]})
    assert [str(one) for one in changed] == ["limits.prohibited 1 entries -> 2 entries"]


@pytest.mark.parametrize(
    ("mine", "theirs", "after"),
    [
        # the brake is off in the env: it comes as the profile has it
        ({}, {"drawdown": 0.2, "drawdown_level": 1}, {"drawdown": 0.2, "drawdown_level": 1}),
        # it is on: of each key the stricter
        (
            {"drawdown": 0.1, "drawdown_level": 2},
            {"drawdown": 0.2, "drawdown_level": 3},
            {"drawdown": 0.1, "drawdown_level": 3},
        ),
        (
            {"drawdown": 0.3, "drawdown_level": 3},
            {"drawdown": 0.2, "drawdown_level": 1},
            {"drawdown": 0.2, "drawdown_level": 3},
        ),
        ({}, {"losing_run": 4, "losing_run_level": 1}, {"losing_run": 4, "losing_run_level": 1}),
    ],
)
def test_the_level_belongs_to_its_brake(mine, theirs, after):
    assert tighten(env(breaker=mine), profile(breaker=theirs))[0] == env(breaker=after)


@pytest.mark.parametrize(
    ("mine", "theirs", "after"),
    [
        (
            {},
            {"max_correlation": 0.7, "correlation_bars": 50},
            {"max_correlation": 0.7, "correlation_bars": 50},
        ),
        (
            {"max_correlation": 0.8, "on_correlation": "reject"},
            {"max_correlation": 0.7, "on_correlation": "warn", "correlation_bars": 50},
            {"max_correlation": 0.7, "on_correlation": "reject"},
        ),
        (
            {"max_correlation": 0.6},
            {"max_correlation": 0.7, "on_correlation": "reject"},
            {"max_correlation": 0.6, "on_correlation": "reject"},
        ),
        (
            {},
            {"max_day_trades": 3, "day_trade_equity": 25000},
            {"max_day_trades": 3, "day_trade_equity": 25000},
        ),
        # at any equity is the strictest
        (
            {"max_day_trades": 3},
            {"max_day_trades": 4, "day_trade_equity": 25000},
            {"max_day_trades": 3},
        ),
        (
            {"max_day_trades": 3, "day_trade_equity": 25000},
            {"day_trade_equity": 30000},
            {"max_day_trades": 3, "day_trade_equity": 30000},
        ),
    ],
)
def test_a_detail_belongs_to_what_it_is_a_detail_of(mine, theirs, after):
    assert tighten(env(limits=mine), profile(limits=theirs))[0] == env(limits=after)


def keys(model: type[BaseModel], section: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        nested_model = isinstance(kind, type) and issubclass(kind, BaseModel)
        found += keys(kind, f"{section}{name}.") if nested_model else [section + name]
    return found


def test_every_key_has_its_direction():
    assert set(keys(RiskProfile)) == set(STRICTER)
    assert set(DETAILS) | set(DETAILS.values()) <= set(STRICTER)


SHARES = st.sampled_from([None, 0.1, 0.5, 1.0])
SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "sizing": st.fixed_dictionaries(
            {},
            optional={
                "risk_fraction": st.sampled_from([0.01, 0.02, 0.05]),
                "atr_multiple": st.sampled_from([1.0, 2.0, 3.0]),
                "max_volume_share": SHARES,
            },
        ),
        "limits": st.fixed_dictionaries(
            {},
            optional={
                "max_exposure": st.sampled_from([1.0, 5.0, 9.0]),
                "max_correlation": SHARES,
                "on_correlation": st.sampled_from(["warn", "reject"]),
                "max_positions": st.sampled_from([None, 1, 2]),
                "min_balance": st.sampled_from([None, 1.0, 2.0]),
                "leverage": st.dictionaries(
                    st.sampled_from(["XAUUSD", "EURUSD"]), st.sampled_from([2.0, 3.0])
                ),
                "hours": st.sampled_from(
                    [None, {"mon": "08:00-12:00"}, {"mon-tue": "10:00-20:00"}]
                ),
            },
        ),
        "breaker": st.fixed_dictionaries(
            {},
            optional={
                "daily_loss": st.sampled_from([(0.05, 0.1, 0.15), (0.01, 0.2, 0.3)]),
                "losing_run": st.sampled_from([0, 2, 3]),
                "weekly_loss": st.sampled_from([0.1, 0.5, 1.0]),
                "weekly_loss_level": st.sampled_from([1, 2, 3]),
            },
        ),
    },
)


@given(SECTIONS, SECTIONS)
def test_tightening_twice_is_tightening_once(mine, theirs):
    before, chosen = env(**mine), profile(**theirs)
    tighter, changed = tighten(before, chosen)
    assert tighten(tighter, chosen) == (tighter, ())
    assert (tighter == before) == (not changed)
    for key in STRICTER:
        stood = value_of(before, key)
        assert value_of(tighter, key) in (stood, value_of(chosen, key)) or key in (
            "limits.leverage",
            "limits.hours",
            "breaker.daily_loss",
        )


@pytest.mark.parametrize(
    ("mine", "theirs", "text"),
    [
        ({}, {"max_lots": 1}, "limits.max_lots off -> 1"),
        ({"min_day_value": 1}, {"min_day_value": 5e6}, "limits.min_day_value 1 -> 5000000"),
        ({"trades_per_day": 9}, {"trades_per_day": 4}, "limits.trades_per_day 9 -> 4"),
        ({}, {"leverage": {"XAUUSD": 2}}, "limits.leverage off -> {'XAUUSD': 2.0}"),
        (
            {"hours": {"mon": "01:00-05:00"}},
            {"hours": {"mon": "16:30-23:00"}},
            "limits.hours {'mon': '01:00-05:00'} -> never",
        ),
    ],
)
def test_a_change_reads_in_one_line(mine, theirs, text):
    assert [str(one) for one in tighten(env(limits=mine), profile(limits=theirs))[1]] == [text]
