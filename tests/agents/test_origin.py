"""The bars of a bundle are found again, or refused; never silently others."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mtquant.agents.origin import market_of, split_times
from mtquant.config.data import simulated_market
from mtquant.errors import DataError
from mtquant.market.bars import Bars
from mtquant.market.store import Source, Store
from mtquant.training.trainer import TrainingConfig, run_training


def add(store: Path, bars: Bars) -> None:
    Store(store).add(bars, Source("t", "utc", len(bars), bars.when(0), bars.when(-1)))


def later(bars: Bars, count: int = 50) -> Bars:
    """More bars that follow the given ones."""
    columns = {name: np.array(column)[-count:] for name, column in bars.columns()}
    columns["time"] = columns["time"] + columns["time"][-1] - columns["time"][0] + 3_600 * 10**9
    return Bars(bars.symbol, bars.timeframe, **columns)


def earlier(bars: Bars, count: int = 50) -> Bars:
    columns = {name: np.array(column)[:count] for name, column in bars.columns()}
    columns["time"] = columns["time"] - (columns["time"][-1] - columns["time"][0] + 3_600 * 10**9)
    return Bars(bars.symbol, bars.timeframe, **columns)


def test_the_stored_bars_are_found(small_run, easy_store, easy_bars):
    market = market_of(small_run.bundle, easy_store)
    assert market.fingerprints == (easy_bars.fingerprint(),)
    assert market.source == "XAUUSD_H1" and market.simulated_seed is None
    assert market.specs == small_run.bundle.specs


def test_they_are_found_after_the_store_has_grown_at_both_ends(
    small_run, easy_store, easy_bars, tmp_path
):
    store = tmp_path / "store"
    shutil.copytree(easy_store, store)
    add(store, later(easy_bars))
    add(store, earlier(easy_bars))
    assert len(Store(store).get("XAUUSD", easy_bars.timeframe)) == len(easy_bars) + 100
    market = market_of(small_run.bundle, store)
    assert market.fingerprints == (easy_bars.fingerprint(),)
    assert np.array_equal(market.panel.time, easy_bars.time)


@pytest.mark.parametrize("what", ["shorter", "other prices", "other bars between"])
def test_another_history_is_refused(small_run, easy_bars, tmp_path, what):
    columns = {name: np.array(column) for name, column in easy_bars.columns()}
    if what == "shorter":
        columns = {name: column[1:] for name, column in columns.items()}
    elif what == "other prices":
        columns["volume"][1000] += 1.0
    else:
        columns = {name: np.delete(column, 1000) for name, column in columns.items()}
    add(tmp_path, Bars(easy_bars.symbol, easy_bars.timeframe, **columns))
    with pytest.raises(DataError, match="no longer holds the bars that bundle 'small'"):
        market_of(small_run.bundle, tmp_path)


def test_an_empty_store_is_refused(small_run, tmp_path):
    with pytest.raises(DataError, match="XAUUSD H1"):
        market_of(small_run.bundle, tmp_path)


def test_given_bars_are_looked_for_in_the_store(small_run, easy_bars, easy_store, tmp_path):
    config = TrainingConfig(
        env=small_run.bundle.env,
        agent=small_run.bundle.manifest.agent,
        data=easy_bars,
        timesteps=16,
        out=tmp_path / "models",
        runs=tmp_path / "runs",
        data_dir=tmp_path / "data",
    )
    bundle = run_training(config)
    assert market_of(bundle, easy_store).fingerprints == (easy_bars.fingerprint(),)
    with pytest.raises(DataError):
        market_of(bundle, tmp_path / "data")


def test_a_simulated_market_is_made_again(small_run, tmp_path, monkeypatch):
    law = partial(simulated_market, n_bars=2000)
    monkeypatch.setattr("mtquant.config.data.simulated_market", law)
    config = TrainingConfig(
        env=small_run.bundle.env,
        agent=small_run.bundle.manifest.agent,
        timesteps=16,
        out=tmp_path / "models",
        runs=tmp_path / "runs",
        data_dir=tmp_path / "data",
    )
    bundle = run_training(config)
    market = market_of(bundle, tmp_path / "data")
    assert market.fingerprints == bundle.manifest.data.fingerprints
    assert market.simulated_seed == 7 and len(market.panel) == 2000
    generator = {"XAUUSD": {**bundle.manifest.data.generator["XAUUSD"], "law": "another-2"}}
    record = bundle.manifest.data.model_copy(update={"generator": generator})
    changed = type(bundle)(bundle.path, bundle.manifest.model_copy(update={"data": record}))
    with pytest.raises(DataError, match="cannot be made again"):
        market_of(changed)


def test_split_times_are_opens_of_bars(small_run, easy_bars):
    first, last = split_times(small_run.bundle, "test")
    assert (first, last) == (easy_bars.time[1600], easy_bars.time[-1])
    assert split_times(small_run.bundle, "history") == (easy_bars.time[0], easy_bars.time[-1])
