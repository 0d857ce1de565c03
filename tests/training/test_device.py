"""A GPU is used where there is one and it is faster, and not otherwise."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import count

import pytest

from mtquant.config.data import given_market
from mtquant.envs.scenario import Scenario
from mtquant.errors import ConfigError
from mtquant.training import trainer
from mtquant.training.device import on_device, update_seconds
from mtquant.training.trainer import run_training


def asked(agent, heard, seconds, *, gpu=True):
    """The device that was chosen, and what was said."""
    news, tried = heard(), []

    def trial(_scenario, _agent, device):
        tried.append(device)
        return seconds[device]

    chosen = on_device(agent, None, news, trial=trial, gpu=lambda: gpu)
    return chosen.device, news.texts, tried


@pytest.mark.parametrize(
    ("cpu", "cuda", "chosen"), [(0.012, 0.019, "cpu"), (0.019, 0.012, "cuda"), (0.01, 0.01, "cpu")]
)
def test_the_faster_one_is_taken(small_agent, heard, cpu, cuda, chosen):
    device, texts, tried = asked(small_agent, heard, {"cpu": cpu, "cuda": cuda})
    assert device == chosen and tried == ["cpu", "cuda"]
    [line] = texts
    assert line.startswith(f"device   {chosen} (")
    assert f"cpu {cpu * 1000:.0f} ms" in line and f"cuda {cuda * 1000:.0f} ms" in line


@pytest.mark.parametrize(("device", "gpu"), [("auto", False), ("cpu", True), ("cuda", True)])
def test_where_nothing_is_to_be_decided_nothing_is_tried(small_agent, heard, device, gpu):
    agent = small_agent.model_copy(update={"device": device})
    assert asked(agent, heard, {}, gpu=gpu) == (device, [], [])


def test_a_gpu_that_is_not_there_is_one_sentence(small_agent, heard):
    agent = small_agent.model_copy(update={"device": "cuda"})
    with pytest.raises(ConfigError, match="torch finds no GPU here"):
        asked(agent, heard, {}, gpu=False)


@pytest.mark.parametrize(("kind", "rollouts"), [("ppo", 1), ("sac", 16)])
def test_a_trial_is_of_one_rollout_after_a_warm_up(
    small_agent, small_env, easy_bars, kind, rollouts
):
    small = {"learning_starts": 32, "batch_size": 8, "buffer_size": 500}
    params = small_agent.params if kind == "ppo" else {**small, "policy_kwargs": {"net_arch": [8]}}
    agent = small_agent.model_copy(update={"kind": kind, "params": params})
    scenario = Scenario.fit(small_env, given_market(small_env, easy_bars))
    seconds = count(step=8.0)
    assert update_seconds(scenario, agent, "cpu", lambda: next(seconds)) == 8.0 / rollouts


def test_the_choice_is_kept_with_the_run_and_the_bundle(config, monkeypatch):
    chosen = {"device": "cpu"}
    monkeypatch.setattr(trainer, "on_device", lambda agent, *_: agent.model_copy(update=chosen))
    bundle = run_training(config)
    assert config.agent.device == "auto" and bundle.manifest.agent.device == "cpu"
    state = json.loads((config.runs / "run" / "trainer" / "state.json").read_text())
    assert state["record"]["agent"]["device"] == "cpu"


def test_without_a_gpu_a_bundle_says_what_was_asked(config, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run_training(replace(config, timesteps=16)).manifest.agent.device == "auto"
