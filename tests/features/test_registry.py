from __future__ import annotations

import pytest
from pydantic.dataclasses import dataclass

from mtquant.config.schema import EnvConfig
from mtquant.errors import ConfigError
from mtquant.features.base import PARAMETERS, Column, SymbolFeature
from mtquant.features.registry import (
    FEATURES,
    SELECTIONS,
    build_features,
    chapters,
    groups,
    make_feature,
    restore_feature,
)
from mtquant.features.technical import Rsi


def names(selection):
    return [name for feature in build_features(selection) for name in feature.names]


def test_the_technical_eight_stand_in_their_order():
    assert names(["technical"]) == [
        "rsi_14",
        "macd_hist",
        "bollinger_position",
        "atr_14",
        "ema_gap_20_50",
        "adx_14",
        "stoch_k_14",
        "ibs",
    ]


def test_every_group_can_be_selected_and_names_are_unique():
    everything = names(list(groups()))
    assert len(everything) == len(set(everything))
    assert {f.group for f in build_features(list(groups()))} == set(groups())


def test_every_feature_describes_itself():
    for key in FEATURES:
        feature = make_feature(key)
        assert feature.key == key
        assert feature.lookback >= 1
        assert all(column.meaning and column.low < column.high for column in feature.columns)
        assert feature.parameters() == make_feature(key, feature.parameters()).parameters()


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (["rsi"], ["rsi_14"]),
        (["rsi_14", "ibs"], ["rsi_14", "ibs"]),
        (["session_london", "session_asia"], ["session_london", "session_asia"]),
        (["session_asia", "session_asia"], ["session_asia"]),
        ([{"rsi": {"period": 7}}, {"rsi": {"period": 21}}], ["rsi_7", "rsi_21"]),
        (["returns", {"returns": {"horizons": [1, 5]}}], ["ret_1", "ret_5"]),
        (["returns", "ret_5"], ["ret_1", "ret_5", "ret_20", "ret_60"]),
        (["ret_5", "returns"], ["ret_1", "ret_5", "ret_20", "ret_60"]),
        ([{"ibs": None}], ["ibs"]),
        ([Rsi(period=9), "ibs"], ["rsi_9", "ibs"]),
    ],
)
def test_selections(selection, expected):
    assert names(selection) == expected


def test_parameters_take_the_place_of_a_groups_default():
    chosen = names(["technical", {"rsi": {"period": 7}}])
    assert chosen[0] == "rsi_7"
    assert "rsi_14" not in chosen
    assert len(chosen) == 8


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (["rsi14"], "unknown feature 'rsi14'; did you mean 'rsi_14'?"),
        (["tecnical"], "did you mean 'technical'?"),
        ([{"rsii": {}}], "unknown feature 'rsii'; did you mean 'rsi'?"),
        ([{"rsi": {"perod": 7}}], "unknown parameter of feature 'rsi' 'perod'; did you mean 'per"),
        ([{"rsi": {"period": 1}}], "feature 'rsi': parameter 'period' is 1: Input should be gr"),
        ([{"rsi": 14}], "feature 'rsi' is given 14; an entry is a name"),
        ([14], "the feature selection holds 14; an entry is a name"),
        ([{"ema_gap": {"fast": 50, "slow": 20}}], "feature 'ema_gap': fast 50 must be below slow"),
        ([{"realised_volatility": {"short": 100}}], "short 100 must be below long 100"),
        ([{"technical": {"period": 7}}], "the group 'technical' takes no parameters; give them"),
        ([{"macd_hist": {"fast": 3}}, {"macd_hist": {"fast": 4}}], "'macd_hist' is selected twice"),
        ([{"returns": {"horizons": [5, 5]}}], "column 'ret_5' is selected twice"),
        ([{"returns": {"horizons": []}}], "parameter 'horizons'"),
        ([{"minimal": {"rsi": 7}}], "the selection 'minimal' takes no parameters; give them"),
        (["minimun"], "unknown feature 'minimun'; did you mean 'minimal'?"),
        ([], "no features are selected; choose among returns, technical"),
    ],
)
def test_mistakes_get_one_sentence(selection, message):
    with pytest.raises(ConfigError) as caught:
        build_features(selection)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_feature_is_restored_with_the_columns_in_use():
    feature = restore_feature("session", {}, ["session_overlap"])
    assert feature.names == ("session_overlap",)
    with pytest.raises(ConfigError, match="unknown column 'session_tokyo'"):
        restore_feature("session", {}, ["session_tokyo"])


def test_a_selection_is_changed_like_a_group():
    minimal = names(["minimal"])
    assert minimal[:3] == ["ema_gap_20_50", "rsi_14", "atr_14"]
    assert {name.rsplit("_", 2)[0] for name in minimal[3:]} == {"higher_high", "higher_low"}
    assert names(["minimal", {"rsi": {"period": 7}}]) == ["ema_gap_20_50", "rsi_7", *minimal[2:]]
    assert names(["rsi_14", "minimal"]) == minimal


def test_a_group_selects_what_needs_no_parameters():
    needy = {"strength", "level"}
    assert all(key in chapters()[key] and key not in groups() for key in needy)
    able = [key for key in FEATURES if key not in needy]
    assert sorted(key for keys in groups().values() for key in keys) == sorted(able)
    assert build_features([{"strength": {"against": ["EURUSD"]}}])[0].context == ("EURUSD",)


def test_named_selections_stand_beside_groups_and_features():
    assert not set(SELECTIONS) & ({*FEATURES} | {*groups()})
    for name in SELECTIONS:
        assert names([name])
    assert names(["default"]) == names([*SELECTIONS["default"]])
    assert names(["default", "minimal"])[: len(names(["default"]))] == names(["default"])


def test_the_default_selection_is_what_an_env_gets_that_names_none():
    assert names(["default"]) == names(EnvConfig(name="plain", symbols=("XAUUSD",)).features)


def test_a_parameter_without_a_default_has_to_be_given(monkeypatch):
    @dataclass(frozen=True, config=PARAMETERS)
    class Above(SymbolFeature):
        key = "above"
        group = "above"

        level: float

        @property
        def columns(self):
            return (Column(f"above_{self.level}", "whether the close is above a level"),)

        @property
        def lookback(self):
            return 1

        def on_bars(self, bars, params):
            return [(bars.close > self.level) * 1.0]

    monkeypatch.setitem(FEATURES, "above", Above)
    assert "above" in chapters() and "above" not in groups()
    assert names([{"above": {"level": 2}}]) == ["above_2.0"]
    assert names(["ibs"]) == ["ibs"], "it does not disturb the search for columns"
    for selection in (["above"], [{"above": {}}]):
        with pytest.raises(
            ConfigError, match="'above' needs its parameter 'level'; write 'above: "
        ):
            build_features(selection)
    with pytest.raises(ConfigError, match="unknown feature 'above_2'; did you mean 'above'"):
        build_features(["above_2"])


def test_a_column_asked_for_stays_beside_the_feature_with_other_parameters():
    for selection in (["rsi_14", {"rsi": {"period": 7}}], [{"rsi": {"period": 7}}, "rsi_14"]):
        names = {name for feature in build_features(selection) for name in feature.names}
        assert names == {"rsi_14", "rsi_7"}


@pytest.mark.parametrize("preset", [["seed"], {"a": 1}, 3])
def test_a_preset_is_a_name(preset):
    with pytest.raises(ConfigError, match="preset"):
        build_features([{"quantum_state": {"preset": preset}}])


@pytest.mark.parametrize("key", ["fusion", "fusion_inputs"])
def test_what_a_part_refuses_the_whole_refuses_at_once(key):
    with pytest.raises(ConfigError, match="twice"):
        build_features([{key: {"against": ["EURUSD", "EURUSD"]}}])
