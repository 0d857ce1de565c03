"""What a whole training leaves behind: bundle, report, scalars and news."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from math import isfinite

import numpy as np
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtquant.agents.bundle import load_bundle
from mtquant.backtest.report import console_table
from mtquant.config.data import simulated_market
from mtquant.market.bars import Bars
from mtquant.training.selection import Selection
from mtquant.training.trainer import run_training


def row_of(bars: Bars, time_ns: int) -> int:
    return int(np.searchsorted(bars.time, time_ns))


def test_the_bundle_is_whole(small_run):
    folder = small_run.bundle.path
    assert folder == small_run.folder / "models" / "small"
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json",
        "policy.onnx",
        "report.json",
        "report.html",
        "run.json",
    }
    assert load_bundle(folder).manifest == small_run.bundle.manifest
    assert sorted(path.name for path in (small_run.folder / "models").iterdir()) == ["small"]


def test_the_manifest_says_what_was_done(small_run, easy_bars, small_env, small_agent):
    manifest = small_run.bundle.manifest
    assert manifest.env == small_env and manifest.agent == small_agent
    assert manifest.agent_name == "ppo" and manifest.seed == 0
    assert manifest.timesteps == 2048
    assert manifest.config_id == f"{small_env.config_id}-{small_agent.config_id}"
    assert manifest.inputs == ("ret_1", "ret_5", "ret_20", "ret_60", "spread_ratio")
    assert manifest.learned and "was selected from 4" in manifest.selection
    assert manifest.data.source == "XAUUSD_H1"
    assert manifest.data.simulated_seed is None and manifest.data.generator == {}
    assert manifest.data.fingerprints == (easy_bars.fingerprint(),)
    report = json.loads((small_run.bundle.path / "report.json").read_text(encoding="utf-8"))
    assert manifest.metrics == report["results"]


def test_splits_are_chronological_with_the_embargo_between(small_run, easy_bars, small_env):
    splits = small_run.bundle.manifest.data.splits
    rows = {name: [row_of(easy_bars, t) for t in times] for name, times in splits.items()}
    assert rows["history"] == [0, 1999]
    gap = small_env.split.embargo_bars + 1
    assert rows["train"][1] + gap == rows["validation"][0] == 1280
    assert rows["validation"][1] + gap == rows["test"][0] == 1600
    assert rows["test"][1] == 1999


def test_what_may_differ_between_equal_runs_stands_in_run_json(config):
    moments = iter(
        [datetime(2026, 1, 5, 12, 0, tzinfo=UTC), datetime(2026, 1, 5, 12, 3, tzinfo=UTC)]
    )
    bundle = run_training(config, clock=lambda: next(moments))
    run = json.loads((bundle.path / "run.json").read_text())
    assert run["seconds"] == 180 and {"host", "platform", "python"} <= set(run)
    assert bundle.manifest.created == "2026-01-05T12:03:00.000+00:00"
    assert "2026" not in (bundle.path / "report.json").read_text()


def test_tensorboard_has_what_a_run_is_watched_by(small_run):
    events = EventAccumulator(str(small_run.folder / "runs" / "small"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    passes = ("net_return", "sharpe", "sortino", "max_drawdown", "turnover_per_bar", "exposure")
    episodes = ("total_return", "sortino", "sharpe", "max_drawdown", "turnover", "exposure")
    assert {f"validation/{name}" for name in (*passes, "mean_reward", "accepted")} <= tags
    assert {f"train_episodes/{name}" for name in (*episodes, "mean_reward", "finished")} <= tags
    assert {"train/loss", "train/value_loss", "train/policy_gradient_loss", "time/fps"} <= tags
    steps = [event.step for event in events.Scalars("validation/net_return")]
    assert steps == [512, 1024, 1536, 2048]
    assert all(
        isfinite(event.value) for tag in tags for event in events.Scalars(tag) if "kl" not in tag
    )


def test_the_report_stands_beside_flat_and_buy_and_hold(small_run):
    text = (small_run.bundle.path / "report.json").read_text(encoding="utf-8")
    report = json.loads(text)
    assert set(report["results"]) == {"agent", "flat", "buy_and_hold"}
    flat, hold = report["results"]["flat"], report["results"]["buy_and_hold"]
    assert flat["net_return"] == 0.0 and hold["net_return"] != 0.0
    assert report["tested"]["bars"] == 399 and report["warning"] is None
    assert report["selection"] == small_run.bundle.manifest.selection
    page = (small_run.bundle.path / "report.html").read_text(encoding="utf-8")
    assert "buy and hold" in page and "imulated market" not in page


def test_the_listener_hears_it_all(config, heard):
    news = heard()
    run_training(config, listener=news)
    assert news.frames == [512, 1024, 1536, 2048] == news.validated
    assert any("given bars: 2,000 bars" in text for text in news.texts)
    assert any("warm-up 119 bars" in text for text in news.texts)
    assert len(news.reports) == 1 and news.reports[0].ledger.time_ns.size == 399


def test_listening_changes_nothing(config, small_run, heard):
    again = replace(config, data=None, data_dir=small_run.config.data_dir)
    bundle = run_training(again, listener=heard())
    assert bundle.manifest.bundle_hash == small_run.bundle.manifest.bundle_hash


def test_another_seed_learns_otherwise(config, small_run):
    other = run_training(replace(config, seed=1))
    policies = [(bundle.path / "policy.onnx").read_bytes() for bundle in (other, small_run.bundle)]
    assert policies[0] != policies[1]
    assert other.manifest.bundle_hash != small_run.bundle.manifest.bundle_hash


def test_another_name_is_the_same_bundle(config):
    first = run_training(config)
    second = run_training(replace(config, name="other"))
    assert first.manifest.bundle_hash == second.manifest.bundle_hash
    names = ("report.json", "policy.onnx")
    for name in names:
        assert (first.path / name).read_bytes() == (second.path / name).read_bytes()


def test_where_nothing_beats_flat_the_bundle_is_flat(config, heard):
    news = heard()
    too_poor = replace(config, overrides={"account": {"capital": 10.0}})
    bundle = run_training(too_poor, listener=news)
    manifest = bundle.manifest
    assert not manifest.learned and "None of 4 checkpoints beat flat" in manifest.selection
    assert manifest.selection in news.texts
    rows = np.random.default_rng(0).normal(size=(20, 13)).astype(np.float32)
    assert not any(bundle.agent.predict(row)[0].any() for row in rows)
    assert manifest.metrics["agent"] == manifest.metrics["flat"]


def test_an_incumbent_that_chance_explains_in_the_end_is_dropped(config, monkeypatch):
    monkeypatch.setattr(Selection, "learned", property(lambda selection: False))
    bundle = run_training(config)
    assert bundle.manifest.metrics["agent"] == bundle.manifest.metrics["flat"]
    assert not bundle.agent.predict(np.ones(13, np.float32))[0].any()


def test_simulated_bars_say_so_wherever_numbers_stand(config, heard, monkeypatch):
    law = partial(simulated_market, n_bars=2000)
    monkeypatch.setattr("mtquant.config.data.simulated_market", law)
    news = heard()
    bundle = run_training(replace(config, data=None), listener=news)
    record = bundle.manifest.data
    assert record.source.startswith("simulated market") and record.simulated_seed == 7
    assert record.generator["XAUUSD"]["seed"] == 7
    assert "simulated market" in news.texts[0]
    warning = "Simulated market: these numbers say nothing about XAUUSD"
    report = json.loads((bundle.path / "report.json").read_text(encoding="utf-8"))
    assert report["warning"] == warning and report["data"]["simulated_seed"] == 7
    assert warning in (bundle.path / "report.html").read_text(encoding="utf-8")
    console = Console(record=True, width=160, file=io.StringIO())
    console.print(console_table(news.reports[0]))
    shown = console.export_text()
    assert shown.count(warning) == 2 and "SIMULATED MARKET, seed 7" in shown


def test_sac_trains_too(config, small_agent):
    agent = small_agent.model_copy(
        update={
            "kind": "sac",
            "params": {
                "learning_starts": 64,
                "batch_size": 32,
                "buffer_size": 2000,
                "policy_kwargs": {"net_arch": [8]},
            },
            "learning": small_agent.learning.model_copy(update={"timesteps": 1024}),
        }
    )
    bundle = run_training(replace(config, agent=agent))
    assert bundle.manifest.agent.kind == "sac" and bundle.manifest.timesteps == 1024
    events = EventAccumulator(str(config.runs / "run"))
    events.Reload()
    assert {"train/actor_loss", "validation/sortino"} <= set(events.Tags()["scalars"])
