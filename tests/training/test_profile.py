"""A profile counts each moment once, leaves nothing behind, and changes nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from mtquant.training import callbacks
from mtquant.training.fast_ppo import ActorCritic
from mtquant.training.profile import PARTS, Profile
from mtquant.training.trainer import run_training


def ticking() -> tuple[SimpleNamespace, Profile]:
    """A clock that is moved by hand."""
    clock = SimpleNamespace(now=100.0)
    return clock, Profile(lambda: clock.now)


def test_time_belongs_to_the_innermost_part():
    clock, profile = ticking()
    with profile.measure("update"):
        clock.now += 1.0
        with profile.measure("env"):
            clock.now += 2.0
            with profile.measure("update"):
                clock.now += 4.0
        clock.now += 8.0
    clock.now += 16.0
    with pytest.raises(ZeroDivisionError), profile.measure("env"):
        clock.now += 32.0
        _ = 1 / 0
    assert dict(profile.seconds) == {"update": 13.0, "env": 34.0}


def test_the_table_by_hand():
    clock, profile = ticking()
    for part, seconds in (("env", 1.0), ("update", 3.0)):
        with profile.measure(part):
            clock.now += seconds
    profile.frames = 1_000_000
    lines = profile.lines()
    assert lines[0] == "where the time goes: 4.00 s, 1,000,000 frames"
    assert lines[1].split() == ["env", "1.00", "s", "25.0%", "1.00", "us", "a", "frame"]
    assert [line.split("  ")[0] for line in lines[1:]] == list(PARTS)


def test_only_the_rollouts_questions_to_the_policy_are_its_forward():
    """Export and update ask it too; that is their own time."""
    clock, profile = ticking()

    def spend(seconds, inside=lambda: None):
        def call(*_):
            clock.now += seconds
            inside()

        return call

    policy = SimpleNamespace(forward=spend(2.0))
    env = type("Env", (), {"step": spend(1.0)})()
    model = SimpleNamespace(num_timesteps=64, policy=policy, env=env)
    model.collect_rollouts = spend(4.0, lambda: (model.env.step(), model.policy.forward()))
    model.train = spend(8.0, lambda: model.policy.forward())
    watch = SimpleNamespace(validate=spend(16.0, lambda: model.env.step()), on_checkpoint=spend(32))
    with profile.watching(model, watch):
        model.collect_rollouts()
        model.train()
        watch.validate()
        watch.on_checkpoint(watch)
        model.num_timesteps = 128
    assert dict(profile.seconds) == {
        "env": 1.0,
        "policy forward": 2.0,
        "rest of the rollout": 4.0,
        "update": 10.0,
        "validation": 17.0,
        "saving its state": 32.0,
    }
    assert profile.frames == 64 and not vars(env)
    before = dict(profile.seconds)
    model.collect_rollouts()
    assert dict(profile.seconds) == before, "nothing is wrapped any more"


def test_a_profiled_training_is_the_same_training(config, small_run, heard):
    untouched = callbacks.export_policy, ActorCritic.means
    news = heard()
    again = replace(config, data=None, data_dir=small_run.config.data_dir, profile=True)
    bundle = run_training(again, listener=news)
    assert bundle.manifest.bundle_hash == small_run.bundle.manifest.bundle_hash
    assert (callbacks.export_policy, ActorCritic.means) == untouched
    begin = next(k for k, text in enumerate(news.texts) if text.startswith("where the time goes"))
    table = news.texts[begin:]
    total = float(re.search(r"([\d.]+) s, 2,048 frames", table[0])[1])
    seconds = [float(re.search(r"([\d.]+) s", line)[1]) for line in table[1:]]
    assert len(seconds) == len(PARTS) and sum(seconds) == pytest.approx(total, abs=0.06)
    rates = [float(re.search(r"([\d.]+) us a frame", line)[1]) for line in table[1:]]
    idle = {part for part, rate in zip(PARTS, rates, strict=True) if rate == 0.0}
    assert "probes" in idle
    assert not idle & {"env", "policy forward", "rest of the rollout", "validation", "export"}


def test_an_unprofiled_training_says_nothing_of_time(config, heard, monkeypatch):
    monkeypatch.setattr(Profile, "__init__", lambda *_: pytest.fail("measured"))
    news = heard()
    run_training(config, listener=news)
    assert not any("time" in text for text in news.texts)
