"""``mtquant features`` as a user types it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import yaml
from pydantic.dataclasses import dataclass

from mtquant.commands import features as feature_commands
from mtquant.features.base import PARAMETERS, Column, SymbolFeature
from mtquant.features.registry import FEATURES, chapters, default_feature, groups


def rows(out: str) -> list[list[str]]:
    """Cells of a table's lines."""
    return [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in out.splitlines()
        if line.startswith("│")
    ]


def test_list_shows_every_column_once(mtquant):
    done = mtquant("features", "list")
    assert done.code == 0, done.err
    features = [default_feature(FEATURES[key]) for keys in chapters().values() for key in keys]
    columns = [name for feature in features if feature is not None for name in feature.names]
    assert [row[0] for row in rows(done.out)] == columns
    costs = {row[0]: row[4] for row in rows(done.out)}
    assert costs["strength_signal"] == "-" and "against: [EURUSD, USDJPY]" in done.out
    assert [name for name in columns if costs[name] == "-"] == ["strength_signal"]


def test_list_says_range_lookback_cost_and_meaning(mtquant):
    shown = {row[0]: row for row in rows(mtquant("features", "list", "--group", "technical").out)}
    assert shown["stoch_k_14"][1:4] == ["technical", "0 to 100", "14"]
    assert shown["stoch_k_14"][5] == "place in the channel of 14 bars"
    assert shown["atr_14"][2] == ">= 0" and shown["macd_hist"][2] == "any"
    assert 0 < float(shown["ema_gap_20_50"][4]) < 100
    assert "ret_1" not in shown


def test_list_of_an_env_shows_its_selection(mtquant, desk, small_env):
    chosen = ["minimal", {"returns": {"horizons": [3]}}, "session_asia"]
    env = small_env.model_dump(mode="json") | {"features": chosen}
    (desk / "small.yaml").write_text(yaml.safe_dump(env), encoding="utf-8")
    shown = [row[0] for row in rows(mtquant("features", "list", "--env", "small.yaml").out)]
    assert {"rsi_14", "atr_14", "ret_3", "session_asia"} <= {*shown}
    assert "session_london" not in shown and "ibs" not in shown


def test_nothing_is_cut_in_a_narrow_terminal(mtquant, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    shown = rows(mtquant("features", "list", "--group", "calendar").out)
    columns = [column for key in groups()["calendar"] for column in FEATURES[key]().columns]
    for cell, expected in ((0, "name"), (5, "meaning")):
        text = "".join(row[cell] for row in shown)
        whole = "".join(getattr(column, expected) for column in columns)
        assert text.replace(" ", "") == whole.replace(" ", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("list", "--group", "tecnical"), "unknown group 'tecnical'; did you mean 'technical'?"),
        (("check", "rsii"), "unknown feature 'rsii'; did you mean 'rsi'?"),
        (("check", "--data", "x.csv"), "whose bars does x.csv hold? Say it with --symbol"),
        (("check", "rsi", "--clock", "utc"), "--clock reads the times of a file"),
        (("check", "rsi", "--data", "x.csv", "--symbol", "XAUUSD"), "cannot read"),
        (("check", "rsi", "--timeframe", "H7"), "H7"),
        (("check", "--env", "eurusd_h1", "--symbol", "XAUUSD"), "env eurusd_h1 trades EURUSD, not"),
        (("list", "--env", "xauusd_h2"), "unknown env 'xauusd_h2'; did you mean 'xauusd_h1'?"),
    ],
)
def test_mistakes_get_one_sentence(refused, words, message):
    assert message in refused("features", *words)


def test_check_finds_nothing_in_good_features(mtquant):
    done = mtquant("features", "check", "rsi", "ret_5")
    assert done.code == 0, done.err
    assert "no leaks in rsi, returns" in done.out
    assert "simulated bars, for want of stored ones: 20,000 bars" in done.out


@dataclass(frozen=True, config=PARAMETERS)
class Clairvoyant(SymbolFeature):
    """The next bar's move, where there is one."""

    key: ClassVar[str] = "clairvoyant"
    group: ClassVar[str] = "bad"

    @property
    def columns(self):
        return (Column("tomorrow", "the next move"),)

    @property
    def lookback(self):
        return 1

    def on_bars(self, bars, params):
        return [np.append(np.diff(np.log(bars.close)), 0.0)]


@dataclass(frozen=True, config=PARAMETERS)
class OutOfRange(SymbolFeature):
    """A range that it does not keep."""

    key: ClassVar[str] = "out_of_range"
    group: ClassVar[str] = "bad"

    @property
    def columns(self):
        return (Column("unbounded", "the bar's range in dollars", 0.0, 0.5),)

    @property
    def lookback(self):
        return 1

    def on_bars(self, bars, params):
        return [bars.high - bars.low]


def test_check_ends_with_1_where_a_feature_is_unusable(mtquant, monkeypatch):
    for kind in (Clairvoyant, OutOfRange):
        monkeypatch.setitem(FEATURES, kind.key, kind)
    leaking = mtquant("features", "check", "clairvoyant")
    assert leaking.code == 1
    assert "future" in {row[0] for row in rows(leaking.out)} and "tomorrow" in leaking.out
    outside = mtquant("features", "check", "out_of_range")
    assert outside.code == 1 and "no leaks in out_of_range" in outside.out
    assert ["range", "unbounded"] in [row[:2] for row in rows(outside.out)]


def test_check_of_a_file_and_of_stored_bars(mtquant, desk, easy_bars, easy_store, write_csv):
    write_csv(desk / "gold.csv", easy_bars)
    words = ("check", "ibs", "--data", "gold.csv", "--symbol", "xauusd", "--clock", "utc")
    done = mtquant("features", *words)
    assert done.code == 0, done.err
    assert "gold.csv: 2,000 bars" in done.out
    stored = mtquant("features", "check", "ibs", "--env", "small.yaml", "--data-dir", easy_store)
    assert "XAUUSD_H1: 2,000 bars" in stored.out


def test_a_check_of_everything_leaves_out_what_needs_parameters(mtquant, monkeypatch):
    kinds = {key: FEATURES[key] for key in ("ibs", "strength")}
    monkeypatch.setattr(feature_commands, "all_kinds", lambda: kinds)
    done = mtquant("features", "check")
    assert done.code == 0 and "left out, strength: " in done.out and "no leaks in ibs" in done.out
    named = mtquant("features", "check", "strength")
    assert named.code == 2 and "against: [EURUSD, USDJPY]" in named.err


def test_check_reads_context_bars(mtquant, desk, small_env):
    chosen = [{"strength": {"against": ["EURUSD"]}}]
    env = small_env.model_dump(mode="json") | {"features": chosen}
    (desk / "small.yaml").write_text(yaml.safe_dump(env), encoding="utf-8")
    done = mtquant("features", "check", "--env", "small.yaml")
    assert done.code == 0, done
    assert "no leaks in strength" in done.out
    assert "corr_EURUSD" in mtquant("features", "list", "--env", "small.yaml").out


def test_rank_finds_the_planted_drift_and_says_what_chance_would(mtquant, easy_store):
    words = ("rank", "ret_20", "ibs", "weekday", "--env", "small.yaml", "--data-dir", easy_store)
    done = mtquant("features", *words, "--horizon", 1, "--horizon", 5)
    assert done.code == 0, done.err
    assert "XAUUSD_H1: XAUUSD H1 2015-" in done.out
    assert done.out.count("5% would by chance") == 2 and "moves over 5 bars" in done.out
    first = {row[0]: row for row in rows(done.out)[:4]}
    for name in ("ibs", "ret_20"):
        correlation = first[name][1]
        assert correlation.startswith("+0.") and correlation.endswith("*"), name
        assert first[name][6] == "direction"
    assert not first["weekday_cos"][1].endswith("*")
    refused = mtquant("features", *words, "--horizon", 0)
    assert refused.code == 2 and "horizons [0] must be" in refused.err
