from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from mtquant.errors import ConfigError, DataError
from mtquant.features.pipeline import FeaturePipeline, FittedPipeline, code_digest
from mtquant.features.registry import groups
from mtquant.market.panel import Panel

SMALL = [{"returns": {"horizons": [1, 5]}}, {"rsi": {"period": 3}}, "session_london"]


@pytest.fixture
def fitted(walk):
    return FeaturePipeline(SMALL, ["XAUUSD"]).fit(Panel([walk(600)]))


def test_one_symbol_has_plain_names(fitted):
    assert fitted.names == ("ret_1", "ret_5", "rsi_3", "session_london")


def test_first_valid_row_is_the_first_finite_one(fitted, walk):
    panel = Panel([walk(300, seed=1)])
    first = fitted.first_valid(panel)
    assert first == fitted.lookback - 1
    raw = fitted.raw(panel)
    assert np.isfinite(raw[first:]).all()
    assert not np.isfinite(raw[first - 1]).all()


def test_the_scaler_sees_the_training_split_only(walk):
    bars = walk(1200)
    fitted = FeaturePipeline(SMALL, ["XAUUSD"]).fit(Panel([bars[:600]]))
    alone = fitted.raw(Panel([bars]))[fitted.lookback - 1 : 600, 0]
    assert fitted.scaler.centre[0] == np.median(alone)


def test_last_rows_equal_those_of_the_whole(fitted, walk):
    panel = Panel([walk(3000, seed=2)])
    np.testing.assert_array_equal(fitted.transform(panel, last=7), fitted.transform(panel)[-7:])
    np.testing.assert_array_equal(fitted.latest(panel), fitted.transform(panel)[-1:])
    whole = fitted.raw(panel[:50])
    np.testing.assert_array_equal(fitted.raw(panel[:50], last=99), whole)


def test_too_few_bars_say_how_many_are_needed(fitted, walk):
    short = Panel([walk(fitted.lookback - 1)])
    for call in (fitted.first_valid, fitted.latest, fitted.pipeline.fit):
        with pytest.raises(DataError, match=f"read {fitted.lookback} bars .* XAUUSD has"):
            call(short)
    assert np.isfinite(fitted.latest(Panel([walk(fitted.lookback)]))).all()


def test_several_symbols_are_symbol_major_each_on_its_own_bars(walk):
    gold, euro = walk(500), walk(700, seed=4, price=1.1, symbol="EURUSD")
    euro = euro[np.s_[100:]]
    pipeline = FeaturePipeline(SMALL, ["XAUUSD", "EURUSD"])
    panel = Panel([gold, euro])
    fitted = pipeline.fit(panel)
    assert fitted.names[0] == "XAUUSD.ret_1"
    assert fitted.names[4] == "EURUSD.ret_1"
    raw = fitted.raw(panel)
    assert raw.shape == (len(panel), 8)
    alone = FeaturePipeline(SMALL, ["EURUSD"]).fit(Panel([euro])).raw(Panel([euro]))
    np.testing.assert_array_equal(raw[100:, 4:7], alone[:, :3])
    first = fitted.first_valid(panel)
    assert first == 100 + fitted.lookback - 1
    assert np.isfinite(raw[first:]).all()
    np.testing.assert_array_equal(raw[-1, :3], raw[499, :3], "gold has ended and keeps its state")
    np.testing.assert_array_equal(fitted.raw(panel, last=300), raw[-300:])


def test_other_symbols_are_refused(fitted, walk):
    with pytest.raises(ConfigError, match="set up for XAUUSD and the bars are of EURUSD"):
        fitted.raw(Panel([walk(300, symbol="EURUSD")]))
    with pytest.raises(ConfigError, match="at least one symbol"):
        FeaturePipeline(SMALL, [])


def test_inputs_are_found_by_name(fitted, walk):
    np.testing.assert_array_equal(fitted.positions(["rsi_3", "ret_1"]), [2, 0])
    with pytest.raises(ConfigError, match="unknown input 'rsi3'; did you mean 'rsi_3'"):
        fitted.positions(["rsi3"])
    panel = Panel([walk(500), walk(500, seed=1, symbol="EURUSD")])
    two = FeaturePipeline(SMALL, panel.symbols).fit(panel)
    np.testing.assert_array_equal(two.positions(["rsi_3", "EURUSD.ret_1"]), [2, 6, 4])


def test_the_manifest_gives_back_the_same_bits(walk):
    panel = Panel([walk(1500)])
    fitted = FeaturePipeline([*groups(), {"rsi": {"period": 7}}], ["XAUUSD"]).fit(panel)
    again = FittedPipeline.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.names == fitted.names
    assert again.to_dict() == fitted.to_dict()
    np.testing.assert_array_equal(again.transform(panel), fitted.transform(panel))


def test_a_damaged_manifest_is_refused(fitted):
    good = fitted.to_dict()
    for broken, error, message in (
        ({"features": None}, DataError, "cannot be read"),
        ({"symbols": ["XAUUSD", "EURUSD"]}, ConfigError, "disagree about"),
    ):
        with pytest.raises(error, match=message):
            FittedPipeline.from_dict(good | broken)
    missing = copy.deepcopy(good)
    del missing["features"][0]["columns"]
    with pytest.raises(DataError, match="'columns'"):
        FittedPipeline.from_dict(missing)
    renamed = copy.deepcopy(good)
    renamed["features"][1]["feature"] = "rsy"
    with pytest.raises(ConfigError, match="did you mean 'rsi'"):
        FittedPipeline.from_dict(renamed)
    reordered = copy.deepcopy(good)
    reordered["features"].reverse()
    with pytest.raises(ConfigError, match="their order"):
        FittedPipeline.from_dict(reordered)


def test_the_code_digest_is_a_stable_hash():
    assert len(code_digest()) == 64
    assert code_digest() == code_digest()


def test_a_symbol_is_not_held_against_itself():
    with pytest.raises(ConfigError, match="XAUUSD against itself"):
        FeaturePipeline([{"strength": {"against": ["XAUUSD"]}}], ["XAUUSD"])
