"""``mtquant train``: what it prints and leaves, and one line for every mistake."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SMALL = ("--symbol", "XAUUSD", "--env", "small.yaml", "--agent", "ppo.yaml")


def test_train_prints_what_it_uses_and_writes_a_bundle(write_csv, mtquant, desk, easy_bars):
    write_csv(desk / "gold.csv", easy_bars)
    done = mtquant("train", *SMALL, "--data", "gold.csv", "--clock", "utc", "--name", "mine")
    assert done.code == 0 and done.err == ""
    for told in (
        "env      small.yaml (file)",
        "agent    ppo.yaml (file)",
        "symbols  symbols.yaml (package)",
        "2000 bars XAUUSD H1 read on clock utc",
        easy_bars.fingerprint(),
        "XAUUSD_H1: 2,000 bars",
        "512 frames: validation reward",
        ", best",
        "was selected from 4",
        "buy and hold",
        "Profit factor",
    ):
        assert told in done.out, told
    bundle = desk / "models" / "checkpoints" / "mine"
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["bundle_hash"] in done.out and manifest["name"] == "mine"
    assert (desk / "runs" / "mine").is_dir() and (desk / "data" / "XAUUSD_H1.parquet").is_file()


def test_without_data_the_market_is_simulated_and_says_so(mtquant):
    done = mtquant("train", *SMALL, "--timesteps", 16)
    assert done.code == 0, done.err
    assert "simulated market hidden-regime-1: 100,000 bars" in done.out
    assert "Simulated market: these numbers say nothing about XAUUSD" in done.out
    assert "SIMULATED MARKET, seed 7" in done.out


def test_a_file_in_the_working_directory_wins_over_the_packaged_one(mtquant, desk, small_env):
    (desk / "envs").mkdir()
    values = small_env.model_dump(mode="json")
    (desk / "envs" / "xauusd_h1.yaml").write_text(yaml.safe_dump({**values, "features": ["x"]}))
    done = mtquant("train", "--symbol", "XAUUSD")
    assert "env      xauusd_h1.yaml (working directory)" in done.out
    assert "agent    ppo.yaml (package)" in done.out
    assert done.code == 2 and "unknown feature 'x'" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say what to trade: --symbol XAUUSD"),
        (("--symbol", "XAUSD"), "unknown symbol 'XAUSD'; did you mean 'XAUUSD'?"),
        (("--symbol", "EURUSD", "--env", "small.yaml"), "env small trades XAUUSD, not EURUSD"),
        (("--env", "xauusd_h2"), "unknown env 'xauusd_h2'; did you mean 'xauusd_h1'?"),
        (("--env", "other.yaml"), "there is no env file 'other.yaml'"),
        (("--env", "../small"), "neither the name of an env nor a .yaml file"),
        (("--symbol", "XAUUSD", "--agent", "pppo"), "unknown agent 'pppo'; did you mean 'ppo'?"),
        (("--symbol", "XAUUSD", "--agent", "flat"), "kind of learning agent 'flat'"),
        ((*SMALL, "--clock", "utc"), "give the file with --data"),
        ((*SMALL, "--timeframe", "H7"), "unknown timeframe 'H7'"),
        ((*SMALL, "--timesteps", "0"), "timesteps = 0"),
        ((*SMALL, "--timesteps", "-5"), "timesteps = -5"),
        ((*SMALL, "--seed", "-1"), "seed = -1"),
        ((*SMALL, "--name", "../x"), "name '../x' must be"),
        ((*SMALL, "--name", "a b"), "name 'a b' must be"),
        ((*SMALL, "--name", ""), "name '' must be"),
        ((*SMALL, "--name", "CON"), "CON"),
        ((*SMALL, "--out", "small.yaml"), "small.yaml"),
        ((*SMALL, "--data-dir", "small.yaml"), "small.yaml"),
        (("--resume", "nothing"), "no run 'nothing' to resume"),
        (("--resume", "nothing", "--seeds", "2"), "leave the rest out"),
        (("--resume", "nothing", "--profile"), "leave the rest out"),
        ((*SMALL, "--seeds", "0"), "seeds = 0"),
        ((*SMALL, "--seeds", "2", "--ensemble", "mode"), "unknown ensemble 'mode'"),
        ((*SMALL, "--ensemble", "mean"), "nothing to merge"),
        ((*SMALL, "--seeds", "2", "--profile"), "a profile is of one training"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_of_train_is_one_line(refused, words, told):
    assert told in refused("train", *words)


def test_a_wrong_key_in_a_file_is_one_line(refused, desk, small_env, small_agent):
    env, agent = small_env.model_dump(mode="json"), small_agent.model_dump(mode="json")
    cases = [
        ({**env, "featres": []}, agent, "unknown key 'featres'; did you mean 'features'?"),
        ({**env, "costs": {"slipage_points": 1}}, agent, "mean 'slippage_points'? under 'costs'"),
        ({**env, "features": ["retruns"]}, agent, "unknown feature 'retruns'; did you mean"),
        (env, {**agent, "learnin": {}}, "unknown key 'learnin'; did you mean 'learning'?"),
        (env, {**agent, "params": {"n_step": 8}}, "unknown parameter 'n_step'; did you mean"),
        (env, {**agent, "params": {"policy_kwargs": 3}}, "policy_kwargs"),
    ]
    for changed_env, changed_agent, told in cases:
        (desk / "small.yaml").write_text(yaml.safe_dump(changed_env))
        (desk / "ppo.yaml").write_text(yaml.safe_dump(changed_agent))
        assert told in refused("train", *SMALL)
    (desk / "small.yaml").write_text("a: [1,\n b: }")
    assert "'small.yaml' line 2 is no valid YAML" in refused("train", *SMALL)


def test_a_wrong_file_of_bars_is_one_line(write_csv, refused, mtquant, desk, easy_bars):
    write_csv(desk / "gold.csv", easy_bars)
    mixed = easy_bars.to_frame()
    mixed["time"] = mixed["time"].dt.tz_localize(None)
    minutes = mixed.iloc[-1:].copy()
    several = pd.concat(
        [minutes.assign(time=minutes["time"] + pd.Timedelta(minutes=5 * k)) for k in range(1, 400)]
    )
    pd.concat([mixed[:400], several]).to_csv(desk / "mixed.csv", index=False)
    (desk / "junk.txt").write_text("hello\nworld\n")
    (desk / "empty.csv").write_text("")
    (desk / "noise.parquet").write_bytes(np.random.default_rng(0).bytes(500))
    for name, told in (
        ("none.csv", "cannot read none.csv"),
        (".", "cannot read ."),
        ("junk.txt", "junk.txt, line 1"),
        ("empty.csv", "empty.csv is empty"),
        ("noise.parquet", "no market data"),
    ):
        assert told in refused("train", *SMALL, "--data", name, "--clock", "utc")
    done = mtquant("train", *SMALL, "--data", "mixed.csv", "--clock", "utc")
    assert done.code == 2 and len(done.err.splitlines()) == 1 and not (desk / "data").exists()
    gold = ("--data", "gold.csv")
    assert "name it with --clock" in refused("train", *SMALL, *gold)
    assert "unknown clock 'moon'" in refused("train", *SMALL, *gold, "--clock", "moon")
    five = ("--clock", "utc", "--timeframe", "M5")
    assert "H1, not M5" in refused("train", *SMALL, *gold, *five)


def test_too_few_bars_says_how_many_are_needed(write_csv, mtquant, desk, easy_bars):
    write_csv(desk / "gold.csv", easy_bars[:500])
    done = mtquant("train", *SMALL, "--data", "gold.csv", "--clock", "utc")
    assert done.code == 2 and done.err.startswith("error: 500 bars are too few")
    assert "need 1413" in done.err and len(done.err.splitlines()) == 1
    assert not (desk / "models").exists() and not (desk / "runs").exists()


def test_a_wrong_option_is_seen_before_a_file_is_stored(write_csv, refused, desk, easy_bars):
    write_csv(desk / "gold.csv", easy_bars)
    for wrong in (("--timesteps", "-5"), ("--name", "../x"), ("--seed", "-1")):
        refused("train", *SMALL, "--data", "gold.csv", "--clock", "utc", *wrong)


def test_a_store_that_is_a_file_is_one_line(write_csv, refused, desk, easy_bars):
    write_csv(desk / "gold.csv", easy_bars)
    data = ("--data", "gold.csv", "--clock", "utc", "--data-dir", "small.yaml")
    assert "small.yaml" in refused("train", *SMALL, *data)


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="permissions bind nobody here"
)
@pytest.mark.parametrize("folder", ["models", "data", "runs"])
def test_a_folder_that_cannot_be_written_is_one_line(write_csv, refused, desk, easy_bars, folder):
    write_csv(desk / "gold.csv", easy_bars)
    (desk / folder).mkdir(mode=0o500)
    assert folder in refused("train", *SMALL, "--data", "gold.csv", "--clock", "utc")


def test_a_taken_name_is_one_line(refused, models):
    assert "exists already; choose another --name" in refused("train", *SMALL, "--name", "small")


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_saves_and_says_how_to_go_on(desk, easy_store, mtquant):
    shutil.copytree(easy_store, desk / "data")
    command = [sys.executable, "-u", "-m", "mtquant.train", *SMALL, "--name", "long"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [*command, "--timesteps", "10000000"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        shown = [process.stdout.readline()]
        while "validation reward" not in shown[-1]:
            shown.append(process.stdout.readline())
            assert shown[-1], f"ended early: {shown} {process.stderr.read()}"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == ""
    assert "go on with: python -m mtquant.train --resume long" in out
    assert not (desk / "models").exists()
    state = desk / "runs" / "long" / "trainer" / "state.json"
    content = json.loads(state.read_text())
    content["record"]["agent"]["learning"]["timesteps"] = content["frames"] + 512
    state.write_text(json.dumps(content))
    done = mtquant("train", "--resume", "long")
    assert done.code == 0, done.err
    assert "resumed  at" in done.out and (desk / "models" / "checkpoints" / "long").is_dir()


def test_profile_says_where_the_time_goes(desk, easy_store, mtquant):
    shutil.copytree(easy_store, desk / "data")
    done = mtquant("train", *SMALL, "--profile")
    assert done.code == 0, done.err
    assert "where the time goes: " in done.out and ", 2,048 frames" in done.out
    for part in ("env", "policy forward", "update", "validation", "export", "features"):
        assert f"\n{part} " in done.out, part


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_ctrl_c_reaches_every_seed_and_the_run_goes_on(desk, easy_store, mtquant):
    """As on a terminal: the signal goes to the command and to all its processes."""
    shutil.copytree(easy_store, desk / "data")
    command = [sys.executable, "-u", "-m", "mtquant.train", *SMALL, "--name", "long"]
    with subprocess.Popen(
        [*command, "--timesteps", "10000000", "--seeds", "2"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        waited_for = {"seed 0: ", "seed 1: "}
        while waited_for:
            line = process.stdout.readline()
            assert line, f"ended early: {process.stderr.read()}"
            waited_for -= {line[:8]} if "validation reward" in line else set()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and err == ""
    assert "go on with: python -m mtquant.train --resume long" in out
    assert not (desk / "models").exists()
    place = desk / "runs" / "long" / "seeds.json"
    asked = json.loads(place.read_text())
    for seed in range(2):
        state = json.loads((place.parent / f"seed-{seed}" / "trainer" / "state.json").read_text())
        assert state["frames"] >= 512
    shutil.rmtree(place.parent / "seed-1" / "trainer")  # as if it had not come so far
    asked["record"]["agent"]["learning"]["timesteps"] = 1024
    place.write_text(json.dumps(asked))
    done = mtquant("train", "--resume", "long")
    assert done.code == 0, done.err
    assert "seed 0: resumed  at" in done.out and "seed 1: resumed" not in done.out
    assert "Deployed: the median seed by validation reward" in done.out
    assert (desk / "models" / "checkpoints" / "long").is_dir()
