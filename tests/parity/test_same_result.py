"""The same bars, configuration and seed give the same bundle: from any file, in any process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mtquant.agents.bundle import Bundle, load_bundle
from mtquant.config.data import read_bars
from mtquant.market.bars import Bars
from mtquant.market.clock import Clock

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
EXPORT_HEADER = "<DATE> <TIME> <OPEN> <HIGH> <LOW> <CLOSE> <TICKVOL> <VOL> <SPREAD>"


def train(folder: Path, *options: object) -> Bundle:
    """A training in a fresh process; everything lies below ``folder``."""
    command = [sys.executable, "-m", "mtquant.train", *map(str, options), "--name", "run"]
    places = ["--out", "models", "--data-dir", "data"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        [*command, *places], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return load_bundle(folder / "models" / "run")


def same(one: Bundle, other: Bundle) -> None:
    assert one.manifest.bundle_hash == other.manifest.bundle_hash
    for name in ("policy.onnx", "report.json"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()


@pytest.fixture
def options(tmp_path: Path, small_env, small_agent) -> tuple[object, ...]:
    """The small training of the other tests, as a user would ask for it."""
    env, agent = tmp_path / "small.yaml", tmp_path / "ppo.yaml"
    env.write_text(yaml.safe_dump(small_env.model_dump(mode="json")), encoding="utf-8")
    agent.write_text(yaml.safe_dump(small_agent.model_dump(mode="json")), encoding="utf-8")
    return ("--symbol", "XAUUSD", "--env", env, "--agent", agent)


def on_server_clock(bars: Bars) -> np.ndarray:
    return Clock.parse("ny+7").from_utc(bars.time).astype("M8[ns]")


def write_export(path: Path, bars: Bars) -> None:
    """The layout of MetaTrader 5's "Export Bars"."""
    times = pd.DatetimeIndex(on_server_clock(bars)).strftime("%Y.%m.%d\t%H:%M:%S")
    frame = bars.to_frame()
    rows = [
        f"{time}\t{row.open:.2f}\t{row.high:.2f}\t{row.low:.2f}\t{row.close:.2f}"
        f"\t{row.volume:.0f}\t0\t{row.spread:.0f}"
        for time, row in zip(times, frame.itertuples(), strict=True)
    ]
    text = "\r\n".join([EXPORT_HEADER.replace(" ", "\t"), *rows, ""])
    path.write_bytes(text.encode())


def write_parquet(path: Path, bars: Bars) -> None:
    """Naive server times, as a script over the terminal's API would write them."""
    frame = bars.to_frame().assign(time=on_server_clock(bars))
    frame.to_parquet(path, index=False)


def test_a_fresh_process_repeats_the_training(tmp_path, options, easy_bars, small_run):
    write_export(tmp_path / "gold.csv", easy_bars)
    again = train(tmp_path, *options, "--data", "gold.csv", "--clock", "ny+7")
    same(again, small_run.bundle)


def test_two_layouts_of_the_same_bars_are_the_same_bars(tmp_path, easy_bars):
    write_export(tmp_path / "gold.csv", easy_bars)
    write_parquet(tmp_path / "gold.parquet", easy_bars)
    for name in ("gold.csv", "gold.parquet"):
        bars = read_bars(tmp_path / name, "XAUUSD", clock="ny+7")
        assert bars.fingerprint() == easy_bars.fingerprint(), name
        assert read_bars(tmp_path / name, "XAUUSD", clock="utc").fingerprint() != (
            easy_bars.fingerprint()
        )


@pytest.mark.slow
def test_two_layouts_train_the_same_agent(tmp_path, options, easy_bars, small_run):
    write_parquet(tmp_path / "gold.parquet", easy_bars)
    parquet = train(tmp_path, *options, "--data", "gold.parquet", "--clock", "ny+7")
    same(parquet, small_run.bundle)


@pytest.mark.slow
def test_another_seed_trains_another_agent(tmp_path, options, easy_bars, small_run):
    write_parquet(tmp_path / "gold.parquet", easy_bars)
    file = ("--data", "gold.parquet", "--clock", "ny+7")
    other = train(tmp_path, *options, *file, "--seed", 1)
    assert other.manifest.bundle_hash != small_run.bundle.manifest.bundle_hash
    report = (small_run.bundle.path / "report.json").read_bytes()
    assert (other.path / "report.json").read_bytes() != report


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_raw_export_of_real_gold_trains_like_its_parquet(tmp_path):
    files = (
        SHARED / "XAUUSD_H1_2021_2024_mt5.parquet",
        SHARED / "raw" / "XAUUSD_H1_202109070200_202407312300.csv",
    )
    if not all(file.is_file() for file in files):
        pytest.skip("no shared data beside the checkout")
    bundles = []
    for number, file in enumerate(files):
        folder = tmp_path / str(number)
        folder.mkdir()
        chosen = ("--symbol", "XAUUSD", "--timesteps", 65_536, "--clock", "ny+7")
        bundles.append(train(folder, *chosen, "--data", file))
    assert bundles[0].manifest.data.fingerprints == bundles[1].manifest.data.fingerprints
    same(*bundles)
